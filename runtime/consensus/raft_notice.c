/* Telling followers at once that something is committed.
 *
 * libraft tells them with the next entries, or with the next heartbeat: up to 50 ms later, in which
 * they serve what was taken from them, or not yet what was given to them. So what no message has
 * carried on within a millisecond goes in one of our own: an append without entries, anchored at an
 * entry that the follower has acknowledged. It is what libraft itself would send, and its answer
 * says nothing new.
 *
 * And the other way round: one without a vote does not stand, so it needs no sign of the leader
 * each 50 ms; once it has acknowledged the whole log and knows what is committed, four a second
 * will do.
 *
 * (Shortening libraft's heartbeat instead takes any follower that has not answered within it for
 * lost, and sends all again that it was sent before.) */
#include "consensus/log_internal.h"

#define WAIT_MS 1
#define IDLE_MS 250 /* between two signs of life for who has no vote */

/* Up to where `id` was told of commits, in this term; NULL: more servers than places. */
static struct myco__rlog_told *told(struct myco_rlog *log, uint64_t id)
{
    for (size_t i = 0; i < MYCO__RLOG_SERVERS_MAX; i++) {
        if (log->notice.told[i].id == 0) log->notice.told[i].id = id;
        if (log->notice.told[i].id == id) return &log->notice.told[i];
    }
    return NULL;
}

void myco__rlog_notice_sent(struct myco_rlog *log, uint64_t to, uint64_t commit, uint64_t last)
{
    struct myco__rlog_told *known = told(log, to);
    uint64_t news = commit < last ? commit : last;
    if (known == NULL) return;
    if (known->index < news) known->index = news;
    known->at_ms = myco_now_ms(log->env);
}

static bool has_vote(const struct myco_rlog *log, uint64_t id)
{
    const struct raft_configuration *configuration = &log->raft.configuration;
    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].id == id) return configuration->servers[i].role == RAFT_VOTER;
    return false;
}

bool myco__rlog_notice_idle(struct myco_rlog *log, uint64_t to)
{
    const struct myco__rlog_told *known = told(log, to);
    raft_index match = 0;
    if (known == NULL || has_vote(log, to)) return false;
    if (raft_match_index(&log->raft, to, &match) != 0 || match != raft_last_index(&log->raft))
        return false;
    if (known->index < raft_commit_index(&log->raft)) return false;
    return known->at_ms != 0 && myco_now_ms(log->env) < known->at_ms + IDLE_MS;
}

/* What `server` has acknowledged, is committed, and was not told; 0: nothing. */
static uint64_t news_for(struct myco_rlog *log, const struct raft_server *server)
{
    raft_index match = 0, commit = raft_commit_index(&log->raft);
    if (server->id == log->self || server->role == RAFT_SPARE) return 0;
    if (raft_match_index(&log->raft, server->id, &match) != 0) return 0;
    uint64_t news = match < commit ? match : commit;
    const struct myco__rlog_told *known = told(log, server->id);
    return known != NULL && known->index < news ? news : 0;
}

static void send_notice(struct myco_rlog *log, uint64_t to, uint64_t index)
{
    const struct myco__rlog_entry *entry = myco__rlog_cache_at(&log->cache, index);
    struct myco__rlog_view view = {.type = RAFT_APPEND_ENTRIES,
        .term = raft_current_term(&log->raft),
        .index = index,
        .index_term = entry != NULL ? entry->term : log->snapshot.term,
        .commit = raft_commit_index(&log->raft)};
    myco__rlog_notice_sent(log, to, view.commit, index);
    if (entry != NULL || index == log->snapshot.index) myco__rlog_send(log, to, false, &view);
}

static void on_notice(void *data)
{
    struct myco_rlog *log = data;
    const struct raft_configuration *configuration = &log->raft.configuration;
    if (log->failed != 0 || raft_state(&log->raft) != RAFT_LEADER) return;
    for (unsigned i = 0; i < configuration->n; i++) {
        uint64_t index = news_for(log, &configuration->servers[i]);
        if (index != 0) send_notice(log, configuration->servers[i].id, index);
    }
}

void myco__rlog_notice_init(struct myco_rlog *log)
{
    myco_timer_init(&log->notice.timer, log->env, on_notice, log);
}

void myco__rlog_notice_settle(struct myco_rlog *log)
{
    const struct raft_configuration *configuration = &log->raft.configuration;
    if (raft_state(&log->raft) != RAFT_LEADER || myco_timer_active(&log->notice.timer)) return;
    for (unsigned i = 0; i < configuration->n; i++) {
        if (news_for(log, &configuration->servers[i]) == 0) continue;
        myco_timer_start(&log->notice.timer, WAIT_MS, 0);
        return;
    }
}
