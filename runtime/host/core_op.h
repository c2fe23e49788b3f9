/* An operation of this node's own, for the files that ask (core_client.c, core_scan.c,
 * core_many.c). */
#ifndef MYCO_HOST_CORE_OP_H
#define MYCO_HOST_CORE_OP_H

#include "host/core_internal.h"

enum core_op_where { CORE_OP_WAITING, CORE_OP_SENT, CORE_OP_LOCAL };

struct core_op {
    struct myco_list link; /* core->waiting */
    struct myco_core *core;
    enum core_op_where where;
    enum myco_request what;
    uint64_t septum;
    uint32_t hypha;
    struct myco_buf key, value; /* SCAN: prefix and after */
    struct myco_put_options put;
    uint32_t limit;
    bool keys_only, keyed;
    bool writes;                /* MANY: some of it */
    struct core_batch *batch;   /* MANY, served here */
    struct core_parked *parked; /* WATCH, served here */
    uint64_t deadline_ns, request, token, sent_to;
    myco_result_cb cb;
    void *data;
    /* answered before the call that asked returned: told on a later turn */
    bool starting;
    struct myco_deferred later;
    struct myco_result result;
    struct myco_buf kept;
    char message[160];
};

/* Waits, not begun: fill it in, then start it; or leave it to the next attempt, 10 ms later. */
struct core_op *core_op_new(struct myco_core *core, enum myco_request what, uint64_t septum,
    unsigned timeout_ms, myco_result_cb cb, void *data);
void core_op_start(struct core_op *op);
void core_op_cancel(struct core_op *op); /* its callback does not run */

/* It did not happen, and may at another node or a little later. */
bool core_op_again(int status);

#endif
