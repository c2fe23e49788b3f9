/* Writes at the primary: conditions, expiry, limits, errors. Would catch: a condition judged
 * against the table while a newer write of the key is pending; an answer that rests on a write
 * which is lost later; an expired entry that counts as present, or a live one that the sweep
 * removes; time that goes back; a gap in the offsets after an error; memory without limit. */
#include "tap.h"

#include "hypha_world.h"

#define PUT             ((struct myco_write){.op = MYCO_OP_PUT})
#define PUT_ABSENT      ((struct myco_write){.op = MYCO_OP_PUT, .if_absent = true})
#define PUT_VERSION(v)  ((struct myco_write){.op = MYCO_OP_PUT, .if_version = (v)})
#define PUT_EXPIRES(ms) ((struct myco_write){.op = MYCO_OP_PUT, .expires_ms = (ms)})
#define DEL             ((struct myco_write){.op = MYCO_OP_DEL})
#define DEL_VERSION(v)  ((struct myco_write){.op = MYCO_OP_DEL, .if_version = (v)})
#define DEL_EXPIRED     ((struct myco_write){.op = MYCO_OP_DEL, .if_expired = true})

static struct world *three(void)
{
    struct world *world = world_new(3, MYCO_LEVEL_DISK, 31);
    world_start(world, true);
    world_run(world, 200);
    return world;
}

static void ended(
    struct world *world, uint64_t token, int status, uint64_t version, const char *what)
{
    const struct op *op = world_op(world, token);
    bool right = op->outcome == OUTCOME_DONE && op->status == status && op->version == version;
    ok(right, "%s", what);
    if (!right) {
        note("outcome %d, status %d, version %llu", op->outcome, op->status,
            (unsigned long long)op->version);
    }
}

static uint64_t run(struct world *world, struct myco_write write, unsigned key)
{
    uint64_t token = world_write(world, 0, write, key, 0);
    world_run(world, 60);
    return token;
}

static void test_committed(void)
{
    struct world *world = three();
    ended(world, run(world, PUT_VERSION(9), 1), MYCO_ECONFLICT, 0, "if_version of an absent key");
    ended(world, run(world, DEL, 1), MYCO_ENOTFOUND, 0, "del of an absent key");
    ended(world, run(world, DEL_VERSION(1), 1), MYCO_ECONFLICT, 0,
        "del of a version that is not there");
    is_int(world->nodes[0].hypha->log.last, 1, "none of them is in the log");
    ended(world, run(world, PUT_ABSENT, 1), 0, 2, "if_absent of an absent key");
    ended(world, run(world, PUT_ABSENT, 1), MYCO_ECONFLICT, 2, "if_absent of a present one");
    ended(world, run(world, PUT_VERSION(1), 1), MYCO_ECONFLICT, 2, "another version");
    ended(world, run(world, PUT_VERSION(2), 1), 0, 3, "the version that is there");
    ended(world, run(world, DEL_VERSION(2), 1), MYCO_ECONFLICT, 3, "del of a former version");
    ended(world, run(world, DEL_VERSION(3), 1), 0, 4, "del of the version that is there");
    ended(world, run(world, (struct myco_write){.op = MYCO_OP_NOOP}, 1), 0, 5, "a barrier");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_pending(void)
{
    struct world *world = three();
    uint64_t put = world_put(world, 0, 1);
    uint64_t absent = world_write(world, 0, PUT_ABSENT, 1, 0);
    uint64_t version = world_write(world, 0, PUT_VERSION(2), 1, 0);
    uint64_t stale = world_write(world, 0, PUT_VERSION(2), 1, 0);
    uint64_t del = world_write(world, 0, DEL, 1, 0);
    uint64_t again = world_write(world, 0, DEL, 1, 0);
    uint64_t other = world_write(world, 0, PUT_VERSION(1), 2, 0);
    world_run(world, 0);
    is_int(world_op(world, absent)->outcome, OUTCOME_NONE,
        "a conflict with what is pending waits for it");
    ended(world, other, MYCO_ECONFLICT, 0, "one with the table does not");
    world_run(world, 60);
    ended(world, put, 0, 2, "the first write");
    ended(world, absent, MYCO_ECONFLICT, 2, "if_absent was judged by the pending one");
    ended(world, version, 0, 3, "if_version too");
    ended(world, stale, MYCO_ECONFLICT, 3, "and by the newest of them");
    ended(world, del, 0, 4, "del");
    ended(world, again, MYCO_ENOTFOUND, 0, "a second del finds nothing");
    is_int(world->nodes[0].hypha->index_count, 0, "the index of pending keys is empty again");
    is_int(world->nodes[0].hypha->answers_size, 0, "and no answer waits");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

/* What a conflict rests on is lost: it must not have been said. */
static void test_pending_lost(void)
{
    struct world *world = three();
    world_isolate(world, 0);
    uint64_t put = world_put(world, 0, 1);
    uint64_t absent = world_write(world, 0, PUT_ABSENT, 1, 0);
    world_run(world, 100);
    is_int(world_op(world, absent)->outcome, OUTCOME_NONE, "a conflict with what nobody has waits");
    world_primary(world, 1);
    world->managed = true;
    world_run(world, 2500);
    world_heal(world);
    world_run(world, 500);
    ended(world, put, MYCO_EUNKNOWN, 0, "the write may have happened");
    ended(world, absent, MYCO_EUNAVAILABLE, 0, "the conflict is withdrawn: it did not happen");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_expiry(void)
{
    struct world *world = three();
    struct myco_hypha *hypha = world->nodes[0].hypha;
    uint64_t soon = myco_hypha_log_time_ms(hypha) + 1000;
    ended(world, run(world, PUT_EXPIRES(soon), 1), 0, 2, "a write that expires");
    ended(world, run(world, DEL_EXPIRED, 1), MYCO_ECONFLICT, 2,
        "the sweep is early: nothing happens");
    ended(world, run(world, PUT_ABSENT, 1), MYCO_ECONFLICT, 2, "it is there");
    world_run(world, 1000);
    ended(world, run(world, DEL, 1), MYCO_ENOTFOUND, 0, "expired: it counts as absent");
    ended(world, run(world, PUT_VERSION(2), 1), MYCO_ECONFLICT, 0, "also for if_version");
    ended(world, run(world, DEL_EXPIRED, 1), 0, 3, "the sweep removes it");
    is_int(myco_table_count(hypha->table), 0, "it is gone");
    ended(world, run(world, DEL_EXPIRED, 1), MYCO_ENOTFOUND, 0, "there is nothing more to remove");
    soon = myco_hypha_log_time_ms(hypha) + 50;
    run(world, PUT_EXPIRES(soon), 2);
    world_run(world, 100);
    ended(world, run(world, PUT_ABSENT, 2), 0, 5, "if_absent takes the place of an expired one");
    ended(world, run(world, DEL_EXPIRED, 2), MYCO_ECONFLICT, 5, "which the sweep leaves alone");
    world->nodes[0].wall_skew_ms = -5000;
    uint64_t before = myco_hypha_log_time_ms(hypha);
    run(world, PUT, 3);
    ok(hypha->log.time_ms >= before && myco_hypha_log_time_ms(hypha) >= before,
        "a clock that is set back does not take log time with it");
    world_run(world, 200); /* the backups hear of it */
    world_primary(world, 1);
    world->nodes[1].wall_skew_ms = -9000;
    world_run(world, 200);
    ok(myco_hypha_log_time_ms(world->nodes[1].hypha) >= before, "nor does a new primary's");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

static void test_errors(void)
{
    static const int errors[] = {MYCO_EFULL, MYCO_ENOSPC, MYCO_EIO};
    struct world *world = three();
    for (size_t i = 0; i < 3; i++) {
        world->nodes[0].journal_error = errors[i];
        uint64_t token = world_put(world, 0, 1);
        is_int(world_op(world, token)->status, errors[i], "the journal refuses: so does the write");
        world->nodes[0].journal_error = 0;
        ended(world, run(world, PUT, 1), 0, 2 + i, "the next one gets the next offset");
    }
    struct myco_write write = {.op = MYCO_OP_PUT};
    struct myco_hypha *hypha = world->nodes[0].hypha;
    is_int(myco_hypha_write(hypha, &write, 1), MYCO_EINVAL, "a write without key");
    write.key = myco_bytes("k", 1);
    write.value = myco_bytes("", MYCO_VALUE_SIZE_MAX + 1);
    is_int(myco_hypha_write(hypha, &write, 1), MYCO_ETOOBIG, "a value that is too large");
    write.value = myco_bytes("", 0);
    write.key = myco_bytes("k", MYCO_KEY_SIZE_MAX + 1);
    is_int(myco_hypha_write(hypha, &write, 1), MYCO_ETOOBIG, "a key that is too large");
    write = (struct myco_write){
        .op = MYCO_OP_DEL, .key = myco_bytes("k", 1), .value = myco_bytes("v", 1)};
    is_int(myco_hypha_write(hypha, &write, 1), MYCO_EINVAL, "a del with a value");
    world->nodes[1].journal_error = MYCO_EIO; /* a backup whose disk is gone */
    uint64_t token = world_put(world, 0, 1);
    world_run(world, 2500);
    ok(world_done(world, token, 0), "a backup that can't write leaves the set");
    is_int(world->set.in_sync_count, 2, "it did");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

/* The first record of an epoch finds no room in the journal. */
static void test_begin_refused(void)
{
    struct world *world = three();
    world->nodes[1].journal_error = MYCO_ENOSPC;
    world_primary(world, 1);
    world_run(world, 500);
    ok(world_serving(world) == NULL, "a new primary without room in its journal does not serve");
    world->nodes[1].journal_error = 0;
    world_run(world, 300);
    ok(world_serving(world) == &world->nodes[1], "it does when it has");
    world_free(world);
}

static void test_limits(void)
{
    struct world *world = world_new(3, MYCO_LEVEL_DISK, 32);
    world->options.pending_size_max = 100000;
    world_start(world, true);
    world_run(world, 200);
    world_isolate(world, 1);
    unsigned taken = 0;
    uint64_t token;
    do {
        token = world_write(world, 0, PUT, taken % WORLD_KEYS, 1000);
    } while (world_op(world, token)->status == 0 && ++taken < 1000);
    is_int(world_op(world, token)->status, MYCO_EFULL, "pending writes are bounded");
    ok(taken > 50 && taken < 101, "by their bytes: %u of 1,000 B in 100,000 B", taken);
    world_heal(world);
    world_run(world, 300);
    token = world_put(world, 0, 1);
    world_run(world, 50);
    ok(world_done(world, token, 0), "when they are committed there is room again");
    for (taken = 0; taken < 100000; taken++) {
        token = world_write(world, 0, PUT_VERSION(1), 1, 0);
        if (world_op(world, token)->status != 0) break;
    }
    is_int(
        world_op(world, token)->status, MYCO_EFULL, "answers that wait are bounded too: %u", taken);
    world_run(world, 50);
    is_int(world->nodes[0].hypha->answers_size, 0, "and are said");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

/* Freed with writes under way: each is answered. */
static void test_free(void)
{
    struct world *world = three();
    uint64_t put = world_put(world, 0, 1);
    uint64_t absent = world_write(world, 0, PUT_ABSENT, 1, 0);
    uint64_t other = world_write(world, 0, PUT_VERSION(1), 2, 0);
    world_crash(world, 0);
    ended(world, put, MYCO_EUNKNOWN, 0, "freed: a pending write is unknown");
    ended(world, absent, MYCO_EUNAVAILABLE, 0, "a conflict with it did not happen");
    ended(world, other, MYCO_EUNAVAILABLE, 0, "nor one that was not said yet");
    world_free(world);
}

int main(void)
{
    test_committed();
    test_pending();
    test_pending_lost();
    test_expiry();
    test_errors();
    test_begin_refused();
    test_limits();
    test_free();
    return plan_done();
}
