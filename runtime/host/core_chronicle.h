/* The chronicle: what happened to the cluster as this node saw it, for operators. A bounded ring of
 * events, numbered from 1 with each start of the node; each is also one line of the log. Nothing of
 * it is kept on disk.
 *
 * Who tells something writes a sentence and fields:
 *
 *     struct chronicle_note note = chronicle_note(MYCO_EVENT_MEMBER_DEAD, name);
 *     chronicle_field(&note, "reason", "its port refuses connections");
 *     chronicle_tell(chronicle, &note, "%s is dead: its port refuses connections", name);
 */
#ifndef MYCO_HOST_CORE_CHRONICLE_H
#define MYCO_HOST_CORE_CHRONICLE_H

#include "base/buf.h"
#include "env/env.h"

#define MYCO_EVENTS_DEFAULT     4096
#define MYCO_EVENTS_MAX         1048576
#define CHRONICLE_FOLLOWERS_MAX 256
#define CHRONICLE_TEXT_MAX      255
#define CHRONICLE_FIELDS_MAX    8

/* X(symbol, "kind", level and subsystem of its line in the log, metric) */
#define MYCO_EVENT_KINDS(X)                                                                        \
    X(MEMBER_JOINED, "member.joined", INFO, "gossip", EVENTS_MEMBER)                               \
    X(MEMBER_SUSPECTED, "member.suspected", WARN, "gossip", EVENTS_MEMBER)                         \
    X(MEMBER_REFUTED, "member.refuted", INFO, "gossip", EVENTS_MEMBER)                             \
    X(MEMBER_DEAD, "member.dead", WARN, "gossip", EVENTS_MEMBER)                                   \
    X(MEMBER_LEFT, "member.left", INFO, "gossip", EVENTS_MEMBER)                                   \
    X(ELECTION_GAINED, "election.gained", INFO, "nodosum", EVENTS_ELECTION)                        \
    X(ELECTION_MOVED, "election.moved", INFO, "nodosum", EVENTS_ELECTION)                          \
    X(ELECTION_LOST, "election.lost", INFO, "nodosum", EVENTS_ELECTION)                            \
    X(LEADER_CHANGED, "leader.changed", INFO, "nodosum", EVENTS_CONSENSUS)                         \
    X(VOTER_ADDED, "voter.added", INFO, "nodosum", EVENTS_CONSENSUS)                               \
    X(VOTER_CHANGED, "voter.changed", INFO, "nodosum", EVENTS_CONSENSUS)                           \
    X(VOTER_REMOVED, "voter.removed", INFO, "nodosum", EVENTS_CONSENSUS)                           \
    X(QUORUM_LOST, "quorum.lost", WARN, "nodosum", EVENTS_CONSENSUS)                               \
    X(QUORUM_REGAINED, "quorum.regained", INFO, "nodosum", EVENTS_CONSENSUS)                       \
    X(SNAPSHOT_TAKEN, "snapshot.taken", INFO, "nodosum", EVENTS_CONSENSUS)                         \
    X(SNAPSHOT_INSTALLED, "snapshot.installed", INFO, "nodosum", EVENTS_CONSENSUS)                 \
    X(LEASE_LOST, "lease.lost", WARN, "nodosum", EVENTS_LEASE)                                     \
    X(LEASE_REGAINED, "lease.regained", INFO, "nodosum", EVENTS_LEASE)                             \
    X(NODE_SLOW, "node.slow", WARN, "hypha", EVENTS_LEASE)                                         \
    X(NODE_RECOVERED, "node.recovered", INFO, "hypha", EVENTS_LEASE)                               \
    X(HYPHAE_MOVED, "hyphae.moved", INFO, "mycel", EVENTS_HYPHA)                                   \
    X(HYPHAE_LOSS_ACCEPTED, "hyphae.loss_accepted", WARN, "mycel", EVENTS_HYPHA)                   \
    X(SEPTUM_CREATED, "septum.created", INFO, "mycel", EVENTS_CLUSTER)                             \
    X(POLICY_APPLIED, "policy.applied", INFO, "policy", EVENTS_CLUSTER)                            \
    X(POLICY_ROLLED_BACK, "policy.rolled_back", INFO, "policy", EVENTS_CLUSTER)                    \
    X(FEATURE_ACTIVATED, "feature.activated", INFO, "nodosum", EVENTS_CLUSTER)                     \
    X(STORE_AWAY, "store.away", WARN, "mycel", EVENTS_HYPHA)                                       \
    X(STORE_BACK, "store.back", INFO, "mycel", EVENTS_HYPHA)                                       \
    X(KEYS_ROTATED, "keys.rotated", INFO, "gossip", EVENTS_CLUSTER)

enum myco_event_kind {
#define X(symbol, name, level, subsystem, metric) MYCO_EVENT_##symbol,
    MYCO_EVENT_KINDS(X)
#undef X
        MYCO_EVENT_KIND_COUNT
};
const char *myco_event_kind_name(enum myco_event_kind kind);

struct chronicle_field {
    const char *key, *text; /* text NULL: a number */
    uint64_t number;
};

struct chronicle_note {
    enum myco_event_kind kind;
    const char *subject;
    struct chronicle_field fields[CHRONICLE_FIELDS_MAX];
    unsigned field_count;
};

struct myco_chronicle;

/* events_max: how many are kept; 0: MYCO_EVENTS_DEFAULT. */
struct myco_chronicle *chronicle_new(struct myco_env *env, uint32_t events_max);
void chronicle_free(struct myco_chronicle *chronicle); /* followers hear nothing any more */

/* Borrows subject, keys and texts until it is told. Beyond CHRONICLE_FIELDS_MAX: left out. */
struct chronicle_note chronicle_note(enum myco_event_kind kind, const char *subject);
void chronicle_field(struct chronicle_note *note, const char *key, const char *text);
void chronicle_number(struct chronicle_note *note, const char *key, uint64_t number);
/* Writes the line of the log, keeps the event, and tells the followers on a later turn. */
void chronicle_tell(struct myco_chronicle *chronicle, const struct chronicle_note *note,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

uint64_t chronicle_last(const struct myco_chronicle *chronicle); /* number of the newest; 0: none */
/* Those that are kept, from number `from` on: an array of maps, as myco_inspect() gives it. */
struct msgpack_packer;
void chronicle_pack(
    const struct myco_chronicle *chronicle, uint64_t from, struct msgpack_packer *pack);

/* From number `from` on (0: all that is kept), in order; a jump in the numbers is what the ring
 * dropped meanwhile. The event is lent until the callback returns, which may end any follower.
 * NULL: there are CHRONICLE_FOLLOWERS_MAX already. */
struct chronicle_follower;
struct chronicle_follower *chronicle_follow(
    struct myco_chronicle *chronicle, uint64_t from, myco_event_cb cb, void *data);
void chronicle_unfollow(struct chronicle_follower *follower);

#endif
