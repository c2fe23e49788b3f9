/* Features in the replicated state: which are active, what each member has, and which commands may
 * be logged.
 *
 * FEATURES carries what each member has, because the state itself may not know it yet: as long as a
 * node of the version before features is a member, snapshots are written in its format, which can't
 * say it. It counts only if each member that has not left is named in its present generation and
 * has all the bits: so whoever joins in between makes it void. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "consensus/state_internal.h"

bool myco_state_feature(const struct myco_state *state, enum myco_feature feature)
{
    return feature == MYCO_FEATURE_NONE || (state->features_active & MYCO_FEATURE_BIT(feature));
}

/* By number; what is not in the list is not known. */
static const struct {
    bool known;
    enum myco_feature feature;
} commands[256] = {
#define X(symbol, number, feature) [number] = {true, MYCO_FEATURE_##feature},
    MYCO_COMMANDS(X)
#undef X
};

enum myco_feature myco_command_feature(uint8_t kind)
{
    return commands[kind].known ? commands[kind].feature : MYCO_FEATURE_NONE;
}

/* A node without the feature is of a version that does not have the command. */
bool myco__command_known(const struct myco_state *state, uint8_t kind)
{
    enum myco_feature feature = commands[kind].feature;
    if (!commands[kind].known) return false;
    return feature == MYCO_FEATURE_NONE || (state->features_own & MYCO_FEATURE_BIT(feature));
}

static void say_missing(char *out, size_t size, uint64_t missing)
{
    char names[64];
    snprintf(out, size,
        "this node is too old for the cluster: start it with the cluster's version (it lacks %s)",
        myco_features_text(missing, names, sizeof names));
}

int myco__refuse_older(struct myco__apply *apply, const struct myco_member_record *joiner)
{
    char message[sizeof apply->result->message];
    say_missing(message, sizeof message, apply->state->features_active & ~joiner->features);
    return myco__refuse(apply, MYCO_EVERSION, message);
}

/* ── FEATURES ── u64 features, then for each member: u64 id, generation, features, str version */

void myco_command_features(struct myco_buf *out, uint64_t features)
{
    myco_buf_u64(out, features);
}

void myco_command_features_member(
    struct myco_buf *out, const struct myco_member_record *member, uint64_t features)
{
    myco_buf_u64(out, member->id);
    myco_buf_u64(out, member->generation);
    myco_buf_u64(out, features);
    myco_buf_str(out, member->version);
}

/* Is each member that has not left named, in this generation, with all of `wanted`? */
static bool all_have(const struct myco_state *state, struct myco_reader in, uint64_t wanted)
{
    size_t found = 0, members = 0;
    uint64_t before = 0; /* ascending ids: none counts twice */
    while (myco_read_left(&in) && !in.bad) {
        uint64_t id = myco_read_u64(&in), generation = myco_read_u64(&in);
        uint64_t features = myco_read_u64(&in);
        myco_read_slice(&in);
        const struct myco_member_record *member = myco_state_member(state, id);
        if (id <= before || wanted & ~features) return false;
        before = id;
        found += member && !member->left && member->generation == generation;
    }
    MYCO_MAP_EACH (struct myco_member_record, member, &state->members) members += !member->left;
    return !in.bad && found == members;
}

static void remember(struct myco_state *state, struct myco_reader in)
{
    MYCO_MAP_EACH (struct myco_member_record, member, &state->members) {
        if (!member->left) continue;
        member->features = 0; /* not known alike by all */
        memset(member->version, 0, sizeof member->version);
    }
    while (myco_read_left(&in) && !in.bad) {
        struct myco_member_record *member = myco_map_get(&state->members, myco_read_u64(&in));
        uint64_t generation = myco_read_u64(&in), features = myco_read_u64(&in);
        char version[MYCO_VERSION_MAX + 1];
        myco_read_str(&in, version, sizeof version);
        if (!member || member->generation != generation) continue;
        member->features = features;
        memcpy(member->version, version, sizeof version);
    }
}

int myco__apply_features(struct myco__apply *apply)
{
    struct myco_state *state = apply->state;
    uint64_t features = myco_read_u64(&apply->in);
    if (apply->in.bad) return myco__refuse(apply, MYCO_EINVAL, "malformed");
    state->features_proposed = 0;
    if (!all_have(state, apply->in, features))
        return myco__refuse(apply, MYCO_ECONFLICT, "a member lacks a feature");
    if (features & ~state->features_own) return MYCO_EVERSION;
    remember(state, apply->in);
    state->features_active |= features;
    apply->result->value = state->features_active;
    if (state->events.on_features)
        state->events.on_features(state->features_active, state->events.data);
    return 0;
}

/* ── what may be logged ── */

static uint64_t features_of_joiner(struct myco_slice command)
{
    struct myco_reader in = myco_reader(command.data, command.size);
    char text[MYCO_LABELS_MAX + 1];
    myco_read_bytes(&in, 25);
    myco_read_str(&in, text, sizeof text);
    myco_read_str(&in, text, sizeof text);
    myco_read_addr(&in);
    myco_read_u8(&in);
    return myco_read_left(&in) ? myco_read_u64(&in) : 0;
}

int myco_state_admits(
    const struct myco_state *state, struct myco_slice command, struct myco_err *err)
{
    struct myco_command_head head;
    char message[160];
    if (!myco_command_peek(command, &head)) return myco_err(err, MYCO_EINVAL, "malformed");
    enum myco_feature feature = myco_command_feature(head.kind);
    if (head.kind == MYCO_COMMAND_JOIN) {
        if (myco_state_removed(state, head.node))
            return myco_err(err, MYCO_EDENIED, "%s", myco__removed_text);
        uint64_t needed = state->features_active | state->features_proposed;
        uint64_t missing = needed & ~features_of_joiner(command);
        if (!missing) return 0;
        say_missing(message, sizeof message, missing);
        return myco_err(err, MYCO_EVERSION, "%s", message);
    }
    if (head.kind == MYCO_COMMAND_FEATURES || myco_state_feature(state, feature)) return 0;
    return myco_err(err, MYCO_EVERSION,
        "the feature '%s' is not active yet: a member is of an older version",
        myco_feature_name(feature));
}
