/* Septa in the replicated state: created, altered, kept. */
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "consensus/state_internal.h"

/* What definitions hold beside policies, written as one: a version that does not know it takes it
 * for a policy of an unknown kind, and goes on without. */
#define PSEUDO_KIND "septum_options"

void myco__state_write_options(struct myco_buf *out, const struct myco_septum_options *options)
{
    myco_buf_u8(out, (uint8_t)options->kind);
    myco_buf_u8(out, (uint8_t)(options->level + options->object));
    myco_buf_u32(out, options->hyphae);
    myco_buf_u32(out, options->copies);
    myco_buf_u32(out, options->min_in_sync);
    myco_buf_u64(out, options->ttl_ms);
}

void myco__state_read_options(struct myco_reader *in, struct myco_septum_options *options)
{
    *options = (struct myco_septum_options){.kind = (enum myco_septum_kind)myco_read_u8(in)};
    uint8_t level = myco_read_u8(in); /* one above DISK: object; feature object_level */
    options->object = level == MYCO_LEVEL_DISK + 1;
    options->level = options->object ? MYCO_LEVEL_DISK : (enum myco_level)level;
    options->hyphae = myco_read_u32(in);
    options->copies = myco_read_u32(in);
    options->min_in_sync = myco_read_u32(in);
    options->ttl_ms = myco_read_u64(in);
    if (options->hyphae < 1 || options->hyphae > MYCO_HYPHAE_MAX || options->copies < 1 ||
        options->copies > MYCO_COPIES_MAX || options->kind > MYCO_SEPTUM_DURABLE ||
        options->level > MYCO_LEVEL_DISK)
        in->bad = true;
}

void myco_command_septum(
    struct myco_buf *out, const char *name, const struct myco_septum_options *options)
{
    myco_buf_str(out, name);
    myco__state_write_options(out, options);
}

void myco_command_septum_make(
    struct myco_buf *out, const char *name, const struct myco_septum_options *options)
{
    myco_command_septum(out, name, options);
    myco__septum_extras_write(out, options);
}

void myco_command_septum_alter(struct myco_buf *out, const char *name, uint64_t version_before,
    const struct myco_septum_options *options)
{
    myco_command_septum_make(out, name, options);
    myco_buf_u64(out, version_before);
}

static void tell(const struct myco_state *state, struct myco_septum_record *septum)
{
    if (state->events.on_septum) state->events.on_septum(septum, state->events.data);
}

static bool same_shape(const struct myco_septum_options *a, const struct myco_septum_options *b)
{
    return a->kind == b->kind && a->hyphae == b->hyphae;
}

/* Name and options are read: the septum is made, or found as it is. */
static int make(struct myco__apply *apply, const char *name, struct myco_septum_options *options)
{
    if (apply->in.bad || !myco__state_name_ok(name))
        return myco__refuse(apply, MYCO_EINVAL,
            "the name of a septum is 1 to 63 printable characters without spaces or '/'");
    if (options->object && !myco_state_feature(apply->state, MYCO_FEATURE_OBJECT_LEVEL))
        return myco__refuse(
            apply, MYCO_EVERSION, "a member does not know level=object yet: see pulse features");
    struct myco_septum_record *septum = myco_state_septum_named(apply->state, name);
    if (septum && !same_shape(&septum->options, options))
        return myco__refuse(apply, MYCO_EEXISTS, "it exists with another kind or number of hyphae");
    if (!septum) {
        if (apply->state->septum_count >= MYCO_SEPTA_MAX)
            return myco__refuse(apply, MYCO_ETOOBIG, "too many septa");
        septum = myco__state_septum_add(apply->state, name, options);
        tell(apply->state, septum);
    }
    apply->result->value = septum->id;
    return 0;
}

int myco__apply_septum(struct myco__apply *apply)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    struct myco_septum_options options;
    myco_read_str(&apply->in, name, sizeof name);
    myco__state_read_options(&apply->in, &options);
    return make(apply, name, &options);
}

int myco__apply_septum_make(struct myco__apply *apply)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    struct myco_septum_options options;
    myco_read_str(&apply->in, name, sizeof name);
    myco__state_read_options(&apply->in, &options);
    myco__septum_extras_read(&apply->in, &options);
    return make(apply, name, &options);
}

static bool same_promise(const struct myco_septum_options *a, const struct myco_septum_options *b)
{
    return same_shape(a, b) && a->level == b->level && a->object == b->object;
}

int myco__apply_septum_alter(struct myco__apply *apply)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    struct myco_septum_options options;
    myco_read_str(&apply->in, name, sizeof name);
    myco__state_read_options(&apply->in, &options);
    myco__septum_extras_read(&apply->in, &options);
    uint64_t before = myco_read_u64(&apply->in);
    if (!myco_read_done(&apply->in)) return myco__refuse(apply, MYCO_EINVAL, "malformed");
    struct myco_septum_record *septum = myco_state_septum_named(apply->state, name);
    if (!septum) return myco__refuse(apply, MYCO_ENOTFOUND, "no such septum");
    if (septum->version != before)
        return myco__refuse(
            apply, MYCO_ECONFLICT, "the options were changed by another: look again");
    if (!same_promise(&septum->options, &options) || myco_septum_options_check(&options, NULL))
        return myco__refuse(apply, MYCO_EINVAL, "an option that can't change");
    septum->options = options;
    apply->result->value = ++septum->version;
    tell(apply->state, septum);
    return 0;
}

/* ── Snapshots ── for each septum, in their order: u64 version, extras */

void myco__septa_save(const struct myco_state *state, struct myco_buf *out)
{
    for (uint32_t i = 0; i < state->septum_count; i++) {
        myco_buf_u64(out, state->septa[i]->version);
        myco__septum_extras_write(out, &state->septa[i]->options);
    }
}

void myco__septa_load(struct myco_state *state, struct myco_reader *in)
{
    for (uint32_t i = 0; i < state->septum_count && !in->bad; i++) {
        state->septa[i]->version = myco_read_u64(in);
        myco__septum_extras_read(in, &state->septa[i]->options);
    }
}

/* ── Definitions, for manifests ── written as a policy: kind, name of the septum, author, time, and
 * the extras as its source */

void myco__septa_define(const struct myco_state *state, struct myco_buf *out)
{
    for (uint32_t i = 0; i < state->septum_count; i++) {
        const struct myco_septum_record *septum = state->septa[i];
        if (myco_septum_options_plain(&septum->options)) continue;
        struct myco_buf extras = {0};
        myco__septum_extras_write(&extras, &septum->options);
        myco_buf_str(out, PSEUDO_KIND);
        myco_buf_str(out, septum->name);
        myco_buf_str(out, "");
        myco_buf_u64(out, 0);
        myco_buf_slice(out, myco_buf_as_slice(&extras));
        myco_buf_free(&extras);
    }
}

/* The cluster begins with the feature then: every node that is of it from its first command knows
 * these options, and others are told to be too old. */
static void feature_begins(struct myco_state *state)
{
    uint64_t needed =
        MYCO_FEATURE_BIT(MYCO_FEATURE_FEATURES) | MYCO_FEATURE_BIT(MYCO_FEATURE_SEPTUM_OPTIONS);
    if ((state->features_active & needed) == needed) return;
    state->features_active |= needed;
    if (state->events.on_features)
        state->events.on_features(state->features_active, state->events.data);
}

bool myco__septa_restore(struct myco__apply *apply)
{
    struct myco_reader in = apply->in;
    char kind[32], name[MYCO_STATE_NAME_MAX + 1], author[MYCO_STATE_NAME_MAX + 1];
    myco_read_str(&in, kind, sizeof kind);
    if (in.bad || strcmp(kind, PSEUDO_KIND) != 0) return false;
    myco_read_str(&in, name, sizeof name);
    myco_read_str(&in, author, sizeof author);
    myco_read_u64(&in);
    struct myco_slice bytes = myco_read_slice(&in);
    struct myco_reader extras = myco_reader(bytes.data, bytes.size);
    struct myco_septum_record *septum = myco_state_septum_named(apply->state, name);
    apply->in = in;
    if (in.bad || !septum) return true;
    myco__septum_extras_read(&extras, &septum->options);
    feature_begins(apply->state);
    tell(apply->state, septum);
    return true;
}
