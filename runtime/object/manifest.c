/* A manifest as bytes.
 *
 *   "MYCM" | version u16 | seal u8 | 0 u8 | cluster | incarnation | epoch | sequence | nonce
 *   | written_ms | sealed_by                                  (u64 each; a seal ends here)
 *   | previous | definitions                                  (u32 size, bytes)
 *   | objects: count u32, then key, size u64
 *   | hyphae: count u32, then septum u64, hypha u32, sections: count u32, then 50 bytes each
 *   | dropped: count u32, then keys
 *   | CRC32C u32 of everything before it
 *
 * What can be decoded can be used: indexes point to objects, sections lie inside them, and the
 * sections of a hypha follow each other without a gap. */
#include "object/manifest.h"

#include <stdio.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "object/sealed.h"

#define MAGIC        0x4d43594d /* "MYCM", little-endian */
#define VERSION      1
#define KEY_SIZE_MAX 1024

/* The least that one of each takes, so that a count can't ask for more memory than the bytes
 * justify. */
enum {
    OBJECT_SIZE = 4 + 8,
    HYPHA_SIZE = 8 + 4 + 4,
    SECTION_SIZE = 4 + 1 + 8 + 8 + 4 + 8 + 8 + 8,
    DROPPED_SIZE = 4
};

void myco_manifest_free(struct myco_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->object_count; i++) myco_free(manifest->objects[i].key);
    for (uint32_t i = 0; i < manifest->hypha_count; i++) myco_free(manifest->hyphae[i].sections);
    for (uint32_t i = 0; i < manifest->dropped_count; i++) myco_free(manifest->dropped[i]);
    myco_free(manifest->objects);
    myco_free(manifest->hyphae);
    myco_free(manifest->dropped);
    myco_free(manifest->previous);
    myco_buf_free(&manifest->definitions);
    memset(manifest, 0, sizeof(*manifest));
}

/* ── Keys ───────────────────────────────────────────────────────────────────────────────────── */

void myco_manifest_key(char key[64], uint64_t epoch, uint64_t sequence)
{
    snprintf(key, 64, "m/%016llx/%016llx", (unsigned long long)epoch, (unsigned long long)sequence);
}

static bool parse_hex(const char *text, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        if (digit == NULL) return false;
        *value = *value << 4 | (uint64_t)(digit - digits);
    }
    return true;
}

bool myco_manifest_key_parse(const char *key, uint64_t *epoch, uint64_t *sequence)
{
    return strlen(key) == 2 + 16 + 1 + 16 && key[0] == 'm' && key[1] == '/' && key[18] == '/' &&
           parse_hex(key + 2, epoch) && parse_hex(key + 19, sequence);
}

/* ── Encode ─────────────────────────────────────────────────────────────────────────────────── */

static void put_section(struct myco_buf *out, const struct myco_section *section)
{
    myco_buf_u32(out, section->object);
    myco_buf_u8(out, section->snapshot);
    myco_buf_u64(out, section->at);
    myco_buf_u64(out, section->size);
    myco_buf_u32(out, section->crc);
    myco_buf_u64(out, section->epoch);
    myco_buf_u64(out, section->from);
    myco_buf_u64(out, section->to);
}

static void put_hypha(struct myco_buf *out, const struct myco_manifest_hypha *hypha)
{
    myco_buf_u64(out, hypha->septum);
    myco_buf_u32(out, hypha->hypha);
    myco_buf_u32(out, hypha->section_count);
    for (uint32_t i = 0; i < hypha->section_count; i++) put_section(out, &hypha->sections[i]);
}

static void put_head(struct myco_buf *out, const struct myco_manifest *manifest)
{
    myco_buf_u32(out, MAGIC);
    myco_buf_u16(out, VERSION);
    myco_buf_u8(out, manifest->seal);
    myco_buf_u8(out, 0);
    myco_buf_u64(out, manifest->cluster);
    myco_buf_u64(out, manifest->incarnation);
    myco_buf_u64(out, manifest->epoch);
    myco_buf_u64(out, manifest->sequence);
    myco_buf_u64(out, manifest->nonce);
    myco_buf_u64(out, manifest->written_ms);
    myco_buf_u64(out, manifest->sealed_by);
}

static void put_body(struct myco_buf *out, const struct myco_manifest *manifest)
{
    myco_buf_str(out, manifest->previous != NULL ? manifest->previous : "");
    myco_buf_slice(out, myco_buf_as_slice(&manifest->definitions));
    myco_buf_u32(out, manifest->object_count);
    for (uint32_t i = 0; i < manifest->object_count; i++) {
        myco_buf_str(out, manifest->objects[i].key);
        myco_buf_u64(out, manifest->objects[i].size);
    }
    myco_buf_u32(out, manifest->hypha_count);
    for (uint32_t i = 0; i < manifest->hypha_count; i++) put_hypha(out, &manifest->hyphae[i]);
    myco_buf_u32(out, manifest->dropped_count);
    for (uint32_t i = 0; i < manifest->dropped_count; i++) myco_buf_str(out, manifest->dropped[i]);
}

void myco_manifest_encode(const struct myco_manifest *manifest, struct myco_buf *out)
{
    size_t start = out->size;
    put_head(out, manifest);
    if (!manifest->seal) put_body(out, manifest);
    if (out->failed) return;
    myco_buf_u32(out, myco_crc32c(0, out->data + start, out->size - start));
}

/* ── Decode ─────────────────────────────────────────────────────────────────────────────────── */

/* Memory for `count` items of `size`, when that many can be in what is left; else the reader is
 * bad. */
static void *read_items(struct myco_reader *reader, uint32_t *count, size_t wire_size, size_t size)
{
    uint32_t wanted = myco_read_u32(reader);
    void *items = NULL;
    *count = 0;
    if (reader->bad || wanted == 0) return NULL;
    if (wanted <= myco_read_left(reader) / wire_size) items = myco_try_alloc(wanted * size);
    if (items == NULL) {
        reader->bad = true;
        return NULL;
    }
    memset(items, 0, wanted * size);
    *count = wanted;
    return items;
}

static void read_section(struct myco_reader *reader, struct myco_section *section)
{
    section->object = myco_read_u32(reader);
    section->snapshot = myco_read_u8(reader) != 0;
    section->at = myco_read_u64(reader);
    section->size = myco_read_u64(reader);
    section->crc = myco_read_u32(reader);
    section->epoch = myco_read_u64(reader);
    section->from = myco_read_u64(reader);
    section->to = myco_read_u64(reader);
}

static void read_hypha(struct myco_reader *reader, struct myco_manifest_hypha *hypha)
{
    hypha->septum = myco_read_u64(reader);
    hypha->hypha = myco_read_u32(reader);
    hypha->sections =
        read_items(reader, &hypha->section_count, SECTION_SIZE, sizeof(struct myco_section));
    for (uint32_t i = 0; i < hypha->section_count; i++) read_section(reader, &hypha->sections[i]);
}

static void read_head(struct myco_reader *reader, struct myco_manifest *manifest)
{
    manifest->seal = myco_read_u8(reader) != 0;
    myco_read_u8(reader);
    manifest->cluster = myco_read_u64(reader);
    manifest->incarnation = myco_read_u64(reader);
    manifest->epoch = myco_read_u64(reader);
    manifest->sequence = myco_read_u64(reader);
    manifest->nonce = myco_read_u64(reader);
    manifest->written_ms = myco_read_u64(reader);
    manifest->sealed_by = myco_read_u64(reader);
}

static void read_body(struct myco_reader *reader, struct myco_manifest *manifest)
{
    manifest->previous = myco_read_strdup(reader, KEY_SIZE_MAX);
    struct myco_slice definitions = myco_read_slice(reader);
    myco_buf_bytes(&manifest->definitions, definitions.data, definitions.size);
    manifest->objects = read_items(
        reader, &manifest->object_count, OBJECT_SIZE, sizeof(struct myco_manifest_object));
    for (uint32_t i = 0; i < manifest->object_count; i++) {
        manifest->objects[i].key = myco_read_strdup(reader, KEY_SIZE_MAX);
        manifest->objects[i].size = myco_read_u64(reader);
    }
    manifest->hyphae =
        read_items(reader, &manifest->hypha_count, HYPHA_SIZE, sizeof(struct myco_manifest_hypha));
    for (uint32_t i = 0; i < manifest->hypha_count; i++) read_hypha(reader, &manifest->hyphae[i]);
    manifest->dropped = read_items(reader, &manifest->dropped_count, DROPPED_SIZE, sizeof(char *));
    for (uint32_t i = 0; i < manifest->dropped_count; i++) {
        manifest->dropped[i] = myco_read_strdup(reader, KEY_SIZE_MAX);
    }
}

static const char *section_fault(const struct myco_manifest *manifest,
    const struct myco_section *section, const struct myco_section *before)
{
    if (section->object >= manifest->object_count)
        return "a section of an object that is not there";
    uint64_t size = manifest->objects[section->object].size;
    if (section->at > size || section->size > size - section->at)
        return "a section beyond its object";
    if (section->to < section->from) return "a section that ends before it begins";
    if (before == NULL)
        return section->snapshot || section->from == 0 ? NULL : "a hypha without its beginning";
    return !section->snapshot && section->from == before->to ? NULL : "a gap between two sections";
}

static const char *find_fault(const struct myco_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->hypha_count; i++) {
        const struct myco_manifest_hypha *hypha = &manifest->hyphae[i];
        for (uint32_t k = 0; k < hypha->section_count; k++) {
            const struct myco_section *section = &hypha->sections[k];
            const char *fault = section_fault(manifest, section, k > 0 ? section - 1 : NULL);
            if (fault != NULL) return fault;
        }
    }
    return NULL;
}

/* The checksum first: behind it nothing but a version that we do not know, or a bug, can
 * surprise. */
static int check_frame(struct myco_slice bytes, struct myco_err *err)
{
    struct myco_reader head = myco_reader(bytes.data, bytes.size);
    uint32_t magic = myco_read_u32(&head), version = myco_read_u16(&head);
    uint64_t key_id;
    if (myco_object_is_sealed(bytes, &key_id))
        return myco_err(err, MYCO_EDENIED,
            "it is sealed with the key %016llx: start the node with --store-key",
            (unsigned long long)key_id);
    if (bytes.size < 12 || magic != MAGIC) return myco_err(err, MYCO_ECORRUPT, "not a manifest");
    const uint8_t *end = (const uint8_t *)bytes.data + bytes.size - 4;
    struct myco_reader tail = myco_reader(end, 4);
    if (myco_read_u32(&tail) != myco_crc32c(0, bytes.data, bytes.size - 4)) {
        return myco_err(err, MYCO_ECORRUPT, "the checksum of the manifest does not match");
    }
    if (version == VERSION) return 0;
    return myco_err(
        err, MYCO_EVERSION, "manifest of version %u, we know %u", (unsigned)version, VERSION);
}

int myco_manifest_decode(
    struct myco_manifest *manifest, struct myco_slice bytes, struct myco_err *err)
{
    memset(manifest, 0, sizeof(*manifest));
    int status = check_frame(bytes, err);
    if (status != 0) return status;
    struct myco_reader reader = myco_reader((const uint8_t *)bytes.data + 6, bytes.size - 10);
    read_head(&reader, manifest);
    if (!manifest->seal) read_body(&reader, manifest);
    const char *fault = NULL;
    if (manifest->definitions.failed)
        status = myco_err(err, MYCO_ENOMEM, "no memory for the definitions");
    else if (!myco_read_done(&reader))
        fault = "its fields do not fill it";
    else
        fault = find_fault(manifest);
    if (fault != NULL) status = myco_err(err, MYCO_ECORRUPT, "manifest: %s", fault);
    if (status != 0) myco_manifest_free(manifest);
    return status;
}
