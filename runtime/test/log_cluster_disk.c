/* The disks of the small world: files in memory, writes that take time, and what a crash makes of
 * them. */
#include <stdio.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "log_cluster_internal.h"

struct handle {
    struct myco_file file;
    struct blob *blob;
};

static struct server_disk *of(struct myco_disk *disk)
{
    return (struct server_disk *)disk;
}

static struct server *server_of(struct server_disk *disk)
{
    return MYCO_CONTAINER(disk, struct server, disk);
}

static void unref(struct blob *blob)
{
    if (--blob->references > 0) return;
    myco_buf_free(&blob->bytes);
    myco_free(blob);
}

static struct blob *find(struct server_disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->count; i++)
        if (strcmp(disk->blobs[i]->path, path) == 0) return disk->blobs[i];
    return NULL;
}

static struct blob *create(struct server_disk *disk, const char *path)
{
    struct blob *blob = myco_alloc(sizeof *blob);
    MYCO_ASSERT(disk->count < sizeof disk->blobs / sizeof disk->blobs[0]);
    snprintf(blob->path, sizeof blob->path, "%s", path);
    blob->references = 1;
    size_t at = disk->count++;
    while (at > 0 && strcmp(disk->blobs[at - 1]->path, path) > 0) {
        disk->blobs[at] = disk->blobs[at - 1];
        at--;
    }
    disk->blobs[at] = blob;
    return blob;
}

static void unlink_path(struct server_disk *disk, const char *path)
{
    for (size_t i = 0; i < disk->count; i++) {
        if (strcmp(disk->blobs[i]->path, path) != 0) continue;
        unref(disk->blobs[i]);
        memmove(&disk->blobs[i], &disk->blobs[i + 1], (--disk->count - i) * sizeof disk->blobs[0]);
        return;
    }
}

static void overwrite(struct blob *blob, uint64_t offset, const void *bytes, size_t size)
{
    static const uint8_t zero[4096];
    while (blob->bytes.size < offset) {
        size_t gap = offset - blob->bytes.size;
        myco_buf_bytes(&blob->bytes, zero, gap < sizeof zero ? gap : sizeof zero);
    }
    size_t inside = blob->bytes.size - offset;
    if (inside > size) inside = size;
    if (inside > 0) memcpy(blob->bytes.data + offset, bytes, inside);
    myco_buf_bytes(&blob->bytes, (const uint8_t *)bytes + inside, size - inside);
}

static int disk_open(struct myco_disk *disk, const char *path, int flags, struct myco_file **file,
    struct myco_err *err)
{
    struct blob *blob = find(of(disk), path);
    if (blob == NULL && !(flags & MYCO_DISK_CREATE))
        return myco_err(err, MYCO_ENOTFOUND, "open %s: not found", path);
    if (blob == NULL) blob = create(of(disk), path);
    struct handle *handle = myco_alloc(sizeof *handle);
    handle->file.disk = disk;
    handle->blob = blob;
    blob->references++;
    of(disk)->opens++;
    *file = &handle->file;
    return 0;
}

static void disk_close(struct myco_file *file)
{
    struct handle *handle = (struct handle *)file;
    of(file->disk)->opens--;
    unref(handle->blob);
    myco_free(handle);
}

static int disk_size(struct myco_file *file, uint64_t *size)
{
    *size = ((struct handle *)file)->blob->bytes.size;
    return 0;
}

static int disk_read(struct myco_file *file, uint64_t offset, void *bytes, size_t size, size_t *got)
{
    const struct myco_buf *all = &((struct handle *)file)->blob->bytes;
    *got = offset >= all->size ? 0 : all->size - offset < size ? all->size - offset : size;
    if (*got > 0) memcpy(bytes, all->data + offset, *got);
    return 0;
}

static int disk_truncate(struct myco_file *file, uint64_t size)
{
    struct blob *blob = ((struct handle *)file)->blob;
    if (size < blob->bytes.size) blob->bytes.size = size;
    return 0;
}

static int disk_write_sync(struct myco_file *file, uint64_t offset, struct myco_slice bytes)
{
    if (of(file->disk)->fail_writes) return MYCO_EIO;
    overwrite(((struct handle *)file)->blob, offset, bytes.data, bytes.size);
    return 0;
}

static int disk_remove(struct myco_disk *disk, const char *path)
{
    unlink_path(of(disk), path);
    return 0;
}

static int disk_list_now(
    struct myco_disk *disk, const char *prefix, myco_disk_list_cb cb, void *data)
{
    struct myco_disk_entry entries[256];
    size_t count = 0;
    for (size_t i = 0; i < of(disk)->count; i++) {
        struct blob *blob = of(disk)->blobs[i];
        if (strncmp(blob->path, prefix, strlen(prefix)) != 0) continue;
        entries[count++] = (struct myco_disk_entry){.path = blob->path, .size = blob->bytes.size};
    }
    cb(0, entries, count, data);
    return 0;
}

static void put_blob(struct server_disk *disk, const char *path, const void *bytes, size_t size)
{
    unlink_path(disk, path);
    overwrite(create(disk, path), 0, bytes, size);
}

static int disk_put_now(struct myco_disk *disk, const char *path, struct myco_slice bytes)
{
    if (of(disk)->fail_writes) return MYCO_EIO;
    put_blob(of(disk), path, bytes.data, bytes.size);
    return 0;
}

static struct event disk_event(
    struct myco_disk *disk, enum event_kind kind, const char *path, void *data)
{
    struct server *server = server_of(of(disk));
    struct world *world = server->world;
    struct event event = {.kind = kind,
        .server = (size_t)(server - world->servers),
        .life = server->lives,
        .data = data};
    uint64_t spread = world->sync_max_ns - world->sync_min_ns + 1;
    event.at_ns = world->now_ns + world->sync_min_ns + world_random(world, spread);
    if (of(disk)->slow_ns != 0) event.at_ns = world->now_ns + of(disk)->slow_ns;
    if (path != NULL) snprintf(event.path, sizeof event.path, "%s", path);
    return event;
}

static void disk_write(struct myco_file *file, uint64_t offset, struct myco_slice bytes, bool sync,
    myco_disk_cb cb, void *data)
{
    struct event event = disk_event(file->disk, WRITE, NULL, data);
    event.blob = ((struct handle *)file)->blob;
    event.blob->references++;
    event.offset = offset;
    event.lent = bytes;
    event.sync = sync;
    event.cb = cb;
    world_push(server_of(of(file->disk))->world, event);
}

static void disk_put(struct myco_disk *disk, const char *path, struct myco_slice bytes, int flags,
    myco_disk_cb cb, void *data)
{
    struct event event = disk_event(disk, PUT, path, data);
    event.flags = flags;
    event.cb = cb;
    myco_buf_bytes(&event.bytes, bytes.data, bytes.size);
    world_push(server_of(of(disk))->world, event);
}

static void disk_get(struct myco_disk *disk, const char *path, uint64_t offset, uint64_t size_max,
    myco_disk_read_cb cb, void *data)
{
    struct event event = disk_event(disk, GET, path, data);
    MYCO_ASSERT(offset == 0 && size_max > 0);
    event.read_cb = cb;
    world_push(server_of(of(disk))->world, event);
}

static void disk_del(struct myco_disk *disk, const char *path, myco_disk_cb cb, void *data)
{
    struct event event = disk_event(disk, DEL, path, data);
    event.cb = cb;
    world_push(server_of(of(disk))->world, event);
}

const struct myco_disk_ops world_disk_ops = {
    .open = disk_open,
    .close = disk_close,
    .size = disk_size,
    .read = disk_read,
    .truncate = disk_truncate,
    .write_sync = disk_write_sync,
    .remove = disk_remove,
    .list_now = disk_list_now,
    .put_now = disk_put_now,
    .write = disk_write,
    .put = disk_put,
    .get = disk_get,
    .del = disk_del,
};

static void get_done(struct server *server, struct event *event)
{
    struct blob *blob = find(&server->disk, event->path);
    struct myco_buf bytes = {0};
    if (blob != NULL) myco_buf_bytes(&bytes, blob->bytes.data, blob->bytes.size);
    event->read_cb(blob != NULL ? 0 : MYCO_ENOTFOUND, &bytes, event->data);
    myco_buf_free(&bytes);
}

void world_disk_happens(struct world *world, struct event *event)
{
    struct server *server = &world->servers[event->server];
    int status = server->disk.fail_writes ? MYCO_EIO : 0;
    switch (event->kind) {
    case WRITE:
        if (status == 0) overwrite(event->blob, event->offset, event->lent.data, event->lent.size);
        unref(event->blob);
        event->cb(status, event->data);
        break;
    case PUT:
        if (status == 0) put_blob(&server->disk, event->path, event->bytes.data, event->bytes.size);
        myco_buf_free(&event->bytes);
        event->cb(status, event->data);
        break;
    case GET: get_done(server, event); break;
    case DEL:
        unlink_path(&server->disk, event->path);
        event->cb(0, event->data);
        break;
    case DELIVER: break;
    }
}

void world_disk_lost(struct world *world, struct event *event)
{
    struct server *server = &world->servers[event->server];
    struct myco_buf nothing = {0};
    uint64_t luck = world->torn_crashes ? world_random(world, 3) : 0;
    switch (event->kind) {
    case WRITE: {
        size_t size = luck == 0   ? 0
                      : luck == 1 ? world_random(world, event->lent.size + 1)
                                  : event->lent.size;
        if (event->blob->references > 1)
            overwrite(event->blob, event->offset, event->lent.data, size);
        unref(event->blob);
        event->cb(MYCO_ECANCELED, event->data);
        break;
    }
    case PUT:
        if (luck == 2) put_blob(&server->disk, event->path, event->bytes.data, event->bytes.size);
        myco_buf_free(&event->bytes);
        event->cb(MYCO_ECANCELED, event->data);
        break;
    case GET: event->read_cb(MYCO_ECANCELED, &nothing, event->data); break;
    case DEL:
        if (luck == 2) unlink_path(&server->disk, event->path);
        event->cb(MYCO_ECANCELED, event->data);
        break;
    case DELIVER: break;
    }
}

void world_disk_wipe(struct server_disk *disk)
{
    while (disk->count > 0) unlink_path(disk, disk->blobs[0]->path);
}

struct blob *world_blob(struct server *server, const char *path)
{
    return find(&server->disk, path);
}

struct blob *world_last_segment(struct server *server)
{
    struct blob *last = NULL;
    for (size_t i = 0; i < server->disk.count; i++)
        if (strncmp(server->disk.blobs[i]->path, "consensus/log-", 14) == 0)
            last = server->disk.blobs[i];
    return last;
}
