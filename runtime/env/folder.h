/* Blocking work on the files below one root folder: what the disk's worker threads do. Any thread;
 * no call touches memory of another. Results are 0 or MYCO_E…. */
#ifndef MYCO_ENV_FOLDER_H
#define MYCO_ENV_FOLDER_H

#include "env/disk.h"

#define MYCO_FOLDER_PATH_MAX    1024
#define MYCO_FOLDER_ENTRIES_MAX 1000000 /* of one listing; more: ETOOBIG */

struct myco_folder {
    int fd;
    uint64_t tag;      /* random: makes the names of temporary files differ between processes */
    uint64_t sequence; /* atomic: and between puts */
};

/* Creates the folder when it is absent, and removes temporary files that a crash left an hour
 * ago. */
int myco__folder_open(struct myco_folder *folder, const char *root, struct myco_err *err);
void myco__folder_close(struct myco_folder *folder);
/* EBUSY while another process, or another folder of this one, has it locked. Until close. */
int myco__folder_lock(struct myco_folder *folder);

/* 1 to 1,024 bytes; names of 1 to 255, separated by '/'; none is ".", ".." or, first, ".tmp". */
bool myco__folder_path_ok(const char *path);

int myco__folder_open_file(struct myco_folder *folder, const char *path, int flags, int *fd);
int myco__folder_put(
    struct myco_folder *folder, const char *path, struct myco_slice bytes, int flags);
int myco__folder_get(struct myco_folder *folder, const char *path, uint64_t offset,
    uint64_t size_max, struct myco_buf *bytes);
int myco__folder_remove(struct myco_folder *folder, const char *path);

struct myco_folder_list { /* zero-initialised; free it also after an error */
    struct myco_disk_entry *entries;
    size_t count, capacity;
};
int myco__folder_list(
    struct myco_folder *folder, const char *prefix, struct myco_folder_list *list);
void myco__folder_list_free(struct myco_folder_list *list);

/* On an open file; all of it or an error, but for a read at the end. */
int myco__folder_read(int fd, uint64_t offset, void *bytes, size_t size, size_t *got);
int myco__folder_write(int fd, uint64_t offset, struct myco_slice bytes);
int myco__folder_sync(int fd); /* the file's bytes and size */

#endif
