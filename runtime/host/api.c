/* The public calls: posted to the loop by other threads, done at once on the loop's own; the
 * waiting twins. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/node_call.h"

#define FLUSH_MS 5000

/* ── operations ── */

enum op_kind {
    OP_GET,
    OP_PUT,
    OP_DEL,
    OP_COUNT,
    OP_SCAN,
    OP_SEPTUM,
    OP_POLICY,
    OP_ROLLBACK,
    OP_FLUSH,
    OP_REQUEST,
    OP_INSPECT
};

struct op {
    struct node_post post;
    enum op_kind kind;
    uint64_t septum;
    struct myco_slice key, value; /* point into bytes[] */
    struct myco_put_options put;
    unsigned timeout_ms, limit;
    bool keys_only;
    int policy;
    myco_result_cb cb;
    myco_page_cb page_cb;
    void *data;
    char bytes[];
};

static struct op *make_op(enum op_kind kind, struct myco_slice key, struct myco_slice value,
    myco_result_cb cb, void *data)
{
    struct op *op = myco_try_alloc(sizeof *op + key.size + value.size + 2);
    if (!op) return NULL;
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->cb = cb;
    op->data = data;
    if (key.size) memcpy(op->bytes, key.data, key.size);
    op->bytes[key.size] = 0;
    if (value.size) memcpy(op->bytes + key.size + 1, value.data, value.size);
    op->bytes[key.size + 1 + value.size] = 0;
    op->key = myco_bytes(op->bytes, key.size);
    op->value = myco_bytes(op->bytes + key.size + 1, value.size);
    return op;
}

static void free_op(struct op *op)
{
    myco_free((char *)op->put.fence.name);
    myco_free(op);
}

/* The caller's text goes with the call. */
static void keep_fence(struct op *op, const struct myco_fence *fence)
{
    op->put.fence = *fence;
    if (fence->name) op->put.fence.name = myco_strdup(fence->name);
}

static void answer(const struct op *op, int status, const char *message, struct myco_slice value)
{
    struct myco_result result = {.status = status, .message = message, .value = value};
    struct myco_page page = {.status = status, .message = message};
    if (op->page_cb)
        op->page_cb(&page, op->data);
    else
        op->cb(&result, op->data);
}

static void run_policy(struct myco *node, const struct op *op)
{
    struct myco_buf body = {0};
    struct myco_err err = {0};
    /* key: the policy's name, a zero, the author; value: the source */
    const char *name = op->key.data, *author = name + strlen(name) + 1;
    uint64_t now = myco_uv_env(node->env)->ops->wall_ms(myco_uv_env(node->env));
    if (op->kind == OP_ROLLBACK) {
        myco_command_rollback(&body, op->policy, author, now);
        myco_core_submit(
            node->core, MYCO_COMMAND_ROLLBACK, &body, op->timeout_ms, op->cb, op->data);
        return;
    }
    if (!node->policies) {
        answer(op, MYCO_ENOTSUP, "this node runs without Lua: it can't check a policy",
            myco_bytes(NULL, 0));
        return;
    }
    struct myco_policy_port port = myco_policies_port(node->policies);
    if (port.check(op->policy, name, op->value, &err, port.data)) {
        answer(op, err.code, err.message, myco_bytes(NULL, 0));
        return;
    }
    myco_command_policy(&body, op->policy, name, op->value, author, now);
    myco_core_submit(node->core, MYCO_COMMAND_POLICY, &body, op->timeout_ms, op->cb, op->data);
}

/* The bus says when all have heard, or when it closes; that may be after the deadline. */
struct flush {
    struct myco *node;
    struct myco_timer timer;
    myco_result_cb cb; /* NULL: it was told that it took too long */
    void *data;
};

static void flush_late(void *data)
{
    struct flush *flush = data;
    struct myco_result result = {
        .status = MYCO_ETIMEDOUT, .message = "not every node has confirmed it in time"};
    flush->cb(&result, flush->data);
    flush->cb = NULL;
}

static void flushed(void *data)
{
    struct flush *flush = data;
    bool closing = flush->node->closing;
    struct myco_result result = {
        .status = closing ? MYCO_ECLOSED : 0, .message = closing ? "the node closes" : ""};
    myco_timer_stop(&flush->timer);
    if (flush->cb) flush->cb(&result, flush->data);
    myco_free(flush);
}

static void run_flush(struct myco *node, const struct op *op)
{
    struct flush *flush = myco_alloc(sizeof *flush);
    flush->node = node;
    flush->cb = op->cb;
    flush->data = op->data;
    unsigned timeout_ms = op->timeout_ms             ? op->timeout_ms
                          : node->options.timeout_ms ? node->options.timeout_ms
                                                     : FLUSH_MS;
    myco_timer_init(&flush->timer, myco_uv_env(node->env), flush_late, flush);
    myco_timer_start(&flush->timer, timeout_ms, 0);
    myco_bus_flush(myco_core_bus(node->core), flushed, flush);
}

static void run_inspect(struct myco *node, const struct op *op)
{
    struct myco_buf out = {0};
    int rc = myco_core_inspect(node->core, op->key.data, &out);
    answer(op, rc,
        rc == MYCO_ENOTFOUND
            ? "no such topic: members, leaders, septa, hyphae, policies, status, metrics"
        : rc ? myco_strerror(rc)
             : "",
        myco_buf_as_slice(&out));
    myco_buf_free(&out);
}

static void run_op(struct myco *node, struct node_post *post, bool closed)
{
    struct op *op = MYCO_CONTAINER(post, struct op, post);
    struct myco_core *core = node->core;
    if (closed || !core || node->closing) {
        answer(op, MYCO_ECLOSED, "the node closes", myco_bytes(NULL, 0));
        free_op(op);
        return;
    }
    switch (op->kind) {
    case OP_GET:
        myco_core_get_with(
            core, op->septum, op->key, op->timeout_ms, &op->put.fence, op->cb, op->data);
        break;
    case OP_PUT:
        myco_core_put(core, op->septum, op->key, op->value, &op->put, op->cb, op->data);
        break;
    case OP_DEL: myco_core_del(core, op->septum, op->key, &op->put, op->cb, op->data); break;
    case OP_COUNT:
        myco_core_count(core, op->septum, op->key, op->timeout_ms, op->cb, op->data);
        break;
    case OP_SCAN:
        myco_core_scan(core, op->septum, op->key, op->value, op->limit, op->keys_only,
            op->timeout_ms, op->page_cb, op->data);
        break;
    case OP_SEPTUM:
        myco_core_septum(core, op->key.data, op->keys_only ? NULL : op->value.data, op->timeout_ms,
            op->cb, op->data);
        break;
    case OP_POLICY:
    case OP_ROLLBACK: run_policy(node, op); break;
    case OP_REQUEST:
        myco_core_request(core, op->key, op->value, op->timeout_ms, op->cb, op->data);
        break;
    case OP_INSPECT: run_inspect(node, op); break;
    case OP_FLUSH: run_flush(node, op); break;
    }
    free_op(op);
}

/* On the loop's thread too: posted, so that no callback runs before the call returned. */
static int submit(struct myco *node, struct op *op)
{
    if (!op) return MYCO_ENOMEM;
    op->post.run = run_op;
    int rc = node_post(node, &op->post);
    if (rc) free_op(op);
    return rc;
}

static int check_key(struct myco_slice key)
{
    if (key.size == 0) return MYCO_EINVAL;
    return key.size > MYCO_KEY_SIZE_MAX ? MYCO_ETOOBIG : 0;
}

int myco_put_async(struct myco_septum *septum, struct myco_slice key, struct myco_slice value,
    const struct myco_put_options *options, myco_result_cb cb, void *data)
{
    uint32_t value_max = septum->node->options.value_size_max ? septum->node->options.value_size_max
                                                              : MYCO_VALUE_SIZE_MAX;
    int rc = check_key(key);
    if (rc) return rc;
    if (value.size > value_max) return MYCO_ETOOBIG;
    struct op *op = make_op(OP_PUT, key, value, cb, data);
    if (op) op->septum = septum->id;
    if (op && options) op->put = *options, keep_fence(op, &options->fence);
    return submit(septum->node, op);
}

int myco_get_with_async(struct myco_septum *septum, struct myco_slice key,
    const struct myco_get_options *options, myco_result_cb cb, void *data)
{
    int rc = check_key(key);
    if (rc) return rc;
    struct op *op = make_op(OP_GET, key, myco_bytes(NULL, 0), cb, data);
    if (op) op->septum = septum->id;
    if (op && options) op->timeout_ms = options->timeout_ms, keep_fence(op, &options->fence);
    return submit(septum->node, op);
}

int myco_get_async(struct myco_septum *septum, struct myco_slice key, unsigned timeout_ms,
    myco_result_cb cb, void *data)
{
    return myco_get_with_async(
        septum, key, &(struct myco_get_options){.timeout_ms = timeout_ms}, cb, data);
}

int myco_del_async(struct myco_septum *septum, struct myco_slice key,
    const struct myco_put_options *options, myco_result_cb cb, void *data)
{
    int rc = check_key(key);
    if (rc) return rc;
    struct op *op = make_op(OP_DEL, key, myco_bytes(NULL, 0), cb, data);
    if (op) op->septum = septum->id;
    if (op && options) op->put = *options, keep_fence(op, &options->fence);
    return submit(septum->node, op);
}

int myco_count_prefix_async(struct myco_septum *septum, struct myco_slice prefix,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    if (prefix.size > MYCO_KEY_SIZE_MAX) return MYCO_ETOOBIG;
    struct op *op = make_op(OP_COUNT, prefix, myco_bytes(NULL, 0), cb, data);
    if (op) op->septum = septum->id, op->timeout_ms = timeout_ms;
    return submit(septum->node, op);
}

int myco_count_async(struct myco_septum *septum, unsigned timeout_ms, myco_result_cb cb, void *data)
{
    return myco_count_prefix_async(septum, myco_bytes(NULL, 0), timeout_ms, cb, data);
}

int myco_scan_async(struct myco_septum *septum, struct myco_slice prefix, struct myco_slice cursor,
    unsigned limit, bool keys_only, unsigned timeout_ms, myco_page_cb cb, void *data)
{
    struct op *op = make_op(OP_SCAN, prefix, cursor, NULL, data);
    if (op) {
        op->septum = septum->id;
        op->limit = limit;
        op->keys_only = keys_only;
        op->timeout_ms = timeout_ms;
        op->page_cb = cb;
    }
    return submit(septum->node, op);
}

/* ── the waiting twins ── */

static const char *why_not(
    int rc, const char *what, struct myco_slice key, size_t value_size, char *text, size_t size)
{
    if (rc == MYCO_ETOOBIG && key.size > MYCO_KEY_SIZE_MAX)
        snprintf(text, size, "%s: the key has %zu bytes, at most %d are allowed", what, key.size,
            MYCO_KEY_SIZE_MAX);
    else if (rc == MYCO_ETOOBIG)
        snprintf(text, size, "%s: the value has %zu bytes, more than the node's limit", what,
            value_size);
    else if (rc == MYCO_EINVAL)
        snprintf(text, size, "%s: the key is empty", what);
    else
        return what;
    return text;
}

int myco_put(struct myco_septum *septum, struct myco_slice key, struct myco_slice value,
    const struct myco_put_options *options, uint64_t *version, struct myco_err *err)
{
    struct node_waiter waiter;
    char text[128];
    int rc = node_refuse_on_loop(septum->node, err);
    if (rc) return rc;
    node_waiter_init(&waiter, err, NULL);
    rc = myco_put_async(septum, key, value, options, node_waiter_wake, &waiter);
    rc = node_waiter_wait(&waiter, rc, why_not(rc, "put", key, value.size, text, sizeof text));
    if (rc == 0 && version) *version = waiter.result.version;
    return rc;
}

int myco_get(struct myco_septum *septum, struct myco_slice key, struct myco_value *value,
    struct myco_err *err)
{
    return myco_get_with(septum, key, NULL, value, err);
}

int myco_get_with(struct myco_septum *septum, struct myco_slice key,
    const struct myco_get_options *options, struct myco_value *value, struct myco_err *err)
{
    struct node_waiter waiter;
    char text[128];
    int rc = node_refuse_on_loop(septum->node, err);
    if (rc) return rc;
    node_waiter_init(&waiter, err, value);
    rc = myco_get_with_async(septum, key, options, node_waiter_wake, &waiter);
    return node_waiter_wait(&waiter, rc, why_not(rc, "get", key, 0, text, sizeof text));
}

int myco_del(struct myco_septum *septum, struct myco_slice key,
    const struct myco_put_options *options, struct myco_err *err)
{
    struct node_waiter waiter;
    char text[128];
    int rc = node_refuse_on_loop(septum->node, err);
    if (rc) return rc;
    node_waiter_init(&waiter, err, NULL);
    rc = myco_del_async(septum, key, options, node_waiter_wake, &waiter);
    return node_waiter_wait(&waiter, rc, why_not(rc, "del", key, 0, text, sizeof text));
}

int myco_count(struct myco_septum *septum, uint64_t *count, struct myco_err *err)
{
    return myco_count_prefix(septum, myco_bytes(NULL, 0), count, err);
}

int myco_count_prefix(
    struct myco_septum *septum, struct myco_slice prefix, uint64_t *count, struct myco_err *err)
{
    struct node_waiter waiter;
    int rc = node_refuse_on_loop(septum->node, err);
    if (rc) return rc;
    node_waiter_init(&waiter, err, NULL);
    rc = node_waiter_wait(
        &waiter, myco_count_prefix_async(septum, prefix, 0, node_waiter_wake, &waiter), "count");
    if (rc == 0) *count = waiter.result.count;
    return rc;
}

/* ── septa ── */

static struct myco_septum *handle_of(struct myco *node, uint64_t id, const char *name)
{
    pthread_mutex_lock(&node->mutex);
    struct myco_septum *septum = node->septa;
    while (septum && septum->id != id) septum = septum->next;
    if (!septum) {
        septum = myco_alloc(sizeof *septum);
        septum->node = node;
        septum->id = id;
        myco_text_copy(septum->name, sizeof septum->name, name);
        septum->next = node->septa;
        node->septa = septum;
    }
    pthread_mutex_unlock(&node->mutex);
    return septum;
}

struct opening {
    struct myco *node;
    myco_septum_cb cb;
    void *data;
    char name[MYCO_STATE_NAME_MAX + 1];
};

static void septum_opened(const struct myco_result *result, void *data)
{
    struct opening *opening = data;
    struct myco_septum *septum =
        result->status ? NULL : handle_of(opening->node, result->version, opening->name);
    opening->cb(septum, result->status, result->message, opening->data);
    myco_free(opening);
}

int myco_septum_async(struct myco *node, const char *name, const char *spec, unsigned timeout_ms,
    myco_septum_cb cb, void *data)
{
    struct opening *opening = myco_alloc(sizeof *opening);
    *opening = (struct opening){.node = node, .cb = cb, .data = data};
    myco_text_copy(opening->name, sizeof opening->name, name);
    struct op *op = make_op(OP_SEPTUM, myco_str(name), myco_str(spec), septum_opened, opening);
    if (op) op->keys_only = spec == NULL, op->timeout_ms = timeout_ms;
    int rc = submit(node, op);
    if (rc) myco_free(opening);
    return rc;
}

int myco_septum(struct myco *node, const char *name, const char *spec, struct myco_septum **septum,
    struct myco_err *err)
{
    struct node_waiter waiter;
    int rc = node_refuse_on_loop(node, err);
    if (rc) return rc;
    node_waiter_init(&waiter, err, NULL);
    struct op *op = make_op(OP_SEPTUM, myco_str(name), myco_str(spec), node_waiter_wake, &waiter);
    if (op) op->keys_only = spec == NULL;
    rc = node_waiter_wait(&waiter, submit(node, op), "septum");
    if (rc) return myco_err_wrap(err, "septum %s", name);
    *septum = handle_of(node, waiter.result.version, name);
    return 0;
}

/* ── policies, requests, flush, looking in ── */

static int policy_op(struct myco *node, enum op_kind what, const char *kind, const char *name,
    struct myco_slice source, const char *author, unsigned timeout_ms, myco_result_cb cb,
    void *data)
{
    char names[2 * (MYCO_STATE_NAME_MAX + 1)] = "";
    int number = myco_policy_kind_from_name(myco_str(kind));
    if (number < 0) return MYCO_ENOTFOUND;
    if (source.size > MYCO_POLICY_SIZE_MAX) return MYCO_ETOOBIG;
    myco_text_copy(names, MYCO_STATE_NAME_MAX + 1, name);
    size_t at = strlen(names) + 1;
    myco_text_copy(names + at, MYCO_STATE_NAME_MAX + 1, author ? author : "");
    struct op *op = make_op(what, myco_bytes(names, at + strlen(names + at) + 1), source, cb, data);
    if (op) op->policy = number, op->timeout_ms = timeout_ms;
    return submit(node, op);
}

int myco_policy_apply_async(struct myco *node, const char *kind, const char *name,
    struct myco_slice source, const char *author, unsigned timeout_ms, myco_result_cb cb,
    void *data)
{
    return policy_op(node, OP_POLICY, kind, name, source, author, timeout_ms, cb, data);
}

int myco_policy_rollback_async(struct myco *node, const char *kind, const char *author,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    return policy_op(
        node, OP_ROLLBACK, kind, "", myco_bytes(NULL, 0), author, timeout_ms, cb, data);
}

int myco_request_async(struct myco *node, const char *subject, struct myco_slice request,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct op *op = make_op(OP_REQUEST, myco_str(subject), request, cb, data);
    if (op) op->timeout_ms = timeout_ms;
    return submit(node, op);
}

int myco_flush_async(struct myco *node, unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct op *op = make_op(OP_FLUSH, myco_bytes(NULL, 0), myco_bytes(NULL, 0), cb, data);
    if (op) op->timeout_ms = timeout_ms;
    return submit(node, op);
}

int myco_flush(struct myco *node, struct myco_err *err)
{
    struct node_waiter waiter;
    int rc = node_refuse_on_loop(node, err);
    if (rc) return rc;
    node_waiter_init(&waiter, err, NULL);
    return node_waiter_wait(&waiter, myco_flush_async(node, 0, node_waiter_wake, &waiter), "flush");
}

int myco_inspect_async(struct myco *node, const char *topic, myco_result_cb cb, void *data)
{
    return submit(node, make_op(OP_INSPECT, myco_str(topic), myco_bytes(NULL, 0), cb, data));
}

int myco_inspect(
    struct myco *node, const char *topic, struct myco_value *value, struct myco_err *err)
{
    struct node_waiter waiter;
    node_waiter_init(&waiter, err, value);
    if (node_on_loop(node)) { /* nothing to wait for */
        struct op *op =
            make_op(OP_INSPECT, myco_str(topic), myco_bytes(NULL, 0), node_waiter_wake, &waiter);
        if (op) run_op(node, &op->post, false);
        return node_waiter_wait(&waiter, op ? 0 : MYCO_ENOMEM, "inspect");
    }
    return node_waiter_wait(
        &waiter, myco_inspect_async(node, topic, node_waiter_wake, &waiter), "inspect");
}

/* ── ready, names ── */

int myco_wait_ready(struct myco *node, unsigned timeout_ms, struct myco_err *err)
{
    struct timespec until;
    int rc = node_refuse_on_loop(node, err);
    if (rc) return rc;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_mutex_lock(&node->mutex);
    while (rc == 0 && !node->ready && !node->failed)
        rc = timeout_ms ? pthread_cond_timedwait(&node->changed, &node->mutex, &until)
                        : pthread_cond_wait(&node->changed, &node->mutex);
    bool ready = node->ready && !node->failed;
    if (node->failed && err) *err = node->fail_error;
    int failure = node->failed ? node->fail_error.code : 0;
    pthread_mutex_unlock(&node->mutex);
    if (ready) return 0;
    if (failure) return failure;
    return myco_err(err, MYCO_ETIMEDOUT, "not ready after %u ms: is the rest of the cluster there?",
        timeout_ms);
}

bool myco_ready(const struct myco *node)
{
    struct myco *open = (struct myco *)(uintptr_t)node; /* for the mutex */
    pthread_mutex_lock(&open->mutex);
    bool ready = open->ready && !open->failed;
    pthread_mutex_unlock(&open->mutex);
    return ready;
}

const char *myco_name(const struct myco *node)
{
    return node->name;
}

uint64_t myco_id(const struct myco *node)
{
    return node->identity.id;
}

const char *myco_listen(const struct myco *node)
{
    return node->listen_text;
}

const char *myco_admin(const struct myco *node)
{
    return node->admin_text;
}

const char *myco_socket(const struct myco *node)
{
    return node->socket_path;
}
