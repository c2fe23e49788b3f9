/* Fences where a primary serves: operations that show an epoch, judged by what the cluster agreed
 * on, then by what the hypha was shown before (store/hypha_fence.c). Messages that show one are
 * judged by the bus (stream/fences.c), which asks here what was agreed on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "host/core_internal.h"

void core_token_free(struct core_token *token)
{
    if (!token) return;
    if (token->fence) myco_buf_free(&token->fence->key);
    myco_free(token->fence);
    core_reply_free(token->reply);
    myco_free(token);
}

int core_fence_check(const struct myco_core *core, const struct myco_fence *fence,
    const struct myco_septum_record *septum, char *message, size_t size)
{
    size_t name = strlen(fence->name);
    if (!myco_state_feature(core->state, MYCO_FEATURE_FENCES)) {
        snprintf(message, size,
            "no fences yet: a member is of an older version that would not check them");
        return MYCO_EVERSION;
    }
    if (!name || name > MYCO_FENCE_NAME_SIZE_MAX || !fence->epoch) {
        snprintf(message, size, "a fence has a name of 1 to %d bytes and an epoch above 0",
            MYCO_FENCE_NAME_SIZE_MAX);
        return MYCO_EINVAL;
    }
    if (septum->options.kind == MYCO_SEPTUM_DURABLE) return 0;
    snprintf(message, size,
        "%s is a cache, which may forget a fence with its primary: use kind=durable", septum->name);
    return MYCO_ENOTSUP;
}

/* "lock/NAME" or "lock/NAME/SLOT": the epoch of its present holding, 0: none. */
static uint64_t lock_epoch(const struct myco_core *core, const char *name)
{
    char lock[MYCO_STATE_NAME_MAX + 1];
    const char *slash = strchr(name, '/');
    size_t size = slash ? (size_t)(slash - name) : strlen(name);
    uint32_t slot = slash ? (uint32_t)strtoul(slash + 1, NULL, 10) : 0;
    if (size >= sizeof lock) return 0;
    memcpy(lock, name, size);
    lock[size] = 0;
    const struct myco_lock_record *record = myco_state_lock(core->state, MYCO_LOCK_LOCK, lock);
    for (uint32_t i = 0; record && i < record->count; i++)
        if (record->entries[i].epoch && record->entries[i].slot == slot)
            return record->entries[i].epoch;
    return 0;
}

/* Epochs of locks come in the order of the log. So one that is not above the newest that was given
 * out here, and is not the lock's own, is over; a newer one this node has not heard of yet. */
uint64_t core_fence_newer(const struct myco_core *core, const struct myco_fence *fence)
{
    const struct myco_state *state = core->state;
    if (strncmp(fence->name, "lock/", 5) == 0) {
        uint64_t held = lock_epoch(core, fence->name + 5);
        uint64_t newest = MYCO_EPOCH(state->incarnation, state->epoch_counter);
        if (fence->epoch == held || fence->epoch > newest) return 0;
        return held > fence->epoch ? held : newest;
    }
    const struct myco_election_record *election = myco_state_election(state, fence->name);
    return election && election->epoch > fence->epoch ? election->epoch : 0;
}

int myco_core_publish(struct myco_core *core, struct myco_slice subject, struct myco_slice data,
    struct myco_slice reply, const struct myco_fence *fence, struct myco_err *err)
{
    if (fence->name && !myco_state_feature(core->state, MYCO_FEATURE_TOPIC_FENCES))
        return myco_err(err, MYCO_EVERSION,
            "no fences of messages yet: a member is of an older version that would not check them");
    int rc = myco_bus_publish_fenced(core->bus, subject, data, reply, fence, NULL, err);
    if (rc == MYCO_EFENCED) MYCO_METRIC_ADD(core->env->metrics, FENCED, 1);
    return rc;
}

struct core_fence *core_fence_new(const struct core_hypha *copy, const struct myco_fence *fence)
{
    if (!fence->name) return NULL;
    struct core_fence *made = myco_alloc(sizeof *made);
    myco_text_copy(made->name, sizeof made->name, fence->name);
    made->epoch = fence->epoch;
    made->septum = copy->septum;
    made->index = copy->index;
    return made;
}

const char *core_fence_why(
    const struct core_fence *fence, int status, uint64_t version, char *message, size_t size)
{
    if (fence && status == MYCO_EFENCED)
        snprintf(message, size, "fenced: epoch %llu of '%s' is over, %llu was seen here",
            (unsigned long long)fence->epoch, fence->name, (unsigned long long)version);
    else
        snprintf(message, size, "%s", status ? myco_strerror(status) : "");
    return message;
}

void core_fence_refusal(const struct myco_core *core, const struct myco_fence *fence, int status,
    char *message, size_t size)
{
    struct core_fence shown = {.epoch = fence->epoch};
    myco_text_copy(shown.name, sizeof shown.name, fence->name);
    if (status == MYCO_ETOOBIG)
        snprintf(message, size, "the hypha keeps the epochs of %d fences already", MYCO_FENCES_MAX);
    else
        core_fence_why(&shown, status, core_fence_newer(core, fence), message, size);
}

int core_fence_read(struct myco_core *core, struct core_hypha *copy, struct myco_slice key,
    const struct myco_fence *fence, const struct core_token *token)
{
    struct core_token reads = *token;
    struct myco_write write = {
        .op = MYCO_OP_NOOP, .fence = myco_str(fence->name), .fence_epoch = fence->epoch};
    if (core_fence_newer(core, fence)) return MYCO_EFENCED;
    reads.fence = core_fence_new(copy, fence);
    reads.fence->read = true;
    myco_buf_bytes(&reads.fence->key, key.data, key.size);
    int rc = reads.fence->key.failed ? MYCO_ENOMEM : core_give_token(core, copy, &write, &reads);
    if (rc == 0) return 0;
    myco_buf_free(&reads.fence->key);
    myco_free(reads.fence);
    return rc;
}

void core_fence_stands(struct myco_core *core, struct core_token *token)
{
    struct core_hypha *copy;
    if (token->op) {
        core_op_get(token->op);
        return;
    }
    if (token->sweep) return;
    if (core_serve_table(core, token->fence->septum, token->fence->index, &copy)) copy = NULL;
    core_serve_get(core, token->node, token->request, copy, myco_buf_as_slice(&token->fence->key));
}
