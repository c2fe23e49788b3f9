/* Options as data: one table says what there is, and from it come parsing, checks, defaults, --help
 * and the words of every error. The table ends with an empty entry.
 *
 *     struct spec { char *kind; uint64_t ttl_ms; uint32_t hyphae; };
 *     static const struct myco_option spec_options[] = {
 *         {"kind", MYCO_OPTION_CHOICE_TEXT, MYCO_OPTION_AT(struct spec, kind), .choices =
 * "cache,durable", .initial = "cache", .doc = "what the septum promises"},
 *         {"ttl", MYCO_OPTION_DURATION, MYCO_OPTION_AT(struct spec, ttl_ms), .doc = "life of an
 * entry"},
 *         {"hyphae", MYCO_OPTION_U64, MYCO_OPTION_AT(struct spec, hyphae), .initial = "64", .min =
 * 1, .max = 4096, .doc = "number of shards"}, {0}};
 *
 * Names are lower case with '_'; '-' is the same when read. A text is given to the struct
 * (myco_free, or myco_options_release for all); one that was never set and has no default is NULL.
 */
#ifndef MYCO_BASE_OPTION_H
#define MYCO_BASE_OPTION_H

#include "base/buf.h"
#include "base/err.h"

enum myco_option_type {
    MYCO_OPTION_TEXT,        /* char * */
    MYCO_OPTION_LIST,        /* char *: elements with commas between */
    MYCO_OPTION_CHOICE_TEXT, /* char *: one of `choices` */
    MYCO_OPTION_CHOICE,      /* int, unsigned: which of `choices`, from 0 */
    MYCO_OPTION_BOOL,        /* bool, or unsigned: 0, 1 */
    MYCO_OPTION_U64,         /* unsigned integers of 4 or 8 bytes, as all that follow */
    MYCO_OPTION_DURATION,    /* ms */
    MYCO_OPTION_SIZE,        /* bytes */
};

struct myco_option {
    const char *name;
    enum myco_option_type type;
    size_t offset, width; /* of the field: MYCO_OPTION_AT(struct, field) */
    const char *initial;  /* default, as one would write it; NULL: the field is 0 or NULL */
    const char *doc;      /* a sentence without a full stop */
    const char *choices;  /* "text,json" */
    const char *hint;     /* for --help, such as "HOST:PORT"; NULL: by type */
    const char *shown;    /* for --help, what happens without it, when that is not `initial` */
    uint64_t min, max;    /* of numbers, durations (ms), sizes; max 0: what fits */
    /* Further condition on a text, or on each element of a list; may be NULL. */
    int (*check)(const char *value, struct myco_err *err);
};
#define MYCO_OPTION_AT(type, field) offsetof(type, field), sizeof(((type *)0)->field)

/* All fields of the table get their defaults; `object` holds nothing before. */
void myco_options_init(const struct myco_option *options, void *object);
/* Frees the texts and sets them to NULL. */
void myco_options_release(const struct myco_option *options, void *object);

/* One by name. EINVAL: no such option (with the nearest name), or a value it does not take; the
 * field is then as before. */
int myco_options_set(const struct myco_option *options, void *object, const char *name,
    const char *value, struct myco_err *err);
/* "kind=durable ttl=30d": space-separated; a value with spaces stands in double quotes. Each option
 * once. NULL and "" set nothing. */
int myco_options_spec(
    const struct myco_option *options, void *object, const char *spec, struct myco_err *err);
/* --name VALUE, --name=VALUE, for booleans --name and --no-name; ends at the first that does not
 * begin with '-', or after "--". A list that is there again gets the further elements. *used says
 * how many arguments that were. */
int myco_options_args(const struct myco_option *options, void *object, int argc, char **argv,
    int *used, struct myco_err *err);

const struct myco_option *myco_options_find(const struct myco_option *options, const char *name);
/* Of names that end with NULL: the one that was probably meant, or NULL. */
const char *myco_nearest(const char *const *names, const char *name);
/* One paragraph for each, for --help. */
void myco_options_help(const struct myco_option *options, struct myco_buf *text);

/* Across this folder's files. */
const struct myco_option *myco__option_find(
    const struct myco_option *options, const char *name, size_t size);
int myco__option_unknown(
    const struct myco_option *options, const char *name, const char *dashes, struct myco_err *err);
int myco__option_set(const struct myco_option *option, void *object, const char *value, bool append,
    struct myco_err *err);

#endif
