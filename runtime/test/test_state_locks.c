/* Locks and barriers in the replicated state. Would catch: more holders than permits, a queue out
 * of order, a holding that a dead or restarted node keeps, an epoch that repeats, a barrier that
 * lets some pass, a name that is kept for nothing, a snapshot that forgets or lets through what is
 * malformed. */
#include "tap.h"

#include "base/mem.h"
#include "consensus/state.h"

struct world {
    struct myco_state *state;
    struct myco_command_result result;
    uint64_t sequence;
    unsigned told, passed, gone;
    uint64_t last_ticket, last_epoch;
};

static void on_lock(
    const struct myco_lock_record *lock, const struct myco_lock_entry *entry, void *data)
{
    struct world *world = data;
    if (!entry) return;
    world->told++;
    world->passed += lock->kind == MYCO_LOCK_BARRIER && entry->epoch;
    world->gone += entry->slot == UINT32_MAX;
    world->last_ticket = entry->ticket;
    world->last_epoch = entry->epoch;
}

static int apply(struct world *world, uint8_t kind, uint64_t node, uint64_t generation,
    uint64_t sequence, struct myco_buf *body)
{
    struct myco_buf command = {0};
    myco_command_begin(&command, kind, node, generation, sequence);
    myco_buf_bytes(&command, body->data, body->size);
    myco_state_apply(world->state, myco_buf_as_slice(&command), &world->result);
    myco_buf_free(&command);
    myco_buf_free(body);
    return world->result.status;
}

static void join(struct world *world, uint64_t node, uint64_t generation)
{
    struct myco_member_record member = {.features = ~UINT64_C(0)};
    struct myco_buf body = {0};
    snprintf(member.name, sizeof member.name, "n%u", (unsigned)node);
    myco_command_join(&body, &member, true);
    apply(world, MYCO_COMMAND_JOIN, node, generation, ++world->sequence, &body);
}

static int ask(struct world *world, enum myco_lock_kind kind, const char *name, uint64_t node,
    uint64_t ticket, uint32_t permits, bool try)
{
    struct myco_buf body = {0};
    myco_command_lock(&body, kind, name, permits, ticket, try);
    return apply(world, MYCO_COMMAND_LOCK, node, 1, ++world->sequence, &body);
}

static int lock(struct world *world, uint64_t node, uint64_t ticket)
{
    return ask(world, MYCO_LOCK_LOCK, "import", node, ticket, 1, false);
}

static int unlock(struct world *world, uint64_t node, uint64_t ticket)
{
    struct myco_buf body = {0};
    myco_command_unlock(&body, MYCO_LOCK_LOCK, "import", ticket);
    return apply(world, MYCO_COMMAND_UNLOCK, node, 1, ++world->sequence, &body);
}

static void open_world(struct world *world)
{
    struct myco_state_events events = {.on_lock = on_lock, .data = world};
    struct myco_buf body = {0};
    memset(world, 0, sizeof *world);
    world->state = myco_state_new(&events);
    myco_command_init(&body, 99, "test", 300, 1, 0, 0, myco_bytes(NULL, 0));
    apply(world, MYCO_COMMAND_INIT, 1, 1, 0, &body);
    for (uint64_t node = 1; node <= 3; node++) join(world, node, 1);
}

static uint64_t holder(const struct world *world, const char *name, uint32_t *count)
{
    const struct myco_lock_record *lock = myco_state_lock(world->state, MYCO_LOCK_LOCK, name);
    uint64_t ticket = 0;
    uint32_t held = 0;
    for (uint32_t i = 0; lock && i < lock->count; i++) {
        if (!lock->entries[i].epoch) continue;
        held++;
        ticket = lock->entries[i].ticket;
    }
    if (count) *count = held;
    return ticket;
}

static void test_queue(void)
{
    struct world world;
    open_world(&world);
    is_int(lock(&world, 1, 11), 0, "a lock is asked for");
    is_int(holder(&world, "import", NULL), 11, "and held");
    uint64_t first = world.last_epoch;
    is_int(lock(&world, 2, 21), 0, "others");
    is_int(lock(&world, 3, 31), 0, "wait");
    is_int(lock(&world, 3, 31), MYCO_EEXISTS, "a ticket counts once");
    is_int(ask(&world, MYCO_LOCK_LOCK, "import", 2, 22, 1, true), MYCO_EBUSY, "a try does not");
    is_int(ask(&world, MYCO_LOCK_LOCK, "import", 2, 22, 2, false), MYCO_ECONFLICT,
        "two numbers of permits do not go together");
    is_int(unlock(&world, 2, 11), MYCO_ENOTFOUND, "nobody gives back what another holds");
    is_int(unlock(&world, 1, 11), 0, "it is given back");
    is_int(holder(&world, "import", NULL), 21, "who came first is next");
    ok(world.last_epoch > first, "in a newer epoch");
    is_int(unlock(&world, 3, 31), 0, "who waits may go");
    is_int(unlock(&world, 2, 21), 0, "the last gives it back");
    ok(!myco_state_lock(world.state, MYCO_LOCK_LOCK, "import"), "and the name is forgotten");
    is_int(ask(&world, MYCO_LOCK_LOCK, "a b", 1, 12, 1, false), MYCO_EINVAL, "names are checked");
    is_int(ask(&world, MYCO_LOCK_LOCK, "x", 1, 12, 0, false), MYCO_EINVAL, "permits too");
    is_int(ask(&world, MYCO_LOCK_LOCK, "x", 9, 12, 1, false), MYCO_EDENIED, "and membership");
    myco_state_free(world.state);
}

static void test_semaphore(void)
{
    struct world world;
    uint32_t held;
    open_world(&world);
    for (uint64_t i = 0; i < 4; i++)
        ask(&world, MYCO_LOCK_LOCK, "import", 1 + i % 3, 100 + i, 2, false);
    holder(&world, "import", &held);
    is_int(held, 2, "as many hold as there are permits");
    const struct myco_lock_record *record = myco_state_lock(world.state, MYCO_LOCK_LOCK, "import");
    ok(record->entries[0].slot != record->entries[1].slot, "in slots of their own");
    uint32_t slot = record->entries[0].slot;
    unlock(&world, 1, 100);
    holder(&world, "import", &held);
    is_int(held, 2, "one goes, the next comes");
    is_int(record->entries[1].ticket, 102, "in order");
    is_int(record->entries[1].slot, slot, "into the slot that is free");
    myco_state_free(world.state);
}

static void test_gone(void)
{
    struct world world;
    struct myco_buf body = {0};
    open_world(&world);
    lock(&world, 1, 11), lock(&world, 2, 21), lock(&world, 3, 31), lock(&world, 2, 22);
    myco_command_unlock_node(&body, 1, 1);
    apply(&world, MYCO_COMMAND_UNLOCK_NODE, 3, 1, 0, &body);
    is_int(holder(&world, "import", NULL), 21, "what a dead node held goes to the next");
    is_int(world.gone, 1, "and that is said");
    join(&world, 2, 2);
    is_int(holder(&world, "import", NULL), 31, "a node that started again holds nothing");
    is_int(myco_state_lock(world.state, MYCO_LOCK_LOCK, "import")->count, 1, "nor waits");
    apply(&world, MYCO_COMMAND_LEAVE, 3, 1, ++world.sequence, &body);
    ok(!myco_state_lock(world.state, MYCO_LOCK_LOCK, "import"), "nor does one that left");
    myco_state_free(world.state);
}

static void test_barrier(void)
{
    struct world world;
    open_world(&world);
    ask(&world, MYCO_LOCK_BARRIER, "start", 1, 1, 3, false);
    ask(&world, MYCO_LOCK_BARRIER, "start", 2, 2, 3, false);
    is_int(world.passed, 0, "nobody passes before all are there");
    is_int(ask(&world, MYCO_LOCK_BARRIER, "start", 3, 3, 2, false), MYCO_ECONFLICT,
        "who expects another number is told");
    ask(&world, MYCO_LOCK_BARRIER, "start", 3, 3, 3, false);
    is_int(world.passed, 3, "then all do");
    ok(!myco_state_lock(world.state, MYCO_LOCK_BARRIER, "start"), "and it is new again");
    ask(&world, MYCO_LOCK_BARRIER, "start", 3, 4, 3, false);
    is_int(world.passed, 3, "for the next ones");
    myco_state_free(world.state);
}

static void test_snapshot(void)
{
    struct world world, copy;
    open_world(&world), open_world(&copy);
    world.state->features_active = copy.state->features_own =
        MYCO_FEATURE_BIT(MYCO_FEATURE_FEATURES) | MYCO_FEATURE_BIT(MYCO_FEATURE_LOCKS);
    lock(&world, 1, 11), lock(&world, 2, 21);
    ask(&world, MYCO_LOCK_BARRIER, "start", 1, 12, 3, false);
    struct myco_buf bytes = {0}, again = {0};
    struct myco_err err = {0};
    myco_state_save(world.state, &bytes);
    is_int(myco_state_load(copy.state, myco_buf_as_slice(&bytes), &err), 0, "a snapshot is loaded");
    is_int(holder(&copy, "import", NULL), 11, "with who holds");
    myco_state_save(copy.state, &again);
    ok(again.size == bytes.size && memcmp(again.data, bytes.data, bytes.size) == 0, "to the byte");
    copy.sequence = world.sequence;
    unlock(&world, 1, 11), unlock(&copy, 1, 11);
    is_int(holder(&copy, "import", NULL), 21, "and who waits");
    ok(world.last_epoch == copy.last_epoch, "both go on alike");
    unsigned refused = 0, cuts = 0;
    for (size_t size = bytes.size - 80; size < bytes.size; size++, cuts++)
        refused += myco_state_load(copy.state, myco_bytes(bytes.data, size), &err) != 0;
    is_int(refused, cuts, "one that was cut is refused");
    myco_buf_free(&bytes);
    myco_buf_free(&again);
    myco_state_free(world.state);
    myco_state_free(copy.state);
}

int main(void)
{
    test_queue();
    test_semaphore();
    test_gone();
    test_barrier();
    test_snapshot();
    return plan_done();
}
