/* The object store that --store names: file:FOLDER, or one of a module, named by the scheme of its
 * URL (s3://… is of lib/mycorrizal/s3.so). */
#ifndef MYCO_HOST_STORE_H
#define MYCO_HOST_STORE_H

#include <uv.h>

#include "object/module.h"

/* EINVAL: says what is wrong with it; ENOTFOUND: its module is not installed. Opens nothing. */
int node_store_check(const char *url, struct myco_err *err);

struct node_store {
    struct myco_object *object; /* given: whoever takes it sets it to NULL, and closes it first */
    struct myco_disk *disk;     /* below file: */
    const struct myco_store_module *module;
    void *handle; /* the module's */
};
int node_store_open(struct node_store *store, uv_loop_t *loop, struct myco_env *env,
    const char *url, struct myco_err *err);
/* Closes what it has; `closed` runs at once or later. Also for one that was never opened. */
void node_store_close(struct node_store *store, void (*closed)(void *data), void *data);

#endif
