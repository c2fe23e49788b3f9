/* Catches: a program that does not say what is wrong with its command line or configuration, and
 * where; a ready line that is no JSON or has other addresses than those that were bound; a node
 * that goes away on SIGTERM with what it leads, so that others wait for it, or writes fail. */
#include "node_kit.h"

#define RUN(...)                                                                                   \
    (const char *const[])                                                                          \
    {                                                                                              \
        MYCO_PROGRAM, __VA_ARGS__, NULL                                                            \
    }

/* Runs it to its end. */
static int run(struct proc *proc, const char *const argv[])
{
    proc_start(proc, "cli", argv);
    return proc_end(proc);
}

static void fails(const char *const argv[], int status, const char *one, const char *two)
{
    struct proc proc;
    int got = run(&proc, argv);
    bool said = proc_says(&proc, one, two) != NULL;
    if (!ok(got == status && said, "%s %s: %.*s", argv[1] ? argv[1] : "",
            argv[1] && argv[2] ? argv[2] : "", (int)strcspn(proc_log(&proc), "\n"),
            proc_log(&proc)))
        note("status %d, wanted %d and a line with \"%s\" and \"%s\"", got, status, one, two);
}

/* ── words ── */

static const char *config(const char *name, const char *text, char path[160])
{
    FILE *file = fopen(kit_path(name, path), "w");
    fputs(text, file);
    fclose(file);
    return path;
}

static void test_words(void)
{
    struct proc proc;
    fails(RUN("run", "--lisen", ":0"), 2, "--lisen", "did you mean --listen?");
    fails(RUN("run", "--listen"), 2, "--listen", "value");
    fails(RUN("run", "--expect", "many"), 2, "--expect", "many");
    fails(RUN("run", "surplus"), 2, "surplus", "");
    fails(RUN("rum"), 2, "rum", "did you mean \"run\"?");
    fails((const char *const[]){MYCO_PROGRAM, NULL}, 2, "usage: mycorrizal", "");
    is_int(run(&proc, RUN("--version")), 0, "--version");
    is_int(run(&proc, RUN("run", "--help")), 0, "run --help");
}

static void test_config(void)
{
    static const struct {
        const char *name, *text, *where, *what;
    } bad[] = {{"syntax.lua", "return {\n  name = = 3\n}\n", "syntax.lua:2", "unexpected symbol"},
        {"option.lua", "return {\n  name = \"n\",\n  lisen = \":0\",\n}\n", "option.lua:3",
            "listen"},
        {"type.lua", "return {\n  expect = {},\n}\n", "type.lua:2", "expect"},
        {"range.lua", "return {\n  expect = -1,\n}\n", "range.lua:2", "expect"},
        {"number.lua", "return 7\n", "number.lua", ""},
        {"raise.lua", "local x = nil\nreturn { name = x.y }\n", "raise.lua:2", "nil value"},
        {"septa.lua", "return {\n  septa = { s = { kind = \"brick\" } },\n}\n", "septa.lua:2",
            "brick"}};
    char path[160];
    struct proc proc;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        config(bad[i].name, bad[i].text, path);
        fails(RUN("check", "--config", path), 2, bad[i].where, bad[i].what);
        fails(RUN("run", "--config", path), 2, bad[i].where, bad[i].what);
    }
    fails(RUN("check", "--config", "/nowhere/at.lua"), 2, "/nowhere/at.lua", "");
    fails(RUN("run", "--config", "/nowhere/at.lua"), 2, "/nowhere/at.lua", "");
    fails(RUN("check"), 2, "--config", "");
    config("good.lua",
        "return {\n  name = \"fine\",\n  listen = \"127.0.0.1:0\",\n"
        "  septa = { carts = { kind = \"durable\", replicas = 1 } },\n}\n",
        path);
    proc_start(&proc, "cli", RUN("check", "--config", path));
    const char *line = proc_line(&proc, KIT_WAIT_MS);
    ok(line && strstr(line, "good.lua: ok"), "check: %s", line ? line : proc_log(&proc));
    is_int(proc_end(&proc), 0, "what is right is right");
}

/* ── the ready line ── */

static bool is_json(const char *line)
{
    char path[160];
    struct proc proc;
    FILE *file = fopen(kit_path("json.lua", path), "w");
    fprintf(file, "local value = require(\"mycorrizal.json\").decode(arg[1])\n"
                  "return type(value) == \"table\" and value.event == \"ready\" and 0 or 1\n");
    fclose(file);
    return run(&proc, RUN("lua", path, line)) == 0;
}

/* The text of a field: there is nothing to unescape in what is looked for. */
static const char *field(const char *line, const char *name, char value[200])
{
    char key[40];
    snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = strstr(line, key);
    snprintf(value, 200, "%.*s", at ? (int)strcspn(at + strlen(key), "\"") : 0,
        at ? at + strlen(key) : "");
    return value;
}

static void start(struct proc *proc, const char *name, const char *data, const char *join,
    const char *expect, char line[1024])
{
    proc_start(proc, name,
        RUN("run", "--name", name, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data",
            data, "--expect", expect, *join ? "--join" : "--log", *join ? join : "info"));
    if (!line) return;
    const char *ready = proc_line(proc, KIT_WAIT_MS);
    if (!ready) bail_out("%s is not ready: %s", name, proc_log(proc));
    snprintf(line, 1024, "%s", ready);
}

static void test_ready(void)
{
    struct proc proc;
    char data[160], line[1024], listen[200], value[200];
    start(&proc, "solo", kit_path("solo", data), "", "1", line);
    ok(is_json(line), "JSON: %s", line);
    is_str(field(line, "name", value), "solo", "name");
    is_str(field(line, "cluster", value), "default", "cluster");
    ok(strncmp(field(line, "listen", listen), "127.0.0.1:", 10) == 0 && atoi(listen + 10) > 0,
        "listen, as bound");
    ok(strncmp(field(line, "admin", value), "127.0.0.1:", 10) == 0 && atoi(value + 10) > 0,
        "admin, as bound");
    ok(access(field(line, "socket", value), F_OK) == 0, "the socket is there");
    fails(RUN("run", "--name", "second", "--data", "/tmp/never", "--listen", listen), 1,
        "EADDRINUSE", listen);
    fails(RUN("run", "--name", "second", "--data", data), 1, "EBUSY", data);
    kill(proc.pid, SIGTERM);
    is_int(proc_end(&proc), 0, "SIGTERM: it leaves");
    ok(access(value, F_OK) != 0, "and takes its socket along");
    fails(RUN("run", "--name", "solo", "--cluster", "other", "--data", data), 1, "EWRONGCLUSTER",
        data);
    start(&proc, "solo", data, "", "1", line);
    kill(proc.pid, SIGINT);
    is_int(proc_end(&proc), 0, "so it does on SIGINT");
    start(&proc, "early", kit_path("early", data), "", "3", NULL);
    while (!proc_says(&proc, "early", "policy")) usleep(2000);
    kill(proc.pid, SIGTERM);
    is_int(proc_end(&proc), 0, "and before it was ready");
    ok(!proc_line(&proc, 0), "nothing was said to be ready");
}

/* ── leaving ── */

static bool leads_nothing(void *data)
{
    struct proc *writer = ((struct proc **)data)[0];
    const char *name = ((struct proc **)data)[1]->name;
    proc_tell(writer, "leaders");
    if (strstr(proc_await(writer, "leaders"), name)) return false;
    proc_tell(writer, "primaries %s", name);
    return atoi(proc_await(writer, "primaries ")) == 0;
}

static void test_leaving(void)
{
    struct proc writer, others[2];
    char data[160], seeds[200] = "", lines[2][1024], value[200];
    static const char *const names[] = {"bert", "carl"};
    node_begin(&writer, "anna", kit_path("leave-anna", data), "", 3, "");
    if (sscanf(proc_await(&writer, "open "), "%199s", seeds) != 1) bail_out("no address");
    for (int i = 0; i < 2; i++) {
        snprintf(value, sizeof value, "leave-%s", names[i]);
        start(&others[i], names[i], kit_path(value, data), seeds, "3", NULL);
    }
    for (int i = 0; i < 2; i++)
        snprintf(lines[i], sizeof lines[i], "%s", proc_await(&others[i], "{"));
    node_ready(&writer);
    proc_tell(&writer, "septum s kind=durable replicas=1 hyphae=32");
    proc_await(&writer, "ok");
    for (int i = 0, from = 0; i < 2; i++, from += 2000) {
        struct proc *both[] = {&writer, &others[i]};
        char at[16];
        proc_tell(&writer, "fill s %d %d", from, from + 2000);
        snprintf(at, sizeof at, "at %d", from + 100);
        proc_await(&writer, at);
        uint64_t before = kit_now_ms();
        kill(others[i].pid, SIGTERM);
        is_int(proc_end(&others[i]), 0, "%s leaves, with status 0", names[i]);
        uint64_t took = kit_now_ms() - before;
        int longest = atoi(proc_await(&writer, "filled "));
        const char *error = proc_says(&writer, "put ", ": ");
        ok(error == NULL, "no write failed meanwhile%s%s", error ? ": " : "", error ? error : "");
        ok(kit_poll(leads_nothing, both, 1000), "what it led and held is others' now");
        note("left in %d ms, the longest write took %d ms", (int)took, longest);
        ok(took < 5000 && longest < 2000, "quickly");
    }
    proc_tell(&writer, "check s 0 4000");
    is_int(atoi(proc_await(&writer, "right ")), 4000, "the last one has all of it, alone");
    start(&others[0], "bert", kit_path("leave-bert", data), seeds, "0", lines[0]);
    ok(true, "who left comes back");
    proc_tell(&writer, "close");
    is_int(proc_end(&writer), 0, "and the first one leaves it alone");
    kill(others[0].pid, SIGTERM);
    is_int(proc_end(&others[0]), 0, "the last one turns out the light");
}

/* Two of three hang: the third can't hand anything over, and waits. */
static void test_second_signal(void)
{
    static struct trio trio;
    char data[160], line[1024];
    struct proc proc;
    trio_start(&trio, "hang", "");
    start(&proc, "dora", kit_path("hang-dora", data), trio.seeds, "0", line);
    proc_tell(&trio.of[0], "septum s kind=durable replicas=1 hyphae=64");
    proc_await(&trio.of[0], "ok");
    proc_tell(&trio.of[0], "fill s 0 50");
    proc_await(&trio.of[0], "filled ");
    for (int i = 1; i < KIT_NODES; i++) kill(trio.of[i].pid, SIGSTOP);
    proc_tell(&trio.of[0], "flush 300");
    const char *flushed = proc_await(&trio.of[0], "flushed ");
    ok(strncmp(flushed, "ETIMEDOUT ", 10) == 0 && atoi(flushed + 10) < 2000,
        "a flush waits for who hangs no longer than it may: %s", flushed);
    kill(trio.of[0].pid, SIGSTOP);
    int status = 0, signals = 0;
    uint64_t before = kit_now_ms();
    while (!waitpid(proc.pid, &status, WNOHANG) && kit_now_ms() - before < KIT_WAIT_MS) {
        kill(proc.pid, SIGTERM);
        signals++;
        usleep(20000);
    }
    proc_remember(proc.pid, 0);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 130 && signals >= 2,
        "a second signal ends it at once, with status 130: %d signals, %d ms", signals,
        (int)(kit_now_ms() - before));
    for (int i = 0; i < KIT_NODES; i++) proc_kill(&trio.of[i]);
}

int main(int argc, char **argv)
{
    if (argc > 6 && strcmp(argv[1], "--node") == 0) return node_main(argv);
    test_words();
    test_config();
    test_ready();
    test_leaving();
    test_second_signal();
    return plan_done();
}
