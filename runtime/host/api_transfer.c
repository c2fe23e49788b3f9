/* The public call that hands the lead of the consensus group to another voter. */
#include <string.h>

#include "base/err.h"
#include "host/core_internal.h"
#include "host/node_call.h"

struct transfer {
    const char *to;
    struct myco_err *err;
};

static const char *name_of(const struct myco_core *core, uint64_t id)
{
    const struct myco_member_record *member = id ? myco_state_member(core->state, id) : NULL;
    return member ? member->name : "nobody that is known";
}

/* A live one, when a dead one bears the same name. */
static uint64_t find(const struct myco_core *core, const char *name)
{
    uint64_t found = 0;
    MYCO_MAP_EACH (struct myco_member_record, member, &core->state->members) {
        if (member->left || strcmp(member->name, name) != 0) continue;
        const struct myco_member *seen = myco_swim_get(core->swim, member->id);
        bool live = member->id == core->identity.id || (seen && seen->state == MYCO_MEMBER_ALIVE);
        if (!found || live) found = member->id;
    }
    return found;
}

static int transfer(struct myco *node, void *arg)
{
    const struct transfer *ask = arg;
    struct myco_core *core = node->core;
    const char *to = ask->to ? ask->to : "another";
    uint64_t id = ask->to ? find(core, ask->to) : 0;
    if (ask->to && !id)
        return myco_err(ask->err, MYCO_ENOTFOUND, "there is no member '%.63s'", ask->to);
    if (!myco_rlog_is_leader(core->log))
        return myco_err(ask->err, MYCO_ENOTLEADER, "%s does not lead the consensus group: %s does",
            core->name, name_of(core, myco_rlog_leader(core->log)));
    if (id == core->identity.id) return 0;
    if (id && myco_rlog_role(core->log, id) != MYCO_ROLE_VOTER)
        return myco_err(ask->err, MYCO_EINVAL, "%s is no voter, but %s: it can't lead", to,
            myco_role_name(myco_rlog_role(core->log, id)));
    int rc = myco_rlog_transfer(core->log, id);
    return rc ? myco_err(ask->err, rc, "hand the consensus group over to %s: %s", to,
                    rc == MYCO_ENOTFOUND ? "there is no other voter" : myco_strerror(rc))
              : 0;
}

int myco_lead_transfer(struct myco *node, const char *to, struct myco_err *err)
{
    struct myco_err failure = {0};
    struct transfer ask = {to, &failure};
    int rc = node_call(node, transfer, &ask);
    if (rc) return myco_err(err, rc, "%s", failure.code ? failure.message : myco_strerror(rc));
    return 0;
}
