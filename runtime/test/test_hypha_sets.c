/* Changes of the set and of the primary. Would catch: a dead member that blocks writes for ever, or
 * is proposed twice; a write acknowledged between a proposal and its answer without the new member;
 * a replaced primary that still acknowledges, or says that a write failed which survives; a new
 * primary that serves before its whole set has its whole log; old sets, old epochs and old
 * generations. */
#include "tap.h"

#include "hypha_world.h"

static struct world *three(enum myco_level level)
{
    struct world *world = world_new(3, level, 11);
    world_start(world, true);
    world_run(world, 200);
    return world;
}

static void test_shrink(void)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    world_isolate(world, 2);
    uint64_t token = world_put(world, 0, 1);
    world_run(world, 1000);
    is_int(world_op(world, token)->outcome, OUTCOME_NONE, "a member is away: the write waits");
    is_int(world->nodes[0].proposals[MYCO_PROPOSE_SHRINK], 0, "nothing is proposed yet");
    world->no_refusals = true;
    world_run(world, 3000);
    is_int(
        world->nodes[0].proposals[MYCO_PROPOSE_SHRINK], 1, "after its time it is proposed, once");
    is_int(world->nodes[0].proposed_node, 3, "that member");
    is_int(world_op(world, token)->outcome, OUTCOME_NONE, "the write waits for the answer");
    world_answer(world, true);
    world_run(world, 50);
    ok(world_done(world, token, 0), "the smaller set answers it");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_shrink_idle(void)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    world_isolate(world, 2);
    world_run(world, 2500);
    is_int(world->set.in_sync_count, 2, "one that is away is dropped before it blocks a write");
    world_free(world);
    world = three(MYCO_LEVEL_DISK);
    world->nodes[2].frozen = true;
    world_put(world, 0, 1);
    world_run(world, 2500);
    is_int(world->set.in_sync_count, 2, "so is one that answers, and whose disk hangs");
    world_free(world);
    world = three(MYCO_LEVEL_DISK);
    for (unsigned i = 0; i < 300; i++) { /* never caught up, always moving */
        world_put(world, 0, i % WORLD_KEYS);
        world_run(world, 10);
    }
    is_int(world->set.in_sync_count, 3, "one that is always a little behind is not");
    world_free(world);
}

static void test_expand(bool take)
{
    struct world *world = world_new(3, MYCO_LEVEL_DISK, 12);
    world_start(world, false);
    world->no_refusals = true;
    for (unsigned i = 0; i < 20; i++) world_put(world, 0, i % WORLD_KEYS);
    world->set.joining[0] = (struct myco_holder){2, 1};
    world->set.joining_count = 1;
    world->set.version++;
    world_configure(world);
    world_run(world, 600);
    is_int(world->nodes[0].proposals[MYCO_PROPOSE_EXPAND], 1,
        "a member that has everything is proposed");
    is_int(world->nodes[1].hypha->log.last, world->nodes[0].hypha->log.last, "it has");
    world_run(world, 2000);
    is_int(world->nodes[0].proposals[MYCO_PROPOSE_EXPAND], 1, "once");
    world_cut(world, 0, 1);
    uint64_t token = world_put(world, 0, 1);
    world_run(world, 1000);
    is_int(
        world_op(world, token)->outcome, OUTCOME_NONE, "until the answer a write waits for it too");
    world_answer(world, take);
    world_run(world, 50);
    if (take) {
        is_int(world_op(world, token)->outcome, OUTCOME_NONE, "taken: it is one of the set");
        world_mend(world, 0, 1);
        world_run(world, 400);
        ok(world_done(world, token, 0), "and is waited for until it is there");
    } else {
        ok(world_done(world, token, 0), "refused: nobody waits for it any more");
        world_mend(world, 0, 1);
        world_run(world, 1500);
        is_int(world->nodes[0].proposals[MYCO_PROPOSE_EXPAND], 2, "it is proposed again later");
    }
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_deposed(bool by_configure)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    uint64_t first = world_put(world, 0, 1);
    world_run(world, 200);
    uint64_t pending = 0;
    if (by_configure) {
        world->nodes[1].frozen = true; /* nothing is acknowledged */
        pending = world_put(world, 0, 1);
    } else {
        world->nodes[0].cut_off = true; /* it can't know */
    }
    world_primary(world, 1);
    if (by_configure) {
        world_run(world, 15);
        world->nodes[1].frozen = false;
    } else {
        world_cut(world, 0, 1);
        world_run(world, 15); /* the others follow the new epoch */
        ok(myco_hypha_serving(world->nodes[0].hypha), "the old primary believes that it leads");
        pending = world_put(world, 0, 1);
    }
    world_run(world, 400);
    ok(world_done(world, first, 0), "what was acknowledged is");
    ok(world_done(world, pending, MYCO_EUNKNOWN), "what was not is said to be unknown");
    ok(!myco_hypha_serving(world->nodes[0].hypha), "the old primary stopped");
    uint64_t late = world_put(world, 0, 1);
    is_int(world_op(world, late)->status, MYCO_ENOTLEADER, "and takes no more writes");
    if (!by_configure) {
        ok(world->nodes[0].hypha->deposed == 1, "because it was refused");
        struct myco_set late_set = *myco_hypha_set(world->nodes[0].hypha);
        late_set.version++;
        myco_hypha_configure(world->nodes[0].hypha, &late_set);
        world_run(world, 300);
        ok(!myco_hypha_serving(world->nodes[0].hypha), "a late set of its epoch changes nothing");
        late = world_put(world, 0, 1);
        is_int(world_op(world, late)->status, MYCO_ENOTLEADER, "it takes no writes");
    }
    world_heal(world);
    world_run(world, 1000);
    ok(world_serving(world) == &world->nodes[1], "the new primary serves");
    ok(world_equal(world), "all copies are the same");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_new_primary(void)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    world_put(world, 0, 1);
    world_run(world, 300);
    world_isolate(world, 2);
    world_primary(world, 1);
    world_run(world, 500);
    struct myco_hypha *hypha = world->nodes[1].hypha;
    ok(!myco_hypha_serving(hypha), "a new primary does not serve while a member lacks its log");
    is_int(myco_hypha_epoch(hypha), 2, "its log ends in its epoch");
    uint64_t token = world_put(world, 1, 1);
    is_int(world_op(world, token)->status, MYCO_EUNAVAILABLE, "and takes no writes");
    world_heal(world);
    world_run(world, 500);
    ok(myco_hypha_serving(hypha), "it serves when all have it");
    token = world_put(world, 1, 1);
    world_run(world, 100);
    ok(world_done(world, token, 0), "and takes writes");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_seal(void)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    struct myco_hypha *hypha = world->nodes[0].hypha;
    uint64_t token = world_put(world, 0, 1);
    myco_hypha_seal(hypha);
    ok(!myco_hypha_sealed_clean(hypha), "sealed, and not clean while a write is pending");
    uint64_t late = world_put(world, 0, 1);
    is_int(world_op(world, late)->status, MYCO_EUNAVAILABLE, "no write is taken any more");
    world_run(world, 100);
    ok(world_done(world, token, 0), "the pending one ends as it would have");
    ok(myco_hypha_sealed_clean(hypha), "then it is clean");
    world_primary(world, 1);
    uint64_t begin_ns = world->now_ns;
    while (!world_serving(world) && world->now_ns < begin_ns + 1000 * MS) world_run(world, 1);
    note(
        "the next one served %llu ms later", (unsigned long long)((world->now_ns - begin_ns) / MS));
    ok(world_serving(world) == &world->nodes[1], "the next one serves");
    world_primary(world, 0);
    world_run(world, 100);
    token = world_put(world, 0, 1);
    world_run(world, 100);
    ok(world_done(world, token, 0), "a new set breaks the seal");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
    world = three(MYCO_LEVEL_MEMORY);
    world->nodes[0].send_error = MYCO_EFULL;
    world_put(world, 0, 1);
    world_run(world, 10);
    myco_hypha_seal(world->nodes[0].hypha);
    ok(!myco_hypha_sealed_clean(world->nodes[0].hypha),
        "MEMORY: not clean while a member lacks it");
    world->nodes[0].send_error = 0;
    world_run(world, 300);
    ok(myco_hypha_sealed_clean(world->nodes[0].hypha), "clean when all were sent everything");
    world_free(world);
}

static void test_old_sets(void)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    struct myco_set old = world->set;
    world_primary(world, 1);
    world_run(world, 200);
    myco_hypha_configure(world->nodes[1].hypha, &old);
    is_int(myco_hypha_set(world->nodes[1].hypha)->epoch, 2, "an older set is ignored");
    old.epoch = 2;
    old.version = 1;
    old.primary = 1;
    myco_hypha_configure(world->nodes[1].hypha, &old);
    ok(myco_hypha_serving(world->nodes[1].hypha), "also one of the same epoch");
    struct myco_set gone = world->set;
    gone.version++;
    gone.in_sync_count = 1;
    gone.in_sync[0] = (struct myco_holder){3, 1};
    gone.primary = 0;
    uint64_t token = world_put(world, 1, 1);
    myco_hypha_configure(world->nodes[1].hypha, &gone);
    ok(world_done(world, token, MYCO_EUNKNOWN),
        "not a member any more: what was pending is unknown");
    ok(!myco_hypha_serving(world->nodes[1].hypha), "it does not serve");
    world_run(world, 1);
    ok(myco_hypha_idle(world->nodes[1].hypha), "and is idle");
    world_free(world);
}

/* A member that started again is another holder: what it says does not count for the former one. */
static void test_generation(void)
{
    struct world *world = three(MYCO_LEVEL_REPLICATED);
    world_crash(world, 2);
    uint64_t token = world_put(world, 0, 1);
    world_boot(world, 2);
    world_run(world, 800);
    is_int(world_op(world, token)->outcome, OUTCOME_NONE, "the newer generation does not count");
    world->managed = true;
    world_run(world, 3000);
    ok(world_done(world, token, 0), "the set shrinks");
    is_int(world->set.in_sync_count, 3, "and takes it in again");
    is_int(world->set.in_sync[2].generation, 2, "as who it is now");
    ok(world_equal(world), "all copies are the same");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

/* The primary hears of a set later than the member does, or the other way round. */
static void test_member_late(void)
{
    struct world *world = world_new(2, MYCO_LEVEL_DISK, 13);
    world_start(world, false);
    world_put(world, 0, 1);
    world->nodes[1].cut_off = true; /* the member will be greeted before it knows that it is one */
    world->set.joining[0] = (struct myco_holder){2, 1};
    world->set.joining_count = 1;
    world->set.version++;
    world_configure(world);
    world_run(world, 800);
    is_int(world->nodes[1].hypha->log.last, 0, "not a member, as far as it knows: it is silent");
    is_int(world->set.in_sync_count, 1, "and counts for nothing");
    world->nodes[1].cut_off = false;
    world_configure(world);
    world_run(world, 300);
    is_int(world->set.in_sync_count, 2, "it knows: it is in the set at once");
    ok(world_equal(world), "and has everything");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

/* A member left, threw its copy away and came again, while its primary heard nothing: what it had
 * acknowledged before does not count any more. */
static void test_member_again(void)
{
    struct world *world = world_new(2, MYCO_LEVEL_DISK, 14);
    world_start(world, false);
    world->no_refusals = true;
    for (unsigned i = 0; i < 5; i++) world_put(world, 0, i);
    world->set.joining[0] = (struct myco_holder){2, 1};
    world->set.joining_count = 1;
    world->set.version++;
    world_configure(world);
    world_run(world, 500);
    is_int(world->nodes[0].proposals[MYCO_PROPOSE_EXPAND], 1, "a member that has everything");
    world->nodes[0].cut_off = true;
    world_remove(world, 1, 0);
    world_run(world, 100);
    is_int(world->nodes[1].hypha->log.last, 0, "is removed, and has nothing any more");
    world->nodes[1].frozen = true;
    world->set.joining[0] = (struct myco_holder){2, 1};
    world->set.joining_count = 1;
    world->set.version++;
    world->nodes[0].cut_off = false;
    world_configure(world);
    world_run(world, 1500);
    is_int(world->nodes[0].proposals[MYCO_PROPOSE_EXPAND], 1,
        "it comes again, and has nothing durable");
    world->nodes[1].frozen = false;
    world_run(world, 1000);
    is_int(world->nodes[0].proposals[MYCO_PROPOSE_EXPAND], 2, "it is proposed when it has");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

/* P leads in epoch 1, Q in 2 without P knowing, P again in 3: what a member acknowledged to P in
 * epoch 1 was cut by Q, and must be acknowledged anew. */
static void test_lead_again(void)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    world_cut(world, 0, 2);
    for (unsigned i = 0; i < 4; i++) world_put(world, 0, i);
    world_run(world, 100);
    is_int(world->nodes[0].hypha->members[0]->acked, 5, "one member has the writes, the other not");
    world_isolate(world, 0);
    world_primary(world, 2);
    world_run(world, 200);
    is_int(world->nodes[1].hypha->log.last, 2, "the next primary cut them there");
    world->nodes[0].cut_off = false;
    world_primary(world, 0);
    world_mend(world, 0, 2);
    world_run(world, 400);
    is_int(world->nodes[0].hypha->set.epoch, 3, "the first one leads again");
    is_int(world->nodes[0].hypha->log.commit, 1, "and does not count what was cut");
    world_mend(world, 0, 1);
    world_run(world, 400);
    ok(world_serving(world) == &world->nodes[0], "it serves when all have everything");
    is_int(world->nodes[0].hypha->log.commit, 6, "the writes survived after all");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

int main(void)
{
    test_shrink();
    test_shrink_idle();
    test_expand(true);
    test_expand(false);
    test_deposed(true);
    test_deposed(false);
    test_new_primary();
    test_seal();
    test_old_sets();
    test_generation();
    test_member_late();
    test_member_again();
    test_lead_again();
    return plan_done();
}
