/* How a table's entries are used. Would catch: a hint that damages key or value, is lost when the
 * value is replaced, or is read as older than it is; a cost that is not what the table counts. */
#include "tap.h"

#include "store/table.h"

static struct myco_table_item find(struct myco_table *table, const char *key)
{
    struct myco_table_item item = {0};
    myco_table_find(table, myco_str(key), &item);
    return item;
}

static size_t seen;
static bool see(const struct myco_table_item *item, void *data)
{
    (void)data;
    seen += item->value.size > 0;
    return true;
}

int main(void)
{
    static char large[9000];
    struct myco_domain *domain = myco_domain_new();
    struct myco_table *table = myco_table_new(domain);
    myco_table_put(table, myco_str("old"), myco_str("v"), 1, 0, NULL);
    myco_table_hints(table, true, 100);
    memset(large, 'l', sizeof large);
    size_t before = myco_table_bytes(table);
    myco_table_put(table, myco_str("short"), myco_str("value"), 2, 77, NULL);
    is_int(
        myco_table_bytes(table) - before, myco_table_cost(table, 5, 5, 77), "a short one's cost");
    before = myco_table_bytes(table);
    myco_table_put(table, myco_str("large"), myco_bytes(large, sizeof large), 3, 0, NULL);
    is_int(
        myco_table_bytes(table) - before, myco_table_cost(table, 5, sizeof large, 0), "a long's");
    struct myco_table_item item = find(table, "short");
    ok(item.value.size == 5 && memcmp(item.value.data, "value", 5) == 0 && item.expires_ms == 77,
        "a short entry is whole");
    item = find(table, "large");
    ok(item.value.size == sizeof large && memcmp(item.value.data, large, sizeof large) == 0,
        "and so is a long one");
    item = find(table, "old");
    ok(!item.hint && myco_table_idle(table, &item) == UINT32_MAX, "an old one has no hint");
    myco_table_hints(table, true, 130);
    item = find(table, "short");
    is_int(myco_table_idle(table, &item), 30, "half a minute without use");
    unsigned usage = myco_table_usage(table, &item, 0);
    is_int(myco_table_usage(table, &item, 10), usage - 3, "counts against it");
    for (int i = 0; i < 1000; i++) myco_table_touch(table, &item);
    is_int(myco_table_idle(table, &item), 0, "a use ends that");
    unsigned often = myco_table_usage(table, &item, 0);
    ok(often > usage + 5 && often < 60, "a thousand count some %u", often);
    myco_table_put(table, myco_str("short"), myco_str("another"), 4, 0, NULL);
    item = find(table, "short");
    ok(myco_table_usage(table, &item, 0) >= often, "another value inherits that");
    myco_table_hints(table, true, 0xffffffu);
    myco_table_touch(table, &item);
    myco_table_hints(table, true, 0x1000004u);
    is_int(myco_table_idle(table, &item), 5, "the clock may wrap");
    myco_table_sample(table, 12345, 100, see, NULL);
    is_int(seen, 3, "a sample ends after one round");
    myco_table_free(table);
    myco_domain_free(domain);
    return plan_done();
}
