/* Nodes as processes of their own, for tests that kill them: `mycorrizal run`, or this program
 * again, as a node that does what it reads from its standard input and says what came of it. Lines
 * are awaited, with a deadline, never slept for.
 *
 *     septum NAME SPEC             → ok
 *     fill NAME FROM TO            → at N (now and then), filled MS (the longest wait for a write)
 *     stuff NAME FROM TO           → stuffed N CODE MESSAGE
 *     check NAME FROM TO           → right N
 *     sum NAME                     → sum COUNT CHECKSUM
 *     hyphae                       → hyphae HELD UNSAVED THIN
 *     primaries NODE, metric NAME, leaders, flush MS, persist EVERY_MS, close */
#ifndef MYCO_TEST_NODE_KIT_H
#define MYCO_TEST_NODE_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "api_kit.h"

/* ── a process ── */

struct proc {
    pid_t pid;
    int in, out;
    char name[32], log[200]; /* path of its standard error */
    char buffer[4096], line[1024];
    size_t size;
    char listen[64], id[24]; /* of its ready line */
};

#define PROC_LIVE_MAX 16
static pid_t proc_live[PROC_LIVE_MAX];

static void proc_kill_all(void)
{
    for (int i = 0; i < PROC_LIVE_MAX; i++)
        if (proc_live[i] > 0) kill(proc_live[i], SIGKILL);
}

static inline void proc_remember(pid_t was, pid_t is)
{
    for (int i = 0; i < PROC_LIVE_MAX; i++) {
        if (proc_live[i] != was) continue;
        proc_live[i] = is;
        return;
    }
    bail_out("too many processes");
}

static inline void proc_start(struct proc *proc, const char *name, const char *const argv[])
{
    static bool watched;
    int in[2], out[2];
    if (!watched) atexit(proc_kill_all);
    watched = true;
    memset(proc, 0, sizeof *proc);
    snprintf(proc->name, sizeof proc->name, "%s", name);
    snprintf(proc->log, sizeof proc->log, "%s/%s.log", kit_folder(), name);
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) bail_out("no pipe");
    int log = open(proc->log, O_CREAT | O_TRUNC | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
    fflush(stdout);
    pid_t parent = getpid();
    proc->pid = fork();
    if (proc->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(127);
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execv(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    proc_remember(0, proc->pid);
    close(in[0]);
    close(out[1]);
    close(log);
    proc->in = in[1];
    proc->out = out[0];
}

/* What it wrote to its standard error since it was started. Lent until the next call. */
static inline const char *proc_log(const struct proc *proc)
{
    static char text[1 << 18];
    int fd = open(proc->log, O_RDONLY | O_CLOEXEC);
    off_t end = lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
    ssize_t size = pread(fd, text, sizeof text - 1, from);
    text[size > 0 ? size : 0] = 0;
    close(fd);
    return text;
}

/* The first line of it with both in it, or NULL. Lent until the next call. */
static inline const char *proc_says(const struct proc *proc, const char *one, const char *two)
{
    static char line[1024];
    for (const char *at = proc_log(proc); *at; at += strcspn(at, "\n"), at += *at == '\n') {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        if (strstr(line, one) && strstr(line, two)) return line;
    }
    return NULL;
}

/* The next line, or NULL: it ended, or nothing came in time. */
static inline const char *proc_line(struct proc *proc, unsigned within_ms)
{
    for (uint64_t until = kit_now_ms() + within_ms;;) {
        char *end = memchr(proc->buffer, '\n', proc->size);
        if (end) {
            size_t size = (size_t)(end - proc->buffer);
            size_t kept = size < sizeof proc->line ? size : sizeof proc->line - 1;
            memcpy(proc->line, proc->buffer, kept);
            proc->line[kept] = 0;
            proc->size -= size + 1;
            memmove(proc->buffer, end + 1, proc->size);
            return proc->line;
        }
        uint64_t now = kit_now_ms();
        struct pollfd wait = {.fd = proc->out, .events = POLLIN};
        if (now >= until || poll(&wait, 1, (int)(until - now)) <= 0) return NULL;
        ssize_t got = read(proc->out, proc->buffer + proc->size, sizeof proc->buffer - proc->size);
        if (got <= 0) return NULL;
        proc->size += (size_t)got;
    }
}

/* Lines until one begins with `word`; what follows the word. */
static inline const char *proc_await(struct proc *proc, const char *word)
{
    const char *line;
    while ((line = proc_line(proc, KIT_WAIT_MS)))
        if (strncmp(line, word, strlen(word)) == 0) return line + strlen(word);
    fprintf(stderr, "%s", proc_log(proc));
    bail_out("%s never said \"%s\"", proc->name, word);
}

__attribute__((format(printf, 2, 3))) static inline void proc_tell(
    struct proc *proc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vdprintf(proc->in, format, args);
    va_end(args);
    if (write(proc->in, "\n", 1) != 1) note("%s does not listen", proc->name);
}

/* Its exit status, or minus the signal that ended it. */
static inline int proc_end(struct proc *proc)
{
    int status = 0;
    for (uint64_t until = kit_now_ms() + KIT_WAIT_MS; !waitpid(proc->pid, &status, WNOHANG);) {
        if (kit_now_ms() > until) bail_out("%s does not end", proc->name);
        usleep(2000);
    }
    proc_remember(proc->pid, 0);
    close(proc->in);
    close(proc->out);
    proc->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void proc_kill(struct proc *proc)
{
    kill(proc->pid, SIGKILL);
    proc_end(proc);
}

/* ── this program as a node ── */

/* argv: --node NAME DATA JOIN EXPECT STORE ("" for none) */
static inline void node_begin(struct proc *proc, const char *name, const char *data,
    const char *join, unsigned expect, const char *store)
{
    char number[16];
    snprintf(number, sizeof number, "%u", expect);
    const char *const argv[] = {"/proc/self/exe", "--node", name, data, join, number, store, NULL};
    proc_start(proc, name, argv);
}

static inline void node_ready(struct proc *proc)
{
    if (sscanf(proc_await(proc, "ready "), "%63s %23s", proc->listen, proc->id) != 2)
        bail_out("%s: no addresses", proc->name);
}

static inline struct myco_septum *node_septum(struct myco *node, const char *name)
{
    struct myco_septum *septum;
    struct myco_err err;
    if (myco_septum(node, name, NULL, &septum, &err) == 0) return septum;
    printf("error %s\n", err.message);
    return NULL;
}

static inline size_t node_value(int i, char value[300])
{
    memset(value, 'a' + i % 26, 300);
    int size = snprintf(value, 300, "value-%d", i);
    value[size] = '-';
    return (size_t)(20 + i * 37 % 280);
}

/* Each write again until it is acknowledged, at most 20 seconds. */
static inline void node_fill(struct myco_septum *septum, int from, int to)
{
    uint64_t longest = 0;
    for (int i = from; i < to; i++) {
        char key[24], value[300];
        struct myco_err err;
        snprintf(key, sizeof key, "key-%d", i);
        size_t size = node_value(i, value);
        struct myco_put_options options = {.timeout_ms = 2000};
        uint64_t began = kit_now_ms();
        while (myco_put(septum, myco_str(key), myco_bytes(value, size), &options, NULL, &err)) {
            fprintf(stderr, "put %d: %s (%s)\n", i, err.message, myco_errname(err.code));
            if (kit_now_ms() - began < 20000) continue;
            printf("error %s\n", err.message);
            return;
        }
        uint64_t took = kit_now_ms() - began;
        if (took > longest) longest = took;
        if ((i + 1) % 20 == 0) printf("at %d\n", i + 1);
    }
    printf("filled %d\n", (int)longest);
}

static inline void node_check(struct myco_septum *septum, int from, int to)
{
    unsigned right = 0;
    for (int i = from; i < to; i++) {
        char key[24], want[300];
        struct myco_value value;
        struct myco_err err;
        snprintf(key, sizeof key, "key-%d", i);
        size_t size = node_value(i, want);
        if (myco_get(septum, myco_str(key), &value, &err)) {
            fprintf(stderr, "get %d: %s (%s)\n", i, err.message, myco_errname(err.code));
            continue;
        }
        right += value.size == size && memcmp(value.data, want, size) == 0;
        myco_value_release(&value);
    }
    printf("right %u\n", right);
}

/* Large values, until one is refused: how many were taken, and why no more. */
static inline void node_stuff(struct myco_septum *septum, int from, int to)
{
    static char value[64 * 1024];
    struct myco_err err = {.message = "-"};
    int i = from;
    memset(value, 's', sizeof value);
    for (; i < to; i++) {
        char key[24];
        snprintf(key, sizeof key, "stuff-%d", i);
        struct myco_put_options options = {.timeout_ms = 1500};
        if (myco_put(septum, myco_str(key), myco_bytes(value, sizeof value), &options, NULL, &err))
            break;
    }
    printf("stuffed %d %s %s\n", i, myco_errname(err.code), err.message);
}

struct node_sum {
    unsigned pages;
    int status;
    uint64_t count, sum;
    char cursor[256];
    size_t cursor_size;
};

static inline uint64_t node_hash(uint64_t hash, struct myco_slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        hash = (hash ^ ((const uint8_t *)bytes.data)[i]) * 0x100000001b3;
    return hash * 31 + bytes.size;
}

static inline void node_page(const struct myco_page *page, void *data)
{
    struct node_sum *sum = data;
    kit_lock();
    sum->status = page->status;
    for (size_t i = 0; i < page->count; i++)
        sum->sum +=
            node_hash(node_hash(0xcbf29ce484222325, page->items[i].key), page->items[i].value);
    sum->count += page->count;
    sum->cursor_size = page->cursor.size;
    if (page->cursor.size < sizeof sum->cursor && page->cursor.size)
        memcpy(sum->cursor, page->cursor.data, page->cursor.size);
    sum->pages++;
    kit_unlock();
}

static inline bool node_page_came(void *data)
{
    struct node_sum *sum = data;
    return sum->pages & 1;
}

/* Of all keys and values, in whatever order they come. */
static inline void node_sum(struct myco_septum *septum)
{
    struct node_sum sum = {0};
    do {
        sum.pages = 0;
        if (myco_scan_async(septum, myco_str(""), myco_bytes(sum.cursor, sum.cursor_size), 0, false,
                0, node_page, &sum) ||
            !kit_wait(node_page_came, &sum, KIT_WAIT_MS) || sum.status) {
            printf("error scan: %s\n", myco_errname(sum.status));
            return;
        }
    } while (sum.cursor_size);
    printf("sum %" PRIu64 " %016" PRIx64 "\n", sum.count, sum.sum);
}

/* holds: hyphae that it is a member of; unsaved: those it is primary of and the store has not all;
 * thin: those that one node alone has. */
static inline void node_hyphae(struct myco *node)
{
    unsigned holds = 0, unsaved = 0, thin = 0;
    struct kit_document document;
    const msgpack_object *hyphae = kit_inspect(node, "hyphae", &document);
    for (uint32_t i = 0; i < hyphae->via.array.size; i++) {
        const msgpack_object *hypha = &hyphae->via.array.ptr[i];
        const msgpack_object *members = kit_field(hypha, "in_sync");
        for (uint32_t m = 0; m < members->via.array.size; m++) {
            const msgpack_object_str *name = &members->via.array.ptr[m].via.str;
            holds += name->size == strlen(myco_name(node)) &&
                     memcmp(name->ptr, myco_name(node), name->size) == 0;
        }
        thin += members->via.array.size < 2;
        if (kit_field_is(hypha, "primary", myco_name(node)))
            unsaved += kit_number(hypha, "persisted") == UINT64_MAX ||
                       kit_number(hypha, "persisted") < kit_number(hypha, "offset");
    }
    kit_document_free(&document);
    printf("hyphae %u %u %u\n", holds, unsaved, thin);
}

static inline void node_primaries(struct myco *node, const char *name)
{
    unsigned count = 0;
    struct kit_document document;
    const msgpack_object *hyphae = kit_inspect(node, "hyphae", &document);
    for (uint32_t i = 0; i < hyphae->via.array.size; i++)
        count += kit_field_is(&hyphae->via.array.ptr[i], "primary", name);
    kit_document_free(&document);
    printf("primaries %u\n", count);
}

static inline void node_metric(struct myco *node, const char *name)
{
    struct kit_document document;
    uint64_t value = 0;
    const msgpack_object *metrics = kit_inspect(node, "metrics", &document);
    for (uint32_t i = 0; i < metrics->via.array.size; i++)
        if (kit_field_is(&metrics->via.array.ptr[i], "name", name))
            value = kit_number(&metrics->via.array.ptr[i], "value");
    kit_document_free(&document);
    printf("metric %" PRIu64 "\n", value);
}

static inline void node_leaders(struct myco *node)
{
    struct kit_document document;
    const msgpack_object *leaders = kit_inspect(node, "leaders", &document);
    printf("leaders");
    for (uint32_t i = 0; i < leaders->via.array.size; i++) {
        const msgpack_object *leader = kit_field(&leaders->via.array.ptr[i], "leader");
        if (leader->type == MSGPACK_OBJECT_STR)
            printf(" %.*s", (int)leader->via.str.size, leader->via.str.ptr);
    }
    printf("\n");
    kit_document_free(&document);
}

static inline void node_persist(struct myco *node, const char *every_ms)
{
    char source[400];
    struct kit_result got = {0};
    snprintf(source, sizeof source,
        "return { kind = 'persistence', doc = 'test', plan = function() return { every_ms = %s, "
        "snapshot_segments = 4, retain_ms = 60000 } end, examples = { { given = { septum = 's', "
        "kind = 'durable', level = 'disk', hyphae = 8 }, expect = function(plan) return true end } "
        "} }",
        every_ms);
    int rc = myco_policy_apply_async(
        node, "persistence", "often", myco_str(source), "test", 0, kit_done, &got);
    if (rc == 0) rc = kit_result_wait(&got);
    printf(rc ? "error %s\n" : "ok\n", got.message);
}

static inline void node_silence(const struct myco_msg *msg, void *data)
{
    (void)msg, (void)data;
}

static inline void node_flush(struct myco *node, unsigned timeout_ms)
{
    struct kit_result got = {0};
    struct myco_sub *sub;
    uint64_t before = kit_now_ms();
    if (myco_subscribe(node, "news", NULL, node_silence, NULL, &sub, NULL) ||
        myco_flush_async(node, timeout_ms, kit_done, &got))
        return;
    kit_result_wait(&got);
    myco_unsubscribe(sub, NULL, NULL);
    printf(
        "flushed %s %d %s\n", myco_errname(got.status), (int)(kit_now_ms() - before), got.message);
}

static inline bool node_obey(struct myco *node, char *line)
{
    char word[16] = "", name[64] = "", rest[128] = "";
    struct myco_septum *septum;
    struct myco_err err;
    int from = 0, to = 0;
    line[strcspn(line, "\n")] = 0;
    sscanf(line, "%15s %63s %127[^\n]", word, name, rest);
    sscanf(rest, "%d %d", &from, &to);
    if (strcmp(word, "close") == 0) return false;
    if (strcmp(word, "septum") == 0)
        printf(myco_septum(node, name, rest, &septum, &err) ? "error %s\n" : "ok\n", err.message);
    else if (strcmp(word, "hyphae") == 0)
        node_hyphae(node);
    else if (strcmp(word, "primaries") == 0)
        node_primaries(node, name);
    else if (strcmp(word, "metric") == 0)
        node_metric(node, name);
    else if (strcmp(word, "leaders") == 0)
        node_leaders(node);
    else if (strcmp(word, "flush") == 0)
        node_flush(node, (unsigned)atoi(name));
    else if (strcmp(word, "persist") == 0)
        node_persist(node, name);
    else if (!(septum = node_septum(node, name)))
        return true;
    else if (strcmp(word, "fill") == 0)
        node_fill(septum, from, to);
    else if (strcmp(word, "stuff") == 0)
        node_stuff(septum, from, to);
    else if (strcmp(word, "check") == 0)
        node_check(septum, from, to);
    else
        node_sum(septum);
    return true;
}

static inline void node_log(
    int level, const char *subsystem, const char *message, const char *fields, void *data)
{
    static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
    (void)data;
    fprintf(stderr, "%s %s: %s %s\n", levels[level], subsystem, message, fields);
}

/* 0: it was closed; 1: it could not open, or takes no part any more, and said why. */
static inline int node_main(char **argv)
{
    struct myco_options options = MYCO_OPTIONS_INIT;
    struct myco *node;
    struct myco_err err;
    char line[256];
    options.name = argv[2];
    options.data = argv[3];
    options.join = argv[4];
    options.expect = (unsigned)atoi(argv[5]);
    options.store = *argv[6] ? argv[6] : NULL;
    options.lua_path = MYCO_LUA_DIR;
    options.admin = "127.0.0.1:0";
    options.log = node_log;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (myco_open(&node, &options, &err)) return myco_complain(&err);
    printf("open %s %s %s\n", myco_listen(node), myco_admin(node), myco_socket(node));
    if (myco_wait_ready(node, 0, &err)) return myco_complain(&err);
    printf("ready %s %016" PRIx64 "\n", myco_listen(node), myco_id(node));
    while (fgets(line, sizeof line, stdin) && node_obey(node, line)) {
    }
    myco_close(node);
    return 0;
}

/* ── clusters of them ── */

struct trio {
    struct proc of[KIT_NODES];
    char data[KIT_NODES][160], store[200];
    char seeds[300];
};

static inline void trio_begin(struct trio *trio, int i)
{
    node_begin(&trio->of[i], kit_names[i], trio->data[i], trio->seeds, KIT_NODES, trio->store);
    char listen[64];
    if (sscanf(proc_await(&trio->of[i], "open "), "%63s", listen) != 1) bail_out("no address");
    size_t size = strlen(trio->seeds);
    snprintf(trio->seeds + size, sizeof trio->seeds - size, "%s%s", size ? "," : "", listen);
}

/* All three, anew or again; their folders are named after `what`. */
static inline void trio_start(struct trio *trio, const char *what, const char *store)
{
    trio->seeds[0] = 0;
    for (int i = 0; i < KIT_NODES; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s-%s", what, kit_names[i]);
        kit_path(name, trio->data[i]);
        if (store != trio->store) snprintf(trio->store, sizeof trio->store, "%s", store);
        trio_begin(trio, i);
    }
    for (int i = 0; i < KIT_NODES; i++) node_ready(&trio->of[i]);
}

static inline void trio_close(struct trio *trio)
{
    for (int i = 0; i < KIT_NODES; i++) {
        if (!trio->of[i].pid) continue;
        proc_tell(&trio->of[i], "close");
        proc_end(&trio->of[i]);
    }
}

#endif
