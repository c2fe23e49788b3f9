/* Invariants: who holds what in true time, one leader in each term, one log for all, equal copies.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "host/sim_world.h"

struct sim_check {
    struct myco_map leaders;   /* term → the host that was established in it, + 1 */
    struct myco_map applied;   /* index → hash of the command, | 1 */
    struct myco_map granted;   /* hash of election name → highest epoch + 1 */
    struct myco_map primaries; /* hash of (stream, epoch) → the host that was primary in it, + 1 */
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
    myco_map_free(&check->primaries);
    myco_free(check);
}

/* The first to say something about `key` sets it; another that says something else violates. */
static bool agrees(struct myco_map *map, uint64_t key, uint64_t value)
{
    void *was = myco_map_get(map, key);
    if (was) return (uint64_t)(uintptr_t)was == value;
    myco_map_put(map, key, (void *)(uintptr_t)value);
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
    } else if (strcmp(what, "primary") == 0) {
        if (!agrees(&check->primaries, myco_hash_mix(a, b), node->host + 1))
            sim_violated(world, "two primaries of %llx in epoch %llx, one of them n%u",
                (unsigned long long)a, (unsigned long long)b, node->host + 1);
    }
}

/* ── in true time: the intervals in which two nodes hold the same are disjoint ── */

static void check_elections(struct sim_world *world)
{
    static const char *const names[] = {"mycel", "cytoplasm"};
    for (size_t n = 0; n < 2; n++) {
        unsigned holders = 0, last = 0;
        for (unsigned i = 0; i < world->options.nodes; i++) {
            struct sim_node *node = &world->nodes[i];
            uint64_t epoch;
            if (!node->core || !core_duty_held(node->core, names[n], &epoch)) continue;
            holders++;
            if (holders > 1)
                sim_violated(world, "n%u and n%u both lead %s", last + 1, i + 1, names[n]);
            last = i;
        }
    }
}

static void check_hyphae(struct sim_world *world)
{
    struct myco_map serving = {0};
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct sim_node *node = &world->nodes[i];
        if (!node->core || !myco_lease_valid(node->core->lease)) continue;
        MYCO_MAP_EACH (struct core_hypha, copy, &node->core->hyphae) {
            if (copy->loading_epoch || !myco_hypha_serving(copy->hypha)) continue;
            void *other = myco_map_put(&serving, copy->stream, (void *)(uintptr_t)(i + 1));
            if (other)
                sim_violated(world, "n%u and n%u both serve hypha %llx", (unsigned)(uintptr_t)other,
                    i + 1, (unsigned long long)copy->stream);
        }
    }
    myco_map_free(&serving);
}

void sim_check_now(struct sim_world *world)
{
    check_elections(world);
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

/* Same epoch, offset and everything committed: then the same content. */
void sim_check_copies(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct sim_node *node = &world->nodes[i];
        if (!node->core) continue;
        MYCO_MAP_EACH (struct core_hypha, copy, &node->core->hyphae) {
            for (unsigned j = 0; j < i; j++) {
                struct core_hypha *other =
                    world->nodes[j].core ? myco_map_get(&world->nodes[j].core->hyphae, copy->stream)
                                         : NULL;
                if (!other ||
                    myco_hypha_committed(other->hypha) != myco_hypha_committed(copy->hypha))
                    continue;
                if (content(other) != content(copy))
                    sim_violated(world, "n%u and n%u differ in hypha %llx at offset %llu", j + 1,
                        i + 1, (unsigned long long)copy->stream,
                        (unsigned long long)myco_hypha_committed(copy->hypha));
            }
        }
    }
}
