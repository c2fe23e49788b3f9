/* An operator's word that data is lost: hyphae whose last in-sync members never come back go on
 * with another copy, in a new epoch.
 *
 * What was lost had offsets that nobody knows, and versions must not repeat: so the set gets a
 * floor, above all that can have been given, and the new primary's first record begins there. */
#include <string.h>

#include "consensus/state_internal.h"

/* ── ACCEPT_LOSS ── u64 septum, str reason, then for each hypha: u32 index, u64 epoch, version,
 * node, generation, floor */

void myco_command_loss(struct myco_buf *out, uint64_t septum, const char *reason)
{
    myco_buf_u64(out, septum);
    myco_buf_str(out, reason);
}

void myco_command_loss_of(struct myco_buf *out, const struct myco_loss *loss)
{
    myco_buf_u32(out, loss->index);
    myco_buf_u64(out, loss->epoch);
    myco_buf_u64(out, loss->version);
    myco_buf_u64(out, loss->node);
    myco_buf_u64(out, loss->generation);
    myco_buf_u64(out, loss->floor);
}

bool myco_loss_head(struct myco_reader *in, uint64_t *septum, char *reason)
{
    *septum = myco_read_u64(in);
    myco_read_str(in, reason, MYCO_LOSS_REASON_MAX + 1);
    return !in->bad;
}

bool myco_loss_next(struct myco_reader *in, struct myco_loss *loss)
{
    if (in->bad || !myco_read_left(in)) return false;
    loss->index = myco_read_u32(in);
    loss->epoch = myco_read_u64(in);
    loss->version = myco_read_u64(in);
    loss->node = myco_read_u64(in);
    loss->generation = myco_read_u64(in);
    loss->floor = myco_read_u64(in);
    return !in->bad;
}

/* It is as the operator saw it, and who goes on is a member. */
static bool holds(const struct myco_state *state, const struct myco_septum_record *septum,
    const struct myco_loss *loss)
{
    if (loss->index >= septum->options.hyphae) return false;
    const struct myco_set *set = &septum->hyphae[loss->index].set;
    const struct myco_member_record *member = myco_state_member(state, loss->node);
    return set->epoch == loss->epoch && set->version == loss->version &&
           !septum->hyphae[loss->index].from_store && loss->floor >= set->floor && member &&
           !member->left && member->generation == loss->generation;
}

static void restart(
    struct myco_state *state, struct myco_hypha_record *hypha, const struct myco_loss *loss)
{
    struct myco_set *set = &hypha->set;
    memset(set->in_sync, 0, sizeof set->in_sync);
    set->in_sync[0] = (struct myco_holder){loss->node, loss->generation};
    set->in_sync_count = 1;
    set->primary = loss->node;
    set->floor = loss->floor;
    set->epoch = myco__state_next_epoch(state);
    set->version++;
    myco__sets_join_targets(state, hypha);
}

int myco__apply_loss(struct myco__apply *apply)
{
    struct myco_state *state = apply->state;
    const struct myco_state_events *events = &state->events;
    char reason[MYCO_LOSS_REASON_MAX + 1];
    struct myco_loss loss;
    uint64_t id;
    if (!myco_loss_head(&apply->in, &id, reason))
        return myco__refuse(apply, MYCO_EINVAL, "malformed");
    struct myco_septum_record *septum = myco_state_septum(state, id);
    if (!septum) return myco__refuse(apply, MYCO_ENOTFOUND, "no such septum");
    while (myco_loss_next(&apply->in, &loss)) {
        if (!holds(state, septum, &loss)) {
            apply->result->status = MYCO_ECONFLICT;
            continue;
        }
        restart(state, &septum->hyphae[loss.index], &loss);
        apply->result->value++;
        if (events->on_hypha) events->on_hypha(septum, loss.index, events->data);
    }
    if (apply->result->value && events->on_loss)
        events->on_loss(
            septum, (uint32_t)apply->result->value, reason, apply->head.node, events->data);
    return 0;
}

/* ── snapshots ── u32 count, then: u64 septum, u32 index, u64 floor */

void myco__loss_save(const struct myco_state *state, struct myco_buf *out)
{
    struct myco_buf floors = {0};
    uint32_t count = 0;
    for (uint32_t s = 0; s < state->septum_count; s++)
        for (uint32_t h = 0; h < state->septa[s]->options.hyphae; h++) {
            uint64_t floor = state->septa[s]->hyphae[h].set.floor;
            if (!floor) continue;
            myco_buf_u64(&floors, state->septa[s]->id);
            myco_buf_u32(&floors, h);
            myco_buf_u64(&floors, floor);
            count++;
        }
    myco_buf_u32(out, count);
    myco_buf_bytes(out, floors.data, floors.size);
    myco_buf_free(&floors);
}

void myco__loss_load(struct myco_state *state, struct myco_reader *in)
{
    for (uint32_t count = myco_read_u32(in); count > 0 && !in->bad; count--) {
        struct myco_septum_record *septum = myco_state_septum(state, myco_read_u64(in));
        uint32_t index = myco_read_u32(in);
        uint64_t floor = myco_read_u64(in);
        if (!septum || index >= septum->options.hyphae || !floor) {
            in->bad = true;
            return;
        }
        septum->hyphae[index].set.floor = floor;
    }
}
