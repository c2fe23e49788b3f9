/* Fences of messages: the newest epoch that this node saw of each name, so that what somebody says
 * who was replaced is not handed to anyone who heard his successor.
 *
 * A message that shows an epoch is judged three times: where it is published (EFENCED), where it
 * comes in, and when its turn comes to be handed over here; at the last two it is dropped, and
 * counted. It is judged by what the owner knows (what the cluster agreed on), and by what was seen.
 * The names seen last are kept, MYCO__FENCES_SEEN_MAX of them: beyond that only the owner judges.
 */
#include "stream/state.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

struct seen {
    struct myco_list link; /* bus->fences_used, the one seen last at the end */
    struct seen *same;     /* the next whose name has this hash */
    uint64_t epoch;
    char name[MYCO_FENCE_NAME_SIZE_MAX + 1];
};

static uint64_t hash_of(const char *name)
{
    return myco_hash(name, strlen(name));
}

static struct seen *find(const struct myco_bus *bus, const char *name)
{
    struct seen *seen = myco_map_get(&bus->fences, hash_of(name));
    while (seen && strcmp(seen->name, name) != 0) seen = seen->same;
    return seen;
}

static void forget(struct myco_bus *bus, struct seen *seen)
{
    uint64_t hash = hash_of(seen->name);
    struct seen *first = myco_map_get(&bus->fences, hash), *at = first;
    if (first == seen) {
        if (seen->same)
            myco_map_put(&bus->fences, hash, seen->same);
        else
            myco_map_del(&bus->fences, hash);
    } else {
        while (at->same != seen) at = at->same;
        at->same = seen->same;
    }
    myco_list_remove(&seen->link);
    myco_free(seen);
}

static struct seen *add(struct myco_bus *bus, const char *name)
{
    uint64_t hash = hash_of(name);
    struct seen *seen = myco_alloc(sizeof *seen);
    if (bus->fences_count == MYCO__FENCES_SEEN_MAX)
        forget(bus, MYCO_CONTAINER(bus->fences_used.next, struct seen, link));
    else
        bus->fences_count++;
    memcpy(seen->name, name, strlen(name) + 1);
    seen->same = myco_map_get(&bus->fences, hash);
    myco_map_put(&bus->fences, hash, seen);
    return seen;
}

static void saw(struct myco_bus *bus, const struct myco_fence *fence)
{
    struct seen *seen = find(bus, fence->name);
    if (seen)
        myco_list_remove(&seen->link);
    else
        seen = add(bus, fence->name);
    if (fence->epoch > seen->epoch) seen->epoch = fence->epoch;
    myco_list_append(&bus->fences_used, &seen->link);
}

static uint64_t newer(const struct myco_bus *bus, const struct myco_fence *fence)
{
    const struct seen *seen = find(bus, fence->name);
    uint64_t agreed =
        bus->events.fence_newer ? bus->events.fence_newer(fence, bus->events.data) : 0;
    uint64_t known = seen && seen->epoch > agreed ? seen->epoch : agreed;
    return known > fence->epoch ? known : 0;
}

int myco__fence_publish(struct myco_bus *bus, const struct myco_fence *fence, struct myco_err *err)
{
    if (!fence->name) return 0;
    size_t size = strlen(fence->name);
    if (!size || size > MYCO_FENCE_NAME_SIZE_MAX || !fence->epoch)
        return myco_err(err, MYCO_EINVAL,
            "a fence has a name of 1 to %d bytes and an epoch above 0", MYCO_FENCE_NAME_SIZE_MAX);
    uint64_t known = newer(bus, fence);
    if (known)
        return myco_err(err, MYCO_EFENCED, "fenced: epoch %llu of '%s' is over, %llu was seen here",
            (unsigned long long)fence->epoch, fence->name, (unsigned long long)known);
    saw(bus, fence);
    return 0;
}

bool myco__fence_passes(struct myco_bus *bus, const struct myco_fence *fence)
{
    if (!fence->name) return true;
    if (newer(bus, fence)) {
        MYCO_METRIC_ADD(bus->env->metrics, MESSAGES_FENCED, 1);
        return false;
    }
    saw(bus, fence);
    return true;
}

void myco__bus_fences_init(struct myco_bus *bus)
{
    myco_list_init(&bus->fences_used);
}

void myco__bus_fences_free(struct myco_bus *bus)
{
    for (struct myco_list *link; (link = myco_list_pop(&bus->fences_used));)
        myco_free(MYCO_CONTAINER(link, struct seen, link));
    myco_map_free(&bus->fences);
}
