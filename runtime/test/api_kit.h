/* Nodes in this process, for tests of the public API: opened on free ports in a folder that goes
 * away at the end; what callbacks say is counted, and a test waits for a condition, never for a
 * time (30 seconds is when it gives up). */
#ifndef MYCO_TEST_API_KIT_H
#define MYCO_TEST_API_KIT_H

#include <ftw.h>
#include <msgpack.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mycorrizal.h"
#include "tap.h"

#define KIT_WAIT_MS 30000
#define KIT_NODES   3

/* ── folders ── */

static char kit_root[64];

static int kit_remove(const char *path, const struct stat *info, int flag, struct FTW *walk)
{
    (void)info, (void)flag, (void)walk;
    return remove(path);
}

static void kit_clean(void)
{
    if (kit_root[0]) nftw(kit_root, kit_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *kit_folder(void)
{
    if (kit_root[0]) return kit_root;
    strcpy(kit_root, "/tmp/mycorrizal-api-XXXXXX");
    if (!mkdtemp(kit_root)) bail_out("no folder for test data");
    atexit(kit_clean);
    return kit_root;
}

static inline const char *kit_path(const char *name, char path[160])
{
    snprintf(path, 160, "%s/%.80s", kit_folder(), name);
    return path;
}

/* ── the log ── the last lines, shown when a test gives up; KIT_LOG=1: all of them, at once */

static inline void kit_log(
    int level, const char *subsystem, const char *message, const char *fields, void *data)
{
    static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
    fprintf(stderr, "# %s %s %s: %s %s\n", (const char *)data, levels[level], subsystem, message,
        fields);
}

/* ── opening ── */

static inline void kit_options(struct myco_options *options, const char *name, char path[160])
{
    *options = (struct myco_options)MYCO_OPTIONS_INIT;
    options->name = name;
    options->data = kit_path(name, path);
    options->lua_path = MYCO_LUA_DIR;
    options->timeout_ms = KIT_WAIT_MS; /* on a busy machine the default may pass */
    const char *level = getenv("KIT_LOG");
    if (level) {
        options->log = kit_log;
        options->log_level = atoi(level);
        options->log_data = (void *)(uintptr_t)name;
    }
}

static inline struct myco *kit_open(const struct myco_options *options)
{
    struct myco *node;
    struct myco_err err = {0};
    if (myco_open(&node, options, &err)) bail_out("open: %s", err.message);
    return node;
}

static inline void kit_ready(struct myco *node)
{
    struct myco_err err = {0};
    if (myco_wait_ready(node, KIT_WAIT_MS, &err)) bail_out("%s: %s", myco_name(node), err.message);
}

static inline struct myco *kit_single(const char *name)
{
    struct myco_options options;
    char path[160];
    kit_options(&options, name, path);
    struct myco *node = kit_open(&options);
    kit_ready(node);
    return node;
}

static const char *const kit_names[KIT_NODES] = {"anna", "bert", "carl"};

/* Node i of a cluster of three; the first one's address is the seed of the others. */
static inline struct myco *kit_member(struct myco *nodes[], unsigned i)
{
    struct myco_options options;
    char path[160];
    kit_options(&options, kit_names[i], path);
    options.expect = KIT_NODES;
    if (i > 0) options.join = myco_listen(nodes[0]);
    return nodes[i] = kit_open(&options);
}

static inline void kit_cluster(struct myco *nodes[KIT_NODES])
{
    for (unsigned i = 0; i < KIT_NODES; i++) kit_member(nodes, i);
    for (unsigned i = 0; i < KIT_NODES; i++) kit_ready(nodes[i]);
}

static inline struct myco_septum *kit_septum(struct myco *node, const char *name, const char *spec)
{
    struct myco_septum *septum;
    struct myco_err err = {0};
    if (myco_septum(node, name, spec, &septum, &err)) bail_out("septum: %s", err.message);
    return septum;
}

/* ── waiting ── */

static inline uint64_t kit_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static pthread_mutex_t kit_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t kit_changed = PTHREAD_COND_INITIALIZER;

/* Held while a callback writes down what it saw, and while a test looks at it. */
static inline void kit_lock(void)
{
    pthread_mutex_lock(&kit_mutex);
}

static inline void kit_unlock(void)
{
    pthread_cond_broadcast(&kit_changed);
    pthread_mutex_unlock(&kit_mutex);
}

/* Until `holds` (asked with the lock held), or within_ms passed. */
static inline bool kit_wait(bool (*holds)(void *data), void *data, unsigned within_ms)
{
    struct timespec until;
    bool held;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += within_ms / 1000;
    until.tv_nsec += (long)(within_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_mutex_lock(&kit_mutex);
    while (!(held = holds(data)) && !pthread_cond_timedwait(&kit_changed, &kit_mutex, &until)) {
    }
    pthread_mutex_unlock(&kit_mutex);
    return held;
}

/* Asked again and again, for what has no callback. */
static inline bool kit_poll(bool (*holds)(void *data), void *data, unsigned within_ms)
{
    for (uint64_t until = kit_now_ms() + within_ms; !holds(data); usleep(5000))
        if (kit_now_ms() >= until) return false;
    return true;
}

/* ── results of asynchronous calls ── */

struct kit_result {
    unsigned calls; /* how often the callback ran */
    int status;
    char message[256];
    char value[256];
    size_t size;
    uint64_t version, count, expires_in_ms;
};

static inline void kit_done(const struct myco_result *result, void *data)
{
    struct kit_result *got = data;
    kit_lock();
    got->calls++;
    got->status = result->status;
    snprintf(got->message, sizeof got->message, "%s", result->message);
    got->size = result->value.size;
    size_t kept = got->size < sizeof got->value ? got->size : sizeof got->value - 1;
    if (kept) memcpy(got->value, result->value.data, kept);
    got->value[kept] = 0;
    got->version = result->version;
    got->count = result->count;
    got->expires_in_ms = result->expires_in_ms;
    kit_unlock();
}

static inline bool kit_called(void *data)
{
    return ((struct kit_result *)data)->calls > 0;
}

static inline int kit_result_wait(struct kit_result *result)
{
    if (!kit_wait(kit_called, result, KIT_WAIT_MS)) bail_out("a callback never came");
    return result->status;
}

/* ── documents ── */

static inline const msgpack_object *kit_field(const msgpack_object *map, const char *name)
{
    if (map->type != MSGPACK_OBJECT_MAP) return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *key = &map->via.map.ptr[i].key;
        if (key->type == MSGPACK_OBJECT_STR && key->via.str.size == strlen(name) &&
            memcmp(key->via.str.ptr, name, key->via.str.size) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

static inline bool kit_field_is(const msgpack_object *map, const char *name, const char *want)
{
    const msgpack_object *field = kit_field(map, name);
    return field && field->type == MSGPACK_OBJECT_STR && field->via.str.size == strlen(want) &&
           memcmp(field->via.str.ptr, want, field->via.str.size) == 0;
}

static inline uint64_t kit_number(const msgpack_object *map, const char *name)
{
    const msgpack_object *field = kit_field(map, name);
    return field && field->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? field->via.u64 : UINT64_MAX;
}

struct kit_document {
    msgpack_unpacked unpacked;
    struct myco_value value; /* strings point into it */
};

/* What the node says about `topic`, NULL when it is no document; free it. */
static inline const msgpack_object *kit_inspect(
    struct myco *node, const char *topic, struct kit_document *document)
{
    struct myco_err err = {0};
    size_t at = 0;
    msgpack_unpacked_init(&document->unpacked);
    if (myco_inspect(node, topic, &document->value, &err))
        bail_out("inspect %s: %s", topic, err.message);
    bool whole = msgpack_unpack_next(&document->unpacked, document->value.data,
                     document->value.size, &at) == MSGPACK_UNPACK_SUCCESS;
    return whole && at == document->value.size ? &document->unpacked.data : NULL;
}

static inline void kit_document_free(struct kit_document *document)
{
    msgpack_unpacked_destroy(&document->unpacked);
    myco_value_release(&document->value);
}

#endif
