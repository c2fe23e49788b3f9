/* A time zone: how far local time is from UTC at an instant. Reads the bytes of a TZif file (RFC
 * 8536, as below /usr/share/zoneinfo): its transitions, and after the last one the rule of its
 * footer. No I/O. */
#ifndef MYCO_BASE_ZONE_H
#define MYCO_BASE_ZONE_H

#include <stdint.h>

#include "mycorrizal.h"

#define MYCO_ZONE_SIZE_MAX (256 * 1024) /* of a file */

struct myco_zone;
/* Gives a zone (myco_zone_free); NULL: with the reason. Borrows `bytes`. */
struct myco_zone *myco_zone_parse(struct myco_slice bytes, struct myco_err *err);
void myco_zone_free(struct myco_zone *zone);
/* Seconds east of UTC at `unix_s`. zone NULL: UTC, 0. */
int32_t myco_zone_offset(const struct myco_zone *zone, int64_t unix_s);

#endif
