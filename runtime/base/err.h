/* Error codes: one list gives the number, the name and the sentence. Public, see mycorrizal.h. */
#ifndef MYCO_BASE_ERR_H
#define MYCO_BASE_ERR_H

#include <stdarg.h>

#include "mycorrizal.h"

/* Fills `err` (may be NULL) and returns `code`, so that `return myco_err(err, MYCO_EIO, …)` reads
 * well. */
int myco_err(struct myco_err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same from errno `sys`: the sentence ends in ": No such file or directory". */
int myco_err_sys(struct myco_err *err, int sys, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "what: " before the sentence that is there already; returns err's code. */
int myco_err_wrap(struct myco_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* MYCO_E… for an errno: ENOSPC, EDQUOT → MYCO_ENOSPC, EADDRINUSE → MYCO_EADDRINUSE, …; else
 * MYCO_EIO. */
int myco_err_from_errno(int sys);

#endif
