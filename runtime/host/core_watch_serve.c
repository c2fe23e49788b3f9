/* Watches at the primary of a hypha: a question "what of this prefix was committed after that
 * position?" is answered at once when there is something, else parked until there is, or until its
 * time is over. So nothing is queued for a watcher: it asks again when it has room, and what it
 * missed meanwhile is read from the records that the hypha keeps in memory. When they are gone,
 * the answer is ECOMPACTED with the present position, from where it may go on.
 *
 * A position is (epoch, offset) of a record. It is good at every later primary whose log has that
 * record; a log that does not, because a cache lost it with its primary, says ECOMPACTED too. */
#include <string.h>

#include "host/core_internal.h"

#define PARKED_MAX     65536u
#define PAGE_SIZE_MAX  (256u * 1024)
#define PAGE_COUNT_MAX 2048u
#define WAIT_MS_MAX    60000u

struct core_parked {
    struct myco_list link; /* of the copy */
    struct myco_core *core;
    struct core_op *op; /* asked here; else by a node */
    uint64_t node, request;
    uint64_t septum, epoch, offset, until_ms;
    uint32_t index;
    bool due;
    struct myco_buf prefix;
};

/* ── a page ── u64 epoch, u64 offset: the position after it; u32 count; of each event: u8 kind, u64
 * version, u64 time_ms, slice key, slice value */

struct page {
    struct myco_buf *out;
    struct myco_slice prefix;
    uint64_t epoch, offset;
    uint32_t count;
};

static bool begins(struct myco_slice key, struct myco_slice prefix)
{
    return key.size >= prefix.size &&
           (!prefix.size || memcmp(key.data, prefix.data, prefix.size) == 0);
}

static bool add_record(
    uint64_t epoch, uint64_t offset, uint64_t time_ms, const struct myco_write *write, void *data)
{
    struct page *page = data;
    bool wanted = write->op != MYCO_OP_NOOP && begins(write->key, page->prefix);
    if (wanted && page->count &&
        (page->count == PAGE_COUNT_MAX || page->out->size + write->value.size > PAGE_SIZE_MAX))
        return false;
    page->epoch = epoch;
    page->offset = offset;
    if (!wanted) return true;
    bool expired = write->op == MYCO_OP_DEL && write->expires_ms;
    myco_buf_u8(page->out, write->op == MYCO_OP_PUT ? MYCO_WATCH_PUT
                           : expired                ? MYCO_WATCH_EXPIRE
                                                    : MYCO_WATCH_DEL);
    myco_buf_u64(page->out, offset);
    myco_buf_u64(page->out, time_ms);
    myco_buf_slice(page->out, write->key);
    myco_buf_slice(page->out, write->value);
    page->count++;
    return true;
}

/* Moves the position on, and writes what lies between; *count: events of the prefix. */
static int read_page(const struct core_hypha *copy, struct core_parked *parked,
    struct myco_buf *out, uint32_t *count)
{
    struct myco_buf events = {0};
    struct page page = {.out = &events,
        .prefix = myco_buf_as_slice(&parked->prefix),
        .epoch = parked->epoch,
        .offset = parked->offset};
    int rc = 0;
    if (parked->epoch)
        rc = myco_hypha_records(copy->hypha, parked->epoch, parked->offset, add_record, &page);
    if (rc || !parked->epoch) myco_hypha_position(copy->hypha, &page.epoch, &page.offset);
    parked->epoch = page.epoch;
    parked->offset = page.offset;
    *count = page.count;
    myco_buf_u64(out, page.epoch);
    myco_buf_u64(out, page.offset);
    myco_buf_u32(out, page.count);
    myco_buf_bytes(out, events.data, events.size);
    if (events.failed) rc = MYCO_ENOMEM;
    myco_buf_free(&events);
    return out->failed ? MYCO_ENOMEM : rc;
}

static void say(struct core_parked *parked, int status, struct myco_slice value)
{
    struct myco_result result = {.status = status, .message = "", .value = value};
    if (status) result.message = myco_strerror(status);
    if (status == MYCO_ECOMPACTED)
        result.message = "compacted: the changes since that position are not kept any more";
    if (parked->op) {
        core_op_unparked(parked->op, &result);
    } else if (parked->node) {
        core_respond(parked->core, parked->node, parked->request, &result);
    }
}

static void end(struct core_parked *parked)
{
    myco_list_remove(&parked->link);
    parked->core->parked_count--;
    myco_buf_free(&parked->prefix);
    myco_free(parked);
}

/* true: it was answered. */
static bool try_answer(struct core_parked *parked, bool late)
{
    struct core_hypha *copy;
    struct myco_buf out = {0};
    uint32_t count = 0;
    bool now = parked->epoch == 0;
    int rc = core_serve_table(parked->core, parked->septum, parked->index, &copy);
    if (rc == 0) rc = read_page(copy, parked, &out, &count);
    parked->due = false;
    bool answered = rc || count || now || late;
    if (answered) say(parked, rc, myco_buf_as_slice(&out));
    myco_buf_free(&out);
    return answered;
}

int core_serve_watch(struct myco_core *core, struct core_hypha *copy, struct myco_slice prefix,
    struct myco_slice from, const struct core_token *asked, struct core_parked **given)
{
    struct myco_reader in = myco_reader(from.data, from.size);
    struct core_parked *parked = myco_alloc(sizeof *parked);
    parked->core = core;
    parked->op = asked->op;
    parked->node = asked->node;
    parked->request = asked->request;
    parked->septum = copy->septum;
    parked->index = copy->index;
    parked->epoch = myco_read_u64(&in);
    parked->offset = myco_read_u64(&in);
    uint32_t wait_ms = myco_read_u32(&in);
    parked->until_ms = myco_now_ms(core->env) + (wait_ms > WAIT_MS_MAX ? WAIT_MS_MAX : wait_ms);
    bool good = myco_read_done(&in);
    myco_buf_bytes(&parked->prefix, prefix.data, prefix.size);
    int rc = !good                              ? MYCO_EPROTO
             : parked->prefix.failed            ? MYCO_ENOMEM
             : core->parked_count >= PARKED_MAX ? MYCO_EFULL
                                                : 0;
    if (rc == 0 && !try_answer(parked, wait_ms == 0)) {
        myco_list_append(&copy->parked, &parked->link);
        core->parked_count++;
        if (given) *given = parked;
        return 0;
    }
    myco_buf_free(&parked->prefix);
    myco_free(parked);
    return rc;
}

void core_watch_forget(struct core_parked *parked)
{
    end(parked);
}

/* ── woken ── */

/* Of a copy: those that are due, or all, to see whether their time is over. Answers here are told
 * on a later turn, so that nobody changes the list meanwhile. */
static void answer_copy(struct core_hypha *copy, bool all)
{
    struct myco_core *core = copy->core;
    uint64_t now = myco_now_ms(core->env);
    copy->watch_due = false;
    MYCO_LIST_EACH (item, &copy->parked) {
        struct core_parked *parked = MYCO_CONTAINER(item, struct core_parked, link);
        bool gone = parked->node && !core_is_up(core, parked->node);
        if (!all && !parked->due) continue;
        if (gone || try_answer(parked, now >= parked->until_ms)) end(parked);
    }
}

static void answer_due(void *data)
{
    struct myco_core *core = data;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae)
        if (copy->watch_due) answer_copy(copy, false);
}

void core_watch_committed(struct core_hypha *copy, const struct myco_write *write)
{
    MYCO_LIST_EACH (item, &copy->parked) {
        struct core_parked *parked = MYCO_CONTAINER(item, struct core_parked, link);
        if (parked->due || !begins(write->key, myco_buf_as_slice(&parked->prefix))) continue;
        parked->due = copy->watch_due = true;
    }
    if (copy->watch_due)
        myco_defer(copy->core->env, &copy->core->watch_due, answer_due, copy->core);
}

/* The position of those that wait for something rare follows the log, so that it is not compacted
 * below them. */
void core_watch_sweep(struct core_hypha *copy)
{
    if (!myco_list_empty(&copy->parked)) answer_copy(copy, true);
}

void core_watch_gone(struct core_hypha *copy)
{
    MYCO_LIST_EACH (item, &copy->parked) {
        struct core_parked *parked = MYCO_CONTAINER(item, struct core_parked, link);
        say(parked, MYCO_EUNAVAILABLE, myco_bytes(NULL, 0));
        end(parked);
    }
}
