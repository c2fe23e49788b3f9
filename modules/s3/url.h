/* What a store of S3 is named by: s3://BUCKET/PREFIX?NAME=VALUE&…; and who may use it. */
#ifndef MYCO_S3_URL_H
#define MYCO_S3_URL_H

#include "base/err.h"
#include "s3/sign.h"

struct myco_s3_url {
    char *bucket, *prefix;
    char *endpoint, *region, *profile, *ca; /* NULL: not said */
    bool path_style;
    unsigned signature; /* 0: V4; 1: V2, of modules/s3-libs3 */
    bool single_writer;
    uint64_t timeout_ms;
    uint32_t attempts;
};
/* EINVAL: says what is wrong with it. */
int myco_s3_url_parse(const char *text, struct myco_s3_url *url, struct myco_err *err);
void myco_s3_url_release(struct myco_s3_url *url);

/* Where the tools of AWS look: the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
 * AWS_SESSION_TOKEN), then the profile (AWS_PROFILE, else "default") in
 * AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials. A `profile` that is not NULL goes before
 * the environment. EDENIED: there is none. */
int myco_s3_credentials_find(
    const char *profile, struct myco_s3_credentials *out, struct myco_err *err);
/* Of the URL, AWS_REGION, AWS_DEFAULT_REGION, the profile in AWS_CONFIG_FILE or ~/.aws/config,
 * else "us-east-1". */
void myco_s3_region_find(const struct myco_s3_url *url, char *region, size_t size);

#endif
