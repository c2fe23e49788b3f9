/* The contract of a policy file.
 *
 *     return {
 *       kind = "placement",            the kind it was given for
 *       doc = "One sentence.",
 *       options = { spread = { type = "string", default = "zone", doc = "…" } },     may be absent
 *       place = function(world, options) … end,                                      the kind's
 * function examples = { { given = world, expect = value or function(answer, given) … end }, … },
 *     }
 *
 * An example whose `expect` is a function fails when that raises or returns false. */
#include "bridge/contract.h"

#include <lauxlib.h>

#include "bridge/answers.h"
#include "bridge/msgpack.h"
#include "bridge/sandbox.h"
#include "consensus/policy.h"

static bool known_field(const char *field, int kind)
{
    static const char *const fields[] = {"kind", "doc", "options", "examples"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(field, fields[i]) == 0) return true;
    return strcmp(field, myco_policy_function(kind)) == 0;
}

static void check_no_unknown_field(lua_State *L, int policy, int kind)
{
    for (lua_pushnil(L); lua_next(L, policy); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "has a field whose name is no string");
        const char *field = lua_tostring(L, -2);
        if (!known_field(field, kind))
            luaL_error(L, "has an unknown field '%s' (known: kind, doc, options, %s, examples)",
                field, myco_policy_function(kind));
    }
}

static void check_kind(lua_State *L, int policy, int kind)
{
    const char *wanted = myco_policy_kind_name(kind);
    if (lua_getfield(L, policy, "kind") != LUA_TSTRING) luaL_error(L, "does not say its kind");
    if (strcmp(lua_tostring(L, -1), wanted) != 0)
        luaL_error(L, "is of kind '%s', not '%s'", lua_tostring(L, -1), wanted);
    lua_pop(L, 1);
    if (!myco__answer_known(kind)) luaL_error(L, "nothing asks a policy of kind '%s' yet", wanted);
}

static void check_doc(lua_State *L, int table, const char *what)
{
    if (lua_getfield(L, table, "doc") != LUA_TSTRING || lua_rawlen(L, -1) == 0)
        luaL_error(L, "%s has no doc", what);
    lua_pop(L, 1);
}

/* The option's name and description are at the top. */
static void check_option(lua_State *L)
{
    if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "an option's name is no string");
    const char *what = lua_pushfstring(L, "option '%s'", lua_tostring(L, -2));
    int option = lua_gettop(L) - 1;
    if (!lua_istable(L, option)) luaL_error(L, "%s is not {type, default, doc}", what);
    check_doc(L, option, what);
    if (lua_getfield(L, option, "type") != LUA_TSTRING) luaL_error(L, "%s has no type", what);
    const char *type = lua_tostring(L, -1);
    int value = lua_getfield(L, option, "default");
    bool fits = strcmp(type, "integer") == 0 ? lua_isinteger(L, -1)
                                             : strcmp(type, lua_typename(L, value)) == 0;
    bool known = value == LUA_TSTRING || value == LUA_TNUMBER || value == LUA_TBOOLEAN;
    if (!fits || !known)
        luaL_error(L, "%s: its default is not of type '%s' (string, number, integer, boolean)",
            what, type);
    lua_settop(L, option);
}

static void check_options(lua_State *L, int policy)
{
    int type = lua_getfield(L, policy, "options");
    if (type != LUA_TNIL && type != LUA_TTABLE) luaL_error(L, "its options are no table");
    if (type == LUA_TTABLE)
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) check_option(L);
    lua_pop(L, 1);
}

static void check_examples(lua_State *L, int policy)
{
    if (lua_getfield(L, policy, "examples") != LUA_TTABLE || lua_rawlen(L, -1) == 0)
        luaL_error(L, "has no examples");
    size_t count = lua_rawlen(L, -1);
    for (size_t i = 1; i <= count; i++) {
        if (lua_geti(L, -1, (lua_Integer)i) != LUA_TTABLE)
            luaL_error(L, "example %d is no table", (int)i);
        if (lua_getfield(L, -1, "given") != LUA_TTABLE)
            luaL_error(L, "example %d has no 'given'", (int)i);
        if (lua_getfield(L, -2, "expect") == LUA_TNIL)
            luaL_error(L, "example %d has no 'expect'", (int)i);
        lua_pop(L, 3);
    }
    lua_pop(L, 1);
}

void myco__contract_check(lua_State *L, int kind)
{
    int policy = lua_gettop(L);
    luaL_checkstack(L, 20, "contract");
    if (!lua_istable(L, policy))
        luaL_error(L, "returns a %s, not a policy", luaL_typename(L, policy));
    check_no_unknown_field(L, policy, kind);
    check_kind(L, policy, kind);
    check_doc(L, policy, "it");
    check_options(L, policy);
    if (lua_getfield(L, policy, myco_policy_function(kind)) != LUA_TFUNCTION)
        luaL_error(L, "has no function '%s'", myco_policy_function(kind));
    lua_pop(L, 1);
    check_examples(L, policy);
}

static void push_default_options(lua_State *L, int policy)
{
    lua_newtable(L);
    if (lua_getfield(L, policy, "options") == LUA_TTABLE) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            lua_pushvalue(L, -2);
            lua_getfield(L, -2, "default");
            lua_rawset(L, -6);
        }
    }
    lua_pop(L, 1);
}

void myco__contract_ask(lua_State *L, int kind, int policy)
{
    int world = lua_gettop(L);
    luaL_checkstack(L, 20, "ask");
    myco__sandbox_refill(L);
    lua_getfield(L, policy, myco_policy_function(kind));
    lua_pushvalue(L, world);
    push_default_options(L, policy);
    lua_call(L, 2, 1);
    myco__answer_check(L, kind, world, world + 1);
    lua_replace(L, world);
}

/* Appends the value at the top and pops it. */
static void pack(lua_State *L, struct myco_buf *out, const char *what)
{
    const char *why;
    if (!myco__msgpack_pack(L, -1, out, &why)) luaL_error(L, "%s: %s", what, why);
    lua_pop(L, 1);
}

static void push_copy(lua_State *L, struct myco_slice bytes)
{
    const char *why;
    if (myco__msgpack_push(L, bytes, &why) == 0)
        luaL_error(L, "its document can't be read: %s", why);
}

static bool answers_equal(struct myco_buf *scratch, size_t first, size_t second)
{
    size_t size = second - first;
    return scratch->size - second == size &&
           memcmp(scratch->data + first, scratch->data + second, size) == 0;
}

/* `expect` is at the top: a function that is given answer and world, or the answer itself. */
static bool expectation_holds(lua_State *L, struct myco_buf *scratch, size_t first, size_t second)
{
    if (lua_type(L, -1) != LUA_TFUNCTION) {
        size_t expected = scratch->size;
        pack(L, scratch, "an example's 'expect'");
        return scratch->size - expected == second - first &&
               memcmp(scratch->data + first, scratch->data + expected, second - first) == 0;
    }
    push_copy(L, myco_bytes(scratch->data + first, second - first));
    push_copy(L, myco_bytes(scratch->data, first));
    myco__sandbox_refill(L);
    lua_call(L, 2, 1);
    bool holds = lua_isnil(L, -1) || lua_toboolean(L, -1);
    lua_pop(L, 1);
    return holds;
}

/* scratch: the world, the first answer, the second answer, what was expected. */
static void run_example(lua_State *L, int kind, int policy, int number, struct myco_buf *scratch)
{
    int example = lua_gettop(L);
    size_t starts[2];
    myco_buf_clear(scratch);
    lua_getfield(L, example, "given");
    pack(L, scratch, "an example's 'given'");
    size_t world = scratch->size;
    for (int i = 0; i < 2; i++) {
        starts[i] = scratch->size;
        push_copy(L, myco_bytes(scratch->data, world));
        myco__contract_ask(L, kind, policy);
        pack(L, scratch, "the answer");
    }
    if (!answers_equal(scratch, starts[0], starts[1]))
        luaL_error(L, "example %d: asked twice, it answers differently", number);
    lua_getfield(L, example, "expect");
    if (!expectation_holds(L, scratch, starts[0], starts[1]))
        luaL_error(L, "example %d: the answer is not what it expects", number);
    lua_settop(L, example);
}

void myco__contract_run_examples(lua_State *L, int kind, struct myco_buf *scratch)
{
    int policy = lua_gettop(L);
    lua_getfield(L, policy, "examples");
    size_t count = lua_rawlen(L, -1);
    for (size_t i = 1; i <= count; i++) {
        lua_geti(L, -1, (lua_Integer)i);
        run_example(L, kind, policy, (int)i, scratch);
        lua_pop(L, 1);
    }
    lua_settop(L, policy);
}
