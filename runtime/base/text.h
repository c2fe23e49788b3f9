/* What people write in options: durations ("200ms", "5s", "30d"), sizes ("64KiB"), numbers,
 * booleans. */
#ifndef MYCO_BASE_TEXT_H
#define MYCO_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mycorrizal.h"

/* A bare number is seconds. Units: ms s m h d w. "1.5s" is 1,500 ms; what is no whole ms is
 * refused. */
int myco_text_duration(const char *text, uint64_t *ms, struct myco_err *err);
/* A bare number is bytes. Units: B KiB MiB GiB, KB MB GB (powers of 1,000), k m g
 * (short for KiB MiB GiB); upper or lower case. */
int myco_text_size(const char *text, uint64_t *bytes, struct myco_err *err);
int myco_text_u64(const char *text, uint64_t *value, struct myco_err *err);
/* Knows true, false, yes, no, on, off, 1 and 0. */
int myco_text_bool(const char *text, bool *value, struct myco_err *err);
/* Copies at most size-1 bytes and terminates; false when it had to cut. */
bool myco_text_copy(char *to, size_t size, const char *from);

#endif
