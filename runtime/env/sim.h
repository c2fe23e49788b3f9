/* A whole world in one process, driven by one seed: virtual time, hosts with drifting clocks, a
 * network that loses and cuts, disks that forget what was not synced. The second implementation of
 * env/env.h, env/disk.h and env/transport.h; the first is libuv's.
 *
 * Everything that happens is an event at a virtual time, taken from one queue, ties in the order in
 * which they were made. Nothing here asks the real clock, the real network or the real disk, and
 * nothing is iterated in address order: the same seed and the same calls give the same run, event
 * by event, which myco_sim_trace_hash() shows.
 *
 * How to use it: give the callbacks that build and free the core of one host, start the hosts, run.
 *
 *     static void on_start(struct myco_sim *sim, unsigned host, void *data)
 *     {
 *         core[host] = core_new(myco_sim_env(sim, host), myco_sim_disk(sim, host), …);
 *         myco_sim_attach(sim, host, core[host]->id, generation, 0, &events);
 *     }
 *     static void on_crash(struct myco_sim *sim, unsigned host, void *data)
 *     {
 *         core_free(core[host]);       // into the void: sends, writes and timers do nothing any
 * more myco_sim_bury(sim, host);    // only if core_free() must hear its disk callbacks to finish
 *     }
 *
 *     struct myco_sim_options options;
 *     myco_sim_options_init(&options, seed, 5);
 *     options.on_start = on_start; options.on_crash = on_crash;
 *     struct myco_sim *sim = myco_sim_new(&options);
 *     for (unsigned host = 0; host < 5; host++) myco_sim_start(sim, host);
 *     myco_sim_nemesis(sim, &faults);                  // heals by faults.until_ms
 *     myco_sim_run(sim, 60000);
 *     if (violated) myco_sim_trace_print(sim, stderr);
 *
 * What changes the world (start, crash, pause, cut, …) is for the owner between two runs, or for
 * its functions run by myco_sim_at(); never for code that a host's callback called: a core can't be
 * freed while it stands on the stack. From inside a host, ask with myco_sim_at(sim, 0, …).
 *
 * Limits, honestly: computing takes no virtual time, so overload does not show here; and one host's
 * connection to each peer has its own bandwidth, so that a host's card is never the bottleneck. */
#ifndef MYCO_ENV_SIM_H
#define MYCO_ENV_SIM_H

#include <stdio.h>

#include "env/disk.h"
#include "env/env.h"
#include "env/transport.h"

#define MYCO_SIM_HOSTS_MAX 4096
#define MYCO_SIM_NONE      UINT32_MAX /* no host */
#define MYCO_SIM_MS        1000000ull /* ns in a millisecond */
#define MYCO_SIM_SECOND    1000000000ull

struct myco_sim;

/* ── Randomness: xoshiro256**, one stream for each use ──────────────────────────────────────── */

struct myco_sim_random {
    uint64_t s[4];
};
void myco_sim_random_init(struct myco_sim_random *random, uint64_t seed, uint64_t stream);
uint64_t myco_sim_random_u64(struct myco_sim_random *random);
uint64_t myco_sim_random_below(struct myco_sim_random *random, uint64_t bound); /* 0 … bound-1 */
uint64_t myco_sim_random_between(struct myco_sim_random *random, uint64_t low, uint64_t high);
bool myco_sim_random_chance(struct myco_sim_random *random, uint32_t ppm); /* of a million */

/* ── Options ────────────────────────────────────────────────────────────────────────────────── */

/* One direction between two hosts. A delay is uniform in [min, max], and now and then in [max,
 * tail]. */
struct myco_sim_path {
    uint64_t delay_min_ns, delay_max_ns; /* 50 µs, 300 µs */
    uint64_t delay_tail_ns;              /* 5 ms */
    uint32_t tail_ppm;                   /* how often it is the tail: 10,000 */
    uint32_t loss_ppm;      /* datagrams lost; of connections: sent again, 200 ms late: 0 */
    uint32_t duplicate_ppm; /* datagrams that come twice: 0 */
    uint32_t byte_ps;       /* picoseconds for each byte of a connection: 8,000 (1 Gbit/s) */
};

struct myco_sim_disk_options {
    uint64_t write_min_ns, write_max_ns; /* a write that is not synced, or a read: 10 µs, 100 µs */
    uint64_t sync_min_ns, sync_max_ns;   /* more, when it is synced: 100 µs, 2 ms */
    uint64_t sync_tail_ns;               /* 40 ms, … */
    uint32_t tail_ppm;                   /* … this often: 5,000 */
    uint32_t error_ppm;                  /* asynchronous calls that end with EIO: 0 */
    uint32_t flip_ppm;                   /* reads that return one wrong bit: 0 */
    uint64_t size_max;                   /* bytes of all files, then ENOSPC; 0: no limit */
};

struct myco_sim_options {
    uint64_t seed;
    unsigned host_count;
    uint32_t drift_ppm_max;            /* a host's clocks run at 1 ± up to this: 10,000 (1 %) */
    struct myco_sim_path path;         /* all pairs, until myco_sim_set_path() */
    struct myco_sim_disk_options disk; /* of each host */
    struct myco_sim_disk_options
        shared;              /* the shared one: 2 ms to 20 ms for a write, tail 300 ms */
    size_t control_size_max; /* of what waits in a lane of one connection: 16 MiB */
    size_t lane_size_max;    /* data and bulk: 64 MiB */
    unsigned silence_ms;     /* a connection that hears nothing breaks with TIMEOUT: 1,000 */
    int log_level;           /* of the hosts' logs, into the trace: MYCO_LOG_WARN */
    unsigned trace_count;    /* lines kept for myco_sim_trace_print(): 4,096 */

    /* Build the core of `host`, and throw it away. on_crash runs with the host already dead: its
     * calls into env, transport and disk are harmless, and have no effect. Both may be NULL. */
    void (*on_start)(struct myco_sim *sim, unsigned host, void *data);
    void (*on_crash)(struct myco_sim *sim, unsigned host, void *data);
    void (*on_trace)(const char *line, void *data); /* each line as it happens; slow; NULL: none */
    void *data;
};
void myco_sim_options_init(struct myco_sim_options *options, uint64_t seed, unsigned host_count);

/* *sim is given. All hosts are down, and their disks empty. */
struct myco_sim *myco_sim_new(const struct myco_sim_options *options);
void myco_sim_free(struct myco_sim *sim); /* crashes what still runs (on_crash is called) */

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

uint64_t myco_sim_now_ns(const struct myco_sim *sim); /* true time, from 0; what no host can know */
uint64_t myco_sim_now_ms(const struct myco_sim *sim);
bool myco_sim_step(struct myco_sim *sim); /* one event; false: there is none */
/* All events of the next `ms`; time ends there. */
void myco_sim_run(struct myco_sim *sim, uint64_t ms);
/* Until `done` says so, asked after each event, or `ms_max` have passed: then false. */
bool myco_sim_run_until(
    struct myco_sim *sim, bool (*done)(void *data), void *data, uint64_t ms_max);
/* Calls cb after `delay_ns`, outside of any host: the place for faults, clients and checks. */
void myco_sim_at(struct myco_sim *sim, uint64_t delay_ns, void (*cb)(void *data), void *data);
uint64_t myco_sim_events(const struct myco_sim *sim); /* executed so far */
/* A stream for the owner's own use. */
struct myco_sim_random *myco_sim_random(struct myco_sim *sim);

/* ── Hosts: 0 … host_count-1 ────────────────────────────────────────────────────────────────── */

enum myco_sim_crash {
    MYCO_SIM_KILL,  /* the process dies: the system keeps what was written, peers see RESET, then
                       REFUSED */
    MYCO_SIM_POWER, /* the machine dies: what was not synced is at risk, peers see TIMEOUT */
};
/* Calls on_start; not when it runs already. */
void myco_sim_start(struct myco_sim *sim, unsigned host);
/* Calls on_crash; not when down. */
void myco_sim_crash(struct myco_sim *sim, unsigned host, enum myco_sim_crash how);
/* Only inside on_crash, after the core was told to close: ends every disk call under way with
 * ECANCELED and runs what is deferred, until nothing is left, so that an asynchronous close can
 * finish. Timers do not fire. */
void myco_sim_bury(struct myco_sim *sim, unsigned host);
/* What happens to it meanwhile, happens then. */
void myco_sim_pause(struct myco_sim *sim, unsigned host, uint64_t ms);
bool myco_sim_up(const struct myco_sim *sim, unsigned host);
bool myco_sim_paused(const struct myco_sim *sim, unsigned host);
unsigned myco_sim_down_count(const struct myco_sim *sim);

struct myco_env *myco_sim_env(struct myco_sim *sim, unsigned host);

/* What a host sent and received since the world began, with what each costs on a real network:
 * datagrams 28 bytes more (IP, UDP), messages 16 (their frame; TCP's own share depends on how they
 * are gathered). */
struct myco_sim_traffic {
    uint64_t datagrams_out, datagrams_in, messages_out, messages_in;
    uint64_t datagram_bytes_out, datagram_bytes_in, message_bytes_out, message_bytes_in;
    uint64_t type_bytes_out[256]; /* of message_bytes_out, by the type of the message */
};
void myco_sim_traffic(struct myco_sim *sim, unsigned host, struct myco_sim_traffic *traffic);
unsigned myco_sim_connections(struct myco_sim *sim, unsigned host); /* that stand */
/* Monotonic time of `host` now (true time × its rate since it booted), and the jump of its wall
 * clock. */
uint64_t myco_sim_host_now_ns(struct myco_sim *sim, unsigned host);
int32_t myco_sim_drift_ppm(const struct myco_sim *sim, unsigned host);
void myco_sim_set_drift(struct myco_sim *sim, unsigned host, int32_t ppm); /* while it is down */
void myco_sim_jump_wall(struct myco_sim *sim, unsigned host, int64_t ms);

/* ── Network ────────────────────────────────────────────────────────────────────────────────── */

/* 10.0.x.y:7946, for datagrams and connections. */
struct myco_addr myco_sim_addr(unsigned host);
/* MYCO_SIM_NONE. */
unsigned myco_sim_host_of(const struct myco_sim *sim, const struct myco_addr *addr);
struct myco_transport *myco_sim_transport(struct myco_sim *sim, unsigned host);
/* From on_start: who this process says it is in handshakes, and what hears of its connections.
 * Until then (and again after a crash) nobody listens there. *events is copied. */
void myco_sim_attach(struct myco_sim *sim, unsigned host, uint64_t id, uint64_t generation,
    uint64_t features, const struct myco_transport_events *events);

void myco_sim_set_path(
    struct myco_sim *sim, unsigned from, unsigned to, const struct myco_sim_path *path);
void myco_sim_set_all_paths(struct myco_sim *sim, const struct myco_sim_path *path);
/* Nothing passes in this one direction any more. Connections stand for silence_ms; what they carry
 * waits. */
void myco_sim_cut(struct myco_sim *sim, unsigned from, unsigned to);
void myco_sim_mend(struct myco_sim *sim, unsigned from, unsigned to);
void myco_sim_cut_both(struct myco_sim *sim, unsigned a, unsigned b);
void myco_sim_isolate(struct myco_sim *sim, unsigned host); /* both ways, from all others */
/* side[host] says to which side each host belongs: cuts all pairs that are not on the same. */
void myco_sim_partition(struct myco_sim *sim, const uint8_t *side);
void myco_sim_mend_all(struct myco_sim *sim);
/* The connection between two hosts breaks, in the middle of whatever it carries; both ends see
 * RESET, and may dial at once. */
void myco_sim_break(struct myco_sim *sim, unsigned a, unsigned b);
bool myco_sim_is_cut(const struct myco_sim *sim, unsigned from, unsigned to);

/* ── Disks ──────────────────────────────────────────────────────────────────────────────────── */

/* A host's own disk survives its crashes. The shared one is one folder that each host sees through
 * a disk of its own (for object/'s file store): a put of a host that crashed may still arrive, or
 * not. */
struct myco_disk *myco_sim_disk(struct myco_sim *sim, unsigned host);
struct myco_disk *myco_sim_shared_disk(struct myco_sim *sim, unsigned host);
/* The host does not reach the shared disk: calls end with ETIMEDOUT after a second; those under way
 * may have happened. */
void myco_sim_shared_cut(struct myco_sim *sim, unsigned host, bool cut);
uint64_t myco_sim_shared_wall_ms(const struct myco_sim *sim); /* the clock of the shared disk */

/* On any disk of the two kinds above. */
void myco_sim_disk_options(struct myco_disk *disk, const struct myco_sim_disk_options *options);
/* Rot: inverts one bit of what is stored, for good; false when there is no such byte. */
bool myco_sim_disk_flip(struct myco_disk *disk, const char *path, uint64_t offset, unsigned bit);
void myco_sim_disk_wipe(struct myco_disk *disk); /* an empty one; only while no host runs on it */
uint64_t myco_sim_disk_size(const struct myco_disk *disk); /* bytes of all files */

/* ── Nemesis: a seeded schedule of faults ───────────────────────────────────────────────────── */

/* Mean time between two faults of one kind in the whole world, in ms; 0: never. */
struct myco_sim_nemesis {
    uint64_t until_ms;     /* from now: by then everything is healed, and everybody runs */
    uint64_t crash_ms;     /* one host, for 50 ms to down_ms_max */
    uint64_t partition_ms; /* two random sides, or one host alone, or one direction of one pair, for
                              up to cut_ms_max */
    uint64_t pause_ms;     /* one host, for up to pause_ms_max */
    uint64_t jump_ms;      /* one wall clock, by up to ± jump_ms_max */
    uint64_t loss_ms;  /* all paths lose up to 30 % and delay up to 50 ms, for up to cut_ms_max */
    uint64_t store_ms; /* one host does not reach the shared disk, for up to cut_ms_max */
    /* These draw from a stream of their own: without them the others strike as they always did. */
    uint64_t partial_ms; /* some pairs are cut, and still each host reaches all others by a detour:
                            one pair, a ring, a star, or two sides with one host in both */
    uint64_t flap_ms;    /* one link, or one direction, is cut and mended every 5 to 400 ms, for up
                            to cut_ms_max */
    uint64_t break_ms; /* connections of one host break in the middle of messages, up to 8 times */
    uint64_t storm_ms; /* on all paths of one host most datagrams come twice, and overtake each
                          other by up to 200 ms, for up to cut_ms_max */
    uint64_t suspend_ms; /* one machine sleeps, for 2 s to suspend_ms_max: its process stands still,
                            its clocks run on, its peers hear nothing */
    uint64_t down_ms_max;    /* 0: 3,000 */
    uint64_t cut_ms_max;     /* 0: 3,000 */
    uint64_t pause_ms_max;   /* 0: 2,000 */
    uint64_t jump_ms_max;    /* 0: 3,600,000 */
    uint64_t suspend_ms_max; /* 0: 12,000 */
    unsigned down_max;       /* at most this many are down at once; 0: fewer than half */
    unsigned power_percent;  /* of the crashes that are POWER; 0: 50; above 100: none */
};
/* One at a time: starting it again replaces what the former had planned, and heals first. */
void myco_sim_nemesis(struct myco_sim *sim, const struct myco_sim_nemesis *nemesis);
/* Now: mends all cuts and paths, starts all hosts that are down, lets the shared disk be
 * reached. */
void myco_sim_heal(struct myco_sim *sim);

/* ── Trace ──────────────────────────────────────────────────────────────────────────────────── */

/* Chained over every event: its time, kind, hosts, size and a hash of its bytes. */
uint64_t myco_sim_trace_hash(const struct myco_sim *sim);
/* The owner's own line; part of the hash. Logs of hosts come here too (not part of the hash). */
void myco_sim_note(struct myco_sim *sim, unsigned host, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The last lines, oldest first. */
void myco_sim_trace_print(const struct myco_sim *sim, FILE *file);

#endif
