/* Catches: an acknowledged write that a crash of one node, or of all, takes away; a torn end of a
 * file that keeps a node from starting; damage in the midst of one that does not; a septum that
 * does not come back from the object store alone. Nodes are processes, ended by SIGKILL. */
#include <dirent.h>

#include "node_kit.h"

static int ask(struct proc *proc, const char *answer, const char *question)
{
    proc_tell(proc, "%s", question);
    return atoi(proc_await(proc, answer));
}

/* ── damage ── */

/* The largest file in DATA/FOLDER whose name has `part` in it. */
static off_t find_file(const char *data, const char *folder, const char *part, char path[400])
{
    char place[300];
    off_t largest = -1;
    snprintf(place, sizeof place, "%s/%s", data, folder);
    DIR *list = opendir(place);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        struct stat info;
        char name[400];
        snprintf(name, sizeof name, "%s/%.80s", place, entry->d_name);
        if (!strstr(entry->d_name, part) || stat(name, &info) || info.st_size <= largest) continue;
        largest = info.st_size;
        snprintf(path, 400, "%s", name);
    }
    if (list) closedir(list);
    if (largest < 0) bail_out("no file like %s in %s", part, place);
    return largest;
}

/* What is written ends where the zeros begin. */
static off_t written(const char *path, off_t size)
{
    int fd = open(path, O_RDONLY);
    for (char byte = 0; size > 0 && byte == 0; size -= byte == 0)
        if (pread(fd, &byte, 1, size - 1) != 1) break;
    close(fd);
    return size;
}

static void flip(const char *path, off_t at)
{
    char byte;
    int fd = open(path, O_RDWR);
    if (pread(fd, &byte, 1, at) != 1) bail_out("can't read %s", path);
    byte ^= 0x20;
    if (pwrite(fd, &byte, 1, at) != 1) bail_out("can't write %s", path);
    close(fd);
}

/* ── crashes ── */

static bool holds_some(void *data)
{
    return ask(data, "hyphae ", "hyphae") > 0;
}

static bool none_thin(void *data)
{
    int thin = 1;
    proc_tell(data, "hyphae");
    sscanf(proc_await(data, "hyphae "), "%*d %*d %d", &thin);
    return thin == 0;
}

static void test_one_killed(struct trio *trio)
{
    struct proc *writer = &trio->of[0], *victim = &trio->of[2];
    char id[24];
    strcpy(id, victim->id);
    proc_tell(writer, "septum s kind=durable replicas=1 hyphae=16");
    proc_await(writer, "ok");
    proc_tell(writer, "fill s 0 500");
    proc_await(writer, "at 200");
    proc_kill(victim);
    int longest = atoi(proc_await(writer, "filled "));
    ok(longest < 5000, "one of three is killed: writes go on, the longest took %d ms", longest);
    trio_begin(trio, 2);
    node_ready(victim);
    is_str(victim->id, id, "it comes back on its folder as who it was");
    is_int(ask(victim, "right ", "check s 0 500"), 500, "from it, all that was acknowledged");
    ok(kit_poll(holds_some, victim, KIT_WAIT_MS), "and it holds hyphae again");
    ok(kit_poll(none_thin, writer, KIT_WAIT_MS), "every hypha is on two nodes");
}

static void test_all_killed(struct trio *trio)
{
    proc_tell(&trio->of[0], "fill s 500 2000");
    proc_await(&trio->of[0], "at 700");
    for (int i = 0; i < KIT_NODES; i++) proc_kill(&trio->of[i]);
    trio_start(trio, "crash", "");
    is_int(ask(&trio->of[1], "right ", "check s 0 700"), 700,
        "all are killed: after a restart from disk, all that was acknowledged");
    int longest = ask(&trio->of[2], "filled ", "fill s 700 720");
    ok(longest < 5000, "and writes go on");
}

static void refuses(struct trio *trio, int i, const char *file, off_t at)
{
    struct proc *proc = &trio->of[i];
    const char *name = strrchr(file, '/') + 1;
    node_begin(proc, kit_names[i], trio->data[i], trio->seeds, KIT_NODES, "");
    is_int(proc_end(proc), 1, "damage in the midst of %s: it does not start", name);
    const char *complaint = proc_says(proc, "(ECORRUPT)", name), *digits = complaint;
    ok(complaint != NULL, "but says ECORRUPT, and names the file");
    bool near = false; /* what the byte is in begins there, or a little before */
    while (digits && (digits = strpbrk(digits, "0123456789"))) {
        char *end;
        long long number = strtoll(digits, &end, 10);
        near |= number > 0 && number <= at && number > at - 600;
        digits = end;
    }
    ok(near, "and where: the byte was %lld", (long long)at);
    note("%s", complaint ? complaint : proc_log(proc));
}

static void test_damage(struct trio *trio)
{
    static const char *const places[][2] = {{"journal", ".log"}, {"consensus", "log-"}};
    char id[24];
    strcpy(id, trio->of[1].id);
    ok(kit_poll(none_thin, &trio->of[0], KIT_WAIT_MS), "every hypha is on two nodes again");
    proc_kill(&trio->of[1]);
    for (int i = 0; i < 2; i++) {
        char path[400];
        off_t size = find_file(trio->data[1], places[i][0], places[i][1], path);
        off_t at = written(path, size) / 2;
        flip(path, at);
        refuses(trio, 1, path, at);
        int longest = ask(&trio->of[0], "filled ", i ? "fill s 720 740" : "fill s 740 760");
        ok(longest < 5000, "the others serve on");
        flip(path, at);
    }
    nftw(trio->data[1], kit_remove, 16, FTW_DEPTH | FTW_PHYS);
    trio_begin(trio, 1);
    node_ready(&trio->of[1]);
    ok(strcmp(trio->of[1].id, id) != 0, "with an emptied folder it joins as a new node");
    is_int(ask(&trio->of[1], "right ", "check s 0 760"), 760, "and reads all there is");
    ok(kit_poll(holds_some, &trio->of[1], KIT_WAIT_MS), "and holds hyphae");
}

static void test_torn(void)
{
    static const char *const places[][2] = {{"journal", ".log"}, {"consensus", "log-"}};
    struct proc node;
    char data[160], path[400];
    kit_path("torn", data);
    node_begin(&node, "torn", data, "", 1, "");
    node_ready(&node);
    proc_tell(&node, "septum s kind=durable hyphae=4");
    proc_await(&node, "ok");
    ask(&node, "filled ", "fill s 0 100");
    for (int i = 0; i < 2; i++) {
        proc_kill(&node);
        off_t end = written(path, find_file(data, places[i][0], places[i][1], path));
        if (truncate(path, end - 5)) bail_out("truncate");
        node_begin(&node, "torn", data, "", 1, "");
        node_ready(&node);
        int right = ask(&node, "right ", "check s 0 100");
        ok(right >= 99, "a torn end of %s: it starts, with %d of 100", places[i][0], right);
        const char *warning = proc_says(&node, "warn ", strrchr(path, '/') + 1);
        ok(warning != NULL, "and a warning that names the file");
        note("%s", warning ? warning : proc_log(&node));
        ask(&node, "filled ", "fill s 99 100");
    }
    proc_tell(&node, "close");
    is_int(proc_end(&node), 0, "and closes");
}

/* ── from the store alone ── */

static bool all_saved(void *data)
{
    struct trio *trio = data;
    for (int i = 0; i < KIT_NODES; i++) {
        int unsaved = 1;
        proc_tell(&trio->of[i], "hyphae");
        sscanf(proc_await(&trio->of[i], "hyphae "), "%*d %d", &unsaved);
        if (unsaved) return false;
    }
    return true;
}

static void test_store(void)
{
    static struct trio trio, later;
    char store[200], path[160], before[80];
    snprintf(store, sizeof store, "file:%s", kit_path("store", path));
    trio_start(&trio, "first", store);
    proc_tell(&trio.of[0], "persist 200");
    proc_await(&trio.of[0], "ok");
    proc_tell(&trio.of[0], "septum s kind=durable replicas=1 hyphae=16");
    proc_await(&trio.of[0], "ok");
    ask(&trio.of[1], "filled ", "fill s 0 400");
    proc_tell(&trio.of[0], "sum s");
    snprintf(before, sizeof before, "%s", proc_await(&trio.of[0], "sum "));
    ok(kit_poll(all_saved, &trio, KIT_WAIT_MS), "the store has it all");
    for (int i = 0; i < KIT_NODES; i++) {
        proc_kill(&trio.of[i]);
        nftw(trio.data[i], kit_remove, 16, FTW_DEPTH | FTW_PHYS);
    }
    trio_start(&later, "second", store);
    is_int(ask(&later.of[2], "right ", "check s 0 400"), 400,
        "every folder is gone: all comes back from the store");
    proc_tell(&later.of[1], "sum s");
    is_str(proc_await(&later.of[1], "sum "), before, "count and checksum");
    trio_close(&later);
}

int main(int argc, char **argv)
{
    static struct trio trio;
    if (argc > 6 && strcmp(argv[1], "--node") == 0) return node_main(argv);
    trio_start(&trio, "crash", "");
    test_one_killed(&trio);
    test_all_killed(&trio);
    test_damage(&trio);
    trio_close(&trio);
    test_torn();
    test_store();
    return plan_done();
}
