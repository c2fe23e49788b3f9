/* The waiting twin of a call that answers by a callback. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/node_call.h"

void node_wait_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

void node_waiter_init(struct node_waiter *waiter, struct myco_err *err, struct myco_value *value)
{
    memset(waiter, 0, sizeof *waiter);
    pthread_mutex_init(&waiter->mutex, NULL);
    node_wait_init(&waiter->cond);
    waiter->err = err;
    waiter->value = value;
}

static void give_value(struct node_waiter *waiter, const struct myco_result *result)
{
    char *bytes = myco_try_alloc(result->value.size + 1);
    if (!bytes) {
        waiter->result.status = myco_err(
            waiter->err, MYCO_ENOMEM, "no memory for a value of %zu bytes", result->value.size);
        return;
    }
    if (result->value.size) memcpy(bytes, result->value.data, result->value.size);
    bytes[result->value.size] = 0;
    *waiter->value = (struct myco_value){
        bytes, result->value.size, result->version, result->expires_in_ms, bytes};
}

void node_waiter_wake(const struct myco_result *result, void *data)
{
    struct node_waiter *waiter = data;
    pthread_mutex_lock(&waiter->mutex);
    waiter->result = *result;
    if (result->status)
        myco_err(waiter->err, result->status, "%s", result->message);
    else if (waiter->value)
        give_value(waiter, result);
    waiter->done = true;
    pthread_cond_signal(&waiter->cond);
    pthread_mutex_unlock(&waiter->mutex);
}

/* Every operation ends by its own deadline, or when the node closes: there is no deadline here. */
int node_waiter_wait(struct node_waiter *waiter, int rc, const char *what)
{
    if (rc == 0) {
        pthread_mutex_lock(&waiter->mutex);
        while (!waiter->done) pthread_cond_wait(&waiter->cond, &waiter->mutex);
        pthread_mutex_unlock(&waiter->mutex);
        rc = waiter->result.status;
    } else {
        myco_err(waiter->err, rc, "%s: %s", what, myco_strerror(rc));
    }
    pthread_mutex_destroy(&waiter->mutex);
    pthread_cond_destroy(&waiter->cond);
    return rc;
}

int node_refuse_on_loop(const struct myco *node, struct myco_err *err)
{
    return node_on_loop(node)
               ? myco_err(err, MYCO_EBUSY,
                     "a waiting call on the node's own loop thread: use the _async one")
               : 0;
}
