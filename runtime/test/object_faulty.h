/* An object store that misbehaves on purpose, in front of one that does not: calls are late, fail,
 * time out though they succeeded, or time out first and happen afterwards. By chance, in parts of a
 * million, or the next few puts as told. Takes its chances from env, so that a simulated run
 * repeats itself. */
#ifndef MYCO_TEST_OBJECT_FAULTY_H
#define MYCO_TEST_OBJECT_FAULTY_H

#include "base/mem.h"
#include "object/object.h"

enum fate { FATE_GOOD, FATE_FAIL, FATE_LOST_ANSWER, FATE_LATE };

struct faulty {
    struct myco_object base;
    struct myco_object_ops ops; /* a copy, so that put_if_absent can be taken away */
    struct myco_object *inner;
    struct myco_list calls;
    bool closed;
    /* set at will */
    uint32_t fail_ppm;        /* EIO, nothing happened */
    uint32_t lost_answer_ppm; /* it happened, and ETIMEDOUT */
    uint32_t late_ppm;        /* ETIMEDOUT, and it happens later (puts and deletes) */
    unsigned delay_ms_max;    /* before each call */
    unsigned late_ms_max;
    enum fate next_put; /* of the next put, once */
    unsigned puts;
};

struct faulty_call {
    struct myco_list link;
    struct faulty *store;
    struct myco_timer timer;
    enum fate fate;
    char kind;   /* p g l d */
    bool inside; /* the inner store has it */
    char *key;
    struct myco_buf bytes;
    int flags;
    uint64_t offset, size;
    myco_object_cb cb;
    myco_object_get_cb get_cb;
    myco_object_list_cb list_cb;
    void *data;
};

static inline void faulty_free_call(struct faulty_call *call)
{
    struct faulty *store = call->store;
    myco_timer_stop(&call->timer);
    myco_list_remove(&call->link);
    myco_buf_free(&call->bytes);
    myco_free(call->key);
    myco_free(call);
    if (store->closed && myco_list_empty(&store->calls)) myco_free(store);
}

static inline void faulty_answer(struct faulty_call *call, int status, const char *message,
    struct myco_buf *bytes, const struct myco_object_info *infos, size_t count)
{
    struct myco_buf empty = {0};
    struct faulty_call once = *call;
    call->cb = NULL;
    call->get_cb = NULL;
    call->list_cb = NULL;
    if (message == NULL) message = myco_strerror(status);
    if (once.cb != NULL) once.cb(status, message, once.data);
    if (once.get_cb != NULL)
        once.get_cb(status, message, bytes != NULL ? bytes : &empty, once.data);
    if (once.list_cb != NULL) once.list_cb(status, message, infos, count, once.data);
}

static inline void faulty_on_done(int status, const char *message, void *data)
{
    struct faulty_call *call = data;
    if (call->fate == FATE_LOST_ANSWER)
        faulty_answer(call, MYCO_ETIMEDOUT, NULL, NULL, NULL, 0);
    else
        faulty_answer(call, status, message, NULL, NULL, 0);
    faulty_free_call(call);
}

static inline void faulty_on_get(
    int status, const char *message, struct myco_buf *bytes, void *data)
{
    struct faulty_call *call = data;
    faulty_answer(call, status, message, bytes, NULL, 0);
    faulty_free_call(call);
}

static inline void faulty_on_list(
    int status, const char *message, const struct myco_object_info *infos, size_t count, void *data)
{
    struct faulty_call *call = data;
    faulty_answer(call, status, message, NULL, infos, count);
    faulty_free_call(call);
}

static inline void faulty_pass_on(struct faulty_call *call)
{
    struct myco_object *inner = call->store->inner;
    call->inside = true;
    switch (call->kind) {
    case 'p':
        inner->ops->put(
            inner, call->key, myco_buf_as_slice(&call->bytes), call->flags, faulty_on_done, call);
        return;
    case 'g':
        inner->ops->get(inner, call->key, call->offset, call->size, faulty_on_get, call);
        return;
    case 'l': inner->ops->list(inner, call->key, faulty_on_list, call); return;
    default: inner->ops->del(inner, call->key, faulty_on_done, call);
    }
}

static inline void faulty_run(void *data)
{
    struct faulty_call *call = data;
    switch (call->fate) {
    case FATE_FAIL:
        faulty_answer(call, MYCO_EIO, "the test says so", NULL, NULL, 0);
        faulty_free_call(call);
        return;
    case FATE_LATE:
        call->fate = FATE_GOOD;
        myco_timer_start(&call->timer,
            1 + myco_random_below(call->store->base.env, call->store->late_ms_max + 1), 0);
        faulty_answer(call, MYCO_ETIMEDOUT, NULL, NULL, NULL, 0);
        return;
    default: faulty_pass_on(call);
    }
}

static inline bool faulty_chance(struct faulty *store, uint32_t ppm)
{
    return ppm > 0 && myco_random_below(store->base.env, 1000000) < ppm;
}

static inline enum fate faulty_fate(struct faulty *store, char kind)
{
    bool changes = kind == 'p' || kind == 'd';
    if (kind == 'p') store->puts++;
    if (kind == 'p' && store->next_put != FATE_GOOD) {
        enum fate fate = store->next_put;
        store->next_put = FATE_GOOD;
        return fate;
    }
    if (faulty_chance(store, store->fail_ppm)) return FATE_FAIL;
    if (changes && faulty_chance(store, store->lost_answer_ppm)) return FATE_LOST_ANSWER;
    if (changes && faulty_chance(store, store->late_ppm)) return FATE_LATE;
    return FATE_GOOD;
}

static inline struct faulty_call *faulty_call(
    struct myco_object *base, char kind, const char *key, void *data)
{
    struct faulty *store = MYCO_CONTAINER(base, struct faulty, base);
    struct faulty_call *call = myco_alloc(sizeof(*call));
    call->store = store;
    call->kind = kind;
    call->key = myco_strdup(key);
    call->data = data;
    call->fate = faulty_fate(store, kind);
    myco_list_append(&store->calls, &call->link);
    myco_timer_init(&call->timer, base->env, faulty_run, call);
    myco_timer_start(&call->timer, myco_random_below(base->env, store->delay_ms_max + 1), 0);
    return call;
}

static inline void faulty_put(struct myco_object *base, const char *key, struct myco_slice bytes,
    int flags, myco_object_cb cb, void *data)
{
    struct faulty_call *call = faulty_call(base, 'p', key, data);
    myco_buf_bytes(&call->bytes, bytes.data, bytes.size);
    call->flags = flags;
    call->cb = cb;
}

static inline void faulty_get(struct myco_object *base, const char *key, uint64_t offset,
    uint64_t size, myco_object_get_cb cb, void *data)
{
    struct faulty_call *call = faulty_call(base, 'g', key, data);
    call->offset = offset;
    call->size = size;
    call->get_cb = cb;
}

static inline void faulty_list(
    struct myco_object *base, const char *prefix, myco_object_list_cb cb, void *data)
{
    faulty_call(base, 'l', prefix, data)->list_cb = cb;
}

static inline void faulty_del(
    struct myco_object *base, const char *key, myco_object_cb cb, void *data)
{
    faulty_call(base, 'd', key, data)->cb = cb;
}

/* Closes the inner store too: what that still has calls back inside of it, and frees the rest. */
static inline void faulty_close(struct myco_object *base)
{
    struct faulty *store = MYCO_CONTAINER(base, struct faulty, base);
    MYCO_LIST_EACH (item, &store->calls) {
        struct faulty_call *call = MYCO_CONTAINER(item, struct faulty_call, link);
        faulty_answer(call, MYCO_ECANCELED, NULL, NULL, NULL, 0);
        if (!call->inside) faulty_free_call(call);
    }
    store->inner->ops->close(store->inner);
    store->closed = true;
    if (myco_list_empty(&store->calls)) myco_free(store);
}

/* Takes `inner`: closing this closes it. */
static inline struct faulty *faulty_new(struct myco_object *inner)
{
    struct faulty *store = myco_alloc(sizeof(*store));
    store->ops = (struct myco_object_ops){.name = "faulty",
        .put_if_absent = inner->ops->put_if_absent,
        .put = faulty_put,
        .get = faulty_get,
        .list = faulty_list,
        .del = faulty_del,
        .close = faulty_close};
    store->base.ops = &store->ops;
    store->base.env = inner->env;
    store->inner = inner;
    store->late_ms_max = 2000;
    myco_list_init(&store->calls);
    return store;
}

#endif
