/* Where the lines of the log go in a program of ours: stderr, one write(2) each, so that lines of
 * several threads don't mix. Text for people, JSON for machines:
 *
 *     2025-01-31T09:30:00.123Z info  api-1 gossip: member joined name=api-2 addr=10.0.0.2:7946
 *     {"time":"…","level":"info","node":"api-1","subsystem":"gossip","message":"member joined",
 *      "fields":{"name":"api-2","addr":"10.0.0.2:7946"}}
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"

#define LINE_SIZE_MAX (16 * 1024)

static void put_time(struct myco_buf *line)
{
    struct timespec now;
    struct tm utc;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    myco_buf_printf(line, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

/* A line that can't be written is lost: the log must not stop the program. */
static void write_line(struct myco_buf *line)
{
    myco_buf_u8(line, '\n');
    size_t done = 0;
    while (!line->failed && done < line->size) {
        ssize_t size = write(STDERR_FILENO, line->data + done, line->size - done);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) break;
        done += (size_t)size;
    }
    myco_buf_free(line);
}

/* What came from outside can't forge a line or drive a terminal. */
static void put_plain(struct myco_buf *line, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        myco_buf_u8(line, byte < 0x20 || byte == 0x7f ? '?' : byte);
    }
}

void myco_log_sink_text(
    int level, const char *subsystem, const char *message, const char *fields, void *data)
{
    const struct myco_log *log = data;
    struct myco_buf line = {.size_max = LINE_SIZE_MAX};
    put_time(&line);
    myco_buf_printf(&line, " %-5s ", myco_log_level_name(level));
    if (log != NULL && log->name[0] != '\0') myco_buf_printf(&line, "%s ", log->name);
    myco_buf_printf(&line, "%s: ", subsystem);
    put_plain(&line, message);
    if (fields[0] != '\0') myco_buf_u8(&line, ' ');
    put_plain(&line, fields);
    write_line(&line);
}

/* Whether another key= begins here, or nothing follows. */
static bool at_next_field(const char *text)
{
    if (*text == '\0') return true;
    if (*text != ' ') return false;
    size_t key_size = strspn(text + 1, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return key_size > 0 && text[1 + key_size] == '=';
}

/* The end of a value that began with a quote: nobody escapes the quotes inside, so it is the one
 * after which the next field begins. */
static const char *quoted_end(const char *value)
{
    const char *end = strchr(value, '"');
    while (end != NULL && !at_next_field(end + 1)) end = strchr(end + 1, '"');
    return end != NULL ? end : value + strlen(value); /* was cut */
}

/* One key=value of `fields` as a member; returns what follows it. */
static const char *put_field(struct myco_buf *line, const char *fields)
{
    size_t key_size = strcspn(fields, "= ");
    myco_buf_json(line, fields, key_size);
    myco_buf_u8(line, ':');
    const char *value = fields + key_size;
    if (*value == '=') value++;
    bool quoted = value > fields + key_size && *value == '"';
    if (quoted) value++;
    const char *end = quoted ? quoted_end(value) : value + strcspn(value, " ");
    myco_buf_json(line, value, (size_t)(end - value));
    return quoted && *end == '"' ? end + 1 : end;
}

void myco_log_sink_json(
    int level, const char *subsystem, const char *message, const char *fields, void *data)
{
    const struct myco_log *log = data;
    struct myco_buf line = {.size_max = LINE_SIZE_MAX};
    myco_buf_printf(&line, "{\"time\":\"");
    put_time(&line);
    myco_buf_printf(&line, "\",\"level\":\"%s\"", myco_log_level_name(level));
    if (log != NULL && log->name[0] != '\0') {
        myco_buf_printf(&line, ",\"node\":");
        myco_buf_json(&line, log->name, strlen(log->name));
    }
    myco_buf_printf(&line, ",\"subsystem\":");
    myco_buf_json(&line, subsystem, strlen(subsystem));
    myco_buf_printf(&line, ",\"message\":");
    myco_buf_json(&line, message, strlen(message));
    if (fields[0] != '\0') {
        const char *separator = ",\"fields\":{";
        for (fields += strspn(fields, " "); *fields != '\0'; fields += strspn(fields, " ")) {
            myco_buf_printf(&line, "%s", separator);
            fields = put_field(&line, fields);
            separator = ",";
        }
        if (separator[1] == '\0') myco_buf_u8(&line, '}');
    }
    myco_buf_u8(&line, '}');
    write_line(&line);
}
