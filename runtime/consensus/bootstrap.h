/* How a cluster is born once, and not three times (PROTOCOL rule 24). Fresh nodes that were started
 * with `--expect N` find each other by gossip. The one with the lowest id proposes a list of N ids;
 * each fresh node pledges itself, on disk, to one list at a time; with all N pledges the proposer
 * writes the first configuration and tells the others, who write the same. A proposer that is
 * refused withdraws its list for good (on disk) before it lets the others go.
 *
 *   proposer                     the others
 *   PROPOSE nonce, ids      →    sync the pledge          → OK nonce
 *   (all OK) write the configuration; FORM nonce, ids →    write the same configuration
 *   (any NO) forget the nonce; RELEASE nonce          →    forget the pledge
 */
#ifndef MYCO_CONSENSUS_BOOTSTRAP_H
#define MYCO_CONSENSUS_BOOTSTRAP_H

#include "consensus/log.h"
#include "gossip/swim.h"

/* What a node says of itself in gossip (struct myco_member.meta). */
struct myco_node_meta {
    bool fresh; /* in no cluster yet */
    bool leads; /* the consensus leader, of `term` */
    bool slow;  /* its loop is late: others shall lead */
    uint32_t expect;
    uint64_t term;
    uint64_t cluster;                 /* 0: none yet */
    struct myco_slice admin, version; /* where pulse reaches it, its release; lent, or empty */
};
#define MYCO_ADMIN_MAX 107 /* of `admin` */
void myco_node_meta_write(const struct myco_node_meta *meta, struct myco_buf *out);
bool myco_node_meta_read(const struct myco_member *member, struct myco_node_meta *meta);

struct myco_bootstrap;
struct myco_bootstrap_options {
    struct myco_env *env;
    struct myco_disk *disk;
    struct myco_swim *swim;
    struct myco_rlog *log;
    uint64_t self;
    uint32_t expect; /* 0: joins only */
    /* MYCO_MESSAGE_PLEDGE; takes. */
    void (*send)(uint64_t to, struct myco_buf *payload, void *data);
    void (*formed)(void *data); /* the first configuration is written here */
    void *data;
};
int myco_bootstrap_new(const struct myco_bootstrap_options *options,
    struct myco_bootstrap **bootstrap, struct myco_err *err);
void myco_bootstrap_free(struct myco_bootstrap *bootstrap);
void myco_bootstrap_receive(
    struct myco_bootstrap *bootstrap, uint64_t from, struct myco_slice payload);

#endif
