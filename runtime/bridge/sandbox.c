/* The state, the budget and the caps of a sandbox; what can be called inside is in
 * sandbox_lib.c. */
#include "bridge/sandbox.h"

#include <lauxlib.h>

#include "base/err.h"
#include "base/mem.h"

#define HOOK_EVERY   1000
#define REFUSALS_MAX 8

/* `kind` is what is being allocated when `memory` is NULL, else the size it has. */
static bool allocation_allowed(
    struct myco__sandbox *sandbox, bool fresh_string, size_t before, size_t after)
{
    if (fresh_string && sandbox->strings_limited && after > MYCO_SANDBOX_STRING_MAX + 64)
        sandbox->exceeded = "made a string longer than 16 KiB";
    else if (sandbox->used - before + after > MYCO_SANDBOX_MEMORY_MAX)
        sandbox->exceeded = "used more than 16 MiB of memory";
    else if (sandbox->refusals > REFUSALS_MAX && after > before)
        return false;
    else if (after > before && sandbox->allocated + after - before > MYCO_SANDBOX_CHURN_MAX)
        sandbox->exceeded = "allocated more than 64 MiB in all";
    else
        return true;
    sandbox->refusals++;
    return false;
}

static void *allocate(void *data, void *memory, size_t before, size_t after)
{
    struct myco__sandbox *sandbox = data;
    bool fresh_string = !memory && before == LUA_TSTRING;
    if (!memory) before = 0;
    if (after == 0) {
        myco_free(memory);
        sandbox->used -= before;
        return NULL;
    }
    if (after > before && !allocation_allowed(sandbox, fresh_string, before, after)) return NULL;
    void *fresh = myco_try_realloc(memory, after);
    if (!fresh) return NULL;
    sandbox->used += after - before;
    if (after > before) sandbox->allocated += after - before;
    return fresh;
}

struct myco__sandbox *myco__sandbox_of(lua_State *L)
{
    return *(struct myco__sandbox **)lua_getextraspace(L);
}

void myco__sandbox_charge(lua_State *L, double instructions)
{
    struct myco__sandbox *sandbox = myco__sandbox_of(L);
    if (instructions >= (double)sandbox->budget) {
        sandbox->budget = 0;
        luaL_error(L, "exceeded its budget of %d instructions", MYCO_SANDBOX_BUDGET);
    }
    sandbox->budget -= (long)instructions;
}

static void on_count(lua_State *L, lua_Debug *event)
{
    (void)event;
    myco__sandbox_charge(L, HOOK_EVERY);
}

void myco__sandbox_refill(lua_State *L)
{
    struct myco__sandbox *sandbox = myco__sandbox_of(L);
    sandbox->budget = MYCO_SANDBOX_BUDGET;
    sandbox->allocated = 0;
    sandbox->refusals = 0;
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_EVERY);
}

void myco__sandbox_load(lua_State *L, const char *name, struct myco_slice source)
{
    if (source.size > MYCO_SANDBOX_SOURCE_MAX) luaL_error(L, "is longer than 64 KiB");
    lua_pushfstring(L, "=%s", name);
    if (luaL_loadbufferx(L, source.data, source.size, lua_tostring(L, -1), "t") != LUA_OK)
        lua_error(L);
    myco__sandbox_push_globals(L);
    if (!lua_setupvalue(L, -2, 1)) lua_pop(L, 1); /* the chunk's _ENV */
    lua_remove(L, -2);
    myco__sandbox_of(L)->strings_limited = true;
    myco__sandbox_refill(L);
    lua_call(L, 0, 1);
}

int myco__sandbox_open(struct myco__sandbox *sandbox, struct myco_err *err)
{
    memset(sandbox, 0, sizeof *sandbox);
    sandbox->budget = MYCO_SANDBOX_BUDGET;
    sandbox->L = lua_newstate(allocate, sandbox);
    if (!sandbox->L) return myco_err(err, MYCO_ENOMEM, "no memory for a sandbox");
    *(struct myco__sandbox **)lua_getextraspace(sandbox->L) = sandbox;
    return 0;
}

void myco__sandbox_close(struct myco__sandbox *sandbox)
{
    if (sandbox->L) lua_close(sandbox->L);
    sandbox->L = NULL;
}

static const char *sentence(struct myco__sandbox *sandbox, int status)
{
    if (status == LUA_ERRMEM)
        return sandbox->exceeded ? sandbox->exceeded : "there is no memory left";
    if (lua_type(sandbox->L, -1) == LUA_TSTRING) return lua_tostring(sandbox->L, -1);
    return "raised something that is not a message";
}

int myco__sandbox_run(
    struct myco__sandbox *sandbox, lua_CFunction work, void *data, int code, struct myco_err *err)
{
    sandbox->exceeded = NULL;
    lua_pushcfunction(sandbox->L, work);
    lua_pushlightuserdata(sandbox->L, data);
    int status = lua_pcall(sandbox->L, 1, 0, 0);
    if (status == LUA_OK) return 0;
    myco_err(err, code, "%s", sentence(sandbox, status));
    lua_settop(sandbox->L, 0);
    return code;
}
