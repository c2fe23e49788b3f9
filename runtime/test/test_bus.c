/* The event bus, alone and among three.
 * Would catch: a message delivered inside publish, twice, out of order, to nobody or after its
 * subscription ended; a queue group that gives one message to two or to none; interest that does
 * not reach a peer that came late or came back; a flush that ends too early or never; a full peer
 * that keeps others from theirs. */
#include "bus_world.h"

static void test_local(void)
{
    struct bus_world *world = bus_world_new();
    struct ear all = {0}, one = {0}, other = {0};
    size_t receivers = 99;
    listen(world, 0, &all, "orders.>", NULL);
    listen(world, 0, &one, "orders.*.created", NULL);
    listen(world, 0, &other, "invoices.>", NULL);
    is_int(say(world, 0, "orders.7.created", "hello", &receivers), 0, "a message is published");
    is_int(receivers, 2, "two want it");
    is_int(all.count, 0, "nothing is delivered inside publish");
    pump(world);
    ok(all.count == 1 && one.count == 1 && other.count == 0, "those who want it get it once");
    is_str(all.last, "hello", "with its data");
    is_int(all.publisher, bus_id(0), "and its publisher");
    say(world, 0, "nobody.cares", "x", &receivers);
    is_int(receivers, 0, "where nobody subscribed, nobody is counted");

    struct myco_bus *bus = world->nodes[0].bus;
    struct myco_err err;
    struct myco_slice none = {NULL, 0};
    is_int(myco_bus_publish(bus, myco_str("a.*"), none, none, NULL, &err), MYCO_EINVAL,
        "wildcards can't be published to");
    is_int(myco_bus_publish(bus, myco_str("a"), none, myco_str("a..b"), NULL, &err), MYCO_EINVAL,
        "a reply subject is checked");
    is_int(myco_bus_publish(bus, myco_str("a"), myco_bytes("", 16 * 1024 * 1024), none, NULL, &err),
        MYCO_ETOOBIG, "and the size: %s", err.message);
    struct myco_bus_sub *sub;
    is_int(myco_bus_subscribe(bus, myco_str("a..b"), none, on_ear, NULL, &sub, &err), MYCO_EINVAL,
        "so is a pattern");
    is_int(myco_bus_subscribe(bus, myco_str("a"), myco_str("q *"), on_ear, NULL, &sub, &err),
        MYCO_EINVAL, "and a queue's name");
    is_int(
        world->nodes[0].env->metrics->values[MYCO_METRIC_DELIVERED], 2, "deliveries are counted");
    bus_world_free(world);
}

static void test_interest(void)
{
    struct bus_world *world = bus_world_new();
    struct ear before = {0}, after = {0};
    size_t receivers;
    listen(world, 1, &before, "a.*", NULL);
    connect_all(world);
    pump(world);
    say(world, 0, "a.1", "x", &receivers);
    is_int(receivers, 1, "interest from before the connection is known");
    listen(world, 1, &after, "b.*", NULL);
    pump(world);
    say(world, 0, "b.1", "x", &receivers);
    is_int(receivers, 1, "and interest from after");
    pump(world);
    ok(before.count == 1 && after.count == 1, "both are served");
    deafen(world, 1, &after);
    pump(world);
    say(world, 0, "b.1", "x", &receivers);
    is_int(receivers, 0, "what is unsubscribed is forgotten");

    disconnect_one(world, 0, 1);
    say(world, 0, "a.1", "x", &receivers);
    is_int(receivers, 0, "a node that is down wants nothing");
    listen(world, 1, &after, "c", NULL);
    connect_one(world, 0, 1);
    pump(world);
    say(world, 0, "a.1", "x", &receivers);
    is_int(receivers, 1, "when it is back, it has told all again");
    say(world, 0, "c", "x", &receivers);
    is_int(receivers, 1, "with what changed meanwhile");
    pump(world);
    ok(before.count == 2 && after.count == 2, "and is served");
    bus_world_free(world);
}

/* However many subscriptions match on the other side, the message crosses the wire once. */
static void test_once(void)
{
    struct bus_world *world = bus_world_new();
    struct ear ears[6] = {0};
    size_t receivers;
    connect_all(world);
    listen(world, 1, &ears[0], "a.b", NULL);
    listen(world, 1, &ears[1], "a.*", NULL);
    listen(world, 1, &ears[2], "a.>", NULL);
    listen(world, 1, &ears[3], ">", "q1");
    listen(world, 1, &ears[4], "a.b", "q2");
    listen(world, 2, &ears[5], "a.b", NULL);
    pump(world);
    size_t sent = world->published[0];
    say(world, 0, "a.b", "x", &receivers);
    is_int(receivers, 2, "it goes to two nodes");
    is_int(world->published[0] - sent, 2, "in one message each");
    pump(world);
    for (unsigned i = 0; i < 6; i++) is_int(ears[i].count, 1, "subscription %u gets it once", i);
    is_int(ears[0].publisher, bus_id(0), "with the publisher's id");
    is_int(world->published[1], 0, "and nobody passes it on");
    bus_world_free(world);
}

static void test_queue(void)
{
    struct bus_world *world = bus_world_new();
    struct ear ears[6] = {0}, plain = {0};
    connect_all(world);
    for (unsigned i = 0; i < 6; i++) {
        listen(world, 1 + i / 3, &ears[i], i % 2 ? "job.*" : "job.>", "workers");
    }
    listen(world, 1, &plain, "job.run", NULL);
    pump(world);
    for (unsigned i = 0; i < 600; i++) {
        say(world, 0, "job.run", "x", NULL);
        pump(world);
    }
    size_t sum = 0, least = 600;
    for (unsigned i = 0; i < 6; i++) {
        sum += ears[i].count;
        if (ears[i].count < least) least = ears[i].count;
    }
    is_int(sum, 600, "each message reaches one member of the group, whatever its pattern");
    ok(least > 60, "all members work (the laziest: %zu of 600)", least);
    is_int(plain.count, 600, "plain subscribers get all besides");

    struct ear own = {0};
    listen(world, 0, &own, "job.run", "workers");
    for (unsigned i = 0; i < 10; i++) say(world, 0, "job.run", "x", NULL);
    pump(world);
    is_int(own.count, 10, "a member at the publisher's node is preferred");
    is_int(plain.count, 610, "which takes nothing from plain ones");
    say(world, 2, "job.run", "x", NULL);
    pump(world);
    sum = own.count;
    for (unsigned i = 0; i < 6; i++) sum += ears[i].count;
    is_int(sum, 611, "a member publishes to its own node's");
    bus_world_free(world);
}

static void test_queue_full(void)
{
    struct bus_world *world = bus_world_new();
    struct ear one = {0}, two = {0}, plain = {0};
    size_t receivers;
    connect_all(world);
    listen(world, 1, &one, "job", "workers");
    listen(world, 2, &two, "job", "workers");
    pump(world);
    world->wires[0][1].full = true;
    unsigned good = 0;
    for (unsigned i = 0; i < 50; i++) good += say(world, 0, "job", "x", &receivers) == 0;
    pump(world);
    is_int(good, 50, "a full member is no error while another takes the work");
    ok(one.count == 0 && two.count == 50, "which it does");
    listen(world, 2, &plain, "job", NULL);
    pump(world);
    for (unsigned i = 0; i < 50; i++) say(world, 0, "job", "x", &receivers);
    pump(world);
    ok(two.count == 100 && plain.count == 50, "also when it gets the message anyway");
    world->wires[0][2].full = true;
    is_int(say(world, 0, "job", "x", &receivers), MYCO_EFULL, "when all are full, it is said");
    is_int(receivers, 0, "and nobody is counted");
    world->wires[0][1].full = false;
    is_int(say(world, 0, "job", "x", &receivers), MYCO_EFULL, "so it is for a plain subscriber");
    is_int(receivers, 1, "while the group is served");
    world->wires[0][2].up = false;
    is_int(say(world, 0, "job", "x", &receivers), 0, "one that is not connected is none");
    pump(world);
    is_int(one.count, 2, "both went to the one that is left");
    bus_world_free(world);
}

/* One message names at most 128 groups. */
static void test_many_groups(void)
{
    struct bus_world *world = bus_world_new();
    struct ear ear = {0};
    char queue[32];
    connect_all(world);
    for (unsigned i = 0; i < 130; i++) {
        snprintf(queue, sizeof(queue), "group-%u", i);
        listen(world, 1, &ear, "a", queue);
        if (i != 127) continue;
        pump(world);
        is_int(say(world, 0, "a", "x", NULL), 0, "128 groups on one node are served");
    }
    pump(world);
    is_int(ear.count, 128, "each");
    is_int(say(world, 0, "a", "x", NULL), MYCO_EFULL, "of more it is said that not all are");
    pump(world);
    is_int(ear.count, 256, "while 128 are");
    bus_world_free(world);
}

/* ── Callbacks that act ─────────────────────────────────────────────────────────────────────── */

struct actor {
    struct bus_world *world;
    unsigned at;
    struct ear *other; /* ends its subscription */
    struct myco_bus_sub *own;
    const char *publish;
    size_t count;
};

static void on_actor(const struct myco_msg *msg, void *data)
{
    struct actor *actor = data;
    actor->count++;
    if (actor->other && actor->other->sub) deafen(actor->world, actor->at, actor->other);
    if (actor->own) myco_bus_unsubscribe(actor->world->nodes[actor->at].bus, actor->own);
    actor->own = NULL;
    if (actor->publish) say(actor->world, actor->at, actor->publish, "again", NULL);
    if (msg->reply.size > 0) {
        myco_bus_publish(actor->world->nodes[actor->at].bus, msg->reply, myco_str("answer"),
            myco_str(NULL), NULL, NULL);
    }
}

static void test_unsubscribe_inside(unsigned publisher)
{
    struct bus_world *world = bus_world_new();
    struct ear later = {0}, last = {0};
    struct actor actor = {.world = world, .at = 0, .other = &later};
    connect_all(world);
    myco_bus_subscribe(
        world->nodes[0].bus, myco_str("a"), myco_str(NULL), on_actor, &actor, &actor.own, NULL);
    listen(world, 0, &later, "a", NULL);
    listen(world, 0, &last, "a", NULL);
    pump(world);
    say(world, publisher, "a", "1", NULL);
    say(world, publisher, "a", "2", NULL);
    pump(world);
    is_int(actor.count, 1, "whoever unsubscribes inside is not called again");
    is_int(later.count, 0, "nor is the one it unsubscribed, though the message was under way");
    is_int(last.count, 2, "the others are");
    bus_world_free(world);
}

static void test_publish_inside(void)
{
    struct bus_world *world = bus_world_new();
    struct actor actor = {.world = world, .at = 0, .publish = "loop"};
    struct myco_bus_sub *sub;
    myco_bus_subscribe(
        world->nodes[0].bus, myco_str("loop"), myco_str(NULL), on_actor, &actor, &sub, NULL);
    say(world, 0, "loop", "1", NULL);
    for (unsigned i = 0; i < 1000; i++) myco_sim_step(world->sim);
    ok(actor.count > 100 && actor.count <= 1000, "a loop of messages leaves turns to others (%zu)",
        actor.count);
    actor.publish = NULL;
    pump(world);
    bus_world_free(world);
}

/* The inbox is subscribed a moment before the request leaves, in the same turn. */
static void test_request(void)
{
    struct bus_world *world = bus_world_new();
    struct actor service = {.world = world, .at = 1};
    struct myco_bus_sub *sub;
    struct ear inbox = {0};
    connect_all(world);
    myco_bus_subscribe(world->nodes[1].bus, myco_str("price.get"), myco_str("prices"), on_actor,
        &service, &sub, NULL);
    pump(world);
    size_t receivers;
    listen(world, 0, &inbox, "_inbox.100.*", NULL);
    myco_bus_publish(world->nodes[0].bus, myco_str("price.get"), myco_str("7"),
        myco_str("_inbox.100.1"), &receivers, NULL);
    is_int(receivers, 1, "a request finds its service");
    while (carry(world, 0, 1)) {
    } /* in the same turn of the asker's loop */
    is_int(service.count, 1, "which hears of the inbox first");
    is_int(world->published[1], 1, "and so can answer");
    pump(world);
    is_int(inbox.count, 1, "and the answer its asker");
    is_str(inbox.last, "answer", "as it was said");
    bus_world_free(world);
}

/* ── Flush ──────────────────────────────────────────────────────────────────────────────────── */

static void on_flushed(void *data)
{
    ++*(unsigned *)data;
}

static void test_flush(void)
{
    struct bus_world *world = bus_world_new();
    struct myco_bus *bus = world->nodes[0].bus;
    struct ear ears[4] = {0};
    unsigned done = 0;
    listen(world, 0, &ears[0], "a", NULL);
    myco_bus_flush(bus, on_flushed, &done);
    is_int(done, 0, "a flush does not end inside the call");
    myco_sim_run(world->sim, 1);
    is_int(done, 1, "alone it ends on the next turn");

    connect_all(world);
    pump(world);
    listen(world, 0, &ears[1], "b", NULL);
    myco_bus_flush(bus, on_flushed, &done);
    myco_sim_run(world->sim, 100);
    is_int(done, 1, "it waits while messages lie on the wire");
    while (carry(world, 0, 1)) {
    }
    while (carry(world, 1, 0)) {
    }
    myco_sim_run(world->sim, 100);
    is_int(done, 1, "and for the second peer too");
    while (carry(world, 0, 2)) {
    }
    myco_sim_run(world->sim, 100);
    is_int(done, 1, "until that one's acknowledgement");
    while (carry(world, 2, 0)) {
    }
    myco_sim_run(world->sim, 1);
    is_int(done, 2, "came");

    listen(world, 0, &ears[2], "c", NULL);
    myco_bus_flush(bus, on_flushed, &done);
    while (carry(world, 0, 1)) {
    }
    while (carry(world, 1, 0)) {
    }
    disconnect_one(world, 0, 2);
    myco_sim_run(world->sim, 1);
    is_int(done, 3, "a peer that went down is not waited for");

    world->wires[0][1].control_full = true;
    world->wires[1][0].control_full = true;
    listen(world, 0, &ears[3], "d", NULL);
    myco_bus_flush(bus, on_flushed, &done);
    pump(world);
    myco_sim_run(world->sim, 200);
    pump(world);
    is_int(done, 3, "a full lane keeps it waiting");
    world->wires[0][1].control_full = false;
    myco_sim_run(world->sim, 200);
    pump(world);
    is_int(done, 3, "also when it is the acknowledgement's");
    world->wires[1][0].control_full = false;
    myco_sim_run(world->sim, 200);
    pump(world);
    is_int(done, 4, "and no longer than that");
    bus_world_free(world);
}

/* ── Order and bounds ───────────────────────────────────────────────────────────────────────── */

static void test_order(void)
{
    struct bus_world *world = bus_world_new();
    struct ear ear = {.ordered = true};
    connect_all(world);
    listen(world, 0, &ear, "n.>", NULL);
    pump(world);
    char text[32];
    for (unsigned i = 1; i <= 2000; i++) {
        snprintf(text, sizeof(text), "%u", i);
        for (unsigned at = 0; at < BUSES; at++) say(world, at, at ? "n.a" : "n.b.c", text, NULL);
        if (i % 100 == 0) pump(world);
    }
    pump(world);
    is_int(ear.count, 6000, "each publisher's messages come in its order");
    bus_world_free(world);
}

static void test_local_full(void)
{
    struct bus_world *world = bus_world_new();
    struct ear here = {0}, there = {0};
    connect_all(world);
    listen(world, 0, &here, "big", NULL);
    listen(world, 1, &there, "big", NULL);
    pump(world);
    size_t size = 15 * 1024 * 1024, receivers;
    struct myco_slice data = {myco_alloc(size), size}, none = {NULL, 0};
    struct myco_bus *bus = world->nodes[0].bus;
    for (unsigned i = 0; i < 4; i++) {
        is_int(
            myco_bus_publish(bus, myco_str("big"), data, none, NULL, NULL), 0, "60 MiB may wait");
    }
    is_int(myco_bus_publish(bus, myco_str("big"), data, none, &receivers, NULL), MYCO_EFULL,
        "more than 64 MiB may not");
    is_int(receivers, 1, "the other node gets it all the same");
    ok(world->nodes[0].env->metrics->values[MYCO_METRIC_DROPPED] == 1, "and the loss is counted");
    pump(world);
    ok(here.count == 4 && there.count == 5, "as counted");
    is_int(myco_bus_publish(bus, myco_str("big"), data, none, &receivers, NULL), 0,
        "when the queue is empty, there is room again");
    myco_free((void *)data.data);
    bus_world_free(world);
}

static void test_garbage(void)
{
    struct bus_world *world = bus_world_new();
    struct ear ear = {0};
    connect_all(world);
    listen(world, 1, &ear, "a.b", NULL);
    pump(world);
    say(world, 0, "a.b", "data", NULL);
    struct wire *wire = &world->wires[0][1];
    struct wire_message *message = &wire->messages[wire->first];
    struct myco_bus *bus = world->nodes[1].bus;
    uint64_t *refused = &world->nodes[1].env->metrics->values[MYCO_METRIC_FRAMES_REFUSED];
    size_t head = message->payload.size - 4; /* data may have any size */
    for (size_t cut = 0; cut < head; cut++) {
        myco_bus_receive(bus, bus_id(0), message->type, myco_bytes(message->payload.data, cut));
        myco_bus_receive(
            bus, bus_id(0), MYCO_MESSAGE_INTEREST, myco_bytes(message->payload.data, cut));
    }
    is_int(ear.count, 0, "half a message is none");
    ok(*refused >= head, "it is counted");
    myco_bus_receive(bus, bus_id(0), 99, myco_str("?"));
    myco_bus_receive(bus, 555, MYCO_MESSAGE_INTEREST, myco_bytes("\0\1\0\0\0\0\0\0\0", 9));
    ok(*refused >= head + 2, "so are messages of other types, and from nodes that are not up");
    pump(world);
    is_int(ear.count, 1, "the whole one is delivered");
    size_t receivers;
    myco_bus_receive(
        world->nodes[0].bus, bus_id(1), MYCO_MESSAGE_INTEREST, myco_bytes("\1\2\0\0\0\0\0\0\0", 9));
    say(world, 0, "a.b", "x", &receivers);
    is_int(receivers, 0, "a reset is one");
    bus_world_free(world);
}

int main(void)
{
    test_local();
    test_interest();
    test_once();
    test_queue();
    test_queue_full();
    test_many_groups();
    test_unsubscribe_inside(0);
    test_unsubscribe_inside(1);
    test_publish_inside();
    test_request();
    test_flush();
    test_order();
    test_local_full();
    test_garbage();
    return plan_done();
}
