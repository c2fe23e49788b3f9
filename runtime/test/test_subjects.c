/* Subjects and the trie of subscriptions, against what they are by definition.
 * Would catch: a malformed subject that passes, a pattern that matches what it should not, a value
 * that the trie misses, finds twice or gives out of order, nodes that are pruned too early or
 * never. */
#include <malloc.h>
#include <stdint.h>

#include "stream/subjects.h"
#include "tap.h"

static int check(const char *subject, bool wildcards)
{
    return myco_subject_check(myco_str(subject), wildcards, NULL);
}

static void test_check(void)
{
    static const char *const good[] = {
        "a", "a.b", "orders.7.created", "grüße.müller", "$SYS.a-b_c/d"};
    static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "a b", "a.\tb", "a\n", "a.\x7f"};
    static const char *const wild[] = {"*", ">", "a.*", "*.a", "a.>", "*.*.>"};
    static const char *const never[] = {"a*", "*a", "a.b>", ">.a", "a.>.b", "**", ">>", "a.*b.c"};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        ok(!check(good[i], false) && !check(good[i], true), "\"%s\" is a subject", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        ok(check(bad[i], false) == MYCO_EINVAL && check(bad[i], true) == MYCO_EINVAL,
            "bad subject %zu is refused", i);
    }
    for (size_t i = 0; i < sizeof(wild) / sizeof(*wild); i++) {
        ok(check(wild[i], false) == MYCO_EINVAL && !check(wild[i], true), "\"%s\" is a pattern",
            wild[i]);
    }
    for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++) {
        is_int(check(never[i], true), MYCO_EINVAL, "subject %zu is neither", i);
    }
    char longest[257];
    memset(longest, 'x', 256);
    longest[256] = '\0';
    is_int(check(longest, false), MYCO_EINVAL, "256 bytes are too many");
    is_int(check(longest + 1, false), 0, "255 are not");
    struct myco_err err;
    myco_subject_check(myco_str("a..b"), false, &err);
    is_str(err.message, "subject has an empty token", "the error says why");
}

static void test_match(void)
{
    static const struct {
        const char *pattern, *subject;
        bool matches;
    } table[] = {
        {"a", "a", true},
        {"a", "b", false},
        {"a", "a.b", false},
        {"a.b", "a", false},
        {"*", "a", true},
        {"*", "a.b", false},
        {"a.*", "a.b", true},
        {"a.*", "a", false},
        {"a.*.c", "a.b.c", true},
        {"a.*.c", "a.b.d", false},
        {">", "a", true},
        {">", "a.b.c", true},
        {"a.>", "a", false},
        {"a.>", "a.b", true},
        {"a.>", "a.b.c", true},
        {"a.>", "ab.c", false},
        {"*.>", "a", false},
        {"*.>", "a.b", true},
        {"ab", "a", false},
        {"a", "ab", false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        bool matches = myco_subject_match(myco_str(table[i].pattern), myco_str(table[i].subject));
        ok(matches == table[i].matches, "%s %s %s", table[i].pattern,
            table[i].matches ? "matches" : "does not match", table[i].subject);
    }
}

/* ── The trie against a list ────────────────────────────────────────────────────────────────── */

#define ITEMS_MAX 4000

static uint64_t state = 20240607;
static unsigned draw(unsigned bound)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 33) % bound);
}

/* Few tokens and short subjects, so that much matches. */
static void random_subject(char *text, bool wildcards)
{
    unsigned tokens = 1 + draw(draw(10) ? 5 : 40);
    size_t at = 0;
    for (unsigned i = 0; i < tokens; i++) {
        if (i > 0) text[at++] = '.';
        if (wildcards && draw(4) == 0) {
            text[at++] = '*';
        } else if (wildcards && i == tokens - 1 && draw(3) == 0) {
            text[at++] = '>';
        } else {
            text[at++] = (char)('a' + draw(3));
            if (draw(8) == 0) text[at++] = (char)('a' + draw(3));
        }
    }
    text[at] = '\0';
}

static struct item {
    char pattern[128];
    uintptr_t value;
} items[ITEMS_MAX];
static size_t item_count;

struct expectation {
    const char *subject;
    size_t at;
    bool good;
};

static void on_value(void *value, void *data)
{
    struct expectation *want = data;
    struct myco_slice subject = myco_str(want->subject);
    while (
        want->at < item_count && !myco_subject_match(myco_str(items[want->at].pattern), subject)) {
        want->at++;
    }
    want->good = want->good && want->at < item_count && items[want->at].value == (uintptr_t)value;
    want->at++;
}

static bool agrees(struct myco_trie *trie, const char *subject)
{
    struct expectation want = {subject, 0, true};
    size_t found = myco_trie_match(trie, myco_str(subject), on_value, &want), count = 0;
    for (size_t i = 0; i < item_count; i++) {
        count += myco_subject_match(myco_str(items[i].pattern), myco_str(subject));
    }
    return want.good && found == count;
}

static void test_model(void)
{
    struct myco_trie *trie = myco_trie_new();
    bool good = true, removed = true;
    uintptr_t values = 0;
    char subject[256];
    for (unsigned round = 0; round < 20000; round++) {
        unsigned bound = round < 10000 ? 3 : 1; /* grows, then shrinks */
        if (item_count < ITEMS_MAX && draw(4) < bound) {
            struct item *item = &items[item_count++];
            random_subject(item->pattern, true);
            item->value = draw(5) ? ++values : 1 + draw(20);
            myco_trie_add(trie, myco_str(item->pattern), (void *)item->value);
        } else if (item_count > 0) {
            size_t at = draw((unsigned)item_count);
            struct item item = items[at];
            size_t first = 0; /* of equals the oldest goes */
            while (
                items[first].value != item.value || strcmp(items[first].pattern, item.pattern) != 0)
                first++;
            memmove(&items[first], &items[first + 1], (--item_count - first) * sizeof(item));
            removed &= myco_trie_remove(trie, myco_str(item.pattern), (void *)item.value);
        }
        if (round % 16) continue;
        random_subject(subject, false);
        good &= agrees(trie, subject);
    }
    ok(good, "the trie finds what the definition says, in order of insertion");
    ok(removed, "what was added can be removed");
    is_int(myco_trie_count(trie), item_count, "and is counted");
    ok(!myco_trie_remove(trie, myco_str("no.such.pattern"), (void *)1),
        "what is not there is not removed");
    while (item_count > 0) {
        struct item *item = &items[--item_count];
        myco_trie_remove(trie, myco_str(item->pattern), (void *)item->value);
    }
    is_int(myco_trie_count(trie), 0, "an empty trie is empty");
    is_int(myco_trie_match(trie, myco_str("a.b"), on_value, NULL), 0, "and finds nothing");
    myco_trie_free(trie);
}

static void count_value(void *value, void *data)
{
    *(size_t *)data += (uintptr_t)value;
}

static void test_edges(void)
{
    struct myco_trie *trie = myco_trie_new();
    char deep[256], dots[300];
    for (unsigned i = 0; i < 255; i++) deep[i] = i % 2 ? '.' : 'a';
    deep[255] = '\0';
    memset(dots, '.', sizeof(dots));
    size_t sum = 0;
    myco_trie_add(trie, myco_str(deep), (void *)1);
    myco_trie_add(trie, myco_str(deep), (void *)1);
    myco_trie_add(trie, myco_str(">"), (void *)1);
    is_int(
        myco_trie_match(trie, myco_str(deep), count_value, &sum), 3, "128 tokens; twice is twice");
    is_int(myco_trie_match(trie, myco_bytes(dots, 255), count_value, &sum), 0,
        "more tokens than a subject can have match nothing");
    is_int(
        myco_trie_match(trie, myco_bytes(dots, 300), count_value, &sum), 0, "nor too many bytes");
    is_int(myco_trie_match(trie, myco_bytes(NULL, 0), count_value, &sum), 0, "nor none");
    for (uintptr_t i = 0; i < 1000; i++) myco_trie_add(trie, myco_str("wide"), (void *)(i + 1));
    sum = 0;
    is_int(myco_trie_match(trie, myco_str("wide"), count_value, &sum), 1001, "a thousand on one");
    is_int(sum, 1000 * 1001 / 2 + 1, "each once");
    myco_trie_free(trie); /* with what is in it */
}

/* A trie that lives long must not keep what was in it. */
static void test_memory(void)
{
    struct myco_trie *trie = myco_trie_new();
    char pattern[64];
    size_t before = mallinfo2().uordblks;
    if (before == 0) {
        skip("this allocator does not say what is in use");
        myco_trie_free(trie);
        return;
    }
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(pattern, sizeof(pattern), "inbox.%u.*.answer.>", i);
        myco_trie_add(trie, myco_str(pattern), trie);
        myco_trie_remove(trie, myco_str(pattern), trie);
    }
    size_t after = mallinfo2().uordblks;
    ok(after < before + 20000, "what is removed leaves nothing behind (%zu bytes)", after - before);
    myco_trie_free(trie);
}

int main(void)
{
    test_check();
    test_match();
    test_model();
    test_edges();
    test_memory();
    return plan_done();
}
