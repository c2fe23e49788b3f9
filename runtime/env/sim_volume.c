/* What lies on a simulated disk: files, and for each the writes that no sync has covered yet.
 *
 * A file's data is what the system shows to whoever reads it. Each write that was not synced keeps
 * what was there before (to take it back) and what it wrote (to do it again). When the power fails
 * all of them are taken back, last one first, and then judged one by one, first one first: done,
 * forgotten, or torn, which means that only its first bytes come back. A write can be lost and a
 * later one kept. */
#include "env/sim_private.h"

struct unsynced {
    struct myco_list link;
    uint64_t offset, size, size_before; /* of the write; of the file before it */
    uint64_t old_size;                  /* bytes overwritten */
    uint8_t bytes[];                    /* new ones, then old ones */
};

void myco__sim_volume_init(struct sim_volume *volume, const struct myco_sim_disk_options *options,
    uint64_t seed, uint64_t stream)
{
    volume->options = *options;
    myco_sim_random_init(&volume->random, seed, stream);
}

static void drop_unsynced(struct sim_node *node)
{
    struct myco_list *item;
    while ((item = myco_list_pop(&node->unsynced)) != NULL) {
        myco_free(MYCO_CONTAINER(item, struct unsynced, link));
    }
}

/* ── Files by path ──────────────────────────────────────────────────────────────────────────── */

/* Where `path` is, or belongs. */
size_t myco__sim_volume_find(const struct sim_volume *volume, const char *path, bool *found)
{
    size_t low = 0, high = volume->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(volume->nodes[middle]->path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (found != NULL) *found = low < volume->count && strcmp(volume->nodes[low]->path, path) == 0;
    return low;
}

struct sim_node *myco__sim_node_get(struct sim_volume *volume, const char *path)
{
    bool found;
    size_t at = myco__sim_volume_find(volume, path, &found);
    return found ? volume->nodes[at] : NULL;
}

void myco__sim_node_release(struct sim_volume *volume, struct sim_node *node)
{
    if (--node->references > 0) return;
    volume->size -= node->size;
    drop_unsynced(node);
    myco_free(node->data);
    myco_free(node->path);
    myco_free(node);
}

void myco__sim_node_unlink(struct sim_volume *volume, const char *path)
{
    bool found;
    size_t at = myco__sim_volume_find(volume, path, &found);
    if (!found) return;
    struct sim_node *node = volume->nodes[at];
    volume->count--;
    memmove(
        volume->nodes + at, volume->nodes + at + 1, (volume->count - at) * sizeof(*volume->nodes));
    myco__sim_node_release(volume, node);
}

struct sim_node *myco__sim_node_make(struct sim_volume *volume, const char *path)
{
    struct sim_node *node = myco_alloc(sizeof(*node));
    node->path = myco_strdup(path);
    node->references = 1;
    myco_list_init(&node->unsynced);
    myco__sim_node_unlink(volume, path);
    if (volume->count == volume->capacity) {
        volume->capacity = volume->capacity > 0 ? 2 * volume->capacity : 16;
        volume->nodes = myco_realloc(volume->nodes, volume->capacity * sizeof(*volume->nodes));
    }
    size_t at = myco__sim_volume_find(volume, path, NULL);
    memmove(
        volume->nodes + at + 1, volume->nodes + at, (volume->count - at) * sizeof(*volume->nodes));
    volume->nodes[at] = node;
    volume->count++;
    return node;
}

void myco__sim_volume_close(struct sim_volume *volume)
{
    while (volume->count > 0) myco__sim_node_release(volume, volume->nodes[--volume->count]);
    myco_free(volume->nodes);
    volume->nodes = NULL;
    volume->capacity = 0;
}

/* ── Bytes ──────────────────────────────────────────────────────────────────────────────────── */

static void resize(struct sim_volume *volume, struct sim_node *node, uint64_t size)
{
    if (size > node->capacity) {
        node->capacity = size > 2 * node->capacity ? size : 2 * node->capacity;
        node->data = myco_realloc(node->data, node->capacity);
    }
    if (size > node->size) memset(node->data + node->size, 0, size - node->size);
    volume->size += size - node->size;
    node->size = size;
}

static void place(struct sim_volume *volume, struct sim_node *node, uint64_t offset,
    const void *bytes, uint64_t size)
{
    if (size == 0) return;
    if (offset + size > node->size) resize(volume, node, offset + size);
    memcpy(node->data + offset, bytes, size);
}

static void remember(struct sim_node *node, uint64_t offset, struct myco_slice bytes)
{
    uint64_t overlap = offset < node->size ? node->size - offset : 0;
    uint64_t old_size = overlap < bytes.size ? overlap : bytes.size;
    struct unsynced *write = myco_alloc(sizeof(*write) + bytes.size + old_size);
    write->offset = offset;
    write->size = bytes.size;
    write->size_before = node->size;
    write->old_size = old_size;
    memcpy(write->bytes, bytes.data, bytes.size);
    if (old_size > 0) memcpy(write->bytes + bytes.size, node->data + offset, old_size);
    myco_list_append(&node->unsynced, &write->link);
}

int myco__sim_node_write(struct sim_volume *volume, struct sim_node *node, uint64_t offset,
    struct myco_slice bytes, bool sync)
{
    uint64_t end = offset + bytes.size, growth = end > node->size ? end - node->size : 0;
    if (volume->options.size_max > 0 && volume->size + growth > volume->options.size_max) {
        return MYCO_ENOSPC;
    }
    if (!sync && bytes.size > 0) remember(node, offset, bytes);
    place(volume, node, offset, bytes.data, bytes.size);
    if (sync) myco__sim_node_sync(node);
    return 0;
}

void myco__sim_node_sync(struct sim_node *node)
{
    drop_unsynced(node);
}

int myco__sim_node_truncate(struct sim_volume *volume, struct sim_node *node, uint64_t size)
{
    uint64_t growth = size > node->size ? size - node->size : 0;
    if (growth > 0 && volume->options.size_max > 0 &&
        volume->size + growth > volume->options.size_max) {
        return MYCO_ENOSPC;
    }
    resize(volume, node, size);
    myco__sim_node_sync(node);
    return 0;
}

/* ── Loss ───────────────────────────────────────────────────────────────────────────────────── */

static void take_back(struct sim_volume *volume, struct sim_node *node)
{
    for (struct myco_list *item = node->unsynced.prev; item != &node->unsynced; item = item->prev) {
        struct unsynced *write = MYCO_CONTAINER(item, struct unsynced, link);
        if (write->old_size > 0) {
            memcpy(node->data + write->offset, write->bytes + write->size, write->old_size);
        }
        resize(volume, node, write->size_before);
    }
}

/* How many of a write's bytes come back. */
static uint64_t judge(struct sim_volume *volume, uint64_t size)
{
    switch (myco_sim_random_below(&volume->random, 3)) {
    case 0: return size;
    case 1: return 0;
    default: return myco_sim_random_below(&volume->random, size);
    }
}

static void lose_unsynced(struct sim_volume *volume, struct sim_node *node)
{
    take_back(volume, node);
    MYCO_LIST_EACH (item, &node->unsynced) {
        struct unsynced *write = MYCO_CONTAINER(item, struct unsynced, link);
        place(volume, node, write->offset, write->bytes, judge(volume, write->size));
    }
    drop_unsynced(node);
}

void myco__sim_volume_lose(struct sim_volume *volume)
{
    for (size_t i = 0; i < volume->count; i++) lose_unsynced(volume, volume->nodes[i]);
}
