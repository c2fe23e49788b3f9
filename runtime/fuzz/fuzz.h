/* What a fuzz target defines. Targets hold no state between inputs, and abort (assert, sanitizer)
 * when a promise of the decoder is broken. */
#ifndef MYCO_FUZZ_H
#define MYCO_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Optional, for the replaying main: writes the index-th well-formed sample (by the encoder, at most
 * `size_max` bytes) and returns its size; 0: no more. Mutations start from these, so that they get
 * past a magic number or a checksum's length. */
size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max);

#endif
