/* Features: what nodes of one version can do and those of the version before it can't. One list,
 * one bit each; numbers are for ever.
 *
 * A node announces what its build has: in the handshake to each peer, and in its JOIN to the
 * cluster. Two uses follow:
 *
 *   - to a peer goes only a message that the peer announced it knows: core_peer_has(), and the
 *     column `feature` of wire/message.h;
 *   - into the log goes only a command that every member knows: the consensus leader logs FEATURES
 *     once each member that has not left has a bit, and from then on it is active, for ever
 *     (myco_state_feature(), and the column `feature` of consensus/state.h). A node without an
 *     active feature can't join any more: it would not understand the log.
 *
 * So a cluster is upgraded by starting one node after the other anew. A feature that is built gets
 * `built` 1, and is announced; the others only reserve their bit. */
#ifndef MYCO_WIRE_FEATURE_H
#define MYCO_WIRE_FEATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(symbol, bit, built, "name", "what it is") */
#define MYCO_FEATURES(X)                                                                           \
    X(FEATURES, 0, 1, "features", "features are agreed on, and kept in snapshots (format 2)")      \
    X(TAIL, 1, 1, "tail", "nodes outside of the consensus group tail the log from a neighbour")    \
    X(RELAY, 2, 1, "relay", "messages travel over hubs")                                           \
    X(FENCES, 3, 1, "fences", "septa and topics refuse older epochs")                              \
    X(LOCKS, 4, 1, "locks", "locks in the replicated state")                                       \
    X(KEYRING, 5, 1, "keyring", "keys of gossip, and their change")                                \
    X(PUSH_PULL, 6, 1, "push_pull", "gossip by connections: whole lists, probes when UDP is lost") \
    X(EVENTS, 7, 0, "events", "cluster events")                                                    \
    X(CAMPAIGN_OPTIONS, 8, 1, "campaign_options", "campaigns with options")                        \
    X(BARRIER_READ, 9, 0, "barrier_read", "linearizable reads of the replicated state")            \
    X(REMOVAL, 10, 1, "removal", "members are removed for ever")                                   \
    X(ACCEPT_LOSS, 11, 1, "accept_loss", "an operator's word that data is lost")                   \
    X(OPERATIONS, 12, 1, "operations", "counters, appends, batches and more, at the primary")      \
    X(TOPIC_FENCES, 13, 1, "topic_fences", "messages that show an epoch")                          \
    X(OBJECT_LEVEL, 14, 1, "object_level", "septa that acknowledge what the object store holds")   \
    X(CACHE_FORGET, 16, 1, "cache_forget", "a cache begins anew when all who held it are lost")    \
    X(SEPTUM_OPTIONS, 20, 1, "septum_options", "limits of septa, and options that change")

enum myco_feature {
#define X(symbol, bit, built, name, doc) MYCO_FEATURE_##symbol = bit,
    MYCO_FEATURES(X)
#undef X
        MYCO_FEATURE_NONE = 255 /* of commands and messages that all versions know */
};

#define MYCO_FEATURE_BIT(feature) (UINT64_C(1) << (feature))

/* The bits of what this build has. */
uint64_t myco_features_own(void);

/* As in the list; NULL: a bit of a newer version. Static. */
const char *myco_feature_name(unsigned bit);
const char *myco_feature_doc(unsigned bit);
/* "tail, locks, 40": writes at most `size` bytes with the ending zero. Returns `out`. */
const char *myco_features_text(uint64_t features, char *out, size_t size);

#endif
