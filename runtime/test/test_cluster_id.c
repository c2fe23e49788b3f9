/* Two clusters of one name, born apart and then told of each other, in the simulator, while nodes
 * crash and links break: neither takes the other's members in, a node that is of one stays with it
 * through crashes, and fresh nodes that hear of both are of exactly one. It would catch two logs
 * that mix, a member that is listed in both, and a cluster that stops because it met another. */
#include "env/sim.h"
#include "host/core_internal.h"
#include "tap.h"

#define HOSTS 8 /* 0 … 2: one cluster; 3 … 5: the other; 6, 7: fresh */
#define SEEDS 6

static struct world {
    struct myco_sim *sim;
    struct node {
        struct myco_core *core;
        struct myco_identity identity;
        uint64_t cluster; /* that its log ever said */
    } nodes[HOSTS];
    bool met; /* told of each other */
    unsigned changed, mixed;
} world;

static unsigned group(unsigned host)
{
    return host / 3;
}

static void join_others(unsigned host)
{
    for (unsigned other = 0; other < 6; other++) {
        struct myco_addr addr = myco_sim_addr(other);
        if (world.met || group(other) == group(host)) myco_core_join(world.nodes[host].core, &addr);
    }
}

static void on_failed(int status, const char *message, void *data)
{
    ok(false, "host %u goes on: %d %s", (unsigned)((struct node *)data - world.nodes), status,
        message);
}

static void on_start(struct myco_sim *sim, unsigned host, void *data)
{
    struct node *node = &world.nodes[host];
    struct myco_err err = {0};
    char name[8];
    (void)data;
    snprintf(name, sizeof name, "n%u", host);
    struct myco_core_options options = {.env = myco_sim_env(sim, host),
        .disk = myco_sim_disk(sim, host),
        .name = name,
        .cluster = "twins",
        .expect = host < 6 ? 3 : 0};
    int rc = myco_identity_load(options.disk, options.env, "twins", &node->identity, &err);
    if (rc == 0)
        rc = myco_core_open(&options, &node->identity,
            &(struct myco_core_events){.on_failed = on_failed, .data = node}, &node->core, &err);
    if (rc) bail_out("host %u: %s", host, err.message);
    struct myco_transport_events transport = myco_core_transport_events(node->core);
    myco_sim_attach(sim, host, node->identity.id, node->identity.generation,
        myco_core_features(node->core), &transport);
    struct myco_addr addr = myco_sim_addr(host);
    myco_core_start(node->core, myco_sim_transport(sim, host), &addr);
    join_others(host);
}

static void on_crash(struct myco_sim *sim, unsigned host, void *data)
{
    struct myco_core *core = world.nodes[host].core;
    (void)data;
    world.nodes[host].core = NULL;
    myco_core_free(core);
    myco_sim_bury(sim, host);
}

/* ── What must hold at any time ── */

static const struct node *node_of(uint64_t id)
{
    for (unsigned i = 0; i < HOSTS; i++)
        if (world.nodes[i].identity.id == id) return &world.nodes[i];
    return NULL;
}

static void check_state(struct node *node)
{
    uint64_t cluster = node->core->state->cluster;
    if (!cluster) return;
    if (node->cluster && node->cluster != cluster) world.changed++;
    node->cluster = cluster;
    MYCO_MAP_EACH (struct myco_member_record, member, &node->core->state->members) {
        const struct node *other = node_of(member->id);
        if (other && other - world.nodes < 6 && other->cluster && other->cluster != cluster)
            world.mixed++;
    }
}

static void check(void *data)
{
    (void)data;
    for (unsigned i = 0; i < HOSTS; i++)
        if (world.nodes[i].core) check_state(&world.nodes[i]);
    myco_sim_at(world.sim, 20000000, check, NULL);
}

/* ── The end ── */

static bool born(void *data)
{
    (void)data;
    for (unsigned i = 0; i < 6; i++)
        if (!world.nodes[i].core || !world.nodes[i].core->ready) return false;
    return true;
}

/* Its members are those of its cluster, all of them, and no other. */
static bool is_whole(unsigned host)
{
    struct node *node = &world.nodes[host];
    if (!node->core || !node->core->joined || !node->cluster) return false;
    for (unsigned i = 0; i < HOSTS; i++) {
        if (i == host) continue;
        const struct myco_member *member =
            myco_swim_get(node->core->swim, world.nodes[i].identity.id);
        bool there = member && member->state == MYCO_MEMBER_ALIVE;
        if (there != (world.nodes[i].cluster == node->cluster)) return false;
    }
    return true;
}

static bool settled(void *data)
{
    (void)data;
    for (unsigned i = 0; i < HOSTS; i++)
        if (!is_whole(i)) return false;
    return true;
}

static void begin(uint64_t seed)
{
    struct myco_sim_options options;
    uint8_t side[HOSTS];
    memset(&world, 0, sizeof world);
    myco_sim_options_init(&options, seed, HOSTS);
    options.on_start = on_start;
    options.on_crash = on_crash;
    world.sim = myco_sim_new(&options);
    for (unsigned i = 0; i < HOSTS; i++) side[i] = (uint8_t)group(i);
    myco_sim_partition(world.sim, side);
    for (unsigned i = 0; i < 6; i++) myco_sim_start(world.sim, i);
    check(NULL);
    if (!myco_sim_run_until(world.sim, born, NULL, 20000)) bail_out("seed %d: not born", (int)seed);
}

static void meet(bool faults)
{
    struct myco_sim_nemesis nemesis = {.until_ms = 12000,
        .crash_ms = 1500,
        .partition_ms = 3000,
        .pause_ms = 4000,
        .loss_ms = 5000};
    myco_sim_mend_all(world.sim);
    world.met = true;
    for (unsigned i = 0; i < 6; i++) join_others(i);
    for (unsigned i = 6; i < HOSTS; i++) myco_sim_start(world.sim, i);
    if (faults) myco_sim_nemesis(world.sim, &nemesis);
    myco_sim_run(world.sim, faults ? 12000 : 2000);
    if (faults) myco_sim_heal(world.sim);
}

static void say(unsigned host)
{
    struct node *node = &world.nodes[host];
    uint32_t cursor = 0;
    const struct myco_member *member;
    if (!node->core) return;
    note("host %u id %016llx cluster %016llx home %016llx joined %d", host,
        (unsigned long long)node->identity.id, (unsigned long long)node->cluster,
        (unsigned long long)node->core->home.id, node->core->joined);
    while ((member = myco_swim_next(node->core->swim, &cursor)))
        note("  %s %s", member->name, myco_member_state_name(member->state));
}

static void run(uint64_t seed, bool faults)
{
    begin(seed);
    uint64_t one = world.nodes[0].cluster, other = world.nodes[3].cluster;
    meet(faults);
    bool done = myco_sim_run_until(world.sim, settled, NULL, 60000);
    ok(done, "seed %d%s: each cluster is whole, and fresh nodes are of one", (int)seed,
        faults ? " with faults" : "");
    for (unsigned i = 0; !done && i < HOSTS; i++) say(i);
    ok(one && other && one != other, "their ids differ");
    is_int(world.changed, 0, "no node went over to the other");
    is_int(world.mixed, 0, "no member is registered in the other");
    unsigned warned = 0;
    for (unsigned i = 0; i < 6; i++)
        if (world.nodes[i].core) warned += world.nodes[i].core->home.cluster_count;
    ok(warned >= 2, "it was said: %u", warned);
    myco_sim_free(world.sim);
}

int main(void)
{
    run(1, false);
    for (uint64_t seed = 2; seed < 2 + SEEDS; seed++) run(seed, true);
    return plan_done();
}
