/* A trie of subscriptions: which patterns match this subject?
 *
 *   "orders.*.created" → A     "orders.>" → B     "orders.7.created" → C
 *
 *        (root)
 *          └ orders ── tail: [B]                    what `>` below it catches
 *               ├ *  └ created ── values: [A]
 *               └ 7  └ created ── values: [C]
 *
 * A node is a token below its parent. All literal children of all nodes stand in one hash table,
 * keyed by (parent's number, token): a node with a hundred thousand children (inboxes) costs no
 * more to descend than one with two, and one with none costs nothing. `*` is a pointer, as it is
 * asked for at every step. Matching goes down both ways, so it visits each node that matches so far
 * once, and a subject without wildcards above it costs one look-up for each token.
 *
 * Values come out in the order in which they were added, across patterns: each has a number, and
 * what was found is sorted by it, unless it came from one place, where it lies sorted. */
#include "stream/subjects.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define TOKENS_MAX  ((MYCO_SUBJECT_SIZE_MAX + 1) / 2)
#define BUCKETS_MIN 16

struct value {
    void *value;
    uint64_t number; /* of its insertion */
};

struct values {
    struct value *items;
    size_t count, capacity;
};

struct node {
    struct node *parent, *star;
    struct node *next; /* in its bucket */
    uint64_t number;   /* never used again: what children are keyed by */
    uint64_t hash;
    struct values values, tail;
    size_t children; /* literal ones */
    uint8_t token_size;
    char token[];
};

struct myco_trie {
    struct node *root;
    struct node **buckets;
    size_t bucket_count; /* a power of two */
    size_t node_count;   /* in buckets */
    size_t value_count;
    uint64_t node_numbers, value_numbers;
};

/* One token of the subject that is looked for. */
struct token {
    const char *at;
    size_t size;
    uint64_t hash;
};

/* ── Nodes ──────────────────────────────────────────────────────────────────────────────────── */

static struct node *node_new(struct myco_trie *trie, struct node *parent, struct token token)
{
    struct node *node = myco_alloc(sizeof(*node) + token.size);
    node->parent = parent;
    node->number = ++trie->node_numbers;
    node->token_size = (uint8_t)token.size;
    memcpy(node->token, token.at, token.size);
    return node;
}

static uint64_t child_hash(const struct node *parent, const struct token *token)
{
    return myco_hash_mix(parent->number, token->hash);
}

static struct node *child_get(
    const struct myco_trie *trie, const struct node *parent, const struct token *token)
{
    if (parent->children == 0) return NULL;
    uint64_t hash = child_hash(parent, token);
    struct node *node = trie->buckets[hash & (trie->bucket_count - 1)];
    for (; node; node = node->next) {
        if (node->hash == hash && node->parent == parent && node->token_size == token->size &&
            memcmp(node->token, token->at, token->size) == 0) {
            return node;
        }
    }
    return NULL;
}

static void bucket_add(struct myco_trie *trie, struct node *node)
{
    struct node **bucket = &trie->buckets[node->hash & (trie->bucket_count - 1)];
    node->next = *bucket;
    *bucket = node;
}

static void grow(struct myco_trie *trie)
{
    struct node **old = trie->buckets;
    size_t old_count = trie->bucket_count;
    trie->bucket_count = old_count * 2;
    trie->buckets = myco_alloc(trie->bucket_count * sizeof(*trie->buckets));
    for (size_t i = 0; i < old_count; i++) {
        for (struct node *node = old[i], *next; node; node = next) {
            next = node->next;
            bucket_add(trie, node);
        }
    }
    myco_free(old);
}

static struct node *child_add(struct myco_trie *trie, struct node *parent, struct token token)
{
    if (trie->node_count >= trie->bucket_count) grow(trie);
    struct node *node = node_new(trie, parent, token);
    node->hash = child_hash(parent, &token);
    bucket_add(trie, node);
    trie->node_count++;
    parent->children++;
    return node;
}

static void bucket_remove(struct myco_trie *trie, struct node *node)
{
    struct node **at = &trie->buckets[node->hash & (trie->bucket_count - 1)];
    while (*at != node) at = &(*at)->next;
    *at = node->next;
    trie->node_count--;
    node->parent->children--;
}

static bool node_needed(const struct node *node)
{
    return !node->parent || node->star || node->children > 0 || node->values.count > 0 ||
           node->tail.count > 0;
}

/* Frees the node, and those above that nobody needs any more. */
static void prune(struct myco_trie *trie, struct node *node)
{
    while (!node_needed(node)) {
        struct node *parent = node->parent;
        if (parent->star == node) {
            parent->star = NULL;
        } else {
            bucket_remove(trie, node);
        }
        myco_free(node->values.items);
        myco_free(node->tail.items);
        myco_free(node);
        node = parent;
    }
}

/* ── Patterns ───────────────────────────────────────────────────────────────────────────────── */

/* Cuts at the dots; 0 when there are more tokens than a subject can have. */
static size_t cut(struct myco_slice subject, struct token tokens[TOKENS_MAX])
{
    const char *at = subject.data, *end = at + subject.size;
    size_t count = 0;
    for (;;) {
        if (count == TOKENS_MAX) return 0;
        const char *dot = memchr(at, '.', (size_t)(end - at));
        struct token *token = &tokens[count++];
        token->at = at;
        token->size = (size_t)((dot ? dot : end) - at);
        token->hash = myco_hash(at, token->size);
        if (!dot) return count;
        at = dot + 1;
    }
}

static bool is_wild(const struct token *token, char wild)
{
    return token->size == 1 && token->at[0] == wild;
}

static struct node *step(
    struct myco_trie *trie, struct node *node, const struct token *token, bool create)
{
    if (!is_wild(token, '*')) {
        struct node *child = child_get(trie, node, token);
        return child || !create ? child : child_add(trie, node, *token);
    }
    if (!node->star && create) node->star = node_new(trie, node, *token);
    return node->star;
}

/* The node of a pattern, and which of its lists; NULL when it is not there. */
static struct node *find(
    struct myco_trie *trie, struct myco_slice pattern, bool create, struct values **list)
{
    struct token tokens[TOKENS_MAX];
    MYCO_ASSERT(pattern.size > 0 && pattern.size <= MYCO_SUBJECT_SIZE_MAX);
    size_t count = cut(pattern, tokens);
    MYCO_ASSERT(count > 0);
    bool tail = is_wild(&tokens[count - 1], '>');
    struct node *node = trie->root;
    for (size_t i = 0; i < count - tail && node; i++) node = step(trie, node, &tokens[i], create);
    if (node) *list = tail ? &node->tail : &node->values;
    return node;
}

void myco_trie_add(struct myco_trie *trie, struct myco_slice pattern, void *value)
{
    struct values *list = NULL;
    find(trie, pattern, true, &list);
    MYCO_ASSERT(list != NULL);
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 1;
        list->items = myco_realloc(list->items, list->capacity * sizeof(*list->items));
    }
    list->items[list->count++] = (struct value){value, ++trie->value_numbers};
    trie->value_count++;
}

bool myco_trie_remove(struct myco_trie *trie, struct myco_slice pattern, void *value)
{
    struct values *list;
    struct node *node = find(trie, pattern, false, &list);
    if (!node) return false;
    size_t at = 0;
    while (at < list->count && list->items[at].value != value) at++;
    if (at == list->count) return false;
    memmove(&list->items[at], &list->items[at + 1], (--list->count - at) * sizeof(*list->items));
    trie->value_count--;
    prune(trie, node);
    return true;
}

/* ── Matching ───────────────────────────────────────────────────────────────────────────────── */

#define NEAR_MAX 64 /* found values that are held on the stack */

struct search {
    const struct myco_trie *trie;
    const struct token *tokens;
    size_t token_count;
    const struct values *only; /* the one list found, while it is one */
    struct value near[NEAR_MAX];
    struct value *found; /* near, or the heap */
    size_t count, capacity;
};

static void hold(struct search *search, const struct values *list)
{
    if (search->count + list->count > search->capacity) {
        while (search->capacity < search->count + list->count) search->capacity *= 2;
        struct value *old = search->found;
        search->found = myco_realloc(
            old == search->near ? NULL : old, search->capacity * sizeof(*search->found));
        if (old == search->near) {
            memcpy(search->found, search->near, search->count * sizeof(*search->found));
        }
    }
    memcpy(&search->found[search->count], list->items, list->count * sizeof(*list->items));
    search->count += list->count;
}

static void found(struct search *search, const struct values *list)
{
    if (list->count == 0) return;
    if (!search->only && search->count == 0) {
        search->only = list;
        return;
    }
    if (search->only) hold(search, search->only);
    search->only = NULL;
    hold(search, list);
}

static void descend(struct search *search, const struct node *node, size_t at)
{
    if (at == search->token_count) {
        found(search, &node->values);
        return;
    }
    found(search, &node->tail);
    const struct node *child = child_get(search->trie, node, &search->tokens[at]);
    if (child) descend(search, child, at + 1);
    if (node->star) descend(search, node->star, at + 1);
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = ((const struct value *)a)->number, right = ((const struct value *)b)->number;
    return left < right ? -1 : left > right;
}

size_t myco_trie_match(
    const struct myco_trie *trie, struct myco_slice subject, myco_trie_cb cb, void *data)
{
    if (trie->value_count == 0 || subject.size == 0) return 0;
    struct token tokens[TOKENS_MAX];
    struct search search;
    search.trie = trie;
    search.tokens = tokens;
    search.only = NULL;
    search.found = search.near;
    search.count = 0;
    search.capacity = NEAR_MAX;
    search.token_count = subject.size > MYCO_SUBJECT_SIZE_MAX ? 0 : cut(subject, tokens);
    if (search.token_count == 0) return 0;
    descend(&search, trie->root, 0);

    const struct value *items = search.only ? search.only->items : search.found;
    size_t count = search.only ? search.only->count : search.count;
    if (!search.only && count > 1) qsort(search.found, count, sizeof(*search.found), by_number);
    for (size_t i = 0; i < count; i++) cb(items[i].value, data);
    if (search.found != search.near) myco_free(search.found);
    return count;
}

/* ── The whole ──────────────────────────────────────────────────────────────────────────────── */

struct myco_trie *myco_trie_new(void)
{
    struct myco_trie *trie = myco_alloc(sizeof(*trie));
    trie->root = node_new(trie, NULL, (struct token){"", 0, 0});
    trie->bucket_count = BUCKETS_MIN;
    trie->buckets = myco_alloc(BUCKETS_MIN * sizeof(*trie->buckets));
    return trie;
}

static void node_free(struct node *node)
{
    while (node) { /* stars hang from their parents */
        struct node *star = node->star;
        myco_free(node->values.items);
        myco_free(node->tail.items);
        myco_free(node);
        node = star;
    }
}

void myco_trie_free(struct myco_trie *trie)
{
    if (!trie) return;
    for (size_t i = 0; i < trie->bucket_count; i++) {
        for (struct node *node = trie->buckets[i], *next; node; node = next) {
            next = node->next;
            node_free(node);
        }
    }
    node_free(trie->root);
    myco_free(trie->buckets);
    myco_free(trie);
}

size_t myco_trie_count(const struct myco_trie *trie)
{
    return trie->value_count;
}
