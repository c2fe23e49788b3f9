/* Fences: the highest epoch that a hypha saw of each name (PROTOCOL rule 9).
 *
 * Who holds a leadership or a lock shows its epoch with every write and read; once a newer one was
 * shown, the older is refused, however late its holder learns that it lost. An epoch that is higher
 * than what is known travels in the record of its write (or in a NOOP, for a read, and for a write
 * that its conditions refused), so it is as durable as the data that it protects, and every later
 * primary knows it. A name whose raise is not committed yet is judged by it all the same, and the
 * answer waits for that commit: `newest` and `by` are what this primary logged, `epoch` is what
 * stands.
 *
 * At most MYCO_FENCES_MAX names; they are never forgotten. A name stands for a leadership or a
 * lock, of which a hypha meets few; who needs more is to use one name for many keys. */
#include "store/hypha_internal.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

void myco__fences_free(struct myco__fences *fences)
{
    myco_free(fences->items);
    *fences = (struct myco__fences){0};
}

static int compare(const struct myco__fence *fence, struct myco_slice name)
{
    size_t size = strlen(fence->name), common = size < name.size ? size : name.size;
    int order = memcmp(fence->name, name.data, common);
    return order != 0 ? order : (size > name.size) - (size < name.size);
}

static uint32_t place_of(const struct myco__fences *fences, struct myco_slice name, bool *found)
{
    uint32_t low = 0, high = fences->count;
    *found = false;
    while (low < high && !*found) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(&fences->items[middle], name);
        *found = order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return *found ? high : low;
}

static struct myco__fence *find(const struct myco__fences *fences, struct myco_slice name)
{
    bool found;
    uint32_t at = place_of(fences, name, &found);
    return found ? &fences->items[at] : NULL;
}

/* NULL: no memory. */
static struct myco__fence *make(struct myco__fences *fences, struct myco_slice name)
{
    bool found;
    uint32_t at = place_of(fences, name, &found);
    if (found) return &fences->items[at];
    if (fences->count == fences->capacity) {
        uint32_t capacity = fences->capacity ? fences->capacity * 2 : 4;
        struct myco__fence *items =
            myco_try_realloc(fences->items, capacity * sizeof(*fences->items));
        if (items == NULL) return NULL;
        fences->items = items;
        fences->capacity = capacity;
    }
    MYCO_ASSERT(fences->items != NULL);
    struct myco__fence *fence = &fences->items[at];
    memmove(fence + 1, fence, (fences->count - at) * sizeof(*fence));
    memset(fence, 0, sizeof(*fence));
    memcpy(fence->name, name.data, name.size);
    fences->count++;
    return fence;
}

int myco__fences_raise(struct myco__fences *fences, struct myco_slice name, uint64_t epoch)
{
    struct myco__fence *fence = make(fences, name);
    if (fence == NULL) return MYCO_ENOMEM;
    if (epoch > fence->epoch) fence->epoch = epoch;
    return 0;
}

/* ── At the primary ────────────────────────────────────────────────────────────────────────── */

int myco__fence_judge(struct myco_hypha *hypha, const struct myco_write *write, bool *raises,
    uint64_t *newest, struct myco__record **by)
{
    struct myco__fence *fence = find(&hypha->fences, write->fence);
    *by = NULL;
    *newest = 0;
    if (fence == NULL && hypha->fences.count >= MYCO_FENCES_MAX) return MYCO_ETOOBIG;
    if (fence == NULL) fence = make(&hypha->fences, write->fence);
    if (fence == NULL) return MYCO_ENOMEM;
    *newest = fence->epoch > fence->newest ? fence->epoch : fence->newest;
    *raises = write->fence_epoch > *newest;
    if (write->fence_epoch >= *newest) {
        if (write->fence_epoch == fence->newest) *by = fence->by;
        return 0;
    }
    /* what is committed may suffice to refuse it: then nothing is waited for */
    if (write->fence_epoch < fence->epoch)
        *newest = fence->epoch;
    else
        *by = fence->by;
    return MYCO_EFENCED;
}

void myco__fence_logged(struct myco_hypha *hypha, struct myco__record *record)
{
    struct myco__fence *fence = find(&hypha->fences, record->write.fence);
    MYCO_ASSERT(fence != NULL);
    fence->newest = record->write.fence_epoch;
    fence->by = record;
}

int myco__fence_apply(struct myco_hypha *hypha, struct myco__record *record)
{
    int rc = myco__fences_raise(&hypha->fences, record->write.fence, record->write.fence_epoch);
    if (rc != 0) return rc;
    struct myco__fence *fence = find(&hypha->fences, record->write.fence);
    if (fence->by == record) fence->by = NULL;
    return 0;
}

void myco__fences_forget_pending(struct myco_hypha *hypha)
{
    struct myco__fences *fences = &hypha->fences;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fences->count; i++) {
        fences->items[i].newest = 0;
        fences->items[i].by = NULL;
        if (fences->items[i].epoch > 0) fences->items[kept++] = fences->items[i];
    }
    fences->count = kept;
}

uint64_t myco_hypha_fence(const struct myco_hypha *hypha, struct myco_slice name)
{
    const struct myco__fence *fence = find(&hypha->fences, name);
    return fence != NULL ? fence->epoch : 0;
}
