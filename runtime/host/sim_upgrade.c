/* A rolling upgrade in the simulated cluster: in every third world all nodes begin as the version
 * before features, and each that starts again may come back as this one; what is old when the
 * faults are over is upgraded then, one node after the other. Whoever halts at what it does not
 * understand is a violation (on_failed), and so is a feature that is active while a member lacks
 * it. */
#include "base/hash.h"
#include "host/sim_world.h"

#define STEP_MS 3000 /* between one node and the next */

void sim_upgrade_init(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++)
        world->nodes[i].older = world->options.seed % 3 == 1;
}

/* By the seed alone, so that it changes nothing in what the simulator draws. */
void sim_upgrade_starting(struct sim_node *node)
{
    uint64_t chance =
        myco_hash_mix(myco_hash_mix(node->world->options.seed, node->host), node->starts);
    if (node->older && node->starts && chance % 2) {
        node->older = false;
        myco_sim_note(node->world->sim, node->host, "is upgraded");
    }
}

static void upgrade(void *data)
{
    struct sim_node *node = data;
    if (!node->older) return;
    node->older = false;
    myco_sim_note(node->world->sim, node->host, "is upgraded");
    sim_node_restart(node, 100);
}

void sim_upgrade_finish(struct sim_world *world)
{
    uint64_t at_ms = 0;
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (world->nodes[i].older)
            myco_sim_at(world->sim, (at_ms += STEP_MS) * MYCO_SIM_MS, upgrade, &world->nodes[i]);
}

bool sim_upgraded(struct sim_world *world)
{
    uint64_t own = myco_features_own();
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct myco_core *core = world->nodes[i].core;
        if (!core || core->state->features_active != own) return false;
    }
    return true;
}

void sim_upgrade_check(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++) {
        const struct sim_node *node = &world->nodes[i];
        if (!node->core) continue;
        const struct myco_state *state = node->core->state;
        if (state->features_active & ~state->features_own)
            sim_violated(world, "node %u goes on with a feature that it lacks", i);
        MYCO_MAP_EACH (struct myco_member_record, member, &state->members)
            if (!member->left && state->features_active & ~member->features)
                sim_violated(
                    world, "on node %u a feature is active that member %s lacks", i, member->name);
    }
}
