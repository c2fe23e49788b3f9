/* Where the retired entries of a node's tables wait until no reader can see them.
 *
 * The writer fills blocks with what it retires. A full block, or any at a poll, is given to
 * ck_epoch_call(); when its grace period has passed, ck_epoch_poll() hands it back, and polls free
 * what is in it in steps of at most FREE_BUDGET, so that no turn of the loop gets long. A write
 * that filled a block polls at its end. The loop never waits for a reader.
 *
 * A thread that reads gets a record at its first read of the domain, found again through
 * thread-local storage. Record and thread may each go first:
 *
 *     the thread ends      its record is marked free, and the next new thread takes it over
 *     the domain is freed  its records are cut off; the thread frees its own when it next registers
 *                          or ends */
#include <ck_epoch.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "store/table_internal.h"

#if defined(__SANITIZE_THREAD__) /* which can't see into ck's assembly: say what it orders */
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TSAN_ACQUIRE(address) __tsan_acquire(address)
#define TSAN_RELEASE(address) __tsan_release(address)
#else
#define TSAN_ACQUIRE(address) ((void)(address))
#define TSAN_RELEASE(address) ((void)(address))
#endif

#define BLOCK_ITEMS 250
#define FREE_BUDGET 2048

enum { ITEM_ENTRY, ITEM_BUCKET, ITEM_TABLE, ITEM_KIND_MASK = 7 }; /* in the low bits of a pointer */

struct block {
    ck_epoch_entry_t ck;
    struct myco_domain *domain;
    struct block *next; /* in ready */
    unsigned count;
    uintptr_t items[BLOCK_ITEMS];
};

enum { HELD_BY_DOMAIN = 1, HELD_BY_THREAD = 2 };

struct myco__reader {
    ck_epoch_record_t record;
    struct myco_domain *domain; /* NULL: was freed */
    unsigned held;              /* by whom; whoever lets go last frees it */
    struct myco__reader *next_in_domain, *next_in_thread;
};

struct myco_domain {
    ck_epoch_t epoch;
    ck_epoch_record_t writer;
    struct myco__slabs slabs;
    struct block *filling, *ready;
    unsigned closed_count; /* blocks since the last poll */
    size_t retired;
    pthread_mutex_t readers_lock; /* never taken to read, only at a thread's first read */
    struct myco__reader *readers;
};

/* The only state outside of a domain: which records this thread has. */
static __thread struct myco__reader *thread_readers;
static __thread bool thread_hooked;

/* glibc's way (since 2.18) to run something at the end of the current thread; what C++ uses for
 * thread_local objects, and unlike a pthread key it needs no static of its own. */
extern int __cxa_thread_atexit_impl(void (*run)(void *), void *data, void *library);
extern void *__dso_handle;

/* ── Memory of aligned structures ────────────────────────────────────────────────────────────── */

static void *alloc_aligned(size_t size)
{
    size_t rounded = (size + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, rounded);
    MYCO_ASSERT(memory != NULL); /* some hundred bytes, as in myco_alloc */
    return memset(memory, 0, rounded);
}

/* ── Readers ─────────────────────────────────────────────────────────────────────────────────── */

static void reader_let_go(struct myco__reader *reader, unsigned who)
{
    if (__atomic_and_fetch(&reader->held, ~who, __ATOMIC_ACQ_REL) == 0) free(reader);
}

static void thread_ends(void *data)
{
    (void)data;
    while (thread_readers != NULL) {
        struct myco__reader *reader = thread_readers;
        thread_readers = reader->next_in_thread;
        reader_let_go(reader, HELD_BY_THREAD);
    }
    thread_hooked = false;
}

static void thread_drop_dead(void)
{
    for (struct myco__reader **at = &thread_readers; *at != NULL;) {
        struct myco__reader *reader = *at;
        if (MYCO__LOAD(&reader->domain) != NULL) {
            at = &reader->next_in_thread;
            continue;
        }
        *at = reader->next_in_thread;
        reader_let_go(reader, HELD_BY_THREAD);
    }
}

static struct myco__reader *reader_take_over(struct myco_domain *domain)
{
    for (struct myco__reader *reader = domain->readers; reader; reader = reader->next_in_domain) {
        unsigned held = HELD_BY_DOMAIN;
        if (__atomic_compare_exchange_n(&reader->held, &held, HELD_BY_DOMAIN | HELD_BY_THREAD,
                false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return reader;
    }
    return NULL;
}

static struct myco__reader *reader_new(struct myco_domain *domain)
{
    struct myco__reader *reader = alloc_aligned(sizeof(*reader));
    reader->domain = domain;
    reader->held = HELD_BY_DOMAIN | HELD_BY_THREAD;
    ck_epoch_register(&domain->epoch, &reader->record, NULL);
    reader->next_in_domain = domain->readers;
    domain->readers = reader;
    return reader;
}

static struct myco__reader *reader_register(struct myco_domain *domain)
{
    thread_drop_dead();
    if (!thread_hooked) {
        thread_hooked = true;
        __cxa_thread_atexit_impl(thread_ends, NULL, &__dso_handle);
    }
    pthread_mutex_lock(&domain->readers_lock);
    struct myco__reader *reader = reader_take_over(domain);
    if (reader == NULL) reader = reader_new(domain);
    pthread_mutex_unlock(&domain->readers_lock);
    reader->next_in_thread = thread_readers;
    thread_readers = reader;
    return reader;
}

struct myco__reader *myco__reader_enter(struct myco_domain *domain)
{
    struct myco__reader *reader = thread_readers;
    while (reader != NULL && __atomic_load_n(&reader->domain, __ATOMIC_RELAXED) != domain) {
        reader = reader->next_in_thread;
    }
    if (reader == NULL) reader = reader_register(domain);
    ck_epoch_begin(&reader->record, NULL);
    return reader;
}

void myco__reader_leave(struct myco__reader *reader)
{
    TSAN_RELEASE(&reader->domain->epoch);
    ck_epoch_end(&reader->record, NULL);
}

void myco__domain_hold(struct myco_domain *domain)
{
    ck_epoch_begin(&domain->writer, NULL);
}

void myco__domain_unhold(struct myco_domain *domain)
{
    ck_epoch_end(&domain->writer, NULL);
}

/* ── Retirement ──────────────────────────────────────────────────────────────────────────────── */

static void block_ready(ck_epoch_entry_t *entry)
{
    struct block *block = MYCO_CONTAINER(entry, struct block, ck);
    block->next = block->domain->ready;
    block->domain->ready = block;
}

static void block_close(struct myco_domain *domain)
{
    ck_epoch_call(&domain->writer, &domain->filling->ck, block_ready);
    domain->filling = NULL;
    domain->closed_count++;
}

/* Frees nothing: its caller may still look at what it retires. */
static void domain_retire(struct myco_domain *domain, void *memory, unsigned kind)
{
    struct block *block = domain->filling;
    if (block == NULL) {
        block = domain->filling = myco_alloc(sizeof(*block));
        block->domain = domain;
    }
    block->items[block->count++] = (uintptr_t)memory | kind;
    domain->retired++;
    if (block->count == BLOCK_ITEMS) block_close(domain);
}

void myco__domain_settle(struct myco_domain *domain)
{
    if (domain->closed_count > 0) myco_domain_poll(domain);
}

void myco__domain_retire_entry(struct myco_domain *domain, struct myco__entry *entry)
{
    domain_retire(domain, entry, ITEM_ENTRY);
}

void myco__domain_retire_bucket(struct myco_domain *domain, struct myco__bucket *bucket)
{
    domain_retire(domain, bucket, ITEM_BUCKET);
}

void myco__domain_retire_table(struct myco_domain *domain, struct myco_table *table)
{
    domain->retired += table->count;
    domain_retire(domain, table, ITEM_TABLE);
}

/* True when the item is gone; a table may take several polls. */
static bool item_free(struct myco_domain *domain, uintptr_t item, size_t *budget)
{
    void *memory = (void *)(item & ~(uintptr_t)ITEM_KIND_MASK);
    if ((item & ITEM_KIND_MASK) == ITEM_TABLE) {
        struct myco_table *table = memory;
        size_t before = table->count;
        bool gone = myco__index_free_some(table, budget);
        domain->retired -= before - table->count;
        if (!gone) return false;
        myco_free(table);
    } else if ((item & ITEM_KIND_MASK) == ITEM_BUCKET) {
        myco__lines_free(&domain->slabs, memory, sizeof(struct myco__bucket));
    } else {
        myco__slabs_free(&domain->slabs, memory, myco__entry_size(memory));
    }
    domain->retired--;
    myco__slabs_spend(&domain->slabs, budget);
    return true;
}

static void free_ready(struct myco_domain *domain, size_t budget)
{
    while (domain->ready != NULL && budget > 0) {
        struct block *block = domain->ready;
        while (block->count > 0 && budget > 0) {
            if (!item_free(domain, block->items[block->count - 1], &budget)) return;
            block->count--;
        }
        if (block->count > 0) return;
        domain->ready = block->next;
        myco_free(block);
    }
}

void myco_domain_poll(struct myco_domain *domain)
{
    if (domain->retired == 0) return;
    if (domain->filling != NULL) block_close(domain);
    domain->closed_count = 0;
    ck_epoch_poll(&domain->writer);
    TSAN_ACQUIRE(&domain->epoch);
    free_ready(domain, FREE_BUDGET);
}

size_t myco_domain_retired(const struct myco_domain *domain)
{
    return domain->retired;
}

/* ── The domain ──────────────────────────────────────────────────────────────────────────────── */

struct myco_domain *myco_domain_new(void)
{
    struct myco_domain *domain = alloc_aligned(sizeof(*domain));
    ck_epoch_init(&domain->epoch);
    ck_epoch_register(&domain->epoch, &domain->writer, NULL);
    myco__slabs_init(&domain->slabs);
    pthread_mutex_init(&domain->readers_lock, NULL);
    return domain;
}

void myco_domain_free(struct myco_domain *domain)
{
    if (domain == NULL) return;
    while (domain->retired > 0) myco_domain_poll(domain); /* nobody reads: each poll gets on */
    while (domain->readers != NULL) {
        struct myco__reader *reader = domain->readers;
        domain->readers = reader->next_in_domain;
        MYCO__STORE(&reader->domain, NULL);
        reader_let_go(reader, HELD_BY_DOMAIN);
    }
    myco__slabs_close(&domain->slabs);
    pthread_mutex_destroy(&domain->readers_lock);
    free(domain);
}

struct myco__slabs *myco__domain_slabs(struct myco_domain *domain)
{
    return &domain->slabs;
}
