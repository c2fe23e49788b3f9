/* Running a node on the host's own libuv loop instead of a thread of its own. */
#ifndef MYCORRIZAL_UV_H
#define MYCORRIZAL_UV_H

#include <uv.h>

#include "mycorrizal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Like myco_open(), on `loop`, which the caller runs, on the calling thread. Waiting calls on that
 * thread return EBUSY. */
MYCO_API int myco_open_uv(
    struct myco **node, uv_loop_t *loop, const struct myco_options *options, struct myco_err *err);
/* Starts leaving; `closed` runs on the loop once everything is freed. On the loop's thread. */
MYCO_API void myco_close_uv(struct myco *node, void (*closed)(void *data), void *data);
/* The loop that the node runs on, be it the host's or that of its own thread; lent until close. */
MYCO_API uv_loop_t *myco_loop(struct myco *node);

#ifdef __cplusplus
}
#endif
#endif
