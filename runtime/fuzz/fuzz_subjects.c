/* Patterns and subjects. The input is a list of lines: patterns, then "=", then subjects. Promise:
 * the trie finds as many as comparing one by one does, and is empty when all are taken out. */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "stream/subjects.h"

#define PATTERNS_MAX 64

static struct myco_slice line(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *from = *at, *newline = memchr(from, '\n', (size_t)(end - from));
    *at = newline ? newline + 1 : end;
    return myco_bytes(from, (size_t)((newline ? newline : end) - from));
}

static void count(void *value, void *data)
{
    assert(value);
    ++*(size_t *)data;
}

static void match(struct myco_trie *trie, const struct myco_slice *patterns, size_t pattern_count,
    struct myco_slice subject)
{
    size_t found = 0, wanted = 0;
    myco_trie_match(trie, subject, count, &found);
    for (size_t i = 0; i < pattern_count; i++) wanted += myco_subject_match(patterns[i], subject);
    if (myco_subject_check(subject, false, NULL) == 0) assert(found == wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct myco_slice patterns[PATTERNS_MAX];
    size_t pattern_count = 0;
    struct myco_trie *trie = myco_trie_new();
    const uint8_t *at = bytes, *end = bytes + size;
    while (at < end) {
        struct myco_slice pattern = line(&at, end);
        if (pattern.size == 1 && *(const char *)pattern.data == '=') break;
        if (myco_subject_check(pattern, true, NULL) || pattern_count == PATTERNS_MAX) continue;
        myco_trie_add(trie, pattern, trie);
        patterns[pattern_count++] = pattern;
    }
    while (at < end) match(trie, patterns, pattern_count, line(&at, end));
    for (size_t i = 0; i < pattern_count; i++) assert(myco_trie_remove(trie, patterns[i], trie));
    assert(myco_trie_count(trie) == 0);
    myco_trie_free(trie);
    return 0;
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    static const char *samples[] = {
        "a\n=\na\nb",
        "a.*\na.>\n*.b\n>\n=\na.b\na\na.b.c",
        "a.*.c\na.b.c\n*.*.*\n*.*.>\na.*.>\n=\na.b.c\nx.y.z\na.b.c.d",
    };
    if (index >= sizeof(samples) / sizeof(*samples)) return 0;
    size_t size = strlen(samples[index]);
    if (size > size_max) return 0;
    memcpy(bytes, samples[index], size);
    return size;
}
