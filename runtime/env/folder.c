/* A folder as durable storage. What makes a file durable is more than its own fsync:
 *
 *     create a file        the name lies in its folder: fsync the folder
 *     create a folder      the same, one level up
 *     replace a file       write .tmp/N, fdatasync it, rename over the path, fsync the folder:
 *                          whoever reads sees the old file or the new one, also after a crash
 *     create exclusively   the same with link(2) for rename(2): it fails when the name exists
 */
#include "env/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"

#define TEMPORARY         ".tmp"
#define TEMPORARY_AGE_MAX 3600 /* seconds: by then its writer is gone */
#define NAME_SIZE_MAX     255
#define FOLDER_MODE       0750
#define FILE_MODE         0640
#define OPEN_FOLDER       (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

static int result_of(int system_result)
{
    return system_result < 0 ? myco_err_from_errno(errno) : 0;
}

bool myco__folder_path_ok(const char *path)
{
    size_t size = strlen(path);
    if (size == 0 || size > MYCO_FOLDER_PATH_MAX) return false;
    size_t first_size = strcspn(path, "/");
    if (first_size == sizeof TEMPORARY - 1 && memcmp(path, TEMPORARY, first_size) == 0)
        return false;
    for (;;) {
        size_t name_size = strcspn(path, "/");
        if (name_size == 0 || name_size > NAME_SIZE_MAX) return false;
        if (path[0] == '.' && (name_size == 1 || (name_size == 2 && path[1] == '.'))) return false;
        if (path[name_size] == '\0') return true;
        path += name_size + 1;
    }
}

/* ── Bytes of one file ──────────────────────────────────────────────────────────────────────── */

int myco__folder_read(int fd, uint64_t offset, void *bytes, size_t size, size_t *got)
{
    *got = 0;
    if (MYCO_FAULT("disk.read")) return MYCO_EIO;
    while (*got < size) {
        ssize_t part = pread(fd, (char *)bytes + *got, size - *got, (off_t)(offset + *got));
        if (part < 0 && errno == EINTR) continue;
        if (part < 0) return myco_err_from_errno(errno);
        if (part == 0) break;
        *got += (size_t)part;
    }
    return 0;
}

int myco__folder_write(int fd, uint64_t offset, struct myco_slice bytes)
{
    if (MYCO_FAULT("disk.write")) return MYCO_ENOSPC;
    for (size_t done = 0; done < bytes.size;) {
        const char *at = (const char *)bytes.data + done;
        ssize_t part = pwrite(fd, at, bytes.size - done, (off_t)(offset + done));
        if (part < 0 && errno == EINTR) continue;
        if (part < 0) return myco_err_from_errno(errno);
        done += (size_t)part;
    }
    return 0;
}

int myco__folder_sync(int fd)
{
    if (MYCO_FAULT("disk.sync")) return MYCO_EIO;
    return result_of(fdatasync(fd));
}

/* ── The folder that holds a path ───────────────────────────────────────────────────────────── */

/* Opens the folder `name` of `at`; creates it first, durably, when it is absent and that is
 * wanted. */
static int enter(int at, const char *name, bool create, int *fd)
{
    *fd = openat(at, name, OPEN_FOLDER);
    if (*fd < 0 && errno == ENOENT && create) {
        if (mkdirat(at, name, FOLDER_MODE) == 0) {
            if (fsync(at) < 0) return myco_err_from_errno(errno);
        } else if (errno != EEXIST) { /* another call may have been faster */
            return myco_err_from_errno(errno);
        }
        *fd = openat(at, name, OPEN_FOLDER);
    }
    return result_of(*fd);
}

/* *fd: the folder that holds `path`, to be closed; *name: the last part of `path`, lent. */
static int open_parent(
    struct myco_folder *folder, const char *path, bool create, int *fd, const char **name)
{
    char part[NAME_SIZE_MAX + 1];
    const char *slash;
    *name = path;
    *fd = fcntl(folder->fd, F_DUPFD_CLOEXEC, 0);
    if (*fd < 0) return myco_err_from_errno(errno);
    for (; (slash = strchr(*name, '/')) != NULL; *name = slash + 1) {
        memcpy(part, *name, (size_t)(slash - *name));
        part[slash - *name] = '\0';
        int below, result = enter(*fd, part, create, &below);
        close(*fd);
        *fd = below;
        if (result < 0) return result;
    }
    return 0;
}

int myco__folder_open_file(struct myco_folder *folder, const char *path, int flags, int *fd)
{
    const char *name;
    int parent, result;
    bool create = (flags & MYCO_DISK_CREATE) != 0;
    if (!myco__folder_path_ok(path)) return MYCO_EINVAL;
    result = open_parent(folder, path, create, &parent, &name);
    if (result < 0) return result;

    *fd = openat(parent, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0 && errno == ENOENT && create) {
        *fd = openat(parent, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
        if (*fd >= 0 && fsync(parent) < 0) {
            result = myco_err_from_errno(errno);
            close(*fd);
            close(parent);
            return result;
        }
    }
    result = result_of(*fd);
    close(parent);
    return result;
}

/* ── Whole files ────────────────────────────────────────────────────────────────────────────── */

static int write_temporary(int temporaries, const char *name, struct myco_slice bytes)
{
    int fd = openat(temporaries, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0) return myco_err_from_errno(errno);
    int result = myco__folder_write(fd, 0, bytes);
    if (result == 0) result = myco__folder_sync(fd);
    close(fd);
    return result;
}

/* The temporary file becomes `name` in `parent`; it is gone from where it was in any case. */
static int publish(int temporaries, const char *temporary, int parent, const char *name, int flags)
{
    int result;
    if ((flags & MYCO_DISK_EXCLUSIVE) != 0) {
        result = result_of(linkat(temporaries, temporary, parent, name, 0));
        unlinkat(temporaries, temporary, 0);
    } else {
        result = result_of(renameat(temporaries, temporary, parent, name));
        if (result < 0) unlinkat(temporaries, temporary, 0);
    }
    return result == 0 ? result_of(fsync(parent)) : result;
}

int myco__folder_put(
    struct myco_folder *folder, const char *path, struct myco_slice bytes, int flags)
{
    char temporary[48];
    const char *name;
    int parent = -1, temporaries = -1;
    if (!myco__folder_path_ok(path)) return MYCO_EINVAL;
    uint64_t sequence = __atomic_fetch_add(&folder->sequence, 1, __ATOMIC_RELAXED);
    snprintf(temporary, sizeof temporary, "%016" PRIx64 "-%" PRIu64, folder->tag, sequence);

    int result = open_parent(folder, path, true, &parent, &name);
    if (result == 0) result = enter(folder->fd, TEMPORARY, true, &temporaries);
    if (result == 0) {
        result = write_temporary(temporaries, temporary, bytes);
        if (result == 0) {
            result = publish(temporaries, temporary, parent, name, flags);
        } else {
            unlinkat(temporaries, temporary, 0);
        }
    }
    if (temporaries >= 0) close(temporaries);
    if (parent >= 0) close(parent);
    return result;
}

static int read_range(int fd, uint64_t offset, uint64_t size_max, struct myco_buf *bytes)
{
    struct stat stat;
    if (fstat(fd, &stat) < 0) return myco_err_from_errno(errno);
    uint64_t size = (uint64_t)stat.st_size > offset ? (uint64_t)stat.st_size - offset : 0;
    if (size > size_max) size = size_max;
    if (!myco_buf_reserve(bytes, size)) return MYCO_ENOMEM;
    return myco__folder_read(fd, offset, bytes->data, size, &bytes->size);
}

int myco__folder_get(struct myco_folder *folder, const char *path, uint64_t offset,
    uint64_t size_max, struct myco_buf *bytes)
{
    const char *name;
    int parent = -1;
    if (!myco__folder_path_ok(path)) return MYCO_EINVAL;
    int result = open_parent(folder, path, false, &parent, &name);
    if (result == 0) {
        int fd = openat(parent, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        result = fd < 0 ? myco_err_from_errno(errno) : read_range(fd, offset, size_max, bytes);
        if (fd >= 0) close(fd);
    }
    if (parent >= 0) close(parent);
    return result;
}

int myco__folder_remove(struct myco_folder *folder, const char *path)
{
    const char *name;
    int parent = -1;
    if (!myco__folder_path_ok(path)) return MYCO_EINVAL;
    int result = open_parent(folder, path, false, &parent, &name);
    if (result == 0) result = result_of(unlinkat(parent, name, 0));
    if (result == 0) result = result_of(fsync(parent));
    if (parent >= 0) close(parent);
    return result == MYCO_ENOTFOUND ? 0 : result;
}

/* ── Listings ───────────────────────────────────────────────────────────────────────────────── */

void myco__folder_list_free(struct myco_folder_list *list)
{
    for (size_t i = 0; i < list->count; i++) myco_free((char *)(uintptr_t)list->entries[i].path);
    myco_free(list->entries);
    *list = (struct myco_folder_list){0};
}

static int add_entry(struct myco_folder_list *list, const char *path, const struct stat *stat)
{
    if (list->count == MYCO_FOLDER_ENTRIES_MAX) return MYCO_ETOOBIG;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        void *entries = myco_try_realloc(list->entries, capacity * sizeof *list->entries);
        if (entries == NULL) return MYCO_ENOMEM;
        list->entries = entries;
        list->capacity = capacity;
    }
    size_t size = strlen(path) + 1;
    char *copy = myco_try_alloc(size);
    if (copy == NULL) return MYCO_ENOMEM;
    memcpy(copy, path, size);
    list->entries[list->count++] = (struct myco_disk_entry){.path = copy,
        .size = (uint64_t)stat->st_size,
        .modified_ms =
            (uint64_t)stat->st_mtim.tv_sec * 1000 + (uint64_t)stat->st_mtim.tv_nsec / 1000000};
    return 0;
}

struct walk {
    const char *prefix;
    struct myco_folder_list *list;
    char path[MYCO_FOLDER_PATH_MAX +
              2]; /* of the folder that is read, with a '/', "" for the root */
};

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int walk_folder(struct walk *walk, int fd);

/* One name of a folder; walk->path holds the whole of it. What vanished meanwhile is not there. */
static int walk_name(struct walk *walk, int at, const char *name)
{
    struct stat stat;
    if (fstatat(at, name, &stat, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : myco_err_from_errno(errno);
    }
    if (S_ISREG(stat.st_mode)) {
        return starts_with(walk->path, walk->prefix) ? add_entry(walk->list, walk->path, &stat) : 0;
    }
    if (!S_ISDIR(stat.st_mode)) return 0;
    strcat(walk->path, "/");
    if (!starts_with(walk->path, walk->prefix) && !starts_with(walk->prefix, walk->path)) return 0;
    int fd = openat(at, name, OPEN_FOLDER);
    if (fd < 0) return errno == ENOENT ? 0 : myco_err_from_errno(errno);
    return walk_folder(walk, fd);
}

/* Takes `fd`. Only our own paths are seen: not too long, not temporary. */
static int walk_folder(struct walk *walk, int fd)
{
    DIR *names = fdopendir(fd);
    if (names == NULL) {
        int result = myco_err_from_errno(errno);
        close(fd);
        return result;
    }
    size_t size = strlen(walk->path);
    struct dirent *entry;
    int result = 0;
    while (result == 0 && (errno = 0, entry = readdir(names)) != NULL) {
        if (size + strlen(entry->d_name) > MYCO_FOLDER_PATH_MAX) continue;
        strcpy(walk->path + size, entry->d_name);
        if (myco__folder_path_ok(walk->path)) result = walk_name(walk, fd, entry->d_name);
        walk->path[size] = '\0';
    }
    if (result == 0 && errno != 0) result = myco_err_from_errno(errno);
    closedir(names);
    return result;
}

static int compare_entries(const void *a, const void *b)
{
    const struct myco_disk_entry *left = a, *right = b;
    return strcmp(left->path, right->path);
}

int myco__folder_list(struct myco_folder *folder, const char *prefix, struct myco_folder_list *list)
{
    struct walk *walk = myco_alloc(sizeof *walk);
    walk->prefix = prefix;
    walk->list = list;
    int fd = openat(folder->fd, ".", OPEN_FOLDER);
    int result = fd < 0 ? myco_err_from_errno(errno) : walk_folder(walk, fd);
    if (list->count > 0) qsort(list->entries, list->count, sizeof *list->entries, compare_entries);
    myco_free(walk);
    return result;
}

/* ── The folder itself ──────────────────────────────────────────────────────────────────────── */

static void remove_old_temporaries(int root)
{
    int fd = openat(root, TEMPORARY, OPEN_FOLDER);
    DIR *names = fd >= 0 ? fdopendir(fd) : NULL;
    if (names == NULL) {
        if (fd >= 0) close(fd);
        return;
    }
    struct dirent *entry;
    struct stat stat;
    time_t oldest = time(NULL) - TEMPORARY_AGE_MAX;
    while ((entry = readdir(names)) != NULL) {
        if (fstatat(fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) < 0) continue;
        if (S_ISREG(stat.st_mode) && stat.st_mtime < oldest) unlinkat(fd, entry->d_name, 0);
    }
    closedir(names);
}

/* All folders on the way, like mkdir -p. */
static int make_root(const char *root)
{
    char *path = myco_strdup(root);
    int result = 0;
    for (char *slash = path; result == 0 && (slash = strchr(slash + 1, '/')) != NULL;
         *slash = '/') {
        *slash = '\0';
        if (mkdir(path, FOLDER_MODE) < 0 && errno != EEXIST) result = -errno;
    }
    if (result == 0 && mkdir(path, FOLDER_MODE) < 0 && errno != EEXIST) result = -errno;
    myco_free(path);
    return result;
}

int myco__folder_open(struct myco_folder *folder, const char *root, struct myco_err *err)
{
    folder->fd = -1;
    folder->sequence = 0;
    if (root[0] == '\0') return myco_err(err, MYCO_EINVAL, "open folder: it has no name");
    while (getrandom(&folder->tag, sizeof folder->tag, 0) != sizeof folder->tag) {
    }
    int result = make_root(root);
    if (result < 0) return myco_err_sys(err, -result, "create folder %s", root);
    folder->fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0) return myco_err_sys(err, errno, "open folder %s", root);
    remove_old_temporaries(folder->fd);
    return 0;
}

void myco__folder_close(struct myco_folder *folder)
{
    if (folder->fd >= 0) close(folder->fd);
    folder->fd = -1;
}

int myco__folder_lock(struct myco_folder *folder)
{
    return result_of(flock(folder->fd, LOCK_EX | LOCK_NB));
}
