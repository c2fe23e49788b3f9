/* A cursor over bytes from outside: it can be wrong about them, never past their end. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

struct myco_reader myco_reader(const void *bytes, size_t size)
{
    /* An empty slice may have no address; arithmetic on NULL is undefined. */
    const uint8_t *at = size > 0 ? bytes : (const uint8_t *)"";
    return (struct myco_reader){.at = at, .end = at + size};
}

size_t myco_read_left(const struct myco_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

bool myco_read_done(const struct myco_reader *reader)
{
    return !reader->bad && reader->at == reader->end;
}

/* The next `size` bytes, or NULL; once bad, nothing more is read. */
static const uint8_t *take(struct myco_reader *reader, size_t size)
{
    if (reader->bad || size > myco_read_left(reader)) {
        reader->bad = true;
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += size;
    return bytes;
}

static uint64_t read_le(struct myco_reader *reader, size_t size)
{
    const uint8_t *bytes = take(reader, size);
    uint64_t value = 0;
    for (size_t i = 0; bytes != NULL && i < size; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint8_t myco_read_u8(struct myco_reader *reader)
{
    return (uint8_t)read_le(reader, 1);
}

uint16_t myco_read_u16(struct myco_reader *reader)
{
    return (uint16_t)read_le(reader, 2);
}

uint32_t myco_read_u32(struct myco_reader *reader)
{
    return (uint32_t)read_le(reader, 4);
}

uint64_t myco_read_u64(struct myco_reader *reader)
{
    return read_le(reader, 8);
}

struct myco_slice myco_read_bytes(struct myco_reader *reader, size_t size)
{
    const uint8_t *bytes = take(reader, size);
    return bytes != NULL ? myco_bytes(bytes, size) : myco_bytes("", 0);
}

struct myco_slice myco_read_slice(struct myco_reader *reader)
{
    return myco_read_bytes(reader, myco_read_u32(reader));
}

static bool has_zero(struct myco_slice slice)
{
    return slice.size > 0 && memchr(slice.data, 0, slice.size) != NULL;
}

void myco_read_str(struct myco_reader *reader, char *text, size_t size)
{
    struct myco_slice slice = myco_read_slice(reader);
    if (slice.size >= size || has_zero(slice)) {
        reader->bad = true;
        slice.size = 0;
    }
    if (size == 0) return;
    memcpy(text, slice.data, slice.size);
    text[slice.size] = '\0';
}

char *myco_read_strdup(struct myco_reader *reader, size_t size_max)
{
    struct myco_slice slice = myco_read_slice(reader);
    char *text = NULL;
    if (slice.size <= size_max && !has_zero(slice)) text = myco_try_alloc(slice.size + 1);
    if (text == NULL) {
        reader->bad = true;
        return myco_strdup("");
    }
    memcpy(text, slice.data, slice.size);
    text[slice.size] = '\0';
    return text;
}
