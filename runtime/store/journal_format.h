/* The bytes of the journal's files. Little-endian, unaligned, no padding.
 *
 * A segment is a header, then records, then zeros:
 *
 *     0          8         12      16               24                  32    36
 *     | MYCOJRNL | version | nonce | first sequence | previous sequence | crc |
 *
 *     0     4      8          16       24         32     33
 *     | crc | size | sequence | stream | position | kind | bytes, `size` of them |
 *
 * A record's CRC32C begins with the nonce, which is random: what a value of some client looks like
 * can't be taken for a record, nor can a record of another file. It covers all that follows it.
 * Sequences rise by one; only between two segments may there be a gap, and then `previous` in the
 * header of the second names the last one of the first.
 *
 * A watermark is a record without bytes, of stream MYCOMARK: everything up to and including its
 * sequence was durable before the watermark was written. A drop says that the records of its stream
 * before it, and its snapshot, count no more.
 *
 * A snapshot file; the crc covers what follows it:
 *
 *     0          8         12    16       24         32       40     48
 *     | MYCOSNAP | version | crc | stream | position | covers | size | bytes, `size` of them | */
#ifndef MYCO_STORE_JOURNAL_FORMAT_H
#define MYCO_STORE_JOURNAL_FORMAT_H

#include "base/buf.h"

#define MYCO__SEGMENT_HEADER_SIZE    36
#define MYCO__LOG_RECORD_HEADER_SIZE 33
#define MYCO__SNAPSHOT_HEADER_SIZE   48
#define MYCO__LOG_RECORD_SIZE_MAX    (64u * 1024 * 1024) /* of its bytes */
#define MYCO__SEQUENCE_MAX           (UINT64_C(1) << 62) /* a file that says more is not believed */

enum { MYCO__KIND_DROP = 254, MYCO__KIND_WATERMARK = 255 }; /* from 254 on they are ours */

struct myco__segment_header {
    uint64_t first, previous;
    uint32_t nonce;
};

struct myco__log_record {
    uint64_t sequence, stream, position;
    uint8_t kind;
    struct myco_slice bytes; /* lent by what it was read from */
};

struct myco__snapshot {
    uint64_t stream, position, covers;
    struct myco_slice bytes;
};

void myco__segment_header_write(struct myco_buf *buf, const struct myco__segment_header *header);
bool myco__segment_header_read(struct myco_slice bytes, struct myco__segment_header *header);

/* Without its CRC, which depends on the segment that it ends up in. */
void myco__log_record_write(struct myco_buf *buf, const struct myco__log_record *record);
void myco__watermark_write(struct myco_buf *buf, uint64_t sequence);
/* Gives a CRC to each of the whole records in `bytes`. */
void myco__log_records_seal(uint8_t *bytes, size_t size, uint32_t nonce);

enum myco__log_read { MYCO__LOG_READ_OK, MYCO__LOG_READ_END, MYCO__LOG_READ_BAD };
/* Reads the record at `at`; *next is where the one after it begins. BAD: cut short, or damaged. */
enum myco__log_read myco__log_record_read(struct myco_slice segment, size_t at, uint32_t nonce,
    struct myco__log_record *record, size_t *next);
/* The highest sequence that a watermark at `from` or beyond speaks of, whatever lies between; 0:
 * none. */
uint64_t myco__watermark_search(struct myco_slice segment, size_t from, uint32_t nonce);

void myco__snapshot_write(struct myco_buf *buf, const struct myco__snapshot *snapshot);
bool myco__snapshot_read(struct myco_slice bytes, struct myco__snapshot *snapshot);

#endif
