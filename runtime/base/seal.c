/* Sealing with a secret key, by OpenSSL's EVP. */
#include "base/seal.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct myco_sealer {
    EVP_CIPHER_CTX *seal, *open;
};

/* ── Keys from keys ─────────────────────────────────────────────────────────────────────────── */

static void hmac(const uint8_t *key, size_t key_size, struct myco_slice one, struct myco_slice two,
    uint8_t last, uint8_t out[32])
{
    uint8_t text[512];
    MYCO_ASSERT(one.size + two.size < sizeof text);
    if (one.size) memcpy(text, one.data, one.size);
    if (two.size) memcpy(text + one.size, two.data, two.size);
    text[one.size + two.size] = last;
    unsigned size = 32;
    uint8_t *done = HMAC(
        EVP_sha256(), key, (int)key_size, text, one.size + two.size + (last ? 1 : 0), out, &size);
    MYCO_ASSERT(done != NULL);
}

/* RFC 5869 with one block of output: 32 bytes are all that is wanted.
 *
 *     extract   prk = HMAC(salt = 32 zeros, key)
 *     expand    out = HMAC(prk, purpose | context | 0x01) */
void myco_seal_derive(const struct myco_seal_key *key, const char *purpose,
    struct myco_slice context, struct myco_seal_key *derived)
{
    static const uint8_t salt[32];
    uint8_t prk[32];
    struct myco_slice nothing = {0};
    hmac(salt, sizeof salt, (struct myco_slice){key->bytes, sizeof key->bytes}, nothing, 0, prk);
    hmac(
        prk, sizeof prk, (struct myco_slice){purpose, strlen(purpose)}, context, 1, derived->bytes);
    myco_seal_wipe(prk, sizeof prk);
}

uint64_t myco_seal_fingerprint(const struct myco_seal_key *key)
{
    struct myco_seal_key hash;
    uint64_t fingerprint = 0;
    myco_seal_derive(key, "mycorrizal fingerprint 1", (struct myco_slice){0}, &hash);
    for (int i = 0; i < 8; i++) fingerprint = fingerprint << 8 | hash.bytes[i];
    return fingerprint ? fingerprint : 1;
}

/* ── Sealing ────────────────────────────────────────────────────────────────────────────────── */

/* The cipher is looked up once; each text then sets only key and nonce. */
struct myco_sealer *myco_sealer_new(void)
{
    struct myco_sealer *sealer = myco_alloc(sizeof *sealer);
    sealer->seal = EVP_CIPHER_CTX_new();
    sealer->open = EVP_CIPHER_CTX_new();
    MYCO_ASSERT(sealer->seal != NULL);
    MYCO_ASSERT(sealer->open != NULL);
    EVP_EncryptInit_ex(sealer->seal, EVP_aes_256_gcm(), NULL, NULL, NULL);
    EVP_DecryptInit_ex(sealer->open, EVP_aes_256_gcm(), NULL, NULL, NULL);
    return sealer;
}

void myco_sealer_free(struct myco_sealer *sealer)
{
    if (!sealer) return;
    EVP_CIPHER_CTX_free(sealer->seal);
    EVP_CIPHER_CTX_free(sealer->open);
    myco_free(sealer);
}

bool myco_seal(struct myco_sealer *sealer, const struct myco_seal_key *key,
    const uint8_t nonce[MYCO_SEAL_NONCE_SIZE], struct myco_slice clear, struct myco_slice plain,
    uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = sealer->seal;
    int size = 0, rest = 0;
    if (plain.size > INT32_MAX || clear.size > INT32_MAX) return false;
    return EVP_EncryptInit_ex(ctx, NULL, NULL, key->bytes, nonce) == 1 &&
           EVP_EncryptUpdate(ctx, NULL, &size, clear.data, (int)clear.size) == 1 &&
           EVP_EncryptUpdate(ctx, out, &size, plain.data, (int)plain.size) == 1 &&
           EVP_EncryptFinal_ex(ctx, out + size, &rest) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, MYCO_SEAL_TAG_SIZE, out + plain.size) ==
               1;
}

bool myco_unseal(struct myco_sealer *sealer, const struct myco_seal_key *key,
    const uint8_t nonce[MYCO_SEAL_NONCE_SIZE], struct myco_slice clear, struct myco_slice sealed,
    uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = sealer->open;
    int size = 0, rest = 0;
    uint8_t tag[MYCO_SEAL_TAG_SIZE];
    if (sealed.size < sizeof tag || sealed.size > INT32_MAX || clear.size > INT32_MAX) return false;
    size_t plain_size = sealed.size - sizeof tag;
    memcpy(tag, (const uint8_t *)sealed.data + plain_size, sizeof tag);
    return EVP_DecryptInit_ex(ctx, NULL, NULL, key->bytes, nonce) == 1 &&
           EVP_DecryptUpdate(ctx, NULL, &size, clear.data, (int)clear.size) == 1 &&
           EVP_DecryptUpdate(ctx, out, &size, sealed.data, (int)plain_size) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1 &&
           EVP_DecryptFinal_ex(ctx, out + size, &rest) == 1;
}

/* ── Keys as people hold them ───────────────────────────────────────────────────────────────── */

void myco_seal_key_random(struct myco_seal_key *key)
{
    int got = RAND_priv_bytes(key->bytes, sizeof key->bytes);
    MYCO_ASSERT(got == 1);
}

void myco_seal_key_text(const struct myco_seal_key *key, char text[MYCO_SEAL_TEXT_MAX])
{
    EVP_EncodeBlock((unsigned char *)text, key->bytes, sizeof key->bytes);
}

/* EVP's decoder is lenient about spaces and padding; what it gives must be written the same. */
bool myco_seal_key_parse(struct myco_seal_key *key, struct myco_slice text)
{
    uint8_t bytes[36];
    char again[MYCO_SEAL_TEXT_MAX];
    if (text.size != MYCO_SEAL_TEXT_MAX - 1) return false;
    if (EVP_DecodeBlock(bytes, text.data, (int)text.size) != 33) return false;
    memcpy(key->bytes, bytes, sizeof key->bytes);
    myco_seal_wipe(bytes, sizeof bytes);
    myco_seal_key_text(key, again);
    bool same = memcmp(again, text.data, text.size) == 0;
    myco_seal_wipe(again, sizeof again);
    return same;
}

void myco_seal_wipe(void *bytes, size_t size)
{
    OPENSSL_cleanse(bytes, size);
}
