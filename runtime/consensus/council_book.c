/* Who holds what, node by node: elections and locks, counted anew only when the state changed. So
 * an idle round costs as much as there are nodes, not as there are leaderships. */
#include "base/hash.h"
#include "base/mem.h"
#include "consensus/council.h"

static struct myco_council_held *held_of(
    struct myco_council *council, uint64_t node, uint64_t generation)
{
    uint64_t key = myco_hash_mix(node, generation);
    struct myco_council_held *held = myco_map_get(&council->held, key);
    if (held) return held;
    held = myco_alloc(sizeof *held);
    held->node = node;
    held->generation = generation;
    myco_map_put(&council->held, key, held);
    return held;
}

void myco__council_book_free(struct myco_council *council)
{
    MYCO_MAP_EACH (struct myco_council_held, held, &council->held) myco_free(held);
    myco_map_free(&council->held);
}

static void count_locks(struct myco_council *council, const struct myco_lock_record *lock)
{
    for (uint32_t e = 0; e < lock->count; e++)
        held_of(council, lock->entries[e].node, lock->entries[e].generation)->locks++;
}

/* Returns whether anything changed since the last time. */
bool myco__council_book(struct myco_council *council)
{
    const struct myco_state *state = council->options.state;
    if (council->seen_elections == state->election_changes &&
        council->seen_locks == state->locks.changes)
        return false;
    council->seen_elections = state->election_changes;
    council->seen_locks = state->locks.changes;
    council->free_elections = 0;
    myco__council_book_free(council);
    for (uint32_t i = 0; i < state->election_count; i++) {
        const struct myco_election_record *election = state->elections[i];
        if (election->holder)
            held_of(council, election->holder, election->holder_generation)->elections++;
        else
            council->free_elections++;
    }
    for (uint32_t i = 0; i < state->locks.count; i++) count_locks(council, state->locks.list[i]);
    return true;
}

/* Marks those that are gone, and returns whether there are any that lead something. */
bool myco__council_book_gone(struct myco_council *council)
{
    bool any = false;
    MYCO_MAP_EACH (struct myco_council_held, held, &council->held) {
        held->gone = myco__council_gone(council, held->node, held->generation);
        any |= held->gone && held->elections;
    }
    return any;
}

bool myco__council_holder_gone(
    const struct myco_council *council, const struct myco_election_record *election)
{
    if (!election->holder) return true;
    const struct myco_council_held *held =
        myco_map_get(&council->held, myco_hash_mix(election->holder, election->holder_generation));
    return held ? held->gone
                : myco__council_gone(council, election->holder, election->holder_generation);
}

/* With what was proposed in this round, or several that are free at once would go to the same
 * one. */
uint32_t myco__council_leads(const struct myco_council *council, uint64_t id)
{
    uint32_t count = 0;
    MYCO_MAP_EACH (struct myco_council_held, held, &council->held)
        if (held->node == id) count += held->elections;
    struct myco_reader granted = myco_reader(council->granted.data, council->granted.size);
    while (myco_read_left(&granted)) count += myco_read_u64(&granted) == id;
    return count;
}

/* What a node that is gone held or waited for goes to others. */
bool myco__council_locks(struct myco_council *council)
{
    bool proposed = false;
    if (!myco_state_feature(council->options.state, MYCO_FEATURE_LOCKS)) return false;
    MYCO_MAP_EACH (struct myco_council_held, held, &council->held) {
        if (!held->locks || !held->gone) continue;
        struct myco_buf body = {0};
        MYCO_INFO(council->options.env->log, "nodosum", "locks of a node that is gone are free",
            "node=%016llx locks=%u", (unsigned long long)held->node, held->locks);
        myco_command_unlock_node(&body, held->node, held->generation);
        myco__council_propose(council, MYCO_COMMAND_UNLOCK_NODE, &body);
        proposed = true;
    }
    return proposed;
}
