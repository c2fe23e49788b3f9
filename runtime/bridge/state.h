/* One Lua state on one libuv loop: its memory cap, the only door through which C enters it, and
 * what C still owes it. */
#ifndef MYCO_BRIDGE_STATE_H
#define MYCO_BRIDGE_STATE_H

#include <lua.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metric.h"

#define MYCO_LUA_MEMORY_MAX (256u * 1024 * 1024)

struct myco_object;

struct myco__state {
    lua_State *L;
    uv_loop_t *loop;
    struct myco_log *log;         /* NULL: errors go to stderr */
    struct myco_metrics *metrics; /* or NULL */
    struct myco_object *store;    /* of the node whose state this is, or NULL */
    size_t used;                  /* bytes that Lua holds */
    struct myco_list calls;       /* of struct myco__call */
    struct myco_list nodes;       /* that Lua opened and did not close yet */
    struct myco_list held;        /* what nodes do for it: see bind.h */
    struct {                      /* the task that is being watched, see guard.c */
        lua_State *task;
        uint64_t slice_end_ns, abort_at_ns;
    } guard;
};

/* Opens luv on `loop`, sets package.path to `lua_path` before Lua's own, offers mycorrizal.core and
 * mycorrizal.msgpack. */
int myco__state_open(struct myco__state *state, uv_loop_t *loop, const char *lua_path,
    struct myco_log *log, struct myco_err *err);
/* Starts closing every luv handle; how many handles, requests and nodes are still there: 0
 * means that it may be closed. */
unsigned myco__state_drain(struct myco__state *state);
void myco__state_close(struct myco__state *state);
struct myco__state *myco__state_of(lua_State *L);
/* An error; its traceback may follow in lines. */
void myco__state_report(struct myco__state *state, const char *sentence);

/* The door. Runs `work` with `data` as its light userdata, protected, on the main Lua thread; an
 * error is logged with its traceback. 0 or MYCO_ELUA; *err (may be NULL) gets the sentence. */
int myco__state_enter(
    struct myco__state *state, lua_CFunction work, void *data, struct myco_err *err);

/* ── A Lua function that C will call: exactly once, or until it is dropped ── */

struct myco__call {
    struct myco_list link;
    struct myco__state *state; /* NULL: the state is gone */
    int function;              /* reference in the registry */
};
struct myco__call *myco__call_new(lua_State *L, int function); /* raises unless it is a function */
void myco__call_drop(struct myco__call *call);
/* Pushes the arguments that `payload` holds and returns how many. */
typedef int (*myco__push_cb)(lua_State *L, const void *payload);
void myco__call_deliver(struct myco__call *call, myco__push_cb push, const void *payload);
/* Calls back, and drops it. */
void myco__call_finish(struct myco__call *call, myco__push_cb push, const void *payload);

/* nil, message, "ECODE"; returns 3. */
int myco__push_failure(lua_State *L, int code, const char *message);
int myco__push_err(lua_State *L, const struct myco_err *err);

/* guard.c: guard(coroutine, slice_ms, abort_ms): before each resume of a task that may run away. */
int myco__lua_guard(lua_State *L);

#endif
