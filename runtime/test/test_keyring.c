/* Sealed gossip: who can read it, and that it counts once.
 * Would catch: a datagram taken twice (also when it comes late, or after 255 others); one of
 * another key believed; a ring that forgets what it heard when its keys change; a nonce that
 * repeats; a sender that can make others forget by sending much. */
#include "base/mem.h"
#include "gossip/keyring.h"
#include "tap.h"

#define MANY 300

static struct myco_seal_key key_of(uint8_t seed)
{
    struct myco_seal_key key;
    memset(key.bytes, seed, sizeof key.bytes);
    return key;
}

static struct myco_keyring *ring_of(uint8_t first, uint8_t second)
{
    struct myco_keyring *ring = myco_keyring_new();
    struct myco_seal_key keys[2] = {key_of(first), key_of(second)};
    myco_keyring_set(ring, keys, second ? 2 : first ? 1 : 0);
    return ring;
}

static enum myco_opened feed(struct myco_keyring *ring, const struct myco_buf *bytes)
{
    return myco_keyring_open(ring, myco_buf_as_slice(bytes)).how;
}

static struct myco_buf seal(struct myco_keyring *ring, uint64_t generation, uint64_t key)
{
    struct myco_buf out = {0};
    if (myco_keyring_seal(ring, 7, generation, key, myco_str("hello"), &out))
        bail_out("can't be sealed");
    return out;
}

static void test_keys(void)
{
    struct myco_keyring *a = ring_of(1, 0), *b = ring_of(2, 1), *c = ring_of(3, 0),
                        *none = ring_of(0, 0);
    struct myco_buf one = seal(a, 1, 0), two = seal(b, 1, 0);
    struct myco_seal_key first = key_of(1);
    struct myco_buf three = seal(b, 1, myco_seal_fingerprint(&first));
    struct myco_opening opening = myco_keyring_open(b, myco_buf_as_slice(&one));
    is_int(one.size, 5 + MYCO_SEALED_EXTRA, "a seal adds what the header says");
    ok(opening.how == MYCO_OPENED && opening.id == 7 && opening.generation == 1 &&
            opening.plain.size == 5 && memcmp(opening.plain.data, "hello", 5) == 0,
        "a key that is not the first opens, too");
    is_int(feed(a, &two), MYCO_OPENED_FOREIGN, "who lacks the first key of a sender hears nothing");
    is_int(feed(a, &three), MYCO_OPENED, "unless it is answered by the key that it has");
    is_int(feed(c, &one), MYCO_OPENED_FOREIGN, "another cluster's key does not open");
    is_int(feed(none, &one), MYCO_OPENED_FOREIGN, "nor none at all");
    one.data[3]++; /* no seal any more */
    is_int(feed(a, &one), MYCO_OPENED_UNSEALED, "in clear, though there is a key");
    is_int(feed(none, &one), MYCO_OPENED_PLAIN, "in clear, and there is none");
    struct myco_buf *bufs[] = {&one, &two, &three};
    for (int i = 0; i < 3; i++) myco_buf_free(bufs[i]);
    struct myco_keyring *rings[] = {a, b, c, none};
    for (int i = 0; i < 4; i++) myco_keyring_free(rings[i]);
}

static void test_replay(void)
{
    struct myco_keyring *a = ring_of(1, 0), *b = ring_of(1, 0);
    struct myco_buf sealed[MANY];
    unsigned twice = 0, late = 0;
    for (int i = 0; i < MANY; i++) sealed[i] = seal(a, 1, 0);
    for (int i = 0; i < MANY; i += 2) twice += feed(b, &sealed[i]) != MYCO_OPENED;
    is_int(twice, 0, "every second one comes");
    for (int i = 0; i < MANY; i += 2) twice += feed(b, &sealed[i]) == MYCO_OPENED;
    is_int(twice, 0, "none of them counts a second time");
    for (int i = 1; i < MANY; i += 2) late += feed(b, &sealed[i]) == MYCO_OPENED;
    is_int(late, 129, "of the others those among the latest 256 count, and the newest");
    for (int i = 0; i < MANY; i++) twice += feed(b, &sealed[i]) == MYCO_OPENED;
    is_int(twice, 0, "and then none");
    struct myco_seal_key keys[] = {key_of(9), key_of(1)};
    myco_keyring_set(b, keys, 2);
    is_int(feed(b, &sealed[MANY - 1]), MYCO_OPENED_REPLAYED, "a new key changes nothing of that");
    myco_keyring_set(b, keys, 1);
    struct myco_buf next = seal(a, 1, 0), renewed = seal(a, 2, 0);
    is_int(feed(b, &next), MYCO_OPENED_FOREIGN, "a key that was removed opens nothing");
    myco_keyring_set(b, keys, 2);
    is_int(feed(b, &renewed), MYCO_OPENED, "a new process begins anew");
    is_int(feed(b, &next), MYCO_OPENED, "and the old one goes on");
    myco_buf_free(&next);
    myco_buf_free(&renewed);
    for (int i = 0; i < MANY; i++) myco_buf_free(&sealed[i]);
    myco_keyring_free(a);
    myco_keyring_free(b);
}

/* A gap as wide as the window, and one of exactly a word, are where a shift goes wrong. */
static void test_gaps(void)
{
    static const unsigned gaps[] = {1, 63, 64, 65, 128, 255, 256, 257, 1000};
    unsigned wrong = 0;
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        struct myco_keyring *a = ring_of(1, 0), *b = ring_of(1, 0);
        struct myco_buf first = seal(a, 1, 0);
        for (unsigned i = 1; i < gaps[g]; i++) {
            struct myco_buf lost = seal(a, 1, 0);
            myco_buf_free(&lost);
        }
        struct myco_buf last = seal(a, 1, 0);
        wrong += feed(b, &first) != MYCO_OPENED;
        wrong += feed(b, &last) != MYCO_OPENED;
        wrong += feed(b, &first) != MYCO_OPENED_REPLAYED;
        wrong += feed(b, &last) != MYCO_OPENED_REPLAYED;
        myco_buf_free(&first);
        myco_buf_free(&last);
        myco_keyring_free(a);
        myco_keyring_free(b);
    }
    is_int(wrong, 0, "across gaps of any width");
}

int main(void)
{
    test_keys();
    test_replay();
    test_gaps();
    return plan_done();
}
