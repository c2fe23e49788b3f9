/* Memory that is there or ends the process, and memory that may be refused. */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long fail_countdown; /* tests only; 0: off */

static void *or_die(void *memory, size_t size)
{
    if (memory != NULL) return memory;
    fprintf(stderr, "mycorrizal: out of memory, %zu bytes wanted\n", size);
    abort();
}

/* malloc(0) may be NULL, which is not what NULL means here. */
static size_t at_least_one(size_t size)
{
    return size > 0 ? size : 1;
}

void *myco_alloc(size_t size)
{
    return or_die(calloc(1, at_least_one(size)), size);
}

void *myco_realloc(void *memory, size_t size)
{
    return or_die(realloc(memory, at_least_one(size)), size);
}

char *myco_strdup(const char *text)
{
    return myco_memdup(text, strlen(text) + 1);
}

void *myco_memdup(const void *bytes, size_t size)
{
    void *copy = or_die(malloc(at_least_one(size)), size);
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

static int must_fail(void)
{
    if (__atomic_load_n(&fail_countdown, __ATOMIC_RELAXED) == 0) return 0;
    return __atomic_fetch_sub(&fail_countdown, 1, __ATOMIC_RELAXED) == 1;
}

void *myco_try_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(at_least_one(size));
}

void *myco_try_realloc(void *memory, size_t size)
{
    return must_fail() ? NULL : realloc(memory, at_least_one(size));
}

void myco_free(void *memory)
{
    free(memory);
}

void myco_mem_fail_nth(long nth)
{
    __atomic_store_n(&fail_countdown, nth, __ATOMIC_RELAXED);
}
