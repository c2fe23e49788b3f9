/* Looking for the newest manifest: just to read it, or to take over.
 *
 * Keys sort as (epoch, sequence), so the walk goes from the end of the listing towards its
 * beginning, chain by chain. A take-over has put its claim before it lists. It seals each older
 * chain, and stops at the first one that has (or had) a manifest: that one's writer sealed all that
 * are older before it wrote, and whoever claimed an older epoch later sees the newer claim and
 * gives up. So it reads two or three objects, however many epochs there were.
 *
 *   m/3/0 m/3/1 m/3/2 m/3/3    m/5/0 m/5/1    m/7/0
 *   claim  man.  man.  seal    claim  seal    claim (ours)
 *                 └ newest; stop       └ no manifest: on to the next older chain */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "object/chain_private.h"

/* ── Only reading ───────────────────────────────────────────────────────────────────────────── */

static void latest_listed(struct chain_task *task);

/* What was listed and is gone: its successor is there, and the next listing shows it. */
static void list_again(struct chain_task *task)
{
    if (++task->tries <= MYCO_CHAIN_TRIES_MAX)
        myco__chain_list(task, "m/", latest_listed);
    else
        myco__chain_fail(task, MYCO_EUNAVAILABLE, "the store's listing keeps changing");
}

static void latest_next(struct chain_task *task);

static bool says_its_key(const struct chain_task *task, uint64_t epoch, uint64_t sequence)
{
    return task->found.epoch == epoch && task->found.sequence == sequence;
}

static void latest_read(struct chain_task *task)
{
    const struct chain_entry *entry = &task->entries[task->at];
    if (task->status == MYCO_ENOTFOUND) {
        list_again(task);
    } else if (task->status != 0) {
        myco__chain_finish(task, task->status, task->message, NULL);
    } else if (!says_its_key(task, entry->epoch, entry->sequence)) {
        myco__chain_fail(task, MYCO_ECORRUPT, "%s says that it is another", task->key);
    } else if (task->found.seal) {
        latest_next(task);
    } else {
        myco__chain_finish(task, 0, "", &task->found);
    }
}

static void latest_next(struct chain_task *task)
{
    char key[64];
    while (task->at > 0 && task->entries[task->at - 1].sequence == 0) task->at--; /* claims */
    if (task->at == 0) {
        myco__chain_finish(task, 0, "", NULL);
        return;
    }
    const struct chain_entry *entry = &task->entries[--task->at];
    myco_manifest_key(key, entry->epoch, entry->sequence);
    myco__chain_read(task, key, latest_read);
}

static void latest_listed(struct chain_task *task)
{
    if (task->status != 0)
        myco__chain_finish(task, task->status, task->message, NULL);
    else
        latest_next(task);
}

void myco_chain_latest(struct myco_chain *chain, myco_chain_cb cb, void *data)
{
    myco__chain_list(myco__chain_task(chain, cb, NULL, data), "m/", latest_listed);
}

/* ── Taking over ────────────────────────────────────────────────────────────────────────────── */

static void next_chain(struct chain_task *task);

static void fenced(struct chain_task *task, uint64_t by)
{
    task->chain->fenced = true;
    myco__chain_fail(
        task, MYCO_EFENCED, "epoch %" PRIu64 " is fenced by epoch %" PRIu64, task->epoch, by);
}

/* The newest manifest, if any, is in task->newest. */
static void taken_over(struct chain_task *task)
{
    struct myco_chain *chain = task->chain;
    struct myco_manifest *newest = &task->newest;
    bool own = newest->epoch == task->epoch;
    chain->epoch = task->epoch;
    chain->next_sequence = own ? newest->sequence + 1 : 1;
    chain->last_key[0] = '\0';
    if (newest->epoch > 0) myco_manifest_key(chain->last_key, newest->epoch, newest->sequence);
    myco__chain_drops_add(chain, newest, own ? newest->sequence : 0, task->newest_ms);
    myco__chain_finish(task, 0, "", newest->epoch > 0 ? newest : NULL);
}

static uint64_t listed_ms(const struct chain_task *task, uint64_t epoch, uint64_t sequence)
{
    for (size_t i = 0; i < task->entry_count; i++) {
        const struct chain_entry *entry = &task->entries[i];
        if (entry->epoch == epoch && entry->sequence == sequence) return entry->modified_ms;
    }
    return 0;
}

static void keep_newest(struct chain_task *task)
{
    myco_manifest_free(&task->newest);
    task->newest = task->found;
    memset(&task->found, 0, sizeof(task->found));
    task->newest_ms = listed_ms(task, task->newest.epoch, task->newest.sequence);
}

static void take_over_listed(struct chain_task *task);

/* What was listed is gone: its writer went on, and dropped it; or somebody newer did. The listing
 * says. */
static void look_again(struct chain_task *task)
{
    myco_manifest_free(&task->newest);
    if (++task->tries <= MYCO_CHAIN_TRIES_MAX)
        myco__chain_list(task, "m/", take_over_listed);
    else
        myco__chain_fail(task, MYCO_ECORRUPT, "%s is missing", task->key);
}

/* False: what was read is not what its key says, or could not be read: it ended here, or starts
 * again. */
static bool readable(struct chain_task *task, uint64_t sequence)
{
    if (task->status == MYCO_ENOTFOUND) {
        look_again(task);
    } else if (task->status != 0) {
        myco__chain_finish(task, task->status, task->message, NULL);
    } else if (!says_its_key(task, task->walk_epoch, sequence)) {
        myco__chain_fail(task, MYCO_ECORRUPT, "%s says that it is another", task->key);
    } else {
        return true;
    }
    return false;
}

static void before_seal_read(struct chain_task *task)
{
    if (!readable(task, task->seal_sequence - 1)) return;
    if (task->found.seal) {
        myco__chain_fail(task, MYCO_ECORRUPT, "%s is a seal before a seal", task->key);
        return;
    }
    keep_newest(task);
    taken_over(task);
}

/* This chain ends at seal_sequence: the manifest before it is the newest, if it has one. */
static void chain_sealed(struct chain_task *task)
{
    char key[64];
    uint64_t last = task->seal_sequence - 1;
    if (last == 0) {
        next_chain(task);
    } else if (task->newest.epoch == task->walk_epoch && task->newest.sequence == last) {
        taken_over(task);
    } else {
        myco_manifest_key(key, task->walk_epoch, last);
        myco__chain_read(task, key, before_seal_read);
    }
}

static void put_seal(struct chain_task *task);

/* In the way of our seal, or last in the listing: a seal of somebody else, or a manifest, after
 * which ours goes. */
static void meet(struct chain_task *task)
{
    if (task->found.seal && task->found.sealed_by > task->epoch) {
        fenced(task, task->found.sealed_by);
    } else if (task->found.seal) {
        chain_sealed(task);
    } else {
        keep_newest(task);
        task->seal_sequence++;
        put_seal(task);
    }
}

static void seal_put(struct chain_task *task)
{
    if (task->status == 0)
        chain_sealed(task);
    else if (task->status != MYCO_EEXISTS)
        myco__chain_finish(task, task->status, task->message, NULL);
    else
        meet(task);
}

static void put_seal(struct chain_task *task)
{
    char key[64];
    struct myco_manifest seal = {.seal = true,
        .sealed_by = task->epoch,
        .epoch = task->walk_epoch,
        .sequence = task->seal_sequence};
    myco_manifest_key(key, seal.epoch, seal.sequence);
    myco__chain_put(task, key, &seal, seal_put);
}

/* Of a chain that is older than ours: is it sealed? */
static void last_read(struct chain_task *task)
{
    if (readable(task, task->seal_sequence)) meet(task);
}

/* Of our own chain, taken over again after an error. */
static void own_read(struct chain_task *task)
{
    if (!readable(task, task->seal_sequence)) return;
    if (task->found.seal) {
        fenced(task, task->found.sealed_by);
        return;
    }
    keep_newest(task);
    taken_over(task);
}

/* The next older chain: all entries of one epoch. seal_sequence is its last one until it is known
 * to be sealed. */
static void next_chain(struct chain_task *task)
{
    if (task->at == 0) {
        taken_over(task);
        return;
    }
    const struct chain_entry *last = &task->entries[task->at - 1];
    task->walk_epoch = last->epoch;
    task->seal_sequence = last->sequence;
    while (task->at > 0 && task->entries[task->at - 1].epoch == task->walk_epoch) task->at--;
    bool own = task->walk_epoch == task->epoch;
    if (task->seal_sequence == 0) {
        task->seal_sequence = 1;
        if (own)
            next_chain(task);
        else
            put_seal(task);
        return;
    }
    char key[64];
    myco_manifest_key(key, task->walk_epoch, task->seal_sequence);
    myco__chain_read(task, key, own ? own_read : last_read);
}

static void take_over_listed(struct chain_task *task)
{
    if (task->status != 0) {
        myco__chain_finish(task, task->status, task->message, NULL);
        return;
    }
    uint64_t newest = task->at > 0 ? task->entries[task->at - 1].epoch : 0;
    if (newest > task->epoch)
        fenced(task, newest);
    else
        next_chain(task);
}

/* An own claim of an earlier attempt is as good. */
static void claim_put(struct chain_task *task)
{
    bool own = task->status == MYCO_EEXISTS && myco__chain_is_own(task->chain, task->found.nonce);
    if (task->status == 0 || own) {
        myco__chain_list(task, "m/", take_over_listed);
    } else if (task->status == MYCO_EEXISTS) {
        task->chain->fenced = true;
        myco__chain_fail(
            task, MYCO_EFENCED, "epoch %" PRIu64 " is claimed by another writer", task->epoch);
    } else {
        myco__chain_finish(task, task->status, task->message, NULL);
    }
}

void myco_chain_take_over(struct myco_chain *chain, uint64_t epoch, myco_chain_cb cb, void *data)
{
    struct chain_task *task = myco__chain_task(chain, cb, NULL, data);
    struct myco_manifest claim = {.seal = true, .sealed_by = epoch, .epoch = epoch};
    char key[64];
    task->epoch = epoch;
    if (epoch == 0 || epoch < chain->epoch) {
        myco__chain_fail_later(task, MYCO_EINVAL, "an epoch of a chain only rises, from 1");
        return;
    }
    if (chain->taking_over || chain->writing) {
        myco__chain_fail_later(task, MYCO_EBUSY, "another call on the chain is under way");
        return;
    }
    task->flag = &chain->taking_over;
    chain->taking_over = true;
    if (epoch > chain->epoch) chain->fenced = false;
    myco_manifest_key(key, epoch, 0);
    myco__chain_put(task, key, &claim, claim_put);
}
