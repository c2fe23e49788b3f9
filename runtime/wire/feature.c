/* The names of features. */
#include "wire/feature.h"

#include <stdio.h>

const char *myco_feature_name(unsigned bit)
{
    switch (bit) {
#define X(symbol, number, built, name, doc)                                                        \
    case number: return name;
        MYCO_FEATURES(X)
#undef X
    default: return NULL;
    }
}

const char *myco_feature_doc(unsigned bit)
{
    switch (bit) {
#define X(symbol, number, built, name, doc)                                                        \
    case number: return doc;
        MYCO_FEATURES(X)
#undef X
    default: return NULL;
    }
}

const char *myco_features_text(uint64_t features, char *out, size_t size)
{
    size_t at = 0;
    if (size) out[0] = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        if (!(features & MYCO_FEATURE_BIT(bit)) || at >= size) continue;
        const char *name = myco_feature_name(bit), *comma = at ? ", " : "";
        int wrote = name ? snprintf(out + at, size - at, "%s%s", comma, name)
                         : snprintf(out + at, size - at, "%s%u", comma, bit);
        at += (size_t)wrote;
    }
    return out;
}
