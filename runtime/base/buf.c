/* A growable buffer that is written to the end before anyone asks whether it worked. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define CAPACITY_MIN 64

void myco_buf_free(struct myco_buf *buf)
{
    myco_free(buf->data);
    *buf = (struct myco_buf){.size_max = buf->size_max};
}

void myco_buf_clear(struct myco_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

static bool fail(struct myco_buf *buf)
{
    buf->failed = true;
    return false;
}

/* Doubles, so that n writes cost n; but never takes more than the limit allows. */
static size_t grown_capacity(const struct myco_buf *buf, size_t need)
{
    size_t capacity = buf->capacity < CAPACITY_MIN ? CAPACITY_MIN : buf->capacity;
    while (capacity < need) capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    if (buf->size_max != 0 && capacity > buf->size_max) capacity = buf->size_max;
    return capacity;
}

bool myco_buf_reserve(struct myco_buf *buf, size_t more)
{
    if (buf->failed) return false;
    if (more > SIZE_MAX - buf->size) return fail(buf);
    size_t need = buf->size + more;
    if (buf->size_max != 0 && need > buf->size_max) return fail(buf);
    if (need <= buf->capacity) return true;

    size_t capacity = grown_capacity(buf, need);
    uint8_t *data = myco_try_realloc(buf->data, capacity);
    if (data == NULL) return fail(buf);
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void myco_buf_bytes(struct myco_buf *buf, const void *bytes, size_t size)
{
    if (size == 0 || !myco_buf_reserve(buf, size)) return;
    memcpy(buf->data + buf->size, bytes, size);
    buf->size += size;
}

static void put_le(struct myco_buf *buf, uint64_t value, size_t size)
{
    if (!myco_buf_reserve(buf, size)) return;
    for (size_t i = 0; i < size; i++) buf->data[buf->size + i] = (uint8_t)(value >> (8 * i));
    buf->size += size;
}

void myco_buf_u8(struct myco_buf *buf, uint8_t value)
{
    put_le(buf, value, 1);
}

void myco_buf_u16(struct myco_buf *buf, uint16_t value)
{
    put_le(buf, value, 2);
}

void myco_buf_u32(struct myco_buf *buf, uint32_t value)
{
    put_le(buf, value, 4);
}

void myco_buf_u64(struct myco_buf *buf, uint64_t value)
{
    put_le(buf, value, 8);
}

void myco_buf_slice(struct myco_buf *buf, struct myco_slice slice)
{
    if (slice.size > UINT32_MAX) {
        fail(buf);
        return;
    }
    myco_buf_u32(buf, (uint32_t)slice.size);
    myco_buf_bytes(buf, slice.data, slice.size);
}

void myco_buf_str(struct myco_buf *buf, const char *text)
{
    myco_buf_slice(buf, myco_str(text));
}

void myco_buf_printf(struct myco_buf *buf, const char *format, ...)
{
    char text[512]; /* nearly everything fits: formatted once, copied once */
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(text, sizeof text, format, args);
    if (size < 0) {
        fail(buf);
    } else if ((size_t)size < sizeof text) {
        myco_buf_bytes(buf, text, (size_t)size);
    } else {
        char *large = myco_try_alloc((size_t)size + 1);
        if (large == NULL) {
            fail(buf);
        } else {
            vsnprintf(large, (size_t)size + 1, format, again);
            myco_buf_bytes(buf, large, (size_t)size);
        }
        myco_free(large);
    }
    va_end(again);
    va_end(args);
}

void myco_buf_drop_front(struct myco_buf *buf, size_t size)
{
    MYCO_ASSERT(size <= buf->size);
    if (size == 0) return;
    memmove(buf->data, buf->data + size, buf->size - size);
    buf->size -= size;
}

struct myco_slice myco_buf_as_slice(const struct myco_buf *buf)
{
    return myco_bytes(buf->data, buf->size);
}

void myco_buf_move(struct myco_buf *to, struct myco_buf *from)
{
    if (to == from) return;
    size_t from_size_max = from->size_max, to_size_max = to->size_max;
    myco_buf_free(to);
    *to = *from;
    to->size_max = to_size_max;
    *from = (struct myco_buf){.size_max = from_size_max};
}
