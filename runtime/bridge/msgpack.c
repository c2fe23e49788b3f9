/* MessagePack ↔ Lua values. Writing goes through libmsgpack's packer. Reading goes straight into
 * Lua values: libmsgpack's unpacker would first build a tree, sized by what the bytes claim rather
 * than by what they hold. */
#include "bridge/msgpack.h"

#include <lauxlib.h>
#include <msgpack.h>

#include "base/mem.h"

#define EMPTY_MAP "mycorrizal.map"

/* ── Reading ── */

struct source {
    const uint8_t *at, *end;
    const char *why;
};

static uint64_t read_big_endian(struct source *source, size_t size)
{
    uint64_t value = 0;
    if ((size_t)(source->end - source->at) < size) {
        source->why = "it ends in the middle of a value";
        source->at = source->end;
        return 0;
    }
    for (size_t i = 0; i < size; i++) value = value << 8 | *source->at++;
    return value;
}

static int64_t read_signed(struct source *source, size_t size)
{
    uint64_t value = read_big_endian(source, size);
    unsigned unused = 64 - (unsigned)size * 8;
    return (int64_t)(value << unused) >> unused;
}

static void push_float(lua_State *L, struct source *source, size_t size)
{
    uint64_t bits = read_big_endian(source, size);
    uint32_t single_bits = (uint32_t)bits;
    float single;
    double number;
    memcpy(&single, &single_bits, sizeof single);
    memcpy(&number, &bits, sizeof number);
    lua_pushnumber(L, size == 4 ? (double)single : number);
}

static void push_string(lua_State *L, struct source *source, uint64_t size)
{
    if (size > (uint64_t)(source->end - source->at)) {
        source->why = "a string is longer than its document";
        return;
    }
    lua_pushlstring(L, (const char *)source->at, size);
    source->at += size;
}

static void push_value(lua_State *L, struct source *source, int depth);

/* A first guess only: what the bytes claim must not make us reserve memory. */
static int table_hint(const struct source *source, uint64_t count)
{
    uint64_t left = (uint64_t)(source->end - source->at);
    if (count > left) count = left;
    return count < 1024 ? (int)count : 1024;
}

static void push_array(lua_State *L, struct source *source, uint64_t count, int depth)
{
    lua_createtable(L, table_hint(source, count), 0);
    for (uint64_t i = 1; i <= count && !source->why; i++) {
        push_value(L, source, depth + 1);
        if (!source->why) lua_rawseti(L, -2, (lua_Integer)i);
    }
}

static void push_map_entry(lua_State *L, struct source *source, int depth)
{
    push_value(L, source, depth + 1);
    if (source->why) return;
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
        source->why = "a map's key is neither string, number nor boolean";
        return;
    }
    if (type == LUA_TNUMBER && lua_tonumber(L, -1) != lua_tonumber(L, -1)) {
        source->why = "a map's key is not a number (NaN)";
        return;
    }
    push_value(L, source, depth + 1);
    if (!source->why) lua_rawset(L, -3);
}

static void push_map(lua_State *L, struct source *source, uint64_t count, int depth)
{
    lua_createtable(L, 0, table_hint(source, count));
    if (count == 0) luaL_setmetatable(L, EMPTY_MAP);
    for (uint64_t i = 0; i < count && !source->why; i++) push_map_entry(L, source, depth);
}

/* What is above 2^63 keeps its bits (node ids), and so reads as negative: format it with %x, or
 * compare with math.ult. */
static void push_unsigned(lua_State *L, struct source *source, size_t size)
{
    lua_pushinteger(L, (lua_Integer)read_big_endian(source, size));
}

static void push_tagged(lua_State *L, struct source *source, uint8_t tag, int depth)
{
    switch (tag) {
    case 0xc0: lua_pushnil(L); break;
    case 0xc2: lua_pushboolean(L, 0); break;
    case 0xc3: lua_pushboolean(L, 1); break;
    case 0xc4:
    case 0xc5:
    case 0xc6: push_string(L, source, read_big_endian(source, 1u << (tag - 0xc4))); break;
    case 0xca: push_float(L, source, 4); break;
    case 0xcb: push_float(L, source, 8); break;
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: push_unsigned(L, source, 1u << (tag - 0xcc)); break;
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: lua_pushinteger(L, read_signed(source, 1u << (tag - 0xd0))); break;
    case 0xd9:
    case 0xda:
    case 0xdb: push_string(L, source, read_big_endian(source, 1u << (tag - 0xd9))); break;
    case 0xdc:
    case 0xdd: push_array(L, source, read_big_endian(source, 2u << (tag - 0xdc)), depth); break;
    case 0xde:
    case 0xdf: push_map(L, source, read_big_endian(source, 2u << (tag - 0xde)), depth); break;
    default: source->why = "it holds a type that is not known here";
    }
}

/* Pushes exactly one value, or something to be thrown away when `why` is set. */
static void push_value(lua_State *L, struct source *source, int depth)
{
    if (depth > MYCO_MSGPACK_DEPTH_MAX || !lua_checkstack(L, 8)) {
        source->why = "it is nested too deeply";
        return;
    }
    uint8_t tag = (uint8_t)read_big_endian(source, 1);
    if (source->why) return;
    if (tag < 0x80)
        lua_pushinteger(L, tag);
    else if (tag < 0x90)
        push_map(L, source, tag & 15, depth);
    else if (tag < 0xa0)
        push_array(L, source, tag & 15, depth);
    else if (tag < 0xc0)
        push_string(L, source, tag & 31);
    else if (tag >= 0xe0)
        lua_pushinteger(L, (int8_t)tag);
    else
        push_tagged(L, source, tag, depth);
}

size_t myco__msgpack_push(lua_State *L, struct myco_slice bytes, const char **why)
{
    int top = lua_gettop(L);
    struct source source = {bytes.data, (const uint8_t *)bytes.data + bytes.size, NULL};
    push_value(L, &source, 0);
    *why = source.why;
    if (!source.why) return (size_t)(source.at - (const uint8_t *)bytes.data);
    lua_settop(L, top);
    return 0;
}

/* ── Writing ── */

struct sink {
    msgpack_packer packer;
    struct myco_buf *out;
    const char *why;
};

static int sink_write(void *data, const char *bytes, size_t size)
{
    myco_buf_bytes(data, bytes, size);
    return 0;
}

/* Strictly: no surrogates, nothing beyond U+10FFFF, no overlong forms. */
static bool is_utf8(const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    while (at < end) {
        uint8_t first = *at++;
        if (first < 0x80) continue;
        int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || end - at < more) return false;
        uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (*at < low || *at > high) return false;
        for (at++; --more > 0; at++)
            if (*at < 0x80 || *at > 0xbf) return false;
    }
    return true;
}

static void pack_string(lua_State *L, int index, struct sink *sink)
{
    size_t size;
    const char *text = lua_tolstring(L, index, &size);
    if (size > UINT32_MAX) {
        sink->why = "a string is longer than 4 GiB";
    } else if (is_utf8((const uint8_t *)text, size)) {
        msgpack_pack_str(&sink->packer, size);
        msgpack_pack_str_body(&sink->packer, text, size);
    } else {
        msgpack_pack_bin(&sink->packer, size);
        msgpack_pack_bin_body(&sink->packer, text, size);
    }
}

/* The keys are 1 … n. An empty table is an array unless it came from an empty map. */
static bool is_array(lua_State *L, int index, size_t *count)
{
    lua_Unsigned n = lua_rawlen(L, index), found = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (key < 1 || (lua_Unsigned)key > n) {
            lua_pop(L, 2);
            return false;
        }
        found++;
    }
    *count = n;
    if (n == 0 && lua_getmetatable(L, index)) {
        luaL_getmetatable(L, EMPTY_MAP);
        bool map = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
        return !map;
    }
    return found == n;
}

static void pack_value(lua_State *L, int index, struct sink *sink, int depth);

static void pack_array(lua_State *L, int index, size_t count, struct sink *sink, int depth)
{
    msgpack_pack_array(&sink->packer, count);
    for (size_t i = 1; i <= count && !sink->why; i++) {
        lua_rawgeti(L, index, (lua_Integer)i);
        pack_value(L, lua_gettop(L), sink, depth + 1);
        lua_pop(L, 1);
    }
}

static void pack_map(lua_State *L, int index, struct sink *sink, int depth)
{
    size_t count;
    if (!myco__push_sorted_keys(L, index, &count)) {
        sink->why = "a table's key is neither string, number nor boolean";
        return;
    }
    int keys = lua_gettop(L);
    msgpack_pack_map(&sink->packer, count);
    for (size_t i = 1; i <= count && !sink->why; i++) {
        lua_rawgeti(L, keys, (lua_Integer)i);
        lua_pushvalue(L, -1);
        lua_rawget(L, index);
        pack_value(L, lua_gettop(L) - 1, sink, depth + 1);
        if (!sink->why) pack_value(L, lua_gettop(L), sink, depth + 1);
        lua_settop(L, keys);
    }
    lua_settop(L, keys - 1);
}

static void pack_table(lua_State *L, int index, struct sink *sink, int depth)
{
    size_t count;
    if (depth > MYCO_MSGPACK_DEPTH_MAX || !lua_checkstack(L, 16))
        sink->why = "a table is nested too deeply, or holds itself";
    else if (is_array(L, index, &count))
        pack_array(L, index, count, sink, depth);
    else
        pack_map(L, index, sink, depth);
}

static void pack_value(lua_State *L, int index, struct sink *sink, int depth)
{
    switch (lua_type(L, index)) {
    case LUA_TNIL: msgpack_pack_nil(&sink->packer); break;
    case LUA_TBOOLEAN:
        lua_toboolean(L, index) ? msgpack_pack_true(&sink->packer)
                                : msgpack_pack_false(&sink->packer);
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            msgpack_pack_int64(&sink->packer, lua_tointeger(L, index));
        else
            msgpack_pack_double(&sink->packer, lua_tonumber(L, index));
        break;
    case LUA_TSTRING: pack_string(L, index, sink); break;
    case LUA_TTABLE: pack_table(L, index, sink, depth); break;
    default: sink->why = "it holds a function, a thread or userdata";
    }
    if (sink->out->failed && !sink->why) sink->why = "it is too large";
}

bool myco__msgpack_pack(lua_State *L, int index, struct myco_buf *out, const char **why)
{
    struct sink sink = {.out = out};
    msgpack_packer_init(&sink.packer, out, sink_write);
    pack_value(L, lua_absindex(L, index), &sink, 0);
    *why = sink.why;
    return !sink.why;
}

/* ── The module ── */

static int buf_gc(lua_State *L)
{
    myco_buf_free(lua_touserdata(L, 1));
    return 0;
}

struct myco_buf *myco__new_buf(lua_State *L)
{
    struct myco_buf *buf = lua_newuserdatauv(L, sizeof *buf, 0);
    memset(buf, 0, sizeof *buf);
    if (luaL_newmetatable(L, "mycorrizal.buf")) {
        lua_pushcfunction(L, buf_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return buf;
}

static int fail(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    lua_pushstring(L, myco_errname(MYCO_EPROTO));
    return 3;
}

static int lua_pack(lua_State *L)
{
    const char *why;
    luaL_checkany(L, 1);
    struct myco_buf *buf = myco__new_buf(L);
    if (!myco__msgpack_pack(L, 1, buf, &why)) return fail(L, why);
    lua_pushlstring(L, (const char *)buf->data, buf->size);
    myco_buf_free(buf);
    return 1;
}

/* unpack(bytes [, position]): the value and where the next one starts. */
static int lua_unpack(lua_State *L)
{
    size_t size;
    const char *why, *bytes = luaL_checklstring(L, 1, &size);
    lua_Integer position = luaL_optinteger(L, 2, 1);
    luaL_argcheck(L, position >= 1 && (lua_Unsigned)position <= size + 1, 2, "out of range");
    size_t skip = (size_t)position - 1;
    size_t taken = myco__msgpack_push(L, myco_bytes(bytes + skip, size - skip), &why);
    if (taken == 0) return fail(L, why);
    lua_pushinteger(L, position + (lua_Integer)taken);
    return 2;
}

/* map(): a table that stays a map when it is empty. */
static int lua_map(lua_State *L)
{
    lua_newtable(L);
    luaL_setmetatable(L, EMPTY_MAP);
    return 1;
}

int myco__open_msgpack(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"pack", lua_pack}, {"unpack", lua_unpack}, {"map", lua_map}, {NULL, NULL}};
    luaL_newmetatable(L, EMPTY_MAP);
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
