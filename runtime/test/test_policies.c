/* Would catch: a policy that reaches the world, keeps state, hangs, eats memory or answers nonsense
 * and is taken all the same; a refusal that does not say why; a refused policy that replaces the
 * good one; answers that differ from run to run. */
#include <lauxlib.h>
#include <lualib.h>
#include <time.h>

#include "base/buf.h"
#include "bridge/msgpack.h"
#include "bridge/policies.h"
#include "bridge/sandbox.h"
#include "tap.h"

static struct myco_policies *policies;
static struct myco_policy_port port;
static lua_State *scratch; /* turns Lua text into documents and back */

static void document(struct myco_buf *out, const char *lua)
{
    const char *why = "";
    myco_buf_clear(out);
    lua_pushfstring(scratch, "return %s", lua);
    if (luaL_dostring(scratch, lua_tostring(scratch, -1)) ||
        !myco__msgpack_pack(scratch, -1, out, &why))
        bail_out("document %s: %s %s", lua, lua_tostring(scratch, -1), why);
    lua_settop(scratch, 0);
}

/* One line of Lua, keys in order. */
static const char *text(struct myco_slice bytes)
{
    static const char writer[] =
        "local function write(v) if type(v) ~= 'table' then return type(v) == 'string' and v or "
        "tostring(v) end\n"
        "local keys, out = {}, {} for k in pairs(v) do keys[#keys + 1] = k end\n"
        "table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)\n"
        "if #v == #keys then for i, x in ipairs(v) do out[i] = write(x) end\n"
        "else for i, k in ipairs(keys) do out[i] = k .. '=' .. write(v[k]) end end\n"
        "return '{' .. table.concat(out, ',') .. '}' end return write(...)";
    static char line[4096];
    const char *why;
    if (luaL_loadstring(scratch, writer) || myco__msgpack_push(scratch, bytes, &why) == 0 ||
        lua_pcall(scratch, 1, 1, 0))
        bail_out("writer: %s", lua_tostring(scratch, -1));
    snprintf(line, sizeof line, "%s", lua_tostring(scratch, -1));
    lua_settop(scratch, 0);
    return line;
}

static const char *ask(int kind, const char *world)
{
    static char line[4096];
    struct myco_buf in = {0}, out = {0};
    struct myco_err err = {0};
    document(&in, world);
    int status = port.ask(kind, myco_buf_as_slice(&in), &out, &err, port.data);
    snprintf(line, sizeof line, "%s", status ? err.message : text(myco_buf_as_slice(&out)));
    myco_buf_free(&in);
    myco_buf_free(&out);
    return line;
}

static int check(int kind, const char *source, struct myco_err *err)
{
    memset(err, 0, sizeof *err);
    return port.check(kind, "mine", myco_str(source), err, port.data);
}

static void refused(int kind, const char *source, const char *reason)
{
    struct myco_err err;
    int status = check(kind, source, &err);
    ok(status == MYCO_EPOLICY && strstr(err.message, reason), "refused: %s", reason);
    if (status != MYCO_EPOLICY || !strstr(err.message, reason)) note("%d %s", status, err.message);
}

#define PLAN "return {every_ms = 1000, snapshot_segments = 4, retain_ms = 0}"

/* A persistence policy whose function has this body. */
static const char *plan(const char *body)
{
    static char source[8192];
    snprintf(source, sizeof source,
        "return {kind = 'persistence', doc = 'd', plan = function(world, options) %s end,\n"
        "examples = {{given = {septum = 's', hyphae = 4}, expect = function() end}}}",
        body);
    return source;
}

static void refused_body(const char *body, const char *reason)
{
    refused(MYCO_POLICY_PERSISTENCE, plan(body), reason);
}

static void accepted_body(const char *body, const char *what)
{
    struct myco_err err;
    int status = check(MYCO_POLICY_PERSISTENCE, plan(body), &err);
    ok(status == 0, "accepted: %s", what);
    if (status) note("%s", err.message);
}

/* ── What must be refused, and why ── */

static void test_contract(void)
{
    int kind = MYCO_POLICY_PERSISTENCE;
    refused(kind, "return 7", "returns a number, not a policy");
    refused(kind, "return {", "unexpected symbol");
    refused(kind, "\x1bLua", "attempt to load a binary chunk");
    refused(kind, "return {}", "does not say its kind");
    refused(kind, "return {kind = 'placement'}", "is of kind 'placement', not 'persistence'");
    refused(
        MYCO_POLICY_QUEUE, "return {kind = 'queue'}", "nothing asks a policy of kind 'queue' yet");
    refused(kind, "return {kind = 'persistence'}", "it has no doc");
    refused(kind, "return {kind = 'persistence', doc = ''}", "it has no doc");
    refused(kind, "return {kind = 'persistence', doc = 'd'}", "has no function 'plan'");
    refused(
        kind, "return {kind = 'persistence', doc = 'd', plan = function() end}", "has no examples");
    refused(kind, "return {kind = 'persistence', doc = 'd', plan = function() end, examples = {}}",
        "has no examples");
    refused(kind,
        "return {kind = 'persistence', doc = 'd', plan = function() return {cron = '61 * * * *', "
        "snapshot_segments = 1, retain_ms = 1} end, examples = {{given = {}, expect = {}}}}",
        "the field minute is \"61\"");
    refused(kind,
        "return {kind = 'persistence', doc = 'd', plan = function() return {snapshot_segments = 1, "
        "retain_ms = 1} end, examples = {{given = {}, expect = {}}}}",
        "every_ms is a nil");
    refused(
        kind, "return {kind = 'persistence', doc = 'd', exmples = {}}", "unknown field 'exmples'");
    refused(kind,
        "return {kind = 'persistence', doc = 'd', options = {n = {type = 'integer', default = 'x', "
        "doc = 'd'}}}",
        "option 'n': its default is not of type 'integer'");
    refused(kind,
        "return {kind = 'persistence', doc = 'd', options = {n = {type = 'string', default = "
        "'x'}}}",
        "option 'n' has no doc");
    refused(kind,
        "return {kind = 'persistence', doc = 'd', plan = function() " PLAN
        " end, examples = {{given = {}, expect = {every_ms = 2}}}}",
        "example 1: the answer is not what it expects");
    refused(kind,
        "return {kind = 'persistence', doc = 'd', plan = function() " PLAN
        " end, examples = {{given = {}, expect = function(a) assert(a.every_ms == 2, 'too often') "
        "end}}}",
        "too often");
    refused(kind,
        "return {kind = 'persistence', doc = 'd', plan = function() " PLAN
        " end, examples = {{given = {}, expect = function(a) return a.every_ms == 2 end}}}",
        "not what it expects");
    accepted_body(PLAN, "the same, put right");
}

static void test_answers(void)
{
    refused_body("return nil", "the answer is a nil, not a table");
    refused_body("return {every_ms = 1, snapshot_segments = 4, retain_ms = 0}",
        "every_ms is 1, outside of 100 to 86400000");
    refused_body("return {every_ms = 1000.5, snapshot_segments = 4, retain_ms = 0}",
        "every_ms is a number, not an integer");
    refused_body("return {every_ms = 1000, retain_ms = 0}", "snapshot_segments is a nil");
    refused_body(
        "return {every_ms = 1000, snapshot_segments = 4, retain_ms = 0, x = print or type}",
        "it holds a function");
    refused_body(
        "local t = {every_ms = 1000, snapshot_segments = 4, retain_ms = 0} t.t = t return t",
        "holds itself");
}

static void refused_placement(const char *answer, const char *reason)
{
    char source[1024];
    snprintf(source, sizeof source,
        "return {kind = 'placement', doc = 'd', place = function() return %s end, examples = "
        "{{given = {septum = 's', hyphae = 2, "
        "copies = 2, members = {{id = 'a'}, {id = 'b'}}}, expect = function() end}}}",
        answer);
    refused(MYCO_POLICY_PLACEMENT, source, reason);
}

static void test_placement_answers(void)
{
    refused_placement("7", "the answer is a number, not a list");
    refused_placement("{{'a'}}", "answered for 1 hyphae of 2");
    refused_placement("{{'a'}, {}}", "hypha 2 is left without a holder");
    refused_placement("{{'a'}, {'z'}}", "hypha 2 names 'z', which is none");
    refused_placement("{{'a', 'a'}, {'a'}}", "hypha 1 names 'a' twice");
    refused_placement("{{'a', 'b', 'a'}, {'a'}}", "hypha 1 has 3 holders where 2 are wanted");
    refused_placement("{{'a', 7}, {'a'}}", "hypha 1 holds a number, not an id");
    refused_placement("{{'a'}, {'a', x = 'b'}}", "hypha 2 is not a list");
}

static void refused_voters(const char *answer, const char *reason)
{
    char source[1024];
    snprintf(source, sizeof source,
        "return {kind = 'voters', doc = 'd', choose = function() return %s end, examples = {{given "
        "= {voters_max = 1, "
        "standbys_max = 1, members = {{id = 'a'}, {id = 'b'}}, current = {}}, expect = function() "
        "end}}}",
        answer);
    refused(MYCO_POLICY_VOTERS, source, reason);
}

static void test_other_answers(void)
{
    refused_voters("{voters = {}, standbys = {}}", "voters is empty");
    refused_voters(
        "{voters = {'a', 'b'}, standbys = {}}", "voters has 2 ids where at most 1 are allowed");
    refused_voters("{voters = {'a'}, standbys = {'a'}}", "standbys names 'a' twice");
    refused_voters("{voters = {'x'}, standbys = {}}", "voters names 'x'");
    refused(MYCO_POLICY_ELECTION,
        "return {kind = 'election', doc = 'd', elect = function() return 'z' end, examples = "
        "{{given = "
        "{name = 'n', candidates = {{id = 'a'}}}, expect = function() end}}}",
        "the answer names 'z', which is no candidate");
}

/* ── What must not be reached ── */

static void test_escapes(void)
{
    static const char *const absent[] = {"io", "os", "debug", "load", "loadstring", "dofile",
        "loadfile", "require", "package", "collectgarbage", "coroutine", "pcall", "xpcall",
        "setmetatable", "getmetatable", "rawset", "rawget", "print", "_G", "utf8", "math.random",
        "math.randomseed", "string.dump", "string.pack", "string.unpack", "table.move",
        "(''):rep(0).dump", "_ENV._G", "mycorrizal"};
    char body[256];
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        snprintf(body, sizeof body, "assert(%s == nil, 'reached') " PLAN, absent[i]);
        accepted_body(body, absent[i]);
    }
    refused_body("return string.format('%p', {})", "is not available to policies");
    refused_body("return string.format('a\\0%10p', {})", "is not available to policies");
    refused_body(
        "error(tostring({}) .. tostring(error) .. string.format('%s', {}))", "tablefunctiontable");
    refused_body("error({})", "raised something that is not a message");
    refused_body("for k in pairs({[{}] = 1}) do end " PLAN, "such keys have no order");
    refused_body("for k in next, {[error] = 1} do end " PLAN, "such keys have no order");
}

static void test_no_memory_of_the_past(void)
{
    refused(MYCO_POLICY_PERSISTENCE,
        "local n = 1000 return {kind = 'persistence', doc = 'd', plan = function() n = n + 1 "
        "return "
        "{every_ms = n, snapshot_segments = 4, retain_ms = 0} end, examples = {{given = {}, expect "
        "= function() end}}}",
        "asked twice, it answers differently");
    accepted_body("string.find = nil " PLAN, "one that spoils a library function");
    accepted_body("assert(string.find) " PLAN, "the next does not notice");
}

static void test_order(void)
{
    accepted_body("local t, s = {}, '' for i = 40, 1, -1 do t['k' .. i] = i t[i * 3] = i end "
                  "t[0.5] = 1 t[true] = 1 t[false] = 1\n"
                  "local last, seen = nil, 0 for k in pairs(t) do local r = type(k) == 'number' "
                  "and 1 or type(k) == 'string' and 2 or 3\n"
                  "assert(not last or last[1] < r or last[1] == r and (r == 3 or last[2] < k), "
                  "'order') last, seen = {r, k}, seen + 1 end\n"
                  "assert(seen == 83, seen) " PLAN,
        "pairs goes by numbers, strings, booleans");
    accepted_body("local t = {b = 1, a = 2, [2] = 3} local k1 = next(t) local k2 = next(t, k1) "
                  "local k3 = next(t, k2)\n"
                  "assert(k1 == 2 and k2 == 'a' and k3 == 'b' and next(t, k3) == nil and next({}) "
                  "== nil) " PLAN,
        "next goes the same way");
    accepted_body("local t = {a = 1, b = 2, c = 3} local n = 0 for k in pairs(t) do t.b = nil n = "
                  "n + 1 end assert(n == 2) " PLAN,
        "a key removed on the way is passed over");
    accepted_body("local t = {} for i = 1, 99 do t[i] = {k = i % 3, i = i} end\n"
                  "table.sort(t, function(a, b) return a.k < b.k end)\n"
                  "for i = 2, 99 do assert(t[i-1].k < t[i].k or t[i-1].k == t[i].k and t[i-1].i < "
                  "t[i].i) end " PLAN,
        "sort is stable");
    accepted_body("local t = {5, 3, 9, 1} table.sort(t) assert(table.concat(t, ' ') == '1 3 5 9') "
                  "table.sort(t, function() return true end) " PLAN,
        "sort bears a comparison that contradicts itself");
    refused_body("table.sort({1, 'a'})", "attempt to compare");
    accepted_body(
        "assert(hash('a') == hash('a') and hash('a') ~= hash('b') and hash('a', 1) ~= hash('a', "
        "2)) "
        "assert(hash('mycorrizal') == " /* xxh3, seed 0: for ever */ "-513787271064816192"
        ") " PLAN,
        "hash");
}

/* ── What must be cut ── */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void cut(const char *body, const char *reason)
{
    double start = seconds();
    refused_body(body, reason);
    double taken = seconds() - start;
    ok(taken < 2.0, "within %.3f s", taken);
}

static void test_runaways(void)
{
    cut("while true do end", "exceeded its budget of 2000000 instructions");
    cut("local function f() return f() end return f()", "exceeded its budget");
    cut("local function f() f() end f()", "used more than 16 MiB of memory");
    cut("local t = {} for i = 1, 1e9 do t[i] = i end", "used more than 16 MiB of memory");
    cut("local t = {} for i = 1, 1e9 do t[i % 100000] = {i} end", "exceeded its budget");
    cut("local s = 'x' while true do s = s .. s end", "made a string longer than 16 KiB");
    cut("local s = ('x'):rep(16000) while true do local t = s .. 'y' end",
        "allocated more than 64 MiB");
    cut("return ('x'):rep(1e9)", "the result is longer than 16 KiB");
    cut("return ('x'):rep(1 << 62, 'yy')", "the result is longer than 16 KiB");
    cut("return (('a'):rep(40)):find(('a-'):rep(20) .. 'b')", "exceeded its budget");
    cut("return (('a'):rep(4000)):match('.-.-.-b')", "exceeded its budget");
    cut("for _ in (('a'):rep(4000)):gmatch('.-.-b') do end", "exceeded its budget");
    cut("local a, b = ('a'):rep(16000), ('a'):rep(15999) .. 'b' while true do local _ = a == b end",
        "exceeded its budget");
    cut("local a = ('a'):rep(8000) while true do a:find(a .. 'b', 1, true) end",
        "exceeded its budget");
    cut("local t = {} for i = 1, 50000 do t[i] = i end while true do table.insert(t, 1, 0) end",
        "exceeded its budget");
    cut("local t = {} for i = 1, 50000 do t[i] = i end while true do next(t) end",
        "exceeded its budget");
    cut("local t = {} for i = 1, 50000 do t[i] = i end while true do table.sort(t) end",
        "exceeded its budget");
    cut("table.concat({}, '', 1, 1 << 40)", "exceeded its budget");
    cut("table.unpack({}, 1, 1e8)", "at most 256 at once");
    cut("return (('x'):rep(1000)):byte(1, -1)", "at most 256 at once");
    cut("local t <close> = nil local n = 0 for i = 1, 1e9 do n = n + #('x' .. i) end",
        "exceeded its budget");
    refused(MYCO_POLICY_PERSISTENCE, "while true do end", "exceeded its budget");
}

static void test_long_source(void)
{
    struct myco_buf source = {0};
    for (int i = 0; i < 7000; i++) myco_buf_printf(&source, "-- %05d\n", i);
    struct myco_err err = {0};
    size_t head = source.size;
    myco_buf_printf(&source, "%s", plan(PLAN));
    is_int(port.check(MYCO_POLICY_PERSISTENCE, "long", myco_buf_as_slice(&source), &err, port.data),
        0, "57 KiB are fine");
    for (int i = 0; i < 2000; i++) myco_buf_printf(&source, "-- %05d\n", i);
    is_int(port.check(MYCO_POLICY_PERSISTENCE, "long", myco_buf_as_slice(&source), &err, port.data),
        MYCO_EPOLICY, "65 KiB are not");
    ok(head > 0 && strstr(err.message, "longer than 64 KiB"), "%s", err.message);
    myco_buf_free(&source);
}

/* ── The defaults, and what is in force ── */

#define MEMBERS3                                                                                   \
    "{{id='a',name='1',labels={},weight=1},{id='b',name='2',labels={},weight=1},{id='c',name='3'," \
    "labels={},weight=1}}"
#define WORLD3 "{septum='carts',hyphae=8,copies=2,current={},members=" MEMBERS3 "}"

static void test_defaults(void)
{
    char first[4096];
    snprintf(first, sizeof first, "%s", ask(MYCO_POLICY_PLACEMENT, WORLD3));
    bool same = true;
    for (int i = 0; i < 20; i++)
        same = same && strcmp(first, ask(MYCO_POLICY_PLACEMENT, WORLD3)) == 0;
    ok(same && first[0] == '{', "placement is the same each time: %s", first);
    is_str(ask(MYCO_POLICY_PLACEMENT, "{septum='s',hyphae=2,copies=2,current={},members={}}"),
        "{{},{}}", "nobody, nothing");
    is_str(ask(MYCO_POLICY_ELECTION, "{name='x',leaderships={},candidates={{id='a',labels={},leads="
                                     "3},{id='b',labels={},leads=1}}}"),
        "b", "the one that leads least");
    is_str(ask(MYCO_POLICY_VOTERS, "{voters_max=5,standbys_max=2,current={},members=" MEMBERS3 "}"),
        "{dead_voter_ms=5000,standbys={},voters={a,b,c}}", "three vote");
    is_str(ask(MYCO_POLICY_PERSISTENCE, "{septum='s',kind='durable',level='disk',hyphae=64}"),
        "{every_ms=5000,retain_ms=600000,snapshot_segments=16}", "every five seconds");
    is_str(ask(MYCO_POLICY_QUEUE, "{}"), "there is no policy of kind 'queue'",
        "none is said to be none");
    ok(strstr(ask(MYCO_POLICY_ELECTION, "7"), "the world is no map"), "a world that is none");
}

/* Few moves: with a fourth member, only what the fourth holds is new. */
static void test_moves(void)
{
    struct myco_buf three = {0}, four = {0}, out[2] = {{0}, {0}};
    struct myco_err err;
    document(&three, "{septum='carts',hyphae=64,copies=1,current={},members={{id='a',labels={}},{"
                     "id='b',labels={}},{id='c',labels={}}}}");
    document(&four, "{septum='carts',hyphae=64,copies=1,current={},members={{id='a',labels={}},{id="
                    "'b',labels={}},{id='c',labels={}},"
                    "{id='d',labels={}}}}");
    is_int(port.ask(MYCO_POLICY_PLACEMENT, myco_buf_as_slice(&three), &out[0], &err, port.data), 0,
        "three");
    is_int(port.ask(MYCO_POLICY_PLACEMENT, myco_buf_as_slice(&four), &out[1], &err, port.data), 0,
        "four");
    int moved = 0, elsewhere = 0;
    char was[4096];
    snprintf(was, sizeof was, "%s", text(myco_buf_as_slice(&out[0])));
    const char *is = text(myco_buf_as_slice(&out[1]));
    for (size_t i = 0; was[i] && is[i]; i++) {
        moved += was[i] != is[i];
        elsewhere += was[i] != is[i] && is[i] != 'd';
    }
    ok(moved > 4 && moved < 32, "%d of 64 moved", moved);
    is_int(elsewhere, 0, "and all of them to the new one");
    for (int i = 0; i < 2; i++) myco_buf_free(&out[i]);
    myco_buf_free(&three);
    myco_buf_free(&four);
}

static void test_set_keeps_the_good_one(void)
{
    struct myco_err err = {0};
    const char *world = "{septum='s',kind='durable',level='disk',hyphae=64}";
    is_int(port.set(MYCO_POLICY_PERSISTENCE, "bad", myco_str(plan("return 7")), &err, port.data),
        MYCO_EPOLICY, "%s", err.message);
    ok(strncmp(err.message, "policy persistence/bad: ", 24) == 0, "the sentence names it");
    ok(strstr(ask(MYCO_POLICY_PERSISTENCE, world), "every_ms=5000"), "the last good one stays");
    is_int(port.set(MYCO_POLICY_PERSISTENCE, "good", myco_str(plan(PLAN)), &err, port.data), 0,
        "a good one is taken");
    ok(strstr(ask(MYCO_POLICY_PERSISTENCE, world), "every_ms=1000"), "and asked");
    is_int(port.set(MYCO_POLICY_PERSISTENCE, "", myco_str(""), &err, port.data), 0,
        "no source: back to the default");
    ok(strstr(ask(MYCO_POLICY_PERSISTENCE, world), "every_ms=5000"), "which is asked again");
    is_int(port.set(MYCO_POLICY_PERSISTENCE, "good", myco_str(plan(PLAN)), &err, port.data), 0,
        "and replaced");
    is_int(port.set(99, "x", myco_str(""), &err, port.data), MYCO_EINVAL, "%s", err.message);

    struct myco_buf out = {0};
    is_int(myco_policies_describe(policies, MYCO_POLICY_PERSISTENCE, &out), 0, "describe");
    ok(strstr(text(myco_buf_as_slice(&out)), "doc=d,kind=persistence,name=good,source=return {"),
        "says name, doc and source");
    is_int(myco_policies_describe(policies, MYCO_POLICY_QUEUE, &out), MYCO_ENOTFOUND,
        "there is none to describe");
    myco_buf_free(&out);

    is_int(port.set(MYCO_POLICY_PERSISTENCE, "late",
               myco_str(plan("if world.hyphae == 64 then error('not these') end " PLAN)), &err,
               port.data),
        0, "one that fails later");
    ok(strstr(ask(MYCO_POLICY_PERSISTENCE, world), "not these"), "its error is the answer's");
    ok(strstr(ask(MYCO_POLICY_PERSISTENCE, "{septum='s',hyphae=4}"), "every_ms=1000"),
        "and it works on");
}

static void test_file_is_accepted(const char *kind_folder, int kind, const char *name)
{
    char path[512], source[16384];
    snprintf(path, sizeof path, "%s/mycorrizal/policy/%s/%s.lua", MYCO_LUA_DIR, kind_folder, name);
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(source, 1, sizeof source, file) : 0;
    struct myco_err err = {0};
    int status = port.check(kind, name, myco_bytes(source, size), &err, port.data);
    ok(file && status == 0, "%s/%s %s", kind_folder, name, err.message);
    if (file) fclose(file);
}

static void test_large_cluster(void)
{
    struct myco_buf world = {0}, out = {0};
    struct myco_err err = {0};
    document(&world, "(function() local m = {} for i = 1, 64 do m[i] = {id = "
                     "string.format('%016x', i * 7919), name = 'n' .. i, "
                     "labels = {zone = tostring(i % 3)}, weight = 1.0} end return {septum = 's', "
                     "hyphae = 256, copies = 3, members = m, "
                     "current = {}} end)()");
    double start = seconds();
    int status = port.ask(MYCO_POLICY_PLACEMENT, myco_buf_as_slice(&world), &out, &err, port.data);
    ok(status == 0, "64 members, 256 hyphae, 3 copies fit the budget: %.1f ms %s",
        (seconds() - start) * 1e3, err.message);
    myco_buf_free(&world);
    myco_buf_free(&out);
}

int main(void)
{
    struct myco_err err = {0};
    scratch = luaL_newstate();
    luaL_openlibs(scratch);
    myco__open_msgpack(scratch);
    lua_settop(scratch, 0);
    is_int(myco_policies_new("/nowhere", NULL, &policies, &err), MYCO_ENOTFOUND, "%s", err.message);
    if (myco_policies_new(MYCO_LUA_DIR "/mycorrizal/policy", NULL, &policies, &err))
        bail_out("%s", err.message);
    port = myco_policies_port(policies);
    test_contract();
    test_answers();
    test_placement_answers();
    test_other_answers();
    test_escapes();
    test_no_memory_of_the_past();
    test_order();
    test_runaways();
    test_long_source();
    test_defaults();
    test_moves();
    test_set_keeps_the_good_one();
    test_file_is_accepted("placement", MYCO_POLICY_PLACEMENT, "zone-aware");
    test_file_is_accepted("persistence", MYCO_POLICY_PERSISTENCE, "every-second");
    test_large_cluster();
    myco_policies_free(policies);
    lua_close(scratch);
    return plan_done();
}
