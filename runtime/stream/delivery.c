/* Handing messages to local subscribers.
 *
 * A message published here waits for a later turn of the loop, in order, with the subscribers that
 * it had when it was published, and not more than 64 MiB of such messages wait. One that came from
 * a peer is handed over at once, out of the connection's own buffer: nobody's call is on the stack.
 *
 * Of a queue group the members take turns, among those whose pattern matches. A subscriber that
 * unsubscribed meanwhile is passed over; its memory goes with the last message that mentions it. */
#include "stream/state.h"

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"

#define TURN_MAX 4096 /* messages in one turn of the loop: then sockets and timers get theirs */
#define NEAR_MAX 16

struct delivery {
    struct myco_list link;
    struct myco_msg msg; /* into the bytes behind subs */
    size_t size;
    size_t sub_count;
    struct myco_bus_sub *subs[];
};

void myco__sub_unref(struct myco_bus_sub *sub)
{
    MYCO_ASSERT(sub->refs > 0);
    if (--sub->refs == 0) myco_free(sub);
}

/* ── Choosing ───────────────────────────────────────────────────────────────────────────────── */

static void on_match(void *value, void *data)
{
    struct myco_bus *bus = data;
    struct myco_bus_sub *sub = value;
    struct myco__group *group = sub->interest->group;
    MYCO__ARRAY_ADD(&bus->matched, sub);
    if (!group) return;
    if (group->stamp != bus->stamp) {
        group->stamp = bus->stamp;
        group->count = group->seen = group->candidate_count = 0;
    }
    group->count++;
}

static bool is_turn(struct myco_bus *bus, struct myco__group *group, bool all_groups)
{
    if (!all_groups && group->wanted_stamp != bus->stamp) return false;
    if (group->seen == 0) group->pick = group->turn++ % group->count;
    return group->seen++ == group->pick;
}

void myco__choose(struct myco_bus *bus, struct myco_slice subject, bool plain, bool all_groups)
{
    bus->matched.count = bus->chosen.count = 0;
    myco_trie_match(bus->local, subject, on_match, bus);
    for (size_t i = 0; i < bus->matched.count; i++) {
        struct myco_bus_sub *sub = bus->matched.items[i];
        struct myco__group *group = sub->interest->group;
        if (group ? is_turn(bus, group, all_groups) : plain) MYCO__ARRAY_ADD(&bus->chosen, sub);
    }
}

/* ── Delivering ─────────────────────────────────────────────────────────────────────────────── */

static void call(struct myco_bus *bus, struct myco_bus_sub *sub, const struct myco_msg *msg)
{
    if (!sub->closed) {
        MYCO_METRIC_ADD(bus->env->metrics, DELIVERED, 1);
        sub->cb(msg, sub->data);
    }
    myco__sub_unref(sub);
}

static void delivery_drop(struct myco_bus *bus, struct delivery *delivery)
{
    bus->queue_bytes -= delivery->size;
    myco_free(delivery);
}

static void on_turn(void *data)
{
    struct myco_bus *bus = data;
    struct myco_list *last = bus->queue.prev; /* what callbacks publish waits for the next turn */
    for (unsigned i = 0; i < TURN_MAX && !myco_list_empty(&bus->queue); i++) {
        struct myco_list *link = myco_list_pop(&bus->queue);
        struct delivery *delivery = MYCO_CONTAINER(link, struct delivery, link);
        bool passes = myco__fence_passes(bus, &delivery->msg.fence);
        for (size_t j = 0; j < delivery->sub_count; j++) {
            if (passes)
                call(bus, delivery->subs[j], &delivery->msg);
            else
                myco__sub_unref(delivery->subs[j]);
        }
        delivery_drop(bus, delivery);
        if (link == last) break;
    }
    if (!myco_list_empty(&bus->queue)) {
        myco_defer_cancel(&bus->deliver);
        myco_defer(bus->env, &bus->deliver, on_turn, bus);
    }
}

static struct myco_slice place(uint8_t **at, struct myco_slice bytes)
{
    struct myco_slice placed = myco_bytes(*at, bytes.size);
    if (bytes.size > 0) memcpy(*at, bytes.data, bytes.size);
    *at += bytes.size;
    return placed;
}

int myco__deliver_later(struct myco_bus *bus, const struct myco_msg *msg)
{
    size_t count = bus->chosen.count;
    if (count == 0) return 0;
    size_t fence = msg->fence.name ? strlen(msg->fence.name) + 1 : 0;
    size_t bytes = msg->subject.size + msg->reply.size + msg->data.size + fence;
    size_t size = sizeof(struct delivery) + count * sizeof(struct myco_bus_sub *) + bytes;
    if (bus->queue_bytes + size > MYCO__QUEUE_BYTES_MAX) return MYCO_EFULL;
    struct delivery *delivery = myco_try_alloc(size);
    if (!delivery) return MYCO_ENOMEM;
    uint8_t *at = (uint8_t *)&delivery->subs[count];
    delivery->size = size;
    delivery->sub_count = count;
    delivery->msg.subject = place(&at, msg->subject);
    delivery->msg.reply = place(&at, msg->reply);
    delivery->msg.data = place(&at, msg->data);
    delivery->msg.publisher = msg->publisher;
    delivery->msg.fence = msg->fence;
    if (fence) delivery->msg.fence.name = place(&at, myco_bytes(msg->fence.name, fence)).data;
    for (size_t i = 0; i < count; i++) {
        delivery->subs[i] = bus->chosen.items[i];
        delivery->subs[i]->refs++;
    }
    bus->queue_bytes += size;
    if (myco_list_empty(&bus->queue)) {
        myco_defer_cancel(&bus->deliver);
        myco_defer(bus->env, &bus->deliver, on_turn, bus);
    }
    myco_list_append(&bus->queue, &delivery->link);
    return 0;
}

/* The callbacks may publish and subscribe: what was chosen is kept aside. */
void myco__deliver_now(struct myco_bus *bus, const struct myco_msg *msg)
{
    struct myco_bus_sub *near[NEAR_MAX], **subs = near;
    size_t count = bus->chosen.count;
    if (count > NEAR_MAX) subs = myco_alloc(count * sizeof(*subs));
    for (size_t i = 0; i < count; i++) {
        subs[i] = bus->chosen.items[i];
        subs[i]->refs++;
    }
    for (size_t i = 0; i < count; i++) call(bus, subs[i], msg);
    if (subs != near) myco_free(subs);
}

void myco__delivery_free(struct myco_bus *bus)
{
    myco_defer_cancel(&bus->deliver);
    for (struct myco_list *link; (link = myco_list_pop(&bus->queue));) {
        struct delivery *delivery = MYCO_CONTAINER(link, struct delivery, link);
        for (size_t i = 0; i < delivery->sub_count; i++) myco__sub_unref(delivery->subs[i]);
        delivery_drop(bus, delivery);
    }
    myco_free(bus->matched.items);
    myco_free(bus->chosen.items);
}
