/* HTTP by libcurl: its multi interface says which sockets and which time to wait for, libuv waits.
 *
 *   send ─ curl_multi_add_handle ─→ on_socket (a poll for each socket) and on_timer
 *   a poll or the timer ─ curl_multi_socket_action ─→ finish(): what is done calls back
 *
 * libcurl may call on_socket and on_timer inside of any call here, and callbacks of ours may send
 * again: so `finish` takes one message at a time, and closing waits for every poll to be closed. */
#include "s3/curl.h"

#include <curl/curl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"

#define CONNECTIONS 16
#define TIMEOUT_MS  60000
#define CONNECT_MS  10000
#define ANSWER_MAX  (64u * 1024 * 1024)

struct curl_http {
    struct myco_http base;
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    struct myco_list calls;
    char *ca, *user_agent;
    unsigned handles; /* of libuv, not closed yet */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

struct curl_call {
    struct myco_list link;
    struct curl_http *http;
    CURL *easy;
    struct curl_slist *headers;
    struct myco_buf sent, got;
    size_t answer_max;
    bool too_big;
    char message[CURL_ERROR_SIZE];
    myco_http_cb cb;
    void *data;
};

struct curl_answer {
    struct myco_http_answer base;
    CURL *easy;
};

struct socket_poll {
    uv_poll_t handle;
    struct curl_http *http;
    curl_socket_t socket;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ── What is done ───────────────────────────────────────────────────────────────────────────── */

static void free_call(struct curl_call *call)
{
    curl_multi_remove_handle(call->http->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    myco_list_remove(&call->link);
    myco_buf_free(&call->sent);
    myco_buf_free(&call->got);
    myco_free(call);
}

static const char *answer_header(const struct myco_http_answer *base, const char *name)
{
    const struct curl_answer *answer = MYCO_CONTAINER(base, struct curl_answer, base);
    struct curl_header *header;
    if (curl_easy_header(answer->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return NULL;
    return header->value;
}

static int error_of(CURLcode code, bool *unsent)
{
    *unsent = false;
    switch (code) {
    case CURLE_OK: return 0;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: *unsent = true; return MYCO_EINVAL;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT: *unsent = true; return MYCO_ENOTCONN;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM: *unsent = true; return MYCO_EDENIED;
    case CURLE_OPERATION_TIMEDOUT: return MYCO_ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY: return MYCO_ENOMEM;
    default: return MYCO_EIO;
    }
}

static void end_call(struct curl_call *call, CURLcode code)
{
    struct curl_answer answer = {.base.header = answer_header, .easy = call->easy};
    long status = 0;
    answer.base.error = call->too_big ? MYCO_ETOOBIG : error_of(code, &answer.base.unsent);
    if (answer.base.error == 0) {
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    } else if (call->too_big) {
        answer.base.message = "the answer is larger than was asked for";
    } else {
        answer.base.message = call->message[0] ? call->message : curl_easy_strerror(code);
    }
    answer.base.status = (int)status;
    answer.base.body = &call->got;
    call->cb(&answer.base, call->data);
    free_call(call);
}

static void finish(struct curl_http *http)
{
    CURLMsg *message;
    int left;
    while (!http->closing && (message = curl_multi_info_read(http->multi, &left)) != NULL) {
        struct curl_call *call = NULL;
        if (message->msg != CURLMSG_DONE) continue;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        end_call(call, code);
    }
}

/* ── Sockets and time ───────────────────────────────────────────────────────────────────────── */

static void handle_closed(struct curl_http *http)
{
    if (--http->handles > 0 || !http->closing) return;
    void (*closed)(void *data) = http->closed;
    void *data = http->closed_data;
    myco_free(http->ca);
    myco_free(http->user_agent);
    myco_free(http);
    if (closed != NULL) closed(data);
}

static void poll_closed(uv_handle_t *handle)
{
    struct socket_poll *watch = handle->data;
    struct curl_http *http = watch->http;
    myco_free(watch);
    handle_closed(http);
}

static void timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct socket_poll *watch = handle->data;
    struct curl_http *http = watch->http;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;
    if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(http->multi, watch->socket, flags, &running);
    finish(http);
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *data, void *socket_data)
{
    struct curl_http *http = data;
    struct socket_poll *watch = socket_data;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch == NULL) return 0;
        curl_multi_assign(http->multi, socket, NULL);
        uv_poll_stop(&watch->handle);
        uv_close((uv_handle_t *)&watch->handle, poll_closed);
        return 0;
    }
    if (watch == NULL) {
        watch = myco_alloc(sizeof(*watch));
        watch->http = http;
        watch->socket = socket;
        if (uv_poll_init_socket(http->loop, &watch->handle, socket) != 0) {
            myco_free(watch);
            return -1;
        }
        watch->handle.data = watch;
        http->handles++;
        curl_multi_assign(http->multi, socket, watch);
    }
    int events = what == CURL_POLL_IN    ? UV_READABLE
                 : what == CURL_POLL_OUT ? UV_WRITABLE
                                         : UV_READABLE | UV_WRITABLE;
    return uv_poll_start(&watch->handle, events, on_poll) == 0 ? 0 : -1;
}

static void on_time(uv_timer_t *timer)
{
    struct curl_http *http = timer->data;
    int running;
    curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    finish(http);
}

static int on_timer(CURLM *multi, long timeout_ms, void *data)
{
    struct curl_http *http = data;
    (void)multi;
    if (http->closing) return 0;
    if (timeout_ms < 0)
        uv_timer_stop(&http->timer);
    else /* the cached time of the loop may be old: a time-out that counts from it would be early */
        uv_update_time(http->loop), uv_timer_start(&http->timer, on_time, (uint64_t)timeout_ms, 0);
    return 0;
}

/* ── Requests ───────────────────────────────────────────────────────────────────────────────── */

static size_t on_body(char *bytes, size_t one, size_t size, void *data)
{
    struct curl_call *call = data;
    (void)one;
    call->too_big = size > call->answer_max - call->got.size;
    if (call->too_big) return 0;
    myco_buf_bytes(&call->got, bytes, size);
    return call->got.failed ? 0 : size;
}

static void set_body(struct curl_call *call, const struct myco_http_request *request)
{
    CURL *easy = call->easy;
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0) {
        myco_buf_bytes(&call->sent, request->body.data, request->body.size);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->sent.size);
        curl_easy_setopt(
            easy, CURLOPT_POSTFIELDS, call->sent.data != NULL ? (const char *)call->sent.data : "");
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    } else {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

static void set_headers(struct curl_call *call, const struct myco_http_request *request)
{
    /* curl adds these of its own accord; a store would have to see them signed, or waits for them
     */
    call->headers = curl_slist_append(call->headers, "Expect:");
    call->headers = curl_slist_append(call->headers, "Content-Type:");
    for (size_t i = 0; i < request->header_count; i++) {
        struct myco_buf line = {0};
        myco_buf_printf(&line, "%s: %s", request->headers[i].name, request->headers[i].value);
        myco_buf_u8(&line, 0);
        if (!line.failed) call->headers = curl_slist_append(call->headers, (char *)line.data);
        myco_buf_free(&line);
    }
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

static void *http_send(
    struct myco_http *base, const struct myco_http_request *request, myco_http_cb cb, void *data)
{
    struct curl_http *http = MYCO_CONTAINER(base, struct curl_http, base);
    struct curl_call *call = myco_alloc(sizeof(*call));
    MYCO_ASSERT(!http->closing);
    call->http = http;
    call->cb = cb;
    call->data = data;
    call->answer_max = request->answer_max ? request->answer_max : ANSWER_MAX;
    call->easy = curl_easy_init();
    MYCO_ASSERT(call->easy != NULL);
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->message);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, http->user_agent);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(
        easy, CURLOPT_TIMEOUT_MS, (long)(request->timeout_ms ? request->timeout_ms : TIMEOUT_MS));
    if (http->ca != NULL) curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca);
    set_body(call, request);
    set_headers(call, request);
    myco_list_append(&http->calls, &call->link);
    curl_multi_add_handle(http->multi, easy);
    return call;
}

static void http_cancel(struct myco_http *http, void *handle)
{
    (void)http;
    free_call(handle);
}

static const struct myco_http_ops ops = {.send = http_send, .cancel = http_cancel};

int myco_curl_open(uv_loop_t *loop, const struct myco_curl_options *options,
    struct myco_http **http, struct myco_err *err)
{
    if (options->ca != NULL && access(options->ca, R_OK) != 0)
        return myco_err_sys(err, errno, "certificates to trust: %s", options->ca);
    pthread_once(&curl_once, start_curl);
    CURLM *multi = curl_multi_init();
    if (multi == NULL) return myco_err(err, MYCO_ENOMEM, "libcurl does not start");
    struct curl_http *made = myco_alloc(sizeof(*made));
    made->base.ops = &ops;
    made->loop = loop;
    made->multi = multi;
    myco_list_init(&made->calls);
    made->ca = options->ca != NULL ? myco_strdup(options->ca) : NULL;
    struct myco_buf agent = {0};
    myco_buf_printf(&agent, "mycorrizal/%s", myco_version());
    myco_buf_u8(&agent, 0);
    made->user_agent =
        myco_strdup(options->user_agent != NULL ? options->user_agent : (const char *)agent.data);
    myco_buf_free(&agent);
    uv_timer_init(loop, &made->timer);
    made->timer.data = made;
    made->handles = 1;
    long connections = options->connections ? options->connections : CONNECTIONS;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, made);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, made);
    curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections);
    *http = &made->base;
    return 0;
}

void myco_curl_close(struct myco_http *base, void (*closed)(void *data), void *data)
{
    struct curl_http *http = MYCO_CONTAINER(base, struct curl_http, base);
    http->closing = true;
    http->closed = closed;
    http->closed_data = data;
    MYCO_LIST_EACH (item, &http->calls) {
        free_call(MYCO_CONTAINER(item, struct curl_call, link));
    }
    curl_multi_cleanup(http->multi); /* lets go of idle connections: on_socket closes their polls */
    uv_close((uv_handle_t *)&http->timer, timer_closed);
}
