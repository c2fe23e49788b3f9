/* What a journal makes of files that a crash or rot left. Catches: a record that was acknowledged
 * and does not come back; one that comes back and never was; damage that is believed, or taken for
 * a torn tail; a torn tail that is taken for damage; a journal that can't be used after it was cut.
 */
#include <inttypes.h>

#include "fake_disk.h"
#include "store/journal.h"
#include "store/journal_format.h"
#include "tap.h"

#define STREAMS      4
#define SEGMENT_SIZE 700

/* A stream's life ends with a drop; its number is in what it writes, and begins again at
 * position 1. */
struct owner {
    struct fake *f;
    struct myco_journal *journal;
    uint64_t life[STREAMS], position[STREAMS];
    unsigned wrong, closed;
    uint64_t durable;
};

static struct myco_slice bytes_of(uint64_t life, uint64_t position, uint8_t bytes[64])
{
    size_t size = 16 + position * 7 % 40;
    memset(bytes, (int)position, 64);
    memcpy(bytes, &life, 8);
    memcpy(bytes + 8, &position, 8);
    return myco_bytes(bytes, size);
}

static void took(struct owner *o, uint64_t stream, uint64_t position, struct myco_slice bytes)
{
    uint8_t want[64];
    uint64_t life;
    if (stream >= STREAMS || bytes.size < 16) {
        o->wrong++;
        return;
    }
    memcpy(&life, bytes.data, 8);
    struct myco_slice slice = bytes_of(life, position, want);
    if (bytes.size != slice.size || memcmp(bytes.data, want, bytes.size) != 0) o->wrong++;
    o->life[stream] = life;
    o->position[stream] = position;
}

static int on_snapshot(uint64_t stream, uint64_t position, struct myco_slice bytes, void *data)
{
    took(data, stream, position, bytes);
    return 0;
}

static int on_record(
    uint64_t stream, uint64_t position, uint8_t kind, struct myco_slice bytes, void *data)
{
    struct owner *o = data;
    if (stream >= STREAMS || kind != 1 || position != o->position[stream] + 1) o->wrong++;
    took(o, stream, position, bytes);
    return 0;
}

static void on_durable(uint64_t sequence, void *data)
{
    ((struct owner *)data)->durable = sequence;
}

static void on_failed(int status, void *data)
{
    (void)status, (void)data;
}

static void on_wanted(uint64_t stream, void *data)
{
    (void)stream, (void)data;
}

static void on_closed(void *data)
{
    ((struct owner *)data)->closed++;
}

static int try_open(struct owner *o, struct fake *f, struct myco_err *err)
{
    struct myco_journal_options options = {.disk = &f->disk, .env = &f->env, .folder = "journal"};
    struct myco_journal_events events = {
        on_snapshot, on_record, on_durable, on_failed, on_wanted, o};
    options.segment_size = SEGMENT_SIZE;
    *o = (struct owner){.f = f};
    return myco_journal_open(&options, &events, &o->journal, err);
}

static void finish(struct owner *o)
{
    myco_journal_close(o->journal, on_closed, o);
    fake_run(o->f, FAKE_ALL);
    if (o->closed != 1) bail_out("close did not call back");
}

static uint64_t append(struct owner *o, uint64_t stream)
{
    uint8_t bytes[64];
    uint64_t sequence = 0, position = o->position[stream] + 1;
    struct myco_slice slice = bytes_of(o->life[stream], position, bytes);
    if (myco_journal_append(o->journal, stream, position, 1, slice, &sequence) == 0) {
        o->position[stream] = position;
    }
    return sequence;
}

static void snapshot(struct owner *o, uint64_t stream)
{
    uint8_t bytes[64];
    uint64_t position = o->position[stream];
    struct myco_slice slice = bytes_of(o->life[stream], position, bytes);
    myco_journal_snapshot(o->journal, stream, position, slice, NULL, NULL);
}

static void drop(struct owner *o, uint64_t stream)
{
    myco_journal_drop(o->journal, stream);
    o->life[stream]++;
    o->position[stream] = 0;
}

/* Of a file without the zeros at its end. */
static size_t data_size(const struct fake_file *file)
{
    size_t size = file->bytes.size;
    while (size > 0 && file->bytes.data[size - 1] == 0) size--;
    return size;
}

/* The segment that was begun last; *size is its size without zeros. */
static const char *last_segment(const struct fake *f, size_t *size)
{
    const struct fake_file *last = NULL;
    for (int i = 0; i < FAKE_FILES; i++) {
        const struct fake_file *file = &f->files[i];
        if (strstr(file->path, ".log") == NULL) continue;
        if (last == NULL || strcmp(file->path, last->path) > 0) last = file;
    }
    *size = data_size(last);
    return last->path;
}

/* ── Torn tails ──────────────────────────────────────────────────────────────────────────────── */

static void fill(struct owner *o, struct fake *f, unsigned batches)
{
    struct myco_err err = {0};
    fake_init(f);
    if (try_open(o, f, &err) != 0) bail_out("open: %s", err.message);
    for (unsigned i = 0; i < batches; i++) {
        for (uint64_t stream = 0; stream < STREAMS; stream++) append(o, stream);
        fake_run(f, FAKE_ALL);
    }
}

/* Whether `f` opens, works, and opens again, with stream 0 at `least` or beyond. */
static bool works(struct fake *f, uint64_t least, struct myco_err *err)
{
    struct owner o = {0};
    if (try_open(&o, f, err) != 0) return false;
    bool good = o.wrong == 0 && o.position[0] >= least;
    append(&o, 0);
    finish(&o);
    uint64_t position = o.position[0];
    if (try_open(&o, f, err) != 0) return false;
    good = good && o.wrong == 0 && o.position[0] == position;
    finish(&o);
    return good;
}

static void test_torn_tail(void)
{
    struct fake f, copy;
    struct owner o;
    struct myco_err err = {0};
    size_t before, after;
    fill(&o, &f, 5);
    const char *path = last_segment(&f, &before);
    uint64_t position = o.position[0];
    for (uint64_t stream = 0; stream < STREAMS; stream++) append(&o, stream);
    fake_run(&f, FAKE_ALL);
    if (strcmp(last_segment(&f, &after), path) != 0) bail_out("the segment rolled");
    unsigned wrong = 0;
    for (size_t size = before; size <= after; size++) {
        fake_copy(&copy, &f);
        fake_find(&copy, path)->bytes.size = size;
        if (!works(&copy, size == after ? position + 1 : position, &err)) wrong++;
        fake_free(&copy);
        fake_copy(&copy, &f); /* or there are zeros, or noise, instead of its end */
        struct fake_file *file = fake_find(&copy, path);
        memset(file->bytes.data + size, size % 2 ? 0 : 0xa5, file->bytes.size - size);
        if (!works(&copy, position, &err)) wrong++;
        fake_free(&copy);
    }
    is_int(wrong, 0, "cut at any of %zu bytes, the last batch is lost and nothing else",
        after - before);
    if (wrong > 0) note("%s", err.message);
    finish(&o);
    fake_free(&f);
}

/* ── Rot ─────────────────────────────────────────────────────────────────────────────────────── */

static unsigned flip_all(struct fake *f, struct fake_file *file, size_t end, unsigned *missed)
{
    unsigned tried = 0;
    for (size_t at = 0; at < end; at++, tried++) {
        struct fake copy;
        struct owner o;
        struct myco_err err = {0};
        char offset[24];
        fake_copy(&copy, f);
        fake_find(&copy, file->path)->bytes.data[at] ^= (uint8_t)(1u << at % 8);
        int status = try_open(&o, &copy, &err);
        if (status == 0) finish(&o);
        snprintf(offset, sizeof(offset), " offset ");
        bool named = strstr(err.message, file->path) && strstr(err.message, offset);
        if (status != MYCO_ECORRUPT || !named) {
            ++*missed;
            note("%s at %zu of %zu: %d %s", file->path, at, file->bytes.size, status, err.message);
        }
        fake_free(&copy);
    }
    return tried;
}

static void test_rot(void)
{
    struct fake f;
    struct owner o;
    unsigned tried = 0, missed = 0;
    struct myco_err err = {0};
    fill(&o, &f, 8);
    snapshot(&o, 1);
    for (int i = 0; i < 3; i++) append(&o, 2);
    fake_run(&f, FAKE_ALL);
    finish(&o); /* seals: there is a watermark over everything */
    if (try_open(&o, &f, &err) != 0) bail_out("open: %s", err.message);
    finish(&o); /* and without zeros at the end, of which it says nothing */
    for (int i = 0; i < FAKE_FILES; i++) {
        struct fake_file *file = &f.files[i];
        size_t size = 0;
        if (file->path[0] == '\0') continue;
        bool last = strcmp(last_segment(&f, &size), file->path) == 0;
        size_t end = file->bytes.size - (last ? MYCO__LOG_RECORD_HEADER_SIZE : 0);
        tried += flip_all(&f, file, end, &missed);
    }
    ok(tried > 1500 && missed == 0, "a flipped bit in any of %u bytes is ECORRUPT", tried);
    fake_free(&f);
}

static void expect_corrupt(struct fake *f, const char *what)
{
    struct owner o;
    struct myco_err err = {0};
    int status = try_open(&o, f, &err);
    is_int(status, MYCO_ECORRUPT, "%s: %s", what, err.message);
    if (status == 0) finish(&o);
}

static void test_missing(void)
{
    struct fake f, copy;
    struct owner o;
    fill(&o, &f, 12);
    finish(&o);
    char paths[FAKE_FILES][128];
    unsigned count = 0;
    for (int i = 0; i < FAKE_FILES; i++) {
        if (f.files[i].path[0] != '\0') strcpy(paths[count++], f.files[i].path);
    }
    qsort(paths, count, sizeof(paths[0]), (int (*)(const void *, const void *))strcmp);
    ok(count > 3, "%u segments", count);
    fake_copy(&copy, &f);
    fake_forget(fake_find(&copy, paths[count / 2]));
    expect_corrupt(&copy, "a segment in the middle is missing");
    fake_free(&copy);
    fake_copy(&copy, &f);
    struct fake_file *second = fake_find(&copy, paths[1]);
    second->bytes.size = data_size(second) - MYCO__LOG_RECORD_HEADER_SIZE;
    expect_corrupt(&copy, "a sealed segment lost its seal");
    fake_free(&copy);
    fake_copy(&copy, &f);
    strcpy(fake_find(&copy, paths[0])->path, "journal/00000000000000ff.log");
    expect_corrupt(&copy, "a segment under another name");
    fake_free(&copy);
    fake_copy(&copy, &f);
    for (unsigned i = 0; i < count; i++) fake_forget(fake_find(&copy, paths[i]));
    fake_put_file(&copy, "journal/0000000000000001.snap", myco_str("x"));
    expect_corrupt(&copy, "snapshots, and no segment");
    fake_free(&copy);
    fake_free(&f);
}

/* What a client wrote looks like a watermark, and stands in a torn tail: still a torn tail. */
static void test_forged_watermark(void)
{
    struct fake f;
    struct owner o;
    struct myco_err err = {0};
    struct myco_buf forged = {0};
    size_t size;
    uint64_t sequence;
    fill(&o, &f, 2);
    myco__watermark_write(&forged, 1000000);
    myco__log_records_seal(forged.data, forged.size, 0);
    for (int i = 0; i < 5; i++) {
        myco_journal_append(o.journal, 3, 3, 1, myco_buf_as_slice(&forged), &sequence);
    }
    fake_run(&f, FAKE_ALL);
    const char *path = last_segment(&f, &size);
    fake_crash(&f, FAKE_KEPT);
    finish(&o);
    fake_restart(&f);
    fake_find(&f, path)->bytes.data[size - 5 * 66 + 10] ^= 1;
    ok(works(&f, 2, &err), "a forged watermark in the tail is not believed");
    myco_buf_free(&forged);
    fake_free(&f);
}

/* ── Crash points ────────────────────────────────────────────────────────────────────────────── */

/* What must be there after a crash, and what may be. */
struct promise {
    uint64_t life[STREAMS], position[STREAMS]; /* at least */
};

struct step {
    uint64_t sequence;      /* when this is durable, … */
    struct promise promise; /* … this is promised */
};

static void remember(struct owner *o, struct step *step, uint64_t sequence)
{
    step->sequence = sequence;
    memcpy(step->promise.life, o->life, sizeof(o->life));
    memcpy(step->promise.position, o->position, sizeof(o->position));
}

#define STEPS 60

/* Appends, snapshots and drops, with at most `ops` disk operations in all; true when it got to the
 * end. */
static bool scenario(struct owner *o, struct fake *f, unsigned ops, struct step steps[STEPS])
{
    for (unsigned i = 0; i < STEPS; i++) {
        for (unsigned k = 0; k <= i % 3; k++) append(o, (i + k) % STREAMS);
        if (i % 11 == 7) snapshot(o, i % STREAMS);
        if (i % 23 == 19) drop(o, i % STREAMS);
        if (i % 23 == 20) snapshot(o, i % STREAMS);
        if (i == 45)
            for (uint64_t k = 0; k < STREAMS; k++) snapshot(o, k);
        remember(o, &steps[i], append(o, (i + 2) % STREAMS));
        if (i % 4 == 3) f->until_ns = f->now_ns + 60000000; /* a lonely watermark */
        if (ops <= f->done_count) return false;
        if (i % 2 == 0 && !fake_run(f, ops - f->done_count)) return false;
    }
    return fake_run(f, ops - f->done_count);
}

static bool kept(const struct owner *o, const struct promise *least, const struct owner *most)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        bool gone = o->position[i] == 0; /* no record: dropped, and nothing since */
        uint64_t life = gone ? least->life[i] : o->life[i];
        if (life < least->life[i] || life > most->life[i]) return false;
        if (life == least->life[i] && o->position[i] < least->position[i]) {
            return gone && most->life[i] > life; /* a drop that was under way */
        }
        if (life == most->life[i] && o->position[i] > most->position[i]) return false;
    }
    return true;
}

static void check_crash(unsigned ops, enum fake_tear tear, bool *end, unsigned *wrong)
{
    struct fake f;
    struct owner o, again;
    struct step steps[STEPS];
    struct myco_err err = {0};
    struct promise promise = {0};
    memset(steps, 0xff, sizeof(steps));
    fake_init(&f);
    if (try_open(&o, &f, &err) != 0) bail_out("open: %s", err.message);
    *end = scenario(&o, &f, ops, steps);
    for (unsigned i = 0; i < STEPS; i++) {
        if (steps[i].sequence <= o.durable) promise = steps[i].promise;
    }
    fake_crash(&f, tear);
    finish(&o);
    fake_restart(&f);
    if (try_open(&again, &f, &err) != 0) {
        note("crash after %u operations (%d): %s", ops, tear, err.message);
        ++*wrong;
        fake_free(&f);
        return;
    }
    if (again.wrong > 0 || !kept(&again, &promise, &o)) {
        note("crash after %u operations (%d): wrong %u", ops, tear, again.wrong);
        for (unsigned i = 0; i < STREAMS; i++) {
            note("  stream %u: life %" PRIu64 " position %" PRIu64 ", promised %" PRIu64
                 " %" PRIu64,
                i, again.life[i], again.position[i], promise.life[i], promise.position[i]);
        }
        ++*wrong;
    }
    for (unsigned i = 0; i < 12; i++) append(&again, i % STREAMS);
    struct owner more = again;
    finish(&again);
    if (try_open(&o, &f, &err) != 0 || o.wrong > 0 ||
        memcmp(o.position, more.position, sizeof(o.position)) != 0) {
        note("crash after %u operations (%d): not usable after it: %s", ops, tear, err.message);
        ++*wrong;
    } else {
        finish(&o);
    }
    fake_free(&f);
}

static void test_crashes(void)
{
    bool end = false;
    unsigned wrong = 0, ops = 0;
    for (; !end; ops++) {
        for (int tear = 0; tear < FAKE_TEARS; tear++) check_crash(ops, tear, &end, &wrong);
    }
    ok(ops > 60 && wrong == 0, "after a crash at any of %u points what was acknowledged is there",
        ops);
}

int main(void)
{
    test_torn_tail();
    test_rot();
    test_missing();
    test_forged_watermark();
    test_crashes();
    return plan_done();
}
