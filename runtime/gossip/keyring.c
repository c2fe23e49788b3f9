/* Sealed datagrams: who sealed which, and that none is taken twice. */
#include "gossip/keyring.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#define MAGIC        0x5343594du /* "MYCS" */
#define VERSION      1
#define HEADER_SIZE  37
#define PURPOSE      "mycorrizal gossip 1"
#define WINDOW_WORDS 4 /* of 64 counters each */

struct session {
    uint64_t key; /* id of the ring's key it came from; 0: none */
    struct myco_seal_key secret;
};

/* A process that was heard. Two sessions, as it may change its key while datagrams are on their
 * way. */
struct sender {
    struct myco_list heard; /* ring->heard, the latest last */
    uint64_t id, generation;
    uint64_t top;                /* the highest counter that came */
    uint64_t came[WINDOW_WORDS]; /* bit n: top - n came */
    struct session sessions[2];
};

struct ring_key {
    struct myco_seal_key key;
    uint64_t id;
    struct session own; /* for sealing, of own_id and own_generation */
    uint64_t own_id, own_generation;
};

struct myco_keyring {
    struct myco_sealer *sealer; /* with the first key: libcrypto weighs 3 MB once it is used */
    struct ring_key keys[MYCO_KEYS_MAX];
    unsigned count;
    uint64_t counter;
    struct myco_map senders; /* hash of id and generation → struct sender */
    struct myco_list heard;
    struct myco_buf plain;
};

/* ── The ring ───────────────────────────────────────────────────────────────────────────────── */

struct myco_keyring *myco_keyring_new(void)
{
    struct myco_keyring *ring = myco_alloc(sizeof *ring);
    myco_list_init(&ring->heard);
    return ring;
}

static void free_sender(struct myco_keyring *ring, struct sender *sender)
{
    myco_list_remove(&sender->heard);
    myco_map_del(&ring->senders, myco_hash_mix(sender->id, sender->generation));
    myco_seal_wipe(sender, sizeof *sender);
    myco_free(sender);
}

void myco_keyring_free(struct myco_keyring *ring)
{
    if (!ring) return;
    MYCO_MAP_EACH (struct sender, sender, &ring->senders) free_sender(ring, sender);
    myco_map_free(&ring->senders);
    myco_sealer_free(ring->sealer);
    myco_buf_free(&ring->plain);
    myco_seal_wipe(ring, sizeof *ring);
    myco_free(ring);
}

void myco_keyring_set(struct myco_keyring *ring, const struct myco_seal_key *keys, unsigned count)
{
    MYCO_ASSERT(count <= MYCO_KEYS_MAX);
    struct myco_seal_key copies[MYCO_KEYS_MAX]; /* they may be the ring's own */
    if (count) memcpy(copies, keys, count * sizeof *keys);
    myco_seal_wipe(ring->keys, sizeof ring->keys);
    ring->count = count;
    if (count && !ring->sealer) ring->sealer = myco_sealer_new();
    for (unsigned i = 0; i < count; i++) {
        ring->keys[i].key = copies[i];
        ring->keys[i].id = myco_seal_fingerprint(&copies[i]);
    }
    myco_seal_wipe(copies, sizeof copies);
}

unsigned myco_keyring_count(const struct myco_keyring *ring)
{
    return ring->count;
}

const struct myco_seal_key *myco_keyring_key(const struct myco_keyring *ring, unsigned at)
{
    return at < ring->count ? &ring->keys[at].key : NULL;
}

static struct ring_key *find_key(struct myco_keyring *ring, uint64_t id)
{
    for (unsigned i = 0; i < ring->count; i++)
        if (ring->keys[i].id == id) return &ring->keys[i];
    return NULL;
}

static void derive(
    struct session *session, const struct ring_key *key, uint64_t id, uint64_t generation)
{
    struct myco_buf context = {0};
    myco_buf_u64(&context, id);
    myco_buf_u64(&context, generation);
    session->key = key->id;
    myco_seal_derive(&key->key, PURPOSE, myco_buf_as_slice(&context), &session->secret);
    myco_buf_free(&context);
}

static void write_nonce(uint8_t nonce[MYCO_SEAL_NONCE_SIZE], uint64_t counter)
{
    memset(nonce, 0, MYCO_SEAL_NONCE_SIZE);
    for (int i = 0; i < 8; i++) nonce[4 + i] = (uint8_t)(counter >> (8 * i));
}

/* ── Sealing ────────────────────────────────────────────────────────────────────────────────── */

int myco_keyring_seal(struct myco_keyring *ring, uint64_t id, uint64_t generation, uint64_t key_id,
    struct myco_slice plain, struct myco_buf *out)
{
    struct ring_key *key = key_id ? find_key(ring, key_id) : NULL;
    if (!ring->count) return MYCO_ENOTFOUND;
    if (!key) key = &ring->keys[0];
    if (!key->own.key || key->own_id != id || key->own_generation != generation) {
        derive(&key->own, key, id, generation);
        key->own_id = id;
        key->own_generation = generation;
    }
    size_t start = out->size;
    uint8_t nonce[MYCO_SEAL_NONCE_SIZE];
    write_nonce(nonce, ++ring->counter);
    myco_buf_u32(out, MAGIC);
    myco_buf_u8(out, VERSION);
    myco_buf_u64(out, key->id);
    myco_buf_u64(out, id);
    myco_buf_u64(out, generation);
    myco_buf_u64(out, ring->counter);
    if (!myco_buf_reserve(out, plain.size + MYCO_SEAL_TAG_SIZE) || out->failed) return MYCO_ENOMEM;
    struct myco_slice clear = myco_bytes(out->data + start, HEADER_SIZE);
    if (!myco_seal(ring->sealer, &key->own.secret, nonce, clear, plain, out->data + out->size))
        return MYCO_ENOMEM;
    out->size += plain.size + MYCO_SEAL_TAG_SIZE;
    return 0;
}

/* ── What came before ───────────────────────────────────────────────────────────────────────── */

static bool came(const struct sender *sender, uint64_t counter)
{
    if (counter > sender->top) return false;
    uint64_t age = sender->top - counter;
    if (age >= WINDOW_WORDS * 64) return true; /* or it did not: too old to know */
    return sender->came[age / 64] >> (age % 64) & 1;
}

static void shift(struct sender *sender, uint64_t by)
{
    for (; by >= 64; by -= 64) {
        memmove(&sender->came[1], &sender->came[0], (WINDOW_WORDS - 1) * sizeof sender->came[0]);
        sender->came[0] = 0;
    }
    if (!by) return;
    for (int i = WINDOW_WORDS - 1; i > 0; i--)
        sender->came[i] = sender->came[i] << by | sender->came[i - 1] >> (64 - by);
    sender->came[0] <<= by;
}

static void remember(struct sender *sender, uint64_t counter)
{
    if (counter > sender->top) {
        uint64_t by = counter - sender->top;
        if (by >= WINDOW_WORDS * 64)
            memset(sender->came, 0, sizeof sender->came);
        else
            shift(sender, by);
        sender->top = counter;
    }
    uint64_t age = sender->top - counter;
    sender->came[age / 64] |= 1ull << (age % 64);
}

static struct sender *find_sender(struct myco_keyring *ring, uint64_t id, uint64_t generation)
{
    struct sender *sender = myco_map_get(&ring->senders, myco_hash_mix(id, generation));
    return sender && sender->id == id && sender->generation == generation ? sender : NULL;
}

/* Only for one whose seal was good: nobody else takes memory. */
static struct sender *add_sender(struct myco_keyring *ring, uint64_t id, uint64_t generation)
{
    struct sender *namesake = myco_map_get(&ring->senders, myco_hash_mix(id, generation));
    if (namesake) free_sender(ring, namesake);
    if (ring->senders.count >= MYCO_KEY_SENDERS_MAX)
        free_sender(ring, MYCO_CONTAINER(ring->heard.next, struct sender, heard));
    struct sender *sender = myco_alloc(sizeof *sender);
    sender->id = id;
    sender->generation = generation;
    myco_list_init(&sender->heard);
    myco_map_put(&ring->senders, myco_hash_mix(id, generation), sender);
    return sender;
}

static const struct session *find_session(const struct sender *sender, uint64_t key)
{
    for (int i = 0; sender && i < 2; i++)
        if (sender->sessions[i].key == key) return &sender->sessions[i];
    return NULL;
}

/* ── Opening ────────────────────────────────────────────────────────────────────────────────── */

struct head {
    uint64_t key, id, generation, counter;
};

static bool read_head(struct myco_slice bytes, struct head *head)
{
    struct myco_reader in = myco_reader(bytes.data, bytes.size);
    myco_read_u32(&in);
    uint8_t version = myco_read_u8(&in);
    head->key = myco_read_u64(&in);
    head->id = myco_read_u64(&in);
    head->generation = myco_read_u64(&in);
    head->counter = myco_read_u64(&in);
    return !in.bad && version == VERSION && head->key && head->counter &&
           myco_read_left(&in) >= MYCO_SEAL_TAG_SIZE;
}

static bool is_sealed(struct myco_slice bytes)
{
    struct myco_reader in = myco_reader(bytes.data, bytes.size);
    return myco_read_u32(&in) == MAGIC && !in.bad;
}

static bool unseal(struct myco_keyring *ring, const struct session *session,
    const struct head *head, struct myco_slice bytes)
{
    uint8_t nonce[MYCO_SEAL_NONCE_SIZE];
    struct myco_slice sealed =
        myco_bytes((const uint8_t *)bytes.data + HEADER_SIZE, bytes.size - HEADER_SIZE);
    myco_buf_clear(&ring->plain);
    if (!myco_buf_reserve(&ring->plain, sealed.size)) return false;
    write_nonce(nonce, head->counter);
    if (!myco_unseal(ring->sealer, &session->secret, nonce, myco_bytes(bytes.data, HEADER_SIZE),
            sealed, ring->plain.data))
        return false;
    ring->plain.size = sealed.size - MYCO_SEAL_TAG_SIZE;
    return true;
}

static void heard(struct myco_keyring *ring, struct sender *sender, const struct head *head,
    const struct session *session)
{
    if (!sender) sender = add_sender(ring, head->id, head->generation);
    if (!find_session(sender, session->key)) {
        sender->sessions[1] = sender->sessions[0];
        sender->sessions[0] = *session;
    }
    remember(sender, head->counter);
    myco_list_remove(&sender->heard);
    myco_list_append(&ring->heard, &sender->heard);
}

static enum myco_opened open_sealed(
    struct myco_keyring *ring, struct myco_slice bytes, struct head *head)
{
    struct ring_key *key = read_head(bytes, head) ? find_key(ring, head->key) : NULL;
    if (!key) return MYCO_OPENED_FOREIGN;
    struct sender *sender = find_sender(ring, head->id, head->generation);
    if (sender && came(sender, head->counter)) return MYCO_OPENED_REPLAYED;
    const struct session *session = find_session(sender, head->key);
    struct session fresh;
    if (!session) {
        derive(&fresh, key, head->id, head->generation);
        session = &fresh;
    }
    if (!unseal(ring, session, head, bytes)) return MYCO_OPENED_FOREIGN;
    heard(ring, sender, head, session);
    return MYCO_OPENED;
}

struct myco_opening myco_keyring_open(struct myco_keyring *ring, struct myco_slice bytes)
{
    struct myco_opening opening = {.how = MYCO_OPENED_PLAIN, .plain = bytes};
    struct head head;
    if (!is_sealed(bytes)) {
        if (ring->count) opening.how = MYCO_OPENED_UNSEALED;
        return opening;
    }
    opening.how = open_sealed(ring, bytes, &head);
    if (opening.how != MYCO_OPENED) return opening;
    opening.id = head.id;
    opening.generation = head.generation;
    opening.key = head.key;
    opening.plain = myco_buf_as_slice(&ring->plain);
    return opening;
}
