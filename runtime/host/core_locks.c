/* Locks and barriers as this node asks for them: commands on their way, what it was given, and
 * telling who asked.
 *
 *     ASKED ──LOCK is applied──▶ WAITS ──its entry got an epoch, and the lease is valid──▶ HELD
 *        refused │   too late, gone │                                 the lease ran out │
 *                └──────────────────┴──────────────────────▶ ENDED ◀────────────────────┘
 *
 * UNLOCK is sent only after the answer to LOCK is known: else it might be applied before it, and
 * the entry would stay. What was lost is lost, also when the lease comes back: it is given back. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "host/core_internal.h"

enum stage { ASKED, WAITS, HELD, ENDED };

struct myco_core_lock {
    struct myco_core *core;
    enum myco_lock_kind kind;
    enum stage stage;
    char name[MYCO_STATE_NAME_MAX + 1], fence[MYCO_FENCE_NAME_SIZE_MAX + 1];
    uint32_t permits, slot;
    bool try, released;     /* released: the handle was given back */
    bool asked, entered;    /* LOCK is under way; it was applied, and no UNLOCK yet */
    bool leaving;           /* UNLOCK is under way */
    bool end_told, unknown; /* unknown: not all members know locks yet */
    uint64_t ticket, epoch, deadline_ns;
    myco_lock_cb cb;
    void *data;
    struct myco_deferred later;
    int status;
    char message[128];
};

static void send_lock(struct myco_core_lock *lock);
static void send_unlock(struct myco_core_lock *lock);

/* ── ends ── */

static void free_if_over(struct myco_core_lock *lock)
{
    if (!lock->released || lock->asked || lock->entered || lock->leaving) return;
    myco_map_del(&lock->core->locks, lock->ticket);
    core_refresh_soon(lock->core);
    myco_free(lock);
}

static void tell(void *data)
{
    struct myco_core_lock *lock = data;
    if (!lock->cb || lock->end_told) return;
    lock->end_told = lock->stage == ENDED;
    struct myco_lock_state state = {.name = lock->name,
        .held = lock->stage == HELD,
        .epoch = lock->epoch,
        .fence = {lock->fence, lock->epoch},
        .status = lock->status,
        .message = lock->message};
    lock->cb(&state, lock->data);
}

static void end(struct myco_core_lock *lock, int status, const char *message)
{
    if (lock->stage == ENDED) return;
    lock->stage = ENDED;
    lock->status = status;
    myco_text_copy(lock->message, sizeof lock->message, message);
    myco_defer_cancel(&lock->later);
    if (!lock->released) myco_defer(lock->core->env, &lock->later, tell, lock);
    send_unlock(lock);
}

/* ── what the log says ── */

static void look(struct myco_core_lock *lock)
{
    struct myco_core *core = lock->core;
    if (lock->stage == ENDED || !lock->epoch) return;
    bool valid = myco_lease_valid(core->lease) && !core->leaving;
    if (lock->kind == MYCO_LOCK_BARRIER) {
        lock->entered = false; /* all entries went */
        end(lock, 0, "");
    } else if (lock->stage == HELD && !valid) {
        MYCO_METRIC_ADD(core->env->metrics, LOCKS_LOST, 1);
        end(lock, MYCO_ECLOSED, core->leaving ? "the node leaves" : "the node's lease ran out");
    } else if (lock->stage != HELD && valid && lock->entered) {
        lock->stage = HELD;
        if (!lock->released) myco_defer(core->env, &lock->later, tell, lock);
    }
}

static void given(struct myco_core_lock *lock, const struct myco_lock_entry *entry)
{
    lock->epoch = entry->epoch;
    lock->slot = entry->slot;
    if (entry->slot)
        snprintf(lock->fence, sizeof lock->fence, "lock/%s/%u", lock->name, entry->slot);
    else
        snprintf(lock->fence, sizeof lock->fence, "lock/%s", lock->name);
}

/* A snapshot took the place of commands: what became of the entries? */
static void look_again(struct myco_core_lock *lock)
{
    struct myco_core *core = lock->core;
    const struct myco_lock_entry *entry =
        myco_lock_entry(myco_state_lock(core->state, lock->kind, lock->name), core->identity.id,
            core->identity.generation, lock->ticket);
    if (entry) lock->entered = true;
    if (entry || !lock->entered || lock->leaving) return;
    lock->entered = false;
    if (lock->kind == MYCO_LOCK_BARRIER)
        end(lock, MYCO_EUNKNOWN, "a snapshot came meanwhile: perhaps it passed");
    else
        end(lock, MYCO_ECLOSED, "the cluster took it from this node");
}

void core_locks_event(struct myco_core *core, const struct myco_lock_record *record,
    const struct myco_lock_entry *entry)
{
    core_refresh_soon(core);
    if (!entry) {
        MYCO_MAP_EACH (struct myco_core_lock, lock, &core->locks) look_again(lock);
        return;
    }
    if (entry->node != core->identity.id || entry->generation != core->identity.generation) return;
    struct myco_core_lock *lock = myco_map_get(&core->locks, entry->ticket);
    if (!lock || lock->kind != record->kind) return;
    lock->entered = true;
    if (entry->slot == UINT32_MAX) {
        lock->entered = false;
        end(lock, MYCO_ECLOSED, "the cluster declared this node gone");
        return;
    }
    if (!entry->epoch) return;
    given(lock, entry);
    look(lock);
}

void core_locks_lease(struct myco_core *core)
{
    MYCO_MAP_EACH (struct myco_core_lock, lock, &core->locks) look(lock);
}

bool core_locks_any(const struct myco_core *core)
{
    return core->locks.count > 0;
}

bool myco_core_lock_held(const struct myco_core_lock *lock)
{
    return lock->stage == HELD && !lock->released && !lock->core->leaving &&
           myco_lease_valid(lock->core->lease);
}

/* ── commands ── */

/* Who passed a barrier has no entry there any more. */
static bool passed(const struct myco_core_lock *lock)
{
    return lock->kind == MYCO_LOCK_BARRIER && lock->epoch;
}

static void locked(const struct myco_command_result *result, void *data)
{
    struct myco_core_lock *lock = data;
    lock->asked = false;
    if (result->status == MYCO_ECLOSED) return; /* closing: core_locks_close() frees */
    bool before = result->status == MYCO_EEXISTS && strcmp(result->message, "applied before") == 0;
    if (result->status && !before) {
        end(lock, result->status,
            *result->message ? result->message : myco_strerror(result->status));
    } else {
        if (lock->stage == ASKED) lock->stage = WAITS;
        lock->entered = !passed(lock);
        if (before) look_again(lock);
        look(lock);
    }
    if (lock->stage == ENDED || lock->released) send_unlock(lock);
    free_if_over(lock);
}

static void send_lock(struct myco_core_lock *lock)
{
    struct myco_buf body = {0};
    myco_command_lock(&body, lock->kind, lock->name, lock->permits, lock->ticket, lock->try);
    int rc = myco_commands_submit(
        lock->core->commands, MYCO_COMMAND_LOCK, &body, UINT32_MAX, locked, lock);
    lock->asked = rc == 0;
    lock->unknown =
        rc == MYCO_EVERSION; /* features become active soon after the birth: tries again */
    if (rc && rc != MYCO_EFULL && !lock->unknown) end(lock, rc, myco_strerror(rc));
}

static void unlocked(const struct myco_command_result *result, void *data)
{
    struct myco_core_lock *lock = data;
    lock->leaving = false;
    if (result->status != MYCO_ECLOSED) free_if_over(lock);
}

/* Too many commands under way: the tick tries again. */
static void send_unlock(struct myco_core_lock *lock)
{
    struct myco_buf body = {0};
    if (lock->asked || !lock->entered || lock->leaving) return;
    myco_command_unlock(&body, lock->kind, lock->name, lock->ticket);
    lock->leaving = myco_commands_submit(lock->core->commands, MYCO_COMMAND_UNLOCK, &body,
                        UINT32_MAX, unlocked, lock) == 0;
    if (lock->leaving) lock->entered = false;
}

void core_locks_tick(struct myco_core *core)
{
    uint64_t now = myco_now_ns(core->env);
    MYCO_MAP_EACH (struct myco_core_lock, lock, &core->locks) {
        bool pending = lock->stage == ASKED || lock->stage == WAITS;
        if (pending && now >= lock->deadline_ns && lock->unknown)
            end(lock, MYCO_EVERSION, "no locks yet: a member is of an older version");
        else if (pending && now >= lock->deadline_ns)
            end(lock, MYCO_ETIMEDOUT,
                lock->kind == MYCO_LOCK_BARRIER ? "not all came in time"
                                                : "others held it all the time");
        else if (lock->stage == ASKED && !lock->asked && !lock->released)
            send_lock(lock);
        if (lock->stage == ENDED || lock->released) send_unlock(lock);
        free_if_over(lock);
    }
}

/* ── asking ── */

struct myco_core_lock *myco_core_lock(struct myco_core *core, enum myco_lock_kind kind,
    const char *name, uint32_t permits, bool try, unsigned wait_ms, myco_lock_cb cb, void *data)
{
    struct myco_core_lock *lock = myco_alloc(sizeof *lock);
    lock->core = core;
    lock->kind = kind;
    lock->permits = permits ? permits : 1;
    lock->try = try;
    lock->cb = cb;
    lock->data = data;
    lock->ticket = ++core->next_ticket;
    lock->deadline_ns =
        myco_now_ns(core->env) + (uint64_t)(wait_ms ? wait_ms : core->options.timeout_ms) * 1000000;
    myco_text_copy(lock->name, sizeof lock->name, name);
    myco_map_put(&core->locks, lock->ticket, lock);
    core_refresh_soon(core); /* the lease is to be there when it is given */
    send_lock(lock);
    return lock;
}

/* From now on it is not held, whatever the log says still. */
void myco_core_unlock(struct myco_core_lock *lock)
{
    lock->released = true;
    lock->cb = NULL;
    myco_defer_cancel(&lock->later);
    if (lock->stage != ENDED) end(lock, MYCO_ECANCELED, "");
    send_unlock(lock);
    free_if_over(lock);
}

/* Closing, also in the middle of a leave: the handles go with the core. */
void core_locks_close(struct myco_core *core)
{
    core_locks_lease(core);
    MYCO_MAP_EACH (struct myco_core_lock, lock, &core->locks) {
        if (lock->stage != ENDED) lock->status = MYCO_ECLOSED;
        if (lock->stage != ENDED)
            myco_text_copy(lock->message, sizeof lock->message, "the node closes");
        lock->stage = ENDED;
        lock->asked = lock->entered = false;
        lock->leaving = true; /* no command goes any more, and it is freed here */
        myco_defer_cancel(&lock->later);
        tell(lock);
        myco_defer_cancel(&lock->later);
        myco_free(lock);
    }
    myco_map_free(&core->locks);
}
