/* A simulated cluster of swims, for test_swim*.c: host h has the id h + 1, keeps its generation
 * over crashes, and joins host 0. What each node was told by on_member is counted. */
#ifndef MYCO_TEST_SWIM_WORLD_H
#define MYCO_TEST_SWIM_WORLD_H

#include "base/mem.h"
#include "env/sim.h"
#include "gossip/swim.h"
#include "tap.h"

#define HOSTS_MAX 64

struct world_node {
    struct world *world;
    unsigned host;
    struct myco_swim *swim; /* NULL: down */
    uint64_t id, generation, cluster;
    unsigned deaths, suspicions, forgotten, impostors; /* events since the world began */
    bool own_join;                                     /* joins nobody but itself */
    struct myco_keyring *keyring;                      /* NULL: none; the test's */
    bool no_udp;                                       /* neither sends nor hears datagrams */
};

struct world {
    struct myco_sim *sim;
    unsigned count;
    unsigned forget_ms;
    struct myco_env_ops ops; /* the simulator's, but counting */
    const struct myco_env_ops *real_ops;
    uint64_t sent_bytes, sent_count, mesh_count;
    bool mesh; /* every node has a connection to every other */
    void (*on_send)(const struct myco_addr *to, struct myco_slice bytes); /* NULL: nobody looks */
    struct world_node nodes[HOSTS_MAX];
};

static struct world *world_counting; /* ops have no data; one world at a time */

static bool world_deaf(const struct world *world, const struct myco_addr *addr)
{
    for (unsigned i = 0; i < world->count; i++) {
        struct myco_addr own = myco_sim_addr(i);
        if (myco_addr_equal(&own, addr)) return world->nodes[i].no_udp;
    }
    return false;
}

static int counting_send(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    world_counting->sent_bytes += bytes.size;
    world_counting->sent_count++;
    if (bytes.size > 1400) bail_out("a datagram of %zu bytes", bytes.size);
    if (world_counting->on_send) world_counting->on_send(to, bytes);
    if (world_deaf(world_counting, to)) return 0;
    for (unsigned i = 0; i < world_counting->count; i++) {
        struct world_node *node = &world_counting->nodes[i];
        if (node->no_udp && myco_sim_env(world_counting->sim, i) == env) return 0;
    }
    return world_counting->real_ops->datagram_send(env, to, bytes);
}

static void world_on_member(
    const struct myco_member *now, const struct myco_member *was, void *data)
{
    struct world_node *node = data;
    if (!now) {
        node->forgotten++;
        return;
    }
    if (now->id == node->id) bail_out("an event about the node itself");
    if (was && was->generation == now->generation && was->state == now->state &&
        was->meta_size == now->meta_size && memcmp(was->meta, now->meta, now->meta_size) == 0) {
        bail_out("an event without a change");
    }
    node->deaths += now->state == MYCO_MEMBER_DEAD;
    node->suspicions += now->state == MYCO_MEMBER_SUSPECT;
}

static void world_on_impostor(uint64_t generation, void *data)
{
    struct world_node *node = data;
    if (generation > node->generation) node->impostors++;
}

static void world_on_datagram(const struct myco_addr *from, struct myco_slice bytes, void *data)
{
    struct world_node *node = data;
    myco_swim_receive(node->swim, from, bytes);
}

struct world_mesh {
    struct world *world;
    unsigned to;
    uint64_t from, generation;
    struct myco_buf bytes;
};

static void world_mesh_arrives(void *data)
{
    struct world_mesh *mesh = data;
    struct world_node *node = &mesh->world->nodes[mesh->to];
    if (node->swim && node->generation == mesh->generation &&
        !myco_sim_paused(mesh->world->sim, mesh->to))
        myco_swim_receive_mesh(node->swim, mesh->from, myco_buf_as_slice(&mesh->bytes));
    myco_buf_free(&mesh->bytes);
    myco_free(mesh);
}

static bool world_mesh(uint64_t peer, struct myco_slice bytes, void *data)
{
    struct world_node *node = data;
    struct world *world = node->world;
    if (!world->mesh || peer == 0 || peer > world->count) return false;
    struct world_mesh *mesh = myco_alloc(sizeof(*mesh));
    *mesh = (struct world_mesh){
        world, (unsigned)peer - 1, node->id, world->nodes[peer - 1].generation, {0}};
    myco_buf_bytes(&mesh->bytes, bytes.data, bytes.size);
    if (bytes.size > MYCO_SWIM_MESH_SIZE_MAX) bail_out("%zu bytes by a connection", bytes.size);
    world->mesh_count++;
    myco_sim_at(world->sim, MYCO_SIM_MS, world_mesh_arrives, mesh);
    return true;
}

static void world_on_start(struct myco_sim *sim, unsigned host, void *data)
{
    struct world *world = data;
    struct world_node *node = &world->nodes[host];
    struct myco_env *env = myco_sim_env(sim, host);
    if (!world->real_ops) {
        world->real_ops = env->ops;
        world->ops = *env->ops;
        world->ops.datagram_send = counting_send;
    }
    env->ops = &world->ops;
    char name[32];
    snprintf(name, sizeof(name), "node-%u", host);
    struct myco_swim_options options = {.cluster = node->cluster,
        .id = node->id,
        .generation = ++node->generation,
        .name = name,
        .addr = myco_sim_addr(host),
        .forget_ms = world->forget_ms,
        .keyring = node->keyring};
    struct myco_swim_events events = {.on_member = world_on_member,
        .on_impostor = world_on_impostor,
        .mesh = world_mesh,
        .data = node};
    node->swim = myco_swim_new(env, &options, &events);
    env->on_datagram = world_on_datagram;
    env->on_datagram_data = node;
    struct myco_addr seed = myco_sim_addr(node->own_join ? host : 0);
    myco_swim_join(node->swim, &seed);
}

static void world_on_crash(struct myco_sim *sim, unsigned host, void *data)
{
    struct world *world = data;
    (void)sim;
    myco_swim_free(world->nodes[host].swim);
    world->nodes[host].swim = NULL;
}

static struct world *world_new(uint64_t seed, unsigned count)
{
    struct world *world = myco_alloc(sizeof(*world));
    struct myco_sim_options options;
    world->count = count;
    for (unsigned i = 0; i < count; i++) {
        world->nodes[i] = (struct world_node){.world = world, .host = i, .id = i + 1, .cluster = 7};
    }
    myco_sim_options_init(&options, seed, count);
    options.on_start = world_on_start;
    options.on_crash = world_on_crash;
    options.data = world;
    world->sim = myco_sim_new(&options);
    world_counting = world;
    return world;
}

static void world_free(struct world *world)
{
    myco_sim_free(world->sim);
    myco_free(world);
}

static void world_start(struct world *world)
{
    for (unsigned i = 0; i < world->count; i++) myco_sim_start(world->sim, i);
}

static const struct myco_member *world_view(struct world *world, unsigned at, unsigned of)
{
    return world->nodes[at].swim ? myco_swim_get(world->nodes[at].swim, world->nodes[of].id) : NULL;
}

/* Everybody who is up believes everybody who is up alive, in the right generation. */
static bool world_converged(void *data)
{
    struct world *world = data;
    for (unsigned i = 0; i < world->count; i++) {
        for (unsigned j = 0; j < world->count; j++) {
            if (!world->nodes[i].swim || !world->nodes[j].swim) continue;
            const struct myco_member *member = world_view(world, i, j);
            if (!member || member->state != MYCO_MEMBER_ALIVE) return false;
            if (member->generation != world->nodes[j].generation) return false;
        }
    }
    return true;
}

/* Everybody who is up, but `of` itself, believes that of it. */
static bool world_agrees(struct world *world, unsigned of, enum myco_member_state state)
{
    for (unsigned i = 0; i < world->count; i++) {
        if (i == of || !world->nodes[i].swim) continue;
        const struct myco_member *member = world_view(world, i, of);
        if (!member || member->state != state) return false;
    }
    return true;
}

static unsigned world_deaths(const struct world *world)
{
    unsigned deaths = 0;
    for (unsigned i = 0; i < world->count; i++) deaths += world->nodes[i].deaths;
    return deaths;
}

static unsigned world_suspicions(const struct world *world)
{
    unsigned suspicions = 0;
    for (unsigned i = 0; i < world->count; i++) suspicions += world->nodes[i].suspicions;
    return suspicions;
}

/* Virtual ms until everything converged; bails out after `ms_max`. */
static uint64_t world_converge(struct world *world, uint64_t ms_max)
{
    uint64_t from = myco_sim_now_ms(world->sim);
    if (!myco_sim_run_until(world->sim, world_converged, world, ms_max)) {
        ok(false, "converged within %llu ms", (unsigned long long)ms_max);
    }
    return myco_sim_now_ms(world->sim) - from;
}

struct world_wish {
    struct world *world;
    unsigned of;
    enum myco_member_state state;
};
static bool world_wish_met(void *data)
{
    struct world_wish *wish = data;
    return world_agrees(wish->world, wish->of, wish->state);
}

/* Virtual ms until everybody believes it; UINT64_MAX after `ms_max`. */
static uint64_t world_agree(
    struct world *world, unsigned of, enum myco_member_state state, uint64_t ms_max)
{
    struct world_wish wish = {world, of, state};
    uint64_t from = myco_sim_now_ms(world->sim);
    if (!myco_sim_run_until(world->sim, world_wish_met, &wish, ms_max)) return UINT64_MAX;
    return myco_sim_now_ms(world->sim) - from;
}

#endif
