/* The state of a hypha as bytes: for the journal's snapshots, for a member's copy, for the object
 * store.
 *
 *     u8 format │ u64 applied │ u64 time_ms │ u64 items │ u32 tail │ u16 epochs
 *     epochs × (u64 epoch │ u64 first │ u64 last)           oldest first, up to what is applied
 *     fences × (u64 epoch │ slice name)                     after a u32 with their number; only in
 *                                                           format 2, written when there are any
 *     items  × (u64 version │ u64 expires_ms │ slice key │ slice value)
 *     tail   × slice record                                 what is not applied; none in a member's
 * copy
 *
 * Read by feeding it in parts of any size, into a table aside. What was fed so far can be written
 * again as a prefix of such a state: so a snapshot may be taken in the middle of a copy, and the
 * pieces that the journal gets afterwards still continue it. */
#include "store/hypha_internal.h"

#include <string.h>

#include "base/mem.h"

enum { FORMAT_PLAIN = 1, FORMAT_FENCED = 2 };

#define HEAD_SIZE  (1u + 8 + 8 + 8 + 4 + 2)
#define EPOCH_SIZE 24u
#define ITEM_FIXED (8u + 8 + 4 + 4)

/* ── Writing ───────────────────────────────────────────────────────────────────────────────── */

static bool write_item(const struct myco_table_item *item, void *data)
{
    struct myco_buf *out = data;
    myco_buf_u64(out, item->version);
    myco_buf_u64(out, item->expires_ms);
    myco_buf_slice(out, item->key);
    myco_buf_slice(out, item->value);
    return !out->failed;
}

static void write_epochs(const struct myco__log *log, struct myco_buf *out)
{
    size_t count = 0;
    while (count < log->epoch_count && log->epochs[count].first <= log->applied) count++;
    myco_buf_u16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct myco__epoch *epoch = &log->epochs[i];
        myco_buf_u64(out, epoch->epoch);
        myco_buf_u64(out, epoch->first);
        myco_buf_u64(out, epoch->last < log->applied ? epoch->last : log->applied);
    }
}

static void write_fences(const struct myco__fences *fences, uint32_t total, struct myco_buf *out)
{
    if (total == 0) return;
    myco_buf_u32(out, total);
    for (uint32_t i = 0; i < fences->count; i++) {
        const struct myco__fence *fence = &fences->items[i];
        if (fence->epoch == 0) continue;
        myco_buf_u64(out, fence->epoch);
        myco_buf_str(out, fence->name);
    }
}

/* Those that are committed. */
static uint32_t count_fences(const struct myco__fences *fences)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < fences->count; i++) count += fences->items[i].epoch != 0;
    return count;
}

static void write_head(const struct myco__log *log, uint64_t items, uint32_t tail, uint32_t fences,
    struct myco_buf *out)
{
    myco_buf_u8(out, fences ? FORMAT_FENCED : FORMAT_PLAIN);
    myco_buf_u64(out, log->applied);
    myco_buf_u64(out, log->time_ms);
    myco_buf_u64(out, items);
    myco_buf_u32(out, tail);
    write_epochs(log, out);
}

void myco__state_write(const struct myco_hypha *hypha, bool tail, struct myco_buf *out)
{
    const struct myco__log *log = &hypha->log;
    size_t items = myco_table_count(hypha->table);
    uint32_t count = tail ? (uint32_t)(log->count - log->applied_count) : 0;
    size_t body = myco_table_bytes(hypha->table) + items * ITEM_FIXED;
    myco_buf_reserve(out, HEAD_SIZE + log->epoch_count * EPOCH_SIZE + body);
    uint32_t fences = count_fences(&hypha->fences);
    write_head(log, items, count, fences, out);
    write_fences(&hypha->fences, fences, out);
    myco_table_each(hypha->table, write_item, out);
    for (uint32_t i = 0; i < count; i++) {
        const struct myco__record *record = myco__log_at(log, log->applied_count + i);
        myco_buf_slice(out, myco_bytes(record->bytes, record->size));
    }
}

void myco__staging_write(const struct myco__staging *staging, struct myco_buf *out)
{
    if (staging->headed) {
        write_head(&staging->log, staging->items, 0, staging->fences_total, out);
        write_fences(&staging->fences, staging->fences_total, out);
        myco_table_each(staging->table, write_item, out);
    }
    myco_buf_bytes(out, staging->rest.data, staging->rest.size);
}

/* ── Reading ───────────────────────────────────────────────────────────────────────────────── */

struct myco__staging *myco__staging_new(struct myco_hypha *hypha)
{
    struct myco__staging *staging = myco_alloc(sizeof(*staging));
    staging->table = myco_table_new(hypha->options.domain);
    return staging;
}

void myco__staging_free(struct myco__staging *staging)
{
    if (staging == NULL) return;
    if (staging->table != NULL) myco_table_free(staging->table);
    myco__log_free(&staging->log);
    myco__fences_free(&staging->fences);
    myco_buf_free(&staging->rest);
    myco_free(staging);
}

/* Each reader below returns 0 and moves on, or stays where it was: MORE when bytes are missing. */
enum { MORE = 1 };

static int read_epoch(struct myco__log *log, struct myco_reader *reader)
{
    struct myco__epoch epoch = {0};
    epoch.epoch = myco_read_u64(reader);
    epoch.first = myco_read_u64(reader);
    epoch.last = myco_read_u64(reader);
    if (epoch.last > log->applied) return MYCO_EPROTO;
    if (!myco__log_reserve(log)) return MYCO_ENOMEM;
    return myco__log_epoch_add(log, &epoch) ? 0 : MYCO_EPROTO;
}

static int read_head(struct myco__staging *staging, struct myco_reader *at)
{
    struct myco_reader reader = *at;
    struct myco__log *log = &staging->log;
    if (myco_read_left(&reader) < HEAD_SIZE) return MORE;
    uint8_t format = myco_read_u8(&reader);
    log->applied = myco_read_u64(&reader);
    log->time_ms = myco_read_u64(&reader);
    staging->items = staging->items_left = myco_read_u64(&reader);
    staging->tail_left = myco_read_u32(&reader);
    uint16_t epochs = myco_read_u16(&reader);
    bool fenced = format == FORMAT_FENCED;
    if (!fenced && format != FORMAT_PLAIN) return MYCO_EPROTO;
    if (epochs > MYCO__EPOCHS_MAX || log->applied > MYCO__OFFSET_MAX) return MYCO_EPROTO;
    if (myco_read_left(&reader) < epochs * (size_t)EPOCH_SIZE + (fenced ? 4 : 0)) return MORE;
    for (uint16_t i = 0; i < epochs; i++) {
        int rc = read_epoch(log, &reader);
        if (rc != 0) return rc;
    }
    if (fenced) {
        staging->fences_total = myco_read_u32(&reader);
        uint32_t total = staging->fences_total;
        if (total == 0 || total > 2 * MYCO_FENCES_MAX) return MYCO_EPROTO;
    }
    log->base = log->commit = log->last = log->applied;
    staging->headed = true;
    *at = reader;
    return 0;
}

static int read_sized(struct myco_reader *reader, size_t size_max, struct myco_slice *slice)
{
    struct myco_reader ahead = *reader;
    if (myco_read_left(reader) < 4) return MORE;
    uint32_t size = myco_read_u32(&ahead);
    if (size > size_max) return MYCO_EPROTO;
    if (myco_read_left(&ahead) < size) return MORE;
    *slice = myco_read_slice(reader);
    return 0;
}

static int read_fence(struct myco__staging *staging, struct myco_reader *at)
{
    struct myco_reader reader = *at;
    struct myco_slice name;
    if (myco_read_left(&reader) < 8) return MORE;
    uint64_t epoch = myco_read_u64(&reader);
    int rc = read_sized(&reader, MYCO_FENCE_NAME_MAX, &name);
    if (rc != 0) return rc;
    uint32_t before = staging->fences.count;
    if (epoch == 0 || name.size == 0 || memchr(name.data, 0, name.size)) return MYCO_EPROTO;
    rc = myco__fences_raise(&staging->fences, name, epoch);
    if (rc != 0) return rc;
    if (staging->fences.count == before) return MYCO_EPROTO; /* twice */
    *at = reader;
    return 0;
}

static int read_item(struct myco__staging *staging, struct myco_reader *at)
{
    struct myco_reader reader = *at;
    struct myco_slice key, value;
    if (myco_read_left(&reader) < ITEM_FIXED) return MORE;
    uint64_t version = myco_read_u64(&reader), expires_ms = myco_read_u64(&reader);
    int rc = read_sized(&reader, MYCO_KEY_SIZE_MAX, &key);
    if (rc == 0) rc = read_sized(&reader, MYCO_VALUE_SIZE_MAX, &value);
    if (rc != 0) return rc;
    if (key.size == 0 || version == 0 || version > staging->log.applied) return MYCO_EPROTO;
    bool had = false;
    rc = myco_table_put(staging->table, key, value, version, expires_ms, &had);
    if (rc != 0) return rc;
    if (had) return MYCO_EPROTO;
    staging->items_left--;
    *at = reader;
    return 0;
}

static int read_tail(struct myco__staging *staging, struct myco_reader *at)
{
    struct myco_reader reader = *at;
    struct myco_slice bytes;
    size_t size_max = 64 + MYCO_KEY_SIZE_MAX + MYCO_VALUE_SIZE_MAX + 16 + MYCO_FENCE_NAME_MAX;
    int rc = read_sized(&reader, size_max, &bytes);
    if (rc != 0) return rc;
    struct myco__record *record;
    rc = myco__hypha_record_read(bytes, &record);
    if (rc != 0) return rc;
    if (!myco__hypha_record_follows(&staging->log, record))
        rc = MYCO_EPROTO;
    else if (!myco__log_reserve(&staging->log))
        rc = MYCO_ENOMEM;
    if (rc != 0) {
        myco__hypha_record_free(record);
        return rc;
    }
    myco__log_push(&staging->log, record, 0);
    staging->tail_left--;
    *at = reader;
    return 0;
}

static int read_all(struct myco__staging *staging, struct myco_reader *reader, bool *whole)
{
    int rc = staging->headed ? 0 : read_head(staging, reader);
    while (rc == 0 && staging->fences.count < staging->fences_total)
        rc = read_fence(staging, reader);
    while (rc == 0 && staging->items_left > 0) rc = read_item(staging, reader);
    while (rc == 0 && staging->tail_left > 0) rc = read_tail(staging, reader);
    *whole = rc == 0;
    return rc;
}

/* Reads from `bytes` alone as long as nothing is left over from before; else through `rest`, which
 * never holds more than one item and one feed. */
int myco__staging_feed(struct myco__staging *staging, struct myco_slice bytes, bool *whole)
{
    struct myco_buf *rest = &staging->rest;
    bool direct = rest->size == 0;
    if (!direct) {
        myco_buf_bytes(rest, bytes.data, bytes.size);
        if (rest->failed) return MYCO_ENOMEM;
        bytes = myco_buf_as_slice(rest);
    }
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    staging->taken += bytes.size;
    int rc = read_all(staging, &reader, whole);
    if (rc != 0 && rc != MORE) return rc;
    size_t left = myco_read_left(&reader);
    if (*whole) {
        myco_buf_free(rest);
        return left == 0 ? 0 : MYCO_EPROTO;
    }
    if (direct)
        myco_buf_bytes(rest, reader.at, left);
    else
        myco_buf_drop_front(rest, bytes.size - left);
    return rest->failed ? MYCO_ENOMEM : 0;
}

void myco__staging_install(struct myco_hypha *hypha, struct myco__staging *staging)
{
    struct myco_table *former = hypha->table;
    uint64_t time_ms = hypha->log.time_ms;
    __atomic_store_n(&hypha->table, staging->table, __ATOMIC_RELEASE);
    staging->table = NULL;
    myco_table_free(former);
    myco__log_free(&hypha->log);
    hypha->log = staging->log;
    memset(&staging->log, 0, sizeof(staging->log));
    myco__fences_free(&hypha->fences);
    hypha->fences = staging->fences;
    staging->fences = (struct myco__fences){0};
    if (hypha->log.time_ms < time_ms) hypha->log.time_ms = time_ms;
    myco__staging_free(staging);
}
