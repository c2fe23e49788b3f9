/* A whole state on its way to a member that can't be brought up to date by records.
 *
 * The primary writes its table into one buffer, once for all members that need it at that time, and
 * sends it in pieces on the bulk lane, at most four in flight; the records after it are kept
 * meanwhile. The member puts the pieces into its journal as they come, and into a table aside; at
 * the end it swaps. Until then its old state stands, in memory as in the journal.
 *
 * The limit: that one pass stops the loop (2 to 3 ms for a MiB of entries of 100 B, less for larger
 * ones) and takes the memory of the table once more. It suits hyphae of up to 64 MiB; larger septa
 * are to be cut into more of them. */
#include "store/hypha_internal.h"

static bool anybody_copies(const struct myco_hypha *hypha)
{
    for (size_t i = 0; i < hypha->member_count; i++) {
        if (hypha->members[i]->stage == MYCO__STAGE_COPY) return true;
    }
    return false;
}

void myco__copy_release(struct myco_hypha *hypha)
{
    if (!anybody_copies(hypha)) myco_buf_free(&hypha->copy);
}

/* What is there is of no use any more once the records that follow it are gone. */
static bool copy_make(struct myco_hypha *hypha)
{
    if (hypha->copy.size > 0 && hypha->copy_offset >= hypha->log.base) return true;
    for (size_t i = 0; i < hypha->member_count; i++) {
        struct myco__member *other = hypha->members[i];
        if (other->stage == MYCO__STAGE_COPY) myco__member_greet(hypha, other);
    }
    hypha->copy_offset = hypha->log.applied;
    myco__state_write(hypha, false, &hypha->copy);
    if (!hypha->copy.failed) return true;
    myco_buf_free(&hypha->copy);
    return false;
}

void myco__copy_begin(struct myco_hypha *hypha, struct myco__member *member)
{
    if (!copy_make(hypha)) { /* no memory now: greets it again at the next tick */
        myco__member_greet(hypha, member);
        member->blocked = true;
        return;
    }
    member->stage = MYCO__STAGE_COPY;
    member->copy_sent = member->copy_acked = 0;
}

void myco__copy_pump(struct myco_hypha *hypha, struct myco__member *member)
{
    const struct myco_buf *copy = &hypha->copy;
    while (member->copy_sent < copy->size) {
        uint64_t flying = member->copy_sent - member->copy_acked;
        if (flying >= MYCO__PIECES_MAX * MYCO__PIECE_SIZE_MAX) return;
        uint64_t size = copy->size - member->copy_sent;
        if (size > MYCO__PIECE_SIZE_MAX) size = MYCO__PIECE_SIZE_MAX;
        struct myco_buf payload = {0};
        myco_buf_reserve(&payload, 64 + size);
        myco__member_head(hypha, member, MYCO__PIECE, &payload);
        myco_buf_u64(&payload, member->copy_sent);
        myco_buf_slice(&payload, myco_bytes(copy->data + member->copy_sent, size));
        if (myco__member_send(hypha, member, true, &payload) != 0) return;
        member->copy_sent += size;
    }
}

void myco__copy_taken(
    struct myco_hypha *hypha, struct myco__member *member, struct myco_reader *reader)
{
    uint64_t at = myco_read_u64(reader);
    bool again = myco_read_u8(reader) != 0;
    if (!myco_read_done(reader) || at > member->copy_sent || at < member->copy_acked) {
        myco__hypha_drop(hypha);
        return;
    }
    member->copy_acked = at;
    if (again) member->copy_sent = at;
    if (at < hypha->copy.size) return;
    member->stage = MYCO__STAGE_STREAM;
    member->sent = hypha->copy_offset;
    myco__copy_release(hypha);
}

/* ── The member ────────────────────────────────────────────────────────────────────────────── */

/* A RESET in the journal: u8 first │ bytes of the state. The state is whole with its last byte. */
int myco__copy_journal(
    struct myco_hypha *hypha, bool first, struct myco_slice bytes, uint64_t *sequence)
{
    *sequence = 0;
    if (hypha->options.level == MYCO_LEVEL_MEMORY) return 0;
    struct myco_buf record = {0};
    myco_buf_reserve(&record, 1 + bytes.size);
    myco_buf_u8(&record, first);
    myco_buf_bytes(&record, bytes.data, bytes.size);
    int rc = MYCO_ENOMEM;
    if (!record.failed) {
        rc = hypha->effects.journal(hypha->log.last, MYCO__KIND_RESET, myco_buf_as_slice(&record),
            sequence, hypha->effects.data);
    }
    myco_buf_free(&record);
    return rc;
}

/* Nothing that was journaled of it counts: the next state begins with a `first`. */
static void give_up(struct myco_hypha *hypha)
{
    myco__backup_forget(hypha);
    hypha->ask_owed = true;
}

static void take_over(struct myco_hypha *hypha, uint64_t sequence)
{
    struct myco__staging *staging = hypha->staging;
    hypha->staging = NULL;
    myco__staging_install(hypha, staging);
    if (sequence > 0) myco__log_mark(&hypha->log, sequence, hypha->log.last);
    hypha->matched = true;
    hypha->recovered = false;
    hypha->ack_owed = true;
    hypha->effects.replaced(hypha->effects.data);
}

void myco__copy_receive(struct myco_hypha *hypha, struct myco_reader *reader)
{
    uint64_t at = myco_read_u64(reader), sequence;
    struct myco_slice bytes = myco_read_slice(reader);
    if (!myco_read_done(reader) || bytes.size == 0 || bytes.size > MYCO__PIECE_SIZE_MAX) {
        myco__hypha_drop(hypha);
        return;
    }
    if (hypha->matched || at != hypha->taken) return; /* follows one that was dropped */
    if (at == 0 && hypha->staging == NULL) hypha->staging = myco__staging_new(hypha);
    struct myco__staging *staging = hypha->staging;
    if (staging == NULL) {
        myco__hypha_drop(hypha);
        return;
    }
    bool whole;
    if (!myco__log_reserve(&staging->log)) {
        give_up(hypha);
        return;
    }
    if (myco__copy_journal(hypha, at == 0, bytes, &sequence) != 0) {
        hypha->again_wanted = true;
        return;
    }
    int rc = myco__staging_feed(staging, bytes, &whole);
    if (rc == 0 && staging->tail_left > 0) rc = MYCO_EPROTO;
    if (rc != 0) {
        if (rc == MYCO_EPROTO) myco__hypha_drop(hypha);
        give_up(hypha);
        return;
    }
    hypha->taken += bytes.size;
    hypha->taken_owed = true;
    if (whole) take_over(hypha, sequence);
}
