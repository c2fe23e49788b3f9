/* The `s3:` driver: Signature V4, over any HTTP (http.h). What S3-compatible stores have in
 * common is used and no more: PUT (with If-None-Match: * for put-if-absent), GET with ranges,
 * DELETE, ListObjectsV2, multipart uploads.
 *
 * Every request is tried again, after a jittered pause that doubles, while the store is busy or not
 * reached (5xx, 429, SlowDown, time-outs), up to `attempts`. A clock that is off, a region that is
 * another, and credentials that have expired are put right by what the store answers, once for each
 * request. What comes back is compared with a checksum. */
#ifndef MYCO_S3_STORE_H
#define MYCO_S3_STORE_H

#include "object/object.h"
#include "s3/http.h"
#include "s3/sign.h"

#define MYCO_S3_PART_SIZE                                                                          \
    (8u * 1024 * 1024) /* puts above it go in parts of it, unless if-absent                        \
                        */

struct myco_s3_options {
    struct myco_http *http; /* stays until the store is closed */
    const char *endpoint;   /* "https://s3.eu-central-1.amazonaws.com", without a path */
    const char *bucket;
    const char *prefix; /* of every key, without slashes around it; "" */
    const char *region;
    bool path_style;       /* endpoint/bucket/key instead of bucket.endpoint/key */
    unsigned attempts;     /* 0: 6 */
    unsigned timeout_ms;   /* of one attempt; 0: 30,000 */
    unsigned requests_max; /* under way or waiting: EFULL above; 0: 1,024 */
    /* Fills in what to sign with; asked at the start, and when the store says that they expired. */
    int (*credentials)(struct myco_s3_credentials *out, struct myco_err *err, void *data);
    void *credentials_data;
};

/* *store is given (ops->close). Strings are copied. EINVAL: an option is not what it should be;
 * what `credentials` returned. */
int myco_object_s3(struct myco_env *env, const struct myco_s3_options *options,
    struct myco_object **store, struct myco_err *err);

#endif
