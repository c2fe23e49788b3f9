/* How late this node's loop is: a node that others share a processor with does not know that it was
 * away, but its timers tell. Past a quarter of the lease it hands over what it leads, before it
 * loses it (PROTOCOL.md, rule 11). A step machine: samples in, a judgement out. */
#ifndef MYCO_HOST_CORE_LAG_H
#define MYCO_HOST_CORE_LAG_H

#include <stdbool.h>
#include <stdint.h>

#define MYCO_LAG_SAMPLES   256   /* kept: 12 s of ticks */
#define MYCO_LAG_WINDOW_MS 10000 /* what p99 is of */
#define MYCO_LAG_CALM_MS   5000  /* without a late tick, and it is well again … */
#define MYCO_LAG_RELAPSE_MS                                                                        \
    600000                      /* … twice as long when it had recovered within so long before   \
                                 */
#define MYCO_LAG_RELAPSES_MAX 7 /* 640 s */

struct core_lag {
    struct {
        uint64_t at_ms;
        uint32_t lag_ms;
    } samples[MYCO_LAG_SAMPLES]; /* the latest at (next - 1) % MYCO_LAG_SAMPLES */
    uint64_t next, late_at_ms, slow_at_ms, well_at_ms;
    uint32_t relapses;
    uint32_t p99_ms, max_ms; /* of the window */
    bool slow;
};

/* A timer that was due `lag_ms` ago fired now. `limit_ms`: what is late; at least 3 ticks and more
 * than one in a hundred, and the node is slow. Returns whether that changed. */
bool core_lag_sample(struct core_lag *lag, uint64_t now_ms, uint64_t lag_ms, uint32_t limit_ms);

#endif
