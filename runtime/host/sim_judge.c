/* The judge of what clients saw: each key is a register, and all operations on it must fit into one
 * order in which each takes effect between its call and its answer; one that ended EUNKNOWN, or
 * whose node died, may have taken effect at any later time, or never. Source: Wing & Gong, "Testing
 * and Verifying Concurrent Objects" (1993); Lowe's memo of configurations (2017). */
#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "host/sim_world.h"

#define STEPS_MAX 20000000

struct judge {
    struct sim_operation *const *operations;
    size_t count, first; /* all before `first` are done */
    uint8_t *done;
    struct myco_map seen; /* hash of (done, value): tried, and did not lead to the end */
    uint64_t hash, steps;
};

static bool certain(const struct sim_operation *operation)
{
    return operation->to_ns != UINT64_MAX;
}

static bool deletes(const struct sim_operation *operation, uint64_t value, uint64_t *after)
{
    *after = 0;
    if (!certain(operation)) return true;
    return operation->status == MYCO_ENOTFOUND ? value == 0 : value != 0;
}

/* Does the operation fit where the register holds `value`? *after: what it holds then. */
static bool fits(const struct sim_operation *operation, uint64_t value, uint64_t *after)
{
    bool conflict = operation->status == MYCO_ECONFLICT;
    *after = value;
    switch (operation->what) {
    case SIM_GET:
        return operation->status == MYCO_ENOTFOUND ? value == 0 : operation->value == value;
    case SIM_DEL: return deletes(operation, value, after);
    case SIM_PUT: *after = operation->value; return true;
    case SIM_ADD:
    case SIM_CAS: {
        bool may = operation->what == SIM_ADD ? value == 0 : value == operation->expected;
        if (conflict) return !may;
        if (!may) return !certain(operation);
        *after = operation->value;
        return true;
    }
    }
    return false;
}

/* Operations are sorted by call. One may be next if no other that is still to come was answered
 * before it was called. */
static bool search(struct judge *judge, uint64_t value)
{
    uint64_t first_answer = UINT64_MAX;
    bool left = false;
    for (size_t i = judge->first; i < judge->count; i++) {
        if (judge->done[i]) continue;
        if (judge->operations[i]->from_ns > first_answer) break;
        left |= certain(judge->operations[i]);
        if (judge->operations[i]->to_ns < first_answer) first_answer = judge->operations[i]->to_ns;
    }
    if (!left) return true;
    if (++judge->steps > STEPS_MAX) return true; /* said by the caller */
    uint64_t configuration = myco_hash_mix(judge->hash, value) | 1;
    if (myco_map_get(&judge->seen, configuration)) return false;
    myco_map_put(&judge->seen, configuration, judge);
    size_t first = judge->first;
    for (size_t i = first; i < judge->count && judge->operations[i]->from_ns <= first_answer; i++) {
        uint64_t after;
        if (judge->done[i] || !fits(judge->operations[i], value, &after)) continue;
        uint64_t bit = myco_hash_mix(i + 1, 0x9e3779b97f4a7c15ull);
        judge->done[i] = 1;
        judge->hash ^= bit;
        while (judge->first < judge->count && judge->done[judge->first]) judge->first++;
        if (search(judge, after)) return true;
        judge->first = first;
        judge->done[i] = 0;
        judge->hash ^= bit;
    }
    return false;
}

static void print_history(const struct judge *judge, unsigned key)
{
    static const char *const names[] = {"get", "put", "del", "add", "cas"};
    for (size_t i = 0; i < judge->count; i++) {
        const struct sim_operation *operation = judge->operations[i];
        fprintf(stderr, "  k%u %s %llu  n%u  %.3f … %.3f ms  %s\n", key, names[operation->what],
            (unsigned long long)operation->value, operation->host + 1,
            (double)operation->from_ns / 1e6,
            certain(operation) ? (double)operation->to_ns / 1e6 : -1,
            myco_errname(operation->status));
    }
}

bool sim_judge(struct sim_operation *const *operations, size_t count, unsigned key)
{
    struct judge judge = {.operations = operations, .count = count};
    judge.done = myco_alloc(count + 1);
    bool ok = search(&judge, 0);
    if (!ok) print_history(&judge, key);
    if (judge.steps > STEPS_MAX)
        fprintf(stderr, "sim: the history of k%u is too hard to judge\n", key);
    myco_map_free(&judge.seen);
    myco_free(judge.done);
    return ok;
}
