/* Gossip datagrams. The input is a sequence of them, each after its size (u16); time passes between
 * them, so that what was believed is also acted on. Promises: no datagram that leaves is larger
 * than 1,400 bytes, and there are not more members than were named. */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "env/env.h"
#include "gossip/swim.h"

#define CLUSTER 7
#define MAGIC   0x4743594du

struct world {
    struct myco_env env;
    struct myco_metrics metrics;
    uint64_t now_ns, random;
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
    struct world *world = (struct world *)env;
    uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        world->random = world->random * 6364136223846793005u + 1442695040888963407u;
        at[i] = (uint8_t)(world->random >> 56);
    }
}

static void wake_at(struct myco_env *env, uint64_t ns)
{
    (void)env, (void)ns;
}

static int send_datagram(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    (void)env;
    assert(bytes.size <= 1400);
    assert(to->port != 0);
    return 0;
}

static const struct myco_env_ops ops = {now_ns, wall_ms, fill_random, wake_at, send_datagram};

static void on_member(const struct myco_member *now, const struct myco_member *was, void *data)
{
    (void)data;
    assert(now || was);
    assert(!now || now->id != 1);
}

static void pass_time(struct world *world, unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 50) {
        world->now_ns += 50 * 1000000ull;
        myco__env_wake(&world->env);
    }
}

static void feed(struct world *world, struct myco_swim *swim, struct myco_reader input)
{
    struct myco_addr from = {.ip = {127, 0, 0, 1}, .port = 9, .family = 4};
    while (myco_read_left(&input) > 2) {
        size_t size = myco_read_u16(&input);
        if (size > myco_read_left(&input)) size = myco_read_left(&input);
        myco_swim_receive(swim, &from, myco_read_bytes(&input, size));
        pass_time(world, 50);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct world world = {.now_ns = 1000000000, .random = 42};
    myco__env_init(&world.env, &ops);
    world.env.metrics = &world.metrics;
    struct myco_swim_options options = {.cluster = CLUSTER,
        .id = 1,
        .generation = 3,
        .name = "fuzzed",
        .addr = {.ip = {127, 0, 0, 1}, .port = 1, .family = 4},
        .forget_ms = 1000};
    struct myco_swim_events events = {.on_member = on_member};
    struct myco_swim *swim = myco_swim_new(&world.env, &options, &events);
    feed(&world, swim, myco_reader(bytes, size));
    pass_time(&world, 3000);
    uint32_t cursor = 0;
    size_t count = 0;
    while (myco_swim_next(swim, &cursor)) count++;
    assert(count <= size / 30);
    myco_swim_leave(swim);
    pass_time(&world, 200);
    myco_swim_free(swim);
    myco__env_close(&world.env);
    return 0;
}

/* ── Samples ────────────────────────────────────────────────────────────────────────────────── */

static void header(struct myco_buf *buf, uint64_t id, uint64_t generation)
{
    myco_buf_u32(buf, MAGIC);
    myco_buf_u8(buf, 1);
    myco_buf_u64(buf, CLUSTER);
    myco_buf_u64(buf, id);
    myco_buf_u64(buf, generation);
}

static void probe(struct myco_buf *buf, uint8_t type, uint64_t id)
{
    myco_buf_u8(buf, type);
    myco_buf_u32(buf, 17);
    if (type == 4) return;
    myco_buf_u64(buf, id);
    myco_buf_u64(buf, 3);
    struct myco_addr addr = {.ip = {127, 0, 0, 1}, .port = 2, .family = 4};
    if (type == 2) myco_buf_addr(buf, &addr);
}

static void member(struct myco_buf *buf, bool full, uint8_t state, uint64_t id)
{
    myco_buf_u8(buf, full ? 6 : 7);
    myco_buf_u8(buf, state);
    myco_buf_u64(buf, id);
    myco_buf_u64(buf, 3);
    myco_buf_u32(buf, 1);
    myco_buf_u8(buf, state == MYCO_MEMBER_SUSPECT);
    if (state == MYCO_MEMBER_SUSPECT) myco_buf_u64(buf, 9);
    if (!full) return;
    struct myco_addr addr = {.ip = {127, 0, 0, 1}, .port = 2, .family = 4};
    myco_buf_u32(buf, 10);
    myco_buf_addr(buf, &addr);
    myco_buf_u8(buf, 4);
    myco_buf_bytes(buf, "node", 4);
    myco_buf_u16(buf, 3);
    myco_buf_bytes(buf, "abc", 3);
}

static void sync(struct myco_buf *buf, uint8_t flags)
{
    myco_buf_u8(buf, 5);
    myco_buf_u8(buf, flags);
    myco_buf_u64(buf, 99);
}

/* Datagram `index`, from node 2. */
static void datagram(struct myco_buf *buf, unsigned index)
{
    header(buf, 2, 3);
    switch (index) {
    case 0: sync(buf, 1), member(buf, true, MYCO_MEMBER_ALIVE, 2); break;
    case 1: sync(buf, 6), member(buf, true, 0, 2), member(buf, true, 2, 4); break;
    case 2: probe(buf, 1, 1), member(buf, false, MYCO_MEMBER_SUSPECT, 1); break;
    case 3: probe(buf, 2, 4), member(buf, true, MYCO_MEMBER_ALIVE, 4); break;
    case 4: probe(buf, 3, 1), member(buf, false, MYCO_MEMBER_DEAD, 4); break;
    case 5: probe(buf, 4, 1), member(buf, false, MYCO_MEMBER_LEFT, 2); break;
    default: member(buf, false, MYCO_MEMBER_SUSPECT, 2); break;
    }
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    if (index > 7) return 0;
    struct myco_buf all = {0};
    for (unsigned i = 0; i <= 6; i++) { /* one datagram each; the last sample has all */
        if (index != 7 && i != index) continue;
        struct myco_buf one = {0};
        datagram(&one, i);
        myco_buf_u16(&all, (uint16_t)one.size);
        myco_buf_bytes(&all, one.data, one.size);
        myco_buf_free(&one);
    }
    size_t size = all.size <= size_max ? all.size : 0;
    memcpy(bytes, all.data, size);
    myco_buf_free(&all);
    return size;
}
