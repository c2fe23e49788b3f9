/* Catches: a run that does not repeat itself (memory order, real time, a forgotten source of
 * chance), a nemesis that leaves something broken, calls that reach a process that is gone. */
#include <inttypes.h>

#include "base/mem.h"
#include "env/sim.h"
#include "tap.h"

#define HOSTS 5

/* A core that uses everything: gossips by datagrams, sends on connections, writes and puts, at
 * times of its own choosing. Enough for any difference between two runs to grow. */
struct core {
    struct myco_sim *sim;
    struct myco_env *env;
    unsigned host;
    struct myco_timer timer;
    struct myco_file *file;
    uint64_t offset, counted, up_count, writes;
    uint8_t page[512];
    bool writing;
};

struct world {
    struct core *cores[HOSTS];
    uint64_t generation[HOSTS];
    unsigned starts, crashes, foreign_calls;
    bool quiet;
};

static void on_written(int status, void *data)
{
    struct core *core = data;
    (void)status;
    core->writing = false;
    core->writes++;
}

static void send_something(struct core *core)
{
    uint8_t bytes[64];
    size_t size = 1 + myco_random_below(core->env, sizeof(bytes) - 1);
    unsigned to = (unsigned)myco_random_below(core->env, HOSTS);
    memset(bytes, (int)core->counted, size);
    struct myco_addr addr = myco_sim_addr(to);
    core->env->ops->datagram_send(core->env, &addr, myco_bytes(bytes, size));
    struct myco_transport *transport = myco_sim_transport(core->sim, core->host);
    struct myco_buf payload = {0};
    myco_buf_bytes(&payload, bytes, size);
    transport->ops->send(transport, to + 1, MYCO_LANE_DATA, 7, &payload);
}

static void on_timer(void *data)
{
    struct core *core = data;
    send_something(core);
    if (core->writing) return;
    core->writing = true;
    memset(core->page, (int)core->counted, sizeof(core->page));
    struct myco_slice page = myco_bytes(core->page, sizeof(core->page));
    core->file->disk->ops->write(
        core->file, core->offset, page, core->counted % 3 == 0, on_written, core);
    core->offset += sizeof(core->page);
}

static void on_datagram(const struct myco_addr *from, struct myco_slice bytes, void *data)
{
    struct core *core = data;
    core->counted += from->ip[3] + bytes.size;
}

static void on_up(uint64_t peer, uint64_t generation, uint64_t features, void *data)
{
    struct core *core = data;
    (void)peer, (void)generation, (void)features;
    core->up_count++;
}

static void on_down(uint64_t peer, bool was_up, enum myco_down_reason reason, void *data)
{
    struct core *core = data;
    (void)peer, (void)reason;
    if (was_up) core->up_count--;
}

static void on_message(uint64_t peer, uint8_t type, struct myco_slice payload, void *data)
{
    struct core *core = data;
    core->counted += peer * 1000 + type + payload.size;
}

static void link_all(struct core *core)
{
    struct myco_transport *transport = myco_sim_transport(core->sim, core->host);
    for (unsigned other = 0; other < HOSTS; other++) {
        struct myco_addr addr = myco_sim_addr(other);
        if (other != core->host) transport->ops->link(transport, other + 1, &addr);
    }
}

static void on_start(struct myco_sim *sim, unsigned host, void *data)
{
    struct world *world = data;
    struct core *core = myco_alloc(sizeof(*core));
    core->sim = sim;
    core->host = host;
    core->env = myco_sim_env(sim, host);
    core->env->on_datagram = on_datagram;
    core->env->on_datagram_data = core;
    struct myco_disk *disk = myco_sim_disk(sim, host);
    if (disk->ops->open(disk, "log", MYCO_DISK_CREATE, &core->file, NULL) != 0) bail_out("open");
    disk->ops->size(core->file, &core->offset);
    struct myco_transport_events events = {
        .on_up = on_up, .on_down = on_down, .on_message = on_message, .data = core};
    myco_sim_attach(sim, host, host + 1, ++world->generation[host], 0, &events);
    myco_timer_init(&core->timer, core->env, on_timer, core);
    myco_timer_start(&core->timer, 1 + myco_random_below(core->env, 5), 7);
    link_all(core);
    world->cores[host] = core;
    world->starts++;
}

static void on_crash(struct myco_sim *sim, unsigned host, void *data)
{
    struct world *world = data;
    struct core *core = world->cores[host];
    (void)sim;
    myco_timer_stop(&core->timer);
    core->file->disk->ops->close(core->file);
    memset(core, 0xdd, sizeof(*core)); /* who calls it now, falls */
    myco_free(core);
    world->cores[host] = NULL;
    world->crashes++;
}

static uint64_t run(uint64_t seed, struct world *world, unsigned *connections)
{
    struct myco_sim_options options;
    myco_sim_options_init(&options, seed, HOSTS);
    options.on_start = on_start;
    options.on_crash = on_crash;
    options.data = world;
    struct myco_sim *sim = myco_sim_new(&options);
    for (unsigned host = 0; host < HOSTS; host++) myco_sim_start(sim, host);
    struct myco_sim_nemesis faults = {.until_ms = 15000,
        .crash_ms = 700,
        .partition_ms = 900,
        .pause_ms = 800,
        .jump_ms = 500,
        .loss_ms = 2000,
        .store_ms = 1500};
    myco_sim_nemesis(sim, &faults);
    myco_sim_run(sim, 20000);
    *connections = 0;
    for (unsigned host = 0; host < HOSTS; host++) {
        if (world->cores[host] != NULL) *connections += (unsigned)world->cores[host]->up_count;
    }
    uint64_t hash = myco_sim_trace_hash(sim);
    if (*connections != HOSTS * (HOSTS - 1)) myco_sim_trace_print(sim, stdout);
    myco_sim_free(sim);
    return hash;
}

static void test_repeats(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world first = {0}, second = {0};
        unsigned connections;
        uint64_t hash = run(seed, &first, &connections);
        void *shift = myco_alloc(100 + seed * 24); /* other addresses the second time */
        bool healed = connections == HOSTS * (HOSTS - 1);
        uint64_t again = run(seed, &second, &connections);
        myco_free(shift);
        ok(hash == again && first.starts == second.starts,
            "seed %" PRIu64 " repeats itself (%u starts)", seed, first.starts);
        ok(healed, "seed %" PRIu64 " ends with everybody connected to everybody", seed);
        ok(first.starts == first.crashes, "seed %" PRIu64 ": every core that was built was freed",
            seed);
    }
}

static void test_differs(void)
{
    struct world one = {0}, two = {0};
    unsigned connections;
    ok(run(1, &one, &connections) != run(2, &two, &connections), "another seed is another run");
    ok(one.crashes > HOSTS, "the nemesis struck: %u crashes", one.crashes);
}

static void test_random(void)
{
    struct myco_sim_random random, other;
    myco_sim_random_init(&random, 1, 1);
    myco_sim_random_init(&other, 1, 2);
    unsigned same = 0, low = 0, out = 0;
    for (unsigned i = 0; i < 10000; i++) {
        same += myco_sim_random_u64(&random) == myco_sim_random_u64(&other);
        low += myco_sim_random_below(&random, 10) < 5;
        out += myco_sim_random_between(&random, 3, 7) - 3 > 4;
    }
    is_int(same, 0, "two streams of a seed have nothing in common");
    ok(low > 4800 && low < 5200, "below() is even: %u of 10000", low);
    is_int(out, 0, "between() stays between");
}

static void count_call(void *data)
{
    ++*(unsigned *)data;
}

static void test_order(void)
{
    struct myco_sim_options options;
    myco_sim_options_init(&options, 1, 1);
    struct myco_sim *sim = myco_sim_new(&options);
    unsigned calls = 0;
    for (unsigned i = 0; i < 100; i++)
        myco_sim_at(sim, (100 - i) * MYCO_SIM_MS, count_call, &calls);
    myco_sim_run(sim, 50);
    is_int(calls, 50, "half of the calls at half time");
    is_int(myco_sim_now_ms(sim), 50, "time ends where the run ends");
    myco_sim_free(sim);
    is_int(calls, 50, "what was not due by the end does not run");
}

int main(void)
{
    test_random();
    test_order();
    test_differs();
    test_repeats();
    return plan_done();
}
