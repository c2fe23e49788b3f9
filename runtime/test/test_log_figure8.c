/* Figure 8 of the Raft paper: an entry of an earlier term that lies on a majority is not committed
 * by that. Would catch a libraft that counts replicas of earlier terms (Debian 12's own 0.15 does),
 * or a handling of ours that applies what is not committed. */
#include "log_cluster.h"
#include "tap.h"

static uint8_t entry[1 << 20]; /* so large that it travels in a message of its own */

/* Only `at` can be elected: nobody else reaches a majority. */
static void hub(struct world *world, size_t at)
{
    for (size_t a = 0; a < 5; a++)
        for (size_t b = 0; b < 5; b++) world->cut[a][b] = a != at && b != at;
}

static bool is_append_with_entries(struct myco_slice payload)
{
    const uint8_t *bytes = payload.data;
    return payload.size > 36 && bytes[1] == 1 && (bytes[34] != 0 || bytes[35] != 0);
}

/* Lets entries through from filter_data's first server to its second, and only large ones. */
static bool only_large(struct world *world, uint64_t from, uint64_t to, struct myco_slice payload)
{
    const uint64_t *allowed = world->filter_data;
    if (!is_append_with_entries(payload)) return true;
    return from == allowed[0] && to == allowed[1] && payload.size > sizeof entry;
}

static bool leads(struct world *world, void *data)
{
    struct server *server = data;
    (void)world;
    return server->log != NULL && myco_rlog_is_leader(server->log);
}

static bool elect(struct world *world, size_t at)
{
    struct myco_err err = {0};
    if (world->servers[at].log == NULL && world_start(world, at, &err) != 0) return false;
    hub(world, at);
    return world_until(world, leads, &world->servers[at], 10000);
}

/* Server `from` does not have the entry that the leader `at` believes to be its last. */
static void reject(struct world *world, size_t at, uint64_t from, uint64_t index)
{
    struct myco_buf buf = {0};
    myco_buf_u8(&buf, 1);
    myco_buf_u8(&buf, 2);
    myco_buf_u64(&buf, myco_rlog_term(world->servers[at].log));
    myco_buf_u64(&buf, index);
    myco_buf_u64(&buf, index - 1);
    myco_rlog_receive(world->servers[at].log, from, myco_buf_as_slice(&buf));
    myco_buf_free(&buf);
}

/* A write that is under way when a new leader replaces what it holds: its end says nothing about
 * the new entry, which waits behind it. */
static void superseded_write(void)
{
    struct world world;
    struct server *servers = world.servers;
    world_init(&world, 5, 9);
    world_bootstrap(&world, 5);
    ok(elect(&world, 0) && world_commit(&world, 2), "server 1 leads");
    servers[2].disk.slow_ns = 400 * MS;
    for (size_t i = 1; i < 5; i++) world_cut(&world, 0, i, i != 2);
    is_int(myco_rlog_submit(servers[0].log, myco_str("x")), 0, "an entry reaches server 3 alone");
    world_run(&world, 10);
    uint64_t commit = myco_rlog_commit_index(servers[1].log);
    world_crash(&world, 0);
    hub(&world, 1);
    world.cut[1][2] = world.cut[2][1] = true;
    ok(world_until(&world, leads, &servers[1], 390),
        "server 2 is elected while that is being written");
    world_isolate(&world, 4, true);
    world.cut[1][2] = world.cut[2][1] = false; /* now it has 2, 4, and 3 whose disk is slow */
    world_run(&world, 250);                    /* the first write has ended, the second has not */
    is_int(myco_rlog_commit_index(servers[1].log), (long long)commit,
        "the end of that write acknowledges nothing of the new leader's");
    world_run(&world, 800);
    ok(myco_rlog_commit_index(servers[1].log) > commit, "the end of the next one does");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

static void figure8(void)
{
    struct world world;
    struct server *servers = world.servers;
    world_init(&world, 5, 8);
    world_bootstrap(&world, 5);
    ok(elect(&world, 0) && world_commit(&world, 2), "(a) server 1 leads, and commits");

    uint64_t one_to_two[2] = {1, 2}, none[2] = {0, 0}, one_to_three[2] = {1, 3};
    world.filter = only_large;
    world.filter_data = one_to_two;
    is_int(
        myco_rlog_submit(servers[0].log, myco_bytes(entry, sizeof entry)), 0, "… takes an entry");
    uint64_t commit = myco_rlog_commit_index(servers[0].log);
    world_run(&world, 30);
    is_int(
        myco_rlog_commit_index(servers[0].log), (long long)commit, "… that reaches only server 2");

    world_crash(&world, 0);
    world_crash(&world, 1);
    world.filter_data = none;
    ok(elect(&world, 4), "(b) server 5 leads the next term, with another entry at that place");
    world_run(&world, 20);
    uint64_t term = myco_rlog_term(servers[4].log);

    world_crash(&world, 4);
    struct myco_err err = {0};
    is_int(world_start(&world, 1, &err), 0, "(c) server 2 is back");
    world.filter_data = one_to_three;
    ok(elect(&world, 0), "… and server 1, which leads again");
    ok(myco_rlog_term(servers[0].log) > term, "… in a still newer term");
    reject(&world, 0, 3, commit + 1); /* its own went astray with what asked for it */
    world_run(&world, 40);
    ok(world_last_segment(&servers[2])->bytes.size > sizeof entry, "… and has it on three of five");
    ok(myco_rlog_commit_index(servers[0].log) <= commit, "… but does not call that committed");

    world_crash(&world, 0);
    world.filter = NULL;
    ok(elect(&world, 4), "(d) server 5 leads again");
    world_run(&world, 500);
    ok(world_commit(&world, 1), "… and commits its own");
    world_heal(&world);
    is_int(world_start(&world, 0, &err), 0, "server 1 is back");
    ok(world_await_applied(&world, 5000), "all have the same");
    is_int(servers[0].commands, 3, "… without the entry that was never committed");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

int main(void)
{
    figure8();
    superseded_write();
    return plan_done();
}
