/* What other servers send about the log, and the snapshot file that an install message carries.
 * Whatever is taken must be written back to the same bytes, and must keep what libraft takes for
 * granted. */
#include <string.h>

#include "base/assert.h"
#include "consensus/log_internal.h"
#include "fuzz.h"

static void check_entries(const struct myco__rlog_view *view)
{
    uint64_t term = view->index_term;
    for (size_t i = 0; i < view->entry_count; i++) {
        const struct myco__rlog_entry_view *entry = &view->entries[i];
        struct raft_buffer config = {0};
        MYCO_ASSERT(entry->term >= term && entry->term > 0 && entry->term <= view->term);
        MYCO_ASSERT(entry->type >= RAFT_COMMAND && entry->type <= RAFT_CHANGE);
        term = entry->term;
        if (entry->type != RAFT_CHANGE) continue;
        int status = myco__rlog_config_body_to_raft(entry->body, &config);
        MYCO_ASSERT(status == 0);
        raft_free(config.base);
    }
}

static void check_snapshot(struct myco_slice bytes)
{
    struct myco__rlog_snapshot snapshot;
    struct myco_buf again = {0};
    if (myco__rlog_snapshot_read(bytes, &snapshot) != 0) return;
    MYCO_ASSERT(myco__rlog_config_valid(&snapshot.config));
    myco__rlog_snapshot_write(&again, &snapshot);
    MYCO_ASSERT(again.size == bytes.size && memcmp(again.data, bytes.data, bytes.size) == 0);
    myco_buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct myco__rlog_view view;
    struct myco_buf again = {0};
    check_snapshot(myco_bytes(bytes, size));
    if (myco__rlog_view_read(myco_bytes(bytes, size), &view) != 0) return 0;
    check_entries(&view);
    if (view.type == RAFT_INSTALL_SNAPSHOT) check_snapshot(view.snapshot);
    myco__rlog_view_write(&again, &view);
    MYCO_ASSERT(again.size == size && memcmp(again.data, bytes, size) == 0);
    myco_buf_free(&again);
    myco__rlog_view_free(&view);
    return 0;
}

static void sample_entries(struct myco__rlog_view *view, struct myco__rlog_entry_view entries[2],
    struct myco_buf *config_bytes)
{
    struct myco__rlog_config config = {.count = 2,
        .servers = {{.id = 1, .role = MYCO_ROLE_VOTER}, {.id = 2, .role = MYCO_ROLE_SPARE}}};
    myco__rlog_config_write(config_bytes, &config);
    entries[0] = (struct myco__rlog_entry_view){
        .term = 4, .type = RAFT_CHANGE, .body = myco_buf_as_slice(config_bytes)};
    entries[1] = (struct myco__rlog_entry_view){
        .term = 5, .type = RAFT_COMMAND, .body = myco_str("a command")};
    view->entries = entries;
    view->entry_count = 2;
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    struct myco__rlog_view view = {.type = (uint8_t)(index + 1),
        .term = 5,
        .index = 7,
        .index_term = 3,
        .commit = 6,
        .rejected = 2,
        .granted = true,
        .disrupt = true};
    struct myco__rlog_entry_view entries[2];
    struct myco_buf out = {0}, body = {0};
    if (index >= RAFT_TIMEOUT_NOW) return 0;
    if (view.type == RAFT_APPEND_ENTRIES) sample_entries(&view, entries, &body);
    if (view.type == RAFT_INSTALL_SNAPSHOT) {
        struct myco__rlog_snapshot snapshot = {.index = 9,
            .term = 4,
            .config = {.index = 1, .count = 1, .servers = {{.id = 1, .role = MYCO_ROLE_VOTER}}},
            .state = myco_str("the state")};
        myco__rlog_snapshot_write(&body, &snapshot);
        view.snapshot = myco_buf_as_slice(&body);
    }
    myco__rlog_view_write(&out, &view);
    size_t size = out.size <= size_max ? out.size : 0;
    memcpy(bytes, out.data, size);
    myco_buf_free(&out);
    myco_buf_free(&body);
    return size;
}
