/* Clients of a simulated cluster, and the judge of what they saw: each key is a register, and all
 * operations on it must fit into one order in which each takes effect between its call and its
 * answer; one that ended EUNKNOWN, or whose node died, may have taken effect at any later time, or
 * never. Source: Wing & Gong, "Testing and Verifying Concurrent Objects" (1993); Lowe's memo of
 * configurations (2017). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "host/sim_world.h"

#define KEYS         24
#define CLIENTS_EACH 2 /* of each node */
#define THINK_NS_MAX (120 * MYCO_SIM_MS)
#define HISTORY_MAX  512 /* operations on one key that the judge takes */
#define STEPS_MAX    20000000

enum what { GET, PUT, DEL, ADD /* put if absent */ };

struct event {
    enum what what;
    unsigned key;
    uint64_t value;          /* put: written; get: seen, 0: absent */
    uint64_t from_ns, to_ns; /* UINT64_MAX: never answered, may take effect whenever */
    int status;
    unsigned host;
};

struct client {
    struct sim_clients *clients;
    unsigned host;
    struct event *event; /* under way; NULL: thinking */
    unsigned starts;     /* of the node when it was asked: another life can't answer */
    uint64_t call;       /* answers to former calls are ignored */
};

struct call {
    struct client *client;
    uint64_t number;
};

struct sim_clients {
    struct sim_world *world;
    struct client *list;
    unsigned count;
    struct event **events;
    size_t event_count;
    uint64_t next_value, septum, version_clashes;
    bool stopped, creating;
    uint64_t done[4], unknown, failed;
    struct myco_map versions; /* hash of (key, version) → value */
    bool key_read[KEYS];
};

static void think(struct client *client);

struct sim_clients *sim_clients_new(struct sim_world *world)
{
    struct sim_clients *clients = myco_alloc(sizeof *clients);
    clients->world = world;
    clients->count = world->options.nodes * CLIENTS_EACH;
    clients->list = myco_alloc(clients->count * sizeof *clients->list);
    for (unsigned i = 0; i < clients->count; i++)
        clients->list[i] = (struct client){.clients = clients, .host = i % world->options.nodes};
    return clients;
}

void sim_clients_free(struct sim_clients *clients)
{
    for (size_t i = 0; i < clients->event_count; i++) myco_free(clients->events[i]);
    myco_free(clients->events);
    myco_free(clients->list);
    myco_map_free(&clients->versions);
    myco_free(clients);
}

static struct event *record(
    struct sim_clients *clients, enum what what, unsigned key, uint64_t value, unsigned host)
{
    struct event *event = myco_alloc(sizeof *event);
    *event = (struct event){
        what, key, value, myco_sim_now_ns(clients->world->sim), UINT64_MAX, MYCO_EUNKNOWN, host};
    clients->events =
        myco_realloc(clients->events, (clients->event_count + 1) * sizeof *clients->events);
    clients->events[clients->event_count++] = event;
    return event;
}

/* One version has one value, whoever reads it and when. */
static void check_version(struct sim_clients *clients, const struct event *event, uint64_t version)
{
    uint64_t hash = myco_hash_mix(myco_hash_mix(event->key, version), 7);
    void *was = myco_map_get(&clients->versions, hash);
    if (!was)
        myco_map_put(&clients->versions, hash, (void *)(uintptr_t)event->value);
    else if ((uint64_t)(uintptr_t)was != event->value)
        sim_violated(clients->world, "key k%u: version %llu has two values", event->key,
            (unsigned long long)version);
}

static void answered(const struct myco_result *result, void *data)
{
    struct call *call = data;
    struct client *client = call->client;
    struct sim_clients *clients = client->clients;
    bool stale = call->number != client->call ||
                 client->starts != clients->world->nodes[client->host].starts || !client->event;
    myco_free(call);
    if (stale || !clients->world->nodes[client->host].core)
        return; /* a dead process answers nobody */
    struct event *event = client->event;
    client->event = NULL;
    event->status = result->status;
    event->to_ns = myco_sim_now_ns(clients->world->sim);
    if (result->status == MYCO_EUNKNOWN)
        event->to_ns = UINT64_MAX, clients->unknown++;
    else if (result->status == 0)
        clients->done[event->what]++;
    else
        clients->failed++;
    if (event->what == GET && result->status == 0 && result->value.size == 8)
        memcpy(&event->value, result->value.data, 8);
    if (result->status == 0 && event->what != DEL) check_version(clients, event, result->version);
    if (event->what == GET && (result->status == 0 || result->status == MYCO_ENOTFOUND))
        clients->key_read[event->key] = true;
    myco_sim_note(clients->world->sim, client->host, "client %s k%u %llu: %s",
        (const char *[]){"get", "put", "del", "add"}[event->what], event->key,
        (unsigned long long)event->value, myco_errname(result->status));
    think(client);
}

static void ask(struct client *client, enum what what, unsigned key, unsigned timeout_ms)
{
    struct sim_clients *clients = client->clients;
    struct sim_node *node = &clients->world->nodes[client->host];
    struct call *call = myco_alloc(sizeof *call);
    char text[16];
    uint64_t value = what == PUT || what == ADD ? ++clients->next_value : 0;
    struct myco_put_options options = {.if_absent = what == ADD, .timeout_ms = timeout_ms};
    snprintf(text, sizeof text, "k%u", key);
    client->event = record(clients, what, key, value, client->host);
    client->starts = node->starts;
    *call = (struct call){client, ++client->call};
    if (what == GET)
        myco_core_get(node->core, clients->septum, myco_str(text), timeout_ms, answered, call);
    else if (what == DEL)
        myco_core_del(node->core, clients->septum, myco_str(text), &options, answered, call);
    else
        myco_core_put(node->core, clients->septum, myco_str(text), myco_bytes(&value, 8), &options,
            answered, call);
}

static void act(void *data)
{
    struct client *client = data;
    struct sim_clients *clients = client->clients;
    struct sim_node *node = &clients->world->nodes[client->host];
    struct myco_sim_random *random = myco_sim_random(clients->world->sim);
    if (clients->stopped || clients->world->violation[0]) return;
    if (client->event && (!node->core || node->starts != client->starts))
        client->event = NULL; /* it died with the node */
    if (client->event || !node->core || !myco_core_ready(node->core) || !clients->septum ||
        myco_sim_paused(clients->world->sim, client->host)) {
        think(client);
        return;
    }
    static const enum what mix[] = {GET, GET, GET, PUT, PUT, PUT, ADD, DEL};
    ask(client, mix[myco_sim_random_below(random, 8)],
        (unsigned)myco_sim_random_below(random, KEYS), 2000);
}

/* A client that waits for a dead node looks again later. */
static void think(struct client *client)
{
    struct sim_clients *clients = client->clients;
    myco_sim_at(clients->world->sim,
        myco_sim_random_below(myco_sim_random(clients->world->sim), THINK_NS_MAX), act, client);
    if (client->event) return;
}

static void watch_dead(void *data)
{
    struct sim_clients *clients = data;
    for (unsigned i = 0; i < clients->count; i++) {
        struct client *client = &clients->list[i];
        struct sim_node *node = &clients->world->nodes[client->host];
        if (!client->event || (node->core && node->starts == client->starts)) continue;
        client->event = NULL;
        think(client);
    }
    myco_sim_at(clients->world->sim, 50 * MYCO_SIM_MS, watch_dead, clients);
}

static void created(const struct myco_result *result, void *data)
{
    struct sim_clients *clients = data;
    clients->creating = false;
    if (result->status == 0) clients->septum = result->version;
}

static void create(void *data)
{
    struct sim_clients *clients = data;
    struct sim_node *node = &clients->world->nodes[0];
    if (clients->septum || clients->world->violation[0]) return;
    if (!clients->creating && node->core) {
        clients->creating = true;
        myco_core_septum(
            node->core, "registers", "kind=durable hyphae=8 replicas=1", 3000, created, clients);
    }
    myco_sim_at(clients->world->sim, 100 * MYCO_SIM_MS, create, clients);
}

void sim_clients_start(struct sim_world *world)
{
    struct sim_clients *clients = world->clients;
    myco_sim_at(world->sim, 0, create, clients);
    myco_sim_at(world->sim, 0, watch_dead, clients);
    for (unsigned i = 0; i < clients->count; i++) think(&clients->list[i]);
}

void sim_clients_stop(struct sim_world *world)
{
    world->clients->stopped = true;
    memset(world->clients->key_read, 0, sizeof world->clients->key_read);
}

bool sim_clients_idle(struct sim_world *world)
{
    for (unsigned i = 0; i < world->clients->count; i++)
        if (world->clients->list[i].event) return false;
    return true;
}

/* Every key was read: while the clients run, by them; afterwards, one by one, as the last word of
 * the history. */
bool sim_clients_ready(struct sim_world *world)
{
    struct sim_clients *clients = world->clients;
    struct client *reader = &clients->list[0];
    if (!clients->septum) return false;
    for (unsigned key = 0; key < KEYS; key++) {
        if (clients->key_read[key]) continue;
        if (clients->stopped && !reader->event && world->nodes[reader->host].core)
            ask(reader, GET, key, 2000);
        return false;
    }
    return true;
}

void sim_clients_report(struct sim_world *world, FILE *file)
{
    struct sim_clients *clients = world->clients;
    fprintf(file,
        "  %zu operations: %llu get, %llu put, %llu del, %llu put-if-absent, %llu refused, %llu "
        "unknown\n",
        clients->event_count, (unsigned long long)clients->done[GET],
        (unsigned long long)clients->done[PUT], (unsigned long long)clients->done[DEL],
        (unsigned long long)clients->done[ADD], (unsigned long long)clients->failed,
        (unsigned long long)clients->unknown);
}

/* ── the judge ── */

struct judge {
    struct event *events[HISTORY_MAX];
    size_t count;
    uint8_t done[HISTORY_MAX];
    struct myco_map seen; /* hash of (done, value): tried, and did not lead to the end */
    uint64_t hash, steps;
};

static bool certain(const struct event *event)
{
    return event->to_ns != UINT64_MAX;
}

/* Does the operation fit where the register holds `value`? *after: what it holds then. */
static bool fits(const struct event *event, uint64_t value, uint64_t *after)
{
    *after = value;
    switch (event->what) {
    case GET: return event->status == MYCO_ENOTFOUND ? value == 0 : event->value == value;
    case PUT: *after = event->value; return true;
    case DEL:
        if (certain(event)) {
            *after = 0;
            return event->status == MYCO_ENOTFOUND ? value == 0 : value != 0;
        }
        *after = 0;
        return true;
    case ADD:
        if (event->status == MYCO_ECONFLICT) return value != 0;
        if (value != 0) return !certain(event);
        *after = event->value;
        return true;
    }
    return false;
}

/* Operations are sorted by call. One may be next if no other that is still to come was answered
 * before it was called. */
static bool search(struct judge *judge, uint64_t value)
{
    uint64_t first_answer = UINT64_MAX;
    bool left = false;
    for (size_t i = 0; i < judge->count; i++) {
        if (judge->done[i]) continue;
        left |= certain(judge->events[i]);
        if (judge->events[i]->to_ns < first_answer) first_answer = judge->events[i]->to_ns;
    }
    if (!left) return true;
    if (++judge->steps > STEPS_MAX) return true; /* said by the caller */
    uint64_t configuration = myco_hash_mix(judge->hash, value) | 1;
    if (myco_map_get(&judge->seen, configuration)) return false;
    myco_map_put(&judge->seen, configuration, judge);
    for (size_t i = 0; i < judge->count && judge->events[i]->from_ns <= first_answer; i++) {
        uint64_t after;
        if (judge->done[i] || !fits(judge->events[i], value, &after)) continue;
        uint64_t bit = myco_hash_mix(i + 1, 0x9e3779b97f4a7c15ull);
        judge->done[i] = 1;
        judge->hash ^= bit;
        if (search(judge, after)) return true;
        judge->done[i] = 0;
        judge->hash ^= bit;
    }
    return false;
}

static bool matters(const struct event *event)
{
    if (event->what == GET) return event->status == 0 || event->status == MYCO_ENOTFOUND;
    if (!certain(event) || event->status == 0) return true;
    return (event->what == ADD && event->status == MYCO_ECONFLICT) ||
           (event->what == DEL && event->status == MYCO_ENOTFOUND);
}

static void print_history(const struct judge *judge, unsigned key)
{
    for (size_t i = 0; i < judge->count; i++) {
        const struct event *event = judge->events[i];
        fprintf(stderr, "  k%u %s %llu  n%u  %.3f … %.3f ms  %s\n", key,
            (const char *[]){"get", "put", "del", "add"}[event->what],
            (unsigned long long)event->value, event->host + 1, (double)event->from_ns / 1e6,
            certain(event) ? (double)event->to_ns / 1e6 : -1, myco_errname(event->status));
    }
}

void sim_clients_verify(struct sim_world *world)
{
    struct sim_clients *clients = world->clients;
    for (unsigned key = 0; key < KEYS; key++) {
        struct judge *judge = myco_alloc(sizeof *judge);
        for (size_t i = 0; i < clients->event_count && judge->count < HISTORY_MAX; i++)
            if (clients->events[i]->key == key && matters(clients->events[i]))
                judge->events[judge->count++] = clients->events[i];
        bool ok = search(judge, 0);
        if (!ok) print_history(judge, key);
        if (!ok)
            sim_violated(world, "the history of k%u (%zu operations) is not linearizable", key,
                judge->count);
        if (judge->steps > STEPS_MAX)
            fprintf(stderr, "sim: the history of k%u is too hard to judge\n", key);
        myco_map_free(&judge->seen);
        myco_free(judge);
    }
}
