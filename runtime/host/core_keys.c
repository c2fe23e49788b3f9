/* The ring of gossip's keys, changed while the cluster runs: install a key, then use it, then
 * remove the old one. What the ring is says the replicated log; a key itself is never in it in
 * clear.
 *
 *   the document in the log   u8 count, then u64 fingerprints: the first one seals
 *                             for each key i, for each other key j: key i, sealed by key j
 *                             (a nonce of 12 bytes, 32 bytes, a tag of 16)
 *
 * So whoever has any one of the keys opens all of them: a node that was away while the key changed,
 * or that is started with a file of only the old one. The ring is kept in the data folder (file
 * `keys`), for the next start: the log can only be heard by who is heard. */
#include "host/core_keys.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "host/core_internal.h"
#include "host/keys.h"

#define FILE_NAME    "keys"
#define FILE_MAX     4096
#define PURPOSE      "mycorrizal ring 1"
#define WRAPPED_SIZE (MYCO_SEAL_NONCE_SIZE + MYCO_SEAL_KEY_SIZE + MYCO_SEAL_TAG_SIZE)
#define CHANGE_MS    10000

struct core_keys {
    struct myco_keys known; /* of the file of the option, of the last run, of the log */
};

/* ── The document ───────────────────────────────────────────────────────────────────────────── */

static bool wrap(struct myco_sealer *sealer, struct myco_env *env, const struct myco_seal_key *key,
    const struct myco_seal_key *by, struct myco_buf *out)
{
    uint8_t bytes[WRAPPED_SIZE];
    struct myco_seal_key wrapper;
    env->ops->random(env, bytes, MYCO_SEAL_NONCE_SIZE);
    myco_seal_derive(by, PURPOSE, myco_bytes(NULL, 0), &wrapper);
    bool ok = myco_seal(sealer, &wrapper, bytes, myco_bytes(NULL, 0),
        myco_bytes(key->bytes, sizeof key->bytes), bytes + MYCO_SEAL_NONCE_SIZE);
    myco_buf_bytes(out, bytes, sizeof bytes);
    myco_seal_wipe(&wrapper, sizeof wrapper);
    return ok && !out->failed;
}

static bool unwrap(struct myco_sealer *sealer, struct myco_slice wrapped,
    const struct myco_seal_key *by, struct myco_seal_key *key)
{
    const uint8_t *bytes = wrapped.data;
    struct myco_seal_key wrapper;
    myco_seal_derive(by, PURPOSE, myco_bytes(NULL, 0), &wrapper);
    bool ok = myco_unseal(sealer, &wrapper, bytes, myco_bytes(NULL, 0),
        myco_bytes(bytes + MYCO_SEAL_NONCE_SIZE, WRAPPED_SIZE - MYCO_SEAL_NONCE_SIZE), key->bytes);
    myco_seal_wipe(&wrapper, sizeof wrapper);
    return ok;
}

static bool write_ring(struct myco_env *env, const struct myco_keys *ring, struct myco_buf *out)
{
    struct myco_sealer *sealer = myco_sealer_new();
    bool ok = true;
    myco_buf_u8(out, (uint8_t)ring->count);
    for (unsigned i = 0; i < ring->count; i++)
        myco_buf_u64(out, myco_seal_fingerprint(&ring->keys[i]));
    for (unsigned i = 0; i < ring->count; i++)
        for (unsigned j = 0; j < ring->count; j++)
            ok = ok && (i == j || wrap(sealer, env, &ring->keys[i], &ring->keys[j], out));
    myco_sealer_free(sealer);
    return ok;
}

static const struct myco_seal_key *find(const struct myco_keys *keys, uint64_t fingerprint)
{
    for (unsigned i = 0; i < keys->count; i++)
        if (myco_seal_fingerprint(&keys->keys[i]) == fingerprint) return &keys->keys[i];
    return NULL;
}

/* Those of the document that are known, or that one that is known opens, in its order. false: the
 * document is malformed. *missing: how many are not. */
static bool read_ring(
    const struct myco_keys *known, struct myco_slice doc, struct myco_keys *ring, unsigned *missing)
{
    struct myco_reader in = myco_reader(doc.data, doc.size);
    uint64_t fingerprints[MYCO_KEYS_MAX];
    struct myco_seal_key keys[MYCO_KEYS_MAX];
    bool have[MYCO_KEYS_MAX] = {false};
    unsigned count = myco_read_u8(&in);
    if (count == 0 || count > MYCO_KEYS_MAX) return false;
    for (unsigned i = 0; i < count; i++) {
        fingerprints[i] = myco_read_u64(&in);
        const struct myco_seal_key *key = find(known, fingerprints[i]);
        have[i] = key != NULL;
        if (key) keys[i] = *key;
    }
    struct myco_sealer *sealer = myco_sealer_new();
    for (unsigned i = 0; i < count && !in.bad; i++) {
        for (unsigned j = 0; j < count; j++) {
            if (i == j) continue;
            struct myco_slice wrapped = myco_read_bytes(&in, WRAPPED_SIZE);
            const struct myco_seal_key *by = find(known, fingerprints[j]);
            if (in.bad || have[i] || !by) continue;
            have[i] = unwrap(sealer, wrapped, by, &keys[i]) &&
                      myco_seal_fingerprint(&keys[i]) == fingerprints[i];
        }
    }
    myco_sealer_free(sealer);
    ring->count = *missing = 0;
    for (unsigned i = 0; i < count; i++) {
        if (have[i]) ring->keys[ring->count++] = keys[i];
        *missing += !have[i];
    }
    myco_seal_wipe(keys, sizeof keys);
    return myco_read_done(&in);
}

/* ── The file ───────────────────────────────────────────────────────────────────────────────── */

static int load_file(struct myco_core *core, struct myco_keys *keys, struct myco_err *err)
{
    struct myco_disk *disk = core->options.disk;
    struct myco_file *file;
    char text[FILE_MAX];
    size_t got = 0;
    keys->count = 0;
    int rc = disk->ops->open(disk, FILE_NAME, 0, &file, err);
    if (rc == MYCO_ENOTFOUND) return 0;
    if (rc) return rc;
    rc = disk->ops->read(file, 0, text, sizeof text, &got);
    disk->ops->close(file);
    if (rc == 0) rc = myco_keys_parse(myco_bytes(text, got), keys, err);
    myco_seal_wipe(text, sizeof text);
    return rc ? myco_err_wrap(err, "the file %s in the data folder", FILE_NAME) : 0;
}

static void save_file(struct myco_core *core, const struct myco_keys *ring)
{
    struct myco_buf text = {0};
    myco_keys_write(ring, &text);
    int rc =
        core->options.disk->ops->put_now(core->options.disk, FILE_NAME, myco_buf_as_slice(&text));
    if (rc)
        MYCO_ERROR(core->env->log, "gossip",
            "the ring of keys can't be kept: after a start this node may not be heard", "error=%s",
            myco_strerror(rc));
    if (text.size) myco_seal_wipe(text.data, text.size);
    myco_buf_free(&text);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

/* What the last run used goes before the file of the option: the key may have changed meanwhile. A
 * node without that option is one of a cluster that does not seal. */
int core_keys_open(struct myco_core *core, struct myco_err *err)
{
    struct core_keys *keys = myco_alloc(sizeof *keys);
    core->keys = keys;
    core->keyring = myco_keyring_new();
    if (!core->options.key_count) return 0;
    int rc = load_file(core, &keys->known, err);
    if (rc) return rc;
    for (unsigned i = 0; i < core->options.key_count; i++)
        myco_keys_add(&keys->known, &core->options.keys[i]);
    core->options.keys = NULL; /* the caller's */
    myco_keyring_set(core->keyring, keys->known.keys, keys->known.count);
    return 0;
}

void core_keys_close(struct myco_core *core)
{
    myco_keyring_free(core->keyring);
    core->keyring = NULL;
    if (!core->keys) return;
    myco_seal_wipe(core->keys, sizeof *core->keys);
    myco_free(core->keys);
    core->keys = NULL;
}

/* The log says what the ring is. */
void core_keys_agreed(struct myco_core *core)
{
    struct myco_keys ring = {0};
    unsigned missing = 0;
    const struct myco_ring_record *record = &core->state->ring;
    if (!record->version || !core->keys->known.count) return;
    if (!read_ring(&core->keys->known, myco_buf_as_slice(&record->document), &ring, &missing) ||
        missing)
        MYCO_ERROR(core->env->log, "gossip",
            "this node lacks keys of the ring: start it with a file that has one of the present "
            "ones",
            "version=%llu missing=%u", (unsigned long long)record->version, missing);
    if (ring.count == 0) return;
    core->keys->known = ring;
    myco_keyring_set(core->keyring, ring.keys, ring.count);
    save_file(core, &ring);
    char seals[20];
    snprintf(
        seals, sizeof seals, "%016llx", (unsigned long long)myco_seal_fingerprint(&ring.keys[0]));
    struct chronicle_note note = chronicle_note(MYCO_EVENT_KEYS_ROTATED, core->cluster);
    chronicle_number(&note, "version", record->version);
    chronicle_number(&note, "keys", ring.count);
    chronicle_field(&note, "seals", seals);
    chronicle_tell(core->chronicle, &note,
        "the ring of keys is in force, version %llu: %u keys, %s seals",
        (unsigned long long)record->version, ring.count, seals);
    myco_seal_wipe(&ring, sizeof ring);
}

/* ── Changes ────────────────────────────────────────────────────────────────────────────────── */

static int install(struct myco_keys *ring, const struct myco_seal_key *key, struct myco_err *err)
{
    if (myco_keys_has(ring, myco_seal_fingerprint(key)))
        return myco_err(err, MYCO_EEXISTS, "this key is installed already");
    if (ring->count == MYCO_KEYS_MAX)
        return myco_err(err, MYCO_EFULL, "there are %d keys already: remove one", MYCO_KEYS_MAX);
    myco_keys_add(ring, key);
    return 0;
}

static int pick(const struct myco_keys *ring, const char *text, unsigned *at, struct myco_err *err)
{
    char name[17];
    for (*at = 0; *at < ring->count; ++*at) {
        snprintf(name, sizeof name, "%016llx",
            (unsigned long long)myco_seal_fingerprint(&ring->keys[*at]));
        if (strcmp(name, text) == 0) return 0;
    }
    return myco_err(err, MYCO_ENOTFOUND, "there is no key '%.32s' in the ring", text);
}

static int change(struct myco_keys *ring, const char *verb, const char *text, struct myco_err *err)
{
    struct myco_seal_key key;
    unsigned at;
    if (strcmp(verb, "install") == 0) {
        if (!myco_seal_key_parse(&key, myco_str(text)))
            return myco_err(err, MYCO_EINVAL,
                "that is not a key: 44 characters as `mycorrizal keygen` prints them");
        return install(ring, &key, err);
    }
    int rc = pick(ring, text, &at, err);
    if (rc) return rc;
    key = ring->keys[at];
    if (strcmp(verb, "use") == 0) {
        memmove(&ring->keys[1], &ring->keys[0], at * sizeof key);
        ring->keys[0] = key;
        return 0;
    }
    if (strcmp(verb, "remove") != 0)
        return myco_err(err, MYCO_EINVAL, "'%.32s' is none of install, use, remove", verb);
    if (at == 0) return myco_err(err, MYCO_EBUSY, "this key seals: use another one first");
    memmove(&ring->keys[at], &ring->keys[at + 1], (ring->count - at - 1) * sizeof key);
    ring->count--;
    return 0;
}

int core_keys_change(
    struct myco_core *core, const char *verb, const char *text, struct myco_err *err)
{
    struct myco_keys ring = core->keys->known;
    if (!ring.count)
        return myco_err(err, MYCO_EUNAVAILABLE,
            "this cluster does not seal its gossip: start its nodes with --key");
    if (!myco_state_feature(core->state, MYCO_FEATURE_KEYRING))
        return myco_err(err, MYCO_EVERSION, "a member is of a version that can't change keys");
    int rc = change(&ring, verb, text, err);
    if (rc) return rc;
    struct myco_buf document = {0}, body = {0};
    if (!write_ring(core->env, &ring, &document)) rc = myco_err(err, MYCO_ENOMEM, "out of memory");
    myco_seal_wipe(&ring, sizeof ring);
    if (rc == 0) {
        myco_command_ring(&body, core->state->ring.version, myco_buf_as_slice(&document));
        rc = myco_commands_submit(core->commands, MYCO_COMMAND_RING, &body, CHANGE_MS, NULL, NULL);
        if (rc) myco_err(err, rc, "%s", myco_strerror(rc));
    }
    myco_buf_free(&document);
    return rc;
}

/* {{id = 16 hex digits, seals = bool}, …}, and the version that the log has. */
void core_keys_pack(struct myco_core *core, msgpack_packer *pack)
{
    unsigned count = myco_keyring_count(core->keyring);
    msgpack_pack_array(pack, count);
    for (unsigned i = 0; i < count; i++) {
        msgpack_pack_map(pack, 3);
        myco_pack_str(pack, "id");
        myco_pack_id(pack, myco_seal_fingerprint(myco_keyring_key(core->keyring, i)));
        myco_pack_key_bool(pack, "seals", i == 0);
        myco_pack_key_u64(pack, "version", core->state->ring.version);
    }
}
