/* Catches: what a real S3 server does not accept, or does otherwise than the driver believes. Needs
 * one: `scripts/s3-server run …` sets S3_ENDPOINT and S3_BUCKET; without it all is skipped. */
#include <stdlib.h>

#include "object_conformance.h"
#include "object_world.h"
#include "s3/curl.h"
#include "s3/store.h"
#include "s3/url.h"

static bool wait_for(bool *done, void *data)
{
    return object_world_wait(data, done);
}

static int find_credentials(struct myco_s3_credentials *out, struct myco_err *err, void *data)
{
    int rc = myco_s3_credentials_find(NULL, out, err);
    if (data != NULL) strcat(out->secret, data);
    return rc;
}

static struct myco_object *open_at(const char *endpoint, struct object_world *world,
    struct myco_http *http, const char *prefix, const char *bucket, char *spoil)
{
    struct myco_object *store;
    struct myco_err err;
    struct myco_s3_options options = {.http = http,
        .endpoint = endpoint,
        .bucket = bucket,
        .prefix = prefix,
        .region = "us-east-1",
        .path_style = true,
        .attempts = 3,
        .credentials = find_credentials,
        .credentials_data = spoil};
    if (myco_object_s3(world->env, &options, &store, &err) != 0) bail_out("%s", err.message);
    return store;
}

static struct myco_object *open_store(struct object_world *world, struct myco_http *http,
    const char *prefix, const char *bucket, char *spoil)
{
    return open_at(getenv("S3_ENDPOINT"), world, http, prefix, bucket, spoil);
}

/* In parts, and back. */
static void large(struct conformance *run)
{
    struct conformance_answer answer = {0};
    struct myco_buf bytes = {0};
    size_t size = 2 * (size_t)MYCO_S3_PART_SIZE + 12345;
    myco_buf_reserve(&bytes, size);
    for (size_t i = 0; i < size; i++) bytes.data[i] = (uint8_t)(i * 2654435761u >> 13);
    bytes.size = size;
    is_int(
        conformance_put(run, &answer, "large", myco_buf_as_slice(&bytes), 0), 0, "16 MiB in parts");
    is_int(conformance_get(run, &answer, "large", 0, 0), 0, "come back");
    ok(answer.bytes.size == size && memcmp(answer.bytes.data, bytes.data, size) == 0,
        "as they were");
    is_int(conformance_put(run, &answer, "large", myco_buf_as_slice(&bytes), MYCO_OBJECT_IF_ABSENT),
        MYCO_EEXISTS, "if-absent is refused however large");
    is_int(conformance_get(run, &answer, "large", size, 0), 0, "beyond the end");
    is_int(answer.bytes.size, 0, "is nothing");
    conformance_del(run, &answer, "large");
    conformance_reset(&answer);
    myco_buf_free(&bytes);
}

/* More than one page of a listing (1,000). */
static void many(struct conformance *run)
{
    enum { COUNT = 1100 };
    static struct conformance_answer answers[COUNT];
    struct conformance_answer answer = {0};
    unsigned put = 0, deleted = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            char key[32];
            snprintf(key, sizeof key, "many/%05d", i);
            memset(&answers[i], 0, sizeof answers[i]);
            if (round == 0)
                run->store->ops->put(
                    run->store, key, myco_str("x"), 0, conformance_on_done, &answers[i]);
            else
                run->store->ops->del(run->store, key, conformance_on_done, &answers[i]);
            if (i % 500 == 499 || i == COUNT - 1)
                for (int j = i - i % 500; j <= i; j++) run->wait(&answers[j].done, run->data);
        }
        for (int i = 0; i < COUNT; i++) *(round == 0 ? &put : &deleted) += answers[i].status == 0;
        if (round > 0) break;
        is_int(conformance_list(run, &answer, "many/"), 0, "a listing of more than one page");
        ok(answer.count == COUNT && answer.sorted, "is whole and sorted");
    }
    ok(put == COUNT && deleted == COUNT, "%d puts and deletes", COUNT);
}

static void refused(struct object_world *world, struct myco_http *http)
{
    struct conformance run = {.wait = wait_for, .data = world};
    struct conformance_answer answer = {0};
    char wrong[] = "x";
    run.store = open_store(world, http, "p", getenv("S3_BUCKET"), wrong);
    is_int(conformance_put(&run, &answer, "k", myco_str("v"), 0), MYCO_EDENIED,
        "a wrong secret is EDENIED");
    ok(strstr(answer.message, "SignatureDoesNotMatch") != NULL, "and says so: %s", answer.message);
    run.store->ops->close(run.store);
    run.store = open_store(world, http, "p", "no-such-bucket", NULL);
    is_int(conformance_list(&run, &answer, ""), MYCO_EINVAL, "a bucket that is not there");
    run.store->ops->close(run.store);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

/* A put over TLS, trusting the certificates of `ca` (NULL: the system's). */
static void over_tls(struct object_world *world, const char *ca, int want, const char *what)
{
    struct conformance run = {.wait = wait_for, .data = world};
    struct conformance_answer answer = {0};
    struct myco_http *http;
    struct myco_err err;
    bool closed = false;
    if (myco_curl_open(&world->loop, &(struct myco_curl_options){.ca = ca}, &http, &err) != 0)
        bail_out("%s", err.message);
    run.store = open_at(getenv("S3_TLS_ENDPOINT"), world, http, "tls", getenv("S3_BUCKET"), NULL);
    is_int(conformance_put(&run, &answer, "k", myco_str("v"), 0), want, "%s: %s", what,
        answer.message);
    run.store->ops->close(run.store);
    myco_curl_close(http, on_closed, &closed);
    object_world_wait(world, &closed);
}

int main(void)
{
    if (getenv("S3_ENDPOINT") == NULL) {
        skip("no S3 server: scripts/s3-server run COMMAND starts one");
        return plan_done();
    }
    struct object_world world;
    struct myco_http *http, *other;
    struct myco_err err;
    bool closed = false;
    object_world_uv(&world);
    if (myco_curl_open(&world.loop, &(struct myco_curl_options){0}, &http, &err) != 0)
        bail_out("%s", err.message);
    struct conformance run = {
        open_store(&world, http, "test/deep", getenv("S3_BUCKET"), NULL), wait_for, &world};
    conformance_run(&run);
    large(&run);
    many(&run);
    struct conformance_answer answers[2] = {{0}};
    run.store->ops->put(run.store, "k", myco_str("v"), 0, conformance_on_done, &answers[0]);
    run.store->ops->list(run.store, "", conformance_on_list, &answers[1]);
    run.store->ops->close(run.store);
    ok(answers[0].status == MYCO_ECANCELED && answers[1].status == MYCO_ECANCELED,
        "close cancels what is under way");
    refused(&world, http);
    over_tls(&world, getenv("S3_CA"), 0, "TLS with a CA of one's own");
    over_tls(&world, NULL, MYCO_EDENIED, "TLS with a CA that nobody trusts is refused");
    is_int(myco_curl_open(&world.loop, &(struct myco_curl_options){.ca = "/none"}, &other, &err),
        MYCO_ENOTFOUND, "a file of certificates that is not there: %s", err.message);
    myco_curl_close(http, on_closed, &closed);
    ok(object_world_wait(&world, &closed), "HTTP closes");
    object_world_close(&world);
    return plan_done();
}
