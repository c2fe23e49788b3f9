/* The public calls for following what happens to the cluster. */
#include "base/err.h"
#include "base/mem.h"
#include "host/core_chronicle.h"
#include "host/node_call.h"

struct myco_follower {
    struct node_handle handle;
    struct chronicle_follower *follower;
};

struct follow {
    uint64_t from;
    myco_event_cb cb;
    void *data;
    struct chronicle_follower *follower;
};

static int do_follow(struct myco *node, void *arg)
{
    struct follow *ask = arg;
    ask->follower = myco_core_follow(node->core, ask->from, ask->cb, ask->data);
    return ask->follower ? 0 : MYCO_EFULL;
}

int myco_follow(struct myco *node, uint64_t from, myco_event_cb cb, void *data,
    struct myco_follower **follower, struct myco_err *err)
{
    struct follow ask = {.from = from, .cb = cb, .data = data};
    int rc = node_call(node, do_follow, &ask);
    if (rc == MYCO_EFULL)
        return myco_err(
            err, rc, "follow: %d follow this node's events already", CHRONICLE_FOLLOWERS_MAX);
    if (rc) return myco_err(err, rc, "follow: %s", myco_strerror(rc));
    *follower = myco_alloc(sizeof **follower);
    (*follower)->follower = ask.follower;
    node_handle_keep(&(*follower)->handle, node);
    return 0;
}

static int do_unfollow(struct myco *node, void *arg)
{
    struct myco_follower *follower = arg;
    (void)node;
    chronicle_unfollow(follower->follower);
    return 0;
}

/* After a node began to close, its chronicle has let go of the follower itself. */
void myco_unfollow(struct myco_follower *follower, void (*done)(void *data), void *data)
{
    if (!follower) return;
    node_call(follower->handle.node, do_unfollow, follower);
    node_handle_free(&follower->handle);
    if (done) done(data);
}
