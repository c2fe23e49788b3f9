/* The types of message between nodes, in one list, with the lane each travels on. The payload of
 * each is written and read by the folder that owns it, with base/buf.h. */
#ifndef MYCO_WIRE_MESSAGE_H
#define MYCO_WIRE_MESSAGE_H

/* X(symbol, number, lane, owner) — numbers are for ever. */
#define MYCO_MESSAGES(X)                                                                           \
    X(RAFT, 1, CONTROL, "consensus: libraft's messages in our encoding")                           \
    X(PLEDGE, 2, CONTROL, "consensus: bootstrap pledges and the first configuration")              \
    X(SUBMIT, 3, CONTROL, "consensus: a command for the leader's log")                             \
    X(SUBMIT_REFUSED, 4, CONTROL, "consensus: not the leader, or full")                            \
    X(LEASE, 5, CONTROL, "consensus: renewals, rounds, grants")                                    \
    X(RAFT_BULK, 6, BULK, "consensus: snapshots")                                                  \
    X(HYPHA, 16, DATA, "store: appends and acknowledgements of hyphae")                            \
    X(HYPHA_BULK, 17, BULK, "store: snapshots of hyphae")                                          \
    X(REQUEST, 24, DATA, "host: get, put, del, count, scan for a primary")                         \
    X(RESPONSE, 25, DATA, "host: their answers")                                                   \
    X(INTEREST, 32, CONTROL, "stream: subscriptions of a node")                                    \
    X(PUBLISH, 33, DATA, "stream: one message")                                                    \
    X(PERSIST, 40, CONTROL, "object: what primaries uploaded, what the manifest holds")

enum myco_message {
#define X(symbol, number, lane, owner) MYCO_MESSAGE_##symbol = number,
    MYCO_MESSAGES(X)
#undef X
};

#endif
