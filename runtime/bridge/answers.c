/* Checks of policies' answers, one function for each kind that is asked today (see
 * consensus/policy.h). */
#include "bridge/answers.h"

#include <lauxlib.h>

#include "base/cron.h"
#include "consensus/policy.h"

static lua_Integer world_integer(lua_State *L, int world, const char *field, lua_Integer fallback)
{
    lua_getfield(L, world, field);
    int is_integer;
    lua_Integer value = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer && (fallback < 0 || !lua_isnil(L, -1)))
        luaL_error(L, "the world's '%s' is not an integer", field);
    lua_pop(L, 1);
    return is_integer ? value : fallback;
}

/* Pushes the set of ids that the world's list holds, and returns how many there are. */
static size_t push_ids(lua_State *L, int world, const char *field)
{
    lua_newtable(L);
    if (lua_getfield(L, world, field) != LUA_TTABLE)
        luaL_error(L, "the world has no list of '%s'", field);
    size_t count = lua_rawlen(L, -1);
    for (size_t i = 1; i <= count; i++) {
        lua_geti(L, -1, (lua_Integer)i);
        if (!lua_istable(L, -1) || lua_getfield(L, -1, "id") != LUA_TSTRING)
            luaL_error(L, "the world's '%s' hold one without an id", field);
        lua_pushboolean(L, 1);
        lua_rawset(L, -5);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return count;
}

/* How many items the list at the top has: keys 1 … n and nothing else. */
static size_t list_size(lua_State *L, const char *what)
{
    if (!lua_istable(L, -1)) luaL_error(L, "%s is a %s, not a list", what, luaL_typename(L, -1));
    size_t count = lua_rawlen(L, -1), found = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) found++;
    if (found != count) luaL_error(L, "%s is not a list: keys are missing or too many", what);
    return count;
}

/* The list at the top holds distinct ids of the set at `known`; each is added to the set at
 * `seen`. */
static void check_ids(lua_State *L, size_t count, int known, int seen, const char *what)
{
    for (size_t i = 1; i <= count; i++) {
        if (lua_geti(L, -1, (lua_Integer)i) != LUA_TSTRING)
            luaL_error(L, "%s holds a %s, not an id", what, luaL_typename(L, -1));
        lua_pushvalue(L, -1);
        if (lua_rawget(L, known) == LUA_TNIL)
            luaL_error(
                L, "%s names '%s', which is none of those it was given", what, lua_tostring(L, -2));
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, seen) != LUA_TNIL)
            luaL_error(L, "%s names '%s' twice", what, lua_tostring(L, -2));
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
        lua_rawset(L, seen);
    }
}

static void check_placement(lua_State *L, int world, int answer)
{
    lua_Integer hyphae = world_integer(L, world, "hyphae", -1),
                copies = world_integer(L, world, "copies", 1);
    size_t members = push_ids(L, world, "members");
    int known = lua_gettop(L);
    lua_pushvalue(L, answer);
    size_t count = list_size(L, "the answer");
    if ((lua_Integer)count != hyphae)
        luaL_error(L, "answered for %d hyphae of %d", (int)count, (int)hyphae);
    for (lua_Integer h = 1; h <= hyphae; h++) {
        const char *what = lua_pushfstring(L, "hypha %d", (int)h);
        lua_newtable(L);
        int seen = lua_gettop(L);
        lua_geti(L, answer, h);
        size_t holders = list_size(L, what);
        if (holders == 0 && members > 0) luaL_error(L, "%s is left without a holder", what);
        if ((lua_Integer)holders > copies)
            luaL_error(L, "%s has %d holders where %d are wanted", what, (int)holders, (int)copies);
        check_ids(L, holders, known, seen, what);
        lua_settop(L, known + 1);
    }
}

static void check_election(lua_State *L, int world, int answer)
{
    size_t candidates = push_ids(L, world, "candidates");
    if (lua_isnil(L, answer) && candidates == 0) return;
    if (lua_type(L, answer) != LUA_TSTRING)
        luaL_error(L, "the answer is a %s, not the id of a candidate", luaL_typename(L, answer));
    lua_pushvalue(L, answer);
    if (lua_rawget(L, -2) == LUA_TNIL)
        luaL_error(L, "the answer names '%s', which is no candidate", lua_tostring(L, answer));
}

static void check_voter_list(lua_State *L, int answer, const char *field, int known, int seen,
    size_t least, lua_Integer most)
{
    lua_settop(L, seen);
    lua_getfield(L, answer, field);
    size_t count = list_size(L, field);
    if (count < least) luaL_error(L, "%s is empty", field);
    if ((lua_Integer)count > most)
        luaL_error(L, "%s has %d ids where at most %d are allowed", field, (int)count, (int)most);
    check_ids(L, count, known, seen, field);
}

static void check_range(
    lua_State *L, int answer, const char *field, lua_Integer low, lua_Integer high)
{
    lua_getfield(L, answer, field);
    if (!lua_isinteger(L, -1))
        luaL_error(L, "%s is a %s, not an integer", field, luaL_typename(L, -1));
    lua_Integer value = lua_tointeger(L, -1);
    if (value < low || value > high)
        luaL_error(L, "%s is %I, outside of %I to %I", field, value, low, high);
    lua_pop(L, 1);
}

static void check_voters(lua_State *L, int world, int answer)
{
    lua_Integer voters_max = world_integer(L, world, "voters_max", 5),
                standbys_max = world_integer(L, world, "standbys_max", 2);
    size_t members = push_ids(L, world, "members");
    int known = lua_gettop(L);
    lua_newtable(L); /* one set for both: nobody is voter and stand-by */
    if (!lua_istable(L, answer))
        luaL_error(L, "the answer is a %s, not {voters, standbys}", luaL_typename(L, answer));
    check_voter_list(L, answer, "voters", known, known + 1, members > 0, voters_max);
    check_voter_list(L, answer, "standbys", known, known + 1, 0, standbys_max);
    lua_getfield(L, answer, "dead_voter_ms");
    bool given = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (given) check_range(L, answer, "dead_voter_ms", 1000, 60 * 60 * 1000);
}

#define DAY_MS (24 * 60 * 60 * 1000LL)

static bool check_optional(
    lua_State *L, int answer, const char *field, lua_Integer low, lua_Integer high)
{
    lua_getfield(L, answer, field);
    bool given = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (given) check_range(L, answer, field, low, high);
    return given;
}

/* What makes an upload due besides the clock. */
static bool check_persistence_also(lua_State *L, int answer)
{
    bool bytes = check_optional(L, answer, "bytes", 1, 1LL << 40);
    bool writes = check_optional(L, answer, "writes", 1, 1LL << 40);
    lua_getfield(L, answer, "cron");
    bool cron = !lua_isnil(L, -1);
    struct myco_cron parsed;
    struct myco_err err = {0};
    if (cron && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "cron is a %s, not a string", luaL_typename(L, -1));
    if (cron && myco_cron_parse(&parsed, lua_tostring(L, -1), &err))
        luaL_error(L, "%s", err.message);
    lua_pop(L, 1);
    return bytes || writes || cron;
}

static void check_persistence(lua_State *L, int world, int answer)
{
    (void)world;
    if (!lua_istable(L, answer))
        luaL_error(L, "the answer is a %s, not a table", luaL_typename(L, answer));
    bool other = check_persistence_also(L, answer);
    lua_getfield(L, answer, "every_ms");
    bool every = !other || !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (every) check_range(L, answer, "every_ms", 100, DAY_MS);
    check_range(L, answer, "snapshot_segments", 1, 1000000);
    check_range(L, answer, "retain_ms", 0, 3650 * DAY_MS);
}

/* The list `field` of the answer names a member by its number for each member; where it may, by 0
 * none. */
static void check_numbers(
    lua_State *L, int answer, const char *field, lua_Integer members, lua_Integer least)
{
    lua_getfield(L, answer, field);
    if ((lua_Integer)list_size(L, field) != members)
        luaL_error(
            L, "%s has %d items for %d members", field, (int)lua_rawlen(L, -1), (int)members);
    for (lua_Integer i = 1; i <= members; i++) {
        int is_integer;
        lua_geti(L, -1, i);
        lua_Integer number = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer || number < least || number > members)
            luaL_error(L, "%s: item %d is not the number of a member", field, (int)i);
        lua_pop(L, 1);
    }
}

/* Every hub is its own hub, and who stands by is not the hub itself. */
static void check_stars(lua_State *L, int answer, lua_Integer members)
{
    lua_getfield(L, answer, "hubs");
    lua_getfield(L, answer, "standbys");
    for (lua_Integer i = 1; i <= members; i++) {
        lua_geti(L, -2, i);
        lua_Integer hub = lua_tointeger(L, -1);
        lua_geti(L, -3, hub);
        lua_geti(L, -3, i);
        if (lua_tointeger(L, -2) != hub)
            luaL_error(L, "member %d is to be the hub of %d, but has another hub itself", (int)hub,
                (int)i);
        if (lua_tointeger(L, -1) == hub)
            luaL_error(L, "member %d is both the hub of %d and who stands by", (int)hub, (int)i);
        lua_pop(L, 3);
    }
}

static void check_topology(lua_State *L, int world, int answer)
{
    lua_Integer members = (lua_Integer)push_ids(L, world, "members");
    if (!lua_istable(L, answer))
        luaL_error(L, "the answer is a %s, not {hubs, standbys} or {mesh = true}",
            luaL_typename(L, answer));
    lua_getfield(L, answer, "mesh");
    if (lua_toboolean(L, -1)) return;
    check_numbers(L, answer, "hubs", members, 1);
    check_numbers(L, answer, "standbys", members, 0);
    check_stars(L, answer, members);
}

typedef void (*check_cb)(lua_State *L, int world, int answer);

static const check_cb checks[MYCO_POLICY_KIND_COUNT] = {
    [MYCO_POLICY_PLACEMENT] = check_placement,
    [MYCO_POLICY_ELECTION] = check_election,
    [MYCO_POLICY_VOTERS] = check_voters,
    [MYCO_POLICY_PERSISTENCE] = check_persistence,
    [MYCO_POLICY_TOPOLOGY] = check_topology,
};

bool myco__answer_known(int kind)
{
    return kind >= 0 && kind < MYCO_POLICY_KIND_COUNT && checks[kind];
}

void myco__answer_check(lua_State *L, int kind, int world, int answer)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 20, "answer");
    checks[kind](L, lua_absindex(L, world), lua_absindex(L, answer));
    lua_settop(L, top);
}
