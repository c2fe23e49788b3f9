/* Changes of keys: what the primary computes from what is there. */
#include <string.h>

#include "bridge/bind.h"

static const char *const kinds[] = {
    "get", "put", "del", "incr", "append", "touch", "expire", "swap", "take", "check", NULL};

/* value or nil, version, expires_in_ms, count; false when there is no such key */
static int push_changed(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status == MYCO_ENOTFOUND) {
        lua_pushboolean(L, 0);
        return 1;
    }
    if (result->status) return myco__push_failed_result(L, result);
    lua_pushlstring(L, result->value.data ? result->value.data : "", result->value.size);
    lua_pushinteger(L, (lua_Integer)result->version);
    lua_pushinteger(L, (lua_Integer)result->expires_in_ms);
    lua_pushinteger(L, (lua_Integer)result->count);
    return 4;
}

static void on_changed(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_changed, result);
}

static lua_Integer field_integer(lua_State *L, int index, const char *name, lua_Integer otherwise)
{
    lua_getfield(L, index, name);
    int whole = 1;
    lua_Integer number = lua_isnil(L, -1) ? otherwise : lua_tointegerx(L, -1, &whole);
    if (!whole) luaL_error(L, "%s: not a whole number", name);
    lua_pop(L, 1);
    return number;
}

static bool field_flag(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    bool flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

/* Lent as long as the table lies on the stack. */
static struct myco_slice field_slice(lua_State *L, int index, const char *name)
{
    struct myco_slice slice = {NULL, 0};
    lua_getfield(L, index, name);
    if (lua_type(L, -1) == LUA_TSTRING)
        slice.data = lua_tolstring(L, -1, &slice.size);
    else if (!lua_isnil(L, -1))
        luaL_error(L, "%s: not a string", name);
    lua_pop(L, 1);
    return slice;
}

/* A table {kind =, key =, value =, …}; key and value are lent as long as the table has them. */
static struct myco_change check_change(lua_State *L, int index)
{
    luaL_checktype(L, index, LUA_TTABLE);
    struct myco_change change = {.key = field_slice(L, index, "key"),
        .value = field_slice(L, index, "value"),
        .if_absent = field_flag(L, index, "if_absent"),
        .if_present = field_flag(L, index, "if_present"),
        .keep_ttl = field_flag(L, index, "keep_ttl")};
    change.if_version = (uint64_t)field_integer(L, index, "if_version", 0);
    change.ttl_ms = (uint64_t)field_integer(L, index, "ttl_ms", 0); /* -1: never expires */
    change.delta = field_integer(L, index, "delta", 0);
    change.initial = field_integer(L, index, "initial", 0);
    struct myco_slice kind = field_slice(L, index, "kind");
    for (int i = 0; kinds[i]; i++)
        if (kind.data && strcmp(kinds[i], kind.data) == 0)
            change.kind = (enum myco_change_kind)(MYCO_CHANGE_GET + i);
    return change;
}

/* change(septum, {kind =, key =, value =, …}, timeout_ms, fence, epoch, callback) */
static int ops_change(lua_State *L)
{
    struct myco_septum *septum = myco__check_septum(L, 1);
    struct myco_change change = check_change(L, 2);
    struct myco_change_options options = MYCO_CHANGE_OPTIONS_INIT;
    options.timeout_ms = myco__optional_ms(L, 3);
    options.fence = myco__check_fence(L, 4);
    struct myco__call *call = myco__call_new(L, 6);
    return myco__started(L, myco_change_async(septum, &change, &options, on_changed, call), call);
}

/* ── many ── */

struct results {
    const struct myco_result *items;
    size_t count;
};

/* A list of { value = , version = , expires_in_ms = , count = } or { message = , code = }. */
static int push_results(lua_State *L, const void *payload)
{
    const struct results *results = payload;
    if (!results->count) return myco__push_failure(L, MYCO_ENOMEM, NULL);
    lua_createtable(L, (int)results->count, 0);
    for (size_t i = 0; i < results->count; i++) {
        const struct myco_result *result = &results->items[i];
        lua_createtable(L, 0, 4);
        if (result->status) {
            lua_pushstring(L, result->message);
            lua_setfield(L, -2, "message");
            lua_pushstring(L, myco_errname(result->status));
            lua_setfield(L, -2, "code");
        } else {
            lua_pushlstring(L, result->value.data ? result->value.data : "", result->value.size);
            lua_setfield(L, -2, "value");
            lua_pushinteger(L, (lua_Integer)result->version);
            lua_setfield(L, -2, "version");
            lua_pushinteger(L, (lua_Integer)result->expires_in_ms);
            lua_setfield(L, -2, "expires_in_ms");
            lua_pushinteger(L, (lua_Integer)result->count);
            lua_setfield(L, -2, "count");
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void on_results(const struct myco_result *items, size_t count, void *data)
{
    struct results results = {items, count};
    myco__call_finish(data, push_results, &results);
}

/* A list of changes, in a userdata that it leaves on the stack; their bytes belong to the list. */
static struct myco_change *check_changes(lua_State *L, int index, size_t *count)
{
    luaL_checktype(L, index, LUA_TTABLE);
    *count = (size_t)luaL_len(L, index);
    luaL_argcheck(L, *count >= 1 && *count <= 65536, index, "from 1 to 65536 changes");
    struct myco_change *changes = lua_newuserdatauv(L, *count * sizeof *changes, 0);
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        changes[i] = check_change(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    return changes;
}

/* many(septum, {change, …}, timeout_ms, fence, epoch, callback) */
static int ops_many(lua_State *L)
{
    struct myco_septum *septum = myco__check_septum(L, 1);
    struct myco_change_options options = MYCO_CHANGE_OPTIONS_INIT;
    options.timeout_ms = myco__optional_ms(L, 3);
    options.fence = myco__check_fence(L, 4);
    size_t count;
    struct myco_change *changes = check_changes(L, 2, &count);
    struct myco__call *call = myco__call_new(L, 6);
    int status = myco_many_async(septum, changes, count, &options, on_results, call);
    return myco__started(L, status, call);
}

const luaL_Reg myco__bind_ops[] = {{"change", ops_change}, {"many", ops_many}, {NULL, NULL}};
