/* AWS Signature Version 4 for requests of S3, by headers. Pure: all that it depends on comes in.
 * Source: "Signature Calculations for the Authorization Header", Amazon S3 API Reference. */
#ifndef MYCO_S3_SIGN_H
#define MYCO_S3_SIGN_H

#include "base/buf.h"
#include "s3/http.h"

#define MYCO_S3_HASH_SIZE 65 /* SHA-256 in hex, terminated */

struct myco_s3_credentials {
    char key_id[129], secret[129];
    char token[4097]; /* of a session; empty: none */
};

/* One pair of a query, not encoded. */
struct myco_s3_parameter {
    const char *name, *value;
};

struct myco_s3_to_sign {
    const char *method,
        *host;        /* as in the Host header: with the port when it is not the scheme's */
    const char *path; /* not encoded, from '/' */
    const struct myco_s3_parameter *query; /* sorted by name */
    size_t query_count;
    const struct myco_http_header *headers; /* further ones to sign, in lower case; at most 12 */
    size_t header_count;
    const char *content_hash; /* SHA-256 of the body in hex, or "UNSIGNED-PAYLOAD" */
    const char *region;
    uint64_t time_ms; /* since 1970, by the store's clock */
};

/* "20130524T000000Z" */
void myco_s3_time(uint64_t time_ms, char text[17]);
void myco_s3_hash(struct myco_slice bytes, char hex[MYCO_S3_HASH_SIZE]);
/* Percent-encodes all but A–Z a–z 0–9 - . _ ~, and '/' unless `slash`. */
void myco_s3_encode(struct myco_buf *out, const char *text, bool slash);
/* "a=1&b=", sorted as given. */
void myco_s3_query(struct myco_buf *out, const struct myco_s3_parameter *query, size_t query_count);
/* The value of the Authorization header is appended, terminated by a zero. */
void myco_s3_sign(const struct myco_s3_to_sign *request,
    const struct myco_s3_credentials *credentials, struct myco_buf *authorization);

#endif
