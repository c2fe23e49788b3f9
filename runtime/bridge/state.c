/* The Lua state of a node or a program. Every entry from C goes through myco__state_enter(), so
 * that no longjmp crosses a frame of libuv or raft; what Lua code of the user raises in a callback
 * is logged there and ends there. */
#include "bridge/state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

/* luv's header has a declaration without a prototype. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include <luv/luv.h>
#pragma GCC diagnostic pop

#include "base/err.h"
#include "base/mem.h"
#include "bridge/bind.h"
#include "bridge/msgpack.h"

/* ── Memory ── */

static void *allocate(void *data, void *memory, size_t before, size_t after)
{
    struct myco__state *state = data;
    if (!memory) before = 0; /* else it is the kind of object */
    if (after == 0) {
        myco_free(memory);
        state->used -= before;
        return NULL;
    }
    if (after > before && state->used + (after - before) > MYCO_LUA_MEMORY_MAX) return NULL;
    void *fresh = myco_try_realloc(memory, after);
    if (fresh) state->used += after - before;
    return fresh;
}

struct myco__state *myco__state_of(lua_State *L)
{
    return *(struct myco__state **)lua_getextraspace(L);
}

/* ── The door ── */

static int add_traceback(lua_State *L)
{
    const char *message = luaL_tolstring(L, 1, NULL);
    luaL_traceback(L, L, message, 1);
    return 1;
}

/* A log line is one line: the traceback goes into a field. */
void myco__state_report(struct myco__state *state, const char *sentence)
{
    if (state->metrics) MYCO_METRIC_ADD(state->metrics, LUA_ERRORS, 1);
    if (!state->log) {
        fprintf(stderr, "mycorrizal: lua: %s\n", sentence);
        return;
    }
    char first[256], rest[1024];
    size_t size = strcspn(sentence, "\n");
    snprintf(first, sizeof first, "%.*s", (int)size, sentence);
    snprintf(rest, sizeof rest, "%s", sentence + size);
    for (char *at = rest; *at; at++)
        if (*at == '\n' || *at == '\t' || *at == '"')
            *at = *at == '\n' ? ';' : *at == '\t' ? ' ' : '\'';
    MYCO_ERROR(state->log, "lua", first, "traceback=\"%s\"", rest);
}

/* The function and its arguments are at the top; they are replaced by `results` values, or by
 * nothing. */
static int protected_call(lua_State *L, int arguments, int results, struct myco_err *err)
{
    int handler = lua_gettop(L) - arguments;
    lua_pushcfunction(L, add_traceback);
    lua_insert(L, handler);
    int status = lua_pcall(L, arguments, results, handler);
    lua_remove(L, handler);
    if (status == LUA_OK) return 0;
    const char *sentence =
        lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "there is no memory left";
    myco__state_report(myco__state_of(L), sentence);
    if (err) myco_err(err, MYCO_ELUA, "%.*s", (int)strcspn(sentence, "\n"), sentence);
    lua_pop(L, 1);
    return MYCO_ELUA;
}

int myco__state_enter(
    struct myco__state *state, lua_CFunction work, void *data, struct myco_err *err)
{
    lua_pushcfunction(state->L, work);
    lua_pushlightuserdata(state->L, data);
    return protected_call(state->L, 1, 0, err);
}

/* What luv calls instead of its own, which would end the process. Results are counted from the
 * bottom of the call. */
static int on_luv_callback(lua_State *L, int arguments, int results, int flags)
{
    (void)flags;
    int bottom = lua_gettop(L) - arguments - 1;
    if (protected_call(L, arguments, results, NULL)) return -LUA_ERRRUN;
    return lua_gettop(L) - bottom;
}

/* ── Calls that C owes ── */

struct myco__call *myco__call_new(lua_State *L, int function)
{
    luaL_checktype(L, function, LUA_TFUNCTION);
    lua_pushvalue(L, function);
    int reference = luaL_ref(L, LUA_REGISTRYINDEX);
    struct myco__call *call = myco_alloc(sizeof *call);
    call->state = myco__state_of(L);
    call->function = reference;
    myco_list_append(&call->state->calls, &call->link);
    return call;
}

void myco__call_drop(struct myco__call *call)
{
    if (call->state) {
        luaL_unref(call->state->L, LUA_REGISTRYINDEX, call->function);
        myco_list_remove(&call->link);
    }
    myco_free(call);
}

struct delivery {
    struct myco__call *call;
    myco__push_cb push;
    const void *payload;
};

static int deliver(lua_State *L)
{
    struct delivery *delivery = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, delivery->call->function);
    lua_call(L, delivery->push(L, delivery->payload), 0);
    return 0;
}

void myco__call_deliver(struct myco__call *call, myco__push_cb push, const void *payload)
{
    struct delivery delivery = {call, push, payload};
    if (call->state) myco__state_enter(call->state, deliver, &delivery, NULL);
}

void myco__call_finish(struct myco__call *call, myco__push_cb push, const void *payload)
{
    myco__call_deliver(call, push, payload);
    myco__call_drop(call);
}

int myco__push_failure(lua_State *L, int code, const char *message)
{
    lua_pushnil(L);
    lua_pushstring(L, message && *message ? message : myco_strerror(code));
    lua_pushstring(L, myco_errname(code));
    return 3;
}

int myco__push_err(lua_State *L, const struct myco_err *err)
{
    return myco__push_failure(L, err->code, err->message);
}

/* ── Opening ── */

static void prepend_path(lua_State *L, const char *lua_path)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "path");
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", lua_path, lua_path, lua_tostring(L, -1));
    lua_setfield(L, -3, "path");
    lua_pop(L, 2);
}

static void preload(lua_State *L, const char *name, lua_CFunction open)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, open);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

struct opening {
    struct myco__state *state;
    const char *lua_path;
};

static int work_open(lua_State *L)
{
    struct opening *opening = lua_touserdata(L, 1);
    luaL_openlibs(L);
    prepend_path(L, opening->lua_path);
    luv_set_loop(L, opening->state->loop); /* both before luaopen_luv, and on the main Lua thread */
    luv_set_callback(L, on_luv_callback);
    luaL_requiref(L, "luv", luaopen_luv, 0);
    preload(L, "mycorrizal.msgpack", myco__open_msgpack);
    preload(L, "mycorrizal.core", myco__open_core);
    preload(L, "mycorrizal.policies", myco__open_policies);
    return 0;
}

int myco__state_open(struct myco__state *state, uv_loop_t *loop, const char *lua_path,
    struct myco_log *log, struct myco_err *err)
{
    memset(state, 0, sizeof *state);
    state->loop = loop;
    state->log = log;
    myco_list_init(&state->calls);
    myco_list_init(&state->nodes);
    myco_list_init(&state->held);
    state->L = lua_newstate(allocate, state);
    if (!state->L) return myco_err(err, MYCO_ENOMEM, "no memory for Lua");
    *(struct myco__state **)lua_getextraspace(state->L) = state;
    struct opening opening = {state, lua_path};
    int status = myco__state_enter(state, work_open, &opening, err);
    if (status) myco__state_close(state);
    return status;
}

/* ── Closing ── */

/* luv keeps every open handle and every request under way in the registry, under a number. A handle
 * is what can be closed; other things of luv (a folder that is being read) don't concern the loop.
 */
static bool is_of_luv(lua_State *L, bool *is_handle)
{
    if (lua_type(L, -1) != LUA_TUSERDATA || !luaL_getmetafield(L, -1, "__name")) return false;
    const char *name = lua_tostring(L, -1);
    bool of_luv = name && strncmp(name, "uv_", 3) == 0;
    bool is_request = of_luv && strcmp(name, "uv_req") == 0;
    lua_pop(L, 1);
    *is_handle = of_luv && !is_request && lua_getfield(L, -1, "is_closing") == LUA_TFUNCTION;
    if (of_luv && !is_request) lua_pop(L, 1);
    return is_request || *is_handle;
}

static void call_method(lua_State *L, const char *method, int results)
{
    lua_getfield(L, -1, method);
    lua_pushvalue(L, -2);
    lua_call(L, 1, results);
}

static int work_drain(lua_State *L)
{
    unsigned *open = lua_touserdata(L, 1);
    for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1)) {
        bool is_handle, is_closing = true;
        if (!lua_isinteger(L, -2) || !is_of_luv(L, &is_handle)) continue;
        (*open)++;
        if (is_handle) {
            call_method(L, "is_closing", 1);
            is_closing = lua_toboolean(L, -1);
            lua_pop(L, 1);
        }
        if (!is_closing) call_method(L, "close", 0);
    }
    return 0;
}

unsigned myco__state_drain(struct myco__state *state)
{
    unsigned open = 0;
    MYCO_LIST_EACH (node, &state->nodes) open++;
    if (myco__state_enter(state, work_drain, &open, NULL))
        return 0; /* it was logged; don't wait for ever */
    return open;
}

void myco__state_close(struct myco__state *state)
{
    myco__release_all(state, NULL);
    MYCO_LIST_EACH (link, &state->calls) {
        struct myco__call *call = MYCO_CONTAINER(link, struct myco__call, link);
        myco_list_remove(link);
        call->state = NULL; /* whoever holds it still has to drop it */
    }
    if (state->L) lua_close(state->L);
    state->L = NULL;
}
