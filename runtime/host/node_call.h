/* For the files of public calls (api_*.c): doing something on the loop, and handles that go with
 * their node. */
#ifndef MYCO_HOST_NODE_CALL_H
#define MYCO_HOST_NODE_CALL_H

#include <pthread.h>

#include "host/node.h"

/* Runs fn on the loop's thread and waits for it: at once when called there. ECLOSED: the node is
 * closing. */
int node_call(struct myco *node, int (*fn)(struct myco *node, void *arg), void *arg);
void node_handle_keep(
    struct node_handle *handle, struct myco *node); /* takes; freed with the node */
void node_handle_free(struct node_handle *handle);

/* A caller that waits for a callback of the loop: a result and a condition on its stack. */
struct node_waiter {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    struct myco_result result;
    struct myco_err *err;
    struct myco_value *value; /* where the value shall go, or NULL */
};
void node_waiter_init(struct node_waiter *waiter, struct myco_err *err, struct myco_value *value);
void node_waiter_wake(const struct myco_result *result, void *data); /* the callback */
/* rc: whether the call began. Its status; the waiter is gone then. */
int node_waiter_wait(struct node_waiter *waiter, int rc, const char *what);
int node_refuse_on_loop(const struct myco *node, struct myco_err *err); /* EBUSY, or 0 */

#endif
