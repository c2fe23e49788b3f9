/* Operations over all hyphae of a septum: their keys counted, or scanned page by page. */
#include <stdio.h>
#include <string.h>

#include "host/core_op.h"

#define SCAN_LIMIT     1000
#define SCAN_LIMIT_MAX 10000
#define SCAN_BYTES_MAX (4u * 1024 * 1024)

/* ── counting: every hypha's primary, added up ── */

struct count {
    uint32_t left;
    uint64_t sum;
    int status;
    char message[160];
    myco_result_cb cb;
    void *data;
};

static void counted(const struct myco_result *result, void *data)
{
    struct count *count = data;
    count->sum += result->count;
    if (result->status && !count->status) {
        count->status = result->status;
        snprintf(count->message, sizeof count->message, "%s", result->message);
    }
    if (--count->left) return;
    struct myco_result total = {
        .status = count->status, .message = count->message, .count = count->sum};
    count->cb(&total, count->data);
    myco_free(count);
}

void myco_core_count(struct myco_core *core, uint64_t septum, struct myco_slice prefix,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    const struct myco_septum_record *record = myco_state_septum(core->state, septum);
    struct count *count = myco_alloc(sizeof *count);
    count->left = record ? record->options.hyphae : 1;
    enum myco_request what = prefix.size ? MYCO_REQUEST_COUNT_PREFIX : MYCO_REQUEST_COUNT;
    count->cb = cb;
    count->data = data;
    for (uint32_t h = 0, n = count->left; h < n; h++) {
        struct core_op *op =
            core_op_new(core, what, record ? septum : 0, timeout_ms, counted, count);
        op->hypha = h;
        myco_buf_bytes(&op->key, prefix.data, prefix.size);
        core_op_start(op);
    }
}

/* ── scanning: hypha by hypha ── the cursor is the hypha (u32) and the last key */

struct scan {
    struct myco_core *core;
    uint64_t septum, deadline_ns;
    struct myco_buf prefix, after, items;
    uint32_t hypha, hyphae, limit, count;
    bool keys_only;
    myco_page_cb cb;
    void *data;
};

static void scan_next(struct scan *scan);

static void scan_end(struct scan *scan, int status, const char *message)
{
    struct myco_reader in = myco_reader(scan->items.data, scan->items.size);
    struct myco_scan_item *items = myco_alloc((scan->count + 1) * sizeof *items);
    for (uint32_t i = 0; i < scan->count; i++) {
        items[i].key = myco_read_slice(&in);
        items[i].value = myco_read_slice(&in);
        items[i].version = myco_read_u64(&in);
    }
    struct myco_buf cursor = {0};
    if (scan->hypha < scan->hyphae && !status) {
        myco_buf_u32(&cursor, scan->hypha);
        myco_buf_bytes(&cursor, scan->after.data, scan->after.size);
    }
    struct myco_page page = {
        status, message, items, status ? 0 : scan->count, myco_buf_as_slice(&cursor)};
    scan->cb(&page, scan->data);
    myco_free(items);
    myco_buf_free(&cursor);
    myco_buf_free(&scan->prefix);
    myco_buf_free(&scan->after);
    myco_buf_free(&scan->items);
    myco_free(scan);
}

/* A page of one hypha: u32 count, u8 more, then items: slice key, slice value, u64 version */
static void scanned(const struct myco_result *result, void *data)
{
    struct scan *scan = data;
    if (result->status) {
        scan_end(scan, result->status, result->message);
        return;
    }
    struct myco_reader in = myco_reader(result->value.data, result->value.size);
    uint32_t count = myco_read_u32(&in);
    bool more = myco_read_u8(&in);
    myco_buf_bytes(&scan->items, in.at, myco_read_left(&in));
    struct myco_slice last = {NULL, 0};
    for (uint32_t i = 0; i < count; i++) {
        last = myco_read_slice(&in);
        myco_read_slice(&in);
        myco_read_u64(&in);
    }
    if (!myco_read_done(&in) || scan->items.failed) {
        scan_end(scan, MYCO_EPROTO, "a page of a scan is malformed");
        return;
    }
    scan->count += count;
    myco_buf_clear(&scan->after);
    if (more) {
        myco_buf_bytes(&scan->after, last.data, last.size);
    } else {
        scan->hypha++;
    }
    if (scan->hypha >= scan->hyphae || scan->count >= scan->limit ||
        scan->items.size >= SCAN_BYTES_MAX)
        scan_end(scan, 0, "");
    else
        scan_next(scan);
}

static void scan_next(struct scan *scan)
{
    uint64_t now = myco_now_ns(scan->core->env);
    uint64_t left_ms = scan->deadline_ns > now ? (scan->deadline_ns - now) / 1000000 : 0;
    struct core_op *op = core_op_new(scan->core, MYCO_REQUEST_SCAN, scan->septum,
        left_ms ? (unsigned)left_ms : 1, scanned, scan);
    op->hypha = scan->hypha;
    op->limit = scan->limit - scan->count;
    op->keys_only = scan->keys_only;
    myco_buf_bytes(&op->key, scan->prefix.data, scan->prefix.size);
    myco_buf_bytes(&op->value, scan->after.data, scan->after.size);
    core_op_start(op);
}

void myco_core_scan(struct myco_core *core, uint64_t septum, struct myco_slice prefix,
    struct myco_slice cursor, unsigned limit, bool keys_only, unsigned timeout_ms, myco_page_cb cb,
    void *data)
{
    const struct myco_septum_record *record = myco_state_septum(core->state, septum);
    struct scan *scan = myco_alloc(sizeof *scan);
    scan->core = core;
    scan->septum = record ? septum : 0; /* unknown here: refused, once this node has joined */
    scan->hyphae = record ? record->options.hyphae : 1;
    scan->limit = limit == 0 ? SCAN_LIMIT : limit > SCAN_LIMIT_MAX ? SCAN_LIMIT_MAX : limit;
    scan->keys_only = keys_only;
    scan->cb = cb;
    scan->data = data;
    scan->deadline_ns = myco_now_ns(core->env) +
                        (uint64_t)(timeout_ms ? timeout_ms : core->options.timeout_ms) * 1000000;
    myco_buf_bytes(&scan->prefix, prefix.data, prefix.size);
    if (cursor.size >= 4) {
        struct myco_reader in = myco_reader(cursor.data, cursor.size);
        scan->hypha = myco_read_u32(&in);
        myco_buf_bytes(&scan->after, in.at, myco_read_left(&in));
        if (scan->hypha >= scan->hyphae) scan->hypha = scan->hyphae - 1;
    }
    scan_next(scan);
}
