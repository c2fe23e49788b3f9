/* What operators do while things fail: nodes leave as planned and come back, policies are changed
 * and taken back. Its dice are its own: without it a seed runs as it always did.
 *
 * A leave may be cut short by anything: a crash, a partition, its own deadline. Whatever came of
 * it, the process ends, and starts again later on the same folder. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "host/sim_world.h"

#define LEAVE_MS        6000 /* mean times between two of a kind */
#define POLICY_MS       4000
#define LEAVE_LIMIT_MS  2000
#define POLICY_LIMIT_MS 2000

struct sim_acts {
    struct sim_world *world;
    struct myco_sim_random random;
    uint64_t until_ns;
    uint64_t leaves, left, policies, taken, refused;
    bool running;
};

struct leave {
    struct sim_acts *acts;
    struct sim_node *node;
    unsigned starts; /* the life of the node that leaves */
};

struct sim_acts *sim_acts_new(struct sim_world *world)
{
    struct sim_acts *acts = myco_alloc(sizeof *acts);
    acts->world = world;
    myco_sim_random_init(&acts->random, world->options.seed, 78);
    return acts;
}

void sim_acts_free(struct sim_acts *acts)
{
    myco_free(acts);
}

static bool over(const struct sim_acts *acts)
{
    return !acts->running || myco_sim_now_ns(acts->world->sim) >= acts->until_ns;
}

/* Uniform in [1, 2 × mean]. */
static void later(struct sim_acts *acts, uint64_t mean_ms, void (*act)(void *data))
{
    uint64_t ms = myco_sim_random_between(&acts->random, 1, 2 * mean_ms);
    myco_sim_at(acts->world->sim, ms * MYCO_SIM_MS, act, acts);
}

/* A node that lives, is ready, and is not on its way out. */
static struct sim_node *some_node(struct sim_acts *acts)
{
    struct sim_world *world = acts->world;
    unsigned host = (unsigned)myco_sim_random_below(&acts->random, world->options.nodes);
    struct sim_node *node = &world->nodes[host];
    bool fit = node->core && !node->failed && !node->leaving && myco_core_ready(node->core) &&
               !myco_sim_paused(world->sim, host);
    return fit ? node : NULL;
}

/* ── leaving ── */

static void end_process(void *data)
{
    struct leave *leave = data;
    struct sim_node *node = leave->node;
    if (node->core && node->starts == leave->starts) {
        uint64_t ms = myco_sim_random_between(&leave->acts->random, 50, 3000);
        sim_node_restart(node, ms);
    }
    myco_free(leave);
}

/* Called by the node itself, on its stack; a process that dies before it does so is not told. */
static void left(void *data)
{
    struct sim_node *node = data;
    struct sim_acts *acts = node->world->acts;
    struct leave *leave = myco_alloc(sizeof *leave);
    *leave = (struct leave){acts, node, node->starts};
    acts->left++;
    myco_sim_at(node->world->sim, 0, end_process, leave);
}

/* While a version before features runs somewhere, nobody leaves: what left is not asked whether it
 * knows a feature, and an old node that came back later could only halt. */
static bool is_mixed(const struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (world->nodes[i].older) return true;
    return false;
}

static void let_leave(void *data)
{
    struct sim_acts *acts = data;
    struct sim_world *world = acts->world;
    if (over(acts)) return;
    struct sim_node *node = some_node(acts);
    later(acts, LEAVE_MS, let_leave);
    if (!node || world->options.nodes < 2 || is_mixed(world)) return;
    acts->leaves++;
    node->leaving = true;
    myco_sim_note(world->sim, node->host, "leaves as planned");
    sim_events_node_down(node);
    sim_fence_node_down(node);
    myco_core_leave(node->core, LEAVE_LIMIT_MS, left, node);
}

/* ── policies ── */

static const struct {
    int kind;
    const char *name, *source;
} policies[] = {
    {MYCO_POLICY_PERSISTENCE, "hurried",
        "return { kind = 'persistence', doc = 'Twice a second.',\n"
        "  plan = function() return { every_ms = 500, snapshot_segments = 3, retain_ms = 600000 } "
        "end,\n"
        "  examples = { { given = { septum = 'a', kind = 'durable', level = 'disk', hyphae = 1 },\n"
        "    expect = function(plan) return plan.every_ms == 500 end } } }"},
    {MYCO_POLICY_PLACEMENT, "rotated",
        "return { kind = 'placement', doc = 'One after the other.',\n"
        "  place = function(world)\n"
        "    local answer, count = {}, #world.members\n"
        "    for hypha = 1, world.hyphae do\n"
        "      local copies = {}\n"
        "      for copy = 1, math.min(world.copies, count) do\n"
        "        copies[copy] = world.members[(hypha + copy - 2) % count + 1].id\n"
        "      end\n"
        "      answer[hypha] = copies\n"
        "    end\n"
        "    return answer\n"
        "  end,\n"
        "  examples = { { given = { septum = 'a', hyphae = 1, copies = 1, current = {},\n"
        "    members = { { id = 'a', name = 'n', labels = {}, weight = 1.0 } } },\n"
        "    expect = { { 'a' } } } } }"},
    {MYCO_POLICY_ELECTION, "last",
        "return { kind = 'election', doc = 'Always the last.',\n"
        "  elect = function(world)\n"
        "    local last = world.candidates[#world.candidates]\n"
        "    return last and last.id\n"
        "  end,\n"
        "  examples = { { given = { name = 'm', candidates = {}, leaderships = {} },\n"
        "    expect = function(id) return id == nil end } } }"},
};
#define POLICY_COUNT (sizeof policies / sizeof *policies)

static void answered(const struct myco_result *result, void *data)
{
    struct sim_acts *acts = data;
    if (result->status == 0)
        acts->taken++;
    else
        acts->refused++;
}

/* As myco_policy_apply() does: checked where it was asked, then logged. */
static void apply(struct sim_acts *acts, struct sim_node *node, size_t which, uint64_t now_ms)
{
    struct myco_slice source = myco_str(policies[which].source);
    struct myco_policy_port port = myco_policies_port(node->policies);
    struct myco_buf body = {0};
    struct myco_err err = {0};
    if (port.check(policies[which].kind, policies[which].name, source, &err, port.data)) {
        sim_violated(
            acts->world, "the policy %s is refused: %s", policies[which].name, err.message);
        return;
    }
    myco_command_policy(&body, policies[which].kind, policies[which].name, source, "sim", now_ms);
    myco_core_submit(node->core, MYCO_COMMAND_POLICY, &body, POLICY_LIMIT_MS, answered, acts);
}

static void change_policy(void *data)
{
    struct sim_acts *acts = data;
    if (over(acts)) return;
    struct sim_node *node = some_node(acts);
    size_t which = (size_t)myco_sim_random_below(&acts->random, POLICY_COUNT);
    bool back = myco_sim_random_below(&acts->random, 3) == 0;
    later(acts, POLICY_MS, change_policy);
    if (!node || !node->policies) return;
    struct myco_env *env = myco_sim_env(acts->world->sim, node->host);
    uint64_t now_ms = env->ops->wall_ms(env);
    acts->policies++;
    if (!back) {
        apply(acts, node, which, now_ms);
        return;
    }
    struct myco_buf body = {0};
    myco_command_rollback(&body, policies[which].kind, "sim", now_ms);
    myco_core_submit(node->core, MYCO_COMMAND_ROLLBACK, &body, POLICY_LIMIT_MS, answered, acts);
}

/* ── all ── */

void sim_acts_start(struct sim_world *world, uint64_t ms)
{
    struct sim_acts *acts = world->acts;
    acts->until_ns = myco_sim_now_ns(world->sim) + ms * MYCO_SIM_MS;
    acts->running = true;
    later(acts, LEAVE_MS, let_leave);
    later(acts, POLICY_MS, change_policy);
}

/* Who is about to leave starts again, as what supervises it would see to. */
void sim_acts_stop(struct sim_world *world)
{
    world->acts->running = false;
    for (unsigned i = 0; i < world->options.nodes; i++)
        if (world->nodes[i].leaving && world->nodes[i].core)
            sim_node_restart(&world->nodes[i], 100);
}

void sim_acts_report(struct sim_world *world, FILE *file)
{
    const struct sim_acts *acts = world->acts;
    if (!world->options.all_faults) return;
    fprintf(file,
        "  operators: %llu leaves (%llu to their end), %llu changes of policies (%llu done, %llu "
        "not)\n",
        (unsigned long long)acts->leaves, (unsigned long long)acts->left,
        (unsigned long long)acts->policies, (unsigned long long)acts->taken,
        (unsigned long long)acts->refused);
}
