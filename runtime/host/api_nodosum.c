/* The public calls about the cluster as a whole: to know what is agreed on, to remove members. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/node_call.h"

struct ask {
    struct node_post post;
    enum { ASK_SYNC, ASK_REMOVE } what;
    unsigned timeout_ms, flags;
    myco_result_cb cb;
    void *data;
    char text[];
};

static void run_ask(struct myco *node, struct node_post *post, bool closed)
{
    struct ask *ask = MYCO_CONTAINER(post, struct ask, post);
    struct myco_result result = {.status = MYCO_ECLOSED, .message = "the node closes"};
    if (closed || !node->core || node->closing)
        ask->cb(&result, ask->data);
    else if (ask->what == ASK_SYNC)
        myco_core_sync(node->core, ask->timeout_ms, ask->cb, ask->data);
    else
        myco_core_remove(node->core, ask->text, ask->flags & MYCO_REMOVE_FORCE, ask->timeout_ms,
            ask->cb, ask->data);
    myco_free(ask);
}

static int post_ask(struct myco *node, const struct ask *what, const char *text)
{
    size_t size = strlen(text) + 1;
    struct ask *ask = myco_try_alloc(sizeof *ask + size);
    if (!ask) return MYCO_ENOMEM;
    *ask = *what;
    memcpy(ask->text, text, size);
    ask->post.run = run_ask;
    int rc = node_post(node, &ask->post);
    if (rc) myco_free(ask);
    return rc;
}

int myco_sync_async(struct myco *node, unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct ask ask = {.what = ASK_SYNC, .timeout_ms = timeout_ms, .cb = cb, .data = data};
    return post_ask(node, &ask, "");
}

int myco_sync(struct myco *node, unsigned timeout_ms, struct myco_err *err)
{
    struct node_waiter waiter;
    int rc = node_refuse_on_loop(node, err);
    if (rc) return rc;
    node_waiter_init(&waiter, err, NULL);
    rc = myco_sync_async(node, timeout_ms, node_waiter_wake, &waiter);
    return node_waiter_wait(&waiter, rc, "sync");
}

int myco_remove_async(struct myco *node, const char *member, unsigned flags, unsigned timeout_ms,
    myco_result_cb cb, void *data)
{
    struct ask ask = {
        .what = ASK_REMOVE, .timeout_ms = timeout_ms, .flags = flags, .cb = cb, .data = data};
    return post_ask(node, &ask, member);
}
