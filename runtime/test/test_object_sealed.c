/* Catches: contents that can be read in the store, an object that was changed, cut, lengthened, or
 * put under another name and is believed, a range that comes from another place, a key that was
 * rotated out and does not open any more, an error that does not say which key is wanted. */
#include "object/sealed.h"

#include "object/manifest.h"
#include "object_conformance.h"
#include "object_world.h"

#define CHUNK 65536

static bool wait_for(bool *done, void *data)
{
    return object_world_wait(data, done);
}

static struct myco_store_keys keys_of(int first, int second)
{
    struct myco_store_keys keys = {.count = second ? 2 : 1};
    memset(&keys.keys[0], first, sizeof keys.keys[0]);
    memset(&keys.keys[1], second, sizeof keys.keys[1]);
    return keys;
}

static struct conformance open_with(struct object_world *world, struct myco_store_keys keys)
{
    struct myco_object *file = myco_object_file(world->env, world->disk);
    return (struct conformance){
        keys.count ? myco_object_sealed(file, &keys) : file, wait_for, world};
}

static void close_run(struct conformance *run)
{
    run->store->ops->close(run->store);
}

static void conform(struct object_world *world)
{
    struct conformance run = open_with(world, keys_of(1, 0));
    conformance_run(&run);
    close_run(&run);
}

static void fill(struct myco_buf *buf, size_t size)
{
    for (size_t i = 0; i < size; i++) myco_buf_u8(buf, (uint8_t)(i * 7 + i / 251));
}

/* At, before and after the borders of chunks. */
static void ranges(struct object_world *world)
{
    static const uint64_t sizes[] = {1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 77};
    struct conformance run = open_with(world, keys_of(1, 0));
    struct conformance_answer answer = {0};
    unsigned wrong = 0, looked = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct myco_buf bytes = {0};
        fill(&bytes, sizes[i]);
        conformance_put(&run, &answer, "d/r", myco_buf_as_slice(&bytes), 0);
        for (uint64_t from = 0; from < sizes[i]; from += CHUNK / 2 - 1) {
            uint64_t size = CHUNK + 3, left = sizes[i] - from;
            int rc = conformance_get(&run, &answer, "d/r", from, size);
            uint64_t want = left < size ? left : size;
            wrong += rc != 0 || answer.bytes.size != want ||
                     memcmp(answer.bytes.data, bytes.data + from, want) != 0;
            looked++;
        }
        myco_buf_free(&bytes);
    }
    is_int(wrong, 0, "%s: %u ranges", world->name, looked);
    conformance_del(&run, &answer, "d/r");
    conformance_reset(&answer);
    close_run(&run);
}

/* Every way to touch what lies in the store. */
static void damage(struct object_world *world)
{
    struct conformance run = open_with(world, keys_of(1, 0)), raw;
    struct conformance_answer answer = {0}, stored = {0};
    struct myco_buf bytes = {0};
    fill(&bytes, 2 * CHUNK + 9);
    conformance_put(&run, &answer, "d/x", myco_buf_as_slice(&bytes), 0);
    close_run(&run);
    raw = open_with(world, (struct myco_store_keys){0});
    conformance_get(&raw, &stored, "d/x", 0, 0);
    ok(memmem(stored.bytes.data, stored.bytes.size, bytes.data, 16) == NULL,
        "%s: nothing is to be read in it", world->name);
    struct myco_buf touched[8] = {0};
    for (int i = 0; i < 8; i++) myco_buf_bytes(&touched[i], stored.bytes.data, stored.bytes.size);
    touched[0].data[20] ^= 1;                  /* the salt */
    touched[1].data[40] ^= 1;                  /* the first chunk */
    touched[2].data[touched[2].size - 1] ^= 1; /* the last tag */
    touched[3].size -= 9 + 16;                 /* the last chunk is gone */
    touched[4].size -= 1;                      /* a byte is gone */
    touched[5].size = 32;                      /* only the header */
    myco_buf_u8(&touched[6], 0);               /* a byte more */
    memmove(touched[7].data + 32, touched[7].data + 32 + CHUNK + 16, CHUNK + 16); /* chunk 2 as 1 */
    for (int i = 0; i < 8; i++) {
        conformance_put(&raw, &answer, "d/x", myco_buf_as_slice(&touched[i]), 0);
        run = open_with(world, keys_of(1, 0));
        is_int(conformance_get(&run, &answer, "d/x", 0, 0), MYCO_ECORRUPT, "%s: damage %d: %s",
            world->name, i, answer.message);
        close_run(&run);
        myco_buf_free(&touched[i]);
    }
    conformance_put(&raw, &answer, "d/y", myco_buf_as_slice(&stored.bytes), 0);
    run = open_with(world, keys_of(1, 0));
    is_int(conformance_get(&run, &answer, "d/y", 0, 0), MYCO_ECORRUPT, "%s: under another name",
        world->name);
    conformance_del(&run, &answer, "d/x");
    conformance_del(&run, &answer, "d/y");
    close_run(&run);
    close_run(&raw);
    conformance_reset(&answer);
    conformance_reset(&stored);
    myco_buf_free(&bytes);
}

static void rotate(struct object_world *world)
{
    struct conformance run = open_with(world, keys_of(1, 0));
    struct conformance_answer answer = {0};
    struct myco_store_keys old = keys_of(1, 0);
    char id[32];
    snprintf(id, sizeof id, "%016llx", (unsigned long long)myco_seal_fingerprint(&old.keys[0]));
    conformance_put(&run, &answer, "d/old", myco_str("before"), 0);
    close_run(&run);
    run = open_with(world, keys_of(2, 1));
    is_int(conformance_get(&run, &answer, "d/old", 0, 0), 0, "%s: an old key opens", world->name);
    conformance_put(&run, &answer, "d/new", myco_str("after"), 0);
    close_run(&run);
    run = open_with(world, keys_of(2, 0));
    is_int(conformance_get(&run, &answer, "d/new", 0, 0), 0, "%s: the first seals", world->name);
    is_int(conformance_get(&run, &answer, "d/old", 1, 2), MYCO_EDENIED, "%s: a key that is gone",
        world->name);
    ok(strstr(answer.message, id) != NULL, "%s: is named: %s", world->name, answer.message);
    close_run(&run);
    run = open_with(world, (struct myco_store_keys){0});
    conformance_get(&run, &answer, "d/new", 0, 0);
    struct myco_manifest manifest;
    struct myco_err err = {0};
    is_int(myco_manifest_decode(&manifest, myco_buf_as_slice(&answer.bytes), &err), MYCO_EDENIED,
        "%s: without keys: %s", world->name, err.message);
    conformance_put(&run, &answer, "d/plain", myco_str("plain text"), 0);
    close_run(&run);
    run = open_with(world, keys_of(2, 0));
    is_int(conformance_get(&run, &answer, "d/plain", 0, 0), MYCO_EDENIED,
        "%s: what is not sealed is not believed", world->name);
    close_run(&run);
    struct myco_store_keys changing = keys_of(2, 1);
    changing.plain = true;
    run = open_with(world, changing);
    ok(conformance_get(&run, &answer, "d/plain", 2, 3) == 0 && conformance_holds(&answer, "ain"),
        "%s: but while the store changes over", world->name);
    conformance_del(&run, &answer, "d/plain");
    conformance_del(&run, &answer, "d/old");
    conformance_del(&run, &answer, "d/new");
    conformance_reset(&answer);
    close_run(&run);
}

int main(void)
{
    struct object_world world;
    object_world_sim(&world, 1, 1);
    conform(&world);
    ranges(&world);
    damage(&world);
    rotate(&world);
    object_world_close(&world);
    object_world_uv(&world);
    conform(&world);
    object_world_close(&world);
    return plan_done();
}
