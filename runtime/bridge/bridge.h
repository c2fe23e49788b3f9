/* Lua in a node: one state on the loop thread with luv, the mycorrizal.core module (a thin binding
 * of <mycorrizal.h>), and the Lua layer on top. Everything above the public header is Lua's
 * business: tasks, the admin server that pulse talks to, modules, declarations of a configuration
 * file. Loop thread only. */
#ifndef MYCO_BRIDGE_BRIDGE_H
#define MYCO_BRIDGE_BRIDGE_H

#include "base/buf.h"
#include "base/log.h"
#include "base/metric.h"
#include "mycorrizal.h"

struct uv_loop_s;
struct myco_object;
struct myco_bridge;

struct myco_bridge_options {
    struct uv_loop_s *loop;
    struct myco *node;         /* whose public API the Lua layer uses */
    const char *lua_path;      /* folder that holds mycorrizal/ and pulse/ */
    const char *admin;         /* TCP address or NULL */
    const char *socket;        /* path of the Unix socket, or NULL */
    const char *config;        /* Lua source of declarations or NULL */
    const char *join;          /* sources of discovery, comma-separated, or NULL */
    struct myco_object *store; /* lent until the bridge is closed, or NULL */
    struct myco_log *log;
    struct myco_metrics *metrics; /* may be NULL */
};

/* Creates the state and starts the admin server (its addresses are bound on return). *bridge is
 * given, also when starting failed in the midst: close it, unless it is NULL. */
int myco_bridge_open(
    const struct myco_bridge_options *options, struct myco_bridge **bridge, struct myco_err *err);
const char *myco_bridge_admin(const struct myco_bridge *bridge); /* as bound, "" without */
/* The node is ready: declarations of the configuration are carried out in a task. */
void myco_bridge_ready(struct myco_bridge *bridge);
/* Cancels tasks, closes every luv handle, then calls back; frees the bridge. */
void myco_bridge_close(struct myco_bridge *bridge, void (*closed)(void *data), void *data);

/* A C module that a program offers to its Lua code by name. */
struct lua_State;
struct myco_bridge_module {
    const char *name; /* NULL ends a list */
    int (*open)(struct lua_State *L);
};

/* Runs a Lua program in a state and on a loop of its own, with luv and the layer: `mycorrizal lua
 * FILE …`, pulse, busted. The program is a task, and may wait; it sees argv[0] … argv[argc-1] as
 * arg[1] …. `modules` may be NULL. Returns its exit status: what it returned or gave to os.exit, 0
 * without, 1 when it raised (said on stderr). */
int myco_bridge_main(const char *lua_path, const char *script, int argc, char **argv);
int myco_bridge_run(const char *lua_path, const char *script, int argc, char **argv,
    const struct myco_bridge_module *modules);

/* Reads a configuration file (a Lua program without I/O that returns a table): options by name are
 * given to `set`, what is for the Lua layer (septa, policies, modules) is given as source to be run
 * when ready. Lists become "a,b", tables of labels "rack=7,zone=a". The error names file and line.
 */
typedef int (*myco_config_set_cb)(
    const char *name, const char *value, struct myco_err *err, void *data);
int myco_bridge_config(const char *file, myco_config_set_cb set, void *data,
    struct myco_buf *declarations, struct myco_err *err);

#endif
