/* The table of one hypha: keys to values with version and expiry. One writer, the loop thread;
 * readers on any thread take no lock that the writer can hold. Entries are immutable; a replaced
 * one is retired and freed after a grace period that is polled, never waited for (ck_epoch_poll).
 * Index: buckets of 64 bytes, seven 16-bit tags with 48-bit pointers; resized incrementally. */
#ifndef MYCO_STORE_TABLE_H
#define MYCO_STORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Where retired entries of a node's tables wait. */
struct myco_domain;
struct myco_domain *myco_domain_new(void);
/* No readers may be left; its tables were freed before. */
void myco_domain_free(struct myco_domain *domain);
void myco_domain_poll(struct myco_domain
        *domain); /* writer, now and then: frees some of what nobody reads any more */
size_t myco_domain_retired(const struct myco_domain *domain);

struct myco_table;
struct myco_table *myco_table_new(struct myco_domain *domain);
void myco_table_free(struct myco_table
        *table); /* writer; readers may still be inside: memory goes after the grace period */

/* What the writer sees of an entry; lent until its next write to the table. */
struct myco_table_item {
    struct myco_slice key, value;
    uint64_t version;
    uint64_t expires_ms; /* wall clock; 0: never */
    uint32_t *hint;      /* how it was used; NULL: none is kept. For the functions below */
};

/* Writer. ENOMEM, ETOOBIG (key, value) leave the table as it was. Replaces; `had` (may be NULL)
 * says whether the key was there. */
int myco_table_put(struct myco_table *table, struct myco_slice key, struct myco_slice value,
    uint64_t version, uint64_t expires_ms, bool *had);
bool myco_table_del(struct myco_table *table, struct myco_slice key); /* false: was not there */
bool myco_table_find(const struct myco_table *table, struct myco_slice key,
    struct myco_table_item *item); /* expired or not */

/* ── How entries are used ── writer. Kept in four bytes of entries that are put while it is on:
 * when it was used last, in seconds of `clock` modulo 2^24 (194 days), and how often, as a
 * logarithm. A replaced entry hands its own to the next. */
void myco_table_hints(struct myco_table *table, bool on, uint32_t clock); /* now and then */
bool myco_table_hinted(const struct myco_table *table);
void myco_table_touch(struct myco_table *table, const struct myco_table_item *item);
/* Seconds since it was used last; UINT32_MAX: not known. */
uint32_t myco_table_idle(const struct myco_table *table, const struct myco_table_item *item);
/* How often it was used: 0 … 255, one less for each `decay` seconds without use (0: never). Two
 * uses count two; beyond that the n-th step takes some 10 n uses. */
unsigned myco_table_usage(
    const struct myco_table *table, const struct myco_table_item *item, uint32_t decay);
/* Bytes that myco_table_bytes() counts for such an entry. */
size_t myco_table_cost(
    const struct myco_table *table, size_t key_size, size_t value_size, uint64_t expires_ms);
void myco_table_clear(struct myco_table *table);
size_t myco_table_count(const struct myco_table *table); /* any thread (a hint) */
size_t myco_table_bytes(const struct myco_table *table); /* keys, values and their headers */

/* Any thread. Copies the value out (gives: myco_value_release). ENOTFOUND (expired counts),
 * ENOMEM. */
int myco_table_read(const struct myco_table *table, struct myco_slice key, uint64_t now_ms,
    struct myco_value *value);

/* Writer. Visits every item once; the callback must not write. Returns early when it returns
 * false. */
typedef bool (*myco_table_cb)(const struct myco_table_item *item, void *data);
void myco_table_each(const struct myco_table *table, myco_table_cb cb, void *data);
/* The first `limit` items in byte order of keys, with `prefix`, after `after` (exclusive; NULL
 * data: from the start), not expired at now_ms. Costs one pass over the table. Returns how many the
 * callback got. */
size_t myco_table_page(const struct myco_table *table, struct myco_slice prefix,
    struct myco_slice after, size_t limit, uint64_t now_ms, myco_table_cb cb, void *data);
/* Looks at up to `budget` buckets from where the last call stopped, and calls back for each expired
 * item; the callback (may be NULL) may write to the table, and ends the sweep by returning false.
 * Also moves what lies in slabs that are nearly empty, so that their memory becomes free: call it
 * now and then for every table, backups' too. */
void myco_table_sweep(
    struct myco_table *table, uint64_t now_ms, size_t budget, myco_table_cb cb, void *data);
/* Visits the items of whole buckets, from bucket `at` on (modulo their number), until it has seen
 * `count` or all; the callback must not write. Where to go on. */
uint64_t myco_table_sample(
    const struct myco_table *table, uint64_t at, size_t count, myco_table_cb cb, void *data);
/* Writer; one pass when anything expires. */
size_t myco_table_count_live(const struct myco_table *table, uint64_t now_ms);

#endif
