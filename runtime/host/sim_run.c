/* One run: a cluster forms, works while things fail, heals, comes to rest; everything is compared;
 * then all nodes lose their disks, and the cluster must come back from the object store. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/sim_world.h"

#define CHECK_NS    (2 * MYCO_SIM_MS)
#define FORM_MS_MAX 30000 /* a cluster that nothing disturbs is there by then */
#define REST_MS     3000  /* from the last operation until everything is the same everywhere */

void sim_violated(struct sim_world *world, const char *format, ...)
{
    if (world->violation[0] || world->closing) return;
    va_list arguments;
    int at = snprintf(world->violation, sizeof world->violation,
        "at %llu ms: ", (unsigned long long)myco_sim_now_ms(world->sim));
    va_start(arguments, format);
    vsnprintf(world->violation + at, sizeof world->violation - (size_t)at, format, arguments);
    va_end(arguments);
}

/* ── nodes ── */

static void start_again(void *data)
{
    struct sim_node *node = data;
    if (!node->world->wiping && !myco_sim_up(node->world->sim, node->host))
        myco_sim_start(node->world->sim, node->host);
}

void sim_node_restart(struct sim_node *node, uint64_t after_ms)
{
    struct sim_world *world = node->world;
    if (myco_sim_up(world->sim, node->host)) myco_sim_crash(world->sim, node->host, MYCO_SIM_KILL);
    myco_sim_at(world->sim, after_ms * MYCO_SIM_MS, start_again, node);
}

/* A node that refuses its damaged disk is replaced: an empty disk, a new identity. */
static void replace(void *data)
{
    struct sim_node *node = data;
    struct sim_world *world = node->world;
    if ((node->core && !node->failed) || !myco_sim_up(world->sim, node->host)) return;
    myco_sim_crash(world->sim, node->host, MYCO_SIM_KILL);
    myco_sim_disk_wipe(myco_sim_disk(world->sim, node->host));
    myco_sim_note(world->sim, node->host, "its disk is replaced");
    node->damaged = false;
    myco_sim_start(world->sim, node->host);
}

/* What a supervisor does with a process that gave up. */
static void supervise(void *data)
{
    struct sim_node *node = data;
    if (node->failed && node->core) sim_node_restart(node, 300);
}

static void on_failed(int status, const char *message, void *data)
{
    struct sim_node *node = data;
    bool expected = status == MYCO_EIO || status == MYCO_ENOSPC;
    node->failed = true;
    if (node->damaged)
        myco_sim_at(node->world->sim, 0, replace, node);
    else if (node->world->options.disk_faults && expected)
        myco_sim_at(node->world->sim, 0, supervise, node);
    else
        sim_violated(
            node->world, "node %u failed: %s (%s)", node->host, message, myco_errname(status));
}

static void on_trace(const char *what, uint64_t a, uint64_t b, uint64_t c, void *data)
{
    sim_check_event(data, what, a, b, c);
}

static void try_later(void *data)
{
    struct sim_node *node = data;
    if (!node->core) sim_node_restart(node, 500);
}

static void refused(struct sim_node *node, int status, const char *message)
{
    struct sim_world *world = node->world;
    bool full = world->options.disk_faults && (status == MYCO_ENOSPC || status == MYCO_EIO);
    myco_sim_note(world->sim, node->host, "does not start: %s", message);
    if (node->damaged && !full)
        myco_sim_at(world->sim, 0, replace, node);
    else if (full)
        myco_sim_at(world->sim, 0, try_later, node);
    else
        sim_violated(world, "node %u can't start: %s", node->host, message);
}

static int open_core(struct sim_node *node, struct myco_err *err)
{
    struct sim_world *world = node->world;
    struct myco_env *env = myco_sim_env(world->sim, node->host);
    struct myco_disk *disk = myco_sim_disk(world->sim, node->host);
    char name[16];
    snprintf(name, sizeof name, "n%u", node->host + 1);
    int rc = myco_identity_load(disk, env, "sim", &node->identity, err);
    if (rc == 0 && world->options.lua_path)
        rc = myco_policies_new(world->options.lua_path, env->log, &node->policies, err);
    if (rc) return rc;
    if (world->options.store)
        node->store = myco_object_file(env, myco_sim_shared_disk(world->sim, node->host));
    struct myco_core_options options = {.env = env,
        .disk = disk,
        .store = node->store,
        .name = name,
        .cluster = "sim",
        .lease_ms = world->options.lease_ms,
        .features_masked = node->older ? ~UINT64_C(0) : 0,
        .voters_apart = world->options.topology && world->options.seed % 2,
        .expect = world->options.nodes < 5 ? world->options.nodes : 5};
    if (node->policies) options.policy = myco_policies_port(node->policies);
    struct myco_core_events events = {.on_failed = on_failed, .on_trace = on_trace, .data = node};
    return myco_core_open(&options, &node->identity, &events, &node->core, err);
}

static void node_start(struct myco_sim *sim, unsigned host, void *data)
{
    struct sim_world *world = data;
    struct sim_node *node = &world->nodes[host];
    struct myco_err err = {0};
    sim_upgrade_starting(node);
    node->starts++;
    node->failed = node->leaving = false;
    int rc = open_core(node, &err);
    if (rc) {
        node->core = NULL;
        refused(node, rc, err.message);
        return;
    }
    struct myco_transport_events transport = myco_core_transport_events(node->core);
    myco_sim_attach(sim, host, node->identity.id, node->identity.generation,
        myco_core_features(node->core), &transport);
    struct myco_addr addr = myco_sim_addr(host), seed = myco_sim_addr(0);
    myco_core_start(node->core, myco_sim_transport(sim, host), &addr);
    myco_core_join(node->core, &seed);
    seed = myco_sim_addr(1 % world->options.nodes);
    myco_core_join(node->core, &seed);
    sim_events_node_up(node);
    sim_fence_node_up(node);
    sim_chronicle_node_up(node);
    sim_locks_node_up(node);
}

static void node_crash(struct myco_sim *sim, unsigned host, void *data)
{
    struct sim_world *world = data;
    struct sim_node *node = &world->nodes[host];
    struct myco_core *core = node->core;
    if (core) sim_events_node_down(node);
    if (core) sim_fence_node_down(node);
    if (core) sim_locks_node_down(node);
    node->core = NULL; /* what ends with ECLOSED now is no client's answer */
    myco_core_free(core);
    node->store = NULL;
    myco_sim_bury(sim, host);
    myco_policies_free(node->policies);
    node->policies = NULL;
}

/* ── the world ── */

static void check(void *data)
{
    struct sim_world *world = data;
    sim_check_now(world);
    sim_upgrade_check(world);
    myco_sim_at(world->sim, CHECK_NS, check, world);
}

struct sim_world *sim_world_new(const struct sim_options *options)
{
    struct sim_world *world = myco_alloc(sizeof *world);
    struct myco_sim_options sim;
    world->options = *options;
    myco_sim_options_init(&sim, options->seed, options->nodes);
    sim.on_start = node_start;
    sim.on_crash = node_crash;
    sim.data = world;
    if (options->trace) sim.trace_count = 1000000;
    sim.log_level = options->trace ? MYCO_LOG_DEBUG : MYCO_LOG_INFO;
    world->sim = myco_sim_new(&sim);
    for (unsigned i = 0; i < options->nodes; i++) {
        world->nodes[i] = (struct sim_node){.world = world, .host = i};
        /* every fourth world has clocks as far apart as they may be */
        if (options->seed % 4 == 0) myco_sim_set_drift(world->sim, i, i % 2 ? 10000 : -10000);
    }
    sim_upgrade_init(world);
    world->check = sim_check_new(world);
    world->clients = sim_clients_new(world);
    world->cache = sim_cache_new(world, "cache", "kind=cache hyphae=4 replicas=1");
    world->loose =
        sim_cache_new(world, "loose", "kind=durable level=replicated hyphae=4 replicas=1");
    world->acts = sim_acts_new(world);
    world->events = sim_events_new(world);
    world->fence = sim_fence_new(world);
    world->chronicle = sim_chronicle_new();
    world->locks = sim_locks_new(world);
    world->disks = sim_disks_new(world);
    return world;
}

void sim_world_free(struct sim_world *world)
{
    world->closing = true;
    myco_sim_free(world->sim);
    sim_disks_free(world->disks);
    sim_events_free(world->events);
    sim_fence_free(world->fence);
    sim_chronicle_free(world->chronicle);
    sim_locks_free(world->locks);
    sim_acts_free(world->acts);
    sim_cache_free(world->loose);
    sim_cache_free(world->cache);
    sim_clients_free(world->clients);
    sim_check_free(world->check);
    myco_free(world);
}

/* ── waiting ── each ends at once when something is violated */

static bool formed(void *data)
{
    struct sim_world *world = data;
    if (world->violation[0]) return true;
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (!world->nodes[i].core || !myco_core_ready(world->nodes[i].core)) return false;
    return true;
}

static bool serves(void *data)
{
    struct sim_world *world = data;
    return world->violation[0] || sim_clients_ready(world);
}

static bool rests(void *data)
{
    struct sim_world *world = data;
    return world->violation[0] || (sim_clients_idle(world) && sim_cache_idle(world->cache) &&
                                      sim_cache_idle(world->loose) && sim_fence_idle(world));
}

static bool scanned(void *data)
{
    struct sim_world *world = data;
    return world->violation[0] || sim_clients_scanned(world);
}

static bool heard(void *data)
{
    struct sim_world *world = data;
    return world->violation[0] || sim_events_heard(world);
}

static bool upgraded(void *data)
{
    struct sim_world *world = data;
    return world->violation[0] || sim_upgraded(world);
}

static bool cache_serves(void *data)
{
    struct sim_world *world = data;
    return world->violation[0] || sim_cache_served(world->cache);
}

static bool served(void *data)
{
    struct sim_world *world = data;
    return world->violation[0] || sim_locks_served(world);
}

static bool complete(void *data)
{
    struct sim_world *world = data;
    return world->violation[0] || sim_store_complete(world);
}

static bool violated(void *data)
{
    return ((struct sim_world *)data)->violation[0] != 0;
}

static void await(struct sim_world *world, bool (*done)(void *), uint64_t ms, const char *else_what)
{
    if (world->violation[0]) return;
    if (!myco_sim_run_until(world->sim, done, world, ms)) sim_violated(world, "%s", else_what);
}

static void pass(struct sim_world *world, uint64_t ms)
{
    if (!world->violation[0]) myco_sim_run_until(world->sim, violated, world, ms);
}

/* ── a run ── */

bool sim_form(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++) myco_sim_start(world->sim, i);
    await(world, formed, FORM_MS_MAX, "the cluster did not form");
    return !world->violation[0];
}

/* What came after the first faults, by dice of its own. */
static void disturb_more(const struct sim_world *world, struct myco_sim_nemesis *nemesis)
{
    nemesis->partial_ms = 6000;
    nemesis->flap_ms = 6000;
    nemesis->break_ms = 3000;
    nemesis->storm_ms = 8000;
    nemesis->suspend_ms = 15000;
    if (world->options.nodes == 1) nemesis->flap_ms = nemesis->storm_ms = 0;
}

static void disturb(struct sim_world *world)
{
    struct myco_sim_nemesis nemesis = {.until_ms = (uint64_t)world->options.seconds * 1000,
        .crash_ms = 6000,
        .partition_ms = 5000,
        .pause_ms = 7000,
        .jump_ms = 20000,
        .loss_ms = 8000,
        .store_ms = world->options.store ? 15000 : 0};
    if (world->options.nodes == 1) nemesis.partition_ms = nemesis.loss_ms = 0;
    if (world->options.nodes < 3) nemesis.down_max = 1;
    if (world->options.all_faults) disturb_more(world, &nemesis);
    if (world->options.starved_ms) sim_starved_start(world);
    if (world->options.faults) myco_sim_nemesis(world->sim, &nemesis);
    if (world->options.all_faults) sim_acts_start(world, nemesis.until_ms);
    if (world->options.disk_faults) sim_disks_start(world, nemesis.until_ms);
}

/* Nobody writes any more, everything is answered, every key can be read, every event is heard. */
static void rest(struct sim_world *world)
{
    sim_clients_stop(world);
    sim_cache_stop(world->cache);
    sim_cache_stop(world->loose);
    sim_events_stop(world);
    sim_fence_stop(world);
    await(world, rests, SIM_HEALING_MS, "operations do not end");
    sim_clients_stop(world); /* every key is read again, after the last write */
    await(world, formed, SIM_HEALING_MS, "a node does not become ready after healing");
    await(world, serves, SIM_HEALING_MS, "a hypha does not serve after healing");
    sim_cache_last(world->cache);
    await(world, cache_serves, SIM_HEALING_MS, "a cache does not serve after healing");
    sim_locks_last(world);
    await(world, served, SIM_HEALING_MS, "who waits for a lock does not get it after healing");
    sim_locks_stop(world);
    pass(world, REST_MS);
    if (world->options.all_faults) { /* a write of unknown outcome came late: read after it, too */
        sim_clients_stop(world);
        await(world, serves, SIM_HEALING_MS, "a key can't be read any more");
    }
    await(world, scanned, 10000, "a scan does not end");
    if (world->violation[0]) return;
    sim_events_last(world);
    await(world, heard, 5000, "an event did not reach all subscribers after healing");
    sim_check_copies(world);
    sim_chronicle_verify(world);
}

static void go_on(struct sim_world *world)
{
    sim_clients_go_on(world);
    sim_cache_start(world->cache);
    if (sim_is_loose(world)) sim_cache_start(world->loose);
    sim_events_start(world);
    sim_fence_start(world);
    sim_locks_start(world);
}

static void lose_voter(struct sim_world *world)
{
    if (!sim_voters_suffers(&world->options) || world->violation[0]) return;
    go_on(world);
    struct sim_loss *loss = sim_loss_prepare(world);
    sim_voters_lose(world, loss);
    await(world, formed, SIM_HEALING_MS, "a voter that lost its disk does not come back");
    sim_loss_accept(world, loss);
    pass(world, 2000);
    rest(world);
}

/* Clients write while the cluster comes back, and nodes die, sleep and lose each other. */
static void disturb_restore(struct sim_world *world)
{
    struct myco_sim_nemesis nemesis = {.until_ms = 4000,
        .crash_ms = 2000,
        .partition_ms = world->options.nodes > 1 ? 3000 : 0,
        .pause_ms = 3000,
        .store_ms = 2000,
        .break_ms = 1500,
        .partial_ms = 3000,
        .down_max = 1};
    sim_clients_go_on(world);
    if (world->options.faults) myco_sim_nemesis(world->sim, &nemesis);
    pass(world, nemesis.until_ms);
}

static void lose_everything(struct sim_world *world)
{
    if (!world->options.store || !world->options.restore || world->violation[0]) return;
    await(world, complete, SIM_HEALING_MS, "what is committed does not get into a manifest");
    if (world->violation[0]) return;
    sim_store_check(world);
    sim_store_restore(world);
    if (world->options.all_faults) disturb_restore(world);
    await(world, formed, SIM_HEALING_MS, "the cluster does not form from the object store");
    await(world, serves, SIM_HEALING_MS, "a hypha does not come back from the object store");
    if (world->violation[0]) return;
    go_on(world);
    pass(world, 2000);
    rest(world);
}

static void run(struct sim_world *world)
{
    myco_sim_at(world->sim, CHECK_NS, check, world);
    if (!sim_form(world)) return;
    if (world->options.topology && !sim_topology_apply(world, world->options.topology)) return;
    sim_clients_start(world);
    sim_cache_start(world->cache);
    if (sim_is_loose(world)) sim_cache_start(world->loose);
    sim_events_start(world);
    sim_fence_start(world);
    sim_locks_start(world);
    await(world, serves, SIM_HEALING_MS, "the septa do not serve");
    disturb(world);
    pass(world, (uint64_t)world->options.seconds * 1000);
    if (world->violation[0]) return;
    sim_starved_stop(world);
    sim_disks_heal(world);
    sim_acts_stop(world);
    myco_sim_heal(world->sim);
    sim_upgrade_finish(world);
    await(world, upgraded, SIM_HEALING_MS, "features do not become active after the upgrade");
    rest(world);
    lose_voter(world);
    /* Twice: the second restore starts from what the first one brought back. */
    lose_everything(world);
    lose_everything(world);
    if (world->options.store && !world->violation[0]) sim_store_check(world);
    if (!world->violation[0]) sim_clients_verify(world);
    if (!world->violation[0]) sim_fence_verify(world);
}

void sim_run_seed(const struct sim_options *options, struct sim_outcome *outcome)
{
    /* Two in three have leases longer than gossip needs to declare a death: else nobody would ever
     * wait for one to end. */
    static const unsigned leases_ms[] = {0, 1000, 2500};
    struct sim_options chosen = *options;
    chosen.lease_ms = leases_ms[options->seed % 3];
    if (options->faults && options->seed % 5 == 3 && options->nodes == 3)
        chosen.nodes = options->seed % 2 ? 6 : 4; /* with one to spare, or without: sim_voters.c */
    struct sim_world *world = sim_world_new(&chosen);
    run(world);
    *outcome = (struct sim_outcome){!world->violation[0], myco_sim_trace_hash(world->sim),
        myco_sim_events(world->sim), myco_sim_now_ms(world->sim)};
    if (!outcome->ok || options->trace) myco_sim_trace_print(world->sim, stderr);
    if (!outcome->ok) {
        sim_check_print(world, stderr);
        fprintf(stderr, "sim: seed %llu, event %llu: VIOLATION %s\n",
            (unsigned long long)options->seed, (unsigned long long)outcome->events,
            world->violation);
    }
    if (!options->quiet) {
        sim_clients_report(world, stdout);
        sim_events_report(world, stdout);
        sim_fence_report(world, stdout);
        sim_chronicle_report(world, stdout);
        sim_topology_report(world, stdout);
        sim_locks_report(world, stdout);
        sim_disks_report(world, stdout);
        sim_acts_report(world, stdout);
    }
    sim_world_free(world);
}
