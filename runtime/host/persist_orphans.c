/* Orphans: data that was uploaded and that no manifest came to name, because its node died between
 * the upload and its word, or was refused.
 *
 * Nobody can vouch for an object any more once the life of the node that uploaded it is over: what
 * a node vouches for, it knows from memory only. So an object is an orphan when the replicated
 * state knows a newer generation of its node (or none of it, or that it left), the newest manifest
 * does not name it, and it is not on the list of what was dropped. It goes after the grace of what
 * was dropped, by the store's clock. Orphans of a life that goes on stay until it ends. */
#include <stdio.h>
#include <string.h>

#include "host/persist.h"

#define ORPHAN_MS   (10 * 60 * 1000) /* also when the grace is shorter: a JOIN may be on its way */
#define ORPHANS_MAX 100              /* deleted at a time */

static bool life_is_over(const struct myco_core *core, uint64_t node, uint64_t generation)
{
    const struct myco_member_record *member = myco_state_member(core->state, node);
    return !member || member->left || member->generation > generation;
}

static bool is_named(const struct core_persist *persist, const char *key)
{
    for (uint32_t i = 0; i < persist->manifest.object_count; i++)
        if (strcmp(persist->manifest.objects[i].key, key) == 0) return true;
    return false;
}

/* d/<node>/<generation>-<counter>; what a restore copied has no such name, and is never one. */
static bool is_orphan(const struct core_persist *persist, const char *key)
{
    unsigned long long node, generation, counter;
    int end = 0;
    if (sscanf(key, "d/%16llx/%llu-%llu%n", &node, &generation, &counter, &end) != 3 || key[end])
        return false;
    return life_is_over(persist->core, node, generation) && !is_named(persist, key) &&
           !myco_chain_dropped(persist->chain, key);
}

static void deleted(int status, const char *message, void *data)
{
    struct core_persist *persist = data;
    (void)message;
    if (status == 0) MYCO_METRIC_ADD(persist->core->env->metrics, STORE_ORPHANS, 1);
}

static void listed(
    int status, const char *message, const struct myco_object_info *infos, size_t count, void *data)
{
    struct core_persist *persist = data;
    uint64_t now = 0;
    unsigned found = 0;
    (void)message;
    persist->looking_for_orphans = false;
    if (status || !persist->chain || !persist->took_over || persist->fenced) return;
    for (size_t i = 0; i < count; i++)
        if (infos[i].modified_ms > now) now = infos[i].modified_ms;
    for (size_t i = 0; i < count && found < ORPHANS_MAX; i++) {
        uint64_t age = now - infos[i].modified_ms;
        bool old = age >= ORPHAN_MS && age >= persist->grace_ms;
        if (!old || !is_orphan(persist, infos[i].key)) continue;
        found++;
        persist->store->ops->del(persist->store, infos[i].key, deleted, persist);
    }
}

void persist_orphans_collect(struct core_persist *persist)
{
    if (persist->looking_for_orphans) return;
    persist->looking_for_orphans = true;
    persist->store->ops->list(persist->store, "d/", listed, persist);
}
