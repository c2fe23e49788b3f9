/* The replicated state as bytes, for snapshots of the log. Version first; everything in a fixed
 * order. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "consensus/state.h"

#define STATE_FORMAT 1

static void save_member(struct myco_buf *out, const struct myco_member_record *member)
{
    myco_buf_u64(out, member->id);
    myco_buf_u64(out, member->generation);
    myco_buf_str(out, member->name);
    myco_buf_str(out, member->labels);
    myco_buf_addr(out, &member->addr);
    myco_buf_u8(out, member->left);
    myco_buf_u64(out, member->seen_top);
    for (size_t i = 0; i < MYCO_SEEN_WINDOW / 64; i++) myco_buf_u64(out, member->seen_bits[i]);
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
    myco_buf_u32(out, STATE_FORMAT);
    myco_buf_u64(out, state->cluster);
    myco_buf_u64(out, state->incarnation);
    myco_buf_u32(out, state->lease_ms);
    myco_buf_str(out, state->cluster_name);
    myco_buf_u64(out, state->epoch_counter);
    myco_buf_u64(out, state->restored_from_epoch);
    myco_buf_u64(out, state->restored_from_sequence);
    myco_buf_u32(out, state->members.count);
    MYCO_MAP_EACH (struct myco_member_record, member, &state->members) save_member(out, member);
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
    myco_buf_u32(out, MYCO_POLICY_KIND_COUNT);
    for (int kind = 0; kind < MYCO_POLICY_KIND_COUNT; kind++)
        save_policies(out, &state->policies[kind]);
}

static void load_member(struct myco_state *state, struct myco_reader *in)
{
    struct myco_member_record *member = myco_alloc(sizeof *member);
    member->id = myco_read_u64(in);
    member->generation = myco_read_u64(in);
    myco_read_str(in, member->name, sizeof member->name);
    myco_read_str(in, member->labels, sizeof member->labels);
    member->addr = myco_read_addr(in);
    member->left = myco_read_u8(in);
    member->seen_top = myco_read_u64(in);
    for (size_t i = 0; i < MYCO_SEEN_WINDOW / 64; i++) member->seen_bits[i] = myco_read_u64(in);
    myco_free(myco_map_put(&state->members, member->id, member));
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
}

int myco_state_load(struct myco_state *state, struct myco_slice bytes, struct myco_err *err)
{
    struct myco_reader in = myco_reader(bytes.data, bytes.size);
    uint32_t format = myco_read_u32(&in);
    if (format != STATE_FORMAT)
        return myco_err(err, MYCO_EVERSION,
            "the snapshot of the replicated state has format %u, this version reads %u", format,
            STATE_FORMAT);
    myco__state_clear(state);
    state->cluster = myco_read_u64(&in);
    state->incarnation = myco_read_u64(&in);
    state->lease_ms = myco_read_u32(&in);
    myco_read_str(&in, state->cluster_name, sizeof state->cluster_name);
    state->epoch_counter = myco_read_u64(&in);
    state->restored_from_epoch = myco_read_u64(&in);
    state->restored_from_sequence = myco_read_u64(&in);
    for (uint32_t n = myco_read_u32(&in); n > 0 && !in.bad; n--) load_member(state, &in);
    for (uint32_t n = myco_read_u32(&in); n > 0 && !in.bad; n--) load_election(state, &in);
    for (uint32_t n = myco_read_u32(&in); n > 0 && !in.bad; n--) load_septum(state, &in);
    state->next_septum = myco_read_u64(&in);
    uint32_t kinds = myco_read_u32(&in);
    if (kinds > MYCO_POLICY_KIND_COUNT) in.bad = true;
    for (uint32_t kind = 0; kind < kinds && !in.bad; kind++) load_policies(state, (int)kind, &in);
    if (!myco_read_done(&in))
        return myco_err(err, MYCO_ECORRUPT, "the snapshot of the replicated state is malformed");
    tell_everything(state);
    return 0;
}
