/* One request to S3, with all its tries: signed anew for each, judged by what comes back.
 *
 *   myco__s3_send → attempt ─→ HTTP ─→ on_answer ─ fine ──────────────→ callback
 *                      ↑                  ├─ busy, not reached ─ pause ─┐
 *                      │                  ├─ skewed, moved, expired ────┤ put right, once each
 *                      └──────────────────┴─────────────────────────────┘ */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "s3/private.h"

#define ATTEMPTS      6
#define TIMEOUT_MS    30000
#define PAUSE_MS      100 /* before the second attempt at most; doubles */
#define PAUSE_MAX_MS  5000
#define SKEW_WORTH_MS 60000

struct s3_call {
    struct myco_list link;
    struct s3_store *store;
    void *http; /* under way */
    struct myco_timer timer;
    unsigned attempt;
    bool skew_mended, region_mended, credentials_mended;
    char method[8];
    char *key; /* whole; NULL: the bucket */
    struct myco_s3_parameter query[S3_QUERY_MAX];
    size_t query_count;
    struct myco_http_header headers[S3_HEADERS_MAX];
    size_t header_count;
    struct myco_buf body;
    char hash[MYCO_S3_HASH_SIZE];
    size_t answer_max;
    s3_call_cb cb;
    void *data;
};

static void attempt(void *data);

void myco__s3_full_key(const struct s3_store *store, const char *key, struct myco_buf *out)
{
    if (store->prefix[0]) myco_buf_printf(out, "%s/", store->prefix);
    myco_buf_printf(out, "%s", key);
    myco_buf_u8(out, 0);
}

static void free_call(struct s3_call *call)
{
    myco_timer_stop(&call->timer);
    myco_list_remove(&call->link);
    for (size_t i = 0; i < call->query_count; i++) myco_free((void *)call->query[i].value);
    for (size_t i = 0; i < call->header_count; i++) myco_free((void *)call->headers[i].value);
    myco_free(call->key);
    myco_buf_free(&call->body);
    myco_free(call);
}

static void end(
    struct s3_call *call, int status, const char *message, const struct myco_http_answer *answer)
{
    call->cb(status, message, answer, call->data);
    free_call(call);
}

/* ── Judging an answer ──────────────────────────────────────────────────────────────────────── */

static bool one_of(const char *code, const char *const *codes)
{
    for (; *codes != NULL; codes++)
        if (strcmp(code, *codes) == 0) return true;
    return false;
}

static bool is_busy(const struct myco_http_answer *answer, const struct myco_s3_error *error)
{
    static const char *const codes[] = {"SlowDown", "RequestTimeout", "InternalError",
        "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict", "Throttling",
        "ThrottlingException", "RequestLimitExceeded", NULL};
    return answer->status >= 500 || answer->status == 429 || one_of(error->code, codes);
}

static bool is_expired(const struct myco_s3_error *error)
{
    static const char *const codes[] = {"ExpiredToken", "ExpiredTokenException", "InvalidToken",
        "TokenRefreshRequired", "InvalidAccessKeyId", NULL};
    return one_of(error->code, codes);
}

/* "Tue, 27 Mar 2007 19:36:42 GMT"; 0: not one. */
static uint64_t date_of(const char *text)
{
    struct tm utc = {0};
    if (text == NULL || strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &utc) == NULL) return 0;
    time_t seconds = timegm(&utc);
    return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}

static bool mend_skew(
    struct s3_call *call, const struct myco_http_answer *answer, const struct myco_s3_error *error)
{
    struct s3_store *store = call->store;
    uint64_t theirs = date_of(answer->header(answer, "Date"));
    if (call->skew_mended || answer->status != 403 || theirs == 0) return false;
    int64_t skew = (int64_t)theirs - (int64_t)store->base.env->ops->wall_ms(store->base.env);
    int64_t change = skew - store->skew_ms;
    bool said = strcmp(error->code, "RequestTimeTooSkewed") == 0;
    if (!said && change < SKEW_WORTH_MS && change > -SKEW_WORTH_MS) return false;
    MYCO_WARN(store->base.env->log, "store", "the clocks of this node and of S3 differ",
        "seconds=%lld", (long long)skew / 1000);
    store->skew_ms = skew;
    call->skew_mended = true;
    return true;
}

static bool mend_region(
    struct s3_call *call, const struct myco_http_answer *answer, const struct myco_s3_error *error)
{
    struct s3_store *store = call->store;
    const char *region = answer->header(answer, "x-amz-bucket-region");
    bool moved = answer->status == 301 || answer->status == 307 || answer->status == 400;
    if (region == NULL || !region[0]) region = error->region;
    if (call->region_mended || !moved || !region[0] || strcmp(region, store->region) == 0 ||
        strlen(region) >= sizeof(store->region))
        return false;
    MYCO_WARN(store->base.env->log, "store", "the bucket is in another region: name it in --store",
        "bucket=%s region=%s", store->bucket, region);
    snprintf(store->region, sizeof(store->region), "%s", region);
    call->region_mended = true;
    return true;
}

static bool mend_credentials(struct s3_call *call, const struct myco_s3_error *error)
{
    struct s3_store *store = call->store;
    struct myco_err err;
    if (call->credentials_mended || !is_expired(error)) return false;
    call->credentials_mended = true;
    return store->options.credentials(&store->credentials, &err, store->options.credentials_data) ==
           0;
}

static int status_of(const struct myco_http_answer *answer, const struct myco_s3_error *error)
{
    if (strcmp(error->code, "NoSuchBucket") == 0) return MYCO_EINVAL;
    switch (answer->status) {
    case 404: return MYCO_ENOTFOUND;
    case 412: return MYCO_EEXISTS;
    case 401:
    case 403: return MYCO_EDENIED;
    case 413: return MYCO_ETOOBIG;
    case 501: return MYCO_ENOTSUP;
    case 507: return MYCO_ENOSPC;
    }
    if (strcmp(error->code, "EntityTooLarge") == 0) return MYCO_ETOOBIG;
    if (answer->status >= 500 || answer->status == 429) return MYCO_EUNAVAILABLE;
    return MYCO_EIO;
}

static void pause_and_retry(struct s3_call *call)
{
    uint64_t most = (uint64_t)PAUSE_MS << (call->attempt < 10 ? call->attempt : 10);
    if (most > PAUSE_MAX_MS) most = PAUSE_MAX_MS;
    struct myco_env *env = call->store->base.env;
    myco_timer_start(&call->timer, 1 + myco_random_below(env, most), 0);
}

static bool tries_left(const struct s3_call *call)
{
    unsigned attempts = call->store->options.attempts;
    return call->attempt < (attempts ? attempts : ATTEMPTS);
}

static void fail(
    struct s3_call *call, int status, const char *what, const struct myco_http_answer *answer)
{
    char message[512];
    snprintf(message, sizeof(message), "S3 %s %s: %s%s", call->method,
        call->key != NULL ? call->key : call->store->bucket, what,
        call->attempt > 1 ? " (after several attempts)" : "");
    end(call, status, message, answer);
}

static void refused(
    struct s3_call *call, const struct myco_http_answer *answer, const struct myco_s3_error *error)
{
    char what[400];
    if (mend_skew(call, answer, error) || mend_region(call, answer, error) ||
        mend_credentials(call, error)) {
        myco_timer_start(&call->timer, 0, 0);
        return;
    }
    if (is_busy(answer, error) && tries_left(call)) {
        pause_and_retry(call);
        return;
    }
    snprintf(what, sizeof(what), "%d %s%s%s", answer->status, error->code,
        error->message[0] ? ": " : "", error->message);
    fail(call, answer->status == 200 ? MYCO_EUNAVAILABLE : status_of(answer, error), what, answer);
}

static void on_answer(const struct myco_http_answer *answer, void *data)
{
    struct s3_call *call = data;
    struct myco_s3_error error = {0};
    call->http = NULL;
    if (answer->error != 0) {
        bool again = answer->error == MYCO_ENOTCONN || answer->error == MYCO_ETIMEDOUT ||
                     answer->error == MYCO_EIO;
        if (again && tries_left(call))
            pause_and_retry(call);
        else
            fail(call, answer->error, answer->message, NULL);
        return;
    }
    bool fine = answer->status >= 200 && answer->status < 300;
    /* The end of a multipart upload may fail after its 200 was sent. */
    if (!fine || strcmp(call->method, "POST") == 0)
        myco_s3_read_error(myco_buf_as_slice(answer->body), &error);
    if (fine && error.code[0] == '\0')
        end(call, 0, "", answer);
    else
        refused(call, answer, &error);
}

/* ── Sending ────────────────────────────────────────────────────────────────────────────────── */

/* The path, not encoded: "/bucket/key", or "/key" when the bucket is in the host. */
static void path_of(const struct s3_call *call, struct myco_buf *out)
{
    if (call->store->options.path_style) myco_buf_printf(out, "/%s", call->store->bucket);
    if (call->key != NULL || !call->store->options.path_style) myco_buf_u8(out, '/');
    if (call->key != NULL) myco_buf_printf(out, "%s", call->key);
    myco_buf_u8(out, 0);
}

static void url_of(const struct s3_call *call, const char *path, struct myco_buf *out)
{
    myco_buf_printf(out, "%s%s", call->store->scheme_host, call->store->host);
    myco_s3_encode(out, path, false);
    if (call->query_count > 0) myco_buf_u8(out, '?');
    myco_s3_query(out, call->query, call->query_count);
    myco_buf_u8(out, 0);
}

static void send_signed(struct s3_call *call, const char *path, const char *url)
{
    struct s3_store *store = call->store;
    struct myco_env *env = store->base.env;
    struct myco_buf authorization = {0};
    char time[17];
    uint64_t now_ms = (uint64_t)((int64_t)env->ops->wall_ms(env) + store->skew_ms);
    struct myco_s3_to_sign to_sign = {.method = call->method,
        .host = store->host,
        .path = path,
        .query = call->query,
        .query_count = call->query_count,
        .headers = call->headers,
        .header_count = call->header_count,
        .content_hash = call->hash,
        .region = store->region,
        .time_ms = now_ms};
    myco_s3_time(now_ms, time);
    myco_s3_sign(&to_sign, &store->credentials, &authorization);

    struct myco_http_header headers[S3_HEADERS_MAX + 4];
    size_t count = 0;
    headers[count++] = (struct myco_http_header){"Authorization", (const char *)authorization.data};
    headers[count++] = (struct myco_http_header){"x-amz-content-sha256", call->hash};
    headers[count++] = (struct myco_http_header){"x-amz-date", time};
    if (store->credentials.token[0])
        headers[count++] =
            (struct myco_http_header){"x-amz-security-token", store->credentials.token};
    for (size_t i = 0; i < call->header_count; i++) headers[count++] = call->headers[i];
    struct myco_http_request request = {.method = call->method,
        .url = url,
        .headers = headers,
        .header_count = count,
        .body = myco_buf_as_slice(&call->body),
        .timeout_ms = store->options.timeout_ms ? store->options.timeout_ms : TIMEOUT_MS,
        .answer_max = call->answer_max};
    call->http = store->options.http->ops->send(store->options.http, &request, on_answer, call);
    myco_buf_free(&authorization);
}

static void attempt(void *data)
{
    struct s3_call *call = data;
    struct myco_buf path = {0}, url = {0};
    call->attempt++;
    path_of(call, &path);
    url_of(call, (const char *)path.data, &url);
    send_signed(call, (const char *)path.data, (const char *)url.data);
    myco_buf_free(&path);
    myco_buf_free(&url);
}

struct s3_call *myco__s3_send(
    struct s3_store *store, const struct s3_request *request, s3_call_cb cb, void *data)
{
    struct s3_call *call = myco_alloc(sizeof(*call));
    call->store = store;
    call->cb = cb;
    call->data = data;
    call->answer_max = request->answer_max;
    snprintf(call->method, sizeof(call->method), "%s", request->method);
    if (request->key != NULL) {
        struct myco_buf key = {0};
        myco__s3_full_key(store, request->key, &key);
        call->key = (char *)key.data;
    }
    for (size_t i = 0; i < request->query_count; i++) {
        call->query[i] = request->query[i];
        call->query[i].value = myco_strdup(request->query[i].value);
    }
    call->query_count = request->query_count;
    for (size_t i = 0; i < request->header_count; i++) {
        call->headers[i] = request->headers[i];
        call->headers[i].value = myco_strdup(request->headers[i].value);
    }
    call->header_count = request->header_count;
    myco_buf_bytes(&call->body, request->body.data, request->body.size);
    myco_s3_hash(request->body, call->hash);
    myco_timer_init(&call->timer, store->base.env, attempt, call);
    myco_list_append(&store->calls, &call->link);
    myco_timer_start(&call->timer, 0, 0);
    return call;
}

void myco__s3_cancel(struct s3_call *call)
{
    struct myco_http *http = call->store->options.http;
    if (call->http != NULL) http->ops->cancel(http, call->http);
    free_call(call);
}
