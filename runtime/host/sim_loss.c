/* Data that is lost for good: hyphae of a septum without replicas, whose only copy was on the voter
 * that lost its disk (sim_voters.c). They wait for it; an operator accepts the loss; then
 * everything serves again. It would catch a loss that is accepted while somebody alive has the
 * data, one that takes hyphae which lost nothing, hyphae that stay away, and a version that is
 * given twice. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "host/sim_world.h"

#define SEPTUM "risky"
#define KEYS   24
#define EACH   20000 /* ms at most for each step */

struct sim_loss {
    uint64_t septum;
    uint64_t versions[KEYS];
    bool lost[KEYS];
};

struct ended {
    struct sim_world *world;
    bool done;
    int status;
    uint64_t version, value;
};

static void on_result(const struct myco_result *result, void *data)
{
    struct ended *ended = data;
    ended->done = true;
    ended->status = result->status;
    ended->version = result->version;
    if (result->value.size == 8) memcpy(&ended->value, result->value.data, 8);
}

static bool is_done(void *data)
{
    struct ended *ended = data;
    return ended->done || ended->world->violation[0];
}

/* Runs until it ended, which it does by its own deadline. */
static bool wait_end(struct ended *ended, const char *what)
{
    if (!myco_sim_run_until(ended->world->sim, is_done, ended, EACH))
        sim_violated(ended->world, "%s does not end", what);
    return !ended->world->violation[0];
}

static struct myco_core *some_core(struct sim_world *world)
{
    struct myco_core *leader = sim_leader(world);
    for (unsigned i = 0; !leader && i < world->options.nodes; i++) leader = world->nodes[i].core;
    return leader;
}

static struct ended put(struct sim_world *world, struct sim_loss *loss, unsigned key)
{
    struct ended ended = {.world = world};
    struct myco_put_options options = {.timeout_ms = EACH / 2};
    uint64_t value = key + 1;
    char text[16];
    snprintf(text, sizeof text, "r%u", key);
    myco_core_put(some_core(world), loss->septum, myco_str(text), myco_bytes(&value, 8), &options,
        on_result, &ended);
    wait_end(&ended, "a put");
    return ended;
}

static int accept(struct sim_world *world, unsigned flags)
{
    struct ended ended = {.world = world};
    myco_core_accept_loss(some_core(world), SEPTUM, NULL, 0, flags, "the simulator's disk burnt",
        EACH / 2, on_result, &ended);
    wait_end(&ended, "accepting a loss");
    return ended.status;
}

struct sim_loss *sim_loss_prepare(struct sim_world *world)
{
    struct sim_loss *loss = myco_alloc(sizeof *loss);
    struct ended ended = {.world = world};
    myco_core_septum(
        some_core(world), SEPTUM, "kind=durable hyphae=8 replicas=0", EACH / 2, on_result, &ended);
    if (!wait_end(&ended, "creating a septum")) return loss;
    loss->septum = ended.version;
    for (unsigned key = 0; key < KEYS && !world->violation[0]; key++) {
        ended = put(world, loss, key);
        loss->versions[key] = ended.version;
        if (ended.status)
            sim_violated(world, "r%u can't be put: %s", key, myco_errname(ended.status));
    }
    if (!world->violation[0] && accept(world, MYCO_LOSS_AWAY) != 0)
        sim_violated(world, "to accept that nothing is lost fails");
    return loss;
}

/* The victim is down, and nobody knows whether for good. */
void sim_loss_happened(struct sim_world *world, struct sim_loss *loss, uint64_t victim)
{
    const struct myco_core *core = some_core(world);
    const struct myco_septum_record *septum =
        core ? myco_state_septum(core->state, loss->septum) : NULL;
    bool any = false;
    for (unsigned key = 0; septum && key < KEYS; key++) {
        char text[16];
        snprintf(text, sizeof text, "r%u", key);
        const struct myco_set *set = &septum->hyphae[myco_hypha_of(septum, myco_str(text))].set;
        loss->lost[key] = set->in_sync_count == 1 && set->in_sync[0].node == victim;
        any |= loss->lost[key];
    }
    int status = any ? accept(world, 0) : MYCO_EBUSY;
    if (!world->violation[0] && status != MYCO_EBUSY)
        sim_violated(
            world, "data was given up although it may come back: %s", myco_errname(status));
}

static void check_key(struct sim_world *world, struct sim_loss *loss, unsigned key)
{
    struct ended ended = {.world = world};
    char text[16];
    snprintf(text, sizeof text, "r%u", key);
    myco_core_get(some_core(world), loss->septum, myco_str(text), EACH / 2, on_result, &ended);
    if (!wait_end(&ended, "a get")) return;
    int expected = loss->lost[key] ? MYCO_ENOTFOUND : 0;
    if (ended.status != expected || (!expected && ended.value != key + 1))
        sim_violated(world, "r%u, %s, reads %s", key, expected ? "lost" : "not lost",
            myco_errname(ended.status));
    ended = put(world, loss, key);
    if (ended.status || ended.version <= loss->versions[key])
        sim_violated(world, "r%u is put after a loss: %s, version %llu after %llu", key,
            myco_errname(ended.status), (unsigned long long)ended.version,
            (unsigned long long)loss->versions[key]);
}

/* All nodes are there again, the victim as another one. Who leads may not have heard yet that the
 * old one is gone for certain. */
void sim_loss_accept(struct sim_world *world, struct sim_loss *loss)
{
    int status = MYCO_EBUSY;
    for (unsigned i = 0; i < 50 && status && !world->violation[0]; i++) {
        status = accept(world, 0);
        if (status) myco_sim_run(world->sim, 200);
    }
    if (!world->violation[0] && status)
        sim_violated(world, "a loss can't be accepted: %s", myco_errname(status));
    for (unsigned key = 0; key < KEYS && !world->violation[0]; key++) check_key(world, loss, key);
    myco_free(loss);
}
