/* Hints: four bytes of an entry that say how it was used, for eviction and idle time.
 *
 *     | usage 8 | seconds 24 |
 *
 * The usage is a logarithmic counter (Morris 1978): it rises for certain at first, and the higher
 * it is, the rarer a use raises it, so that 255 stand for a million uses. What is new begins at
 * USAGE_NEW, lest it be the first to go. Only the writer looks at hints: no reader waits for them.
 */
#include "store/table_internal.h"

#define SECONDS    0xffffffu
#define USAGE_NEW  5
#define USAGE_STEP 10
#define USAGE_MAX  255

static uint32_t noise(struct myco_table *table) /* xorshift, 32 bits */
{
    uint32_t x = table->noise != 0 ? table->noise : 0x9e3779b9u;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return table->noise = x;
}

void myco_table_hints(struct myco_table *table, bool on, uint32_t clock)
{
    table->hinted = on;
    table->clock = clock & SECONDS;
}

bool myco_table_hinted(const struct myco_table *table)
{
    return table->hinted;
}

static void use(struct myco_table *table, uint32_t *hint)
{
    uint32_t usage = *hint >> 24, above = usage > USAGE_NEW ? usage - USAGE_NEW : 0;
    if (usage < USAGE_MAX && noise(table) % (above * USAGE_STEP + 1) == 0) usage++;
    *hint = usage << 24 | table->clock;
}

void myco_table_touch(struct myco_table *table, const struct myco_table_item *item)
{
    if (item->hint != NULL) use(table, item->hint);
}

void myco__hint_begin(
    struct myco_table *table, struct myco__entry *entry, const struct myco__entry *former)
{
    uint32_t *hint = myco__entry_hint(entry);
    if (hint == NULL) return;
    const uint32_t *known = former != NULL ? myco__entry_hint(former) : NULL;
    *hint = known != NULL ? *known : (uint32_t)USAGE_NEW << 24 | table->clock;
    if (known != NULL) use(table, hint);
}

uint32_t myco_table_idle(const struct myco_table *table, const struct myco_table_item *item)
{
    return item->hint != NULL ? (table->clock - *item->hint) & SECONDS : UINT32_MAX;
}

unsigned myco_table_usage(
    const struct myco_table *table, const struct myco_table_item *item, uint32_t decay)
{
    if (item->hint == NULL) return 0;
    uint32_t usage = *item->hint >> 24, lost = decay ? myco_table_idle(table, item) / decay : 0;
    return usage > lost ? usage - lost : 0;
}

size_t myco_table_cost(
    const struct myco_table *table, size_t key_size, size_t value_size, uint64_t expires_ms)
{
    bool is_long =
        expires_ms >> MYCO__EXPIRES_BITS != 0 || key_size > 255 || value_size >= MYCO__ENTRY_LONG;
    return sizeof(struct myco__entry) + (table->hinted ? sizeof(uint32_t) : 0) +
           (is_long ? sizeof(struct myco__entry_head) : 0) + key_size + value_size;
}
