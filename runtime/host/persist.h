/* Persistence to the object store: primaries upload what they committed, the leader of `mycel`
 * names it in the manifest, and a hypha without copies is loaded from there.
 *
 *   primary: export dirty hyphae → PUT d/<node>/<generation>-<counter> → VOUCH to the leader
 *   leader:  is the sender primary of each, in this epoch; does it continue what the manifest has →
 * next manifest → UPLOADED to all: what the manifest holds of each hypha
 *
 *   PERSIST messages: u8 kind, then
 *   VOUCH    u64 serial, str key, u64 size, u32 n, n × (septum, hypha, snapshot, epoch, from, to,
 * at, size, crc) REFUSED  u64 serial             the leader does not take it: ask what the manifest
 * holds UPLOADED u64 epoch, u32 n, n × (u64 septum, u32 hypha, u64 to, u32 sections) ASK what does
 * the manifest hold? */
#ifndef MYCO_HOST_PERSIST_H
#define MYCO_HOST_PERSIST_H

#include "base/cron.h"
#include "host/core_internal.h"

enum { PERSIST_VOUCH = 1, PERSIST_REFUSED, PERSIST_UPLOADED, PERSIST_ASK };

/* The answer of the persistence policy for a septum. */
struct persist_plan {
    uint64_t septum;
    bool object;               /* level=object: due whenever an acknowledgement waits */
    uint64_t every_ms, due_ms; /* every_ms 0: not by the clock */
    uint64_t bytes, writes;    /* so many new ones in the hyphae of this node: due; 0: no */
    bool has_cron;
    struct myco_cron cron;
    struct myco_zone *zone;     /* NULL: UTC */
    uint64_t cron_ms;           /* when it fires next, by the wall clock; 0: never */
    uint64_t retain_ms;         /* how long replaced objects stay */
    uint32_t snapshot_segments; /* so many sections of a hypha, then a whole one */
};

struct persist_section {
    uint64_t septum;
    uint32_t hypha;
    struct myco_section section; /* object is not used */
};

struct persist_vouch {
    uint64_t serial;
    char key[96];
    uint64_t size;
    struct persist_section *sections;
    uint32_t count;
};

/* What the manifest holds of a hypha. */
struct persist_uploaded {
    uint64_t to;
    uint32_t sections;
    uint64_t appended; /* bytes that this node uploaded since the last whole one, as it knows */
};

/* Vouched for while a manifest was being written: merged into the next one. One of each node. */
#define PERSIST_AWAY_MS   2000 /* of failures alone: the store is away */
#define PERSIST_QUEUE_MAX 256
struct persist_queued {
    uint64_t from;
    struct persist_vouch vouch;
};

struct core_persist {
    struct myco_core *core;
    struct myco_object *store;
    struct myco_timer tick, soon;
    /* uploader */
    struct persist_plan *plans;
    uint32_t plan_count;
    bool plans_stale;
    struct persist_vouch
        vouch; /* uploaded or being uploaded, and not in the manifest yet; count 0: none */
    bool uploading, vouched;
    uint64_t vouched_since_ms, vouch_at_ms, counter, backoff_until_ms, ask_at_ms;
    uint64_t known_epoch;     /* of the mycel leader whose list we have */
    struct myco_map uploaded; /* septum << 32 | hypha → struct persist_uploaded */
    struct myco_list held;    /* struct persist_held: acknowledgements that wait */
    uint32_t held_count;
    uint64_t failing_since_ms; /* 0: the store's last answer was good */
    char failure[160];
    bool away_told;
    uint64_t measure_at_ms;
    /* leader */
    struct persist_queued queue[PERSIST_QUEUE_MAX];
    uint32_t queued;
    struct myco_chain *chain;
    uint64_t epoch; /* of the chain; 0: not leading */
    bool taking_over, took_over, writing, dirty, fenced;
    uint64_t take_over_at_ms, write_again_ms, prune_at_ms;
    uint64_t grace_ms,
        grace_max_ms; /* as the chain was told; what it can remember, 0: no limit met */
    struct myco_manifest manifest;
    /* loader */
    struct myco_list loads; /* struct persist_load */
    bool manifest_asked;
    bool looking_for_orphans;
    struct myco_manifest source; /* of the restore; epoch 0: not read yet */
    bool source_read;
    /* flush */
    void (*flushed)(void *data);
    void *flushed_data;
    uint64_t flush_until_ms;
    struct myco_chain *buried[8];
    uint32_t buried_count;
    struct myco_deferred bury;
};

void persist_vouch_write(struct myco_buf *out, const struct persist_vouch *vouch);
/* Sections are given. */
bool persist_vouch_read(struct myco_reader *in, struct persist_vouch *vouch);
void persist_vouch_free(struct persist_vouch *vouch);
/* To this node too. */
void persist_send(struct core_persist *persist, uint64_t to, struct myco_buf *payload);
uint64_t persist_hypha_key(uint64_t septum, uint32_t hypha);

void persist_soon(struct core_persist *persist); /* looks for what is due on the next turn */

/* persist_plan.c */
void persist_plans_make(struct core_persist *persist);
void persist_plans_free(struct core_persist *persist);
bool persist_plan_due(struct core_persist *persist, const struct persist_plan *plan);
void persist_plan_done(struct core_persist *persist, struct persist_plan *plan); /* when next */

/* persist_behind.c: what the store answered; the first failure in a row is warned of */
void persist_failed(struct core_persist *persist, const char *what, const char *message);
void persist_succeeded(struct core_persist *persist);
/* The manifest names this section of ours. */
void persist_caught_up(struct core_persist *persist, const struct persist_section *section);
void persist_measure(struct core_persist *persist); /* how far the store is behind; each second */

/* persist_held.c */
void persist_held_check(struct core_persist *persist); /* tells those whose time has come */
void persist_held_close(struct core_persist *persist);

/* persist_leader.c */
void persist_leader_tick(struct core_persist *persist);
void persist_leader_vouched(
    struct core_persist *persist, uint64_t from, struct persist_vouch *vouch);
void persist_leader_tell(struct core_persist *persist, uint64_t to); /* 0: all */
void persist_leader_stop(struct core_persist *persist);

/* persist_orphans.c */
void persist_orphans_collect(struct core_persist *persist); /* as leader, after a commit */

/* persist_load.c */
void persist_loads_tick(struct core_persist *persist);
void persist_loads_close(struct core_persist *persist);

#endif
