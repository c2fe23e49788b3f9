/* Memory. Small structures of the control plane come from myco_alloc(), which does not return
 * when there is none: a node that can't allocate 200 bytes is lost. What a peer, a client or a file
 * sizes comes from myco_try_alloc(), which returns NULL, and becomes MYCO_ENOMEM. */
#ifndef MYCO_BASE_MEM_H
#define MYCO_BASE_MEM_H

#include <stddef.h>

void *myco_alloc(size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *myco_realloc(void *memory, size_t size) __attribute__((returns_nonnull));
char *myco_strdup(const char *text) __attribute__((returns_nonnull));
void *myco_memdup(const void *bytes, size_t size) __attribute__((returns_nonnull));
void *myco_try_alloc(size_t size);                 /* not zeroed; NULL when there is none */
void *myco_try_realloc(void *memory, size_t size); /* NULL leaves `memory` as it was */
void myco_free(void *memory);

/* Makes the nth myco_try_… call from now on fail (1: the next); 0 turns it off. For tests. */
void myco_mem_fail_nth(long nth);

#endif
