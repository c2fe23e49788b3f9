/* Time zones out of TZif bytes.
 *
 *   "TZif" version 15×0 | counts: isut isstd leap time type char (u32, big-endian each)
 *   time × i32 (i64 in the second part) | time × u8 type | type × (i32 offset, u8 dst, u8 name)
 *   names | leaps | isstd | isut            and from version 2 on all of it again, with 64 bits
 *   "\n" rule "\n"                          for what comes after the last transition
 *
 * The rule: CET-1CEST,M3.5.0,M10.5.0/3 is an hour east of UTC, and two from the last (5) Sunday (0)
 * of March at 02:00 to the last Sunday of October at 03:00. */
#include "base/zone.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define TIMES_MAX 4096
#define HEAD_SIZE 44
#define DAY_S     86400

struct edge {  /* when summer begins or ends, by the local time before it */
    char form; /* M: month.week.weekday, J: day 1–365 without 29 February, N: day 0–365 */
    int month, week, day;
    int32_t time_s;
};

struct myco_zone {
    uint32_t count;
    int64_t *at;
    int32_t *offset; /* from at[i] on */
    int32_t before;  /* before the first */
    bool ruled, dst; /* a rule follows the last transition; it knows a summer */
    int32_t standard, summer;
    struct edge begin, end;
};

void myco_zone_free(struct myco_zone *zone)
{
    if (zone == NULL) return;
    myco_free(zone->at);
    myco_free(zone->offset);
    myco_free(zone);
}

/* ── the rule ── */

static bool read_number(const char **at, int max, int *number)
{
    const char *from = *at;
    *number = 0;
    while (**at >= '0' && **at <= '9' && *number <= max) *number = *number * 10 + (*(*at)++ - '0');
    return *at > from && *number <= max;
}

static bool read_name(const char **at)
{
    const char *from = *at;
    if (*from == '<') {
        *at += strcspn(from, ">");
        if (**at != '>') return false;
        (*at)++;
        return true;
    }
    while ((**at >= 'A' && **at <= 'Z') || (**at >= 'a' && **at <= 'z')) (*at)++;
    return *at >= from + 3;
}

/* [+-]h[:m[:s]] in seconds. */
static bool read_time(const char **at, int32_t *seconds)
{
    int sign = **at == '-' ? -1 : 1, part[3] = {0};
    if (**at == '-' || **at == '+') (*at)++;
    for (int i = 0; i < 3; i++) {
        if (i > 0 && **at != ':') break;
        if (i > 0) (*at)++;
        if (!read_number(at, i ? 59 : 167, &part[i])) return false;
    }
    *seconds = sign * (part[0] * 3600 + part[1] * 60 + part[2]);
    return true;
}

static bool read_edge(const char **at, struct edge *edge)
{
    *edge = (struct edge){.form = 'N', .time_s = 7200};
    if (**at == 'M') {
        edge->form = *(*at)++;
        if (!read_number(at, 12, &edge->month) || *(*at)++ != '.' ||
            !read_number(at, 5, &edge->week) || *(*at)++ != '.' ||
            !read_number(at, 6, &edge->day) || edge->month < 1 || edge->week < 1)
            return false;
    } else {
        if (**at == 'J') edge->form = *(*at)++;
        if (!read_number(at, 365, &edge->day)) return false;
    }
    if (**at != '/') return true;
    (*at)++;
    return read_time(at, &edge->time_s);
}

static bool read_rule(struct myco_zone *zone, const char *at)
{
    if (!read_name(&at) || !read_time(&at, &zone->standard)) return false;
    zone->standard = -zone->standard; /* the rule counts west */
    zone->ruled = true;
    if (*at == '\0') return true;
    zone->dst = true;
    zone->summer = zone->standard + 3600;
    if (!read_name(&at)) return false;
    if (*at != ',') {
        if (!read_time(&at, &zone->summer)) return false;
        zone->summer = -zone->summer;
    }
    return *at++ == ',' && read_edge(&at, &zone->begin) && *at++ == ',' &&
           read_edge(&at, &zone->end) && *at == '\0';
}

/* ── days ── Howard Hinnant's "days from civil": March is the first month of a year */

static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t year_of(int64_t unix_s)
{
    int64_t year = 1970 + unix_s / 31556952;
    while (days_of(year, 1, 1) * DAY_S > unix_s) year--;
    while (days_of(year + 1, 1, 1) * DAY_S <= unix_s) year++;
    return year;
}

/* As if local time were UTC. */
static int64_t edge_in(const struct edge *edge, int64_t year)
{
    int64_t first = days_of(year, 1, 1), day = first + edge->day;
    bool leap = days_of(year + 1, 1, 1) - first == 366;
    if (edge->form == 'J') {
        day = first + edge->day - 1 + (leap && edge->day >= 60);
    } else if (edge->form == 'M') {
        int64_t next =
            edge->month == 12 ? days_of(year + 1, 1, 1) : days_of(year, edge->month + 1, 1);
        first = days_of(year, edge->month, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7); /* 1 January 1970 was a Thursday */
        day = first + (edge->day - weekday + 7) % 7 + (edge->week - 1) * 7;
        while (day >= next) day -= 7;
    }
    return day * DAY_S + edge->time_s;
}

static int32_t by_rule(const struct myco_zone *zone, int64_t unix_s)
{
    if (!zone->dst) return zone->standard;
    int64_t year = year_of(unix_s + zone->standard);
    int64_t begin = edge_in(&zone->begin, year) - zone->standard;
    int64_t end = edge_in(&zone->end, year) - zone->summer;
    bool summer = begin < end ? unix_s >= begin && unix_s < end : unix_s >= begin || unix_s < end;
    return summer ? zone->summer : zone->standard;
}

int32_t myco_zone_offset(const struct myco_zone *zone, int64_t unix_s)
{
    if (zone == NULL) return 0;
    if (zone->count == 0) return zone->ruled ? by_rule(zone, unix_s) : zone->before;
    if (unix_s < zone->at[0]) return zone->before;
    if (zone->ruled && unix_s >= zone->at[zone->count - 1]) return by_rule(zone, unix_s);
    uint32_t low = 0, high = zone->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (zone->at[middle] <= unix_s)
            low = middle;
        else
            high = middle;
    }
    return zone->offset[low];
}

/* ── the file ── */

static uint64_t big_endian(const uint8_t *at, int size)
{
    uint64_t number = 0;
    for (int i = 0; i < size; i++) number = number << 8 | at[i];
    return number;
}

struct part {
    const uint8_t *at, *end;
    uint32_t isut, isstd, leaps, times, types, chars;
};

static bool read_head(struct part *part)
{
    if (part->end - part->at < HEAD_SIZE || memcmp(part->at, "TZif", 4) != 0) return false;
    uint32_t *counts[] = {
        &part->isut, &part->isstd, &part->leaps, &part->times, &part->types, &part->chars};
    for (int i = 0; i < 6; i++) *counts[i] = (uint32_t)big_endian(part->at + 20 + 4 * i, 4);
    part->at += HEAD_SIZE;
    return part->times <= TIMES_MAX && part->types >= 1 && part->types <= 256 &&
           part->chars <= 4096 && part->leaps <= 4096 && part->isut <= 256 && part->isstd <= 256;
}

static size_t body_size(const struct part *part, size_t time_size)
{
    return part->times * (time_size + 1) + part->types * 6 + part->chars +
           part->leaps * (time_size + 4) + part->isstd + part->isut;
}

static bool read_body(struct myco_zone *zone, const struct part *part)
{
    const uint8_t *kinds = part->at + part->times * (size_t)8, *types = kinds + part->times;
    zone->at = myco_alloc((part->times + 1) * sizeof(*zone->at));
    zone->offset = myco_alloc((part->times + 1) * sizeof(*zone->offset));
    zone->before = (int32_t)big_endian(types, 4);
    for (uint32_t i = 0; i < part->times; i++) {
        zone->at[i] = (int64_t)big_endian(part->at + 8 * (size_t)i, 8);
        if (kinds[i] >= part->types || (i > 0 && zone->at[i] <= zone->at[i - 1])) return false;
        zone->offset[i] = (int32_t)big_endian(types + 6 * (size_t)kinds[i], 4);
        if (zone->offset[i] < -DAY_S || zone->offset[i] > DAY_S) return false;
    }
    zone->count = part->times;
    return zone->before >= -DAY_S && zone->before <= DAY_S;
}

static bool read_footer(struct myco_zone *zone, const uint8_t *at, const uint8_t *end)
{
    char rule[128];
    size_t size = 0;
    if (at == end || *at++ != '\n') return false;
    while (at + size < end && at[size] != '\n') size++;
    if (at + size == end || size >= sizeof(rule) || memchr(at, 0, size) != NULL) return false;
    memcpy(rule, at, size);
    rule[size] = '\0';
    return size == 0 || read_rule(zone, rule);
}

struct myco_zone *myco_zone_parse(struct myco_slice bytes, struct myco_err *err)
{
    const uint8_t *data = bytes.data;
    struct part part = {.at = data, .end = data + bytes.size};
    struct myco_zone *zone = myco_alloc(sizeof(*zone));
    bool ok = bytes.size <= MYCO_ZONE_SIZE_MAX && read_head(&part) && data[4] >= '2' &&
              (size_t)(part.end - part.at) >= body_size(&part, 4);
    if (ok) {
        part.at += body_size(&part, 4);
        ok = read_head(&part) && (size_t)(part.end - part.at) >= body_size(&part, 8) &&
             read_body(zone, &part) && read_footer(zone, part.at + body_size(&part, 8), part.end);
    }
    if (ok) return zone;
    myco_zone_free(zone);
    myco_err(err, MYCO_EINVAL, "not a time zone in the TZif format, version 2 or later");
    return NULL;
}
