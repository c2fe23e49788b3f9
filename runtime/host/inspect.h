/* Documents of myco_core_inspect() that have a file of their own (inspect_nodosum.c). Each packs
 * one value. */
#ifndef MYCO_HOST_INSPECT_H
#define MYCO_HOST_INSPECT_H

#include <msgpack.h>

#include "host/core_internal.h"

void inspect_voters(struct myco_core *core, msgpack_packer *pack);
void inspect_holdings(struct myco_core *core, msgpack_packer *pack);
void inspect_events(struct myco_core *core, msgpack_packer *pack);

#endif
