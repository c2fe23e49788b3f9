/* The public calls for locks and barriers. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/node_call.h"

struct myco_lock {
    struct node_handle handle;
    struct myco_core_lock *lock; /* on the loop */
    enum myco_lock_kind kind;
    struct myco_lock_options options;
    char name[MYCO_STATE_NAME_MAX + 1], fence[MYCO_FENCE_NAME_SIZE_MAX + 1];
    uint64_t epoch;
    myco_lock_cb cb;
    void *data;
    /* who waits in myco_lock() */
    struct waiter {
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        bool done;
        int status;
        char message[128];
    } * waiter;
};

static void wake(struct waiter *waiter, int status, const char *message)
{
    pthread_mutex_lock(&waiter->mutex);
    waiter->done = true;
    waiter->status = status;
    myco_text_copy(waiter->message, sizeof waiter->message, message);
    pthread_cond_signal(&waiter->cond);
    pthread_mutex_unlock(&waiter->mutex);
}

static void on_state(const struct myco_lock_state *state, void *data)
{
    struct myco_lock *lock = data;
    if (state->held) {
        lock->epoch = state->epoch;
        myco_text_copy(lock->fence, sizeof lock->fence, state->fence.name);
    }
    struct waiter *waiter = lock->waiter;
    lock->waiter = NULL;
    if (waiter)
        wake(waiter, state->status, state->message);
    else if (lock->cb)
        lock->cb(state, lock->data);
}

static int do_lock(struct myco *node, void *arg)
{
    struct myco_lock *lock = arg;
    lock->lock = myco_core_lock(node->core, lock->kind, lock->name, lock->options.permits,
        lock->options.try, lock->options.wait_ms, on_state, lock);
    node_handle_keep(&lock->handle, node);
    return 0;
}

static int check(const char *name, unsigned permits, struct myco_err *err)
{
    if (!name || !myco__state_name_ok(name))
        return myco_err(err, MYCO_EINVAL,
            "lock: '%.80s' is not 1 to 63 printable characters without spaces or '/'",
            name ? name : "");
    if (permits > MYCO_LOCK_PERMITS_MAX)
        return myco_err(err, MYCO_EINVAL, "lock %s: %u permits, at most %d are allowed", name,
            permits, MYCO_LOCK_PERMITS_MAX);
    return 0;
}

static struct myco_lock *make(const char *name, const struct myco_lock_options *options)
{
    struct myco_lock *lock = myco_alloc(sizeof *lock);
    if (options) lock->options = *options;
    myco_text_copy(lock->name, sizeof lock->name, name);
    return lock;
}

static int begin(struct myco *node, struct myco_lock *lock, struct myco_err *err)
{
    int rc = node_call(node, do_lock, lock);
    if (rc == 0) return 0;
    myco_err(err, rc, "lock %s: %s", lock->name, myco_strerror(rc));
    myco_free(lock);
    return rc;
}

int myco_lock_async(struct myco *node, const char *name, const struct myco_lock_options *options,
    myco_lock_cb cb, void *data, struct myco_lock **lock_out, struct myco_err *err)
{
    int rc = check(name, options ? options->permits : 0, err);
    if (rc) return rc;
    struct myco_lock *lock = make(name, options);
    lock->cb = cb;
    lock->data = data;
    rc = begin(node, lock, err);
    if (rc == 0) *lock_out = lock;
    return rc;
}

/* A node that closes ends it first: core_locks_close() tells. */
static int await(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->mutex);
    while (!waiter->done) pthread_cond_wait(&waiter->cond, &waiter->mutex);
    pthread_mutex_unlock(&waiter->mutex);
    return waiter->status;
}

int myco_lock(struct myco *node, const char *name, const struct myco_lock_options *options,
    myco_lock_cb cb, void *data, struct myco_lock **lock_out, struct myco_err *err)
{
    struct waiter waiter = {.done = false};
    if (node_on_loop(node))
        return myco_err(err, MYCO_EBUSY, "myco_lock on the loop's thread: use myco_lock_async");
    int rc = check(name, options ? options->permits : 0, err);
    if (rc) return rc;
    pthread_mutex_init(&waiter.mutex, NULL);
    node_wait_init(&waiter.cond);
    struct myco_lock *lock = make(name, options);
    lock->cb = cb;
    lock->data = data;
    lock->waiter = &waiter;
    rc = begin(node, lock, err);
    if (rc == 0 && (rc = await(&waiter))) {
        myco_err(err, rc, "lock %s: %s", name, waiter.message);
        myco_unlock(lock, NULL, NULL);
    } else if (rc == 0) {
        *lock_out = lock;
    }
    pthread_mutex_destroy(&waiter.mutex);
    pthread_cond_destroy(&waiter.cond);
    return rc;
}

struct question {
    struct myco_lock *lock;
    struct myco_fence *fence;
};

static int do_ask(struct myco *node, void *arg)
{
    const struct question *question = arg;
    struct myco_lock *lock = question->lock;
    (void)node;
    if (question->fence) *question->fence = (struct myco_fence){lock->fence, lock->epoch};
    return lock->epoch && myco_core_lock_held(lock->lock) ? 0 : MYCO_ENOTLEADER;
}

bool myco_lock_held(struct myco_lock *lock, struct myco_fence *fence)
{
    struct question question = {lock, fence};
    return node_call(lock->handle.node, do_ask, &question) == 0;
}

static int do_unlock(struct myco *node, void *arg)
{
    struct myco_lock *lock = arg;
    (void)node;
    myco_core_unlock(lock->lock);
    return 0;
}

void myco_unlock(struct myco_lock *lock, void (*done)(void *data), void *data)
{
    if (!lock) return;
    node_call(lock->handle.node, do_unlock, lock);
    node_handle_free(&lock->handle); /* the handle is the lock */
    if (done) done(data);
}

/* ── barriers ── */

struct barrier {
    struct node_post post;
    char name[MYCO_STATE_NAME_MAX + 1];
    unsigned parties, wait_ms;
    struct myco_core_lock *lock;
    myco_result_cb cb;
    void *data;
};

static void on_barrier(const struct myco_lock_state *state, void *data)
{
    struct barrier *barrier = data;
    struct myco_result result = {
        .status = state->status, .message = state->message, .version = state->epoch};
    myco_core_unlock(barrier->lock);
    barrier->cb(&result, barrier->data);
    myco_free(barrier);
}

static void run_barrier(struct myco *node, struct node_post *post, bool closed)
{
    struct barrier *barrier = MYCO_CONTAINER(post, struct barrier, post);
    if (closed || !node->core || node->closing) {
        struct myco_result result = {.status = MYCO_ECLOSED, .message = "the node closes"};
        barrier->cb(&result, barrier->data);
        myco_free(barrier);
        return;
    }
    barrier->lock = myco_core_lock(node->core, MYCO_LOCK_BARRIER, barrier->name, barrier->parties,
        false, barrier->wait_ms, on_barrier, barrier);
}

int myco_barrier_async(struct myco *node, const char *name, unsigned parties, unsigned wait_ms,
    myco_result_cb cb, void *data)
{
    if (check(name, parties, NULL) || parties == 0) return MYCO_EINVAL;
    struct barrier *barrier = myco_alloc(sizeof *barrier);
    *barrier = (struct barrier){.post = {.run = run_barrier},
        .parties = parties,
        .wait_ms = wait_ms,
        .cb = cb,
        .data = data};
    myco_text_copy(barrier->name, sizeof barrier->name, name);
    int rc = node_post(node, &barrier->post);
    if (rc) myco_free(barrier);
    return rc;
}

static void on_passed(const struct myco_result *result, void *data)
{
    wake(data, result->status, result->message);
}

int myco_barrier(
    struct myco *node, const char *name, unsigned parties, unsigned wait_ms, struct myco_err *err)
{
    struct waiter waiter = {.done = false};
    if (node_on_loop(node))
        return myco_err(err, MYCO_EBUSY, "myco_barrier on the loop's thread: use the _async one");
    int rc = check(name, parties, err);
    if (rc == 0 && parties == 0)
        rc = myco_err(err, MYCO_EINVAL, "barrier %s: at least 1 has to come", name);
    if (rc) return rc;
    pthread_mutex_init(&waiter.mutex, NULL);
    node_wait_init(&waiter.cond);
    rc = myco_barrier_async(node, name, parties, wait_ms, on_passed, &waiter);
    if (rc == 0) rc = await(&waiter);
    if (rc)
        myco_err(
            err, rc, "barrier %s: %s", name, *waiter.message ? waiter.message : myco_strerror(rc));
    pthread_mutex_destroy(&waiter.mutex);
    pthread_cond_destroy(&waiter.cond);
    return rc;
}
