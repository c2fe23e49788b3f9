/* The chain's one writer: manifests one after the other, and incarnations. */
#include "object/chain.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "object/chain_private.h"

struct myco_chain *myco_chain_new(struct myco_object *store)
{
    struct myco_chain *chain = myco_alloc(sizeof(*chain));
    chain->store = store;
    chain->grace_ms = MYCO_CHAIN_GRACE_MS;
    chain->nonce_first = myco_random_u64(store->env) & ~(uint64_t)0xfffff;
    chain->next_sequence = 1;
    myco_list_init(&chain->tasks);
    return chain;
}

void myco_chain_set_grace(struct myco_chain *chain, uint64_t grace_ms)
{
    chain->grace_ms = grace_ms;
}

void myco_chain_free(struct myco_chain *chain)
{
    if (chain == NULL) return;
    while (!myco_list_empty(&chain->tasks)) {
        myco__chain_task_cancel(MYCO_CONTAINER(chain->tasks.next, struct chain_task, link));
    }
    myco__chain_drops_free(chain);
    myco_free(chain);
}

/* ── Writing ────────────────────────────────────────────────────────────────────────────────── */

static void written(struct chain_task *task);

/* The manifest goes to the next sequence, behind the last one that is known to be there. */
static void write_next(struct chain_task *task)
{
    struct myco_chain *chain = task->chain;
    char key[64];
    task->own.sequence = chain->next_sequence;
    myco_free(task->own.previous);
    task->own.previous = myco_strdup(chain->last_key);
    myco_manifest_key(key, chain->epoch, chain->next_sequence);
    myco__chain_put(task, key, &task->own, written);
}

static void committed(struct myco_chain *chain, const struct myco_manifest *manifest)
{
    myco_manifest_key(chain->last_key, chain->epoch, chain->next_sequence);
    myco__chain_drops_add(chain, manifest, chain->next_sequence, 0);
    chain->next_sequence++;
}

/* An attempt of which we never heard the end is there: it counts, and this one goes behind it. */
static void write_behind(struct chain_task *task)
{
    struct myco_err err = {0};
    committed(task->chain, &task->found);
    if (myco__chain_drops_carry(task->chain, &task->own, &err) != 0)
        myco__chain_finish(task, err.code, err.message, NULL);
    else
        write_next(task);
}

static void write_fenced(struct chain_task *task)
{
    char message[160];
    task->chain->fenced = true;
    if (task->found.seal) {
        snprintf(message, sizeof(message), "epoch %" PRIu64 " was sealed by epoch %" PRIu64,
            task->own.epoch, task->found.sealed_by);
    } else {
        snprintf(message, sizeof(message), "%s was written by another writer of the same epoch",
            task->key);
    }
    myco__chain_finish(task, MYCO_EFENCED, message, NULL);
}

static void written(struct chain_task *task)
{
    struct myco_chain *chain = task->chain;
    if (task->status == 0) {
        committed(chain, &task->own);
        MYCO_METRIC_ADD(chain->store->env->metrics, MANIFESTS, 1);
        myco__chain_collect(chain);
        myco__chain_finish(task, 0, "", NULL);
    } else if (task->status != MYCO_EEXISTS) {
        myco__chain_finish(task, task->status, task->message, NULL);
    } else if (!task->found.seal && myco__chain_is_own(chain, task->found.nonce)) {
        write_behind(task);
    } else {
        write_fenced(task);
    }
}

static int check_writer(const struct myco_chain *chain, struct myco_err *err)
{
    if (chain->writing || chain->taking_over) {
        return myco_err(err, MYCO_EBUSY, "another call on the chain is under way");
    }
    if (chain->fenced)
        return myco_err(err, MYCO_EFENCED, "epoch %" PRIu64 " is fenced", chain->epoch);
    if (chain->epoch == 0) return myco_err(err, MYCO_ENOTLEADER, "the chain was not taken over");
    return 0;
}

static void fill_in(const struct myco_chain *chain, struct myco_manifest *manifest)
{
    manifest->seal = false;
    manifest->epoch = chain->epoch;
    manifest->sequence = chain->next_sequence;
    manifest->written_ms = chain->store->env->ops->wall_ms(chain->store->env);
    myco_free(manifest->previous);
    manifest->previous = myco_strdup(chain->last_key);
}

/* A copy of our own, by encoding and decoding: what is written can be read. */
static int copy_manifest(
    struct chain_task *task, const struct myco_manifest *manifest, struct myco_err *err)
{
    myco_manifest_encode(manifest, &task->bytes);
    if (task->bytes.failed) return myco_err(err, MYCO_ENOMEM, "no memory for a manifest");
    int status = myco_manifest_decode(&task->own, myco_buf_as_slice(&task->bytes), err);
    return status == MYCO_ECORRUPT ? myco_err(err, MYCO_EINVAL, "%.200s", err->message) : status;
}

void myco_chain_write(
    struct myco_chain *chain, struct myco_manifest *manifest, myco_object_cb cb, void *data)
{
    struct chain_task *task = myco__chain_task(chain, NULL, cb, data);
    struct myco_err err = {0};
    int status = check_writer(chain, &err);
    if (status == 0) {
        fill_in(chain, manifest);
        status = copy_manifest(task, manifest, &err);
    }
    if (status == 0) status = myco__chain_drops_carry(chain, &task->own, &err);
    if (status != 0) {
        myco__chain_fail_later(task, status, err.message);
        return;
    }
    task->flag = &chain->writing;
    chain->writing = true;
    write_next(task);
    manifest->nonce = task->own.nonce;
}

/* ── Incarnations ───────────────────────────────────────────────────────────────────────────── */

static void claim_next(struct chain_task *task);

static void claim_put(struct chain_task *task)
{
    if (task->status == 0) {
        struct myco_manifest answer = {.incarnation = task->own.incarnation};
        myco__chain_finish(task, 0, "", &answer);
    } else if (task->status != MYCO_EEXISTS) {
        myco__chain_finish(task, task->status, task->message, NULL);
    } else if (++task->tries > MYCO_CHAIN_TRIES_MAX) {
        myco__chain_fail(task, MYCO_EUNAVAILABLE, "others keep claiming incarnations");
    } else {
        claim_next(task);
    }
}

static void claim_next(struct chain_task *task)
{
    char key[64];
    task->own.seal = true;
    task->own.incarnation++;
    snprintf(key, sizeof(key), "cluster/%" PRIu64, task->own.incarnation);
    myco__chain_put(task, key, &task->own, claim_put);
}

static void claim_last_read(struct chain_task *task)
{
    if (task->status != 0) {
        myco__chain_finish(task, task->status, task->message, NULL);
    } else if (task->found.cluster != task->own.cluster) {
        myco__chain_fail(
            task, MYCO_EWRONGCLUSTER, "the store belongs to another cluster (%s)", task->key);
    } else {
        claim_next(task);
    }
}

static void claim_listed(struct chain_task *task)
{
    char key[64];
    task->own.incarnation = task->number_max;
    snprintf(key, sizeof(key), "cluster/%" PRIu64, task->number_max);
    if (task->status != 0)
        myco__chain_finish(task, task->status, task->message, NULL);
    else if (task->number_max > 0)
        myco__chain_read(task, key, claim_last_read);
    else
        claim_next(task);
}

void myco_chain_claim(struct myco_chain *chain, uint64_t cluster, myco_chain_cb cb, void *data)
{
    struct chain_task *task = myco__chain_task(chain, cb, NULL, data);
    task->own.cluster = cluster;
    myco__chain_list(task, "cluster/", claim_listed);
}
