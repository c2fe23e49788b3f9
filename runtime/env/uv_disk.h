/* A disk by libuv: env/disk.h below a root folder, with the calling threads' own system calls for
 * what blocks, and libuv's worker threads for what does not. The loop's thread only. */
#ifndef MYCO_ENV_UV_DISK_H
#define MYCO_ENV_UV_DISK_H

#include "base/err.h"
#include "env/disk.h"

struct uv_loop_s;

/* Opens `root`, creating it when it is absent. *disk is given. EDENIED, ENOSPC, EIO, …
 *
 * A file whose sync failed takes no more writes (EIO) until it is opened anew: the system may have
 * thrown the bytes away, and a second sync that works would not bring them back. Paths have at most
 * 1,024 bytes, listings at most a million entries (ETOOBIG). A path that is refused is EINVAL. */
int myco_uv_disk_open(
    struct uv_loop_s *loop, const char *root, struct myco_disk **disk, struct myco_err *err);

/* Keeps every other process off the folder until this disk is closed, or the process ends.
 * EBUSY. */
int myco_uv_disk_lock(struct myco_disk *disk, struct myco_err *err);

/* Calls that are under way end, and call back, first; then `closed` (may be NULL) runs on the loop
 * and the disk is freed. Its files were closed before. No new call may be made. */
void myco_uv_disk_close(struct myco_disk *disk, void (*closed)(void *data), void *data);

#endif
