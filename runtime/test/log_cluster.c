#include "log_cluster.h"

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

enum event_kind { DELIVER, WRITE, PUT, GET, DEL };
struct event {
    uint64_t at_ns, order;
    enum event_kind kind;
    size_t server; /* where it happens */
    unsigned life;
    uint64_t from;
    struct blob *blob;
    char path[128];
    uint64_t offset;
    struct myco_buf bytes;
    struct myco_slice lent;
    bool sync;
    int flags;
    myco_disk_cb cb;
    myco_disk_read_cb read_cb;
    void *data;
};

static bool before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void push(struct world *world, struct event event)
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

/* ── Disk ───────────────────────────────────────────────────────────────────────────────────── */

struct handle {
    struct myco_file file;
    struct blob *blob;
};

static struct server_disk *of(struct myco_disk *disk)
{
    return (struct server_disk *)disk;
}

static struct server *server_of(struct server_disk *disk)
{
    return MYCO_CONTAINER(disk, struct server, disk);
}

static void unref(struct blob *blob)
{
    if (--blob->references > 0) return;
    myco_buf_free(&blob->bytes);
    myco_free(blob);
}

static struct blob *find(struct server_disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->count; i++)
        if (strcmp(disk->blobs[i]->path, path) == 0) return disk->blobs[i];
    return NULL;
}

static struct blob *create(struct server_disk *disk, const char *path)
{
    struct blob *blob = myco_alloc(sizeof *blob);
    MYCO_ASSERT(disk->count < sizeof disk->blobs / sizeof disk->blobs[0]);
    snprintf(blob->path, sizeof blob->path, "%s", path);
    blob->references = 1;
    size_t at = disk->count++;
    while (at > 0 && strcmp(disk->blobs[at - 1]->path, path) > 0) {
        disk->blobs[at] = disk->blobs[at - 1];
        at--;
    }
    disk->blobs[at] = blob;
    return blob;
}

static void unlink_path(struct server_disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->count; i++) {
        if (strcmp(disk->blobs[i]->path, path) != 0) continue;
        unref(disk->blobs[i]);
        memmove(&disk->blobs[i], &disk->blobs[i + 1], (--disk->count - i) * sizeof disk->blobs[0]);
        return;
    }
}

static void overwrite(struct blob *blob, uint64_t offset, const void *bytes, size_t size)
{
    static const uint8_t zero[4096];
    while (blob->bytes.size < offset) {
        size_t gap = offset - blob->bytes.size;
        myco_buf_bytes(&blob->bytes, zero, gap < sizeof zero ? gap : sizeof zero);
    }
    size_t inside = blob->bytes.size - offset;
    if (inside > size) inside = size;
    if (inside > 0) memcpy(blob->bytes.data + offset, bytes, inside);
    myco_buf_bytes(&blob->bytes, (const uint8_t *)bytes + inside, size - inside);
}

static int disk_open(struct myco_disk *disk, const char *path, int flags, struct myco_file **file,
    struct myco_err *err)
{
    struct blob *blob = find(of(disk), path);
    if (blob == NULL && !(flags & MYCO_DISK_CREATE))
        return myco_err(err, MYCO_ENOTFOUND, "open %s: not found", path);
    if (blob == NULL) blob = create(of(disk), path);
    struct handle *handle = myco_alloc(sizeof *handle);
    handle->file.disk = disk;
    handle->blob = blob;
    blob->references++;
    of(disk)->opens++;
    *file = &handle->file;
    return 0;
}

static void disk_close(struct myco_file *file)
{
    struct handle *handle = (struct handle *)file;
    of(file->disk)->opens--;
    unref(handle->blob);
    myco_free(handle);
}

static int disk_size(struct myco_file *file, uint64_t *size)
{
    *size = ((struct handle *)file)->blob->bytes.size;
    return 0;
}

static int disk_read(struct myco_file *file, uint64_t offset, void *bytes, size_t size, size_t *got)
{
    const struct myco_buf *all = &((struct handle *)file)->blob->bytes;
    *got = offset >= all->size ? 0 : all->size - offset < size ? all->size - offset : size;
    if (*got > 0) memcpy(bytes, all->data + offset, *got);
    return 0;
}

static int disk_truncate(struct myco_file *file, uint64_t size)
{
    struct blob *blob = ((struct handle *)file)->blob;
    if (size < blob->bytes.size) blob->bytes.size = size;
    return 0;
}

static int disk_write_sync(struct myco_file *file, uint64_t offset, struct myco_slice bytes)
{
    if (of(file->disk)->fail_writes) return MYCO_EIO;
    overwrite(((struct handle *)file)->blob, offset, bytes.data, bytes.size);
    return 0;
}

static int disk_remove(struct myco_disk *disk, const char *path)
{
    unlink_path(of(disk), path);
    return 0;
}

static int disk_list_now(
    struct myco_disk *disk, const char *prefix, myco_disk_list_cb cb, void *data)
{
    struct myco_disk_entry entries[256];
    size_t count = 0;
    for (size_t i = 0; i < of(disk)->count; i++) {
        struct blob *blob = of(disk)->blobs[i];
        if (strncmp(blob->path, prefix, strlen(prefix)) != 0) continue;
        entries[count++] = (struct myco_disk_entry){.path = blob->path, .size = blob->bytes.size};
    }
    cb(0, entries, count, data);
    return 0;
}

static void put_blob(struct server_disk *disk, const char *path, const void *bytes, size_t size)
{
    unlink_path(disk, path);
    overwrite(create(disk, path), 0, bytes, size);
}

static int disk_put_now(struct myco_disk *disk, const char *path, struct myco_slice bytes)
{
    if (of(disk)->fail_writes) return MYCO_EIO;
    put_blob(of(disk), path, bytes.data, bytes.size);
    return 0;
}

static struct event disk_event(
    struct myco_disk *disk, enum event_kind kind, const char *path, void *data)
{
    struct server *server = server_of(of(disk));
    struct world *world = server->world;
    struct event event = {.kind = kind,
        .server = (size_t)(server - world->servers),
        .life = server->lives,
        .data = data};
    uint64_t spread = world->sync_max_ns - world->sync_min_ns + 1;
    event.at_ns = world->now_ns + world->sync_min_ns + world_random(world, spread);
    if (of(disk)->slow_ns != 0) event.at_ns = world->now_ns + of(disk)->slow_ns;
    if (path != NULL) snprintf(event.path, sizeof event.path, "%s", path);
    return event;
}

static void disk_write(struct myco_file *file, uint64_t offset, struct myco_slice bytes, bool sync,
    myco_disk_cb cb, void *data)
{
    struct event event = disk_event(file->disk, WRITE, NULL, data);
    event.blob = ((struct handle *)file)->blob;
    event.blob->references++;
    event.offset = offset;
    event.lent = bytes;
    event.sync = sync;
    event.cb = cb;
    push(server_of(of(file->disk))->world, event);
}

static void disk_put(struct myco_disk *disk, const char *path, struct myco_slice bytes, int flags,
    myco_disk_cb cb, void *data)
{
    struct event event = disk_event(disk, PUT, path, data);
    event.flags = flags;
    event.cb = cb;
    myco_buf_bytes(&event.bytes, bytes.data, bytes.size);
    push(server_of(of(disk))->world, event);
}

static void disk_get(struct myco_disk *disk, const char *path, uint64_t offset, uint64_t size_max,
    myco_disk_read_cb cb, void *data)
{
    struct event event = disk_event(disk, GET, path, data);
    MYCO_ASSERT(offset == 0 && size_max > 0);
    event.read_cb = cb;
    push(server_of(of(disk))->world, event);
}

static void disk_del(struct myco_disk *disk, const char *path, myco_disk_cb cb, void *data)
{
    struct event event = disk_event(disk, DEL, path, data);
    event.cb = cb;
    push(server_of(of(disk))->world, event);
}

static const struct myco_disk_ops disk_ops = {
    .open = disk_open,
    .close = disk_close,
    .size = disk_size,
    .read = disk_read,
    .truncate = disk_truncate,
    .write_sync = disk_write_sync,
    .remove = disk_remove,
    .list_now = disk_list_now,
    .put_now = disk_put_now,
    .write = disk_write,
    .put = disk_put,
    .get = disk_get,
    .del = disk_del,
};

static void get_done(struct server *server, struct event *event)
{
    struct blob *blob = find(&server->disk, event->path);
    struct myco_buf bytes = {0};
    if (blob != NULL) myco_buf_bytes(&bytes, blob->bytes.data, blob->bytes.size);
    event->read_cb(blob != NULL ? 0 : MYCO_ENOTFOUND, &bytes, event->data);
    myco_buf_free(&bytes);
}

static void disk_happens(struct world *world, struct event *event)
{
    struct server *server = &world->servers[event->server];
    int status = server->disk.fail_writes ? MYCO_EIO : 0;
    switch (event->kind) {
    case WRITE:
        if (status == 0) overwrite(event->blob, event->offset, event->lent.data, event->lent.size);
        unref(event->blob);
        event->cb(status, event->data);
        break;
    case PUT:
        if (status == 0) put_blob(&server->disk, event->path, event->bytes.data, event->bytes.size);
        myco_buf_free(&event->bytes);
        event->cb(status, event->data);
        break;
    case GET: get_done(server, event); break;
    case DEL:
        unlink_path(&server->disk, event->path);
        event->cb(0, event->data);
        break;
    case DELIVER: break;
    }
}

/* The server died while this was under way: all, a part or nothing of it reached the disk. */
static void disk_lost(struct world *world, struct event *event)
{
    struct server *server = &world->servers[event->server];
    struct myco_buf nothing = {0};
    uint64_t luck = world->torn_crashes ? world_random(world, 3) : 0;
    switch (event->kind) {
    case WRITE: {
        size_t size = luck == 0   ? 0
                      : luck == 1 ? world_random(world, event->lent.size + 1)
                                  : event->lent.size;
        if (event->blob->references > 1)
            overwrite(event->blob, event->offset, event->lent.data, size);
        unref(event->blob);
        event->cb(MYCO_ECANCELED, event->data);
        break;
    }
    case PUT:
        if (luck == 2) put_blob(&server->disk, event->path, event->bytes.data, event->bytes.size);
        myco_buf_free(&event->bytes);
        event->cb(MYCO_ECANCELED, event->data);
        break;
    case GET: event->read_cb(MYCO_ECANCELED, &nothing, event->data); break;
    case DEL:
        if (luck == 2) unlink_path(&server->disk, event->path);
        event->cb(MYCO_ECANCELED, event->data);
        break;
    case DELIVER: break;
    }
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
    struct world *world, size_t to, uint64_t from, struct myco_buf *payload, bool bulk)
{
    struct event event = {.kind = DELIVER, .server = to, .from = from};
    uint64_t spread = world->delay_max_ns - world->delay_min_ns + 1;
    event.at_ns = world->now_ns + world->delay_min_ns + world_random(world, spread);
    if (bulk) event.at_ns += payload->size * 10; /* 100 MB/s */
    myco_buf_bytes(&event.bytes, payload->data, payload->size);
    push(world, event);
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
        deliver_later(world, to_at, server->id, payload, bulk);
        if (world_random(world, 100) < world->duplicate_percent)
            deliver_later(world, to_at, server->id, payload, bulk);
    }
    myco_buf_free(payload);
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
        server->disk.disk.ops = &disk_ops;
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
            disk_lost(world, &event);
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
    for (size_t i = 0; i < world->count; i++)
        while (world->servers[i].disk.count > 0)
            unlink_path(&world->servers[i].disk, world->servers[i].disk.blobs[0]->path);
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
    if (server->log != NULL && !world->cut[from_at][event->server])
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
            disk_happens(world, &event);
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

struct blob *world_blob(struct server *server, const char *path)
{
    return find(&server->disk, path);
}

struct blob *world_last_segment(struct server *server)
{
    struct blob *last = NULL;
    for (size_t i = 0; i < server->disk.count; i++)
        if (strncmp(server->disk.blobs[i]->path, "consensus/log-", 14) == 0)
            last = server->disk.blobs[i];
    return last;
}
