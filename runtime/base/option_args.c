/* Options as people write them, in a line of a spec or on the command line, and as --help shows
 * them. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/option.h"

#define NAME_SIZE_MAX  48
#define VALUE_SIZE_MAX 4096

/* Which options were there already, by their place in the table. */
struct seen {
    uint64_t bits[4];
};

static bool was_seen(struct seen *seen, size_t place)
{
    MYCO_ASSERT(place < 256);
    bool before = (seen->bits[place / 64] >> (place % 64) & 1) != 0;
    seen->bits[place / 64] |= UINT64_C(1) << (place % 64);
    return before;
}

/* Copies up to `size` bytes as a text; what does not fit is an error of whoever reads it. */
static void copy_part(char *to, size_t to_size, const char *from, size_t size)
{
    if (size >= to_size) size = to_size - 1;
    memcpy(to, from, size);
    to[size] = '\0';
}

/* ── "kind=durable ttl=30d" ─────────────────────────────────────────────────────────────────── */

/* One key=value; *spec moves on behind it. */
static int next_pair(const char **spec, char name[NAME_SIZE_MAX], char value[VALUE_SIZE_MAX + 1],
    struct myco_err *err)
{
    size_t name_size = strcspn(*spec, "= ");
    copy_part(name, NAME_SIZE_MAX, *spec, name_size);
    if ((*spec)[name_size] != '=') {
        return myco_err(err, MYCO_EINVAL, "\"%s\" has no value: write %s=…", name, name);
    }
    const char *at = *spec + name_size + 1;
    bool quoted = *at == '"';
    if (quoted) at++;
    size_t size = strcspn(at, quoted ? "\"" : " ");
    copy_part(value, VALUE_SIZE_MAX + 1, at, size);
    at += size;
    if (quoted && *at++ != '"') {
        return myco_err(err, MYCO_EINVAL, "option %s: the closing quote is missing", name);
    }
    if (*at != '\0' && *at != ' ') {
        return myco_err(err, MYCO_EINVAL, "option %s: a space is missing after its value", name);
    }
    *spec = at;
    return 0;
}

int myco_options_spec(
    const struct myco_option *options, void *object, const char *spec, struct myco_err *err)
{
    char name[NAME_SIZE_MAX], value[VALUE_SIZE_MAX + 1];
    struct seen seen = {{0}};
    if (spec == NULL) return 0;
    for (spec += strspn(spec, " "); *spec != '\0'; spec += strspn(spec, " ")) {
        int result = next_pair(&spec, name, value, err);
        if (result < 0) return result;
        const struct myco_option *option = myco_options_find(options, name);
        if (option != NULL && was_seen(&seen, (size_t)(option - options))) {
            return myco_err(err, MYCO_EINVAL, "option %s is there twice", name);
        }
        result = myco_options_set(options, object, name, value, err);
        if (result < 0) return result;
    }
    return 0;
}

/* ── --name VALUE ───────────────────────────────────────────────────────────────────────────── */

struct args {
    const struct myco_option *options;
    void *object;
    struct seen seen;
};

/* Further elements of a list are added to those before. */
static int set_arg(struct args *args, const struct myco_option *option, const char *arg,
    const char *value, struct myco_err *err)
{
    bool append = was_seen(&args->seen, (size_t)(option - args->options));
    int result = myco__option_set(option, args->object, value, append, err);
    if (result < 0) myco_err_wrap(err, "%.*s", (int)strcspn(arg, "="), arg);
    return result;
}

static bool is_bool(const struct myco_option *option)
{
    return option != NULL && option->type == MYCO_OPTION_BOOL;
}

/* One argument; *next is the one after it, and is used up when it is the value. */
static int parse_arg(
    struct args *args, const char *arg, const char *next, bool *took_next, struct myco_err *err)
{
    if (arg[1] != '-') {
        return myco_err(err, MYCO_EINVAL, "%.40s: options begin with two dashes", arg);
    }
    const char *name = arg + 2;
    size_t size = strcspn(name, "=");
    const struct myco_option *option = myco__option_find(args->options, name, size), *denied = NULL;
    if (name[size] == '=' && option != NULL) {
        return set_arg(args, option, arg, name + size + 1, err);
    }
    if (name[size] == '\0' && strncmp(name, "no-", 3) == 0) {
        denied = myco__option_find(args->options, name + 3, size - 3);
    }
    if (option == NULL && is_bool(denied)) return set_arg(args, denied, arg, "false", err);
    if (option == NULL) {
        char shown[NAME_SIZE_MAX];
        copy_part(shown, sizeof shown, name, size);
        return myco__option_unknown(args->options, shown, "--", err);
    }
    if (is_bool(option)) return set_arg(args, option, arg, "true", err);
    if (next == NULL) return myco_err(err, MYCO_EINVAL, "%s: its value is missing", arg);
    *took_next = true;
    return set_arg(args, option, arg, next, err);
}

int myco_options_args(const struct myco_option *options, void *object, int argc, char **argv,
    int *used, struct myco_err *err)
{
    struct args args = {.options = options, .object = object};
    int at = 0, result = 0;
    while (at < argc && argv[at][0] == '-' && result == 0) {
        const char *arg = argv[at++];
        if (strcmp(arg, "--") == 0) break;
        bool took_next = false;
        result = parse_arg(&args, arg, at < argc ? argv[at] : NULL, &took_next, err);
        at += took_next;
    }
    *used = at;
    return result;
}

/* ── --help ─────────────────────────────────────────────────────────────────────────────────── */

#define HELP_COLUMN 28

static const char *hint_of(const struct myco_option *option)
{
    if (option->hint != NULL) return option->hint;
    switch (option->type) {
    case MYCO_OPTION_TEXT: return "TEXT";
    case MYCO_OPTION_LIST: return "A,B,…";
    case MYCO_OPTION_CHOICE_TEXT:
    case MYCO_OPTION_CHOICE: return "WORD";
    case MYCO_OPTION_BOOL: return "";
    case MYCO_OPTION_U64: return "NUMBER";
    case MYCO_OPTION_DURATION: return "DURATION";
    case MYCO_OPTION_SIZE: return "SIZE";
    }
    return "";
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void myco_options_help(const struct myco_option *options, struct myco_buf *text)
{
    for (; options->name != NULL; options++) {
        char left[NAME_SIZE_MAX * 2];
        const char *hint = hint_of(options);
        snprintf(left, sizeof left, "  --%s%s%s", options->name, *hint != '\0' ? " " : "", hint);
        for (char *at = left + 4; *at != '\0' && *at != ' '; at++) {
            if (*at == '_') *at = '-';
        }
        size_t width = width_of(left);
        if (width + 2 > HELP_COLUMN) {
            myco_buf_printf(text, "%s\n%*s", left, HELP_COLUMN, "");
        } else {
            myco_buf_printf(text, "%s%*s", left, (int)(HELP_COLUMN - width), "");
        }
        myco_buf_printf(text, "%s", options->doc);
        if (options->choices != NULL) myco_buf_printf(text, ": %s", options->choices);
        const char *shown = options->shown != NULL ? options->shown : options->initial;
        if (shown != NULL) myco_buf_printf(text, " (%s)", shown);
        myco_buf_printf(text, "\n");
    }
}
