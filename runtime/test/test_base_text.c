/* Catches: an option that is read as something else than what was written. */
#include "base/text.h"

#include "base/addr.h"
#include "base/err.h"
#include "tap.h"

static const struct {
    const char *text;
    long long value; /* -1: refused */
} durations[] = {{"200ms", 200}, {"5s", 5000}, {"5", 5000}, {"30d", 2592000000}, {"1w", 604800000},
    {"2h", 7200000}, {"3m", 180000}, {"0", 0}, {"1.5s", 1500}, {"0.0005s", -1}, {"1.5ms", -1},
    {"0.001", 1}, {"", -1}, {"s", -1}, {"-1s", -1}, {"+1s", -1}, {" 1s", -1}, {"1 s", -1},
    {"1S", -1}, {"1.", -1}, {".5s", -1}, {"1..5s", -1}, {"1.5.5s", -1}, {"1e3", -1}, {"0x10", -1},
    {"99999999999999999999", -1}, {"18446744073709551615", -1}, {"18446744073709551615w", -1},
    {"0.0000000001s", -1}, {"5sec", -1}},
  sizes[] = {{"64KiB", 65536}, {"64k", 65536}, {"64K", 65536}, {"64kb", 64000}, {"1MB", 1000000},
      {"1MiB", 1048576}, {"1m", 1048576}, {"2g", 2147483648}, {"2GB", 2000000000}, {"7", 7},
      {"7B", 7}, {"0.5KiB", 512}, {"0.3k", -1}, {"1.5", -1}, {"", -1}, {"KiB", -1}, {"1T", -1},
      {"-1", -1}, {"18446744073709551616", -1}, {"18446744073709551615k", -1}},
  numbers[] = {{"0", 0}, {"42", 42}, {"007", 7}, {"9223372036854775807", 9223372036854775807},
      {"18446744073709551616", -1}, {"4.2", -1}, {"", -1}, {"-1", -1}, {"1k", -1}, {"1 ", -1}},
  bools[] = {{"true", 1}, {"yes", 1}, {"on", 1}, {"1", 1}, {"false", 0}, {"no", 0}, {"off", 0},
      {"0", 0}, {"TRUE", -1}, {"", -1}, {"2", -1}};

static const struct {
    const char *text, *again; /* NULL: refused */
} addrs[] = {{"1.2.3.4:80", "1.2.3.4:80"}, {"[::1]:80", "[::1]:80"}, {":80", "0.0.0.0:80"},
    {"localhost:7946", "127.0.0.1:7946"}, {"127.0.0.1:0", "127.0.0.1:0"},
    {"[2001:db8::7]:65535", "[2001:db8::7]:65535"}, {"[::]:1", "[::]:1"}, {"1.2.3.4", NULL},
    {"1.2.3.4:", NULL}, {"1.2.3.4:65536", NULL}, {"1.2.3.4:-1", NULL}, {"1.2.3.4:8 ", NULL},
    {"1.2.3:80", NULL}, {"1.2.3.256:80", NULL}, {"::1:80", NULL}, {"[::1]", NULL}, {"[]:80", NULL},
    {"[::1:80", NULL}, {"[1.2.3.4]:80", NULL}, {"example.org:80", NULL}, {"", NULL}, {":", NULL},
    {"[::1%lo]:80", NULL}, {"1.2.3.4:000000080", NULL}};

static bool sentence(const struct myco_err *err, int code)
{
    return code == MYCO_EINVAL && err->code == code && err->message[0] != '\0';
}

#define EACH(i, table) for (size_t i = 0; i < sizeof table / sizeof *table; i++)

static void test_values(void)
{
    struct myco_err err;
    uint64_t value;
    bool flag;
    EACH(i, durations)
    {
        int code = myco_text_duration(durations[i].text, &value, &err);
        if (code == 0) is_int(value, durations[i].value, "duration \"%s\"", durations[i].text);
        if (code != 0) {
            ok(sentence(&err, code) && durations[i].value == -1, "%s", err.message);
        }
    }
    EACH(i, sizes)
    {
        int code = myco_text_size(sizes[i].text, &value, &err);
        if (code == 0) is_int(value, sizes[i].value, "size \"%s\"", sizes[i].text);
        if (code != 0) ok(sentence(&err, code) && sizes[i].value == -1, "%s", err.message);
    }
    EACH(i, numbers)
    {
        int code = myco_text_u64(numbers[i].text, &value, &err);
        if (code == 0) is_int(value, numbers[i].value, "number \"%s\"", numbers[i].text);
        if (code != 0) ok(sentence(&err, code) && numbers[i].value == -1, "%s", err.message);
    }
    EACH(i, bools)
    {
        int code = myco_text_bool(bools[i].text, &flag, &err);
        if (code == 0) is_int(flag, bools[i].value, "bool \"%s\"", bools[i].text);
        if (code != 0) ok(sentence(&err, code) && bools[i].value == -1, "%s", err.message);
    }
}

static void test_copy(void)
{
    char text[4];
    ok(myco_text_copy(text, sizeof text, "abc") && strcmp(text, "abc") == 0, "copy that fits");
    ok(!myco_text_copy(text, sizeof text, "abcd") && strcmp(text, "abc") == 0, "copy that is cut");
}

static void test_addrs(void)
{
    struct myco_err err;
    EACH(i, addrs)
    {
        struct myco_addr addr, again;
        char text[MYCO_ADDR_TEXT_MAX];
        uint8_t storage[128];
        int code = myco_addr_parse(&addr, addrs[i].text, &err);
        if (addrs[i].again == NULL) {
            ok(sentence(&err, code) && addr.family == 0, "%s", err.message);
            continue;
        }
        if (!is_int(code, 0, "address \"%s\"", addrs[i].text)) continue;
        is_str(myco_addr_text(&addr, text), addrs[i].again, "as text");
        ok(myco_addr_to_sockaddr(&addr, storage) > 0 && myco_addr_from_sockaddr(&again, storage) &&
                myco_addr_equal(&addr, &again),
            "through the system's structure and back");
    }
}

static void test_addr_bytes(void)
{
    struct myco_buf buf = {0};
    struct myco_addr none = {0}, v4, v6;
    myco_addr_parse(&v4, "1.2.3.4:80", NULL);
    myco_addr_parse(&v6, "[::2]:80", NULL);
    myco_buf_addr(&buf, &none);
    myco_buf_addr(&buf, &v4);
    myco_buf_addr(&buf, &v6);
    is_int(buf.size, 1 + 7 + 19, "three addresses, without padding");

    struct myco_reader reader = myco_reader(buf.data, buf.size);
    struct myco_addr a = myco_read_addr(&reader), b = myco_read_addr(&reader),
                     c = myco_read_addr(&reader);
    ok(myco_read_done(&reader) && myco_addr_equal(&a, &none) && myco_addr_equal(&b, &v4) &&
            myco_addr_equal(&c, &v6),
        "read back");
    reader = myco_reader(buf.data + 1, 6);
    a = myco_read_addr(&reader);
    ok(reader.bad && a.family == 0, "a cut address is bad and none");
    reader = myco_reader("\x05zzzzzzzzzzzzzzzzzzzzz", 20);
    myco_read_addr(&reader);
    ok(reader.bad, "an unknown family is bad");
    myco_buf_free(&buf);

    /* AF_INET6 of a socket for both families */
    struct myco_addr mapped = {.family = 6, .port = 80, .ip = {[10] = 255, [11] = 255, 1, 2, 3, 4}};
    uint8_t storage[128];
    myco_addr_to_sockaddr(&mapped, storage);
    ok(myco_addr_from_sockaddr(&a, storage) && myco_addr_equal(&a, &v4), "::ffff:1.2.3.4 is IPv4");
}

int main(void)
{
    test_values();
    test_copy();
    test_addrs();
    test_addr_bytes();
    return plan_done();
}
