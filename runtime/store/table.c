/* A table of one writer and many readers: writing and reading single keys. */
#include "base/mem.h"
#include "store/table_internal.h"

/* ── Entries ─────────────────────────────────────────────────────────────────────────────────── */

struct myco__entry *myco__entry_new(struct myco__slabs *slabs, struct myco_slice key,
    struct myco_slice value, uint64_t version, uint64_t expires_ms, bool hinted)
{
    struct myco__entry_head head = {expires_ms, (uint32_t)key.size, (uint32_t)value.size};
    bool is_short =
        expires_ms >> MYCO__EXPIRES_BITS == 0 && key.size < 256 && value.size < MYCO__ENTRY_LONG;
    size_t head_size = is_short ? 0 : sizeof(head);
    size_t hint_size = hinted ? sizeof(uint32_t) : 0;
    size_t size = sizeof(struct myco__entry) + hint_size + head_size + key.size + value.size;
    struct myco__entry *entry = myco__slabs_alloc(slabs, size);
    if (entry == NULL) return NULL;
    entry->version = version;
    entry->packed = (uint64_t)MYCO__ENTRY_LONG << 52;
    if (is_short) {
        entry->packed = expires_ms | (uint64_t)key.size << 44 | (uint64_t)value.size << 52;
    }
    if (hinted) entry->packed |= MYCO__ENTRY_HINTED;
    memset(entry + 1, 0, hint_size);
    uint8_t *to = (uint8_t *)(entry + 1) + hint_size;
    memcpy(to, &head, head_size);
    if (key.size > 0) memcpy(to + head_size, key.data, key.size);
    if (value.size > 0) memcpy(to + head_size + key.size, value.data, value.size);
    return entry;
}

void myco__entry_item(const struct myco__entry *entry, struct myco_table_item *item)
{
    struct myco__entry_head head = myco__entry_head(entry);
    const uint8_t *key = myco__entry_key(entry);
    item->key = myco_bytes(key, head.key_size);
    item->value = myco_bytes(key + head.key_size, head.value_size);
    item->version = entry->version;
    item->expires_ms = head.expires_ms;
    item->hint = myco__entry_hint(entry);
}

/* ── Numbers ─────────────────────────────────────────────────────────────────────────────────── */

/* Other threads may look at count and size: stores that don't tear. */
static void table_account(struct myco_table *table, const struct myco__entry *entry, long sign)
{
    size_t size = (size_t)sign * myco__entry_size(entry);
    __atomic_store_n(&table->count, table->count + (size_t)sign, __ATOMIC_RELAXED);
    __atomic_store_n(&table->size, table->size + size, __ATOMIC_RELAXED);
    if (myco__entry_head(entry).expires_ms != 0) table->expiring_count += (size_t)sign;
}

size_t myco_table_count(const struct myco_table *table)
{
    return __atomic_load_n(&table->count, __ATOMIC_RELAXED);
}

size_t myco_table_bytes(const struct myco_table *table)
{
    return __atomic_load_n(&table->size, __ATOMIC_RELAXED);
}

/* ── Writing ─────────────────────────────────────────────────────────────────────────────────── */

int myco_table_put(struct myco_table *table, struct myco_slice key, struct myco_slice value,
    uint64_t version, uint64_t expires_ms, bool *had)
{
    if (key.size > MYCO_KEY_SIZE_MAX || value.size > MYCO_VALUE_SIZE_MAX) return MYCO_ETOOBIG;
    struct myco__slabs *slabs = myco__domain_slabs(table->domain);
    struct myco__entry *entry =
        myco__entry_new(slabs, key, value, version, expires_ms, table->hinted);
    if (entry == NULL) return MYCO_ENOMEM;
    uint64_t hash = myco__index_hash(key);
    struct myco__place place = myco__index_find(table, key, hash);
    myco__hint_begin(table, entry, place.entry);
    if (place.entry != NULL) {
        table_account(table, place.entry, -1);
        myco__index_replace(table, &place, entry, hash);
    } else if (!myco__index_insert(table, entry, hash)) {
        myco__slabs_free(slabs, entry, myco__entry_size(entry));
        return MYCO_ENOMEM;
    }
    table_account(table, entry, 1);
    if (place.entry == NULL) myco__index_grow(table);
    if (had != NULL) *had = place.entry != NULL;
    myco__domain_settle(table->domain);
    return 0;
}

bool myco_table_del(struct myco_table *table, struct myco_slice key)
{
    struct myco__place place = myco__index_find(table, key, myco__index_hash(key));
    if (place.entry == NULL) return false;
    table_account(table, place.entry, -1);
    myco__index_remove(table, &place);
    myco__index_shrink(table);
    myco__domain_settle(table->domain);
    return true;
}

bool myco_table_find(
    const struct myco_table *table, struct myco_slice key, struct myco_table_item *item)
{
    struct myco__place place = myco__index_find(table, key, myco__index_hash(key));
    if (place.entry == NULL) return false;
    myco__entry_item(place.entry, item);
    return true;
}

/* ── Reading, on any thread ──────────────────────────────────────────────────────────────────── */

static int value_copy(const struct myco_table_item *item, uint64_t now_ms, struct myco_value *value)
{
    *value = (struct myco_value){.data = "", .size = item->value.size, .version = item->version};
    if (item->expires_ms != 0) value->expires_in_ms = item->expires_ms - now_ms;
    if (item->value.size == 0) return 0;
    value->data = value->owner = myco_try_alloc(item->value.size);
    if (value->owner == NULL) return MYCO_ENOMEM;
    memcpy(value->owner, item->value.data, item->value.size);
    return 0;
}

int myco_table_read(const struct myco_table *table, struct myco_slice key, uint64_t now_ms,
    struct myco_value *value)
{
    int status = MYCO_ENOTFOUND;
    uint64_t hash = myco__index_hash(key);
    struct myco__reader *reader = myco__reader_enter(table->domain);
    const struct myco__entry *entry = myco__index_read(table, key, hash);
    if (entry != NULL) {
        struct myco_table_item item;
        myco__entry_item(entry, &item);
        if (!myco__expired(item.expires_ms, now_ms)) status = value_copy(&item, now_ms, value);
    }
    myco__reader_leave(reader);
    return status;
}

/* ── The table ───────────────────────────────────────────────────────────────────────────────── */

struct myco_table *myco__table_shell(struct myco_domain *domain)
{
    struct myco_table *table = myco_alloc(sizeof(*table));
    table->domain = domain;
    return table;
}

struct myco_table *myco_table_new(struct myco_domain *domain)
{
    _Static_assert(sizeof(struct myco_table) <= 288, "an empty table costs less than 300 bytes");
    return myco__table_shell(domain);
}

/* The entries go with a shell that the domain takes apart step by step. */
void myco_table_clear(struct myco_table *table)
{
    if (table->index.bucket_count == 0) return;
    struct myco_table *shell = myco__table_shell(table->domain);
    shell->index = table->index;
    shell->count = table->count;
    MYCO__STORE(&table->index.bucket_count, 0);
    MYCO__STORE(&table->moves, table->moves + 1);
    for (unsigned i = 0; i < MYCO__INDEX_SEGMENTS; i++) {
        MYCO__STORE(&table->index.segments[i], NULL);
    }
    __atomic_store_n(&table->count, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&table->size, 0, __ATOMIC_RELAXED);
    table->expiring_count = 0;
    table->sweep_at = 0;
    myco__domain_retire_table(table->domain, shell);
}

void myco_table_free(struct myco_table *table)
{
    if (table != NULL) myco__domain_retire_table(table->domain, table);
}
