/* Those who lock: on each node two clients of a mutex and of a semaphore, which wait, hold for a
 * while and give back, and now and then change their mind; and parties of a barrier.
 *
 * In true time no more hold than there are permits, and no two the same fence; the epochs of a
 * fence rise; nobody passes the barrier before all came; and when nothing is broken any more,
 * everybody who waits gets his turn. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "host/sim_world.h"

#define CLIENTS    2 /* of each node */
#define PARTIES    2
#define THINK_MS   400
#define HOLD_MS    300
#define WAIT_MS    3000
#define PERMITS(n) ((n) == 0 ? 1u : 2u)

static const char *const names[2] = {"mutex", "semaphore"};

struct client {
    struct sim_node *node;
    struct myco_core_lock *lock;
    unsigned name, life;
    bool held, ended;
    uint64_t epoch;
    char fence[MYCO_FENCE_NAME_SIZE_MAX + 1];
    unsigned turn; /* timers of former turns mean nothing */
    bool served;   /* since sim_locks_last() */
};

struct sim_locks {
    struct sim_world *world;
    struct client clients[SIM_NODES_MAX][CLIENTS];
    struct myco_core_lock *party[SIM_NODES_MAX];
    struct myco_map epochs; /* hash of a fence → the newest epoch */
    struct myco_list timers;
    uint64_t acquired, given_up, lost, came, passed;
    bool stopped, running;
};

struct timer {
    struct myco_list link;
    struct client *client;
    unsigned turn;
};

struct sim_locks *sim_locks_new(struct sim_world *world)
{
    struct sim_locks *locks = myco_alloc(sizeof *locks);
    locks->world = world;
    myco_list_init(&locks->timers);
    return locks;
}

void sim_locks_free(struct sim_locks *locks)
{
    struct myco_list *item;
    while ((item = myco_list_pop(&locks->timers))) /* the world ended before their time came */
        myco_free(MYCO_CONTAINER(item, struct timer, link));
    myco_map_free(&locks->epochs);
    myco_free(locks);
}

/* ── in true time ── */

void sim_locks_check(struct sim_world *world)
{
    struct sim_locks *locks = world->locks;
    for (unsigned name = 0; locks && name < 2; name++) {
        struct myco_map fences = {0};
        unsigned holders = 0;
        for (unsigned i = 0; i < world->options.nodes * CLIENTS; i++) {
            struct client *client = &locks->clients[i / CLIENTS][i % CLIENTS];
            if (!client->lock || client->name != name || !myco_core_lock_held(client->lock))
                continue;
            holders++;
            if (!client->held) continue; /* not told yet */
            uint64_t key = myco_hash(client->fence, strlen(client->fence));
            if (myco_map_put(&fences, key, client))
                sim_violated(world, "two hold the fence %s, one of them n%u", client->fence,
                    client->node->host + 1);
        }
        myco_map_free(&fences);
        if (holders > PERMITS(name))
            sim_violated(
                world, "%u hold %s, which has %u permits", holders, names[name], PERMITS(name));
    }
}

/* ── clients ── */

static void turn_later(struct client *client, uint64_t ms);

static void on_state(const struct myco_lock_state *state, void *data)
{
    struct client *client = data;
    struct sim_locks *locks = client->node->world->locks;
    struct sim_world *world = locks->world;
    if (!state->held) {
        locks->lost += client->held;
        client->held = false;
        client->ended = true;
        turn_later(client, 1);
        return;
    }
    client->held = client->served = true;
    client->epoch = state->epoch;
    snprintf(client->fence, sizeof client->fence, "%s", state->fence.name);
    uint64_t key = myco_hash(client->fence, strlen(client->fence));
    uint64_t before = (uint64_t)(uintptr_t)myco_map_get(&locks->epochs, key);
    if (state->epoch <= before)
        sim_violated(world, "n%u was given %s with epoch %llx after %llx", client->node->host + 1,
            client->fence, (unsigned long long)state->epoch, (unsigned long long)before);
    myco_map_put(&locks->epochs, key, (void *)(uintptr_t)state->epoch);
    locks->acquired++;
    sim_locks_check(world);
    turn_later(client, myco_sim_random_below(myco_sim_random(world->sim), HOLD_MS));
}

static void give_back(struct client *client)
{
    if (client->lock) myco_core_unlock(client->lock);
    client->lock = NULL;
    client->held = client->ended = false;
}

static void turn(void *data)
{
    struct timer *timer = data;
    struct client *client = timer->client;
    bool mine = timer->turn == client->turn;
    myco_list_remove(&timer->link);
    myco_free(timer);
    struct sim_node *node = client->node;
    if (!mine || !node || !node->core || node->world->violation[0]) return;
    struct sim_world *world = node->world;
    struct sim_locks *locks = world->locks;
    struct myco_sim_random *random = myco_sim_random(world->sim);
    if (client->lock) { /* held long enough, ended, or it changes its mind */
        locks->given_up += !client->held;
        give_back(client);
        turn_later(client, myco_sim_random_below(random, THINK_MS));
    } else if (!locks->stopped && myco_core_ready(node->core)) {
        client->name = (unsigned)myco_sim_random_below(random, 2);
        bool try = myco_sim_random_below(random, 4) == 0;
        client->lock = myco_core_lock(node->core, MYCO_LOCK_LOCK, names[client->name],
            PERMITS(client->name), try, WAIT_MS, on_state, client);
        client->turn++;
        if (myco_sim_random_below(random, 8) == 0)
            turn_later(client, myco_sim_random_below(random, WAIT_MS));
    } else {
        turn_later(client, THINK_MS);
    }
}

static void turn_later(struct client *client, uint64_t ms)
{
    struct timer *timer = myco_alloc(sizeof *timer);
    timer->client = client;
    timer->turn = ++client->turn;
    myco_list_append(&client->node->world->locks->timers, &timer->link);
    myco_sim_at(client->node->world->sim, ms * MYCO_SIM_MS, turn, timer);
}

/* ── the barrier ── */

static void on_party(const struct myco_lock_state *state, void *data)
{
    struct sim_node *node = data;
    struct sim_locks *locks = node->world->locks;
    if (state->status == 0 && ++locks->passed > locks->came)
        sim_violated(node->world, "%llu passed the barrier, and %llu came to it",
            (unsigned long long)locks->passed, (unsigned long long)locks->came);
    if (!locks->party[node->host]) return;
    myco_core_unlock(locks->party[node->host]);
    locks->party[node->host] = NULL;
}

static void act(void *data)
{
    struct sim_locks *locks = data;
    struct sim_world *world = locks->world;
    if (locks->stopped || world->violation[0]) {
        locks->running = false;
        return;
    }
    uint64_t host = myco_sim_random_below(myco_sim_random(world->sim), world->options.nodes);
    struct sim_node *node = &world->nodes[host];
    if (node->core && myco_core_ready(node->core) && !locks->party[host] &&
        world->options.nodes > 1) {
        locks->came++;
        locks->party[host] = myco_core_lock(
            node->core, MYCO_LOCK_BARRIER, "meeting", PARTIES, false, WAIT_MS, on_party, node);
    }
    myco_sim_at(world->sim, 500 * MYCO_SIM_MS, act, locks);
}

/* ── life ── */

void sim_locks_node_up(struct sim_node *node)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &node->world->locks->clients[node->host][i];
        client->node = node;
        turn_later(client, 10 + i);
    }
}

/* The handles go with the core: telling so is no news. */
void sim_locks_node_down(struct sim_node *node)
{
    struct sim_locks *locks = node->world->locks;
    locks->party[node->host] = NULL;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &locks->clients[node->host][i];
        if (client->lock) myco_core_unlock(client->lock);
        unsigned turns = client->turn + 1;
        *client = (struct client){.node = node, .turn = turns};
    }
}

void sim_locks_start(struct sim_world *world)
{
    struct sim_locks *locks = world->locks;
    locks->stopped = false;
    if (locks->running) return;
    locks->running = true;
    myco_sim_at(world->sim, 0, act, locks);
}

/* Each client once more: it must get its turn. */
void sim_locks_last(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes * CLIENTS; i++)
        world->locks->clients[i / CLIENTS][i % CLIENTS].served = false;
}

bool sim_locks_served(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes * CLIENTS; i++)
        if (!world->locks->clients[i / CLIENTS][i % CLIENTS].served) return false;
    return true;
}

void sim_locks_stop(struct sim_world *world)
{
    world->locks->stopped = true;
}

void sim_locks_report(struct sim_world *world, FILE *file)
{
    const struct sim_locks *locks = world->locks;
    fprintf(file, "  %llu locks acquired, %llu not got, %llu lost; %llu of %llu passed a barrier\n",
        (unsigned long long)locks->acquired, (unsigned long long)locks->given_up,
        (unsigned long long)locks->lost, (unsigned long long)locks->passed,
        (unsigned long long)locks->came);
}
