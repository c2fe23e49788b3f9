/* The journal of a node: one append-only log on disk for the records of all its hyphae, so that one
 * group commit makes the records of many durable. Segment files of a fixed size; each record
 * carries its stream, its length and a CRC32C; each commit is followed by a watermark, so that a
 * torn tail (above it: cut, with a warning) can be told from damage (below it: ECORRUPT, the log is
 * refused). Snapshots of streams, one file each, let old segments go. Step machine over env/disk.h.
 */
#ifndef MYCO_STORE_JOURNAL_H
#define MYCO_STORE_JOURNAL_H

#include "env/disk.h"
#include "env/env.h"

struct myco_journal;

struct myco_journal_options {
    struct myco_disk *disk;
    struct myco_env *env;
    const char *folder;    /* below the disk's root: "journal" */
    uint64_t segment_size; /* 0: 16 MiB */
    uint64_t size_max; /* of the records in memory that wait for the disk; 0: 64 MiB; more: EFULL */
};

struct myco_journal_events {
    /* While opening, in order: for each stream its snapshot (if any), then its records after it. An
     * error code stops the opening. `position` is what the snapshot or record was written with. */
    int (*on_snapshot)(uint64_t stream, uint64_t position, struct myco_slice bytes, void *data);
    int (*on_record)(
        uint64_t stream, uint64_t position, uint8_t kind, struct myco_slice bytes, void *data);
    /* Everything up to and including `sequence` is on disk. */
    void (*on_durable)(uint64_t sequence, void *data);
    /* The disk refuses (ENOSPC, EIO): appends since the last on_durable are not durable. The
     * journal tries again by itself each second after ENOSPC and then says on_durable; after EIO it
     * stays failed. */
    void (*on_failed)(int status, void *data);
    /* Segments older than the last four are pinned by this stream's old snapshot (or none): write
     * one. At most once a second a stream. */
    void (*on_snapshot_wanted)(uint64_t stream, void *data);
    void *data;
};

/* Blocking (recovery reads everything). *journal is given. ECORRUPT names the file and offset. */
int myco_journal_open(const struct myco_journal_options *options,
    const struct myco_journal_events *events, struct myco_journal **journal, struct myco_err *err);
/* Appends a record of `stream`; copies. Returns its sequence (rising, > 0) in *sequence. The commit
 * starts on the loop's next turn when none is under way, else with the next. kind < 254. EFULL,
 * ETOOBIG (64 MiB), ENOMEM, EIO (failed), ENOSPC (refusing for now), ECLOSED. */
int myco_journal_append(struct myco_journal *journal, uint64_t stream, uint64_t position,
    uint8_t kind, struct myco_slice bytes, uint64_t *sequence);
/* Replaces the stream's snapshot: it covers every record of the stream appended so far. Copies
 * bytes. `done` (may be NULL) gets what the disk said; after an error the former snapshot still
 * counts. */
void myco_journal_snapshot(struct myco_journal *journal, uint64_t stream, uint64_t position,
    struct myco_slice bytes, myco_disk_cb done, void *data);
/* The stream is gone: forgets its snapshot, and pins nothing any more. */
void myco_journal_drop(struct myco_journal *journal, uint64_t stream);
uint64_t myco_journal_durable(const struct myco_journal *journal); /* highest durable sequence */
bool myco_journal_idle(const struct myco_journal *journal);
/* Commits what is appended and finishes snapshots (a disk that refuses now is not waited for),
 * frees the journal, then calls back; afterwards no other call. */
void myco_journal_close(struct myco_journal *journal, void (*done)(void *data), void *data);

#endif
