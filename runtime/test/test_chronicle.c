/* Catches: a ring that grows or loses the newest, a number that is told twice or left out in
 * silence, a follower that hears something inside of the call that caused it or after it was ended,
 * a line of the log that says something else than the event. The clock is a variable. */
#include "base/mem.h"
#include "host/core_chronicle.h"
#include "tap.h"

#define KEPT 16

static struct myco_log logged;
static struct myco_metrics metrics;
static uint64_t wake_ns;
static char last_line[400];

static uint64_t now_ns(struct myco_env *env)
{
    (void)env;
    return 1000;
}

static uint64_t wall_ms(struct myco_env *env)
{
    (void)env;
    return 1700000000123;
}

static void wake_at(struct myco_env *env, uint64_t ns)
{
    (void)env;
    wake_ns = ns;
}

static const struct myco_env_ops ops = {.now_ns = now_ns, .wall_ms = wall_ms, .wake_at = wake_at};
static struct myco_env env;

static void on_line(
    int level, const char *subsystem, const char *message, const char *fields, void *data)
{
    (void)data;
    snprintf(last_line, sizeof last_line, "%d %s: %s [%s]", level, subsystem, message, fields);
}

static void turn(void)
{
    myco__env_wake(&env);
}

static struct myco_chronicle *fresh(void)
{
    memset(&metrics, 0, sizeof metrics);
    logged = (struct myco_log){.level = MYCO_LOG_INFO, .sink = on_line};
    myco__env_init(&env, &ops);
    env.log = &logged;
    env.metrics = &metrics;
    return chronicle_new(&env, KEPT);
}

static void tell(struct myco_chronicle *chronicle, const char *name)
{
    struct chronicle_note note = chronicle_note(MYCO_EVENT_MEMBER_DEAD, name);
    chronicle_field(&note, "reason", "of a test");
    chronicle_number(&note, "generation", 7);
    chronicle_tell(chronicle, &note, "%s is dead: of a test", name);
}

/* ── followers that write down what they hear ── */

struct ear {
    uint64_t heard[64];
    unsigned count;
    struct chronicle_follower *follower, *ends; /* the one that it ends at its first event */
    struct myco_event last;
    char text[64];
};

static void on_event(const struct myco_event *event, void *data)
{
    struct ear *ear = data;
    if (ear->count < 64) ear->heard[ear->count++] = event->sequence;
    ear->last = *event;
    snprintf(ear->text, sizeof ear->text, "%s", event->text);
    if (ear->ends) chronicle_unfollow(ear->ends);
    ear->ends = NULL;
}

static void test_event(void)
{
    struct myco_chronicle *chronicle = fresh();
    struct ear ear = {0};
    ear.follower = chronicle_follow(chronicle, 0, on_event, &ear);
    tell(chronicle, "bert");
    is_int(ear.count, 0, "a follower hears nothing inside of the call");
    turn();
    is_int(ear.count, 1, "and on a later turn once");
    is_int(ear.last.sequence, 1, "the first number is 1");
    is_int(ear.last.time_ms, 1700000000123, "the time is that of the wall");
    is_str(ear.text, "bert is dead: of a test", "the sentence");
    is_str(last_line, "3 gossip: bert is dead: of a test [event=member.dead number=1]",
        "the log says the same");
    is_int(metrics.values[MYCO_METRIC_EVENTS_MEMBER], 1, "it is counted");
    chronicle_free(chronicle);
}

static void test_ring(void)
{
    struct myco_chronicle *chronicle = fresh();
    struct ear late = {0}, middle = {0}, next = {0};
    char name[16];
    for (int i = 1; i <= 100; i++) {
        snprintf(name, sizeof name, "n%d", i);
        tell(chronicle, name);
    }
    is_int(chronicle_last(chronicle), 100, "numbers go on");
    chronicle_follow(chronicle, 0, on_event, &late);
    chronicle_follow(chronicle, 98, on_event, &middle);
    chronicle_follow(chronicle, UINT64_MAX, on_event, &next);
    turn();
    is_int(late.count, KEPT, "as many are kept as was asked for");
    is_int(late.heard[0], 100 - KEPT + 1, "the newest ones");
    bool ordered = true;
    for (unsigned i = 1; i < late.count; i++) ordered &= late.heard[i] == late.heard[i - 1] + 1;
    ok(ordered && late.heard[late.count - 1] == 100, "in order, each once");
    is_int(middle.count, 3, "from a number on");
    is_int(next.count, 0, "from now on");
    tell(chronicle, "new");
    turn();
    is_int(next.heard[0], 101, "then it hears the next one");
    for (int i = 0; i < 2 * KEPT; i++) tell(chronicle, "burst");
    turn();
    is_int(next.count, 1 + KEPT, "one that lags hears what is kept");
    is_int(next.heard[1], 101 + KEPT + 1, "and sees by the jump what is not");
    chronicle_free(chronicle);
}

static void test_ending(void)
{
    struct myco_chronicle *chronicle = fresh();
    struct ear first = {0}, second = {0};
    first.follower = chronicle_follow(chronicle, 0, on_event, &first);
    second.follower = chronicle_follow(chronicle, 0, on_event, &second);
    first.ends = second.follower;
    tell(chronicle, "one");
    tell(chronicle, "two");
    turn();
    is_int(first.count, 2, "who ended another goes on");
    is_int(second.count, 0, "the other hears nothing more");
    first.ends = first.follower;
    tell(chronicle, "three");
    tell(chronicle, "four");
    turn();
    is_int(first.count, 3, "who ends itself, too");
    int count = 0;
    while (chronicle_follow(chronicle, 0, on_event, &second) != NULL) count++;
    is_int(count, CHRONICLE_FOLLOWERS_MAX, "followers are bounded");
    chronicle_free(chronicle);
}

static void test_bounds(void)
{
    struct myco_chronicle *chronicle = fresh();
    char longest[2000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    struct ear ear = {0};
    chronicle_follow(chronicle, 0, on_event, &ear);
    struct chronicle_note note = chronicle_note(MYCO_EVENT_SEPTUM_CREATED, "carts");
    for (int i = 0; i < CHRONICLE_FIELDS_MAX + 3; i++) chronicle_number(&note, "key", 1);
    is_int(note.field_count, CHRONICLE_FIELDS_MAX, "fields are bounded");
    chronicle_tell(chronicle, &note, "%s", longest);
    turn();
    is_int(strlen(ear.text), sizeof ear.text - 1, "a long sentence is cut, not refused");
    chronicle_free(chronicle);
}

int main(void)
{
    test_event();
    test_ring();
    test_ending();
    test_bounds();
    return plan_done();
}
