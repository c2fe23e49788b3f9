/* Limits of septa at their primaries: size, number of entries, size of a value, idle time.
 *
 * Each hypha gets its equal part of what the septum may hold. A write claims what it adds before it
 * goes into the log, and its claim ends with it: so what is under way counts, too. When there is no
 * room, a cache drops others first, by DELs in the log like any other, so that all copies agree;
 * the victim is the worst of some that are looked at, not of all (sampling: Redis 3.0). A durable
 * septum refuses.
 *
 * Idle time counts from the last use at this primary. What it did not see itself, such as reads at
 * a primary before it, is taken to have happened until it took over: nothing expires too early. */
#include <stdio.h>

#include "host/core_internal.h"

#define SAMPLE         12  /* entries looked at for one victim */
#define VICTIMS_MAX    64  /* for one write, or one tick */
#define IDLE_LOOKED_AT 512 /* entries, each tick */
#define IDLE_DROPS_MAX 128 /* each tick */
#define USAGE_DECAY    60  /* seconds without use that take one from how often it was used */
#define MS_OF_A_SECOND 1000

struct core_use *core_use(struct myco_core *core, uint64_t septum)
{
    struct core_use *use = myco_map_get(&core->uses, septum);
    if (use) return use;
    use = myco_alloc(sizeof *use);
    myco_map_put(&core->uses, septum, use);
    return use;
}

static const struct myco_septum_options *options_of(
    const struct myco_core *core, const struct core_hypha *copy)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    return septum ? &septum->options : NULL;
}

static bool evicts(const struct myco_septum_options *options)
{
    return options->kind == MYCO_SEPTUM_CACHE && options->eviction != MYCO_EVICT_NONE;
}

static bool limited(const struct myco_septum_options *options)
{
    return options->size_max || options->entries_max;
}

static void keep_hints(struct core_hypha *copy, const struct myco_septum_options *options)
{
    struct myco_table *table = myco_hypha_table(copy->hypha);
    uint64_t now = core_expiry_now(copy);
    if (!myco_table_hinted(table)) copy->used_since_ms = now;
    bool wanted = options->idle_ms || (limited(options) && evicts(options));
    myco_table_hints(table, wanted, (uint32_t)(now / MS_OF_A_SECOND));
}

/* ── idle time ── in whole seconds, never less than what was asked for */

static bool is_idle(const struct core_hypha *copy, const struct myco_septum_options *options,
    const struct myco_table_item *item)
{
    if (!options->idle_ms) return false;
    uint64_t now = core_expiry_now(copy);
    uint64_t here = now > copy->used_since_ms ? now - copy->used_since_ms : 0;
    uint64_t idle = (uint64_t)myco_table_idle(myco_hypha_table(copy->hypha), item) * MS_OF_A_SECOND;
    return (idle < here ? idle : here) >= options->idle_ms + MS_OF_A_SECOND;
}

/* Through the log; only this version of it. One that is idle has expired: the time says so. */
static int drop(
    struct myco_core *core, struct core_hypha *copy, const struct myco_table_item *item, bool idle)
{
    uint64_t now = core_expiry_now(copy);
    bool expired = item->expires_ms && item->expires_ms <= now;
    struct myco_write write = {.op = MYCO_OP_DEL,
        .key = item->key,
        .expires_ms = expired || idle ? now : 0,
        .if_version = expired ? 0 : item->version,
        .if_expired = expired};
    struct core_token token = {.sweep = true};
    return core_give_token(core, copy, &write, &token);
}

bool core_limits_find(struct myco_core *core, struct core_hypha *copy, struct myco_slice key,
    struct myco_table_item *item)
{
    struct myco_table *table = myco_hypha_table(copy->hypha);
    const struct myco_septum_options *options = options_of(core, copy);
    struct core_use *use = core_use(core, copy->septum);
    bool found = myco_table_find(table, key, item) &&
                 (!item->expires_ms || item->expires_ms > core_expiry_now(copy));
    if (found && options && is_idle(copy, options, item)) found = false;
    if (found && !item->hint && myco_table_hinted(table)) /* from before: gets one */
        found =
            myco_table_put(table, key, item->value, item->version, item->expires_ms, NULL) == 0 &&
            myco_table_find(table, key, item);
    if (found) myco_table_touch(table, item);
    ++*(found ? &use->hits : &use->misses);
    return found;
}

bool core_limits_latest(const struct myco_core *core, const struct core_hypha *copy,
    struct myco_slice key, struct myco_table_item *item)
{
    const struct myco_septum_options *options = options_of(core, copy);
    struct myco_table_item applied;
    if (!myco_hypha_latest(copy->hypha, key, item)) return false;
    if (!options || !options->idle_ms) return true;
    if (!myco_table_find(myco_hypha_table(copy->hypha), key, &applied)) return true;
    return applied.version != item->version || !is_idle(copy, options, &applied);
}

/* ── room ── */

struct pick {
    const struct core_hypha *copy;
    bool lru, found;
    uint64_t now_ms, best;
    struct myco_table_item item;
};

/* Higher is the better victim: expired ones first; by usage then age, or by age alone. */
static uint64_t worth(const struct pick *pick, const struct myco_table_item *item)
{
    const struct myco_table *table = myco_hypha_table(pick->copy->hypha);
    uint64_t age = myco_table_idle(table, item), rare = 255;
    if (item->expires_ms && item->expires_ms <= pick->now_ms) return UINT64_MAX;
    if (!pick->lru) rare -= myco_table_usage(table, item, USAGE_DECAY);
    return rare << 32 | age;
}

static bool consider(const struct myco_table_item *item, void *data)
{
    struct pick *pick = data;
    struct myco_table_item latest;
    uint64_t value = worth(pick, item);
    if (pick->found && value <= pick->best) return true;
    myco_hypha_latest(pick->copy->hypha, item->key, &latest);
    if (latest.version != item->version) return true; /* something is under way */
    pick->found = true;
    pick->best = value;
    pick->item = *item;
    return true;
}

static uint32_t roll(struct core_hypha *copy) /* xorshift, 32 bits */
{
    uint32_t x = copy->dice ? copy->dice : copy->index + 1;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return copy->dice = x;
}

static bool evict(
    struct myco_core *core, struct core_hypha *copy, const struct myco_septum_options *options)
{
    struct pick pick = {
        .copy = copy, .lru = options->eviction == MYCO_EVICT_LRU, .now_ms = core_expiry_now(copy)};
    myco_table_sample(myco_hypha_table(copy->hypha), roll(copy), SAMPLE, consider, &pick);
    if (!pick.found || drop(core, copy, &pick.item, false)) return false;
    core_use(core, copy->septum)->evictions++;
    MYCO_METRIC_ADD(core->env->metrics, EVICTIONS, 1);
    return true;
}

static uint64_t part(uint64_t whole, const struct myco_septum_options *options)
{
    return whole / options->hyphae + (whole % options->hyphae != 0);
}

static bool over(const struct core_hypha *copy, const struct myco_septum_options *options,
    int64_t bytes, int count)
{
    const struct myco_table *table = myco_hypha_table(copy->hypha);
    int64_t size = (int64_t)myco_table_bytes(table) + copy->claimed_bytes + bytes;
    int64_t entries = (int64_t)myco_table_count(table) + copy->claimed_count + count;
    return (options->size_max && size > (int64_t)part(options->size_max, options)) ||
           (options->entries_max && entries > (int64_t)part(options->entries_max, options));
}

/* What it adds; nothing when its condition will refuse it. */
static void measure(const struct core_hypha *copy, const struct myco_write *write,
    const struct myco_table_item *latest, struct core_claim *claim)
{
    const struct myco_table *table = myco_hypha_table(copy->hypha);
    bool put = write->op == MYCO_OP_PUT;
    if (write->if_absent && latest) return;
    if (write->if_version && (!latest || latest->version != write->if_version)) return;
    if (put)
        claim->bytes +=
            (int64_t)myco_table_cost(table, write->key.size, write->value.size, write->expires_ms);
    if (latest)
        claim->bytes -= (int64_t)myco_table_cost(
            table, latest->key.size, latest->value.size, latest->expires_ms);
    claim->entries = put - (latest != NULL);
}

static int refuse(struct myco_core *core, struct core_hypha *copy, int status)
{
    copy->full = status == MYCO_ENOSPC;
    core_use(core, copy->septum)->refused++;
    return status;
}

static int make_room(struct myco_core *core, struct core_hypha *copy,
    const struct myco_septum_options *options, const struct core_claim *claim)
{
    if (claim->bytes <= 0 && claim->entries <= 0) return 0;
    if (options->size_max && claim->bytes > (int64_t)part(options->size_max, options))
        return refuse(core, copy, MYCO_ETOOBIG);
    for (unsigned i = 0; over(copy, options, claim->bytes, claim->entries); i++) {
        if (!evicts(options)) return refuse(core, copy, MYCO_ENOSPC);
        if (i == VICTIMS_MAX || !evict(core, copy, options)) return MYCO_EFULL;
    }
    copy->full = false;
    return 0;
}

static void drop_idle(struct myco_core *core, struct core_hypha *copy,
    const struct myco_septum_options *options, struct myco_slice key)
{
    struct myco_table_item item, latest;
    if (!myco_table_find(myco_hypha_table(copy->hypha), key, &item) ||
        !is_idle(copy, options, &item))
        return;
    bool same = myco_hypha_latest(copy->hypha, key, &latest) && latest.version == item.version;
    if (!same || drop(core, copy, &item, true)) return;
    core_use(core, copy->septum)->expirations++;
}

static bool is_applied(const struct core_hypha *copy, const struct myco_table_item *latest)
{
    struct myco_table_item item;
    return latest->version && myco_table_find(myco_hypha_table(copy->hypha), latest->key, &item) &&
           item.version == latest->version;
}

int core_limits_claim(struct myco_core *core, struct core_hypha *copy,
    const struct myco_write *write, struct core_claim *claim)
{
    const struct myco_septum_options *options = options_of(core, copy);
    struct myco_table_item latest;
    *claim = (struct core_claim){.septum = copy->septum, .hypha = copy->index};
    if (!options || write->look || write->op == MYCO_OP_NOOP || !write->key.size) return 0;
    if (!myco_table_hinted(myco_hypha_table(copy->hypha))) keep_hints(copy, options);
    if (options->value_max && write->value.size > options->value_max)
        return refuse(core, copy, MYCO_ETOOBIG);
    bool of_ours = write->op == MYCO_OP_DEL && (write->if_version || write->if_expired);
    if (options->idle_ms && !of_ours) drop_idle(core, copy, options, write->key);
    if (!limited(options)) return 0;
    bool there = myco_hypha_latest(copy->hypha, write->key, &latest) ||
                 (write->if_expired && is_applied(copy, &latest));
    if (!there && write->op != MYCO_OP_PUT) return 0;
    measure(copy, write, there ? &latest : NULL, claim);
    int rc = make_room(core, copy, options, claim);
    if (rc) return rc;
    copy->claimed_bytes += claim->bytes;
    copy->claimed_count += claim->entries;
    return 0;
}

void core_limits_release(struct myco_core *core, const struct core_claim *claim)
{
    if (!claim->bytes && !claim->entries) return;
    struct core_hypha *copy = core_hypha_find(core, claim->septum, claim->hypha);
    if (!copy) return;
    copy->claimed_bytes -= claim->bytes;
    copy->claimed_count -= claim->entries;
}

/* ── now and then ── */

struct idlers {
    const struct core_hypha *copy;
    const struct myco_septum_options *options;
    struct myco_buf keys;
    uint32_t count;
};

static bool collect(const struct myco_table_item *item, void *data)
{
    struct idlers *idlers = data;
    if (!is_idle(idlers->copy, idlers->options, item)) return true;
    myco_buf_slice(&idlers->keys, item->key);
    return ++idlers->count < IDLE_DROPS_MAX;
}

static void sweep_idle(
    struct myco_core *core, struct core_hypha *copy, const struct myco_septum_options *options)
{
    struct idlers idlers = {.copy = copy, .options = options};
    copy->use_at = myco_table_sample(
        myco_hypha_table(copy->hypha), copy->use_at, IDLE_LOOKED_AT, collect, &idlers);
    struct myco_reader in = myco_reader(idlers.keys.data, idlers.keys.size);
    while (myco_read_left(&in) && !in.bad) drop_idle(core, copy, options, myco_read_slice(&in));
    myco_buf_free(&idlers.keys);
}

void core_limits_tick(struct myco_core *core, struct core_hypha *copy)
{
    const struct myco_septum_options *options = options_of(core, copy);
    if (!options) return;
    keep_hints(copy, options);
    if (copy->loading_epoch || !myco_hypha_serving(copy->hypha)) {
        copy->used_since_ms = core_expiry_now(copy);
        return;
    }
    if (options->idle_ms) sweep_idle(core, copy, options);
    for (unsigned i = 0; evicts(options) && i < VICTIMS_MAX && over(copy, options, 0, 0); i++)
        if (!evict(core, copy, options)) break;
}

/* ── shown ── */

void core_limits_why(const struct myco_core *core, uint64_t id, uint32_t hypha, int status,
    char *message, size_t size)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, id);
    struct core_hypha *copy = core_hypha_find((struct myco_core *)core, id, hypha);
    if (!septum) return;
    const struct myco_septum_options *options = &septum->options;
    if (status == MYCO_ENOSPC && copy && copy->full && limited(options))
        snprintf(message, size,
            "the septum %s is full in hypha %u: delete, or raise its limits (pulse septum alter)",
            septum->name, hypha);
    else if (status == MYCO_ETOOBIG && (options->value_max || options->size_max))
        snprintf(message, size, "too large for the septum %s: see its options value_size and size",
            septum->name);
}

void core_limits_sum(
    const struct myco_core *core, uint64_t septum, uint64_t *entries, uint64_t *bytes)
{
    *entries = *bytes = 0;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) {
        if (copy->septum != septum || !myco_hypha_serving(copy->hypha)) continue;
        *entries += myco_table_count(myco_hypha_table(copy->hypha));
        *bytes += myco_table_bytes(myco_hypha_table(copy->hypha));
    }
}
