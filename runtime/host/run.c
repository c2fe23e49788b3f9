/* A node as a program of its own: the model of how to embed one.
 *
 *     read options -> block signals -> myco_open -> wait until ready, say so on stdout
 *                  -> wait for SIGTERM or SIGINT -> myco_close
 *
 * Exit status: 0 after a signal, 1 when the node could not start, 2 for a wrong option or
 * configuration, 130 when a second signal came while the node was leaving. */
#include "host/run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "bridge/bridge.h"
#include "host/join.h"
#include "host/options.h"
#include "host/store.h"

#define READY_SLICE_MS 100 /* how soon a signal is heard before the node is ready */

/* ── Options ────────────────────────────────────────────────────────────────────────────────── */

static int wrong_usage(const char *command, const struct myco_err *err)
{
    fprintf(
        stderr, "mycorrizal %s: %s\ntry: mycorrizal %s --help\n", command, err->message, command);
    return MYCO_EXIT_USAGE;
}

static bool wants_help(int argc, char **argv)
{
    return argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
}

static int parse_args(struct myco_run_options *options, int argc, char **argv, struct myco_err *err)
{
    int used, result = myco_options_args(myco_run_options, options, argc, argv, &used, err);
    if (result < 0 || used == argc) return result;
    return myco_err(err, MYCO_EINVAL, "what is \"%.80s\"? All options begin with --", argv[used]);
}

/* Modules of the command line join those of the configuration, whose declarations are Lua source
 * that returns a table, or nothing. */
static void add_modules(struct myco_buf *declarations, const char *modules)
{
    struct myco_buf all = {0};
    myco_buf_printf(&all, "local declared = (function(...)\n");
    myco_buf_bytes(&all, declarations->data, declarations->size);
    myco_buf_printf(&all, "\nend)(...) or {}\ndeclared.modules = declared.modules or {}\n");
    while (*modules != '\0') {
        size_t size = strcspn(modules, ",");
        myco_buf_printf(&all, "table.insert(declared.modules, \"%.*s\")\n", (int)size, modules);
        modules += size + (modules[size] == ',');
    }
    myco_buf_printf(&all, "return declared\n");
    myco_buf_move(declarations, &all);
}

/* *status: how to exit when this returns false. The command line is read twice: first for the name
 * of the configuration, then again to go before it. */
static bool load(struct myco_run_options *options, struct myco_buf *declarations, int argc,
    char **argv, int *status)
{
    struct myco_err err = {0};
    *status = MYCO_EXIT_USAGE;
    if (parse_args(options, argc, argv, &err) < 0) {
        *status = wrong_usage("run", &err);
        return false;
    }
    if (options->config != NULL) {
        char *file = options->config;
        options->config = NULL;
        myco_options_release(myco_run_options, options);
        myco_run_options_init(options);
        int result =
            myco_bridge_config(file, myco_run_options_from_config, options, declarations, &err);
        if (result == 0) result = parse_args(options, argc, argv, &err);
        myco_free(file);
        if (result < 0) {
            fprintf(stderr, "%s\n", err.message);
            return false;
        }
    }
    if (options->modules != NULL) add_modules(declarations, options->modules);
    if (declarations->size > 0) {
        myco_buf_u8(declarations, '\0');
        options->node.config = (const char *)declarations->data;
    }
    if (!declarations->failed) return true;
    fprintf(stderr, "mycorrizal: out of memory\n");
    return false;
}

/* ── Signals ────────────────────────────────────────────────────────────────────────────────── */

/* Blocked in every thread that is started from now on; this one takes them when it asks. A peer
 * that hangs up must not end the process. */
static void block_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void on_second_signal(int number)
{
    (void)number;
    _exit(MYCO_EXIT_INTERRUPTED);
}

/* While the node leaves, another signal ends the process at once. */
static void end_at_next_signal(const sigset_t *signals)
{
    struct sigaction action = {.sa_handler = on_second_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

static bool signal_came(const sigset_t *signals)
{
    static const struct timespec none;
    return sigtimedwait(signals, NULL, &none) > 0;
}

/* ── A node's life ──────────────────────────────────────────────────────────────────────────── */

static void json_member(struct myco_buf *line, const char *name, const char *value)
{
    myco_buf_printf(line, ",\"%s\":", name);
    myco_buf_json(line, value, strlen(value));
}

/* The one line on stdout: for whoever started the program and wants to know the ports. */
static void say_ready(const struct myco *node, const char *cluster)
{
    struct myco_buf line = {0};
    myco_buf_printf(&line, "{\"event\":\"ready\"");
    json_member(&line, "name", myco_name(node));
    myco_buf_printf(&line, ",\"id\":\"%016" PRIx64 "\"", myco_id(node));
    json_member(&line, "cluster", cluster);
    json_member(&line, "listen", myco_listen(node));
    json_member(&line, "admin", myco_admin(node));
    json_member(&line, "socket", myco_socket(node));
    myco_buf_printf(&line, ",\"pid\":%ld}\n", (long)getpid());
    fwrite(line.data, 1, line.size, stdout);
    fflush(stdout);
    myco_buf_free(&line);
}

static int live(struct myco *node, const char *cluster, const sigset_t *signals)
{
    struct myco_err err = {0};
    int result;
    while ((result = myco_wait_ready(node, READY_SLICE_MS, &err)) == MYCO_ETIMEDOUT) {
        if (signal_came(signals)) return MYCO_EXIT_OK;
    }
    if (result < 0) return myco_complain(&err);
    say_ready(node, cluster);
    int number;
    while (sigwait(signals, &number) != 0) {
    }
    return MYCO_EXIT_OK;
}

static int run(struct myco_run_options *options)
{
    struct myco_log log = {.level = options->node.log_level};
    if (options->node.name == NULL) gethostname(log.name, sizeof log.name - 1);
    if (options->node.name != NULL) myco_text_copy(log.name, sizeof log.name, options->node.name);
    options->node.log =
        options->log_format == MYCO_LOG_FORMAT_JSON ? myco_log_sink_json : myco_log_sink_text;
    options->node.log_data = &log;

    sigset_t signals;
    block_signals(&signals);
    struct myco_err err = {0};
    struct myco *node;
    if (myco_open(&node, &options->node, &err) < 0) return myco_complain(&err);
    int status = live(node, options->node.cluster, &signals);
    end_at_next_signal(&signals);
    myco_close(node);
    return status;
}

int myco_run_main(int argc, char **argv)
{
    struct myco_run_options options;
    struct myco_buf declarations = {0};
    int status = MYCO_EXIT_OK;
    myco_run_options_init(&options);
    if (wants_help(argc, argv)) {
        struct myco_buf text = {0};
        myco_options_help(myco_run_options, &text);
        printf("usage: mycorrizal run [OPTION…]\n\nRuns a node until SIGTERM or SIGINT. Prints one "
               "line of "
               "JSON on stdout once it is ready.\n\n%.*s",
            (int)text.size, (const char *)text.data);
        myco_buf_free(&text);
    } else if (load(&options, &declarations, argc, argv, &status)) {
        status = run(&options);
    }
    options.node.config = NULL;
    myco_options_release(myco_run_options, &options);
    myco_buf_free(&declarations);
    return status;
}

/* ── check ──────────────────────────────────────────────────────────────────────────────────── */

int myco_check_main(int argc, char **argv)
{
    char *file = NULL;
    const struct myco_option check_options[] = {
        {"config", MYCO_OPTION_TEXT, 0, sizeof(char *), .hint = "FILE.lua", .doc = "what to read"},
        {0}};
    struct myco_err err = {0};
    int used = 0, status = MYCO_EXIT_OK;
    if (wants_help(argc, argv)) {
        printf("usage: mycorrizal check --config FILE.lua\n\nReads a configuration and says what "
               "is wrong "
               "with it.\n");
        return MYCO_EXIT_OK;
    }
    if (myco_options_args(check_options, &file, argc, argv, &used, &err) < 0) {
        status = wrong_usage("check", &err);
    } else if (file == NULL || used != argc) {
        myco_err(&err, MYCO_EINVAL, "exactly --config FILE.lua is wanted");
        status = wrong_usage("check", &err);
    } else {
        struct myco_run_options options;
        struct myco_buf declarations = {0};
        myco_run_options_init(&options);
        int rc =
            myco_bridge_config(file, myco_run_options_from_config, &options, &declarations, &err);
        if (rc == 0 && options.node.store != NULL) rc = node_store_check(options.node.store, &err);
        if (rc < 0) {
            fprintf(stderr, "%s\n", err.message);
            status = MYCO_EXIT_USAGE;
        } else if (myco_join_check_all(
                       options.node.join, options.node.store, options.node.no_lua != 0, &err)) {
            fprintf(stderr, "%s: %s\n", file, err.message);
            status = MYCO_EXIT_USAGE;
        } else {
            printf("%s: ok\n", file);
        }
        myco_options_release(myco_run_options, &options);
        myco_buf_free(&declarations);
    }
    myco_options_release(check_options, &file);
    return status;
}
