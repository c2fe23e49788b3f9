/* What a manifest says, as bytes: the definitions of the cluster, and for each hypha the objects
 * that hold it. Keys: `cluster/<incarnation>` (decimal) claims an incarnation;
 * `m/<epoch>/<sequence>` (16 hex digits each) is a manifest, or a claim (sequence 0) or a seal (see
 * chain.h); `d/<node>/<generation>-<counter>` is data: sections of many hyphae of one node in one
 * object. */
#ifndef MYCO_OBJECT_MANIFEST_H
#define MYCO_OBJECT_MANIFEST_H

#include "base/buf.h"

/* A section: bytes [at, at+size) of an object, as exported by a hypha. */
struct myco_section {
    uint32_t object; /* index into objects[] */
    bool snapshot;   /* a whole table; else the records (from, to] */
    uint64_t at, size;
    uint32_t crc; /* CRC32C of the section */
    uint64_t epoch, from, to;
};
struct myco_manifest_hypha {
    uint64_t septum; /* id */
    uint32_t hypha;
    uint32_t section_count; /* first a snapshot or from = 0, then without gaps */
    struct myco_section *sections;
};
struct myco_manifest_object {
    char *key;
    uint64_t size;
};
struct myco_manifest {
    bool seal;          /* then only epoch, sequence, nonce and sealed_by count */
    uint64_t sealed_by; /* epoch of the new chain */
    uint64_t cluster, incarnation, epoch, sequence, nonce;
    uint64_t written_ms;
    char *previous;              /* key of the manifest before it; "" for the first */
    struct myco_buf definitions; /* the replicated state's own snapshot encoding: septa, policies */
    struct myco_manifest_object *objects;
    uint32_t object_count;
    struct myco_manifest_hypha *hyphae;
    uint32_t hypha_count;
    char *
        *dropped; /* keys that are not needed any more, and may be deleted once this is committed */
    uint32_t dropped_count;
};

void myco_manifest_free(struct myco_manifest *manifest); /* what it points to; zeroes it */
/* Magic, version, …, CRC32C. */
void myco_manifest_encode(const struct myco_manifest *manifest, struct myco_buf *out);
int myco_manifest_decode(struct myco_manifest *manifest, struct myco_slice bytes,
    struct myco_err *err); /* ECORRUPT, EVERSION */
void myco_manifest_key(char key[64], uint64_t epoch, uint64_t sequence);
bool myco_manifest_key_parse(const char *key, uint64_t *epoch, uint64_t *sequence);

#endif
