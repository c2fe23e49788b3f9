/* The public face of the replicated log. */
#include "consensus/log_internal.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

#define ELECTION_MS        150
#define HEARTBEAT_MS       50
#define SNAPSHOT_THRESHOLD 1024
#define SNAPSHOT_TRAILING  256

/* ── Opening and closing ────────────────────────────────────────────────────────────────────── */

int myco__rlog_set_up(
    struct myco_rlog *log, const struct myco_rlog_options *options, struct myco_err *err)
{
    log->env = options->env;
    log->disk = options->disk;
    log->self = options->self;
    log->election_ms = options->election_ms != 0 ? options->election_ms : ELECTION_MS;
    log->heartbeat_ms = options->heartbeat_ms != 0 ? options->heartbeat_ms : HEARTBEAT_MS;
    log->snapshot_threshold =
        options->snapshot_threshold != 0 ? options->snapshot_threshold : SNAPSHOT_THRESHOLD;
    log->snapshot_trailing =
        options->snapshot_trailing != 0 ? options->snapshot_trailing : SNAPSHOT_TRAILING;
    log->cache.first = 1;
    myco_list_init(&log->ios);
    const char *folder = options->folder != NULL ? options->folder : "consensus";
    int size = snprintf(log->folder, sizeof log->folder, "%s", folder);
    if (size <= 0 || (size_t)size >= sizeof log->folder)
        return myco_err(err, MYCO_EINVAL, "the log's folder has no usable name");
    if (log->self == 0) return myco_err(err, MYCO_EINVAL, "a server's id can't be 0");
    if (log->heartbeat_ms >= log->election_ms)
        return myco_err(err, MYCO_EINVAL, "the election time-out must be above the heartbeat");
    return 0;
}

static int load_and_start(struct myco_rlog *log, struct myco_err *err)
{
    struct myco__rlog_snapshot snapshot;
    struct myco_buf bytes = {0};
    int status = myco__rlog_load(log, &snapshot, &bytes, err);
    if (status == 0 && snapshot.index > 0) {
        log->config = snapshot.config;
        log->snapshot.size = bytes.size;
        log->applied_term = snapshot.term;
        status = log->events.restore(snapshot.index, snapshot.state, err, log->events.data);
        if (status != 0)
            myco_err_wrap(err, "restore snapshot %llu", (unsigned long long)snapshot.index);
    }
    myco_buf_free(&bytes);
    if (status == 0) status = myco__tail_init(log, err);
    return status != 0 ? status : myco__rlog_start(log, err);
}

int myco_rlog_open(const struct myco_rlog_options *options, const struct myco_rlog_events *events,
    struct myco_rlog **given, struct myco_err *err)
{
    struct myco_rlog *log = myco_alloc(sizeof *log);
    *given = NULL;
    log->events = *events;
    int status = myco__rlog_set_up(log, options, err);
    if (status == 0) status = load_and_start(log, err);
    if (status != 0) {
        myco_rlog_close(log);
        return status;
    }
    *given = log;
    return 0;
}

void myco_rlog_close(struct myco_rlog *log)
{
    if (log == NULL) return;
    if (log->raft_open) {
        myco_timer_stop(&log->timer);
        myco_timer_stop(&log->died.timer);
        myco_timer_stop(&log->notice.timer);
    }
    myco_defer_cancel(&log->pump);
    myco__tail_close(log);
    MYCO_LIST_EACH (link, &log->ios) {
        MYCO_CONTAINER(link, struct myco__rlog_io, link)->log = NULL;
    }
    myco__rlog_store_close(log);
    if (log->raft_open) raft_close(&log->raft, NULL);
    myco__rlog_install_free(log);
    myco__rlog_cache_free(&log->cache);
    for (size_t i = 0; i < log->batch_count; i++) myco_free(log->batch[i].body);
    myco_free(log->batch);
    myco_free(log);
}

bool myco_rlog_empty(const struct myco_rlog *log)
{
    return !log->tail.marked && log->snapshot.index == 0 && log->cache.count == 0 &&
           log->store.saved.term <= 1 && log->store.saved.vote == 0;
}

static int write_first(
    struct myco_rlog *log, const struct myco__rlog_config *config, struct myco_err *err)
{
    struct myco_buf body = {0};
    myco__rlog_config_write(&body, config);
    int status = body.failed ? MYCO_ENOMEM : 0;
    if (status == 0)
        status = myco__rlog_cache_append(&log->cache, 1, RAFT_CHANGE, myco_buf_as_slice(&body));
    myco_buf_free(&body);
    /* the term first: a log that is ahead of it would be damage */
    if (status == 0) status = myco__rlog_store_vote(log, 1, 0);
    if (status != 0)
        return myco_err(err, status, "write the first configuration: %s", myco_strerror(status));
    return myco__rlog_store_first(log, 0, false, err);
}

int myco_rlog_bootstrap(struct myco_rlog *log, const struct myco_log_server *servers, size_t count,
    struct myco_err *err)
{
    struct myco__rlog_config config = {.index = 1, .count = count};
    if (log->failed != 0) return myco_err(err, MYCO_ECLOSED, "the log has failed");
    if (!myco_rlog_empty(log))
        return myco_err(err, MYCO_EEXISTS, "this server is part of a cluster already");
    if (count > MYCO__RLOG_SERVERS_MAX)
        return myco_err(err, MYCO_EINVAL, "at most %d servers", MYCO__RLOG_SERVERS_MAX);
    memcpy(config.servers, servers, count * sizeof *servers);
    if (!myco__rlog_config_valid(&config))
        return myco_err(err, MYCO_EINVAL, "not a possible first configuration");
    int status = write_first(log, &config, err);
    if (status == 0) {
        myco_timer_stop(&log->timer);
        raft_close(&log->raft, NULL);
        log->raft_open = false;
        status = myco__rlog_start(log, err);
    }
    if (status != 0)
        myco__rlog_fail(
            log, status, "bootstrap: %s", err != NULL ? err->message : myco_strerror(status));
    return status;
}

/* ── Commands ───────────────────────────────────────────────────────────────────────────────── */

static bool is_full(struct myco_rlog *log, size_t more)
{
    uint64_t commit = raft_commit_index(&log->raft);
    uint64_t count = raft_last_index(&log->raft) - commit + log->batch_count;
    uint64_t bytes = myco__rlog_cache_bytes(&log->cache, commit) + log->batch_size + more;
    return count >= MYCO__RLOG_PENDING_COUNT_MAX || bytes > MYCO__RLOG_PENDING_SIZE_MAX;
}

int myco_rlog_submit(struct myco_rlog *log, struct myco_slice command)
{
    if (log->failed != 0) return MYCO_ECLOSED;
    if (!myco_rlog_is_leader(log) || myco__rlog_handing_over(log)) return MYCO_ENOTLEADER;
    if (command.size > MYCO__RLOG_COMMAND_SIZE_MAX) return MYCO_ETOOBIG;
    if (is_full(log, command.size)) return MYCO_EFULL;
    if (log->batch_count == log->batch_capacity) {
        log->batch_capacity = log->batch_capacity == 0 ? 16 : log->batch_capacity * 2;
        log->batch = myco_realloc(log->batch, log->batch_capacity * sizeof *log->batch);
    }
    uint8_t *body = myco_try_alloc(command.size + 1);
    if (body == NULL) return MYCO_ENOMEM;
    if (command.size > 0) memcpy(body, command.data, command.size);
    log->batch[log->batch_count++] =
        (struct myco__rlog_entry){.size = (uint32_t)command.size, .body = body};
    log->batch_size += command.size;
    myco__rlog_pump_later(log);
    return 0;
}

/* ── Questions ──────────────────────────────────────────────────────────────────────────────── */

/* libraft's own questions take a pointer to what they do not change. */
static struct raft *ask(const struct myco_rlog *log)
{
    return (struct raft *)&log->raft;
}

uint64_t myco_rlog_leader(const struct myco_rlog *log)
{
    raft_id id = 0;
    const char *address;
    if (log->failed != 0) return 0;
    if (myco_rlog_is_leader(log)) return log->self;
    if (myco__tail_enabled(log) && !myco__tail_heard(log)) {
        if (myco__tail_fed(log)) return log->tail.leader;
        if (!myco__tail_grouped(log)) return 0; /* libraft keeps the last one that it heard */
    }
    raft_leader(ask(log), &id, &address);
    return log->leader_term == raft_current_term(ask(log)) ? id
                                                           : 0; /* it keeps those of older terms */
}

bool myco_rlog_is_leader(const struct myco_rlog *log)
{
    return log->failed == 0 && raft_state(ask(log)) == RAFT_LEADER;
}

bool myco_rlog_is_established(const struct myco_rlog *log)
{
    return log->established && myco_rlog_is_leader(log);
}

uint64_t myco_rlog_term(const struct myco_rlog *log)
{
    return raft_current_term(ask(log));
}

uint64_t myco_rlog_commit_index(const struct myco_rlog *log)
{
    return raft_commit_index(ask(log));
}

uint64_t myco_rlog_last_index(const struct myco_rlog *log)
{
    return raft_last_index(ask(log)) + log->batch_count; /* what waits for the next turn, too */
}

uint64_t myco_rlog_applied_index(const struct myco_rlog *log)
{
    return log->applied;
}

bool myco_rlog_match(const struct myco_rlog *log, uint64_t id, uint64_t *match)
{
    raft_index index = 0;
    if (!myco_rlog_is_leader(log)) return false;
    if (id == log->self)
        index = raft_last_index(ask(log));
    else if (raft_match_index(ask(log), id, &index) != 0)
        return false;
    *match = index;
    return true;
}

size_t myco_rlog_servers(const struct myco_rlog *log, struct myco_log_server *servers, size_t max)
{
    const struct myco__rlog_config *config = myco__tail_config(log);
    size_t count = config->count < max ? config->count : max;
    memcpy(servers, config->servers, count * sizeof *servers);
    return count;
}

enum myco_role myco_rlog_role(const struct myco_rlog *log, uint64_t id)
{
    const struct myco_log_server *server = myco__rlog_config_find(myco__tail_config(log), id);
    return server != NULL ? server->role : MYCO_ROLE_NONE;
}
