/* Sealed datagrams. The input is a sequence of them, each after its size (u16). Promises: only what
 * a key of the ring sealed is opened, nothing is opened twice, and no memory is taken for what is
 * not. */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "gossip/keyring.h"

static struct myco_keyring *ring_of(uint8_t seed)
{
    struct myco_keyring *ring = myco_keyring_new();
    struct myco_seal_key keys[2];
    memset(&keys[0], seed, sizeof keys[0]);
    memset(&keys[1], 99, sizeof keys[1]);
    myco_keyring_set(ring, keys, 2);
    return ring;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct myco_keyring *ring = ring_of(1);
    struct myco_reader in = myco_reader(bytes, size);
    while (myco_read_left(&in) > 2) {
        size_t one = myco_read_u16(&in);
        if (one > myco_read_left(&in)) one = myco_read_left(&in);
        struct myco_slice datagram = myco_read_bytes(&in, one);
        struct myco_opening opening = myco_keyring_open(ring, datagram);
        assert(opening.how != MYCO_OPENED_PLAIN);
        if (opening.how != MYCO_OPENED) continue;
        assert(opening.plain.size + MYCO_SEALED_EXTRA == datagram.size);
        assert(memcmp(opening.plain.data, "sealed text", opening.plain.size) == 0);
        assert(myco_keyring_open(ring, datagram).how == MYCO_OPENED_REPLAYED);
    }
    myco_keyring_free(ring);
    return 0;
}

/* Sample n: n datagrams, of a key that opens, and of one that does not. */
size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    if (index > 3) return 0;
    struct myco_keyring *good = ring_of(1), *foreign = ring_of(2);
    struct myco_buf all = {0};
    for (unsigned i = 0; i <= index; i++) {
        struct myco_buf one = {0};
        struct myco_keyring *ring = i == 2 ? foreign : good;
        assert(myco_keyring_seal(ring, 7, i, 0, myco_str("sealed text"), &one) == 0);
        myco_buf_u16(&all, (uint16_t)one.size);
        myco_buf_bytes(&all, one.data, one.size);
        myco_buf_free(&one);
    }
    size_t size = all.size <= size_max ? all.size : 0;
    memcpy(bytes, all.data, size);
    myco_buf_free(&all);
    myco_keyring_free(good);
    myco_keyring_free(foreign);
    return size;
}
