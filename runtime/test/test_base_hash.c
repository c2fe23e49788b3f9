/* Catches: a hash that changed (everything stored under it would be lost), and a CRC32C that
 * depends on the CPU. */
#include "base/hash.h"

#include "tap.h"

int main(void)
{
    uint8_t bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 31 + 7);

    /* From RFC 3720, appendix B.4. */
    uint8_t zeros[32] = {0};
    ok(myco_crc32c(0, zeros, 32) == 0x8a9136aa, "crc32c of 32 zeros");
    ok(myco_crc32c(0, "123456789", 9) == 0xe3069283, "crc32c of 123456789");
    ok(myco_crc32c(0, NULL, 0) == 0, "crc32c of nothing");

    long differ = 0;
    for (size_t from = 0; from < 9; from++) {
        for (size_t size = 0; size < 200; size++) {
            uint32_t fast = myco_crc32c(0, bytes + from, size);
            differ += fast != myco__crc32c_portable(0, bytes + from, size);
        }
    }
    is_int(differ, 0, "with and without the CPU's instruction: the same");
    uint32_t whole = myco_crc32c(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 37) {
        uint32_t crc = myco_crc32c(0, bytes, cut);
        differ += myco_crc32c(crc, bytes + cut, sizeof bytes - cut) != whole;
    }
    is_int(differ, 0, "chained anywhere: the same");

    ok(myco_hash("", 0) == UINT64_C(0x2d06800538d394c2), "xxh3 of nothing");
    ok(myco_hash("mycorrizal", 10) == UINT64_C(0xf8dea932fa1075c0), "xxh3 of a word");
    ok(myco_hash_mix(1, 2) == UINT64_C(0xd01c0056ec5c1f13), "mix");
    ok(myco_hash_mix(1, 2) != myco_hash_mix(2, 1), "mix tells the order");
    return plan_done();
}
