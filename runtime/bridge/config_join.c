/* A place to look for others, from a table to the text of the command line. */
#include "bridge/config_join.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bridge/msgpack.h"

static const char *const schemes[] = {
    "static", "dns", "srv", "multicast", "consul", "store", "policy"};
#define PLAIN                                                                                      \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"                               \
    "._-~:/[]"

/* What would end the place, its option or the list is written %XX. */
static void push_escaped(lua_State *L, int index)
{
    int type = lua_type(L, index);
    luaL_Buffer out;
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
        luaL_error(L, "it holds a %s", lua_typename(L, type));
    lua_pushvalue(L, index);
    int value = lua_gettop(L);
    luaL_tolstring(L, value, NULL);
    int text = lua_gettop(L);
    luaL_buffinit(L, &out);
    size_t size;
    const char *bytes = lua_tolstring(L, text, &size);
    for (size_t i = 0; i < size; i++) {
        char code[4];
        if (bytes[i] && strchr(PLAIN, bytes[i])) {
            luaL_addchar(&out, bytes[i]);
        } else {
            snprintf(code, sizeof code, "%%%02X", (unsigned char)bytes[i]);
            luaL_addlstring(&out, code, 3);
        }
    }
    luaL_pushresult(&out);
    lua_replace(L, value);
    lua_settop(L, value);
}

/* The name of the source that the table is for; raises unless it is exactly one. */
static const char *find_scheme(lua_State *L, int table)
{
    const char *found = NULL;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        bool there = lua_getfield(L, table, schemes[i]) != LUA_TNIL;
        lua_pop(L, 1);
        if (there && found) luaL_error(L, "both '%s' and '%s' in one place", found, schemes[i]);
        if (there) found = schemes[i];
    }
    if (!found)
        luaL_error(L, "a place names none of static, dns, srv, multicast, consul, store, policy");
    return found;
}

/* Appends "?every=10s&…" of all names but `scheme` and the first item to the text at the top. */
static void add_options(lua_State *L, int table, const char *scheme, bool *any)
{
    size_t count;
    if (!myco__push_sorted_keys(L, table, &count)) luaL_error(L, "a name in it is a table");
    lua_insert(L, -2);
    int keys = lua_gettop(L) - 1;
    for (size_t i = 1; i <= count; i++) {
        bool named = lua_rawgeti(L, keys, (lua_Integer)i) == LUA_TSTRING;
        if (!named || strcmp(lua_tostring(L, -1), scheme) == 0) {
            bool first = !named && lua_isinteger(L, -1) && lua_tointeger(L, -1) == 1;
            if (!named && !first) luaL_error(L, "%s has more than one address", scheme);
            lua_pop(L, 1);
            continue;
        }
        lua_pushstring(L, *any ? "&" : "?");
        lua_pushvalue(L, -2);
        lua_pushliteral(L, "=");
        lua_pushvalue(L, -4);
        lua_rawget(L, table);
        push_escaped(L, -1);
        lua_remove(L, -2);
        lua_remove(L, -5); /* the name; its copy stays */
        lua_concat(L, 5);
        *any = true;
    }
    lua_remove(L, keys);
}

static void push_place(lua_State *L, int table)
{
    const char *scheme = find_scheme(L, table);
    bool any = false;
    luaL_checkstack(L, 20, "join");
    int type = lua_getfield(L, table, scheme), value = lua_gettop(L);
    lua_pushfstring(L, "%s:", scheme);
    if (type == LUA_TTABLE) {
        if (lua_rawgeti(L, value, 1) == LUA_TNIL) {
            lua_pop(L, 1);
        } else {
            push_escaped(L, -1);
            lua_remove(L, -2);
            lua_concat(L, 2);
        }
        add_options(L, value, "", &any);
    } else if (type != LUA_TBOOLEAN) {
        push_escaped(L, value);
        lua_concat(L, 2);
    }
    add_options(L, table, scheme, &any);
    lua_remove(L, value);
}

void myco__push_join(lua_State *L, int index)
{
    luaL_checkstack(L, 20, "join");
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        return;
    }
    if (lua_type(L, index) != LUA_TTABLE) luaL_error(L, "it is a %s", luaL_typename(L, index));
    size_t count = lua_rawlen(L, index);
    if (count == 0) {
        push_place(L, index);
        return;
    }
    lua_pushliteral(L, "");
    for (size_t i = 1; i <= count; i++) {
        if (i > 1) lua_pushliteral(L, ",");
        lua_rawgeti(L, index, (lua_Integer)i);
        if (lua_type(L, -1) == LUA_TTABLE) {
            push_place(L, lua_gettop(L));
            lua_remove(L, -2);
        } else if (lua_type(L, -1) != LUA_TSTRING) {
            luaL_error(L, "it holds a %s", luaL_typename(L, -1));
        }
        lua_concat(L, i > 1 ? 3 : 2);
    }
}
