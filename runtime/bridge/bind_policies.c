/* The module mycorrizal.policies: policies from their source, without a node: check, describe,
 * ask. */
#include <stdio.h>

#include "bridge/bind.h"
#include "bridge/msgpack.h"
#include "bridge/policy_source.h"
#include "consensus/policy.h"

static int check_kind(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    int kind = myco_policy_kind_from_name(myco_str(name));
    if (kind < 0) luaL_argerror(L, index, "no kind of policy");
    return kind;
}

/* check(kind, name, source): true, or nil and why it is refused. */
static int policies_check(lua_State *L)
{
    struct myco_err err = {0};
    int kind = check_kind(L, 1);
    if (myco__policy_check(kind, luaL_checkstring(L, 2), myco__check_slice(L, 3), &err))
        return myco__push_err(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int push_document(lua_State *L, struct myco_buf *document)
{
    const char *why;
    if (myco__msgpack_push(L, myco_buf_as_slice(document), &why) == 0)
        return myco__push_failure(L, MYCO_EPROTO, why);
    return 1;
}

/* describe(name, source): {kind, name, doc, options, source}. */
static int policies_describe(lua_State *L)
{
    struct myco_err err = {0};
    const char *name = luaL_checkstring(L, 1);
    struct myco_slice source = myco__check_slice(L, 2);
    struct myco_buf *out = myco__new_buf(L);
    if (myco__policy_describe(name, source, out, &err)) return myco__push_err(L, &err);
    return push_document(L, out);
}

/* ask(kind, name, source, world): the answer, as the cluster would get it. */
static int policies_ask(lua_State *L)
{
    struct myco_err err = {0};
    const char *why;
    int kind = check_kind(L, 1);
    const char *name = luaL_checkstring(L, 2);
    struct myco_slice source = myco__check_slice(L, 3);
    luaL_checktype(L, 4, LUA_TTABLE);
    struct myco_buf *world = myco__new_buf(L), *answer = myco__new_buf(L);
    if (!myco__msgpack_pack(L, 4, world, &why)) return luaL_error(L, "the world: %s", why);
    if (myco__policy_ask(kind, name, source, myco_buf_as_slice(world), answer, &err))
        return myco__push_err(L, &err);
    return push_document(L, answer);
}

/* kinds(): {{kind, asks = function, default = name or nil}, …} */
static int policies_kinds(lua_State *L)
{
    lua_newtable(L);
    for (int kind = 0; kind < MYCO_POLICY_KIND_COUNT; kind++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, myco_policy_kind_name(kind));
        lua_setfield(L, -2, "kind");
        lua_pushstring(L, myco_policy_function(kind));
        lua_setfield(L, -2, "asks");
        lua_pushstring(L, myco__policy_default(kind));
        lua_setfield(L, -2, "default");
        lua_rawseti(L, -2, kind + 1);
    }
    return 1;
}

int myco__open_policies(lua_State *L)
{
    static const luaL_Reg functions[] = {{"check", policies_check}, {"describe", policies_describe},
        {"ask", policies_ask}, {"kinds", policies_kinds}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
