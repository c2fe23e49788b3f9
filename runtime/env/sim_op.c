/* An asynchronous call to a simulated disk, from its beginning to its callback, or to a crash.
 *
 * An asynchronous call stands in `ops` from the call until its callback. When its time has come it
 * takes effect (for the whole call: a put is there or not), and its callback runs, later if the
 * host is paused. A crash judges the calls under way: a write to the host's own disk counts as
 * written and not synced; a put is there or not; a call to the shared disk left the machine, or
 * not, and takes effect in its own time. */
#include "env/folder.h"
#include "env/sim_private.h"

#define UNREACHABLE_NS MYCO_SIM_SECOND

uint64_t myco__sim_disk_clock_ms(struct sim_disk *disk)
{
    struct myco_env *env = &disk->host->env;
    return disk->shared ? myco_sim_shared_wall_ms(disk->host->sim) : env->ops->wall_ms(env);
}

/* ── Listings ───────────────────────────────────────────────────────────────────────────────── */

struct myco_disk_entry *myco__sim_listing(
    struct sim_volume *volume, const char *prefix, size_t *count)
{
    size_t first = myco__sim_volume_find(volume, prefix, NULL), end = first, size = strlen(prefix);
    while (end < volume->count && strncmp(volume->nodes[end]->path, prefix, size) == 0) end++;
    *count = end - first;
    struct myco_disk_entry *entries = myco_alloc((*count + 1) * sizeof(*entries));
    for (size_t i = 0; i < *count; i++) {
        const struct sim_node *node = volume->nodes[first + i];
        entries[i].path = myco_strdup(node->path);
        entries[i].size = node->size;
        entries[i].modified_ms = node->modified_ms;
    }
    return entries;
}

void myco__sim_listing_free(struct myco_disk_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) myco_free((char *)entries[i].path);
    myco_free(entries);
}

/* ── Effects ────────────────────────────────────────────────────────────────────────────────── */

int myco__sim_put(struct sim_disk *disk, const char *path, struct myco_slice bytes, int flags)
{
    struct sim_volume *volume = disk->volume;
    struct sim_node *former = myco__sim_node_get(volume, path);
    if (former != NULL && (flags & MYCO_DISK_EXCLUSIVE)) return MYCO_EEXISTS;
    uint64_t size_max = volume->options.size_max;
    if (size_max > 0 && volume->size + bytes.size > size_max) return MYCO_ENOSPC;
    struct sim_node *node = myco__sim_node_make(volume, path);
    node->modified_ms = myco__sim_disk_clock_ms(disk);
    return myco__sim_node_write(volume, node, 0, bytes, true);
}

static int do_write(struct sim_op *op)
{
    if (op->file != NULL && op->file->broken) return MYCO_EIO;
    if (op->lent.size > 0) MYCO_ASSERT(memcmp(op->bytes, op->lent.data, op->lent.size) == 0);
    op->node->modified_ms = myco__sim_disk_clock_ms(op->disk);
    return myco__sim_node_write(
        op->volume, op->node, op->offset, myco_bytes(op->bytes, op->size), op->sync);
}

void myco__sim_flip(struct sim_volume *volume, uint8_t *bytes, size_t size)
{
    if (size == 0 || !myco_sim_random_chance(&volume->random, volume->options.flip_ppm)) return;
    bytes[myco_sim_random_below(&volume->random, size)] ^=
        (uint8_t)(1u << myco_sim_random_below(&volume->random, 8));
}

static int do_get(struct sim_op *op)
{
    struct sim_node *node = myco__sim_node_get(op->volume, op->path);
    if (node == NULL) return MYCO_ENOTFOUND;
    uint64_t left = op->offset < node->size ? node->size - op->offset : 0;
    if (left > op->size) left = op->size;
    if (left > 0) myco_buf_bytes(&op->result, node->data + op->offset, left);
    if (op->result.failed) return MYCO_ENOMEM;
    myco__sim_flip(op->volume, op->result.data, op->result.size);
    return 0;
}

static int do_op(struct sim_op *op)
{
    switch (op->kind) {
    case SIM_OP_WRITE: return do_write(op);
    case SIM_OP_PUT:
        return myco__sim_put(op->disk, op->path, myco_bytes(op->bytes, op->size), op->flags);
    case SIM_OP_GET: return do_get(op);
    case SIM_OP_LIST:
        op->entries = myco__sim_listing(op->volume, op->path, &op->entry_count);
        return 0;
    default: myco__sim_node_unlink(op->volume, op->path); return 0;
    }
}

/* Takes effect, or fails: the disk's error comes in its place, an unreachable store's time-out also
 * after it. */
void myco__sim_op_effect(struct sim_op *op)
{
    struct sim_volume *volume = op->volume;
    op->done = true;
    if (op->unreachable) {
        op->status = MYCO_ETIMEDOUT;
    } else if (myco_sim_random_chance(&volume->random, volume->options.error_ppm)) {
        op->status = MYCO_EIO;
    } else {
        op->status = do_op(op);
        if (op->disk->cut && !op->ghost) op->status = MYCO_ETIMEDOUT;
    }
    if (op->kind == SIM_OP_WRITE && op->status != 0 && op->sync && op->file != NULL) {
        op->file->broken = op->status == MYCO_EIO;
    }
}

/* ── A call from its beginning to its callback ──────────────────────────────────────────────── */

static void free_op(struct sim_op *op)
{
    myco_list_remove(&op->link);
    if (op->node != NULL) myco__sim_node_release(op->volume, op->node);
    if (op->event != NULL) op->event->p = NULL;
    myco__sim_listing_free(op->entries, op->entry_count);
    myco_buf_free(&op->result);
    myco_free(op->bytes);
    myco_free(op->path);
    myco_free(op);
}

static void call_back(struct sim_op *op)
{
    static const enum sim_trace_kind kinds[] = {
        SIM_TRACE_WRITE, SIM_TRACE_PUT, SIM_TRACE_GET, SIM_TRACE_LIST, SIM_TRACE_DEL};
    struct sim_host *host = op->disk->host;
    myco_list_remove(&op->link);
    if (host->up) {
        myco__sim_trace(host->sim, kinds[op->kind], host->index, MYCO_SIM_NONE, op->size,
            (uint64_t)-op->status);
        myco__sim_enter(host);
    }
    if (op->status != 0) myco_buf_clear(&op->result);
    size_t entry_count = op->status == 0 ? op->entry_count : 0;
    if (op->read_cb != NULL) op->read_cb(op->status, &op->result, op->data);
    if (op->list_cb != NULL) op->list_cb(op->status, op->entries, entry_count, op->data);
    if (op->cb != NULL) op->cb(op->status, op->data);
    if (host->up) myco__sim_leave(host);
    free_op(op);
}

static void run_callback(struct sim_event *event)
{
    if (event->p != NULL) call_back(event->p);
}

static void run_op(struct sim_event *event)
{
    struct sim_op *op = event->p;
    if (op == NULL) return;
    event->p = op->event = NULL;
    if (!op->done) myco__sim_op_effect(op);
    if (op->ghost) {
        free_op(op);
        return;
    }
    struct sim_host *host = op->disk->host;
    if (!host->paused) {
        call_back(op);
        return;
    }
    struct sim_event *later = myco__sim_host_event(host, event->sim->now, run_callback);
    later->p = op;
    op->event = later;
    myco_list_append(&host->parked, &later->link);
}

static void drop_ghost(struct sim_event *event)
{
    struct sim_op *op = event->p;
    if (op == NULL) return;
    op->event = NULL;
    if (op->ghost) free_op(op);
}

static uint64_t duration(struct sim_volume *volume, bool sync)
{
    const struct myco_sim_disk_options *options = &volume->options;
    struct myco_sim_random *random = &volume->random;
    uint64_t ns = myco_sim_random_between(random, options->write_min_ns, options->write_max_ns);
    if (sync) ns += myco_sim_random_between(random, options->sync_min_ns, options->sync_max_ns);
    if (myco_sim_random_chance(random, options->tail_ppm)) {
        ns += myco_sim_random_below(random, options->sync_tail_ns + 1);
    }
    return ns;
}

static void plan(struct sim_op *op, uint64_t at)
{
    op->event = myco__sim_event(op->disk->host->sim, at, run_op);
    op->event->p = op;
    op->event->drop = drop_ghost;
    myco__sim_event_push(op->event);
}

struct sim_op *myco__sim_op_new(struct sim_disk *disk, enum sim_op_kind kind, const char *path)
{
    struct sim_op *op = myco_alloc(sizeof(*op));
    op->disk = disk;
    op->volume = disk->volume;
    op->kind = kind;
    op->unreachable = disk->cut;
    if (path != NULL) op->path = myco_strdup(path);
    if (path != NULL && kind != SIM_OP_LIST && !myco__folder_path_ok(path)) {
        op->done = true;
        op->status = MYCO_EINVAL;
    }
    myco_list_append(&disk->ops, &op->link);
    return op;
}

void myco__sim_op_start(struct sim_op *op, bool sync)
{
    if (!op->disk->host->up) return; /* a dead host's call waits for its burial */
    uint64_t ns = op->unreachable ? UNREACHABLE_NS : duration(op->volume, sync);
    uint64_t at = op->disk->host->sim->now + ns;
    if (op->node != NULL) {
        if (at < op->node->last_at) at = op->node->last_at;
        op->node->last_at = at;
    }
    plan(op, at);
}

/* ── Crash, burial, the end ─────────────────────────────────────────────────────────────────── */

/* The request left the machine before it died, as often as not: then it takes effect in its own
 * time. */
static void leave_ghost(struct sim_op *op)
{
    bool changes = op->kind == SIM_OP_PUT || op->kind == SIM_OP_DEL;
    if (!changes || op->done || op->unreachable ||
        !myco_sim_random_chance(&op->volume->random, 500000))
        return;
    struct sim_op *ghost = myco_alloc(sizeof(*ghost));
    ghost->disk = op->disk;
    ghost->volume = op->volume;
    ghost->kind = op->kind;
    ghost->ghost = true;
    ghost->flags = op->flags;
    ghost->size = op->size;
    ghost->path = myco_strdup(op->path);
    ghost->bytes = myco_memdup(op->bytes, op->size);
    myco_list_init(&ghost->link);
    plan(ghost, op->event->at);
}

static void judge_own(struct sim_op *op)
{
    if (op->done || op->kind == SIM_OP_GET || op->kind == SIM_OP_LIST) return;
    op->sync = false; /* a write may be half way */
    if (op->kind == SIM_OP_WRITE || myco_sim_random_chance(&op->volume->random, 500000)) do_op(op);
}

static void detach(struct sim_op *op)
{
    if (op->event != NULL) op->event->p = NULL;
    op->event = NULL;
    op->done = true;
    op->status = MYCO_ECANCELED;
}

void myco__sim_disk_crash(struct sim_disk *disk, enum myco_sim_crash how)
{
    MYCO_LIST_EACH (item, &disk->ops) {
        struct sim_op *op = MYCO_CONTAINER(item, struct sim_op, link);
        if (disk->shared)
            leave_ghost(op);
        else
            judge_own(op);
        detach(op);
    }
    if (disk->shared || how == MYCO_SIM_KILL) return;
    myco__sim_trace(disk->host->sim, SIM_TRACE_LOSE, disk->host->index, MYCO_SIM_NONE, 0, 0);
    myco__sim_volume_lose(disk->volume);
}

bool myco__sim_disk_bury(struct sim_disk *disk)
{
    if (myco_list_empty(&disk->ops)) return false;
    struct sim_op *op = MYCO_CONTAINER(disk->ops.next, struct sim_op, link);
    op->status = MYCO_ECANCELED;
    call_back(op);
    return true;
}

void myco__sim_disk_close(struct sim_disk *disk)
{
    while (!myco_list_empty(&disk->ops))
        free_op(MYCO_CONTAINER(disk->ops.next, struct sim_op, link));
    while (!myco_list_empty(&disk->files)) {
        myco__sim_file_free(MYCO_CONTAINER(disk->files.next, struct sim_file, link));
    }
}
