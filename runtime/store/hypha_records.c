/* Committed records read back from memory: what watches see. */
#include "base/mem.h"
#include "store/hypha_internal.h"

void myco_hypha_position(const struct myco_hypha *hypha, uint64_t *epoch, uint64_t *offset)
{
    *offset = hypha->log.applied;
    *epoch = myco__log_epoch_at(&hypha->log, *offset);
}

int myco_hypha_records(
    const struct myco_hypha *hypha, uint64_t epoch, uint64_t offset, myco_record_cb cb, void *data)
{
    const struct myco__log *log = &hypha->log;
    if (offset < log->base || offset > log->applied) return MYCO_ECOMPACTED;
    if (myco__log_epoch_at(log, offset) != epoch) return MYCO_ECOMPACTED;
    for (size_t i = myco__log_after(log, offset); i < log->applied_count; i++) {
        const struct myco__record *record = myco__log_at(log, i);
        if (!cb(record->epoch, record->offset, record->time_ms, &record->write, data)) break;
    }
    return 0;
}
