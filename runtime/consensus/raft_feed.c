/* Being followed: what this node has applied goes on to the nodes that asked for it (raft_tail.c).
 *
 * A node of the group takes few followers, the leader fewer still, and a node that tails itself
 * takes more: so 2,000 nodes hang on a group of seven in a tree of three or four levels. Whoever is
 * full names those that it feeds, and the asker goes down the tree.
 *
 * What comes in is sent on in the same turn of the loop, with a sign of the leader's life in it;
 * when nothing comes, the nodes of the group begin such a sign once a second, which runs down the
 * tree. */
#include "consensus/log_internal.h"

#include "base/mem.h"

#define LEADER_FOLLOWERS_MAX 4
#define GROUP_FOLLOWERS_MAX  16
#define KEEP_ALIVE_MS        1000
#define SIGN_MARGIN_MS       100
#define SNAPSHOT_KEPT_MS     2000 /* after its last piece was asked for */

/* ── What this node can give ────────────────────────────────────────────────────────────────── */

uint8_t myco__feed_distance(const struct myco_rlog *log)
{
    if (log->failed != 0) return MYCO__TAIL_NOWHERE;
    if (myco_rlog_is_leader(log)) return 0;
    if (myco__tail_grouped(log) && myco__tail_heard(log)) return 1;
    return myco__tail_fed(log) ? log->tail.distance : MYCO__TAIL_NOWHERE;
}

static unsigned followers_max(const struct myco_rlog *log)
{
    if (myco_rlog_is_leader(log)) return LEADER_FOLLOWERS_MAX;
    return myco__tail_grouped(log) ? GROUP_FOLLOWERS_MAX : MYCO__TAIL_FOLLOWERS_MAX;
}

/* An entry that is applied here, from either source; NULL: not kept any more. */
static const struct myco__rlog_entry *entry_at(const struct myco_rlog *log, uint64_t index)
{
    if (index > log->applied) return NULL;
    const struct myco__rlog_entry *entry =
        index <= log->config_seen ? myco__rlog_cache_at(&log->cache, index) : NULL;
    return entry != NULL ? entry : myco__rlog_cache_at(&log->tail.cache, index);
}

/* 0: not known any more. */
static uint64_t term_at(const struct myco_rlog *log, uint64_t index)
{
    const struct myco__rlog_entry *entry = entry_at(log, index);
    if (entry != NULL) return entry->term;
    if (index == log->applied) return log->applied_term;
    return index == log->snapshot.index && index <= log->applied ? log->snapshot.term : 0;
}

static void write_head(struct myco_rlog *log, struct myco__tail_view *view)
{
    uint64_t now_ms = myco_now_ms(log->env);
    view->distance = myco__feed_distance(log);
    view->leader = myco_rlog_leader(log);
    view->applied = log->applied;
    if (view->distance == 0) {
        view->term = myco_rlog_term(log);
    } else if (view->distance == 1) {
        view->term = myco_rlog_term(log);
        view->age_ms = (uint32_t)(now_ms > log->heard_ms ? now_ms - log->heard_ms : 0);
    } else {
        view->term = log->tail.term;
        view->age_ms = (uint32_t)(now_ms > log->tail.root_ms ? now_ms - log->tail.root_ms : 0);
    }
}

/* ── A snapshot, in pieces ──────────────────────────────────────────────────────────────────── */

static bool make_snapshot(struct myco_rlog *log)
{
    struct myco__tail *tail = &log->tail;
    struct myco_buf state = {0};
    bool usable = tail->made.bytes.size > 0 &&
                  (tail->made.index == log->applied || entry_at(log, tail->made.index + 1) != NULL);
    if (usable) return true;
    myco_buf_free(&tail->made.bytes);
    log->events.snapshot(&state, log->events.data);
    struct myco__rlog_snapshot snapshot = {.index = log->applied,
        .term = log->applied_term,
        .config = *myco__tail_config(log),
        .state = myco_buf_as_slice(&state)};
    tail->made.index = log->applied;
    if (!state.failed) myco__rlog_snapshot_write(&tail->made.bytes, &snapshot);
    if (state.failed || tail->made.bytes.failed) myco_buf_free(&tail->made.bytes);
    myco_buf_free(&state);
    return tail->made.bytes.size > 0;
}

static void send_piece(struct myco_rlog *log, uint64_t to, uint64_t offset)
{
    struct myco__tail *tail = &log->tail;
    size_t left = tail->made.bytes.size - (size_t)offset;
    struct myco__tail_view view = {.kind = MYCO__TAIL_SNAPSHOT,
        .index = tail->made.index,
        .size = tail->made.bytes.size,
        .offset = offset,
        .piece = myco_bytes(tail->made.bytes.data + offset,
            left < MYCO__TAIL_PIECE_SIZE ? left : MYCO__TAIL_PIECE_SIZE)};
    write_head(log, &view);
    tail->made.used_ms = myco_now_ms(log->env);
    myco__tail_send(log, to, &view);
}

static void begin_snapshot(struct myco_rlog *log, struct myco__tail_follower *follower)
{
    if (log->applied == 0 || !make_snapshot(log)) return;
    if (log->tail.made.bytes.size > MYCO__TAIL_SNAPSHOT_SIZE_MAX) {
        MYCO_ERROR(log->env->log, "consensus", "the state is too large for nodes that tail",
            "size=%zu max=%u", log->tail.made.bytes.size, MYCO__TAIL_SNAPSHOT_SIZE_MAX);
        return;
    }
    follower->next = UINT64_MAX; /* nothing is pushed until it asks again */
    send_piece(log, follower->id, 0);
}

static struct myco__tail_follower *find(struct myco_rlog *log, uint64_t id)
{
    for (unsigned i = 0; i < log->tail.follower_count; i++)
        if (log->tail.followers[i].id == id) return &log->tail.followers[i];
    return NULL;
}

void myco__feed_more(struct myco_rlog *log, uint64_t from, const struct myco__tail_view *view)
{
    struct myco__tail *tail = &log->tail;
    struct myco__tail_follower *follower = find(log, from);
    if (follower == NULL) return;
    if (tail->made.bytes.size == 0 || tail->made.index != view->index)
        begin_snapshot(log, follower); /* it is gone: another one, from its beginning */
    else if (view->offset < tail->made.bytes.size)
        send_piece(log, from, view->offset);
}

/* ── Entries ────────────────────────────────────────────────────────────────────────────────── */

static void fill(struct myco_rlog *log, struct myco__tail_view *view)
{
    size_t bodies = 0;
    while (view->entry_count < MYCO__TAIL_ENTRIES_MAX) {
        const struct myco__rlog_entry *entry = entry_at(log, view->index + 1 + view->entry_count);
        if (entry == NULL) return;
        if (bodies > 0 && bodies + entry->size > MYCO__RLOG_APPEND_SIZE_MAX) return;
        bodies += entry->size;
        view->entries[view->entry_count++] = (struct myco__rlog_entry_view){
            .term = entry->term, .type = entry->type, .body = myco_bytes(entry->body, entry->size)};
    }
}

/* One message. What does not fit into it the follower asks for once it has this; what is applied
 * meanwhile waits for that, too. */
static void feed(struct myco_rlog *log, struct myco__tail_follower *follower)
{
    struct myco__rlog_entry_view entries[MYCO__TAIL_ENTRIES_MAX];
    struct myco__tail_view view = {.kind = MYCO__TAIL_FEED, .entries = entries};
    if (follower->next == UINT64_MAX) return;
    view.index = follower->next - 1;
    view.index_term = view.index == 0 ? 0 : term_at(log, view.index);
    bool ahead = view.index > log->applied; /* of us */
    if (!ahead && view.index > 0 && view.index_term == 0) {
        begin_snapshot(log, follower);
        return;
    }
    write_head(log, &view);
    if (ahead) { /* a sign of life, at a place that it knows as well */
        view.index = log->applied;
        view.index_term = log->applied_term;
    } else {
        fill(log, &view);
        if (view.index < log->applied && view.entry_count == 0) {
            begin_snapshot(log, follower);
            return;
        }
        follower->next += view.entry_count;
    }
    myco__tail_send(log, follower->id, &view);
}

/* ── Followers ──────────────────────────────────────────────────────────────────────────────── */

static void refuse(struct myco_rlog *log, uint64_t to)
{
    struct myco__tail *tail = &log->tail;
    struct myco__tail_view view = {.kind = MYCO__TAIL_REFUSED};
    unsigned count = tail->follower_count;
    uint64_t at = count > 0 ? myco_random_below(log->env, count) : 0;
    for (unsigned i = 0; i < count && view.hint_count < MYCO__TAIL_HINTS_MAX; i++)
        view.hints[view.hint_count++] = tail->followers[(at + i) % count].id;
    myco__tail_send(log, to, &view);
}

/* A node of the asker's own subtree can't know a younger sign of the leader than the asker; what it
 * took on its way makes it look a little younger. */
static bool is_younger(struct myco_rlog *log, uint32_t asker_age_ms)
{
    struct myco__tail_view head = {0};
    write_head(log, &head);
    return head.distance == 0 || (uint64_t)head.age_ms + SIGN_MARGIN_MS <= asker_age_ms;
}

static bool acceptable(struct myco_rlog *log, uint64_t from, const struct myco__tail_view *view)
{
    uint8_t distance = myco__feed_distance(log);
    if (distance >= MYCO__TAIL_DISTANCE_MAX) return false;
    if (find(log, from) == NULL && !is_younger(log, view->age_ms)) return false;
    if (from == log->tail.feeder) return false;
    uint64_t term = view->index <= log->applied ? term_at(log, view->index) : 0;
    if (term == 0 || term == view->index_term) return true;
    MYCO_ERROR(log->env->log, "consensus", "a node that wants to follow has another history",
        "node=%016llx index=%llu", (unsigned long long)from, (unsigned long long)view->index);
    return true; /* it is told the entry's term, and stops */
}

void myco__feed_ask(struct myco_rlog *log, uint64_t from, const struct myco__tail_view *view)
{
    struct myco__tail *tail = &log->tail;
    struct myco__tail_follower *follower = find(log, from);
    if (!acceptable(log, from, view) ||
        (follower == NULL && tail->follower_count >= followers_max(log))) {
        myco__feed_forget(log, from);
        refuse(log, from);
        return;
    }
    if (follower == NULL) {
        follower = &tail->followers[tail->follower_count++];
        follower->id = from;
    }
    follower->next = view->index + 1;
    feed(log, follower);
}

void myco__feed_forget(struct myco_rlog *log, uint64_t id)
{
    struct myco__tail *tail = &log->tail;
    struct myco__tail_follower *follower = find(log, id);
    if (follower != NULL) *follower = tail->followers[--tail->follower_count];
}

void myco__feed_push(struct myco_rlog *log)
{
    struct myco__tail *tail = &log->tail;
    tail->push_due = false;
    tail->pushed_ms = myco_now_ms(log->env);
    if (myco__feed_distance(log) == MYCO__TAIL_NOWHERE) return; /* let them look elsewhere */
    for (unsigned i = 0; i < tail->follower_count; i++) feed(log, &tail->followers[i]);
}

void myco__feed_tick(struct myco_rlog *log, uint64_t now_ms)
{
    struct myco__tail *tail = &log->tail;
    if (tail->made.bytes.size > 0 && now_ms >= tail->made.used_ms + SNAPSHOT_KEPT_MS)
        myco_buf_free(&tail->made.bytes);
    bool root = myco__feed_distance(log) <= 1;
    if (root && tail->follower_count > 0 && now_ms + 10 >= tail->pushed_ms + KEEP_ALIVE_MS)
        myco__feed_push(log);
}
