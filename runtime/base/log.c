/* The log as the library sees it: a level, and someone who takes the lines. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIELDS_SIZE_MAX 1024 /* longer ones are cut */

static const char *const level_names[] = {"trace", "debug", "info", "warn", "error", "off"};

void myco_log_write(struct myco_log *log, int level, const char *subsystem, const char *message,
    const char *fields, ...)
{
    if (log == NULL || log->sink == NULL || level < log->level) return;
    char text[FIELDS_SIZE_MAX];
    va_list args;
    va_start(args, fields);
    if (vsnprintf(text, sizeof text, fields, args) < 0) text[0] = '\0';
    va_end(args);
    log->sink(level, subsystem, message, text, log->data);
}

int myco_log_level_from_text(const char *text)
{
    for (int level = MYCO_LOG_TRACE; level <= MYCO_LOG_OFF; level++) {
        if (strcmp(text, level_names[level]) == 0) return level;
    }
    return -1;
}

const char *myco_log_level_name(int level)
{
    return level >= MYCO_LOG_TRACE && level <= MYCO_LOG_OFF ? level_names[level] : "unknown";
}
