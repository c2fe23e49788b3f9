/* What peers send to the bus. The input is a sequence of messages: which of three peers (u8; one of
 * them is not connected), type (u8), size (u16), payload; between them a subject is published, so
 * that what was heard is also used. Promise: nothing goes to a peer that is not connected. */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "env/env.h"
#include "stream/bus.h"
#include "wire/message.h"

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
    (void)env, (void)to, (void)bytes;
    return 0;
}

static const struct myco_env_ops ops = {now_ns, wall_ms, fill_random, wake_at, send_datagram};

static int on_send(uint64_t node, uint8_t type, struct myco_buf *payload, void *data)
{
    struct world *world = data;
    assert(node == 2 || node == 3);
    assert(type == MYCO_MESSAGE_INTEREST || type == MYCO_MESSAGE_PUBLISH ||
           type == MYCO_MESSAGE_PUBLISH_FENCED);
    myco_buf_free(payload);
    world->random++;
    return world->random % 7 == 0 ? MYCO_EFULL : world->random % 11 == 0 ? MYCO_ENOTCONN : 0;
}

static void on_msg(const struct myco_msg *msg, void *data)
{
    (void)data;
    assert(msg->subject.size > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *subjects[] = {"a", "a.b", "a.b.c", "b"};
    static const char *patterns[] = {"a", "a.*", ">"};
    struct world world = {.now_ns = 1000000000, .random = 42};
    myco__env_init(&world.env, &ops);
    world.env.metrics = &world.metrics;
    struct myco_bus_events events = {on_send, &world};
    struct myco_bus *bus = myco_bus_new(&world.env, 1, &events);
    struct myco_bus_sub *sub;
    for (unsigned i = 0; i < 6; i++) {
        myco_bus_subscribe(
            bus, myco_str(patterns[i / 2]), myco_str(i % 2 ? "q" : NULL), on_msg, NULL, &sub, NULL);
    }
    myco_bus_peer_up(bus, 2);
    myco_bus_peer_up(bus, 3);
    struct myco_reader input = myco_reader(bytes, size);
    for (unsigned i = 0; myco_read_left(&input) >= 4; i++) {
        uint64_t from = 2 + myco_read_u8(&input) % 3;
        uint8_t type = myco_read_u8(&input);
        size_t payload_size = myco_read_u16(&input);
        if (payload_size > myco_read_left(&input)) payload_size = myco_read_left(&input);
        myco_bus_receive(bus, from, type, myco_read_bytes(&input, payload_size));
        myco_bus_publish(
            bus, myco_str(subjects[i % 4]), myco_str("data"), myco_str(NULL), NULL, NULL);
        world.now_ns += 30 * 1000000;
        myco__env_wake(&world.env);
    }
    myco_bus_unsubscribe(bus, sub);
    myco_bus_peer_down(bus, 2);
    myco__env_wake(&world.env);
    myco_bus_free(bus);
    myco__env_close(&world.env);
    return 0;
}

/* ── Samples ────────────────────────────────────────────────────────────────────────────────── */

static void text(struct myco_buf *buf, const char *string)
{
    myco_buf_u8(buf, (uint8_t)strlen(string));
    myco_buf_bytes(buf, string, strlen(string));
}

static void item(struct myco_buf *buf, uint8_t op, const char *pattern, const char *queue)
{
    myco_buf_u8(buf, op);
    text(buf, pattern);
    text(buf, queue);
}

static uint8_t message(struct myco_buf *buf, unsigned index)
{
    if (index == 0) {
        myco_buf_u8(buf, 1);
        myco_buf_u64(buf, 3);
        item(buf, 1, "a.>", ""), item(buf, 1, "a.*", "w"), item(buf, 1, "b", "w");
    } else if (index == 1) {
        myco_buf_u8(buf, 0);
        myco_buf_u64(buf, 4);
        item(buf, 2, "a.>", ""), item(buf, 1, "a", "v");
    } else if (index == 2) {
        myco_buf_u8(buf, 2);
        myco_buf_u64(buf, 6);
    } else {
        if (index == 5) text(buf, "boss"), myco_buf_u64(buf, 7);
        myco_buf_u8(buf, index == 3);
        myco_buf_u16(buf, 1);
        text(buf, "q"), text(buf, "a.b"), text(buf, index == 3 ? "_inbox.1" : "");
        myco_buf_bytes(buf, "data", 4);
    }
    return index < 3    ? MYCO_MESSAGE_INTEREST
           : index == 5 ? MYCO_MESSAGE_PUBLISH_FENCED
                        : MYCO_MESSAGE_PUBLISH;
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    if (index > 6) return 0;
    struct myco_buf all = {0};
    for (unsigned i = 0; i < 12;
         i++) { /* one message each; the last sample has all, from two peers */
        if (index != 6 && i != index) continue;
        struct myco_buf one = {0};
        uint8_t type = message(&one, i % 6);
        myco_buf_u8(&all, i / 6);
        myco_buf_u8(&all, type);
        myco_buf_u16(&all, (uint16_t)one.size);
        myco_buf_bytes(&all, one.data, one.size);
        myco_buf_free(&one);
    }
    size_t size = all.size <= size_max ? all.size : 0;
    memcpy(bytes, all.data, size);
    myco_buf_free(&all);
    return size;
}
