/* Features are switched on once every member has them. */
#include "base/log.h"
#include "consensus/council.h"

/* As it said when it joined; as long as the state may not know that, as it said in its handshake.
 */
static uint64_t features_of(
    const struct myco_council *council, const struct myco_member_record *record)
{
    const struct myco_council_options *options = &council->options;
    if (record->id == options->self) return options->state->features_own;
    if (record->features || myco_state_feature(options->state, MYCO_FEATURE_FEATURES))
        return record->features;
    return options->peer_features
               ? options->peer_features(record->id, record->generation, options->data)
               : 0;
}

/* A server of the group that is no member yet may be of any version, and one that is leaving may be
 * of the older one: they would have to apply the command. */
static bool all_registered(const struct myco_council *council)
{
    struct myco_log_server servers[64];
    size_t count = myco_rlog_servers(council->options.log, servers, 64);
    for (size_t i = 0; i < count; i++) {
        const struct myco_member_record *record =
            myco_state_member(council->options.state, servers[i].id);
        if (!record || record->left) return false;
    }
    return true;
}

bool myco__council_features(struct myco_council *council)
{
    struct myco_state *state = council->options.state;
    uint64_t common = state->features_own;
    state->features_proposed = 0;
    for (size_t i = 0; i < council->member_count && common; i++)
        common &= features_of(council, council->members[i].record);
    if (!(common & MYCO_FEATURE_BIT(MYCO_FEATURE_FEATURES)) ||
        !(common & ~state->features_active) || !council->member_count || !all_registered(council))
        return false;
    struct myco_buf body = {0};
    char text[128];
    myco_command_features(&body, common);
    for (size_t i = 0; i < council->member_count; i++) {
        const struct myco_member_record *record = council->members[i].record;
        myco_command_features_member(&body, record, features_of(council, record));
    }
    state->features_proposed = common;
    MYCO_INFO(council->options.env->log, "nodosum", "every member has them: switching features on",
        "features=\"%s\"", myco_features_text(common & ~state->features_active, text, sizeof text));
    myco__council_propose(council, MYCO_COMMAND_FEATURES, &body);
    return true;
}
