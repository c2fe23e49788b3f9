/* Node leases (PROTOCOL rule 7): a node holds one lease for all that it leads, renewed by messages
 * that are not logged.
 *
 * The holder sends RENEW to the consensus leader every third of the lease; the leader answers with
 * GRANT only after a round (ROUND, ROUND_OK) in which a majority of voters answered in its own
 * term, and which began after the RENEW arrived. The holder counts its lease from the moment it
 * sent the RENEW, on a clock that runs through suspend.
 *
 * A new leader takes nothing from a node it can't reach until every lease that an older leader may
 * have granted is over: each voter says in ROUND_OK how long ago it last answered a round of
 * another term (a voter that has just started: since its start); the youngest such age among a
 * majority bounds all grants, since each needed a majority. ρ = 1 % of drift is allowed on each
 * side. */
#ifndef MYCO_CONSENSUS_LEASE_H
#define MYCO_CONSENSUS_LEASE_H

#include "consensus/log.h"

struct myco_lease;
struct myco_lease_events {
    void (*send)(uint64_t to, struct myco_buf *payload, void *data); /* MYCO_MESSAGE_LEASE; takes */
    void (*lost)(void *data);   /* this node's lease ran out while it held something */
    void (*gained)(void *data); /* it is valid (again) */
    void *data;
};

struct myco_lease *myco_lease_new(
    struct myco_env *env, uint64_t self, const struct myco_lease_events *events);
void myco_lease_free(struct myco_lease *lease);
/* The cluster is born. */
void myco_lease_start(struct myco_lease *lease, struct myco_rlog *log, uint32_t lease_ms);
/* Holds something: renew; else let it end. */
void myco_lease_hold(struct myco_lease *lease, bool holding);
void myco_lease_receive(struct myco_lease *lease, uint64_t from, struct myco_slice payload);
void myco_lease_applied(struct myco_lease *lease); /* an entry of the log was applied */
/* On CLOCK_BOOTTIME; 0: none. Any thread. */
uint64_t myco_lease_deadline_ns(const struct myco_lease *lease);
bool myco_lease_valid(struct myco_lease *lease);
/* Leader. True once no lease of `node` can be valid any more, whoever granted it. */
bool myco_lease_over(struct myco_lease *lease, uint64_t node);
/* Leader: how long ago `node` was granted a lease by this leader, or this leader was established,
 * in ms. */
uint64_t myco_lease_silent_ms(struct myco_lease *lease, uint64_t node);

#endif
