/* Catches: events that are lost, doubled or out of order between nodes that know of each other; a
 * queue group in which two get a message, or nobody; a request that waits although nobody can
 * answer; a waiting call that is let through on the loop's own thread, where it would wait for
 * ever. */
#include "api_kit.h"

static struct myco *nodes[KIT_NODES];
static struct myco_err err;

/* ── what a subscriber got ── */

struct ears {
    unsigned count, want, disorder;
    int last[KIT_NODES]; /* number of the last message of each publisher */
    unsigned seen[1000];
    char subject[64];
    uint64_t publisher;
    bool ended; /* the message "end" came */
};

static void on_number(const struct myco_msg *msg, void *data)
{
    struct ears *ears = data;
    char text[16] = "";
    kit_lock();
    if (msg->data.size < sizeof text) memcpy(text, msg->data.data, msg->data.size);
    int number = atoi(text), from = 0;
    while (from < KIT_NODES - 1 && myco_id(nodes[from]) != msg->publisher) from++;
    if (strcmp(text, "end") == 0) {
        ears->ended = true;
    } else {
        ears->count++;
        ears->disorder += number <= ears->last[from];
        ears->last[from] = number;
        if (number >= 0 && number < 1000) ears->seen[number]++;
        snprintf(ears->subject, sizeof ears->subject, "%.*s", (int)msg->subject.size,
            (const char *)msg->subject.data);
        ears->publisher = msg->publisher;
    }
    kit_unlock();
}

static bool heard(void *data)
{
    struct ears *ears = data;
    return ears->count >= ears->want;
}

static bool heard_end(void *data)
{
    return ((struct ears *)data)->ended;
}

static struct myco_sub *subscribe(
    struct myco *node, const char *subject, const char *queue, struct ears *ears)
{
    struct myco_sub_options options = {.queue = queue};
    struct myco_sub *sub;
    memset(ears->last, 0xff, sizeof ears->last);
    if (myco_subscribe(node, subject, &options, on_number, ears, &sub, &err))
        bail_out("subscribe: %s", err.message);
    return sub;
}

static void publish(struct myco *node, const char *subject, int number)
{
    char text[16];
    snprintf(text, sizeof text, number < 0 ? "end" : "%d", number);
    if (myco_publish(node, subject, myco_str(text), NULL, &err))
        bail_out("publish: %s", err.message);
}

/* ── tests ── */

static void test_wildcards(void)
{
    struct ears one = {.want = 600}, rest = {0}, all = {0}, other = {0};
    struct myco_sub *subs[] = {subscribe(nodes[1], "orders.*.created", NULL, &one),
        subscribe(nodes[1], "orders.>", NULL, &rest), subscribe(nodes[2], ">", NULL, &all),
        subscribe(nodes[1], "orders.*", NULL, &other)};
    ok(!myco_flush(nodes[1], &err) && !myco_flush(nodes[2], &err), "all have heard of it");
    for (int i = 0; i < 200; i++)
        for (int n = 0; n < KIT_NODES; n++) publish(nodes[n], "orders.7.created", i);
    ok(kit_wait(heard, &one, KIT_WAIT_MS), "600 came from three nodes");
    for (int n = 0; n < KIT_NODES; n++) publish(nodes[n], "orders.7.created.late", 200);
    rest.want = all.want = 603;
    ok(kit_wait(heard, &rest, KIT_WAIT_MS) && kit_wait(heard, &all, KIT_WAIT_MS),
        "> takes what is deeper too");
    is_int(one.count, 600, "* stands for exactly one token, and nothing came twice");
    is_int(other.count, 0, "a shorter pattern gets nothing");
    is_int(one.disorder + rest.disorder + all.disorder, 0, "each publisher's are in order");
    is_str(rest.subject, "orders.7.created.late", "the subject is told");
    for (size_t i = 0; i < 4; i++) myco_unsubscribe(subs[i], NULL, NULL);
}

static void test_queue(void)
{
    static struct ears workers[5];
    struct ears plain = {.want = 400};
    struct myco_sub *subs[6];
    for (int i = 0; i < 5; i++)
        subs[i] = subscribe(nodes[i % KIT_NODES], "jobs.*", "workers", &workers[i]);
    subs[5] = subscribe(nodes[2], "jobs.>", NULL, &plain);
    for (int n = 0; n < KIT_NODES; n++) ok(!myco_flush(nodes[n], &err), "flush");
    for (int i = 0; i < 400; i++) publish(nodes[i % KIT_NODES], "jobs.a", i);
    ok(kit_wait(heard, &plain, KIT_WAIT_MS), "who is in no group gets each");
    struct ears *ears = &plain;
    for (int n = 0; n < KIT_NODES; n++) { /* the last words: they go the same ways */
        struct ears end = {0};
        struct myco_sub *sub = subscribe(nodes[n], "jobs-end", NULL, &end);
        for (int from = 0; from < KIT_NODES; from++) {
            ok(!myco_flush(nodes[n], &err), "flush");
            end.ended = false;
            publish(nodes[from], "jobs-end", -1);
            if (!kit_wait(heard_end, &end, KIT_WAIT_MS)) bail_out("the last words never came");
        }
        myco_unsubscribe(sub, NULL, NULL);
    }
    unsigned wrong = 0, total = 0, idle = 0;
    kit_lock();
    for (int i = 0; i < 400; i++) {
        unsigned times = 0;
        for (int w = 0; w < 5; w++) times += workers[w].seen[i];
        wrong += times != 1;
        total += times;
    }
    for (int w = 0; w < 5; w++) idle += workers[w].count == 0;
    kit_unlock();
    ok(wrong == 0 && total == 400, "exactly one of a group got each: %u of 400", total);
    is_int(idle, 0, "every member got some");
    is_int((int)ears->count, 400, "and nobody else's was taken away");
    for (int i = 0; i < 6; i++) myco_unsubscribe(subs[i], NULL, NULL);
}

static void test_unsubscribe(void)
{
    struct ears ears = {.want = 1}, witness = {.want = 2};
    struct myco_sub *sub = subscribe(nodes[0], "quiet", NULL, &ears);
    struct myco_sub *other = subscribe(nodes[0], "quiet", NULL, &witness);
    publish(nodes[0], "quiet", 1);
    ok(kit_wait(heard, &ears, KIT_WAIT_MS), "a publish reaches this node's own at once");
    myco_unsubscribe(sub, NULL, NULL);
    publish(nodes[0], "quiet", 2);
    ok(kit_wait(heard, &witness, KIT_WAIT_MS), "another one still hears");
    is_int(ears.count, 1, "who left does not");
    myco_unsubscribe(other, NULL, NULL);
    myco_unsubscribe(NULL, NULL, NULL);
}

static void test_subjects(void)
{
    struct ears ears = {0};
    struct myco_sub *sub;
    char longest[MYCO_SUBJECT_SIZE_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[MYCO_SUBJECT_SIZE_MAX] = 0;
    ok(!myco_publish(nodes[0], longest, myco_str(""), NULL, &err), "a subject of 255 bytes");
    longest[MYCO_SUBJECT_SIZE_MAX] = 'a';
    longest[MYCO_SUBJECT_SIZE_MAX + 1] = 0;
    const char *const wrong[] = {"", ".", "a..b", "a.", ".a", "a.*", ">", longest};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        is_int(myco_publish(nodes[0], wrong[i], myco_str("x"), NULL, &err), MYCO_EINVAL,
            "publish: %.60s", err.message);
    const char *const patterns[] = {"", "a..b", "a.>.b", ">.a", longest};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        is_int(myco_subscribe(nodes[0], patterns[i], NULL, on_number, &ears, &sub, &err),
            MYCO_EINVAL, "subscribe: %.60s", err.message);
}

/* ── requests ── */

static void on_question(const struct myco_msg *msg, void *data)
{
    char text[80], reply[80];
    snprintf(text, sizeof text, "%.*s, indeed", (int)msg->data.size, (const char *)msg->data.data);
    snprintf(reply, sizeof reply, "%.*s", (int)msg->reply.size, (const char *)msg->reply.data);
    myco_publish(data, reply, myco_str(text), NULL, NULL);
}

static void on_silence(const struct myco_msg *msg, void *data)
{
    (void)msg, (void)data;
}

static void test_requests(void)
{
    struct myco_sub *answers, *silence;
    struct kit_result got = {0}, nobody = {0}, late = {0}, wrong = {0};
    if (myco_subscribe(nodes[2], "ask.*", NULL, on_question, nodes[2], &answers, &err) ||
        myco_subscribe(nodes[2], "void", NULL, on_silence, NULL, &silence, &err) ||
        myco_flush(nodes[2], &err))
        bail_out("subscribe: %s", err.message);
    for (int n = 0; n < KIT_NODES; n++) {
        memset(&got, 0, sizeof got);
        ok(!myco_request_async(nodes[n], "ask.me", myco_str("is it"), 0, kit_done, &got) &&
                !kit_result_wait(&got),
            "a request from node %d: %s", n, got.message);
        is_str(got.value, "is it, indeed", "is answered");
    }
    uint64_t before = kit_now_ms();
    myco_request_async(nodes[0], "nobody.here", myco_str("x"), 20000, kit_done, &nobody);
    is_int(kit_result_wait(&nobody), MYCO_ENORESPONDERS, "nobody answers: %s", nobody.message);
    ok(kit_now_ms() - before < 5000, "that is known at once, not after 20 s");
    before = kit_now_ms();
    myco_request_async(nodes[0], "void", myco_str("x"), 200, kit_done, &late);
    is_int(kit_result_wait(&late), MYCO_ETIMEDOUT, "somebody does not answer: %s", late.message);
    ok(kit_now_ms() - before >= 195, "after %llu ms", (unsigned long long)(kit_now_ms() - before));
    myco_request_async(nodes[0], "a..b", myco_str("x"), 0, kit_done, &wrong);
    is_int(kit_result_wait(&wrong), MYCO_EINVAL, "a wrong subject: %s", wrong.message);
    is_int((int)got.calls, 1, "an answer comes once");
    myco_unsubscribe(answers, NULL, NULL);
    myco_unsubscribe(silence, NULL, NULL);
}

/* ── on the loop's thread ── */

struct inside {
    struct myco_septum *septum;
    int codes[8];
    unsigned too_early;
    bool returned, done;
    struct kit_result put, get, count, flush, septum_result;
};

static void on_early(const struct myco_result *result, void *data)
{
    struct inside *inside = data;
    kit_lock();
    inside->too_early += !inside->returned;
    kit_unlock();
    kit_done(result, &inside->put);
}

static void on_septum(struct myco_septum *septum, int status, const char *message, void *data)
{
    struct inside *inside = data;
    struct myco_result result = {.status = status, .message = message};
    kit_lock();
    inside->too_early += !inside->returned;
    kit_unlock();
    kit_done(&result, &inside->septum_result);
    (void)septum;
}

static void on_inside(const struct myco_msg *msg, void *data)
{
    struct inside *inside = data;
    struct myco_value value;
    struct myco_septum *septum;
    uint64_t count;
    struct myco_err local;
    (void)msg;
    int codes[] = {myco_put(inside->septum, myco_str("a"), myco_str("b"), NULL, NULL, &local),
        myco_get(inside->septum, myco_str("a"), &value, &local),
        myco_del(inside->septum, myco_str("a"), NULL, &local),
        myco_count(inside->septum, &count, &local),
        myco_septum(nodes[0], "inside", NULL, &septum, &local), myco_flush(nodes[0], &local),
        myco_wait_ready(nodes[0], 0, &local)};
    myco_put_async(inside->septum, myco_str("a"), myco_str("b"), NULL, on_early, inside);
    myco_get_async(inside->septum, myco_str("a"), 0, on_early, inside);
    myco_count_async(inside->septum, 0, on_early, inside);
    myco_flush_async(nodes[0], 0, on_early, inside);
    myco_request_async(nodes[0], "nobody.here", myco_str("x"), 0, on_early, inside);
    myco_septum_async(nodes[0], "inside", NULL, 0, on_septum, inside);
    myco_inspect_async(nodes[0], "status", on_early, inside);
    int inspected = myco_inspect(nodes[0], "status", &value, &local);
    if (!inspected) myco_value_release(&value);
    kit_lock();
    memcpy(inside->codes, codes, sizeof codes);
    inside->codes[7] = inspected;
    inside->returned = true;
    kit_unlock();
}

static bool inside_done(void *data)
{
    struct inside *inside = data;
    return inside->put.calls == 6 && inside->septum_result.calls == 1;
}

static void test_inside(void)
{
    static struct inside inside;
    struct myco_sub *sub;
    inside.septum = kit_septum(nodes[0], "inside", "kind=cache hyphae=2");
    if (myco_subscribe(nodes[0], "inside", NULL, on_inside, &inside, &sub, &err))
        bail_out("subscribe: %s", err.message);
    publish(nodes[0], "inside", 1);
    ok(kit_wait(inside_done, &inside, KIT_WAIT_MS), "each callback of a call in a callback ran");
    unsigned busy = 0;
    for (int i = 0; i < 7; i++) busy += inside.codes[i] == MYCO_EBUSY;
    is_int(busy, 7, "a call that would wait there is refused");
    is_int(inside.codes[7], 0, "inspect does not wait there");
    is_int(inside.too_early, 0, "none ran before the call that took it returned");
    is_int(inside.septum_result.status, 0, "septum: %s", inside.septum_result.message);
    myco_unsubscribe(sub, NULL, NULL);
    ok(kit_wait(inside_done, &inside, 0), "and once each");
}

int main(void)
{
    kit_cluster(nodes);
    test_wildcards();
    test_queue();
    test_unsubscribe();
    test_subjects();
    test_requests();
    test_inside();
    for (int i = 0; i < KIT_NODES; i++) myco_close(nodes[i]);
    return plan_done();
}
