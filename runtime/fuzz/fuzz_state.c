/* Commands from the log, and snapshots of the replicated state. The input is commands, each after
 * its size (u16), applied to two states; or, after a 0xff, a snapshot. Promises: equal input makes
 * equal states; an epoch is never given twice; what was saved loads again. */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "consensus/state.h"

static void compare(const struct myco_state *a, const struct myco_state *b)
{
    struct myco_buf left = {0}, right = {0};
    myco_state_save(a, &left);
    myco_state_save(b, &right);
    assert(left.size == right.size && memcmp(left.data, right.data, left.size) == 0);
    myco_buf_free(&left);
    myco_buf_free(&right);
}

static void check_epochs(const struct myco_state *state)
{
    for (uint32_t s = 0; s < state->septum_count; s++) {
        for (uint32_t h = 0; h < state->septa[s]->options.hyphae; h++) {
            const struct myco_set *set = &state->septa[s]->hyphae[h].set;
            assert(set->in_sync_count <= MYCO_COPIES_MAX && set->joining_count <= MYCO_COPIES_MAX);
            assert(!set->primary || myco_set_has(set, set->primary, 0));
        }
    }
}

static void reload(const struct myco_state *state)
{
    struct myco_state_events events = {0};
    struct myco_state *copy = myco_state_new(&events);
    struct myco_buf saved = {0};
    struct myco_err err = {0};
    myco_state_save(state, &saved);
    int rc = myco_state_load(copy, myco_buf_as_slice(&saved), &err);
    assert(rc == 0);
    (void)rc;
    compare(state, copy);
    myco_buf_free(&saved);
    myco_state_free(copy);
}

static void load(struct myco_slice bytes)
{
    struct myco_state_events events = {0};
    struct myco_state *state = myco_state_new(&events);
    struct myco_err err = {0};
    if (myco_state_load(state, bytes, &err) == 0) reload(state);
    myco_state_free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct myco_state_events events = {0};
    if (size && bytes[0] == 0xff) {
        load(myco_bytes(bytes + 1, size - 1));
        return 0;
    }
    struct myco_state *state = myco_state_new(&events), *twin = myco_state_new(&events);
    struct myco_reader in = myco_reader(bytes, size);
    while (myco_read_left(&in) > 2) {
        uint16_t length = myco_read_u16(&in);
        if (length > myco_read_left(&in)) length = (uint16_t)myco_read_left(&in);
        struct myco_slice command = myco_read_bytes(&in, length);
        struct myco_command_result first, second;
        int rc = myco_state_apply(state, command, &first);
        int again = myco_state_apply(twin, command, &second);
        assert(rc == again && first.status == second.status && first.value == second.value);
        (void)rc, (void)again;
    }
    compare(state, twin);
    check_epochs(state);
    reload(state);
    myco_state_free(state);
    myco_state_free(twin);
    return 0;
}

/* ── samples ── */

static void add(
    struct myco_buf *out, uint8_t kind, uint64_t node, uint64_t sequence, struct myco_buf *body)
{
    struct myco_buf command = {0};
    myco_command_begin(&command, kind, node, 1, sequence);
    myco_buf_bytes(&command, body->data, body->size);
    myco_buf_u16(out, (uint16_t)command.size);
    myco_buf_bytes(out, command.data, command.size);
    myco_buf_free(&command);
    myco_buf_free(body);
}

static void write_life(struct myco_buf *out)
{
    struct myco_buf body = {0};
    struct myco_member_record member = {.name = "n"};
    struct myco_septum_options options = {
        .kind = MYCO_SEPTUM_DURABLE, .level = MYCO_LEVEL_DISK, .hyphae = 2, .copies = 2};
    uint64_t targets[] = {1, 2};
    myco_command_init(&body, 9, "c", 300, 1, 0, 0, myco_bytes(NULL, 0));
    add(out, MYCO_COMMAND_INIT, 1, 0, &body);
    for (uint64_t node = 1; node <= 2; node++) {
        myco_command_join(&body, &member, true);
        add(out, MYCO_COMMAND_JOIN, node, 1, &body);
    }
    myco_command_name(&body, "e");
    add(out, MYCO_COMMAND_CAMPAIGN, 1, 2, &body);
    myco_command_grant(&body, "e", 1, 1, 0);
    add(out, MYCO_COMMAND_GRANT, 1, 0, &body);
    myco_command_septum(&body, "s", &options);
    add(out, MYCO_COMMAND_SEPTUM, 1, 3, &body);
    options.idle_ms = 60000, options.size_max = 1 << 20;
    myco_command_septum_make(&body, "t", &options);
    add(out, MYCO_COMMAND_SEPTUM_MAKE, 1, 9, &body);
    options.ttl_ms = 5;
    myco_command_septum_alter(&body, "t", 0, &options);
    add(out, MYCO_COMMAND_SEPTUM_ALTER, 1, 10, &body);
    myco_command_place(&body, 1, 0, targets, 2);
    add(out, MYCO_COMMAND_PLACE, 1, 0, &body);
    uint64_t epoch = MYCO_EPOCH(1, 2);
    myco_command_set(&body, MYCO_SET_SHRINK, 1, 0, epoch, 1, 2, 1);
    myco_command_set(&body, MYCO_SET_EXPAND, 1, 0, epoch, 2, 2, 1);
    myco_command_set(&body, MYCO_SET_REPLACE, 1, 0, epoch, 3, 2, 1);
    add(out, MYCO_COMMAND_SETS, 1, 4, &body);
    myco_command_lock(&body, MYCO_LOCK_LOCK, "l", 1, 7, false);
    add(out, MYCO_COMMAND_LOCK, 1, 6, &body);
    myco_command_lock(&body, MYCO_LOCK_LOCK, "l", 1, 8, false);
    add(out, MYCO_COMMAND_LOCK, 2, 3, &body);
    myco_command_lock(&body, MYCO_LOCK_BARRIER, "b", 2, 9, false);
    add(out, MYCO_COMMAND_LOCK, 1, 7, &body);
    myco_command_unlock(&body, MYCO_LOCK_LOCK, "l", 7);
    add(out, MYCO_COMMAND_UNLOCK, 1, 8, &body);
    myco_command_policy(&body, 0, "p", myco_str("return 1"), "me", 1);
    add(out, MYCO_COMMAND_POLICY, 1, 5, &body);
    add(out, MYCO_COMMAND_LEAVE, 2, 2, &body);
}

static void write_snapshot(struct myco_buf *out)
{
    struct myco_state_events events = {0};
    struct myco_state *state = myco_state_new(&events);
    struct myco_buf life = {0};
    write_life(&life);
    struct myco_reader in = myco_reader(life.data, life.size);
    while (myco_read_left(&in)) {
        struct myco_command_result result;
        uint16_t size = myco_read_u16(&in);
        myco_state_apply(state, myco_read_bytes(&in, size), &result);
    }
    myco_buf_u8(out, 0xff);
    myco_state_save(state, out);
    myco_buf_free(&life);
    myco_state_free(state);
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    struct myco_buf out = {0};
    if (index > 1) return 0;
    if (index == 0)
        write_life(&out);
    else
        write_snapshot(&out);
    size_t size = out.size <= size_max ? out.size : 0;
    if (size) memcpy(bytes, out.data, size);
    myco_buf_free(&out);
    return size;
}
