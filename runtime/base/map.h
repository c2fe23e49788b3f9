/* A small hash map from uint64_t to a pointer, iterated in the order of insertion (never in that of
 * addresses, so that a simulated run repeats itself). Removal keeps the order. */
#ifndef MYCO_BASE_MAP_H
#define MYCO_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct myco_map { /* zero-initialised is empty */
    struct myco_map_slot {
        uint64_t key;
        void *value; /* NULL: removed */
    } * slots;       /* in order of insertion */
    uint32_t *index; /* open addressing; slot + 1, 0 is free */
    uint32_t slot_count, slot_capacity, index_size, count;
};

void myco_map_free(struct myco_map *map);                     /* not the values */
void *myco_map_get(const struct myco_map *map, uint64_t key); /* NULL: not there */
void *myco_map_put(
    struct myco_map *map, uint64_t key, void *value);   /* not NULL; the former value or NULL */
void *myco_map_del(struct myco_map *map, uint64_t key); /* the former value or NULL */
/* *cursor starts at 0. NULL ends. The current item may be removed while iterating; none may be
 * added. */
void *myco_map_next(const struct myco_map *map, uint32_t *cursor, uint64_t *key);

#define MYCO_MAP_EACH(type, item, map)                                                             \
    for (uint32_t item##_at = 0, item##_once = 1; item##_once; item##_once = 0)                    \
        for (type * item; (item = myco_map_next((map), &item##_at, NULL));)

#endif
