/* Catches: a log line that outside bytes can forge or make invalid JSON, a level that is
 * ignored. */
#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include "tap.h"

static char captured[4096];

/* Runs one write with stderr turned into a pipe. */
static const char *line_of(struct myco_log *log, const char *message, const char *value)
{
    int ends[2], saved = dup(STDERR_FILENO);
    if (pipe(ends) != 0 || saved < 0) bail_out("no pipe");
    dup2(ends[1], STDERR_FILENO);
    MYCO_WARN(log, "gossip", message, "from=%s size=%d", value, 12);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t size = read(ends[0], captured, sizeof captured - 1);
    close(ends[0]);
    captured[size > 0 ? size : 0] = '\0';
    return captured;
}

static bool ends_in(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

int main(void)
{
    struct myco_log log = {.level = MYCO_LOG_INFO, .sink = myco_log_sink_text, .name = "api-1"};
    log.data = &log;
    ok(ends_in(line_of(&log, "refused", "a"), "Z warn  api-1 gossip: refused from=a size=12\n"),
        "text: %s", captured);
    ok(strchr(line_of(&log, "x\ny", "\x1b[2J\n"), '\n') == captured + strlen(captured) - 1 &&
            strchr(captured, '\x1b') == NULL,
        "outside bytes make neither a second line nor a terminal sequence");

    log.sink = myco_log_sink_json;
    ok(ends_in(line_of(&log, "refused", "a"),
           "Z\",\"level\":\"warn\",\"node\":\"api-1\",\"subsystem\":\"gossip\",\"message\":"
           "\"refused\",\"fields\":{\"from\":\"a\",\"size\":\"12\"}}\n"),
        "json: %s", captured);
    line_of(&log, "tab\there \"so\"", "\"two words\"");
    ok(strstr(captured, "\"tab\\u0009here \\\"so\\\"\"") != NULL, "json escapes");
    ok(strstr(captured, "{\"from\":\"two words\",\"size\":\"12\"}") != NULL, "a quoted value");
    line_of(&log, "m", "\"he said \"no\" to it\"");
    ok(strstr(captured, "{\"from\":\"he said \\\"no\\\" to it\",") != NULL,
        "quotes inside a value");
    line_of(&log, "m", "\xff\xc3\xa4\xc3\xed\xa0\x80");
    ok(strstr(captured, "\"\\ufffd\xc3\xa4\\ufffd\\ufffd\\ufffd\\ufffd\"") != NULL,
        "what is not UTF-8 is replaced: %s", captured);

    log.level = MYCO_LOG_ERROR;
    is_str(line_of(&log, "refused", "a"), "", "below the level: nothing");
    is_str(line_of(NULL, "refused", "a"), "", "without a log: nothing");
    is_int(myco_log_level_from_text("debug"), MYCO_LOG_DEBUG, "level from text");
    is_int(myco_log_level_from_text("loud"), -1, "no such level");
    is_str(myco_log_level_name(MYCO_LOG_OFF), "off", "level to text");
    return plan_done();
}
