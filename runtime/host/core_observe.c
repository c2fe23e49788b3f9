/* Observers: who is told of every change of leaderships whose names match, whoever campaigns. And
 * handing one over to a named node. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "host/core_internal.h"

struct myco_core_observer {
    struct myco_list link; /* core->observers */
    struct myco_core *core;
    char pattern[MYCO_STATE_NAME_MAX + 1];
    struct myco_map told; /* hash of a name → what was said last */
    myco_leadership_cb cb;
    void *data;
    struct myco_deferred later;
};

static bool matches(const struct myco_core_observer *observer, const char *name)
{
    size_t size = strlen(observer->pattern);
    if (size && observer->pattern[size - 1] == '*')
        return strncmp(observer->pattern, name, size - 1) == 0;
    return strcmp(observer->pattern, name) == 0;
}

static const char *reason_of(const struct myco_election_record *election)
{
    if (!election->holder) return election->epoch ? "given up" : "vacant";
    return election->wanted && election->wanted != election->holder ? "hands over" : "elected";
}

static void tell(struct myco_core_observer *observer, const struct myco_election_record *election)
{
    uint64_t key = myco_hash(election->name, strlen(election->name));
    uint64_t now =
        myco_hash_mix(myco_hash_mix(election->holder, election->epoch), election->wanted);
    if (myco_map_put(&observer->told, key, (void *)(uintptr_t)(now | 1)) ==
        (void *)(uintptr_t)(now | 1))
        return;
    const struct myco_member_record *member =
        election->holder ? myco_state_member(observer->core->state, election->holder) : NULL;
    struct myco_leadership leadership = {.name = election->name,
        .leader = member ? member->name : "",
        .epoch = election->epoch,
        .reason = reason_of(election)};
    observer->cb(&leadership, observer->data);
}

static void tell_all(void *data)
{
    struct myco_core_observer *observer = data;
    const struct myco_state *state = observer->core->state;
    for (uint32_t i = 0; i < state->election_count; i++)
        if (matches(observer, state->elections[i]->name)) tell(observer, state->elections[i]);
}

/* An observer that its callback removes goes with the loop's next step. */
void core_observe_election(struct myco_core *core, const struct myco_election_record *election)
{
    MYCO_LIST_EACH (item, &core->observers) {
        struct myco_core_observer *observer = MYCO_CONTAINER(item, struct myco_core_observer, link);
        if (matches(observer, election->name)) tell(observer, election);
    }
}

struct myco_core_observer *myco_core_observe(
    struct myco_core *core, const char *pattern, myco_leadership_cb cb, void *data)
{
    struct myco_core_observer *observer = myco_alloc(sizeof *observer);
    observer->core = core;
    observer->cb = cb;
    observer->data = data;
    myco_text_copy(observer->pattern, sizeof observer->pattern, pattern);
    myco_list_append(&core->observers, &observer->link);
    myco_defer(core->env, &observer->later, tell_all, observer);
    return observer;
}

void myco_core_unobserve(struct myco_core_observer *observer)
{
    myco_list_remove(&observer->link);
    myco_defer_cancel(&observer->later);
    myco_map_free(&observer->told);
    myco_free(observer);
}

void core_observe_close(struct myco_core *core)
{
    while (!myco_list_empty(&core->observers))
        myco_core_unobserve(MYCO_CONTAINER(core->observers.next, struct myco_core_observer, link));
}

/* ── transfer ── */

static uint64_t member_named(const struct myco_core *core, const char *name)
{
    MYCO_MAP_EACH (struct myco_member_record, member, &core->state->members)
        if (!member->left && strcmp(member->name, name) == 0) return member->id;
    return 0;
}

static bool stands(const struct myco_election_record *election, uint64_t node)
{
    for (uint32_t i = 0; i < election->candidate_count; i++)
        if (election->candidates[i] == node) return true;
    return false;
}

void myco_core_transfer(struct myco_core *core, const char *name, const char *to,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    char message[192] = "";
    const struct myco_election_record *election = myco_state_election(core->state, name);
    uint64_t node = member_named(core, to);
    int rc = 0;
    if (!election || !election->holder) {
        rc = MYCO_ENOTFOUND;
        snprintf(message, sizeof message, "nobody leads '%.63s' now", name);
    } else if (!node || !stands(election, node)) {
        rc = MYCO_ENOTFOUND;
        snprintf(message, sizeof message, "%.63s is no candidate of '%.63s'", to, name);
    } else if (strcmp(name, "nodosum") == 0) {
        rc = MYCO_EINVAL;
        snprintf(message, sizeof message, "nodosum goes with the lead of the consensus group");
    }
    if (rc) {
        struct myco_result refused = {.status = rc, .message = message};
        cb(&refused, data);
        return;
    }
    struct myco_buf body = {0};
    myco_command_want(&body, name, node);
    myco_core_submit(core, MYCO_COMMAND_WANT, &body, timeout_ms, cb, data);
}
