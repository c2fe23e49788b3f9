/* Commands: written by those who ask, applied by every node alike. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "consensus/state_internal.h"

/* ── writing ── u8 kind, u64 node, generation, sequence, then the body */

void myco_command_begin(
    struct myco_buf *out, uint8_t kind, uint64_t node, uint64_t generation, uint64_t sequence)
{
    myco_buf_u8(out, kind);
    myco_buf_u64(out, node);
    myco_buf_u64(out, generation);
    myco_buf_u64(out, sequence);
}

void myco_command_init(struct myco_buf *out, uint64_t cluster, const char *name, uint32_t lease_ms,
    uint64_t incarnation, uint64_t epoch, uint64_t sequence, struct myco_slice definitions)
{
    myco_buf_u64(out, cluster);
    myco_buf_str(out, name);
    myco_buf_u32(out, lease_ms);
    myco_buf_u64(out, incarnation);
    myco_buf_u64(out, epoch);
    myco_buf_u64(out, sequence);
    myco_buf_slice(out, definitions);
}

void myco_command_join(struct myco_buf *out, const struct myco_member_record *member, bool clean)
{
    myco_buf_str(out, member->name);
    myco_buf_str(out, myco_member_labels(member));
    myco_buf_addr(out, &member->addr);
    myco_buf_u8(out, clean);
    if (!member->features) return; /* as the version before */
    myco_buf_u64(out, member->features);
    myco_buf_str(out, member->version);
}

void myco_command_name(struct myco_buf *out, const char *name)
{
    myco_buf_str(out, name);
}

void myco_command_want(struct myco_buf *out, const char *name, uint64_t node)
{
    myco_buf_str(out, name);
    myco_buf_u64(out, node);
}

void myco_command_release(struct myco_buf *out, const char *name, uint64_t epoch)
{
    myco_buf_str(out, name);
    myco_buf_u64(out, epoch);
}

void myco_command_grant(struct myco_buf *out, const char *name, uint64_t node, uint64_t generation,
    uint64_t epoch_before)
{
    myco_buf_str(out, name);
    myco_buf_u64(out, node);
    myco_buf_u64(out, generation);
    myco_buf_u64(out, epoch_before);
}

void myco_command_place(
    struct myco_buf *out, uint64_t septum, uint32_t hypha, const uint64_t *targets, uint8_t count)
{
    myco_buf_u64(out, septum);
    myco_buf_u32(out, hypha);
    myco_buf_u8(out, count);
    for (uint8_t i = 0; i < count; i++) myco_buf_u64(out, targets[i]);
}

void myco_command_set(struct myco_buf *out, enum myco_set_change change, uint64_t septum,
    uint32_t hypha, uint64_t epoch, uint64_t version, uint64_t node, uint64_t generation)
{
    myco_buf_u8(out, (uint8_t)change);
    myco_buf_u64(out, septum);
    myco_buf_u32(out, hypha);
    myco_buf_u64(out, epoch);
    myco_buf_u64(out, version);
    myco_buf_u64(out, node);
    myco_buf_u64(out, generation);
}

void myco_command_policy(struct myco_buf *out, int kind, const char *name, struct myco_slice source,
    const char *author, uint64_t time_ms)
{
    myco_buf_str(out, myco_policy_kind_name(kind));
    myco_buf_str(out, name);
    myco_buf_str(out, author);
    myco_buf_u64(out, time_ms);
    myco_buf_slice(out, source);
}

void myco_command_rollback(struct myco_buf *out, int kind, const char *author, uint64_t time_ms)
{
    myco_buf_str(out, myco_policy_kind_name(kind));
    myco_buf_str(out, author);
    myco_buf_u64(out, time_ms);
}

bool myco_command_peek(struct myco_slice command, struct myco_command_head *head)
{
    struct myco_reader in = myco_reader(command.data, command.size);
    head->kind = myco_read_u8(&in);
    head->node = myco_read_u64(&in);
    head->generation = myco_read_u64(&in);
    head->sequence = myco_read_u64(&in);
    return !in.bad;
}

/* ── applying ── */

int myco__refuse(struct myco__apply *apply, int status, const char *message)
{
    apply->result->status = status;
    myco_text_copy(apply->result->message, sizeof apply->result->message, message);
    return 0;
}

static void tell_election(struct myco_state *state, const struct myco_election_record *election)
{
    state->election_changes++;
    if (state->events.on_election) state->events.on_election(election, state->events.data);
}

static void tell_member(struct myco_state *state, uint64_t id)
{
    if (state->events.on_member) state->events.on_member(id, state->events.data);
}

static void tell_policy(struct myco_state *state, int kind)
{
    if (state->events.on_policy)
        state->events.on_policy(kind, myco_state_policy(state, kind), state->events.data);
}

/* What a node held in a former generation, or before it left, is free now: its old process is gone
 * for certain. */
static void vacate(struct myco_state *state, uint64_t node, bool withdraw)
{
    for (uint32_t i = 0; i < state->election_count; i++) {
        struct myco_election_record *election = state->elections[i];
        bool changed = election->holder == node;
        if (changed) election->holder = election->holder_generation = 0;
        for (uint32_t c = 0; withdraw && c < election->candidate_count; c++) {
            if (election->candidates[c] != node) continue;
            memmove(election->candidates + c, election->candidates + c + 1,
                (election->candidate_count - c - 1) * sizeof *election->candidates);
            election->candidate_count--;
            break;
        }
        if (withdraw) myco__candidate_wishes(election, node, NULL);
        if (changed)
            tell_election(state, election);
        else
            state->election_changes++;
    }
    myco__locks_vacate(state, node, UINT64_MAX);
}

static int apply_join(struct myco__apply *apply)
{
    struct myco_state *state = apply->state;
    struct myco_member_record record = {
        .id = apply->head.node, .generation = apply->head.generation};
    myco_read_str(&apply->in, record.name, sizeof record.name);
    char labels[MYCO_LABELS_MAX + 1];
    myco_read_str(&apply->in, labels, sizeof labels);
    record.addr = myco_read_addr(&apply->in);
    bool clean = myco_read_u8(&apply->in) == 1;
    if (myco_read_left(&apply->in)) {
        record.features = myco_read_u64(&apply->in);
        myco_read_str(&apply->in, record.version, sizeof record.version);
    }
    if (apply->in.bad || !record.id || !myco__state_name_ok(record.name))
        return myco__refuse(apply, MYCO_EINVAL, "malformed");
    if (myco_state_removed(state, record.id))
        return myco__refuse(apply, MYCO_EDENIED, myco__removed_text);
    if (state->features_active & ~record.features) return myco__refuse_older(apply, &record);
    struct myco_member_record *member = apply->sender;
    if (member && member->generation > record.generation)
        return myco__refuse(apply, MYCO_EDENIED,
            "a newer generation of this node is registered: is its data folder a copy?");
    if (!member) {
        member = myco_alloc(sizeof *member);
        myco_map_put(&state->members, record.id, member);
    } else if (member->generation < record.generation) {
        vacate(state, record.id, true);
    } else {
        record.seen_top = member->seen_top;
        record.seen_low = member->seen_low;
        record.seen_bits = member->seen_bits;
        member->seen_bits = NULL; /* it has them now */
    }
    bool newer = member->generation < record.generation;
    myco__member_clear(member);
    *member = record;
    myco__member_label(member, labels);
    if (newer) myco__sets_new_generation(state, record.id, record.generation, clean);
    tell_member(state, record.id);
    return 0;
}

void myco__member_leaves(struct myco_state *state, struct myco_member_record *member)
{
    member->left = true;
    vacate(state, member->id, true);
    myco__sets_left(state, member->id);
    tell_member(state, member->id);
}

static int apply_leave(struct myco__apply *apply)
{
    if (!apply->sender) return myco__refuse(apply, MYCO_ENOTFOUND, "not a member");
    myco__member_leaves(apply->state, apply->sender);
    return 0;
}

static uint32_t candidate_place(const struct myco_election_record *election, uint64_t node)
{
    uint32_t at = 0;
    while (at < election->candidate_count && election->candidates[at] < node) at++;
    return at;
}

static int apply_campaign(struct myco__apply *apply, bool stand, bool with)
{
    struct myco_candidate_wish wish = {0};
    char name[MYCO_STATE_NAME_MAX + 1];
    myco_read_str(&apply->in, name, sizeof name);
    if (with) myco__candidate_read(&apply->in, &wish);
    if (apply->in.bad || !myco__state_name_ok(name))
        return myco__refuse(apply, MYCO_EINVAL,
            "the name of an election is 1 to 63 printable characters without spaces");
    if (!apply->sender || apply->sender->left)
        return myco__refuse(apply, MYCO_EDENIED, "not a member");
    struct myco_election_record *election = myco__state_election_make(apply->state, name);
    if (!election) return myco__refuse(apply, MYCO_ETOOBIG, "too many elections");
    uint64_t node = apply->head.node;
    uint32_t at = candidate_place(election, node);
    bool there = at < election->candidate_count && election->candidates[at] == node;
    if (stand && !there) {
        uint32_t count = election->candidate_count++;
        election->candidates =
            myco_realloc(election->candidates, (count + 1) * sizeof *election->candidates);
        memmove(election->candidates + at + 1, election->candidates + at,
            (count - at) * sizeof *election->candidates);
        election->candidates[at] = node;
    } else if (!stand && there) {
        memmove(election->candidates + at, election->candidates + at + 1,
            (election->candidate_count - at - 1) * sizeof *election->candidates);
        election->candidate_count--;
        if (election->holder == node) election->holder = election->holder_generation = 0;
    }
    myco__candidate_wishes(election, node, stand ? &wish : NULL);
    tell_election(apply->state, election);
    return 0;
}

static int apply_grant(struct myco__apply *apply)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    myco_read_str(&apply->in, name, sizeof name);
    uint64_t node = myco_read_u64(&apply->in), generation = myco_read_u64(&apply->in);
    uint64_t before = myco_read_u64(&apply->in);
    if (apply->in.bad || !myco__state_name_ok(name))
        return myco__refuse(apply, MYCO_EINVAL, "malformed");
    struct myco_election_record *election = myco__state_election_make(apply->state, name);
    if (!election) return myco__refuse(apply, MYCO_ETOOBIG, "too many elections");
    const struct myco_member_record *member = myco_state_member(apply->state, node);
    if (election->epoch != before) return myco__refuse(apply, MYCO_ECONFLICT, "the epoch moved on");
    if (!node) {
        election->holder = election->holder_generation = 0;
    } else {
        if (!member || member->left || member->generation != generation)
            return myco__refuse(apply, MYCO_ECONFLICT, "not a member of this generation");
        election->holder = node;
        election->holder_generation = generation;
        election->epoch = apply->result->value = myco__state_next_epoch(apply->state);
    }
    election->wanted = 0;
    tell_election(apply->state, election);
    return 0;
}

static int apply_want(struct myco__apply *apply)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    myco_read_str(&apply->in, name, sizeof name);
    uint64_t node = myco_read_u64(&apply->in);
    if (apply->in.bad || !myco_state_election(apply->state, name))
        return myco__refuse(apply, MYCO_ENOTFOUND, "no such election");
    struct myco_election_record *election = myco__state_election_make(apply->state, name);
    election->wanted = node == election->holder ? 0 : node;
    tell_election(apply->state, election);
    return 0;
}

static int apply_release(struct myco__apply *apply)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    myco_read_str(&apply->in, name, sizeof name);
    uint64_t epoch = myco_read_u64(&apply->in);
    if (apply->in.bad || !myco_state_election(apply->state, name))
        return myco__refuse(apply, MYCO_ENOTFOUND, "no such election");
    struct myco_election_record *election = myco__state_election_make(apply->state, name);
    if (election->holder != apply->head.node || election->epoch != epoch)
        return myco__refuse(apply, MYCO_ECONFLICT, "not its holder");
    election->holder = election->holder_generation = 0;
    tell_election(apply->state, election);
    return 0;
}

static int apply_policy(struct myco__apply *apply)
{
    char kind_name[32], name[MYCO_STATE_NAME_MAX + 1], author[MYCO_STATE_NAME_MAX + 1];
    myco_read_str(&apply->in, kind_name, sizeof kind_name);
    myco_read_str(&apply->in, name, sizeof name);
    myco_read_str(&apply->in, author, sizeof author);
    uint64_t time_ms = myco_read_u64(&apply->in);
    struct myco_slice source = myco_read_slice(&apply->in);
    int kind = myco_policy_kind_from_name(myco_str(kind_name));
    if (apply->in.bad || kind < 0)
        return myco__refuse(apply, MYCO_EINVAL, "unknown kind of policy");
    if (source.size > MYCO_POLICY_SIZE_MAX)
        return myco__refuse(apply, MYCO_ETOOBIG, "a policy is at most 64 KiB");
    struct myco_policy_version version = {.version = ++apply->state->policies[kind].next_version,
        .time_ms = time_ms,
        .source_size = source.size};
    memcpy(version.name, name, sizeof name);
    memcpy(version.author, author, sizeof author);
    char *copy = myco_memdup(source.data, source.size);
    version.source = copy;
    myco__state_policy_push(apply->state, kind, &version);
    myco_free(copy);
    apply->result->value = version.version;
    tell_policy(apply->state, kind);
    return 0;
}

static int apply_rollback(struct myco__apply *apply)
{
    char kind_name[32];
    myco_read_str(&apply->in, kind_name, sizeof kind_name);
    int kind = myco_policy_kind_from_name(myco_str(kind_name));
    if (apply->in.bad || kind < 0)
        return myco__refuse(apply, MYCO_EINVAL, "unknown kind of policy");
    struct myco_policy_record *record = &apply->state->policies[kind];
    if (!record->count)
        return myco__refuse(apply, MYCO_ENOTFOUND,
            "the built-in policy is in force: there is nothing to go back to");
    myco_free(record->versions[--record->count].source);
    memset(&record->versions[record->count], 0, sizeof record->versions[0]);
    apply->result->value = record->count ? record->versions[record->count - 1].version : 0;
    tell_policy(apply->state, kind);
    return 0;
}

/* u64 next septum, u32 count and septa: id, name, options; then to the end policies, as in the
 * command */
void myco_state_definitions(const struct myco_state *state, struct myco_buf *out)
{
    myco_buf_u64(out, state->next_septum);
    myco_buf_u32(out, state->septum_count);
    for (uint32_t i = 0; i < state->septum_count; i++) {
        myco_buf_u64(out, state->septa[i]->id);
        myco_buf_str(out, state->septa[i]->name);
        myco__state_write_options(out, &state->septa[i]->options);
    }
    for (int kind = 0; kind < MYCO_POLICY_KIND_COUNT; kind++) {
        const struct myco_policy_version *version = myco_state_policy(state, kind);
        if (!version) continue;
        myco_buf_str(out, myco_policy_kind_name(kind));
        myco_buf_str(out, version->name);
        myco_buf_str(out, version->author);
        myco_buf_u64(out, version->time_ms);
        myco_buf_slice(out, myco_bytes(version->source, version->source_size));
    }
    myco__septa_define(state, out);
}

static void restore_septa(struct myco__apply *apply, struct myco_reader *in)
{
    struct myco_state *state = apply->state;
    uint64_t next = myco_read_u64(in);
    uint32_t count = myco_read_u32(in);
    for (uint32_t i = 0; i < count && !in->bad; i++) {
        char name[MYCO_STATE_NAME_MAX + 1];
        struct myco_septum_options options;
        uint64_t id = myco_read_u64(in);
        myco_read_str(in, name, sizeof name);
        myco__state_read_options(in, &options);
        if (in->bad) return;
        state->next_septum = id; /* ids stay what they are in the store */
        struct myco_septum_record *septum = myco__state_septum_add(state, name, &options);
        for (uint32_t h = 0; options.kind == MYCO_SEPTUM_DURABLE && h < options.hyphae; h++)
            septum->hyphae[h].from_store = true;
        if (state->events.on_septum) state->events.on_septum(septum, state->events.data);
    }
    state->next_septum = next;
}

static int apply_init(struct myco__apply *apply)
{
    struct myco_state *state = apply->state;
    uint64_t cluster = myco_read_u64(&apply->in);
    char name[MYCO_STATE_NAME_MAX + 1];
    myco_read_str(&apply->in, name, sizeof name);
    uint32_t lease_ms = myco_read_u32(&apply->in);
    uint64_t incarnation = myco_read_u64(&apply->in);
    uint64_t epoch = myco_read_u64(&apply->in), sequence = myco_read_u64(&apply->in);
    struct myco_slice definitions = myco_read_slice(&apply->in);
    if (apply->in.bad || !cluster) return myco__refuse(apply, MYCO_EINVAL, "malformed");
    if (state->cluster) return myco__refuse(apply, MYCO_EEXISTS, "the cluster is born already");
    state->cluster = cluster;
    state->lease_ms = lease_ms;
    state->incarnation = incarnation;
    state->restored_from_epoch = epoch;
    state->restored_from_sequence = sequence;
    memcpy(state->cluster_name, name, sizeof name);
    if (state->events.on_cluster) state->events.on_cluster(state->events.data);
    apply->in = myco_reader(definitions.data, definitions.size);
    if (definitions.size) restore_septa(apply, &apply->in);
    while (myco_read_left(&apply->in) && !apply->in.bad)
        if (!myco__septa_restore(apply)) apply_policy(apply);
    return 0;
}

int myco_state_apply(
    struct myco_state *state, struct myco_slice command, struct myco_command_result *result)
{
    struct myco__apply apply = {
        .state = state, .in = myco_reader(command.data, command.size), .result = result};
    memset(result, 0, sizeof *result);
    if (!myco_command_peek(command, &apply.head))
        return myco__refuse(&apply, MYCO_EINVAL, "malformed");
    if (!myco__command_known(state, apply.head.kind)) return MYCO_EVERSION;
    myco_read_bytes(&apply.in, MYCO_COMMAND_HEAD_SIZE);
    apply.sender = myco_map_get(&state->members, apply.head.node);
    if (apply.sender && apply.head.kind != MYCO_COMMAND_JOIN && apply.head.sequence) {
        if (apply.sender->generation != apply.head.generation)
            return myco__refuse(&apply, MYCO_EDENIED, "sent by a former generation of this node");
        if (myco__member_seen(apply.sender, apply.head.sequence))
            return myco__refuse(&apply, MYCO_EEXISTS, "applied before");
    }
    switch (apply.head.kind) {
    case MYCO_COMMAND_INIT: return apply_init(&apply);
    case MYCO_COMMAND_JOIN: return apply_join(&apply);
    case MYCO_COMMAND_LEAVE: return apply_leave(&apply);
    case MYCO_COMMAND_CAMPAIGN: return apply_campaign(&apply, true, false);
    case MYCO_COMMAND_RESIGN: return apply_campaign(&apply, false, false);
    case MYCO_COMMAND_GRANT: return apply_grant(&apply);
    case MYCO_COMMAND_SEPTUM: return myco__apply_septum(&apply);
    case MYCO_COMMAND_SEPTUM_MAKE: return myco__apply_septum_make(&apply);
    case MYCO_COMMAND_SEPTUM_ALTER: return myco__apply_septum_alter(&apply);
    case MYCO_COMMAND_PLACE: myco__sets_place(state, &apply.in); return 0;
    case MYCO_COMMAND_SETS: myco__sets_change(state, &apply.in, result); return 0;
    case MYCO_COMMAND_POLICY: return apply_policy(&apply);
    case MYCO_COMMAND_ROLLBACK: return apply_rollback(&apply);
    case MYCO_COMMAND_WANT: return apply_want(&apply);
    case MYCO_COMMAND_CAMPAIGN_WITH: return apply_campaign(&apply, true, true);
    case MYCO_COMMAND_LOCK: return myco__apply_lock(&apply);
    case MYCO_COMMAND_UNLOCK: return myco__apply_unlock(&apply);
    case MYCO_COMMAND_UNLOCK_NODE: return myco__apply_unlock_node(&apply);
    case MYCO_COMMAND_RELEASE: return apply_release(&apply);
    case MYCO_COMMAND_BARRIER: return 0;
    case MYCO_COMMAND_FEATURES: return myco__apply_features(&apply);
    case MYCO_COMMAND_REMOVE: return myco__apply_remove(&apply);
    case MYCO_COMMAND_ACCEPT_LOSS: return myco__apply_loss(&apply);
    case MYCO_COMMAND_RING: return myco__apply_ring(&apply);
    default: return MYCO_EVERSION;
    }
}
