/* A watch as this node asks for it: of each hypha one question at a time, "what came after this
 * position?", to whoever is its primary. The answer is handed to the callback, and the next
 * question asked; so a failover or a move changes nothing but who is asked. */
#include <string.h>

#include "base/err.h"
#include "host/core_op.h"

#define WAIT_MS       10000 /* the primary answers after it, even if there is nothing */
#define TOKEN_VERSION 1
#define PAGE_EVENT    (1 + 2 * 8 + 2 * 4) /* the smallest */

struct part {
    struct core_watch *watch;
    struct core_op *op; /* under way */
    uint64_t epoch, offset;
    bool placed; /* it has a position */
    bool held;   /* `page` waits for resume */
    int status;
    struct myco_buf page;
};

struct core_watch {
    struct myco_list link; /* core->watches */
    struct myco_core *core;
    uint64_t septum;
    struct myco_buf prefix;
    myco_watch_cb cb;
    void *data;
    bool paused, ended, freed, ready;
    unsigned held; /* calls under way that need it; freed after them */
    uint32_t count;
    struct part parts[];
};

static void on_answer(const struct myco_result *result, void *data);

static void ask(struct part *part)
{
    struct core_watch *watch = part->watch;
    struct core_op *op = core_op_new(watch->core, MYCO_REQUEST_WATCH, watch->septum,
        WAIT_MS + watch->core->options.timeout_ms, on_answer, part);
    op->hypha = (uint32_t)(part - watch->parts);
    myco_buf_bytes(&op->key, watch->prefix.data, watch->prefix.size);
    myco_buf_u64(&op->value, part->epoch);
    myco_buf_u64(&op->value, part->offset);
    myco_buf_u32(&op->value, WAIT_MS);
    part->op = op;
    core_op_start(op);
}

static void free_watch(struct core_watch *watch)
{
    myco_list_remove(&watch->link);
    for (uint32_t i = 0; i < watch->count; i++) myco_buf_free(&watch->parts[i].page);
    myco_buf_free(&watch->prefix);
    myco_free(watch);
}

static void stop_asking(struct core_watch *watch)
{
    for (uint32_t i = 0; i < watch->count; i++) {
        struct core_op *op = watch->parts[i].op;
        watch->parts[i].op = NULL;
        watch->parts[i].held = false;
        if (op) core_op_cancel(op);
    }
}

/* false: it is gone, or about to go. */
static bool let_go(struct core_watch *watch)
{
    bool freed = watch->freed;
    if (--watch->held == 0 && freed) free_watch(watch);
    return !freed;
}

/* ── telling ── */

/* false: the watch is gone. */
static bool tell(struct core_watch *watch, const struct myco_watch_page *page)
{
    watch->held++;
    if (!watch->cb(page, watch->data)) watch->paused = true;
    return let_go(watch);
}

static void tell_end(struct core_watch *watch, int status, const char *message)
{
    struct myco_watch_page page = {.status = status, .message = message};
    watch->ended = true;
    stop_asking(watch);
    tell(watch, &page);
}

static bool tell_ready(struct core_watch *watch)
{
    struct myco_watch_page page = {.message = "", .ready = true};
    for (uint32_t i = 0; i < watch->count; i++)
        if (!watch->parts[i].placed) return true;
    if (watch->ready) return true;
    watch->ready = true;
    return tell(watch, &page);
}

/* The answer of the part: see core_watch_serve.c. */
static bool tell_part(struct part *part)
{
    struct core_watch *watch = part->watch;
    struct myco_reader in = myco_reader(part->page.data, part->page.size);
    struct myco_watch_page page = {.status = part->status, .message = "", .ready = watch->ready};
    uint64_t epoch = myco_read_u64(&in), offset = myco_read_u64(&in);
    uint32_t count = myco_read_u32(&in);
    if (in.bad || count > myco_read_left(&in) / PAGE_EVENT) {
        tell_end(watch, MYCO_EPROTO, "an answer to a watch is malformed");
        return false;
    }
    struct myco_change_event *events = myco_alloc((count + 1) * sizeof *events);
    for (uint32_t i = 0; i < count; i++) {
        events[i].kind = (enum myco_watch_kind)myco_read_u8(&in);
        events[i].version = myco_read_u64(&in);
        events[i].time_ms = myco_read_u64(&in);
        events[i].key = myco_read_slice(&in);
        events[i].value = myco_read_slice(&in);
        if (events[i].kind < MYCO_WATCH_PUT || events[i].kind > MYCO_WATCH_EXPIRE) in.bad = true;
    }
    page.events = events;
    page.count = count;
    bool good = myco_read_done(&in), there = good;
    if (good) part->epoch = epoch, part->offset = offset, part->placed = true;
    if (part->status == MYCO_ECOMPACTED)
        page.message = "compacted: changes were missed that are not kept any more";
    if (!good)
        tell_end(watch, MYCO_EPROTO, "an answer to a watch is malformed");
    else if (page.status || count)
        there = tell(watch, &page);
    myco_free(events);
    return there && tell_ready(watch);
}

static void go_on(struct part *part)
{
    struct core_watch *watch = part->watch;
    part->held = false;
    if (!tell_part(part)) return;
    myco_buf_clear(&part->page);
    if (!watch->ended && !part->op) ask(part);
}

static void on_answer(const struct myco_result *result, void *data)
{
    struct part *part = data;
    struct core_watch *watch = part->watch;
    int status = result->status;
    part->op = NULL;
    if (status == 0 || status == MYCO_ECOMPACTED) {
        part->status = status;
        myco_buf_clear(&part->page);
        myco_buf_bytes(&part->page, result->value.data, result->value.size);
        part->held = true;
        if (!watch->paused) go_on(part);
    } else if (status == MYCO_EUNAVAILABLE || status == MYCO_ETIMEDOUT || status == MYCO_EFULL) {
        ask(part); /* it tried for long, and goes on */
    } else {
        tell_end(watch, status, result->message);
    }
}

/* ── for the host ── */

static int read_token(struct core_watch *watch, struct myco_slice token)
{
    struct myco_reader in = myco_reader(token.data, token.size);
    if (!token.size) return 0;
    uint8_t version = myco_read_u8(&in);
    uint64_t septum = myco_read_u64(&in);
    uint32_t count = myco_read_u32(&in);
    if (version != TOKEN_VERSION || septum != watch->septum || count != watch->count)
        return MYCO_EINVAL;
    for (uint32_t i = 0; i < count; i++) {
        watch->parts[i].epoch = myco_read_u64(&in);
        watch->parts[i].offset = myco_read_u64(&in);
    }
    return myco_read_done(&in) ? 0 : MYCO_EINVAL;
}

void myco_core_watch_token(const struct core_watch *watch, struct myco_buf *out)
{
    myco_buf_u8(out, TOKEN_VERSION);
    myco_buf_u64(out, watch->septum);
    myco_buf_u32(out, watch->count);
    for (uint32_t i = 0; i < watch->count; i++) {
        myco_buf_u64(out, watch->parts[i].epoch);
        myco_buf_u64(out, watch->parts[i].offset);
    }
}

struct core_watch *myco_core_watch(struct myco_core *core, uint64_t septum,
    struct myco_slice prefix, struct myco_slice token, myco_watch_cb cb, void *data,
    struct myco_err *err)
{
    const struct myco_septum_record *record = myco_state_septum(core->state, septum);
    if (!record) {
        myco_err(err, MYCO_EINVAL, "watch: no such septum");
        return NULL;
    }
    uint32_t count = record->options.hyphae;
    struct core_watch *watch = myco_alloc(sizeof *watch + count * sizeof watch->parts[0]);
    watch->core = core;
    watch->septum = septum;
    watch->cb = cb;
    watch->data = data;
    watch->count = count;
    myco_list_append(&core->watches, &watch->link);
    myco_buf_bytes(&watch->prefix, prefix.data, prefix.size);
    for (uint32_t i = 0; i < count; i++) watch->parts[i].watch = watch;
    if (read_token(watch, token)) {
        myco_err(err, MYCO_EINVAL, "watch: this is no token of a watch of %s", record->name);
        free_watch(watch);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) ask(&watch->parts[i]);
    return watch;
}

void myco_core_watch_resume(struct core_watch *watch)
{
    watch->paused = false;
    watch->held++;
    for (uint32_t i = 0; i < watch->count && !watch->paused && !watch->ended; i++)
        if (watch->parts[i].held) go_on(&watch->parts[i]);
    let_go(watch);
}

void myco_core_unwatch(struct core_watch *watch)
{
    watch->ended = true;
    stop_asking(watch);
    watch->freed = watch->held > 0;
    if (!watch->freed) free_watch(watch);
}

void core_watches_close(struct myco_core *core)
{
    MYCO_LIST_EACH (item, &core->watches) {
        struct core_watch *watch = MYCO_CONTAINER(item, struct core_watch, link);
        stop_asking(watch);
        free_watch(watch);
    }
}
