/* The replicated log when nothing goes wrong, and its refusals. Would catch: a cluster that does
 * not form, commands that are lost, doubled or out of order, grants before the term's barrier, a
 * bootstrap over an existing cluster, limits that are not kept. */
#include "log_cluster.h"
#include "tap.h"

static void forms_and_commits(size_t voters)
{
    struct world world;
    world_init(&world, voters, voters);
    world_bootstrap(&world, voters);
    struct server *leader = world_await_leader(&world, 3000);
    ok(leader != NULL, "%zu voters elect a leader", voters);
    if (leader != NULL) {
        ok(world_commit(&world, 100), "… and commit 100 commands on all");
        is_int(leader->commands, 100, "… each applied once");
        ok(myco_rlog_is_established(leader->log), "… by an established leader");
        is_int(myco_rlog_servers(leader->log, (struct myco_log_server[8]){{0}}, 8), (int)voters,
            "… with all in the configuration");
        is_int(myco_rlog_role(leader->log, leader->id), MYCO_ROLE_VOTER, "… as voters");
    }
    for (size_t i = 0; i < voters && leader != NULL; i++)
        is_int(myco_rlog_leader(world.servers[i].log), (long long)leader->id,
            "server %zu knows who leads", i + 1);
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

static void refuses(void)
{
    struct world world;
    struct myco_err err = {0};
    world_init(&world, 3, 7);
    for (size_t i = 0; i < 3; i++) ok(world_start(&world, i, &err) == 0, "an empty log opens");
    struct myco_rlog *log = world.servers[0].log;
    ok(myco_rlog_empty(log), "it is empty");
    is_int(
        myco_rlog_submit(log, myco_str("x")), MYCO_ENOTLEADER, "a fresh server takes no command");
    struct myco_log_server standby = {.id = 1, .role = MYCO_ROLE_STANDBY};
    is_int(myco_rlog_bootstrap(log, &standby, 1, &err), MYCO_EINVAL, "a cluster without voters");
    struct myco_log_server twice[2] = {{1, MYCO_ROLE_VOTER}, {1, MYCO_ROLE_VOTER}};
    is_int(myco_rlog_bootstrap(log, twice, 2, &err), MYCO_EINVAL, "the same server twice");
    struct myco_log_server three[3] = {
        {1, MYCO_ROLE_VOTER}, {2, MYCO_ROLE_VOTER}, {3, MYCO_ROLE_VOTER}};
    for (size_t i = 0; i < 3; i++)
        is_int(myco_rlog_bootstrap(world.servers[i].log, three, 3, &err), 0, "bootstrap");
    ok(!myco_rlog_empty(log), "it is empty no more");
    is_int(myco_rlog_bootstrap(log, three, 3, &err), MYCO_EEXISTS, "a second bootstrap is refused");
    world_run(&world, 2000);
    is_int(myco_rlog_bootstrap(log, three, 3, &err), MYCO_EEXISTS, "… later too");
    world_crash(&world, 0);
    ok(world_start(&world, 0, &err) == 0, "… and after a restart");
    is_int(myco_rlog_bootstrap(world.servers[0].log, three, 3, &err), MYCO_EEXISTS, "…");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

static void keeps_its_limits(void)
{
    struct world world;
    world_init(&world, 3, 3);
    world_bootstrap(&world, 3);
    struct server *leader = world_await_leader(&world, 3000);
    struct server *other = &world.servers[leader == &world.servers[0] ? 1 : 0];
    static uint8_t big[(1 << 20) + 1];
    is_int(myco_rlog_submit(other->log, myco_str("x")), MYCO_ENOTLEADER, "a follower takes none");
    is_int(myco_rlog_submit(leader->log, myco_bytes(big, sizeof big)), MYCO_ETOOBIG, "1 MiB + 1");
    is_int(myco_rlog_submit(leader->log, myco_bytes(big, sizeof big - 1)), 0, "1 MiB");
    is_int(myco_rlog_submit(leader->log, myco_bytes(NULL, 0)), 0, "nothing is a command too");
    int status = 0;
    unsigned taken = 2;
    while ((status = myco_rlog_submit(leader->log, myco_str("x"))) == 0) taken++;
    is_int(status, MYCO_EFULL, "what is not committed is bounded");
    is_int(taken, 1024, "… at 1,024");
    ok(world_await_applied(&world, 5000), "all of it is applied");
    world_run(&world, 500);
    ok(world_await_applied(&world, 5000), "all of it is applied");
    is_int(leader->commands, 1024, "… once each");
    is_int(myco_rlog_submit(leader->log, myco_str("x")), 0, "and then there is room again");
    for (int i = 0; i < 40; i++) status = myco_rlog_submit(leader->log, myco_bytes(big, 1 << 20));
    is_int(status, MYCO_EFULL, "… bounded by bytes as well");
    world_run(&world, 3000);
    ok(world_await_applied(&world, 5000), "applied");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

static bool all_have(struct world *world, void *data)
{
    for (size_t i = 0; i < world->count; i++)
        if (world->servers[i].commands < *(uint64_t *)data) return false;
    return true;
}

static bool leader_has(struct world *world, void *data)
{
    return world_leader(world)->commands >= *(uint64_t *)data;
}

/* In an idle cluster the next message would be a heartbeat, up to 50 ms later. */
static void tells_followers_at_once(void)
{
    struct world world;
    world_init(&world, 3, 29);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 5), "three voters");
    uint64_t worst_ns = 0, commands = 5;
    for (int i = 0; i < 100; i++) {
        world_run(&world, world_random(&world, 60));
        commands++;
        (void)world_submit(&world, "x");
        if (!world_until(&world, leader_has, &commands, 1000)) break;
        uint64_t began_ns = world.now_ns;
        if (!world_until(&world, all_have, &commands, 1000)) break;
        if (world.now_ns - began_ns > worst_ns) worst_ns = world.now_ns - began_ns;
    }
    is_int(commands, 105, "100 commands, one at a time");
    ok(worst_ns < 6 * MS, "followers apply at most %.1f ms after the leader",
        (double)worst_ns / 1e6);

    /* … and who is only slow is not sent everything again */
    static uint8_t command[200];
    struct server *leader = world_leader(&world);
    world.servers[leader == &world.servers[0] ? 1 : 0].disk.slow_ns = 15 * MS;
    uint64_t bytes = world.sent_bytes;
    for (int i = 0; i < 1000; i++) {
        (void)myco_rlog_submit(leader->log, myco_bytes(command, sizeof command));
        world_run(&world, 1);
    }
    ok(world.sent_bytes - bytes < 1000 * sizeof command * 5, "1,000 commands cost %d bytes each",
        (int)((world.sent_bytes - bytes) / 1000));
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

int main(void)
{
    forms_and_commits(1);
    forms_and_commits(3);
    forms_and_commits(5);
    refuses();
    keeps_its_limits();
    tells_followers_at_once();
    return plan_done();
}
