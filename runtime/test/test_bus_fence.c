/* Messages that show an epoch.
 * Would catch: a stale leader's message that is handed to somebody who heard his successor, be it
 * from a peer, from this node, or of a turn that was waiting when the successor's came in; a
 * publish that passes although a newer epoch is known; a fence that a peer of an older version
 * gets; a table of names that grows without end, or forgets the name that was used last. */
#include <stdio.h>
#include <string.h>

#include "bus_world.h"

static uint64_t agreed; /* by the cluster, about any name */
static bool old_peers;

static uint64_t fence_newer(const struct myco_fence *fence, void *data)
{
    (void)data;
    return agreed > fence->epoch ? agreed : 0;
}

static bool knows(uint64_t node, uint8_t type, void *data)
{
    (void)node, (void)type, (void)data;
    return !old_peers;
}

static struct bus_world *open_world(void)
{
    struct bus_world *world = bus_world_new();
    agreed = 0;
    old_peers = false;
    for (unsigned i = 0; i < BUSES; i++) {
        struct bus_node *node = &world->nodes[i];
        struct myco_bus_events events = {
            .send = bus_send, .data = node, .knows = knows, .fence_newer = fence_newer};
        myco_bus_free(node->bus);
        node->bus = myco_bus_new(node->env, bus_id(i), &events);
    }
    connect_all(world);
    return world;
}

static int fenced(struct bus_world *world, unsigned at, const char *text, const char *name,
    uint64_t epoch, struct myco_err *err)
{
    struct myco_fence fence = {name, epoch};
    return myco_bus_publish_fenced(world->nodes[at].bus, myco_str("jobs.1"), myco_str(text),
        myco_str(NULL), &fence, NULL, err);
}

static uint64_t dropped(const struct bus_world *world, unsigned at)
{
    return world->nodes[at].env->metrics->values[MYCO_METRIC_MESSAGES_FENCED];
}

static void test_receiver(void)
{
    struct bus_world *world = open_world();
    struct ear ear = {0};
    listen(world, 2, &ear, "jobs.*", NULL);
    pump(world);
    is_int(fenced(world, 0, "old", "boss", 5, NULL), 0, "a leader says something");
    pump(world);
    is_str(ear.last, "old", "and is heard");
    fenced(world, 1, "new", "boss", 6, NULL);
    pump(world);
    is_str(ear.last, "new", "so is the next one");
    is_int(fenced(world, 0, "stale", "boss", 5, NULL), 0, "the former does not know yet");
    pump(world);
    is_str(ear.last, "new", "but is not heard any more");
    is_int(dropped(world, 2), 1, "which is counted");
    fenced(world, 0, "other", "clerk", 1, NULL);
    pump(world);
    is_str(ear.last, "other", "other names have epochs of their own");
    say(world, 0, "jobs.1", "plain", NULL);
    pump(world);
    is_str(ear.last, "plain", "and who shows none is not judged");
    agreed = 9;
    fenced(world, 0, "late", "boss", 9, NULL);
    pump(world);
    is_str(ear.last, "late", "the epoch that was agreed on passes");
    deafen(world, 2, &ear);
    listen(world, 2, &ear, "jobs.>", NULL);
    disconnect_one(world, 0, 2);
    connect_one(world, 0, 2);
    pump(world);
    fenced(world, 0, "again", "boss", 9, NULL);
    agreed = 0;
    fenced(world, 1, "stale", "boss", 8, NULL);
    pump(world);
    ok(strcmp(ear.last, "again") == 0 && dropped(world, 2) == 2,
        "what a node saw outlives its subscriptions and its connections");
    bus_world_free(world);
}

static void test_publisher(void)
{
    struct bus_world *world = open_world();
    struct ear ear = {0};
    struct myco_err err = {0};
    listen(world, 0, &ear, "jobs.*", NULL);
    pump(world);
    agreed = 8;
    is_int(fenced(world, 0, "x", "boss", 7, &err), MYCO_EFENCED, "what is over is refused");
    is_str(err.message, "fenced: epoch 7 of 'boss' is over, 8 was seen here", "with both epochs");
    agreed = 0;
    fenced(world, 1, "y", "boss", 12, NULL);
    pump(world);
    is_int(fenced(world, 0, "x", "boss", 11, &err), MYCO_EFENCED, "so is what is older than seen");
    is_str(err.message, "fenced: epoch 11 of 'boss' is over, 12 was seen here", "and that said");
    is_int(fenced(world, 0, "x", "", 1, &err), MYCO_EINVAL, "a fence has a name");
    is_int(fenced(world, 0, "x", "boss", 0, &err), MYCO_EINVAL, "and an epoch");
    char name[MYCO_FENCE_NAME_SIZE_MAX + 2];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    is_int(fenced(world, 0, "x", name, 1, &err), MYCO_EINVAL, "of 79 bytes at most");
    pump(world);
    is_int(ear.count, 1, "nothing of that was said");
    bus_world_free(world);
}

/* The older one waits for its turn here while the newer one comes in. */
static void test_turn(void)
{
    struct bus_world *world = open_world();
    struct ear ear = {0};
    listen(world, 0, &ear, "jobs.*", NULL);
    pump(world);
    fenced(world, 1, "new", "boss", 6, NULL);
    is_int(fenced(world, 0, "old", "boss", 5, NULL), 0, "published, and waits for its turn");
    while (carry(world, 1, 0)) {
    }
    is_str(ear.last, "new", "the next one's comes first");
    pump(world);
    ok(ear.count == 1 && dropped(world, 0) == 1, "then the older is dropped");
    bus_world_free(world);
}

static void test_old_peers(void)
{
    struct bus_world *world = open_world();
    struct ear plain = {0}, grouped = {0};
    listen(world, 1, &plain, "jobs.*", NULL);
    listen(world, 2, &grouped, "jobs.*", "group");
    pump(world);
    old_peers = true;
    fenced(world, 0, "x", "boss", 1, NULL);
    pump(world);
    ok(!plain.count && !grouped.count, "who does not know fences gets no message with one");
    bus_world_free(world);
}

static void test_bound(void)
{
    struct bus_world *world = open_world();
    char name[16];
    bool all = true;
    fenced(world, 0, "x", "first", 9, NULL);
    fenced(world, 0, "x", "second", 9, NULL);
    for (unsigned i = 0; i < 4095; i++) {
        snprintf(name, sizeof name, "n%u", i);
        all &= fenced(world, 0, "x", name, 2, NULL) == 0;
        if (i == 4000) fenced(world, 0, "x", "second", 9, NULL); /* seen again */
    }
    ok(all, "4,096 further names");
    is_int(fenced(world, 0, "x", "second", 8, NULL), MYCO_EFENCED, "what was seen lately is kept");
    is_int(fenced(world, 0, "x", "first", 8, NULL), 0, "what was not is forgotten");
    is_int(fenced(world, 0, "x", "n4094", 1, NULL), MYCO_EFENCED, "the newest is known");
    bus_world_free(world);
}

int main(void)
{
    test_receiver();
    test_publisher();
    test_turn();
    test_old_peers();
    test_bound();
    return plan_done();
}
