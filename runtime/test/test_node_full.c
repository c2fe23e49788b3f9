/* Catches: a node that dies of a full disk, hangs on it, acknowledges what it can't keep, stops
 * reading, or stays refusing when there is space again. Needs to be allowed to mount a tmpfs. */
#include <sys/mount.h>

#include "node_kit.h"

#define SPACE   "size=12m"
#define BALLAST (5 << 20)

static char place[160], data[200], ballast[200];

static void unmount(void)
{
    proc_kill_all();
    umount2(place, MNT_DETACH);
}

static bool mounted(void)
{
    mkdir(kit_path("small", place), 0700);
    if (mount("tmpfs", place, "tmpfs", 0, SPACE)) return false;
    atexit(unmount);
    snprintf(data, sizeof data, "%s/data", place);
    snprintf(ballast, sizeof ballast, "%s/ballast", place);
    int fd = open(ballast, O_CREAT | O_WRONLY, 0600);
    if (posix_fallocate(fd, 0, BALLAST)) bail_out("no ballast");
    close(fd);
    return true;
}

static int stuff(struct proc *node, int from, char code[64], char message[300])
{
    int until = from;
    proc_tell(node, "stuff s %d %d", from, from + 1000);
    sscanf(proc_await(node, "stuffed "), "%d %63s %299[^\n]", &until, code, message);
    return until;
}

struct attempt {
    struct proc *node;
    int from, until;
};

static bool taken(void *data_)
{
    struct attempt *attempt = data_;
    proc_tell(attempt->node, "stuff s %d %d", attempt->from, attempt->from + 5);
    attempt->until = atoi(proc_await(attempt->node, "stuffed "));
    return attempt->until > attempt->from;
}

int main(int argc, char **argv)
{
    struct proc node;
    char code[64], message[300];
    if (argc > 6 && strcmp(argv[1], "--node") == 0) return node_main(argv);
    if (!mounted()) {
        skip("a tmpfs can't be mounted: %s", strerror(errno));
        return plan_done();
    }
    node_begin(&node, "full", data, "", 1, "");
    node_ready(&node);
    proc_tell(&node, "septum s kind=durable hyphae=8");
    proc_await(&node, "ok");
    proc_tell(&node, "fill s 0 100");
    proc_await(&node, "filled ");
    int until = stuff(&node, 0, code, message);
    ok((strcmp(code, "ENOSPC") == 0 || strcmp(code, "EUNKNOWN") == 0) &&
            strstr(message, "no space left"),
        "the disk is full after %d values: %s (%s)", until, message, code);
    uint64_t before = kit_now_ms();
    stuff(&node, 500, code, message);
    is_str(code, "ENOSPC", "the next write is refused: %s", message);
    ok(kit_now_ms() - before < 4000, "at once");
    const char *line = proc_says(&node, "error ", "no space");
    ok(line != NULL, "the log says it");
    note("%s", line ? line : proc_log(&node));
    proc_tell(&node, "check s 0 100");
    is_int(atoi(proc_await(&node, "right ")), 100, "reads go on");
    unlink(ballast);
    struct attempt attempt = {&node, 600, 600};
    ok(kit_poll(taken, &attempt, KIT_WAIT_MS), "there is space again: writes go on");
    proc_kill(&node);
    node_begin(&node, "full", data, "", 1, "");
    node_ready(&node);
    proc_tell(&node, "check s 0 100");
    is_int(atoi(proc_await(&node, "right ")), 100, "after a crash, what was acknowledged is there");
    proc_tell(&node, "sum s");
    int count = atoi(proc_await(&node, "sum "));
    ok(count >= 100 + until + attempt.until - 600, "all of it: %d of %d at least", count,
        100 + until + attempt.until - 600);
    proc_tell(&node, "close");
    is_int(proc_end(&node), 0, "and it closes");
    return plan_done();
}
