/* Leaving on purpose: flush what the store wants, wait while nobody else has what this node has,
 * say LEAVE in the log, hand over, say goodbye.
 *
 *   FLUSH → WAIT → DEPART → HAND_OVER → GOODBYE; each is cut short by the deadline */
#include "base/log.h"
#include "host/core_internal.h"

#define DEPART_MS     1500 /* for the LEAVE command */
#define LEADERLESS_MS 1000 /* without a consensus leader nothing can be handed over */

static void left(void *data)
{
    struct myco_core *core = data;
    void (*done)(void *) = core->left;
    core->left = NULL;
    if (done) done(core->left_data);
}

static void close_journal(void *data)
{
    struct myco_core *core = data;
    struct myco_journal *journal = core->journal;
    core->journal = NULL;
    if (journal)
        myco_journal_close(journal, left, core);
    else
        left(core);
}

static void say_goodbye(struct myco_core *core)
{
    core->leave_stage = LEAVE_GOODBYE;
    if (myco_rlog_is_leader(core->log)) myco_rlog_transfer(core->log, 0);
    myco_swim_leave(core->swim);
    close_journal(core);
}

/* A voter that is gone is still counted: of two, the other could never decide anything again. So
 * the leader takes our vote away first, once it is another. */
static bool has_vote(struct myco_core *core)
{
    if (myco_rlog_role(core->log, core->identity.id) != MYCO_ROLE_VOTER) return false;
    if (myco_rlog_is_leader(core->log)) myco_rlog_transfer(core->log, 0);
    return true;
}

/* While peers are there, and the log can say so: otherwise there is nobody to take anything
 * over. */
static void leave_step(struct myco_core *core)
{
    if (core->leave_stage != LEAVE_HAND_OVER) return;
    uint64_t now = myco_now_ms(core->env);
    if (myco_commands_leader(core->commands)) core->leader_seen_ms = now;
    bool late = now >= core->leave_deadline_ms || now - core->leader_seen_ms > LEADERLESS_MS;
    bool heard = core->joined && core->up.count;
    bool more = heard && core_hyphae_hand_over(core, true), votes = heard && has_vote(core);
    if ((more || votes) && !late) return;
    if (more || votes)
        MYCO_WARN(core->env->log, "hypha", "left without handing everything over",
            "primaries=%u vote=%s", core_hyphae_primary_count(core), votes ? "yes" : "no");
    say_goodbye(core);
}

static void departed(const struct myco_result *result, void *data)
{
    struct myco_core *core = data;
    if (result->status == MYCO_ECLOSED) return;
    core->leave_stage = LEAVE_HAND_OVER;
    core->leader_seen_ms = myco_now_ms(core->env);
    leave_step(core);
}

/* From now on nobody hands anything to this node, and its duties are over; what it is primary of it
 * still serves, until it is handed over. */
static void depart(void *data)
{
    struct myco_core *core = data;
    bool awaited = core->joined && core->up.count && core_hyphae_awaited(core);
    core->leave_stage = LEAVE_WAIT; /* as a member like others, until somebody else has it all */
    if (awaited && myco_now_ms(core->env) < core->leave_deadline_ms) return;
    core->leaving = true;
    core->leave_stage = LEAVE_DEPART;
    core_duties_lease(core); /* told as lost; the handles stay until the core is freed */
    core_locks_lease(core);
    if (!core->joined || !core->up.count || awaited) {
        if (awaited)
            MYCO_WARN(core->env->log, "hypha", "went without leaving: it is awaited", NULL);
        say_goodbye(core);
        return;
    }
    if (myco_rlog_is_leader(core->log))
        myco_rlog_transfer(core->log, 0); /* who stays takes our vote away */
    struct myco_buf body = {0};
    myco_core_submit(core, MYCO_COMMAND_LEAVE, &body, DEPART_MS, departed, core);
}

void myco_core_leave(
    struct myco_core *core, unsigned deadline_ms, void (*done)(void *data), void *data)
{
    core->left = done;
    core->left_data = data;
    if (!core->transport) { /* was never started: there is nobody to take leave of */
        close_journal(core);
        return;
    }
    core->leave_deadline_ms = myco_now_ms(core->env) + deadline_ms;
    core->leave_stage = LEAVE_FLUSH;
    core_persist_flush(core, depart, core);
}

void core_leave_tick(struct myco_core *core)
{
    if (core->leave_stage == LEAVE_WAIT) depart(core);
    leave_step(core);
}
