/* Snapshots: the applied state in one file, so that the log does not grow without end and a server
 * that is far behind gets it whole.
 *
 *   taking       owner's bytes → put → SNAPSHOT → older entries, segments and the former snapshot
 * go sending      libraft asks for it → get → one bulk message that holds the file as it is
 *   installing   message → (writes under way end) → put → a new segment that voids the older ones →
 *                those are deleted → PERSISTED_SNAPSHOT → the owner restores it
 *
 * A crash at any arrow of the last leaves either the former log or the snapshot: raft_load.c. */
#include "consensus/log_internal.h"

#include "env/transport.h"

#define MESSAGE_HEAD_MAX 64   /* what a message adds to the file */
#define RESEND_MS        1000 /* the same snapshot to the same server: not sooner … */
#define RESEND_MIB_MS    250  /* … and later for each MiB */
#define FAILURES_MAX     3    /* snapshots in a row that could not be written */

/* ── Taking ─────────────────────────────────────────────────────────────────────────────────── */

static unsigned trailing_count(const struct myco_rlog *log, uint64_t index)
{
    uint64_t behind = myco__rlog_cache_bytes(&log->cache, index);
    unsigned count = log->snapshot_trailing;
    if (count >= index) count = (unsigned)index - 1;
    while (count > 0 && myco__rlog_cache_bytes(&log->cache, index - count) - behind >
                            MYCO__RLOG_TRAILING_SIZE_MAX)
        count--;
    return count;
}

static void adopt(struct myco_rlog *log, const struct myco__rlog_snapshot *snapshot)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT,
        .snapshot = {.metadata = {.index = snapshot->index,
                         .term = snapshot->term,
                         .configuration_index = snapshot->config.index},
            .trailing = trailing_count(log, snapshot->index)}};
    uint64_t keep_after = snapshot->index - event.snapshot.trailing;
    if (myco__rlog_config_to_raft(&snapshot->config, &event.snapshot.metadata.configuration) != 0 ||
        myco__rlog_step(log, &event) != 0) {
        myco__rlog_fail(log, MYCO_ENOMEM, "no memory for a snapshot");
        return;
    }
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_snapshot_path(log, log->snapshot.index, path);
    if (log->snapshot.index > 0) myco__rlog_store_doom(log, path);
    log->snapshot.index = snapshot->index;
    log->snapshot.term = snapshot->term;
    log->snapshot.size = snapshot->state.size;
    /* libraft removes nothing when it would have to keep more than there is */
    if (myco__rlog_cache_at(&log->cache, keep_after) != NULL)
        myco__rlog_cache_drop_to(&log->cache, keep_after);
    myco__rlog_store_forget(log, log->cache.first - 1);
}

static void taken(struct myco_rlog *log, int status, struct myco__rlog_io *io)
{
    struct myco__rlog_snapshot snapshot;
    log->snapshot.taking = false;
    if (status != 0) {
        MYCO_WARN(log->env->log, "consensus", "a snapshot can't be written", "index=%llu error=%s",
            (unsigned long long)io->index, myco_errname(status));
        log->snapshot.retry_index = io->index + log->snapshot_threshold;
        if (++log->snapshot.failures >= FAILURES_MAX)
            myco__rlog_fail(log, status, "write a snapshot: %s", myco_strerror(status));
    } else if (log->install.active) {
        char path[MYCO__RLOG_PATH_MAX]; /* overtaken by one from the leader */
        myco__rlog_snapshot_path(log, io->index, path);
        myco__rlog_store_doom(log, path);
    } else if (myco__rlog_snapshot_read(myco_buf_as_slice(&io->bytes), &snapshot) == 0) {
        log->snapshot.failures = 0;
        adopt(log, &snapshot);
    }
    myco__rlog_install_continue(log);
    myco__rlog_settle(log);
}

static bool is_due(const struct myco_rlog *log)
{
    if (log->failed != 0 || log->snapshot.taking || log->install.active || log->install.restore)
        return false;
    if (log->applied <= log->snapshot.index || log->applied < log->snapshot.retry_index)
        return false;
    if (log->applied != log->config_seen) return false; /* or the configuration would be ahead */
    /* committed by others, and our own write is still under way: libraft takes it for the log's
     * end */
    if (log->applied > log->raft.last_stored) return false;
    return log->applied - log->snapshot.index >= log->snapshot_threshold ||
           myco__rlog_cache_bytes(&log->cache, log->snapshot.index) > MYCO__RLOG_GROWN_SIZE_MAX;
}

void myco__rlog_snapshot_maybe(struct myco_rlog *log)
{
    const struct myco__rlog_entry *last = myco__rlog_cache_at(&log->cache, log->applied);
    if (last == NULL || !is_due(log)) return;
    struct myco_buf state = {0};
    log->events.snapshot(&state, log->events.data);

    struct myco__rlog_io *io = myco__rlog_io_new(log, taken);
    struct myco__rlog_snapshot snapshot = {.index = log->applied,
        .term = last->term,
        .config = log->config,
        .state = myco_buf_as_slice(&state)};
    io->index = log->applied;
    log->snapshot.taking = true;
    myco__rlog_snapshot_write(&io->bytes, &snapshot);
    if (state.failed) io->bytes.failed = true;
    myco_buf_free(&state);
    if (io->bytes.failed) {
        myco__rlog_io_done(MYCO_ENOMEM, io);
        return;
    }
    if (io->bytes.size > MYCO_MESSAGE_SIZE_MAX - MESSAGE_HEAD_MAX)
        MYCO_ERROR(log->env->log, "consensus", "the state is too large for new or lagging servers",
            "size=%zu max=%d", io->bytes.size, MYCO_MESSAGE_SIZE_MAX - MESSAGE_HEAD_MAX);
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_snapshot_path(log, io->index, path);
    log->disk->ops->put(log->disk, path, myco_buf_as_slice(&io->bytes), 0, myco__rlog_io_done, io);
}

/* ── Sending ────────────────────────────────────────────────────────────────────────────────── */

static void send_file(struct myco_rlog *log, int status, struct myco__rlog_io *io)
{
    struct myco__rlog_snapshot snapshot;
    struct myco_slice bytes = myco_buf_as_slice(&io->bytes);
    if (status == MYCO_ENOTFOUND) return; /* a newer one has replaced it: libraft asks again */
    if (status == 0 && bytes.size > MYCO_MESSAGE_SIZE_MAX - MESSAGE_HEAD_MAX) {
        MYCO_ERROR(log->env->log, "consensus", "a snapshot is too large to be sent",
            "to=%016llx index=%llu", (unsigned long long)io->to, (unsigned long long)io->index);
        return;
    }
    if (status == 0 &&
        (myco__rlog_snapshot_read(bytes, &snapshot) != 0 || snapshot.index != io->index))
        status = MYCO_ECORRUPT;
    if (status != 0) {
        myco__rlog_fail(log, status, "read snapshot %llu: %s", (unsigned long long)io->index,
            myco_strerror(status));
        return;
    }
    if (raft_state(&log->raft) != RAFT_LEADER) return;
    struct myco__rlog_view view = {
        .type = RAFT_INSTALL_SNAPSHOT, .term = raft_current_term(&log->raft), .snapshot = bytes};
    myco__rlog_send(log, io->to, true, &view);
}

/* libraft asks again with every heartbeat that finds the follower still without it. */
static bool sent_lately(struct myco_rlog *log, uint64_t to, uint64_t index)
{
    uint64_t wait_ms = RESEND_MS;
    size_t free_at = 0;
    for (size_t i = 0; i < MYCO__RLOG_SERVERS_MAX; i++) {
        if (log->snapshot.sent[i].to == 0) free_at = i;
        if (log->snapshot.sent[i].to != to) continue;
        free_at = i;
        wait_ms += (log->snapshot.size >> 20) * RESEND_MIB_MS;
        if (log->snapshot.sent[i].index == index &&
            log->now_ms - log->snapshot.sent[i].at_ms < wait_ms)
            return true;
        break;
    }
    log->snapshot.sent[free_at].to = to;
    log->snapshot.sent[free_at].index = index;
    log->snapshot.sent[free_at].at_ms = log->now_ms;
    return false;
}

void myco__rlog_snapshot_send(struct myco_rlog *log, uint64_t to, uint64_t index)
{
    if (sent_lately(log, to, index)) return;
    struct myco__rlog_io *io = myco__rlog_io_new(log, send_file);
    io->to = to;
    io->index = index;
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_snapshot_path(log, index, path);
    log->disk->ops->get(log->disk, path, 0, MYCO_MESSAGE_SIZE_MAX, myco__rlog_io_read, io);
}

/* ── Installing ─────────────────────────────────────────────────────────────────────────────── */

void myco__rlog_install_begin(struct myco_rlog *log, struct raft_update *update)
{
    log->install.active = true;
    log->install.stage = MYCO__RLOG_INSTALL_WAIT;
    log->install.metadata = update->snapshot.metadata;
    log->install.bytes = update->snapshot.chunk;
    log->install.replaces = log->snapshot.index;
    log->snapshot.index = update->snapshot.metadata.index;
    log->snapshot.term = update->snapshot.metadata.term;
    log->snapshot.size = log->install.bytes.len;
    myco__rlog_cache_reset(&log->cache, log->snapshot.index + 1);
    log->store.next = log->snapshot.index + 1;
    log->store.last = 0; /* what is being written is void */
    myco__rlog_install_continue(log);
}

static void stored(struct myco_rlog *log, int status, struct myco__rlog_io *io)
{
    if (status != 0) {
        myco__rlog_fail(log, status, "write snapshot %llu: %s", (unsigned long long)io->index,
            myco_strerror(status));
        return;
    }
    log->install.stage = MYCO__RLOG_INSTALL_ROLL;
    myco__rlog_store_roll(log, io->index, true);
}

static void store_snapshot(struct myco_rlog *log)
{
    struct myco__rlog_io *io = myco__rlog_io_new(log, stored);
    io->index = log->install.metadata.index;
    log->install.stage = MYCO__RLOG_INSTALL_PUT;
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_snapshot_path(log, io->index, path);
    log->disk->ops->put(log->disk, path,
        myco_bytes(log->install.bytes.base, log->install.bytes.len), 0, myco__rlog_io_done, io);
}

static void delete_replaced(struct myco_rlog *log)
{
    log->install.stage = MYCO__RLOG_INSTALL_DELETE;
    myco__rlog_store_forget(log, UINT64_MAX);
    char path[MYCO__RLOG_PATH_MAX];
    myco__rlog_snapshot_path(log, log->install.replaces, path);
    if (log->install.replaces > 0) myco__rlog_store_doom(log, path);
}

static void finish(struct myco_rlog *log)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT,
        .persisted_snapshot = {.metadata = log->install.metadata, .last = true}};
    log->install.active = false;
    log->install.restore = true; /* by the pump, before anything is applied */
    log->config_seen = log->install.metadata.index;
    myco__rlog_config_from_raft(&log->config, &log->install.metadata.configuration,
        log->install.metadata.configuration_index);
    raft_configuration_init(&log->install.metadata.configuration); /* taken below */
    int code = myco__rlog_step(log, &event);
    if (code != 0)
        myco__rlog_fail(log, myco__rlog_code(code), "install a snapshot: %s", raft_strerror(code));
    myco__rlog_settle(log);
}

void myco__rlog_install_continue(struct myco_rlog *log)
{
    if (!log->install.active || log->failed != 0 || log->snapshot.taking || log->store.busy) return;
    if (log->install.stage == MYCO__RLOG_INSTALL_WAIT) store_snapshot(log);
    if (log->install.stage == MYCO__RLOG_INSTALL_ROLL) delete_replaced(log);
    if (log->install.stage == MYCO__RLOG_INSTALL_DELETE && log->store.doomed_count == 0)
        finish(log);
}

void myco__rlog_install_free(struct myco_rlog *log)
{
    if (log->install.active) raft_configuration_close(&log->install.metadata.configuration);
    raft_free(log->install.bytes.base);
    log->install.bytes = (struct raft_buffer){0};
    log->install.active = log->install.restore = false;
}
