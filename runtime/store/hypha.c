/* A hypha's life: it is made, given sets by consensus, takes its role in them, and is freed.
 *
 *     NONE ──configure: a member──▶ BACKUP ──configure: primary of a new epoch──▶ PRIMARY
 *       ▲                             ▲  ▲                                           │
 *       └──configure: not a member────┘  └─────a newer epoch: by configure, by───────┘
 *                                              another primary's HELLO, by a REFUSE
 *
 * Each event ends with myco__hypha_settle(), which performs what is owed: it commits, sends,
 * answers. A write settles on a later turn instead, so that the writes of one turn travel in one
 * message, and so that nobody is answered before his call returned. */
#include "store/hypha_internal.h"

#include "base/assert.h"
#include "base/mem.h"

static size_t or_default(size_t value, size_t otherwise)
{
    return value != 0 ? value : otherwise;
}

struct myco_hypha *myco_hypha_new(
    const struct myco_hypha_options *options, const struct myco_hypha_effects *effects)
{
    struct myco_hypha *hypha = myco_alloc(sizeof(*hypha));
    hypha->options = *options;
    hypha->options.tail_size_max = or_default(options->tail_size_max, MYCO__TAIL_SIZE_MAX);
    hypha->options.pending_size_max = or_default(options->pending_size_max, MYCO__PENDING_SIZE_MAX);
    hypha->options.lag_ms = (unsigned)or_default(options->lag_ms, MYCO__LAG_MS);
    hypha->effects = *effects;
    hypha->env = options->env;
    hypha->answers_end = &hypha->answers;
    hypha->table = myco_table_new(options->domain);
    return hypha;
}

static void step_down(struct myco_hypha *hypha)
{
    hypha->serving = false; /* who is answered now may write again at once */
    myco__hypha_answer_lost(hypha);
    myco__fences_forget_pending(hypha);
    myco__pending_free(hypha);
    myco__hypha_members_free(hypha);
    hypha->serving = false;
    hypha->proposed = false;
    hypha->noop = 0;
}

void myco_hypha_free(struct myco_hypha *hypha)
{
    if (hypha == NULL) return;
    step_down(hypha);
    myco__backup_forget(hypha);
    myco_defer_cancel(&hypha->deferred);
    myco_buf_free(&hypha->restoring);
    myco__log_free(&hypha->log);
    myco__fences_free(&hypha->fences);
    myco_table_free(hypha->table);
    myco_free(hypha);
}

/* ── Settling ──────────────────────────────────────────────────────────────────────────────── */

static int apply_one(struct myco_hypha *hypha, struct myco__record *record)
{
    const struct myco_write *write = &record->write;
    int rc = write->fence.size > 0 ? myco__fence_apply(hypha, record) : 0;
    if (rc != 0) return rc;
    if (write->op == MYCO_OP_PUT) {
        return myco_table_put(
            hypha->table, write->key, write->value, record->offset, write->expires_ms, NULL);
    }
    if (write->op == MYCO_OP_DEL) myco_table_del(hypha->table, write->key);
    return 0;
}

/* No memory for the table: the rest waits for the next tick. */
void myco__hypha_apply(struct myco_hypha *hypha)
{
    struct myco__log *log = &hypha->log;
    struct myco__record *record;
    while ((record = myco__log_unapplied(log)) != NULL && record->offset <= log->commit) {
        if (apply_one(hypha, record) != 0) return;
        myco__pending_remove(hypha, record);
        myco__log_applied(log);
        bool live = hypha->epoch > 0; /* not while it recovers */
        if (live && record->write.op != MYCO_OP_NOOP) {
            hypha->effects.committed(record->epoch, record->offset, &record->write, record->time_ms,
                hypha->effects.data);
        }
        myco__hypha_answer_record(hypha, record);
    }
    myco__log_trim(log, myco__hypha_members_need(hypha), hypha->options.tail_size_max,
        hypha->options.pending_size_max);
}

void myco__hypha_settle(struct myco_hypha *hypha)
{
    if (hypha->role == MYCO__ROLE_PRIMARY) {
        myco__hypha_members_commit(hypha);
        for (size_t i = 0; i < hypha->member_count; i++) {
            myco__member_pump(hypha, hypha->members[i]);
        }
    } else {
        myco__backup_settle(hypha);
    }
    myco__hypha_answer_ready(hypha);
}

static void on_settle(void *data)
{
    struct myco_hypha *hypha = data;
    hypha->settle_wanted = false;
    myco__hypha_settle(hypha);
}

void myco__hypha_settle_later(struct myco_hypha *hypha)
{
    if (hypha->settle_wanted) return;
    hypha->settle_wanted = true;
    myco_defer(hypha->env, &hypha->deferred, on_settle, hypha);
}

void myco__hypha_drop(struct myco_hypha *hypha)
{
    hypha->dropped++;
    MYCO_METRIC_ADD(hypha->env->metrics, FRAMES_REFUSED, 1);
}

/* ── Roles ─────────────────────────────────────────────────────────────────────────────────── */

static bool may_lack_records(const struct myco_hypha *hypha)
{
    if (hypha->log.last == 0 || hypha->options.level == MYCO_LEVEL_DISK) return false;
    return hypha->options.level == MYCO_LEVEL_MEMORY || hypha->recovered;
}

/* The NOOP carries the epoch to every member; the journal may have no room for it: the tick tries
 * again. */
static void begin_epoch(struct myco_hypha *hypha)
{
    struct myco_write noop = {.op = MYCO_OP_NOOP};
    uint64_t offset = hypha->log.last + 1;
    if (hypha->restoring.size > 0) return;
    if (may_lack_records(hypha)) offset += MYCO__SKIP;
    if (offset < hypha->set.floor) offset = hypha->set.floor;
    if (myco__hypha_append(hypha, &noop, offset, NULL) != 0) return;
    hypha->noop = offset;
    hypha->recovered = false;
}

static const struct myco_holder *find_holder(
    const struct myco_holder *holders, size_t count, uint64_t node)
{
    for (size_t i = 0; i < count; i++) {
        if (holders[i].node == node) return &holders[i];
    }
    return NULL;
}

static enum myco__role role_in(const struct myco_hypha *hypha, const struct myco_set *set)
{
    uint64_t self = hypha->options.self, generation = hypha->options.generation;
    const struct myco_holder *in_sync = find_holder(set->in_sync, set->in_sync_count, self);
    const struct myco_holder *joining = find_holder(set->joining, set->joining_count, self);
    if (in_sync != NULL && in_sync->generation != generation) in_sync = NULL;
    if (joining != NULL && joining->generation != generation) joining = NULL;
    if (in_sync == NULL && joining == NULL) return MYCO__ROLE_NONE;
    if (in_sync && set->primary == self && set->epoch > hypha->deposed) return MYCO__ROLE_PRIMARY;
    return MYCO__ROLE_BACKUP;
}

static void set_leader(struct myco_hypha *hypha, uint64_t leader, uint64_t generation)
{
    if (hypha->leader == leader && hypha->leader_generation == generation) return;
    myco__backup_forget(hypha);
    hypha->leader = leader;
    hypha->leader_generation = generation;
}

void myco__hypha_follow(
    struct myco_hypha *hypha, uint64_t epoch, uint64_t leader, uint64_t generation)
{
    if (hypha->role == MYCO__ROLE_PRIMARY) step_down(hypha);
    hypha->role = MYCO__ROLE_BACKUP;
    hypha->epoch = epoch;
    myco__backup_forget(hypha);
    set_leader(hypha, leader, generation);
}

void myco__hypha_depose(struct myco_hypha *hypha)
{
    step_down(hypha);
    hypha->deposed = hypha->set.epoch;
    hypha->role = MYCO__ROLE_BACKUP;
    set_leader(hypha, 0, 0);
}

static bool set_is_newer(const struct myco_set *set, const struct myco_set *than)
{
    if (set->epoch != than->epoch) return set->epoch > than->epoch;
    return set->version > than->version;
}

/* The set's epoch is the newest there is: takes the role that it gives. */
static void take_role(struct myco_hypha *hypha, bool fresh)
{
    const struct myco_set *set = &hypha->set;
    enum myco__role role = role_in(hypha, set);
    fresh = fresh || (role == MYCO__ROLE_PRIMARY && hypha->role != role);
    if (role == MYCO__ROLE_PRIMARY && fresh && myco__log_last_epoch(&hypha->log) >= set->epoch) {
        MYCO_ERROR(hypha->env->log, "hypha", "can't lead: the log has records of that epoch",
            "epoch=%llu", (unsigned long long)set->epoch);
        hypha->deposed = set->epoch;
        role = MYCO__ROLE_BACKUP;
    }
    if (hypha->role == MYCO__ROLE_PRIMARY && role != MYCO__ROLE_PRIMARY) step_down(hypha);
    hypha->role = role;
    if (role == MYCO__ROLE_PRIMARY) {
        set_leader(hypha, 0, 0);
        myco__hypha_members_configure(hypha, fresh);
        if (!fresh) return;
        hypha->noop = 0;
        hypha->serving = false;
        begin_epoch(hypha);
        return;
    }
    if (fresh || role == MYCO__ROLE_NONE) myco__backup_forget(hypha);
    const struct myco_holder *leader = find_holder(set->in_sync, set->in_sync_count, set->primary);
    if (leader == NULL || leader->node == hypha->options.self)
        set_leader(hypha, 0, 0);
    else
        set_leader(hypha, leader->node, leader->generation);
    /* who led us may not know that we had left */
    if (role == MYCO__ROLE_BACKUP && hypha->leader_session == 0) hypha->ask_owed = true;
}

void myco_hypha_configure(struct myco_hypha *hypha, const struct myco_set *set)
{
    if (!set_is_newer(set, &hypha->set)) return;
    MYCO_ASSERT(set->in_sync_count <= MYCO_COPIES_MAX);
    MYCO_ASSERT(set->joining_count <= MYCO_COPIES_MAX);
    bool new_epoch = set->epoch > hypha->set.epoch;
    bool skipped = !new_epoch && set->version > hypha->set.version + 1;
    hypha->set = *set;
    hypha->sealed = false;
    hypha->proposed = false;
    hypha->propose_wait_ms = hypha->propose_at_ms = 0;
    if (set->epoch >= hypha->epoch) {
        /* a primary's message may have brought the epoch before consensus did */
        bool fresh =
            set->epoch > hypha->epoch || (new_epoch && set->primary == hypha->options.self);
        hypha->epoch = set->epoch;
        if (skipped) myco__hypha_members_doubt(hypha);
        take_role(hypha, fresh);
    }
    myco__hypha_settle(hypha);
}

void myco_hypha_refused(struct myco_hypha *hypha)
{
    if (!hypha->proposed) return;
    hypha->proposed = false;
    uint64_t wait_ms =
        hypha->propose_wait_ms * 2; /* consensus may have its reasons: ever more rarely */
    if (wait_ms < hypha->options.lag_ms / 3) wait_ms = hypha->options.lag_ms / 3;
    if (wait_ms > MYCO__PROPOSE_WAIT_MS_MAX) wait_ms = MYCO__PROPOSE_WAIT_MS_MAX;
    hypha->propose_wait_ms = wait_ms;
    hypha->propose_at_ms = myco_now_ms(hypha->env) + wait_ms;
    for (size_t i = 0; i < hypha->member_count; i++) {
        hypha->members[i]->counted = hypha->members[i]->proposed = false;
    }
    myco__hypha_settle(hypha);
}

/* ── Events ────────────────────────────────────────────────────────────────────────────────── */

static void receive_as_primary(struct myco_hypha *hypha, uint64_t from,
    const struct myco__head *head, struct myco_reader *reader)
{
    struct myco__member *member = myco__member_of(hypha, from);
    if (hypha->role != MYCO__ROLE_PRIMARY || member == NULL)
        return; /* late: we led, or it was a member */
    if (head->generation != member->generation) return;
    if (head->kind == MYCO__REFUSE && head->epoch > hypha->set.epoch) {
        myco__hypha_depose(hypha);
    } else if (head->epoch == hypha->set.epoch) {
        myco__member_receive(hypha, member, head, reader);
    }
}

void myco_hypha_receive(struct myco_hypha *hypha, uint64_t from, struct myco_slice payload)
{
    struct myco_reader reader = myco_reader(payload.data, payload.size);
    struct myco__head head;
    if (!myco__head_read(&reader, &head) || from == hypha->options.self) {
        myco__hypha_drop(hypha);
        return;
    }
    switch (head.kind) {
    case MYCO__HELLO:
    case MYCO__START:
    case MYCO__APPEND:
    case MYCO__PIECE: myco__backup_receive(hypha, from, &head, &reader); break;
    case MYCO__END:
    case MYCO__ACK:
    case MYCO__ASK:
    case MYCO__TAKEN:
    case MYCO__REFUSE: receive_as_primary(hypha, from, &head, &reader); break;
    default: myco__hypha_drop(hypha); return;
    }
    myco__hypha_settle(hypha);
}

void myco_hypha_durable(struct myco_hypha *hypha, uint64_t sequence)
{
    if (!myco__log_durable(&hypha->log, sequence)) return;
    if (hypha->options.level == MYCO_LEVEL_DISK) hypha->ack_owed = true;
    myco__hypha_settle(hypha);
}

void myco_hypha_peer_up(struct myco_hypha *hypha, uint64_t node, uint64_t generation)
{
    struct myco__member *member = myco__member_of(hypha, node);
    if (member == NULL) return;
    if (member->generation == generation)
        myco__member_greet(hypha, member);
    else
        myco__member_lost(hypha, member);
    myco__hypha_settle(hypha);
}

void myco_hypha_peer_down(struct myco_hypha *hypha, uint64_t node)
{
    struct myco__member *member = myco__member_of(hypha, node);
    if (member != NULL) myco__member_lost(hypha, member);
    if (hypha->role != MYCO__ROLE_PRIMARY && node == hypha->leader) myco__backup_forget(hypha);
    myco__hypha_settle(hypha);
}

void myco_hypha_peer_drained(struct myco_hypha *hypha, uint64_t node)
{
    struct myco__member *member = myco__member_of(hypha, node);
    if (member != NULL) member->blocked = false;
    myco__hypha_settle(hypha);
}

void myco_hypha_tick(struct myco_hypha *hypha)
{
    uint64_t now_ms = myco_now_ms(hypha->env);
    myco__hypha_apply(hypha);
    if (hypha->role == MYCO__ROLE_PRIMARY) {
        if (hypha->noop == 0) begin_epoch(hypha);
        for (size_t i = 0; i < hypha->member_count; i++) {
            myco__member_tick(hypha, hypha->members[i], now_ms);
        }
        myco__hypha_members_propose(hypha, now_ms);
    } else {
        myco__backup_tick(hypha, now_ms);
    }
    myco__hypha_settle(hypha);
}

/* ── What it is ────────────────────────────────────────────────────────────────────────────── */

bool myco_hypha_idle(const struct myco_hypha *hypha)
{
    if (hypha->settle_wanted || hypha->log.applied < hypha->log.commit) return false;
    if (hypha->role == MYCO__ROLE_PRIMARY) return hypha->serving && myco__hypha_members_idle(hypha);
    bool owes = hypha->end_owed || hypha->taken_owed || hypha->ack_owed || hypha->ask_owed;
    return !owes && !hypha->again_wanted && hypha->staging == NULL;
}

void myco_hypha_seal(struct myco_hypha *hypha)
{
    hypha->sealed = true;
}

bool myco_hypha_sealed_clean(const struct myco_hypha *hypha)
{
    if (!hypha->sealed || hypha->role != MYCO__ROLE_PRIMARY || !hypha->serving) return false;
    bool nothing = hypha->log.applied == hypha->log.last && hypha->answers == NULL;
    return nothing && myco__hypha_members_have(hypha);
}

bool myco_hypha_serving(const struct myco_hypha *hypha)
{
    return hypha->role == MYCO__ROLE_PRIMARY && hypha->serving && hypha->restoring.size == 0;
}

struct myco_table *myco_hypha_table(const struct myco_hypha *hypha)
{
    return __atomic_load_n(&hypha->table, __ATOMIC_ACQUIRE);
}

uint64_t myco_hypha_epoch(const struct myco_hypha *hypha)
{
    return myco__log_last_epoch(&hypha->log);
}

uint64_t myco_hypha_offset(const struct myco_hypha *hypha)
{
    return hypha->log.last;
}

uint64_t myco_hypha_committed(const struct myco_hypha *hypha)
{
    return hypha->log.applied;
}

uint64_t myco_hypha_log_time_ms(const struct myco_hypha *hypha)
{
    uint64_t wall_ms = hypha->env->ops->wall_ms(hypha->env);
    return wall_ms > hypha->log.time_ms ? wall_ms : hypha->log.time_ms;
}

const struct myco_set *myco_hypha_set(const struct myco_hypha *hypha)
{
    return &hypha->set;
}
