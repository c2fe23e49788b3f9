/* What the files of this module share. */
#ifndef MYCO_S3_LIBS3_PRIVATE_H
#define MYCO_S3_LIBS3_PRIVATE_H

#include <libs3.h>
#include <uv.h>

#include "object/object.h"
#include "s3/url.h"

#ifndef MYCO_LIBS3_4
#define MYCO_LIBS3_4 0
#endif

/* ── loop.c: libs3 on a loop, without threads ── */

struct libs3_loop;
int libs3_loop_open(uv_loop_t *loop, struct libs3_loop **out, struct myco_err *err);
S3RequestContext *libs3_loop_context(struct libs3_loop *loop);
/* After requests were added: they go on from the next turn. */
void libs3_loop_kick(struct libs3_loop *loop);
/* Aborts what is under way (its callbacks run inside), and frees it all; `closed` runs later. */
void libs3_loop_abort(struct libs3_loop *loop);
void libs3_loop_close(struct libs3_loop *loop, void (*closed)(void *data), void *data);

/* ── store.c ── */

/* The URL's strings stay until the store is closed. */
struct myco_object *libs3_store(struct myco_env *env, struct libs3_loop *loop,
    const struct myco_s3_url *url, const char *region,
    const struct myco_s3_credentials *credentials);

#endif
