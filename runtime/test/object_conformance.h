/* What every driver of object stores must do, whichever store it is: run it over each. The store is
 * empty at the start, or holds nothing below "conformance/". */
#ifndef MYCO_TEST_OBJECT_CONFORMANCE_H
#define MYCO_TEST_OBJECT_CONFORMANCE_H

#include <stdio.h>

#include "base/buf.h"
#include "object/object.h"
#include "tap.h"

struct conformance {
    struct myco_object *store;
    bool (*wait)(bool *done, void *data); /* runs the loop until *done; false: it gave up */
    void *data;
};

struct conformance_answer {
    bool done, inside; /* inside: called back before the call returned */
    unsigned calls;
    int status;
    char message[128];
    struct myco_buf bytes;
    char keys[16][64];
    uint64_t sizes[16], modified_ms[16];
    size_t count;
    bool sorted;
};

static inline void conformance_note(
    struct conformance_answer *answer, int status, const char *message)
{
    answer->status = status;
    answer->calls++;
    snprintf(answer->message, sizeof(answer->message), "%s", message != NULL ? message : "(null)");
    answer->done = true;
}

static inline void conformance_on_done(int status, const char *message, void *data)
{
    conformance_note(data, status, message);
}

static inline void conformance_on_get(
    int status, const char *message, struct myco_buf *bytes, void *data)
{
    struct conformance_answer *answer = data;
    if (status == 0) myco_buf_move(&answer->bytes, bytes);
    conformance_note(data, status, message);
}

static inline void conformance_on_list(
    int status, const char *message, const struct myco_object_info *infos, size_t count, void *data)
{
    struct conformance_answer *answer = data;
    answer->count = count;
    answer->sorted = true;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(infos[i - 1].key, infos[i].key) >= 0) answer->sorted = false;
        if (i >= 16) continue;
        snprintf(answer->keys[i], sizeof(answer->keys[i]), "%.63s", infos[i].key);
        answer->sizes[i] = infos[i].size;
        answer->modified_ms[i] = infos[i].modified_ms;
    }
    conformance_note(data, status, message);
}

static inline int conformance_end(struct conformance *run, struct conformance_answer *answer)
{
    answer->inside = answer->done;
    if (!run->wait(&answer->done, run->data)) return MYCO_ETIMEDOUT;
    return answer->inside ? MYCO_EPROTO : answer->status;
}

static inline void conformance_reset(struct conformance_answer *answer)
{
    myco_buf_free(&answer->bytes);
    memset(answer, 0, sizeof(*answer));
}

static inline int conformance_put(struct conformance *run, struct conformance_answer *answer,
    const char *key, struct myco_slice bytes, int flags)
{
    conformance_reset(answer);
    run->store->ops->put(run->store, key, bytes, flags, conformance_on_done, answer);
    return conformance_end(run, answer);
}

static inline int conformance_get(struct conformance *run, struct conformance_answer *answer,
    const char *key, uint64_t offset, uint64_t size)
{
    conformance_reset(answer);
    run->store->ops->get(run->store, key, offset, size, conformance_on_get, answer);
    return conformance_end(run, answer);
}

static inline int conformance_list(
    struct conformance *run, struct conformance_answer *answer, const char *prefix)
{
    conformance_reset(answer);
    run->store->ops->list(run->store, prefix, conformance_on_list, answer);
    return conformance_end(run, answer);
}

static inline int conformance_del(
    struct conformance *run, struct conformance_answer *answer, const char *key)
{
    conformance_reset(answer);
    run->store->ops->del(run->store, key, conformance_on_done, answer);
    return conformance_end(run, answer);
}

static inline bool conformance_holds(const struct conformance_answer *answer, const char *text)
{
    size_t size = strlen(text);
    return answer->bytes.size == size && (size == 0 || memcmp(answer->bytes.data, text, size) == 0);
}

static inline void conformance_values(struct conformance *run)
{
    struct conformance_answer answer = {0};
    const char *name = run->store->ops->name;
    is_int(conformance_get(run, &answer, "conformance/none", 0, 0), MYCO_ENOTFOUND,
        "%s: absent is ENOTFOUND", name);
    ok(answer.message[0] != '\0', "%s: and says so in words", name);
    is_int(
        conformance_put(run, &answer, "conformance/a", myco_str("hello"), 0), 0, "%s: put", name);
    ok(answer.message[0] == '\0' && answer.calls == 1,
        "%s: success has no message, and one callback", name);
    ok(conformance_get(run, &answer, "conformance/a", 0, 0) == 0 &&
            conformance_holds(&answer, "hello"),
        "%s: get", name);
    is_int(conformance_put(run, &answer, "conformance/a", myco_str("world!"), 0), 0,
        "%s: put again", name);
    ok(conformance_get(run, &answer, "conformance/a", 0, 0) == 0 &&
            conformance_holds(&answer, "world!"),
        "%s: the last one is read", name);
    ok(conformance_get(run, &answer, "conformance/a", 1, 3) == 0 &&
            conformance_holds(&answer, "orl"),
        "%s: a range", name);
    ok(conformance_get(run, &answer, "conformance/a", 4, 100) == 0 &&
            conformance_holds(&answer, "d!"),
        "%s: a range beyond the end ends there", name);
    ok(conformance_get(run, &answer, "conformance/a", 3, 0) == 0 &&
            conformance_holds(&answer, "ld!"),
        "%s: size 0 is to the end", name);
    is_int(conformance_put(run, &answer, "conformance/empty", myco_str(""), 0), 0,
        "%s: nothing can be put", name);
    ok(conformance_get(run, &answer, "conformance/empty", 0, 0) == 0 &&
            conformance_holds(&answer, ""),
        "%s: and got", name);
    is_int(conformance_del(run, &answer, "conformance/a"), 0, "%s: del", name);
    is_int(conformance_get(run, &answer, "conformance/a", 0, 0), MYCO_ENOTFOUND,
        "%s: deleted is gone", name);
    is_int(conformance_del(run, &answer, "conformance/a"), 0, "%s: absent can be deleted", name);
    is_int(conformance_del(run, &answer, "conformance/empty"), 0, "%s: so can nothing", name);
    conformance_reset(&answer);
}

static inline void conformance_large(struct conformance *run)
{
    struct conformance_answer answer = {0};
    struct myco_buf large = {0};
    const char *name = run->store->ops->name;
    for (uint32_t i = 0; i < 300000; i++) myco_buf_u32(&large, i * 2654435761u);
    is_int(conformance_put(run, &answer, "conformance/large", myco_buf_as_slice(&large), 0), 0,
        "%s: 1.2 MB", name);
    ok(conformance_get(run, &answer, "conformance/large", 0, 0) == 0 &&
            answer.bytes.size == large.size &&
            memcmp(answer.bytes.data, large.data, large.size) == 0,
        "%s: come back as they were", name);
    ok(conformance_get(run, &answer, "conformance/large", 1000000, 100) == 0 &&
            answer.bytes.size == 100 && memcmp(answer.bytes.data, large.data + 1000000, 100) == 0,
        "%s: and in part", name);
    conformance_del(run, &answer, "conformance/large");
    conformance_reset(&answer);
    myco_buf_free(&large);
}

static inline void conformance_listing(struct conformance *run)
{
    static const char *const keys[] = {"conformance/l/b", "conformance/l/a/2", "conformance/l/a/10",
        "conformance/l2", "conformance/l/a.x"};
    struct conformance_answer answer = {0};
    const char *name = run->store->ops->name;
    for (size_t i = 0; i < 5; i++)
        conformance_put(run, &answer, keys[i], myco_bytes("12345", i + 1), 0);
    is_int(conformance_list(run, &answer, "conformance/l/"), 0, "%s: list", name);
    ok(answer.count == 4 && answer.sorted, "%s: all below the prefix, sorted by bytes", name);
    ok(strcmp(answer.keys[0], "conformance/l/a.x") == 0 &&
            strcmp(answer.keys[1], "conformance/l/a/10") == 0 &&
            strcmp(answer.keys[2], "conformance/l/a/2") == 0 &&
            strcmp(answer.keys[3], "conformance/l/b") == 0,
        "%s: whole keys, folders or not", name);
    ok(answer.sizes[0] == 5 && answer.sizes[3] == 1, "%s: with their sizes", name);
    ok(answer.modified_ms[0] > 1500000000000, "%s: and times", name);
    conformance_list(run, &answer, "conformance/l");
    is_int(answer.count, 5, "%s: a prefix need not end at a segment", name);
    is_int(conformance_list(run, &answer, "conformance/nothing"), 0,
        "%s: an empty listing is no error", name);
    is_int(answer.count, 0, "%s: and empty", name);
    for (size_t i = 0; i < 5; i++) conformance_del(run, &answer, keys[i]);
    conformance_list(run, &answer, "conformance/");
    is_int(answer.count, 0, "%s: deleted keys are not listed", name);
    conformance_reset(&answer);
}

static inline void conformance_keys(struct conformance *run)
{
    static const char *const refused[] = {
        "", "/a", "a/", "a//b", "..", "a/../b", "./a", "a b", "a\nb", "\xc3\xa4"};
    struct conformance_answer answer = {0};
    const char *name = run->store->ops->name;
    unsigned accepted = 0;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        accepted += conformance_put(run, &answer, refused[i], myco_str("x"), 0) != MYCO_EINVAL;
        accepted += conformance_get(run, &answer, refused[i], 0, 0) != MYCO_EINVAL;
        accepted += conformance_del(run, &answer, refused[i]) != MYCO_EINVAL;
    }
    is_int(accepted, 0, "%s: keys that no store should see are EINVAL, later", name);
    is_int(conformance_put(run, &answer, "conformance/..x/a+b=c&d%20(1)~!*'", myco_str("x"), 0), 0,
        "%s: odd ones are not", name);
    ok(conformance_get(run, &answer, "conformance/..x/a+b=c&d%20(1)~!*'", 0, 0) == 0 &&
            conformance_holds(&answer, "x"),
        "%s: they come back", name);
    conformance_list(run, &answer, "conformance/");
    is_str(answer.keys[0], "conformance/..x/a+b=c&d%20(1)~!*'",
        "%s: and are listed as they were put", name);
    conformance_del(run, &answer, "conformance/..x/a+b=c&d%20(1)~!*'");
    conformance_reset(&answer);
}

/* Ten at the same time on one key: one wins, and its bytes stay. */
static inline void conformance_race(struct conformance *run)
{
    enum { WRITERS = 10 };
    struct conformance_answer answers[WRITERS] = {{0}}, answer = {0};
    const char *name = run->store->ops->name;
    unsigned winners = 0, losers = 0, winner = 0;
    if (!run->store->ops->put_if_absent) {
        skip("%s: has no put-if-absent, and says so", name);
        return;
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        char bytes = (char)('a' + i);
        run->store->ops->put(run->store, "conformance/race", myco_bytes(&bytes, 1),
            MYCO_OBJECT_IF_ABSENT, conformance_on_done, &answers[i]);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        run->wait(&answers[i].done, run->data);
        winners += answers[i].status == 0;
        losers += answers[i].status == MYCO_EEXISTS;
        if (answers[i].status == 0) winner = i;
    }
    ok(winners == 1 && losers == WRITERS - 1, "%s: one of %d puts-if-absent wins", name, WRITERS);
    char want[2] = {(char)('a' + winner), '\0'};
    ok(conformance_get(run, &answer, "conformance/race", 0, 0) == 0 &&
            conformance_holds(&answer, want),
        "%s: its bytes are there", name);
    is_int(
        conformance_put(run, &answer, "conformance/race", myco_str("late"), MYCO_OBJECT_IF_ABSENT),
        MYCO_EEXISTS, "%s: a late one is refused", name);
    is_int(conformance_del(run, &answer, "conformance/race"), 0, "%s: deleted,", name);
    is_int(
        conformance_put(run, &answer, "conformance/race", myco_str("new"), MYCO_OBJECT_IF_ABSENT),
        0, "%s: it is absent again", name);
    conformance_del(run, &answer, "conformance/race");
    conformance_reset(&answer);
}

static inline void conformance_run(struct conformance *run)
{
    conformance_values(run);
    conformance_large(run);
    conformance_listing(run);
    conformance_keys(run);
    conformance_race(run);
}

#endif
