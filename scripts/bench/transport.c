/* Round trips through the transport against raw libuv, in turn and in one run: what framing, lanes
 * and the dirty list cost. Two threads, one loop each, on loopback; 128 bytes there and back.
 *
 *     bench_transport [ROUNDS [ROUND-TRIPS]]
 *
 * Prints the p50 of each round, the medians, and their ratio: the ratio is what counts. */
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include "bench.h"
#include "net/net.h"

#define PAYLOAD_SIZE 128
#define ROUNDS_MAX   99
#define READ_SIZE    (64 * 1024)

enum kind { RAW, OURS, KINDS };

static double cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* ── The echoing side, on its own thread ────────────────────────────────────────────────────── */

static struct {
    uv_loop_t loop;
    uv_tcp_t listener, accepted;
    struct sockaddr_storage raw_addr;
    struct myco_net *net;
    struct myco_addr addr;
    struct myco_metrics metrics;
    uv_async_t stop;
    char bytes[READ_SIZE];
} echo;

static void lend_echo(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    (void)handle, (void)hint;
    *buf = uv_buf_init(echo.bytes, READ_SIZE);
}

static void on_echo_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    if (size < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        return;
    }
    uv_buf_t out = uv_buf_init(buf->base, (unsigned)size);
    if (size > 0 && uv_try_write(stream, &out, 1) != size) fail("raw echo: the kernel is full");
}

static void on_raw_client(uv_stream_t *listener, int status)
{
    if (status != 0) fail("accept");
    uv_tcp_init(&echo.loop, &echo.accepted);
    uv_accept(listener, (uv_stream_t *)&echo.accepted);
    uv_tcp_nodelay(&echo.accepted, 1);
    uv_read_start((uv_stream_t *)&echo.accepted, lend_echo, on_echo_read);
}

static void on_echo_message(uint64_t peer, uint8_t type, struct myco_slice payload, void *data)
{
    struct myco_transport *transport = myco_net_transport(echo.net);
    struct myco_buf out = {0};
    (void)data;
    myco_buf_bytes(&out, payload.data, payload.size);
    transport->ops->send(transport, peer, MYCO_LANE_DATA, type, &out);
}

static void on_any_down(uint64_t peer, bool was_up, enum myco_down_reason reason, void *data)
{
    (void)peer, (void)was_up, (void)reason, (void)data;
}

static void on_any_drain(uint64_t peer, enum myco_lane lane, void *data)
{
    (void)peer, (void)lane, (void)data;
}

static void on_echo_up(uint64_t peer, uint64_t generation, uint64_t features, void *data)
{
    (void)peer, (void)generation, (void)features, (void)data;
}

static void on_stop(uv_async_t *async)
{
    myco_net_close(echo.net, NULL, NULL);
    uv_close((uv_handle_t *)&echo.listener, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void run_echo(void *data)
{
    (void)data;
    uv_run(&echo.loop, UV_RUN_DEFAULT);
}

static struct myco_net *open_net(uv_loop_t *loop, uint64_t id, struct myco_metrics *metrics,
    const struct myco_transport_events *events, struct myco_addr *addr)
{
    struct myco_net_options options = {.loop = loop,
        .id = id,
        .generation = 1,
        .name = "bench",
        .listen = {.ip = {127, 0, 0, 1}, .family = 4},
        .metrics = metrics};
    struct myco_net *net;
    struct myco_err err;
    if (myco_net_open(&options, events, &net, addr, &err) != 0) fail(err.message);
    return net;
}

static void open_echo(void)
{
    static const struct myco_transport_events events = {.on_up = on_echo_up,
        .on_down = on_any_down,
        .on_message = on_echo_message,
        .on_drain = on_any_drain};
    struct sockaddr_in any;
    int size = sizeof echo.raw_addr;
    uv_loop_init(&echo.loop);
    uv_async_init(&echo.loop, &echo.stop, on_stop);
    uv_ip4_addr("127.0.0.1", 0, &any);
    uv_tcp_init(&echo.loop, &echo.listener);
    uv_tcp_bind(&echo.listener, (struct sockaddr *)&any, 0);
    if (uv_listen((uv_stream_t *)&echo.listener, 1, on_raw_client) != 0) fail("listen");
    uv_tcp_getsockname(&echo.listener, (struct sockaddr *)&echo.raw_addr, &size);
    echo.net = open_net(&echo.loop, 2, &echo.metrics, &events, &echo.addr);
}

/* ── The asking side ────────────────────────────────────────────────────────────────────────── */

static struct {
    uv_loop_t loop;
    uv_tcp_t raw;
    uv_connect_t connect;
    struct myco_net *net;
    struct myco_metrics metrics;
    bool raw_up, net_up;
    uint32_t *samples, count, wanted;
    uint64_t asked_ns;
    size_t got; /* of a raw answer */
    char bytes[READ_SIZE];
} ask;

static const char payload[PAYLOAD_SIZE];

static void ask_raw(void)
{
    uv_buf_t out = uv_buf_init((char *)(uintptr_t)payload, PAYLOAD_SIZE);
    ask.asked_ns = now_ns();
    if (uv_try_write((uv_stream_t *)&ask.raw, &out, 1) != PAYLOAD_SIZE) fail("raw: kernel is full");
}

static void ask_ours(void)
{
    struct myco_transport *transport = myco_net_transport(ask.net);
    struct myco_buf out = {0};
    ask.asked_ns = now_ns();
    myco_buf_bytes(&out, payload, PAYLOAD_SIZE);
    if (transport->ops->send(transport, 2, MYCO_LANE_DATA, 1, &out) != 0) fail("send");
}

/* One answer came: true when another is wanted. */
static bool answered(void)
{
    ask.samples[ask.count++] = (uint32_t)(now_ns() - ask.asked_ns);
    return ask.count < ask.wanted;
}

static void lend_ask(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    (void)handle, (void)hint;
    *buf = uv_buf_init(ask.bytes, READ_SIZE);
}

static void on_raw_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    (void)stream, (void)buf;
    if (size < 0) fail("raw connection lost");
    ask.got += (size_t)size;
    if (ask.got < PAYLOAD_SIZE) return;
    ask.got = 0;
    if (answered()) ask_raw();
}

static void on_raw_up(uv_connect_t *request, int status)
{
    (void)request;
    if (status != 0) fail("connect");
    uv_tcp_nodelay(&ask.raw, 1);
    uv_read_start((uv_stream_t *)&ask.raw, lend_ask, on_raw_read);
    ask.raw_up = true;
}

static void on_ask_message(uint64_t peer, uint8_t type, struct myco_slice bytes, void *data)
{
    (void)peer, (void)type, (void)bytes, (void)data;
    if (answered()) ask_ours();
}

static void on_ask_up(uint64_t peer, uint64_t generation, uint64_t features, void *data)
{
    (void)peer, (void)generation, (void)features, (void)data;
    ask.net_up = true;
}

static void open_ask(void)
{
    static const struct myco_transport_events events = {.on_up = on_ask_up,
        .on_down = on_any_down,
        .on_message = on_ask_message,
        .on_drain = on_any_drain};
    struct myco_addr addr;
    uv_loop_init(&ask.loop);
    uv_tcp_init(&ask.loop, &ask.raw);
    uv_tcp_connect(&ask.connect, &ask.raw, (struct sockaddr *)&echo.raw_addr, on_raw_up);
    ask.net = open_net(&ask.loop, 1, &ask.metrics, &events, &addr);
    struct myco_transport *transport = myco_net_transport(ask.net);
    struct myco_transport *other = myco_net_transport(echo.net); /* its thread does not run yet */
    transport->ops->link(transport, 2, &echo.addr);
    other->ops->link(other, 1, &addr);
}

/* ── Rounds ─────────────────────────────────────────────────────────────────────────────────── */

static int by_sample(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The p50 of one round in µs; *cpu: of both threads, per round trip. */
static double run_round(enum kind kind, uint32_t count, double *cpu)
{
    ask.count = 0;
    ask.wanted = count;
    double before = cpu_us();
    if (kind == RAW)
        ask_raw();
    else
        ask_ours();
    while (ask.count < ask.wanted) uv_run(&ask.loop, UV_RUN_ONCE);
    *cpu = (cpu_us() - before) / count;
    qsort(ask.samples, count, sizeof *ask.samples, by_sample);
    uint32_t middle_ns = ask.samples[count / 2];
    return middle_ns / 1000.0;
}

static void run_rounds(unsigned rounds, uint32_t count)
{
    static double p50[KINDS][ROUNDS_MAX], cpu[KINDS][ROUNDS_MAX];
    static double ratio[ROUNDS_MAX], cpu_ratio[ROUNDS_MAX];
    double warm;
    run_round(RAW, count / 4, &warm);
    run_round(OURS, count / 4, &warm);
    for (unsigned i = 0; i < rounds; i++) {
        for (int k = 0; k < KINDS; k++) {
            enum kind kind = (enum kind)((unsigned)k ^ (i & 1)); /* who goes first, in turn */
            p50[kind][i] = run_round(kind, count, &cpu[kind][i]);
        }
        ratio[i] = p50[OURS][i] / p50[RAW][i];
        cpu_ratio[i] = cpu[OURS][i] / cpu[RAW][i];
        printf("round %u  raw %.1f µs  transport %.1f µs\n", i + 1, p50[RAW][i], p50[OURS][i]);
    }
    printf("ping-pong p50     raw %.1f µs  transport %.1f µs  ratio %.2f\n",
        median(p50[RAW], rounds), median(p50[OURS], rounds), median(ratio, rounds));
    printf("CPU a round trip  raw %.1f µs  transport %.1f µs  ratio %.2f\n",
        median(cpu[RAW], rounds), median(cpu[OURS], rounds), median(cpu_ratio, rounds));
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 7;
    uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 20000;
    if (rounds == 0 || rounds > ROUNDS_MAX || count < 100)
        fail("[ROUNDS 1…99 [ROUND-TRIPS ≥ 100]]");
    ask.samples = calloc(count, sizeof *ask.samples);
    if (ask.samples == NULL) fail("no memory");

    uv_thread_t thread;
    open_echo();
    open_ask();
    uv_thread_create(&thread, run_echo, NULL);
    while (!ask.raw_up || !ask.net_up) uv_run(&ask.loop, UV_RUN_ONCE);
    run_rounds(rounds, count);

    uv_close((uv_handle_t *)&ask.raw, NULL);
    myco_net_close(ask.net, NULL, NULL);
    uv_run(&ask.loop, UV_RUN_DEFAULT);
    uv_async_send(&echo.stop);
    uv_thread_join(&thread);
    free(ask.samples);
    return 0;
}
