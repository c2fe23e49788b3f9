/* What the log says: applying commands, telling the subsystems, and the birth of a cluster. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "host/core_internal.h"
#include "host/core_witness.h"

/* ── the log's events ── */

static void send_raft(uint64_t to, bool bulk, struct myco_buf *payload, void *data)
{
    core_send(data, to, bulk ? MYCO_MESSAGE_RAFT_BULK : MYCO_MESSAGE_RAFT, payload);
}

static void send_tail(uint64_t to, bool bulk, struct myco_buf *payload, void *data)
{
    core_send(data, to, bulk ? MYCO_MESSAGE_TAIL_BULK : MYCO_MESSAGE_TAIL, payload);
}

/* Those whom we are linked with: what a hub would pass on costs its links twice, and an
 * acknowledgement. */
static bool next_peer(uint32_t *cursor, uint64_t *peer, void *data)
{
    struct myco_core *core = data;
    while (myco_map_next(&core->up, cursor, peer))
        if (core_peer_has(core, *peer, MYCO_FEATURE_TAIL) &&
            (!core->route || myco_route_wants(core->route, *peer)))
            return true;
    return false;
}

static void fail(struct myco_core *core, int status, const char *message)
{
    MYCO_ERROR(
        core->env->log, "nodosum", "this node takes no part any more", "reason=\"%s\"", message);
    core->failed = true;
    if (core->events.on_failed) core->events.on_failed(status, message, core->events.data);
}

static void apply(uint64_t index, uint64_t term, struct myco_slice command, void *data)
{
    struct myco_core *core = data;
    struct myco_command_head head = {0};
    struct myco_command_result result;
    (void)term;
    if (core->failed) return;
    myco_command_peek(command, &head);
    core->applying = head.kind;
    int unknown = myco_state_apply(core->state, command, &result);
    core->applying = 0;
    if (unknown) { /* skipping it would make this node's state differ */
        char message[128];
        snprintf(message, sizeof message,
            "the log holds a command (kind %u, index %llu) of a newer version: upgrade this node",
            head.kind, (unsigned long long)index);
        fail(core, MYCO_EVERSION, message);
        return;
    }
    if (core->events.on_trace)
        core->events.on_trace(
            "apply", index, head.kind, myco_hash(command.data, command.size), core->events.data);
    myco_commands_applied(core->commands, &head, &result);
    if (core->council) myco_council_applied(core->council, &head);
    if (core->swim) myco_lease_applied(core->lease);
}

static void snapshot(struct myco_buf *out, void *data)
{
    struct myco_core *core = data;
    if (core->failed)
        out->failed = true; /* it lacks what could not be applied: nobody may start from it */
    else
        myco_state_save(core->state, out);
    witness_snapshot(core, false, myco_rlog_applied_index(core->log));
}

static int restore(uint64_t index, struct myco_slice bytes, struct myco_err *err, void *data)
{
    struct myco_core *core = data;
    int rc = myco_state_load(core->state, bytes, err);
    if (rc == 0) witness_snapshot(core, true, index);
    return rc;
}

static void changed(void *data)
{
    struct myco_core *core = data;
    if (!core->swim) return; /* while opening */
    witness_log(core);
    myco_commands_leader_changed(core->commands);
    core_topology_changed(core);
    if (core->council) myco_council_poke(core->council);
    core_refresh_soon(core);
}

static void established(uint64_t term, void *data)
{
    struct myco_core *core = data;
    MYCO_INFO(core->env->log, "nodosum", "leads the consensus group", "term=%llu",
        (unsigned long long)term);
    if (core->events.on_trace) core->events.on_trace("established", term, 0, 0, core->events.data);
    if (!core->swim) return;
    if (core->council) myco_council_poke(core->council);
    core_refresh_soon(core);
}

static void failed(int status, const char *message, void *data)
{
    fail(data, status, message);
}

struct myco_rlog_events core_log_events(struct myco_core *core)
{
    return (struct myco_rlog_events){.send = send_raft,
        .apply = apply,
        .snapshot = snapshot,
        .restore = restore,
        .changed = changed,
        .established = established,
        .failed = failed,
        .send_tail = send_tail,
        .next_peer = next_peer,
        .data = core};
}

/* ── the state's events ── */

static void on_cluster(void *data)
{
    struct myco_core *core = data;
    if (core->swim) myco_lease_start(core->lease, core->log, core->state->lease_ms);
    core_refresh_soon(core);
}

static void on_member(uint64_t id, void *data)
{
    struct myco_core *core = data;
    if (id == core->identity.id && myco_state_removed(core->state, id))
        fail(core, MYCO_EDENIED,
            "this node was removed from the cluster for ever: move its data folder away, and it "
            "joins as a new one");
    core_topology_changed(core);
    core_refresh_soon(core);
}

static void on_election(const struct myco_election_record *election, void *data)
{
    witness_election(data, election);
    core_duties_election(data, election);
    core_topology_election(data, election);
    core_refresh_soon(data);
}

static void on_septum(struct myco_septum_record *septum, void *data)
{
    struct myco_core *core = data;
    witness_septum(core, septum);
    core_persist_changed(core);
    core_refresh_soon(core);
}

static void on_hypha(struct myco_septum_record *septum, uint32_t hypha, void *data)
{
    struct myco_core *core = data;
    witness_hypha(core, septum, hypha);
    if (core->joined) core_hypha_sync(core, septum, hypha);
    core_refresh_soon(core);
}

static void on_policy(int kind, const struct myco_policy_version *version, void *data)
{
    struct myco_core *core = data;
    struct myco_err err = {0};
    witness_policy(core, kind, version);
    if (core->options.policy.set) {
        struct myco_slice source =
            version ? myco_bytes(version->source, version->source_size) : myco_bytes(NULL, 0);
        if (core->options.policy.set(
                kind, version ? version->name : "", source, &err, core->options.policy.data))
            MYCO_ERROR(core->env->log, "policy",
                "an agreed policy can't be used here, the last good one stays",
                "kind=%s reason=\"%s\"", myco_policy_kind_name(kind), err.message);
    }
    if (kind == MYCO_POLICY_PERSISTENCE) core_persist_changed(core);
    if (kind == MYCO_POLICY_TOPOLOGY) core_topology_changed(core);
    if (core->council) myco_council_poke(core->council);
}

static void on_features(uint64_t active, void *data)
{
    struct myco_core *core = data;
    witness_features(core, active);
    core_topology_changed(core);
    core_duties_features(core);
    core_refresh_soon(core);
}

static void on_lock(
    const struct myco_lock_record *lock, const struct myco_lock_entry *entry, void *data)
{
    core_locks_event(data, lock, entry);
}

static void on_loss(const struct myco_septum_record *septum, uint32_t count, const char *reason,
    uint64_t node, void *data)
{
    witness_loss(data, septum, count, reason, node);
}

static void on_ring(void *data)
{
    core_keys_agreed(data);
}

struct myco_state_events core_state_events(struct myco_core *core)
{
    return (struct myco_state_events){on_cluster, on_member, on_election, on_septum, on_hypha,
        on_policy, core, on_features, on_lock, on_ring, on_loss};
}

/* ── birth ── the first leader names the cluster: a new one, or what the object store remembers
 * (rule 22) */

struct core_birth {
    struct myco_core *core;
    struct myco_chain *chain;
    uint64_t incarnation;
};

static void end_birth(struct core_birth *birth, bool again)
{
    struct myco_core *core = birth->core;
    core->born_asked = !again;
    core->born_at_ms = myco_now_ms(core->env);
    core->birth = NULL;
    core_persist_bury(core, birth->chain); /* not inside its own callback */
    myco_free(birth);
}

void core_birth_close(struct myco_core *core)
{
    struct core_birth *birth = core->birth;
    if (!birth) return;
    myco_chain_free(birth->chain);
    myco_free(birth);
    core->birth = NULL;
}

static void propose_birth(
    struct myco_core *core, uint64_t incarnation, const struct myco_manifest *manifest)
{
    struct myco_buf body = {0};
    uint64_t cluster = 0;
    while (!cluster) cluster = myco_random_u64(core->env);
    struct myco_slice definitions =
        manifest ? myco_buf_as_slice(&manifest->definitions) : myco_bytes(NULL, 0);
    myco_command_init(&body, cluster, core->cluster, core->options.lease_ms, incarnation,
        manifest ? manifest->epoch : 0, manifest ? manifest->sequence : 0, definitions);
    myco_commands_submit(core->commands, MYCO_COMMAND_INIT, &body, 10000, NULL, NULL);
}

static void took_over(int status, const char *message, struct myco_manifest *manifest, void *data)
{
    struct core_birth *birth = data;
    if (status == MYCO_ECANCELED) return; /* closing: core_birth_close() frees */
    struct myco_core *core = birth->core;
    if (status) {
        MYCO_WARN(core->env->log, "mycel",
            "the object store can't be read, and a cluster is not born without it", "error=\"%s\"",
            message);
    } else if (myco_rlog_is_established(core->log) && !core->state->cluster) {
        if (manifest)
            MYCO_INFO(core->env->log, "mycel", "restoring from the object store",
                "manifest=%llx/%llx incarnation=%llu", (unsigned long long)manifest->epoch,
                (unsigned long long)manifest->sequence, (unsigned long long)birth->incarnation);
        propose_birth(core, birth->incarnation, manifest);
    }
    end_birth(birth, status != 0);
}

static void claimed(int status, const char *message, struct myco_manifest *manifest, void *data)
{
    struct core_birth *birth = data;
    if (status) {
        took_over(status, message, NULL, birth);
        return;
    }
    birth->incarnation = manifest->incarnation;
    myco_chain_take_over(birth->chain, MYCO_EPOCH(birth->incarnation, 0), took_over, birth);
}

void core_birth(struct myco_core *core)
{
    if (core->state->cluster || !myco_rlog_is_established(core->log)) return;
    uint64_t now = myco_now_ms(core->env);
    if (core->born_asked && now - core->born_at_ms < 3000) return;
    if (core->birth) return;
    if (!core->born_asked && core->born_at_ms && now - core->born_at_ms < 1000) return;
    core->born_asked = true;
    core->born_at_ms = now;
    if (!core->options.store) {
        propose_birth(core, 1, NULL);
        return;
    }
    struct core_birth *birth = myco_alloc(sizeof *birth);
    birth->core = core;
    core->birth = birth;
    birth->chain = myco_chain_new(core->options.store);
    myco_chain_claim(birth->chain, core->identity.cluster, claimed, birth);
}
