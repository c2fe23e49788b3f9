/* What people write (durations, sizes, addresses, specs): nothing is read past its end, what was
 * read as an address is written and read as the same, and JSON strings stay strings. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/json.h"
#include "base/option.h"
#include "base/text.h"
#include "fuzz.h"

struct spec {
    char *name, *kind, *tags;
    uint64_t ttl_ms, size;
    uint32_t hyphae;
    bool fast;
};

static const struct myco_option options[] = {
    {"name", MYCO_OPTION_TEXT, MYCO_OPTION_AT(struct spec, name), .doc = ""},
    {"kind", MYCO_OPTION_CHOICE_TEXT, MYCO_OPTION_AT(struct spec, kind), .choices = "cache,durable",
        .doc = ""},
    {"tags", MYCO_OPTION_LIST, MYCO_OPTION_AT(struct spec, tags), .doc = ""},
    {"ttl", MYCO_OPTION_DURATION, MYCO_OPTION_AT(struct spec, ttl_ms), .doc = ""},
    {"size", MYCO_OPTION_SIZE, MYCO_OPTION_AT(struct spec, size), .doc = ""},
    {"hyphae", MYCO_OPTION_U64, MYCO_OPTION_AT(struct spec, hyphae), .min = 1, .max = 4096,
        .doc = ""},
    {"fast", MYCO_OPTION_BOOL, MYCO_OPTION_AT(struct spec, fast), .doc = ""}, {0}};

static void try_addr(const char *text)
{
    struct myco_addr addr, again;
    char written[MYCO_ADDR_TEXT_MAX];
    if (myco_addr_parse(&addr, text, NULL) < 0) return;
    int result = myco_addr_parse(&again, myco_addr_text(&addr, written), NULL);
    assert(result == 0 && myco_addr_equal(&addr, &again));
}

static void try_spec(const char *text)
{
    struct spec spec = {.hyphae = 1};
    struct myco_err err;
    int result = myco_options_spec(options, &spec, text, &err);
    assert(result == 0 || (err.code == result && memchr(err.message, 0, sizeof err.message)));
    assert(spec.hyphae >= 1 && spec.hyphae <= 4096);
    myco_options_release(options, &spec);
}

static void try_json(const uint8_t *bytes, size_t size)
{
    struct myco_buf json = {0};
    myco_buf_json(&json, (const char *)bytes, size);
    assert(!json.failed && json.size >= size + 2);
    for (size_t i = 1; i + 1 < json.size; i++) {
        assert(json.data[i] >= 0x20 && json.data[i] != '"');
        if (json.data[i] == '\\') i++;
    }
    myco_buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1); /* just as large as it is: a sanitizer sees one byte more */
    if (size > 0) memcpy(text, bytes, size);
    text[size] = '\0';
    uint64_t value;
    bool flag;
    myco_text_duration(text, &value, NULL);
    myco_text_size(text, &value, NULL);
    myco_text_u64(text, &value, NULL);
    myco_text_bool(text, &flag, NULL);
    try_addr(text);
    try_spec(text);
    try_json(bytes, size);
    free(text);
    return 0;
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    static const char *const samples[] = {"[2001:db8::7]:7946", "127.0.0.1:80", "30d", "1.5KiB",
        "kind=durable ttl=30d name=\"two words\" tags=a,b hyphae=64 fast=on", "hypha=1"};
    if (index >= sizeof samples / sizeof *samples) return 0;
    size_t size = strlen(samples[index]);
    if (size > size_max) return 0;
    memcpy(bytes, samples[index], size);
    return size;
}
