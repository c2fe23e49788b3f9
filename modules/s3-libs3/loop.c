/* libs3 on a libuv loop. It offers its sockets as fd_sets and does its work in
 * S3_runonce_request_context(): so after each step the sets are asked for anew, and polls made for
 * what is in them. Old polls are closed, since a number may mean another socket by then. */
#include <stdio.h>
#include <sys/select.h>

#include "base/err.h"
#include "base/mem.h"
#include "s3-libs3/private.h"

#define STEP_MAX_MS 1000
#define STEP_MIN_MS 20 /* while no socket is known, as during the look-up of a name */

struct libs3_loop {
    uv_loop_t *loop;
    S3RequestContext *context;
    uv_timer_t timer;
    struct poll *polls;
    unsigned handles; /* of libuv, not closed yet */
    bool closing, in_step;
    void (*closed)(void *data);
    void *closed_data;
};

struct poll {
    uv_poll_t handle;
    struct libs3_loop *loop;
    struct poll *next;
};

static void step(struct libs3_loop *loop);

static void handle_closed(struct libs3_loop *loop)
{
    if (--loop->handles > 0 || !loop->closing) return;
    void (*closed)(void *data) = loop->closed;
    void *data = loop->closed_data;
    myco_free(loop);
    closed(data);
}

static void poll_closed(uv_handle_t *handle)
{
    struct poll *poll = handle->data;
    struct libs3_loop *loop = poll->loop;
    myco_free(poll);
    handle_closed(loop);
}

static void timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void drop_polls(struct libs3_loop *loop)
{
    for (struct poll *poll = loop->polls, *next; poll != NULL; poll = next) {
        next = poll->next;
        uv_poll_stop(&poll->handle);
        uv_close((uv_handle_t *)&poll->handle, poll_closed);
    }
    loop->polls = NULL;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct poll *poll = handle->data;
    (void)status, (void)events;
    step(poll->loop);
}

static void on_time(uv_timer_t *timer)
{
    step(timer->data);
}

static void add_poll(struct libs3_loop *loop, int fd, int events)
{
    struct poll *poll = myco_alloc(sizeof(*poll));
    poll->loop = loop;
    if (uv_poll_init(loop->loop, &poll->handle, fd) != 0) { /* the timer looks after it */
        myco_free(poll);
        return;
    }
    poll->handle.data = poll;
    poll->next = loop->polls;
    loop->polls = poll;
    loop->handles++;
    uv_poll_start(&poll->handle, events, on_poll);
}

static bool add_polls(struct libs3_loop *loop)
{
    fd_set reads, writes, errors;
    int max = -1;
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    FD_ZERO(&errors);
    if (S3_get_request_context_fdsets(loop->context, &reads, &writes, &errors, &max) != S3StatusOK)
        return false;
    for (int fd = 0; fd <= max; fd++) {
        int events =
            (FD_ISSET(fd, &reads) ? UV_READABLE : 0) | (FD_ISSET(fd, &writes) ? UV_WRITABLE : 0);
        if (events) add_poll(loop, fd, events);
    }
    return loop->polls != NULL;
}

static void step(struct libs3_loop *loop)
{
    int remaining = 0;
    if (loop->in_step || loop->closing) return;
    loop->in_step = true;
    drop_polls(loop);
    S3_runonce_request_context(loop->context, &remaining);
    loop->in_step = false;
    if (loop->closing) return;
    uv_timer_stop(&loop->timer);
    if (remaining == 0) return;
    int64_t wait_ms = S3_get_request_context_timeout(loop->context);
    if (wait_ms < 0 || wait_ms > STEP_MAX_MS) wait_ms = STEP_MAX_MS;
    if (!add_polls(loop) && wait_ms > STEP_MIN_MS) wait_ms = STEP_MIN_MS;
    uv_update_time(loop->loop);
    uv_timer_start(&loop->timer, on_time, (uint64_t)(wait_ms > 0 ? wait_ms : 1), 0);
}

int libs3_loop_open(uv_loop_t *uv, struct libs3_loop **out, struct myco_err *err)
{
    struct libs3_loop *loop = myco_alloc(sizeof(*loop));
    S3Status status = S3_initialize("mycorrizal", S3_INIT_ALL, S3_DEFAULT_HOSTNAME);
    if (status == S3StatusOK) status = S3_create_request_context(&loop->context);
    if (status != S3StatusOK) {
        myco_free(loop);
        return myco_err(err, MYCO_EIO, "libs3 does not start: %s", S3_get_status_name(status));
    }
    loop->loop = uv;
    uv_timer_init(uv, &loop->timer);
    loop->timer.data = loop;
    loop->handles = 1;
    *out = loop;
    return 0;
}

S3RequestContext *libs3_loop_context(struct libs3_loop *loop)
{
    return loop->context;
}

void libs3_loop_kick(struct libs3_loop *loop)
{
    if (!loop->in_step && !loop->closing) uv_timer_start(&loop->timer, on_time, 0, 0);
}

void libs3_loop_abort(struct libs3_loop *loop)
{
    drop_polls(loop);
    loop->in_step = true; /* nothing begins anew */
    S3_destroy_request_context(loop->context);
    loop->context = NULL;
    loop->in_step = false;
    loop->closing = true;
}

void libs3_loop_close(struct libs3_loop *loop, void (*closed)(void *data), void *data)
{
    if (loop->context != NULL) libs3_loop_abort(loop);
    S3_deinitialize();
    loop->closed = closed;
    loop->closed_data = data;
    uv_close((uv_handle_t *)&loop->timer, timer_closed);
}
