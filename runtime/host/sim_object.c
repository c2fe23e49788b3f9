/* `mycorrizal sim --object`: what was acknowledged at level object survives the loss of all nodes
 * with all their disks, at any instant.
 *
 * Clients on each node put keys of their own, one after the other and never the same twice, into a
 * septum with level=object, while nodes, links and the store fail. Then everything but the store is
 * lost at once, without any time to finish, and the cluster that comes back from the store must
 * hold each key that was acknowledged, with its value. Three times, so that a restore is lost too.
 *
 * It would catch: an acknowledgement before the manifest that names the record; one by the word of
 * a leader whose manifest lost; a section that a take-over forgets; records skipped between two
 * uploads. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "host/sim_world.h"

#define WRITERS      3 /* on each node */
#define LOSSES       3
#define TIMEOUT_MS   3000
#define THINK_MS_MAX 60
#define FORM_MS      60000
#define READ_MS      3000
#define ROUNDS       28 /* of the wait for orphans to be collected: 14 minutes */
#define ROUND_MS     30000

struct kept {
    bool acknowledged, found;
    uint64_t version;
};

struct writer {
    struct sim_object *object;
    unsigned host, starts;
    uint64_t key; /* under way; 0: none */
};

struct sim_object {
    struct sim_world *world;
    struct writer writers[SIM_NODES_MAX * WRITERS];
    unsigned count;
    uint64_t septum, keys, capacity, acknowledged, unknown, unavailable, reading;
    struct kept *kept; /* by number of the key, from 1 */
    bool creating, stopped, read_busy;
};

static void write_one(void *data);

static void think(struct writer *writer)
{
    struct myco_sim *sim = writer->object->world->sim;
    uint64_t ms = myco_sim_random_below(myco_sim_random(sim), THINK_MS_MAX);
    myco_sim_at(sim, ms * MYCO_SIM_MS, write_one, writer);
}

struct call {
    struct writer *writer;
    uint64_t key;
};

static void written(const struct myco_result *result, void *data)
{
    struct call *call = data;
    struct writer *writer = call->writer;
    struct sim_object *object = writer->object;
    const struct sim_node *node = &object->world->nodes[writer->host];
    uint64_t key = call->key;
    myco_free(call);
    if (writer->key != key) return; /* given up */
    writer->key = 0;
    if (node->core && writer->starts == node->starts && result->status == 0) {
        object->kept[key] = (struct kept){.acknowledged = true, .version = result->version};
        object->acknowledged++;
        myco_sim_note(
            object->world->sim, writer->host, "o%llu is in the store", (unsigned long long)key);
    } else if (result->status == MYCO_EUNKNOWN) {
        object->unknown++;
    } else {
        object->unavailable++;
    }
    think(writer);
}

static void write_one(void *data)
{
    struct writer *writer = data;
    struct sim_object *object = writer->object;
    struct sim_node *node = &object->world->nodes[writer->host];
    char text[24];
    if (object->stopped || object->world->violation[0]) return;
    if (!node->core || !myco_core_ready(node->core) || !object->septum ||
        myco_sim_paused(object->world->sim, writer->host)) {
        think(writer);
        return;
    }
    if (++object->keys + 1 >= object->capacity) {
        object->capacity = object->capacity * 2 + 1024;
        object->kept = myco_realloc(object->kept, object->capacity * sizeof *object->kept);
    }
    object->kept[object->keys] = (struct kept){0};
    writer->key = object->keys;
    writer->starts = node->starts;
    struct call *call = myco_alloc(sizeof *call);
    *call = (struct call){writer, writer->key};
    struct myco_put_options options = {.timeout_ms = TIMEOUT_MS};
    snprintf(text, sizeof text, "o%llu", (unsigned long long)writer->key);
    myco_core_put(node->core, object->septum, myco_str(text), myco_bytes(&call->key, 8), &options,
        written, call);
}

/* A writer whose node died asks again when it is back. */
static void watch_dead(void *data)
{
    struct sim_object *object = data;
    for (unsigned i = 0; i < object->count; i++) {
        struct writer *writer = &object->writers[i];
        const struct sim_node *node = &object->world->nodes[writer->host];
        if (!writer->key || (node->core && node->starts == writer->starts)) continue;
        writer->key = 0;
        if (!object->stopped) think(writer);
    }
    myco_sim_at(object->world->sim, 50 * MYCO_SIM_MS, watch_dead, object);
}

static void created(const struct myco_result *result, void *data)
{
    struct sim_object *object = data;
    object->creating = false;
    if (result->status == 0) object->septum = result->version;
}

/* Refused until the feature is active. */
static void create(void *data)
{
    struct sim_object *object = data;
    struct sim_node *node = &object->world->nodes[0];
    if (object->septum || object->world->violation[0]) return;
    if (!object->creating && node->core) {
        object->creating = true;
        myco_core_septum(node->core, "kept", "kind=durable level=object hyphae=4 replicas=1", 3000,
            created, object);
    }
    myco_sim_at(object->world->sim, 100 * MYCO_SIM_MS, create, object);
}

/* ── after the loss ── */

static void read_back(const struct myco_result *result, void *data)
{
    struct sim_object *object = data;
    uint64_t value = 0;
    object->read_busy = false;
    if (result->status == 0 && result->value.size == 8) memcpy(&value, result->value.data, 8);
    if (result->status == MYCO_ENOTFOUND || (result->status == 0 && value != object->reading))
        sim_violated(object->world, "o%llu was acknowledged at level object, and is %s",
            (unsigned long long)object->reading, result->status ? "gone" : "another value");
    if (result->status == 0) object->reading++;
}

static void read_next(struct sim_object *object)
{
    struct sim_node *node = &object->world->nodes[0];
    char text[24];
    while (object->reading <= object->keys && !object->kept[object->reading].acknowledged)
        object->reading++;
    if (object->reading > object->keys || object->read_busy || !node->core ||
        !myco_core_ready(node->core))
        return;
    object->read_busy = true;
    snprintf(text, sizeof text, "o%llu", (unsigned long long)object->reading);
    myco_core_get(node->core, object->septum, myco_str(text), READ_MS, read_back, object);
}

static bool all_read(void *data)
{
    struct sim_object *object = data;
    if (object->world->violation[0]) return true;
    read_next(object);
    return object->reading > object->keys;
}

static bool all_ready(void *data)
{
    struct sim_object *object = data;
    if (object->world->violation[0]) return true;
    for (unsigned i = 0; i < object->world->options.nodes; i++)
        if (!object->world->nodes[i].core || !myco_core_ready(object->world->nodes[i].core))
            return false;
    return true;
}

static bool has_septum(void *data)
{
    const struct sim_object *object = data;
    return object->world->violation[0] || object->septum;
}

static bool is_violated(void *data)
{
    const struct sim_object *object = data;
    return object->world->violation[0] != 0;
}

static void await(struct sim_object *object, bool (*until)(void *data), const char *what)
{
    if (object->world->violation[0]) return;
    if (!myco_sim_run_until(object->world->sim, until, object, FORM_MS))
        sim_violated(object->world, "%s", what);
}

static void lose_and_look(struct sim_object *object, unsigned loss)
{
    struct sim_world *world = object->world;
    struct myco_sim_nemesis nemesis = {.until_ms = (uint64_t)world->options.seconds * 1000 / LOSSES,
        .crash_ms = 4000,
        .partition_ms = world->options.nodes > 1 ? 4000 : 0,
        .pause_ms = 5000,
        .loss_ms = world->options.nodes > 1 ? 6000 : 0,
        .store_ms = 4000,
        .down_max = 1};
    object->stopped = false;
    for (unsigned i = 0; i < object->count; i++) think(&object->writers[i]);
    if (world->options.faults) myco_sim_nemesis(world->sim, &nemesis);
    myco_sim_run_until(world->sim, is_violated, object, nemesis.until_ms);
    if (world->violation[0]) return;
    object->stopped = true;
    sim_store_restore(world);
    myco_sim_heal(world->sim);
    await(object, all_ready, "the cluster does not form from the object store");
    object->reading = 1;
    object->read_busy = false;
    await(object, all_read, "what was acknowledged can't be read after the loss of all nodes");
    sim_store_check(world);
    myco_sim_note(world->sim, 0, "loss %u: %llu keys were acknowledged", loss,
        (unsigned long long)object->acknowledged);
}

/* Long after the losses, with a write now and then, nothing lies around of those that were cut off
 * between an upload and its manifest. */
static void wait_for_collection(struct sim_object *object)
{
    struct sim_world *world = object->world;
    for (unsigned i = 0; i < ROUNDS && !world->violation[0]; i++) {
        object->stopped = false;
        write_one(&object->writers[0]);
        object->stopped = true;
        myco_sim_run_until(world->sim, is_violated, object, ROUND_MS);
    }
    if (world->violation[0]) return;
    size_t count = sim_store_orphans(world);
    sim_store_check(world);
    if (!world->options.quiet) printf("  %zu objects are left\n", count);
}

void sim_object_run_seed(const struct sim_options *options, struct sim_outcome *outcome)
{
    struct sim_world *world = sim_world_new(options);
    struct sim_object object = {.world = world, .count = options->nodes * WRITERS};
    for (unsigned i = 0; i < object.count; i++)
        object.writers[i] = (struct writer){.object = &object, .host = i % options->nodes};
    for (unsigned i = 0; i < options->nodes; i++) world->nodes[i].older = false;
    if (sim_form(world)) {
        myco_sim_at(world->sim, 0, create, &object);
        myco_sim_at(world->sim, 0, watch_dead, &object);
        await(&object, has_septum, "the septum can't be created");
        for (unsigned loss = 1; loss <= LOSSES && !world->violation[0]; loss++)
            lose_and_look(&object, loss);
        if (!world->violation[0] && options->seed % 8 == 1) wait_for_collection(&object);
    }
    if (!world->violation[0] && !object.acknowledged)
        sim_violated(world, "nothing was ever acknowledged at level object");
    *outcome = (struct sim_outcome){!world->violation[0], myco_sim_trace_hash(world->sim),
        myco_sim_events(world->sim), myco_sim_now_ms(world->sim)};
    if (!outcome->ok || options->trace) myco_sim_trace_print(world->sim, stderr);
    if (!outcome->ok) {
        sim_check_print(world, stderr);
        fprintf(stderr, "sim: seed %llu: VIOLATION %s\n", (unsigned long long)options->seed,
            world->violation);
    }
    if (!options->quiet)
        printf("  %llu keys: %llu acknowledged, %llu unknown, %llu unavailable\n",
            (unsigned long long)object.keys, (unsigned long long)object.acknowledged,
            (unsigned long long)object.unknown, (unsigned long long)object.unavailable);
    sim_world_free(world);
    myco_free(object.kept);
}
