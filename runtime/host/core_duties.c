/* Duties: what this node stands for and leads, told to those who campaigned; and requests of
 * Cytoplasm. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "host/core_internal.h"

struct myco_campaign {
    struct myco_list link;
    struct myco_campaign *same; /* the next whose name has this hash */
    struct myco_core *core;
    char name[MYCO_STATE_NAME_MAX + 1];
    int32_t priority;
    char labels[MYCO_LABELS_MAX + 1];
    unsigned cooldown_ms;
    bool unsent;   /* too many commands were under way */
    bool rests;    /* it was lost: it does not stand until `cooldown` */
    bool stripped; /* stands without what it asks for: a member is of an older version */
    struct myco_timer cooldown;
    myco_duty_cb cb;
    void *data;
    bool told, held; /* what was said last */
    uint64_t epoch, leader_id;
    struct myco_deferred later;
};

/* An election that this node said that it gives up. From then on it holds it no more, whatever its
 * own log still says: the next holder may have been told before this node hears of it. */
struct given_up {
    struct myco_list link; /* core->given_up */
    struct myco_core *core;
    char name[MYCO_STATE_NAME_MAX + 1];
    uint8_t kind;   /* RESIGN or RELEASE */
    uint64_t epoch; /* RELEASE: of that */
    bool sent;
};

static bool gives_up(const struct myco_core *core, const char *name)
{
    MYCO_LIST_EACH (item, &core->given_up)
        if (strcmp(MYCO_CONTAINER(item, struct given_up, link)->name, name) == 0) return true;
    return false;
}

static bool resigns(const struct myco_core *core, const char *name)
{
    MYCO_LIST_EACH (item, &core->given_up) {
        const struct given_up *given_up = MYCO_CONTAINER(item, struct given_up, link);
        if (given_up->kind == MYCO_COMMAND_RESIGN && strcmp(given_up->name, name) == 0) return true;
    }
    return false;
}

bool core_duty_held(struct myco_core *core, const char *name, uint64_t *epoch)
{
    const struct myco_election_record *election = myco_state_election(core->state, name);
    if (!election || election->holder != core->identity.id ||
        election->holder_generation != core->identity.generation)
        return false;
    if (core->leaving || !core->joined ||
        (election->wanted && election->wanted != core->identity.id))
        return false;
    if (gives_up(core, name)) return false;
    *epoch = election->epoch;
    return myco_lease_valid(core->lease);
}

static const char *name_of(struct myco_core *core, uint64_t id)
{
    const struct myco_member_record *member = id ? myco_state_member(core->state, id) : NULL;
    return member ? member->name : "";
}

static void give_up(struct myco_core *core, uint8_t kind, const char *name, uint64_t epoch);
static void rest(struct myco_campaign *campaign);

static void tell(struct myco_campaign *campaign)
{
    struct myco_core *core = campaign->core;
    const struct myco_election_record *election = myco_state_election(core->state, campaign->name);
    uint64_t epoch = election ? election->epoch : 0, leader = election ? election->holder : 0;
    bool held = core_duty_held(core, campaign->name, &epoch);
    if (campaign->told && held == campaign->held && epoch == campaign->epoch &&
        leader == campaign->leader_id)
        return;
    bool silent = !campaign->told && !held && !leader;
    if (campaign->held && !held) rest(campaign);
    campaign->told = true;
    campaign->held = held;
    campaign->epoch = epoch;
    campaign->leader_id = leader;
    if (silent || !campaign->cb) return;
    struct myco_duty duty = {campaign->name, held, epoch, name_of(core, leader)};
    campaign->cb(&duty, campaign->data);
}

/* ── campaigns by name ── */

static struct myco_campaign *first_of(const struct myco_core *core, const char *name)
{
    return myco_map_get(&core->campaigns_by_name, myco_hash(name, strlen(name)));
}

static void index_add(struct myco_campaign *campaign)
{
    struct myco_map *index = &campaign->core->campaigns_by_name;
    uint64_t key = myco_hash(campaign->name, strlen(campaign->name));
    campaign->same = myco_map_get(index, key);
    myco_map_put(index, key, campaign);
}

static void index_remove(struct myco_campaign *campaign)
{
    struct myco_map *index = &campaign->core->campaigns_by_name;
    uint64_t key = myco_hash(campaign->name, strlen(campaign->name));
    struct myco_campaign *at = myco_map_get(index, key);
    if (at == campaign) {
        if (campaign->same)
            myco_map_put(index, key, campaign->same);
        else
            myco_map_del(index, key);
        return;
    }
    while (at->same != campaign) at = at->same;
    at->same = campaign->same;
}

/* The one that speaks for all of this node that stand for it: of the highest priority, the newest.
 * NULL: none stands. */
static struct myco_campaign *speaker(const struct myco_core *core, const char *name)
{
    struct myco_campaign *best = NULL;
    for (struct myco_campaign *at = first_of(core, name); at; at = at->same) {
        if (at->rests || strcmp(at->name, name) != 0) continue;
        if (!best || at->priority > best->priority) best = at;
    }
    return best;
}

static bool campaigned(const struct myco_core *core, const char *name)
{
    return speaker(core, name) != NULL;
}

static bool asks(const struct myco_campaign *campaign)
{
    return campaign->priority || *campaign->labels;
}

/* ── giving up ── */

static void stood(const struct myco_command_result *result, void *data)
{
    struct given_up *stands = data; /* only its core and name */
    struct myco_core *core = stands->core;
    /* It arrived after the word that withdrew it. */
    if (result->status != MYCO_ECLOSED && !campaigned(core, stands->name) &&
        !gives_up(core, stands->name))
        give_up(core, MYCO_COMMAND_RESIGN, stands->name, 0);
    myco_free(stands);
}

/* As CAMPAIGN_WITH, if it asks for something and all members know that. */
static uint8_t write_stand(
    struct myco_core *core, struct myco_buf *body, struct myco_campaign *campaign)
{
    bool known = myco_state_feature(core->state, MYCO_FEATURE_CAMPAIGN_OPTIONS);
    campaign->stripped = asks(campaign) && !known;
    if (!asks(campaign) || !known) {
        myco_command_name(body, campaign->name);
        return MYCO_COMMAND_CAMPAIGN;
    }
    myco_command_campaign(body, campaign->name, campaign->priority, campaign->labels);
    return MYCO_COMMAND_CAMPAIGN_WITH;
}

static void stand(struct myco_core *core, const char *name)
{
    struct myco_campaign *campaign = speaker(core, name);
    if (!campaign) return;
    struct given_up *stands = myco_alloc(sizeof *stands);
    struct myco_buf body = {0};
    stands->core = core;
    myco_text_copy(stands->name, sizeof stands->name, name);
    uint8_t kind = write_stand(core, &body, campaign);
    if (myco_commands_submit(core->commands, kind, &body, UINT32_MAX, stood, stands) == 0) return;
    myco_free(stands);
    if (campaign->unsent) return;
    campaign->unsent = true;
    core->unsent_campaigns++;
}

void core_duties_features(struct myco_core *core)
{
    MYCO_LIST_EACH (item, &core->campaigns) {
        struct myco_campaign *campaign = MYCO_CONTAINER(item, struct myco_campaign, link);
        if (campaign->stripped && !resigns(core, campaign->name)) stand(core, campaign->name);
    }
}

static void stand_unsent(struct myco_core *core)
{
    MYCO_LIST_EACH (item, &core->campaigns) {
        struct myco_campaign *campaign = MYCO_CONTAINER(item, struct myco_campaign, link);
        if (!campaign->unsent) continue;
        campaign->unsent = false;
        core->unsent_campaigns--;
        stand(core, campaign->name);
        if (campaign->unsent) return;
    }
}

/* Whoever campaigned again meanwhile stands again now: an older command would have withdrawn it. */
static void gave_up(const struct myco_command_result *result, void *data)
{
    struct given_up *given_up = data;
    struct myco_core *core = given_up->core;
    const struct myco_election_record *election = myco_state_election(core->state, given_up->name);
    myco_list_remove(&given_up->link);
    if (result->status != MYCO_ECLOSED) {
        if (given_up->kind == MYCO_COMMAND_RESIGN && campaigned(core, given_up->name))
            stand(core, given_up->name);
        if (election) core_duties_election(core, election);
    }
    myco_free(given_up);
}

static void send_given_up(struct given_up *given_up)
{
    struct myco_buf body = {0};
    if (given_up->kind == MYCO_COMMAND_RELEASE)
        myco_command_release(&body, given_up->name, given_up->epoch);
    else
        myco_command_name(&body, given_up->name);
    given_up->sent = myco_commands_submit(given_up->core->commands, given_up->kind, &body,
                         UINT32_MAX, gave_up, given_up) == 0;
}

static void give_up(struct myco_core *core, uint8_t kind, const char *name, uint64_t epoch)
{
    struct given_up *given_up = myco_alloc(sizeof *given_up);
    given_up->core = core;
    given_up->kind = kind;
    given_up->epoch = epoch;
    myco_text_copy(given_up->name, sizeof given_up->name, name);
    myco_list_append(&core->given_up, &given_up->link);
    send_given_up(given_up);
}

/* ── resting ── who lost it, and asked for that, stands again some time later */

static void rested(void *data)
{
    struct myco_campaign *campaign = data;
    bool first = !campaigned(campaign->core, campaign->name);
    campaign->rests = false;
    if ((first || asks(campaign)) && !resigns(campaign->core, campaign->name))
        stand(campaign->core, campaign->name);
}

static void rest(struct myco_campaign *campaign)
{
    struct myco_core *core = campaign->core;
    if (!campaign->cooldown_ms || core->leaving || campaign->rests) return;
    campaign->rests = true;
    myco_timer_start(&campaign->cooldown, campaign->cooldown_ms, 0);
    if (!campaigned(core, campaign->name) && !resigns(core, campaign->name))
        give_up(core, MYCO_COMMAND_RESIGN, campaign->name, 0);
}

/* Too many commands were under way then. */
void core_duties_tick(struct myco_core *core)
{
    MYCO_LIST_EACH (item, &core->given_up) {
        struct given_up *given_up = MYCO_CONTAINER(item, struct given_up, link);
        if (!given_up->sent) send_given_up(given_up);
    }
    if (core->unsent_campaigns) stand_unsent(core);
}

/* The leader wishes that another holds it: say lost first, then give it up (no lease wait for the
 * next). */
static void release(struct myco_core *core, const struct myco_election_record *election)
{
    if (!gives_up(core, election->name))
        give_up(core, MYCO_COMMAND_RELEASE, election->name, election->epoch);
}

void core_duties_election(struct myco_core *core, const struct myco_election_record *election)
{
    bool ours = election->holder == core->identity.id &&
                election->holder_generation == core->identity.generation;
    if (ours && core->events.on_trace)
        core->events.on_trace("granted", election->epoch,
            myco_hash(election->name, strlen(election->name)), 0, core->events.data);
    struct myco_campaign *next;
    for (struct myco_campaign *at = first_of(core, election->name); at; at = next) {
        next = at->same; /* a callback may resign */
        if (strcmp(at->name, election->name) == 0) tell(at);
    }
    core_observe_election(core, election);
    if (ours && core->joined && election->wanted && election->wanted != core->identity.id)
        release(core, election);
}

void core_duties_lease(struct myco_core *core)
{
    MYCO_LIST_EACH (item, &core->campaigns) tell(MYCO_CONTAINER(item, struct myco_campaign, link));
}

/* Counted anew only when the state changed. */
uint32_t core_duties_held(struct myco_core *core)
{
    if (core->held_changes == core->state->election_changes) return core->held_count;
    core->held_changes = core->state->election_changes;
    core->held_count = 0;
    for (uint32_t i = 0; i < core->state->election_count; i++)
        core->held_count +=
            core->state->elections[i]->holder == core->identity.id &&
            core->state->elections[i]->holder_generation == core->identity.generation;
    return core->held_count;
}

static void tell_later(void *data)
{
    tell(data);
}

struct myco_campaign *myco_core_campaign(
    struct myco_core *core, const char *name, myco_duty_cb cb, void *data)
{
    return myco_core_campaign_with(core, name, NULL, cb, data);
}

struct myco_campaign *myco_core_campaign_with(struct myco_core *core, const char *name,
    const struct myco_campaign_options *options, myco_duty_cb cb, void *data)
{
    struct myco_campaign *campaign = myco_alloc(sizeof *campaign);
    bool first = !campaigned(core, name);
    campaign->core = core;
    campaign->cb = cb;
    campaign->data = data;
    myco_text_copy(campaign->name, sizeof campaign->name, name);
    if (options) {
        campaign->priority = options->priority;
        campaign->cooldown_ms = options->cooldown_ms;
        if (options->labels)
            myco_text_copy(campaign->labels, sizeof campaign->labels, options->labels);
    }
    myco_timer_init(&campaign->cooldown, core->env, rested, campaign);
    myco_list_append(&core->campaigns, &campaign->link);
    index_add(campaign);
    if ((first || asks(campaign)) && !resigns(core, name))
        stand(core, name); /* else once that is over */
    myco_defer(core->env, &campaign->later, tell_later, campaign);
    return campaign;
}

void myco_core_resign(struct myco_campaign *campaign)
{
    struct myco_core *core = campaign->core;
    bool stood = !campaign->rests;
    myco_list_remove(&campaign->link);
    index_remove(campaign);
    core->unsent_campaigns -= campaign->unsent;
    myco_defer_cancel(&campaign->later);
    myco_timer_stop(&campaign->cooldown);
    if (stood && !resigns(core, campaign->name)) {
        if (!campaigned(core, campaign->name))
            give_up(core, MYCO_COMMAND_RESIGN, campaign->name, 0);
        else if (asks(campaign))
            stand(core, campaign->name); /* with what the others ask for */
    }
    myco_free(campaign);
}

/* Closing, also in the middle of a leave: the handles go with the core. */
void core_duties_close(struct myco_core *core)
{
    MYCO_LIST_EACH (link, &core->campaigns) /* none goes on later */
        MYCO_CONTAINER(link, struct myco_campaign, link)->cooldown_ms = 0;
    core_duties_lease(core);
    struct myco_list *item;
    while ((item = myco_list_pop(&core->given_up)))
        myco_free(MYCO_CONTAINER(item, struct given_up, link));
    while ((item = myco_list_pop(&core->campaigns))) {
        struct myco_campaign *campaign = MYCO_CONTAINER(item, struct myco_campaign, link);
        myco_defer_cancel(&campaign->later);
        myco_timer_stop(&campaign->cooldown);
        myco_free(campaign);
    }
    myco_map_free(&core->campaigns_by_name);
    core_observe_close(core);
    MYCO_LIST_EACH (link, &core->inbox) core_inbox_close(link);
}

/* ── commands as operations ── */

struct submitted {
    struct myco_core *core;
    myco_result_cb cb;
    void *data;
    bool starting;
};

static void applied(const struct myco_command_result *result, void *data)
{
    struct submitted *submitted = data;
    /* "Applied before" is a second copy of what we sent: it was done. */
    int status = result->status == MYCO_EEXISTS && strcmp(result->message, "applied before") == 0
                     ? 0
                     : result->status;
    const char *message = !status ? "" : *result->message ? result->message : myco_strerror(status);
    struct myco_result told = {.status = status, .message = message, .version = result->value};
    if (submitted->cb) submitted->cb(&told, submitted->data);
    myco_free(submitted);
}

void myco_core_submit(struct myco_core *core, uint8_t kind, struct myco_buf *body,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct submitted *submitted = myco_alloc(sizeof *submitted);
    submitted->core = core;
    submitted->cb = cb;
    submitted->data = data;
    int rc = myco_commands_submit(core->commands, kind, body,
        timeout_ms ? timeout_ms : core->options.timeout_ms, applied, submitted);
    if (rc == 0) return;
    struct myco_command_result full = {.status = rc, .message = "too many commands under way"};
    if (rc == MYCO_EVERSION)
        myco_text_copy(full.message, sizeof full.message,
            "the cluster can't do this yet: a member is of an older version; see pulse features");
    applied(&full, submitted);
}
