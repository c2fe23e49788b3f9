/* Members that will not come back are marked as left, so that nobody counts on them: a node whose
 * folder was lost comes back under a new identity and its old name, and its old identity would
 * otherwise be waited for for ever. The log says LEAVE in its place. So it does at an operator's
 * word, of a dead member of an older version, for which all features wait. */
#include "base/err.h"
#include "base/log.h"
#include "consensus/council.h"

/* The last copy of a cache is no reason to wait for who will not come back: nothing of it is owed.
 */
static bool is_forgettable(const struct myco_septum_record *septum, const struct myco_set *set)
{
    return septum->options.kind == MYCO_SEPTUM_CACHE && set->in_sync_count < 2;
}

static bool holds_something(const struct myco_state *state, uint64_t id)
{
    for (uint32_t i = 0; i < state->election_count; i++)
        if (state->elections[i]->holder == id) return true;
    for (uint32_t s = 0; s < state->septum_count; s++)
        for (uint32_t h = 0; h < state->septa[s]->options.hyphae; h++) {
            const struct myco_set *set = &state->septa[s]->hyphae[h].set;
            if (is_forgettable(state->septa[s], set)) continue;
            if (set->primary == id || myco_set_has(set, id, 0)) return true;
        }
    return false;
}

static bool in_group(const struct myco_council *council, uint64_t id)
{
    return myco_rlog_role(council->options.log, id) != MYCO_ROLE_NONE;
}

/* What the node itself would log: the state refuses it when a newer generation joined meanwhile.
 * The sequence is one that the old process did not come to. */
static int log_leave(
    struct myco_council *council, const struct myco_member_record *record, const char *why)
{
    struct myco_buf command = {0};
    uint64_t sequence = record->seen_top + MYCO_SEEN_WINDOW / 2;
    myco_command_begin(&command, MYCO_COMMAND_LEAVE, record->id, record->generation, sequence);
    MYCO_INFO(council->options.env->log, "nodosum", why, "name=%s id=%016llx", record->name,
        (unsigned long long)record->id);
    int rc = myco_rlog_submit(council->options.log, myco_buf_as_slice(&command));
    if (rc == 0) {
        council->outstanding++;
        council->outstanding_ns = myco_now_ns(council->options.env);
    }
    myco_buf_free(&command);
    return rc;
}

/* What it still holds is taken from it first, by the rules for that. */
bool myco__council_bury(struct myco_council *council)
{
    for (size_t i = 0; i < council->member_count; i++) {
        const struct myco_council_member *member = &council->members[i];
        uint64_t id = member->record->id;
        if (member->present || !myco__council_gone(council, id, member->record->generation) ||
            !myco__council_replaced(council, id) || in_group(council, id) ||
            holds_something(council->options.state, id))
            continue;
        log_leave(council, member->record, "a member was replaced by another of its name");
        return true;
    }
    return false;
}

int myco_council_leave_for(struct myco_council *council, uint64_t id, struct myco_err *err)
{
    const struct myco_member_record *record = myco_state_member(council->options.state, id);
    if (!record || record->left) return myco_err(err, MYCO_ENOTFOUND, "no such member");
    if (!myco_rlog_is_established(council->options.log))
        return myco_err(err, MYCO_ENOTLEADER, "this node does not lead the consensus group");
    if (myco__council_present(council, id) || !myco__council_gone(council, id, record->generation))
        return myco_err(err, MYCO_EBUSY, "%s is alive, or its lease is not over", record->name);
    int rc = log_leave(council, record, "a dead member leaves at an operator's word");
    return rc ? myco_err(err, rc, "%s: its leave can't be logged", record->name) : 0;
}
