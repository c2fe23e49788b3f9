/* Fences of a hypha. Would catch: a write with an older epoch than one that was shown before, by a
 * write, by a read, or by a write that its condition refused; a fence that a new primary, a member
 * that got a copy, or a node that starts again does not know; an answer by a fence that is lost
 * later; names without limit; a record with a fence that a decoder takes for something else. */
#include "tap.h"

#include <string.h>

#include "hypha_world.h"

static struct myco_write fenced(enum myco_op op, const char *name, uint64_t epoch)
{
    return (struct myco_write){.op = op, .fence = myco_str(name), .fence_epoch = epoch};
}

static struct world *world_of(unsigned nodes, enum myco_level level)
{
    struct world *world = world_new(nodes, level, 47);
    world_start(world, true);
    world_run(world, 200);
    return world;
}

static int run_at(struct world *world, unsigned node, struct myco_write write, uint64_t *version)
{
    uint64_t token = world_write(world, node, write, 1, 0);
    world_run(world, 80);
    const struct op *op = world_op(world, token);
    if (version) *version = op->version;
    return op->status;
}

static void test_order(void)
{
    struct world *world = world_of(3, MYCO_LEVEL_DISK);
    uint64_t version;
    is_int(run_at(world, 0, fenced(MYCO_OP_PUT, "job", 7), NULL), 0, "the first epoch is taken");
    is_int(run_at(world, 0, fenced(MYCO_OP_PUT, "job", 7), NULL), 0, "and again");
    is_int(run_at(world, 0, fenced(MYCO_OP_PUT, "job", 6), &version), MYCO_EFENCED,
        "an older one is refused");
    is_int(version, 7, "and told the newer");
    is_int(run_at(world, 0, fenced(MYCO_OP_PUT, "other", 1), NULL), 0, "names do not mix");
    is_int(run_at(world, 0, fenced(MYCO_OP_DEL, "job", 6), NULL), MYCO_EFENCED, "del too");
    is_int(run_at(world, 0, (struct myco_write){.op = MYCO_OP_PUT}, NULL), 0,
        "who shows nothing is not fenced");
    struct myco_write absent = fenced(MYCO_OP_PUT, "job", 9);
    absent.if_absent = true;
    is_int(run_at(world, 0, absent, NULL), MYCO_ECONFLICT, "a refused write of a newer epoch");
    is_int(run_at(world, 0, fenced(MYCO_OP_PUT, "job", 8), &version), MYCO_EFENCED,
        "has been here all the same");
    is_int(version, 9, "with its epoch");
    for (unsigned i = 0; i < 3; i++)
        is_int(myco_hypha_fence(world->nodes[i].hypha, myco_str("job")), 9, "known to copy %u", i);
    is_int(run_at(world, 0, fenced(MYCO_OP_PUT, "job", 0), NULL), MYCO_EINVAL, "epochs are not 0");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_read(void)
{
    struct world *world = world_of(3, MYCO_LEVEL_DISK);
    is_int(run_at(world, 0, fenced(MYCO_OP_NOOP, "job", 4), NULL), 0, "a fenced read");
    is_int(
        run_at(world, 0, fenced(MYCO_OP_PUT, "job", 3), NULL), MYCO_EFENCED, "fences older writes");
    uint64_t last = world->nodes[0].hypha->log.last;
    is_int(run_at(world, 0, fenced(MYCO_OP_NOOP, "job", 4), NULL), 0, "a second one");
    is_int(world->nodes[0].hypha->log.last, last, "logs nothing");
    is_int(run_at(world, 0, fenced(MYCO_OP_NOOP, "job", 3), NULL), MYCO_EFENCED, "older: refused");
    world_free(world);
}

/* The raise is pending; its answer and those that rest on it come with its commit, or not at all.
 */
static void test_pending(void)
{
    struct world *world = world_of(3, MYCO_LEVEL_DISK);
    uint64_t raise = world_write(world, 0, fenced(MYCO_OP_PUT, "job", 5), 1, 0);
    uint64_t older = world_write(world, 0, fenced(MYCO_OP_PUT, "job", 4), 2, 0);
    uint64_t read = world_write(world, 0, fenced(MYCO_OP_NOOP, "job", 5), 3, 0);
    world_run(world, 0);
    is_int(world_op(world, older)->outcome, OUTCOME_NONE, "a refusal waits for what it rests on");
    is_int(world_op(world, read)->outcome, OUTCOME_NONE, "a read too");
    world_run(world, 80);
    ok(world_done(world, raise, 0) && world_done(world, read, 0), "both are taken");
    ok(world_done(world, older, MYCO_EFENCED), "the older is refused");
    world_isolate(world, 0);
    raise = world_write(world, 0, fenced(MYCO_OP_PUT, "job", 8), 1, 0);
    older = world_write(world, 0, fenced(MYCO_OP_PUT, "job", 7), 2, 0);
    world_run(world, 20);
    world_primary(world, 1);
    world_heal(world);
    world_run(world, 3000);
    ok(world_done(world, raise, MYCO_EUNKNOWN), "its primary was replaced: perhaps");
    ok(world_done(world, older, MYCO_EUNAVAILABLE), "what rested on it did not happen");
    is_int(run_at(world, 1, fenced(MYCO_OP_PUT, "job", 4), NULL), MYCO_EFENCED,
        "the next primary knows what was committed");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_durable(void)
{
    struct world *world = world_of(3, MYCO_LEVEL_DISK);
    run_at(world, 0, fenced(MYCO_OP_PUT, "job", 5), NULL);
    run_at(world, 0, fenced(MYCO_OP_PUT, "lock/import", 6), NULL);
    world_run(world, 300);
    for (unsigned i = 0; i < 3; i++) world_crash(world, i);
    for (unsigned i = 0; i < 3; i++) world_boot(world, i);
    world_run(world, 2000);
    is_int(myco_hypha_fence(world->nodes[2].hypha, myco_str("job")), 5, "read from the journal");
    for (unsigned i = 0; i < 3; i++) world_snapshot(world, i);
    world_run(world, 300);
    for (unsigned i = 0; i < 3; i++) world_crash(world, i);
    for (unsigned i = 0; i < 3; i++) world_boot(world, i);
    world_run(world, 2000);
    is_int(myco_hypha_fence(world->nodes[2].hypha, myco_str("job")), 5, "and from a snapshot");
    is_int(myco_hypha_fence(world->nodes[2].hypha, myco_str("lock/import")), 6, "all of them");
    world_free(world);
}

static void test_copied(void)
{
    struct world *world = world_new(2, MYCO_LEVEL_REPLICATED, 48);
    world->options.tail_size_max = 256; /* what joins late gets the state, not the records */
    world->managed = true;
    world_start(world, false);
    world_run(world, 2500);
    world_remove(world, 1, 500);
    run_at(world, 0, fenced(MYCO_OP_PUT, "job", 5), NULL);
    for (unsigned i = 0; i < 40; i++) world_put(world, 0, i % WORLD_KEYS);
    world_run(world, 5000);
    ok(world->copies > 0 || world->nodes[1].sent_bulk + world->nodes[0].sent_bulk > 0,
        "the member was given a copy");
    is_int(myco_hypha_fence(world->nodes[1].hypha, myco_str("job")), 5, "with the fence");
    world_free(world);
}

static void test_parts(void)
{
    struct world *world = world_of(1, MYCO_LEVEL_DISK);
    run_at(world, 0, fenced(MYCO_OP_PUT, "job", 5), NULL);
    struct myco_buf state = {0}, records = {0};
    uint64_t to;
    struct myco_err err = {0};
    myco_hypha_export(world->nodes[0].hypha, 0, true, &state, &to);
    myco_hypha_export(world->nodes[0].hypha, 0, false, &records, &to);
    for (int i = 0; i < 2; i++) {
        struct myco_hypha_options options = world->nodes[0].hypha->options;
        struct myco_hypha *hypha = myco_hypha_new(&options, &world->nodes[0].hypha->effects);
        is_int(myco_hypha_import(hypha, myco_buf_as_slice(i ? &records : &state), &err), 0,
            i ? "records of the object store" : "a state of the object store");
        is_int(myco_hypha_fence(hypha, myco_str("job")), 5, "hold the fence");
        myco_hypha_free(hypha);
    }
    myco_buf_free(&state);
    myco_buf_free(&records);
    world_free(world);
}

static void test_limit(void)
{
    struct world *world = world_of(1, MYCO_LEVEL_REPLICATED);
    unsigned taken = 0;
    char names[MYCO_FENCES_MAX + 1][16];
    for (unsigned i = 0; i <= MYCO_FENCES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "n%u", i);
        uint64_t token = world_write(world, 0, fenced(MYCO_OP_PUT, names[i], i + 1), 1, 0);
        if (i % 64 == 0) world_run(world, 20);
        taken += world_op(world, token)->outcome != OUTCOME_REFUSED;
    }
    is_int(taken, MYCO_FENCES_MAX, "so many names and no more");
    world_run(world, 100);
    is_int(run_at(world, 0, fenced(MYCO_OP_PUT, "one-more", 1), NULL), MYCO_ETOOBIG, "one more");
    is_int(run_at(world, 0, fenced(MYCO_OP_PUT, "n5", 9), NULL), 0, "known ones go on");
    world_free(world);
}

static int decode(const struct myco_write *write, size_t cut)
{
    struct myco__record *record = myco__hypha_record_new(write, 3, 9, 1, 8), *read = NULL;
    int rc = myco__hypha_record_read(myco_bytes(record->bytes, record->size - cut), &read);
    if (rc == 0 && write->fence.size && read->write.fence_epoch != write->fence_epoch) rc = 1;
    myco__hypha_record_free(record);
    if (rc <= 0) myco__hypha_record_free(rc == 0 ? read : NULL);
    return rc;
}

static void test_codec(void)
{
    struct myco_write write = fenced(MYCO_OP_PUT, "job", 5);
    write.key = myco_str("key");
    is_int(decode(&write, 0), 0, "a record with a fence is read as it was written");
    for (size_t cut = 1; cut <= 15; cut += 7)
        is_int(decode(&write, cut), MYCO_EPROTO, "cut by %zu bytes it is refused", cut);
}

int main(void)
{
    test_order();
    test_read();
    test_pending();
    test_durable();
    test_copied();
    test_parts();
    test_limit();
    test_codec();
    return plan_done();
}
