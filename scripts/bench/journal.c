/* Durable appends through the journal against a bare loop of write and fdatasync, in turn and in
 * one run, on the same file system.
 *
 *     bench_journal [FOLDER [ROUNDS]]      default: a new folder below the current one, 5 rounds
 *
 * 1, 16 or 256 writers each append 100 bytes, wait until they are durable, and append again. Prints
 * medians; the ratio to the bare loop is what counts. */
#include <fcntl.h>
#include <unistd.h>
#include <uv.h>

#include "bench.h"
#include "env/uv_disk.h"
#include "env/uv_env.h"
#include "store/journal.h"

#define ROUNDS_MAX  99
#define ROUND_NS    500000000u
#define VALUE_SIZE  100
#define WRITERS_MAX 256

/* ── The bare loop ───────────────────────────────────────────────────────────────────────────── */

static double bare_round(const char *folder)
{
    char path[4096], bytes[VALUE_SIZE + 66] = {0}; /* as many as the journal writes for one */
    snprintf(path, sizeof(path), "%s/bare", folder);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (fd < 0) fail(path);
    uint64_t begin = now_ns(), count = 0;
    for (; now_ns() - begin < ROUND_NS; count++) {
        if (write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes)) fail("write");
        if (fdatasync(fd) != 0) fail("fdatasync");
    }
    double seconds = (double)(now_ns() - begin) / 1e9;
    close(fd);
    unlink(path);
    return (double)count / seconds;
}

/* ── The journal ─────────────────────────────────────────────────────────────────────────────── */

struct bench {
    uv_loop_t loop;
    struct myco_disk *disk;
    struct myco_uv_env *env;
    struct myco_metrics metrics;
    struct myco_journal *journal;
    uint64_t waits_for[WRITERS_MAX]; /* sequence */
    uint64_t position, done, stop_ns;
    int writers;
    bool stopped, closed;
};

static void append(struct bench *bench, int writer)
{
    static const char value[VALUE_SIZE];
    int status = myco_journal_append(bench->journal, 1, ++bench->position, 1,
        myco_bytes(value, sizeof(value)), &bench->waits_for[writer]);
    if (status != 0) fail(myco_strerror(status));
}

static void on_durable(uint64_t sequence, void *data)
{
    struct bench *bench = data;
    bench->stopped = now_ns() >= bench->stop_ns;
    for (int writer = 0; writer < bench->writers; writer++) {
        if (bench->waits_for[writer] > sequence) continue;
        bench->done++;
        if (bench->stopped) {
            bench->waits_for[writer] = UINT64_MAX;
        } else {
            append(bench, writer);
        }
    }
}

static int on_snapshot(uint64_t stream, uint64_t position, struct myco_slice bytes, void *data)
{
    (void)stream, (void)position, (void)bytes, (void)data;
    return 0;
}

static int on_record(
    uint64_t stream, uint64_t position, uint8_t kind, struct myco_slice bytes, void *data)
{
    (void)kind;
    return on_snapshot(stream, position, bytes, data);
}

static void on_failed(int status, void *data)
{
    (void)data;
    fail(myco_strerror(status));
}

static void on_wanted(uint64_t stream, void *data)
{
    struct bench *bench = data;
    myco_journal_snapshot(bench->journal, stream, bench->position, myco_str(""), NULL, NULL);
}

static void on_closed(void *data)
{
    ((struct bench *)data)->closed = true;
}

static void bench_open(struct bench *bench, const char *folder)
{
    struct myco_err err = {0};
    *bench = (struct bench){0};
    uv_loop_init(&bench->loop);
    if (myco_uv_disk_open(&bench->loop, folder, &bench->disk, &err) != 0) fail(err.message);
    if (myco_uv_env_open(&bench->env, &bench->loop, NULL, NULL, NULL, &bench->metrics, &err) != 0) {
        fail(err.message);
    }
    struct myco_journal_options options = {
        .disk = bench->disk, .env = myco_uv_env(bench->env), .folder = "journal"};
    struct myco_journal_events events = {
        on_snapshot, on_record, on_durable, on_failed, on_wanted, bench};
    if (myco_journal_open(&options, &events, &bench->journal, &err) != 0) fail(err.message);
}

static double journal_round(struct bench *bench, int writers, double *syncs)
{
    uint64_t begin = now_ns(), synced = bench->metrics.values[MYCO_METRIC_JOURNAL_SYNCS];
    bench->writers = writers;
    bench->done = 0;
    bench->stopped = false;
    bench->stop_ns = begin + ROUND_NS;
    for (int writer = 0; writer < writers; writer++) append(bench, writer);
    while (!myco_journal_idle(bench->journal)) uv_run(&bench->loop, UV_RUN_ONCE);
    double seconds = (double)(now_ns() - begin) / 1e9;
    synced = bench->metrics.values[MYCO_METRIC_JOURNAL_SYNCS] - synced;
    *syncs = (double)synced / seconds;
    return (double)bench->done / seconds;
}

static void bench_close(struct bench *bench)
{
    myco_journal_drop(bench->journal, 1);
    myco_journal_close(bench->journal, on_closed, bench);
    while (!bench->closed) uv_run(&bench->loop, UV_RUN_ONCE);
    myco_uv_disk_close(bench->disk, NULL, NULL);
    myco_uv_env_close(bench->env, NULL, NULL);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    uv_loop_close(&bench->loop);
}

int main(int argc, char **argv)
{
    static const int writers[] = {1, 16, 256};
    static double bare[ROUNDS_MAX], ours[3][ROUNDS_MAX], syncs[3][ROUNDS_MAX];
    struct bench bench;
    char made[] = "bench_journal_XXXXXX";
    const char *folder = argc > 1 ? argv[1] : mkdtemp(made);
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    if (folder == NULL) fail("no folder");
    if (rounds < 1 || rounds > ROUNDS_MAX) rounds = 5;
    bench_open(&bench, folder);
    for (int round = 0; round < rounds; round++) {
        bare[round] = bare_round(folder);
        for (int i = 0; i < 3; i++) {
            ours[i][round] = journal_round(&bench, writers[i], &syncs[i][round]);
        }
    }
    bench_close(&bench);
    double base = median(bare, rounds);
    printf("bare write and fdatasync: %8.0f /s\n", base);
    for (int i = 0; i < 3; i++) {
        double rate = median(ours[i], rounds);
        printf("journal, %3d writers:     %8.0f /s in %6.0f commits /s   %.2f x\n", writers[i],
            rate, median(syncs[i], rounds), rate / base);
    }
    return 0;
}
