/* What may be deleted, and when: keys that a committed manifest of ours lists as dropped, after a
 * later one is committed, once the store's clock says that the grace is over. Until then each
 * manifest carries them on, so that whoever takes over knows them too. */
#include <stdio.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "object/chain_private.h"

static uint64_t key_hash(const char *key)
{
    return myco_hash(key, strlen(key));
}

/* ── Knowing ────────────────────────────────────────────────────────────────────────────────── */

void myco__chain_drops_free(struct myco_chain *chain)
{
    for (size_t i = 0; i < chain->drop_count; i++) myco_free(chain->drops[i].key);
    myco_free(chain->drops);
    chain->drops = NULL;
    chain->drop_count = chain->drop_capacity = 0;
}

static void add_drop(
    struct myco_chain *chain, const char *key, uint64_t sequence, uint64_t since_ms)
{
    if (chain->drop_count == chain->drop_capacity) {
        chain->drop_capacity = chain->drop_capacity > 0 ? 2 * chain->drop_capacity : 16;
        chain->drops = myco_realloc(chain->drops, chain->drop_capacity * sizeof(*chain->drops));
    }
    chain->drops[chain->drop_count++] = (struct chain_drop){myco_strdup(key), sequence, since_ms};
}

static void index_drops(const struct myco_chain *chain, struct myco_map *map)
{
    for (size_t i = 0; i < chain->drop_count; i++) {
        myco_map_put(map, key_hash(chain->drops[i].key), chain->drops[i].key);
    }
}

static bool holds(const struct myco_map *map, const char *key)
{
    const char *there = myco_map_get(map, key_hash(key));
    return there != NULL && strcmp(there, key) == 0;
}

void myco__chain_drops_add(struct myco_chain *chain, const struct myco_manifest *manifest,
    uint64_t sequence, uint64_t since_ms)
{
    struct myco_map known = {0};
    index_drops(chain, &known);
    for (uint32_t i = 0; i < manifest->dropped_count; i++) {
        if (!holds(&known, manifest->dropped[i]))
            add_drop(chain, manifest->dropped[i], sequence, since_ms);
    }
    myco_map_free(&known);
}

bool myco_chain_dropped(const struct myco_chain *chain, const char *key)
{
    for (size_t i = 0; i < chain->drop_count; i++)
        if (strcmp(chain->drops[i].key, key) == 0) return true;
    return false;
}

static void append_drops(const struct myco_chain *chain, struct myco_manifest *manifest)
{
    struct myco_map listed = {0};
    for (uint32_t i = 0; i < manifest->dropped_count; i++) {
        myco_map_put(&listed, key_hash(manifest->dropped[i]), manifest->dropped[i]);
    }
    size_t count = manifest->dropped_count + chain->drop_count;
    manifest->dropped = myco_realloc(manifest->dropped, count * sizeof(char *));
    for (size_t i = 0; i < chain->drop_count; i++) {
        if (holds(&listed, chain->drops[i].key)) continue;
        manifest->dropped[manifest->dropped_count++] = myco_strdup(chain->drops[i].key);
    }
    myco_map_free(&listed);
}

int myco__chain_drops_carry(
    const struct myco_chain *chain, struct myco_manifest *manifest, struct myco_err *err)
{
    struct myco_map gone = {0};
    const char *named = NULL;
    if (chain->drop_count > 0) append_drops(chain, manifest);
    for (uint32_t i = 0; i < manifest->dropped_count; i++) {
        myco_map_put(&gone, key_hash(manifest->dropped[i]), manifest->dropped[i]);
    }
    for (uint32_t i = 0; i < manifest->object_count && named == NULL; i++) {
        if (holds(&gone, manifest->objects[i].key)) named = manifest->objects[i].key;
    }
    myco_map_free(&gone);
    if (named != NULL)
        return myco_err(err, MYCO_EINVAL, "%.150s was dropped, and is named again", named);
    if (manifest->dropped_count <= MYCO_CHAIN_DROPS_MAX) return 0;
    return myco_err(err, MYCO_EFULL, "%u objects wait for their deletion", manifest->dropped_count);
}

/* ── Deleting ───────────────────────────────────────────────────────────────────────────────────
 * One after the other; what fails stays for the next time. task->at goes down through the drops. */

static void collect_next(struct chain_task *task);

static void finish(struct chain_task *task)
{
    myco__chain_finish(task, 0, "", NULL);
}

static void deleted(struct chain_task *task)
{
    struct myco_chain *chain = task->chain;
    if (task->status == 0) {
        myco_free(chain->drops[task->at].key);
        chain->drops[task->at] = chain->drops[--chain->drop_count];
    }
    collect_next(task);
}

/* A manifest goes only if it is one: a seal keeps an old writer out for ever. What can't be read
 * stays. */
static void manifest_read(struct chain_task *task)
{
    bool ordinary = task->status == 0 && !task->found.seal;
    if (ordinary)
        myco__chain_del(task, task->chain->drops[task->at].key, deleted);
    else
        collect_next(task);
}

static bool is_due(const struct chain_task *task, const struct chain_drop *drop)
{
    const struct myco_chain *chain = task->chain;
    bool earlier = drop->sequence + 1 < chain->next_sequence;
    return earlier && drop->since_ms <= task->now_ms &&
           task->now_ms - drop->since_ms >= chain->grace_ms;
}

/* New drops are only ever added at the end, above task->at. */
static void collect_next(struct chain_task *task)
{
    struct myco_chain *chain = task->chain;
    uint64_t epoch, sequence;
    while (task->at > 0 && !is_due(task, &chain->drops[task->at - 1])) task->at--;
    if (task->at == 0 || chain->fenced) {
        finish(task);
        return;
    }
    const char *key = chain->drops[--task->at].key;
    if (!myco_manifest_key_parse(key, &epoch, &sequence)) {
        myco__chain_del(task, key, deleted);
    } else if (strcmp(key, chain->last_key) == 0) {
        collect_next(task);
    } else {
        myco__chain_read(task, key, manifest_read);
    }
}

/* The time of our newest manifest is the store's clock, as near as we can read it. */
static void clock_read(struct chain_task *task)
{
    struct myco_chain *chain = task->chain;
    if (task->status != 0 || task->entry_count != 1) {
        finish(task);
        return;
    }
    task->now_ms = task->entries[0].modified_ms;
    for (size_t i = 0; i < chain->drop_count; i++) {
        if (chain->drops[i].since_ms == 0) chain->drops[i].since_ms = task->now_ms;
    }
    task->at = chain->drop_count;
    collect_next(task);
}

void myco__chain_collect(struct myco_chain *chain)
{
    if (chain->collecting || chain->drop_count == 0) return;
    struct chain_task *task = myco__chain_task(chain, NULL, NULL, NULL);
    task->flag = &chain->collecting;
    chain->collecting = true;
    myco__chain_list(task, chain->last_key, clock_read);
}
