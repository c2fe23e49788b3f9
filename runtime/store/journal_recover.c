/* Opening a journal: what lies on disk is checked as a whole, and then told to the owner.
 *
 * The happy path: list the files; go through all segments once, to see that they are whole and
 * which streams were dropped; give out the snapshots; go through the segments again, and give out
 * the records that no snapshot covers; cut the last segment behind its last record, which also
 * makes durable what a process wrote before it died.
 *
 * What can be wrong with a record: cut short, a wrong CRC, or not the sequence that is due.
 *   - in any segment but the last, each of which was sealed before the next began: damage
 *   - in the last one, when a later watermark says that it was durable: damage
 *   - else it is what a crash left of a batch that nobody was told of: cut, with a warning
 * Damage is ECORRUPT. The honest limit: what was committed last before a power failure may have no
 * watermark over it yet, so that rot which hits this batch, too, is taken for a torn one. */
#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/journal_internal.h"

#define HEX_DIGITS 16

struct found {
    struct myco_journal *journal;
    uint64_t *segments, *snapshots; /* sorted, as the listing is */
    size_t segment_count, snapshot_count;
};

struct walk {
    struct myco_journal *journal;
    struct myco_err *err;
    bool give;         /* the second time */
    bool is_last;      /* segment */
    uint64_t sequence; /* of the last record */
    uint64_t end;      /* of what is whole in the segment */
    uint64_t marked;   /* by the last watermark */
    bool mark_is_last; /* nothing follows it */
    uint32_t nonce;
    char path[MYCO__JOURNAL_PATH_MAX];
};

/* ── Files ───────────────────────────────────────────────────────────────────────────────────── */

static bool name_read(const char *name, const char *ending, uint64_t *number)
{
    if (strlen(name) != HEX_DIGITS + strlen(ending)) return false;
    if (strcmp(name + HEX_DIGITS, ending) != 0) return false;
    if (strspn(name, "0123456789abcdef") < HEX_DIGITS) return false;
    return sscanf(name, "%16" SCNx64, number) == 1;
}

static void on_list(int status, const struct myco_disk_entry *entries, size_t count, void *data)
{
    struct found *found = data;
    if (status != 0) return;
    size_t skip = strlen(found->journal->folder) + 1;
    found->segments = myco_alloc(count * sizeof(uint64_t));
    found->snapshots = myco_alloc(count * sizeof(uint64_t));
    for (size_t i = 0; i < count; i++) {
        const char *name = entries[i].path + skip;
        uint64_t number;
        if (name_read(name, ".log", &number)) found->segments[found->segment_count++] = number;
        if (name_read(name, ".snap", &number)) found->snapshots[found->snapshot_count++] = number;
    }
}

static int file_read_all(struct myco_file *file, struct myco_buf *bytes)
{
    const struct myco_disk_ops *ops = file->disk->ops;
    uint64_t size;
    int status = ops->size(file, &size);
    if (status != 0) return status;
    myco_buf_clear(bytes);
    if (!myco_buf_reserve(bytes, size)) return MYCO_ENOMEM;
    while (status == 0 && bytes->size < size) {
        size_t got = 0;
        uint8_t *to = bytes->data + bytes->size;
        status = ops->read(file, bytes->size, to, size - bytes->size, &got);
        if (got == 0) break;
        bytes->size += got;
    }
    return status;
}

static int path_read(
    struct myco_journal *journal, const char *path, struct myco_buf *bytes, struct myco_err *err)
{
    struct myco_file *file;
    int status = journal->disk->ops->open(journal->disk, path, 0, &file, err);
    if (status != 0) return status;
    status = file_read_all(file, bytes);
    journal->disk->ops->close(file);
    return status != 0 ? myco_err(err, status, "read %s: %s", path, myco_strerror(status)) : 0;
}

/* ── Segments ────────────────────────────────────────────────────────────────────────────────── */

static int record_give(struct walk *walk, const struct myco__log_record *record)
{
    struct myco_journal *journal = walk->journal;
    struct myco__stream *stream = myco__stream_get(journal, record->stream);
    if (record->sequence <= stream->last) return 0;
    stream->last = record->sequence;
    if (stream->oldest == 0) stream->oldest = record->sequence;
    int status = journal->events.on_record(
        record->stream, record->position, record->kind, record->bytes, journal->events.data);
    if (status == 0) return 0;
    return myco_err(walk->err, status, "%s: record %" PRIu64 " of stream %016" PRIx64 " is refused",
        walk->path, record->sequence, record->stream);
}

static int record_take(struct walk *walk, const struct myco__log_record *record)
{
    walk->mark_is_last = record->kind == MYCO__KIND_WATERMARK;
    if (record->kind == MYCO__KIND_WATERMARK) {
        walk->marked = record->sequence;
        return 0;
    }
    walk->sequence = record->sequence;
    if (record->kind == MYCO__KIND_DROP) {
        if (!walk->give) myco__stream_get(walk->journal, record->stream)->last = record->sequence;
        return 0;
    }
    return walk->give ? record_give(walk, record) : 0;
}

static bool record_due(
    const struct walk *walk, const struct myco__log_record *record, uint64_t sequence)
{
    if (record->kind == MYCO__KIND_WATERMARK) {
        return record->sequence == walk->sequence && record->bytes.size == 0;
    }
    return record->sequence == sequence;
}

static int damaged(struct walk *walk, uint64_t offset, const char *what)
{
    return myco_err(walk->err, MYCO_ECORRUPT, "%s: damaged at offset %" PRIu64 ": %s", walk->path,
        offset, what);
}

static bool all_zeros(const uint8_t *at, size_t size)
{
    return size == 0 || (at[0] == 0 && memcmp(at, at + 1, size - 1) == 0);
}

/* At walk->end lies something that is not the record `sequence`. */
static int segment_tail(struct walk *walk, struct myco_slice bytes, uint64_t sequence)
{
    const uint8_t *tail = (const uint8_t *)bytes.data + walk->end;
    if (all_zeros(tail, bytes.size - walk->end)) return 0; /* written ahead */
    if (!walk->is_last) return damaged(walk, walk->end, "not a record, in a sealed segment");
    uint64_t mark = myco__watermark_search(bytes, walk->end, walk->nonce);
    if (mark >= sequence) return damaged(walk, walk->end, "not the record that was committed here");
    if (!walk->give) {
        MYCO_WARN(walk->journal->env->log, "journal", "torn tail cut",
            "file=%s offset=%" PRIu64 " size=%zu", walk->path, walk->end,
            bytes.size - (size_t)walk->end);
    }
    return 0;
}

static int segment_records(struct walk *walk, struct myco_slice bytes, uint64_t first)
{
    uint64_t sequence = first;
    walk->end = MYCO__SEGMENT_HEADER_SIZE;
    walk->mark_is_last = false;
    for (;;) {
        struct myco__log_record record;
        size_t next;
        enum myco__log_read read =
            myco__log_record_read(bytes, walk->end, walk->nonce, &record, &next);
        if (read == MYCO__LOG_READ_END) break;
        if (read == MYCO__LOG_READ_BAD || !record_due(walk, &record, sequence)) {
            int status = segment_tail(walk, bytes, sequence);
            if (status != 0) return status;
            break;
        }
        int status = record_take(walk, &record);
        if (status != 0) return status;
        if (record.kind != MYCO__KIND_WATERMARK) sequence++;
        walk->end = next;
    }
    if (walk->is_last || walk->mark_is_last) return 0;
    return damaged(walk, walk->end, "a sealed segment ends without its seal");
}

static int segment_walk(struct walk *walk, uint64_t first, bool is_oldest, struct myco_buf *bytes)
{
    struct myco__segment_header header;
    myco__segment_path(walk->journal, first, walk->path);
    int status = path_read(walk->journal, walk->path, bytes, walk->err);
    if (status != 0) return status;
    struct myco_slice slice = myco_buf_as_slice(bytes);
    if (!myco__segment_header_read(slice, &header) || header.first != first) {
        return damaged(walk, 0, "not the header of this segment");
    }
    if (is_oldest) walk->sequence = header.previous;
    if (header.previous != walk->sequence || first <= header.previous) {
        return damaged(walk, 0, "the segment before it is missing");
    }
    walk->nonce = header.nonce;
    return segment_records(walk, slice, first);
}

static int segments_walk(struct walk *walk, const struct found *found)
{
    struct myco_buf bytes = {0};
    int status = 0;
    for (size_t i = 0; i < found->segment_count && status == 0; i++) {
        walk->is_last = i + 1 == found->segment_count;
        status = segment_walk(walk, found->segments[i], i == 0, &bytes);
        if (status != 0 || walk->give) continue;
        struct myco__segment *segment = myco__segment_add(walk->journal, found->segments[i]);
        if (walk->sequence >= segment->first) segment->last = walk->sequence;
    }
    myco_buf_free(&bytes);
    return status;
}

/* ── Snapshots ───────────────────────────────────────────────────────────────────────────────── */

static int snapshot_give(struct myco_journal *journal, const char *path,
    const struct myco__snapshot *snapshot, struct myco_err *err)
{
    struct myco__stream *stream = myco__stream_get(journal, snapshot->stream);
    if (snapshot->covers < stream->last) { /* of before it was dropped */
        int status = journal->disk->ops->remove(journal->disk, path);
        return status != 0 ? myco_err(err, status, "remove %s: %s", path, myco_strerror(status))
                           : 0;
    }
    stream->last = snapshot->covers;
    if (journal->sequence < snapshot->covers) journal->sequence = snapshot->covers;
    int status = journal->events.on_snapshot(
        snapshot->stream, snapshot->position, snapshot->bytes, journal->events.data);
    return status != 0 ? myco_err(err, status, "%s: the snapshot is refused", path) : 0;
}

static int snapshots_give(
    struct myco_journal *journal, const struct found *found, struct myco_err *err)
{
    struct myco_buf bytes = {0};
    int status = 0;
    for (size_t i = 0; i < found->snapshot_count && status == 0; i++) {
        char path[MYCO__JOURNAL_PATH_MAX];
        struct myco__snapshot snapshot;
        myco__snapshot_path(journal, found->snapshots[i], path);
        status = path_read(journal, path, &bytes, err);
        if (status != 0) break;
        bool whole = myco__snapshot_read(myco_buf_as_slice(&bytes), &snapshot);
        if (!whole || snapshot.stream != found->snapshots[i]) {
            status = myco_err(err, MYCO_ECORRUPT, "%s: damaged at offset 0: bad checksum", path);
        } else {
            status = snapshot_give(journal, path, &snapshot, err);
        }
    }
    myco_buf_free(&bytes);
    return status;
}

/* ── The whole of it ─────────────────────────────────────────────────────────────────────────── */

static int first_segment(struct myco_journal *journal, struct found *found, struct myco_err *err)
{
    char path[MYCO__JOURNAL_PATH_MAX];
    if (found->snapshot_count > 0) {
        return myco_err(err, MYCO_ECORRUPT, "%s: snapshots without segments", journal->folder);
    }
    myco__segment_path(journal, 1, path);
    struct myco_buf header = {0};
    myco__segment_header_make(journal, 1, 0, &header);
    int status = journal->disk->ops->put_now(journal->disk, path, myco_buf_as_slice(&header));
    myco_buf_free(&header);
    if (status != 0) return myco_err(err, status, "create %s: %s", path, myco_strerror(status));
    found->segments = myco_realloc(found->segments, sizeof(uint64_t));
    found->segments[found->segment_count++] = 1;
    return 0;
}

static int open_last(struct myco_journal *journal, const struct walk *walk, struct myco_err *err)
{
    const struct myco_disk_ops *ops = journal->disk->ops;
    int status = ops->open(journal->disk, walk->path, 0, &journal->file, err);
    if (status != 0) return status;
    status = ops->truncate(journal->file, walk->end);
    if (status != 0) {
        return myco_err(err, status, "truncate %s: %s", walk->path, myco_strerror(status));
    }
    journal->nonce = walk->nonce;
    journal->written = walk->sequence;
    journal->end = walk->end;
    journal->marked = walk->marked;
    journal->sealed = walk->mark_is_last;
    journal->roll = journal->sequence > walk->sequence; /* a snapshot ahead of its lost records */
    journal->durable = journal->sequence;
    return 0;
}

static int recover_found(struct myco_journal *journal, struct found *found, struct myco_err *err)
{
    struct walk walk = {.journal = journal, .err = err};
    int status = 0;
    if (found->segment_count == 0) status = first_segment(journal, found, err);
    if (status == 0) status = segments_walk(&walk, found);
    if (status != 0) return status;
    uint64_t end = walk.end;
    journal->sequence = walk.sequence;
    status = snapshots_give(journal, found, err);
    if (status != 0) return status;
    walk.give = true;
    status = segments_walk(&walk, found);
    if (status == 0 && walk.end != end)
        status = damaged(&walk, walk.end, "it reads differently now");
    return status != 0 ? status : open_last(journal, &walk, err);
}

int myco__journal_recover(struct myco_journal *journal, struct myco_err *err)
{
    struct found found = {.journal = journal};
    char prefix[MYCO__JOURNAL_PATH_MAX];
    snprintf(prefix, sizeof(prefix), "%s/", journal->folder);
    int status = journal->disk->ops->list_now(journal->disk, prefix, on_list, &found);
    if (status == 0) {
        status = recover_found(journal, &found, err);
    } else {
        myco_err(err, status, "list %s: %s", prefix, myco_strerror(status));
    }
    myco_free(found.segments);
    myco_free(found.snapshots);
    return status;
}
