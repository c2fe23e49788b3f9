/* Catches: documents about a node that do not decode or lack what they promise; a bad policy that
 * is taken, or takes the good one's place; functions of the host that are found where they must not
 * be. */
#include "api_kit.h"

static struct myco *nodes[KIT_NODES];
static struct myco_err err;

/* ── documents ── */

static unsigned lacking(const msgpack_object *map, const char *const fields[])
{
    unsigned count = 0;
    for (; *fields; fields++) {
        if (kit_field(map, *fields)) continue;
        note("there is no \"%s\"", *fields);
        count++;
    }
    return count;
}

static void test_documents(struct myco *node)
{
    static const struct {
        const char *topic, *fields[13];
    } topics[] = {{"members", {"name", "id", "addr", "state", "generation", "role", "self"}},
        {"leaders", {"subsystem", "leader", "epoch", "held_here"}},
        {"septa", {"name", "id", "kind", "hyphae", "replicas", "ttl_ms", "level"}},
        {"hyphae", {"septum", "hypha", "primary", "epoch", "in_sync", "joining"}},
        {"policies", {"kind", "name", "version", "author", "time_ms", "source"}},
        {"metrics", {"name", "kind", "help", "value"}}};
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        struct kit_document document;
        const msgpack_object *array = kit_inspect(node, topics[i].topic, &document);
        unsigned missing = array && array->type == MSGPACK_OBJECT_ARRAY ? 0 : 1;
        for (uint32_t item = 0; !missing && item < array->via.array.size; item++)
            missing += lacking(&array->via.array.ptr[item], topics[i].fields);
        is_int(missing, 0, "%s: an array of maps with all their fields", topics[i].topic);
        kit_document_free(&document);
    }
    static const char *const status[] = {"name", "cluster", "id", "generation", "ready", "leader",
        "term", "commit_index", "uptime_ms", "version", NULL};
    struct kit_document document;
    is_int(lacking(kit_inspect(node, "status", &document), status), 0, "status: a map");
    kit_document_free(&document);
    struct myco_value value;
    is_int(myco_inspect(node, "weather", &value, &err), MYCO_ENOTFOUND, "%s", err.message);
    is_int(myco_inspect(node, "", &value, &err), MYCO_ENOTFOUND, "%s", err.message);
}

static void test_members(void)
{
    unsigned alive = 0, self = 0;
    struct kit_document document;
    const msgpack_object *members = kit_inspect(nodes[1], "members", &document);
    for (uint32_t i = 0; i < members->via.array.size; i++) {
        const msgpack_object *member = &members->via.array.ptr[i];
        alive += kit_field_is(member, "state", "alive");
        self += kit_field(member, "self")->via.boolean && kit_field_is(member, "name", "bert") &&
                kit_field_is(member, "addr", myco_listen(nodes[1]));
    }
    ok(members->via.array.size == 3 && alive == 3 && self == 1, "three are alive, one is itself");
    kit_document_free(&document);
    struct myco_septum *septum = kit_septum(nodes[0], "carts", "kind=durable hyphae=8 replicas=1");
    uint64_t keys = 0;
    for (int i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        if (myco_put(septum, myco_str(key), myco_str("v"), NULL, NULL, &err)) bail_out("put");
    }
    for (int n = 0; n < KIT_NODES; n++) {
        const msgpack_object *hyphae = kit_inspect(nodes[n], "hyphae", &document);
        for (uint32_t i = 0; i < hyphae->via.array.size; i++) {
            const msgpack_object *hypha = &hyphae->via.array.ptr[i];
            if (kit_field_is(hypha, "primary", kit_names[n])) keys += kit_number(hypha, "keys");
        }
        kit_document_free(&document);
    }
    is_int((int)keys, 40, "the primaries' hyphae hold all keys");
}

/* ── policies ── */

#define PLAN(every) "return { every_ms = " #every ", snapshot_segments = 4, retain_ms = 1000 }"
#define POLICY(body)                                                                               \
    "return { kind = 'persistence', doc = 'test', plan = function(septum) " body " end,\n"         \
    "examples = { { given = { septum = 's', kind = 'durable', level = 'disk', hyphae = 8 }, "      \
    "expect = function(plan) return plan.every_ms > 0 end } } }"

static int apply(int n, const char *kind, const char *name, const char *source, uint64_t *version)
{
    struct kit_result got = {0};
    int rc = myco_policy_apply_async(
        nodes[n], kind, name, myco_str(source), "tester", 0, kit_done, &got);
    if (rc) return rc;
    rc = kit_result_wait(&got);
    if (version) *version = got.version;
    if (rc) note("%s", got.message);
    return rc == 0 || *got.message ? rc : MYCO_EPROTO; /* a reason has to be given */
}

struct wanted {
    struct myco *node;
    const char *name;
    uint64_t version;
};

/* The current policy of the kind is this one, there. */
static bool is_current(void *data)
{
    const struct wanted *wanted = data;
    struct kit_document document;
    const msgpack_object *policies = kit_inspect(wanted->node, "policies", &document);
    bool found = false;
    for (uint32_t i = 0; i < policies->via.array.size; i++) {
        const msgpack_object *policy = &policies->via.array.ptr[i];
        const msgpack_object *current = kit_field(policy, "current");
        if (kit_field_is(policy, "kind", "persistence") && current->via.boolean)
            found = kit_field_is(policy, "name", wanted->name) &&
                    kit_number(policy, "version") == wanted->version;
    }
    kit_document_free(&document);
    return found;
}

static bool current_everywhere(const char *name, uint64_t version)
{
    for (int n = 0; n < KIT_NODES; n++) {
        struct wanted wanted = {nodes[n], name, version};
        if (!kit_poll(is_current, &wanted, KIT_WAIT_MS)) return false;
    }
    return true;
}

static void test_policies(void)
{
    uint64_t first = 0, second = 0;
    is_int(apply(0, "persistence", "often", POLICY(PLAN(700)), &first), 0, "a policy is applied");
    ok(current_everywhere("often", first), "on every node, version %llu",
        (unsigned long long)first);
    static const char *const bad[] = {"this is no Lua", "return 7", "return {}",
        POLICY("error('no idea')"), POLICY("return 'soon'"), POLICY("return { every_ms = 'x' }"),
        POLICY("while true do end"), POLICY("return io.open('/etc/passwd')"),
        POLICY("local t = {} while true do t[#t + 1] = ('x'):rep(1000000) end"),
        "return { kind = 'election', doc = 'test', elect = function() return '' end }",
        "return { kind = 'persistence', plan = function(septum) " PLAN(
            700) " end, examples = { { given = { septum = 's', kind = 'durable', level = 'disk', "
                 "hyphae = 8 }, expect = { every_ms = 5 } } } }"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        is_int(
            apply(1, "persistence", "bad", bad[i], NULL), MYCO_EPOLICY, "refused: %.60s", bad[i]);
    ok(current_everywhere("often", first), "the last good one stays");
    is_int(apply(0, "weather", "x", POLICY(PLAN(700)), NULL), MYCO_ENOTFOUND, "no such kind");
    is_int(apply(2, "persistence", "seldom", POLICY(PLAN(9000)), &second), 0, "another one");
    ok(second > first && current_everywhere("seldom", second), "takes its place everywhere");
    struct kit_result got = {0};
    myco_policy_rollback_async(nodes[1], "persistence", "tester", 0, kit_done, &got);
    is_int(kit_result_wait(&got), 0, "rolled back: %s", got.message);
    ok(current_everywhere("often", first) || current_everywhere("often", got.version),
        "the one before is back");
    char *big = malloc(70000);
    memset(big, '-', 69999);
    big[69999] = 0;
    is_int(apply(0, "persistence", "big", big, NULL), MYCO_ETOOBIG, "more than 64 KiB");
    free(big);
}

/* ── functions of the host ── */

static int add(struct myco_slice arguments, struct myco_reply *reply, void *data)
{
    const uint8_t *bytes = arguments.data;
    if (arguments.size != 3 || bytes[0] != 0x92) return MYCO_EINVAL; /* [a, b] of small numbers */
    uint8_t sum = (uint8_t)(bytes[1] + bytes[2]);
    ++*(unsigned *)data;
    myco_reply_set(reply, myco_str("a longer one, which does not count"));
    return myco_reply_set(reply, myco_bytes(&sum, 1));
}

static int quiet(struct myco_slice arguments, struct myco_reply *reply, void *data)
{
    (void)arguments, (void)reply, (void)data;
    return 0;
}

struct calls {
    unsigned added;
    int sum, wrong, unknown;
    size_t nil_size;
    uint8_t nil;
    char names[64];
    bool done;
};

static void name_it(const char *name, void *data)
{
    strcat(strcat(data, name), " ");
}

static void on_loop(const struct myco_msg *msg, void *data)
{
    struct calls *calls = data;
    struct myco_value value;
    (void)msg;
    kit_lock();
    calls->sum = -1;
    if (myco_call(nodes[0], "add", myco_bytes("\x92\x03\x04", 3), &value, NULL) == 0) {
        calls->sum = value.size == 1 ? *(const uint8_t *)value.data : -2;
        myco_value_release(&value);
    }
    calls->wrong = myco_call(nodes[0], "add", myco_bytes("\x90", 1), &value, NULL);
    calls->unknown = myco_call(nodes[0], "subtract", myco_bytes("\x90", 1), &value, NULL);
    if (myco_call(nodes[0], "quiet", myco_bytes("\x90", 1), &value, NULL) == 0) {
        calls->nil_size = value.size;
        calls->nil = *(const uint8_t *)value.data;
        myco_value_release(&value);
    }
    myco_functions(nodes[0], name_it, calls->names);
    calls->done = true;
    kit_unlock();
}

static bool calls_done(void *data)
{
    return ((struct calls *)data)->done;
}

static void test_functions(void)
{
    static struct calls calls;
    struct myco_sub *sub;
    struct myco_value value;
    ok(!myco_expose(nodes[0], "quiet", quiet, NULL) && !myco_expose(nodes[0], "add", quiet, NULL) &&
            !myco_expose(nodes[0], "add", add, &calls.added),
        "functions are exposed, one anew");
    is_int(myco_expose(nodes[0], "", quiet, NULL), MYCO_EINVAL, "one without a name is not");
    is_int(myco_call(nodes[0], "add", myco_bytes("\x90", 1), &value, &err), MYCO_EINVAL, "%s",
        err.message);
    if (myco_subscribe(nodes[0], "call", NULL, on_loop, &calls, &sub, &err) ||
        myco_publish(nodes[0], "call", myco_str(""), NULL, &err))
        bail_out("subscribe: %s", err.message);
    ok(kit_wait(calls_done, &calls, KIT_WAIT_MS), "called on the loop's thread");
    ok(calls.sum == 7 && calls.added == 1, "the newest answers, with what it set last");
    is_int(calls.wrong, MYCO_EINVAL, "its errors come through");
    is_int(calls.unknown, MYCO_ENOTFOUND, "what is not exposed is not found");
    ok(calls.nil_size == 1 && calls.nil == 0xc0, "no reply is nil");
    is_str(calls.names, "add quiet ", "newest first");
    myco_unsubscribe(sub, NULL, NULL);
}

int main(void)
{
    kit_cluster(nodes);
    test_functions();
    test_members();
    test_policies();
    test_documents(nodes[2]);
    for (int i = 0; i < KIT_NODES; i++) myco_close(nodes[i]);
    return plan_done();
}
