/* The way of one message: who gets it, once each.
 *
 *   local subscriptions that match    plain: all        in a queue group: one, by turns
 *   peers whose interest matches      plain: each peer  in a queue group without a member here: one
 *                                     once              peer by lot, weighted by its patterns
 *
 * A message crosses each connection once: it carries the names of the groups whose receiver is to
 * be found there, and whether plain subscribers want it too. When a peer can't take it, its groups
 * go to another candidate, in a message of their own where that one had the first already. So a
 * full or dying member does not swallow what others of its group could have had; only plain
 * subscribers on a full node miss the message, and the publisher is told (EFULL). */
#include "stream/state.h"

#include "base/err.h"
#include "base/mem.h"
#include "env/transport.h"
#include "wire/message.h"

#define GROUPS_MAX   128         /* named in one message; more that match: EFULL */
#define OVERHEAD_MAX (64 * 1024) /* of a message: names of groups, subject, reply */

/* ── Remote receivers ───────────────────────────────────────────────────────────────────────── */

static void target(struct myco_bus *bus, struct myco__peer *peer)
{
    if (peer->queued) return;
    peer->queued = true;
    MYCO__ARRAY_ADD(&bus->targets, peer);
}

static void add_candidate(struct myco_bus *bus, struct myco__group *group, struct myco__peer *peer)
{
    if (group->stamp != bus->stamp) {
        group->stamp = bus->stamp;
        group->count = group->candidate_count = 0;
    }
    if (group->count > 0) return; /* one of our own takes it */
    if (group->candidate_count++ == 0) {
        group->candidates = 0;
        MYCO__ARRAY_ADD(&bus->open_groups, group);
    }
    struct myco__candidate candidate = {peer, group->candidates};
    MYCO__ARRAY_ADD(&bus->candidates, candidate);
    group->candidates = bus->candidates.count;
}

static void on_wish(void *value, void *data)
{
    struct myco_bus *bus = data;
    struct myco__interest *wish = value;
    if (wish->group) {
        add_candidate(bus, wish->group, wish->peer);
    } else {
        wish->peer->plain = true;
        target(bus, wish->peer);
    }
}

static const struct myco__candidate *candidate_at(const struct myco_bus *bus, size_t at)
{
    return at ? &bus->candidates.items[at - 1] : NULL;
}

/* Failed already, or with more groups than one message names. */
static bool is_out(const struct myco_bus *bus, const struct myco__peer *peer)
{
    return peer->failed_stamp == bus->stamp || peer->assigned_count == GROUPS_MAX;
}

/* One of the candidates by lot; NULL: there is none left. */
static struct myco__peer *draw(const struct myco_bus *bus, const struct myco__group *group)
{
    const struct myco__candidate *candidate = candidate_at(bus, group->candidates);
    size_t count = 0;
    for (; candidate; candidate = candidate_at(bus, candidate->next)) {
        count += !is_out(bus, candidate->peer);
    }
    if (count == 0) return NULL;
    uint64_t n = count > 1 ? myco_random_below(bus->env, count) : 0;
    candidate = candidate_at(bus, group->candidates);
    while (is_out(bus, candidate->peer) || n-- > 0) candidate = candidate_at(bus, candidate->next);
    return candidate->peer;
}

static bool assign(struct myco_bus *bus, struct myco__group *group)
{
    struct myco__peer *peer = draw(bus, group);
    if (!peer) return false;
    target(bus, peer);
    struct myco__assigned assigned = {group, peer->assigned};
    MYCO__ARRAY_ADD(&bus->assigned, assigned);
    peer->assigned = bus->assigned.count;
    peer->assigned_count++;
    return true;
}

/* ── Sending ────────────────────────────────────────────────────────────────────────────────── */

static void encode(const struct myco_bus *bus, const struct myco__peer *peer,
    const struct myco_msg *msg, struct myco_buf *payload)
{
    myco_buf_reserve(payload, msg->data.size + msg->subject.size + msg->reply.size + 8);
    if (msg->fence.name) myco__fence_write(payload, &msg->fence);
    myco_buf_u8(payload, peer->plain ? MYCO__PUBLISH_PLAIN : 0);
    myco_buf_u16(payload, peer->assigned_count);
    for (size_t at = peer->assigned; at; at = bus->assigned.items[at - 1].next) {
        myco__write_short(payload, myco__group_name(bus->assigned.items[at - 1].group));
    }
    myco__write_short(payload, msg->subject);
    myco__write_short(payload, msg->reply);
    myco_buf_bytes(payload, msg->data.data, msg->data.size);
}

static uint8_t type_of(const struct myco_msg *msg)
{
    return msg->fence.name ? MYCO_MESSAGE_PUBLISH_FENCED : MYCO_MESSAGE_PUBLISH;
}

static bool knows(
    const struct myco_bus *bus, const struct myco__peer *peer, const struct myco_msg *msg)
{
    return !msg->fence.name || !bus->events.knows ||
           bus->events.knows(peer->id, MYCO_MESSAGE_PUBLISH_FENCED, bus->events.data);
}

static int send_to(struct myco_bus *bus, struct myco__peer *peer, const struct myco_msg *msg)
{
    struct myco_buf payload = {0};
    if (!knows(bus, peer, msg)) return MYCO_ENOTCONN;
    encode(bus, peer, msg, &payload);
    if (payload.failed) {
        myco_buf_free(&payload);
        return MYCO_ENOMEM;
    }
    bus->sending = true;
    int rc = bus->events.send(peer->id, type_of(msg), &payload, bus->events.data);
    bus->sending = false;
    return rc;
}

/* A peer that is not connected any more does not count as a subscriber; any other trouble is
 * said. */
static int after_failure(
    struct myco_bus *bus, struct myco__peer *peer, int rc, bool plain, size_t assigned)
{
    bool lost = plain;
    peer->failed_stamp = bus->stamp;
    while (assigned) {
        struct myco__assigned item = bus->assigned.items[assigned - 1];
        lost |= !assign(bus, item.group);
        assigned = item.next;
    }
    if (!lost || rc == MYCO_ENOTCONN) return 0;
    MYCO_METRIC_ADD(bus->env->metrics, DROPPED, 1);
    return rc;
}

/* What became of the message to one peer: whoever else could have had its groups gets them. */
static int conclude(struct myco_bus *bus, struct myco__peer *peer, int rc, size_t *nodes)
{
    bool plain = peer->plain;
    size_t assigned = peer->assigned;
    peer->queued = peer->plain = false;
    peer->assigned = 0;
    peer->assigned_count = 0;
    if (rc) return after_failure(bus, peer, rc, plain, assigned);
    if (peer->sent_stamp != bus->stamp) {
        peer->sent_stamp = bus->stamp;
        ++*nodes;
    }
    return 0;
}

/* Peers of which no group is wanted get the same bytes, whoever they are: given to the transport at
 * once, so that the message crosses each connection once when hubs pass it on. */
static int send_alike(struct myco_bus *bus, const struct myco_msg *msg, size_t *nodes)
{
    struct myco_buf payload = {0};
    int result = 0;
    bus->alike.count = bus->alike_ids.count = bus->alike_results.count = 0;
    for (size_t i = 0; i < bus->targets.count; i++) {
        struct myco__peer *peer = bus->targets.items[i];
        if (peer->assigned_count || !knows(bus, peer, msg)) continue;
        MYCO__ARRAY_ADD(&bus->alike, peer);
        MYCO__ARRAY_ADD(&bus->alike_ids, peer->id);
        MYCO__ARRAY_ADD(&bus->alike_results, MYCO_ENOMEM);
    }
    if (bus->alike.count < 2 || !bus->events.send_many) return 0;
    encode(bus, bus->alike.items[0], msg, &payload);
    bus->sending = true;
    if (!payload.failed)
        bus->events.send_many(bus->alike_ids.items, bus->alike.count, type_of(msg), &payload,
            bus->alike_results.items, bus->events.data);
    bus->sending = false;
    myco_buf_free(&payload);
    for (size_t i = 0; i < bus->alike.count; i++) {
        int rc = conclude(bus, bus->alike.items[i], bus->alike_results.items[i], nodes);
        if (rc) result = rc;
    }
    return result;
}

static int send_all(struct myco_bus *bus, const struct myco_msg *msg, size_t *nodes)
{
    int result = send_alike(bus, msg, nodes);
    for (size_t i = 0; i < bus->targets.count; i++) { /* failures append to it */
        struct myco__peer *peer = bus->targets.items[i];
        if (!peer->queued) continue; /* has it */
        int rc = conclude(bus, peer, send_to(bus, peer, msg), nodes);
        if (rc) result = rc;
    }
    return result;
}

static int publish_remote(struct myco_bus *bus, const struct myco_msg *msg, size_t *nodes)
{
    bus->open_groups.count = bus->candidates.count = 0;
    bus->assigned.count = bus->targets.count = 0;
    if (myco_trie_match(bus->remote, msg->subject, on_wish, bus) == 0) return 0;
    bool all = true;
    for (size_t i = 0; i < bus->open_groups.count; i++) {
        all &= assign(bus, bus->open_groups.items[i]);
    }
    int rc = send_all(bus, msg, nodes);
    return rc || all ? rc : MYCO_EFULL;
}

/* ── Publishing and receiving ───────────────────────────────────────────────────────────────── */

static int check(const struct myco_msg *msg, struct myco_err *err)
{
    int rc = myco_subject_check(msg->subject, false, err);
    if (!rc && msg->reply.size > 0) rc = myco_subject_check(msg->reply, false, err);
    if (!rc && msg->data.size > MYCO_MESSAGE_SIZE_MAX - OVERHEAD_MAX) {
        rc = myco_err(err, MYCO_ETOOBIG, "message of %zu bytes is larger than %d", msg->data.size,
            MYCO_MESSAGE_SIZE_MAX - OVERHEAD_MAX);
    }
    return rc;
}

int myco_bus_publish(struct myco_bus *bus, struct myco_slice subject, struct myco_slice data,
    struct myco_slice reply, size_t *receivers, struct myco_err *err)
{
    static const struct myco_fence none = {NULL, 0};
    return myco_bus_publish_fenced(bus, subject, data, reply, &none, receivers, err);
}

int myco_bus_publish_fenced(struct myco_bus *bus, struct myco_slice subject, struct myco_slice data,
    struct myco_slice reply, const struct myco_fence *fence, size_t *receivers,
    struct myco_err *err)
{
    struct myco_msg msg = {
        .subject = subject, .data = data, .reply = reply, .publisher = bus->self, .fence = *fence};
    if (receivers) *receivers = 0;
    int rc = check(&msg, err);
    if (!rc) rc = myco__fence_publish(bus, fence, err);
    if (rc) return rc;
    if (bus->tell_pending) myco__interest_tell(bus);
    MYCO_METRIC_ADD(bus->env->metrics, PUBLISHED, 1);
    bus->stamp++;
    size_t nodes = 0;
    myco__choose(bus, subject, true, true);
    size_t local = bus->chosen.count;
    int remote_rc = publish_remote(bus, &msg, &nodes);
    int local_rc = myco__deliver_later(bus, &msg);
    if (local_rc) {
        MYCO_METRIC_ADD(bus->env->metrics, DROPPED, 1);
        local = 0;
    }
    if (receivers) *receivers = local + nodes;
    if (local_rc) return myco_err(err, local_rc, "subscribers of this node take no more now");
    if (remote_rc) return myco_err(err, remote_rc, "a subscriber's node takes no more now");
    return 0;
}

void myco__publish_receive(
    struct myco_bus *bus, uint64_t from, uint8_t type, struct myco_slice payload)
{
    struct myco__publication publication;
    struct myco_fence fence = {NULL, 0};
    char name[MYCO_FENCE_NAME_SIZE_MAX + 1];
    bool fenced = type == MYCO_MESSAGE_PUBLISH_FENCED;
    if ((fenced && !myco__fence_decode(&payload, name, &fence)) ||
        !myco__publication_decode(payload, &publication)) {
        MYCO_METRIC_ADD(bus->env->metrics, FRAMES_REFUSED, 1);
        MYCO_WARN(bus->env->log, "stream", "message refused: malformed", "node=%016llx size=%zu",
            (unsigned long long)from, payload.size);
        return;
    }
    if (!myco__fence_passes(bus, &fence)) return;
    bus->stamp++;
    for (unsigned i = 0; i < publication.group_count; i++) {
        struct myco__group *group = myco__group_get(bus, myco__read_short(&publication.groups));
        if (group) group->wanted_stamp = bus->stamp;
    }
    struct myco_msg msg = {.subject = publication.subject,
        .data = publication.data,
        .reply = publication.reply,
        .publisher = from,
        .fence = fence};
    myco__choose(bus, msg.subject, publication.plain, false);
    myco__deliver_now(bus, &msg);
}
