/* Invariants: who holds what in true time, one leader in each term, one log for all, equal
 * copies. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "host/sim_world.h"

struct sim_check {
    struct myco_map leaders; /* term → the host that was established in it, + 1 */
    struct myco_map applied; /* index → hash of the command, | 1 */
    struct myco_map granted; /* hash of (election, epoch) → the host that it was given to, + 1 */
    struct myco_map held;    /* hash of election → the highest epoch that was held */
    struct myco_map primaries; /* hash of (stream, epoch) → the host that was primary in it, + 1 */
    struct myco_map served;    /* stream → the highest epoch in which it was served */
    struct myco_map committed; /* stream → the highest offset that its primary had committed */
};

struct sim_check *sim_check_new(struct sim_world *world)
{
    (void)world;
    return myco_alloc(sizeof(struct sim_check));
}

void sim_check_free(struct sim_check *check)
{
    myco_map_free(&check->leaders);
    myco_map_free(&check->applied);
    myco_map_free(&check->granted);
    myco_map_free(&check->held);
    myco_map_free(&check->primaries);
    myco_map_free(&check->served);
    myco_map_free(&check->committed);
    myco_free(check);
}

void sim_check_reborn(struct sim_world *world)
{
    myco_map_free(&world->check->leaders);
    myco_map_free(&world->check->applied);
    world->check->leaders = world->check->applied = (struct myco_map){0};
}

/* The first to say something about `key` sets it; another that says something else violates. */
static bool agrees(struct myco_map *map, uint64_t key, uint64_t value)
{
    void *was = myco_map_get(map, key);
    if (was) return (uint64_t)(uintptr_t)was == value;
    myco_map_put(map, key, (void *)(uintptr_t)value);
    return true;
}

/* What never falls; false: it did. */
static bool rises(struct myco_map *map, uint64_t key, uint64_t value)
{
    uint64_t was = (uint64_t)(uintptr_t)myco_map_get(map, key);
    if (value < was) return false;
    if (value > was) myco_map_put(map, key, (void *)(uintptr_t)value);
    return true;
}

void sim_check_event(struct sim_node *node, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    struct sim_world *world = node->world;
    struct sim_check *check = world->check;
    if (strcmp(what, "established") == 0) {
        if (!agrees(&check->leaders, a, node->host + 1))
            sim_violated(world, "two leaders in term %llu, one of them n%u", (unsigned long long)a,
                node->host + 1);
    } else if (strcmp(what, "apply") == 0) {
        if (!agrees(&check->applied, a, c | 1))
            sim_violated(world, "n%u applied another command at index %llu", node->host + 1,
                (unsigned long long)a);
    } else if (strcmp(what, "granted") == 0) {
        if (!agrees(&check->granted, myco_hash_mix(a, b), node->host + 1))
            sim_violated(world, "epoch %llx of one election was given to two nodes, one is n%u",
                (unsigned long long)a, node->host + 1);
    } else if (strcmp(what, "primary") == 0) {
        if (!agrees(&check->primaries, myco_hash_mix(a, b), node->host + 1))
            sim_violated(world, "two primaries of %llx in epoch %llx, one of them n%u",
                (unsigned long long)a, (unsigned long long)b, node->host + 1);
    }
}

/* ── in true time: the intervals in which two nodes hold the same are disjoint ── */

/* `nodosum` is the consensus leader's own, and needs no lease: the log itself fences what it
 * does. */
static void check_elections(struct sim_world *world)
{
    struct myco_map holders = {0};
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct myco_core *core = world->nodes[i].core;
        for (uint32_t e = 0; core && e < core->state->election_count; e++) {
            const char *name = core->state->elections[e]->name;
            uint64_t epoch, key = myco_hash(name, strlen(name));
            if (strcmp(name, "nodosum") == 0 || !core_duty_held(core, name, &epoch)) continue;
            void *other = myco_map_put(&holders, key, (void *)(uintptr_t)(i + 1));
            if (other)
                sim_violated(
                    world, "n%u and n%u both lead %s", (unsigned)(uintptr_t)other, i + 1, name);
            if (!rises(&world->check->held, key, epoch))
                sim_violated(world, "n%u leads %s with an epoch (%llx) lower than a former one",
                    i + 1, name, (unsigned long long)epoch);
        }
    }
    myco_map_free(&holders);
}

static void check_served(struct sim_world *world, unsigned host, const struct core_hypha *copy)
{
    uint64_t epoch = myco_hypha_epoch(copy->hypha), offset = myco_hypha_committed(copy->hypha);
    if (!rises(&world->check->served, copy->stream, epoch))
        sim_violated(world, "n%u serves hypha %llx in epoch %llx, after a newer one", host + 1,
            (unsigned long long)copy->stream, (unsigned long long)epoch);
    bool durable = (copy->stream >> 24 & 0xff) == MYCO_LEVEL_DISK;
    if (durable && !rises(&world->check->committed, copy->stream, offset))
        sim_violated(world, "n%u serves hypha %llx with less than was committed: %llu", host + 1,
            (unsigned long long)copy->stream, (unsigned long long)offset);
}

static void check_hyphae(struct sim_world *world)
{
    struct myco_map serving = {0};
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct sim_node *node = &world->nodes[i];
        if (node->core && node->core->state->cluster &&
            node->core->state->incarnation <= world->reborn_after)
            sim_violated(world, "n%u is in incarnation %llu again", i + 1,
                (unsigned long long)node->core->state->incarnation);
        if (!node->core || !myco_lease_valid(node->core->lease)) continue;
        MYCO_MAP_EACH (struct core_hypha, copy, &node->core->hyphae) {
            struct core_hypha *served;
            if (core_serve_table(node->core, copy->septum, copy->index, &served)) continue;
            void *other = myco_map_put(&serving, copy->stream, (void *)(uintptr_t)(i + 1));
            if (other)
                sim_violated(world, "n%u and n%u both serve hypha %llx", (unsigned)(uintptr_t)other,
                    i + 1, (unsigned long long)copy->stream);
            check_served(world, i, copy);
        }
    }
    myco_map_free(&serving);
}

void sim_check_now(struct sim_world *world)
{
    check_elections(world);
    sim_locks_check(world);
    check_hyphae(world);
}

/* ── what each node believes, for the reader of a violation ── */

static void print_hyphae(const struct core_hypha *copy, FILE *file)
{
    const struct myco_set *set = myco_hypha_set(copy->hypha);
    fprintf(file,
        "    hypha %llx: epoch %llx set %llu primary %016llx in sync %u joining %u offset %llu "
        "committed %llu%s%s\n",
        (unsigned long long)copy->stream, (unsigned long long)set->epoch,
        (unsigned long long)set->version, (unsigned long long)set->primary, set->in_sync_count,
        set->joining_count, (unsigned long long)myco_hypha_offset(copy->hypha),
        (unsigned long long)myco_hypha_committed(copy->hypha),
        myco_hypha_serving(copy->hypha) ? " serving" : "", copy->loading_epoch ? " loading" : "");
}

void sim_check_print(struct sim_world *world, FILE *file)
{
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct myco_core *core = world->nodes[i].core;
        fprintf(file, "  n%u %016llx generation %llu%s%s\n", i + 1,
            (unsigned long long)world->nodes[i].identity.id,
            (unsigned long long)world->nodes[i].identity.generation, core ? "" : " down",
            myco_sim_paused(world->sim, i) ? " paused" : "");
        if (!core) continue;
        int64_t left = (int64_t)(myco_lease_deadline_ns(core->lease) - myco_now_ns(core->env));
        fprintf(file, "    term %llu leader %016llx%s applied %llu lease %.1f ms\n",
            (unsigned long long)myco_rlog_term(core->log),
            (unsigned long long)myco_rlog_leader(core->log),
            myco_rlog_is_established(core->log) ? " established" : "",
            (unsigned long long)myco_rlog_applied_index(core->log), (double)left / 1e6);
        for (uint32_t e = 0; e < core->state->election_count; e++) {
            const struct myco_election_record *election = core->state->elections[e];
            fprintf(file,
                "    %s: %016llx generation %llu epoch %llx wanted %016llx candidates %u\n",
                election->name, (unsigned long long)election->holder,
                (unsigned long long)election->holder_generation,
                (unsigned long long)election->epoch, (unsigned long long)election->wanted,
                election->candidate_count);
        }
        MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) print_hyphae(copy, file);
    }
}

/* ── copies ── */

static bool add_item(const struct myco_table_item *item, void *data)
{
    uint64_t *sum = data;
    uint64_t hash = myco_hash_mix(
        myco_hash(item->key.data, item->key.size), myco_hash(item->value.data, item->value.size));
    *sum += myco_hash_mix(hash, item->version); /* a sum: the order of a table does not count */
    return true;
}

static uint64_t content(const struct core_hypha *copy)
{
    uint64_t sum = 0;
    myco_table_each(myco_hypha_table(copy->hypha), add_item, &sum);
    return sum;
}

static const struct core_hypha *copy_on(
    const struct sim_world *world, uint64_t node, uint64_t stream)
{
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (world->nodes[i].core && world->nodes[i].identity.id == node)
            return myco_map_get(&world->nodes[i].core->hyphae, stream);
    return NULL;
}

/* Every in-sync member has what the primary has, and nothing else. */
static void check_set(struct sim_world *world, const struct core_hypha *first)
{
    const struct myco_set *set = myco_hypha_set(first->hypha);
    for (uint8_t m = 0; m < set->in_sync_count; m++) {
        const struct core_hypha *copy = copy_on(world, set->in_sync[m].node, first->stream);
        if (!copy) {
            sim_violated(world, "hypha %llx: an in-sync member has no copy",
                (unsigned long long)first->stream);
            return;
        }
        uint64_t want = myco_hypha_committed(first->hypha);
        uint64_t have = myco_hypha_committed(copy->hypha);
        if (have != want || content(copy) != content(first))
            sim_violated(world, "hypha %llx: in-sync copies differ, at offsets %llu and %llu",
                (unsigned long long)first->stream, (unsigned long long)want,
                (unsigned long long)have);
    }
}

void sim_check_copies(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes && !world->violation[0]; i++) {
        if (!world->nodes[i].core) continue;
        MYCO_MAP_EACH (struct core_hypha, copy, &world->nodes[i].core->hyphae)
            if (myco_hypha_set(copy->hypha)->primary == world->nodes[i].identity.id)
                check_set(world, copy);
    }
}

struct myco_core *sim_leader(struct sim_world *world)
{
    struct myco_core *leader = NULL;
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct myco_core *core = world->nodes[i].core;
        if (!core || !myco_rlog_is_established(core->log)) continue;
        if (!leader || myco_rlog_term(core->log) > myco_rlog_term(leader->log)) leader = core;
    }
    return leader;
}
