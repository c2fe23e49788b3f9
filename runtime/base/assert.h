/* Assertions that stay on in release builds: programming errors only, never input, disk or
 * peers. */
#ifndef MYCO_BASE_ASSERT_H
#define MYCO_BASE_ASSERT_H

_Noreturn void myco__assert_failed(const char *expression, const char *file, int line);

#define MYCO_ASSERT(expression)                                                                    \
    ((expression) ? (void)0 : myco__assert_failed(#expression, __FILE__, __LINE__))

#endif
