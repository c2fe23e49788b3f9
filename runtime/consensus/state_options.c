/* The options of septa: read, shown, and as numbers (consensus/septum.h). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/option.h"
#include "consensus/septum.h"

/* As people write them; struct myco_septum_options is what the code asks. */
struct spec {
    unsigned kind, level, eviction; /* which of the choices */
    uint32_t hyphae, replicas, min_in_sync, value_size;
    uint64_t ttl, idle, size, entries;
};

static const struct myco_option table[] = {
#define X(number, name, type, initial, min, max, choices, hint, fixed, doc)                        \
    {#name, MYCO_OPTION_##type, MYCO_OPTION_AT(struct spec, name), initial, doc, choices, hint,    \
        NULL, min, max, NULL},
    MYCO_SEPTUM_OPTIONS(X)
#undef X
        {0}};

struct trait {
    uint8_t number;
    const char *fixed;
};
static const struct trait traits[] = {
#define X(number, name, type, initial, min, max, choices, hint, fixed, doc) {number, fixed},
    MYCO_SEPTUM_OPTIONS(X)
#undef X
};
#define COUNT (sizeof traits / sizeof *traits)

enum level_choice { LEVEL_AUTO, LEVEL_OBJECT = 4 }; /* between: MYCO_LEVEL_… + 1 */

static const char *const level_names[] = {"memory", "replicated", "disk", "object"};

const char *myco_septum_level_name(const struct myco_septum_options *options)
{
    return level_names[options->object ? LEVEL_OBJECT - 1 : (int)options->level];
}

/* ── Between the two forms ── */

static struct spec to_spec(const struct myco_septum_options *options)
{
    return (struct spec){.kind = options->kind,
        .level = options->object ? LEVEL_OBJECT : options->level + 1,
        .eviction = options->eviction,
        .hyphae = options->hyphae,
        .replicas = options->copies - 1,
        .min_in_sync = options->min_in_sync,
        .value_size = options->value_max,
        .ttl = options->ttl_ms,
        .idle = options->idle_ms,
        .size = options->size_max,
        .entries = options->entries_max};
}

static enum myco_level level_of(const struct spec *spec)
{
    if (spec->level == LEVEL_OBJECT) return MYCO_LEVEL_DISK;
    if (spec->level != LEVEL_AUTO) return (enum myco_level)(spec->level - 1);
    return spec->kind == MYCO_SEPTUM_DURABLE ? MYCO_LEVEL_DISK : MYCO_LEVEL_MEMORY;
}

static void from_spec(struct myco_septum_options *options, const struct spec *spec)
{
    *options = (struct myco_septum_options){.kind = (enum myco_septum_kind)spec->kind,
        .level = level_of(spec),
        .object = spec->level == LEVEL_OBJECT,
        .eviction = (enum myco_eviction)spec->eviction,
        .hyphae = spec->hyphae,
        .copies = spec->replicas + 1,
        .min_in_sync = spec->min_in_sync,
        .value_max = spec->value_size,
        .ttl_ms = spec->ttl,
        .idle_ms = spec->idle,
        .size_max = spec->size,
        .entries_max = spec->entries};
}

static uint64_t number_at(const struct spec *spec, size_t index)
{
    const char *field = (const char *)spec + table[index].offset;
    uint32_t narrow;
    uint64_t wide;
    if (table[index].width == sizeof wide) return memcpy(&wide, field, sizeof wide), wide;
    return memcpy(&narrow, field, sizeof narrow), narrow;
}

static bool number_set(struct spec *spec, size_t index, uint64_t value)
{
    char *field = (char *)spec + table[index].offset;
    uint32_t narrow = (uint32_t)value;
    if (table[index].width == sizeof value) return memcpy(field, &value, sizeof value), true;
    memcpy(field, &narrow, sizeof narrow);
    return narrow == value;
}

/* ── Reading ── */

int myco_septum_options_check(const struct myco_septum_options *options, struct myco_err *err)
{
    bool cache = options->kind == MYCO_SEPTUM_CACHE;
    if (cache && options->level != MYCO_LEVEL_MEMORY)
        return myco_err(err, MYCO_EINVAL,
            "a cache septum acknowledges at level memory; use kind=durable for more");
    if (!cache && options->level == MYCO_LEVEL_MEMORY)
        return myco_err(err, MYCO_EINVAL,
            "a durable septum acknowledges at level replicated, disk or object; use kind=cache for "
            "memory");
    if (options->min_in_sync > options->copies)
        return myco_err(err, MYCO_EINVAL, "min_in_sync (%u) is above the number of copies (%u)",
            options->min_in_sync, options->copies);
    if (!cache && (options->eviction == MYCO_EVICT_LFU || options->eviction == MYCO_EVICT_LRU))
        return myco_err(err, MYCO_EINVAL,
            "a durable septum never evicts: when it is full, writes are refused; use kind=cache");
    return 0;
}

static int read_spec(struct spec *spec, const char *text, struct myco_err *err)
{
    char *copy = myco_strdup(text ? text : "");
    for (char *at = copy; *at; at++)
        if (*at == ',') *at = ' ';
    int rc = myco_options_spec(table, spec, copy, err);
    myco_free(copy);
    return rc ? myco_err_wrap(err, "options of a septum") : 0;
}

int myco_septum_options_parse(
    struct myco_septum_options *options, const char *spec, struct myco_err *err)
{
    struct spec read;
    memset(&read, 0, sizeof read);
    myco_options_init(table, &read);
    int rc = read_spec(&read, spec, err);
    if (rc) return rc;
    from_spec(options, &read);
    return myco_septum_options_check(options, err);
}

int myco_septum_options_alter(
    struct myco_septum_options *options, const char *spec, struct myco_err *err)
{
    struct spec before = to_spec(options), after = before;
    struct myco_septum_options altered;
    int rc = read_spec(&after, spec, err);
    if (rc) return rc;
    for (size_t i = 0; i < COUNT; i++)
        if (traits[i].fixed && number_at(&before, i) != number_at(&after, i))
            return myco_err(err, MYCO_EINVAL,
                "%s can't change later: %s; create another septum and copy", table[i].name,
                traits[i].fixed);
    from_spec(&altered, &after);
    rc = myco_septum_options_check(&altered, err);
    if (!rc) *options = altered;
    return rc;
}

/* ── Showing ── */

struct unit {
    const char *name;
    uint64_t size;
};

static void show_units(char *out, size_t size, uint64_t value, const struct unit *units)
{
    while (units->size > 1 && (value < units->size || value % units->size)) units++;
    snprintf(
        out, size, "%llu%s", (unsigned long long)(value / units->size), value ? units->name : "");
}

static void show_choice(char *out, size_t size, const char *choices, uint64_t which)
{
    while (which-- > 0) choices = strchr(choices, ',') + 1;
    snprintf(out, size, "%.*s", (int)strcspn(choices, ","), choices);
}

bool myco_septum_options_show(
    const struct myco_septum_options *options, size_t index, struct myco_septum_shown *shown)
{
    static const struct unit times[] = {
        {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    static const struct unit sizes[] = {
        {"GiB", UINT64_C(1) << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}};
    static const struct unit plain[] = {{"", 1}};
    if (index >= COUNT) return false;
    struct spec spec = to_spec(options);
    uint64_t value = number_at(&spec, index);
    const struct myco_option *option = &table[index];
    *shown = (struct myco_septum_shown){.name = option->name,
        .initial = option->initial,
        .doc = option->doc,
        .fixed = traits[index].fixed};
    if (option->type == MYCO_OPTION_CHOICE)
        show_choice(shown->value, sizeof shown->value, option->choices, value);
    else
        show_units(shown->value, sizeof shown->value, value,
            option->type == MYCO_OPTION_DURATION ? times
            : option->type == MYCO_OPTION_SIZE   ? sizes
                                                 : plain);
    return true;
}

/* ── As numbers ── */

/* Which are to be written: those without a fixed place that differ from their default, and so a
 * septum without them is written as ever. */
static bool is_extra(const struct spec *spec, const struct spec *initial, size_t index)
{
    return traits[index].number && number_at(spec, index) != number_at(initial, index);
}

bool myco_septum_options_plain(const struct myco_septum_options *options)
{
    struct spec spec = to_spec(options), initial;
    memset(&initial, 0, sizeof initial);
    myco_options_init(table, &initial);
    for (size_t i = 0; i < COUNT; i++)
        if (is_extra(&spec, &initial, i)) return false;
    return true;
}

void myco__septum_extras_write(struct myco_buf *out, const struct myco_septum_options *options)
{
    struct spec spec = to_spec(options), initial;
    memset(&initial, 0, sizeof initial);
    myco_options_init(table, &initial);
    uint8_t count = 0;
    for (size_t i = 0; i < COUNT; i++) count += is_extra(&spec, &initial, i);
    myco_buf_u8(out, count);
    for (size_t i = 0; i < COUNT; i++) {
        if (!is_extra(&spec, &initial, i)) continue;
        myco_buf_u8(out, traits[i].number);
        myco_buf_u64(out, number_at(&spec, i));
    }
}

static bool extra_set(struct spec *spec, uint8_t number, uint64_t value)
{
    for (size_t i = 0; number && i < COUNT; i++) {
        if (traits[i].number != number) continue;
        uint64_t choices = 1;
        for (const char *at = table[i].choices; at && *at; at++) choices += *at == ',';
        if (table[i].choices && value >= choices) return false;
        return !(table[i].max && value > table[i].max) && number_set(spec, i, value);
    }
    return false;
}

void myco__septum_extras_read(struct myco_reader *in, struct myco_septum_options *options)
{
    struct spec spec = to_spec(options);
    for (uint8_t count = myco_read_u8(in); count > 0 && !in->bad; count--) {
        uint8_t number = myco_read_u8(in);
        uint64_t value = myco_read_u64(in);
        if (!in->bad && !extra_set(&spec, number, value)) in->bad = true;
    }
    if (!in->bad) from_spec(options, &spec);
}
