/* The public calls for events, elections and the host's own functions. What other threads ask is
 * done by the loop while they wait: it does not wait for anything itself. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/node_call.h"

#define FUNCTIONS_MAX 1024

/* ── doing something on the loop ── */

struct call {
    struct node_post post;
    int (*fn)(struct myco *node, void *arg);
    void *arg;
    int result;
    bool done;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
};

static void run_call(struct myco *node, struct node_post *post, bool closed)
{
    struct call *call = MYCO_CONTAINER(post, struct call, post);
    int result = closed || !node->core ? MYCO_ECLOSED : call->fn(node, call->arg);
    pthread_mutex_lock(&call->mutex);
    call->result = result;
    call->done = true;
    pthread_cond_signal(&call->cond);
    pthread_mutex_unlock(&call->mutex);
}

int node_call(struct myco *node, int (*fn)(struct myco *node, void *arg), void *arg)
{
    if (node_on_loop(node)) return node->core ? fn(node, arg) : MYCO_ECLOSED;
    struct call call = {.post = {.run = run_call}, .fn = fn, .arg = arg};
    pthread_mutex_init(&call.mutex, NULL);
    node_wait_init(&call.cond);
    int rc = node_post(node, &call.post);
    if (rc == 0) {
        pthread_mutex_lock(&call.mutex);
        while (!call.done) pthread_cond_wait(&call.cond, &call.mutex);
        pthread_mutex_unlock(&call.mutex);
        rc = call.result;
    }
    pthread_mutex_destroy(&call.mutex);
    pthread_cond_destroy(&call.cond);
    return rc;
}

void node_handle_keep(struct node_handle *handle, struct myco *node)
{
    handle->node = node;
    pthread_mutex_lock(&node->mutex);
    myco_list_append(&node->handles, &handle->link);
    pthread_mutex_unlock(&node->mutex);
}

void node_handle_free(struct node_handle *handle)
{
    struct myco *node = handle->node;
    pthread_mutex_lock(&node->mutex);
    myco_list_remove(&handle->link);
    pthread_mutex_unlock(&node->mutex);
    myco_free(handle);
}

/* ── events ── */

struct myco_sub {
    struct node_handle handle;
    struct myco_bus_sub *bus_sub;
};

struct subscribe {
    const char *subject, *queue;
    myco_msg_cb cb;
    void *data;
    struct myco_bus_sub *sub;
    struct myco_err err;
};

static int do_subscribe(struct myco *node, void *arg)
{
    struct subscribe *ask = arg;
    return myco_bus_subscribe(myco_core_bus(node->core), myco_str(ask->subject),
        myco_str(ask->queue), ask->cb, ask->data, &ask->sub, &ask->err);
}

int myco_subscribe(struct myco *node, const char *subject, const struct myco_sub_options *options,
    myco_msg_cb cb, void *data, struct myco_sub **sub, struct myco_err *err)
{
    struct subscribe ask = {.subject = subject,
        .queue = options && options->queue ? options->queue : "",
        .cb = cb,
        .data = data};
    int rc = node_call(node, do_subscribe, &ask);
    if (rc)
        return ask.err.code ? myco_err(err, rc, "%s", ask.err.message)
                            : myco_err(err, rc, "subscribe %s: %s", subject, myco_strerror(rc));
    *sub = myco_alloc(sizeof **sub);
    (*sub)->bus_sub = ask.sub;
    node_handle_keep(&(*sub)->handle, node);
    return 0;
}

static int do_unsubscribe(struct myco *node, void *arg)
{
    struct myco_sub *sub = arg;
    myco_bus_unsubscribe(myco_core_bus(node->core), sub->bus_sub);
    return 0;
}

/* After a node began to close, its bus has let go of the subscription itself. */
void myco_unsubscribe(struct myco_sub *sub, void (*done)(void *data), void *data)
{
    if (!sub) return;
    node_call(sub->handle.node, do_unsubscribe, sub);
    node_handle_free(&sub->handle);
    if (done) done(data);
}

struct publish {
    const char *subject, *reply;
    struct myco_slice data;
    struct myco_fence fence;
    struct myco_err err;
};

static int do_publish(struct myco *node, void *arg)
{
    struct publish *ask = arg;
    return myco_core_publish(node->core, myco_str(ask->subject), ask->data, myco_str(ask->reply),
        &ask->fence, &ask->err);
}

static int publish(struct myco *node, struct publish *ask, struct myco_err *err)
{
    int rc = node_call(node, do_publish, ask);
    if (rc == 0) return 0;
    return ask->err.code ? myco_err(err, rc, "%s", ask->err.message)
                         : myco_err(err, rc, "publish %s: %s", ask->subject, myco_strerror(rc));
}

int myco_publish(struct myco *node, const char *subject, struct myco_slice data, const char *reply,
    struct myco_err *err)
{
    struct publish ask = {.subject = subject, .reply = reply ? reply : "", .data = data};
    return publish(node, &ask, err);
}

/* What a newer caller asks for beyond what is known here is not passed over in silence. */
int myco_publish_with(struct myco *node, const char *subject, struct myco_slice data,
    const struct myco_publish_options *options, struct myco_err *err)
{
    struct publish ask = {.subject = subject, .reply = "", .data = data};
    if (options && options->size != sizeof *options)
        return myco_err(err, MYCO_EINVAL, "publish %s: options of %zu bytes, known are %zu",
            subject, options->size, sizeof *options);
    if (options && options->reply) ask.reply = options->reply;
    if (options) ask.fence = options->fence;
    return publish(node, &ask, err);
}

/* ── elections ── */

struct myco_election {
    struct node_handle handle;
    struct myco_campaign *campaign;
    char name[MYCO_STATE_NAME_MAX + 1];
    const struct myco_campaign_options *options; /* lent until the call returns */
    myco_duty_cb cb;
    void *data;
};

static int do_campaign(struct myco *node, void *arg)
{
    struct myco_election *election = arg;
    election->campaign = myco_core_campaign_with(
        node->core, election->name, election->options, election->cb, election->data);
    return 0;
}

int myco_campaign(struct myco *node, const char *name, myco_duty_cb cb, void *data,
    struct myco_election **election, struct myco_err *err)
{
    return myco_campaign_with(node, name, NULL, cb, data, election, err);
}

static int check_campaign(
    const char *name, const struct myco_campaign_options *options, struct myco_err *err)
{
    if (!myco__state_name_ok(name))
        return myco_err(err, MYCO_EINVAL,
            "campaign: '%.80s' is not 1 to 63 printable characters without spaces", name);
    if (options && options->size != sizeof *options)
        return myco_err(err, MYCO_EINVAL, "campaign %s: options of %zu bytes, known are %zu", name,
            options->size, sizeof *options);
    if (options && options->labels && strlen(options->labels) > MYCO_LABELS_MAX)
        return myco_err(
            err, MYCO_EINVAL, "campaign %s: labels of more than %d bytes", name, MYCO_LABELS_MAX);
    return 0;
}

int myco_campaign_with(struct myco *node, const char *name,
    const struct myco_campaign_options *options, myco_duty_cb cb, void *data,
    struct myco_election **election_out, struct myco_err *err)
{
    int rc = check_campaign(name, options, err);
    if (rc) return rc;
    struct myco_election *election = myco_alloc(sizeof *election);
    election->options = options;
    election->cb = cb;
    election->data = data;
    myco_text_copy(election->name, sizeof election->name, name);
    rc = node_call(node, do_campaign, election);
    election->options = NULL;
    if (rc) {
        myco_free(election);
        return myco_err(err, rc, "campaign %s: %s", name, myco_strerror(rc));
    }
    node_handle_keep(&election->handle, node);
    *election_out = election;
    return 0;
}

static int do_resign(struct myco *node, void *arg)
{
    struct myco_election *election = arg;
    (void)node;
    myco_core_resign(election->campaign);
    return 0;
}

void myco_resign(struct myco_election *election, void (*done)(void *data), void *data)
{
    if (!election) return;
    node_call(election->handle.node, do_resign, election);
    node_handle_free(&election->handle);
    if (done) done(data);
}

/* ── the host's own functions ── */

struct myco_reply {
    struct myco_buf bytes;
};

struct expose {
    const char *name;
    myco_function_cb cb;
    void *data;
};

static int do_expose(struct myco *node, void *arg)
{
    const struct expose *ask = arg;
    unsigned count = 0;
    for (struct node_function *function = node->functions; function;
         function = function->next, count++) {
        if (strcmp(function->name, ask->name) != 0) continue;
        function->cb = ask->cb;
        function->data = ask->data;
        return 0;
    }
    if (count >= FUNCTIONS_MAX) return MYCO_EFULL;
    struct node_function *function = myco_alloc(sizeof *function);
    myco_text_copy(function->name, sizeof function->name, ask->name);
    function->cb = ask->cb;
    function->data = ask->data;
    function->next = node->functions;
    node->functions = function;
    return 0;
}

int myco_expose(struct myco *node, const char *name, myco_function_cb cb, void *data)
{
    struct expose ask = {name, cb, data};
    if (!name || !*name || strlen(name) >= sizeof((struct node_function *)0)->name)
        return MYCO_EINVAL;
    return node_call(node, do_expose, &ask);
}

int myco_reply_set(struct myco_reply *reply, struct myco_slice msgpack)
{
    myco_buf_clear(&reply->bytes);
    myco_buf_bytes(&reply->bytes, msgpack.data, msgpack.size);
    return reply->bytes.failed ? MYCO_ENOMEM : 0;
}

int myco_call(struct myco *node, const char *name, struct myco_slice arguments,
    struct myco_value *value, struct myco_err *err)
{
    struct node_function *function = node->functions;
    if (!node_on_loop(node))
        return myco_err(err, MYCO_EINVAL, "call %s: only on the loop's thread", name);
    while (function && strcmp(function->name, name) != 0) function = function->next;
    if (!function) return myco_err(err, MYCO_ENOTFOUND, "the host has no function '%s'", name);
    struct myco_reply reply = {0};
    int rc = function->cb(arguments, &reply, function->data);
    if (rc) {
        myco_buf_free(&reply.bytes);
        return myco_err(err, rc, "%s: %s", name, myco_strerror(rc));
    }
    static const uint8_t nil = 0xc0;
    if (!reply.bytes.size) myco_buf_bytes(&reply.bytes, &nil, 1);
    *value = (struct myco_value){
        .data = reply.bytes.data, .size = reply.bytes.size, .owner = reply.bytes.data};
    return 0;
}

void myco_functions(struct myco *node, void (*cb)(const char *name, void *data), void *data)
{
    for (struct node_function *function = node->functions; function; function = function->next)
        cb(function->name, data);
}
