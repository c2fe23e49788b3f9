/* Reads a configuration file: a Lua program that returns a table. It sees env "NAME", env("NAME",
 * default), and the parts of Lua's library that do no I/O. Needs no Lua layer, so that `mycorrizal
 * check` works anywhere. */
#include <ctype.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "bridge/bridge.h"
#include "bridge/config_join.h"
#include "bridge/msgpack.h"
#include "consensus/state.h"

#define DEPTH_MAX 16

struct reading {
    const char *file;
    myco_config_set_cb set;
    void *data;
    struct myco_buf *declarations;
    struct myco_err *err;
    int status;
};

/* ── What the program sees ── */

static int config_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *value = getenv(name);
    lua_settop(L, 2);
    if (value && *value)
        lua_pushstring(L, value);
    else if (lua_isnil(L, 2))
        return luaL_error(L, "the environment has no %s", name);
    return 1;
}

static void push_globals(lua_State *L)
{
    static const char *const names[] = {"assert", "error", "ipairs", "pairs", "select", "tonumber",
        "tostring", "type", "math", "string", "table"};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_getglobal(L, names[i]);
        lua_setfield(L, -2, names[i]);
    }
    lua_pushcfunction(L, config_env);
    lua_setfield(L, -2, "env");
}

/* ── Where it stands ── a table has forgotten the lines of its entries, and so the file is searched
 * for "NAME =" or "["NAME"] =": of an entry of `septa`, behind `septa` */

static bool begins_entry(const char *line, const char *name)
{
    size_t size = strlen(name);
    const char *end = strstr(line, "--");
    for (const char *at = line; (at = strstr(at, name)) && (!end || at < end); at++) {
        if (at > line && (isalnum((unsigned char)at[-1]) || at[-1] == '_' || at[-1] == '.'))
            continue;
        const char *after = at + size;
        after += strspn(after, "\"'] \t");
        if (*after == '=' && after[1] != '=') return true;
    }
    return false;
}

/* "FILE:LINE", or "FILE" when it can't be told. */
static const char *where(const char *file, const char *const names[], char text[512])
{
    char line[1024];
    int number = 0, found = 0;
    FILE *source = fopen(file, "r");
    while (source && *names && fgets(line, sizeof line, source)) {
        number++;
        while (*names && begins_entry(line, *names)) {
            found = number;
            names++;
        }
    }
    if (source) fclose(source);
    snprintf(text, 512, found ? "%.400s:%d" : "%.400s", file, found);
    return text;
}

/* ── Options as text ── */

/* Of a string, number or boolean; 2^4 is 16. */
static void push_plain(lua_State *L, int index)
{
    if (lua_type(L, index) == LUA_TNUMBER && !lua_isinteger(L, index)) {
        char text[64];
        snprintf(text, sizeof text, "%g", lua_tonumber(L, index));
        lua_pushstring(L, text);
    } else {
        luaL_tolstring(L, index, NULL);
    }
}

/* "a,b" of a list, "rack=7,zone=a" of other tables, in order. Pushes the text. */
static void push_joined(lua_State *L, int table)
{
    size_t count;
    if (!myco__push_sorted_keys(L, table, &count)) luaL_error(L, "a name in it is a table");
    int keys = lua_gettop(L);
    lua_pushliteral(L, "");
    for (size_t i = 1; i <= count; i++) {
        lua_pushstring(L, i == 1 ? "" : ",");
        bool named = lua_rawgeti(L, keys, (lua_Integer)i) == LUA_TSTRING;
        lua_pushfstring(L, named ? "%s=" : "", lua_tostring(L, -1));
        lua_insert(L, -2);
        lua_rawget(L, table);
        push_plain(L, -1);
        lua_remove(L, -2);
        lua_concat(L, 4);
    }
    lua_remove(L, keys);
}

static const char *push_option(lua_State *L, int index)
{
    int type = lua_type(L, index);
    if (type == LUA_TTABLE)
        push_joined(L, index);
    else if (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN)
        push_plain(L, index);
    else
        luaL_error(L, "it is a %s", lua_typename(L, type));
    return lua_tostring(L, -1);
}

/* ── Declarations as Lua source ── */

static void write_value(lua_State *L, int index, struct myco_buf *out, int depth);

static void write_table(lua_State *L, int index, struct myco_buf *out, int depth)
{
    size_t count;
    if (depth > DEPTH_MAX) luaL_error(L, "it is nested too deeply, or holds itself");
    luaL_checkstack(L, 8, "declarations");
    if (!myco__push_sorted_keys(L, index, &count)) luaL_error(L, "a name in it is a table");
    int keys = lua_gettop(L);
    myco_buf_printf(out, "{");
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, keys, (lua_Integer)i);
        myco_buf_printf(out, "[");
        write_value(L, keys + 1, out, depth + 1);
        myco_buf_printf(out, "]=");
        lua_rawget(L, index);
        write_value(L, keys + 1, out, depth + 1);
        myco_buf_printf(out, ",");
        lua_settop(L, keys);
    }
    myco_buf_printf(out, "}");
    lua_settop(L, keys - 1);
}

/* string.format("%q") writes strings and numbers so that Lua reads them back exactly. */
static void write_quoted(lua_State *L, int index, struct myco_buf *out)
{
    size_t size;
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "format");
    lua_pushliteral(L, "%q");
    lua_pushvalue(L, index);
    lua_call(L, 2, 1);
    const char *text = lua_tolstring(L, -1, &size);
    myco_buf_bytes(out, text, size);
    lua_pop(L, 2);
}

static void write_value(lua_State *L, int index, struct myco_buf *out, int depth)
{
    int type = lua_type(L, index);
    if (type == LUA_TTABLE)
        write_table(L, index, out, depth);
    else if (type == LUA_TSTRING || type == LUA_TNUMBER)
        write_quoted(L, index, out);
    else if (type == LUA_TBOOLEAN)
        myco_buf_printf(out, "%s", lua_toboolean(L, index) ? "true" : "false");
    else
        luaL_error(L, "it holds a %s", lua_typename(L, type));
}

/* ── Reading ── */

static bool is_declared(const char *name)
{
    static const char *const names[] = {"septa", "policies", "modules"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* Name and options of a septum are at the top: would it be created? What is wrong is raised. */
static void check_septum(lua_State *L, const struct reading *reading)
{
    struct myco_septum_options options;
    struct myco_err err = {0};
    char text[512];
    int spec = lua_gettop(L);
    const char *name = lua_type(L, spec - 1) == LUA_TSTRING ? lua_tostring(L, spec - 1) : "";
    if (!myco__state_name_ok(name))
        myco_err(&err, MYCO_EINVAL, "the name is not 1 to 63 printable characters without spaces");
    else
        myco_septum_options_parse(&options, push_option(L, spec), &err);
    if (!err.code) return;
    where(reading->file, (const char *const[]){"septa", name, NULL}, text);
    luaL_error(L, "\1%s: septum %s: %s", text, name, err.message);
}

static void check_septa(lua_State *L, int table, const struct reading *reading)
{
    size_t count;
    if (!myco__push_sorted_keys(L, table, &count)) return; /* it was written: it can't be */
    int keys = lua_gettop(L);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, keys, (lua_Integer)i);
        lua_pushvalue(L, -1);
        lua_rawget(L, table);
        check_septum(L, reading);
        lua_settop(L, keys);
    }
}

/* Name and value are at the top; what is wrong with them is raised, and gets the name put before
 * it. */
static int work_entry(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "a name that is no string");
    const char *name = lua_tostring(L, 2);
    struct myco_buf *out = reading->declarations;
    if (is_declared(name)) {
        if (!lua_istable(L, 3))
            return luaL_error(L, "it is a %s, not a table", luaL_typename(L, 3));
        myco_buf_printf(out, out->size ? ",%s=" : "return {%s=", name);
        write_value(L, 3, out, 0);
        if (strcmp(name, "septa") == 0) check_septa(L, 3, reading);
        return 0;
    }
    if (strcmp(name, "join") == 0) {
        myco__push_join(L, 3);
        lua_replace(L, 3);
    }
    reading->status = reading->set(name, push_option(L, 3), reading->err, reading->data);
    char text[512];
    if (reading->status)
        myco_err_wrap(
            reading->err, "%s", where(reading->file, (const char *const[]){name, NULL}, text));
    return 0;
}

static void read_entry(lua_State *L, struct reading *reading, int key, int value)
{
    lua_pushcfunction(L, work_entry);
    lua_pushlightuserdata(L, reading);
    lua_pushvalue(L, key);
    lua_pushvalue(L, value);
    if (lua_pcall(L, 3, 0, 0) == LUA_OK) return;
    char text[512];
    const char *why = lua_tostring(L, -1), *name = luaL_tolstring(L, key, NULL);
    if (why && *why == '\1') luaL_error(L, "%s", why + 1); /* it says where already */
    where(reading->file, (const char *const[]){name, NULL}, text);
    luaL_error(L, "%s: %s: %s", text, name, why);
}

static int work_read(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, 1);
    size_t count;
    luaL_openlibs(L);
    if (luaL_loadfilex(L, reading->file, "t") != LUA_OK) return lua_error(L);
    push_globals(L);
    lua_setupvalue(L, -2, 1);
    lua_call(L, 0, 1);
    int table = lua_gettop(L);
    if (!lua_istable(L, table))
        return luaL_error(
            L, "%s: it returns a %s, not a table", reading->file, luaL_typename(L, table));
    if (!myco__push_sorted_keys(L, table, &count))
        return luaL_error(L, "%s: a name in it is a table", reading->file);
    for (size_t i = 1; i <= count && reading->status == 0; i++) {
        lua_rawgeti(L, table + 1, (lua_Integer)i);
        lua_pushvalue(L, -1);
        lua_rawget(L, table);
        read_entry(L, reading, table + 2, table + 3);
        lua_settop(L, table + 1);
    }
    if (reading->declarations->size) myco_buf_printf(reading->declarations, "}");
    return 0;
}

int myco_bridge_config(const char *file, myco_config_set_cb set, void *data,
    struct myco_buf *declarations, struct myco_err *err)
{
    struct reading reading = {file, set, data, declarations, err, 0};
    lua_State *L = luaL_newstate();
    if (!L) return myco_err(err, MYCO_ENOMEM, "no memory for Lua");
    lua_pushcfunction(L, work_read);
    lua_pushlightuserdata(L, &reading);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        const char *why = lua_type(L, -1) == LUA_TSTRING
                              ? lua_tostring(L, -1)
                              : "it raised something that is not a message";
        reading.status = myco_err(err, MYCO_EINVAL, "%s", why);
    }
    lua_close(L);
    return reading.status;
}
