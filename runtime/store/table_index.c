/* The index of a table: hash buckets that one writer changes under the eyes of readers.
 *
 * A chain (a bucket and those it continues in) is filled without holes. What is removed is replaced
 * by the last of its chain, so a slot can change its place, and a reader that goes through the
 * chain meanwhile could miss it. Hence the order: the slot is stored at its new place, `moves`
 * rises, and only then it is cleared at the old one. Who misses a key, and finds that `moves` is
 * what it was before the search, has missed nothing; else it looks again. Hits need no such check:
 * entries never change, and none is freed under a reader. */
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/assert.h"
#include "base/hash.h"
#include "store/table_internal.h"

/* Entries for each bucket. Some buckets have twice as many as others, since they are split one
 * after the other: with four, one entry in twenty lies in a second bucket, and the index takes 17
 * bytes for an entry. */
#define LOAD        4
#define FORGET_SIZE ((size_t)256 * 1024)
#define BUCKETS_MAX (UINT64_C(1) << (MYCO__INDEX_SEGMENTS - 1))

/* A hypha is chosen by the key's plain hash; inside of one, all hashes may share some bits. */
uint64_t myco__index_hash(struct myco_slice key)
{
    uint64_t hash = myco_hash(key.data, key.size);
    hash = (hash ^ (hash >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ (hash >> 29);
}

static uint64_t entry_hash(const struct myco__entry *entry)
{
    return myco__index_hash(myco_bytes(myco__entry_key(entry), myco__entry_head(entry).key_size));
}

/* Never 0, which is the tag of a free slot. */
static uint64_t tag_of(uint64_t hash)
{
    uint64_t tag = hash >> 48;
    return tag != 0 ? tag : 1;
}

static uint64_t slot_make(struct myco__entry *entry, uint64_t hash)
{
    MYCO_ASSERT((uintptr_t)entry >> 48 == 0);
    return tag_of(hash) << 48 | (uint64_t)(uintptr_t)entry;
}

/* ── Where a bucket lies ─────────────────────────────────────────────────────────────────────── */

static unsigned segment_of(uint64_t at)
{
    return at == 0 ? 0 : 64 - (unsigned)__builtin_clzll(at);
}

static size_t segment_size(unsigned segment)
{
    return sizeof(struct myco__bucket) << (segment > 0 ? segment - 1 : 0);
}

static bool segment_starts(uint64_t at)
{
    return (at & (at - 1)) == 0;
}

static uint64_t highest_bit(uint64_t value)
{
    return UINT64_C(1) << (63 - (unsigned)__builtin_clzll(value));
}

struct myco__bucket *myco__index_bucket(const struct myco__index *index, uint64_t at)
{
    unsigned segment = segment_of(at);
    struct myco__bucket *first = MYCO__LOAD(&index->segments[segment]);
    if (first == NULL) return NULL; /* a reader's, that shrank away */
    return first + (at - (at > 0 ? highest_bit(at) : 0));
}

static struct myco__bucket *home_of(const struct myco__index *index, uint64_t count, uint64_t hash)
{
    uint64_t bit = highest_bit(count);
    uint64_t at = hash & (bit * 2 - 1);
    return myco__index_bucket(index, at < count ? at : at & (bit - 1));
}

/* ── Searching ───────────────────────────────────────────────────────────────────────────────── */

static bool entry_has_key(const struct myco__entry *entry, struct myco_slice key)
{
    if (myco__entry_head(entry).key_size != key.size) return false;
    return key.size == 0 || memcmp(myco__entry_key(entry), key.data, key.size) == 0;
}

/* Which slots have the tag, as bits. Without a branch: which of the seven it is can't be predicted,
 * and a wrong guess would be found out only after the bucket came from memory, when the entry could
 * have been on its way already. Who uses a bit loads that slot again, by itself. */
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)

/* Four loads of 16 bytes; the upper halves of the eight words, their upper halves, compared. */
static unsigned bucket_match(const struct myco__bucket *bucket, uint64_t tag)
{
    const __m128 *words = (const __m128 *)(const void *)bucket;
    __m128i low = _mm_castps_si128(_mm_shuffle_ps(words[0], words[1], _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i high = _mm_castps_si128(_mm_shuffle_ps(words[2], words[3], _MM_SHUFFLE(3, 1, 3, 1)));
    __atomic_signal_fence(__ATOMIC_ACQUIRE); /* the processor keeps loads in order by itself */
    __m128i tags = _mm_packs_epi32(_mm_srai_epi32(low, 16), _mm_srai_epi32(high, 16));
    __m128i same = _mm_cmpeq_epi16(tags, _mm_set1_epi16((short)tag));
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())) & 0x7f;
}

#else

static unsigned bucket_match(const struct myco__bucket *bucket, uint64_t tag)
{
    unsigned match = 0;
    for (unsigned i = 0; i < MYCO__BUCKET_SLOTS; i++) {
        match |= (unsigned)(MYCO__LOAD(&bucket->slots[i]) >> 48 == tag) << i;
    }
    return match;
}

#endif

/* The value lies in the lines after the first: ask for them all at once. */
static void entry_prefetch(const struct myco__entry *entry)
{
    __builtin_prefetch((const char *)entry + 64);
    __builtin_prefetch((const char *)entry + 128);
}

static inline struct myco__place chain_find(
    struct myco__bucket *home, struct myco_slice key, uint64_t hash)
{
    for (struct myco__bucket *bucket = home; bucket; bucket = MYCO__LOAD(&bucket->next)) {
        unsigned match = bucket_match(bucket, tag_of(hash));
        for (; match != 0; match &= match - 1) {
            unsigned i = (unsigned)__builtin_ctz(match);
            struct myco__entry *entry = myco__slot_entry(MYCO__LOAD(&bucket->slots[i]));
            if (entry == NULL) continue; /* it went away meanwhile */
            entry_prefetch(entry);
            if (entry_has_key(entry, key)) return (struct myco__place){home, bucket, i, entry};
        }
    }
    return (struct myco__place){0};
}

const struct myco__entry *myco__index_read(
    const struct myco_table *table, struct myco_slice key, uint64_t hash)
{
    for (;;) {
        uint64_t moves = MYCO__LOAD(&table->moves);
        uint64_t count = MYCO__LOAD(&table->index.bucket_count);
        struct myco__place place = {0};
        if (count > 0) place = chain_find(home_of(&table->index, count, hash), key, hash);
        if (place.entry != NULL || MYCO__LOAD(&table->moves) == moves) return place.entry;
    }
}

struct myco__place myco__index_find(
    const struct myco_table *table, struct myco_slice key, uint64_t hash)
{
    uint64_t count = table->index.bucket_count;
    if (count == 0) return (struct myco__place){0};
    return chain_find(home_of(&table->index, count, hash), key, hash);
}

/* ── Chains ──────────────────────────────────────────────────────────────────────────────────── */

static void table_moved(struct myco_table *table)
{
    MYCO__STORE(&table->moves, table->moves + 1);
}

static bool chain_append(struct myco_table *table, struct myco__bucket *bucket, uint64_t slot)
{
    while (bucket->next != NULL) bucket = bucket->next;
    for (unsigned i = 0; i < MYCO__BUCKET_SLOTS; i++) {
        if (bucket->slots[i] != 0) continue;
        MYCO__STORE(&bucket->slots[i], slot);
        return true;
    }
    struct myco__bucket *more = myco__lines_alloc(myco__domain_slabs(table->domain), sizeof(*more));
    if (more == NULL) return false;
    more->slots[0] = slot;
    MYCO__STORE(&bucket->next, more);
    return true;
}

/* Finds the chain's last slot; `before` is the bucket whose `next` leads to it (NULL: none). */
static struct myco__bucket *chain_last(
    struct myco__bucket *home, struct myco__bucket **before, unsigned *slot)
{
    struct myco__bucket *bucket = home;
    *before = NULL;
    while (bucket->next != NULL) {
        *before = bucket;
        bucket = bucket->next;
    }
    *slot = 0;
    while (*slot + 1 < MYCO__BUCKET_SLOTS && bucket->slots[*slot + 1] != 0) ++*slot;
    return bucket;
}

static void chain_remove(
    struct myco_table *table, struct myco__bucket *home, struct myco__bucket *bucket, unsigned slot)
{
    struct myco__bucket *before;
    unsigned last_slot;
    struct myco__bucket *last = chain_last(home, &before, &last_slot);
    if (last != bucket || last_slot != slot) {
        MYCO__STORE(&bucket->slots[slot], last->slots[last_slot]);
        table_moved(table);
    }
    MYCO__STORE(&last->slots[last_slot], 0);
    if (last_slot > 0 || before == NULL) return;
    MYCO__STORE(&before->next, NULL);
    myco__domain_retire_bucket(table->domain, last);
}

/* Undoes the last `count` appends. */
static void chain_cut(struct myco_table *table, struct myco__bucket *home, unsigned count)
{
    for (; count > 0; count--) {
        struct myco__bucket *before;
        unsigned slot;
        struct myco__bucket *last = chain_last(home, &before, &slot);
        chain_remove(table, home, last, slot);
    }
}

/* ── Growing and shrinking by one bucket ─────────────────────────────────────────────────────── */

static struct myco__bucket *bucket_add(struct myco_table *table, uint64_t at)
{
    unsigned segment = segment_of(at);
    struct myco__bucket **first = &table->index.segments[segment];
    if (*first == NULL) {
        struct myco__slabs *slabs = myco__domain_slabs(table->domain);
        struct myco__bucket *fresh = myco__lines_alloc(slabs, segment_size(segment));
        MYCO__STORE(first, fresh);
    }
    return *first != NULL ? myco__index_bucket(&table->index, at) : NULL;
}

/* Entries are scattered over memory: ask for all of them before the first is looked at. */
static void chain_prefetch(const struct myco__bucket *bucket)
{
    for (; bucket != NULL; bucket = bucket->next) {
        for (unsigned i = 0; i < MYCO__BUCKET_SLOTS; i++) {
            __builtin_prefetch(myco__slot_entry(bucket->slots[i]));
        }
    }
}

/* Copies those with `bit` in their hash; false, and nothing copied, when memory is short. */
static bool chain_copy(struct myco_table *table, const struct myco__bucket *from,
    struct myco__bucket *to, uint64_t bit)
{
    unsigned copied = 0;
    for (; from != NULL; from = from->next) {
        for (unsigned i = 0; i < MYCO__BUCKET_SLOTS && from->slots[i] != 0; i++) {
            if ((entry_hash(myco__slot_entry(from->slots[i])) & bit) == 0) continue;
            if (!chain_append(table, to, from->slots[i])) {
                chain_cut(table, to, copied);
                return false;
            }
            copied++;
        }
    }
    return true;
}

static void chain_drop(struct myco_table *table, struct myco__bucket *home, uint64_t bit)
{
    for (struct myco__bucket *bucket = home, *next; bucket != NULL; bucket = next) {
        for (unsigned i = 0; i < MYCO__BUCKET_SLOTS && bucket->slots[i] != 0;) {
            if ((entry_hash(myco__slot_entry(bucket->slots[i])) & bit) == 0) {
                i++;
            } else {
                chain_remove(table, home, bucket, i); /* another may stand here now */
            }
        }
        next = bucket->next; /* of one just retired: NULL */
    }
}

void myco__index_grow(struct myco_table *table)
{
    struct myco__index *index = &table->index;
    uint64_t count = index->bucket_count;
    if (table->count <= count * LOAD + LOAD - 1 || count >= BUCKETS_MAX) return;
    struct myco__bucket *fresh = bucket_add(table, count);
    if (fresh == NULL) return; /* chains get longer; the next insert tries again */
    uint64_t bit = highest_bit(count);
    struct myco__bucket *from = myco__index_bucket(index, count - bit);
    chain_prefetch(from);
    if (!chain_copy(table, from, fresh, bit)) return;
    MYCO__STORE(&index->bucket_count, count + 1);
    table_moved(table);
    chain_drop(table, from, bit);
}

/* Gives a segment that no bucket in use lies in to the domain, in a table of its own. */
static void segment_retire(struct myco_table *table, unsigned segment)
{
    struct myco_table *shell = myco__table_shell(table->domain);
    shell->index.bucket_count = UINT64_C(1) << segment;
    shell->index.segments[segment] = table->index.segments[segment];
    MYCO__STORE(&table->index.segments[segment], NULL);
    myco__domain_retire_table(table->domain, shell);
}

void myco__index_shrink(struct myco_table *table)
{
    struct myco__index *index = &table->index;
    uint64_t count = index->bucket_count;
    if (count <= 1 || table->count * 2 >= count * 3) return;
    uint64_t at = count - 1;
    struct myco__bucket *last = myco__index_bucket(index, at);
    struct myco__bucket *to = myco__index_bucket(index, at - highest_bit(at));
    if (last->next != NULL || !chain_copy(table, last, to, UINT64_MAX)) return;
    MYCO__STORE(&index->bucket_count, at);
    table_moved(table);
    for (unsigned i = 0; i < MYCO__BUCKET_SLOTS; i++) MYCO__STORE(&last->slots[i], 0);
    if (segment_starts(at)) segment_retire(table, segment_of(at));
}

/* ── Writing ─────────────────────────────────────────────────────────────────────────────────── */

bool myco__index_insert(struct myco_table *table, struct myco__entry *entry, uint64_t hash)
{
    struct myco__index *index = &table->index;
    if (index->bucket_count == 0) {
        if (bucket_add(table, 0) == NULL) return false;
        MYCO__STORE(&index->bucket_count, 1);
    }
    return chain_append(table, home_of(index, index->bucket_count, hash), slot_make(entry, hash));
}

void myco__index_replace(struct myco_table *table, const struct myco__place *place,
    struct myco__entry *entry, uint64_t hash)
{
    MYCO__STORE(&place->bucket->slots[place->slot], slot_make(entry, hash));
    myco__domain_retire_entry(table->domain, place->entry);
}

void myco__index_remove(struct myco_table *table, const struct myco__place *place)
{
    chain_remove(table, place->home, place->bucket, place->slot);
    myco__domain_retire_entry(table->domain, place->entry);
}

/* ── The end ─────────────────────────────────────────────────────────────────────────────────── */

static void chain_free(struct myco_table *table, struct myco__bucket *home, size_t *budget)
{
    struct myco__slabs *slabs = myco__domain_slabs(table->domain);
    chain_prefetch(home);
    for (struct myco__bucket *bucket = home, *next; bucket != NULL; bucket = next) {
        for (unsigned i = 0; i < MYCO__BUCKET_SLOTS && bucket->slots[i] != 0; i++) {
            struct myco__entry *entry = myco__slot_entry(bucket->slots[i]);
            myco__slabs_free(slabs, entry, myco__entry_size(entry));
            table->count--;
            myco__slabs_spend(slabs, budget);
        }
        next = bucket->next;
        if (bucket != home) myco__lines_free(slabs, bucket, sizeof(*bucket));
    }
}

static void segment_free(struct myco_table *table, unsigned segment)
{
    struct myco__slabs *slabs = myco__domain_slabs(table->domain);
    myco__lines_free(slabs, table->index.segments[segment], segment_size(segment));
    table->index.segments[segment] = NULL;
}

/* Large segments go in parts, as the walk comes down through them. */
static void segment_forget(struct myco_table *table, unsigned segment, struct myco__bucket *bucket)
{
    if (segment_size(segment) <= FORGET_SIZE || ((uintptr_t)bucket & (FORGET_SIZE - 1)) != 0)
        return;
    myco__lines_forget(myco__domain_slabs(table->domain), bucket, FORGET_SIZE);
}

bool myco__index_free_some(struct myco_table *table, size_t *budget)
{
    struct myco__index *index = &table->index;
    unsigned beyond = segment_of(index->bucket_count); /* made for a bucket that was not added */
    if (segment_starts(index->bucket_count) && beyond < MYCO__INDEX_SEGMENTS &&
        index->segments[beyond] != NULL)
        segment_free(table, beyond);
    while (index->bucket_count > 0) {
        if (*budget == 0) return false;
        uint64_t at = index->bucket_count - 1;
        struct myco__bucket *bucket = myco__index_bucket(index, at);
        if (bucket == NULL) break; /* the shell of one segment ends here */
        chain_free(table, bucket, budget);
        index->bucket_count = at;
        segment_forget(table, segment_of(at), bucket);
        myco__slabs_spend(myco__domain_slabs(table->domain), budget);
        if (segment_starts(at)) segment_free(table, segment_of(at));
    }
    return true;
}
