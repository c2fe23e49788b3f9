/* Writing the log: entries to the current segment, one synced write at a time, all that waits in
 * one go.
 *
 * Term and vote are the exception: libraft's messages may leave only after they are durable, so
 * they are written while the loop waits (one sync of one kilobyte, when a term changes). */
#include "consensus/log_internal.h"

#include <stdio.h>

#include "base/fault.h"
#include "base/mem.h"

#define WRITE_SIZE_MAX (1u << 20) /* bodies in one write, unless one alone is larger */

/* ── Names ──────────────────────────────────────────────────────────────────────────────────── */

void myco__rlog_meta_path(const struct myco_rlog *log, char path[MYCO__RLOG_PATH_MAX])
{
    snprintf(path, MYCO__RLOG_PATH_MAX, "%s/meta", log->folder);
}

void myco__rlog_segment_path(
    const struct myco_rlog *log, uint64_t sequence, char path[MYCO__RLOG_PATH_MAX])
{
    snprintf(
        path, MYCO__RLOG_PATH_MAX, "%s/log-%016llx", log->folder, (unsigned long long)sequence);
}

void myco__rlog_snapshot_path(
    const struct myco_rlog *log, uint64_t index, char path[MYCO__RLOG_PATH_MAX])
{
    snprintf(
        path, MYCO__RLOG_PATH_MAX, "%s/snapshot-%016llx", log->folder, (unsigned long long)index);
}

/* ── Calls under way ────────────────────────────────────────────────────────────────────────── */

struct myco__rlog_io *myco__rlog_io_new(struct myco_rlog *log,
    void (*done)(struct myco_rlog *log, int status, struct myco__rlog_io *io))
{
    struct myco__rlog_io *io = myco_alloc(sizeof *io);
    io->log = log;
    io->done = done;
    myco_list_append(&log->ios, &io->link);
    return io;
}

void myco__rlog_io_done(int status, void *data)
{
    struct myco__rlog_io *io = data;
    struct myco_rlog *log = io->log;
    if (log != NULL) {
        myco_list_remove(&io->link);
        if (log->failed == 0) io->done(log, status, io);
    }
    myco_buf_free(&io->bytes);
    myco_free(io);
}

void myco__rlog_io_read(int status, struct myco_buf *bytes, void *data)
{
    struct myco__rlog_io *io = data;
    if (status == 0) myco_buf_move(&io->bytes, bytes);
    myco__rlog_io_done(status, io);
}

/* ── Term and vote ──────────────────────────────────────────────────────────────────────────── */

int myco__rlog_store_vote(struct myco_rlog *log, uint64_t term, uint64_t vote)
{
    struct myco__rlog_store *store = &log->store;
    struct myco__rlog_meta meta = {.sequence = store->saved.sequence + 1,
        .self = log->self,
        .term = term,
        .vote = vote,
        .segment = store->file_count > 0 ? store->files[store->file_count - 1].sequence : 0,
        .synced = store->offset};
    struct myco_buf bytes = {0};
    myco__rlog_meta_write(&bytes, &meta);
    int status = bytes.failed ? MYCO_ENOMEM : 0;
    if (status == 0 && MYCO_FAULT("consensus.vote")) status = MYCO_EIO;
    if (status == 0) status = log->disk->ops->write_sync(store->meta, 0, myco_buf_as_slice(&bytes));
    myco_buf_free(&bytes);
    if (status == 0) store->saved = meta;
    return status;
}

/* ── Segments ───────────────────────────────────────────────────────────────────────────────── */

void myco__rlog_store_add_file(struct myco_rlog *log, uint64_t sequence, uint64_t index_max)
{
    struct myco__rlog_store *store = &log->store;
    if (store->file_count == store->file_capacity) {
        store->file_capacity = store->file_capacity == 0 ? 8 : store->file_capacity * 2;
        store->files = myco_realloc(store->files, store->file_capacity * sizeof *store->files);
    }
    store->files[store->file_count++] =
        (struct myco__rlog_file){.sequence = sequence, .index_max = index_max};
}

static struct myco__rlog_file *current(struct myco__rlog_store *store)
{
    return &store->files[store->file_count - 1];
}

static struct myco__rlog_segment next_segment(
    const struct myco__rlog_store *store, uint64_t base, bool reset)
{
    struct myco__rlog_segment segment = {.sequence = 1, .base = base, .reset = reset};
    if (store->file_count > 0) {
        segment.sequence = store->files[store->file_count - 1].sequence + 1;
        segment.previous_size = store->offset;
    }
    return segment;
}

/* The file exists, with `size` bytes: what comes next goes there. */
static int switch_segment(
    struct myco_rlog *log, uint64_t sequence, uint64_t base, uint64_t size, struct myco_err *err)
{
    struct myco__rlog_store *store = &log->store;
    char path[MYCO__RLOG_PATH_MAX];
    struct myco_file *file = NULL;
    myco__rlog_segment_path(log, sequence, path);
    int status = log->disk->ops->open(log->disk, path, 0, &file, err);
    if (status != 0) return status;
    if (store->segment != NULL) log->disk->ops->close(store->segment);
    store->segment = file;
    store->offset = size;
    myco__rlog_store_add_file(log, sequence, base);
    return 0;
}

static void rolled(struct myco_rlog *log, int status, struct myco__rlog_io *io)
{
    log->store.busy = false;
    struct myco_err err = {0};
    if (status == 0) status = switch_segment(log, io->to, io->index, MYCO__RLOG_SEGMENT_HEAD, &err);
    if (status != 0) {
        myco__rlog_fail(log, status, "begin log segment %llu: %s", (unsigned long long)io->to,
            err.message[0] != '\0' ? err.message : myco_strerror(status));
        return;
    }
    myco__rlog_install_continue(log);
    myco__rlog_store_pump(log);
}

void myco__rlog_store_roll(struct myco_rlog *log, uint64_t base, bool reset)
{
    struct myco__rlog_segment segment = next_segment(&log->store, base, reset);
    struct myco__rlog_io *io = myco__rlog_io_new(log, rolled);
    io->to = segment.sequence;
    io->index = base;
    log->store.busy = true;
    myco__rlog_segment_write(&io->bytes, &segment);
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_segment_path(log, segment.sequence, path);
    log->disk->ops->put(log->disk, path, myco_buf_as_slice(&io->bytes), 0, myco__rlog_io_done, io);
}

int myco__rlog_store_first(struct myco_rlog *log, uint64_t base, bool reset, struct myco_err *err)
{
    struct myco__rlog_segment segment = next_segment(&log->store, base, reset);
    struct myco_buf bytes = {0};
    myco__rlog_segment_write(&bytes, &segment);
    uint64_t last = myco__rlog_cache_last(&log->cache);
    for (uint64_t index = base + 1; index <= last; index++)
        myco__rlog_record_write(&bytes, index, myco__rlog_cache_at(&log->cache, index), 0);
    int status = bytes.failed ? MYCO_ENOMEM : 0;
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_segment_path(log, segment.sequence, path);
    if (status == 0) status = log->disk->ops->put_now(log->disk, path, myco_buf_as_slice(&bytes));
    if (status != 0) myco_err(err, status, "write %s: %s", path, myco_strerror(status));
    if (status == 0) status = switch_segment(log, segment.sequence, last, bytes.size, err);
    myco_buf_free(&bytes);
    log->store.next = last + 1;
    return status;
}

/* ── Entries ────────────────────────────────────────────────────────────────────────────────── */

void myco__rlog_store_changed(struct myco_rlog *log, uint64_t from)
{
    struct myco__rlog_store *store = &log->store;
    if (store->next > from) store->next = from;
    /* What is being written from here on is no longer what the log holds. Were it reported, libraft
     * would acknowledge entries that the write after it replaces. */
    if (store->last >= from) store->last = from - 1;
}

static void written(struct myco_rlog *log, int status, struct myco__rlog_io *io)
{
    struct myco__rlog_store *store = &log->store;
    store->busy = false;
    if (status != 0) {
        myco__rlog_fail(log, status, "append to the log: %s", myco_strerror(status));
        return;
    }
    store->offset += io->bytes.size;
    if (store->last >= store->first) {
        struct raft_event event = {
            .type = RAFT_PERSISTED_ENTRIES, .persisted_entries = {.index = store->last}};
        int code = myco__rlog_step(log, &event);
        if (code != 0)
            myco__rlog_fail(log, myco__rlog_code(code), "entries on disk: %s", raft_strerror(code));
    }
    myco__rlog_install_continue(log);
    myco__rlog_settle(log);
}

static void write_batch(struct myco_rlog *log)
{
    struct myco__rlog_store *store = &log->store;
    struct myco__rlog_io *io = myco__rlog_io_new(log, written);
    uint64_t index = store->next, last = myco__rlog_cache_last(&log->cache);
    size_t bodies = 0;
    for (; index <= last; index++) {
        const struct myco__rlog_entry *entry = myco__rlog_cache_at(&log->cache, index);
        if (bodies > 0 && bodies + entry->size > WRITE_SIZE_MAX) break;
        bodies += entry->size;
        myco__rlog_record_write(&io->bytes, index, entry, store->offset);
    }
    store->first = store->next;
    store->last = index - 1;
    store->next = index;
    store->busy = true;
    if (current(store)->index_max < store->last) current(store)->index_max = store->last;
    if (io->bytes.failed || MYCO_FAULT("consensus.append")) {
        int status = io->bytes.failed ? MYCO_ENOMEM : MYCO_EIO;
        myco__rlog_fail(log, status, "append to the log: %s", myco_strerror(status));
        myco__rlog_io_done(status, io);
        return;
    }
    log->disk->ops->write(
        store->segment, store->offset, myco_buf_as_slice(&io->bytes), true, myco__rlog_io_done, io);
}

void myco__rlog_store_pump(struct myco_rlog *log)
{
    struct myco__rlog_store *store = &log->store;
    if (log->failed != 0 || store->busy || log->install.active) return;
    if (store->next > myco__rlog_cache_last(&log->cache)) return;
    if (store->segment == NULL || store->offset >= MYCO__RLOG_SEGMENT_SIZE_MAX)
        myco__rlog_store_roll(log, store->next - 1, false);
    else
        write_batch(log);
}

/* ── Files that nobody needs any more ───────────────────────────────────────────────────────── */

static void delete_next(struct myco_rlog *log);

/* One that can't be deleted is only waste: the next start tries again. */
static void deleted(struct myco_rlog *log, int status, struct myco__rlog_io *io)
{
    struct myco__rlog_store *store = &log->store;
    (void)io;
    if (status != 0)
        MYCO_WARN(log->env->log, "consensus", "an old file can't be deleted", "file=%s error=%s",
            store->doomed[0], myco_errname(status));
    store->deleting = false;
    store->doomed_count--;
    memmove(store->doomed, store->doomed + 1, store->doomed_count * sizeof *store->doomed);
    delete_next(log);
    myco__rlog_install_continue(log);
}

static void delete_next(struct myco_rlog *log)
{
    struct myco__rlog_store *store = &log->store;
    if (store->deleting || store->doomed_count == 0) return;
    store->deleting = true;
    log->disk->ops->del(
        log->disk, store->doomed[0], myco__rlog_io_done, myco__rlog_io_new(log, deleted));
}

void myco__rlog_store_doom(struct myco_rlog *log, const char *path)
{
    struct myco__rlog_store *store = &log->store;
    if (store->doomed_count == store->doomed_capacity) {
        store->doomed_capacity = store->doomed_capacity == 0 ? 8 : store->doomed_capacity * 2;
        store->doomed = myco_realloc(store->doomed, store->doomed_capacity * sizeof *store->doomed);
    }
    snprintf(store->doomed[store->doomed_count++], MYCO__RLOG_PATH_MAX, "%s", path);
    delete_next(log);
}

void myco__rlog_store_forget(struct myco_rlog *log, uint64_t upto)
{
    struct myco__rlog_store *store = &log->store;
    size_t drop = 0;
    while (drop + 1 < store->file_count && store->files[drop].index_max <= upto) drop++;
    for (size_t i = 0; i < drop; i++) {
        char path[MYCO__RLOG_PATH_MAX];
        myco__rlog_segment_path(log, store->files[i].sequence, path);
        myco__rlog_store_doom(log, path);
    }
    store->file_count -= drop;
    memmove(store->files, store->files + drop, store->file_count * sizeof *store->files);
}

void myco__rlog_store_close(struct myco_rlog *log)
{
    struct myco__rlog_store *store = &log->store;
    if (store->segment != NULL) log->disk->ops->close(store->segment);
    if (store->meta != NULL) log->disk->ops->close(store->meta);
    myco_free(store->files);
    myco_free(store->doomed);
    *store = (struct myco__rlog_store){0};
}
