/* Catches: a signature that the store will not accept; XML that is misread, or read from an answer
 * that is none. The examples are those of the S3 API reference. */
#include "base/mem.h"
#include "s3/sign.h"
#include "s3/xml.h"
#include "tap.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct myco_s3_credentials example = {
    .key_id = "AKIAIOSFODNN7EXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
static const uint64_t example_ms = 1369353600000; /* 2013-05-24T00:00:00Z */

static void ends_with(struct myco_s3_to_sign *request, const char *signature, const char *what)
{
    struct myco_buf authorization = {0};
    request->host = "examplebucket.s3.amazonaws.com";
    request->region = "us-east-1";
    request->time_ms = example_ms;
    myco_s3_sign(request, &example, &authorization);
    const char *text = (const char *)authorization.data;
    const char *at = strstr(text, "Signature=");
    is_str(at != NULL ? at + 10 : text, signature, "%s", what);
    myco_buf_free(&authorization);
}

static void sign(void)
{
    struct myco_http_header range = {"range", "bytes=0-9"};
    ends_with(&(struct myco_s3_to_sign){.method = "GET",
                  .path = "/test.txt",
                  .headers = &range,
                  .header_count = 1,
                  .content_hash = EMPTY},
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", "GET with a range");
    struct myco_http_header put[] = {
        {"x-amz-storage-class", "REDUCED_REDUNDANCY"}, {"date", "Fri, 24 May 2013 00:00:00 GMT"}};
    char hash[MYCO_S3_HASH_SIZE];
    myco_s3_hash(myco_str("Welcome to Amazon S3."), hash);
    ends_with(&(struct myco_s3_to_sign){.method = "PUT",
                  .path = "/test$file.text",
                  .headers = put,
                  .header_count = 2,
                  .content_hash = hash},
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        "PUT, with headers in any order");
    struct myco_s3_parameter lifecycle = {"lifecycle", ""};
    ends_with(&(struct myco_s3_to_sign){.method = "GET",
                  .path = "/",
                  .query = &lifecycle,
                  .query_count = 1,
                  .content_hash = EMPTY},
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        "a query without value");
    struct myco_s3_parameter list[] = {{"max-keys", "2"}, {"prefix", "J"}};
    ends_with(
        &(struct myco_s3_to_sign){
            .method = "GET", .path = "/", .query = list, .query_count = 2, .content_hash = EMPTY},
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", "a listing");
}

static void encode(void)
{
    struct myco_buf out = {0};
    char time[17];
    myco_s3_encode(&out, "a/b c+~", false);
    myco_s3_encode(&out, "/&=", true);
    myco_buf_u8(&out, 0);
    is_str((const char *)out.data, "a/b%20c%2B~%2F%26%3D", "percent-encoding as the store does it");
    myco_buf_free(&out);
    myco_s3_time(example_ms, time);
    is_str(time, "20130524T000000Z", "time");
}

static void errors(void)
{
    struct myco_s3_error error;
    myco_s3_read_error(
        myco_str("<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please "
                 "reduce &amp; wait</Message><Region>eu-west-1</Region></Error>"),
        &error);
    is_str(error.code, "SlowDown", "code of an error");
    is_str(error.message, "Please reduce & wait", "its message, decoded");
    is_str(error.region, "eu-west-1", "where the bucket is");
    static const char *const none[] = {"", "<html><Code>SlowDown</Code></html>", "<Error><Code>x",
        "<CompleteMultipartUploadResult><Code>a</Code></CompleteMultipartUploadResult>", "\x01\x02",
        "<!DOCTYPE e [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><Error><Code>&x;</Code></Error>"};
    unsigned read = 0;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        myco_s3_read_error(myco_str(none[i]), &error);
        read += error.code[0] != '\0';
    }
    is_int(read, 0, "what is no error document is none, and no file is opened");
}

static void listings(void)
{
    struct myco_s3_listing listing = {0};
    const char *page =
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>"
        "<IsTruncated>true</IsTruncated><Contents><Key>p/a&amp;b</Key><LastModified>"
        "2009-10-12T17:50:30.250Z</LastModified><Size>434234</Size><Owner><ID>9</ID><Key>no</Key>"
        "</Owner></Contents><NextContinuationToken>t/1=</NextContinuationToken></ListBucketResult>";
    is_int(myco_s3_read_listing(myco_str(page), &listing), 0, "a page of a listing");
    ok(listing.count == 1 && strcmp(listing.infos[0].key, "p/a&b") == 0, "its key");
    is_int(listing.infos[0].size, 434234, "its size");
    is_int(listing.infos[0].modified_ms, 1255369830250, "its time");
    ok(listing.more && strcmp(listing.next, "t/1=") == 0, "there is more");
    is_int(myco_s3_read_listing(
               myco_str("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"),
               &listing),
        MYCO_EPROTO, "more without a token would never end");
    is_int(myco_s3_read_listing(myco_str("<ListBucketResult><Contents><Key>x"), &listing),
        MYCO_EPROTO, "half a page is none");
    is_int(myco_s3_read_listing(myco_str("<Other></Other>"), &listing), MYCO_EPROTO,
        "nor is another document");
    is_int(listing.count, 1, "what was read before is kept");
    myco_s3_listing_free(&listing);
}

int main(void)
{
    sign();
    encode();
    errors();
    listings();
    return plan_done();
}
