/* The journal at work: records are gathered into batches, and batches written one at a time.
 *
 * The happy path: append puts a record into the last batch. On the loop's next turn, if nothing is
 * being written, the first batch goes to the end of the last segment, in one write and one sync;
 * when that came back, all of its records are durable, and the next batch, which has grown
 * meanwhile, is written. A batch begins with the watermark of the one before it. When no batch
 * follows for a while, that watermark is written alone and without a sync.
 *
 * Ways to fail. No space: appends are refused, the file is closed, and each second it is opened,
 * cut to what was durable, and the batch is written again. Any other error: nothing more is
 * written; what the disk kept of the batch is not known, and only opening the journal again can
 * tell. */
#include <stdio.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/journal_internal.h"

#define SEGMENT_SIZE   (UINT64_C(16) * 1024 * 1024)
#define SIZE_MAX_BYTES ((size_t)64 * 1024 * 1024)
#define BATCH_SIZE     ((size_t)1024 * 1024) /* full; it may pass this by one record */
#define SPARE_SIZE_MAX (2 * BATCH_SIZE)
#define AHEAD_PART     64 /* of a segment is made of zeros in advance */
#define MARK_MS        50
#define SECOND_MS      1000

/* ── Batches ─────────────────────────────────────────────────────────────────────────────────── */

static struct myco__batch *batch_first(const struct myco_journal *journal)
{
    if (myco_list_empty(&journal->batches)) return NULL;
    return MYCO_CONTAINER(journal->batches.next, struct myco__batch, link);
}

static struct myco__batch *batch_new(struct myco_journal *journal)
{
    struct myco__batch *batch = journal->spare;
    journal->spare = NULL;
    if (batch == NULL) batch = myco_alloc(sizeof(*batch));
    batch->first = batch->last = 0;
    batch->writing = false;
    myco_buf_clear(&batch->bytes);
    myco__watermark_write(&batch->bytes, 0); /* filled in when it is written */
    return batch;
}

static void batch_free(struct myco__batch *batch)
{
    if (batch != NULL) myco_buf_free(&batch->bytes);
    myco_free(batch);
}

static void batch_done(struct myco_journal *journal, struct myco__batch *batch)
{
    myco_list_remove(&batch->link);
    journal->waiting_size -= batch->bytes.size - MYCO__LOG_RECORD_HEADER_SIZE;
    if (journal->spare == NULL && batch->bytes.capacity <= SPARE_SIZE_MAX) {
        journal->spare = batch;
    } else {
        batch_free(batch);
    }
}

/* The one to add to, with room for `size` more; NULL when there is no memory. */
static struct myco__batch *batch_for(struct myco_journal *journal, size_t size)
{
    struct myco__batch *batch = NULL;
    if (!myco_list_empty(&journal->batches)) {
        batch = MYCO_CONTAINER(journal->batches.prev, struct myco__batch, link);
        if (batch->writing || batch->bytes.size >= BATCH_SIZE) batch = NULL;
    }
    bool fresh = batch == NULL;
    if (fresh) batch = batch_new(journal);
    if (!myco_buf_reserve(&batch->bytes, size)) {
        batch->bytes.failed = false; /* what is in it is whole */
        if (fresh) batch_free(batch);
        return NULL;
    }
    if (fresh) myco_list_append(&journal->batches, &batch->link);
    return batch;
}

/* A drop can't be refused: for its few bytes there is memory, or the node is lost anyway. */
static struct myco__batch *batch_for_drop(struct myco_journal *journal)
{
    struct myco__batch *batch = myco_alloc(sizeof(*batch));
    batch->bytes.capacity = 2 * MYCO__LOG_RECORD_HEADER_SIZE;
    batch->bytes.data = myco_alloc(batch->bytes.capacity);
    myco__watermark_write(&batch->bytes, 0);
    myco_list_append(&journal->batches, &batch->link);
    return batch;
}

int myco__journal_record(struct myco_journal *journal, struct myco__log_record *record)
{
    size_t size = MYCO__LOG_RECORD_HEADER_SIZE + record->bytes.size;
    struct myco__batch *batch = batch_for(journal, size);
    if (batch == NULL && record->kind == MYCO__KIND_DROP) batch = batch_for_drop(journal);
    if (batch == NULL) return MYCO_ENOMEM;
    record->sequence = ++journal->sequence;
    if (batch->first == 0) batch->first = record->sequence;
    batch->last = record->sequence;
    myco__log_record_write(&batch->bytes, record);
    journal->waiting_size += size;
    myco__journal_schedule(journal);
    return 0;
}

int myco_journal_append(struct myco_journal *journal, uint64_t stream, uint64_t position,
    uint8_t kind, struct myco_slice bytes, uint64_t *sequence)
{
    MYCO_ASSERT(kind < MYCO__KIND_DROP);
    struct myco__log_record record = {
        .stream = stream, .position = position, .kind = kind, .bytes = bytes};
    size_t size = MYCO__LOG_RECORD_HEADER_SIZE + bytes.size;
    if (journal->closing) return MYCO_ECLOSED;
    if (journal->step == MYCO__STEP_FAILED) return MYCO_EIO;
    if (journal->refusing) return MYCO_ENOSPC;
    if (bytes.size > MYCO__LOG_RECORD_SIZE_MAX) return MYCO_ETOOBIG;
    bool empty = myco_list_empty(&journal->batches); /* one record always fits */
    if (!empty && journal->waiting_size + size > journal->size_max) return MYCO_EFULL;
    int status = myco__journal_record(journal, &record);
    if (status != 0) return status;
    myco__stream_appended(journal, stream, record.sequence);
    *sequence = record.sequence;
    return 0;
}

/* ── Writing ─────────────────────────────────────────────────────────────────────────────────── */

void myco__journal_refuse(struct myco_journal *journal, int status)
{
    bool wait = status == MYCO_ENOSPC && !journal->closing;
    bool told = journal->refusing && wait;
    journal->step = wait ? MYCO__STEP_WAITING : MYCO__STEP_FAILED;
    journal->refusing = wait;
    if (wait) {
        myco__segment_leave(journal);
        myco_timer_start(&journal->second_timer, SECOND_MS, 0);
    }
    if (told) return;
    MYCO_ERROR(journal->env->log, "journal", "the disk refuses", "error=%s waits=%s",
        myco_errname(status), wait ? "yes" : "no");
    if (!journal->closing) journal->events.on_failed(status, journal->events.data);
}

static void batch_durable(struct myco_journal *journal, struct myco__batch *batch)
{
    struct myco_metrics *metrics = journal->env->metrics;
    MYCO_METRIC_ADD(metrics, JOURNAL_BYTES, journal->writing_size);
    MYCO_METRIC_ADD(metrics, JOURNAL_SYNCS, 1);
    journal->marked = journal->written; /* the batch began with it, if it was not there before */
    journal->end += journal->writing_size;
    journal->sealed = false;
    journal->refusing = false;
    journal->written = journal->durable = batch->last;
    myco__segment_last(journal)->last = batch->last;
    batch_done(journal, batch);
    journal->events.on_durable(journal->durable, journal->events.data);
}

static void on_written(int status, void *data)
{
    struct myco_journal *journal = data;
    struct myco__batch *batch = batch_first(journal);
    journal->step = MYCO__STEP_IDLE;
    if (status == 0) {
        batch_durable(journal, batch);
    } else {
        batch->writing = false;
        myco__journal_refuse(journal, status);
    }
    myco__journal_schedule(journal);
}

static void batch_write(struct myco_journal *journal, struct myco__batch *batch)
{
    bool mark = journal->marked != journal->written;
    size_t skip = mark ? 0 : MYCO__LOG_RECORD_HEADER_SIZE;
    struct myco_slice bytes = {batch->bytes.data + skip, batch->bytes.size - skip};
    struct myco_buf head = batch->bytes; /* over its first bytes */
    head.size = 0;
    myco__watermark_write(&head, journal->written);
    myco__log_records_seal(batch->bytes.data, batch->bytes.size, journal->nonce);
    batch->writing = true;
    journal->writing_size = bytes.size;
    journal->step = MYCO__STEP_WRITING;
    myco__segment_write_ahead(journal, journal->end + bytes.size);
    journal->disk->ops->write(journal->file, journal->end, bytes, true, on_written, journal);
}

static bool must_roll(const struct myco_journal *journal, const struct myco__batch *batch)
{
    const struct myco__segment *last = myco__segment_last(journal);
    if (journal->roll) return true;
    if (last->last < last->first) return false;
    return journal->end + batch->bytes.size > journal->segment_size;
}

/* One thing for the file to do, if there is one. */
static void write_next(struct myco_journal *journal)
{
    struct myco__batch *batch = batch_first(journal);
    bool seal = batch == NULL && journal->closing && !journal->sealed;
    if (batch == NULL && !seal) {
        bool marked = journal->marked == journal->written;
        if (!marked && !journal->closing) myco_timer_start(&journal->mark_timer, MARK_MS, 0);
        return;
    }
    myco_timer_stop(&journal->mark_timer);
    int status = journal->file == NULL ? myco__segment_reopen(journal) : 0;
    if (status != 0) {
        myco__journal_refuse(journal, status);
    } else if (seal) {
        myco__segment_seal(journal);
    } else if (must_roll(journal, batch)) {
        myco__segment_roll(journal, batch->first);
    } else {
        batch_write(journal, batch);
    }
}

/* ── Turns ───────────────────────────────────────────────────────────────────────────────────── */

static void journal_free(struct myco_journal *journal)
{
    struct myco_list *link;
    myco_defer_cancel(&journal->turn);
    myco_timer_stop(&journal->mark_timer);
    myco_timer_stop(&journal->second_timer);
    while ((link = myco_list_pop(&journal->batches)) != NULL) {
        batch_free(MYCO_CONTAINER(link, struct myco__batch, link));
    }
    batch_free(journal->spare);
    myco__streams_free(journal);
    myco__segments_free(journal);
    myco_buf_free(&journal->mark);
    myco_free(journal->zeros);
    myco_free(journal);
}

static bool all_done(const struct myco_journal *journal)
{
    if (!myco_list_empty(&journal->working) || journal->trimming) return false;
    if (journal->step == MYCO__STEP_FAILED) return true;
    return journal->step == MYCO__STEP_IDLE && myco_journal_idle(journal) && journal->sealed;
}

static void ask_for_snapshots(struct myco_journal *journal)
{
    uint64_t old = myco__segments_old(journal);
    if (old == 0 || myco_timer_active(&journal->second_timer)) return;
    if (myco__streams_oldest(journal) >= old) return;
    myco_timer_start(&journal->second_timer, SECOND_MS, 0);
    myco__streams_ask(journal, old);
}

static void turn(void *data)
{
    struct myco_journal *journal = data;
    if (journal->step == MYCO__STEP_IDLE) write_next(journal);
    myco__streams_work(journal);
    if (!journal->closing) {
        ask_for_snapshots(journal);
    } else if (all_done(journal)) {
        void (*closed)(void *) = journal->closed;
        void *closed_data = journal->closed_data;
        journal_free(journal);
        if (closed != NULL) closed(closed_data);
    }
}

void myco__journal_schedule(struct myco_journal *journal)
{
    myco_defer(journal->env, &journal->turn, turn, journal);
}

static void on_mark_timer(void *data)
{
    struct myco_journal *journal = data;
    bool idle = journal->step == MYCO__STEP_IDLE && myco_list_empty(&journal->batches);
    if (idle && journal->file != NULL && journal->marked != journal->written) {
        myco__segment_mark(journal);
    }
}

static void on_second(void *data)
{
    struct myco_journal *journal = data;
    if (journal->step == MYCO__STEP_WAITING) journal->step = MYCO__STEP_IDLE;
    myco__streams_retry(journal);
    myco__segments_trim(journal);
    myco__journal_schedule(journal);
}

/* ── The journal ─────────────────────────────────────────────────────────────────────────────── */

uint64_t myco_journal_durable(const struct myco_journal *journal)
{
    return journal->durable;
}

bool myco_journal_idle(const struct myco_journal *journal)
{
    return myco_list_empty(&journal->batches) && myco_list_empty(&journal->working);
}

int myco_journal_open(const struct myco_journal_options *options,
    const struct myco_journal_events *events, struct myco_journal **opened, struct myco_err *err)
{
    struct myco_journal *journal = myco_alloc(sizeof(*journal));
    journal->disk = options->disk;
    journal->env = options->env;
    journal->events = *events;
    journal->segment_size = options->segment_size != 0 ? options->segment_size : SEGMENT_SIZE;
    journal->size_max = options->size_max != 0 ? options->size_max : SIZE_MAX_BYTES;
    journal->ahead_size = journal->segment_size / AHEAD_PART;
    journal->zeros = myco_alloc(journal->ahead_size);
    myco_list_init(&journal->batches);
    myco_list_init(&journal->segments);
    myco_list_init(&journal->working);
    myco_timer_init(&journal->mark_timer, journal->env, on_mark_timer, journal);
    myco_timer_init(&journal->second_timer, journal->env, on_second, journal);
    size_t size = (size_t)snprintf(journal->folder, sizeof(journal->folder), "%s", options->folder);
    int status = 0;
    if (size >= sizeof(journal->folder)) {
        status = myco_err(err, MYCO_EINVAL, "the journal's folder has too long a name");
    }
    if (status == 0) status = myco__journal_recover(journal, err);
    if (status != 0) {
        journal_free(journal);
        return status;
    }
    myco__segments_trim(journal); /* what was not needed any more when it was left */
    myco__journal_schedule(journal);
    *opened = journal;
    return 0;
}

void myco_journal_close(struct myco_journal *journal, void (*done)(void *data), void *data)
{
    MYCO_ASSERT(!journal->closing);
    journal->closing = true;
    journal->closed = done;
    journal->closed_data = data;
    if (journal->step == MYCO__STEP_WAITING) journal->step = MYCO__STEP_IDLE; /* a last attempt */
    myco__journal_schedule(journal);
}
