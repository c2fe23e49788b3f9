/* Hashes: xxh3 for tables and placement, CRC32C for what lies on disk or in the store. */
#ifndef MYCO_BASE_HASH_H
#define MYCO_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t myco_hash(const void *bytes, size_t size); /* xxh3, seed 0: stable for ever */
uint64_t myco_hash_mix(uint64_t a, uint64_t b);
uint32_t myco_crc32c(uint32_t crc, const void *bytes, size_t size); /* start with 0; chain */
/* The one without the CPU's help. */
uint32_t myco__crc32c_portable(uint32_t crc, const void *bytes, size_t size);

#endif
