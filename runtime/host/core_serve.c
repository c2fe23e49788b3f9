/* Operations of primaries here: reads of their tables under the node's lease, writes into their
 * logs. */
#include <stdio.h>
#include <string.h>

#include "host/core_internal.h"

#define SWEEP_MS       250
#define SWEEP_BUCKETS  64            /* of each hypha, each time */
#define PAGE_BYTES_MAX (512u * 1024) /* of one answer to a scan */

/* Expiry is judged by the log's time, which never runs back when the primary changes. */
uint64_t core_expiry_now(const struct core_hypha *copy)
{
    return myco_hypha_log_time_ms(copy->hypha);
}

/* Another was proposed as primary, and may serve before this node hears that it was taken. */
static bool given_away(const struct core_hypha *copy)
{
    return copy->offered && copy->offered == myco_hypha_set(copy->hypha)->version;
}

int core_serve_table(
    struct myco_core *core, uint64_t septum, uint32_t index, struct core_hypha **copy)
{
    *copy = core_hypha_find(core, septum, index);
    if (!*copy || (*copy)->loading_epoch || !myco_hypha_serving((*copy)->hypha) ||
        given_away(*copy))
        return MYCO_EUNAVAILABLE;
    return myco_lease_valid(core->lease) ? 0 : MYCO_EUNAVAILABLE;
}

int core_give_token(struct myco_core *core, struct core_hypha *copy, const struct myco_write *write,
    const struct core_token *token)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    char why[160];
    bool asked = septum && !token->sweep && !write->look && write->op != MYCO_OP_NOOP;
    int refused = asked ? core_object_ready(core, septum, why, sizeof why) : 0;
    if (refused) return refused;
    uint64_t number = ++core->next_token; /* before those that make room */
    struct core_claim claim;
    refused = core_limits_claim(core, copy, write, &claim);
    if (refused) return refused;
    struct core_token *kept = myco_memdup(token, sizeof *token);
    kept->claim = claim;
    myco_map_put(&core->tokens, number, kept);
    int rc = myco_hypha_write(copy->hypha, write, number);
    if (rc) {
        core_limits_release(core, &claim);
        myco_map_del(&core->tokens, number);
        myco_free(kept);
    }
    return rc;
}

int core_serve_write(struct myco_core *core, struct core_hypha *copy, enum myco_request what,
    struct myco_slice key, struct myco_slice value, const struct myco_put_options *options,
    const struct core_token *token)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    if (!septum) return MYCO_ENOTFOUND;
    if (key.size == 0) return MYCO_EINVAL;
    if (key.size > MYCO_KEY_SIZE_MAX || value.size > core->options.value_size_max)
        return MYCO_ETOOBIG;
    uint64_t ttl = options->ttl_ms ? options->ttl_ms : septum->options.ttl_ms;
    if (ttl > UINT64_MAX / 2) ttl = 0; /* MYCO_TTL_NEVER */
    struct myco_write write = {.op = what == MYCO_REQUEST_PUT ? MYCO_OP_PUT : MYCO_OP_DEL,
        .key = key,
        .value = value,
        .expires_ms = ttl && what == MYCO_REQUEST_PUT ? core_expiry_now(copy) + ttl : 0,
        .if_version = options->if_version,
        .if_absent = options->if_absent,
        .fence = myco_str(options->fence.name),
        .fence_epoch = options->fence.epoch};
    MYCO_METRIC_ADD(core->env->metrics, PUTS, 1);
    if (!options->fence.name) return core_give_token(core, copy, &write, token);
    if (septum->options.kind != MYCO_SEPTUM_DURABLE) return MYCO_ENOTSUP;
    if (core_fence_newer(core, &options->fence)) return MYCO_EFENCED;
    struct core_token fenced = *token;
    fenced.fence = core_fence_new(copy, &options->fence);
    int rc = core_give_token(core, copy, &write, &fenced);
    if (rc) myco_free(fenced.fence);
    return rc;
}

void core_respond(
    struct myco_core *core, uint64_t to, uint64_t request, const struct myco_result *result)
{
    struct myco_buf out = {0};
    myco_buf_u64(&out, request);
    myco_buf_u32(&out, (uint32_t)result->status);
    myco_buf_u64(&out, result->version);
    myco_buf_u64(&out, result->expires_in_ms);
    myco_buf_u64(&out, result->count);
    myco_buf_str(&out, result->message ? result->message : "");
    myco_buf_slice(&out, result->value);
    core_send(core, to, MYCO_MESSAGE_RESPONSE, &out);
}

void core_serve_complete(struct myco_core *core, uint64_t number, int status, uint64_t version)
{
    core_serve_complete_with(core, number, status, version, NULL);
}

void core_serve_complete_with(
    struct myco_core *core, uint64_t number, int status, uint64_t version, const char *why)
{
    struct core_token *token = myco_map_del(&core->tokens, number);
    if (!token) return;
    core_limits_release(core, &token->claim);
    /* "It conflicts" and "it is not there" tell what the table holds: they are reads, and need the
     * lease as much. Nothing happened, so the one who asked may ask the next primary. */
    bool read = status == MYCO_ECONFLICT || status == MYCO_ENOTFOUND || status == MYCO_EFENCED;
    struct core_reply *reply = token->reply;
    if (reply && reply->look && status == MYCO_ECONFLICT)
        status = reply->status, why = reply->message;
    if (read && !myco_lease_valid(core->lease)) status = MYCO_EUNAVAILABLE, why = NULL;
    if (core->events.on_trace && !status && !(reply && reply->look))
        core->events.on_trace("ack", number, version, 0, core->events.data);
    if (status == MYCO_EFENCED) MYCO_METRIC_ADD(core->env->metrics, FENCED, 1);
    char message[160];
    core_fence_why(token->fence, status, version, message, sizeof message);
    struct myco_result result = {
        .status = status, .message = why ? why : message, .version = version};
    if (reply && !status) {
        result.value = myco_buf_as_slice(&reply->value);
        result.count = reply->count;
        result.expires_in_ms = reply->expires_in_ms;
    }
    if (token->fence && token->fence->read && !status)
        core_fence_stands(core, token);
    else if (token->batch)
        core_batch_answered(token->batch, token->index, &result);
    else if (token->op)
        core_op_replied(token->op, &result);
    else if (!token->sweep)
        core_respond(core, token->node, token->request, &result);
    core_token_free(token);
}

/* ── pages of a scan ── */

struct page {
    struct myco_buf *out;
    uint32_t count, limit;
    bool keys_only, more;
};

static bool add_to_page(const struct myco_table_item *item, void *data)
{
    struct page *page = data;
    if (page->count == page->limit ||
        (page->count && page->out->size + item->key.size + item->value.size > PAGE_BYTES_MAX)) {
        page->more = true;
        return false;
    }
    myco_buf_slice(page->out, item->key);
    myco_buf_slice(page->out, page->keys_only ? myco_bytes(NULL, 0) : item->value);
    myco_buf_u64(page->out, item->version);
    page->count++;
    return true;
}

void core_serve_scan(const struct core_hypha *copy, struct myco_slice prefix,
    struct myco_slice after, uint32_t limit, bool keys_only, struct myco_buf *out)
{
    struct page page = {.out = out, .limit = limit, .keys_only = keys_only};
    myco_buf_u32(out, 0);
    myco_buf_u8(out, 0);
    if (!after.size) after.data = NULL;
    myco_table_page(myco_hypha_table(copy->hypha), prefix, after, (size_t)limit + 1,
        core_expiry_now(copy), add_to_page, &page);
    if (out->failed) return;
    memcpy(out->data, &page.count, 4);
    out->data[4] = page.more;
}

struct counted {
    struct myco_slice prefix;
    uint64_t now_ms, count;
};

static bool count_one(const struct myco_table_item *item, void *data)
{
    struct counted *counted = data;
    bool alive = !item->expires_ms || item->expires_ms > counted->now_ms;
    if (alive && item->key.size >= counted->prefix.size &&
        memcmp(item->key.data, counted->prefix.data, counted->prefix.size) == 0)
        counted->count++;
    return true;
}

uint64_t core_serve_count(const struct core_hypha *copy, struct myco_slice prefix)
{
    struct counted counted = {.prefix = prefix, .now_ms = core_expiry_now(copy)};
    if (!prefix.size) return myco_table_count_live(myco_hypha_table(copy->hypha), counted.now_ms);
    myco_table_each(myco_hypha_table(copy->hypha), count_one, &counted);
    return counted.count;
}

/* ── requests of other nodes ── */

static void serve_read(struct myco_core *core, uint64_t from, uint64_t request,
    enum myco_request what, struct core_hypha *copy, struct myco_slice key, struct myco_slice value,
    uint32_t limit, bool keys_only)
{
    struct myco_result result = {.message = ""};
    struct myco_buf page = {0};
    struct myco_table_item item;
    uint64_t now = core_expiry_now(copy);
    if (what == MYCO_REQUEST_GET) {
        MYCO_METRIC_ADD(core->env->metrics, GETS, 1);
        if (core_limits_find(core, copy, key, &item)) {
            result.value = item.value;
            result.version = item.version;
            result.expires_in_ms = item.expires_ms ? item.expires_ms - now : 0;
        } else {
            result.status = MYCO_ENOTFOUND;
            result.message = myco_strerror(MYCO_ENOTFOUND);
        }
    } else if (what == MYCO_REQUEST_COUNT || what == MYCO_REQUEST_COUNT_PREFIX) {
        result.count = core_serve_count(copy, key);
    } else {
        core_serve_scan(copy, key, value, limit > 10000 ? 10000 : limit, keys_only, &page);
        result.value = myco_buf_as_slice(&page);
        if (page.failed) result.status = MYCO_ENOMEM, result.message = myco_strerror(MYCO_ENOMEM);
    }
    core_respond(core, from, request, &result);
    myco_buf_free(&page);
}

void core_serve_get(struct myco_core *core, uint64_t from, uint64_t request,
    struct core_hypha *copy, struct myco_slice key)
{
    struct myco_result refused = {
        .status = MYCO_EUNAVAILABLE, .message = myco_strerror(MYCO_EUNAVAILABLE)};
    if (copy)
        serve_read(core, from, request, MYCO_REQUEST_GET, copy, key, myco_bytes(NULL, 0), 0, false);
    else
        core_respond(core, from, request, &refused);
}

/* What is refused before the hypha was asked. */
static void refuse(struct myco_core *core, uint64_t from, uint64_t request, uint64_t septum_id,
    uint32_t hypha, int status, const struct myco_fence *fence)
{
    char message[160];
    const struct myco_septum_record *septum = myco_state_septum(core->state, septum_id);
    snprintf(message, sizeof message, "%s", myco_strerror(status));
    if (septum) core_object_ready(core, septum, message, sizeof message);
    if (septum) core_limits_why(core, septum_id, hypha, status, message, sizeof message);
    if (fence->name) core_fence_refusal(core, fence, status, message, sizeof message);
    struct myco_result refused = {.status = status, .message = message};
    if (status == MYCO_EFENCED) refused.version = core_fence_newer(core, fence);
    core_respond(core, from, request, &refused);
}

void core_serve_request(struct myco_core *core, uint64_t from, struct myco_slice payload)
{
    struct myco_reader in = myco_reader(payload.data, payload.size);
    uint64_t request = myco_read_u64(&in);
    enum myco_request what = (enum myco_request)myco_read_u8(&in);
    uint64_t septum = myco_read_u64(&in);
    uint32_t index = myco_read_u32(&in);
    struct myco_slice key = myco_read_slice(&in), value = myco_read_slice(&in);
    struct myco_put_options options = {.if_version = myco_read_u64(&in)};
    options.ttl_ms = myco_read_u64(&in);
    options.if_absent = myco_read_u8(&in);
    uint32_t limit = myco_read_u32(&in);
    bool keys_only = myco_read_u8(&in);
    char fence[MYCO_FENCE_NAME_SIZE_MAX + 1];
    if (myco_read_left(&in)) { /* only of nodes that know fences */
        myco_read_str(&in, fence, sizeof fence);
        options.fence = (struct myco_fence){fence, myco_read_u64(&in)};
        if (!*fence || !options.fence.epoch) in.bad = true;
    }
    if (!myco_read_done(&in) || what < MYCO_REQUEST_GET || what > MYCO_REQUEST_LAST) {
        MYCO_METRIC_ADD(core->env->metrics, FRAMES_REFUSED, 1);
        return;
    }
    struct core_hypha *copy;
    struct core_token token = {.node = from, .request = request};
    if (what == MYCO_REQUEST_MANY) {
        int failed = core_serve_many(core, septum, value, &options.fence, &token, NULL);
        if (failed) refuse(core, from, request, 0, 0, failed, &options.fence);
        return;
    }
    int rc = core_serve_table(core, septum, index, &copy);
    if (rc == 0 && (what == MYCO_REQUEST_PUT || what == MYCO_REQUEST_DEL)) {
        rc = core_serve_write(core, copy, what, key, value, &options, &token);
        if (rc == 0) return;
    } else if (rc == 0 && what == MYCO_REQUEST_CHANGE) {
        rc = core_serve_change(core, copy, key, value, &options.fence, &token);
        if (rc == 0) return;
    } else if (rc == 0 && what == MYCO_REQUEST_WATCH) {
        rc = core_serve_watch(core, copy, key, value, &token, NULL);
        if (rc == 0) return;
    } else if (rc == 0 && options.fence.name && what == MYCO_REQUEST_GET) {
        rc = core_fence_read(core, copy, key, &options.fence, &token);
        if (rc == 0) return;
    } else if (rc == 0) {
        serve_read(core, from, request, what, copy, key, value, limit, keys_only);
        return;
    }
    bool write =
        what == MYCO_REQUEST_PUT || what == MYCO_REQUEST_DEL || what == MYCO_REQUEST_CHANGE;
    refuse(core, from, request, write ? septum : 0, index, rc, &options.fence);
}

/* ── expiry ── what has expired is deleted through the log, so that all copies agree */

struct sweep {
    struct myco_core *core;
    struct core_hypha *copy;
    struct myco_buf keys; /* the table must not change while it is swept */
    uint32_t count;
};

static bool collect(const struct myco_table_item *item, void *data)
{
    struct sweep *sweep = data;
    myco_buf_slice(&sweep->keys, item->key);
    return ++sweep->count < 256;
}

void core_serve_sweep(struct myco_core *core)
{
    uint64_t now = myco_now_ms(core->env), keys = 0;
    if (now < core->sweep_at_ms) return;
    core->sweep_at_ms = now + SWEEP_MS;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) {
        core_watch_sweep(copy);
        core_limits_tick(core, copy);
        if (copy->loading_epoch || !myco_hypha_serving(copy->hypha)) continue;
        keys += myco_table_count(myco_hypha_table(copy->hypha));
        struct sweep sweep = {.core = core, .copy = copy};
        myco_table_sweep(
            myco_hypha_table(copy->hypha), core_expiry_now(copy), SWEEP_BUCKETS, collect, &sweep);
        struct myco_reader in = myco_reader(sweep.keys.data, sweep.keys.size);
        /* a del with a time is one by expiry: what watches tell it by */
        uint64_t now_log = core_expiry_now(copy);
        while (myco_read_left(&in) && !in.bad) {
            struct myco_write write = {.op = MYCO_OP_DEL,
                .key = myco_read_slice(&in),
                .if_expired = true,
                .expires_ms = now_log};
            struct core_token token = {.sweep = true};
            core_use(core, copy->septum)->expirations +=
                core_give_token(core, copy, &write, &token) == 0;
        }
        myco_buf_free(&sweep.keys);
    }
    MYCO_METRIC_SET(core->env->metrics, KEYS, keys);
}
