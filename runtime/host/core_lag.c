/* How late this node's loop is, and what follows: what a slow node leads goes to others.
 *
 *   late       by more than a quarter of the lease
 *   slow       more than one tick in a hundred was late in the last 10 s, and at least three
 *   well again five seconds without a late one; twice as long after each relapse within ten minutes
 *
 * A slow node says so in gossip. The council then prefers others for elections, and asks it to give
 * up those that it has; it itself hands over its primaries, and the consensus group, to nodes that
 * are not slow. Votes and copies stay. When all are slow nothing moves: somebody has to lead. */
#include <stdlib.h>
#include <string.h>

#include "host/core_internal.h"

#define LATE_TICKS_MIN 3
#define TRANSFER_MS    500 /* between two attempts to give the consensus group away */
#define GROUP_LAST_MS                                                                              \
    2000 /* it is kept so long while anything else is held: see may_give_group() */

static int by_size(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* One that is starved for long comes and goes; each return would hand it what it can't hold. */
static void note_change(struct core_lag *lag, uint64_t now_ms)
{
    if (!lag->slow) {
        lag->well_at_ms = now_ms;
        return;
    }
    bool relapse = lag->well_at_ms && now_ms - lag->well_at_ms < MYCO_LAG_RELAPSE_MS;
    lag->relapses = !relapse                                ? 0
                    : lag->relapses < MYCO_LAG_RELAPSES_MAX ? lag->relapses + 1
                                                            : MYCO_LAG_RELAPSES_MAX;
    lag->slow_at_ms = now_ms;
}

bool core_lag_sample(struct core_lag *lag, uint64_t now_ms, uint64_t lag_ms, uint32_t limit_ms)
{
    uint32_t sorted[MYCO_LAG_SAMPLES], count = 0, late = 0;
    size_t at = lag->next++ % MYCO_LAG_SAMPLES;
    lag->samples[at].at_ms = now_ms + 1; /* 0: none */
    lag->samples[at].lag_ms = lag_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)lag_ms;
    for (size_t i = 0; i < MYCO_LAG_SAMPLES; i++) {
        if (!lag->samples[i].at_ms || lag->samples[i].at_ms + MYCO_LAG_WINDOW_MS <= now_ms)
            continue;
        sorted[count++] = lag->samples[i].lag_ms;
        late += lag->samples[i].lag_ms > limit_ms;
    }
    qsort(sorted, count, sizeof *sorted, by_size);
    lag->max_ms = sorted[count - 1];
    lag->p99_ms = sorted[(count - 1) * 99 / 100];
    if (lag_ms > limit_ms) lag->late_at_ms = now_ms;
    bool was = lag->slow;
    if (late >= LATE_TICKS_MIN && late * 100 > count) lag->slow = true;
    uint64_t calm_ms = (uint64_t)MYCO_LAG_CALM_MS << lag->relapses;
    if (lag->slow && now_ms - lag->late_at_ms >= calm_ms) lag->slow = false;
    if (lag->slow != was) note_change(lag, now_ms);
    return was != lag->slow;
}

/* ── what follows ── */

bool core_member_slow(struct myco_core *core, uint64_t node)
{
    struct myco_node_meta meta;
    if (node == core->identity.id) return core->lag.slow;
    const struct myco_member *member = myco_swim_get(core->swim, node);
    return member && myco_node_meta_read(member, &meta) && meta.slow;
}

static bool is_well(struct myco_core *core, uint64_t node)
{
    const struct myco_member *member = myco_swim_get(core->swim, node);
    return node != core->identity.id && member && member->state == MYCO_MEMBER_ALIVE &&
           core_is_up(core, node) && !core_member_slow(core, node);
}

/* The group goes last. Its leader hands over the rest by words to itself, and renews its own lease
 * without asking anybody; once another leads, each word takes two turns of a loop that is late, and
 * the lease may run out before the last primary went. */
static bool may_give_group(struct myco_core *core, uint64_t now_ms)
{
    if (!myco_rlog_is_leader(core->log) || now_ms < core->transfer_at_ms) return false;
    const struct myco_election_record *own = myco_state_election(core->state, "nodosum");
    uint32_t duties = core_duties_held(core);
    if (own && own->holder == core->identity.id && duties > 0) duties--; /* goes with the group */
    bool holds = core_hyphae_primary_count(core) + duties > 0;
    return !holds || now_ms - core->lag.slow_at_ms >= GROUP_LAST_MS;
}

static void give_group_away(struct myco_core *core, uint64_t now_ms)
{
    if (!may_give_group(core, now_ms)) return;
    struct myco_log_server servers[64];
    size_t count = myco_rlog_servers(core->log, servers, 64);
    core->transfer_at_ms = now_ms + TRANSFER_MS;
    for (size_t i = 0; i < count; i++) {
        if (servers[i].role != MYCO_ROLE_VOTER || !is_well(core, servers[i].id)) continue;
        if (myco_rlog_transfer(core->log, servers[i].id) == 0) return;
    }
}

static void say(struct myco_core *core)
{
    struct chronicle_note note = chronicle_note(
        core->lag.slow ? MYCO_EVENT_NODE_SLOW : MYCO_EVENT_NODE_RECOVERED, core->name);
    chronicle_number(&note, "p99_ms", core->lag.p99_ms);
    chronicle_number(&note, "max_ms", core->lag.max_ms);
    chronicle_number(&note, "limit_ms", core->state->lease_ms / 4);
    if (core->lag.slow)
        chronicle_tell(core->chronicle, &note,
            "this node's loop is late, by %u ms at p99: what it leads goes to others until it has "
            "recovered",
            core->lag.p99_ms);
    else
        chronicle_tell(core->chronicle, &note, "this node's loop is in time again");
}

/* The latest timer since the last tick: the tick alone can fall into step with what stops it. */
void core_lag_tick(struct myco_core *core)
{
    uint64_t now_ms = myco_now_ms(core->env), lag_ms = myco_env_late_ns(core->env) / 1000000;
    uint32_t lease_ms = core->state->lease_ms ? core->state->lease_ms : core->options.lease_ms;
    if (core_lag_sample(&core->lag, now_ms, lag_ms, lease_ms / 4)) {
        say(core);
        myco_rlog_set_patient(core->log, core->lag.slow);
        core_refresh_soon(core); /* tells gossip */
        if (core->council) myco_council_poke(core->council);
    }
    MYCO_METRIC_SET(core->env->metrics, LOOP_LAG_P99, core->lag.p99_ms);
    MYCO_METRIC_SET(core->env->metrics, LOOP_LAG_MAX, core->lag.max_ms);
    MYCO_METRIC_SET(core->env->metrics, SLOW, core->lag.slow);
    if (core->lag.slow && core->joined && !core->leaving) give_group_away(core, now_ms);
}
