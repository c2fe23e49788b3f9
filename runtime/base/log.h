/* A leveled, structured log. Nothing is printed unless a sink is set: the host's callback, or the
 * program's stderr. One line: time, level, subsystem, sentence, then key=value pairs.
 *     MYCO_LOG_WARN(log, "gossip", "datagram refused", "from=%s size=%zu", from, size); */
#ifndef MYCO_BASE_LOG_H
#define MYCO_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum myco_log_level {
    MYCO_LOG_TRACE,
    MYCO_LOG_DEBUG,
    MYCO_LOG_INFO,
    MYCO_LOG_WARN,
    MYCO_LOG_ERROR,
    MYCO_LOG_OFF
};

struct myco_log;
/* `fields` is "" or space-separated key=value pairs, values quoted when they hold spaces. Any
 * thread. */
typedef void (*myco_log_sink_cb)(
    int level, const char *subsystem, const char *message, const char *fields, void *data);

struct myco_log {
    int level; /* below it nothing is formatted */
    myco_log_sink_cb sink;
    void *data;
    char name[64]; /* of the node, for sinks that want it */
};

void myco_log_write(struct myco_log *log, int level, const char *subsystem, const char *message,
    const char *fields, ...) __attribute__((format(printf, 5, 6)));
int myco_log_level_from_text(const char *text); /* -1 when unknown */
const char *myco_log_level_name(int level);
/* Sinks for programs: one line on stderr as text or JSON; `data` is the struct myco_log. */
void myco_log_sink_text(
    int level, const char *subsystem, const char *message, const char *fields, void *data);
void myco_log_sink_json(
    int level, const char *subsystem, const char *message, const char *fields, void *data);

#define MYCO_LOG_AT(log, at, ...)                                                                  \
    ((log) && (at) >= (log)->level ? myco_log_write((log), (at), __VA_ARGS__) : (void)0)
#define MYCO_TRACE(log, ...) MYCO_LOG_AT(log, MYCO_LOG_TRACE, __VA_ARGS__)
#define MYCO_DEBUG(log, ...) MYCO_LOG_AT(log, MYCO_LOG_DEBUG, __VA_ARGS__)
#define MYCO_INFO(log, ...)  MYCO_LOG_AT(log, MYCO_LOG_INFO, __VA_ARGS__)
#define MYCO_WARN(log, ...)  MYCO_LOG_AT(log, MYCO_LOG_WARN, __VA_ARGS__)
#define MYCO_ERROR(log, ...) MYCO_LOG_AT(log, MYCO_LOG_ERROR, __VA_ARGS__)

#endif
