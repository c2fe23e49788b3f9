/* Catches: a URL that is misread, a mistake in it that is not named, credentials that are looked
 * for elsewhere than the tools of AWS look. */
#include <stdlib.h>
#include <unistd.h>

#include "s3/url.h"
#include "tap.h"

static void urls(void)
{
    struct myco_s3_url url;
    struct myco_err err;
    is_int(myco_s3_url_parse("s3://acme-prod/shop/eu/?region=eu-central-1&path-style=yes&"
                             "endpoint=http%3A%2F%2F127.0.0.1:9000&timeout=5s",
               &url, &err),
        0, "a whole URL");
    is_str(url.bucket, "acme-prod", "bucket");
    is_str(url.prefix, "shop/eu", "prefix, without its last slash");
    is_str(url.region, "eu-central-1", "region");
    is_str(url.endpoint, "http://127.0.0.1:9000", "endpoint, decoded");
    ok(url.path_style && url.timeout_ms == 5000 && url.attempts == 6, "options and defaults");
    myco_s3_url_release(&url);
    is_int(myco_s3_url_parse("s3://b", &url, &err), 0, "a bucket is enough");
    is_str(url.prefix, "", "without a prefix");
    myco_s3_url_release(&url);
    static const struct {
        const char *url, *says;
    } wrong[] = {{"s3://", "BUCKET"}, {"s3:///x", "BUCKET"}, {"s3://b?regoin=x", "region"},
        {"s3://b?region", "NAME=VALUE"}, {"s3://b?endpoint=%zz", "NAME=VALUE"},
        {"s3://b?endpoint=a%00b", "NAME=VALUE"}, {"s3://b?timeout=soon", "timeout"},
        {"s3://b?attempts=0", "attempts"}, {"s3://b?signature=v3", "signature"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int rc = myco_s3_url_parse(wrong[i].url, &url, &err);
        ok(rc == MYCO_EINVAL && strstr(err.message, wrong[i].says) != NULL, "%s: %s", wrong[i].url,
            err.message);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        bail_out("can't write %s", path);
}

static void credentials(void)
{
    static const char *const names[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"};
    struct myco_s3_credentials found;
    struct myco_err err;
    char folder[] = "/tmp/myco-test-s3-XXXXXX", file[64], config[64], region[64];
    if (mkdtemp(folder) == NULL) bail_out("no folder");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
    snprintf(file, sizeof file, "%s/credentials", folder);
    snprintf(config, sizeof config, "%s/config", folder);
    setenv("AWS_SHARED_CREDENTIALS_FILE", file, 1);
    setenv("AWS_CONFIG_FILE", config, 1);
    is_int(myco_s3_credentials_find(NULL, &found, &err), MYCO_EDENIED, "none: EDENIED");
    ok(strstr(err.message, file) != NULL && strstr(err.message, "AWS_ACCESS_KEY_ID") != NULL,
        "says where they should be: %s", err.message);
    write_file(file, "# mine\n[default]\naws_access_key_id = A1\naws_secret_access_key=S1 \n\n"
                     "[ other ]\naws_access_key_id=A2\naws_secret_access_key=S2\n"
                     "aws_session_token = T2=\n");
    write_file(config, "[default]\nregion = r1\n[profile other]\nregion = r2\n");
    is_int(myco_s3_credentials_find(NULL, &found, &err), 0, "of the file");
    ok(strcmp(found.key_id, "A1") == 0 && strcmp(found.secret, "S1") == 0 && !found.token[0],
        "the default profile");
    setenv("AWS_PROFILE", "other", 1);
    is_int(myco_s3_credentials_find(NULL, &found, &err), 0, "of AWS_PROFILE");
    ok(strcmp(found.key_id, "A2") == 0 && strcmp(found.token, "T2=") == 0, "with its token");
    struct myco_s3_url url = {0};
    myco_s3_region_find(&url, region, sizeof region);
    is_str(region, "r2", "its region");
    setenv("AWS_ACCESS_KEY_ID", "A3", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "S3", 1);
    setenv("AWS_REGION", "r3", 1);
    is_int(myco_s3_credentials_find(NULL, &found, &err), 0, "of the environment");
    is_str(found.key_id, "A3", "which goes before the file");
    myco_s3_region_find(&url, region, sizeof region);
    is_str(region, "r3", "as its region does");
    is_int(myco_s3_credentials_find("default", &found, &err), 0, "of a profile that is named");
    is_str(found.key_id, "A1", "which goes before the environment");
    char said[] = "r4";
    url.region = said;
    myco_s3_region_find(&url, region, sizeof region);
    is_str(region, "r4", "a region that is named, too");
    unlink(file);
    unlink(config);
    rmdir(folder);
}

int main(void)
{
    urls();
    credentials();
    return plan_done();
}
