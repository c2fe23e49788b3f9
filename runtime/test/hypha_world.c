/* See hypha_world.h. */
#include "hypha_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

/* ── Time, chance ──────────────────────────────────────────────────────────────────────────── */

uint64_t world_random(struct world *world, uint64_t below)
{
    uint64_t a = world->random[0], b = world->random[1];
    world->random[0] = b;
    a ^= a << 23;
    world->random[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return below == 0 ? 0 : (world->random[1] + b) % below;
}

static bool chance(struct world *world, unsigned percent)
{
    return world_random(world, 100) < percent;
}

void world_violation(struct world *world, const char *format, ...)
{
    va_list args;
    world->violations++;
    if (world->violations > 10) return;
    printf("# violation (%s, seed %llu, at %llu ms): ", world->name ? world->name : "",
        (unsigned long long)world->seed, (unsigned long long)(world->now_ns / MS));
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

static bool event_before(const struct event *a, const struct event *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

struct event *world_at(struct world *world, uint64_t delay_ns, event_cb cb, unsigned node)
{
    struct event *event = calloc(1, sizeof(*event));
    event->due_ns = world->now_ns + delay_ns;
    event->order = world->order++;
    event->cb = cb;
    event->node = node;
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity ? world->heap_capacity * 2 : 64;
        world->heap = realloc(world->heap, world->heap_capacity * sizeof(*world->heap));
    }
    size_t at = world->heap_count++;
    while (at > 0 && event_before(event, world->heap[(at - 1) / 2])) {
        world->heap[at] = world->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->heap[at] = event;
    return event;
}

static struct event *event_pop(struct world *world)
{
    struct event *first = world->heap[0], *last = world->heap[--world->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < world->heap_count) {
        struct event **heap = world->heap;
        if (child + 1 < world->heap_count && event_before(heap[child + 1], heap[child])) child++;
        if (!event_before(heap[child], last)) break;
        heap[at] = heap[child];
        at = child;
    }
    world->heap[at] = last;
    return first;
}

static void look(struct world *world);

static void step(struct world *world)
{
    struct event *event = event_pop(world);
    world->now_ns = event->due_ns;
    world->events++;
    event->cb(world, event);
    myco_buf_free(&event->bytes);
    free(event);
    look(world);
}

void world_run(struct world *world, uint64_t ms)
{
    uint64_t end_ns = world->now_ns + ms * MS;
    while (world->heap_count > 0 && world->heap[0]->due_ns <= end_ns) step(world);
    world->now_ns = end_ns;
}

bool world_until(struct world *world, bool (*done)(struct world *world), uint64_t ms)
{
    uint64_t end_ns = world->now_ns + ms * MS;
    while (!done(world)) {
        if (world->heap_count == 0 || world->heap[0]->due_ns > end_ns) return false;
        step(world);
    }
    return true;
}

/* ── A node's environment ──────────────────────────────────────────────────────────────────── */

static struct node *node_of(struct myco_env *env)
{
    return (struct node *)env;
}

static uint64_t env_now_ns(struct myco_env *env)
{
    return 1000 * MS + node_of(env)->world->now_ns;
}

static uint64_t env_wall_ms(struct myco_env *env)
{
    struct node *node = node_of(env);
    return (uint64_t)((int64_t)(1700000000000ull + node->world->now_ns / MS) + node->wall_skew_ms);
}

static void env_random(struct myco_env *env, void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)world_random(node_of(env)->world, 256);
    }
}

static void on_wake(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha != NULL && node->generation == event->x) myco__env_wake(&node->env);
}

static void env_wake_at(struct myco_env *env, uint64_t ns)
{
    struct node *node = node_of(env);
    if (ns == UINT64_MAX) return;
    uint64_t now_ns = env_now_ns(env);
    struct event *event = world_at(
        node->world, ns > now_ns ? ns - now_ns : 0, on_wake, (unsigned)(node - node->world->nodes));
    event->x = node->generation;
}

static int env_datagram(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    (void)env;
    (void)to;
    (void)bytes;
    return 0;
}

static const struct myco_env_ops env_ops = {
    env_now_ns, env_wall_ms, env_random, env_wake_at, env_datagram};

/* ── Connections ───────────────────────────────────────────────────────────────────────────── */

static struct link *link_of(struct world *world, unsigned a, unsigned b)
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
    struct link *link = link_of(world, event->node, event->other);
    if (!link->up || link->connection != event->x || node->hypha == NULL) return;
    if (world->drop_kind != 0 && event->bytes.data[0] == world->drop_kind) {
        world->drop_kind = 0;
        return;
    }
    myco_hypha_receive(node->hypha, event->other + 1, myco_buf_as_slice(&event->bytes));
}

static int do_send(uint64_t to, bool bulk, struct myco_buf *payload, void *data)
{
    struct node *node = data;
    struct world *world = node->world;
    unsigned from = (unsigned)(node - world->nodes), other = (unsigned)to - 1;
    struct link *link = link_of(world, from, other);
    int rc = link->up ? node->send_error : MYCO_ENOTCONN;
    if (rc == 0 && world->chaos && chance(world, 1)) {
        rc = MYCO_EFULL;
        world_at(world, 5 * MS, on_drained, from)->other = other;
    }
    if (rc != 0) {
        myco_buf_free(payload);
        return rc;
    }
    uint64_t *due_ns = &link->due_ns[from < other][bulk];
    uint64_t delay_ns = 50000 + world_random(world, 500000) + payload->size; /* 1 ns for a byte */
    if (chance(world, 1)) delay_ns += world_random(world, 20 * MS);
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
    struct link *link = link_of(world, a, b);
    link->connecting = false;
    if (link->up || link->cut || !world->nodes[a].hypha || !world->nodes[b].hypha) return;
    link->up = true;
    link->connection++;
    myco_hypha_peer_up(world->nodes[a].hypha, b + 1, world->nodes[b].generation);
    myco_hypha_peer_up(world->nodes[b].hypha, a + 1, world->nodes[a].generation);
}

static void connect_later(struct world *world, unsigned a, unsigned b)
{
    struct link *link = link_of(world, a, b);
    if (a == b || link->up || link->cut || link->connecting) return;
    if (!world->nodes[a].hypha || !world->nodes[b].hypha) return;
    link->connecting = true;
    world_at(world, 5 * MS + world_random(world, 100 * MS), on_connect, a)->other = b;
}

void world_break(struct world *world, unsigned a, unsigned b)
{
    struct link *link = link_of(world, a, b);
    if (!link->up) return;
    link->up = false;
    if (world->nodes[a].hypha) myco_hypha_peer_down(world->nodes[a].hypha, b + 1);
    if (world->nodes[b].hypha) myco_hypha_peer_down(world->nodes[b].hypha, a + 1);
    connect_later(world, a, b);
}

void world_cut(struct world *world, unsigned a, unsigned b)
{
    if (a == b) return;
    link_of(world, a, b)->cut = true;
    world_break(world, a, b);
}

void world_mend(struct world *world, unsigned a, unsigned b)
{
    if (a == b) return;
    link_of(world, a, b)->cut = false;
    connect_later(world, a, b);
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

static int do_journal(
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
    if (chance(world, 2)) delay_ns += world_random(world, 40 * MS);
    struct event *event = world_at(world, delay_ns, on_durable, (unsigned)(node - world->nodes));
    event->x = entry->sequence;
    event->y = node->generation;
    return 0;
}

static void entries_drop(struct node *node, size_t from, size_t count)
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
    entries_drop(node, 0, count);
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
static void journal_crash(struct world *world, struct node *node)
{
    size_t keep = 0;
    while (keep < node->entry_count && node->entries[keep].sequence <= node->durable) keep++;
    size_t more = node->entry_count - keep;
    if (more > 0) keep += world_random(world, more + 1);
    entries_drop(node, keep, node->entry_count - keep);
    node->durable = node->sequence; /* what is left is on the disk */
}

static void journal_load(struct world *world, struct node *node)
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

/* ── What hyphae say ───────────────────────────────────────────────────────────────────────── */

static uint64_t hash_write(const struct myco_write *write, uint64_t epoch)
{
    uint64_t hash = myco_hash_mix(epoch, write->op);
    hash = myco_hash_mix(hash, write->expires_ms);
    hash = myco_hash_mix(hash, myco_hash(write->key.data, write->key.size));
    return myco_hash_mix(hash, myco_hash(write->value.data, write->value.size));
}

static struct truth *truth_at(struct world *world, uint64_t offset)
{
    if (offset > world->truth_size) {
        size_t size = offset + 1024;
        world->truths = realloc(world->truths, size * sizeof(*world->truths));
        memset(world->truths + world->truth_size, 0,
            (size - world->truth_size) * sizeof(*world->truths));
        world->truth_size = size;
    }
    return &world->truths[offset - 1];
}

static unsigned key_index(struct myco_slice key)
{
    return (unsigned)atoi((const char *)key.data + 1);
}

/* "k3" … ; values are "t<token>" and padding. */
static uint64_t value_token(struct myco_slice value)
{
    return value.size > 1 ? strtoull((const char *)value.data + 1, NULL, 10) : 0;
}

/* The former change of a key, as the truth knows it; NULL: none. */
static const struct truth *truth_before(struct world *world, unsigned key, uint64_t offset)
{
    while (--offset > 0) {
        const struct truth *truth = truth_at(world, offset);
        if (truth->known && truth->key == key) return truth;
    }
    return NULL;
}

static uint64_t alive_version(struct world *world, unsigned key, uint64_t offset, uint64_t time_ms)
{
    const struct truth *before = truth_before(world, key, offset);
    if (before == NULL || before->op != MYCO_OP_PUT) return 0;
    if (before->expires_ms != 0 && before->expires_ms <= time_ms) return 0;
    return (uint64_t)(before - world->truths) + 1;
}

/* A committed record's condition must have held for what was committed before it. */
static void check_condition(struct world *world, uint64_t offset, const struct truth *truth)
{
    if (truth->token == 0 || truth->token > world->op_count) return;
    const struct op *op = &world->ops[truth->token - 1];
    uint64_t alive = alive_version(world, truth->key, offset, truth->time_ms);
    if (op->write.if_version != 0 && alive != op->write.if_version) {
        world_violation(world, "offset %llu wanted version %llu, found %llu",
            (unsigned long long)offset, (unsigned long long)op->write.if_version,
            (unsigned long long)alive);
    }
    if (op->write.if_absent && alive != 0) {
        world_violation(world, "offset %llu wanted no key", (unsigned long long)offset);
    }
}

static void do_committed(
    uint64_t epoch, uint64_t offset, const struct myco_write *write, uint64_t time_ms, void *data)
{
    struct node *node = data;
    struct world *world = node->world;
    if (offset <= node->seen) {
        world_violation(world, "node %u commits %llu after %llu", (unsigned)node->id,
            (unsigned long long)offset, (unsigned long long)node->seen);
    }
    node->seen = offset;
    if (world->lossy) return;
    struct truth *truth = truth_at(world, offset);
    uint64_t hash = hash_write(write, epoch);
    if (truth->known) {
        if (truth->hash != hash) {
            world_violation(world, "node %u: another record at %llu (epochs %llu, %llu)",
                (unsigned)node->id, (unsigned long long)offset, (unsigned long long)epoch,
                (unsigned long long)truth->epoch);
        }
        return;
    }
    *truth = (struct truth){epoch, hash, time_ms, write->expires_ms, value_token(write->value),
        key_index(write->key), write->op, true};
    if (truth->op == MYCO_OP_PUT) {
        check_condition(world, offset, truth);
        const struct op *op = truth->token ? &world->ops[truth->token - 1] : NULL;
        if (op != NULL && op->outcome != OUTCOME_NONE && op->status != 0 &&
            op->status != MYCO_EUNKNOWN) {
            world_violation(world, "a write that was refused (%d) is at %llu", op->status,
                (unsigned long long)offset);
        }
    }
}

static void check_acker(struct world *world, struct node *node)
{
    uint64_t epoch = node->hypha->set.epoch;
    unsigned index = (unsigned)(node - world->nodes);
    for (size_t i = 0; i < world->acker_count; i++) {
        if (world->ackers[i].epoch != epoch) continue;
        if (world->ackers[i].node != index) {
            world_violation(world, "two primaries in epoch %llu", (unsigned long long)epoch);
        }
        return;
    }
    if (world->acker_count == 512) return;
    world->ackers[world->acker_count].epoch = epoch;
    world->ackers[world->acker_count++].node = index;
}

static void check_acked(struct world *world, struct op *op, uint64_t token, uint64_t version)
{
    if (version <= op->acked_before) {
        world_violation(world, "version %llu after %llu was acknowledged",
            (unsigned long long)version, (unsigned long long)op->acked_before);
    }
    if (op->write.op == MYCO_OP_NOOP) return;
    const struct truth *truth = truth_at(world, version);
    bool right = truth->known && truth->op == op->write.op && truth->key == op->key;
    if (right && op->write.op == MYCO_OP_PUT) right = truth->token == token;
    if (!right) {
        world_violation(world, "token %llu was acknowledged at %llu, which is not it",
            (unsigned long long)token, (unsigned long long)version);
    }
    if (version > world->acked_max) world->acked_max = version;
    if (version > world->key_acked[op->key]) world->key_acked[op->key] = version;
}

/* What a refusal says must have been true after the call began (its primary had the lease). */
static void check_refusal(struct world *world, const struct op *op)
{
    if (op->version == 0) {
        const struct truth *last = op->key_before ? truth_at(world, op->key_before) : NULL;
        if (last == NULL || last->op == MYCO_OP_DEL || last->expires_ms != 0) return;
        for (uint64_t at = op->key_before + 1; at <= world->truth_size; at++) {
            const struct truth *truth = truth_at(world, at);
            if (!truth->known || truth->key != op->key) continue;
            if (truth->op == MYCO_OP_DEL || truth->expires_ms != 0) return;
        }
        world_violation(world, "a key was said to be absent that is not");
        return;
    }
    const struct truth *truth = truth_at(world, op->version);
    if (!truth->known || truth->key != op->key || op->version < op->key_before) {
        world_violation(world, "conflict with %llu: not known, or older than %llu",
            (unsigned long long)op->version, (unsigned long long)op->key_before);
    }
}

static void do_complete(uint64_t token, int status, uint64_t version, void *data)
{
    struct node *node = data;
    struct world *world = node->world;
    struct op *op = &world->ops[token - 1];
    if (op->inside) world_violation(world, "answered before the call returned");
    if (op->outcome != OUTCOME_NONE) world_violation(world, "answered twice");
    op->outcome = OUTCOME_DONE;
    op->status = status;
    op->version = version;
    if (world->lossy) return;
    if (status == 0) {
        check_acker(world, node);
        check_acked(world, op, token, version);
    } else if (status == MYCO_ECONFLICT || status == MYCO_ENOTFOUND) {
        bool lease = node->hypha->set.epoch == world->set.epoch;
        if (lease) check_refusal(world, op);
    }
}

static void do_replaced(void *data)
{
    struct node *node = data;
    node->replaced++;
    node->world->copies++;
    node->seen = node->hypha->log.applied;
    if (node->world->no_replaced) return;
    world_snapshot(node->world, (unsigned)(node - node->world->nodes));
}

/* ── Consensus ─────────────────────────────────────────────────────────────────────────────── */

static void on_configure(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha != NULL && !node->cut_off) myco_hypha_configure(node->hypha, &event->set);
}

void world_configure(struct world *world)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        struct event *event =
            world_at(world, 200000 + world_random(world, 10 * MS), on_configure, i);
        event->set = world->set;
    }
}

static bool holders_remove(struct myco_holder *holders, uint8_t *count, uint64_t node)
{
    for (uint8_t i = 0; i < *count; i++) {
        if (holders[i].node != node) continue;
        memmove(holders + i, holders + i + 1, (size_t)(--*count - i) * sizeof(*holders));
        return true;
    }
    return false;
}

static const struct myco_holder *in_sync_holder(const struct world *world, uint64_t node)
{
    for (uint8_t i = 0; i < world->set.in_sync_count; i++) {
        if (world->set.in_sync[i].node == node) return &world->set.in_sync[i];
    }
    return NULL;
}

static bool set_change(
    struct world *world, enum myco_propose what, uint64_t id, uint64_t generation)
{
    struct myco_set *set = &world->set;
    struct myco_holder holder = {id, generation};
    if (what == MYCO_PROPOSE_SHRINK) {
        if (id == set->primary || !holders_remove(set->in_sync, &set->in_sync_count, id))
            return false;
    } else {
        if (world->nodes[id - 1].generation != generation || in_sync_holder(world, id))
            return false;
        if (!holders_remove(set->joining, &set->joining_count, id)) return false;
        set->in_sync[set->in_sync_count++] = holder;
    }
    set->version++;
    return true;
}

static void on_refused(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha == NULL || node->generation != event->x) return;
    if (node->hypha->set.epoch == event->set.epoch &&
        node->hypha->set.version == event->set.version) {
        myco_hypha_refused(node->hypha);
    }
}

/* x: node, y: its generation, flag: EXPAND, other: the proposer, set: what it compares. */
static void decide(struct world *world, struct event *event, bool take)
{
    const struct myco_set *set = &event->set;
    bool current = set->epoch == world->set.epoch && set->version == world->set.version;
    enum myco_propose what = event->flag ? MYCO_PROPOSE_EXPAND : MYCO_PROPOSE_SHRINK;
    if (take && current && set_change(world, what, event->x, event->y)) {
        if (event->flag && world->on_taken) {
            world->on_taken(world, event->other, (unsigned)event->x - 1);
        }
        world_configure(world);
        return;
    }
    struct event *refused = world_at(world, MS, on_refused, event->other);
    refused->set = *set;
    refused->x = world->nodes[event->other].generation;
}

static struct event *proposal_again(struct world *world, struct event *event, event_cb cb)
{
    struct event *again = world_at(world, 50 * MS, cb, event->node);
    again->x = event->x;
    again->y = event->y;
    again->z = event->z;
    again->flag = event->flag;
    again->other = event->other;
    again->set = event->set;
    return again;
}

static void on_proposal(struct world *world, struct event *event)
{
    struct node *proposer = &world->nodes[event->other];
    if (proposer->hypha == NULL || proposer->generation != event->z) return; /* went with it */
    if (world->no_refusals) {
        free(world->proposal);
        world->proposal = calloc(1, sizeof(*event));
        *world->proposal = *event;
    } else if (world->nodes[event->other].cut_off) {
        proposal_again(world, event, on_proposal); /* tried until it arrives */
    } else {
        decide(world, event, true);
    }
}

void world_answer(struct world *world, bool take)
{
    if (world->proposal == NULL) {
        world_violation(world, "no proposal waits");
        return;
    }
    decide(world, world->proposal, take);
    free(world->proposal);
    world->proposal = NULL;
}

static void do_propose(enum myco_propose what, uint64_t id, uint64_t generation, void *data)
{
    struct node *node = data;
    struct world *world = node->world;
    struct event *event =
        world_at(world, MS + world_random(world, 20 * MS), on_proposal, (unsigned)id - 1);
    event->other = (unsigned)(node - world->nodes);
    event->x = id;
    event->y = generation;
    event->z = node->generation;
    event->flag = what == MYCO_PROPOSE_EXPAND;
    event->set = node->hypha->set;
    node->proposals[what]++;
    node->proposed_node = id;
}

void world_primary(struct world *world, unsigned node)
{
    world->set.epoch++;
    world->set.version++;
    world->set.primary = world->nodes[node].id;
    world_configure(world);
}

static bool eligible(struct world *world, const struct myco_holder *holder)
{
    struct node *node = &world->nodes[holder->node - 1];
    return node->hypha != NULL && !node->cut_off && node->generation == holder->generation;
}

static void replace_primary(struct world *world)
{
    const struct myco_set *set = &world->set;
    unsigned start = (unsigned)world_random(world, set->in_sync_count);
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        const struct myco_holder *holder = &set->in_sync[(start + i) % set->in_sync_count];
        if (!eligible(world, holder)) continue;
        world_primary(world, (unsigned)holder->node - 1);
        return;
    }
}

/* Everybody who is up shall hold a copy. */
static bool fill_joining(struct world *world)
{
    struct myco_set *set = &world->set;
    struct myco_holder joining[MYCO_COPIES_MAX];
    uint8_t count = 0;
    for (unsigned i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->hypha == NULL || in_sync_holder(world, node->id) != NULL) continue;
        if (world->now_ns / MS < node->out_ms) continue;
        joining[count++] = (struct myco_holder){node->id, node->generation};
    }
    bool same =
        count == set->joining_count && memcmp(joining, set->joining, count * sizeof(*joining)) == 0;
    if (same) return false;
    memcpy(set->joining, joining, count * sizeof(*joining));
    set->joining_count = count;
    set->version++;
    return true;
}

static void on_placement(struct world *world, struct event *event)
{
    (void)event;
    world_at(world, 100 * MS, on_placement, 0);
    if (!world->managed) return;
    const struct myco_holder *primary = in_sync_holder(world, world->set.primary);
    struct node *node = primary ? &world->nodes[primary->node - 1] : NULL;
    if (node != NULL && eligible(world, primary)) {
        node->lost_ms = 0;
    } else if (node == NULL || node->lost_ms == 0) {
        if (node != NULL) node->lost_ms = world->now_ns / MS + 1;
        if (node == NULL) replace_primary(world);
    } else if (world->now_ns / MS - node->lost_ms >= 300) {
        node->lost_ms = 0;
        replace_primary(world);
    }
    if (fill_joining(world)) world_configure(world);
}

/* At level DISK a node that comes again has all that it acknowledged, and stays in the set. */
static void register_generation(struct world *world, struct node *node)
{
    struct myco_set *set = &world->set;
    bool changed = false;
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        if (set->in_sync[i].node != node->id) continue;
        if (world->options.level != MYCO_LEVEL_DISK) continue;
        set->in_sync[i].generation = node->generation;
        changed = true;
    }
    if (changed && set->primary == node->id) set->epoch++;
    if (changed) set->version++;
    world_configure(world);
}

/* ── Nodes ─────────────────────────────────────────────────────────────────────────────────── */

static void on_tick(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha == NULL || node->generation != event->x) return;
    world_at(world, 100 * MS, on_tick, event->node)->x = event->x;
    myco_domain_poll(node->domain);
    if (!myco_hypha_idle(node->hypha)) myco_hypha_tick(node->hypha);
}

static void node_boot(struct world *world, unsigned index)
{
    struct node *node = &world->nodes[index];
    struct myco_hypha_effects effects = {
        do_send, do_journal, do_complete, do_propose, do_replaced, do_committed, node};
    node->generation++;
    node->seen = 0;
    node->served = false;
    memset(&node->env, 0, sizeof(node->env));
    myco__env_init(&node->env, &env_ops);
    node->env.metrics = &node->metrics;
    struct myco_hypha_options options = world->options;
    options.env = &node->env;
    options.domain = node->domain;
    options.self = node->id;
    options.generation = node->generation;
    node->hypha = myco_hypha_new(&options, &effects);
    journal_load(world, node);
    node->seen = node->hypha->log.applied;
    world_at(world, world_random(world, 100 * MS), on_tick, index)->x = node->generation;
}

void world_boot(struct world *world, unsigned index)
{
    if (world->nodes[index].hypha != NULL) return;
    node_boot(world, index);
    register_generation(world, &world->nodes[index]);
    for (unsigned i = 0; i < world->node_count; i++) connect_later(world, index, i);
}

void world_crash(struct world *world, unsigned index)
{
    struct node *node = &world->nodes[index];
    if (node->hypha == NULL) return;
    myco_hypha_free(node->hypha);
    node->hypha = NULL;
    myco__env_close(&node->env);
    myco_domain_poll(node->domain);
    journal_crash(world, node);
    for (unsigned i = 0; i < world->node_count; i++) {
        if (i != index) world_break(world, index, i);
    }
}

static bool is_member(const struct world *world, const struct node *node)
{
    for (uint8_t i = 0; i < world->set.joining_count; i++) {
        if (world->set.joining[i].node == node->id) return true;
    }
    return in_sync_holder(world, node->id) != NULL;
}

/* What a host does with a copy that consensus, as of now, does not want; the node lives on. */
static void on_throw_away(struct world *world, struct event *event)
{
    struct node *node = &world->nodes[event->node];
    if (node->hypha == NULL || is_member(world, node)) return;
    if (node->hypha->role != MYCO__ROLE_NONE) {
        world_at(world, 20 * MS, on_throw_away, event->node);
        return;
    }
    myco_hypha_free(node->hypha);
    myco__env_close(&node->env);
    entries_drop(node, 0, node->entry_count);
    myco_buf_free(&node->snapshot);
    node->saved = false;
    node->snapshot_sequence = node->sequence;
    node->generation--; /* the same one again */
    node_boot(world, event->node);
    myco_hypha_configure(node->hypha, &world->set);
}

void world_remove(struct world *world, unsigned index, uint64_t ms)
{
    struct myco_set *set = &world->set;
    if (set->primary == index + 1 || world->nodes[index].hypha == NULL) return;
    holders_remove(set->in_sync, &set->in_sync_count, index + 1);
    holders_remove(set->joining, &set->joining_count, index + 1);
    set->version++;
    world->nodes[index].out_ms = world->now_ns / MS + ms;
    world_configure(world);
    world_at(world, 20 * MS, on_throw_away, index);
}

struct world *world_new(unsigned node_count, enum myco_level level, uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    world->node_count = node_count;
    world->options.level = level;
    world->lossy = level == MYCO_LEVEL_MEMORY;
    world->seed = seed;
    world->random[0] = seed * 0x9e3779b97f4a7c15ull + 1;
    world->random[1] = seed ^ 0x2545f4914f6cdd1dull;
    for (int i = 0; i < 20; i++) world_random(world, 2);
    return world;
}

void world_start(struct world *world, bool all_in_sync)
{
    world->set = (struct myco_set){.epoch = 1, .version = 1, .primary = 1};
    for (unsigned i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        node->world = world;
        node->id = i + 1;
        node->domain = myco_domain_new();
        node_boot(world, i);
        struct myco_holder holder = {node->id, node->generation};
        if (i == 0 || all_in_sync) world->set.in_sync[world->set.in_sync_count++] = holder;
    }
    for (unsigned a = 0; a < world->node_count; a++) {
        for (unsigned b = a + 1; b < world->node_count; b++) {
            link_of(world, a, b)->up = true;
            link_of(world, a, b)->connection = 1;
        }
    }
    world_configure(world);
    world_at(world, 100 * MS, on_placement, 0);
}

void world_free(struct world *world)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (node->hypha != NULL) {
            myco_hypha_free(node->hypha);
            myco__env_close(&node->env);
        }
        entries_drop(node, 0, node->entry_count);
        free(node->entries);
        myco_buf_free(&node->snapshot);
        if (node->domain != NULL) myco_domain_free(node->domain);
    }
    for (size_t i = 0; i < world->heap_count; i++) {
        myco_buf_free(&world->heap[i]->bytes);
        free(world->heap[i]);
    }
    free(world->proposal);
    free(world->heap);
    free(world->ops);
    free(world->truths);
    free(world->seen);
    free(world);
}

/* ── Writes ────────────────────────────────────────────────────────────────────────────────── */

uint64_t world_write(
    struct world *world, unsigned index, struct myco_write write, unsigned key, size_t value_size)
{
    struct node *node = &world->nodes[index];
    if (world->op_count == world->op_capacity) {
        world->op_capacity = world->op_capacity ? world->op_capacity * 2 : 256;
        world->ops = realloc(world->ops, world->op_capacity * sizeof(*world->ops));
    }
    uint64_t token = ++world->op_count;
    struct op *op = &world->ops[token - 1];
    char name[16];
    int name_size = snprintf(name, sizeof(name), "k%u", key);
    char *value = malloc(value_size + 32);
    size_t used = (size_t)snprintf(value, 32, "t%llu ", (unsigned long long)token);
    if (value_size > used) memset(value + used, 'x', value_size - used);
    if (value_size < used) value_size = used;
    if (write.op != MYCO_OP_NOOP) write.key = myco_bytes(name, (size_t)name_size + 1);
    if (write.op == MYCO_OP_PUT) write.value = myco_bytes(value, value_size);
    *op = (struct op){.node = index,
        .key = key,
        .write = write,
        .inside = true,
        .acked_before = world->acked_max,
        .key_before = world->key_acked[key % WORLD_KEYS]};
    int rc = node->hypha ? myco_hypha_write(node->hypha, &write, token) : MYCO_ENOTCONN;
    op->write.key = op->write.value = myco_bytes(NULL, 0);
    op->inside = false;
    free(value);
    if (rc != 0) {
        op->outcome = OUTCOME_REFUSED;
        op->status = rc;
    }
    return token;
}

uint64_t world_put(struct world *world, unsigned node, unsigned key)
{
    return world_write(world, node, (struct myco_write){.op = MYCO_OP_PUT}, key, 0);
}

const struct op *world_op(const struct world *world, uint64_t token)
{
    return &world->ops[token - 1];
}

bool world_done(const struct world *world, uint64_t token, int status)
{
    const struct op *op = world_op(world, token);
    return op->outcome == OUTCOME_DONE && op->status == status;
}

/* ── Judging ───────────────────────────────────────────────────────────────────────────────── */

static void check_record(struct world *world, const struct myco__record *record,
    uint64_t before_epoch, uint64_t before_offset)
{
    if (world->seen_count * 2 >= world->seen_size) {
        size_t size = world->seen_size ? world->seen_size * 2 : 4096;
        struct seen_record *table = calloc(size, sizeof(*table));
        for (size_t i = 0; i < world->seen_size; i++) {
            struct seen_record *old = &world->seen[i];
            size_t at = myco_hash_mix(old->epoch, old->offset) & (size - 1);
            if (old->epoch == 0) continue;
            while (table[at].epoch != 0) at = (at + 1) & (size - 1);
            table[at] = *old;
        }
        free(world->seen);
        world->seen = table;
        world->seen_size = size;
    }
    struct seen_record now = {record->epoch, record->offset, myco_hash(record->bytes, record->size),
        before_epoch, before_offset};
    size_t at = myco_hash_mix(now.epoch, now.offset) & (world->seen_size - 1);
    while (world->seen[at].epoch != 0) {
        const struct seen_record *old = &world->seen[at];
        if (old->epoch == now.epoch && old->offset == now.offset) {
            if (memcmp(old, &now, sizeof(now)) != 0) {
                world_violation(world, "(%llu, %llu) is not the same everywhere",
                    (unsigned long long)now.epoch, (unsigned long long)now.offset);
            }
            return;
        }
        at = (at + 1) & (world->seen_size - 1);
    }
    world->seen[at] = now;
    world->seen_count++;
}

static void check_log(struct world *world, const struct node *node)
{
    const struct myco__log *log = &node->hypha->log;
    for (size_t i = 1; i < log->count; i++) {
        const struct myco__record *record = myco__log_at(log, i);
        const struct myco__record *before = myco__log_at(log, i - 1);
        check_record(world, record, before->epoch, before->offset);
    }
    if (log->commit < log->applied || log->last < log->commit) {
        world_violation(
            world, "node %u: applied, commit, last are out of order", (unsigned)node->id);
    }
}

/* The table must be what the truth says up to where the copy applied. */
static void check_table(struct world *world, const struct node *node)
{
    const struct truth *last[WORLD_KEYS] = {NULL};
    size_t count = 0;
    for (uint64_t at = 1; at <= node->hypha->log.applied && at <= world->truth_size; at++) {
        const struct truth *truth = &world->truths[at - 1];
        if (truth->known && truth->key < WORLD_KEYS) last[truth->key] = truth;
    }
    for (unsigned key = 0; key < WORLD_KEYS; key++) {
        if (last[key] == NULL || last[key]->op != MYCO_OP_PUT) continue;
        char name[16];
        int size = snprintf(name, sizeof(name), "k%u", key);
        struct myco_table_item item;
        bool there = myco_table_find(node->hypha->table, myco_bytes(name, (size_t)size + 1), &item);
        uint64_t version = (uint64_t)(last[key] - world->truths) + 1;
        count++;
        if (!there || item.version != version || value_token(item.value) != last[key]->token) {
            world_violation(world, "node %u: key %u is not version %llu", (unsigned)node->id, key,
                (unsigned long long)version);
        }
    }
    if (count != myco_table_count(node->hypha->table)) {
        world_violation(world, "node %u has %zu keys, not %zu", (unsigned)node->id,
            myco_table_count(node->hypha->table), count);
    }
}

void world_check(struct world *world)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (node->hypha == NULL) continue;
        if (world->lossy) continue;
        check_log(world, node);
        check_table(world, node);
    }
}

/* After each event: who begins to serve must have all that was ever acknowledged. */
static void look(struct world *world)
{
    for (unsigned i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        bool serves = node->hypha != NULL && myco_hypha_serving(node->hypha);
        bool begins = serves && !node->served;
        node->served = serves;
        if (!begins || world->lossy) continue;
        check_log(world, node);
        check_table(world, node);
        bool stale = node->hypha->set.epoch < world->set.epoch;
        if (!stale && node->hypha->log.applied < world->acked_max) {
            world_violation(world, "node %u serves up to %llu, %llu was acknowledged",
                (unsigned)node->id, (unsigned long long)node->hypha->log.applied,
                (unsigned long long)world->acked_max);
        }
    }
}

struct node *world_serving(struct world *world)
{
    if (world->set.primary == 0) return NULL;
    struct node *node = &world->nodes[world->set.primary - 1];
    if (node->hypha == NULL || !myco_hypha_serving(node->hypha)) return NULL;
    return node->hypha->set.epoch == world->set.epoch ? node : NULL;
}

static bool same_item(const struct myco_table_item *item, void *data)
{
    struct myco_hypha **other = data;
    struct myco_table_item theirs;
    bool same = myco_table_find((*other)->table, item->key, &theirs) &&
                theirs.version == item->version && theirs.expires_ms == item->expires_ms &&
                theirs.value.size == item->value.size &&
                memcmp(theirs.value.data, item->value.data, item->value.size) == 0;
    if (!same) *other = NULL;
    return same;
}

bool world_equal(struct world *world)
{
    struct node *first = world_serving(world);
    if (first == NULL) return false;
    for (unsigned i = 0; i < world->node_count; i++) {
        struct myco_hypha *other = world->nodes[i].hypha, *result = other;
        if (other == NULL || other == first->hypha) continue;
        if (other->log.applied != first->hypha->log.last) return false;
        if (myco_table_count(other->table) != myco_table_count(first->hypha->table)) return false;
        myco_table_each(first->hypha->table, same_item, &result);
        if (result == NULL) return false;
    }
    return true;
}

bool world_settled(struct world *world)
{
    if (world->set.in_sync_count != world->node_count || !world_serving(world)) return false;
    for (unsigned i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (node->hypha == NULL || !myco_hypha_idle(node->hypha)) return false;
        if (node->hypha->set.version != world->set.version) return false;
    }
    return true;
}
