/* Catches: an option that is set to something else than was written, an error that does not say
 * which option, which value, and what is allowed. */
#include "base/option.h"

#include "base/addr.h"
#include "base/json.h"
#include "base/mem.h"
#include "tap.h"

struct sample {
    char *name, *kind, *tags;
    uint64_t ttl_ms, size;
    uint32_t hyphae;
    int level;
    bool fast;
    unsigned slow;
};

static int check_tag(const char *tag, struct myco_err *err)
{
    return strlen(tag) <= 3 ? 0 : myco_err(err, MYCO_EINVAL, "\"%s\" is no tag", tag);
}

static const struct myco_option options[] = {
    {"name", MYCO_OPTION_TEXT, MYCO_OPTION_AT(struct sample, name), .doc = "name of the thing",
        .shown = "the host's"},
    {"kind", MYCO_OPTION_CHOICE_TEXT, MYCO_OPTION_AT(struct sample, kind), .initial = "cache",
        .choices = "cache,durable", .doc = "what it promises"},
    {"tags", MYCO_OPTION_LIST, MYCO_OPTION_AT(struct sample, tags), .check = check_tag,
        .doc = "short words"},
    {"ttl", MYCO_OPTION_DURATION, MYCO_OPTION_AT(struct sample, ttl_ms), .initial = "5s", .min = 10,
        .max = 60000, .doc = "life"},
    {"size", MYCO_OPTION_SIZE, MYCO_OPTION_AT(struct sample, size), .initial = "1KiB",
        .doc = "bytes"},
    {"hypha_count", MYCO_OPTION_U64, MYCO_OPTION_AT(struct sample, hyphae), .initial = "64",
        .min = 1, .doc = "shards"},
    {"level", MYCO_OPTION_CHOICE, MYCO_OPTION_AT(struct sample, level), .initial = "info",
        .choices = "trace,debug,info", .doc = "of the log"},
    {"fast", MYCO_OPTION_BOOL, MYCO_OPTION_AT(struct sample, fast), .doc = "go fast"},
    {"slow", MYCO_OPTION_BOOL, MYCO_OPTION_AT(struct sample, slow), .initial = "yes",
        .doc = "go slow"},
    {0}};

static struct sample sample;
static struct myco_err err;

static int spec(const char *text)
{
    myco_options_release(options, &sample);
    myco_options_init(options, &sample);
    return myco_options_spec(options, &sample, text, &err);
}

static void test_values(void)
{
    is_int(spec(NULL), 0, "no spec: defaults");
    ok(sample.name == NULL && strcmp(sample.kind, "cache") == 0 && sample.ttl_ms == 5000 &&
            sample.size == 1024 && sample.hyphae == 64 && sample.level == 2 && !sample.fast &&
            sample.slow == 1,
        "of every type");
    is_int(spec("  kind=durable ttl=30s  name=\"two words\" tags=a,b size=2MB hypha-count=7 "
                "level=trace "
                "fast=on slow=0 "),
        0, "every type");
    ok(strcmp(sample.kind, "durable") == 0 && sample.ttl_ms == 30000 && sample.size == 2000000 &&
            sample.hyphae == 7 && sample.level == 0 && sample.fast && sample.slow == 0,
        "is set");
    is_str(sample.name, "two words", "a quoted value");
    is_str(sample.tags, "a,b", "a list");
}

static void test_errors(void)
{
    static const struct {
        const char *spec, *message;
    } wrong[] = {
        {"king=cache", "there is no option king: did you mean kind?"},
        {"hypha=1", "there is no option hypha: did you mean hypha_count?"},
        {"zzzzzz=1", "there is no option zzzzzz, only: name, kind, tags, ttl, size, hypha_count, "
                     "level, fast, slow"},
        {"kind=cold", "option kind: \"cold\" is none of cache,durable"},
        {"kind=cach", "option kind: \"cach\" is none of cache,durable"},
        {"ttl=5x",
            "option ttl: \"5x\" is not a duration: a number and ms, s, m, h, d or w, such as "
            "200ms or 30d"},
        {"ttl=9ms", "option ttl: \"9ms\" is not between 10ms and 60000ms"},
        {"ttl=2h", "option ttl: \"2h\" is not between 10ms and 60000ms"},
        {"hypha_count=0", "option hypha_count: \"0\" is not between 1 and 4294967295"},
        {"hypha_count=4294967296",
            "option hypha_count: \"4294967296\" is not between 1 and 4294967295"},
        {"tags=a,long", "option tags: \"long\" is no tag"},
        {"tags=a,,b", "option tags: \"a,,b\" has an element that is empty or too long"},
        {"fast=maybe", "option fast: \"maybe\" is not true, false, yes, no, on, off, 1 or 0"},
        {"fast", "\"fast\" has no value: write fast=…"},
        {"name=\"a", "option name: the closing quote is missing"},
        {"name=\"a\"b", "option name: a space is missing after its value"},
        {"fast=1 fast=0", "option fast is there twice"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int code = spec(wrong[i].spec);
        is_str(err.message, wrong[i].message, "%s", wrong[i].spec);
        if (code != MYCO_EINVAL) ok(false, "but it was taken");
    }
    spec("ttl=20s kind=cold");
    is_int(sample.ttl_ms, 20000, "what came before an error is set");
    is_str(sample.kind, "cache", "what is wrong leaves the field as it was");

    char large[8000];
    memset(large, 'x', sizeof large);
    memcpy(large, "name=", 5);
    large[7999] = '\0';
    is_int(spec(large), MYCO_EINVAL, "a value of 8,000 bytes is refused: %s", err.message);
    memset(large, 'x', 5);
    is_int(spec(large), MYCO_EINVAL, "and a name");
}

static int args(int *used, const char *const *words)
{
    int argc = 0;
    while (words[argc] != NULL) argc++;
    myco_options_release(options, &sample);
    myco_options_init(options, &sample);
    spec("tags=old");
    return myco_options_args(options, &sample, argc, (char **)(uintptr_t)words, used, &err);
}

#define ARGS(...) args(&used, (const char *const[]){__VA_ARGS__, NULL})

static void test_args(void)
{
    int used;
    is_int(ARGS("--name", "-x", "--ttl=1s", "--hypha-count=3", "--fast", "--no-slow", "rest",
               "--name"),
        0, "arguments");
    ok(strcmp(sample.name, "-x") == 0 && sample.ttl_ms == 1000 && sample.hyphae == 3 &&
            sample.fast && sample.slow == 0 && used == 6,
        "are set, up to the first that is none");
    is_int(ARGS("--tags", "a", "--tags=b,c"), 0, "a list that comes twice");
    is_str(sample.tags, "a,b,c", "has all elements, and replaces the former");
    ARGS("--fast", "--", "--name");
    is_int(used, 2, "-- ends the options");
    ARGS("--fast=false", "--slow=yes");
    ok(!sample.fast && sample.slow == 1, "a boolean with a value");

    is_int(ARGS("--naem", "x"), MYCO_EINVAL, "an unknown one");
    is_str(err.message, "there is no option --naem: did you mean --name?", "is named");
    ARGS("--nam=x");
    is_str(err.message, "there is no option --nam: did you mean --name?", "also with a value");
    ARGS("--hypha-count", "x");
    is_str(err.message, "--hypha-count: \"x\" is not a whole number from 0", "a wrong value");
    ARGS("--hypha-count=x");
    is_str(err.message, "--hypha-count: \"x\" is not a whole number from 0", "after =");
    ARGS("--name");
    is_str(err.message, "--name: its value is missing", "a missing value");
    ARGS("-n", "x");
    is_str(err.message, "-n: options begin with two dashes", "one dash");
    is_int(ARGS("--no-name"), MYCO_EINVAL, "--no- is for booleans: %s", err.message);
}

static void test_help(void)
{
    struct myco_buf text = {0};
    myco_options_help(options, &text);
    myco_buf_u8(&text, 0);
    ok(strstr((char *)text.data,
           "  --name TEXT               name of the thing (the host's)\n"
           "  --kind WORD               what it promises: cache,durable (cache)\n") != NULL,
        "help");
    ok(strstr((char *)text.data, "\n  --hypha-count NUMBER      shards (64)\n") != NULL,
        "with dashes");
    myco_buf_free(&text);

    myco_buf_json(&text, "a\"\\\n\xff", 5);
    myco_buf_u8(&text, 0);
    is_str((char *)text.data, "\"a\\\"\\\\\\u000a\\ufffd\"", "JSON of anything");
    myco_buf_free(&text);
}

int main(void)
{
    test_values();
    test_errors();
    test_args();
    test_help();
    myco_options_release(options, &sample);
    return plan_done();
}
