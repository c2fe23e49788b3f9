/* The copies of hyphae on this node: made, configured and dropped as the log says; their journal
 * and their messages. */
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "host/core_internal.h"

#define HAND_OVER_MS  5  /* between looks at what is sealed */
#define HAND_OVER_MAX 32 /* hyphae sealed at a time, while the node stays */

/* ── names ── a stream of the journal: septum in the upper half, level, index */

static uint64_t stream_of(uint64_t septum, enum myco_level level, uint32_t index)
{
    return septum << 32 | (uint64_t)level << 24 | index;
}

struct core_hypha *core_hypha_find(struct myco_core *core, uint64_t septum, uint32_t index)
{
    for (int level = MYCO_LEVEL_MEMORY; level <= MYCO_LEVEL_DISK; level++) {
        struct core_hypha *copy =
            myco_map_get(&core->hyphae, stream_of(septum, (enum myco_level)level, index));
        if (copy) return copy;
    }
    return NULL;
}

/* ── effects of a hypha ── */

static int send(uint64_t node, bool bulk, struct myco_buf *payload, void *data)
{
    struct core_hypha *copy = data;
    struct myco_core *core = copy->core;
    struct myco_buf out = {0};
    myco_buf_u64(&out, copy->septum);
    myco_buf_u32(&out, copy->index);
    myco_buf_bytes(&out, payload->data, payload->size);
    myco_buf_free(payload);
    if (!core->transport || out.failed) {
        myco_buf_free(&out);
        return out.failed ? MYCO_ENOMEM : MYCO_ENOTCONN;
    }
    return core->transport->ops->send(core->transport, node, bulk ? MYCO_LANE_BULK : MYCO_LANE_DATA,
        bulk ? MYCO_MESSAGE_HYPHA_BULK : MYCO_MESSAGE_HYPHA, &out);
}

static int journal(
    uint64_t offset, uint8_t kind, struct myco_slice bytes, uint64_t *sequence, void *data)
{
    struct core_hypha *copy = data;
    struct myco_core *core = copy->core;
    if (!core->journal) return MYCO_ECLOSED;
    int rc = myco_journal_append(core->journal, copy->stream, offset, kind, bytes, sequence);
    if (rc) return rc;
    copy->last_sequence = *sequence;
    if (myco_list_empty(&copy->dirty)) myco_list_append(&core->dirty, &copy->dirty);
    return 0;
}

static void complete(uint64_t token, int status, uint64_t version, void *data)
{
    struct core_hypha *copy = data;
    if (status == 0 && core_object_hold(copy, token, version)) return;
    core_serve_complete(copy->core, token, status, version);
}

struct proposal {
    struct myco_core *core;
    uint64_t stream;
};

static void proposal_ended(const struct myco_command_result *result, void *data)
{
    struct proposal *proposal = data;
    struct core_hypha *copy = result->status == MYCO_ECLOSED
                                  ? NULL
                                  : myco_map_get(&proposal->core->hyphae, proposal->stream);
    if (copy && result->status)
        myco_hypha_refused(copy->hypha); /* what was taken came back as on_hypha */
    myco_free(proposal);
}

static void propose(enum myco_propose what, uint64_t node, uint64_t generation, void *data)
{
    struct core_hypha *copy = data;
    struct myco_core *core = copy->core;
    const struct myco_set *set = myco_hypha_set(copy->hypha);
    struct myco_buf body = {0};
    myco_command_set(&body, what == MYCO_PROPOSE_SHRINK ? MYCO_SET_SHRINK : MYCO_SET_EXPAND,
        copy->septum, copy->index, set->epoch, set->version, node, generation);
    struct proposal *proposal = myco_alloc(sizeof *proposal);
    proposal->core = core;
    proposal->stream = copy->stream;
    MYCO_DEBUG(core->env->log, "mycel",
        what == MYCO_PROPOSE_SHRINK ? "proposing a smaller set" : "proposing a larger set",
        "septum=%llu hypha=%u node=%016llx", (unsigned long long)copy->septum, copy->index,
        (unsigned long long)node);
    /* Never given up before it is known: while it is unresolved the union must acknowledge. */
    if (myco_commands_submit(
            core->commands, MYCO_COMMAND_SETS, &body, UINT32_MAX, proposal_ended, proposal)) {
        struct myco_command_result full = {.status = MYCO_EFULL};
        proposal_ended(&full, proposal);
    }
}

void core_hypha_snapshot(struct core_hypha *copy)
{
    struct myco_core *core = copy->core;
    if (!core->journal) return;
    struct myco_buf out = {0};
    myco_hypha_save(copy->hypha, &out);
    if (!out.failed)
        myco_journal_snapshot(core->journal, copy->stream, myco_hypha_offset(copy->hypha),
            myco_buf_as_slice(&out), NULL, NULL);
    myco_buf_free(&out);
}

static void replaced(void *data)
{
    core_hypha_snapshot(data);
}

static void committed(
    uint64_t epoch, uint64_t offset, const struct myco_write *write, uint64_t time_ms, void *data)
{
    struct core_hypha *copy = data;
    (void)time_ms;
    copy->fresh_bytes += write->key.size + write->value.size;
    copy->fresh_writes++;
    copy->behind_bytes += write->key.size + write->value.size;
    if (!copy->behind_since_ms) copy->behind_since_ms = myco_now_ms(copy->core->env) + 1;
    core_watch_committed(copy, write);
    if (copy->core->events.on_trace)
        copy->core->events.on_trace("commit", copy->stream, epoch, offset, copy->core->events.data);
}

/* ── life of a copy ── */

static struct core_hypha *make(struct myco_core *core, uint64_t stream)
{
    struct core_hypha *copy = myco_alloc(sizeof *copy);
    copy->core = core;
    copy->septum = stream >> 32;
    copy->index = (uint32_t)(stream & 0xffffff);
    copy->stream = stream;
    myco_list_init(&copy->dirty);
    myco_list_init(&copy->parked);
    struct myco_hypha_options options = {.env = core->env,
        .domain = core->domain,
        .self = core->identity.id,
        .generation = core->identity.generation,
        .level = (enum myco_level)(stream >> 24 & 0xff)};
    struct myco_hypha_effects effects = {
        send, journal, complete, propose, replaced, committed, copy};
    copy->hypha = myco_hypha_new(&options, &effects);
    myco_map_put(&core->hyphae, stream, copy);
    MYCO_DEBUG(
        core->env->log, "mycel", "a copy is made", "stream=%llx", (unsigned long long)stream);
    uint32_t cursor = 0;
    uint64_t id;
    const struct core_peer *peer;
    while ((peer = myco_map_next(&core->up, &cursor, &id)))
        myco_hypha_peer_up(copy->hypha, id, peer->generation);
    return copy;
}

static void destroy(struct myco_core *core, struct core_hypha *copy)
{
    MYCO_DEBUG(core->env->log, "mycel", "a copy goes", "stream=%llx offset=%llu",
        (unsigned long long)copy->stream, (unsigned long long)myco_hypha_offset(copy->hypha));
    myco_map_del(&core->hyphae, copy->stream);
    myco_list_remove(&copy->dirty);
    core_watch_gone(copy);
    myco_hypha_free(copy->hypha);
    myco_free(copy);
}

static void discard(struct myco_core *core, struct core_hypha *copy)
{
    uint64_t stream = copy->stream;
    destroy(core, copy);
    if (core->journal) myco_journal_drop(core->journal, stream);
}

/* ── copies that are not wanted any more ──
 *
 * A node that lags behind the log may read that it is no member while others, further on, have made
 * it one again and rely on what it acknowledged meanwhile. So a copy that is out of the set only
 * falls silent; it goes once a command of ours that was sent after that has been applied and the
 * set still is without us: whoever counts on this copy later must hear from it anew, and it is
 * silent. */

static void barrier_passed(const struct myco_result *result, void *data);

static void send_barrier(struct myco_core *core)
{
    struct myco_buf body = {0};
    if (core->barrier_under_way || core->leaving) return;
    core->barrier_under_way = true;
    core->barriers_sent++;
    myco_core_submit(core, MYCO_COMMAND_BARRIER, &body, 10000, barrier_passed, core);
}

/* Of the members that have everything none is to be seen: should they be lost for ever, this copy
 * may be the best that is left (core_loss.c). */
static bool is_last_hope(struct myco_core *core, const struct core_hypha *copy)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    if (!septum || septum->options.kind != MYCO_SEPTUM_DURABLE) return false;
    const struct myco_set *set = &septum->hyphae[copy->index].set;
    for (uint8_t i = 0; i < set->in_sync_count; i++)
        if (set->in_sync[i].node == core->identity.id || core_is_up(core, set->in_sync[i].node))
            return false;
    return set->in_sync_count > 0;
}

static void barrier_passed(const struct myco_result *result, void *data)
{
    struct myco_core *core = data;
    bool again = false;
    core->barrier_under_way = false;
    if (result->status == MYCO_ECLOSED) return;
    if (result->status == 0) core->barriers_passed = core->barriers_sent;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) {
        if (!copy->frozen) continue;
        if (copy->frozen > core->barriers_passed) {
            again = true;
            continue;
        }
        if (is_last_hope(core, copy)) continue; /* until the set changes, or somebody is up */
        discard(core, copy);
    }
    if (again) send_barrier(core);
}

static void freeze(struct myco_core *core, struct core_hypha *copy, const struct myco_set *set)
{
    if (copy->frozen) {
        if (copy->frozen <= core->barriers_passed) send_barrier(core);
        return;
    }
    myco_hypha_configure(copy->hypha, set);
    copy->frozen = core->barriers_sent + 1; /* the next one to be sent */
    send_barrier(core);
}

/* ── copies that come from the object store ──
 *
 * Until LOADED is applied nobody was served from any copy, so one that is not wanted as it is goes
 * at once, without a barrier: what is loaded later must begin with an empty copy, and one that was
 * only half loaded when another node finished joins like any other. */

static bool is_void(
    const struct core_hypha *copy, const struct myco_hypha_record *record, uint64_t self)
{
    if (!record->from_store) return copy->loading_epoch != 0;
    if (record->set.primary != self) return true;
    return copy->loading_epoch && copy->loading_epoch != record->set.epoch;
}

void core_hypha_sync(struct myco_core *core, struct myco_septum_record *septum, uint32_t index)
{
    const struct myco_hypha_record *record = &septum->hyphae[index];
    uint64_t stream = stream_of(septum->id, septum->options.level, index);
    struct core_hypha *copy = myco_map_get(&core->hyphae, stream);
    uint64_t self = core->identity.id;
    bool holds = myco_set_has(&record->set, self, core->identity.generation) ||
                 myco_set_joining(&record->set, self);
    if (copy && is_void(copy, record, self)) {
        discard(core, copy);
        copy = NULL;
    }
    if (!holds) {
        if (copy) freeze(core, copy, &record->set);
        return;
    }
    if (copy) copy->frozen = 0;
    if (record->from_store) {
        if (record->set.primary != self) return; /* another's task */
        if (!copy) copy = make(core, stream);
        core_persist_load(core, copy);
        return;
    }
    if (!copy) copy = make(core, stream);
    copy->handing_over = false;
    bool was = myco_hypha_set(copy->hypha)->primary == self;
    myco_hypha_configure(copy->hypha, &record->set);
    if (record->set.primary == self && !was) {
        MYCO_DEBUG(core->env->log, "mycel", "primary", "septum=%s hypha=%u", septum->name, index);
    }
    if (core->events.on_trace && record->set.primary == self)
        core->events.on_trace(
            "primary", stream, record->set.epoch, record->set.version, core->events.data);
}

void core_hyphae_sync_all(struct myco_core *core)
{
    for (uint32_t s = 0; s < core->state->septum_count; s++)
        for (uint32_t h = 0; h < core->state->septa[s]->options.hyphae; h++)
            core_hypha_sync(core, core->state->septa[s], h);
    core_ops_retry(core);
}

/* ── the journal ── */

static int load_snapshot(uint64_t stream, uint64_t position, struct myco_slice bytes, void *data)
{
    struct myco_core *core = data;
    struct core_hypha *copy = myco_map_get(&core->hyphae, stream);
    struct myco_err err = {0};
    (void)position;
    if (!copy) copy = make(core, stream);
    int rc = myco_hypha_load_snapshot(copy->hypha, bytes, &err);
    if (rc)
        MYCO_ERROR(core->env->log, "mycel", "a hypha's snapshot can't be loaded",
            "stream=%llx error=\"%s\"", (unsigned long long)stream, err.message);
    return rc;
}

static int load_record(
    uint64_t stream, uint64_t position, uint8_t kind, struct myco_slice bytes, void *data)
{
    struct myco_core *core = data;
    struct core_hypha *copy = myco_map_get(&core->hyphae, stream);
    struct myco_err err = {0};
    if (!copy) copy = make(core, stream);
    int rc = myco_hypha_load_record(copy->hypha, position, kind, bytes, &err);
    if (rc)
        MYCO_ERROR(core->env->log, "mycel", "a hypha's record can't be loaded",
            "stream=%llx error=\"%s\"", (unsigned long long)stream, err.message);
    return rc;
}

static void on_durable(uint64_t sequence, void *data)
{
    struct myco_core *core = data;
    core->disk_full = false;
    MYCO_LIST_EACH (item, &core->dirty) {
        struct core_hypha *copy = MYCO_CONTAINER(item, struct core_hypha, dirty);
        if (copy->last_sequence <= sequence) myco_list_remove(&copy->dirty);
        myco_hypha_durable(copy->hypha, sequence);
    }
}

static void on_journal_failed(int status, void *data)
{
    struct myco_core *core = data;
    MYCO_ERROR(
        core->env->log, "mycel", "the journal can't be written", "error=%s", myco_strerror(status));
    core->disk_full = status == MYCO_ENOSPC;
    if (core->disk_full) return; /* writes are refused until there is space */
    core->failed = true;
    if (core->events.on_failed)
        core->events.on_failed(status, "the journal can't be written", core->events.data);
}

static void on_snapshot_wanted(uint64_t stream, void *data)
{
    struct myco_core *core = data;
    struct core_hypha *copy = myco_map_get(&core->hyphae, stream);
    if (copy)
        core_hypha_snapshot(copy);
    else if (core->joined)
        myco_journal_drop(core->journal, stream);
}

int core_hyphae_open(struct myco_core *core, struct myco_err *err)
{
    struct myco_journal_options options = {
        .disk = core->options.disk, .env = core->env, .folder = "journal"};
    struct myco_journal_events events = {
        load_snapshot, load_record, on_durable, on_journal_failed, on_snapshot_wanted, core};
    return myco_journal_open(&options, &events, &core->journal, err);
}

static void forget_journal(void *data)
{
    (void)data;
}

void core_hyphae_close(struct myco_core *core)
{
    if (core->journal) myco_journal_close(core->journal, forget_journal, NULL);
    core->journal = NULL;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) destroy(core, copy);
    myco_map_free(&core->hyphae);
}

/* ── events for all ── */

void core_hyphae_receive(struct myco_core *core, uint64_t from, struct myco_slice payload)
{
    struct myco_reader in = myco_reader(payload.data, payload.size);
    uint64_t septum = myco_read_u64(&in);
    uint32_t index = myco_read_u32(&in);
    if (in.bad) return;
    struct core_hypha *copy = core_hypha_find(core, septum, index);
    if (!copy || copy->loading_epoch || copy->frozen || !core->joined) return;
    myco_hypha_receive(copy->hypha, from, myco_bytes(in.at, myco_read_left(&in)));
}

void core_hyphae_peer_up(struct myco_core *core, uint64_t node, uint64_t generation)
{
    bool kept = false;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) {
        myco_hypha_peer_up(copy->hypha, node, generation);
        kept |= copy->frozen && copy->frozen <= core->barriers_passed;
    }
    if (kept) send_barrier(core);
}

void core_hyphae_peer_down(struct myco_core *core, uint64_t node)
{
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) myco_hypha_peer_down(copy->hypha, node);
}

void core_hyphae_drained(struct myco_core *core, uint64_t node)
{
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae)
        myco_hypha_peer_drained(copy->hypha, node);
}

void core_hyphae_tick(struct myco_core *core)
{
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae)
        if (!copy->loading_epoch && !myco_hypha_idle(copy->hypha)) myco_hypha_tick(copy->hypha);
}

uint32_t core_hyphae_primary_count(struct myco_core *core)
{
    uint32_t count = 0;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae)
        count += copy->loading_epoch || myco_hypha_set(copy->hypha)->primary == core->identity.id;
    return count;
}

/* ── the dead ── said by gossip: faster than waiting for an answer that does not come */

static bool is_dead(struct myco_core *core, uint64_t node)
{
    const struct myco_member_record *record = myco_state_member(core->state, node);
    const struct myco_member *member = myco_swim_get(core->swim, node);
    return (record && record->left) || (member && member->state >= MYCO_MEMBER_DEAD);
}

static uint64_t dead_member(struct myco_core *core, const struct myco_set *set)
{
    for (uint8_t i = 0; i < set->in_sync_count; i++)
        if (is_dead(core, set->in_sync[i].node)) return set->in_sync[i].node;
    return 0;
}

void core_hyphae_shrink(struct myco_core *core)
{
    struct myco_buf body = {0};
    if (!core->joined || core->leaving) return;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) {
        const struct myco_set *set = myco_hypha_set(copy->hypha);
        if (copy->loading_epoch || set->primary != core->identity.id ||
            copy->shrunk == set->version)
            continue;
        uint64_t node = dead_member(core, set);
        if (!node || node == core->identity.id) continue;
        copy->shrunk = set->version;
        myco_command_set(
            &body, MYCO_SET_SHRINK, copy->septum, copy->index, set->epoch, set->version, node, 0);
    }
    if (body.size)
        myco_commands_submit(core->commands, MYCO_COMMAND_SETS, &body, 5000, NULL, NULL);
    else
        myco_buf_free(&body);
}

/* LEAVE takes a node out of all sets. A set of which nobody else can be reached might then name
 * only such as never come back; once a primary is replaced, and has dropped the dead from its set,
 * what is left is a set of one, which LEAVE does not change. */
static bool is_last_reached(struct myco_core *core, const struct core_hypha *copy)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    const struct myco_set *set = myco_hypha_set(copy->hypha);
    if (!septum || septum->options.kind != MYCO_SEPTUM_DURABLE || set->in_sync_count < 2)
        return false;
    bool has_all = false, reaches = false;
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        has_all |= set->in_sync[i].node == core->identity.id;
        reaches |= core_is_up(core, set->in_sync[i].node);
    }
    return has_all && !reaches;
}

bool core_hyphae_awaited(struct myco_core *core)
{
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae)
        if (is_last_reached(core, copy)) return true;
    return false;
}

/* ── hand-over ── seal, wait until nothing is pending, propose the next primary; again until it is
 * taken */

static bool may_inherit(struct myco_core *core, const struct myco_set *set, uint64_t node)
{
    const struct myco_member_record *member = myco_state_member(core->state, node);
    return node != core->identity.id && member && !member->left && myco_set_has(set, node, 0) &&
           core_is_up(core, node) && (core->leaving || !core_member_slow(core, node));
}

static uint64_t heir(struct myco_core *core, const struct core_hypha *copy, bool all)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    const struct myco_set *set = myco_hypha_set(copy->hypha);
    uint64_t self = core->identity.id;
    if (!septum || copy->loading_epoch || set->primary != self) return 0;
    const struct myco_hypha_record *record = &septum->hyphae[copy->index];
    if (record->set.epoch != set->epoch) return 0;
    uint64_t first = record->target_count ? record->targets[0] : 0;
    if (first != self && may_inherit(core, set, first)) return first;
    for (uint8_t i = 0; all && i < set->in_sync_count; i++)
        if (may_inherit(core, set, set->in_sync[i].node)) return set->in_sync[i].node;
    return 0;
}

bool core_hyphae_hand_over(struct myco_core *core, bool all)
{
    if (!core->joined || myco_commands_pending(core->commands) > 64) return all && core->joined;
    struct myco_buf body = {0};
    uint32_t sealed = 0, ready = 0;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) {
        uint64_t next = heir(core, copy, all);
        if (!next) continue;
        if (++sealed > HAND_OVER_MAX && !all) break;
        if (!copy->handing_over) myco_hypha_seal(copy->hypha);
        copy->handing_over = true;
        if (!myco_hypha_sealed_clean(copy->hypha)) continue;
        const struct myco_set *set = myco_hypha_set(copy->hypha);
        myco_command_set(
            &body, MYCO_SET_PRIMARY, copy->septum, copy->index, set->epoch, set->version, next, 0);
        copy->offered = set->version;
        ready++;
    }
    if (ready)
        myco_commands_submit(core->commands, MYCO_COMMAND_SETS, &body, 1000, NULL, NULL);
    else
        myco_buf_free(&body);
    bool leaving = core->leave_stage == LEAVE_HAND_OVER;
    if (sealed || leaving) myco_timer_start(&core->hand_over, HAND_OVER_MS, 0);
    return sealed > 0;
}
