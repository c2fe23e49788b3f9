/* Seeded worlds in which everything fails, several times over: crashes, isolations, cut pairs,
 * broken connections, refused sends and journal writes, new primaries, jumping clocks; with
 * conditional and unconditional writes at whoever takes them. The world judges (hypha_world.h).
 * Would catch:
 *  - an acknowledged write that a later primary does not have, or a refused one that happened
 *  - two records at one (epoch, offset), two values of one version, two primaries in one epoch
 *  - a condition that was judged wrongly, an answer out of order, twice, or never
 *  - copies that differ, or a hypha that does not serve again, once everything is healed
 *
 * test_hypha_random [SEED [COUNT]] runs others, and says more of them. */
#include "tap.h"

#include <time.h>

#include "hypha_world.h"

#define SEEDS    500
#define FAULT_MS 6000
#define HEAL_MS  30000

static unsigned some_node(struct world *world)
{
    return (unsigned)world_random(world, world->node_count);
}

static struct myco_write some_write(struct world *world, unsigned key)
{
    struct myco_write write = {.op = MYCO_OP_PUT};
    uint64_t latest = world->key_acked[key];
    switch (world_random(world, 10)) {
    case 0:
    case 1: write.if_version = latest ? latest : 1; break;
    case 2: write.if_absent = true; break;
    case 3: write.op = MYCO_OP_DEL; break;
    case 4:
        write.op = MYCO_OP_DEL;
        write.if_version = latest;
        break;
    case 5:
        write.expires_ms = 1700000000000ull + world->now_ns / MS + world_random(world, 3000);
        break;
    default: break;
    }
    return write;
}

/* One client: mostly where consensus says, sometimes where it should not. */
static void on_client(struct world *world, struct event *event)
{
    uint64_t burst = world_random(world, 20) == 0 ? 40 : 1;
    for (uint64_t i = 0; i < burst; i++) {
        unsigned key = (unsigned)world_random(world, WORLD_KEYS);
        unsigned node = (unsigned)world->set.primary - 1;
        if (world_random(world, 4) == 0) node = some_node(world);
        size_t size = world_random(world, 50) == 0 ? 100000 : 0;
        world_write(world, node, some_write(world, key), key, size);
    }
    if (!event->flag) return;
    world_at(world, world_random(world, 30 * MS), on_client, 0)->flag = true;
}

static void on_boot(struct world *world, struct event *event)
{
    world_boot(world, event->node);
}

/* At level REPLICATED one member of the set must keep its memory: that is what the level says. */
static bool may_crash(struct world *world, unsigned node)
{
    if (world->options.level == MYCO_LEVEL_DISK) return true;
    for (uint8_t i = 0; i < world->set.in_sync_count; i++) {
        const struct myco_holder *holder = &world->set.in_sync[i];
        struct node *other = &world->nodes[holder->node - 1];
        if (holder->node == node + 1 || other->hypha == NULL) continue;
        if (other->generation == holder->generation) return true;
    }
    return false;
}

static void on_reconnect(struct world *world, struct event *event)
{
    world->nodes[event->node].cut_off = false;
    for (unsigned i = 0; i < world->node_count; i++) world_mend(world, event->node, i);
    world_configure(world);
}

static void on_unfreeze(struct world *world, struct event *event)
{
    world->nodes[event->node].frozen = false;
    world->nodes[event->node].journal_error = 0;
}

/* The worst moment: a new member was taken into the set, and its primary neither hears of that nor
 * reaches it any more. It must not acknowledge anything that the new member does not have. */
static void on_taken(struct world *world, unsigned proposer, unsigned node)
{
    if (!world->chaos || world_random(world, 2)) return;
    world->nodes[proposer].cut_off = true;
    world_cut(world, proposer, node);
    world_at(world, world_random(world, 1500 * MS), on_reconnect, proposer);
}

static void on_fault(struct world *world, struct event *event)
{
    if (!world->chaos) return;
    (void)event;
    unsigned node = some_node(world), other = some_node(world);
    uint64_t while_ns = world_random(world, 2500 * MS);
    switch (world_random(world, 11)) {
    case 0:
    case 1:
        if (!may_crash(world, node)) break;
        world_crash(world, node);
        world_at(world, while_ns, on_boot, node);
        break;
    case 2:
        world_isolate(world, node);
        world_at(world, while_ns, on_reconnect, node);
        break;
    case 3:
    case 4:
        world_cut(world, node, other);
        world_at(world, while_ns, on_reconnect, node);
        break;
    case 5: world_break(world, node, other); break;
    case 6:
        world->nodes[node].frozen = true;
        if (world_random(world, 2)) world->nodes[node].journal_error = MYCO_ENOSPC;
        world_at(world, while_ns, on_unfreeze, node);
        break;
    case 7: world->nodes[node].wall_skew_ms = (int64_t)world_random(world, 4000) - 2000; break;
    case 8: world_snapshot(world, node); break;
    case 10:
        if (may_crash(world, node)) world_remove(world, node, world_random(world, 1000));
        break;
    case 9: /* a planned hand-over */
        for (uint8_t i = 0; i < world->set.in_sync_count; i++) {
            const struct myco_holder *holder = &world->set.in_sync[i];
            if (holder->node != node + 1 || holder->node == world->set.primary) continue;
            if (world->nodes[node].generation == holder->generation) world_primary(world, node);
        }
        break;
    }
    if (world_random(world, 4) == 0) world_check(world);
    world_at(world, world_random(world, 400 * MS), on_fault, 0);
}

struct sums {
    uint64_t events, messages, ops, acked, refused, unknown, conflicts, copies, epochs;
    uint64_t heal_ms_max, heal_ms_sum;
    unsigned violations, failed;
};

static void count_ops(struct world *world, struct sums *sums)
{
    for (size_t i = 0; i < world->op_count; i++) {
        const struct op *op = &world->ops[i];
        sums->ops++;
        if (op->outcome == OUTCOME_NONE)
            world_violation(world, "token %zu was never answered", i + 1);
        if (op->outcome == OUTCOME_REFUSED) sums->refused++;
        if (op->outcome != OUTCOME_DONE) continue;
        sums->acked += op->status == 0;
        sums->unknown += op->status == MYCO_EUNKNOWN;
        sums->conflicts += op->status == MYCO_ECONFLICT || op->status == MYCO_ENOTFOUND;
    }
}

static void run_seed(uint64_t seed, struct sums *sums)
{
    enum myco_level level = seed % 3 ? MYCO_LEVEL_DISK : MYCO_LEVEL_REPLICATED;
    struct world *world = world_new(3 + (unsigned)(seed % 3), level, seed);
    world->name = "random";
    world->options.tail_size_max = seed % 2 ? 2000 : 0;
    world->options.pending_size_max = seed % 5 ? 0 : 300000;
    world_start(world, seed % 4 != 0);
    world->managed = world->chaos = true;
    world->on_taken = on_taken;
    world_at(world, 0, on_client, 0)->flag = true;
    world_at(world, 300 * MS, on_fault, 0);
    world_run(world, FAULT_MS);

    world_heal(world);
    uint64_t healed_ms = world->now_ns / MS;
    bool serves = false;
    uint64_t token = 0;
    while (world->now_ns / MS < healed_ms + HEAL_MS) {
        world_run(world, 50);
        if (token == 0 && world_serving(world))
            token = world_put(world, (unsigned)world->set.primary - 1, 0);
        if (token == 0 || world_op(world, token)->outcome == OUTCOME_NONE) continue;
        serves = world_done(world, token, 0);
        if (serves) break;
        token = 0;
    }
    uint64_t heal_ms = world->now_ns / MS - healed_ms;
    if (!serves) world_violation(world, "does not serve again");
    /* stop the client, and let everything settle */
    for (size_t i = 0; i < world->heap_count; i++) {
        if (world->heap[i]->cb == on_client) world->heap[i]->cb = on_fault;
    }
    if (!world_until(world, world_settled, HEAL_MS)) world_violation(world, "does not settle");
    world_run(world, 100); /* what was sent arrives */
    world_check(world);
    if (!world_equal(world)) world_violation(world, "copies differ");
    count_ops(world, sums);
    sums->events += world->events;
    sums->messages += world->messages;
    sums->copies += world->copies;
    sums->epochs += world->set.epoch;
    sums->heal_ms_sum += heal_ms;
    if (heal_ms > sums->heal_ms_max) sums->heal_ms_max = heal_ms;
    sums->violations += world->violations;
    sums->failed += world->violations > 0;
    world_free(world);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : SEEDS;
    struct sums sums = {0};
    clock_t begin = clock();
    for (uint64_t seed = first; seed < first + count; seed++) run_seed(seed, &sums);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    is_int(sums.violations, 0, "%llu seeds: no invariant was violated", (unsigned long long)count);
    is_int(sums.failed, 0, "every one serves, settles and agrees after healing");
    note("%.1f s; %llu events, %llu messages, %llu epochs, %llu whole copies", seconds,
        (unsigned long long)sums.events, (unsigned long long)sums.messages,
        (unsigned long long)sums.epochs, (unsigned long long)sums.copies);
    note("%llu writes: %llu acknowledged, %llu conflicts, %llu unknown, %llu refused at once",
        (unsigned long long)sums.ops, (unsigned long long)sums.acked,
        (unsigned long long)sums.conflicts, (unsigned long long)sums.unknown,
        (unsigned long long)sums.refused);
    note("served after healing within %llu ms (mean), %llu ms (longest)",
        (unsigned long long)(sums.heal_ms_sum / count), (unsigned long long)sums.heal_ms_max);
    return plan_done();
}
