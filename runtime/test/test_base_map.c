/* Catches: a map that loses keys after removals, iterates in another order than that of insertion
 * (and so makes simulated runs differ), or grows without end under put and del in turn. */
#include "base/map.h"

#include <stdint.h>

#include "base/hash.h"
#include "tap.h"

#define MODEL_SIZE 512

static int values[MODEL_SIZE];

static void test_order(void)
{
    struct myco_map map = {0};
    for (int i = 0; i < 100; i++) myco_map_put(&map, myco_hash_mix((uint64_t)i, 7), &values[i]);
    for (int i = 0; i < 100; i += 3) myco_map_del(&map, myco_hash_mix((uint64_t)i, 7));
    ok(myco_map_put(&map, myco_hash_mix(0, 7), &values[0]) == NULL, "a removed key is new again");
    bool in_order = true;
    uint64_t key;
    uint32_t cursor = 0;
    for (int i = 0; i < 100; i++) {
        if (i % 3 == 0) continue;
        in_order = in_order && myco_map_next(&map, &cursor, &key) == &values[i] &&
                   key == myco_hash_mix((uint64_t)i, 7);
    }
    ok(in_order, "iteration follows insertion, over gaps");
    ok(myco_map_next(&map, &cursor, NULL) == &values[0], "what was put again comes last");
    ok(myco_map_next(&map, &cursor, NULL) == NULL, "NULL ends");
    ok(myco_map_put(&map, 5, &values[1]) == NULL, "put of a new key gives NULL");
    ok(myco_map_put(&map, 5, &values[2]) == &values[1], "put again gives the former value");
    myco_map_free(&map);
    ok(myco_map_get(&map, 5) == NULL && map.count == 0, "free leaves an empty map");
}

static void test_remove_while_iterating(void)
{
    struct myco_map map = {0};
    for (int i = 0; i < 50; i++) myco_map_put(&map, (uint64_t)i, &values[i]);
    int seen = 0, removed = 0;
    MYCO_MAP_EACH (int, value, &map) {
        seen++;
        removed += myco_map_del(&map, (uint64_t)(value - values)) == value;
    }
    is_int(seen, 50, "every item was seen once");
    is_int(removed, 50, "and removed");
    is_int(map.count, 0, "so that none is left");
    myco_map_free(&map);
}

/* A million random operations against a plain array. */
static void test_model(void)
{
    struct myco_map map = {0};
    void *model[MODEL_SIZE] = {0};
    uint64_t state = 1;
    long wrong = 0, count = 0;
    for (long i = 0; i < 1000000; i++) {
        state = myco_hash_mix(state, (uint64_t)i);
        uint64_t key = state % MODEL_SIZE;
        void *value = &values[(state >> 32) % MODEL_SIZE], *former = model[key];
        if ((state >> 20) % 3 == 0) {
            wrong += myco_map_get(&map, key) != former;
        } else if ((state >> 20) % 3 == 1) {
            wrong += myco_map_put(&map, key, value) != former;
            model[key] = value;
        } else {
            wrong += myco_map_del(&map, key) != former;
            model[key] = NULL;
        }
    }
    for (int i = 0; i < MODEL_SIZE; i++) count += model[i] != NULL;
    is_int(wrong, 0, "a million operations agree with the model");
    is_int(map.count, count, "and so does the count");
    ok(map.slot_capacity <= 4 * MODEL_SIZE, "removals don't make it grow (%u slots)",
        map.slot_capacity);
    myco_map_free(&map);
}

int main(void)
{
    test_order();
    test_remove_while_iterating();
    test_model();
    return plan_done();
}
