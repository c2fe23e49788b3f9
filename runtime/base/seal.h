/* Sealing bytes with a secret key, so that nobody without it reads or makes them: AES-256-GCM, and
 * HKDF-SHA256 to make keys from keys. Knows nothing of who seals what; the caller's one duty is
 * that no nonce ever repeats under one key.
 *
 *     sealed bytes = cipher text, as long as the plain text | tag of 16 bytes
 *
 * Any thread, each with a sealer of its own. */
#ifndef MYCO_BASE_SEAL_H
#define MYCO_BASE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mycorrizal.h"

#define MYCO_SEAL_KEY_SIZE   32
#define MYCO_SEAL_NONCE_SIZE 12
#define MYCO_SEAL_TAG_SIZE   16 /* a sealed text is so much longer */
#define MYCO_SEAL_TEXT_MAX   45 /* a key as people write it: base64, with its terminator */

struct myco_seal_key {
    uint8_t bytes[MYCO_SEAL_KEY_SIZE];
};

/* A new key for one purpose: the same (key, purpose, context) gives the same one everywhere, and
 * from it nothing is learned about `key`. */
void myco_seal_derive(const struct myco_seal_key *key, const char *purpose,
    struct myco_slice context, struct myco_seal_key *derived);
/* What a key may be called in public: 64 bits of a hash of it, never 0. */
uint64_t myco_seal_fingerprint(const struct myco_seal_key *key);

struct myco_sealer;
struct myco_sealer *myco_sealer_new(void);
void myco_sealer_free(struct myco_sealer *sealer); /* NULL: nothing */
/* `out` has plain.size + MYCO_SEAL_TAG_SIZE bytes. `clear` is not hidden, but what it was when the
 * text was sealed is part of the seal. false: out of memory. */
bool myco_seal(struct myco_sealer *sealer, const struct myco_seal_key *key,
    const uint8_t nonce[MYCO_SEAL_NONCE_SIZE], struct myco_slice clear, struct myco_slice plain,
    uint8_t *out);
/* `out` has sealed.size - MYCO_SEAL_TAG_SIZE bytes, and is rubbish when it returns false: another
 * key, or a bit of `sealed` or `clear` is not as it was. */
bool myco_unseal(struct myco_sealer *sealer, const struct myco_seal_key *key,
    const uint8_t nonce[MYCO_SEAL_NONCE_SIZE], struct myco_slice clear, struct myco_slice sealed,
    uint8_t *out);

/* From the system's generator. */
void myco_seal_key_random(struct myco_seal_key *key);
void myco_seal_key_text(const struct myco_seal_key *key, char text[MYCO_SEAL_TEXT_MAX]);
bool myco_seal_key_parse(struct myco_seal_key *key, struct myco_slice text); /* exactly one key */
void myco_seal_wipe(void *bytes, size_t size); /* not optimised away */

#endif
