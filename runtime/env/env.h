/* The outside world of one node: clock, randomness, timers, datagrams. (Disk: env/disk.h; peers:
 * env/transport.h.) The core reaches the world through these alone; one implementation is libuv
 * (env/uv_env.h), the other the simulator (env/sim.h). Loop thread only, but now_ns. */
#ifndef MYCO_ENV_ENV_H
#define MYCO_ENV_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metric.h"

struct myco_env;

typedef void (*myco_datagram_cb)(const struct myco_addr *from, struct myco_slice bytes, void *data);

struct myco_env_ops {
    /* CLOCK_BOOTTIME, read afresh, never cached; any thread. */
    uint64_t (*now_ns)(struct myco_env *env);
    uint64_t (*wall_ms)(struct myco_env *env); /* since 1970; may jump */
    void (*random)(struct myco_env *env, void *bytes, size_t size);
    /* Call myco__env_wake() then, instead of what was asked before; UINT64_MAX: never. A time that
     * is past: at once, but never inside this call. A wake that comes early does no harm. */
    void (*wake_at)(struct myco_env *env, uint64_t ns);
    /* Never blocks; a datagram that can't go is dropped (0 or an error, for counting only). */
    int (*datagram_send)(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes);
};

/* Implementations embed it first and call myco__env_init(). */
struct myco_env {
    const struct myco_env_ops *ops;
    struct myco_log *log;         /* may be NULL */
    struct myco_metrics *metrics; /* never NULL */
    myco_datagram_cb on_datagram; /* set by the core before anything arrives */
    void *on_datagram_data;
    /* private */
    struct myco_timer **heap;
    size_t heap_count, heap_capacity;
    uint64_t timer_sequence, wake_at_ns;
    struct myco_list deferred;
    uint64_t late_ns; /* see myco_env_late_ns() */
};

static inline uint64_t myco_now_ns(struct myco_env *env)
{
    return env->ops->now_ns(env);
}
static inline uint64_t myco_now_ms(struct myco_env *env)
{
    return env->ops->now_ns(env) / 1000000;
}
uint64_t myco_random_u64(struct myco_env *env);
uint64_t myco_random_below(struct myco_env *env, uint64_t bound); /* 0 … bound-1 */

/* By how much the latest of all timers was late since this was asked last: how long the process did
 * not run, or its loop was busy. */
static inline uint64_t myco_env_late_ns(struct myco_env *env)
{
    uint64_t late_ns = env->late_ns;
    env->late_ns = 0;
    return late_ns;
}

/* A timer, in the memory of its owner. Fires on the loop, never inside start. Earlier ones fire
 * first; timers that are due at the same time fire in the order in which they were started. One
 * that repeats skips the times it missed. Starting one that is started restarts it; one that is due
 * already fires on a later turn. Once the env is closed nothing fires, and start does nothing. */
typedef void (*myco_timer_cb)(void *data);
struct myco_timer {
    struct myco_env *env;
    myco_timer_cb cb;
    void *data;
    /* private */
    uint64_t due_ns, sequence, repeat_ns;
    size_t heap_index; /* SIZE_MAX: not started */
};
void myco_timer_init(struct myco_timer *timer, struct myco_env *env, myco_timer_cb cb, void *data);
/* Again: restarts. */
void myco_timer_start(struct myco_timer *timer, uint64_t delay_ms, uint64_t repeat_ms);
void myco_timer_start_at(struct myco_timer *timer, uint64_t due_ns);
void myco_timer_stop(struct myco_timer *timer);
bool myco_timer_active(const struct myco_timer *timer);

/* Runs once, on a later turn of the loop and before any timer of that turn: for answering a call
 * after it returned. In the order in which they were deferred; what they defer themselves runs a
 * turn later, so that a chain of them can't starve timers. Deferring what is deferred replaces cb
 * and data only. */
struct myco_deferred {
    struct myco_list link; /* private */
    void (*cb)(void *data);
    void *data;
};
void myco_defer(
    struct myco_env *env, struct myco_deferred *deferred, void (*cb)(void *data), void *data);
void myco_defer_cancel(struct myco_deferred *deferred); /* zero-initialised or deferred before */

/* For implementations. */
void myco__env_init(struct myco_env *env, const struct myco_env_ops *ops);
void myco__env_close(struct myco_env *env);
/* Runs what is deferred, then timers that are due; sets wake_at anew. */
void myco__env_wake(struct myco_env *env);

#endif
