/* Policies that are not in force: checked, described and asked from their source, for the tools
 * that Lua offers. */
#ifndef MYCO_BRIDGE_POLICY_SOURCE_H
#define MYCO_BRIDGE_POLICY_SOURCE_H

#include "base/buf.h"

int myco__policy_check(int kind, const char *name, struct myco_slice source, struct myco_err *err);
int myco__policy_ask(int kind, const char *name, struct myco_slice source, struct myco_slice world,
    struct myco_buf *answer, struct myco_err *err);
/* Appends {kind, name, doc, options, source} as MessagePack. */
int myco__policy_describe(
    const char *name, struct myco_slice source, struct myco_buf *out, struct myco_err *err);
/* The name of the default of a kind, or NULL: nothing asks that kind. */
const char *myco__policy_default(int kind);

#endif
