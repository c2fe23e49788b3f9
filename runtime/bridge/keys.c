/* The keys of a Lua table in an order that does not depend on addresses or hash seeds. */
#include "bridge/msgpack.h"

#include <lauxlib.h>
#include <stdlib.h>

/* Numbers come before strings, and those before booleans. Keys of one table are never equal. */
struct key {
    int rank, slot;
    lua_Number number;
    lua_Integer integer;
    bool is_integer;
    struct myco_slice text;
};

static int compare_numbers(const struct key *a, const struct key *b)
{
    if (a->is_integer && b->is_integer) return a->integer < b->integer ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number ? 1 : a->slot - b->slot;
}

static int compare_texts(struct myco_slice a, struct myco_slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    if (a->rank != b->rank) return a->rank - b->rank;
    if (a->rank == 0) return compare_numbers(a, b);
    if (a->rank == 1) return compare_texts(a->text, b->text);
    return a->is_integer - b->is_integer; /* false before true */
}

static bool read_key(lua_State *L, int index, struct key *key)
{
    int type = lua_type(L, index);
    if (type == LUA_TNUMBER) {
        key->rank = 0;
        key->is_integer = lua_isinteger(L, index);
        key->integer = key->is_integer ? lua_tointeger(L, index) : 0;
        key->number = lua_tonumber(L, index);
    } else if (type == LUA_TSTRING) {
        key->rank = 1;
        key->text.data = lua_tolstring(L, index, &key->text.size);
    } else if (type == LUA_TBOOLEAN) {
        key->rank = 2;
        key->is_integer = lua_toboolean(L, index);
    } else {
        return false;
    }
    return true;
}

static size_t count_keys(lua_State *L, int index)
{
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) count++;
    return count;
}

bool myco__push_sorted_keys(lua_State *L, int index, size_t *count)
{
    index = lua_absindex(L, index);
    luaL_checkstack(L, 6, "sorted keys");
    size_t n = count_keys(L, index);
    lua_createtable(L, (int)n, 0);
    int sorted = lua_gettop(L);
    lua_createtable(L, (int)n, 0); /* as found: keeps nothing alive that the table does not */
    int found = lua_gettop(L);
    struct key *keys = lua_newuserdatauv(L, (n ? n : 1) * sizeof *keys, 0);
    memset(keys, 0, (n ? n : 1) * sizeof *keys);

    size_t i = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (!read_key(L, -2, &keys[i])) {
            lua_settop(L, sorted - 1);
            return false;
        }
        keys[i].slot = (int)i + 1;
        lua_pushvalue(L, -2);
        lua_rawseti(L, found, (lua_Integer)++i);
    }
    qsort(keys, n, sizeof *keys, compare);
    for (i = 0; i < n; i++) {
        lua_rawgeti(L, found, keys[i].slot);
        lua_rawseti(L, sorted, (lua_Integer)i + 1);
    }
    lua_settop(L, sorted);
    *count = n;
    return true;
}
