/* Sets of interest: which (pattern, queue) somebody wants, each once.
 *
 * Ours and those of each peer are the same thing: a map by hash, with a chain where two hashes are
 * equal. A queue group is one object for its name, whoever its members are and whatever patterns
 * they chose, so that a publish finds all of them by comparing pointers. */
#include "stream/state.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

static bool same(struct myco_slice a, const char *b, size_t b_size)
{
    return a.size == b_size && (b_size == 0 || memcmp(a.data, b, b_size) == 0);
}

/* ── Queue groups ───────────────────────────────────────────────────────────────────────────── */

struct myco__group *myco__group_get(const struct myco_bus *bus, struct myco_slice name)
{
    struct myco__group *group = myco_map_get(&bus->groups, myco_hash(name.data, name.size));
    while (group && !same(name, group->name, group->name_size)) group = group->next;
    return group;
}

struct myco_slice myco__group_name(const struct myco__group *group)
{
    return group ? myco_bytes(group->name, group->name_size) : myco_bytes(NULL, 0);
}

static struct myco__group *group_ref(struct myco_bus *bus, struct myco_slice name)
{
    struct myco__group *group = myco__group_get(bus, name);
    if (!group) {
        uint64_t hash = myco_hash(name.data, name.size);
        group = myco_alloc(sizeof(*group) + name.size);
        group->name_size = name.size;
        memcpy(group->name, name.data, name.size);
        group->next = myco_map_get(&bus->groups, hash);
        myco_map_put(&bus->groups, hash, group);
    }
    group->refs++;
    return group;
}

static void group_unref(struct myco_bus *bus, struct myco__group *group)
{
    if (!group || --group->refs > 0) return;
    uint64_t hash = myco_hash(group->name, group->name_size);
    struct myco__group *first = myco_map_get(&bus->groups, hash), **at = &first;
    while (*at != group) at = &(*at)->next;
    *at = group->next;
    if (first) {
        myco_map_put(&bus->groups, hash, first);
    } else {
        myco_map_del(&bus->groups, hash);
    }
    myco_free(group);
}

/* ── Sets ───────────────────────────────────────────────────────────────────────────────────── */

static uint64_t hash_of(struct myco_slice pattern, struct myco_slice queue)
{
    uint64_t hash = myco_hash(pattern.data, pattern.size);
    return queue.size ? myco_hash_mix(hash, myco_hash(queue.data, queue.size)) : hash;
}

struct myco_slice myco__interest_pattern(const struct myco__interest *interest)
{
    return myco_bytes(interest->pattern, interest->pattern_size);
}

static uint64_t hash_of_interest(const struct myco__interest *interest)
{
    return hash_of(myco__interest_pattern(interest), myco__group_name(interest->group));
}

struct myco__interest *myco__interest_get(const struct myco_bus *bus, const struct myco_map *set,
    struct myco_slice pattern, struct myco_slice queue)
{
    struct myco__group *group = queue.size ? myco__group_get(bus, queue) : NULL;
    if (queue.size && !group) return NULL;
    struct myco__interest *interest = myco_map_get(set, hash_of(pattern, queue));
    for (; interest; interest = interest->next) {
        if (interest->group != group) continue;
        if (same(pattern, interest->pattern, interest->pattern_size)) break;
    }
    return interest;
}

struct myco__interest *myco__interest_add(
    struct myco_bus *bus, struct myco_map *set, struct myco_slice pattern, struct myco_slice queue)
{
    struct myco__interest *interest = myco_alloc(sizeof(*interest) + pattern.size);
    interest->pattern_size = pattern.size;
    memcpy(interest->pattern, pattern.data, pattern.size);
    interest->group = queue.size ? group_ref(bus, queue) : NULL;
    myco_list_init(&interest->link);
    myco_list_init(&interest->gone_link);
    uint64_t hash = hash_of(pattern, queue);
    interest->next = myco_map_get(set, hash);
    myco_map_put(set, hash, interest);
    return interest;
}

static void interest_free(struct myco_bus *bus, struct myco__interest *interest)
{
    myco_list_remove(&interest->link);
    myco_list_remove(&interest->gone_link);
    group_unref(bus, interest->group);
    myco_free(interest);
}

void myco__interest_remove(
    struct myco_bus *bus, struct myco_map *set, struct myco__interest *interest)
{
    uint64_t hash = hash_of_interest(interest);
    struct myco__interest *first = myco_map_get(set, hash), **at = &first;
    while (*at != interest) at = &(*at)->next;
    *at = interest->next;
    if (first) {
        myco_map_put(set, hash, first);
    } else {
        myco_map_del(set, hash);
    }
    interest_free(bus, interest);
}

void myco__interest_free_all(struct myco_bus *bus, struct myco_map *set)
{
    MYCO_MAP_EACH (struct myco__interest, first, set) {
        for (struct myco__interest *interest = first, *next; interest; interest = next) {
            next = interest->next;
            interest_free(bus, interest);
        }
    }
    myco_map_free(set);
}
