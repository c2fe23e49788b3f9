/* Counters, gauges and histograms of one node, by static tables: a metric costs one add.
 * Written by the loop thread; read by any (relaxed). */
#ifndef MYCO_BASE_METRIC_H
#define MYCO_BASE_METRIC_H

#include <stdint.h>

/* X(symbol, "name", kind, "help") — names follow Prometheus: unit last, _total for counters. */
#define MYCO_METRICS(X)                                                                            \
    X(PEERS_CONNECTED, "mycorrizal_peers_connected", GAUGE, "peer connections that are up")        \
    X(FRAMES_IN, "mycorrizal_frames_received_total", COUNTER, "frames received from peers")        \
    X(FRAMES_OUT, "mycorrizal_frames_sent_total", COUNTER, "frames sent to peers")                 \
    X(BYTES_IN, "mycorrizal_received_bytes_total", COUNTER, "bytes received from peers")           \
    X(BYTES_OUT, "mycorrizal_sent_bytes_total", COUNTER, "bytes sent to peers")                    \
    X(FRAMES_REFUSED, "mycorrizal_frames_refused_total", COUNTER, "garbage from peers or clients") \
    X(QUEUE_FULL, "mycorrizal_peer_queue_full_total", COUNTER, "frames refused: lane full")        \
    X(GOSSIP_REFUSED, "mycorrizal_gossip_refused_total", COUNTER, "gossip datagrams refused")      \
    X(GOSSIP_UNSEALED, "mycorrizal_gossip_unsealed_total", COUNTER,                                \
        "gossip in clear that was dropped: this node has a key")                                   \
    X(GOSSIP_FOREIGN, "mycorrizal_gossip_foreign_total", COUNTER,                                  \
        "gossip sealed by a key that this node does not have, or damaged")                         \
    X(GOSSIP_REPLAYED, "mycorrizal_gossip_replayed_total", COUNTER,                                \
        "sealed gossip that came a second time")                                                   \
    X(GOSSIP_BY_TCP, "mycorrizal_gossip_probes_by_tcp_total", COUNTER,                             \
        "probes that only a connection answered, not UDP")                                         \
    X(FOREIGN_REFUSED, "mycorrizal_foreign_members_refused_total", COUNTER,                        \
        "words about members of another cluster of the same name")                                 \
    X(DISCOVERY_RUNS, "mycorrizal_discovery_runs_total", COUNTER, "times a source was asked")      \
    X(DISCOVERY_ERRORS, "mycorrizal_discovery_errors_total", COUNTER,                              \
        "times a source of discovery failed")                                                      \
    X(MEMBERS_ALIVE, "mycorrizal_members_alive", GAUGE, "members believed alive")                  \
    X(RAFT_TERM, "mycorrizal_consensus_term", GAUGE, "current term")                               \
    X(RAFT_COMMIT, "mycorrizal_consensus_commit_index", GAUGE, "commit index")                     \
    X(RAFT_PROPOSED, "mycorrizal_consensus_proposed_total", COUNTER,                               \
        "commands this node put into the log as leader")                                           \
    X(RAFT_BATCHES, "mycorrizal_consensus_batches_total", COUNTER,                                 \
        "appends they went in: proposed by batches is how many go together")                       \
    X(SERVERS_REMOVED, "mycorrizal_consensus_servers_removed_total", COUNTER,                      \
        "dead servers this node took out of the group as leader")                                  \
    X(LEASE_LOST, "mycorrizal_lease_lost_total", COUNTER,                                          \
        "leases that ran out while we held something")                                             \
    X(LOOP_LAG_P99, "mycorrizal_loop_lag_p99_ms", GAUGE,                                           \
        "how late the loop was, p99 of the last 10 s")                                             \
    X(LOOP_LAG_MAX, "mycorrizal_loop_lag_max_ms", GAUGE,                                           \
        "how late the loop was at most, in the last 10 s")                                         \
    X(SLOW, "mycorrizal_slow", GAUGE, "1: the loop is late, and others lead instead")              \
    X(KEYS, "mycorrizal_keys", GAUGE, "keys this node is primary of")                              \
    X(GETS, "mycorrizal_gets_total", COUNTER, "gets served as primary")                            \
    X(EVICTIONS, "mycorrizal_evictions_total", COUNTER, "entries that full caches dropped")        \
    X(PUTS, "mycorrizal_puts_total", COUNTER, "puts and deletes served as primary")                \
    X(CHANGES, "mycorrizal_changes_total", COUNTER,                                                \
        "counters, appends and such served as primary")                                            \
    X(JOURNAL_BYTES, "mycorrizal_journal_bytes_total", COUNTER, "bytes appended to the journal")   \
    X(JOURNAL_SYNCS, "mycorrizal_journal_syncs_total", COUNTER, "group commits of the journal")    \
    X(PUBLISHED, "mycorrizal_published_total", COUNTER, "messages published here")                 \
    X(DELIVERED, "mycorrizal_delivered_total", COUNTER, "messages delivered to subscribers here")  \
    X(MESSAGES_FENCED, "mycorrizal_messages_fenced_total", COUNTER,                                \
        "messages dropped here because a newer epoch of their fence was known")                    \
    X(FENCED, "mycorrizal_fenced_total", COUNTER,                                                  \
        "operations and messages refused because a newer epoch was known")                         \
    X(LOCKS_LOST, "mycorrizal_locks_lost_total", COUNTER,                                          \
        "locks that this node held when its lease ran out")                                        \
    X(DROPPED, "mycorrizal_dropped_total", COUNTER,                                                \
        "messages refused: a subscriber's node was full")                                          \
    X(STORE_PUTS, "mycorrizal_store_puts_total", COUNTER, "objects written to the object store")   \
    X(STORE_ERRORS, "mycorrizal_store_errors_total", COUNTER, "requests the object store failed")  \
    X(STORE_HELD, "mycorrizal_store_held", GAUGE,                                                  \
        "acknowledgements that wait for the object store here")                                    \
    X(STORE_BEHIND_BYTES, "mycorrizal_store_behind_bytes", GAUGE,                                  \
        "bytes committed in hyphae that are primary here, and not in the manifest")                \
    X(STORE_BEHIND_MS, "mycorrizal_store_behind_ms", GAUGE, "age of the oldest of them")           \
    X(STORE_ORPHANS, "mycorrizal_store_orphans_total", COUNTER,                                    \
        "objects deleted that no manifest ever named")                                             \
    X(MANIFESTS, "mycorrizal_store_manifests_total", COUNTER, "manifests written")                 \
    X(EVENTS_MEMBER, "mycorrizal_events_member_total", COUNTER, "events of members")               \
    X(EVENTS_ELECTION, "mycorrizal_events_election_total", COUNTER, "events of elections")         \
    X(EVENTS_CONSENSUS, "mycorrizal_events_consensus_total", COUNTER,                              \
        "events of the consensus group")                                                           \
    X(EVENTS_LEASE, "mycorrizal_events_lease_total", COUNTER, "events of a node's lease and loop") \
    X(EVENTS_HYPHA, "mycorrizal_events_hypha_total", COUNTER, "events of primaries that moved")    \
    X(EVENTS_CLUSTER, "mycorrizal_events_cluster_total", COUNTER,                                  \
        "events of septa, policies, features, keys")                                               \
    X(LUA_ERRORS, "mycorrizal_lua_errors_total", COUNTER, "errors raised in Lua tasks")            \
    X(POLICY_REFUSED, "mycorrizal_policy_refused_total", COUNTER, "policy answers refused")        \
    X(PEERS_OVER_HUBS, "mycorrizal_peers_over_hubs", GAUGE, "peers reached over hubs")             \
    X(RELAYED_MESSAGES, "mycorrizal_relayed_messages_total", COUNTER,                              \
        "messages of others passed on")                                                            \
    X(RELAYED_BYTES, "mycorrizal_relayed_bytes_total", COUNTER, "bytes of others passed on")       \
    X(RELAY_DROPPED, "mycorrizal_relay_dropped_total", COUNTER,                                    \
        "relayed messages that had no way on; their senders are told")                             \
    X(ROUTE_RESETS, "mycorrizal_route_resets_total", COUNTER,                                      \
        "sessions over hubs that broke and began anew")

enum myco_metric {
#define X(symbol, name, kind, help) MYCO_METRIC_##symbol,
    MYCO_METRICS(X)
#undef X
        MYCO_METRIC_COUNT
};

struct myco_metrics {
    uint64_t values[MYCO_METRIC_COUNT];
};

#define MYCO_METRIC_ADD(metrics, symbol, n)                                                        \
    ((void)__atomic_fetch_add(&(metrics)->values[MYCO_METRIC_##symbol], (n), __ATOMIC_RELAXED))
#define MYCO_METRIC_SET(metrics, symbol, n)                                                        \
    __atomic_store_n(&(metrics)->values[MYCO_METRIC_##symbol], (uint64_t)(n), __ATOMIC_RELAXED)

const char *myco_metric_name(int metric);
const char *myco_metric_help(int metric);
const char *myco_metric_kind(int metric); /* "counter" or "gauge" */

/* A histogram of durations with about 6 % resolution: 16 linear steps in each power of two. */
#define MYCO_HISTOGRAM_BUCKETS (64 * 16)
struct myco_histogram {
    uint64_t count, sum, max;
    uint32_t buckets[MYCO_HISTOGRAM_BUCKETS];
};
void myco_histogram_add(struct myco_histogram *histogram, uint64_t value);
/* Upper bound. */
uint64_t myco_histogram_quantile(const struct myco_histogram *histogram, double quantile);

#endif
