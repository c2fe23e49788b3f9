/* What the log finds on its disk after a crash, a torn write, rot, or a disk that fails. Would
 * catch: an acknowledged entry or a vote that is gone after a restart, a torn tail that keeps a
 * node from starting, damage that is believed, a node that goes on after a failed write. */
#include "base/fault.h"
#include "log_cluster.h"
#include "tap.h"

static void restarts(void)
{
    struct world world;
    struct myco_err err = {0};
    world_init(&world, 3, 11);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 50), "50 commands");
    for (size_t i = 0; i < 3; i++) world_crash(&world, i);
    for (size_t i = 0; i < 3; i++)
        ok(world_start(&world, i, &err) == 0, "server %zu comes back", i + 1);
    ok(world_await_applied(&world, 3000), "all apply the same again");
    is_int(world.servers[0].commands, 50, "… all of it");
    is_int(world.servers[0].restores, 0, "… without a snapshot");
    ok(world_commit(&world, 10), "and go on");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

/* One voter with some entries, stopped. */
static struct server *stopped(struct world *world, unsigned commands)
{
    world_init(world, 1, 5);
    world_bootstrap(world, 1);
    ok(world_commit(world, commands), "one voter, %u commands", commands);
    world_crash(world, 0);
    return &world->servers[0];
}

static int reopen(struct world *world, struct myco_err *err)
{
    *err = (struct myco_err){0};
    return world_start(world, 0, err);
}

static void torn_tails(void)
{
    struct world world;
    struct myco_err err;
    struct server *server = stopped(&world, 20);
    struct blob *segment = world_last_segment(server);
    size_t size = segment->bytes.size;
    /* as if the last write had got only so far; its watermark is behind it, in no other record */
    for (size_t cut = 1; cut < 40; cut += 7) {
        uint8_t last[64];
        memcpy(last, segment->bytes.data + size - 50, 50);
        segment->bytes.size = size - cut;
        is_int(reopen(&world, &err), 0, "%zu bytes short: it is cut", cut);
        ok(segment->bytes.size < size - cut, "… to the last whole record");
        world_run(&world, 400);
        world_crash(&world, 0);
        /* and back */
        segment->bytes.size = size - 50;
        myco_buf_bytes(&segment->bytes, last, 50);
        struct blob *meta = world_blob(server, "consensus/meta");
        ok(meta != NULL, "there is a meta file");
    }
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);

    server = stopped(&world, 20);
    segment = world_last_segment(server);
    static const uint8_t zeros[300];
    myco_buf_bytes(&segment->bytes, zeros, sizeof zeros);
    is_int(reopen(&world, &err), 0, "a file that ends in zeros: they are cut");
    world_run(&world, 400);
    is_int(server->commands, 20, "… and everything is there");
    ok(world_commit(&world, 5), "… and it goes on");
    world_free(&world);
}

static void rot(void)
{
    struct world world;
    struct myco_err err;
    struct server *server = stopped(&world, 20);
    struct blob *segment = world_last_segment(server);
    unsigned refused = 0, tried = 0, named = 0;
    for (size_t at = 0; at < segment->bytes.size; at++) {
        if (at >= 44 && at < 48) continue; /* the head's four spare bytes come below */
        segment->bytes.data[at] ^= (uint8_t)(1 << (at % 8));
        tried++;
        int status = reopen(&world, &err);
        refused += status == MYCO_ECORRUPT;
        named +=
            strstr(err.message, "consensus/log-") != NULL && strstr(err.message, "offset") != NULL;
        world_crash(&world, 0);
        segment->bytes.data[at] ^= (uint8_t)(1 << (at % 8));
    }
    is_int(refused, tried, "any flipped bit of the log is refused (%u tried)", tried);
    is_int(named, tried, "… with file and offset: %s", err.message);
    is_int(reopen(&world, &err), 0, "mended, it opens");
    world_free(&world);
}

static void rotten_meta(void)
{
    struct world world;
    struct myco_err err;
    struct server *server = stopped(&world, 3);
    struct blob *meta = world_blob(server, "consensus/meta");
    is_int(meta->bytes.size, 1024, "term and vote have a file of fixed size");
    meta->bytes.data[30] ^= 4;
    is_int(reopen(&world, &err), 0, "one rotten copy is mended from the other");
    world_crash(&world, 0);
    meta->bytes.data[512 + 30] ^= 4;
    is_int(reopen(&world, &err), 0, "… either one");
    world_crash(&world, 0);
    meta->bytes.data[30] ^= 4;
    meta->bytes.data[512 + 30] ^= 4;
    is_int(reopen(&world, &err), MYCO_ECORRUPT, "both: refused");
    ok(strstr(err.message, "consensus/meta") != NULL, "… naming it: %s", err.message);
    meta->bytes.data[30] ^= 4;
    meta->bytes.data[512 + 30] ^= 4;
    meta->path[0] = 'x';
    is_int(reopen(&world, &err), MYCO_ECORRUPT, "a log without its meta file is refused");
    meta->path[0] = 'c';
    server->id = 9;
    is_int(
        reopen(&world, &err), MYCO_EINVAL, "another server's folder is refused: %s", err.message);
    server->id = 1;
    world_free(&world);
}

/* The synced end is gone: a disk that lied, or a folder that was rolled back in part. */
static void lost_tail(void)
{
    struct world world;
    struct myco_err err;
    struct server *server = stopped(&world, 20);
    is_int(reopen(&world, &err), 0,
        "a start as the only voter writes a new term, and how much is synced");
    world_crash(&world, 0);
    struct blob *segment = world_last_segment(server);
    segment->bytes.size = 200;
    is_int(reopen(&world, &err), MYCO_ECORRUPT, "less than that is damage: %s", err.message);
    segment->path[0] = 'x';
    is_int(reopen(&world, &err), MYCO_ECORRUPT, "… and so is a log that is gone: %s", err.message);
    segment->path[0] = 'c';
    world_free(&world);
}

static void failing_disk(void)
{
    struct world world;
    world_init(&world, 3, 17);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 5), "5 commands");
    struct server *leader = world_leader(&world);
    leader->disk.fail_writes = true;
    (void)world_submit(&world, "lost or not");
    world_run(&world, 100);
    is_int(
        leader->failed, MYCO_EIO, "the leader's disk fails, and it says so: %s", leader->failure);
    ok(!myco_rlog_is_leader(leader->log), "… and leads no more");
    is_int(myco_rlog_submit(leader->log, myco_str("x")), MYCO_ECLOSED, "… and takes nothing");
    struct server *next = world_await_leader(&world, 3000);
    ok(next != NULL && next != leader, "another one takes over");
    ok(world_commit(&world, 5), "and the rest go on");
    leader->disk.fail_writes = false;
    world_crash(&world, (size_t)(leader - world.servers));
    struct myco_err err = {0};
    is_int(world_start(&world, (size_t)(leader - world.servers), &err), 0, "reopened, it is back");
    ok(world_commit(&world, 5), "… and has everything");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

/* A vote that can't be written must not be told. */
static void failing_vote(void)
{
#ifdef MYCO_FAULTS
    struct world world;
    world_init(&world, 3, 23);
    world_bootstrap(&world, 3);
    myco_fault_arm("consensus.vote", 0, -1);
    world_run(&world, 2000);
    ok(world_leader(&world) == NULL, "nobody is elected when no vote can be written");
    unsigned failed = 0;
    for (size_t i = 0; i < 3; i++) failed += world.servers[i].failed == MYCO_EIO;
    ok(failed > 0, "… and who tried has failed");
    myco_fault_disarm_all();
    world_free(&world);
#else
    skip("fault points are not compiled in");
#endif
}

int main(void)
{
    restarts();
    torn_tails();
    rot();
    rotten_meta();
    lost_tail();
    failing_disk();
    failing_vote();
    return plan_done();
}
