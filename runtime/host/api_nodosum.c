/* The public calls about the cluster as a whole: to know what is agreed on, to remove members, to
 * accept that data is lost. */
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

/* ── accepted losses ── */

struct lose {
    struct node_post post;
    uint32_t hyphae[MYCO_LOSSES_MAX];
    unsigned count, flags, timeout_ms;
    bool all;
    char septum[MYCO_STATE_NAME_MAX + 1], reason[MYCO_LOSS_REASON_MAX + 1];
    myco_result_cb cb;
    void *data;
};

static void run_lose(struct myco *node, struct node_post *post, bool closed)
{
    struct lose *lose = MYCO_CONTAINER(post, struct lose, post);
    struct myco_result result = {.status = MYCO_ECLOSED, .message = "the node closes"};
    if (closed || !node->core || node->closing)
        lose->cb(&result, lose->data);
    else
        myco_core_accept_loss(node->core, lose->septum, lose->all ? NULL : lose->hyphae,
            lose->count, lose->flags, lose->reason, lose->timeout_ms, lose->cb, lose->data);
    myco_free(lose);
}

int myco_accept_loss_async(struct myco *node, const char *septum, const uint32_t *hyphae,
    unsigned count, unsigned flags, const char *reason, unsigned timeout_ms, myco_result_cb cb,
    void *data)
{
    if (!reason) reason = "";
    if (count > MYCO_LOSSES_MAX || strlen(septum) > MYCO_STATE_NAME_MAX ||
        strlen(reason) > MYCO_LOSS_REASON_MAX)
        return MYCO_ETOOBIG;
    struct lose *lose = myco_try_alloc(sizeof *lose);
    if (!lose) return MYCO_ENOMEM;
    memset(lose, 0, sizeof *lose);
    lose->all = !hyphae;
    lose->count = hyphae ? count : 0;
    if (lose->count) memcpy(lose->hyphae, hyphae, count * sizeof *hyphae);
    strcpy(lose->septum, septum);
    strcpy(lose->reason, reason);
    lose->flags = flags;
    lose->timeout_ms = timeout_ms;
    lose->cb = cb;
    lose->data = data;
    lose->post.run = run_lose;
    int rc = node_post(node, &lose->post);
    if (rc) myco_free(lose);
    return rc;
}
