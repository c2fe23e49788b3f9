/* The object store that is a folder: each key is a file. */
#include "base/mem.h"
#include "object/object.h"

#define KEY_SIZE_MAX 1024

struct file_store {
    struct myco_object base;
    struct myco_disk *disk;
    struct myco_list requests;
    bool closed;
};

/* One call. When the store is closed first, its callback runs then, and the request only waits for
 * the disk. */
struct request {
    struct myco_list link;
    struct file_store *store;
    struct myco_deferred deferred; /* refused without asking the disk */
    bool refused, counted;         /* counted: as a put */
    myco_object_cb cb;
    myco_object_get_cb get_cb;
    myco_object_list_cb list_cb;
    void *data;
};

bool myco_object_key_valid(const char *key)
{
    size_t size = strlen(key), segment = 0;
    if (size == 0 || size > KEY_SIZE_MAX) return false;
    for (const char *at = key;; at++) {
        if (*at == '/' || *at == '\0') {
            bool dots =
                (segment == 1 && at[-1] == '.') || (segment == 2 && at[-1] == '.' && at[-2] == '.');
            if (segment == 0 || dots) return false;
            if (*at == '\0') return true;
            segment = 0;
        } else {
            if (*at <= ' ' || *at > '~') return false;
            segment++;
        }
    }
}

static const char *sentence(int status)
{
    return status == 0 ? "" : myco_strerror(status);
}

static void count(struct request *request, int status)
{
    struct myco_metrics *metrics = request->store->base.env->metrics;
    bool answer = status == 0 || status == MYCO_EEXISTS || status == MYCO_ENOTFOUND;
    if (!answer && status != MYCO_ECANCELED) MYCO_METRIC_ADD(metrics, STORE_ERRORS, 1);
    if (request->counted && status == 0) MYCO_METRIC_ADD(metrics, STORE_PUTS, 1);
}

/* The one place that calls back, at most once for each request. */
static void answer(struct request *request, int status, struct myco_buf *bytes,
    const struct myco_object_info *infos, size_t info_count)
{
    struct request once = *request;
    struct myco_buf empty = {0};
    request->cb = NULL;
    request->get_cb = NULL;
    request->list_cb = NULL;
    if (once.cb != NULL) once.cb(status, sentence(status), once.data);
    if (once.get_cb != NULL)
        once.get_cb(status, sentence(status), bytes != NULL ? bytes : &empty, once.data);
    if (once.list_cb != NULL) once.list_cb(status, sentence(status), infos, info_count, once.data);
}

static void free_request(struct request *request)
{
    struct file_store *store = request->store;
    myco_list_remove(&request->link);
    myco_free(request);
    if (store->closed && myco_list_empty(&store->requests)) myco_free(store);
}

/* ── What the disk answers ──────────────────────────────────────────────────────────────────── */

static void on_done(int status, void *data)
{
    struct request *request = data;
    count(request, status);
    answer(request, status, NULL, NULL, 0);
    free_request(request);
}

static void on_read(int status, struct myco_buf *bytes, void *data)
{
    struct request *request = data;
    count(request, status);
    answer(request, status, bytes, NULL, 0);
    free_request(request);
}

static void on_list(
    int status, const struct myco_disk_entry *entries, size_t entry_count, void *data)
{
    struct request *request = data;
    struct myco_object_info *infos = myco_try_alloc((entry_count + 1) * sizeof(*infos));
    if (infos == NULL) status = MYCO_ENOMEM;
    if (status != 0) entry_count = 0;
    for (size_t i = 0; i < entry_count; i++) {
        infos[i].key = entries[i].path;
        infos[i].size = entries[i].size;
        infos[i].modified_ms = entries[i].modified_ms;
    }
    count(request, status);
    answer(request, status, NULL, infos, entry_count);
    myco_free(infos);
    free_request(request);
}

static void on_refused(void *data)
{
    struct request *request = data;
    answer(request, MYCO_EINVAL, NULL, NULL, 0);
    free_request(request);
}

/* ── The interface ──────────────────────────────────────────────────────────────────────────── */

static struct file_store *store_of(struct myco_object *base)
{
    return MYCO_CONTAINER(base, struct file_store, base);
}

/* `key` NULL: there is none to check. */
static struct request *new_request(struct myco_object *base, const char *key, void *data)
{
    struct file_store *store = store_of(base);
    struct request *request = myco_alloc(sizeof(*request));
    request->store = store;
    request->data = data;
    myco_list_append(&store->requests, &request->link);
    request->refused = key != NULL && !myco_object_key_valid(key);
    if (request->refused) myco_defer(base->env, &request->deferred, on_refused, request);
    return request;
}

static void file_put(struct myco_object *base, const char *key, struct myco_slice bytes, int flags,
    myco_object_cb cb, void *data)
{
    struct request *request = new_request(base, key, data);
    struct myco_disk *disk = store_of(base)->disk;
    request->cb = cb;
    request->counted = true;
    if (request->refused) return;
    int disk_flags = flags & MYCO_OBJECT_IF_ABSENT ? MYCO_DISK_EXCLUSIVE : 0;
    disk->ops->put(disk, key, bytes, disk_flags, on_done, request);
}

static void file_get(struct myco_object *base, const char *key, uint64_t offset, uint64_t size,
    myco_object_get_cb cb, void *data)
{
    struct request *request = new_request(base, key, data);
    struct myco_disk *disk = store_of(base)->disk;
    request->get_cb = cb;
    if (request->refused) return;
    disk->ops->get(disk, key, offset, size > 0 ? size : UINT64_MAX, on_read, request);
}

static void file_list(
    struct myco_object *base, const char *prefix, myco_object_list_cb cb, void *data)
{
    struct request *request = new_request(base, NULL, data);
    struct myco_disk *disk = store_of(base)->disk;
    request->list_cb = cb;
    disk->ops->list(disk, prefix, on_list, request);
}

static void file_del(struct myco_object *base, const char *key, myco_object_cb cb, void *data)
{
    struct request *request = new_request(base, key, data);
    struct myco_disk *disk = store_of(base)->disk;
    request->cb = cb;
    if (request->refused) return;
    disk->ops->del(disk, key, on_done, request);
}

static void file_close(struct myco_object *base)
{
    struct file_store *store = store_of(base);
    MYCO_LIST_EACH (item, &store->requests) {
        struct request *request = MYCO_CONTAINER(item, struct request, link);
        answer(request, MYCO_ECANCELED, NULL, NULL, 0);
        if (!request->refused) continue;
        myco_defer_cancel(&request->deferred);
        free_request(request);
    }
    store->closed = true;
    if (myco_list_empty(&store->requests)) myco_free(store);
}

static const struct myco_object_ops file_ops = {
    .name = "file",
    .put_if_absent = true,
    .put = file_put,
    .get = file_get,
    .list = file_list,
    .del = file_del,
    .close = file_close,
};

struct myco_object *myco_object_file(struct myco_env *env, struct myco_disk *disk)
{
    struct file_store *store = myco_alloc(sizeof(*store));
    store->base.ops = &file_ops;
    store->base.env = env;
    store->disk = disk;
    myco_list_init(&store->requests);
    return &store->base;
}
