/* MessagePack into Lua and back: any bytes are read or refused, and what was read can be written
 * and read again to the same bytes. */
#include <lauxlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "bridge/msgpack.h"
#include "fuzz.h"

#define MEMORY_MAX (16u * 1024 * 1024)

struct input {
    struct myco_slice bytes;
    struct myco_buf first, second;
    size_t used;
};

static void *allocate(void *data, void *memory, size_t before, size_t after)
{
    struct input *input = data;
    if (!memory) before = 0;
    if (after > before && input->used + after - before > MEMORY_MAX) return NULL;
    input->used += after - before;
    if (after) return myco_try_realloc(memory, after);
    myco_free(memory);
    return NULL;
}

static int work(lua_State *L)
{
    struct input *input = lua_touserdata(L, 1);
    const char *why;
    myco__open_msgpack(L);
    if (myco__msgpack_push(L, input->bytes, &why) == 0) return 0;
    if (!myco__msgpack_pack(L, -1, &input->first, &why)) return 0;
    MYCO_ASSERT(myco__msgpack_push(L, myco_buf_as_slice(&input->first), &why) == input->first.size);
    MYCO_ASSERT(myco__msgpack_pack(L, -1, &input->second, &why));
    MYCO_ASSERT(input->first.size == input->second.size);
    MYCO_ASSERT(memcmp(input->first.data, input->second.data, input->first.size) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.bytes = myco_bytes(data, size)};
    lua_State *L = lua_newstate(allocate, &input);
    if (!L) return 0;
    lua_pushcfunction(L, work);
    lua_pushlightuserdata(L, &input);
    lua_pcall(L, 1, 0, 0); /* an error: no memory, which is bounded here */
    lua_close(L);
    myco_buf_free(&input.first);
    myco_buf_free(&input.second);
    return 0;
}
