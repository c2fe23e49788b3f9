/* The journal on the two disks that it meets in life: libuv's, and the simulator's, whose power
 * fails. Catches what a made-up disk would not: calls in an order that these don't allow, a close
 * that never ends, memory lent for too short a time, a recovery that the simulator's torn writes
 * break. */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "env/sim.h"
#include "env/uv_disk.h"
#include "env/uv_env.h"
#include "store/journal.h"
#include "tap.h"

#define STREAMS 4

struct owner {
    struct myco_journal *journal;
    uint64_t position[STREAMS], durable_position[STREAMS];
    uint64_t sequence[STREAMS]; /* of the last append */
    uint64_t sequences[4096];   /* of what is not durable: by sequence, its stream */
    unsigned wrong, records, snapshots, closed, wanted;
    uint64_t durable;
    unsigned goal; /* appends that are left */
};

static struct myco_slice bytes_of(uint64_t stream, uint64_t position, uint8_t bytes[200])
{
    memset(bytes, (int)(stream + position), 200);
    return myco_bytes(bytes, (size_t)(position * 13 % 200));
}

static void check(struct owner *o, uint64_t stream, uint64_t position, struct myco_slice got)
{
    uint8_t bytes[200];
    struct myco_slice want = bytes_of(stream, position, bytes);
    if (got.size != want.size || memcmp(got.data, want.data, want.size) != 0) o->wrong++;
    o->position[stream] = o->durable_position[stream] = position;
}

static int on_snapshot(uint64_t stream, uint64_t position, struct myco_slice bytes, void *data)
{
    struct owner *o = data;
    check(o, stream, position, bytes);
    o->snapshots++;
    return 0;
}

static int on_record(
    uint64_t stream, uint64_t position, uint8_t kind, struct myco_slice bytes, void *data)
{
    struct owner *o = data;
    if (kind != 3 || position != o->position[stream] + 1) o->wrong++;
    check(o, stream, position, bytes);
    o->records++;
    return 0;
}

static void append(struct owner *o, uint64_t stream)
{
    uint8_t bytes[200];
    uint64_t sequence, position = o->position[stream] + 1;
    struct myco_slice slice = bytes_of(stream, position, bytes);
    if (myco_journal_append(o->journal, stream, position, 3, slice, &sequence) != 0) return;
    o->position[stream] = position;
    o->sequences[sequence % 4096] = stream;
}

static void snapshot(struct owner *o, uint64_t stream)
{
    uint8_t bytes[200];
    struct myco_slice slice = bytes_of(stream, o->position[stream], bytes);
    myco_journal_snapshot(o->journal, stream, o->position[stream], slice, NULL, NULL);
}

static void on_closed(void *data)
{
    ((struct owner *)data)->closed++;
}

/* Appends more, until the goal is reached. */
static void on_durable(uint64_t sequence, void *data)
{
    struct owner *o = data;
    while (o->durable < sequence) o->durable_position[o->sequences[++o->durable % 4096]]++;
    for (unsigned i = 0; i < 10 && o->goal > 0; i++, o->goal--) append(o, o->goal % STREAMS);
}

static void on_failed(int status, void *data)
{
    (void)status, (void)data;
}

static void on_wanted(uint64_t stream, void *data)
{
    struct owner *o = data;
    o->wanted++;
    snapshot(o, stream);
}

static int open_journal(
    struct owner *o, struct myco_disk *disk, struct myco_env *env, struct myco_err *err)
{
    struct myco_journal_options options = {.disk = disk, .env = env, .folder = "node/journal"};
    struct myco_journal_events events = {
        on_snapshot, on_record, on_durable, on_failed, on_wanted, o};
    options.segment_size = 16 * 1024;
    *o = (struct owner){0};
    int status = myco_journal_open(&options, &events, &o->journal, err);
    if (status == 0) o->durable = myco_journal_durable(o->journal);
    return status;
}

/* ── libuv ───────────────────────────────────────────────────────────────────────────────────── */

static void remove_tree(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char below[600];
        if (entry->d_name[0] == '.') continue;
        snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (unlink(below) != 0) remove_tree(below);
    }
    if (folder != NULL) closedir(folder);
    rmdir(path);
}

struct real {
    uv_loop_t loop;
    struct myco_disk *disk;
    struct myco_uv_env *env;
    struct myco_metrics metrics;
    struct owner *owner;
};

static bool real_idle(const struct real *real)
{
    return real->owner->goal == 0 && myco_journal_idle(real->owner->journal);
}

static void real_open(struct real *real, struct owner *o, const char *root)
{
    struct myco_err err = {0};
    *real = (struct real){.owner = o};
    uv_loop_init(&real->loop);
    if (myco_uv_disk_open(&real->loop, root, &real->disk, &err) != 0 ||
        myco_uv_env_open(&real->env, &real->loop, NULL, NULL, NULL, &real->metrics, &err) != 0 ||
        open_journal(o, real->disk, myco_uv_env(real->env), &err) != 0) {
        bail_out("%s", err.message);
    }
}

static void real_close(struct real *real)
{
    myco_journal_close(real->owner->journal, on_closed, real->owner);
    while (real->owner->closed == 0) uv_run(&real->loop, UV_RUN_ONCE);
    myco_uv_disk_close(real->disk, NULL, NULL);
    myco_uv_env_close(real->env, NULL, NULL);
    uv_run(&real->loop, UV_RUN_DEFAULT);
    is_int(uv_loop_close(&real->loop), 0, "nothing is left open");
}

static void test_uv(void)
{
    char root[] = "/tmp/journal_XXXXXX";
    struct real real;
    struct owner o;
    if (mkdtemp(root) == NULL) bail_out("mkdtemp");
    real_open(&real, &o, root);
    o.goal = 1000;
    append(&o, 0);
    while (!real_idle(&real)) uv_run(&real.loop, UV_RUN_ONCE);
    ok(o.durable >= 1001, "records are durable");
    for (uint64_t stream = 1; stream < STREAMS; stream++) snapshot(&o, stream);
    while (!real_idle(&real)) uv_run(&real.loop, UV_RUN_ONCE);
    append(&o, 2);
    struct owner before = o;
    real_close(&real);
    real_open(&real, &o, root);
    is_int(o.wrong, 0, "everything came back as it was");
    ok(memcmp(before.position, o.position, sizeof(o.position)) == 0, "to the last record");
    is_int(o.snapshots, STREAMS - 1 + (before.wanted > 0), "with its snapshots");
    real_close(&real);
    remove_tree(root);
}

/* ── The simulator ───────────────────────────────────────────────────────────────────────────── */

struct world {
    struct owner now;
    struct owner before; /* the former life */
    unsigned lives, lost, failed;
    struct myco_err err;
};

static void sim_start(struct myco_sim *sim, unsigned host, void *data)
{
    struct world *world = data;
    struct owner *o = &world->now;
    world->lives++;
    if (open_journal(o, myco_sim_disk(sim, host), myco_sim_env(sim, host), &world->err) != 0) {
        world->failed++;
        return;
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        if (o->position[i] < world->before.durable_position[i]) world->lost++;
        if (o->position[i] > world->before.position[i]) world->lost++;
    }
    o->goal = UINT32_MAX;
    append(o, 1);
}

static void sim_crash(struct myco_sim *sim, unsigned host, void *data)
{
    struct world *world = data;
    world->before = world->now;
    if (world->failed > 0) return;
    myco_journal_close(world->now.journal, on_closed, &world->now);
    myco_sim_bury(sim, host);
    if (world->now.closed != 1) world->failed++;
}

static void test_sim(void)
{
    unsigned failed = 0, lives = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world world = {0};
        struct myco_sim_options options;
        myco_sim_options_init(&options, seed, 1);
        options.on_start = sim_start;
        options.on_crash = sim_crash;
        options.data = &world;
        struct myco_sim *sim = myco_sim_new(&options);
        for (unsigned life = 0; life < 12 && world.failed == 0; life++) {
            myco_sim_start(sim, 0);
            myco_sim_run(sim, 5 + myco_sim_random_below(myco_sim_random(sim), 300));
            myco_sim_crash(sim, 0, life % 3 == 0 ? MYCO_SIM_KILL : MYCO_SIM_POWER);
        }
        unsigned wrong = world.failed + world.lost + world.before.wrong;
        if (wrong > 0) note("seed %" PRIu64 ": %u lost, %s", seed, world.lost, world.err.message);
        failed += wrong;
        lives += world.lives;
        myco_sim_free(sim);
    }
    ok(failed == 0 && lives == 72, "%u crashes, and nothing that was durable is lost", lives);
}

int main(void)
{
    test_uv();
    test_sim();
    return plan_done();
}
