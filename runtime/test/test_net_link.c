/* Would catch: a pair that connects twice or flaps when both dial, a link that is not mended after
 * a reset, a wrong reason of its loss, a peer that is silent and not noticed, messages out of
 * order. */
#include "net_kit.h"

static uv_loop_t loop;

static void see_order(struct kit_node *node, uint64_t peer, uint8_t type, struct myco_slice payload)
{
    uint32_t *next = node->data, number = 0;
    (void)peer;
    if (payload.size == 4) memcpy(&number, payload.data, 4);
    if (number != next[type]++) next[0]++; /* type 0 is never sent: it counts what was wrong */
}

static void test_pair(void)
{
    struct kit_node a, b;
    uint32_t next[3] = {0};
    uv_loop_init(&loop);
    struct myco_net_options options = kit_options(&loop, 1);
    options.features = 6;
    kit_open(&a, options);
    options = kit_options(&loop, 2);
    options.features = 3, options.generation = 77;
    kit_open(&b, options);
    ok(b.addr.port != 0, "a free port is bound and said");
    is_int(kit_send(&a, &b, MYCO_LANE_DATA, 1, "x", 1), MYCO_ENOTCONN, "not linked: ENOTCONN");
    kit_link(&a, &b);
    kit_link(&b, &a);
    kit_until(&loop, a.up && b.up, "two nodes are connected");
    ok(a.up_peer == 2 && a.up_generation == 77 && a.up_features == 2,
        "on_up says id, generation, and the features that both have");
    ok(kit_is_up(&a, &b) && kit_is_up(&b, &a), "is_up agrees");
    is_int(a.metrics.values[MYCO_METRIC_PEERS_CONNECTED], 1, "and the metric");

    b.on_message = see_order, b.data = next;
    for (uint32_t i = 0; i < 5000; i++) {
        kit_send(&a, &b, MYCO_LANE_DATA, 1, &i, 4);
        kit_send(&a, &b, MYCO_LANE_BULK, 2, &i, 4);
    }
    kit_until(&loop, b.messages == 10000, "all messages arrive");
    is_int(next[0], 0, "in order on each lane");
    ok(b.metrics.values[MYCO_METRIC_FRAMES_IN] >= 10000, "frames are counted");

    b.transport->ops->unlink(b.transport, a.id);
    kit_until(&loop, a.down == 1, "unlinked by the other side: on_down");
    is_int(a.down_reason, MYCO_DOWN_CLOSED, "CLOSED");
    kit_link(&b, &a);
    kit_until(&loop, a.up == 2 && b.up == 2, "linked again");
    kit_close(&a);
    kit_until(&loop, b.down == 1, "the other side closes: on_down");
    is_int(b.down_reason, MYCO_DOWN_CLOSED, "CLOSED, since it said goodbye");
    kit_until(&loop, b.failed_by[MYCO_DOWN_REFUSED] > 0, "then its port refuses: REFUSED");
    kit_close(&b);
    kit_done(&loop);
    ok(a.closed && b.closed, "both said that they are closed");
}

/* Both got a message by what both believe to be the link; else sends what is missing. */
static bool round_trip(struct kit_node *a, struct kit_node *b)
{
    if (!b->messages && kit_is_up(a, b)) kit_send(a, b, MYCO_LANE_DATA, 1, "x", 1);
    if (!a->messages && kit_is_up(b, a)) kit_send(b, a, MYCO_LANE_DATA, 1, "x", 1);
    return a->messages && b->messages;
}

/* Both dial in the same turn, many times over: one on_up each, no on_down. */
static void test_tie(void)
{
    unsigned good = 0, rounds = 100;
    for (unsigned i = 0; i < rounds; i++) {
        struct kit_node a, b;
        uv_loop_init(&loop);
        kit_open(&a, kit_options(&loop, 1 + i % 2 * 9));
        kit_open(&b, kit_options(&loop, 5));
        kit_link(&a, &b);
        for (unsigned turns = i % 7; turns > 0; turns--) uv_run(&loop, UV_RUN_NOWAIT);
        kit_link(&b, &a);
        while (!round_trip(&a, &b)) uv_run(&loop, UV_RUN_ONCE);
        for (int turns = 0; turns < 20; turns++) uv_run(&loop, UV_RUN_NOWAIT);
        good += a.up == 1 && b.up == 1 && a.down == 0 && b.down == 0;
        kit_close(&a);
        kit_close(&b);
        uv_run(&loop, UV_RUN_DEFAULT);
        if (uv_loop_close(&loop) != 0) bail_out("a handle is left open");
    }
    is_int(good, rounds, "both dial: one connection, on_up once, no on_down");
}

static void test_reset(void)
{
    struct kit_node a, b;
    uv_loop_init(&loop);
    kit_pair(&loop, &a, &b);
    for (unsigned i = 2; i <= 6; i++) {
        kit_break_all(&loop);
        kit_until(&loop, a.up == i && b.up == i, "connection %u broke, and stands again", i - 1);
    }
    ok(a.down == 5 && b.down == 5, "each loss was told once");
    is_int(a.down_reason, MYCO_DOWN_RESET, "as RESET");
    is_int(a.failed_by[MYCO_DOWN_REFUSED], 0, "and no attempt was refused");
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);
}

static void test_refused(void)
{
    struct kit_node a, b;
    uv_loop_init(&loop);
    kit_open(&a, kit_options(&loop, 1));
    kit_open(&b, kit_options(&loop, 2));
    struct myco_addr addr = b.addr;
    kit_close(&b); /* nobody listens there now */
    kit_link_at(&a, 2, &addr);
    kit_until(
        &loop, a.failed_by[MYCO_DOWN_REFUSED] >= 3, "nobody listens: REFUSED, again and again");
    is_int(a.failed, a.failed_by[MYCO_DOWN_REFUSED], "and nothing else");

    struct myco_net_options options = kit_options(&loop, 2);
    options.listen = addr;
    kit_open(&b, options); /* the port is free at once: SO_REUSEADDR */
    kit_link(&b, &a);
    kit_until(&loop, a.up == 1 && b.up == 1, "somebody does: connected");
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);
}

static void test_port_taken(void)
{
    struct kit_node a, b;
    struct myco_err err = {0};
    uv_loop_init(&loop);
    kit_open(&a, kit_options(&loop, 1));
    struct myco_net_options options = kit_options(&loop, 2);
    options.listen = a.addr;
    is_int(kit_try_open(&b, options, &err), MYCO_EADDRINUSE, "a port that is taken");
    note("%s", err.message);
    kit_close(&a);
    kit_done(&loop);
}

/* B knows A too late, and at an address where nobody is: the waiting connection becomes the
 * link. */
static void test_unknown_waits(void)
{
    struct kit_node a, b;
    uv_loop_init(&loop);
    kit_open(&a, kit_options(&loop, 1));
    kit_open(&b, kit_options(&loop, 2));
    kit_link(&a, &b);
    kit_until(&loop, a.metrics.values[MYCO_METRIC_FRAMES_IN] > 0, "an unknown node is answered");
    ok(a.up == 0 && b.up == 0, "but is no peer");
    struct myco_addr nowhere = {.ip = {127, 0, 0, 1}, .port = 1, .family = 4};
    kit_link_at(&b, 1, &nowhere);
    kit_until(&loop, a.up == 1 && b.up == 1, "once it is linked, its connection is the link");
    is_int(b.failed, 0, "which was not dialled");
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);

    uv_loop_init(&loop);
    kit_open(&a, kit_options(&loop, 1));
    struct myco_net_options options = kit_options(&loop, 2);
    options.unlinked_ms = 100, options.ping_ms = 50;
    kit_open(&b, options);
    kit_link(&a, &b);
    kit_until(&loop, a.failed_by[MYCO_DOWN_CLOSED] > 0, "it is never linked: told so, CLOSED");
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);
}

/* B's loop stands still: its sockets are open, but it says nothing. */
static void test_silence(void)
{
    uv_loop_t still;
    struct kit_node a, b;
    uv_loop_init(&loop);
    uv_loop_init(&still);
    struct myco_net_options options = kit_options(&loop, 1);
    options.ping_ms = 20, options.timeout_ms = 200, options.handshake_ms = 100;
    kit_open(&a, options);
    options.loop = &still, options.id = 2;
    kit_open(&b, options);
    kit_link(&a, &b);
    kit_link(&b, &a);
    while (!a.up || !b.up) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_run(&still, UV_RUN_NOWAIT);
    }
    uint64_t begin = uv_now(&loop);
    while (uv_now(&loop) - begin < 400) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_run(&still, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    ok(a.down == 0 && b.down == 0, "two time limits pass in silence: pings keep the link");
    kit_until(&loop, a.down == 1, "a peer that says nothing");
    is_int(a.down_reason, MYCO_DOWN_TIMEOUT, "is a TIMEOUT");
    kit_until(&loop, a.failed_by[MYCO_DOWN_TIMEOUT] > 0, "and so is its handshake");
    while (a.up < 2 || b.up < 2) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_run(&still, UV_RUN_NOWAIT);
    }
    ok(true, "awake again, it is connected");
    kit_close(&a);
    kit_close(&b);
    while (!a.closed || !b.closed) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_run(&still, UV_RUN_NOWAIT);
    }
    kit_done(&loop);
    is_int(uv_loop_close(&still), 0, "and so does the other loop");
}

/* B's process is replaced by a newer one while A still believes in the old connection. */
static void test_generations(void)
{
    uv_loop_t still;
    struct kit_node a, old, new;
    uv_loop_init(&loop);
    uv_loop_init(&still);
    kit_open(&a, kit_options(&loop, 1));
    struct myco_net_options options = kit_options(&still, 2);
    kit_open(&old, options);
    kit_link(&a, &old);
    kit_link(&old, &a);
    while (!a.up || !old.up) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_run(&still, UV_RUN_NOWAIT);
    }
    options.loop = &loop, options.generation = 2; /* from here the old one's loop stands still */
    kit_open(&new, options);
    kit_link(&new, &a);
    kit_until(&loop, a.up == 2 && new.up == 1, "a newer generation takes the link over");
    ok(a.down == 1 && a.down_reason == MYCO_DOWN_RESET && a.up_generation == 2,
        "the old one is told as lost, before");
    while (old.failed_by[MYCO_DOWN_FOREIGN] == 0) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_run(&still, UV_RUN_NOWAIT);
    }
    ok(a.up == 2 && a.down == 1, "the older one is refused when it wakes up");
    is_int(myco_net_refused(a.net, MYCO_NET_REFUSED_STALE) > 0, 1, "as STALE");
    kit_close(&a);
    kit_close(&old);
    kit_close(&new);
    while (!a.closed || !old.closed || !new.closed) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_run(&still, UV_RUN_NOWAIT);
    }
    kit_done(&loop);
    uv_loop_close(&still);
}

/* Breaks at any moment of handshakes and back-offs. */
static void test_storm(void)
{
    struct kit_node a, b;
    uint64_t state = 1;
    unsigned odd = 0;
    uv_loop_init(&loop);
    struct myco_net_options options = kit_options(&loop, 1);
    options.backoff_min_ms = 1, options.backoff_max_ms = 4;
    kit_open(&a, options);
    options.id = 2;
    kit_open(&b, options);
    kit_link(&a, &b);
    kit_link(&b, &a);
    uint64_t begin = uv_hrtime();
    while (a.up < 200 && uv_hrtime() - begin < 1500000000u) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        for (unsigned turns = (state >> 33) % 300; turns > 0; turns--) uv_run(&loop, UV_RUN_NOWAIT);
        odd += a.up - a.down > 1 || b.up - b.down > 1; /* unsigned: below 0 is odd, too */
        kit_break_all(&loop);
    }
    is_int(odd, 0, "on_up and on_down take turns in a storm of resets");
    note("%u and %u links in it", a.up, b.up);
    a.messages = b.messages = 0;
    kit_until(&loop, round_trip(&a, &b), "then a message goes each way");
    for (int turns = 0; turns < 20; turns++) uv_run(&loop, UV_RUN_NOWAIT);
    ok(a.up - a.down == 1 && b.up - b.down == 1, "and both are up");
    is_int(a.failed_by[MYCO_DOWN_FOREIGN] + b.failed_by[MYCO_DOWN_FOREIGN], 0,
        "nobody was taken for another");
    is_int(a.failed_by[MYCO_DOWN_REFUSED] + b.failed_by[MYCO_DOWN_REFUSED], 0, "nor for dead");
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);
}

int main(void)
{
    test_pair();
    test_tie();
    test_reset();
    test_storm();
    test_refused();
    test_port_taken();
    test_unknown_waits();
    test_silence();
    test_generations();
    return plan_done();
}
