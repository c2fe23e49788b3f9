/* One host whose processor is busy with others, on a network that is well: it runs for a while, and
 * then stands still for as long at most, again and again (--starved). Nobody who is up may be
 * declared dead for that: a suspicion is to be refuted in time. And as long as it never stands
 * still for more than a third of the lease, no node loses its lease, whoever the starved one is. */
#include "host/sim_world.h"

#define RUN_MS_MIN 5 /* between two stops; up to as long as a stop may take */

static bool all_is_quiet(const struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (!world->nodes[i].core || !myco_core_ready(world->nodes[i].core)) return false;
    return true;
}

static void check_living(struct sim_world *world, unsigned host)
{
    const struct sim_node *node = &world->nodes[host];
    for (unsigned i = 0; i < world->options.nodes; i++) {
        const struct myco_member *member =
            myco_swim_get(node->core->swim, world->nodes[i].identity.id);
        if (i == host || !member || member->state < MYCO_MEMBER_DEAD) continue;
        sim_violated(world, "n%u declared n%u dead, which lives, and was never away for %u ms",
            host + 1, i + 1, world->options.starved_ms);
    }
}

static uint64_t leases_lost(struct sim_world *world, unsigned host)
{
    const struct myco_env *env = myco_sim_env(world->sim, host);
    return __atomic_load_n(&env->metrics->values[MYCO_METRIC_LEASE_LOST], __ATOMIC_RELAXED);
}

static void check(void *data)
{
    struct sim_world *world = data;
    if (!world->starving || world->violation[0]) return;
    uint32_t lease_ms = world->nodes[0].core ? world->nodes[0].core->state->lease_ms : 0;
    for (unsigned i = 0; i < world->options.nodes; i++) {
        if (!world->nodes[i].core) continue;
        check_living(world, i);
        if (world->options.starved_ms * 3 <= lease_ms &&
            leases_lost(world, i) > world->nodes[i].leases_lost)
            sim_violated(world, "n%u lost a lease of %u ms while n%u was late by %u ms at most",
                i + 1, lease_ms, world->starved + 1, world->options.starved_ms);
    }
    myco_sim_at(world->sim, 10 * MYCO_SIM_MS, check, world);
}

static void stop_for_a_while(void *data)
{
    struct sim_world *world = data;
    if (!world->starving || world->violation[0]) return;
    struct myco_sim_random *random = myco_sim_random(world->sim);
    uint64_t most = world->options.starved_ms, stop = 1 + myco_sim_random_below(random, most);
    uint64_t run = RUN_MS_MIN + myco_sim_random_below(random, most);
    myco_sim_pause(world->sim, world->starved, stop);
    myco_sim_at(world->sim, (stop + run) * MYCO_SIM_MS, stop_for_a_while, world);
}

void sim_starved_start(struct sim_world *world)
{
    if (!world->options.starved_ms || !all_is_quiet(world)) return;
    world->starving = true;
    world->starved = (unsigned)(world->options.seed % world->options.nodes);
    for (unsigned i = 0; i < world->options.nodes; i++)
        world->nodes[i].leases_lost = leases_lost(world, i);
    myco_sim_note(world->sim, world->starved, "is starved from here on");
    myco_sim_at(world->sim, 0, stop_for_a_while, world);
    myco_sim_at(world->sim, 0, check, world);
}

void sim_starved_stop(struct sim_world *world)
{
    world->starving = false;
}
