/* The answers of S3 that are XML: errors, listings, the start of a multipart upload. */
#ifndef MYCO_S3_XML_H
#define MYCO_S3_XML_H

#include "object/object.h"

#define MYCO_S3_TEXT_MAX 1024

struct myco_s3_error {
    char code[64]; /* "SlowDown"; empty: not an error document */
    char message[256];
    char region[64]; /* where the bucket is, when the store says so */
};
void myco_s3_read_error(struct myco_slice xml, struct myco_s3_error *error);

/* Appends to `infos`, whose keys are given (myco_free); keys are as the store has them. */
struct myco_s3_listing {
    struct myco_object_info *infos;
    size_t count, capacity;
    char next[MYCO_S3_TEXT_MAX + 1]; /* continuation token; empty: that was all */
    bool more;
};
/* EPROTO: not a listing, or one that can't be read. */
int myco_s3_read_listing(struct myco_slice xml, struct myco_s3_listing *listing);
void myco_s3_listing_free(struct myco_s3_listing *listing);

/* The text of the first element of that name; false: there is none, or it is longer. */
bool myco_s3_read_element(struct myco_slice xml, const char *name, char *text, size_t size);

#endif
