/* Those who read and write a durable septum: two on each node, each with one operation at a time.
 * What they saw is judged at the end (sim_judge.c); what can be checked at once, is: one version
 * has one value, and no read or write answers with a version below one that was known before. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "host/sim_world.h"

#define KEYS         24
#define CLIENTS_EACH 2 /* of each node */
#define THINK_NS_MAX (120 * MYCO_SIM_MS)
#define TIMEOUT_MS   2000

struct client {
    struct sim_clients *clients;
    unsigned host;
    struct sim_operation *operation; /* under way; NULL: thinking */
    unsigned starts;                 /* of the node when it was asked: another life can't answer */
    uint64_t call;                   /* answers to former calls are ignored */
};

struct call {
    struct client *client;
    uint64_t number;
};

struct sim_clients {
    struct sim_world *world;
    struct client *list;
    unsigned count;
    struct sim_operation **operations;
    size_t operation_count, operation_capacity;
    uint64_t next_value, septum;
    bool stopped, creating;
    uint64_t done[5], unknown, refused, unavailable;
    struct myco_map versions; /* hash of (key, version) → value */
    bool key_read[KEYS];
    uint64_t read_value[KEYS]; /* by the last read */
    struct sim_page *page;     /* of the scan under way at the end; NULL: none */
    bool scanned;
    uint64_t known_version[KEYS], known_value[KEYS];
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
    for (size_t i = 0; i < clients->operation_count; i++) myco_free(clients->operations[i]);
    myco_free(clients->operations);
    myco_free(clients->list);
    myco_map_free(&clients->versions);
    myco_free(clients);
}

static struct sim_operation *record(struct client *client, enum sim_what what, unsigned key)
{
    struct sim_clients *clients = client->clients;
    struct sim_operation *operation = myco_alloc(sizeof *operation);
    bool writes = what == SIM_PUT || what == SIM_ADD || what == SIM_CAS;
    *operation = (struct sim_operation){.what = what,
        .key = key,
        .value = writes ? ++clients->next_value : 0,
        .expected = what == SIM_CAS ? clients->known_value[key] : 0,
        .floor = clients->known_version[key],
        .from_ns = myco_sim_now_ns(clients->world->sim),
        .to_ns = UINT64_MAX,
        .status = MYCO_EUNKNOWN,
        .host = client->host};
    if (clients->operation_count == clients->operation_capacity) {
        clients->operation_capacity = clients->operation_capacity * 2 + 64;
        clients->operations = myco_realloc(
            clients->operations, clients->operation_capacity * sizeof *clients->operations);
    }
    clients->operations[clients->operation_count++] = operation;
    return operation;
}

/* ── answers ── */

static void check_version(
    struct sim_clients *clients, const struct sim_operation *operation, uint64_t version)
{
    unsigned key = operation->key;
    uint64_t hash = myco_hash_mix(myco_hash_mix(key, version), 7);
    void *was = myco_map_get(&clients->versions, hash);
    if (!was)
        myco_map_put(&clients->versions, hash, (void *)(uintptr_t)operation->value);
    else if ((uint64_t)(uintptr_t)was != operation->value)
        sim_violated(clients->world, "k%u: version %llx has two values, %llu and %llu", key,
            (unsigned long long)version, (unsigned long long)(uintptr_t)was,
            (unsigned long long)operation->value);
    bool writes = operation->what != SIM_GET;
    if (version < operation->floor + writes)
        sim_violated(clients->world, "k%u: answered version %llx after %llx was known", key,
            (unsigned long long)version, (unsigned long long)operation->floor);
    if (version <= clients->known_version[key]) return;
    clients->known_version[key] = version;
    clients->known_value[key] = operation->value;
}

static void count(struct sim_clients *clients, const struct sim_operation *operation)
{
    int status = operation->status;
    if (status == 0)
        clients->done[operation->what]++;
    else if (status == MYCO_EUNKNOWN)
        clients->unknown++;
    else if (status == MYCO_ENOTFOUND || status == MYCO_ECONFLICT)
        clients->refused++;
    else
        clients->unavailable++;
}

static void answered(const struct myco_result *result, void *data)
{
    struct call *call = data;
    struct client *client = call->client;
    struct sim_clients *clients = client->clients;
    const struct sim_node *node = &clients->world->nodes[client->host];
    bool stale =
        call->number != client->call || client->starts != node->starts || !client->operation;
    myco_free(call);
    if (stale || !node->core) return; /* a dead process answers nobody */
    struct sim_operation *operation = client->operation;
    client->operation = NULL;
    operation->status = result->status;
    if (result->status != MYCO_EUNKNOWN) operation->to_ns = myco_sim_now_ns(clients->world->sim);
    count(clients, operation);
    if (operation->what == SIM_GET && result->status == 0 && result->value.size == 8)
        memcpy(&operation->value, result->value.data, 8);
    if (result->status == 0 && operation->what != SIM_DEL)
        check_version(clients, operation, result->version);
    if (operation->what == SIM_GET && (result->status == 0 || result->status == MYCO_ENOTFOUND))
        clients->key_read[operation->key] = true,
        clients->read_value[operation->key] = operation->value;
    myco_sim_note(clients->world->sim, client->host, "client %s k%u %llu: %s",
        (const char *[]){"get", "put", "del", "add", "cas"}[operation->what], operation->key,
        (unsigned long long)operation->value, myco_errname(result->status));
    think(client);
}

/* ── asking ── */

static void ask(struct client *client, enum sim_what what, unsigned key)
{
    struct sim_clients *clients = client->clients;
    struct sim_node *node = &clients->world->nodes[client->host];
    struct call *call = myco_alloc(sizeof *call);
    char text[16];
    struct myco_put_options options = {.if_absent = what == SIM_ADD,
        .if_version = what == SIM_CAS ? clients->known_version[key] : 0,
        .timeout_ms = TIMEOUT_MS};
    snprintf(text, sizeof text, "k%u", key);
    struct sim_operation *operation = record(client, what, key);
    client->operation = operation;
    client->starts = node->starts;
    *call = (struct call){client, ++client->call};
    if (what == SIM_GET)
        myco_core_get(node->core, clients->septum, myco_str(text), TIMEOUT_MS, answered, call);
    else if (what == SIM_DEL)
        myco_core_del(node->core, clients->septum, myco_str(text), &options, answered, call);
    else
        myco_core_put(node->core, clients->septum, myco_str(text), myco_bytes(&operation->value, 8),
            &options, answered, call);
}

static void act(void *data)
{
    struct client *client = data;
    struct sim_clients *clients = client->clients;
    struct sim_node *node = &clients->world->nodes[client->host];
    struct myco_sim_random *random = myco_sim_random(clients->world->sim);
    if (clients->stopped || clients->world->violation[0]) return;
    if (client->operation && (!node->core || node->starts != client->starts))
        client->operation = NULL; /* it died with the node */
    if (client->operation || !node->core || !myco_core_ready(node->core) || !clients->septum ||
        myco_sim_paused(clients->world->sim, client->host)) {
        think(client);
        return;
    }
    static const enum sim_what mix[] = {
        SIM_GET, SIM_GET, SIM_GET, SIM_PUT, SIM_PUT, SIM_CAS, SIM_ADD, SIM_DEL};
    unsigned key = (unsigned)myco_sim_random_below(random, KEYS);
    enum sim_what what = mix[myco_sim_random_below(random, 8)];
    ask(client, what == SIM_CAS && !clients->known_version[key] ? SIM_PUT : what, key);
}

/* A client that waits for a dead node looks again later. */
static void think(struct client *client)
{
    struct sim_clients *clients = client->clients;
    myco_sim_at(clients->world->sim,
        myco_sim_random_below(myco_sim_random(clients->world->sim), THINK_NS_MAX), act, client);
}

static void watch_dead(void *data)
{
    struct sim_clients *clients = data;
    for (unsigned i = 0; i < clients->count; i++) {
        struct client *client = &clients->list[i];
        struct sim_node *node = &clients->world->nodes[client->host];
        if (!client->operation || (node->core && node->starts == client->starts)) continue;
        client->operation = NULL;
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
        myco_core_septum(node->core, "registers", SIM_DURABLE, 3000, created, clients);
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
    world->clients->scanned = false;
    memset(world->clients->key_read, 0, sizeof world->clients->key_read);
}

void sim_clients_go_on(struct sim_world *world)
{
    world->clients->stopped = false;
    for (unsigned i = 0; i < world->clients->count; i++) think(&world->clients->list[i]);
}

bool sim_clients_idle(struct sim_world *world)
{
    for (unsigned i = 0; i < world->clients->count; i++)
        if (world->clients->list[i].operation) return false;
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
        if (clients->stopped && !reader->operation && world->nodes[reader->host].core)
            ask(reader, SIM_GET, key);
        return false;
    }
    return true;
}

/* ── the end: a scan, page by page, says what the reads said ── */

struct sim_page {
    struct sim_clients *clients;
    struct myco_buf cursor;
    bool seen[KEYS];
};

static void ask_page(struct sim_page *page);

static void end_scan(struct sim_page *page, bool whole)
{
    struct sim_clients *clients = page->clients;
    for (unsigned key = 0; whole && key < KEYS; key++)
        if (page->seen[key] != (clients->read_value[key] != 0))
            sim_violated(clients->world, "k%u is %s, and a scan says the opposite", key,
                page->seen[key] ? "absent" : "there");
    clients->scanned = whole;
    clients->page = NULL;
    myco_buf_free(&page->cursor);
    myco_free(page);
}

static void got_page(const struct myco_page *result, void *data)
{
    struct sim_page *page = data;
    struct sim_clients *clients = page->clients;
    for (size_t i = 0; result->status == 0 && i < result->count; i++) {
        char text[16] = "";
        unsigned key = KEYS;
        uint64_t value = 0;
        if (result->items[i].key.size < sizeof text)
            memcpy(text, result->items[i].key.data, result->items[i].key.size);
        if (sscanf(text, "k%u", &key) != 1 || key >= KEYS || page->seen[key]) {
            sim_violated(clients->world, "a scan returned '%s', which is not there or twice", text);
            break;
        }
        page->seen[key] = true;
        if (result->items[i].value.size == 8) memcpy(&value, result->items[i].value.data, 8);
        if (value != clients->read_value[key])
            sim_violated(clients->world, "a scan says that k%u is %llu, a read %llu", key,
                (unsigned long long)value, (unsigned long long)clients->read_value[key]);
    }
    myco_buf_clear(&page->cursor);
    myco_buf_bytes(&page->cursor, result->cursor.data, result->cursor.size);
    if (result->status || !page->cursor.size)
        end_scan(page, result->status == 0);
    else
        ask_page(page);
}

static void ask_page(struct sim_page *page)
{
    struct sim_clients *clients = page->clients;
    myco_core_scan(clients->world->nodes[0].core, clients->septum, myco_str("k"),
        myco_buf_as_slice(&page->cursor), 5, false, TIMEOUT_MS, got_page, page);
}

bool sim_clients_scanned(struct sim_world *world)
{
    struct sim_clients *clients = world->clients;
    if (clients->scanned) return true;
    if (clients->page || !world->nodes[0].core) return false;
    clients->page = myco_alloc(sizeof *clients->page);
    clients->page->clients = clients;
    ask_page(clients->page);
    return false;
}

void sim_clients_report(struct sim_world *world, FILE *file)
{
    struct sim_clients *clients = world->clients;
    fprintf(file,
        "  %zu operations: %llu get, %llu put, %llu del, %llu put-if-absent, %llu cas, %llu "
        "refused, %llu unavailable, %llu unknown\n",
        clients->operation_count, (unsigned long long)clients->done[SIM_GET],
        (unsigned long long)clients->done[SIM_PUT], (unsigned long long)clients->done[SIM_DEL],
        (unsigned long long)clients->done[SIM_ADD], (unsigned long long)clients->done[SIM_CAS],
        (unsigned long long)clients->refused, (unsigned long long)clients->unavailable,
        (unsigned long long)clients->unknown);
}

/* ── the end ── */

static bool matters(const struct sim_operation *operation)
{
    int status = operation->status;
    if (operation->what == SIM_GET) return status == 0 || status == MYCO_ENOTFOUND;
    if (operation->to_ns == UINT64_MAX || status == 0) return true;
    if (operation->what == SIM_DEL) return status == MYCO_ENOTFOUND;
    return operation->what != SIM_PUT && status == MYCO_ECONFLICT;
}

void sim_clients_verify(struct sim_world *world)
{
    struct sim_clients *clients = world->clients;
    struct sim_operation **history = myco_alloc((clients->operation_count + 1) * sizeof *history);
    for (unsigned key = 0; key < KEYS; key++) {
        size_t count = 0;
        for (size_t i = 0; i < clients->operation_count; i++)
            if (clients->operations[i]->key == key && matters(clients->operations[i]))
                history[count++] = clients->operations[i];
        if (!sim_judge(history, count, key))
            sim_violated(
                world, "the history of k%u (%zu operations) is not linearizable", key, count);
    }
    myco_free(history);
}
