/* A simulated cluster: whole node cores on the hosts of env/sim.h, clients of every subsystem, and
 * the invariants of the protocol checked while it runs. For the files of host/sim*.c.
 *
 *   sim.c          the command's options, its seeds one after the other
 *   sim_run.c      one run: a cluster forms, works, suffers, heals, rests, is lost and restored
 *   sim_disks.c    disks that are slow, full, broken or rotten
 *   sim_check.c    invariants of consensus, elections and hyphae, in true time
 *   sim_clients.c  those who read and write a durable septum; sim_judge.c judges what they saw
 *   sim_acts.c     operators: planned leaves, changes of policies
 *   sim_cache.c    those who use a cache; sim_events.c those who publish, listen and campaign
 *   sim_fence.c    those who write with the epoch of what they lead, or led
 *   sim_chronicle.c those who follow what the nodes tell of the cluster
 *   sim_voters.c   a voter that is lost for good, and replaced
 *   sim_loss.c     what only that voter had, and an operator who accepts that it is lost
 *   sim_upgrade.c  nodes of the version before, upgraded while all goes on
 *   sim_starved.c  one host that is late, which nobody may take for dead
 *   sim_locks.c    those who lock, and who meet at a barrier
 *   sim_store.c    the manifests, and what a restore must bring back
 *   sim_failover.c how long a dead leader or primary is missed
 *   sim_scale.c    what many nodes cost while they idle, and how they come back all at once */
#ifndef MYCO_HOST_SIM_WORLD_H
#define MYCO_HOST_SIM_WORLD_H

#include "base/map.h"
#include "bridge/policies.h"
#include "env/sim.h"
#include "host/core.h"
#include "host/core_internal.h"

#define SIM_NODES_MAX  64
#define SIM_DURABLE    "kind=durable hyphae=8 replicas=1"
#define SIM_HEALING_MS 60000 /* after the last fault, everything serves again by then */

struct sim_world;
struct sim_loss;

struct sim_node {
    struct sim_world *world;
    unsigned host;
    struct myco_core *core; /* NULL: down */
    struct myco_object *store;
    struct myco_policies *policies;
    struct myco_identity identity;
    unsigned starts;
    uint64_t leases_lost; /* before it was starved: sim_starved.c */
    bool failed;          /* it said that it takes no part any more */
    bool older;           /* runs the version before features, until it is upgraded */
    bool damaged;         /* a bit of its disk was inverted: it may refuse to start */
    bool leaving;         /* it was told to leave */
};

struct sim_options {
    uint64_t seed;
    unsigned nodes, seconds, kills;
    unsigned lease_ms;   /* 0: the default */
    unsigned starved_ms; /* one host stands still for so long at a time, and nothing else fails */
    bool faults, disk_faults, all_faults, restore, trace, store, quiet, object;
    const char *lua_path; /* for policies; NULL: the built-in rules */
    const char *topology; /* the policy that is applied once the cluster formed; NULL: none */
};

struct sim_world {
    struct sim_options options;
    struct myco_sim *sim;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_check *check;
    struct sim_clients *clients;
    struct sim_cache *cache, *loose; /* loose: durable, acknowledged before it is on disks */
    struct sim_acts *acts;
    struct sim_events *events;
    struct sim_fence *fence;
    struct sim_chronicle *chronicle;
    struct sim_locks *locks;
    struct sim_disks *disks;
    uint64_t reborn_after; /* the incarnation that was lost: what comes is higher */
    unsigned starved;      /* which host, while `starving` */
    bool starving;
    bool closing;        /* what happens now is no violation */
    bool wiping;         /* all nodes are down at once, and lose their disks */
    char violation[512]; /* "" as long as all is well */
};

struct sim_outcome {
    bool ok;
    uint64_t hash, events, virtual_ms;
};

/* The first violation is kept, with the time. */
void sim_violated(struct sim_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* sim_run.c */
void sim_run_seed(const struct sim_options *options, struct sim_outcome *outcome);
struct sim_world *sim_world_new(const struct sim_options *options);
void sim_world_free(struct sim_world *world);
bool sim_form(struct sim_world *world); /* starts all nodes; they are a cluster that serves */
void sim_node_restart(struct sim_node *node, uint64_t after_ms); /* not from inside of it */

/* sim_topology.c: applies the shipped policy NAME, awaits that it is in force */
bool sim_topology_apply(struct sim_world *world, const char *name);
int sim_topology_submit(
    struct myco_core *leader, const char *folder, const char *name, struct myco_err *err);
/* Places are in force there, and it reaches all others of `count`. */
bool sim_topology_reaches(const struct myco_core *core, unsigned count);
void sim_topology_report(struct sim_world *world, FILE *file);

/* sim_scale_topology.c */
struct sim_scale_policies;
int sim_scale_policies_new(
    const char *folder, struct sim_scale_policies **shared, struct myco_err *err);
void sim_scale_policies_free(struct sim_scale_policies *shared);
struct myco_policy_port sim_scale_policies_port(struct sim_scale_policies *shared);

/* sim_failover.c */
int sim_failover(const struct sim_options *options);

/* sim_object.c: acknowledgements at level object, and the loss of everything at any instant */
void sim_object_run_seed(const struct sim_options *options, struct sim_outcome *outcome);

/* sim_scale_types.c: what one node sends, bytes per second */
struct sim_busy {
    unsigned host;
    double datagrams_ps, pings_ps, type_ps[256];
};
void sim_scale_busy_text(const struct sim_busy *busy);
void sim_scale_busy_json(const struct sim_busy *busy);

/* sim_scale.c: 1 when a goal is missed */
int sim_scale(const struct sim_options *options);

/* sim_check.c */
struct sim_check *sim_check_new(struct sim_world *world);
void sim_check_free(struct sim_check *check);
void sim_check_event(struct sim_node *node, const char *what, uint64_t a, uint64_t b,
    uint64_t c);                                /* of core events on_trace */
void sim_check_now(struct sim_world *world);    /* who holds what, at this instant of true time */
void sim_check_reborn(struct sim_world *world); /* the log starts again; epochs go on */
void sim_check_print(struct sim_world *world, FILE *file); /* what each node believes */
/* All in-sync copies are equal: when nothing is under way. */
void sim_check_copies(struct sim_world *world);
struct myco_core *sim_leader(struct sim_world *world); /* established, of the highest term; NULL */

/* sim_clients.c, sim_judge.c */
enum sim_what { SIM_GET, SIM_PUT, SIM_DEL, SIM_ADD /* put if absent */, SIM_CAS };
struct sim_operation {
    enum sim_what what;
    unsigned key;
    uint64_t value;          /* put: written; get: seen, 0: absent */
    uint64_t expected;       /* CAS: the value of the version that it names */
    uint64_t floor;          /* the newest version of the key that anybody knew of, when asked */
    uint64_t from_ns, to_ns; /* UINT64_MAX: never answered, may take effect whenever */
    int status;
    unsigned host;
};
struct sim_clients *sim_clients_new(struct sim_world *world);
void sim_clients_free(struct sim_clients *clients);
void sim_clients_start(struct sim_world *world);
void sim_clients_stop(struct sim_world *world);
void sim_clients_go_on(struct sim_world *world);
bool sim_clients_idle(struct sim_world *world);
bool sim_clients_ready(struct sim_world *world);   /* the septa exist, and every key can be read */
bool sim_clients_scanned(struct sim_world *world); /* a scan agrees with the last reads */
void sim_clients_verify(struct sim_world *world);  /* linearizability of all that happened */
void sim_clients_report(struct sim_world *world, FILE *file);
bool sim_judge(struct sim_operation *const *operations, size_t count, unsigned key);

/* sim_cache.c */
struct sim_cache *sim_cache_new(struct sim_world *world, const char *name, const char *spec);
void sim_cache_free(struct sim_cache *cache);
void sim_cache_start(struct sim_cache *cache);
void sim_cache_stop(struct sim_cache *cache);
bool sim_cache_idle(const struct sim_cache *cache);
void sim_cache_last(struct sim_cache *cache);   /* every key is to be read once more */
bool sim_cache_served(struct sim_cache *cache); /* that is done; asks */

/* Every second world with all faults has a septum that acknowledges before it is on disks, and no
 * rot: of that, a lost disk and a restart together may take the last copy. */
static inline bool sim_is_loose(const struct sim_world *world)
{
    return world->options.all_faults && world->options.seed % 2 == 1;
}

/* sim_acts.c */
struct sim_acts *sim_acts_new(struct sim_world *world);
void sim_acts_free(struct sim_acts *acts);
void sim_acts_start(struct sim_world *world, uint64_t ms);
void sim_acts_stop(struct sim_world *world);
void sim_acts_report(struct sim_world *world, FILE *file);

/* sim_events.c */
struct sim_events *sim_events_new(struct sim_world *world);
void sim_events_free(struct sim_events *events);
void sim_events_start(struct sim_world *world);
void sim_events_stop(struct sim_world *world);
void sim_events_node_up(struct sim_node *node);
void sim_events_node_down(struct sim_node *node); /* before its core goes */
void sim_events_last(struct sim_world *world);    /* one more from each, that all must hear */
bool sim_events_heard(struct sim_world *world);
void sim_events_report(struct sim_world *world, FILE *file);

/* sim_fence.c */
struct sim_fence *sim_fence_new(struct sim_world *world);
void sim_fence_free(struct sim_fence *fence);
void sim_fence_start(struct sim_world *world);
void sim_fence_stop(struct sim_world *world);
bool sim_fence_idle(struct sim_world *world);
void sim_fence_node_up(struct sim_node *node);
void sim_fence_node_down(struct sim_node *node);
void sim_fence_verify(struct sim_world *world); /* of all that was accepted */
void sim_fence_report(struct sim_world *world, FILE *file);

/* sim_chronicle.c */
struct sim_chronicle *sim_chronicle_new(void);
void sim_chronicle_free(struct sim_chronicle *chronicle);
void sim_chronicle_node_up(struct sim_node *node);
void sim_chronicle_verify(struct sim_world *world); /* at rest */
void sim_chronicle_report(struct sim_world *world, FILE *file);
/* sim_locks.c */
struct sim_locks *sim_locks_new(struct sim_world *world);
void sim_locks_free(struct sim_locks *locks);
void sim_locks_start(struct sim_world *world);
void sim_locks_stop(struct sim_world *world);
void sim_locks_node_up(struct sim_node *node);
void sim_locks_node_down(struct sim_node *node);
void sim_locks_check(struct sim_world *world); /* who holds what, at this instant of true time */
void sim_locks_last(struct sim_world *world);  /* each once more, who must get his turn */
bool sim_locks_served(struct sim_world *world);
void sim_locks_report(struct sim_world *world, FILE *file);

/* sim_disks.c */
struct sim_disks *sim_disks_new(struct sim_world *world);
void sim_disks_free(struct sim_disks *disks);
void sim_disks_start(struct sim_world *world, uint64_t until_ms);
void sim_disks_heal(struct sim_world *world);
void sim_disks_report(struct sim_world *world, FILE *file);

/* sim_voters.c */
bool sim_voters_suffers(const struct sim_options *options);
/* One for good; it comes back as a new member. */
void sim_voters_lose(struct sim_world *world, struct sim_loss *loss);

/* sim_loss.c */
struct sim_loss *sim_loss_prepare(struct sim_world *world); /* before anybody is lost */
void sim_loss_happened(struct sim_world *world, struct sim_loss *loss, uint64_t victim);
void sim_loss_accept(struct sim_world *world, struct sim_loss *loss); /* and frees */

/* sim_upgrade.c */
void sim_upgrade_init(struct sim_world *world);   /* some worlds begin with older nodes */
void sim_upgrade_starting(struct sim_node *node); /* a restart may bring the new version */
void sim_upgrade_finish(struct sim_world *world); /* what is old by now, one after the other */
bool sim_upgraded(struct sim_world *world);       /* all features are active everywhere */
void sim_upgrade_check(struct sim_world *world);

/* sim_starved.c */
void sim_starved_start(struct sim_world *world);
void sim_starved_stop(struct sim_world *world);

/* sim_store.c */
void sim_store_check(struct sim_world *world); /* every manifest that is kept, and what it names */
bool sim_store_complete(struct sim_world *world);  /* all that is committed is in the newest one */
size_t sim_store_orphans(struct sim_world *world); /* what no manifest names is gone, in time */
void sim_store_restore(struct sim_world *world);   /* all nodes lose everything, and come back */

#endif
