/* A seeded schedule of faults, that stops and heals at its time.
 *
 * Each kind of fault has its own clock: it strikes after a random time of which the mean is given,
 * then waits again. What it breaks it mends by itself after a random while, and at the end
 * everything. Plans of a nemesis that was replaced are void (by its number). */
#include "env/sim_private.h"

enum fault { CRASH, PARTITION, PAUSE, JUMP, LOSS, STORE, FAULT_COUNT };

struct sim_nemesis {
    struct myco_sim *sim;
    struct myco_sim_nemesis plan;
    struct myco_sim_random random;
    struct myco_sim_path calm; /* as paths were before the first fault */
    uint64_t number, until;
    bool lossy;
};

static uint64_t number_or(uint64_t value, uint64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static uint64_t draw_ms(struct sim_nemesis *nemesis, uint64_t low, uint64_t high)
{
    return myco_sim_random_between(&nemesis->random, low, high);
}

static unsigned draw_host(struct sim_nemesis *nemesis)
{
    return (unsigned)myco_sim_random_below(&nemesis->random, nemesis->sim->host_count);
}

/* An event of this nemesis; never after its end, so that nothing strikes (or mends) later. */
static void plan_event(struct sim_nemesis *nemesis, uint64_t delay_ms, uint64_t what,
    uint64_t detail, sim_event_cb run)
{
    uint64_t at = nemesis->sim->now + delay_ms * MYCO_SIM_MS;
    if (at >= nemesis->until) return;
    struct sim_event *event = myco__sim_event(nemesis->sim, at, run);
    event->a = nemesis->number;
    event->b = what;
    event->c = detail;
    myco__sim_event_push(event);
}

static struct sim_nemesis *current(struct sim_event *event)
{
    struct sim_nemesis *nemesis = event->sim->nemesis;
    return nemesis != NULL && nemesis->number == event->a ? nemesis : NULL;
}

/* ── The faults ─────────────────────────────────────────────────────────────────────────────── */

static void run_restart(struct sim_event *event)
{
    if (current(event) == NULL) return;
    if (!event->sim->hosts[event->b]->up) myco_sim_start(event->sim, (unsigned)event->b);
}

static void strike_crash(struct sim_nemesis *nemesis)
{
    struct myco_sim *sim = nemesis->sim;
    unsigned host = draw_host(nemesis);
    unsigned down_max = (unsigned)number_or(nemesis->plan.down_max, (sim->host_count - 1) / 2);
    unsigned percent = (unsigned)number_or(nemesis->plan.power_percent, 50);
    bool power = percent <= 100 && draw_ms(nemesis, 1, 100) <= percent;
    uint64_t down_ms = draw_ms(nemesis, 50, number_or(nemesis->plan.down_ms_max, 3000));
    if (!sim->hosts[host]->up || myco_sim_down_count(sim) >= down_max) return;
    myco_sim_crash(sim, host, power ? MYCO_SIM_POWER : MYCO_SIM_KILL);
    plan_event(nemesis, down_ms, host, 0, run_restart);
}

/* b = from, c = to; or b = MYCO_SIM_NONE: everything. */
static void run_mend(struct sim_event *event)
{
    if (current(event) == NULL) return;
    if (event->b == MYCO_SIM_NONE)
        myco_sim_mend_all(event->sim);
    else
        myco_sim_mend(event->sim, (unsigned)event->b, (unsigned)event->c);
}

static void cut_sides(struct sim_nemesis *nemesis)
{
    uint8_t side[MYCO_SIM_HOSTS_MAX];
    for (unsigned i = 0; i < nemesis->sim->host_count; i++) side[i] = draw_ms(nemesis, 0, 1) == 1;
    myco_sim_partition(nemesis->sim, side);
}

static void strike_partition(struct sim_nemesis *nemesis)
{
    uint64_t ms = draw_ms(nemesis, 10, number_or(nemesis->plan.cut_ms_max, 3000));
    uint64_t shape = draw_ms(nemesis, 0, 2);
    unsigned from = draw_host(nemesis), to = draw_host(nemesis);
    if (shape == 0)
        cut_sides(nemesis);
    else if (shape == 1)
        myco_sim_isolate(nemesis->sim, from);
    else
        myco_sim_cut(nemesis->sim, from, to);
    if (shape == 2)
        plan_event(nemesis, ms, from, to, run_mend);
    else
        plan_event(nemesis, ms, MYCO_SIM_NONE, 0, run_mend);
}

/* A pause ends before the nemesis does. */
static void strike_pause(struct sim_nemesis *nemesis)
{
    unsigned host = draw_host(nemesis);
    uint64_t ms = draw_ms(nemesis, 1, number_or(nemesis->plan.pause_ms_max, 2000));
    uint64_t left_ms = (nemesis->until - nemesis->sim->now) / MYCO_SIM_MS;
    myco_sim_pause(nemesis->sim, host, ms < left_ms ? ms : left_ms);
}

static void strike_jump(struct sim_nemesis *nemesis)
{
    unsigned host = draw_host(nemesis);
    uint64_t max = number_or(nemesis->plan.jump_ms_max, 3600000);
    myco_sim_jump_wall(nemesis->sim, host, (int64_t)draw_ms(nemesis, 0, 2 * max) - (int64_t)max);
}

static void calm_down(struct sim_nemesis *nemesis)
{
    if (nemesis->lossy) myco_sim_set_all_paths(nemesis->sim, &nemesis->calm);
    nemesis->lossy = false;
}

static void run_calm(struct sim_event *event)
{
    if (current(event) != NULL) calm_down(event->sim->nemesis);
}

static void strike_loss(struct sim_nemesis *nemesis)
{
    struct myco_sim_path path = nemesis->calm;
    path.loss_ppm = (uint32_t)draw_ms(nemesis, 1000, 300000);
    path.duplicate_ppm = (uint32_t)draw_ms(nemesis, 0, 100000);
    path.delay_max_ns += draw_ms(nemesis, 0, 50) * MYCO_SIM_MS;
    if (path.delay_tail_ns < path.delay_max_ns) path.delay_tail_ns = path.delay_max_ns;
    uint64_t ms = draw_ms(nemesis, 10, number_or(nemesis->plan.cut_ms_max, 3000));
    if (nemesis->lossy) return;
    nemesis->lossy = true;
    myco_sim_set_all_paths(nemesis->sim, &path);
    plan_event(nemesis, ms, 0, 0, run_calm);
}

static void run_store_back(struct sim_event *event)
{
    if (current(event) != NULL) myco_sim_shared_cut(event->sim, (unsigned)event->b, false);
}

static void strike_store(struct sim_nemesis *nemesis)
{
    unsigned host = draw_host(nemesis);
    uint64_t ms = draw_ms(nemesis, 10, number_or(nemesis->plan.cut_ms_max, 3000));
    if (nemesis->sim->hosts[host]->shared.cut) return;
    myco_sim_shared_cut(nemesis->sim, host, true);
    plan_event(nemesis, ms, host, 0, run_store_back);
}

/* ── The schedule ───────────────────────────────────────────────────────────────────────────── */

static uint64_t mean_ms(const struct myco_sim_nemesis *plan, enum fault fault)
{
    const uint64_t means[FAULT_COUNT] = {plan->crash_ms, plan->partition_ms, plan->pause_ms,
        plan->jump_ms, plan->loss_ms, plan->store_ms};
    return means[fault];
}

static void run_strike(struct sim_event *event);

/* Uniform in [0, 2 × mean]: no logarithm, and so no difference between two machines' libm. */
static void plan_strike(struct sim_nemesis *nemesis, enum fault fault)
{
    uint64_t mean = mean_ms(&nemesis->plan, fault);
    if (mean > 0) plan_event(nemesis, draw_ms(nemesis, 1, 2 * mean), fault, 0, run_strike);
}

static void run_strike(struct sim_event *event)
{
    static void (*const strikes[FAULT_COUNT])(struct sim_nemesis *) = {
        strike_crash, strike_partition, strike_pause, strike_jump, strike_loss, strike_store};
    struct sim_nemesis *nemesis = current(event);
    if (nemesis == NULL) return;
    strikes[event->b](nemesis);
    plan_strike(nemesis, (enum fault)event->b);
}

void myco_sim_heal(struct myco_sim *sim)
{
    myco_sim_mend_all(sim);
    if (sim->nemesis != NULL) calm_down(sim->nemesis);
    for (unsigned host = 0; host < sim->host_count; host++) {
        myco_sim_shared_cut(sim, host, false);
        if (!sim->hosts[host]->up) myco_sim_start(sim, host);
    }
}

/* The number goes up: what is planned, is void. */
static void run_end(struct sim_event *event)
{
    struct sim_nemesis *nemesis = current(event);
    if (nemesis == NULL) return;
    nemesis->number++;
    myco_sim_heal(event->sim);
}

void myco_sim_nemesis(struct myco_sim *sim, const struct myco_sim_nemesis *plan)
{
    if (sim->nemesis != NULL)
        myco_sim_heal(sim);
    else
        sim->nemesis = myco_alloc(sizeof(struct sim_nemesis));
    struct sim_nemesis *nemesis = sim->nemesis;
    nemesis->sim = sim;
    nemesis->plan = *plan;
    nemesis->number++;
    nemesis->calm = sim->options.path;
    nemesis->until = sim->now + plan->until_ms * MYCO_SIM_MS;
    myco_sim_random_init(
        &nemesis->random, sim->options.seed, myco_hash_mix(2000000, nemesis->number));
    for (enum fault fault = 0; fault < FAULT_COUNT; fault++) plan_strike(nemesis, fault);
    struct sim_event *end = myco__sim_event(sim, nemesis->until, run_end);
    end->a = nemesis->number;
    myco__sim_event_push(end);
}
