/* Following what happens to the cluster, and an operator's hand in it. */
#include "bridge/bind.h"
#include "bridge/msgpack.h"

static int push_event(lua_State *L, const void *payload)
{
    const struct myco_event *event = payload;
    const char *why;
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, (lua_Integer)event->sequence);
    lua_setfield(L, -2, "sequence");
    lua_pushinteger(L, (lua_Integer)event->time_ms);
    lua_setfield(L, -2, "time_ms");
    lua_pushstring(L, event->kind);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, event->subject);
    lua_setfield(L, -2, "subject");
    lua_pushstring(L, event->text);
    lua_setfield(L, -2, "text");
    if (myco__msgpack_push(L, event->fields, &why) == 0) lua_newtable(L);
    lua_setfield(L, -2, "fields");
    return 1;
}

static void on_event(const struct myco_event *event, void *data)
{
    myco__call_deliver(data, push_event, event);
}

static void unfollow(struct myco__held *held)
{
    myco_unfollow(held->handle, NULL, NULL); /* on the loop: no event comes after it */
    myco__call_drop(held->call);
}

/* follow(node, from, function(event)): a follower, for release(). from: see myco_follow(); -1
 * begins with the next event. */
static int follow(lua_State *L)
{
    struct myco_err err = {0};
    struct myco_follower *follower;
    struct myco *node = myco__check_node(L, 1);
    lua_Integer from = luaL_checkinteger(L, 2);
    struct myco__held *held = myco__hold(L, node, myco__call_new(L, 3), unfollow);
    if (myco_follow(
            node, from < 0 ? UINT64_MAX : (uint64_t)from, on_event, held->call, &follower, &err))
        return myco__hold_failed(L, held, &err);
    held->handle = follower;
    return 1;
}

/* lead_transfer(node, to or nil): begun. */
static int lead_transfer(lua_State *L)
{
    struct myco_err err = {0};
    struct myco *node = myco__check_node(L, 1);
    if (myco_lead_transfer(node, luaL_optstring(L, 2, NULL), &err)) return myco__push_err(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* keys_change(node, verb, key): begun. */
static int keys_change(lua_State *L)
{
    struct myco_err err = {0};
    struct myco *node = myco__check_node(L, 1);
    if (myco_keys_change(node, luaL_checkstring(L, 2), luaL_checkstring(L, 3), &err))
        return myco__push_err(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

const luaL_Reg myco__bind_follow[] = {{"follow", follow}, {"lead_transfer", lead_transfer},
    {"keys_change", keys_change}, {NULL, NULL}};
