/* The journal's files as bytes: written, read and distrusted. */
#include "store/journal_format.h"

#include "base/hash.h"

#define VERSION       1
#define MAGIC_SIZE    8
#define SEGMENT_MAGIC "MYCOJRNL"
#define SNAP_MAGIC    "MYCOSNAP"
#define MARK_MAGIC    "MYCOMARK"
#define MARK_AT       16 /* where a record has its stream */

static uint64_t mark_stream(void)
{
    struct myco_reader reader = myco_reader(MARK_MAGIC, MAGIC_SIZE);
    return myco_read_u64(&reader);
}

static uint32_t read_u32_at(const uint8_t *at)
{
    struct myco_reader reader = myco_reader(at, 4);
    return myco_read_u32(&reader);
}

static void patch_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static bool read_magic(struct myco_reader *reader, const char *magic)
{
    struct myco_slice bytes = myco_read_bytes(reader, MAGIC_SIZE);
    return !reader->bad && memcmp(bytes.data, magic, MAGIC_SIZE) == 0;
}

/* ── Segments ────────────────────────────────────────────────────────────────────────────────── */

void myco__segment_header_write(struct myco_buf *buf, const struct myco__segment_header *header)
{
    myco_buf_bytes(buf, SEGMENT_MAGIC, MAGIC_SIZE);
    myco_buf_u32(buf, VERSION);
    myco_buf_u32(buf, header->nonce);
    myco_buf_u64(buf, header->first);
    myco_buf_u64(buf, header->previous);
    if (!buf->failed) myco_buf_u32(buf, myco_crc32c(0, buf->data, buf->size));
}

bool myco__segment_header_read(struct myco_slice bytes, struct myco__segment_header *header)
{
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    bool magic = read_magic(&reader, SEGMENT_MAGIC);
    uint32_t version = myco_read_u32(&reader);
    header->nonce = myco_read_u32(&reader);
    header->first = myco_read_u64(&reader);
    header->previous = myco_read_u64(&reader);
    uint32_t crc = myco_read_u32(&reader);
    if (reader.bad || !magic || version != VERSION) return false;
    if (header->first > MYCO__SEQUENCE_MAX) return false;
    return crc == myco_crc32c(0, bytes.data, MYCO__SEGMENT_HEADER_SIZE - 4);
}

/* ── Records ─────────────────────────────────────────────────────────────────────────────────── */

void myco__log_record_write(struct myco_buf *buf, const struct myco__log_record *record)
{
    myco_buf_u32(buf, 0);
    myco_buf_u32(buf, (uint32_t)record->bytes.size);
    myco_buf_u64(buf, record->sequence);
    myco_buf_u64(buf, record->stream);
    myco_buf_u64(buf, record->position);
    myco_buf_u8(buf, record->kind);
    myco_buf_bytes(buf, record->bytes.data, record->bytes.size);
}

void myco__watermark_write(struct myco_buf *buf, uint64_t sequence)
{
    struct myco__log_record mark = {.sequence = sequence, .kind = MYCO__KIND_WATERMARK};
    mark.stream = mark_stream();
    myco__log_record_write(buf, &mark);
}

static uint32_t record_crc(const uint8_t *record, size_t size, uint32_t nonce)
{
    return myco_crc32c(nonce, record + 4, size - 4);
}

void myco__log_records_seal(uint8_t *bytes, size_t size, uint32_t nonce)
{
    for (size_t at = 0; at < size;) {
        size_t record_size = MYCO__LOG_RECORD_HEADER_SIZE + read_u32_at(bytes + at + 4);
        patch_u32(bytes + at, record_crc(bytes + at, record_size, nonce));
        at += record_size;
    }
}

enum myco__log_read myco__log_record_read(struct myco_slice segment, size_t at, uint32_t nonce,
    struct myco__log_record *record, size_t *next)
{
    const uint8_t *begin = (const uint8_t *)segment.data + at;
    size_t left = segment.size - at;
    struct myco_reader reader = myco_reader(begin, left);
    if (left == 0) return MYCO__LOG_READ_END;
    uint32_t crc = myco_read_u32(&reader);
    uint32_t size = myco_read_u32(&reader);
    record->sequence = myco_read_u64(&reader);
    record->stream = myco_read_u64(&reader);
    record->position = myco_read_u64(&reader);
    record->kind = myco_read_u8(&reader);
    record->bytes = myco_read_bytes(&reader, size);
    if (reader.bad || size > MYCO__LOG_RECORD_SIZE_MAX) return MYCO__LOG_READ_BAD;
    if (crc != record_crc(begin, MYCO__LOG_RECORD_HEADER_SIZE + (size_t)size, nonce)) {
        return MYCO__LOG_READ_BAD;
    }
    *next = at + MYCO__LOG_RECORD_HEADER_SIZE + size;
    return MYCO__LOG_READ_OK;
}

uint64_t myco__watermark_search(struct myco_slice segment, size_t from, uint32_t nonce)
{
    const uint8_t *begin = segment.data, *end = begin + segment.size;
    uint64_t highest = 0;
    for (const uint8_t *at = begin + from; at < end; at++) {
        at = memmem(at, (size_t)(end - at), MARK_MAGIC, MAGIC_SIZE);
        if (at == NULL) break;
        size_t offset = (size_t)(at - begin), next;
        struct myco__log_record record;
        if (offset < from + MARK_AT) continue;
        if (myco__log_record_read(segment, offset - MARK_AT, nonce, &record, &next) !=
            MYCO__LOG_READ_OK) {
            continue;
        }
        bool is_mark = record.kind == MYCO__KIND_WATERMARK && record.bytes.size == 0;
        if (is_mark && record.sequence > highest) highest = record.sequence;
    }
    return highest;
}

/* ── Snapshots ───────────────────────────────────────────────────────────────────────────────── */

void myco__snapshot_write(struct myco_buf *buf, const struct myco__snapshot *snapshot)
{
    myco_buf_bytes(buf, SNAP_MAGIC, MAGIC_SIZE);
    myco_buf_u32(buf, VERSION);
    myco_buf_u32(buf, 0);
    myco_buf_u64(buf, snapshot->stream);
    myco_buf_u64(buf, snapshot->position);
    myco_buf_u64(buf, snapshot->covers);
    myco_buf_u64(buf, snapshot->bytes.size);
    myco_buf_bytes(buf, snapshot->bytes.data, snapshot->bytes.size);
    if (buf->failed) return;
    patch_u32(buf->data + 12, myco_crc32c(0, buf->data + 16, buf->size - 16));
}

bool myco__snapshot_read(struct myco_slice bytes, struct myco__snapshot *snapshot)
{
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    bool magic = read_magic(&reader, SNAP_MAGIC);
    uint32_t version = myco_read_u32(&reader);
    uint32_t crc = myco_read_u32(&reader);
    snapshot->stream = myco_read_u64(&reader);
    snapshot->position = myco_read_u64(&reader);
    snapshot->covers = myco_read_u64(&reader);
    uint64_t size = myco_read_u64(&reader);
    if (reader.bad || !magic || version != VERSION || size != myco_read_left(&reader)) return false;
    if (snapshot->covers > MYCO__SEQUENCE_MAX) return false;
    if (crc != myco_crc32c(0, (const uint8_t *)bytes.data + 16, bytes.size - 16)) return false;
    snapshot->bytes = myco_read_bytes(&reader, size);
    return true;
}
