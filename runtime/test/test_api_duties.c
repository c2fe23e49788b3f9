/* Catches: two nodes that hold one duty at the same time, a duty that nobody takes over when its
 * holder resigns or leaves, an epoch that repeats or goes back. */
#include "api_kit.h"

static struct myco *nodes[KIT_NODES];
static struct myco_err err;

/* ── what the three candidates were told ── */

static struct stage {
    struct candidate {
        struct myco_election *election;
        bool held;
        unsigned told;
        char leader[64];
    } of[KIT_NODES];
    unsigned held, overlaps, stale;
    uint64_t epoch, changes;
    uint64_t beyond; /* wanted: a holder whose epoch is above */
    int not_by;      /* and who is not this one; -1: any */
    int by;          /* found: that holder */
} stage;

static void on_duty(const struct myco_duty *duty, void *data)
{
    struct candidate *candidate = data;
    kit_lock();
    candidate->told++;
    snprintf(candidate->leader, sizeof candidate->leader, "%s", duty->leader);
    if (duty->held && !candidate->held) {
        stage.overlaps += stage.held > 0;
        stage.stale += duty->epoch <= stage.epoch;
        stage.epoch = duty->epoch;
        stage.held++;
        stage.changes++;
    }
    if (!duty->held && candidate->held) stage.held--;
    candidate->held = duty->held;
    kit_unlock();
}

static int holder(void)
{
    for (int i = 0; i < KIT_NODES; i++)
        if (stage.of[i].held) return i;
    return -1;
}

static bool has_holder(void *data)
{
    (void)data;
    stage.by = holder();
    return stage.by >= 0 && stage.by != stage.not_by && stage.epoch > stage.beyond;
}

static bool all_know(void *data)
{
    const char *leader = data;
    for (int i = 0; i < KIT_NODES; i++)
        if (stage.of[i].election && strcmp(stage.of[i].leader, leader) != 0) return false;
    return true;
}

static int await_holder(int not_by)
{
    kit_lock();
    stage.not_by = not_by;
    kit_unlock();
    if (!kit_wait(has_holder, NULL, KIT_WAIT_MS)) bail_out("nobody holds it");
    kit_lock();
    int now = stage.by; /* it may have lost it since */
    stage.beyond = stage.epoch;
    kit_unlock();
    return now;
}

static void campaign(int i)
{
    if (myco_campaign(
            nodes[i], "nightly-report", on_duty, &stage.of[i], &stage.of[i].election, &err))
        bail_out("campaign: %s", err.message);
}

/* Marked as given up before it is: the next holder may be told at once. */
static void resign(int i)
{
    struct myco_election *election = stage.of[i].election;
    kit_lock();
    stage.of[i].election = NULL;
    if (stage.of[i].held) stage.held--;
    stage.of[i].held = false;
    kit_unlock();
    myco_resign(election, NULL, NULL);
}

static void test_one_of_three(void)
{
    for (int i = 0; i < KIT_NODES; i++) campaign(i);
    int first = await_holder(-1);
    ok(kit_wait(all_know, (void *)(uintptr_t)kit_names[first], KIT_WAIT_MS),
        "one of three holds it, and all know who");
    uint64_t epoch = stage.epoch, before = kit_now_ms();
    resign(first);
    int second = await_holder(first);
    ok(second != first && stage.epoch > epoch, "resigned: another has it, in a later epoch");
    note("after %llu ms", (unsigned long long)(kit_now_ms() - before));
    campaign(first);
    kit_lock();
    stage.beyond = 0;
    kit_unlock();
    is_int(await_holder(-1), second, "who comes later has to wait");
    epoch = stage.epoch;
    before = kit_now_ms();
    myco_close(nodes[second]);
    nodes[second] = NULL;
    kit_lock();
    bool told = !stage.of[second].held;
    kit_unlock();
    ok(told, "who leaves is told that it lost it before it is gone");
    stage.of[second].election = NULL; /* it went with its node */
    int third = await_holder(second);
    ok(third != second && stage.epoch > epoch, "the holder left: another has it, later epoch");
    note("after %llu ms", (unsigned long long)(kit_now_ms() - before));
    is_int(stage.overlaps, 0, "never two at the same time");
    is_int(stage.stale, 0, "every epoch is higher than the one before");
    for (int i = 0; i < KIT_NODES; i++)
        if (nodes[i]) resign(i);
}

static unsigned resigned;

static void on_resigned(void *data)
{
    (void)data;
    kit_lock();
    resigned++;
    kit_unlock();
}

static void test_words(struct myco *node)
{
    struct myco_election *election;
    const char *const wrong[] = {
        "", "a b", "tab\there", "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        is_int(myco_campaign(node, wrong[i], on_duty, &stage.of[0], &election, &err), MYCO_EINVAL,
            "%s", err.message);
    memset(&stage, 0, sizeof stage);
    campaign(0);
    ok(await_holder(-1) == 0, "alone, one holds it");
    uint64_t epoch = stage.epoch;
    myco_resign(stage.of[0].election, on_resigned, NULL);
    is_int(resigned, 1, "resigned");
    stage.held = 0;
    stage.of[0].held = false;
    campaign(0);
    await_holder(-1);
    ok(stage.epoch > epoch, "and holds it again in a later epoch");
    unsigned told = stage.of[0].told;
    myco_resign(stage.of[0].election, NULL, NULL);
    myco_flush(node, NULL);
    is_int(stage.of[0].told, told, "nothing is said after a resignation");
    myco_resign(NULL, NULL, NULL);
}

int main(void)
{
    kit_cluster(nodes);
    test_one_of_three();
    for (int i = 0; i < KIT_NODES; i++) myco_close(nodes[i]);
    nodes[0] = kit_single("solo");
    test_words(nodes[0]);
    myco_close(nodes[0]);
    return plan_done();
}
