/* Catches: a driver over libs3 that differs from the others, loses a callback when it is closed, or
 * stalls since a socket is not watched. Needs a server, as test_s3_server.c. */
#include <stdlib.h>

#include "object_conformance.h"
#include "object_world.h"
#include "s3-libs3/private.h"

static bool wait_for(bool *done, void *data)
{
    return object_world_wait(data, done);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

/* put-if-absent looks before it puts: right for one writer after the other. */
static void one_writer(struct conformance *run)
{
    struct conformance_answer answer = {0};
    is_int(conformance_put(run, &answer, "once", myco_str("a"), MYCO_OBJECT_IF_ABSENT), 0,
        "put-if-absent of what is absent");
    is_int(conformance_put(run, &answer, "once", myco_str("b"), MYCO_OBJECT_IF_ABSENT),
        MYCO_EEXISTS, "and of what is there");
    ok(conformance_get(run, &answer, "once", 0, 0) == 0 && conformance_holds(&answer, "a"),
        "which stays");
    conformance_del(run, &answer, "once");
    conformance_reset(&answer);
}

/* Many at once, more than a page. */
static void many(struct conformance *run)
{
    enum { COUNT = 1050 };
    static struct conformance_answer answers[COUNT];
    struct conformance_answer answer = {0};
    unsigned put = 0;
    for (int i = 0; i < COUNT; i++) {
        char key[32];
        snprintf(key, sizeof key, "many/%05d", i);
        run->store->ops->put(run->store, key, myco_str("x"), 0, conformance_on_done, &answers[i]);
        if (i % 50 == 49 || i == COUNT - 1)
            for (int j = i - i % 50; j <= i; j++) run->wait(&answers[j].done, run->data);
    }
    for (int i = 0; i < COUNT; i++) put += answers[i].status == 0;
    is_int(put, COUNT, "%d puts, 50 at once", COUNT);
    is_int(conformance_list(run, &answer, "many/"), 0, "a listing of more than one page");
    ok(answer.count == COUNT && answer.sorted, "is whole and sorted");
}

int main(void)
{
    const char *endpoint = getenv("S3_ENDPOINT"), *bucket = getenv("S3_BUCKET");
    if (endpoint == NULL || bucket == NULL) {
        skip("no S3 server: scripts/s3-server run COMMAND starts one");
        return plan_done();
    }
    struct object_world world;
    struct libs3_loop *loop;
    struct myco_s3_url url;
    struct myco_s3_credentials credentials;
    struct myco_err err;
    char text[512];
    bool closed = false;
    snprintf(text, sizeof text, "s3://%s/libs3/deep?endpoint=%s&path_style=yes&signature=v2",
        bucket, endpoint);
    object_world_uv(&world);
    if (myco_s3_url_parse(text, &url, &err) || myco_s3_credentials_find(NULL, &credentials, &err) ||
        libs3_loop_open(&world.loop, &loop, &err))
        bail_out("%s", err.message);
    struct conformance run = {
        libs3_store(world.env, loop, &url, "us-east-1", &credentials), wait_for, &world};
    conformance_run(&run);
    one_writer(&run);
    many(&run);
    struct conformance_answer answers[3] = {{0}};
    run.store->ops->put(run.store, "k", myco_str("v"), 0, conformance_on_done, &answers[0]);
    run.store->ops->list(run.store, "", conformance_on_list, &answers[1]);
    for (int i = 0; i < 3; i++) uv_run(&world.loop, UV_RUN_NOWAIT);
    run.store->ops->get(run.store, "k", 0, 0, conformance_on_get, &answers[2]);
    run.store->ops->close(run.store);
    for (int i = 0; i < 3; i++)
        ok(answers[i].calls == 1 && answers[i].status == MYCO_ECANCELED, "close cancels call %d",
            i);
    libs3_loop_close(loop, on_closed, &closed);
    ok(object_world_wait(&world, &closed), "the loop lets go of it");
    myco_s3_url_release(&url);
    object_world_close(&world);
    return plan_done();
}
