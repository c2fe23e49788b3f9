/* The end of a process whose own code broke a promise. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void myco__assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "mycorrizal: %s:%d: assertion failed: %s\n", file, line, expression);
    abort();
}
