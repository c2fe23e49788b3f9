/* Catches: septa that lose, mix up or wrongly refuse values, whichever node asks: conditions by
 * version, expiry, limits of size at their edge, pages of scans, the errors a caller can act on. */
#include "api_kit.h"

static struct myco_err err;

/* ── keys and values ── */

static bool value_is(struct myco_septum *septum, const char *key, const char *want)
{
    struct myco_value value;
    if (myco_get(septum, myco_str(key), &value, &err)) return false;
    bool same = value.size == strlen(want) && memcmp(value.data, want, value.size) == 0;
    myco_value_release(&value);
    return same;
}

static void test_basics(struct myco *node, const char *spec)
{
    struct myco_septum *septum = kit_septum(node, "basics", spec);
    struct myco_value value;
    uint64_t first = 0, second = 0, count = 9;
    ok(myco_get(septum, myco_str("a"), &value, &err) == MYCO_ENOTFOUND, "%s: nothing there", spec);
    ok(!myco_put(septum, myco_str("a"), myco_str("one"), NULL, &first, &err), "put");
    ok(!myco_put(septum, myco_str("a"), myco_str("two"), NULL, &second, &err), "put again");
    ok(second > first && first > 0, "versions rise: %llu, %llu", (unsigned long long)first,
        (unsigned long long)second);
    is_int(myco_get(septum, myco_str("a"), &value, &err), 0, "get");
    ok(value.size == 3 && !memcmp(value.data, "two", 3) && value.version == second &&
            value.expires_in_ms == 0,
        "the last value, its version, no expiry");
    myco_value_release(&value);
    myco_value_release(&value); /* once is enough, twice is harmless */
    ok(!myco_put(septum, myco_str("empty"), myco_str(""), NULL, NULL, &err), "an empty value");
    is_int(myco_get(septum, myco_str("empty"), &value, &err), 0, "is there");
    is_int((long long)value.size, 0, "and empty");
    myco_value_release(&value);
    ok(!myco_put(septum, myco_bytes("\0\xff\n", 3), myco_bytes("\0\1", 2), NULL, NULL, &err),
        "keys and values are bytes");
    ok(!myco_count(septum, &count, &err) && count == 3, "count: %llu", (unsigned long long)count);
    ok(!myco_del(septum, myco_str("a"), NULL, &err), "del");
    is_int(myco_get(septum, myco_str("a"), &value, &err), MYCO_ENOTFOUND, "it is gone");
    is_str(err.message, "not found", "says a sentence");
    is_int(myco_del(septum, myco_str("a"), NULL, &err), MYCO_ENOTFOUND, "and can't be deleted");
    ok(!myco_count(septum, &count, &err) && count == 2, "two are left");
}

static void test_conditions(struct myco *node)
{
    struct myco_septum *septum = kit_septum(node, "conditions", "kind=durable hyphae=4");
    struct myco_put_options absent = {.if_absent = true}, same = {0};
    struct myco_value value;
    uint64_t version = 0, next = 0;
    ok(!myco_put(septum, myco_str("k"), myco_str("1"), &absent, &version, &err), "if_absent");
    is_int(myco_put(septum, myco_str("k"), myco_str("2"), &absent, NULL, &err), MYCO_ECONFLICT,
        "if_absent of what is there: %s", err.message);
    same.if_version = version + 1;
    is_int(myco_put(septum, myco_str("k"), myco_str("2"), &same, NULL, &err), MYCO_ECONFLICT,
        "if_version of another version");
    is_int(myco_del(septum, myco_str("k"), &same, &err), MYCO_ECONFLICT, "so for del");
    ok(value_is(septum, "k", "1"), "nothing was changed by them");
    same.if_version = version;
    ok(!myco_put(septum, myco_str("k"), myco_str("2"), &same, &next, &err) && next > version,
        "if_version of the right one");
    is_int(
        myco_put(septum, myco_str("k"), myco_str("3"), &same, NULL, &err), MYCO_ECONFLICT, "once");
    same.if_version = next;
    ok(!myco_del(septum, myco_str("k"), &same, &err), "del by version");
    is_int(myco_put(septum, myco_str("k"), myco_str("4"), &same, NULL, &err), MYCO_ECONFLICT,
        "a version that is gone");
    is_int(myco_get(septum, myco_str("k"), &value, &err), MYCO_ENOTFOUND, "it stays gone");
    ok(!myco_put(septum, myco_str("k"), myco_str("5"), &absent, &version, &err) && version > next,
        "absent again, and no version comes twice");
}

/* ── expiry ── */

struct expiring {
    struct myco_septum *septum;
    const char *key;
};

static bool is_gone(void *data)
{
    struct expiring *expiring = data;
    struct myco_value value;
    int rc = myco_get(expiring->septum, myco_str(expiring->key), &value, NULL);
    if (rc == 0) myco_value_release(&value);
    return rc == MYCO_ENOTFOUND;
}

static void test_expiry(struct myco *node, struct myco *other)
{
    struct myco_septum *septum = kit_septum(node, "expiry", "kind=cache ttl=400ms hyphae=4");
    struct myco_septum *there = kit_septum(other, "expiry", NULL);
    struct myco_put_options longer = {.ttl_ms = 60000}, absent = {.if_absent = true};
    struct myco_value value;
    uint64_t count = 0, before = kit_now_ms();
    ok(!myco_put(septum, myco_str("short"), myco_str("x"), NULL, NULL, &err), "the septum's ttl");
    ok(!myco_put(septum, myco_str("long"), myco_str("x"), &longer, NULL, &err), "its own ttl");
    is_int(myco_get(there, myco_str("short"), &value, &err), 0, "there at first");
    ok(value.expires_in_ms > 0 && value.expires_in_ms <= 400, "for %llu ms",
        (unsigned long long)value.expires_in_ms);
    myco_value_release(&value);
    struct expiring expiring = {there, "short"};
    ok(kit_poll(is_gone, &expiring, KIT_WAIT_MS), "and then gone");
    ok(kit_now_ms() - before >= 395, "not before its time: %llu ms",
        (unsigned long long)(kit_now_ms() - before));
    ok(!myco_put(septum, myco_str("short"), myco_str("y"), &absent, NULL, &err),
        "what has expired is absent");
    ok(!myco_count(there, &count, &err) && count == 2, "and is not counted twice: %llu",
        (unsigned long long)count);
    is_int(myco_get(there, myco_str("long"), &value, &err), 0, "the longer one is there");
    ok(value.expires_in_ms > 50000 && value.expires_in_ms <= 60000, "for %llu ms",
        (unsigned long long)value.expires_in_ms);
    myco_value_release(&value);
}

/* ── limits ── */

static void test_limits(struct myco *node, struct myco *other)
{
    struct myco_septum *septum = kit_septum(node, "limits", "kind=durable hyphae=8 replicas=1");
    struct myco_septum *there = kit_septum(other, "limits", NULL);
    size_t big = MYCO_VALUE_SIZE_MAX;
    char *bytes = malloc(big + 1);
    struct myco_value value;
    for (size_t i = 0; i <= big; i++) bytes[i] = (char)(i * 2654435761u >> 13);
    is_int(myco_put(septum, myco_str(""), myco_str("x"), NULL, NULL, &err), MYCO_EINVAL,
        "an empty key: %s", err.message);
    is_int(myco_get(septum, myco_str(""), &value, &err), MYCO_EINVAL, "get: %s", err.message);
    is_int(myco_del(septum, myco_str(""), NULL, &err), MYCO_EINVAL, "del: %s", err.message);
    ok(!myco_put(septum, myco_bytes(bytes, MYCO_KEY_SIZE_MAX), myco_str("x"), NULL, NULL, &err),
        "a key of 64 KiB");
    ok(!myco_get(there, myco_bytes(bytes, MYCO_KEY_SIZE_MAX), &value, &err), "is found");
    myco_value_release(&value);
    is_int(
        myco_put(septum, myco_bytes(bytes, MYCO_KEY_SIZE_MAX + 1), myco_str("x"), NULL, NULL, &err),
        MYCO_ETOOBIG, "a byte more: %s", err.message);
    is_int(myco_get(septum, myco_bytes(bytes, MYCO_KEY_SIZE_MAX + 1), &value, &err), MYCO_ETOOBIG,
        "get: %s", err.message);
    unsigned intact = 0;
    for (int i = 0; i < 4; i++) { /* some have their primary here, some there */
        char key[16];
        snprintf(key, sizeof key, "big-%d", i);
        struct myco_put_options patient = {.timeout_ms = 30000}; /* for a slow disk */
        if (myco_put(septum, myco_str(key), myco_bytes(bytes, big), &patient, NULL, &err)) {
            note("%s: %s", key, err.message);
            continue;
        }
        if (myco_get(there, myco_str(key), &value, &err)) {
            note("%s: %s", key, err.message);
            continue;
        }
        intact += value.size == big && memcmp(value.data, bytes, big) == 0;
        myco_value_release(&value);
    }
    is_int(intact, 4, "values of 8 MiB go and come back through two nodes");
    is_int(myco_put(septum, myco_str("big-0"), myco_bytes(bytes, big + 1), NULL, NULL, &err),
        MYCO_ETOOBIG, "a byte more: %s", err.message);
    ok(!myco_put(
           septum, myco_bytes(bytes, MYCO_KEY_SIZE_MAX), myco_bytes(bytes, big), NULL, NULL, &err),
        "the largest key with the largest value");
    ok(!myco_get(there, myco_bytes(bytes, MYCO_KEY_SIZE_MAX), &value, &err) && value.size == big,
        "is found");
    myco_value_release(&value);
    free(bytes);
}

/* ── scans ── */

struct scan {
    unsigned calls, items, wrong;
    int status;
    char cursor[MYCO_KEY_SIZE_MAX + 8];
    size_t cursor_size;
    bool seen[600];
    bool keys_only;
};

static void on_page(const struct myco_page *page, void *data)
{
    struct scan *scan = data;
    kit_lock();
    scan->calls++;
    scan->status = page->status;
    for (size_t i = 0; i < page->count; i++) {
        const struct myco_scan_item *item = &page->items[i];
        char key[16] = "", want[16];
        if (item->key.size < sizeof key) memcpy(key, item->key.data, item->key.size);
        int number = atoi(key + 2);
        snprintf(want, sizeof want, "%d", number * 7);
        bool right = key[0] == 'k' && number >= 0 && number < 600 && !scan->seen[number] &&
                     (scan->keys_only ? item->value.size == 0
                                      : item->value.size == strlen(want) &&
                                            !memcmp(item->value.data, want, item->value.size)) &&
                     item->version > 0;
        scan->wrong += !right;
        if (right) scan->seen[number] = true;
        scan->items++;
    }
    scan->cursor_size = page->cursor.size;
    if (page->cursor.size) memcpy(scan->cursor, page->cursor.data, page->cursor.size);
    kit_unlock();
}

struct pages {
    struct scan *scan;
    unsigned calls;
};

static bool page_came(void *data)
{
    struct pages *pages = data;
    return pages->scan->calls > pages->calls;
}

static unsigned scan_all(struct myco_septum *septum, const char *prefix, unsigned limit,
    bool keys_only, struct scan *scan)
{
    struct pages pages = {scan, 0};
    memset(scan, 0, sizeof *scan);
    scan->keys_only = keys_only;
    do {
        pages.calls = scan->calls;
        int rc = myco_scan_async(septum, myco_str(prefix),
            myco_bytes(scan->cursor, scan->cursor_size), limit, keys_only, 0, on_page, scan);
        if (rc || !kit_wait(page_came, &pages, KIT_WAIT_MS)) bail_out("scan: no page");
    } while (scan->cursor_size && !scan->status);
    return scan->calls;
}

static void test_scan(struct myco *node, struct myco *other)
{
    struct myco_septum *septum = kit_septum(node, "scan", "kind=cache hyphae=16");
    struct myco_septum *there = kit_septum(other, "scan", NULL);
    static struct kit_result puts[600];
    static struct scan scan;
    memset(puts, 0, sizeof puts);
    for (int i = 0; i < 600; i++) {
        char key[16], value[16];
        snprintf(key, sizeof key, "k%d%d", i % 2, i);
        snprintf(value, sizeof value, "%d", i * 7);
        myco_put_async(septum, myco_str(key), myco_str(value), NULL, kit_done, &puts[i]);
    }
    unsigned bad = 0;
    for (int i = 0; i < 600; i++) bad += kit_result_wait(&puts[i]) != 0;
    is_int(bad, 0, "600 puts at once");
    unsigned pages = scan_all(there, "", 50, false, &scan);
    ok(pages >= 12 && scan.items == 600 && !scan.wrong && !scan.status,
        "a scan from another node by pages of 50: %u pages, %u items, %u wrong, %s", pages,
        scan.items, scan.wrong, myco_errname(scan.status));
    scan_all(septum, "k1", 0, true, &scan);
    ok(scan.items == 300 && !scan.wrong, "by prefix, keys alone: %u", scan.items);
    pages = scan_all(septum, "nobody", 10, false, &scan);
    ok(scan.items == 0 && pages == 1 && !scan.status, "nothing has this prefix");
    scan_all(septum, "", 1, true, &scan);
    is_int(scan.items, 600, "one by one");
    struct scan *wrong = &scan;
    struct pages first = {wrong, 0};
    memset(wrong, 0, sizeof *wrong);
    myco_scan_async(
        septum, myco_str(""), myco_bytes("\xff\xff\xff\xffzzz", 7), 10, true, 0, on_page, wrong);
    ok(kit_wait(page_came, &first, KIT_WAIT_MS) && wrong->cursor_size == 0 && !wrong->wrong,
        "a cursor that is none of ours ends the scan");
}

/* ── septa ── */

static void test_septa(struct myco *node, struct myco *other)
{
    struct myco_septum *septum, *again;
    is_int(myco_septum(node, "nowhere", NULL, &septum, &err), MYCO_ENOTFOUND, "%s", err.message);
    septum = kit_septum(node, "carts", "kind=durable replicas=1 hyphae=8 ttl=30d");
    again = kit_septum(node, "carts", NULL);
    ok(septum == again, "opening it twice gives one handle");
    ok(kit_septum(node, "carts", "kind=durable hyphae=8") == septum, "by an equal spec too");
    is_int(myco_septum(node, "carts", "kind=cache", &again, &err), MYCO_EEXISTS, "%s", err.message);
    is_int(myco_septum(node, "carts", "kind=durable hyphae=16", &again, &err), MYCO_EEXISTS, "%s",
        err.message);
    static const char *const wrong[] = {"kind=brick", "hyphae=0", "hyphae=5000", "replicas=99",
        "ttl=soon", "colour=red", "kind", "="};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        is_int(myco_septum(node, "bad", wrong[i], &again, &err), MYCO_EINVAL, "%s", err.message);
    char name[80];
    memset(name, 'n', sizeof name);
    name[64] = 0;
    is_int(myco_septum(node, name, "kind=cache", &again, &err), MYCO_EINVAL, "%s", err.message);
    name[63] = 0;
    is_int(myco_septum(node, name, "kind=cache hyphae=1", &again, &err), 0, "63 bytes of name");
    is_int(myco_septum(node, "", "kind=cache", &again, &err), MYCO_EINVAL, "%s", err.message);
    is_int(myco_septum(node, "a b", "kind=cache", &again, &err), MYCO_EINVAL, "%s", err.message);
    ok(!myco_put(septum, myco_str("k"), myco_str("v"), NULL, NULL, &err) &&
            value_is(kit_septum(other, "carts", NULL), "k", "v"),
        "the other node has it");
}

int main(void)
{
    struct myco *nodes[KIT_NODES];
    struct myco *node = kit_single("solo");
    test_basics(node, "kind=cache");
    test_conditions(node);
    test_septa(node, node);
    test_scan(node, node);
    test_limits(node, node);
    myco_close(node);

    kit_cluster(nodes);
    test_basics(nodes[0], "kind=durable hyphae=8");
    test_conditions(nodes[1]);
    test_expiry(nodes[1], nodes[2]);
    test_limits(nodes[0], nodes[1]);
    test_scan(nodes[2], nodes[0]);
    test_septa(nodes[0], nodes[2]);
    for (int i = 0; i < KIT_NODES; i++) myco_close(nodes[i]);
    return plan_done();
}
