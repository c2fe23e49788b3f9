/* The contract of a policy file: what fields it has, and that its examples hold. Runs inside a
 * sandbox. */
#ifndef MYCO_BRIDGE_CONTRACT_H
#define MYCO_BRIDGE_CONTRACT_H

#include <lua.h>

#include "base/buf.h"

/* Raises unless the value at the top is a policy of this kind: fields and their types. */
void myco__contract_check(lua_State *L, int kind);
/* Raises unless every example of the policy at the top holds, twice with the same answer. `scratch`
 * is the caller's. */
void myco__contract_run_examples(lua_State *L, int kind, struct myco_buf *scratch);
/* Asks the policy at `policy` about the world at the top, which the checked answer replaces. */
void myco__contract_ask(lua_State *L, int kind, int policy);

#endif
