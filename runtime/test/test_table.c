/* The table under random operations, against a list that can't be wrong. Catches: keys lost or
 * doubled when the index grows, shrinks or a chain is rearranged; wrong order or gaps in pages; a
 * put that failed for want of memory and left traces; items that a sweep or a walk leaves out;
 * memory that never comes back; retired entries that are never freed. */
#include "base/fault.h"
#include "base/mem.h"
#include "store/table_internal.h"
#include "tap.h"

#define KEYS 3000

struct model_item {
    bool there;
    uint64_t version, expires_ms, fill;
    size_t size;
};

struct fixture {
    struct myco_domain *domain;
    struct myco_table *table;
    struct model_item model[KEYS];
    size_t count, seen, wrong;
    uint64_t random;
    uint64_t now_ms;
};

static uint64_t next_random(struct fixture *f)
{
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return f->random;
}

/* Keys of many lengths, with common prefixes; some longer than 255 bytes. */
static struct myco_slice key_of(unsigned number, uint8_t *key)
{
    size_t size = 6 + (number % 7 == 0 ? 300 : number % 40);
    memset(key, 'k', size);
    key[1] = 'e', key[2] = 'y';
    key[size - 3] = (uint8_t)(number >> 16);
    key[size - 2] = (uint8_t)(number >> 8);
    key[size - 1] = (uint8_t)number;
    return myco_bytes(key, size);
}

static unsigned number_of(struct myco_slice key)
{
    const uint8_t *at = key.data;
    return (unsigned)at[key.size - 3] << 16 | (unsigned)at[key.size - 2] << 8 | at[key.size - 1];
}

static bool value_right(struct myco_slice value, uint64_t fill, size_t size)
{
    const uint8_t *at = value.data;
    if (value.size != size) return false;
    for (size_t i = 0; i < size; i++) {
        if (at[i] != (uint8_t)fill) return false;
    }
    return true;
}

static bool item_right(struct fixture *f, const struct myco_table_item *item)
{
    unsigned number = number_of(item->key);
    if (number >= KEYS) return false;
    const struct model_item *model = &f->model[number];
    return model->there && item->version == model->version &&
           item->expires_ms == model->expires_ms &&
           value_right(item->value, model->fill, model->size);
}

static size_t random_size(struct fixture *f)
{
    switch (next_random(f) % 50) {
    case 0: return next_random(f) % 20000;
    case 1: return 4090 + next_random(f) % 10;
    case 2: return 0;
    default: return next_random(f) % 300;
    }
}

static bool do_put(struct fixture *f, unsigned number)
{
    uint8_t key[400];
    struct model_item item = {true, next_random(f), 0, next_random(f) & 0xff, random_size(f)};
    if (next_random(f) % 3 == 0) item.expires_ms = f->now_ms + next_random(f) % 5000;
    if (next_random(f) % 100 == 0) item.expires_ms = UINT64_MAX - 1;
    uint8_t *value = myco_alloc(item.size + 1);
    memset(value, (int)item.fill, item.size);
    bool had = !f->model[number].there;
    int status = myco_table_put(f->table, key_of(number, key), myco_bytes(value, item.size),
        item.version, item.expires_ms, &had);
    myco_free(value);
    if (status != 0) return false;
    if (had != f->model[number].there) f->wrong++;
    f->count += !f->model[number].there;
    f->model[number] = item;
    return true;
}

static void do_del(struct fixture *f, unsigned number)
{
    uint8_t key[400];
    if (myco_table_del(f->table, key_of(number, key)) != f->model[number].there) f->wrong++;
    f->count -= f->model[number].there;
    f->model[number].there = false;
}

static void check_key(struct fixture *f, unsigned number)
{
    uint8_t key[400];
    struct myco_table_item item;
    struct myco_value value = {0};
    const struct model_item *model = &f->model[number];
    bool found = myco_table_find(f->table, key_of(number, key), &item);
    if (found != model->there || (found && !item_right(f, &item))) f->wrong++;
    bool live = model->there && (model->expires_ms == 0 || model->expires_ms > f->now_ms);
    int status = myco_table_read(f->table, key_of(number, key), f->now_ms, &value);
    if (status != (live ? 0 : MYCO_ENOTFOUND)) f->wrong++;
    if (status != 0) return;
    uint64_t in_ms = model->expires_ms != 0 ? model->expires_ms - f->now_ms : 0;
    if (value.expires_in_ms != in_ms || value.version != model->version) f->wrong++;
    if (!value_right(myco_bytes(value.data, value.size), model->fill, model->size)) f->wrong++;
    myco_value_release(&value);
}

static bool see_item(const struct myco_table_item *item, void *data)
{
    struct fixture *f = data;
    f->seen++;
    if (!item_right(f, item)) f->wrong++;
    return true;
}

static void check_all(struct fixture *f, const char *when)
{
    f->wrong = f->seen = 0;
    for (unsigned number = 0; number < KEYS; number++) check_key(f, number);
    is_int(f->wrong, 0, "%s: every key is found, or not, as it should be", when);
    is_int(myco_table_count(f->table), f->count, "%s: count", when);
    myco_table_each(f->table, see_item, f);
    ok(f->seen == f->count && f->wrong == 0, "%s: each visits every item once", when);
}

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.random = 88172645463325252u, .now_ms = 1700000000000};
    f->domain = myco_domain_new();
    f->table = myco_table_new(f->domain);
}

static void drain(struct fixture *f)
{
    for (int i = 0; i < 1000 && myco_domain_retired(f->domain) > 0; i++)
        myco_domain_poll(f->domain);
}

static void fixture_close(struct fixture *f)
{
    myco_table_free(f->table);
    drain(f);
    is_int(myco_domain_retired(f->domain), 0, "after the last poll nothing is retired");
    is_int(myco__domain_slabs(f->domain)->large_size, 0, "nothing large is left");
    myco_domain_free(f->domain);
}

static void test_model(void)
{
    struct fixture *f = myco_alloc(sizeof(*f));
    fixture_init(f);
    for (int phase = 0; phase < 8; phase++) {
        unsigned puts = phase % 2 == 0 ? 75 : 25; /* grows and shrinks in turn */
        for (int i = 0; i < 20000; i++) {
            unsigned number = (unsigned)(next_random(f) % KEYS);
            if (next_random(f) % 100 < puts) {
                if (!do_put(f, number)) f->wrong++;
            } else {
                do_del(f, number);
            }
            if (i % 64 == 0) check_key(f, (unsigned)(next_random(f) % KEYS));
            f->now_ms += next_random(f) % 3;
        }
        is_int(f->wrong, 0, "phase %d", phase);
        check_all(f, "random operations");
        ok(myco_domain_retired(f->domain) < 2000, "retired ones are bounded (%zu)",
            myco_domain_retired(f->domain));
    }
    for (unsigned number = 0; number < KEYS; number++) do_del(f, number);
    check_all(f, "emptied");
    is_int(f->table->index.bucket_count, 1, "the index shrank to one bucket");
    is_int(myco_table_bytes(f->table), 0, "no bytes are left");
    for (unsigned number = 0; number < KEYS; number++) do_put(f, number);
    check_all(f, "filled again");
    myco_table_clear(f->table);
    f->count = 0;
    memset(f->model, 0, sizeof(f->model));
    check_all(f, "cleared");
    for (unsigned number = 0; number < 100; number++) do_put(f, number);
    check_all(f, "used after clear");
    fixture_close(f);
    myco_free(f);
}

/* ── Pages ───────────────────────────────────────────────────────────────────────────────────── */

struct pager {
    struct fixture *f;
    uint8_t last[400];
    struct myco_slice after, prefix;
    size_t given, wrong;
};

static int compare(struct myco_slice a, struct myco_slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static bool page_item(const struct myco_table_item *item, void *data)
{
    struct pager *pager = data;
    if (!item_right(pager->f, item)) pager->wrong++;
    if (pager->after.data != NULL && compare(item->key, pager->after) <= 0) pager->wrong++;
    if (memcmp(item->key.data, pager->prefix.data, pager->prefix.size) != 0) pager->wrong++;
    memcpy(pager->last, item->key.data, item->key.size);
    pager->after = myco_bytes(pager->last, item->key.size);
    pager->given++;
    return true;
}

static size_t model_live(const struct fixture *f, struct myco_slice prefix)
{
    size_t live = 0;
    for (unsigned number = 0; number < KEYS; number++) {
        uint8_t key[400];
        const struct model_item *item = &f->model[number];
        struct myco_slice slice = key_of(number, key);
        if (!item->there || (item->expires_ms != 0 && item->expires_ms <= f->now_ms)) continue;
        if (slice.size < prefix.size || memcmp(slice.data, prefix.data, prefix.size) != 0) continue;
        live++;
    }
    return live;
}

static void check_pages(struct fixture *f, struct myco_slice prefix, size_t limit, bool starve)
{
    struct pager pager = {.f = f, .prefix = prefix};
    size_t got;
    do {
        uint8_t from[400];
        struct myco_slice after = pager.after;
        if (after.data != NULL) memcpy(from, after.data, after.size);
        if (after.data != NULL) after.data = from;
        if (starve) myco_mem_fail_nth(1);
        got = myco_table_page(f->table, prefix, after, limit, f->now_ms, page_item, &pager);
        myco_mem_fail_nth(0);
        if (got > limit) pager.wrong++;
    } while (got == limit);
    is_int(
        pager.wrong, 0, "pages of %zu with a prefix of %zu: order and content", limit, prefix.size);
    is_int(pager.given, model_live(f, prefix), "they hold everything that lives");
}

static void test_pages(void)
{
    struct fixture *f = myco_alloc(sizeof(*f));
    fixture_init(f);
    for (unsigned number = 0; number < KEYS; number++) do_put(f, number);
    f->now_ms += 2500; /* some have expired */
    check_pages(f, myco_str(""), 7, false);
    check_pages(f, myco_str(""), 1000, false);
    check_pages(f, myco_str("keykkkkkk"), 100, false);
    check_pages(f, myco_str("other"), 10, false);
    check_pages(f, myco_str(""), 1000, true);
    is_int(myco_table_count_live(f->table, f->now_ms), model_live(f, myco_str("")), "count_live");
    fixture_close(f);
    myco_free(f);
}

/* ── Sweep ───────────────────────────────────────────────────────────────────────────────────── */

static bool sweep_del(const struct myco_table_item *item, void *data)
{
    struct fixture *f = data;
    unsigned number = number_of(item->key);
    if (!item_right(f, item)) f->wrong++;
    if (item->expires_ms == 0 || item->expires_ms > f->now_ms) f->wrong++;
    f->seen++;
    do_del(f, number);
    return true;
}

static void test_sweep(void)
{
    struct fixture *f = myco_alloc(sizeof(*f));
    fixture_init(f);
    for (unsigned number = 0; number < KEYS; number++) do_put(f, number);
    f->now_ms += 3000;
    size_t live = model_live(f, myco_str("")), dead = f->count - live;
    uint64_t buckets = f->table->index.bucket_count;
    for (uint64_t i = 0; i < buckets; i += 16) {
        myco_table_sweep(f->table, f->now_ms, 16, sweep_del, f);
    }
    is_int(f->wrong, 0, "a sweep gives expired items only");
    ok(f->seen == dead && dead > 500, "it found all %zu, while its callback removed them", dead);
    is_int(f->count, live, "and those that live are left");
    check_all(f, "after the sweep");
    fixture_close(f);
    myco_free(f);
}

/* A callback that takes everything away: what it is given next is still readable. */
static bool sweep_clear(const struct myco_table_item *item, void *data)
{
    struct fixture *f = data;
    if (f->seen++ == 0) myco_table_clear(f->table);
    for (int i = 0; i < 600; i++) { /* enough to make the domain free things */
        myco_table_put(f->table, myco_str("scratch"), myco_str("x"), 1, 0, NULL);
    }
    if (!item_right(f, item)) f->wrong++;
    return true;
}

static void test_sweep_writes(void)
{
    struct fixture *f = myco_alloc(sizeof(*f));
    fixture_init(f);
    for (unsigned number = 0; number < 7; number++) { /* all in one bucket */
        do_put(f, number);
        while (f->model[number].expires_ms == 0 || f->model[number].expires_ms > f->now_ms + 5000) {
            do_put(f, number);
        }
    }
    f->now_ms += 6000;
    myco_table_sweep(f->table, f->now_ms, 1, sweep_clear, f);
    is_int(f->seen, 7, "all that had expired were given");
    is_int(f->wrong, 0, "though the first call removed them");
    is_int(myco_table_count(f->table), 1, "which it did");
    fixture_close(f);
    myco_free(f);
}

/* ── Memory that is not there ────────────────────────────────────────────────────────────────── */

static void test_allocation_failures(void)
{
    struct fixture *f = myco_alloc(sizeof(*f));
    fixture_init(f);
    unsigned refused = 0;
    for (int i = 0; i < 30000; i++) {
        unsigned number = (unsigned)(next_random(f) % KEYS);
#ifdef MYCO_FAULTS
        if (i % 3 == 0) myco_fault_arm("table.alloc", (long)(next_random(f) % 4), 1);
        if (i % 50 == 0) myco_fault_arm("table.map", 0, 1);
#endif
        if (i % 5 == 0) myco_mem_fail_nth(1);
        if (next_random(f) % 4 != 0) {
            size_t before = myco_table_count(f->table);
            if (!do_put(f, number)) {
                refused++;
                myco_mem_fail_nth(0);
                if (myco_table_count(f->table) != before) f->wrong++;
                check_key(f, number);
            }
        } else {
            do_del(f, number);
        }
        myco_mem_fail_nth(0);
        myco_fault_disarm_all();
    }
    ok(f->wrong == 0 && refused > 0, "%u puts were refused for want of memory", refused);
    check_all(f, "after the failures");
    for (unsigned number = 0; number < KEYS; number++) do_put(f, number);
    check_all(f, "with memory again");
    fixture_close(f);
    myco_free(f);
}

static void test_limits(void)
{
    struct fixture *f = myco_alloc(sizeof(*f));
    fixture_init(f);
    uint8_t *bytes = myco_alloc(MYCO_VALUE_SIZE_MAX + 1);
    struct myco_table_item item;
    struct myco_slice key = myco_bytes(bytes, MYCO_KEY_SIZE_MAX);
    bytes[5] = 7;
    is_int(myco_table_put(f->table, key, myco_bytes(bytes, MYCO_VALUE_SIZE_MAX), 1, 0, NULL), 0,
        "the largest key with the largest value");
    ok(myco_table_find(f->table, key, &item) && item.value.size == MYCO_VALUE_SIZE_MAX &&
            memcmp(item.value.data, bytes, MYCO_VALUE_SIZE_MAX) == 0,
        "comes back");
    key.size++;
    is_int(myco_table_put(f->table, key, myco_str(""), 1, 0, NULL), MYCO_ETOOBIG, "a larger key");
    is_int(myco_table_put(
               f->table, myco_str(""), myco_bytes(bytes, MYCO_VALUE_SIZE_MAX + 1), 1, 0, NULL),
        MYCO_ETOOBIG, "a larger value");
    is_int(myco_table_put(f->table, myco_str(""), myco_str("x"), 9, 0, NULL), 0, "an empty key");
    ok(myco_table_find(f->table, myco_str(""), &item) && item.version == 9, "comes back");
    myco_free(bytes);
    fixture_close(f);
    myco_free(f);
}

/* ── Memory that comes back ──────────────────────────────────────────────────────────────────── */

struct heap {
    struct myco_domain *domain;
    struct myco_table *table;
    const struct myco__slabs *slabs;
};

static void heap_put(struct heap *heap, uint32_t number, size_t size)
{
    static const uint8_t bytes[1024];
    struct myco_slice key = {&number, sizeof(number)};
    if (myco_table_put(heap->table, key, myco_bytes(bytes, size), 1, 0, NULL) != 0) abort();
}

static void heap_del(struct heap *heap, uint32_t number)
{
    if (!myco_table_del(heap->table, myco_bytes(&number, sizeof(number)))) abort();
}

static void heap_settle(struct heap *heap)
{
    for (int i = 0; i < 300; i++) {
        myco_table_sweep(heap->table, 0, 200, NULL, NULL);
        myco_domain_poll(heap->domain);
    }
}

static double heap_ratio(const struct heap *heap)
{
    return (double)heap->slabs->mapped_size / (double)myco_table_bytes(heap->table);
}

static void test_compaction(void)
{
    struct heap heap = {.domain = myco_domain_new()};
    heap.table = myco_table_new(heap.domain);
    heap.slabs = myco__domain_slabs(heap.domain);
    for (uint32_t i = 0; i < 20000; i++) heap_put(&heap, i, 200);
    ok(heap_ratio(&heap) < 1.5, "filled: %.2f bytes mapped for each live one", heap_ratio(&heap));
    for (uint32_t i = 0; i < 20000; i++) {
        if (i % 5 != 0) heap_del(&heap, i);
    }
    heap_settle(&heap);
    ok(heap_ratio(&heap) < 3.0, "four fifths are deleted, each slab was one fifth full: %.2f",
        heap_ratio(&heap));
    for (uint32_t i = 0; i < 20000; i += 5) heap_put(&heap, i, 100);
    for (uint32_t i = 1; i < 20000; i += 5) heap_put(&heap, i, 120);
    heap_settle(&heap);
    ok(heap_ratio(&heap) < 3.0, "other sizes: %.2f", heap_ratio(&heap));
    for (uint32_t i = 0; i < 20000; i += 5) heap_del(&heap, i);
    for (uint32_t i = 1; i < 20000; i += 5) heap_del(&heap, i);
    heap_settle(&heap);
    is_int(heap.table->index.bucket_count, 1, "emptied, one bucket is left");
    ok(heap.slabs->mapped_size <= 1024 * 1024, "and %zu KiB", heap.slabs->mapped_size / 1024);
    myco_table_free(heap.table);
    for (int i = 0; i < 100; i++) myco_domain_poll(heap.domain);
    myco_domain_free(heap.domain);
}

int main(void)
{
    ok(sizeof(struct myco_table) < 300, "an empty table costs %zu bytes",
        sizeof(struct myco_table));
    test_model();
    test_pages();
    test_sweep();
    test_sweep_writes();
    test_allocation_failures();
    test_limits();
    test_compaction();
    return plan_done();
}
