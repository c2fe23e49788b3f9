/* The Lua state of a node: started with it, told when the node is ready, and closed before it. What
 * happens inside is lua/mycorrizal/start.lua's business: it returns {admin, ready(),
 * close(callback)}. */
#include "bridge/bridge.h"

#include <stdio.h>

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
    lua_call(L, 2, 1);
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
    struct starting starting = {fresh, options};
    int status =
        myco__state_open(&fresh->state, options->loop, options->lua_path, options->log, err);
    if (status) goto free_bridge;
    status = myco__state_enter(&fresh->state, work_start, &starting, err);
    if (status) goto close_state;
    *bridge = fresh;
    return 0;

close_state: /* handles that were opened are closed by the loop; their memory is luv's */
    myco__state_drain(&fresh->state);
    myco__state_close(&fresh->state);
free_bridge:
    myco_free(fresh);
    return myco_err_wrap(err, "start Lua");
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
    if (myco__state_enter(&bridge->state, work_close, bridge, NULL)) bridge->lua_closed = true;
    uv_timer_start(&bridge->timer, on_drain, 0, DRAIN_EVERY_MS);
}
