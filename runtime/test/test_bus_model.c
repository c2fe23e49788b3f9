/* Random subscriptions, publishes, full lanes and broken connections among three buses, against a
 * list. Would catch: interest that is lost, left over or mixed up when lanes fill, connections
 * break and come back, and subscriptions come and go meanwhile; a message that reaches a subscriber
 * twice or not at all; a queue group that is served twice or not at all. */
#include "bus_world.h"

#define EARS 40

static const char *patterns[] = {
    "a", "a.b", "a.*", "*.b", ">", "a.>", "*", "b.c.d", "b.*.d", "b.>"};
static const char *subjects[] = {"a", "a.b", "b.c.d", "c.b", "a.c.e", "b", "b.c"};
static const char *queues[] = {NULL, NULL, "q1", "q2"};
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

struct model_ear {
    struct ear ear; /* first */
    bool on;
    unsigned at;
    const char *pattern, *queue;
};

static struct model_ear ears[EARS];

static unsigned draw(struct bus_world *world, size_t bound)
{
    return (unsigned)myco_sim_random_below(myco_sim_random(world->sim), bound);
}

static void change_ear(struct bus_world *world)
{
    struct model_ear *ear = &ears[draw(world, EARS)];
    ear->on = !ear->on;
    if (!ear->on) {
        deafen(world, ear->at, &ear->ear);
        return;
    }
    ear->at = draw(world, BUSES);
    ear->pattern = patterns[draw(world, COUNT(patterns))];
    ear->queue = queues[draw(world, COUNT(queues))];
    listen(world, ear->at, &ear->ear, ear->pattern, ear->queue);
}

static void change_wire(struct bus_world *world)
{
    unsigned a = draw(world, BUSES), b = (a + 1 + draw(world, BUSES - 1)) % BUSES;
    if (draw(world, 3) == 0) {
        if (world->wires[a][b].up) {
            disconnect_one(world, a, b);
        } else {
            connect_one(world, a, b);
        }
    } else {
        world->wires[a][b].control_full = !world->wires[a][b].control_full;
    }
}

static void settle(struct bus_world *world)
{
    for (unsigned a = 0; a < BUSES; a++) {
        for (unsigned b = 0; b < BUSES; b++) {
            world->wires[a][b].control_full = false;
            if (a < b && !world->wires[a][b].up) connect_one(world, a, b);
        }
    }
    pump(world);
    myco_sim_run(world->sim, 50);
    pump(world);
}

/* Publishes from one node, and compares what everybody heard with what the list says. */
static bool check(struct bus_world *world, const char *subject)
{
    unsigned from = draw(world, BUSES);
    for (unsigned i = 0; i < EARS; i++) ears[i].ear.count = 0;
    if (say(world, from, subject, "x", NULL)) return false;
    pump(world);
    bool good = true;
    for (size_t q = 2; q < COUNT(queues); q++) {
        size_t members = 0, heard = 0;
        for (unsigned i = 0; i < EARS; i++) {
            if (!ears[i].on || ears[i].queue != queues[q]) continue;
            members += myco_subject_match(myco_str(ears[i].pattern), myco_str(subject));
            heard += ears[i].ear.count;
        }
        good &= heard == (members > 0);
    }
    for (unsigned i = 0; i < EARS; i++) {
        bool plain = ears[i].on && !ears[i].queue;
        bool wanted = plain && myco_subject_match(myco_str(ears[i].pattern), myco_str(subject));
        if (plain || !ears[i].on) good &= ears[i].ear.count == wanted;
    }
    return good;
}

static unsigned flushed;
static void on_flushed(void *data)
{
    (void)data;
    flushed++;
}

int main(void)
{
    struct bus_world *world = bus_world_new();
    bool good = true;
    unsigned flushes = 0;
    connect_all(world);
    for (unsigned round = 0; round < 400; round++) {
        for (unsigned i = draw(world, 30); i > 0; i--) {
            if (draw(world, 4)) {
                change_ear(world);
            } else {
                change_wire(world);
            }
            if (draw(world, 3) == 0) myco_sim_run(world->sim, draw(world, 30));
            if (draw(world, 3) == 0) carry(world, draw(world, BUSES), draw(world, BUSES));
            if (draw(world, 5) == 0) say(world, draw(world, BUSES), subjects[0], "x", NULL);
            if (draw(world, 5)) continue;
            myco_bus_flush(world->nodes[draw(world, BUSES)].bus, on_flushed, NULL);
            flushes++;
        }
        settle(world);
        for (size_t i = 0; i < COUNT(subjects); i++) good &= check(world, subjects[i]);
        if (!good) break;
    }
    ok(good, "after every storm each subscriber gets what it wants, once");
    is_int(flushed, flushes, "every flush ended");

    /* more than one message of interest */
    struct ear many = {0};
    char pattern[64];
    disconnect_one(world, 0, 1);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(pattern, sizeof(pattern), "many.%u.with-a-long-name", i);
        listen(world, 1, &many, pattern, NULL);
    }
    connect_one(world, 0, 1);
    pump(world);
    size_t receivers, sum = 0;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(pattern, sizeof(pattern), "many.%u.with-a-long-name", i);
        say(world, 0, pattern, "x", &receivers);
        sum += receivers > 0;
    }
    pump(world);
    is_int(sum, 5000, "thousands of patterns are told");
    is_int(many.count, 5000, "and served");
    bus_world_free(world);
    return plan_done();
}
