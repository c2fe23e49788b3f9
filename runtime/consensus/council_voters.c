/* Who votes: asked of the policy while somebody's place is not what it should be, and changed one
 * server at a time, never so that the voters that are there are no majority.
 *
 * A dead voter leaves the group soon (dead_voter_ms) when a stand-by that has the log can take its
 * place, or when their number is even, so that fewer are enough afterwards; else much later
 * (forget_ms): of an odd number there is nothing to be won. Only then somebody else gets its vote:
 * two changes, and never more voters than there may be. It comes back as a stand-by when it turns
 * out to live. */
#include "base/log.h"
#include "base/mem.h"
#include "consensus/council.h"
#include "consensus/policy_docs.h"

#define VOTERS_MAX   5
#define STANDBYS_MAX 2  /* all others tail the log (raft_tail.c) … */
#define STANDBYS_OLD 27 /* … once every member can */
#define YOUNG_MS     2000
#define LAG_MAX      256 /* entries that a stand-by may lack and still take a place soon */
#define SOON_MS_MIN  1000
#define SOON_MS_MAX  3600000

/* ── what the policy sees ── */

/* What each member leads and is primary of: id → uint64_t *. */
static void count_one(struct myco_map *loads, uint64_t id)
{
    if (!id) return;
    uint64_t *load = myco_map_get(loads, id);
    if (!load) myco_map_put(loads, id, load = myco_alloc(sizeof *load));
    (*load)++;
}

static void count_loads(const struct myco_state *state, struct myco_map *loads)
{
    for (uint32_t i = 0; i < state->election_count; i++)
        count_one(loads, state->elections[i]->holder);
    for (uint32_t s = 0; s < state->septum_count; s++)
        for (uint32_t h = 0; h < state->septa[s]->options.hyphae; h++)
            count_one(loads, state->septa[s]->hyphae[h].set.primary);
}

static void pack_candidates(msgpack_packer *pack, const struct myco_council *council)
{
    struct myco_map loads = {0};
    size_t count = 0;
    count_loads(council->options.state, &loads);
    for (size_t i = 0; i < council->member_count; i++) count += council->members[i].present;
    msgpack_pack_array(pack, count);
    for (size_t i = 0; i < council->member_count; i++) {
        if (!council->members[i].present) continue;
        const struct myco_member_record *record = council->members[i].record;
        const uint64_t *load = myco_map_get(&loads, record->id);
        msgpack_pack_map(pack, 5);
        myco_pack_key_bool(pack, "slow", myco__council_slow(council, record->id));
        myco_pack_str(pack, "id");
        myco_pack_id(pack, record->id);
        myco_pack_key_str(pack, "name", record->name);
        myco_pack_str(pack, "labels");
        myco_pack_labels(pack, myco_member_labels(record));
        myco_pack_key_u64(pack, "load", load ? *load : 0);
    }
    MYCO_MAP_EACH (uint64_t, load, &loads) myco_free(load);
    myco_map_free(&loads);
}

static enum myco_role wanted_role(const msgpack_object *answer, uint64_t id)
{
    static const struct {
        const char *key;
        enum myco_role role;
    } lists[] = {{"voters", MYCO_ROLE_VOTER}, {"standbys", MYCO_ROLE_STANDBY}};
    for (int l = 0; l < 2; l++) {
        const msgpack_object *list = myco_doc_get(answer, lists[l].key);
        for (uint32_t i = 0; list && list->type == MSGPACK_OBJECT_ARRAY && i < list->via.array.size;
             i++) {
            uint64_t listed;
            if (myco_doc_id(&list->via.array.ptr[i], &listed) && listed == id) return lists[l].role;
        }
    }
    return MYCO_ROLE_NONE;
}

static bool tails(const struct myco_council *council)
{
    return myco_state_feature(council->options.state, MYCO_FEATURE_TAIL);
}

/* A young reign first waits for the features: at the birth of a cluster they are not active yet. */
static unsigned standbys_max(const struct myco_council *council)
{
    uint64_t reign_ms = myco_now_ms(council->options.env) - council->reign_began_ms;
    return tails(council) || reign_ms < YOUNG_MS ? STANDBYS_MAX : STANDBYS_OLD;
}

static void pack_voters_world(struct myco_buf *out, const struct myco_council *council,
    const struct myco_log_server *servers, size_t count)
{
    msgpack_packer pack;
    myco_pack_init(&pack, out);
    msgpack_pack_map(&pack, 4);
    myco_pack_str(&pack, "members");
    pack_candidates(&pack, council);
    myco_pack_str(&pack, "current");
    msgpack_pack_array(&pack, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_map(&pack, 2);
        myco_pack_str(&pack, "id");
        myco_pack_id(&pack, servers[i].id);
        myco_pack_key_str(&pack, "role", myco_role_name(servers[i].role));
    }
    myco_pack_key_u64(&pack, "voters_max", VOTERS_MAX);
    myco_pack_key_u64(&pack, "standbys_max", standbys_max(council));
}

static enum myco_role role_in(const struct myco_log_server *servers, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (servers[i].id == id) return servers[i].role;
    return MYCO_ROLE_NONE;
}

/* A stand-by that has the log, and could vote at once. */
static bool has_successor(
    const struct myco_council *council, const struct myco_log_server *servers, size_t count)
{
    uint64_t last = myco_rlog_last_index(council->options.log), match = 0;
    for (size_t i = 0; i < count; i++) {
        if (servers[i].role != MYCO_ROLE_STANDBY || !myco__council_lives(council, servers[i].id))
            continue;
        if (myco_rlog_match(council->options.log, servers[i].id, &match) && match + LAG_MAX >= last)
            return true;
    }
    return false;
}

/* How long a dead server stays. */
static uint64_t patience_ms(const struct myco_council *council, const msgpack_object *answer,
    const struct myco_log_server *server, bool soon)
{
    uint64_t soon_ms = council->options.dead_voter_ms;
    if (server->role != MYCO_ROLE_VOTER || !soon) return council->options.forget_ms;
    const msgpack_object *given = answer ? myco_doc_get(answer, "dead_voter_ms") : NULL;
    if (given && given->type == MSGPACK_OBJECT_POSITIVE_INTEGER && given->via.u64 >= SOON_MS_MIN &&
        given->via.u64 <= SOON_MS_MAX)
        soon_ms = given->via.u64;
    return soon_ms;
}

static bool forgotten(struct myco_council *council, uint64_t id, uint64_t patience)
{
    uint64_t now = myco_now_ms(council->options.env);
    uint64_t *since = myco_map_get(&council->dead_since, id);
    if (!since) {
        since = myco_alloc(sizeof *since);
        *since = now;
        myco_map_put(&council->dead_since, id, since);
    }
    const struct myco_member_record *record = myco_state_member(council->options.state, id);
    bool left = record && record->left; /* on purpose: the group must not count on it any more */
    return left || myco__council_replaced(council, id) || now - *since >= patience;
}

/* Present, or leaving and not gone yet: it still confirms what is committed. */
static bool reachable(const struct myco_council *council, uint64_t id)
{
    if (myco__council_present(council, id)) return true;
    const struct myco_member *member = myco_swim_get(council->options.swim, id);
    return member && member->state == MYCO_MEMBER_ALIVE;
}

/* A voter that leaves on purpose hears the log to the end, and has no vote any more: the group does
 * not need it when it is gone. */
static bool unseat(struct myco_council *council, const struct myco_log_server *server)
{
    const struct myco_member_record *record = myco_state_member(council->options.state, server->id);
    if (!record || !record->left || !reachable(council, server->id)) return false;
    if (server->role == MYCO_ROLE_VOTER && server->id != council->options.self)
        myco_rlog_assign(council->options.log, server->id, MYCO_ROLE_STANDBY);
    return true;
}

/* Without a policy that answers: whoever is there, stand-bys first. */
static enum myco_role built_in_role(
    const struct myco_council *council, enum myco_role is, size_t voters, size_t standing)
{
    size_t most = standbys_max(council);
    if (voters < VOTERS_MAX && (is == MYCO_ROLE_STANDBY || standing == 0)) return MYCO_ROLE_VOTER;
    if (is == MYCO_ROLE_NONE && standing < most) return MYCO_ROLE_STANDBY;
    return is == MYCO_ROLE_STANDBY && standing > most ? MYCO_ROLE_NONE : is;
}

/* Could those who stay decide anything? A change of the group counts from when it is appended, and
 * one that its own voters can't commit would never come to an end. */
static bool can_spare(const struct myco_council *council, const struct myco_log_server *server,
    size_t voters, size_t present)
{
    if (server->role != MYCO_ROLE_VOTER) return true;
    return present - reachable(council, server->id) > (voters - 1) / 2;
}

/* One change at a time; a dead server leaves only while a majority of the voters is there without
 * it. */
static bool change_roles(struct myco_council *council, const msgpack_object *answer,
    const struct myco_log_server *servers, size_t count)
{
    struct myco_rlog *log = council->options.log;
    size_t voters = 0, present = 0, standing = 0;
    for (size_t i = 0; i < count; i++) {
        bool here = reachable(council, servers[i].id);
        if (here) myco_free(myco_map_del(&council->dead_since, servers[i].id));
        voters += servers[i].role == MYCO_ROLE_VOTER;
        present += servers[i].role == MYCO_ROLE_VOTER && here;
        standing += servers[i].role != MYCO_ROLE_VOTER;
    }
    bool soon = voters % 2 == 0 || has_successor(council, servers, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t patience = patience_ms(council, answer, &servers[i], soon);
        if (myco__council_present(council, servers[i].id) ||
            !forgotten(council, servers[i].id, patience))
            continue;
        if (present <= voters / 2) break;
        if (!can_spare(council, &servers[i], voters, present)) continue;
        if (unseat(council, &servers[i])) continue;
        MYCO_INFO(council->options.env->log, "nodosum", "removing a dead server from the group",
            "id=%016llx", (unsigned long long)servers[i].id);
        if (myco_rlog_assign(log, servers[i].id, MYCO_ROLE_NONE)) return false;
        MYCO_METRIC_ADD(council->options.env->metrics, SERVERS_REMOVED, 1);
        return true;
    }
    for (size_t i = 0; i < council->member_count; i++) {
        const struct myco_council_member *member = &council->members[i];
        if (!member->present) continue;
        enum myco_role is = role_in(servers, count, member->record->id);
        enum myco_role want = answer ? wanted_role(answer, member->record->id)
                                     : built_in_role(council, is, voters, standing);
        bool surplus = is == MYCO_ROLE_VOTER && want != is && voters > VOTERS_MAX &&
                       member->record->id != council->options.self;
        bool early = want == MYCO_ROLE_VOTER && is == MYCO_ROLE_STANDBY &&
                     (present < voters || voters >= VOTERS_MAX); /* the dead leave first */
        if (surplus) want = MYCO_ROLE_STANDBY;
        bool spared = want == MYCO_ROLE_NONE && (is != MYCO_ROLE_STANDBY || !tails(council));
        if (early || spared || want == is || (is == MYCO_ROLE_VOTER && !surplus))
            continue; /* voters keep their vote while they live; stand-bys can tail the log */
        if (is == MYCO_ROLE_NONE) want = MYCO_ROLE_STANDBY; /* a voter is a stand-by first */
        if (myco_rlog_assign(log, member->record->id, want)) return false;
        MYCO_INFO(council->options.env->log, "nodosum", "changing a role in the group",
            "name=%s role=%s", member->record->name, myco_role_name(want));
        return true;
    }
    return false;
}

bool myco__council_voters(struct myco_council *council)
{
    struct myco_log_server servers[64];
    size_t count = myco_rlog_servers(council->options.log, servers, 64);
    struct myco_buf world = {0}, answer = {0};
    msgpack_unpacked doc;
    msgpack_unpacked_init(&doc);
    bool settled = true;
    for (size_t i = 0; i < council->member_count; i++)
        settled &= !council->members[i].present ||
                   role_in(servers, count, council->members[i].record->id) == MYCO_ROLE_VOTER;
    size_t voters = 0;
    for (size_t i = 0; i < count; i++) {
        settled &= myco__council_present(council, servers[i].id);
        voters += servers[i].role == MYCO_ROLE_VOTER;
    }
    settled &= voters <= VOTERS_MAX;
    bool answered = false;
    if (!settled) {
        pack_voters_world(&world, council, servers, count);
        answered = myco__council_ask(council, MYCO_POLICY_VOTERS, &world, &doc, &answer);
    }
    bool changed = !settled && change_roles(council, answered ? &doc.data : NULL, servers, count);
    msgpack_unpacked_destroy(&doc);
    myco_buf_free(&world);
    myco_buf_free(&answer);
    return changed;
}
