/* What the files of the simulator share with each other, and with nobody else. */
#ifndef MYCO_ENV_SIM_PRIVATE_H
#define MYCO_ENV_SIM_PRIVATE_H

#include "base/assert.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "env/sim.h"

#define MYCO_SIM_INSTANT_MAX                                                                       \
    1000000 /* events at one instant before we say that time stands still */
#define MYCO_SIM_TEXT_MAX 160

/* ── Events (sim_world.c) ───────────────────────────────────────────────────────────────────── */

struct sim_event;
typedef void (*sim_event_cb)(struct sim_event *event);

/* `run` happens at `at`; a host's event vanishes with the process it was meant for (`boot`), and
 * waits while that is paused. Whether it ran or vanished, `drop` then frees what it carries. */
struct sim_event {
    struct myco_list link; /* in a paused host's list, or among the free ones */
    uint64_t at, sequence;
    struct myco_sim *sim;
    unsigned host; /* MYCO_SIM_NONE: of the world, always runs */
    uint32_t boot; /* 0: whichever process runs there by then */
    sim_event_cb run, drop;
    uint64_t a, b, c;
    void *p;
};

/* X(symbol, "text") — kinds of lines in the trace. */
#define SIM_TRACE_KINDS(X)                                                                         \
    X(START, "start")                                                                              \
    X(CRASH, "crash")                                                                              \
    X(PAUSE, "pause")                                                                              \
    X(RESUME, "resume")                                                                            \
    X(WAKE, "wake")                                                                                \
    X(CALL, "call")                                                                                \
    X(DATAGRAM, "datagram")                                                                        \
    X(LOST, "datagram lost")                                                                       \
    X(UP, "connection up")                                                                         \
    X(DOWN, "connection down")                                                                     \
    X(MESSAGE, "message")                                                                          \
    X(DRAIN, "lane drained")                                                                       \
    X(CUT, "cut")                                                                                  \
    X(MEND, "mend")                                                                                \
    X(PATH, "path changed")                                                                        \
    X(JUMP, "wall clock jumps")                                                                    \
    X(STORE, "shared disk reachable")                                                              \
    X(WRITE, "write done")                                                                         \
    X(PUT, "put done")                                                                             \
    X(GET, "get done")                                                                             \
    X(LIST, "list done")                                                                           \
    X(DEL, "delete done")                                                                          \
    X(LOSE, "unsynced bytes judged")                                                               \
    X(ROT, "bit inverted")                                                                         \
    X(NOTE, "note")                                                                                \
    X(LOG, "log")

enum sim_trace_kind {
#define X(symbol, text) SIM_TRACE_##symbol,
    SIM_TRACE_KINDS(X)
#undef X
};

struct sim_trace_line {
    uint64_t at, size, hash;
    enum sim_trace_kind kind;
    unsigned host, peer;
    char text[MYCO_SIM_TEXT_MAX];
};

/* ── Disks (sim_disk.c, sim_op.c, sim_volume.c)
 * ───────────────────────────────────────────────────────── */

struct sim_node;
/* Files by path, sorted; what a machine, or the shared store, has on its platters. */
struct sim_volume {
    struct sim_node **nodes;
    size_t count, capacity;
    uint64_t size;
    struct myco_sim_disk_options options;
    struct myco_sim_random random;
};

/* One host's way to a volume. */
struct sim_disk {
    struct myco_disk base;
    struct sim_host *host;
    struct sim_volume *volume;
    struct myco_list ops;   /* under way, in the order of the calls */
    struct myco_list files; /* open */
    bool shared, cut;
};

/* ── Connections (sim_link.c, sim_flow.c) ───────────────────────────────────────────────────── */

struct sim_message {
    struct myco_list link;
    struct myco_buf payload;
    size_t sent; /* bytes that left already, in pieces */
    uint8_t type;
    uint8_t lane;
};

struct sim_lane {
    struct myco_list messages;
    size_t size; /* bytes that wait, envelopes included */
    bool refused;
};

/* What one host keeps about its connection to one peer. `session` names one life of the connection:
 * both ends of a connection that stands have the same; anything that carries another is late. */
struct sim_link {
    struct sim_host *host;
    uint64_t peer;
    struct myco_addr addr;
    bool linked, up;
    unsigned remote; /* host at the other end, while up */
    uint64_t session;
    uint64_t dialling;     /* number of the handshake that we started; 0: none */
    uint64_t accepting;    /* number of the one that the other end started */
    uint64_t dial_stamp;   /* of the planned dial: older ones are void */
    uint64_t accept_until; /* when `accepting` is given up, and one may dial oneself */
    unsigned backoff_ms;
    /* outgoing */
    struct sim_lane lanes[MYCO_LANE_COUNT];
    size_t flying; /* bytes that left and did not arrive */
    uint64_t busy_until, last_arrival;
    uint64_t burst_count;
    bool pumping;          /* a pump event is planned */
    struct myco_list held; /* bursts (events) that arrived at a cut, in order */
    /* incoming */
    uint64_t burst_expected;
    struct myco_list early; /* bursts (events) that overtook one that was held */
};

struct sim_transport {
    struct myco_transport base;
    struct sim_host *host;
    struct myco_transport_events events;
    bool attached;
    unsigned up_count; /* links that stand */
    uint64_t id, generation, features;
    struct myco_map links; /* by peer id */
};

/* ── The world ──────────────────────────────────────────────────────────────────────────────── */

struct sim_host {
    struct myco_env env;
    struct myco_sim *sim;
    unsigned index;
    bool up;      /* a process runs */
    bool dying;   /* inside on_crash */
    bool powered; /* the machine runs: its port refuses while no process does */
    uint64_t paused_since, paused_until;
    bool paused;
    uint32_t boot; /* counts processes */
    struct myco_list parked;
    int32_t drift_ppm;
    uint64_t clock_true, clock_local; /* local time was clock_local at true time clock_true */
    int64_t wall_jump_ms;
    uint64_t wake_queued; /* true time of the wake event that counts */
    uint64_t wake_due;
    struct myco_sim_random random;
    struct myco_sim_traffic traffic;
    struct myco_metrics metrics;
    struct myco_log log;
    struct sim_transport transport;
    struct sim_volume volume;
    struct sim_disk disk, shared;
};

struct sim_direction { /* from one host to another, where it differs from the rest */
    unsigned from, to;
    bool cut, own_path;
    uint64_t cut_since;
    struct myco_sim_path path;
};

struct sim_nemesis;

/* An event's place in the queue: what is compared lies there, for a queue of a million events does
 * not fit any cache. */
struct sim_due {
    uint64_t at, sequence;
    struct sim_event *event;
};

struct myco_sim {
    struct myco_sim_options options;
    uint64_t now, sequence, executed, instant_count, next_session;
    struct sim_due *heap;
    size_t heap_count, heap_capacity;
    struct myco_list free_events;
    struct sim_host **hosts;
    unsigned host_count;
    unsigned inside;          /* the host whose code is on the stack */
    struct sim_volume volume; /* the shared one */
    struct myco_map directions;
    struct myco_sim_random net_random, owner_random;
    struct sim_nemesis *nemesis;
    /* trace */
    uint64_t trace_hash, trace_total;
    struct sim_trace_line *trace;
};

/* sim_world.c */
struct sim_event *myco__sim_event(struct myco_sim *sim, uint64_t at, sim_event_cb run);
struct sim_event *myco__sim_host_event(struct sim_host *host, uint64_t at, sim_event_cb run);
void myco__sim_event_push(struct sim_event *event); /* makes it wait in the queue */
void myco__sim_event_free(struct sim_event *event);
struct sim_host *myco__sim_host(const struct myco_sim *sim, unsigned host);
void myco__sim_enter(struct sim_host *host); /* around every call into a host's code */
void myco__sim_leave(struct sim_host *host);

/* sim_host.c */
void myco__sim_host_init(struct sim_host *host, struct myco_sim *sim, unsigned index);
void myco__sim_host_close(struct sim_host *host);
void myco__sim_resume(struct sim_event *event);

/* sim_trace.c */
void myco__sim_trace(struct myco_sim *sim, enum sim_trace_kind kind, unsigned host, unsigned peer,
    uint64_t size, uint64_t hash);
void myco__sim_trace_text(
    struct myco_sim *sim, enum sim_trace_kind kind, unsigned host, uint64_t size, const char *text);
void myco__sim_log_sink(
    int level, const char *subsystem, const char *message, const char *fields, void *data);

/* sim_net.c */
struct sim_direction *myco__sim_direction(
    struct myco_sim *sim, unsigned from, unsigned to, bool make);
const struct myco_sim_path *myco__sim_path(struct myco_sim *sim, unsigned from, unsigned to);
uint64_t myco__sim_delay(struct myco_sim *sim, unsigned from, unsigned to); /* drawn anew */
int myco__sim_datagram_send(
    struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes);
void myco__sim_net_close(struct myco_sim *sim);

/* sim_link.c */
void myco__sim_transport_init(struct sim_transport *transport, struct sim_host *host);
/* Forgets all links; says nothing. */
void myco__sim_transport_close(struct sim_transport *transport);
/* The others find out. */
void myco__sim_transport_crashed(struct sim_host *host, enum myco_sim_crash how);
void myco__sim_transport_paused(struct sim_host *host);
void myco__sim_transport_cut(struct myco_sim *sim, unsigned from, unsigned to);
void myco__sim_transport_mended(struct myco_sim *sim, unsigned from, unsigned to);
void myco__sim_transport_broken(struct myco_sim *sim, unsigned from, unsigned to);
struct sim_link *myco__sim_link(struct sim_host *host, uint64_t peer); /* NULL */

/* sim_flow.c */
int myco__sim_flow_send(
    struct sim_link *link, enum myco_lane lane, uint8_t type, struct myco_buf *payload);
void myco__sim_flow_start(struct sim_link *link, uint64_t first_arrival);
void myco__sim_flow_init(struct sim_link *link);
void myco__sim_flow_drop(struct sim_link *link);    /* what waits, and what is held at a cut */
void myco__sim_flow_release(struct sim_link *link); /* held bursts go on */

/* sim_op.c */
void myco__sim_disk_init(
    struct sim_disk *disk, struct sim_host *host, struct sim_volume *volume, bool shared);
void myco__sim_disk_crash(struct sim_disk *disk, enum myco_sim_crash how);
bool myco__sim_disk_bury(struct sim_disk *disk); /* true: it ended something */
void myco__sim_disk_close(struct sim_disk *disk);

/* sim_volume.c */
/* One file. A handle keeps it after its path is gone, or names another. */
struct sim_node {
    char *path; /* NULL: no path any more */
    uint8_t *data;
    uint64_t size, capacity, modified_ms;
    unsigned references; /* the path's and the handles' */
    uint64_t last_at;    /* completion of the last write under way: order */
    struct myco_list unsynced;
};
void myco__sim_volume_init(struct sim_volume *volume, const struct myco_sim_disk_options *options,
    uint64_t seed, uint64_t stream);
void myco__sim_volume_close(struct sim_volume *volume);
void myco__sim_volume_lose(struct sim_volume *volume);
size_t myco__sim_volume_find(const struct sim_volume *volume, const char *path, bool *found);
/* NULL; borrowed. */
struct sim_node *myco__sim_node_get(struct sim_volume *volume, const char *path);
/* In place of a former one. */
struct sim_node *myco__sim_node_make(struct sim_volume *volume, const char *path);
void myco__sim_node_unlink(struct sim_volume *volume, const char *path);
void myco__sim_node_release(struct sim_volume *volume, struct sim_node *node);
int myco__sim_node_write(struct sim_volume *volume, struct sim_node *node, uint64_t offset,
    struct myco_slice bytes, bool sync);
void myco__sim_node_sync(struct sim_node *node);
int myco__sim_node_truncate(struct sim_volume *volume, struct sim_node *node, uint64_t size);

/* sim_op.c */
enum sim_op_kind { SIM_OP_WRITE, SIM_OP_PUT, SIM_OP_GET, SIM_OP_LIST, SIM_OP_DEL };

struct sim_file {
    struct myco_file base;
    struct myco_list link;
    struct sim_node *node;
    bool broken; /* a sync failed: no more writes until it is opened anew, as under libuv */
};

struct sim_op {
    struct myco_list link;
    struct sim_disk *disk;
    struct sim_volume *volume;
    struct sim_file *file; /* SIM_OP_WRITE; NULL once it was closed */
    struct sim_node *node; /* SIM_OP_WRITE, referenced */
    enum sim_op_kind kind;
    bool done;  /* it took effect; `status` says how */
    bool ghost; /* its process is gone: an effect, and no callback */
    bool sync, unreachable;
    int flags, status;
    uint64_t offset, size;
    char *path;
    struct myco_slice lent; /* SIM_OP_WRITE: the caller's; must not change before the callback */
    uint8_t *bytes;         /* our copy of them */
    struct myco_buf result; /* SIM_OP_GET */
    struct myco_disk_entry *entries; /* SIM_OP_LIST: paths are copies */
    size_t entry_count;
    myco_disk_cb cb;
    myco_disk_read_cb read_cb;
    myco_disk_list_cb list_cb;
    void *data;
    struct sim_event *event; /* that gives it effect */
};

uint64_t myco__sim_disk_clock_ms(struct sim_disk *disk);
struct sim_op *myco__sim_op_new(struct sim_disk *disk, enum sim_op_kind kind, const char *path);
void myco__sim_file_free(struct sim_file *file);
void myco__sim_op_start(struct sim_op *op, bool sync); /* writes of one file in order */
void myco__sim_op_effect(struct sim_op *op);           /* now */
int myco__sim_put(struct sim_disk *disk, const char *path, struct myco_slice bytes, int flags);
void myco__sim_flip(struct sim_volume *volume, uint8_t *bytes, size_t size);
struct myco_disk_entry *myco__sim_listing(
    struct sim_volume *volume, const char *prefix, size_t *count);
void myco__sim_listing_free(struct myco_disk_entry *entries, size_t count);

#endif
