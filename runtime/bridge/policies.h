/* The sandbox in which policies run: a Lua state of its own for all kinds, without I/O, clock or
 * randomness, with an instruction budget and a memory cap; implements consensus/policy.h.
 * Deterministic: ordered pairs, stable sort. */
#ifndef MYCO_BRIDGE_POLICIES_H
#define MYCO_BRIDGE_POLICIES_H

#include "base/log.h"
#include "consensus/policy.h"

struct myco_policies;
/* Loads the defaults of every kind from `folder` (policy/ of the Lua layer): ENOTFOUND names what
 * is missing. */
int myco_policies_new(const char *folder, struct myco_log *log, struct myco_policies **policies,
    struct myco_err *err);
void myco_policies_free(struct myco_policies *policies);
struct myco_policy_port myco_policies_port(struct myco_policies *policies);
/* Name, source, options and doc of the current one as a MessagePack map. */
int myco_policies_describe(struct myco_policies *policies, int kind, struct myco_buf *out);

#endif
