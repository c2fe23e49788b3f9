/* Mycel beyond single puts and gets: changes that the primary computes, many keys at once, watches.
 * A part of <mycorrizal.h>, which includes it: the same rules hold. */
#ifndef MYCORRIZAL_CHANGES_H
#define MYCORRIZAL_CHANGES_H

#include <mycorrizal.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ── Mycel: changes ── computed at the primary from what is there, in one round trip, each one
 * record of the log. Not to be repeated blindly after EUNKNOWN: it may have happened. While a
 * member is of a version before them: EVERSION. */

#define MYCO_TTL_NEVER UINT64_MAX /* as ttl_ms: never expires, whatever the septum's default */

enum myco_change_kind {
    MYCO_CHANGE_GET = 1, /* value, version, expires_in_ms; ENOTFOUND */
    MYCO_CHANGE_PUT,
    MYCO_CHANGE_DEL,    /* ENOTFOUND */
    MYCO_CHANGE_INCR,   /* adds `delta` to a counter; one that is absent begins at `initial`.
                           count: the sum, as int64_t. EINVAL: no number; ERANGE: 64 bits are not
                           enough */
    MYCO_CHANGE_APPEND, /* `value` to the end; count: the size then. ETOOBIG */
    MYCO_CHANGE_TOUCH,  /* another lifetime: ttl_ms; gives the value. ENOTFOUND */
    MYCO_CHANGE_EXPIRE, /* the same without the value */
    MYCO_CHANGE_SWAP,   /* puts `value`; gives the former one, count 0: there was none */
    MYCO_CHANGE_TAKE,   /* deletes; gives what was there. ENOTFOUND */
    MYCO_CHANGE_CHECK,  /* writes nothing: only its conditions */
};
#define MYCO_CHANGE_LAST MYCO_CHANGE_CHECK

/* A counter is decimal text, "-7"; a number that Lua put stays in Lua's form. ECONFLICT: a
 * condition does not hold; the version is that of what is there. All zero but what is wanted. */
struct myco_change {
    enum myco_change_kind kind;
    bool if_absent, if_present, keep_ttl; /* keep_ttl: what is there keeps its time to live */
    struct myco_slice key, value;
    uint64_t if_version; /* 0: no condition */
    uint64_t ttl_ms;     /* 0: the septum's default; INCR and APPEND: what is there keeps its own */
    int64_t delta, initial;
    uint64_t reserved[4]; /* zero */
};

struct myco_change_options {
    size_t size;             /* sizeof(struct myco_change_options), set by the initialiser */
    unsigned timeout_ms;     /* 0: the node's default */
    struct myco_fence fence; /* name NULL: none; copied */
};
#define MYCO_CHANGE_OPTIONS_INIT                                                                   \
    {                                                                                              \
        sizeof(struct myco_change_options), 0,                                                     \
        {                                                                                          \
            NULL, 0                                                                                \
        }                                                                                          \
    }

/* options NULL: the defaults. Errors returned at once: EINVAL, ETOOBIG, ECLOSED; then the callback
 * does not run. */
MYCO_API int myco_change_async(struct myco_septum *septum, const struct myco_change *change,
    const struct myco_change_options *options, myco_result_cb cb, void *data);
/* Waits. `changed` may be NULL; its value is given: myco_value_release(&changed->value). */
struct myco_changed {
    struct myco_value value; /* with version and expires_in_ms */
    uint64_t count;
    int status; /* of one of many */
};
MYCO_API int myco_change(struct myco_septum *septum, const struct myco_change *change,
    const struct myco_change_options *options, struct myco_changed *changed, struct myco_err *err);

/* The common ones, with every default; the last two results may be NULL. */
MYCO_API int myco_incr(struct myco_septum *septum, struct myco_slice key, int64_t delta,
    int64_t *sum, struct myco_err *err);
MYCO_API int myco_append(struct myco_septum *septum, struct myco_slice key, struct myco_slice value,
    size_t *size, struct myco_err *err);
/* Gets, and lets it live for ttl_ms from now. value is given; NULL: not wanted. */
MYCO_API int myco_touch(struct myco_septum *septum, struct myco_slice key, uint64_t ttl_ms,
    struct myco_value *value, struct myco_err *err);

/* ── Mycel: many at once ── those of one primary in one request. Each change ends for itself, some
 * may fail; changes of one key happen in their order unless one is tried again. At most 65,536, and
 * 64 MiB of keys and values (ETOOBIG). */

/* In the order of the changes; lent until it returns. NULL and 0: there was no memory. */
typedef void (*myco_results_cb)(const struct myco_result *results, size_t count, void *data);
MYCO_API int myco_many_async(struct myco_septum *septum, const struct myco_change *changes,
    size_t count, const struct myco_change_options *options, myco_results_cb cb, void *data);
/* Waits. changed[count] may be NULL; each value is given. 0 when all went well, else the status of
 * the first that did not, ENOTFOUND not counting: then the others are in `changed` all the same. */
MYCO_API int myco_many(struct myco_septum *septum, const struct myco_change *changes, size_t count,
    const struct myco_change_options *options, struct myco_changed *changed, struct myco_err *err);
/* The same with every default: values[i] is given, .owner NULL when keys[i] is absent. */
MYCO_API int myco_get_many(struct myco_septum *septum, const struct myco_slice *keys, size_t count,
    struct myco_value *values, struct myco_err *err);
MYCO_API int myco_put_many(struct myco_septum *septum, const struct myco_slice *keys,
    const struct myco_slice *values, size_t count, struct myco_err *err);

/* Keys that begin with a prefix; "" counts all, as myco_count(). Costs a pass over the tables. */
MYCO_API int myco_count_prefix_async(struct myco_septum *septum, struct myco_slice prefix,
    unsigned timeout_ms, myco_result_cb cb, void *data);
MYCO_API int myco_count_prefix(
    struct myco_septum *septum, struct myco_slice prefix, uint64_t *count, struct myco_err *err);

/* ── Mycel: watching ── */

enum myco_watch_kind { MYCO_WATCH_PUT = 1, MYCO_WATCH_DEL, MYCO_WATCH_EXPIRE };

struct myco_change_event {
    enum myco_watch_kind kind;
    struct myco_slice key, value; /* value: of a PUT */
    uint64_t version, time_ms;    /* time: of the log, since 1970 */
};

/* What was committed in one hypha, in order; so changes of a key come in their order. */
struct myco_watch_page {
    /* 0. ECOMPACTED: changes were missed, which are not kept any more (a token too old, a watcher
     * too slow, a cache that lost its primary): read anew what the watch is for; it goes on.
     * Anything else: the watch has ended. */
    int status;
    const char *message;
    const struct myco_change_event *events; /* lent until the callback returns */
    size_t count;                           /* 0, once: from now on nothing is missed (`ready`) */
    bool ready;                             /* every hypha is being watched */
};
/* false: it has enough for now; myco_watch_resume() goes on. At most a page of each hypha (256 KiB,
 * or one change) is held meanwhile. */
typedef bool (*myco_watch_cb)(const struct myco_watch_page *page, void *data);

struct myco_watch;

/* Follows the committed changes of keys with a prefix, over failovers and moves, each once: from
 * now on, or from a token of myco_watch_token(). Hyphae keep about 256 KiB of changes for it.
 * EINVAL: not a token of this septum. */
MYCO_API int myco_watch(struct myco_septum *septum, struct myco_slice prefix,
    struct myco_slice token, myco_watch_cb cb, void *data, struct myco_watch **watch,
    struct myco_err *err);
/* Where the watch is: after all that was handed to the callback. *token is given. Any thread; in
 * the callback too. */
MYCO_API int myco_watch_token(
    struct myco_watch *watch, struct myco_value *token, struct myco_err *err);
MYCO_API void myco_watch_resume(struct myco_watch *watch);
/* Takes the watch; no callback runs after `done` did. */
MYCO_API void myco_unwatch(struct myco_watch *watch, void (*done)(void *data), void *data);

#ifdef __cplusplus
}
#endif

#endif
