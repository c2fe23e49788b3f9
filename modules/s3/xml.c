/* S3's XML, read by expat: the text of an element is what counts, by its name. External entities
 * are never followed, and expat bounds the expansion of internal ones. */
#include "s3/xml.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

struct document {
    XML_Parser parser;
    char text[MYCO_S3_TEXT_MAX + 1]; /* of the element that is open */
    size_t size;
    bool too_long, out_of_memory;
    unsigned depth;
    void (*on_start)(struct document *document, const char *name);
    void (*on_end)(struct document *document, const char *name);
    void *data;
};

static const char *local_name(const char *name)
{
    const char *colon = strrchr(name, ':');
    return colon != NULL ? colon + 1 : name;
}

static void on_start(void *data, const char *name, const char **attributes)
{
    struct document *document = data;
    (void)attributes;
    document->size = 0;
    document->too_long = false;
    document->depth++;
    if (document->on_start != NULL) document->on_start(document, local_name(name));
}

static void on_text(void *data, const char *bytes, int size)
{
    struct document *document = data;
    document->too_long |= (size_t)size > MYCO_S3_TEXT_MAX - document->size;
    if (document->too_long) return;
    memcpy(document->text + document->size, bytes, (size_t)size);
    document->size += (size_t)size;
}

static void on_end(void *data, const char *name)
{
    struct document *document = data;
    document->text[document->size] = '\0';
    document->on_end(document, local_name(name));
    document->size = 0;
    document->depth--;
}

static bool read_document(struct document *document, struct myco_slice xml)
{
    if (xml.size == 0 || xml.size > INT32_MAX) return false;
    document->parser = XML_ParserCreate(NULL);
    if (document->parser == NULL) return false;
    XML_SetUserData(document->parser, document);
    XML_SetElementHandler(document->parser, on_start, on_end);
    XML_SetCharacterDataHandler(document->parser, on_text);
    bool whole = XML_Parse(document->parser, xml.data, (int)xml.size, 1) == XML_STATUS_OK;
    XML_ParserFree(document->parser);
    return whole && !document->out_of_memory;
}

/* ── Errors ─────────────────────────────────────────────────────────────────────────────────── */

static void error_end(struct document *document, const char *name)
{
    struct myco_s3_error *error = document->data;
    if (document->depth != 2 || document->too_long) return;
    if (strcmp(name, "Code") == 0)
        snprintf(error->code, sizeof(error->code), "%.63s", document->text);
    if (strcmp(name, "Message") == 0)
        snprintf(error->message, sizeof(error->message), "%.255s", document->text);
    if (strcmp(name, "Region") == 0)
        snprintf(error->region, sizeof(error->region), "%.63s", document->text);
}

static void error_start(struct document *document, const char *name)
{
    if (document->depth == 1 && strcmp(name, "Error") != 0)
        XML_StopParser(document->parser, XML_FALSE);
}

void myco_s3_read_error(struct myco_slice xml, struct myco_s3_error *error)
{
    struct document document = {.on_start = error_start, .on_end = error_end, .data = error};
    memset(error, 0, sizeof(*error));
    if (!read_document(&document, xml)) memset(error, 0, sizeof(*error));
}

/* ── Listings ───────────────────────────────────────────────────────────────────────────────── */

struct listing_reader {
    struct myco_s3_listing *listing;
    bool root, bad;
    struct myco_object_info item;
};

/* "2009-10-12T17:50:30.000Z" */
static uint64_t time_of(const char *text)
{
    struct tm utc = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    if (rest == NULL) return 0;
    unsigned ms = 0;
    if (*rest == '.') sscanf(rest, ".%3u", &ms);
    time_t seconds = timegm(&utc);
    return seconds < 0 ? 0 : (uint64_t)seconds * 1000 + ms;
}

static bool add_item(struct myco_s3_listing *listing, const struct myco_object_info *item)
{
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity ? 2 * listing->capacity : 64;
        void *infos = myco_try_realloc(listing->infos, capacity * sizeof(*listing->infos));
        if (infos == NULL) return false;
        listing->infos = infos;
        listing->capacity = capacity;
    }
    listing->infos[listing->count++] = *item;
    return true;
}

static void listing_start(struct document *document, const char *name)
{
    struct listing_reader *reader = document->data;
    if (document->depth == 1) reader->root = strcmp(name, "ListBucketResult") == 0;
    if (document->depth == 2 && strcmp(name, "Contents") == 0) {
        myco_free((void *)reader->item.key);
        memset(&reader->item, 0, sizeof(reader->item));
    }
}

static void item_end(struct document *document, const char *name)
{
    struct listing_reader *reader = document->data;
    if (strcmp(name, "Key") == 0) {
        reader->bad |= document->too_long;
        myco_free((void *)reader->item.key);
        reader->item.key = myco_strdup(document->text);
    }
    if (strcmp(name, "Size") == 0) reader->item.size = strtoull(document->text, NULL, 10);
    if (strcmp(name, "LastModified") == 0) reader->item.modified_ms = time_of(document->text);
}

static void listing_end(struct document *document, const char *name)
{
    struct listing_reader *reader = document->data;
    struct myco_s3_listing *listing = reader->listing;
    if (document->depth == 3) item_end(document, name);
    if (document->depth != 2) return;
    if (strcmp(name, "Contents") == 0 && reader->item.key != NULL) {
        document->out_of_memory |= !add_item(listing, &reader->item);
        if (!document->out_of_memory) reader->item.key = NULL;
    }
    if (strcmp(name, "IsTruncated") == 0) listing->more = strcmp(document->text, "true") == 0;
    if (strcmp(name, "NextContinuationToken") == 0) {
        reader->bad |= document->too_long;
        memcpy(listing->next, document->text, document->size + 1);
    }
}

int myco_s3_read_listing(struct myco_slice xml, struct myco_s3_listing *listing)
{
    struct listing_reader reader = {.listing = listing};
    struct document document = {.on_start = listing_start, .on_end = listing_end, .data = &reader};
    listing->more = false;
    listing->next[0] = '\0';
    bool whole = read_document(&document, xml);
    myco_free((void *)reader.item.key);
    bool endless = listing->more && listing->next[0] == '\0';
    return whole && reader.root && !reader.bad && !endless ? 0 : MYCO_EPROTO;
}

void myco_s3_listing_free(struct myco_s3_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++) myco_free((void *)listing->infos[i].key);
    myco_free(listing->infos);
    memset(listing, 0, sizeof(*listing));
}

/* ── One element ────────────────────────────────────────────────────────────────────────────── */

struct element_reader {
    const char *name;
    char *text;
    size_t size;
    bool found;
};

static void element_end(struct document *document, const char *name)
{
    struct element_reader *reader = document->data;
    if (reader->found || document->too_long || document->size >= reader->size ||
        strcmp(name, reader->name) != 0)
        return;
    memcpy(reader->text, document->text, document->size + 1);
    reader->found = true;
}

bool myco_s3_read_element(struct myco_slice xml, const char *name, char *text, size_t size)
{
    struct element_reader reader = {name, text, size, false};
    struct document document = {.on_end = element_end, .data = &reader};
    return read_document(&document, xml) && reader.found;
}
