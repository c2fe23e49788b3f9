/* A Lua state in which nothing can be reached but pure functions: no I/O, clock, randomness,
 * addresses or collector. Work is bounded by a budget that instructions and long-running library
 * functions draw on, memory by caps. Each use gets a state of its own, so that nothing is carried
 * from one question to the next. */
#ifndef MYCO_BRIDGE_SANDBOX_H
#define MYCO_BRIDGE_SANDBOX_H

#include <lua.h>

#include "base/buf.h"

#define MYCO_SANDBOX_BUDGET     2000000            /* instructions; some milliseconds */
#define MYCO_SANDBOX_MEMORY_MAX (16 * 1024 * 1024) /* held at any time */
#define MYCO_SANDBOX_CHURN_MAX                                                                     \
    (64 * 1024 * 1024) /* allocated in all: bounds the copying of long strings */
#define MYCO_SANDBOX_STRING_MAX (16 * 1024) /* one string: comparing two costs one instruction */
#define MYCO_SANDBOX_SOURCE_MAX (64 * 1024)

struct myco__sandbox {
    lua_State *L;
    long budget;
    size_t used, allocated;
    bool strings_limited; /* what the sandbox itself brings in may be longer */
    unsigned refusals;    /* each made Lua collect all garbage, which takes a while */
    const char *exceeded; /* which limit an allocation hit, or NULL */
};

/* *sandbox must stay where it is until close. ENOMEM. */
int myco__sandbox_open(struct myco__sandbox *sandbox, struct myco_err *err);
void myco__sandbox_close(struct myco__sandbox *sandbox);

/* Runs `work` protected, with `data` as its light userdata argument; nothing is left on the stack.
 * Errors it raises become `code` with the sentence. */
int myco__sandbox_run(
    struct myco__sandbox *sandbox, lua_CFunction work, void *data, int code, struct myco_err *err);

/* Inside `work`: */
struct myco__sandbox *myco__sandbox_of(lua_State *L);
/* Raises when the budget is used up. */
void myco__sandbox_charge(lua_State *L, double instructions);
void myco__sandbox_refill(lua_State *L);
/* Pushes what the source returns (one value); raises. */
void myco__sandbox_load(lua_State *L, const char *name, struct myco_slice source);

/* sandbox_lib.c: pushes the table of globals. */
void myco__sandbox_push_globals(lua_State *L);

#endif
