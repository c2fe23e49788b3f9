/* The current policy of each kind, and how it is set, checked and asked. */
#include "bridge/policies.h"

#include <lauxlib.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "bridge/contract.h"
#include "bridge/msgpack.h"
#include "bridge/policy_source.h"
#include "bridge/sandbox.h"

#define NAME_SIZE 64

/* The defaults lie in FOLDER/KIND/NAME.lua. */
static const struct {
    int kind;
    const char *name;
} defaults[] = {
    {MYCO_POLICY_PLACEMENT, "rendezvous"},
    {MYCO_POLICY_ELECTION, "spread"},
    {MYCO_POLICY_VOTERS, "odd"},
    {MYCO_POLICY_PERSISTENCE, "steady"},
    {MYCO_POLICY_TOPOLOGY, "mesh"},
};

struct policy {
    char name[NAME_SIZE]; /* "" : there is none */
    struct myco_buf source;
};

struct myco_policies {
    struct myco_log *log;
    struct policy current[MYCO_POLICY_KIND_COUNT];
    struct policy
        initial[MYCO_POLICY_KIND_COUNT]; /* the defaults, for when all others were rolled back */
};

/* One use of a sandbox: what goes in, and where the answer goes. */
struct use {
    int kind;
    const char *name;
    struct myco_slice source, world;
    struct myco_buf *out;
    struct myco_buf scratch;
};

static int run(lua_CFunction work, struct use *use, struct myco_err *err)
{
    struct myco__sandbox sandbox;
    int status = myco__sandbox_open(&sandbox, err);
    if (status == 0) status = myco__sandbox_run(&sandbox, work, use, MYCO_EPOLICY, err);
    myco__sandbox_close(&sandbox);
    myco_buf_free(&use->scratch);
    if (status && use->kind >= 0)
        myco_err_wrap(err, "policy %s/%s", myco_policy_kind_name(use->kind), use->name);
    else if (status)
        myco_err_wrap(err, "policy %s", use->name);
    return status;
}

static int work_check(lua_State *L)
{
    struct use *use = lua_touserdata(L, 1);
    myco__open_msgpack(L);
    myco__sandbox_load(L, use->name, use->source);
    myco__contract_check(L, use->kind);
    myco__contract_run_examples(L, use->kind, &use->scratch);
    return 0;
}

static int work_ask(lua_State *L)
{
    struct use *use = lua_touserdata(L, 1);
    const char *why;
    myco__open_msgpack(L);
    myco__sandbox_load(L, use->name, use->source);
    int policy = lua_gettop(L);
    if (myco__msgpack_push(L, use->world, &why) == 0)
        return luaL_error(L, "the world can't be read: %s", why);
    if (!lua_istable(L, -1)) return luaL_error(L, "the world is no map");
    myco__contract_ask(L, use->kind, policy);
    if (!myco__msgpack_pack(L, -1, use->out, &why))
        return luaL_error(L, "the answer can't be written: %s", why);
    return 0;
}

static int check_kind(int kind, struct myco_err *err)
{
    if (kind >= 0 && kind < MYCO_POLICY_KIND_COUNT) return 0;
    return myco_err(err, MYCO_EINVAL, "there is no policy kind %d", kind);
}

/* ── Describing ── */

/* {kind, name, source, doc, options}: what the policy says of itself, without its functions. */
static int work_describe(lua_State *L)
{
    struct use *use = lua_touserdata(L, 1);
    const char *why;
    myco__open_msgpack(L);
    myco__sandbox_load(L, use->name, use->source);
    myco__sandbox_of(L)->strings_limited = false; /* its source */
    int policy = lua_gettop(L);
    if (!lua_istable(L, policy)) return luaL_error(L, "returns no policy");
    static const char *const fields[] = {"kind", "doc", "options"};
    lua_newtable(L);
    for (int i = 0; i < 3; i++) {
        lua_getfield(L, policy, fields[i]);
        lua_setfield(L, -2, fields[i]);
    }
    lua_pushstring(L, use->name);
    lua_setfield(L, -2, "name");
    lua_pushlstring(L, use->source.data, use->source.size);
    lua_setfield(L, -2, "source");
    if (!myco__msgpack_pack(L, -1, use->out, &why)) return luaL_error(L, "%s", why);
    return 0;
}

int myco_policies_describe(struct myco_policies *policies, int kind, struct myco_buf *out)
{
    if (check_kind(kind, NULL) || !policies->current[kind].name[0]) return MYCO_ENOTFOUND;
    struct policy *policy = &policies->current[kind];
    return myco__policy_describe(policy->name, myco_buf_as_slice(&policy->source), out, NULL);
}

const char *myco__policy_default(int kind)
{
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (defaults[i].kind == kind) return defaults[i].name;
    return NULL;
}

int myco__policy_describe(
    const char *name, struct myco_slice source, struct myco_buf *out, struct myco_err *err)
{
    struct use use = {.kind = -1, .name = name, .source = source, .out = out};
    return run(work_describe, &use, err);
}

int myco__policy_check(int kind, const char *name, struct myco_slice source, struct myco_err *err)
{
    struct use use = {.kind = kind, .name = name, .source = source};
    int status = check_kind(kind, err);
    return status ? status : run(work_check, &use, err);
}

int myco__policy_ask(int kind, const char *name, struct myco_slice source, struct myco_slice world,
    struct myco_buf *answer, struct myco_err *err)
{
    struct use use = {.kind = kind, .name = name, .source = source, .world = world, .out = answer};
    size_t before = answer->size;
    int status = check_kind(kind, err);
    if (status == 0) status = run(work_ask, &use, err);
    if (status) answer->size = before;
    return status;
}

/* ── The port ── */

static int policies_check(
    int kind, const char *name, struct myco_slice source, struct myco_err *err, void *data)
{
    (void)data;
    return myco__policy_check(kind, name, source, err);
}

static void put_in_force(
    struct myco_policies *policies, int kind, const char *name, struct myco_slice source)
{
    struct policy *policy = &policies->current[kind];
    myco_text_copy(policy->name, sizeof policy->name, name);
    myco_buf_clear(&policy->source);
    myco_buf_bytes(&policy->source, source.data, source.size);
    MYCO_INFO(policies->log, "policy", "policy is in force", "kind=%s name=%s",
        myco_policy_kind_name(kind), name);
}

/* An empty source: all versions were rolled back, the default is in force again. */
static int policies_set(
    int kind, const char *name, struct myco_slice source, struct myco_err *err, void *data)
{
    struct myco_policies *policies = data;
    if (source.size == 0 && check_kind(kind, NULL) == 0 && policies->initial[kind].name[0]) {
        struct policy *initial = &policies->initial[kind];
        put_in_force(policies, kind, initial->name, myco_buf_as_slice(&initial->source));
        return 0;
    }
    int status = myco__policy_check(kind, name, source, err);
    if (status == 0) put_in_force(policies, kind, name, source);
    return status;
}

static int policies_ask(
    int kind, struct myco_slice world, struct myco_buf *answer, struct myco_err *err, void *data)
{
    struct myco_policies *policies = data;
    int status = check_kind(kind, err);
    if (status) return status;
    struct policy *policy = &policies->current[kind];
    if (!policy->name[0])
        return myco_err(
            err, MYCO_EPOLICY, "there is no policy of kind '%s'", myco_policy_kind_name(kind));
    return myco__policy_ask(
        kind, policy->name, myco_buf_as_slice(&policy->source), world, answer, err);
}

struct myco_policy_port myco_policies_port(struct myco_policies *policies)
{
    struct myco_policy_port port = {policies_set, policies_check, policies_ask, policies};
    return port;
}

/* ── Start and end ── */

static int read_source(const char *path, struct myco_buf *source, struct myco_err *err)
{
    FILE *file = fopen(path, "rbe");
    if (!file) return myco_err(err, MYCO_ENOTFOUND, "default policy %s is missing", path);
    char chunk[4096];
    size_t size;
    while (
        (size = fread(chunk, 1, sizeof chunk, file)) > 0 && source->size <= MYCO_SANDBOX_SOURCE_MAX)
        myco_buf_bytes(source, chunk, size);
    int failed = ferror(file);
    fclose(file);
    return failed ? myco_err(err, MYCO_EIO, "default policy %s can't be read", path) : 0;
}

static int load_default(struct myco_policies *policies, const char *folder, int kind,
    const char *name, struct myco_err *err)
{
    struct myco_buf path = {0}, source = {0};
    myco_buf_printf(&path, "%s/%s/%s.lua", folder, myco_policy_kind_name(kind), name);
    myco_buf_u8(&path, 0);
    int status = path.failed ? MYCO_ENOMEM : read_source((const char *)path.data, &source, err);
    if (status == 0) status = policies_set(kind, name, myco_buf_as_slice(&source), err, policies);
    if (status == 0) {
        myco_text_copy(policies->initial[kind].name, NAME_SIZE, name);
        myco_buf_move(&policies->initial[kind].source, &source);
    }
    myco_buf_free(&path);
    myco_buf_free(&source);
    return status;
}

int myco_policies_new(
    const char *folder, struct myco_log *log, struct myco_policies **policies, struct myco_err *err)
{
    struct myco_policies *fresh = myco_alloc(sizeof *fresh);
    fresh->log = log;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        int status = load_default(fresh, folder, defaults[i].kind, defaults[i].name, err);
        if (status) {
            myco_policies_free(fresh);
            return status;
        }
    }
    *policies = fresh;
    return 0;
}

void myco_policies_free(struct myco_policies *policies)
{
    if (!policies) return;
    for (int kind = 0; kind < MYCO_POLICY_KIND_COUNT; kind++) {
        myco_buf_free(&policies->current[kind].source);
        myco_buf_free(&policies->initial[kind].source);
    }
    myco_free(policies);
}
