/* AWS Signature Version 4: a canonical request, its hash in a string to sign, a key derived from
 * secret, day, region and service, and the HMAC of one with the other. */
#include "s3/sign.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"

#define HASH_SIZE   32
#define HEADERS_MAX 16
#define SCOPE_MAX   128

void myco_s3_time(uint64_t time_ms, char text[17])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    if (strftime(text, 17, "%Y%m%dT%H%M%SZ", &utc) != 16) memcpy(text, "19700101T000000Z", 17);
}

static void to_hex(const uint8_t *bytes, size_t size, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * size] = '\0';
}

void myco_s3_hash(struct myco_slice bytes, char hex[MYCO_S3_HASH_SIZE])
{
    uint8_t hash[HASH_SIZE];
    unsigned size = sizeof(hash);
    int rc = EVP_Digest(bytes.size ? bytes.data : "", bytes.size, hash, &size, EVP_sha256(), NULL);
    MYCO_ASSERT(rc == 1);
    to_hex(hash, sizeof(hash), hex);
}

static void hmac(const void *key, size_t key_size, const char *text, uint8_t out[HASH_SIZE])
{
    unsigned size = HASH_SIZE;
    const void *rc = HMAC(
        EVP_sha256(), key, (int)key_size, (const unsigned char *)text, strlen(text), out, &size);
    MYCO_ASSERT(rc != NULL);
}

void myco_s3_encode(struct myco_buf *out, const char *text, bool slash)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        bool plain = (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z') ||
                     (*at >= '0' && *at <= '9') || strchr("-._~", *at) != NULL;
        if (plain || (*at == '/' && !slash))
            myco_buf_u8(out, *at);
        else
            myco_buf_printf(out, "%%%02X", *at);
    }
}

void myco_s3_query(struct myco_buf *out, const struct myco_s3_parameter *query, size_t query_count)
{
    for (size_t i = 0; i < query_count; i++) {
        if (i > 0) myco_buf_u8(out, '&');
        myco_s3_encode(out, query[i].name, true);
        myco_buf_u8(out, '=');
        myco_s3_encode(out, query[i].value, true);
    }
}

/* All headers that are signed, sorted by name: `host`, the fixed ones of x-amz-, and the
 * caller's. */
static size_t gather(const struct myco_s3_to_sign *request, const char *time, const char *token,
    struct myco_http_header *headers)
{
    size_t count = 0;
    MYCO_ASSERT(request->header_count + 4 <= HEADERS_MAX);
    headers[count++] = (struct myco_http_header){"host", request->host};
    headers[count++] = (struct myco_http_header){"x-amz-content-sha256", request->content_hash};
    headers[count++] = (struct myco_http_header){"x-amz-date", time};
    if (token[0]) headers[count++] = (struct myco_http_header){"x-amz-security-token", token};
    for (size_t i = 0; i < request->header_count; i++) {
        size_t at = count++;
        for (; at > 0 && strcmp(headers[at - 1].name, request->headers[i].name) > 0; at--)
            headers[at] = headers[at - 1];
        headers[at] = request->headers[i];
    }
    return count;
}

static void names_of(
    struct myco_buf *out, const struct myco_http_header *headers, size_t header_count)
{
    for (size_t i = 0; i < header_count; i++)
        myco_buf_printf(out, "%s%s", i > 0 ? ";" : "", headers[i].name);
}

static void canonical(struct myco_buf *out, const struct myco_s3_to_sign *request,
    const struct myco_http_header *headers, size_t header_count)
{
    myco_buf_printf(out, "%s\n", request->method);
    myco_s3_encode(out, request->path, false);
    myco_buf_u8(out, '\n');
    myco_s3_query(out, request->query, request->query_count);
    myco_buf_u8(out, '\n');
    for (size_t i = 0; i < header_count; i++)
        myco_buf_printf(out, "%s:%s\n", headers[i].name, headers[i].value);
    myco_buf_u8(out, '\n');
    names_of(out, headers, header_count);
    myco_buf_printf(out, "\n%s", request->content_hash);
}

void myco_s3_sign(const struct myco_s3_to_sign *request,
    const struct myco_s3_credentials *credentials, struct myco_buf *authorization)
{
    struct myco_http_header headers[HEADERS_MAX];
    struct myco_buf text = {0};
    char time[17], day[9], scope[SCOPE_MAX], hash[MYCO_S3_HASH_SIZE];
    myco_s3_time(request->time_ms, time);
    memcpy(day, time, 8);
    day[8] = '\0';
    size_t header_count = gather(request, time, credentials->token, headers);
    canonical(&text, request, headers, header_count);
    myco_s3_hash(myco_buf_as_slice(&text), hash);
    snprintf(scope, sizeof(scope), "%s/%s/s3/aws4_request", day, request->region);
    myco_buf_clear(&text);
    myco_buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", time, scope, hash);
    myco_buf_u8(&text, 0);

    uint8_t key[HASH_SIZE];
    char secret[sizeof(credentials->secret) + 4];
    snprintf(secret, sizeof(secret), "AWS4%s", credentials->secret);
    hmac(secret, strlen(secret), day, key);
    hmac(key, sizeof(key), request->region, key);
    hmac(key, sizeof(key), "s3", key);
    hmac(key, sizeof(key), "aws4_request", key);
    hmac(key, sizeof(key), text.failed ? "" : (const char *)text.data, key);
    to_hex(key, sizeof(key), hash);

    myco_buf_printf(authorization,
        "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=", credentials->key_id, scope);
    names_of(authorization, headers, header_count);
    myco_buf_printf(authorization, ",Signature=%s", hash);
    myco_buf_u8(authorization, 0);
    OPENSSL_cleanse(secret, sizeof(secret));
    OPENSSL_cleanse(key, sizeof(key));
    myco_buf_free(&text);
}
