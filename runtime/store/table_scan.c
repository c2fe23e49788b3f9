/* Going through a table: all of it, a page in the order of keys, or a few buckets at a time. */
#include "base/mem.h"
#include "store/table_internal.h"

/* ── All ─────────────────────────────────────────────────────────────────────────────────────── */

void myco_table_each(const struct myco_table *table, myco_table_cb cb, void *data)
{
    for (uint64_t at = 0; at < table->index.bucket_count; at++) {
        struct myco__bucket *bucket = myco__index_bucket(&table->index, at);
        for (; bucket != NULL; bucket = bucket->next) {
            for (unsigned i = 0; i < MYCO__BUCKET_SLOTS && bucket->slots[i] != 0; i++) {
                struct myco_table_item item;
                myco__entry_item(myco__slot_entry(bucket->slots[i]), &item);
                if (!cb(&item, data)) return;
            }
        }
    }
}

uint64_t myco_table_sample(
    const struct myco_table *table, uint64_t at, size_t count, myco_table_cb cb, void *data)
{
    uint64_t buckets = table->index.bucket_count;
    size_t seen = 0;
    for (uint64_t left = buckets; left > 0 && seen < count; left--, at++) {
        const struct myco__bucket *bucket = myco__index_bucket(&table->index, at % buckets);
        for (; bucket != NULL; bucket = bucket->next) {
            for (unsigned i = 0; i < MYCO__BUCKET_SLOTS && bucket->slots[i] != 0; i++, seen++) {
                struct myco_table_item item;
                myco__entry_item(myco__slot_entry(bucket->slots[i]), &item);
                if (!cb(&item, data)) return at;
            }
        }
    }
    return at;
}

struct live_count {
    uint64_t now_ms;
    size_t count;
};

static bool count_live(const struct myco_table_item *item, void *data)
{
    struct live_count *live = data;
    if (!myco__expired(item->expires_ms, live->now_ms)) live->count++;
    return true;
}

size_t myco_table_count_live(const struct myco_table *table, uint64_t now_ms)
{
    if (table->expiring_count == 0) return table->count;
    struct live_count live = {now_ms, 0};
    myco_table_each(table, count_live, &live);
    return live.count;
}

/* ── Pages ──────────────────────────────────────────────────────────────────────────────────────
 * The smallest keys are kept in a heap with the largest of them on top, while everything passes by.
 * When there is no memory for a heap of the page's size, several passes with a small one do. */

#define SMALL_HEAP 64

struct page {
    struct myco_slice prefix, after;
    bool has_after;
    uint64_t now_ms;
    struct myco_table_item *heap;
    size_t count, capacity;
};

static int key_compare(struct myco_slice a, struct myco_slice b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;
    if (order != 0) return order;
    return (a.size > b.size) - (a.size < b.size);
}

static bool page_wants(const struct page *page, const struct myco_table_item *item)
{
    if (item->key.size < page->prefix.size) return false;
    if (page->prefix.size > 0 && memcmp(item->key.data, page->prefix.data, page->prefix.size) != 0)
        return false;
    if (myco__expired(item->expires_ms, page->now_ms)) return false;
    if (page->has_after && key_compare(item->key, page->after) <= 0) return false;
    return page->count < page->capacity || key_compare(item->key, page->heap[0].key) < 0;
}

static void heap_sink(struct myco_table_item *heap, size_t count, struct myco_table_item item)
{
    size_t at = 0;
    for (size_t child; (child = at * 2 + 1) < count; at = child) {
        if (child + 1 < count && key_compare(heap[child].key, heap[child + 1].key) < 0) child++;
        if (key_compare(item.key, heap[child].key) >= 0) break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

static void heap_rise(struct myco_table_item *heap, size_t at, struct myco_table_item item)
{
    for (; at > 0 && key_compare(heap[(at - 1) / 2].key, item.key) < 0; at = (at - 1) / 2) {
        heap[at] = heap[(at - 1) / 2];
    }
    heap[at] = item;
}

static bool page_take(const struct myco_table_item *item, void *data)
{
    struct page *page = data;
    if (!page_wants(page, item)) return true;
    if (page->count < page->capacity) {
        heap_rise(page->heap, page->count++, *item);
    } else {
        heap_sink(page->heap, page->count, *item);
    }
    return true;
}

static void heap_sort(struct myco_table_item *heap, size_t count)
{
    while (count > 1) {
        struct myco_table_item largest = heap[0];
        count--;
        heap_sink(heap, count, heap[count]);
        heap[count] = largest;
    }
}

/* One pass; true when there may be more. */
static bool page_pass(
    const struct myco_table *table, struct page *page, myco_table_cb cb, void *data, size_t *given)
{
    page->count = 0;
    myco_table_each(table, page_take, page);
    heap_sort(page->heap, page->count);
    for (size_t i = 0; i < page->count; i++) {
        ++*given;
        if (!cb(&page->heap[i], data)) return false;
    }
    if (page->count < page->capacity) return false;
    page->after = page->heap[page->count - 1].key;
    page->has_after = true;
    return true;
}

size_t myco_table_page(const struct myco_table *table, struct myco_slice prefix,
    struct myco_slice after, size_t limit, uint64_t now_ms, myco_table_cb cb, void *data)
{
    struct myco_table_item small[SMALL_HEAP], *large = NULL;
    struct page page = {prefix, after, after.data != NULL, now_ms, small, 0, SMALL_HEAP};
    if (limit > table->count) limit = table->count;
    if (limit > SMALL_HEAP) large = myco_try_alloc(limit * sizeof(*large));
    if (large != NULL) {
        page.heap = large;
        page.capacity = limit;
    }
    size_t given = 0;
    while (given < limit) {
        if (page.capacity > limit - given) page.capacity = limit - given;
        if (!page_pass(table, &page, cb, data, &given)) break;
    }
    myco_free(large);
    return given;
}

/* ── Sweeping ────────────────────────────────────────────────────────────────────────────────── */

#define SWEEP_CHAIN_MAX 64 /* of one chain at a time; what is beyond comes with the next round */

/* A copy in another slab, which is not one that is to be emptied; failing that, it stays. */
static void slot_relocate(struct myco_table *table, uint64_t *slot)
{
    struct myco__slabs *slabs = myco__domain_slabs(table->domain);
    struct myco__entry *entry = myco__slot_entry(*slot), *copy;
    size_t size = myco__entry_size(entry);
    if (!myco__slabs_evacuating(slabs, entry, size)) return;
    copy = myco__slabs_alloc(slabs, size);
    if (copy == NULL) return;
    memcpy(copy, entry, size);
    MYCO__STORE(slot, (*slot >> 48 << 48) | (uint64_t)(uintptr_t)copy);
    myco__domain_retire_entry(table->domain, entry);
}

static void bucket_relocate(struct myco_table *table, struct myco__bucket *bucket)
{
    for (; bucket != NULL; bucket = bucket->next) {
        for (unsigned i = 0; i < MYCO__BUCKET_SLOTS && bucket->slots[i] != 0; i++) {
            slot_relocate(table, &bucket->slots[i]);
        }
    }
}

static unsigned chain_expired(const struct myco__bucket *bucket, uint64_t now_ms,
    const struct myco__entry *expired[SWEEP_CHAIN_MAX])
{
    unsigned count = 0;
    for (; bucket != NULL; bucket = bucket->next) {
        for (unsigned i = 0; i < MYCO__BUCKET_SLOTS && bucket->slots[i] != 0; i++) {
            const struct myco__entry *entry = myco__slot_entry(bucket->slots[i]);
            if (!myco__expired(myco__entry_head(entry).expires_ms, now_ms)) continue;
            if (count < SWEEP_CHAIN_MAX) expired[count++] = entry;
        }
    }
    return count;
}

/* The callback may write to the table: what it is given is held until it returned. */
void myco_table_sweep(
    struct myco_table *table, uint64_t now_ms, size_t budget, myco_table_cb cb, void *data)
{
    const struct myco__entry *expired[SWEEP_CHAIN_MAX];
    if (budget > table->index.bucket_count) budget = table->index.bucket_count;
    bool relocate = myco__domain_slabs(table->domain)->evacuating_count > 0;
    if (table->expiring_count == 0 && !relocate) return;
    myco__domain_hold(table->domain);
    for (; budget > 0 && table->index.bucket_count > 0; budget--) {
        if (table->sweep_at >= table->index.bucket_count) table->sweep_at = 0;
        struct myco__bucket *bucket = myco__index_bucket(&table->index, table->sweep_at++);
        if (relocate) bucket_relocate(table, bucket);
        unsigned count = table->expiring_count > 0 ? chain_expired(bucket, now_ms, expired) : 0;
        for (unsigned i = 0; i < count && cb != NULL; i++) {
            struct myco_table_item item;
            myco__entry_item(expired[i], &item);
            if (!cb(&item, data)) {
                budget = 1; /* the last bucket */
                break;
            }
        }
    }
    myco__domain_unhold(table->domain);
    myco__domain_settle(table->domain);
}
