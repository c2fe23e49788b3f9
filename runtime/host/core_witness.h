/* What this node sees of the cluster, turned into events (core_chronicle.h): each function is
 * called where something was seen, compares it with what was known, and tells the difference with
 * its reason.
 *
 * What was agreed before this node joined (or was restored from a snapshot then) is noted and not
 * told: it would bear the wrong time. */
#ifndef MYCO_HOST_CORE_WITNESS_H
#define MYCO_HOST_CORE_WITNESS_H

#include "host/core_internal.h"

struct core_witness;
struct core_witness *witness_new(void);
void witness_free(struct core_witness *witness);

void witness_member(
    struct myco_core *core, const struct myco_member *now, const struct myco_member *was);
void witness_election(struct myco_core *core, const struct myco_election_record *election);
void witness_septum(struct myco_core *core, const struct myco_septum_record *septum);
void witness_hypha(struct myco_core *core, const struct myco_septum_record *septum, uint32_t index);
void witness_policy(struct myco_core *core, int kind, const struct myco_policy_version *version);
void witness_loss(struct myco_core *core, const struct myco_septum_record *septum, uint32_t count,
    const char *reason, uint64_t node);
void witness_features(struct myco_core *core, uint64_t active);
void witness_log(struct myco_core *core); /* leader or configuration of the consensus group */
void witness_snapshot(struct myco_core *core, bool installed, uint64_t index);
void witness_lease(struct myco_core *core, bool valid);
void witness_heard(struct myco_core *core, uint64_t peer); /* a message of the consensus group */
uint64_t witness_heard_ms(const struct myco_core *core, uint64_t peer); /* 0: never */
void witness_tick(struct myco_core *core);

/* What is known of who holds an election: NULL when nothing is. Lent until the next event. */
struct witness_holder {
    uint64_t node, generation, wanted, epoch;
    uint64_t former;   /* who held it before; 0: nobody that was seen */
    bool vacant;       /* it was told that nobody holds it */
    uint64_t since_ms; /* wall clock of this node; 0: from before it joined */
    char name[MYCO_STATE_NAME_MAX + 1];
    char reason[120];
};
const struct witness_holder *witness_holder(const struct myco_core *core, const char *election);

#endif
