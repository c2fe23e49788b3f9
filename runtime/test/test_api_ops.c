/* Catches: changes that lose one another (counters and appends of many callers at once), that are
 * computed from what did not happen, that forget or wrongly keep a time to live, that take no
 * notice of their conditions; numbers beyond 64 bits; values beyond the limit. */
#include "api_kit.h"

static struct myco_err err;

static bool holds(struct myco_septum *septum, const char *key, const char *want)
{
    struct myco_value value;
    if (myco_get(septum, myco_str(key), &value, &err)) return false;
    bool same = value.size == strlen(want) && memcmp(value.data, want, value.size) == 0;
    if (!same) printf("# %s is '%s'\n", key, (const char *)value.data);
    myco_value_release(&value);
    return same;
}

static int change(struct myco_septum *septum, struct myco_change change, uint64_t *count)
{
    struct myco_changed changed = {0};
    int rc = myco_change(septum, &change, NULL, &changed, &err);
    if (rc == 0 && count) *count = changed.count;
    if (rc == 0) myco_value_release(&changed.value);
    return rc;
}

static void test_counters(struct myco_septum *septum)
{
    int64_t sum = 0;
    uint64_t count = 0;
    ok(!myco_incr(septum, myco_str("n"), 5, &sum, &err) && sum == 5, "a counter begins at 0");
    ok(!myco_incr(septum, myco_str("n"), -12, &sum, &err) && sum == -7, "goes down");
    ok(holds(septum, "n", "-7"), "and is text");
    struct myco_change from = {
        .kind = MYCO_CHANGE_INCR, .key = myco_str("m"), .delta = 1, .initial = 100};
    ok(!change(septum, from, &count) && count == 101, "one that begins at 100");
    ok(!change(septum, from, &count) && count == 102, "does so once");
    myco_put(septum, myco_str("max"), myco_str("9223372036854775806"), NULL, NULL, &err);
    ok(!myco_incr(septum, myco_str("max"), 1, &sum, &err) && sum == INT64_MAX, "up to the end");
    is_int(myco_incr(septum, myco_str("max"), 1, &sum, &err), MYCO_ERANGE, "and no further: %s",
        err.message);
    ok(holds(septum, "max", "9223372036854775807"), "which changed nothing");
    ok(!myco_incr(septum, myco_str("max"), INT64_MIN, &sum, &err) && sum == -1, "far down");
    const char *const bad[] = {"", "x", "1.5", "1 ", "+1", "-", "9223372036854775808",
        "99999999999999999999", "\xC1M", "\xC1M\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        myco_put(septum, myco_str("bad"), myco_str(bad[i]), NULL, NULL, &err);
        is_int(myco_incr(septum, myco_str("bad"), 1, NULL, &err), MYCO_EINVAL,
            "no number: the %zu.", i + 1);
    }
    myco_put(septum, myco_str("lua"), myco_bytes("\xC1M\xD1\xFF\x38", 5), NULL, NULL, &err);
    ok(!myco_incr(septum, myco_str("lua"), 1, &sum, &err) && sum == -199, "a number of Lua's");
    ok(!myco_incr(septum, myco_str("lua"), 209, &sum, &err) && sum == 10, "again");
    ok(holds(septum, "lua", "\xC1M\x0A"), "stays one");
}

static void test_appends(struct myco_septum *septum)
{
    size_t size = 0;
    ok(!myco_append(septum, myco_str("a"), myco_str("one"), &size, &err) && size == 3, "append");
    ok(!myco_append(septum, myco_str("a"), myco_str(",two"), &size, &err) && size == 7, "again");
    ok(holds(septum, "a", "one,two"), "both are there, in order");
    char *large = malloc(MYCO_VALUE_SIZE_MAX);
    memset(large, 'x', MYCO_VALUE_SIZE_MAX);
    is_int(
        myco_append(septum, myco_str("a"), myco_bytes(large, MYCO_VALUE_SIZE_MAX - 6), NULL, &err),
        MYCO_ETOOBIG, "a byte too many: %s", err.message);
    ok(!myco_append(
           septum, myco_str("a"), myco_bytes(large, MYCO_VALUE_SIZE_MAX - 7), &size, &err) &&
            size == MYCO_VALUE_SIZE_MAX,
        "up to the limit");
    free(large);
}

static uint64_t ttl_of(struct myco_septum *septum, const char *key)
{
    struct myco_value value;
    if (myco_get(septum, myco_str(key), &value, &err)) return UINT64_MAX;
    uint64_t ttl = value.expires_in_ms;
    myco_value_release(&value);
    return ttl;
}

static bool near(uint64_t ttl, uint64_t want)
{
    return ttl <= want && ttl + 30000 > want;
}

static void test_lifetimes(struct myco *node)
{
    struct myco_septum *septum = kit_septum(node, "times", "kind=durable hyphae=2 ttl=1h");
    struct myco_slice key = myco_str("k");
    struct myco_value value;
    uint64_t hour = 3600 * 1000;
    myco_put(
        septum, key, myco_str("1"), &(struct myco_put_options){.ttl_ms = 2 * hour}, NULL, &err);
    ok(!change(
           septum, (struct myco_change){.kind = MYCO_CHANGE_INCR, .key = key, .delta = 1}, NULL) &&
            near(ttl_of(septum, "k"), 2 * hour),
        "a counter keeps its time");
    struct myco_change put = {.kind = MYCO_CHANGE_PUT, .key = key, .value = myco_str("x")};
    put.keep_ttl = true;
    ok(!change(septum, put, NULL) && near(ttl_of(septum, "k"), 2 * hour), "so does keep_ttl");
    put.keep_ttl = false;
    ok(!change(septum, put, NULL) && near(ttl_of(septum, "k"), hour), "a put takes the septum's");
    is_int(myco_touch(septum, key, 3 * hour, &value, &err), 0, "touch");
    ok(value.size == 1 && near(value.expires_in_ms, 3 * hour), "gives the value and its new time");
    myco_value_release(&value);
    ok(near(ttl_of(septum, "k"), 3 * hour) && holds(septum, "k", "x"), "which it has");
    ok(!myco_touch(septum, key, MYCO_TTL_NEVER, NULL, &err) && ttl_of(septum, "k") == 0,
        "for ever, in spite of the septum");
    ok(!myco_touch(septum, key, 0, NULL, &err) && near(ttl_of(septum, "k"), hour), "the default");
    is_int(myco_touch(septum, myco_str("no"), hour, NULL, &err), MYCO_ENOTFOUND, "of nothing: %s",
        err.message);
}

static void test_conditions(struct myco_septum *septum)
{
    struct myco_change swap = {
        .kind = MYCO_CHANGE_SWAP, .key = myco_str("s"), .value = myco_str("1")};
    struct myco_changed changed;
    ok(!myco_change(septum, &swap, NULL, &changed, &err) && changed.count == 0 &&
            changed.value.size == 0,
        "swap: there was nothing");
    uint64_t version = changed.value.version;
    myco_value_release(&changed.value);
    swap.value = myco_str("22");
    swap.if_version = version + 1;
    is_int(change(septum, swap, NULL), MYCO_ECONFLICT, "another version");
    swap.if_version = version;
    ok(!myco_change(septum, &swap, NULL, &changed, &err) && changed.count == 1 &&
            changed.value.size == 1 && changed.value.version > version,
        "swap: gives the former value, and the new version");
    myco_value_release(&changed.value);
    struct myco_change absent = {.kind = MYCO_CHANGE_INCR, .key = myco_str("s"), .if_absent = true};
    is_int(change(septum, absent, NULL), MYCO_ECONFLICT, "if_absent of what is there");
    struct myco_change present = {
        .kind = MYCO_CHANGE_APPEND, .key = myco_str("nobody"), .if_present = true};
    is_int(change(septum, present, NULL), MYCO_ENOTFOUND, "if_present of what is not");
    struct myco_change take = {.kind = MYCO_CHANGE_TAKE, .key = myco_str("s")};
    ok(!myco_change(septum, &take, NULL, &changed, &err) && changed.value.size == 2, "take");
    myco_value_release(&changed.value);
    is_int(change(septum, take, NULL), MYCO_ENOTFOUND, "once");
    struct myco_change none = {.kind = 99, .key = myco_str("s")};
    is_int(change(septum, none, NULL), MYCO_EINVAL, "%s", err.message);
    none = (struct myco_change){.kind = MYCO_CHANGE_DEL, .key = myco_str("")};
    is_int(change(septum, none, NULL), MYCO_EINVAL, "%s", err.message);
}

#define MANY 3000

static struct myco_slice number_key(char (*text)[16], int i)
{
    snprintf(text[i], sizeof text[i], "k:%05d", i);
    return myco_str(text[i]);
}

static void test_many(struct myco *node, struct myco *other)
{
    struct myco_septum *septum = kit_septum(node, "many", "kind=durable replicas=1 hyphae=8");
    struct myco_septum *there = kit_septum(other, "many", NULL);
    char(*text)[16] = malloc(MANY * sizeof *text);
    struct myco_slice *keys = malloc(MANY * sizeof *keys), *values = malloc(MANY * sizeof *values);
    struct myco_value *got = malloc(MANY * sizeof *got);
    for (int i = 0; i < MANY; i++) {
        keys[i] = number_key(text, i);
        values[i] = myco_bytes(text[i] + 2, 5);
    }
    is_int(myco_put_many(septum, keys, values, MANY - 1, &err), 0, "put many: %s", err.message);
    uint64_t count = 0;
    ok(!myco_count(there, &count, &err) && count == MANY - 1, "all are there");
    ok(!myco_count_prefix(there, myco_str("k:000"), &count, &err) && count == 100,
        "count with a prefix: %llu", (unsigned long long)count);
    is_int(myco_get_many(there, keys, MANY, got, &err), 0, "get many: %s", err.message);
    int right = 0;
    for (int i = 0; i < MANY - 1; i++)
        right += got[i].size == 5 && !memcmp(got[i].data, text[i] + 2, 5) && got[i].version > 0;
    is_int(right, MANY - 1, "each key has its own value");
    ok(got[MANY - 1].owner == NULL, "what is absent has none");
    for (int i = 0; i < MANY; i++) myco_value_release(&got[i]);

    struct myco_change mixed[] = {
        {.kind = MYCO_CHANGE_INCR, .key = myco_str("n"), .delta = 3},
        {.kind = MYCO_CHANGE_PUT, .key = keys[0], .value = myco_str("x"), .if_absent = true},
        {.kind = MYCO_CHANGE_DEL, .key = keys[1]},
        {.kind = MYCO_CHANGE_INCR, .key = keys[2], .delta = 1},
        {.kind = MYCO_CHANGE_GET, .key = myco_str("nobody")},
        {.kind = MYCO_CHANGE_INCR, .key = myco_str("n"), .delta = 4},
    };
    struct myco_changed done[6];
    is_int(myco_many(there, mixed, 6, NULL, done, &err), MYCO_ECONFLICT, "says the first failure");
    ok(done[0].status == 0 && done[0].count == 3 && done[5].status == 0 && done[5].count == 7,
        "those of one key in their order");
    ok(done[1].status == MYCO_ECONFLICT && done[2].status == 0 && done[4].status == MYCO_ENOTFOUND,
        "each has its own result");
    is_int((long long)done[3].count, 3, "'00002' is a number");
    for (int i = 0; i < 6; i++) myco_value_release(&done[i].value);
    is_int(myco_many(there, mixed, 0, NULL, done, &err), MYCO_EINVAL, "%s", err.message);
    free(text), free(keys), free(values), free(got);
}

/* Values that fill more than one answer, and more than one request. */
static void test_many_large(struct myco *node, struct myco *other)
{
    struct myco_septum *septum = kit_septum(node, "large", "kind=durable replicas=0 hyphae=2");
    struct myco_slice keys[20], values[20];
    struct myco_value got[20];
    char text[20][16], *large = calloc(1, 1 << 20);
    int right = 0;
    for (int i = 0; i < 20; i++) {
        keys[i] = number_key(text, i);
        values[i] = myco_bytes(large, (1 << 20) - (size_t)i);
    }
    is_int(myco_put_many(septum, keys, values, 20, &err), 0, "20 MiB: %s", err.message);
    is_int(myco_get_many(kit_septum(other, "large", NULL), keys, 20, got, &err), 0, "and back: %s",
        err.message);
    for (int i = 0; i < 20; i++) {
        right += got[i].size == values[i].size;
        myco_value_release(&got[i]);
    }
    is_int(right, 20, "whole");
    free(large);
}

#define THREADS 6
#define ROUNDS  40

struct adder {
    pthread_t thread;
    struct myco_septum *septum;
    int failed;
};

static void *add(void *data)
{
    struct adder *adder = data;
    for (int i = 0; i < ROUNDS; i++) {
        if (myco_incr(adder->septum, myco_str("sum"), 1, NULL, NULL)) adder->failed++;
        if (myco_append(adder->septum, myco_str("text"), myco_str("ab"), NULL, NULL))
            adder->failed++;
    }
    return NULL;
}

/* Changes of one key under way at once, from all nodes. */
static void test_at_once(struct myco *nodes[])
{
    struct adder adders[THREADS];
    int failed = 0;
    kit_septum(nodes[0], "busy", "kind=durable replicas=1 hyphae=2");
    for (int i = 0; i < THREADS; i++) {
        adders[i] = (struct adder){.septum = kit_septum(nodes[i % KIT_NODES], "busy", NULL)};
        pthread_create(&adders[i].thread, NULL, add, &adders[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(adders[i].thread, NULL);
        failed += adders[i].failed;
    }
    is_int(failed, 0, "no change conflicts with another");
    int64_t sum = 0;
    size_t size = 0;
    myco_incr(adders[0].septum, myco_str("sum"), 0, &sum, &err);
    myco_append(adders[1].septum, myco_str("text"), myco_str(""), &size, &err);
    is_int(sum, THREADS * ROUNDS, "every one counts, once");
    is_int((long long)size, 2 * THREADS * ROUNDS, "every append is there");
}

int main(void)
{
    struct myco *nodes[KIT_NODES];
    kit_cluster(nodes);
    struct myco_septum *septum = kit_septum(nodes[0], "ops", "kind=durable replicas=1 hyphae=8");
    test_counters(septum);
    test_appends(septum);
    test_lifetimes(nodes[1]);
    test_conditions(septum);
    test_at_once(nodes);
    test_many(nodes[1], nodes[2]);
    test_many_large(nodes[0], nodes[1]);
    for (unsigned i = 0; i < KIT_NODES; i++) myco_close(nodes[i]);
    return plan_done();
}
