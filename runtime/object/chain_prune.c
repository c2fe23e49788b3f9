/* Manifests that newer ones replaced: they are the history from which a point in time can be
 * restored, for as long as what they name is kept, and go after that.
 *
 * No list of them is carried: a manifest is replaced as soon as another follows it. Of each epoch
 * the claim stays, and whatever is last, which is its seal, or our newest. Those that go were
 * replaced PRUNE_AHEAD_MS less than the grace ago, by the store's clock: a little before the first
 * object that they name may go, so that none is ever named by a manifest and not there. */
#include "base/mem.h"
#include "object/chain_private.h"

#define PRUNE_AHEAD_MS (2 * 60 * 1000)
#define PRUNE_MAX      1000 /* of one call; the next one goes on */

static void prune_next(struct chain_task *task);

static void gone(struct chain_task *task)
{
    if (task->status != 0 || task->chain->fenced || ++task->tries >= PRUNE_MAX)
        myco__chain_finish(task, 0, "", NULL);
    else
        prune_next(task);
}

static bool is_replaced(const struct chain_task *task, size_t at)
{
    const struct chain_entry *entry = &task->entries[at], *next = entry + 1;
    uint64_t grace_ms = task->chain->grace_ms;
    grace_ms -= grace_ms < PRUNE_AHEAD_MS ? grace_ms : PRUNE_AHEAD_MS;
    return entry->sequence > 0 && entry->epoch <= task->chain->epoch &&
           at + 1 < task->entry_count && next->epoch == entry->epoch &&
           next->modified_ms <= task->now_ms && task->now_ms - next->modified_ms >= grace_ms;
}

/* Oldest first, so that what is left is always a chain without a gap. */
static void prune_next(struct chain_task *task)
{
    while (task->at < task->entry_count && !is_replaced(task, task->at)) task->at++;
    if (task->at == task->entry_count) {
        myco__chain_finish(task, 0, "", NULL);
        return;
    }
    const struct chain_entry *entry = &task->entries[task->at++];
    char key[64];
    myco_manifest_key(key, entry->epoch, entry->sequence);
    myco__chain_del(task, key, gone);
}

static void listed(struct chain_task *task)
{
    if (task->status != 0) {
        myco__chain_finish(task, 0, "", NULL);
        return;
    }
    for (size_t i = 0; i < task->entry_count; i++)
        if (task->entries[i].modified_ms > task->now_ms)
            task->now_ms = task->entries[i].modified_ms;
    task->at = 0;
    prune_next(task);
}

void myco_chain_prune(struct myco_chain *chain)
{
    if (chain->pruning || chain->fenced || chain->epoch == 0) return;
    struct chain_task *task = myco__chain_task(chain, NULL, NULL, NULL);
    task->flag = &chain->pruning;
    chain->pruning = true;
    myco__chain_list(task, "m/", listed);
}
