/* Snapshots: the log stays short, and who is far behind gets the state whole. Would catch: a log
 * that grows for ever, entries that are dropped too early, a follower that never catches up, a new
 * server that starts from nothing, an install that a crash leaves half done. */
#include <stdio.h>

#include "log_cluster.h"
#include "tap.h"

static size_t count_files(const struct server *server, const char *prefix, size_t *bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < server->disk.count; i++) {
        if (strncmp(server->disk.blobs[i]->path, prefix, strlen(prefix)) != 0) continue;
        count++;
        if (bytes != NULL) *bytes += server->disk.blobs[i]->bytes.size;
    }
    return count;
}

static void compacts(void)
{
    struct world world;
    world_init(&world, 3, 2);
    world.options.snapshot_threshold = 50;
    world.options.snapshot_trailing = 10;
    world_bootstrap(&world, 3);
    static uint8_t big[100000];
    for (int i = 0; i < 400; i++) {
        struct server *leader = world_await_leader(&world, 3000);
        memcpy(big, &i, sizeof i);
        while (myco_rlog_submit(leader->log, myco_bytes(big, sizeof big)) != 0)
            world_run(&world, 5);
    }
    world_run(&world, 1000);
    ok(world_await_applied(&world, 5000), "400 commands of 100 kB");
    for (size_t i = 0; i < 3; i++) {
        size_t bytes = 0;
        size_t segments = count_files(&world.servers[i], "consensus/log-", &bytes);
        is_int(
            count_files(&world.servers[i], "consensus/snapshot-", NULL), 1, "one snapshot is kept");
        ok(segments <= 4 && bytes < 16 << 20, "40 MB of log have shrunk to %zu kB in %zu segments",
            bytes >> 10, segments);
    }
    struct myco_err err = {0};
    for (size_t i = 0; i < 3; i++) world_crash(&world, i);
    for (size_t i = 0; i < 3; i++) is_int(world_start(&world, i, &err), 0, "restart");
    is_int(world.servers[0].restores, 1, "the snapshot is restored at the start");
    ok(world_await_applied(&world, 5000), "… and the rest applied");
    is_int(world.servers[0].commands, 400, "… all of it");
    ok(world_commit(&world, 10), "it goes on");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

static void catches_up(bool crash)
{
    struct world world;
    struct myco_err err = {0};
    world_init(&world, 3, 4);
    world.options.snapshot_threshold = 20;
    world.options.snapshot_trailing = 5;
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 3), "three together");
    size_t behind = world_leader(&world) == &world.servers[2] ? 1 : 2;
    struct server *server = &world.servers[behind];
    server->ballast = 1000;
    if (crash)
        world_crash(&world, behind);
    else
        world_isolate(&world, behind, true);
    /* what it has in its log from before, it has in conflict with nobody */
    for (int i = 0; i < 200; i++) {
        while (world_submit(&world, "x") != 0) world_run(&world, 2);
        world_run(&world, 3);
    }
    world_heal(&world);
    if (crash) is_int(world_start(&world, behind, &err), 0, "it starts again");
    ok(world_await_applied(&world, 5000), "a server that missed 200 commands catches up");
    ok(server->restores > 0, "… by a snapshot");
    uint64_t restores = server->restores;
    world_crash(&world, behind);
    is_int(world_start(&world, behind, &err), 0, "it starts from what it installed");
    ok(server->restores == restores + 1, "…");
    ok(world_commit(&world, 10), "and takes part");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

static bool is_standby(struct world *world, void *data)
{
    struct server *leader = world_leader(world);
    return leader != NULL && myco_rlog_role(leader->log, *(uint64_t *)data) == MYCO_ROLE_STANDBY;
}

/* A brand-new server, while the leader's log has long forgotten its beginning; with large
 * snapshots. */
static void welcomes(size_t ballast)
{
    struct world world;
    uint64_t id = 4;
    world_init(&world, 4, 6);
    world.options.snapshot_threshold = 20;
    world.options.snapshot_trailing = 5;
    for (size_t i = 0; i < 3; i++) world.servers[i].ballast = ballast;
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 100), "100 commands by three");
    ok(myco_rlog_empty(world.servers[3].log), "the fourth is empty");
    uint64_t bulk = world.sent_bulk;
    is_int(myco_rlog_assign(world_leader(&world)->log, 4, MYCO_ROLE_STANDBY), 0, "it is added");
    ok(world_until(&world, is_standby, &id, 2000), "… as a standby");
    ok(world_await_applied(&world, 10000), "and gets everything");
    is_int(world.servers[3].restores, 1, "… by one snapshot of %zu kB", ballast >> 10);
    ok(world.sent_bulk - bulk <= 2, "… that was sent %d times", (int)(world.sent_bulk - bulk));
    ok(!myco_rlog_empty(world.servers[3].log), "it is empty no more");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

/* A crash at every moment of an install leaves a server that starts again, and catches up. */
static void dies_while_installing(void)
{
    unsigned fine = 0, tried = 0, started = 0;
    for (uint64_t us = 0; us < 40; us++) {
        struct world world;
        struct myco_err err = {0};
        world_init(&world, 3, 100 + us);
        world.torn_crashes = true;
        world.options.snapshot_threshold = 20;
        world.options.snapshot_trailing = 5;
        world_bootstrap(&world, 3);
        bool good = world_commit(&world, 3);
        size_t behind = world_leader(&world) == &world.servers[2] ? 1 : 2;
        world_isolate(&world, behind, true);
        for (int i = 0; i < 100; i++) {
            while (world_submit(&world, "x") != 0) world_run(&world, 2);
            if (i % 10 == 0) world_run(&world, 3);
        }
        world_run(&world, 50);
        uint64_t bulk = world.sent_bulk;
        world_heal(&world);
        for (int i = 0; i < 1000 && world.sent_bulk == bulk; i++) world_run(&world, 1);
        world.now_ns += us * 250000;
        world_run(&world, 0);
        world_crash(&world, behind);
        tried++;
        started += world_start(&world, behind, &err) == 0;
        good = good && world_await_applied(&world, 5000) && world_commit(&world, 3);
        if (!good || world.violation[0] != '\0')
            note("%d: %s %s", (int)us, err.message, world.violation);
        fine += good && world.violation[0] == '\0';
        world_free(&world);
    }
    is_int(started, tried, "a server that died while installing starts again");
    is_int(fine, tried, "… and catches up (%u moments)", tried);
}

int main(void)
{
    compacts();
    catches_up(false);
    catches_up(true);
    welcomes(0);
    welcomes(3 << 20);
    dies_while_installing();
    return plan_done();
}
