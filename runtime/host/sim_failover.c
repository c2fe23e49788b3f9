/* How long a node that dies is missed: the process of the consensus leader, of a primary or of
 * another leader is killed, and the time is taken until the first write to what it led is
 * acknowledged again, asked every few milliseconds on a node that lives. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "host/sim_world.h"

#define ASK_MS    2    /* between two attempts */
#define DOWN_MS   2000 /* a killed node stays away for so long */
#define SETTLE_MS 4000 /* until its copies are in sync again */
#define LATE_MS   30000

enum victim { CONSENSUS, PRIMARY, ELECTED, VICTIM_COUNT };

struct probe {
    struct sim_world *world;
    unsigned from;
    uint64_t septum, attempts, done_ns;
    char key[16];
    struct myco_campaign *campaign;
};

struct figures {
    double *ms;
    size_t count;
};

/* ── the write that is missed ── */

static void wrote(const struct myco_result *result, void *data)
{
    struct probe *probe = data;
    if (result->status == 0 && !probe->done_ns) probe->done_ns = myco_sim_now_ns(probe->world->sim);
}

static void ask(void *data)
{
    struct probe *probe = data;
    struct myco_put_options options = {.timeout_ms = LATE_MS};
    uint64_t value = ++probe->attempts;
    if (probe->done_ns) return;
    myco_core_put(probe->world->nodes[probe->from].core, probe->septum, myco_str(probe->key),
        myco_bytes(&value, sizeof value), &options, wrote, probe);
    myco_sim_at(probe->world->sim, ASK_MS * MYCO_SIM_MS, ask, probe);
}

static bool acknowledged(void *data)
{
    struct probe *probe = data;
    return probe->done_ns || probe->world->violation[0];
}

/* ── whom to kill ── */

static unsigned host_of(const struct sim_world *world, uint64_t node)
{
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (world->nodes[i].core && world->nodes[i].identity.id == node) return i;
    return 0;
}

static const struct myco_septum_record *registers(const struct sim_world *world)
{
    return myco_state_septum_named(world->nodes[0].core->state, "registers");
}

/* Election of Mycel: whoever leads it next says so by being told. */
static unsigned victim_of(struct sim_world *world, enum victim what, struct probe *probe)
{
    const struct myco_septum_record *septum = registers(world);
    const struct myco_core *leader = sim_leader(world);
    uint64_t wanted = leader ? leader->identity.id : world->nodes[0].identity.id;
    snprintf(probe->key, sizeof probe->key, "k%u", (unsigned)probe->attempts);
    if (what == PRIMARY) {
        uint32_t hypha =
            (uint32_t)myco_sim_random_below(myco_sim_random(world->sim), septum->options.hyphae);
        wanted = septum->hyphae[hypha].set.primary;
    }
    if (what == ELECTED) {
        const struct myco_election_record *election =
            myco_state_election(world->nodes[0].core->state, "mycel");
        if (election && election->holder) wanted = election->holder;
    }
    for (unsigned n = 0; n < 10000; n++) { /* a key whose primary it is, when it is any's */
        snprintf(probe->key, sizeof probe->key, "f%u", n);
        uint32_t hypha = myco_hypha_of(septum, myco_str(probe->key));
        if (septum->hyphae[hypha].set.primary == wanted) break;
    }
    probe->septum = septum->id;
    return host_of(world, wanted);
}

static bool elected_again(void *data)
{
    struct probe *probe = data;
    struct sim_world *world = probe->world;
    uint64_t epoch;
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (world->nodes[i].core && core_duty_held(world->nodes[i].core, "mycel", &epoch))
            return true;
    return world->violation[0] != 0;
}

static void kill_one(struct sim_world *world, enum victim what, struct figures *figures)
{
    struct probe *probe = myco_alloc(sizeof *probe);
    probe->world = world;
    unsigned host = victim_of(world, what, probe);
    probe->from = (host + 1) % world->options.nodes;
    uint64_t at = myco_sim_now_ns(world->sim);
    myco_sim_crash(world->sim, host, MYCO_SIM_KILL);
    bool back;
    if (what == ELECTED) {
        back = myco_sim_run_until(world->sim, elected_again, probe, LATE_MS);
    } else {
        myco_sim_at(world->sim, 0, ask, probe);
        back = myco_sim_run_until(world->sim, acknowledged, probe, LATE_MS);
    }
    if (!back) sim_violated(world, "nobody takes over within %d s", LATE_MS / 1000);
    figures->ms[figures->count++] = (double)(myco_sim_now_ns(world->sim) - at) / 1e6;
    myco_sim_run(world->sim, DOWN_MS);
    if (!myco_sim_up(world->sim, host)) myco_sim_start(world->sim, host);
    myco_sim_run(world->sim, SETTLE_MS + myco_sim_random_below(myco_sim_random(world->sim), 100));
    myco_free(probe);
}

/* ── figures ── */

static int by_size(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

static void print(const char *what, struct figures *figures)
{
    size_t count = figures->count;
    if (!count) return;
    qsort(figures->ms, count, sizeof *figures->ms, by_size);
    printf("%-28s %4zu kills  p50 %.0f ms  p90 %.0f ms  p99 %.0f ms  max %.0f ms\n", what, count,
        figures->ms[count / 2], figures->ms[count * 9 / 10], figures->ms[count * 99 / 100],
        figures->ms[count - 1]);
}

static bool usable(void *data)
{
    struct sim_world *world = data;
    return world->violation[0] || sim_clients_ready(world);
}

int sim_failover(const struct sim_options *options)
{
    static const char *const names[] = {
        "consensus leader → write", "primary → write", "mycel leader → next one"};
    struct figures figures[VICTIM_COUNT];
    struct sim_world *world = sim_world_new(options);
    for (int v = 0; v < VICTIM_COUNT; v++)
        figures[v] = (struct figures){myco_alloc((options->kills + 1) * sizeof(double)), 0};
    if (sim_form(world)) {
        sim_clients_start(world);
        if (!myco_sim_run_until(world->sim, usable, world, SIM_HEALING_MS))
            sim_violated(world, "the septa do not serve");
        myco_sim_run(world->sim, SETTLE_MS);
    }
    for (unsigned n = 0; n < options->kills && !world->violation[0]; n++)
        for (int v = 0; v < VICTIM_COUNT && !world->violation[0]; v++)
            kill_one(world, (enum victim)v, &figures[v]);
    for (int v = 0; v < VICTIM_COUNT; v++) {
        print(names[v], &figures[v]);
        myco_free(figures[v].ms);
    }
    bool ok = !world->violation[0];
    if (!ok) fprintf(stderr, "sim: VIOLATION %s\n", world->violation);
    sim_world_free(world);
    return ok ? 0 : 1;
}
