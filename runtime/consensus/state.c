/* The replicated state as data: making and finding its records. */
#include "consensus/state_internal.h"

#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"

struct myco_state *myco_state_new(const struct myco_state_events *events)
{
    struct myco_state *state = myco_alloc(sizeof *state);
    state->events = *events;
    state->features_own = myco_features_own();
    state->next_septum = 1;
    return state;
}

static void free_policies(struct myco_policy_record *record)
{
    for (uint32_t i = 0; i < record->count; i++) myco_free(record->versions[i].source);
    memset(record, 0, sizeof *record);
}

void myco__state_clear(struct myco_state *state)
{
    struct myco_state_events events = state->events;
    uint64_t own = state->features_own;
    MYCO_MAP_EACH (struct myco_member_record, member, &state->members) {
        myco__member_clear(member);
        myco_free(member);
    }
    myco_map_free(&state->members);
    for (uint32_t i = 0; i < state->election_count; i++) {
        myco_free(state->elections[i]->candidates);
        myco_free(state->elections[i]->wishes);
        myco_free(state->elections[i]);
    }
    for (uint32_t i = 0; i < state->septum_count; i++) {
        myco_free(state->septa[i]->hyphae);
        myco_free(state->septa[i]);
    }
    for (int kind = 0; kind < MYCO_POLICY_KIND_COUNT; kind++) free_policies(&state->policies[kind]);
    uint64_t changes = state->election_changes + 1;
    struct myco_locks locks = state->locks;
    myco__locks_clear(&locks);
    myco_free(state->elections);
    myco_free(state->septa);
    myco_buf_free(&state->ring.document);
    memset(state, 0, sizeof *state);
    state->events = events;
    state->features_own = own;
    state->next_septum = 1;
    state->election_changes = changes;
    state->locks = locks;
}

void myco_state_free(struct myco_state *state)
{
    if (!state) return;
    myco__state_clear(state);
    myco_free(state);
}

uint64_t myco__state_next_epoch(struct myco_state *state)
{
    return MYCO_EPOCH(state->incarnation, ++state->epoch_counter);
}

bool myco__state_name_ok(const char *name)
{
    size_t size = strlen(name);
    if (size == 0 || size > MYCO_STATE_NAME_MAX) return false;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c <= ' ' || c == 0x7f || c == '/' || c == '"') return false;
    }
    return true;
}

const struct myco_member_record *myco_state_member(const struct myco_state *state, uint64_t id)
{
    return myco_map_get(&state->members, id);
}

/* The place of `name` among the sorted elections; *found says whether it is taken. */
static uint32_t election_place(const struct myco_state *state, const char *name, bool *found)
{
    uint32_t low = 0, high = state->election_count;
    *found = false;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = strcmp(state->elections[mid]->name, name);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct myco_election_record *myco_state_election(
    const struct myco_state *state, const char *name)
{
    bool found;
    uint32_t at = election_place(state, name, &found);
    return found ? state->elections[at] : NULL;
}

struct myco_election_record *myco__state_election_make(struct myco_state *state, const char *name)
{
    bool found;
    uint32_t at = election_place(state, name, &found);
    if (found) return state->elections[at];
    if (state->election_count >= MYCO_ELECTIONS_MAX) return NULL;
    struct myco_election_record *election = myco_alloc(sizeof *election);
    myco_text_copy(election->name, sizeof election->name, name);
    uint32_t count = state->election_count++;
    state->elections = myco_realloc(state->elections, (count + 1) * sizeof *state->elections);
    memmove(
        state->elections + at + 1, state->elections + at, (count - at) * sizeof *state->elections);
    state->elections[at] = election;
    return election;
}

struct myco_septum_record *myco_state_septum(const struct myco_state *state, uint64_t id)
{
    for (uint32_t i = 0; i < state->septum_count; i++)
        if (state->septa[i]->id == id) return state->septa[i];
    return NULL;
}

struct myco_septum_record *myco_state_septum_named(const struct myco_state *state, const char *name)
{
    for (uint32_t i = 0; i < state->septum_count; i++)
        if (strcmp(state->septa[i]->name, name) == 0) return state->septa[i];
    return NULL;
}

struct myco_septum_record *myco__state_septum_add(
    struct myco_state *state, const char *name, const struct myco_septum_options *options)
{
    struct myco_septum_record *septum = myco_alloc(sizeof *septum);
    septum->id = state->next_septum++;
    myco_text_copy(septum->name, sizeof septum->name, name);
    septum->options = *options;
    septum->hyphae = myco_alloc(options->hyphae * sizeof *septum->hyphae);
    state->septa = myco_realloc(state->septa, (state->septum_count + 1) * sizeof *state->septa);
    state->septa[state->septum_count++] = septum;
    return septum;
}

void myco__state_policy_push(
    struct myco_state *state, int kind, const struct myco_policy_version *version)
{
    struct myco_policy_record *record = &state->policies[kind];
    if (record->count == MYCO_POLICY_HISTORY) {
        myco_free(record->versions[0].source);
        memmove(record->versions, record->versions + 1,
            (MYCO_POLICY_HISTORY - 1) * sizeof *record->versions);
        record->count--;
    }
    struct myco_policy_version *slot = &record->versions[record->count++];
    *slot = *version;
    slot->source = myco_memdup(version->source, version->source_size);
}

const struct myco_policy_version *myco_state_policy(const struct myco_state *state, int kind)
{
    const struct myco_policy_record *record = &state->policies[kind];
    return record->count ? &record->versions[record->count - 1] : NULL;
}

/* The part between { and } alone counts when there is one, so that related keys can share a
 * hypha. */
uint32_t myco_hypha_of(const struct myco_septum_record *septum, struct myco_slice key)
{
    const char *open = memchr(key.data ? key.data : "", '{', key.size);
    if (open) {
        size_t left = key.size - (size_t)(open + 1 - (const char *)key.data);
        const char *close = memchr(open + 1, '}', left);
        if (close && close > open + 1) key = myco_bytes(open + 1, (size_t)(close - open - 1));
    }
    return (uint32_t)(myco_hash(key.data, key.size) % septum->options.hyphae);
}

bool myco_set_has(const struct myco_set *set, uint64_t node, uint64_t generation)
{
    for (unsigned i = 0; i < set->in_sync_count; i++)
        if (set->in_sync[i].node == node &&
            (!generation || set->in_sync[i].generation == generation))
            return true;
    return false;
}

bool myco_set_joining(const struct myco_set *set, uint64_t node)
{
    for (unsigned i = 0; i < set->joining_count; i++)
        if (set->joining[i].node == node) return true;
    return false;
}
