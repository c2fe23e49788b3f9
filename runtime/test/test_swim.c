/* Membership where the network is kind: joining, leaving, restarting, meta, refusals, what it
 * costs. Would catch: a cluster that does not find itself, tombstones of an earlier life that keep
 * a restarted node (or a whole restarted cluster) out, a leave that looks like a death, clusters
 * that merge by mistake, news that does not reach everybody, an idle cluster that chatters, a run
 * that does not repeat itself. */
#include "swim_world.h"

static void test_join(unsigned count, uint64_t ms_max)
{
    struct world *world = world_new(1, count);
    world_start(world);
    uint64_t ms = world_converge(world, ms_max);
    ok(ms <= ms_max, "%u nodes find each other (%llu ms)", count, (unsigned long long)ms);
    is_int(myco_swim_count(world->nodes[0].swim, MYCO_MEMBER_ALIVE), count, "all are counted");
    is_int(world_deaths(world), 0, "nobody died of it");
    world_free(world);
}

static void test_join_late(void)
{
    struct world *world = world_new(2, 4);
    for (unsigned i = 1; i < 4; i++) myco_sim_start(world->sim, i);
    myco_sim_run(world->sim, 10000);
    ok(!world_view(world, 1, 2), "without the seed nobody meets");
    myco_sim_start(world->sim, 0);
    ok(world_converge(world, 3000) <= 3000, "all join within a second or two of its start");
    world_free(world);
}

static void test_leave(void)
{
    struct world *world = world_new(3, 16);
    world_start(world);
    world_converge(world, 5000);
    myco_swim_leave(world->nodes[5].swim);
    uint64_t ms = world_agree(world, 5, MYCO_MEMBER_LEFT, 1000);
    ok(ms <= 50, "a leave is known at once (%llu ms)", (unsigned long long)ms);
    myco_sim_run(world->sim, 500);
    myco_sim_crash(world->sim, 5, MYCO_SIM_KILL);
    myco_sim_run(world->sim, 30000);
    ok(world_agrees(world, 5, MYCO_MEMBER_LEFT), "and stays one");
    is_int(world_deaths(world), 0, "nobody called it dead");
    is_int(world_suspicions(world), 0, "or suspected it");
    myco_sim_start(world->sim, 5);
    ok(world_converge(world, 2000) <= 2000, "it may come back");
    world_free(world);
}

static void test_restart(void)
{
    struct world *world = world_new(4, 16);
    world_start(world);
    world_converge(world, 5000);
    for (unsigned i = 0; i < 5; i++) {
        myco_swim_set_meta(world->nodes[9].swim, myco_bytes(&i, sizeof(i)));
    }
    myco_sim_run(world->sim, 2000);
    ok(world_view(world, 0, 9)->incarnation >= 5, "its incarnation has risen");
    myco_sim_crash(world->sim, 9, MYCO_SIM_KILL);
    myco_sim_run(world->sim, 20);
    myco_sim_start(world->sim, 9);
    uint64_t ms = world_converge(world, 2000);
    ok(ms <= 1000, "a restarted node is alive in its new generation (%llu ms)",
        (unsigned long long)ms);
    is_int(world_view(world, 0, 9)->incarnation, 0, "with a low incarnation again");
    is_int(world_view(world, 0, 9)->meta_size, 0, "and nothing of its old meta");
    is_int(world_deaths(world), 0, "nobody died of it");

    myco_sim_crash(world->sim, 9, MYCO_SIM_POWER);
    ok(world_agree(world, 9, MYCO_MEMBER_DEAD, 20000) <= 20000, "it dies");
    myco_sim_start(world->sim, 9);
    ms = world_converge(world, 3000);
    ok(ms <= 2000, "and comes back from the dead (%llu ms)", (unsigned long long)ms);
    world_free(world);
}

/* All are killed when their incarnations are high, and all start again from 0. */
static void test_mass_restart(void)
{
    struct world *world = world_new(5, 16);
    world_start(world);
    world_converge(world, 5000);
    for (unsigned i = 0; i < 16; i++) {
        myco_swim_set_meta(world->nodes[i].swim, myco_str("one"));
        myco_swim_set_meta(world->nodes[i].swim, myco_str("two"));
    }
    myco_sim_run(world->sim, 3000);
    for (unsigned i = 0; i < 16; i++) {
        if (i != 3) myco_sim_crash(world->sim, i, MYCO_SIM_POWER);
    }
    myco_sim_run(world->sim, 20000);
    is_int(myco_swim_count(world->nodes[3].swim, MYCO_MEMBER_DEAD), 15, "one survivor buries 15");
    for (unsigned i = 0; i < 16; i++) {
        if (i != 3) myco_sim_start(world->sim, i);
    }
    uint64_t ms = world_converge(world, 20000);
    ok(ms <= 5000, "all come back as they are now (%llu ms)", (unsigned long long)ms);
    world_free(world);
}

static void test_clusters(void)
{
    struct world *world = world_new(6, 8);
    for (unsigned i = 0; i < 8; i++) world->nodes[i].cluster = i % 2;
    world->nodes[1].own_join = true;
    world_start(world);
    struct myco_addr one = myco_sim_addr(1);
    for (unsigned i = 0; i < 8; i++) myco_swim_join(world->nodes[i].swim, &one);
    myco_sim_run(world->sim, 40000);
    unsigned own = 0, foreign = 0;
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned j = 0; j < 8; j++) {
            bool known = world_view(world, i, j) != NULL;
            own += known && i % 2 == j % 2;
            foreign += known && i % 2 != j % 2;
        }
    }
    is_int(own, 2 * 4 * 4, "each cluster finds itself");
    is_int(foreign, 0, "and never the other, at the same addresses");
    struct myco_metrics *metrics = myco_sim_env(world->sim, 0)->metrics;
    ok(metrics->values[MYCO_METRIC_GOSSIP_REFUSED] > 0, "the other's datagrams are counted");
    world_free(world);
}

static bool meta_known(void *data)
{
    struct world *world = data;
    for (unsigned i = 0; i < world->count; i++) {
        const struct myco_member *member = world_view(world, i, 7);
        if (member->meta_size != 4 || memcmp(member->meta, "blue", 4) != 0) return false;
    }
    return true;
}

static void test_meta(void)
{
    struct world *world = world_new(7, 64);
    world_start(world);
    world_converge(world, 10000);
    myco_sim_run(world->sim, 20000);
    uint64_t bytes = world->sent_bytes;
    myco_sim_run(world->sim, 10000);
    double rate = (double)(world->sent_bytes - bytes) / 64 / 10;
    note("64 idle nodes: %.0f bytes sent per node and second", rate);
    ok(rate < 1500, "an idle cluster is quiet");
    uint64_t from = myco_sim_now_ms(world->sim);
    myco_swim_set_meta(world->nodes[7].swim, myco_str("blue"));
    bool known = myco_sim_run_until(world->sim, meta_known, world, 5000);
    uint64_t ms = myco_sim_now_ms(world->sim) - from;
    ok(known && ms <= 300, "new meta reaches 64 nodes (%llu ms)", (unsigned long long)ms);
    is_int(world_deaths(world) + world_suspicions(world), 0, "nobody was ever suspected");
    world_free(world);
}

static void test_refused(void)
{
    struct world *world = world_new(8, 16);
    world_start(world);
    world_converge(world, 5000);
    myco_swim_refused(world->nodes[2].swim, world->nodes[6].id, world->nodes[6].generation - 1);
    ok(world_agrees(world, 6, MYCO_MEMBER_ALIVE), "what an older generation refused is ignored");
    myco_sim_crash(world->sim, 6, MYCO_SIM_KILL);
    myco_swim_refused(world->nodes[2].swim, world->nodes[6].id, world->nodes[6].generation);
    is_int(world_view(world, 2, 6)->state, MYCO_MEMBER_DEAD, "a refused port is a death");
    uint64_t ms = world_agree(world, 6, MYCO_MEMBER_DEAD, 1000);
    ok(ms <= 10, "that everybody hears at once (%llu ms)", (unsigned long long)ms);

    myco_swim_refused(world->nodes[2].swim, world->nodes[8].id, world->nodes[8].generation);
    ms = world_converge(world, 3000);
    ok(ms <= 3000, "who is refused by mistake refutes (%llu ms)", (unsigned long long)ms);
    world_free(world);
}

static void test_hint(void)
{
    struct world *world = world_new(9, 64);
    world_start(world);
    world_converge(world, 10000);
    myco_sim_crash(world->sim, 6, MYCO_SIM_POWER);
    myco_swim_hint(world->nodes[2].swim, world->nodes[6].id);
    myco_sim_run(world->sim, 215);
    is_int(world_view(world, 2, 6)->state, MYCO_MEMBER_SUSPECT, "a hint is looked into at once");
    world_free(world);
}

static void test_forget(void)
{
    struct world *world = world_new(10, 5);
    world->forget_ms = 20000;
    world_start(world);
    world_converge(world, 5000);
    myco_sim_crash(world->sim, 4, MYCO_SIM_POWER);
    ok(world_agree(world, 4, MYCO_MEMBER_DEAD, 20000) <= 20000, "one dies");
    myco_sim_crash(world->sim, 3, MYCO_SIM_KILL);
    myco_sim_run(world->sim, 5000);
    myco_sim_start(world->sim, 3);
    myco_sim_run(world->sim, 2000);
    ok(world_view(world, 3, 4), "a newcomer hears of it");
    myco_sim_crash(world->sim, 3, MYCO_SIM_KILL);
    myco_sim_run(world->sim, 7000);
    myco_sim_start(world->sim, 3);
    myco_sim_run(world->sim, 2000);
    ok(!world_view(world, 3, 4), "but not when it is long ago");
    myco_sim_run(world->sim, 60000);
    unsigned forgotten = 0, known = 0;
    for (unsigned i = 0; i < 4; i++) {
        forgotten += world->nodes[i].forgotten;
        known += world_view(world, i, 4) != NULL;
    }
    is_int(known, 0, "in the end nobody knows it");
    is_int(forgotten, 3, "each has forgotten it once, and was not reminded");
    world_free(world);
}

static void test_impostor(void)
{
    struct world *world = world_new(11, 4);
    world->nodes[3].id = world->nodes[2].id; /* a copied folder … */
    world->nodes[3].generation = 5;          /* … that was started oftener */
    world_start(world);
    myco_sim_run(world->sim, 5000);
    is_int(world->nodes[2].impostors, 1, "the elder hears of its copy, once");
    is_int(world->nodes[3].impostors, 0, "the younger does not");
    is_int(myco_swim_get(world->nodes[0].swim, 3)->generation, 6, "others believe the younger");
    world_free(world);
}

static void test_next(void)
{
    struct world *world = world_new(12, 8);
    world_start(world);
    world_converge(world, 5000);
    uint32_t cursor = 0;
    unsigned count = 0;
    const struct myco_member *member;
    while ((member = myco_swim_next(world->nodes[3].swim, &cursor))) {
        count += member->id != world->nodes[3].id && member->name[0] == 'n';
    }
    is_int(count, 7, "a walk shows all but oneself");
    is_str(myco_swim_self(world->nodes[3].swim)->name, "node-3", "self is oneself");
    is_str(myco_member_state_name(MYCO_MEMBER_SUSPECT), "suspect", "states have names");
    world_free(world);
}

static uint64_t run_once(uint64_t seed)
{
    struct world *world = world_new(seed, 16);
    world_start(world);
    myco_sim_run(world->sim, 3000);
    myco_sim_crash(world->sim, 3, MYCO_SIM_POWER);
    myco_sim_run(world->sim, 5000);
    uint64_t hash = myco_sim_trace_hash(world->sim);
    world_free(world);
    return hash;
}

int main(void)
{
    test_join(3, 2000);
    test_join(16, 3000);
    test_join(64, 2000);
    test_join_late();
    test_leave();
    test_restart();
    test_mass_restart();
    test_clusters();
    test_meta();
    test_refused();
    test_hint();
    test_forget();
    test_impostor();
    test_next();
    uint64_t hash = run_once(77);
    ok(hash == run_once(77), "the same seed gives the same run");
    ok(hash != run_once(78), "another seed another");
    return plan_done();
}
