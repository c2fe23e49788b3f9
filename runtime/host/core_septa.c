/* Septa as this node asks for them: created, found, altered. */
#include "base/text.h"
#include "host/core_internal.h"

#define ALTER_ATTEMPTS_MAX 8 /* others may change options meanwhile */

/* ── a septum: created or found ── one that is not known here may be on its way through the log: it
 * is looked for again once all that was agreed before is applied here. So is one that was created:
 * its command may have been applied as part of a snapshot */

struct search {
    struct myco_core *core;
    char name[MYCO_STATE_NAME_MAX + 1];
    myco_result_cb cb;
    void *data;
};

static void look_again(const struct myco_result *result, void *data)
{
    struct search *search = data;
    struct myco_result found = *result;
    const struct myco_septum_record *septum =
        result->status ? NULL : myco_state_septum_named(search->core->state, search->name);
    if (septum)
        found.version = septum->id;
    else if (!result->status)
        found.status = MYCO_ENOTFOUND, found.message = "no such septum";
    search->cb(&found, search->data);
    myco_free(search);
}

void myco_core_septum(struct myco_core *core, const char *name, const char *spec,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct myco_septum_options options;
    struct myco_err err = {0};
    struct myco_result result = {.message = ""};
    struct myco_buf body = {0};
    const struct myco_septum_record *septum =
        spec ? NULL : myco_state_septum_named(core->state, name);
    if (septum)
        result.version = septum->id;
    else if (spec && myco_septum_options_parse(&options, spec, &err))
        result.status = err.code, result.message = err.message;
    else if (spec && options.object && !core->options.store)
        result.status = MYCO_EINVAL,
        result.message = "level=object needs an object store: start the nodes with --store";
    if (septum || result.status) {
        cb(&result, data);
        return;
    }
    struct search *search = myco_alloc(sizeof *search);
    *search = (struct search){.core = core, .cb = cb, .data = data};
    myco_text_copy(search->name, sizeof search->name, name);
    uint8_t kind = MYCO_COMMAND_BARRIER;
    if (spec && myco_septum_options_plain(&options)) {
        kind = MYCO_COMMAND_SEPTUM;
        myco_command_septum(&body, name, &options);
    } else if (spec) {
        kind = MYCO_COMMAND_SEPTUM_MAKE;
        myco_command_septum_make(&body, name, &options);
    }
    myco_core_submit(core, kind, &body, timeout_ms, look_again, search);
}

/* ── altered ── what is asked for is put on top of what is known here, and logged as a
 * compare-and-set; when another was faster, on top of what that one made of it */

struct alter {
    struct myco_core *core;
    char name[MYCO_STATE_NAME_MAX + 1];
    char *spec;
    unsigned timeout_ms, attempts;
    myco_result_cb cb;
    void *data;
};

static void alter_ends(struct alter *alter, const struct myco_result *result)
{
    alter->cb(result, alter->data);
    myco_free(alter->spec);
    myco_free(alter);
}

static void alter_try(struct alter *alter);

static void altered(const struct myco_result *result, void *data)
{
    struct alter *alter = data;
    if (result->status == MYCO_ECONFLICT && alter->attempts < ALTER_ATTEMPTS_MAX)
        alter_try(alter);
    else
        alter_ends(alter, result);
}

static void alter_known(const struct myco_result *result, void *data)
{
    struct alter *alter = data;
    if (result->status)
        alter_ends(alter, result);
    else
        alter_try(alter);
}

static void alter_try(struct alter *alter)
{
    struct myco_core *core = alter->core;
    const struct myco_septum_record *septum = myco_state_septum_named(core->state, alter->name);
    struct myco_err err = {0};
    struct myco_result result = {.message = ""};
    alter->attempts++;
    if (!septum) {
        result.status = MYCO_ENOTFOUND, result.message = "no such septum";
        alter_ends(alter, &result);
        return;
    }
    struct myco_septum_options options = septum->options;
    if (myco_septum_options_alter(&options, alter->spec, &err)) {
        result.status = err.code, result.message = err.message;
        alter_ends(alter, &result);
        return;
    }
    struct myco_buf body = {0};
    myco_command_septum_alter(&body, alter->name, septum->version, &options);
    myco_core_submit(core, MYCO_COMMAND_SEPTUM_ALTER, &body, alter->timeout_ms, altered, alter);
}

void myco_core_septum_alter(struct myco_core *core, const char *name, const char *spec,
    unsigned timeout_ms, myco_result_cb cb, void *data)
{
    struct alter *alter = myco_alloc(sizeof *alter);
    *alter = (struct alter){
        .core = core, .spec = myco_strdup(spec), .timeout_ms = timeout_ms, .cb = cb, .data = data};
    myco_text_copy(alter->name, sizeof alter->name, name);
    myco_core_septum(core, name, NULL, timeout_ms, alter_known, alter);
}
