/* Those who lead and write: on each node a candidate of one election that, when it is told that it
 * leads, writes with its epoch after a pause of any length, also when it has lost it meanwhile, as
 * a program would that was stopped between looking and writing. Some only read,
 * some publish.
 *
 * Of what a key accepted, in the order of versions, the epochs never fall; and once an operation
 * with an epoch was answered, none that begins later with a lower one is accepted. Of what a node
 * hears while it runs, the epochs never fall either. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "host/sim_world.h"

#define KEYS       3
#define PAUSE_MS   1500 /* at most; a lease is a fifth of it */
#define TIMEOUT_MS 2000
#define NAME       "writer"

struct writer {
    struct sim_node *node;
    struct myco_campaign *campaign;
    struct myco_bus_sub *sub;
    uint64_t heard; /* the highest epoch, in this life */
    uint64_t epoch; /* the last that it held, true or not any more; 0: none */
    bool writing;
};

struct accepted {
    uint64_t version, epoch;
    unsigned key;
};

struct sim_fence {
    struct sim_world *world;
    struct writer writers[SIM_NODES_MAX];
    struct accepted *accepted;
    size_t count, capacity;
    uint64_t known[KEYS]; /* the highest epoch that was answered */
    uint64_t septum, refused, under_way;
    uint64_t said, unsaid, heard; /* messages: published, refused as older, heard */
    bool stopped, creating, running;
};

struct asked {
    struct sim_fence *fence;
    unsigned key, host, starts;
    uint64_t epoch, floor;
    bool write, say;
};

struct sim_fence *sim_fence_new(struct sim_world *world)
{
    struct sim_fence *fence = myco_alloc(sizeof *fence);
    fence->world = world;
    return fence;
}

void sim_fence_free(struct sim_fence *fence)
{
    myco_free(fence->accepted);
    myco_free(fence);
}

static void keep(struct sim_fence *fence, const struct accepted *accepted)
{
    if (fence->count == fence->capacity) {
        fence->capacity = fence->capacity ? fence->capacity * 2 : 64;
        fence->accepted = myco_realloc(fence->accepted, fence->capacity * sizeof *fence->accepted);
    }
    fence->accepted[fence->count++] = *accepted;
}

static void answered(const struct myco_result *result, void *data)
{
    struct asked *asked = data;
    struct sim_fence *fence = asked->fence;
    fence->under_way--;
    if (result->status == MYCO_EFENCED) fence->refused++;
    bool read = !asked->write && result->status == MYCO_ENOTFOUND;
    if (result->status == 0 || read) {
        if (asked->epoch < asked->floor)
            sim_violated(fence->world,
                "n%u's %s of f%u with epoch %llx was accepted after one with %llx was answered",
                asked->host + 1, asked->write ? "write" : "read", asked->key,
                (unsigned long long)asked->epoch, (unsigned long long)asked->floor);
        if (asked->epoch > fence->known[asked->key]) fence->known[asked->key] = asked->epoch;
        struct accepted accepted = {result->version, asked->epoch, asked->key};
        if (asked->write) keep(fence, &accepted);
    }
    myco_free(asked);
}

/* ── messages ── */

static void hear(const struct myco_msg *msg, void *data)
{
    struct writer *writer = data;
    if (!writer->node) return; /* delivered while its core goes */
    struct sim_world *world = writer->node->world;
    if (!msg->fence.name || strcmp(msg->fence.name, NAME) != 0)
        sim_violated(world, "n%u heard a message without its fence", writer->node->host + 1);
    if (msg->fence.epoch < writer->heard)
        sim_violated(world, "n%u heard epoch %llx after %llx", writer->node->host + 1,
            (unsigned long long)msg->fence.epoch, (unsigned long long)writer->heard);
    writer->heard = msg->fence.epoch;
    world->fence->heard++;
}

static void say(struct sim_fence *fence, struct myco_core *core, uint64_t epoch)
{
    struct myco_fence shown = {NAME, epoch};
    int rc = myco_core_publish(
        core, myco_str("fenced.said"), myco_bytes(NULL, 0), myco_bytes(NULL, 0), &shown, NULL);
    fence->said += rc == 0;
    fence->unsaid += rc == MYCO_EFENCED;
}

/* ── writes and reads ── */

static void use(void *data)
{
    struct asked *asked = data;
    struct sim_fence *fence = asked->fence;
    struct sim_node *node = &fence->world->nodes[asked->host];
    char key[16];
    if (!node->core || node->starts != asked->starts || fence->stopped) {
        fence->under_way--;
        myco_free(asked);
        return;
    }
    if (asked->say) {
        say(fence, node->core, asked->epoch);
        fence->under_way--;
        myco_free(asked);
        return;
    }
    snprintf(key, sizeof key, "f%u", asked->key);
    struct myco_put_options options = {.timeout_ms = TIMEOUT_MS, .fence = {NAME, asked->epoch}};
    asked->floor = fence->known[asked->key];
    if (asked->write)
        myco_core_put(node->core, fence->septum, myco_str(key), myco_bytes(&asked->epoch, 8),
            &options, answered, asked);
    else
        myco_core_get_with(
            node->core, fence->septum, myco_str(key), TIMEOUT_MS, &options.fence, answered, asked);
}

/* Looks at its epoch now, and uses it later. */
static void pause_and_use(struct sim_fence *fence, const struct writer *writer)
{
    struct myco_sim_random *random = myco_sim_random(fence->world->sim);
    struct asked *asked = myco_alloc(sizeof *asked);
    *asked = (struct asked){.fence = fence,
        .key = (unsigned)myco_sim_random_below(random, KEYS),
        .host = writer->node->host,
        .starts = writer->node->starts,
        .epoch = writer->epoch,
        .write = myco_sim_random_below(random, 4) > 0,
        .say = myco_sim_random_below(random, 3) == 0};
    bool long_pause = myco_sim_random_below(random, 3) == 0;
    uint64_t pause_ms = myco_sim_random_below(random, long_pause ? PAUSE_MS : 20);
    fence->under_way++;
    myco_sim_at(fence->world->sim, pause_ms * MYCO_SIM_MS, use, asked);
}

static void on_duty(const struct myco_duty *duty, void *data)
{
    struct writer *writer = data;
    if (duty->held) writer->epoch = duty->epoch;
}

static void created(const struct myco_result *result, void *data)
{
    struct sim_fence *fence = data;
    fence->creating = false;
    if (result->status == 0) fence->septum = result->version;
}

static void act(void *data)
{
    struct sim_fence *fence = data;
    struct sim_world *world = fence->world;
    if (fence->stopped || world->violation[0]) {
        fence->running = false;
        return;
    }
    struct myco_sim_random *random = myco_sim_random(world->sim);
    struct writer *writer = &fence->writers[myco_sim_random_below(random, world->options.nodes)];
    struct myco_core *core = writer->node ? writer->node->core : NULL;
    bool can = core && myco_core_ready(core) && !myco_sim_paused(world->sim, writer->node->host);
    if (can && !fence->septum && !fence->creating) {
        fence->creating = true;
        myco_core_septum(core, "fenced", "kind=durable hyphae=2 replicas=1", 3000, created, fence);
    } else if (can && fence->septum && writer->epoch) {
        pause_and_use(fence, writer);
    }
    /* now and then it is given up, so that epochs change */
    if (can && writer->campaign && myco_sim_random_below(random, 16) == 0) {
        myco_core_resign(writer->campaign);
        writer->campaign = myco_core_campaign(core, NAME, on_duty, writer);
    }
    myco_sim_at(world->sim, 80 * MYCO_SIM_MS / world->options.nodes, act, fence);
}

void sim_fence_node_up(struct sim_node *node)
{
    struct writer *writer = &node->world->fence->writers[node->host];
    *writer = (struct writer){.node = node};
    writer->campaign = myco_core_campaign(node->core, NAME, on_duty, writer);
    myco_bus_subscribe(myco_core_bus(node->core), myco_str("fenced.*"), myco_bytes(NULL, 0), hear,
        writer, &writer->sub, NULL);
}

/* The handles go with the core; the epoch with the program. */
void sim_fence_node_down(struct sim_node *node)
{
    node->world->fence->writers[node->host] = (struct writer){0};
}

void sim_fence_start(struct sim_world *world)
{
    struct sim_fence *fence = world->fence;
    fence->stopped = false;
    if (fence->running) return;
    fence->running = true;
    myco_sim_at(world->sim, 0, act, fence);
}

void sim_fence_stop(struct sim_world *world)
{
    world->fence->stopped = true;
}

bool sim_fence_idle(struct sim_world *world)
{
    return world->fence->under_way == 0;
}

static int by_version(const void *a, const void *b)
{
    const struct accepted *left = a, *right = b;
    if (left->key != right->key) return left->key < right->key ? -1 : 1;
    return left->version < right->version ? -1 : left->version > right->version;
}

void sim_fence_verify(struct sim_world *world)
{
    const struct sim_fence *fence = world->fence;
    if (fence->count > 1) qsort(fence->accepted, fence->count, sizeof *fence->accepted, by_version);
    for (size_t i = 1; i < fence->count; i++) {
        const struct accepted *former = &fence->accepted[i - 1], *next = &fence->accepted[i];
        if (former->key == next->key && next->epoch < former->epoch)
            sim_violated(world, "f%u accepted epoch %llx (version %llu) after %llx (version %llu)",
                next->key, (unsigned long long)next->epoch, (unsigned long long)next->version,
                (unsigned long long)former->epoch, (unsigned long long)former->version);
    }
}

void sim_fence_report(struct sim_world *world, FILE *file)
{
    fprintf(file, "  %zu writes with an epoch accepted, %llu refused as older\n",
        world->fence->count, (unsigned long long)world->fence->refused);
    fprintf(file, "  %llu messages with an epoch, %llu refused as older, %llu heard\n",
        (unsigned long long)world->fence->said, (unsigned long long)world->fence->unsaid,
        (unsigned long long)world->fence->heard);
}
