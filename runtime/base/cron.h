/* Cron: at which instants a line of five fields fires, in a time zone. Pure: no clock, no I/O.
 *
 *     minute hour day month weekday [zone]        30 3 * * 1-5 Europe/Berlin
 *
 * A field is *, a number, a range a-b, any of these with /step, or a list of them by commas.
 * Weekdays are 0 to 7, Sunday is both. When day and weekday are both given, either will do.
 *
 * Where clocks change: a line whose hour is given fires once a day all the same: a time that is
 * skipped in spring fires at the first minute after the gap, one that comes twice in autumn the
 * first time only. A line with hour * follows the minutes as they pass. */
#ifndef MYCO_BASE_CRON_H
#define MYCO_BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/zone.h"

#define MYCO_CRON_ZONE_MAX 63

struct myco_cron {
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; /* a bit for each */
    bool any_hour, any_day, any_weekday;
    char zone[MYCO_CRON_ZONE_MAX + 1]; /* as written: letters, digits, _ + - and /; "": UTC */
};

/* EINVAL: says which field is wrong, and why; also for a day that never comes. */
int myco_cron_parse(struct myco_cron *cron, const char *text, struct myco_err *err);
/* The first instant after `after_ms` (Unix time), a whole minute. zone NULL: UTC. 0: none within
 * nine years. */
uint64_t myco_cron_next(
    const struct myco_cron *cron, const struct myco_zone *zone, uint64_t after_ms);

#endif
