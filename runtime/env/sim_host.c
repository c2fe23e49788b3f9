/* A simulated host: its process, which starts, crashes and pauses, with its clocks that drift. */
#include "env/sim_private.h"

#define WALL_START_MS 1735689600000ull /* 2025-01-01; the true wall clock at time 0 */

/* ── Clocks ─────────────────────────────────────────────────────────────────────────────────────
 * local = clock_local + (true - clock_true) × (1,000,000 + ppm) / 1,000,000 */

/* How many microseconds its clocks show when a second has passed. */
static uint64_t clock_rate(const struct sim_host *host)
{
    return (uint64_t)(INT64_C(1000000) + host->drift_ppm);
}

static uint64_t local_time(const struct sim_host *host)
{
    uint64_t passed = host->sim->now - host->clock_true;
    unsigned __int128 scaled = (unsigned __int128)passed * clock_rate(host);
    return host->clock_local + (uint64_t)(scaled / 1000000);
}

/* The first true time at which the host's clock shows `local` or more. */
static uint64_t true_time(const struct sim_host *host, uint64_t local)
{
    if (local <= host->clock_local) return host->clock_true;
    uint64_t rate = clock_rate(host);
    unsigned __int128 scaled = (unsigned __int128)(local - host->clock_local) * 1000000;
    unsigned __int128 at = host->clock_true + (scaled + rate - 1) / rate;
    return at > UINT64_MAX - 1 ? UINT64_MAX - 1 : (uint64_t)at;
}

/* A machine that was switched on: its monotonic clock starts again. */
static void boot_clock(struct sim_host *host)
{
    host->clock_true = host->sim->now;
    host->clock_local =
        myco_sim_random_between(&host->random, MYCO_SIM_SECOND, 60 * MYCO_SIM_SECOND);
}

static uint64_t env_now_ns(struct myco_env *env)
{
    return local_time(MYCO_CONTAINER(env, struct sim_host, env));
}

static uint64_t env_wall_ms(struct myco_env *env)
{
    struct sim_host *host = MYCO_CONTAINER(env, struct sim_host, env);
    int64_t drifted =
        (int64_t)(host->sim->now / MYCO_SIM_MS) * (1000000 + host->drift_ppm) / 1000000;
    return (uint64_t)((int64_t)WALL_START_MS + drifted + host->wall_jump_ms);
}

uint64_t myco_sim_shared_wall_ms(const struct myco_sim *sim)
{
    return WALL_START_MS + sim->now / MYCO_SIM_MS;
}

/* ── The rest of the environment ────────────────────────────────────────────────────────────── */

static void env_random(struct myco_env *env, void *bytes, size_t size)
{
    struct sim_host *host = MYCO_CONTAINER(env, struct sim_host, env);
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = myco_sim_random_u64(&host->random);
        memcpy((uint8_t *)bytes + at, &word, size - at < 8 ? size - at : 8);
    }
}

static void run_wake(struct sim_event *event);

static void queue_wake(struct sim_host *host)
{
    host->wake_queued = host->wake_due;
    myco__sim_event_push(myco__sim_host_event(host, host->wake_due, run_wake));
}

/* Only the earliest wake in the queue counts; a later one that it replaced is void. */
static void run_wake(struct sim_event *event)
{
    struct sim_host *host = event->sim->hosts[event->host];
    if (event->at != host->wake_queued) return;
    host->wake_queued = UINT64_MAX;
    if (host->wake_due > event->sim->now) { /* put off meanwhile */
        if (host->wake_due != UINT64_MAX) queue_wake(host);
        return;
    }
    host->wake_due = UINT64_MAX;
    myco__sim_trace(event->sim, SIM_TRACE_WAKE, host->index, MYCO_SIM_NONE, 0, 0);
    myco__sim_enter(host);
    myco__env_wake(&host->env);
    myco__sim_leave(host);
}

static void env_wake_at(struct myco_env *env, uint64_t ns)
{
    struct sim_host *host = MYCO_CONTAINER(env, struct sim_host, env);
    if (!host->up) return;
    uint64_t at = ns == UINT64_MAX ? UINT64_MAX : true_time(host, ns);
    host->wake_due = at < host->sim->now ? host->sim->now : at;
    if (host->wake_due < host->wake_queued) queue_wake(host);
}

static const struct myco_env_ops env_ops = {
    .now_ns = env_now_ns,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .wake_at = env_wake_at,
    .datagram_send = myco__sim_datagram_send,
};

/* ── Life and death ─────────────────────────────────────────────────────────────────────────── */

void myco__sim_enter(struct sim_host *host)
{
    MYCO_ASSERT(host->sim->inside == MYCO_SIM_NONE);
    host->sim->inside = host->index;
}

void myco__sim_leave(struct sim_host *host)
{
    MYCO_ASSERT(host->sim->inside == host->index);
    host->sim->inside = MYCO_SIM_NONE;
}

static void fresh_env(struct sim_host *host)
{
    memset(&host->env, 0, sizeof(host->env));
    memset(&host->metrics, 0, sizeof(host->metrics));
    myco__env_init(&host->env, &env_ops);
    host->env.log = &host->log;
    host->env.metrics = &host->metrics;
    host->wake_queued = host->wake_due = UINT64_MAX;
}

#define STREAM_HOST 1000 /* streams of host i, process b: 1000 + i and b mixed */

void myco__sim_host_init(struct sim_host *host, struct myco_sim *sim, unsigned index)
{
    host->sim = sim;
    host->index = index;
    host->powered = true;
    myco_list_init(&host->parked);
    myco_sim_random_init(&host->random, sim->options.seed, STREAM_HOST + index);
    uint32_t drift = sim->options.drift_ppm_max;
    host->drift_ppm =
        (int32_t)myco_sim_random_below(&host->random, 2 * (uint64_t)drift + 1) - (int32_t)drift;
    boot_clock(host);
    host->log.level = sim->options.log_level;
    host->log.sink = myco__sim_log_sink;
    host->log.data = host;
    snprintf(host->log.name, sizeof(host->log.name), "host-%u", index);
    fresh_env(host);
    myco__sim_transport_init(&host->transport, host);
    myco__sim_volume_init(&host->volume, &sim->options.disk, sim->options.seed, 1000000 + index);
    myco__sim_disk_init(&host->disk, host, &host->volume, false);
    myco__sim_disk_init(&host->shared, host, &sim->volume, true);
}

void myco__sim_host_close(struct sim_host *host)
{
    myco__sim_transport_close(&host->transport);
    myco__sim_disk_close(&host->disk);
    myco__sim_disk_close(&host->shared);
    myco__sim_volume_close(&host->volume);
    myco__env_close(&host->env);
}

void myco_sim_start(struct myco_sim *sim, unsigned index)
{
    struct sim_host *host = myco__sim_host(sim, index);
    MYCO_ASSERT(!host->up && sim->inside == MYCO_SIM_NONE);
    host->up = true;
    host->boot++;
    if (!host->powered) boot_clock(host);
    host->powered = true;
    myco_sim_random_init(
        &host->random, sim->options.seed, myco_hash_mix(STREAM_HOST + index, host->boot));
    myco__sim_trace(sim, SIM_TRACE_START, index, MYCO_SIM_NONE, host->boot, 0);
    if (sim->options.on_start == NULL) return;
    myco__sim_enter(host);
    sim->options.on_start(sim, index, sim->options.data);
    myco__sim_leave(host);
}

static void drop_parked(struct sim_host *host)
{
    struct myco_list *link;
    while ((link = myco_list_pop(&host->parked)) != NULL) {
        myco__sim_event_free(MYCO_CONTAINER(link, struct sim_event, link));
    }
}

/* From here on the process has no effect on the world; then its owner frees what is left of it. */
void myco_sim_crash(struct myco_sim *sim, unsigned index, enum myco_sim_crash how)
{
    struct sim_host *host = myco__sim_host(sim, index);
    MYCO_ASSERT(host->up && sim->inside == MYCO_SIM_NONE);
    myco__sim_trace(sim, SIM_TRACE_CRASH, index, MYCO_SIM_NONE, how, 0);
    host->up = host->paused = false;
    host->paused_until = 0;
    host->powered = how == MYCO_SIM_KILL;
    drop_parked(host);
    myco__sim_disk_crash(&host->disk, how);
    myco__sim_disk_crash(&host->shared, how);
    myco__sim_transport_crashed(host, how);
    host->dying = true;
    if (sim->options.on_crash != NULL) {
        myco__sim_enter(host);
        sim->options.on_crash(sim, index, sim->options.data);
        myco__sim_leave(host);
    }
    host->dying = false;
    myco__sim_transport_close(&host->transport);
    myco__sim_disk_close(&host->disk);
    myco__sim_disk_close(&host->shared);
    myco__env_close(&host->env);
    fresh_env(host);
}

/* What is deferred runs; a timer that became due during it does not. */
static bool run_deferred(struct sim_host *host)
{
    struct myco_list *link = myco_list_pop(&host->env.deferred);
    if (link == NULL) return false;
    struct myco_deferred *deferred = MYCO_CONTAINER(link, struct myco_deferred, link);
    deferred->cb(deferred->data);
    return true;
}

void myco_sim_bury(struct myco_sim *sim, unsigned index)
{
    struct sim_host *host = myco__sim_host(sim, index);
    MYCO_ASSERT(host->dying);
    while (run_deferred(host) || myco__sim_disk_bury(&host->disk) ||
           myco__sim_disk_bury(&host->shared)) {
    }
}

void myco_sim_pause(struct myco_sim *sim, unsigned index, uint64_t ms)
{
    struct sim_host *host = myco__sim_host(sim, index);
    MYCO_ASSERT(sim->inside == MYCO_SIM_NONE);
    uint64_t until = sim->now + ms * MYCO_SIM_MS;
    if (!host->up || until <= host->paused_until) return;
    myco__sim_trace(sim, SIM_TRACE_PAUSE, index, MYCO_SIM_NONE, ms, 0);
    if (!host->paused) host->paused_since = sim->now;
    host->paused = true;
    host->paused_until = until;
    struct sim_event *event = myco__sim_event(sim, until, myco__sim_resume);
    event->a = index;
    event->b = host->boot;
    myco__sim_event_push(event);
    myco__sim_transport_paused(host);
}

bool myco_sim_up(const struct myco_sim *sim, unsigned host)
{
    return myco__sim_host(sim, host)->up;
}

bool myco_sim_paused(const struct myco_sim *sim, unsigned host)
{
    return myco__sim_host(sim, host)->paused;
}

struct myco_env *myco_sim_env(struct myco_sim *sim, unsigned host)
{
    return &myco__sim_host(sim, host)->env;
}

uint64_t myco_sim_host_now_ns(struct myco_sim *sim, unsigned host)
{
    return local_time(myco__sim_host(sim, host));
}

int32_t myco_sim_drift_ppm(const struct myco_sim *sim, unsigned host)
{
    return myco__sim_host(sim, host)->drift_ppm;
}

void myco_sim_set_drift(struct myco_sim *sim, unsigned index, int32_t ppm)
{
    struct sim_host *host = myco__sim_host(sim, index);
    MYCO_ASSERT(!host->up && ppm > -500000 && ppm < 500000);
    host->clock_local = local_time(host);
    host->clock_true = sim->now;
    host->drift_ppm = ppm;
}

void myco_sim_jump_wall(struct myco_sim *sim, unsigned host, int64_t ms)
{
    myco__sim_host(sim, host)->wall_jump_ms += ms;
    myco__sim_trace(sim, SIM_TRACE_JUMP, host, MYCO_SIM_NONE, (uint64_t)ms, 0);
}

struct myco_transport *myco_sim_transport(struct myco_sim *sim, unsigned host)
{
    return &myco__sim_host(sim, host)->transport.base;
}

struct myco_disk *myco_sim_disk(struct myco_sim *sim, unsigned host)
{
    return &myco__sim_host(sim, host)->disk.base;
}

struct myco_disk *myco_sim_shared_disk(struct myco_sim *sim, unsigned host)
{
    return &myco__sim_host(sim, host)->shared.base;
}

void myco_sim_shared_cut(struct myco_sim *sim, unsigned host, bool cut)
{
    struct sim_host *at = myco__sim_host(sim, host);
    if (at->shared.cut == cut) return;
    at->shared.cut = cut;
    myco__sim_trace(sim, SIM_TRACE_STORE, host, MYCO_SIM_NONE, !cut, 0);
}
