/* Records and messages as bytes.
 *
 * A record, the same in the journal and in messages (little-endian, no padding):
 *
 *     u64 epoch │ u64 offset │ u64 time_ms │ u64 commit │ u64 expires_ms │ u8 op │ slice key │
 * slice value │ with the flag FENCED in op: slice name │ u64 epoch of the fence
 *
 *     `commit` is how far the primary had committed when it made the record: who reads its journal
 *     may apply up to there. A slice is its u32 size, then its bytes.
 *
 * A message is a head and a body:
 *
 *     u8 kind │ u64 generation of the sender │ u64 epoch │ u64 session │ body
 *
 *     HELLO   p→m  u64 generation of the member meant      "where does your log end?"; a new
 * session END     m→p  u64 applied │ u16 n │ n × (u64 epoch │ u64 first │ u64 last), newest first
 *     START   p→m  u64 epoch │ u64 offset                  "cut what is above; records follow"
 *     APPEND  p→m  u64 previous │ u64 commit │ u32 n │ n × slice record
 *     ACK     m→p  u64 received │ u64 durable
 *     ASK     m→p                                          "greet me again"
 *     REFUSE  m→p                                          head.epoch is newer than yours
 *     PIECE   p→m  u64 at │ slice bytes                    of the state (see hypha_state.c)
 *     TAKEN   m→p  u64 at │ u8 again                       bytes so far; again: the next one was
 * dropped
 *
 * A session is one conversation of a primary with a member; it ends with the connection, with the
 * next HELLO, and with the epoch. Whatever belongs to another session is ignored. */
#include "store/hypha_internal.h"

#include <string.h>

#include "base/mem.h"

#define RECORD_FIXED (5u * 8 + 1 + 4 + 4)
#define FENCE_FIXED  (4u + 8)
#define FENCED       0x80 /* in op */

void myco__head_write(struct myco_buf *buf, const struct myco__head *head)
{
    myco_buf_u8(buf, head->kind);
    myco_buf_u64(buf, head->generation);
    myco_buf_u64(buf, head->epoch);
    myco_buf_u64(buf, head->session);
}

bool myco__head_read(struct myco_reader *reader, struct myco__head *head)
{
    head->kind = myco_read_u8(reader);
    head->generation = myco_read_u64(reader);
    head->epoch = myco_read_u64(reader);
    head->session = myco_read_u64(reader);
    return !reader->bad && head->epoch > 0;
}

size_t myco__hypha_record_size(const struct myco_write *write)
{
    size_t fence = write->fence.size > 0 ? FENCE_FIXED + write->fence.size : 0;
    return RECORD_FIXED + write->key.size + write->value.size + fence;
}

static uint8_t *put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) *to++ = (uint8_t)(value >> (8 * i));
    return to;
}

static uint8_t *put_u64(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++) *to++ = (uint8_t)(value >> (8 * i));
    return to;
}

static uint8_t *put_slice(uint8_t *to, struct myco_slice slice)
{
    to = put_u32(to, (uint32_t)slice.size);
    if (slice.size > 0) memcpy(to, slice.data, slice.size);
    return to + slice.size;
}

static struct myco__record *record_alloc(size_t size)
{
    struct myco__record *record = myco_try_alloc(sizeof(*record) + size);
    if (record == NULL) return NULL;
    memset(record, 0, sizeof(*record));
    record->size = size;
    return record;
}

/* Points the fields into the bytes; what they may not be is refused. */
static int record_parse(struct myco__record *record)
{
    struct myco_reader reader = myco_reader(record->bytes, record->size);
    record->epoch = myco_read_u64(&reader);
    record->offset = myco_read_u64(&reader);
    record->time_ms = myco_read_u64(&reader);
    record->commit = myco_read_u64(&reader);
    record->write.expires_ms = myco_read_u64(&reader);
    uint8_t op = myco_read_u8(&reader);
    record->write.key = myco_read_slice(&reader);
    record->write.value = myco_read_slice(&reader);
    if (op & FENCED) {
        record->write.fence = myco_read_slice(&reader);
        record->write.fence_epoch = myco_read_u64(&reader);
        size_t size = record->write.fence.size;
        if (size == 0 || size > MYCO_FENCE_NAME_MAX) return MYCO_EPROTO;
        if (memchr(record->write.fence.data, 0, size) != NULL) return MYCO_EPROTO;
        op &= (uint8_t)~FENCED;
    }
    if (!myco_read_done(&reader) || op > MYCO_OP_DEL) return MYCO_EPROTO;
    record->write.op = (enum myco_op)op;
    size_t key_size = record->write.key.size, value_size = record->write.value.size;
    if (key_size > MYCO_KEY_SIZE_MAX || value_size > MYCO_VALUE_SIZE_MAX) return MYCO_EPROTO;
    if ((key_size == 0) != (op == MYCO_OP_NOOP)) return MYCO_EPROTO;
    if (value_size > 0 && op != MYCO_OP_PUT) return MYCO_EPROTO;
    if (record->epoch == 0 || record->offset == 0) return MYCO_EPROTO;
    if (record->offset > MYCO__OFFSET_MAX) return MYCO_EPROTO;
    return record->commit <= record->offset ? 0 : MYCO_EPROTO;
}

struct myco__record *myco__hypha_record_new(const struct myco_write *write, uint64_t epoch,
    uint64_t offset, uint64_t time_ms, uint64_t commit)
{
    struct myco__record *record = record_alloc(myco__hypha_record_size(write));
    if (record == NULL) return NULL;
    uint8_t *to = put_u64(record->bytes, epoch);
    to = put_u64(to, offset);
    to = put_u64(to, time_ms);
    to = put_u64(to, commit);
    to = put_u64(to, write->expires_ms);
    bool fenced = write->fence.size > 0;
    *to++ = (uint8_t)(write->op | (fenced ? FENCED : 0));
    to = put_slice(to, write->key);
    to = put_slice(to, write->value);
    if (fenced) {
        record->write.fence = myco_bytes(to + 4, write->fence.size);
        record->write.fence_epoch = write->fence_epoch;
        put_u64(put_slice(to, write->fence), write->fence_epoch);
    }
    record->epoch = epoch;
    record->offset = offset;
    record->time_ms = time_ms;
    record->commit = commit;
    record->write.op = write->op;
    record->write.expires_ms = write->expires_ms;
    record->write.key = myco_bytes(record->bytes + 5 * 8 + 1 + 4, write->key.size);
    record->write.value =
        myco_bytes(record->bytes + RECORD_FIXED + write->key.size, write->value.size);
    return record;
}

int myco__hypha_record_read(struct myco_slice bytes, struct myco__record **given)
{
    if (bytes.size < RECORD_FIXED) return MYCO_EPROTO;
    size_t size_max = RECORD_FIXED + MYCO_KEY_SIZE_MAX + MYCO_VALUE_SIZE_MAX;
    if (bytes.size > size_max + FENCE_FIXED + MYCO_FENCE_NAME_MAX) return MYCO_EPROTO;
    struct myco__record *record = record_alloc(bytes.size);
    if (record == NULL) return MYCO_ENOMEM;
    memcpy(record->bytes, bytes.data, bytes.size);
    int rc = record_parse(record);
    if (rc != 0) {
        myco__hypha_record_free(record);
        return rc;
    }
    *given = record;
    return 0;
}

bool myco__hypha_record_follows(const struct myco__log *log, const struct myco__record *record)
{
    uint64_t epoch = myco__log_last_epoch(log);
    if (record->epoch < epoch) return false;
    if (record->epoch > epoch && record->write.op != MYCO_OP_NOOP) return false;
    if (record->offset == log->last + 1) return true;
    return record->epoch > epoch && record->offset > log->last;
}
