/* The options of a septum: one list says what there is, and from it come spec strings, Lua tables,
 * the configuration, `pulse septum create`, `alter` and `pulse septum NAME`.
 *
 * How they travel: what the first version knew has its fixed place in the command SEPTUM, in
 * snapshots and in manifests (myco__state_write_options). Everything else is a list of (number,
 * value), of what differs from the default only: in the commands SEPTUM_MAKE and SEPTUM_ALTER, and
 * in a section of snapshots. They need the feature septum_options; a number that a node does not
 * know is refused, never skipped. */
#ifndef MYCO_CONSENSUS_SEPTUM_H
#define MYCO_CONSENSUS_SEPTUM_H

#include "base/buf.h"
#include "base/err.h"
#include "store/hypha.h"

#define MYCO_HYPHAE_MAX  4096
#define MYCO_IDLE_MS_MAX (UINT64_C(180) * 24 * 60 * 60 * 1000) /* store/table_hint.c */

enum myco_septum_kind { MYCO_SEPTUM_CACHE, MYCO_SEPTUM_DURABLE };

/* What goes when a cache is full; a durable septum never evicts. */
enum myco_eviction {
    MYCO_EVICT_AUTO, /* lfu of a cache, none of a durable septum */
    MYCO_EVICT_LFU,
    MYCO_EVICT_LRU,
    MYCO_EVICT_NONE
};

struct myco_septum_options {
    enum myco_septum_kind kind;
    enum myco_level level;
    bool object;          /* level=object: DISK, and then the manifest of the object store */
    uint32_t hyphae;      /* 1 … MYCO_HYPHAE_MAX; default 64 */
    uint32_t copies;      /* primary and backups: replicas + 1 */
    uint32_t min_in_sync; /* below it writes are refused; default 1 */
    uint64_t ttl_ms;      /* 0: none */
    uint64_t idle_ms;     /* 0: none */
    uint64_t size_max;    /* bytes of keys, values and headers, of the whole septum; 0: no limit */
    uint64_t entries_max; /* of the whole septum; 0: no limit */
    uint32_t value_max;   /* bytes; 0: what the node allows */
    enum myco_eviction eviction;
};

/* X(number, name, type, initial, min, max, choices, hint, fixed, doc) — number 0: has its fixed
 * place; the others are for ever. fixed: why it can't change later, NULL: it can. */
#define MYCO_SEPTUM_OPTIONS(X)                                                                     \
    X(0, kind, CHOICE, "cache", 0, 0, "cache,durable", NULL,                                       \
        "what was promised to those who wrote can't be taken back",                                \
        "cache: may forget; durable: keeps what it acknowledged")                                  \
    X(0, level, CHOICE, "auto", 0, 0, "auto,memory,replicated,disk,object", NULL,                  \
        "its copies keep their journals by it",                                                    \
        "what an acknowledgement means; auto: disk for durable septa, memory for caches")          \
    X(0, hyphae, U64, "64", 1, MYCO_HYPHAE_MAX, NULL, NULL,                                        \
        "every key would belong to another hypha", "number of shards")                             \
    X(0, replicas, U64, "1", 0, MYCO_COPIES_MAX - 1, NULL, NULL, NULL,                             \
        "copies besides the primary")                                                              \
    X(0, min_in_sync, U64, "1", 1, MYCO_COPIES_MAX, NULL, NULL, NULL,                              \
        "copies, the primary counted, below which writes are refused")                             \
    X(0, ttl, DURATION, "0", 0, 0, NULL, NULL, NULL,                                               \
        "how long an entry lives unless its put says; 0: for ever; a change counts for what is "   \
        "written later")                                                                           \
    X(1, idle, DURATION, "0", 0, MYCO_IDLE_MS_MAX, NULL, NULL, NULL,                               \
        "an entry that nobody read or wrote for so long expires, to the second; 0: never")         \
    X(2, size, SIZE, "0", 0, 0, NULL, NULL, NULL,                                                  \
        "bytes of all entries together, divided over the hyphae; 0: no limit")                     \
    X(3, entries, U64, "0", 0, 0, NULL, NULL, NULL,                                                \
        "number of all entries together, divided over the hyphae; 0: no limit")                    \
    X(4, value_size, SIZE, "0", 0, MYCO_VALUE_SIZE_MAX, NULL, NULL, NULL,                          \
        "the largest value that is taken; 0: what the nodes allow")                                \
    X(5, eviction, CHOICE, "auto", 0, 0, "auto,lfu,lru,none", NULL, NULL,                          \
        "what a full cache does: drops what was used least often (lfu), longest ago (lru), or "    \
        "refuses (none); auto: lfu; a durable septum always refuses")

/* "kind=durable ttl=30d replicas=1 hyphae=64 level=disk min_in_sync=1", spaces or commas between.
 */
int myco_septum_options_parse(
    struct myco_septum_options *options, const char *spec, struct myco_err *err);
/* The same, on top of what is there. EINVAL also for an option that can't change, with the reason:
 * unless it stays what it is. */
int myco_septum_options_alter(
    struct myco_septum_options *options, const char *spec, struct myco_err *err);
/* EINVAL: they contradict each other. */
int myco_septum_options_check(const struct myco_septum_options *options, struct myco_err *err);
/* Only what the first version knew (and level=object) differs from the defaults. */
bool myco_septum_options_plain(const struct myco_septum_options *options);

/* Each option in turn, from 0; false: no more. Texts lent: value and initial until the next call
 * with the same row, the others for ever. */
struct myco_septum_shown {
    const char *name, *initial, *doc, *fixed;
    char value[32];
};
bool myco_septum_options_show(
    const struct myco_septum_options *options, size_t index, struct myco_septum_shown *shown);

/* The level as people write it: memory, replicated, disk or object. */
const char *myco_septum_level_name(const struct myco_septum_options *options);

/* u8 count, then u8 number and u64 value of each. */
void myco__septum_extras_write(struct myco_buf *out, const struct myco_septum_options *options);
void myco__septum_extras_read(struct myco_reader *in, struct myco_septum_options *options);

#endif
