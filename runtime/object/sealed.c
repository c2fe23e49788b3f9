/* Sealed objects, around another store. */
#include "object/sealed.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"

#define HEAD_SIZE  32
#define SALT_SIZE  16
#define CHUNK_SIZE 65536u
#define SEALED     (CHUNK_SIZE + MYCO_SEAL_TAG_SIZE)
#define VERSION    1

static const uint8_t magic[4] = {'M', 'Y', 'C', 'S'};

struct sealed {
    struct myco_object base;
    struct myco_object_ops ops; /* as the other store's, but for what is here */
    struct myco_object *inner;
    struct myco_store_keys keys;
    uint64_t ids[MYCO_STORE_KEYS_MAX];
    struct myco_sealer *sealer;
};

/* A get, in one step or two: the header alone first when only a range is wanted. */
struct get {
    struct sealed *store;
    uint64_t offset, size; /* as asked */
    uint8_t head[HEAD_SIZE];
    myco_object_get_cb cb;
    void *data;
    char key[];
};

struct listing {
    myco_object_list_cb cb;
    void *data;
};

static struct sealed *sealed_of(struct myco_object *base)
{
    return MYCO_CONTAINER(base, struct sealed, base);
}

bool myco_object_is_sealed(struct myco_slice bytes, uint64_t *key_id)
{
    struct myco_reader reader = myco_reader((const uint8_t *)bytes.data + 8, bytes.size - 8);
    if (bytes.size < HEAD_SIZE || memcmp(bytes.data, magic, sizeof magic) != 0) return false;
    *key_id = myco_read_u64(&reader);
    return true;
}

/* ── one chunk ── */

static void object_key(
    const struct myco_seal_key *key, const uint8_t head[HEAD_SIZE], struct myco_seal_key *own)
{
    myco_seal_derive(key, "mycorrizal object 1", myco_bytes(head + 16, SALT_SIZE), own);
}

static void chunk_nonce(uint64_t index, bool last, uint8_t nonce[MYCO_SEAL_NONCE_SIZE])
{
    memset(nonce, 0, MYCO_SEAL_NONCE_SIZE);
    for (int i = 0; i < 8; i++) nonce[i] = (uint8_t)(index >> 8 * i);
    nonce[8] = last;
}

/* What is not hidden, but sealed: the header and the object's name. */
static void clear_text(const uint8_t head[HEAD_SIZE], const char *name, struct myco_buf *clear)
{
    myco_buf_bytes(clear, head, HEAD_SIZE);
    myco_buf_bytes(clear, name, strlen(name));
}

/* ── putting ── */

static void make_head(struct sealed *store, uint8_t head[HEAD_SIZE])
{
    uint64_t salt[2] = {myco_random_u64(store->base.env), myco_random_u64(store->base.env)};
    memset(head, 0, HEAD_SIZE);
    memcpy(head, magic, sizeof magic);
    head[4] = VERSION;
    memcpy(head + 8, &store->ids[0], 8);
    memcpy(head + 16, salt, SALT_SIZE);
}

static bool seal_all(
    struct sealed *store, const char *name, struct myco_slice plain, struct myco_buf *out)
{
    uint8_t head[HEAD_SIZE], nonce[MYCO_SEAL_NONCE_SIZE];
    struct myco_seal_key own;
    struct myco_buf clear = {0};
    uint64_t chunks = plain.size / CHUNK_SIZE + (plain.size % CHUNK_SIZE > 0 || plain.size == 0);
    make_head(store, head);
    object_key(&store->keys.keys[0], head, &own);
    clear_text(head, name, &clear);
    bool good = !clear.failed &&
                myco_buf_reserve(out, HEAD_SIZE + plain.size + chunks * MYCO_SEAL_TAG_SIZE);
    if (good) myco_buf_bytes(out, head, HEAD_SIZE);
    for (uint64_t i = 0; good && i < chunks; i++) {
        size_t at = i * CHUNK_SIZE, left = plain.size - at;
        struct myco_slice chunk =
            myco_bytes((const uint8_t *)plain.data + at, left < CHUNK_SIZE ? left : CHUNK_SIZE);
        chunk_nonce(i, i + 1 == chunks, nonce);
        good = myco_seal(
            store->sealer, &own, nonce, myco_buf_as_slice(&clear), chunk, out->data + out->size);
        out->size += chunk.size + MYCO_SEAL_TAG_SIZE;
    }
    myco_seal_wipe(&own, sizeof own);
    myco_buf_free(&clear);
    return good;
}

static void sealed_put(struct myco_object *base, const char *key, struct myco_slice bytes,
    int flags, myco_object_cb cb, void *data)
{
    struct sealed *store = sealed_of(base);
    struct myco_buf out = {0};
    /* Without memory it is refused by the name: a put can't fail inside of the call. */
    bool good = seal_all(store, key, bytes, &out);
    store->inner->ops->put(store->inner, good ? key : "", myco_buf_as_slice(&out), flags, cb, data);
    myco_buf_free(&out);
}

/* ── getting ── */

static const struct myco_seal_key *key_named(const struct sealed *store, uint64_t id)
{
    for (unsigned i = 0; i < store->keys.count; i++)
        if (store->ids[i] == id) return &store->keys.keys[i];
    return NULL;
}

/* The chunks from number `first` on, which end the object when `to_end`, or may. */
static bool open_chunks(struct get *get, const struct myco_seal_key *key, uint64_t first,
    struct myco_slice sealed, bool to_end, struct myco_buf *out)
{
    struct sealed *store = get->store;
    struct myco_seal_key own;
    struct myco_buf clear = {0};
    uint8_t nonce[MYCO_SEAL_NONCE_SIZE];
    object_key(key, get->head, &own);
    clear_text(get->head, get->key, &clear);
    bool good = !clear.failed && myco_buf_reserve(out, sealed.size + 1);
    for (size_t at = 0; good && at < sealed.size; first++) {
        size_t left = sealed.size - at, size = left < SEALED ? left : SEALED;
        struct myco_slice chunk = myco_bytes((const uint8_t *)sealed.data + at, size);
        bool final = size == left, must_be_last = size < SEALED || (final && to_end);
        if (size < MYCO_SEAL_TAG_SIZE) good = false;
        for (int last = final; good && last >= 0; last--) {
            chunk_nonce(first, last, nonce);
            if (myco_unseal(store->sealer, &own, nonce, myco_buf_as_slice(&clear), chunk,
                    out->data + out->size))
                break;
            if (!last || must_be_last) good = false;
        }
        at += size;
        if (good) out->size += size - MYCO_SEAL_TAG_SIZE;
    }
    myco_seal_wipe(&own, sizeof own);
    myco_buf_free(&clear);
    return good;
}

static void finish(struct get *get, int status, const char *message, struct myco_buf *bytes)
{
    struct myco_buf empty = {0};
    get->cb(status, message, bytes ? bytes : &empty, get->data);
    if (bytes) myco_buf_free(bytes);
    myco_free(get);
}

__attribute__((format(printf, 3, 4))) static void fail(
    struct get *get, int status, const char *format, ...)
{
    char message[250];
    va_list args;
    int size = snprintf(message, sizeof message, "%.100s ", get->key);
    va_start(args, format);
    vsnprintf(message + size, sizeof message - (size_t)size, format, args);
    va_end(args);
    finish(get, status, message, NULL);
}

/* Bytes of an object that is not sealed, whole. */
static void give_plain(struct get *get, struct myco_buf *bytes)
{
    if (!get->store->keys.plain) {
        fail(get, MYCO_EDENIED,
            "is not sealed: while the store changes over, add the line \"plain\" to the keys");
        return;
    }
    uint64_t from = get->offset < bytes->size ? get->offset : bytes->size;
    myco_buf_drop_front(bytes, from);
    if (get->size > 0 && bytes->size > get->size) bytes->size = get->size;
    finish(get, 0, "", bytes);
}

/* NULL: it was answered. */
static const struct myco_seal_key *take_head(struct get *get, struct myco_slice bytes)
{
    uint64_t id = 0;
    memcpy(get->head, bytes.data, HEAD_SIZE);
    myco_object_is_sealed(bytes, &id);
    const struct myco_seal_key *key = key_named(get->store, id);
    if (get->head[4] != VERSION)
        fail(get, MYCO_EVERSION, "is sealed in the format %u, which is not known", get->head[4]);
    else if (!key)
        fail(get, MYCO_EDENIED, "is sealed with the key %016" PRIx64 ", which is not among ours",
            id);
    else
        return key;
    return NULL;
}

static void cut_and_give(struct get *get, struct myco_buf *plain, uint64_t skip)
{
    myco_buf_drop_front(plain, skip < plain->size ? skip : plain->size);
    if (get->size > 0 && plain->size > get->size) plain->size = get->size;
    finish(get, 0, "", plain);
}

static void open_and_give(struct get *get, const struct myco_seal_key *key, uint64_t first,
    struct myco_slice sealed, bool to_end)
{
    struct myco_buf plain = {0};
    if (open_chunks(get, key, first, sealed, to_end, &plain)) {
        cut_and_give(get, &plain, get->offset - first * CHUNK_SIZE);
        return;
    }
    myco_buf_free(&plain);
    fail(get, MYCO_ECORRUPT, "is damaged: it is not what was sealed");
}

static void got_whole(int status, const char *message, struct myco_buf *bytes, void *data)
{
    struct get *get = data;
    uint64_t id;
    if (status) {
        finish(get, status, message, NULL);
        return;
    }
    if (bytes->size < HEAD_SIZE || !myco_object_is_sealed(myco_buf_as_slice(bytes), &id)) {
        give_plain(get, bytes);
        return;
    }
    const struct myco_seal_key *key = take_head(get, myco_buf_as_slice(bytes));
    if (!key) return;
    struct myco_slice rest = myco_bytes(bytes->data + HEAD_SIZE, bytes->size - HEAD_SIZE);
    if (rest.size < MYCO_SEAL_TAG_SIZE)
        fail(get, MYCO_ECORRUPT, "is damaged: it was cut");
    else
        open_and_give(get, key, 0, rest, true);
}

static void got_range(int status, const char *message, struct myco_buf *bytes, void *data)
{
    struct get *get = data;
    const struct myco_seal_key *key =
        status ? NULL : take_head(get, myco_bytes(get->head, HEAD_SIZE));
    if (status)
        finish(get, status, message, NULL);
    else if (key)
        open_and_give(get, key, get->offset / CHUNK_SIZE, myco_buf_as_slice(bytes), false);
}

static void got_head(int status, const char *message, struct myco_buf *bytes, void *data)
{
    struct get *get = data;
    struct myco_object *inner = get->store->inner;
    uint64_t id;
    if (status) {
        finish(get, status, message, NULL);
        return;
    }
    if (bytes->size < HEAD_SIZE || !myco_object_is_sealed(myco_buf_as_slice(bytes), &id)) {
        inner->ops->get(inner, get->key, 0, 0, got_whole, get);
        return;
    }
    memcpy(get->head, bytes->data, HEAD_SIZE);
    uint64_t first = get->offset / CHUNK_SIZE, last = (get->offset + get->size - 1) / CHUNK_SIZE;
    inner->ops->get(
        inner, get->key, HEAD_SIZE + first * SEALED, (last - first + 1) * SEALED, got_range, get);
}

static void sealed_get(struct myco_object *base, const char *key, uint64_t offset, uint64_t size,
    myco_object_get_cb cb, void *data)
{
    struct sealed *store = sealed_of(base);
    size_t length = strlen(key) + 1;
    struct get *get = myco_alloc(sizeof *get + length);
    get->store = store;
    get->offset = offset;
    get->size = size > UINT64_MAX / 4 ? 0 : size;
    get->cb = cb;
    get->data = data;
    memcpy(get->key, key, length);
    if (get->size == 0 || offset > UINT64_MAX / 4)
        store->inner->ops->get(store->inner, key, 0, 0, got_whole, get);
    else
        store->inner->ops->get(store->inner, key, 0, HEAD_SIZE, got_head, get);
}

/* ── the rest ── */

static uint64_t plain_size(uint64_t size)
{
    if (size < HEAD_SIZE + MYCO_SEAL_TAG_SIZE) return size; /* not one of ours */
    uint64_t body = size - HEAD_SIZE, chunks = (body + SEALED - 1) / SEALED;
    return body - chunks * MYCO_SEAL_TAG_SIZE;
}

static void listed(
    int status, const char *message, const struct myco_object_info *infos, size_t count, void *data)
{
    struct listing *listing = data;
    struct myco_object_info *plain = myco_try_alloc((count + 1) * sizeof *plain);
    if (!plain) status = MYCO_ENOMEM, message = myco_strerror(status), count = 0;
    for (size_t i = 0; i < count; i++) {
        plain[i] = infos[i];
        plain[i].size = plain_size(infos[i].size);
    }
    listing->cb(status, message, plain, count, listing->data);
    myco_free(plain);
    myco_free(listing);
}

static void sealed_list(
    struct myco_object *base, const char *prefix, myco_object_list_cb cb, void *data)
{
    struct sealed *store = sealed_of(base);
    struct listing *listing = myco_alloc(sizeof *listing);
    *listing = (struct listing){cb, data};
    store->inner->ops->list(store->inner, prefix, listed, listing);
}

static void sealed_del(struct myco_object *base, const char *key, myco_object_cb cb, void *data)
{
    struct sealed *store = sealed_of(base);
    store->inner->ops->del(store->inner, key, cb, data);
}

static void sealed_close(struct myco_object *base)
{
    struct sealed *store = sealed_of(base);
    store->inner->ops->close(store->inner); /* all that is under way ends inside */
    myco_sealer_free(store->sealer);
    myco_seal_wipe(&store->keys, sizeof store->keys);
    myco_free(store);
}

struct myco_object *myco_object_sealed(
    struct myco_object *inner, const struct myco_store_keys *keys)
{
    struct sealed *store = myco_alloc(sizeof *store);
    store->ops = (struct myco_object_ops){.name = inner->ops->name,
        .put_if_absent = inner->ops->put_if_absent,
        .put = sealed_put,
        .get = sealed_get,
        .list = sealed_list,
        .del = sealed_del,
        .close = sealed_close};
    store->base = (struct myco_object){.ops = &store->ops, .env = inner->env};
    store->inner = inner;
    store->keys = *keys;
    for (unsigned i = 0; i < keys->count; i++)
        store->ids[i] = myco_seal_fingerprint(&keys->keys[i]);
    store->sealer = myco_sealer_new();
    return &store->base;
}
