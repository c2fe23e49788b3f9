/* A hypha that is given anything: messages with right and wrong heads, journals, snapshots,
 * exported parts; as backup and as primary. It may refuse; it may not crash, leak, apply what does
 * not follow, or answer a write twice.
 *
 * An input is a script: each step is one byte that says what, and what that takes. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/hypha_internal.h"

#define STEPS_MAX 200
#define TOKENS    256

enum { RAW, MESSAGE, TICK, DURABLE, PEER, WRITE, SET, REFUSED, FAIL, SAVE, RESTORE, STEP_COUNT };

struct fixture {
    struct myco_env env; /* first */
    struct myco_metrics metrics;
    struct myco_domain *domain;
    struct myco_hypha *hypha;
    uint64_t now_ns, wake_ns, sequence, tokens;
    uint8_t answered[TOKENS];
    int send_error, journal_error;
    struct myco_set set;
};

static uint64_t now_ns(struct myco_env *env)
{
    return ((struct fixture *)env)->now_ns;
}
static uint64_t wall_ms(struct myco_env *env)
{
    return ((struct fixture *)env)->now_ns / 1000000;
}
static void random_bytes(struct myco_env *env, void *bytes, size_t size)
{
    (void)env;
    for (size_t i = 0; i < size; i++) ((uint8_t *)bytes)[i] = (uint8_t)i;
}
static void wake_at(struct myco_env *env, uint64_t ns)
{
    ((struct fixture *)env)->wake_ns = ns;
}
static int no_datagram(struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    (void)env;
    (void)to;
    (void)bytes;
    return 0;
}
static const struct myco_env_ops ops = {now_ns, wall_ms, random_bytes, wake_at, no_datagram};

static int do_send(uint64_t node, bool bulk, struct myco_buf *payload, void *data)
{
    (void)node;
    (void)bulk;
    myco_buf_free(payload);
    return ((struct fixture *)data)->send_error;
}
static int do_journal(
    uint64_t offset, uint8_t kind, struct myco_slice bytes, uint64_t *sequence, void *data)
{
    struct fixture *fixture = data;
    (void)offset;
    (void)kind;
    (void)bytes;
    if (fixture->journal_error != 0) return fixture->journal_error;
    *sequence = ++fixture->sequence;
    return 0;
}
static void do_complete(uint64_t token, int status, uint64_t version, void *data)
{
    struct fixture *fixture = data;
    (void)status;
    (void)version;
    MYCO_ASSERT(token < TOKENS && fixture->answered[token] == 0);
    fixture->answered[token] = 1;
}
static void do_propose(enum myco_propose what, uint64_t node, uint64_t generation, void *data)
{
    (void)what;
    (void)node;
    (void)generation;
    (void)data;
}
static void do_replaced(void *data)
{
    (void)data;
}
static void do_committed(
    uint64_t epoch, uint64_t offset, const struct myco_write *write, uint64_t time_ms, void *data)
{
    (void)epoch;
    (void)time_ms;
    (void)data;
    MYCO_ASSERT(offset > 0 && write->key.size > 0);
}

static void check(const struct myco_hypha *hypha)
{
    const struct myco__log *log = &hypha->log;
    MYCO_ASSERT(log->base <= log->applied);
    MYCO_ASSERT(log->applied <= log->last);
    MYCO_ASSERT(log->applied_count <= log->count);
    MYCO_ASSERT(log->durable <= log->last);
    for (size_t i = 1; i < log->count; i++) {
        MYCO_ASSERT(myco__log_at(log, i - 1)->offset < myco__log_at(log, i)->offset);
        MYCO_ASSERT(myco__log_at(log, i - 1)->epoch <= myco__log_at(log, i)->epoch);
    }
    for (size_t i = 1; i < log->epoch_count; i++) {
        MYCO_ASSERT(log->epochs[i - 1].epoch < log->epochs[i].epoch);
        MYCO_ASSERT(log->epochs[i - 1].last < log->epochs[i].first);
    }
}

static void settle(struct fixture *fixture)
{
    for (int i = 0; i < 10 && fixture->wake_ns <= fixture->now_ns; i++) {
        fixture->wake_ns = UINT64_MAX;
        myco__env_wake(&fixture->env);
    }
    check(fixture->hypha);
}

/* ── Steps ─────────────────────────────────────────────────────────────────────────────────── */

static struct myco_slice take(struct myco_reader *script)
{
    size_t size = myco_read_u16(script);
    if (size > myco_read_left(script)) size = myco_read_left(script);
    return myco_read_bytes(script, size);
}

/* A message with a head that is believed, more or less: the body is what the script says. */
static void step_message(struct fixture *fixture, struct myco_reader *script)
{
    struct myco_hypha *hypha = fixture->hypha;
    uint8_t kind = myco_read_u8(script), how = myco_read_u8(script);
    uint64_t from = how % 4 + 1;
    struct myco__member *member = myco__member_of(hypha, from);
    struct myco__head head = {kind % 10, 1, hypha->epoch, 1};
    if (member != NULL) head.session = member->session;
    if (how & 0x10) head.epoch++;
    if (how & 0x20) head.generation++;
    if (how & 0x40) head.session++;
    struct myco_buf payload = {0};
    myco__head_write(&payload, &head);
    struct myco_slice body = take(script);
    myco_buf_bytes(&payload, body.data, body.size);
    if (!payload.failed) myco_hypha_receive(hypha, from, myco_buf_as_slice(&payload));
    myco_buf_free(&payload);
}

static void step_write(struct fixture *fixture, struct myco_reader *script)
{
    uint8_t how = myco_read_u8(script);
    struct myco_write write = {.op = (enum myco_op)(how % 3)};
    write.if_absent = how & 0x10;
    write.if_expired = how & 0x20;
    write.if_version = how & 0x40 ? how : 0;
    write.expires_ms = how & 0x80 ? fixture->now_ns / 1000000 + 100 : 0;
    if (write.op != MYCO_OP_NOOP) write.key = take(script);
    if (write.op == MYCO_OP_PUT) write.value = take(script);
    if (how & 8) write.fence = myco_str(how & 4 ? "job" : "lock/job"), write.fence_epoch = how;
    if (fixture->tokens == TOKENS) return;
    uint64_t token = fixture->tokens++;
    if (myco_hypha_write(fixture->hypha, &write, token) != 0) {
        MYCO_ASSERT(fixture->answered[token] == 0);
        fixture->answered[token] = 1;
    }
}

static void step_set(struct fixture *fixture, struct myco_reader *script)
{
    uint8_t how = myco_read_u8(script);
    struct myco_set *set = &fixture->set;
    set->version++;
    if (how & 1) set->epoch++;
    if (how & 1) set->primary = how % 5;
    set->in_sync_count = (how >> 4) % 4;
    set->joining_count = (how >> 6) % 3;
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        set->in_sync[i] = (struct myco_holder){(how + i) % 4u + 1, 1};
    }
    for (uint8_t i = 0; i < set->joining_count; i++) {
        set->joining[i] = (struct myco_holder){(how / 2 + i) % 5u + 1, 1u + i};
    }
    myco_hypha_configure(fixture->hypha, set);
}

static void step(struct fixture *fixture, struct myco_reader *script)
{
    struct myco_hypha *hypha = fixture->hypha;
    uint8_t what = myco_read_u8(script) % STEP_COUNT, more;
    switch (what) {
    case RAW: myco_hypha_receive(hypha, 2, take(script)); break;
    case MESSAGE: step_message(fixture, script); break;
    case TICK:
        fixture->now_ns += myco_read_u8(script) * 10000000ull;
        myco_hypha_tick(hypha);
        break;
    case DURABLE: myco_hypha_durable(hypha, fixture->sequence - myco_read_u8(script) % 4); break;
    case PEER:
        more = myco_read_u8(script);
        if (more % 3 == 0) myco_hypha_peer_up(hypha, more / 3 % 4 + 1, 1);
        if (more % 3 == 1) myco_hypha_peer_down(hypha, more / 3 % 4 + 1);
        if (more % 3 == 2) myco_hypha_peer_drained(hypha, more / 3 % 4 + 1);
        break;
    case WRITE: step_write(fixture, script); break;
    case SET: step_set(fixture, script); break;
    case REFUSED: myco_hypha_refused(hypha); break;
    case FAIL:
        more = myco_read_u8(script);
        fixture->send_error = more & 1 ? MYCO_EFULL : more & 2 ? MYCO_ENOTCONN : 0;
        fixture->journal_error = more & 4 ? MYCO_ENOSPC : 0;
        if (more & 8) myco_mem_fail_nth(more >> 4);
        break;
    case SAVE: {
        struct myco_buf saved = {0};
        myco_hypha_save(hypha, &saved);
        myco_buf_free(&saved);
        break;
    }
    case RESTORE: myco_hypha_restore(hypha, hypha->log.last + myco_read_u8(script), NULL); break;
    }
}

/* Before it runs: from a journal, a snapshot, exported parts. What it says is good must be good. */
static void recover(struct fixture *fixture, struct myco_reader *script)
{
    uint8_t how = myco_read_u8(script);
    for (uint8_t i = 0; i < how % 8; i++) {
        uint8_t kind = myco_read_u8(script);
        struct myco_slice bytes = take(script);
        if (kind % 8 == 0) myco_hypha_load_snapshot(fixture->hypha, bytes, NULL);
        if (kind % 8 == 1) myco_hypha_import(fixture->hypha, bytes, NULL);
        if (kind % 8 > 1) {
            uint64_t offset = fixture->hypha->log.last + (kind >> 3) % 4;
            myco_hypha_load_record(fixture->hypha, offset, kind % 4, bytes, NULL);
        }
        check(fixture->hypha);
    }
}

static void open_fixture(struct fixture *fixture, uint8_t how)
{
    struct myco_hypha_effects effects = {
        do_send, do_journal, do_complete, do_propose, do_replaced, do_committed, fixture};
    myco__env_init(&fixture->env, &ops);
    fixture->env.metrics = &fixture->metrics;
    fixture->now_ns = 1000000000;
    fixture->wake_ns = UINT64_MAX;
    fixture->domain = myco_domain_new();
    struct myco_hypha_options options = {.env = &fixture->env,
        .domain = fixture->domain,
        .self = 1,
        .generation = 1,
        .level = (enum myco_level)(how % 3),
        .tail_size_max = how & 4 ? 1 : 0,
        .pending_size_max = how & 8 ? 2000 : 0};
    fixture->hypha = myco_hypha_new(&options, &effects);
}

static void first_set(struct fixture *fixture, uint8_t how)
{
    fixture->set = (struct myco_set){.epoch = 2,
        .version = 1,
        .primary = how & 1 ? 1 : 2,
        .in_sync_count = 2,
        .joining_count = 1,
        .in_sync = {{1, 1}, {2, 1}},
        .joining = {{3, 1}}};
    if (how & 2) fixture->set.in_sync_count = 1, fixture->set.in_sync[0].node = 1;
    myco_hypha_configure(fixture->hypha, &fixture->set);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct myco_reader script = myco_reader(bytes, size);
    if (fixture == NULL) return 0;
    open_fixture(fixture, myco_read_u8(&script));
    recover(fixture, &script);
    first_set(fixture, myco_read_u8(&script));
    for (int i = 0; i < STEPS_MAX && myco_read_left(&script) > 0; i++) {
        step(fixture, &script);
        settle(fixture);
    }
    myco_mem_fail_nth(0);
    myco_hypha_free(fixture->hypha);
    for (uint64_t i = 0; i < fixture->tokens; i++) MYCO_ASSERT(fixture->answered[i] == 1);
    myco__env_close(&fixture->env);
    myco_domain_free(fixture->domain);
    free(fixture);
    return 0;
}

/* ── Samples: a backup that is led, a primary that is answered, a copy, a recovery ───────────── */

static void script_message(struct myco_buf *out, uint8_t kind, uint8_t how, struct myco_buf *body)
{
    myco_buf_u8(out, MESSAGE);
    myco_buf_u8(out, kind);
    myco_buf_u8(out, how);
    myco_buf_u16(out, (uint16_t)body->size);
    myco_buf_bytes(out, body->data, body->size);
    myco_buf_free(body);
}

static void put_record(struct myco_buf *out, uint64_t epoch, uint64_t offset, enum myco_op op)
{
    struct myco_write write = {.op = op};
    if (op != MYCO_OP_NOOP) write.key = myco_bytes("key", 3);
    if (op == MYCO_OP_PUT) write.value = myco_bytes("value", 5);
    struct myco__record *record = myco__hypha_record_new(&write, epoch, offset, 1000, offset - 1);
    if (record == NULL) return;
    myco_buf_slice(out, myco_bytes(record->bytes, record->size));
    myco__hypha_record_free(record);
}

static void sample_backup(struct myco_buf *out)
{
    struct myco_buf body = {0};
    myco_buf_u8(out, 2); /* DISK */
    myco_buf_u8(out, 0); /* nothing to recover */
    myco_buf_u8(out, 0); /* led by 2 */
    myco_buf_u64(&body, 1);
    script_message(out, MYCO__HELLO, 1, &body);
    myco_buf_u64(&body, 0);
    myco_buf_u64(&body, 0);
    script_message(out, MYCO__START, 1, &body);
    myco_buf_u64(&body, 0);
    myco_buf_u64(&body, 2);
    myco_buf_u32(&body, 3);
    put_record(&body, 2, 1, MYCO_OP_NOOP);
    put_record(&body, 2, 2, MYCO_OP_PUT);
    put_record(&body, 2, 3, MYCO_OP_DEL);
    script_message(out, MYCO__APPEND, 1, &body);
    myco_buf_u8(out, DURABLE);
    myco_buf_u8(out, 0);
    myco_buf_u8(out, SAVE);
}

/* A state of one epoch with one item. */
static void put_state(struct myco_buf *out)
{
    myco_buf_u8(out, 1);
    myco_buf_u64(out, 9);
    myco_buf_u64(out, 1000);
    myco_buf_u64(out, 1);
    myco_buf_u32(out, 0);
    myco_buf_u16(out, 1);
    myco_buf_u64(out, 1);
    myco_buf_u64(out, 1);
    myco_buf_u64(out, 9);
    myco_buf_u64(out, 7);
    myco_buf_u64(out, 0);
    myco_buf_str(out, "key");
    myco_buf_str(out, "value");
}

static void sample_copy(struct myco_buf *out)
{
    struct myco_buf body = {0}, state = {0};
    myco_buf_u8(out, 2);
    myco_buf_u8(out, 0);
    myco_buf_u8(out, 0);
    myco_buf_u64(&body, 1);
    script_message(out, MYCO__HELLO, 1, &body);
    put_state(&state);
    for (size_t at = 0; at < state.size; at += 40) {
        size_t size = state.size - at < 40 ? state.size - at : 40;
        myco_buf_u64(&body, at);
        myco_buf_slice(&body, myco_bytes(state.data + at, size));
        script_message(out, MYCO__PIECE, 1, &body);
        if (at == 40) myco_buf_u8(out, SAVE);
    }
    myco_buf_free(&state);
}

static void sample_primary(struct myco_buf *out)
{
    struct myco_buf body = {0};
    myco_buf_u8(out, 1); /* REPLICATED */
    myco_buf_u8(out, 0);
    myco_buf_u8(out, 1); /* leads */
    myco_buf_u64(&body, 0);
    myco_buf_u16(&body, 0);
    script_message(out, MYCO__END, 1, &body);
    myco_buf_u64(&body, 1);
    myco_buf_u64(&body, 1);
    script_message(out, MYCO__ACK, 1, &body);
    for (int i = 0; i < 3; i++) {
        myco_buf_u8(out, WRITE);
        myco_buf_u8(out, 1);
        myco_buf_u16(out, 1);
        myco_buf_u8(out, 'k');
        myco_buf_u16(out, 1);
        myco_buf_u8(out, 'v');
    }
    myco_buf_u64(&body, 4);
    myco_buf_u64(&body, 0);
    script_message(out, MYCO__ACK, 1, &body);
    myco_buf_u64(&body, 0); /* the joining one needs a copy: it applied what we do not know */
    myco_buf_u16(&body, 1);
    myco_buf_u64(&body, 1);
    myco_buf_u64(&body, 1);
    myco_buf_u64(&body, 1);
    script_message(out, MYCO__END, 2, &body);
    myco_buf_u64(&body, 3);
    myco_buf_u8(&body, 1);
    script_message(out, MYCO__TAKEN, 2, &body);
}

static void sample_recover(struct myco_buf *out, bool import)
{
    struct myco_buf part = {0}, state = {0};
    put_state(&state);
    myco_buf_u8(out, 2);
    myco_buf_u8(out, 2);
    if (import)
        myco_buf_u8(&part, 1);
    else
        myco_buf_u64(&part, state.size);
    myco_buf_bytes(&part, state.data, state.size);
    myco_buf_u8(out, import);
    myco_buf_u16(out, (uint16_t)part.size);
    myco_buf_bytes(out, part.data, part.size);
    myco_buf_clear(&part);
    myco_buf_clear(&state);
    put_record(&state, 2, 10, MYCO_OP_NOOP);
    if (import) myco_buf_u8(&part, 2);
    size_t skip = import ? 0 : 4; /* the journal knows the size of a record */
    myco_buf_bytes(&part, state.data + skip, state.size - skip);
    myco_buf_u8(out, import ? 1 : 8 + 5);
    myco_buf_u16(out, (uint16_t)part.size);
    myco_buf_bytes(out, part.data, part.size);
    myco_buf_u8(out, 3);
    myco_buf_u8(out, RESTORE);
    myco_buf_u8(out, 100);
    myco_buf_free(&part);
    myco_buf_free(&state);
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    struct myco_buf out = {0};
    switch (index) {
    case 0: sample_backup(&out); break;
    case 1: sample_copy(&out); break;
    case 2: sample_primary(&out); break;
    case 3: sample_recover(&out, false); break;
    case 4: sample_recover(&out, true); break;
    default: return 0;
    }
    size_t size = out.size < size_max ? out.size : size_max;
    memcpy(bytes, out.data, size);
    myco_buf_free(&out);
    return size;
}
