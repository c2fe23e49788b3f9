/* Time, nodes and writes of a world: see hypha_world.h. */
#include "hypha_world_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ── Time, world__chance
 * ──────────────────────────────────────────────────────────────────────────── */

uint64_t world_random(struct world *world, uint64_t below)
{
    uint64_t a = world->random[0], b = world->random[1];
    world->random[0] = b;
    a ^= a << 23;
    world->random[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return below == 0 ? 0 : (world->random[1] + b) % below;
}

bool world__chance(struct world *world, unsigned percent)
{
    return world_random(world, 100) < percent;
}

void world_violation(struct world *world, const char *format, ...)
{
    va_list args;
    world->violations++;
    if (world->violations > 10) return;
    printf("# violation (%s, seed %llu, at %llu ms): ", world->name ? world->name : "",
        (unsigned long long)world->seed, (unsigned long long)(world->now_ns / MS));
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

static bool event_before(const struct event *a, const struct event *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

struct event *world_at(struct world *world, uint64_t delay_ns, event_cb cb, unsigned node)
{
    struct event *event = calloc(1, sizeof(*event));
    event->due_ns = world->now_ns + delay_ns;
    event->order = world->order++;
    event->cb = cb;
    event->node = node;
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity ? world->heap_capacity * 2 : 64;
        world->heap = realloc(world->heap, world->heap_capacity * sizeof(*world->heap));
    }
    size_t at = world->heap_count++;
    while (at > 0 && event_before(event, world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = event;
    return event;
}

static struct event *event_pop(struct world *world)
{
    struct event *first = world->heap[0], *last = world->heap[--world->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < world->heap_count) {
        struct event **heap = world->heap;
        if (child + 1 < world->heap_count && event_before(heap[child + 1], heap[child])) child++;
        if (!event_before(heap[child], last)) break;
        heap[at] = heap[child];
        at = child;
    }
    world->heap[at] = last;
    return first;
}

static void step(struct world *world)
{
    struct event *event = event_pop(world);
    world->now_ns = event->due_ns;
    world->events++;
    event->cb(world, event);
    myco_buf_free(&event->bytes);
    free(event);
    world__look(world);
}

void world_run(struct world *world, uint64_t ms)
{
    uint64_t end_ns = world->now_ns + ms * MS;
    while (world->heap_count > 0 && world->heap[0]->due_ns <= end_ns) step(world);
    world->now_ns = end_ns;
}

bool world_until(struct world *world, bool (*done)(struct world *world), uint64_t ms)
{
    uint64_t end_ns = world->now_ns + ms * MS;
    while (!done(world)) {
        if (world->heap_count == 0 || world->heap[0]->due_ns > end_ns) return false;
        step(world);
    }
    return true;
}

/* ── A node's environment ──────────────────────────────────────────────────────────────────── */

static struct node *node_of(struct myco_env *env)
{
    return (struct node *)env;
}

static uint64_t env_now_ns(struct myco_env *env)
{
    return 1000 * MS + node_of(env)->world->now_ns;
}

static uint64_t env_wall_ms(struct myco_env *env)
{
    struct node *node = node_of(env);
    return (uint64_t)((int64_t)(1700000000000ull + node->world->now_ns / MS) + node->wall_skew_ms);
}

static void env_random(struct myco_env *env, void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)world_random(node_of(env)->world, 256);
    }
}

static void on_wake(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha != NULL && node->generation == event->x) myco__env_wake(&node->env);
}

static void env_wake_at(struct myco_env *env, uint64_t ns)
{
    struct node *node = node_of(env);
    if (ns == UINT64_MAX) return;
    uint64_t now_ns = env_now_ns(env);
    struct event *event = world_at(
        node->world, ns > now_ns ? ns - now_ns : 0, on_wake, (unsigned)(node - node->world->nodes));
    event->x = node->generation;
}

static int env_datagram(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    (void)env;
    (void)to;
    (void)bytes;
    return 0;
}

static const struct myco_env_ops env_ops = {
    env_now_ns, env_wall_ms, env_random, env_wake_at, env_datagram};

/* ── Nodes ─────────────────────────────────────────────────────────────────────────────────── */

static void on_tick(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha == NULL || node->generation != event->x) return;
    world_at(world, 100 * MS, on_tick, event->node)->x = event->x;
    myco_domain_poll(node->domain);
    if (!myco_hypha_idle(node->hypha)) myco_hypha_tick(node->hypha);
}

static void node_boot(struct world *world, unsigned index)
{
    struct node *node = &world->nodes[index];
    struct myco_hypha_effects effects = {world__send, world__journal, world__complete,
        world__propose, world__replaced, world__committed, node};
    node->generation++;
    node->seen = 0;
    node->served = false;
    memset(&node->env, 0, sizeof(node->env));
    myco__env_init(&node->env, &env_ops);
    node->env.metrics = &node->metrics;
    struct myco_hypha_options options = world->options;
    options.env = &node->env;
    options.domain = node->domain;
    options.self = node->id;
    options.generation = node->generation;
    node->hypha = myco_hypha_new(&options, &effects);
    world__journal_load(world, node);
    node->seen = node->hypha->log.applied;
    world_at(world, world_random(world, 100 * MS), on_tick, index)->x = node->generation;
}

void world_boot(struct world *world, unsigned index)
{
    if (world->nodes[index].hypha != NULL) return;
    node_boot(world, index);
    world__register_generation(world, &world->nodes[index]);
    for (unsigned i = 0; i < world->node_count; i++) world__connect_later(world, index, i);
}

void world_crash(struct world *world, unsigned index)
{
    struct node *node = &world->nodes[index];
    if (node->hypha == NULL) return;
    myco_hypha_free(node->hypha);
    node->hypha = NULL;
    myco__env_close(&node->env);
    myco_domain_poll(node->domain);
    world__journal_crash(world, node);
    for (unsigned i = 0; i < world->node_count; i++) {
        if (i != index) world_break(world, index, i);
    }
}

static bool is_member(const struct world *world, const struct node *node)
{
    for (uint8_t i = 0; i < world->set.joining_count; i++) {
        if (world->set.joining[i].node == node->id) return true;
    }
    return world__in_sync_holder(world, node->id) != NULL;
}

/* What a host does with a copy that consensus, as of now, does not want; the node lives on. */
static void on_throw_away(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha == NULL || is_member(world, node)) return;
    if (node->hypha->role != MYCO__ROLE_NONE) {
        world_at(world, 20 * MS, on_throw_away, event->node);
        return;
    }
    myco_hypha_free(node->hypha);
    myco__env_close(&node->env);
    world__entries_drop(node, 0, node->entry_count);
    myco_buf_free(&node->snapshot);
    node->saved = false;
    node->snapshot_sequence = ++node->sequence; /* one that is under way does not count */
    node->generation--;                         /* the same one again */
    node_boot(world, event->node);
    myco_hypha_configure(node->hypha, &world->set);
}

void world_remove(struct world *world, unsigned index, uint64_t ms)
{
    struct myco_set *set = &world->set;
    if (set->primary == index + 1 || world->nodes[index].hypha == NULL) return;
    world__holders_remove(set->in_sync, &set->in_sync_count, index + 1);
    world__holders_remove(set->joining, &set->joining_count, index + 1);
    set->version++;
    world->nodes[index].out_ms = world->now_ns / MS + ms;
    world_configure(world);
    world_at(world, 20 * MS, on_throw_away, index);
}

struct world *world_new(unsigned node_count, enum myco_level level, uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    world->node_count = node_count;
    world->options.level = level;
    world->lossy = level == MYCO_LEVEL_MEMORY;
    world->seed = seed;
    world->random[0] = seed * 0x9e3779b97f4a7c15ull + 1;
    world->random[1] = seed ^ 0x2545f4914f6cdd1dull;
    for (int i = 0; i < 20; i++) world_random(world, 2);
    return world;
}

void world_start(struct world *world, bool all_in_sync)
{
    world->set = (struct myco_set){.epoch = 1, .version = 1, .primary = 1};
    for (unsigned i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        node->world = world;
        node->id = i + 1;
        node->domain = myco_domain_new();
        node_boot(world, i);
        struct myco_holder holder = {node->id, node->generation};
        if (i == 0 || all_in_sync) world->set.in_sync[world->set.in_sync_count++] = holder;
    }
    for (unsigned a = 0; a < world->node_count; a++) {
        for (unsigned b = a + 1; b < world->node_count; b++) {
            world__link_of(world, a, b)->up = true;
            world__link_of(world, a, b)->connection = 1;
        }
    }
    world_configure(world);
    world_at(world, 100 * MS, world__on_placement, 0);
}

void world_free(struct world *world)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->hypha != NULL) {
            myco_hypha_free(node->hypha);
            myco__env_close(&node->env);
        }
        world__entries_drop(node, 0, node->entry_count);
        free(node->entries);
        myco_buf_free(&node->snapshot);
        if (node->domain != NULL) myco_domain_free(node->domain);
    }
    for (size_t i = 0; i < world->heap_count; i++) {
        myco_buf_free(&world->heap[i]->bytes);
        free(world->heap[i]);
    }
    free(world->proposal);
    free(world->heap);
    free(world->ops);
    free(world->truths);
    free(world->seen);
    free(world);
}

/* ── Writes ────────────────────────────────────────────────────────────────────────────────── */

uint64_t world_write(
    struct world *world, unsigned index, struct myco_write write, unsigned key, size_t value_size)
{
    struct node *node = &world->nodes[index];
    if (world->op_count == world->op_capacity) {
        world->op_capacity = world->op_capacity ? world->op_capacity * 2 : 256;
        world->ops = realloc(world->ops, world->op_capacity * sizeof(*world->ops));
    }
    uint64_t token = ++world->op_count;
    struct op *op = &world->ops[token - 1];
    char name[16];
    int name_size = snprintf(name, sizeof(name), "k%u", key);
    char *value = malloc(value_size + 32);
    size_t used = (size_t)snprintf(value, 32, "t%llu ", (unsigned long long)token);
    if (value_size > used) memset(value + used, 'x', value_size - used);
    if (value_size < used) value_size = used;
    if (write.op != MYCO_OP_NOOP) write.key = myco_bytes(name, (size_t)name_size + 1);
    if (write.op == MYCO_OP_PUT) write.value = myco_bytes(value, value_size);
    *op = (struct op){.node = index,
        .key = key,
        .write = write,
        .inside = true,
        .acked_before = world->acked_max,
        .key_before = world->key_acked[key % WORLD_KEYS]};
    int rc = node->hypha ? myco_hypha_write(node->hypha, &write, token) : MYCO_ENOTCONN;
    op->write.key = op->write.value = myco_bytes(NULL, 0);
    op->inside = false;
    free(value);
    if (rc != 0) {
        op->outcome = OUTCOME_REFUSED;
        op->status = rc;
    }
    return token;
}

uint64_t world_put(struct world *world, unsigned node, unsigned key)
{
    return world_write(world, node, (struct myco_write){.op = MYCO_OP_PUT}, key, 0);
}

const struct op *world_op(const struct world *world, uint64_t token)
{
    return &world->ops[token - 1];
}

bool world_done(const struct world *world, uint64_t token, int status)
{
    const struct op *op = world_op(world, token);
    return op->outcome == OUTCOME_DONE && op->status == status;
}
