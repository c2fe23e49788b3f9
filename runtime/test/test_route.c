/* The overlay over simulated hosts. Catches: a message lost without a word to either side, out of
 * order, twice or of a session that is over; a hub's death that leaves others apart; a lane without
 * a bound; a large message that holds up small ones; a message for many that crosses a connection
 * twice; one that goes round for ever. */
#include "base/mem.h"
#include "env/sim.h"
#include "route/relay.h"
#include "route/route.h"
#include "tap.h"

#define HOSTS   9
#define FEATURE 4u
#define TYPE    7

/* What one host knows of another: lives count its on_up; numbers are those of a life, by lane. */
struct pair {
    uint64_t life, heard_life;
    uint32_t sent[MYCO_LANE_COUNT], heard[MYCO_LANE_COUNT];
    bool up, fresh;
};

struct host {
    struct world *world;
    unsigned index;
    struct myco_route *route;
    uint64_t generation;
    struct pair pairs[HOSTS];
    unsigned messages, drains;
    uint8_t last_lane;
};

struct world {
    struct myco_sim *sim;
    struct host hosts[HOSTS];
    struct myco_route_place places[HOSTS];
    unsigned count;
    bool mesh;
    unsigned wrong; /* what must not be */
    const char *what;
};

static uint64_t id_of(unsigned index)
{
    return 1000 + index * 7;
}

static unsigned index_of(uint64_t id)
{
    return (unsigned)((id - 1000) / 7);
}

static void wrong(struct world *world, const char *what)
{
    world->what = what;
    world->wrong++;
}

/* ── a host ── */

static void on_up(uint64_t peer, uint64_t generation, uint64_t features, void *data)
{
    struct host *host = data;
    struct pair *pair = &host->pairs[index_of(peer)];
    if (pair->up) wrong(host->world, "up twice");
    if (features != FEATURE || !generation) wrong(host->world, "features or generation");
    pair->up = pair->fresh = true;
    pair->life++;
    memset(pair->sent, 0, sizeof pair->sent);
}

static void on_down(uint64_t peer, bool was_up, enum myco_down_reason reason, void *data)
{
    struct host *host = data;
    struct pair *pair = &host->pairs[index_of(peer)];
    (void)reason;
    if (was_up != pair->up) wrong(host->world, "down, but was not up");
    pair->up = false;
}

static void on_message(uint64_t peer, uint8_t type, struct myco_slice payload, void *data)
{
    struct host *host = data;
    struct pair *pair = &host->pairs[index_of(peer)];
    struct myco_reader in = myco_reader(payload.data, payload.size);
    uint64_t generation = myco_read_u64(&in), life = myco_read_u64(&in) | generation << 32;
    unsigned lane = myco_read_u8(&in);
    uint32_t number = myco_read_u32(&in);
    if (type != TYPE || !pair->up) wrong(host->world, "a message while down");
    if (life != pair->heard_life) { /* of a new session: both sides saw it begin */
        if (life < pair->heard_life || !pair->fresh)
            wrong(host->world, "of a session that is over");
        pair->heard_life = life;
        memset(pair->heard, 0, sizeof pair->heard);
    }
    pair->fresh = false;
    if (number != pair->heard[lane]) wrong(host->world, "lost without a word, or out of order");
    pair->heard[lane] = number + 1;
    host->messages++;
    host->last_lane = (uint8_t)lane;
}

static void on_drain(uint64_t peer, enum myco_lane lane, void *data)
{
    (void)peer, (void)lane;
    ((struct host *)data)->drains++;
}

static void set_topology(struct host *host)
{
    struct world *world = host->world;
    struct myco_route_topology topology = {.places = world->places, .place_count = world->count};
    if (!world->mesh) myco_route_set(host->route, &topology);
}

static void on_start(struct myco_sim *sim, unsigned index, void *data)
{
    struct world *world = data;
    struct host *host = &world->hosts[index];
    struct myco_route_options options = {.env = myco_sim_env(sim, index),
        .self = id_of(index),
        .generation = ++host->generation,
        .features = FEATURE,
        .relay_feature = FEATURE};
    struct myco_transport_events events = {.on_up = on_up,
        .on_down = on_down,
        .on_message = on_message,
        .on_drain = on_drain,
        .data = host};
    memset(host->pairs, 0, sizeof host->pairs);
    host->route = myco_route_new(&options, &events);
    struct myco_transport_events below = myco_route_events(host->route);
    myco_sim_attach(sim, index, options.self, options.generation, FEATURE, &below);
    myco_route_start(host->route, myco_sim_transport(sim, index));
    set_topology(host);
    struct myco_transport *transport = myco_route_transport(host->route);
    for (unsigned i = 0; i < world->count; i++) {
        struct myco_addr addr = myco_sim_addr(i);
        if (i != index) transport->ops->link(transport, id_of(i), &addr);
    }
}

static void on_crash(struct myco_sim *sim, unsigned index, void *data)
{
    struct world *world = data;
    (void)sim;
    myco_route_free(world->hosts[index].route);
    world->hosts[index].route = NULL;
}

/* Three cohorts of three: 0, 3 and 6 are the hubs, 1, 4 and 7 stand by. */
static void stars(struct world *world)
{
    for (unsigned i = 0; i < world->count; i++)
        world->places[i] = (struct myco_route_place){
            id_of(i), id_of(i / 3 * 3), i / 3 * 3 + 1 < world->count ? id_of(i / 3 * 3 + 1) : 0};
}

static void world_open(struct world *world, uint64_t seed)
{
    struct myco_sim_options options;
    memset(world, 0, sizeof *world);
    world->count = HOSTS;
    stars(world);
    myco_sim_options_init(&options, seed, HOSTS);
    options.on_start = on_start;
    options.on_crash = on_crash;
    options.data = world;
    world->sim = myco_sim_new(&options);
    for (unsigned i = 0; i < HOSTS; i++)
        world->hosts[i] = (struct host){.world = world, .index = i};
}

static void world_start(struct world *world)
{
    for (unsigned i = 0; i < world->count; i++) myco_sim_start(world->sim, i);
}

static void world_close(struct world *world)
{
    myco_sim_free(world->sim);
}

/* ── sending ── */

static void write_message(
    const struct host *host, unsigned to, unsigned lane, size_t size, struct myco_buf *out)
{
    const struct pair *pair = &host->pairs[to];
    myco_buf_u64(out, host->generation);
    myco_buf_u64(out, pair->life);
    myco_buf_u8(out, (uint8_t)lane);
    myco_buf_u32(out, pair->sent[lane]);
    myco_buf_reserve(out, size);
    while (out->size < size) myco_buf_u64(out, 0);
}

static int send(struct host *host, unsigned to, unsigned lane, size_t size)
{
    struct myco_buf payload = {0};
    struct myco_transport *transport = myco_route_transport(host->route);
    write_message(host, to, lane, size, &payload);
    int rc = transport->ops->send(transport, id_of(to), (enum myco_lane)lane, TYPE, &payload);
    if (rc == 0) host->pairs[to].sent[lane]++;
    return rc;
}

static bool all_up(void *data)
{
    struct world *world = data;
    for (unsigned i = 0; i < world->count; i++)
        for (unsigned j = 0; j < world->count; j++)
            if (i != j && world->hosts[i].route && world->hosts[j].route &&
                !world->hosts[i].pairs[j].up)
                return false;
    return true;
}

/* What was sent in the present sessions has arrived. */
static bool nothing_lost(const struct world *world)
{
    for (unsigned i = 0; i < world->count; i++) {
        for (unsigned j = 0; j < world->count; j++) {
            const struct host *from = &world->hosts[i];
            const struct pair *out = &from->pairs[j], *in = &world->hosts[j].pairs[i];
            if (i == j || !from->route || !world->hosts[j].route) continue;
            bool same = in->heard_life == (out->life | from->generation << 32);
            for (unsigned lane = 0; lane < MYCO_LANE_COUNT; lane++)
                if (out->sent[lane] && (!same || in->heard[lane] != out->sent[lane])) return false;
        }
    }
    return true;
}

static void all_to_all(struct world *world)
{
    for (unsigned i = 0; i < world->count; i++)
        for (unsigned j = 0; j < world->count; j++)
            if (i != j && world->hosts[i].route) send(&world->hosts[i], j, (i + j) % 3, 100);
}

static uint64_t relayed(const struct world *world)
{
    uint64_t messages = 0;
    for (unsigned i = 0; i < world->count; i++) {
        struct myco_route_stats stats;
        if (!world->hosts[i].route) continue;
        myco_route_stats(world->hosts[i].route, &stats);
        messages += stats.relayed_messages;
    }
    return messages;
}

/* ── tests ── */

static void test_stars(void)
{
    struct world world;
    struct myco_route_stats leaf, hub;
    world_open(&world, 1);
    world_start(&world);
    ok(myco_sim_run_until(world.sim, all_up, &world, 5000), "all reach all");
    myco_sim_run(world.sim, 3000);
    myco_route_stats(world.hosts[2].route, &leaf);
    myco_route_stats(world.hosts[0].route, &hub);
    ok(leaf.links == 2 && leaf.sessions == 6, "a leaf has its hub and who stands by, and sessions");
    ok(hub.links == 6, "a hub has the hubs, who stands by, and its leaves");
    for (int round = 0; round < 20; round++) {
        all_to_all(&world);
        myco_sim_run(world.sim, 20);
    }
    myco_sim_run(world.sim, 1000);
    ok(nothing_lost(&world) && !world.wrong, "all arrives, in order");
    uint64_t before = relayed(&world);
    myco_sim_run(world.sim, 10000);
    ok(relayed(&world) == before, "what is idle passes nothing on");
    world_close(&world);
}

static void test_hub_dies(void)
{
    struct world world;
    world_open(&world, 2);
    world_start(&world);
    myco_sim_run_until(world.sim, all_up, &world, 5000);
    myco_sim_run(world.sim, 3000);
    uint64_t life = world.hosts[2].pairs[8].life;
    myco_sim_crash(world.sim, 0, MYCO_SIM_KILL);
    myco_sim_run(world.sim, 1000);
    ok(world.hosts[2].pairs[8].up && world.hosts[2].pairs[8].life == life,
        "an idle session goes on over who stands by");
    all_to_all(&world);
    myco_sim_run(world.sim, 3000);
    ok(all_up(&world) && nothing_lost(&world), "and carries messages");
    for (int i = 0; i < 10; i++) { /* on their way when the other goes, too */
        send(&world.hosts[2], 8, MYCO_LANE_DATA, 100000);
        if (i == 5) myco_sim_crash(world.sim, 1, MYCO_SIM_POWER);
    }
    myco_sim_run(world.sim, 5000);
    ok(!world.hosts[2].pairs[8].up, "who has no hub any more reaches nobody, and is told");
    myco_sim_start(world.sim, 0);
    ok(myco_sim_run_until(world.sim, all_up, &world, 10000), "the hub is back: all reach all");
    all_to_all(&world);
    myco_sim_run(world.sim, 3000);
    ok(nothing_lost(&world) && !world.wrong, "and nothing is lost");
    world_close(&world);
}

static void test_full(void)
{
    struct world world;
    unsigned sent = 0;
    int rc = 0;
    world_open(&world, 3);
    world_start(&world);
    myco_sim_run_until(world.sim, all_up, &world, 5000);
    myco_sim_pause(world.sim, 8, 600);
    while ((rc = send(&world.hosts[2], 8, MYCO_LANE_DATA, 100000)) == 0 && sent < 1000) sent++;
    ok(rc == MYCO_EFULL && sent > 10, "a lane that nobody empties is full after %u", sent);
    ok(send(&world.hosts[2], 8, MYCO_LANE_CONTROL, 100) == 0, "another is not");
    myco_sim_run(world.sim, 4000);
    ok(world.hosts[2].drains > 0, "on_drain comes");
    ok(nothing_lost(&world) && world.hosts[8].messages == sent + 1, "and all has arrived");
    ok(send(&world.hosts[2], 8, MYCO_LANE_BULK, MYCO_MESSAGE_SIZE_MAX) == MYCO_ETOOBIG,
        "what does not fit with its destination is too big");
    ok(send(&world.hosts[2], 8, MYCO_LANE_BULK, 12 << 20) == 0, "12 MiB go");
    send(&world.hosts[2], 8, MYCO_LANE_CONTROL, 100);
    myco_sim_run(world.sim, 10);
    ok(world.hosts[8].messages == sent + 2, "and control overtakes them");
    myco_sim_run(world.sim, 3000);
    ok(nothing_lost(&world) && world.hosts[8].last_lane == MYCO_LANE_BULK && !world.wrong,
        "they arrive whole");
    world_close(&world);
}

static void test_many(void)
{
    struct world world;
    uint64_t peers[HOSTS];
    int results[HOSTS];
    size_t count = 0;
    unsigned good = 0;
    struct myco_buf payload = {0};
    world_open(&world, 4);
    world_start(&world);
    myco_sim_run_until(world.sim, all_up, &world, 5000);
    myco_sim_run(world.sim, 3000);
    for (unsigned i = 0; i < HOSTS; i++)
        if (i != 2) peers[count++] = id_of(i);
    uint64_t life = world.hosts[2].pairs[8].life, before = relayed(&world);
    for (unsigned i = 0; i < HOSTS; i++)
        world.hosts[2].pairs[i].life = life; /* one message for all */
    write_message(&world.hosts[2], 8, MYCO_LANE_DATA, 1000, &payload);
    myco_route_send_many(
        world.hosts[2].route, peers, count, MYCO_LANE_DATA, TYPE, &payload, results);
    for (size_t i = 0; i < count; i++) good += results[i] == 0;
    myco_sim_run(world.sim, 50); /* before anything is acknowledged */
    unsigned heard = 0;
    for (unsigned i = 0; i < HOSTS; i++) heard += world.hosts[i].messages;
    ok(good == 8 && heard == 8, "a message for many reaches each once");
    /* 2 → 0, then 0 → 3 and 0 → 6 for three each, then 3 → 5 and 6 → 8; 4 and 7 stand by, and are
     * linked with 0 */
    ok(relayed(&world) - before <= 6, "and crosses each connection once: %u were passed on",
        (unsigned)(relayed(&world) - before));
    world_close(&world);
}

/* 0 and 3 each believe that the other is the hub of 8, which both can't reach. */
static void test_loop(void)
{
    struct world world;
    struct myco_route_stats a, b;
    world_open(&world, 5);
    world.places[8].standby = 0;
    world_start(&world);
    myco_sim_run_until(world.sim, all_up, &world, 5000);
    myco_sim_run(world.sim, 2500);
    for (unsigned i = 6; i < 9; i++) myco_sim_isolate(world.sim, i);
    for (unsigned i = 0; i < 6; i++) {
        struct host *host = &world.hosts[i];
        world.places[8].hub = id_of(i < 3 ? 3 : 0);
        set_topology(host);
    }
    for (int i = 0; i < 20; i++) {
        send(&world.hosts[2], 8, MYCO_LANE_DATA, 100);
        myco_sim_run(world.sim, 100);
    }
    uint64_t before = relayed(&world);
    myco_sim_run(world.sim, 5000);
    myco_route_stats(world.hosts[0].route, &a);
    myco_route_stats(world.hosts[3].route, &b);
    ok(relayed(&world) - before < 200, "nothing goes round for ever: %u were passed on",
        (unsigned)(relayed(&world) - before));
    ok(!world.hosts[2].pairs[8].up, "who sent it is told");
    world_close(&world);
}

static void test_change(void)
{
    struct world world;
    struct myco_route_stats leaf;
    world_open(&world, 6);
    world.mesh = true;
    world_start(&world);
    myco_sim_run_until(world.sim, all_up, &world, 5000);
    myco_route_stats(world.hosts[2].route, &leaf);
    ok(leaf.links == 8 && leaf.mesh, "a mesh at first");
    world.mesh = false;
    for (unsigned i = 0; i < HOSTS; i++) set_topology(&world.hosts[i]);
    for (int i = 0; i < 60; i++) {
        all_to_all(&world);
        myco_sim_run(world.sim, 50);
    }
    myco_sim_run(world.sim, 3000);
    myco_route_stats(world.hosts[2].route, &leaf);
    ok(leaf.links == 2 && all_up(&world), "stars while it is in use");
    ok(nothing_lost(&world) && !world.wrong, "nothing is lost without a word: %s",
        world.what ? world.what : "");
    struct myco_route_topology mesh = {0};
    for (unsigned i = 0; i < HOSTS; i++) myco_route_set(world.hosts[i].route, &mesh);
    for (int i = 0; i < 60; i++) {
        all_to_all(&world);
        myco_sim_run(world.sim, 50);
    }
    myco_sim_run(world.sim, 3000);
    myco_route_stats(world.hosts[2].route, &leaf);
    ok(leaf.links == 8 && leaf.sessions == 0, "and a mesh again");
    ok(nothing_lost(&world) && !world.wrong, "likewise");
    world_close(&world);
}

/* Dies, parts, pauses, loses: whatever happens, each side hears of it before what comes after. */
static void test_chaos(uint64_t seed)
{
    struct world world;
    world_open(&world, seed);
    world_start(&world);
    myco_sim_run_until(world.sim, all_up, &world, 5000);
    struct myco_sim_nemesis nemesis = {.until_ms = 12000,
        .crash_ms = 2500,
        .partition_ms = 2500,
        .pause_ms = 3000,
        .loss_ms = 4000};
    myco_sim_nemesis(world.sim, &nemesis);
    for (int i = 0; i < 240 && !world.wrong; i++) {
        for (unsigned n = 0; n < 20; n++) {
            struct myco_sim_random *random = myco_sim_random(world.sim);
            unsigned from = (unsigned)myco_sim_random_below(random, HOSTS),
                     to = (unsigned)myco_sim_random_below(random, HOSTS);
            size_t size = myco_sim_random_below(random, 10) ? 100 : 300000;
            if (from != to && world.hosts[from].route)
                send(&world.hosts[from], to, n % MYCO_LANE_COUNT, size);
        }
        myco_sim_run(world.sim, 50);
    }
    myco_sim_heal(world.sim);
    bool up = myco_sim_run_until(world.sim, all_up, &world, 20000);
    myco_sim_run(world.sim, 5000);
    ok(!world.wrong, "seed %u: %s", (unsigned)seed, world.what ? world.what : "nothing wrong");
    ok(up && all_up(&world) && nothing_lost(&world), "seed %u: all is well after healing",
        (unsigned)seed);
    world_close(&world);
}

static void test_bytes(void)
{
    struct myco__relay relay = {.from = 5,
                           .kind = MYCO__RELAY_DATA,
                           .type = 9,
                           .lane = 1,
                           .hops = 3},
                       read;
    struct myco_buf buf = {0};
    myco_buf_bytes(&buf, "payload", 7);
    myco__relay_put_dest(&buf, &(struct myco__relay_dest){77, 1, 2});
    myco__relay_put_dest(&buf, &(struct myco__relay_dest){78, 3, 4});
    myco__relay_put_end(&buf, &relay, 2);
    ok(myco__relay_decode(&read, myco_buf_as_slice(&buf)) == 0 && read.count == 2 &&
            read.payload.size == 7 && read.from == 5 && read.type == 9,
        "a message is read as it was written");
    ok(myco__relay_dest(&read, 1).to == 78 && myco__relay_dest(&read, 1).sequence == 4,
        "its destinations, too");
    unsigned refused = 0;
    for (size_t size = 0; size < buf.size; size++)
        refused += myco__relay_decode(&read, myco_bytes(buf.data, size)) != 0;
    ok(refused == buf.size, "cut anywhere, it is refused");
    myco_buf_free(&buf);
}

int main(void)
{
    test_bytes();
    test_stars();
    test_hub_dies();
    test_full();
    test_many();
    test_loop();
    test_change();
    for (uint64_t seed = 1; seed <= 6; seed++) test_chaos(seed);
    return plan_done();
}
