/* The event bus of a node: local subscriptions, the interest of other nodes, and the way of a
 * message. A publish goes once to each node that wants it; of a queue group exactly one member gets
 * it (the publisher picks the member's node at random, preferring its own; that node picks the
 * member in turn). A step machine: effects by callbacks. Interest is sent whole to a node whose
 * connection came up, then as changes in order, on the control lane; it carries a serial number so
 * that flush can be awaited. */
#ifndef MYCO_STREAM_BUS_H
#define MYCO_STREAM_BUS_H

#include "env/env.h"
#include "env/transport.h"
#include "stream/subjects.h"

struct myco_bus;
struct myco_bus_sub;

struct myco_bus_events {
    /* MYCO_MESSAGE_INTEREST, _PUBLISH or _PUBLISH_FENCED to a node; takes the payload; the
     * transport's results. */
    int (*send)(uint64_t node, uint8_t type, struct myco_buf *payload, void *data);
    void *data;
    /* The same PUBLISH or PUBLISH_FENCED to several nodes; takes the payload; results[i]: as send()
     * for nodes[i]. NULL: each gets one by send(). */
    void (*send_many)(const uint64_t *nodes, size_t count, uint8_t type, struct myco_buf *payload,
        int *results, void *data);
    /* Whether this node knows messages of that type. NULL: all do. */
    bool (*knows)(uint64_t node, uint8_t type, void *data);
    /* An epoch that the owner knows and that ends the fence's; 0: none. NULL: it knows none. */
    uint64_t (*fence_newer)(const struct myco_fence *fence, void *data);
};

struct myco_bus *myco_bus_new(
    struct myco_env *env, uint64_t self, const struct myco_bus_events *events);
void myco_bus_free(struct myco_bus *bus);
int myco_bus_subscribe(struct myco_bus *bus, struct myco_slice pattern, struct myco_slice queue,
    myco_msg_cb cb, void *data, struct myco_bus_sub **sub, struct myco_err *err);
/* No callback after it; may be called from one. */
void myco_bus_unsubscribe(struct myco_bus *bus, struct myco_bus_sub *sub);
/* Local deliveries run on a later turn of the loop, in order. *receivers (may be NULL): local
 * subscriptions plus nodes that it went to. EFULL: at least one node could not take it (the others
 * got it). */
int myco_bus_publish(struct myco_bus *bus, struct myco_slice subject, struct myco_slice data,
    struct myco_slice reply, size_t *receivers, struct myco_err *err);
/* The same with a fence (name NULL: none): EFENCED when a newer epoch of its name is known here;
 * receivers that know one drop the message. EINVAL: it is none. */
int myco_bus_publish_fenced(struct myco_bus *bus, struct myco_slice subject, struct myco_slice data,
    struct myco_slice reply, const struct myco_fence *fence, size_t *receivers,
    struct myco_err *err);
void myco_bus_receive(struct myco_bus *bus, uint64_t from, uint8_t type, struct myco_slice payload);
void myco_bus_peer_up(struct myco_bus *bus, uint64_t node);
void myco_bus_peer_down(struct myco_bus *bus, uint64_t node); /* forgets its interest */
/* Calls back once every node that is up has acknowledged all interest told so far, or went down. */
void myco_bus_flush(struct myco_bus *bus, void (*done)(void *data), void *data);

#endif
