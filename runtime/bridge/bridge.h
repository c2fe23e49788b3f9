/* Lua in a node: one state on the loop thread with luv, the mycorrizal.core module (a thin binding
 * of <mycorrizal.h>), and the Lua layer on top. Everything above the public header is Lua's
 * business: tasks, the admin server that pulse talks to, modules, declarations of a configuration
 * file. Loop thread only. */
#ifndef MYCO_BRIDGE_BRIDGE_H
#define MYCO_BRIDGE_BRIDGE_H

#include "base/buf.h"
#include "base/log.h"
#include "mycorrizal.h"

struct uv_loop_s;
struct myco_bridge;

struct myco_bridge_options {
    struct uv_loop_s *loop;
    struct myco *node;    /* whose public API the Lua layer uses */
    const char *lua_path; /* folder that holds mycorrizal/ and pulse/ */
    const char *admin;    /* TCP address or NULL */
    const char *socket;   /* path of the Unix socket, or NULL */
    const char *config;   /* Lua source of declarations or NULL */
    struct myco_log *log;
};

/* Creates the state and starts the admin server (its addresses are bound on return). */
int myco_bridge_open(
    const struct myco_bridge_options *options, struct myco_bridge **bridge, struct myco_err *err);
const char *myco_bridge_admin(const struct myco_bridge *bridge); /* as bound, "" without */
/* The node is ready: declarations of the configuration are carried out in a task. */
void myco_bridge_ready(struct myco_bridge *bridge);
/* Cancels tasks, closes every luv handle, then calls back; frees the bridge. */
void myco_bridge_close(struct myco_bridge *bridge, void (*closed)(void *data), void *data);

/* Runs a Lua program in a state of its own with luv and the layer: `mycorrizal lua FILE …`, pulse,
 * busted. Returns its exit status. */
int myco_bridge_main(const char *lua_path, const char *script, int argc, char **argv);

/* Reads a configuration file (a Lua program in a sandbox that returns a table): options by name are
 * given to `set`, what is for the Lua layer (septa, streams, policies, modules) is given as source
 * to be run when ready. The error names file and line. */
typedef int (*myco_config_set_cb)(
    const char *name, const char *value, struct myco_err *err, void *data);
int myco_bridge_config(const char *file, myco_config_set_cb set, void *data,
    struct myco_buf *declarations, struct myco_err *err);

#endif
