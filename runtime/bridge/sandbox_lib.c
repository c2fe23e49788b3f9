/* What a policy may call. Functions whose work is not bounded by the instructions of the caller
 * draw on its budget: see pattern_cost(). Left out on purpose: load, require, io, os, debug,
 * coroutine, pcall (a policy must not swallow the end of its budget), metatables (weak tables,
 * finalizers), collectgarbage, math.random, string.dump and pack. */
#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <math.h>

#include "base/hash.h"
#include "bridge/msgpack.h"
#include "bridge/sandbox.h"

#define UNPACK_MAX 256

/* ── Order ── */

static int next_pair(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
    for (;;) { /* keys that were removed meanwhile are passed over */
        lua_pushinteger(L, ++i);
        lua_replace(L, lua_upvalueindex(3));
        if (lua_rawgeti(L, lua_upvalueindex(2), i) == LUA_TNIL) return 1;
        lua_pushvalue(L, -1);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 2;
        lua_settop(L, 0);
    }
}

static void push_ordered_keys(lua_State *L, int index)
{
    size_t count;
    if (!myco__push_sorted_keys(L, index, &count))
        luaL_error(L, "a key is a table or a function: such keys have no order");
    myco__sandbox_charge(L, (double)count * 8);
}

static int ordered_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    push_ordered_keys(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_pair, 3);
    return 1;
}

/* next(t [, key]): sorts anew each time, and pays for it. pairs() is the cheap way. */
static int ordered_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    push_ordered_keys(L, 1);
    lua_Integer i = 0;
    bool found = lua_isnil(L, 2);
    while (!found && lua_rawgeti(L, 3, ++i) != LUA_TNIL) {
        found = lua_rawequal(L, 2, -1);
        lua_pop(L, 1);
    }
    if (!found) return luaL_error(L, "next: the key is not in the table");
    if (lua_rawgeti(L, 3, i + 1) == LUA_TNIL) return 1;
    lua_pushvalue(L, -1);
    lua_rawget(L, 1);
    return 2;
}

/* Whether item `b` must stand before item `a`; both at the top of the stack, which they leave. */
static bool goes_before(lua_State *L, int compare)
{
    bool before;
    if (compare) {
        lua_pushvalue(L, compare);
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -4);
        lua_call(L, 2, 1);
        before = lua_toboolean(L, -1);
        lua_pop(L, 3);
        return before;
    }
    before = lua_compare(L, -1, -2, LUA_OPLT);
    lua_pop(L, 2);
    return before;
}

static void merge(lua_State *L, int from, int to, lua_Integer low, lua_Integer middle,
    lua_Integer high, int compare)
{
    lua_Integer left = low, right = middle;
    for (lua_Integer at = low; at < high; at++) {
        bool take_right = left >= middle;
        if (left < middle && right < high) {
            lua_rawgeti(L, from, left);
            lua_rawgeti(L, from, right);
            take_right = goes_before(L, compare);
        }
        lua_rawgeti(L, from, take_right ? right++ : left++);
        lua_rawseti(L, to, at);
    }
}

static lua_Integer least(lua_Integer a, lua_Integer b)
{
    return a < b ? a : b;
}

/* table.sort(t [, before]): a merge sort, so that equal items keep their order and a comparison
 * that contradicts itself does no harm. */
static int stable_sort(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    int compare = lua_isnil(L, 2) ? 0 : 2;
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    myco__sandbox_charge(L, (double)n * (4 + 4 * log2((double)n + 1)));
    lua_createtable(L, (int)n, 0);
    int from = 1, to = 3;
    for (lua_Integer width = 1; width < n; width *= 2) {
        for (lua_Integer low = 1; low <= n; low += 2 * width)
            merge(L, from, to, low, least(low + width, n + 1), least(low + 2 * width, n + 1),
                compare);
        int swap = from;
        from = to, to = swap;
    }
    for (lua_Integer i = 1; from != 1 && i <= n; i++) {
        lua_rawgeti(L, from, i);
        lua_rawseti(L, 1, i);
    }
    return 0;
}

/* ── Text ── */

static int call_original(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* Tables, functions and the like by their type only: their addresses differ from run to run. */
static void hide_address(lua_State *L, int index)
{
    int type = lua_type(L, index);
    if (type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING)
        return;
    lua_pushstring(L, lua_typename(L, type));
    lua_replace(L, index);
}

static int plain_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    hide_address(L, 1);
    luaL_tolstring(L, 1, NULL);
    return 1;
}

static int bounded_format(lua_State *L)
{
    size_t size;
    const char *at = luaL_checklstring(L, 1, &size), *end = at + size;
    while ((at = memchr(at, '%', (size_t)(end - at)))) {
        at += 1 + strspn(at + 1, "-+ #0123456789."); /* Lua's strings end in a zero byte */
        if (*at == 'p') return luaL_error(L, "string.format: %%p is not available to policies");
        if (at < end) at++;
    }
    for (int i = lua_gettop(L); i > 1; i--) hide_address(L, i);
    return call_original(L);
}

/* An upper bound of a match's backtracking: each of k repetitions can end in n places, and it is
 * tried from n starts. */
static double pattern_cost(size_t subject, const char *pattern, size_t size)
{
    double cost = size && *pattern == '^' ? 1 : (double)subject + 1;
    for (size_t i = 0; i < size && cost < 1e12; i++) {
        bool repeats = strchr("*+-?", pattern[i]) && pattern[i];
        bool balance =
            pattern[i] == '%' && i + 1 < size && (pattern[i + 1] == 'b' || pattern[i + 1] == 'f');
        if (repeats || balance) cost *= (double)subject + 1;
    }
    return cost * (1 + (double)size / 16) / 4;
}

static int bounded_pattern(lua_State *L)
{
    size_t subject, size;
    luaL_checklstring(L, 1, &subject);
    const char *pattern = luaL_checklstring(L, 2, &size);
    myco__sandbox_charge(L, pattern_cost(subject, pattern, size));
    return call_original(L);
}

static int bounded_find(lua_State *L)
{
    size_t subject, size;
    luaL_checklstring(L, 1, &subject);
    luaL_checklstring(L, 2, &size);
    if (!lua_toboolean(L, 4)) return bounded_pattern(L);
    myco__sandbox_charge(L, (double)subject * (double)size / 64 + 1);
    return call_original(L);
}

static int bounded_rep(lua_State *L)
{
    size_t size, separator;
    luaL_checklstring(L, 1, &size);
    lua_Integer times = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &separator);
    if (times > 0 && (double)times * (double)(size + separator) > MYCO_SANDBOX_STRING_MAX)
        return luaL_error(L, "string.rep: the result is longer than 16 KiB");
    return call_original(L);
}

static int bounded_byte(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_Integer from = luaL_optinteger(L, 2, 1), to = luaL_optinteger(L, 3, from);
    if (from > 0 && to >= from && to - from < UNPACK_MAX) return call_original(L);
    if (from == to || (from < 0 && to < 0 && to - from < UNPACK_MAX)) return call_original(L);
    return luaL_error(L, "string.byte: at most %d at once", UNPACK_MAX);
}

/* ── Tables ── */

static int bounded_list(lua_State *L) /* insert, remove: may move everything */
{
    luaL_checktype(L, 1, LUA_TTABLE);
    myco__sandbox_charge(L, (double)lua_rawlen(L, 1) / 4 + 1);
    return call_original(L);
}

static int bounded_append(lua_State *L)
{
    return lua_gettop(L) == 2 && lua_istable(L, 1) ? call_original(L) : bounded_list(L);
}

static double range_length(lua_State *L, int first)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer from = luaL_optinteger(L, first, 1);
    lua_Integer to = luaL_optinteger(L, first + 1, (lua_Integer)lua_rawlen(L, 1));
    return to < from ? 0 : (double)to - (double)from + 1;
}

static int bounded_concat(lua_State *L)
{
    myco__sandbox_charge(L, range_length(L, 3) + 1);
    return call_original(L);
}

static int bounded_unpack(lua_State *L)
{
    if (range_length(L, 2) > UNPACK_MAX)
        return luaL_error(L, "table.unpack: at most %d at once", UNPACK_MAX);
    return call_original(L);
}

/* ── Numbers ── */

/* hash(text [, number]): 64 bits, the same on every machine and for ever; compare with math.ult. */
static int hash(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    uint64_t value = myco_hash(text, size);
    if (!lua_isnoneornil(L, 2)) value = myco_hash_mix(value, (uint64_t)luaL_checkinteger(L, 2));
    lua_pushinteger(L, (lua_Integer)value);
    return 1;
}

/* ── The globals ── */

/* A bound of NULL: as it is in Lua. */
struct offered {
    const char *name;
    lua_CFunction bound;
};

static const struct offered base_functions[] = {
    {"assert"}, {"error"}, {"ipairs"}, {"select"}, {"tonumber"}, {"type"}, {NULL}};
static const struct offered string_functions[] = {{"byte", bounded_byte}, {"char"},
    {"find", bounded_find}, {"format", bounded_format}, {"gmatch", bounded_pattern},
    {"gsub", bounded_pattern}, {"len"}, {"lower"}, {"match", bounded_pattern}, {"rep", bounded_rep},
    {"reverse"}, {"sub"}, {"upper"}, {NULL}};
static const struct offered table_functions[] = {{"concat", bounded_concat},
    {"insert", bounded_append}, {"remove", bounded_list}, {"unpack", bounded_unpack}, {NULL}};
static const struct offered math_functions[] = {{"abs"}, {"ceil"}, {"exp"}, {"floor"}, {"fmod"},
    {"huge"}, {"log"}, {"max"}, {"maxinteger"}, {"min"}, {"mininteger"}, {"modf"}, {"pi"}, {"sqrt"},
    {"tointeger"}, {"type"}, {"ult"}, {NULL}};

/* Copies what is offered of the library at the top into a fresh table, which takes its place. */
static void offer(lua_State *L, const struct offered *functions)
{
    lua_newtable(L);
    for (; functions->name; functions++) {
        lua_getfield(L, -2, functions->name);
        if (functions->bound) lua_pushcclosure(L, functions->bound, 1);
        lua_setfield(L, -2, functions->name);
    }
    lua_remove(L, -2);
}

static void offer_library(
    lua_State *L, const char *name, lua_CFunction open, const struct offered *functions)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    offer(L, functions);
}

static void set_function(lua_State *L, const char *name, lua_CFunction function)
{
    lua_pushcfunction(L, function);
    lua_setfield(L, -2, name);
}

void myco__sandbox_push_globals(lua_State *L)
{
    offer_library(L, "_G", luaopen_base, base_functions);
    set_function(L, "pairs", ordered_pairs);
    set_function(L, "next", ordered_next);
    set_function(L, "tostring", plain_tostring);
    set_function(L, "hash", hash);
    offer_library(L, "table", luaopen_table, table_functions);
    set_function(L, "sort", stable_sort);
    lua_setfield(L, -2, "table");
    offer_library(L, "math", luaopen_math, math_functions);
    lua_setfield(L, -2, "math");
    offer_library(L, "string", luaopen_string, string_functions);
    lua_pushliteral(L, ""); /* ("x"):rep() goes the same way */
    lua_getmetatable(L, -1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
    lua_setfield(L, -2, "string");
}
