/* What the busiest node of `sim --scale` sends while nothing happens, by the type of its
 * messages. */
#include <stdio.h>
#include <stdlib.h>

#include "host/sim_world.h"
#include "wire/message.h"

struct part {
    const char *name;
    double bytes_ps;
};

static const char *name_of(unsigned type)
{
    switch (type) {
#define X(symbol, number, lane, feature, owner)                                                    \
    case number: return #symbol;
        MYCO_MESSAGES(X)
#undef X
    }
    return "?";
}

static int larger_first(const void *a, const void *b)
{
    double left = ((const struct part *)a)->bytes_ps, right = ((const struct part *)b)->bytes_ps;
    return left > right ? -1 : left < right;
}

static unsigned parts_of(const struct sim_busy *busy, struct part *parts)
{
    unsigned count = 0;
    parts[count++] = (struct part){"DATAGRAMS", busy->datagrams_ps};
    parts[count++] = (struct part){"PINGS", busy->pings_ps};
    for (unsigned type = 0; type < 256; type++)
        if (busy->type_ps[type] > 0)
            parts[count++] = (struct part){name_of(type), busy->type_ps[type]};
    qsort(parts, count, sizeof *parts, larger_first);
    return count;
}

void sim_scale_busy_text(const struct sim_busy *busy)
{
    struct part parts[258];
    unsigned count = parts_of(busy, parts);
    printf("%-26s n%u:", "the busiest, by type", busy->host + 1);
    for (unsigned i = 0; i < count; i++) printf(" %s %.0f", parts[i].name, parts[i].bytes_ps);
    printf(" bytes/s sent\n");
}

void sim_scale_busy_json(const struct sim_busy *busy)
{
    struct part parts[258];
    unsigned count = parts_of(busy, parts);
    printf("\"busiest\":{");
    for (unsigned i = 0; i < count; i++)
        printf("%s\"%s\":%.0f", i ? "," : "", parts[i].name, parts[i].bytes_ps);
    printf("},");
}
