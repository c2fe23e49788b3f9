/* Connections between simulated hosts: dialled, shaken hands on, lost and found to be lost.
 *
 *   dialler                       acceptor
 *     | -- SYN (number, who) -----> |   no process: REFUSED back. Other id: FOREIGN. Not linked:
 * CLOSED. | <---- answer -------------- |   cut, machine off or paused: nothing, and the dialler's
 * patience ends on_up  -- final --------------> on_up
 *
 * Both dial; when two dials cross, the lower host's is the one that counts. How it breaks: a killed
 * process resets its connections at once, a machine without power is only silent, and so is a cut
 * in the direction from the other end. The one that lost it tells the other (RESET) where it can;
 * where it can't, the other finds out by silence (TIMEOUT). After a connection that stood, the next
 * dial is made at once; after an attempt that failed, with a back-off. */
#include "env/sim_private.h"

#define BACKOFF_MS_MIN 25
#define BACKOFF_MS_MAX 1000

static struct myco_sim *sim_of(const struct sim_link *link)
{
    return link->host->sim;
}

static uint64_t silence_ns(const struct myco_sim *sim)
{
    return sim->options.silence_ms * MYCO_SIM_MS;
}

struct sim_link *myco__sim_link(struct sim_host *host, uint64_t peer)
{
    return myco_map_get(&host->transport.links, peer);
}

/* An event about the link of `host` to `peer`; a = peer, b = a number that says which life is
 * meant. */
static void push_link_event(struct sim_host *host, uint64_t peer, uint64_t number, uint64_t c,
    uint64_t at, sim_event_cb run)
{
    struct sim_event *event = myco__sim_host_event(host, at, run);
    event->a = peer;
    event->b = number;
    event->c = c;
    myco__sim_event_push(event);
}

/* ── Down ───────────────────────────────────────────────────────────────────────────────────── */

static void plan_dial(struct sim_link *link, uint64_t delay_ns);
static void run_verify(struct sim_event *event);

static void call_down(struct sim_link *link, bool was_up, enum myco_down_reason reason)
{
    struct sim_host *host = link->host;
    myco__sim_trace(host->sim, SIM_TRACE_DOWN, host->index, was_up ? link->remote : MYCO_SIM_NONE,
        was_up, reason + 1);
    if (host->transport.events.on_down == NULL) return;
    myco__sim_enter(host);
    host->transport.events.on_down(link->peer, was_up, reason, host->transport.events.data);
    myco__sim_leave(host);
}

/* The other end still believes in `session`: it will hear of it, or it will hear nothing. */
static void tell_other_end(
    struct sim_host *from, struct sim_host *to, uint64_t peer, uint64_t session)
{
    struct myco_sim *sim = from->sim;
    if (!to->up) return;
    bool heard = from->powered && !myco_sim_is_cut(sim, from->index, to->index);
    uint64_t delay = heard ? myco__sim_delay(sim, from->index, to->index) : silence_ns(sim);
    push_link_event(to, peer, session, !heard, sim->now + delay, run_verify);
}

static void end_life(struct sim_link *link)
{
    link->host->transport.up_count -= link->up;
    link->up = false;
    link->accepting = 0;
    myco__sim_flow_drop(link);
}

static void take_down(struct sim_link *link)
{
    struct sim_host *other = sim_of(link)->hosts[link->remote];
    end_life(link);
    tell_other_end(link->host, other, link->host->transport.id, link->session);
}

static void lose(struct sim_link *link, enum myco_down_reason reason)
{
    take_down(link);
    plan_dial(link, reason == MYCO_DOWN_CLOSED ? BACKOFF_MS_MIN * MYCO_SIM_MS : 0);
    call_down(link, true, reason);
}

static bool other_end_stands(const struct sim_link *link)
{
    struct sim_host *other = sim_of(link)->hosts[link->remote];
    if (!other->up) return false;
    struct sim_link *back = myco__sim_link(other, link->host->transport.id);
    return back != NULL && back->up && back->session == link->session;
}

/* c: silence is over. Otherwise the other end's reset arrives; when a cut swallows it, silence
 * starts. */
static void run_verify(struct sim_event *event)
{
    struct sim_host *host = event->sim->hosts[event->host];
    struct sim_link *link = myco__sim_link(host, event->a);
    if (link == NULL || !link->up || link->session != event->b || other_end_stands(link)) return;
    struct sim_host *other = event->sim->hosts[link->remote];
    bool heard = other->powered && !myco_sim_is_cut(event->sim, other->index, host->index);
    if (heard)
        lose(link, MYCO_DOWN_RESET);
    else if (event->c)
        lose(link, MYCO_DOWN_TIMEOUT);
    else
        push_link_event(
            host, event->a, event->b, 1, event->sim->now + silence_ns(event->sim), run_verify);
}

/* Silence of the other end, checked once it had lasted long enough; c: the cut or pause that it
 * began with. */
static void run_silence(struct sim_event *event)
{
    struct sim_host *host = event->sim->hosts[event->host];
    struct sim_link *link = myco__sim_link(host, event->a);
    if (link == NULL || !link->up || link->session != event->b) return;
    struct sim_host *other = event->sim->hosts[link->remote];
    struct sim_direction *in = myco__sim_direction(event->sim, other->index, host->index, false);
    bool cut = in != NULL && in->cut && in->cut_since <= event->c;
    bool stopped = other->up && other->paused && other->paused_since <= event->c;
    if (cut || stopped) lose(link, MYCO_DOWN_TIMEOUT);
}

static void watch_silence(struct sim_link *link)
{
    struct myco_sim *sim = sim_of(link);
    push_link_event(
        link->host, link->peer, link->session, sim->now, sim->now + silence_ns(sim), run_silence);
}

/* ── Up ─────────────────────────────────────────────────────────────────────────────────────── */

static void bring_up(
    struct sim_link *link, unsigned remote, uint64_t session, uint64_t first_arrival)
{
    struct sim_host *host = link->host;
    const struct sim_transport *other = &host->sim->hosts[remote]->transport;
    link->host->transport.up_count += !link->up;
    link->up = true;
    link->remote = remote;
    link->session = session;
    link->dialling = link->accepting = 0;
    link->backoff_ms = BACKOFF_MS_MIN;
    link->dial_stamp++;
    myco__sim_flow_start(link, first_arrival);
    watch_silence(link);
    myco__sim_trace(host->sim, SIM_TRACE_UP, host->index, remote, 0, session);
    if (host->transport.events.on_up == NULL) return;
    myco__sim_enter(host);
    host->transport.events.on_up(
        link->peer, other->generation, other->features, host->transport.events.data);
    myco__sim_leave(host);
}

/* At the acceptor: a = the dialler's id, b = handshake, c = dialler's host. */
static void run_final(struct sim_event *event)
{
    struct sim_host *host = event->sim->hosts[event->host];
    struct sim_link *link = myco__sim_link(host, event->a);
    if (link == NULL || link->accepting != event->b) return;
    struct sim_host *dialler = event->sim->hosts[event->c];
    struct sim_link *back = myco__sim_link(dialler, host->transport.id);
    bool cut = myco_sim_is_cut(event->sim, dialler->index, host->index);
    if (cut || !dialler->up || back == NULL || !back->up || back->session != event->b) {
        link->accepting = 0;
        return;
    }
    bring_up(link, dialler->index, event->b, event->sim->now);
}

static void attempt_failed(struct sim_link *link, enum myco_down_reason reason)
{
    struct myco_sim *sim = sim_of(link);
    link->dialling = 0;
    uint64_t backoff = link->backoff_ms * MYCO_SIM_MS;
    plan_dial(link, myco_sim_random_between(&sim->net_random, backoff / 2, backoff));
    link->backoff_ms =
        link->backoff_ms * 2 < BACKOFF_MS_MAX ? link->backoff_ms * 2 : BACKOFF_MS_MAX;
    call_down(link, false, reason);
}

/* At the dialler: a = peer, b = handshake, c = reason + 1, or 0 when it was accepted. */
static void run_answer(struct sim_event *event)
{
    struct myco_sim *sim = event->sim;
    struct sim_host *host = sim->hosts[event->host];
    struct sim_link *link = myco__sim_link(host, event->a);
    if (link == NULL || link->up || link->dialling != event->b) return;
    unsigned remote = myco_sim_host_of(sim, &link->addr);
    if (remote == MYCO_SIM_NONE || myco_sim_is_cut(sim, remote, host->index)) return;
    if (event->c != 0) {
        attempt_failed(link, (enum myco_down_reason)(event->c - 1));
        return;
    }
    uint64_t arrival = sim->now + myco__sim_delay(sim, host->index, remote);
    push_link_event(
        sim->hosts[remote], host->transport.id, event->b, host->index, arrival, run_final);
    bring_up(link, remote, event->b, arrival);
    /* Should the last message of the handshake be lost, this end finds out by silence. */
    push_link_event(host, event->a, event->b, 0, arrival + silence_ns(sim), run_verify);
}

static void run_patience(struct sim_event *event)
{
    struct sim_link *link = myco__sim_link(event->sim->hosts[event->host], event->a);
    if (link != NULL && !link->up && link->dialling == event->b)
        attempt_failed(link, MYCO_DOWN_TIMEOUT);
}

/* ── Dial ───────────────────────────────────────────────────────────────────────────────────── */

enum { ACCEPTED, IGNORED = 1000 };

/* The link to one that dials; when there is none, the host may make one. */
static struct sim_link *link_for(struct sim_host *host, uint64_t peer)
{
    struct sim_transport *transport = &host->transport;
    struct sim_link *link = myco__sim_link(host, peer);
    if ((link != NULL && link->linked) || transport->events.on_dialled == NULL) return link;
    myco__sim_enter(host);
    transport->events.on_dialled(peer, transport->events.data);
    myco__sim_leave(host);
    return myco__sim_link(host, peer);
}

/* What the machine at the other end makes of a SYN: accepted, a reason + 1, or silence. */
static unsigned judge_syn(
    struct sim_host *host, struct sim_host *dialler, uint64_t wanted, uint64_t number)
{
    struct sim_transport *transport = &host->transport;
    if (!host->powered || host->paused) return IGNORED;
    if (!host->up || !transport->attached) return MYCO_DOWN_REFUSED + 1;
    if (transport->id != wanted) return MYCO_DOWN_DISPLACED + 1;
    struct sim_link *link = link_for(host, dialler->transport.id);
    if (link == NULL || !link->linked) return MYCO_DOWN_CLOSED + 1;
    if (link->up) lose(link, MYCO_DOWN_RESET); /* the other end has a new life: this one is over */
    link = myco__sim_link(host, dialler->transport.id);
    if (link == NULL || !link->linked) return MYCO_DOWN_CLOSED + 1; /* on_down unlinked it */
    if (link->dialling != 0 && host->index < dialler->index) return IGNORED;
    link->dialling = 0;
    link->accepting = number;
    link->accept_until = host->sim->now + silence_ns(host->sim);
    return ACCEPTED;
}

/* a = the id that is wanted, b = handshake, c = dialler << 32 | target. An event of the world: it
 * meets a machine, not a process. */
static void run_syn(struct sim_event *event)
{
    struct myco_sim *sim = event->sim;
    struct sim_host *dialler = sim->hosts[event->c >> 32], *host = sim->hosts[(uint32_t)event->c];
    struct sim_link *link = dialler->up ? myco__sim_link(dialler, event->a) : NULL;
    if (link == NULL || link->dialling != event->b) return;
    if (myco_sim_is_cut(sim, dialler->index, host->index)) return;
    unsigned answer = judge_syn(host, dialler, event->a, event->b);
    if (answer == IGNORED) return;
    uint64_t at = sim->now + myco__sim_delay(sim, host->index, dialler->index);
    push_link_event(dialler, event->a, event->b, answer, at, run_answer);
}

static void run_dial(struct sim_event *event)
{
    struct myco_sim *sim = event->sim;
    struct sim_host *host = sim->hosts[event->host];
    struct sim_link *link = myco__sim_link(host, event->a);
    if (link == NULL || !link->linked || link->up || link->dial_stamp != event->b) return;
    if (link->accepting != 0 && sim->now < link->accept_until) {
        plan_dial(link, link->accept_until - sim->now);
        return;
    }
    link->accepting = 0;
    link->dialling = ++sim->next_session;
    unsigned target = myco_sim_host_of(sim, &link->addr);
    push_link_event(host, link->peer, link->dialling, 0, sim->now + silence_ns(sim), run_patience);
    if (target == MYCO_SIM_NONE || target == host->index) return;
    struct sim_event *syn =
        myco__sim_event(sim, sim->now + myco__sim_delay(sim, host->index, target), run_syn);
    syn->a = link->peer;
    syn->b = link->dialling;
    syn->c = (uint64_t)host->index << 32 | target;
    myco__sim_event_push(syn);
}

static void plan_dial(struct sim_link *link, uint64_t delay_ns)
{
    push_link_event(
        link->host, link->peer, ++link->dial_stamp, 0, sim_of(link)->now + delay_ns, run_dial);
}

/* ── What the rest of the world does to connections ─────────────────────────────────────────── */

/* Calls what is linked to a host, as far as it stands: fn(link of the other end). */
static void each_other_end(struct sim_host *host, void (*fn)(struct sim_link *other))
{
    MYCO_MAP_EACH (struct sim_link, link, &host->transport.links) {
        if (!link->up) continue;
        struct sim_host *other = host->sim->hosts[link->remote];
        struct sim_link *back = other->up ? myco__sim_link(other, host->transport.id) : NULL;
        if (back != NULL && back->up && back->session == link->session) fn(back);
    }
}

void myco__sim_transport_crashed(struct sim_host *host, enum myco_sim_crash how)
{
    (void)how; /* host->powered says it */
    MYCO_MAP_EACH (struct sim_link, link, &host->transport.links) {
        link->linked = false;
        if (link->up) take_down(link);
    }
    host->transport.attached = false;
}

void myco__sim_transport_paused(struct sim_host *host)
{
    each_other_end(host, watch_silence);
}

void myco__sim_transport_cut(struct myco_sim *sim, unsigned from, unsigned to)
{
    struct sim_link *link = myco__sim_link(sim->hosts[to], sim->hosts[from]->transport.id);
    if (sim->hosts[to]->up && link != NULL && link->up) watch_silence(link);
}

void myco__sim_transport_mended(struct myco_sim *sim, unsigned from, unsigned to)
{
    struct sim_link *link = myco__sim_link(sim->hosts[from], sim->hosts[to]->transport.id);
    if (link != NULL && link->up && link->remote == to) myco__sim_flow_release(link);
}

/* Seen by `from` now, and by the other end when its reset arrives. */
void myco__sim_transport_broken(struct myco_sim *sim, unsigned from, unsigned to)
{
    struct sim_link *link = myco__sim_link(sim->hosts[from], sim->hosts[to]->transport.id);
    if (!sim->hosts[from]->up || sim->hosts[from]->paused) return;
    if (link != NULL && link->up && link->remote == to) lose(link, MYCO_DOWN_RESET);
}

/* ── The interface ──────────────────────────────────────────────────────────────────────────── */

static struct sim_transport *transport_of(struct myco_transport *transport)
{
    return MYCO_CONTAINER(transport, struct sim_transport, base);
}

static void op_link(struct myco_transport *base, uint64_t peer, const struct myco_addr *addr)
{
    struct sim_host *host = transport_of(base)->host;
    if (!host->up || peer == host->transport.id) return;
    struct sim_link *link = myco__sim_link(host, peer);
    if (link != NULL && link->linked && (link->up || myco_addr_equal(&link->addr, addr))) {
        link->addr = *addr; /* counts from the next dial on */
        return;
    }
    if (link == NULL) {
        link = myco_alloc(sizeof(*link));
        link->host = host;
        link->peer = peer;
        myco__sim_flow_init(link);
        myco_map_put(&host->transport.links, peer, link);
    }
    link->addr = *addr;
    link->linked = true;
    link->dialling = 0;
    link->backoff_ms = BACKOFF_MS_MIN;
    plan_dial(link, 0);
}

/* One that meets a cut is lost, and silence will have to say it. */
static void run_goodbye(struct sim_event *event)
{
    struct sim_host *host = event->sim->hosts[event->host];
    struct sim_link *link = myco__sim_link(host, event->a);
    if (link == NULL || !link->up || link->session != event->b) return;
    if (myco_sim_is_cut(event->sim, link->remote, event->host))
        run_verify(event);
    else
        lose(link, MYCO_DOWN_CLOSED);
}

/* The entry stays, void: a core that unlinks inside of a callback about this link is on our
 * stack. */
static void op_unlink(struct myco_transport *base, uint64_t peer)
{
    struct sim_host *host = transport_of(base)->host;
    struct sim_link *link = myco__sim_link(host, peer);
    if (link == NULL || !link->linked) return;
    struct myco_sim *sim = host->sim;
    link->linked = false;
    link->dialling = link->accepting = 0;
    link->dial_stamp++;
    if (!link->up) return;
    struct sim_host *other = sim->hosts[link->remote];
    if (other->up) {
        uint64_t at = sim->now + myco__sim_delay(sim, host->index, other->index);
        push_link_event(other, host->transport.id, link->session, 0, at, run_goodbye);
    }
    end_life(link);
}

static bool op_is_up(struct myco_transport *base, uint64_t peer)
{
    struct sim_link *link = myco__sim_link(transport_of(base)->host, peer);
    return link != NULL && link->up;
}

static int op_send(struct myco_transport *base, uint64_t peer, enum myco_lane lane, uint8_t type,
    struct myco_buf *payload)
{
    struct sim_link *link = myco__sim_link(transport_of(base)->host, peer);
    int status =
        link == NULL || !link->up ? MYCO_ENOTCONN : myco__sim_flow_send(link, lane, type, payload);
    myco_buf_free(payload); /* what was sent is moved out by now */
    return status;
}

static const struct myco_transport_ops transport_ops = {
    .link = op_link,
    .unlink = op_unlink,
    .is_up = op_is_up,
    .send = op_send,
};

void myco__sim_transport_init(struct sim_transport *transport, struct sim_host *host)
{
    transport->base.ops = &transport_ops;
    transport->host = host;
}

void myco__sim_transport_close(struct sim_transport *transport)
{
    MYCO_MAP_EACH (struct sim_link, link, &transport->links) {
        myco__sim_flow_drop(link);
        myco_free(link);
    }
    myco_map_free(&transport->links);
    transport->up_count = 0;
    memset(&transport->events, 0, sizeof(transport->events));
    transport->attached = false;
}

void myco_sim_attach(struct myco_sim *sim, unsigned index, uint64_t id, uint64_t generation,
    uint64_t features, const struct myco_transport_events *events)
{
    struct sim_transport *transport = &myco__sim_host(sim, index)->transport;
    MYCO_ASSERT(transport->host->up && transport->links.count == 0);
    transport->id = id;
    transport->generation = generation;
    transport->features = features;
    transport->events = *events;
    transport->attached = true;
}

unsigned myco_sim_connections(struct myco_sim *sim, unsigned host)
{
    return myco__sim_host(sim, host)->transport.up_count;
}
