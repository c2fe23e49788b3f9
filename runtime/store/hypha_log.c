/* The log of a hypha as it stands in memory: a ring of records, the list of epochs, what is
 * durable.
 *
 * The ring holds every record that is not applied, and as many of those before as members that lag
 * may want. The list of epochs reaches further back than the ring: by it two copies find out where
 * they last agree (see hypha_primary.c), also when the records there are long forgotten. */
#include "store/hypha_internal.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

void myco__hypha_record_free(struct myco__record *record)
{
    if (record == NULL) return;
    MYCO_ASSERT(record->answers == NULL);
    myco_free(record);
}

static size_t record_cost(const struct myco__record *record)
{
    return sizeof(*record) + record->size;
}

struct myco__record *myco__log_at(const struct myco__log *log, size_t index)
{
    MYCO_ASSERT(index < log->count);
    return log->ring[(log->head + index) & (log->ring_size - 1)];
}

void myco__log_free(struct myco__log *log)
{
    for (size_t i = 0; i < log->count; i++) myco__hypha_record_free(myco__log_at(log, i));
    myco_free(log->ring);
    myco_free(log->epochs);
    myco_free(log->marks);
    memset(log, 0, sizeof(*log));
}

static bool ring_reserve(struct myco__log *log)
{
    if (log->count < log->ring_size) return true;
    size_t size = log->ring_size ? log->ring_size * 2 : 16;
    struct myco__record **ring = myco_try_alloc(size * sizeof(*ring));
    if (ring == NULL) return false;
    for (size_t i = 0; i < log->count; i++) ring[i] = myco__log_at(log, i);
    myco_free(log->ring);
    log->ring = ring;
    log->ring_size = size;
    log->head = 0;
    return true;
}

static bool marks_reserve(struct myco__log *log)
{
    if (log->mark_count < log->mark_size) return true;
    size_t size = log->mark_size ? log->mark_size * 2 : 16;
    struct myco__mark *marks = myco_try_alloc(size * sizeof(*marks));
    if (marks == NULL) return false;
    for (size_t i = 0; i < log->mark_count; i++) {
        marks[i] = log->marks[(log->mark_head + i) & (log->mark_size - 1)];
    }
    myco_free(log->marks);
    log->marks = marks;
    log->mark_size = size;
    log->mark_head = 0;
    return true;
}

static bool epochs_reserve(struct myco__log *log)
{
    if (log->epoch_count < log->epoch_capacity) return true;
    if (log->epoch_count == MYCO__EPOCHS_MAX) { /* forgets the oldest quarter */
        size_t drop = MYCO__EPOCHS_MAX / 4;
        log->epoch_count -= drop;
        memmove(log->epochs, log->epochs + drop, log->epoch_count * sizeof(*log->epochs));
        return true;
    }
    size_t capacity = log->epoch_capacity ? log->epoch_capacity * 2 : 4;
    struct myco__epoch *epochs = myco_try_realloc(log->epochs, capacity * sizeof(*epochs));
    if (epochs == NULL) return false;
    log->epochs = epochs;
    log->epoch_capacity = capacity;
    return true;
}

bool myco__log_reserve(struct myco__log *log)
{
    return ring_reserve(log) && marks_reserve(log) && epochs_reserve(log);
}

void myco__log_mark(struct myco__log *log, uint64_t sequence, uint64_t offset)
{
    MYCO_ASSERT(log->mark_count < log->mark_size);
    size_t at = (log->mark_head + log->mark_count++) & (log->mark_size - 1);
    log->marks[at] = (struct myco__mark){sequence, offset};
}

bool myco__log_durable(struct myco__log *log, uint64_t sequence)
{
    uint64_t before = log->durable;
    while (log->mark_count > 0 && log->marks[log->mark_head].sequence <= sequence) {
        log->durable = log->marks[log->mark_head].offset;
        log->mark_head = (log->mark_head + 1) & (log->mark_size - 1);
        log->mark_count--;
    }
    return log->durable > before;
}

/* Epochs and offsets both rise along the list. */
bool myco__log_epoch_add(struct myco__log *log, const struct myco__epoch *epoch)
{
    const struct myco__epoch *end = log->epoch_count ? &log->epochs[log->epoch_count - 1] : NULL;
    if (epoch->epoch == 0 || epoch->first == 0 || epoch->first > epoch->last) return false;
    if (end != NULL && (epoch->epoch <= end->epoch || epoch->first <= end->last)) return false;
    if (!epochs_reserve(log)) return false;
    log->epochs[log->epoch_count++] = *epoch;
    return true;
}

static void epochs_note(struct myco__log *log, const struct myco__record *record)
{
    if (log->epoch_count > 0 && myco__log_last_epoch(log) == record->epoch) {
        log->epochs[log->epoch_count - 1].last = record->offset;
        return;
    }
    struct myco__epoch epoch = {record->epoch, record->offset, record->offset};
    bool added = myco__log_epoch_add(log, &epoch);
    MYCO_ASSERT(added);
}

void myco__log_push(struct myco__log *log, struct myco__record *record, uint64_t sequence)
{
    MYCO_ASSERT(log->count < log->ring_size);
    MYCO_ASSERT(record->offset > log->last);
    log->ring[(log->head + log->count++) & (log->ring_size - 1)] = record;
    log->pending_size += record_cost(record);
    log->last = record->offset;
    if (record->time_ms > log->time_ms) log->time_ms = record->time_ms;
    epochs_note(log, record);
    if (sequence > 0) myco__log_mark(log, sequence, record->offset);
}

size_t myco__log_after(const struct myco__log *log, uint64_t offset)
{
    size_t low = 0, high = log->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (myco__log_at(log, middle)->offset > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct myco__record *myco__log_unapplied(const struct myco__log *log)
{
    return log->applied_count < log->count ? myco__log_at(log, log->applied_count) : NULL;
}

void myco__log_applied(struct myco__log *log)
{
    struct myco__record *record = myco__log_at(log, log->applied_count);
    log->applied_count++;
    log->applied = record->offset;
    log->pending_size -= record_cost(record);
    log->applied_size += record_cost(record);
}

void myco__log_cut(struct myco__log *log, uint64_t offset)
{
    MYCO_ASSERT(offset >= log->applied);
    while (log->count > log->applied_count) {
        struct myco__record *record = myco__log_at(log, log->count - 1);
        if (record->offset <= offset) break;
        log->count--;
        log->pending_size -= record_cost(record);
        myco__hypha_record_free(record);
    }
    while (log->epoch_count > 0 && log->epochs[log->epoch_count - 1].first > offset) {
        log->epoch_count--;
    }
    if (log->epoch_count > 0 && log->epochs[log->epoch_count - 1].last > offset) {
        log->epochs[log->epoch_count - 1].last = offset;
    }
    while (log->mark_count > 0) {
        size_t at = (log->mark_head + log->mark_count - 1) & (log->mark_size - 1);
        if (log->marks[at].offset <= offset) break;
        log->mark_count--;
    }
    if (log->last > offset) log->last = offset;
    if (log->durable > offset) log->durable = offset;
}

/* Forgets applied records, oldest first, until tail_size are left; those above `keep_above`
 * (somebody is about to be sent them) only when there are more than keep_size. */
void myco__log_trim(struct myco__log *log, uint64_t keep_above, size_t tail_size, size_t keep_size)
{
    while (log->applied_count > 0 && log->applied_size > tail_size) {
        struct myco__record *record = myco__log_at(log, 0);
        if (record->offset > keep_above && log->applied_size <= keep_size) return;
        log->base = record->offset;
        log->applied_size -= record_cost(record);
        log->applied_count--;
        log->count--;
        log->head = (log->head + 1) & (log->ring_size - 1);
        myco__hypha_record_free(record);
    }
}

uint64_t myco__log_last_epoch(const struct myco__log *log)
{
    return log->epoch_count ? log->epochs[log->epoch_count - 1].epoch : 0;
}

uint64_t myco__log_epoch_at(const struct myco__log *log, uint64_t offset)
{
    for (size_t i = log->epoch_count; i > 0; i--) {
        const struct myco__epoch *epoch = &log->epochs[i - 1];
        if (epoch->first <= offset) return offset <= epoch->last ? epoch->epoch : 0;
    }
    return 0;
}
