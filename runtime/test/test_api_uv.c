/* Catches: a node that keeps its host's loop alive, frees too early, calls back inside a call, or
 * needs a thread of its own. The whole life of two nodes on one loop that this program runs. */
#include "api_kit.h"
#include "mycorrizal_uv.h"

static uv_loop_t loop;
static struct myco *nodes[2];
static struct myco_err err;
static unsigned closed;

/* ── running the loop until something holds ── */

static unsigned ticks;

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    ticks++;
}

static bool run_until(bool (*holds)(void *data), void *data)
{
    uv_timer_t timer; /* a heartbeat, so that the loop turns */
    uint64_t until = kit_now_ms() + KIT_WAIT_MS;
    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_tick, 5, 5);
    while (!holds(data) && kit_now_ms() < until) uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return holds(data);
}

static bool both_ready(void *data)
{
    (void)data;
    return myco_ready(nodes[0]) && myco_ready(nodes[1]);
}

static struct myco_septum *opened;
static bool returned, early;

static void on_septum(struct myco_septum *septum, int status, const char *message, void *data)
{
    struct myco_result result = {.status = status, .message = message};
    early |= !returned;
    opened = septum;
    kit_done(&result, data);
}

static void on_result(const struct myco_result *result, void *data)
{
    early |= !returned;
    kit_done(result, data);
}

static void test_calls(void)
{
    struct kit_result septum = {0}, put = {0}, get = {0}, count = {0};
    struct myco_value value;
    returned = false;
    myco_septum_async(nodes[0], "s", "kind=durable replicas=1 hyphae=8", 0, on_septum, &septum);
    returned = true;
    ok(run_until(kit_called, &septum) && opened, "septum: %s", septum.message);
    returned = false;
    myco_put_async(opened, myco_str("k"), myco_str("v"), NULL, on_result, &put);
    returned = true;
    ok(run_until(kit_called, &put) && put.status == 0, "put: %s", put.message);
    returned = false;
    myco_get_async(opened, myco_str("k"), 0, on_result, &get);
    myco_count_async(opened, 0, on_result, &count);
    returned = true;
    ok(run_until(kit_called, &get) && get.status == 0, "get: %s", get.message);
    is_str(get.value, "v", "the value");
    ok(run_until(kit_called, &count) && count.count == 1, "count");
    ok(!early, "nothing was called back inside of a call");
    is_int(myco_get(opened, myco_str("k"), &value, &err), MYCO_EBUSY, "%s", err.message);
    is_int(myco_flush(nodes[0], &err), MYCO_EBUSY, "a call that would wait is refused");
    is_int(myco_wait_ready(nodes[0], 0, &err), MYCO_EBUSY, "so is waiting for ready");
    is_int(myco_inspect(nodes[0], "status", &value, &err), 0, "inspect does not wait");
    myco_value_release(&value);
    ok(myco_loop(nodes[0]) == &loop, "the loop is ours");
}

/* ── another thread ── */

struct guest {
    pthread_t thread;
    bool done;
    int codes[4];
};

static void *visit(void *data)
{
    struct guest *guest = data;
    struct myco_value value;
    struct myco_septum *septum = NULL;
    struct myco_err local;
    guest->codes[0] = myco_wait_ready(nodes[1], 1000, &local);
    guest->codes[1] = myco_septum(nodes[1], "s", NULL, &septum, &local);
    guest->codes[2] = septum ? myco_get(septum, myco_str("k"), &value, &local) : 1;
    if (guest->codes[2] == 0) myco_value_release(&value);
    guest->codes[3] = myco_publish(nodes[1], "a.b", myco_str("x"), NULL, &local);
    __atomic_store_n(&guest->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static bool guest_done(void *data)
{
    return __atomic_load_n(&((struct guest *)data)->done, __ATOMIC_ACQUIRE);
}

static void test_thread(void)
{
    struct guest guest = {0};
    pthread_create(&guest.thread, NULL, visit, &guest);
    ok(run_until(guest_done, &guest), "another thread waits while we run the loop");
    pthread_join(guest.thread, NULL);
    ok(!guest.codes[0] && !guest.codes[1] && !guest.codes[2] && !guest.codes[3],
        "its calls succeed");
}

/* ── opening and closing ── */

static void on_closed(void *data)
{
    (void)data;
    closed++;
}

static bool all_closed(void *data)
{
    return closed == *(unsigned *)data;
}

static void test_failed_open(void)
{
    struct myco_options options;
    struct myco *none = NULL;
    char path[160];
    kit_options(&options, "failed", path);
    options.listen = myco_listen(nodes[0]);
    is_int(myco_open_uv(&none, &loop, &options, &err), MYCO_EADDRINUSE, "%s", err.message);
    options.listen = NULL; /* what failed closes as the loop turns: it has its folder yet */
    options.data = kit_path("failed-2", path);
    options.store = "gopher:hole";
    is_int(myco_open_uv(&none, &loop, &options, &err), MYCO_EINVAL, "%s", err.message);
    options.store = NULL;
    options.data = kit_path("failed-3", path);
    options.admin = myco_listen(nodes[0]);
    is_int(myco_open_uv(&none, &loop, &options, &err), MYCO_EADDRINUSE, "%s", err.message);
    options.name = "a b";
    is_int(myco_open_uv(&none, &loop, &options, NULL), MYCO_EINVAL, "without a place for why");
}

int main(void)
{
    struct myco_options options;
    char path[160];
    uv_timer_t due;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &due);
    uv_timer_start(&due, on_tick, 0, 0);
    for (int i = 0; i < 2; i++) {
        kit_options(&options, kit_names[i], path);
        options.expect = 2;
        options.join = i ? myco_listen(nodes[0]) : NULL;
        if (myco_open_uv(&nodes[i], &loop, &options, &err)) bail_out("open: %s", err.message);
    }
    ok(!myco_ready(nodes[0]) && ticks == 0, "nothing runs before the loop does");
    uv_close((uv_handle_t *)&due, NULL);
    ok(run_until(both_ready, NULL), "two nodes on one loop are a cluster");
    test_calls();
    test_thread();
    test_failed_open();
    struct kit_result late = {0};
    unsigned one = 1, two = 2;
    myco_get_async(opened, myco_str("k"), 0, kit_done, &late);
    myco_close_uv(nodes[0], on_closed, NULL);
    myco_close_uv(nodes[0], on_closed, NULL); /* it closes already */
    ok(closed == 0, "closing takes turns of the loop");
    ok(run_until(all_closed, &one), "one is closed, once");
    is_int(late.calls, 1, "what was pending has ended: %s", late.message);
    myco_close_uv(nodes[1], on_closed, NULL);
    ok(run_until(all_closed, &two), "both are");
    is_int(uv_run(&loop, UV_RUN_DEFAULT), 0, "nothing keeps the loop alive");
    is_int(uv_loop_close(&loop), 0, "it closes clean");
    return plan_done();
}
