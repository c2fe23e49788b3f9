/* Catches: a request that gives up while the store is only busy, or never gives up; one that is not
 * put right after the store said how; bytes that came damaged and are believed; parts of an upload
 * that are left behind. The store is a script of answers, time is virtual. */
#include "base/mem.h"
#include "env/sim.h"
#include "object_conformance.h"
#include "s3/store.h"
#include "tap.h"

enum { ANSWERS_MAX = 64 };

/* One answer; `error` instead of a status: there was none. */
struct script {
    int status, error;
    const char *body, *date, *hash, *etag;
};

struct fake {
    struct myco_http base;
    struct myco_env *env;
    const struct script *script; /* the last one is said again for ever */
    unsigned script_count, said;
    struct {
        char line[256], date[32], authorization[512], token[64];
        uint64_t at_ms;
    } seen[ANSWERS_MAX];
    unsigned credentials_asked;
};

struct pending {
    struct fake *fake;
    struct myco_timer timer;
    const struct script *script;
    myco_http_cb cb;
    void *data;
    struct myco_http_answer answer;
};

static const char *fake_header(const struct myco_http_answer *answer, const char *name)
{
    const struct pending *pending = MYCO_CONTAINER(answer, struct pending, answer);
    if (strcmp(name, "Date") == 0) return pending->script->date;
    if (strcmp(name, "ETag") == 0) return pending->script->etag;
    if (strcmp(name, "x-amz-meta-myco-sha256") == 0) return pending->script->hash;
    return NULL;
}

static void fake_answer(void *data)
{
    struct pending *pending = data;
    struct myco_buf body = {0};
    const struct script *script = pending->script;
    if (script->body != NULL) myco_buf_bytes(&body, script->body, strlen(script->body));
    pending->answer = (struct myco_http_answer){.status = script->status,
        .error = script->error,
        .message = "as the script says",
        .body = &body,
        .header = fake_header};
    pending->cb(&pending->answer, pending->data);
    myco_buf_free(&body);
    myco_free(pending);
}

static const char *header_of(const struct myco_http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcmp(request->headers[i].name, name) == 0) return request->headers[i].value;
    return "";
}

static void *fake_send(
    struct myco_http *base, const struct myco_http_request *request, myco_http_cb cb, void *data)
{
    struct fake *fake = MYCO_CONTAINER(base, struct fake, base);
    struct pending *pending = myco_alloc(sizeof(*pending));
    unsigned turn = fake->said++;
    if (turn < ANSWERS_MAX) {
        snprintf(fake->seen[turn].line, sizeof(fake->seen[turn].line), "%s %s", request->method,
            request->url);
        snprintf(fake->seen[turn].date, sizeof(fake->seen[turn].date), "%s",
            header_of(request, "x-amz-date"));
        snprintf(fake->seen[turn].authorization, sizeof(fake->seen[turn].authorization), "%s",
            header_of(request, "Authorization"));
        snprintf(fake->seen[turn].token, sizeof(fake->seen[turn].token), "%s",
            header_of(request, "x-amz-security-token"));
        fake->seen[turn].at_ms = myco_now_ms(fake->env);
    }
    pending->fake = fake;
    pending->script = &fake->script[turn < fake->script_count ? turn : fake->script_count - 1];
    pending->cb = cb;
    pending->data = data;
    myco_timer_init(&pending->timer, fake->env, fake_answer, pending);
    myco_timer_start(&pending->timer, 10, 0);
    return pending;
}

static void fake_cancel(struct myco_http *http, void *handle)
{
    struct pending *pending = handle;
    (void)http;
    myco_timer_stop(&pending->timer);
    myco_free(pending);
}

static const struct myco_http_ops fake_ops = {.send = fake_send, .cancel = fake_cancel};

static int give_credentials(struct myco_s3_credentials *out, struct myco_err *err, void *data)
{
    struct fake *fake = data;
    (void)err;
    memset(out, 0, sizeof(*out));
    strcpy(out->key_id, "key");
    strcpy(out->secret, "secret");
    snprintf(out->token, sizeof(out->token), "token-%u", ++fake->credentials_asked);
    return 0;
}

static bool is_done(void *data)
{
    return *(bool *)data;
}

static bool wait_done(bool *done, void *data)
{
    return myco_sim_run_until(data, is_done, done, 600000);
}

/* A store whose answers are `script`, and what the test does with it. */
static void with(const struct script *script, unsigned script_count,
    void (*test)(struct conformance *run, struct fake *fake))
{
    struct myco_sim_options options;
    myco_sim_options_init(&options, 7, 1);
    struct myco_sim *sim = myco_sim_new(&options);
    myco_sim_start(sim, 0);
    struct fake fake = {.base.ops = &fake_ops,
        .env = myco_sim_env(sim, 0),
        .script = script,
        .script_count = script_count};
    struct myco_s3_options s3 = {.http = &fake.base,
        .endpoint = "http://s3.example:9000",
        .bucket = "b",
        .prefix = "p",
        .region = "us-east-1",
        .path_style = true,
        .credentials = give_credentials,
        .credentials_data = &fake};
    struct conformance run = {.wait = wait_done, .data = sim};
    struct myco_err err;
    if (myco_object_s3(fake.env, &s3, &run.store, &err) != 0) bail_out("%s", err.message);
    test(&run, &fake);
    run.store->ops->close(run.store);
    myco_sim_free(sim);
}

#define ERROR(code)        "<Error><Code>" code "</Code><Message>m</Message></Error>"
#define WITH(script, test) with(script, sizeof(script) / sizeof(script[0]), test)

static void busy(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    is_int(conformance_put(run, &answer, "k", myco_str("v"), 0), 0, "busy, then fine: put");
    is_int(fake->said, 6, "after five that were busy or lost");
    is_str(fake->seen[0].line, "PUT http://s3.example:9000/b/p/k", "the bucket in the path");
    uint64_t first = fake->seen[1].at_ms - fake->seen[0].at_ms;
    uint64_t last = fake->seen[5].at_ms - fake->seen[4].at_ms;
    ok(first <= 220 && last <= 3300, "with pauses that are bounded: %llu, %llu ms",
        (unsigned long long)first, (unsigned long long)last);
    conformance_reset(&answer);
}

static void busy_for_ever(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    is_int(conformance_get(run, &answer, "k", 0, 0), MYCO_EUNAVAILABLE, "busy for ever: given up");
    is_int(fake->said, 6, "after six attempts");
    ok(strstr(answer.message, "503 SlowDown") != NULL && strstr(answer.message, "p/k") != NULL,
        "and says of what: %s", answer.message);
    is_int(answer.calls, 1, "once");
    conformance_reset(&answer);
}

static void no_retry(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    is_int(conformance_put(run, &answer, "k", myco_str("v"), MYCO_OBJECT_IF_ABSENT), MYCO_EEXISTS,
        "412 is EEXISTS");
    is_int(conformance_get(run, &answer, "k", 0, 0), MYCO_EDENIED, "403 is EDENIED");
    is_int(conformance_list(run, &answer, "x"), MYCO_EINVAL, "no such bucket is EINVAL");
    ok(strstr(answer.message, "NoSuchBucket") != NULL, "and said: %s", answer.message);
    is_int(conformance_get(run, &answer, "k", 7, 0), 0, "a range beyond the end is empty");
    is_int(answer.bytes.size, 0, "of no bytes");
    is_int(fake->said, 4, "none of these is tried again");
    conformance_reset(&answer);
}

static void skewed(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    is_int(conformance_get(run, &answer, "k", 0, 0), 0, "a clock that is off is put right");
    is_int(fake->said, 2, "at once");
    ok(strncmp(fake->seen[1].date, "20300101T0000", 13) == 0, "by the store's: %s",
        fake->seen[1].date);
    is_int(conformance_get(run, &answer, "k", 0, 0), 0, "and stays right");
    is_int(fake->said, 3, "for the next");
    conformance_reset(&answer);
}

static void always_skewed(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    is_int(conformance_get(run, &answer, "k", 0, 0), MYCO_EDENIED, "put right once only");
    is_int(fake->said, 2, "then it is refused");
    conformance_reset(&answer);
}

static void expired(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    is_int(conformance_get(run, &answer, "k", 0, 0), 0, "expired credentials are read again");
    is_str(fake->seen[0].token, "token-1", "first the old,");
    is_str(fake->seen[1].token, "token-2", "then the new");
    conformance_reset(&answer);
}

static void moved(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    is_int(conformance_get(run, &answer, "k", 0, 0), 0, "another region is used");
    ok(strstr(fake->seen[0].authorization, "/us-east-1/s3/") != NULL, "first ours,");
    ok(strstr(fake->seen[1].authorization, "/eu-west-3/s3/") != NULL, "then the bucket's");
    conformance_reset(&answer);
}

static void damaged(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    is_int(conformance_get(run, &answer, "k", 0, 0), 0, "damaged bytes are read again");
    ok(conformance_holds(&answer, "hello"), "and then right");
    is_int(conformance_get(run, &answer, "k", 0, 0), MYCO_ECORRUPT, "damaged twice is ECORRUPT");
    is_int(answer.bytes.size, 0, "and gives none");
    is_int(fake->said, 4, "after two reads each");
    conformance_reset(&answer);
}

static void put_large(struct conformance *run, struct conformance_answer *answer, int want)
{
    struct myco_buf bytes = {0};
    myco_buf_reserve(&bytes, 2 * MYCO_S3_PART_SIZE + 5);
    memset(bytes.data, 'x', 2 * MYCO_S3_PART_SIZE + 5);
    bytes.size = 2 * MYCO_S3_PART_SIZE + 5;
    is_int(conformance_put(run, answer, "large", myco_buf_as_slice(&bytes), 0), want,
        "16 MiB and 5 bytes: %s", want ? "fails" : "put");
    myco_buf_free(&bytes);
}

static unsigned count_lines(const struct fake *fake, const char *part)
{
    unsigned count = 0;
    for (unsigned i = 0; i < fake->said && i < ANSWERS_MAX; i++)
        count += strstr(fake->seen[i].line, part) != NULL;
    return count;
}

static void in_parts(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    put_large(run, &answer, 0);
    is_str(fake->seen[0].line, "POST http://s3.example:9000/b/p/large?uploads=", "begun");
    is_int(count_lines(fake, "?partNumber="), 3, "three parts");
    is_str(fake->seen[4].line, "POST http://s3.example:9000/b/p/large?uploadId=u%2F1", "completed");
    is_int(fake->said, 5, "and that was all");
    conformance_reset(&answer);
}

static void part_fails(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    put_large(run, &answer, MYCO_EDENIED);
    is_str(fake->seen[fake->said - 1].line,
        "DELETE http://s3.example:9000/b/p/large?uploadId=u%2F1", "the parts are thrown away");
    conformance_reset(&answer);
}

static void completes_late(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    put_large(run, &answer, 0);
    is_int(fake->said, 6, "an error inside of a 200 is tried again");
    conformance_reset(&answer);
}

static void pages(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answer = {0};
    is_int(conformance_list(run, &answer, "a"), 0, "a listing of two pages");
    ok(answer.count == 2 && strcmp(answer.keys[0], "a1") == 0 && strcmp(answer.keys[1], "a2") == 0,
        "is whole, and without the store's prefix");
    is_str(fake->seen[1].line,
        "GET http://s3.example:9000/b?continuation-token=t%3D&list-type=2&prefix=p%2Fa",
        "the second asked by its token");
    is_int(conformance_list(run, &answer, "a"), MYCO_EPROTO, "what can't be read is EPROTO");
    is_int(answer.count, 0, "and lists nothing");
    conformance_reset(&answer);
}

static void closed(struct conformance *run, struct fake *fake)
{
    struct conformance_answer answers[3] = {{0}};
    struct myco_object *store = run->store;
    store->ops->put(store, "a", myco_str("v"), 0, conformance_on_done, &answers[0]);
    store->ops->get(store, "b", 0, 0, conformance_on_get, &answers[1]);
    myco_sim_run(run->data, 5);
    store->ops->del(store, "not a key", conformance_on_done, &answers[2]);
    store->ops->close(store);
    for (int i = 0; i < 3; i++)
        ok(answers[i].calls == 1 && answers[i].status == MYCO_ECANCELED, "close cancels call %d",
            i);
    myco_sim_run(run->data, 1000);
    is_int(answers[0].calls + answers[1].calls + answers[2].calls, 3, "nothing calls back again");
    struct myco_s3_options s3 = {.http = &fake->base,
        .endpoint = "http://s3.example",
        .bucket = "b",
        .prefix = "",
        .region = "r",
        .requests_max = 1,
        .credentials = give_credentials,
        .credentials_data = fake};
    struct myco_err err;
    is_int(myco_object_s3(fake->env, &s3, &run->store, &err), 0, "opened again");
    struct conformance_answer first = {0}, second = {0};
    run->store->ops->get(run->store, "a", 0, 0, conformance_on_get, &first);
    is_int(conformance_get(run, &second, "b", 0, 0), MYCO_EFULL, "one too many is EFULL");
    wait_done(&first.done, run->data);
    is_int(first.status, 0, "the other goes on");
    conformance_reset(&first);
    is_str(fake->seen[fake->said - 1].line, "GET http://b.s3.example/a", "the bucket in the host");
}

int main(void)
{
    static const struct script busy_script[] = {{503, .body = ERROR("SlowDown")},
        {500, .body = ERROR("InternalError")}, {.error = MYCO_ETIMEDOUT}, {.error = MYCO_ENOTCONN},
        {409, .body = ERROR("ConditionalRequestConflict")}, {200}};
    static const struct script full_script[] = {{503, .body = ERROR("SlowDown")}};
    static const struct script final_script[] = {{412, .body = ERROR("PreconditionFailed")},
        {403, .body = ERROR("AccessDenied")}, {404, .body = ERROR("NoSuchBucket")},
        {416, .body = ERROR("InvalidRange")}, {416, .body = ERROR("InvalidRange")}};
    static const struct script skew_script[] = {
        {403, .body = ERROR("RequestTimeTooSkewed"), .date = "Tue, 01 Jan 2030 00:00:00 GMT"},
        {200, .body = "v"}};
    static const struct script always_script[] = {
        {403, .body = ERROR("RequestTimeTooSkewed"), .date = "Tue, 01 Jan 2030 00:00:00 GMT"}};
    static const struct script expired_script[] = {{400, .body = ERROR("ExpiredToken")}, {200}};
    static const struct script moved_script[] = {
        {400, .body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region>"
                      "</Error>"},
        {200}};
    static const char hello[] = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    static const struct script damaged_script[] = {{200, .body = "jello", .hash = hello},
        {200, .body = "hello", .hash = hello}, {200, .body = "hell", .hash = hello}};
    static const char upload[] = "<R><UploadId>u/1</UploadId></R>";
    static const struct script parts_script[] = {{200, .body = upload}, {200, .etag = "\"1\""},
        {200, .etag = "\"2\""}, {200, .etag = "\"3\""}, {200, .body = "<R></R>"}};
    static const struct script part_script[] = {{200, .body = upload}, {200, .etag = "\"1\""},
        {403, .body = ERROR("AccessDenied")}, {403, .body = ERROR("AccessDenied")}, {204}};
    static const struct script late_script[] = {{200, .body = upload}, {200, .etag = "\"1\""},
        {200, .etag = "\"2\""}, {200, .etag = "\"3\""}, {200, .body = ERROR("InternalError")},
        {200, .body = "<R></R>"}};
    static const struct script pages_script[] = {
        {200, .body = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>p/a1</Key>"
                      "</Contents><NextContinuationToken>t=</NextContinuationToken>"
                      "</ListBucketResult>"},
        {200, .body = "<ListBucketResult><Contents><Key>p/a2</Key></Contents></ListBucketResult>"},
        {200, .body = "<html>"}};
    WITH(busy_script, busy);
    WITH(full_script, busy_for_ever);
    WITH(final_script, no_retry);
    WITH(skew_script, skewed);
    WITH(always_script, always_skewed);
    WITH(expired_script, expired);
    WITH(moved_script, moved);
    WITH(damaged_script, damaged);
    WITH(parts_script, in_parts);
    WITH(part_script, part_fails);
    WITH(late_script, completes_late);
    WITH(pages_script, pages);
    WITH(pages_script, closed);
    return plan_done();
}
