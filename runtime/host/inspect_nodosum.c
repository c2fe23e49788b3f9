/* Looking into what is agreed by whom: the consensus group, what each member holds, what happened.
 */
#include "consensus/policy_docs.h"
#include "host/core_witness_internal.h"
#include "host/inspect.h"

/* ── voters ── */

static void pack_server(msgpack_packer *pack, const struct myco_core *core,
    const struct myco_log_server *server, uint64_t last)
{
    uint64_t match = 0, heard = witness_heard_ms(core, server->id);
    bool knows = myco_rlog_match(core->log, server->id, &match),
         self = server->id == core->identity.id;
    msgpack_pack_map(pack, 4 + (knows ? 2 : 0) + (heard ? 1 : 0));
    myco_pack_key_str(pack, "name", witness_name(core, server->id));
    myco_pack_str(pack, "id");
    myco_pack_id(pack, server->id);
    myco_pack_key_str(pack, "role", myco_role_name(server->role));
    myco_pack_key_bool(pack, "self", self);
    if (knows) {
        myco_pack_key_u64(pack, "match", match);
        myco_pack_key_u64(pack, "lag", last > match ? last - match : 0);
    }
    if (heard) myco_pack_key_u64(pack, "contact_ms", myco_now_ms(core->env) - heard);
}

void inspect_voters(struct myco_core *core, msgpack_packer *pack)
{
    struct myco_log_server servers[WITNESS_SERVERS_MAX];
    size_t count = myco_rlog_servers(core->log, servers, WITNESS_SERVERS_MAX);
    uint64_t leader = myco_rlog_leader(core->log), last = myco_rlog_last_index(core->log);
    msgpack_pack_map(pack, 6);
    myco_pack_str(pack, "leader");
    if (leader)
        myco_pack_str(pack, witness_name(core, leader));
    else
        msgpack_pack_nil(pack);
    myco_pack_key_u64(pack, "term", myco_rlog_term(core->log));
    myco_pack_key_u64(pack, "commit_index", myco_rlog_commit_index(core->log));
    myco_pack_key_u64(pack, "applied_index", myco_rlog_applied_index(core->log));
    myco_pack_key_u64(pack, "last_index", last);
    myco_pack_str(pack, "servers");
    msgpack_pack_array(pack, count);
    for (size_t i = 0; i < count; i++) pack_server(pack, core, &servers[i], last);
}

/* ── what each member holds ── */

struct holding {
    uint32_t leads, primaries, copies;
};

static void count_set(struct myco_map *counts, const struct myco_set *set)
{
    struct holding *primary = set->primary ? myco_map_get(counts, set->primary) : NULL;
    if (primary) primary->primaries++;
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        struct holding *member = myco_map_get(counts, set->in_sync[i].node);
        if (member) member->copies++;
    }
}

static void count_all(const struct myco_state *state, struct myco_map *counts)
{
    MYCO_MAP_EACH (struct myco_member_record, record, &state->members)
        myco_map_put(counts, record->id, myco_alloc(sizeof(struct holding)));
    for (uint32_t i = 0; i < state->election_count; i++) {
        uint64_t id = state->elections[i]->holder;
        struct holding *holding = id ? myco_map_get(counts, id) : NULL;
        if (holding) holding->leads++;
    }
    for (uint32_t i = 0; i < state->septum_count; i++)
        for (uint32_t h = 0; h < state->septa[i]->options.hyphae; h++)
            count_set(counts, &state->septa[i]->hyphae[h].set);
}

void inspect_holdings(struct myco_core *core, msgpack_packer *pack)
{
    struct myco_map counts = {0};
    uint32_t cursor = 0;
    uint64_t id;
    struct holding *holding;
    count_all(core->state, &counts);
    msgpack_pack_array(pack, counts.count);
    while ((holding = myco_map_next(&counts, &cursor, &id))) {
        msgpack_pack_map(pack, 5);
        myco_pack_str(pack, "id");
        myco_pack_id(pack, id);
        myco_pack_key_str(pack, "name", witness_name(core, id));
        myco_pack_key_u64(pack, "leads", holding->leads);
        myco_pack_key_u64(pack, "primaries", holding->primaries);
        myco_pack_key_u64(pack, "copies", holding->copies);
        myco_free(holding);
    }
    myco_map_free(&counts);
}

/* ── what happened ── */

void inspect_events(struct myco_core *core, msgpack_packer *pack)
{
    chronicle_pack(core->chronicle, 0, pack);
}
