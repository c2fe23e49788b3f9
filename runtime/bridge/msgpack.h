/* MessagePack ↔ Lua values, for documents between C and Lua, frames of the admin protocol, and
 * tables kept in septa.
 *
 * Lua → MessagePack: a table whose keys are 1 … n is an array (so is an empty one); any other table
 * is a map, written in order (numbers, strings, booleans), so that equal tables give equal bytes. A
 * string is `str` when it is valid UTF-8, else `bin`. MessagePack → Lua: both come back as strings;
 * nil inside a container is an absent element; an empty map gets a metatable that makes it an empty
 * map again. Extension types, functions and userdata are refused; depth is at most 64. */
#ifndef MYCO_BRIDGE_MSGPACK_H
#define MYCO_BRIDGE_MSGPACK_H

#include <lua.h>

#include "base/buf.h"

#define MYCO_MSGPACK_DEPTH_MAX 64

/* Pushes the first value in `bytes`; returns how many bytes it took, or 0 (nothing pushed, *why
 * says what is wrong). Raises only when Lua has no memory left: call it protected. */
size_t myco__msgpack_push(lua_State *L, struct myco_slice bytes, const char **why);

/* Appends the value at `index`; false: *why says what can't be written, and `out` may hold a part.
 * Raises like push: `out` must be owned by something that a longjmp does not leak. */
bool myco__msgpack_pack(lua_State *L, int index, struct myco_buf *out, const char **why);

/* Pushes a buffer that is freed with its userdata, so that a raised error does not leak it. */
struct myco_buf *myco__new_buf(lua_State *L);

/* Pushes an array of the table's keys in order (numbers, strings, booleans); false: a key has no
 * order, nothing pushed. */
bool myco__push_sorted_keys(lua_State *L, int index, size_t *count);

int myco__open_msgpack(lua_State *L); /* module mycorrizal.msgpack: pack, unpack, map */

#endif
