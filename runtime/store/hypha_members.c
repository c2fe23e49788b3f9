/* The members of a hypha as its primary counts them: commits, and changes of the set.
 *
 * A record is committed once every in-sync member has it (durably, at level DISK). A joining member
 * is first counted too, as if it were in the set; when it has everything that is committed, it is
 * proposed (EXPAND), and stays counted until consensus has answered. So whatever set a proposal
 * ends in, the new member has all that was ever committed, and a busy primary can't run away from
 * it: its commits wait. One that can't keep up is not counted any more, as long as it is not
 * proposed. */
#include "store/hypha_internal.h"

#include "base/assert.h"
#include "base/mem.h"

struct myco__member *myco__member_of(struct myco_hypha *hypha, uint64_t node)
{
    for (size_t i = 0; i < hypha->member_count; i++) {
        if (hypha->members[i]->node == node) return hypha->members[i];
    }
    return NULL;
}

void myco__hypha_members_free(struct myco_hypha *hypha)
{
    for (size_t i = 0; i < hypha->member_count; i++) myco_free(hypha->members[i]);
    hypha->member_count = 0;
    myco_buf_free(&hypha->copy);
}

/* The former member of that holder, taken out of `former`, or a new one. */
static struct myco__member *member_take(
    struct myco__member **former, size_t count, const struct myco_holder *holder)
{
    for (size_t i = 0; i < count; i++) {
        struct myco__member *member = former[i];
        if (member == NULL || member->node != holder->node) continue;
        if (member->generation != holder->generation) continue;
        former[i] = NULL;
        return member;
    }
    struct myco__member *member = myco_alloc(sizeof(*member));
    member->node = holder->node;
    member->generation = holder->generation;
    member->stage = MYCO__STAGE_GREET;
    return member;
}

void myco__hypha_members_configure(struct myco_hypha *hypha, bool fresh)
{
    const struct myco_set *set = &hypha->set;
    struct myco__member *former[MYCO__MEMBERS_MAX] = {NULL};
    size_t former_count = fresh ? 0 : hypha->member_count;
    if (fresh) myco__hypha_members_free(hypha);
    for (size_t i = 0; i < former_count; i++) former[i] = hypha->members[i];
    hypha->member_count = 0;
    for (size_t i = 0; i < (size_t)set->in_sync_count + set->joining_count; i++) {
        bool in_sync = i < set->in_sync_count;
        const struct myco_holder *holder =
            in_sync ? &set->in_sync[i] : &set->joining[i - set->in_sync_count];
        if (holder->node == hypha->options.self) continue;
        if (myco__member_of(hypha, holder->node) != NULL) continue;
        struct myco__member *member = member_take(former, former_count, holder);
        member->in_sync = in_sync;
        member->joining = !in_sync;
        member->counted = member->proposed = false;
        hypha->members[hypha->member_count++] = member;
    }
    for (size_t i = 0; i < former_count; i++) myco_free(former[i]);
    myco__copy_release(hypha);
}

/* Sets were missed: a member may have left and come again between them, without what it had. */
void myco__hypha_members_doubt(struct myco_hypha *hypha)
{
    for (size_t i = 0; i < hypha->member_count; i++) {
        hypha->members[i]->acked = 0;
        myco__member_greet(hypha, hypha->members[i]);
    }
}

/* What every member that counts has acknowledged. */
static uint64_t acked_by_all(const struct myco_hypha *hypha)
{
    bool disk = hypha->options.level == MYCO_LEVEL_DISK;
    uint64_t acked = disk ? hypha->log.durable : hypha->log.last;
    for (size_t i = 0; i < hypha->member_count; i++) {
        const struct myco__member *member = hypha->members[i];
        if (!member->in_sync && !member->counted) continue;
        if (member->acked < acked) acked = member->acked;
    }
    return acked;
}

void myco__hypha_members_commit(struct myco_hypha *hypha)
{
    struct myco__log *log = &hypha->log;
    uint64_t acked = acked_by_all(hypha);
    uint64_t commit = hypha->options.level == MYCO_LEVEL_MEMORY ? log->last : acked;
    if (commit > log->commit) log->commit = commit;
    myco__hypha_apply(hypha);
    if (hypha->serving || hypha->noop == 0) return;
    hypha->serving = acked >= hypha->noop && log->applied >= hypha->noop;
}

bool myco__hypha_members_have(const struct myco_hypha *hypha)
{
    return acked_by_all(hypha) >= hypha->log.last;
}

void myco__hypha_members_acked(
    struct myco_hypha *hypha, struct myco__member *member, uint64_t acked)
{
    if (acked <= member->acked) return;
    member->acked = acked;
    if (member->waiting_ms != 0) member->waiting_ms = myco_now_ms(hypha->env);
}

uint64_t myco__hypha_members_need(const struct myco_hypha *hypha)
{
    uint64_t need = UINT64_MAX;
    for (size_t i = 0; i < hypha->member_count; i++) {
        const struct myco__member *member = hypha->members[i];
        uint64_t above = UINT64_MAX;
        if (member->stage == MYCO__STAGE_COPY) above = hypha->copy_offset;
        if (member->stage == MYCO__STAGE_STREAM) above = member->acked;
        if (above < need) need = above;
    }
    return need;
}

/* ── Changes of the set ────────────────────────────────────────────────────────────────────── */

static bool lags(const struct myco__member *member, uint64_t now_ms, uint64_t lag_ms)
{
    return member->waiting_ms != 0 && now_ms - member->waiting_ms >= lag_ms;
}

static void propose(
    struct myco_hypha *hypha, enum myco_propose what, const struct myco__member *member)
{
    hypha->proposed = true;
    hypha->effects.propose(what, member->node, member->generation, hypha->effects.data);
}

static bool propose_shrink(struct myco_hypha *hypha, uint64_t now_ms)
{
    for (size_t i = 0; i < hypha->member_count; i++) {
        struct myco__member *member = hypha->members[i];
        if (!member->in_sync || !lags(member, now_ms, hypha->options.lag_ms)) continue;
        propose(hypha, MYCO_PROPOSE_SHRINK, member);
        return true;
    }
    return false;
}

/* At level MEMORY nothing waits for members: there, having been sent everything is enough. */
static bool has_everything(const struct myco_hypha *hypha, const struct myco__member *member)
{
    if (hypha->options.level == MYCO_LEVEL_MEMORY) return member->acked >= hypha->noop;
    return member->acked >= hypha->log.commit;
}

static bool propose_expand(struct myco_hypha *hypha)
{
    if (!hypha->serving || hypha->set.in_sync_count >= MYCO_COPIES_MAX) return false;
    for (size_t i = 0; i < hypha->member_count; i++) {
        struct myco__member *member = hypha->members[i];
        if (!member->counted || !has_everything(hypha, member)) continue;
        member->proposed = true;
        propose(hypha, MYCO_PROPOSE_EXPAND, member);
        return true;
    }
    return false;
}

/* Whether a joining member is counted. Not one that is proposed: that is for consensus to say. */
void myco__hypha_members_tick(
    struct myco_hypha *hypha, struct myco__member *member, uint64_t now_ms)
{
    if (!member->joining || member->proposed) return;
    bool streams = member->stage == MYCO__STAGE_STREAM && !member->start_owed;
    if (!streams || lags(member, now_ms, hypha->options.lag_ms / 3))
        member->counted = false;
    else if (member->sent == hypha->log.last)
        member->counted = true;
}

void myco__hypha_members_propose(struct myco_hypha *hypha, uint64_t now_ms)
{
    if (hypha->proposed || now_ms < hypha->propose_at_ms) return;
    if (!propose_shrink(hypha, now_ms)) propose_expand(hypha);
}

bool myco__hypha_members_idle(const struct myco_hypha *hypha)
{
    for (size_t i = 0; i < hypha->member_count; i++) {
        const struct myco__member *member = hypha->members[i];
        if (member->joining && member->stage == MYCO__STAGE_LOST) continue;
        if (member->joining && !hypha->proposed) return false;
        if (member->stage != MYCO__STAGE_STREAM || member->start_owed) return false;
        if (member->acked < hypha->log.last || member->told < hypha->log.commit) return false;
    }
    return hypha->log.applied == hypha->log.last;
}
