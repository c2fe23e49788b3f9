/* The public calls for changes of one key that the primary computes. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/core_change.h"
#include "host/node_call.h"

struct change_post {
    struct node_post post;
    struct myco_change change; /* key and value point into bytes[] */
    uint64_t septum;
    unsigned timeout_ms;
    struct myco_fence fence; /* name owned */
    myco_result_cb cb;
    void *data;
    char bytes[];
};

static size_t value_size_max(const struct myco *node)
{
    return node->options.value_size_max ? node->options.value_size_max : MYCO_VALUE_SIZE_MAX;
}

static void free_post(struct change_post *asked)
{
    myco_free((char *)asked->fence.name);
    myco_free(asked);
}

static void run_change(struct myco *node, struct node_post *post, bool closed)
{
    struct change_post *asked = MYCO_CONTAINER(post, struct change_post, post);
    if (closed || !node->core || node->closing) {
        struct myco_result result = {.status = MYCO_ECLOSED, .message = "the node closes"};
        asked->cb(&result, asked->data);
    } else {
        myco_core_change(node->core, asked->septum, &asked->change, asked->timeout_ms,
            &asked->fence, asked->cb, asked->data);
    }
    free_post(asked);
}

/* An older program's options are shorter: what it does not have is the default. */
static struct myco_change_options whole(const struct myco_change_options *given)
{
    struct myco_change_options options = MYCO_CHANGE_OPTIONS_INIT;
    if (given) memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    return options;
}

static int begin(struct myco_septum *septum, const struct myco_change *change,
    const struct myco_change_options *given, myco_result_cb cb, void *data, const char **why)
{
    struct myco_change_options options = whole(given);
    int rc = core_change_check(change, value_size_max(septum->node), why);
    if (rc) return rc;
    size_t key_size = change->key.size, value_size = change->value.size;
    struct change_post *asked = myco_try_alloc(sizeof *asked + key_size + value_size);
    if (!asked) return MYCO_ENOMEM;
    memset(asked, 0, sizeof *asked);
    asked->post.run = run_change;
    asked->change = *change;
    memcpy(asked->bytes, change->key.data, key_size);
    if (value_size) memcpy(asked->bytes + key_size, change->value.data, value_size);
    asked->change.key = myco_bytes(asked->bytes, key_size);
    asked->change.value = myco_bytes(asked->bytes + key_size, value_size);
    asked->septum = septum->id;
    asked->timeout_ms = options.timeout_ms;
    asked->fence.epoch = options.fence.epoch;
    if (options.fence.name) asked->fence.name = myco_strdup(options.fence.name);
    asked->cb = cb;
    asked->data = data;
    rc = node_post(septum->node, &asked->post);
    if (rc) free_post(asked);
    return rc;
}

int myco_change_async(struct myco_septum *septum, const struct myco_change *change,
    const struct myco_change_options *options, myco_result_cb cb, void *data)
{
    const char *why;
    return begin(septum, change, options, cb, data, &why);
}

int myco_change(struct myco_septum *septum, const struct myco_change *change,
    const struct myco_change_options *options, struct myco_changed *changed, struct myco_err *err)
{
    struct node_waiter waiter;
    const char *why = "";
    int rc = node_refuse_on_loop(septum->node, err);
    if (rc) return rc;
    node_waiter_init(&waiter, err, changed ? &changed->value : NULL);
    rc = begin(septum, change, options, node_waiter_wake, &waiter, &why);
    rc = node_waiter_wait(&waiter, rc, *why ? why : "change");
    if (rc == 0 && changed) changed->count = waiter.result.count;
    return rc;
}

/* ── the common ones ── */

int myco_incr(struct myco_septum *septum, struct myco_slice key, int64_t delta, int64_t *sum,
    struct myco_err *err)
{
    struct myco_change change = {.kind = MYCO_CHANGE_INCR, .key = key, .delta = delta};
    struct myco_changed changed;
    int rc = myco_change(septum, &change, NULL, &changed, err);
    if (rc) return rc;
    if (sum) *sum = (int64_t)changed.count;
    myco_value_release(&changed.value);
    return 0;
}

int myco_append(struct myco_septum *septum, struct myco_slice key, struct myco_slice value,
    size_t *size, struct myco_err *err)
{
    struct myco_change change = {.kind = MYCO_CHANGE_APPEND, .key = key, .value = value};
    struct myco_changed changed;
    int rc = myco_change(septum, &change, NULL, &changed, err);
    if (rc) return rc;
    if (size) *size = (size_t)changed.count;
    myco_value_release(&changed.value);
    return 0;
}

int myco_touch(struct myco_septum *septum, struct myco_slice key, uint64_t ttl_ms,
    struct myco_value *value, struct myco_err *err)
{
    struct myco_change change = {
        .kind = value ? MYCO_CHANGE_TOUCH : MYCO_CHANGE_EXPIRE, .key = key, .ttl_ms = ttl_ms};
    struct myco_changed changed;
    int rc = myco_change(septum, &change, NULL, value ? &changed : NULL, err);
    if (rc == 0 && value) *value = changed.value;
    return rc;
}
