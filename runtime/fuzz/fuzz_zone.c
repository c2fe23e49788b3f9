/* Files of time zones and cron lines: whatever comes, the readers stay inside it, and what they
 * take answers for any instant in bounded time. */
#include <assert.h>
#include <string.h>

#include "base/cron.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t instants[] = {INT64_MIN / 4, -4000000000, 0, 1774746000, 4000000000};
    struct myco_zone *zone = myco_zone_parse(myco_bytes(data, size), NULL);
    for (size_t i = 1; zone != NULL && i < 5; i++) {
        int32_t offset = myco_zone_offset(zone, instants[i]);
        assert(offset >= -8 * 86400 && offset <= 8 * 86400);
    }
    struct myco_cron cron;
    char line[128] = "";
    memcpy(line, data, size < sizeof line - 1 ? size : sizeof line - 1);
    if (myco_cron_parse(&cron, line, NULL) == 0) {
        uint64_t next = myco_cron_next(&cron, zone, 1767225600000);
        assert(next == 0 || (next > 1767225600000 && next % 60000 == 0));
    }
    myco_zone_free(zone);
    return 0;
}
