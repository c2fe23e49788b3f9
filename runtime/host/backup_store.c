/* Waits for an object store's answers. */
#include "host/backup_store.h"

#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/mem.h"
#include "host/store_keys.h"

struct answer {
    bool done;
    struct myco_err *err;
    int status;
    struct myco_buf *bytes;
    struct backup_manifest *list;
    size_t count;
    struct myco_manifest *manifest;
};

static void wait_for(struct backup_store *store, struct answer *answer)
{
    while (!answer->done && uv_run(&store->loop, UV_RUN_ONCE)) {
    }
    if (!answer->done) answer->status = myco_err(answer->err, MYCO_EIO, "the store gave no answer");
}

static void note(struct answer *answer, int status, const char *message)
{
    answer->done = true;
    answer->status = status;
    if (status) myco_err(answer->err, status, "%.200s", message);
}

static void on_done(int status, const char *message, void *data)
{
    note(data, status, message);
}

static void on_get(int status, const char *message, struct myco_buf *bytes, void *data)
{
    struct answer *answer = data;
    if (status == 0) myco_buf_move(answer->bytes, bytes);
    note(answer, status, message);
}

static void on_list(
    int status, const char *message, const struct myco_object_info *infos, size_t count, void *data)
{
    struct answer *answer = data;
    answer->list = myco_alloc((count + 1) * sizeof *answer->list);
    for (size_t i = 0; i < count; i++) {
        struct backup_manifest *entry = &answer->list[answer->count];
        if (!myco_manifest_key_parse(infos[i].key, &entry->epoch, &entry->sequence) ||
            entry->sequence == 0)
            continue;
        strcpy(entry->key, infos[i].key);
        entry->size = infos[i].size;
        entry->modified_ms = infos[i].modified_ms;
        answer->count++;
    }
    note(answer, status, message);
}

static void on_chain(int status, const char *message, struct myco_manifest *manifest, void *data)
{
    struct answer *answer = data;
    if (manifest && answer->manifest) {
        *answer->manifest = *manifest;
        memset(manifest, 0, sizeof *manifest);
    }
    note(answer, status, message);
}

/* ── life ── */

int backup_store_open(
    struct backup_store *store, const char *url, const char *key_file, struct myco_err *err)
{
    struct myco_addr any, bound;
    struct myco_store_keys keys;
    memset(store, 0, sizeof *store);
    int rc = key_file ? node_store_keys(key_file, &store->log, &keys, err) : 0;
    if (rc) return rc;
    uv_loop_init(&store->loop);
    store->looped = true;
    myco_addr_parse(&any, "127.0.0.1:0", NULL);
    rc = myco_uv_env_open(
        &store->env, &store->loop, &any, &bound, &store->log, &store->metrics, err);
    if (rc == 0)
        rc = node_store_open(&store->backing, &store->loop, myco_uv_env(store->env), url, err);
    if (rc == 0 && key_file)
        store->backing.object = myco_object_sealed(store->backing.object, &keys);
    if (key_file) myco_seal_wipe(&keys, sizeof keys);
    return rc;
}

static void closed(void *data)
{
    *(bool *)data = true;
}

void backup_store_close(struct backup_store *store)
{
    bool done = false;
    if (!store->looped) return;
    node_store_close(&store->backing, closed, &done);
    while (!done && uv_run(&store->loop, UV_RUN_ONCE)) {
    }
    if (store->env) myco_uv_env_close(store->env, NULL, NULL);
    uv_run(&store->loop, UV_RUN_DEFAULT);
    uv_loop_close(&store->loop);
}

/* ── calls ── */

int backup_get(
    struct backup_store *store, const char *key, struct myco_buf *bytes, struct myco_err *err)
{
    struct answer answer = {.bytes = bytes, .err = err};
    store->backing.object->ops->get(store->backing.object, key, 0, 0, on_get, &answer);
    wait_for(store, &answer);
    return answer.status ? myco_err_wrap(err, "%s", key) : 0;
}

int backup_put(struct backup_store *store, const char *key, struct myco_slice bytes, int flags,
    struct myco_err *err)
{
    struct answer answer = {.err = err};
    store->backing.object->ops->put(store->backing.object, key, bytes, flags, on_done, &answer);
    wait_for(store, &answer);
    return answer.status ? myco_err_wrap(err, "%s", key) : 0;
}

int backup_manifests(
    struct backup_store *store, struct backup_manifest **list, size_t *count, struct myco_err *err)
{
    struct answer answer = {.err = err};
    store->backing.object->ops->list(store->backing.object, "m/", on_list, &answer);
    wait_for(store, &answer);
    *list = answer.list;
    *count = answer.count;
    return answer.status;
}

int backup_read_manifest(struct backup_store *store, const char *key,
    struct myco_manifest *manifest, struct myco_err *err)
{
    struct myco_buf bytes = {0};
    int rc = backup_get(store, key, &bytes, err);
    if (rc == 0) {
        rc = myco_manifest_decode(manifest, myco_buf_as_slice(&bytes), err);
        if (rc) myco_err_wrap(err, "%s", key);
    }
    myco_buf_free(&bytes);
    return rc;
}

int backup_take_over(struct backup_store *store, struct myco_chain *chain,
    struct backup_store *source, uint64_t of, uint64_t *incarnation, struct myco_manifest *newest,
    struct myco_err *err)
{
    struct myco_manifest claim = {0};
    struct answer answer = {.err = err, .manifest = &claim};
    char key[32];
    memset(newest, 0, sizeof *newest);
    snprintf(key, sizeof key, "cluster/%llu", (unsigned long long)of);
    int rc = backup_read_manifest(source, key, &claim, err);
    if (rc) return rc;
    uint64_t cluster = claim.cluster;
    myco_manifest_free(&claim);
    myco_chain_claim(chain, cluster, on_chain, &answer);
    wait_for(store, &answer);
    if (answer.status) return myco_err_wrap(err, "claim an incarnation");
    *incarnation = claim.incarnation;
    myco_manifest_free(&claim);
    struct answer taken = {.err = err, .manifest = newest};
    myco_chain_take_over(chain, *incarnation << 48 | 1, on_chain, &taken);
    wait_for(store, &taken);
    return taken.status ? myco_err_wrap(err, "take the manifests over") : 0;
}

int backup_write(struct backup_store *store, struct myco_chain *chain,
    struct myco_manifest *manifest, struct myco_err *err)
{
    struct answer answer = {.err = err};
    myco_chain_write(chain, manifest, on_done, &answer);
    wait_for(store, &answer);
    return answer.status ? myco_err_wrap(err, "write the manifest") : 0;
}
