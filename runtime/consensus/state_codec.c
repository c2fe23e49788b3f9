/* The replicated state as bytes, for snapshots of the log. Version first; everything in a fixed
 * order.
 *
 * Format 1 is that of the version before features. It is written as long as FEATURES is not active,
 * since a node of that version may have to start from it. Format 2 adds the active features and
 * those of each member, and ends in sections: what a feature keeps is there while it is active.
 *
 *      u32 count, then each: u8 feature, slice */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "consensus/state_internal.h"

#define STATE_FORMAT_OLD 1
#define STATE_FORMAT     2
#define KINDS_OLD        12 /* kinds of policy in format 1 */

/* What features keep. Rows are never reordered: a section is written only while its feature is
 * active, and loaded by whoever has the feature. */
struct section {
    enum myco_feature feature;
    void (*save)(const struct myco_state *state, struct myco_buf *out);
    void (*load)(struct myco_state *state, struct myco_reader *in); /* in->bad: malformed */
};
static const struct section sections[] = {
    {MYCO_FEATURE_LOCKS, myco__locks_save, myco__locks_load},
    {MYCO_FEATURE_REMOVAL, myco__removal_save, myco__removal_load},
    {MYCO_FEATURE_ACCEPT_LOSS, myco__loss_save, myco__loss_load},
    {MYCO_FEATURE_KEYRING, myco__state_ring_save, myco__state_ring_load},
    {MYCO_FEATURE_SEPTUM_OPTIONS, myco__septa_save, myco__septa_load},
    {MYCO_FEATURE_CAMPAIGN_OPTIONS, myco__candidates_save, myco__candidates_load},
};

static void save_sections(const struct myco_state *state, struct myco_buf *out)
{
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        count += myco_state_feature(state, sections[i].feature);
    myco_buf_u32(out, count);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (!myco_state_feature(state, sections[i].feature)) continue;
        struct myco_buf bytes = {0};
        sections[i].save(state, &bytes);
        myco_buf_u8(out, (uint8_t)sections[i].feature);
        myco_buf_slice(out, myco_buf_as_slice(&bytes));
        myco_buf_free(&bytes);
    }
}

static void load_sections(struct myco_state *state, struct myco_reader *in)
{
    for (uint32_t count = myco_read_u32(in); count > 0 && !in->bad; count--) {
        uint8_t feature = myco_read_u8(in);
        struct myco_slice bytes = myco_read_slice(in);
        struct myco_reader body = myco_reader(bytes.data, bytes.size);
        bool known = false;
        for (size_t i = 0; i < sizeof sections / sizeof *sections && !in->bad; i++) {
            if (sections[i].feature != feature) continue;
            known = true;
            sections[i].load(state, &body);
        }
        if (!known || !myco_read_done(&body)) in->bad = true;
    }
}

static void save_member(struct myco_buf *out, const struct myco_member_record *member, bool old)
{
    myco_buf_u64(out, member->id);
    myco_buf_u64(out, member->generation);
    myco_buf_str(out, member->name);
    myco_buf_str(out, myco_member_labels(member));
    myco_buf_addr(out, &member->addr);
    myco_buf_u8(out, member->left);
    myco_buf_u64(out, member->seen_top);
    for (size_t i = 0; i < MYCO_SEEN_WINDOW / 64; i++)
        myco_buf_u64(out, myco__member_word(member, i));
    if (old) return;
    myco_buf_u64(out, member->features);
    myco_buf_str(out, member->version);
}

static void save_election(struct myco_buf *out, const struct myco_election_record *election)
{
    myco_buf_str(out, election->name);
    myco_buf_u64(out, election->holder);
    myco_buf_u64(out, election->holder_generation);
    myco_buf_u64(out, election->epoch);
    myco_buf_u64(out, election->wanted);
    myco_buf_u32(out, election->candidate_count);
    for (uint32_t i = 0; i < election->candidate_count; i++)
        myco_buf_u64(out, election->candidates[i]);
}

static void save_holders(struct myco_buf *out, const struct myco_holder *holders, uint8_t count)
{
    myco_buf_u8(out, count);
    for (uint8_t i = 0; i < count; i++) {
        myco_buf_u64(out, holders[i].node);
        myco_buf_u64(out, holders[i].generation);
    }
}

static void save_hypha(struct myco_buf *out, const struct myco_hypha_record *hypha)
{
    myco_buf_u64(out, hypha->set.epoch);
    myco_buf_u64(out, hypha->set.version);
    myco_buf_u64(out, hypha->set.primary);
    save_holders(out, hypha->set.in_sync, hypha->set.in_sync_count);
    save_holders(out, hypha->set.joining, hypha->set.joining_count);
    myco_buf_u8(out, hypha->target_count);
    for (uint8_t i = 0; i < hypha->target_count; i++) myco_buf_u64(out, hypha->targets[i]);
    myco_buf_u8(out, hypha->from_store);
}

static void save_policies(struct myco_buf *out, const struct myco_policy_record *record)
{
    myco_buf_u64(out, record->next_version);
    myco_buf_u32(out, record->count);
    for (uint32_t i = 0; i < record->count; i++) {
        const struct myco_policy_version *version = &record->versions[i];
        myco_buf_u64(out, version->version);
        myco_buf_u64(out, version->time_ms);
        myco_buf_str(out, version->name);
        myco_buf_str(out, version->author);
        myco_buf_slice(out, myco_bytes(version->source, version->source_size));
    }
}

void myco_state_save(const struct myco_state *state, struct myco_buf *out)
{
    bool old = !myco_state_feature(state, MYCO_FEATURE_FEATURES);
    int kinds = old ? KINDS_OLD : MYCO_POLICY_KIND_COUNT;
    myco_buf_u32(out, old ? STATE_FORMAT_OLD : STATE_FORMAT);
    if (!old) myco_buf_u64(out, state->features_active);
    myco_buf_u64(out, state->cluster);
    myco_buf_u64(out, state->incarnation);
    myco_buf_u32(out, state->lease_ms);
    myco_buf_str(out, state->cluster_name);
    myco_buf_u64(out, state->epoch_counter);
    myco_buf_u64(out, state->restored_from_epoch);
    myco_buf_u64(out, state->restored_from_sequence);
    myco_buf_u32(out, state->members.count);
    MYCO_MAP_EACH (struct myco_member_record, member, &state->members)
        save_member(out, member, old);
    myco_buf_u32(out, state->election_count);
    for (uint32_t i = 0; i < state->election_count; i++) save_election(out, state->elections[i]);
    myco_buf_u32(out, state->septum_count);
    for (uint32_t i = 0; i < state->septum_count; i++) {
        myco_buf_u64(out, state->septa[i]->id);
        myco_buf_str(out, state->septa[i]->name);
        myco__state_write_options(out, &state->septa[i]->options);
        for (uint32_t h = 0; h < state->septa[i]->options.hyphae; h++)
            save_hypha(out, &state->septa[i]->hyphae[h]);
    }
    myco_buf_u64(out, state->next_septum);
    myco_buf_u32(out, (uint32_t)kinds);
    for (int kind = 0; kind < kinds; kind++) save_policies(out, &state->policies[kind]);
    if (!old) save_sections(state, out);
}

static void load_member(struct myco_state *state, struct myco_reader *in, bool old)
{
    struct myco_member_record *member = myco_alloc(sizeof *member);
    member->id = myco_read_u64(in);
    member->generation = myco_read_u64(in);
    myco_read_str(in, member->name, sizeof member->name);
    char labels[MYCO_LABELS_MAX + 1];
    myco_read_str(in, labels, sizeof labels);
    myco__member_label(member, labels);
    member->addr = myco_read_addr(in);
    member->left = myco_read_u8(in);
    member->seen_top = myco_read_u64(in);
    for (size_t i = 0; i < MYCO_SEEN_WINDOW / 64; i++)
        myco__member_set_word(member, i, myco_read_u64(in));
    if (!old) {
        member->features = myco_read_u64(in);
        myco_read_str(in, member->version, sizeof member->version);
    }
    struct myco_member_record *former = myco_map_put(&state->members, member->id, member);
    if (former) myco__member_clear(former);
    myco_free(former);
}

static void load_election(struct myco_state *state, struct myco_reader *in)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    myco_read_str(in, name, sizeof name);
    uint64_t holder = myco_read_u64(in), generation = myco_read_u64(in);
    uint64_t epoch = myco_read_u64(in), wanted = myco_read_u64(in);
    uint32_t count = myco_read_u32(in);
    if (in->bad || count > myco_read_left(in) / 8) {
        in->bad = true;
        return;
    }
    struct myco_election_record *election = myco__state_election_make(state, name);
    if (!election || election->candidates) {
        in->bad = true;
        return;
    }
    election->holder = holder;
    election->holder_generation = generation;
    election->epoch = epoch;
    election->wanted = wanted;
    election->candidates = myco_alloc((count ? count : 1) * sizeof *election->candidates);
    election->candidate_count = count;
    for (uint32_t i = 0; i < count; i++) election->candidates[i] = myco_read_u64(in);
}

static uint8_t load_holders(struct myco_reader *in, struct myco_holder *holders)
{
    uint8_t count = myco_read_u8(in);
    if (count > MYCO_COPIES_MAX) in->bad = true;
    for (uint8_t i = 0; i < count && !in->bad; i++) {
        holders[i].node = myco_read_u64(in);
        holders[i].generation = myco_read_u64(in);
    }
    return in->bad ? 0 : count;
}

static void load_hypha(struct myco_hypha_record *hypha, struct myco_reader *in)
{
    hypha->set.epoch = myco_read_u64(in);
    hypha->set.version = myco_read_u64(in);
    hypha->set.primary = myco_read_u64(in);
    hypha->set.in_sync_count = load_holders(in, hypha->set.in_sync);
    hypha->set.joining_count = load_holders(in, hypha->set.joining);
    hypha->target_count = myco_read_u8(in);
    if (hypha->target_count > MYCO_COPIES_MAX) {
        in->bad = true;
        hypha->target_count = 0;
    }
    for (uint8_t i = 0; i < hypha->target_count; i++) hypha->targets[i] = myco_read_u64(in);
    hypha->from_store = myco_read_u8(in);
}

static void load_septum(struct myco_state *state, struct myco_reader *in)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    struct myco_septum_options options;
    uint64_t id = myco_read_u64(in);
    myco_read_str(in, name, sizeof name);
    myco__state_read_options(in, &options);
    if (in->bad || state->septum_count >= MYCO_SEPTA_MAX) {
        in->bad = true;
        return;
    }
    state->next_septum = id;
    struct myco_septum_record *septum = myco__state_septum_add(state, name, &options);
    for (uint32_t h = 0; h < options.hyphae && !in->bad; h++) load_hypha(&septum->hyphae[h], in);
}

static void load_policies(struct myco_state *state, int kind, struct myco_reader *in)
{
    state->policies[kind].next_version = myco_read_u64(in);
    uint32_t count = myco_read_u32(in);
    for (uint32_t i = 0; i < count && !in->bad; i++) {
        struct myco_policy_version version = {.version = myco_read_u64(in)};
        version.time_ms = myco_read_u64(in);
        myco_read_str(in, version.name, sizeof version.name);
        myco_read_str(in, version.author, sizeof version.author);
        struct myco_slice source = myco_read_slice(in);
        if (in->bad) return;
        char *copy = myco_memdup(source.data, source.size);
        version.source = copy;
        version.source_size = source.size;
        myco__state_policy_push(state, kind, &version);
        myco_free(copy);
    }
}

static void tell_everything(struct myco_state *state)
{
    const struct myco_state_events *events = &state->events;
    if (state->cluster && events->on_cluster) events->on_cluster(events->data);
    if (state->features_active && events->on_features)
        events->on_features(state->features_active, events->data);
    if (state->ring.version && events->on_ring) events->on_ring(events->data);
    for (int kind = 0; events->on_policy && kind < MYCO_POLICY_KIND_COUNT; kind++)
        if (state->policies[kind].count)
            events->on_policy(kind, myco_state_policy(state, kind), events->data);
    MYCO_MAP_EACH (struct myco_member_record, member, &state->members)
        if (events->on_member) events->on_member(member->id, events->data);
    for (uint32_t i = 0; i < state->septum_count; i++) {
        if (events->on_septum) events->on_septum(state->septa[i], events->data);
        for (uint32_t h = 0; events->on_hypha && h < state->septa[i]->options.hyphae; h++)
            events->on_hypha(state->septa[i], h, events->data);
    }
    for (uint32_t i = 0; events->on_election && i < state->election_count; i++)
        events->on_election(state->elections[i], events->data);
    myco__locks_tell(state);
}

int myco_state_load(struct myco_state *state, struct myco_slice bytes, struct myco_err *err)
{
    struct myco_reader in = myco_reader(bytes.data, bytes.size);
    uint32_t format = myco_read_u32(&in);
    bool old = format == STATE_FORMAT_OLD;
    uint32_t newest = state->features_own ? STATE_FORMAT : STATE_FORMAT_OLD;
    if (!old && format != newest)
        return myco_err(err, MYCO_EVERSION,
            "the snapshot of the replicated state has format %u, this version reads up to %u: "
            "upgrade this node",
            format, newest);
    uint64_t active = old ? 0 : myco_read_u64(&in);
    if (active & ~state->features_own) {
        char names[128];
        return myco_err(err, MYCO_EVERSION,
            "the cluster has switched on what this node lacks (%s): upgrade this node",
            myco_features_text(active & ~state->features_own, names, sizeof names));
    }
    myco__state_clear(state);
    state->features_active = active;
    state->cluster = myco_read_u64(&in);
    state->incarnation = myco_read_u64(&in);
    state->lease_ms = myco_read_u32(&in);
    myco_read_str(&in, state->cluster_name, sizeof state->cluster_name);
    state->epoch_counter = myco_read_u64(&in);
    state->restored_from_epoch = myco_read_u64(&in);
    state->restored_from_sequence = myco_read_u64(&in);
    for (uint32_t n = myco_read_u32(&in); n > 0 && !in.bad; n--) load_member(state, &in, old);
    for (uint32_t n = myco_read_u32(&in); n > 0 && !in.bad; n--) load_election(state, &in);
    for (uint32_t n = myco_read_u32(&in); n > 0 && !in.bad; n--) load_septum(state, &in);
    state->next_septum = myco_read_u64(&in);
    uint32_t kinds = myco_read_u32(&in);
    if (kinds > MYCO_POLICY_KIND_COUNT) in.bad = true;
    for (uint32_t kind = 0; kind < kinds && !in.bad; kind++) load_policies(state, (int)kind, &in);
    if (!old) load_sections(state, &in);
    if (!myco_read_done(&in))
        return myco_err(err, MYCO_ECORRUPT, "the snapshot of the replicated state is malformed");
    tell_everything(state);
    return 0;
}
