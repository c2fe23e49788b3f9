/* The module: S3 by libs3, for stores that know Signature V2 alone. libs3 2.0 is under the GPL,
 * version 3: a program that loads this module is bound by it, too. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "object/module.h"
#include "s3-libs3/private.h"

struct opened {
    struct myco_s3_url url;
    struct libs3_loop *loop;
};

static int parse(const char *text, struct myco_s3_url *url, struct myco_err *err)
{
    int rc = myco_s3_url_parse(text, url, err);
    if (rc) return rc;
    if (url->single_writer) return 0;
    myco_s3_url_release(url);
    return myco_err(err, MYCO_EINVAL,
        "signature=v2 has no put-if-absent, so nothing keeps two clusters from writing to one "
        "store: run a single node with it, and declare that by single_writer=yes");
}

static int check(const char *text, struct myco_err *err)
{
    struct myco_s3_url url;
    int rc = parse(text, &url, err);
    if (rc == 0) myco_s3_url_release(&url);
    return rc;
}

static void close_opened(void *handle, void (*closed)(void *data), void *data)
{
    struct opened *opened = handle;
    struct libs3_loop *loop = opened->loop;
    myco_s3_url_release(&opened->url);
    myco_free(opened);
    libs3_loop_close(loop, closed, data);
}

static int open_module(void *loop, struct myco_env *env, const char *text,
    struct myco_object **store, void **handle, struct myco_err *err)
{
    struct opened *opened = myco_alloc(sizeof(*opened));
    struct myco_s3_credentials credentials = {0};
    char region[64];
    int rc = parse(text, &opened->url, err);
    if (rc == 0) {
        rc = myco_s3_credentials_find(opened->url.profile, &credentials, err);
        if (rc == 0) rc = libs3_loop_open(loop, &opened->loop, err);
        if (rc) myco_s3_url_release(&opened->url);
    }
    if (rc) {
        myco_free(opened);
        return rc;
    }
    myco_s3_region_find(&opened->url, region, sizeof(region));
    *store = libs3_store(env, opened->loop, &opened->url, region, &credentials);
    explicit_bzero(&credentials, sizeof(credentials));
    *handle = opened;
    return 0;
}

MYCO_API const struct myco_store_module myco_store_module;
const struct myco_store_module myco_store_module = {
    .version = myco_version,
    .check = check,
    .open = open_module,
    .close = close_opened,
};
