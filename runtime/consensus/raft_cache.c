/* The entries of the log in memory, from the oldest one kept behind the last snapshot to the
 * newest.
 *
 * In step mode libraft knows only the index and term of each entry; bodies are ours: messages to
 * followers, writes to disk and applying all read them here. */
#include "consensus/log_internal.h"

#include "base/assert.h"
#include "base/mem.h"

void myco__rlog_cache_free(struct myco__rlog_cache *cache)
{
    myco__rlog_cache_reset(cache, 1);
    myco_free(cache->items);
    *cache = (struct myco__rlog_cache){.first = 1};
}

void myco__rlog_cache_reset(struct myco__rlog_cache *cache, uint64_t first)
{
    for (size_t i = 0; i < cache->count; i++) myco_free(cache->items[i].body);
    cache->count = 0;
    cache->first = first;
}

uint64_t myco__rlog_cache_last(const struct myco__rlog_cache *cache)
{
    return cache->first + cache->count - 1;
}

struct myco__rlog_entry *myco__rlog_cache_at(const struct myco__rlog_cache *cache, uint64_t index)
{
    if (index < cache->first || index - cache->first >= cache->count) return NULL;
    return &cache->items[index - cache->first];
}

static bool grow(struct myco__rlog_cache *cache)
{
    size_t capacity = cache->capacity == 0 ? 64 : cache->capacity * 2;
    void *items = myco_try_realloc(cache->items, capacity * sizeof *cache->items);
    if (items == NULL) return false;
    cache->items = items;
    cache->capacity = capacity;
    return true;
}

int myco__rlog_cache_append(
    struct myco__rlog_cache *cache, uint64_t term, uint8_t type, struct myco_slice body)
{
    if (cache->count == cache->capacity && !grow(cache)) return MYCO_ENOMEM;
    uint8_t *copy = myco_try_alloc(body.size > 0 ? body.size : 1);
    if (copy == NULL) return MYCO_ENOMEM;
    if (body.size > 0) memcpy(copy, body.data, body.size);
    cache->end += body.size;
    cache->items[cache->count++] = (struct myco__rlog_entry){
        .term = term, .end = cache->end, .size = (uint32_t)body.size, .type = type, .body = copy};
    return 0;
}

void myco__rlog_cache_cut(struct myco__rlog_cache *cache, uint64_t index)
{
    MYCO_ASSERT(index >= cache->first);
    while (myco__rlog_cache_last(cache) >= index) {
        struct myco__rlog_entry *entry = &cache->items[--cache->count];
        cache->end = entry->end - entry->size;
        myco_free(entry->body);
    }
}

void myco__rlog_cache_drop_to(struct myco__rlog_cache *cache, uint64_t index)
{
    if (index < cache->first) return;
    size_t drop = index - cache->first + 1;
    if (drop > cache->count) drop = cache->count;
    for (size_t i = 0; i < drop; i++) myco_free(cache->items[i].body);
    cache->count -= drop;
    memmove(cache->items, cache->items + drop, cache->count * sizeof *cache->items);
    cache->first = index + 1;
}

uint64_t myco__rlog_cache_bytes(const struct myco__rlog_cache *cache, uint64_t after)
{
    const struct myco__rlog_entry *entry = myco__rlog_cache_at(cache, after);
    if (entry != NULL) return cache->end - entry->end;
    if (cache->count == 0 || after >= cache->first) return 0;
    return cache->end - (cache->items[0].end - cache->items[0].size);
}
