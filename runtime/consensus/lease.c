/* Node leases: the holder's renewals, the voters' answers, the leader's rounds. */
#include "consensus/lease.h"

#include <string.h>

#include "base/map.h"
#include "base/mem.h"

/* u8 what, u64 a, b, c:
 *   RENEW serial · ROUND term, round · ROUND_OK term, round, age_ms · GRANT serial, index
 *
 * index: the leader's last entry when it granted. The holder's lease begins once it has applied
 * that much: otherwise a node that was away for longer than its lease would get a new one, and take
 * for its own what the entries that it has not seen yet gave to others.
 *
 * A round asks only as many voters as it needs, those that answered the last one first; what has no
 * majority after a twelfth of the lease asks all. Renewals of leases that have time left wait for a
 * moment, so that one round serves several; that wait makes no lease longer, which for the leader
 * is over a lease's length after the RENEW came. */
enum { RENEW = 1, ROUND, ROUND_OK, GRANT };

#define PAUSE_NS    10000000
#define GRACE_NS    2000000
#define WAITING_MAX 4096 /* renewals that wait for a round */
#define SERVERS_MAX 64
#define WIDEN       12 /* of the lease: until a round asks all voters */
#define GATHER      6  /* of the lease: between two rounds, unless somebody's lease is short */

struct renewal {
    uint64_t node, serial, at_ns; /* when it came: the holder counts from before that */
};

struct myco_lease {
    struct myco_env *env;
    struct myco_rlog *log;
    struct myco_lease_events events;
    uint64_t self, lease_ns, started_ns;
    struct myco_timer timer, end; /* end: when the lease runs out */

    /* holder */
    bool holding, valid;
    bool graced; /* see was_paused() */
    uint64_t serial, deadline_ns;
    uint64_t waiting_deadline_ns, waiting_index; /* a grant that counts once so much is applied */
    uint64_t sent_ns[8]; /* when the renewal of serial n was sent, at n % 8 */

    /* voter */
    uint64_t answered_term, answered_ns, other_ns;

    /* leader */
    uint64_t term, round, round_ns,
        safe_ns; /* safe_ns: when older leaders' grants are over; UINT64_MAX: unknown */
    uint64_t established_ns, youngest_ms;
    bool in_round;
    uint64_t answered[16]; /* voters that answered this round */
    uint32_t answered_count;
    struct myco_timer widen;          /* no majority answered soon: all voters are asked */
    struct myco_timer gather;         /* the next round begins */
    struct renewal *waiting, *served; /* arrived since the round began; before it */
    uint32_t waiting_count, served_count;
    struct myco_map granted; /* node → uint64_t * of ns */
};

static void tick(void *data);
static void widen(void *data);
static void gathered(void *data);

struct myco_lease *myco_lease_new(
    struct myco_env *env, uint64_t self, const struct myco_lease_events *events)
{
    struct myco_lease *lease = myco_alloc(sizeof *lease);
    lease->env = env;
    lease->self = self;
    lease->events = *events;
    lease->started_ns = lease->other_ns = lease->answered_ns = myco_now_ns(env);
    lease->waiting = myco_alloc(WAITING_MAX * sizeof *lease->waiting);
    lease->served = myco_alloc(WAITING_MAX * sizeof *lease->served);
    myco_timer_init(&lease->timer, env, tick, lease);
    myco_timer_init(&lease->end, env, tick, lease);
    myco_timer_init(&lease->widen, env, widen, lease);
    myco_timer_init(&lease->gather, env, gathered, lease);
    return lease;
}

void myco_lease_free(struct myco_lease *lease)
{
    if (!lease) return;
    myco_timer_stop(&lease->timer);
    myco_timer_stop(&lease->end);
    myco_timer_stop(&lease->widen);
    myco_timer_stop(&lease->gather);
    MYCO_MAP_EACH (uint64_t, granted, &lease->granted) myco_free(granted);
    myco_map_free(&lease->granted);
    myco_free(lease->waiting);
    myco_free(lease->served);
    myco_free(lease);
}

/* With ρ of drift on both sides: what a clock of ours must show before a lease of another's is
 * over. */
static uint64_t with_drift(uint64_t ns)
{
    return ns + ns / 49; /* (1 + ρ) / (1 − ρ) = 1.0203 */
}

static void send(
    struct myco_lease *lease, uint64_t to, uint8_t what, uint64_t a, uint64_t b, uint64_t c)
{
    struct myco_buf out = {0};
    myco_buf_u8(&out, what);
    myco_buf_u64(&out, a);
    myco_buf_u64(&out, b);
    myco_buf_u64(&out, c);
    if (to == lease->self) {
        myco_lease_receive(lease, to, myco_buf_as_slice(&out));
        myco_buf_free(&out);
    } else {
        lease->events.send(to, &out, lease->events.data);
    }
}

/* ── leader ── */

static bool leading(struct myco_lease *lease)
{
    if (!lease->log || !myco_rlog_is_leader(lease->log)) return false;
    uint64_t term = myco_rlog_term(lease->log);
    if (term != lease->term) { /* a new reign: nothing of the last one counts */
        lease->term = term;
        lease->in_round = false;
        lease->answered_count = 0;
        lease->waiting_count = lease->served_count = 0;
        lease->safe_ns = UINT64_MAX;
        lease->established_ns = myco_now_ns(lease->env);
        MYCO_MAP_EACH (uint64_t, granted, &lease->granted) *granted = 0;
    }
    return true;
}

static bool has_answered(const struct myco_lease *lease, uint64_t voter)
{
    for (uint32_t i = 0; i < lease->answered_count; i++)
        if (lease->answered[i] == voter) return true;
    return false;
}

/* Gives the voters: this node first, then who answered the last round, then the others. */
static size_t voters_in_order(struct myco_lease *lease, uint64_t *voters, size_t max)
{
    struct myco_log_server servers[SERVERS_MAX];
    size_t count = myco_rlog_servers(lease->log, servers, SERVERS_MAX), used = 0;
    if (count > SERVERS_MAX) count = SERVERS_MAX;
    for (int rank = 0; rank < 3; rank++) {
        for (size_t i = 0; i < count && used < max; i++) {
            uint64_t id = servers[i].id;
            int place = id == lease->self ? 0 : has_answered(lease, id) ? 1 : 2;
            if (servers[i].role == MYCO_ROLE_VOTER && place == rank) voters[used++] = id;
        }
    }
    return used;
}

static void ask_voters(struct myco_lease *lease, const uint64_t *voters, size_t count)
{
    uint64_t round =
        lease->round; /* with this node's own answer it may be over, and another begin */
    for (size_t i = 0; i < count && lease->in_round && lease->round == round; i++)
        send(lease, voters[i], ROUND, lease->term, round, 0);
}

/* The first round of a reign asks all: nobody is known to answer. */
static void begin_round(struct myco_lease *lease)
{
    uint64_t voters[SERVERS_MAX] = {0};
    size_t count = voters_in_order(lease, voters, SERVERS_MAX), ask = count;
    myco_timer_stop(&lease->gather);
    if (lease->answered_count > count / 2) ask = count / 2 + 1;
    memcpy(lease->served + lease->served_count, lease->waiting,
        lease->waiting_count * sizeof *lease->waiting);
    lease->served_count += lease->waiting_count;
    lease->waiting_count = 0;
    lease->in_round = true;
    lease->round++;
    lease->round_ns = myco_now_ns(lease->env);
    lease->answered_count = 0;
    lease->youngest_ms = UINT64_MAX;
    if (ask < count) myco_timer_start(&lease->widen, lease->lease_ns / WIDEN / 1000000 + 1, 0);
    ask_voters(lease, voters, ask);
}

/* Asks those who did not answer yet, whoever was asked before: an answer counts once. */
static void widen(void *data)
{
    struct myco_lease *lease = data;
    uint64_t voters[SERVERS_MAX], silent[SERVERS_MAX];
    if (!leading(lease) || !lease->in_round) return;
    size_t count = voters_in_order(lease, voters, SERVERS_MAX), left = 0;
    for (size_t i = 0; i < count; i++)
        if (!has_answered(lease, voters[i])) silent[left++] = voters[i];
    ask_voters(lease, silent, left);
}

static void grant(struct myco_lease *lease, const struct renewal *renewal)
{
    uint64_t *granted = myco_map_get(&lease->granted, renewal->node);
    if (!granted) {
        granted = myco_alloc(sizeof *granted);
        myco_map_put(&lease->granted, renewal->node, granted);
    }
    if (renewal->at_ns > *granted) *granted = renewal->at_ns;
    send(lease, renewal->node, GRANT, renewal->serial, myco_rlog_last_index(lease->log), 0);
}

/* Its lease has more than half of its time left: granted by the round before the last, say. */
static bool has_time(struct myco_lease *lease, uint64_t node, uint64_t now)
{
    const uint64_t *granted = myco_map_get(&lease->granted, node);
    return granted && *granted && now < *granted + lease->lease_ns / 2;
}

/* At once when one that waits has little time left, or none; else a while after the last one. */
static void next_round(struct myco_lease *lease)
{
    uint64_t now = myco_now_ns(lease->env), at = lease->round_ns + lease->lease_ns / GATHER;
    bool wait = now < at && lease->safe_ns != UINT64_MAX;
    for (uint32_t i = 0; i < lease->waiting_count && wait; i++)
        wait = has_time(lease, lease->waiting[i].node, now);
    if (wait)
        myco_timer_start_at(&lease->gather, at);
    else
        begin_round(lease);
}

static void gathered(void *data)
{
    struct myco_lease *lease = data;
    if (leading(lease) && !lease->in_round && lease->waiting_count) begin_round(lease);
}

static void end_round(struct myco_lease *lease)
{
    uint64_t now = myco_now_ns(lease->env);
    lease->in_round = false;
    myco_timer_stop(&lease->widen);
    if (lease->safe_ns == UINT64_MAX) {
        uint64_t age = lease->youngest_ms * 1000000, wait = with_drift(lease->lease_ns);
        age -= age / 50;
        lease->safe_ns = now + (age < wait ? wait - age : 0);
    }
    uint32_t count = lease->served_count;
    lease->served_count = 0;
    for (uint32_t i = 0; i < count; i++) grant(lease, &lease->served[i]);
    if (lease->waiting_count && !lease->in_round) next_round(lease);
}

static void take_answer(
    struct myco_lease *lease, uint64_t from, uint64_t term, uint64_t round, uint64_t age_ms)
{
    if (!leading(lease) || term != lease->term || !lease->in_round || round != lease->round) return;
    if (myco_rlog_role(lease->log, from) != MYCO_ROLE_VOTER) return;
    if (has_answered(lease, from)) return;
    if (lease->answered_count < 16) lease->answered[lease->answered_count++] = from;
    if (age_ms < lease->youngest_ms) lease->youngest_ms = age_ms;
    struct myco_log_server servers[64];
    size_t count = myco_rlog_servers(lease->log, servers, 64), voters = 0;
    for (size_t i = 0; i < count; i++) voters += servers[i].role == MYCO_ROLE_VOTER;
    if (lease->answered_count > voters / 2) end_round(lease);
}

static void take_renewal(struct myco_lease *lease, uint64_t from, uint64_t serial)
{
    if (!leading(lease) || !myco_rlog_is_established(lease->log)) return;
    uint64_t now = myco_now_ns(lease->env);
    for (uint32_t i = 0; i < lease->waiting_count; i++) {
        if (lease->waiting[i].node != from) continue;
        lease->waiting[i].serial = serial;
        lease->waiting[i].at_ns = now;
        return;
    }
    if (lease->waiting_count + lease->served_count >= WAITING_MAX) return; /* it asks again */
    lease->waiting[lease->waiting_count++] = (struct renewal){from, serial, now};
    if (!lease->in_round) next_round(lease);
}

bool myco_lease_over(struct myco_lease *lease, uint64_t node)
{
    if (!leading(lease) || lease->safe_ns == UINT64_MAX) return false;
    uint64_t now = myco_now_ns(lease->env);
    const uint64_t *granted = myco_map_get(&lease->granted, node);
    return now > lease->safe_ns &&
           (!granted || !*granted || now > *granted + with_drift(lease->lease_ns));
}

uint64_t myco_lease_silent_ms(struct myco_lease *lease, uint64_t node)
{
    if (!leading(lease)) return 0;
    const uint64_t *granted = myco_map_get(&lease->granted, node);
    uint64_t since = granted && *granted ? *granted : lease->established_ns;
    return (myco_now_ns(lease->env) - since) / 1000000;
}

/* ── voter ── */

static void answer_round(struct myco_lease *lease, uint64_t from, uint64_t term, uint64_t round)
{
    if (!lease->log || term != myco_rlog_term(lease->log)) return;
    uint64_t now = myco_now_ns(lease->env);
    if (term != lease->answered_term) {
        lease->other_ns = lease->answered_ns;
        lease->answered_term = term;
    }
    lease->answered_ns = now;
    send(lease, from, ROUND_OK, term, round, (now - lease->other_ns) / 1000000);
}

/* ── holder ── */

static void extend(struct myco_lease *lease, uint64_t deadline)
{
    if (deadline <= lease->deadline_ns) return;
    __atomic_store_n(&lease->deadline_ns, deadline, __ATOMIC_RELEASE);
    myco_timer_start_at(&lease->end, deadline);
    bool was = lease->valid;
    lease->valid = myco_now_ns(lease->env) < deadline;
    if (lease->valid && !was) lease->events.gained(lease->events.data);
}

/* While a lease is valid nothing can have been taken; after a gap, what was must be known first. */
static void take_grant(struct myco_lease *lease, uint64_t serial, uint64_t index)
{
    if (serial > lease->serial || serial + 8 <= lease->serial || !lease->holding) return;
    uint64_t deadline = lease->sent_ns[serial % 8] + lease->lease_ns;
    if (myco_lease_valid(lease) || myco_rlog_applied_index(lease->log) >= index) {
        extend(lease, deadline);
        return;
    }
    lease->waiting_deadline_ns = deadline;
    lease->waiting_index = index;
}

void myco_lease_applied(struct myco_lease *lease)
{
    if (!lease->waiting_deadline_ns || myco_rlog_applied_index(lease->log) < lease->waiting_index)
        return;
    uint64_t deadline = lease->waiting_deadline_ns;
    lease->waiting_deadline_ns = 0;
    if (lease->holding) extend(lease, deadline);
}

static void renew(struct myco_lease *lease)
{
    uint64_t leader = myco_rlog_leader(lease->log);
    if (!leader) return;
    lease->serial++;
    lease->sent_ns[lease->serial % 8] = myco_now_ns(lease->env);
    send(lease, leader, RENEW, lease->serial, 0, 0);
}

/* This process did not run when the lease ended; a grant that extends it may lie in the socket,
 * which is read after the timers. It is waited for, once and for a moment: until then the lease is
 * not valid, and nothing is served. */
static bool was_paused(struct myco_lease *lease, uint64_t now)
{
    bool late = now - lease->deadline_ns > PAUSE_NS;
    lease->graced = late && !lease->graced;
    if (lease->graced) myco_timer_start_at(&lease->end, now + GRACE_NS);
    return lease->graced;
}

/* Six times in a lease: is it over; every other time: renew (or more often while there is none). */
static void tick(void *data)
{
    struct myco_lease *lease = data;
    uint64_t now = myco_now_ns(lease->env);
    if (lease->valid && now >= lease->deadline_ns && was_paused(lease, now)) return;
    if (lease->valid && now >= lease->deadline_ns) {
        lease->valid = false;
        if (lease->holding) {
            MYCO_METRIC_ADD(lease->env->metrics, LEASE_LOST, 1);
            lease->events.lost(lease->events.data);
        }
    }
    myco_lease_applied(lease);
    uint64_t last = lease->sent_ns[lease->serial % 8];
    if (lease->holding && (!lease->valid || now - last >= lease->lease_ns / 4)) renew(lease);
    /* A round that lost its messages, or the first one, which tells when older grants are over. */
    if (leading(lease) && myco_rlog_is_established(lease->log)) {
        bool stuck = lease->in_round && now - lease->round_ns > lease->lease_ns / 3;
        if (stuck || (!lease->in_round && lease->safe_ns == UINT64_MAX)) begin_round(lease);
    }
}

uint64_t myco_lease_deadline_ns(const struct myco_lease *lease)
{
    return __atomic_load_n(&lease->deadline_ns, __ATOMIC_ACQUIRE);
}

bool myco_lease_valid(struct myco_lease *lease)
{
    return lease->valid && myco_now_ns(lease->env) < lease->deadline_ns;
}

void myco_lease_hold(struct myco_lease *lease, bool holding)
{
    if (holding == lease->holding) return;
    lease->holding = holding;
    if (holding && lease->log) tick(lease);
}

void myco_lease_start(struct myco_lease *lease, struct myco_rlog *log, uint32_t lease_ms)
{
    lease->log = log;
    lease->lease_ns = (uint64_t)lease_ms * 1000000;
    uint64_t every = lease_ms / 6;
    myco_timer_start(&lease->timer, every ? every : 1, every ? every : 1);
}

void myco_lease_receive(struct myco_lease *lease, uint64_t from, struct myco_slice payload)
{
    struct myco_reader in = myco_reader(payload.data, payload.size);
    uint8_t what = myco_read_u8(&in);
    uint64_t a = myco_read_u64(&in);
    uint64_t b = myco_read_u64(&in), c = myco_read_u64(&in);
    if (!myco_read_done(&in) || !lease->log) return;
    if (what == RENEW)
        take_renewal(lease, from, a);
    else if (what == ROUND)
        answer_round(lease, from, a, b);
    else if (what == ROUND_OK)
        take_answer(lease, from, a, b, c);
    else if (what == GRANT)
        take_grant(lease, a, b);
}
