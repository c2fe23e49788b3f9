/* Tasks that people type must not hang their node: a watched task that used up its slice of time is
 * suspended as if it had yielded, and one past its deadline is ended. A count hook does it, which
 * costs speed, so that only evaluations are watched. */
#include <lauxlib.h>

#include "bridge/state.h"

#define CHECK_EVERY 10000 /* instructions: some 50 µs */
#define STUCK_NS                                                                                   \
    (250 * 1000000ull) /* in a place that can't be suspended: a sort, a gsub, a metamethod called  \
                          from C */

static void on_count(lua_State *L, lua_Debug *event)
{
    (void)event;
    struct myco__state *state = myco__state_of(L);
    uint64_t now = uv_hrtime();
    if (now < state->guard.slice_end_ns) return;
    if (now >= state->guard.abort_at_ns) {
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1); /* a pcall around this can't go on for long */
        luaL_error(L, "it ran past its deadline");
    }
    if (L == state->guard.task && lua_isyieldable(L)) {
        lua_yield(L, 0);
        return;
    }
    if (now > state->guard.slice_end_ns + STUCK_NS) {
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
        luaL_error(L, "it ran for too long in a place where it can't be suspended");
    }
}

/* guard(task, slice_ms, abort_ms): for the next resume of `task`; abort_ms counts from now. */
int myco__lua_guard(lua_State *L)
{
    struct myco__state *state = myco__state_of(L);
    luaL_checktype(L, 1, LUA_TTHREAD);
    lua_Number slice_ms = luaL_checknumber(L, 2), abort_ms = luaL_checknumber(L, 3);
    uint64_t now = uv_hrtime();
    state->guard.task = lua_tothread(L, 1);
    state->guard.slice_end_ns = now + (uint64_t)(slice_ms * 1e6);
    state->guard.abort_at_ns = now + (uint64_t)(abort_ms > 0 ? abort_ms * 1e6 : 0);
    lua_sethook(state->guard.task, on_count, LUA_MASKCOUNT, CHECK_EVERY);
    return 0;
}
