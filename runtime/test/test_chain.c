/* Catches: two writers of one chain, an old one that overwrites or is believed, a manifest that was
 * written and is taken for lost, damage that is passed over in silence, and objects deleted that
 * somebody may still read. */
#include "object/chain.h"

#include "object_conformance.h"
#include "object_faulty.h"
#include "object_world.h"

static struct object_world world;

struct result {
    bool done;
    int status;
    unsigned calls;
    char message[252];
    bool there;
    struct myco_manifest manifest;
};

static void reset(struct result *result)
{
    myco_manifest_free(&result->manifest);
    memset(result, 0, sizeof(*result));
}

static void on_done(int status, const char *message, void *data)
{
    struct result *result = data;
    result->status = status;
    result->calls++;
    snprintf(result->message, sizeof(result->message), "%s", message);
    result->done = true;
}

static void on_manifest(int status, const char *message, struct myco_manifest *manifest, void *data)
{
    struct result *result = data;
    if (manifest != NULL) {
        result->manifest = *manifest;
        result->there = true;
        memset(manifest, 0, sizeof(*manifest));
    }
    on_done(status, message, data);
}

static int end(struct result *result)
{
    if (result->done) return MYCO_EPROTO; /* inside of the call */
    return object_world_wait(&world, &result->done) ? result->status : MYCO_ETIMEDOUT;
}

static int take_over(struct myco_chain *chain, uint64_t epoch, struct result *result)
{
    reset(result);
    myco_chain_take_over(chain, epoch, on_manifest, result);
    return end(result);
}

static int latest(struct myco_chain *chain, struct result *result)
{
    reset(result);
    myco_chain_latest(chain, on_manifest, result);
    return end(result);
}

static int claim(struct myco_chain *chain, uint64_t cluster, struct result *result)
{
    reset(result);
    myco_chain_claim(chain, cluster, on_manifest, result);
    return end(result);
}

/* A manifest that says `text`, and drops one key. */
static void start_write(
    struct myco_chain *chain, const char *text, const char *dropped, struct result *result)
{
    struct myco_manifest manifest = {0};
    reset(result);
    myco_buf_bytes(&manifest.definitions, text, strlen(text));
    if (dropped != NULL) {
        manifest.dropped = myco_alloc(sizeof(char *));
        manifest.dropped[0] = myco_strdup(dropped);
        manifest.dropped_count = 1;
    }
    myco_chain_write(chain, &manifest, on_done, result);
    myco_manifest_free(&manifest);
}

static int write_dropping(struct myco_chain *chain, const char *text, const char *dropped)
{
    struct result result = {0};
    start_write(chain, text, dropped, &result);
    return end(&result);
}

static int write_text(struct myco_chain *chain, const char *text)
{
    return write_dropping(chain, text, NULL);
}

static bool says(const struct result *result, const char *text)
{
    const struct myco_buf *definitions = &result->manifest.definitions;
    return result->there && definitions->size == strlen(text) &&
           memcmp(definitions->data, text, definitions->size) == 0;
}

static struct myco_object *open_store(void)
{
    return myco_object_file(world.env, world.disk);
}

static bool exists(const char *key)
{
    struct conformance_answer answer = {0};
    struct myco_object *store = open_store();
    store->ops->get(store, key, 0, 0, conformance_on_get, &answer);
    object_world_wait(&world, &answer.done);
    int status = answer.status;
    conformance_reset(&answer);
    store->ops->close(store);
    return status == 0;
}

static void put_key(const char *key, struct myco_slice bytes)
{
    if (world.disk->ops->put_now(world.disk, key, bytes) != 0) bail_out("put %s", key);
}

static void empty_store(void)
{
    struct conformance_answer answer = {0};
    struct myco_object *store = open_store();
    do {
        conformance_reset(&answer);
        store->ops->list(store, "", conformance_on_list, &answer);
        object_world_wait(&world, &answer.done);
        for (size_t i = 0; i < answer.count && i < 16; i++)
            world.disk->ops->remove(world.disk, answer.keys[i]);
    } while (answer.count > 0);
    store->ops->close(store);
}

/* ── One writer, then another ───────────────────────────────────────────────────────────────── */

static void test_happy(void)
{
    struct result result = {0};
    struct myco_object *store = open_store();
    struct myco_chain *one = myco_chain_new(store), *two = myco_chain_new(store);
    ok(latest(one, &result) == 0 && !result.there, "an empty store has no manifest");
    is_int(write_text(one, "x"), MYCO_ENOTLEADER, "nobody writes who did not take over");
    ok(take_over(one, 1, &result) == 0 && !result.there, "taking over nothing gives nothing");
    ok(write_text(one, "a") == 0 && write_text(one, "b") == 0 && write_text(one, "c") == 0,
        "three manifests");
    ok(latest(two, &result) == 0 && says(&result, "c"), "anybody reads the last one");
    is_str(
        result.manifest.previous, "m/0000000000000001/0000000000000002", "it names the one before");
    ok(result.manifest.epoch == 1 && result.manifest.sequence == 3 &&
            result.manifest.written_ms > 1500000000000,
        "and itself");
    ok(take_over(two, 2, &result) == 0 && says(&result, "c"), "a new writer starts from it");
    ok(exists("m/0000000000000001/0000000000000004"),
        "the old chain is sealed where it would go on");
    is_int(write_text(two, "d"), 0, "the new one writes");
    is_int(write_text(one, "lost"), MYCO_EFENCED, "the old one does not");
    is_int(write_text(one, "lost"), MYCO_EFENCED, "never again");
    is_int(
        take_over(one, 1, &result), MYCO_EFENCED, "nor does its epoch return (%s)", result.message);
    ok(latest(one, &result) == 0 && says(&result, "d"), "nothing was overwritten");
    is_str(result.manifest.previous, "m/0000000000000001/0000000000000003",
        "the chain goes on over the seal");
    ok(take_over(one, 3, &result) == 0 && says(&result, "d"),
        "with a newer epoch it may write again");
    ok(write_text(one, "e") == 0 && write_text(two, "lost") == MYCO_EFENCED,
        "and the other one may not");
    reset(&result);
    myco_chain_free(one);
    myco_chain_free(two);
    store->ops->close(store);
    empty_store();
}

/* Those who take over and do not write at once. */
static void test_silent_writers(void)
{
    struct result result = {0};
    struct myco_object *store = open_store();
    struct myco_chain *chains[3];
    for (int i = 0; i < 3; i++) chains[i] = myco_chain_new(store);
    is_int(take_over(chains[0], 5, &result), 0, "5 takes over an empty store");
    is_int(take_over(chains[1], 7, &result), 0, "7 takes over, before 5 wrote anything");
    is_int(write_text(chains[0], "lost"), MYCO_EFENCED, "5 is fenced though its chain was empty");
    is_int(take_over(chains[2], 6, &result), MYCO_EFENCED, "6 comes too late (%s)", result.message);
    is_int(take_over(chains[2], 7, &result), MYCO_EFENCED, "one epoch has one writer");
    ok(latest(chains[2], &result) == 0 && !result.there, "no manifest came of all that");
    is_int(write_text(chains[1], "first"), 0, "7 writes");
    is_int(take_over(chains[2], 8, &result), 0, "8 takes over");
    is_int(take_over(chains[0], 9, &result), 0, "9 takes over, before 8 wrote anything");
    ok(says(&result, "first"), "what 7 wrote is the newest");
    is_int(write_text(chains[0], "second"), 0, "9 writes");
    is_str((latest(chains[1], &result), result.manifest.previous),
        "m/0000000000000007/0000000000000001", "behind it");
    is_int(write_text(chains[2], "lost"), MYCO_EFENCED, "8 is fenced");
    is_int(take_over(chains[0], 3, &result), MYCO_EINVAL, "one's own epoch never falls");
    reset(&result);
    for (int i = 0; i < 3; i++) myco_chain_free(chains[i]);
    store->ops->close(store);
    empty_store();
}

/* A leader that wrote, slept through two others, and goes on. */
static void test_older_epoch(void)
{
    struct result result = {0};
    struct myco_object *store = open_store();
    struct myco_chain *chains[3];
    for (int i = 0; i < 3; i++) chains[i] = myco_chain_new(store);
    for (int i = 0; i < 3; i++) {
        is_int(take_over(chains[i], (uint64_t)i + 4, &result), 0, "%d takes over", i + 4);
        is_int(write_text(chains[i], i == 2 ? "newest" : "older"), 0, "and writes");
    }
    for (int i = 0; i < 2; i++) {
        is_int(write_text(chains[i], "stale"), MYCO_EFENCED, "epoch %d writes no more", i + 4);
        is_int(write_text(chains[i], "stale"), MYCO_EFENCED, "however often it tries");
    }
    is_int(take_over(chains[1], 5, &result), MYCO_EFENCED, "nor does it take over again");
    ok(latest(chains[0], &result) == 0 && says(&result, "newest"), "what is read is the newest's");
    is_int(write_text(chains[2], "next"), 0, "which goes on undisturbed");
    reset(&result);
    for (int i = 0; i < 3; i++) myco_chain_free(chains[i]);
    store->ops->close(store);
    empty_store();
}

static void test_race(void)
{
    struct result results[5] = {{0}}, writes[5] = {{0}};
    struct myco_object *store = open_store();
    struct myco_chain *chains[5];
    unsigned written = 0, fenced = 0;
    for (uint64_t i = 0; i < 5; i++) {
        chains[i] = myco_chain_new(store);
        myco_chain_take_over(chains[i], 10 + i, on_manifest, &results[i]);
    }
    for (int i = 0; i < 5; i++) end(&results[i]);
    is_int(results[4].status, 0, "%s: of five at the same time the newest takes over", world.name);
    for (int i = 0; i < 5; i++) start_write(chains[i], "x", NULL, &writes[i]);
    for (int i = 0; i < 5; i++) {
        end(&writes[i]);
        written += writes[i].status == 0;
        fenced += writes[i].status == MYCO_EFENCED;
    }
    ok(writes[4].status == 0 && written == 1 && fenced == 4, "%s: and it alone writes (%u, %u)",
        world.name, written, fenced);
    for (int i = 0; i < 5; i++) {
        reset(&results[i]);
        myco_chain_free(chains[i]);
    }
    store->ops->close(store);
    empty_store();
}

/* ── A store that is unclear about what happened ────────────────────────────────────────────── */

static void test_unclear(void)
{
    struct result result = {0};
    struct faulty *faulty = faulty_new(open_store());
    struct myco_object *store = &faulty->base;
    struct myco_chain *chain = myco_chain_new(store), *other = myco_chain_new(store);
    is_int(take_over(chain, 1, &result), 0, "taken over");
    faulty->next_put = FATE_LOST_ANSWER;
    is_int(write_text(chain, "a"), 0, "a time-out after success is known by its nonce");
    faulty->next_put = FATE_FAIL;
    is_int(write_text(chain, "lost"), MYCO_EIO, "a failure is one");
    is_int(write_text(chain, "b"), 0, "that does not hurt the next");
    ok(latest(chain, &result) == 0 && says(&result, "b") && result.manifest.sequence == 2,
        "the failed one left no gap");
    faulty->next_put = FATE_LATE;
    faulty->late_ms_max = 1;
    is_int(write_text(chain, "late"), MYCO_ETIMEDOUT, "one that comes late is a time-out");
    object_world_settle(&world);
    is_int(write_text(chain, "c"), 0, "the next one goes behind it");
    ok(latest(chain, &result) == 0 && says(&result, "c") && result.manifest.sequence == 4,
        "both are there");
    faulty->next_put = FATE_LOST_ANSWER;
    is_int(take_over(other, 2, &result), 0, "a claim whose answer was lost is known too");
    faulty->next_put = FATE_FAIL;
    is_int(take_over(other, 3, &result), MYCO_EIO, "a take-over can fail");
    ok(take_over(other, 3, &result) == 0 && says(&result, "c"), "and be tried again");
    ok(write_text(other, "d") == 0 && take_over(other, 3, &result) == 0 && says(&result, "d"),
        "even after it wrote");
    is_int(write_text(other, "e"), 0, "and goes on");
    faulty->next_put = FATE_LATE;
    faulty->late_ms_max = 100;
    is_int(write_text(other, "late"), MYCO_ETIMEDOUT, "a late one again,");
    ok(take_over(chain, 4, &result) == 0 && (says(&result, "e") || says(&result, "late")),
        "and somebody else takes over");
    uint64_t sequence = result.manifest.sequence;
    object_world_settle(&world);
    is_int(write_text(chain, "f"), 0, "whatever came first,");
    latest(chain, &result);
    char previous[64];
    myco_manifest_key(previous, 3, sequence);
    is_str(result.manifest.previous, previous,
        "the chain goes through what the new writer started from");
    reset(&result);
    myco_chain_free(chain);
    myco_chain_free(other);
    store->ops->close(store);
    object_world_settle(&world);
    empty_store();
}

static void test_without_put_if_absent(void)
{
    struct result result = {0};
    struct faulty *faulty = faulty_new(open_store());
    struct myco_object *store = &faulty->base;
    faulty->ops.put_if_absent = false;
    struct myco_chain *one = myco_chain_new(store), *two = myco_chain_new(store);
    ok(take_over(one, 1, &result) == 0 && write_text(one, "a") == 0,
        "without put-if-absent a declared writer writes");
    ok(take_over(two, 2, &result) == 0 && says(&result, "a"), "its successor takes over");
    is_int(write_text(one, "lost"), MYCO_EFENCED, "and it sees that, as it looks before it puts");
    reset(&result);
    myco_chain_free(one);
    myco_chain_free(two);
    store->ops->close(store);
    empty_store();
}

/* ── Garbage ────────────────────────────────────────────────────────────────────────────────── */

static void test_gc(void)
{
    struct result result = {0};
    struct myco_object *store = open_store();
    struct myco_chain *chain = myco_chain_new(store);
    struct myco_manifest manifest = {0};
    const char *keys[] = {"d/1/1-1", "d/1/1-2", "d/1/1-3", "d/1/1-4"};
    for (int i = 0; i < 4; i++) put_key(keys[i], myco_str("data"));
    myco_chain_set_grace(chain, 60000);
    take_over(chain, 1, &result);
    is_int(write_dropping(chain, "a", keys[0]), 0, "a manifest drops an object");
    object_world_settle(&world);
    ok(exists(keys[0]), "which stays");
    write_text(chain, "b");
    object_world_settle(&world);
    ok(exists(keys[0]), "also after the next one, until the grace is over");
    myco_sim_run(world.sim, 61000);
    ok(exists(keys[0]), "and then, until something is committed");
    write_dropping(chain, "c", keys[1]);
    object_world_settle(&world);
    ok(!exists(keys[0]), "now it is gone");
    ok(exists(keys[1]) && exists(keys[2]), "what was dropped later, or never, is not");
    latest(chain, &result);
    ok(result.manifest.dropped_count == 2,
        "a manifest carries on what was not deleted when it was written");
    write_text(chain, "d");
    latest(chain, &result);
    ok(result.manifest.dropped_count == 1 && strcmp(result.manifest.dropped[0], keys[1]) == 0,
        "and forgets what was");

    struct myco_chain *heir = myco_chain_new(store);
    myco_chain_set_grace(heir, 60000);
    take_over(heir, 2, &result);
    write_text(heir, "e");
    latest(heir, &result);
    is_int(result.manifest.dropped_count, 1, "a new writer carries it on too");
    struct myco_manifest_object object = {.key = myco_strdup(keys[1]), .size = 4};
    manifest.objects = &object;
    manifest.object_count = 1;
    reset(&result);
    myco_chain_write(heir, &manifest, on_done, &result);
    is_int(end(&result), MYCO_EINVAL, "what was dropped is not named again (%s)", result.message);
    myco_free(object.key);
    myco_free(manifest.previous);
    myco_sim_run(world.sim, 61000);
    is_int(write_text(chain, "lost"), MYCO_EFENCED, "the former writer is fenced");
    object_world_settle(&world);
    ok(exists(keys[1]), "and deletes nothing");
    write_text(heir, "f");
    object_world_settle(&world);
    ok(!exists(keys[1]) && exists(keys[2]) && exists(keys[3]), "the new one does");

    myco_chain_set_grace(heir, 0);
    write_dropping(heir, "x", keys[2]);
    object_world_settle(&world);
    ok(exists(keys[2]), "without any grace, still only a later manifest lets it go");
    write_text(heir, "y");
    object_world_settle(&world);
    ok(!exists(keys[2]), "and that does");
    write_dropping(heir, "g", "m/0000000000000001/0000000000000001");
    write_dropping(heir, "h", "m/0000000000000001/0000000000000005");
    write_dropping(heir, "i", "m/0000000000000001/0000000000000000");
    write_dropping(heir, "j", "m/0000000000000002/0000000000000009");
    object_world_settle(&world);
    write_text(heir, "k");
    object_world_settle(&world);
    ok(!exists("m/0000000000000001/0000000000000001"), "an old manifest can be dropped");
    ok(exists("m/0000000000000001/0000000000000005"), "a seal stays");
    ok(exists("m/0000000000000001/0000000000000000"), "so does a claim");
    ok(exists("m/0000000000000002/0000000000000009"), "and the newest manifest");
    ok(latest(heir, &result) == 0 && says(&result, "k") && result.manifest.sequence == 9,
        "the chain is whole");
    reset(&result);
    myco_chain_free(chain);
    myco_chain_free(heir);
    store->ops->close(store);
    empty_store();
}

/* ── Damage, misuse, the end ────────────────────────────────────────────────────────────────── */

static void test_corrupt(void)
{
    struct result result = {0};
    struct myco_object *store = open_store();
    struct myco_chain *chain = myco_chain_new(store);
    const char *newest = "m/0000000000000001/0000000000000002",
               *first = "m/0000000000000001/0000000000000001";
    take_over(chain, 1, &result);
    write_text(chain, "a");
    write_text(chain, "b");
    myco_sim_disk_flip(world.disk, newest, 30, 3);
    is_int(latest(chain, &result), MYCO_ECORRUPT, "a damaged manifest is not passed over");
    ok(strstr(result.message, newest) != NULL, "it is named (%s)", result.message);
    is_int(take_over(chain, 2, &result), MYCO_ECORRUPT, "nor is it taken over from");
    ok(strstr(result.message, newest) != NULL, "and named (%s)", result.message);
    struct conformance_answer answer = {0};
    store->ops->get(store, first, 0, 0, conformance_on_get, &answer);
    object_world_wait(&world, &answer.done);
    put_key(newest, myco_buf_as_slice(&answer.bytes));
    is_int(latest(chain, &result), MYCO_ECORRUPT, "one that says it is another is damage too (%s)",
        result.message);
    conformance_reset(&answer);
    put_key("m/readme.txt", myco_str("?"));
    put_key(newest, myco_str(""));
    is_int(latest(chain, &result), MYCO_ECORRUPT, "an empty one too");
    world.disk->ops->remove(world.disk, newest);
    ok(latest(chain, &result) == 0 && says(&result, "a"), "strange keys are passed over");
    reset(&result);
    myco_chain_free(chain);
    store->ops->close(store);
    empty_store();
}

static void test_misuse(void)
{
    struct result result = {0}, other = {0};
    struct myco_object *store = open_store();
    struct myco_chain *chain = myco_chain_new(store);
    is_int(take_over(chain, 0, &result), MYCO_EINVAL, "epoch 0 is none");
    take_over(chain, 1, &result);
    start_write(chain, "a", NULL, &result);
    start_write(chain, "b", NULL, &other);
    is_int(end(&other), MYCO_EBUSY, "one manifest at a time");
    is_int(end(&result), 0, "the first goes on");
    struct myco_manifest manifest = {0};
    struct myco_section section = {.object = 5};
    struct myco_manifest_hypha hypha = {1, 1, 1, &section};
    manifest.hyphae = &hypha;
    manifest.hypha_count = 1;
    reset(&result);
    myco_chain_write(chain, &manifest, on_done, &result);
    is_int(end(&result), MYCO_EINVAL, "what could not be read again is not written (%s)",
        result.message);
    myco_free(manifest.previous);
    start_write(chain, "c", NULL, &result);
    reset(&other);
    myco_chain_latest(chain, on_manifest, &other);
    myco_chain_free(chain);
    ok(result.calls == 1 && result.status == MYCO_ECANCELED && other.status == MYCO_ECANCELED,
        "free cancels what is under way");
    object_world_settle(&world);
    ok(result.calls == 1 && other.calls == 1, "nothing calls back again");
    store->ops->close(store);
    empty_store();
}

static void test_claim(void)
{
    struct result result = {0}, results[6] = {{0}};
    struct faulty *faulty = faulty_new(open_store());
    struct myco_object *store = &faulty->base;
    struct myco_chain *chains[6];
    for (int i = 0; i < 6; i++) chains[i] = myco_chain_new(store);
    ok(claim(chains[0], 42, &result) == 0 && result.manifest.incarnation == 1,
        "the first incarnation is 1");
    ok(exists("cluster/1"), "under its key");
    faulty->next_put = FATE_LOST_ANSWER;
    ok(claim(chains[1], 42, &result) == 0 && result.manifest.incarnation == 2,
        "the next is 2, its answer lost or not");
    is_int(claim(chains[2], 43, &result), MYCO_EWRONGCLUSTER,
        "another cluster's store is not ours (%s)", result.message);
    unsigned seen = 0;
    for (int i = 0; i < 6; i++) myco_chain_claim(chains[i], 42, on_manifest, &results[i]);
    for (int i = 0; i < 6; i++) {
        object_world_wait(&world, &results[i].done);
        if (results[i].status == 0) seen |= 1u << results[i].manifest.incarnation;
        reset(&results[i]);
    }
    is_int(seen, 0x3f << 3, "six at the same time get 3 to 8");
    ok(claim(chains[0], 42, &result) == 0 && result.manifest.incarnation == 9, "then comes 9");
    ok(claim(chains[0], 42, &result) == 0 && result.manifest.incarnation == 10, "and 10");
    ok(claim(chains[0], 42, &result) == 0 && result.manifest.incarnation == 11,
        "numbers, not names, are compared");
    reset(&result);
    for (int i = 0; i < 6; i++) myco_chain_free(chains[i]);
    store->ops->close(store);
    empty_store();
}

/* History: manifests stay until the grace is over, then all but claims, seals and the newest go. */
static void test_prune(void)
{
    struct result result = {0};
    struct myco_object *store = open_store();
    struct myco_chain *old = myco_chain_new(store), *chain = myco_chain_new(store);
    myco_chain_set_grace(chain, 10 * 60000);
    take_over(old, 1, &result);
    for (int i = 0; i < 3; i++) write_text(old, "x");
    take_over(chain, 2, &result);
    for (int i = 0; i < 3; i++) write_text(chain, "y");
    myco_chain_prune(chain);
    object_world_settle(&world);
    ok(exists("m/0000000000000001/0000000000000001"), "what was just replaced stays");
    myco_sim_run(world.sim, 8 * 60000);
    write_text(chain, "z");
    myco_chain_prune(chain);
    object_world_settle(&world);
    ok(!exists("m/0000000000000001/0000000000000001") &&
            !exists("m/0000000000000001/0000000000000003"),
        "two minutes before the grace is over, manifests of an old chain go");
    ok(exists("m/0000000000000001/0000000000000000") &&
            exists("m/0000000000000001/0000000000000004"),
        "its claim and its seal stay");
    ok(!exists("m/0000000000000002/0000000000000002"), "so do those of ours that were replaced");
    ok(exists("m/0000000000000002/0000000000000003") &&
            exists("m/0000000000000002/0000000000000004"),
        "but not what was replaced only now, nor the newest");
    ok(latest(chain, &result) == 0 && says(&result, "z"), "and the chain can be read");
    ok(take_over(old, 3, &result) == 0 && says(&result, "z"), "and taken over");
    reset(&result);
    myco_chain_free(old);
    myco_chain_free(chain);
    store->ops->close(store);
    empty_store();
}

/* A take-over reads few objects, however many epochs there were. */
static void test_cheap(void)
{
    struct result result = {0};
    struct myco_object *store = open_store();
    struct myco_chain *chain = myco_chain_new(store);
    for (uint64_t epoch = 1; epoch <= 200; epoch++) {
        if (take_over(chain, epoch, &result) != 0 || write_text(chain, "x") != 0)
            bail_out("epoch %d", (int)epoch);
    }
    uint64_t before = myco_sim_events(world.sim);
    uint64_t puts = world.env->metrics->values[MYCO_METRIC_STORE_PUTS];
    is_int(take_over(chain, 201, &result), 0, "after two hundred epochs");
    is_int(world.env->metrics->values[MYCO_METRIC_STORE_PUTS] - puts, 2,
        "a take-over puts two objects: a claim and a seal");
    ok(myco_sim_events(world.sim) - before < 20,
        "a take-over asks the store a few things (%llu events)",
        (unsigned long long)(myco_sim_events(world.sim) - before));
    reset(&result);
    myco_chain_free(chain);
    store->ops->close(store);
    empty_store();
}

int main(void)
{
    object_world_sim(&world, 1, 1);
    test_happy();
    test_silent_writers();
    test_unclear();
    test_without_put_if_absent();
    test_gc();
    test_prune();
    test_corrupt();
    test_misuse();
    test_claim();
    test_cheap();
    test_older_epoch();
    object_world_close(&world);
    for (uint64_t seed = 1; seed <= 10; seed++) {
        object_world_sim(&world, seed, 1);
        test_race();
        object_world_close(&world);
    }
    object_world_uv(&world);
    test_happy();
    test_silent_writers();
    test_older_epoch();
    test_race();
    test_claim();
    object_world_close(&world);
    return plan_done();
}
