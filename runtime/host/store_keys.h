/* The keys of an object store, as --store-key names them: a file, or env:NAME, a variable of the
 * environment. */
#ifndef MYCO_HOST_STORE_KEYS_H
#define MYCO_HOST_STORE_KEYS_H

#include "base/log.h"
#include "object/sealed.h"

/* One key a line, as `mycorrizal keygen` prints them; a line `plain`: what is not sealed is read,
 * too. In a variable commas and spaces are as good as lines. EINVAL, ENOTFOUND, ETOOBIG, EEXISTS,
 * EIO: with the reason. */
int node_store_keys(
    const char *where, struct myco_log *log, struct myco_store_keys *keys, struct myco_err *err);

#endif
