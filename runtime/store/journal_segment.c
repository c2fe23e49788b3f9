/* The journal's files: a segment is sealed and the next one made when it is full; the oldest are
 * deleted once no stream needs a record in them.
 *
 * A file is made longer, by zeros, some time before it needs to be: a sync after a write inside of
 * a file is a third faster than one after a write that makes it grow.
 *
 * To roll: a last watermark, synced, so that whatever lies in the old segment is known to be
 * durable; then the new one, whose header is there as a whole or not at all. Segments are deleted
 * one at a time, oldest first, so that what is left never has a gap. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/journal_internal.h"

#define KEPT_COUNT 4 /* segments that may be pinned without anybody being asked for a snapshot */

const char *myco__segment_path(
    const struct myco_journal *journal, uint64_t first, char path[MYCO__JOURNAL_PATH_MAX])
{
    snprintf(path, MYCO__JOURNAL_PATH_MAX, "%s/%016" PRIx64 ".log", journal->folder, first);
    return path;
}

struct myco__segment *myco__segment_add(struct myco_journal *journal, uint64_t first)
{
    struct myco__segment *segment = myco_alloc(sizeof(*segment));
    segment->first = first;
    myco_list_append(&journal->segments, &segment->link);
    return segment;
}

struct myco__segment *myco__segment_last(const struct myco_journal *journal)
{
    MYCO_ASSERT(!myco_list_empty(&journal->segments));
    return MYCO_CONTAINER(journal->segments.prev, struct myco__segment, link);
}

static struct myco__segment *segment_oldest(const struct myco_journal *journal)
{
    return MYCO_CONTAINER(journal->segments.next, struct myco__segment, link);
}

void myco__segment_header_make(
    struct myco_journal *journal, uint64_t first, uint64_t previous, struct myco_buf *buf)
{
    struct myco__segment_header header = {.first = first, .previous = previous};
    journal->env->ops->random(journal->env, &header.nonce, sizeof(header.nonce));
    journal->next_nonce = header.nonce;
    myco_buf_clear(buf);
    myco__segment_header_write(buf, &header);
}

/* ── Zeros ahead ─────────────────────────────────────────────────────────────────────────────── */

static void on_zeroed(int status, void *data)
{
    struct myco_journal *journal = data;
    if (status == 0) return;
    myco_free(journal->zeros); /* then every write makes the file grow */
    journal->zeros = NULL;
}

/* Not synced: the next sync of the file is. It calls back before what is written after it does. */
void myco__segment_write_ahead(struct myco_journal *journal, uint64_t end)
{
    if (end <= journal->zeroed || journal->zeros == NULL) return;
    if (end + journal->ahead_size > journal->segment_size) return;
    journal->zeroed = end + journal->ahead_size;
    struct myco_slice zeros = {journal->zeros, journal->ahead_size};
    journal->disk->ops->write(journal->file, end, zeros, false, on_zeroed, journal);
}

/* ── Watermarks alone ────────────────────────────────────────────────────────────────────────── */

static void mark_write(struct myco_journal *journal, bool sync, myco_disk_cb cb)
{
    myco_buf_clear(&journal->mark);
    myco__watermark_write(&journal->mark, journal->written);
    MYCO_ASSERT(!journal->mark.failed); /* open reserved it */
    myco__log_records_seal(journal->mark.data, journal->mark.size, journal->nonce);
    journal->writing_size = journal->mark.size;
    journal->step = sync ? MYCO__STEP_SEALING : MYCO__STEP_MARKING;
    struct myco_slice bytes = myco_buf_as_slice(&journal->mark);
    journal->disk->ops->write(journal->file, journal->end, bytes, sync, cb, journal);
}

void myco__segment_leave(struct myco_journal *journal)
{
    if (journal->file != NULL) journal->disk->ops->close(journal->file);
    journal->file = NULL;
}

/* Not vital: when it failed, the file is opened again before the next batch. */
static void on_marked(int status, void *data)
{
    struct myco_journal *journal = data;
    journal->step = MYCO__STEP_IDLE;
    if (status == 0) {
        journal->end += journal->writing_size;
        journal->marked = journal->written;
    } else {
        myco__segment_leave(journal);
    }
    myco__journal_schedule(journal);
}

void myco__segment_mark(struct myco_journal *journal)
{
    mark_write(journal, false, on_marked);
}

static void on_sealed(int status, void *data)
{
    struct myco_journal *journal = data;
    journal->step = MYCO__STEP_IDLE;
    if (status == 0) {
        journal->end += journal->writing_size;
        journal->marked = journal->written;
        journal->sealed = true;
    } else {
        myco__journal_refuse(journal, status);
    }
    myco__journal_schedule(journal);
}

void myco__segment_seal(struct myco_journal *journal)
{
    mark_write(journal, true, on_sealed);
}

/* ── Rolling ─────────────────────────────────────────────────────────────────────────────────── */

/* Blocking calls, but rare ones: of a file that was just made, or after the disk was full. */
static int segment_open(struct myco_journal *journal, uint64_t first, uint64_t end)
{
    char path[MYCO__JOURNAL_PATH_MAX];
    struct myco_disk *disk = journal->disk;
    myco__segment_leave(journal);
    myco__segment_path(journal, first, path);
    int status = disk->ops->open(disk, path, 0, &journal->file, NULL);
    if (status != 0) return status;
    status = disk->ops->truncate(journal->file, end);
    journal->zeroed = end;
    if (status != 0) myco__segment_leave(journal);
    return status;
}

int myco__segment_reopen(struct myco_journal *journal)
{
    return segment_open(journal, myco__segment_last(journal)->first, journal->end);
}

static void segment_enter(struct myco_journal *journal)
{
    journal->nonce = journal->next_nonce;
    journal->end = MYCO__SEGMENT_HEADER_SIZE;
    journal->sealed = false;
    journal->roll = false;
    myco__segment_add(journal, journal->next_first);
}

static void on_created(int status, void *data)
{
    struct myco_journal *journal = data;
    journal->step = MYCO__STEP_IDLE;
    if (status == 0) status = segment_open(journal, journal->next_first, MYCO__SEGMENT_HEADER_SIZE);
    if (status == 0) {
        segment_enter(journal);
    } else {
        myco__journal_refuse(journal, status);
    }
    myco__journal_schedule(journal);
}

static void segment_create(struct myco_journal *journal, uint64_t first)
{
    char path[MYCO__JOURNAL_PATH_MAX];
    journal->step = MYCO__STEP_CREATING;
    journal->next_first = first;
    myco__segment_header_make(journal, first, journal->written, &journal->mark);
    journal->disk->ops->put(journal->disk, myco__segment_path(journal, first, path),
        myco_buf_as_slice(&journal->mark), 0, on_created, journal);
}

void myco__segment_roll(struct myco_journal *journal, uint64_t first)
{
    if (journal->sealed) {
        segment_create(journal, first);
    } else {
        myco__segment_seal(journal);
    }
}

/* ── Deleting ────────────────────────────────────────────────────────────────────────────────── */

static bool segment_needed(const struct myco_journal *journal, const struct myco__segment *segment)
{
    if (segment == myco__segment_last(journal)) return true;
    return segment->last >= segment->first && segment->last >= myco__streams_oldest(journal);
}

static void on_deleted(int status, void *data)
{
    struct myco_journal *journal = data;
    journal->trimming = false;
    if (status == 0) {
        struct myco__segment *segment = segment_oldest(journal);
        myco_list_remove(&segment->link);
        myco_free(segment);
        myco__segments_trim(journal);
    }
    myco__journal_schedule(journal);
}

void myco__segments_trim(struct myco_journal *journal)
{
    char path[MYCO__JOURNAL_PATH_MAX];
    if (journal->trimming || journal->closing) return;
    struct myco__segment *segment = segment_oldest(journal);
    if (segment_needed(journal, segment)) return;
    journal->trimming = true;
    myco__segment_path(journal, segment->first, path);
    journal->disk->ops->del(journal->disk, path, on_deleted, journal);
}

uint64_t myco__segments_old(const struct myco_journal *journal)
{
    const struct myco_list *at = journal->segments.prev;
    for (unsigned i = 1; i < KEPT_COUNT; i++) {
        if (at->prev == &journal->segments) return 0;
        at = at->prev;
    }
    if (at->prev == &journal->segments) return 0;
    return MYCO_CONTAINER(at, struct myco__segment, link)->first;
}

void myco__segments_free(struct myco_journal *journal)
{
    struct myco_list *link;
    while ((link = myco_list_pop(&journal->segments)) != NULL) {
        myco_free(MYCO_CONTAINER(link, struct myco__segment, link));
    }
    myco__segment_leave(journal);
}
