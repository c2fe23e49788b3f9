/* Those who publish, listen and campaign: on each node a publisher, a subscriber, a member of a
 * queue group, and candidates of a few elections that now and then resign.
 *
 * A subscription hears each publish at most once and those of one publisher in their order; one
 * member of a queue group at most hears it; and when nothing is broken any more, everybody hears
 * everything. Of one election at most one node is told that it leads, and the epochs of those who
 * are told so rise. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "host/sim_world.h"

#define PUBLISH_MS 70
#define RESIGN_MS  2500
#define NAMES      3

static const char *const names[NAMES] = {"alpha", "beta", "gamma"};

/* One life of a node: what it heard of each life of each publisher. */
struct listener {
    struct sim_node *node;
    struct myco_bus_sub *all, *queue;
    struct myco_map heard; /* (host, life) → the last number */
};

struct candidate {
    struct sim_node *node;
    struct myco_campaign *campaign; /* NULL: resigned */
    unsigned name;
    bool held;
    uint64_t epoch;
};

struct sim_events {
    struct sim_world *world;
    struct listener listeners[SIM_NODES_MAX];
    struct candidate candidates[SIM_NODES_MAX][NAMES];
    uint64_t number[SIM_NODES_MAX], last[SIM_NODES_MAX]; /* published; the one all must hear */
    uint64_t epochs[NAMES];                              /* the highest that was held */
    struct myco_map taken; /* (host, life, number) → heard by a member of the group */
    uint64_t published, delivered, grouped, held;
    bool stopped, running;
};

struct sim_events *sim_events_new(struct sim_world *world)
{
    struct sim_events *events = myco_alloc(sizeof *events);
    events->world = world;
    return events;
}

void sim_events_free(struct sim_events *events)
{
    for (unsigned i = 0; i < SIM_NODES_MAX; i++) myco_map_free(&events->listeners[i].heard);
    myco_map_free(&events->taken);
    myco_free(events);
}

/* ── hearing ── u32 host, u32 life, u64 number */

static bool parse(const struct myco_msg *msg, uint64_t *life, uint64_t *number)
{
    struct myco_reader in = myco_reader(msg->data.data, msg->data.size);
    *life = (uint64_t)myco_read_u32(&in) << 32;
    *life |= myco_read_u32(&in);
    *number = myco_read_u64(&in);
    return myco_read_done(&in);
}

static void hear(const struct myco_msg *msg, void *data)
{
    struct listener *listener = data;
    struct sim_world *world = listener->node->world;
    uint64_t life, number;
    if (!parse(msg, &life, &number)) {
        sim_violated(world, "n%u heard a message that nobody sent", listener->node->host + 1);
        return;
    }
    uint64_t key = myco_hash_mix(life, 1);
    uint64_t last = (uint64_t)(uintptr_t)myco_map_get(&listener->heard, key);
    if (number <= last)
        sim_violated(world, "n%u heard message %llu of n%llu after its message %llu",
            listener->node->host + 1, (unsigned long long)number,
            (unsigned long long)(life >> 32) + 1, (unsigned long long)last);
    myco_map_put(&listener->heard, key, (void *)(uintptr_t)number);
    world->events->delivered++;
}

static void hear_grouped(const struct myco_msg *msg, void *data)
{
    struct listener *listener = data;
    struct sim_events *events = listener->node->world->events;
    uint64_t life, number;
    if (!parse(msg, &life, &number)) return;
    if (myco_map_put(&events->taken, myco_hash_mix(myco_hash_mix(life, 2), number), listener))
        sim_violated(events->world, "two members of a queue group heard message %llu of n%llu",
            (unsigned long long)number, (unsigned long long)(life >> 32) + 1);
    events->grouped++;
}

/* ── publishing ── */

static void publish(struct sim_events *events, struct sim_node *node)
{
    struct myco_buf data = {0};
    char subject[32];
    snprintf(subject, sizeof subject, "events.n%u", node->host + 1);
    myco_buf_u32(&data, node->host);
    myco_buf_u32(&data, node->starts);
    myco_buf_u64(&data, ++events->number[node->host]);
    myco_bus_publish(myco_core_bus(node->core), myco_str(subject), myco_buf_as_slice(&data),
        myco_bytes(NULL, 0), NULL, NULL);
    events->published++;
    myco_buf_free(&data);
}

static struct sim_node *some_node(struct sim_world *world)
{
    uint64_t host = myco_sim_random_below(myco_sim_random(world->sim), world->options.nodes);
    struct sim_node *node = &world->nodes[host];
    bool can =
        node->core && myco_core_ready(node->core) && !myco_sim_paused(world->sim, node->host);
    return can ? node : NULL;
}

static void act(void *data)
{
    struct sim_events *events = data;
    struct sim_world *world = events->world;
    if (events->stopped || world->violation[0]) {
        events->running = false;
        return;
    }
    struct sim_node *node = some_node(world);
    if (node) publish(events, node);
    myco_sim_at(world->sim, PUBLISH_MS * MYCO_SIM_MS / world->options.nodes, act, events);
}

void sim_events_last(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++) {
        publish(world->events, &world->nodes[i]);
        world->events->last[i] = world->events->number[i];
    }
}

bool sim_events_heard(struct sim_world *world)
{
    struct sim_events *events = world->events;
    for (unsigned from = 0; from < world->options.nodes; from++) {
        uint64_t life = (uint64_t)from << 32 | world->nodes[from].starts;
        for (unsigned to = 0; to < world->options.nodes; to++) {
            void *last = myco_map_get(&events->listeners[to].heard, myco_hash_mix(life, 1));
            if ((uint64_t)(uintptr_t)last != events->last[from]) return false;
        }
        uint64_t key = myco_hash_mix(myco_hash_mix(life, 2), events->last[from]);
        if (!myco_map_get(&events->taken, key)) return false;
    }
    return true;
}

/* ── campaigns ── */

static void on_duty(const struct myco_duty *duty, void *data)
{
    struct candidate *candidate = data;
    struct sim_world *world = candidate->node->world;
    struct sim_events *events = world->events;
    if (duty->held) events->held += !candidate->held;
    candidate->held = duty->held;
    candidate->epoch = duty->epoch;
    if (!duty->held) return;
    if (duty->epoch < events->epochs[candidate->name])
        sim_violated(world, "n%u leads %s with epoch %llx after %llx was held",
            candidate->node->host + 1, duty->name, (unsigned long long)duty->epoch,
            (unsigned long long)events->epochs[candidate->name]);
    for (unsigned i = 0; i < world->options.nodes; i++) {
        const struct candidate *other = &events->candidates[i][candidate->name];
        if (other == candidate || !other->held || !other->node->core) continue;
        if (other->epoch == duty->epoch)
            sim_violated(world, "n%u and n%u were given the same epoch %llx of %s",
                candidate->node->host + 1, i + 1, (unsigned long long)duty->epoch, duty->name);
        /* The other may not have been told yet (it is paused); that its lease is over is checked
         * in true time. */
    }
    events->epochs[candidate->name] = duty->epoch;
    sim_check_now(world);
}

static void stand(struct candidate *candidate)
{
    struct myco_campaign_options options = {.priority = (int)(candidate->node->host % 3) - 1,
        .labels = candidate->name ? "" : "warm",
        .cooldown_ms = candidate->node->host == 1 ? 500 : 0};
    candidate->campaign = myco_core_campaign_with(
        candidate->node->core, names[candidate->name], &options, on_duty, candidate);
}

static void resign(void *data)
{
    struct sim_events *events = data;
    struct sim_world *world = events->world;
    struct sim_node *node = some_node(world);
    uint64_t name = myco_sim_random_below(myco_sim_random(world->sim), NAMES);
    struct candidate *candidate = node ? &events->candidates[node->host][name] : NULL;
    if (candidate && !node->leaving && !world->violation[0]) {
        if (candidate->campaign) {
            myco_core_resign(candidate->campaign);
            candidate->campaign = NULL;
            candidate->held = false;
        } else {
            stand(candidate);
        }
    }
    myco_sim_at(world->sim, RESIGN_MS * MYCO_SIM_MS / world->options.nodes, resign, events);
}

/* ── life ── */

void sim_events_node_up(struct sim_node *node)
{
    struct sim_events *events = node->world->events;
    struct listener *listener = &events->listeners[node->host];
    struct myco_bus *bus = myco_core_bus(node->core);
    myco_map_free(&listener->heard);
    *listener = (struct listener){.node = node};
    myco_bus_subscribe(
        bus, myco_str("events.*"), myco_bytes(NULL, 0), hear, listener, &listener->all, NULL);
    if (node->world->options.nodes == 1 || node->host % 2) /* else each would take its own */
        myco_bus_subscribe(bus, myco_str("events.>"), myco_str("group"), hear_grouped, listener,
            &listener->queue, NULL);
    for (unsigned name = 0; name < NAMES; name++) {
        events->candidates[node->host][name] = (struct candidate){.node = node, .name = name};
        stand(&events->candidates[node->host][name]);
    }
}

/* The handles go with the core. */
void sim_events_node_down(struct sim_node *node)
{
    for (unsigned name = 0; name < NAMES; name++) {
        struct candidate *candidate = &node->world->events->candidates[node->host][name];
        candidate->campaign = NULL;
        candidate->held = false;
    }
}

void sim_events_start(struct sim_world *world)
{
    struct sim_events *events = world->events;
    events->stopped = false;
    if (!events->running) myco_sim_at(world->sim, 0, act, events);
    if (!events->published) myco_sim_at(world->sim, 0, resign, events);
    events->running = true;
}

void sim_events_stop(struct sim_world *world)
{
    world->events->stopped = true;
}

void sim_events_report(struct sim_world *world, FILE *file)
{
    const struct sim_events *events = world->events;
    fprintf(file,
        "  %llu events published, %llu heard, %llu by the group; %llu times a leader was told\n",
        (unsigned long long)events->published, (unsigned long long)events->delivered,
        (unsigned long long)events->grouped, (unsigned long long)events->held);
}
