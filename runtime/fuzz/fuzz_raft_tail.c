/* What nodes say about a tailed log. Whatever is taken must be written back to the same bytes, and
 * must keep what raft_tail.c takes for granted: bounds, terms that do not fall, possible
 * configurations. */
#include <string.h>

#include "base/assert.h"
#include "consensus/log_internal.h"
#include "fuzz.h"

static void check_entries(const struct myco__tail_view *view)
{
    uint64_t term = view->index_term;
    MYCO_ASSERT(view->entry_count <= MYCO__TAIL_ENTRIES_MAX);
    for (size_t i = 0; i < view->entry_count; i++) {
        const struct myco__rlog_entry_view *entry = &view->entries[i];
        struct myco__rlog_config config;
        MYCO_ASSERT(entry->term >= term && entry->term > 0);
        term = entry->term;
        if (entry->type == RAFT_CHANGE)
            MYCO_ASSERT(myco__rlog_config_read(entry->body, &config) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct myco__tail_view view;
    struct myco_buf again = {0};
    if (myco__tail_view_read(myco_bytes(bytes, size), &view) != 0) return 0;
    check_entries(&view);
    MYCO_ASSERT(view.hint_count <= MYCO__TAIL_HINTS_MAX);
    if (view.kind == MYCO__TAIL_SNAPSHOT)
        MYCO_ASSERT(view.piece.size > 0 && view.offset + view.piece.size <= view.size);
    myco__tail_view_write(&again, &view);
    MYCO_ASSERT(again.size == size && memcmp(again.data, bytes, size) == 0);
    myco_buf_free(&again);
    myco__tail_view_free(&view);
    return 0;
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    struct myco__rlog_entry_view entries[2] = {
        {.term = 4, .type = RAFT_BARRIER, .body = myco_str("12345678")},
        {.term = 5, .type = RAFT_COMMAND, .body = myco_str("a command")}};
    struct myco__tail_view view = {.kind = (uint8_t)(index + 1),
        .index = 7,
        .index_term = 3,
        .term = 5,
        .leader = 1,
        .applied = 9,
        .distance = 2,
        .age_ms = 40,
        .entries = entries,
        .entry_count = 2,
        .size = 20,
        .offset = 10,
        .piece = myco_str("the pieces"),
        .hints = {1, 2},
        .hint_count = 2};
    struct myco_buf out = {0};
    if (index >= MYCO__TAIL_STOP) return 0;
    myco__tail_view_write(&out, &view);
    size_t size = out.size <= size_max ? out.size : 0;
    memcpy(bytes, out.data, size);
    myco_buf_free(&out);
    return size;
}
