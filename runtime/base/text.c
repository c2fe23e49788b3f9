/* What people write in options, read without guessing: nothing is cut, rounded or ignored. */
#include "base/text.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"

struct unit {
    const char *name;
    uint64_t factor;
};

#define FRACTION_DIGITS_MAX 9

/* "12" or "12.5" as digits and the power of ten they are to be divided by; *end: what follows. */
static bool parse_decimal(const char *text, uint64_t *digits, uint64_t *divisor, const char **end)
{
    const char *at = text, *point = NULL;
    *digits = 0;
    *divisor = 1;
    for (;; at++) {
        if (*at == '.' && point == NULL && at > text) {
            point = at;
            continue;
        }
        if (*at < '0' || *at > '9') break;
        if (__builtin_mul_overflow(*digits, 10, digits)) return false;
        if (__builtin_add_overflow(*digits, (uint64_t)(*at - '0'), digits)) return false;
        if (point == NULL) continue;
        if (at - point > FRACTION_DIGITS_MAX) return false;
        *divisor *= 10;
    }
    *end = at;
    return at > text && (point == NULL || at > point + 1);
}

/* digits * factor / divisor, when that is a whole number that fits. */
static bool scale(uint64_t digits, uint64_t divisor, uint64_t factor, uint64_t *value)
{
    unsigned __int128 product = (unsigned __int128)digits * factor;
    if (product % divisor != 0 || product / divisor > UINT64_MAX) return false;
    *value = (uint64_t)(product / divisor);
    return true;
}

static const struct unit *find_unit(
    const struct unit *units, const char *name, int (*compare)(const char *, const char *))
{
    for (; units->name != NULL; units++) {
        if (compare(units->name, name) == 0) return units;
    }
    return NULL;
}

int myco_text_duration(const char *text, uint64_t *ms, struct myco_err *err)
{
    static const struct unit units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60 * 1000},
        {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}, {"w", 7 * 24 * 3600 * 1000}, {NULL, 0}};
    uint64_t digits, divisor, value;
    const char *end;
    if (!parse_decimal(text, &digits, &divisor, &end)) goto wrong;
    const struct unit *unit = find_unit(units, end, strcmp);
    if (unit == NULL || !scale(digits, divisor, unit->factor, &value)) goto wrong;
    *ms = value;
    return 0;
wrong:
    return myco_err(err, MYCO_EINVAL,
        "\"%.60s\" is not a duration: a number and ms, s, m, h, d or w, such as 200ms or 30d",
        text);
}

int myco_text_size(const char *text, uint64_t *bytes, struct myco_err *err)
{
    static const struct unit units[] = {{"", 1}, {"B", 1}, {"k", 1 << 10}, {"m", 1 << 20},
        {"g", 1 << 30}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1000},
        {"MB", 1000 * 1000}, {"GB", 1000 * 1000 * 1000}, {NULL, 0}};
    uint64_t digits, divisor, value;
    const char *end;
    if (!parse_decimal(text, &digits, &divisor, &end)) goto wrong;
    const struct unit *unit = find_unit(units, end, strcasecmp);
    if (unit == NULL || !scale(digits, divisor, unit->factor, &value)) goto wrong;
    *bytes = value;
    return 0;
wrong:
    return myco_err(err, MYCO_EINVAL,
        "\"%.60s\" is not a size: a number of bytes, or with KiB, MiB, GiB, KB, MB, GB, k, m or g",
        text);
}

int myco_text_u64(const char *text, uint64_t *value, struct myco_err *err)
{
    uint64_t digits, divisor;
    const char *end;
    if (strchr(text, '.') != NULL || !parse_decimal(text, &digits, &divisor, &end) ||
        *end != '\0') {
        return myco_err(err, MYCO_EINVAL, "\"%.60s\" is not a whole number from 0", text);
    }
    *value = digits;
    return 0;
}

int myco_text_bool(const char *text, bool *value, struct myco_err *err)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) != 0) continue;
        *value = i % 2 != 0;
        return 0;
    }
    return myco_err(
        err, MYCO_EINVAL, "\"%.60s\" is not true, false, yes, no, on, off, 1 or 0", text);
}

bool myco_text_copy(char *to, size_t size, const char *from)
{
    if (size == 0) return false;
    size_t length = strnlen(from, size);
    bool fits = length < size;
    if (!fits) length = size - 1;
    memcpy(to, from, length);
    to[length] = '\0';
    return fits;
}
