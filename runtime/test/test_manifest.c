/* Catches: a manifest that does not come back as it was, one that was damaged and is believed,
 * numbers in it that would make a reader run outside of what it has. */
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "object/manifest.h"
#include "tap.h"

static void fill(struct myco_manifest *manifest)
{
    memset(manifest, 0, sizeof(*manifest));
    manifest->cluster = 11;
    manifest->incarnation = 2;
    manifest->epoch = 7;
    manifest->sequence = 3;
    manifest->nonce = 0xfeedfacecafef00d;
    manifest->written_ms = 1700000000000;
    manifest->previous = myco_strdup("m/0000000000000007/0000000000000002");
    myco_buf_bytes(&manifest->definitions, "septa\0policies", 14);
    manifest->object_count = 2;
    manifest->objects = myco_alloc(2 * sizeof(*manifest->objects));
    manifest->objects[0] = (struct myco_manifest_object){myco_strdup("d/1/1-1"), 1000};
    manifest->objects[1] = (struct myco_manifest_object){myco_strdup("d/2/1-9"), 50};
    manifest->hypha_count = 2;
    manifest->hyphae = myco_alloc(2 * sizeof(*manifest->hyphae));
    manifest->hyphae[0] =
        (struct myco_manifest_hypha){5, 1, 2, myco_alloc(2 * sizeof(struct myco_section))};
    manifest->hyphae[0].sections[0] = (struct myco_section){0, true, 0, 900, 0x12345678, 6, 0, 400};
    manifest->hyphae[0].sections[1] =
        (struct myco_section){1, false, 10, 40, 0x9abcdef0, 7, 400, 410};
    manifest->hyphae[1] = (struct myco_manifest_hypha){5, 2, 0, NULL};
    manifest->dropped_count = 1;
    manifest->dropped = myco_alloc(sizeof(char *));
    manifest->dropped[0] = myco_strdup("d/1/0-77");
}

static int decode(struct myco_buf *bytes, struct myco_err *err)
{
    struct myco_manifest manifest;
    int status = myco_manifest_decode(&manifest, myco_buf_as_slice(bytes), err);
    myco_manifest_free(&manifest);
    return status;
}

static void test_round_trip(void)
{
    struct myco_manifest manifest, back;
    struct myco_buf bytes = {0}, again = {0};
    struct myco_err err = {0};
    fill(&manifest);
    myco_manifest_encode(&manifest, &bytes);
    is_int(myco_manifest_decode(&back, myco_buf_as_slice(&bytes), &err), 0, "decodes");
    myco_manifest_encode(&back, &again);
    ok(again.size == bytes.size && memcmp(again.data, bytes.data, bytes.size) == 0,
        "to the same bytes again");
    ok(back.epoch == 7 && back.sequence == 3 && back.incarnation == 2 && back.cluster == 11 &&
            !back.seal,
        "numbers");
    is_str(back.previous, "m/0000000000000007/0000000000000002", "previous");
    ok(back.definitions.size == 14, "definitions");
    ok(back.object_count == 2 && strcmp(back.objects[1].key, "d/2/1-9") == 0 &&
            back.objects[1].size == 50,
        "objects");
    const struct myco_section *section = &back.hyphae[0].sections[1];
    ok(section->object == 1 && !section->snapshot && section->at == 10 && section->size == 40 &&
            section->crc == 0x9abcdef0 && section->epoch == 7 && section->from == 400 &&
            section->to == 410,
        "sections");
    is_str(back.dropped[0], "d/1/0-77", "dropped");
    unsigned believed = 0, unclear = 0;
    for (size_t i = 0; i < bytes.size * 8; i++) {
        bytes.data[i / 8] ^= (uint8_t)(1 << i % 8);
        int status = decode(&bytes, &err);
        believed += status == 0;
        unclear += status != MYCO_ECORRUPT || err.message[0] == '\0';
        bytes.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    ok(believed == 0 && unclear == 0, "each single wrong bit is found, and called ECORRUPT (%zu)",
        bytes.size * 8);
    believed = 0;
    for (size_t size = 0; size < bytes.size; size++) {
        struct myco_buf cut = {bytes.data, size, size, 0, false};
        believed += decode(&cut, &err) != MYCO_ECORRUPT;
    }
    is_int(believed, 0, "each shorter one too");
    myco_manifest_free(&manifest);
    myco_manifest_free(&back);
    myco_buf_free(&bytes);
    myco_buf_free(&again);
}

static void test_seal(void)
{
    struct myco_manifest seal = {.seal = true,
                             .sealed_by = 9,
                             .epoch = 7,
                             .sequence = 4,
                             .nonce = 1},
                         back;
    struct myco_buf bytes = {0};
    myco_manifest_encode(&seal, &bytes);
    is_int(myco_manifest_decode(&back, myco_buf_as_slice(&bytes), NULL), 0, "a seal decodes");
    ok(back.seal && back.sealed_by == 9 && back.epoch == 7 && back.sequence == 4, "as it was");
    myco_manifest_free(&back);
    myco_buf_free(&bytes);
}

static int encode_and_decode(struct myco_manifest *manifest, struct myco_err *err)
{
    struct myco_buf bytes = {0};
    myco_manifest_encode(manifest, &bytes);
    int status = decode(&bytes, err);
    myco_buf_free(&bytes);
    myco_manifest_free(manifest);
    fill(manifest);
    return status;
}

static void test_sense(void)
{
    struct myco_manifest manifest;
    struct myco_err err = {0};
    fill(&manifest);
    manifest.hyphae[0].sections[1].object = 2;
    is_int(encode_and_decode(&manifest, &err), MYCO_ECORRUPT, "a section of no object (%s)",
        err.message);
    manifest.hyphae[0].sections[1].size = 41;
    is_int(encode_and_decode(&manifest, &err), MYCO_ECORRUPT, "one beyond its object (%s)",
        err.message);
    manifest.hyphae[0].sections[1].at = UINT64_MAX - 3;
    is_int(encode_and_decode(&manifest, &err), MYCO_ECORRUPT, "one that wraps around (%s)",
        err.message);
    manifest.hyphae[0].sections[1].from = 401;
    is_int(encode_and_decode(&manifest, &err), MYCO_ECORRUPT, "a gap (%s)", err.message);
    manifest.hyphae[0].sections[0].snapshot = false;
    manifest.hyphae[0].sections[0].from = 1;
    is_int(encode_and_decode(&manifest, &err), MYCO_ECORRUPT, "no beginning (%s)", err.message);
    manifest.hyphae[0].sections[1].to = 399;
    is_int(encode_and_decode(&manifest, &err), MYCO_ECORRUPT, "an end before its beginning (%s)",
        err.message);
    is_int(encode_and_decode(&manifest, &err), 0, "and as it should be");
    myco_manifest_free(&manifest);
}

static void test_version(void)
{
    struct myco_manifest manifest;
    struct myco_buf bytes = {0};
    struct myco_err err = {0};
    fill(&manifest);
    myco_manifest_encode(&manifest, &bytes);
    bytes.data[4] = 2;
    bytes.size -= 4;
    myco_buf_u32(&bytes, myco_crc32c(0, bytes.data, bytes.size));
    is_int(decode(&bytes, &err), MYCO_EVERSION, "a later version is EVERSION (%s)", err.message);
    myco_buf_free(&bytes);
    myco_manifest_free(&manifest);
}

static void test_memory(void)
{
    struct myco_manifest manifest;
    struct myco_buf bytes = {0};
    unsigned refused = 0;
    int status = MYCO_ENOMEM;
    fill(&manifest);
    myco_manifest_encode(&manifest, &bytes);
    for (long nth = 1; nth < 100; nth++) {
        myco_mem_fail_nth(nth);
        status = decode(&bytes, NULL);
        myco_mem_fail_nth(0);
        if (status == 0) break;
        refused++;
    }
    ok(status == 0 && refused > 5, "no memory, at any of %u places, is an error", refused);
    myco_buf_free(&bytes);
    myco_manifest_free(&manifest);
}

static void test_keys(void)
{
    char key[64];
    uint64_t epoch, sequence;
    myco_manifest_key(key, 0x1f, UINT64_MAX);
    is_str(key, "m/000000000000001f/ffffffffffffffff", "a key");
    ok(myco_manifest_key_parse(key, &epoch, &sequence) && epoch == 0x1f && sequence == UINT64_MAX,
        "and back");
    static const char *const others[] = {"", "m/", "m/1/2", "m/000000000000001F/ffffffffffffffff",
        "m/000000000000001f-ffffffffffffffff", "d/000000000000001f/ffffffffffffffff",
        "m/000000000000001f/fffffffffffffff", "m/000000000000001f/ffffffffffffffff0"};
    unsigned parsed = 0;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        parsed += myco_manifest_key_parse(others[i], &epoch, &sequence);
    is_int(parsed, 0, "what is no key is none");
}

int main(void)
{
    test_round_trip();
    test_seal();
    test_sense();
    test_version();
    test_memory();
    test_keys();
    return plan_done();
}
