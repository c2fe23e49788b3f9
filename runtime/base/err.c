/* Error codes and the sentences that travel with them. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define TEXT_(value) #value
#define TEXT(value)  TEXT_(value)

const char *myco_version(void)
{
    return TEXT(MYCO_VERSION_MAJOR) "." TEXT(MYCO_VERSION_MINOR) "." TEXT(MYCO_VERSION_PATCH);
}

const char *myco_strerror(int code)
{
    switch (code) {
    case MYCO_OK: return "success";
#define X(name, number, text)                                                                      \
    case MYCO_##name: return text;
        MYCO_ERRORS(X)
#undef X
    default: return "unknown error";
    }
}

const char *myco_errname(int code)
{
    switch (code) {
    case MYCO_OK: return "OK";
#define X(name, number, text)                                                                      \
    case MYCO_##name: return #name;
        MYCO_ERRORS(X)
#undef X
    default: return "UNKNOWN";
    }
}

int myco_complain(const struct myco_err *err)
{
    const char *message = err->message[0] != '\0' ? err->message : myco_strerror(err->code);
    fprintf(stderr, "mycorrizal: %s (%s)\n", message, myco_errname(err->code));
    return 1;
}

void myco_value_release(struct myco_value *value)
{
    if (value == NULL) return;
    myco_free(value->owner);
    *value = (struct myco_value){0};
}

/* Cuts silently: a sentence that is too long is still a sentence. */
static void format_message(struct myco_err *err, const char *format, va_list args)
{
    if (vsnprintf(err->message, sizeof err->message, format, args) < 0) err->message[0] = '\0';
}

int myco_err(struct myco_err *err, int code, const char *format, ...)
{
    if (err == NULL) return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    format_message(err, format, args);
    va_end(args);
    return code;
}

int myco_err_sys(struct myco_err *err, int sys, const char *format, ...)
{
    int code = myco_err_from_errno(sys);
    if (err == NULL) return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    format_message(err, format, args);
    va_end(args);

    char text[96];
    size_t size = strlen(err->message);
    snprintf(err->message + size, sizeof err->message - size, ": %s",
        strerror_r(sys, text, sizeof text)); /* the GNU one, which returns the text */
    return code;
}

int myco_err_wrap(struct myco_err *err, const char *format, ...)
{
    if (err == NULL) return 0;
    char inner[sizeof err->message];
    memcpy(inner, err->message, sizeof inner);

    va_list args;
    va_start(args, format);
    format_message(err, format, args);
    va_end(args);
    size_t size = strlen(err->message);
    snprintf(err->message + size, sizeof err->message - size, ": %s", inner);
    return err->code;
}

int myco_err_from_errno(int sys)
{
    switch (sys) {
    case 0: return MYCO_OK;
    case EINVAL:
    case ENAMETOOLONG: return MYCO_EINVAL;
    case ENOMEM:
    case ENOBUFS: return MYCO_ENOMEM;
    case ETIMEDOUT: return MYCO_ETIMEDOUT;
    case ENOENT:
    case ENOTDIR: return MYCO_ENOTFOUND;
    case EEXIST: return MYCO_EEXISTS;
    case EFBIG:
    case EMSGSIZE: return MYCO_ETOOBIG;
    case ENOSPC:
    case EDQUOT: return MYCO_ENOSPC;
    case EADDRINUSE: return MYCO_EADDRINUSE;
    case EACCES:
    case EPERM:
    case EROFS: return MYCO_EDENIED;
    case EBUSY:
    case EAGAIN: return MYCO_EBUSY;
    case ECANCELED: return MYCO_ECANCELED;
    case ENOTSUP:
    case ENOSYS: return MYCO_ENOTSUP;
    case EMFILE:
    case ENFILE:
    case EADDRNOTAVAIL:
    case ENETUNREACH:
    case EHOSTUNREACH: return MYCO_EUNAVAILABLE;
    case ENOTCONN:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE: return MYCO_ENOTCONN;
    default: return MYCO_EIO;
    }
}
