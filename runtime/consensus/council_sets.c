/* Sets of hyphae: primaries of the dead are replaced, dead backups leave, copies that nobody wants
 * any more go, and a cache that nobody has any more begins anew. */
#include "consensus/council.h"

#define CHANGES_MAX   512   /* in one command */
#define CACHE_DEAD_MS 5000  /* from then on nobody waits for who has a cache */
#define CACHE_DISK_MS 30000 /* nor for who has it on a disk, and may be starting again */

static bool may_succeed(
    const struct myco_council *council, const struct myco_hypha_record *hypha, uint64_t node)
{
    return node != hypha->set.primary && myco_set_has(&hypha->set, node, 0) &&
           myco__council_lives(council, node);
}

/* The first of the targets that is in sync and lives; else any such member. One that is suspected
 * is not taken: the old primary leaves the set, and with a successor that is dead, too, the last
 * copy would. */
static uint64_t successor(const struct myco_council *council, const struct myco_hypha_record *hypha)
{
    const struct myco_set *set = &hypha->set;
    for (uint8_t i = 0; i < hypha->target_count; i++)
        if (may_succeed(council, hypha, hypha->targets[i])) return hypha->targets[i];
    for (uint8_t i = 0; i < set->in_sync_count; i++)
        if (may_succeed(council, hypha, set->in_sync[i].node)) return set->in_sync[i].node;
    return 0;
}

static uint64_t generation_in(const struct myco_set *set, uint64_t node)
{
    for (uint8_t i = 0; i < set->in_sync_count; i++)
        if (set->in_sync[i].node == node) return set->in_sync[i].generation;
    return 0;
}

static bool targeted(const struct myco_hypha_record *hypha, uint64_t node)
{
    for (uint8_t i = 0; i < hypha->target_count; i++)
        if (hypha->targets[i] == node) return true;
    return false;
}

/* It renewed its lease within the last one: it lives, and can take writes without the others. */
static bool renews(const struct myco_council *council, uint64_t node)
{
    if (node == council->options.self) return true;
    return myco__council_present(council, node) &&
           myco_lease_silent_ms(council->options.lease, node) <= council->options.state->lease_ms;
}

/* A copy that is no target leaves the set once every target has one, while the primary lives. One
 * that is dead leaves it only at the primary's own word (host/core_hyphae.c): of a hypha whose
 * primary is lost for ever it may be the last one that has everything, and be back in a second. */
static uint64_t superfluous(
    const struct myco_council *council, const struct myco_hypha_record *hypha)
{
    const struct myco_set *set = &hypha->set;
    if (set->in_sync_count < 2 || !renews(council, set->primary)) return 0;
    bool complete = hypha->target_count > 0;
    for (uint8_t i = 0; i < hypha->target_count; i++)
        complete &= myco_set_has(set, hypha->targets[i], 0);
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        uint64_t node = set->in_sync[i].node;
        if (node == set->primary) continue;
        if (complete && !targeted(hypha, node)) return node;
    }
    return 0;
}

/* It does not come back in time: it left, another bears its name, or it has been dead for long. */
static bool is_lost(
    const struct myco_council *council, const struct myco_holder *holder, uint64_t patience_ms)
{
    const struct myco_council_options *options = &council->options;
    const struct myco_member_record *record = myco_state_member(options->state, holder->node);
    if (holder->node == options->self ||
        !myco__council_gone(council, holder->node, holder->generation))
        return false;
    if (!record || record->left || myco__council_replaced(council, holder->node)) return true;
    const struct myco_member *member = myco_swim_get(options->swim, holder->node);
    uint64_t now_ms = myco_now_ms(options->env);
    if (!member) return now_ms - council->reign_began_ms >= patience_ms;
    return member->state >= MYCO_MEMBER_DEAD && now_ms - member->changed_ms >= patience_ms;
}

/* What a cache held is owed to nobody: better to be empty than to wait for the dead. */
static bool is_forgotten(const struct myco_council *council,
    const struct myco_septum_record *septum, const struct myco_set *set)
{
    if (septum->options.kind != MYCO_SEPTUM_CACHE ||
        !myco_state_feature(council->options.state, MYCO_FEATURE_CACHE_FORGET))
        return false;
    uint64_t patience_ms = septum->options.level == MYCO_LEVEL_DISK ? CACHE_DISK_MS : CACHE_DEAD_MS;
    for (uint8_t i = 0; i < set->in_sync_count; i++)
        if (!is_lost(council, &set->in_sync[i], patience_ms)) return false;
    return true;
}

static void say(const struct myco_council *council, const char *what,
    const struct myco_septum_record *septum, uint32_t index, uint64_t node)
{
    MYCO_DEBUG(council->options.env->log, "nodosum", what, "septum=%s hypha=%u node=%016llx",
        septum->name, index, (unsigned long long)node);
}

enum verdict { KEEP, CHANGE, FORGET };

static enum verdict judge(const struct myco_council *council,
    const struct myco_septum_record *septum, uint32_t index, struct myco_buf *body)
{
    const struct myco_hypha_record *hypha = &septum->hyphae[index];
    const struct myco_set *set = &hypha->set;
    if (!set->primary || hypha->from_store) return KEEP;
    if (myco__council_gone(council, set->primary, generation_in(set, set->primary))) {
        uint64_t next = successor(council, hypha);
        if (!next && is_forgotten(council, septum, set)) {
            myco_command_set(body, MYCO_SET_FORGET, septum->id, index, set->epoch, set->version,
                set->primary, 0);
            say(council, "all who held it are lost: a cache begins anew", septum, index,
                set->primary);
            return FORGET;
        }
        if (!next) return KEEP;
        myco_command_set(
            body, MYCO_SET_REPLACE, septum->id, index, set->epoch, set->version, next, 0);
        say(council, "a primary is gone, another takes over", septum, index, next);
        return CHANGE;
    }
    uint64_t node = superfluous(council, hypha);
    if (!node) return KEEP;
    myco_command_set(body, MYCO_SET_SHRINK, septum->id, index, set->epoch, set->version, node, 0);
    say(council, "a copy is not needed any more", septum, index, node);
    return CHANGE;
}

bool myco__council_sets(struct myco_council *council)
{
    const struct myco_state *state = council->options.state;
    struct myco_buf body = {0};
    uint32_t changes = 0, forgotten = 0;
    for (uint32_t s = 0; s < state->septum_count; s++)
        for (uint32_t h = 0; h < state->septa[s]->options.hyphae && changes < CHANGES_MAX; h++) {
            enum verdict verdict = judge(council, state->septa[s], h, &body);
            changes += verdict != KEEP;
            forgotten += verdict == FORGET;
        }
    if (!changes) return false;
    if (forgotten)
        MYCO_WARN(council->options.env->log, "mycel",
            "caches whose holders are all lost begin anew, empty", "hyphae=%u", forgotten);
    MYCO_INFO(council->options.env->log, "nodosum", "changing sets of hyphae", "count=%u", changes);
    myco__council_propose(council, MYCO_COMMAND_SETS, &body);
    return true;
}
