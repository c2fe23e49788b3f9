/* Connections and disks of a world: see hypha_world.h. */
#include "hypha_world_internal.h"

#include <stdlib.h>

/* ── Connections ───────────────────────────────────────────────────────────────────────────── */

struct link *world__link_of(struct world *world, unsigned a, unsigned b)
{
    return a < b ? &world->links[a][b] : &world->links[b][a];
}

static void on_drained(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha) myco_hypha_peer_drained(node->hypha, event->other + 1);
}

static void on_message(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    struct link *link = world__link_of(world, event->node, event->other);
    if (!link->up || link->connection != event->x || node->hypha == NULL) return;
    if (world->drop_kind != 0 && event->bytes.data[0] == world->drop_kind) {
        world->drop_kind = 0;
        return;
    }
    myco_hypha_receive(node->hypha, event->other + 1, myco_buf_as_slice(&event->bytes));
}

int world__send(uint64_t to, bool bulk, struct myco_buf *payload, void *data)
{
    struct node *node = data;
    struct world *world = node->world;
    unsigned from = (unsigned)(node - world->nodes), other = (unsigned)to - 1;
    struct link *link = world__link_of(world, from, other);
    int rc = link->up ? node->send_error : MYCO_ENOTCONN;
    if (rc == 0 && world->chaos && world__chance(world, 1)) {
        rc = MYCO_EFULL;
        world_at(world, 5 * MS, on_drained, from)->other = other;
    }
    if (rc != 0) {
        myco_buf_free(payload);
        return rc;
    }
    uint64_t *due_ns = &link->due_ns[from < other][bulk];
    uint64_t delay_ns = 50000 + world_random(world, 500000) + payload->size; /* 1 ns for a byte */
    if (world__chance(world, 1)) delay_ns += world_random(world, 20 * MS);
    if (*due_ns < world->now_ns + delay_ns) *due_ns = world->now_ns + delay_ns;
    struct event *event = world_at(world, *due_ns - world->now_ns, on_message, other);
    event->other = from;
    event->x = link->connection;
    world->messages++;
    world->bytes += payload->size;
    node->sent[payload->data[0] & 15]++;
    node->sent_bulk += bulk;
    myco_buf_move(&event->bytes, payload);
    return 0;
}

static void on_connect(struct world *world, struct event *event)
{
    unsigned a = event->node, b = event->other;
    struct link *link = world__link_of(world, a, b);
    link->connecting = false;
    if (link->up || link->cut || !world->nodes[a].hypha || !world->nodes[b].hypha) return;
    link->up = true;
    link->connection++;
    myco_hypha_peer_up(world->nodes[a].hypha, b + 1, world->nodes[b].generation);
    myco_hypha_peer_up(world->nodes[b].hypha, a + 1, world->nodes[a].generation);
}

void world__connect_later(struct world *world, unsigned a, unsigned b)
{
    struct link *link = world__link_of(world, a, b);
    if (a == b || link->up || link->cut || link->connecting) return;
    if (!world->nodes[a].hypha || !world->nodes[b].hypha) return;
    link->connecting = true;
    world_at(world, 5 * MS + world_random(world, 100 * MS), on_connect, a)->other = b;
}

void world_break(struct world *world, unsigned a, unsigned b)
{
    struct link *link = world__link_of(world, a, b);
    if (!link->up) return;
    link->up = false;
    if (world->nodes[a].hypha) myco_hypha_peer_down(world->nodes[a].hypha, b + 1);
    if (world->nodes[b].hypha) myco_hypha_peer_down(world->nodes[b].hypha, a + 1);
    world__connect_later(world, a, b);
}

void world_cut(struct world *world, unsigned a, unsigned b)
{
    if (a == b) return;
    world__link_of(world, a, b)->cut = true;
    world_break(world, a, b);
}

void world_mend(struct world *world, unsigned a, unsigned b)
{
    if (a == b) return;
    world__link_of(world, a, b)->cut = false;
    world__connect_later(world, a, b);
}

void world_isolate(struct world *world, unsigned node)
{
    world->nodes[node].cut_off = true;
    for (unsigned i = 0; i < world->node_count; i++) world_cut(world, node, i);
}

void world_heal(struct world *world)
{
    world->chaos = false;
    for (unsigned i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        node->cut_off = false;
        node->journal_error = node->send_error = 0;
        node->frozen = false;
        if (node->hypha == NULL) world_boot(world, i);
    }
    for (unsigned a = 0; a < world->node_count; a++) {
        for (unsigned b = a + 1; b < world->node_count; b++) world_mend(world, a, b);
    }
    world_configure(world);
}

/* ── Journals ──────────────────────────────────────────────────────────────────────────────── */

static void on_durable(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha == NULL || node->generation != event->y) return;
    if (node->frozen) {
        struct event *again = world_at(world, 20 * MS, on_durable, event->node);
        again->x = event->x;
        again->y = event->y;
        return;
    }
    if (event->x <= node->durable) return;
    node->durable = event->x;
    myco_hypha_durable(node->hypha, node->durable);
}

int world__journal(
    uint64_t offset, uint8_t kind, struct myco_slice bytes, uint64_t *sequence, void *data)
{
    struct node *node = data;
    struct world *world = node->world;
    if (node->journal_error != 0) return node->journal_error;
    if (world->chaos && world_random(world, 200) == 0) return MYCO_EFULL;
    if (node->entry_count == node->entry_capacity) {
        node->entry_capacity = node->entry_capacity ? node->entry_capacity * 2 : 64;
        node->entries = realloc(node->entries, node->entry_capacity * sizeof(*node->entries));
    }
    struct journal_entry *entry = &node->entries[node->entry_count++];
    memset(entry, 0, sizeof(*entry));
    entry->sequence = *sequence = ++node->sequence;
    entry->offset = offset;
    entry->kind = kind;
    myco_buf_bytes(&entry->bytes, bytes.data, bytes.size);
    if (entry->bytes.failed) {
        myco_buf_free(&entry->bytes);
        node->entry_count--;
        return MYCO_ENOMEM;
    }
    uint64_t delay_ns = 100000 + world_random(world, 2 * MS);
    if (world__chance(world, 2)) delay_ns += world_random(world, 40 * MS);
    struct event *event = world_at(world, delay_ns, on_durable, (unsigned)(node - world->nodes));
    event->x = entry->sequence;
    event->y = node->generation;
    return 0;
}

void world__entries_drop(struct node *node, size_t from, size_t count)
{
    if (count == 0) return;
    for (size_t i = from; i < from + count; i++) myco_buf_free(&node->entries[i].bytes);
    node->entry_count -= count;
    memmove(node->entries + from, node->entries + from + count,
        (node->entry_count - from) * sizeof(*node->entries));
}

static void on_snapshot(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha == NULL || node->generation != event->y) return;
    if (event->x < node->snapshot_sequence || event->bytes.failed) return;
    myco_buf_free(&node->snapshot);
    myco_buf_move(&node->snapshot, &event->bytes);
    node->snapshot_sequence = event->x;
    node->saved = true;
    size_t count = 0;
    while (count < node->entry_count && node->entries[count].sequence <= event->x) count++;
    world__entries_drop(node, 0, count);
}

void world_snapshot(struct world *world, unsigned index)
{
    struct node *node = &world->nodes[index];
    if (node->hypha == NULL || world->options.level == MYCO_LEVEL_MEMORY) return;
    struct event *event = world_at(world, MS + world_random(world, 30 * MS), on_snapshot, index);
    event->x = node->sequence;
    event->y = node->generation;
    myco_hypha_save(node->hypha, &event->bytes);
}

/* The crash keeps what was durable, and perhaps some more of it. */
void world__journal_crash(struct world *world, struct node *node)
{
    size_t keep = 0;
    while (keep < node->entry_count && node->entries[keep].sequence <= node->durable) keep++;
    size_t more = node->entry_count - keep;
    if (more > 0) keep += world_random(world, more + 1);
    world__entries_drop(node, keep, node->entry_count - keep);
    node->durable = node->sequence; /* what is left is on the disk */
}

void world__journal_load(struct world *world, struct node *node)
{
    struct myco_err err = {0};
    int rc = 0;
    if (node->saved) {
        rc = myco_hypha_load_snapshot(node->hypha, myco_buf_as_slice(&node->snapshot), &err);
    }
    for (size_t i = 0; i < node->entry_count && rc == 0; i++) {
        const struct journal_entry *entry = &node->entries[i];
        rc = myco_hypha_load_record(
            node->hypha, entry->offset, entry->kind, myco_buf_as_slice(&entry->bytes), &err);
    }
    if (rc != 0) world_violation(world, "node %u can't load: %s", (unsigned)node->id, err.message);
}
