/* Subjects and a trie of subscriptions with `*` (one token) and `>` (one or more, at the end). */
#ifndef MYCO_STREAM_SUBJECTS_H
#define MYCO_STREAM_SUBJECTS_H

#include <stdbool.h>
#include <stddef.h>

#include "mycorrizal.h"

/* 1–255 bytes, tokens not empty, no spaces or control characters; wildcards only as whole tokens
 * and where allowed. */
int myco_subject_check(struct myco_slice subject, bool wildcards, struct myco_err *err);
bool myco_subject_match(struct myco_slice pattern, struct myco_slice subject);

struct myco_trie;
struct myco_trie *myco_trie_new(void);
void myco_trie_free(struct myco_trie *trie); /* not the values */
/* The same (pattern, value) may be added several times, and is removed as often. */
void myco_trie_add(struct myco_trie *trie, struct myco_slice pattern, void *value);
bool myco_trie_remove(struct myco_trie *trie, struct myco_slice pattern, void *value);
/* Calls back for each value of each pattern that matches, in order of insertion. The callback must
 * not change the trie. */
typedef void (*myco_trie_cb)(void *value, void *data);
size_t myco_trie_match(
    const struct myco_trie *trie, struct myco_slice subject, myco_trie_cb cb, void *data);
size_t myco_trie_count(const struct myco_trie *trie);

#endif
