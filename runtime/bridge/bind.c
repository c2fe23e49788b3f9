/* What the binding files share, and the module they make up. */
#include "bridge/bind.h"

#include "base/mem.h"

struct myco_slice myco__check_slice(lua_State *L, int index)
{
    struct myco_slice slice;
    slice.data = luaL_checklstring(L, index, &slice.size);
    return slice;
}

unsigned myco__optional_ms(lua_State *L, int index)
{
    lua_Number ms = luaL_optnumber(L, index, 0);
    luaL_argcheck(L, ms >= 0 && ms <= 1e9, index, "milliseconds, at most 1e9");
    return ms > 0 && ms < 1 ? 1 : (unsigned)ms; /* 0 means the default */
}

int myco__started(lua_State *L, int status, struct myco__call *call)
{
    if (status) {
        if (call) myco__call_drop(call);
        return myco__push_failure(L, status, NULL);
    }
    lua_pushboolean(L, 1);
    return 1;
}

int myco__push_failed_result(lua_State *L, const struct myco_result *result)
{
    return myco__push_failure(L, result->status, result->message);
}

void myco__check_alive(lua_State *L, int index)
{
    lua_getiuservalue(L, index, 1);
    myco__check_node(L, -1);
    lua_pop(L, 1);
}

/* ── What nodes do for Lua ── */

#define HELD "mycorrizal.held"

static int held_gc(lua_State *L)
{
    struct myco__held **owner = lua_touserdata(L, 1);
    if (*owner) (*owner)->owner = NULL; /* it goes on */
    return 0;
}

struct myco__held *myco__hold(lua_State *L, struct myco *node, struct myco__call *call,
    void (*release)(struct myco__held *held))
{
    struct myco__held **owner = lua_newuserdatauv(L, sizeof *owner, 1);
    *owner = NULL;
    if (luaL_newmetatable(L, HELD)) {
        lua_pushcfunction(L, held_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1); /* keeps the node */
    lua_setiuservalue(L, -2, 1);
    struct myco__held *held = myco_alloc(sizeof *held);
    *owner = held;
    held->owner = owner;
    held->node = node;
    held->call = call;
    held->release = release;
    myco_list_append(&myco__state_of(L)->held, &held->link);
    return held;
}

static void forget(struct myco__held *held)
{
    if (held->owner) *held->owner = NULL;
    myco_list_remove(&held->link);
    myco_free(held);
}

int myco__hold_failed(lua_State *L, struct myco__held *held, const struct myco_err *err)
{
    myco__call_drop(held->call);
    forget(held);
    return myco__push_err(L, err);
}

void myco__release_all(struct myco__state *state, const struct myco *node)
{
    MYCO_LIST_EACH (link, &state->held) {
        struct myco__held *held = MYCO_CONTAINER(link, struct myco__held, link);
        if (node && held->node != node) continue;
        held->release(held);
        forget(held);
    }
}

struct myco__held *myco__check_held(lua_State *L, int index)
{
    struct myco__held **owner = luaL_checkudata(L, index, HELD);
    return *owner;
}

/* release(held): ends it; again: nothing. */
int myco__lua_release(lua_State *L)
{
    struct myco__held **owner = luaL_checkudata(L, 1, HELD);
    struct myco__held *held = *owner;
    if (!held) return 0;
    held->release(held);
    forget(held);
    return 0;
}

/* ── The module ── */

static int memory(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)myco__state_of(L)->used);
    return 1;
}

/* report(sentence): into the log of the node, or on stderr. */
static int report(lua_State *L)
{
    myco__state_report(myco__state_of(L), luaL_checkstring(L, 1));
    return 0;
}

/* note(system, sentence): the same, of something that is as it should be. */
static int note(lua_State *L)
{
    const char *system = luaL_checkstring(L, 1), *sentence = luaL_checkstring(L, 2);
    MYCO_INFO(myco__state_of(L)->log, system, sentence, "%s", "");
    return 0;
}

/* refused(sentence): a client spoke garbage. Its connection ends; the node only takes note. */
static int refused(lua_State *L)
{
    struct myco__state *state = myco__state_of(L);
    const char *sentence = luaL_checkstring(L, 1);
    MYCO_WARN(state->log, "pulse", sentence, "%s", "");
    if (state->metrics) MYCO_METRIC_ADD(state->metrics, FRAMES_REFUSED, 1);
    return 0;
}

static int version(lua_State *L)
{
    lua_pushstring(L, myco_version());
    return 1;
}

int myco__open_core(lua_State *L)
{
    luaL_newmetatable(L, MYCO_LUA_NODE);
    lua_pop(L, 1);
    static const luaL_Reg own[] = {{"guard", myco__lua_guard}, {"release", myco__lua_release},
        {"memory", memory}, {"report", report}, {"note", note}, {"refused", refused},
        {"version", version}, {NULL, NULL}};
    luaL_newlib(L, own);
    luaL_setfuncs(L, myco__bind_node, 0);
    luaL_setfuncs(L, myco__bind_mycel, 0);
    luaL_setfuncs(L, myco__bind_ops, 0);
    luaL_setfuncs(L, myco__bind_watch, 0);
    luaL_setfuncs(L, myco__bind_cytoplasm, 0);
    luaL_setfuncs(L, myco__bind_nodosum, 0);
    luaL_setfuncs(L, myco__bind_follow, 0);
    luaL_setfuncs(L, myco__bind_discovery, 0);
    return 1;
}
