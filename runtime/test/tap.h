/* Test Anything Protocol, in one header: a test is a program that says "ok" or "not ok" for each
 * thing it checks, and how many there were.
 *
 *     #include "tap.h"
 *     int main(void)
 *     {
 *         ok(1 + 1 == 2, "addition");
 *         is_int(strlen("abc"), 3, "strlen of %s", "abc");
 *         return plan_done();
 *     }
 *
 * Each returns whether it held, so that what would crash after a failure can be left out. */
#ifndef MYCO_TEST_TAP_H
#define MYCO_TEST_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count, tap_failed;

static inline bool tap_report(
    bool pass, const char *file, int line, const char *format, va_list args)
{
    tap_count++;
    printf("%s %d - ", pass ? "ok" : "not ok", tap_count);
    vprintf(format, args);
    printf("\n");
    if (!pass) {
        tap_failed++;
        printf("#   at %s:%d\n", file, line);
    }
    fflush(stdout);
    return pass;
}

__attribute__((format(printf, 4, 5))) static inline bool tap_ok(
    bool pass, const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tap_report(pass, file, line, format, args);
    va_end(args);
    return pass;
}

__attribute__((format(printf, 5, 6))) static inline bool tap_is_int(
    long long got, long long want, const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool pass = tap_report(got == want, file, line, format, args);
    va_end(args);
    if (!pass) printf("#   got %lld, want %lld\n", got, want);
    return pass;
}

__attribute__((format(printf, 5, 6))) static inline bool tap_is_str(
    const char *got, const char *want, const char *file, int line, const char *format, ...)
{
    bool same = got != NULL && want != NULL ? strcmp(got, want) == 0 : got == want;
    va_list args;
    va_start(args, format);
    bool pass = tap_report(same, file, line, format, args);
    va_end(args);
    if (!pass) {
        printf("#   got \"%s\", want \"%s\"\n", got != NULL ? got : "(null)",
            want != NULL ? want : "(null)");
    }
    return pass;
}

#define ok(condition, ...) tap_ok((condition), __FILE__, __LINE__, __VA_ARGS__)
#define is_int(got, want, ...)                                                                     \
    tap_is_int((long long)(got), (long long)(want), __FILE__, __LINE__, __VA_ARGS__)
#define is_str(got, want, ...) tap_is_str((got), (want), __FILE__, __LINE__, __VA_ARGS__)

/* One thing that can't be checked here, and why. */
__attribute__((format(printf, 1, 2))) static inline void skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("ok %d # SKIP ", ++tap_count);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

/* A line for whoever reads the output. */
__attribute__((format(printf, 1, 2))) static inline void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("# ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

/* For what the rest of the test stands on. */
__attribute__((format(printf, 1, 2), noreturn)) static inline void bail_out(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("Bail out! ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    exit(1);
}

/* The last line of main. */
static inline int plan_done(void)
{
    printf("1..%d\n", tap_count);
    return tap_failed == 0 && tap_count > 0 ? 0 : 1;
}

#endif
