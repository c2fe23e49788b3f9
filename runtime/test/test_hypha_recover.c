/* What a hypha is after it started again, and what is left of it in the object store. Would catch:
 * a recovery that loses, invents or reorders records, or applies what was not committed; a journal
 * that is read though it is damaged; an exported hypha that is not the same when it is imported;
 * versions that are given twice after a restore; a restore that does not survive a crash. */
#include "tap.h"

#include "base/mem.h"
#include "hypha_world.h"

#define PUT ((struct myco_write){.op = MYCO_OP_PUT})

static struct world *some(unsigned count)
{
    struct world *world = world_new(count, MYCO_LEVEL_DISK, 41);
    world_start(world, true);
    world_run(world, 200);
    return world;
}

static void test_restart(bool snapshot)
{
    struct world *world = some(3);
    for (unsigned i = 0; i < 50; i++) {
        world_put(world, 0, i % WORLD_KEYS);
        world_run(world, 5);
        if (snapshot && i % 10 == 0) world_snapshot(world, i % 3);
    }
    world_isolate(world, 0);
    uint64_t pending = world_put(world, 0, 1);
    world_run(world, 50);
    uint64_t applied = world->nodes[0].hypha->log.applied, last = world->nodes[0].hypha->log.last;
    if (snapshot) world_snapshot(world, 0);
    world_run(world, 50);
    world_crash(world, 0);
    ok(world_done(world, pending, MYCO_EUNKNOWN), "a crash: what was pending is unknown");
    world_boot(world, 0);
    struct myco_hypha *hypha = world->nodes[0].hypha;
    is_int(hypha->log.last, last, "its whole log is there");
    is_int(hypha->log.durable, last, "and is durable");
    ok(hypha->log.applied <= applied && hypha->log.applied + 2 >= applied,
        "it applied only what it knows to be committed: %llu of %llu",
        (unsigned long long)hypha->log.applied, (unsigned long long)applied);
    if (snapshot) is_int(hypha->log.applied, applied, "with a snapshot: as much as before");
    is_int(myco_hypha_epoch(hypha), 1, "it knows the epoch of its end");
    world_check(world);
    world_heal(world);
    world_run(world, 2000);
    ok(world_equal(world), "all copies are the same");
    is_int(world->nodes[1].hypha->log.last, last + 1, "the pending write survived, in a new epoch");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

/* Everybody at once, each with a part of what was not synced. */
static void test_restart_all(void)
{
    struct world *world = some(3);
    for (unsigned i = 0; i < 30; i++) {
        world_put(world, 0, i % WORLD_KEYS);
        if (i % 3 == 0) world_run(world, 2);
    }
    for (unsigned i = 0; i < 3; i++) world_crash(world, i);
    for (unsigned i = 0; i < 3; i++) world_boot(world, i);
    world->managed = true;
    ok(world_until(world, world_settled, 5000), "the power was off: it serves again");
    world_run(world, 100);
    ok(world_equal(world), "all copies are the same");
    is_int(world->violations, 0, "no invariant was violated");
    world_free(world);
}

/* REPLICATED, and everybody crashed: what was acknowledged may be lost, as the level says; its
 * versions are not given to other values. A restart that loses nothing goes on where it was. */
static void test_replicated_lost(void)
{
    struct world *world = world_new(2, MYCO_LEVEL_REPLICATED, 43);
    world_start(world, true);
    world_run(world, 200);
    world->nodes[0].frozen = world->nodes[1].frozen = true;
    uint64_t lost = world_put(world, 0, 1);
    world_run(world, 50);
    ok(world_done(world, lost, 0), "acknowledged, and on no disk");
    uint64_t version = world_op(world, lost)->version;
    for (unsigned i = 0; i < 2; i++) {
        world->nodes[i].sequence = world->nodes[i].durable; /* none of it survives */
        while (world->nodes[i].entry_count > 0 &&
               world->nodes[i].entries[world->nodes[i].entry_count - 1].sequence >
                   world->nodes[i].durable) {
            myco_buf_free(&world->nodes[i].entries[--world->nodes[i].entry_count].bytes);
        }
        world_crash(world, i);
        world->nodes[i].frozen = false;
        world_boot(world, i);
    }
    world->lossy = true; /* the truth knows what is lost */
    world->acked_max = 0;
    world->set.in_sync_count = 1; /* as an operator would, or consensus for the last copy */
    world->set.in_sync[0].generation = 2;
    world->set.joining[0] = (struct myco_holder){2, 2};
    world->set.joining_count = 1;
    world_primary(world, 0);
    world_run(world, 1000);
    uint64_t token = world_put(world, 0, 1);
    world_run(world, 50);
    ok(world_done(world, token, 0), "it serves again");
    ok(world_op(world, token)->version > version + 1000, "and no version comes again");
    is_int(world->set.in_sync_count, 2, "the other member follows");
    world_run(world, 200);
    world_crash(world, 0);
    world_boot(world, 0);
    is_int(
        world->nodes[0].hypha->log.last, world_op(world, token)->version, "and recovers from it");
    world_free(world);
    world = some(1);
    world_crash(world, 0);
    world_boot(world, 0);
    world_run(world, 100);
    is_int(world->nodes[0].hypha->log.last, 2, "DISK: the next offset is the next one");
    world_free(world);
}

/* ── A hypha alone, its journal in a list ──────────────────────────────────────────────────── */

static struct myco_hypha *alone(struct world *world, struct myco_hypha_effects *effects)
{
    struct node *node = &world->nodes[0];
    struct myco_hypha_options options = {.env = &node->env,
        .domain = node->domain,
        .self = 1,
        .generation = 2,
        .level = MYCO_LEVEL_DISK};
    *effects = node->hypha->effects;
    return myco_hypha_new(&options, effects);
}

static int load(struct myco_hypha *hypha, const struct journal_entry *entry, struct myco_err *err)
{
    return myco_hypha_load_record(
        hypha, entry->offset, entry->kind, myco_buf_as_slice(&entry->bytes), err);
}

static void test_damage(void)
{
    struct world *world = some(1);
    struct myco_hypha_effects effects;
    for (unsigned i = 0; i < 5; i++) world_put(world, 0, i);
    world_run(world, 50);
    const struct journal_entry *entries = world->nodes[0].entries;
    struct myco_err err = {0};
    struct myco_hypha *hypha = alone(world, &effects);
    is_int(load(hypha, &entries[0], &err), 0, "the first record");
    is_int(load(hypha, &entries[2], &err), MYCO_ECORRUPT, "a gap is damage");
    note("%s", err.message);
    is_int(load(hypha, &entries[1], &err), 0, "the second record");
    is_int(load(hypha, &entries[1], &err), 0, "again: it is known");
    struct myco_slice bytes = myco_buf_as_slice(&entries[2].bytes);
    for (size_t size = 0; size < bytes.size; size++) {
        int rc = myco_hypha_load_record(
            hypha, entries[2].offset, MYCO__KIND_RECORD, myco_bytes(bytes.data, size), &err);
        if (rc != MYCO_ECORRUPT) ok(false, "a record cut to %zu bytes gives %d", size, rc);
    }
    is_int(myco_hypha_load_record(hypha, 9, MYCO__KIND_RECORD, bytes, &err), MYCO_ECORRUPT,
        "a record at another place");
    is_int(myco_hypha_load_record(hypha, 0, MYCO__KIND_CUT, bytes, &err), MYCO_ECORRUPT,
        "a cut below what was committed");
    is_int(myco_hypha_load_record(hypha, 1, MYCO__KIND_RESET, myco_str("\0x"), &err), MYCO_ECORRUPT,
        "a copy without a beginning");
    is_int(myco_hypha_load_record(hypha, 1, 77, bytes, &err), MYCO_EVERSION,
        "a kind that is not known");
    struct myco_buf saved = {0};
    myco_hypha_save(hypha, &saved);
    unsigned read = 0;
    for (size_t size = 0; size < saved.size; size++) {
        struct myco_hypha *other = alone(world, &effects);
        read += myco_hypha_load_snapshot(other, myco_bytes(saved.data, size), &err) == 0;
        myco_hypha_free(other);
    }
    is_int(read, 0, "a snapshot that is cut off anywhere is refused");
    myco_buf_free(&saved);
    struct myco_set set = {
        .epoch = 1, .version = 1, .primary = 1, .in_sync_count = 1, .in_sync = {{1, 2}}};
    world->nodes[0].seen = 0;
    myco_hypha_configure(hypha, &set);
    is_int(load(hypha, &entries[2], &err), MYCO_EINVAL, "one that runs does not load");
    myco_hypha_free(hypha);
    world_free(world);
}

/* ── The object store ──────────────────────────────────────────────────────────────────────── */

static bool same(const struct myco_table_item *item, void *data)
{
    struct myco_table_item other;
    bool found = myco_table_find(myco_hypha_table(*(struct myco_hypha **)data), item->key, &other);
    if (found && other.version == item->version && other.value.size == item->value.size)
        return true;
    *(struct myco_hypha **)data = NULL;
    return false;
}

static bool equal(struct myco_hypha *a, struct myco_hypha *b)
{
    struct myco_hypha *found = b;
    if (myco_table_count(a->table) != myco_table_count(b->table)) return false;
    myco_table_each(a->table, same, &found);
    return found != NULL;
}

static void put_some(struct world *world, unsigned count)
{
    for (unsigned i = 0; i < count; i++) world_put(world, 0, i % WORLD_KEYS);
    world_run(world, 50);
}

static void test_export(void)
{
    struct world *world = some(1);
    struct myco_hypha *from = world->nodes[0].hypha;
    struct myco_hypha_effects effects;
    struct myco_buf state = {0}, first = {0}, second = {0};
    struct myco_err err = {0};
    uint64_t to, to_first, to_second;
    put_some(world, 20);
    is_int(myco_hypha_export(from, 0, true, &state, &to), 0, "a whole state");
    put_some(world, 10);
    is_int(myco_hypha_export(from, to, false, &first, &to_first), 0, "the records after it");
    world_put(world, 0, 1); /* pending: not exported */
    is_int(
        myco_hypha_export(from, to_first, false, &second, &to_second), 0, "no more are committed");
    is_int(to_second, to_first, "so it goes up to the same place");
    myco_buf_free(&second);
    world_run(world, 50);
    put_some(world, 10);
    is_int(myco_hypha_export(from, to_first, false, &second, &to_second), 0, "and then there are");
    is_int(to_second, from->log.applied, "up to the commit");

    struct myco_hypha *into = alone(world, &effects);
    is_int(myco_hypha_import(into, myco_buf_as_slice(&state), &err), 0, "the state is imported");
    is_int(myco_hypha_import(into, myco_buf_as_slice(&second), &err), MYCO_ECORRUPT,
        "a gap is refused");
    is_int(myco_hypha_import(into, myco_buf_as_slice(&first), &err), 0, "the first part");
    is_int(myco_hypha_import(into, myco_buf_as_slice(&first), &err), 0, "again: it is known");
    is_int(myco_hypha_import(into, myco_buf_as_slice(&second), &err), 0, "the second part");
    ok(equal(from, into) && equal(into, from), "the imported table is the same");
    is_int(myco_hypha_offset(into), myco_hypha_offset(from), "at the same position");
    is_int(myco_hypha_restore(into, 5, &err), MYCO_EINVAL, "a restore never goes back");
    myco_hypha_free(into);

    from->options.tail_size_max = 1;
    put_some(world, 10);
    is_int(myco_hypha_export(from, to_second, false, &first, &to), MYCO_ENOTFOUND,
        "records that are not in memory any more");
    myco_buf_free(&state);
    myco_buf_free(&first);
    myco_buf_free(&second);
    world_free(world);
}

/* The whole way: exported, imported elsewhere, restored, served, crashed, copied to a second
 * node. */
static void test_restore(bool configured_first)
{
    struct world *old = some(1);
    put_some(old, 30);
    struct myco_buf state = {0};
    uint64_t to;
    myco_hypha_export(old->nodes[0].hypha, 0, true, &state, &to);
    world_free(old);

    struct world *world = world_new(2, MYCO_LEVEL_DISK, 42);
    struct myco_err err = {0};
    world->lossy = true; /* the truth is in another world */
    world_start(world, false);
    struct node *node = &world->nodes[0];
    is_int(myco_hypha_import(node->hypha, myco_buf_as_slice(&state), &err), 0, "imported");
    if (configured_first) {
        world_run(world, 200);
        ok(!myco_hypha_serving(node->hypha), "an epoch that the restored log has: can't lead");
    }
    world_primary(world, 0); /* epochs never repeat, a restore included */
    if (configured_first) world_run(world, 200);
    if (configured_first) ok(myco_hypha_serving(node->hypha), "serves");
    node->journal_error = MYCO_EFULL;
    is_int(myco_hypha_restore(node->hypha, 1000000, &err), MYCO_EFULL, "the journal is full");
    note("%s", err.message);
    if (configured_first) {
        uint64_t early = world_put(world, 0, 1);
        is_int(world_op(world, early)->status, MYCO_EUNAVAILABLE, "no writes until it is done");
    }
    node->journal_error = 0;
    is_int(myco_hypha_restore(node->hypha, 1000000, &err), 0, "called again: restored");
    is_int(node->replaced, 1, "a snapshot is asked for");
    world_run(world, 200);
    ok(myco_hypha_serving(node->hypha), "serves");
    uint64_t token = world_put(world, 0, 1);
    world_run(world, 50);
    ok(world_done(world, token, 0), "takes writes");
    ok(world_op(world, token)->version > 1000000, "with versions far above");
    size_t count = myco_table_count(node->hypha->table);
    is_int(count, WORLD_KEYS, "all keys are there");
    world->managed = true;
    world_run(world, 2000);
    is_int(world->set.in_sync_count, 2, "a second node takes a copy");
    ok(world_equal(world), "which is the same");
    world_crash(world, 0);
    world_boot(world, 0);
    is_int(myco_table_count(node->hypha->table), count, "all is there after a crash");
    world_run(world, 1000);
    ok(world_equal(world), "and both serve on");
    is_int(world->violations, 0, "no invariant was violated");
    myco_buf_free(&state);
    world_free(world);
}

static void test_restore_refused(void)
{
    struct world *world = some(2);
    struct myco_err err = {0};
    is_int(myco_hypha_restore(world->nodes[0].hypha, 1000, &err), MYCO_ENOTLEADER,
        "not alone: no restore");
    is_int(
        myco_hypha_restore(world->nodes[1].hypha, 1000, &err), MYCO_ENOTLEADER, "nor on a backup");
    is_int(myco_hypha_import(world->nodes[1].hypha, myco_str("x"), &err), MYCO_EINVAL,
        "nor an import");
    world_free(world);
}

int main(void)
{
    test_restart(false);
    test_restart(true);
    test_restart_all();
    test_replicated_lost();
    test_damage();
    test_export();
    test_restore(false);
    test_restore(true);
    test_restore_refused();
    return plan_done();
}
