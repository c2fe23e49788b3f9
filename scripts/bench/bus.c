/* The event bus in one process, without a network.
 *
 *     bench_bus [ROUNDS]
 *
 * Matching: subjects of three tokens against N literal patterns and a few with wildcards. Messages
 * of 128 bytes: published and delivered here (a copy, a turn of the loop, the callbacks); published
 * to peers (a match, and one written payload each); received (read, matched, delivered). Prints the
 * median of the rounds, in nanoseconds for one and in millions a second. */
#include "bench.h"

#include "env/env.h"
#include "stream/bus.h"
#include "wire/message.h"

#define ROUNDS_MAX 99
#define OPS        (100 * 1000)
#define BATCH      100
#define SIZE       128

static void report(const char *what, double *each_ns, int rounds)
{
    double ns = median(each_ns, rounds);
    printf("%-44s %8.1f ns   %6.2f M/s\n", what, ns, 1000 / ns);
}

/* ── An environment that only runs what is deferred ─────────────────────────────────────────── */

struct bench {
    struct myco_env env; /* first */
    struct myco_metrics metrics;
    uint64_t random, delivered;
    struct myco_buf kept; /* the latest payload of a PUBLISH */
};

static uint64_t env_now_ns(struct myco_env *env)
{
    (void)env;
    return now_ns();
}

static void env_random(struct myco_env *env, void *bytes, size_t size)
{
    struct bench *bench = (struct bench *)env;
    bench->random = bench->random * 6364136223846793005u + 1442695040888963407u;
    memcpy(bytes, &bench->random, size < 8 ? size : 8);
}

static void env_wake_at(struct myco_env *env, uint64_t ns)
{
    (void)env, (void)ns;
}

static int env_send(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    (void)env, (void)to, (void)bytes;
    return 0;
}

static const struct myco_env_ops ops = {env_now_ns, env_now_ns, env_random, env_wake_at, env_send};

static int on_send(uint64_t node, uint8_t type, struct myco_buf *payload, void *data)
{
    struct bench *bench = data;
    (void)node;
    if (type != MYCO_MESSAGE_PUBLISH || bench->kept.size > 0) {
        myco_buf_free(payload);
    } else {
        myco_buf_move(&bench->kept, payload);
    }
    return 0;
}

static void on_msg(const struct myco_msg *msg, void *data)
{
    ((struct bench *)data)->delivered += msg->data.size > 0;
}

/* ── Matching ───────────────────────────────────────────────────────────────────────────────── */

static void count(void *value, void *data)
{
    (void)value;
    ++*(uint64_t *)data;
}

static void subject_make(char text[64], unsigned number)
{
    snprintf(text, 64, "orders.%u.created", number);
}

static void bench_match(unsigned patterns, int rounds)
{
    static char subjects[1024][64];
    struct myco_trie *trie = myco_trie_new();
    double each_ns[ROUNDS_MAX] = {0};
    char text[64], what[64];
    for (unsigned i = 0; i < patterns; i++) {
        subject_make(text, i);
        myco_trie_add(trie, myco_str(text), trie);
    }
    myco_trie_add(trie, myco_str("orders.*.deleted"), trie);
    myco_trie_add(trie, myco_str("invoices.>"), trie);
    for (unsigned i = 0; i < 1024; i++) subject_make(subjects[i], i * 7919u % patterns);
    uint64_t found = 0;
    for (int round = 0; round < rounds; round++) {
        uint64_t from = now_ns();
        for (unsigned i = 0; i < OPS; i++) {
            myco_trie_match(trie, myco_str(subjects[i % 1024]), count, &found);
        }
        each_ns[round] = (double)(now_ns() - from) / OPS;
    }
    if (found != (uint64_t)OPS * (unsigned)rounds) abort();
    snprintf(what, sizeof(what), "match, %u patterns", patterns);
    report(what, each_ns, rounds);
    myco_trie_free(trie);
}

/* ── Messages ───────────────────────────────────────────────────────────────────────────────── */

static struct myco_bus *bus_open(struct bench *bench, unsigned subs)
{
    struct myco_bus_events events = {on_send, bench};
    struct myco_bus *bus = myco_bus_new(&bench->env, 1, &events);
    struct myco_bus_sub *sub;
    for (unsigned i = 0; i < subs; i++) {
        if (myco_bus_subscribe(
                bus, myco_str("orders.*.created"), myco_str(NULL), on_msg, bench, &sub, NULL)) {
            abort();
        }
    }
    return bus;
}

static void add_peers(struct myco_bus *bus, unsigned peers)
{
    struct myco_buf interest = {0};
    myco_buf_u8(&interest, 0);
    myco_buf_u64(&interest, 1);
    myco_buf_u8(&interest, 1);
    myco_buf_u8(&interest, 16);
    myco_buf_bytes(&interest, "orders.*.created", 16);
    myco_buf_u8(&interest, 0);
    for (unsigned i = 0; i < peers; i++) {
        myco_bus_peer_up(bus, 2 + i);
        myco_bus_receive(bus, 2 + i, MYCO_MESSAGE_INTEREST, myco_buf_as_slice(&interest));
    }
    myco_buf_free(&interest);
}

static void bench_publish(struct bench *bench, unsigned subs, unsigned peers, int rounds)
{
    static const char data[SIZE];
    struct myco_bus *bus = bus_open(bench, subs);
    double each_ns[ROUNDS_MAX] = {0};
    char what[64];
    size_t receivers;
    add_peers(bus, peers);
    myco__env_wake(&bench->env);
    for (int round = 0; round < rounds; round++) {
        uint64_t from = now_ns();
        for (unsigned i = 0; i < OPS; i++) {
            myco_bus_publish(bus, myco_str("orders.7.created"), myco_bytes(data, SIZE),
                myco_str(NULL), &receivers, NULL);
            if (receivers != subs + peers) abort();
            if (i % BATCH == BATCH - 1) myco__env_wake(&bench->env);
        }
        each_ns[round] = (double)(now_ns() - from) / OPS;
    }
    snprintf(what, sizeof(what), "publish to %u here, %u peers", subs, peers);
    report(what, each_ns, rounds);
    myco_bus_free(bus);
}

static void bench_receive(struct bench *bench, unsigned subs, int rounds)
{
    struct myco_bus *bus = bus_open(bench, subs);
    double each_ns[ROUNDS_MAX] = {0};
    char what[64];
    uint64_t before = bench->delivered;
    for (int round = 0; round < rounds; round++) {
        uint64_t from = now_ns();
        for (unsigned i = 0; i < OPS; i++) {
            myco_bus_receive(bus, 2, MYCO_MESSAGE_PUBLISH, myco_buf_as_slice(&bench->kept));
        }
        each_ns[round] = (double)(now_ns() - from) / OPS;
    }
    if (bench->delivered - before != (uint64_t)OPS * subs * (unsigned)rounds) abort();
    snprintf(what, sizeof(what), "receive from a peer, %u here", subs);
    report(what, each_ns, rounds);
    myco_bus_free(bus);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 11;
    if (rounds < 1 || rounds > ROUNDS_MAX) rounds = 11;
    static struct bench bench = {.random = 1};
    myco__env_init(&bench.env, &ops);
    bench.env.metrics = &bench.metrics;
    bench_match(1, rounds);
    bench_match(1000, rounds);
    bench_match(100000, rounds);
    bench_publish(&bench, 1, 0, rounds);
    bench_publish(&bench, 3, 0, rounds);
    bench_publish(&bench, 0, 1, rounds);
    bench_publish(&bench, 0, 3, rounds);
    bench_receive(&bench, 1, rounds);
    bench_receive(&bench, 3, rounds);
    myco_buf_free(&bench.kept);
    myco__env_close(&bench.env);
    return 0;
}
