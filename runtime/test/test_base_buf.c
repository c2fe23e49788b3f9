/* Catches: a reader that passes the end, a writer that forgets a failed allocation or its limit,
 * a layout that changed. */
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
    myco_buf_printf(buf, "%600d", 7); /* longer than printf's own buffer */
}

static void test_layout(void)
{
    struct myco_buf buf = {0};
    write_sample(&buf);
    static const uint8_t want[] = {
        1, 3, 2, 7, 6, 5, 4, 15, 14, 13, 12, 11, 10, 9, 8, 6, 0, 0, 0, 'h'};
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
    is_int(buf.data[buf.size - 1], '7', "a long printf is whole");
    myco_buf_free(&buf);
}

static void test_past_the_end(void)
{
    struct myco_reader reader = myco_reader("\x01\x02\x03", 3);
    is_int(myco_read_u32(&reader), 0, "four bytes of three are zero");
    ok(reader.bad, "and bad");
    is_int(myco_read_u8(&reader), 0, "bad sticks: the bytes that are there are not read either");
    ok(!myco_read_done(&reader), "bad is not done");

    reader = myco_reader("\xff\xff\xff\xffxy", 6);
    struct myco_slice slice = myco_read_slice(&reader);
    ok(reader.bad && slice.size == 0 && slice.data != NULL, "a slice of 4 GiB in six bytes is bad");

    reader = myco_reader(NULL, 0);
    ok(myco_read_done(&reader), "nothing is read at once");
    is_int(myco_read_u8(&reader), 0, "and holds no byte");
    ok(reader.bad, "which is bad");
}

static void test_strings(void)
{
    char text[4] = "???";
    struct myco_reader reader = myco_reader("\x03\0\0\0abc", 7);
    myco_read_str(&reader, text, sizeof text);
    is_str(text, "abc", "a string that just fits");
    reader = myco_reader("\x04\0\0\0abcd", 8);
    myco_read_str(&reader, text, sizeof text);
    ok(reader.bad && text[0] == '\0', "one byte more is bad and empty");
    reader = myco_reader("\x03\0\0\0a\0c", 7);
    myco_read_str(&reader, text, sizeof text);
    ok(reader.bad, "a zero inside is bad");

    reader = myco_reader("\x03\0\0\0abc", 7);
    char *given = myco_read_strdup(&reader, 3);
    is_str(given, "abc", "strdup");
    myco_free(given);
    reader = myco_reader("\x03\0\0\0abc", 7);
    given = myco_read_strdup(&reader, 2);
    ok(reader.bad, "strdup above its limit is bad");
    is_str(given, "", "and never NULL");
    myco_free(given);
}

static void test_limit(void)
{
    struct myco_buf buf = {.size_max = 10};
    myco_buf_bytes(&buf, "0123456789", 10);
    ok(!buf.failed && buf.capacity <= 10, "a buffer may be filled to its limit, not beyond it");
    myco_buf_u8(&buf, 1);
    ok(buf.failed && buf.size == 10, "one byte more fails and writes nothing");
    myco_buf_clear(&buf);
    myco_buf_u8(&buf, 1);
    ok(!buf.failed && buf.size == 1, "clear makes it usable again");
    ok(!myco_buf_reserve(&buf, SIZE_MAX) && buf.failed, "a size that wraps around is refused");
    myco_buf_u8(&buf, 2);
    is_int(buf.size, 1, "failed sticks");
    myco_buf_free(&buf);
    is_int(buf.size_max, 10, "the limit outlives the memory");
}

/* Every allocation of the sample fails once; each time the buffer says so. */
static void test_allocation_failure(void)
{
    long nth = 1;
    for (;; nth++) {
        struct myco_buf buf = {0};
        myco_mem_fail_nth(nth);
        write_sample(&buf);
        myco_mem_fail_nth(0);
        bool failed = buf.failed;
        myco_buf_free(&buf);
        if (!failed) break;
    }
    ok(nth > 3, "the sample allocates %ld times, and survives the failure of each", nth - 1);
}

static void test_move_and_drop(void)
{
    struct myco_buf from = {0}, to = {.size_max = 99};
    myco_buf_str(&to, "old");
    myco_buf_bytes(&from, "abcdef", 6);
    myco_buf_move(&to, &from);
    ok(from.data == NULL && from.size == 0, "moved from: empty");
    ok(to.size == 6 && to.size_max == 99, "moved to: holds the bytes, and its own limit");
    myco_buf_drop_front(&to, 2);
    ok(to.size == 4 && memcmp(to.data, "cdef", 4) == 0, "drop from the front");
    myco_buf_drop_front(&to, 4);
    is_int(myco_buf_as_slice(&to).size, 0, "drop the rest");
    myco_buf_free(&to);
}

int main(void)
{
    test_layout();
    test_past_the_end();
    test_strings();
    test_limit();
    test_allocation_failure();
    test_move_and_drop();
    return plan_done();
}
