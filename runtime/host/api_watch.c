/* The public calls for watching a septum. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/node_call.h"

struct myco_watch {
    struct node_handle handle;
    struct core_watch *watch;
};

struct asked {
    struct myco_septum *septum;
    struct myco_slice prefix, token;
    myco_watch_cb cb;
    void *data;
    struct core_watch *watch;
    struct myco_err *err;
};

static int do_watch(struct myco *node, void *arg)
{
    struct asked *asked = arg;
    asked->watch = myco_core_watch(node->core, asked->septum->id, asked->prefix, asked->token,
        asked->cb, asked->data, asked->err);
    return asked->watch ? 0 : MYCO_EINVAL;
}

int myco_watch(struct myco_septum *septum, struct myco_slice prefix, struct myco_slice token,
    myco_watch_cb cb, void *data, struct myco_watch **watch, struct myco_err *err)
{
    struct asked asked = {septum, prefix, token, cb, data, NULL, err};
    if (prefix.size > MYCO_KEY_SIZE_MAX)
        return myco_err(err, MYCO_ETOOBIG, "watch: the prefix is longer than a key may be");
    *watch = myco_alloc(sizeof **watch); /* before: the callback may want it at once */
    int rc = node_call(septum->node, do_watch, &asked);
    if (rc) {
        myco_free(*watch);
        *watch = NULL;
        return rc == MYCO_EINVAL ? rc : myco_err(err, rc, "watch: %s", myco_strerror(rc));
    }
    (*watch)->watch = asked.watch;
    node_handle_keep(&(*watch)->handle, septum->node);
    return 0;
}

struct token {
    struct myco_watch *watch;
    struct myco_buf out;
};

static int do_token(struct myco *node, void *arg)
{
    struct token *token = arg;
    (void)node;
    myco_core_watch_token(token->watch->watch, &token->out);
    return token->out.failed ? MYCO_ENOMEM : 0;
}

int myco_watch_token(struct myco_watch *watch, struct myco_value *value, struct myco_err *err)
{
    struct token token = {.watch = watch};
    int rc = node_call(watch->handle.node, do_token, &token);
    char *bytes = rc ? NULL : myco_try_alloc(token.out.size);
    if (bytes) {
        memcpy(bytes, token.out.data, token.out.size);
        *value = (struct myco_value){bytes, token.out.size, 0, 0, bytes};
    } else if (rc == 0) {
        rc = MYCO_ENOMEM;
    }
    myco_buf_free(&token.out);
    return rc ? myco_err(err, rc, "watch: %s", myco_strerror(rc)) : 0;
}

static int do_resume(struct myco *node, void *arg)
{
    struct myco_watch *watch = arg;
    (void)node;
    myco_core_watch_resume(watch->watch);
    return 0;
}

void myco_watch_resume(struct myco_watch *watch)
{
    node_call(watch->handle.node, do_resume, watch);
}

static int do_unwatch(struct myco *node, void *arg)
{
    struct myco_watch *watch = arg;
    (void)node;
    myco_core_unwatch(watch->watch);
    return 0;
}

/* After a node began to close, its core lets go of the watch itself. */
void myco_unwatch(struct myco_watch *watch, void (*done)(void *data), void *data)
{
    if (!watch) return;
    node_call(watch->handle.node, do_unwatch, watch);
    node_handle_free(&watch->handle);
    if (done) done(data);
}
