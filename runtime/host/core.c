/* The life of a core: opening, joining, leaving; and the switchboard between transport, gossip and
 * subsystems. */
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/text.h"
#include "host/core_internal.h"
#include "host/core_witness.h"

#define TICK_MS    50
#define TIMEOUT_MS 5000
#define LEASE_MS   300

/* ── sending ── */

bool core_is_up(struct myco_core *core, uint64_t node)
{
    return myco_map_get(&core->up, node) != NULL;
}

bool core_peer_has(struct myco_core *core, uint64_t node, enum myco_feature feature)
{
    const struct core_peer *peer = myco_map_get(&core->up, node);
    if (!peer || feature == MYCO_FEATURE_NONE) return peer != NULL;
    return peer->features & core->state->features_own & MYCO_FEATURE_BIT(feature);
}

uint64_t myco_core_features(const struct myco_core *core)
{
    return core->state->features_own;
}

static uint64_t peer_features(uint64_t node, uint64_t generation, void *data)
{
    struct myco_core *core = data;
    const struct core_peer *peer = myco_map_get(&core->up, node);
    return peer && peer->generation == generation ? peer->features : 0;
}

uint64_t core_member_features(struct myco_core *core, const struct myco_member_record *member)
{
    if (member->id == core->identity.id) return core->state->features_own;
    if (member->features || myco_state_feature(core->state, MYCO_FEATURE_FEATURES))
        return member->features;
    return peer_features(member->id, member->generation, core);
}

void core_send(struct myco_core *core, uint64_t to, uint8_t type, struct myco_buf *payload)
{
    static const uint8_t lanes[256] = {
#define X(symbol, number, lane, feature, owner) [number] = MYCO_LANE_##lane,
        MYCO_MESSAGES(X)
#undef X
    };
    static const uint8_t features[256] = {
#define X(symbol, number, lane, feature, owner) [number] = MYCO_FEATURE_##feature,
        MYCO_MESSAGES(X)
#undef X
    };
    bool known = features[type] == MYCO_FEATURE_NONE || core_peer_has(core, to, features[type]);
    if (!core->transport || !known) {
        myco_buf_free(payload);
        return;
    }
    int rc = core->transport->ops->send(core->transport, to, lanes[type], type, payload);
    if (rc)
        MYCO_TRACE(core->env->log, "net", "not sent", "type=%u error=%s", type, myco_errname(rc));
}

static void send_pledge(uint64_t to, struct myco_buf *payload, void *data)
{
    core_send(data, to, MYCO_MESSAGE_PLEDGE, payload);
}

static void send_lease(uint64_t to, struct myco_buf *payload, void *data)
{
    core_send(data, to, MYCO_MESSAGE_LEASE, payload);
}

static void send_command(uint64_t to, uint8_t type, struct myco_buf *payload, void *data)
{
    core_send(data, to, type, payload);
}

static bool bus_knows(uint64_t node, uint8_t type, void *data)
{
    bool fenced = type == MYCO_MESSAGE_PUBLISH_FENCED;
    return !fenced || core_peer_has(data, node, MYCO_FEATURE_TOPIC_FENCES);
}

static uint64_t bus_fence_newer(const struct myco_fence *fence, void *data)
{
    return core_fence_newer(data, fence);
}

static int core_admits(struct myco_slice command, struct myco_err *err, void *data)
{
    struct myco_core *core = data;
    return myco_council_admits(core->council, command, err);
}

static int send_bus(uint64_t node, uint8_t type, struct myco_buf *payload, void *data)
{
    struct myco_core *core = data;
    if (core->transport)
        return core->transport->ops->send(core->transport, node,
            type == MYCO_MESSAGE_INTEREST ? MYCO_LANE_CONTROL : MYCO_LANE_DATA, type, payload);
    myco_buf_free(payload);
    return MYCO_ENOTCONN;
}

/* ── gossip ── */

static void tell_meta(struct myco_core *core)
{
    struct myco_node_meta meta = {
        .fresh = myco_rlog_empty(core->log) && !core->joined,
        .leads = myco_rlog_is_leader(core->log),
        .slow = core->lag.slow,
        .expect = core->options.expect,
        .term = myco_rlog_term(core->log),
        .cluster = core->state->cluster,
        .admin = myco_str(core->admin),
        .version = myco_str(myco_version()),
    };
    if (!meta.leads) meta.term = 0; /* else every term would travel */
    struct myco_buf out = {0};
    myco_node_meta_write(&meta, &out);
    uint64_t hash = myco_hash(out.data, out.size);
    if (hash != core->meta_hash && core->swim) {
        core->meta_hash = hash;
        myco_swim_set_meta(core->swim, myco_buf_as_slice(&out));
    }
    myco_buf_free(&out);
}

static void hint_leader(struct myco_core *core)
{
    uint64_t best = 0, best_term = 0;
    uint32_t cursor = 0;
    const struct myco_member *member;
    while ((member = myco_swim_next(core->swim, &cursor))) {
        struct myco_node_meta meta;
        if (member->state > MYCO_MEMBER_SUSPECT || !myco_node_meta_read(member, &meta) ||
            !meta.leads || meta.term < best_term || !core_home_follows(core, meta.cluster))
            continue;
        best = member->id;
        best_term = meta.term;
    }
    core->hinted = best;
    myco_commands_hint(core->commands, best);
    myco_rlog_tail_hint(core->log, best);
}

/* The connection is no more: what was under way on it has to end now. */
static void lose_peer(struct myco_core *core, uint64_t peer)
{
    if (!core_is_up(core, peer)) return;
    myco_free(myco_map_del(&core->up, peer));
    myco_rlog_tail_peer_down(core->log, peer);
    myco_bus_peer_down(core->bus, peer);
    core_hyphae_peer_down(core, peer);
    core_ops_peer_down(core, peer);
}

/* All members are looked through only when it may change the answer: there may be thousands. */
static bool concerns_hint(struct myco_core *core, const struct myco_member *now)
{
    struct myco_node_meta meta;
    return now->id == core->hinted || (myco_node_meta_read(now, &meta) && meta.leads);
}

static void on_member(const struct myco_member *now, const struct myco_member *was, void *data)
{
    struct myco_core *core = data;
    if (!now) { /* forgotten: long dead, or of another cluster */
        core->transport->ops->unlink(core->transport, was->id);
        lose_peer(core, was->id);
        if (was->id == core->hinted) hint_leader(core);
        return;
    }
    bool alive = now->state <= MYCO_MEMBER_SUSPECT;
    if (alive) {
        core->transport->ops->link(core->transport, now->id, &now->addr);
    } else {
        core->transport->ops->unlink(core->transport, now->id);
        lose_peer(core, now->id); /* the transport tells no on_down of what is unlinked here */
    }
    witness_member(core, now, was);
    if (!alive && myco_rlog_leader(core->log) == now->id) myco_rlog_leader_died(core->log, now->id);
    MYCO_METRIC_SET(
        core->env->metrics, MEMBERS_ALIVE, myco_swim_count(core->swim, MYCO_MEMBER_ALIVE));
    if (concerns_hint(core, now)) hint_leader(core);
    if (core->council) myco_council_poke(core->council);
    core_topology_changed(core);
    core_refresh_soon(core);
}

static void on_impostor(uint64_t generation, void *data)
{
    struct myco_core *core = data;
    MYCO_ERROR(core->env->log, "hypha", "another process has this node's identity",
        "generation=%llu", (unsigned long long)generation);
    core->failed = true;
    if (core->events.on_failed)
        core->events.on_failed(MYCO_EDENIED,
            "another process runs with this node's identity: its data folder is a copy",
            core->events.data);
}

/* ── transport ── */

static void on_up(uint64_t peer, uint64_t generation, uint64_t features, void *data)
{
    struct myco_core *core = data;
    if (core_home_refuses(core, peer)) return;
    struct core_peer *slot = myco_map_get(&core->up, peer);
    if (!slot) myco_map_put(&core->up, peer, slot = myco_alloc(sizeof *slot));
    *slot = (struct core_peer){generation, features};
    myco_bus_peer_up(core->bus, peer);
    core_hyphae_peer_up(core, peer, generation);
    myco_swim_connected(core->swim, peer, generation);
    core_refresh_soon(core);
}

static void on_down(uint64_t peer, bool was_up, enum myco_down_reason reason, void *data)
{
    struct myco_core *core = data;
    if (was_up) lose_peer(core, peer);
    core_gossip_down(core, peer, reason);
}

static void on_message(uint64_t peer, uint8_t type, struct myco_slice payload, void *data)
{
    struct myco_core *core = data;
    if (core_home_refuses(core, peer)) return;
    /* Of a group that was recovered without it, it may believe in the old one; it may ask to join,
     * to be told. */
    if (type != MYCO_MESSAGE_SUBMIT && myco_state_removed(core->state, peer)) return;
    switch (type) {
    case MYCO_MESSAGE_RAFT:
    case MYCO_MESSAGE_RAFT_BULK:
        witness_heard(core, peer);
        myco_rlog_receive(core->log, peer, payload);
        return;
    case MYCO_MESSAGE_TAIL:
    case MYCO_MESSAGE_TAIL_BULK: myco_rlog_tail_receive(core->log, peer, payload); return;
    case MYCO_MESSAGE_PLEDGE: myco_bootstrap_receive(core->bootstrap, peer, payload); return;
    case MYCO_MESSAGE_SUBMIT:
    case MYCO_MESSAGE_SUBMIT_REFUSED:
        myco_commands_receive(core->commands, peer, type, payload);
        return;
    case MYCO_MESSAGE_LEASE: myco_lease_receive(core->lease, peer, payload); return;
    case MYCO_MESSAGE_HYPHA:
    case MYCO_MESSAGE_HYPHA_BULK: core_hyphae_receive(core, peer, payload); return;
    case MYCO_MESSAGE_REQUEST: core_serve_request(core, peer, payload); return;
    case MYCO_MESSAGE_RESPONSE: core_ops_response(core, peer, payload); return;
    case MYCO_MESSAGE_INTEREST:
    case MYCO_MESSAGE_PUBLISH:
    case MYCO_MESSAGE_PUBLISH_FENCED: myco_bus_receive(core->bus, peer, type, payload); return;
    case MYCO_MESSAGE_GOSSIP: myco_swim_receive_mesh(core->swim, peer, payload); return;
    case MYCO_MESSAGE_COPIES: core_loss_receive(core, peer, payload); return;
    case MYCO_MESSAGE_PERSIST: core_persist_receive(core, peer, payload); return;
    default: MYCO_METRIC_ADD(core->env->metrics, FRAMES_REFUSED, 1);
    }
}

static void on_drain(uint64_t peer, enum myco_lane lane, void *data)
{
    (void)lane;
    core_hyphae_drained(data, peer);
}

struct myco_transport_events myco_core_transport_events(struct myco_core *core)
{
    return myco_route_events(core->route);
}

static void on_datagram(const struct myco_addr *from, struct myco_slice bytes, void *data)
{
    struct myco_core *core = data;
    if (core->swim) myco_swim_receive(core->swim, from, bytes);
}

/* ── what follows from changes, gathered: once a turn of the loop ── */

static bool is_ready(struct myco_core *core)
{
    if (!core->joined || !core->state->cluster || core->failed) return false;
    size_t members = 0;
    MYCO_MAP_EACH (struct myco_member_record, member, &core->state->members)
        members += !member->left;
    return members >= core->options.expect || core->ready;
}

static void check_ready(struct myco_core *core)
{
    if (core->ready || !is_ready(core)) return;
    core->ready = true;
    MYCO_INFO(core->env->log, "hypha", "ready", "cluster=%s members=%u", core->cluster,
        core->state->members.count);
    if (core->events.on_ready) core->events.on_ready(core->events.data);
}

static void refresh(void *data)
{
    struct myco_core *core = data;
    core->refresh_due = false;
    if (!core->swim) return;
    core_home_refresh(core);
    myco_lease_hold(core->lease,
        core_hyphae_primary_count(core) + core_duties_held(core) > 0 || core_locks_any(core));
    tell_meta(core);
    core_hyphae_shrink(core);
    core_birth(core);
    check_ready(core);
    core_ops_retry(core);
}

void core_refresh_soon(struct myco_core *core)
{
    if (core->refresh_due || !core->swim) return;
    core->refresh_due = true;
    myco_defer(core->env, &core->refresh, refresh, core);
}

/* ── joining ── */

static void joined(const struct myco_result *result, void *data)
{
    struct myco_core *core = data;
    core->join_sent = false;
    if (result->status == MYCO_ECLOSED) return;
    if (result->status == MYCO_EDENIED || result->status == MYCO_EVERSION) {
        core->failed = true;
        if (core->events.on_failed)
            core->events.on_failed(result->status, result->message, core->events.data);
        return;
    }
    if (result->status) return; /* asked again */
    core->joined = true;
    myco_timer_stop(&core->joining);
    core_topology_changed(core);
    core_hyphae_sync_all(core);
    static const char *const subsystems[] = {"mycel", "cytoplasm"};
    for (int i = 0; i < 2; i++) {
        struct myco_buf body = {0};
        myco_command_name(&body, subsystems[i]);
        myco_commands_submit(core->commands, MYCO_COMMAND_CAMPAIGN, &body, 60000, NULL, NULL);
    }
    core_refresh_soon(core);
}

static void join(void *data)
{
    struct myco_core *core = data;
    if (core->joined || core->join_sent || core->failed || !myco_commands_leader(core->commands))
        return;
    if (myco_rlog_is_leader(core->log) && !myco_rlog_is_established(core->log)) return;
    if (!core->home.id) return; /* first the birth */
    struct myco_member_record member = {
        .addr = core->addr, .features = core->state->features_own, .labels = core->labels};
    struct myco_buf body = {0};
    myco_text_copy(member.name, sizeof member.name, core->name);
    myco_text_copy(member.version, sizeof member.version, myco_version());
    myco_command_join(&body, &member, core->clean);
    core->join_sent = true;
    myco_core_submit(core, MYCO_COMMAND_JOIN, &body, 5000, joined, core);
}

/* ── the clock ── */

static void tick(void *data)
{
    struct myco_core *core = data;
    MYCO_METRIC_SET(core->env->metrics, RAFT_TERM, myco_rlog_term(core->log));
    MYCO_METRIC_SET(core->env->metrics, RAFT_COMMIT, myco_rlog_commit_index(core->log));
    myco_domain_poll(core->domain);
    core_lag_tick(core);
    core_hyphae_tick(core);
    if (!core->leaving) core_hyphae_hand_over(core, core->lag.slow);
    core_serve_sweep(core);
    core_duties_tick(core);
    core_locks_tick(core);
    core_leave_tick(core);
    witness_tick(core);
    core_refresh_soon(core);
}

/* More often than the tick while something is being handed over: it does not serve meanwhile. */
static void hand_over(void *data)
{
    struct myco_core *core = data;
    if (core->leaving)
        core_leave_tick(core);
    else
        core_hyphae_hand_over(core, core->lag.slow);
}

static void lease_gained(void *data)
{
    struct myco_core *core = data;
    witness_lease(core, true);
    core_duties_lease(core);
    core_locks_lease(core);
    core_ops_retry(core);
}

static void lease_lost(void *data)
{
    struct myco_core *core = data;
    witness_lease(core, false);
    core_duties_lease(core);
    core_locks_lease(core);
    core_ops_retry(core);
}

static void formed(void *data)
{
    core_home_formed(data);
}

/* ── opening and closing ── */

int myco_core_open(const struct myco_core_options *options, const struct myco_identity *identity,
    const struct myco_core_events *events, struct myco_core **core_out, struct myco_err *err)
{
    struct myco_core *core = myco_alloc(sizeof *core);
    core->options = *options;
    core->events = *events;
    core->identity = *identity;
    core->env = options->env;
    core->clean = true;
    if (!core->options.lease_ms) core->options.lease_ms = LEASE_MS;
    if (!core->options.timeout_ms) core->options.timeout_ms = TIMEOUT_MS;
    if (!core->options.value_size_max) core->options.value_size_max = MYCO_VALUE_SIZE_MAX;
    myco_text_copy(core->name, sizeof core->name, options->name);
    myco_text_copy(core->cluster, sizeof core->cluster, options->cluster);
    myco_text_copy(core->labels, sizeof core->labels, options->labels ? options->labels : "");
    myco_list_init(&core->dirty);
    myco_list_init(&core->waiting);
    myco_list_init(&core->watches);
    myco_list_init(&core->campaigns);
    myco_list_init(&core->observers);
    myco_list_init(&core->given_up);
    myco_list_init(&core->losses);
    myco_list_init(&core->inbox);
    core->domain = myco_domain_new();
    core->started_ms = myco_now_ms(core->env);

    core->chronicle = chronicle_new(core->env, options->events_max);
    core->witness = witness_new();
    struct myco_state_events state_events = core_state_events(core);
    core->state = myco_state_new(&state_events);
    core->state->features_own &= ~options->features_masked;
    core->commands = myco_commands_new(core->env, identity->id, identity->generation,
        &(struct myco_commands_events){
            .send = send_command, .data = core, .state = core->state, .admits = core_admits});
    core->lease = myco_lease_new(core->env, identity->id,
        &(struct myco_lease_events){send_lease, lease_lost, lease_gained, core});
    core->bus = myco_bus_new(core->env, identity->id,
        &(struct myco_bus_events){
            send_bus, core, core_topology_send_many, bus_knows, bus_fence_newer});
    struct myco_transport_events transport = {.on_up = on_up,
        .on_down = on_down,
        .on_message = on_message,
        .on_drain = on_drain,
        .data = core};
    core_topology_open(core, &transport);
    core->persist = core_persist_new(core);
    myco_timer_init(&core->tick, core->env, tick, core);
    myco_timer_init(&core->retry, core->env, core_ops_retry, core);
    myco_timer_init(&core->joining, core->env, join, core);
    myco_timer_init(&core->hand_over, core->env, hand_over, core);

    struct myco_rlog_options log_options = {
        .env = core->env, .disk = options->disk, .folder = "consensus", .self = identity->id};
    struct myco_rlog_events log_events = core_log_events(core);
    int rc = core_keys_open(core, err);
    if (rc == 0) rc = myco_rlog_open(&log_options, &log_events, &core->log, err);
    if (rc == 0) core_home_open(core);
    if (rc == 0) rc = core_hyphae_open(core, err);
    if (rc) {
        myco_core_free(core);
        return rc;
    }
    *core_out = core;
    return 0;
}

static void start_bootstrap(struct myco_core *core)
{
    struct myco_err err = {0};
    struct myco_bootstrap_options options = {.env = core->env,
        .disk = core->options.disk,
        .swim = core->swim,
        .log = core->log,
        .self = core->identity.id,
        .expect = core->options.expect,
        .send = send_pledge,
        .formed = formed,
        .data = core};
    int rc = myco_bootstrap_new(&options, &core->bootstrap, &err);
    if (rc && core->events.on_failed) core->events.on_failed(rc, err.message, core->events.data);
}

void myco_core_start(
    struct myco_core *core, struct myco_transport *transport, const struct myco_addr *addr)
{
    myco_route_start(core->route, transport);
    core->transport = myco_route_transport(core->route);
    core->addr = *addr;
    struct myco_swim_options swim = {.cluster = core->identity.cluster,
        .id = core->identity.id,
        .generation = core->identity.generation,
        .name = core->name,
        .addr = *addr,
        .keyring = core->keyring};
    core->swim = myco_swim_new(core->env, &swim,
        &(struct myco_swim_events){.on_member = on_member,
            .on_impostor = on_impostor,
            .mesh = core_gossip_mesh,
            .admits = core_home_admits,
            .data = core});
    core->env->on_datagram_data = core;
    core->env->on_datagram = on_datagram;
    struct myco_council_options council = {.env = core->env,
        .log = core->log,
        .state = core->state,
        .swim = core->swim,
        .lease = core->lease,
        .policy = core->options.policy,
        .self = core->identity.id,
        .generation = core->identity.generation,
        .slow = &core->lag.slow,
        .peer_features = peer_features,
        .data = core};
    core->council = myco_council_new(&council);
    start_bootstrap(core);
    myco_commands_start(core->commands, core->log);
    if (core->state->cluster) myco_lease_start(core->lease, core->log, core->state->lease_ms);
    myco_timer_start(&core->tick, TICK_MS, TICK_MS);
    myco_timer_start(&core->joining, 1, 20);
    tell_meta(core);
    core_topology_changed(core); /* what the log says may be known already */
    core_refresh_soon(core);
}

void myco_core_free(struct myco_core *core)
{
    if (!core) return;
    core->env->on_datagram = NULL;
    myco_timer_stop(&core->tick);
    myco_timer_stop(&core->joining);
    myco_timer_stop(&core->hand_over);
    myco_defer_cancel(&core->refresh);
    core->refresh_due = true; /* nothing is deferred any more */
    core_birth_close(core);
    core_persist_stop(core->persist);
    core_persist_free(core->persist);
    core->persist = NULL;
    core_watches_close(core);
    core_ops_close(core);
    core_hyphae_close(core);
    myco_timer_stop(&core->retry);
    myco_defer_cancel(&core->watch_due);
    MYCO_MAP_EACH (struct core_token, token, &core->tokens) core_token_free(token);
    myco_map_free(&core->tokens);
    MYCO_MAP_EACH (struct core_use, use, &core->uses) myco_free(use);
    myco_map_free(&core->uses);
    myco_commands_free(core->commands);
    core_duties_close(core);
    core_locks_close(core);
    core_loss_close(core);
    myco_council_free(core->council);
    myco_bootstrap_free(core->bootstrap);
    if (core->log) myco_rlog_close(core->log);
    myco_lease_free(core->lease);
    myco_bus_free(core->bus);
    if (core->swim) myco_swim_free(core->swim);
    core_keys_close(core);
    core_topology_close(core);
    myco_state_free(core->state);
    core_home_close(core);
    myco_domain_free(core->domain);
    witness_free(core->witness);
    chronicle_free(core->chronicle);
    MYCO_MAP_EACH (struct core_peer, peer, &core->up) myco_free(peer);
    myco_map_free(&core->up);
    myco_free(core);
}

bool myco_core_ready(const struct myco_core *core)
{
    return core->ready;
}

struct myco_bus *myco_core_bus(struct myco_core *core)
{
    return core->bus;
}
