/* Whether the loss of data may be accepted now: what an operator believes to be dead may be alive
 * where the consensus leader sees it, and may serve under its lease. */
#include "base/err.h"
#include "consensus/council.h"

/* In sync, and it may still be heard from: its name; NULL: all are gone. */
static const char *somebody(const struct myco_council *council, const struct myco_set *set)
{
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        const struct myco_holder *holder = &set->in_sync[i];
        const struct myco_member_record *record =
            myco_state_member(council->options.state, holder->node);
        if (!record) continue;
        bool away = myco__council_gone(council, holder->node, holder->generation);
        if (!away || myco__council_present(council, holder->node)) return record->name;
    }
    return NULL;
}

static int admits_loss(
    const struct myco_council *council, struct myco_reader *in, struct myco_err *err)
{
    uint64_t id;
    char reason[MYCO_LOSS_REASON_MAX + 1];
    struct myco_loss loss;
    if (!myco_loss_head(in, &id, reason)) return myco_err(err, MYCO_EINVAL, "malformed");
    const struct myco_septum_record *septum = myco_state_septum(council->options.state, id);
    while (septum && myco_loss_next(in, &loss)) {
        if (loss.index >= septum->options.hyphae) continue;
        const struct myco_set *set = &septum->hyphae[loss.index].set;
        if (set->epoch != loss.epoch || set->version != loss.version) continue; /* is refused */
        const char *name = somebody(council, set);
        if (name)
            return myco_err(err, MYCO_EBUSY,
                "%s holds hypha %u in sync, and the leader sees it, or its lease is not over", name,
                loss.index);
    }
    return 0;
}

int myco_council_admits(
    const struct myco_council *council, struct myco_slice command, struct myco_err *err)
{
    struct myco_command_head head;
    struct myco_reader in = myco_reader(command.data, command.size);
    if (!council || !myco_command_peek(command, &head)) return 0;
    if (head.kind != MYCO_COMMAND_ACCEPT_LOSS) return 0;
    if (!myco_rlog_is_established(council->options.log))
        return myco_err(err, MYCO_EUNAVAILABLE, "the leader is not established yet");
    myco_read_bytes(&in, MYCO_COMMAND_HEAD_SIZE);
    return admits_loss(council, &in, err);
}
