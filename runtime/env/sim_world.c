/* The simulator's queue of events, and the virtual time that it makes. */
#include "env/sim_private.h"

/* ── The heap: earliest first, ties in the order of making ──────────────────────────────────── */

static bool before(const struct sim_due *a, const struct sim_due *b)
{
    return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

static void sift_up(struct sim_due *heap, size_t at)
{
    struct sim_due due = heap[at];
    while (at > 0 && before(&due, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = due;
}

static void sift_down(struct sim_due *heap, size_t count, size_t at)
{
    struct sim_due due = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &due)) break;
        heap[at] = heap[child];
    }
    heap[at] = due;
}

static struct sim_event *heap_pop(struct myco_sim *sim)
{
    struct sim_event *event = sim->heap[0].event;
    sim->heap[0] = sim->heap[--sim->heap_count];
    if (sim->heap_count > 0) sift_down(sim->heap, sim->heap_count, 0);
    return event;
}

void myco__sim_event_push(struct sim_event *event)
{
    struct myco_sim *sim = event->sim;
    if (sim->heap_count == sim->heap_capacity) {
        sim->heap_capacity = sim->heap_capacity > 0 ? 2 * sim->heap_capacity : 1024;
        sim->heap = myco_realloc(sim->heap, sim->heap_capacity * sizeof(*sim->heap));
    }
    event->sequence = ++sim->sequence;
    sim->heap[sim->heap_count] = (struct sim_due){event->at, event->sequence, event};
    sift_up(sim->heap, sim->heap_count++);
}

/* ── Events ─────────────────────────────────────────────────────────────────────────────────── */

struct sim_event *myco__sim_event(struct myco_sim *sim, uint64_t at, sim_event_cb run)
{
    struct myco_list *link = myco_list_pop(&sim->free_events);
    struct sim_event *event = link != NULL ? MYCO_CONTAINER(link, struct sim_event, link)
                                           : myco_alloc(sizeof(struct sim_event));
    memset(event, 0, sizeof(*event));
    myco_list_init(&event->link);
    event->sim = sim;
    event->at = at < sim->now ? sim->now : at;
    event->host = MYCO_SIM_NONE;
    event->run = run;
    return event;
}

struct sim_event *myco__sim_host_event(struct sim_host *host, uint64_t at, sim_event_cb run)
{
    struct sim_event *event = myco__sim_event(host->sim, at, run);
    event->host = host->index;
    event->boot = host->boot;
    return event;
}

void myco__sim_event_free(struct sim_event *event)
{
    if (event->drop != NULL) event->drop(event);
    myco_list_append(event->sim->free_events.next, &event->link); /* first: it is in the cache */
}

/* Runs it, or lets it wait for a paused host, or drops it with the process that it was meant
 * for. */
static void execute(struct sim_event *event)
{
    if (event->host != MYCO_SIM_NONE) {
        struct sim_host *host = event->sim->hosts[event->host];
        if (!host->up || (event->boot != 0 && event->boot != host->boot)) {
            myco__sim_event_free(event);
            return;
        }
        if (host->paused) {
            myco_list_append(&host->parked, &event->link);
            return;
        }
    }
    event->run(event);
    myco__sim_event_free(event);
}

/* The pause ends. What waited runs now, in its order and before anything newer, unless it pauses
 * again. */
void myco__sim_resume(struct sim_event *event)
{
    struct sim_host *host = event->sim->hosts[event->a];
    if (!host->up || event->b != host->boot || event->sim->now < host->paused_until) return;
    host->paused = false;
    myco__sim_trace(event->sim, SIM_TRACE_RESUME, host->index, MYCO_SIM_NONE, 0, 0);
    struct myco_list *link;
    while (!host->paused && (link = myco_list_pop(&host->parked)) != NULL) {
        execute(MYCO_CONTAINER(link, struct sim_event, link));
    }
}

/* A core that wakes itself for ever without letting time pass would hang the run: say where. */
static void watch_for_standstill(struct myco_sim *sim)
{
    if (sim->instant_count < MYCO_SIM_INSTANT_MAX) return;
    myco_sim_trace_print(sim, stderr);
    MYCO_ASSERT(!"a million events at one instant: something wakes itself for ever");
}

bool myco_sim_step(struct myco_sim *sim)
{
    MYCO_ASSERT(sim->inside == MYCO_SIM_NONE);
    if (sim->heap_count == 0) return false;
    struct sim_event *event = heap_pop(sim);
    sim->instant_count = event->at == sim->now ? sim->instant_count + 1 : 0;
    watch_for_standstill(sim);
    sim->now = event->at;
    sim->executed++;
    execute(event);
    return true;
}

void myco_sim_run(struct myco_sim *sim, uint64_t ms)
{
    uint64_t end = sim->now + ms * MYCO_SIM_MS;
    while (sim->heap_count > 0 && sim->heap[0].at <= end) myco_sim_step(sim);
    sim->now = end;
}

bool myco_sim_run_until(struct myco_sim *sim, bool (*done)(void *data), void *data, uint64_t ms_max)
{
    uint64_t end = sim->now + ms_max * MYCO_SIM_MS;
    while (!done(data)) {
        if (sim->heap_count == 0 || sim->heap[0].at > end) {
            sim->now = end;
            return false;
        }
        myco_sim_step(sim);
    }
    return true;
}

struct sim_call {
    void (*cb)(void *data);
    void *data;
};

static void run_call(struct sim_event *event)
{
    struct sim_call *call = event->p;
    myco__sim_trace(event->sim, SIM_TRACE_CALL, MYCO_SIM_NONE, MYCO_SIM_NONE, 0, 0);
    call->cb(call->data);
}

static void drop_memory(struct sim_event *event)
{
    myco_free(event->p);
}

void myco_sim_at(struct myco_sim *sim, uint64_t delay_ns, void (*cb)(void *data), void *data)
{
    struct sim_event *event = myco__sim_event(sim, sim->now + delay_ns, run_call);
    struct sim_call call = {cb, data};
    event->p = myco_memdup(&call, sizeof(call));
    event->drop = drop_memory;
    myco__sim_event_push(event);
}

/* ── The world ──────────────────────────────────────────────────────────────────────────────── */

void myco_sim_options_init(struct myco_sim_options *options, uint64_t seed, unsigned host_count)
{
    *options = (struct myco_sim_options){
        .seed = seed,
        .host_count = host_count,
        .drift_ppm_max = 10000,
        .path = {50000, 300000, 5 * MYCO_SIM_MS, 10000, 0, 0, 8000},
        .disk = {10000, 100000, 100000, 2 * MYCO_SIM_MS, 40 * MYCO_SIM_MS, 5000, 0, 0, 0},
        .shared = {2 * MYCO_SIM_MS, 20 * MYCO_SIM_MS, 0, 0, 300 * MYCO_SIM_MS, 10000, 0, 0, 0},
        .control_size_max = 16 << 20,
        .lane_size_max = 64 << 20,
        .silence_ms = 1000,
        .log_level = MYCO_LOG_WARN,
        .trace_count = 4096,
    };
}

enum { STREAM_NET = 1, STREAM_OWNER, STREAM_SHARED };

struct myco_sim *myco_sim_new(const struct myco_sim_options *options)
{
    MYCO_ASSERT(options->host_count > 0 && options->host_count <= MYCO_SIM_HOSTS_MAX);
    struct myco_sim *sim = myco_alloc(sizeof(*sim));
    sim->options = *options;
    sim->inside = MYCO_SIM_NONE;
    myco_list_init(&sim->free_events);
    myco_sim_random_init(&sim->net_random, options->seed, STREAM_NET);
    myco_sim_random_init(&sim->owner_random, options->seed, STREAM_OWNER);
    sim->trace_hash = myco_hash(&options->seed, sizeof(options->seed));
    sim->trace = myco_alloc((options->trace_count + 1) * sizeof(*sim->trace));
    myco__sim_volume_init(&sim->volume, &options->shared, options->seed, STREAM_SHARED);
    sim->host_count = options->host_count;
    sim->hosts = myco_alloc(sim->host_count * sizeof(*sim->hosts));
    for (unsigned i = 0; i < sim->host_count; i++) {
        sim->hosts[i] = myco_alloc(sizeof(struct sim_host));
        myco__sim_host_init(sim->hosts[i], sim, i);
    }
    return sim;
}

void myco_sim_free(struct myco_sim *sim)
{
    if (sim == NULL) return;
    for (unsigned i = 0; i < sim->host_count; i++) {
        if (sim->hosts[i]->up) myco_sim_crash(sim, i, MYCO_SIM_KILL);
    }
    while (sim->heap_count > 0) myco__sim_event_free(heap_pop(sim));
    for (unsigned i = 0; i < sim->host_count; i++) {
        myco__sim_host_close(sim->hosts[i]);
        myco_free(sim->hosts[i]);
    }
    myco__sim_net_close(sim);
    myco__sim_volume_close(&sim->volume);
    struct myco_list *link;
    while ((link = myco_list_pop(&sim->free_events)) != NULL) {
        myco_free(MYCO_CONTAINER(link, struct sim_event, link));
    }
    myco_free(sim->nemesis);
    myco_free(sim->heap);
    myco_free(sim->hosts);
    myco_free(sim->trace);
    myco_free(sim);
}

struct sim_host *myco__sim_host(const struct myco_sim *sim, unsigned host)
{
    MYCO_ASSERT(host < sim->host_count);
    return sim->hosts[host];
}

uint64_t myco_sim_now_ns(const struct myco_sim *sim)
{
    return sim->now;
}

uint64_t myco_sim_now_ms(const struct myco_sim *sim)
{
    return sim->now / MYCO_SIM_MS;
}

uint64_t myco_sim_events(const struct myco_sim *sim)
{
    return sim->executed;
}

struct myco_sim_random *myco_sim_random(struct myco_sim *sim)
{
    return &sim->owner_random;
}

unsigned myco_sim_down_count(const struct myco_sim *sim)
{
    unsigned count = 0;
    for (unsigned i = 0; i < sim->host_count; i++) count += !sim->hosts[i]->up;
    return count;
}
