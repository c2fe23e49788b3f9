/* Many changes at once: each for itself, those of one primary in one request. */
#ifndef MYCO_HOST_CORE_MANY_H
#define MYCO_HOST_CORE_MANY_H

#include "host/core.h"

#define MYCO_MANY_MAX      65536u              /* changes of one call */
#define MYCO_MANY_SIZE_MAX (64u * 1024 * 1024) /* their keys and values */

/* Changes as bytes: u32 count, then of each: slice key, change (core_change.h). */
void core_changes_write(
    const struct myco_change *const *changes, uint32_t count, struct myco_buf *out);
/* Lent; the array is given: myco_free(). NULL: malformed, none, or more than count_max. */
struct myco_change *core_changes_read(struct myco_slice bytes, uint32_t count_max, uint32_t *count);

/* Their results as bytes, of each: u32 status, u64 version, u64 expires_in_ms, u64 count, str
 * message, slice value. */
void core_result_write(const struct myco_result *result, struct myco_buf *out);
/* `message` has room for 160 bytes; the value is lent. */
bool core_result_read(struct myco_reader *in, struct myco_result *result, char *message);

#endif
