/* A command being applied, for the files of the state that apply commands. */
#ifndef MYCO_CONSENSUS_STATE_INTERNAL_H
#define MYCO_CONSENSUS_STATE_INTERNAL_H

#include "consensus/state.h"

struct myco__apply {
    struct myco_state *state;
    struct myco_command_head head;
    struct myco_member_record *sender; /* NULL: not a member */
    struct myco_reader in;
    struct myco_command_result *result;
};

/* Nothing was changed: the result says why. Returns 0, for `return`. */
int myco__refuse(struct myco__apply *apply, int status, const char *message);

/* state_features.c */
bool myco__command_known(const struct myco_state *state, uint8_t kind);
int myco__refuse_older(struct myco__apply *apply, const struct myco_member_record *joiner);
int myco__apply_features(struct myco__apply *apply);

/* state_apply.c */
/* state_member.c */
void myco__member_label(struct myco_member_record *member, const char *labels); /* copies */
void myco__member_clear(struct myco_member_record *member); /* frees what it owns */
uint64_t myco__member_word(const struct myco_member_record *member, size_t at); /* of the window */
void myco__member_set_word(struct myco_member_record *member, size_t at, uint64_t word);
/* Was this sequence of the sender seen before? Remembers it otherwise. */
bool myco__member_seen(struct myco_member_record *member, uint64_t sequence);

void myco__member_leaves(struct myco_state *state, struct myco_member_record *member);

/* state_candidates.c */
/* NULL: nothing any more. */
void myco__candidate_wishes(
    struct myco_election_record *election, uint64_t node, const struct myco_candidate_wish *wish);
void myco__candidate_read(struct myco_reader *in, struct myco_candidate_wish *wish);
void myco__candidates_save(const struct myco_state *state, struct myco_buf *out);
void myco__candidates_load(struct myco_state *state, struct myco_reader *in);

/* state_removal.c */
extern const char myco__removed_text[];
int myco__apply_remove(struct myco__apply *apply);
void myco__removal_save(const struct myco_state *state, struct myco_buf *out);
void myco__removal_load(struct myco_state *state, struct myco_reader *in);

/* state_loss.c */
int myco__apply_loss(struct myco__apply *apply);
void myco__loss_save(const struct myco_state *state, struct myco_buf *out);
void myco__loss_load(struct myco_state *state, struct myco_reader *in);

/* state_sets.c */
bool myco__sets_join_targets(const struct myco_state *state, struct myco_hypha_record *hypha);
/* state_septa.c */
int myco__apply_septum(struct myco__apply *apply);
int myco__apply_septum_make(struct myco__apply *apply);
int myco__apply_septum_alter(struct myco__apply *apply);
/* In definitions: written among the policies. False: what comes next is none of them. */
void myco__septa_define(const struct myco_state *state, struct myco_buf *out);
bool myco__septa_restore(struct myco__apply *apply);
void myco__septa_save(const struct myco_state *state, struct myco_buf *out);
void myco__septa_load(struct myco_state *state, struct myco_reader *in);

/* state_ring.c */
int myco__apply_ring(struct myco__apply *apply);
void myco__state_ring_save(const struct myco_state *state, struct myco_buf *out);
void myco__state_ring_load(struct myco_state *state, struct myco_reader *in);

#endif
