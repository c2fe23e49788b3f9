/* Catches: an error without a name or sentence, a sentence that overflows, an errno that is
 * mistaken for another; faults and metrics that miscount. */
#include "base/err.h"

#include <errno.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/metric.h"
#include "tap.h"

static void test_err(void)
{
    struct myco_err err;
    is_int(myco_err(&err, MYCO_EIO, "read %s", "x"), MYCO_EIO, "myco_err returns its code");
    is_int(myco_err_wrap(&err, "load hypha %d", 7), MYCO_EIO, "and so does wrap");
    is_str(err.message, "load hypha 7: read x", "wrap puts its words first");
    is_int(myco_err_sys(&err, ENOENT, "open"), MYCO_ENOTFOUND, "ENOENT is ENOTFOUND");
    is_str(err.message, "open: No such file or directory", "with the system's sentence");
    is_int(myco_err(NULL, MYCO_EFULL, "x"), MYCO_EFULL, "err may be NULL");
    is_int(myco_err_sys(NULL, EDQUOT, "x"), MYCO_ENOSPC, "also with errno: EDQUOT is ENOSPC");
    is_int(myco_err_from_errno(12345), MYCO_EIO, "what is unknown is EIO");
    is_int(myco_err_from_errno(EADDRINUSE), MYCO_EADDRINUSE, "EADDRINUSE");

    char large[1000];
    memset(large, 'x', sizeof large);
    large[999] = '\0';
    myco_err(&err, MYCO_EIO, "%s", large);
    is_int(strlen(err.message), sizeof err.message - 1, "a long sentence is cut");
    myco_err_wrap(&err, "%s", large);
    myco_err_sys(&err, EIO, "%s", large);
    is_int(strlen(err.message), sizeof err.message - 1, "wherever it comes from");

    is_str(myco_errname(MYCO_ECONFLICT), "ECONFLICT", "name");
    is_str(myco_strerror(MYCO_ECONFLICT), "version does not match", "sentence");
    is_str(myco_errname(-99), "UNKNOWN", "an unknown code has a name too");
    ok(myco_version()[0] == '0' + MYCO_VERSION_MAJOR, "version %s", myco_version());

    struct myco_value value = {.owner = myco_alloc(10), .data = "x", .size = 1};
    myco_value_release(&value);
    ok(value.data == NULL && value.owner == NULL, "a released value is empty");
    myco_value_release(&value);
    myco_value_release(NULL);
}

static void test_fault(void)
{
#ifdef MYCO_FAULTS
    myco_fault_arm("test.point", 1, 2);
    bool first = MYCO_FAULT("test.point"), other = MYCO_FAULT("test.other");
    bool second = MYCO_FAULT("test.point"), third = MYCO_FAULT("test.point");
    ok(!first && second && third && !MYCO_FAULT("test.point"), "one good, two bad, then good");
    ok(!other, "another point is not touched");
    myco_fault_arm("test.point", 0, -1);
    long hits = 0;
    for (int i = 0; i < 100; i++) hits += MYCO_FAULT("test.point");
    is_int(hits, 100, "-1 is for ever");
    myco_fault_arm("test.point", 0, 0);
    ok(!MYCO_FAULT("test.point"), "0 disarms");
    for (int round = 0; round < 100; round++) myco_fault_arm("test.again", 0, 1);
    myco_fault_disarm_all();
    ok(!MYCO_FAULT("test.again"), "disarmed with all");
#else
    skip("built without MYCO_FAULTS");
#endif
}

static void test_histogram(void)
{
    struct myco_histogram *histogram = myco_alloc(sizeof *histogram);
    is_int(myco_histogram_quantile(histogram, 0.5), 0, "an empty histogram");
    for (uint64_t i = 1; i <= 100000; i++) myco_histogram_add(histogram, i);
    for (int percent = 1; percent <= 100; percent++) {
        uint64_t exact = (uint64_t)percent * 1000;
        uint64_t got = myco_histogram_quantile(histogram, percent / 100.0);
        if (got < exact || got > exact + exact / 16 + 1) {
            ok(false, "p%d is %lu", percent, (unsigned long)got);
        }
    }
    ok(histogram->count == 100000 && histogram->max == 100000, "count and maximum");
    is_int(myco_histogram_quantile(histogram, 1), 100000, "the last quantile is the maximum");
    is_int(myco_histogram_quantile(histogram, 0), 1, "the first is the smallest");
    myco_free(histogram);

    long bad = 0;
    uint64_t state = 1;
    for (int i = 0; i < 1000;
         i++) { /* one value of any size: its bucket's end is no more than 1/16 off */
        state = myco_hash_mix(state, 3);
        uint64_t value = state >> (i % 64);
        struct myco_histogram *one = myco_alloc(sizeof *one);
        myco_histogram_add(one, value);
        one->max = UINT64_MAX;
        uint64_t last = myco_histogram_quantile(one, 0.5);
        bad += last < value || last - value > value / 16;
        myco_free(one);
    }
    is_int(bad, 0, "every value of 64 bits lies within a sixteenth of its bucket's end");
}

static void test_metrics(void)
{
    struct myco_metrics metrics = {{0}};
    MYCO_METRIC_ADD(&metrics, FRAMES_IN, 2);
    MYCO_METRIC_ADD(&metrics, FRAMES_IN, 3);
    MYCO_METRIC_SET(&metrics, KEYS, 7);
    is_int(metrics.values[MYCO_METRIC_FRAMES_IN], 5, "a counter adds");
    is_int(metrics.values[MYCO_METRIC_KEYS], 7, "a gauge is set");
    long bad = 0;
    for (int i = 0; i < MYCO_METRIC_COUNT; i++) {
        const char *name = myco_metric_name(i);
        bool total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
        bad += total != (strcmp(myco_metric_kind(i), "counter") == 0);
        bad += strncmp(name, "mycorrizal_", 11) != 0 || myco_metric_help(i)[0] == '\0';
    }
    is_int(bad, 0, "names say what kind they are: _total for counters alone");
}

int main(void)
{
    test_err();
    test_fault();
    test_histogram();
    test_metrics();
    return plan_done();
}
