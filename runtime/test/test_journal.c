/* The journal in use: what is appended comes back, in order, from segments and snapshots. Catches:
 * records lost or doubled over a restart or a roll; a snapshot that lets too much go, or nothing; a
 * dropped stream that comes back; commits that are not gathered; a full disk that is not survived,
 * and a broken one that is. */
#include <inttypes.h>

#include "fake_disk.h"
#include "store/journal.h"
#include "tap.h"

#define STREAMS 8

/* What an owner knows: the position of each stream, from its snapshot and the records since. */
struct owner {
    struct fake *f;
    struct myco_journal *journal;
    uint64_t position[STREAMS]; /* as recovered, or as appended */
    bool snapshot[STREAMS];     /* recovery gave one */
    unsigned records, wrong, wanted[STREAMS];
    uint64_t durable, sequence;
    unsigned durable_calls, failed_calls, snapshots_done, closed;
    int failed, snapshot_status;
    bool answer_wanted; /* with a snapshot */
};

static size_t size_of(uint64_t stream, uint64_t position)
{
    return (size_t)(stream * 31 + position * 7) % 90;
}

static struct myco_slice bytes_of(uint64_t stream, uint64_t position, uint8_t *bytes)
{
    size_t size = size_of(stream, position);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(stream * 13 + position + i);
    return myco_bytes(bytes, size);
}

static bool bytes_right(uint64_t stream, uint64_t position, struct myco_slice got)
{
    uint8_t bytes[128];
    struct myco_slice want = bytes_of(stream, position, bytes);
    return got.size == want.size && memcmp(got.data, want.data, want.size) == 0;
}

static int on_snapshot(uint64_t stream, uint64_t position, struct myco_slice bytes, void *data)
{
    struct owner *o = data;
    if (o->snapshot[stream] || !bytes_right(stream, position, bytes)) o->wrong++;
    o->snapshot[stream] = true;
    o->position[stream] = position;
    return 0;
}

static int on_record(
    uint64_t stream, uint64_t position, uint8_t kind, struct myco_slice bytes, void *data)
{
    struct owner *o = data;
    if (position != o->position[stream] + 1 || kind != stream % 5) o->wrong++;
    if (!bytes_right(stream, position, bytes)) o->wrong++;
    o->position[stream] = position;
    o->records++;
    return 0;
}

static void on_durable(uint64_t sequence, void *data)
{
    struct owner *o = data;
    if (sequence <= o->durable) o->wrong++;
    o->durable = sequence;
    o->durable_calls++;
}

static void on_failed(int status, void *data)
{
    struct owner *o = data;
    o->failed = status;
    o->failed_calls++;
}

static void on_snapshot_done(int status, void *data)
{
    struct owner *o = data;
    o->snapshots_done++;
    o->snapshot_status = status;
}

static void snapshot(struct owner *o, uint64_t stream)
{
    uint8_t bytes[128];
    struct myco_slice slice = bytes_of(stream, o->position[stream], bytes);
    myco_journal_snapshot(o->journal, stream, o->position[stream], slice, on_snapshot_done, o);
}

static void on_snapshot_wanted(uint64_t stream, void *data)
{
    struct owner *o = data;
    o->wanted[stream]++;
    if (o->answer_wanted) snapshot(o, stream);
}

static void on_closed(void *data)
{
    ((struct owner *)data)->closed++;
}

static int try_open(struct owner *o, struct fake *f, struct myco_err *err)
{
    struct myco_journal_options options = {.disk = &f->disk, .env = &f->env, .folder = "journal"};
    struct myco_journal_events events = {
        on_snapshot, on_record, on_durable, on_failed, on_snapshot_wanted, o};
    options.segment_size = 2000;
    options.size_max = 20000;
    *o = (struct owner){.f = f};
    int status = myco_journal_open(&options, &events, &o->journal, err);
    if (status == 0) o->durable = o->sequence = myco_journal_durable(o->journal);
    return status;
}

static void open_journal(struct owner *o, struct fake *f)
{
    struct myco_err err = {0};
    if (try_open(o, f, &err) != 0) bail_out("open: %s", err.message);
    if (o->wrong > 0) bail_out("recovery told a wrong story");
}

static int append(struct owner *o, uint64_t stream)
{
    uint8_t bytes[128];
    uint64_t sequence = 0, position = o->position[stream] + 1;
    int status = myco_journal_append(o->journal, stream, position, (uint8_t)(stream % 5),
        bytes_of(stream, position, bytes), &sequence);
    if (status != 0) return status;
    if (sequence <= o->sequence) o->wrong++;
    o->sequence = sequence;
    o->position[stream] = position;
    return 0;
}

static void append_many(struct owner *o, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (append(o, i % STREAMS) != 0) o->wrong++;
        if (i % 20 == 19) fake_run(o->f, FAKE_ALL);
    }
    fake_run(o->f, FAKE_ALL);
}

static void close_journal(struct owner *o)
{
    myco_journal_close(o->journal, on_closed, o);
    if (o->closed != 0) o->wrong++;
    fake_run(o->f, FAKE_ALL);
    is_int(o->closed, 1, "closed");
}

/* Closes, opens, and compares what each stream is. */
static void reopen(struct owner *o, const char *when)
{
    struct owner before = *o;
    struct fake *f = o->f;
    close_journal(o);
    open_journal(o, f);
    ok(memcmp(before.position, o->position, sizeof(o->position)) == 0,
        "%s: each stream is what it was", when);
    is_int(o->durable, before.sequence, "%s: sequences go on", when);
}

static unsigned file_count(const struct fake *f, const char *ending)
{
    unsigned count = 0;
    for (int i = 0; i < FAKE_FILES; i++) count += strstr(f->files[i].path, ending) != NULL;
    return count;
}

/* ── Appending ───────────────────────────────────────────────────────────────────────────────── */

static void test_group_commit(void)
{
    struct fake f;
    struct owner o;
    fake_init(&f);
    open_journal(&o, &f);
    for (int i = 0; i < 5; i++) append(&o, 1);
    is_int(o.durable_calls, 0, "append does not call back");
    fake_run(&f, 0);
    for (int i = 0; i < 8; i++) append(&o, 2); /* while the first five are under way */
    ok(!myco_journal_idle(o.journal), "not idle");
    fake_run(&f, FAKE_ALL);
    is_int(f.sync_count, 2, "thirteen records, two syncs");
    is_int(o.durable_calls, 2, "two calls of on_durable");
    is_int(o.durable, 13, "all are durable");
    is_int(myco_journal_durable(o.journal), 13, "as the journal says");
    ok(myco_journal_idle(o.journal), "idle");
    unsigned syncs = f.sync_count, done = f.done_count;
    f.until_ns = f.now_ns + UINT64_C(3600) * 1000000000;
    fake_run(&f, FAKE_ALL);
    is_int(f.sync_count, syncs, "an idle hour syncs nothing");
    is_int(f.done_count, done + 1, "but for one watermark it writes nothing");
    reopen(&o, "after it");
    is_int(o.records, 13, "13 records");
    close_journal(&o);
    fake_free(&f);
}

static void test_segments(void)
{
    struct fake f;
    struct owner o;
    fake_init(&f);
    open_journal(&o, &f);
    append_many(&o, 400);
    unsigned segments = file_count(&f, ".log");
    ok(segments > 10, "400 records in %u segments", segments);
    reopen(&o, "many segments");
    is_int(o.records, 400, "400 records");
    append_many(&o, 50);
    reopen(&o, "more after it");
    is_int(o.records, 450, "450 records");
    ok(file_count(&f, ".log") >= segments, "without snapshots nothing is deleted");
    reopen(&o, "nothing new");
    close_journal(&o);
    is_int(o.wrong, 0, "nothing was wrong");
    fake_free(&f);
}

static void test_large(void)
{
    struct fake f;
    struct owner o;
    struct myco_err err;
    fake_init(&f);
    open_journal(&o, &f);
    uint8_t *bytes = myco_alloc(70u << 20);
    uint64_t sequence;
    struct myco_slice slice = {bytes, 64u << 20};
    is_int(myco_journal_append(o.journal, 1, 1, 1, slice, &sequence), 0, "64 MiB, alone, fit");
    is_int(myco_journal_append(o.journal, 1, 2, 1, myco_str("x"), &sequence), MYCO_EFULL,
        "then it is full");
    slice.size++;
    is_int(myco_journal_append(o.journal, 1, 1, 1, slice, &sequence), MYCO_ETOOBIG, "too big");
    fake_run(&f, FAKE_ALL);
    is_int(o.durable, 1, "durable");
    myco_mem_fail_nth(1);
    slice.size = 3u << 20;
    is_int(myco_journal_append(o.journal, 1, 2, 1, slice, &sequence), MYCO_ENOMEM, "no memory");
    myco_mem_fail_nth(0);
    is_int(myco_journal_append(o.journal, 1, 2, 1, slice, &sequence), 0, "with memory again");
    is_int(sequence, 2, "the refused one took no sequence");
    close_journal(&o);
    is_int(try_open(&o, &f, &err), 0, "opens again");
    is_int(o.records, 2, "both are there");
    close_journal(&o);
    myco_free(bytes);
    fake_free(&f);
}

/* ── Snapshots ───────────────────────────────────────────────────────────────────────────────── */

static void test_snapshots(void)
{
    struct fake f;
    struct owner o;
    fake_init(&f);
    open_journal(&o, &f);
    append_many(&o, 400);
    for (uint64_t i = 0; i < STREAMS; i++) snapshot(&o, i);
    append(&o, 3); /* under way together */
    fake_run(&f, FAKE_ALL);
    is_int(o.snapshots_done, STREAMS, "all snapshots called back");
    is_int(file_count(&f, ".log"), 1, "they let all segments go but the last");
    reopen(&o, "snapshots");
    is_int(o.records, 1, "one record came after the snapshots");
    append_many(&o, 100);
    reopen(&o, "snapshots and records");
    is_int(o.records, 101, "101 records");
    snapshot(&o, 3);
    fake_run(&f, FAKE_ALL);
    ok(file_count(&f, ".log") > 1, "one new snapshot does not let the others' records go");
    close_journal(&o);
    is_int(o.wrong, 0, "nothing was wrong");
    fake_free(&f);
}

static void test_wanted(void)
{
    struct fake f;
    struct owner o;
    fake_init(&f);
    open_journal(&o, &f);
    append(&o, 5); /* and never again: it pins all that follows */
    while (file_count(&f, ".log") < 8) {
        for (int i = 0; i < 8; i++) append(&o, 2);
        fake_run(&f, FAKE_ALL);
    }
    is_int(o.wanted[5], 1, "asked for a snapshot, once within a second");
    f.until_ns = f.now_ns + UINT64_C(3100) * 1000000;
    fake_run(&f, FAKE_ALL);
    is_int(o.wanted[5], 4, "each second it is asked again");
    o.answer_wanted = true;
    f.until_ns = f.now_ns + UINT64_C(5000) * 1000000;
    fake_run(&f, FAKE_ALL);
    ok(file_count(&f, ".log") <= 4, "once it answered, four segments are left at most");
    unsigned wanted = o.wanted[5] + o.wanted[2];
    f.until_ns = f.now_ns + UINT64_C(60000) * 1000000;
    fake_run(&f, FAKE_ALL);
    is_int(o.wanted[5] + o.wanted[2], wanted, "nothing more is asked");
    is_int(o.wanted[1], 0, "nor a stream that has no records");
    reopen(&o, "wanted");
    close_journal(&o);
    fake_free(&f);
}

static void test_drop(void)
{
    struct fake f;
    struct owner o;
    fake_init(&f);
    open_journal(&o, &f);
    append_many(&o, 100);
    for (uint64_t i = 0; i < 4; i++) snapshot(&o, i);
    fake_run(&f, FAKE_ALL);
    for (uint64_t i = 0; i < STREAMS; i += 2) myco_journal_drop(o.journal, i);
    myco_journal_drop(o.journal, 77); /* nobody knows it */
    o.sequence += STREAMS / 2;        /* a drop is a record, too */
    for (uint64_t i = 0; i < STREAMS; i += 2) o.position[i] = 0;
    append(&o, 4); /* begins anew */
    fake_run(&f, FAKE_ALL);
    is_int(file_count(&f, ".snap"), 2, "the dropped ones' snapshots are gone");
    reopen(&o, "dropped");
    ok(!o.snapshot[0] && !o.snapshot[2] && o.snapshot[1] && o.snapshot[3],
        "snapshots of those left");
    for (uint64_t i = 1; i < STREAMS; i += 2) snapshot(&o, i);
    snapshot(&o, 4);
    fake_run(&f, FAKE_ALL);
    is_int(file_count(&f, ".log"), 1, "a dropped stream pins nothing");
    reopen(&o, "dropped, all others in snapshots");
    close_journal(&o);
    is_int(o.wrong, 0, "nothing was wrong");
    fake_free(&f);
}

/* The snapshot of a dropped stream can't be deleted: the drop's record must stay as long as the
 * file. */
static void test_drop_lingers(void)
{
    struct fake f;
    struct owner o;
    fake_init(&f);
    open_journal(&o, &f);
    append(&o, 0);
    snapshot(&o, 0);
    fake_run(&f, FAKE_ALL);
    f.del_status = MYCO_EIO;
    myco_journal_drop(o.journal, 0);
    o.position[0] = 0;
    for (int i = 0; i < 100; i++) {
        append(&o, 1);
        f.until_ns = f.now_ns + UINT64_C(100) * 1000000;
        fake_run(&f, FAKE_ALL);
    }
    f.del_status = 0;
    snapshot(&o, 1);
    fake_run(&f, 2);
    is_int(o.snapshots_done, 2, "the other stream needs no old segment");
    f.del_status = MYCO_EIO;
    close_journal(&o);
    open_journal(&o, &f);
    ok(!o.snapshot[0] && o.position[0] == 0, "what was dropped does not come back");
    is_int(file_count(&f, ".snap"), 1, "and its file is gone now");
    close_journal(&o);
    fake_free(&f);
}

/* ── Disks that refuse ───────────────────────────────────────────────────────────────────────── */

static void test_no_space(void)
{
    struct fake f;
    struct owner o;
    fake_init(&f);
    open_journal(&o, &f);
    append_many(&o, 100);
    uint64_t before = o.durable, done = f.done_count;
    f.size_max = fake_size(&f) + 10;
    for (int i = 0; i < 5; i++) append(&o, 1);
    fake_run(&f, FAKE_ALL);
    is_int(o.failed, MYCO_ENOSPC, "on_failed: no space");
    is_int(append(&o, 1), MYCO_ENOSPC, "appends are refused");
    f.until_ns = f.now_ns + UINT64_C(5500) * 1000000;
    fake_run(&f, FAKE_ALL);
    is_int(o.durable, before, "nothing more is durable");
    is_int(o.failed_calls, 1, "said once");
    ok(f.done_count - done >= 6, "tried each second (%" PRIu64 " times)", f.done_count - done);
    f.size_max = 0;
    f.until_ns = f.now_ns + UINT64_C(1500) * 1000000;
    fake_run(&f, FAKE_ALL);
    is_int(o.durable, before + 5, "with space it goes on by itself");
    is_int(append(&o, 1), 0, "appends are taken again");
    fake_run(&f, FAKE_ALL);
    reopen(&o, "after the disk was full");
    f.size_max = fake_size(&f);
    append(&o, 1);
    o.position[1]--;
    myco_journal_close(o.journal, on_closed, &o);
    fake_run(&f, FAKE_ALL);
    is_int(o.closed, 1, "closing does not wait for space");
    struct owner again;
    open_journal(&again, &f);
    is_int(again.position[1], o.position[1], "what was not durable is not there");
    close_journal(&again);
    is_int(o.wrong + again.wrong, 0, "nothing was wrong");
    fake_free(&f);
}

/* The disk is full in every moment of a roll, and gets space again. */
static void test_no_space_anywhere(void)
{
    for (unsigned room = 0; room < 6000; room += 37) {
        struct fake f;
        struct owner o;
        fake_init(&f);
        open_journal(&o, &f);
        f.size_max = 40 + room;
        for (int i = 0; i < 60 && o.failed == 0; i++) {
            for (uint64_t k = 0; k < STREAMS; k++) append(&o, k);
            fake_run(&f, FAKE_ALL);
        }
        uint64_t want = o.sequence;
        f.size_max = 0;
        f.until_ns = f.now_ns + UINT64_C(2000) * 1000000;
        fake_run(&f, FAKE_ALL);
        if (o.failed != MYCO_ENOSPC || o.durable != want) o.wrong++;
        struct owner before = o;
        myco_journal_close(o.journal, on_closed, &o);
        fake_run(&f, FAKE_ALL);
        open_journal(&o, &f);
        if (memcmp(before.position, o.position, sizeof(o.position)) != 0) before.wrong++;
        myco_journal_close(o.journal, on_closed, &o);
        fake_run(&f, FAKE_ALL);
        fake_free(&f);
        if (before.wrong > 0 || o.closed != 1) {
            ok(false, "full at %u bytes", room);
            return;
        }
    }
    ok(true, "full at any of 160 points, it goes on once there is space");
}

static void test_broken(void)
{
    struct fake f;
    struct owner o, again;
    fake_init(&f);
    open_journal(&o, &f);
    append_many(&o, 20);
    f.fail_status = MYCO_EIO;
    append(&o, 1);
    fake_run(&f, FAKE_ALL);
    is_int(o.failed, MYCO_EIO, "on_failed: broken");
    f.fail_status = 0;
    f.until_ns = f.now_ns + UINT64_C(5000) * 1000000;
    fake_run(&f, FAKE_ALL);
    is_int(append(&o, 1), MYCO_EIO, "it stays so");
    is_int(o.durable, 20, "nothing more is durable");
    myco_journal_drop(o.journal, 2);
    snapshot(&o, 3);
    close_journal(&o);
    open_journal(&again, &f);
    is_int(again.durable, 20, "what was durable is there");
    close_journal(&again);
    fake_free(&f);
}

/* Ten thousand records, a segment size as in use. */
static void test_ten_thousand(void)
{
    struct fake f;
    struct owner o;
    fake_init(&f);
    open_journal(&o, &f);
    o.answer_wanted = true;
    for (int i = 0; i < 10000; i++) {
        append(&o, (uint64_t)i * 7 % STREAMS);
        if (i % 30 == 0) fake_run(&f, FAKE_ALL);
        f.until_ns = f.now_ns + UINT64_C(20) * 1000000;
    }
    fake_run(&f, FAKE_ALL);
    ok(file_count(&f, ".log") < 40, "10,000 records, %u segments kept", file_count(&f, ".log"));
    reopen(&o, "10,000 records");
    close_journal(&o);
    is_int(o.wrong, 0, "nothing was wrong");
    fake_free(&f);
}

int main(void)
{
    test_group_commit();
    test_segments();
    test_large();
    test_snapshots();
    test_wanted();
    test_drop();
    test_drop_lingers();
    test_no_space();
    test_no_space_anywhere();
    test_broken();
    test_ten_thousand();
    return plan_done();
}
