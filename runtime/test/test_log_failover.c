/* How long three voters are without an established leader after theirs died: by time-out, and when
 * they are told. Would catch: elections that split again and again, a floor under the timers, a
 * death notice that does nothing, or that unseats a living leader for good. */
#include "log_cluster.h"
#include "tap.h"

#define ROUNDS 400

struct result {
    double ms[ROUNDS];
    unsigned count, slow;
};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool other_leads(struct world *world, void *data)
{
    struct server *leader = world_leader(world);
    return leader != NULL && leader != data;
}

static void one_death(uint64_t seed, bool told, struct result *result)
{
    struct world world;
    world_init(&world, 3, seed);
    world_bootstrap(&world, 3);
    struct server *leader = world_await_leader(&world, 5000);
    if (leader == NULL || !world_commit(&world, 2)) {
        world_free(&world);
        return;
    }
    world_run(&world, world_random(&world, 200));
    if ((leader = world_leader(&world)) != NULL) {
        uint64_t dead = leader->id, began_ns = world.now_ns;
        world_crash(&world, (size_t)(leader - world.servers));
        if (told) {
            world.now_ns += MS; /* the peers see the connection refused */
            for (size_t i = 0; i < 3; i++)
                if (world.servers[i].log != NULL) myco_rlog_leader_died(world.servers[i].log, dead);
        }
        if (world_until(&world, other_leads, leader, 10000))
            result->ms[result->count++] = (double)(world.now_ns - began_ns) / 1e6;
    }
    if (world.violation[0] != '\0') note("seed %d: %s", (int)seed, world.violation);
    world_free(&world);
}

static double quantile(const struct result *result, double q)
{
    return result->ms[(unsigned)((double)(result->count - 1) * q)];
}

static void measure(bool told, double p50_max, double p99_max)
{
    static struct result result;
    result = (struct result){0};
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) one_death(seed, told, &result);
    is_int(result.count, ROUNDS, "after each of %d deaths there is a new leader", ROUNDS);
    qsort(result.ms, result.count, sizeof result.ms[0], ascending);
    double p50 = quantile(&result, 0.5), p99 = quantile(&result, 0.99);
    const char *how = told ? "told of the death" : "by time-out";
    ok(p50 < p50_max, "p50 %s: %.1f ms", how, p50);
    ok(p99 < p99_max, "p99 %s: %.1f ms", how, p99);
    note("failover of 3 voters %s: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms", how, p50,
        quantile(&result, 0.9), p99, quantile(&result, 1));
}

/* Told wrongly: it costs at most one change of leader, and no more than that. */
static void false_alarm(void)
{
    struct world world;
    world_init(&world, 3, 77);
    world_bootstrap(&world, 3);
    ok(world_commit(&world, 5), "three voters");
    struct server *leader = world_leader(&world);
    size_t at = (size_t)(leader - world.servers), liar = (at + 1) % 3;
    uint64_t term = myco_rlog_term(leader->log);
    world_run(&world, 10);
    myco_rlog_leader_died(world.servers[liar].log, 99);
    myco_rlog_leader_died(leader->log, leader->id);
    world_run(&world, 1000);
    is_int(myco_rlog_term(leader->log), (long long)term,
        "news of somebody else's death changes nothing");
    myco_rlog_leader_died(world.servers[liar].log, leader->id);
    world_run(&world, 1000);
    struct server *next = world_await_leader(&world, 1000);
    ok(next != NULL && myco_rlog_term(next->log) <= term + 2, "a false alarm costs one election");

    /* and who can't be heard does not go on asking for ever */
    leader = world_leader(&world);
    at = (size_t)(leader - world.servers);
    liar = (at + 1) % 3;
    world.cut[at][liar] = world.cut[(at + 2) % 3][liar] = true; /* it hears nobody */
    term = myco_rlog_term(leader->log);
    myco_rlog_leader_died(world.servers[liar].log, leader->id);
    world_run(&world, 5000);
    next = world_await_leader(&world, 1000);
    ok(next != NULL && myco_rlog_term(next->log) <= term + 4,
        "a deaf voter unseats the leader at most once or twice, not for ever (%d terms in 5 s)",
        next != NULL ? (int)(myco_rlog_term(next->log) - term) : -1);
    world_heal(&world);
    ok(world_commit(&world, 1), "all go on");
    is_str(world.violation, "", "no rule was broken");
    world_free(&world);
}

int main(void)
{
    measure(false, 350, 700);
    measure(true, 60, 450);
    false_alarm();
    return plan_done();
}
