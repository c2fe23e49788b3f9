/* A small world for tests of the replicated log: servers with a disk each, a network between them,
 * all in virtual time and driven by one seed; and the rules that must hold whatever happens,
 * checked after every event. (The simulator in env/ is for whole nodes; this one can also tear,
 * flip and fail single files.) */
#ifndef MYCO_TEST_LOG_CLUSTER_H
#define MYCO_TEST_LOG_CLUSTER_H

#include "base/metric.h"
#include "consensus/log.h"

#define SERVERS_MAX 8
#define MS          1000000ull

struct world;

/* One file: `bytes` as a process sees it; of what is not synced a crash may take any part. */
struct blob {
    char path[128];
    struct myco_buf bytes;
    unsigned references;
    bool linked;
};

struct server_disk {
    struct myco_disk disk;
    struct world *world;
    struct blob *blobs[256];
    size_t count;
    bool fail_writes; /* every write ends with EIO from now on */
    uint64_t slow_ns; /* what each takes; 0: as the world says */
    unsigned opens;
};

struct server {
    struct myco_env env;
    struct myco_metrics metrics;
    struct myco_log sink;
    struct world *world;
    struct server_disk disk;
    struct myco_rlog *log; /* NULL: it is down */
    uint64_t id, wake_ns;
    unsigned lives; /* counts starts, so that what was meant for a former one is known */
    /* the replicated state: a chain over all commands */
    uint64_t chain, applied_index, commands;
    size_t ballast; /* bytes that its snapshot is padded with */
    int failed;     /* what `failed` said */
    char failure[256];
    uint64_t established_term, established_ns;
    unsigned changes, restores, applies;
};

struct world {
    struct server servers[SERVERS_MAX];
    size_t count;
    struct myco_rlog_options options; /* of each server: thresholds and times */
    uint64_t now_ns, random;
    struct event *queue; /* a heap by time, then by order */
    size_t queue_count, queue_capacity;
    uint64_t order;
    /* network */
    bool cut[SERVERS_MAX][SERVERS_MAX]; /* [from][to] */
    unsigned loss_percent, duplicate_percent;
    uint64_t delay_min_ns, delay_max_ns;
    uint64_t sync_min_ns, sync_max_ns;
    bool tails;        /* servers outside of the group follow their neighbours */
    bool torn_crashes; /* a crash keeps any part of what was being written */
    uint64_t sent, sent_bulk, sent_bytes;
    /* Sees every message as it is sent; false: it is lost. NULL: none. */
    bool (*filter)(struct world *world, uint64_t from, uint64_t to, struct myco_slice payload);
    void *filter_data;
    /* what must never change */
    struct committed {
        uint64_t term, hash, chain;
    } * committed; /* by index; term 0: not a command, or not yet applied anywhere */
    size_t committed_capacity;
    uint64_t committed_max;
    uint64_t *leaders; /* by term: who led it */
    size_t leaders_capacity;
    char violation[256]; /* the first one; empty: none */
};

void world_init(struct world *world, size_t count, uint64_t seed);
void world_free(struct world *world);
uint64_t world_random(struct world *world, uint64_t bound);
int world_start(struct world *world, size_t at, struct myco_err *err); /* open, from its disk */
void world_crash(struct world *world, size_t at);
/* The first `voters` servers, each with the same first configuration. */
void world_bootstrap(struct world *world, size_t voters);
void world_run(struct world *world, uint64_t ms);
/* Until `done` holds, asked after each event; false: `ms` have passed. */
bool world_until(
    struct world *world, bool (*done)(struct world *world, void *data), void *data, uint64_t ms);
void world_cut(struct world *world, size_t a, size_t b, bool cut); /* both ways */
void world_isolate(struct world *world, size_t at, bool cut);
void world_heal(struct world *world);
struct server *world_leader(struct world *world); /* established; of the highest term; NULL */
struct server *world_await_leader(struct world *world, uint64_t ms);
bool world_await_applied(
    struct world *world, uint64_t ms); /* all that are up have applied the same, and all */
int world_submit(struct world *world, const char *text); /* to the leader; ENOTLEADER */
/* Submits `count` commands, waits until all that are up have applied them. */
bool world_commit(struct world *world, unsigned count);
struct blob *world_blob(struct server *server, const char *path); /* NULL */
struct blob *world_last_segment(struct server *server);
void world_check(struct world *world);

#endif
