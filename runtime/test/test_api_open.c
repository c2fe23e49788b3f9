/* Catches: a node that opens on what it can't have (a port, a folder, a store, another cluster's
 * data), does not say which it was, or leaves something behind when it could not be opened; nodes
 * of two clusters that take each other for one. */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "api_kit.h"

static struct myco_err err;

/* ── a folder that another process has ── forked before this one has threads */

static pid_t other;

static void hold_folder(const struct myco_options *options, int ready, int end)
{
    struct myco *node;
    char byte = 0;
    kit_root[0] = 0; /* not this process's to remove */
    if (myco_open(&node, options, &err)) _exit(1);
    if (myco_wait_ready(node, KIT_WAIT_MS, &err) || write(ready, "r", 1) != 1) _exit(1);
    if (read(end, &byte, 1) < 0) _exit(1);
    myco_close(node);
    _exit(0);
}

static int start_other(void)
{
    struct myco_options options;
    char path[160], byte;
    int ready[2], end[2];
    kit_options(&options, "held", path);
    if (pipe(ready) || pipe(end)) bail_out("no pipe");
    fflush(stdout);
    other = fork();
    if (other == 0) {
        close(end[1]);
        hold_folder(&options, ready[1], end[0]);
    }
    close(ready[1]);
    close(end[0]);
    if (read(ready[0], &byte, 1) != 1) bail_out("the other process has no node");
    close(ready[0]);
    return end[1];
}

/* ── what can't be opened ── */

static void refused(const struct myco_options *options, int code, const char *says)
{
    struct myco *node = NULL;
    memset(&err, 0, sizeof err);
    int rc = myco_open(&node, options, &err);
    if (!ok(rc == code && err.code == code && strstr(err.message, says), "%s: %s", myco_errname(rc),
            err.message))
        note("wanted %s and \"%s\"", myco_errname(code), says);
    if (rc == 0) myco_close(node);
}

static void test_folder_in_use(int end)
{
    struct myco_options options;
    char path[160];
    kit_options(&options, "held", path);
    refused(&options, MYCO_EBUSY, path);
    close(end);
    int status;
    waitpid(other, &status, 0);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the other node did not mind");
    struct myco *node = kit_open(&options);
    kit_ready(node);
    refused(&options, MYCO_EBUSY, path); /* the same process is no better */
    myco_close(node);
}

static int occupy(int type, char text[32])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, type, 0);
    if (bind(fd, (struct sockaddr *)&address, size)) bail_out("no port");
    if (type == SOCK_STREAM) listen(fd, 1);
    getsockname(fd, (struct sockaddr *)&address, &size);
    snprintf(text, 32, "127.0.0.1:%u", ntohs(address.sin_port));
    return fd;
}

static void test_addresses(void)
{
    struct myco_options options;
    char path[160], taken[32];
    const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    kit_options(&options, "addr", path);
    for (int i = 0; i < 2; i++) {
        int fd = occupy(types[i], taken);
        options.listen = taken;
        refused(&options, MYCO_EADDRINUSE, taken);
        close(fd);
    }
    int fd = occupy(SOCK_STREAM, taken);
    options.listen = NULL;
    options.admin = taken;
    refused(&options, MYCO_EADDRINUSE, taken);
    close(fd);
    options.admin = "nowhere";
    refused(&options, MYCO_EINVAL, "nowhere");
    options.admin = NULL;
    const char *const wrong[] = {"nowhere", "127.0.0.1:", "127.0.0.1:70000", "300.0.0.1:1", "::1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options.listen = wrong[i];
        refused(&options, MYCO_EINVAL, wrong[i]);
    }
    options.listen = "192.0.2.1:0"; /* for documentation: nobody has it */
    refused(&options, MYCO_EUNAVAILABLE, "192.0.2.1:0");
    options.listen = NULL;
    options.advertise = "nowhere";
    refused(&options, MYCO_EINVAL, "nowhere");
    options.advertise = NULL;
    const char *const joins[] = {"here", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:1,there"};
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        options.join = joins[i];
        refused(&options, MYCO_EINVAL, "join: ");
    }
}

static void test_folders(void)
{
    struct myco_options options;
    char path[160], file[160], inside[170], store[180];
    kit_options(&options, "plain", path);
    int fd = open(kit_path("file", file), O_CREAT | O_WRONLY, 0600);
    close(fd);
    snprintf(inside, sizeof inside, "%s/data", file);
    options.data = file;
    refused(&options, MYCO_ENOTFOUND, file);
    options.data = inside;
    refused(&options, MYCO_ENOTFOUND, inside);
    options.data = kit_path("locked", file);
    mkdir(file, 0500);
    if (geteuid() != 0)
        refused(&options, MYCO_EDENIED, file);
    else
        skip("root may write into any folder");
    options.data = path;
    options.store = "gopher:hole";
    refused(&options, MYCO_EINVAL, "gopher:hole");
    options.store = "file:";
    refused(&options, MYCO_EINVAL, "file:");
    snprintf(store, sizeof store, "file:%s", inside);
    options.store = store;
    refused(&options, MYCO_ENOTFOUND, store);
    options.store = NULL;
    options.tls = "/nowhere/at/all";
    refused(&options, MYCO_ENOTFOUND, "/nowhere/at/all");
    options.tls = NULL;
    options.lua_path = "/nowhere/at/all";
    refused(&options, MYCO_ENOTFOUND, "/nowhere/at/all");
}

static void test_words(void)
{
    struct myco_options options;
    char path[160], labels[300];
    kit_options(&options, "words", path);
    options.size = 0;
    refused(&options, MYCO_EINVAL, "MYCO_OPTIONS_INIT");
    options.size = sizeof options + 8;
    refused(&options, MYCO_EINVAL, "MYCO_OPTIONS_INIT");
    options.size = sizeof options;
    options.name = "a b";
    refused(&options, MYCO_EINVAL, "name");
    options.name = "words";
    memset(labels, 'l', sizeof labels);
    labels[299] = 0;
    options.labels = labels;
    refused(&options, MYCO_EINVAL, "labels");
    options.labels = NULL;
    options.cluster = labels;
    refused(&options, MYCO_EINVAL, "cluster");
    options.cluster = "one";
    struct myco *node = kit_open(&options);
    kit_ready(node);
    is_str(myco_name(node), "words", "name");
    ok(strncmp(myco_listen(node), "127.0.0.1:", 10) == 0 && atoi(myco_listen(node) + 10) > 0,
        "a port was picked: %s", myco_listen(node));
    is_str(myco_admin(node), "", "no TCP address for pulse, unless it is asked for");
    ok(access(myco_socket(node), F_OK) == 0, "but a socket: %s", myco_socket(node));
    ok(myco_id(node) != 0 && myco_ready(node), "id, ready");
    uint64_t id = myco_id(node);
    myco_close(node);
    options.cluster = "two";
    refused(&options, MYCO_EWRONGCLUSTER, path);
    options.cluster = "one";
    node = kit_open(&options);
    ok(myco_id(node) == id, "the folder keeps its id");
    myco_close(node);
}

/* ── life ── */

static void test_again(void)
{
    struct myco_options options;
    char path[160];
    uint64_t generation = 0;
    unsigned rising = 0;
    kit_options(&options, "again", path);
    options.no_lua = 1;
    for (int i = 0; i < 5; i++) {
        struct myco *node = kit_open(&options);
        struct kit_document document;
        if (i % 2) kit_ready(node); /* closing one that is not ready is fine too */
        uint64_t now = kit_number(kit_inspect(node, "status", &document), "generation");
        rising += now > generation && now != UINT64_MAX;
        generation = now;
        kit_document_free(&document);
        myco_close(node);
    }
    is_int(rising, 5, "the generation rises with every start");
    myco_close(NULL);
}

static void test_alone(void)
{
    struct myco_options options;
    char path[160];
    struct myco_septum *septum;
    kit_options(&options, "alone", path);
    options.expect = 3;
    options.timeout_ms = 200;
    struct myco *node = kit_open(&options);
    is_int(myco_wait_ready(node, 100, &err), MYCO_ETIMEDOUT, "%s", err.message);
    ok(!myco_ready(node), "one of three expected is no cluster");
    is_int(myco_septum(node, "s", "kind=cache", &septum, &err), MYCO_ETIMEDOUT, "%s", err.message);
    is_int(myco_septum(node, "s", NULL, &septum, &err), MYCO_ETIMEDOUT, "%s", err.message);
    uint64_t before = kit_now_ms();
    myco_close(node);
    ok(kit_now_ms() - before < 5000, "it closes at once");
}

static void test_two_clusters(void)
{
    struct myco *nodes[4] = {0};
    char seeds[256] = "";
    for (int i = 0; i < 4; i++) {
        struct myco_options options;
        char path[160];
        kit_options(&options, (const char *[]){"a1", "b1", "a2", "b2"}[i], path);
        options.cluster = i % 2 ? "beech" : "alder";
        options.expect = 2;
        options.join = seeds;
        nodes[i] = kit_open(&options);
        snprintf(seeds + strlen(seeds), sizeof seeds - strlen(seeds), "%s,", myco_listen(nodes[i]));
    }
    unsigned strangers = 0;
    for (int i = 0; i < 4; i++) kit_ready(nodes[i]);
    struct myco_septum *alder = kit_septum(nodes[0], "only-alder", "kind=cache hyphae=1"), *none;
    ok(alder && kit_septum(nodes[2], "only-alder", NULL), "two nodes are a cluster");
    is_int(myco_septum(nodes[1], "only-alder", NULL, &none, &err), MYCO_ENOTFOUND,
        "the two others are not in it");
    for (int i = 0; i < 4; i++) {
        struct kit_document document;
        const msgpack_object *members = kit_inspect(nodes[i], "members", &document);
        is_int(members->via.array.size, 2, "%s: two members", myco_name(nodes[i]));
        for (uint32_t m = 0; m < members->via.array.size; m++) {
            char name[3] = {myco_name(nodes[i])[0], (char)('1' + m), 0};
            bool found = false;
            for (uint32_t k = 0; k < members->via.array.size; k++)
                found |= kit_field_is(&members->via.array.ptr[k], "name", name);
            strangers += !found;
            if (!found) note("%s does not see %s", myco_name(nodes[i]), name);
        }
        kit_document_free(&document);
    }
    is_int(strangers, 0, "and nobody of the other cluster");
    for (int i = 0; i < 4; i++) myco_close(nodes[i]);
}

static void test_errors(void)
{
    unsigned nameless = 0;
#define X(name, number, text)                                                                      \
    nameless += strcmp(myco_errname(-(number)), #name) != 0 ||                                     \
                strcmp(myco_strerror(-(number)), text) != 0;
    MYCO_ERRORS(X)
#undef X
    is_int(nameless, 0, "every error has its name and sentence");
    ok(*myco_errname(-9999) && *myco_strerror(-9999) && *myco_strerror(0),
        "what is no error has some too: %s", myco_strerror(-9999));
}

int main(void)
{
    int end = start_other();
    test_folder_in_use(end);
    test_addresses();
    test_folders();
    test_words();
    test_again();
    test_alone();
    test_two_clusters();
    test_errors();
    return plan_done();
}
