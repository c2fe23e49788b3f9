/* The module: S3 over HTTPS by libcurl. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "object/module.h"
#include "s3/curl.h"
#include "s3/store.h"
#include "s3/url.h"

struct opened {
    struct myco_s3_url url;
    struct myco_http *http;
};

static int check(const char *text, struct myco_err *err)
{
    struct myco_s3_url url;
    int rc = myco_s3_url_parse(text, &url, err);
    if (rc == 0) myco_s3_url_release(&url);
    return rc;
}

static int find_credentials(struct myco_s3_credentials *out, struct myco_err *err, void *data)
{
    return myco_s3_credentials_find(data, out, err);
}

static int open_store(
    struct opened *opened, struct myco_env *env, struct myco_object **store, struct myco_err *err)
{
    const struct myco_s3_url *url = &opened->url;
    char region[64], endpoint[128];
    myco_s3_region_find(url, region, sizeof(region));
    snprintf(endpoint, sizeof(endpoint), "https://s3.%s.amazonaws.com", region);
    struct myco_s3_options options = {.http = opened->http,
        .endpoint = url->endpoint != NULL ? url->endpoint : endpoint,
        .bucket = url->bucket,
        .prefix = url->prefix,
        .region = region,
        .path_style = url->path_style,
        .attempts = url->attempts,
        .timeout_ms = (unsigned)url->timeout_ms,
        .credentials = find_credentials,
        .credentials_data = url->profile};
    return myco_object_s3(env, &options, store, err);
}

static void ignore(void *data)
{
    (void)data;
}

static void close_opened(void *handle, void (*closed)(void *data), void *data)
{
    struct opened *opened = handle;
    struct myco_http *http = opened->http;
    myco_s3_url_release(&opened->url);
    myco_free(opened);
    myco_curl_close(http, closed, data);
}

static int open_module(void *loop, struct myco_env *env, const char *text,
    struct myco_object **store, void **handle, struct myco_err *err)
{
    struct opened *opened = myco_alloc(sizeof(*opened));
    int rc = myco_s3_url_parse(text, &opened->url, err);
    if (rc == 0)
        rc = myco_curl_open(
            loop, &(struct myco_curl_options){.ca = opened->url.ca}, &opened->http, err);
    if (rc) {
        myco_s3_url_release(&opened->url);
        myco_free(opened);
        return rc;
    }
    rc = open_store(opened, env, store, err);
    if (rc)
        close_opened(opened, ignore, NULL);
    else
        *handle = opened;
    return rc;
}

MYCO_API const struct myco_store_module myco_store_module;
const struct myco_store_module myco_store_module = {
    .version = myco_version,
    .check = check,
    .open = open_module,
    .close = close_opened,
};
