/* Sets of hyphae: who holds what, and who may acknowledge. Every change is a compare-and-set on
 * (epoch, version). */
#include <string.h>

#include "consensus/state_internal.h"

static const struct myco_member_record *present(const struct myco_state *state, uint64_t node)
{
    const struct myco_member_record *member = myco_state_member(state, node);
    return member && !member->left ? member : NULL;
}

static void drop(struct myco_holder *holders, uint8_t *count, uint64_t node)
{
    for (uint8_t i = 0; i < *count; i++) {
        if (holders[i].node != node) continue;
        memmove(holders + i, holders + i + 1, (size_t)(*count - i - 1) * sizeof *holders);
        (*count)--;
        return;
    }
}

/* Joining: the targets that are not in sync. Returns whether that changed. */
bool myco__sets_join_targets(const struct myco_state *state, struct myco_hypha_record *hypha)
{
    struct myco_holder joining[MYCO_COPIES_MAX] = {{0}};
    uint8_t count = 0;
    for (uint8_t i = 0; i < hypha->target_count; i++) {
        const struct myco_member_record *member = present(state, hypha->targets[i]);
        if (!member || myco_set_has(&hypha->set, member->id, 0)) continue;
        joining[count++] = (struct myco_holder){member->id, member->generation};
    }
    bool same = count == hypha->set.joining_count &&
                memcmp(joining, hypha->set.joining, count * sizeof *joining) == 0;
    memcpy(hypha->set.joining, joining, sizeof joining);
    hypha->set.joining_count = count;
    return !same;
}

/* A hypha without any copy begins: a new one on all its targets at once (all are equally empty),
 * one that is to be loaded from the object store on its first target, and the others join. */
static void begin(struct myco_state *state, struct myco_hypha_record *hypha)
{
    struct myco_set *set = &hypha->set;
    set->in_sync_count = 0;
    for (uint8_t i = 0; i < hypha->target_count && !(hypha->from_store && set->in_sync_count);
         i++) {
        const struct myco_member_record *member = present(state, hypha->targets[i]);
        if (member)
            set->in_sync[set->in_sync_count++] =
                (struct myco_holder){member->id, member->generation};
    }
    set->primary = set->in_sync_count ? set->in_sync[0].node : 0;
    if (set->primary) set->epoch = myco__state_next_epoch(state);
}

static void place(struct myco_state *state, struct myco_septum_record *septum, uint32_t index)
{
    struct myco_hypha_record *hypha = &septum->hyphae[index];
    struct myco_set *set = &hypha->set;
    bool kept = false;
    for (uint8_t i = 0; i < hypha->target_count; i++)
        kept |= hypha->targets[i] == set->primary && present(state, set->primary);
    bool changed = false;
    if (set->in_sync_count == 0 || (hypha->from_store && !kept)) {
        begin(state, hypha);
        changed = true;
    }
    changed |= myco__sets_join_targets(state, hypha);
    if (changed) set->version++;
}

void myco__sets_place(struct myco_state *state, struct myco_reader *in)
{
    while (myco_read_left(in) && !in->bad) {
        struct myco_septum_record *septum = myco_state_septum(state, myco_read_u64(in));
        uint32_t index = myco_read_u32(in);
        uint8_t count = myco_read_u8(in);
        uint64_t targets[MYCO_COPIES_MAX] = {0};
        for (uint8_t i = 0; i < count; i++) {
            uint64_t target = myco_read_u64(in);
            if (i < MYCO_COPIES_MAX) targets[i] = target;
        }
        if (in->bad || !septum || index >= septum->options.hyphae || count > MYCO_COPIES_MAX)
            continue;
        memcpy(septum->hyphae[index].targets, targets, sizeof targets);
        septum->hyphae[index].target_count = count;
        place(state, septum, index);
        if (state->events.on_hypha) state->events.on_hypha(septum, index, state->events.data);
    }
}

static bool shrink(struct myco_state *state, struct myco_hypha_record *hypha, uint64_t node)
{
    if (node == hypha->set.primary || hypha->set.in_sync_count < 2 ||
        !myco_set_has(&hypha->set, node, 0))
        return false;
    drop(hypha->set.in_sync, &hypha->set.in_sync_count, node);
    myco__sets_join_targets(state, hypha);
    return true;
}

static bool expand(
    struct myco_state *state, struct myco_hypha_record *hypha, uint64_t node, uint64_t generation)
{
    struct myco_set *set = &hypha->set;
    const struct myco_member_record *member = present(state, node);
    if (!member || member->generation != generation || !myco_set_joining(set, node)) return false;
    if (set->in_sync_count == MYCO_COPIES_MAX || myco_set_has(set, node, 0)) return false;
    set->in_sync[set->in_sync_count++] = (struct myco_holder){node, generation};
    myco__sets_join_targets(state, hypha);
    return true;
}

static bool take_over(
    struct myco_state *state, struct myco_hypha_record *hypha, uint64_t node, bool replace)
{
    struct myco_set *set = &hypha->set;
    if (node == set->primary || !myco_set_has(set, node, 0) || !present(state, node)) return false;
    uint64_t old = set->primary;
    set->primary = node;
    set->epoch = myco__state_next_epoch(state);
    if (replace || !present(state, old)) drop(set->in_sync, &set->in_sync_count, old);
    myco__sets_join_targets(state, hypha);
    return true;
}

static bool forget(const struct myco_septum_record *septum, struct myco_hypha_record *hypha)
{
    if (septum->options.kind != MYCO_SEPTUM_CACHE || hypha->from_store || !hypha->set.primary)
        return false;
    hypha->set.in_sync_count = 0;
    hypha->set.primary = 0;
    return true;
}

static bool change(struct myco_state *state, const struct myco_septum_record *septum,
    struct myco_hypha_record *hypha, uint8_t what, uint64_t node, uint64_t generation)
{
    switch (what) {
    case MYCO_SET_SHRINK: return shrink(state, hypha, node);
    case MYCO_SET_EXPAND: return expand(state, hypha, node, generation);
    case MYCO_SET_PRIMARY: return take_over(state, hypha, node, false);
    case MYCO_SET_REPLACE: return take_over(state, hypha, node, true);
    case MYCO_SET_LOADED:
        if (node != hypha->set.primary || !hypha->from_store) return false;
        hypha->from_store = false;
        return true;
    case MYCO_SET_FORGET: return forget(septum, hypha);
    default: return false;
    }
}

void myco__sets_change(
    struct myco_state *state, struct myco_reader *in, struct myco_command_result *result)
{
    while (myco_read_left(in) && !in->bad) {
        uint8_t what = myco_read_u8(in);
        struct myco_septum_record *septum = myco_state_septum(state, myco_read_u64(in));
        uint32_t index = myco_read_u32(in);
        uint64_t epoch = myco_read_u64(in), version = myco_read_u64(in);
        uint64_t node = myco_read_u64(in), generation = myco_read_u64(in);
        if (in->bad || !septum || index >= septum->options.hyphae) continue;
        struct myco_hypha_record *hypha = &septum->hyphae[index];
        if (hypha->set.epoch != epoch || hypha->set.version != version ||
            !change(state, septum, hypha, what, node, generation)) {
            result->status = MYCO_ECONFLICT;
            continue;
        }
        hypha->set.version++;
        result->value++;
        if (state->events.on_hypha) state->events.on_hypha(septum, index, state->events.data);
    }
}

/* A copy survives its node's restart in the set only on disk, and only when the disk was found
 * whole. The last copy of a durable hypha stays in any case: what it has is all that there is
 * (level REPLICATED may have lost its tail). */
static bool restart(struct myco_state *state, const struct myco_septum_record *septum,
    struct myco_hypha_record *hypha, uint64_t node, uint64_t generation, bool clean)
{
    struct myco_set *set = &hypha->set;
    bool changed = false;
    if (myco_set_has(set, node, 0) && !myco_set_has(set, node, generation)) {
        changed = true;
        bool last = set->in_sync_count == 1 && septum->options.kind == MYCO_SEPTUM_DURABLE;
        if (clean && (septum->options.level == MYCO_LEVEL_DISK || last)) {
            for (uint8_t i = 0; i < set->in_sync_count; i++)
                if (set->in_sync[i].node == node) set->in_sync[i].generation = generation;
            if (set->primary == node) set->epoch = myco__state_next_epoch(state);
        } else {
            drop(set->in_sync, &set->in_sync_count, node);
            if (set->primary == node) set->primary = set->in_sync_count ? set->in_sync[0].node : 0;
            if (set->in_sync_count) set->epoch = myco__state_next_epoch(state);
        }
    }
    return myco__sets_join_targets(state, hypha) || changed;
}

void myco__sets_new_generation(
    struct myco_state *state, uint64_t node, uint64_t generation, bool clean)
{
    for (uint32_t s = 0; s < state->septum_count; s++) {
        struct myco_septum_record *septum = state->septa[s];
        for (uint32_t h = 0; h < septum->options.hyphae; h++) {
            if (!restart(state, septum, &septum->hyphae[h], node, generation, clean)) continue;
            septum->hyphae[h].set.version++;
            if (state->events.on_hypha) state->events.on_hypha(septum, h, state->events.data);
        }
    }
}

void myco__sets_left(struct myco_state *state, uint64_t node)
{
    for (uint32_t s = 0; s < state->septum_count; s++) {
        struct myco_septum_record *septum = state->septa[s];
        for (uint32_t h = 0; h < septum->options.hyphae; h++) {
            bool changed = shrink(state, &septum->hyphae[h], node);
            changed |= myco__sets_join_targets(state, &septum->hyphae[h]);
            if (!changed) continue;
            septum->hyphae[h].set.version++;
            if (state->events.on_hypha) state->events.on_hypha(septum, h, state->events.data);
        }
    }
}
