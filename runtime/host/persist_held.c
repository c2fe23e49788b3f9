/* Acknowledgements that wait for the object store: writes of septa with level=object.
 *
 * Such a write is committed as at level disk; what its writer is told waits until the manifest
 * names its record. All that waits on a node shares the next upload, and what comes meanwhile the
 * one after it; the leader of `mycel` takes what several nodes vouched for into one manifest.
 *
 * How it fails. The store is away: what waits longer than HELD_MS ends EUNKNOWN and says why (it is
 * on the disks, and comes into the store when that is back); new writes are refused with
 * EUNAVAILABLE before anything happened, as soon as the store has been away for PERSIST_AWAY_MS.
 * The copy is not primary in the same epoch any more: EUNKNOWN. */
#include <stdio.h>

#include "host/persist.h"

#define HELD_MAX 65536
#define HELD_MS  4000 /* below the default deadline of a call, so that the reason arrives */

struct persist_held {
    struct myco_list link;
    uint64_t stream, septum, epoch, offset, number, since_ms;
    uint32_t hypha;
};

/* ── is the store there? ── */

static bool away(struct core_persist *persist, char *why, size_t size)
{
    uint64_t now = myco_now_ms(persist->core->env);
    if (!persist->store) {
        snprintf(why, size, "the primary has no object store: start it with --store");
        return true;
    }
    if (persist->failing_since_ms && now - persist->failing_since_ms >= PERSIST_AWAY_MS) {
        snprintf(why, size, "the object store has been away for %llu s: %.90s",
            (unsigned long long)(now - persist->failing_since_ms) / 1000, persist->failure);
        return true;
    }
    if (persist->vouched && now - persist->vouched_since_ms >= PERSIST_AWAY_MS) {
        snprintf(why, size,
            "the leader of mycel has not named an upload in the manifest for %llu s",
            (unsigned long long)(now - persist->vouched_since_ms) / 1000);
        return true;
    }
    return false;
}

int core_object_ready(
    struct myco_core *core, const struct myco_septum_record *septum, char *why, size_t size)
{
    if (!septum->options.object) return 0;
    if (away(core->persist, why, size)) return MYCO_EUNAVAILABLE;
    if (core->persist->held_count < HELD_MAX) return 0;
    snprintf(why, size, "%d writes wait for the object store", HELD_MAX);
    return MYCO_EFULL;
}

/* ── waiting ── */

bool core_object_hold(struct core_hypha *copy, uint64_t number, uint64_t offset)
{
    struct myco_core *core = copy->core;
    struct core_persist *persist = core->persist;
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    const struct core_token *token = myco_map_get(&core->tokens, number);
    if (!persist) return septum && septum->options.object; /* closing: nobody is told */
    if (!septum || !septum->options.object || !token || token->sweep) return false;
    if (core_persist_offset(core, copy->septum, copy->index) >= offset) return false;
    struct persist_held *held = myco_alloc(sizeof *held);
    *held = (struct persist_held){.stream = copy->stream,
        .septum = copy->septum,
        .hypha = copy->index,
        .epoch = myco_hypha_set(copy->hypha)->epoch,
        .offset = offset,
        .number = number,
        .since_ms = myco_now_ms(core->env)};
    myco_list_append(&persist->held, &held->link);
    persist->held_count++;
    MYCO_METRIC_SET(core->env->metrics, STORE_HELD, persist->held_count);
    persist_soon(persist);
    return true;
}

static void release(
    struct core_persist *persist, struct persist_held *held, int status, const char *why)
{
    struct myco_core *core = persist->core;
    uint64_t number = held->number, offset = held->offset;
    myco_list_remove(&held->link);
    myco_free(held);
    persist->held_count--;
    MYCO_METRIC_SET(core->env->metrics, STORE_HELD, persist->held_count);
    core_serve_complete_with(core, number, status, status ? 0 : offset, why);
}

static bool still_primary(struct myco_core *core, const struct persist_held *held)
{
    const struct core_hypha *copy = myco_map_get(&core->hyphae, held->stream);
    if (!copy) return false;
    const struct myco_set *set = myco_hypha_set(copy->hypha);
    return set->epoch == held->epoch && set->primary == core->identity.id;
}

/* Answers may ask anew, at once: what is added meanwhile is at the end, and met in the same walk.
 */
void persist_held_check(struct core_persist *persist)
{
    struct myco_core *core = persist->core;
    uint64_t now = myco_now_ms(core->env);
    char reason[160], why[240];
    MYCO_LIST_EACH (item, &persist->held) {
        struct persist_held *held = MYCO_CONTAINER(item, struct persist_held, link);
        if (core_persist_offset(core, held->septum, held->hypha) >= held->offset) {
            release(persist, held, 0, NULL);
        } else if (!still_primary(core, held)) {
            release(persist, held, MYCO_EUNKNOWN,
                "another node became primary before it was in the object store");
        } else if (now - held->since_ms >= HELD_MS) {
            if (!away(persist, reason, sizeof reason))
                snprintf(reason, sizeof reason, "the object store is slow");
            snprintf(why, sizeof why, "on disk, but not in the object store yet: %s", reason);
            release(persist, held, MYCO_EUNKNOWN, why);
        }
    }
}

void persist_held_close(struct core_persist *persist)
{
    struct myco_list *item;
    while ((item = myco_list_pop(&persist->held)))
        myco_free(MYCO_CONTAINER(item, struct persist_held, link));
    persist->held_count = 0;
}
