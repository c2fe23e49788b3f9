/* What the binding files share. Each binds one part of <mycorrizal.h>, and decides nothing: check,
 * call, return. */
#ifndef MYCO_BRIDGE_BIND_H
#define MYCO_BRIDGE_BIND_H

#include <lauxlib.h>
#include <lua.h>

#include "bridge/state.h"
#include "mycorrizal.h"

int myco__open_core(lua_State *L);     /* mycorrizal.core */
int myco__open_policies(lua_State *L); /* mycorrizal.policies */

extern const luaL_Reg myco__bind_node[], myco__bind_mycel[], myco__bind_cytoplasm[],
    myco__bind_nodosum[], myco__bind_ops[], myco__bind_watch[], myco__bind_follow[],
    myco__bind_discovery[];

#define MYCO_LUA_NODE "mycorrizal.node"
/* A node as Lua holds it: opened by Lua, or lent by the host whose state this is. */
struct myco__lua_node {
    struct myco_list link; /* in the state's nodes, when opened here */
    struct myco *node;     /* NULL: closed */
    struct myco_log log;
};
void myco__push_node(lua_State *L, struct myco *node); /* lent */
struct myco *myco__check_node(lua_State *L, int index);
/* The userdata at `index` was made on a node that is in its first user value: raises when that is
 * closed. */
void myco__check_alive(lua_State *L, int index);

/* Something that a node does for Lua until it is released: a subscription, a candidacy, an exposed
 * function. It does not end when Lua forgets it, but by release(), when its node is closed, or with
 * the state. */
struct myco__held {
    struct myco_list link;     /* in the state's held */
    struct myco__held **owner; /* the userdata, or NULL: collected */
    struct myco *node;
    struct myco__call *call;
    void *handle;
    void (*release)(struct myco__held *held); /* ends it, and sees to it that `call` is dropped */
};
/* Pushes its userdata. The node is at index 1. */
struct myco__held *myco__hold(lua_State *L, struct myco *node, struct myco__call *call,
    void (*release)(struct myco__held *held));
/* It did not come about. */
int myco__hold_failed(lua_State *L, struct myco__held *held, const struct myco_err *err);
/* NULL: of every node. */
void myco__release_all(struct myco__state *state, const struct myco *node);
int myco__lua_release(lua_State *L);
struct myco__held *myco__check_held(lua_State *L, int index); /* NULL: released */

struct myco_slice myco__check_slice(lua_State *L, int index);
struct myco_septum *myco__check_septum(lua_State *L, int index);
/* name or nil, epoch from `first` on; lent as long as the arguments. */
struct myco_fence myco__check_fence(lua_State *L, int first);
unsigned myco__optional_ms(lua_State *L, int index); /* nil: 0 */
/* true when the call was taken (its callback will come); else drops `call` and pushes the
 * failure. */
int myco__started(lua_State *L, int status, struct myco__call *call);
/* Pushes what a result means: nothing found is nil alone. */
int myco__push_failed_result(lua_State *L, const struct myco_result *result);

#endif
