/* Crashes, partitions, loss, repetition and reordering, from 300 seeds; the rules are checked after
 * every event (log_cluster.c): one leader in each term, what was applied anywhere is never
 * something else anywhere, each once and in order, restored states are states that were. And after
 * healing, all servers arrive at the same state, which holds everything that was ever applied.
 * Would catch most ways to break the handling of libraft's updates: a message before its vote is
 * durable, an acknowledgement for a write that was superseded, a log that comes back wrong after a
 * crash, a snapshot that loses the tail.
 *
 * LOG_CHAOS_SEED=n runs one seed, LOG_CHAOS_SEEDS=n as many as that. */
#include "log_cluster.h"
#include "tap.h"

static void random_fault(struct world *world)
{
    size_t at = world_random(world, world->count), other = world_random(world, world->count);
    struct server *server = &world->servers[at];
    switch (world_random(world, 12)) {
    case 0:
    case 1: world_crash(world, at); break;
    case 2:
    case 3:
    case 4:
        if (server->log == NULL) {
            struct myco_err err = {0};
            int status = world_start(world, at, &err);
            if (status != 0)
                snprintf(world->violation, sizeof world->violation, "restart: %.200s", err.message);
        }
        break;
    case 5: world_isolate(world, at, true); break;
    case 6: world->cut[at][other] = true; break; /* one direction only */
    case 7:
    case 8: world_heal(world); break;
    case 9: world->loss_percent = (unsigned)world_random(world, 30); break;
    case 10:
        world->loss_percent = 0;
        world->delay_max_ns = world_random(world, 2) ? 800000 : 1 + world_random(world, 60 * MS);
        if (world->delay_max_ns < world->delay_min_ns) world->delay_max_ns = world->delay_min_ns;
        break;
    case 11: /* everybody believes that the leader is dead, and is mostly wrong */
        for (size_t i = 0; i < world->count; i++)
            if (world->servers[i].log != NULL)
                myco_rlog_leader_died(
                    world->servers[i].log, myco_rlog_leader(world->servers[i].log));
        break;
    }
}

static void random_change(struct world *world)
{
    struct server *leader = world_leader(world);
    if (leader == NULL) return;
    uint64_t id = 1 + world_random(world, world->count);
    switch (world_random(world, 8)) {
    case 0: (void)myco_rlog_transfer(leader->log, world_random(world, 2) ? id : 0); break;
    case 1: (void)myco_rlog_assign(leader->log, id, MYCO_ROLE_STANDBY); break;
    case 2: (void)myco_rlog_assign(leader->log, id, MYCO_ROLE_SPARE); break;
    case 3: (void)myco_rlog_assign(leader->log, id, MYCO_ROLE_NONE); break;
    default: (void)myco_rlog_assign(leader->log, id, MYCO_ROLE_VOTER); break;
    }
}

static void settle(struct world *world)
{
    world_heal(world);
    world->loss_percent = world->duplicate_percent = 0;
    world->delay_max_ns = 800000;
    for (size_t i = 0; i < world->count; i++) {
        struct myco_err err = {0};
        if (world->servers[i].log == NULL && world_start(world, i, &err) != 0)
            snprintf(world->violation, sizeof world->violation, "restart: %.200s", err.message);
    }
}

struct totals {
    uint64_t terms, commands, restores, sent;
};

/* For whoever looks at a seed that failed. */
static void describe(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        struct server *server = &world->servers[i];
        if (server->log == NULL) continue;
        struct myco_log_server servers[SERVERS_MAX];
        size_t count = myco_rlog_servers(server->log, servers, SERVERS_MAX);
        printf("# server %zu: term %llu, leads %d, commit %llu, applied %llu:", i + 1,
            (unsigned long long)myco_rlog_term(server->log), myco_rlog_is_leader(server->log),
            (unsigned long long)myco_rlog_commit_index(server->log),
            (unsigned long long)myco_rlog_applied_index(server->log));
        for (size_t j = 0; j < count; j++)
            printf(" %llu=%s", (unsigned long long)servers[j].id, myco_role_name(servers[j].role));
        printf("\n");
    }
}

static bool survives(uint64_t seed, struct totals *totals)
{
    struct world world;
    world_init(&world, seed % 3 == 0 ? 5 : 3, seed);
    world.torn_crashes = seed % 4 != 0;
    world.duplicate_percent = seed % 2 ? 5 : 0;
    world.options.snapshot_threshold = seed % 5 == 0 ? 1024 : 20;
    world.options.snapshot_trailing = seed % 7 == 0 ? 5 : 10;
    bool changes = seed % 3 == 0;
    world_bootstrap(&world, 3);
    unsigned number = 0;
    for (int round = 0; round < 150 && world.violation[0] == '\0'; round++) {
        world_run(&world, world_random(&world, 120));
        if (world_random(&world, 2) == 0) random_fault(&world);
        if (changes && world_random(&world, 4) == 0) random_change(&world);
        for (uint64_t n = world_random(&world, 8); n > 0; n--) {
            char text[32];
            snprintf(text, sizeof text, "%u", number++);
            struct server *any = &world.servers[world_random(&world, world.count)];
            if (any->log != NULL) (void)myco_rlog_submit(any->log, myco_str(text));
        }
    }
    settle(&world);
    bool together = world_await_applied(&world, 20000);
    bool works = false; /* the last delayed message may still cost a leader its place */
    for (int attempt = 0; attempt < 5 && !works && together; attempt++)
        works = world_commit(&world, 3);
    struct server *leader = world_leader(&world);
    totals->sent += world.sent;
    if (leader != NULL) {
        totals->terms += myco_rlog_term(leader->log);
        totals->commands += leader->commands;
    }
    for (size_t i = 0; i < world.count; i++) {
        totals->restores += world.servers[i].restores;
        if (world.servers[i].failed != 0 && world.violation[0] == '\0')
            snprintf(world.violation, sizeof world.violation, "server %zu failed: %.200s", i + 1,
                world.servers[i].failure);
    }
    bool fine = works && world.violation[0] == '\0';
    if (!fine)
        note("seed %llu: %s", (unsigned long long)seed,
            world.violation[0] != '\0' ? world.violation : "the servers did not come together");
    if (!fine) describe(&world);
    world_free(&world);
    return fine;
}

int main(void)
{
    const char *one = getenv("LOG_CHAOS_SEED"), *many = getenv("LOG_CHAOS_SEEDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : 300;
    struct totals totals = {0};
    uint64_t failed = 0;
    for (uint64_t seed = first; seed < first + count; seed++) failed += !survives(seed, &totals);
    is_int(
        failed, 0, "%llu seeds keep every rule and come together again", (unsigned long long)count);
    ok(count < 100 || totals.restores > 0, "snapshots were restored");
    note("%llu terms, %llu commands, %llu snapshots restored, %llu messages",
        (unsigned long long)totals.terms, (unsigned long long)totals.commands,
        (unsigned long long)totals.restores, (unsigned long long)totals.sent);
    return plan_done();
}
