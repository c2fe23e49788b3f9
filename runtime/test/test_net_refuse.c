/* Would catch: a node that talks to what is not its peer (garbage, another cluster, version, node,
 * or itself), that does not say why it refuses, or that lets such a connection disturb the others.
 */
#include "net_kit.h"

#include "wire/frame.h"

static uv_loop_t loop;
static struct kit_node a, b; /* two good ones, connected throughout */

static void expect_untouched(const char *what)
{
    ok(a.up == 1 && b.up == 1 && a.down == 0 && b.down == 0, "%s: other links stand", what);
}

/* ── A raw client ───────────────────────────────────────────────────────────────────────────── */

struct client {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct myco_buf out, in;
    bool ended, closed;
};

static void client_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    static char bytes[4096];
    (void)handle, (void)hint;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void client_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    client->closed = true;
}

static void client_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct client *client = stream->data;
    if (size > 0) myco_buf_bytes(&client->in, buf->base, (size_t)size);
    if (size >= 0) return;
    client->ended = true;
    uv_close((uv_handle_t *)stream, client_closed);
}

static void client_connected(uv_connect_t *request, int status)
{
    struct client *client = request->data;
    if (status != 0) bail_out("connect: %s", uv_strerror(status));
    uv_read_start((uv_stream_t *)&client->tcp, client_alloc, client_read);
    uv_buf_t buf = uv_buf_init((char *)client->out.data, (unsigned)client->out.size);
    if (buf.len > 0) uv_write(&client->write, (uv_stream_t *)&client->tcp, &buf, 1, NULL);
}

static void client_start(struct client *client, const struct kit_node *to)
{
    struct sockaddr_storage address;
    myco_addr_to_sockaddr(&to->addr, &address);
    client->ended = client->closed = false;
    client->tcp.data = client->connect.data = client;
    uv_tcp_init(&loop, &client->tcp);
    uv_tcp_connect(&client->connect, &client->tcp, (struct sockaddr *)&address, client_connected);
}

static void client_free(struct client *client)
{
    myco_buf_free(&client->out);
    myco_buf_free(&client->in);
}

/* ── Refusals of incoming connections ───────────────────────────────────────────────────────── */

static void test_garbage(const char *name, const void *bytes, size_t size, const char *logged)
{
    struct client client = {0};
    uint64_t before = myco_net_refused(a.net, MYCO_NET_REFUSED_GARBAGE);
    a.line_count = 0;
    myco_buf_bytes(&client.out, bytes, size);
    client_start(&client, &a);
    kit_until(&loop, client.closed, "%s: the connection ends", name);
    is_int(myco_net_refused(a.net, MYCO_NET_REFUSED_GARBAGE), before + 1, "it is counted");
    is_int(client.in.size, 0, "nothing is answered");
    if (logged != NULL) ok(kit_logged(&a, logged), "and said: %s", a.lines[0]);
    expect_untouched(name);
    client_free(&client);
}

static const struct myco_hello good = {.version_lowest = 1,
    .version_highest = 1,
    .cluster = 42,
    .id = 9,
    .generation = 1,
    .name = "x"};

static uint8_t answered_goodbye(const struct client *client)
{
    struct myco_frames frames = {0};
    struct myco_slice input = myco_buf_as_slice(&client->in);
    struct myco_frame_message message;
    uint8_t reason = 0;
    while (myco_frames_next(&frames, &input, &message, NULL) == 1) {
        if (message.type == MYCO_LINK_GOODBYE) myco_link_get_goodbye(&reason, message.payload);
    }
    myco_frames_free(&frames);
    return reason;
}

static void test_hello(
    const char *name, struct myco_hello hello, enum myco_net_refusal why, uint8_t goodbye)
{
    struct client client = {0};
    uint64_t before = myco_net_refused(a.net, why);
    a.line_count = 0;
    myco_link_put_hello(&client.out, &hello);
    client_start(&client, &a);
    kit_until(&loop, client.closed, "%s: the connection ends", name);
    is_int(myco_net_refused(a.net, why), before + 1, "it is counted");
    is_int(answered_goodbye(&client), goodbye, "GOODBYE says why");
    is_int(a.line_count, 1, "one line: %s", a.lines[0]);
    expect_untouched(name);
    client_free(&client);
}

static void test_hellos(void)
{
    struct myco_hello hello = good;
    hello.version_lowest = 8, hello.version_highest = 9;
    test_hello("unknown version", hello, MYCO_NET_REFUSED_VERSION, MYCO_GOODBYE_VERSION);
    hello = good, hello.cluster = 43;
    test_hello("another cluster", hello, MYCO_NET_REFUSED_CLUSTER, MYCO_GOODBYE_CLUSTER);
    hello = good, hello.id = 1;
    test_hello("itself", hello, MYCO_NET_REFUSED_SELF, MYCO_GOODBYE_IDENTITY);
    hello = good, hello.id = 2;
    test_hello("another node of the same id", hello, MYCO_NET_REFUSED_TWIN, MYCO_GOODBYE_TWIN);
    hello = good, hello.id = 2, hello.generation = 0;
    test_hello("an earlier life", hello, MYCO_NET_REFUSED_STALE, MYCO_GOODBYE_STALE);
}

/* Well-formed frames, but out of turn. */
static void test_out_of_turn(void)
{
    struct myco_buf bytes = {0};
    myco_link_put_empty(&bytes, MYCO_LINK_ACCEPT);
    test_garbage("ACCEPT first", bytes.data, bytes.size, NULL);
    myco_buf_clear(&bytes);
    struct myco_frame frame = {.size = 1, .version = 1, .type = 1, .lane = 1};
    uint8_t header[MYCO_FRAME_HEADER_SIZE];
    myco_frame_encode(header, &frame);
    myco_buf_bytes(&bytes, header, sizeof header);
    test_garbage("a message first", bytes.data, bytes.size, NULL);
    myco_buf_free(&bytes);
}

static void test_silent_client(void)
{
    struct client client = {0};
    struct kit_node c;
    struct myco_net_options options = kit_options(&loop, 3);
    options.handshake_ms = options.ping_ms = 20;
    kit_open(&c, options);
    client_start(&client, &c);
    kit_until(&loop, client.closed, "who says nothing is closed after the handshake's time");
    kit_close(&c);
    kit_until(&loop, c.closed, "closed");
    client_free(&client);
}

static void test_crowd(void)
{
    struct client clients[4] = {0};
    struct kit_node c;
    struct myco_net_options options = kit_options(&loop, 3);
    options.incoming_max = 3;
    kit_open(&c, options);
    for (int i = 0; i < 4; i++) client_start(&clients[i], &c);
    kit_until(&loop, myco_net_refused(c.net, MYCO_NET_REFUSED_CROWDED) == 1,
        "one more than may wait is refused");
    kit_close(&c);
    kit_until(&loop,
        clients[0].closed && clients[1].closed && clients[2].closed && clients[3].closed,
        "closing closes those who wait");
    kit_until(&loop, c.closed, "and ends");
    for (int i = 0; i < 4; i++) client_free(&clients[i]);
}

/* ── Refusals by the one who dials ──────────────────────────────────────────────────────────── */

static void test_dialled(const char *name, struct kit_node *c, uint64_t id,
    const struct myco_addr *addr, enum myco_net_refusal why)
{
    c->line_count = 0;
    enum myco_down_reason down =
        why == MYCO_NET_REFUSED_CLUSTER ? MYCO_DOWN_FOREIGN : MYCO_DOWN_DISPLACED;
    unsigned before = c->failed_by[down];
    kit_link_at(c, id, addr);
    kit_until(&loop, c->failed_by[down] >= before + 3, "%s: said why, again and again", name);
    ok(myco_net_refused(c->net, why) >= 3, "it is counted");
    is_int(c->line_count, why == MYCO_NET_REFUSED_SELF ? 2 : 1, "one line a side: %s", c->lines[0]);
    expect_untouched(name);
    c->transport->ops->unlink(c->transport, id);
}

static void test_dialling(void)
{
    struct kit_node c;
    kit_open(&c, kit_options(&loop, 3));
    test_dialled("another node there", &c, 7, &a.addr, MYCO_NET_REFUSED_IDENTITY);
    test_dialled("we ourselves there", &c, 7, &c.addr, MYCO_NET_REFUSED_SELF);
    kit_link(&c, &a);
    kit_link(&a, &c);
    kit_until(&loop, c.up == 1, "the right id at the same address connects");
    kit_close(&c);
    kit_until(&loop, c.closed && a.down == 1, "closed");
    a.transport->ops->unlink(a.transport, 3);
    a.up--, a.down--; /* as it was */

    struct myco_net_options options = kit_options(&loop, 4);
    options.cluster = 43;
    kit_open(&c, options);
    test_dialled("another cluster there", &c, 1, &a.addr, MYCO_NET_REFUSED_CLUSTER);
    kit_close(&c);
    kit_until(&loop, c.closed, "closed");
}

/* A listener that speaks something else. */
static void on_foreign_accept(uv_stream_t *server, int status)
{
    static uv_tcp_t tcp;
    static uv_write_t write;
    static unsigned count;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t) "220 mail.example.com ESMTP ready\r\n", 34);
    if (status != 0) bail_out("accept");
    if (count++ > 0) {
        uv_close((uv_handle_t *)server, NULL); /* once is enough */
        return;
    }
    uv_tcp_init(&loop, &tcp);
    uv_accept(server, (uv_stream_t *)&tcp);
    uv_write(&write, (uv_stream_t *)&tcp, &buf, 1, NULL);
    *(uv_tcp_t **)server->data = &tcp;
}

static void test_foreign_server(void)
{
    uv_tcp_t server, *accepted = NULL;
    struct kit_node c;
    struct sockaddr_in address;
    struct sockaddr_storage bound;
    int size = sizeof bound;
    struct myco_addr addr;
    uv_tcp_init(&loop, &server);
    server.data = &accepted;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_bind(&server, (struct sockaddr *)&address, 0);
    uv_listen((uv_stream_t *)&server, 1, on_foreign_accept);
    uv_tcp_getsockname(&server, (struct sockaddr *)&bound, &size);
    myco_addr_from_sockaddr(&addr, &bound);
    kit_open(&c, kit_options(&loop, 3));
    kit_link_at(&c, 7, &addr);
    kit_until(&loop, c.failed_by[MYCO_DOWN_FOREIGN] == 1, "a mail server there: FOREIGN");
    is_int(myco_net_refused(c.net, MYCO_NET_REFUSED_GARBAGE), 1, "as GARBAGE");
    is_int(c.line_count, 1, "one line: %s", c.lines[0]);
    kit_close(&c);
    uv_close((uv_handle_t *)accepted, NULL);
    kit_until(&loop, c.closed, "closed");
    if (!uv_is_closing((uv_handle_t *)&server)) uv_close((uv_handle_t *)&server, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

int main(void)
{
    uv_loop_init(&loop);
    kit_pair(&loop, &a, &b);
    test_garbage("HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, "not our protocol");
    uint8_t noise[100];
    memset(noise, 0xff, sizeof noise);
    test_garbage("noise", noise, sizeof noise, NULL);
    test_out_of_turn();
    test_hellos();
    test_silent_client();
    test_crowd();
    test_dialling();
    test_foreign_server();
    expect_untouched("at the end");
    kit_close(&a);
    kit_close(&b);
    kit_done(&loop);
    return plan_done();
}
