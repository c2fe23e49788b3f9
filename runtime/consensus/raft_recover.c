/* A group that lost its majority for good, made anew around one survivor: what its log holds,
 * committed or not, becomes a snapshot of a later term whose configuration is that server alone.
 *
 *   load → restore, apply all → the owner changes its state → term → snapshot
 *
 * Loading such a folder voids the entries, since the snapshot is past them (raft_load.c). A crash
 * before the snapshot is there leaves the log as it was, with a higher term. */
#include "consensus/log_internal.h"

#include "base/mem.h"

#define TERMS_AHEAD 1000 /* of whatever the others may have come to without a majority */

static int apply_all(
    struct myco_rlog *log, struct myco__rlog_snapshot *snapshot, struct myco_err *err)
{
    int status = 0;
    uint64_t last = myco__rlog_cache_last(&log->cache);
    if (snapshot->index > 0) {
        log->config = snapshot->config;
        status = log->events.restore(snapshot->index, snapshot->state, err, log->events.data);
    }
    for (uint64_t index = snapshot->index + 1; status == 0 && index <= last; index++) {
        const struct myco__rlog_entry *entry = myco__rlog_cache_at(&log->cache, index);
        if (entry == NULL) return myco_err(err, MYCO_ECORRUPT, "an entry of the log is missing");
        struct myco_slice body = myco_bytes(entry->body, entry->size);
        if (entry->type == RAFT_CHANGE) status = myco__rlog_config_read(body, &log->config);
        if (entry->type == RAFT_COMMAND)
            log->events.apply(index, entry->term, body, log->events.data);
    }
    return status;
}

static void describe(const struct myco_rlog *log, const struct myco__rlog_snapshot *snapshot,
    struct myco_rlog_recovery *out)
{
    uint64_t last = myco__rlog_cache_last(&log->cache);
    const struct myco__rlog_entry *entry = myco__rlog_cache_at(&log->cache, last);
    out->last_index = entry ? last : snapshot->index;
    out->last_term = entry ? entry->term : snapshot->term;
    out->term = log->store.saved.term;
    out->server_count = log->config.count;
    memcpy(out->servers, log->config.servers, log->config.count * sizeof *out->servers);
}

int myco_rlog_recover_open(const struct myco_rlog_options *options,
    const struct myco_rlog_events *events, struct myco_rlog **given,
    struct myco_rlog_recovery *recovery, struct myco_err *err)
{
    struct myco_rlog *log = myco_alloc(sizeof *log);
    struct myco__rlog_snapshot snapshot = {0};
    struct myco_buf bytes = {0};
    *given = NULL;
    myco_list_init(&log->ios);
    log->events = *events;
    int status = myco__rlog_set_up(log, options, err);
    if (status == 0) status = myco__rlog_load(log, &snapshot, &bytes, err);
    if (status == 0) status = apply_all(log, &snapshot, err);
    if (status == 0) describe(log, &snapshot, recovery);
    myco_buf_free(&bytes);
    if (status != 0) {
        myco_rlog_close(log);
        return status;
    }
    *given = log;
    return 0;
}

int myco_rlog_recover(
    struct myco_rlog *log, const struct myco_rlog_recovery *recovery, struct myco_err *err)
{
    uint64_t index = recovery->last_index + 1, term = recovery->term + TERMS_AHEAD;
    struct myco_buf state = {0}, file = {0};
    struct myco__rlog_snapshot snapshot = {.index = index, .term = term};
    char path[MYCO__RLOG_PATH_MAX];
    snapshot.config = (struct myco__rlog_config){.index = index, .count = 1};
    snapshot.config.servers[0] = (struct myco_log_server){.id = log->self, .role = MYCO_ROLE_VOTER};
    log->events.snapshot(&state, log->events.data);
    snapshot.state = myco_buf_as_slice(&state);
    myco__rlog_snapshot_write(&file, &snapshot);
    int status = state.failed || file.failed ? MYCO_ENOMEM : 0;
    if (status == 0) status = myco__rlog_store_vote(log, term, 0);
    myco__rlog_snapshot_path(log, index, path);
    if (status == 0) status = log->disk->ops->put_now(log->disk, path, myco_buf_as_slice(&file));
    myco_buf_free(&state);
    myco_buf_free(&file);
    return status ? myco_err(err, status, "write %s: %s", path, myco_strerror(status)) : 0;
}
