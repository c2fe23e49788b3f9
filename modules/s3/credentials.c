/* Credentials and region where the tools of AWS find them: environment, then files like
 *
 *     [default]
 *     aws_access_key_id = AKIA…
 *     aws_secret_access_key = … */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "s3/url.h"

#define LINE_MAX_SIZE 8192
#define PATH_MAX_SIZE 4096

static char *trim(char *text)
{
    while (isspace((unsigned char)*text)) text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1])) *--end = '\0';
    return text;
}

/* "[name]" or, in the file of configuration, "[profile name]". */
static bool names_profile(char *line, const char *profile)
{
    char *end = strchr(line, ']');
    if (end == NULL) return false;
    *end = '\0';
    char *name = trim(line + 1);
    if (strncmp(name, "profile ", 8) == 0) name = trim(name + 8);
    return strcmp(name, profile) == 0;
}

/* Calls `found` for each setting of the profile. false: the file can't be read. */
static bool read_profile(const char *path, const char *profile,
    void (*found)(const char *name, const char *value, void *data), void *data)
{
    char line[LINE_MAX_SIZE];
    bool ours = false;
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    while (fgets(line, sizeof(line), file) != NULL) {
        char *text = trim(line);
        if (*text == '[') {
            ours = names_profile(text, profile);
            continue;
        }
        char *value = strchr(text, '=');
        if (!ours || *text == '#' || *text == ';' || value == NULL) continue;
        *value++ = '\0';
        found(trim(text), trim(value), data);
    }
    fclose(file);
    explicit_bzero(line, sizeof(line));
    return true;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] ? value : NULL;
}

static void path_of(const char *name, const char *file, char path[PATH_MAX_SIZE])
{
    const char *home = variable("HOME");
    if (variable(name) != NULL)
        snprintf(path, PATH_MAX_SIZE, "%s", variable(name));
    else
        snprintf(path, PATH_MAX_SIZE, "%s/.aws/%s", home != NULL ? home : "", file);
}

static void take_credential(const char *name, const char *value, void *data)
{
    struct myco_s3_credentials *out = data;
    if (strcmp(name, "aws_access_key_id") == 0)
        myco_text_copy(out->key_id, sizeof(out->key_id), value);
    if (strcmp(name, "aws_secret_access_key") == 0)
        myco_text_copy(out->secret, sizeof(out->secret), value);
    if (strcmp(name, "aws_session_token") == 0)
        myco_text_copy(out->token, sizeof(out->token), value);
}

int myco_s3_credentials_find(
    const char *profile, struct myco_s3_credentials *out, struct myco_err *err)
{
    char path[PATH_MAX_SIZE];
    memset(out, 0, sizeof(*out));
    const char *key_id = variable("AWS_ACCESS_KEY_ID"), *secret = variable("AWS_SECRET_ACCESS_KEY");
    if (profile == NULL && key_id != NULL && secret != NULL) {
        take_credential("aws_access_key_id", key_id, out);
        take_credential("aws_secret_access_key", secret, out);
        const char *token = variable("AWS_SESSION_TOKEN");
        if (token != NULL) take_credential("aws_session_token", token, out);
        return 0;
    }
    if (profile == NULL) profile = variable("AWS_PROFILE");
    if (profile == NULL) profile = "default";
    path_of("AWS_SHARED_CREDENTIALS_FILE", "credentials", path);
    read_profile(path, profile, take_credential, out);
    if (out->key_id[0] && out->secret[0]) return 0;
    return myco_err(err, MYCO_EDENIED,
        "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or put them into "
        "the profile '%s' of %s",
        profile, path);
}

struct region_text {
    char *text;
    size_t size;
};

static void take_region(const char *name, const char *value, void *data)
{
    struct region_text *region = data;
    if (strcmp(name, "region") == 0) myco_text_copy(region->text, region->size, value);
}

void myco_s3_region_find(const struct myco_s3_url *url, char *region, size_t size)
{
    const char *said = url->region;
    if (said == NULL) said = variable("AWS_REGION");
    if (said == NULL) said = variable("AWS_DEFAULT_REGION");
    region[0] = '\0';
    if (said != NULL) {
        myco_text_copy(region, size, said);
        return;
    }
    char path[PATH_MAX_SIZE];
    const char *profile = url->profile != NULL ? url->profile : variable("AWS_PROFILE");
    path_of("AWS_CONFIG_FILE", "config", path);
    read_profile(path, profile != NULL ? profile : "default", take_region,
        &(struct region_text){region, size});
    if (!region[0]) myco_text_copy(region, size, "us-east-1");
}
