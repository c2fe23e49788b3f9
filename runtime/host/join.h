/* Where a node looks for others: the option `join`, one place after the other.
 *
 *   10.0.0.1:7946, [fd00::1]:7946        asked for ever
 *   db1.internal:7946                    a name: looked up by Lua, again and again (policy static);
 *                                        in a node without Lua here, until it is found
 *   dns:NAME[:PORT]  srv:NAME  multicast:GROUP:PORT  consul:http://HOST:PORT/SERVICE
 *   store:  static:HOST:PORT  policy:FILE.lua
 *                                        sources: a policy of kind `discovery` each; options follow
 *                                        as ?every=30s&…, with %XX for what would be misread
 *
 * What is asked is the addresses that were given, and then what the sources found last: at most
 * MYCO_JOINS_MAX, this node's own not among them. */
#ifndef MYCO_HOST_JOIN_H
#define MYCO_HOST_JOIN_H

#include <stdbool.h>

#include "base/err.h"

struct myco;

/* One place of the option `join`: is it written as it should be? EINVAL, with what would be
 * right. */
int myco_join_check(const char *place, struct myco_err *err);
bool myco_join_is_source(const char *place); /* not HOST:PORT */
/* All of them together with the options that they need. */
int myco_join_check_all(const char *join, const char *store, bool no_lua, struct myco_err *err);

int node_join_read(struct myco *node, struct myco_err *err);
void node_join_start(struct myco *node); /* the core is started */
void node_join_stop(struct myco *node);  /* nothing is joined any more */
/* true: lookups are under way; `again` is called with the node once they ended. */
bool node_join_pending(struct myco *node, void (*again)(void *data));
void node_join_free(struct myco *node);

#endif
