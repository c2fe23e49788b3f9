/* One writer and several readers of a table. Catches (most surely under ThreadSanitizer or
 * AddressSanitizer): a value that is torn or freed while it is read; a key that is always there and
 * is missed while the index changes around it; reclamation that never gets on; a reader's record
 * that outlives its domain or its thread in the wrong way. */
#include <limits.h>
#include <pthread.h>
#include <unistd.h>

#include "store/table_internal.h"
#include "tap.h"

#define STEADY  64   /* keys that are always there: replaced, never deleted */
#define PASSING 6000 /* keys that come and go, and make the index grow and shrink */
#define READERS 2

struct fixture {
    struct myco_domain *domain;
    struct myco_table *table;
    bool stop;
    unsigned cleared; /* odd: steady keys may be missing */
};

struct reader {
    struct fixture *f;
    pthread_t thread;
    unsigned long reads, missed, torn, found_passing;
};

static struct myco_slice key_of(uint32_t number, uint32_t *key)
{
    *key = number;
    return myco_bytes(key, sizeof(*key));
}

static size_t size_of(uint64_t version)
{
    return 16 + version % 200;
}

static void put(struct fixture *f, uint32_t number, uint64_t version)
{
    uint32_t key;
    uint8_t value[256];
    memset(value, (int)(version & 0xff), sizeof(value));
    memcpy(value, &number, sizeof(number));
    myco_table_put(
        f->table, key_of(number, &key), myco_bytes(value, size_of(version)), version, 0, NULL);
}

static bool whole(const struct myco_value *value, uint32_t number)
{
    const uint8_t *at = value->data;
    if (value->size != size_of(value->version)) return false;
    if (memcmp(at, &number, sizeof(number)) != 0) return false;
    for (size_t i = sizeof(number); i < value->size; i++) {
        if (at[i] != (value->version & 0xff)) return false;
    }
    return true;
}

static bool read_one(struct reader *reader, uint32_t number)
{
    uint32_t key;
    struct myco_value value;
    int status = myco_table_read(reader->f->table, key_of(number, &key), 1, &value);
    reader->reads++;
    if (status != 0) return false;
    if (!whole(&value, number)) reader->torn++;
    myco_value_release(&value);
    return true;
}

static void *read_loop(void *data)
{
    struct reader *reader = data;
    struct fixture *f = reader->f;
    for (uint32_t i = 0; !__atomic_load_n(&f->stop, __ATOMIC_RELAXED); i++) {
        unsigned before = __atomic_load_n(&f->cleared, __ATOMIC_ACQUIRE);
        bool there = read_one(reader, i % STEADY);
        unsigned after = __atomic_load_n(&f->cleared, __ATOMIC_ACQUIRE);
        if (!there && before == after && before % 2 == 0) reader->missed++;
        if (read_one(reader, STEADY + i * 7919 % PASSING)) reader->found_passing++;
    }
    return NULL;
}

static void put_steady(struct fixture *f, uint64_t version)
{
    for (uint32_t number = 0; number < STEADY; number++) put(f, number, version + number);
}

static void round_of_writes(struct fixture *f, uint64_t version)
{
    uint32_t key;
    for (uint32_t i = 0; i < PASSING; i++) {
        put(f, STEADY + i, version + i);
        if (i % 16 == 0) put(f, i / 16 % STEADY, version + i);
    }
    for (uint32_t i = 0; i < PASSING; i++) {
        myco_table_del(f->table, key_of(STEADY + i, &key));
        if (i % 8 == 0) put(f, i / 8 % STEADY, version + i);
        if (i % 256 == 0) myco_table_sweep(f->table, 1, 64, NULL, NULL);
    }
}

static void clear_and_refill(struct fixture *f, uint64_t version)
{
    __atomic_fetch_add(&f->cleared, 1, __ATOMIC_ACQ_REL);
    myco_table_clear(f->table);
    put_steady(f, version);
    __atomic_fetch_add(&f->cleared, 1, __ATOMIC_ACQ_REL);
}

static void start(struct reader *readers, struct fixture *f)
{
    __atomic_store_n(&f->stop, false, __ATOMIC_RELAXED);
    for (int i = 0; i < READERS; i++) {
        readers[i].f = f;
        pthread_create(&readers[i].thread, NULL, read_loop, &readers[i]);
    }
}

static void stop(struct reader *readers, struct fixture *f)
{
    __atomic_store_n(&f->stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < READERS; i++) pthread_join(readers[i].thread, NULL);
}

/* Enough reads on a busy machine too, where a round may end before its readers began. */
static bool well_read(const struct reader *readers, int round)
{
    bool enough = round >= 200;
    unsigned long least = ULONG_MAX;
    for (int i = 0; i < READERS; i++) {
        if (readers[i].reads < least) least = readers[i].reads;
    }
    return enough || least > 10000;
}

/* Nobody reads any more: each poll gets on, by a bounded step. */
static void drain(struct myco_domain *domain)
{
    for (int i = 0; i < 10000 && myco_domain_retired(domain) > 0; i++) myco_domain_poll(domain);
}

static void test_readers(void)
{
    struct fixture f = {.domain = myco_domain_new()};
    struct reader readers[READERS] = {0};
    size_t retired_max = 0;
    f.table = myco_table_new(f.domain);
    put_steady(&f, 1);
    for (int round = 0; round < 6 || !well_read(readers, round); round++) {
        start(readers, &f); /* new threads each time: records are taken over */
        for (int i = 0; i < 3; i++) round_of_writes(&f, (uint64_t)round * 1000 + (uint64_t)i);
        if (retired_max < myco_domain_retired(f.domain)) {
            retired_max = myco_domain_retired(f.domain);
        }
        clear_and_refill(&f, (uint64_t)round * 777);
        stop(readers, &f);
    }
    for (int i = 0; i < READERS; i++) {
        ok(readers[i].reads > 0, "reader %d: %lu reads", i, readers[i].reads);
        is_int(readers[i].torn, 0, "no value was torn");
        is_int(readers[i].missed, 0, "no key that is always there was missed");
    }
    note("at most %zu were seen retired", retired_max);
    drain(f.domain);
    is_int(myco_domain_retired(f.domain), 0, "all that was retired is freed");
    myco_table_free(f.table);
    drain(f.domain);
    is_int(myco_domain_retired(f.domain), 0, "the table too");
    myco_domain_free(f.domain);
}

/* A reader that stays inside: nothing that it may see is freed, and all of it is once it left. */
static void test_grace_period(void)
{
    struct fixture f = {.domain = myco_domain_new()};
    f.table = myco_table_new(f.domain);
    put_steady(&f, 1);
    uint32_t key;
    struct myco_slice slice = key_of(3, &key);
    struct myco__reader *reader = myco__reader_enter(f.domain);
    const struct myco__entry *entry = myco__index_read(f.table, slice, myco__index_hash(slice));
    myco_table_clear(f.table);
    myco_table_free(f.table);
    for (int i = 0; i < 10; i++) myco_domain_poll(f.domain);
    ok(myco_domain_retired(f.domain) >= STEADY + 2, "held: entries, the cleared index, the table");
    is_int(entry->version, 4, "what was found is still there");
    myco__reader_leave(reader);
    drain(f.domain);
    is_int(myco_domain_retired(f.domain), 0, "gone after it left");
    myco_domain_free(f.domain);
}

/* Threads and domains end in any order. */
struct visitor {
    struct fixture *f;
    int wake[2], done[2];
};

static void *visit(void *data)
{
    struct visitor *visitor = data;
    char byte;
    while (read(visitor->wake[0], &byte, 1) == 1 && byte == 'r') {
        struct reader reader = {.f = visitor->f};
        read_one(&reader, 1);
        if (write(visitor->done[1], &byte, 1) != 1) break;
    }
    return NULL;
}

static void visitor_read(struct visitor *visitor)
{
    char byte = 'r';
    if (write(visitor->wake[1], &byte, 1) != 1 || read(visitor->done[0], &byte, 1) != 1) {
        bail_out("pipe");
    }
}

static void test_ends(void)
{
    struct visitor visitor;
    pthread_t thread;
    if (pipe(visitor.wake) != 0 || pipe(visitor.done) != 0) bail_out("pipe");
    pthread_create(&thread, NULL, visit, &visitor);
    for (int i = 0; i < 20; i++) { /* the thread outlives its domains */
        struct fixture f = {.domain = myco_domain_new()}, other = {.domain = myco_domain_new()};
        f.table = myco_table_new(f.domain);
        other.table = myco_table_new(other.domain);
        visitor.f = &f;
        visitor_read(&visitor);
        visitor.f = &other;
        visitor_read(&visitor);
        visitor.f = &f;
        visitor_read(&visitor);
        myco_table_free(f.table);
        myco_table_free(other.table);
        myco_domain_free(f.domain);
        myco_domain_free(other.domain);
    }
    close(visitor.wake[1]);
    pthread_join(thread, NULL);
    ok(true, "a thread outlived twenty pairs of domains");
    close(visitor.wake[0]);
    close(visitor.done[0]);
    close(visitor.done[1]);
}

int main(void)
{
    test_readers();
    test_grace_period();
    test_ends();
    return plan_done();
}
