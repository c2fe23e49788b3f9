/* Catches: a driver that calls back inside the call, overwrites where it must not, lists in another
 * order, or lets a callback be lost (or come twice) when it is closed. */
#include "object_conformance.h"
#include "object_faulty.h"
#include "object_world.h"

static bool wait_for(bool *done, void *data)
{
    return object_world_wait(data, done);
}

static void conform(struct object_world *world)
{
    struct conformance run = {myco_object_file(world->env, world->disk), wait_for, world};
    note("on %s", world->name);
    conformance_run(&run);
    run.store->ops->close(run.store);
}

/* The wrapper for other tests has to be a proper driver itself. */
static void conform_wrapped(struct object_world *world)
{
    struct faulty *faulty = faulty_new(myco_object_file(world->env, world->disk));
    struct conformance run = {&faulty->base, wait_for, world};
    faulty->delay_ms_max = 50;
    conformance_run(&run);
    run.store->ops->close(run.store);
}

static void close_under_way(struct object_world *world)
{
    struct conformance_answer answers[4] = {{0}};
    struct myco_object *store = myco_object_file(world->env, world->disk);
    store->ops->put(store, "k", myco_str("v"), 0, conformance_on_done, &answers[0]);
    store->ops->get(store, "k", 0, 0, conformance_on_get, &answers[1]);
    store->ops->list(store, "", conformance_on_list, &answers[2]);
    store->ops->del(store, "bad key", conformance_on_done, &answers[3]);
    store->ops->close(store);
    unsigned cancelled = 0, calls = 0;
    for (int i = 0; i < 4; i++)
        cancelled += answers[i].calls == 1 && answers[i].status == MYCO_ECANCELED;
    is_int(cancelled, 4, "%s: close cancels what is under way", world->name);
    object_world_settle(world);
    for (int i = 0; i < 4; i++) calls += answers[i].calls;
    is_int(calls, 4, "%s: and nothing calls back again", world->name);
}

static void count(struct object_world *world)
{
    struct conformance_answer answer = {0};
    struct conformance run = {myco_object_file(world->env, world->disk), wait_for, world};
    uint64_t before = world->env->metrics->values[MYCO_METRIC_STORE_PUTS];
    conformance_put(&run, &answer, "counted", myco_str("x"), 0);
    conformance_put(&run, &answer, "counted", myco_str("x"), MYCO_OBJECT_IF_ABSENT);
    is_int(world->env->metrics->values[MYCO_METRIC_STORE_PUTS] - before, 1, "%s: puts are counted",
        world->name);
    conformance_reset(&answer);
    run.store->ops->close(run.store);
}

int main(void)
{
    struct object_world world;
    object_world_sim(&world, 1, 1);
    conform(&world);
    conform_wrapped(&world);
    close_under_way(&world);
    count(&world);
    object_world_close(&world);
    object_world_uv(&world);
    conform(&world);
    close_under_way(&world);
    count(&world);
    object_world_close(&world);
    return plan_done();
}
