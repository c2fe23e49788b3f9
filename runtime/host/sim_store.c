/* The manifests in the object store, read as an operator's tool would; and the loss of all nodes.
 *
 * Every manifest that is kept can be read, says what its key says, follows one that is there, is
 * followed by at most one, and what it names exists with the checksum that it says. After a loss of
 * everything the cluster comes back as a higher incarnation, and with every key (which the clients'
 * history shows, as it goes on). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "host/sim_world.h"

struct walk {
    struct sim_world *world;
    struct myco_disk *disk;
    char **keys;
    size_t count;
    struct myco_map followed; /* hash of a manifest's key → it has a successor */
    bool begun;               /* an older manifest is kept */
    struct myco_map sound;    /* hash of (object, section) → its checksum was right */
};

static void keep(int status, const struct myco_disk_entry *entries, size_t count, void *data)
{
    struct walk *walk = data;
    (void)status;
    walk->keys = myco_alloc((count + 1) * sizeof *walk->keys);
    for (size_t i = 0; i < count; i++) walk->keys[i] = myco_strdup(entries[i].path);
    walk->count = count;
}

/* The keys are sorted, and so by (epoch, sequence). */
static void open_walk(struct walk *walk, struct sim_world *world)
{
    *walk = (struct walk){.world = world, .disk = myco_sim_shared_disk(world->sim, 0)};
    walk->disk->ops->list_now(walk->disk, "m/", keep, walk);
}

static void close_walk(struct walk *walk)
{
    for (size_t i = 0; i < walk->count; i++) myco_free(walk->keys[i]);
    myco_free(walk->keys);
    myco_map_free(&walk->followed);
    myco_map_free(&walk->sound);
}

static bool has_key(const struct walk *walk, const char *key)
{
    for (size_t i = 0; i < walk->count; i++)
        if (strcmp(walk->keys[i], key) == 0) return true;
    return false;
}

static int read_object(
    const struct walk *walk, const char *key, uint64_t at, uint64_t size, struct myco_buf *out)
{
    struct myco_file *file;
    struct myco_err err = {0};
    uint64_t whole = 0;
    size_t got = 0;
    int rc = walk->disk->ops->open(walk->disk, key, 0, &file, &err);
    if (rc) return rc;
    rc = walk->disk->ops->size(file, &whole);
    if (size == 0) size = whole;
    myco_buf_clear(out);
    if (rc == 0 && at + size > whole) rc = MYCO_ECORRUPT;
    if (rc == 0 && myco_buf_reserve(out, size))
        rc = walk->disk->ops->read(file, at, out->data, size, &got);
    out->size = got;
    walk->disk->ops->close(file);
    return rc;
}

/* ── one manifest ── */

static void check_section(struct walk *walk, const struct myco_manifest *manifest,
    const struct myco_section *section, const char *key)
{
    const char *object = manifest->objects[section->object].key;
    uint64_t hash = myco_hash(object, strlen(object));
    hash = myco_hash_mix(myco_hash_mix(hash, section->at), section->crc);
    struct myco_buf bytes = {0};
    if (myco_map_get(&walk->sound, hash)) return;
    int rc = read_object(walk, object, section->at, section->size, &bytes);
    if (rc || myco_crc32c(0, bytes.data, bytes.size) != section->crc)
        sim_violated(walk->world, "%s names %s, which is %s", key, object,
            rc == MYCO_ENOTFOUND ? "not there" : "damaged");
    myco_map_put(&walk->sound, hash, walk);
    myco_buf_free(&bytes);
}

static void check_hypha(struct walk *walk, const struct myco_manifest *manifest,
    const struct myco_manifest_hypha *hypha, const char *key)
{
    uint64_t to = 0;
    for (uint32_t s = 0; s < hypha->section_count; s++) {
        const struct myco_section *section = &hypha->sections[s];
        if (!section->snapshot && section->from != to)
            sim_violated(walk->world, "%s: hypha %u of septum %llu has a gap from %llu to %llu",
                key, hypha->hypha, (unsigned long long)hypha->septum, (unsigned long long)to,
                (unsigned long long)section->from);
        if (s > 0 && section->snapshot)
            sim_violated(walk->world, "%s: a snapshot comes after other sections", key);
        to = section->to;
        check_section(walk, manifest, section, key);
    }
}

/* A seal ends its chain; a manifest names the one that it continues. */
static void check_place(struct walk *walk, const struct myco_manifest *manifest, size_t at)
{
    const char *key = walk->keys[at];
    uint64_t epoch = 0, sequence = 0, next_epoch = 0, next_sequence = 0;
    if (!myco_manifest_key_parse(key, &epoch, &sequence) || manifest->epoch != epoch ||
        manifest->sequence != sequence) {
        sim_violated(walk->world, "%s says that it is %llx/%llx", key,
            (unsigned long long)manifest->epoch, (unsigned long long)manifest->sequence);
        return;
    }
    if (at + 1 < walk->count)
        myco_manifest_key_parse(walk->keys[at + 1], &next_epoch, &next_sequence);
    if (sequence == 0 && (!manifest->seal || manifest->sealed_by != epoch))
        sim_violated(walk->world, "%s is not a claim", key);
    if (sequence > 0 && manifest->seal && next_epoch == epoch)
        sim_violated(walk->world, "%s is a seal, and %s follows it", key, walk->keys[at + 1]);
    if (sequence > 0 && manifest->seal && manifest->sealed_by <= epoch)
        sim_violated(walk->world, "%s is sealed by an older epoch", key);
    if (manifest->seal || !manifest->previous || !*manifest->previous) return;
    uint64_t previous = myco_hash(manifest->previous, strlen(manifest->previous));
    bool first = !walk->begun; /* those before it may have been pruned */
    walk->begun = true;
    if (!first && !has_key(walk, manifest->previous))
        sim_violated(walk->world, "%s follows %s, which is not there", key, manifest->previous);
    if (strcmp(manifest->previous, key) >= 0)
        sim_violated(walk->world, "%s follows %s, which is not older", key, manifest->previous);
    if (myco_map_put(&walk->followed, previous, walk))
        sim_violated(walk->world, "two manifests follow %s", manifest->previous);
}

static bool read_manifest(struct walk *walk, size_t at, struct myco_manifest *manifest)
{
    struct myco_buf bytes = {0};
    struct myco_err err = {0};
    int rc = read_object(walk, walk->keys[at], 0, 0, &bytes);
    if (rc == 0) rc = myco_manifest_decode(manifest, myco_buf_as_slice(&bytes), &err);
    myco_buf_free(&bytes);
    if (rc) sim_violated(walk->world, "%s can't be read: %s", walk->keys[at], err.message);
    return rc == 0;
}

void sim_store_check(struct sim_world *world)
{
    struct walk walk;
    open_walk(&walk, world);
    for (size_t i = 0; i < walk.count && !world->violation[0]; i++) {
        struct myco_manifest manifest = {0};
        if (!read_manifest(&walk, i, &manifest)) break;
        check_place(&walk, &manifest, i);
        for (uint32_t h = 0; h < manifest.hypha_count; h++)
            check_hypha(&walk, &manifest, &manifest.hyphae[h], walk.keys[i]);
        myco_manifest_free(&manifest);
    }
    close_walk(&walk);
}

/* ── is everything in the newest one? ── */

static bool newest(struct walk *walk, struct myco_manifest *manifest)
{
    for (size_t i = walk->count; i-- > 0;) {
        if (!read_manifest(walk, i, manifest)) return false;
        if (!manifest->seal) return true;
        myco_manifest_free(manifest);
    }
    return false;
}

static uint64_t held_to(const struct myco_manifest *manifest, const struct core_hypha *copy)
{
    for (uint32_t h = 0; h < manifest->hypha_count; h++) {
        const struct myco_manifest_hypha *hypha = &manifest->hyphae[h];
        if (hypha->septum == copy->septum && hypha->hypha == copy->index && hypha->section_count)
            return hypha->sections[hypha->section_count - 1].to;
    }
    return 0;
}

static bool holds_all(const struct sim_world *world, const struct myco_manifest *manifest)
{
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct myco_core *core = world->nodes[i].core;
        if (!core) return false;
        MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) {
            const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
            if (!septum || septum->options.kind != MYCO_SEPTUM_DURABLE) continue;
            if (copy->loading_epoch) return false;
            if (held_to(manifest, copy) < myco_hypha_committed(copy->hypha)) return false;
        }
    }
    return true;
}

/* ── does anything lie around? ── */

static bool lives(const struct sim_world *world, const char *key)
{
    char prefix[64];
    for (unsigned i = 0; i < world->options.nodes; i++) {
        const struct myco_identity *identity = &world->nodes[i].identity;
        snprintf(prefix, sizeof prefix, "d/%016llx/%llu-", (unsigned long long)identity->id,
            (unsigned long long)identity->generation);
        if (strncmp(key, prefix, strlen(prefix)) == 0) return true;
    }
    return false;
}

static bool names(const struct myco_manifest *manifest, const char *key)
{
    for (uint32_t i = 0; i < manifest->object_count; i++)
        if (strcmp(manifest->objects[i].key, key) == 0) return true;
    for (uint32_t i = 0; i < manifest->dropped_count; i++)
        if (strcmp(manifest->dropped[i], key) == 0) return true;
    return false;
}

/* After enough time: what no manifest names is of lives that go on. Returns how many objects there
 * are. */
size_t sim_store_orphans(struct sim_world *world)
{
    struct walk walk, data = {.world = world};
    struct myco_manifest manifest = {0};
    open_walk(&walk, world);
    data.disk = walk.disk;
    data.disk->ops->list_now(data.disk, "d/", keep, &data);
    bool there = newest(&walk, &manifest);
    for (size_t i = 0; there && i < data.count; i++)
        if (!names(&manifest, data.keys[i]) && !lives(world, data.keys[i]))
            sim_violated(world, "%s is an orphan, and was not collected", data.keys[i]);
    size_t count = data.count;
    myco_manifest_free(&manifest);
    close_walk(&data);
    close_walk(&walk);
    return count;
}

/* Asked after each event: looks at the store only now and then. */
bool sim_store_complete(struct sim_world *world)
{
    struct walk walk;
    struct myco_manifest manifest = {0};
    if (myco_sim_events(world->sim) % 256) return false;
    open_walk(&walk, world);
    bool complete = newest(&walk, &manifest) && holds_all(world, &manifest);
    myco_manifest_free(&manifest);
    close_walk(&walk);
    return complete;
}

/* ── all nodes lose everything ── */

void sim_store_restore(struct sim_world *world)
{
    uint64_t incarnation = 0;
    world->wiping = true;
    for (unsigned i = 0; i < world->options.nodes; i++) {
        const struct myco_core *core = world->nodes[i].core;
        if (core && core->state->incarnation > incarnation) incarnation = core->state->incarnation;
        if (myco_sim_up(world->sim, i)) myco_sim_crash(world->sim, i, MYCO_SIM_POWER);
        myco_sim_disk_wipe(myco_sim_disk(world->sim, i));
    }
    myco_sim_note(world->sim, 0, "all nodes have lost everything");
    world->wiping = false;
    sim_check_reborn(world);
    world->reborn_after = incarnation;
    myco_sim_run(world->sim, 100);
    for (unsigned i = 0; i < world->options.nodes; i++) myco_sim_start(world->sim, i);
}
