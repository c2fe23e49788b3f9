/* Lua programs outside of a node: pulse, scripts, specs. A state on a loop of its own, in which the
 * script is a task. */
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>

#include "bridge/bind.h"
#include "bridge/bridge.h"

struct program {
    struct myco__state state;
    const char *script;
    int argc;
    char **argv;
    const struct myco_bridge_module *modules;
    bool done;
    int status;
};

static int on_done(lua_State *L) /* done(status) */
{
    struct program *program = lua_touserdata(L, lua_upvalueindex(1));
    program->status = (int)luaL_optinteger(L, 1, 0);
    program->done = true;
    uv_stop(program->state.loop);
    return 0;
}

static void set_arg(lua_State *L, const struct program *program)
{
    lua_createtable(L, program->argc, 1);
    lua_pushstring(L, program->script);
    lua_rawseti(L, -2, 0);
    for (int i = 0; i < program->argc; i++) {
        lua_pushstring(L, program->argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setglobal(L, "arg");
}

static void preload(lua_State *L, const struct myco_bridge_module *modules)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (; modules && modules->name; modules++) {
        lua_pushcfunction(L, modules->open);
        lua_setfield(L, -2, modules->name);
    }
    lua_pop(L, 1);
}

static int work_start(lua_State *L)
{
    struct program *program = lua_touserdata(L, 1);
    set_arg(L, program);
    preload(L, program->modules);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "mycorrizal.program");
    lua_call(L, 1, 1);
    lua_pushstring(L, program->script);
    lua_pushlightuserdata(L, program);
    lua_pushcclosure(L, on_done, 1);
    lua_call(L, 2, 0);
    return 0;
}

static int work_close_nodes(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "mycorrizal.core");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "close_all");
    lua_call(L, 0, 0);
    return 0;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Turns the loop until everything that Lua opened is closed; the tick sees to it that a turn
 * ends. */
static void close_program(struct program *program)
{
    uv_timer_t tick;
    uv_timer_init(program->state.loop, &tick);
    uv_timer_start(&tick, on_tick, 0, 2);
    myco__state_enter(&program->state, work_close_nodes, NULL, NULL);
    while (myco__state_drain(&program->state) > 0) uv_run(program->state.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&tick, NULL);
    myco__state_close(&program->state);
    uv_run(program->state.loop, UV_RUN_DEFAULT);
}

static void run_loop(struct program *program)
{
    while (!program->done && uv_run(program->state.loop, UV_RUN_DEFAULT)) continue;
    if (program->done) return;
    fprintf(stderr,
        "mycorrizal: %s waits for something that can't come: nothing is open any more\n",
        program->script);
    program->status = 1;
}

int myco_bridge_run(const char *lua_path, const char *script, int argc, char **argv,
    const struct myco_bridge_module *modules)
{
    struct program program = {
        .script = script, .argc = argc, .argv = argv, .modules = modules, .status = 1};
    struct myco_err err = {0};
    uv_loop_t loop;
    signal(SIGPIPE, SIG_IGN); /* a write says so by itself */
    if (uv_loop_init(&loop)) return myco_complain(&(struct myco_err){MYCO_ENOMEM, "no loop"});
    if (myco__state_open(&program.state, &loop, lua_path, NULL, &err)) return myco_complain(&err);
    if (myco__state_enter(&program.state, work_start, &program, NULL) == 0) run_loop(&program);
    close_program(&program);
    uv_loop_close(&loop);
    fflush(stdout);
    return program.status;
}

int myco_bridge_main(const char *lua_path, const char *script, int argc, char **argv)
{
    return myco_bridge_run(lua_path, script, argc, argv, NULL);
}
