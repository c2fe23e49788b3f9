/* Who is linked with whom: the topology policy is asked about the members that gossip sees, its
 * answer is compiled into the table of the overlay (route/route.h).
 *
 *   members, voters, labels or the policy changed
 *      ── debounced ──→ world ── the policy ──→ hubs, standbys ──→ myco_route_set()
 *
 * Each node asks for itself; the answer is a function of the members alone, so that all come to the
 * same. Labels are those that the log knows. Without a policy that was applied it is a full mesh,
 * and nothing is asked; that is so, too, until every member understands RELAY. A policy that fails
 * leaves the last good table in place. Voters are linked with each other whatever it says, and so
 * are those that lead mycel and cytoplasm: they renew their lease with the leader of the group ten
 * times a second, which is no traffic for hubs. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "consensus/policy_docs.h"
#include "host/core_internal.h"

#define SOON_MS    100 /* after the first change, so that several become one question */
#define EVERY_MS   1000
#define VOTERS_MAX 32
#define DUTIES     2
#define STRANGERS_MAX                                                                              \
    64                  /* more members than these are not all dialled by who has not joined yet   \
                         */
#define FIRST_MAX    16 /* but so many, by the order of ids … */
#define FOUNDERS_MAX 64 /* all that are asked to found a cluster with this node … */
#define OTHERS_MAX   8  /* … and so many by lot */

struct seen {
    uint64_t id;
    const char *name, *labels;
};

struct core_topology {
    struct myco_core *core;
    struct myco_timer timer;
    uint64_t asked_ms; /* the last time */
    uint64_t hash;     /* of what the table was made from */
    bool warned;
    uint64_t holders[DUTIES]; /* of duties, as the log says; 0: nobody */
};

static const char *const duties[DUTIES] = {"mycel", "cytoplasm"};

/* ── members ── */

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct seen *)a)->id, y = ((const struct seen *)b)->id;
    return x < y ? -1 : x > y;
}

static struct seen see(
    const struct myco_core *core, uint64_t id, const char *name, const char *labels)
{
    const struct myco_member_record *record = myco_state_member(core->state, id);
    return (struct seen){id, name, record ? myco_member_labels(record) : labels};
}

/* Alive or suspect, with this node, by id. Gives; *count of them. */
static struct seen *members(const struct myco_core *core, size_t *count)
{
    uint32_t cursor = 0;
    const struct myco_member *member;
    size_t n = 1;
    while (myco_swim_next(core->swim, &cursor)) n++;
    struct seen *list = myco_alloc(n * sizeof *list);
    list[0] = see(core, core->identity.id, core->name, core->labels);
    cursor = 0;
    n = 1;
    while ((member = myco_swim_next(core->swim, &cursor))) {
        if (member->state > MYCO_MEMBER_SUSPECT) continue;
        list[n++] = see(core, member->id, member->name, "");
    }
    qsort(list, n, sizeof *list, by_id);
    *count = n;
    return list;
}

static size_t voters(const struct myco_core *core, uint64_t *ids)
{
    struct myco_log_server servers[VOTERS_MAX];
    size_t count = myco_rlog_servers(core->log, servers, VOTERS_MAX), n = 0;
    if (count > VOTERS_MAX) count = VOTERS_MAX;
    for (size_t i = 0; i < count; i++)
        if (servers[i].role == MYCO_ROLE_VOTER) ids[n++] = servers[i].id;
    return n;
}

/* Voters, and who has a duty besides. */
static size_t linked_directly(const struct core_topology *topology, uint64_t *ids)
{
    size_t voting = voters(topology->core, ids), n = voting;
    for (int i = 0; i < DUTIES; i++) {
        bool known = topology->holders[i] == 0;
        for (size_t j = 0; j < n; j++) known |= ids[j] == topology->holders[i];
        if (!known) ids[n++] = topology->holders[i];
    }
    return n;
}

void core_topology_election(struct myco_core *core, const struct myco_election_record *election)
{
    for (int i = 0; i < DUTIES; i++) {
        uint64_t *holder = &core->topology->holders[i];
        if (strcmp(election->name, duties[i]) != 0 || election->holder == *holder) continue;
        *holder = election->holder;
        core_topology_changed(core);
    }
}

/* ── asking ── */

static void pack_world(struct myco_buf *out, const struct seen *list, size_t count)
{
    msgpack_packer pack;
    myco_pack_init(&pack, out);
    msgpack_pack_map(&pack, 1);
    myco_pack_str(&pack, "members");
    msgpack_pack_array(&pack, count);
    for (size_t i = 0; i < count; i++) {
        msgpack_pack_map(&pack, 3);
        myco_pack_str(&pack, "id");
        myco_pack_id(&pack, list[i].id);
        myco_pack_key_str(&pack, "name", list[i].name);
        myco_pack_str(&pack, "labels");
        myco_pack_labels(&pack, list[i].labels);
    }
}

/* The id of the member that item `at` of a list of the answer names by its number; 0: none. */
static uint64_t named(
    const msgpack_object *list, size_t at, const struct seen *members_by_id, size_t count)
{
    uint64_t number = 0;
    if (!list || list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size != count ||
        !myco_doc_u64(&list->via.array.ptr[at], &number) || number < 1 || number > count)
        return 0;
    return members_by_id[number - 1].id;
}

/* What bridge/answers.c checked. No hubs: a mesh. */
static struct myco_route_place *read_places(
    const msgpack_object *answer, const struct seen *list, size_t count, size_t *place_count)
{
    const msgpack_object *hubs = myco_doc_get(answer, "hubs"),
                         *standbys = myco_doc_get(answer, "standbys");
    *place_count = 0;
    if (!hubs) return NULL;
    struct myco_route_place *places = myco_alloc(count * sizeof *places);
    for (size_t i = 0; i < count; i++) {
        uint64_t hub = named(hubs, i, list, count);
        places[i] = (struct myco_route_place){
            list[i].id, hub ? hub : list[i].id, named(standbys, i, list, count)};
    }
    *place_count = count;
    return places;
}

static bool ask(struct core_topology *topology, const struct myco_buf *world,
    const struct seen *list, size_t count, struct myco_route_topology *table)
{
    struct myco_core *core = topology->core;
    const struct myco_policy_port *policy = &core->options.policy;
    struct myco_buf answer = {0};
    struct myco_err err = {0};
    msgpack_unpacked doc;
    msgpack_unpacked_init(&doc);
    bool ok = policy->ask(MYCO_POLICY_TOPOLOGY, myco_buf_as_slice(world), &answer, &err,
                  policy->data) == 0 &&
              msgpack_unpack_next(&doc, (const char *)answer.data, answer.size, NULL) ==
                  MSGPACK_UNPACK_SUCCESS;
    if (ok) {
        table->places = read_places(&doc.data, list, count, &table->place_count);
    } else {
        MYCO_METRIC_ADD(core->env->metrics, POLICY_REFUSED, 1);
        MYCO_LOG_AT(core->env->log, topology->warned ? MYCO_LOG_DEBUG : MYCO_LOG_WARN, "policy",
            "a policy gave no answer, connections stay as they are", "kind=topology reason=\"%s\"",
            err.message);
    }
    topology->warned = !ok;
    msgpack_unpacked_destroy(&doc);
    myco_buf_free(&answer);
    return ok;
}

/* ── the table ── */

/* Those that pledge to one list with this node must be reached, whatever their ids. */
static size_t founders(const struct myco_core *core, uint64_t *ids)
{
    uint32_t cursor = 0;
    size_t n = 0;
    const struct myco_member *member;
    struct myco_node_meta meta;
    if (!core->options.expect || !myco_rlog_empty(core->log)) return 0;
    while (n < FOUNDERS_MAX && (member = myco_swim_next(core->swim, &cursor)))
        if (member->state <= MYCO_MEMBER_SUSPECT && myco_node_meta_read(member, &meta) &&
            meta.fresh && meta.expect == core->options.expect)
            ids[n++] = member->id;
    return n;
}

/* Who does not know the cluster's topology yet, and sees a large one, keeps a few connections: to
 * the first by id (that is where clusters are born), to some others, to the leader. */
static size_t few(
    const struct myco_core *core, const struct seen *list, size_t count, uint64_t *ids)
{
    size_t n = 0;
    for (; n < FIRST_MAX && n < count; n++) ids[n] = list[n].id;
    for (uint64_t i = 0; i < OTHERS_MAX; i++)
        ids[n++] = list[myco_hash_mix(core->identity.id, i) % count].id;
    n += founders(core, ids + n);
    if (myco_commands_leader(core->commands)) ids[n++] = myco_commands_leader(core->commands);
    ids[n++] = core->identity.id;
    return n;
}

static bool in_force(const struct myco_core *core)
{
    return core->options.policy.ask && myco_state_feature(core->state, MYCO_FEATURE_RELAY) &&
           myco_state_policy(core->state, MYCO_POLICY_TOPOLOGY);
}

static uint64_t hash_of(const struct myco_core *core, const struct myco_buf *world,
    const struct myco_route_topology *table)
{
    const struct myco_policy_version *policy = myco_state_policy(core->state, MYCO_POLICY_TOPOLOGY);
    uint64_t hash = myco_hash(world->data, world->size);
    hash = myco_hash_mix(hash, in_force(core) ? policy->version : 0);
    return myco_hash_mix(
        hash, myco_hash(table->direct, table->direct_count * sizeof *table->direct));
}

static void decide(struct core_topology *topology)
{
    struct myco_core *core = topology->core;
    uint64_t direct[VOTERS_MAX + DUTIES + FIRST_MAX + OTHERS_MAX + FOUNDERS_MAX + 2];
    size_t count;
    struct seen *list = members(core, &count);
    struct myco_route_topology table = {.direct = direct};
    struct myco_buf world = {0};
    if (in_force(core)) {
        pack_world(&world, list, count);
        if (!core->options.voters_apart) table.direct_count = linked_directly(topology, direct);
    } else if (!core->joined && count > STRANGERS_MAX) {
        table.direct_count = few(core, list, count, direct);
        table.sparse = true;
    }
    uint64_t hash = hash_of(core, &world, &table);
    bool ok = hash != topology->hash;
    if (ok && in_force(core)) ok = ask(topology, &world, list, count, &table);
    if (ok) {
        topology->hash = hash;
        myco_route_set(core->route, &table);
        MYCO_DEBUG(core->env->log, "hypha", "topology", "members=%zu placed=%zu", count,
            table.place_count);
    }
    myco_free((void *)table.places);
    myco_buf_free(&world);
    myco_free(list);
}

static void due(void *data)
{
    struct core_topology *topology = data;
    topology->asked_ms = myco_now_ms(topology->core->env);
    decide(topology);
}

void core_topology_changed(struct myco_core *core)
{
    struct core_topology *topology = core->topology;
    if (!core->swim || myco_timer_active(&topology->timer)) return;
    uint64_t now_ms = myco_now_ms(core->env), next_ms = topology->asked_ms + EVERY_MS;
    bool rested = !topology->asked_ms || now_ms + SOON_MS >= next_ms;
    myco_timer_start(&topology->timer, rested ? SOON_MS : next_ms - now_ms, 0);
}

/* ── events for many ── */

void core_topology_send_many(const uint64_t *nodes, size_t count, uint8_t type,
    struct myco_buf *payload, int *results, void *data)
{
    struct myco_core *core = data;
    for (size_t i = 0; i < count; i++) results[i] = MYCO_ENOTCONN;
    if (core->transport)
        myco_route_send_many(core->route, nodes, count, MYCO_LANE_DATA, type, payload, results);
    else
        myco_buf_free(payload);
}

/* ── opening and closing ── */

void core_topology_open(struct myco_core *core, const struct myco_transport_events *events)
{
    struct myco_route_options options = {.env = core->env,
        .self = core->identity.id,
        .generation = core->identity.generation,
        .features = core->state->features_own,
        .relay_feature = MYCO_FEATURE_BIT(MYCO_FEATURE_RELAY)};
    core->route = myco_route_new(&options, events);
    core->topology = myco_alloc(sizeof *core->topology);
    core->topology->core = core;
    myco_timer_init(&core->topology->timer, core->env, due, core->topology);
}

void core_topology_close(struct myco_core *core)
{
    if (core->topology) myco_timer_stop(&core->topology->timer);
    myco_free(core->topology);
    myco_route_free(core->route);
    core->topology = NULL;
    core->route = NULL;
}
