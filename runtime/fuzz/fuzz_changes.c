/* Lists of changes as a node sends them, and their results. The input: u8 how many bytes are the
 * value that is there, the value, then the list. Promises: any bytes are read or refused; what was
 * read is written to the same bytes; every change of any value is computed or refused, and what it
 * logs is within the limit. */
#include "fuzz.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "host/core_change.h"
#include "host/core_many.h"

#define VALUE_SIZE_MAX 300

static void compute(const struct myco_change *change, const struct myco_table_item *item)
{
    struct core_change_world world = {
        .item = item, .now_ms = 1000, .ttl_ms = 50, .value_size_max = VALUE_SIZE_MAX};
    struct core_outcome outcome;
    const char *why;
    if (core_change_check(change, VALUE_SIZE_MAX, &why)) return;
    core_change_compute(change, &world, &outcome);
    MYCO_ASSERT(!outcome.logs || outcome.status == 0);
    MYCO_ASSERT(outcome.value.size <= VALUE_SIZE_MAX);
    MYCO_ASSERT((outcome.status == 0) == (outcome.message[0] == 0));
    myco_buf_free(&outcome.made);
}

static void results(struct myco_slice bytes)
{
    struct myco_reader in = myco_reader(bytes.data, bytes.size);
    struct myco_result result;
    char message[160];
    while (myco_read_left(&in) && core_result_read(&in, &result, message)) {
        struct myco_buf again = {0};
        core_result_write(&result, &again);
        myco_buf_free(&again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    size_t there = size ? bytes[0] : 0;
    if (size < there + 1) return 0;
    struct myco_table_item item = {.value = {bytes + 1, there}, .version = 7, .expires_ms = 2000};
    struct myco_slice list = {bytes + 1 + there, size - 1 - there};
    uint32_t count;
    results(list);
    struct myco_change *changes = core_changes_read(list, 64, &count);
    if (!changes) return 0;
    const struct myco_change *pointers[64];
    struct myco_buf again = {0};
    for (uint32_t i = 0; i < count; i++) {
        pointers[i] = &changes[i];
        compute(&changes[i], there ? &item : NULL);
    }
    core_changes_write(pointers, count, &again);
    MYCO_ASSERT(again.size == list.size && memcmp(again.data, list.data, list.size) == 0);
    myco_buf_free(&again);
    myco_free(changes);
    return 0;
}

/* Sample n: n changes of as many kinds, of a number. */
size_t myco_fuzz_sample(unsigned n, uint8_t *bytes, size_t size)
{
    struct myco_change changes[10];
    const struct myco_change *pointers[10];
    struct myco_buf out = {0};
    if (n >= 10) return 0;
    for (unsigned i = 0; i <= n; i++) {
        changes[i] = (struct myco_change){.kind = (enum myco_change_kind)(MYCO_CHANGE_GET + i),
            .key = myco_str("key"),
            .delta = (int64_t)n - 4,
            .ttl_ms = i,
            .keep_ttl = i & 1};
        pointers[i] = &changes[i];
    }
    myco_buf_u8(&out, 3);
    myco_buf_bytes(&out, n & 1 ? "\xC1M\x7F" : "-17", 3);
    core_changes_write(pointers, n + 1, &out);
    size_t written = out.size <= size ? out.size : 0;
    memcpy(bytes, out.data, written);
    myco_buf_free(&out);
    return written;
}
