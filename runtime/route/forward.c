/* RELAY messages that come in: those for this node go up, those of others on, without a look at
 * what is in them. A message for many goes to each next neighbour once.
 *
 * What can't go on is not silently lost: whoever sent it is told (BREAK), for each destination.
 * Such a word can be lost in turn; the sender's clock is there for that. */
#include "route/route_private.h"
#include "wire/message.h"

static void refuse(struct myco_route *route, const struct myco__relay *relay,
    const struct myco__relay_dest *dest, uint64_t prev, enum myco_route_drop why)
{
    struct myco__peer *back = myco__route_peer(route, prev);
    route->stats.dropped[why]++;
    MYCO_METRIC_ADD(route->env->metrics, RELAY_DROPPED, 1);
    MYCO_TRACE(route->env->log, "route", "not passed on", "from=%016llx to=%016llx why=\"%s\"",
        (unsigned long long)relay->from, (unsigned long long)dest->to, myco_route_drop_text(why));
    if (relay->kind != MYCO__RELAY_DATA || !back || !back->up) return;
    struct myco_buf payload = {0};
    myco_buf_u64(&payload, dest->to);
    myco_buf_u32(&payload, dest->tag);
    myco_buf_u8(&payload, (uint8_t)why);
    myco__flow_say(route, back, relay->from, MYCO__RELAY_BREAK, 0, &payload);
}

/* All from `first` on whose neighbour is the same. */
static void pass_group(
    struct myco_route *route, const struct myco__relay *relay, uint16_t first, uint64_t prev)
{
    struct myco__peer *hop = route->hops[first];
    struct myco__relay next = *relay;
    struct myco_buf buf = {0};
    next.hops--;
    next.count = 0;
    myco_buf_reserve(&buf, relay->payload.size + MYCO__RELAY_DEST_SIZE + MYCO__RELAY_END_SIZE);
    myco_buf_bytes(&buf, relay->payload.data, relay->payload.size);
    for (uint16_t i = first; i < relay->count; i++) {
        struct myco__relay_dest dest = myco__relay_dest(relay, i);
        if (route->hops[i] != hop) continue;
        myco__relay_put_dest(&buf, &dest);
        next.count++;
    }
    myco__relay_put_end(&buf, &next, next.count);
    size_t size = buf.size;
    int rc = route->below->ops->send(route->below, hop->id, next.lane, MYCO_MESSAGE_RELAY, &buf);
    if (rc == 0) {
        route->stats.relayed_messages++;
        route->stats.relayed_bytes += size;
        MYCO_METRIC_ADD(route->env->metrics, RELAYED_MESSAGES, 1);
        MYCO_METRIC_ADD(route->env->metrics, RELAYED_BYTES, size);
    }
    for (uint16_t i = first; i < relay->count; i++) {
        if (route->hops[i] != hop) continue;
        struct myco__relay_dest dest = myco__relay_dest(relay, i);
        route->hops[i] = NULL;
        if (rc) refuse(route, relay, &dest, prev, MYCO_ROUTE_DROP_FULL);
    }
}

static void pass_on(struct myco_route *route, const struct myco__relay *relay, uint64_t prev)
{
    for (uint16_t i = 0; i < relay->count; i++) {
        struct myco__relay_dest dest = myco__relay_dest(relay, i);
        route->hops[i] = NULL;
        if (dest.to == route->options.self) continue;
        bool may = relay->hops > 0 && relay->from != route->options.self;
        if (may) route->hops[i] = myco__next_hop(route, dest.to, prev);
        if (!route->hops[i])
            refuse(route, relay, &dest, prev, may ? MYCO_ROUTE_DROP_NO_PATH : MYCO_ROUTE_DROP_LOOP);
    }
    for (uint16_t i = 0; i < relay->count; i++)
        if (route->hops[i]) pass_group(route, relay, i, prev);
}

static void take(struct myco_route *route, const struct myco__relay *relay,
    const struct myco__relay_dest *dest, uint64_t prev)
{
    switch (relay->kind) {
    case MYCO__RELAY_DATA: myco__flow_on_data(route, relay, dest, prev); return;
    case MYCO__RELAY_OPEN: myco__session_on_open(route, relay->from, prev, relay->payload); return;
    case MYCO__RELAY_ACK: myco__flow_on_ack(route, relay, dest); return;
    case MYCO__RELAY_BREAK: myco__session_on_break(route, relay->payload); return;
    default: return;
    }
}

void myco__relay_receive(struct myco_route *route, uint64_t prev, struct myco_slice bytes)
{
    struct myco__relay relay;
    if (myco__relay_decode(&relay, bytes) != 0) {
        MYCO_METRIC_ADD(route->env->metrics, FRAMES_REFUSED, 1);
        return;
    }
    pass_on(route, &relay, prev);
    if (relay.from == route->options.self) return;
    for (uint16_t i = 0; i < relay.count; i++) {
        struct myco__relay_dest dest = myco__relay_dest(&relay, i);
        if (dest.to != route->options.self) continue;
        take(route, &relay, &dest, prev);
        return; /* once, whatever it names */
    }
}
