/* Would catch: TLS that lets in who has no certificate of our CA, that loses or mixes bytes, that
 * holds urgent messages up, or that does not say what is wrong with a certificate or a file. */
#include "net_kit.h"

#include <limits.h>
#include <unistd.h>

static uv_loop_t loop;
static char folder[] = "/tmp/myco-test-tls-XXXXXX";

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0) bail_out("failed: %s", command);
}

/* ours/a, ours/b: good. mixed: our CA to judge others by, but a certificate of another one. */
static void make_certificates(void)
{
    if (mkdtemp(folder) == NULL) bail_out("mkdtemp");
    shell("%s/certs %s/ours a b", MYCO_SCRIPTS, folder);
    shell("%s/certs %s/other mallory", MYCO_SCRIPTS, folder);
    shell("cp -r %s/other/mallory %s/mixed && cp %s/ours/ca.pem %s/mixed", folder, folder, folder,
        folder);
    shell("cp -r %s/ours/a %s/broken && echo broken > %s/broken/node.pem", folder, folder, folder);
    shell("cp -r %s/ours/a %s/keyless && rm %s/keyless/node.key", folder, folder, folder);
    shell("cp -r %s/ours/a %s/swapped && cp %s/ours/b/node.key %s/swapped", folder, folder, folder,
        folder);
}

static const char *path(const char *name)
{
    static char text[PATH_MAX];
    snprintf(text, sizeof text, "%s/%s", folder, name);
    return text;
}

static void open_tls(struct kit_node *node, uint64_t id, const char *tls)
{
    struct myco_net_options options = kit_options(&loop, id);
    options.tls = tls != NULL ? path(tls) : NULL;
    kit_open(node, options);
}

/* ── What works ─────────────────────────────────────────────────────────────────────────────── */

#define LARGE_SIZE (4u * 1024 * 1024)

struct talk {
    struct kit_node *other;
    const uint8_t *large;
    unsigned intact, pings;
};

static void on_talk(struct kit_node *node, uint64_t peer, uint8_t type, struct myco_slice payload)
{
    struct talk *talk = node->data;
    (void)peer;
    if (type == 6)
        talk->intact +=
            payload.size == LARGE_SIZE && memcmp(payload.data, talk->large, LARGE_SIZE) == 0;
    if (type == 1) {
        talk->pings++;
        kit_send(node, talk->other, MYCO_LANE_CONTROL, 1, "ping", 4);
    }
}

static void test_good(void)
{
    struct kit_node a, b;
    uint8_t *large = myco_alloc(LARGE_SIZE);
    for (uint32_t i = 0; i < LARGE_SIZE; i++) large[i] = (uint8_t)(i * 2654435761u >> 24);
    uv_loop_init(&loop);
    open_tls(&a, 1, "ours/a");
    open_tls(&b, 2, "ours/b");
    kit_link(&a, &b);
    kit_link(&b, &a);
    kit_until(&loop, a.up && b.up, "two nodes with certificates of one CA are connected");

    struct talk talk_a = {.other = &b, .large = large}, talk_b = {.other = &a, .large = large};
    a.on_message = b.on_message = on_talk;
    a.data = &talk_a, b.data = &talk_b;
    for (int i = 0; i < 3; i++) {
        kit_send(&a, &b, MYCO_LANE_BULK, 6, large, LARGE_SIZE);
        kit_send(&b, &a, MYCO_LANE_DATA, 6, large, LARGE_SIZE);
    }
    kit_send(&a, &b, MYCO_LANE_CONTROL, 1, "ping", 4);
    kit_until(&loop, talk_a.intact == 3 && talk_b.intact == 3, "large messages arrive, both ways");
    note("%u control messages meanwhile", talk_a.pings + talk_b.pings);
    ok(talk_a.pings > 4, "and urgent ones overtake them");
    kit_break_all(&loop);
    kit_until(&loop, a.up == 2 && b.up == 2, "a broken connection stands again");
    ok(a.down_reason == MYCO_DOWN_RESET && a.failed_by[MYCO_DOWN_FOREIGN] == 0, "it was a RESET");
    kit_close(&a);
    kit_until(&loop, b.down == 2 && b.down_reason == MYCO_DOWN_CLOSED, "GOODBYE is understood");
    kit_close(&b);
    kit_done(&loop);
    myco_free(large);
}

/* ── What is refused ────────────────────────────────────────────────────────────────────────── */

/* `guest` dials a good node, and is dialled by it. */
static void test_refused(const char *what, const char *host, const char *guest)
{
    struct kit_node a, b, c;
    uv_loop_init(&loop);
    open_tls(&a, 1, host);
    open_tls(&b, 2, host);
    open_tls(&c, 3, guest);
    kit_link(&a, &b);
    kit_link(&b, &a);
    kit_link(&c, &a);
    kit_until(&loop, a.up && b.up && c.failed > 0, "%s dials: refused", what);
    kit_link(&a, &c);
    kit_until(&loop, a.failed > 0, "%s is dialled: refused", what);
    ok(a.line_count > 0, "the one says why: %s", a.lines[0]);
    ok(c.line_count > 0, "the other says why: %s", c.lines[0]);
    ok(a.up == 1 && a.down == 0 && b.down == 0, "the good link stands");
    is_int(c.up, 0, "and no other");
    kit_close(&a);
    kit_close(&b);
    kit_close(&c);
    kit_done(&loop);
}

static void test_bad_folder(const char *name, int code)
{
    struct kit_node node;
    struct myco_err err = {0};
    uv_loop_init(&loop);
    struct myco_net_options options = kit_options(&loop, 1);
    options.tls = path(name);
    is_int(kit_try_open(&node, options, &err), code, "%s: %s", name, err.message);
    kit_done(&loop);
}

int main(void)
{
    make_certificates();
    test_good();
    test_refused("another CA", "ours/a", "other/mallory");
    test_refused("another CA's certificate", "ours/a", "mixed");
    test_refused("a node without TLS", "ours/a", NULL);
    test_refused("a node with TLS, to one without,", NULL, "ours/a");
    test_bad_folder("nowhere", MYCO_ENOTFOUND);
    test_bad_folder("keyless", MYCO_ENOTFOUND);
    test_bad_folder("broken", MYCO_ECORRUPT);
    test_bad_folder("swapped", MYCO_ECORRUPT);
    shell("rm -r %s", folder);
    return plan_done();
}
