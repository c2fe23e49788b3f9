/* A disk whose asynchronous calls are done by libuv's workers.
 *
 * Calls on the folder are one job each. The writes of a file form a line: a job takes the whole
 * line as it stands, writes it in order, syncs once for all who wanted it, and what came meanwhile
 * is the next job's:
 *
 *     write a ─┐                                     ┌─ a's callback
 *     write b ─┼─ waiting ──> in flight (a worker) ──┼─ b's callback
 *     write c ─┘                                     └─ c's callback      (on the loop, in order)
 *
 * Whatever blocks (close, truncate, …) first takes the job back, or waits until the worker is
 * through with it, and then does what still waits by itself; the callbacks run later, on the loop,
 * as always. */
#include "env/uv_disk.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "env/folder.h"

struct uv_disk {
    struct myco_disk disk; /* first */
    uv_loop_t *loop;
    struct myco_folder folder;
    uv_idle_t anchor; /* never started: it lends the close callback */
    size_t job_count, file_count;
    char *root;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

struct write {
    struct myco_list link;
    uint64_t offset;
    struct myco_slice bytes;
    bool sync;
    int status;
    myco_disk_cb cb;
    void *data;
};

struct uv_file {
    struct myco_file file; /* first */
    int fd;
    uv_work_t job;
    struct myco_list waiting; /* struct write: not begun */
    struct myco_list flight;  /* given to a worker, until someone collects them */
    struct myco_list done;    /* their callbacks are owed */
    bool busy;                /* from uv_queue_work to the end of its callback on the loop */
    bool closed;
    bool broken; /* a sync failed; the worker's while there is a flight */
    pthread_mutex_t lock;
    pthread_cond_t landed;
    bool job_done; /* under the lock */
};

static struct uv_disk *of(struct myco_disk *disk)
{
    return (struct uv_disk *)disk;
}

static struct uv_file *of_file(struct myco_file *file)
{
    return (struct uv_file *)file;
}

static void on_anchor_closed(uv_handle_t *handle)
{
    struct uv_disk *disk = handle->data;
    void (*closed)(void *data) = disk->closed;
    void *data = disk->closed_data;
    myco__folder_close(&disk->folder);
    myco_free(disk->root);
    myco_free(disk);
    if (closed != NULL) closed(data);
}

static void job_ended(struct uv_disk *disk)
{
    disk->job_count--;
    if (disk->closing && disk->job_count == 0) {
        uv_close((uv_handle_t *)&disk->anchor, on_anchor_closed);
    }
}

/* ── The writes of a file ───────────────────────────────────────────────────────────────────── */

/* On a worker, or on the loop while no worker has the file. */
static void do_writes(struct uv_file *file, struct myco_list *writes)
{
    bool sync = false;
    MYCO_LIST_EACH (item, writes) {
        struct write *write = MYCO_CONTAINER(item, struct write, link);
        write->status =
            file->broken ? MYCO_EIO : myco__folder_write(file->fd, write->offset, write->bytes);
        sync = sync || (write->sync && write->status == 0);
    }
    int status = sync ? myco__folder_sync(file->fd) : 0;
    if (status == 0) return;
    file->broken = true;
    MYCO_LIST_EACH (item, writes) {
        struct write *write = MYCO_CONTAINER(item, struct write, link);
        if (write->sync && write->status == 0) write->status = status;
    }
}

static void move_all(struct myco_list *to, struct myco_list *from)
{
    struct myco_list *item;
    while ((item = myco_list_pop(from)) != NULL) myco_list_append(to, item);
}

/* A callback may write again, settle or close the file. */
static void call_back(struct uv_file *file)
{
    struct myco_list *item;
    while ((item = myco_list_pop(&file->done)) != NULL) {
        struct write *write = MYCO_CONTAINER(item, struct write, link);
        write->cb(write->status, write->data);
        myco_free(write);
    }
}

static void file_free(struct uv_file *file)
{
    pthread_mutex_destroy(&file->lock);
    pthread_cond_destroy(&file->landed);
    myco_free(file);
}

static void on_file_work(uv_work_t *job)
{
    struct uv_file *file = job->data;
    do_writes(file, &file->flight);
    pthread_mutex_lock(&file->lock);
    file->job_done = true;
    pthread_cond_signal(&file->landed);
    pthread_mutex_unlock(&file->lock);
}

static void start_job(struct uv_file *file);

static void on_file_done(uv_work_t *job, int status)
{
    (void)status; /* UV_ECANCELED: settle() took the job back, and did it itself */
    struct uv_file *file = job->data;
    struct uv_disk *disk = of(file->file.disk);
    move_all(&file->done, &file->flight);
    call_back(file);
    file->busy = false;
    if (file->closed) {
        file_free(file);
    } else if (!myco_list_empty(&file->waiting)) {
        start_job(file);
    }
    job_ended(disk);
}

static void start_job(struct uv_file *file)
{
    struct uv_disk *disk = of(file->file.disk);
    move_all(&file->flight, &file->waiting);
    file->busy = true;
    file->job_done = false;
    disk->job_count++;
    int result = uv_queue_work(disk->loop, &file->job, on_file_work, on_file_done);
    MYCO_ASSERT(result == 0);
}

/* Blocks until every write that was asked for is done. Whatever is done while nobody is busy has
 * been called back, so the callbacks that are owed now are the business of the job that is under
 * way. */
static void settle(struct uv_file *file)
{
    if (!myco_list_empty(&file->flight)) {
        if (uv_cancel((uv_req_t *)&file->job) == 0) {
            do_writes(file, &file->flight);
        } else {
            pthread_mutex_lock(&file->lock);
            while (!file->job_done) pthread_cond_wait(&file->landed, &file->lock);
            pthread_mutex_unlock(&file->lock);
        }
        move_all(&file->done, &file->flight);
    }
    do_writes(file, &file->waiting);
    move_all(&file->done, &file->waiting);
}

static void file_write(struct myco_file *base, uint64_t offset, struct myco_slice bytes, bool sync,
    myco_disk_cb cb, void *data)
{
    struct uv_file *file = of_file(base);
    MYCO_ASSERT(!file->closed);
    struct write *write = myco_alloc(sizeof *write);
    *write = (struct write){.offset = offset, .bytes = bytes, .sync = sync, .cb = cb, .data = data};
    myco_list_append(&file->waiting, &write->link);
    if (!file->busy) start_job(file);
}

/* ── A file, blocking ───────────────────────────────────────────────────────────────────────── */

static int file_open(struct myco_disk *base, const char *path, int flags, struct myco_file **opened,
    struct myco_err *err)
{
    struct uv_disk *disk = of(base);
    int fd, result = myco__folder_open_file(&disk->folder, path, flags, &fd);
    if (result < 0) {
        return myco_err(err, result, "open %s/%s: %s", disk->root, path, myco_strerror(result));
    }
    struct uv_file *file = myco_alloc(sizeof *file);
    file->file.disk = base;
    file->fd = fd;
    file->job.data = file;
    myco_list_init(&file->waiting);
    myco_list_init(&file->flight);
    myco_list_init(&file->done);
    pthread_mutex_init(&file->lock, NULL);
    pthread_cond_init(&file->landed, NULL);
    disk->file_count++;
    *opened = &file->file;
    return 0;
}

static void file_close(struct myco_file *base)
{
    struct uv_file *file = of_file(base);
    MYCO_ASSERT(!file->closed);
    settle(file);
    close(file->fd);
    of(base->disk)->file_count--;
    file->closed = true;
    if (!file->busy) file_free(file);
}

static int file_size(struct myco_file *base, uint64_t *size)
{
    struct stat stat;
    settle(of_file(base));
    if (fstat(of_file(base)->fd, &stat) < 0) return myco_err_from_errno(errno);
    *size = (uint64_t)stat.st_size;
    return 0;
}

static int file_read(struct myco_file *base, uint64_t offset, void *bytes, size_t size, size_t *got)
{
    settle(of_file(base));
    return myco__folder_read(of_file(base)->fd, offset, bytes, size, got);
}

static int sync_or_break(struct uv_file *file)
{
    int result = myco__folder_sync(file->fd);
    file->broken = file->broken || result < 0;
    return result;
}

static int file_truncate(struct myco_file *base, uint64_t size)
{
    struct uv_file *file = of_file(base);
    settle(file);
    if (file->broken) return MYCO_EIO;
    if (ftruncate(file->fd, (off_t)size) < 0) return myco_err_from_errno(errno);
    return sync_or_break(file);
}

static int file_write_sync(struct myco_file *base, uint64_t offset, struct myco_slice bytes)
{
    struct uv_file *file = of_file(base);
    settle(file);
    if (file->broken) return MYCO_EIO;
    int result = myco__folder_write(file->fd, offset, bytes);
    return result == 0 ? sync_or_break(file) : result;
}

/* ── The folder, blocking ───────────────────────────────────────────────────────────────────── */

static int remove_now(struct myco_disk *base, const char *path)
{
    return myco__folder_remove(&of(base)->folder, path);
}

static int list_now(struct myco_disk *base, const char *prefix, myco_disk_list_cb cb, void *data)
{
    struct myco_folder_list list = {0};
    int result = myco__folder_list(&of(base)->folder, prefix, &list);
    cb(result, list.entries, result == 0 ? list.count : 0, data);
    myco__folder_list_free(&list);
    return result;
}

static int put_now(struct myco_disk *base, const char *path, struct myco_slice bytes)
{
    return myco__folder_put(&of(base)->folder, path, bytes, 0);
}

/* ── The folder, asynchronously ─────────────────────────────────────────────────────────────── */

struct job {
    uv_work_t work;
    struct uv_disk *disk;
    void (*run)(struct job *job);    /* on a worker */
    void (*answer)(struct job *job); /* on the loop */
    char *path;                      /* or prefix */
    struct myco_buf bytes;
    uint64_t offset, size_max;
    int flags, status;
    struct myco_folder_list list;
    myco_disk_cb cb; /* the one of the three that was given */
    myco_disk_read_cb read_cb;
    myco_disk_list_cb list_cb;
    void *data;
};

static void on_work(uv_work_t *work)
{
    struct job *job = work->data;
    if (job->status == 0) job->run(job);
}

static void on_work_done(uv_work_t *work, int status)
{
    struct job *job = work->data;
    struct uv_disk *disk = job->disk;
    if (status == UV_ECANCELED) job->status = MYCO_ECANCELED;
    job->answer(job);
    myco__folder_list_free(&job->list);
    myco_buf_free(&job->bytes);
    myco_free(job->path);
    myco_free(job);
    job_ended(disk);
}

static struct job *job_new(struct myco_disk *base, const char *path, void *data)
{
    MYCO_ASSERT(!of(base)->closing);
    struct job *job = myco_alloc(sizeof *job);
    job->disk = of(base);
    job->path = myco_strdup(path);
    job->data = data;
    job->work.data = job;
    return job;
}

static void job_start(
    struct job *job, void (*run)(struct job *job), void (*answer)(struct job *job))
{
    job->run = run;
    job->answer = answer;
    job->disk->job_count++;
    int result = uv_queue_work(job->disk->loop, &job->work, on_work, on_work_done);
    MYCO_ASSERT(result == 0);
}

static void answer_status(struct job *job)
{
    job->cb(job->status, job->data);
}

static void run_put(struct job *job)
{
    job->status =
        myco__folder_put(&job->disk->folder, job->path, myco_buf_as_slice(&job->bytes), job->flags);
}

static void disk_put(struct myco_disk *base, const char *path, struct myco_slice bytes, int flags,
    myco_disk_cb cb, void *data)
{
    struct job *job = job_new(base, path, data);
    myco_buf_bytes(&job->bytes, bytes.data, bytes.size);
    if (job->bytes.failed) job->status = MYCO_ENOMEM;
    job->flags = flags;
    job->cb = cb;
    job_start(job, run_put, answer_status);
}

static void run_get(struct job *job)
{
    job->status =
        myco__folder_get(&job->disk->folder, job->path, job->offset, job->size_max, &job->bytes);
}

static void answer_get(struct job *job)
{
    if (job->status < 0) job->bytes.size = 0;
    job->read_cb(job->status, &job->bytes, job->data);
}

static void disk_get(struct myco_disk *base, const char *path, uint64_t offset, uint64_t size_max,
    myco_disk_read_cb cb, void *data)
{
    struct job *job = job_new(base, path, data);
    job->offset = offset;
    job->size_max = size_max;
    job->read_cb = cb;
    job_start(job, run_get, answer_get);
}

static void run_list(struct job *job)
{
    job->status = myco__folder_list(&job->disk->folder, job->path, &job->list);
}

static void answer_list(struct job *job)
{
    job->list_cb(job->status, job->list.entries, job->status == 0 ? job->list.count : 0, job->data);
}

static void disk_list(struct myco_disk *base, const char *prefix, myco_disk_list_cb cb, void *data)
{
    struct job *job = job_new(base, prefix, data);
    job->list_cb = cb;
    job_start(job, run_list, answer_list);
}

static void run_del(struct job *job)
{
    job->status = myco__folder_remove(&job->disk->folder, job->path);
}

static void disk_del(struct myco_disk *base, const char *path, myco_disk_cb cb, void *data)
{
    struct job *job = job_new(base, path, data);
    job->cb = cb;
    job_start(job, run_del, answer_status);
}

/* ── The disk itself ────────────────────────────────────────────────────────────────────────── */

static const struct myco_disk_ops ops = {
    .open = file_open,
    .close = file_close,
    .size = file_size,
    .read = file_read,
    .truncate = file_truncate,
    .write_sync = file_write_sync,
    .remove = remove_now,
    .list_now = list_now,
    .put_now = put_now,
    .write = file_write,
    .put = disk_put,
    .get = disk_get,
    .list = disk_list,
    .del = disk_del,
};

int myco_uv_disk_open(
    struct uv_loop_s *loop, const char *root, struct myco_disk **opened, struct myco_err *err)
{
    struct uv_disk *disk = myco_alloc(sizeof *disk);
    int result = myco__folder_open(&disk->folder, root, err);
    if (result < 0) {
        myco_free(disk);
        return result;
    }
    disk->disk.ops = &ops;
    disk->loop = loop;
    disk->root = myco_strdup(root);
    disk->anchor.data = disk;
    uv_idle_init(loop, &disk->anchor);
    *opened = &disk->disk;
    return 0;
}

int myco_uv_disk_lock(struct myco_disk *base, struct myco_err *err)
{
    struct uv_disk *disk = of(base);
    int result = myco__folder_lock(&disk->folder);
    if (result == MYCO_EBUSY) {
        return myco_err(err, result, "folder %s is in use by another process", disk->root);
    }
    if (result == 0) return 0;
    return myco_err(err, result, "lock folder %s: %s", disk->root, myco_strerror(result));
}

void myco_uv_disk_close(struct myco_disk *base, void (*closed)(void *data), void *data)
{
    struct uv_disk *disk = of(base);
    MYCO_ASSERT(!disk->closing);
    MYCO_ASSERT(disk->file_count == 0);
    disk->closing = true;
    disk->closed = closed;
    disk->closed_data = data;
    if (disk->job_count == 0) uv_close((uv_handle_t *)&disk->anchor, on_anchor_closed);
}
