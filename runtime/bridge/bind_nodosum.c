/* Elections, and the policies of the cluster. */
#include "base/mem.h"
#include "bridge/bind.h"
#include "bridge/msgpack.h"
#include "consensus/state.h"

/* ── Elections ── */

static int push_duty(lua_State *L, const void *payload)
{
    const struct myco_duty *duty = payload;
    lua_createtable(L, 0, 4);
    lua_pushstring(L, duty->name);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, duty->held);
    lua_setfield(L, -2, "held");
    lua_pushinteger(L, (lua_Integer)duty->epoch);
    lua_setfield(L, -2, "epoch");
    lua_pushstring(L, duty->leader);
    lua_setfield(L, -2, "leader");
    return 1;
}

static void on_duty(const struct myco_duty *duty, void *data)
{
    myco__call_deliver(data, push_duty, duty);
}

static void on_resigned(void *data)
{
    myco__call_drop(data);
}

static void resign(struct myco__held *held)
{
    myco_resign(held->handle, on_resigned, held->call);
}

/* campaign(node, name, priority, labels or nil, cooldown_ms, function(duty)): a candidacy, for
 * release(). */
static int nodosum_campaign(lua_State *L)
{
    struct myco_err err = {0};
    struct myco_election *election;
    struct myco *node = myco__check_node(L, 1);
    const char *name = luaL_checkstring(L, 2);
    lua_Integer priority = luaL_optinteger(L, 3, 0);
    luaL_argcheck(L, priority >= INT32_MIN && priority <= INT32_MAX, 3, "from -2^31 to 2^31-1");
    struct myco_campaign_options options = {.size = sizeof options,
        .priority = (int)priority,
        .labels = luaL_optstring(L, 4, NULL),
        .cooldown_ms = myco__optional_ms(L, 5)};
    struct myco__held *held = myco__hold(L, node, myco__call_new(L, 6), resign);
    if (myco_campaign_with(node, name, &options, on_duty, held->call, &election, &err))
        return myco__hold_failed(L, held, &err);
    held->handle = election;
    return 1;
}

static int push_leadership(lua_State *L, const void *payload)
{
    const struct myco_leadership *leadership = payload;
    lua_createtable(L, 0, 4);
    lua_pushstring(L, leadership->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, leadership->leader);
    lua_setfield(L, -2, "leader");
    lua_pushinteger(L, (lua_Integer)leadership->epoch);
    lua_setfield(L, -2, "epoch");
    lua_pushstring(L, leadership->reason);
    lua_setfield(L, -2, "reason");
    return 1;
}

static void on_leadership(const struct myco_leadership *leadership, void *data)
{
    myco__call_deliver(data, push_leadership, leadership);
}

static void unobserve(struct myco__held *held)
{
    myco_unobserve(held->handle, on_resigned, held->call);
}

/* observe(node, name, function(leadership)): an observer, for release(). */
static int nodosum_observe(lua_State *L)
{
    struct myco_err err = {0};
    struct myco_observer *observer;
    struct myco *node = myco__check_node(L, 1);
    const char *name = luaL_checkstring(L, 2);
    struct myco__held *held = myco__hold(L, node, myco__call_new(L, 3), unobserve);
    if (myco_observe(node, name, on_leadership, held->call, &observer, &err))
        return myco__hold_failed(L, held, &err);
    held->handle = observer;
    return 1;
}

static int push_done(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status) return myco__push_failure(L, result->status, result->message);
    lua_pushboolean(L, 1);
    return 1;
}

static void on_done(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_done, result);
}

/* hand_over(node, name, to, timeout_ms, callback): true */
static int nodosum_hand_over(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    const char *name = luaL_checkstring(L, 2), *to = luaL_checkstring(L, 3);
    unsigned timeout_ms = myco__optional_ms(L, 4);
    struct myco__call *call = myco__call_new(L, 5);
    return myco__started(L, myco_transfer_async(node, name, to, timeout_ms, on_done, call), call);
}

/* ── Locks ── */

static int push_lock(lua_State *L, const void *payload)
{
    const struct myco_lock_state *state = payload;
    lua_createtable(L, 0, 5);
    lua_pushboolean(L, state->held);
    lua_setfield(L, -2, "held");
    lua_pushinteger(L, (lua_Integer)state->epoch);
    lua_setfield(L, -2, "epoch");
    lua_pushstring(L, state->fence.name);
    lua_setfield(L, -2, "fence");
    lua_pushstring(L, state->message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, myco_errname(state->status));
    lua_setfield(L, -2, "code");
    return 1;
}

static void on_lock(const struct myco_lock_state *state, void *data)
{
    myco__call_deliver(data, push_lock, state);
}

static void unlock(struct myco__held *held)
{
    myco_unlock(held->handle, on_resigned, held->call);
}

static unsigned check_permits(lua_State *L, int index)
{
    lua_Integer permits = luaL_checkinteger(L, index);
    luaL_argcheck(L, permits >= 1 && permits <= 1024, index, "from 1 to 1024");
    return (unsigned)permits;
}

/* lock(node, name, permits, try, wait_ms, function(state)): a lock, for release(). */
static int nodosum_lock(lua_State *L)
{
    struct myco_err err = {0};
    struct myco_lock *lock;
    struct myco *node = myco__check_node(L, 1);
    const char *name = luaL_checkstring(L, 2);
    struct myco_lock_options options = {.permits = check_permits(L, 3),
        .try = lua_toboolean(L, 4),
        .wait_ms = myco__optional_ms(L, 5)};
    struct myco__held *held = myco__hold(L, node, myco__call_new(L, 6), unlock);
    if (myco_lock_async(node, name, &options, on_lock, held->call, &lock, &err))
        return myco__hold_failed(L, held, &err);
    held->handle = lock;
    return 1;
}

static int push_passed(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status) return myco__push_failed_result(L, result);
    lua_pushinteger(L, (lua_Integer)result->version);
    return 1;
}

static void on_passed(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_passed, result);
}

/* barrier(node, name, parties, wait_ms, callback): its epoch. */
static int nodosum_barrier(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    const char *name = luaL_checkstring(L, 2);
    unsigned parties = check_permits(L, 3), wait_ms = myco__optional_ms(L, 4);
    struct myco__call *call = myco__call_new(L, 5);
    return myco__started(
        L, myco_barrier_async(node, name, parties, wait_ms, on_passed, call), call);
}

/* ── Policies ── */

static int push_version(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    if (result->status) return myco__push_failed_result(L, result);
    lua_pushinteger(L, (lua_Integer)result->version);
    return 1;
}

static void on_policy(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_version, result);
}

/* policy_apply(node, kind, name, source, author, timeout_ms, callback): its version. */
static int nodosum_policy_apply(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    const char *kind = luaL_checkstring(L, 2), *name = luaL_checkstring(L, 3),
               *author = luaL_checkstring(L, 5);
    struct myco_slice source = myco__check_slice(L, 4);
    unsigned timeout_ms = myco__optional_ms(L, 6);
    struct myco__call *call = myco__call_new(L, 7);
    return myco__started(L,
        myco_policy_apply_async(node, kind, name, source, author, timeout_ms, on_policy, call),
        call);
}

/* policy_rollback(node, kind, author, timeout_ms, callback): the version that is in force then. */
static int nodosum_policy_rollback(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    const char *kind = luaL_checkstring(L, 2), *author = luaL_checkstring(L, 3);
    unsigned timeout_ms = myco__optional_ms(L, 4);
    struct myco__call *call = myco__call_new(L, 5);
    return myco__started(
        L, myco_policy_rollback_async(node, kind, author, timeout_ms, on_policy, call), call);
}

/* ── The cluster as a whole ── */

/* sync(node, timeout_ms, callback): true. */
static int nodosum_sync(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    unsigned timeout_ms = myco__optional_ms(L, 2);
    struct myco__call *call = myco__call_new(L, 3);
    return myco__started(L, myco_sync_async(node, timeout_ms, on_done, call), call);
}

/* remove(node, member, force, timeout_ms, callback): true. */
static int nodosum_remove(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    const char *member = luaL_checkstring(L, 2);
    unsigned flags = lua_toboolean(L, 3) ? MYCO_REMOVE_FORCE : 0;
    unsigned timeout_ms = myco__optional_ms(L, 4);
    struct myco__call *call = myco__call_new(L, 5);
    return myco__started(
        L, myco_remove_async(node, member, flags, timeout_ms, on_done, call), call);
}

/* The report. */
static int push_loss(lua_State *L, const void *payload)
{
    const struct myco_result *result = payload;
    const char *why;
    if (result->status) return myco__push_failed_result(L, result);
    if (myco__msgpack_push(L, result->value, &why) == 0)
        return myco__push_failure(L, MYCO_EPROTO, why);
    return 1;
}

static void on_loss(const struct myco_result *result, void *data)
{
    myco__call_finish(data, push_loss, result);
}

/* accept_loss(node, septum, hyphae or nil, flags, reason, timeout_ms, callback): the report. */
static int nodosum_accept_loss(lua_State *L)
{
    struct myco *node = myco__check_node(L, 1);
    const char *septum = luaL_checkstring(L, 2), *reason = luaL_optstring(L, 5, "");
    uint32_t hyphae[MYCO_LOSSES_MAX];
    unsigned flags = (unsigned)luaL_checkinteger(L, 4), timeout_ms = myco__optional_ms(L, 6);
    bool all = lua_isnoneornil(L, 3);
    lua_Integer count = all ? 0 : luaL_len(L, 3);
    luaL_argcheck(L, count <= MYCO_LOSSES_MAX, 3, "too many hyphae at a time");
    for (lua_Integer i = 0; i < count; i++) {
        lua_geti(L, 3, i + 1);
        lua_Integer index = luaL_checkinteger(L, -1);
        luaL_argcheck(L, index >= 0 && index < MYCO_HYPHAE_MAX, 3, "no such hypha");
        hyphae[i] = (uint32_t)index;
        lua_pop(L, 1);
    }
    struct myco__call *call = myco__call_new(L, 7);
    return myco__started(L,
        myco_accept_loss_async(node, septum, all ? NULL : hyphae, (unsigned)count, flags, reason,
            timeout_ms, on_loss, call),
        call);
}

const luaL_Reg myco__bind_nodosum[] = {{"campaign", nodosum_campaign}, {"observe", nodosum_observe},
    {"hand_over", nodosum_hand_over}, {"lock", nodosum_lock}, {"barrier", nodosum_barrier},
    {"policy_apply", nodosum_policy_apply}, {"policy_rollback", nodosum_policy_rollback},
    {"sync", nodosum_sync}, {"remove", nodosum_remove}, {"accept_loss", nodosum_accept_loss},
    {NULL, NULL}};
