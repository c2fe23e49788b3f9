/* Events: subscribe, publish, request, flush. (Unsubscribing is release().) */
#include "bridge/bind.h"

static int push_message(lua_State *L, const void *payload)
{
    const struct myco_msg *msg = payload;
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, msg->subject.data, msg->subject.size);
    lua_setfield(L, -2, "subject");
    lua_pushlstring(L, msg->data.data ? msg->data.data : "", msg->data.size);
    lua_setfield(L, -2, "data");
    if (msg->reply.size) {
        lua_pushlstring(L, msg->reply.data, msg->reply.size);
        lua_setfield(L, -2, "reply");
    }
    lua_pushinteger(L, (lua_Integer)msg->publisher);
    lua_setfield(L, -2, "publisher");
    if (msg->fence.name) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, msg->fence.name);
        lua_setfield(L, -2, "name");
        lua_pushinteger(L, (lua_Integer)msg->fence.epoch);
        lua_setfield(L, -2, "epoch");
        lua_setfield(L, -2, "fence");
    }
    return 1;
}

static void on_message(const struct myco_msg *msg, void *data)
{
    myco__call_deliver(data, push_message, msg);
}

static void unsubscribe(struct myco__held *held)
{
    myco_unsubscribe(held->handle, NULL, NULL); /* on the loop: no message comes after it */
    myco__call_drop(held->call);
}

/* subscribe(node, subject, queue or nil, function(msg)): a subscription, for release(). */
static int cytoplasm_subscribe(lua_State *L)
{
    struct myco_err err = {0};
    struct myco_sub *sub;
    struct myco *node = myco__check_node(L, 1);
    const char *subject = luaL_checkstring(L, 2);
    struct myco_sub_options options = {.queue = luaL_optstring(L, 3, NULL)};
    struct myco__held *held = myco__hold(L, node, myco__call_new(L, 4), unsubscribe);
    if (myco_subscribe(node, subject, &options, on_message, held->call, &sub, &err))
        return myco__hold_failed(L, held, &err);
    held->handle = sub;
    return 1;
}

/* publish(node, subject, data, reply or nil, fence or nil, epoch) */
static int cytoplasm_publish(lua_State *L)
{
    struct myco_err err = {0};
    struct myco *node = myco__check_node(L, 1);
    const char *subject = luaL_checkstring(L, 2);
    struct myco_publish_options options = {.size = sizeof options,
        .reply = luaL_optstring(L, 4, NULL),
        .fence = myco__check_fence(L, 5)};
    if (myco_publish_with(node, subject, myco__check_slice(L, 3), &options, &err))
        return myco__push_err(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int push_answer(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status) return myco__push_failed_result(L, result);
    lua_pushlstring(L, result->value.data ? result->value.data : "", result->value.size);
    return 1;
}

static void on_answer(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_answer, result);
}

/* request(node, subject, data, timeout_ms, callback): the first answer. */
static int cytoplasm_request(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    const char *subject = luaL_checkstring(L, 2);
    struct myco_slice data = myco__check_slice(L, 3);
    unsigned timeout_ms = myco__optional_ms(L, 4);
    struct myco__call *call = myco__call_new(L, 5);
    return myco__started(
        L, myco_request_async(node, subject, data, timeout_ms, on_answer, call), call);
}

static int push_done(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status) return myco__push_failed_result(L, result);
    lua_pushboolean(L, 1);
    return 1;
}

static void on_flushed(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_done, result);
}

/* flush(node, timeout_ms, callback): all connected nodes know this node's subscriptions. */
static int cytoplasm_flush(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    unsigned timeout_ms = myco__optional_ms(L, 2);
    struct myco__call *call = myco__call_new(L, 3);
    return myco__started(L, myco_flush_async(node, timeout_ms, on_flushed, call), call);
}

const luaL_Reg myco__bind_cytoplasm[] = {{"subscribe", cytoplasm_subscribe},
    {"publish", cytoplasm_publish}, {"request", cytoplasm_request}, {"flush", cytoplasm_flush},
    {NULL, NULL}};
