/* A topology for the simulated cluster: one of the policies that are shipped, applied through the
 * log as an operator would. */
#include <stdio.h>

#include "base/err.h"
#include "host/sim_world.h"

#define APPLY_MS_MAX 10000

int sim_topology_submit(
    struct myco_core *leader, const char *folder, const char *name, struct myco_err *err)
{
    char path[512], bytes[4096];
    struct myco_buf source = {0}, body = {0};
    snprintf(path, sizeof path, "%s/topology/%s.lua", folder, name);
    FILE *file = fopen(path, "rbe");
    if (!file) return myco_err(err, MYCO_ENOTFOUND, "there is no policy %s", path);
    for (size_t size; (size = fread(bytes, 1, sizeof bytes, file)) > 0;)
        myco_buf_bytes(&source, bytes, size);
    fclose(file);
    myco_command_policy(&body, MYCO_POLICY_TOPOLOGY, name, myco_buf_as_slice(&source), "sim", 0);
    myco_core_submit(leader, MYCO_COMMAND_POLICY, &body, APPLY_MS_MAX, NULL, NULL);
    myco_buf_free(&source);
    return 0;
}

bool sim_topology_reaches(const struct myco_core *core, unsigned count)
{
    struct myco_route_stats stats;
    if (!core) return false;
    myco_route_stats(core->route, &stats);
    return !stats.mesh && stats.links + stats.sessions + 1 >= count;
}

struct apply {
    struct sim_world *world;
    const char *name;
    bool under_way;
};

static bool placed(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (!sim_topology_reaches(world->nodes[i].core, world->options.nodes)) return false;
    return true;
}

/* With older nodes among them it is agreed on now, and in force once all understand it. */
static bool in_force(void *data)
{
    struct apply *apply = data;
    struct sim_world *world = apply->world;
    struct myco_core *leader = sim_leader(world);
    if (world->violation[0]) return true;
    if (leader && myco_state_policy(leader->state, MYCO_POLICY_TOPOLOGY))
        return placed(world) || !myco_state_feature(leader->state, MYCO_FEATURE_RELAY);
    if (!leader || apply->under_way) return false;
    apply->under_way = true;
    struct myco_err err = {0};
    if (sim_topology_submit(leader, world->options.lua_path, apply->name, &err))
        sim_violated(world, "%s", err.message);
    return false;
}

bool sim_topology_apply(struct sim_world *world, const char *name)
{
    struct apply apply = {.world = world, .name = name};
    if (!world->options.lua_path)
        sim_violated(world, "--topology needs the Lua policies");
    else if (!myco_sim_run_until(world->sim, in_force, &apply, APPLY_MS_MAX))
        sim_violated(world, "the topology %s did not come into force", name);
    return !world->violation[0];
}

void sim_topology_report(struct sim_world *world, FILE *file)
{
    uint32_t links = 0, sessions = 0, hubs = 0;
    uint64_t relayed = 0, bytes = 0, resets = 0, dropped = 0;
    if (!world->options.topology) return;
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct myco_route_stats stats;
        if (!world->nodes[i].core) continue;
        myco_route_stats(world->nodes[i].core->route, &stats);
        links += stats.links;
        sessions += stats.sessions;
        hubs += stats.place.id && stats.place.hub == stats.place.id;
        relayed += stats.relayed_messages;
        bytes += stats.relayed_bytes;
        resets += stats.resets;
        for (int why = 0; why < MYCO_ROUTE_DROP_COUNT; why++) dropped += stats.dropped[why];
    }
    fprintf(file,
        "  %u hubs, %u connections, %u pairs over hubs; since the last start %llu messages passed "
        "on "
        "(%llu bytes), %llu dropped and told so, %llu sessions began anew\n",
        hubs, links / 2, sessions / 2, (unsigned long long)relayed, (unsigned long long)bytes,
        (unsigned long long)dropped, (unsigned long long)resets);
}
