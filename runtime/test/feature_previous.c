/* The version before features: announces none. Takes the place of wire/feature_own.c in the program
 * `mycorrizal-previous`, with which specs upgrade a cluster. */
#include "wire/feature.h"

uint64_t myco_features_own(void)
{
    return 0;
}
