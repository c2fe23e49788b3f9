/* Request and reply over Cytoplasm: one subscription to `_inbox.<node>.>` for all requests of this
 * node. */
#include <stdio.h>
#include <string.h>

#include "host/core_internal.h"

struct inbox_request {
    struct myco_list link; /* core->inbox */
    struct myco_core *core;
    uint64_t number;
    struct myco_timer timer;
    struct myco_deferred later;
    int status;
    myco_result_cb cb;
    void *data;
};

static void finish(struct inbox_request *request, const struct myco_result *result)
{
    myco_list_remove(&request->link);
    myco_timer_stop(&request->timer);
    myco_defer_cancel(&request->later);
    request->cb(result, request->data);
    myco_free(request);
}

static void timed_out(void *data)
{
    struct myco_result result = {.status = MYCO_ETIMEDOUT, .message = "nobody answered in time"};
    finish(data, &result);
}

static void refused(void *data)
{
    struct inbox_request *request = data;
    struct myco_result result = {
        .status = request->status, .message = myco_strerror(request->status)};
    finish(request, &result);
}

void core_inbox_close(struct myco_list *link)
{
    struct myco_result result = {.status = MYCO_ECLOSED, .message = "the node closes"};
    finish(MYCO_CONTAINER(link, struct inbox_request, link), &result);
}

/* "_inbox.<16 hex>.<number>" */
static void answered(const struct myco_msg *msg, void *data)
{
    struct myco_core *core = data;
    char subject[64] = "";
    if (msg->subject.size >= sizeof subject || msg->subject.size < 25) return;
    memcpy(subject, msg->subject.data, msg->subject.size);
    unsigned long long number = 0;
    if (sscanf(subject + 24, "%llu", &number) != 1) return;
    MYCO_LIST_EACH (item, &core->inbox) {
        struct inbox_request *request = MYCO_CONTAINER(item, struct inbox_request, link);
        if (request->number != number) continue;
        struct myco_result result = {.message = "", .value = msg->data};
        finish(request, &result);
        return;
    }
}

static int listen(struct myco_core *core)
{
    char pattern[64];
    if (core->inbox_sub) return 0;
    snprintf(pattern, sizeof pattern, "_inbox.%016llx.>", (unsigned long long)core->identity.id);
    return myco_bus_subscribe(
        core->bus, myco_str(pattern), myco_bytes(NULL, 0), answered, core, &core->inbox_sub, NULL);
}

static void publish(
    struct inbox_request *request, struct myco_slice subject, struct myco_slice data)
{
    struct myco_core *core = request->core;
    char reply[64];
    size_t receivers = 0;
    snprintf(reply, sizeof reply, "_inbox.%016llx.%llu", (unsigned long long)core->identity.id,
        (unsigned long long)request->number);
    int rc = myco_bus_publish(core->bus, subject, data, myco_str(reply), &receivers, NULL);
    if (rc == 0 && receivers == 0) rc = MYCO_ENORESPONDERS;
    if (!rc) return;
    request->status = rc;
    myco_defer(core->env, &request->later, refused, request);
}

void myco_core_request(struct myco_core *core, struct myco_slice subject, struct myco_slice data,
    unsigned timeout_ms, myco_result_cb cb, void *cb_data)
{
    struct inbox_request *request = myco_alloc(sizeof *request);
    request->core = core;
    request->number = ++core->next_inbox;
    request->cb = cb;
    request->data = cb_data;
    myco_list_append(&core->inbox, &request->link);
    myco_timer_init(&request->timer, core->env, timed_out, request);
    myco_timer_start(&request->timer, timeout_ms ? timeout_ms : core->options.timeout_ms, 0);
    int rc = listen(core);
    if (rc) {
        request->status = rc;
        myco_defer(core->env, &request->later, refused, request);
        return;
    }
    publish(request, subject, data);
}
