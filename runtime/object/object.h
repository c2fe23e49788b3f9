/* Object stores: one interface for files, S3 and others. Keys are '/'-separated paths of printable
 * ASCII. All calls are asynchronous; callbacks run on the loop, never before the call returned. */
#ifndef MYCO_OBJECT_OBJECT_H
#define MYCO_OBJECT_OBJECT_H

#include "env/disk.h"
#include "env/env.h"

enum { MYCO_OBJECT_IF_ABSENT = 1 }; /* put: EEXISTS when the key is there already */

struct myco_object_info {
    const char *key;
    uint64_t size;
    uint64_t modified_ms; /* by the store's clock */
};
typedef void (*myco_object_cb)(int status, const char *message, void *data);
/* May be moved away. */
typedef void (*myco_object_get_cb)(
    int status, const char *message, struct myco_buf *bytes, void *data);
/* info is one page's array, sorted by key; lent. The listing is complete: drivers do the paging. */
typedef void (*myco_object_list_cb)(int status, const char *message,
    const struct myco_object_info *infos, size_t count, void *data);

struct myco_object;
struct myco_object_ops {
    const char *name;   /* "file" */
    bool put_if_absent; /* false: fit for one declared writer only */
    void (*put)(struct myco_object *store, const char *key, struct myco_slice bytes, int flags,
        myco_object_cb cb, void *data); /* copies bytes */
    void (*get)(struct myco_object *store, const char *key, uint64_t offset, uint64_t size,
        myco_object_get_cb cb, void *data); /* size 0: to the end */
    void (*list)(struct myco_object *store, const char *prefix, myco_object_list_cb cb, void *data);
    /* Absent is 0. */
    void (*del)(struct myco_object *store, const char *key, myco_object_cb cb, void *data);
    /* Calls under way call back with ECANCELED inside of close, and may yet happen. No call
     * afterwards. */
    void (*close)(struct myco_object *store);
};
struct myco_object {
    const struct myco_object_ops *ops;
    struct myco_env *env;
};

/* What every driver takes as a key: 1 to 1,024 printable characters, no empty segment, no "." and
 * "..". Others are EINVAL, through the callback. */
bool myco_object_key_valid(const char *key);

/* The `file:` driver over a disk whose root is the store's folder. The store is given (ops->close);
 * disk and env stay until the disk's last callback. */
struct myco_object *myco_object_file(struct myco_env *env, struct myco_disk *disk);

#endif
