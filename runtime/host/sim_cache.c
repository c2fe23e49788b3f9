/* Those who use a cache, or a septum that acknowledges before it is on disks: it may forget what
 * was written last, but a read returns only what somebody once wrote to that key, whole. A cache
 * serves again after healing, whoever of its holders is lost for ever. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "host/sim_world.h"

#define KEYS       16
#define THINK_MS   60
#define TIMEOUT_MS 1000
#define SIZE       48

struct sim_cache {
    struct sim_world *world;
    const char *name, *spec;
    uint64_t septum, written, under_way;
    uint32_t served; /* a bit for each key that was read since sim_cache_last() */
    bool stopped, creating, running;
};

struct asked {
    struct sim_cache *cache;
    unsigned key;
};

struct sim_cache *sim_cache_new(struct sim_world *world, const char *name, const char *spec)
{
    struct sim_cache *cache = myco_alloc(sizeof *cache);
    cache->world = world;
    cache->name = name;
    cache->spec = spec;
    return cache;
}

void sim_cache_free(struct sim_cache *cache)
{
    myco_free(cache);
}

/* A value says its key and its number, many times over. */
static void fill(uint8_t value[SIZE], unsigned key, uint64_t number)
{
    uint64_t word = (uint64_t)key << 56 | number;
    for (size_t i = 0; i < SIZE; i += sizeof word) memcpy(value + i, &word, sizeof word);
}

static void got(const struct myco_result *result, void *data)
{
    struct asked *asked = data;
    struct sim_cache *cache = asked->cache;
    uint8_t wanted[SIZE];
    uint64_t word = 0;
    cache->under_way--;
    if (result->status == 0 && result->value.size >= 8) memcpy(&word, result->value.data, 8);
    uint64_t number = word & 0xffffffffffffff;
    fill(wanted, asked->key, number);
    if (result->status == 0 &&
        (result->value.size != SIZE || number == 0 || number > cache->written ||
            memcmp(result->value.data, wanted, SIZE) != 0))
        sim_violated(cache->world, "%s returned for c%u what nobody wrote there (%llx)",
            cache->name, asked->key, (unsigned long long)word);
    if (result->status == 0 || result->status == MYCO_ENOTFOUND)
        cache->served |= UINT32_C(1) << asked->key;
    myco_free(asked);
}

static void done(const struct myco_result *result, void *data)
{
    struct asked *asked = data;
    (void)result;
    asked->cache->under_way--;
    myco_free(asked);
}

static void ask(struct sim_cache *cache, struct myco_core *core)
{
    struct myco_sim_random *random = myco_sim_random(cache->world->sim);
    struct asked *asked = myco_alloc(sizeof *asked);
    struct myco_put_options options = {.timeout_ms = TIMEOUT_MS};
    uint8_t value[SIZE];
    char key[16];
    *asked = (struct asked){cache, (unsigned)myco_sim_random_below(random, KEYS)};
    snprintf(key, sizeof key, "c%u", asked->key);
    cache->under_way++;
    uint64_t dice = myco_sim_random_below(random, 8);
    if (dice < 4) {
        myco_core_get(core, cache->septum, myco_str(key), TIMEOUT_MS, got, asked);
    } else if (dice == 4) {
        myco_core_del(core, cache->septum, myco_str(key), &options, done, asked);
    } else {
        fill(value, asked->key, ++cache->written);
        if (dice == 5) options.ttl_ms = 200;
        myco_core_put(
            core, cache->septum, myco_str(key), myco_bytes(value, SIZE), &options, done, asked);
    }
}

static void created(const struct myco_result *result, void *data)
{
    struct sim_cache *cache = data;
    cache->creating = false;
    if (result->status == 0) cache->septum = result->version;
}

static void act(void *data)
{
    struct sim_cache *cache = data;
    struct sim_world *world = cache->world;
    if (cache->stopped || world->violation[0]) {
        cache->running = false;
        return;
    }
    unsigned host =
        (unsigned)myco_sim_random_below(myco_sim_random(world->sim), world->options.nodes);
    struct myco_core *core = world->nodes[host].core;
    if (core && myco_core_ready(core) && !myco_sim_paused(world->sim, host)) {
        if (cache->septum) {
            ask(cache, core);
        } else if (!cache->creating) {
            cache->creating = true;
            myco_core_septum(core, cache->name, cache->spec, 3000, created, cache);
        }
    }
    myco_sim_at(world->sim, THINK_MS * MYCO_SIM_MS / world->options.nodes, act, cache);
}

void sim_cache_start(struct sim_cache *cache)
{
    cache->stopped = false;
    if (cache->running) return;
    cache->running = true;
    myco_sim_at(cache->world->sim, 0, act, cache);
}

void sim_cache_stop(struct sim_cache *cache)
{
    cache->stopped = true;
}

void sim_cache_last(struct sim_cache *cache)
{
    cache->served = 0;
}

static void read_key(struct sim_cache *cache, struct myco_core *core, unsigned number)
{
    struct asked *asked = myco_alloc(sizeof *asked);
    char key[16];
    *asked = (struct asked){cache, number};
    snprintf(key, sizeof key, "c%u", number);
    cache->under_way++;
    myco_core_get(core, cache->septum, myco_str(key), TIMEOUT_MS, got, asked);
}

bool sim_cache_served(struct sim_cache *cache)
{
    struct sim_world *world = cache->world;
    if (!cache->septum || cache->served == (UINT32_C(1) << KEYS) - 1) return true;
    for (unsigned i = 0; i < world->options.nodes && !cache->under_way; i++) {
        if (!world->nodes[i].core || !myco_core_ready(world->nodes[i].core)) continue;
        for (unsigned key = 0; key < KEYS; key++)
            if (!(cache->served >> key & 1)) read_key(cache, world->nodes[i].core, key);
    }
    return false;
}

bool sim_cache_idle(const struct sim_cache *cache)
{
    return cache->under_way == 0;
}
