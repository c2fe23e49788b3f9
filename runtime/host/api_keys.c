/* The public call that changes the ring of gossip's keys. */
#include "base/err.h"
#include "host/core_internal.h"
#include "host/node_call.h"

struct change {
    const char *verb, *key;
    struct myco_err *err;
};

static int change(struct myco *node, void *arg)
{
    const struct change *ask = arg;
    return core_keys_change(node->core, ask->verb, ask->key, ask->err);
}

int myco_keys_change(struct myco *node, const char *verb, const char *key, struct myco_err *err)
{
    struct myco_err failure = {0};
    struct change ask = {verb, key, &failure};
    int rc = node_call(node, change, &ask);
    if (rc) return myco_err(err, rc, "%s", failure.code ? failure.message : myco_strerror(rc));
    return 0;
}
