/* Catches: a program that does not say what is wrong, says it is ready when it is not, does not end
 * on a signal, or lets the configuration go before the command line. The node is a fake. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "bridge/bridge.h"
#include "host/options.h"
#include "host/run.h"
#include "host/store.h"
#include "tap.h"

/* ── The fake ───────────────────────────────────────────────────────────────────────────────── */

static struct {
    int open_result, ready_after; /* slices; -1: never */
    bool hang_in_close;
} fake;
static int slices;

int myco_open(struct myco **node, const struct myco_options *options, struct myco_err *err)
{
    static int some;
    if (fake.open_result < 0)
        return myco_err(err, fake.open_result, "listen on %s: no", options->listen);
    fprintf(stderr, "open name=%s listen=%s join=%s timeout=%u log=%d\n", options->name,
        options->listen, options->join != NULL ? options->join : "", options->timeout_ms,
        options->log_level);
    if (options->config != NULL) fprintf(stderr, "config:\n%s", options->config);
    *node = (struct myco *)&some;
    return 0;
}

int myco_wait_ready(struct myco *node, unsigned timeout_ms, struct myco_err *err)
{
    (void)node;
    usleep(timeout_ms * 100);
    return fake.ready_after >= 0 && slices++ >= fake.ready_after
               ? 0
               : myco_err(err, MYCO_ETIMEDOUT, "not yet");
}

void myco_close(struct myco *node)
{
    (void)node;
    fprintf(stderr, "close\n");
    while (fake.hang_in_close) pause();
}

const char *myco_name(const struct myco *node)
{
    (void)node;
    return "a\"b";
}
uint64_t myco_id(const struct myco *node)
{
    (void)node;
    return 0xabc;
}
const char *myco_listen(const struct myco *node)
{
    (void)node;
    return "127.0.0.1:4711";
}
const char *myco_admin(const struct myco *node)
{
    (void)node;
    return "";
}
const char *myco_socket(const struct myco *node)
{
    (void)node;
    return "/x/pulse";
}

int node_store_check(const char *url, struct myco_err *err)
{
    if (strncmp(url, "file:", 5) == 0) return 0;
    return myco_err(err, MYCO_EINVAL, "%s: no", url);
}

int myco_bridge_config(const char *file, myco_config_set_cb set, void *data,
    struct myco_buf *declarations, struct myco_err *err)
{
    if (strcmp(file, "bad.lua") == 0) {
        int result = set("tymeout", "1s", err, data);
        myco_err_wrap(err, "bad.lua:3");
        return result;
    }
    int result = set("timeout", "1s", err, data);
    if (result == 0) result = set("listen", "127.0.0.1:1", err, data);
    if (result == 0) result = set("join", "127.0.0.1:1,127.0.0.1:2", err, data);
    myco_buf_printf(declarations, "return { modules = { \"resp\" } }");
    return result;
}

/* ── Running it ─────────────────────────────────────────────────────────────────────────────── */

static char out[4096], said[4096]; /* stdout, stderr */
static int ends[2];

static pid_t start(int (*command)(int argc, char **argv), const char *const *words)
{
    int argc = 0, errors = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    while (words[argc] != NULL) argc++;
    if (pipe(ends) != 0 || errors < 0) bail_out("no pipe");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(errors, STDERR_FILENO);
        int status = command(argc, (char **)(uintptr_t)words);
        fflush(stdout);
        _exit(status);
    }
    close(ends[1]);
    ends[1] = errors;
    return pid;
}

/* Until the line is there, or the end. */
static const char *read_line(void)
{
    size_t size = 0;
    ssize_t got = 0;
    while (size < sizeof out - 1 && (got = read(ends[0], out + size, sizeof out - 1 - size)) > 0) {
        size += (size_t)got;
        if (out[size - 1] == '\n') break;
    }
    out[size] = '\0';
    return out;
}

static int finish(pid_t pid)
{
    int status;
    waitpid(pid, &status, 0);
    ssize_t size = pread(ends[1], said, sizeof said - 1, 0);
    said[size > 0 ? size : 0] = '\0';
    close(ends[0]);
    close(ends[1]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define START(command, ...) start(command, (const char *const[]){__VA_ARGS__, NULL})

static int run_wrong(const char *first, const char *second)
{
    pid_t pid = START(myco_run_main, first, second);
    read_line();
    return finish(pid);
}

static void test_life(void)
{
    fake.ready_after = 3;
    pid_t pid = START(
        myco_run_main, "--name", "api-1", "--cluster=shop", "--listen", ":0", "--log", "warn");
    char want[300];
    snprintf(want, sizeof want,
        "{\"event\":\"ready\",\"name\":\"a\\\"b\",\"id\":\"0000000000000abc\",\"cluster\":\"shop\","
        "\"listen\":"
        "\"127.0.0.1:4711\",\"admin\":\"\",\"socket\":\"/x/pulse\",\"pid\":%ld}\n",
        (long)pid);
    is_str(read_line(), want, "the line on stdout");
    kill(pid, SIGTERM);
    is_int(finish(pid), 0, "SIGTERM ends it");
    is_str(
        said, "open name=api-1 listen=:0 join= timeout=5000 log=3\nclose\n", "by closing the node");

    pid = START(myco_run_main, "--config", "good.lua", "--join=127.0.0.1:9", "--module", "metrics",
        "--module=s3");
    read_line();
    kill(pid, SIGINT);
    is_int(finish(pid), 0, "so does SIGINT");
    ok(strstr(said, "listen=127.0.0.1:1 join=127.0.0.1:9 timeout=1000") != NULL,
        "the command line goes before the configuration, that before defaults");
    ok(strstr(said, "return { modules = { \"resp\" } }\n") != NULL &&
            strstr(said, "table.insert(declared.modules, \"metrics\")\n") != NULL &&
            strstr(said, "table.insert(declared.modules, \"s3\")\nreturn declared\n") != NULL,
        "modules join the declarations");

    fake.ready_after = -1;
    pid = START(myco_run_main, "--name", "x");
    kill(pid,
        SIGTERM); /* may come before signals are blocked: then it ends by it, which is right too */
    int status = finish(pid);
    ok(status == 0 || status == -SIGTERM, "a signal is heard before the node is ready");
    fake.ready_after = 0;
}

static void test_second_signal(void)
{
    fake.hang_in_close = true;
    pid_t pid = START(myco_run_main, "--name", "x");
    read_line();
    kill(pid, SIGTERM);
    do { /* until it is in close */
        usleep(1000);
        ssize_t size = pread(ends[1], said, sizeof said - 1, 0);
        said[size > 0 ? size : 0] = '\0';
    } while (strstr(said, "close\n") == NULL);
    kill(pid, SIGTERM);
    is_int(finish(pid), 130, "a second signal ends it at once");
    fake.hang_in_close = false;
}

static void test_wrong(void)
{
    is_int(run_wrong("--lissten", ":0"), 2, "an unknown option");
    is_str(said,
        "mycorrizal run: there is no option --lissten: did you mean --listen?\ntry: mycorrizal "
        "run --help\n",
        "and what was meant");
    static const char *const wrong[][2] = {{"--listen", "nowhere"}, {"--timeout", "0"},
        {"--lease", "1s0"}, {"--name", "a b"}, {"--labels", "zone"}, {"--store", "/x"},
        {"--log", "loud"}, {"--expect", "-1"}, {"--module", "a;b"}, {"word", NULL},
        {"--join", "a,,b"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        is_int(run_wrong(wrong[i][0], wrong[i][1]), 2, "%s", wrong[i][0]);
        note("%.*s", (int)strcspn(said, "\n"), said);
    }
    is_int(run_wrong("--config", "bad.lua"), 2, "a wrong configuration");
    is_str(said, "bad.lua:3: there is no option tymeout: did you mean timeout?\n",
        "names file and line");
    fake.open_result = MYCO_EADDRINUSE;
    is_int(run_wrong("--listen", "127.0.0.1:1"), 1, "a node that can't start");
    is_str(said, "mycorrizal: listen on 127.0.0.1:1: no (EADDRINUSE)\n", "says why");
    fake.open_result = 0;

    struct myco_run_options options;
    struct myco_err err;
    myco_run_options_init(&options);
    ok(myco_run_options_from_config("config", "x", &err, &options) < 0 &&
            myco_run_options_from_config("module", "x", &err, &options) < 0,
        "config and module are not for configurations");
    is_int(options.node.size, sizeof(struct myco_options), "the size is set");
    is_int(options.node.lease_ms, 300, "defaults");
    myco_options_release(myco_run_options, &options);
}

static void test_check_and_help(void)
{
    pid_t pid = START(myco_check_main, "--config", "good.lua");
    is_str(read_line(), "good.lua: ok\n", "check");
    is_int(finish(pid), 0, "of what is right");
    pid = START(myco_check_main, "--config", "bad.lua");
    read_line();
    is_int(finish(pid), 2, "of what is wrong");
    pid = START(myco_check_main, "bad.lua");
    read_line();
    is_int(finish(pid), 2, "without --config");
    pid = START(myco_run_main, "--help");
    waitpid(pid, NULL, WNOHANG);
    size_t size = 0;
    static char help[8192];
    for (ssize_t got; (got = read(ends[0], help + size, sizeof help - 1 - size)) > 0;)
        size += (size_t)got;
    finish(pid);
    size_t missing = 0;
    for (const struct myco_option *option = myco_run_options; option->name != NULL; option++) {
        missing += strstr(help, option->doc) == NULL;
    }
    is_int(missing, 0, "--help shows every option");
}

int main(void)
{
    test_life();
    test_second_signal();
    test_wrong();
    test_check_and_help();
    return plan_done();
}
