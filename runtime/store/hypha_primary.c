/* The primary's side of its conversation with one member.
 *
 *     GREET ──HELLO──▶ ASKED ──END──▶ where do the two logs last agree?
 *                                      │ in memory here, and not below what the member applied
 *                                      ├──yes: START──▶ STREAM: APPEND, APPEND, …  ◀── ACK
 *                                      └──no──────────▶ COPY: PIECE, PIECE, …  ◀── TAKEN ──▶ STREAM
 *     LOST: not connected. Whatever goes wrong (a gap, no memory, a full journal, an
 * acknowledgement that does not come) ends the session, and the next one begins with a HELLO.
 *
 * Where they agree. All records of one epoch were made by one primary, in order, and each was put
 * after the same record everywhere. So two logs that both have records of an epoch agree up to the
 * smaller end of that epoch's part; the newest epoch that both have gives the last point:
 *
 *     primary  │ 1 1 1 1 │ 3 3 3 │ 5          epochs of records
 *     member   │ 1 1 1 1 │ 3 3 3 3 3 │ 4      both have 3; the primary's part of it ends first: the
 * member ▲              cuts two records of epoch 3 and all of 4 */
#include "store/hypha_internal.h"

#include "base/mem.h"

/* ── Sending ───────────────────────────────────────────────────────────────────────────────── */

void myco__member_head(const struct myco_hypha *hypha, const struct myco__member *member,
    uint8_t kind, struct myco_buf *payload)
{
    struct myco__head head = {kind, hypha->options.generation, hypha->set.epoch, member->session};
    myco__head_write(payload, &head);
}

/* Takes the payload. Full, or no memory: nothing more until it drains or the next tick. */
int myco__member_send(
    struct myco_hypha *hypha, struct myco__member *member, bool bulk, struct myco_buf *payload)
{
    int rc = MYCO_ENOMEM;
    if (payload->failed)
        myco_buf_free(payload);
    else
        rc = hypha->effects.send(member->node, bulk, payload, hypha->effects.data);
    member->spoke_ms = myco_now_ms(hypha->env);
    if (rc == MYCO_ENOTCONN)
        myco__member_lost(hypha, member);
    else if (rc != 0)
        member->blocked = true;
    return rc;
}

static void session_end(struct myco_hypha *hypha, struct myco__member *member)
{
    member->blocked = member->start_owed = false;
    member->flight_count = member->flight_size = member->flight_records = 0;
    member->copy_sent = member->copy_acked = 0;
    member->told = 0; /* what it was told may be lost with the connection */
    myco__copy_release(hypha);
}

void myco__member_greet(struct myco_hypha *hypha, struct myco__member *member)
{
    member->stage = MYCO__STAGE_GREET;
    member->session = ++hypha->session;
    session_end(hypha, member);
}

void myco__member_lost(struct myco_hypha *hypha, struct myco__member *member)
{
    member->stage = MYCO__STAGE_LOST;
    member->session = ++hypha->session;
    if (!member->proposed) member->counted = false;
    session_end(hypha, member);
}

static void send_hello(struct myco_hypha *hypha, struct myco__member *member)
{
    struct myco_buf payload = {0};
    member->session = ++hypha->session;
    myco__member_head(hypha, member, MYCO__HELLO, &payload);
    myco_buf_u64(&payload, member->generation);
    if (myco__member_send(hypha, member, false, &payload) == 0) member->stage = MYCO__STAGE_ASKED;
}

static void send_start(struct myco_hypha *hypha, struct myco__member *member)
{
    struct myco_buf payload = {0};
    myco__member_head(hypha, member, MYCO__START, &payload);
    myco_buf_u64(&payload, myco__log_epoch_at(&hypha->log, member->sent));
    myco_buf_u64(&payload, member->sent);
    if (myco__member_send(hypha, member, false, &payload) == 0) member->start_owed = false;
}

/* Records from `index` on that go into one message: as many as fit into it, and into the window. */
static uint32_t batch_count(
    const struct myco_hypha *hypha, const struct myco__member *member, size_t index, size_t *size)
{
    const struct myco__log *log = &hypha->log;
    uint32_t count = 0;
    *size = 0;
    if (member->flight_count == MYCO__WINDOW_MESSAGES) return 0;
    for (; index + count < log->count; count++) {
        size_t more = 4 + myco__log_at(log, index + count)->size;
        bool first = count == 0 && member->flight_count == 0; /* goes alone, whatever its size */
        if (!first && member->flight_size + *size + more > MYCO__WINDOW_SIZE) break;
        if (count > 0 && *size + more > MYCO__APPEND_SIZE_MAX) break;
        if (member->flight_records + count == MYCO__WINDOW_RECORDS) break;
        *size += more;
    }
    return count;
}

static int send_append(struct myco_hypha *hypha, struct myco__member *member, size_t index,
    uint32_t count, size_t size)
{
    const struct myco__log *log = &hypha->log;
    struct myco_buf payload = {0};
    uint64_t last = member->sent, commit = log->commit;
    myco_buf_reserve(&payload, 64 + size);
    myco__member_head(hypha, member, MYCO__APPEND, &payload);
    myco_buf_u64(&payload, member->sent);
    myco_buf_u64(&payload, commit);
    myco_buf_u32(&payload, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct myco__record *record = myco__log_at(log, index + i);
        myco_buf_slice(&payload, myco_bytes(record->bytes, record->size));
        last = record->offset;
    }
    int rc = myco__member_send(hypha, member, false, &payload);
    if (rc != 0) return rc;
    member->told = commit;
    if (count == 0) return 0;
    size_t at = (member->flight_head + member->flight_count++) % MYCO__WINDOW_MESSAGES;
    member->flights[at] = (struct myco__flight){last, (uint32_t)size, count};
    member->flight_size += (uint32_t)size;
    member->flight_records += count;
    member->sent = last;
    return 0;
}

static void stream(struct myco_hypha *hypha, struct myco__member *member)
{
    if (member->sent < hypha->log.base) { /* it fell behind what is in memory */
        myco__member_greet(hypha, member);
        send_hello(hypha, member);
        return;
    }
    for (;;) {
        size_t index = myco__log_after(&hypha->log, member->sent), size;
        uint32_t count = batch_count(hypha, member, index, &size);
        if (count == 0) return;
        if (send_append(hypha, member, index, count, size) != 0) return;
    }
}

/* Since when the member owes something: that decides whether it lags. */
static void note_waiting(struct myco_hypha *hypha, struct myco__member *member)
{
    bool owes = member->stage != MYCO__STAGE_STREAM || member->acked < hypha->log.last;
    if (!owes)
        member->waiting_ms = 0;
    else if (member->waiting_ms == 0)
        member->waiting_ms = myco_now_ms(hypha->env);
}

void myco__member_pump(struct myco_hypha *hypha, struct myco__member *member)
{
    if (!member->blocked) {
        if (member->stage == MYCO__STAGE_GREET) send_hello(hypha, member);
        if (member->stage == MYCO__STAGE_COPY) myco__copy_pump(hypha, member);
        if (member->stage == MYCO__STAGE_STREAM && member->start_owed) send_start(hypha, member);
        if (member->stage == MYCO__STAGE_STREAM && !member->start_owed) stream(hypha, member);
    }
    note_waiting(hypha, member);
}

void myco__member_tick(struct myco_hypha *hypha, struct myco__member *member, uint64_t now_ms)
{
    uint64_t resend_ms = hypha->options.lag_ms / 3;
    uint64_t last_ms = member->heard_ms > member->spoke_ms ? member->heard_ms : member->spoke_ms;
    uint64_t silent_ms = now_ms - last_ms;
    member->blocked = false;
    bool again = false;
    switch (member->stage) {
    case MYCO__STAGE_LOST: again = silent_ms >= hypha->options.lag_ms; break;
    case MYCO__STAGE_GREET: break;
    case MYCO__STAGE_ASKED: again = silent_ms >= resend_ms; break;
    case MYCO__STAGE_COPY: again = silent_ms >= hypha->options.lag_ms; break;
    case MYCO__STAGE_STREAM:
        again = member->acked < member->sent && silent_ms >= resend_ms;
        if (!again && !member->start_owed && member->told < hypha->log.commit &&
            silent_ms >= MYCO__TELL_MS) {
            send_append(hypha, member, 0, 0, 0);
        }
        break;
    }
    if (again) myco__member_greet(hypha, member);
    myco__hypha_members_tick(hypha, member, now_ms);
}

/* ── Receiving ─────────────────────────────────────────────────────────────────────────────── */

/* The last point where the member's log, with that part of an epoch in it, agrees with ours. */
static bool agree(const struct myco__log *log, const struct myco__epoch *theirs, uint64_t *match)
{
    for (size_t i = log->epoch_count; i > 0; i--) {
        const struct myco__epoch *ours = &log->epochs[i - 1];
        if (ours->epoch < theirs->epoch) return false;
        if (ours->epoch > theirs->epoch) continue;
        *match = ours->last < theirs->last ? ours->last : theirs->last;
        return ours->first == theirs->first;
    }
    return false;
}

static void receive_end(
    struct myco_hypha *hypha, struct myco__member *member, struct myco_reader *reader)
{
    uint64_t applied = myco_read_u64(reader);
    uint16_t count = myco_read_u16(reader);
    uint64_t match = 0;
    bool found = false;
    for (uint16_t i = 0; i < count && !reader->bad; i++) {
        struct myco__epoch theirs = {0};
        theirs.epoch = myco_read_u64(reader);
        theirs.first = myco_read_u64(reader);
        theirs.last = myco_read_u64(reader);
        if (!found) found = agree(&hypha->log, &theirs, &match);
    }
    if (!myco_read_done(reader) || count > MYCO__EPOCHS_SENT_MAX) {
        myco__hypha_drop(hypha);
        return;
    }
    if (!found) match = 0; /* nothing in common but the beginning */
    if (match < applied || match < hypha->log.base) {
        myco__copy_begin(hypha, member);
        return;
    }
    member->stage = MYCO__STAGE_STREAM;
    member->sent = match;
    member->start_owed = true;
}

static void receive_ack(
    struct myco_hypha *hypha, struct myco__member *member, struct myco_reader *reader)
{
    uint64_t received = myco_read_u64(reader), durable = myco_read_u64(reader);
    if (!myco_read_done(reader) || durable > received || received > member->sent) {
        myco__hypha_drop(hypha);
        return;
    }
    while (member->flight_count > 0 && member->flights[member->flight_head].last <= received) {
        const struct myco__flight *flight = &member->flights[member->flight_head];
        member->flight_size -= flight->size;
        member->flight_records -= flight->records;
        member->flight_head = (member->flight_head + 1) % MYCO__WINDOW_MESSAGES;
        member->flight_count--;
    }
    bool disk = hypha->options.level == MYCO_LEVEL_DISK;
    myco__hypha_members_acked(hypha, member, disk ? durable : received);
}

/* The head was checked: it is of the member's generation, and of our epoch. */
void myco__member_receive(struct myco_hypha *hypha, struct myco__member *member,
    const struct myco__head *head, struct myco_reader *reader)
{
    if (head->kind == MYCO__ASK) { /* our HELLO too was lost, where it came before its set did */
        bool talking = member->stage != MYCO__STAGE_LOST && member->stage != MYCO__STAGE_GREET;
        if (talking) myco__member_greet(hypha, member);
        return;
    }
    if (head->session != member->session) return;
    member->heard_ms = myco_now_ms(hypha->env);
    if (head->kind == MYCO__END && member->stage == MYCO__STAGE_ASKED) {
        receive_end(hypha, member, reader);
    } else if (head->kind == MYCO__ACK && member->stage == MYCO__STAGE_STREAM) {
        receive_ack(hypha, member, reader);
    } else if (head->kind == MYCO__TAKEN && member->stage == MYCO__STAGE_COPY) {
        myco__copy_taken(hypha, member, reader);
    } else {
        myco__hypha_drop(hypha);
    }
}
