/* Operations asked on this node: routed to the primary of their hypha, tried again while they
 * certainly did not happen, until they are answered or their deadline passes. A write whose primary
 * went away after it was sent ends EUNKNOWN. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "host/core_change.h"
#include "host/core_op.h"

#define RETRY_MS 10 /* between attempts of what waits */
#define OPS_MAX  65536

static bool is_write(const struct core_op *op)
{
    return op->what == MYCO_REQUEST_PUT || op->what == MYCO_REQUEST_DEL ||
           op->what == MYCO_REQUEST_CHANGE || op->writes;
}

static void tell(void *data)
{
    struct core_op *op = data;
    myco_list_remove(&op->link);
    op->cb(&op->result, op->data);
    myco_buf_free(&op->key);
    myco_buf_free(&op->value);
    myco_buf_free(&op->kept);
    myco_free((char *)op->put.fence.name);
    myco_free(op);
}

static void finish(struct core_op *op, const struct myco_result *result)
{
    if (op->request) myco_map_del(&op->core->requests, op->request);
    struct core_token *token = op->token ? myco_map_get(&op->core->tokens, op->token) : NULL;
    if (token) {
        token->op = NULL; /* the hypha still answers it: nobody waits any more */
        token->sweep = true;
    }
    if (op->batch) core_batch_forget(op->batch);
    op->batch = NULL;
    if (op->parked) core_watch_forget(op->parked);
    op->parked = NULL;
    op->request = op->token = 0;
    op->result = *result;
    if (!op->starting) {
        tell(op);
        return;
    }
    myco_buf_bytes(&op->kept, result->value.data, result->value.size);
    op->result.value = myco_buf_as_slice(&op->kept);
    snprintf(op->message, sizeof op->message, "%s", result->message ? result->message : "");
    op->result.message = op->message;
    myco_defer(op->core->env, &op->later, tell, op);
}

static void fail(struct core_op *op, int status, const char *message)
{
    struct myco_result result = {.status = status, .message = message};
    finish(op, &result);
}

/* While something waits, every 10 ms; else when the next deadline passes. */
static void retry_soon(struct myco_core *core)
{
    if (core->retrying && myco_timer_active(&core->retry)) return;
    core->retrying = true;
    myco_timer_start(&core->retry, RETRY_MS, RETRY_MS);
}

static void wait_again(struct core_op *op)
{
    retry_soon(op->core);
    if (op->request) myco_map_del(&op->core->requests, op->request);
    op->request = op->token = op->sent_to = 0;
    op->where = CORE_OP_WAITING;
}

/* Statuses that say that it did not happen, and may at another node or a little later. */
bool core_op_again(int status)
{
    return status == MYCO_EUNAVAILABLE || status == MYCO_ENOTLEADER || status == MYCO_EFULL ||
           status == MYCO_ENOTCONN;
}

void core_op_replied(struct core_op *op, const struct myco_result *result)
{
    if (core_op_again(result->status)) {
        wait_again(op);
        return;
    }
    struct myco_result said = *result;
    if (!said.message || !*said.message)
        said.message = said.status ? myco_strerror(said.status) : "";
    finish(op, &said);
}

void core_op_answered(struct core_op *op, int status, const char *message, uint64_t version)
{
    struct myco_result result = {.status = status, .message = message, .version = version};
    core_op_replied(op, &result);
}

/* ── here ── */

static void get_here(struct core_op *op, struct core_hypha *copy)
{
    struct myco_table_item item;
    uint64_t now = core_expiry_now(copy);
    MYCO_METRIC_ADD(op->core->env->metrics, GETS, 1);
    if (!core_limits_find(op->core, copy, myco_buf_as_slice(&op->key), &item)) {
        fail(op, MYCO_ENOTFOUND, myco_strerror(MYCO_ENOTFOUND));
        return;
    }
    struct myco_result result = {.message = "",
        .value = item.value,
        .version = item.version,
        .expires_in_ms = item.expires_ms ? item.expires_ms - now : 0};
    finish(op, &result);
}

/* The fence stands; the copy may have gone meanwhile. */
void core_op_get(struct core_op *op)
{
    struct core_hypha *copy;
    op->token = 0;
    if (core_serve_table(op->core, op->septum, op->hypha, &copy))
        wait_again(op);
    else
        get_here(op, copy);
}

static void refused_here(struct core_op *op, int rc)
{
    char message[160];
    uint64_t version = rc == MYCO_EFENCED ? core_fence_newer(op->core, &op->put.fence) : 0;
    op->token = 0;
    snprintf(message, sizeof message, "%s", myco_strerror(rc));
    if (op->what != MYCO_REQUEST_MANY)
        core_limits_why(op->core, op->septum, op->hypha, rc, message, sizeof message);
    if (op->put.fence.name)
        core_fence_refusal(op->core, &op->put.fence, rc, message, sizeof message);
    core_op_answered(op, rc, message, version);
}

static void watch_here(struct core_op *op, struct core_hypha *copy)
{
    struct core_token token = {.op = op};
    op->where = CORE_OP_LOCAL;
    int rc = core_serve_watch(op->core, copy, myco_buf_as_slice(&op->key),
        myco_buf_as_slice(&op->value), &token, &op->parked);
    if (rc) refused_here(op, rc);
}

void core_op_unparked(struct core_op *op, const struct myco_result *result)
{
    bool starting = op->starting;
    op->parked = NULL;
    op->starting = true;
    core_op_replied(op, result);
    op->starting = starting;
}

static void nobody(const struct myco_result *result, void *data)
{
    (void)result, (void)data;
}

/* It ends on a later turn: a walk over all operations may be under way. */
void core_op_cancel(struct core_op *op)
{
    op->cb = nobody;
    op->deadline_ns = 0;
    retry_soon(op->core);
}

static void many_here(struct core_op *op)
{
    struct core_token token = {.op = op};
    op->where = CORE_OP_LOCAL;
    bool starting = op->starting;
    op->starting = true; /* answered by the call: told later, so that the op is still there */
    int rc = core_serve_many(
        op->core, op->septum, myco_buf_as_slice(&op->value), &op->put.fence, &token, &op->batch);
    op->starting = starting;
    if (rc) refused_here(op, rc);
}

static void here(struct core_op *op)
{
    struct core_hypha *copy;
    if (op->what == MYCO_REQUEST_MANY) {
        many_here(op);
        return;
    }
    int rc = core_serve_table(op->core, op->septum, op->hypha, &copy);
    if (rc) return; /* not yet: stays waiting */
    if (op->what == MYCO_REQUEST_WATCH) {
        watch_here(op, copy);
    } else if (op->what == MYCO_REQUEST_GET && op->put.fence.name) {
        struct core_token token = {.op = op};
        op->where = CORE_OP_LOCAL;
        op->token = op->core->next_token + 1; /* what core_give_token gives next */
        rc = core_fence_read(op->core, copy, myco_buf_as_slice(&op->key), &op->put.fence, &token);
        if (rc) refused_here(op, rc);
    } else if (op->what == MYCO_REQUEST_GET) {
        get_here(op, copy);
    } else if (op->what == MYCO_REQUEST_COUNT || op->what == MYCO_REQUEST_COUNT_PREFIX) {
        struct myco_result result = {
            .message = "", .count = core_serve_count(copy, myco_buf_as_slice(&op->key))};
        finish(op, &result);
    } else if (op->what == MYCO_REQUEST_SCAN) {
        struct myco_buf page = {0};
        core_serve_scan(copy, myco_buf_as_slice(&op->key), myco_buf_as_slice(&op->value), op->limit,
            op->keys_only, &page);
        struct myco_result result = {.message = "", .value = myco_buf_as_slice(&page)};
        finish(op, &result);
        myco_buf_free(&page);
    } else {
        struct core_token token = {.op = op};
        struct myco_slice key = myco_buf_as_slice(&op->key), value = myco_buf_as_slice(&op->value);
        op->where = CORE_OP_LOCAL;
        op->token = op->core->next_token + 1; /* what core_give_token gives next */
        rc = op->what == MYCO_REQUEST_CHANGE
                 ? core_serve_change(op->core, copy, key, value, &op->put.fence, &token)
                 : core_serve_write(op->core, copy, op->what, key, value, &op->put, &token);
        if (rc) refused_here(op, rc);
    }
}

/* ── there ── u64 request, u8 what, u64 septum, u32 hypha, slice key, slice value, then what the
 * kind needs; with a fence: str name, u64 epoch */

static void there(struct core_op *op, uint64_t primary)
{
    struct myco_core *core = op->core;
    struct myco_buf out = {0};
    op->request = ++core->next_request;
    myco_buf_u64(&out, op->request);
    myco_buf_u8(&out, (uint8_t)op->what);
    myco_buf_u64(&out, op->septum);
    myco_buf_u32(&out, op->hypha);
    myco_buf_slice(&out, myco_buf_as_slice(&op->key));
    myco_buf_slice(&out, myco_buf_as_slice(&op->value));
    myco_buf_u64(&out, op->put.if_version);
    myco_buf_u64(&out, op->put.ttl_ms);
    myco_buf_u8(&out, op->put.if_absent);
    myco_buf_u32(&out, op->limit);
    myco_buf_u8(&out, op->keys_only);
    if (op->put.fence.name) {
        myco_buf_str(&out, op->put.fence.name);
        myco_buf_u64(&out, op->put.fence.epoch);
    }
    int rc = core->transport->ops->send(
        core->transport, primary, MYCO_LANE_DATA, MYCO_MESSAGE_REQUEST, &out);
    if (rc) {
        op->request = 0;
        return;
    }
    op->where = CORE_OP_SENT;
    op->sent_to = primary;
    myco_map_put(&core->requests, op->request, op);
}

/* A member is of a version that would not understand it. */
static bool lacks_feature(const struct core_op *op)
{
    return op->what >= MYCO_REQUEST_CHANGE &&
           !myco_state_feature(op->core->state, MYCO_FEATURE_OPERATIONS);
}

static void attempt(struct core_op *op)
{
    struct myco_core *core = op->core;
    const struct myco_septum_record *septum = myco_state_septum(core->state, op->septum);
    if (!core->joined) return; /* it may not know what the cluster has, yet */
    if (!septum) {
        fail(op, MYCO_EINVAL, "no such septum");
        return;
    }
    if (lacks_feature(op)) return; /* features become active soon after the birth */
    char why[160];
    int rc =
        op->put.fence.name ? core_fence_check(core, &op->put.fence, septum, why, sizeof why) : 0;
    if (rc == MYCO_EVERSION) return; /* features become active soon after the birth */
    if (rc) {
        fail(op, rc, why);
        return;
    }
    if (op->keyed) op->hypha = myco_hypha_of(septum, myco_buf_as_slice(&op->key));
    const struct myco_hypha_record *hypha = &septum->hyphae[op->hypha];
    uint64_t primary = hypha->set.primary;
    if (!primary || hypha->from_store) return;
    if (is_write(op) && hypha->set.in_sync_count < septum->options.min_in_sync) return;
    if (primary == core->identity.id)
        here(op);
    else if (core_is_up(core, primary))
        there(op, primary);
}

/* ── again, and too late ── */

static void late(struct core_op *op)
{
    char message[160];
    const struct myco_septum_record *septum = myco_state_septum(op->core->state, op->septum);
    if (op->where != CORE_OP_WAITING) {
        if (is_write(op))
            fail(op, MYCO_EUNKNOWN,
                op->core->disk_full && op->where == CORE_OP_LOCAL
                    ? "there is no space left on disk: it may happen yet"
                    : "no answer from the primary in time: it may have happened");
        else
            fail(op, MYCO_ETIMEDOUT, "no answer from the primary in time");
        return;
    }
    if (septum && lacks_feature(op)) {
        fail(op, MYCO_EVERSION,
            "a member is of an older version, which does not know this operation");
        return;
    }
    const struct myco_set *set = septum ? &septum->hyphae[op->hypha].set : NULL;
    if (septum && op->put.fence.name) {
        int rc = core_fence_check(op->core, &op->put.fence, septum, message, sizeof message);
        if (rc == MYCO_EVERSION) {
            fail(op, rc, message);
            return;
        }
    }
    if (septum && set->primary == op->core->identity.id && is_write(op))
        core_object_ready(op->core, septum, op->message, sizeof op->message);
    if (op->message[0]) {
        fail(op, MYCO_EUNAVAILABLE, op->message);
        return;
    }
    const char *why = !set || !set->primary ? "no primary"
                      : set->primary == op->core->identity.id
                          ? "its primary, this node, does not serve yet"
                      : !core_is_up(op->core, set->primary) ? "its primary can't be reached"
                                                            : "its primary does not serve yet";
    snprintf(message, sizeof message, "hypha %u of %s: %s (%u in sync)", op->hypha,
        septum ? septum->name : "?", why, set ? set->in_sync_count : 0u);
    fail(op, MYCO_EUNAVAILABLE, message);
}

/* When all were sent, there is nothing to do before the next deadline: a watch may wait for long.
 */
static void wake_next(struct myco_core *core, uint64_t now)
{
    uint64_t next_ns = UINT64_MAX;
    MYCO_LIST_EACH (item, &core->waiting) {
        struct core_op *op = MYCO_CONTAINER(item, struct core_op, link);
        if (op->later.cb && op->result.message) continue;
        if (op->where == CORE_OP_WAITING) return;
        if (op->deadline_ns < next_ns) next_ns = op->deadline_ns;
    }
    core->retrying = false;
    myco_timer_stop(&core->retry);
    if (next_ns == UINT64_MAX) return;
    uint64_t left_ms = next_ns > now ? (next_ns - now) / 1000000 : 0;
    myco_timer_start(&core->retry, left_ms + 1, RETRY_MS);
}

void core_ops_retry(void *data)
{
    struct myco_core *core = data;
    uint64_t now = myco_now_ns(core->env);
    MYCO_LIST_EACH (item, &core->waiting) {
        struct core_op *op = MYCO_CONTAINER(item, struct core_op, link);
        if (op->later.cb && op->result.message) continue; /* answered, and about to be told */
        if (now >= op->deadline_ns)
            late(op);
        else if (op->where == CORE_OP_WAITING)
            attempt(op);
    }
    wake_next(core, now);
}

void core_ops_peer_down(struct myco_core *core, uint64_t node)
{
    MYCO_LIST_EACH (item, &core->waiting) {
        struct core_op *op = MYCO_CONTAINER(item, struct core_op, link);
        if (op->where != CORE_OP_SENT || op->sent_to != node) continue;
        if (is_write(op))
            fail(op, MYCO_EUNKNOWN, "the connection to the primary broke: it may have happened");
        else
            wait_again(op);
    }
}

void core_ops_close(struct myco_core *core)
{
    MYCO_LIST_EACH (item, &core->waiting) {
        struct core_op *op = MYCO_CONTAINER(item, struct core_op, link);
        myco_defer_cancel(&op->later);
        op->starting = false;
        if (op->result.message)
            tell(op);
        else
            fail(op, op->where != CORE_OP_WAITING && is_write(op) ? MYCO_EUNKNOWN : MYCO_ECLOSED,
                "the node closes");
    }
    myco_map_free(&core->requests);
    MYCO_MAP_EACH (struct core_token, token, &core->tokens) token->op = NULL;
}

/* ── answers ── u64 request, u32 status, u64 version, u64 expires_in_ms, u64 count, str message,
 * slice value */

void core_ops_response(struct myco_core *core, uint64_t from, struct myco_slice payload)
{
    struct myco_reader in = myco_reader(payload.data, payload.size);
    struct core_op *op = myco_map_get(&core->requests, myco_read_u64(&in));
    struct myco_result result = {.status = (int)myco_read_u32(&in)};
    result.version = myco_read_u64(&in);
    result.expires_in_ms = myco_read_u64(&in);
    result.count = myco_read_u64(&in);
    char message[160];
    myco_read_str(&in, message, sizeof message);
    result.value = myco_read_slice(&in);
    if (in.bad || !op || op->sent_to != from) return;
    if (core_op_again(result.status)) {
        bool generic = strcmp(message, myco_strerror(result.status)) == 0;
        snprintf(op->message, sizeof op->message, "%s", generic ? "" : message);
        wait_again(op);
        return;
    }
    result.message = message;
    finish(op, &result);
}

/* ── asking ── */

struct core_op *core_op_new(struct myco_core *core, enum myco_request what, uint64_t septum,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct core_op *op = myco_alloc(sizeof *op);
    op->core = core;
    op->what = what;
    op->septum = septum;
    op->cb = cb;
    op->data = data;
    op->deadline_ns = myco_now_ns(core->env) +
                      (uint64_t)(timeout_ms ? timeout_ms : core->options.timeout_ms) * 1000000;
    myco_list_append(&core->waiting, &op->link);
    retry_soon(core);
    return op;
}

void core_op_start(struct core_op *op)
{
    op->starting = true;
    if (op->core->requests.count >= OPS_MAX)
        fail(op, MYCO_EFULL, "too many operations under way on this node");
    else if (op->key.failed || op->value.failed)
        fail(op, MYCO_ENOMEM, myco_strerror(MYCO_ENOMEM));
    else if (op->core->leaving && !op->core->left)
        fail(op, MYCO_ECLOSED, "the node closes");
    else
        attempt(op);
    op->starting = false;
}

/* Copied: it goes with the operation. */
static void show_fence(struct core_op *op, const struct myco_fence *fence)
{
    op->put.fence = *fence;
    if (fence->name) op->put.fence.name = myco_strdup(fence->name);
}

static void start_keyed(struct core_op *op, struct myco_slice key)
{
    op->keyed = true;
    myco_buf_bytes(&op->key, key.data, key.size);
    core_op_start(op);
}

void myco_core_get(struct myco_core *core, uint64_t septum, struct myco_slice key,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    start_keyed(core_op_new(core, MYCO_REQUEST_GET, septum, timeout_ms, cb, data), key);
}

void myco_core_get_with(struct myco_core *core, uint64_t septum, struct myco_slice key,
    unsigned timeout_ms, const struct myco_fence *fence, myco_result_cb cb, void *data)
{
    struct core_op *op = core_op_new(core, MYCO_REQUEST_GET, septum, timeout_ms, cb, data);
    if (fence) show_fence(op, fence);
    start_keyed(op, key);
}

void myco_core_put(struct myco_core *core, uint64_t septum, struct myco_slice key,
    struct myco_slice value, const struct myco_put_options *options, myco_result_cb cb, void *data)
{
    struct core_op *op =
        core_op_new(core, MYCO_REQUEST_PUT, septum, options ? options->timeout_ms : 0, cb, data);
    if (options) op->put = *options, show_fence(op, &options->fence);
    myco_buf_bytes(&op->value, value.data, value.size);
    start_keyed(op, key);
}

void myco_core_del(struct myco_core *core, uint64_t septum, struct myco_slice key,
    const struct myco_put_options *options, myco_result_cb cb, void *data)
{
    struct core_op *op =
        core_op_new(core, MYCO_REQUEST_DEL, septum, options ? options->timeout_ms : 0, cb, data);
    if (options) op->put = *options, show_fence(op, &options->fence);
    start_keyed(op, key);
}

void myco_core_change(struct myco_core *core, uint64_t septum, const struct myco_change *change,
    unsigned timeout_ms, const struct myco_fence *fence, myco_result_cb cb, void *data)
{
    struct core_op *op = core_op_new(core, MYCO_REQUEST_CHANGE, septum, timeout_ms, cb, data);
    if (fence) show_fence(op, fence);
    core_change_write(change, &op->value);
    start_keyed(op, change->key);
}
