/* A hypha that starts again: from its journal, or from what the object store kept.
 *
 * What the journal's snapshot holds (myco_hypha_save):
 *
 *     u64 size │ a state, with its tail (hypha_state.c) │ a state's beginning, if a copy was being
 * taken in
 *
 * Then its records: RECORD (hypha_codec.c), CUT (empty; the position is the offset that stays),
 * RESET (u8 first │ bytes of a state, which counts from its last piece on). Applied is what some
 * record says was committed when it was made; the rest is the tail, for the next primary to judge.
 *
 * An exported part: u8 kind │ either a state without tail, or slices, each a record. */
#include "store/hypha_internal.h"

#include "base/err.h"

enum { PART_STATE = 1, PART_RECORDS = 2 };

/* Everything read from the disk is durable. */
static void all_durable(struct myco__log *log)
{
    log->mark_count = 0;
    log->durable = log->last;
}

static bool started(const struct myco_hypha *hypha)
{
    return hypha->epoch > 0;
}

static void drop_staging(struct myco_hypha *hypha)
{
    myco__staging_free(hypha->staging);
    hypha->staging = NULL;
}

/* ── Snapshots of the journal ──────────────────────────────────────────────────────────────── */

void myco_hypha_save(const struct myco_hypha *hypha, struct myco_buf *out)
{
    struct myco_buf size = {0};
    size_t at = out->size;
    myco_buf_u64(out, 0);
    myco__state_write(hypha, true, out);
    if (out->failed) return;
    myco_buf_u64(&size, out->size - at - 8);
    if (size.failed) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < 8; i++) out->data[at + i] = size.data[i];
    myco_buf_free(&size);
    if (hypha->staging != NULL) myco__staging_write(hypha->staging, out);
}

/* One feed of a whole state. */
static int load_state(struct myco_hypha *hypha, struct myco_slice bytes, struct myco_err *err)
{
    struct myco__staging *staging = myco__staging_new(hypha);
    bool whole = false;
    int rc = myco__staging_feed(staging, bytes, &whole);
    if (rc == 0 && !whole) rc = MYCO_ECORRUPT;
    if (rc != 0) {
        myco__staging_free(staging);
        if (rc == MYCO_ENOMEM) return myco_err(err, rc, "state of a hypha: out of memory");
        return myco_err(err, MYCO_ECORRUPT, "state of a hypha: not as it was written");
    }
    myco__staging_install(hypha, staging);
    return 0;
}

static int feed_staging(struct myco_hypha *hypha, struct myco_slice bytes, struct myco_err *err)
{
    bool whole = false;
    int rc = myco__staging_feed(hypha->staging, bytes, &whole);
    if (rc == MYCO_ENOMEM) return myco_err(err, rc, "copy of a hypha: out of memory");
    if (rc != 0) return myco_err(err, MYCO_ECORRUPT, "copy of a hypha: not as it was written");
    if (!whole) return 0;
    struct myco__staging *staging = hypha->staging;
    hypha->staging = NULL;
    myco__staging_install(hypha, staging);
    all_durable(&hypha->log);
    return 0;
}

int myco_hypha_load_snapshot(
    struct myco_hypha *hypha, struct myco_slice bytes, struct myco_err *err)
{
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    uint64_t size = myco_read_u64(&reader);
    if (started(hypha)) return myco_err(err, MYCO_EINVAL, "a hypha that runs can't load");
    if (reader.bad || size > myco_read_left(&reader)) {
        return myco_err(err, MYCO_ECORRUPT, "snapshot of a hypha: too short");
    }
    drop_staging(hypha);
    hypha->recovered = true;
    int rc = load_state(hypha, myco_read_bytes(&reader, size), err);
    if (rc != 0) return rc;
    all_durable(&hypha->log);
    size_t left = myco_read_left(&reader);
    if (left == 0) return 0;
    hypha->staging = myco__staging_new(hypha);
    return feed_staging(hypha, myco_read_bytes(&reader, left), err);
}

/* ── Records of the journal ────────────────────────────────────────────────────────────────── */

static int push_loaded(struct myco_hypha *hypha, struct myco__record *record)
{
    struct myco__log *log = &hypha->log;
    if (!myco__log_reserve(log)) {
        myco__hypha_record_free(record);
        return MYCO_ENOMEM;
    }
    uint64_t commit = record->commit < log->last ? record->commit : log->last;
    myco__log_push(log, record, 0);
    if (commit > log->commit) log->commit = commit;
    myco__hypha_apply(hypha);
    return log->applied < log->commit ? MYCO_ENOMEM : 0;
}

static int load_log_record(
    struct myco_hypha *hypha, uint64_t offset, struct myco_slice bytes, struct myco_err *err)
{
    struct myco__record *record;
    int rc = myco__hypha_record_read(bytes, &record);
    if (rc == MYCO_ENOMEM) return myco_err(err, rc, "record of a hypha: out of memory");
    if (rc != 0) return myco_err(err, MYCO_ECORRUPT, "record of a hypha: not as it was written");
    const struct myco__log *log = &hypha->log;
    bool known = offset <= log->last && myco__log_epoch_at(log, offset) == record->epoch;
    bool follows = record->offset == offset && myco__hypha_record_follows(log, record);
    if (known || !follows) {
        uint64_t epoch = record->epoch;
        myco__hypha_record_free(record);
        if (known) return 0;
        return myco_err(err, MYCO_ECORRUPT, "record %llu of epoch %llu does not follow %llu",
            (unsigned long long)offset, (unsigned long long)epoch, (unsigned long long)log->last);
    }
    drop_staging(hypha);
    rc = push_loaded(hypha, record);
    all_durable(&hypha->log);
    return rc == 0 ? 0 : myco_err(err, rc, "record of a hypha: out of memory");
}

static int load_cut(struct myco_hypha *hypha, uint64_t offset, struct myco_err *err)
{
    if (offset < hypha->log.applied) {
        return myco_err(err, MYCO_ECORRUPT, "cut of a hypha at %llu, below what was committed",
            (unsigned long long)offset);
    }
    drop_staging(hypha);
    myco__log_cut(&hypha->log, offset);
    all_durable(&hypha->log);
    return 0;
}

static int load_reset(struct myco_hypha *hypha, struct myco_slice bytes, struct myco_err *err)
{
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    bool first = myco_read_u8(&reader) != 0;
    if (reader.bad) return myco_err(err, MYCO_ECORRUPT, "copy of a hypha: empty");
    if (first) {
        drop_staging(hypha);
        hypha->staging = myco__staging_new(hypha);
    }
    if (hypha->staging == NULL) {
        return myco_err(err, MYCO_ECORRUPT, "copy of a hypha: its beginning is missing");
    }
    return feed_staging(hypha, myco_read_bytes(&reader, myco_read_left(&reader)), err);
}

int myco_hypha_load_record(struct myco_hypha *hypha, uint64_t offset, uint8_t kind,
    struct myco_slice bytes, struct myco_err *err)
{
    if (started(hypha)) return myco_err(err, MYCO_EINVAL, "a hypha that runs can't load");
    hypha->recovered = true;
    switch (kind) {
    case MYCO__KIND_RECORD: return load_log_record(hypha, offset, bytes, err);
    case MYCO__KIND_CUT: return load_cut(hypha, offset, err);
    case MYCO__KIND_RESET: return load_reset(hypha, bytes, err);
    default: return myco_err(err, MYCO_EVERSION, "journal of a hypha: kind %u is not known", kind);
    }
}

/* ── The object store ──────────────────────────────────────────────────────────────────────── */

int myco_hypha_export(const struct myco_hypha *hypha, uint64_t from, bool snapshot,
    struct myco_buf *out, uint64_t *to)
{
    const struct myco__log *log = &hypha->log;
    *to = log->applied;
    if (snapshot) {
        myco_buf_u8(out, PART_STATE);
        myco__state_write(hypha, false, out);
        return out->failed ? MYCO_ENOMEM : 0;
    }
    if (from < log->base) return MYCO_ENOTFOUND;
    if (from > log->applied) *to = from;
    myco_buf_u8(out, PART_RECORDS);
    for (size_t i = myco__log_after(log, from); i < log->applied_count; i++) {
        const struct myco__record *record = myco__log_at(log, i);
        myco_buf_slice(out, myco_bytes(record->bytes, record->size));
    }
    return out->failed ? MYCO_ENOMEM : 0;
}

static int import_record(struct myco_hypha *hypha, struct myco_slice bytes, struct myco_err *err)
{
    struct myco__log *log = &hypha->log;
    struct myco__record *record;
    int rc = myco__hypha_record_read(bytes, &record);
    if (rc != 0) return myco_err(err, rc == MYCO_ENOMEM ? rc : MYCO_ECORRUPT, "exported record");
    bool known = record->offset <= log->applied;
    if (known || !myco__hypha_record_follows(log, record)) {
        myco__hypha_record_free(record);
        if (known) return 0;
        return myco_err(err, MYCO_ECORRUPT, "exported records are missing after %llu",
            (unsigned long long)log->applied);
    }
    rc = push_loaded(hypha, record);
    log->commit = log->last;
    myco__hypha_apply(hypha);
    if (rc != 0 || log->applied < log->last) return myco_err(err, MYCO_ENOMEM, "exported record");
    return 0;
}

int myco_hypha_import(struct myco_hypha *hypha, struct myco_slice bytes, struct myco_err *err)
{
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    if (started(hypha)) return myco_err(err, MYCO_EINVAL, "a hypha that runs can't import");
    uint8_t kind = myco_read_u8(&reader);
    if (kind == PART_STATE) {
        return load_state(hypha, myco_read_bytes(&reader, myco_read_left(&reader)), err);
    }
    if (kind != PART_RECORDS) return myco_err(err, MYCO_ECORRUPT, "exported part: no such kind");
    while (myco_read_left(&reader) > 0) {
        struct myco_slice record = myco_read_slice(&reader);
        if (reader.bad) return myco_err(err, MYCO_ECORRUPT, "exported part: cut off");
        int rc = import_record(hypha, record, err);
        if (rc != 0) return rc;
    }
    return 0;
}

/* The journal gets the whole state, as a member's does; it may take some of it now and the rest
 * later. */
static int journal_restored(struct myco_hypha *hypha, struct myco_err *err)
{
    struct myco_buf *state = &hypha->restoring;
    uint64_t sequence = 0;
    while (state->size > 0) {
        size_t size = state->size < MYCO__PIECE_SIZE_MAX ? state->size : MYCO__PIECE_SIZE_MAX;
        struct myco_slice part = myco_bytes(state->data, size);
        int rc = myco__copy_journal(hypha, !hypha->restore_begun, part, &sequence);
        if (rc != 0) return myco_err(err, rc, "restored hypha: %s", myco_strerror(rc));
        hypha->restore_begun = true;
        myco_buf_drop_front(state, size);
    }
    myco_buf_free(state);
    if (sequence > 0) myco__log_mark(&hypha->log, sequence, hypha->log.last);
    hypha->effects.replaced(hypha->effects.data);
    myco__hypha_settle(hypha);
    return 0;
}

static int check_restore(const struct myco_hypha *hypha, uint64_t offset, struct myco_err *err)
{
    const struct myco__log *log = &hypha->log;
    if (offset < log->last) return myco_err(err, MYCO_EINVAL, "a restore never goes back");
    if (offset > MYCO__OFFSET_MAX) return myco_err(err, MYCO_EINVAL, "offset is too large");
    if (!started(hypha)) return 0;
    bool alone = hypha->role == MYCO__ROLE_PRIMARY && hypha->member_count == 0;
    if (!alone) return myco_err(err, MYCO_ENOTLEADER, "a restore is for the only member");
    bool quiet = hypha->serving && log->applied == log->last;
    return quiet ? 0 : myco_err(err, MYCO_EBUSY, "writes are pending");
}

int myco_hypha_restore(struct myco_hypha *hypha, uint64_t offset, struct myco_err *err)
{
    struct myco__log *log = &hypha->log;
    if (hypha->restoring.size > 0) return journal_restored(hypha, err);
    int rc = check_restore(hypha, offset, err);
    if (rc != 0) return rc;
    if (!myco__log_reserve(log)) return myco_err(err, MYCO_ENOMEM, "restored hypha");
    struct myco__log before = *log;
    log->applied = log->commit = log->last = offset;
    if (log->epoch_count > 0) log->epochs[log->epoch_count - 1].last = offset;
    myco__state_write(hypha, false, &hypha->restoring);
    if (hypha->restoring.failed) {
        *log = before;
        if (log->epoch_count > 0) log->epochs[log->epoch_count - 1].last = before.last;
        myco_buf_free(&hypha->restoring);
        return myco_err(err, MYCO_ENOMEM, "restored hypha");
    }
    myco__log_trim(log, UINT64_MAX, 0, 0);
    log->base = offset;
    log->durable = 0;
    log->mark_count = 0;
    hypha->restore_begun = false;
    return journal_restored(hypha, err);
}
