/* The object store that is a bucket, by libs3. It knows no If-None-Match: put-if-absent looks first
 * and puts then, which is right for one declared writer only; the URL has to declare it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "s3-libs3/private.h"

#define PAUSE_MS     100
#define PAUSE_MAX_MS 5000
#define REQUESTS_MAX 1024
#define OBJECT_MAX   (1024u * 1024 * 1024)
#define PAGE         1000

struct libs3_store {
    struct myco_object base;
    struct libs3_loop *loop;
    S3BucketContext bucket;
    char host[256], region[64];
    struct myco_s3_credentials credentials;
    const char *prefix;
    unsigned attempts;
    int timeout_ms;
    struct myco_list tasks;
    size_t task_count;
    bool closing;
};

enum what { HEAD_THEN_PUT, PUT, GET, LIST, DEL };

/* One call of the interface. */
struct libs3_task {
    struct myco_list link;
    struct libs3_store *store;
    enum what what;
    unsigned attempt;
    struct myco_timer timer;
    int refused;
    char *key;                     /* whole; of a list: the prefix */
    struct myco_buf bytes;         /* to put, or got */
    size_t sent;                   /* of them */
    uint64_t offset, size;         /* of a get */
    struct myco_object_info *list; /* keys are given, without the store's prefix */
    size_t list_count, list_capacity;
    bool more, too_big;
    char marker[1025];
    char details[256];
    myco_object_cb cb;
    myco_object_get_cb get_cb;
    myco_object_list_cb list_cb;
    void *data;
};

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

static void free_list(struct libs3_task *task)
{
    for (size_t i = 0; i < task->list_count; i++) myco_free((void *)task->list[i].key);
    task->list_count = 0;
}

static void count(struct libs3_task *task, int status)
{
    struct myco_metrics *metrics = task->store->base.env->metrics;
    bool answer = status == 0 || status == MYCO_EEXISTS || status == MYCO_ENOTFOUND;
    if (!answer && status != MYCO_ECANCELED) MYCO_METRIC_ADD(metrics, STORE_ERRORS, 1);
    if (task->what == PUT && status == 0) MYCO_METRIC_ADD(metrics, STORE_PUTS, 1);
}

static void end(struct libs3_task *task, int status, const char *message)
{
    struct myco_buf none = {0};
    myco_timer_stop(&task->timer);
    myco_list_remove(&task->link);
    task->store->task_count--;
    count(task, status);
    if (status != 0) myco_buf_clear(&task->bytes);
    if (task->cb != NULL) task->cb(status, message, task->data);
    if (task->get_cb != NULL)
        task->get_cb(status, message, status == 0 ? &task->bytes : &none, task->data);
    if (task->list_cb != NULL)
        task->list_cb(status, message, task->list, status == 0 ? task->list_count : 0, task->data);
    free_list(task);
    myco_free(task->list);
    myco_buf_free(&task->bytes);
    myco_free(task->key);
    myco_free(task);
}

static int status_of(S3Status status)
{
    switch (status) {
    case S3StatusOK: return 0;
    case S3StatusErrorNoSuchKey:
    case S3StatusHttpErrorNotFound: return MYCO_ENOTFOUND;
    case S3StatusErrorNoSuchBucket:
    case S3StatusErrorInvalidBucketName: return MYCO_EINVAL;
    case S3StatusErrorAccessDenied:
    case S3StatusErrorInvalidAccessKeyId:
    case S3StatusErrorSignatureDoesNotMatch:
    case S3StatusErrorRequestTimeTooSkewed:
    case S3StatusErrorExpiredToken:
    case S3StatusServerFailedVerification:
    case S3StatusHttpErrorForbidden: return MYCO_EDENIED;
    case S3StatusErrorEntityTooLarge: return MYCO_ETOOBIG;
    case S3StatusOutOfMemory: return MYCO_ENOMEM;
    case S3StatusFailedToConnect:
    case S3StatusNameLookupError: return MYCO_ENOTCONN;
    default: return S3_status_is_retryable(status) ? MYCO_EUNAVAILABLE : MYCO_EIO;
    }
}

static void start(void *data);

static void retry(struct libs3_task *task)
{
    uint64_t most = (uint64_t)PAUSE_MS << (task->attempt < 10 ? task->attempt : 10);
    if (most > PAUSE_MAX_MS) most = PAUSE_MAX_MS;
    myco_timer_start(&task->timer, 1 + myco_random_below(task->store->base.env, most), 0);
}

/* An answer that is a step on the way, and no end: whether it was. */
static bool goes_on(struct libs3_task *task, S3Status status)
{
    bool absent = status_of(status) == MYCO_ENOTFOUND;
    if (task->what == HEAD_THEN_PUT && absent)
        task->what = PUT;
    else if (task->what != LIST || status != S3StatusOK || !task->more)
        return false;
    task->attempt = 0;
    myco_timer_start(&task->timer, 0, 0);
    return true;
}

static void on_complete(S3Status status, const S3ErrorDetails *details, void *data)
{
    struct libs3_task *task = data;
    if (task->store->closing) return; /* close() ends it */
    if (goes_on(task, status)) return;
    bool busy = S3_status_is_retryable(status) || status == S3StatusErrorSlowDown ||
                status == S3StatusConnectionFailed;
    if (busy && !task->too_big && task->attempt < task->store->attempts) {
        retry(task);
        return;
    }
    int result = task->too_big ? MYCO_ETOOBIG : status_of(status);
    if (task->what == HEAD_THEN_PUT && result == 0) result = MYCO_EEXISTS;
    if (task->what == DEL && result == MYCO_ENOTFOUND) result = 0;
    if (task->what == GET && status == S3StatusErrorInvalidRange) result = 0; /* beyond the end */
    snprintf(task->details, sizeof(task->details), "S3 %.120s: %s%s%.60s", task->key,
        S3_get_status_name(status), details != NULL && details->message != NULL ? ": " : "",
        details != NULL && details->message != NULL ? details->message : "");
    char message[sizeof(task->details)];
    memcpy(message, task->details, sizeof(message));
    end(task, result, result == 0 ? "" : message);
}

static S3Status on_properties(const S3ResponseProperties *properties, void *data)
{
    (void)properties, (void)data;
    return S3StatusOK;
}

static int on_send(int size, char *buffer, void *data)
{
    struct libs3_task *task = data;
    size_t left = task->bytes.size - task->sent;
    size_t chunk = left < (size_t)size ? left : (size_t)size;
    memcpy(buffer, task->bytes.data + task->sent, chunk);
    task->sent += chunk;
    return (int)chunk;
}

static S3Status on_receive(int size, const char *bytes, void *data)
{
    struct libs3_task *task = data;
    task->too_big = task->bytes.size + (size_t)size > OBJECT_MAX;
    if (!task->too_big) myco_buf_bytes(&task->bytes, bytes, (size_t)size);
    return task->too_big || task->bytes.failed ? S3StatusAbortedByCallback : S3StatusOK;
}

static bool add_item(struct libs3_task *task, const S3ListBucketContent *item)
{
    if (task->list_count == task->list_capacity) {
        size_t capacity = task->list_capacity ? 2 * task->list_capacity : 64;
        void *list = myco_try_realloc(task->list, capacity * sizeof(*task->list));
        if (list == NULL) return false;
        task->list = list;
        task->list_capacity = capacity;
    }
    size_t skip = task->store->prefix[0] ? strlen(task->store->prefix) + 1 : 0;
    if (strlen(item->key) < skip) return true; /* not ours */
    task->list[task->list_count++] = (struct myco_object_info){.key = myco_strdup(item->key + skip),
        .size = item->size,
        .modified_ms = item->lastModified > 0 ? (uint64_t)item->lastModified * 1000 : 0};
    return true;
}

static S3Status on_page(int truncated, const char *next, int item_count,
    const S3ListBucketContent *items, int prefix_count, const char **prefixes, void *data)
{
    struct libs3_task *task = data;
    (void)prefix_count, (void)prefixes;
    for (int i = 0; i < item_count; i++)
        if (!add_item(task, &items[i])) return S3StatusAbortedByCallback;
    if (next == NULL || !next[0]) next = item_count > 0 ? items[item_count - 1].key : "";
    task->more = truncated && next[0] && strlen(next) < sizeof(task->marker);
    if (task->more) memcpy(task->marker, next, strlen(next) + 1);
    return truncated && !task->more ? S3StatusAbortedByCallback : S3StatusOK;
}

/* ── Requests ───────────────────────────────────────────────────────────────────────────────── */

#if MYCO_LIBS3_4
#define TIMEOUT(store) , (store)->timeout_ms
#else
#define TIMEOUT(store)
#endif

static void start(void *data)
{
    static const S3ResponseHandler plain = {on_properties, on_complete};
    static const S3PutObjectHandler put = {{on_properties, on_complete}, on_send};
    static const S3GetObjectHandler get = {{on_properties, on_complete}, on_receive};
    static const S3ListBucketHandler list = {{on_properties, on_complete}, on_page};
    static const S3PutProperties properties = {.expires = -1};
    static const S3GetConditions conditions = {.ifModifiedSince = -1, .ifNotModifiedSince = -1};
    struct libs3_task *task = data;
    struct libs3_store *store = task->store;
    S3RequestContext *context = libs3_loop_context(store->loop);
    if (task->refused) {
        end(task, task->refused, myco_strerror(task->refused));
        return;
    }
    task->attempt++;
    task->sent = 0;
    if (task->what == GET) myco_buf_clear(&task->bytes);
    switch (task->what) {
    case HEAD_THEN_PUT:
        S3_head_object(&store->bucket, task->key, context TIMEOUT(store), &plain, task);
        break;
    case PUT:
        S3_put_object(&store->bucket, task->key, task->bytes.size, &properties,
            context TIMEOUT(store), &put, task);
        break;
    case GET:
        S3_get_object(&store->bucket, task->key, &conditions, task->offset, task->size,
            context TIMEOUT(store), &get, task);
        break;
    case LIST:
        S3_list_bucket(&store->bucket, task->key, task->marker[0] ? task->marker : NULL, NULL, PAGE,
            context TIMEOUT(store), &list, task);
        break;
    case DEL:
        S3_delete_object(&store->bucket, task->key, context TIMEOUT(store), &plain, task);
        break;
    }
    libs3_loop_kick(store->loop);
}

/* ── The interface ──────────────────────────────────────────────────────────────────────────── */

static struct libs3_task *new_task(
    struct myco_object *base, enum what what, const char *key, void *data)
{
    struct libs3_store *store = MYCO_CONTAINER(base, struct libs3_store, base);
    struct libs3_task *task = myco_alloc(sizeof(*task));
    struct myco_buf whole = {0};
    task->store = store;
    task->what = what;
    task->data = data;
    myco_buf_printf(&whole, "%s%s%s", store->prefix, store->prefix[0] ? "/" : "", key);
    myco_buf_u8(&whole, 0);
    task->key = (char *)whole.data;
    if (what != LIST && !myco_object_key_valid(key))
        task->refused = MYCO_EINVAL;
    else if (store->task_count >= REQUESTS_MAX)
        task->refused = MYCO_EFULL;
    myco_timer_init(&task->timer, base->env, start, task);
    myco_timer_start(&task->timer, 0, 0);
    myco_list_append(&store->tasks, &task->link);
    store->task_count++;
    return task;
}

static void libs3_put(struct myco_object *base, const char *key, struct myco_slice bytes, int flags,
    myco_object_cb cb, void *data)
{
    bool look = flags & MYCO_OBJECT_IF_ABSENT;
    struct libs3_task *task = new_task(base, look ? HEAD_THEN_PUT : PUT, key, data);
    task->cb = cb;
    myco_buf_bytes(&task->bytes, bytes.data, bytes.size);
}

static void libs3_get(struct myco_object *base, const char *key, uint64_t offset, uint64_t size,
    myco_object_get_cb cb, void *data)
{
    struct libs3_task *task = new_task(base, GET, key, data);
    task->get_cb = cb;
    task->offset = offset;
    task->size = size;
}

static void libs3_list(
    struct myco_object *base, const char *prefix, myco_object_list_cb cb, void *data)
{
    new_task(base, LIST, prefix, data)->list_cb = cb;
}

static void libs3_del(struct myco_object *base, const char *key, myco_object_cb cb, void *data)
{
    new_task(base, DEL, key, data)->cb = cb;
}

static void libs3_close(struct myco_object *base)
{
    struct libs3_store *store = MYCO_CONTAINER(base, struct libs3_store, base);
    store->closing = true;
    libs3_loop_abort(store->loop); /* its callbacks are silent now, and none comes later */
    MYCO_LIST_EACH (item, &store->tasks) {
        end(MYCO_CONTAINER(item, struct libs3_task, link), MYCO_ECANCELED,
            myco_strerror(MYCO_ECANCELED));
    }
    explicit_bzero(&store->credentials, sizeof(store->credentials));
    myco_free(store);
}

static const struct myco_object_ops ops = {
    .name = "s3-libs3",
    .put_if_absent = false,
    .put = libs3_put,
    .get = libs3_get,
    .list = libs3_list,
    .del = libs3_del,
    .close = libs3_close,
};

struct myco_object *libs3_store(struct myco_env *env, struct libs3_loop *loop,
    const struct myco_s3_url *url, const char *region,
    const struct myco_s3_credentials *credentials)
{
    struct libs3_store *store = myco_alloc(sizeof(*store));
    const char *endpoint = url->endpoint != NULL ? url->endpoint : "https://" S3_DEFAULT_HOSTNAME;
    const char *host = strstr(endpoint, "://");
    store->base.ops = &ops;
    store->base.env = env;
    store->loop = loop;
    store->prefix = url->prefix;
    store->attempts = url->attempts;
    store->timeout_ms = (int)url->timeout_ms;
    store->credentials = *credentials;
    snprintf(store->host, sizeof(store->host), "%s", host != NULL ? host + 3 : endpoint);
    snprintf(store->region, sizeof(store->region), "%s", region);
    store->bucket = (S3BucketContext)
    {
        .hostName = store->host, .bucketName = url->bucket,
        .protocol = strncmp(endpoint, "http://", 7) == 0 ? S3ProtocolHTTP : S3ProtocolHTTPS,
        .uriStyle = url->path_style ? S3UriStylePath : S3UriStyleVirtualHost,
        .accessKeyId = store->credentials.key_id,
#if MYCO_LIBS3_4
        .securityToken = store->credentials.token[0] ? store->credentials.token : NULL,
        .authRegion = store->region,
#endif
        .secretAccessKey = store->credentials.secret
    };
    myco_list_init(&store->tasks);
    return &store->base;
}
