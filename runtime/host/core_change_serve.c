/* Changes at their primary: computed from the latest write of the key, committed or not, and logged
 * as a put or a del in the same turn. So changes of one key never conflict with each other.
 *
 * What a change refuses rests on what it saw, which may not be committed yet: then a write with
 * `look`, which logs nothing, waits in the hypha until it is. */
#include <string.h>

#include "host/core_change.h"
#include "host/core_internal.h"

void core_reply_free(struct core_reply *reply)
{
    if (!reply) return;
    myco_buf_free(&reply->value);
    myco_free(reply);
}

static struct core_reply *reply_of(const struct core_outcome *outcome)
{
    struct core_reply *reply = myco_alloc(sizeof *reply);
    reply->look = !outcome->logs;
    reply->status = outcome->status;
    reply->message = outcome->message;
    reply->count = outcome->count;
    reply->expires_in_ms = outcome->expires_in_ms;
    myco_buf_bytes(&reply->value, outcome->answer.data, outcome->answer.size);
    return reply;
}

static int give(struct myco_core *core, struct core_hypha *copy, struct myco_slice key,
    const struct core_outcome *outcome, const struct myco_fence *fence,
    const struct core_token *token)
{
    struct myco_write write = {.op = outcome->logs ? outcome->op : MYCO_OP_DEL,
        .key = key,
        .value = outcome->value,
        .expires_ms = outcome->expires_ms,
        .look = !outcome->logs,
        .fence = myco_str(fence->name),
        .fence_epoch = fence->epoch};
    struct core_token replies = *token;
    replies.reply = reply_of(outcome);
    replies.fence = core_fence_new(copy, fence);
    int rc =
        replies.reply->value.failed ? MYCO_ENOMEM : core_give_token(core, copy, &write, &replies);
    if (rc == 0) return 0;
    core_reply_free(replies.reply);
    myco_free(replies.fence);
    return rc;
}

int core_serve_changed(struct myco_core *core, struct core_hypha *copy,
    const struct myco_change *change, const struct myco_fence *fence,
    const struct core_token *token)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    const char *why;
    if (!septum) return MYCO_ENOTFOUND;
    int rc = core_change_check(change, core->options.value_size_max, &why);
    if (rc) return rc;
    if (fence->name && septum->options.kind != MYCO_SEPTUM_DURABLE) return MYCO_ENOTSUP;
    if (fence->name && core_fence_newer(core, fence)) return MYCO_EFENCED;
    struct myco_table_item item;
    struct core_change_world world = {.now_ms = core_expiry_now(copy),
        .ttl_ms = septum->options.ttl_ms,
        .value_size_max = core->options.value_size_max};
    if (core_limits_latest(core, copy, change->key, &item)) world.item = &item;
    struct core_outcome outcome;
    core_change_compute(change, &world, &outcome);
    MYCO_METRIC_ADD(core->env->metrics, CHANGES, 1);
    rc = give(core, copy, change->key, &outcome, fence, token);
    myco_buf_free(&outcome.made);
    return rc;
}

int core_serve_change(struct myco_core *core, struct core_hypha *copy, struct myco_slice key,
    struct myco_slice bytes, const struct myco_fence *fence, const struct core_token *token)
{
    struct myco_reader in = myco_reader(bytes.data, bytes.size);
    struct myco_change change;
    if (!core_change_read(&in, &change) || !myco_read_done(&in)) return MYCO_EPROTO;
    change.key = key;
    return core_serve_changed(core, copy, &change, fence, token);
}
