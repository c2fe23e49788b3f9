/* What the files of the table share: entries, buckets, the memory they come from and the readers
 * that memory waits for. Who builds on whom: table_slab.c ← domain.c ← table_index.c ← table.c,
 * table_scan.c. */
#ifndef MYCO_STORE_TABLE_INTERNAL_H
#define MYCO_STORE_TABLE_INTERNAL_H

#include "base/list.h"
#include "store/table.h"

/* ── Memory: table_slab.c ───────────────────────────────────────────────────────────────────────
 * One writer only, which is why it needs no lock: readers never allocate here, and what they may
 * still see is freed by the writer later. */

#define MYCO__SLAB_ITEM_MAX (8 * 1024) /* larger ones come from malloc */
#define MYCO__SLAB_CLASSES  (127 + 24 + 8)

struct myco__slab_class {
    struct myco_list partial;    /* slabs with room; the first is taken from */
    struct myco_list evacuating; /* slabs that are to be emptied, by moving what is in them */
    uint64_t room;               /* free items in `partial` */
};

struct myco__slabs {
    struct myco_list arenas; /* those with free slabs first */
    size_t mapped_size;      /* by mmap: arenas and large segments of indexes */
    size_t large_size;       /* from malloc */
    uint32_t evacuating_count;
    uint32_t dirty_count; /* free slabs whose pages the system did not get back */
    uint32_t cost;        /* of system calls since the last myco__slabs_spend() */
    struct myco__slab_class classes[MYCO__SLAB_CLASSES];
};

void myco__slabs_init(struct myco__slabs *slabs);
void myco__slabs_close(struct myco__slabs *slabs); /* all slabs, also when items are left in them */
/* Aligned to 8 bytes. NULL when there is none. */
void *myco__slabs_alloc(struct myco__slabs *slabs, size_t size);
void myco__slabs_free(struct myco__slabs *slabs, void *memory, size_t size); /* as allocated */
/* Counts one thing freed, and what it led to, down from *budget. */
static inline void myco__slabs_spend(struct myco__slabs *slabs, size_t *budget)
{
    size_t cost = 1 + slabs->cost;
    *budget -= cost < *budget ? cost : *budget;
    slabs->cost = 0;
}
/* The item had better be copied to a new one: its slab is nearly empty. */
bool myco__slabs_evacuating(const struct myco__slabs *slabs, const void *memory, size_t size);
/* Whole cache lines, zeroed, a power of two of them, never moved. NULL when there are none. */
void *myco__lines_alloc(struct myco__slabs *slabs, size_t size);
void myco__lines_free(struct myco__slabs *slabs, void *memory, size_t size);
/* Of lines that will be freed: gives the pages of this part back already. */
void myco__lines_forget(struct myco__slabs *slabs, void *memory, size_t size);

/* ── Readers and retirement: domain.c ────────────────────────────────────────────────────────── */

struct myco__reader;
struct myco__entry;
struct myco__bucket;

struct myco__slabs *myco__domain_slabs(struct myco_domain *domain);
/* What the thread found between these two stays readable until the second. They don't nest. */
struct myco__reader *myco__reader_enter(struct myco_domain *domain);
void myco__reader_leave(struct myco__reader *reader);
/* The writer as a reader: nothing that it retires in between is freed. */
void myco__domain_hold(struct myco_domain *domain);
void myco__domain_unhold(struct myco_domain *domain);
/* Take what no new reader can find; it is freed after the grace period. */
void myco__domain_retire_entry(struct myco_domain *domain, struct myco__entry *entry);
void myco__domain_retire_bucket(struct myco_domain *domain, struct myco__bucket *bucket);
void myco__domain_retire_table(struct myco_domain *domain, struct myco_table *table);
/* At the end of every write to a table: polls when enough was retired. */
void myco__domain_settle(struct myco_domain *domain);

/* ── Entries ────────────────────────────────────────────────────────────────────────────────────
 *
 *     0         8          16                                  bytes
 *     | version | packed   | key … | value … |                 short form
 *     | version | packed   | expires_ms 8 | key size 4 | value size 4 | key … | value … |
 *
 *     packed, from the lowest bit: expires_ms 43 (the year 2248), hinted 1, key size 8, value size
 *     12. A value size of 4095 says that it did not fit, and that the real numbers follow. Hinted:
 * 4 bytes come first behind it that the writer changes in place; readers pass over them. */
struct myco__entry {
    uint64_t version;
    uint64_t packed;
};

#define MYCO__ENTRY_LONG 0xfffu

#define MYCO__EXPIRES_BITS 43
#define MYCO__ENTRY_HINTED (UINT64_C(1) << MYCO__EXPIRES_BITS)

struct myco__entry_head {
    uint64_t expires_ms;
    uint32_t key_size, value_size;
};

static inline uint32_t *myco__entry_hint(const struct myco__entry *entry) /* NULL: none */
{
    return entry->packed & MYCO__ENTRY_HINTED ? (uint32_t *)(entry + 1) : NULL;
}
static inline const uint8_t *myco__entry_body(const struct myco__entry *entry)
{
    return (const uint8_t *)(entry + 1) + (entry->packed & MYCO__ENTRY_HINTED ? 4 : 0);
}
static inline struct myco__entry_head myco__entry_head(const struct myco__entry *entry)
{
    struct myco__entry_head head;
    uint32_t value_size = (uint32_t)(entry->packed >> 52);
    if (value_size == MYCO__ENTRY_LONG) {
        memcpy(&head, myco__entry_body(entry), sizeof(head));
        return head;
    }
    head.expires_ms = entry->packed & (MYCO__ENTRY_HINTED - 1);
    head.key_size = (uint32_t)(entry->packed >> 44) & 0xff;
    head.value_size = value_size;
    return head;
}
static inline const uint8_t *myco__entry_key(const struct myco__entry *entry)
{
    bool is_long = entry->packed >> 52 == MYCO__ENTRY_LONG;
    return myco__entry_body(entry) + (is_long ? sizeof(struct myco__entry_head) : 0);
}
static inline size_t myco__entry_size(const struct myco__entry *entry)
{
    struct myco__entry_head head = myco__entry_head(entry);
    const uint8_t *key = myco__entry_key(entry);
    return (size_t)(key - (const uint8_t *)entry) + head.key_size + head.value_size;
}
static inline bool myco__expired(uint64_t expires_ms, uint64_t now_ms)
{
    return expires_ms != 0 && expires_ms <= now_ms;
}
struct myco__entry *myco__entry_new(struct myco__slabs *slabs, struct myco_slice key,
    struct myco_slice value, uint64_t version, uint64_t expires_ms, bool hinted);
/* table_hint.c: the new entry of a key; former may be NULL. */
void myco__hint_begin(
    struct myco_table *table, struct myco__entry *entry, const struct myco__entry *former);
void myco__entry_item(const struct myco__entry *entry, struct myco_table_item *item);

/* ── Index: table_index.c ───────────────────────────────────────────────────────────────────────
 *
 *     slot:    | tag 16 | pointer 48 |     0: free; the tag is from the highest bits of the hash
 *     bucket:  | slot | slot | slot | slot | slot | slot | slot | next |        one cache line
 *
 * Linear hashing (Litwin 1980): with 2^L ≤ N < 2^(L+1) buckets, a hash belongs to bucket
 * h mod 2^(L+1) if there is one, else to h mod 2^L. The index grows by one bucket, which takes its
 * share from one other, as entries come, and shrinks as they go: no pause, no second index. Bucket
 * 0 is segment 0, buckets 2^(k-1) … 2^k-1 are segment k, and so a bucket never moves. */
#define MYCO__BUCKET_SLOTS 7
#define MYCO__INDEX_SEGMENTS                                                                       \
    27 /* 2^26 buckets, some 300 million entries; beyond, chains get longer */

struct myco__bucket {
    uint64_t slots[MYCO__BUCKET_SLOTS]; /* filled from the first on, through the whole chain */
    struct myco__bucket *next;
};

struct myco__index {
    uint64_t bucket_count;
    struct myco__bucket *segments[MYCO__INDEX_SEGMENTS];
};

struct myco_table { /* under 300 bytes: there are 64 in a namespace */
    struct myco_domain *domain;
    uint64_t moves; /* rises between the copy and the removal of a slot that changes its place */
    size_t count, size, expiring_count;
    uint64_t sweep_at;     /* bucket */
    uint32_t clock, noise; /* of hints */
    bool hinted;
    struct myco__index index;
};

struct myco__place {
    struct myco__bucket *home, *bucket;
    unsigned slot;
    struct myco__entry *entry; /* NULL: the key is not there */
};

#define MYCO__LOAD(at)         __atomic_load_n((at), __ATOMIC_ACQUIRE)
#define MYCO__STORE(at, value) __atomic_store_n((at), (value), __ATOMIC_RELEASE)

static inline struct myco__entry *myco__slot_entry(uint64_t slot)
{
    return (struct myco__entry *)(uintptr_t)(slot & ((UINT64_C(1) << 48) - 1));
}
uint64_t myco__index_hash(struct myco_slice key);
struct myco_table *myco__table_shell(struct myco_domain *domain); /* empty */
/* Writer. */
struct myco__bucket *myco__index_bucket(const struct myco__index *index, uint64_t at);
struct myco__place myco__index_find(
    const struct myco_table *table, struct myco_slice key, uint64_t hash);
bool myco__index_insert(struct myco_table *table, struct myco__entry *entry, uint64_t hash);
void myco__index_replace(struct myco_table *table, const struct myco__place *place,
    struct myco__entry *entry, uint64_t hash);
void myco__index_remove(struct myco_table *table, const struct myco__place *place);
void myco__index_grow(struct myco_table *table);   /* one step, if it is due */
void myco__index_shrink(struct myco_table *table); /* one step, if it is due */
/* Any thread, between enter and leave. */
const struct myco__entry *myco__index_read(
    const struct myco_table *table, struct myco_slice key, uint64_t hash);
/* Of a table that nobody reads any more: frees up to *budget entries and buckets, counting it down.
 * True once all is gone, the table with it. */
bool myco__index_free_some(struct myco_table *table, size_t *budget);

#endif
