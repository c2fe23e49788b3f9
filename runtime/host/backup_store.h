/* An object store as a program uses it that waits for each answer: one loop, one call at a time. */
#ifndef MYCO_HOST_BACKUP_STORE_H
#define MYCO_HOST_BACKUP_STORE_H

#include <uv.h>

#include "env/uv_env.h"
#include "host/store.h"
#include "object/chain.h"

struct backup_store {
    uv_loop_t loop;
    struct myco_log log;
    struct myco_metrics metrics;
    struct myco_uv_env *env;
    struct node_store backing;
    bool looped;
};

struct backup_manifest {
    char key[64];
    uint64_t epoch, sequence, size, modified_ms;
};

/* key_file NULL: not sealed. Close it, whatever came. */
int backup_store_open(
    struct backup_store *store, const char *url, const char *key_file, struct myco_err *err);
void backup_store_close(struct backup_store *store);
/* bytes: given. */
int backup_get(
    struct backup_store *store, const char *key, struct myco_buf *bytes, struct myco_err *err);
int backup_put(struct backup_store *store, const char *key, struct myco_slice bytes, int flags,
    struct myco_err *err);
/* All below m/ but claims, oldest first; *list is given. Seals are among them. */
int backup_manifests(
    struct backup_store *store, struct backup_manifest **list, size_t *count, struct myco_err *err);
int backup_read_manifest(struct backup_store *store, const char *key,
    struct myco_manifest *manifest, struct myco_err *err);
/* Claims the next incarnation for the cluster that claimed `of` in `source`, and takes the chain of
 * manifests over with its first epoch. The newest manifest is given; epoch 0: there was none. */
int backup_take_over(struct backup_store *store, struct myco_chain *chain,
    struct backup_store *source, uint64_t of, uint64_t *incarnation, struct myco_manifest *newest,
    struct myco_err *err);
int backup_write(struct backup_store *store, struct myco_chain *chain,
    struct myco_manifest *manifest, struct myco_err *err);

#endif
