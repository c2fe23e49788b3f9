/* For the files of public calls (api_*.c): doing something on the loop, and handles that go with
 * their node. */
#ifndef MYCO_HOST_NODE_CALL_H
#define MYCO_HOST_NODE_CALL_H

#include "host/node.h"

/* Runs fn on the loop's thread and waits for it: at once when called there. ECLOSED: the node is
 * closing. */
int node_call(struct myco *node, int (*fn)(struct myco *node, void *arg), void *arg);
void node_handle_keep(
    struct node_handle *handle, struct myco *node); /* takes; freed with the node */
void node_handle_free(struct node_handle *handle);

#endif
