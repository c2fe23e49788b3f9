/* A cluster of swims with keys, and with connections beside UDP.
 * Would catch: a key that can't be changed without somebody being suspected; a stranger with
 * another key, or none, that is seen, or not counted; a recorded datagram that is believed again; a
 * joiner with a key that is no longer the first being left alone; a node whose UDP is lost, but
 * whose TCP is not, held dead; lists that travel though nothing differs. */
#include "swim_world.h"

#define NODES 6

static struct myco_keyring *rings[NODES];
static uint8_t recorded[1400];
static size_t recorded_size;
static unsigned in_clear;

static void look(const struct myco_addr *to, struct myco_slice bytes)
{
    struct myco_addr first = myco_sim_addr(1);
    in_clear += memcmp(bytes.data, "MYCG", 4) == 0;
    if (!myco_addr_equal(to, &first)) return;
    memcpy(recorded, bytes.data, bytes.size);
    recorded_size = bytes.size;
}

static void set_ring(unsigned node, const char *seeds)
{
    struct myco_seal_key keys[4];
    unsigned count = 0;
    for (; *seeds; seeds++) memset(keys[count++].bytes, *seeds, sizeof keys[0].bytes);
    myco_keyring_set(rings[node], keys, count);
}

static struct world *sealed_world(uint64_t seed, unsigned count)
{
    struct world *world = world_new(seed, count);
    for (unsigned i = 0; i < count; i++) {
        world->nodes[i].keyring = rings[i] = myco_keyring_new();
        set_ring(i, "a");
    }
    return world;
}

static void end_world(struct world *world)
{
    unsigned count = world->count;
    world_free(world);
    for (unsigned i = 0; i < count; i++) myco_keyring_free(rings[i]);
}

static uint64_t metric(struct world *world, unsigned host, enum myco_metric which)
{
    return myco_sim_env(world->sim, host)->metrics->values[which];
}

/* The last two are strangers: one has another key, one has none. */
static void test_strangers(void)
{
    struct world *world = sealed_world(1, NODES);
    set_ring(4, "x");
    set_ring(5, "");
    world->on_send = look;
    for (unsigned i = 0; i < 4; i++) myco_sim_start(world->sim, i);
    world_converge(world, 5000);
    is_int(in_clear, 0, "nothing goes in clear");
    myco_sim_start(world->sim, 4);
    myco_sim_start(world->sim, 5);
    myco_sim_run(world->sim, 10000);
    unsigned seen = 0;
    for (unsigned i = 0; i < 4; i++) seen += world_view(world, i, 4) || world_view(world, i, 5);
    is_int(seen, 0, "who has another key, or none, is seen by nobody");
    ok(metric(world, 0, MYCO_METRIC_GOSSIP_FOREIGN) >= 5, "the foreign key is counted");
    ok(metric(world, 0, MYCO_METRIC_GOSSIP_UNSEALED) >= 5, "and so is what is not sealed");
    is_int(world_suspicions(world), 0, "and nobody is suspected for it");
    end_world(world);
}

static void test_replay(void)
{
    struct world *world = sealed_world(2, 3);
    struct myco_addr from = myco_sim_addr(0);
    world->on_send = look;
    world_start(world);
    world_converge(world, 5000);
    myco_sim_run(world->sim, 2000);
    size_t size = recorded_size;
    uint8_t copy[1400];
    memcpy(copy, recorded, size);
    myco_sim_run(world->sim, 1000);
    uint64_t before = metric(world, 1, MYCO_METRIC_GOSSIP_REPLAYED);
    for (int i = 0; i < 5; i++)
        myco_swim_receive(world->nodes[1].swim, &from, myco_bytes(copy, size));
    is_int(metric(world, 1, MYCO_METRIC_GOSSIP_REPLAYED) - before, 5,
        "what was recorded, and comes again, is counted and dropped");
    end_world(world);
}

/* Install, use, remove; each node at another time. */
static void test_rotation(void)
{
    struct world *world = sealed_world(3, NODES);
    static const char *const steps[] = {"ab", "ba", "b"};
    world_start(world);
    world_converge(world, 5000);
    for (int step = 0; step < 3; step++) {
        for (unsigned i = 0; i < NODES; i++) {
            set_ring(i, steps[step]);
            myco_sim_run(world->sim, 700);
        }
    }
    myco_sim_run(world->sim, 10000);
    is_int(world_suspicions(world), 0, "a key is changed, and nobody is suspected");
    uint64_t foreign = 0;
    for (unsigned i = 0; i < NODES; i++) foreign += metric(world, i, MYCO_METRIC_GOSSIP_FOREIGN);
    is_int(foreign, 0, "nor is anything lost");
    end_world(world);
}

/* It has the key that all still open, but that none seals with: it is answered by that one. */
static void test_late_joiner(void)
{
    struct world *world = sealed_world(4, 4);
    for (unsigned i = 0; i < 3; i++) set_ring(i, "ba");
    for (unsigned i = 0; i < 3; i++) myco_sim_start(world->sim, i);
    world_converge(world, 5000);
    myco_sim_start(world->sim, 3);
    myco_sim_run(world->sim, 300);
    const struct myco_member *member = world_view(world, 3, 0);
    ok(member && member->state == MYCO_MEMBER_ALIVE, "who has an older key of the ring can join");
    set_ring(3, "ba"); /* the log told it, by the connections */
    world_converge(world, 5000);
    ok(world_converged(world), "and stays");
    end_world(world);
}

static void test_udp_lost(void)
{
    struct world *world = world_new(5, 5);
    world->mesh = true;
    world_start(world);
    world_converge(world, 5000);
    world->nodes[2].no_udp = true;
    myco_sim_run(world->sim, 30000);
    is_int(world_deaths(world), 0, "UDP to one is lost, TCP is not: nobody dies");
    ok(metric(world, 0, MYCO_METRIC_GOSSIP_BY_TCP) > 10, "since it is probed by TCP");
    myco_sim_crash(world->sim, 4, MYCO_SIM_KILL);
    uint64_t took = world_agree(world, 4, MYCO_MEMBER_DEAD, 20000);
    ok(took < 6000, "and it learns of a death: all know after %llu ms", (unsigned long long)took);
    world->nodes[2].no_udp = false;
    myco_sim_run(world->sim, 2000);
    uint64_t before = metric(world, 0, MYCO_METRIC_GOSSIP_BY_TCP);
    myco_sim_run(world->sim, 10000);
    is_int(metric(world, 0, MYCO_METRIC_GOSSIP_BY_TCP), before, "UDP again, once it is back");
    world_free(world);
}

/* Idle: every list is equal, and one message each way says so. */
static void test_idle_lists(void)
{
    struct world *world = world_new(6, 20);
    world->mesh = true;
    world_start(world);
    world_converge(world, 10000);
    myco_sim_run(world->sim, 20000);
    uint64_t before = world->mesh_count;
    myco_sim_run(world->sim, 60000);
    uint64_t lists = world->mesh_count - before;
    ok(lists >= 100 && lists <= 2 * 20 * 7, "20 nodes compared lists by %llu messages in a minute",
        (unsigned long long)lists);
    world_free(world);
}

int main(void)
{
    test_strangers();
    test_replay();
    test_rotation();
    test_late_joiner();
    test_udp_lost();
    test_idle_lists();
    return plan_done();
}
