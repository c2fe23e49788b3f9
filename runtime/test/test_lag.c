/* When a node is slow.
 * Would catch: one hiccup that moves everything away; a starved node that is not noticed within its
 * lease; one that flaps, as it is well in between, or comes back ever again; a p99 that is not of
 * the last ten seconds. */
#include "host/core_lag.h"
#include "tap.h"

#define TICK_MS  50
#define LIMIT_MS 75

struct run {
    struct core_lag lag;
    uint64_t now_ms;
    unsigned changes;
};

/* Ticks for `ms`, each so late. */
static void ticks(struct run *run, unsigned ms, unsigned lag_ms)
{
    for (uint64_t end = run->now_ms + ms; run->now_ms < end;) {
        run->now_ms += TICK_MS + lag_ms;
        run->changes += core_lag_sample(&run->lag, run->now_ms, lag_ms, LIMIT_MS);
    }
}

int main(void)
{
    struct run run = {.now_ms = 1000};
    ticks(&run, 20000, 1);
    ok(!run.lag.slow && run.lag.p99_ms == 1, "in time");
    ticks(&run, 1, 400);
    ticks(&run, 2000, 1);
    ticks(&run, 1, 400);
    ok(!run.lag.slow && run.lag.max_ms == 400, "two hiccups of 400 ms are none");
    ticks(&run, 12000, 1);
    ok(run.lag.max_ms == 1, "and are forgotten");
    uint64_t from = run.now_ms;
    while (!run.lag.slow && run.now_ms < from + 5000) ticks(&run, 1, 90);
    ok(run.lag.slow && run.now_ms - from <= 450, "always 90 ms late: slow after %llu ms",
        (unsigned long long)(run.now_ms - from));
    for (int i = 0; i < 10; i++) {
        ticks(&run, 3000, 1);
        ticks(&run, 1, 90);
    }
    is_int(run.changes, 1, "three good seconds in between change nothing");
    ok(run.lag.slow, "it stays slow");
    ticks(&run, 5500, 1);
    ok(!run.lag.slow, "five good ones do");
    is_int(run.changes, 2, "once each");
    for (unsigned calm_s = 10; calm_s <= 40; calm_s *= 2) {
        while (!run.lag.slow) ticks(&run, 1, 90);
        ticks(&run, calm_s * 1000 - 1000, 1);
        ok(run.lag.slow, "a relapse: after %u s it is not well yet,", calm_s - 1);
        ticks(&run, 1500, 1);
        ok(!run.lag.slow, "but after %u s", calm_s);
    }
    ticks(&run, MYCO_LAG_RELAPSE_MS, 1);
    while (!run.lag.slow) ticks(&run, 1, 90);
    ticks(&run, 5500, 1);
    ok(!run.lag.slow, "ten good minutes make up for it");
    return plan_done();
}
