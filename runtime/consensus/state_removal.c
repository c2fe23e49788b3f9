/* Members that an operator removed for ever: their ids are kept, and a JOIN of one is refused, so
 * that a node whose folder lay in a drawer can't come back by accident. */
#include <string.h>

#include "consensus/state_internal.h"

const char myco__removed_text[] =
    "this node was removed from the cluster for ever: move its data folder away, and it joins as a "
    "new one";

bool myco_state_removed(const struct myco_state *state, uint64_t id)
{
    for (uint32_t i = 0; i < state->removed_count; i++)
        if (state->removed[i] == id) return true;
    return false;
}

/* u64 id */
void myco_command_remove(struct myco_buf *out, uint64_t id)
{
    myco_buf_u64(out, id);
}

static void remember(struct myco_state *state, uint64_t id)
{
    if (state->removed_count == MYCO_REMOVED_MAX) {
        memmove(
            state->removed, state->removed + 1, (MYCO_REMOVED_MAX - 1) * sizeof *state->removed);
        state->removed_count--;
    }
    state->removed[state->removed_count++] = id;
}

int myco__apply_remove(struct myco__apply *apply)
{
    struct myco_state *state = apply->state;
    uint64_t id = myco_read_u64(&apply->in);
    struct myco_member_record *member = myco_map_get(&state->members, id);
    if (apply->in.bad || !member) return myco__refuse(apply, MYCO_ENOTFOUND, "no such member");
    if (myco_state_removed(state, id)) return 0;
    remember(state, id);
    myco__member_leaves(state, member);
    return 0;
}

void myco_state_recover(struct myco_state *state, const uint64_t *lost, size_t count)
{
    state->incarnation++;
    for (size_t i = 0; i < count; i++) {
        struct myco_member_record *member = myco_map_get(&state->members, lost[i]);
        if (!myco_state_removed(state, lost[i])) remember(state, lost[i]);
        if (member) myco__member_leaves(state, member);
    }
}

void myco__removal_save(const struct myco_state *state, struct myco_buf *out)
{
    myco_buf_u32(out, state->removed_count);
    for (uint32_t i = 0; i < state->removed_count; i++) myco_buf_u64(out, state->removed[i]);
}

void myco__removal_load(struct myco_state *state, struct myco_reader *in)
{
    uint32_t count = myco_read_u32(in);
    if (count > MYCO_REMOVED_MAX) in->bad = true;
    for (uint32_t i = 0; i < count && !in->bad; i++)
        state->removed[state->removed_count++] = myco_read_u64(in);
}
