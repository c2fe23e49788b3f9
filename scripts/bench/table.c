/* Gets from the table on the caller's thread against GLib's hash table, in turn and in one run, and
 * what a key costs in memory.
 *
 *     bench_table [ROUNDS]
 *
 * 16-byte keys, 100-byte values, asked for in random order. Ours copies the value out, and is safe
 * beside a writer; GLib's is asked bare, and once more with a mutex and a copy, which is what it
 * would take to give the same. Prints the median of the rounds; the ratios are what counts. */
#include <pthread.h>
#include <unistd.h>

#ifdef HAVE_GLIB
#include <glib.h>
#endif

#include "base/hash.h"
#include "bench.h"
#include "store/table.h"

#define KEY_SIZE   16
#define VALUE_SIZE 100
#define ROUNDS_MAX 99
#define GETS       (200 * 1000)

static uint64_t cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static double rss_bytes(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &pages, &resident) != 2) exit(1);
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void key_make(char key[KEY_SIZE + 1], uint32_t number)
{
    snprintf(key, KEY_SIZE + 1, "%016llx",
        (unsigned long long)myco_hash_mix(number, 1) & 0xffffffffffffffffull);
}

/* ── One table, and one of GLib's with the same in it ────────────────────────────────────────── */

struct both {
    uint32_t count;
    char (*keys)[KEY_SIZE + 1];
    uint32_t *order; /* of the gets */
    struct myco_domain *domain;
    struct myco_table *table;
#ifdef HAVE_GLIB
    GHashTable *glib;
#endif
    pthread_mutex_t lock;
    char value[VALUE_SIZE];
    uint64_t sum; /* so that nothing is optimised away */
};

static void fill_ours(struct both *both, uint64_t expires_ms)
{
    both->domain = myco_domain_new();
    both->table = myco_table_new(both->domain);
    for (uint32_t i = 0; i < both->count; i++) {
        myco_table_put(both->table, myco_bytes(both->keys[i], KEY_SIZE),
            myco_bytes(both->value, VALUE_SIZE), i + 1, expires_ms, NULL);
    }
}

static void empty_ours(struct both *both)
{
    myco_table_free(both->table);
    myco_domain_free(both->domain);
}

static double find_ours(struct both *both)
{
    uint64_t begin = now_ns();
    for (uint32_t i = 0; i < GETS; i++) {
        struct myco_table_item item;
        struct myco_slice key = myco_bytes(both->keys[both->order[i]], KEY_SIZE);
        if (!myco_table_find(both->table, key, &item)) abort();
        both->sum += *(const unsigned char *)item.value.data;
    }
    return (double)(now_ns() - begin) / GETS;
}

static double read_ours(struct both *both)
{
    uint64_t begin = now_ns();
    for (uint32_t i = 0; i < GETS; i++) {
        struct myco_value value;
        struct myco_slice key = myco_bytes(both->keys[both->order[i]], KEY_SIZE);
        if (myco_table_read(both->table, key, 1, &value) != 0) abort();
        both->sum += value.version;
        myco_value_release(&value);
    }
    return (double)(now_ns() - begin) / GETS;
}

#ifdef HAVE_GLIB
static void fill_glib(struct both *both)
{
    both->glib = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (uint32_t i = 0; i < both->count; i++) {
        void *value = g_malloc(VALUE_SIZE);
        memcpy(value, both->value, VALUE_SIZE);
        g_hash_table_insert(both->glib, g_strdup(both->keys[i]), value);
    }
}

static double find_glib(struct both *both)
{
    uint64_t begin = now_ns();
    for (uint32_t i = 0; i < GETS; i++) {
        const char *value = g_hash_table_lookup(both->glib, both->keys[both->order[i]]);
        both->sum += (unsigned char)value[0];
    }
    return (double)(now_ns() - begin) / GETS;
}

static double read_glib(struct both *both)
{
    uint64_t begin = now_ns();
    for (uint32_t i = 0; i < GETS; i++) {
        pthread_mutex_lock(&both->lock);
        const char *value = g_hash_table_lookup(both->glib, both->keys[both->order[i]]);
        char *copy = malloc(VALUE_SIZE);
        memcpy(copy, value, VALUE_SIZE);
        pthread_mutex_unlock(&both->lock);
        both->sum += (unsigned char)copy[0];
        free(copy);
    }
    return (double)(now_ns() - begin) / GETS;
}
#endif

static void init(struct both *both, uint32_t count)
{
    *both = (struct both){.count = count, .lock = PTHREAD_MUTEX_INITIALIZER};
    both->keys = malloc(count * sizeof(both->keys[0]));
    both->order = malloc(GETS * sizeof(both->order[0]));
    for (uint32_t i = 0; i < count; i++) key_make(both->keys[i], i);
    for (uint32_t i = 0; i < GETS; i++) both->order[i] = (uint32_t)(myco_hash_mix(i, 2) % count);
    memset(both->value, 'v', sizeof(both->value));
}

enum { FIND, FIND_GLIB, READ, READ_GLIB, KINDS };

static void bench_get(uint32_t count, int rounds)
{
    struct both both;
    double ns[KINDS][ROUNDS_MAX] = {0};
    init(&both, count);
    fill_ours(&both, 0);
#ifdef HAVE_GLIB
    fill_glib(&both);
#endif
    for (int round = 0; round < rounds; round++) {
        ns[FIND][round] = find_ours(&both);
        ns[READ][round] = read_ours(&both);
#ifdef HAVE_GLIB
        ns[FIND_GLIB][round] = find_glib(&both);
        ns[READ_GLIB][round] = read_glib(&both);
#endif
    }
    double middle[KINDS];
    for (int kind = 0; kind < KINDS; kind++) middle[kind] = median(ns[kind], rounds);
    printf("%8u keys: look-up %6.1f ns (GLib %6.1f ns: %.2f x)   read %6.1f ns (GLib %6.1f ns: "
           "%.2f x)\n",
        count, middle[FIND], middle[FIND_GLIB], middle[FIND] / middle[FIND_GLIB], middle[READ],
        middle[READ_GLIB], middle[READ] / middle[READ_GLIB]);
#ifdef HAVE_GLIB
    g_hash_table_destroy(both.glib);
#else
    printf("         (GLib was not there to compare with)\n");
#endif
    empty_ours(&both);
    free(both.keys);
    free(both.order);
    if (both.sum == 1) printf("\n");
}

/* ── Memory ──────────────────────────────────────────────────────────────────────────────────── */

static void bench_memory(uint32_t count, bool expires)
{
    struct both both;
    init(&both, count);
    double before = rss_bytes();
    uint64_t begin = now_ns();
    fill_ours(&both, expires ? UINT64_C(1900000000000) : 0);
    double each = (double)(now_ns() - begin) / count;
    printf("memory, %u x (16 + 100)%s: %.1f bytes of RSS per key; put %.0f ns\n", count,
        expires ? " with TTL" : "", (rss_bytes() - before) / count, each);
    empty_ours(&both);
    free(both.keys);
    free(both.order);
}

/* By the thread's own clock, which the machine's other work does not run on. Growing, then removing
 * everything: the index splits, merges and gives memory back all the time. */
static void bench_longest(uint32_t count)
{
    struct both both;
    uint64_t put = 0, del = 0, poll = 0;
    init(&both, count);
    both.count = 0;
    fill_ours(&both, 0);
    for (uint32_t i = 0; i < count; i++) {
        struct myco_slice key = myco_bytes(both.keys[i], KEY_SIZE);
        uint64_t begin = cpu_ns(), took;
        myco_table_put(both.table, key, myco_bytes(both.value, VALUE_SIZE), i + 1, 0, NULL);
        took = cpu_ns() - begin;
        if (took > put) put = took;
    }
    for (uint32_t i = 0; i < count / 2; i++) {
        uint64_t begin = cpu_ns(), took;
        myco_table_del(both.table, myco_bytes(both.keys[i], KEY_SIZE));
        took = cpu_ns() - begin;
        if (took > del) del = took;
    }
    myco_table_clear(both.table);
    while (myco_domain_retired(both.domain) > 0) {
        uint64_t begin = cpu_ns(), took;
        myco_domain_poll(both.domain);
        took = cpu_ns() - begin;
        if (took > poll) poll = took;
    }
    printf("longest of %u: put %.3f ms, del %.3f ms, poll after clear %.3f ms\n", count,
        (double)put / 1e6, (double)del / 1e6, (double)poll / 1e6);
    empty_ours(&both);
    free(both.keys);
    free(both.order);
}

/* Every value changes its size again and again; the table's sweep runs as in a node. */
static void bench_churn(uint32_t count)
{
    struct both both;
    static char value[1024];
    init(&both, count);
    double before = rss_bytes(), live = 0;
    both.domain = myco_domain_new();
    both.table = myco_table_new(both.domain);
    for (uint32_t round = 0; round < 6; round++) {
        for (uint32_t i = 0; i < count; i++) {
            uint64_t size = 40 + 60 * round + myco_hash_mix(i, round) % 100;
            if (round > 0 && myco_hash_mix(i, round + 100) % 5 == 0) continue; /* some stay */
            myco_table_put(both.table, myco_bytes(both.keys[i], KEY_SIZE), myco_bytes(value, size),
                i + 1, 0, NULL);
            if (i % 256 == 0) myco_table_sweep(both.table, 1, 64, NULL, NULL);
        }
        for (uint32_t i = 0; i < count / 64; i++) {
            myco_table_sweep(both.table, 1, 32, NULL, NULL);
            myco_domain_poll(both.domain);
        }
        live = (double)myco_table_bytes(both.table);
        printf("churn of sizes, round %u: RSS %.2f x the live bytes\n", round,
            (rss_bytes() - before) / live);
    }
    empty_ours(&both);
    free(both.keys);
    free(both.order);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 21;
    if (rounds < 1 || rounds > ROUNDS_MAX) rounds = 21;
    bench_memory(1000000, false);
    bench_memory(1000000, true);
    bench_longest(1000000);
    bench_churn(500000);
    bench_get(1000, rounds);
    bench_get(1000000, rounds);
    return 0;
}
