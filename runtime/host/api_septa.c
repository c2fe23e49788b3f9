/* The public call that changes the options of a septum. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/node_call.h"

struct alter_post {
    struct node_post post;
    unsigned timeout_ms;
    myco_result_cb cb;
    void *data;
    char *name, *spec;
};

static void run_alter(struct myco *node, struct node_post *post, bool closed)
{
    struct alter_post *asked = MYCO_CONTAINER(post, struct alter_post, post);
    if (closed || !node->core || node->closing) {
        struct myco_result result = {.status = MYCO_ECLOSED, .message = "the node closes"};
        asked->cb(&result, asked->data);
    } else {
        myco_core_septum_alter(
            node->core, asked->name, asked->spec, asked->timeout_ms, asked->cb, asked->data);
    }
    myco_free(asked->name);
    myco_free(asked->spec);
    myco_free(asked);
}

int myco_septum_alter_async(struct myco *node, const char *name, const char *spec,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct alter_post *asked = myco_alloc(sizeof *asked);
    *asked = (struct alter_post){
        .post.run = run_alter, .timeout_ms = timeout_ms, .cb = cb, .data = data};
    asked->name = myco_strdup(name);
    asked->spec = myco_strdup(spec ? spec : "");
    int rc = node_post(node, &asked->post);
    if (rc) {
        myco_free(asked->name);
        myco_free(asked->spec);
        myco_free(asked);
    }
    return rc;
}

int myco_septum_alter(struct myco *node, const char *name, const char *spec, struct myco_err *err)
{
    struct node_waiter waiter;
    int rc = node_refuse_on_loop(node, err);
    if (rc) return rc;
    node_waiter_init(&waiter, err, NULL);
    rc = myco_septum_alter_async(node, name, spec, 0, node_waiter_wake, &waiter);
    return node_waiter_wait(&waiter, rc, "alter");
}
