/* Catches: a simulated disk that keeps what it must lose (then no test of recovery is worth
 * anything), loses what was synced, tears a put, forgets its files in a crash, calls back a process
 * that is gone, or runs out of order. */
#include "base/mem.h"
#include "env/sim.h"
#include "tap.h"

struct seen {
    int status;
    unsigned count;
    char order[64];
    struct myco_buf bytes;
    char listing[256];
};

static void on_done(int status, void *data)
{
    struct seen *seen = data;
    seen->status = status;
    seen->count++;
}

static void on_read(int status, struct myco_buf *bytes, void *data)
{
    struct seen *seen = data;
    myco_buf_free(&seen->bytes);
    myco_buf_move(&seen->bytes, bytes);
    on_done(status, data);
}

static void on_list(int status, const struct myco_disk_entry *entries, size_t count, void *data)
{
    struct seen *seen = data;
    seen->listing[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        strcat(seen->listing, entries[i].path);
        strcat(seen->listing, " ");
    }
    on_done(status, data);
}

static struct myco_sim *world(uint64_t seed, unsigned hosts)
{
    struct myco_sim_options options;
    myco_sim_options_init(&options, seed, hosts);
    struct myco_sim *sim = myco_sim_new(&options);
    for (unsigned host = 0; host < hosts; host++) myco_sim_start(sim, host);
    return sim;
}

static struct myco_file *open_file(struct myco_disk *disk, const char *path, int flags)
{
    struct myco_file *file = NULL;
    return disk->ops->open(disk, path, flags, &file, NULL) == 0 ? file : NULL;
}

static size_t read_all(struct myco_disk *disk, const char *path, char *text, size_t size)
{
    size_t got = 0;
    struct myco_file *file = open_file(disk, path, 0);
    if (file == NULL) return 0;
    disk->ops->read(file, 0, text, size, &got);
    disk->ops->close(file);
    return got;
}

static void test_basics(void)
{
    struct myco_sim *sim = world(1, 1);
    struct myco_disk *disk = myco_sim_disk(sim, 0);
    struct seen seen = {0};
    char text[16];
    disk->ops->put(disk, "a/b", myco_str("one"), 0, on_done, &seen);
    is_int(seen.count, 0, "a put does not call back before it returned");
    myco_sim_run(sim, 200);
    ok(seen.count == 1 && seen.status == 0, "then it does");
    disk->ops->put(disk, "a/b", myco_str("two"), MYCO_DISK_EXCLUSIVE, on_done, &seen);
    myco_sim_run(sim, 200);
    is_int(seen.status, MYCO_EEXISTS, "an exclusive put does not overwrite");
    disk->ops->put(disk, "../b", myco_str("two"), 0, on_done, &seen);
    myco_sim_run(sim, 200);
    is_int(seen.status, MYCO_EINVAL, "nothing leaves the root");
    disk->ops->get(disk, "a/b", 1, 100, on_read, &seen);
    myco_sim_run(sim, 200);
    ok(seen.status == 0 && seen.bytes.size == 2 && memcmp(seen.bytes.data, "ne", 2) == 0,
        "a range is read");
    disk->ops->get(disk, "nothing", 0, 100, on_read, &seen);
    myco_sim_run(sim, 200);
    is_int(seen.status, MYCO_ENOTFOUND, "absent is ENOTFOUND");
    disk->ops->put_now(disk, "a/a", myco_str("1"));
    disk->ops->put_now(disk, "b", myco_str("2"));
    disk->ops->list(disk, "a/", on_list, &seen);
    myco_sim_run(sim, 200);
    is_str(seen.listing, "a/a a/b ", "a listing is sorted, and of its prefix");
    disk->ops->del(disk, "a/a", on_done, &seen);
    disk->ops->remove(disk, "b");
    myco_sim_run(sim, 200);
    disk->ops->list(disk, "", on_list, &seen);
    myco_sim_run(sim, 200);
    is_str(seen.listing, "a/b ", "deleted is gone");
    myco_sim_crash(sim, 0, MYCO_SIM_POWER);
    myco_sim_start(sim, 0);
    is_int(read_all(disk, "a/b", text, sizeof(text)), 3,
        "a put that completed outlives a power failure");
    myco_buf_free(&seen.bytes);
    myco_sim_free(sim);
}

struct ordered {
    struct seen *seen;
    char name;
};

static void on_ordered(int status, void *data)
{
    struct ordered *ordered = data;
    strncat(ordered->seen->order, &ordered->name, 1);
    on_done(status, ordered->seen);
}

static void test_order(void)
{
    struct myco_sim *sim = world(1, 1);
    struct myco_disk *disk = myco_sim_disk(sim, 0);
    struct myco_file *file = open_file(disk, "log", MYCO_DISK_CREATE);
    struct seen seen = {0};
    struct ordered calls[26];
    for (unsigned i = 0; i < 26; i++) {
        calls[i] = (struct ordered){&seen, (char)('a' + i)};
        disk->ops->write(file, i, myco_bytes(&calls[i].name, 1), i % 2 == 0, on_ordered, &calls[i]);
    }
    disk->ops->close(file);
    char text[32] = "";
    is_int(read_all(disk, "log", text, sizeof(text)), 26, "close waits for the writes in flight");
    is_str(seen.order, "", "without calling back by itself");
    myco_sim_run(sim, 1000);
    is_str(seen.order, "abcdefghijklmnopqrstuvwxyz", "writes of a file call back in order");
    myco_sim_free(sim);
}

/* What became of three writes that were not synced, after one that was. */
static void crash_once(uint64_t seed, enum myco_sim_crash how, unsigned kept[4], unsigned *torn)
{
    struct myco_sim *sim = world(seed, 1);
    struct myco_disk *disk = myco_sim_disk(sim, 0);
    struct myco_file *file = open_file(disk, "log", MYCO_DISK_CREATE);
    struct seen seen = {0};
    char page[4][100], text[500] = {0};
    for (unsigned i = 0; i < 4; i++) {
        memset(page[i], 'a' + (int)i, sizeof(page[i]));
        disk->ops->write(file, i * 100, myco_bytes(page[i], 100), i == 0, on_done, &seen);
    }
    myco_sim_run(sim, 1000);
    if (seen.count != 4) bail_out("writes did not end");
    myco_sim_crash(sim, 0, how);
    myco_sim_start(sim, 0);
    read_all(disk, "log", text, sizeof(text));
    for (unsigned i = 0; i < 4; i++) {
        size_t size = 0;
        while (size < 100 && text[i * 100 + size] == 'a' + (int)i) size++;
        kept[i] += size == 100;
        *torn += size > 0 && size < 100;
    }
    myco_sim_free(sim);
}

static void test_crash_loses(void)
{
    unsigned kept[4] = {0}, torn = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) crash_once(seed, MYCO_SIM_POWER, kept, &torn);
    is_int(kept[0], 200, "what was synced is always there");
    ok(kept[1] > 40 && kept[1] < 100, "what was not is kept now and then (%u of 200)", kept[1]);
    ok(kept[2] > 40 && kept[2] < 100, "each write by its own chance (%u, %u)", kept[2], kept[3]);
    ok(torn > 120 && torn < 280, "or torn (%u of 600)", torn);
    memset(kept, 0, sizeof(kept));
    torn = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) crash_once(seed, MYCO_SIM_KILL, kept, &torn);
    ok(kept[0] == 20 && kept[3] == 20 && torn == 0,
        "a killed process loses nothing of what was written");
}

/* Overwriting and then losing must bring the former bytes back. */
static void test_overwrite(void)
{
    unsigned former = 0, mixed = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct myco_sim *sim = world(seed, 1);
        struct myco_disk *disk = myco_sim_disk(sim, 0);
        struct myco_file *file = open_file(disk, "term", MYCO_DISK_CREATE);
        struct seen seen = {0};
        char text[16] = "";
        disk->ops->write_sync(file, 0, myco_str("old-old!"));
        disk->ops->write(file, 0, myco_str("new"), false, on_done, &seen);
        disk->ops->write(file, 2, myco_str("WWW"), false, on_done, &seen);
        disk->ops->write(file, 6, myco_str("longer"), false, on_done, &seen);
        myco_sim_run(sim, 100);
        myco_sim_crash(sim, 0, MYCO_SIM_POWER);
        myco_sim_start(sim, 0);
        size_t size = read_all(disk, "term", text, sizeof(text) - 1);
        former += strcmp(text, "old-old!") == 0;
        mixed += strncmp(text, "old-old!", 8) != 0;
        if (size < 8) former = 1000; /* a file can't shrink below what was synced */
        myco_sim_free(sim);
    }
    ok(former > 0 && former < 30, "lost overwrites bring the former bytes back (%u of 100)",
        former);
    ok(mixed > 50, "kept ones do not (%u of 100)", mixed);
}

/* Writes and puts under way when the machine dies. */
static void test_crash_in_flight(void)
{
    unsigned wrote = 0, put = 0, called = 0, torn_puts = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct myco_sim *sim = world(seed, 1);
        struct myco_disk *disk = myco_sim_disk(sim, 0);
        struct myco_file *file = open_file(disk, "log", MYCO_DISK_CREATE);
        struct seen seen = {0};
        char text[16] = "";
        disk->ops->write(file, 0, myco_str("record"), true, on_done, &seen);
        disk->ops->put(disk, "whole", myco_str("whole"), 0, on_done, &seen);
        myco_sim_crash(sim, 0, MYCO_SIM_POWER);
        myco_sim_start(sim, 0);
        myco_sim_run(sim, 1000);
        called += seen.count;
        wrote += read_all(disk, "log", text, sizeof(text)) == 6;
        size_t size = read_all(disk, "whole", text, sizeof(text));
        put += size == 5;
        torn_puts += size != 5 && size != 0;
        myco_sim_free(sim);
    }
    is_int(called, 0, "calls under way in a crash never call back");
    ok(wrote > 15 && wrote < 60, "a write under way may be there (%u of 100)", wrote);
    ok(put > 30 && put < 70 && torn_puts == 0, "a put is there or not, never torn (%u of 100)",
        put);
}

static void test_shared(void)
{
    unsigned landed = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct myco_sim *sim = world(seed, 2);
        struct myco_disk *mine = myco_sim_shared_disk(sim, 0),
                         *theirs = myco_sim_shared_disk(sim, 1);
        struct seen lost = {0}, seen = {0};
        mine->ops->put(mine, "late", myco_str("x"), 0, on_done, &lost);
        myco_sim_crash(sim, 0, MYCO_SIM_POWER);
        theirs->ops->get(theirs, "late", 0, 10, on_read, &seen);
        myco_sim_run(sim, 1000);
        theirs->ops->get(theirs, "late", 0, 10, on_read, &seen);
        myco_sim_run(sim, 1000);
        landed += seen.status == 0;
        if (lost.count != 0) landed = 1000;
        myco_buf_free(&seen.bytes);
        myco_sim_free(sim);
    }
    ok(landed > 10 && landed < 40, "a put of a host that crashed may still arrive (%u of 50)",
        landed);

    struct myco_sim *sim = world(1, 2);
    struct myco_disk *mine = myco_sim_shared_disk(sim, 0), *theirs = myco_sim_shared_disk(sim, 1);
    struct seen one = {0}, two = {0};
    mine->ops->put(mine, "k", myco_str("1"), MYCO_DISK_EXCLUSIVE, on_done, &one);
    theirs->ops->put(theirs, "k", myco_str("2"), MYCO_DISK_EXCLUSIVE, on_done, &two);
    myco_sim_run(sim, 1000);
    ok((one.status == 0) != (two.status == 0), "of two exclusive puts one wins");
    ok(one.status + two.status == MYCO_EEXISTS, "the other one learns it");
    myco_sim_shared_cut(sim, 0, true);
    mine->ops->put(mine, "cut", myco_str("1"), 0, on_done, &one);
    myco_sim_run(sim, 2000);
    is_int(one.status, MYCO_ETIMEDOUT, "a store that is not reached times out");
    theirs->ops->get(theirs, "cut", 0, 10, on_read, &two);
    myco_sim_run(sim, 1000);
    is_int(two.status, MYCO_ENOTFOUND, "and nothing happened");
    myco_sim_shared_cut(sim, 0, false);
    mine->ops->put(mine, "cut", myco_str("1"), 0, on_done, &one);
    myco_sim_shared_cut(sim, 0, true);
    myco_sim_run(sim, 2000);
    is_int(one.status, MYCO_ETIMEDOUT, "cut while it is under way: a time-out");
    theirs->ops->get(theirs, "cut", 0, 10, on_read, &two);
    myco_sim_run(sim, 1000);
    is_int(two.status, 0, "and yet it happened");
    myco_buf_free(&two.bytes);
    myco_sim_free(sim);
}

static void test_faults(void)
{
    struct myco_sim *sim = world(1, 1);
    struct myco_disk *disk = myco_sim_disk(sim, 0);
    struct myco_file *file = open_file(disk, "log", MYCO_DISK_CREATE);
    struct myco_sim_disk_options options = {10000, 100000, 0, 0, 0, 0, 0, 0, 10};
    struct seen seen = {0};
    myco_sim_disk_options(disk, &options);
    disk->ops->write(file, 0, myco_str("12345678"), true, on_done, &seen);
    myco_sim_run(sim, 10);
    is_int(seen.status, 0, "eight bytes fit in ten");
    disk->ops->write(file, 8, myco_str("12345678"), true, on_done, &seen);
    myco_sim_run(sim, 10);
    is_int(seen.status, MYCO_ENOSPC, "sixteen do not");
    is_int(
        disk->ops->put_now(disk, "more", myco_str("1234")), MYCO_ENOSPC, "nor four more elsewhere");
    is_int(disk->ops->write_sync(file, 0, myco_str("abcdefgh")), 0,
        "the same place can be written again");
    ok(myco_sim_disk_flip(disk, "log", 0, 1), "a bit rots");
    char text[16] = "";
    read_all(disk, "log", text, sizeof(text) - 1);
    is_str(text, "cbcdefgh", "it stays wrong");
    options.error_ppm = 1000000;
    myco_sim_disk_options(disk, &options);
    disk->ops->write(file, 0, myco_str("zz"), true, on_done, &seen);
    myco_sim_run(sim, 10);
    is_int(seen.status, MYCO_EIO, "a disk that fails says EIO");
    options.error_ppm = 0;
    options.flip_ppm = 1000000;
    myco_sim_disk_options(disk, &options);
    is_int(disk->ops->write_sync(file, 0, myco_str("zz")), MYCO_EIO,
        "a file whose sync failed takes no more writes");
    disk->ops->close(file);
    disk->ops->get(disk, "log", 0, 100, on_read, &seen);
    myco_sim_run(sim, 10);
    ok(seen.status == 0 && memcmp(seen.bytes.data, "cbcdefgh", 8) != 0,
        "a read can return a wrong bit");
    myco_buf_free(&seen.bytes);
    myco_sim_free(sim);
}

/* An owner whose core closes asynchronously: everything it waits for is called, and changes
 * nothing. */
struct mortal {
    struct seen seen;
    unsigned in_burial;
};

static void on_mortal_done(int status, void *data)
{
    struct mortal *mortal = data;
    mortal->in_burial += status == MYCO_ECANCELED;
}

static void on_mortal_crash(struct myco_sim *sim, unsigned host, void *data)
{
    struct mortal *mortal = data;
    struct myco_disk *disk = myco_sim_disk(sim, host);
    disk->ops->put(disk, "from the grave", myco_str("boo"), 0, on_mortal_done, mortal);
    myco_sim_bury(sim, host);
}

static void test_burial(void)
{
    struct mortal mortal = {0};
    struct myco_sim_options options;
    myco_sim_options_init(&options, 1, 1);
    options.on_crash = on_mortal_crash;
    options.data = &mortal;
    struct myco_sim *sim = myco_sim_new(&options);
    struct myco_disk *disk = myco_sim_disk(sim, 0), *shared = myco_sim_shared_disk(sim, 0);
    myco_sim_start(sim, 0);
    disk->ops->list(disk, "", on_list, &mortal.seen);
    shared->ops->del(shared, "x", on_mortal_done, &mortal);
    myco_sim_crash(sim, 0, MYCO_SIM_KILL);
    ok(mortal.seen.count == 1 && mortal.seen.status == MYCO_ECANCELED,
        "a burial ends what was under way");
    is_int(mortal.in_burial, 2, "and what was begun by the dead");
    is_int(myco_sim_disk_size(disk), 0, "which has no effect");
    myco_sim_free(sim);
}

int main(void)
{
    test_basics();
    test_order();
    test_crash_loses();
    test_overwrite();
    test_crash_in_flight();
    test_shared();
    test_faults();
    test_burial();
    return plan_done();
}
