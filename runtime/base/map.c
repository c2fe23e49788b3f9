/* A hash map that remembers the order of insertion.
 *
 *     index:  [0][3][0][1][0][2][0][0]      open addressing; the number is slot + 1
 *                  \     \     \
 *     slots:  {k1,v1} {k2,v2} {k3,NULL} …   appended; removed ones keep their place, without a
 * value
 *
 * A removed slot still occupies its index cell, so that probing goes on past it. Both are swept
 * when the slots are full: then the map doubles, or only closes the gaps when a quarter of it is
 * gaps. */
#include "base/map.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define SLOTS_MIN 8

void myco_map_free(struct myco_map *map)
{
    myco_free(map->slots);
    myco_free(map->index);
    *map = (struct myco_map){0};
}

static uint32_t first_cell(const struct myco_map *map, uint64_t key)
{
    return (uint32_t)myco_hash_mix(key, 0) & (map->index_size - 1);
}

static struct myco_map_slot *find(const struct myco_map *map, uint64_t key)
{
    if (map->count == 0) return NULL;
    for (uint32_t cell = first_cell(map, key); map->index[cell] != 0;
         cell = (cell + 1) & (map->index_size - 1)) {
        struct myco_map_slot *slot = &map->slots[map->index[cell] - 1];
        if (slot->value != NULL && slot->key == key) return slot;
    }
    return NULL;
}

static void index_slot(struct myco_map *map, uint32_t slot)
{
    uint32_t cell = first_cell(map, map->slots[slot].key);
    while (map->index[cell] != 0) cell = (cell + 1) & (map->index_size - 1);
    map->index[cell] = slot + 1;
}

static void close_gaps(struct myco_map *map)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < map->slot_count; i++) {
        if (map->slots[i].value != NULL) map->slots[kept++] = map->slots[i];
    }
    map->slot_count = kept;
}

static void make_room(struct myco_map *map)
{
    close_gaps(map);
    if (map->slot_count >= map->slot_capacity - map->slot_capacity / 4) {
        MYCO_ASSERT(map->slot_capacity <= UINT32_MAX / 8);
        map->slot_capacity = map->slot_capacity == 0 ? SLOTS_MIN : map->slot_capacity * 2;
        map->slots = myco_realloc(map->slots, map->slot_capacity * sizeof *map->slots);
        map->index_size = map->slot_capacity * 2; /* at most half full */
        map->index = myco_realloc(map->index, map->index_size * sizeof *map->index);
    }
    memset(map->index, 0, map->index_size * sizeof *map->index);
    for (uint32_t i = 0; i < map->slot_count; i++) index_slot(map, i);
}

void *myco_map_get(const struct myco_map *map, uint64_t key)
{
    struct myco_map_slot *slot = find(map, key);
    return slot != NULL ? slot->value : NULL;
}

void *myco_map_put(struct myco_map *map, uint64_t key, void *value)
{
    MYCO_ASSERT(value != NULL);
    struct myco_map_slot *slot = find(map, key);
    if (slot != NULL) {
        void *former = slot->value;
        slot->value = value;
        return former;
    }
    if (map->slot_count == map->slot_capacity) make_room(map);
    map->slots[map->slot_count] = (struct myco_map_slot){key, value};
    index_slot(map, map->slot_count++);
    map->count++;
    return NULL;
}

void *myco_map_del(struct myco_map *map, uint64_t key)
{
    struct myco_map_slot *slot = find(map, key);
    if (slot == NULL) return NULL;
    void *former = slot->value;
    slot->value = NULL;
    map->count--;
    return former;
}

void *myco_map_next(const struct myco_map *map, uint32_t *cursor, uint64_t *key)
{
    while (*cursor < map->slot_count) {
        const struct myco_map_slot *slot = &map->slots[(*cursor)++];
        if (slot->value == NULL) continue;
        if (key != NULL) *key = slot->key;
        return slot->value;
    }
    return NULL;
}
