/* A ring of secret keys, and datagrams sealed with them. The first key of the ring seals; every key
 * of it opens, so that a cluster can change its key while it runs: all get the new one, then all
 * seal with it, then the old one goes.
 *
 *    0        4     5         13        21           29        37
 *   +--------+-----+---------+---------+------------+---------+--------------------+-----------+
 *   | magic  | ver | key id  | sender  | generation | counter | a gossip datagram, | tag       |
 *   | "MYCS" |  1  | u64     | id u64  | u64        | u64     | enciphered         | 16 bytes  |
 *   +--------+-----+---------+---------+------------+---------+--------------------+-----------+
 *   |                     clear, but part of the seal         |
 *
 * Each process seals with a key of its own: HKDF(key of the ring, sender | generation), and its
 * nonce is a counter that rises with each datagram. A generation is never used by two processes (it
 * is synced to disk before any networking), so no nonce repeats under one key.
 *
 * A receiver remembers for each process that it heard the highest counter and which of the 256
 * below it came: what comes twice, or is older, is dropped. It forgets with its own process, so a
 * datagram recorded before this one began can be believed once more; what it can say is then as old
 * as its incarnation, and loses against what others say. */
#ifndef MYCO_GOSSIP_KEYRING_H
#define MYCO_GOSSIP_KEYRING_H

#include "base/buf.h"
#include "base/seal.h"

#define MYCO_KEYS_MAX        8
#define MYCO_SEALED_EXTRA    53   /* bytes that a seal adds to a datagram */
#define MYCO_KEY_SENDERS_MAX 8192 /* processes remembered; the one not heard for longest goes */

enum myco_opened {
    MYCO_OPENED,          /* sealed by a key of the ring, for the first time */
    MYCO_OPENED_PLAIN,    /* not sealed, and the ring is empty: as it came */
    MYCO_OPENED_UNSEALED, /* not sealed, and it should be */
    MYCO_OPENED_FOREIGN,  /* by a key that is not of the ring, or not as it was sealed */
    MYCO_OPENED_REPLAYED, /* a second time */
};

struct myco_keyring;
struct myco_keyring *myco_keyring_new(void); /* empty: seals nothing, opens nothing */
void myco_keyring_free(struct myco_keyring *ring);
/* Copies; what was heard stays known. At most MYCO_KEYS_MAX; none: an empty ring. */
void myco_keyring_set(struct myco_keyring *ring, const struct myco_seal_key *keys, unsigned count);
unsigned myco_keyring_count(const struct myco_keyring *ring);
const struct myco_seal_key *myco_keyring_key(const struct myco_keyring *ring, unsigned at);

/* Appends `plain`, sealed, to `out`. `key`: the id of the one to seal with; the first, when it is 0
 * or not in the ring. ENOMEM, ENOTFOUND (the ring is empty). */
int myco_keyring_seal(struct myco_keyring *ring, uint64_t id, uint64_t generation, uint64_t key,
    struct myco_slice plain, struct myco_buf *out);

struct myco_opening {
    enum myco_opened how;
    uint64_t id, generation, key; /* who sealed it, and by which key: only with MYCO_OPENED */
    struct myco_slice plain;      /* lent until the next call */
};
struct myco_opening myco_keyring_open(struct myco_keyring *ring, struct myco_slice bytes);

#endif
