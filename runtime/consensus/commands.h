/* Commands of this node on their way through the log: sent to whoever leads, again when the leader
 * changes or stays silent, until this node itself has applied them; the state makes sure that one
 * sent twice counts once. */
#ifndef MYCO_CONSENSUS_COMMANDS_H
#define MYCO_CONSENSUS_COMMANDS_H

#include "consensus/log.h"
#include "consensus/state.h"

#define MYCO_COMMANDS_PENDING_MAX (MYCO_SEEN_WINDOW - 1) /* between the oldest and the newest */

struct myco_commands;
/* result: as applied; or status ETIMEDOUT turned EUNKNOWN (it may yet be applied), ECLOSED. */
typedef void (*myco_command_cb)(const struct myco_command_result *result, void *data);
struct myco_commands_events {
    /* SUBMIT, SUBMIT_REFUSED; takes. */
    void (*send)(uint64_t to, uint8_t type, struct myco_buf *payload, void *data);
    void *data;
    const struct myco_state *state; /* says which commands may be logged; NULL: all */
    /* The leader's own word besides, before it logs; NULL: all may. EUNAVAILABLE: not yet. */
    int (*admits)(struct myco_slice command, struct myco_err *err, void *data);
};

struct myco_commands *myco_commands_new(struct myco_env *env, uint64_t self, uint64_t generation,
    const struct myco_commands_events *events);
void myco_commands_free(struct myco_commands *commands); /* what is pending ends with ECLOSED */
void myco_commands_start(struct myco_commands *commands, struct myco_rlog *log);
/* `body` is taken. EFULL: too many pending; EVERSION: its feature
 * is not active yet (then cb does not run). cb may be NULL. */
int myco_commands_submit(struct myco_commands *commands, uint8_t kind, struct myco_buf *body,
    uint64_t timeout_ms, myco_command_cb cb, void *data);
void myco_commands_applied(struct myco_commands *commands, const struct myco_command_head *head,
    const struct myco_command_result *result);
void myco_commands_leader_changed(struct myco_commands *commands);
/* Who leads according to gossip: for a node that is not in the group yet. 0: unknown. */
void myco_commands_hint(struct myco_commands *commands, uint64_t leader);
/* As the log says, else as hinted; 0. */
uint64_t myco_commands_leader(const struct myco_commands *commands);
void myco_commands_receive(
    struct myco_commands *commands, uint64_t from, uint8_t type, struct myco_slice payload);
size_t myco_commands_pending(const struct myco_commands *commands);

#endif
