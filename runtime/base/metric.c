/* What is counted: names and kinds of the metrics, and histograms. */
#include "base/metric.h"

#include <stddef.h>

#include "base/assert.h"

#define COUNTER "counter"
#define GAUGE   "gauge"

static const struct {
    const char *name, *kind, *help;
} metrics[MYCO_METRIC_COUNT] = {
#define X(symbol, name, kind, help) {name, kind, help},
    MYCO_METRICS(X)
#undef X
};

const char *myco_metric_name(int metric)
{
    MYCO_ASSERT(metric >= 0 && metric < MYCO_METRIC_COUNT);
    return metrics[metric].name;
}

const char *myco_metric_help(int metric)
{
    MYCO_ASSERT(metric >= 0 && metric < MYCO_METRIC_COUNT);
    return metrics[metric].help;
}

const char *myco_metric_kind(int metric)
{
    MYCO_ASSERT(metric >= 0 && metric < MYCO_METRIC_COUNT);
    return metrics[metric].kind;
}

/* Values below 16 have a bucket each; then the four bits after the highest choose one of 16:
 *
 *     value 0…15      bucket 0…15
 *     16…31 by 1      16…31          (highest bit 4)
 *     32…63 by 2      32…47          (highest bit 5)   … up to bucket 975
 */
static unsigned bucket_of(uint64_t value)
{
    if (value < 16) return (unsigned)value;
    unsigned high = 63u - (unsigned)__builtin_clzll(value);
    return (high - 3) * 16 + (unsigned)((value >> (high - 4)) & 15);
}

static uint64_t bucket_last(unsigned bucket)
{
    if (bucket < 16) return bucket;
    unsigned high = bucket / 16 + 3;
    uint64_t first = (UINT64_C(1) << high) + ((uint64_t)(bucket % 16) << (high - 4));
    return first + ((UINT64_C(1) << (high - 4)) - 1);
}

void myco_histogram_add(struct myco_histogram *histogram, uint64_t value)
{
    uint32_t *bucket = &histogram->buckets[bucket_of(value)];
    if (*bucket < UINT32_MAX) ++*bucket;
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->max) histogram->max = value;
}

uint64_t myco_histogram_quantile(const struct myco_histogram *histogram, double quantile)
{
    double exact = quantile * (double)histogram->count;
    uint64_t rank = (uint64_t)exact, seen = 0;
    if ((double)rank < exact || rank == 0) rank++;
    for (unsigned i = 0; i <= bucket_of(histogram->max); i++) {
        seen += histogram->buckets[i];
        if (seen < rank) continue;
        uint64_t last = bucket_last(i);
        return last < histogram->max ? last : histogram->max;
    }
    return histogram->max;
}
