/* What the owner hears, always on a turn of the loop of its own: never from inside a call of the
 * owner's.
 *
 * Everything submitted in one turn goes into libraft in one step, and so to each follower in one
 * message. */
#include "consensus/log_internal.h"

#include "base/mem.h"

/* ── Submitting ─────────────────────────────────────────────────────────────────────────────── */

/* One block for all bodies: libraft's rule. */
static struct raft_entry *batch_entries(struct myco_rlog *log)
{
    struct raft_entry *entries = myco_try_alloc(log->batch_count * sizeof *entries);
    uint8_t *block = raft_malloc(log->batch_size + 1), *at = block;
    if (entries == NULL || block == NULL) {
        myco_free(entries);
        raft_free(block);
        return NULL;
    }
    for (size_t i = 0; i < log->batch_count; i++) {
        const struct myco__rlog_entry *from = &log->batch[i];
        memcpy(at, from->body, from->size);
        entries[i] = (struct raft_entry){.term = raft_current_term(&log->raft),
            .type = RAFT_COMMAND,
            .buf = {.base = at, .len = from->size},
            .batch = block};
        at += from->size;
    }
    return entries;
}

static void empty_batch(struct myco_rlog *log)
{
    for (size_t i = 0; i < log->batch_count; i++) myco_free(log->batch[i].body);
    log->batch_count = log->batch_size = 0;
}

/* When we lead no more, they are lost, and the owner hears of that through `changed`. */
static void flush_batch(struct myco_rlog *log)
{
    if (log->batch_count == 0) return;
    struct raft_entry *entries = batch_entries(log);
    int code = RAFT_NOMEM;
    if (entries != NULL) {
        struct raft_event event = {
            .type = RAFT_SUBMIT, .submit = {.entries = entries, .n = (unsigned)log->batch_count}};
        void *block = entries[0].batch;
        code = myco__rlog_step(log, &event);
        if (code != 0) {
            raft_free(block);
        } else {
            MYCO_METRIC_ADD(log->env->metrics, RAFT_PROPOSED, log->batch_count);
            MYCO_METRIC_ADD(log->env->metrics, RAFT_BATCHES, 1);
        }
    }
    myco_free(entries);
    empty_batch(log);
    if (code != 0 && code != RAFT_NOTLEADER)
        myco__rlog_fail(log, myco__rlog_code(code), "submit: %s", raft_strerror(code));
    myco__rlog_settle(log);
}

/* ── Applying ───────────────────────────────────────────────────────────────────────────────── */

static void restore(struct myco_rlog *log)
{
    struct myco__rlog_snapshot snapshot;
    struct myco_err err = {0};
    if (!log->install.restore) return;
    struct myco_slice bytes = myco_bytes(log->install.bytes.base, log->install.bytes.len);
    int status = myco__rlog_snapshot_read(bytes, &snapshot);
    if (status == 0 && snapshot.index > log->applied) { /* else the tail was ahead of it */
        log->applied = snapshot.index;
        log->applied_term = snapshot.term;
        status = log->events.restore(snapshot.index, snapshot.state, &err, log->events.data);
    }
    myco__rlog_install_free(log);
    if (status != 0)
        myco__rlog_fail(log, status, "restore a snapshot: %s",
            err.message[0] != '\0' ? err.message : myco_strerror(status));
}

static bool can_apply(const struct myco_rlog *log)
{
    return log->failed == 0 && !log->install.active && !log->install.restore &&
           log->applied < log->config_seen;
}

/* What is committed here, or what a neighbour brought; NULL: nothing. */
static const struct myco__rlog_entry *next_entry(struct myco_rlog *log, bool *tailed)
{
    const struct myco__rlog_entry *entry =
        can_apply(log) ? myco__rlog_cache_at(&log->cache, log->applied + 1) : NULL;
    *tailed = entry == NULL;
    return entry != NULL ? entry : myco__tail_next(log);
}

static void apply(struct myco_rlog *log)
{
    const struct myco__rlog_entry *entry;
    bool tailed;
    for (unsigned count = 0; count < MYCO__RLOG_APPLY_MAX; count++) {
        if ((entry = next_entry(log, &tailed)) == NULL) return;
        log->applied++;
        log->applied_term = entry->term;
        log->tail.push_due |= log->tail.follower_count > 0;
        if (entry->type == RAFT_COMMAND)
            log->events.apply(
                log->applied, entry->term, myco_bytes(entry->body, entry->size), log->events.data);
        if (tailed) myco__tail_applied(log, entry);
    }
}

/* ── Telling ────────────────────────────────────────────────────────────────────────────────── */

static bool barrier_applied(struct myco_rlog *log)
{
    return raft_state(&log->raft) == RAFT_LEADER && log->barrier_index != 0 &&
           log->applied >= log->barrier_index && log->barrier_term == raft_current_term(&log->raft);
}

static bool has_news(const struct myco_rlog *log)
{
    return log->told.leader != myco_rlog_leader(log) ||
           log->told.is_leader != myco_rlog_is_leader(log) ||
           log->told.config_index != myco__tail_config(log)->index;
}

static void tell(struct myco_rlog *log)
{
    if (has_news(log)) {
        log->told.leader = myco_rlog_leader(log);
        log->told.is_leader = myco_rlog_is_leader(log);
        log->told.config_index = myco__tail_config(log)->index;
        log->tail.push_due |= log->tail.follower_count > 0;
        log->events.changed(log->events.data);
    }
    if (log->failed == 0 && !log->established && barrier_applied(log)) {
        log->established = true;
        log->events.established(log->barrier_term, log->events.data);
    }
}

static bool has_work(struct myco_rlog *log)
{
    if (log->failed != 0) return !log->failed_told;
    return log->batch_count > 0 || log->install.restore || can_apply(log) || has_news(log) ||
           log->tail.snapshot.whole || log->tail.push_due || myco__tail_next(log) != NULL ||
           (!log->established && barrier_applied(log));
}

static void pump(void *data)
{
    struct myco_rlog *log = data;
    log->pump_queued = false;
    if (log->failed == 0) flush_batch(log);
    if (log->failed == 0) restore(log);
    if (log->failed == 0) myco__tail_restore(log);
    apply(log);
    myco__rlog_snapshot_maybe(log);
    if (log->failed == 0) tell(log);
    if (log->failed == 0 && log->tail.push_due) myco__feed_push(log);
    if (log->failed != 0 && !log->failed_told) {
        empty_batch(log);
        log->failed_told = true;
        log->events.failed(log->failed, log->failure, log->events.data);
        return;
    }
    myco__rlog_pump_later(log);
}

void myco__rlog_pump_later(struct myco_rlog *log)
{
    if (log->pump_queued || !has_work(log)) return;
    log->pump_queued = true;
    myco_defer(log->env, &log->pump, pump, log);
}
