/* Reading the log back at the start: what is whole is believed, a torn tail is cut, and all else is
 * an error that names the file and the offset. A node that gets ECORRUPT here must not take part
 * under this identity again: what it promised (a vote, an entry on disk) may be among what is gone.
 */
#include "consensus/log_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

struct numbers {
    uint64_t *items;
    size_t count, capacity;
};
struct loading {
    struct myco_rlog *log;
    struct myco_err *err;
    struct numbers segments, snapshots; /* in rising order: the listing is sorted */
    bool has_meta;
    bool rewrite_meta;
};

static void numbers_add(struct numbers *numbers, uint64_t value)
{
    if (numbers->count == numbers->capacity) {
        numbers->capacity = numbers->capacity == 0 ? 8 : numbers->capacity * 2;
        numbers->items = myco_realloc(numbers->items, numbers->capacity * sizeof *numbers->items);
    }
    numbers->items[numbers->count++] = value;
}

static int corrupt(struct loading *loading, const char *path, uint64_t offset, const char *what)
{
    return myco_err(
        loading->err, MYCO_ECORRUPT, "%s at offset %" PRIu64 ": %s", path, offset, what);
}

/* ── Finding the files ──────────────────────────────────────────────────────────────────────── */

static bool named(const char *name, const char *prefix, uint64_t *number)
{
    size_t size = strlen(prefix);
    if (strncmp(name, prefix, size) != 0 || strlen(name) != size + 16) return false;
    char *end;
    *number = strtoull(name + size, &end, 16);
    return *end == '\0';
}

static void on_list(int status, const struct myco_disk_entry *entries, size_t count, void *data)
{
    struct loading *loading = data;
    size_t skip = strlen(loading->log->folder) + 1;
    if (status != 0) return;
    for (size_t i = 0; i < count; i++) {
        const char *name = entries[i].path + skip;
        uint64_t number;
        if (strcmp(name, "meta") == 0) loading->has_meta = true;
        if (named(name, "log-", &number)) numbers_add(&loading->segments, number);
        if (named(name, "snapshot-", &number)) numbers_add(&loading->snapshots, number);
    }
}

/* The whole file into `bytes`. */
static int slurp(
    struct loading *loading, const char *path, struct myco_file **file, struct myco_buf *bytes)
{
    const struct myco_disk_ops *ops = loading->log->disk->ops;
    uint64_t size = 0;
    size_t got = 0;
    int status = ops->open(loading->log->disk, path, 0, file, loading->err);
    if (status != 0) return status;
    status = ops->size(*file, &size);
    if (status == 0 && !myco_buf_reserve(bytes, (size_t)size)) status = MYCO_ENOMEM;
    if (status == 0 && size > 0) status = ops->read(*file, 0, bytes->data, (size_t)size, &got);
    bytes->size = got;
    if (status != 0)
        return myco_err(loading->err, status, "read %s: %s", path, myco_strerror(status));
    return 0;
}

/* ── Term and vote ──────────────────────────────────────────────────────────────────────────── */

/* Without entries and snapshot we were never a voter, and so never voted: a meta file that was not
 * yet whole when the node died promises nothing. */
static int fresh_meta(struct loading *loading, const char *path)
{
    struct myco_rlog *log = loading->log;
    if (log->store.meta != NULL) log->disk->ops->close(log->store.meta);
    log->store.meta = NULL;
    int status =
        log->disk->ops->open(log->disk, path, MYCO_DISK_CREATE, &log->store.meta, loading->err);
    if (status != 0) return status;
    status = myco__rlog_store_vote(log, 0, 0);
    if (status != 0)
        return myco_err(loading->err, status, "write %s: %s", path, myco_strerror(status));
    return 0;
}

static int load_meta(struct loading *loading)
{
    struct myco_rlog *log = loading->log;
    struct myco__rlog_meta *meta = &log->store.saved;
    bool fresh = loading->segments.count == 0 && loading->snapshots.count == 0;
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_meta_path(log, path);
    if (!loading->has_meta)
        return fresh ? fresh_meta(loading, path) : corrupt(loading, path, 0, "is missing");

    struct myco_buf bytes = {0};
    int status = slurp(loading, path, &log->store.meta, &bytes);
    if (status == 0) {
        status = myco__rlog_meta_read(myco_buf_as_slice(&bytes), meta);
        if (status == 1) {
            loading->rewrite_meta = true;
            MYCO_WARN(log->env->log, "consensus", "one copy of term and vote was bad",
                "file=%s term=%" PRIu64, path, meta->term);
            status = 0;
        } else if (status != 0) {
            *meta = (struct myco__rlog_meta){0};
            status = fresh ? fresh_meta(loading, path)
                           : corrupt(loading, path, 0, "both copies of term and vote are bad");
        }
    }
    myco_buf_free(&bytes);
    if (status == 0 && meta->self != log->self)
        return myco_err(
            loading->err, MYCO_EINVAL, "%s belongs to server %016" PRIx64, path, meta->self);
    return status;
}

/* ── Snapshot ───────────────────────────────────────────────────────────────────────────────── */

static int load_snapshot(
    struct loading *loading, struct myco__rlog_snapshot *snapshot, struct myco_buf *state)
{
    struct myco_rlog *log = loading->log;
    *snapshot = (struct myco__rlog_snapshot){0};
    if (loading->snapshots.count == 0) return 0;
    uint64_t newest = loading->snapshots.items[loading->snapshots.count - 1];
    char path[MYCO__RLOG_PATH_MAX];
    struct myco_file *file = NULL;
    myco__rlog_snapshot_path(log, newest, path);
    int status = slurp(loading, path, &file, state);
    if (file != NULL) log->disk->ops->close(file);
    if (status != 0) return status;
    if (myco__rlog_snapshot_read(myco_buf_as_slice(state), snapshot) != 0 ||
        snapshot->index != newest)
        return corrupt(loading, path, 0, "the snapshot does not fit its checksum");
    if (snapshot->term > log->store.saved.term)
        return corrupt(loading, path, 0, "the snapshot's term is above the saved one");
    log->snapshot.index = snapshot->index;
    log->snapshot.term = snapshot->term;
    for (size_t i = 0; i + 1 < loading->snapshots.count; i++) {
        myco__rlog_snapshot_path(log, loading->snapshots.items[i], path);
        myco__rlog_store_doom(log, path);
    }
    return 0;
}

/* ── Segments ───────────────────────────────────────────────────────────────────────────────── */

static bool all_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0) return false;
    return true;
}

/* A record into the cache: it follows what is there, or replaces it from its index on. */
static const char *take_record(
    struct myco__rlog_cache *cache, const struct myco__rlog_record *record, const uint8_t *body)
{
    struct myco__rlog_config config;
    struct myco_slice slice = myco_bytes(body, record->size);
    if (record->type == RAFT_CHANGE && myco__rlog_config_read(slice, &config) != 0)
        return "an impossible configuration";
    if (cache->count > 0 && record->index > myco__rlog_cache_last(cache) + 1)
        return "entries are missing";
    if (cache->count == 0 || record->index < cache->first)
        myco__rlog_cache_reset(cache, record->index);
    myco__rlog_cache_cut(cache, record->index);
    const struct myco__rlog_entry *before = myco__rlog_cache_at(cache, record->index - 1);
    if (before != NULL && before->term > record->term) return "the term falls";
    if (myco__rlog_cache_append(cache, record->term, record->type, slice) != 0)
        return "no memory for it";
    return NULL;
}

/* All records of one segment. *end: how far it is whole; only the last one may be torn behind
 * it. */
static int load_records(struct loading *loading, const char *path, struct myco_slice bytes,
    bool last, uint64_t *index_max, uint64_t *end)
{
    const uint8_t *data = bytes.data;
    size_t at = MYCO__RLOG_SEGMENT_HEAD;
    *end = at;
    while (at < bytes.size) {
        struct myco__rlog_record record;
        size_t left = bytes.size - at;
        bool whole_head = left >= MYCO__RLOG_RECORD_HEAD;
        if (last && (!whole_head || all_zero(data + at, left))) break;
        if (!whole_head) return corrupt(loading, path, at, "the record is cut short");
        if (myco__rlog_record_read(myco_bytes(data + at, MYCO__RLOG_RECORD_HEAD), &record) != 0)
            return corrupt(loading, path, at, "the record's head does not fit its checksum");
        if (record.synced > at) return corrupt(loading, path, at, "the record is out of place");
        if (record.size > left - MYCO__RLOG_RECORD_HEAD) {
            if (last) break;
            return corrupt(loading, path, at, "the record is cut short");
        }
        const uint8_t *body = data + at + MYCO__RLOG_RECORD_HEAD;
        if (myco_crc32c(0, body, record.size) != record.crc)
            return corrupt(loading, path, at, "the record does not fit its checksum");
        const char *wrong = take_record(&loading->log->cache, &record, body);
        if (wrong != NULL) return corrupt(loading, path, at, wrong);
        if (record.index > *index_max) *index_max = record.index;
        at += MYCO__RLOG_RECORD_HEAD + record.size;
        *end = at;
    }
    return 0;
}

/* What was durable when term and vote were last written can't be gone. */
static int check_watermark(
    struct loading *loading, const char *path, uint64_t sequence, uint64_t end)
{
    const struct myco__rlog_meta *meta = &loading->log->store.saved;
    if (meta->segment > sequence || (meta->segment == sequence && meta->synced > end))
        return corrupt(loading, path, end, "synced records behind it are gone");
    return 0;
}

/* Cuts what is torn, and syncs what a killed process may have left in the system's memory. */
static int settle_tail(struct loading *loading, const char *path, uint64_t size, uint64_t end)
{
    struct myco_rlog *log = loading->log;
    if (end < size)
        MYCO_WARN(log->env->log, "consensus", "the torn end of the log is cut",
            "file=%s offset=%" PRIu64 " size=%" PRIu64, path, end, size - end);
    int status = log->disk->ops->truncate(log->store.segment, end);
    if (status != 0)
        return myco_err(loading->err, status, "truncate %s: %s", path, myco_strerror(status));
    log->store.offset = end;
    return 0;
}

/* One segment, oldest first; the last stays open. */
static int load_segment(struct loading *loading, uint64_t sequence, bool last)
{
    struct myco_rlog *log = loading->log;
    struct myco__rlog_store *store = &log->store;
    struct myco__rlog_segment head;
    struct myco_file *file = NULL;
    struct myco_buf bytes = {0};
    uint64_t end = 0, size = 0, previous = store->offset;
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_segment_path(log, sequence, path);
    int status = slurp(loading, path, &file, &bytes);
    if (status != 0) goto out;
    size = bytes.size;

    if (size < MYCO__RLOG_SEGMENT_HEAD ||
        myco__rlog_segment_read(myco_bytes(bytes.data, MYCO__RLOG_SEGMENT_HEAD), &head) != 0 ||
        head.sequence != sequence) {
        status = corrupt(loading, path, 0, "the segment's head is bad");
        goto out;
    }
    if (head.reset) {
        if (head.base > log->snapshot.index) {
            status = corrupt(loading, path, 0, "the snapshot before it is missing");
            goto out;
        }
        myco__rlog_cache_reset(&log->cache, head.base + 1);
    } else if (store->file_count > 0 && head.previous_size != previous) {
        status = corrupt(loading, path, 0, "the segment before it has another size");
        goto out;
    }
    myco__rlog_store_add_file(log, sequence, head.base);
    if (head.reset) myco__rlog_store_forget(log, UINT64_MAX);
    uint64_t *index_max = &store->files[store->file_count - 1].index_max;
    status = load_records(loading, path, myco_buf_as_slice(&bytes), last, index_max, &end);
    if (status == 0) store->offset = end;
    if (status == 0 && last) status = check_watermark(loading, path, sequence, end);
out:
    myco_buf_free(&bytes);
    if (status == 0 && last) {
        store->segment = file;
        return settle_tail(loading, path, size, end);
    }
    if (file != NULL) log->disk->ops->close(file);
    return status;
}

static int load_segments(struct loading *loading)
{
    const struct numbers *segments = &loading->segments;
    char path[MYCO__RLOG_PATH_MAX];
    if (segments->count == 0 && loading->log->store.saved.segment > 0) {
        myco__rlog_segment_path(loading->log, loading->log->store.saved.segment, path);
        return corrupt(loading, path, 0, "is missing");
    }
    for (size_t i = 0; i < segments->count; i++) {
        if (i > 0 && segments->items[i] != segments->items[i - 1] + 1) {
            myco__rlog_segment_path(loading->log, segments->items[i - 1] + 1, path);
            return corrupt(loading, path, 0, "is missing");
        }
        int status = load_segment(loading, segments->items[i], i + 1 == segments->count);
        if (status != 0) return status;
    }
    return 0;
}

/* ── What fits together ─────────────────────────────────────────────────────────────────────── */

/* Without a snapshot, the log must begin with the first configuration. */
static int check_first(struct loading *loading)
{
    const struct myco__rlog_cache *cache = &loading->log->cache;
    if (cache->count == 0 || (cache->first == 1 && cache->items[0].type == RAFT_CHANGE)) return 0;
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_segment_path(loading->log, loading->segments.items[0], path);
    return corrupt(loading, path, MYCO__RLOG_SEGMENT_HEAD, "the log does not begin with entry 1");
}

/* With one, entries follow it without a gap; those that it replaced (we died while installing it,
 * or before what it holds was in our own log) are void. */
static int fit_to_snapshot(struct loading *loading, const struct myco__rlog_snapshot *snapshot)
{
    struct myco_rlog *log = loading->log;
    struct myco__rlog_cache *cache = &log->cache;
    if (cache->count > 0 && cache->first > snapshot->index + 1) {
        char path[MYCO__RLOG_PATH_MAX];
        myco__rlog_segment_path(log, log->store.files[0].sequence, path);
        return corrupt(
            loading, path, MYCO__RLOG_SEGMENT_HEAD, "entries behind the snapshot are missing");
    }
    const struct myco__rlog_entry *same = myco__rlog_cache_at(cache, snapshot->index);
    bool follows = cache->count > 0 && cache->first == snapshot->index + 1;
    if (!follows && (same == NULL || same->term != snapshot->term)) {
        bool had_entries = cache->count > 0;
        myco__rlog_cache_reset(cache, snapshot->index + 1);
        if (had_entries) {
            int status = myco__rlog_store_first(log, snapshot->index, true, loading->err);
            if (status != 0) return status;
            myco__rlog_store_forget(log, UINT64_MAX);
        }
    }
    if (snapshot->index > log->snapshot_trailing)
        myco__rlog_cache_drop_to(cache, snapshot->index - log->snapshot_trailing);
    return 0;
}

static int check_term(struct loading *loading)
{
    const struct myco_rlog *log = loading->log;
    const struct myco__rlog_entry *last =
        myco__rlog_cache_at(&log->cache, myco__rlog_cache_last(&log->cache));
    if (last == NULL || last->term <= log->store.saved.term) return 0;
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_meta_path(log, path);
    return corrupt(loading, path, 0, "the saved term is older than the log");
}

int myco__rlog_load(struct myco_rlog *log, struct myco__rlog_snapshot *snapshot,
    struct myco_buf *state, struct myco_err *err)
{
    struct loading loading = {.log = log, .err = err};
    char prefix[MYCO__RLOG_PATH_MAX];
    snprintf(prefix, sizeof prefix, "%s/", log->folder);
    int status = log->disk->ops->list_now(log->disk, prefix, on_list, &loading);
    if (status != 0) {
        myco_err(err, status, "list %s: %s", prefix, myco_strerror(status));
        goto out;
    }
    if ((status = load_meta(&loading)) != 0) goto out;
    if ((status = load_snapshot(&loading, snapshot, state)) != 0) goto out;
    if ((status = load_segments(&loading)) != 0) goto out;
    status = snapshot->index == 0 ? check_first(&loading) : fit_to_snapshot(&loading, snapshot);
    if (status == 0) status = check_term(&loading);
    if (status == 0 && loading.rewrite_meta)
        status = myco__rlog_store_vote(log, log->store.saved.term, log->store.saved.vote);
    log->store.next = myco__rlog_cache_last(&log->cache) + 1;
out:
    myco_free(loading.segments.items);
    myco_free(loading.snapshots.items);
    return status;
}
