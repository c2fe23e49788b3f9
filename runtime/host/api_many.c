/* The public calls for many changes at once. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/core_change.h"
#include "host/core_many.h"
#include "host/node_call.h"

struct many_post {
    struct node_post post;
    struct myco_buf changes;
    uint64_t septum;
    unsigned timeout_ms;
    struct myco_fence fence; /* name owned */
    myco_results_cb cb;
    void *data;
    uint32_t count;
};

static void free_post(struct many_post *asked)
{
    myco_buf_free(&asked->changes);
    myco_free((char *)asked->fence.name);
    myco_free(asked);
}

static void tell_closed(const struct many_post *asked)
{
    struct myco_result *results = myco_alloc(asked->count * sizeof *results);
    for (uint32_t i = 0; i < asked->count; i++)
        results[i] = (struct myco_result){.status = MYCO_ECLOSED, .message = "the node closes"};
    asked->cb(results, asked->count, asked->data);
    myco_free(results);
}

static void run_many(struct myco *node, struct node_post *post, bool closed)
{
    struct many_post *asked = MYCO_CONTAINER(post, struct many_post, post);
    if (closed || !node->core || node->closing)
        tell_closed(asked);
    else
        myco_core_many(node->core, asked->septum, myco_buf_as_slice(&asked->changes),
            asked->timeout_ms, &asked->fence, asked->cb, asked->data);
    free_post(asked);
}

static int check(struct myco_septum *septum, const struct myco_change *changes, size_t count,
    const struct myco_fence *fence, const char **why)
{
    size_t limit = septum->node->options.value_size_max, size = 0;
    *why = "there is nothing to do";
    if (count == 0) return MYCO_EINVAL;
    for (size_t i = 0; i < count && count <= MYCO_MANY_MAX; i++) {
        int rc = core_change_check(&changes[i], limit ? limit : MYCO_VALUE_SIZE_MAX, why);
        if (rc) return rc;
        *why = "a read among many takes no fence";
        if (fence->name && changes[i].kind == MYCO_CHANGE_GET) return MYCO_EINVAL;
        size += changes[i].key.size + changes[i].value.size;
    }
    *why = "more than 65,536 changes, or 64 MiB, at once";
    return count > MYCO_MANY_MAX || size > MYCO_MANY_SIZE_MAX ? MYCO_ETOOBIG : 0;
}

static int write_changes(const struct myco_change *changes, size_t count, struct myco_buf *out)
{
    const struct myco_change **list = myco_try_alloc(count * sizeof *list);
    if (!list) return MYCO_ENOMEM;
    for (size_t i = 0; i < count; i++) list[i] = &changes[i];
    core_changes_write(list, (uint32_t)count, out);
    myco_free(list);
    return out->failed ? MYCO_ENOMEM : 0;
}

static int begin(struct myco_septum *septum, const struct myco_change *changes, size_t count,
    const struct myco_change_options *given, myco_results_cb cb, void *data, const char **why)
{
    struct myco_change_options options = MYCO_CHANGE_OPTIONS_INIT;
    if (given) memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    int rc = check(septum, changes, count, &options.fence, why);
    if (rc) return rc;
    *why = "";
    struct many_post *asked = myco_try_alloc(sizeof *asked);
    if (!asked) return MYCO_ENOMEM;
    memset(asked, 0, sizeof *asked);
    rc = write_changes(changes, count, &asked->changes);
    asked->post.run = run_many;
    asked->septum = septum->id;
    asked->count = (uint32_t)count;
    asked->timeout_ms = options.timeout_ms;
    asked->fence.epoch = options.fence.epoch;
    if (options.fence.name) asked->fence.name = myco_strdup(options.fence.name);
    asked->cb = cb;
    asked->data = data;
    if (rc == 0) rc = node_post(septum->node, &asked->post);
    if (rc) free_post(asked);
    return rc;
}

int myco_many_async(struct myco_septum *septum, const struct myco_change *changes, size_t count,
    const struct myco_change_options *options, myco_results_cb cb, void *data)
{
    const char *why;
    return begin(septum, changes, count, options, cb, data, &why);
}

/* ── waiting ── */

struct gathering {
    struct node_waiter waiter;
    struct myco_changed *changed;
    struct myco_value *values; /* in place of changed */
};

static int give_value(struct myco_value *value, const struct myco_result *result)
{
    char *bytes = myco_try_alloc(result->value.size + 1);
    if (!bytes) return MYCO_ENOMEM;
    if (result->value.size) memcpy(bytes, result->value.data, result->value.size);
    bytes[result->value.size] = 0;
    *value = (struct myco_value){
        bytes, result->value.size, result->version, result->expires_in_ms, bytes};
    return 0;
}

static void gather(const struct myco_result *results, size_t count, void *data)
{
    struct gathering *gathering = data;
    struct myco_result all = {.message = ""};
    if (count == 0) all.status = MYCO_ENOMEM, all.message = myco_strerror(MYCO_ENOMEM);
    for (size_t i = 0; i < count; i++) {
        struct myco_value unwanted = {0}, *value = &unwanted;
        int status = results[i].status;
        if (gathering->changed) value = &gathering->changed[i].value;
        if (gathering->values) value = &gathering->values[i];
        if (status == 0 && value != &unwanted) status = give_value(value, &results[i]);
        if (gathering->changed) gathering->changed[i].status = status;
        if (gathering->changed) gathering->changed[i].count = results[i].count;
        if (!status || status == MYCO_ENOTFOUND || all.status) continue;
        all.status = status;
        all.message = results[i].status ? results[i].message : myco_strerror(status);
    }
    node_waiter_wake(&all, &gathering->waiter);
}

static int wait_for(struct myco_septum *septum, const struct myco_change *changes, size_t count,
    const struct myco_change_options *options, struct gathering *gathering, struct myco_err *err)
{
    const char *why = "";
    int rc = node_refuse_on_loop(septum->node, err);
    if (rc) return rc;
    node_waiter_init(&gathering->waiter, err, NULL);
    rc = begin(septum, changes, count, options, gather, gathering, &why);
    return node_waiter_wait(&gathering->waiter, rc, *why ? why : "many");
}

int myco_many(struct myco_septum *septum, const struct myco_change *changes, size_t count,
    const struct myco_change_options *options, struct myco_changed *changed, struct myco_err *err)
{
    struct gathering gathering = {.changed = changed};
    if (changed) memset(changed, 0, count * sizeof *changed);
    return wait_for(septum, changes, count, options, &gathering, err);
}

static int same_many(struct myco_septum *septum, enum myco_change_kind kind,
    const struct myco_slice *keys, const struct myco_slice *values, size_t count,
    struct gathering *gathering, struct myco_err *err)
{
    struct myco_change *changes = myco_try_alloc(count * sizeof *changes + 1);
    if (!changes) return myco_err(err, MYCO_ENOMEM, "%s", myco_strerror(MYCO_ENOMEM));
    for (size_t i = 0; i < count; i++) {
        changes[i] = (struct myco_change){.kind = kind, .key = keys[i]};
        if (values) changes[i].value = values[i];
    }
    int rc = wait_for(septum, changes, count, NULL, gathering, err);
    myco_free(changes);
    return rc;
}

int myco_get_many(struct myco_septum *septum, const struct myco_slice *keys, size_t count,
    struct myco_value *values, struct myco_err *err)
{
    struct gathering gathering = {.values = values};
    memset(values, 0, count * sizeof *values);
    return same_many(septum, MYCO_CHANGE_GET, keys, NULL, count, &gathering, err);
}

int myco_put_many(struct myco_septum *septum, const struct myco_slice *keys,
    const struct myco_slice *values, size_t count, struct myco_err *err)
{
    struct gathering gathering = {0};
    return same_many(septum, MYCO_CHANGE_PUT, keys, values, count, &gathering, err);
}
