/* Catches: a timer that fires by true time rather than by its host's clock, one that survives the
 * crash of its process, a pause that loses or reorders what it held up, a reboot that continues the
 * old clock. */
#include "base/mem.h"
#include "env/sim.h"
#include "tap.h"

static struct myco_sim *world(unsigned hosts, uint32_t drift)
{
    struct myco_sim_options options;
    myco_sim_options_init(&options, 7, hosts);
    options.drift_ppm_max = drift;
    return myco_sim_new(&options);
}

struct fired {
    struct myco_sim *sim;
    uint64_t at_ns;
    unsigned count;
};

static void on_timer(void *data)
{
    struct fired *fired = data;
    fired->count++;
    fired->at_ns = myco_sim_now_ns(fired->sim);
}

static void test_drift(void)
{
    struct myco_sim *sim = world(2, 0);
    struct fired fast = {.sim = sim}, slow = {.sim = sim};
    struct myco_timer fast_timer, slow_timer;
    myco_sim_set_drift(sim, 0, 10000);
    myco_sim_set_drift(sim, 1, -10000);
    myco_sim_start(sim, 0);
    myco_sim_start(sim, 1);
    uint64_t before[2] = {myco_sim_host_now_ns(sim, 0), myco_sim_host_now_ns(sim, 1)};
    myco_timer_init(&fast_timer, myco_sim_env(sim, 0), on_timer, &fast);
    myco_timer_init(&slow_timer, myco_sim_env(sim, 1), on_timer, &slow);
    myco_timer_start(&fast_timer, 10000, 0);
    myco_timer_start(&slow_timer, 10000, 0);
    myco_sim_run(sim, 20000);
    is_int(myco_sim_host_now_ns(sim, 0) - before[0], 20200 * MYCO_SIM_MS,
        "20 s last 20.2 on a clock that is 1 %% fast");
    is_int(myco_sim_host_now_ns(sim, 1) - before[1], 19800 * MYCO_SIM_MS, "and 19.8 on a slow one");
    is_int(fast.at_ns / MYCO_SIM_MS, 9900, "its timer of 10 s fires after 9.9");
    is_int(slow.at_ns / MYCO_SIM_MS, 10101, "the slow one's after 10.1");
    myco_sim_free(sim);
}

static void test_random_drift(void)
{
    struct myco_sim *sim = world(50, 10000);
    int32_t least = 10000, most = -10000;
    for (unsigned host = 0; host < 50; host++) {
        int32_t drift = myco_sim_drift_ppm(sim, host);
        if (drift < least) least = drift;
        if (drift > most) most = drift;
    }
    ok(least < -5000 && most > 5000 && least >= -10000 && most <= 10000,
        "drifts are spread over ± 1 %% (%d to %d ppm)", least, most);
    myco_sim_free(sim);
}

static void test_timer_dies(void)
{
    struct myco_sim *sim = world(1, 0);
    struct fired fired = {.sim = sim};
    struct myco_timer timer;
    struct myco_deferred deferred = {0};
    myco_sim_start(sim, 0);
    myco_timer_init(&timer, myco_sim_env(sim, 0), on_timer, &fired);
    myco_timer_start(&timer, 100, 100);
    myco_sim_run(sim, 250);
    is_int(fired.count, 2, "a repeating timer fired twice");
    myco_defer(myco_sim_env(sim, 0), &deferred, on_timer, &fired);
    myco_sim_crash(sim, 0, MYCO_SIM_KILL);
    myco_sim_start(sim, 0);
    myco_sim_run(sim, 1000);
    is_int(fired.count, 2, "neither it nor what was deferred outlives the process");
    myco_sim_free(sim);
}

static void test_reboot(void)
{
    struct myco_sim *sim = world(1, 0);
    struct myco_env *env = myco_sim_env(sim, 0);
    myco_sim_start(sim, 0);
    myco_sim_run(sim, 100000);
    uint64_t before = myco_now_ns(env), wall = env->ops->wall_ms(env), draw = myco_random_u64(env);
    myco_sim_crash(sim, 0, MYCO_SIM_KILL);
    myco_sim_start(sim, 0);
    ok(myco_now_ns(env) == before, "a new process on the same machine: the same monotonic clock");
    ok(myco_random_u64(env) != draw, "and other random numbers");
    myco_sim_crash(sim, 0, MYCO_SIM_POWER);
    myco_sim_start(sim, 0);
    ok(myco_now_ns(env) < 60 * MYCO_SIM_SECOND + 1,
        "a machine switched on: its monotonic clock starts again");
    ok(env->ops->wall_ms(env) == wall, "its wall clock does not");
    myco_sim_jump_wall(sim, 0, -3600000);
    ok(env->ops->wall_ms(env) == wall - 3600000, "that jumps when it is told to");
    myco_sim_free(sim);
}

struct heard {
    char text[64];
    uint64_t last_ns;
    struct myco_sim *sim;
};

static void on_datagram(const struct myco_addr *from, struct myco_slice bytes, void *data)
{
    struct heard *heard = data;
    (void)from;
    strncat(heard->text, bytes.data, bytes.size);
    heard->last_ns = myco_sim_now_ns(heard->sim);
}

static void send_letter(struct myco_sim *sim, const char *letter)
{
    struct myco_env *env = myco_sim_env(sim, 0);
    struct myco_addr to = myco_sim_addr(1);
    env->ops->datagram_send(env, &to, myco_bytes(letter, 1));
}

static void test_pause(void)
{
    struct myco_sim *sim = world(2, 0);
    struct heard heard = {.sim = sim};
    struct fired fired = {.sim = sim};
    struct myco_timer timer;
    myco_sim_start(sim, 0);
    myco_sim_start(sim, 1);
    myco_sim_env(sim, 1)->on_datagram = on_datagram;
    myco_sim_env(sim, 1)->on_datagram_data = &heard;
    myco_timer_init(&timer, myco_sim_env(sim, 1), on_timer, &fired);
    myco_timer_start(&timer, 200, 0);
    myco_sim_pause(sim, 1, 1000);
    for (const char *at = "abcdef"; *at != '\0'; at++) {
        send_letter(sim, at);
        myco_sim_run(sim, 50);
    }
    is_str(heard.text, "", "a paused host hears nothing");
    is_int(fired.count, 0, "and its timers wait");
    ok(myco_sim_paused(sim, 1), "it is paused");
    myco_sim_run(sim, 1000);
    is_str(heard.text, "abcdef", "afterwards it hears all of it, in order");
    is_int(heard.last_ns / MYCO_SIM_MS, 1000, "at once when it goes on");
    is_int(fired.at_ns / MYCO_SIM_MS, 1000, "and its timer is late");
    myco_sim_pause(sim, 1, 500);
    myco_sim_crash(sim, 1, MYCO_SIM_KILL);
    myco_sim_start(sim, 1);
    ok(!myco_sim_paused(sim, 1), "a new process is not paused");
    myco_sim_free(sim);
}

static void test_loss(void)
{
    struct myco_sim *sim = world(2, 0);
    struct heard heard = {.sim = sim};
    struct myco_sim_path path = {1000, 40 * MYCO_SIM_MS, 0, 0, 500000, 0, 8000};
    myco_sim_set_path(sim, 0, 1, &path);
    myco_sim_start(sim, 0);
    myco_sim_start(sim, 1);
    myco_sim_env(sim, 1)->on_datagram = on_datagram;
    myco_sim_env(sim, 1)->on_datagram_data = &heard;
    const char *letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+";
    for (const char *at = letters; *at != '\0'; at++) send_letter(sim, at);
    myco_sim_run(sim, 1000);
    size_t size = strlen(heard.text), turns = 0;
    for (size_t i = 1; i < size; i++)
        turns += strchr(letters, heard.text[i]) < strchr(letters, heard.text[i - 1]);
    ok(size > 15 && size < 48, "half of the datagrams are lost: %zu of 63 arrived", size);
    ok(turns > 3, "they overtake each other (%zu times)", turns);
    myco_sim_free(sim);

    sim = world(2, 0);
    heard.text[0] = '\0';
    heard.sim = sim;
    path = (struct myco_sim_path){1000, 2000, 0, 0, 0, 1000000, 8000};
    myco_sim_set_all_paths(sim, &path);
    myco_sim_start(sim, 0);
    myco_sim_start(sim, 1);
    myco_sim_env(sim, 1)->on_datagram = on_datagram;
    myco_sim_env(sim, 1)->on_datagram_data = &heard;
    send_letter(sim, "x");
    myco_sim_run(sim, 10);
    is_str(heard.text, "xx", "a datagram can come twice");
    myco_sim_cut(sim, 1, 0);
    send_letter(sim, "y");
    myco_sim_run(sim, 10);
    is_str(heard.text, "xxyy", "a cut in the other direction does not stop it");
    myco_sim_cut(sim, 0, 1);
    send_letter(sim, "z");
    myco_sim_run(sim, 10);
    is_str(heard.text, "xxyy", "a cut in its own does");
    myco_sim_free(sim);
}

int main(void)
{
    test_drift();
    test_random_drift();
    test_timer_dies();
    test_reboot();
    test_pause();
    test_loss();
    return plan_done();
}
