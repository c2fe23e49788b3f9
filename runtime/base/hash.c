/* Hashes whose results are written down somewhere, and so never change. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t myco_hash(const void *bytes, size_t size)
{
    return XXH3_64bits(bytes, size);
}

/* Two rounds of xor, multiply and rotate-by-shift (the finaliser of MurmurHash3, by Austin Appleby,
 * who gave it to the public): every bit of `a` and `b` reaches every bit of the result. */
uint64_t myco_hash_mix(uint64_t a, uint64_t b)
{
    uint64_t x = a + (b ^ UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xd6e8feb86659fd93);
    x = (x ^ (x >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ (x >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

/* CRC32C (Castagnoli, reflected 0x82f63b78). A CRC is linear: the entry of a byte is the xor of the
 * entries of its bits, so that eight constants make the table. */
#define BIT(i, bit, crc) (((i) >> (bit)) % 2 * UINT32_C(crc))
#define ENTRY(i)                                                                                   \
    (BIT(i, 0, 0xf26b8303) ^ BIT(i, 1, 0xe13b70f7) ^ BIT(i, 2, 0xc79a971f) ^                       \
        BIT(i, 3, 0x8ad958cf) ^ BIT(i, 4, 0x105ec76f) ^ BIT(i, 5, 0x20bd8ede) ^                    \
        BIT(i, 6, 0x417b1dbc) ^ BIT(i, 7, 0x82f63b78))
#define ENTRIES4(i)  ENTRY(i), ENTRY((i) + 1), ENTRY((i) + 2), ENTRY((i) + 3)
#define ENTRIES16(i) ENTRIES4(i), ENTRIES4((i) + 4), ENTRIES4((i) + 8), ENTRIES4((i) + 12)
#define ENTRIES64(i) ENTRIES16(i), ENTRIES16((i) + 16), ENTRIES16((i) + 32), ENTRIES16((i) + 48)

static const uint32_t crc_table[256] = {
    ENTRIES64(0u), ENTRIES64(64u), ENTRIES64(128u), ENTRIES64(192u)};

uint32_t myco__crc32c_portable(uint32_t crc, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) crc = (crc >> 8) ^ crc_table[(crc ^ at[i]) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(
    uint32_t crc, const uint8_t *at, size_t size)
{
    uint64_t wide = (uint32_t)~crc;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        __builtin_memcpy(&word, at, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size > 0; at++, size--) crc = __builtin_ia32_crc32qi(crc, *at);
    return ~crc;
}

uint32_t myco_crc32c(uint32_t crc, const void *bytes, size_t size)
{
    if (__builtin_cpu_supports("sse4.2")) return crc32c_sse42(crc, bytes, size);
    return myco__crc32c_portable(crc, bytes, size);
}

#else

uint32_t myco_crc32c(uint32_t crc, const void *bytes, size_t size)
{
    return myco__crc32c_portable(crc, bytes, size);
}

#endif
