/* News that rides along on every datagram, until it was told often enough.
 *
 * A member is queued, not a message: what is written is what is believed of it at that moment, so
 * that old news never follows new. Each datagram is filled up with those told least often; one
 * leaves the queue after λ·⌈log10(n + 1)⌉ tellings, which reaches everybody with high probability.
 * While anything is queued, some members chosen by lot get a datagram of news alone four times in
 * each probe period: a death goes round a cluster of 64 within two probe periods. An idle cluster
 * sends none.
 *
 *   queue[0]  ⇄ m3 ⇄ m9      not told yet
 *   queue[1]  ⇄ m1           told once …
 */
#include "gossip/state.h"

#include <math.h>

#define LAMBDA 4
#define FANOUT 3
#define MISSES_MAX                                                                                 \
    8 /* that did not fit: the datagram is as good as full, and thousands may be queued */

static unsigned limit(const struct myco_swim *swim)
{
    double rounds = ceil(log10((double)myco__members_live(swim) + 1));
    unsigned times = LAMBDA * (unsigned)rounds;
    return times < MYCO__TRANSMITS_MAX ? times : MYCO__TRANSMITS_MAX;
}

static bool queue_empty(const struct myco_swim *swim)
{
    for (unsigned i = 0; i < MYCO__TRANSMITS_MAX; i++) {
        if (!myco_list_empty(&swim->queue[i])) return false;
    }
    return true;
}

void myco__queue_add(struct myco_swim *swim, struct myco__member *member)
{
    myco_list_remove(&member->queued);
    member->transmits = 0;
    myco_list_append(&swim->queue[0], &member->queued);
    if (swim->gossip_due_ms != MYCO__NEVER) return;
    swim->gossip_due_ms = myco_now_ms(swim->env) + swim->probe_ms / 20; /* others may follow */
    myco__swim_schedule(swim);
}

void myco__queue_remove(struct myco__member *member)
{
    myco_list_remove(&member->queued);
}

/* Full when alive: that word comes with the details; news otherwise. */
static bool encode(struct myco_swim *swim, const struct myco__member *member)
{
    return myco__encode_member(swim, member, member->pub.state == MYCO_MEMBER_ALIVE);
}

void myco__queue_fill(struct myco_swim *swim)
{
    struct myco_list told;
    unsigned misses = 0;
    myco_list_init(&told);
    for (unsigned i = 0; i < MYCO__TRANSMITS_MAX && misses < MISSES_MAX; i++) {
        MYCO_LIST_EACH (link, &swim->queue[i]) {
            if (misses == MISSES_MAX) break;
            if (!encode(swim, MYCO_CONTAINER(link, struct myco__member, queued))) {
                misses++;
                continue;
            }
            myco_list_remove(link);
            myco_list_append(&told, link);
        }
    }
    unsigned times_max = limit(swim);
    for (struct myco_list *link; (link = myco_list_pop(&told));) {
        struct myco__member *member = MYCO_CONTAINER(link, struct myco__member, queued);
        if (++member->transmits >= times_max) continue;
        myco_list_append(&swim->queue[member->transmits], link);
    }
}

void myco__queue_tick(struct myco_swim *swim, uint64_t now_ms)
{
    if (now_ms < swim->gossip_due_ms) return;
    struct myco__member *picked[FANOUT];
    unsigned count = myco__members_pick(swim, 0, FANOUT, picked);
    for (unsigned i = 0; i < count && !queue_empty(swim); i++) {
        myco__begin(swim);
        myco__queue_fill(swim);
        myco__send_member(swim, picked[i]);
    }
    bool more = count > 0 && !queue_empty(swim);
    swim->gossip_due_ms = more ? now_ms + swim->probe_ms / 4 : MYCO__NEVER;
}

void myco__tell_all(struct myco_swim *swim, const struct myco__member *member)
{
    unsigned told = 0;
    for (uint32_t i = 0; i < swim->order_count && told < MYCO__TELL_ALL_MAX; i++) {
        const struct myco__member *to = swim->order[i];
        if (!myco__member_live(to) || to == member) continue;
        myco__begin(swim);
        encode(swim, member);
        myco__send_member(swim, to);
        told++;
    }
}
