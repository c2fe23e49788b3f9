/* Septa: put, get, del, count, scan. Keys and values are strings here; what they mean is Lua's
 * business. */
#include "base/mem.h"
#include "bridge/bind.h"

#define SEPTUM "mycorrizal.septum"

struct myco_septum *myco__check_septum(lua_State *L, int index)
{
    struct myco_septum **septum = luaL_checkudata(L, index, SEPTUM);
    myco__check_alive(L, index);
    return *septum;
}

/* ── Opening ── */

struct opening {
    struct myco__call *call;
    int node; /* reference: a septum keeps its node */
};

struct opened {
    struct myco_septum *septum;
    int status, node;
    const char *message;
};

static int push_septum(lua_State *L, const void *payload)
{
    const struct opened *opened = payload;
    int reference = opened->node;
    if (opened->status) {
        luaL_unref(L, LUA_REGISTRYINDEX, reference);
        return myco__push_failure(L, opened->status, opened->message);
    }
    struct myco_septum **septum = lua_newuserdatauv(L, sizeof *septum, 1);
    *septum = opened->septum;
    luaL_newmetatable(L, SEPTUM);
    lua_setmetatable(L, -2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, reference);
    lua_setiuservalue(L, -2, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, reference);
    return 1;
}

static void on_septum(struct myco_septum *septum, int status, const char *message, void *data)
{
    struct opening *opening = data;
    struct opened opened = {septum, status, opening->node, message};
    myco__call_finish(opening->call, push_septum, &opened);
    myco_free(opening);
}

/* septum(node, name, spec or nil, timeout_ms, callback): the handle. */
static int mycel_septum(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    const char *name = luaL_checkstring(L, 2), *spec = luaL_optstring(L, 3, NULL);
    unsigned timeout_ms = myco__optional_ms(L, 4);
    struct myco__call *call = myco__call_new(L, 5);
    lua_pushvalue(L, 1);
    int reference = luaL_ref(L, LUA_REGISTRYINDEX);
    struct opening *opening = myco_alloc(sizeof *opening);
    *opening = (struct opening){call, reference};
    int status = myco_septum_async(node, name, spec, timeout_ms, on_septum, opening);
    if (status == 0) return myco__started(L, 0, NULL);
    luaL_unref(L, LUA_REGISTRYINDEX, reference);
    myco_free(opening);
    return myco__started(L, status, call);
}

static int push_altered(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status) return myco__push_failed_result(L, result);
    lua_pushinteger(L, (lua_Integer)result->version);
    return 1;
}

static void on_altered(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_altered, result);
}

/* septum_alter(node, name, spec, timeout_ms, callback): how often its options were changed. */
static int mycel_septum_alter(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    const char *name = luaL_checkstring(L, 2), *spec = luaL_checkstring(L, 3);
    unsigned timeout_ms = myco__optional_ms(L, 4);
    struct myco__call *call = myco__call_new(L, 5);
    return myco__started(
        L, myco_septum_alter_async(node, name, spec, timeout_ms, on_altered, call), call);
}

/* ── One key ── */

static int push_put(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status) return myco__push_failed_result(L, result);
    lua_pushinteger(L, (lua_Integer)result->version);
    return 1;
}

static void on_put(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_put, result);
}

static int push_get(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status == MYCO_ENOTFOUND) return 0;
    if (result->status) return myco__push_failed_result(L, result);
    lua_pushlstring(L, result->value.data ? result->value.data : "", result->value.size);
    lua_pushinteger(L, (lua_Integer)result->version);
    if (result->expires_in_ms == 0) return 2;
    lua_pushinteger(L, (lua_Integer)result->expires_in_ms);
    return 3;
}

static void on_get(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_get, result);
}

static int push_del(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status && result->status != MYCO_ENOTFOUND)
        return myco__push_failed_result(L, result);
    lua_pushboolean(L, result->status == 0);
    return 1;
}

static void on_del(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_del, result);
}

/* name or nil, epoch from `first` on; lent as long as the arguments. */
struct myco_fence myco__check_fence(lua_State *L, int first)
{
    struct myco_fence fence = {luaL_optstring(L, first, NULL), 0};
    if (fence.name) fence.epoch = (uint64_t)luaL_checkinteger(L, first + 1);
    return fence;
}

/* if_version, ttl_ms, if_absent, timeout_ms from `first` on. */
static struct myco_put_options check_put_options(lua_State *L, int first)
{
    struct myco_put_options options = {0};
    options.if_version = (uint64_t)luaL_optinteger(L, first, 0);
    lua_Integer ttl_ms = luaL_optinteger(L, first + 1, 0);
    luaL_argcheck(L, ttl_ms >= 0, first + 1, "milliseconds, not negative");
    options.ttl_ms = (uint64_t)ttl_ms;
    options.if_absent = lua_toboolean(L, first + 2);
    options.timeout_ms = myco__optional_ms(L, first + 3);
    return options;
}

/* put(septum, key, value, if_version, ttl_ms, if_absent, timeout_ms, fence, epoch, callback): the
 * version. */
static int mycel_put(lua_State *L)
{
    struct myco_septum *septum = myco__check_septum(L, 1);
    struct myco_slice key = myco__check_slice(L, 2), value = myco__check_slice(L, 3);
    struct myco_put_options options = check_put_options(L, 4);
    options.fence = myco__check_fence(L, 8);
    struct myco__call *call = myco__call_new(L, 10);
    return myco__started(L, myco_put_async(septum, key, value, &options, on_put, call), call);
}

/* get(septum, key, timeout_ms, fence, epoch, callback): value, version, expires_in_ms; nil when
 * absent. */
static int mycel_get(lua_State *L)
{
    struct myco_septum *septum = myco__check_septum(L, 1);
    struct myco_slice key = myco__check_slice(L, 2);
    struct myco_get_options options = {
        .timeout_ms = myco__optional_ms(L, 3), .fence = myco__check_fence(L, 4)};
    struct myco__call *call = myco__call_new(L, 6);
    return myco__started(L, myco_get_with_async(septum, key, &options, on_get, call), call);
}

/* del(septum, key, if_version, timeout_ms, fence, epoch, callback): true, or false when it was
 * absent. */
static int mycel_del(lua_State *L)
{
    struct myco_septum *septum = myco__check_septum(L, 1);
    struct myco_slice key = myco__check_slice(L, 2);
    struct myco_put_options options = {.if_version = (uint64_t)luaL_optinteger(L, 3, 0),
        .timeout_ms = myco__optional_ms(L, 4),
        .fence = myco__check_fence(L, 5)};
    struct myco__call *call = myco__call_new(L, 7);
    return myco__started(L, myco_del_async(septum, key, &options, on_del, call), call);
}

/* ── Many keys ── */

static int push_count(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status) return myco__push_failed_result(L, result);
    lua_pushinteger(L, (lua_Integer)result->count);
    return 1;
}

static void on_count(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_count, result);
}

/* count(septum, prefix, timeout_ms, callback) */
static int mycel_count(lua_State *L)
{
    struct myco_septum *septum = myco__check_septum(L, 1);
    struct myco_slice prefix = myco__check_slice(L, 2);
    unsigned timeout_ms = myco__optional_ms(L, 3);
    struct myco__call *call = myco__call_new(L, 4);
    return myco__started(
        L, myco_count_prefix_async(septum, prefix, timeout_ms, on_count, call), call);
}

static void push_slice(lua_State *L, struct myco_slice slice)
{
    lua_pushlstring(L, slice.data ? slice.data : "", slice.size);
}

/* {key, value, version, key, value, version, …}, cursor */
static int push_page(lua_State *L, const void *payload)
{
    const struct myco_page *page = payload;
    if (page->status) return myco__push_failure(L, page->status, page->message);
    lua_createtable(L, (int)page->count * 3, 0);
    for (size_t i = 0; i < page->count; i++) {
        push_slice(L, page->items[i].key);
        lua_rawseti(L, -2, (lua_Integer)i * 3 + 1);
        push_slice(L, page->items[i].value);
        lua_rawseti(L, -2, (lua_Integer)i * 3 + 2);
        lua_pushinteger(L, (lua_Integer)page->items[i].version);
        lua_rawseti(L, -2, (lua_Integer)i * 3 + 3);
    }
    push_slice(L, page->cursor);
    return 2;
}

static void on_page(const struct myco_page *page, void *data)
{
    myco__call_finish(data, push_page, page);
}

/* scan(septum, prefix, cursor, limit, keys_only, timeout_ms, callback): a page; cursor "" ends. */
static int mycel_scan(lua_State *L)
{
    struct myco_septum *septum = myco__check_septum(L, 1);
    struct myco_slice prefix = myco__check_slice(L, 2), cursor = myco__check_slice(L, 3);
    lua_Integer limit = luaL_checkinteger(L, 4);
    luaL_argcheck(L, limit >= 1 && limit <= 100000, 4, "from 1 to 100000");
    bool keys_only = lua_toboolean(L, 5);
    unsigned timeout_ms = myco__optional_ms(L, 6);
    struct myco__call *call = myco__call_new(L, 7);
    int status = myco_scan_async(
        septum, prefix, cursor, (unsigned)limit, keys_only, timeout_ms, on_page, call);
    return myco__started(L, status, call);
}

const luaL_Reg myco__bind_mycel[] = {{"septum", mycel_septum}, {"septum_alter", mycel_septum_alter},
    {"put", mycel_put}, {"get", mycel_get}, {"del", mycel_del}, {"count", mycel_count},
    {"scan", mycel_scan}, {NULL, NULL}};
