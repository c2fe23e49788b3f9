/* Leases of nodes, with a log and clocks that the test sets by hand: a lease counts from when it
 * was asked for, needs a majority that answers afterwards, begins only with what the leader knew;
 * and a new leader waits until every lease that an older one may have granted is over, also when
 * its own clock is fast and the holder's is slow. It would catch a lease that outlives its promise.
 */
#include "base/metric.h"
#include "consensus/lease.h"
#include "tap.h"

#define MS       1000000ull
#define LEASE_MS 300
#define NODES    4 /* 1, 2 and 3 vote; 4 only holds */
#define QUEUE    256

struct myco_rlog {
    uint64_t self, leader, term, applied, last;
    bool leads, established;
};

struct node {
    struct myco_env env;
    struct myco_metrics metrics;
    struct myco_rlog log;
    struct myco_lease *lease;
    uint64_t wake_ns, id;
    int64_t drift_ppm;
    unsigned gained, lost;
};

struct message {
    uint64_t to, from, at_ns;
    struct myco_buf payload;
};

static struct node nodes[NODES + 1];
static struct message queue[QUEUE];
static size_t queued;
static uint64_t now, delay_ns;
static bool cut[NODES + 1][NODES + 1];

/* ── the log that the lease asks ── */

bool myco_rlog_is_leader(const struct myco_rlog *log)
{
    return log->leads;
}
bool myco_rlog_is_established(const struct myco_rlog *log)
{
    return log->leads && log->established;
}
uint64_t myco_rlog_term(const struct myco_rlog *log)
{
    return log->term;
}
uint64_t myco_rlog_leader(const struct myco_rlog *log)
{
    return log->leader;
}
uint64_t myco_rlog_applied_index(const struct myco_rlog *log)
{
    return log->applied;
}
uint64_t myco_rlog_last_index(const struct myco_rlog *log)
{
    return log->last;
}
enum myco_role myco_rlog_role(const struct myco_rlog *log, uint64_t id)
{
    (void)log;
    return id <= 3 ? MYCO_ROLE_VOTER : MYCO_ROLE_NONE;
}
size_t myco_rlog_servers(const struct myco_rlog *log, struct myco_log_server *servers, size_t max)
{
    (void)log, (void)max;
    for (uint64_t id = 1; id <= 3; id++)
        servers[id - 1] = (struct myco_log_server){id, MYCO_ROLE_VOTER};
    return 3;
}

/* ── the world ── */

static uint64_t now_ns(struct myco_env *env)
{
    const struct node *node = (const struct node *)env;
    return (uint64_t)((int64_t)now + (int64_t)(now / 1000000) * node->drift_ppm) + node->id * MS;
}
static uint64_t wall_ms(struct myco_env *env)
{
    return now_ns(env) / MS;
}
static void fill_random(struct myco_env *env, void *bytes, size_t size)
{
    (void)env;
    memset(bytes, 7, size);
}
static void wake_at(struct myco_env *env, uint64_t ns)
{
    ((struct node *)env)->wake_ns = ns;
}
static int datagram_send(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    (void)env, (void)to, (void)bytes;
    return 0;
}
static const struct myco_env_ops ops = {now_ns, wall_ms, fill_random, wake_at, datagram_send};

static void send(uint64_t to, struct myco_buf *payload, void *data)
{
    const struct node *node = data;
    if (cut[node->id][to] || queued == QUEUE) {
        myco_buf_free(payload);
        return;
    }
    queue[queued++] = (struct message){to, node->id, now + delay_ns, *payload};
}
static void gained(void *data)
{
    ((struct node *)data)->gained++;
}
static void lost(void *data)
{
    ((struct node *)data)->lost++;
}

static void start(uint64_t id)
{
    struct node *node = &nodes[id];
    int64_t drift = node->drift_ppm;
    memset(node, 0, sizeof *node);
    node->id = id;
    node->drift_ppm = drift;
    node->env.metrics = &node->metrics;
    myco__env_init(&node->env, &ops);
    node->env.metrics = &node->metrics;
    node->log = (struct myco_rlog){.self = id};
    node->lease =
        myco_lease_new(&node->env, id, &(struct myco_lease_events){send, lost, gained, node});
    myco_lease_start(node->lease, &node->log, LEASE_MS);
}

static void stop(uint64_t id)
{
    myco_lease_free(nodes[id].lease);
    myco__env_close(&nodes[id].env);
}

static void begin(void)
{
    now = 10000 * MS;
    delay_ns = MS;
    memset(cut, 0, sizeof cut);
    for (uint64_t id = 1; id <= NODES; id++) start(id);
}

static void end(void)
{
    for (uint64_t id = 1; id <= NODES; id++) stop(id), nodes[id].drift_ppm = 0;
    while (queued) myco_buf_free(&queue[--queued].payload);
}

static void lead(uint64_t id, uint64_t term)
{
    for (uint64_t n = 1; n <= NODES; n++) {
        nodes[n].log.leads = nodes[n].log.established = n == id;
        nodes[n].log.leader = id;
        nodes[n].log.term = term;
    }
}

static void deliver(void)
{
    for (size_t i = 0; i < queued;) {
        struct message message = queue[i];
        if (message.at_ns > now) {
            i++;
            continue;
        }
        memmove(queue + i, queue + i + 1, (--queued - i) * sizeof *queue);
        myco_lease_receive(
            nodes[message.to].lease, message.from, myco_buf_as_slice(&message.payload));
        myco_buf_free(&message.payload);
    }
}

static void run(uint64_t ms)
{
    for (uint64_t until = now + ms * MS; now < until; now += MS / 4) {
        deliver();
        for (uint64_t id = 1; id <= NODES; id++)
            if (now_ns(&nodes[id].env) >= nodes[id].wake_ns) myco__env_wake(&nodes[id].env);
    }
}

static bool holds(uint64_t id)
{
    return myco_lease_valid(nodes[id].lease);
}

/* ── tests ── */

static void test_holding(void)
{
    begin();
    lead(1, 5);
    run(100);
    ok(!holds(4), "who holds nothing has no lease");
    myco_lease_hold(nodes[4].lease, true);
    run(50);
    ok(holds(4) && nodes[4].gained == 1, "who holds something renews, and is told");
    run(2000);
    ok(holds(4) && nodes[4].lost == 0, "and keeps it");
    ok(!myco_lease_over(nodes[1].lease, 4), "its lease is not over");
    cut[4][1] = true;
    run(LEASE_MS + 5);
    ok(!holds(4) && nodes[4].lost == 1, "who does not reach the leader loses it in time");
    run(20);
    ok(myco_lease_over(nodes[1].lease, 4), "and the leader knows");
    end();
}

static void test_counts_from_the_request(void)
{
    begin();
    lead(1, 5);
    run(100);
    delay_ns = 40 * MS;
    uint64_t asked = now_ns(&nodes[4].env);
    myco_lease_hold(nodes[4].lease, true); /* sends at once */
    for (unsigned i = 0; i < 400 && !holds(4); i++) run(1);
    ok(holds(4), "granted after %u ms", (unsigned)((now_ns(&nodes[4].env) - asked) / MS));
    uint64_t end_ns = myco_lease_deadline_ns(nodes[4].lease);
    ok(end_ns <= asked + (uint64_t)LEASE_MS * MS + 60 * MS, "it counts from the request");
    ok(now_ns(&nodes[4].env) - asked >= 160 * MS, "after a round that began later");
    end();
}

static void test_majority(void)
{
    begin();
    lead(1, 5);
    cut[1][2] = cut[1][3] = true;
    myco_lease_hold(nodes[4].lease, true);
    run(1000);
    ok(!holds(4), "a leader without a majority grants nothing");
    ok(!myco_lease_over(nodes[1].lease, 4), "nor takes anything");
    cut[1][2] = false;
    run(400);
    ok(holds(4), "two of three are enough");
    nodes[2].log.term = nodes[3].log.term = 6; /* they follow another now */
    run(LEASE_MS + 20);
    ok(!holds(4), "voters of a newer term do not answer the old leader");
    end();
}

static void test_gap(void)
{
    begin();
    lead(1, 5);
    nodes[1].log.last = 10;
    myco_lease_hold(nodes[4].lease, true);
    run(100);
    ok(!holds(4), "a lease does not begin before what the leader knew is applied");
    nodes[4].log.applied = 10;
    myco_lease_applied(nodes[4].lease);
    ok(holds(4), "then it does");
    nodes[1].log.last = 20;
    run(400);
    ok(holds(4), "while it is valid nothing was taken: it goes on");
    cut[4][1] = true;
    run(LEASE_MS + 10);
    cut[4][1] = false;
    run(200);
    ok(!holds(4), "after a gap it waits again");
    nodes[4].log.applied = 20;
    run(100);
    ok(holds(4), "until it knows everything");
    end();
}

/* The moment at which leader 2 thinks that the lease of 4 is over must not be before 4 thinks
 * so. */
static void take_over(int64_t holder_ppm, int64_t leader_ppm, uint64_t silent_ms, const char *what)
{
    nodes[4].drift_ppm = holder_ppm;
    nodes[2].drift_ppm = nodes[3].drift_ppm = leader_ppm;
    begin();
    lead(1, 5);
    myco_lease_hold(nodes[4].lease, true);
    run(500);
    ok(holds(4), "%s: the first leader granted", what);
    for (uint64_t n = 2; n <= 4; n++) cut[1][n] = cut[n][1] = true;
    for (uint64_t n = 2; n <= 3; n++) cut[4][n] = cut[n][4] = true;
    run(silent_ms);
    lead(2, 6);
    bool both = false;
    uint64_t began = now;
    for (unsigned i = 0; i < 4 * 700 && !myco_lease_over(nodes[2].lease, 4); i++) {
        run(1);
        both |= holds(4) && myco_lease_over(nodes[2].lease, 4);
    }
    ok(!both && !holds(4), "%s: the new leader waits until it is over", what);
    ok(now - began <= (LEASE_MS + 40) * MS, "%s: and not longer (%u ms)", what,
        (unsigned)((now - began) / MS));
    end();
}

static void test_restarted_voter(void)
{
    begin();
    lead(1, 5);
    myco_lease_hold(nodes[4].lease, true);
    run(500);
    for (uint64_t n = 2; n <= 4; n++) cut[1][n] = cut[n][1] = true;
    for (uint64_t n = 2; n <= 3; n++) {
        cut[4][n] = cut[n][4] = true;
        stop(n);
        start(n); /* forgets what it answered */
    }
    lead(2, 6);
    run(30);
    ok(holds(4) && !myco_lease_over(nodes[2].lease, 4), "a voter that started counts as one that "
                                                        "has just answered");
    run(LEASE_MS + 10);
    ok(!holds(4) && myco_lease_over(nodes[2].lease, 4), "then it is over");
    end();
}

static void test_garbage(void)
{
    begin();
    lead(1, 5);
    myco_lease_hold(nodes[4].lease, true);
    run(300);
    static const uint8_t grant_of_the_future[25] = {4, 0xff, 0xff};
    uint64_t deadline = myco_lease_deadline_ns(nodes[4].lease);
    myco_lease_receive(nodes[4].lease, 1, myco_bytes(grant_of_the_future, 25));
    myco_lease_receive(nodes[4].lease, 1, myco_bytes(grant_of_the_future, 24));
    myco_lease_receive(nodes[4].lease, 1, myco_bytes("", 0));
    ok(myco_lease_deadline_ns(nodes[4].lease) == deadline,
        "grants that were not asked for are void");
    end();
}

int main(void)
{
    test_holding();
    test_counts_from_the_request();
    test_majority();
    test_gap();
    take_over(0, 0, 0, "equal clocks");
    take_over(-10000, 10000, 0, "slow holder, fast leader");
    take_over(10000, -10000, 0, "fast holder, slow leader");
    take_over(0, 0, 200, "after a silence");
    take_over(-10000, 10000, 200, "after a silence, drifting");
    test_restarted_voter();
    test_garbage();
    return plan_done();
}
