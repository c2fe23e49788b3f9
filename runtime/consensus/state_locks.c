/* Locks and barriers, as commands change them: pure. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "consensus/state_internal.h"

/* ── commands ── */

void myco_command_lock(struct myco_buf *out, enum myco_lock_kind kind, const char *name,
    uint32_t permits, uint64_t ticket, bool try)
{
    myco_buf_u8(out, (uint8_t)kind);
    myco_buf_str(out, name);
    myco_buf_u32(out, permits);
    myco_buf_u64(out, ticket);
    myco_buf_u8(out, try);
}

void myco_command_unlock(
    struct myco_buf *out, enum myco_lock_kind kind, const char *name, uint64_t ticket)
{
    myco_buf_u8(out, (uint8_t)kind);
    myco_buf_str(out, name);
    myco_buf_u64(out, ticket);
}

void myco_command_unlock_node(struct myco_buf *out, uint64_t node, uint64_t generation)
{
    myco_buf_u64(out, node);
    myco_buf_u64(out, generation);
}

/* ── finding ── */

static uint32_t place_of(
    const struct myco_locks *locks, enum myco_lock_kind kind, const char *name, bool *found)
{
    uint32_t low = 0, high = locks->count;
    *found = false;
    while (low < high && !*found) {
        uint32_t middle = low + (high - low) / 2;
        const struct myco_lock_record *lock = locks->list[middle];
        int order = lock->kind != kind ? (lock->kind < kind ? -1 : 1) : strcmp(lock->name, name);
        *found = order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return *found ? high : low;
}

const struct myco_lock_record *myco_state_lock(
    const struct myco_state *state, enum myco_lock_kind kind, const char *name)
{
    bool found;
    uint32_t at = place_of(&state->locks, kind, name, &found);
    return found ? state->locks.list[at] : NULL;
}

const struct myco_lock_entry *myco_lock_entry(
    const struct myco_lock_record *lock, uint64_t node, uint64_t generation, uint64_t ticket)
{
    for (uint32_t i = 0; lock && i < lock->count; i++) {
        const struct myco_lock_entry *entry = &lock->entries[i];
        if (entry->ticket == ticket && entry->node == node && entry->generation == generation)
            return entry;
    }
    return NULL;
}

/* NULL: there are too many. */
static struct myco_lock_record *make(
    struct myco_locks *locks, enum myco_lock_kind kind, const char *name, uint32_t permits)
{
    bool found;
    uint32_t at = place_of(locks, kind, name, &found);
    if (found) return locks->list[at];
    if (locks->count >= MYCO_LOCKS_MAX) return NULL;
    struct myco_lock_record *lock = myco_alloc(sizeof *lock);
    lock->kind = kind;
    lock->permits = permits;
    myco_text_copy(lock->name, sizeof lock->name, name);
    locks->list = myco_realloc(locks->list, (locks->count + 1) * sizeof *locks->list);
    memmove(locks->list + at + 1, locks->list + at, (locks->count - at) * sizeof *locks->list);
    locks->list[at] = lock;
    locks->count++;
    return lock;
}

static void drop(struct myco_locks *locks, struct myco_lock_record *lock)
{
    bool found;
    uint32_t at = place_of(locks, lock->kind, lock->name, &found);
    locks->count--;
    memmove(locks->list + at, locks->list + at + 1, (locks->count - at) * sizeof *locks->list);
    myco_free(lock->entries);
    myco_free(lock);
}

static struct myco_lock_entry *add(struct myco_lock_record *lock, struct myco_lock_entry entry)
{
    lock->entries = myco_realloc(lock->entries, (lock->count + 1) * sizeof *lock->entries);
    lock->entries[lock->count] = entry;
    return &lock->entries[lock->count++];
}

static void tell(struct myco_state *state, const struct myco_lock_record *lock,
    const struct myco_lock_entry *entry)
{
    state->locks.changes++;
    if (state->events.on_lock) state->events.on_lock(lock, entry, state->events.data);
}

/* ── who holds ── */

static uint32_t free_slot(const struct myco_lock_record *lock)
{
    uint64_t taken[MYCO_LOCK_PERMITS_MAX / 64] = {0};
    uint32_t slot = 0;
    for (uint32_t i = 0; i < lock->count; i++) {
        if (!lock->entries[i].epoch) continue;
        taken[lock->entries[i].slot / 64] |= UINT64_C(1) << lock->entries[i].slot % 64;
    }
    while (slot + 1 < lock->permits && taken[slot / 64] & UINT64_C(1) << slot % 64) slot++;
    return slot;
}

static void give(struct myco_state *state, struct myco_lock_record *lock)
{
    for (uint32_t i = 0; lock->held < lock->permits && i < lock->count; i++) {
        struct myco_lock_entry *entry = &lock->entries[i];
        if (entry->epoch) continue;
        entry->slot = free_slot(lock);
        entry->epoch = myco__state_next_epoch(state);
        lock->held++;
        tell(state, lock, entry);
    }
}

/* Everybody is here: all pass, with one epoch. */
static void pass(struct myco_state *state, struct myco_lock_record *lock)
{
    if (lock->count < lock->permits) return;
    uint64_t epoch = myco__state_next_epoch(state);
    for (uint32_t i = 0; i < lock->count; i++) {
        lock->entries[i].epoch = epoch;
        tell(state, lock, &lock->entries[i]);
    }
    lock->count = 0;
}

static void take_out(struct myco_lock_record *lock, uint32_t at)
{
    lock->held -= lock->kind == MYCO_LOCK_LOCK && lock->entries[at].epoch != 0;
    lock->count--;
    memmove(lock->entries + at, lock->entries + at + 1, (lock->count - at) * sizeof *lock->entries);
}

/* After entries went. */
static void settle(struct myco_state *state, struct myco_lock_record *lock)
{
    state->locks.changes++;
    if (lock->kind == MYCO_LOCK_LOCK) give(state, lock);
    if (lock->count == 0) drop(&state->locks, lock);
}

/* ── applying ── */

static bool kind_ok(uint8_t kind)
{
    return kind == MYCO_LOCK_LOCK || kind == MYCO_LOCK_BARRIER;
}

int myco__apply_lock(struct myco__apply *apply)
{
    struct myco_state *state = apply->state;
    char name[MYCO_STATE_NAME_MAX + 1];
    uint8_t kind = myco_read_u8(&apply->in);
    myco_read_str(&apply->in, name, sizeof name);
    uint32_t permits = myco_read_u32(&apply->in);
    uint64_t ticket = myco_read_u64(&apply->in);
    bool try = myco_read_u8(&apply->in);
    if (apply->in.bad || !kind_ok(kind) || !myco__state_name_ok(name))
        return myco__refuse(apply, MYCO_EINVAL,
            "the name of a lock is 1 to 63 printable characters without spaces or '/'");
    if (permits < 1 || permits > MYCO_LOCK_PERMITS_MAX)
        return myco__refuse(apply, MYCO_EINVAL, "permits are 1 to 1024");
    if (!apply->sender || apply->sender->left)
        return myco__refuse(apply, MYCO_EDENIED, "not a member");
    struct myco_lock_record *lock = make(&state->locks, (enum myco_lock_kind)kind, name, permits);
    if (!lock) return myco__refuse(apply, MYCO_ETOOBIG, "too many locks");
    if (lock->permits != permits)
        return myco__refuse(apply, MYCO_ECONFLICT, "it is in use with another number of permits");
    if (lock->count >= MYCO_LOCK_ENTRIES_MAX)
        return myco__refuse(apply, MYCO_EFULL, "too many wait for it");
    if (myco_lock_entry(lock, apply->head.node, apply->head.generation, ticket))
        return myco__refuse(apply, MYCO_EEXISTS, "that ticket is in use");
    if (try && lock->held >= permits) return myco__refuse(apply, MYCO_EBUSY, "it is held");
    add(lock, (struct myco_lock_entry){apply->head.node, apply->head.generation, ticket, 0, 0});
    state->locks.changes++;
    if (kind == MYCO_LOCK_BARRIER) pass(state, lock);
    settle(state, lock);
    return 0;
}

int myco__apply_unlock(struct myco__apply *apply)
{
    struct myco_state *state = apply->state;
    char name[MYCO_STATE_NAME_MAX + 1];
    uint8_t kind = myco_read_u8(&apply->in);
    myco_read_str(&apply->in, name, sizeof name);
    uint64_t ticket = myco_read_u64(&apply->in);
    bool found = false;
    if (apply->in.bad || !kind_ok(kind)) return myco__refuse(apply, MYCO_EINVAL, "malformed");
    uint32_t at = place_of(&state->locks, (enum myco_lock_kind)kind, name, &found);
    struct myco_lock_record *lock = found ? state->locks.list[at] : NULL;
    const struct myco_lock_entry *entry =
        myco_lock_entry(lock, apply->head.node, apply->head.generation, ticket);
    if (!entry) return myco__refuse(apply, MYCO_ENOTFOUND, "it is not held, nor waited for");
    take_out(lock, (uint32_t)(entry - lock->entries));
    settle(state, lock);
    return 0;
}

void myco__locks_vacate(struct myco_state *state, uint64_t node, uint64_t generation)
{
    for (uint32_t i = state->locks.count; i > 0; i--) { /* what is emptied goes */
        struct myco_lock_record *lock = state->locks.list[i - 1];
        bool changed = false;
        for (uint32_t e = lock->count; e > 0; e--) {
            const struct myco_lock_entry *entry = &lock->entries[e - 1];
            if (entry->node != node || entry->generation > generation) continue;
            struct myco_lock_entry gone = *entry;
            gone.epoch = 0;
            gone.slot = UINT32_MAX;
            take_out(lock, e - 1);
            tell(state, lock, &gone);
            changed = true;
        }
        if (changed) settle(state, lock);
    }
}

int myco__apply_unlock_node(struct myco__apply *apply)
{
    uint64_t node = myco_read_u64(&apply->in), generation = myco_read_u64(&apply->in);
    if (!myco_read_done(&apply->in)) return myco__refuse(apply, MYCO_EINVAL, "malformed");
    myco__locks_vacate(apply->state, node, generation);
    return 0;
}

/* ── snapshots ── u32 count, then each: u8 kind, str name, u32 permits, u32 entries: u64 node,
 * generation, ticket, epoch, u32 slot */

void myco__locks_clear(struct myco_locks *locks)
{
    for (uint32_t i = 0; i < locks->count; i++) {
        myco_free(locks->list[i]->entries);
        myco_free(locks->list[i]);
    }
    myco_free(locks->list);
    *locks = (struct myco_locks){.changes = locks->changes + 1};
}

void myco__locks_save(const struct myco_state *state, struct myco_buf *out)
{
    myco_buf_u32(out, state->locks.count);
    for (uint32_t i = 0; i < state->locks.count; i++) {
        const struct myco_lock_record *lock = state->locks.list[i];
        myco_buf_u8(out, (uint8_t)lock->kind);
        myco_buf_str(out, lock->name);
        myco_buf_u32(out, lock->permits);
        myco_buf_u32(out, lock->count);
        for (uint32_t e = 0; e < lock->count; e++) {
            myco_buf_u64(out, lock->entries[e].node);
            myco_buf_u64(out, lock->entries[e].generation);
            myco_buf_u64(out, lock->entries[e].ticket);
            myco_buf_u64(out, lock->entries[e].epoch);
            myco_buf_u32(out, lock->entries[e].slot);
        }
    }
}

static void load_entry(struct myco_lock_record *lock, struct myco_reader *in)
{
    struct myco_lock_entry entry = {.node = myco_read_u64(in)};
    entry.generation = myco_read_u64(in);
    entry.ticket = myco_read_u64(in);
    entry.epoch = myco_read_u64(in);
    entry.slot = myco_read_u32(in);
    if (in->bad || entry.slot >= lock->permits) {
        in->bad = true;
        return;
    }
    lock->held += entry.epoch != 0;
    add(lock, entry);
}

static void load_lock(struct myco_locks *locks, struct myco_reader *in)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    uint8_t kind = myco_read_u8(in);
    myco_read_str(in, name, sizeof name);
    uint32_t permits = myco_read_u32(in), count = myco_read_u32(in);
    bool possible = permits >= 1 && permits <= MYCO_LOCK_PERMITS_MAX && count >= 1 &&
                    count <= MYCO_LOCK_ENTRIES_MAX && kind_ok(kind) && myco__state_name_ok(name);
    uint32_t before = locks->count;
    struct myco_lock_record *lock =
        in->bad || !possible ? NULL : make(locks, (enum myco_lock_kind)kind, name, permits);
    if (!lock || locks->count == before) { /* malformed, or twice */
        in->bad = true;
        return;
    }
    for (uint32_t i = 0; i < count && !in->bad; i++) load_entry(lock, in);
    if (lock->held > permits) in->bad = true;
}

void myco__locks_load(struct myco_state *state, struct myco_reader *in)
{
    for (uint32_t n = myco_read_u32(in); n > 0 && !in->bad; n--) load_lock(&state->locks, in);
}

void myco__locks_tell(const struct myco_state *state)
{
    if (state->events.on_lock) state->events.on_lock(NULL, NULL, state->events.data);
    for (uint32_t i = 0; state->events.on_lock && i < state->locks.count; i++)
        for (uint32_t e = 0; e < state->locks.list[i]->count; e++)
            state->events.on_lock(
                state->locks.list[i], &state->locks.list[i]->entries[e], state->events.data);
}
