/* Manifests: whatever comes, the decoder stays inside it, takes no memory that the bytes do not
 * justify, and what it takes for good can be used: encoded again it is the same. Half of the inputs
 * get a right checksum first, or nothing would come past it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "fuzz.h"
#include "object/manifest.h"

static void use(const struct myco_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->hypha_count; i++) {
        const struct myco_manifest_hypha *hypha = &manifest->hyphae[i];
        for (uint32_t k = 0; k < hypha->section_count; k++) {
            const struct myco_section *section = &hypha->sections[k];
            assert(section->object < manifest->object_count);
            assert(section->at + section->size >= section->at);
            assert(section->at + section->size <= manifest->objects[section->object].size);
            assert(k == 0 || section->from == section[-1].to);
        }
    }
}

static void try_decode(const uint8_t *bytes, size_t size)
{
    struct myco_manifest manifest, again;
    struct myco_buf first = {0}, second = {0};
    if (myco_manifest_decode(&manifest, myco_bytes(bytes, size), NULL) == 0) {
        use(&manifest);
        myco_manifest_encode(&manifest, &first);
        assert(myco_manifest_decode(&again, myco_buf_as_slice(&first), NULL) == 0);
        myco_manifest_encode(&again, &second);
        assert(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
        myco_manifest_free(&again);
    }
    myco_manifest_free(&manifest);
    myco_buf_free(&first);
    myco_buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint64_t epoch, sequence;
    try_decode(bytes, size);
    char *text = myco_alloc(size + 1);
    memcpy(text, bytes, size);
    myco_manifest_key_parse(text, &epoch, &sequence);
    myco_free(text);
    if (size < 4) return 0;
    uint8_t *mended = myco_memdup(bytes, size);
    uint32_t crc = myco_crc32c(0, mended, size - 4);
    for (int i = 0; i < 4; i++) mended[size - 4 + (size_t)i] = (uint8_t)(crc >> 8 * i);
    try_decode(mended, size);
    myco_free(mended);
    return 0;
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    char key[] = "d/1/1-1", dropped[] = "d/0/1-1",
         previous[] = "m/0000000000000001/0000000000000001";
    char *drops[] = {dropped};
    struct myco_manifest_object object = {key, 100};
    struct myco_section sections[] = {
        {0, true, 0, 60, 1, 1, 0, 10}, {0, false, 60, 40, 2, 2, 10, 12}};
    struct myco_manifest_hypha hypha = {3, 4, 2, sections};
    struct myco_manifest manifest = {
        .seal = index == 1, .sealed_by = 3, .epoch = 2, .sequence = 5, .nonce = 6};
    struct myco_buf buf = {0};
    if (index > 1) return 0;
    if (index == 0) {
        manifest.previous = previous;
        manifest.objects = &object;
        manifest.object_count = 1;
        manifest.hyphae = &hypha;
        manifest.hypha_count = 1;
        manifest.dropped = drops;
        manifest.dropped_count = 1;
    }
    myco_manifest_encode(&manifest, &buf);
    size_t size = buf.size <= size_max ? buf.size : 0;
    if (size > 0) memcpy(bytes, buf.data, size);
    myco_buf_free(&buf);
    return size;
}
