/* One swim, its clock and its datagrams in the test's hands.
 * Would catch: a process that was stopped (debugger, full disk, busy host) and judges others by
 * time in which it could not hear them; a stranger that pings us and stays one; a suspect that is
 * not told; an answer that does not come back through whoever was asked to ask. */
#include "base/buf.h"
#include "env/env.h"
#include "gossip/swim.h"
#include "tap.h"

#define MS 1000000ull

struct hand {
    struct myco_env env; /* first */
    struct myco_metrics metrics;
    uint64_t now_ns, wake_ns, random;
    struct {
        struct myco_addr to;
        size_t size;
        uint8_t bytes[1400];
    } sent[256];
    unsigned sent_count;
    struct myco_swim *swim;
};

static uint64_t now_ns(struct myco_env *env)
{
    return ((struct hand *)env)->now_ns;
}

static uint64_t wall_ms(struct myco_env *env)
{
    return ((struct hand *)env)->now_ns / MS;
}

static void fill_random(struct myco_env *env, void *bytes, size_t size)
{
    struct hand *hand = (struct hand *)env;
    uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        hand->random = hand->random * 6364136223846793005u + 1442695040888963407u;
        at[i] = (uint8_t)(hand->random >> 56);
    }
}

static void wake_at(struct myco_env *env, uint64_t ns)
{
    ((struct hand *)env)->wake_ns = ns;
}

static int send_datagram(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    struct hand *hand = (struct hand *)env;
    unsigned at = hand->sent_count++ % 256;
    hand->sent[at].to = *to;
    hand->sent[at].size = bytes.size;
    memcpy(hand->sent[at].bytes, bytes.data, bytes.size);
    return 0;
}

static const struct myco_env_ops ops = {now_ns, wall_ms, fill_random, wake_at, send_datagram};

static struct myco_addr addr_of(unsigned id)
{
    return (struct myco_addr){.ip = {10, 0, 0, (uint8_t)id}, .port = 7946, .family = 4};
}

static void hand_open(struct hand *hand)
{
    *hand = (struct hand){.now_ns = 1000 * MS, .random = 7};
    myco__env_init(&hand->env, &ops);
    hand->env.metrics = &hand->metrics;
    struct myco_swim_options options = {
        .cluster = 7, .id = 1, .generation = 1, .name = "one", .addr = addr_of(1)};
    struct myco_swim_events events = {0};
    hand->swim = myco_swim_new(&hand->env, &options, &events);
}

static void hand_close(struct hand *hand)
{
    myco_swim_free(hand->swim);
    myco__env_close(&hand->env);
}

/* All that is due until then, each at its time. */
static void run_ms(struct hand *hand, unsigned ms)
{
    uint64_t end_ns = hand->now_ns + ms * MS;
    while (hand->wake_ns <= end_ns) {
        if (hand->wake_ns > hand->now_ns) hand->now_ns = hand->wake_ns;
        myco__env_wake(&hand->env);
    }
    hand->now_ns = end_ns;
}

/* Time passes, and nothing runs. */
static void sleep_ms(struct hand *hand, unsigned ms)
{
    hand->now_ns += ms * MS;
    myco__env_wake(&hand->env);
}

/* ── Datagrams of others ────────────────────────────────────────────────────────────────────── */

static struct myco_buf begin(uint64_t id)
{
    struct myco_buf buf = {0};
    myco_buf_u32(&buf, 0x4743594du);
    myco_buf_u8(&buf, 1);
    myco_buf_u64(&buf, 7);
    myco_buf_u64(&buf, id);
    myco_buf_u64(&buf, 1);
    return buf;
}

static void add_probe(struct myco_buf *buf, uint8_t type, uint32_t sequence, uint64_t id)
{
    myco_buf_u8(buf, type);
    myco_buf_u32(buf, sequence);
    myco_buf_u64(buf, id);
    myco_buf_u64(buf, 1);
}

static void add_member(struct myco_buf *buf, uint64_t id)
{
    struct myco_addr addr = addr_of((unsigned)id);
    myco_buf_u8(buf, 6);
    myco_buf_u8(buf, MYCO_MEMBER_ALIVE);
    myco_buf_u64(buf, id);
    myco_buf_u64(buf, 1);
    myco_buf_u32(buf, 0);
    myco_buf_u8(buf, 0);
    myco_buf_u32(buf, 0);
    myco_buf_addr(buf, &addr);
    myco_buf_u8(buf, 1);
    myco_buf_u8(buf, 'm');
    myco_buf_u16(buf, 0);
}

static void give(struct hand *hand, uint64_t from, struct myco_buf *buf)
{
    struct myco_addr addr = addr_of((unsigned)from);
    myco_swim_receive(hand->swim, &addr, myco_buf_as_slice(buf));
    myco_buf_free(buf);
}

static void introduce(struct hand *hand, uint64_t id)
{
    struct myco_buf buf = begin(id);
    add_member(&buf, id);
    give(hand, id, &buf);
}

/* The first message of the latest datagram to `id` whose type is that; NULL: none was sent. */
static const uint8_t *latest(const struct hand *hand, unsigned id, uint8_t type)
{
    struct myco_addr addr = addr_of(id);
    for (unsigned i = 0; i < 256 && i < hand->sent_count; i++) {
        unsigned at = (hand->sent_count - 1 - i) % 256;
        if (!myco_addr_equal(&hand->sent[at].to, &addr)) continue;
        if (hand->sent[at].size > 29 && hand->sent[at].bytes[29] == type) {
            return &hand->sent[at].bytes[29];
        }
    }
    return NULL;
}

static uint32_t sequence_of(const uint8_t *message)
{
    struct myco_reader reader = myco_reader(message + 1, 4);
    return myco_read_u32(&reader);
}

static void answer(struct hand *hand, uint64_t id)
{
    const uint8_t *ping = latest(hand, (unsigned)id, 1);
    struct myco_buf buf = begin(id);
    add_probe(&buf, 3, sequence_of(ping), id);
    give(hand, id, &buf);
}

static enum myco_member_state state_of(struct hand *hand, uint64_t id)
{
    return myco_swim_get(hand->swim, id)->state;
}

/* ── Tests ──────────────────────────────────────────────────────────────────────────────────── */

static void test_pause(void)
{
    struct hand hand;
    hand_open(&hand);
    introduce(&hand, 2);
    run_ms(&hand, 199); /* the first probe is out by now */
    for (unsigned i = 0; i < 20; i++) {
        ok(latest(&hand, 2, 1), "a ping is on its way");
        sleep_ms(&hand, 5000);
        if (state_of(&hand, 2) != MYCO_MEMBER_ALIVE) break;
        answer(&hand, 2); /* it lay in the socket */
        run_ms(&hand, 190);
    }
    is_int(state_of(&hand, 2), MYCO_MEMBER_ALIVE, "whoever slept does not suspect");
    run_ms(&hand, 15000);
    is_int(state_of(&hand, 2), MYCO_MEMBER_DEAD, "but does later, when nothing comes");
    hand_close(&hand);
}

static void test_pause_of_suspicion(void)
{
    struct hand hand;
    hand_open(&hand);
    introduce(&hand, 2);
    while (state_of(&hand, 2) == MYCO_MEMBER_ALIVE) run_ms(&hand, 10);
    is_int(state_of(&hand, 2), MYCO_MEMBER_SUSPECT, "silence is suspect");
    const uint8_t *ping = latest(&hand, 2, 1);
    ok(ping, "it is pinged on");
    run_ms(&hand, 850); /* as gossip, the news was told often enough by now */
    ping = latest(&hand, 2, 1);
    is_int(ping[21], 7, "and told of its suspicion in the ping");
    sleep_ms(&hand, 3000);
    is_int(state_of(&hand, 2), MYCO_MEMBER_SUSPECT, "a suspicion does not run out in our sleep");
    run_ms(&hand, 2000);
    is_int(state_of(&hand, 2), MYCO_MEMBER_DEAD, "awake it does");
    hand_close(&hand);
}

/* A loop that is late at every turn still buries its dead. */
static void test_always_late(void)
{
    struct hand hand;
    hand_open(&hand);
    introduce(&hand, 2);
    unsigned ms = 0;
    for (; state_of(&hand, 2) != MYCO_MEMBER_DEAD && ms < 60000; ms += 160) sleep_ms(&hand, 160);
    ok(ms < 15000, "a node that is always late finds a death all the same (%u ms)", ms);
    hand_close(&hand);
}

static void test_stranger(void)
{
    struct hand hand;
    hand_open(&hand);
    struct myco_buf buf = begin(5);
    add_probe(&buf, 1, 1, 1);
    give(&hand, 5, &buf);
    ok(latest(&hand, 5, 3), "a stranger's ping is answered");
    ok(latest(&hand, 5, 5), "and the stranger asked who it is");
    introduce(&hand, 5);
    hand.sent_count = 0;
    buf = begin(5);
    add_probe(&buf, 1, 2, 1);
    give(&hand, 5, &buf);
    ok(latest(&hand, 5, 3) && !latest(&hand, 5, 5), "once is enough");
    hand.sent_count = 0;
    buf = begin(5);
    add_probe(&buf, 1, 3, 99);
    give(&hand, 5, &buf);
    is_int(hand.sent_count, 0, "a ping that is meant for another is not answered");
    hand_close(&hand);
}

static void test_relay(void)
{
    struct hand hand;
    hand_open(&hand);
    introduce(&hand, 2);
    struct myco_addr addr = addr_of(3);
    struct myco_buf buf = begin(2);
    add_probe(&buf, 2, 1234, 3);
    myco_buf_addr(&buf, &addr);
    give(&hand, 2, &buf);
    ok(latest(&hand, 3, 1), "asked to ask, it asks");
    run_ms(&hand, 85);
    const uint8_t *nack = latest(&hand, 2, 4);
    ok(nack && sequence_of(nack) == 1234, "and says when it hears nothing");
    answer(&hand, 3);
    const uint8_t *ack = latest(&hand, 2, 3);
    ok(ack && sequence_of(ack) == 1234, "and also what it hears late");
    hand.sent_count = 0;
    struct myco_buf again = begin(3);
    add_probe(&again, 3, sequence_of((const uint8_t *)"\3\0\0\0\0"), 3);
    give(&hand, 3, &again);
    ok(!latest(&hand, 2, 3), "but not an answer to nothing");
    hand_close(&hand);
}

int main(void)
{
    test_pause();
    test_pause_of_suspicion();
    test_always_late();
    test_stranger();
    test_relay();
    return plan_done();
}
