/* Would catch: a large message that holds up an urgent one, a lane that takes more than its limit,
 * a sender that is never told that it may go on (the reader stopped, then read again), a message
 * that is lost or doubled on the way, memory that is not given back when a connection breaks. */
#include "net_kit.h"

static uv_loop_t loop;

#define LARGE_SIZE (8u * 1024 * 1024)

static uint8_t *large;

static void make_large(void)
{
    large = myco_try_alloc(LARGE_SIZE);
    for (uint32_t i = 0; i < LARGE_SIZE; i++) large[i] = (uint8_t)(i * 2654435761u >> 24);
}

static bool is_large(struct myco_slice payload)
{
    return payload.size == LARGE_SIZE && memcmp(payload.data, large, LARGE_SIZE) == 0;
}

/* ── Overtaking ─────────────────────────────────────────────────────────────────────────────── */

struct race {
    struct kit_node *other;
    unsigned pings;      /* that came back */
    unsigned at_arrival; /* of those, when the large message was there */
    unsigned intact;
};

static void on_race(struct kit_node *node, uint64_t peer, uint8_t type, struct myco_slice payload)
{
    struct race *race = node->data;
    (void)peer;
    if (type == 6) {
        race->intact += is_large(payload);
        race->at_arrival = race->pings;
    } else if (type == 1) {
        kit_send(node, race->other, MYCO_LANE_CONTROL, 2, "pong", 4);
    } else {
        race->pings++;
        kit_send(node, race->other, MYCO_LANE_CONTROL, 1, "ping", 4);
    }
}

static void test_overtaking(void)
{
    struct kit_node a, b;
    uv_loop_init(&loop);
    kit_pair(&loop, &a, &b);
    struct race race_b = {.other = &a}, race_a = {.other = &b};
    a.on_message = b.on_message = on_race;
    a.data = &race_a, b.data = &race_b;
    for (int i = 0; i < 3; i++) kit_send(&a, &b, MYCO_LANE_BULK, 6, large, LARGE_SIZE);
    kit_send(&a, &b, MYCO_LANE_CONTROL, 1, "ping", 4);
    kit_until(&loop, race_b.intact == 3, "three messages of 8 MiB arrive as they were");
    note("%u round trips on the control lane meanwhile", race_a.pings);
    ok(race_a.pings >= 3, "and control messages go to and fro meanwhile");

    race_b.intact = 0;
    kit_send(&b, &a, MYCO_LANE_DATA, 6, large, LARGE_SIZE);
    kit_send(&a, &b, MYCO_LANE_DATA, 6, large, LARGE_SIZE);
    kit_until(&loop, race_b.intact == 1 && race_a.intact == 1, "also both ways at once");
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);
}

static void on_first_lane(
    struct kit_node *node, uint64_t peer, uint8_t type, struct myco_slice payload)
{
    char *order = node->data;
    (void)peer, (void)payload;
    order[node->messages - 1] = (char)('0' + type);
}

/* Queued in one turn in the wrong order: bulk, data, control. */
static void test_urgency(void)
{
    struct kit_node a, b;
    char order[4] = "";
    uv_loop_init(&loop);
    kit_pair(&loop, &a, &b);
    b.on_message = on_first_lane, b.data = order;
    kit_send(&a, &b, MYCO_LANE_BULK, 3, "x", 1);
    kit_send(&a, &b, MYCO_LANE_DATA, 2, "x", 1);
    kit_send(&a, &b, MYCO_LANE_CONTROL, 1, "x", 1);
    kit_until(&loop, b.messages == 3, "three lanes, sent in one turn");
    is_str(order, "123", "control before data before bulk");
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);
}

/* ── Back-pressure ──────────────────────────────────────────────────────────────────────────── */

struct producer {
    struct kit_node *to;
    uint32_t next, count;
    size_t size;
    unsigned full;
};

static void produce(struct kit_node *node)
{
    struct producer *producer = node->data;
    static uint8_t bytes[200 * 1024];
    while (producer->next < producer->count) {
        memcpy(bytes, &producer->next, 4);
        int status = kit_send(node, producer->to, MYCO_LANE_DATA, 1, bytes, producer->size);
        if (status != 0) {
            producer->full += status == MYCO_EFULL;
            return; /* on_drain goes on */
        }
        producer->next++;
    }
}

static void on_drain(struct kit_node *node, uint64_t peer, enum myco_lane lane)
{
    (void)peer;
    if (lane == MYCO_LANE_DATA) produce(node);
}

struct consumer {
    uint32_t next, wrong;
};

static void check_order(
    struct kit_node *node, uint64_t peer, uint8_t type, struct myco_slice payload)
{
    struct consumer *consumer = node->data;
    uint32_t number;
    (void)peer;
    if (type != 1) return;
    memcpy(&number, payload.data, 4);
    consumer->wrong += number != consumer->next++;
}

static void run_both(uv_loop_t *other)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(other, UV_RUN_NOWAIT);
}

/* The reader's loop stands still until the writer's lane is full, then runs, stops, and runs
 * again. */
static void test_stopped_reader(size_t size, uint32_t count)
{
    uv_loop_t still;
    struct kit_node a, b;
    struct consumer consumer = {0};
    uv_loop_init(&loop);
    uv_loop_init(&still);
    struct myco_net_options options = kit_options(&loop, 1);
    options.lane_size_max[MYCO_LANE_DATA] = 1024 * 1024;
    options.timeout_ms = 60000;
    kit_open(&a, options);
    options.loop = &still, options.id = 2;
    kit_open(&b, options);
    kit_link(&a, &b);
    kit_link(&b, &a);
    while (!a.up || !b.up) run_both(&still);

    struct producer producer = {.to = &b, .count = count, .size = size};
    a.data = &producer, a.on_drain = on_drain;
    b.data = &consumer, b.on_message = check_order;
    produce(&a);
    unsigned full = 0;
    while (full != producer.full || full == 0) { /* until a whole turn of the loop frees nothing */
        full = producer.full;
        for (int turn = 0; turn < 50; turn++) uv_run(&loop, UV_RUN_NOWAIT);
    }
    ok(producer.next < count, "messages of %zu bytes: the reader stands, the lane is full", size);
    produce(&a); /* what may have drained, but not down to half */
    is_int(producer.full, full + 1, "EFULL");
    is_int(kit_send(&a, &b, MYCO_LANE_CONTROL, 9, "0000", 4), 0, "while other lanes take messages");
    ok(a.metrics.values[MYCO_METRIC_QUEUE_FULL] > 0, "and it is counted");

    uv_timer_t *deadline = kit_deadline(&loop, "the reader resumed: all messages");
    for (unsigned turn = 0; consumer.next < count; turn++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        if (turn / 20 % 2 == 0) uv_run(&still, UV_RUN_NOWAIT); /* it stops again and again */
    }
    uv_close((uv_handle_t *)deadline, NULL);
    is_int(b.messages, count + 1, "the reader goes on: so does the writer, to the last message");
    is_int(consumer.wrong, 0, "in order");
    ok(a.drains[MYCO_LANE_DATA] > 0, "on_drain was told %u times", a.drains[MYCO_LANE_DATA]);
    kit_close(&a);
    kit_close(&b);
    while (!a.closed || !b.closed) run_both(&still);
    kit_done(&loop);
    uv_run(&still, UV_RUN_DEFAULT);
    is_int(uv_loop_close(&still), 0, "and so does the other");
}

/* ── Limits and loss ────────────────────────────────────────────────────────────────────────── */

static void test_limits(void)
{
    struct kit_node a, b;
    uv_loop_init(&loop);
    struct myco_net_options options = kit_options(&loop, 1);
    options.lane_size_max[MYCO_LANE_CONTROL] = 1000;
    kit_open(&a, options);
    kit_open(&b, kit_options(&loop, 2));
    kit_link(&a, &b);
    kit_link(&b, &a);
    kit_until(&loop, a.up && b.up, "two nodes are connected");
    uint8_t *bytes = myco_alloc(MYCO_MESSAGE_SIZE_MAX + 1);
    is_int(kit_send(&a, &b, MYCO_LANE_BULK, 1, bytes, MYCO_MESSAGE_SIZE_MAX + 1), MYCO_ETOOBIG,
        "a message that is too large");
    is_int(kit_send(&a, &b, MYCO_LANE_CONTROL, 1, bytes, MYCO_MESSAGE_SIZE_MAX), 0,
        "an empty lane takes any other");
    is_int(kit_send(&a, &b, MYCO_LANE_CONTROL, 1, "", 0), MYCO_EFULL, "but then it is full");
    is_int(kit_send(&a, &b, MYCO_LANE_DATA, 1, "", 0), 0, "an empty message");
    kit_until(&loop, b.messages == 2, "arrives, as does the largest");
    is_int(b.bytes, MYCO_MESSAGE_SIZE_MAX, "as it was");
    struct myco_buf failed = {.failed = true};
    is_int(a.transport->ops->send(a.transport, 2, MYCO_LANE_DATA, 1, &failed), MYCO_ENOMEM,
        "a payload that could not be written is an error");
    myco_free(bytes);
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);
}

static void unlink_at_once(
    struct kit_node *node, uint64_t peer, uint8_t type, struct myco_slice payload)
{
    (void)type, (void)payload;
    node->transport->ops->unlink(node->transport, peer);
}

static void close_at_once(
    struct kit_node *node, uint64_t peer, uint8_t type, struct myco_slice payload)
{
    (void)peer, (void)type, (void)payload;
    kit_close(node);
}

/* Breaks, unlinks and closes with full lanes: ASan sees what is not given back, or used after. */
static void test_loss(void)
{
    struct kit_node a, b;
    uv_loop_init(&loop);
    kit_pair(&loop, &a, &b);
    for (int i = 0; i < 4; i++) {
        kit_send(&a, &b, MYCO_LANE_BULK, 6, large, LARGE_SIZE);
        kit_send(&b, &a, MYCO_LANE_DATA, 6, large, LARGE_SIZE);
    }
    uv_run(&loop, UV_RUN_ONCE);
    kit_break_all(&loop);
    kit_until(&loop, a.up == 2 && b.up == 2, "broken in the midst of messages: connected again");
    unsigned before = (unsigned)b.messages;
    b.on_message = unlink_at_once;
    for (int i = 0; i < 100; i++) kit_send(&a, &b, MYCO_LANE_DATA, 1, "stop", 4);
    kit_send(&a, &b, MYCO_LANE_BULK, 6, large, LARGE_SIZE);
    kit_until(&loop, a.down == 2, "unlinked by the first of many messages");
    is_int(b.messages, before + 1, "no other is delivered after it");
    kit_link(&b, &a);
    kit_until(&loop, a.up == 3 && b.up == 3, "linked again");
    b.on_message = close_at_once;
    for (int i = 0; i < 100; i++) kit_send(&a, &b, MYCO_LANE_DATA, 1, "stop", 4);
    kit_send(&b, &a, MYCO_LANE_BULK, 6, large, LARGE_SIZE);
    kit_until(&loop, a.down == 3 && b.closed, "closed by the first of many messages");
    is_int(b.messages, before + 2, "no other is delivered after it");
    kit_close(&a);
    kit_done(&loop);
}

/* The nth allocation fails, in sending or in receiving: an error or a reset, and then it goes
 * on. */
static void test_no_memory(void)
{
    struct kit_node a, b;
    unsigned refused = 0;
    uv_loop_init(&loop);
    kit_pair(&loop, &a, &b);
    for (long nth = 1; nth <= 12; nth++) {
        myco_mem_fail_nth(nth);
        for (int i = 0; i < 3; i++) {
            refused += kit_send(&a, &b, MYCO_LANE_DATA, 1, large, 100) == MYCO_ENOMEM;
            refused += kit_send(&a, &b, MYCO_LANE_BULK, 6, large, 200000) == MYCO_ENOMEM;
        }
        for (int turn = 0; turn < 50; turn++) uv_run(&loop, UV_RUN_NOWAIT);
        myco_mem_fail_nth(0);
        uv_timer_t *deadline = kit_deadline(&loop, "connected again");
        while (!kit_is_up(&a, &b) || !kit_is_up(&b, &a)) uv_run(&loop, UV_RUN_ONCE);
        uv_close((uv_handle_t *)deadline, NULL);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    note("%u sends refused, %u links lost", refused, b.down);
    ok(refused > 0 && b.down > 0, "without memory a send is refused, or a link is lost");
    is_int(a.failed_by[MYCO_DOWN_FOREIGN] + b.failed_by[MYCO_DOWN_FOREIGN], 0, "nobody is blamed");
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);
}

int main(void)
{
    make_large();
    test_overtaking();
    test_urgency();
    test_stopped_reader(100, 400000);
    test_stopped_reader(150 * 1024, 400);
    test_limits();
    test_loss();
    test_no_memory();
    myco_free(large);
    return plan_done();
}
