/* Three buses and the wires between them, for test_bus*.c. Time is the simulator's; messages lie on
 * a wire until pump() carries them, in order, and a wire can be full. */
#ifndef MYCO_TEST_BUS_WORLD_H
#define MYCO_TEST_BUS_WORLD_H

#include "base/buf.h"
#include "base/mem.h"
#include "env/sim.h"
#include "stream/bus.h"
#include "tap.h"
#include "wire/message.h"

#define BUSES     3
#define WIRE_MAX  70000
#define LOG_COUNT 65536

struct wire_message {
    uint8_t type;
    struct myco_buf payload;
};

struct wire {
    bool up, full, control_full;
    size_t first, last;
    struct wire_message messages[WIRE_MAX];
};

struct bus_node {
    unsigned at;
    struct bus_world *world;
    struct myco_bus *bus;
    struct myco_env *env;
};

struct bus_world {
    struct myco_sim *sim;
    struct bus_node nodes[BUSES];
    struct wire wires[BUSES][BUSES]; /* [from][to] */
    size_t published[BUSES];         /* PUBLISH messages that each sent */
};

static uint64_t bus_id(unsigned at)
{
    return 100 + at;
}

static int bus_send(uint64_t to, uint8_t type, struct myco_buf *payload, void *data)
{
    struct bus_node *node = data;
    struct wire *wire = &node->world->wires[node->at][to - 100];
    bool full = type == MYCO_MESSAGE_INTEREST ? wire->control_full : wire->full;
    int rc = !wire->up ? MYCO_ENOTCONN : full ? MYCO_EFULL : 0;
    if (!rc && wire->last == WIRE_MAX) bail_out("the wire is too short");
    if (rc) {
        myco_buf_free(payload);
        return rc;
    }
    struct wire_message *message = &wire->messages[wire->last++];
    message->type = type;
    message->payload = (struct myco_buf){0};
    myco_buf_move(&message->payload, payload);
    node->world->published[node->at] += type == MYCO_MESSAGE_PUBLISH;
    return 0;
}

static void bus_world_open(struct bus_world *world, unsigned at)
{
    struct bus_node *node = &world->nodes[at];
    struct myco_bus_events events = {bus_send, node};
    node->at = at;
    node->world = world;
    node->env = myco_sim_env(world->sim, at);
    node->bus = myco_bus_new(node->env, bus_id(at), &events);
}

static struct bus_world *bus_world_new(void)
{
    struct bus_world *world = myco_alloc(sizeof(*world));
    struct myco_sim_options options;
    myco_sim_options_init(&options, 5, BUSES);
    world->sim = myco_sim_new(&options);
    for (unsigned i = 0; i < BUSES; i++) {
        myco_sim_start(world->sim, i);
        bus_world_open(world, i);
    }
    return world;
}

static void wire_empty(struct wire *wire)
{
    while (wire->first < wire->last) myco_buf_free(&wire->messages[wire->first++].payload);
    wire->first = wire->last = 0;
}

static void bus_world_free(struct bus_world *world)
{
    for (unsigned i = 0; i < BUSES; i++) {
        myco_bus_free(world->nodes[i].bus);
        for (unsigned j = 0; j < BUSES; j++) wire_empty(&world->wires[i][j]);
    }
    myco_sim_free(world->sim);
    myco_free(world);
}

/* Not inlined: gcc 12 at -O1 takes the transposed indices of a caller's loop for a null pointer
 * (its ivopts leaves no base that points-to analysis knows), and then drops the whole loop as
 * having no effect. */
__attribute__((noinline)) static void wire_set(
    struct bus_world *world, unsigned from, unsigned to, bool up)
{
    world->wires[from][to].up = up;
    if (!up) wire_empty(&world->wires[from][to]);
}

static void connect_one(struct bus_world *world, unsigned a, unsigned b)
{
    wire_set(world, a, b, true);
    wire_set(world, b, a, true);
    myco_bus_peer_up(world->nodes[a].bus, bus_id(b));
    myco_bus_peer_up(world->nodes[b].bus, bus_id(a));
}

static void disconnect_one(struct bus_world *world, unsigned a, unsigned b)
{
    wire_set(world, a, b, false);
    wire_set(world, b, a, false);
    myco_bus_peer_down(world->nodes[a].bus, bus_id(b));
    myco_bus_peer_down(world->nodes[b].bus, bus_id(a));
}

static void connect_all(struct bus_world *world)
{
    for (unsigned a = 0; a < BUSES; a++) {
        for (unsigned b = a + 1; b < BUSES; b++) connect_one(world, a, b);
    }
}

/* One message of one wire, the control lane first as on a real one; false: it is empty. */
static bool carry(struct bus_world *world, unsigned from, unsigned to)
{
    struct wire *wire = &world->wires[from][to];
    if (wire->first == wire->last) {
        wire->first = wire->last = 0;
        return false;
    }
    size_t at = wire->first;
    while (at < wire->last && wire->messages[at].type != MYCO_MESSAGE_INTEREST) at++;
    if (at == wire->last) at = wire->first;
    struct wire_message message = wire->messages[at];
    memmove(&wire->messages[wire->first + 1], &wire->messages[wire->first],
        (at - wire->first) * sizeof(message));
    wire->first++;
    myco_bus_receive(
        world->nodes[to].bus, bus_id(from), message.type, myco_buf_as_slice(&message.payload));
    myco_buf_free(&message.payload);
    return true;
}

/* Until nothing moves any more: turns of the loops and messages on the wires. */
static void pump(struct bus_world *world)
{
    bool moved = true;
    while (moved) {
        moved = false;
        myco_sim_run(world->sim, 1);
        for (unsigned i = 0; i < BUSES * BUSES; i++) {
            while (carry(world, i / BUSES, i % BUSES)) moved = true;
        }
    }
    myco_sim_run(world->sim, 1);
}

/* ── Subscribers that remember ──────────────────────────────────────────────────────────────── */

struct ear {
    struct myco_bus_sub *sub;
    size_t count;
    char last[256];
    char reply[256];
    uint64_t publisher;
    bool ordered; /* data is a number that rises, from each publisher */
    long former[BUSES];
};

static void slice_text(char *text, size_t size, struct myco_slice slice)
{
    size_t length = slice.size < size ? slice.size : size - 1;
    if (length > 0) memcpy(text, slice.data, length);
    text[length] = '\0';
}

static void on_ear(const struct myco_msg *msg, void *data)
{
    struct ear *ear = data;
    ear->count++;
    slice_text(ear->last, sizeof(ear->last), msg->data);
    slice_text(ear->reply, sizeof(ear->reply), msg->reply);
    ear->publisher = msg->publisher;
    if (!ear->ordered) return;
    long number = strtol(ear->last, NULL, 10);
    long *former = &ear->former[msg->publisher - 100];
    if (number != *former + 1) ok(false, "%ld follows %ld", number, *former);
    *former = number;
}

static void listen(
    struct bus_world *world, unsigned at, struct ear *ear, const char *pattern, const char *queue)
{
    int rc = myco_bus_subscribe(
        world->nodes[at].bus, myco_str(pattern), myco_str(queue), on_ear, ear, &ear->sub, NULL);
    if (rc) bail_out("subscribe to %s: %d", pattern, rc);
}

static void deafen(struct bus_world *world, unsigned at, struct ear *ear)
{
    myco_bus_unsubscribe(world->nodes[at].bus, ear->sub);
    ear->sub = NULL;
}

static int say(
    struct bus_world *world, unsigned at, const char *subject, const char *text, size_t *receivers)
{
    return myco_bus_publish(
        world->nodes[at].bus, myco_str(subject), myco_str(text), myco_str(NULL), receivers, NULL);
}

#endif
