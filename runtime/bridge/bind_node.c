/* A node: opening it on luv's loop, what it says of itself, and the functions that a host
 * exposes. */
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "bridge/bind.h"
#include "bridge/msgpack.h"
#include "mycorrizal_uv.h"

/* ── Handles ── */

static struct myco__lua_node *new_node(lua_State *L)
{
    struct myco__lua_node *holder = lua_newuserdatauv(L, sizeof *holder, 0);
    memset(holder, 0, sizeof *holder);
    myco_list_init(&holder->link);
    luaL_setmetatable(L, MYCO_LUA_NODE);
    return holder;
}

void myco__push_node(lua_State *L, struct myco *node)
{
    luaL_requiref(L, "mycorrizal.core", myco__open_core, 0);
    lua_pop(L, 1);
    new_node(L)->node = node;
}

struct myco *myco__check_node(lua_State *L, int index)
{
    struct myco__lua_node *holder = luaL_checkudata(L, index, MYCO_LUA_NODE);
    if (!holder->node) luaL_error(L, "the node is closed");
    return holder->node;
}

/* ── Opening ── */

static const char *text_option(lua_State *L, const char *name)
{
    int type = lua_getfield(L, 1, name); /* stays on the stack: the text is lent by it */
    if (type != LUA_TNIL && type != LUA_TSTRING)
        luaL_error(L, "option %s is a %s, not a string", name, lua_typename(L, type));
    return lua_tostring(L, -1);
}

static unsigned number_option(lua_State *L, const char *name, unsigned fallback)
{
    int is_integer, type = lua_getfield(L, 1, name);
    lua_Integer value = lua_tointegerx(L, -1, &is_integer);
    lua_pop(L, 1);
    if (type == LUA_TNIL) return fallback;
    if (!is_integer || value < 0 || value > UINT32_MAX)
        luaL_error(L, "option %s is not a number from 0 to 2^32-1", name);
    return (unsigned)value;
}

static void read_options(lua_State *L, struct myco_options *options)
{
    luaL_checkstack(L, 32, "options");
    options->name = text_option(L, "name");
    options->cluster = text_option(L, "cluster");
    options->listen = text_option(L, "listen");
    options->advertise = text_option(L, "advertise");
    options->admin = text_option(L, "admin");
    options->join = text_option(L, "join");
    options->data = text_option(L, "data");
    options->store = text_option(L, "store");
    options->labels = text_option(L, "labels");
    options->tls = text_option(L, "tls");
    options->key = text_option(L, "key");
    options->store_key = text_option(L, "store_key");
    options->lua_path = text_option(L, "lua_path");
    options->config = text_option(L, "config");
    options->expect = number_option(L, "expect", 0);
    options->timeout_ms = number_option(L, "timeout_ms", 0);
    options->lease_ms = number_option(L, "lease_ms", 0);
    options->value_size_max = number_option(L, "value_size_max", 0);
    options->events_max = number_option(L, "events_max", 0);
    options->no_lua = number_option(L, "no_lua", 0);
}

/* log = "text" or "json" on stderr from `log_level` up: a Lua function could not be called from
 * every thread. */
static void read_log(lua_State *L, struct myco_options *options, struct myco__lua_node *holder)
{
    const char *style = text_option(L, "log"), *level = text_option(L, "log_level");
    holder->log.level = level ? myco_log_level_from_text(level) : MYCO_LOG_WARN;
    if (holder->log.level < 0) luaL_error(L, "option log_level: '%s' is no level", level);
    snprintf(holder->log.name, sizeof holder->log.name, "%s", options->name ? options->name : "");
    options->log_level = holder->log.level;
    if (!style) return;
    options->log = strcmp(style, "json") == 0 ? myco_log_sink_json : myco_log_sink_text;
    options->log_data = &holder->log;
}

/* open{…}: the node, on the loop of this state. */
static int node_open(lua_State *L)
{
    struct myco_options options = MYCO_OPTIONS_INIT;
    struct myco_err err = {0};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    read_options(L, &options);
    struct myco__lua_node *holder = new_node(L);
    int node = lua_gettop(L);
    read_log(L, &options, holder);
    struct myco__state *state = myco__state_of(L);
    if (myco_open_uv(&holder->node, state->loop, &options, &err)) {
        holder->node = NULL;
        return myco__push_err(L, &err);
    }
    myco_list_append(&state->nodes, &holder->link);
    lua_pushvalue(L, node); /* stays while it is open: the log writes into it */
    lua_rawsetp(L, LUA_REGISTRYINDEX, holder);
    lua_pushvalue(L, node);
    return 1;
}

/* ── Closing ── */

struct closing {
    struct myco__lua_node *holder;
    struct myco__state *state;
    struct myco__call *call; /* may be NULL */
};

static int push_true(lua_State *L, const void *payload)
{
    (void)payload;
    lua_pushboolean(L, 1);
    return 1;
}

static int work_forget(lua_State *L)
{
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, lua_touserdata(L, 1));
    return 0;
}

static void on_closed(void *data)
{
    struct closing *closing = data;
    myco_list_remove(&closing->holder->link);
    myco__state_enter(closing->state, work_forget, closing->holder, NULL);
    if (closing->call) myco__call_finish(closing->call, push_true, NULL);
    myco_free(closing);
}

/* A state is closed only once the list of its nodes is empty, so that `closing` does not outlive
 * it. */
static void start_closing(
    struct myco__state *state, struct myco__lua_node *holder, struct myco__call *call)
{
    struct closing *closing = myco_alloc(sizeof *closing);
    closing->holder = holder;
    closing->state = state;
    closing->call = call;
    struct myco *node = holder->node;
    myco__release_all(state, node);
    holder->node = NULL;
    myco_close_uv(node, on_closed, closing);
}

/* close(node, callback): true once it left; at once when it was closed already, or is the
 * host's. */
static int node_close(lua_State *L)
{
    struct myco__lua_node *holder = luaL_checkudata(L, 1, MYCO_LUA_NODE);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!holder->node) return myco__push_failure(L, MYCO_ECLOSED, "the node is closed");
    if (myco_list_empty(&holder->link))
        return myco__push_failure(L, MYCO_EDENIED, "the host that opened this node closes it");
    start_closing(myco__state_of(L), holder, myco__call_new(L, 2));
    lua_pushboolean(L, 1);
    return 1;
}

/* close_all(): starts to close what the program left open; the state waits for it. */
static int node_close_all(lua_State *L)
{
    struct myco__state *state = myco__state_of(L);
    MYCO_LIST_EACH (link, &state->nodes) {
        struct myco__lua_node *holder = MYCO_CONTAINER(link, struct myco__lua_node, link);
        if (holder->node) start_closing(state, holder, NULL);
    }
    return 0;
}

/* ── What it says of itself ── */

static int node_about(lua_State *L) /* about(node): name, id (hex), listen, admin, socket */
{
    struct myco *node = myco__check_node(L, 1);
    char id[20];
    snprintf(id, sizeof id, "%016llx", (unsigned long long)myco_id(node));
    lua_createtable(L, 0, 5);
    lua_pushstring(L, myco_name(node));
    lua_setfield(L, -2, "name");
    lua_pushstring(L, id);
    lua_setfield(L, -2, "id");
    lua_pushstring(L, myco_listen(node));
    lua_setfield(L, -2, "listen");
    lua_pushstring(L, myco_admin(node));
    lua_setfield(L, -2, "admin");
    lua_pushstring(L, myco_socket(node));
    lua_setfield(L, -2, "socket");
    return 1;
}

static int node_ready(lua_State *L)
{
    lua_pushboolean(L, myco_ready(myco__check_node(L, 1)));
    return 1;
}

static int node_is_open(lua_State *L)
{
    lua_pushboolean(
        L, ((struct myco__lua_node *)luaL_checkudata(L, 1, MYCO_LUA_NODE))->node != NULL);
    return 1;
}

static int value_close(lua_State *L)
{
    struct myco_value *value = lua_touserdata(L, 1);
    if (value->owner || value->data) myco_value_release(value);
    memset(value, 0, sizeof *value);
    return 0;
}

/* A given value that is released also when decoding it raises. */
static struct myco_value *new_value(lua_State *L)
{
    struct myco_value *value = lua_newuserdatauv(L, sizeof *value, 0);
    memset(value, 0, sizeof *value);
    if (luaL_newmetatable(L, "mycorrizal.value")) {
        lua_pushcfunction(L, value_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return value;
}

static int push_document(lua_State *L, const struct myco_value *value)
{
    const char *why;
    if (value->size == 0) return 0;
    if (myco__msgpack_push(L, myco_bytes(value->data, value->size), &why) == 0)
        return myco__push_failure(L, MYCO_EPROTO, why);
    return 1;
}

/* inspect(node, topic): the document as a table. */
static int node_inspect(lua_State *L)
{
    struct myco_err err = {0};
    struct myco *node = myco__check_node(L, 1);
    const char *topic = luaL_checkstring(L, 2);
    struct myco_value *value = new_value(L);
    if (myco_inspect(node, topic, value, &err)) return myco__push_err(L, &err);
    int count = push_document(L, value);
    myco_value_release(value);
    memset(value, 0, sizeof *value);
    return count;
}

/* ── Functions of the host ── */

/* call(node, name, arguments): what the host's function answers. */
static int node_call(lua_State *L)
{
    struct myco_err err = {0};
    const char *why;
    struct myco *node = myco__check_node(L, 1);
    const char *name = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    struct myco_buf *arguments = myco__new_buf(L);
    if (!myco__msgpack_pack(L, 3, arguments, &why))
        return luaL_error(L, "arguments of %s: %s", name, why);
    struct myco_value *value = new_value(L);
    if (myco_call(node, name, myco_buf_as_slice(arguments), value, &err))
        return myco__push_err(L, &err);
    int count = push_document(L, value);
    if (count == 0) lua_pushnil(L), count = 1;
    return count;
}

static void add_name(const char *name, void *data)
{
    lua_State *L = data;
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* functions(node): the names of what the host exposed. */
static int node_functions(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    lua_newtable(L);
    myco_functions(node, add_name, L);
    return 1;
}

struct exposed {
    int function;
    struct myco_slice arguments;
    struct myco_reply *reply;
    int status;
};

static int work_exposed(lua_State *L)
{
    struct exposed *exposed = lua_touserdata(L, 1);
    const char *why;
    struct myco_buf *out = myco__new_buf(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, exposed->function);
    if (myco__msgpack_push(L, exposed->arguments, &why) == 0)
        return luaL_error(L, "arguments: %s", why);
    int list = lua_gettop(L), count = (int)lua_rawlen(L, list);
    luaL_checkstack(L, count + 4, "arguments");
    for (int i = 1; i <= count; i++) lua_rawgeti(L, list, i);
    lua_remove(L, list);
    lua_call(L, count, 1);
    if (!myco__msgpack_pack(L, -1, out, &why)) return luaL_error(L, "its result: %s", why);
    exposed->status = myco_reply_set(exposed->reply, myco_buf_as_slice(out));
    return 0;
}

static int on_exposed(struct myco_slice arguments, struct myco_reply *reply, void *data)
{
    struct myco__call *call = data;
    if (!call->state) return MYCO_ECLOSED;
    struct exposed exposed = {call->function, arguments, reply, 0};
    int status = myco__state_enter(call->state, work_exposed, &exposed, NULL);
    return status ? status : exposed.status;
}

static int not_exposed(struct myco_slice arguments, struct myco_reply *reply, void *data)
{
    (void)arguments, (void)reply, (void)data;
    return MYCO_ENOTFOUND;
}

static void unexpose(struct myco__held *held)
{
    myco_expose(held->node, held->handle, not_exposed, NULL);
    myco_free(held->handle);
    myco__call_drop(held->call);
}

/* expose(node, name, function): callable by name until released; must not wait. */
static int node_expose(lua_State *L)
{
    struct myco_err err = {0};
    struct myco *node = myco__check_node(L, 1);
    const char *name = luaL_checkstring(L, 2);
    struct myco__held *held = myco__hold(L, node, myco__call_new(L, 3), unexpose);
    int status = myco_expose(node, name, on_exposed, held->call);
    if (status) {
        myco_err(&err, status, "expose %s: %s", name, myco_strerror(status));
        return myco__hold_failed(L, held, &err);
    }
    held->handle = myco_strdup(name);
    return 1;
}

const luaL_Reg myco__bind_node[] = {{"open", node_open}, {"close", node_close},
    {"close_all", node_close_all}, {"about", node_about}, {"ready", node_ready},
    {"is_open", node_is_open}, {"inspect", node_inspect}, {"call", node_call},
    {"expose", node_expose}, {"functions", node_functions}, {NULL, NULL}};
