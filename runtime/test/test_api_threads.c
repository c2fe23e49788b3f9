/* Catches: races between threads that use one node, an update that is lost or done twice under
 * concurrent compare-and-set, a callback that never runs or runs twice because the node closed
 * meanwhile. Run it under the thread and the address sanitizer. */
#include "api_kit.h"

#define THREADS  4
#define ROUNDS   60
#define COUNTERS 3

static struct myco *nodes[KIT_NODES];
static struct myco_err err;

/* ── counters, raised by compare-and-set ── */

struct worker {
    pthread_t thread;
    struct myco_septum *septum;
    unsigned number, done, conflicts, failed;
};

static int raise_counter(struct myco_septum *septum, const char *key)
{
    struct myco_put_options options = {.if_absent = true};
    struct myco_value value;
    struct myco_err local;
    unsigned count = 0;
    int rc = myco_get(septum, myco_str(key), &value, &local);
    if (rc == 0) {
        count = (unsigned)atoi(value.data);
        options = (struct myco_put_options){.if_version = value.version};
        myco_value_release(&value);
    } else if (rc != MYCO_ENOTFOUND) {
        return rc;
    }
    char text[16];
    snprintf(text, sizeof text, "%u", count + 1);
    return myco_put(septum, myco_str(key), myco_str(text), &options, NULL, &local);
}

static void *work(void *data)
{
    struct worker *worker = data;
    for (unsigned i = 0; i < ROUNDS;) {
        char key[16];
        snprintf(key, sizeof key, "counter-%u", (worker->number + i) % COUNTERS);
        int rc = raise_counter(worker->septum, key);
        worker->conflicts += rc == MYCO_ECONFLICT;
        worker->failed += rc != 0 && rc != MYCO_ECONFLICT;
        if (rc == MYCO_ECONFLICT) continue;
        worker->done += rc == 0;
        i++;
    }
    return NULL;
}

static void test_counters(const char *spec)
{
    struct worker workers[KIT_NODES * THREADS] = {0};
    unsigned done = 0, failed = 0, conflicts = 0, sum = 0;
    kit_septum(nodes[0], spec, spec[5] == 'c' ? "kind=cache" : "kind=durable replicas=1");
    for (unsigned i = 0; i < KIT_NODES * THREADS; i++) {
        workers[i].septum = kit_septum(nodes[i % KIT_NODES], spec, NULL);
        workers[i].number = i;
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < KIT_NODES * THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        done += workers[i].done;
        failed += workers[i].failed;
        conflicts += workers[i].conflicts;
    }
    for (int i = 0; i < COUNTERS; i++) {
        struct myco_value value;
        char key[16];
        snprintf(key, sizeof key, "counter-%d", i);
        if (myco_get(workers[1].septum, myco_str(key), &value, &err)) bail_out("%s", err.message);
        sum += (unsigned)atoi(value.data);
        myco_value_release(&value);
    }
    ok(failed == 0 && sum == done, "%s: %u steps of %d threads add up to %u", spec, done,
        KIT_NODES * THREADS, sum);
    note("%u conflicts", conflicts);
}

/* ── closing while calls are pending ── */

#define PENDING 400

struct pending {
    unsigned calls;
    int status;
};

static struct pending pending[12 * PENDING];
static unsigned ended, twice, odd; /* by callbacks */
static unsigned accepted, refused;

static void end(struct pending *entry, int status)
{
    kit_lock();
    twice += entry->calls++ > 0;
    ended++;
    odd += status != 0 && status != MYCO_ENOTFOUND && status != MYCO_ECLOSED &&
           status != MYCO_EUNKNOWN && status != MYCO_ENORESPONDERS && status != MYCO_EFULL;
    if (status && status != MYCO_ENOTFOUND && status != MYCO_ECLOSED && status != MYCO_EUNKNOWN &&
        status != MYCO_ENORESPONDERS && status != MYCO_EFULL)
        note("%s", myco_errname(status));
    entry->status = status;
    kit_unlock();
}

static void on_result(const struct myco_result *result, void *data)
{
    end(data, result->status);
}

static void on_page(const struct myco_page *page, void *data)
{
    end(data, page->status);
}

static void on_septum(struct myco_septum *septum, int status, const char *message, void *data)
{
    (void)septum, (void)message;
    end(data, status);
}

static void on_silence(const struct myco_msg *msg, void *data)
{
    (void)msg, (void)data;
}

static void on_duty(const struct myco_duty *duty, void *data)
{
    (void)duty, (void)data;
}

static void ask_everything(struct myco *node, struct myco_septum *septum, unsigned i)
{
    struct pending *at = &pending[12 * i];
    char key[16];
    snprintf(key, sizeof key, "k%u", i);
    int codes[] = {myco_put_async(septum, myco_str(key), myco_str("v"), NULL, on_result, at),
        myco_get_async(septum, myco_str(key), 0, on_result, at + 1),
        myco_del_async(septum, myco_str(key), NULL, on_result, at + 2),
        i % 20 ? 1 : myco_count_async(septum, 0, on_result, at + 3),
        i % 20 ? 1
               : myco_scan_async(septum, myco_str(""), myco_str(""), 10, false, 0, on_page, at + 4),
        myco_request_async(node, "silence", myco_str("x"), 20000, on_result, at + 5),
        myco_flush_async(node, 0, on_result, at + 6),
        i % 50 ? 1 : myco_septum_async(node, "closing", NULL, 0, on_septum, at + 7),
        i % 50 ? 1 : myco_inspect_async(node, "status", on_result, at + 8),
        i % 50 ? 1 : myco_policy_rollback_async(node, "persistence", "me", 0, on_result, at + 9),
        i % 50 ? 1 : myco_septum_async(node, "closing", "kind=durable", 0, on_septum, at + 10),
        i % 50 ? 1 : myco_request_async(node, "nobody", myco_str("x"), 0, on_result, at + 11)};
    for (size_t c = 0; c < sizeof codes / sizeof *codes; c++) {
        accepted += codes[c] == 0;
        refused += codes[c] < 0;
    }
}

static void close_busy(struct myco *node, struct myco_septum *septum, const char *what)
{
    struct myco_sub *sub;
    struct myco_election *election;
    memset(pending, 0, sizeof pending);
    accepted = refused = ended = twice = odd = 0;
    if (myco_subscribe(node, "silence", NULL, on_silence, NULL, &sub, &err) ||
        myco_campaign(node, "busy", on_duty, NULL, &election, &err))
        bail_out("%s", err.message);
    for (unsigned i = 0; i < PENDING; i++) ask_everything(node, septum, i);
    uint64_t before = kit_now_ms();
    myco_close(node);
    unsigned unknown = 0, closed = 0;
    for (unsigned i = 0; i < 12 * PENDING; i++) {
        unknown += pending[i].status == MYCO_EUNKNOWN;
        closed += pending[i].status == MYCO_ECLOSED;
    }
    ok(ended == accepted && accepted > 0 && refused == 0 && twice == 0 && odd == 0,
        "%s: each of %u callbacks ran once (%u, %u twice, %u odd) before close returned", what,
        accepted, ended, twice, odd);
    note("%u ECLOSED, %u EUNKNOWN, in %llu ms", closed, unknown,
        (unsigned long long)(kit_now_ms() - before));
}

/* A call that waits in another thread when its node closes. */
static void *wait_inside(void *data)
{
    struct myco_septum *septum;
    struct myco_err local;
    return (void *)(intptr_t)myco_septum(data, "never", "kind=cache", &septum, &local);
}

static bool has_begun(void *data)
{
    struct kit_document document;
    const msgpack_object *status = kit_inspect(data, "status", &document);
    bool begun = status != NULL && kit_number(status, "uptime_ms") > 50;
    kit_document_free(&document);
    return begun;
}

static void test_waiting(void)
{
    struct myco_options options;
    char path[160];
    pthread_t thread;
    void *rc = NULL;
    kit_options(&options, "waiting", path);
    options.expect = 3; /* never ready */
    options.timeout_ms = 60000;
    struct myco *node = kit_open(&options);
    pthread_create(&thread, NULL, wait_inside, node);
    kit_poll(has_begun, node, KIT_WAIT_MS);
    myco_close(node);
    pthread_join(thread, &rc);
    is_int((intptr_t)rc, MYCO_ECLOSED, "a call that waits in another thread ends");
}

int main(void)
{
    struct myco *node = kit_single("solo");
    close_busy(node, kit_septum(node, "closing", "kind=durable"), "alone");
    test_waiting();
    kit_cluster(nodes);
    test_counters("kind=cache");
    test_counters("kind=durable");
    kit_septum(nodes[0], "closing", "kind=durable replicas=1 hyphae=64");
    for (int i = 0; i < KIT_NODES; i++)
        close_busy(nodes[i], kit_septum(nodes[i], "closing", NULL), kit_names[i]);
    return plan_done();
}
