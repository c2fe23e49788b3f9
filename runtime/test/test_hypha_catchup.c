/* How a member that was away gets what it lacks. Would catch: a tail that was never committed and
 * is not cut, or a cut below what was applied; a copy that is taken though records would do, or the
 * reverse; a copy that counts before it is durable, is lost by a snapshot taken in the middle, or
 * leaves a mix of old and new; a hang after a lost message, a full lane, a full journal, or no
 * memory. */
#include "tap.h"

#include "base/mem.h"
#include "hypha_world.h"

#define PUT ((struct myco_write){.op = MYCO_OP_PUT})

static struct world *some(unsigned count, enum myco_level level, size_t tail_size)
{
    struct world *world = world_new(count, level, 21);
    world->options.tail_size_max = tail_size;
    world_start(world, true);
    world_run(world, 200);
    return world;
}

/* Out of the set, by hand; then back in as a joining member. */
static void leave(struct world *world, unsigned node)
{
    struct myco_set *set = &world->set;
    uint8_t kept = 0;
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        if (set->in_sync[i].node != node + 1) set->in_sync[kept++] = set->in_sync[i];
    }
    set->in_sync_count = kept;
    set->version++;
    world_configure(world);
}

static void join(struct world *world, unsigned node)
{
    struct myco_set *set = &world->set;
    set->joining[set->joining_count++] =
        (struct myco_holder){node + 1, world->nodes[node].generation};
    set->version++;
    world_configure(world);
}

static void check_end(struct world *world, const char *what)
{
    world_run(world, 3000);
    ok(world_equal(world), "%s: all copies are the same", what);
    world_check(world);
    is_int(world->violations, 0, "%s: no invariant was violated", what);
    world_free(world);
}

/* primary  1 1 1 │ 2 2      old primary  1 1 1 1 1 1: three records of epoch 1 reached nobody */
static void test_cut(void)
{
    struct world *world = some(3, MYCO_LEVEL_DISK, 0);
    world_put(world, 0, 1);
    world_run(world, 300);
    world_isolate(world, 0);
    uint64_t lost[3];
    for (unsigned i = 0; i < 3; i++) lost[i] = world_put(world, 0, 2);
    world_run(world, 100);
    is_int(world->nodes[0].hypha->log.last, 5, "the old primary has a tail of its own");
    world_primary(world, 1);
    world_run(world, 3000); /* shrinks */
    world_put(world, 1, 3);
    world_run(world, 200);
    is_int(world->nodes[1].hypha->log.last, 4, "the new one has other records there");
    world->managed = true;
    world_heal(world);
    world_run(world, 1000);
    for (unsigned i = 0; i < 3; i++) {
        ok(world_done(world, lost[i], MYCO_EUNKNOWN), "a lost write is unknown");
    }
    is_int(world->copies, 0, "no copy was needed");
    is_int(world->nodes[0].hypha->log.last, world->nodes[1].hypha->log.last, "the tail is cut");
    bool cut = false;
    for (size_t i = 0; i < world->nodes[0].entry_count; i++) {
        cut = cut || world->nodes[0].entries[i].kind == MYCO__KIND_CUT;
    }
    ok(cut, "and the journal says so");
    world_crash(world, 0);
    world_boot(world, 0);
    check_end(world, "cut");
}

/* A member that recovered a long tail of several epochs: only what the primary has too stays. */
static void test_cut_epochs(void)
{
    struct world *world = some(3, MYCO_LEVEL_DISK, 0);
    for (unsigned round = 0; round < 3;
         round++) { /* 0 and 1 lead in turn, alone with their tails */
        unsigned leader = round % 2;
        world_heal(world);
        world_primary(world, leader);
        world_run(world, 60);
        world_isolate(world, leader);
        for (unsigned i = 0; i <= round; i++) world_put(world, leader, i);
        world_run(world, 20);
    }
    world_heal(world);
    world_primary(world, 2);
    world_run(world, 1000);
    ok(world_serving(world) == &world->nodes[2], "the third one serves");
    is_int(world->copies, 0, "no copy was needed");
    check_end(world, "epochs");
}

static void test_tail_or_copy(void)
{
    struct world *world = some(3, MYCO_LEVEL_DISK, 4000);
    leave(world, 2);
    world_cut(world, 0, 2);
    world_run(world, 50);
    for (unsigned i = 0; i < 5; i++) world_put(world, 0, i);
    world_run(world, 200);
    world_mend(world, 0, 2);
    join(world, 2);
    world_run(world, 1000);
    is_int(world->set.in_sync_count, 3, "a little behind: it is back");
    is_int(world->copies, 0, "by records");
    leave(world, 2);
    world_cut(world, 0, 2);
    world_run(world, 50);
    for (unsigned i = 0; i < 200; i++) {
        world_put(world, 0, i % WORLD_KEYS);
        if (i % 20 == 0) world_run(world, 20);
    }
    world_mend(world, 0, 2);
    join(world, 2);
    world_run(world, 1000);
    is_int(world->set.in_sync_count, 3, "far behind: it is back");
    is_int(world->copies, 1, "by a copy");
    check_end(world, "tail or copy");
}

/* Eight keys of a few MiB: a copy of many pieces; one value is larger than a piece. */
static struct world *big(size_t value_size)
{
    struct world *world = some(2, MYCO_LEVEL_DISK, 1);
    leave(world, 1);
    world_run(world, 50);
    for (unsigned i = 0; i < WORLD_KEYS; i++) {
        world_write(world, 0, PUT, i, value_size);
        world_run(world, 50);
    }
    return world;
}

static void until_copying(struct world *world)
{
    for (int i = 0; i < 200 && world->nodes[1].hypha->staging == NULL; i++) {
        world->now_ns += MS / 10;
        world_run(world, 0);
    }
}

static void test_copy(void)
{
    struct world *world = big(700 * 1000);
    join(world, 1);
    unsigned before = world->nodes[0].sent_bulk;
    struct myco_table *table = myco_hypha_table(world->nodes[1].hypha);
    until_copying(world);
    world->nodes[1].journal_error = MYCO_EFULL; /* it takes its time, and writes go on */
    for (unsigned i = 0; i < 20; i++) {
        const struct myco__member *member = world->nodes[0].hypha->members[0];
        uint64_t flying = member->copy_sent - member->copy_acked;
        if (flying > MYCO__PIECES_MAX * MYCO__PIECE_SIZE_MAX) {
            world_violation(world, "too much in flight");
        }
        world_put(world, 0, i % 2);
        world_run(world, 10);
    }
    world->nodes[1].journal_error = 0;
    unsigned greeted = world->nodes[0].sent[MYCO__HELLO];
    world_run(world, 300);
    unsigned pieces = world->nodes[0].sent_bulk - before;
    ok(pieces >= 22 && pieces < 40, "5.6 MB are sent in pieces: %u", pieces);
    ok(myco_hypha_table(world->nodes[1].hypha) != table, "the table was swapped at the end");
    world_run(world, 1000);
    is_int(world->nodes[0].hypha->copy.size, 0, "the primary's buffer is gone");
    is_int(world->copies, 1, "it was sent once, though writes went on");
    is_int(world->nodes[0].sent[MYCO__HELLO], greeted, "in one session");
    check_end(world, "copy");
}

/* DISK: the copy counts when its last piece is durable, not before. */
static void test_copy_durable(void)
{
    struct world *world = big(1000);
    world->nodes[1].frozen = true;
    join(world, 1);
    world_run(world, 500);
    is_int(world->copies, 1, "the copy is there");
    is_int(world->set.in_sync_count, 1, "not durable: not in the set");
    world->nodes[1].frozen = false;
    world_run(world, 500);
    is_int(world->set.in_sync_count, 2, "durable: in the set");
    check_end(world, "durable copy");
}

/* The member crashes while it takes a copy in, with and without a snapshot in the middle of it. */
static void test_copy_crash(bool snapshot)
{
    struct world *world = big(700 * 1000);
    uint64_t last = world->nodes[1].hypha->log.last;
    join(world, 1);
    until_copying(world);
    ok(world->nodes[1].hypha->staging != NULL, "in the middle of a copy");
    if (snapshot) world_snapshot(world, 1);
    world_run(world, 1); /* the last pieces go to the journal after the snapshot was made */
    world_break(world, 0, 1);
    world->nodes[1].frozen = true;
    if (snapshot) {
        world->nodes[1].frozen = false;
        world_run(world, 60);
    }
    world_crash(world, 1);
    world_boot(world, 1);
    is_int(world->nodes[1].hypha->log.last, last, "after the crash the old state stands");
    world->nodes[1].frozen = false;
    world->set.joining[0].generation = world->nodes[1].generation;
    world->set.version++;
    world_configure(world);
    world_run(world, 3000);
    is_int(world->set.in_sync_count, 2, "it takes another copy");
    world_crash(world, 1);
    world_boot(world, 1);
    check_end(world, snapshot ? "crash, snapshot" : "crash");
}

/* A snapshot in the middle, and the copy goes on: the journal has its beginning in the snapshot and
 * its end in records, and the two must fit together. */
static void test_copy_snapshot(void)
{
    struct world *world = big(700 * 1000);
    world->no_replaced = true; /* the snapshot at the end would hold everything */
    join(world, 1);
    until_copying(world); /* its journal is full for a while: time for a snapshot */
    world->nodes[1].journal_error = MYCO_EFULL;
    world_snapshot(world, 1);
    world_run(world, 50);
    world->nodes[1].journal_error = 0;
    world_run(world, 500);
    is_int(world->copies, 1, "a copy with a snapshot in it");
    while (world->nodes[1].hypha->log.durable == 0) world_run(world, 1);
    uint64_t last = world->nodes[1].hypha->log.last;
    world_crash(world, 1);
    const struct node *node = &world->nodes[1];
    ok(node->entry_count > 0 && node->entries[0].kind == MYCO__KIND_RESET,
        "pieces are on the disk");
    ok(node->saved && !node->entries[0].bytes.data[0], "and continue what the snapshot holds");
    world_boot(world, 1);
    is_int(world->nodes[1].hypha->log.last, last, "what it acknowledged as durable is there");
    check_end(world, "copy with snapshots");
}

static void test_journal_full(void)
{
    struct world *world = big(700 * 1000);
    join(world, 1);
    until_copying(world);
    world->nodes[1].journal_error = MYCO_EFULL;
    world_run(world, 500);
    is_int(world->copies, 0, "the member's journal is full: the copy waits");
    world->nodes[1].journal_error = 0;
    world_run(world, 1000);
    is_int(world->copies, 1, "and goes on when it is not");
    is_int(world->set.in_sync_count, 2, "to its end");
    world->nodes[1].journal_error = MYCO_ENOSPC;
    uint64_t token = world_put(world, 0, 1);
    world_run(world, 500);
    is_int(world_op(world, token)->outcome, OUTCOME_NONE, "records wait as well");
    world->nodes[1].journal_error = 0;
    world_run(world, 500);
    ok(world_done(world, token, 0), "and are sent again");
    check_end(world, "full journal");
}

/* A message that vanishes although the connection stands: the net below all. */
static void test_lost_messages(void)
{
    static const unsigned kinds[] = {MYCO__APPEND, MYCO__ACK, MYCO__HELLO, MYCO__END, MYCO__START,
        MYCO__PIECE, MYCO__TAKEN, MYCO__ASK};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        bool copy = kinds[i] == MYCO__PIECE || kinds[i] == MYCO__TAKEN;
        struct world *world = copy ? big(300 * 1000) : some(2, MYCO_LEVEL_DISK, 0);
        if (!copy) leave(world, 1);
        world_run(world, 50);
        world_put(world, 0, 1);
        world->drop_kind = kinds[i];
        join(world, 1);
        world_run(world, 500);
        uint64_t token = world_put(world, 0, 1);
        world_run(world, 4000);
        ok(world_done(world, token, 0), "message %u was lost: the write is answered", kinds[i]);
        is_int(world->set.in_sync_count, 2, "and the member is in the set");
        if (kinds[i] != MYCO__ASK) is_int(world->drop_kind, 0, "one was lost");
        check_end(world, "lost message");
    }
}

/* The same in a set at rest: nothing else comes that would show the gap. */
static void test_lost_last(unsigned kind)
{
    struct world *world = some(2, MYCO_LEVEL_DISK, 0);
    world_put(world, 0, 1);
    world_run(world, 500);
    world->drop_kind = kind;
    uint64_t token = world_put(world, 0, 1);
    world_run(world, 1200);
    ok(world_done(world, token, 0), "the last message %u was lost: it is sent again", kind);
    is_int(world->drop_kind, 0, "one was lost");
    is_int(world->set.in_sync_count, 2, "the set is what it was");
    check_end(world, "lost last message");
}

/* The newest commit is told, and lost with the connection: it is told again. */
static void test_tell_lost(void)
{
    struct world *world = some(2, MYCO_LEVEL_DISK, 0);
    struct myco_hypha *hypha = world->nodes[0].hypha;
    uint64_t token = world_put(world, 0, 1);
    while (!world_done(world, token, 0) || hypha->members[0]->told < hypha->log.commit) {
        world->now_ns += MS / 20;
        world_run(world, 0);
    }
    ok(world->nodes[1].hypha->log.applied < 2, "the commit is on its way");
    world_break(world, 0, 1);
    world_run(world, 500);
    is_int(world->nodes[1].hypha->log.applied, 2, "and is told in the next session too");
    check_end(world, "tell");
}

/* What was on its way to the disk when the log was cut says nothing about what is there now. */
static void test_cut_durable(void)
{
    struct world *world = some(3, MYCO_LEVEL_DISK, 0);
    world_isolate(world, 0);
    world->nodes[0].frozen = true;
    for (unsigned i = 0; i < 5; i++) world_put(world, 0, i);
    world_run(world, 20);
    uint64_t old_sequence = world->nodes[0].sequence;
    world_primary(world, 1);
    world->nodes[0].cut_off = false;
    world_mend(world, 0, 1);
    world_configure(world);
    world_run(world, 300);
    struct myco_hypha *hypha = world->nodes[0].hypha;
    is_int(hypha->log.last, 2, "the tail is cut, and another record is there");
    is_int(hypha->log.durable, 1, "which is not durable");
    myco_hypha_durable(hypha, old_sequence);
    is_int(hypha->log.durable, 1, "also not when the former ones are");
    world->nodes[0].frozen = false;
    world_mend(world, 0, 2);
    check_end(world, "durable after a cut");
    world = some(3, MYCO_LEVEL_DISK, 0);
    world_isolate(world, 0);
    for (unsigned i = 0; i < 5; i++) world_put(world, 0, i);
    world_run(world, 100);
    is_int(world->nodes[0].hypha->log.durable, 6, "a tail that is durable");
    world_primary(world, 1);
    world_mend(world, 0, 1);
    world->nodes[0].cut_off = false;
    world->nodes[0].frozen = true;
    world_configure(world);
    world_run(world, 300);
    is_int(world->nodes[0].hypha->log.durable, 1, "is not any more when it is cut");
    world->nodes[0].frozen = false;
    world_mend(world, 0, 2);
    check_end(world, "durable before a cut");
}

/* Whatever allocation fails, on whichever node: later everything is as if it had not. */
static void test_no_memory(bool copies)
{
    unsigned failed = 0;
    for (long nth = 1; nth <= 60; nth++) {
        struct world *world = copies ? big(300 * 1000) : some(3, MYCO_LEVEL_DISK, 0);
        if (copies) join(world, 1);
        myco_mem_fail_nth(nth);
        for (unsigned i = 0; i < 4; i++) {
            world_put(world, 0, i);
            world_run(world, 10);
        }
        world_run(world, copies ? 200 : 20);
        myco_mem_fail_nth(0);
        world_run(world, 2500);
        world->managed = true;
        if (!world_until(world, world_settled, 4000)) world_violation(world, "does not settle");
        world_run(world, 100);
        if (!world_equal(world)) world_violation(world, "copies differ");
        for (uint64_t token = 1; token <= world->op_count; token++) {
            if (world_op(world, token)->outcome == OUTCOME_NONE)
                world_violation(world, "not answered");
        }
        failed += world->violations;
        world_free(world);
    }
    is_int(failed, 0, "no memory, each time elsewhere%s: nothing is lost",
        copies ? ", in a copy" : "");
}

/* MEMORY: a gap means a full copy; versions of lost records are never given again. */
static void test_memory_gap(void)
{
    struct world *world = some(3, MYCO_LEVEL_MEMORY, 2000);
    world_isolate(world, 0);
    for (unsigned i = 0; i < 10; i++) world_put(world, 0, i % WORLD_KEYS);
    world_run(world, 10);
    uint64_t lost = world_op(world, 10)->version;
    ok(world_done(world, 10, 0), "MEMORY: acknowledged, and not sent");
    world_primary(world, 1);
    world_run(world, 2500);
    world->managed = true;
    uint64_t token = world_put(world, 1, 0);
    world_run(world, 10);
    ok(world_done(world, token, 0), "the next primary goes on without it");
    ok(world_op(world, token)->version > lost, "and never gives its version again");
    world_heal(world);
    world_run(world, 3000);
    is_int(world->nodes[0].replaced, 1, "the old primary applied what nobody has: a copy");
    is_int(world->nodes[2].replaced, 0, "the other one did not need one");
    check_end(world, "memory");
}

static void test_lane_full(void)
{
    struct world *world = some(3, MYCO_LEVEL_DISK, 0);
    world->nodes[0].send_error = MYCO_EFULL;
    uint64_t token = world_put(world, 0, 1);
    world_run(world, 5);
    world->nodes[0].send_error = 0;
    myco_hypha_peer_drained(world->nodes[0].hypha, 2);
    myco_hypha_peer_drained(world->nodes[0].hypha, 3);
    world_run(world, 30);
    ok(world_done(world, token, 0), "a full lane that drains: the write goes on at once");
    check_end(world, "full lane");
}

int main(void)
{
    test_cut();
    test_cut_epochs();
    test_tail_or_copy();
    test_copy();
    test_copy_durable();
    test_copy_crash(false);
    test_copy_crash(true);
    test_copy_snapshot();
    test_journal_full();
    test_lost_messages();
    test_lost_last(MYCO__APPEND);
    test_lost_last(MYCO__ACK);
    test_tell_lost();
    test_cut_durable();
    test_no_memory(false);
    test_no_memory(true);
    test_memory_gap();
    test_lane_full();
    return plan_done();
}
