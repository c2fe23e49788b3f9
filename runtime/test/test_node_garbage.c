/* Catches: a node that falls over, hangs, grows, or says nothing when somebody who is no peer and
 * no pulse talks to it: random bytes, HTTP, an unknown version, frames of four GiB, on every socket
 * that it has. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "node_kit.h"
#include "wire/frame.h"

static struct proc node;
static char listen_at[64], admin_at[64], socket_at[200];

/* ── talking to it ── */

static struct sockaddr_in address_of(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64];
    snprintf(host, sizeof host, "%.*s", (int)strcspn(text, ":"), text);
    inet_pton(AF_INET, host, &address.sin_addr);
    address.sin_port = htons((uint16_t)atoi(strchr(text, ':') + 1));
    return address;
}

static int dial(const char *where)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    int fd, rc;
    if (*where == '/') {
        snprintf(local.sun_path, sizeof local.sun_path, "%s", where);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        rc = connect(fd, (struct sockaddr *)&local, sizeof local);
    } else {
        struct sockaddr_in address = address_of(where);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        rc = connect(fd, (struct sockaddr *)&address, sizeof address);
    }
    if (rc) bail_out("can't connect to %s", where);
    return fd;
}

/* Says it, and reads until the other side hangs up. */
static bool hangs_up(const char *where, const void *bytes, size_t size, char *answer, size_t most)
{
    int fd = dial(where);
    size_t got = 0;
    if (send(fd, bytes, size, MSG_NOSIGNAL) < 0) note("it hung up early");
    for (;;) {
        char rest[256];
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, KIT_WAIT_MS) != 1) break;
        ssize_t more = recv(fd, rest, sizeof rest, 0);
        if (more <= 0) {
            close(fd);
            return true;
        }
        for (ssize_t i = 0; i < more && got + 1 < most; i++) answer[got++] = rest[i];
        if (most) answer[got] = 0;
    }
    close(fd);
    return false;
}

static uint64_t metric(const char *name)
{
    proc_tell(&node, "metric %s", name);
    return strtoull(proc_await(&node, "metric "), NULL, 10);
}

/* A fixed disorder. */
static void disorder(uint8_t *bytes, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(seed >> 56);
    }
}

/* ── what it is told ── */

static struct {
    const char *what;
    uint8_t bytes[2000];
    size_t size;
} words[7];
#define WORDS (sizeof words / sizeof *words)

static void word(int i, const char *what, const void *bytes, size_t size)
{
    words[i].what = what;
    words[i].size = size;
    if (bytes) memcpy(words[i].bytes, bytes, size);
}

static void prepare(void)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    uint8_t header[MYCO_FRAME_HEADER_SIZE];
    struct myco_frame other = {.size = 16, .version = 99, .type = 1, .lane = 1};
    struct myco_frame early = {.size = 16, .version = 1, .type = 1, .lane = 1};
    word(0, "random bytes", NULL, sizeof words[0].bytes);
    disorder(words[0].bytes, sizeof words[0].bytes, 1);
    word(1, "other random bytes", NULL, 64);
    disorder(words[1].bytes, 64, 7);
    word(2, "an HTTP request", http, sizeof http - 1);
    myco_frame_encode(header, &other);
    word(3, "a frame of version 99", header, sizeof header);
    myco_frame_encode(header, &early);
    word(4, "a message before the handshake", header, sizeof header);
    myco_frame_encode(header, &other);
    memset(header, 0xff, 4);
    word(5, "a frame of 4 GiB", header, sizeof header);
    word(6, "a long silence of zeros", NULL, sizeof words[6].bytes);
}

static void test_peers(void)
{
    static const char name[] = "mycorrizal_frames_refused_total";
    for (size_t i = 0; i < WORDS; i++) {
        uint64_t before = metric(name);
        ok(hangs_up(listen_at, words[i].bytes, words[i].size, NULL, 0), "peers: %s: it hangs up",
            words[i].what);
        ok(metric(name) > before, "and counts it");
    }
    const char *line = proc_says(&node, "warn net:", "addr=");
    ok(line != NULL, "and has said so");
    note("%s", line ? line : proc_log(&node));
    int silent = dial(listen_at); /* says nothing, and stays for a while */
    proc_tell(&node, "check s 0 50");
    is_int(atoi(proc_await(&node, "right ")), 50, "it serves on");
    close(silent);
}

static void test_admin(const char *where, const char *what)
{
    static const char name[] = "mycorrizal_frames_refused_total";
    static const uint8_t loose[] = {0, 0, 0, 1, 0x07}, beyond[] = {0, 0, 0, 2, 0x80, 0x80},
                         nameless[] = {0, 0, 0, 1, 0x80};
    static const struct {
        const char *what;
        const uint8_t *bytes;
        size_t size;
    } frames[] = {{"a number", loose, sizeof loose}, {"two maps", beyond, sizeof beyond},
        {"no id", nameless, sizeof nameless}};
    char answer[300];
    for (int i = 0; i < 3; i++) {
        uint64_t before = metric(name);
        ok(hangs_up(where, frames[i].bytes, frames[i].size, answer, sizeof answer) &&
                memmem(answer, sizeof answer, "EPROTO", 6),
            "%s: %s: an error and the end", what, frames[i].what);
        ok(metric(name) > before, "and it is counted");
    }
    uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0x80};
    ok(hangs_up(where, huge, sizeof huge, answer, sizeof answer) &&
            memmem(answer, sizeof answer, "ETOOBIG", 7),
        "%s: 4 GiB", what);
    static const int talk[] = {0, 2, 5}; /* their first four bytes are a length beyond the limit */
    for (int i = 0; i < 3; i++)
        ok(hangs_up(where, words[talk[i]].bytes, words[talk[i]].size, NULL, 0), "%s: %s", what,
            words[talk[i]].what);
    const char *line = proc_says(&node, "warn pulse:", "refused");
    ok(line != NULL, "and it has said so");
    note("%s", line ? line : proc_log(&node));
}

static bool datagrams_counted(void *data)
{
    return metric("mycorrizal_gossip_refused_total") >= *(uint64_t *)data;
}

static void test_datagrams(void)
{
    struct sockaddr_in address = address_of(listen_at);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    uint64_t want = metric("mycorrizal_gossip_refused_total") + 40;
    for (int i = 0; i < 50; i++) {
        uint8_t bytes[1400];
        size_t size = (size_t)(i * 53 % 1400);
        disorder(bytes, size, (uint64_t)i + 100);
        sendto(fd, bytes, size, 0, (struct sockaddr *)&address, sizeof address);
    }
    close(fd);
    ok(kit_poll(datagrams_counted, &want, KIT_WAIT_MS), "datagrams of nonsense are counted");
    const char *line = proc_says(&node, "warn gossip:", "refused");
    ok(line != NULL, "and it has said so");
    note("%s", line ? line : proc_log(&node));
}

int main(int argc, char **argv)
{
    char data[160];
    if (argc > 6 && strcmp(argv[1], "--node") == 0) return node_main(argv);
    prepare();
    node_begin(&node, "target", kit_path("target", data), "", 1, "");
    if (sscanf(proc_await(&node, "open "), "%63s %63s %199s", listen_at, admin_at, socket_at) != 3)
        bail_out("no addresses");
    node_ready(&node);
    proc_tell(&node, "septum s kind=durable hyphae=4");
    proc_await(&node, "ok");
    proc_tell(&node, "fill s 0 50");
    proc_await(&node, "filled ");
    test_peers();
    test_admin(admin_at, "admin over TCP");
    test_admin(socket_at, "the admin socket");
    test_datagrams();
    proc_tell(&node, "check s 0 50");
    is_int(atoi(proc_await(&node, "right ")), 50, "after all of it, it serves on");
    proc_tell(&node, "close");
    is_int(proc_end(&node), 0, "and closes as ever");
    return plan_done();
}
