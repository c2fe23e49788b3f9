/* One event into libraft, and its update carried out.
 *
 * raft_step() decides and does nothing else; what it hands out must be done in this order, and is,
 * before the next step: term and vote durable, then entries into the cache and towards the disk,
 * then messages out, then what follows from the new commit index. A leader's messages may overtake
 * its own write; a follower's acknowledgement can't, for libraft makes it only at
 * PERSISTED_ENTRIES.
 *
 * Found by reading libraft 0.22.1; its manual leaves these out, and later versions differ:
 *
 *   Entries. In step mode libraft keeps the index and term of each entry (raft.trail), never a
 * body. An APPEND_ENTRIES to be sent says where it starts and how many; the sender fills in the
 * rest. Who frees what. RECEIVE append: `entries` stays ours, the one batch that all bodies lie in
 * is taken; it comes back as update.entries[0].batch (and `entries` points into our array) or is
 * freed by libraft, also on errors. SUBMIT: the batch is taken on success only, and comes back
 * likewise, as does the one of the barrier that libraft makes itself. START: neither is taken, but
 * both are freed on errors. RECEIVE install: data and configuration are taken; they come back in
 * update.snapshot. CONFIGURATION, SNAPSHOT, PERSISTED_SNAPSHOT, START: the configuration is taken.
 * update.messages is valid until the next step, with the addresses in it. Barrier. At the start of
 * a term one is appended only when the log holds entries that are not known to be committed, and
 * never by an only voter. Where it is missing, settle() submits our own. Commit. CONFIGURATION must
 * follow once a RAFT_CHANGE is committed. One that comes after the next RAFT_CHANGE arrived is
 * ignored; and of several new entries in one message a RAFT_CHANGE is booked under the index of the
 * first. So raft_guard.c cuts messages before each RAFT_CHANGE, and settle() sends CONFIGURATION
 * between the parts, ahead of applying. PERSISTED_ENTRIES must rise, and must not name entries that
 * were truncated while they were being written (raft_store.c sees to it). An only voter becomes
 * leader without a new term. After a crash it would be leader of the same term again, and might
 * give an index that it had sent but not stored to another entry. So it begins by a vote for itself
 * in the next term: at the start in the meta file, later as a REQUEST_VOTE from itself. TIMEOUT_NOW
 * makes a candidate that asks others to drop their leader, and asks again, for ever, in each later
 * round. One round is what it was told; then it goes on as any candidate, with pre-votes.
 *   raft_timeout() of a leader can stay in the past (a server that was demoted to spare is never
 * sent anything again), hence the floor under our timer. Assertions are compiled out in Debian:
 * what they would catch from outside is refused in raft_guard.c. */
#include "consensus/log_internal.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

#define PATIENCE_MS 1000 /* of a slow node, before it stands */
#define GRACE_MS    5    /* to hear the others, after a pause */
#define IDLE_MS     1000 /* between looks of a server whose time-outs mean nothing */

/* ── Small questions ────────────────────────────────────────────────────────────────────────── */

int myco__rlog_code(int raft_code)
{
    switch (raft_code) {
    case 0: return 0;
    case RAFT_NOMEM: return MYCO_ENOMEM;
    case RAFT_NOTLEADER: return MYCO_ENOTLEADER;
    case RAFT_CANTCHANGE: return MYCO_EBUSY;
    case RAFT_NOTFOUND: return MYCO_ENOTFOUND;
    case RAFT_BADID:
    case RAFT_BADROLE: return MYCO_EINVAL;
    case RAFT_SHUTDOWN: return MYCO_ECORRUPT; /* a committed entry differs from the leader's */
    case RAFT_MALFORMED: return MYCO_EPROTO;
    default: return MYCO_EIO;
    }
}

uint64_t myco__rlog_last_term(struct myco_rlog *log)
{
    uint64_t last = raft_last_index(&log->raft);
    const struct myco__rlog_entry *entry = myco__rlog_cache_at(&log->cache, last);
    if (entry != NULL) return entry->term;
    return last == log->snapshot.index ? log->snapshot.term : 0;
}

bool myco__rlog_only_voter(const struct myco_rlog *log)
{
    const struct raft_configuration *configuration = &log->raft.configuration;
    bool self = false;
    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].role != RAFT_VOTER) continue;
        if (configuration->servers[i].id != log->self) return false;
        self = true;
    }
    return self;
}

void myco__rlog_fail(struct myco_rlog *log, int status, const char *format, ...)
{
    if (log->failed != 0) return;
    log->failed = status;
    va_list args;
    va_start(args, format);
    vsnprintf(log->failure, sizeof log->failure, format, args);
    va_end(args);
    log->established = false;
    myco_timer_stop(&log->timer);
    myco_timer_stop(&log->died.timer);
    myco_timer_stop(&log->notice.timer);
    MYCO_ERROR(log->env->log, "consensus", "the log has failed", "error=%s reason=\"%s\"",
        myco_errname(status), log->failure);
    myco__rlog_pump_later(log);
}

/* ── Messages out ───────────────────────────────────────────────────────────────────────────── */

void myco__rlog_send(
    struct myco_rlog *log, uint64_t to, bool bulk, const struct myco__rlog_view *view)
{
    struct myco_buf payload = {0};
    myco__rlog_view_write(&payload, view);
    if (payload.failed)
        myco_buf_free(&payload); /* as if the network had lost it */
    else
        log->events.send(to, bulk, &payload, log->events.data);
}

/* The index of a change that takes the vote from `to`, while it is not committed; 0: there is none.
 * A server that knows it neither stands nor is behind anybody without it: were we lost then, those
 * that are left might not be able to elect. It is not needed to commit the change either. */
static uint64_t demotion_of(const struct myco_rlog *log, uint64_t to)
{
    const struct raft_configuration *next = &log->raft.configuration;
    const struct myco_log_server *server = myco__rlog_config_find(&log->config, to);
    if (log->raft.configuration_uncommitted_index == 0) return 0;
    if (server == NULL || server->role != MYCO_ROLE_VOTER) return 0;
    for (unsigned i = 0; i < next->n; i++)
        if (next->servers[i].id == to && next->servers[i].role == RAFT_VOTER) return 0;
    return log->raft.configuration_uncommitted_index;
}

/* As many entries from the cache as fit into one message, from where `view` stands. */
static size_t fill_entries(
    struct myco_rlog *log, struct myco__rlog_view *view, size_t count, uint64_t stop)
{
    size_t bodies = 0;
    view->entry_count = 0;
    while (view->entry_count < count) {
        uint64_t index = view->index + 1 + view->entry_count;
        const struct myco__rlog_entry *entry = myco__rlog_cache_at(&log->cache, index);
        if (entry == NULL || index == stop) break;
        if (bodies > 0 && bodies + entry->size > MYCO__RLOG_APPEND_SIZE_MAX) break;
        bodies += entry->size;
        view->entries[view->entry_count++] = (struct myco__rlog_entry_view){
            .term = entry->term, .type = entry->type, .body = myco_bytes(entry->body, entry->size)};
    }
    return view->entry_count;
}

/* One after the other: together they are what libraft wanted sent. */
static void send_append(struct myco_rlog *log, uint64_t to, const struct raft_append_entries *args)
{
    struct myco__rlog_entry_view entries[MYCO__RLOG_INFLIGHT_MAX];
    struct myco__rlog_view view = {.type = RAFT_APPEND_ENTRIES,
        .term = args->term,
        .index = args->prev_log_index,
        .index_term = args->prev_log_term,
        .commit = args->leader_commit,
        .entries = entries};
    size_t left = args->n_entries;
    uint64_t stop = demotion_of(log, to);
    MYCO_ASSERT(left <= MYCO__RLOG_INFLIGHT_MAX);
    if (left == 0 && myco__rlog_notice_idle(log, to)) return;
    do {
        size_t count = fill_entries(log, &view, left, stop);
        if (count == 0 && left > 0 && view.index != args->prev_log_index) return;
        myco__rlog_send(log, to, false, &view);
        myco__rlog_notice_sent(log, to, view.commit, view.index + count);
        if (count == 0) return;
        view.index += count;
        view.index_term = entries[count - 1].term;
        left -= count;
    } while (left > 0);
}

static void send_message(struct myco_rlog *log, const struct raft_message *message)
{
    struct myco__rlog_view view = {.type = (uint8_t)message->type};
    uint64_t to = message->server_id;
    if (to == log->self) return; /* the answer to our vote for ourselves */
    switch (message->type) {
    case RAFT_APPEND_ENTRIES: send_append(log, to, &message->append_entries); return;
    case RAFT_INSTALL_SNAPSHOT:
        myco__rlog_snapshot_send(log, to, message->install_snapshot.last_index);
        return;
    case RAFT_APPEND_ENTRIES_RESULT:
        view.term = message->append_entries_result.term;
        view.rejected = message->append_entries_result.rejected;
        view.index = message->append_entries_result.last_log_index;
        break;
    case RAFT_REQUEST_VOTE:
        view.term = message->request_vote.term;
        view.index = message->request_vote.last_log_index;
        view.index_term = message->request_vote.last_log_term;
        view.disrupt = message->request_vote.disrupt_leader;
        view.pre_vote = message->request_vote.pre_vote;
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        view.term = message->request_vote_result.term;
        view.granted = message->request_vote_result.vote_granted;
        view.pre_vote = message->request_vote_result.pre_vote;
        break;
    case RAFT_TIMEOUT_NOW:
        view.term = message->timeout_now.term;
        view.index = message->timeout_now.last_log_index;
        view.index_term = message->timeout_now.last_log_term;
        break;
    }
    myco__rlog_send(log, to, false, &view);
}

/* ── Updates ────────────────────────────────────────────────────────────────────────────────── */

static int take_entry(struct myco_rlog *log, const struct raft_entry *entry)
{
    struct myco_slice body = myco_bytes(entry->buf.base, entry->buf.len);
    if (entry->type != RAFT_CHANGE)
        return myco__rlog_cache_append(&log->cache, entry->term, (uint8_t)entry->type, body);
    struct myco_buf config = {0};
    int status = myco__rlog_config_body_from_raft(&entry->buf, &config);
    if (status == 0)
        status = myco__rlog_cache_append(
            &log->cache, entry->term, RAFT_CHANGE, myco_buf_as_slice(&config));
    myco_buf_free(&config);
    return status;
}

/* New entries of ours or of the leader; they replace what stood at their index and after it. */
static void take_entries(struct myco_rlog *log, struct raft_update *update)
{
    uint64_t index = update->entries.index;
    myco__rlog_cache_cut(&log->cache, index);
    myco__rlog_store_changed(log, index);
    bool leader = raft_state(&log->raft) == RAFT_LEADER;
    for (unsigned i = 0; i < update->entries.n; i++) {
        const struct raft_entry *entry = &update->entries.batch[i];
        if (take_entry(log, entry) != 0) {
            myco__rlog_fail(
                log, MYCO_ENOMEM, "no memory for entry %llu", (unsigned long long)index);
            break;
        }
        if (leader && entry->type == RAFT_BARRIER && log->barrier_index == 0)
            log->barrier_index = index + i;
    }
    raft_free(update->entries.batch[0].batch);
}

static void leadership(struct myco_rlog *log)
{
    log->barrier_index = 0;
    log->barrier_term = raft_current_term(&log->raft);
    log->established = false;
    log->promoting = 0;
    log->handover.to = 0;
    memset(log->snapshot.sent, 0, sizeof log->snapshot.sent);
    memset(log->notice.told, 0, sizeof log->notice.told);
}

static void carry_out(struct myco_rlog *log, struct raft_update *update)
{
    if (update->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) {
        int status =
            myco__rlog_store_vote(log, raft_current_term(&log->raft), raft_voted_for(&log->raft));
        if (status != 0)
            myco__rlog_fail(log, status, "write term and vote: %s", myco_strerror(status));
    }
    if (update->flags & RAFT_UPDATE_STATE) leadership(log);
    if (update->flags & RAFT_UPDATE_ENTRIES) take_entries(log, update);
    if (update->flags & RAFT_UPDATE_SNAPSHOT) myco__rlog_install_begin(log, update);
    if (log->failed != 0) return; /* nothing leaves that might rest on what was not stored */
    if (update->flags & RAFT_UPDATE_MESSAGES)
        for (unsigned i = 0; i < update->messages.n; i++)
            send_message(log, &update->messages.batch[i]);
}

int myco__rlog_step(struct myco_rlog *log, struct raft_event *event)
{
    struct raft_update update = {0};
    uint64_t now_ms = myco_now_ms(log->env);
    if (now_ms > log->now_ms) log->now_ms = now_ms;
    event->time = log->now_ms;
    event->capacity = 0;
    int code = raft_step(&log->raft, event, &update);
    if (code == 0) carry_out(log, &update);
    return code;
}

int myco__rlog_submit_entry(struct myco_rlog *log, uint8_t type, struct raft_buffer *body)
{
    struct raft_entry entry = {.term = raft_current_term(&log->raft),
        .type = (enum raft_entry_type)type,
        .buf = *body,
        .batch = body->base};
    struct raft_event event = {.type = RAFT_SUBMIT, .submit = {.entries = &entry, .n = 1}};
    int code = myco__rlog_step(log, &event);
    if (code != 0) raft_free(body->base);
    return code;
}

/* ── What follows ───────────────────────────────────────────────────────────────────────────── */

/* The next configuration between what was looked through and what is committed. */
static bool commit_config(struct myco_rlog *log)
{
    uint64_t commit = raft_commit_index(&log->raft);
    if (log->install.active) return false;
    while (log->config_seen < commit) {
        const struct myco__rlog_entry *entry =
            myco__rlog_cache_at(&log->cache, log->config_seen + 1);
        if (entry == NULL) return false;
        log->config_seen++;
        if (entry->type != RAFT_CHANGE) continue;

        struct raft_event event = {
            .type = RAFT_CONFIGURATION, .configuration = {.index = log->config_seen}};
        struct myco__rlog_config config;
        int status = myco__rlog_config_read(myco_bytes(entry->body, entry->size), &config);
        MYCO_ASSERT(status == 0); /* all entries were checked when they came */
        config.index = log->config_seen;
        log->config = config;
        if (myco__rlog_config_to_raft(&config, &event.configuration.conf) != 0 ||
            myco__rlog_step(log, &event) != 0)
            myco__rlog_fail(log, MYCO_ENOMEM, "no memory for a configuration");
        return log->failed == 0;
    }
    return false;
}

/* Nothing is granted before an entry of our own term is committed: see to it that there is one. */
static void begin_term(struct myco_rlog *log)
{
    if (raft_state(&log->raft) != RAFT_LEADER || log->barrier_index != 0) return;
    struct raft_buffer body = {.base = raft_malloc(8), .len = 8};
    int code = RAFT_NOMEM;
    if (body.base != NULL) {
        memset(body.base, 0, body.len);
        code = myco__rlog_submit_entry(log, RAFT_BARRIER, &body);
    }
    if (code != 0)
        myco__rlog_fail(log, myco__rlog_code(code), "begin the term: %s", raft_strerror(code));
}

/* Only a voter's time-outs mean anything, or a leader's: libraft leaves those of others in the
 * past, and a voter that was removed while it was away would stand for ever. */
static bool may_stand(struct myco_rlog *log)
{
    const struct raft_configuration *configuration = &log->raft.configuration;
    if (raft_state(&log->raft) == RAFT_LEADER) return true;
    if (!myco__tail_grouped(log)) return false;
    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].id == log->self)
            return configuration->servers[i].role == RAFT_VOTER;
    return false;
}

static void arm_timer(struct myco_rlog *log)
{
    uint64_t due_ms = raft_timeout(&log->raft);
    uint64_t floor_ms = log->timeout_ms + (log->heartbeat_ms < 8 ? 2 : log->heartbeat_ms / 4);
    if (due_ms < floor_ms) due_ms = floor_ms;
    uint64_t idle_ms = myco_now_ms(log->env) + IDLE_MS;
    if (!may_stand(log) && due_ms < idle_ms) due_ms = idle_ms;
    if (log->patient && raft_state(&log->raft) == RAFT_FOLLOWER) due_ms += PATIENCE_MS;
    log->due_ms = due_ms;
    myco_timer_start_at(&log->timer, due_ms * 1000000);
}

void myco__rlog_settle(struct myco_rlog *log)
{
    if (log->failed == 0) begin_term(log);
    while (log->failed == 0 && commit_config(log)) continue;
    if (log->failed == 0) myco__rlog_member_settle(log);
    if (log->failed != 0) return;
    arm_timer(log);
    myco__rlog_notice_settle(log);
    myco__rlog_store_pump(log);
    MYCO_METRIC_SET(log->env->metrics, RAFT_TERM, raft_current_term(&log->raft));
    MYCO_METRIC_SET(log->env->metrics, RAFT_COMMIT, raft_commit_index(&log->raft));
    myco__rlog_pump_later(log);
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

/* As the only voter: a term that nobody else can have been leader of. */
static int vote_for_self(struct myco_rlog *log)
{
    struct raft_message message = {.type = RAFT_REQUEST_VOTE,
        .server_id = log->self,
        .server_address = log->address,
        .request_vote = {.version = 2,
            .term = raft_current_term(&log->raft) + 1,
            .candidate_id = log->self,
            .last_log_index = raft_last_index(&log->raft),
            .last_log_term = myco__rlog_last_term(log),
            .disrupt_leader = true}};
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {.message = &message}};
    int code = myco__rlog_step(log, &event);
    log->own_vote_term = raft_current_term(&log->raft);
    return code;
}

/* This process did not run when the timer was due. What the leader sent meanwhile lies in the
 * socket, which is read after the timers: it is heard first, once. */
static bool was_paused(struct myco_rlog *log)
{
    uint64_t now_ms = myco_now_ms(log->env);
    bool late = now_ms > log->due_ms + log->election_ms / 4;
    if (raft_state(&log->raft) != RAFT_FOLLOWER || !late || log->graced) {
        log->graced = false;
        return false;
    }
    log->graced = true;
    log->due_ms = now_ms + GRACE_MS;
    myco_timer_start_at(&log->timer, log->due_ms * 1000000);
    return true;
}

void myco_rlog_set_patient(struct myco_rlog *log, bool patient)
{
    log->patient = patient;
}

static void on_timeout(void *data)
{
    struct myco_rlog *log = data;
    struct raft *raft = &log->raft;
    if (was_paused(log)) return;
    struct raft_event event = {.type = RAFT_TIMEOUT};
    int code;
    if (!may_stand(log)) {
        code = 0;
    } else if (raft_state(raft) == RAFT_FOLLOWER && myco__rlog_only_voter(log) &&
               log->own_vote_term != raft_current_term(raft)) {
        code = vote_for_self(log); /* and leader at the next time-out */
    } else {
        if (raft_state(raft) == RAFT_CANDIDATE && raft->candidate_state.disrupt_leader) {
            raft->candidate_state.disrupt_leader = false;
            raft->candidate_state.in_pre_vote = raft->pre_vote;
        }
        code = myco__rlog_step(log, &event);
        log->timeout_ms = log->now_ms;
    }
    if (code != 0) myco__rlog_fail(log, myco__rlog_code(code), "time-out: %s", raft_strerror(code));
    myco__rlog_settle(log);
}

/* ── Start ──────────────────────────────────────────────────────────────────────────────────── */

static int init_raft(struct myco_rlog *log)
{
    struct raft *raft = &log->raft;
    snprintf(log->address, sizeof log->address, "%016llx", (unsigned long long)log->self);
    memset(raft, 0, sizeof *raft);
    if (raft_init(raft, NULL, NULL, log->self, log->address) != 0) return MYCO_ENOMEM;
    log->raft_open = true;
    raft->tracer = NULL; /* or every message is formatted, to be thrown away */
    raft_seed(raft, (unsigned)myco_random_u64(log->env));
    raft_set_election_timeout(raft, log->election_ms);
    raft_set_heartbeat_timeout(raft, log->heartbeat_ms);
    raft_set_install_snapshot_timeout(raft, 10000);
    raft_set_max_inflight_entries(raft, MYCO__RLOG_INFLIGHT_MAX);
    raft_set_pre_vote(raft, true);
    return 0;
}

/* The entries of the cache as START wants them. libraft reads, and on errors frees, `entries` and
 * *batch. */
static struct raft_entry *start_entries(struct myco_rlog *log, void **batch)
{
    size_t count = log->cache.count;
    struct raft_entry *entries = raft_calloc(count, sizeof *entries);
    *batch = raft_malloc(1);
    if (entries == NULL || *batch == NULL) goto fail;
    for (size_t i = 0; i < count; i++) {
        const struct myco__rlog_entry *from = &log->cache.items[i];
        entries[i] = (struct raft_entry){.term = from->term,
            .type = (enum raft_entry_type)from->type,
            .buf = {.base = from->body, .len = from->size},
            .batch = *batch};
        if (from->type == RAFT_CHANGE &&
            myco__rlog_config_body_to_raft(myco_bytes(from->body, from->size), &entries[i].buf) !=
                0)
            goto fail_bodies;
    }
    return entries;

fail_bodies:
    for (size_t i = 0; i < count; i++)
        if (entries[i].type == RAFT_CHANGE) raft_free(entries[i].buf.base);
fail:
    raft_free(entries);
    raft_free(*batch);
    return NULL;
}

static int step_start(struct myco_rlog *log, struct raft_event *event)
{
    void *batch = NULL;
    struct raft_entry *entries = NULL;
    if (log->cache.count > 0 && (entries = start_entries(log, &batch)) == NULL) return RAFT_NOMEM;

    event->start.entries = entries;
    event->start.n_entries = (unsigned)log->cache.count;
    int code = myco__rlog_step(log, event);
    if (code != 0 || entries == NULL) return code;
    for (unsigned i = 0; i < event->start.n_entries; i++)
        if (entries[i].type == RAFT_CHANGE) raft_free(entries[i].buf.base);
    raft_free(entries);
    raft_free(batch);
    return 0;
}

/* The newest configuration that we have, committed or not: what libraft will act on. */
static void newest_config(const struct myco_rlog *log, struct myco__rlog_config *config)
{
    *config = log->config;
    for (size_t i = log->cache.count; i-- > 0;) {
        const struct myco__rlog_entry *entry = &log->cache.items[i];
        uint64_t index = log->cache.first + i;
        if (entry->type != RAFT_CHANGE || index <= log->config.index) continue;
        (void)myco__rlog_config_read(myco_bytes(entry->body, entry->size), config);
        return;
    }
}

static int begin_alone(struct myco_rlog *log)
{
    struct myco__rlog_config config;
    newest_config(log, &config);
    const struct myco_log_server *self = myco__rlog_config_find(&config, log->self);
    if (self == NULL || self->role != MYCO_ROLE_VOTER || myco__rlog_config_voters(&config) != 1)
        return 0;
    int status = myco__rlog_store_vote(log, log->store.saved.term + 1, log->self);
    log->own_vote_term = log->store.saved.term;
    return status;
}

int myco__rlog_start(struct myco_rlog *log, struct myco_err *err)
{
    int status = begin_alone(log);
    if (status != 0) return myco_err(err, status, "write term and vote: %s", myco_strerror(status));
    if ((status = init_raft(log)) != 0) return myco_err(err, status, "start libraft");
    myco_timer_init(&log->timer, log->env, on_timeout, log);
    myco__rlog_died_init(log);
    myco__rlog_notice_init(log);

    struct raft_snapshot_metadata metadata = {.index = log->snapshot.index,
        .term = log->snapshot.term,
        .configuration_index = log->config.index};
    struct raft_event event = {.type = RAFT_START,
        .start = {.term = log->store.saved.term,
            .voted_for = log->store.saved.vote,
            .start_index = log->cache.first}};
    if (log->snapshot.index > 0) {
        if (myco__rlog_config_to_raft(&log->config, &metadata.configuration) != 0)
            return myco_err(err, MYCO_ENOMEM, "start libraft");
        event.start.metadata = &metadata;
    }
    log->config_seen = log->applied = log->snapshot.index;
    int code = step_start(log, &event);
    if (code != 0)
        return myco_err(err, myco__rlog_code(code), "start libraft: %s", raft_strerror(code));
    myco__rlog_settle(log);
    if (log->failed != 0) return myco_err(err, log->failed, "%s", log->failure);
    return 0;
}
