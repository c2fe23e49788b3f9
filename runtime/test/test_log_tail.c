/* Nodes outside of the group: they follow what is committed from a neighbour. Would catch: an entry
 * that is applied twice, in another order or before it is committed; a snapshot that rewinds the
 * state of a node that was ahead of it; a node that joins or leaves the group and loses its place;
 * a node that tails and takes itself for fresh after a restart; one that never leaves a dead
 * feeder. */
#include "log_cluster.h"
#include "tap.h"

#define VOTERS 3
#define ALL    8

static void hint_all(struct world *world)
{
    struct server *leader = world_await_leader(world, 3000);
    for (size_t i = 0; i < world->count; i++)
        if (world->servers[i].log != NULL && leader != NULL)
            myco_rlog_tail_hint(world->servers[i].log, leader->id);
}

static bool same(struct world *world, unsigned count)
{
    for (unsigned i = 0; i < count; i++) world_submit(world, "tailed");
    world_run(world, 100);
    return world_await_applied(world, 15000);
}

static void begin(struct world *world, uint64_t seed)
{
    world_init(world, ALL, seed);
    world->tails = true;
    world->options.snapshot_threshold = 60;
    world->options.snapshot_trailing = 10;
    world_bootstrap(world, VOTERS);
    hint_all(world);
}

static void follows(void)
{
    struct world world;
    struct myco_rlog_tail tail;
    begin(&world, 3);
    ok(same(&world, 10), "five nodes follow three voters");
    is_int(world.servers[7].commands, 10, "... from the beginning");
    ok(!myco_rlog_empty(world.servers[7].log), "... and know that they are part of a cluster");
    struct server *leader = world_leader(&world);
    myco_rlog_tail(leader->log, &tail);
    ok(tail.followers <= 4, "the leader feeds few of them");
    world_crash(&world, 7);
    ok(same(&world, 700), "one is away while all let go of what it needs");
    is_int(world_start(&world, 7, NULL), 0, "it starts again");
    ok(!myco_rlog_empty(world.servers[7].log), "... and does not take itself for fresh");
    ok(same(&world, 5), "it follows again");
    ok(world.servers[7].restores > 0, "... from a snapshot");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

static void joins_and_leaves(void)
{
    struct world world;
    begin(&world, 8);
    ok(same(&world, 80), "a node tails beyond a snapshot of the group");
    unsigned restores = world.servers[4].restores;
    struct server *leader = world_await_leader(&world, 3000);
    is_int(myco_rlog_assign(leader->log, 5, MYCO_ROLE_STANDBY), 0, "it becomes a stand-by");
    ok(same(&world, 20), "it goes on where it was");
    is_int(world.servers[4].restores, restores, "... and its state was not rewound");
    leader = world_await_leader(&world, 3000);
    is_int(myco_rlog_assign(leader->log, 5, MYCO_ROLE_NONE), 0, "it is removed");
    ok(same(&world, 20), "and tails again");
    is_int(myco_rlog_role(world.servers[4].log, 5), MYCO_ROLE_NONE, "... and knows it");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

static void survives(uint64_t seed)
{
    struct world world;
    begin(&world, seed);
    world.loss_percent = 5;
    for (unsigned round = 0; round < 8; round++) {
        size_t at = (size_t)world_random(&world, ALL);
        for (int i = 0; i < 15; i++) world_submit(&world, "chaos");
        world_crash(&world, at);
        world_run(&world, 300 + world_random(&world, 1500));
        if (world_start(&world, at, NULL) != 0) break;
        hint_all(&world);
    }
    world.loss_percent = 0;
    hint_all(&world);
    ok(same(&world, 5), "seed %u: all come to the same", (unsigned)seed);
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

int main(void)
{
    follows();
    joins_and_leaves();
    for (uint64_t seed = 1; seed <= 5; seed++) survives(seed);
    return plan_done();
}
