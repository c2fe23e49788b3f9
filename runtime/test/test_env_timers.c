/* Catches: timers out of order, a timer that fires inside start or after stop, a chain of deferred
 * calls or of due timers that starves the rest, a wake that is not asked for. The clock is a
 * variable. */
#include "base/hash.h"
#include "base/mem.h"
#include "env/env.h"
#include "tap.h"

#define MS 1000000ull

static struct world {
    struct myco_env env;
    uint64_t now_ns, wake_ns;
    char seen[200]; /* a letter for each callback, in order */
} world;

static uint64_t now_ns(struct myco_env *env)
{
    (void)env;
    return world.now_ns;
}

static void wake_at(struct myco_env *env, uint64_t ns)
{
    (void)env;
    world.wake_ns = ns;
}

static void fill_random(struct myco_env *env, void *bytes, size_t size)
{
    (void)env;
    static uint64_t state = 1;
    state = myco_hash_mix(state, 1);
    memcpy(bytes, &state, size);
}

static const struct myco_env_ops ops = {
    .now_ns = now_ns, .wake_at = wake_at, .random = fill_random};

static void reset(void)
{
    memset(&world, 0, sizeof world);
    world.now_ns = 1000 * MS;
    world.wake_ns = UINT64_MAX;
    myco__env_init(&world.env, &ops);
}

static void see(void *letter)
{
    size_t size = strlen(world.seen);
    if (size < sizeof world.seen - 1) world.seen[size] = *(const char *)letter;
}

/* Turns as long as one is asked for by `ms` from now, and time ends there. */
static void run(uint64_t ms, int turns_max)
{
    uint64_t end_ns = world.now_ns + ms * MS;
    while (world.wake_ns <= end_ns && turns_max-- > 0) {
        if (world.wake_ns > world.now_ns) world.now_ns = world.wake_ns;
        world.wake_ns = UINT64_MAX;
        myco__env_wake(&world.env);
    }
    world.now_ns = end_ns;
}

static void start(
    struct myco_timer *timer, const char *letter, uint64_t delay_ms, uint64_t repeat_ms)
{
    myco_timer_init(timer, &world.env, see, (void *)(uintptr_t)letter);
    myco_timer_start(timer, delay_ms, repeat_ms);
}

static void test_order(void)
{
    struct myco_timer t[6];
    reset();
    start(&t[0], "a", 20, 0);
    start(&t[1], "b", 10, 0);
    start(&t[2], "c", 20, 0);
    start(&t[3], "d", 0, 0);
    start(&t[4], "e", 10, 0);
    start(&t[5], "f", 15, 0);
    is_str(world.seen, "", "nothing fires inside start");
    is_int(world.wake_ns, world.now_ns, "and the wake is asked for the first");
    myco_timer_stop(&t[5]);
    myco_timer_stop(&t[5]);
    run(9, 99);
    is_str(world.seen, "d", "what is not due does not fire");
    run(100, 99);
    is_str(world.seen, "dbeac", "by due time, then by start; a stopped one never");
    ok(!myco_timer_active(&t[0]) && world.wake_ns == UINT64_MAX, "then there is no wake any more");
    myco__env_close(&world.env);
}

static void test_repeat(void)
{
    struct myco_timer r;
    reset();
    start(&r, "r", 10, 10);
    run(35, 99);
    is_str(world.seen, "rrr", "a timer that repeats");
    world.now_ns += 1000 * MS; /* the process stood still */
    myco__env_wake(&world.env);
    is_str(world.seen, "rrrr", "skips the times it missed");
    myco_timer_stop(&r);
    run(100, 99);
    is_str(world.seen, "rrrr", "and stops");
    start(&r, "x", 5, 0);
    start(&r, "y", UINT64_MAX, 0);
    run(10000, 99);
    is_str(world.seen, "rrrr", "started again: only the last one counts; for ever is no overflow");
    myco__env_close(&world.env);
}

static struct myco_timer again;
static void restart_past(void *data)
{
    see(data);
    myco_timer_start_at(&again, 1); /* long ago */
}

static void test_no_starvation(void)
{
    struct myco_timer other;
    reset();
    myco_timer_init(&again, &world.env, restart_past, (void *)(uintptr_t) "a");
    myco_timer_start_at(&again, 5);
    start(&other, "o", 0, 0);
    myco__env_wake(&world.env);
    is_str(world.seen, "ao", "what starts itself in the past fires once in a turn, others too");
    myco__env_wake(&world.env);
    is_str(world.seen, "aoa", "and again in the next");
    myco__env_close(&world.env);
    ok(!myco_timer_active(&again), "closing stops timers");
    myco_timer_start(&again, 0, 0);
    ok(!myco_timer_active(&again), "and starting one then does nothing");
}

static struct myco_deferred first, second, third;
static void defer_again(void *data)
{
    see(data);
    myco_defer(&world.env, &first, defer_again, data);
}
static void cancel_third(void *data)
{
    see(data);
    myco_defer_cancel(&third);
}

static void test_deferred(void)
{
    struct myco_timer timer;
    reset();
    start(&timer, "t", 0, 0);
    myco_defer(&world.env, &first, see, (void *)(uintptr_t) "1");
    myco_defer(&world.env, &second, see, (void *)(uintptr_t) "2");
    myco_defer(&world.env, &first, see, (void *)(uintptr_t) "3");
    is_str(world.seen, "", "nothing runs inside defer");
    run(0, 1);
    is_str(world.seen, "32t", "deferred first, in order, once; then timers");
    myco__env_close(&world.env);

    reset();
    start(&timer, "t", 0, 0);
    myco_defer(&world.env, &first, defer_again, (void *)(uintptr_t) "1");
    run(0, 3);
    is_str(
        world.seen, "1t11", "a chain of deferred calls takes a turn each, and timers get theirs");
    myco_defer_cancel(&first);
    run(0, 99);
    is_str(world.seen, "1t11", "cancelled");
    myco__env_close(&world.env);

    reset();
    myco_defer_cancel(&third);
    myco_defer(&world.env, &second, cancel_third, (void *)(uintptr_t) "2");
    myco_defer(&world.env, &third, see, (void *)(uintptr_t) "3");
    run(0, 99);
    is_str(world.seen, "2", "cancelled by the one before it in the same turn");
    myco_defer(&world.env, &third, see, (void *)(uintptr_t) "3");
    myco__env_close(&world.env);
    myco_defer_cancel(&third);
    ok(myco_list_empty(&third.link), "closing forgets what was deferred");
}

static void close_env(void *data)
{
    see(data);
    myco__env_close(&world.env);
}

static void test_close_inside(void)
{
    struct myco_timer timer;
    reset();
    start(&timer, "t", 0, 0);
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    myco_defer(&world.env, &first, close_env, (void *)(uintptr_t) "c");
    myco_defer(&world.env, &second, see, (void *)(uintptr_t) "2");
    world.wake_ns = UINT64_MAX;
    myco__env_wake(&world.env);
    is_str(world.seen, "c", "closing inside a callback ends the turn");
    is_int(world.wake_ns == UINT64_MAX, 1, "and no wake is asked for");
}

/* Random starts and stops against a list that is searched. */
#define MODEL 64
static struct myco_timer *fired;
static void remember(void *data)
{
    fired = data;
}

static void test_model(void)
{
    struct myco_timer *timers = myco_alloc(MODEL * sizeof *timers);
    uint64_t due[MODEL], start_number[MODEL] = {0}, number = 0, state = 7;
    bool active[MODEL] = {false};
    long wrong = 0, fires = 0;
    reset();
    for (int i = 0; i < MODEL; i++) myco_timer_init(&timers[i], &world.env, remember, &timers[i]);
    for (int round = 0; round < 20000; round++) {
        state = myco_hash_mix(state, 5);
        size_t i = state % MODEL;
        if ((state >> 10) % 4 == 0) {
            myco_timer_stop(&timers[i]);
            active[i] = false;
        } else if ((state >> 10) % 4 < 3) {
            uint64_t delay = 1 + (state >> 20) % 50;
            myco_timer_start(&timers[i], delay, 0);
            active[i] = true;
            due[i] = world.now_ns + delay * MS;
            start_number[i] = number++;
        } else {
            size_t best = MODEL;
            for (size_t j = 0; j < MODEL; j++) {
                if (!active[j]) continue;
                if (best == MODEL || due[j] < due[best] ||
                    (due[j] == due[best] && start_number[j] < start_number[best])) {
                    best = j;
                }
            }
            /* a heap with one due timer at its top fires just that one, when time is just that */
            if (best == MODEL) continue;
            if (due[best] > world.now_ns) world.now_ns = due[best];
            size_t same = 0;
            for (size_t j = 0; j < MODEL; j++) same += active[j] && due[j] == due[best];
            fired = NULL;
            myco__env_wake(&world.env);
            if (same == 1) wrong += fired != &timers[best];
            fires++;
            for (size_t j = 0; j < MODEL; j++) {
                if (active[j] && due[j] <= world.now_ns) active[j] = false;
                wrong += active[j] != myco_timer_active(&timers[j]);
            }
        }
    }
    is_int(wrong, 0, "%ld wakes of random timers agree with the model", fires);
    myco__env_close(&world.env);
    myco_free(timers);
}

static void test_random(void)
{
    long counts[7] = {0}, bad = 0;
    reset();
    for (int i = 0; i < 70000; i++) {
        uint64_t value = myco_random_below(&world.env, 7);
        if (value < 7) {
            counts[value]++;
        } else {
            bad++;
        }
    }
    for (int i = 0; i < 7; i++) bad += counts[i] < 9500 || counts[i] > 10500;
    is_int(bad, 0, "random numbers below 7 are even");
    is_int(myco_random_below(&world.env, 1), 0, "below 1 is 0");
}

int main(void)
{
    test_order();
    test_repeat();
    test_no_starvation();
    test_deferred();
    test_close_inside();
    test_model();
    test_random();
    return plan_done();
}
