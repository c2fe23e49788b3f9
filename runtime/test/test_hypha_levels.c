/* What an acknowledgement means, level by level, and who applies what when. Would catch: an answer
 * before the call returned, before every in-sync member had the write, or (DISK) before it was
 * durable there; a backup that applies what could still be taken back; a backup that is never told;
 * a primary that is not idle, or idle too early; a write that costs a message of its own in a
 * burst. */
#include "tap.h"

#include "hypha_world.h"

static bool has(struct world *world, unsigned node, uint64_t token)
{
    uint64_t version = world_op(world, token)->version;
    return world->nodes[node].hypha->log.applied >= version && version > 0;
}

static void freeze(struct world *world, unsigned node, bool frozen)
{
    world->nodes[node].frozen = frozen;
}

static struct world *three(enum myco_level level)
{
    struct world *world = world_new(3, level, 7);
    world_start(world, true);
    world_run(world, 200);
    ok(world_serving(world) != NULL, "level %d: serves once its set has the first record", level);
    return world;
}

static void test_disk(void)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    freeze(world, 2, true);
    uint64_t token = world_put(world, 0, 1);
    is_int(world_op(world, token)->outcome, OUTCOME_NONE, "no answer inside the call");
    world_run(world, 100);
    is_int(world_op(world, token)->outcome, OUTCOME_NONE, "one disk of three is slow: no answer");
    is_int(world->nodes[2].hypha->log.last, 2, "though that member has the record");
    is_int(world->nodes[1].hypha->log.applied, 1, "and nobody applied it");
    is_int(myco_table_count(world->nodes[0].hypha->table), 0, "not the primary either");
    freeze(world, 2, false);
    world_run(world, 50);
    ok(world_done(world, token, 0), "durable everywhere: answered");
    is_int(world_op(world, token)->version, 2, "with its offset as version");
    freeze(world, 0, true);
    token = world_put(world, 0, 1);
    world_run(world, 100);
    is_int(world_op(world, token)->outcome, OUTCOME_NONE, "the primary's own disk counts too");
    freeze(world, 0, false);
    world_run(world, 50);
    ok(world_done(world, token, 0), "answered");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_replicated(void)
{
    struct world *world = three(MYCO_LEVEL_REPLICATED);
    for (unsigned i = 0; i < 3; i++) freeze(world, i, true);
    uint64_t token = world_put(world, 0, 1);
    world_run(world, 50);
    ok(world_done(world, token, 0), "REPLICATED does not wait for any disk");
    world->nodes[2].send_error = MYCO_EFULL;
    token = world_put(world, 0, 2);
    world_run(world, 50);
    is_int(world_op(world, token)->outcome, OUTCOME_NONE, "but for every member");
    world->nodes[2].send_error = 0;
    world_run(world, 150);
    ok(world_done(world, token, 0), "whose acknowledgement is sent again once it can be");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_memory(void)
{
    struct world *world = three(MYCO_LEVEL_MEMORY);
    world_isolate(world, 1);
    world_isolate(world, 2);
    uint64_t token = world_put(world, 0, 1);
    is_int(world_op(world, token)->outcome, OUTCOME_NONE, "MEMORY: no answer inside the call");
    world_run(world, 1);
    ok(world_done(world, token, 0), "answered though nobody else is there");
    is_int(world->nodes[0].sequence, 0, "and without a journal");
    world_heal(world);
    world_run(world, 300);
    ok(world_equal(world), "the others get it when they come");
    is_int(world->copies, 0, "from the tail, without a copy");
    world_free(world);
}

static void test_told(void)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    uint64_t token = world_put(world, 0, 1);
    for (int i = 0; i < 100 && !world_done(world, token, 0); i++) world_run(world, 1);
    ok(has(world, 0, token), "the primary applied before it answered");
    ok(!has(world, 1, token) && !has(world, 2, token), "backups wait for the primary's commit");
    ok(!myco_hypha_idle(world->nodes[0].hypha), "so the primary is not idle");
    world_run(world, 200);
    ok(has(world, 1, token) && has(world, 2, token),
        "which tells them when it has nothing to send");
    ok(myco_hypha_idle(world->nodes[0].hypha), "then it is");
    ok(myco_hypha_idle(world->nodes[1].hypha), "and a backup too");
    uint64_t messages = world->messages;
    world_run(world, 5000);
    is_int(world->messages - messages, 0, "idle copies say nothing");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_burst(void)
{
    struct world *world = three(MYCO_LEVEL_DISK);
    unsigned before = world->nodes[0].sent[MYCO__APPEND];
    for (unsigned i = 0; i < 1000; i++) world_put(world, 0, i % WORLD_KEYS);
    world_run(world, 300);
    unsigned appends = world->nodes[0].sent[MYCO__APPEND] - before;
    size_t done = 0;
    for (uint64_t token = 1; token <= 1000; token++) done += world_done(world, token, 0);
    is_int(done, 1000, "a burst of 1,000 writes is answered");
    ok(appends <= 20, "in few messages: %u", appends);
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_window(void)
{
    struct world *world = three(MYCO_LEVEL_REPLICATED);
    struct myco_write write = {.op = MYCO_OP_PUT};
    world->nodes[1].send_error = MYCO_EFULL; /* it receives, and can't acknowledge */
    for (unsigned i = 0; i < 100; i++) world_write(world, 0, write, i % WORLD_KEYS, 64 * 1024);
    world_run(world, 50);
    const struct myco__member *member = world->nodes[0].hypha->members[0];
    is_int(member->node, 2, "the slow member");
    ok(member->flight_size <= MYCO__WINDOW_SIZE && member->flight_size > MYCO__WINDOW_SIZE / 2,
        "has at most a window of bytes in flight: %u", member->flight_size);
    ok(world->nodes[0].hypha->members[1]->sent > member->sent, "the other one is ahead");
    world->nodes[1].send_error = 0;
    world_run(world, 400);
    is_int(world->nodes[0].hypha->log.commit, 101, "all of it is committed");
    struct world *small = three(MYCO_LEVEL_REPLICATED);
    small->nodes[1].send_error = MYCO_EFULL;
    for (unsigned i = 0; i < 10000; i++) world_put(small, 0, i % WORLD_KEYS);
    world_run(small, 50);
    ok(small->nodes[0].hypha->members[0]->flight_records <= MYCO__WINDOW_RECORDS,
        "or a window of records: %u", small->nodes[0].hypha->members[0]->flight_records);
    small->nodes[1].send_error = 0;
    world_run(small, 400);
    is_int(small->nodes[0].hypha->log.commit, 10001, "all of it is committed");
    world_free(small);
    write.op = MYCO_OP_PUT;
    uint64_t token = world_write(world, 0, write, 0, MYCO_VALUE_SIZE_MAX);
    world_run(world, 200);
    ok(world_done(world, token, 0), "a value larger than the window goes alone");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

int main(void)
{
    test_disk();
    test_replicated();
    test_memory();
    test_told();
    test_burst();
    test_window();
    return plan_done();
}
