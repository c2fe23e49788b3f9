/* The URL of a store, with the options of its query. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/option.h"
#include "s3/url.h"

#define S3(field) MYCO_OPTION_AT(struct myco_s3_url, field)

static const struct myco_option s3_options[] = {
    {"endpoint", MYCO_OPTION_TEXT, S3(endpoint), .hint = "URL",
        .doc = "where the store is, when it is not Amazon's"},
    {"region", MYCO_OPTION_TEXT, S3(region), .doc = "the bucket's region"},
    {"path_style", MYCO_OPTION_BOOL, S3(path_style), .initial = "false",
        .doc = "the bucket in the path instead of the host's name"},
    {"profile", MYCO_OPTION_TEXT, S3(profile), .doc = "of the file of credentials"},
    {"ca", MYCO_OPTION_TEXT, S3(ca), .hint = "FILE",
        .doc = "certificates to trust instead of the system's"},
    {"timeout", MYCO_OPTION_DURATION, S3(timeout_ms), .initial = "30s", .min = 100, .max = 3600000,
        .doc = "of one attempt"},
    {"attempts", MYCO_OPTION_U64, S3(attempts), .initial = "6", .min = 1, .max = 100,
        .doc = "of one request, while the store is busy or not reached"},
    {"signature", MYCO_OPTION_CHOICE, S3(signature), .choices = "v4,v2", .initial = "v4",
        .doc = "v2 is spoken by libs3, for old stores"},
    {"single_writer", MYCO_OPTION_BOOL, S3(single_writer), .initial = "false",
        .doc = "declares that one node alone writes to the store; for signature=v2"},
    {0}};

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes in place; false: no valid encoding, or a zero. */
static bool decode(char *text)
{
    char *to = text;
    for (char *at = text; *at; at++) {
        if (*at == '%') {
            int high = hex(at[1]), low = high < 0 ? -1 : hex(at[2]);
            if (low < 0 || (high | low) == 0) return false;
            *to++ = (char)(high << 4 | low);
            at += 2;
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
    return true;
}

static int set_option(struct myco_s3_url *url, char *pair, struct myco_err *err)
{
    char *value = strchr(pair, '=');
    if (value == NULL || !decode(value + 1))
        return myco_err(err, MYCO_EINVAL, "'%s' should be NAME=VALUE", pair);
    *value++ = '\0';
    return myco_options_set(s3_options, url, pair, value, err);
}

static int parse(char *text, struct myco_s3_url *url, struct myco_err *err)
{
    char *query = strchr(text, '?');
    if (query != NULL) *query++ = '\0';
    char *prefix = strchr(text, '/');
    if (prefix != NULL) *prefix++ = '\0';
    if (prefix != NULL && prefix[0] && prefix[strlen(prefix) - 1] == '/')
        prefix[strlen(prefix) - 1] = '\0';
    if (text[0] == '\0') return myco_err(err, MYCO_EINVAL, "should be s3://BUCKET/PREFIX");
    url->bucket = myco_strdup(text);
    url->prefix = myco_strdup(prefix != NULL ? prefix : "");
    int rc = 0;
    char *rest = query;
    for (char *pair; rc == 0 && rest != NULL && (pair = strsep(&rest, "&")) != NULL;)
        if (*pair) rc = set_option(url, pair, err);
    return rc;
}

int myco_s3_url_parse(const char *text, struct myco_s3_url *url, struct myco_err *err)
{
    memset(url, 0, sizeof(*url));
    myco_options_init(s3_options, url);
    char *copy = myco_strdup(strncmp(text, "s3://", 5) == 0 ? text + 5 : "");
    int rc = parse(copy, url, err);
    myco_free(copy);
    if (rc) myco_s3_url_release(url);
    return rc;
}

void myco_s3_url_release(struct myco_s3_url *url)
{
    myco_free(url->bucket);
    myco_free(url->prefix);
    url->bucket = url->prefix = NULL;
    myco_options_release(s3_options, url);
}
