/* An object store in a module of its own, loaded when a URL asks for it: what its libraries weigh
 * is paid only by those who use them. The module exports one `myco_store_module`. It is built with
 * the library, and refused when the versions differ. */
#ifndef MYCO_OBJECT_MODULE_H
#define MYCO_OBJECT_MODULE_H

#include "object/object.h"

struct myco_store_module {
    const char *(*version)(void); /* of what it was built with */
    /* Whether `url` could be opened, without opening it. EINVAL: says what is wrong. */
    int (*check)(const char *url, struct myco_err *err);
    /* `loop` is a uv_loop_t. *store is given (ops->close, then close). */
    int (*open)(void *loop, struct myco_env *env, const char *url, struct myco_object **store,
        void **handle, struct myco_err *err);
    /* After the store was closed; `closed` runs later, once. */
    void (*close)(void *handle, void (*closed)(void *data), void *data);
};

#define MYCO_STORE_MODULE "myco_store_module" /* the symbol */

#endif
