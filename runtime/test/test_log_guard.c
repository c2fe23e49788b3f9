/* Messages that a network repeats, or that a peer should never send. libraft guards itself by
 * assertions that Debian compiles out, so that each of these would go on in a wrong state. Would
 * catch: garbage that is believed, an old append that is put in at the wrong index, a rejection
 * that moves `next` below `match`. */
#include "base/buf.h"
#include "log_cluster.h"
#include "tap.h"

enum { APPEND = 1, APPEND_RESULT, VOTE, VOTE_RESULT, INSTALL, TIMEOUT_NOW };

static struct myco_buf message(uint8_t type, uint64_t term)
{
    struct myco_buf buf = {0};
    myco_buf_u8(&buf, 1);
    myco_buf_u8(&buf, type);
    myco_buf_u64(&buf, term);
    return buf;
}

static void receive(struct server *to, uint64_t from, struct myco_buf *buf)
{
    myco_rlog_receive(to->log, from, myco_buf_as_slice(buf));
    myco_buf_free(buf);
}

static uint64_t refused(const struct server *server)
{
    return server->metrics.values[MYCO_METRIC_FRAMES_REFUSED];
}

static void garbage(void)
{
    struct world world;
    world_init(&world, 3, 3);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 3), "three voters");
    struct server *leader = world_leader(&world);
    uint64_t other = leader->id == 1 ? 2 : 1, term = myco_rlog_term(leader->log);
    uint64_t before = refused(leader);
    struct myco_buf buf = {0};

    receive(leader, other, &buf); /* nothing at all */
    buf = message(77, term);
    receive(leader, other, &buf); /* of no known type */
    buf = message(VOTE, term);
    receive(leader, other, &buf); /* cut short */
    buf = message(TIMEOUT_NOW, term);
    for (int i = 0; i < 17; i++) myco_buf_u8(&buf, 0);
    receive(leader, other, &buf); /* too long */
    buf = message(APPEND, term);
    for (int i = 0; i < 26; i++) myco_buf_u8(&buf, 0);
    receive(leader, other, &buf); /* whole, but a second leader of this term */
    buf = message(INSTALL, term);
    myco_buf_str(&buf, "no snapshot");
    receive(leader, other, &buf);
    buf = message(VOTE_RESULT, term);
    myco_buf_u8(&buf, 1);
    receive(leader, leader->id, &buf); /* from ourselves */
    is_int(refused(leader) - before, 7, "each is refused, and counted");

    struct server *follower = &world.servers[other - 1];
    before = refused(follower);
    buf = message(APPEND, term);
    myco_buf_u64(&buf, 3); /* an entry before, without a term */
    for (int i = 0; i < 18; i++) myco_buf_u8(&buf, 0);
    receive(follower, leader->id, &buf);
    buf = message(APPEND, term);
    for (int i = 0; i < 24; i++) myco_buf_u8(&buf, 0);
    myco_buf_u16(&buf, 60000); /* more entries than bytes */
    receive(follower, leader->id, &buf);
    buf = message(APPEND, term);
    for (int i = 0; i < 24; i++) myco_buf_u8(&buf, 0);
    myco_buf_u16(&buf, 1);
    myco_buf_u64(&buf, term);
    myco_buf_u8(&buf, 3);
    myco_buf_str(&buf, "not a configuration");
    receive(follower, leader->id, &buf);
    is_int(refused(follower) - before, 3, "by a follower too");
    ok(world_commit(&world, 3), "and the cluster goes on");
    is_int(myco_rlog_term(leader->log), (long long)term, "… in the same term");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

/* The first append to the fourth server starts at entry 1: kept, to come again later. */
static struct myco_buf kept;
static uint64_t kept_from;

static bool keep_first(struct world *world, uint64_t from, uint64_t to, struct myco_slice payload)
{
    const uint8_t *bytes = payload.data;
    (void)world;
    bool from_the_start = payload.size > 40 && bytes[1] == APPEND && bytes[10] == 0;
    if (to == 4 && from_the_start && kept.size == 0) {
        myco_buf_bytes(&kept, payload.data, payload.size);
        kept_from = from;
    }
    return true;
}

static void from_long_ago(void)
{
    struct world world;
    world_init(&world, 4, 13);
    world.options.snapshot_threshold = 30;
    world.options.snapshot_trailing = 5;
    world.filter = keep_first;
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 5), "three voters");
    struct server *leader = world_leader(&world);
    is_int(myco_rlog_assign(leader->log, 4, MYCO_ROLE_STANDBY), 0, "and a standby");
    world_run(&world, 300);
    ok(world_commit(&world, 200), "that has long forgotten how the log began");
    ok(kept.size > 0 && kept_from == leader->id, "… when the first append comes a second time");
    uint64_t applied = myco_rlog_applied_index(world.servers[3].log);
    myco_rlog_receive(world.servers[3].log, kept_from, myco_buf_as_slice(&kept));
    world_run(&world, 20);
    myco_rlog_receive(world.servers[3].log, kept_from, myco_buf_as_slice(&kept));
    ok(world_commit(&world, 20), "it follows as before");
    is_int(
        myco_rlog_applied_index(world.servers[3].log), (long long)applied + 20, "… no entry more");
    struct myco_err err = {0};
    world_crash(&world, 3);
    is_int(world_start(&world, 3, &err), 0, "and its log on disk is whole: %s", err.message);
    ok(world_commit(&world, 5), "…");
    is_str(world.violation, "", "no rule was broken");
    myco_buf_free(&kept);
    world_free(&world);
}

static void stale_rejections(void)
{
    struct world world;
    world_init(&world, 3, 19);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 30), "three voters");
    struct server *leader = world_leader(&world);
    size_t at = (size_t)(leader - world.servers);
    uint64_t term = myco_rlog_term(leader->log), sent_before,
             match = myco_rlog_commit_index(leader->log);
    world_isolate(&world, (at + 1) % 3, true);
    world_run(&world, 300); /* it counts as unreachable, and is probed */
    for (uint64_t rejected = 1; rejected <= match + 2; rejected++) {
        struct myco_buf buf = message(APPEND_RESULT, term);
        myco_buf_u64(&buf, rejected);
        myco_buf_u64(&buf, rejected / 2);
        receive(leader, (at + 1) % 3 + 1, &buf);
    }
    world_heal(&world);
    sent_before = world.sent_bytes;
    ok(world_commit(&world, 10), "rejections from long ago change nothing");
    ok(world.sent_bytes - sent_before < 8000, "… and nothing old is sent again (%d bytes)",
        (int)(world.sent_bytes - sent_before));
    is_int(myco_rlog_term(leader->log), (long long)term, "… nor is the leader lost");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

int main(void)
{
    garbage();
    from_long_ago();
    stale_rejections();
    return plan_done();
}
