/* A disk and an env in memory, for tests of what stands on both: nothing happens until it is run,
 * one operation at a time, so that a test can stop after any of them, cut the power and look.
 *
 *     struct fake f;
 *     fake_init(&f);
 *     ... &f.disk, &f.env ...
 *     fake_run(&f, FAKE_ALL);          // all operations, deferred calls and timers up to
 * f.until_ns fake_crash(&f, FAKE_TORN);       // what was not synced is lost, kept, or kept in part
 */
#ifndef MYCO_TEST_FAKE_DISK_H
#define MYCO_TEST_FAKE_DISK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "env/disk.h"
#include "env/env.h"

#define FAKE_FILES 64
#define FAKE_ALL   100000

enum fake_tear { FAKE_LOST, FAKE_KEPT, FAKE_TORN, FAKE_TEARS };

struct fake_file {
    struct myco_file base;
    char path[128]; /* "": free */
    struct myco_buf bytes, synced;
    unsigned opened; /* times */
};

struct fake_op {
    struct myco_list link;
    enum { FAKE_WRITE, FAKE_PUT, FAKE_DEL } kind;
    struct fake_file *file;
    char path[128];
    uint64_t offset;
    struct myco_slice lent;
    struct myco_buf copy;
    bool sync;
    myco_disk_cb cb;
    void *data;
};

struct fake {
    struct myco_disk disk;
    struct myco_env env;
    struct myco_metrics metrics;
    struct fake_file files[FAKE_FILES];
    struct myco_list ops;
    uint64_t now_ns, wake_ns, until_ns, random;
    unsigned done_count, sync_count; /* operations */
    uint64_t size_max;               /* of all files; 0: none */
    int fail_status, del_status;     /* of writes and of deletions from now on; 0: none fails */
    bool dead;                       /* between crash and restart */
};

/* ── Files ───────────────────────────────────────────────────────────────────────────────────── */

static inline struct fake *fake_of(struct myco_disk *disk)
{
    return MYCO_CONTAINER(disk, struct fake, disk);
}

static inline struct fake_file *fake_find(struct fake *f, const char *path)
{
    for (int i = 0; i < FAKE_FILES; i++) {
        if (strcmp(f->files[i].path, path) == 0) return &f->files[i];
    }
    return NULL;
}

static inline struct fake_file *fake_make(struct fake *f, const char *path)
{
    struct fake_file *file = fake_find(f, path);
    if (file != NULL) return file;
    file = fake_find(f, "");
    if (file == NULL || strlen(path) >= sizeof(file->path)) {
        fprintf(stderr, "fake disk: no room for %s\n", path);
        abort();
    }
    strcpy(file->path, path);
    file->base.disk = &f->disk;
    return file;
}

static inline void fake_sync(struct fake_file *file)
{
    myco_buf_clear(&file->synced);
    myco_buf_bytes(&file->synced, file->bytes.data, file->bytes.size);
}

static inline uint64_t fake_size(const struct fake *f)
{
    uint64_t size = 0;
    for (int i = 0; i < FAKE_FILES; i++) size += f->files[i].bytes.size;
    return size;
}

static inline int fake_place(
    struct fake *f, struct fake_file *file, uint64_t offset, struct myco_slice bytes)
{
    uint64_t end = offset + bytes.size;
    uint64_t more = end > file->bytes.size ? end - file->bytes.size : 0;
    if (f->size_max != 0 && fake_size(f) + more > f->size_max) return MYCO_ENOSPC;
    if (more > 0) {
        if (!myco_buf_reserve(&file->bytes, more)) abort();
        memset(file->bytes.data + file->bytes.size, 0, more);
        file->bytes.size = end;
    }
    if (bytes.size > 0) memcpy(file->bytes.data + offset, bytes.data, bytes.size);
    return 0;
}

static inline int fake_put_file(struct fake *f, const char *path, struct myco_slice bytes)
{
    struct fake_file *old = fake_find(f, path);
    uint64_t had = old != NULL ? old->bytes.size : 0;
    if (f->size_max != 0 && fake_size(f) - had + bytes.size > f->size_max) return MYCO_ENOSPC;
    struct fake_file *file = fake_make(f, path);
    myco_buf_clear(&file->bytes);
    myco_buf_bytes(&file->bytes, bytes.data, bytes.size);
    fake_sync(file);
    return 0;
}

static inline void fake_forget(struct fake_file *file)
{
    file->path[0] = '\0';
    myco_buf_clear(&file->bytes);
    myco_buf_clear(&file->synced);
}

/* ── Blocking calls ──────────────────────────────────────────────────────────────────────────── */

static inline int fake_open(struct myco_disk *disk, const char *path, int flags,
    struct myco_file **file, struct myco_err *err)
{
    struct fake_file *found = fake_find(fake_of(disk), path);
    if (fake_of(disk)->dead) return myco_err(err, MYCO_EIO, "open %s: the power is off", path);
    if (found == NULL && !(flags & MYCO_DISK_CREATE)) {
        return myco_err(err, MYCO_ENOTFOUND, "open %s: not found", path);
    }
    if (found == NULL) found = fake_make(fake_of(disk), path);
    found->opened++;
    *file = &found->base;
    return 0;
}

static inline void fake_close(struct myco_file *file)
{
    MYCO_CONTAINER(file, struct fake_file, base)->opened--;
}

static inline int fake_size_of(struct myco_file *file, uint64_t *size)
{
    *size = MYCO_CONTAINER(file, struct fake_file, base)->bytes.size;
    return 0;
}

static inline int fake_read(
    struct myco_file *base, uint64_t offset, void *bytes, size_t size, size_t *got)
{
    struct fake_file *file = MYCO_CONTAINER(base, struct fake_file, base);
    size_t left = offset < file->bytes.size ? file->bytes.size - offset : 0;
    *got = left < size ? left : size;
    if (*got > 0) memcpy(bytes, file->bytes.data + offset, *got);
    return 0;
}

static inline int fake_truncate(struct myco_file *base, uint64_t size)
{
    struct fake_file *file = MYCO_CONTAINER(base, struct fake_file, base);
    if (fake_of(base->disk)->dead) return MYCO_EIO;
    if (size < file->bytes.size) file->bytes.size = size;
    fake_sync(file);
    return 0;
}

static inline int fake_write_sync(struct myco_file *base, uint64_t offset, struct myco_slice bytes)
{
    struct fake_file *file = MYCO_CONTAINER(base, struct fake_file, base);
    int status = fake_place(fake_of(base->disk), file, offset, bytes);
    if (status == 0) fake_sync(file);
    return status;
}

static inline int fake_remove(struct myco_disk *disk, const char *path)
{
    struct fake_file *file = fake_find(fake_of(disk), path);
    if (fake_of(disk)->dead) return MYCO_EIO;
    if (file != NULL) fake_forget(file);
    return 0;
}

static inline int fake_entry_compare(const void *a, const void *b)
{
    return strcmp(
        ((const struct myco_disk_entry *)a)->path, ((const struct myco_disk_entry *)b)->path);
}

static inline int fake_list_now(
    struct myco_disk *disk, const char *prefix, myco_disk_list_cb cb, void *data)
{
    struct fake *f = fake_of(disk);
    struct myco_disk_entry entries[FAKE_FILES];
    size_t count = 0;
    for (int i = 0; i < FAKE_FILES; i++) {
        struct fake_file *file = &f->files[i];
        if (file->path[0] == '\0' || strncmp(file->path, prefix, strlen(prefix)) != 0) continue;
        entries[count++] = (struct myco_disk_entry){file->path, file->bytes.size, 0};
    }
    qsort(entries, count, sizeof(entries[0]), fake_entry_compare);
    cb(0, entries, count, data);
    return 0;
}

static inline int fake_put_now(struct myco_disk *disk, const char *path, struct myco_slice bytes)
{
    return fake_put_file(fake_of(disk), path, bytes);
}

/* ── Asynchronous calls ──────────────────────────────────────────────────────────────────────── */

static inline struct fake_op *fake_op(struct myco_disk *disk, int kind, myco_disk_cb cb, void *data)
{
    struct fake_op *op = myco_alloc(sizeof(*op));
    op->kind = kind;
    op->cb = cb;
    op->data = data;
    myco_list_append(&fake_of(disk)->ops, &op->link);
    return op;
}

static inline void fake_write(struct myco_file *base, uint64_t offset, struct myco_slice bytes,
    bool sync, myco_disk_cb cb, void *data)
{
    struct fake_op *op = fake_op(base->disk, FAKE_WRITE, cb, data);
    op->file = MYCO_CONTAINER(base, struct fake_file, base);
    op->offset = offset;
    op->lent = bytes;
    op->sync = sync;
}

static inline void fake_put(struct myco_disk *disk, const char *path, struct myco_slice bytes,
    int flags, myco_disk_cb cb, void *data)
{
    struct fake_op *op = fake_op(disk, FAKE_PUT, cb, data);
    (void)flags;
    strcpy(op->path, path);
    myco_buf_bytes(&op->copy, bytes.data, bytes.size);
}

static inline void fake_del(struct myco_disk *disk, const char *path, myco_disk_cb cb, void *data)
{
    struct fake_op *op = fake_op(disk, FAKE_DEL, cb, data);
    strcpy(op->path, path);
}

static inline int fake_do(struct fake *f, struct fake_op *op)
{
    if (f->dead) return MYCO_ECANCELED;
    if (op->kind == FAKE_DEL && f->del_status != 0) return f->del_status;
    if (op->kind == FAKE_DEL) return fake_remove(&f->disk, op->path);
    if (f->fail_status != 0) return f->fail_status;
    if (op->kind == FAKE_PUT) return fake_put_file(f, op->path, myco_buf_as_slice(&op->copy));
    int status = fake_place(f, op->file, op->offset, op->lent);
    if (status == 0 && op->sync) fake_sync(op->file);
    if (op->sync) f->sync_count++;
    return status;
}

static inline void fake_op_free(struct fake_op *op)
{
    myco_buf_free(&op->copy);
    myco_free(op);
}

static inline void fake_step(struct fake *f)
{
    struct fake_op *op = MYCO_CONTAINER(myco_list_pop(&f->ops), struct fake_op, link);
    int status = fake_do(f, op);
    f->done_count++;
    op->cb(status, op->data);
    fake_op_free(op);
}

static const struct myco_disk_ops fake_disk_ops = {
    .open = fake_open,
    .close = fake_close,
    .size = fake_size_of,
    .read = fake_read,
    .truncate = fake_truncate,
    .write_sync = fake_write_sync,
    .remove = fake_remove,
    .list_now = fake_list_now,
    .put_now = fake_put_now,
    .write = fake_write,
    .put = fake_put,
    .del = fake_del,
};

/* ── The env ─────────────────────────────────────────────────────────────────────────────────── */

static inline uint64_t fake_now_ns(struct myco_env *env)
{
    return MYCO_CONTAINER(env, struct fake, env)->now_ns;
}

static inline uint64_t fake_wall_ms(struct myco_env *env)
{
    return fake_now_ns(env) / 1000000;
}

static inline void fake_random(struct myco_env *env, void *bytes, size_t size)
{
    struct fake *f = MYCO_CONTAINER(env, struct fake, env);
    for (size_t i = 0; i < size; i++) {
        f->random = f->random * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)bytes)[i] = (uint8_t)(f->random >> 56);
    }
}

static inline void fake_wake_at(struct myco_env *env, uint64_t ns)
{
    MYCO_CONTAINER(env, struct fake, env)->wake_ns = ns;
}

static inline int fake_datagram(
    struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    (void)env, (void)to, (void)bytes;
    return 0;
}

static const struct myco_env_ops fake_env_ops = {
    .now_ns = fake_now_ns,
    .wall_ms = fake_wall_ms,
    .random = fake_random,
    .wake_at = fake_wake_at,
    .datagram_send = fake_datagram,
};

/* ── Running ─────────────────────────────────────────────────────────────────────────────────── */

static inline void fake_env_start(struct fake *f)
{
    f->wake_ns = UINT64_MAX;
    myco__env_init(&f->env, &fake_env_ops);
    f->env.metrics = &f->metrics;
}

static inline void fake_init(struct fake *f)
{
    *f = (struct fake){.now_ns = 1000000000, .random = 1};
    f->disk.ops = &fake_disk_ops;
    myco_list_init(&f->ops);
    fake_env_start(f);
}

/* Deferred calls first, then the disk, then time, up to until_ns. At most `max` disk operations;
 * returns whether nothing is left to do. */
static inline bool fake_run(struct fake *f, unsigned max)
{
    for (;;) {
        if (f->wake_ns <= f->now_ns) {
            f->wake_ns = UINT64_MAX;
            myco__env_wake(&f->env);
        } else if (!myco_list_empty(&f->ops)) {
            if (max-- == 0) return false;
            fake_step(f);
        } else if (f->wake_ns <= f->until_ns) {
            f->now_ns = f->wake_ns;
        } else {
            if (f->now_ns < f->until_ns) f->now_ns = f->until_ns;
            return true;
        }
    }
}

/* The first operation under way counts as half done, others as not begun; what was not synced is
 * lost, kept or torn. */
static inline void fake_crash(struct fake *f, enum fake_tear tear)
{
    if (!myco_list_empty(&f->ops) && tear != FAKE_LOST) {
        struct fake_op *op = MYCO_CONTAINER(f->ops.next, struct fake_op, link);
        op->sync = false;
        (void)fake_do(f, op);
    }
    for (int i = 0; i < FAKE_FILES; i++) {
        struct fake_file *file = &f->files[i];
        size_t keep = file->synced.size, size = file->bytes.size;
        if (tear != FAKE_KEPT && size > keep) {
            file->bytes.size = keep;
            if (tear == FAKE_TORN) file->bytes.size += (size - keep) / 2;
        }
        fake_sync(file);
    }
    f->dead = true;
}

static inline void fake_restart(struct fake *f)
{
    if (!myco_list_empty(&f->ops)) abort(); /* somebody still waits */
    f->dead = false;
    f->fail_status = 0;
    myco__env_close(&f->env);
    fake_env_start(f);
}

/* An independent copy of what lies on the disk. */
static inline void fake_copy(struct fake *to, const struct fake *from)
{
    fake_init(to);
    for (int i = 0; i < FAKE_FILES; i++) {
        const struct fake_file *file = &from->files[i];
        if (file->path[0] == '\0') continue;
        (void)fake_put_file(to, file->path, myco_buf_as_slice(&file->bytes));
    }
}

static inline void fake_free(struct fake *f)
{
    for (int i = 0; i < FAKE_FILES; i++) {
        myco_buf_free(&f->files[i].bytes);
        myco_buf_free(&f->files[i].synced);
    }
    myco__env_close(&f->env);
}

#endif
