/* Keys of gossip as files hold them: one a line, base64 of 32 bytes; what follows a # is a comment.
 * The first one seals, all of them open. */
#ifndef MYCO_HOST_KEYS_H
#define MYCO_HOST_KEYS_H

#include "base/log.h"
#include "gossip/keyring.h"

struct myco_keys {
    struct myco_seal_key keys[MYCO_KEYS_MAX];
    unsigned count;
};

/* Reads `path`, and warns when others on this machine can read it too. EIO, EINVAL (with the line),
 * ETOOBIG (too many keys), ENOTFOUND (no key in it). */
int myco_keys_read(
    const char *path, struct myco_log *log, struct myco_keys *keys, struct myco_err *err);
/* EEXISTS: a key is there twice. */
int myco_keys_parse(struct myco_slice text, struct myco_keys *keys, struct myco_err *err);
void myco_keys_write(const struct myco_keys *keys, struct myco_buf *out);
bool myco_keys_has(const struct myco_keys *keys, uint64_t fingerprint);
void myco_keys_add(
    struct myco_keys *keys, const struct myco_seal_key *key); /* unless it is there */

#endif
