/* Encryption at rest: an object store whose objects are sealed (AES-256-GCM) before they leave this
 * process, around any other store. What it protects: whoever reads the store, its backups or its
 * disks learns sizes, names and times, but no contents; what was changed, cut, or put under another
 * name is refused. What it does not: old objects put back whole in their own place, deletion, and
 * whoever has the keys or the memory of a node.
 *
 *     "MYCS" | version u8 | 0 0 0 | key id u64 | salt, 16 bytes              (32 bytes)
 *     chunks of 64 KiB of plain text, each sealed: as long, and a tag of 16 bytes; the last is
 *     shorter, or empty in an empty object
 *
 * Each object has a key of its own, derived from the store's key and the salt; so the number of a
 * chunk is nonce enough. The key of the object (its name), its header and whether a chunk is the
 * last are part of the seal. Ranges read the header and the chunks that they touch.
 *
 * Keys rotate: the first seals, all of them open, and the header says which one. */
#ifndef MYCO_OBJECT_SEALED_H
#define MYCO_OBJECT_SEALED_H

#include "base/seal.h"
#include "object/object.h"

#define MYCO_STORE_KEYS_MAX 8

struct myco_store_keys {
    struct myco_seal_key keys[MYCO_STORE_KEYS_MAX];
    unsigned count;
    bool plain; /* objects that are not sealed are read, too: while a store changes over */
};

/* Takes `store`, which its close closes. Keys are copied. Reads answer EDENIED with the id of the
 * key that is wanted, ECORRUPT when an object is not as it was sealed. */
struct myco_object *myco_object_sealed(
    struct myco_object *store, const struct myco_store_keys *keys);
/* Of bytes that were read without keys: are they sealed, and with which one? */
bool myco_object_is_sealed(struct myco_slice bytes, uint64_t *key_id);

#endif
