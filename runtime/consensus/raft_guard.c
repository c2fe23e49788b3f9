/* A message from another server, made harmless before libraft sees it.
 *
 * libraft trusts its peers, and guards itself by assertions that Debian compiles out. What may come
 * from a network that delays and repeats, or from a peer that is wrong, is refused or mended here:
 *
 *   append, install   to a leader of the same term: refused (there is one leader in a term).
 *   append            what lies before our snapshot is committed and so the same in every later
 * leader's log: it is cut off, and the message is anchored at the snapshot. (One that starts at
 *                     entry 1 would otherwise be appended at the wrong index after compaction.)
 *                     It is cut before each RAFT_CHANGE; see raft_step.c.
 *   append's result   a rejection of what this follower had acknowledged is stale: refused; its
 * hint may not fall behind that either, or `next` falls to `match` and below. vote only for the
 * sender itself. vote's result     only to a candidate: libraft reads a candidate's fields in any
 * state. install           not while one is being installed (libraft leaks it). timeout now not to
 * an only voter, who would lead in the same term as the sender. */
#include "consensus/log_internal.h"

#include <stdio.h>

#include "base/mem.h"

struct from {
    uint64_t id;
    char address[20];
};

static bool refuse(struct myco_rlog *log)
{
    MYCO_METRIC_ADD(log->env->metrics, FRAMES_REFUSED, 1);
    return false;
}

static int step_message(
    struct myco_rlog *log, const struct from *from, struct raft_message *message)
{
    message->server_id = from->id;
    message->server_address = from->address;
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {.message = message}};
    int code = myco__rlog_step(log, &event);
    if (code != 0)
        myco__rlog_fail(log, myco__rlog_code(code), "message from server %s: %s", from->address,
            code == RAFT_SHUTDOWN ? "its log differs in a committed entry" : raft_strerror(code));
    return code;
}

/* ── Append ─────────────────────────────────────────────────────────────────────────────────── */

/* All bodies in one block, as libraft wants them; it takes the block, `entries` stays ours. */
static bool fill_batch(const struct myco__rlog_entry_view *views, size_t count,
    struct raft_buffer config, struct raft_entry *entries)
{
    size_t size = config.len + 1;
    for (size_t i = 0; i < count; i++) size += views[i].body.size;
    uint8_t *batch = raft_malloc(size), *at = batch;
    if (batch == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        struct myco_slice body = views[i].body;
        if (views[i].type == RAFT_CHANGE) body = myco_bytes(config.base, config.len);
        if (body.size > 0) memcpy(at, body.data, body.size);
        entries[i] = (struct raft_entry){.term = views[i].term,
            .type = (enum raft_entry_type)views[i].type,
            .buf = {.base = at, .len = body.size},
            .batch = batch};
        at += body.size;
    }
    return true;
}

/* `count` entries of the view from `at` on, of which only the first may be a RAFT_CHANGE. */
static int step_part(struct myco_rlog *log, const struct from *from,
    const struct myco__rlog_view *view, size_t at, size_t count)
{
    const struct myco__rlog_entry_view *views = view->entries + at;
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES,
        .append_entries = {.term = view->term,
            .prev_log_index = view->index + at,
            .prev_log_term = at == 0 ? view->index_term : views[-1].term,
            .leader_commit = view->commit,
            .n_entries = (unsigned)count}};
    struct raft_buffer config = {0};
    struct raft_entry *entries = NULL;
    int code = RAFT_NOMEM;
    if (count > 0) {
        if (views[0].type == RAFT_CHANGE &&
            myco__rlog_config_body_to_raft(views[0].body, &config) != 0)
            return code;
        entries = myco_try_alloc(count * sizeof *entries);
        if (entries == NULL || !fill_batch(views, count, config, entries)) goto out;
    }
    message.append_entries.entries = entries;
    code = step_message(log, from, &message);
out:
    myco_free(entries);
    raft_free(config.base);
    return code;
}

static bool have(struct myco_rlog *log, uint64_t index, uint64_t term)
{
    const struct myco__rlog_entry *entry = myco__rlog_cache_at(&log->cache, index);
    return entry != NULL && entry->term == term;
}

/* The configuration before a new one must be known as committed before that arrives. */
static int step_ahead_of_change(
    struct myco_rlog *log, const struct from *from, const struct myco__rlog_view *view, size_t at)
{
    uint64_t index = view->index + at + 1;
    if (log->raft.configuration_uncommitted_index == 0 ||
        have(log, index, view->entries[at].term) || view->commit <= raft_commit_index(&log->raft))
        return 0;
    int code = step_part(log, from, view, at, 0);
    myco__rlog_settle(log);
    return code;
}

static void step_parts(
    struct myco_rlog *log, const struct from *from, const struct myco__rlog_view *view)
{
    size_t at = 0;
    do {
        size_t count = 0;
        while (at + count < view->entry_count &&
               (count == 0 || view->entries[at + count].type != RAFT_CHANGE))
            count++;
        if (count > 0 && view->entries[at].type == RAFT_CHANGE &&
            step_ahead_of_change(log, from, view, at) != 0)
            return;
        if (log->failed != 0 || step_part(log, from, view, at, count) != 0) return;
        myco__rlog_settle(log);
        at += count;
    } while (log->failed == 0 && at < view->entry_count &&
             have(log, view->index + at, view->entries[at - 1].term));
}

/* Nothing that is older than our snapshot needs to be looked at again. */
static void anchor_at_snapshot(struct myco_rlog *log, struct myco__rlog_view *view)
{
    uint64_t snapshot = log->snapshot.index;
    if (view->index >= snapshot) return;
    uint64_t drop = snapshot - view->index;
    if (drop > view->entry_count) drop = view->entry_count;
    view->entry_count -= drop;
    if (view->entry_count > 0)
        memmove(view->entries, view->entries + drop, view->entry_count * sizeof *view->entries);
    view->index = snapshot;
    view->index_term = log->snapshot.term;
}

static bool leads_this_term(struct myco_rlog *log, uint64_t term)
{
    return raft_state(&log->raft) == RAFT_LEADER && term == raft_current_term(&log->raft);
}

/* To a leader of an older term, as libraft would: but it would send a field that it did not set. */
static bool tell_term(
    struct myco_rlog *log, const struct from *from, const struct myco__rlog_view *view)
{
    struct myco__rlog_view answer = {.type = RAFT_APPEND_ENTRIES_RESULT,
        .term = raft_current_term(&log->raft),
        .rejected = view->index};
    myco__rlog_send(log, from->id, false, &answer);
    return true;
}

static bool on_append(struct myco_rlog *log, const struct from *from, struct myco__rlog_view *view)
{
    if (leads_this_term(log, view->term)) return refuse(log);
    if (view->term < raft_current_term(&log->raft)) return tell_term(log, from, view);
    anchor_at_snapshot(log, view);
    /* after a cut the terms must still not fall */
    if (view->entry_count > 0 && view->entries[0].term < view->index_term) return refuse(log);
    step_parts(log, from, view);
    return true;
}

static bool on_append_result(
    struct myco_rlog *log, const struct from *from, const struct myco__rlog_view *view)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT,
        .append_entries_result = {.version = 2,
            .term = view->term,
            .rejected = view->rejected,
            .last_log_index = view->index}};
    raft_index match = 0;
    bool known =
        leads_this_term(log, view->term) && raft_match_index(&log->raft, from->id, &match) == 0;
    if (known && view->rejected > 0) {
        if (view->rejected <= match) return refuse(log);
        if (message.append_entries_result.last_log_index < match)
            message.append_entries_result.last_log_index = match;
    }
    return step_message(log, from, &message) == 0;
}

/* ── The others ─────────────────────────────────────────────────────────────────────────────── */

/* Our own role in the configuration that libraft uses; NULL: we are not in it. */
static int *own_role(struct myco_rlog *log)
{
    struct raft_configuration *configuration = &log->raft.configuration;
    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].id == log->self) return &configuration->servers[i].role;
    return NULL;
}

static bool knows_no_leader(struct myco_rlog *log, uint64_t candidate)
{
    raft_id leader = 0;
    const char *address;
    if (raft_state(&log->raft) != RAFT_FOLLOWER) return false;
    raft_leader(&log->raft, &leader, &address);
    uint64_t now_ms = myco_now_ms(log->env);
    return leader == candidate || now_ms >= log->heard_ms + log->election_ms;
}

static bool on_vote(
    struct myco_rlog *log, const struct from *from, const struct myco__rlog_view *view)
{
    if (view->pre_vote && view->term < raft_current_term(&log->raft)) {
        struct myco__rlog_view answer = {.type = RAFT_REQUEST_VOTE_RESULT,
            .term = raft_current_term(&log->raft),
            .pre_vote = true};
        myco__rlog_send(log, from->id, false, &answer);
        return true;
    }
    struct raft_message message = {.type = RAFT_REQUEST_VOTE,
        .request_vote = {.version = 2,
            .term = view->term,
            .candidate_id = from->id,
            .last_log_index = view->index,
            .last_log_term = view->index_term,
            .disrupt_leader = view->disrupt || knows_no_leader(log, from->id),
            .pre_vote = view->pre_vote}};
    int *role = own_role(log), kept = role != NULL ? *role : 0;
    if (role != NULL) *role = RAFT_VOTER;
    int code = step_message(log, from, &message);
    if (role != NULL) *role = kept; /* a vote changes no configuration: it is still there */
    return code == 0;
}

static bool on_vote_result(
    struct myco_rlog *log, const struct from *from, const struct myco__rlog_view *view)
{
    struct raft_message message = {.type = RAFT_REQUEST_VOTE_RESULT,
        .request_vote_result = {.version = 2,
            .term = view->term,
            .vote_granted = view->granted,
            .pre_vote = view->pre_vote}};
    if (raft_state(&log->raft) != RAFT_CANDIDATE) return true; /* late, which is no offence */
    if (view->pre_vote && view->granted && view->term > raft_current_term(&log->raft) + 1)
        return refuse(log);
    return step_message(log, from, &message) == 0;
}

static bool on_install(
    struct myco_rlog *log, const struct from *from, const struct myco__rlog_view *view)
{
    struct myco__rlog_snapshot snapshot;
    if (leads_this_term(log, view->term)) return refuse(log);
    if (view->term < raft_current_term(&log->raft)) return tell_term(log, from, view);
    if (log->install.active || log->install.restore) return true;
    if (myco__rlog_snapshot_read(view->snapshot, &snapshot) != 0) return refuse(log);
    if (snapshot.term > view->term) return refuse(log);

    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT,
        .install_snapshot = {.term = view->term,
            .last_index = snapshot.index,
            .last_term = snapshot.term,
            .conf_index = snapshot.config.index}};
    struct raft_buffer *data = &message.install_snapshot.data;
    if ((data->base = raft_malloc(view->snapshot.size)) == NULL) return true; /* it comes again */
    data->len = view->snapshot.size;
    memcpy(data->base, view->snapshot.data, data->len);
    if (myco__rlog_config_to_raft(&snapshot.config, &message.install_snapshot.conf) != 0) {
        raft_free(data->base);
        return true;
    }
    return step_message(log, from, &message) == 0;
}

static bool on_timeout_now(
    struct myco_rlog *log, const struct from *from, const struct myco__rlog_view *view)
{
    struct raft_message message = {.type = RAFT_TIMEOUT_NOW,
        .timeout_now = {
            .term = view->term, .last_log_index = view->index, .last_log_term = view->index_term}};
    if (myco__rlog_only_voter(log)) return true;
    return step_message(log, from, &message) == 0;
}

static void note_leader(struct myco_rlog *log, const struct from *from, uint8_t type)
{
    raft_id leader = 0;
    const char *address;
    if (type != RAFT_APPEND_ENTRIES && type != RAFT_INSTALL_SNAPSHOT) return;
    raft_leader(&log->raft, &leader, &address);
    if (leader != from->id) return;
    log->leader_term = raft_current_term(&log->raft);
    log->heard_ms = log->now_ms;
}

void myco_rlog_receive(struct myco_rlog *log, uint64_t from_id, struct myco_slice payload)
{
    struct myco__rlog_view view;
    struct from from = {.id = from_id};
    if (log->failed != 0) return;
    snprintf(from.address, sizeof from.address, "%016llx", (unsigned long long)from_id);
    if (from_id == 0 || from_id == log->self || myco__rlog_view_read(payload, &view) != 0) {
        refuse(log);
        return;
    }
    bool taken = false;
    switch (view.type) {
    case RAFT_APPEND_ENTRIES: taken = on_append(log, &from, &view); break;
    case RAFT_APPEND_ENTRIES_RESULT: taken = on_append_result(log, &from, &view); break;
    case RAFT_REQUEST_VOTE: taken = on_vote(log, &from, &view); break;
    case RAFT_REQUEST_VOTE_RESULT: taken = on_vote_result(log, &from, &view); break;
    case RAFT_INSTALL_SNAPSHOT: taken = on_install(log, &from, &view); break;
    case RAFT_TIMEOUT_NOW: taken = on_timeout_now(log, &from, &view); break;
    }
    if (taken && log->failed == 0 && view.term == raft_current_term(&log->raft))
        note_leader(log, &from, view.type);
    myco__rlog_view_free(&view);
    if (log->failed == 0) myco__rlog_settle(log);
}
