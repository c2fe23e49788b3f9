/* What the files of the journal share. journal_format.c knows the bytes, journal_recover.c reads
 * them at the start, journal.c writes batches, journal_segment.c rolls and deletes segments,
 * journal_stream.c keeps snapshots and what they pin. */
#ifndef MYCO_STORE_JOURNAL_INTERNAL_H
#define MYCO_STORE_JOURNAL_INTERNAL_H

#include "base/list.h"
#include "base/map.h"
#include "store/journal.h"
#include "store/journal_format.h"

#define MYCO__JOURNAL_PATH_MAX 256

/* Records that go to disk together. */
struct myco__batch {
    struct myco_list link;
    bool writing;          /* nothing may be added */
    uint64_t first, last;  /* sequences */
    struct myco_buf bytes; /* room for a watermark, then the records */
};

struct myco__segment {
    struct myco_list link;
    uint64_t first, last; /* sequences; last < first: no record yet */
};

enum myco__job_kind { MYCO__JOB_SNAPSHOT, MYCO__JOB_DROP };

/* Something to be done to a stream's snapshot file; one after another for each stream. */
struct myco__job {
    struct myco_list link; /* in the stream's jobs */
    enum myco__job_kind kind;
    struct myco_journal *journal;
    struct myco__stream *stream;
    uint64_t covers;      /* records up to here are not needed once it is done */
    uint64_t first_after; /* the first record of the stream after those; 0: none */
    struct myco_buf file;
    bool started, retry;
    myco_disk_cb done;
    void *data;
};

struct myco__stream {
    uint64_t id;
    uint64_t last;      /* sequence of its last record, or what its snapshot covers */
    uint64_t oldest;    /* first record that only the log has: it pins segments; 0: none */
    uint64_t wanted_ns; /* when a snapshot was last asked for */
    struct myco_list jobs;
    struct myco_list working; /* in the journal's, while there are jobs */
};

/* What the file is being used for; one thing at a time. */
enum myco__step {
    MYCO__STEP_IDLE,
    MYCO__STEP_WRITING,  /* a batch */
    MYCO__STEP_MARKING,  /* a watermark alone, not synced: nothing came after the last batch */
    MYCO__STEP_SEALING,  /* the last watermark of a segment, synced */
    MYCO__STEP_CREATING, /* the next segment */
    MYCO__STEP_WAITING,  /* for space */
    MYCO__STEP_FAILED,   /* for ever */
};

struct myco_journal {
    struct myco_disk *disk;
    struct myco_env *env;
    struct myco_journal_events events;
    char folder[MYCO__JOURNAL_PATH_MAX / 2];
    uint64_t segment_size;
    size_t size_max;

    uint64_t sequence;        /* last given */
    uint64_t durable;         /* last durable */
    struct myco_list batches; /* the first may be being written, the last is being filled */
    struct myco__batch *spare;
    size_t waiting_size; /* of the records in batches */

    enum myco__step step;
    bool refusing;          /* there was no space, and nothing became durable since */
    struct myco_file *file; /* of the last segment; NULL: to be opened again */
    uint64_t end;           /* of what is in it for good */
    uint64_t writing_size;
    uint64_t zeroed; /* the file is long enough, with zeros, up to here */
    void *zeros;     /* ahead_size of them; NULL: the disk had no room for them */
    size_t ahead_size;
    uint64_t written; /* last sequence in the segments */
    uint64_t marked;  /* the last watermark says this, … */
    bool sealed;      /* … it is synced, and nothing came after it */
    bool roll;        /* before the next batch, full or not */
    uint32_t nonce, next_nonce;
    uint64_t next_first;
    struct myco_buf mark; /* of MARKING, SEALING, CREATING */

    struct myco_list segments; /* oldest first; at least one */
    bool trimming;

    struct myco_map streams; /* by id */
    struct myco_list working;
    unsigned started_count; /* jobs */

    struct myco_deferred turn;
    struct myco_timer mark_timer, second_timer;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* journal.c */
void myco__journal_schedule(struct myco_journal *journal); /* a turn of work, soon */
void myco__journal_refuse(struct myco_journal *journal, int status);
/* Gives it its sequence. ENOMEM, but never for a drop. */
int myco__journal_record(struct myco_journal *journal, struct myco__log_record *record);

/* journal_segment.c */
const char *myco__segment_path(
    const struct myco_journal *journal, uint64_t first, char path[MYCO__JOURNAL_PATH_MAX]);
struct myco__segment *myco__segment_add(struct myco_journal *journal, uint64_t first);
struct myco__segment *myco__segment_last(const struct myco_journal *journal);
void myco__segment_header_make(
    struct myco_journal *journal, uint64_t first, uint64_t previous, struct myco_buf *buf);
/* Closes the file until it is opened again. */
void myco__segment_leave(struct myco_journal *journal);
/* Before a write that will end at `end`. */
void myco__segment_write_ahead(struct myco_journal *journal, uint64_t end);
int myco__segment_reopen(struct myco_journal *journal); /* cut to what is there for good */
void myco__segment_mark(struct myco_journal *journal);
void myco__segment_seal(struct myco_journal *journal);
void myco__segment_roll(struct myco_journal *journal, uint64_t first); /* one step of it */
void myco__segments_trim(struct myco_journal *journal);
/* Records before this one are old: who needs them is asked for a snapshot. 0: there are none. */
uint64_t myco__segments_old(const struct myco_journal *journal);
void myco__segments_free(struct myco_journal *journal);

/* journal_stream.c */
const char *myco__snapshot_path(
    const struct myco_journal *journal, uint64_t stream, char path[MYCO__JOURNAL_PATH_MAX]);
/* Made if need be. */
struct myco__stream *myco__stream_get(struct myco_journal *journal, uint64_t id);
void myco__stream_appended(struct myco_journal *journal, uint64_t id, uint64_t sequence);
uint64_t myco__streams_oldest(
    const struct myco_journal *journal);                /* UINT64_MAX: nothing is pinned */
void myco__streams_work(struct myco_journal *journal);  /* starts jobs that can start */
void myco__streams_retry(struct myco_journal *journal); /* jobs that failed */
void myco__streams_ask(struct myco_journal *journal, uint64_t old); /* for snapshots */
void myco__streams_free(struct myco_journal *journal);

/* journal_recover.c */
int myco__journal_recover(struct myco_journal *journal, struct myco_err *err);

#endif
