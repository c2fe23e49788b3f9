/* Catches: libuv's env deferring into the call or after timers, starving sockets, losing datagrams
 * that fit, a handle that stays open. */
#include "env/uv_env.h"

#include <uv.h>

#include "tap.h"

static uv_loop_t loop;
static struct myco_uv_env *a, *b;
static struct myco_metrics metrics;
static char seen[64];
static int datagram_count, closed_count;
static struct myco_addr last_from;
static char last_bytes[32];

static void see(void *letter)
{
    size_t size = strlen(seen);
    if (size < sizeof seen - 1) seen[size] = *(const char *)letter;
}

static struct myco_deferred deferred, chain;
static struct myco_timer timer, late;
static long chain_count;

static void on_chain(void *data)
{
    chain_count++;
    myco_defer(myco_uv_env(a), &chain, on_chain, data);
}

static void on_datagram(const struct myco_addr *from, struct myco_slice bytes, void *data)
{
    see(data);
    datagram_count++;
    last_from = *from;
    snprintf(last_bytes, sizeof last_bytes, "%.*s", (int)bytes.size, (const char *)bytes.data);
    myco_timer_start(&timer, 0, 0);
    myco_defer(myco_uv_env(b), &deferred, see, (void *)(uintptr_t) "d");
    seen[strlen(seen)] = '.'; /* end of the callback */
}

static void on_timer(void *data)
{
    see(data);
    uv_stop(&loop);
}

static void on_closed(void *data)
{
    (void)data;
    closed_count++;
}

static void test_datagrams(const struct myco_addr *to)
{
    struct myco_env *env = myco_uv_env(b);
    env->on_datagram = on_datagram;
    env->on_datagram_data = (void *)(uintptr_t) "b";
    myco_timer_init(&timer, env, on_timer, (void *)(uintptr_t) "t");
    /* a chain of deferred calls keeps the loop busy all the while */
    myco_defer(myco_uv_env(a), &chain, on_chain, NULL);
    struct myco_env *from = myco_uv_env(a);
    is_int(from->ops->datagram_send(from, to, myco_str("hello")), 0, "a datagram is sent");
    uv_run(&loop, UV_RUN_DEFAULT);
    is_str(last_bytes, "hello", "and arrives, while deferred calls follow each other");
    is_str(seen, "b.dt", "what its callback deferred runs after it, and before its timer");
    ok(chain_count > 0, "the chain had %ld turns", chain_count);
    myco_defer_cancel(&chain);

    static char large[65507];
    is_int(
        from->ops->datagram_send(from, to, myco_bytes(large, sizeof large)), 0, "the largest one");
    ok(from->ops->datagram_send(from, to, myco_bytes(large, 65508)) < 0,
        "one byte more is an error");
    datagram_count = 0;
    while (datagram_count < 1) uv_run(&loop, UV_RUN_ONCE);
}

static void test_timer_precision(void)
{
    struct myco_env *env = myco_uv_env(a);
    myco_timer_init(&late, env, on_timer, (void *)(uintptr_t) "l");
    uint64_t before_ns = myco_now_ns(env);
    myco_timer_start(&late, 20, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    while (myco_timer_active(&late)) uv_run(&loop, UV_RUN_DEFAULT);
    ok(myco_now_ns(env) - before_ns >= 20000000, "a timer of 20 ms never fires before 20 ms");
    ok(env->ops->wall_ms(env) > 1600000000000, "the wall clock is set");
    ok(myco_random_u64(env) != myco_random_u64(env), "random");
}

int main(void)
{
    struct myco_err err;
    struct myco_addr any, bound_a, bound_b;
    uv_loop_init(&loop);
    myco_addr_parse(&any, "127.0.0.1:0", NULL);
    is_int(myco_uv_env_open(&a, &loop, &any, &bound_a, NULL, &metrics, &err), 0, "open");
    is_int(myco_uv_env_open(&b, &loop, &any, &bound_b, NULL, &metrics, &err), 0, "open another");
    ok(bound_b.port != 0 && bound_a.port != bound_b.port, "each has a port of its own");

    struct myco_uv_env *none;
    is_int(myco_uv_env_open(&none, &loop, &bound_a, NULL, NULL, &metrics, &err), MYCO_EADDRINUSE,
        "a port that is taken");
    ok(strstr(err.message, "127.0.0.1") != NULL, "%s", err.message);
    struct myco_addr elsewhere;
    myco_addr_parse(&elsewhere, "192.0.2.1:0", NULL);
    ok(myco_uv_env_open(&none, &loop, &elsewhere, NULL, NULL, &metrics, &err) < 0, "%s",
        err.message);

    test_datagrams(&bound_b);
    ok(myco_addr_equal(&last_from, &bound_a), "the sender's address is the one it bound");
    test_timer_precision();

    struct myco_uv_env *mute, *six;
    is_int(myco_uv_env_open(&mute, &loop, NULL, NULL, NULL, &metrics, &err), 0, "without a socket");
    struct myco_env *env = myco_uv_env(mute);
    is_int(env->ops->datagram_send(env, &bound_b, myco_str("x")), MYCO_ECLOSED, "sends nothing");
    myco_uv_env_close(mute, on_closed, NULL);

    myco_addr_parse(&any, "[::]:0", NULL);
    if (myco_uv_env_open(&six, &loop, &any, &bound_a, NULL, &metrics, &err) == 0) {
        env = myco_uv_env(six);
        is_int(env->ops->datagram_send(env, &bound_b, myco_str("six")), 0, "from :: to IPv4");
        datagram_count = 0;
        while (datagram_count < 1) uv_run(&loop, UV_RUN_ONCE);
        ok(last_from.family == 4 && last_from.port == bound_a.port, "is IPv4 for both");
        myco_uv_env_close(six, on_closed, NULL);
    } else {
        closed_count++;
        skip("no IPv6 here: %s", err.message);
    }

    myco_timer_start(&late, 0, 0);
    myco_uv_env_close(a, on_closed, NULL);
    myco_uv_env_close(b, on_closed, NULL);
    is_int(closed_count < 3, 1, "closed later, not inside close");
    uv_run(&loop, UV_RUN_DEFAULT);
    is_int(closed_count, 4, "all are closed");
    is_int(uv_loop_close(&loop), 0, "no handle is left");
    return plan_done();
}
