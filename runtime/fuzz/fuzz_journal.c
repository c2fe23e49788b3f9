/* Recovery of a journal from arbitrary files: one or two segments and a snapshot, cut from the
 * input. Whatever they hold, it opens or says ECORRUPT; what opened can be used, and opens again.
 */
#include "fuzz.h"

#include "../test/fake_disk.h"
#include "base/hash.h"
#include "store/journal.h"
#include "store/journal_format.h"

static int on_snapshot(uint64_t stream, uint64_t position, struct myco_slice bytes, void *data)
{
    (void)stream, (void)position;
    *(uint64_t *)data += bytes.size > 0 ? *(const uint8_t *)bytes.data : 0;
    return 0;
}

static int on_record(
    uint64_t stream, uint64_t position, uint8_t kind, struct myco_slice bytes, void *data)
{
    (void)kind;
    return on_snapshot(stream, position, bytes, data);
}

static void on_durable(uint64_t sequence, void *data)
{
    (void)sequence, (void)data;
}

static void on_failed(int status, void *data)
{
    (void)status, (void)data;
}

static void on_wanted(uint64_t stream, void *data)
{
    (void)stream, (void)data;
}

static int open_journal(struct fake *f, struct myco_journal **journal, uint64_t *sum)
{
    struct myco_journal_options options = {.disk = &f->disk, .env = &f->env, .folder = "journal"};
    struct myco_journal_events events = {
        on_snapshot, on_record, on_durable, on_failed, on_wanted, sum};
    struct myco_err err;
    options.segment_size = 1000;
    return myco_journal_open(&options, &events, journal, &err);
}

static void patch_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

/* Makes the checksums right, as far as there are records: what they say is still the input's. */
static void repair(uint8_t *bytes, size_t size)
{
    struct myco__segment_header header = {0};
    if (size < MYCO__SEGMENT_HEADER_SIZE) return;
    patch_u32(bytes + 32, myco_crc32c(0, bytes, 32));
    (void)myco__segment_header_read(myco_bytes(bytes, size), &header);
    for (size_t at = MYCO__SEGMENT_HEADER_SIZE; size - at >= MYCO__LOG_RECORD_HEADER_SIZE;) {
        uint32_t record_size;
        memcpy(&record_size, bytes + at + 4, 4);
        if (record_size > size - at - MYCO__LOG_RECORD_HEADER_SIZE) break;
        myco__log_records_seal(
            bytes + at, MYCO__LOG_RECORD_HEADER_SIZE + record_size, header.nonce);
        at += MYCO__LOG_RECORD_HEADER_SIZE + record_size;
    }
}

/* Under the name that its header asks for, if that is one. */
static void put_segment(struct fake *f, struct myco_slice bytes, bool repaired)
{
    struct myco__segment_header header = {.first = 1};
    char path[64];
    uint8_t *copy = myco_memdup(bytes.data, bytes.size);
    if (repaired) repair(copy, bytes.size);
    (void)myco__segment_header_read(myco_bytes(copy, bytes.size), &header);
    snprintf(path, sizeof(path), "journal/%016llx.log", (unsigned long long)header.first);
    fake_put_file(f, path, myco_bytes(copy, bytes.size));
    myco_free(copy);
}

/* The first four bytes say where the input is cut, and, by their highest bit, not to repair it. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fake f;
    struct myco_journal *journal;
    uint64_t sum = 0, sequence;
    if (size < 4) return 0;
    size_t first = ((size_t)bytes[0] | (size_t)bytes[1] << 8) % (size - 3);
    size_t second = ((size_t)bytes[2] | (size_t)(bytes[3] & 0x7f) << 8) % (size - 3 - first);
    bool repaired = bytes[3] < 0x80;
    fake_init(&f);
    bytes += 4, size -= 4;
    if (first > 0) put_segment(&f, myco_bytes(bytes, first), repaired);
    if (second > 0) put_segment(&f, myco_bytes(bytes + first, second), repaired);
    if (size > first + second) {
        fake_put_file(&f, "journal/0000000000000007.snap",
            myco_bytes(bytes + first + second, size - first - second));
    }
    int status = open_journal(&f, &journal, &sum);
    if (status != 0 && status != MYCO_ECORRUPT) abort();
    if (status == 0) {
        (void)myco_journal_append(journal, 7, sum, 1, myco_str("more"), &sequence);
        fake_run(&f, FAKE_ALL);
        myco_journal_close(journal, NULL, NULL);
        fake_run(&f, FAKE_ALL);
        if (open_journal(&f, &journal, &sum) != 0) abort();
        myco_journal_close(journal, NULL, NULL);
        fake_run(&f, FAKE_ALL);
    }
    fake_free(&f);
    return 0;
}

/* ── Samples ─────────────────────────────────────────────────────────────────────────────────── */

static void write_segment(struct myco_buf *buf, uint64_t first, uint64_t previous, unsigned count)
{
    struct myco__segment_header header = {.first = first, .previous = previous, .nonce = 99};
    struct myco_buf segment = {0};
    myco__segment_header_write(&segment, &header);
    for (unsigned i = 0; i < count; i++) {
        struct myco__log_record record = {
            .sequence = first + i, .stream = 7 + i % 2, .position = i, .kind = 1};
        record.bytes = myco_bytes("some bytes of a record", 5 + i % 10);
        if (i == 3) record.kind = MYCO__KIND_DROP;
        myco__log_record_write(&segment, &record);
        if (i % 2 == 1) myco__watermark_write(&segment, first + i);
    }
    myco__watermark_write(&segment, first + count - 1);
    myco__log_records_seal(
        segment.data + MYCO__SEGMENT_HEADER_SIZE, segment.size - MYCO__SEGMENT_HEADER_SIZE, 99);
    myco_buf_bytes(buf, segment.data, segment.size);
    myco_buf_free(&segment);
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    struct myco_buf buf = {0};
    struct myco__snapshot snapshot = {7, 3, index % 3 == 0 ? 40 : 2, myco_str("state")};
    if (index >= 12) return 0;
    myco_buf_u32(&buf, 0);
    write_segment(&buf, 1, 0, 2 + index);
    size_t first = buf.size - 4;
    if (index % 2 == 1) write_segment(&buf, 3 + index, 2 + index, 4);
    size_t second = buf.size - 4 - first;
    if (index % 4 < 2) myco__snapshot_write(&buf, &snapshot);
    buf.data[0] = (uint8_t)first, buf.data[1] = (uint8_t)(first >> 8);
    buf.data[2] = (uint8_t)second, buf.data[3] = (uint8_t)(second >> 8);
    size_t size = buf.size <= size_max ? buf.size : 0;
    memcpy(bytes, buf.data, size);
    myco_buf_free(&buf);
    return size;
}
