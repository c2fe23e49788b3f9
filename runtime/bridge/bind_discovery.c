/* Discovery: the addresses to ask, and the part of the node's object store that it may use:
 * everything below discovery/. */
#include <stdio.h>

#include "base/err.h"
#include "bridge/bind.h"
#include "object/object.h"

#define PREFIX          "discovery/"
#define OBJECT_SIZE_MAX (64 * 1024)
#define LIST_MAX        4096

/* join(node, "ADDRESS:PORT,…") */
static int discovery_join(lua_State *L)
{
    struct myco_err err = {0};
    if (myco_join(myco__check_node(L, 1), luaL_checkstring(L, 2), &err))
        return myco__push_err(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* discovered(ok): a source was asked, for the metrics. */
static int discovery_discovered(lua_State *L)
{
    struct myco_metrics *metrics = myco__state_of(L)->metrics;
    if (!metrics) return 0;
    MYCO_METRIC_ADD(metrics, DISCOVERY_RUNS, 1);
    if (!lua_toboolean(L, 1)) MYCO_METRIC_ADD(metrics, DISCOVERY_ERRORS, 1);
    return 0;
}

/* warned(system, sentence): into the log, of something that the node goes on in spite of. */
static int discovery_warned(lua_State *L)
{
    const char *system = luaL_checkstring(L, 1), *sentence = luaL_checkstring(L, 2);
    MYCO_WARN(myco__state_of(L)->log, system, sentence, "%s", "");
    return 0;
}

/* ── The store ── each: store_…(…, callback): true, and the callback gets what is said, or nil,
 * message, code; without a store nil, message, code at once */

static struct myco_object *check_store(lua_State *L)
{
    return myco__state_of(L)->store;
}

static int no_store(lua_State *L)
{
    return myco__push_failure(L, MYCO_ENOTSUP, "this node has no object store (option store)");
}

/* The key at `index` with the prefix before it, on the stack. */
static const char *push_key(lua_State *L, int index)
{
    return lua_pushfstring(L, PREFIX "%s", luaL_checkstring(L, index));
}

struct answer {
    int status;
    const char *message;
    struct myco_buf *bytes;
    const struct myco_object_info *infos;
    size_t count;
};

static int push_done(lua_State *L, const void *payload)
{
    const struct answer *answer = payload;
    if (answer->status)
        return myco__push_failure(
            L, answer->status, answer->message ? answer->message : myco_strerror(answer->status));
    lua_pushboolean(L, 1);
    return 1;
}

static void on_done(int status, const char *message, void *data)
{
    myco__call_finish(data, push_done, &(struct answer){.status = status, .message = message});
}

static int push_bytes(lua_State *L, const void *payload)
{
    const struct answer *answer = payload;
    if (answer->status) return push_done(L, payload);
    const void *bytes = answer->bytes->data;
    lua_pushlstring(L, bytes ? bytes : "", answer->bytes->size);
    return 1;
}

static void on_bytes(int status, const char *message, struct myco_buf *bytes, void *data)
{
    myco__call_finish(
        data, push_bytes, &(struct answer){.status = status, .message = message, .bytes = bytes});
}

static int push_list(lua_State *L, const void *payload)
{
    const struct answer *answer = payload;
    if (answer->status) return push_done(L, payload);
    lua_newtable(L);
    for (size_t i = 0; i < answer->count && i < LIST_MAX; i++) {
        const struct myco_object_info *info = &answer->infos[i];
        lua_createtable(L, 0, 3);
        lua_pushstring(L, info->key + sizeof PREFIX - 1);
        lua_setfield(L, -2, "key");
        lua_pushinteger(L, (lua_Integer)info->size);
        lua_setfield(L, -2, "size");
        lua_pushinteger(L, (lua_Integer)info->modified_ms);
        lua_setfield(L, -2, "modified_ms");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void on_list(
    int status, const char *message, const struct myco_object_info *infos, size_t count, void *data)
{
    myco__call_finish(data, push_list,
        &(struct answer){.status = status, .message = message, .infos = infos, .count = count});
}

static int started(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

static int store_put(lua_State *L) /* (key, bytes, callback) */
{
    struct myco_object *store = check_store(L);
    if (!store) return no_store(L);
    struct myco_slice bytes = myco__check_slice(L, 2);
    if (bytes.size > OBJECT_SIZE_MAX)
        return myco__push_failure(L, MYCO_ETOOBIG, "an object of discovery has 64 KiB at most");
    const char *key = push_key(L, 1);
    store->ops->put(store, key, bytes, 0, on_done, myco__call_new(L, 3));
    return started(L);
}

static int store_get(lua_State *L) /* (key, callback): its first 64 KiB */
{
    struct myco_object *store = check_store(L);
    if (!store) return no_store(L);
    const char *key = push_key(L, 1);
    store->ops->get(store, key, 0, OBJECT_SIZE_MAX, on_bytes, myco__call_new(L, 2));
    return started(L);
}

static int store_list(lua_State *L) /* (prefix, callback): {{key, size, modified_ms}, …}, 4,096 */
{
    struct myco_object *store = check_store(L);
    if (!store) return no_store(L);
    const char *prefix = push_key(L, 1);
    store->ops->list(store, prefix, on_list, myco__call_new(L, 2));
    return started(L);
}

static int store_del(lua_State *L) /* (key, callback) */
{
    struct myco_object *store = check_store(L);
    if (!store) return no_store(L);
    const char *key = push_key(L, 1);
    store->ops->del(store, key, on_done, myco__call_new(L, 2));
    return started(L);
}

const luaL_Reg myco__bind_discovery[] = {{"join", discovery_join},
    {"discovered", discovery_discovered}, {"warned", discovery_warned}, {"store_put", store_put},
    {"store_get", store_get}, {"store_list", store_list}, {"store_del", store_del}, {NULL, NULL}};
