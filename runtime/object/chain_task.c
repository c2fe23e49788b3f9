/* One call on a chain, step by step: what is asked of the store, and what was meant when its answer
 * is unclear. */
#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "object/chain_private.h"

#define NUMBER_MAX (1ull << 48) /* of an incarnation; what is above is not ours */

/* ── Tasks ──────────────────────────────────────────────────────────────────────────────────── */

struct chain_task *myco__chain_task(
    struct myco_chain *chain, myco_chain_cb cb, myco_object_cb done, void *data)
{
    struct chain_task *task = myco_alloc(sizeof(*task));
    task->chain = chain;
    task->cb = cb;
    task->done = done;
    task->data = data;
    myco_list_append(&chain->tasks, &task->link);
    return task;
}

static void free_task(struct chain_task *task)
{
    myco_list_remove(&task->link);
    myco_defer_cancel(&task->deferred);
    myco_manifest_free(&task->found);
    myco_manifest_free(&task->newest);
    myco_manifest_free(&task->own);
    myco_buf_free(&task->bytes);
    myco_free(task->entries);
    myco_free(task);
}

static void call_back(
    struct chain_task *task, int status, const char *message, struct myco_manifest *manifest)
{
    if (task->cb != NULL) task->cb(status, message, manifest, task->data);
    if (task->done != NULL) task->done(status, message, task->data);
}

/* The callback may free the chain: the task is none of its tasks any more. */
void myco__chain_finish(
    struct chain_task *task, int status, const char *message, struct myco_manifest *manifest)
{
    myco_list_remove(&task->link);
    if (task->flag != NULL) *task->flag = false;
    call_back(task, status, message, manifest);
    free_task(task);
}

void myco__chain_fail(struct chain_task *task, int status, const char *format, ...)
{
    char message[252];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    myco__chain_finish(task, status, message, NULL);
}

static void run_failure(void *data)
{
    struct chain_task *task = data;
    myco__chain_finish(task, task->status, task->message, NULL);
}

void myco__chain_fail_later(struct chain_task *task, int status, const char *message)
{
    task->status = status;
    myco_text_copy(task->message, sizeof(task->message), message);
    myco_defer(task->chain->store->env, &task->deferred, run_failure, task);
}

void myco__chain_task_cancel(struct chain_task *task)
{
    myco_list_remove(&task->link);
    task->chain = NULL;
    call_back(task, MYCO_ECANCELED, myco_strerror(MYCO_ECANCELED), NULL);
    if (task->in_store)
        task->cb = NULL, task->done = NULL;
    else
        free_task(task);
}

/* Nonces of one chain are consecutive from a random start: a manifest that we wrote and did not
 * hear of is known again. */
uint64_t myco__chain_nonce(struct myco_chain *chain)
{
    return chain->nonce_first + chain->nonce_count++;
}

bool myco__chain_is_own(const struct myco_chain *chain, uint64_t nonce)
{
    return nonce - chain->nonce_first < chain->nonce_count;
}

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

/* Notes the answer; false: nobody waits for it any more. */
static bool answered(struct chain_task *task, int status, const char *message)
{
    task->in_store = false;
    task->status = status;
    myco_text_copy(task->message, sizeof(task->message), message != NULL ? message : "");
    if (task->chain != NULL) return true;
    free_task(task);
    return false;
}

static void on_read(int status, const char *message, struct myco_buf *bytes, void *data)
{
    struct chain_task *task = data;
    struct myco_err err = {0};
    if (!answered(task, status, message)) return;
    if (status == 0)
        task->status = myco_manifest_decode(&task->found, myco_buf_as_slice(bytes), &err);
    if (err.code != 0)
        snprintf(task->message, sizeof(task->message), "%s: %.150s", task->key, err.message);
    task->next(task);
}

void myco__chain_read(struct chain_task *task, const char *key, chain_step next)
{
    struct myco_object *store = task->chain->store;
    myco_manifest_free(&task->found);
    if (key != task->key) myco_text_copy(task->key, sizeof(task->key), key);
    task->next = next;
    task->in_store = true;
    store->ops->get(store, task->key, 0, 0, on_read, task);
}

static void on_done(int status, const char *message, void *data)
{
    struct chain_task *task = data;
    if (answered(task, status, message)) task->next(task);
}

void myco__chain_del(struct chain_task *task, const char *key, chain_step next)
{
    struct myco_object *store = task->chain->store;
    task->next = next;
    task->in_store = true;
    store->ops->del(store, key, on_done, task);
}

static void take_entry(struct chain_task *task, const struct myco_object_info *info)
{
    struct chain_entry entry = {.modified_ms = info->modified_ms};
    uint64_t number;
    if (myco_manifest_key_parse(info->key, &entry.epoch, &entry.sequence)) {
        task->entries[task->entry_count++] = entry;
    } else if (strncmp(info->key, "cluster/", 8) == 0 &&
               myco_text_u64(info->key + 8, &number, NULL) == 0) {
        if (number > task->number_max && number < NUMBER_MAX) task->number_max = number;
    }
}

static void on_list(
    int status, const char *message, const struct myco_object_info *infos, size_t count, void *data)
{
    struct chain_task *task = data;
    if (!answered(task, status, message)) return;
    myco_free(task->entries);
    task->entry_count = 0;
    task->number_max = 0;
    task->entries = myco_try_alloc((count + 1) * sizeof(*task->entries));
    if (task->entries == NULL) task->status = MYCO_ENOMEM;
    if (task->status == 0) {
        for (size_t i = 0; i < count; i++) take_entry(task, &infos[i]);
    }
    task->at = task->entry_count;
    task->next(task);
}

void myco__chain_list(struct chain_task *task, const char *prefix, chain_step next)
{
    struct myco_object *store = task->chain->store;
    task->next = next;
    task->in_store = true;
    store->ops->list(store, prefix, on_list, task);
}

/* ── A put that happens once ────────────────────────────────────────────────────────────────────
 *
 *   put if absent ── 0 ──> ours
 *        └── anything else ──> get ── our nonce ──────> ours after all
 *                               ├──── another's ──────> EEXISTS
 *                               └──── nothing there ──> what the put said: it may yet happen
 *
 * A store without put-if-absent is asked first (its one writer is declared: rule 21). */

static void judge(struct chain_task *task)
{
    if (task->status == 0 && task->found.nonce != task->nonce) {
        task->status = MYCO_EEXISTS;
    } else if (task->status == MYCO_ENOTFOUND) {
        task->status = task->put_status == MYCO_EEXISTS ? MYCO_EUNKNOWN : task->put_status;
        myco_text_copy(task->message, sizeof(task->message), task->put_message);
    }
    task->after_put(task);
}

static void after_answer(struct chain_task *task)
{
    task->put_status = task->status;
    myco_text_copy(task->put_message, sizeof(task->put_message), task->message);
    bool known =
        task->status == 0 || task->status == MYCO_ECANCELED; /* the store is being closed */
    if (known)
        task->after_put(task);
    else
        myco__chain_read(task, task->key, judge);
}

static void put_bytes(struct chain_task *task)
{
    struct myco_object *store = task->chain->store;
    int flags = store->ops->put_if_absent ? MYCO_OBJECT_IF_ABSENT : 0;
    task->next = after_answer;
    task->in_store = true;
    store->ops->put(store, task->key, myco_buf_as_slice(&task->bytes), flags, on_done, task);
}

static void put_unless_there(struct chain_task *task)
{
    if (task->status == MYCO_ENOTFOUND)
        put_bytes(task);
    else
        judge(task);
}

static void run_after_put(void *data)
{
    struct chain_task *task = data;
    task->after_put(task);
}

void myco__chain_put(
    struct chain_task *task, const char *key, struct myco_manifest *manifest, chain_step next)
{
    manifest->nonce = task->nonce = myco__chain_nonce(task->chain);
    myco_text_copy(task->key, sizeof(task->key), key);
    myco_buf_clear(&task->bytes);
    myco_manifest_encode(manifest, &task->bytes);
    task->after_put = next;
    if (task->bytes.failed) {
        task->status = MYCO_ENOMEM;
        myco_text_copy(task->message, sizeof(task->message), "no memory for a manifest");
        myco_defer(task->chain->store->env, &task->deferred, run_after_put, task);
        return;
    }
    if (task->chain->store->ops->put_if_absent)
        put_bytes(task);
    else
        myco__chain_read(task, task->key, put_unless_there);
}
