/* Reading options by their table. */
#include "base/option.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/text.h"

#define VALUE_SIZE_MAX 4096

static bool same_name(const char *a, const char *b, size_t b_size)
{
    for (size_t i = 0; i < b_size; i++) {
        if (a[i] != (b[i] == '-' ? '_' : b[i]) || a[i] == '\0') return false;
    }
    return a[b_size] == '\0';
}

const struct myco_option *myco__option_find(
    const struct myco_option *options, const char *name, size_t size)
{
    for (; options->name != NULL; options++) {
        if (same_name(options->name, name, size)) return options;
    }
    return NULL;
}

const struct myco_option *myco_options_find(const struct myco_option *options, const char *name)
{
    return myco__option_find(options, name, strlen(name));
}

/* ── Fields ─────────────────────────────────────────────────────────────────────────────────── */

static bool is_text(enum myco_option_type type)
{
    return type == MYCO_OPTION_TEXT || type == MYCO_OPTION_LIST || type == MYCO_OPTION_CHOICE_TEXT;
}

static char **text_field(const struct myco_option *option, void *object)
{
    MYCO_ASSERT(option->width == sizeof(char *));
    return (char **)((char *)object + option->offset);
}

static void set_text(const struct myco_option *option, void *object, const char *value, bool append)
{
    char **field = text_field(option, object), *former = *field;
    if (append && option->type == MYCO_OPTION_LIST && former != NULL) {
        size_t size = strlen(former) + strlen(value) + 2;
        *field = myco_alloc(size);
        snprintf(*field, size, "%s%s%s", former, *former != '\0' ? "," : "", value);
    } else {
        *field = myco_strdup(value);
    }
    myco_free(former);
}

static void set_number(const struct myco_option *option, void *object, uint64_t value)
{
    void *field = (char *)object + option->offset;
    switch (option->width) {
    case 1: *(uint8_t *)field = (uint8_t)value; break;
    case 4: *(uint32_t *)field = (uint32_t)value; break;
    case 8: *(uint64_t *)field = value; break;
    default: MYCO_ASSERT(!"a number has 1, 4 or 8 bytes");
    }
}

/* ── Values ─────────────────────────────────────────────────────────────────────────────────── */

static int find_choice(const char *choices, const char *value)
{
    for (int index = 0; choices != NULL; index++) {
        size_t size = strcspn(choices, ",");
        if (strlen(value) == size && memcmp(choices, value, size) == 0) return index;
        choices = choices[size] == ',' ? choices + size + 1 : NULL;
    }
    return -1;
}

static int parse_choice(
    const struct myco_option *option, const char *value, uint64_t *number, struct myco_err *err)
{
    int index = find_choice(option->choices, value);
    if (index < 0) {
        return myco_err(err, MYCO_EINVAL, "\"%.60s\" is none of %s", value, option->choices);
    }
    *number = (uint64_t)index;
    return 0;
}

static int check_elements(const struct myco_option *option, const char *value, struct myco_err *err)
{
    char element[512];
    while (*value != '\0') {
        size_t size = strcspn(value, ",");
        if (size == 0 || size >= sizeof element || value[size + (value[size] == ',')] == ',') {
            return myco_err(
                err, MYCO_EINVAL, "\"%.60s\" has an element that is empty or too long", value);
        }
        memcpy(element, value, size);
        element[size] = '\0';
        int result = option->check != NULL ? option->check(element, err) : 0;
        if (result < 0) return result;
        value += size + (value[size] == ',');
    }
    return 0;
}

static int check_text(const struct myco_option *option, const char *value, struct myco_err *err)
{
    uint64_t ignored;
    if (strlen(value) >= VALUE_SIZE_MAX) {
        return myco_err(err, MYCO_EINVAL, "longer than %d bytes", VALUE_SIZE_MAX - 1);
    }
    if (option->type == MYCO_OPTION_CHOICE_TEXT) return parse_choice(option, value, &ignored, err);
    if (option->type == MYCO_OPTION_LIST) return check_elements(option, value, err);
    return option->check != NULL ? option->check(value, err) : 0;
}

static uint64_t number_max(const struct myco_option *option)
{
    if (option->max != 0) return option->max;
    return option->width == 4 ? UINT32_MAX : UINT64_MAX;
}

static int out_of_range(const struct myco_option *option, const char *value, struct myco_err *err)
{
    const char *unit = option->type == MYCO_OPTION_DURATION ? "ms"
                       : option->type == MYCO_OPTION_SIZE   ? " bytes"
                                                            : "";
    return myco_err(err, MYCO_EINVAL, "\"%.60s\" is not between %llu%s and %llu%s", value,
        (unsigned long long)option->min, unit, (unsigned long long)number_max(option), unit);
}

static int parse_number(
    const struct myco_option *option, const char *value, uint64_t *number, struct myco_err *err)
{
    bool flag = false;
    int result = MYCO_EINVAL;
    switch (option->type) {
    case MYCO_OPTION_BOOL:
        result = myco_text_bool(value, &flag, err);
        *number = flag;
        return result;
    case MYCO_OPTION_CHOICE: return parse_choice(option, value, number, err);
    case MYCO_OPTION_U64: result = myco_text_u64(value, number, err); break;
    case MYCO_OPTION_DURATION: result = myco_text_duration(value, number, err); break;
    case MYCO_OPTION_SIZE: result = myco_text_size(value, number, err); break;
    default: MYCO_ASSERT(!"a text is no number");
    }
    if (result < 0) return result;
    bool fits = *number >= option->min && *number <= number_max(option);
    return fits ? 0 : out_of_range(option, value, err);
}

int myco__option_set(const struct myco_option *option, void *object, const char *value, bool append,
    struct myco_err *err)
{
    uint64_t number = 0;
    int result = is_text(option->type) ? check_text(option, value, err)
                                       : parse_number(option, value, &number, err);
    if (result < 0) return result;
    if (is_text(option->type)) {
        set_text(option, object, value, append);
    } else {
        set_number(option, object, number);
    }
    return 0;
}

void myco_options_init(const struct myco_option *options, void *object)
{
    for (; options->name != NULL; options++) {
        struct myco_err err;
        memset((char *)object + options->offset, 0, options->width);
        if (options->initial == NULL) continue;
        int result = myco__option_set(options, object, options->initial, false, &err);
        MYCO_ASSERT(result == 0); /* a default is no input */
    }
}

void myco_options_release(const struct myco_option *options, void *object)
{
    for (; options->name != NULL; options++) {
        if (!is_text(options->type)) continue;
        myco_free(*text_field(options, object));
        *text_field(options, object) = NULL;
    }
}

int myco_options_set(const struct myco_option *options, void *object, const char *name,
    const char *value, struct myco_err *err)
{
    const struct myco_option *option = myco_options_find(options, name);
    if (option == NULL) return myco__option_unknown(options, name, "", err);
    int result = myco__option_set(option, object, value, false, err);
    if (result < 0) myco_err_wrap(err, "option %s", option->name);
    return result;
}
