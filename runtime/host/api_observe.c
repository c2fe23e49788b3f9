/* The public calls that look at leaderships of others, and hand one over. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/node_call.h"

struct myco_observer {
    struct node_handle handle;
    struct myco_core_observer *observer;
    const char *pattern; /* while it is made */
    myco_leadership_cb cb;
    void *data;
};

static int do_observe(struct myco *node, void *arg)
{
    struct myco_observer *observer = arg;
    observer->observer =
        myco_core_observe(node->core, observer->pattern, observer->cb, observer->data);
    return 0;
}

int myco_observe(struct myco *node, const char *pattern, myco_leadership_cb cb, void *data,
    struct myco_observer **observer_out, struct myco_err *err)
{
    if (!pattern || !myco__state_name_ok(pattern))
        return myco_err(err, MYCO_EINVAL,
            "observe: '%.80s' is no name of an election, nor the beginning of one with a * behind",
            pattern ? pattern : "");
    struct myco_observer *observer = myco_alloc(sizeof *observer);
    observer->pattern = pattern;
    observer->cb = cb;
    observer->data = data;
    int rc = node_call(node, do_observe, observer);
    if (rc) {
        myco_free(observer);
        return myco_err(err, rc, "observe %s: %s", pattern, myco_strerror(rc));
    }
    node_handle_keep(&observer->handle, node);
    *observer_out = observer;
    return 0;
}

static int do_unobserve(struct myco *node, void *arg)
{
    struct myco_observer *observer = arg;
    (void)node;
    myco_core_unobserve(observer->observer);
    return 0;
}

void myco_unobserve(struct myco_observer *observer, void (*done)(void *data), void *data)
{
    if (!observer) return;
    node_call(observer->handle.node, do_unobserve, observer);
    node_handle_free(&observer->handle);
    if (done) done(data);
}

/* ── transfer ── */

struct transfer {
    struct node_post post;
    char name[MYCO_STATE_NAME_MAX + 1], to[MYCO_STATE_NAME_MAX + 1];
    unsigned timeout_ms;
    myco_result_cb cb;
    void *data;
};

static void run_transfer(struct myco *node, struct node_post *post, bool closed)
{
    struct transfer *transfer = MYCO_CONTAINER(post, struct transfer, post);
    if (closed || !node->core || node->closing) {
        struct myco_result result = {.status = MYCO_ECLOSED, .message = "the node closes"};
        transfer->cb(&result, transfer->data);
    } else {
        myco_core_transfer(node->core, transfer->name, transfer->to, transfer->timeout_ms,
            transfer->cb, transfer->data);
    }
    myco_free(transfer);
}

int myco_transfer_async(struct myco *node, const char *name, const char *to, unsigned timeout_ms,
    myco_result_cb cb, void *data)
{
    if (!name || !to || !myco__state_name_ok(name) || strlen(to) > MYCO_STATE_NAME_MAX)
        return MYCO_EINVAL;
    struct transfer *transfer = myco_alloc(sizeof *transfer);
    *transfer = (struct transfer){
        .post = {.run = run_transfer}, .timeout_ms = timeout_ms, .cb = cb, .data = data};
    myco_text_copy(transfer->name, sizeof transfer->name, name);
    myco_text_copy(transfer->to, sizeof transfer->to, to);
    int rc = node_post(node, &transfer->post);
    if (rc) myco_free(transfer);
    return rc;
}
