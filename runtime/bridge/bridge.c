/* The Lua state of a node: started with it, told when the node is ready, and closed before it. What
 * happens inside is lua/mycorrizal/start.lua's business: it returns {admin, ready(),
 * close(callback)}, or nil, a message and the name of an error. */
#include "bridge/bridge.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "bridge/bind.h"

#define DRAIN_EVERY_MS 2
#define CLOSE_MAX_MS   3000 /* for Lua's own good-byes; handles are closed after it in any case */

struct myco_bridge {
    struct myco__state state;
    char admin[128];
    int ready, close; /* references of functions */
    uv_timer_t timer; /* of closing */
    uint64_t closing_since;
    bool lua_closed;
    void (*closed)(void *data);
    void *closed_data;
};

struct starting {
    struct myco_bridge *bridge;
    struct myco_err refused;
    const struct myco_bridge_options *options;
};

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text); /* NULL: nil */
    lua_setfield(L, -2, name);
}

static int take_function(lua_State *L, const char *name)
{
    if (lua_getfield(L, -1, name) != LUA_TFUNCTION)
        luaL_error(L, "mycorrizal.start gave no function '%s'", name);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int code_of(const char *name)
{
#define X(symbol, number, text)                                                                    \
    if (strcmp(name, #symbol) == 0) return MYCO_##symbol;
    MYCO_ERRORS(X)
#undef X
    return MYCO_ELUA;
}

static int work_start(lua_State *L)
{
    struct starting *starting = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "mycorrizal.start");
    lua_call(L, 1, 1);
    myco__push_node(L, starting->options->node);
    lua_createtable(L, 0, 3);
    set_text(L, "admin", starting->options->admin);
    set_text(L, "socket", starting->options->socket);
    set_text(L, "config", starting->options->config);
    set_text(L, "join", starting->options->join);
    lua_call(L, 2, 3);
    if (lua_isnil(L, -3)) {
        myco_err(&starting->refused, code_of(luaL_optstring(L, -1, "")), "%s",
            luaL_optstring(L, -2, "refused"));
        return 0;
    }
    lua_pop(L, 2);
    starting->bridge->ready = take_function(L, "ready");
    starting->bridge->close = take_function(L, "close");
    lua_getfield(L, -1, "admin");
    snprintf(
        starting->bridge->admin, sizeof starting->bridge->admin, "%s", luaL_optstring(L, -1, ""));
    return 0;
}

int myco_bridge_open(
    const struct myco_bridge_options *options, struct myco_bridge **bridge, struct myco_err *err)
{
    struct myco_bridge *fresh = myco_alloc(sizeof *fresh);
    struct starting starting = {.bridge = fresh, .options = options};
    fresh->ready = fresh->close = LUA_NOREF;
    int status =
        myco__state_open(&fresh->state, options->loop, options->lua_path, options->log, err);
    if (status) {
        myco_free(fresh);
    } else {
        fresh->state.metrics = options->metrics;
        fresh->state.store = options->store;
        *bridge = fresh; /* also when this fails: the loop has to close the handles it opened */
        status = myco__state_enter(&fresh->state, work_start, &starting, err);
        if (starting.refused.code && err) *err = starting.refused;
        if (starting.refused.code) status = starting.refused.code;
    }
    return status ? myco_err_wrap(err, "start Lua") : 0;
}

const char *myco_bridge_admin(const struct myco_bridge *bridge)
{
    return bridge->admin;
}

static int work_ready(lua_State *L)
{
    struct myco_bridge *bridge = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, bridge->ready);
    lua_call(L, 0, 0);
    return 0;
}

void myco_bridge_ready(struct myco_bridge *bridge)
{
    myco__state_enter(&bridge->state, work_ready, bridge, NULL);
}

/* ── Closing: Lua says good-bye, then handles are closed, then the state ── */

static void on_timer_closed(uv_handle_t *handle)
{
    struct myco_bridge *bridge = handle->data;
    myco__state_close(&bridge->state);
    bridge->closed(bridge->closed_data);
    myco_free(bridge);
}

static void on_drain(uv_timer_t *timer)
{
    struct myco_bridge *bridge = timer->data;
    bool waited_enough = uv_now(timer->loop) - bridge->closing_since > CLOSE_MAX_MS;
    if (!bridge->lua_closed && !waited_enough) return;
    if (myco__state_drain(&bridge->state) == 0) uv_close((uv_handle_t *)timer, on_timer_closed);
}

static int on_lua_closed(lua_State *L)
{
    struct myco_bridge *bridge = lua_touserdata(L, lua_upvalueindex(1));
    bridge->lua_closed = true;
    return 0;
}

static int work_close(lua_State *L)
{
    struct myco_bridge *bridge = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, bridge->close);
    lua_pushlightuserdata(L, bridge);
    lua_pushcclosure(L, on_lua_closed, 1);
    lua_call(L, 1, 0);
    return 0;
}

void myco_bridge_close(struct myco_bridge *bridge, void (*closed)(void *data), void *data)
{
    bridge->closed = closed;
    bridge->closed_data = data;
    uv_timer_init(bridge->state.loop, &bridge->timer);
    bridge->timer.data = bridge;
    bridge->closing_since = uv_now(bridge->state.loop);
    if (bridge->close == LUA_NOREF || myco__state_enter(&bridge->state, work_close, bridge, NULL))
        bridge->lua_closed = true;
    uv_timer_start(&bridge->timer, on_drain, 0, DRAIN_EVERY_MS);
}
