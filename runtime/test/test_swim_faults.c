/* Membership where the network is not kind: crashes, loss, pauses, partitions, garbage.
 * Would catch: a crash that is found late or not by all, a slow or lossy member declared dead
 * though it answers, halves of a partition that stay apart or kill each other's members when they
 * meet, a datagram that is believed in part or crashes the node. */
#include "swim_world.h"

#include <math.h>

/* Each member is next in some prober's round within 2n − 1 probes, at worst; a probe takes two
 * periods to fail; a suspicion waits at most 4 × low; then the news goes round. */
static uint64_t bound_ms(unsigned n)
{
    double low = 1000 * fmax(1, log10(n));
    return (uint64_t)((2 * n - 1) * 200 + 400 + (n > 2 ? 4 : 1) * low + 1000);
}

static void test_crash(unsigned count)
{
    uint64_t worst = 0, sum = 0;
    for (unsigned seed = 1; seed <= 5; seed++) {
        struct world *world = world_new(seed, count);
        world_start(world);
        world_converge(world, 10000);
        myco_sim_run(world->sim, 1000 + seed * 37);
        myco_sim_crash(world->sim, count - 1, MYCO_SIM_POWER);
        uint64_t ms = world_agree(world, count - 1, MYCO_MEMBER_DEAD, bound_ms(count));
        if (ms > worst) worst = ms;
        sum += ms;
        if (world_deaths(world) != count - 1) ok(false, "only it died (seed %u)", seed);
        world_free(world);
    }
    ok(worst <= bound_ms(count), "a crash among %u is known to all within %llu ms", count,
        (unsigned long long)bound_ms(count));
    note("%u nodes: mean %llu ms, worst of 5 %llu ms", count, (unsigned long long)sum / 5,
        (unsigned long long)worst);
}

static void test_isolated(void)
{
    struct world *world = world_new(1, 8);
    world_start(world);
    world_converge(world, 5000);
    myco_sim_isolate(world->sim, 2);
    uint64_t ms = world_agree(world, 2, MYCO_MEMBER_SUSPECT, 5000);
    ok(ms <= 5000, "a node that nobody hears is suspected (%llu ms)", (unsigned long long)ms);
    ms = world_agree(world, 2, MYCO_MEMBER_DEAD, bound_ms(8));
    ok(ms <= bound_ms(8), "then dead (%llu ms later)", (unsigned long long)ms);
    myco_sim_run(world->sim, 30000);
    is_int(myco_swim_count(world->nodes[2].swim, MYCO_MEMBER_ALIVE), 1, "it sees only itself");
    myco_sim_mend_all(world->sim);
    ms = world_converge(world, 10000);
    ok(ms <= 4000, "and is back soon after it is heard again (%llu ms)", (unsigned long long)ms);
    world_free(world);
}

/* One direction only: A does not hear B. Others can, and say so. */
static void test_one_way(void)
{
    struct world *world = world_new(2, 8);
    world_start(world);
    world_converge(world, 5000);
    myco_sim_cut_both(world->sim, 2, 5);
    myco_sim_run(world->sim, 60000);
    is_int(world_deaths(world), 0, "a broken path between two members kills neither");
    note("%u suspicions in a minute", world_suspicions(world));
    world_free(world);
}

static void test_lossy_and_slow(void)
{
    struct world *world = world_new(3, 16);
    world_start(world);
    world_converge(world, 5000);
    struct myco_sim_path path = {.delay_min_ns = 50000,
        .delay_max_ns = 2000000,
        .delay_tail_ns = 20000000,
        .tail_ppm = 10000,
        .loss_ppm = 200000,
        .duplicate_ppm = 20000,
        .byte_ps = 8000};
    myco_sim_set_all_paths(world->sim, &path);
    for (unsigned second = 0; second < 120; second++) {
        myco_sim_pause(world->sim, second % 16, 400);
        myco_sim_run(world->sim, 1000);
    }
    is_int(world_deaths(world), 0, "20 %% loss and pauses of 400 ms kill nobody in 2 minutes");
    note("%u suspicions, all refuted", world_suspicions(world));
    myco_sim_mend_all(world->sim);
    struct myco_sim_options options;
    myco_sim_options_init(&options, 0, 1);
    myco_sim_set_all_paths(world->sim, &options.path);
    uint64_t ms = world_converge(world, 10000);
    ok(ms <= 10000, "all are well afterwards (%llu ms)", (unsigned long long)ms);
    world_free(world);
}

/* A node that is paused for long does not bury the others when it wakes. */
static void test_long_pause(void)
{
    struct world *world = world_new(4, 8);
    world_start(world);
    world_converge(world, 5000);
    for (unsigned i = 0; i < 10; i++) {
        myco_sim_pause(world->sim, 3, 900);
        myco_sim_run(world->sim, 1500);
    }
    is_int(world->nodes[3].deaths, 0, "whoever slept does not call the others dead");
    is_int(world_deaths(world), 0, "nor they it, as it answers when awake");
    world_free(world);
}

/* Every path to and from one node takes longer than a probe waits. It suspects the others for a
 * while, until it has learned to wait. */
static void test_far_away(void)
{
    struct world *world = world_new(7, 8);
    world_start(world);
    world_converge(world, 5000);
    struct myco_sim_options options;
    myco_sim_options_init(&options, 0, 1);
    struct myco_sim_path path = options.path;
    path.delay_min_ns = 120 * MYCO_SIM_MS;
    path.delay_max_ns = 140 * MYCO_SIM_MS;
    for (unsigned i = 0; i < 8; i++) {
        if (i == 3) continue;
        myco_sim_set_path(world->sim, 3, i, &path);
        myco_sim_set_path(world->sim, i, 3, &path);
    }
    myco_sim_run(world->sim, 60000);
    unsigned suspicions = world->nodes[3].suspicions;
    ok(suspicions < 60, "a node far away suspects less than at each probe (%u of 300)", suspicions);
    is_int(world_deaths(world), 0, "and nobody dies");
    world_free(world);
}

/* Whatever happened, when it is over all believe the truth. */
static void test_storm(uint64_t seed)
{
    struct world *world = world_new(seed, 9);
    world_start(world);
    struct myco_sim_nemesis nemesis = {.until_ms = 60000,
        .crash_ms = 3000,
        .partition_ms = 5000,
        .pause_ms = 2000,
        .jump_ms = 5000,
        .loss_ms = 8000};
    myco_sim_nemesis(world->sim, &nemesis);
    myco_sim_run(world->sim, 60000);
    uint64_t ms = world_converge(world, 20000);
    ok(ms <= 10000, "after storm %llu all believe the truth (%llu ms)", (unsigned long long)seed,
        (unsigned long long)ms);
    unsigned deaths = world_deaths(world);
    myco_sim_run(world->sim, 20000);
    is_int(world_deaths(world), deaths, "and go on to");
    world_free(world);
}

static void test_partition(unsigned count, unsigned side_count)
{
    struct world *world = world_new(5, count);
    world_start(world);
    world_converge(world, 10000);
    uint8_t side[HOSTS_MAX] = {0};
    for (unsigned i = 0; i < side_count; i++) side[i] = 1;
    myco_sim_partition(world->sim, side);
    myco_sim_run(world->sim, 70000); /* not when those who join ask again, each 30 s */
    is_int(myco_swim_count(world->nodes[0].swim, MYCO_MEMBER_ALIVE), side_count,
        "cut into %u and %u: one side is alone", side_count, count - side_count);
    is_int(myco_swim_count(world->nodes[count - 1].swim, MYCO_MEMBER_ALIVE), count - side_count,
        "so is the other");
    unsigned deaths = world_deaths(world);
    myco_sim_mend_all(world->sim);
    uint64_t ms = world_converge(world, 20000);
    ok(ms <= 8000, "they find each other again (%llu ms)", (unsigned long long)ms);
    myco_sim_run(world->sim, 10000);
    is_int(world_deaths(world), deaths, "and nobody dies of what the other side believed");
    world_free(world);
}

/* The bytes that a ping is made of, as they leave. */
static struct myco_slice caught;
static uint8_t caught_bytes[1400];
static int catching_send(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    (void)env, (void)to;
    memcpy(caught_bytes, bytes.data, bytes.size);
    caught = myco_bytes(caught_bytes, bytes.size);
    return 0;
}

static void test_garbage(void)
{
    struct world *world = world_new(6, 3);
    world_start(world);
    world_converge(world, 5000);
    myco_sim_run(world->sim, 2000); /* all news is told: a ping is a ping alone */
    struct myco_env *env = myco_sim_env(world->sim, 1);
    struct myco_env_ops ops = *env->ops;
    ops.datagram_send = catching_send;
    env->ops = &ops;
    myco_swim_hint(world->nodes[1].swim, world->nodes[0].id);
    env->ops = &world->ops;
    uint64_t *refused = &myco_sim_env(world->sim, 0)->metrics->values[MYCO_METRIC_GOSSIP_REFUSED];
    uint64_t before = *refused;
    struct myco_addr from = myco_sim_addr(1);
    is_int(caught.size, 29 + 21, "a ping is 50 bytes");
    for (size_t cut = 0; cut < caught.size; cut++) {
        if (cut == 29) continue; /* a header alone is a datagram without messages */
        myco_swim_receive(world->nodes[0].swim, &from, myco_bytes(caught_bytes, cut));
    }
    is_int(*refused - before, caught.size - 1, "cut anywhere, it is refused");
    before = *refused;
    for (size_t i = 0; i < 13; i++) {
        caught_bytes[i] ^= 1;
        myco_swim_receive(world->nodes[0].swim, &from, caught);
        caught_bytes[i] ^= 1;
    }
    is_int(*refused - before, 13, "and so it is with another magic, version or cluster");
    myco_sim_run(world->sim, 5000);
    ok(world_converged(world), "nobody minds");
    world_free(world);
}

int main(void)
{
    test_crash(2);
    test_crash(3);
    test_crash(16);
    test_crash(64);
    test_isolated();
    test_one_way();
    test_lossy_and_slow();
    test_long_pause();
    test_partition(6, 3);
    test_partition(5, 1);
    test_partition(32, 16);
    test_far_away();
    for (uint64_t seed = 100; seed < 110; seed++) test_storm(seed);
    test_garbage();
    return plan_done();
}
