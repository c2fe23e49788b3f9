/* What an operator asks of the whole cluster: to know what is agreed on, and to remove a member for
 * ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "host/core_internal.h"

/* A barrier in the log: when it is applied here, so is all that was agreed on before the call. */
void myco_core_sync(struct myco_core *core, unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct myco_buf body = {0};
    myco_core_submit(core, MYCO_COMMAND_BARRIER, &body, timeout_ms, cb, data);
}

static void refuse(int status, const char *message, myco_result_cb cb, void *data)
{
    struct myco_result result = {.status = status, .message = message};
    cb(&result, data);
}

/* By id (16 digits), or by name; of several with one name, one that is not there. */
static const struct myco_member_record *find_member(struct myco_core *core, const char *text)
{
    char *end;
    uint64_t id = strtoull(text, &end, 16);
    const struct myco_member_record *found =
        strlen(text) == 16 && !*end ? myco_state_member(core->state, id) : NULL;
    MYCO_MAP_EACH (struct myco_member_record, member, &core->state->members) {
        if (strcmp(member->name, text) != 0 || myco_state_removed(core->state, member->id))
            continue;
        const struct myco_member *seen = myco_swim_get(core->swim, member->id);
        bool alive =
            member->id == core->identity.id || (seen && seen->state <= MYCO_MEMBER_SUSPECT);
        if (!found || !alive) found = member;
    }
    return found;
}

static bool runs(struct myco_core *core, uint64_t id)
{
    const struct myco_member *seen = myco_swim_get(core->swim, id);
    return id == core->identity.id || (seen && seen->state <= MYCO_MEMBER_SUSPECT);
}

/* While removal is not active, because this very member is of an older version, the leader says
 * LEAVE in its place, which all versions know. It may come back: upgraded, once features are
 * active. */
static void leave_for(struct myco_core *core, const struct myco_member_record *record,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct myco_err err = {0};
    int rc = myco_council_leave_for(core->council, record->id, &err);
    if (rc == 0) {
        myco_core_sync(core, timeout_ms, cb, data);
        return;
    }
    char message[320];
    uint64_t leader = myco_commands_leader(core->commands);
    const struct myco_member_record *leads = leader ? myco_state_member(core->state, leader) : NULL;
    snprintf(message, sizeof message,
        rc == MYCO_ENOTLEADER ? "remove: a member is of an older version, so only the consensus "
                                "leader can do it: ask "
                                "%s"
                              : "remove: %s",
        rc == MYCO_ENOTLEADER ? leads ? leads->name : "it, once there is one" : err.message);
    refuse(rc, message, cb, data);
}

/* A live voter that vanished at once could cost the quorum; one that is stopped gives its vote away
 * before. */
void myco_core_remove(struct myco_core *core, const char *member, bool force, unsigned timeout_ms,
    myco_result_cb cb, void *data)
{
    char message[160];
    const struct myco_member_record *record = find_member(core, member);
    if (!record) {
        snprintf(message, sizeof message, "remove: there is no member '%.64s'", member);
        refuse(MYCO_ENOTFOUND, message, cb, data);
        return;
    }
    if (!force && runs(core, record->id)) {
        snprintf(message, sizeof message,
            "remove: %s runs: stop it first, so that it hands over what it holds", record->name);
        refuse(MYCO_EBUSY, message, cb, data);
        return;
    }
    if (!myco_state_feature(core->state, MYCO_FEATURE_REMOVAL) && core->council) {
        leave_for(core, record, timeout_ms, cb, data);
        return;
    }
    struct myco_buf body = {0};
    myco_command_remove(&body, record->id);
    myco_core_submit(core, MYCO_COMMAND_REMOVE, &body, timeout_ms, cb, data);
}
