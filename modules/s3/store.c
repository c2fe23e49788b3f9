/* The object store that is a bucket: what the interface asks, as requests of S3. */
#include "s3/store.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "s3/private.h"

#define REQUESTS_MAX 1024
#define OBJECT_MAX   (1024u * 1024 * 1024) /* of one get */
#define LIST_MAX     (16u * 1024 * 1024)   /* of one page of a listing, as XML */

/* One call of the interface. */
struct s3_task {
    struct myco_list link;
    struct s3_store *store;
    struct s3_call *call;
    struct s3_upload *upload;
    struct myco_deferred deferred; /* refused without asking the store */
    int refused;
    bool put, whole, again;
    char *key; /* get: to try again; list: the prefix */
    struct myco_s3_listing listing;
    myco_object_cb cb;
    myco_object_get_cb get_cb;
    myco_object_list_cb list_cb;
    void *data;
};

static void send_get(struct s3_task *task, uint64_t offset, uint64_t size);

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

static void count(struct s3_task *task, int status)
{
    struct myco_metrics *metrics = task->store->base.env->metrics;
    bool answer = status == 0 || status == MYCO_EEXISTS || status == MYCO_ENOTFOUND;
    if (!answer && status != MYCO_ECANCELED) MYCO_METRIC_ADD(metrics, STORE_ERRORS, 1);
    if (task->put && status == 0) MYCO_METRIC_ADD(metrics, STORE_PUTS, 1);
}

static void answer(struct s3_task *task, int status, const char *message, struct myco_buf *bytes)
{
    struct myco_buf empty = {0};
    count(task, status);
    if (task->cb != NULL) task->cb(status, message, task->data);
    if (task->get_cb != NULL)
        task->get_cb(status, message, bytes != NULL ? bytes : &empty, task->data);
    if (task->list_cb != NULL)
        task->list_cb(status, message, task->listing.infos, status == 0 ? task->listing.count : 0,
            task->data);
}

static void end(struct s3_task *task, int status, const char *message, struct myco_buf *bytes)
{
    myco_list_remove(&task->link);
    task->store->task_count--;
    answer(task, status, message, bytes);
    myco_s3_listing_free(&task->listing);
    myco_free(task->key);
    myco_free(task);
}

static void on_refused(void *data)
{
    struct s3_task *task = data;
    end(task, task->refused,
        task->refused == MYCO_EFULL ? "too many requests wait for the object store"
                                    : myco_strerror(task->refused),
        NULL);
}

static struct s3_store *store_of(struct myco_object *base)
{
    return MYCO_CONTAINER(base, struct s3_store, base);
}

/* `key` NULL: there is none to check. */
static struct s3_task *new_task(struct myco_object *base, const char *key, void *data)
{
    struct s3_store *store = store_of(base);
    struct s3_task *task = myco_alloc(sizeof(*task));
    size_t most = store->options.requests_max ? store->options.requests_max : REQUESTS_MAX;
    task->store = store;
    task->data = data;
    if (key != NULL && !myco_object_key_valid(key))
        task->refused = MYCO_EINVAL;
    else if (store->task_count >= most)
        task->refused = MYCO_EFULL;
    myco_list_append(&store->tasks, &task->link);
    store->task_count++;
    if (task->refused) myco_defer(base->env, &task->deferred, on_refused, task);
    return task;
}

/* ── put and del ────────────────────────────────────────────────────────────────────────────── */

static void on_done(
    int status, const char *message, const struct myco_http_answer *http, void *data)
{
    struct s3_task *task = data;
    (void)http;
    task->call = NULL;
    end(task, status, message, NULL);
}

static void on_deleted(
    int status, const char *message, const struct myco_http_answer *http, void *data)
{
    on_done(
        status == MYCO_ENOTFOUND ? 0 : status, status == MYCO_ENOTFOUND ? "" : message, http, data);
}

static void on_uploaded(int status, const char *message, void *data)
{
    struct s3_task *task = data;
    task->upload = NULL;
    end(task, status, message, NULL);
}

static void s3_put(struct myco_object *base, const char *key, struct myco_slice bytes, int flags,
    myco_object_cb cb, void *data)
{
    struct s3_task *task = new_task(base, key, data);
    char hash[MYCO_S3_HASH_SIZE];
    task->cb = cb;
    task->put = true;
    if (task->refused) return;
    myco_s3_hash(bytes, hash);
    if (bytes.size > MYCO_S3_PART_SIZE && !(flags & MYCO_OBJECT_IF_ABSENT)) {
        task->upload = myco__s3_upload(task->store, key, bytes, hash, on_uploaded, task);
        return;
    }
    struct s3_request request = {.method = "PUT",
        .key = key,
        .headers = {{"x-amz-meta-myco-sha256", hash}, {"if-none-match", "*"}},
        .header_count = flags & MYCO_OBJECT_IF_ABSENT ? 2 : 1,
        .body = bytes};
    task->call = myco__s3_send(task->store, &request, on_done, task);
}

static void s3_del(struct myco_object *base, const char *key, myco_object_cb cb, void *data)
{
    struct s3_task *task = new_task(base, key, data);
    task->cb = cb;
    if (task->refused) return;
    struct s3_request request = {.method = "DELETE", .key = key};
    task->call = myco__s3_send(task->store, &request, on_deleted, task);
}

/* ── get ────────────────────────────────────────────────────────────────────────────────────── */

/* By the checksum that was put with it; what others put has none, and is not judged. */
static bool is_whole(const struct myco_http_answer *http)
{
    char hash[MYCO_S3_HASH_SIZE];
    const char *want = http->header(http, "x-amz-meta-myco-sha256");
    if (want == NULL) return true;
    myco_s3_hash(myco_buf_as_slice(http->body), hash);
    return strcmp(want, hash) == 0;
}

static void on_got(int status, const char *message, const struct myco_http_answer *http, void *data)
{
    struct s3_task *task = data;
    task->call = NULL;
    if (status != 0 && http != NULL && http->status == 416) { /* it ends before that */
        end(task, 0, "", NULL);
    } else if (status != 0) {
        end(task, status, message, NULL);
    } else if (task->whole && !is_whole(http)) {
        MYCO_WARN(task->store->base.env->log, "store", "an object came with a wrong checksum",
            "key=%s again=%s", task->key, task->again ? "no" : "yes");
        if (task->again)
            end(task, MYCO_ECORRUPT, "the object's checksum is wrong, twice", NULL);
        else
            task->again = true, send_get(task, 0, 0);
    } else {
        end(task, 0, "", http->body);
    }
}

static void send_get(struct s3_task *task, uint64_t offset, uint64_t size)
{
    char range[64];
    if (size > 0)
        snprintf(range, sizeof(range), "bytes=%llu-%llu", (unsigned long long)offset,
            (unsigned long long)(offset + size - 1));
    else
        snprintf(range, sizeof(range), "bytes=%llu-", (unsigned long long)offset);
    struct s3_request request = {.method = "GET",
        .key = task->key,
        .headers = {{"range", range}},
        .header_count = task->whole ? 0 : 1,
        .answer_max = OBJECT_MAX};
    task->call = myco__s3_send(task->store, &request, on_got, task);
}

static void s3_get(struct myco_object *base, const char *key, uint64_t offset, uint64_t size,
    myco_object_get_cb cb, void *data)
{
    struct s3_task *task = new_task(base, key, data);
    task->get_cb = cb;
    if (task->refused) return;
    task->key = myco_strdup(key);
    task->whole = offset == 0 && size == 0;
    send_get(task, offset, size);
}

/* ── list ───────────────────────────────────────────────────────────────────────────────────── */

static void list_page(struct s3_task *task);

/* Keys as the caller knows them: without the store's prefix. */
static bool strip_prefix(struct s3_task *task)
{
    size_t size = strlen(task->store->prefix);
    if (size == 0) return true;
    for (size_t i = 0; i < task->listing.count; i++) {
        const char *key = task->listing.infos[i].key;
        if (strncmp(key, task->store->prefix, size) != 0 || key[size] != '/') return false;
        char *rest = myco_strdup(key + size + 1);
        myco_free((void *)key);
        task->listing.infos[i].key = rest;
    }
    return true;
}

static void on_listed(
    int status, const char *message, const struct myco_http_answer *http, void *data)
{
    struct s3_task *task = data;
    task->call = NULL;
    if (status == 0) {
        status = myco_s3_read_listing(myco_buf_as_slice(http->body), &task->listing);
        message = "S3 answered with a listing that can't be read";
    }
    if (status == 0 && task->listing.more) {
        list_page(task);
        return;
    }
    if (status == 0 && !strip_prefix(task)) status = MYCO_EPROTO;
    end(task, status, status == 0 ? "" : message, NULL);
}

static void list_page(struct s3_task *task)
{
    struct myco_buf prefix = {0};
    myco__s3_full_key(task->store, task->key, &prefix);
    struct s3_request request = {.method = "GET", .answer_max = LIST_MAX};
    if (task->listing.next[0])
        request.query[request.query_count++] =
            (struct myco_s3_parameter){"continuation-token", task->listing.next};
    request.query[request.query_count++] = (struct myco_s3_parameter){"list-type", "2"};
    request.query[request.query_count++] =
        (struct myco_s3_parameter){"prefix", (const char *)prefix.data};
    task->call = myco__s3_send(task->store, &request, on_listed, task);
    myco_buf_free(&prefix);
}

static void s3_list(
    struct myco_object *base, const char *prefix, myco_object_list_cb cb, void *data)
{
    struct s3_task *task = new_task(base, NULL, data);
    task->list_cb = cb;
    if (task->refused) return;
    task->key = myco_strdup(prefix);
    list_page(task);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static void s3_close(struct myco_object *base)
{
    struct s3_store *store = store_of(base);
    struct myco_list *link;
    while ((link = myco_list_pop(&store->tasks)) != NULL) {
        struct s3_task *task = MYCO_CONTAINER(link, struct s3_task, link);
        myco_list_init(&task->link);
        if (task->call != NULL) myco__s3_cancel(task->call);
        if (task->upload != NULL) myco__s3_upload_cancel(task->upload);
        if (task->refused) myco_defer_cancel(&task->deferred);
        end(task, MYCO_ECANCELED, myco_strerror(MYCO_ECANCELED), NULL);
    }
    OPENSSL_cleanse(&store->credentials, sizeof(store->credentials));
    myco_free(store->endpoint);
    myco_free(store->bucket);
    myco_free(store->prefix);
    myco_free(store->scheme_host);
    myco_free(store->host);
    myco_free(store);
}

static const struct myco_object_ops s3_ops = {
    .name = "s3",
    .put_if_absent = true,
    .put = s3_put,
    .get = s3_get,
    .list = s3_list,
    .del = s3_del,
    .close = s3_close,
};

static char *text_of(struct myco_buf *buf)
{
    myco_buf_u8(buf, 0);
    return (char *)buf->data;
}

static int check(const struct myco_s3_options *options, struct myco_err *err)
{
    const char *rest = strstr(options->endpoint, "://");
    bool scheme = strncmp(options->endpoint, "https://", 8) == 0 ||
                  strncmp(options->endpoint, "http://", 7) == 0;
    if (!scheme || rest == NULL || rest[3] == '\0' || strpbrk(rest + 3, "/?#@ ") != NULL)
        return myco_err(err, MYCO_EINVAL,
            "endpoint '%s': should be like https://s3.example.com or http://127.0.0.1:9000",
            options->endpoint);
    if (!options->bucket[0] || strpbrk(options->bucket, "/?#@: ") != NULL)
        return myco_err(err, MYCO_EINVAL, "'%s' is no name of a bucket", options->bucket);
    if (options->prefix[0] && !myco_object_key_valid(options->prefix))
        return myco_err(err, MYCO_EINVAL, "'%s' is no prefix of keys", options->prefix);
    if (!options->region[0] || strlen(options->region) > 63)
        return myco_err(err, MYCO_EINVAL, "'%s' is no region", options->region);
    return 0;
}

int myco_object_s3(struct myco_env *env, const struct myco_s3_options *options,
    struct myco_object **out, struct myco_err *err)
{
    int rc = check(options, err);
    if (rc) return rc;
    struct s3_store *store = myco_alloc(sizeof(*store));
    store->base.ops = &s3_ops;
    store->base.env = env;
    store->options = *options;
    store->endpoint = myco_strdup(options->endpoint);
    store->bucket = myco_strdup(options->bucket);
    store->prefix = myco_strdup(options->prefix);
    snprintf(store->region, sizeof(store->region), "%s", options->region);
    const char *host = strstr(store->endpoint, "://") + 3;
    struct myco_buf scheme = {0}, full = {0};
    myco_buf_bytes(&scheme, store->endpoint, (size_t)(host - store->endpoint));
    myco_buf_printf(&full, "%s%s%s", options->path_style ? "" : store->bucket,
        options->path_style ? "" : ".", host);
    store->scheme_host = text_of(&scheme);
    store->host = text_of(&full);
    myco_list_init(&store->tasks);
    myco_list_init(&store->calls);
    *out = &store->base;
    rc = options->credentials(&store->credentials, err, options->credentials_data);
    if (rc) s3_close(&store->base);
    return rc;
}
