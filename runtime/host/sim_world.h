/* A simulated cluster: whole node cores on the hosts of env/sim.h, clients that write and read, and
 * the invariants of the protocol checked while it runs. For the files of host/sim*.c. */
#ifndef MYCO_HOST_SIM_WORLD_H
#define MYCO_HOST_SIM_WORLD_H

#include "base/map.h"
#include "bridge/policies.h"
#include "env/sim.h"
#include "host/core.h"
#include "host/core_internal.h"

#define SIM_NODES_MAX 64

struct sim_world;

struct sim_node {
    struct sim_world *world;
    unsigned host;
    struct myco_core *core; /* NULL: down */
    struct myco_object *store;
    struct myco_policies *policies;
    struct myco_identity identity;
    unsigned starts;
    bool failed;
};

struct sim_options {
    uint64_t seed;
    unsigned nodes, seconds;
    bool faults, trace, store, quiet;
    const char *lua_path; /* for policies; NULL: the built-in rules */
};

struct sim_world {
    struct sim_options options;
    struct myco_sim *sim;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_check *check;
    struct sim_clients *clients;
    char violation[512]; /* "" as long as all is well */
};

/* The first violation is kept, with the time. */
void sim_violated(struct sim_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sim_node_start(struct myco_sim *sim, unsigned host, void *data);
void sim_node_crash(struct myco_sim *sim, unsigned host, void *data);

/* sim_check.c */
struct sim_check *sim_check_new(struct sim_world *world);
void sim_check_free(struct sim_check *check);
void sim_check_event(struct sim_node *node, const char *what, uint64_t a, uint64_t b,
    uint64_t c);                             /* of core events on_trace */
void sim_check_now(struct sim_world *world); /* who holds what, at this instant of true time */
void sim_check_print(struct sim_world *world, FILE *file); /* what each node believes */
void sim_check_copies(
    struct sim_world *world); /* all in-sync copies are equal: when nothing is under way */

/* sim_clients.c */
struct sim_clients *sim_clients_new(struct sim_world *world);
void sim_clients_free(struct sim_clients *clients);
void sim_clients_start(struct sim_world *world);
void sim_clients_stop(struct sim_world *world);
bool sim_clients_idle(struct sim_world *world);
bool sim_clients_ready(struct sim_world *world);  /* the septa exist, and every key can be read */
void sim_clients_verify(struct sim_world *world); /* linearizability of all that happened */
void sim_clients_report(struct sim_world *world, FILE *file);

#endif
