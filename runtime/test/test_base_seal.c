/* Sealing: the published vectors, and that nothing opens but what was sealed.
 * Would catch: a tag that is not checked, clear text that is not part of the seal, a key derivation
 * that differs from RFC 5869 (two versions of this program could not hear each other), a key's text
 * that is read though it was damaged. */
#include "base/seal.h"
#include "tap.h"

static void test_derive(void)
{
    /* HKDF-SHA256 of key 0…31, no salt, info "p" | "c", 32 bytes; computed by another program
     * (Python's hmac). */
    static const uint8_t want[32] = {0x4d, 0x36, 0x6d, 0x33, 0x30, 0x77, 0x6c, 0xb3, 0xc3, 0x2b,
        0x31, 0x80, 0x29, 0x8f, 0x5d, 0x7e, 0xd0, 0xe1, 0x51, 0x26, 0x8e, 0x2d, 0x5d, 0xe8, 0x31,
        0x65, 0x89, 0x3c, 0x7c, 0x0f, 0xbd, 0xe8};
    struct myco_seal_key key, derived, other;
    for (int i = 0; i < 32; i++) key.bytes[i] = (uint8_t)i;
    myco_seal_derive(&key, "p", myco_str("c"), &derived);
    ok(memcmp(derived.bytes, want, 32) == 0, "HKDF-SHA256 as others compute it");
    myco_seal_derive(&key, "p", myco_str("d"), &other);
    ok(memcmp(derived.bytes, other.bytes, 32) != 0, "another context, another key");
    ok(myco_seal_fingerprint(&key) == myco_seal_fingerprint(&key), "a fingerprint repeats");
    ok(myco_seal_fingerprint(&key) != myco_seal_fingerprint(&derived), "and tells keys apart");
}

/* GCM's test case 14: a key and a nonce of zeros, 16 bytes of zeros. */
static void test_vector(void)
{
    static const uint8_t want[32] = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e,
        0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18, 0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26,
        0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19};
    struct myco_sealer *sealer = myco_sealer_new();
    struct myco_seal_key key = {{0}};
    uint8_t nonce[MYCO_SEAL_NONCE_SIZE] = {0}, plain[16] = {0}, out[32];
    ok(myco_seal(sealer, &key, nonce, myco_bytes(NULL, 0), myco_bytes(plain, 16), out), "sealed");
    ok(memcmp(out, want, 32) == 0, "AES-256-GCM as published");
    myco_sealer_free(sealer);
}

static void test_open(void)
{
    struct myco_sealer *sealer = myco_sealer_new();
    struct myco_seal_key key;
    uint8_t nonce[MYCO_SEAL_NONCE_SIZE] = {1}, sealed[64], out[64];
    struct myco_slice clear = myco_str("head"), plain = myco_str("what nobody else shall read");
    size_t size = plain.size + MYCO_SEAL_TAG_SIZE, opened = 0;
    myco_seal_key_random(&key);
    myco_seal(sealer, &key, nonce, clear, plain, sealed);
    ok(myco_unseal(sealer, &key, nonce, clear, myco_bytes(sealed, size), out) &&
            memcmp(out, plain.data, plain.size) == 0,
        "what was sealed opens");
    for (size_t bit = 0; bit < size * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        opened += myco_unseal(sealer, &key, nonce, clear, myco_bytes(sealed, size), out);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    is_int(opened, 0, "with any one bit changed it does not");
    ok(!myco_unseal(sealer, &key, nonce, myco_str("heaD"), myco_bytes(sealed, size), out),
        "nor under another clear text");
    for (size_t cut = 0; cut < size; cut++)
        opened += myco_unseal(sealer, &key, nonce, clear, myco_bytes(sealed, cut), out);
    is_int(opened, 0, "nor cut short");
    key.bytes[31] ^= 1;
    ok(!myco_unseal(sealer, &key, nonce, clear, myco_bytes(sealed, size), out),
        "nor by another key");
    myco_sealer_free(sealer);
}

static void test_text(void)
{
    struct myco_seal_key key, read;
    char text[MYCO_SEAL_TEXT_MAX];
    myco_seal_key_random(&key);
    key.bytes[31] = 0xff; /* so that its last character can be wrong */
    myco_seal_key_text(&key, text);
    is_int(strlen(text), 44, "a key is 44 characters");
    ok(myco_seal_key_parse(&read, myco_str(text)) && memcmp(&read, &key, sizeof key) == 0,
        "and is read as it was written");
    ok(!myco_seal_key_parse(&read, myco_bytes(text, 43)), "not without its last one");
    text[42] = '9'; /* bits beyond the 32 bytes: the same key, written otherwise */
    ok(!myco_seal_key_parse(&read, myco_str(text)), "not with bits that belong to no byte");
    text[5] = ' ';
    ok(!myco_seal_key_parse(&read, myco_str(text)), "not with a space in it");
}

int main(void)
{
    test_derive();
    test_vector();
    test_open();
    test_text();
    return plan_done();
}
