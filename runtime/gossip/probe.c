/* Probes: is that member still there?
 *
 *     0 ms   PING to one member, the next of a shuffled round; to two, among up to five
 *   100 ms   no ACK: PING_REQ to three others, who ping it for us, as our own path may be the bad
 *            one, and say NACK when they hear nothing in time; and PING by the connection to it,
 *            as a network may lose UDP and let TCP pass
 *   200 ms   no ACK from anywhere: suspected; the next probe starts
 *
 * A ping to a suspect says so in the same datagram (Lifeguard's buddy system), so that a refutation
 * takes one round trip, and so does an ACK to a sender that is believed suspect, dead or gone.
 *
 * Local health, 0 … 8: when our probes fail and even those we asked don't say NACK, it is probably
 * we who are slow. Each point stretches our waiting by as much again, each answered probe takes one
 * back. The pace stays, as up to eight probes are under way at once: when most of a cluster is
 * gone, the survivor must not take all day to find out.
 *
 * A probe names the generation that it means. A process that was started again answers as well, and
 * says who it is now. */
#include "gossip/state.h"

#define FEW 5 /* members, with this node */

static bool known_alive(const struct myco__member *member)
{
    return member->pub.state == MYCO_MEMBER_ALIVE;
}

static uint64_t patience(const struct myco_swim *swim, unsigned ms)
{
    return (uint64_t)ms * (1 + swim->health);
}

void myco__health_add(struct myco_swim *swim, int points)
{
    int health = (int)swim->health + points;
    swim->health = health < 0 ? 0 : health > MYCO__HEALTH_MAX ? MYCO__HEALTH_MAX : (unsigned)health;
}

/* ── Asking ─────────────────────────────────────────────────────────────────────────────────── */

static void write_ping(struct myco_swim *swim, const struct myco__member *target, uint32_t sequence)
{
    struct myco__message ping = {.type = MYCO__PING,
        .sequence = sequence,
        .id = target->pub.id,
        .generation = target->pub.generation};
    myco__begin(swim);
    myco__encode_message(&swim->out, &ping);
    if (!known_alive(target)) myco__encode_member(swim, target, false);
    myco__queue_fill(swim);
}

static void send_ping(struct myco_swim *swim, const struct myco__member *target, uint32_t sequence)
{
    write_ping(swim, target, sequence);
    myco__send(swim, &target->pub.addr);
}

static struct myco__probe *free_probe(struct myco_swim *swim, uint64_t id)
{
    struct myco__probe *found = NULL;
    for (unsigned i = 0; i < MYCO__PROBES_MAX; i++) {
        struct myco__probe *probe = &swim->probes[i];
        if (probe->active && probe->id == id) return NULL;
        if (!probe->active && !found) found = probe;
    }
    return found;
}

/* Nothing happens when the member is being probed already. */
void myco__probe_start(struct myco_swim *swim, struct myco__member *target)
{
    struct myco__probe *probe = free_probe(swim, target->pub.id);
    if (!probe) return;
    uint64_t now_ms = myco_now_ms(swim->env);
    unsigned whole_ms =
        swim->probe_ms > 2 * swim->timeout_ms ? swim->probe_ms : 2 * swim->timeout_ms;
    *probe = (struct myco__probe){.active = true,
        .id = target->pub.id,
        .generation = target->pub.generation,
        .sequence = ++swim->sequence,
        .ask_due_ms = now_ms + patience(swim, swim->timeout_ms),
        .end_due_ms = now_ms + patience(swim, whole_ms)};
    send_ping(swim, target, probe->sequence);
    myco__swim_schedule(swim);
}

static void ask_others(struct myco_swim *swim, struct myco__probe *probe)
{
    probe->asked = true;
    struct myco__member *target = myco__member_get(swim, probe->id);
    if (!target) return;
    write_ping(swim, target, probe->sequence);
    (void)myco__send_mesh(swim, probe->id);
    struct myco__member *picked[MYCO__PROBES_MAX];
    unsigned count = swim->indirect < MYCO__PROBES_MAX ? swim->indirect : MYCO__PROBES_MAX;
    count = myco__members_pick(swim, probe->id, count, picked);
    struct myco__message request = {.type = MYCO__PING_REQ,
        .sequence = probe->sequence,
        .id = probe->id,
        .generation = probe->generation,
        .addr = target->pub.addr};
    for (unsigned i = 0; i < count; i++) {
        myco__begin(swim);
        myco__encode_message(&swim->out, &request);
        myco__queue_fill(swim);
        myco__send_member(swim, picked[i]);
    }
    probe->nacks_due = count;
}

static void fail(struct myco_swim *swim, struct myco__probe *probe)
{
    probe->active = false;
    unsigned missing = probe->nacks_due > probe->nacks ? probe->nacks_due - probe->nacks : 0;
    myco__health_add(swim, probe->nacks_due > 0 ? (int)missing : 1);
    struct myco__member *target = myco__member_get(swim, probe->id);
    if (!target || !myco__member_live(target)) return;
    if (target->pub.generation != probe->generation) return;
    MYCO_DEBUG(swim->env->log, "gossip", "no answer", "name=%s health=%u nacks=%u/%u",
        target->pub.name, swim->health, probe->nacks, probe->nacks_due);
    myco__members_set(swim, target, MYCO_MEMBER_SUSPECT);
}

/* ── Answering ──────────────────────────────────────────────────────────────────────────────── */

static void answer(struct myco_swim *swim, const struct myco__path *from,
    const struct myco__header *header, const struct myco__message *ping)
{
    const struct myco_member *self = &swim->self.pub;
    struct myco__message ack = {.type = MYCO__ACK,
        .sequence = ping->sequence,
        .id = self->id,
        .generation = self->generation};
    myco__begin(swim);
    myco__encode_message(&swim->out, &ack);
    const struct myco__member *sender = myco__member_get(swim, header->id);
    if (sender && !known_alive(sender) && sender->pub.generation == header->generation) {
        myco__encode_member(swim, sender, false);
    }
    if (ping->generation != self->generation || self->state != MYCO_MEMBER_ALIVE) {
        myco__encode_member(swim, &swim->self, true);
    }
    myco__queue_fill(swim);
    myco__send_back(swim, from);
}

/* For another node. With no slot left nothing is said: that node takes it for our being slow,
 * rightly. */
static void relay_ping(
    struct myco_swim *swim, const struct myco__path *from, const struct myco__message *request)
{
    unsigned at = 0;
    while (at < MYCO__RELAYS_MAX && swim->relays[at].active) at++;
    if (at == MYCO__RELAYS_MAX || request->id == swim->self.pub.id) return;
    uint64_t now_ms = myco_now_ms(swim->env);
    struct myco__relay *relay = &swim->relays[at];
    *relay = (struct myco__relay){.active = true,
        .from = *from,
        .sequence = ++swim->sequence,
        .asked_sequence = request->sequence,
        .id = request->id,
        .nack_due_ms = now_ms + swim->timeout_ms * 4 / 5,
        .end_due_ms = now_ms + swim->probe_ms};
    struct myco__member *known = myco__member_get(swim, request->id);
    if (known && known->pub.generation == request->generation) {
        send_ping(swim, known, relay->sequence);
    } else {
        struct myco__member target = {.pub = {.name = "",
                                          .id = request->id,
                                          .generation = request->generation,
                                          .addr = request->addr}};
        send_ping(swim, &target, relay->sequence);
    }
    myco__swim_schedule(swim);
}

static void relay_send(
    struct myco_swim *swim, const struct myco__relay *relay, uint8_t type, uint64_t generation)
{
    struct myco__message message = {
        .type = type, .sequence = relay->asked_sequence, .id = relay->id, .generation = generation};
    myco__begin(swim);
    myco__encode_message(&swim->out, &message);
    myco__queue_fill(swim);
    myco__send_back(swim, &relay->from);
}

/* It lives, but UDP between us is lost: said once, as all goes on by the connection. */
static void answered_by(struct myco_swim *swim, uint64_t id, bool mesh)
{
    struct myco__member *member = myco__member_get(swim, id);
    if (!member) return;
    if (!mesh) {
        member->by_mesh = 0;
        return;
    }
    MYCO_METRIC_ADD(swim->env->metrics, GOSSIP_BY_TCP, 1);
    if (member->by_mesh < MYCO__BY_MESH_MAX) member->by_mesh++;
    if (member->by_mesh < MYCO__BY_MESH_MAX || member->warned) return;
    member->warned = true;
    char text[MYCO_ADDR_TEXT_MAX];
    MYCO_WARN(swim->env->log, "gossip",
        "UDP to a member is lost, TCP is not: let it through, gossip is slower without",
        "name=%s addr=%s", member->pub.name, myco_addr_text(&member->pub.addr, text));
}

static void hear_ack(
    struct myco_swim *swim, const struct myco__path *from, const struct myco__message *ack)
{
    for (unsigned i = 0; i < MYCO__PROBES_MAX; i++) {
        struct myco__probe *probe = &swim->probes[i];
        if (!probe->active || probe->sequence != ack->sequence || probe->id != ack->id) continue;
        probe->active = false;
        myco__health_add(swim, -1);
        answered_by(swim, ack->id, from->mesh != 0);
    }
    for (unsigned i = 0; i < MYCO__RELAYS_MAX; i++) {
        struct myco__relay *relay = &swim->relays[i];
        if (!relay->active || relay->sequence != ack->sequence || relay->id != ack->id) continue;
        relay->active = false;
        relay_send(swim, relay, MYCO__ACK, ack->generation);
    }
}

static void hear_nack(struct myco_swim *swim, const struct myco__message *nack)
{
    for (unsigned i = 0; i < MYCO__PROBES_MAX; i++) {
        struct myco__probe *probe = &swim->probes[i];
        if (probe->active && probe->sequence == nack->sequence) probe->nacks++;
    }
}

void myco__probe_receive(struct myco_swim *swim, const struct myco__path *from,
    const struct myco__header *header, const struct myco__message *message)
{
    switch (message->type) {
    case MYCO__PING:
        if (message->id == swim->self.pub.id) answer(swim, from, header, message);
        break;
    case MYCO__PING_REQ:
        if (swim->self.pub.state == MYCO_MEMBER_ALIVE) relay_ping(swim, from, message);
        break;
    case MYCO__ACK: hear_ack(swim, from, message); break;
    case MYCO__NACK: hear_nack(swim, message); break;
    default: break;
    }
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t myco__probe_due(const struct myco_swim *swim)
{
    uint64_t due = swim->probe_due_ms;
    for (unsigned i = 0; i < MYCO__PROBES_MAX; i++) {
        const struct myco__probe *probe = &swim->probes[i];
        if (!probe->active) continue;
        due = sooner(due, probe->asked ? probe->end_due_ms : probe->ask_due_ms);
    }
    for (unsigned i = 0; i < MYCO__RELAYS_MAX; i++) {
        const struct myco__relay *relay = &swim->relays[i];
        if (!relay->active) continue;
        due = sooner(due, relay->nacked ? relay->end_due_ms : relay->nack_due_ms);
    }
    return due;
}

static void relays_tick(struct myco_swim *swim, uint64_t now_ms)
{
    for (unsigned i = 0; i < MYCO__RELAYS_MAX; i++) {
        struct myco__relay *relay = &swim->relays[i];
        if (relay->active && !relay->nacked && now_ms >= relay->nack_due_ms) {
            relay->nacked = true; /* an ACK may still come, and is passed on */
            relay_send(swim, relay, MYCO__NACK, 0);
        }
        if (relay->active && now_ms >= relay->end_due_ms) relay->active = false;
    }
}

void myco__probe_tick(struct myco_swim *swim, uint64_t now_ms)
{
    relays_tick(swim, now_ms);
    for (unsigned i = 0; i < MYCO__PROBES_MAX; i++) {
        struct myco__probe *probe = &swim->probes[i];
        if (probe->active && !probe->asked && now_ms >= probe->ask_due_ms) ask_others(swim, probe);
        if (probe->active && now_ms >= probe->end_due_ms) fail(swim, probe);
    }
    if (now_ms < swim->probe_due_ms) return;
    swim->probe_due_ms = now_ms + swim->probe_ms;
    /* Among few, two of them: each is asked about by somebody every 100 ms or so. */
    for (unsigned count = myco__members_live(swim) <= FEW ? 2 : 1; count > 0; count--) {
        struct myco__member *target = myco__members_next_probe(swim);
        if (target) myco__probe_start(swim, target);
    }
}

/* This node was paused: the answers may lie in its socket, unread. */
void myco__probe_shift(struct myco_swim *swim, uint64_t by_ms)
{
    for (unsigned i = 0; i < MYCO__PROBES_MAX; i++) {
        struct myco__probe *probe = &swim->probes[i];
        uint64_t shift_ms = by_ms + (probe->graced ? 0 : swim->timeout_ms);
        probe->ask_due_ms += shift_ms;
        probe->end_due_ms += shift_ms;
        probe->graced = true;
    }
}
