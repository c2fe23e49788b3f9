/* What this build has. A file of its own, because `mycorrizal-previous` (test/) is made of the same
 * objects but this one. */
#include "wire/feature.h"

uint64_t myco_features_own(void)
{
    uint64_t own = 0;
#define X(symbol, bit, built, name, doc)                                                           \
    if (built) own |= MYCO_FEATURE_BIT(bit);
    MYCO_FEATURES(X)
#undef X
    return own;
}
