/* The judge of a world: what is committed anywhere becomes the truth of its offset, and everything
 * else must agree with it. See hypha_world.h. */
#include "hypha_world_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

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
static const struct truth *truth_before(const struct world *world, unsigned key, uint64_t offset)
{
    if (offset > world->truth_size) offset = world->truth_size + 1;
    while (--offset > 0) {
        const struct truth *truth = &world->truths[offset - 1];
        if (truth->known && truth->key == key) return truth;
    }
    return NULL;
}

static uint64_t alive_version(
    const struct world *world, unsigned key, uint64_t offset, uint64_t time_ms)
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

void world__committed(
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
    if (op->write.op == MYCO_OP_NOOP && version == 0)
        return; /* a fenced read that logged nothing */
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

void world__complete(uint64_t token, int status, uint64_t version, void *data)
{
    struct node *node = data;
    struct world *world = node->world;
    struct op *op = &world->ops[token - 1];
    if (op->inside) world_violation(world, "answered before the call returned");
    if (op->outcome != OUTCOME_NONE) world_violation(world, "answered twice");
    op->outcome = OUTCOME_DONE;
    op->status = status;
    op->version = version;
    if (world->lossy) {
        return;
    } else if (status == 0) {
        check_acker(world, node);
        check_acked(world, op, token, version);
    } else if (status == MYCO_ECONFLICT || status == MYCO_ENOTFOUND) {
        bool lease = node->hypha->set.epoch == world->set.epoch;
        if (lease) check_refusal(world, op);
    }
    if (world->chaos && world__chance(world, 5)) { /* who is answered asks again at once */
        world_put(world, (unsigned)(node - world->nodes), (unsigned)(token % WORLD_KEYS));
    }
}

void world__replaced(void *data)
{
    struct node *node = data;
    node->replaced++;
    node->world->copies++;
    node->seen = node->hypha->log.applied;
    if (node->world->no_replaced) return;
    world_snapshot(node->world, (unsigned)(node - node->world->nodes));
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
void world__look(struct world *world)
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
