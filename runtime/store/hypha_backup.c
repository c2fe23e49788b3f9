/* A member's side of its conversation with the primary.
 *
 * It follows the newest epoch that it has heard of, from consensus or from that epoch's primary
 * itself, and refuses older ones; so from then on the old primary can't commit anything: it needs
 * every member. It cuts its log only after a HELLO and a START of the primary that it follows, and
 * never below what it applied. Records are appended strictly in order; whatever does not fit (a
 * gap, no memory, a full journal) ends the session, and asks for the next. */
#include "store/hypha_internal.h"

/* ── Sending ───────────────────────────────────────────────────────────────────────────────── */

static bool send_to(struct myco_hypha *hypha, uint64_t to, struct myco_buf *payload)
{
    if (payload->failed) {
        myco_buf_free(payload);
        return false;
    }
    return hypha->effects.send(to, false, payload, hypha->effects.data) == 0;
}

static void head(const struct myco_hypha *hypha, uint8_t kind, struct myco_buf *payload)
{
    struct myco__head head = {kind, hypha->options.generation, hypha->epoch, hypha->leader_session};
    myco__head_write(payload, &head);
}

void myco__backup_refuse(struct myco_hypha *hypha, uint64_t from)
{
    struct myco_buf payload = {0};
    head(hypha, MYCO__REFUSE, &payload);
    send_to(hypha, from, &payload);
}

/* Its log's end, and its epochs from there down to the one in which it applied last. */
static bool send_end(struct myco_hypha *hypha)
{
    const struct myco__log *log = &hypha->log;
    uint16_t count = 0;
    while (count < log->epoch_count && count < MYCO__EPOCHS_SENT_MAX) {
        count++;
        if (log->epochs[log->epoch_count - count].first <= log->applied) break;
    }
    struct myco_buf payload = {0};
    head(hypha, MYCO__END, &payload);
    myco_buf_u64(&payload, log->applied);
    myco_buf_u16(&payload, count);
    for (uint16_t i = 1; i <= count; i++) {
        const struct myco__epoch *epoch = &log->epochs[log->epoch_count - i];
        myco_buf_u64(&payload, epoch->epoch);
        myco_buf_u64(&payload, epoch->first);
        myco_buf_u64(&payload, epoch->last);
    }
    return send_to(hypha, hypha->leader, &payload);
}

static bool send_ack(struct myco_hypha *hypha)
{
    struct myco_buf payload = {0};
    head(hypha, MYCO__ACK, &payload);
    myco_buf_u64(&payload, hypha->log.last);
    myco_buf_u64(&payload, hypha->log.durable);
    return send_to(hypha, hypha->leader, &payload);
}

static bool send_taken(struct myco_hypha *hypha)
{
    struct myco_buf payload = {0};
    head(hypha, MYCO__TAKEN, &payload);
    myco_buf_u64(&payload, hypha->taken);
    myco_buf_u8(&payload, hypha->again);
    return send_to(hypha, hypha->leader, &payload);
}

static bool send_ask(struct myco_hypha *hypha)
{
    struct myco_buf payload = {0};
    head(hypha, MYCO__ASK, &payload);
    return send_to(hypha, hypha->leader, &payload);
}

/* What can't be sent now stays owed, until the next event or tick. */
void myco__backup_settle(struct myco_hypha *hypha)
{
    if (hypha->leader == 0) return;
    if (hypha->end_owed && send_end(hypha)) hypha->end_owed = false;
    if (hypha->end_owed) return;
    if (hypha->taken_owed && send_taken(hypha)) hypha->taken_owed = hypha->again = false;
    if (hypha->taken_owed) return;
    if (!hypha->matched) hypha->ack_owed = false;
    if (hypha->ack_owed && send_ack(hypha)) hypha->ack_owed = false;
    if (!hypha->ask_owed) return;
    uint64_t now_ms = myco_now_ms(hypha->env);
    if (hypha->asked_ms != 0 && now_ms - hypha->asked_ms < MYCO__ASK_MS) return;
    if (send_ask(hypha)) hypha->asked_ms = now_ms;
}

void myco__backup_tick(struct myco_hypha *hypha, uint64_t now_ms)
{
    (void)now_ms;
    if (!hypha->again_wanted) return;
    hypha->again_wanted = false;
    hypha->again = hypha->taken_owed = true;
}

void myco__backup_forget(struct myco_hypha *hypha)
{
    hypha->leader_session = 0;
    hypha->matched = false;
    hypha->end_owed = hypha->taken_owed = hypha->ack_owed = hypha->ask_owed = false;
    hypha->again_wanted = hypha->again = false;
    hypha->taken = 0;
    myco__staging_free(hypha->staging);
    hypha->staging = NULL;
}

/* Asks for a new session; what came before the trouble stays. */
static void ask(struct myco_hypha *hypha)
{
    myco__backup_forget(hypha);
    hypha->ask_owed = true;
}

/* ── Receiving ─────────────────────────────────────────────────────────────────────────────── */

static void receive_hello(struct myco_hypha *hypha, uint64_t session, struct myco_reader *reader)
{
    (void)reader;
    myco__backup_forget(hypha);
    hypha->leader_session = session;
    hypha->end_owed = true;
}

static int cut(struct myco_hypha *hypha, uint64_t offset)
{
    struct myco__log *log = &hypha->log;
    uint64_t sequence;
    if (offset == log->last) return 0;
    if (hypha->options.level != MYCO_LEVEL_MEMORY) {
        int rc = hypha->effects.journal(
            offset, MYCO__KIND_CUT, myco_bytes(NULL, 0), &sequence, hypha->effects.data);
        if (rc != 0) return rc;
    }
    myco__log_cut(log, offset);
    return 0;
}

static void receive_start(struct myco_hypha *hypha, struct myco_reader *reader)
{
    const struct myco__log *log = &hypha->log;
    uint64_t epoch = myco_read_u64(reader), offset = myco_read_u64(reader);
    bool right = myco_read_done(reader) && offset <= log->last && offset >= log->applied;
    if (!right || myco__log_epoch_at(log, offset) != epoch) {
        myco__hypha_drop(hypha);
        ask(hypha);
        return;
    }
    if (cut(hypha, offset) != 0) {
        ask(hypha);
        return;
    }
    hypha->matched = true;
    hypha->recovered = false;
    hypha->ack_owed = true;
}

/* 0, EPROTO, ENOMEM, EFULL (more than a primary may have pending), or what the journal says. */
static int append(struct myco_hypha *hypha, struct myco_slice bytes, uint64_t epoch)
{
    struct myco__log *log = &hypha->log;
    bool memory = hypha->options.level == MYCO_LEVEL_MEMORY;
    if (log->pending_size > 4 * hypha->options.pending_size_max) return MYCO_EFULL;
    struct myco__record *record = NULL;
    int rc = myco__hypha_record_read(bytes, &record);
    if (rc != 0) return rc;
    uint64_t sequence = 0;
    if (record->epoch > epoch || !myco__hypha_record_follows(log, record))
        rc = MYCO_EPROTO;
    else if (!myco__log_reserve(log))
        rc = MYCO_ENOMEM;
    else if (!memory)
        rc = hypha->effects.journal(
            record->offset, MYCO__KIND_RECORD, bytes, &sequence, hypha->effects.data);
    if (rc != 0) {
        myco__hypha_record_free(record);
        return rc;
    }
    myco__log_push(log, record, sequence);
    return 0;
}

static void receive_append(struct myco_hypha *hypha, uint64_t epoch, struct myco_reader *reader)
{
    struct myco__log *log = &hypha->log;
    uint64_t previous = myco_read_u64(reader), commit = myco_read_u64(reader);
    uint32_t count = myco_read_u32(reader);
    int rc = reader->bad || previous != log->last ? MYCO_EPROTO : 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        struct myco_slice bytes = myco_read_slice(reader);
        rc = reader->bad ? MYCO_EPROTO : append(hypha, bytes, epoch);
    }
    if (rc == 0 && !myco_read_done(reader)) rc = MYCO_EPROTO;
    if (rc != 0) {
        if (rc == MYCO_EPROTO) myco__hypha_drop(hypha);
        ask(hypha);
        return;
    }
    if (commit > log->last) commit = log->last;
    if (commit > log->commit) log->commit = commit;
    myco__hypha_apply(hypha);
    if (count > 0 && hypha->options.level != MYCO_LEVEL_DISK) hypha->ack_owed = true;
}

/* Whether the message is of the primary that we follow; a HELLO may bring a newer one. A copy that
 * consensus said is no member is silent until consensus says otherwise: it may be thrown away at
 * any time, and whatever it acknowledged would count once the node is a member again. */
static bool is_leader(struct myco_hypha *hypha, uint64_t from, const struct myco__head *head,
    struct myco_reader *reader)
{
    if (hypha->role == MYCO__ROLE_NONE) return false;
    if (head->epoch < hypha->epoch) {
        myco__backup_refuse(hypha, from);
        return false;
    }
    if (head->kind == MYCO__HELLO) { /* to us, or to who we were before we started again? */
        uint64_t generation = myco_read_u64(reader);
        if (!myco_read_done(reader)) myco__hypha_drop(hypha);
        if (!myco_read_done(reader) || generation != hypha->options.generation) return false;
        if (head->epoch > hypha->epoch) {
            myco__hypha_follow(hypha, head->epoch, from, head->generation);
        }
    }
    if (head->epoch != hypha->epoch || hypha->role == MYCO__ROLE_PRIMARY) return false;
    return from == hypha->leader && head->generation == hypha->leader_generation;
}

void myco__backup_receive(struct myco_hypha *hypha, uint64_t from, const struct myco__head *head,
    struct myco_reader *reader)
{
    if (!is_leader(hypha, from, head, reader)) return;
    if (head->kind == MYCO__HELLO) {
        receive_hello(hypha, head->session, reader);
        return;
    }
    bool current = head->session != 0 && head->session == hypha->leader_session;
    if (head->kind == MYCO__APPEND && !(current && hypha->matched)) hypha->ask_owed = true;
    if (!current) return;
    if (head->kind == MYCO__START && !hypha->matched && hypha->staging == NULL)
        receive_start(hypha, reader);
    else if (head->kind == MYCO__APPEND && hypha->matched)
        receive_append(hypha, head->epoch, reader);
    else if (head->kind == MYCO__PIECE)
        myco__copy_receive(hypha, reader);
}
