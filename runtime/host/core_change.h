/* Changes of one key that are computed from what is there: at the primary, in one round trip. What
 * is logged is the result, an ordinary put or del, never the change itself: replay, copies and
 * uploads know nothing of changes. */
#ifndef MYCO_HOST_CORE_CHANGE_H
#define MYCO_HOST_CORE_CHANGE_H

#include "store/hypha.h"

/* A change as bytes: u8 kind, u8 flags, u64 if_version, u64 ttl_ms, i64 delta, i64 initial, slice
 * value. The key travels beside it. */
void core_change_write(const struct myco_change *change, struct myco_buf *out);
/* The value is lent. false: malformed. */
bool core_change_read(struct myco_reader *in, struct myco_change *change);

/* What a change is computed from. */
struct core_change_world {
    const struct myco_table_item *item; /* NULL: absent */
    uint64_t now_ms, ttl_ms;            /* the log's time; the septum's default, 0: none */
    size_t value_size_max;
};

/* What comes of it: a write, or nothing but an answer. */
struct core_outcome {
    bool logs; /* a write with the next four */
    enum myco_op op;
    struct myco_slice value; /* points into the change, the item, or `made` */
    uint64_t expires_ms;
    struct myco_buf made;          /* owned */
    int status;                    /* 0, or why nothing is written */
    const char *message;           /* static; "" with 0 */
    struct myco_slice answer;      /* points as `value` does */
    uint64_t count, expires_in_ms; /* of the answer */
};

/* Pure. The outcome is given: myco_buf_free(&outcome->made). */
void core_change_compute(const struct myco_change *change, const struct core_change_world *world,
    struct core_outcome *outcome);

/* 0, EINVAL, ETOOBIG: what can be told before any world is known; *why is static. */
int core_change_check(const struct myco_change *change, size_t value_size_max, const char **why);

#endif
