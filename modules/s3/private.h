/* What the files of the S3 driver share: a store, and one request to it with its tries. */
#ifndef MYCO_S3_PRIVATE_H
#define MYCO_S3_PRIVATE_H

#include "s3/store.h"
#include "s3/xml.h"

#define S3_QUERY_MAX   4
#define S3_HEADERS_MAX 4

struct s3_store {
    struct myco_object base;
    struct myco_s3_options options; /* strings are the store's own */
    char *endpoint, *bucket, *prefix;
    char region[64];
    char *scheme_host; /* "https://" */
    char *host;        /* of every request: with bucket in front, unless path_style */
    struct myco_s3_credentials credentials;
    int64_t skew_ms;        /* the store's clock less ours */
    struct myco_list tasks; /* calls of the interface */
    struct myco_list calls;
    size_t task_count;
};

/* One request. `key` NULL: the bucket itself. Everything is copied. */
struct s3_request {
    const char *method, *key;
    struct myco_s3_parameter query[S3_QUERY_MAX]; /* sorted by name */
    size_t query_count;
    struct myco_http_header headers[S3_HEADERS_MAX]; /* signed; lower case */
    size_t header_count;
    struct myco_slice body;
    size_t answer_max;
};

/* `answer` is there when the store answered, whatever it said; its body may be moved away. */
typedef void (*s3_call_cb)(
    int status, const char *message, const struct myco_http_answer *answer, void *data);

struct s3_call;
struct s3_call *myco__s3_send(
    struct s3_store *store, const struct s3_request *request, s3_call_cb cb, void *data);
void myco__s3_cancel(struct s3_call *call); /* no callback */
/* The whole key in the bucket, terminated. */
void myco__s3_full_key(const struct s3_store *store, const char *key, struct myco_buf *out);

/* A put in parts. */
struct s3_upload;
struct s3_upload *myco__s3_upload(struct s3_store *store, const char *key, struct myco_slice bytes,
    const char *hash, myco_object_cb cb, void *data);  /* copies bytes */
void myco__s3_upload_cancel(struct s3_upload *upload); /* no callback */

#endif
