/* What flows over a simulated connection: lanes that fill up, bursts that take their time, order.
 *
 *   send → lane (bounded) → pump: a burst of at most 64 KiB, lower lanes first → flies → arrives,
 * in order
 *
 * A message that is larger than a burst leaves in pieces and arrives with its last one, so that
 * control overtakes bulk. At most WINDOW bytes fly; a receiver that is paused, or a cut, so fills
 * the lane. A burst that meets a cut is kept and goes on when that is mended, as TCP would send it
 * again. */
#include "env/sim_private.h"

#define ENVELOPE_SIZE 16
#define BURST_SIZE    (64 * 1024)
#define WINDOW        (1024 * 1024)
#define RESEND_NS     (200 * MYCO_SIM_MS)

struct burst {
    struct myco_list messages;
    size_t size;
    uint64_t number;
};

static void free_messages(struct myco_list *messages)
{
    struct myco_list *item;
    while ((item = myco_list_pop(messages)) != NULL) {
        struct sim_message *message = MYCO_CONTAINER(item, struct sim_message, link);
        myco_buf_free(&message->payload);
        myco_free(message);
    }
}

static void drop_burst(struct sim_event *event)
{
    struct burst *burst = event->p;
    if (burst == NULL) return;
    free_messages(&burst->messages);
    myco_free(burst);
}

static size_t lane_limit(const struct sim_link *link, unsigned lane)
{
    const struct myco_sim_options *options = &link->host->sim->options;
    return lane == MYCO_LANE_CONTROL ? options->control_size_max : options->lane_size_max;
}

static size_t whole_size(const struct sim_message *message)
{
    return message->payload.size + ENVELOPE_SIZE;
}

/* ── Arriving ───────────────────────────────────────────────────────────────────────────────── */

static void plan_pump(struct sim_link *link);

static void deliver(struct sim_link *link, struct burst *burst)
{
    struct sim_host *host = link->host;
    const struct myco_transport_events *events = &host->transport.events;
    uint64_t session = link->session;
    struct myco_list *item;
    while (
        link->up && link->session == session && (item = myco_list_pop(&burst->messages)) != NULL) {
        struct sim_message *message = MYCO_CONTAINER(item, struct sim_message, link);
        struct myco_slice bytes = myco_buf_as_slice(&message->payload);
        myco__sim_trace(host->sim, SIM_TRACE_MESSAGE, host->index, link->remote, bytes.size,
            myco_hash_mix(myco_hash(bytes.data, bytes.size), message->type));
        host->traffic.messages_in++;
        host->traffic.message_bytes_in += bytes.size + ENVELOPE_SIZE;
        myco__sim_enter(host);
        if (events->on_message != NULL)
            events->on_message(link->peer, message->type, bytes, events->data);
        myco__sim_leave(host);
        myco_buf_free(&message->payload);
        myco_free(message);
    }
}

/* The sender's window opens. */
static void acknowledge(struct sim_link *link, size_t size)
{
    struct sim_link *back =
        myco__sim_link(link->host->sim->hosts[link->remote], link->host->transport.id);
    if (back == NULL || !back->up || back->session != link->session) return;
    back->flying -= size;
    plan_pump(back);
}

static void accept_burst(struct sim_link *link, struct sim_event *event)
{
    struct burst *burst = event->p;
    link->burst_expected++;
    acknowledge(link, burst->size);
    deliver(link, burst);
}

static struct sim_event *next_early(struct sim_link *link)
{
    MYCO_LIST_EACH (item, &link->early) {
        struct sim_event *event = MYCO_CONTAINER(item, struct sim_event, link);
        if (((struct burst *)event->p)->number == link->burst_expected) {
            myco_list_remove(item);
            return event;
        }
    }
    return NULL;
}

/* Keeps what an event carries after the event itself is done. */
static struct sim_event *keep(struct sim_event *event)
{
    struct sim_event *kept = myco__sim_event(event->sim, event->at, event->run);
    kept->host = event->host;
    kept->boot = event->boot;
    kept->drop = event->drop;
    kept->a = event->a;
    kept->b = event->b;
    kept->c = event->c;
    kept->p = event->p;
    event->p = NULL;
    return kept;
}

/* a = the sender's id, b = session, c = the sender's host. */
static void run_arrive(struct sim_event *event)
{
    struct sim_host *host = event->sim->hosts[event->host];
    struct sim_link *link = myco__sim_link(host, event->a);
    if (link == NULL || !link->up || link->session != event->b) return;
    if (myco_sim_is_cut(event->sim, (unsigned)event->c, host->index)) {
        struct sim_link *sender = myco__sim_link(event->sim->hosts[event->c], host->transport.id);
        if (sender != NULL && sender->up && sender->session == event->b) {
            myco_list_append(&sender->held, &keep(event)->link);
        }
        return;
    }
    if (((struct burst *)event->p)->number != link->burst_expected) {
        myco_list_append(&link->early, &keep(event)->link);
        return;
    }
    accept_burst(link, event);
    struct sim_event *early;
    while (link->up && link->session == event->b && (early = next_early(link)) != NULL) {
        accept_burst(link, early);
        myco__sim_event_free(early);
    }
}

/* ── Leaving ────────────────────────────────────────────────────────────────────────────────── */

static void run_drain(struct sim_event *event)
{
    struct sim_host *host = event->sim->hosts[event->host];
    struct sim_link *link = myco__sim_link(host, event->a);
    const struct myco_transport_events *events = &host->transport.events;
    if (link == NULL || !link->up || link->session != event->b || events->on_drain == NULL) return;
    myco__sim_trace(event->sim, SIM_TRACE_DRAIN, host->index, link->remote, event->c + 1, 0);
    myco__sim_enter(host);
    events->on_drain(link->peer, (enum myco_lane)event->c, events->data);
    myco__sim_leave(host);
}

static void push_own(struct sim_link *link, uint64_t at, uint64_t c, sim_event_cb run)
{
    struct sim_event *event = myco__sim_host_event(link->host, at, run);
    event->a = link->peer;
    event->b = link->session;
    event->c = c;
    myco__sim_event_push(event);
}

/* Moves at most `room` bytes of one lane into the burst; messages of which the last byte left. */
static size_t take_from_lane(
    struct sim_link *link, unsigned index, struct burst *burst, size_t room)
{
    struct sim_lane *lane = &link->lanes[index];
    size_t left = room;
    while (left > 0 && !myco_list_empty(&lane->messages)) {
        struct sim_message *message = MYCO_CONTAINER(lane->messages.next, struct sim_message, link);
        size_t rest = whole_size(message) - message->sent, piece = rest < left ? rest : left;
        message->sent += piece;
        lane->size -= piece;
        left -= piece;
        if (piece < rest) break;
        myco_list_remove(&message->link);
        myco_list_append(&burst->messages, &message->link);
    }
    if (lane->refused && lane->size <= lane_limit(link, index) / 2) {
        lane->refused = false;
        push_own(link, link->host->sim->now, index, run_drain);
    }
    return room - left;
}

static uint64_t arrival_time(struct sim_link *link)
{
    struct myco_sim *sim = link->host->sim;
    const struct myco_sim_path *path = myco__sim_path(sim, link->host->index, link->remote);
    uint64_t at = link->busy_until + myco__sim_delay(sim, link->host->index, link->remote);
    if (myco_sim_random_chance(&sim->net_random, path->loss_ppm)) at += RESEND_NS;
    return at > link->last_arrival ? at : link->last_arrival;
}

static void launch(struct sim_link *link, struct burst *burst)
{
    struct myco_sim *sim = link->host->sim;
    uint64_t byte_ps = myco__sim_path(sim, link->host->index, link->remote)->byte_ps;
    link->busy_until = sim->now + burst->size * byte_ps / 1000;
    link->last_arrival = arrival_time(link);
    link->flying += burst->size;
    burst->number = link->burst_count++;
    struct sim_event *event =
        myco__sim_host_event(sim->hosts[link->remote], link->last_arrival, run_arrive);
    event->a = link->host->transport.id;
    event->b = link->session;
    event->c = link->host->index;
    event->p = burst;
    event->drop = drop_burst;
    myco__sim_event_push(event);
}

static void run_pump(struct sim_event *event)
{
    struct sim_link *link = myco__sim_link(event->sim->hosts[event->host], event->a);
    if (link == NULL || !link->up || link->session != event->b) return;
    link->pumping = false;
    struct burst *burst = myco_alloc(sizeof(*burst));
    myco_list_init(&burst->messages);
    for (unsigned lane = 0; lane < MYCO_LANE_COUNT; lane++) {
        burst->size += take_from_lane(link, lane, burst, BURST_SIZE - burst->size);
    }
    launch(link, burst);
    plan_pump(link);
}

static bool has_messages(const struct sim_link *link)
{
    for (unsigned lane = 0; lane < MYCO_LANE_COUNT; lane++) {
        if (!myco_list_empty(&link->lanes[lane].messages)) return true;
    }
    return false;
}

static void plan_pump(struct sim_link *link)
{
    if (link->pumping || link->flying >= WINDOW || !has_messages(link)) return;
    link->pumping = true;
    push_own(link, link->busy_until, 0, run_pump);
}

int myco__sim_flow_send(
    struct sim_link *link, enum myco_lane index, uint8_t type, struct myco_buf *payload)
{
    struct sim_lane *lane = &link->lanes[index];
    if (payload->failed) return MYCO_ENOMEM;
    if (payload->size > MYCO_MESSAGE_SIZE_MAX) return MYCO_ETOOBIG;
    if (lane->size > 0 && lane->size + payload->size + ENVELOPE_SIZE > lane_limit(link, index)) {
        lane->refused = true;
        return MYCO_EFULL;
    }
    struct sim_message *message = myco_alloc(sizeof(*message));
    myco_buf_move(&message->payload, payload);
    message->type = type;
    link->host->traffic.messages_out++;
    link->host->traffic.message_bytes_out += whole_size(message);
    link->host->traffic.type_bytes_out[type] += whole_size(message);
    lane->size += whole_size(message);
    myco_list_append(&lane->messages, &message->link);
    plan_pump(link);
    return 0;
}

/* ── One life of a connection ───────────────────────────────────────────────────────────────── */

void myco__sim_flow_init(struct sim_link *link)
{
    for (unsigned lane = 0; lane < MYCO_LANE_COUNT; lane++)
        myco_list_init(&link->lanes[lane].messages);
    myco_list_init(&link->held);
    myco_list_init(&link->early);
}

void myco__sim_flow_start(struct sim_link *link, uint64_t first_arrival)
{
    myco__sim_flow_drop(link);
    link->busy_until = link->host->sim->now;
    link->last_arrival = first_arrival;
    link->burst_count = link->burst_expected = 0;
}

static void drop_events(struct myco_list *events)
{
    struct myco_list *item;
    while ((item = myco_list_pop(events)) != NULL) {
        myco__sim_event_free(MYCO_CONTAINER(item, struct sim_event, link));
    }
}

void myco__sim_flow_drop(struct sim_link *link)
{
    for (unsigned lane = 0; lane < MYCO_LANE_COUNT; lane++) {
        free_messages(&link->lanes[lane].messages);
        link->lanes[lane].size = 0;
        link->lanes[lane].refused = false;
    }
    drop_events(&link->held);
    drop_events(&link->early);
    link->flying = 0;
    link->pumping = false;
}

void myco__sim_flow_release(struct sim_link *link)
{
    struct myco_sim *sim = link->host->sim;
    uint64_t at = sim->now + myco_sim_random_below(&sim->net_random, RESEND_NS);
    struct myco_list *item;
    while ((item = myco_list_pop(&link->held)) != NULL) {
        struct sim_event *event = MYCO_CONTAINER(item, struct sim_event, link);
        event->at = at;
        myco__sim_event_push(event);
    }
}
