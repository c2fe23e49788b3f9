/* The bytes that the log keeps on disk, all little-endian, all with a CRC32C.
 *
 *   consensus/meta                      1,024 bytes for ever, overwritten in place by one synced
 * write consensus/log-<sequence>            segments, only ever appended to; the last is being
 * written consensus/snapshot-<index>          whole files, put at once
 *
 * meta: two equal copies, each in a sector of its own, zeros behind them:
 *
 *     "MYCM" │ u32 version │ u64 sequence │ u64 self │ u64 term │ u64 vote │ u64 segment │ u64
 * synced │ u32 crc
 *
 *   Both are written each time, and not in turn: were they, then a newest slot that rotted could
 * not be told from one that a crash tore, and the older would be believed, with a vote forgotten.
 * So a crash leaves at least one copy whole, the older only if the write never returned; rot of
 * either is mended from the other. `synced` says how much of `segment` was durable by then: less is
 * damage.
 *
 * segment: a head, then records.
 *
 *     "MYCORLOG" │ u32 version │ u32 flags │ u64 sequence │ u64 base │ u64 previous_size │ u32 crc
 * │ u32 0
 *
 *     u32 head_crc │ u32 body_crc │ u32 size │ u32 type │ u64 index │ u64 term │ u64 synced │ body
 *
 *   head_crc covers the rest of the head, so that a size can be trusted before the body is read. A
 * record whose index is not above the one before it replaces that entry and all after it: a
 * conflicting suffix is truncated by what is written next, and no byte is ever overwritten. One
 * write is under way at a time, so that only the last one can be torn; `synced` is how much was
 * durable before it.
 *
 *   What is cut with a warning, at the end of the last segment only: less than a whole record, or
 * nothing but zeros. Anything else that does not fit its CRC is damage.
 *
 * snapshot, which is also what travels to another server:
 *
 *     "MYCOSNAP" │ u32 version │ u64 index │ u64 term │ u64 config index │ slice config │ slice
 * state │ u32 crc */
#include "consensus/log_internal.h"

#include "base/hash.h"

#define META_MAGIC     0x4d43594du           /* "MYCM" */
#define SEGMENT_MAGIC  0x474f4c524f43594dull /* "MYCORLOG" */
#define SNAPSHOT_MAGIC 0x50414e534f43594dull /* "MYCOSNAP" */
#define VERSION        1
#define META_USED      60 /* of a slot, with its crc */
#define FLAG_RESET     1

/* The CRC of all bytes since `start`. */
static void seal(struct myco_buf *buf, size_t start)
{
    if (!buf->failed) myco_buf_u32(buf, myco_crc32c(0, buf->data + start, buf->size - start));
}

static bool sealed(const void *bytes, size_t size, uint32_t crc)
{
    return myco_crc32c(0, bytes, size) == crc;
}

static void zeros(struct myco_buf *buf, size_t count)
{
    while (count-- > 0) myco_buf_u8(buf, 0);
}

/* ── meta ───────────────────────────────────────────────────────────────────────────────────── */

void myco__rlog_meta_write(struct myco_buf *buf, const struct myco__rlog_meta *meta)
{
    for (int copy = 0; copy < 2; copy++) {
        size_t start = buf->size;
        myco_buf_u32(buf, META_MAGIC);
        myco_buf_u32(buf, VERSION);
        myco_buf_u64(buf, meta->sequence);
        myco_buf_u64(buf, meta->self);
        myco_buf_u64(buf, meta->term);
        myco_buf_u64(buf, meta->vote);
        myco_buf_u64(buf, meta->segment);
        myco_buf_u64(buf, meta->synced);
        seal(buf, start);
        zeros(buf, MYCO__RLOG_META_SLOT_SIZE - META_USED);
    }
}

static bool slot_read(const uint8_t *slot, struct myco__rlog_meta *meta)
{
    struct myco_reader reader = myco_reader(slot, META_USED);
    uint32_t magic = myco_read_u32(&reader), version = myco_read_u32(&reader);
    meta->sequence = myco_read_u64(&reader);
    meta->self = myco_read_u64(&reader);
    meta->term = myco_read_u64(&reader);
    meta->vote = myco_read_u64(&reader);
    meta->segment = myco_read_u64(&reader);
    meta->synced = myco_read_u64(&reader);
    uint32_t crc = myco_read_u32(&reader);
    return magic == META_MAGIC && version == VERSION && sealed(slot, META_USED - 4, crc);
}

int myco__rlog_meta_read(struct myco_slice bytes, struct myco__rlog_meta *meta)
{
    if (bytes.size != MYCO__RLOG_META_SIZE) return MYCO_ECORRUPT;
    struct myco__rlog_meta other;
    const uint8_t *slots = bytes.data;
    bool first = slot_read(slots, meta);
    bool second = slot_read(slots + MYCO__RLOG_META_SLOT_SIZE, &other);
    if (!first && !second) return MYCO_ECORRUPT;
    if (!first || (second && other.sequence > meta->sequence)) *meta = other;
    return first && second ? 0 : 1;
}

/* ── segments ───────────────────────────────────────────────────────────────────────────────── */

void myco__rlog_segment_write(struct myco_buf *buf, const struct myco__rlog_segment *segment)
{
    size_t start = buf->size;
    myco_buf_u64(buf, SEGMENT_MAGIC);
    myco_buf_u32(buf, VERSION);
    myco_buf_u32(buf, segment->reset ? FLAG_RESET : 0);
    myco_buf_u64(buf, segment->sequence);
    myco_buf_u64(buf, segment->base);
    myco_buf_u64(buf, segment->previous_size);
    seal(buf, start);
    myco_buf_u32(buf, 0);
}

int myco__rlog_segment_read(struct myco_slice bytes, struct myco__rlog_segment *segment)
{
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    uint64_t magic = myco_read_u64(&reader);
    uint32_t version = myco_read_u32(&reader), flags = myco_read_u32(&reader);
    segment->reset = (flags & FLAG_RESET) != 0;
    segment->sequence = myco_read_u64(&reader);
    segment->base = myco_read_u64(&reader);
    segment->previous_size = myco_read_u64(&reader);
    uint32_t crc = myco_read_u32(&reader), zero = myco_read_u32(&reader);
    if (!myco_read_done(&reader) || magic != SEGMENT_MAGIC || version != VERSION || zero != 0 ||
        !sealed(bytes.data, MYCO__RLOG_SEGMENT_HEAD - 8, crc))
        return MYCO_ECORRUPT;
    return 0;
}

void myco__rlog_record_write(
    struct myco_buf *buf, uint64_t index, const struct myco__rlog_entry *entry, uint64_t synced)
{
    size_t start = buf->size;
    myco_buf_u32(buf, 0); /* head_crc, once the rest is there */
    myco_buf_u32(buf, myco_crc32c(0, entry->body, entry->size));
    myco_buf_u32(buf, entry->size);
    myco_buf_u32(buf, entry->type);
    myco_buf_u64(buf, index);
    myco_buf_u64(buf, entry->term);
    myco_buf_u64(buf, synced);
    if (buf->failed) return;
    uint32_t crc = myco_crc32c(0, buf->data + start + 4, MYCO__RLOG_RECORD_HEAD - 4);
    for (int i = 0; i < 4; i++) buf->data[start + (size_t)i] = (uint8_t)(crc >> (8 * i));
    myco_buf_bytes(buf, entry->body, entry->size);
}

int myco__rlog_record_read(struct myco_slice head, struct myco__rlog_record *record)
{
    struct myco_reader reader = myco_reader(head.data, head.size);
    uint32_t crc = myco_read_u32(&reader);
    record->crc = myco_read_u32(&reader);
    record->size = myco_read_u32(&reader);
    uint32_t type = myco_read_u32(&reader);
    record->type = (uint8_t)type;
    record->index = myco_read_u64(&reader);
    record->term = myco_read_u64(&reader);
    record->synced = myco_read_u64(&reader);
    if (!myco_read_done(&reader) ||
        !sealed((const uint8_t *)head.data + 4, MYCO__RLOG_RECORD_HEAD - 4, crc))
        return MYCO_ECORRUPT;
    if (type < RAFT_COMMAND || type > RAFT_CHANGE || record->index == 0 || record->term == 0)
        return MYCO_ECORRUPT;
    return 0;
}

/* ── snapshots ──────────────────────────────────────────────────────────────────────────────── */

void myco__rlog_snapshot_write(struct myco_buf *buf, const struct myco__rlog_snapshot *snapshot)
{
    struct myco_buf config = {0};
    myco__rlog_config_write(&config, &snapshot->config);
    if (config.failed) buf->failed = true;

    size_t start = buf->size;
    myco_buf_u64(buf, SNAPSHOT_MAGIC);
    myco_buf_u32(buf, VERSION);
    myco_buf_u64(buf, snapshot->index);
    myco_buf_u64(buf, snapshot->term);
    myco_buf_u64(buf, snapshot->config.index);
    myco_buf_slice(buf, myco_buf_as_slice(&config));
    myco_buf_slice(buf, snapshot->state);
    seal(buf, start);
    myco_buf_free(&config);
}

int myco__rlog_snapshot_read(struct myco_slice bytes, struct myco__rlog_snapshot *snapshot)
{
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    uint64_t magic = myco_read_u64(&reader);
    uint32_t version = myco_read_u32(&reader);
    snapshot->index = myco_read_u64(&reader);
    snapshot->term = myco_read_u64(&reader);
    uint64_t config_index = myco_read_u64(&reader);
    struct myco_slice config = myco_read_slice(&reader);
    snapshot->state = myco_read_slice(&reader);
    uint32_t crc = myco_read_u32(&reader);
    if (!myco_read_done(&reader) || magic != SNAPSHOT_MAGIC || version != VERSION ||
        !sealed(bytes.data, bytes.size - 4, crc))
        return MYCO_ECORRUPT;
    if (snapshot->index == 0 || snapshot->term == 0 || config_index == 0 ||
        config_index > snapshot->index || myco__rlog_config_read(config, &snapshot->config) != 0)
        return MYCO_ECORRUPT;
    snapshot->config.index = config_index;
    return 0;
}
