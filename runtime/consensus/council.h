/* What the consensus leader does for the cluster: names itself leader of `nodosum`, grants
 * elections, replaces primaries of the dead, places hyphae, chooses voters. It looks at the
 * replicated state and at who is alive, asks the policies, and proposes commands; it acts only
 * while established (its term's barrier is committed), and only when its former proposals are
 * applied. Everything it proposes is a compare-and-set, so that a second council can do no harm. */
#ifndef MYCO_CONSENSUS_COUNCIL_H
#define MYCO_CONSENSUS_COUNCIL_H

#include "consensus/lease.h"
#include "consensus/log.h"
#include "consensus/state.h"
#include "gossip/swim.h"

struct myco_council;
struct msgpack_unpacked;
struct myco_council_options {
    struct myco_env *env;
    struct myco_rlog *log;
    struct myco_state *state;
    struct myco_swim *swim;
    struct myco_lease *lease;
    struct myco_policy_port policy;
    uint64_t self, generation;
    const bool *slow;         /* is our own loop late; NULL: never. Of others gossip says so */
    unsigned unresponsive_ms; /* a live node that renews no lease for so long loses what it holds;
                                 0: 3,000 */
    unsigned forget_ms;       /* a server that is dead for so long leaves the group; 0: 30,000 */
    unsigned dead_voter_ms;   /* a voter already so soon, when a stand-by can take its place or
                                 their number is even; the policy's answer goes before it;
                                 0: 5,000 */
    /* What a peer announced in the handshake, in that generation; 0: not known. NULL: never. */
    uint64_t (*peer_features)(uint64_t node, uint64_t generation, void *data);
    void *data;
};

struct myco_council *myco_council_new(const struct myco_council_options *options);
void myco_council_free(struct myco_council *council);
void myco_council_poke(struct myco_council *council); /* something changed: look soon */
void myco_council_applied(struct myco_council *council, const struct myco_command_head *head);

/* As leader: may this command be logged now, beyond what the state says? 0; EBUSY; EUNAVAILABLE:
 * ask again. */
int myco_council_admits(
    const struct myco_council *council, struct myco_slice command, struct myco_err *err);

/* As leader: logs LEAVE in the place of a dead member, whose lease is over: a command that all
 * versions know. It may join again. ENOTLEADER, EBUSY (it is alive, or its lease is not over), or
 * what the log says; 0: on its way. */
int myco_council_leave_for(struct myco_council *council, uint64_t id, struct myco_err *err);

/* For the files of the council. */
struct myco_council_member {
    const struct myco_member_record *record;
    bool present; /* registered, alive or suspect, and of the registered generation */
};
/* Who holds something is to renew its lease from then on. */
struct myco_council_holder {
    uint64_t since_ns;   /* 0: holds nothing */
    uint64_t shunned_ns; /* was silent: until then others are preferred */
    bool now;
};
/* What a node, in one generation, holds. */
struct myco_council_held {
    uint64_t node, generation;
    uint32_t elections, locks;
    bool gone; /* as of this round */
};
struct myco_council {
    struct myco_council_options options;
    struct myco_timer timer;
    uint64_t term, outstanding, outstanding_ns;
    uint64_t placed_hash, septa_placed; /* of what the placement policy was last asked about */
    uint64_t reign_began_ms;
    struct myco_map held; /* (node, generation) → struct myco_council_held */
    uint64_t seen_elections, seen_locks, elections_view;
    uint32_t free_elections;
    uint64_t judged_changes;
    uint32_t pass_at;           /* live holders up to here were judged since something changed */
    bool settled;               /* nothing is to be done until something changes */
    struct myco_buf granted;    /* in this round: the node of each grant, u64 */
    struct myco_map dead_since; /* raft id → uint64_t * ms */
    struct myco_map holders;    /* node → struct myco_council_holder */
    struct myco_council_member *members; /* registered and not left, sorted by id */
    size_t member_count;
};
bool myco__council_present(const struct myco_council *council, uint64_t id);
/* What it holds may be taken. */
bool myco__council_gone(const struct myco_council *council, uint64_t id, uint64_t generation);
/* And nobody doubts it. */
bool myco__council_lives(const struct myco_council *council, uint64_t id);
bool myco__council_replaced(const struct myco_council *council, uint64_t id);
bool myco__council_slow(const struct myco_council *council, uint64_t id); /* its loop is late */
/* Others are preferred: it is slow, or was given something and stayed silent. */
bool myco__council_shunned(const struct myco_council *council, uint64_t id);
void myco__council_shun(struct myco_council *council, uint64_t id);
/* council_book.c */
bool myco__council_book(struct myco_council *council);
void myco__council_book_free(struct myco_council *council);
bool myco__council_book_gone(struct myco_council *council);
bool myco__council_holder_gone(
    const struct myco_council *council, const struct myco_election_record *election);
uint32_t myco__council_leads(const struct myco_council *council, uint64_t id);
bool myco__council_locks(struct myco_council *council);
/* Takes. */
void myco__council_propose(struct myco_council *council, uint8_t kind, struct myco_buf *body);
/* Asks a policy; false: it gave no answer, and that was said. */
bool myco__council_ask(struct myco_council *council, int kind, struct myco_buf *world,
    struct msgpack_unpacked *doc, struct myco_buf *answer);
/* Each returns whether it proposed something. */
bool myco__council_elect(struct myco_council *council);
bool myco__council_sets(struct myco_council *council);
bool myco__council_place(struct myco_council *council);
bool myco__council_voters(struct myco_council *council);
bool myco__council_features(struct myco_council *council);
bool myco__council_bury(struct myco_council *council);

#endif
