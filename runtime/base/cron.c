/* Cron lines: read, and the next instant found by walking through the minutes of local time. */
#include "base/cron.h"

#include <string.h>

#include "base/err.h"

#define MINUTE_S  60
#define DAY_S     86400
#define YEARS_MAX 9 /* two leap days can be eight years apart */

/* ── reading ── */

static bool number(const char **at, unsigned *value)
{
    const char *from = *at;
    *value = 0;
    while (**at >= '0' && **at <= '9' && *value < 1000)
        *value = *value * 10 + (unsigned)(*(*at)++ - '0');
    return *at > from;
}

/* One item of a list: *, a, a-b, each with /step. */
static bool item(const char **at, unsigned low, unsigned high, uint64_t *bits)
{
    unsigned from = low, to = high, step = 1;
    bool alone = false;
    if (**at == '*') {
        (*at)++;
    } else {
        if (!number(at, &from)) return false;
        alone = **at != '-';
        if (alone)
            to = from;
        else if (++*at, !number(at, &to))
            return false;
    }
    if (**at == '/') {
        ++*at;
        if (!number(at, &step) || step == 0) return false;
        if (alone) to = high;
    }
    if (from < low || to > high || from > to) return false;
    for (unsigned i = from; i <= to; i += step) *bits |= UINT64_C(1) << i;
    return true;
}

static int field(const char **at, const char *name, unsigned low, unsigned high, uint64_t *bits,
    bool *any, struct myco_err *err)
{
    *at += strspn(*at, " \t");
    const char *from = *at;
    size_t size = strcspn(from, " \t");
    *bits = 0;
    *any = size == 1 && *from == '*';
    bool ok = item(at, low, high, bits);
    while (ok && **at == ',') ++*at, ok = item(at, low, high, bits);
    if (ok && *at == from + size) return 0;
    return myco_err(err, MYCO_EINVAL, "cron: the field %s is \"%.*s\": it must be %u to %u, or *",
        name, size > 40 ? 40 : (int)size, from, low, high);
}

static int read_zone(struct myco_cron *cron, const char *at, struct myco_err *err)
{
    static const char chars[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/";
    at += strspn(at, " \t");
    size_t size = strspn(at, chars);
    if (at[size + strspn(at + size, " \t")] != '\0' || size > MYCO_CRON_ZONE_MAX || *at == '/')
        return myco_err(
            err, MYCO_EINVAL, "cron: \"%.60s\" after five fields is no name of a time zone", at);
    memcpy(cron->zone, at, size);
    cron->zone[size] = '\0';
    if (strcmp(cron->zone, "UTC") == 0) cron->zone[0] = '\0';
    return 0;
}

/* The 30th of February: no month of the line has any day of it. */
static bool never(const struct myco_cron *cron)
{
    static const unsigned days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (cron->any_day || !cron->any_weekday) return false;
    for (unsigned month = 1; month <= 12; month++)
        for (unsigned day = 1; day <= days[month - 1]; day++)
            if (cron->months >> month & 1 && cron->days >> day & 1) return false;
    return true;
}

int myco_cron_parse(struct myco_cron *cron, const char *text, struct myco_err *err)
{
    uint64_t hours, days, months, weekdays;
    bool any;
    int rc = 0;
    memset(cron, 0, sizeof *cron);
    if ((rc = field(&text, "minute", 0, 59, &cron->minutes, &any, err)) ||
        (rc = field(&text, "hour", 0, 23, &hours, &cron->any_hour, err)) ||
        (rc = field(&text, "day", 1, 31, &days, &cron->any_day, err)) ||
        (rc = field(&text, "month", 1, 12, &months, &any, err)) ||
        (rc = field(&text, "weekday", 0, 7, &weekdays, &cron->any_weekday, err)))
        return rc;
    cron->hours = (uint32_t)hours;
    cron->days = (uint32_t)days;
    cron->months = (uint32_t)months;
    cron->weekdays = (uint32_t)(weekdays | weekdays >> 7); /* 7 is 0 */
    if (never(cron)) return myco_err(err, MYCO_EINVAL, "cron: no month of the line has such a day");
    return read_zone(cron, text, err);
}

/* ── finding ── */

struct local {
    unsigned minute, hour, day, month, weekday;
};

/* Howard Hinnant's "civil from days". */
static struct local local_of(int64_t local_s)
{
    int64_t days = local_s / DAY_S, of_day = local_s % DAY_S;
    int64_t shifted = days + 719468, era = shifted / 146097, of_era = shifted % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t march = (5 * of_year + 2) / 153;
    (void)era;
    return (struct local){.minute = (unsigned)(of_day / 60 % 60),
        .hour = (unsigned)(of_day / 3600),
        .day = (unsigned)(of_year - (153 * march + 2) / 5 + 1),
        .month = (unsigned)(march < 10 ? march + 3 : march - 9),
        .weekday = (unsigned)((days + 4) % 7)};
}

static bool day_fits(const struct myco_cron *cron, const struct local *local)
{
    bool day = cron->days >> local->day & 1, weekday = cron->weekdays >> local->weekday & 1;
    if (!(cron->months >> local->month & 1)) return false;
    if (cron->any_day || cron->any_weekday) return day && weekday;
    return day || weekday;
}

static bool fits(const struct myco_cron *cron, int64_t local_s)
{
    struct local local = local_of(local_s);
    return day_fits(cron, &local) && cron->hours >> local.hour & 1 &&
           cron->minutes >> local.minute & 1;
}

/* Clocks were put back within the last three hours, and showed this time before. */
static bool came_before(const struct myco_zone *zone, int64_t at_s, int32_t offset)
{
    int32_t earlier = myco_zone_offset(zone, at_s - 3 * 3600);
    return earlier > offset && myco_zone_offset(zone, at_s - (earlier - offset)) == earlier;
}

/* Clocks were put forward to this minute, over one that fits. */
static bool skipped(const struct myco_cron *cron, const struct myco_zone *zone, int64_t at_s)
{
    int64_t from = at_s - MINUTE_S + myco_zone_offset(zone, at_s - MINUTE_S);
    int64_t to = at_s + myco_zone_offset(zone, at_s);
    for (int64_t local_s = from + MINUTE_S; local_s < to; local_s += MINUTE_S)
        if (fits(cron, local_s)) return true;
    return false;
}

static bool fires(const struct myco_cron *cron, const struct myco_zone *zone, int64_t at_s)
{
    int32_t offset = myco_zone_offset(zone, at_s);
    bool now = fits(cron, at_s + offset);
    if (cron->any_hour || zone == NULL) return now;
    return now ? !came_before(zone, at_s, offset) : skipped(cron, zone, at_s);
}

/* Days that do not fit are passed over, but for their last three hours, in which clocks may
 * change. */
static int64_t next_look(const struct myco_cron *cron, const struct myco_zone *zone, int64_t at_s)
{
    int64_t local_s = at_s + myco_zone_offset(zone, at_s);
    struct local local = local_of(local_s);
    int64_t left = DAY_S - local_s % DAY_S;
    if (day_fits(cron, &local) || left <= 4 * 3600) return at_s + MINUTE_S;
    return at_s + (left - 3 * 3600) / MINUTE_S * MINUTE_S;
}

uint64_t myco_cron_next(
    const struct myco_cron *cron, const struct myco_zone *zone, uint64_t after_ms)
{
    int64_t at_s = (int64_t)(after_ms / 60000 + 1) * MINUTE_S;
    int64_t end_s = at_s + (int64_t)YEARS_MAX * 366 * DAY_S;
    while (at_s < end_s) {
        if (fires(cron, zone, at_s)) return (uint64_t)at_s * 1000;
        at_s = next_look(cron, zone, at_s);
    }
    return 0;
}
