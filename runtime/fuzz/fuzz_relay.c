/* What neighbours send to the overlay. The input is a sequence of RELAY messages: which of three
 * neighbours (u8; one is not linked), size (u16), bytes; between them this node sends, and time
 * passes. Promises: what is passed on is well-formed and can still be passed on fewer times, goes
 * only to those who are linked, and never back to where it came from; nobody is told of a message
 * while it is down. */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "route/relay.h"
#include "route/route.h"
#include "wire/message.h"

#define SELF 1
#define ALL  6

struct world {
    struct myco_env env;
    struct myco_metrics metrics;
    uint64_t now_ns, random, prev;
    struct myco_transport below;
    bool up[ALL + 1];
};

static uint64_t now_ns(struct myco_env *env)
{
    return ((struct world *)env)->now_ns;
}

static uint64_t wall_ms(struct myco_env *env)
{
    return ((struct world *)env)->now_ns / 1000000;
}

static void fill_random(struct myco_env *env, void *bytes, size_t size)
{
    (void)env;
    memset(bytes, 7, size);
}

static void wake_at(struct myco_env *env, uint64_t ns)
{
    (void)env, (void)ns;
}

static int send_datagram(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    (void)env, (void)to, (void)bytes;
    return 0;
}

static const struct myco_env_ops env_ops = {now_ns, wall_ms, fill_random, wake_at, send_datagram};

/* ── below: 2 and 3 are linked ── */

static struct world *world_of(struct myco_transport *below)
{
    return (struct world *)(void *)((char *)below - offsetof(struct world, below));
}

static void below_link(struct myco_transport *below, uint64_t peer, const struct myco_addr *addr)
{
    (void)below, (void)addr;
    assert(peer != SELF);
}

static void below_unlink(struct myco_transport *below, uint64_t peer)
{
    (void)below, (void)peer;
}

static bool below_is_up(struct myco_transport *below, uint64_t peer)
{
    (void)below;
    return peer == 2 || peer == 3;
}

static int below_send(struct myco_transport *below, uint64_t peer, enum myco_lane lane,
    uint8_t type, struct myco_buf *payload)
{
    struct world *world = world_of(below);
    struct myco__relay relay;
    assert(peer == 2 || peer == 3);
    if (type == MYCO_MESSAGE_RELAY) {
        assert(myco__relay_decode(&relay, myco_buf_as_slice(payload)) == 0);
        assert(relay.lane == lane);
        if (relay.from != SELF) assert(peer != world->prev && relay.hops < MYCO__RELAY_HOPS);
    }
    myco_buf_free(payload);
    return ++world->random % 5 == 0 ? MYCO_EFULL : 0;
}

static const struct myco_transport_ops below_ops = {
    .link = below_link, .unlink = below_unlink, .is_up = below_is_up, .send = below_send};

/* ── above ── */

static void on_up(uint64_t peer, uint64_t generation, uint64_t features, void *data)
{
    struct world *world = data;
    (void)generation, (void)features;
    assert(peer > SELF && peer <= ALL && !world->up[peer]);
    world->up[peer] = true;
}

static void on_down(uint64_t peer, bool was_up, enum myco_down_reason reason, void *data)
{
    struct world *world = data;
    (void)reason;
    assert(world->up[peer] == was_up);
    world->up[peer] = false;
}

static void on_message(uint64_t peer, uint8_t type, struct myco_slice payload, void *data)
{
    (void)type, (void)payload;
    assert(((struct world *)data)->up[peer]);
}

static void on_drain(uint64_t peer, enum myco_lane lane, void *data)
{
    (void)peer, (void)lane, (void)data;
}

static struct myco_route *open_route(struct world *world)
{
    struct myco_route_options options = {
        .env = &world->env, .self = SELF, .generation = 1, .features = 1, .relay_feature = 1};
    struct myco_transport_events events = {.on_up = on_up,
        .on_down = on_down,
        .on_message = on_message,
        .on_drain = on_drain,
        .data = world};
    const struct myco_route_place places[] = {
        {1, 1, 2}, {2, 1, 0}, {3, 3, 0}, {4, 3, 0}, {5, 3, 2}, {6, 1, 2}};
    struct myco_route_topology topology = {.places = places, .place_count = 6};
    struct myco_route *route = myco_route_new(&options, &events);
    world->below.ops = &below_ops;
    myco_route_start(route, &world->below);
    myco_route_set(route, &topology);
    for (uint64_t peer = 2; peer <= ALL; peer++) {
        struct myco_transport *transport = myco_route_transport(route);
        transport->ops->link(transport, peer, &(struct myco_addr){.family = 4});
    }
    return route;
}

static void use(struct world *world, struct myco_route *route)
{
    const uint64_t peers[] = {2, 4, 5, 6};
    int results[4];
    struct myco_buf payload = {0};
    myco_buf_bytes(&payload, "data", 4);
    myco_route_send_many(route, peers, 4, MYCO_LANE_DATA, 33, &payload, results);
    world->now_ns += 60 * 1000000;
    myco__env_wake(&world->env);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct world world = {.now_ns = 1000000000};
    myco__env_init(&world.env, &env_ops);
    world.env.metrics = &world.metrics;
    struct myco_route *route = open_route(&world);
    struct myco_transport_events below = myco_route_events(route);
    myco__env_wake(&world.env);
    below.on_up(2, 1, 1, below.data);
    below.on_up(3, 1, 1, below.data);
    struct myco_reader input = myco_reader(bytes, size);
    while (myco_read_left(&input) >= 3) {
        world.prev = 2 + myco_read_u8(&input) % 3;
        size_t message = myco_read_u16(&input);
        if (message > myco_read_left(&input)) message = myco_read_left(&input);
        below.on_message(
            world.prev, MYCO_MESSAGE_RELAY, myco_read_bytes(&input, message), below.data);
        world.prev = 0;
        use(&world, route);
    }
    below.on_down(3, true, MYCO_DOWN_RESET, below.data);
    use(&world, route);
    myco_route_free(route);
    myco__env_close(&world.env);
    return 0;
}

/* ── Samples ────────────────────────────────────────────────────────────────────────────────── */

static void message(struct myco_buf *buf, unsigned index)
{
    static const uint8_t kinds[] = {
        MYCO__RELAY_OPEN, MYCO__RELAY_DATA, MYCO__RELAY_ACK, MYCO__RELAY_BREAK, MYCO__RELAY_DATA};
    struct myco__relay relay = {
        .from = 4, .kind = kinds[index], .lane = index % 3, .hops = MYCO__RELAY_HOPS};
    if (index == 0) myco__open_write(buf, &(struct myco__open){9, 0, 1, 1});
    if (index == 2)
        for (int lane = 0; lane < 3; lane++) myco_buf_u64(buf, 68);
    if (index == 3) {
        myco_buf_u64(buf, 4);
        myco_buf_u32(buf, 1);
        myco_buf_u8(buf, 0);
    }
    if (kinds[index] == MYCO__RELAY_DATA) {
        relay.type = MYCO_MESSAGE_PUBLISH;
        myco_buf_bytes(buf, "data", 4);
    }
    myco__relay_put_dest(buf, &(struct myco__relay_dest){1, 1, 0});
    myco__relay_put_dest(buf, &(struct myco__relay_dest){index == 4 ? 3 : 2, 1, 0});
    myco__relay_put_end(buf, &relay, 2);
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    if (index > 5) return 0;
    struct myco_buf all = {0};
    for (unsigned i = 0; i < 5; i++) { /* one message each; the last sample has all */
        if (index != 5 && i != index) continue;
        struct myco_buf one = {0};
        message(&one, i);
        myco_buf_u8(&all, i == 4 ? 0 : 1);
        myco_buf_u16(&all, (uint16_t)one.size);
        myco_buf_bytes(&all, one.data, one.size);
        myco_buf_free(&one);
    }
    size_t size = all.size <= size_max ? all.size : 0;
    memcpy(bytes, all.data, size);
    myco_buf_free(&all);
    return size;
}
