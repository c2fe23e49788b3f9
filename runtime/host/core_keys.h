/* The ring of gossip's keys, as a document. */
#ifndef MYCO_HOST_CORE_KEYS_H
#define MYCO_HOST_CORE_KEYS_H

#include "consensus/policy_docs.h"

struct myco_core;
void core_keys_pack(struct myco_core *core, msgpack_packer *pack); /* topic `keys` */

#endif
