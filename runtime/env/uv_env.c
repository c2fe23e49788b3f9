/* The outside world by libuv.
 *
 * A wake at a time is a uv_timer; a wake at once is not, since a uv_timer of 0 ms that is started
 * again by its own callback runs again before any socket does. At once is an idle handle, which
 * keeps the loop from sleeping, with a check handle, which runs after the sockets:
 *
 *     timers -> idle -> (poll: sockets) -> check -> timers -> …
 *               ^ don't sleep              ^ wake
 *
 * What a socket's callback defers is therefore run in the same round of the loop, after it. */
#include "env/uv_env.h"

#include <sys/random.h>
#include <time.h>
#include <uv.h>

#include "base/assert.h"
#include "base/mem.h"

#define DATAGRAM_SIZE_MAX (64 * 1024)
#define HANDLE_COUNT      4

struct myco_uv_env {
    struct myco_env env; /* first */
    uv_timer_t timer;
    uv_idle_t idle;
    uv_check_t check;
    uv_udp_t udp;
    bool has_udp, closing;
    uint8_t bound_family;
    unsigned open_count; /* handles whose close callback did not run */
    void (*closed)(void *data);
    void *closed_data;
    char datagram[DATAGRAM_SIZE_MAX]; /* touched as far as datagrams reach */
};

static struct myco_uv_env *of(struct myco_env *env)
{
    return MYCO_CONTAINER(env, struct myco_uv_env, env);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Runs on while the machine sleeps: a lease that ran out meanwhile has run out. */
static uint64_t now_ns(struct myco_env *env)
{
    (void)env;
    return clock_ns(CLOCK_BOOTTIME);
}

static uint64_t wall_ms(struct myco_env *env)
{
    (void)env;
    return clock_ns(CLOCK_REALTIME) / 1000000;
}

static void fill_random(struct myco_env *env, void *bytes, size_t size)
{
    (void)env;
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0) continue; /* EINTR is the only error of a valid buffer */
        at += got;
        size -= (size_t)got;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct myco_uv_env *self = timer->data;
    myco__env_wake(&self->env);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static void on_check(uv_check_t *check)
{
    struct myco_uv_env *self = check->data;
    uv_idle_stop(&self->idle);
    uv_check_stop(&self->check);
    myco__env_wake(&self->env);
}

static void wake_soon(struct myco_uv_env *self)
{
    uv_idle_start(&self->idle, on_idle);
    uv_check_start(&self->check, on_check);
}

/* libuv's time is in whole milliseconds, and as old as this round of the loop: it is brought up to
 * date, and the delay rounded up. A wake that comes too early all the same asks again. */
static void wake_at(struct myco_env *env, uint64_t ns)
{
    struct myco_uv_env *self = of(env);
    if (self->closing) return;
    uint64_t now = now_ns(env);
    if (ns == UINT64_MAX) {
        uv_timer_stop(&self->timer);
    } else if (ns <= now) {
        wake_soon(self);
    } else {
        uv_update_time(self->timer.loop);
        uv_timer_start(&self->timer, on_timer, (ns - now + 999999) / 1000000, 0);
    }
}

/* ── Datagrams ──────────────────────────────────────────────────────────────────────────────── */

/* A socket of both families wants IPv4 as ::ffff:1.2.3.4. */
static struct myco_addr for_socket(const struct myco_uv_env *self, const struct myco_addr *to)
{
    if (to->family != 4 || self->bound_family != 6) return *to;
    struct myco_addr mapped = {.family = 6, .port = to->port, .ip = {[10] = 0xff, [11] = 0xff}};
    for (int i = 0; i < 4; i++) mapped.ip[12 + i] = to->ip[i];
    return mapped;
}

static int datagram_send(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    struct myco_uv_env *self = of(env);
    if (self->closing || !self->has_udp) return MYCO_ECLOSED;
    struct sockaddr_storage address;
    struct myco_addr mapped = for_socket(self, to);
    if (myco_addr_to_sockaddr(&mapped, &address) == 0) return MYCO_EINVAL;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes.data, (unsigned)bytes.size);
    int result = uv_udp_try_send(&self->udp, &buf, 1, (const struct sockaddr *)&address);
    if (result >= 0) return 0;
    return result == UV_EAGAIN ? MYCO_EFULL : myco_err_from_errno(-result);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct myco_uv_env *self = handle->data;
    *buf = uv_buf_init(self->datagram, sizeof self->datagram);
}

static void on_receive(uv_udp_t *udp, ssize_t size, const uv_buf_t *buf,
    const struct sockaddr *address, unsigned flags)
{
    struct myco_uv_env *self = udp->data;
    struct myco_addr from;
    if (self->closing || self->env.on_datagram == NULL) return;
    if (size < 0 || address == NULL || (flags & UV_UDP_PARTIAL) != 0) return;
    if (!myco_addr_from_sockaddr(&from, address)) return;
    struct myco_slice bytes = myco_bytes(buf->base, (size_t)size);
    self->env.on_datagram(&from, bytes, self->env.on_datagram_data);
}

static int bind_socket(
    struct myco_uv_env *self, const struct myco_addr *bind, struct myco_addr *bound)
{
    struct sockaddr_storage address;
    if (myco_addr_to_sockaddr(bind, &address) == 0) return UV_EINVAL;
    int result = uv_udp_bind(&self->udp, (const struct sockaddr *)&address, 0);
    if (result < 0) return result;
    result = uv_udp_recv_start(&self->udp, on_alloc, on_receive);
    if (result < 0) return result;
    int size = sizeof address;
    result = uv_udp_getsockname(&self->udp, (struct sockaddr *)&address, &size);
    if (result < 0) return result;

    self->has_udp = true;
    self->bound_family = bind->family;
    if (bound == NULL) return 0;
    *bound = *bind; /* as it was written, also when that is ::, with the port there is */
    struct myco_addr actual;
    if (myco_addr_from_sockaddr(&actual, &address)) bound->port = actual.port;
    return 0;
}

/* ── Opening, closing ───────────────────────────────────────────────────────────────────────── */

static const struct myco_env_ops ops = {
    .now_ns = now_ns,
    .wall_ms = wall_ms,
    .random = fill_random,
    .wake_at = wake_at,
    .datagram_send = datagram_send,
};

int myco_uv_env_open(struct myco_uv_env **uv_env, struct uv_loop_s *loop,
    const struct myco_addr *bind, struct myco_addr *bound, struct myco_log *log,
    struct myco_metrics *metrics, struct myco_err *err)
{
    MYCO_ASSERT(metrics != NULL);
    struct myco_uv_env *self = myco_alloc(sizeof *self);
    myco__env_init(&self->env, &ops);
    self->env.log = log;
    self->env.metrics = metrics;
    uv_timer_init(loop, &self->timer);
    uv_idle_init(loop, &self->idle);
    uv_check_init(loop, &self->check);
    self->timer.data = self->idle.data = self->check.data = self->udp.data = self;
    self->open_count = HANDLE_COUNT - 1;

    int result = uv_udp_init(loop, &self->udp); /* makes no socket yet: that is bind's */
    if (result == 0) {
        self->open_count++;
        if (bind != NULL) result = bind_socket(self, bind, bound);
    }
    if (result == 0) {
        *uv_env = self;
        return 0;
    }
    char text[MYCO_ADDR_TEXT_MAX] = "nowhere";
    if (bind != NULL) myco_addr_text(bind, text);
    int code = myco_err_sys(err, -result, "bind UDP %s", text);
    myco_uv_env_close(self, NULL, NULL);
    return code;
}

struct myco_env *myco_uv_env(struct myco_uv_env *uv_env)
{
    return &uv_env->env;
}

static void on_closed(uv_handle_t *handle)
{
    struct myco_uv_env *self = handle->data;
    if (--self->open_count > 0) return;
    void (*closed)(void *data) = self->closed;
    void *data = self->closed_data;
    myco_free(self);
    if (closed != NULL) closed(data);
}

void myco_uv_env_close(struct myco_uv_env *uv_env, void (*closed)(void *data), void *data)
{
    MYCO_ASSERT(!uv_env->closing);
    uv_env->closing = true;
    uv_env->closed = closed;
    uv_env->closed_data = data;
    myco__env_close(&uv_env->env);
    bool has_udp_handle = uv_env->open_count == HANDLE_COUNT;
    uv_close((uv_handle_t *)&uv_env->timer, on_closed);
    uv_close((uv_handle_t *)&uv_env->idle, on_closed);
    uv_close((uv_handle_t *)&uv_env->check, on_closed);
    if (has_udp_handle) uv_close((uv_handle_t *)&uv_env->udp, on_closed);
}
