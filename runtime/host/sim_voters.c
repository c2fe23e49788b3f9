/* A voter that is lost for good, disk and all, in every fifth world of four nodes or more: another
 * takes its place in the group, the group never has fewer voters than it needs, and the node comes
 * back later with an empty disk, as a new member. Of six nodes it is the leader, and a stand-by is
 * there; of four it is another voter, and nobody to take its place: then it only stops to count. */
#include "host/sim_world.h"

#define CALM_MS      1000
#define REPLACED_MS  15000 /* dead_voter_ms is 5,000, gossip needs two, an election a moment */
#define FORGOTTEN_MS 60000 /* without a stand-by: forget_ms is 30,000 */

bool sim_voters_suffers(const struct sim_options *options)
{
    return options->faults && options->seed % 5 == 3 && options->nodes >= 4;
}

/* The only one that has something must not be the one that loses it. */
static bool dispensable(const struct myco_core *leader, uint64_t id)
{
    for (uint32_t s = 0; s < leader->state->septum_count; s++) {
        const struct myco_septum_record *septum = leader->state->septa[s];
        if (septum->options.copies == 1) continue; /* sim_loss.c: meant to be lost */
        for (uint32_t h = 0; h < septum->options.hyphae; h++)
            if (septum->options.kind == MYCO_SEPTUM_DURABLE &&
                septum->hyphae[h].set.in_sync_count < 2 &&
                myco_set_has(&septum->hyphae[h].set, id, 0))
                return false;
    }
    return true;
}

static unsigned count_voters(struct myco_core *leader, uint64_t without, bool *there, bool *standby)
{
    struct myco_log_server servers[64];
    size_t count = myco_rlog_servers(leader->log, servers, 64);
    unsigned voters = 0;
    *there = *standby = false;
    for (size_t i = 0; i < count; i++) {
        voters += servers[i].role == MYCO_ROLE_VOTER;
        *there |= servers[i].id == without;
        *standby |= servers[i].role == MYCO_ROLE_STANDBY;
    }
    return voters;
}

static bool choose(struct sim_world *world, struct sim_node **victim)
{
    struct myco_core *leader = sim_leader(world);
    if (!leader) return false;
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct sim_node *node = &world->nodes[i];
        bool leads = node->core == leader, wanted = world->options.seed % 2;
        if (!node->core || leads != wanted ||
            myco_rlog_role(leader->log, node->identity.id) != MYCO_ROLE_VOTER ||
            !dispensable(leader, node->identity.id))
            continue;
        *victim = node;
        return true;
    }
    return false;
}

struct loss {
    struct sim_world *world;
    uint64_t id;
    unsigned voters; /* before */
};

static bool replaced(void *data)
{
    struct loss *loss = data;
    struct myco_core *leader = sim_leader(loss->world);
    bool there, standby;
    if (loss->world->violation[0]) return true;
    if (!leader || leader->identity.id == loss->id) return false;
    unsigned voters = count_voters(leader, loss->id, &there, &standby);
    if (voters > 5) sim_violated(loss->world, "%u voters are too many", voters);
    if (voters + 1 < loss->voters)
        sim_violated(loss->world, "%u voters of %u are left", voters, loss->voters);
    /* with a node to spare, as many as before; and an odd number in any case */
    bool enough = loss->world->options.nodes > loss->voters ? voters >= loss->voters
                                                            : voters + 1 >= loss->voters;
    return !there && enough;
}

void sim_voters_lose(struct sim_world *world, struct sim_loss *loss_of)
{
    struct sim_node *victim = NULL;
    bool there, standby;
    if (world->violation[0]) return;
    myco_sim_run(world->sim, CALM_MS);
    for (unsigned i = 0; i < 100 && !choose(world, &victim); i++) myco_sim_run(world->sim, 100);
    if (!victim) {
        sim_violated(world, "no voter could be spared although all is well");
        return;
    }
    struct loss loss = {.world = world, .id = victim->identity.id};
    loss.voters = count_voters(sim_leader(world), loss.id, &there, &standby);
    myco_sim_note(world->sim, victim->host, "a voter is lost for good");
    myco_sim_crash(world->sim, victim->host, MYCO_SIM_POWER);
    myco_sim_disk_wipe(myco_sim_disk(world->sim, victim->host));
    uint64_t limit_ms = standby || loss.voters % 2 == 0 ? REPLACED_MS : FORGOTTEN_MS;
    if (!myco_sim_run_until(world->sim, replaced, &loss, limit_ms))
        sim_violated(
            world, "a dead voter was not replaced within %llu ms", (unsigned long long)limit_ms);
    if (!world->violation[0]) sim_loss_happened(world, loss_of, loss.id);
    if (world->violation[0]) return;
    myco_sim_note(world->sim, victim->host, "it comes back with an empty disk");
    if (!myco_sim_up(world->sim, victim->host)) myco_sim_start(world->sim, victim->host);
}
