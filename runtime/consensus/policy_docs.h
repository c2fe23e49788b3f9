/* Documents for policies: a few words over libmsgpack, so that worlds read like the tables they
 * become. */
#ifndef MYCO_CONSENSUS_POLICY_DOCS_H
#define MYCO_CONSENSUS_POLICY_DOCS_H

#include <msgpack.h>

#include "base/buf.h"

void myco_pack_init(msgpack_packer *pack, struct myco_buf *out);
void myco_pack_str(msgpack_packer *pack, const char *text);
void myco_pack_slice(msgpack_packer *pack, struct myco_slice text);
void myco_pack_key_str(msgpack_packer *pack, const char *key, const char *value);
void myco_pack_key_u64(msgpack_packer *pack, const char *key, uint64_t value);
void myco_pack_key_bool(msgpack_packer *pack, const char *key, bool value);
void myco_pack_id(msgpack_packer *pack, uint64_t id); /* as 16 hex digits; nil for 0 */
void myco_pack_labels(msgpack_packer *pack, const char *labels);
/* Those of `over` stand above the others of the same names. */
void myco_pack_labels_over(
    msgpack_packer *pack, const char *labels, const char *over); /* "zone=a,rack=7" as a map */

/* Reading: NULL or false when it is not what was asked for. */
const msgpack_object *myco_doc_get(const msgpack_object *map, const char *key);
bool myco_doc_id(const msgpack_object *object, uint64_t *id);
/* Whole numbers, and floats that are whole. */
bool myco_doc_u64(const msgpack_object *object, uint64_t *value);
bool myco_doc_is(const msgpack_object *object, const char *text);

#endif
