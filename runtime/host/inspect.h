/* Documents of myco_core_inspect() that have a file of their own. Each packs one value. */
#ifndef MYCO_HOST_INSPECT_H
#define MYCO_HOST_INSPECT_H

#include "consensus/policy_docs.h"
#include "host/core_internal.h"

/* inspect_nodosum.c */
void inspect_voters(struct myco_core *core, msgpack_packer *pack);
void inspect_holdings(struct myco_core *core, msgpack_packer *pack);
void inspect_events(struct myco_core *core, msgpack_packer *pack);
/* inspect_locks.c */
void inspect_locks(struct myco_core *core, msgpack_packer *pack);
/* inspect_topology.c */
void inspect_topology(struct myco_core *core, msgpack_packer *pack);
/* inspect_features.c */
void inspect_features(struct myco_core *core, msgpack_packer *pack);
void inspect_feature_names(msgpack_packer *pack, uint64_t features); /* an array */

#endif
