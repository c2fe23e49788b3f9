/* The types of message between nodes, in one list, with the lane each travels on. The payload of
 * each is written and read by the folder that owns it, with base/buf.h. */
#ifndef MYCO_WIRE_MESSAGE_H
#define MYCO_WIRE_MESSAGE_H

#include "wire/feature.h"

/* X(symbol, number, lane, feature, owner) — numbers are for ever. It is sent only to peers that
 * announced the feature (wire/feature.h); NONE: all versions know it. */
#define MYCO_MESSAGES(X)                                                                           \
    X(RAFT, 1, CONTROL, NONE, "consensus: libraft's messages in our encoding")                     \
    X(PLEDGE, 2, CONTROL, NONE, "consensus: bootstrap pledges and the first configuration")        \
    X(SUBMIT, 3, CONTROL, NONE, "consensus: a command for the leader's log")                       \
    X(SUBMIT_REFUSED, 4, CONTROL, NONE, "consensus: not the leader, or full")                      \
    X(LEASE, 5, CONTROL, NONE, "consensus: renewals, rounds, grants")                              \
    X(RAFT_BULK, 6, BULK, NONE, "consensus: snapshots")                                            \
    X(TAIL, 10, CONTROL, TAIL, "consensus: what is committed, for nodes outside of the group")     \
    X(TAIL_BULK, 11, BULK, TAIL, "consensus: snapshots for them")                                  \
    X(HYPHA, 16, DATA, NONE, "store: appends and acknowledgements of hyphae")                      \
    X(HYPHA_BULK, 17, BULK, NONE, "store: snapshots of hyphae")                                    \
    X(REQUEST, 24, DATA, NONE, "host: get, put, del, count, scan for a primary")                   \
    X(RESPONSE, 25, DATA, NONE, "host: their answers")                                             \
    X(INTEREST, 32, CONTROL, NONE, "stream: subscriptions of a node")                              \
    X(PUBLISH, 33, DATA, NONE, "stream: one message")                                              \
    X(PUBLISH_FENCED, 34, DATA, TOPIC_FENCES, "stream: one message that shows an epoch")           \
    X(GOSSIP, 48, CONTROL, PUSH_PULL, "gossip: what else goes by UDP; whole lists of members")     \
    X(COPIES, 26, DATA, ACCEPT_LOSS, "host: which copies lie on a node, and how far they go")      \
    X(PERSIST, 40, CONTROL, NONE, "object: what primaries uploaded, what the manifest holds")      \
    X(RELAY, 56, CONTROL, RELAY, "route: a message of others, in the lane it came in")

enum myco_message {
#define X(symbol, number, lane, feature, owner) MYCO_MESSAGE_##symbol = number,
    MYCO_MESSAGES(X)
#undef X
};

#endif
