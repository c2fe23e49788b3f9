/* Watches: pages of committed changes. */
#include "bridge/bind.h"

static const char *const kinds[] = {"", "put", "del", "expire"};

/* { {kind =, key =, value =, version =, time_ms =}, …, message =, code =, ready = } */
static int push_page(lua_State *L, const void *payload)
{
    const struct myco_watch_page *page = payload;
    lua_createtable(L, (int)page->count, 3);
    for (size_t i = 0; i < page->count; i++) {
        const struct myco_change_event *event = &page->events[i];
        lua_createtable(L, 0, 5);
        lua_pushstring(L, kinds[event->kind]);
        lua_setfield(L, -2, "kind");
        lua_pushlstring(L, event->key.data, event->key.size);
        lua_setfield(L, -2, "key");
        lua_pushinteger(L, (lua_Integer)event->version);
        lua_setfield(L, -2, "version");
        lua_pushinteger(L, (lua_Integer)event->time_ms);
        lua_setfield(L, -2, "time_ms");
        if (event->kind == MYCO_WATCH_PUT) {
            lua_pushlstring(L, event->value.size ? event->value.data : "", event->value.size);
            lua_setfield(L, -2, "value");
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushboolean(L, page->ready);
    lua_setfield(L, -2, "ready");
    if (page->status) {
        lua_pushstring(L, page->message);
        lua_setfield(L, -2, "message");
        lua_pushstring(L, myco_errname(page->status));
        lua_setfield(L, -2, "code");
    }
    return 1;
}

/* Paused after each page: Lua asks for more when it has worked on it. */
static bool on_page(const struct myco_watch_page *page, void *data)
{
    myco__call_deliver(data, push_page, page);
    return false;
}

static void unwatch(struct myco__held *held)
{
    myco_unwatch(held->handle, NULL, NULL); /* on the loop: no page comes after it */
    myco__call_drop(held->call);
}

/* watch(septum, prefix, token, node, function(page)): a watch, for release(); paused after each
 * page until watch_more(). */
static int watch_start(lua_State *L)
{
    struct myco_err err = {0};
    struct myco_watch *watch;
    struct myco_septum *septum = myco__check_septum(L, 1);
    struct myco_slice prefix = myco__check_slice(L, 2), token = myco__check_slice(L, 3);
    struct myco *node = myco__check_node(L, 4);
    lua_pushvalue(L, 4);
    lua_insert(L, 1); /* where holding looks for the node */
    struct myco__held *held = myco__hold(L, node, myco__call_new(L, 6), unwatch);
    if (myco_watch(septum, prefix, token, on_page, held->call, &watch, &err))
        return myco__hold_failed(L, held, &err);
    held->handle = watch;
    return 1;
}

/* watch_more(watch) */
static int watch_more(lua_State *L)
{
    struct myco__held *held = myco__check_held(L, 1);
    if (held && held->release == unwatch) myco_watch_resume(held->handle);
    return 0;
}

/* watch_token(watch): bytes, for a later watch(). */
static int watch_token(lua_State *L)
{
    struct myco_err err = {0};
    struct myco_value token;
    struct myco__held *held = myco__check_held(L, 1);
    if (!held || held->release != unwatch)
        return myco__push_failure(L, MYCO_ECLOSED, "the watch is closed");
    if (myco_watch_token(held->handle, &token, &err)) return myco__push_err(L, &err);
    lua_pushlstring(L, token.data, token.size);
    myco_value_release(&token);
    return 1;
}

const luaL_Reg myco__bind_watch[] = {
    {"watch", watch_start}, {"watch_more", watch_more}, {"watch_token", watch_token}, {NULL, NULL}};
