/* Time inside a node: timers in a heap, and what is deferred to the next turn; the same code under
 * libuv and under the simulator.
 *
 * An implementation has one thing to do: call myco__env_wake() at the time that was last asked for.
 * One wake is one turn:
 *
 *     1. what was deferred before this turn, in order
 *     2. the timers that are due and were started before step 2, by due time, then by start
 *     3. ask for the next wake: at once when something is deferred, else when the first timer is
 * due
 *
 * Both steps work off what was there when they began. So a callback that defers or starts again and
 * again costs one call in each turn, and sockets get theirs between the turns. */
#include "env/env.h"

#include "base/assert.h"
#include "base/mem.h"

#define NOT_STARTED SIZE_MAX
#define CLOSED      SIZE_MAX /* as heap_capacity */
#define NEVER       UINT64_MAX
#define AT_ONCE     0

/* ── Randomness ─────────────────────────────────────────────────────────────────────────────── */

uint64_t myco_random_u64(struct myco_env *env)
{
    uint64_t value;
    env->ops->random(env, &value, sizeof value);
    return value;
}

/* The high half of a product: even to 2^-64 × bound, without a division. */
uint64_t myco_random_below(struct myco_env *env, uint64_t bound)
{
    MYCO_ASSERT(bound > 0);
    return (uint64_t)(((unsigned __int128)myco_random_u64(env) * bound) >> 64);
}

/* ── The heap of timers: the first is due first ─────────────────────────────────────────────── */

static bool is_before(const struct myco_timer *a, const struct myco_timer *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

static void place(struct myco_env *env, struct myco_timer *timer, size_t index)
{
    env->heap[index] = timer;
    timer->heap_index = index;
}

static void sift_up(struct myco_env *env, struct myco_timer *timer, size_t index)
{
    while (index > 0 && is_before(timer, env->heap[(index - 1) / 2])) {
        place(env, env->heap[(index - 1) / 2], index);
        index = (index - 1) / 2;
    }
    place(env, timer, index);
}

static void sift_down(struct myco_env *env, struct myco_timer *timer, size_t index)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= env->heap_count) break;
        if (child + 1 < env->heap_count && is_before(env->heap[child + 1], env->heap[child])) {
            child++;
        }
        if (!is_before(env->heap[child], timer)) break;
        place(env, env->heap[child], index);
        index = child;
    }
    place(env, timer, index);
}

static void heap_add(struct myco_env *env, struct myco_timer *timer)
{
    if (env->heap_count == env->heap_capacity) {
        env->heap_capacity = env->heap_capacity == 0 ? 16 : env->heap_capacity * 2;
        env->heap = myco_realloc(env->heap, env->heap_capacity * sizeof(struct myco_timer *));
    }
    sift_up(env, timer, env->heap_count++);
}

static void heap_remove(struct myco_env *env, struct myco_timer *timer)
{
    size_t index = timer->heap_index;
    struct myco_timer *last = env->heap[--env->heap_count];
    timer->heap_index = NOT_STARTED;
    if (last == timer) return;
    sift_down(env, last, index);
    sift_up(env, last, last->heap_index);
}

/* ── Asking to be woken ─────────────────────────────────────────────────────────────────────── */

/* Only for an earlier time than was asked for: stopping a timer leaves a wake that finds nothing,
 * which is cheaper than asking each time. wake_at_ns is 0 while a turn runs; its end asks. */
static void ask_wake(struct myco_env *env, uint64_t ns)
{
    if (ns >= env->wake_at_ns) return;
    env->wake_at_ns = ns;
    env->ops->wake_at(env, ns);
}

static uint64_t next_wake(const struct myco_env *env)
{
    if (!myco_list_empty(&env->deferred)) return AT_ONCE;
    return env->heap_count > 0 ? env->heap[0]->due_ns : NEVER;
}

/* ── Timers ─────────────────────────────────────────────────────────────────────────────────── */

void myco_timer_init(struct myco_timer *timer, struct myco_env *env, myco_timer_cb cb, void *data)
{
    *timer = (struct myco_timer){.env = env, .cb = cb, .data = data, .heap_index = NOT_STARTED};
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t ms_to_ns(uint64_t ms)
{
    return ms > UINT64_MAX / 1000000 ? UINT64_MAX : ms * 1000000;
}

static void start(struct myco_timer *timer, uint64_t due_ns, uint64_t repeat_ns)
{
    struct myco_env *env = timer->env;
    myco_timer_stop(timer);
    if (env->heap_capacity == CLOSED) return;
    timer->due_ns = due_ns;
    timer->repeat_ns = repeat_ns;
    timer->sequence = env->timer_sequence++;
    heap_add(env, timer);
    ask_wake(env, env->heap[0]->due_ns);
}

void myco_timer_start(struct myco_timer *timer, uint64_t delay_ms, uint64_t repeat_ms)
{
    uint64_t now_ns = myco_now_ns(timer->env);
    start(timer, add_saturated(now_ns, ms_to_ns(delay_ms)), ms_to_ns(repeat_ms));
}

/* Never due before now: what is started over and over in the past would push in before all
 * others. */
void myco_timer_start_at(struct myco_timer *timer, uint64_t due_ns)
{
    uint64_t now_ns = myco_now_ns(timer->env);
    start(timer, due_ns > now_ns ? due_ns : now_ns, 0);
}

void myco_timer_stop(struct myco_timer *timer)
{
    if (timer->env != NULL && timer->heap_index != NOT_STARTED) heap_remove(timer->env, timer);
}

bool myco_timer_active(const struct myco_timer *timer)
{
    return timer->env != NULL && timer->heap_index != NOT_STARTED;
}

/* The timer is out of the heap, or in it again, before its callback runs: that may stop it, start
 * it, or free it. */
static void fire(struct myco_timer *timer, uint64_t now_ns)
{
    uint64_t repeat_ns = timer->repeat_ns;
    if (repeat_ns == 0) {
        heap_remove(timer->env, timer);
    } else {
        uint64_t due_ns = add_saturated(timer->due_ns, repeat_ns);
        start(timer, due_ns > now_ns ? due_ns : add_saturated(now_ns, repeat_ns), repeat_ns);
    }
    timer->cb(timer->data);
}

static void run_timers(struct myco_env *env)
{
    uint64_t now_ns = myco_now_ns(env), sequence_end = env->timer_sequence;
    uint64_t due_ns = env->heap_count > 0 ? env->heap[0]->due_ns : now_ns;
    if (due_ns < now_ns && now_ns - due_ns > env->late_ns) env->late_ns = now_ns - due_ns;
    while (env->heap_count > 0) {
        struct myco_timer *first = env->heap[0];
        if (first->due_ns > now_ns || first->sequence >= sequence_end) break;
        fire(first, now_ns);
    }
}

/* ── Deferred calls ─────────────────────────────────────────────────────────────────────────── */

void myco_defer(
    struct myco_env *env, struct myco_deferred *deferred, void (*cb)(void *data), void *data)
{
    deferred->cb = cb;
    deferred->data = data;
    if (deferred->link.next == NULL) myco_list_init(&deferred->link);
    if (!myco_list_empty(&deferred->link) || env->heap_capacity == CLOSED) return;
    myco_list_append(&env->deferred, &deferred->link);
    ask_wake(env, AT_ONCE);
}

void myco_defer_cancel(struct myco_deferred *deferred)
{
    if (deferred->link.next != NULL) myco_list_remove(&deferred->link);
}

/* A marker in the list ends the turn; so everything that is deferred can be found in one list, and
 * be cancelled there, at any time. */
static void run_deferred(struct myco_env *env)
{
    struct myco_list marker, *item;
    if (myco_list_empty(&env->deferred)) return;
    myco_list_append(&env->deferred, &marker);
    while ((item = myco_list_pop(&env->deferred)) != NULL && item != &marker) {
        struct myco_deferred *deferred = MYCO_CONTAINER(item, struct myco_deferred, link);
        deferred->cb(deferred->data);
    }
}

/* ── For implementations ────────────────────────────────────────────────────────────────────── */

void myco__env_init(struct myco_env *env, const struct myco_env_ops *ops)
{
    env->ops = ops;
    env->heap = NULL;
    env->heap_count = env->heap_capacity = 0;
    env->timer_sequence = 0;
    env->wake_at_ns = NEVER;
    myco_list_init(&env->deferred);
}

void myco__env_close(struct myco_env *env)
{
    while (env->heap_count > 0) heap_remove(env, env->heap[0]);
    while (myco_list_pop(&env->deferred) != NULL) {
    }
    myco_free(env->heap);
    env->heap = NULL;
    env->heap_capacity = CLOSED;
    env->wake_at_ns = NEVER;
}

void myco__env_wake(struct myco_env *env)
{
    if (env->heap_capacity == CLOSED) return;
    env->wake_at_ns = AT_ONCE; /* nobody asks before the turn is over */
    run_deferred(env);
    run_timers(env);
    if (env->heap_capacity == CLOSED) return; /* a callback closed it */
    env->wake_at_ns = next_wake(env);
    env->ops->wake_at(env, env->wake_at_ns);
}
