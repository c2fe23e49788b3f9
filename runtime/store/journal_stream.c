/* What each stream needs of the journal: its snapshot, and the records since.
 *
 *     records of a stream:   1  2  3  4  5 | 6  7        oldest = 6 once the snapshot is on disk, 1
 * before snapshot of 1 … 5
 *
 * `oldest` pins the segment it lies in, and all later ones. A snapshot's file, and its deletion
 * when the stream is dropped, are jobs, done one after another for each stream. A drop is also a
 * record, so that recovery knows of it; the file goes only after that record is durable, and until
 * it is gone the old records stay pinned, and with them the drop that follows them. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "store/journal_internal.h"

#define STARTED_MAX  8   /* jobs at once: each holds a copy of a stream's whole state */
#define ASKED_MAX    256 /* in one turn */
#define ASK_AGAIN_NS UINT64_C(1000000000)

const char *myco__snapshot_path(
    const struct myco_journal *journal, uint64_t stream, char path[MYCO__JOURNAL_PATH_MAX])
{
    snprintf(path, MYCO__JOURNAL_PATH_MAX, "%s/%016" PRIx64 ".snap", journal->folder, stream);
    return path;
}

/* ── Streams ─────────────────────────────────────────────────────────────────────────────────── */

struct myco__stream *myco__stream_get(struct myco_journal *journal, uint64_t id)
{
    struct myco__stream *stream = myco_map_get(&journal->streams, id);
    if (stream != NULL) return stream;
    stream = myco_alloc(sizeof(*stream));
    stream->id = id;
    myco_list_init(&stream->jobs);
    myco_list_init(&stream->working);
    myco_map_put(&journal->streams, id, stream);
    return stream;
}

void myco__stream_appended(struct myco_journal *journal, uint64_t id, uint64_t sequence)
{
    struct myco__stream *stream = myco__stream_get(journal, id);
    stream->last = sequence;
    if (stream->oldest == 0) stream->oldest = sequence;
    MYCO_LIST_EACH (link, &stream->jobs) {
        struct myco__job *job = MYCO_CONTAINER(link, struct myco__job, link);
        if (job->first_after == 0) job->first_after = sequence;
    }
}

uint64_t myco__streams_oldest(const struct myco_journal *journal)
{
    uint64_t oldest = UINT64_MAX;
    MYCO_MAP_EACH (struct myco__stream, stream, &journal->streams) {
        if (stream->oldest != 0 && stream->oldest < oldest) oldest = stream->oldest;
    }
    return oldest;
}

static void stream_free(struct myco__stream *stream)
{
    struct myco_list *link;
    while ((link = myco_list_pop(&stream->jobs)) != NULL) {
        struct myco__job *job = MYCO_CONTAINER(link, struct myco__job, link);
        myco_buf_free(&job->file);
        myco_free(job);
    }
    myco_free(stream);
}

void myco__streams_free(struct myco_journal *journal)
{
    MYCO_MAP_EACH (struct myco__stream, stream, &journal->streams) stream_free(stream);
    myco_map_free(&journal->streams);
}

/* ── Jobs ────────────────────────────────────────────────────────────────────────────────────── */

static struct myco__job *job_new(
    struct myco_journal *journal, struct myco__stream *stream, enum myco__job_kind kind)
{
    struct myco__job *job = myco_alloc(sizeof(*job));
    job->kind = kind;
    job->journal = journal;
    job->stream = stream;
    job->covers = stream->last;
    myco_list_append(&stream->jobs, &job->link);
    if (myco_list_empty(&stream->working)) {
        myco_list_append(&journal->working, &stream->working);
    }
    myco__journal_schedule(journal);
    return job;
}

static void job_end(struct myco__job *job)
{
    struct myco__stream *stream = job->stream;
    struct myco_journal *journal = job->journal;
    bool gone = job->kind == MYCO__JOB_DROP;
    myco_list_remove(&job->link);
    myco_buf_free(&job->file);
    myco_free(job);
    if (!myco_list_empty(&stream->jobs)) return;
    myco_list_remove(&stream->working);
    if (!gone || stream->oldest != 0) return;
    myco_map_del(&journal->streams, stream->id);
    stream_free(stream);
}

static void on_job_done(int status, void *data)
{
    struct myco__job *job = data;
    struct myco_journal *journal = job->journal;
    myco_disk_cb done = job->done;
    void *done_data = job->data;
    bool again = job->kind == MYCO__JOB_DROP && status != 0 && !journal->closing;
    journal->started_count--;
    job->started = false;
    if (status == 0) job->stream->oldest = job->first_after;
    if (again) {
        job->retry = true; /* each second */
        myco_timer_start(&journal->second_timer, 1000, 0);
    } else {
        job_end(job);
        myco__segments_trim(journal);
    }
    if (done != NULL) done(status, done_data);
    myco__journal_schedule(journal);
}

static void job_start(struct myco__job *job)
{
    char path[MYCO__JOURNAL_PATH_MAX];
    struct myco_journal *journal = job->journal;
    struct myco_disk *disk = journal->disk;
    myco__snapshot_path(journal, job->stream->id, path);
    job->started = true;
    journal->started_count++;
    if (job->kind == MYCO__JOB_DROP) {
        disk->ops->del(disk, path, on_job_done, job);
    } else if (job->file.failed) {
        on_job_done(MYCO_ENOMEM, job);
    } else {
        disk->ops->put(disk, path, myco_buf_as_slice(&job->file), 0, on_job_done, job);
        myco_buf_free(&job->file);
    }
}

static bool job_ready(const struct myco_journal *journal, const struct myco__job *job)
{
    if (job->started || job->retry) return false;
    return job->kind != MYCO__JOB_DROP || journal->durable >= job->covers;
}

/* What waits for a record that will never be durable. */
static bool job_hopeless(const struct myco_journal *journal, const struct myco__job *job)
{
    if (job->started || job->kind != MYCO__JOB_DROP || !journal->closing) return false;
    return job->retry || (journal->step == MYCO__STEP_FAILED && journal->durable < job->covers);
}

void myco__streams_work(struct myco_journal *journal)
{
    MYCO_LIST_EACH (link, &journal->working) {
        if (journal->started_count >= STARTED_MAX) return;
        struct myco__stream *stream = MYCO_CONTAINER(link, struct myco__stream, working);
        struct myco__job *job = MYCO_CONTAINER(stream->jobs.next, struct myco__job, link);
        if (job_hopeless(journal, job)) {
            job_end(job);
        } else if (job_ready(journal, job)) {
            job_start(job);
        }
    }
}

void myco__streams_retry(struct myco_journal *journal)
{
    MYCO_LIST_EACH (link, &journal->working) {
        struct myco__stream *stream = MYCO_CONTAINER(link, struct myco__stream, working);
        MYCO_CONTAINER(stream->jobs.next, struct myco__job, link)->retry = false;
    }
}

/* ── What the owner says, and is asked ───────────────────────────────────────────────────────── */

void myco_journal_snapshot(struct myco_journal *journal, uint64_t id, uint64_t position,
    struct myco_slice bytes, myco_disk_cb done, void *data)
{
    struct myco__stream *stream = myco__stream_get(journal, id);
    struct myco__job *job = job_new(journal, stream, MYCO__JOB_SNAPSHOT);
    struct myco__snapshot snapshot = {id, position, job->covers, bytes};
    job->done = done;
    job->data = data;
    myco__snapshot_write(&job->file, &snapshot);
}

void myco_journal_drop(struct myco_journal *journal, uint64_t id)
{
    struct myco__stream *stream = myco_map_get(&journal->streams, id);
    if (stream == NULL) return;
    struct myco__log_record record = {.stream = id, .kind = MYCO__KIND_DROP};
    (void)myco__journal_record(journal, &record);
    myco__stream_appended(journal, id, record.sequence); /* pinned until the file is gone */
    job_new(journal, stream, MYCO__JOB_DROP);
}

/* Asked are those that need records before `old`; they may append, snapshot and drop at once. */
void myco__streams_ask(struct myco_journal *journal, uint64_t old)
{
    uint64_t ids[ASKED_MAX], now_ns = myco_now_ns(journal->env);
    unsigned count = 0;
    MYCO_MAP_EACH (struct myco__stream, stream, &journal->streams) {
        if (stream->oldest == 0 || stream->oldest >= old || count == ASKED_MAX) continue;
        if (!myco_list_empty(&stream->jobs)) continue;
        if (stream->wanted_ns != 0 && now_ns - stream->wanted_ns < ASK_AGAIN_NS) continue;
        stream->wanted_ns = now_ns;
        ids[count++] = stream->id;
    }
    for (unsigned i = 0; i < count; i++) {
        journal->events.on_snapshot_wanted(ids[i], journal->events.data);
    }
}
