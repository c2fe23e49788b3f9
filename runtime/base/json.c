/* JSON strings out of bytes that may be anything. */
#include "base/json.h"

/* How many bytes the UTF-8 character at `at` has; 0: it is none. */
static size_t utf8_size(const unsigned char *at, size_t left)
{
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (at[0] > 0xf4 || size > left) return 0;
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    /* too long for what they say, surrogates, beyond the last character */
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
    if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
    return size;
}

void myco_buf_json(struct myco_buf *buf, const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text;
    myco_buf_u8(buf, '"');
    while (size > 0) {
        size_t step = utf8_size(at, size);
        if (step == 0) {
            step = 1;
            myco_buf_printf(buf, "\\ufffd");
        } else if (*at < 0x20) {
            myco_buf_printf(buf, "\\u%04x", *at);
        } else {
            if (*at == '"' || *at == '\\') myco_buf_u8(buf, '\\');
            myco_buf_bytes(buf, at, step);
        }
        at += step;
        size -= step;
    }
    myco_buf_u8(buf, '"');
}
