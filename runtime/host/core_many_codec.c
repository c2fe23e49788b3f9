/* Lists of changes, and of their results, as bytes. */
#include "base/mem.h"
#include "host/core_change.h"
#include "host/core_many.h"

#define CHANGE_SIZE_MIN (4 + 1 + 2 + 4 * 8 + 4) /* a key of one byte, no value */

void core_changes_write(
    const struct myco_change *const *changes, uint32_t count, struct myco_buf *out)
{
    myco_buf_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        myco_buf_slice(out, changes[i]->key);
        core_change_write(changes[i], out);
    }
}

struct myco_change *core_changes_read(struct myco_slice bytes, uint32_t count_max, uint32_t *count)
{
    struct myco_reader in = myco_reader(bytes.data, bytes.size);
    *count = myco_read_u32(&in);
    if (in.bad || *count == 0 || *count > count_max || *count > bytes.size / CHANGE_SIZE_MIN)
        return NULL;
    struct myco_change *changes = myco_try_alloc(*count * sizeof *changes);
    if (!changes) return NULL;
    for (uint32_t i = 0; i < *count; i++) {
        struct myco_slice key = myco_read_slice(&in);
        if (!core_change_read(&in, &changes[i])) in.bad = true;
        changes[i].key = key;
        if (key.size == 0) in.bad = true;
        if (in.bad) break;
    }
    if (myco_read_done(&in)) return changes;
    myco_free(changes);
    return NULL;
}

void core_result_write(const struct myco_result *result, struct myco_buf *out)
{
    myco_buf_u32(out, (uint32_t)result->status);
    myco_buf_u64(out, result->version);
    myco_buf_u64(out, result->expires_in_ms);
    myco_buf_u64(out, result->count);
    myco_buf_str(out, result->message ? result->message : "");
    myco_buf_slice(out, result->value);
}

bool core_result_read(struct myco_reader *in, struct myco_result *result, char *message)
{
    *result = (struct myco_result){.status = (int)myco_read_u32(in), .message = message};
    result->version = myco_read_u64(in);
    result->expires_in_ms = myco_read_u64(in);
    result->count = myco_read_u64(in);
    myco_read_str(in, message, 160);
    result->value = myco_read_slice(in);
    return !in->bad;
}
