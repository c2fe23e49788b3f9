/* What happened in a simulated run: a hash chained over every event, for comparing two runs, and
 * the last few thousand lines, for reading what led to a violation. */
#include "env/sim_private.h"

#include <stdarg.h>

static const char *const kind_names[] = {
#define X(symbol, text) text,
    SIM_TRACE_KINDS(X)
#undef X
};

static void format_line(const struct sim_trace_line *line, char *text, size_t size)
{
    int at = snprintf(text, size, "%5u.%09u ", (unsigned)(line->at / MYCO_SIM_SECOND),
        (unsigned)(line->at % MYCO_SIM_SECOND));
    if (line->host == MYCO_SIM_NONE)
        at += snprintf(text + at, size - (size_t)at, "  -  ");
    else
        at += snprintf(text + at, size - (size_t)at, "%4u ", line->host);
    at += snprintf(text + at, size - (size_t)at, "%s", kind_names[line->kind]);
    if (line->peer != MYCO_SIM_NONE)
        at += snprintf(text + at, size - (size_t)at, " peer=%u", line->peer);
    if (line->size > 0) {
        at += snprintf(text + at, size - (size_t)at, " size=%llu", (unsigned long long)line->size);
    }
    if (line->hash > 0) {
        at +=
            snprintf(text + at, size - (size_t)at, " hash=%016llx", (unsigned long long)line->hash);
    }
    if (line->text[0] != '\0') snprintf(text + at, size - (size_t)at, " %s", line->text);
}

static void keep_line(struct myco_sim *sim, const struct sim_trace_line *line)
{
    if (sim->options.trace_count > 0) {
        sim->trace[sim->trace_total++ % sim->options.trace_count] = *line;
    }
    if (sim->options.on_trace != NULL) {
        char text[256 + MYCO_SIM_TEXT_MAX];
        format_line(line, text, sizeof(text));
        sim->options.on_trace(text, sim->options.data);
    }
}

static void chain(struct myco_sim *sim, const struct sim_trace_line *line)
{
    uint64_t link[] = {
        sim->trace_hash, line->at, line->kind, line->host, line->peer, line->size, line->hash};
    sim->trace_hash = myco_hash(link, sizeof(link));
}

void myco__sim_trace(struct myco_sim *sim, enum sim_trace_kind kind, unsigned host, unsigned peer,
    uint64_t size, uint64_t hash)
{
    struct sim_trace_line line = {
        .at = sim->now, .size = size, .hash = hash, .kind = kind, .host = host, .peer = peer};
    chain(sim, &line);
    keep_line(sim, &line);
}

void myco__sim_trace_text(
    struct myco_sim *sim, enum sim_trace_kind kind, unsigned host, uint64_t size, const char *text)
{
    struct sim_trace_line line = {.at = sim->now,
        .size = size,
        .hash = myco_hash(text, strlen(text)),
        .kind = kind,
        .host = host,
        .peer = MYCO_SIM_NONE};
    chain(sim, &line);
    line.hash = 0;
    snprintf(line.text, sizeof(line.text), "%s", text);
    keep_line(sim, &line);
}

/* A host's log shows in the lines, and is not chained: a sentence may be reworded. */
void myco__sim_log_sink(
    int level, const char *subsystem, const char *message, const char *fields, void *data)
{
    struct sim_host *host = data;
    struct sim_trace_line line = {
        .at = host->sim->now, .kind = SIM_TRACE_LOG, .host = host->index, .peer = MYCO_SIM_NONE};
    snprintf(line.text, sizeof(line.text), "%s %s: %s %s", myco_log_level_name(level), subsystem,
        message, fields);
    keep_line(host->sim, &line);
}

uint64_t myco_sim_trace_hash(const struct myco_sim *sim)
{
    return sim->trace_hash;
}

void myco_sim_note(struct myco_sim *sim, unsigned host, const char *format, ...)
{
    char text[MYCO_SIM_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    myco__sim_trace_text(sim, SIM_TRACE_NOTE, host, 0, text);
}

void myco_sim_trace_print(const struct myco_sim *sim, FILE *file)
{
    char text[256 + MYCO_SIM_TEXT_MAX];
    uint64_t kept = sim->options.trace_count;
    uint64_t first = sim->trace_total > kept ? sim->trace_total - kept : 0;
    fprintf(file, "# seed %llu, the last %llu of %llu events, true time in seconds\n",
        (unsigned long long)sim->options.seed, (unsigned long long)(sim->trace_total - first),
        (unsigned long long)sim->trace_total);
    for (uint64_t at = first; at < sim->trace_total; at++) {
        format_line(&sim->trace[at % kept], text, sizeof(text));
        fprintf(file, "# %s\n", text);
    }
}
