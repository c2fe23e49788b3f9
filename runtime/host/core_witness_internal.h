/* The inside of the witness, for core_witness.c and witness_sets.c. */
#ifndef MYCO_HOST_CORE_WITNESS_INTERNAL_H
#define MYCO_HOST_CORE_WITNESS_INTERNAL_H

#include "host/core_chronicle.h"
#include "host/core_witness.h"

#define WITNESS_SERVERS_MAX 64
#define WITNESS_MOVES_MAX   64 /* kinds of moves that are gathered before they are told */

/* The primaries of a septum's hyphae as they were seen last. */
struct witness_septum {
    uint32_t hyphae;
    uint64_t primaries[];
};

/* Hyphae of a septum that went from one node to another lately. */
struct witness_move {
    uint64_t septum, from, to, epoch; /* the highest epoch */
    uint32_t count;
    const char *reason; /* static */
};

struct core_witness {
    struct myco_map holders; /* hash of the election's name → struct witness_holder */
    struct myco_map septa;   /* septum → struct witness_septum */
    struct witness_move moves[WITNESS_MOVES_MAX];
    uint32_t move_count;
    uint64_t policies[MYCO_POLICY_KIND_COUNT]; /* versions in force */
    struct myco_log_server servers[WITNESS_SERVERS_MAX];
    uint64_t heard_ms[WITNESS_SERVERS_MAX]; /* from each of them */
    size_t server_count;
    uint64_t leader, term, leader_ms, features;
    bool quorum_lost, lease_lost;
};

const char *witness_name(const struct myco_core *core, uint64_t id);
/* "left", "died", "started again", or NULL: it is there. generation 0: any. */
const char *witness_why(const struct myco_core *core, uint64_t node, uint64_t generation);
void witness_flush(struct myco_core *core); /* tells the moves that were gathered */

#endif
