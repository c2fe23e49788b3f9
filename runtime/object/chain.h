/* The chain of manifests in an object store, and who may write it (PROTOCOL rules 17–22). One
 * writer at a time, fenced by put-if-absent: a new one seals the old chain at its next sequence,
 * then starts its own; an old one that comes back finds the seal where its next manifest should go,
 * and stops.
 *
 *   m/3/0  m/3/1  m/3/2  m/3/3          epoch 3: its claim, two manifests, the seal by 5
 *   claim  ─────→ ─────→ seal(5)
 *                  └───→ m/5/0  m/5/1   epoch 5: its claim, a manifest
 *
 * `m/<epoch>/0` is a claim (a seal that names its own epoch): whoever takes over puts it *before*
 * looking at what is there. Of two that take over at the same time at least one so sees the other,
 * and a chain that has no manifest yet can be sealed too. Neither claims nor seals are ever
 * deleted. */
#ifndef MYCO_OBJECT_CHAIN_H
#define MYCO_OBJECT_CHAIN_H

#include "object/manifest.h"
#include "object/object.h"

struct myco_chain;

/* *manifest is NULL when the store holds none; lent until the callback returns (steal by copying
 * the struct and zeroing it). */
typedef void (*myco_chain_cb)(
    int status, const char *message, struct myco_manifest *manifest, void *data);

struct myco_chain *myco_chain_new(struct myco_object *store);
/* How long a dropped object stays after the manifest that dropped it, by the store's clock. Default
 * 10 minutes. */
void myco_chain_set_grace(struct myco_chain *chain, uint64_t grace_ms);
/* Before its store is closed. Callbacks under way run with ECANCELED, inside of this call. */
void myco_chain_free(struct myco_chain *chain);
/* The newest manifest (not seal) of the newest chain. ECORRUPT when it can't be read. Writes
 * nothing. */
void myco_chain_latest(struct myco_chain *chain, myco_chain_cb cb, void *data);
/* Takes over with `epoch`: seals every chain of an older epoch that is not sealed, and gives the
 * newest manifest to start from. EFENCED: a chain (or seal) of a newer epoch exists, or another
 * writer claimed this one. EBUSY. After another error (ETIMEDOUT, …) it may be called again with
 * the same epoch. */
void myco_chain_take_over(struct myco_chain *chain, uint64_t epoch, myco_chain_cb cb, void *data);
/* Writes the next manifest of one's own chain; fills cluster-independent fields (epoch, sequence,
 * nonce, previous, written_ms). One at a time: EBUSY. Before a take-over: ENOTLEADER; EINVAL: it
 * names what was dropped, or could not be read again; EFULL: more than 65,536 keys wait for their
 * deletion. The manifest is borrowed for the call. After a time-out or EEXISTS it reads what is
 * there: its own (0) or a seal (EFENCED, from now on always). An error like ETIMEDOUT means that it
 * may have been written, or may yet be: writing again finds out, and goes on behind it. A committed
 * manifest's `dropped` are carried on in those that follow it until they are deleted: by the
 * writer, after a later manifest of its own is committed, once the one that dropped them is
 * grace_ms old by the store's clock. A key of a manifest may be dropped too; a seal, a claim and
 * the newest manifest stay all the same. */
void myco_chain_write(
    struct myco_chain *chain, struct myco_manifest *manifest, myco_object_cb cb, void *data);
/* A key that a committed manifest dropped, and that is not deleted yet. */
bool myco_chain_dropped(const struct myco_chain *chain, const char *key);
/* Deletes manifests that newer ones replaced, once that is grace_ms less two minutes ago; never a
 * claim, a seal or the newest. After a take-over, now and then. */
void myco_chain_prune(struct myco_chain *chain);
/* Claims the next incarnation: `cluster/<n>` by put-if-absent, n above any there. *n arrives as
 * manifest->incarnation of a manifest that is otherwise empty. */
void myco_chain_claim(struct myco_chain *chain, uint64_t cluster, myco_chain_cb cb, void *data);

#endif
