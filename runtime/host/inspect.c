/* Looking into a node: documents as MessagePack (see myco_inspect in mycorrizal.h). */
#include <string.h>

#include "host/core_keys.h"
#include "host/core_witness.h"
#include "host/inspect.h"

static const char *name_of(const struct myco_core *core, uint64_t id)
{
    const struct myco_member_record *record = myco_state_member(core->state, id);
    if (record) return record->name;
    const struct myco_member *member = core->swim ? myco_swim_get(core->swim, id) : NULL;
    return member ? member->name : "?";
}

struct seen {
    uint64_t id, generation;
    const char *name, *labels, *state;
    struct myco_addr addr;
    uint64_t since_ms;                /* on this node's clock; 0: not known */
    struct myco_slice admin, version; /* lent; empty: not known */
    uint64_t features;
};

/* On the wall, as far as this node's clock did not jump since. */
static uint64_t wall_of(const struct myco_core *core, uint64_t ms)
{
    uint64_t now = myco_now_ms(core->env), wall = core->env->ops->wall_ms(core->env);
    return ms && now - ms < wall ? wall - (now - ms) : 0;
}

static void pack_member(msgpack_packer *pack, const struct myco_core *core, const struct seen *seen)
{
    char addr[MYCO_ADDR_TEXT_MAX];
    msgpack_pack_map(pack, 12);
    myco_pack_key_str(pack, "name", seen->name);
    myco_pack_str(pack, "id");
    myco_pack_id(pack, seen->id);
    myco_pack_key_str(pack, "addr", myco_addr_text(&seen->addr, addr));
    myco_pack_key_str(pack, "state", seen->state);
    myco_pack_key_u64(pack, "generation", seen->generation);
    myco_pack_str(pack, "labels");
    myco_pack_labels(pack, seen->labels);
    myco_pack_key_str(pack, "role", myco_role_name(myco_rlog_role(core->log, seen->id)));
    myco_pack_key_bool(pack, "self", seen->id == core->identity.id);
    myco_pack_key_u64(pack, "since_ms", wall_of(core, seen->since_ms));
    myco_pack_str(pack, "admin");
    myco_pack_slice(pack, seen->admin);
    myco_pack_str(pack, "version");
    myco_pack_slice(pack, seen->version);
    myco_pack_str(pack, "features");
    inspect_feature_names(pack, seen->features);
}

/* Gossip says who is alive; the log knows those that gossip has not heard of since this node
 * started. */
static void members(struct myco_core *core, msgpack_packer *pack)
{
    uint32_t count = 1, cursor = 0;
    const struct myco_member *member;
    while (myco_swim_next(core->swim, &cursor)) count++;
    MYCO_MAP_EACH (struct myco_member_record, record, &core->state->members)
        count += record->id != core->identity.id && !myco_swim_get(core->swim, record->id);
    msgpack_pack_array(pack, count);
    struct seen self = {core->identity.id, core->identity.generation, core->name, core->labels,
        core->leaving ? "left" : "alive", core->addr, core->started_ms, myco_str(core->admin),
        myco_str(myco_version()), core->state->features_own};
    pack_member(pack, core, &self);
    cursor = 0;
    while ((member = myco_swim_next(core->swim, &cursor))) {
        const struct myco_member_record *record = myco_state_member(core->state, member->id);
        struct myco_node_meta meta;
        bool said = myco_node_meta_read(member, &meta);
        struct seen seen = {member->id, member->generation, member->name,
            record ? myco_member_labels(record) : "", myco_member_state_name(member->state),
            member->addr, member->changed_ms, said ? meta.admin : myco_bytes("", 0),
            said && meta.version.size ? meta.version : myco_str(record ? record->version : ""),
            record ? core_member_features(core, record) : 0};
        pack_member(pack, core, &seen);
    }
    MYCO_MAP_EACH (struct myco_member_record, record, &core->state->members) {
        if (record->id == core->identity.id || myco_swim_get(core->swim, record->id)) continue;
        struct seen seen = {record->id, record->generation, record->name,
            myco_member_labels(record), record->left ? "left" : "dead", record->addr, 0, {"", 0},
            myco_str(record->version), record->features};
        pack_member(pack, core, &seen);
    }
}

static void leaders(struct myco_core *core, msgpack_packer *pack)
{
    msgpack_pack_array(pack, core->state->election_count);
    for (uint32_t i = 0; i < core->state->election_count; i++) {
        const struct myco_election_record *election = core->state->elections[i];
        uint64_t epoch = 0;
        const struct witness_holder *known = witness_holder(core, election->name);
        msgpack_pack_map(pack, 8);
        myco_pack_key_str(pack, "subsystem", election->name);
        myco_pack_str(pack, "leader");
        if (election->holder)
            myco_pack_str(pack, name_of(core, election->holder));
        else
            msgpack_pack_nil(pack);
        myco_pack_key_u64(pack, "epoch", election->epoch);
        myco_pack_key_u64(pack, "candidates", election->candidate_count);
        myco_pack_key_bool(pack, "held_here", core_duty_held(core, election->name, &epoch));
        myco_pack_key_u64(pack, "since_ms", known ? known->since_ms : 0);
        myco_pack_key_str(pack, "reason", known && known->since_ms ? known->reason : "");
        myco_pack_str(pack, "standing");
        msgpack_pack_array(pack, election->candidate_count);
        for (uint32_t c = 0; c < election->candidate_count; c++)
            myco_pack_str(pack, name_of(core, election->candidates[c]));
    }
}

static void pack_options(msgpack_packer *pack, const struct myco_septum_options *options)
{
    struct myco_septum_shown shown;
    size_t count = 0;
    while (myco_septum_options_show(options, count, &shown)) count++;
    msgpack_pack_array(pack, count);
    for (size_t i = 0; myco_septum_options_show(options, i, &shown); i++) {
        msgpack_pack_map(pack, 5);
        myco_pack_key_str(pack, "option", shown.name);
        myco_pack_key_str(pack, "value", shown.value);
        myco_pack_key_str(pack, "default", shown.initial);
        myco_pack_key_str(pack, "fixed", shown.fixed ? shown.fixed : "");
        myco_pack_key_str(pack, "doc", shown.doc);
    }
}

/* Of its primaries on this node. */
static void pack_use(msgpack_packer *pack, struct myco_core *core, uint64_t septum)
{
    const struct core_use *use = core_use(core, septum);
    uint64_t entries, bytes;
    core_limits_sum(core, septum, &entries, &bytes);
    myco_pack_str(pack, "here");
    msgpack_pack_map(pack, 7);
    myco_pack_key_u64(pack, "entries", entries);
    myco_pack_key_u64(pack, "bytes", bytes);
    myco_pack_key_u64(pack, "hits", use->hits);
    myco_pack_key_u64(pack, "misses", use->misses);
    myco_pack_key_u64(pack, "evictions", use->evictions);
    myco_pack_key_u64(pack, "expirations", use->expirations);
    myco_pack_key_u64(pack, "refused", use->refused);
}

static void septa(struct myco_core *core, msgpack_packer *pack)
{
    msgpack_pack_array(pack, core->state->septum_count);
    for (uint32_t i = 0; i < core->state->septum_count; i++) {
        const struct myco_septum_record *septum = core->state->septa[i];
        msgpack_pack_map(pack, 11);
        myco_pack_key_str(pack, "name", septum->name);
        myco_pack_key_u64(pack, "version", septum->version);
        myco_pack_str(pack, "options");
        pack_options(pack, &septum->options);
        pack_use(pack, core, septum->id);
        myco_pack_key_u64(pack, "id", septum->id);
        myco_pack_key_str(
            pack, "kind", septum->options.kind == MYCO_SEPTUM_DURABLE ? "durable" : "cache");
        myco_pack_key_u64(pack, "hyphae", septum->options.hyphae);
        myco_pack_key_u64(pack, "replicas", septum->options.copies - 1);
        myco_pack_key_u64(pack, "min_in_sync", septum->options.min_in_sync);
        myco_pack_key_u64(pack, "ttl_ms", septum->options.ttl_ms);
        myco_pack_key_str(pack, "level", myco_septum_level_name(&septum->options));
    }
}

static void pack_holders(msgpack_packer *pack, const struct myco_core *core,
    const struct myco_holder *holders, uint8_t count)
{
    msgpack_pack_array(pack, count);
    for (uint8_t i = 0; i < count; i++) myco_pack_str(pack, name_of(core, holders[i].node));
}

static void pack_hypha(msgpack_packer *pack, struct myco_core *core,
    const struct myco_septum_record *septum, uint32_t index)
{
    const struct myco_hypha_record *record = &septum->hyphae[index];
    struct core_hypha *copy = core_hypha_find(core, septum->id, index);
    msgpack_pack_map(pack, copy ? 12 : 8);
    myco_pack_key_str(pack, "septum", septum->name);
    myco_pack_key_u64(pack, "hypha", index);
    myco_pack_str(pack, "primary");
    if (record->set.primary)
        myco_pack_str(pack, name_of(core, record->set.primary));
    else
        msgpack_pack_nil(pack);
    myco_pack_key_u64(pack, "epoch", record->set.epoch);
    myco_pack_str(pack, "in_sync");
    pack_holders(pack, core, record->set.in_sync, record->set.in_sync_count);
    myco_pack_str(pack, "joining");
    pack_holders(pack, core, record->set.joining, record->set.joining_count);
    myco_pack_key_bool(pack, "primary_here", record->set.primary == core->identity.id);
    myco_pack_key_bool(pack, "loading", record->from_store);
    if (!copy) return;
    myco_pack_key_u64(
        pack, "keys", myco_table_count_live(myco_hypha_table(copy->hypha), core_expiry_now(copy)));
    myco_pack_key_u64(pack, "offset", myco_hypha_offset(copy->hypha));
    myco_pack_key_u64(pack, "persisted", core_persist_offset(core, septum->id, index));
    myco_pack_key_bool(pack, "serving",
        !copy->loading_epoch && myco_hypha_serving(copy->hypha) && myco_lease_valid(core->lease));
}

static void hyphae(struct myco_core *core, msgpack_packer *pack)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < core->state->septum_count; i++)
        count += core->state->septa[i]->options.hyphae;
    msgpack_pack_array(pack, count);
    for (uint32_t i = 0; i < core->state->septum_count; i++)
        for (uint32_t h = 0; h < core->state->septa[i]->options.hyphae; h++)
            pack_hypha(pack, core, core->state->septa[i], h);
}

static void policies(struct myco_core *core, msgpack_packer *pack)
{
    uint32_t count = 0;
    for (int kind = 0; kind < MYCO_POLICY_KIND_COUNT; kind++)
        count += core->state->policies[kind].count;
    msgpack_pack_array(pack, count);
    for (int kind = 0; kind < MYCO_POLICY_KIND_COUNT; kind++) {
        const struct myco_policy_record *record = &core->state->policies[kind];
        for (uint32_t i = 0; i < record->count; i++) {
            const struct myco_policy_version *version = &record->versions[i];
            msgpack_pack_map(pack, 7);
            myco_pack_key_str(pack, "kind", myco_policy_kind_name(kind));
            myco_pack_key_str(pack, "name", version->name);
            myco_pack_key_u64(pack, "version", version->version);
            myco_pack_key_str(pack, "author", version->author);
            myco_pack_key_u64(pack, "time_ms", version->time_ms);
            myco_pack_str(pack, "source");
            myco_pack_slice(pack, myco_bytes(version->source, version->source_size));
            myco_pack_key_bool(pack, "current", i + 1 == record->count);
        }
    }
}

static void status(struct myco_core *core, msgpack_packer *pack)
{
    uint64_t leader = myco_commands_leader(core->commands);
    msgpack_pack_map(pack, 20);
    myco_pack_key_str(pack, "name", core->name);
    myco_pack_key_str(pack, "cluster", core->cluster);
    myco_pack_str(pack, "id");
    myco_pack_id(pack, core->identity.id);
    myco_pack_str(pack, "cluster_id");
    myco_pack_id(pack, core->state->cluster);
    myco_pack_key_u64(pack, "generation", core->identity.generation);
    myco_pack_key_u64(pack, "incarnation", core->state->incarnation);
    myco_pack_key_bool(pack, "ready", core->ready);
    myco_pack_key_bool(pack, "failed", core->failed);
    myco_pack_str(pack, "leader");
    if (leader)
        myco_pack_str(pack, name_of(core, leader));
    else
        msgpack_pack_nil(pack);
    myco_pack_key_u64(pack, "term", myco_rlog_term(core->log));
    myco_pack_key_u64(pack, "commit_index", myco_rlog_commit_index(core->log));
    myco_pack_key_u64(pack, "applied_index", myco_rlog_applied_index(core->log));
    myco_pack_key_bool(pack, "lease", myco_lease_valid(core->lease));
    myco_pack_key_u64(pack, "peers_connected", core->up.count);
    myco_pack_key_u64(pack, "primaries", core_hyphae_primary_count(core));
    myco_pack_key_u64(pack, "uptime_ms", myco_now_ms(core->env) - core->started_ms);
    myco_pack_key_str(pack, "version", myco_version());
    myco_pack_key_u64(pack, "lag_p99_ms", core->lag.p99_ms);
    myco_pack_key_u64(pack, "lag_max_ms", core->lag.max_ms);
    myco_pack_key_bool(pack, "slow", core->lag.slow);
}

static void metrics(struct myco_core *core, msgpack_packer *pack)
{
    msgpack_pack_array(pack, MYCO_METRIC_COUNT);
    for (int i = 0; i < MYCO_METRIC_COUNT; i++) {
        msgpack_pack_map(pack, 4);
        myco_pack_key_str(pack, "name", myco_metric_name(i));
        myco_pack_key_str(pack, "kind", myco_metric_kind(i));
        myco_pack_key_str(pack, "help", myco_metric_help(i));
        myco_pack_key_u64(
            pack, "value", __atomic_load_n(&core->env->metrics->values[i], __ATOMIC_RELAXED));
    }
}

int myco_core_inspect(struct myco_core *core, const char *topic, struct myco_buf *out)
{
    static const struct {
        const char *topic;
        void (*pack)(struct myco_core *core, msgpack_packer *pack);
    } topics[] = {{"members", members}, {"leaders", leaders}, {"septa", septa}, {"hyphae", hyphae},
        {"policies", policies}, {"status", status}, {"metrics", metrics}, {"keys", core_keys_pack},
        {"voters", inspect_voters}, {"holdings", inspect_holdings}, {"events", inspect_events},
        {"features", inspect_features}, {"locks", inspect_locks}, {"topology", inspect_topology},
        {"discovery", core_pack_discovery}};
    msgpack_packer pack;
    myco_pack_init(&pack, out);
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        if (strcmp(topics[i].topic, topic) != 0) continue;
        if (!core->swim) return MYCO_EUNAVAILABLE;
        topics[i].pack(core, &pack);
        return out->failed ? MYCO_ENOMEM : 0;
    }
    return MYCO_ENOTFOUND;
}
