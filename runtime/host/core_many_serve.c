/* A batch of changes at the primary of their hyphae: each is judged, logged and answered for
 * itself; the batch is answered when the last one is. */
#include "host/core_change.h"
#include "host/core_many.h"
#include "host/core_op.h"

#define ANSWER_SIZE_MAX (8u * 1024 * 1024) /* what passes it is asked for again */

struct batched {
    int status;
    uint64_t version, expires_in_ms, count;
    const char *message; /* static, or `owned` */
    char *owned;
    struct myco_buf value;
};

struct core_batch {
    struct myco_core *core;
    struct core_op *op; /* asked here; NULL: by a node, or nobody waits any more */
    uint64_t node, request;
    uint32_t left, count;
    size_t size; /* of the values that are answered */
    struct batched items[];
};

static void finish(struct core_batch *batch)
{
    struct myco_buf out = {0};
    for (uint32_t i = 0; i < batch->count; i++) {
        struct batched *item = &batch->items[i];
        struct myco_result result = {.status = item->status,
            .message = item->message,
            .version = item->version,
            .expires_in_ms = item->expires_in_ms,
            .count = item->count,
            .value = myco_buf_as_slice(&item->value)};
        core_result_write(&result, &out);
        myco_buf_free(&item->value);
        myco_free(item->owned);
    }
    struct myco_result all = {.message = "", .value = myco_buf_as_slice(&out)};
    if (out.failed) all.status = MYCO_EUNKNOWN, all.message = "no memory for the answers";
    if (batch->op) {
        batch->op->batch = NULL;
        core_op_replied(batch->op, &all);
    } else if (batch->node) {
        core_respond(batch->core, batch->node, batch->request, &all);
    }
    myco_buf_free(&out);
    myco_free(batch);
}

void core_batch_answered(struct core_batch *batch, uint32_t index, const struct myco_result *result)
{
    struct batched *item = &batch->items[index];
    item->status = result->status;
    item->version = result->version;
    item->expires_in_ms = result->expires_in_ms;
    item->count = result->count;
    if (result->message && *result->message) item->owned = myco_strdup(result->message);
    item->message = item->owned;
    myco_buf_bytes(&item->value, result->value.data, result->value.size);
    if (item->value.failed) item->status = MYCO_ENOMEM;
    batch->size += item->value.size;
    if (--batch->left == 0) finish(batch);
}

void core_batch_forget(struct core_batch *batch)
{
    batch->op = NULL;
}

/* ── each ── */

static int get_one(struct core_batch *batch, struct core_hypha *copy,
    const struct myco_change *change, struct myco_result *result)
{
    struct myco_table_item item;
    uint64_t now = core_expiry_now(copy);
    MYCO_METRIC_ADD(batch->core->env->metrics, GETS, 1);
    if (!core_limits_find(batch->core, copy, change->key, &item)) return MYCO_ENOTFOUND;
    if (batch->size && batch->size + item.value.size > ANSWER_SIZE_MAX) return MYCO_EFULL;
    result->value = item.value;
    result->version = item.version;
    result->expires_in_ms = item.expires_ms ? item.expires_ms - now : 0;
    return 0;
}

/* 0: its completion follows, or, of a read, *result is whole. */
static int serve_one(struct core_batch *batch, const struct myco_septum_record *septum,
    uint32_t index, const struct myco_change *change, const struct myco_fence *fence,
    struct myco_result *result)
{
    struct core_hypha *copy;
    uint32_t hypha = myco_hypha_of(septum, change->key);
    int rc = core_serve_table(batch->core, septum->id, hypha, &copy);
    if (rc) return rc;
    if (change->kind == MYCO_CHANGE_GET) return get_one(batch, copy, change, result);
    if (septum->hyphae[hypha].set.in_sync_count < septum->options.min_in_sync)
        return MYCO_EUNAVAILABLE;
    struct core_token token = {.batch = batch, .index = index};
    return core_serve_changed(batch->core, copy, change, fence, &token);
}

int core_serve_many(struct myco_core *core, uint64_t septum_id, struct myco_slice bytes,
    const struct myco_fence *fence, const struct core_token *asked, struct core_batch **given)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, septum_id);
    uint32_t count;
    if (!septum) return MYCO_EINVAL;
    struct myco_change *changes = core_changes_read(bytes, MYCO_MANY_MAX, &count);
    if (!changes) return MYCO_EPROTO;
    struct core_batch *batch = myco_alloc(sizeof *batch + count * sizeof batch->items[0]);
    batch->core = core;
    batch->op = asked->op;
    batch->node = asked->node;
    batch->request = asked->request;
    batch->count = count;
    batch->left = count + 1; /* one for this call: nothing ends it before the last was begun */
    if (given) *given = batch;
    for (uint32_t i = 0; i < count; i++) {
        struct myco_result result = {.message = ""};
        result.status = serve_one(batch, septum, i, &changes[i], fence, &result);
        if (result.status) result.message = myco_strerror(result.status);
        if (result.status || changes[i].kind == MYCO_CHANGE_GET)
            core_batch_answered(batch, i, &result);
    }
    myco_free(changes);
    if (--batch->left == 0) finish(batch);
    return 0;
}
