/* Many changes asked on this node: sent by primary, one request each, and again for those that
 * certainly did not happen, until all are answered or the deadline passes. */
#include <stdio.h>
#include <string.h>

#include "host/core_change.h"
#include "host/core_many.h"
#include "host/core_op.h"

#define REQUEST_SIZE_MAX  (2u * 1024 * 1024) /* a single larger change goes alone */
#define REQUEST_COUNT_MAX 4096u

struct asked {
    struct myco_change change; /* points into bytes */
    struct myco_result result; /* value, message: owned by kept, why */
    struct myco_buf kept;
    char *why;
    uint32_t hypha;
    bool done, sent;
};

struct many {
    struct myco_core *core;
    uint64_t septum, deadline_ns;
    struct myco_fence fence; /* name owned */
    myco_results_cb cb;
    void *data;
    uint32_t count, left, requests;
    struct myco_buf bytes;
    struct asked items[];
};

/* Those of one request, in the order of the call. */
struct part {
    struct many *many;
    uint32_t count;
    uint32_t indexes[];
};

static void send_all(struct many *many, bool later);

static void tell(struct many *many)
{
    struct myco_result *results = myco_alloc(many->count * sizeof *results);
    for (uint32_t i = 0; i < many->count; i++) results[i] = many->items[i].result;
    many->cb(results, many->count, many->data);
    myco_free(results);
    for (uint32_t i = 0; i < many->count; i++) {
        myco_buf_free(&many->items[i].kept);
        myco_free(many->items[i].why);
    }
    myco_buf_free(&many->bytes);
    myco_free((char *)many->fence.name);
    myco_free(many);
}

static void settle(struct many *many, struct asked *item, const struct myco_result *result)
{
    item->result = *result;
    item->done = true;
    many->left--;
    if (result->message && *result->message) item->why = myco_strdup(result->message);
    item->result.message = item->why ? item->why : "";
    myco_buf_bytes(&item->kept, result->value.data, result->value.size);
    item->result.value = myco_buf_as_slice(&item->kept);
    if (item->kept.failed) item->result.status = MYCO_ENOMEM;
}

/* The request as a whole failed: reads simply did, whatever became of the writes beside them. */
static void settle_failed(struct many *many, struct asked *item, const struct myco_result *all)
{
    struct myco_result result = {.status = all->status, .message = all->message};
    if (item->change.kind == MYCO_CHANGE_GET && result.status == MYCO_EUNKNOWN) {
        result.status = MYCO_ETIMEDOUT;
        result.message = "no answer from the primary in time";
    }
    settle(many, item, &result);
}

static void on_part(const struct myco_result *all, void *data)
{
    struct part *part = data;
    struct many *many = part->many;
    struct myco_reader in = myco_reader(all->value.data, all->value.size);
    for (uint32_t i = 0; i < part->count; i++) {
        struct asked *item = &many->items[part->indexes[i]];
        struct myco_result result;
        char message[160];
        item->sent = false;
        if (all->status) {
            settle_failed(many, item, all);
        } else if (!core_result_read(&in, &result, message)) {
            struct myco_result bad = {MYCO_EPROTO, "the answer to a batch is malformed"};
            settle(many, item, &bad);
        } else if (!core_op_again(result.status)) {
            settle(many, item, &result);
        }
    }
    myco_free(part);
    many->requests--;
    if (many->left == 0)
        tell(many);
    else
        send_all(many, true);
}

/* ── by primary ── */

static void send_part(struct many *many, struct part *part, const struct myco_change **changes,
    uint32_t hypha, bool writes, bool later)
{
    struct core_op *op = core_op_new(many->core, MYCO_REQUEST_MANY, many->septum, 0, on_part, part);
    op->deadline_ns = many->deadline_ns;
    op->hypha = hypha;
    op->writes = writes;
    op->put.fence.epoch = many->fence.epoch;
    if (many->fence.name) op->put.fence.name = myco_strdup(many->fence.name);
    core_changes_write(changes, part->count, &op->value);
    many->requests++;
    if (!later) core_op_start(op); /* else at the next attempt: it was just refused */
}

/* One request with what the primary of `first` leads, from there on. */
static void send_from(struct many *many, const struct myco_septum_record *septum, uint32_t first,
    const struct myco_change **changes, bool later)
{
    struct part *part = myco_alloc(sizeof *part + (many->count - first) * sizeof(uint32_t));
    uint64_t primary = septum ? septum->hyphae[many->items[first].hypha].set.primary : 0;
    size_t size = 0;
    bool writes = false;
    part->many = many;
    for (uint32_t i = first; i < many->count && part->count < REQUEST_COUNT_MAX; i++) {
        struct asked *item = &many->items[i];
        if (item->done || item->sent) continue;
        if (septum && septum->hyphae[item->hypha].set.primary != primary) continue;
        size_t more = item->change.key.size + item->change.value.size;
        if (part->count && size + more > REQUEST_SIZE_MAX) break;
        size += more;
        writes = writes || item->change.kind != MYCO_CHANGE_GET;
        item->sent = true;
        changes[part->count] = &item->change;
        part->indexes[part->count++] = i;
    }
    send_part(many, part, changes, many->items[first].hypha, writes, later);
}

static void send_all(struct many *many, bool later)
{
    const struct myco_septum_record *septum = myco_state_septum(many->core->state, many->septum);
    const struct myco_change **changes = myco_alloc(many->count * sizeof *changes);
    for (uint32_t i = 0; i < many->count; i++) {
        struct asked *item = &many->items[i];
        item->hypha = septum ? myco_hypha_of(septum, item->change.key) : 0;
    }
    for (uint32_t i = 0; i < many->count; i++)
        if (!many->items[i].done && !many->items[i].sent)
            send_from(many, septum, i, changes, later);
    myco_free(changes);
}

void myco_core_many(struct myco_core *core, uint64_t septum, struct myco_slice bytes,
    unsigned timeout_ms, const struct myco_fence *fence, myco_results_cb cb, void *data)
{
    uint32_t count;
    struct myco_buf kept = {0};
    myco_buf_bytes(&kept, bytes.data, bytes.size);
    struct myco_change *changes =
        core_changes_read(myco_buf_as_slice(&kept), MYCO_MANY_MAX, &count);
    if (!changes) { /* the caller wrote them: there is no memory */
        myco_buf_free(&kept);
        cb(NULL, 0, data);
        return;
    }
    struct many *many = myco_alloc(sizeof *many + count * sizeof many->items[0]);
    many->core = core;
    many->septum = septum;
    many->deadline_ns = myco_now_ns(core->env) +
                        (uint64_t)(timeout_ms ? timeout_ms : core->options.timeout_ms) * 1000000;
    if (fence) many->fence.epoch = fence->epoch;
    if (fence && fence->name) many->fence.name = myco_strdup(fence->name);
    many->cb = cb;
    many->data = data;
    many->count = many->left = count;
    many->bytes = kept;
    for (uint32_t i = 0; i < count; i++) many->items[i].change = changes[i];
    myco_free(changes);
    send_all(many, false);
}
