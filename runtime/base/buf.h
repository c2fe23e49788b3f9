/* Bytes being written or read: a growable buffer, and a cursor that never reads past the end.
 * Integers are little-endian and unaligned; there is no padding. */
#ifndef MYCO_BASE_BUF_H
#define MYCO_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mycorrizal.h"

/* Zero-initialised is empty. `failed` sticks once an allocation failed or `size_max` (when not 0)
 * was passed: write everything, check once. */
struct myco_buf {
    uint8_t *data;
    size_t size, capacity;
    size_t size_max;
    bool failed;
};

void myco_buf_free(struct myco_buf *buf);  /* leaves it empty and reusable */
void myco_buf_clear(struct myco_buf *buf); /* keeps the memory; not failed any more */
bool myco_buf_reserve(struct myco_buf *buf, size_t more);
void myco_buf_bytes(struct myco_buf *buf, const void *bytes, size_t size);
void myco_buf_u8(struct myco_buf *buf, uint8_t value);
void myco_buf_u16(struct myco_buf *buf, uint16_t value);
void myco_buf_u32(struct myco_buf *buf, uint32_t value);
void myco_buf_u64(struct myco_buf *buf, uint64_t value);
void myco_buf_slice(struct myco_buf *buf, struct myco_slice slice); /* u32 size, then the bytes */
void myco_buf_str(struct myco_buf *buf, const char *text);          /* as a slice, no terminator */
void myco_buf_printf(struct myco_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void myco_buf_drop_front(struct myco_buf *buf, size_t size);
struct myco_slice myco_buf_as_slice(const struct myco_buf *buf); /* lends until the next write */
/* `to` takes; `from` is empty after. */
void myco_buf_move(struct myco_buf *to, struct myco_buf *from);

/* A cursor over borrowed bytes. Reading past the end yields zeros and sets `bad`, which sticks:
 * read everything, check once. */
struct myco_reader {
    const uint8_t *at, *end;
    bool bad;
};

struct myco_reader myco_reader(const void *bytes, size_t size);
uint8_t myco_read_u8(struct myco_reader *reader);
uint16_t myco_read_u16(struct myco_reader *reader);
uint32_t myco_read_u32(struct myco_reader *reader);
uint64_t myco_read_u64(struct myco_reader *reader);
struct myco_slice myco_read_slice(struct myco_reader *reader); /* u32 size, bytes; lends */
struct myco_slice myco_read_bytes(struct myco_reader *reader, size_t size);
/* A slice as a terminated string into `text`; too long for `size`, or with a zero inside, is
 * bad. */
void myco_read_str(struct myco_reader *reader, char *text, size_t size);
/* A gives string (myco_free), bad when longer than `size_max`; never NULL. */
char *myco_read_strdup(struct myco_reader *reader, size_t size_max);
size_t myco_read_left(const struct myco_reader *reader);
bool myco_read_done(const struct myco_reader *reader); /* all read and nothing bad */

#endif
