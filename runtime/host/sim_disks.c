/* Disks that fail: slow ones, full ones, ones that return errors, ones that rot, and a power
 * failure of all machines at once, which leaves only what was synced. What a node can't bear it
 * must say, never believe: one that stops is started again, one that refuses its damaged data gets
 * an empty disk and joins as a new identity.
 *
 * Rot takes the only copy of nothing: a bit is inverted only while every hypha has another in-sync
 * copy and every voter is there, on a node that dies and starts at that instant. Damage that such a
 * start did not notice is taken back: it lay where nothing was read. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "host/sim_world.h"

#define EVERY_MS 2500 /* mean time between two faults */
#define ROT_MAX  8    /* tries to find a good moment, for each fault of this kind */

enum fault { SLOW, FULL, BROKEN, ROT, STORE_ERRORS, DARK, FAULT_COUNT };

struct sim_disks {
    struct sim_world *world;
    struct myco_sim_random random, more;
    uint64_t until_ns;
    uint64_t struck[FAULT_COUNT], refused, flipped;
    bool healed;
};

struct sim_disks *sim_disks_new(struct sim_world *world)
{
    struct sim_disks *disks = myco_alloc(sizeof *disks);
    disks->world = world;
    myco_sim_random_init(&disks->random, world->options.seed, 77);
    myco_sim_random_init(&disks->more, world->options.seed, 79);
    return disks;
}

void sim_disks_free(struct sim_disks *disks)
{
    myco_free(disks);
}

static struct myco_sim_disk_options usual(const struct sim_world *world, bool shared)
{
    struct myco_sim_options options;
    myco_sim_options_init(&options, world->options.seed, world->options.nodes);
    return shared ? options.shared : options.disk;
}

static void mend(struct sim_world *world, unsigned host)
{
    struct myco_sim_disk_options disk = usual(world, false), shared = usual(world, true);
    myco_sim_disk_options(myco_sim_disk(world->sim, host), &disk);
    myco_sim_disk_options(myco_sim_shared_disk(world->sim, host), &shared);
}

static void mend_later(void *data)
{
    struct sim_node *node = data;
    mend(node->world, node->host);
}

/* ── rot ── */

static bool holds_now(const struct sim_world *world, const struct myco_holder *holder)
{
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (world->nodes[i].core && world->nodes[i].identity.id == holder->node)
            return world->nodes[i].identity.generation == holder->generation;
    return false;
}

static bool has_spare(const struct sim_world *world, const struct myco_hypha_record *hypha)
{
    if (hypha->from_store || !hypha->set.primary || hypha->set.in_sync_count < 2) return false;
    for (uint8_t i = 0; i < hypha->set.in_sync_count; i++)
        if (!holds_now(world, &hypha->set.in_sync[i])) return false;
    return true;
}

static bool voters_are_here(const struct sim_world *world, struct myco_core *core)
{
    struct myco_log_server servers[64];
    size_t count = myco_rlog_servers(core->log, servers, 64), voters = 0;
    for (size_t i = 0; i < count; i++) {
        bool here = false;
        for (unsigned n = 0; n < world->options.nodes; n++)
            here |= world->nodes[n].core && world->nodes[n].identity.id == servers[i].id;
        if (!here) return false;
        voters += servers[i].role == MYCO_ROLE_VOTER;
    }
    return voters >= 3;
}

/* No change of a set is on its way: one that leaves the damaged copy alone could still come. */
static bool settled(struct myco_core *core, const struct myco_core *best)
{
    return myco_commands_pending(core->commands) == 0 &&
           myco_rlog_last_index(core->log) <= myco_rlog_applied_index(best->log);
}

/* Judged by whoever knows most. */
static bool may_lose_one(const struct sim_world *world)
{
    struct myco_core *best = NULL;
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct myco_core *core = world->nodes[i].core;
        if (!core || !core->ready || world->nodes[i].failed || world->nodes[i].damaged ||
            world->nodes[i].leaving)
            return false;
        if (!best || myco_rlog_applied_index(core->log) > myco_rlog_applied_index(best->log))
            best = core;
    }
    if (!best || !voters_are_here(world, best)) return false;
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (!settled(world->nodes[i].core, best)) return false;
    for (uint32_t s = 0; s < best->state->septum_count; s++) {
        const struct myco_septum_record *septum = best->state->septa[s];
        if (septum->options.kind != MYCO_SEPTUM_DURABLE) continue;
        for (uint32_t h = 0; h < septum->options.hyphae; h++)
            if (!has_spare(world, &septum->hyphae[h])) return false;
    }
    return true;
}

struct pick {
    struct sim_disks *disks;
    char path[128];
    uint64_t offset, size;
};

static void pick_byte(int status, const struct myco_disk_entry *entries, size_t count, void *data)
{
    struct pick *pick = data;
    (void)status;
    pick->size = 0;
    if (!count) return;
    const struct myco_disk_entry *entry =
        &entries[myco_sim_random_below(&pick->disks->random, count)];
    snprintf(pick->path, sizeof pick->path, "%s", entry->path);
    pick->size = entry->size;
    pick->offset = myco_sim_random_below(&pick->disks->random, entry->size);
}

static int byte_at(struct myco_disk *disk, const struct pick *pick)
{
    struct myco_file *file;
    struct myco_err err = {0};
    uint8_t byte = 0;
    uint64_t size = 0;
    size_t got = 0;
    if (disk->ops->open(disk, pick->path, 0, &file, &err)) return -1;
    int rc = disk->ops->size(file, &size);
    if (rc == 0) rc = disk->ops->read(file, pick->offset, &byte, 1, &got);
    disk->ops->close(file);
    return rc || got != 1 || size != pick->size ? -1 : byte;
}

static void rot(void *data)
{
    struct sim_node *node = data;
    struct sim_world *world = node->world;
    struct sim_disks *disks = world->disks;
    struct myco_disk *disk = myco_sim_disk(world->sim, node->host);
    struct pick pick = {.disks = disks};
    if (disks->healed || !may_lose_one(world)) return;
    disk->ops->list_now(disk, "", pick_byte, &pick);
    if (!pick.size) return;
    int before = byte_at(disk, &pick);
    myco_sim_crash(world->sim, node->host, MYCO_SIM_KILL);
    unsigned bit = (unsigned)myco_sim_random_below(&disks->random, 8);
    if (!myco_sim_disk_flip(disk, pick.path, pick.offset, bit)) {
        myco_sim_start(world->sim, node->host);
        return;
    }
    myco_sim_note(world->sim, node->host, "bit %u of byte %llu of %s (%llu bytes) is inverted", bit,
        (unsigned long long)pick.offset, pick.path, (unsigned long long)pick.size);
    disks->struck[ROT]++;
    node->damaged = true;
    myco_sim_start(world->sim, node->host);
    bool refused = !node->core || node->failed;
    disks->refused += refused;
    if (refused) return; /* a new disk comes */
    node->damaged = false;
    if (before >= 0 && byte_at(disk, &pick) == (before ^ 1 << bit))
        myco_sim_disk_flip(disk, pick.path, pick.offset, bit);
}

/* ── the power of all machines ── just after some of them became slow to sync */

static void fail_power(void *data)
{
    struct sim_disks *disks = data;
    struct sim_world *world = disks->world;
    if (disks->healed) return;
    disks->struck[DARK]++;
    for (unsigned i = 0; i < world->options.nodes; i++) {
        uint64_t ms = myco_sim_random_between(&disks->random, 20, 4000);
        if (!myco_sim_up(world->sim, i)) continue;
        myco_sim_crash(world->sim, i, MYCO_SIM_POWER);
        sim_node_restart(&world->nodes[i], ms);
    }
}

static void strike_power(struct sim_disks *disks)
{
    struct sim_world *world = disks->world;
    struct myco_sim_disk_options options = usual(world, false);
    uint64_t ms = myco_sim_random_between(&disks->random, 100, 800);
    options.tail_ppm = 500000;
    options.sync_tail_ns = 300 * MYCO_SIM_MS;
    for (unsigned i = 0; i < world->options.nodes; i++) {
        if (myco_sim_random_below(&disks->random, 2)) continue;
        myco_sim_disk_options(myco_sim_disk(world->sim, i), &options);
        myco_sim_at(world->sim, 2 * ms * MYCO_SIM_MS, mend_later, &world->nodes[i]);
    }
    myco_sim_at(world->sim, ms * MYCO_SIM_MS, fail_power, disks);
}

/* ── the others ── */

static void strike_rot(struct sim_disks *disks, struct sim_node *node)
{
    for (uint64_t i = 0; i < ROT_MAX; i++)
        myco_sim_at(disks->world->sim, i * 300 * MYCO_SIM_MS + 1, rot, node);
}

static void strike(struct sim_disks *disks, enum fault fault, struct sim_node *node)
{
    struct sim_world *world = disks->world;
    bool shared = fault == STORE_ERRORS;
    struct myco_disk *disk = shared ? myco_sim_shared_disk(world->sim, node->host)
                                    : myco_sim_disk(world->sim, node->host);
    struct myco_sim_disk_options options = usual(world, shared);
    uint64_t ms = myco_sim_random_between(&disks->random, 100, 2500);
    if (fault == ROT || fault == DARK) {
        if (fault == ROT)
            strike_rot(disks, node);
        else
            strike_power(disks);
        return;
    }
    if (fault == SLOW) {
        options.tail_ppm = 200000;
        options.sync_tail_ns = myco_sim_random_between(&disks->random, 50, 600) * MYCO_SIM_MS;
    } else if (fault == FULL) {
        uint64_t left = myco_sim_random_below(&disks->random, 20000);
        options.size_max = myco_sim_disk_size(disk) + left;
    } else {
        options.error_ppm = (uint32_t)myco_sim_random_between(&disks->random, 1000, 100000);
    }
    disks->struck[fault]++;
    myco_sim_note(world->sim, node->host, "its disk is %s for %llu ms",
        (const char *[]){"slow", "full", "broken", "rotten", "broken (shared)", "dark"}[fault],
        (unsigned long long)ms);
    myco_sim_disk_options(disk, &options);
    myco_sim_at(world->sim, ms * MYCO_SIM_MS, mend_later, node);
}

/* What one host reads from the store has wrong bits, for a while. */
static void flip_store(void *data)
{
    struct sim_disks *disks = data;
    struct sim_world *world = disks->world;
    struct myco_sim_disk_options options = usual(world, true);
    unsigned host = (unsigned)myco_sim_random_below(&disks->more, world->options.nodes);
    uint64_t ms = myco_sim_random_between(&disks->more, 100, 2500);
    options.flip_ppm = (uint32_t)myco_sim_random_between(&disks->more, 10000, 500000);
    if (disks->healed || myco_sim_now_ns(world->sim) >= disks->until_ns) return;
    disks->flipped++;
    myco_sim_note(
        world->sim, host, "reads wrong bits from the store for %llu ms", (unsigned long long)ms);
    myco_sim_disk_options(myco_sim_shared_disk(world->sim, host), &options);
    myco_sim_at(world->sim, ms * MYCO_SIM_MS, mend_later, &world->nodes[host]);
    uint64_t wait_ms = myco_sim_random_between(&disks->more, 1, 4 * EVERY_MS);
    myco_sim_at(world->sim, wait_ms * MYCO_SIM_MS, flip_store, disks);
}

static void again(void *data)
{
    struct sim_disks *disks = data;
    struct sim_world *world = disks->world;
    uint64_t wait_ms = myco_sim_random_between(&disks->random, 1, 2 * EVERY_MS);
    enum fault fault = (enum fault)myco_sim_random_below(&disks->random, FAULT_COUNT);
    unsigned host = (unsigned)myco_sim_random_below(&disks->random, world->options.nodes);
    if (disks->healed || myco_sim_now_ns(world->sim) >= disks->until_ns) return;
    bool can = (fault != ROT || (world->options.nodes > 2 && !sim_is_loose(world))) &&
               (fault != STORE_ERRORS || world->options.store);
    if (can) strike(disks, fault, &world->nodes[host]);
    myco_sim_at(world->sim, wait_ms * MYCO_SIM_MS, again, disks);
}

void sim_disks_start(struct sim_world *world, uint64_t until_ms)
{
    world->disks->until_ns = myco_sim_now_ns(world->sim) + until_ms * MYCO_SIM_MS;
    myco_sim_at(world->sim, EVERY_MS * MYCO_SIM_MS / 2, again, world->disks);
    if (world->options.all_faults && world->options.store)
        myco_sim_at(world->sim, EVERY_MS * MYCO_SIM_MS, flip_store, world->disks);
}

void sim_disks_heal(struct sim_world *world)
{
    world->disks->healed = true;
    if (!world->options.disk_faults) return;
    for (unsigned i = 0; i < world->options.nodes; i++) mend(world, i);
}

void sim_disks_report(struct sim_world *world, FILE *file)
{
    const struct sim_disks *disks = world->disks;
    if (!world->options.disk_faults) return;
    fprintf(file,
        "  disks: %llu slow, %llu full, %llu broken, %llu rotten (%llu refused), %llu errors of "
        "the store (%llu times wrong bits), %llu power failures\n",
        (unsigned long long)disks->struck[SLOW], (unsigned long long)disks->struck[FULL],
        (unsigned long long)disks->struck[BROKEN], (unsigned long long)disks->struck[ROT],
        (unsigned long long)disks->refused, (unsigned long long)disks->struck[STORE_ERRORS],
        (unsigned long long)disks->flipped, (unsigned long long)disks->struck[DARK]);
}
