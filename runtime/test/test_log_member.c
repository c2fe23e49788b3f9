/* Servers that come, are promoted, and go; leadership that is handed over. Would catch: a promotion
 * that does not wait for the log, two changes at once, a removed voter that still counts or
 * disturbs, a hand-over that loses what was submitted, an only voter that leads one term twice. */
#include "log_cluster.h"
#include "tap.h"

struct wanted {
    uint64_t id;
    enum myco_role role;
};

static bool has_role(struct world *world, void *data)
{
    struct wanted *wanted = data;
    struct server *leader = world_leader(world);
    return leader != NULL && myco_rlog_role(leader->log, wanted->id) == wanted->role;
}

static bool assign(struct world *world, uint64_t id, enum myco_role role)
{
    struct wanted wanted = {id, role};
    struct server *leader = world_await_leader(world, 3000);
    if (leader == NULL) return false;
    int status = myco_rlog_assign(leader->log, id, role);
    if (status != 0) note("assign: %s", myco_errname(status));
    return status == 0 && world_until(world, has_role, &wanted, 3000);
}

static void comes_and_goes(void)
{
    struct world world;
    world_init(&world, 5, 9);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 20), "three voters");
    struct server *leader = world_leader(&world);
    uint64_t other = leader->id == 1 ? 2 : 1;
    is_int(
        myco_rlog_assign(leader->log, 4, MYCO_ROLE_VOTER), MYCO_EINVAL, "no voter out of nowhere");
    is_int(myco_rlog_assign(leader->log, 4, MYCO_ROLE_NONE), MYCO_ENOTFOUND, "nobody to remove");
    is_int(myco_rlog_assign(leader->log, leader->id, MYCO_ROLE_NONE), MYCO_EINVAL, "not oneself");
    is_int(myco_rlog_assign(leader->log, other, MYCO_ROLE_VOTER), 0, "what is so already is done");
    is_int(myco_rlog_assign(world.servers[other - 1].log, 4, MYCO_ROLE_SPARE), MYCO_ENOTLEADER,
        "only by the leader");
    is_int(myco_rlog_assign(leader->log, 4, MYCO_ROLE_SPARE), 0, "a fourth is added as a spare");
    is_int(myco_rlog_assign(leader->log, 5, MYCO_ROLE_SPARE), MYCO_EBUSY, "one change at a time");
    world_run(&world, 300);
    is_int(myco_rlog_role(leader->log, 4), MYCO_ROLE_SPARE, "it is one");
    ok(myco_rlog_empty(world.servers[3].log), "… and gets nothing");
    ok(assign(&world, 4, MYCO_ROLE_VOTER), "it is promoted to voter");
    ok(world_commit(&world, 5), "… and has everything");
    is_int(world.servers[3].commands, 25, "… each once");
    is_int(myco_rlog_role(world.servers[3].log, 4), MYCO_ROLE_VOTER, "… and knows it");
    ok(assign(&world, 5, MYCO_ROLE_STANDBY), "a fifth is added as a standby");
    ok(world_commit(&world, 5), "it follows");
    is_int(world.servers[4].commands, 30, "… from the beginning");
    ok(assign(&world, other, MYCO_ROLE_NONE), "a voter is removed");
    uint64_t term = myco_rlog_term(leader->log);
    world_run(&world, 3000);
    is_int(myco_rlog_term(leader->log), (long long)term, "… and disturbs nobody");
    ok(assign(&world, 5, MYCO_ROLE_VOTER), "the standby becomes a voter");
    world_crash(&world, other - 1);
    world_crash(&world, (size_t)(leader - world.servers));
    struct server *next = world_await_leader(&world, 5000);
    ok(next != NULL && next != leader, "the leader dies, and three of four elect another");
    ok(world_commit(&world, 5), "… and go on");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

static bool leads(struct world *world, void *data)
{
    return world_leader(world) == data;
}

static void hands_over(void)
{
    struct world world;
    world_init(&world, 3, 21);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 10), "three voters");
    for (unsigned round = 0; round < 6; round++) {
        struct server *leader = world_await_leader(&world, 1000);
        struct server *to = &world.servers[((size_t)(leader - world.servers) + 1) % 3];
        for (int i = 0; i < 5; i++) (void)world_submit(&world, "before");
        world_run(&world, 1);
        uint64_t began_ns = world.now_ns;
        is_int(myco_rlog_transfer(leader->log, to->id), 0, "server %u hands over",
            (unsigned)leader->id);
        is_int(
            myco_rlog_submit(leader->log, myco_str("x")), MYCO_ENOTLEADER, "… and takes no more");
        ok(world_until(&world, leads, to, 1000), "… to server %u", (unsigned)to->id);
        ok(world.now_ns - began_ns < 50 * MS, "… in %.1f ms",
            (double)(world.now_ns - began_ns) / 1e6);
    }
    ok(world_await_applied(&world, 1000), "all apply the same");
    is_int(world_leader(&world)->commands, 40, "… and nothing was lost");
    struct server *leader = world_leader(&world);
    is_int(myco_rlog_transfer(leader->log, 0), 0, "to anybody");
    is_int(myco_rlog_transfer(leader->log, 0), MYCO_EBUSY, "… once");
    world_run(&world, 300);
    ok(world_leader(&world) != NULL && world_leader(&world) != leader, "somebody took it");
    is_int(myco_rlog_transfer(world_leader(&world)->log, 77), MYCO_EINVAL, "not to a stranger");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

/* A standby got an entry from an only voter that died before it had stored it. Were the same term
 * led again, the next entry would have the same index and term, and the standby would keep the
 * former. */
static void only_voter_forgets(void)
{
    struct world world;
    struct myco_err err = {0};
    world_init(&world, 2, 31);
    world_bootstrap(&world, 1);
    ok(world_commit(&world, 3), "one voter");
    ok(assign(&world, 2, MYCO_ROLE_STANDBY), "one standby");
    ok(world_commit(&world, 3), "… that follows");
    uint64_t term = myco_rlog_term(world.servers[0].log);
    world.sync_min_ns = world.sync_max_ns = 30 * MS; /* the network is faster than the disk */
    (void)world_submit(&world, "told, but not stored");
    world_run(&world, 10);
    world_crash(&world, 0);
    world.sync_min_ns = world.sync_max_ns = MS;
    is_int(world_start(&world, 0, &err), 0, "the voter dies and comes back");
    ok(myco_rlog_term(world.servers[0].log) > term, "… in a new term");
    ok(world_commit(&world, 1), "it commits something else there");
    ok(world_await_applied(&world, 2000), "both have the same");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

/* Two voters, one standby that becomes a voter; the leader dies when all but the new one know. */
static void new_voter_does_not_know(void)
{
    struct world world;
    world_init(&world, 3, 41);
    world_bootstrap(&world, 2);
    ok(world_commit(&world, 3), "two voters");
    ok(assign(&world, 3, MYCO_ROLE_STANDBY), "and a standby");
    ok(world_commit(&world, 3), "… that follows");
    struct server *leader = world_leader(&world);
    size_t at = (size_t)(leader - world.servers);
    world_run(&world, 20); /* the leader hears that it has everything */
    world_isolate(&world, 2, true);
    is_int(myco_rlog_assign(leader->log, 3, MYCO_ROLE_VOTER), 0, "the standby is promoted");
    struct wanted wanted = {3, MYCO_ROLE_VOTER};
    ok(world_until(&world, has_role, &wanted, 1000), "… by the two others");
    world_run(&world, 60); /* the other one hears that it is committed */
    is_int(myco_rlog_role(world.servers[2].log, 3), MYCO_ROLE_STANDBY, "… it does not know yet");
    world_crash(&world, at);
    world_isolate(&world, 2, false);
    world.cut[at][2] = world.cut[2][at] = true;
    struct server *next = world_await_leader(&world, 5000);
    ok(next != NULL, "the leader dies, and the two that are left elect");
    ok(world_commit(&world, 3), "… and commit");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

/* The longest log, but an old term: without being told the term, it would ask in vain for ever. */
static void old_term_longest_log(void)
{
    struct world world;
    struct myco_err err = {0};
    world_init(&world, 3, 51);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 3), "three voters");
    struct server *leader = world_leader(&world);
    size_t a = (size_t)(leader - world.servers), b = (a + 1) % 3, c = (a + 2) % 3;
    world_isolate(&world, c, true);
    (void)world_submit(&world, "on two of three");
    world_run(&world, 20);
    world_crash(&world, a);
    world_crash(&world, b);
    /* c meets a server from the future: its term rises far above that of the others */
    static const uint8_t vote[] = {1, 3 /* request vote */, 90, 0, 0, 0, 0, 0, 0, 0, /* term */
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                              /* no log */
        1};
    myco_rlog_receive(world.servers[c].log, b + 1, myco_bytes(vote, sizeof vote));
    is_int(myco_rlog_term(world.servers[c].log), 90,
        "one is far ahead in terms, and behind in the log");
    is_int(world_start(&world, b, &err), 0, "the other has the log, and an old term");
    world_heal(&world);
    struct server *next = world_await_leader(&world, 3000);
    ok(next == &world.servers[b], "it is elected");
    ok(world_commit(&world, 3), "and they go on");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

/* An only voter that was unseated by a higher term (a removed server's, say) must not lead that
 * very term: it has not voted in it. */
static void only_voter_is_unseated(void)
{
    struct world world;
    world_init(&world, 1, 61);
    world_bootstrap(&world, 1);
    ok(world_commit(&world, 3), "one voter");
    static const uint8_t vote[] = {1, 3 /* request vote */, 90, 0, 0, 0, 0, 0, 0, 0, /* term */
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                              /* no log */
        1};
    myco_rlog_receive(world.servers[0].log, 7, myco_bytes(vote, sizeof vote));
    is_int(myco_rlog_term(world.servers[0].log), 90, "somebody comes with a high term");
    ok(!myco_rlog_is_leader(world.servers[0].log), "… and it steps down");
    ok(world_await_leader(&world, 2000) != NULL, "it leads again");
    ok(myco_rlog_term(world.servers[0].log) > 90, "… a term of its own");
    ok(world_commit(&world, 3), "… and commits");
    world_free(&world);
}

/* A voter is told of its demotion only once that is committed: else it would have the longest log,
 * and no right to stand, and the one that is left with it could not be elected. */
static void leader_dies_while_demoting(void)
{
    struct world world;
    world_init(&world, 3, 71);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 3), "three voters");
    struct server *leader = world_leader(&world);
    size_t at = (size_t)(leader - world.servers), demoted = (at + 1) % 3, other = (at + 2) % 3;
    world_cut(&world, at, other, true);
    is_int(
        myco_rlog_assign(leader->log, demoted + 1, MYCO_ROLE_STANDBY), 0, "one is to be demoted");
    world_run(&world, 40);
    world_crash(&world, at);
    struct server *next = world_await_leader(&world, 3000);
    ok(next != NULL, "the leader dies before anybody else heard of it, and the two elect");
    ok(world_commit(&world, 3), "… and go on");
    is_int(
        myco_rlog_role(world.servers[other].log, demoted + 1), MYCO_ROLE_VOTER, "… both as voters");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

int main(void)
{
    comes_and_goes();
    hands_over();
    only_voter_forgets();
    new_voter_does_not_know();
    old_term_longest_log();
    only_voter_is_unseated();
    leader_dies_while_demoting();
    return plan_done();
}
