/* `mycorrizal sim`: runs a cluster of whole nodes in the simulator and checks the protocol's
 * invariants. */
#include "host/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/lua_path.h"
#include "host/sim_world.h"

#define CHECK_NS    (2 * MYCO_SIM_MS)
#define FORM_MS_MAX 30000 /* a cluster that nothing disturbs is there by then */
#define HEAL_MS_MAX 60000 /* after the last fault, everything serves again by then */

void sim_violated(struct sim_world *world, const char *format, ...)
{
    if (world->violation[0]) return;
    va_list arguments;
    int at = snprintf(world->violation, sizeof world->violation,
        "at %llu ms: ", (unsigned long long)myco_sim_now_ms(world->sim));
    va_start(arguments, format);
    vsnprintf(world->violation + at, sizeof world->violation - (size_t)at, format, arguments);
    va_end(arguments);
}

/* ── nodes ── */

static void on_failed(int status, const char *message, void *data)
{
    struct sim_node *node = data;
    node->failed = true;
    sim_violated(node->world, "node %u failed: %s (%s)", node->host, message, myco_errname(status));
}

static void on_trace(const char *what, uint64_t a, uint64_t b, uint64_t c, void *data)
{
    sim_check_event(data, what, a, b, c);
}

void sim_node_start(struct myco_sim *sim, unsigned host, void *data)
{
    struct sim_world *world = data;
    struct sim_node *node = &world->nodes[host];
    struct myco_env *env = myco_sim_env(sim, host);
    struct myco_err err = {0};
    char name[16];
    snprintf(name, sizeof name, "n%u", host + 1);
    node->starts++;
    node->failed = false;
    int rc = myco_identity_load(myco_sim_disk(sim, host), env, "sim", &node->identity, &err);
    if (rc == 0 && world->options.store)
        node->store = myco_object_file(env, myco_sim_shared_disk(sim, host));
    if (rc == 0 && world->options.lua_path)
        rc = myco_policies_new(world->options.lua_path, env->log, &node->policies, &err);
    struct myco_core_options options = {.env = env,
        .disk = myco_sim_disk(sim, host),
        .store = node->store,
        .name = name,
        .cluster = "sim",
        .expect = world->options.nodes < 5 ? world->options.nodes : 5};
    if (node->policies) options.policy = myco_policies_port(node->policies);
    struct myco_core_events events = {.on_failed = on_failed, .on_trace = on_trace, .data = node};
    if (rc == 0) rc = myco_core_open(&options, &node->identity, &events, &node->core, &err);
    if (rc) {
        sim_violated(world, "node %u can't start: %s", host, err.message);
        return;
    }
    struct myco_transport_events transport = myco_core_transport_events(node->core);
    myco_sim_attach(sim, host, node->identity.id, node->identity.generation, 0, &transport);
    struct myco_addr addr = myco_sim_addr(host), seed = myco_sim_addr(0);
    myco_core_start(node->core, myco_sim_transport(sim, host), &addr);
    myco_core_join(node->core, &seed);
    seed = myco_sim_addr(1 % world->options.nodes);
    myco_core_join(node->core, &seed);
}

void sim_node_crash(struct myco_sim *sim, unsigned host, void *data)
{
    struct sim_world *world = data;
    struct sim_node *node = &world->nodes[host];
    struct myco_core *core = node->core;
    node->core = NULL; /* what ends with ECLOSED now is no client's answer */
    myco_core_free(core);
    node->store = NULL;
    myco_sim_bury(sim, host);
    myco_policies_free(node->policies);
    node->policies = NULL;
}

/* ── a run ── */

static void check(void *data)
{
    struct sim_world *world = data;
    sim_check_now(world);
    myco_sim_at(world->sim, CHECK_NS, check, world);
}

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
    return world->violation[0] || sim_clients_idle(world);
}

static bool violated(void *data)
{
    return ((struct sim_world *)data)->violation[0] != 0;
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
    if (world->options.faults && world->options.nodes > 1) myco_sim_nemesis(world->sim, &nemesis);
}

static void run(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++) myco_sim_start(world->sim, i);
    myco_sim_at(world->sim, CHECK_NS, check, world);
    if (!myco_sim_run_until(world->sim, formed, world, FORM_MS_MAX))
        sim_violated(world, "the cluster did not form");
    if (world->violation[0]) return;
    sim_clients_start(world);
    if (!myco_sim_run_until(world->sim, serves, world, HEAL_MS_MAX))
        sim_violated(world, "the septa do not serve");
    if (world->violation[0]) return;
    disturb(world);
    if (myco_sim_run_until(world->sim, violated, world, (uint64_t)world->options.seconds * 1000))
        return;
    myco_sim_heal(world->sim);
    sim_clients_stop(world);
    if (!myco_sim_run_until(world->sim, rests, world, HEAL_MS_MAX))
        sim_violated(world, "operations do not end");
    if (world->violation[0]) return;
    if (!myco_sim_run_until(world->sim, serves, world, HEAL_MS_MAX))
        sim_violated(world, "a hypha does not serve after healing");
    if (myco_sim_run_until(world->sim, violated, world, 3000)) return;
    sim_check_copies(world);
    sim_clients_verify(world);
}

struct outcome {
    uint64_t hash, events, virtual_ms;
};

static bool run_seed(const struct sim_options *options, struct outcome *outcome)
{
    struct sim_world *world = myco_alloc(sizeof *world);
    struct myco_sim_options sim;
    world->options = *options;
    myco_sim_options_init(&sim, options->seed, options->nodes);
    sim.on_start = sim_node_start;
    sim.on_crash = sim_node_crash;
    sim.data = world;
    if (options->trace) sim.trace_count = 1000000;
    sim.log_level = options->trace ? MYCO_LOG_DEBUG : MYCO_LOG_INFO;
    world->sim = myco_sim_new(&sim);
    for (unsigned i = 0; i < options->nodes; i++)
        world->nodes[i] = (struct sim_node){.world = world, .host = i};
    world->check = sim_check_new(world);
    world->clients = sim_clients_new(world);
    run(world);
    *outcome = (struct outcome){
        myco_sim_trace_hash(world->sim), myco_sim_events(world->sim), myco_sim_now_ms(world->sim)};
    bool ok = !world->violation[0];
    if (!ok || options->trace) myco_sim_trace_print(world->sim, stderr);
    if (!ok) sim_check_print(world, stderr);
    if (!ok)
        fprintf(stderr, "sim: seed %llu, event %llu: VIOLATION %s\n",
            (unsigned long long)options->seed, (unsigned long long)outcome->events,
            world->violation);
    if (!options->quiet) sim_clients_report(world, stdout);
    char keep[sizeof world->violation];
    memcpy(keep, world->violation, sizeof keep);
    world->violation[0] = 'x'; /* what closing brings is no violation */
    myco_sim_free(world->sim);
    sim_clients_free(world->clients);
    sim_check_free(world->check);
    myco_free(world);
    return ok;
}

static int usage(FILE *file)
{
    fputs("usage: mycorrizal sim [--seed S] [--seeds N] [--nodes N] [--seconds T] [--no-faults] "
          "[--no-store] [--no-lua] [--twice] [--trace]\n\n"
          "Runs a cluster of whole nodes in virtual time on a network and disks that fail, and "
          "checks that nothing\n"
          "acknowledged is lost, no two nodes hold the same at once, and every history is "
          "linearizable.\n"
          "The same seed gives the same run, to the byte.\n\n"
          "  --seed S       the first seed (1)\n"
          "  --seeds N      how many, one after the other (1)\n"
          "  --nodes N      1 to 64 (3)\n"
          "  --seconds T    of virtual time with faults (30)\n"
          "  --no-faults    nothing fails\n"
          "  --no-store     without an object store\n"
          "  --no-lua       the built-in rules instead of the Lua policies\n"
          "  --twice        each seed twice; the traces must be equal\n"
          "  --trace        print the end of the trace also when all is well\n",
        file);
    return file == stderr ? 2 : 0;
}

static bool parse(
    int argc, char **argv, struct sim_options *options, uint64_t *seeds, bool *twice, bool *lua)
{
    for (int i = 0; i < argc; i++) {
        uint64_t number = 0;
        bool value = i + 1 < argc && myco_text_u64(argv[i + 1], &number, NULL) == 0;
        if (strcmp(argv[i], "--no-faults") == 0)
            options->faults = false;
        else if (strcmp(argv[i], "--no-store") == 0)
            options->store = false;
        else if (strcmp(argv[i], "--no-lua") == 0)
            *lua = false;
        else if (strcmp(argv[i], "--twice") == 0)
            *twice = true;
        else if (strcmp(argv[i], "--trace") == 0)
            options->trace = true;
        else if (!value)
            return false;
        else if (strcmp(argv[i], "--seed") == 0)
            options->seed = number, i++;
        else if (strcmp(argv[i], "--seeds") == 0)
            *seeds = number, i++;
        else if (strcmp(argv[i], "--nodes") == 0 && number >= 1 && number <= SIM_NODES_MAX)
            options->nodes = (unsigned)number, i++;
        else if (strcmp(argv[i], "--seconds") == 0 && number <= 86400)
            options->seconds = (unsigned)number, i++;
        else
            return false;
    }
    return true;
}

int myco_sim_main(int argc, char **argv)
{
    struct sim_options options = {
        .seed = 1, .nodes = 3, .seconds = 30, .faults = true, .store = true};
    uint64_t seeds = 1, passed = 0;
    bool twice = false, lua = true;
    char lua_path[MYCO_LUA_PATH_MAX], folder[MYCO_LUA_PATH_MAX + 32];
    struct myco_err err = {0};
    if (argc > 0 && strcmp(argv[0], "--help") == 0) return usage(stdout);
    if (!parse(argc, argv, &options, &seeds, &twice, &lua)) return usage(stderr);
    if (lua) {
        if (myco_lua_path(NULL, lua_path, &err)) return myco_complain(&err);
        snprintf(folder, sizeof folder, "%s/mycorrizal/policy", lua_path);
        options.lua_path = folder;
    }
    for (uint64_t n = 0; n < seeds; n++, options.seed++) {
        struct outcome first, second;
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        bool ok = run_seed(&options, &first);
        clock_gettime(CLOCK_MONOTONIC, &to);
        if (ok && twice) {
            options.quiet = true;
            ok = run_seed(&options, &second);
            options.quiet = false;
            if (ok && first.hash != second.hash) {
                fprintf(stderr, "sim: seed %llu: VIOLATION two runs differ: %016llx and %016llx\n",
                    (unsigned long long)options.seed, (unsigned long long)first.hash,
                    (unsigned long long)second.hash);
                ok = false;
            }
        }
        long ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
        printf("seed %llu: %s  trace %016llx  events %llu  virtual %llu ms  real %ld ms\n",
            (unsigned long long)options.seed, ok ? "ok" : "FAILED", (unsigned long long)first.hash,
            (unsigned long long)first.events, (unsigned long long)first.virtual_ms, ms);
        fflush(stdout);
        passed += ok;
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)passed,
        (unsigned long long)(seeds - passed));
    return passed == seeds ? 0 : 1;
}
