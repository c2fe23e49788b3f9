/* A simulated disk as one host sees it: env/disk.h over sim_op.c and sim_volume.c. */
#include "base/err.h"
#include "env/folder.h"
#include "env/sim_private.h"

static struct sim_disk *disk_of(struct myco_disk *disk)
{
    return MYCO_CONTAINER(disk, struct sim_disk, base);
}

static struct sim_file *file_of(struct myco_file *file)
{
    return MYCO_CONTAINER(file, struct sim_file, base);
}

static struct myco_sim *sim_of(const struct sim_disk *disk)
{
    return disk->host->sim;
}

/* ── Asynchronous calls ─────────────────────────────────────────────────────────────────────── */

static void op_write(struct myco_file *base, uint64_t offset, struct myco_slice bytes, bool sync,
    myco_disk_cb cb, void *data)
{
    struct sim_file *file = file_of(base);
    struct sim_op *op = myco__sim_op_new(disk_of(base->disk), SIM_OP_WRITE, NULL);
    op->file = file;
    op->node = file->node;
    op->node->references++;
    op->offset = offset;
    op->size = bytes.size;
    op->lent = bytes;
    op->bytes = myco_memdup(bytes.data, bytes.size);
    op->sync = sync;
    op->cb = cb;
    op->data = data;
    myco__sim_op_start(op, sync);
}

static void op_put(struct myco_disk *base, const char *path, struct myco_slice bytes, int flags,
    myco_disk_cb cb, void *data)
{
    struct sim_op *op = myco__sim_op_new(disk_of(base), SIM_OP_PUT, path);
    op->bytes = myco_memdup(bytes.data, bytes.size);
    op->size = bytes.size;
    op->flags = flags;
    op->cb = cb;
    op->data = data;
    myco__sim_op_start(op, true);
}

static void op_get(struct myco_disk *base, const char *path, uint64_t offset, uint64_t size_max,
    myco_disk_read_cb cb, void *data)
{
    struct sim_op *op = myco__sim_op_new(disk_of(base), SIM_OP_GET, path);
    op->offset = offset;
    op->size = size_max;
    op->read_cb = cb;
    op->data = data;
    myco__sim_op_start(op, false);
}

static void op_list(struct myco_disk *base, const char *prefix, myco_disk_list_cb cb, void *data)
{
    struct sim_op *op = myco__sim_op_new(disk_of(base), SIM_OP_LIST, prefix);
    op->list_cb = cb;
    op->data = data;
    myco__sim_op_start(op, false);
}

static void op_del(struct myco_disk *base, const char *path, myco_disk_cb cb, void *data)
{
    struct sim_op *op = myco__sim_op_new(disk_of(base), SIM_OP_DEL, path);
    op->cb = cb;
    op->data = data;
    myco__sim_op_start(op, true);
}

/* ── Blocking calls: no virtual time passes ─────────────────────────────────────────────────── */

static int op_open(struct myco_disk *base, const char *path, int flags, struct myco_file **file,
    struct myco_err *err)
{
    struct sim_disk *disk = disk_of(base);
    if (!myco__folder_path_ok(path)) return myco_err(err, MYCO_EINVAL, "open %s: not a path", path);
    if (!disk->host->up) return myco_err(err, MYCO_EIO, "open %s: the host is down", path);
    struct sim_node *node = myco__sim_node_get(disk->volume, path);
    if (node == NULL && !(flags & MYCO_DISK_CREATE)) {
        return myco_err(err, MYCO_ENOTFOUND, "open %s: no such file", path);
    }
    if (node == NULL) {
        node = myco__sim_node_make(disk->volume, path);
        node->modified_ms = myco__sim_disk_clock_ms(disk);
    }
    struct sim_file *opened = myco_alloc(sizeof(*opened));
    opened->base.disk = base;
    opened->node = node;
    node->references++;
    myco_list_append(&disk->files, &opened->link);
    *file = &opened->base;
    return 0;
}

void myco__sim_file_free(struct sim_file *file)
{
    myco__sim_node_release(disk_of(file->base.disk)->volume, file->node);
    myco_list_remove(&file->link);
    myco_free(file);
}

/* Waits for the file's writes: they take effect now, and call back when they would have. */
static void settle(struct sim_file *file)
{
    MYCO_LIST_EACH (item, &disk_of(file->base.disk)->ops) {
        struct sim_op *op = MYCO_CONTAINER(item, struct sim_op, link);
        if (op->file == file && !op->done && op->disk->host->up) myco__sim_op_effect(op);
    }
}

static void op_close(struct myco_file *base)
{
    struct sim_file *file = file_of(base);
    settle(file);
    MYCO_LIST_EACH (item, &disk_of(base->disk)->ops) {
        struct sim_op *op = MYCO_CONTAINER(item, struct sim_op, link);
        if (op->file == file) op->file = NULL;
    }
    myco__sim_file_free(file);
}

static int op_size(struct myco_file *base, uint64_t *size)
{
    *size = file_of(base)->node->size;
    return 0;
}

static int op_read(struct myco_file *base, uint64_t offset, void *bytes, size_t size, size_t *got)
{
    struct sim_file *file = file_of(base);
    struct sim_volume *volume = disk_of(base->disk)->volume;
    settle(file);
    uint64_t left = offset < file->node->size ? file->node->size - offset : 0;
    *got = left < size ? (size_t)left : size;
    if (*got > 0) memcpy(bytes, file->node->data + offset, *got);
    myco__sim_flip(volume, bytes, *got);
    return 0;
}

static int op_truncate(struct myco_file *base, uint64_t size)
{
    struct sim_file *file = file_of(base);
    struct sim_disk *disk = disk_of(base->disk);
    if (!disk->host->up || file->broken) return MYCO_EIO;
    settle(file);
    return myco__sim_node_truncate(disk->volume, file->node, size);
}

static int op_write_sync(struct myco_file *base, uint64_t offset, struct myco_slice bytes)
{
    struct sim_file *file = file_of(base);
    struct sim_disk *disk = disk_of(base->disk);
    if (!disk->host->up || file->broken) return MYCO_EIO;
    settle(file);
    file->node->modified_ms = myco__sim_disk_clock_ms(disk);
    return myco__sim_node_write(disk->volume, file->node, offset, bytes, true);
}

static int op_remove(struct myco_disk *base, const char *path)
{
    struct sim_disk *disk = disk_of(base);
    if (!myco__folder_path_ok(path)) return MYCO_EINVAL;
    if (!disk->host->up) return MYCO_EIO;
    myco__sim_node_unlink(disk->volume, path);
    return 0;
}

static int op_list_now(struct myco_disk *base, const char *prefix, myco_disk_list_cb cb, void *data)
{
    size_t count;
    struct myco_disk_entry *entries = myco__sim_listing(disk_of(base)->volume, prefix, &count);
    cb(0, entries, count, data);
    myco__sim_listing_free(entries, count);
    return 0;
}

static int op_put_now(struct myco_disk *base, const char *path, struct myco_slice bytes)
{
    struct sim_disk *disk = disk_of(base);
    if (!myco__folder_path_ok(path)) return MYCO_EINVAL;
    if (!disk->host->up) return MYCO_EIO;
    return myco__sim_put(disk, path, bytes, 0);
}

static const struct myco_disk_ops disk_ops = {
    .open = op_open,
    .close = op_close,
    .size = op_size,
    .read = op_read,
    .truncate = op_truncate,
    .write_sync = op_write_sync,
    .remove = op_remove,
    .list_now = op_list_now,
    .put_now = op_put_now,
    .write = op_write,
    .put = op_put,
    .get = op_get,
    .list = op_list,
    .del = op_del,
};

void myco__sim_disk_init(
    struct sim_disk *disk, struct sim_host *host, struct sim_volume *volume, bool shared)
{
    disk->base.ops = &disk_ops;
    disk->host = host;
    disk->volume = volume;
    disk->shared = shared;
    myco_list_init(&disk->ops);
    myco_list_init(&disk->files);
}

/* ── For the owner ──────────────────────────────────────────────────────────────────────────── */

void myco_sim_disk_options(struct myco_disk *disk, const struct myco_sim_disk_options *options)
{
    disk_of(disk)->volume->options = *options;
}

bool myco_sim_disk_flip(struct myco_disk *disk, const char *path, uint64_t offset, unsigned bit)
{
    struct sim_node *node = myco__sim_node_get(disk_of(disk)->volume, path);
    if (node == NULL || offset >= node->size) return false;
    node->data[offset] ^= (uint8_t)(1u << bit % 8);
    myco__sim_trace(
        sim_of(disk_of(disk)), SIM_TRACE_ROT, disk_of(disk)->host->index, MYCO_SIM_NONE, offset, 0);
    return true;
}

void myco_sim_disk_wipe(struct myco_disk *disk)
{
    struct sim_volume *volume = disk_of(disk)->volume;
    MYCO_ASSERT(disk_of(disk)->shared || !disk_of(disk)->host->up);
    while (volume->count > 0) myco__sim_node_unlink(volume, volume->nodes[volume->count - 1]->path);
}

uint64_t myco_sim_disk_size(const struct myco_disk *disk)
{
    return MYCO_CONTAINER(disk, struct sim_disk, base)->volume->size;
}
