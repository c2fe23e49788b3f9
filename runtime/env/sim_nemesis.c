/* A seeded schedule of faults, that stops and heals at its time.
 *
 * Each kind of fault has its own clock: it strikes after a random time of which the mean is given,
 * then waits again. What it breaks it mends by itself after a random while, and at the end
 * everything. Plans of a nemesis that was replaced are void (by its number). */
#include "env/sim_private.h"

enum fault {
    CRASH,
    PARTITION,
    PAUSE,
    JUMP,
    LOSS,
    STORE,
    PARTIAL, /* from here on by the dice of `more` */
    FLAP,
    BREAK,
    STORM,
    SUSPEND,
    FAULT_COUNT
};

struct sim_nemesis {
    struct myco_sim *sim;
    struct myco_sim_nemesis plan;
    struct myco_sim_random random, more;
    struct myco_sim_path calm; /* as paths were before the first fault */
    uint64_t number, until, storms;
    bool lossy, stormy;
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
    if (nemesis->lossy || nemesis->stormy) myco_sim_set_all_paths(nemesis->sim, &nemesis->calm);
    nemesis->lossy = nemesis->stormy = false;
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

/* ── Faults that came later ─────────────────────────────────────────────────────────────────── */

static uint64_t more_between(struct sim_nemesis *nemesis, uint64_t low, uint64_t high)
{
    return myco_sim_random_between(&nemesis->more, low, high);
}

static unsigned more_host(struct sim_nemesis *nemesis)
{
    return (unsigned)myco_sim_random_below(&nemesis->more, nemesis->sim->host_count);
}

static uint64_t more_cut_ms(struct sim_nemesis *nemesis)
{
    return more_between(nemesis, 10, number_or(nemesis->plan.cut_ms_max, 3000));
}

enum shape { PAIR, RING, STAR, TWO_SIDES, SHAPE_COUNT };

/* Do `a` and `b` lose each other? `middle` reaches all. */
static bool is_apart(
    enum shape shape, unsigned count, unsigned middle, uint64_t sides, unsigned a, unsigned b)
{
    unsigned apart = a > b ? a - b : b - a;
    if (shape == RING) return apart != 1 && apart != count - 1;
    if (a == middle || b == middle) return false;
    return shape == STAR || ((sides >> a % 64 ^ sides >> b % 64) & 1) != 0;
}

static void strike_partial(struct sim_nemesis *nemesis)
{
    struct myco_sim *sim = nemesis->sim;
    enum shape shape = (enum shape)more_between(nemesis, 0, SHAPE_COUNT - 1);
    unsigned from = more_host(nemesis), to = more_host(nemesis);
    uint64_t sides = myco_sim_random_u64(&nemesis->more), ms = more_cut_ms(nemesis);
    if (sim->host_count < 3) return;
    if (shape == PAIR) myco_sim_cut_both(sim, from, to);
    for (unsigned a = 0; shape != PAIR && a < sim->host_count; a++)
        for (unsigned b = a + 1; b < sim->host_count; b++)
            if (is_apart(shape, sim->host_count, from, sides, a, b)) myco_sim_cut_both(sim, a, b);
    plan_event(nemesis, ms, MYCO_SIM_NONE, 0, run_mend);
}

/* b = from << 32 | to; c = true time of the end << 1 | both ways. What it planned last, mends. */
static void run_flap(struct sim_event *event)
{
    struct myco_sim *sim = event->sim;
    struct sim_nemesis *nemesis = current(event);
    unsigned from = (unsigned)(event->b >> 32), to = (unsigned)event->b;
    if (nemesis == NULL) return;
    bool both = event->c & 1, over = sim->now >= event->c >> 1;
    if (myco_sim_is_cut(sim, from, to) || over) {
        myco_sim_mend(sim, from, to);
        if (both) myco_sim_mend(sim, to, from);
    } else {
        myco_sim_cut(sim, from, to);
        if (both) myco_sim_cut(sim, to, from);
    }
    if (!over) plan_event(nemesis, more_between(nemesis, 5, 400), event->b, event->c, run_flap);
}

static void strike_flap(struct sim_nemesis *nemesis)
{
    uint64_t from = more_host(nemesis), to = more_host(nemesis);
    uint64_t end = nemesis->sim->now + more_cut_ms(nemesis) * MYCO_SIM_MS;
    uint64_t both = more_between(nemesis, 0, 1);
    if (from != to) plan_event(nemesis, 0, from << 32 | to, end << 1 | both, run_flap);
}

/* b = the host, c = how many more. */
static void run_break(struct sim_event *event)
{
    struct sim_nemesis *nemesis = current(event);
    if (nemesis == NULL) return;
    myco_sim_break(event->sim, (unsigned)event->b, more_host(nemesis));
    if (event->c > 0)
        plan_event(nemesis, more_between(nemesis, 1, 100), event->b, event->c - 1, run_break);
}

static void strike_break(struct sim_nemesis *nemesis)
{
    unsigned host = more_host(nemesis);
    plan_event(nemesis, 0, host, more_between(nemesis, 0, 7), run_break);
}

static void set_paths_of(
    struct sim_nemesis *nemesis, unsigned host, const struct myco_sim_path *path)
{
    for (unsigned other = 0; other < nemesis->sim->host_count; other++) {
        if (other == host) continue;
        myco_sim_set_path(nemesis->sim, host, other, path);
        myco_sim_set_path(nemesis->sim, other, host, path);
    }
}

/* The end of a loss ended it, too, and another may blow by now: c says which one is meant. */
static void run_after_storm(struct sim_event *event)
{
    struct sim_nemesis *nemesis = current(event);
    if (nemesis == NULL || !nemesis->stormy || nemesis->storms != event->c) return;
    nemesis->stormy = false;
    set_paths_of(nemesis, (unsigned)event->b, &nemesis->calm);
}

static void strike_storm(struct sim_nemesis *nemesis)
{
    struct myco_sim_path path = nemesis->calm;
    unsigned host = more_host(nemesis);
    path.duplicate_ppm = (uint32_t)more_between(nemesis, 200000, 900000);
    path.loss_ppm = (uint32_t)more_between(nemesis, 0, 100000);
    path.delay_max_ns += more_between(nemesis, 5, 200) * MYCO_SIM_MS;
    if (path.delay_tail_ns < path.delay_max_ns) path.delay_tail_ns = path.delay_max_ns;
    uint64_t ms = more_cut_ms(nemesis);
    if (nemesis->stormy) return;
    nemesis->stormy = true;
    set_paths_of(nemesis, host, &path);
    plan_event(nemesis, ms, host, ++nemesis->storms, run_after_storm);
}

/* A sleep ends before the nemesis does. */
static void strike_suspend(struct sim_nemesis *nemesis)
{
    unsigned host = more_host(nemesis);
    uint64_t ms = more_between(nemesis, 2000, number_or(nemesis->plan.suspend_ms_max, 12000));
    uint64_t left_ms = (nemesis->until - nemesis->sim->now) / MYCO_SIM_MS;
    myco_sim_pause(nemesis->sim, host, ms < left_ms ? ms : left_ms);
}

/* ── The schedule ───────────────────────────────────────────────────────────────────────────── */

static uint64_t mean_ms(const struct myco_sim_nemesis *plan, enum fault fault)
{
    const uint64_t means[FAULT_COUNT] = {plan->crash_ms, plan->partition_ms, plan->pause_ms,
        plan->jump_ms, plan->loss_ms, plan->store_ms, plan->partial_ms, plan->flap_ms,
        plan->break_ms, plan->storm_ms, plan->suspend_ms};
    return means[fault];
}

static void run_strike(struct sim_event *event);

/* Uniform in [0, 2 × mean]: no logarithm, and so no difference between two machines' libm. */
static void plan_strike(struct sim_nemesis *nemesis, enum fault fault)
{
    uint64_t mean = mean_ms(&nemesis->plan, fault);
    struct myco_sim_random *dice = fault < PARTIAL ? &nemesis->random : &nemesis->more;
    if (mean > 0)
        plan_event(nemesis, myco_sim_random_between(dice, 1, 2 * mean), fault, 0, run_strike);
}

static void run_strike(struct sim_event *event)
{
    static void (*const strikes[FAULT_COUNT])(struct sim_nemesis *) = {strike_crash,
        strike_partition, strike_pause, strike_jump, strike_loss, strike_store, strike_partial,
        strike_flap, strike_break, strike_storm, strike_suspend};
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
    myco_sim_random_init(
        &nemesis->more, sim->options.seed, myco_hash_mix(2000001, nemesis->number));
    for (enum fault fault = 0; fault < FAULT_COUNT; fault++) plan_strike(nemesis, fault);
    struct sim_event *end = myco__sim_event(sim, nemesis->until, run_end);
    end->a = nemesis->number;
    myco__sim_event_push(end);
}
