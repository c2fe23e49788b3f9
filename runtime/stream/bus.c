/* The bus of a node: its birth, its subscriptions, what comes in from peers.
 *
 * The happy path: a subscription goes into the local trie, and if nobody here wanted the same
 * before, all peers are told (peers.c). A publish is matched against both tries (publish.c): local
 * subscribers get it on the next turn of the loop (delivery.c), peers in one message each.
 *
 * Delivery is at most once. What is not delivered, and who hears of it:
 *   a peer's lane is full                   the publisher: EFULL; the others got it
 *   64 MiB wait for local subscribers       the publisher: EFULL; peers got it
 *   a connection breaks                     nobody; what was on it is lost, its interest forgotten
 *   a peer has not heard of a subscription  nobody: see myco_bus_flush
 *
 * Requests: the answer goes to a subject that the asker subscribed to. Let a node subscribe once to
 * "_inbox.<its id>.*" and tell answers apart by the last token: then a request costs no interest
 * message to every node, and its inbox is one entry in each peer's trie.
 *
 * The owner's send() must not call back into the bus before it returns. */
#include "stream/state.h"

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "wire/message.h"

struct myco_bus *myco_bus_new(
    struct myco_env *env, uint64_t self, const struct myco_bus_events *events)
{
    struct myco_bus *bus = myco_alloc(sizeof(*bus));
    bus->env = env;
    bus->self = self;
    bus->events = *events;
    bus->local = myco_trie_new();
    bus->remote = myco_trie_new();
    myco_list_init(&bus->subs);
    myco_list_init(&bus->queue);
    myco__peers_init(bus);
    myco__bus_fences_init(bus);
    return bus;
}

void myco_bus_free(struct myco_bus *bus)
{
    if (!bus) return;
    myco__delivery_free(bus);
    for (struct myco_list *link; (link = myco_list_pop(&bus->subs));) {
        myco__sub_unref(MYCO_CONTAINER(link, struct myco_bus_sub, link));
    }
    myco__peers_free(bus);
    myco__bus_fences_free(bus);
    myco_trie_free(bus->local);
    myco_trie_free(bus->remote);
    myco_map_free(&bus->groups);
    myco_free(bus->open_groups.items);
    myco_free(bus->candidates.items);
    myco_free(bus->assigned.items);
    myco_free(bus->targets.items);
    myco_free(bus->alike.items);
    myco_free(bus->alike_ids.items);
    myco_free(bus->alike_results.items);
    myco_free(bus);
}

static int check_subscribe(
    struct myco_bus *bus, struct myco_slice pattern, struct myco_slice queue, struct myco_err *err)
{
    int rc = myco_subject_check(pattern, true, err);
    if (rc) return rc;
    if (queue.size > 0 && myco_subject_check(queue, false, err)) {
        return myco_err_wrap(err, "name of the queue group");
    }
    if (bus->sub_count >= MYCO__SUBS_MAX) {
        return myco_err(err, MYCO_EFULL, "this node has %d subscriptions", MYCO__SUBS_MAX);
    }
    return 0;
}

int myco_bus_subscribe(struct myco_bus *bus, struct myco_slice pattern, struct myco_slice queue,
    myco_msg_cb cb, void *data, struct myco_bus_sub **out, struct myco_err *err)
{
    int rc = check_subscribe(bus, pattern, queue, err);
    if (rc) return rc;
    struct myco__interest *interest = myco__interest_get(bus, &bus->ours, pattern, queue);
    if (!interest) interest = myco__interest_add(bus, &bus->ours, pattern, queue);
    struct myco_bus_sub *sub = myco_alloc(sizeof(*sub));
    sub->interest = interest;
    sub->cb = cb;
    sub->data = data;
    sub->refs = 1;
    myco_list_append(&bus->subs, &sub->link);
    bus->sub_count++;
    myco_trie_add(bus->local, pattern, sub);
    if (interest->subs++ == 0) myco__interest_changed(bus, interest);
    *out = sub;
    return 0;
}

void myco_bus_unsubscribe(struct myco_bus *bus, struct myco_bus_sub *sub)
{
    MYCO_ASSERT(!sub->closed);
    struct myco__interest *interest = sub->interest;
    myco_trie_remove(bus->local, myco__interest_pattern(interest), sub);
    sub->closed = true;
    sub->interest = NULL;
    myco_list_remove(&sub->link);
    bus->sub_count--;
    if (--interest->subs == 0) myco__interest_changed(bus, interest);
    myco__sub_unref(sub);
}

void myco_bus_receive(struct myco_bus *bus, uint64_t from, uint8_t type, struct myco_slice payload)
{
    MYCO_ASSERT(!bus->sending);
    switch (type) {
    case MYCO_MESSAGE_INTEREST: myco__interest_receive(bus, from, payload); break;
    case MYCO_MESSAGE_PUBLISH:
    case MYCO_MESSAGE_PUBLISH_FENCED: myco__publish_receive(bus, from, type, payload); break;
    default: MYCO_METRIC_ADD(bus->env->metrics, FRAMES_REFUSED, 1);
    }
}
