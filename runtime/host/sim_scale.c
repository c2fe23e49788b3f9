/* What many nodes cost: a cluster of N forms, idles, and is started again all at once.
 *
 * Nothing fails here and no client works: it is counted how many connections each node has, what it
 * sends and receives while nothing happens, and how long it takes until all N are members that know
 * each other and the leader; at the start, and after all processes were killed at one instant. The
 * built-in rules decide instead of the Lua policies: 2,000 Lua states would measure Lua. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "host/sim_world.h"

#define LOOK_MS       20     /* between looks at whether all are there */
#define FORM_MS_MAX   120000 /* then it did not form */
#define SETTLE_MS     20000  /* until what is left of the news has been told */
#define SEEDS         3      /* addresses that each node is given to join */
#define FOUNDERS      5      /* started with --expect */
#define GOAL_BYTES_PS 10000  /* sent by the busiest node, idle */
#define GOAL_BACK_MS  10000  /* after all were killed */
#define PING_MS       500    /* net.h: of a connection on which nothing else is sent */
#define PING_BYTES    16
#define GOAL_FROM     256 /* the goal for bytes is for clusters of this size and more */

struct scale_node {
    struct scale *scale;
    unsigned host;
    struct myco_core *core;
    struct myco_identity identity;
    bool ready;
};

struct scale {
    const struct sim_options *options;
    struct myco_sim *sim;
    struct scale_node *nodes;
    struct sim_scale_policies *policies; /* NULL: a full mesh */
    unsigned count, started, ready_count;
    char trouble[512];
};

struct spread {
    double min, median, max;
};

struct idle {
    struct spread sent_ps, received_ps, messages_ps; /* of each node */
    double gossip_ps, transport_ps;                  /* median, sent */
    double leader_sent_ps, leader_received_ps;
    struct sim_busy busiest;
};

struct times {
    uint64_t ready_ms;   /* all are members, and know a leader */
    uint64_t known_ms;   /* … and each knows all others */
    uint64_t reached_ms; /* … and reaches all, directly or over hubs */
};

/* ── nodes ── */

static void on_ready(void *data)
{
    struct scale_node *node = data;
    node->scale->ready_count += !node->ready;
    node->ready = true;
}

static void on_failed(int status, const char *message, void *data)
{
    struct scale_node *node = data;
    struct scale *scale = node->scale;
    if (!scale->trouble[0])
        snprintf(scale->trouble, sizeof scale->trouble, "node %u failed: %s (%s)", node->host,
            message, myco_errname(status));
}

static unsigned founders_of(const struct scale *scale)
{
    return scale->count < FOUNDERS ? scale->count : FOUNDERS;
}

static int open_node(struct scale_node *node, struct myco_err *err)
{
    struct scale *scale = node->scale;
    struct myco_env *env = myco_sim_env(scale->sim, node->host);
    struct myco_disk *disk = myco_sim_disk(scale->sim, node->host);
    char name[20];
    snprintf(name, sizeof name, "n%u", node->host + 1);
    int rc = myco_identity_load(disk, env, "scale", &node->identity, err);
    if (rc) return rc;
    /* Of many fresh nodes that all may found a cluster, two groups that do not know each other yet
     * might: so some found it, and all others join only. */
    unsigned founders = founders_of(scale);
    struct myco_core_options options = {.env = env,
        .disk = disk,
        .name = name,
        .cluster = "scale",
        .expect = node->host < FOUNDERS ? founders : 0};
    if (scale->policies) options.policy = sim_scale_policies_port(scale->policies);
    struct myco_core_events events = {.on_ready = on_ready, .on_failed = on_failed, .data = node};
    return myco_core_open(&options, &node->identity, &events, &node->core, err);
}

static void node_start(struct myco_sim *sim, unsigned host, void *data)
{
    struct scale *scale = data;
    struct scale_node *node = &scale->nodes[host];
    struct myco_err err = {0};
    node->ready = false;
    int rc = open_node(node, &err);
    if (rc) {
        node->core = NULL;
        on_failed(rc, err.message, node);
        return;
    }
    struct myco_transport_events transport = myco_core_transport_events(node->core);
    myco_sim_attach(sim, host, node->identity.id, node->identity.generation,
        myco_core_features(node->core), &transport);
    struct myco_addr addr = myco_sim_addr(host);
    myco_core_start(node->core, myco_sim_transport(sim, host), &addr);
    for (unsigned i = 0; i < SEEDS; i++) {
        uint64_t at = myco_sim_random_below(myco_sim_random(sim), scale->count);
        struct myco_addr seed = myco_sim_addr(i == 0 ? 0 : (unsigned)at);
        myco_core_join(node->core, &seed);
    }
}

static void node_crash(struct myco_sim *sim, unsigned host, void *data)
{
    struct scale *scale = data;
    struct scale_node *node = &scale->nodes[host];
    struct myco_core *core = node->core;
    scale->ready_count -= node->ready;
    node->ready = false;
    node->core = NULL;
    myco_core_free(core);
    myco_sim_bury(sim, host);
}

/* ── is everybody there? ── */

static bool is_member(const struct scale_node *node)
{
    const struct myco_core *core = node->core;
    if (!core || !node->ready || !myco_commands_leader(core->commands)) return false;
    const struct myco_member_record *record = myco_state_member(core->state, node->identity.id);
    return record && !record->left && record->generation == node->identity.generation;
}

static bool knows_all(const struct scale_node *node)
{
    return myco_swim_count(node->core->swim, MYCO_MEMBER_ALIVE) == node->scale->started;
}

static bool all(const struct scale *scale, bool (*is_so)(const struct scale_node *node))
{
    if (scale->ready_count < scale->started) return false;
    for (unsigned i = 0; i < scale->started; i++)
        if (!is_so(&scale->nodes[i])) return false;
    return true;
}

/* Looked at every LOOK_MS, and not after each event: it takes long. */
static bool await(struct scale *scale, bool (*is_so)(const struct scale_node *node), uint64_t from)
{
    while (!scale->trouble[0] && !all(scale, is_so)) {
        if (myco_sim_now_ms(scale->sim) - from > FORM_MS_MAX) return false;
        myco_sim_run(scale->sim, LOOK_MS);
    }
    return !scale->trouble[0];
}

static bool reaches_all(const struct scale_node *node)
{
    return sim_topology_reaches(node->core, node->scale->started);
}

static bool start(struct scale *scale, unsigned count, struct times *times)
{
    uint64_t from = myco_sim_now_ms(scale->sim);
    bool placed = scale->policies != NULL && count == scale->count;
    scale->started = count;
    for (unsigned i = 0; i < count; i++)
        if (!myco_sim_up(scale->sim, i)) myco_sim_start(scale->sim, i);
    bool good = await(scale, is_member, from);
    times->ready_ms = myco_sim_now_ms(scale->sim) - from;
    good = good && await(scale, knows_all, from);
    times->known_ms = myco_sim_now_ms(scale->sim) - from;
    if (good && placed) good = await(scale, reaches_all, from);
    times->reached_ms = myco_sim_now_ms(scale->sim) - from;
    return good;
}

/* ── figures ── */

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static struct spread spread_of(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, by_size);
    return (struct spread){values[0], values[count / 2], values[count - 1]};
}

static struct spread connections(const struct scale *scale)
{
    double *values = myco_alloc(scale->count * sizeof *values);
    for (unsigned i = 0; i < scale->count; i++) values[i] = myco_sim_connections(scale->sim, i);
    struct spread spread = spread_of(values, scale->count);
    myco_free(values);
    return spread;
}

static unsigned leader_host(const struct scale *scale)
{
    for (unsigned i = 0; i < scale->count; i++)
        if (scale->nodes[i].core && myco_rlog_is_established(scale->nodes[i].core->log)) return i;
    return 0;
}

enum figure { SENT, RECEIVED, MESSAGES, GOSSIP, TRANSPORT, FIGURES };

static double figure_of(const struct myco_sim_traffic *traffic, enum figure what)
{
    switch (what) {
    case SENT: return (double)(traffic->datagram_bytes_out + traffic->message_bytes_out);
    case RECEIVED: return (double)(traffic->datagram_bytes_in + traffic->message_bytes_in);
    case MESSAGES: return (double)(traffic->datagrams_out + traffic->messages_out);
    case GOSSIP: return (double)traffic->datagram_bytes_out;
    default: return (double)traffic->message_bytes_out;
    }
}

/* The simulator's connections need none: as many as net/ sends when nothing else goes. */
static double pings_of(const struct scale *scale, unsigned host)
{
    return PING_BYTES * myco_sim_connections(scale->sim, host) * 1000.0 / PING_MS;
}

static double sent_since(struct scale *scale, const struct myco_sim_traffic *before, unsigned host)
{
    struct myco_sim_traffic now;
    myco_sim_traffic(scale->sim, host, &now);
    return figure_of(&now, SENT) - figure_of(&before[host], SENT);
}

static void find_busiest(
    struct scale *scale, const struct myco_sim_traffic *before, struct sim_busy *busy)
{
    double seconds = scale->options->seconds;
    busy->host = 0;
    for (unsigned i = 1; i < scale->count; i++)
        if (sent_since(scale, before, i) + seconds * pings_of(scale, i) >
            sent_since(scale, before, busy->host) + seconds * pings_of(scale, busy->host))
            busy->host = i;
    const struct myco_sim_traffic *was = &before[busy->host];
    busy->pings_ps = pings_of(scale, busy->host);
    struct myco_sim_traffic now;
    myco_sim_traffic(scale->sim, busy->host, &now);
    busy->datagrams_ps = (double)(now.datagram_bytes_out - was->datagram_bytes_out) / seconds;
    for (unsigned type = 0; type < 256; type++)
        busy->type_ps[type] =
            (double)(now.type_bytes_out[type] - was->type_bytes_out[type]) / seconds;
}

static void measure_idle(struct scale *scale, struct idle *idle)
{
    unsigned count = scale->count, leader = leader_host(scale);
    double seconds = scale->options->seconds;
    struct myco_sim_traffic *before = myco_alloc(count * sizeof *before);
    double *values[FIGURES];
    struct spread spreads[FIGURES];
    for (unsigned i = 0; i < count; i++) myco_sim_traffic(scale->sim, i, &before[i]);
    myco_sim_run(scale->sim, scale->options->seconds * 1000);
    for (int f = 0; f < FIGURES; f++) {
        values[f] = myco_alloc(count * sizeof **values);
        for (unsigned i = 0; i < count; i++) {
            struct myco_sim_traffic now;
            myco_sim_traffic(scale->sim, i, &now);
            values[f][i] =
                (figure_of(&now, (enum figure)f) - figure_of(&before[i], (enum figure)f)) / seconds;
        }
        for (unsigned i = 0; f == SENT && i < count; i++) values[f][i] += pings_of(scale, i);
        if (f == SENT) idle->leader_sent_ps = values[f][leader];
        if (f == RECEIVED) idle->leader_received_ps = values[f][leader];
        spreads[f] = spread_of(values[f], count);
        myco_free(values[f]);
    }
    find_busiest(scale, before, &idle->busiest);
    idle->sent_ps = spreads[SENT];
    idle->received_ps = spreads[RECEIVED];
    idle->messages_ps = spreads[MESSAGES];
    idle->gossip_ps = spreads[GOSSIP].median;
    idle->transport_ps = spreads[TRANSPORT].median;
    myco_free(before);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ── telling ── */

static void print_spread(const char *what, const struct spread *spread)
{
    printf(
        "%-26s min %.0f, median %.0f, max %.0f\n", what, spread->min, spread->median, spread->max);
}

static void print_depth(const struct scale *scale)
{
    unsigned depths[64] = {0}, most = 0;
    for (unsigned i = 0; i < scale->count; i++) {
        struct myco_rlog_tail tail;
        myco_rlog_tail(scale->nodes[i].core->log, &tail);
        if (tail.distance < 64) depths[tail.distance]++;
        if (tail.followers > most) most = tail.followers;
    }
    printf("hops to the leader        ");
    for (unsigned d = 0; d < 64; d++)
        if (depths[d]) printf(" %u: %u", d, depths[d]);
    printf(", followers at most %u\n", most);
}

static const char *topology_of(const struct scale *scale)
{
    return scale->policies ? scale->options->topology : "mesh";
}

static void print_json(const struct scale *scale, const struct spread *links,
    const struct idle *idle, const struct times *formed, const struct times *back, bool good,
    double wall_s)
{
    printf("{\"nodes\":%u,\"topology\":\"%s\",\"seed\":%llu,\"formed_ms\":%llu,\"known_ms\":%llu,",
        scale->count, topology_of(scale), (unsigned long long)scale->options->seed,
        (unsigned long long)formed->ready_ms, (unsigned long long)formed->known_ms);
    printf("\"connections\":[%.0f,%.0f,%.0f],\"sent_ps\":[%.0f,%.0f],\"received_ps\":[%.0f,%.0f],",
        links->min, links->median, links->max, idle->sent_ps.median, idle->sent_ps.max,
        idle->received_ps.median, idle->received_ps.max);
    printf("\"gossip_ps\":%.0f,\"transport_ps\":%.0f,\"messages_ps\":%.1f,\"leader_sent_ps\":%.0f,"
           "\"leader_received_ps\":%.0f,",
        idle->gossip_ps, idle->transport_ps, idle->messages_ps.median, idle->leader_sent_ps,
        idle->leader_received_ps);
    sim_scale_busy_json(&idle->busiest);
    printf("\"restart_ready_ms\":%llu,\"restart_known_ms\":%llu,\"wall_s\":%.1f,\"ok\":%s}\n",
        (unsigned long long)back->ready_ms, (unsigned long long)back->known_ms, wall_s,
        good ? "true" : "false");
}

static void print_text(const struct scale *scale, const struct spread *links,
    const struct idle *idle, const struct times *formed)
{
    printf("%u nodes, %s: formed after %llu ms, each knows all after %llu ms", scale->count,
        topology_of(scale), (unsigned long long)formed->ready_ms,
        (unsigned long long)formed->known_ms);
    if (scale->policies)
        printf(", reaches all after %llu ms", (unsigned long long)formed->reached_ms);
    putchar('\n');
    print_spread("connections of a node", links);
    print_spread("idle, bytes/s sent", &idle->sent_ps);
    print_spread("idle, bytes/s received", &idle->received_ps);
    print_spread("idle, messages/s sent", &idle->messages_ps);
    printf("%-26s gossip %.0f, transport %.0f\n", "of the median, sent", idle->gossip_ps,
        idle->transport_ps);
    printf("%-26s sent %.0f, received %.0f\n", "the leader, bytes/s", idle->leader_sent_ps,
        idle->leader_received_ps);
    sim_scale_busy_text(&idle->busiest);
    print_depth(scale);
    fflush(stdout);
}

/* What is missing, when it is. */
static void complain(const struct scale *scale)
{
    unsigned members = 0, knowing = 0;
    if (scale->trouble[0]) fprintf(stderr, "scale: %s\n", scale->trouble);
    for (unsigned i = 0; i < scale->count; i++) {
        bool member = is_member(&scale->nodes[i]);
        members += member;
        knowing += member && knows_all(&scale->nodes[i]);
    }
    if (knowing == scale->count) return;
    fprintf(stderr,
        "scale: after %llu ms, of %u nodes %u are ready, %u members that know a leader, and %u "
        "know all others\n",
        (unsigned long long)myco_sim_now_ms(scale->sim), scale->count, scale->ready_count, members,
        knowing);
}

/* ── the run ── */

static bool judge(const struct scale *scale, const struct idle *idle, const struct times *back)
{
    bool good = true;
    if (scale->count >= GOAL_FROM && idle->sent_ps.max > GOAL_BYTES_PS) {
        fprintf(stderr, "scale: the busiest idle node sends %.0f bytes/s: the goal is %d\n",
            idle->sent_ps.max, GOAL_BYTES_PS);
        good = false;
    }
    if (back->known_ms > GOAL_BACK_MS) {
        fprintf(stderr, "scale: all were back after %llu ms: the goal is %d\n",
            (unsigned long long)back->known_ms, GOAL_BACK_MS);
        good = false;
    }
    return good;
}

/* The founders, and what they agree on before the others come: so no full mesh is made first. */
static bool found(struct scale *scale)
{
    const struct sim_options *options = scale->options;
    struct myco_err err = {0};
    struct times times;
    if (!scale->policies) return true;
    if (!start(scale, founders_of(scale), &times)) return false;
    struct myco_core *leader = scale->nodes[leader_host(scale)].core;
    if (sim_topology_submit(leader, options->lua_path, options->topology, &err)) {
        snprintf(scale->trouble, sizeof scale->trouble, "%s", err.message);
        return false;
    }
    return await(scale, reaches_all, myco_sim_now_ms(scale->sim));
}

static bool run(struct scale *scale)
{
    struct times formed = {0}, back = {0};
    struct idle idle = {0};
    double from = now_s();
    bool good = found(scale) && start(scale, scale->count, &formed);
    if (!good) return false;
    myco_sim_run(scale->sim, SETTLE_MS);
    struct spread links = connections(scale);
    measure_idle(scale, &idle);
    print_text(scale, &links, &idle, &formed);
    for (unsigned i = 0; i < scale->count; i++) myco_sim_crash(scale->sim, i, MYCO_SIM_KILL);
    if (!start(scale, scale->count, &back)) return false;
    printf(
        "all killed and started    members and ready after %llu ms, each knows all after %llu ms",
        (unsigned long long)back.ready_ms, (unsigned long long)back.known_ms);
    if (scale->policies) printf(", reaches all after %llu ms", (unsigned long long)back.reached_ms);
    putchar('\n');
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double wall_s = now_s() - from;
    printf("%-26s %.1f s of real time, %llu events, %ld MiB\n", "the simulation", wall_s,
        (unsigned long long)myco_sim_events(scale->sim), usage.ru_maxrss / 1024);
    good = judge(scale, &idle, &back);
    print_json(scale, &links, &idle, &formed, &back, good, wall_s);
    return good;
}

int sim_scale(const struct sim_options *options)
{
    struct scale scale = {.options = options, .count = options->nodes};
    struct myco_sim_options sim;
    myco_sim_options_init(&sim, options->seed, options->nodes);
    sim.on_start = node_start;
    sim.on_crash = node_crash;
    sim.data = &scale;
    if (options->trace) {
        sim.trace_count = 1000000;
        sim.log_level = MYCO_LOG_INFO;
    }
    scale.sim = myco_sim_new(&sim);
    scale.nodes = myco_alloc(scale.count * sizeof *scale.nodes);
    for (unsigned i = 0; i < scale.count; i++)
        scale.nodes[i] = (struct scale_node){.scale = &scale, .host = i};
    struct myco_err err = {0};
    if (options->topology && sim_scale_policies_new(options->lua_path, &scale.policies, &err))
        snprintf(scale.trouble, sizeof scale.trouble, "%s", err.message);
    bool good = !scale.trouble[0] && run(&scale);
    complain(&scale);
    if (options->trace) myco_sim_trace_print(scale.sim, stderr);
    myco_sim_free(scale.sim);
    myco_free(scale.nodes);
    sim_scale_policies_free(scale.policies);
    return good ? 0 : 1;
}
