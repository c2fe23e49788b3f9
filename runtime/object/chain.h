/* The chain of manifests in an object store, and who may write it (PROTOCOL rules 17–22). One writer at a time,
 * fenced by put-if-absent: a new one seals the old chain at its next sequence, then starts its own; an old one
 * that comes back finds the seal where its next manifest should go, and stops. */
#ifndef MYCO_OBJECT_CHAIN_H
#define MYCO_OBJECT_CHAIN_H

#include "object/manifest.h"
#include "object/object.h"

struct myco_chain;

/* *manifest is NULL when the store holds none; lent until the callback returns (steal by copying the struct and zeroing it). */
typedef void (*myco_chain_cb)(int status, const char *message, struct myco_manifest *manifest, void *data);

struct myco_chain *myco_chain_new(struct myco_object *store);
void myco_chain_free(struct myco_chain *chain); /* callbacks under way run with ECANCELED */
/* The newest manifest (not seal) of the newest chain. ECORRUPT when it can't be read. Writes nothing. */
void myco_chain_latest(struct myco_chain *chain, myco_chain_cb cb, void *data);
/* Takes over with `epoch`: seals every chain of an older epoch that is not sealed, and gives the newest manifest to start
 * from. EFENCED: a chain (or seal) of a newer epoch exists. */
void myco_chain_take_over(struct myco_chain *chain, uint64_t epoch, myco_chain_cb cb, void *data);
/* Writes the next manifest of one's own chain; fills cluster-independent fields (epoch, sequence, nonce, previous,
 * written_ms). One at a time: EBUSY. After a time-out or EEXISTS it reads what is there: its own (0) or a seal (EFENCED).
 * Then objects in `dropped` of the *previous* committed manifest are deleted once older than grace_ms by the store's clock. */
void myco_chain_write(struct myco_chain *chain, struct myco_manifest *manifest, myco_object_cb cb, void *data);
/* Claims the next incarnation: `cluster/<n>` by put-if-absent, n above any there. *n arrives as manifest->incarnation of a
 * manifest that is otherwise empty. */
void myco_chain_claim(struct myco_chain *chain, uint64_t cluster, myco_chain_cb cb, void *data);

#endif
