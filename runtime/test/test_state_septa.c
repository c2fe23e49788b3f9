/* The options of septa: read, shown, agreed on. Would catch: an option that is lost on its way
 * through a command, a snapshot or a manifest; one that changes though it must not; a change that
 * overwrites another's; a number of a newer version that is skipped. */
#include "tap.h"

#include "base/mem.h"
#include "consensus/state_internal.h"

static struct myco_command_result result;
static uint64_t sequence;

static int apply(struct myco_state *state, uint8_t kind, struct myco_buf *body)
{
    struct myco_buf command = {0};
    myco_command_begin(&command, kind, 1, 1, kind == MYCO_COMMAND_JOIN ? 0 : ++sequence);
    myco_buf_bytes(&command, body->data, body->size);
    int rc = myco_state_apply(state, myco_buf_as_slice(&command), &result);
    myco_buf_free(&command);
    myco_buf_free(body);
    return rc ? rc : result.status;
}

static struct myco_state *open_state(void)
{
    struct myco_state *state = myco_state_new(&(struct myco_state_events){0});
    state->features_active =
        MYCO_FEATURE_BIT(MYCO_FEATURE_FEATURES) | MYCO_FEATURE_BIT(MYCO_FEATURE_SEPTUM_OPTIONS);
    struct myco_member_record member = {.name = "n1", .features = ~UINT64_C(0)};
    struct myco_buf body = {0};
    myco_command_join(&body, &member, true);
    apply(state, MYCO_COMMAND_JOIN, &body);
    return state;
}

static int make(struct myco_state *state, const char *name, const char *spec)
{
    struct myco_septum_options options;
    struct myco_buf body = {0};
    if (myco_septum_options_parse(&options, spec, NULL)) return MYCO_EINVAL;
    myco_command_septum_make(&body, name, &options);
    return apply(state, MYCO_COMMAND_SEPTUM_MAKE, &body);
}

static int alter(struct myco_state *state, const char *name, const char *spec, uint64_t version)
{
    struct myco_septum_options options = myco_state_septum_named(state, name)->options;
    struct myco_buf body = {0};
    if (myco_septum_options_alter(&options, spec, NULL)) return MYCO_EINVAL;
    myco_command_septum_alter(&body, name, version, &options);
    return apply(state, MYCO_COMMAND_SEPTUM_ALTER, &body);
}

static void test_spec(void)
{
    struct myco_septum_options options;
    struct myco_err err = {0};
    struct myco_septum_shown shown;
    is_int(myco_septum_options_parse(&options, "", &err), 0, "no options are the defaults");
    ok(myco_septum_options_plain(&options), "which the first version knew");
    is_int(options.copies, 2, "with one replica");
    is_int(myco_septum_options_parse(
               &options, "idle=90s,size=64MiB entries=5 value-size=1k eviction=lru", &err),
        0, "all others: %s", err.message);
    ok(options.idle_ms == 90000 && options.size_max == 64 << 20 && options.entries_max == 5 &&
            options.value_max == 1024 && options.eviction == MYCO_EVICT_LRU,
        "each arrives");
    ok(!myco_septum_options_plain(&options), "which the first version did not know");
    unsigned right = 0;
    for (size_t i = 0; myco_septum_options_show(&options, i, &shown); i++) {
        right += strcmp(shown.name, "idle") == 0 && strcmp(shown.value, "90s") == 0;
        right += strcmp(shown.name, "size") == 0 && strcmp(shown.value, "64MiB") == 0;
        right += strcmp(shown.name, "eviction") == 0 && strcmp(shown.value, "lru") == 0;
        right += strcmp(shown.name, "hyphae") == 0 && shown.fixed;
    }
    is_int(right, 4, "and is shown as one would write it");
    is_int(myco_septum_options_parse(&options, "kind=durable eviction=lfu", &err), MYCO_EINVAL,
        "a durable septum does not evict: %s", err.message);
    is_int(myco_septum_options_parse(&options, "seize=1", &err), MYCO_EINVAL,
        "what is unknown is named: %s", err.message);
    ok(strstr(err.message, "seize"), "it is");
}

static void test_change(void)
{
    struct myco_state *state = open_state();
    is_int(make(state, "carts", "hyphae=4 size=1MiB"), 0, "a septum is made");
    const struct myco_septum_record *septum = myco_state_septum_named(state, "carts");
    is_int(septum->options.size_max, 1 << 20, "with its limit");
    is_int(alter(state, "carts", "idle=1m replicas=2", 0), 0, "and altered");
    ok(septum->options.idle_ms == 60000 && septum->options.size_max == 1 << 20 &&
            septum->options.copies == 3 && result.value == 1,
        "what was not named stays");
    is_int(alter(state, "carts", "size=0", 0), MYCO_ECONFLICT, "not over another's change");
    is_int(alter(state, "carts", "size=0", 1), 0, "but after it");
    is_int(alter(state, "carts", "hyphae=8", 2), MYCO_EINVAL, "the number of hyphae stays");
    is_int(alter(state, "carts", "hyphae=4", 2), 0, "unless it is what it is");
    struct myco_septum_options options = septum->options;
    struct myco_buf body = {0};
    options.hyphae = 8;
    myco_command_septum_alter(&body, "carts", 3, &options);
    is_int(apply(state, MYCO_COMMAND_SEPTUM_ALTER, &body), MYCO_EINVAL, "whoever logs it");
    is_int(septum->options.hyphae, 4, "it does");
    myco_state_free(state);
}

static void test_kept(void)
{
    struct myco_state *state = open_state(), *copy = open_state();
    struct myco_buf bytes = {0}, again = {0}, definitions = {0};
    struct myco_err err = {0};
    make(state, "plain", "hyphae=2");
    make(state, "carts", "kind=durable hyphae=2 size=1MiB value_size=1k");
    alter(state, "carts", "idle=1m", 0);
    myco_state_save(state, &bytes);
    is_int(myco_state_load(copy, myco_buf_as_slice(&bytes), &err), 0, "a snapshot is loaded");
    myco_state_save(copy, &again);
    ok(again.size == bytes.size && memcmp(again.data, bytes.data, bytes.size) == 0, "to the byte");
    const struct myco_septum_record *septum = myco_state_septum_named(copy, "carts");
    ok(septum->version == 1 && septum->options.idle_ms == 60000, "options and their version");
    myco_state_definitions(state, &definitions);
    struct myco_state *fresh = myco_state_new(&(struct myco_state_events){0});
    struct myco_buf init = {0}, command = {0};
    myco_command_begin(&command, MYCO_COMMAND_INIT, 1, 1, 0);
    myco_command_init(&init, 7, "c", 300, 2, 1, 1, myco_buf_as_slice(&definitions));
    myco_buf_bytes(&command, init.data, init.size);
    is_int(myco_state_apply(fresh, myco_buf_as_slice(&command), &result), 0, "a new cluster");
    is_int(result.status, 0, "is born from a manifest");
    septum = myco_state_septum_named(fresh, "carts");
    ok(septum && septum->options.value_max == 1024 && septum->options.idle_ms == 60000,
        "with the same limits");
    ok(myco_state_feature(fresh, MYCO_FEATURE_SEPTUM_OPTIONS), "and nobody in it is too old");
    myco_state_free(state), myco_state_free(copy), myco_state_free(fresh);
    myco_buf_free(&bytes), myco_buf_free(&again), myco_buf_free(&definitions);
    myco_buf_free(&init), myco_buf_free(&command);
}

static void test_unknown(void)
{
    struct myco_septum_options options;
    uint8_t unknown[] = {1, 99, 1, 0, 0, 0, 0, 0, 0, 0}, choice[] = {1, 5, 4, 0, 0, 0, 0, 0, 0, 0};
    myco_septum_options_parse(&options, "", NULL);
    struct myco_reader in = myco_reader(unknown, sizeof unknown);
    myco__septum_extras_read(&in, &options);
    ok(in.bad, "an option of a newer version is refused");
    in = myco_reader(choice, sizeof choice);
    myco__septum_extras_read(&in, &options);
    ok(in.bad, "and so is a choice that there is not");
}

int main(void)
{
    test_spec();
    test_change();
    test_kept();
    test_unknown();
    return plan_done();
}
