/* Files below one root folder. Two kinds of calls: blocking ones for start-up and recovery, and
 * asynchronous ones, performed off the loop, whose callback runs on the loop and never before the
 * call returned. Paths are relative, with '/', without '..'. A crash loses what was not synced. */
#ifndef MYCO_ENV_DISK_H
#define MYCO_ENV_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct myco_disk; /* a root folder */
struct myco_file; /* open for reading and writing */

typedef void (*myco_disk_cb)(int status, void *data);
/* Bytes: lent; may be moved away. */
typedef void (*myco_disk_read_cb)(int status, struct myco_buf *bytes, void *data);
/* One entry of a listing; `path` is relative to the disk's root, lent. */
struct myco_disk_entry {
    const char *path;
    uint64_t size;
    uint64_t modified_ms; /* wall clock of the disk */
};
typedef void (*myco_disk_list_cb)(
    int status, const struct myco_disk_entry *entries, size_t count, void *data);

enum {
    MYCO_DISK_CREATE = 1,    /* open: create when absent (the folder too), and sync the folder */
    MYCO_DISK_EXCLUSIVE = 2, /* put: EEXISTS when the path is there already */
};

struct myco_disk_ops {
    /* blocking */
    int (*open)(struct myco_disk *disk, const char *path, int flags, struct myco_file **file,
        struct myco_err *err);
    /* Waits for writes in flight; their callbacks still run. */
    void (*close)(struct myco_file *file);
    int (*size)(struct myco_file *file, uint64_t *size);
    int (*read)(struct myco_file *file, uint64_t offset, void *bytes, size_t size,
        size_t *got);                                       /* less at the end */
    int (*truncate)(struct myco_file *file, uint64_t size); /* and sync */
    int (*write_sync)(struct myco_file *file, uint64_t offset,
        struct myco_slice bytes);                            /* small, durable on return */
    int (*remove)(struct myco_disk *disk, const char *path); /* and sync the folder; absent is 0 */
    /* Calls cb before it returns. */
    int (*list_now)(struct myco_disk *disk, const char *prefix, myco_disk_list_cb cb, void *data);
    /* As put, blocking. */
    int (*put_now)(struct myco_disk *disk, const char *path, struct myco_slice bytes);
    /* asynchronous */
    /* Writes at `offset`, then makes it durable when `sync`. Bytes are borrowed until the callback.
     * Writes of one file complete in the order in which they were made. */
    void (*write)(struct myco_file *file, uint64_t offset, struct myco_slice bytes, bool sync,
        myco_disk_cb cb, void *data);
    /* A whole file, all or nothing, durable: temporary, sync, rename (or link), sync the folder.
     * Copies bytes. */
    void (*put)(struct myco_disk *disk, const char *path, struct myco_slice bytes, int flags,
        myco_disk_cb cb, void *data);
    void (*get)(struct myco_disk *disk, const char *path, uint64_t offset, uint64_t size_max,
        myco_disk_read_cb cb, void *data); /* ENOTFOUND */
    /* Files whose path starts with prefix, recursively, sorted. */
    void (*list)(struct myco_disk *disk, const char *prefix, myco_disk_list_cb cb, void *data);
    /* Absent is 0. */
    void (*del)(struct myco_disk *disk, const char *path, myco_disk_cb cb, void *data);
};

struct myco_disk {
    const struct myco_disk_ops *ops;
};
struct myco_file {
    struct myco_disk *disk;
};

#endif
