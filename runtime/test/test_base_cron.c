/* Catches: a line that fires at another minute than it says; that fires twice, or not at all, on
 * the days on which clocks change; a field, a day or a zone that is no such thing and is taken; a
 * zone's file that is read beyond its end. */
#include "base/cron.h"
#include "base/mem.h"
#include "tap.h"

/* A TZif file of version 2 with no transitions: all is in the rule of its footer. */
static size_t file_of(uint8_t *out, const char *rule)
{
    uint8_t part[44 + 6 + 4] = "TZif2";
    size_t size = 0;
    part[39] = 1; /* one type */
    part[43] = 4; /* four characters */
    memcpy(part + 50, "LMT", 4);
    for (int i = 0; i < 2; i++, size += sizeof part) memcpy(out + size, part, sizeof part);
    return size + (size_t)sprintf((char *)out + size, "\n%s\n", rule);
}

static struct myco_zone *zone_of(const char *rule)
{
    uint8_t bytes[512];
    struct myco_err err = {0};
    size_t size = file_of(bytes, rule);
    return myco_zone_parse(myco_bytes(bytes, size), &err);
}

static uint64_t next(const char *line, const struct myco_zone *zone, uint64_t after_s)
{
    struct myco_cron cron;
    struct myco_err err = {0};
    if (myco_cron_parse(&cron, line, &err)) return 1;
    return myco_cron_next(&cron, zone, after_s * 1000) / 1000;
}

static void test_utc(void)
{
    const uint64_t new_year = 1767225600; /* 2026-01-01 00:00, a Thursday */
    is_int(next("* * * * *", NULL, new_year), new_year + 60, "each minute: the next, not this");
    is_int(next("* * * * *", NULL, new_year + 59), new_year + 60, "from within a minute");
    is_int(next("*/15 * * * *", NULL, new_year + 60), new_year + 900, "steps");
    is_int(next("5,50-52 3 * * *", NULL, new_year + 3 * 3600 + 300), new_year + 3 * 3600 + 50 * 60,
        "lists and ranges");
    is_int(next("0 0 * * 7", NULL, new_year), new_year + 3 * 86400, "7 is Sunday");
    is_int(next("0 0 13 * 5", NULL, new_year), new_year + 86400, "day or weekday: Friday the 2nd");
    is_int(next("0 0 29 2 *", NULL, new_year), 1835395200, "the 29th of February, 2028");
    is_int(
        next("30 4 1 1 *", NULL, new_year + 5 * 3600), new_year + 365 * 86400 + 16200, "a year on");
}

static void test_summer_time(void)
{
    struct myco_zone *zone = zone_of("CET-1CEST,M3.5.0,M10.5.0/3");
    if (!ok(zone != NULL, "a zone by its rule")) return;
    is_int(myco_zone_offset(zone, 1774745999), 3600, "winter, to the last second");
    is_int(myco_zone_offset(zone, 1774746000), 7200, "summer from 29 March 2026, 01:00 UTC");
    is_int(myco_zone_offset(zone, 1792889999), 7200, "summer, to the last second");
    is_int(myco_zone_offset(zone, 1792890000), 3600, "winter from 25 October, 01:00 UTC");
    is_int(next("30 2 * * *", zone, 1774699200), 1774746000, "02:30 is skipped: fires at 03:00");
    is_int(next("30 2 * * *", zone, 1774746000), 1774830600, "and the next day at 02:30");
    is_int(next("30 2 * * *", zone, 1792843200), 1792888200, "02:30 comes twice: the first");
    is_int(next("30 2 * * *", zone, 1792888200), 1792978200, "not the second: the next day");
    is_int(next("*/30 * * * *", zone, 1792888200), 1792890000, "hour *: each half hour goes on");
    is_int(next("30 * * * *", zone, 1792888200), 1792891800, "also in the hour that comes twice");
    is_int(next("0 12 * * *", zone, 1774699200), 1774778400, "12:00 is 10:00 UTC in summer");
    myco_zone_free(zone);
    zone = zone_of("AEST-10AEDT,M10.1.0,M4.1.0/3");
    if (ok(zone != NULL, "a zone of the south"))
        is_int(myco_zone_offset(zone, 1767225600), 11 * 3600, "summer in January");
    myco_zone_free(zone);
    zone = zone_of("<+0530>-5:30");
    if (ok(zone != NULL, "one without a summer"))
        is_int(myco_zone_offset(zone, 1767225600), 19800, "and half an hour");
    myco_zone_free(zone);
}

static void test_refused(void)
{
    static const char *const lines[] = {"", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *",
        "* * 32 * *", "* * * 13 *", "* * * * 8", "5-3 * * * *", "*/0 * * * *", "1, * * * *",
        "a * * * *", "* * * * * ../../etc/passwd", "* * * * * /etc", "* * * * * A B", "0 0 30 2 *",
        "0 0 31 4,6 *", "99999999999 * * * *"};
    struct myco_cron cron;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct myco_err err = {0};
        is_int(myco_cron_parse(&cron, lines[i], &err), MYCO_EINVAL, "refused: \"%s\"", lines[i]);
    }
    struct myco_err err = {0};
    is_int(myco_cron_parse(&cron, "0 3 * * 1-5 Europe/Berlin", &err), 0, "with a zone");
    is_str(cron.zone, "Europe/Berlin", "which is kept");
    is_int(myco_cron_parse(&cron, "0 3 * * 1-5 UTC", &err), 0, "UTC");
    is_str(cron.zone, "", "is none");
}

static void test_damaged_files(void)
{
    uint8_t bytes[512];
    size_t size = file_of(bytes, "CET-1CEST,M3.5.0,M10.5.0/3"), taken = 0;
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = myco_memdup(bytes, cut + 1); /* so that a sanitizer sees its end */
        struct myco_zone *zone = myco_zone_parse(myco_bytes(exact, cut), NULL);
        taken += zone != NULL;
        myco_zone_free(zone);
        myco_free(exact);
    }
    is_int((long long)taken, 0, "no part of a file is taken for one");
    ok(zone_of("CET-1CEST,M13.5.0,M10.5.0/3") == NULL, "a rule with month 13");
    ok(zone_of("C-1") == NULL, "a name of one letter");
}

int main(void)
{
    test_utc();
    test_summer_time();
    test_refused();
    test_damaged_files();
    return plan_done();
}
