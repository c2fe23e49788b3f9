/* The consensus of a world, one struct that is never wrong: see hypha_world.h. */
#include "hypha_world_internal.h"

#include <stdlib.h>

/* ── Consensus ─────────────────────────────────────────────────────────────────────────────── */

static void on_configure(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha != NULL && !node->cut_off) myco_hypha_configure(node->hypha, &event->set);
}

void world_configure(struct world *world)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        struct event *event =
            world_at(world, 200000 + world_random(world, 10 * MS), on_configure, i);
        event->set = world->set;
    }
}

bool world__holders_remove(struct myco_holder *holders, uint8_t *count, uint64_t node)
{
    for (uint8_t i = 0; i < *count; i++) {
        if (holders[i].node != node) continue;
        memmove(holders + i, holders + i + 1, (size_t)(--*count - i) * sizeof(*holders));
        return true;
    }
    return false;
}

const struct myco_holder *world__in_sync_holder(const struct world *world, uint64_t node)
{
    for (uint8_t i = 0; i < world->set.in_sync_count; i++) {
        if (world->set.in_sync[i].node == node) return &world->set.in_sync[i];
    }
    return NULL;
}

static bool set_change(
    struct world *world, enum myco_propose what, uint64_t id, uint64_t generation)
{
    struct myco_set *set = &world->set;
    struct myco_holder holder = {id, generation};
    if (what == MYCO_PROPOSE_SHRINK) {
        if (id == set->primary || !world__holders_remove(set->in_sync, &set->in_sync_count, id))
            return false;
    } else {
        if (world->nodes[id - 1].generation != generation || world__in_sync_holder(world, id))
            return false;
        if (!world__holders_remove(set->joining, &set->joining_count, id)) return false;
        set->in_sync[set->in_sync_count++] = holder;
    }
    set->version++;
    return true;
}

static void on_refused(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha == NULL || node->generation != event->x) return;
    if (node->hypha->set.epoch == event->set.epoch &&
        node->hypha->set.version == event->set.version) {
        myco_hypha_refused(node->hypha);
    }
}

/* x: node, y: its generation, flag: EXPAND, other: the proposer, set: what it compares. */
static void decide(struct world *world, struct event *event, bool take)
{
    const struct myco_set *set = &event->set;
    bool current = set->epoch == world->set.epoch && set->version == world->set.version;
    enum myco_propose what = event->flag ? MYCO_PROPOSE_EXPAND : MYCO_PROPOSE_SHRINK;
    if (take && current && set_change(world, what, event->x, event->y)) {
        if (event->flag && world->on_taken) {
            world->on_taken(world, event->other, (unsigned)event->x - 1);
        }
        world_configure(world);
        return;
    }
    struct event *refused = world_at(world, MS, on_refused, event->other);
    refused->set = *set;
    refused->x = world->nodes[event->other].generation;
}

static struct event *proposal_again(struct world *world, struct event *event, event_cb cb)
{
    struct event *again = world_at(world, 50 * MS, cb, event->node);
    again->x = event->x;
    again->y = event->y;
    again->z = event->z;
    again->flag = event->flag;
    again->other = event->other;
    again->set = event->set;
    return again;
}

static void on_proposal(struct world *world, struct event *event)
{
    struct node *proposer = &world->nodes[event->other];
    if (proposer->hypha == NULL || proposer->generation != event->z) return; /* went with it */
    if (world->no_refusals) {
        free(world->proposal);
        world->proposal = calloc(1, sizeof(*event));
        *world->proposal = *event;
    } else if (world->nodes[event->other].cut_off) {
        proposal_again(world, event, on_proposal); /* tried until it arrives */
    } else {
        decide(world, event, true);
    }
}

void world_answer(struct world *world, bool take)
{
    if (world->proposal == NULL) {
        world_violation(world, "no proposal waits");
        return;
    }
    decide(world, world->proposal, take);
    free(world->proposal);
    world->proposal = NULL;
}

void world__propose(enum myco_propose what, uint64_t id, uint64_t generation, void *data)
{
    struct node *node = data;
    struct world *world = node->world;
    struct event *event =
        world_at(world, MS + world_random(world, 20 * MS), on_proposal, (unsigned)id - 1);
    event->other = (unsigned)(node - world->nodes);
    event->x = id;
    event->y = generation;
    event->z = node->generation;
    event->flag = what == MYCO_PROPOSE_EXPAND;
    event->set = node->hypha->set;
    node->proposals[what]++;
    node->proposed_node = id;
}

void world_primary(struct world *world, unsigned node)
{
    world->set.epoch++;
    world->set.version++;
    world->set.primary = world->nodes[node].id;
    world_configure(world);
}

static bool eligible(struct world *world, const struct myco_holder *holder)
{
    struct node *node = &world->nodes[holder->node - 1];
    return node->hypha != NULL && !node->cut_off && node->generation == holder->generation;
}

static void replace_primary(struct world *world)
{
    const struct myco_set *set = &world->set;
    unsigned start = (unsigned)world_random(world, set->in_sync_count);
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        const struct myco_holder *holder = &set->in_sync[(start + i) % set->in_sync_count];
        if (!eligible(world, holder)) continue;
        world_primary(world, (unsigned)holder->node - 1);
        return;
    }
}

/* Everybody who is up shall hold a copy. */
static bool fill_joining(struct world *world)
{
    struct myco_set *set = &world->set;
    struct myco_holder joining[MYCO_COPIES_MAX] = {0};
    uint8_t count = 0;
    for (unsigned i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->hypha == NULL || world__in_sync_holder(world, node->id) != NULL) continue;
        if (world->now_ns / MS < node->out_ms) continue;
        joining[count++] = (struct myco_holder){node->id, node->generation};
    }
    bool same =
        count == set->joining_count && memcmp(joining, set->joining, count * sizeof(*joining)) == 0;
    if (same) return false;
    memcpy(set->joining, joining, count * sizeof(*joining));
    set->joining_count = count;
    set->version++;
    return true;
}

void world__on_placement(struct world *world, struct event *event)
{
    (void)event;
    world_at(world, 100 * MS, world__on_placement, 0);
    if (!world->managed) return;
    const struct myco_holder *primary = world__in_sync_holder(world, world->set.primary);
    struct node *node = primary ? &world->nodes[primary->node - 1] : NULL;
    if (node != NULL && eligible(world, primary)) {
        node->lost_ms = 0;
    } else if (node == NULL || node->lost_ms == 0) {
        if (node != NULL) node->lost_ms = world->now_ns / MS + 1;
        if (node == NULL) replace_primary(world);
    } else if (world->now_ns / MS - node->lost_ms >= 300) {
        node->lost_ms = 0;
        replace_primary(world);
    }
    if (fill_joining(world)) world_configure(world);
}

/* At level DISK a node that comes again has all that it acknowledged, and stays in the set. */
void world__register_generation(struct world *world, struct node *node)
{
    struct myco_set *set = &world->set;
    bool changed = false;
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        if (set->in_sync[i].node != node->id) continue;
        if (world->options.level != MYCO_LEVEL_DISK) continue;
        set->in_sync[i].generation = node->generation;
        changed = true;
    }
    if (changed && set->primary == node->id) set->epoch++;
    if (changed) set->version++;
    world_configure(world);
}
