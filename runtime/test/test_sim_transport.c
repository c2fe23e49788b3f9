/* Catches: messages out of order or of a life that is over, a lane without a bound, a connection
 * that stands on one side only and is never found out, a wrong reason (gossip calls REFUSED a
 * death), a dial that is not repeated. */
#include "base/mem.h"
#include "env/sim.h"
#include "tap.h"

#define HOSTS 3

struct side {
    unsigned up, down, failed, messages, drains, disorder;
    enum myco_down_reason reason, failure;
    uint64_t generation, features, next[MYCO_LANE_COUNT], last_ns;
    struct myco_sim *sim;
    uint8_t types[16];
    uint64_t down_ns;
};
static struct side sides[HOSTS];
static uint64_t generations[HOSTS];

static void on_up(uint64_t peer, uint64_t generation, uint64_t features, void *data)
{
    struct side *side = data;
    (void)peer;
    side->up++;
    side->generation = generation;
    side->features = features;
    memset(side->next, 0, sizeof(side->next));
}

static void on_down(uint64_t peer, bool was_up, enum myco_down_reason reason, void *data)
{
    struct side *side = data;
    (void)peer;
    if (was_up) {
        side->down++;
        side->reason = reason;
        side->down_ns = myco_sim_now_ns(side->sim);
    } else {
        side->failed++;
        side->failure = reason;
    }
}

/* Each message starts with its number within its lane; the type is the lane. */
static void on_message(uint64_t peer, uint8_t type, struct myco_slice payload, void *data)
{
    struct side *side = data;
    uint64_t number;
    (void)peer;
    memcpy(&number, payload.data, sizeof(number));
    side->disorder += number != side->next[type]++;
    if (side->messages < sizeof(side->types)) side->types[side->messages] = type;
    side->messages++;
    side->last_ns = myco_sim_now_ns(side->sim);
}

static void on_drain(uint64_t peer, enum myco_lane lane, void *data)
{
    struct side *side = data;
    (void)peer, (void)lane;
    side->drains++;
}

static void on_start(struct myco_sim *sim, unsigned host, void *data)
{
    (void)data;
    struct myco_transport_events events = {.on_up = on_up,
        .on_down = on_down,
        .on_message = on_message,
        .on_drain = on_drain,
        .data = &sides[host]};
    sides[host].sim = sim;
    myco_sim_attach(sim, host, 100 + host, ++generations[host], 40 + host, &events);
}

static void link_to(struct myco_sim *sim, unsigned from, unsigned to)
{
    struct myco_transport *transport = myco_sim_transport(sim, from);
    struct myco_addr addr = myco_sim_addr(to);
    transport->ops->link(transport, 100 + to, &addr);
}

static bool is_up(struct myco_sim *sim, unsigned from, unsigned to)
{
    struct myco_transport *transport = myco_sim_transport(sim, from);
    return transport->ops->is_up(transport, 100 + to);
}

static int send_number(struct myco_sim *sim, unsigned from, unsigned to, enum myco_lane lane,
    uint64_t number, size_t size)
{
    struct myco_transport *transport = myco_sim_transport(sim, from);
    struct myco_buf payload = {0};
    myco_buf_bytes(&payload, &number, sizeof(number));
    if (!myco_buf_reserve(&payload, size)) bail_out("no memory");
    while (payload.size < size) myco_buf_u64(&payload, 0);
    return transport->ops->send(transport, 100 + to, lane, (uint8_t)lane, &payload);
}

static struct myco_sim *world(uint64_t seed, size_t lane_size_max)
{
    struct myco_sim_options options;
    myco_sim_options_init(&options, seed, HOSTS);
    options.on_start = on_start;
    if (lane_size_max > 0) options.lane_size_max = lane_size_max;
    memset(sides, 0, sizeof(sides));
    memset(generations, 0, sizeof(generations));
    struct myco_sim *sim = myco_sim_new(&options);
    for (unsigned host = 0; host < HOSTS; host++) myco_sim_start(sim, host);
    return sim;
}

static struct myco_sim *linked_world(uint64_t seed, size_t lane_size_max)
{
    struct myco_sim *sim = world(seed, lane_size_max);
    link_to(sim, 0, 1);
    link_to(sim, 1, 0);
    myco_sim_run(sim, 100);
    if (!is_up(sim, 0, 1) || !is_up(sim, 1, 0)) bail_out("no connection");
    return sim;
}

static void test_handshake(void)
{
    struct myco_sim *sim = world(1, 0);
    link_to(sim, 0, 1);
    myco_sim_run(sim, 200);
    ok(!is_up(sim, 0, 1) && sides[0].failed > 0, "one that links alone stays alone");
    is_int(sides[0].failure, MYCO_DOWN_CLOSED, "its attempts are turned away");
    is_int(send_number(sim, 0, 1, MYCO_LANE_DATA, 0, 8), MYCO_ENOTCONN, "and it can't send");
    link_to(sim, 1, 0);
    myco_sim_run(sim, 100);
    ok(is_up(sim, 0, 1) && is_up(sim, 1, 0), "once both do, the connection stands");
    ok(sides[0].up == 1 && sides[1].up == 1, "each side heard of it once");
    ok(sides[0].generation == 1 && sides[0].features == 41 && sides[1].features == 40,
        "with the other's generation and features");
    struct myco_addr wrong = myco_sim_addr(2);
    struct myco_transport *transport = myco_sim_transport(sim, 0);
    transport->ops->link(transport, 77, &wrong);
    myco_sim_run(sim, 50);
    is_int(sides[0].failure, MYCO_DOWN_DISPLACED, "somebody else at that address is DISPLACED");
    myco_sim_free(sim);

    unsigned stand = 0, once = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        sim = linked_world(seed, 0);
        myco_sim_run(sim, 3000);
        stand += is_up(sim, 0, 1) && is_up(sim, 1, 0);
        once += sides[0].up == 1 && sides[1].up == 1 && sides[0].down == 0;
        myco_sim_free(sim);
    }
    is_int(stand, 100, "two that dial at the same time agree on one connection");
    is_int(once, 100, "and do not tear it down again");
}

static void test_order(void)
{
    struct myco_sim *sim = linked_world(3, 0);
    unsigned refused = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        refused += send_number(sim, 0, 1, MYCO_LANE_DATA, i, 8 + i % 3000) != 0;
        if (i % 100 == 0) myco_sim_run(sim, 1);
    }
    myco_sim_run(sim, 1000);
    is_int(refused, 0, "2000 messages fit");
    is_int(sides[1].messages, 2000, "and arrive");
    is_int(sides[1].disorder, 0, "in order");
    struct myco_sim_path lossy = {
        50000, 30 * MYCO_SIM_MS, 90 * MYCO_SIM_MS, 200000, 200000, 0, 8000};
    myco_sim_set_all_paths(sim, &lossy);
    for (uint64_t i = 0; i < 2000; i++) {
        send_number(sim, 0, 1, MYCO_LANE_DATA, 2000 + i, 8 + i % 3000);
        if (i % 20 == 0) myco_sim_run(sim, 3);
    }
    myco_sim_run(sim, 20000);
    ok(sides[1].messages == 4000 && sides[1].disorder == 0,
        "so they do where packets are lost and delayed");
    myco_sim_free(sim);
}

static void test_lanes(void)
{
    struct myco_sim *sim = linked_world(4, 0);
    send_number(sim, 0, 1, MYCO_LANE_BULK, 0, 8 << 20);
    myco_sim_run(sim, 5);
    send_number(sim, 0, 1, MYCO_LANE_DATA, 0, 1000);
    send_number(sim, 0, 1, MYCO_LANE_CONTROL, 0, 100);
    myco_sim_run(sim, 1000);
    ok(sides[1].types[0] == MYCO_LANE_CONTROL && sides[1].types[1] == MYCO_LANE_DATA &&
            sides[1].types[2] == MYCO_LANE_BULK,
        "control overtakes data overtakes 8 MiB of bulk");
    ok(sides[1].last_ns > 160 * MYCO_SIM_MS, "which takes its time at 1 Gbit/s (%llu ms)",
        (unsigned long long)(sides[1].last_ns / MYCO_SIM_MS));
    struct myco_buf huge = {0};
    if (!myco_buf_reserve(&huge, MYCO_MESSAGE_SIZE_MAX + 1)) bail_out("no memory");
    memset(huge.data, 0, MYCO_MESSAGE_SIZE_MAX + 1);
    huge.size = MYCO_MESSAGE_SIZE_MAX + 1;
    struct myco_transport *transport = myco_sim_transport(sim, 0);
    is_int(transport->ops->send(transport, 101, MYCO_LANE_BULK, 2, &huge), MYCO_ETOOBIG,
        "too large is refused");
    ok(huge.data == NULL, "and taken all the same");
    myco_sim_free(sim);
}

static void test_full(void)
{
    struct myco_sim *sim = linked_world(5, 100000);
    uint64_t sent = 0;
    int status = 0;
    while (sent < 1000 && (status = send_number(sim, 0, 1, MYCO_LANE_DATA, sent, 1000)) == 0)
        sent++;
    is_int(status, MYCO_EFULL, "a full lane says so");
    ok(sent == 98, "at its limit (%llu messages)", (unsigned long long)sent);
    is_int(send_number(sim, 0, 1, MYCO_LANE_CONTROL, 0, 1000), 0, "the lane beside it is not full");
    is_int(sides[0].drains, 0, "on_drain does not run inside of send");
    myco_sim_run(sim, 100);
    is_int(sides[0].drains, 1, "it runs once there is room again");
    is_int(send_number(sim, 0, 1, MYCO_LANE_DATA, sent, 1000), 0, "then the lane takes messages");
    myco_sim_run(sim, 100);
    ok(sides[1].messages == sent + 2 && sides[1].disorder == 0,
        "nothing is lost but what was refused");

    myco_sim_pause(sim, 1, 900); /* too short to be silence */
    sent = 0;
    for (unsigned i = 0; i < 100; i++) {
        while (send_number(sim, 0, 1, MYCO_LANE_BULK, sent, 1000) == 0) sent++;
        myco_sim_run(sim, 5);
    }
    ok(sent > 1000 && sent < 1300,
        "a receiver that sleeps lets one window pass, then the lane fills (%llu kB)",
        (unsigned long long)sent);
    myco_sim_run(sim, 1000);
    ok(is_up(sim, 0, 1) && sides[1].next[MYCO_LANE_BULK] == sent && sides[1].disorder == 0,
        "all of it arrives when it wakes up");
    myco_sim_free(sim);
}

static void test_killed(void)
{
    struct myco_sim *sim = linked_world(6, 0);
    for (uint64_t i = 0; i < 100; i++) send_number(sim, 0, 1, MYCO_LANE_BULK, i, 65536);
    myco_sim_run(sim, 10);
    myco_sim_crash(sim, 1, MYCO_SIM_KILL);
    unsigned before = sides[1].messages;
    myco_sim_run(sim, 100);
    ok(sides[0].down == 1 && sides[0].reason == MYCO_DOWN_RESET,
        "a killed process resets its connections");
    ok(sides[0].failed > 0 && sides[0].failure == MYCO_DOWN_REFUSED, "then its port refuses");
    myco_sim_start(sim, 1);
    link_to(sim, 1, 0);
    myco_sim_run(sim, 1500);
    ok(is_up(sim, 0, 1) && sides[0].generation == 2, "its successor is found, with its generation");
    is_int(sides[1].messages, before, "what was queued for the dead one is lost");
    send_number(sim, 0, 1, MYCO_LANE_DATA, 0, 8);
    myco_sim_run(sim, 100);
    ok(sides[1].messages == before + 1 && sides[1].disorder == 0, "what is sent afterwards is not");
    myco_sim_free(sim);
}

static void test_no_power(void)
{
    struct myco_sim *sim = linked_world(7, 0);
    myco_sim_crash(sim, 1, MYCO_SIM_POWER);
    uint64_t at = myco_sim_now_ns(sim);
    myco_sim_run(sim, 900);
    is_int(sides[0].down, 0, "a machine without power is only silent");
    myco_sim_run(sim, 3000);
    ok(sides[0].down == 1 && sides[0].reason == MYCO_DOWN_TIMEOUT, "silence is a time-out");
    is_int((sides[0].down_ns - at) / MYCO_SIM_MS, 1000, "after one second");
    ok(sides[0].failed > 0 && sides[0].failure == MYCO_DOWN_TIMEOUT,
        "and dialling it times out, it does not refuse");
    myco_sim_free(sim);
}

static void test_cut(void)
{
    struct myco_sim *sim = linked_world(8, 0);
    myco_sim_cut(sim, 0, 1);
    for (uint64_t i = 0; i < 10; i++) send_number(sim, 0, 1, MYCO_LANE_DATA, i, 100);
    for (uint64_t i = 0; i < 10; i++) send_number(sim, 1, 0, MYCO_LANE_DATA, i, 100);
    myco_sim_run(sim, 500);
    ok(sides[1].messages == 0 && sides[0].messages == 10, "a cut has one direction");
    myco_sim_mend(sim, 0, 1);
    for (uint64_t i = 10; i < 20; i++) send_number(sim, 0, 1, MYCO_LANE_DATA, i, 100);
    myco_sim_run(sim, 500);
    ok(sides[1].messages == 20 && sides[1].disorder == 0 && sides[1].down == 0,
        "mended in time, nothing is lost, and the order holds");

    myco_sim_cut(sim, 0, 1);
    send_number(sim, 0, 1, MYCO_LANE_DATA, 20, 100);
    myco_sim_run(sim, 1500);
    ok(sides[1].down == 1 && sides[1].reason == MYCO_DOWN_TIMEOUT,
        "who hears nothing gives up after a second");
    ok(sides[0].down == 1 && sides[0].reason == MYCO_DOWN_RESET, "and the other one hears of that");
    myco_sim_run(sim, 3000);
    ok(!is_up(sim, 0, 1) && !is_up(sim, 1, 0), "no connection comes up over half a path");
    myco_sim_mend(sim, 0, 1);
    myco_sim_run(sim, 3000);
    ok(is_up(sim, 0, 1) && is_up(sim, 1, 0), "mended, it does");
    is_int(sides[1].messages, 20, "what was on its way when it broke is lost");

    myco_sim_isolate(sim, 0);
    myco_sim_run(sim, 1100);
    ok(sides[0].reason == MYCO_DOWN_TIMEOUT && sides[0].down == 2 && sides[1].down == 2,
        "cut both ways, both time out");
    myco_sim_mend_all(sim);
    myco_sim_run(sim, 3000);
    ok(is_up(sim, 0, 1) && is_up(sim, 1, 0), "and find each other again");
    myco_sim_free(sim);
}

static void test_paused(void)
{
    struct myco_sim *sim = linked_world(9, 0);
    myco_sim_pause(sim, 1, 2000);
    myco_sim_run(sim, 1500);
    ok(sides[0].down == 1 && sides[0].reason == MYCO_DOWN_TIMEOUT,
        "one that sleeps too long is given up");
    is_int(sides[1].down, 0, "and does not know it");
    myco_sim_run(sim, 600);
    ok(sides[1].down == 1 && sides[1].reason == MYCO_DOWN_RESET, "until it wakes up");
    myco_sim_run(sim, 2000);
    ok(is_up(sim, 0, 1) && is_up(sim, 1, 0), "they connect again");
    myco_sim_free(sim);
}

static void test_unlink(void)
{
    struct myco_sim *sim = linked_world(10, 0);
    struct myco_transport *transport = myco_sim_transport(sim, 0);
    transport->ops->unlink(transport, 101);
    ok(!is_up(sim, 0, 1), "unlinked is down at once");
    myco_sim_run(sim, 100);
    ok(sides[1].down == 1 && sides[1].reason == MYCO_DOWN_CLOSED,
        "the other side was told goodbye");
    ok(!is_up(sim, 1, 0), "and finds nobody to connect to");
    link_to(sim, 0, 1);
    myco_sim_run(sim, 1500);
    ok(is_up(sim, 0, 1) && is_up(sim, 1, 0), "linked again, it comes back");
    myco_sim_free(sim);
}

int main(void)
{
    test_handshake();
    test_order();
    test_lanes();
    test_full();
    test_killed();
    test_no_power();
    test_cut();
    test_paused();
    test_unlink();
    return plan_done();
}
