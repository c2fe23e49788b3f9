/* The small world: its events, its network, the owners of its logs, and the rules that they
 * keep. */
#include "log_cluster_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

/* ── Randomness and events ──────────────────────────────────────────────────────────────────── */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint64_t world_random(struct world *world, uint64_t bound)
{
    return next_random(&world->random) % bound;
}

static bool before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void world_push(struct world *world, struct event event)
{
    if (world->queue_count == world->queue_capacity) {
        world->queue_capacity = world->queue_capacity == 0 ? 256 : world->queue_capacity * 2;
        world->queue = myco_realloc(world->queue, world->queue_capacity * sizeof event);
    }
    event.order = world->order++;
    size_t at = world->queue_count++;
    while (at > 0 && before(&event, &world->queue[(at - 1) / 2])) {
        world->queue[at] = world->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->queue[at] = event;
}

static struct event pop(struct world *world)
{
    struct event top = world->queue[0], last = world->queue[--world->queue_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->queue_count) break;
        if (child + 1 < world->queue_count &&
            before(&world->queue[child + 1], &world->queue[child]))
            child++;
        if (!before(&world->queue[child], &last)) break;
        world->queue[at] = world->queue[child];
        at = child;
    }
    world->queue[at] = last;
    return top;
}

/* ── Environment ────────────────────────────────────────────────────────────────────────────── */

static struct server *env_server(struct myco_env *env)
{
    return MYCO_CONTAINER(env, struct server, env);
}

static uint64_t env_now(struct myco_env *env)
{
    return env_server(env)->world->now_ns;
}

static uint64_t env_wall(struct myco_env *env)
{
    return env_server(env)->world->now_ns / MS;
}

static void env_random(struct myco_env *env, void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)next_random(&env_server(env)->world->random);
}

static void env_wake_at(struct myco_env *env, uint64_t ns)
{
    env_server(env)->wake_ns = ns;
}

static const struct myco_env_ops env_ops = {
    .now_ns = env_now,
    .wall_ms = env_wall,
    .random = env_random,
    .wake_at = env_wake_at,
};

static void print_log(
    int level, const char *subsystem, const char *message, const char *fields, void *data)
{
    struct myco_log *log = data;
    (void)subsystem;
    printf("# %s %s: %s %s\n", log->name, myco_log_level_name(level), message, fields);
}

/* ── The rules ──────────────────────────────────────────────────────────────────────────────── */

__attribute__((format(printf, 2, 3))) static void violated(
    struct world *world, const char *format, ...)
{
    if (world->violation[0] != '\0') return;
    va_list args;
    va_start(args, format);
    vsnprintf(world->violation, sizeof world->violation, format, args);
    va_end(args);
}

static struct committed *committed_at(struct world *world, uint64_t index)
{
    if (index >= world->committed_capacity) {
        size_t capacity = (index + 1) * 2;
        world->committed = myco_realloc(world->committed, capacity * sizeof *world->committed);
        memset(world->committed + world->committed_capacity, 0,
            (capacity - world->committed_capacity) * sizeof *world->committed);
        world->committed_capacity = capacity;
    }
    return &world->committed[index];
}

void world_check(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        struct server *server = &world->servers[i];
        if (server->log == NULL || !myco_rlog_is_leader(server->log)) continue;
        uint64_t term = myco_rlog_term(server->log);
        if (term >= world->leaders_capacity) {
            size_t capacity = (term + 1) * 2;
            world->leaders = myco_realloc(world->leaders, capacity * sizeof *world->leaders);
            memset(world->leaders + world->leaders_capacity, 0,
                (capacity - world->leaders_capacity) * sizeof *world->leaders);
            world->leaders_capacity = capacity;
        }
        if (world->leaders[term] != 0 && world->leaders[term] != server->id)
            violated(world, "term %llu has two leaders", (unsigned long long)term);
        world->leaders[term] = server->id;
    }
}

/* ── A server's owner ───────────────────────────────────────────────────────────────────────── */

static void deliver_later(
    struct world *world, size_t to, uint64_t from, struct myco_buf *payload, bool bulk, bool tail)
{
    struct event event = {.kind = DELIVER, .server = to, .from = from, .tail = tail};
    uint64_t spread = world->delay_max_ns - world->delay_min_ns + 1;
    event.at_ns = world->now_ns + world->delay_min_ns + world_random(world, spread);
    if (bulk) event.at_ns += payload->size * 10; /* 100 MB/s */
    myco_buf_bytes(&event.bytes, payload->data, payload->size);
    world_push(world, event);
}

static void on_send(uint64_t to, bool bulk, struct myco_buf *payload, void *data)
{
    struct server *server = data;
    struct world *world = server->world;
    size_t from_at = (size_t)(server - world->servers), to_at = to - 1;
    world->sent++;
    world->sent_bulk += bulk;
    world->sent_bytes += payload->size;
    if (to_at < world->count && !world->cut[from_at][to_at] &&
        (world->filter == NULL ||
            world->filter(world, server->id, to, myco_buf_as_slice(payload))) &&
        world_random(world, 100) >= world->loss_percent) {
        deliver_later(world, to_at, server->id, payload, bulk, false);
        if (world_random(world, 100) < world->duplicate_percent)
            deliver_later(world, to_at, server->id, payload, bulk, false);
    }
    myco_buf_free(payload);
}

static void on_send_tail(uint64_t to, bool bulk, struct myco_buf *payload, void *data)
{
    struct server *server = data;
    struct world *world = server->world;
    size_t from_at = (size_t)(server - world->servers), to_at = to - 1;
    if (to_at < world->count && !world->cut[from_at][to_at] &&
        world_random(world, 100) >= world->loss_percent)
        deliver_later(world, to_at, server->id, payload, bulk, true);
    myco_buf_free(payload);
}

static bool on_next_peer(uint32_t *cursor, uint64_t *peer, void *data)
{
    struct server *server = data;
    struct world *world = server->world;
    while (*cursor < world->count) {
        struct server *other = &world->servers[(*cursor)++];
        *peer = other->id;
        if (other != server && other->log != NULL) return true;
    }
    return false;
}

static void on_apply(uint64_t index, uint64_t term, struct myco_slice command, void *data)
{
    struct server *server = data;
    struct world *world = server->world;
    if (index <= server->applied_index)
        violated(world, "server %llu applied %llu twice", (unsigned long long)server->id,
            (unsigned long long)index);
    uint64_t hash = myco_hash(command.data, command.size);
    server->chain = myco_hash_mix(myco_hash_mix(server->chain, hash), index);
    server->applied_index = index;
    server->commands++;
    server->applies++;
    struct committed *committed = committed_at(world, index);
    if (committed->term == 0)
        *committed = (struct committed){.term = term, .hash = hash, .chain = server->chain};
    if (committed->term != term || committed->hash != hash || committed->chain != server->chain)
        violated(world, "server %llu applied something else at %llu",
            (unsigned long long)server->id, (unsigned long long)index);
    if (index > world->committed_max) world->committed_max = index;
}

static void on_snapshot(struct myco_buf *out, void *data)
{
    struct server *server = data;
    myco_buf_u64(out, server->chain);
    myco_buf_u64(out, server->applied_index);
    myco_buf_u64(out, server->commands);
    for (size_t i = 0; i < server->ballast; i++) myco_buf_u8(out, (uint8_t)i);
}

static int on_restore(uint64_t index, struct myco_slice bytes, struct myco_err *err, void *data)
{
    struct server *server = data;
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    server->chain = myco_read_u64(&reader);
    server->applied_index = myco_read_u64(&reader);
    server->commands = myco_read_u64(&reader);
    server->restores++;
    if (reader.bad) return myco_err(err, MYCO_ECORRUPT, "a short snapshot");
    if (server->applied_index > index ||
        (server->applied_index > 0 &&
            committed_at(server->world, server->applied_index)->chain != server->chain))
        violated(
            server->world, "server %llu restored another state", (unsigned long long)server->id);
    return 0;
}

static void on_changed(void *data)
{
    ((struct server *)data)->changes++;
}

static void on_established(uint64_t term, void *data)
{
    struct server *server = data;
    server->established_term = term;
    server->established_ns = server->world->now_ns;
}

static void on_failed(int status, const char *message, void *data)
{
    struct server *server = data;
    server->failed = status;
    snprintf(server->failure, sizeof server->failure, "%s", message);
}

/* ── Servers come and go ────────────────────────────────────────────────────────────────────── */

void world_init(struct world *world, size_t count, uint64_t seed)
{
    *world = (struct world){.count = count,
        .random = seed * 2654435761u + 12345,
        .now_ns = 1000 * MS,
        .delay_min_ns = 200000,
        .delay_max_ns = 800000,
        .sync_min_ns = 100000,
        .sync_max_ns = 2 * MS};
    for (size_t i = 0; i < count; i++) {
        struct server *server = &world->servers[i];
        server->id = i + 1;
        server->world = world;
        server->wake_ns = UINT64_MAX;
        server->disk.disk.ops = &world_disk_ops;
        server->disk.world = world;
    }
}

int world_start(struct world *world, size_t at, struct myco_err *err)
{
    struct server *server = &world->servers[at];
    struct myco_rlog_options options = world->options;
    struct myco_rlog_events events = {.send = on_send,
        .apply = on_apply,
        .snapshot = on_snapshot,
        .restore = on_restore,
        .changed = on_changed,
        .established = on_established,
        .failed = on_failed,
        .data = server};
    if (world->tails) {
        events.send_tail = on_send_tail;
        events.next_peer = on_next_peer;
    }
    server->wake_ns = UINT64_MAX;
    myco__env_init(&server->env, &env_ops);
    server->sink = (struct myco_log){.level = getenv("LOG_CLUSTER_VERBOSE") ? 0 : MYCO_LOG_OFF,
        .sink = print_log,
        .data = &server->sink};
    snprintf(server->sink.name, sizeof server->sink.name, "server %zu", at + 1);
    server->env.log = &server->sink;
    server->env.metrics = &server->metrics;
    server->chain = server->applied_index = server->commands = 0;
    server->failed = 0;
    server->lives++;
    options.env = &server->env;
    options.disk = &server->disk.disk;
    options.folder = "consensus";
    options.self = server->id;
    int status = myco_rlog_open(&options, &events, &server->log, err);
    if (status != 0) myco__env_close(&server->env);
    return status;
}

/* Ends what this server has under way on its disk. */
static void drop_disk_events(struct world *world, size_t at)
{
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < world->queue_count; i++) {
            if (world->queue[i].server != at || world->queue[i].kind == DELIVER) continue;
            struct event event = world->queue[i];
            world->queue[i].at_ns = 0;
            world->queue[i].order = 0;
            /* it goes to the top and out */
            struct event top = world->queue[i];
            while (i > 0) {
                world->queue[i] = world->queue[(i - 1) / 2];
                i = (i - 1) / 2;
            }
            world->queue[0] = top;
            pop(world);
            world_disk_lost(world, &event);
            again = true;
            break;
        }
    }
}

void world_crash(struct world *world, size_t at)
{
    struct server *server = &world->servers[at];
    if (server->log == NULL) return;
    myco_rlog_close(server->log);
    server->log = NULL;
    drop_disk_events(world, at);
    if (server->disk.opens != 0) violated(world, "a file was left open");
    myco__env_close(&server->env);
    server->wake_ns = UINT64_MAX;
}

void world_free(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        world_crash(world, i);
        drop_disk_events(world, i);
    }
    while (world->queue_count > 0) {
        struct event event = pop(world);
        myco_buf_free(&event.bytes);
    }
    for (size_t i = 0; i < world->count; i++) world_disk_wipe(&world->servers[i].disk);
    myco_free(world->queue);
    myco_free(world->committed);
    myco_free(world->leaders);
}

void world_bootstrap(struct world *world, size_t voters)
{
    struct myco_log_server servers[SERVERS_MAX];
    struct myco_err err = {0};
    for (size_t i = 0; i < voters; i++)
        servers[i] = (struct myco_log_server){.id = i + 1, .role = MYCO_ROLE_VOTER};
    for (size_t i = 0; i < world->count; i++) {
        int status = world_start(world, i, &err);
        if (status == 0 && i < voters)
            status = myco_rlog_bootstrap(world->servers[i].log, servers, voters, &err);
        if (status != 0) violated(world, "start %zu: %s", i, err.message);
    }
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

static struct server *next_to_wake(struct world *world)
{
    struct server *first = NULL;
    for (size_t i = 0; i < world->count; i++) {
        struct server *server = &world->servers[i];
        if (server->wake_ns != UINT64_MAX && (first == NULL || server->wake_ns < first->wake_ns))
            first = server;
    }
    return first;
}

static void deliver(struct world *world, struct event *event)
{
    struct server *server = &world->servers[event->server];
    size_t from_at = event->from - 1;
    bool arrives = server->log != NULL && !world->cut[from_at][event->server];
    if (arrives && event->tail)
        myco_rlog_tail_receive(server->log, event->from, myco_buf_as_slice(&event->bytes));
    else if (arrives)
        myco_rlog_receive(server->log, event->from, myco_buf_as_slice(&event->bytes));
    myco_buf_free(&event->bytes);
}

/* The next thing that happens before `end_ns`. */
static bool step(struct world *world, uint64_t end_ns)
{
    struct server *sleeper = next_to_wake(world);
    bool queued = world->queue_count > 0;
    uint64_t wake_ns = sleeper != NULL ? sleeper->wake_ns : UINT64_MAX;
    uint64_t event_ns = queued ? world->queue[0].at_ns : UINT64_MAX;
    uint64_t at_ns = wake_ns < event_ns ? wake_ns : event_ns;
    if (at_ns > end_ns) {
        world->now_ns = end_ns;
        return false;
    }
    if (at_ns > world->now_ns) world->now_ns = at_ns;
    if (wake_ns <= event_ns) {
        sleeper->wake_ns = UINT64_MAX;
        myco__env_wake(&sleeper->env);
    } else {
        struct event event = pop(world);
        if (event.kind == DELIVER)
            deliver(world, &event);
        else
            world_disk_happens(world, &event);
    }
    world_check(world);
    return true;
}

void world_run(struct world *world, uint64_t ms)
{
    uint64_t end_ns = world->now_ns + ms * MS;
    while (step(world, end_ns)) continue;
}

bool world_until(
    struct world *world, bool (*done)(struct world *world, void *data), void *data, uint64_t ms)
{
    uint64_t end_ns = world->now_ns + ms * MS;
    do {
        if (done(world, data)) return true;
    } while (step(world, end_ns));
    return done(world, data);
}

/* ── Conveniences ───────────────────────────────────────────────────────────────────────────── */

void world_cut(struct world *world, size_t a, size_t b, bool cut)
{
    world->cut[a][b] = world->cut[b][a] = cut;
}

void world_isolate(struct world *world, size_t at, bool cut)
{
    for (size_t i = 0; i < world->count; i++)
        if (i != at) world_cut(world, at, i, cut);
}

void world_heal(struct world *world)
{
    memset(world->cut, 0, sizeof world->cut);
}

struct server *world_leader(struct world *world)
{
    struct server *leader = NULL;
    for (size_t i = 0; i < world->count; i++) {
        struct server *server = &world->servers[i];
        if (server->log == NULL || !myco_rlog_is_established(server->log)) continue;
        if (leader == NULL || myco_rlog_term(server->log) > myco_rlog_term(leader->log))
            leader = server;
    }
    return leader;
}

static bool has_leader(struct world *world, void *data)
{
    (void)data;
    return world_leader(world) != NULL;
}

struct server *world_await_leader(struct world *world, uint64_t ms)
{
    return world_until(world, has_leader, NULL, ms) ? world_leader(world) : NULL;
}

static bool all_applied(struct world *world, void *data)
{
    (void)data;
    struct server *leader = world_leader(world);
    if (leader == NULL) return false;
    uint64_t commit = myco_rlog_commit_index(leader->log);
    for (size_t i = 0; i < world->count; i++) {
        struct server *server = &world->servers[i];
        if (server->log == NULL || server->failed != 0) continue;
        if (myco_rlog_role(leader->log, server->id) == MYCO_ROLE_NONE ||
            myco_rlog_role(leader->log, server->id) == MYCO_ROLE_SPARE)
            continue;
        if (myco_rlog_applied_index(server->log) != commit || server->chain != leader->chain)
            return false;
    }
    return leader->applied_index >= world->committed_max;
}

bool world_await_applied(struct world *world, uint64_t ms)
{
    return world_until(world, all_applied, NULL, ms);
}

int world_submit(struct world *world, const char *text)
{
    struct server *leader = world_leader(world);
    return leader != NULL ? myco_rlog_submit(leader->log, myco_str(text)) : MYCO_ENOTLEADER;
}

struct goal {
    uint64_t commands;
};

static bool reached(struct world *world, void *data)
{
    struct server *leader = world_leader(world);
    return leader != NULL && leader->commands >= ((struct goal *)data)->commands &&
           all_applied(world, NULL);
}

bool world_commit(struct world *world, unsigned count)
{
    struct server *leader = world_await_leader(world, 5000);
    if (leader == NULL) return false;
    struct goal goal = {leader->commands + count};
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "command %llu", (unsigned long long)leader->commands + i);
        while (world_submit(world, text) != 0) {
            world_run(world, 1);
            if (world_leader(world) != leader) return false;
        }
    }
    return world_until(world, reached, &goal, 10000);
}
