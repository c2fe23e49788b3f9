/* Who takes part, changed one server at a time; and an election that does not wait for a
 * time-out. */
#include "consensus/log_internal.h"

#include <stdlib.h>

#define STAGGER_MS    25 /* between one voter and the next, so that they do not split the vote */
#define STILL_BUSY_MS 5  /* libraft starts no election while its own entries are being written */

/* ── Changes of the configuration ───────────────────────────────────────────────────────────── */

static int submit_config(struct myco_rlog *log, const struct myco__rlog_config *config)
{
    struct raft_configuration raft;
    struct raft_buffer body;
    if (myco__rlog_config_to_raft(config, &raft) != 0) return MYCO_ENOMEM;
    int code = raft_configuration_encode(&raft, &body);
    raft_configuration_close(&raft);
    if (code == 0) code = myco__rlog_submit_entry(log, RAFT_CHANGE, &body);
    return myco__rlog_code(code);
}

/* The present configuration with one server's role changed; with it in or out. */
static int changed_config(
    const struct myco_rlog *log, uint64_t id, enum myco_role role, struct myco__rlog_config *config)
{
    *config = log->config;
    size_t at = 0;
    while (at < config->count && config->servers[at].id != id) at++;
    bool present = at < config->count;
    if (!present && role == MYCO_ROLE_NONE) return MYCO_ENOTFOUND;
    if (!present && role == MYCO_ROLE_VOTER) return MYCO_EINVAL; /* it has to be added first */
    if (!present && config->count == MYCO__RLOG_SERVERS_MAX) return MYCO_EFULL;
    if (role == MYCO_ROLE_NONE) {
        config->count--;
        memmove(&config->servers[at], &config->servers[at + 1],
            (config->count - at) * sizeof config->servers[0]);
    } else {
        config->servers[at] = (struct myco_log_server){.id = id, .role = role};
        if (!present) config->count++;
    }
    return myco__rlog_config_valid(config) ? 0 : MYCO_EINVAL; /* no voter would be left */
}

static bool is_caught_up(struct myco_rlog *log, uint64_t id)
{
    raft_index match = 0;
    return raft_match_index(&log->raft, id, &match) == 0 && match == raft_last_index(&log->raft);
}

int myco_rlog_assign(struct myco_rlog *log, uint64_t id, enum myco_role role)
{
    struct myco__rlog_config config;
    if (log->failed != 0) return MYCO_ECLOSED;
    if (id == 0 || (unsigned)role > MYCO_ROLE_NONE) return MYCO_EINVAL;
    if (!myco_rlog_is_leader(log) || myco__rlog_handing_over(log)) return MYCO_ENOTLEADER;
    if (!log->established || log->promoting != 0 || log->raft.configuration_uncommitted_index != 0)
        return MYCO_EBUSY;
    const struct myco_log_server *server = myco__rlog_config_find(&log->config, id);
    if (server != NULL && server->role == role) return 0;
    /* Its log would be the longest, and libraft never lets it stand again: with two voters, the
     * other one could not be elected either. Transfer first. */
    if (id == log->self) return MYCO_EINVAL;
    int status = changed_config(log, id, role, &config);
    if (status != 0) return status;

    if (role == MYCO_ROLE_VOTER && !is_caught_up(log, id)) {
        struct raft_event event = {.type = RAFT_CATCH_UP, .catch_up = {.server_id = id}};
        status = myco__rlog_code(myco__rlog_step(log, &event));
        if (status == 0) log->promoting = id;
    } else {
        status = submit_config(log, &config);
    }
    myco__rlog_settle(log);
    return status;
}

/* A server that has caught up becomes a voter; one that could not stays what it is. */
static void settle_promotion(struct myco_rlog *log)
{
    int progress = RAFT_CATCH_UP_NONE;
    struct myco__rlog_config config;
    uint64_t id = log->promoting;
    if (id == 0 || raft_catch_up(&log->raft, id, &progress) != 0) return;
    if (progress == RAFT_CATCH_UP_RUNNING) return;
    log->promoting = 0;
    if (progress != RAFT_CATCH_UP_FINISHED) {
        MYCO_WARN(log->env->log, "consensus", "a server could not catch up to become a voter",
            "server=%016llx", (unsigned long long)id);
        return;
    }
    int status = changed_config(log, id, MYCO_ROLE_VOTER, &config);
    if (status == 0) status = submit_config(log, &config);
    if (status != 0)
        MYCO_WARN(log->env->log, "consensus", "a server was not made a voter",
            "server=%016llx error=%s", (unsigned long long)id, myco_errname(status));
}

/* ── Handing over ───────────────────────────────────────────────────────────────────────────── */

bool myco__rlog_handing_over(const struct myco_rlog *log)
{
    return log->handover.to != 0 || raft_transferee(&log->raft) != 0;
}

/* The voter whose log is the longest. */
static uint64_t pick_successor(const struct myco_rlog *log)
{
    const struct raft_configuration *configuration = &log->raft.configuration;
    uint64_t best = 0;
    raft_index best_match = 0, match = 0;
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];
        if (server->id == log->self || server->role != RAFT_VOTER) continue;
        if (raft_match_index(&log->raft, server->id, &match) != 0) continue;
        if (best != 0 && match <= best_match) continue;
        best = server->id;
        best_match = match;
    }
    return best;
}

int myco_rlog_transfer(struct myco_rlog *log, uint64_t to)
{
    if (log->failed != 0) return MYCO_ECLOSED;
    if (!myco_rlog_is_leader(log)) return MYCO_ENOTLEADER;
    if (myco__rlog_handing_over(log)) return MYCO_EBUSY;
    if (to == 0 && (to = pick_successor(log)) == 0) return MYCO_ENOTFOUND;
    const struct myco_log_server *server = myco__rlog_config_find(&log->config, to);
    if (server == NULL || server->role != MYCO_ROLE_VOTER || to == log->self) return MYCO_EINVAL;
    log->handover.to = to;
    log->handover.since_ms = log->now_ms;
    myco__rlog_settle(log);
    return 0;
}

/* libraft would tell a successor to stand as soon as it acknowledged anything, and one that does
 * not yet have all would ignore that. So it is asked once everything is there, while nothing new is
 * taken. */
static void settle_handover(struct myco_rlog *log)
{
    if (log->handover.to == 0 || log->batch_count > 0) return;
    if (is_caught_up(log, log->handover.to)) {
        struct raft_event event = {
            .type = RAFT_TRANSFER, .transfer = {.server_id = log->handover.to}};
        log->handover.to = 0;
        (void)myco__rlog_step(log, &event); /* refused: nothing is handed over, and we still lead */
    } else if (log->now_ms - log->handover.since_ms >= log->election_ms) {
        log->handover.to = 0;
    }
}

void myco__rlog_member_settle(struct myco_rlog *log)
{
    settle_promotion(log);
    if (log->failed == 0) settle_handover(log);
}

/* ── The leader is known to be dead ─────────────────────────────────────────────────────────── */

static bool follows(struct myco_rlog *log, uint64_t leader)
{
    raft_id known = 0;
    const char *address;
    raft_leader(&log->raft, &known, &address);
    return raft_state(&log->raft) == RAFT_FOLLOWER && known == leader && leader != 0;
}

/* Our place among the voters that are left, by id; SIZE_MAX: we are none. */
static size_t rank(const struct myco_rlog *log, uint64_t dead)
{
    const struct raft_configuration *configuration = &log->raft.configuration;
    size_t lower = 0;
    bool voter = false;
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];
        if (server->role != RAFT_VOTER || server->id == dead) continue;
        if (server->id == log->self) voter = true;
        if (server->id < log->self) lower++;
    }
    return voter ? lower : SIZE_MAX;
}

/* As if the leader had asked us to take over. It is an election like any other: the vote is written
 * first, a majority must grant it, and who has the shorter log does not win. If the leader lives
 * after all, it costs one change of leader. Nothing happens when somebody was faster (a vote of
 * ours in a newer term), or when the leader was heard again meanwhile. */
static void on_died(void *data)
{
    struct myco_rlog *log = data;
    if (!follows(log, log->died.leader) || log->heard_ms > log->died.at_ms) return;
    if (raft_current_term(&log->raft) != log->died.term && raft_voted_for(&log->raft) != 0) return;
    if (myco__rlog_only_voter(log)) return;
    uint64_t last = raft_last_index(&log->raft);
    if (log->raft.last_stored < last || log->install.active) {
        myco_timer_start(&log->died.timer, STILL_BUSY_MS, 0);
        return;
    }
    struct raft_message message = {.type = RAFT_TIMEOUT_NOW,
        .server_id = log->died.leader,
        .server_address = "",
        .timeout_now = {.term = raft_current_term(&log->raft),
            .last_log_index = last,
            .last_log_term = myco__rlog_last_term(log)}};
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {.message = &message}};
    int code = myco__rlog_step(log, &event);
    if (code != 0)
        myco__rlog_fail(log, myco__rlog_code(code), "start an election: %s", raft_strerror(code));
    myco__rlog_settle(log);
}

void myco__rlog_died_init(struct myco_rlog *log)
{
    myco_timer_init(&log->died.timer, log->env, on_died, log);
}

void myco_rlog_leader_died(struct myco_rlog *log, uint64_t leader)
{
    if (log->failed != 0 || !follows(log, leader)) return;
    size_t place = rank(log, leader);
    if (place == SIZE_MAX) return;
    if (myco_timer_active(&log->died.timer) && log->died.leader == leader) return;
    log->died.leader = leader;
    log->died.term = raft_current_term(&log->raft);
    log->died.at_ms = myco_now_ms(log->env);
    myco_timer_start(&log->died.timer, place * STAGGER_MS, 0);
}
