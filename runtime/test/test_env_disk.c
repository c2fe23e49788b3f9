/* Catches: writes that complete out of order or call back inside the call, a put that is neither
 * the old file nor the new one, an exclusive put that overwrites, a path that leaves the folder, a
 * failed sync that is forgotten, a callback that never comes. */
#include "env/uv_disk.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/fault.h"
#include "base/mem.h"
#include "tap.h"

static uv_loop_t loop;
static struct myco_disk *disk;
static char root[] = "/tmp/myco-test-disk-XXXXXX";
static int status_seen, calls;
static struct myco_buf got;
static char listing[512];

static void on_status(int status, void *data)
{
    (void)data;
    status_seen = status;
    calls++;
}

static void on_read(int status, struct myco_buf *bytes, void *data)
{
    on_status(status, data);
    myco_buf_move(&got, bytes);
}

static void on_list(int status, const struct myco_disk_entry *entries, size_t count, void *data)
{
    on_status(status, data);
    listing[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(listing);
        snprintf(
            listing + size, sizeof listing - size, "%s:%d ", entries[i].path, (int)entries[i].size);
        if (entries[i].modified_ms < 1600000000000) strcat(listing, "(no time)");
    }
}

static int await(void)
{
    if (calls != 0) ok(false, "called back inside the call");
    while (calls == 0) uv_run(&loop, UV_RUN_ONCE);
    calls = 0;
    return status_seen;
}

static int put(const char *path, const char *text, int flags)
{
    char *copy = strdup(text);
    disk->ops->put(disk, path, myco_str(copy), flags, on_status, NULL);
    memset(copy, '!', strlen(copy)); /* it was copied */
    free(copy);
    return await();
}

static const char *get(const char *path, uint64_t offset, uint64_t size_max)
{
    disk->ops->get(disk, path, offset, size_max, on_read, NULL);
    if (await() < 0) return myco_errname(status_seen);
    myco_buf_u8(&got, 0);
    return (const char *)got.data;
}

static const char *list(const char *prefix)
{
    disk->ops->list(disk, prefix, on_list, NULL);
    return await() < 0 ? myco_errname(status_seen) : listing;
}

static void test_whole_files(void)
{
    is_int(put("a/b/c", "one", 0), 0, "put makes folders");
    is_str(get("a/b/c", 0, 100), "one", "get");
    is_int(put("a/b/c", "two and more", 0), 0, "put again");
    is_str(get("a/b/c", 0, 100), "two and more", "replaces");
    is_str(get("a/b/c", 4, 3), "and", "a range");
    is_str(get("a/b/c", 99, 3), "", "a range beyond the end is empty");
    is_int(put("a/b/c", "three", MYCO_DISK_EXCLUSIVE), MYCO_EEXISTS, "exclusive: it is there");
    is_str(get("a/b/c", 0, 100), "two and more", "and stays");
    is_int(put("a/x", "", MYCO_DISK_EXCLUSIVE), 0, "exclusive: it is not there");
    is_str(get("a/x", 0, 100), "", "an empty file");
    is_str(get("a/none", 0, 100), "ENOTFOUND", "no file");
    is_str(get("none/none", 0, 100), "ENOTFOUND", "no folder");
    is_str(get("a/x/y", 0, 100), "ENOTFOUND", "a file where a folder should be");
    is_int(disk->ops->put_now(disk, "b", myco_str("now")), 0, "put, blocking");
    is_str(list(""), "a/b/c:12 a/x:0 b:3 ", "a listing is sorted, without what is temporary");
    is_str(list("a/"), "a/b/c:12 a/x:0 ", "of a folder");
    is_str(list("a/b/c"), "a/b/c:12 ", "of a file");
    is_str(list("a/x/"), "", "a file is not a folder");
    is_str(list("../"), "", "of nothing");
    is_int(disk->ops->list_now(disk, "b", on_list, NULL), 0, "listing, blocking");
    is_str(listing, "b:3 ", "gives the same");
    calls = 0;
    disk->ops->del(disk, "a/b/c", on_status, NULL);
    is_int(await(), 0, "del");
    disk->ops->del(disk, "a/b/c", on_status, NULL);
    is_int(await(), 0, "del of what is not there");
    is_int(disk->ops->remove(disk, "a/x"), 0, "remove");
    is_int(disk->ops->remove(disk, "a/x"), 0, "remove of what is not there");
    is_str(list(""), "b:3 ", "they are gone");
}

static void test_paths(void)
{
    static const char *const bad[] = {"", "/etc/passwd", "../x", "a/../../x", "a/..", ".", "./x",
        "a//b", "a/", "/", ".tmp/x", ".tmp"};
    char large[1200], name[300];
    memset(large, 'x', sizeof large);
    memset(name, 'x', sizeof name);
    large[1199] = name[299] = '\0';
    struct myco_file *file;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int result = put(bad[i], "x", 0);
        ok(result == MYCO_EINVAL && strcmp(get(bad[i], 0, 1), "EINVAL") == 0 &&
                disk->ops->remove(disk, bad[i]) == MYCO_EINVAL &&
                disk->ops->open(disk, bad[i], MYCO_DISK_CREATE, &file, NULL) == MYCO_EINVAL,
            "\"%s\" is refused", bad[i]);
    }
    is_int(put(large, "x", 0), MYCO_EINVAL, "a path of 1,199 bytes is refused");
    is_int(put(name, "x", 0), MYCO_EINVAL, "a name of 299 bytes is refused");
    is_int(put("..x/...", "x", 0), 0, "two dots in a name are a name");

    char link[100];
    snprintf(link, sizeof link, "%s/link", root);
    if (symlink("/etc", link) != 0) bail_out("no symlink");
    is_str(get("link/passwd", 0, 100), "ENOTFOUND", "a link out of the folder is not followed");
    unlink(link);
    disk->ops->remove(disk, "..x/...");
}

#define WRITES 200
static int order[WRITES], order_count;
static struct myco_file *journal;

static void on_ordered(int status, void *data)
{
    if (status == 0) order[order_count++] = *(int *)data;
}

static void on_close_file(int status, void *data)
{
    on_ordered(status, data);
    journal->disk->ops->close(journal); /* with writes still on their way */
}

static void test_writes(void)
{
    static int numbers[WRITES];
    static char bytes[WRITES][8];
    struct myco_err err;
    is_int(disk->ops->open(disk, "j/absent", 0, &journal, &err), MYCO_ENOTFOUND,
        "open what is absent");
    ok(strstr(err.message, "j/absent") != NULL, "%s", err.message);
    is_int(disk->ops->open(disk, "j/log", MYCO_DISK_CREATE, &journal, &err), 0, "create");
    for (int i = 0; i < WRITES; i++) {
        numbers[i] = i;
        snprintf(bytes[i], sizeof bytes[i], "%07d", i);
        disk->ops->write(
            journal, (uint64_t)i * 7, myco_bytes(bytes[i], 7), i % 3 == 0, on_ordered, &numbers[i]);
    }
    is_int(order_count, 0, "no callback inside write");
    uint64_t size;
    disk->ops->size(journal, &size);
    is_int(size, WRITES * 7, "the size is that after all writes");
    char text[8] = "";
    size_t count;
    disk->ops->read(journal, 7 * 199, text, 8, &count);
    ok(count == 7 && strcmp(text, "0000199") == 0, "a read sees all writes, and ends at the end");
    while (order_count < WRITES) uv_run(&loop, UV_RUN_ONCE);
    int wrong = 0;
    for (int i = 0; i < WRITES; i++) wrong += order[i] != i;
    is_int(wrong, 0, "callbacks come in the order of the writes");

    is_int(disk->ops->truncate(journal, 14), 0, "truncate");
    is_int(disk->ops->write_sync(journal, 14, myco_str("end")), 0, "write and sync");
    order_count = 0;
    disk->ops->write(journal, 17, myco_str("x"), true, on_close_file, &numbers[1]);
    disk->ops->write(journal, 18, myco_str("y"), false, on_ordered, &numbers[2]);
    while (order_count < 1) uv_run(&loop, UV_RUN_ONCE);
    disk->ops->open(disk, "j/log", 0, &journal, NULL);
    for (int i = 0; i < 20; i++)
        disk->ops->write(journal, 19, myco_str("z"), true, on_ordered, &numbers[3]);
    disk->ops->close(journal);
    is_int(order_count < 22, 1, "close leaves callbacks to the loop");
    while (order_count < 22) uv_run(&loop, UV_RUN_ONCE);
    is_int(order_count, 22, "all callbacks come after close");
    is_str(get("j/log", 0, 100), "00000000000001endxyz", "and nothing was lost");
    disk->ops->remove(disk, "j/log");
}

static void test_faults(void)
{
#ifdef MYCO_FAULTS
    struct myco_file *file;
    put("f", "old", 0);
    myco_fault_arm("disk.write", 0, 1);
    is_int(put("f", "new", 0), MYCO_ENOSPC, "put without space");
    myco_fault_arm("disk.sync", 0, 1);
    is_int(put("f", "new", 0), MYCO_EIO, "put that can't be synced");
    is_str(get("f", 0, 10), "old", "leave the old file");
    myco_fault_arm("disk.read", 0, 1);
    is_str(get("f", 0, 10), "EIO", "get that can't be read");

    disk->ops->open(disk, "f", 0, &file, NULL);
    myco_fault_arm("disk.write", 0, 1);
    disk->ops->write(file, 0, myco_str("NEW"), true, on_status, NULL);
    is_int(await(), MYCO_ENOSPC, "write without space");
    disk->ops->write(file, 0, myco_str("NEW"), true, on_status, NULL);
    is_int(await(), 0, "may work a moment later");
    myco_fault_arm("disk.sync", 0, 1);
    disk->ops->write(file, 0, myco_str("xxx"), true, on_status, NULL);
    is_int(await(), MYCO_EIO, "write that can't be synced");
    disk->ops->write(file, 0, myco_str("yyy"), true, on_status, NULL);
    is_int(await(), MYCO_EIO, "breaks the file");
    is_int(disk->ops->write_sync(file, 0, myco_str("y")), MYCO_EIO, "for all writes");
    is_int(disk->ops->truncate(file, 0), MYCO_EIO, "and for truncate");
    disk->ops->close(file);
    is_int(disk->ops->open(disk, "f", 0, &file, NULL), 0, "until it is opened anew");
    is_int(disk->ops->write_sync(file, 0, myco_str("end")), 0, "then it works");
    disk->ops->close(file);

    myco_mem_fail_nth(1);
    is_int(put("g", "x", 0), MYCO_ENOMEM, "put without memory");
    myco_mem_fail_nth(1);
    disk->ops->get(disk, "f", 0, 10, on_read, NULL);
    is_int(await(), MYCO_ENOMEM, "get without memory");
    myco_mem_fail_nth(1);
    is_str(list(""), "ENOMEM", "list without memory");
    myco_mem_fail_nth(2);
    is_str(list(""), "ENOMEM", "or without memory for a path");
    myco_mem_fail_nth(0);
    disk->ops->remove(disk, "f");
    disk->ops->remove(disk, "b");
    is_str(list(""), "", "nothing temporary is left");
#else
    skip("built without MYCO_FAULTS");
#endif
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void on_race(int status, void *data)
{
    *(int *)data = status;
}

/* Puts of the same name by two disks at once: exactly one wins, and its bytes are whole. */
static void test_two_disks(void)
{
    struct myco_disk *other;
    struct myco_err err;
    bool closed = false;
    is_int(myco_uv_disk_open(&loop, root, &other, &err), 0, "a second disk on the folder");
    is_int(myco_uv_disk_lock(disk, &err), 0, "lock");
    is_int(myco_uv_disk_lock(other, &err), MYCO_EBUSY, "%s", "only one has the lock");
    int wrong = 0;
    for (int i = 0; i < 20; i++) {
        char path[20];
        int mine = 1, theirs = 1;
        snprintf(path, sizeof path, "race/%d", i);
        disk->ops->put(disk, path, myco_str("mine"), MYCO_DISK_EXCLUSIVE, on_race, &mine);
        other->ops->put(other, path, myco_str("theirs"), MYCO_DISK_EXCLUSIVE, on_race, &theirs);
        while (mine == 1 || theirs == 1) uv_run(&loop, UV_RUN_ONCE);
        if (mine + theirs != MYCO_EEXISTS) wrong++;
        if (strcmp(get(path, 0, 100), mine == 0 ? "mine" : "theirs") != 0) wrong++;
        disk->ops->remove(disk, path);
    }
    is_int(wrong, 0, "of two exclusive puts exactly one wins, and its bytes are there");
    myco_uv_disk_close(other, on_closed, &closed);
    ok(!closed, "closed later");
    while (!closed) uv_run(&loop, UV_RUN_ONCE);
}

int main(void)
{
    struct myco_err err;
    bool closed = false;
    uv_loop_init(&loop);
    if (mkdtemp(root) == NULL) bail_out("no folder");
    char below[100];
    snprintf(below, sizeof below, "%s/to/be/made", root);
    is_int(myco_uv_disk_open(&loop, below, &disk, &err), 0, "open makes the folder");
    myco_uv_disk_close(disk, NULL, NULL);
    is_int(
        myco_uv_disk_open(&loop, "/proc/none/x", &disk, &err), MYCO_ENOTFOUND, "%s", err.message);
    is_int(rmdir(below), 0, "an unused disk leaves its folder empty");
    snprintf(below, sizeof below, "%s/to/be", root);
    rmdir(below);
    snprintf(below, sizeof below, "%s/to", root);
    rmdir(below);

    is_int(myco_uv_disk_open(&loop, root, &disk, &err), 0, "open");
    test_whole_files();
    test_paths();
    test_writes();
    test_faults();
    test_two_disks();

    disk->ops->put(disk, "last", myco_str("x"), 0, on_status, NULL);
    myco_uv_disk_close(disk, on_closed, &closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    ok(closed && calls == 1 && status_seen == 0, "close waits for what is under way");
    is_int(uv_loop_close(&loop), 0, "no handle is left");
    myco_buf_free(&got);
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", root);
    is_int(system(command), 0, "clean");
    return plan_done();
}
