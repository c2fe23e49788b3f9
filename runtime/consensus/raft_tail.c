/* Following what is committed from a neighbour, for nodes that are not in the Raft group.
 *
 *     leader ── group (at most 7) ── tailer ── tailer ── …      each feeds a bounded number
 *
 *   follower                        feeder
 *     ask, from entry 41       →      takes it, or refuses and names those that it feeds itself
 *     ←  feed: entries 42 …           at once; then whenever something is applied there, and
 *                                     otherwise once a second
 *     ←  snapshot: a piece            where 42 is not kept any more
 *     more: the next piece     →
 *
 * A feeder sends only what it has applied, so what comes is committed; it is applied here in order
 * behind what was applied before, from whichever source: `applied` is one number for both, and an
 * entry that libraft brings again is skipped. So a node that joins the group goes on where its tail
 * ended, and one that was removed from it tails from there.
 *
 * How a loop of followers is kept out: each message says how far the sender is from the leader, and
 * how long ago a node of the group last heard the leader. An asker is taken only by a node that
 * knows a younger sign of the leader's life than he does, and so by none of his own subtree; should
 * a loop arise all the same, the age grows in it, and all in it look for another feeder after
 * STALE_MS.
 *
 * On disk a node that tails keeps nothing but the file `tail`: that it is part of a cluster, and
 * who was in the group. It keeps it from forming a new cluster with others that tail, should they
 * start while the group is out of reach. The state it gets anew, as a snapshot. */
#include "consensus/log_internal.h"

#include <stdio.h>

#include "base/mem.h"

#define HEARD_MS      1000 /* a leader that is silent for so long is not heard any more */
#define STALE_MS      3500 /* a feeder that knows no younger sign of the leader is left */
#define ANSWER_MS     500  /* for the first answer of a feeder, and for each piece of a snapshot */
#define TICK_MS       500  /* while fed, or in the group */
#define TRY_MS        20   /* between two nodes that are asked: the first times … */
#define TRY_MS_MAX    1000 /* … and later */
#define REDIRECTS_MAX 16   /* refusals in a row that are followed at once */
#define MARK          "tail"

/* ── Where this node stands ─────────────────────────────────────────────────────────────────── */

bool myco__tail_enabled(const struct myco_rlog *log)
{
    return log->events.send_tail != NULL;
}

static uint64_t raft_config_index(const struct myco_rlog *log)
{
    uint64_t uncommitted = log->raft.configuration_uncommitted_index;
    return uncommitted != 0 ? uncommitted : log->raft.configuration_committed_index;
}

const struct myco__rlog_config *myco__tail_config(const struct myco_rlog *log)
{
    return log->tail.config.index > log->config.index ? &log->tail.config : &log->config;
}

bool myco__tail_grouped(const struct myco_rlog *log)
{
    const struct raft_configuration *configuration = &log->raft.configuration;
    if (log->tail.config.index > raft_config_index(log))
        return myco__rlog_config_find(&log->tail.config, log->self) != NULL;
    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].id == log->self) return true;
    return false;
}

bool myco__tail_heard(const struct myco_rlog *log)
{
    struct raft *raft = (struct raft *)&log->raft; /* it is only asked */
    if (raft_state(raft) == RAFT_LEADER) return true;
    return log->heard_ms != 0 && log->leader_term == raft_current_term(raft) &&
           myco_now_ms(log->env) < log->heard_ms + HEARD_MS;
}

bool myco__tail_fed(const struct myco_rlog *log)
{
    const struct myco__tail *tail = &log->tail;
    return tail->feeder != 0 && tail->live && myco_now_ms(log->env) < tail->root_ms + STALE_MS;
}

/* Fresh nodes do not ask before a cluster is there; nodes of the group not while their leader may
 * yet be elected. */
static bool wants_feeder(const struct myco_rlog *log)
{
    if (log->failed != 0 || !myco__tail_enabled(log)) return false;
    if (!myco__tail_grouped(log)) return !myco_rlog_empty(log) || log->tail.hint != 0;
    if (myco__tail_heard(log)) return log->config_seen < log->applied;
    uint64_t quiet = log->heard_ms > log->tail.started_ms ? log->heard_ms : log->tail.started_ms;
    return myco_now_ms(log->env) >= quiet + HEARD_MS;
}

/* ── The mark ───────────────────────────────────────────────────────────────────────────────── */

static void mark_path(const struct myco_rlog *log, char path[MYCO__RLOG_PATH_MAX])
{
    snprintf(path, MYCO__RLOG_PATH_MAX, "%s/%s", log->folder, MARK);
}

static int write_mark(struct myco_rlog *log, uint64_t index, uint64_t term)
{
    struct myco__rlog_snapshot mark = {.index = index, .term = term, .config = log->tail.config};
    struct myco_buf bytes = {0};
    char path[MYCO__RLOG_PATH_MAX];
    if (!myco_rlog_empty(log)) return 0; /* its log, or the mark, says as much */
    mark_path(log, path);
    myco__rlog_snapshot_write(&bytes, &mark);
    int status = bytes.failed ? MYCO_ENOMEM
                              : log->disk->ops->put_now(log->disk, path, myco_buf_as_slice(&bytes));
    myco_buf_free(&bytes);
    if (status != 0)
        myco__rlog_fail(log, status, "write %s: %s", path, myco_strerror(status));
    else
        log->tail.marked = true;
    return status;
}

static int read_mark(struct myco_rlog *log, struct myco_err *err)
{
    struct myco__rlog_snapshot mark;
    struct myco_buf bytes = {0};
    struct myco_file *file;
    char path[MYCO__RLOG_PATH_MAX];
    uint64_t size = 0;
    size_t got = 0;
    mark_path(log, path);
    int status = log->disk->ops->open(log->disk, path, 0, &file, err);
    if (status == MYCO_ENOTFOUND) {
        if (err != NULL) *err = (struct myco_err){0};
        return 0;
    }
    if (status != 0) return status;
    status = log->disk->ops->size(file, &size);
    if (status == 0 && !myco_buf_reserve(&bytes, (size_t)size + 1)) status = MYCO_ENOMEM;
    if (status == 0) status = log->disk->ops->read(file, 0, bytes.data, (size_t)size, &got);
    log->disk->ops->close(file);
    bool good = status == 0 && myco__rlog_snapshot_read(myco_bytes(bytes.data, got), &mark) == 0;
    if (good) {
        log->tail.marked = true;
        log->tail.config = mark.config;
    }
    myco_buf_free(&bytes);
    if (status != 0) return myco_err(err, status, "read %s: %s", path, myco_strerror(status));
    if (good) return 0;
    return myco_err(err, MYCO_ECORRUPT, "%s at offset 0: does not fit its checksum", path);
}

/* ── Asking ─────────────────────────────────────────────────────────────────────────────────── */

void myco__tail_send(struct myco_rlog *log, uint64_t to, const struct myco__tail_view *view)
{
    struct myco_buf payload = {0};
    myco__tail_view_write(&payload, view);
    if (payload.failed)
        myco_buf_free(&payload); /* as if the network had lost it */
    else
        log->events.send_tail(to, view->kind == MYCO__TAIL_SNAPSHOT, &payload, log->events.data);
}

static bool cache_in_use(const struct myco_rlog *log)
{
    const struct myco__rlog_cache *cache = &log->tail.cache;
    return cache->count > 0 && cache->first <= log->applied + 1 &&
           myco__rlog_cache_last(cache) > log->applied;
}

/* The last entry that is here, applied or about to be. */
static uint64_t have(const struct myco_rlog *log)
{
    return cache_in_use(log) ? myco__rlog_cache_last(&log->tail.cache) : log->applied;
}

static uint64_t term_of(const struct myco_rlog *log, uint64_t index)
{
    const struct myco__rlog_entry *entry = myco__rlog_cache_at(&log->tail.cache, index);
    if (entry != NULL) return entry->term;
    return index == log->applied ? log->applied_term : 0;
}

/* Of the youngest sign of the leader that we know, by whichever way. */
static uint32_t sign_age(const struct myco_rlog *log)
{
    uint64_t sign_ms = log->tail.root_ms, now_ms = myco_now_ms(log->env);
    if (log->heard_ms > sign_ms) sign_ms = log->heard_ms;
    uint64_t age_ms = now_ms > sign_ms ? now_ms - sign_ms : 0;
    return sign_ms == 0 || age_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)age_ms;
}

static void ask(struct myco_rlog *log, uint64_t node)
{
    struct myco__tail *tail = &log->tail;
    uint64_t index = have(log);
    struct myco__tail_view view = {.kind = MYCO__TAIL_ASK,
        .index = index,
        .index_term = term_of(log, index),
        .age_ms = sign_age(log)};
    if (tail->feeder != node) tail->live = false;
    tail->feeder = node;
    tail->asked = true;
    tail->asked_ms = myco_now_ms(log->env);
    myco__tail_send(log, node, &view);
}

static uint64_t take_hint(struct myco_rlog *log)
{
    struct myco__tail *tail = &log->tail;
    while (tail->hint_count > 0) {
        unsigned at = (unsigned)myco_random_below(log->env, tail->hint_count);
        uint64_t id = tail->hints[at];
        tail->hints[at] = tail->hints[--tail->hint_count];
        if (id != log->self && id != 0) return id;
    }
    return 0;
}

/* One of the neighbours by lot; 0: there is none. */
static uint64_t any_peer(struct myco_rlog *log)
{
    uint32_t cursor = 0, count = 0;
    uint64_t id, chosen = 0;
    if (log->events.next_peer == NULL) return 0;
    while (log->events.next_peer(&cursor, &id, log->events.data)) count++;
    if (count == 0) return 0;
    uint64_t at = myco_random_below(log->env, count);
    for (cursor = 0; log->events.next_peer(&cursor, &id, log->events.data) && chosen == 0; at--)
        if (at == 0) chosen = id;
    return chosen;
}

/* A server of the group as it was last known: every fourth time, should no neighbour be fed. */
static uint64_t any_server(struct myco_rlog *log)
{
    const struct myco__rlog_config *config = myco__tail_config(log);
    if (config->count == 0) return log->tail.hint;
    return config->servers[myco_random_below(log->env, config->count)].id;
}

static void try_next(struct myco_rlog *log)
{
    struct myco__tail *tail = &log->tail;
    uint64_t node = take_hint(log);
    tail->feeder = 0;
    tail->asked = false;
    tail->tries++;
    if (node == 0 && tail->tries % 4 == 0) node = any_server(log);
    if (node == 0) node = any_peer(log);
    if (node != 0 && node != log->self) ask(log, node);
}

static uint64_t patience(struct myco_rlog *log)
{
    unsigned doublings = log->tail.tries / 4;
    uint64_t ms = doublings < 6 ? (uint64_t)TRY_MS << doublings : TRY_MS_MAX;
    if (ms > TRY_MS_MAX) ms = TRY_MS_MAX;
    return ms / 2 + myco_random_below(log->env, ms);
}

void myco__tail_stop(struct myco_rlog *log)
{
    struct myco__tail *tail = &log->tail;
    struct myco__tail_view view = {.kind = MYCO__TAIL_STOP};
    if (tail->feeder != 0) myco__tail_send(log, tail->feeder, &view);
    tail->feeder = 0;
    tail->asked = false;
    tail->tries = 0;
    tail->distance = MYCO__TAIL_NOWHERE;
    tail->snapshot.index = 0;
    tail->snapshot.whole = false;
    myco_buf_free(&tail->snapshot.bytes);
    myco__rlog_cache_reset(&tail->cache, log->applied + 1);
}

static void on_tick(void *data)
{
    struct myco_rlog *log = data;
    struct myco__tail *tail = &log->tail;
    uint64_t now_ms = myco_now_ms(log->env), next_ms = TICK_MS;
    if (log->failed != 0) return;
    if (!wants_feeder(log)) {
        if (tail->feeder != 0) myco__tail_stop(log);
    } else if (myco__tail_fed(log)) {
        if (tail->asked && now_ms >= tail->asked_ms + ANSWER_MS) ask(log, tail->feeder);
    } else if (tail->feeder != 0 && tail->asked && now_ms < tail->asked_ms + ANSWER_MS) {
        next_ms = tail->asked_ms + ANSWER_MS - now_ms;
    } else {
        try_next(log);
        next_ms = tail->feeder != 0 ? ANSWER_MS : patience(log);
    }
    myco__feed_tick(log, now_ms);
    if (myco__tail_grouped(log) && tail->cache.count > 0 && tail->feeder == 0)
        myco__rlog_cache_reset(&tail->cache, log->applied + 1);
    myco_timer_start(&tail->timer, next_ms, 0);
    myco__rlog_pump_later(log); /* the leader that we know may be another, or none */
}

void myco_rlog_tail_hint(struct myco_rlog *log, uint64_t leader)
{
    struct myco__tail *tail = &log->tail;
    if (log->failed != 0 || !myco__tail_enabled(log) || leader == 0) return;
    bool news = tail->hint != leader;
    tail->hint = leader;
    if (!news || tail->feeder != 0 || !wants_feeder(log)) return;
    tail->tries = 0;
    myco_timer_start(&tail->timer, 1 + myco_random_below(log->env, TRY_MS), 0);
}

/* ── Being fed ──────────────────────────────────────────────────────────────────────────────── */

static void lose_feeder(struct myco_rlog *log)
{
    log->tail.feeder = 0;
    log->tail.asked = false;
    myco_timer_start(&log->tail.timer, 1 + myco_random_below(log->env, TRY_MS), 0);
    myco__rlog_pump_later(log);
}

/* false: it is no good as a feeder. */
static bool take_head(struct myco_rlog *log, const struct myco__tail_view *view)
{
    struct myco__tail *tail = &log->tail;
    uint64_t now_ms = myco_now_ms(log->env);
    if (view->distance >= MYCO__TAIL_DISTANCE_MAX || view->age_ms >= STALE_MS) {
        if (tail->asked) lose_feeder(log); /* else we wait for younger news, until ours is stale */
        return false;
    }
    tail->asked = false;
    tail->live = true;
    tail->tries = 0;
    tail->hint_count = 0;
    tail->term = view->term;
    tail->leader = view->leader;
    tail->distance = (uint8_t)(view->distance + 1);
    uint64_t root_ms = now_ms > view->age_ms ? now_ms - view->age_ms : 0;
    if (root_ms > tail->root_ms) tail->root_ms = root_ms;
    tail->push_due = true;
    return true;
}

/* Two histories: ours, or that of the whole cluster, is wrong. Nothing may be added to either. */
static void conflict(struct myco_rlog *log, uint64_t index)
{
    myco__rlog_fail(log, MYCO_ECORRUPT,
        "entry %llu of the log differs from the one of node %016llx: this node's data folder is of "
        "another cluster; move it away, and the node joins as a new one",
        (unsigned long long)index, (unsigned long long)log->tail.feeder);
}

static int take_entry(
    struct myco_rlog *log, uint64_t index, const struct myco__rlog_entry_view *entry)
{
    if (!cache_in_use(log) &&
        (log->tail.cache.count == 0 || myco__rlog_cache_last(&log->tail.cache) + 1 != index))
        myco__rlog_cache_reset(&log->tail.cache, index);
    return myco__rlog_cache_append(&log->tail.cache, entry->term, entry->type, entry->body);
}

static void take_feed(struct myco_rlog *log, const struct myco__tail_view *view)
{
    uint64_t last = have(log), known = term_of(log, view->index);
    if (view->index > last) { /* something was lost on the way */
        ask(log, log->tail.feeder);
        return;
    }
    if (known != 0 && known != view->index_term) {
        conflict(log, view->index);
        return;
    }
    for (size_t i = 0; i < view->entry_count; i++) {
        uint64_t index = view->index + 1 + i;
        if (index > last && take_entry(log, index, &view->entries[i]) != 0) return;
        known = index <= last ? term_of(log, index) : 0;
        if (known != 0 && known != view->entries[i].term) conflict(log, index);
    }
    if (view->entry_count > 0 && view->applied > have(log)) ask(log, log->tail.feeder);
}

/* Pieces come in order, each asked for; one of another snapshot begins anew. */
static void take_piece(struct myco_rlog *log, const struct myco__tail_view *view)
{
    struct myco__tail *tail = &log->tail;
    log->tail.asked_ms = myco_now_ms(log->env);
    if (view->index <= log->applied || tail->snapshot.whole) return;
    if (view->offset == 0) {
        myco_buf_clear(&tail->snapshot.bytes);
        tail->snapshot.index = view->index;
        tail->snapshot.size = view->size;
    }
    if (tail->snapshot.index != view->index || tail->snapshot.size != view->size ||
        tail->snapshot.bytes.size != view->offset)
        return; /* late, or twice */
    myco_buf_bytes(&tail->snapshot.bytes, view->piece.data, view->piece.size);
    if (tail->snapshot.bytes.failed) {
        myco_buf_free(&tail->snapshot.bytes); /* asked for anew */
        tail->snapshot.index = 0;
        return;
    }
    tail->snapshot.whole = tail->snapshot.bytes.size == view->size;
    tail->asked = true; /* its next piece is awaited, or what follows it */
    struct myco__tail_view more = {
        .kind = MYCO__TAIL_MORE, .index = view->index, .offset = tail->snapshot.bytes.size};
    if (!tail->snapshot.whole) myco__tail_send(log, tail->feeder, &more);
}

static void take_refusal(struct myco_rlog *log, const struct myco__tail_view *view)
{
    struct myco__tail *tail = &log->tail;
    tail->hint_count = view->hint_count;
    memcpy(tail->hints, view->hints, view->hint_count * sizeof view->hints[0]);
    tail->feeder = 0;
    tail->asked = false;
    if (view->hint_count > 0 && tail->tries < REDIRECTS_MAX && wants_feeder(log)) {
        try_next(log);
        if (tail->feeder != 0) {
            myco_timer_start(&tail->timer, ANSWER_MS, 0);
            return;
        }
    }
    myco_timer_start(&tail->timer, patience(log), 0);
    myco__rlog_pump_later(log);
}

static void from_feeder(struct myco_rlog *log, const struct myco__tail_view *view)
{
    if (view->kind == MYCO__TAIL_REFUSED)
        take_refusal(log, view);
    else if (take_head(log, view)) {
        if (view->kind == MYCO__TAIL_FEED)
            take_feed(log, view);
        else
            take_piece(log, view);
    }
    myco__rlog_pump_later(log);
}

static void from_anyone(struct myco_rlog *log, uint64_t from, const struct myco__tail_view *view)
{
    struct myco__tail_view stop = {.kind = MYCO__TAIL_STOP};
    switch (view->kind) {
    case MYCO__TAIL_ASK: myco__feed_ask(log, from, view); break;
    case MYCO__TAIL_MORE: myco__feed_more(log, from, view); break;
    case MYCO__TAIL_STOP: myco__feed_forget(log, from); break;
    case MYCO__TAIL_REFUSED: break; /* late */
    default: myco__tail_send(log, from, &stop);
    }
}

void myco_rlog_tail_receive(struct myco_rlog *log, uint64_t from, struct myco_slice payload)
{
    struct myco__tail_view view;
    if (log->failed != 0 || !myco__tail_enabled(log)) return;
    int status =
        from == 0 || from == log->self ? MYCO_EPROTO : myco__tail_view_read(payload, &view);
    if (status != 0) {
        if (status == MYCO_EPROTO) MYCO_METRIC_ADD(log->env->metrics, FRAMES_REFUSED, 1);
        return;
    }
    bool feeds = view.kind == MYCO__TAIL_FEED || view.kind == MYCO__TAIL_SNAPSHOT ||
                 view.kind == MYCO__TAIL_REFUSED;
    if (feeds && from == log->tail.feeder)
        from_feeder(log, &view);
    else
        from_anyone(log, from, &view);
    myco__tail_view_free(&view);
}

void myco_rlog_tail_peer_down(struct myco_rlog *log, uint64_t peer)
{
    if (log->failed != 0 || !myco__tail_enabled(log)) return;
    myco__feed_forget(log, peer);
    if (log->tail.feeder == peer) lose_feeder(log);
}

/* ── Applying: for the pump ─────────────────────────────────────────────────────────────────── */

void myco__tail_restore(struct myco_rlog *log)
{
    struct myco__tail *tail = &log->tail;
    struct myco__rlog_snapshot snapshot;
    struct myco_err err = {0};
    if (!tail->snapshot.whole) return;
    struct myco_buf bytes = {0};
    myco_buf_move(&bytes, &tail->snapshot.bytes);
    tail->snapshot.whole = false;
    tail->snapshot.index = 0;
    int status = myco__rlog_snapshot_read(myco_buf_as_slice(&bytes), &snapshot);
    if (status != 0) {
        MYCO_ERROR(log->env->log, "consensus", "a snapshot from a neighbour is damaged",
            "node=%016llx", (unsigned long long)tail->feeder);
        MYCO_METRIC_ADD(log->env->metrics, FRAMES_REFUSED, 1);
    } else if (snapshot.index > log->applied) {
        if (snapshot.config.index > tail->config.index) tail->config = snapshot.config;
        status = write_mark(log, snapshot.index, snapshot.term);
        if (status == 0) {
            log->applied = snapshot.index;
            log->applied_term = snapshot.term;
            myco__rlog_cache_reset(&tail->cache, snapshot.index + 1);
            status = log->events.restore(snapshot.index, snapshot.state, &err, log->events.data);
            if (status != 0)
                myco__rlog_fail(log, status, "restore a snapshot: %s",
                    err.message[0] != '\0' ? err.message : myco_strerror(status));
        }
    }
    myco_buf_free(&bytes);
    if (log->failed == 0 && tail->feeder != 0) ask(log, tail->feeder);
}

const struct myco__rlog_entry *myco__tail_next(const struct myco_rlog *log)
{
    if (!myco__tail_enabled(log) || log->failed != 0) return NULL;
    return myco__rlog_cache_at(&log->tail.cache, log->applied + 1);
}

static void keep_less(struct myco_rlog *log)
{
    struct myco__rlog_cache *cache = &log->tail.cache;
    uint64_t last = myco__rlog_cache_last(cache);
    if (cache->count < 2 * MYCO__TAIL_KEPT_MAX &&
        myco__rlog_cache_bytes(cache, cache->first) < 2 * MYCO__TAIL_KEPT_SIZE_MAX)
        return;
    uint64_t drop = cache->first + cache->count / 2 - 1;
    if (drop > log->applied) drop = log->applied;
    if (drop < last) myco__rlog_cache_drop_to(cache, drop);
}

/* Of what the tail brought: `entry` is about to be told to the owner. */
void myco__tail_applied(struct myco_rlog *log, const struct myco__rlog_entry *entry)
{
    struct myco__tail *tail = &log->tail;
    struct myco__rlog_config config;
    if (entry->type == RAFT_CHANGE && log->applied > tail->config.index &&
        myco__rlog_config_read(myco_bytes(entry->body, entry->size), &config) == 0) {
        config.index = log->applied;
        tail->config = config;
    }
    if (write_mark(log, log->applied, entry->term) == 0) keep_less(log);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

int myco__tail_init(struct myco_rlog *log, struct myco_err *err)
{
    struct myco__tail *tail = &log->tail;
    tail->cache.first = 1;
    tail->distance = MYCO__TAIL_NOWHERE;
    tail->started_ms = myco_now_ms(log->env);
    myco_timer_init(&tail->timer, log->env, on_tick, log);
    if (!myco__tail_enabled(log)) return 0;
    myco_timer_start(&tail->timer, 1 + myco_random_below(log->env, TRY_MS), 0);
    return read_mark(log, err);
}

void myco__tail_close(struct myco_rlog *log)
{
    struct myco__tail *tail = &log->tail;
    if (tail->timer.env != NULL) myco_timer_stop(&tail->timer);
    myco__rlog_cache_free(&tail->cache);
    myco_buf_free(&tail->snapshot.bytes);
    myco_buf_free(&tail->made.bytes);
}

void myco_rlog_tail(const struct myco_rlog *log, struct myco_rlog_tail *tail)
{
    *tail = (struct myco_rlog_tail){.feeder = log->tail.asked ? 0 : log->tail.feeder,
        .distance = myco__feed_distance(log),
        .followers = log->tail.follower_count};
}
