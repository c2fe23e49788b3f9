/* The replicated state, command by command: what each does and refuses, that one sent twice counts
 * once, that sets change by compare-and-set only, that what was saved is what is loaded, and that
 * no bytes from the log can do worse than be refused. It would catch two nodes that apply the same
 * log and end up different. */
#include "base/hash.h"
#include "consensus/state.h"
#include "tap.h"

struct world {
    struct myco_state *state;
    struct myco_command_result result;
    uint64_t sequence;
    unsigned clusters, members, elections, septa, hyphae, policies;
};

static void on_cluster(void *data)
{
    ((struct world *)data)->clusters++;
}
static void on_member(uint64_t id, void *data)
{
    (void)id;
    ((struct world *)data)->members++;
}
static void on_election(const struct myco_election_record *election, void *data)
{
    (void)election;
    ((struct world *)data)->elections++;
}
static void on_septum(struct myco_septum_record *septum, void *data)
{
    (void)septum;
    ((struct world *)data)->septa++;
}
static void on_hypha(struct myco_septum_record *septum, uint32_t hypha, void *data)
{
    (void)septum, (void)hypha;
    ((struct world *)data)->hyphae++;
}
static void on_policy(int kind, const struct myco_policy_version *version, void *data)
{
    (void)kind, (void)version;
    ((struct world *)data)->policies++;
}

static void open_world(struct world *world)
{
    struct myco_state_events events = {
        on_cluster, on_member, on_election, on_septum, on_hypha, on_policy, world};
    memset(world, 0, sizeof *world);
    world->state = myco_state_new(&events);
}

static int apply_as(struct world *world, uint8_t kind, uint64_t node, uint64_t generation,
    uint64_t sequence, struct myco_buf *body)
{
    struct myco_buf command = {0};
    myco_command_begin(&command, kind, node, generation, sequence);
    myco_buf_bytes(&command, body->data, body->size);
    int rc = myco_state_apply(world->state, myco_buf_as_slice(&command), &world->result);
    myco_buf_free(&command);
    myco_buf_free(body);
    return rc;
}

/* As generation 1 of `node`, with a sequence of its own; returns the status. */
static int apply(struct world *world, uint8_t kind, uint64_t node, struct myco_buf *body)
{
    apply_as(world, kind, node, 1, ++world->sequence, body);
    return world->result.status;
}

static void init(struct world *world)
{
    struct myco_buf body = {0};
    myco_command_init(&body, 99, "test", 300, 1, 0, 0, myco_bytes(NULL, 0));
    apply_as(world, MYCO_COMMAND_INIT, 1, 1, 0, &body);
}

static int join(struct world *world, uint64_t node, uint64_t generation, bool clean)
{
    struct myco_member_record member = {0};
    struct myco_buf body = {0};
    snprintf(member.name, sizeof member.name, "n%u", (unsigned)node);
    myco_command_join(&body, &member, clean);
    apply_as(world, MYCO_COMMAND_JOIN, node, generation, ++world->sequence, &body);
    return world->result.status;
}

static int named(struct world *world, uint8_t kind, uint64_t node, const char *name)
{
    struct myco_buf body = {0};
    myco_command_name(&body, name);
    return apply(world, kind, node, &body);
}

static int grant(struct world *world, const char *name, uint64_t node, uint64_t before)
{
    struct myco_buf body = {0};
    myco_command_grant(&body, name, node, node ? 1 : 0, before);
    apply_as(world, MYCO_COMMAND_GRANT, 1, 1, 0, &body);
    return world->result.status;
}

static struct myco_septum_record *make_septum(
    struct world *world, const char *name, const char *spec)
{
    struct myco_septum_options options;
    struct myco_buf body = {0};
    myco_septum_options_parse(&options, spec, NULL);
    myco_command_septum(&body, name, &options);
    return apply(world, MYCO_COMMAND_SEPTUM, 1, &body)
               ? NULL
               : myco_state_septum(world->state, world->result.value);
}

static void place(struct world *world, uint64_t septum, uint32_t hypha, uint64_t a, uint64_t b)
{
    struct myco_buf body = {0};
    uint64_t targets[] = {a, b};
    myco_command_place(&body, septum, hypha, targets, 2);
    apply_as(world, MYCO_COMMAND_PLACE, 1, 1, 0, &body);
}

static int change_of(struct world *world, uint64_t septum, enum myco_set_change what,
    const struct myco_set *set, uint64_t node, uint64_t generation)
{
    struct myco_buf body = {0};
    myco_command_set(&body, what, septum, 0, set->epoch, set->version, node, generation);
    return apply(world, MYCO_COMMAND_SETS, 1, &body);
}

static int change(struct world *world, enum myco_set_change what, const struct myco_set *set,
    uint64_t node, uint64_t generation)
{
    return change_of(world, 1, what, set, node, generation);
}

/* ── members ── */

static void test_members(void)
{
    struct world world;
    struct myco_buf none = {0};
    open_world(&world);
    init(&world);
    is_int(world.state->cluster, 99, "born");
    is_int(world.clusters, 1, "and told");
    init(&world);
    is_int(world.result.status, MYCO_EEXISTS, "once");
    is_int(named(&world, MYCO_COMMAND_CAMPAIGN, 1, "x"), MYCO_EDENIED, "a stranger can't stand");
    is_int(join(&world, 1, 3, true), 0, "joins");
    is_int(join(&world, 1, 2, true), MYCO_EDENIED, "an older generation is refused");
    is_int(myco_state_member(world.state, 1)->generation, 3, "and changes nothing");
    is_int(named(&world, MYCO_COMMAND_CAMPAIGN, 1, "x"), MYCO_EDENIED, "nor may it speak");
    is_int(join(&world, 1, 4, true), 0, "a newer one is taken");
    apply_as(&world, MYCO_COMMAND_LEAVE, 1, 4, 50, &none);
    ok(myco_state_member(world.state, 1)->left, "leaves");
    is_int(join(&world, 1, 5, true), 0, "and comes back");
    ok(!myco_state_member(world.state, 1)->left, "as a member");
    myco_state_free(world.state);
}

/* Each sequence counts once, in any order, within the window. */
static void test_window(void)
{
    struct world world;
    open_world(&world);
    init(&world);
    join(&world, 1, 1, true);
    static const struct {
        uint64_t sequence;
        int status;
    } steps[] = {{10, 0}, {10, MYCO_EEXISTS}, {8, 0}, {9, 0}, {8, MYCO_EEXISTS}, {1033, 0},
        {10, MYCO_EEXISTS}, {9, MYCO_EEXISTS}, {11, 0}, {11, MYCO_EEXISTS}, {5000, 0},
        {1033, MYCO_EEXISTS}, {3977, 0}, {3976, MYCO_EEXISTS}, {4999, 0}, {5000, MYCO_EEXISTS},
        {6024, 0}, {5001, 0}, {5000, MYCO_EEXISTS}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct myco_buf body = {0};
        apply_as(&world, MYCO_COMMAND_BARRIER, 1, 1, steps[i].sequence, &body);
        is_int(world.result.status, steps[i].status, "sequence %u, step %u",
            (unsigned)steps[i].sequence, (unsigned)i);
    }
    struct myco_buf body = {0};
    join(&world, 1, 2, true);
    apply_as(&world, MYCO_COMMAND_BARRIER, 1, 2, 10, &body);
    is_int(world.result.status, 0, "a new generation counts anew");
    myco_state_free(world.state);
}

/* ── elections ── */

static void test_elections(void)
{
    struct world world;
    open_world(&world);
    init(&world);
    for (uint64_t node = 1; node <= 3; node++) join(&world, node, 1, true);
    is_int(named(&world, MYCO_COMMAND_CAMPAIGN, 2, "jobs"), 0, "2 stands");
    is_int(named(&world, MYCO_COMMAND_CAMPAIGN, 1, "jobs"), 0, "1 stands");
    is_int(named(&world, MYCO_COMMAND_CAMPAIGN, 1, "jobs"), 0, "twice is once");
    const struct myco_election_record *jobs = myco_state_election(world.state, "jobs");
    is_int(jobs->candidate_count, 2, "two candidates");
    is_int(jobs->candidates[0], 1, "sorted");
    is_int(grant(&world, "jobs", 2, 0), 0, "granted");
    uint64_t first = jobs->epoch;
    is_int(first >> 48, 1, "an epoch begins with the incarnation");
    is_int(grant(&world, "jobs", 1, 0), MYCO_ECONFLICT, "a grant is a compare-and-set");
    is_int(grant(&world, "jobs", 9, first), MYCO_ECONFLICT, "and only for members");
    struct myco_buf body = {0};
    myco_command_want(&body, "jobs", 1);
    is_int(apply(&world, MYCO_COMMAND_WANT, 3, &body), 0, "another is wanted");
    is_int(jobs->holder, 2, "which moves nothing");
    myco_command_release(&body, "jobs", first);
    is_int(apply(&world, MYCO_COMMAND_RELEASE, 1, &body), MYCO_ECONFLICT, "who holds it releases");
    myco_command_release(&body, "jobs", first + 1);
    is_int(apply(&world, MYCO_COMMAND_RELEASE, 2, &body), MYCO_ECONFLICT, "of its own epoch");
    myco_command_release(&body, "jobs", first);
    is_int(apply(&world, MYCO_COMMAND_RELEASE, 2, &body), 0, "releases");
    is_int(jobs->holder, 0, "it is free");
    is_int(grant(&world, "jobs", 1, first), 0, "granted to 1");
    ok(jobs->epoch > first, "with a higher epoch");
    is_int(jobs->wanted, 0, "and nobody is wanted");
    is_int(join(&world, 1, 2, true), 0, "1 starts again");
    is_int(jobs->holder, 0, "what its old process held is free");
    is_int(jobs->candidate_count, 1, "and it stands no more");
    is_int(named(&world, MYCO_COMMAND_CAMPAIGN, 2, "a b"), MYCO_EINVAL, "names have no spaces");
    myco_state_free(world.state);
}

/* ── septa and sets ── */

static void test_septa(void)
{
    struct world world;
    open_world(&world);
    init(&world);
    join(&world, 1, 1, true);
    struct myco_septum_record *septum = make_septum(&world, "a", "kind=durable hyphae=4");
    ok(septum && septum->id == 1, "made");
    ok(make_septum(&world, "a", "kind=durable hyphae=4 replicas=3") == septum, "found");
    ok(!make_septum(&world, "a", "kind=durable hyphae=8"), "not in another shape");
    is_int(world.result.status, MYCO_EEXISTS, "which is said");
    ok(make_septum(&world, "b", "kind=cache")->id == 2, "ids rise");
    is_int(world.septa, 2, "told twice");
    myco_state_free(world.state);
}

static void test_sets(void)
{
    struct world world;
    open_world(&world);
    init(&world);
    for (uint64_t node = 1; node <= 3; node++) join(&world, node, 1, true);
    struct myco_septum_record *septum = make_septum(&world, "a", "kind=durable hyphae=2");
    place(&world, 1, 0, 1, 2);
    struct myco_set *set = &septum->hyphae[0].set, before = *set;
    ok(set->primary == 1 && set->in_sync_count == 2 && set->epoch, "a new hypha begins on all");
    is_int(septum->hyphae[1].set.primary, 0, "each by itself");

    is_int(change(&world, MYCO_SET_SHRINK, set, 1, 0), MYCO_ECONFLICT, "the primary stays");
    is_int(change(&world, MYCO_SET_SHRINK, set, 2, 0), 0, "a backup leaves");
    is_int(set->in_sync_count, 1, "one is left");
    is_int(set->joining_count, 1, "and the target joins again");
    is_int(change(&world, MYCO_SET_EXPAND, &before, 2, 1), MYCO_ECONFLICT, "an old version fails");
    is_int(change(&world, MYCO_SET_EXPAND, set, 2, 7), MYCO_ECONFLICT, "another generation fails");
    is_int(change(&world, MYCO_SET_EXPAND, set, 3, 1), MYCO_ECONFLICT, "who does not join fails");
    is_int(change(&world, MYCO_SET_EXPAND, set, 2, 1), 0, "it comes back");
    is_int(change(&world, MYCO_SET_EXPAND, set, 2, 1), MYCO_ECONFLICT, "once");
    before = *set;
    is_int(change(&world, MYCO_SET_PRIMARY, set, 3, 0), MYCO_ECONFLICT, "a stranger can't lead");
    is_int(change(&world, MYCO_SET_PRIMARY, set, 2, 0), 0, "a hand-over");
    ok(set->primary == 2 && set->in_sync_count == 2, "keeps the old primary");
    ok(set->epoch > before.epoch && set->version > before.version, "in a new epoch");
    is_int(change(&world, MYCO_SET_REPLACE, set, 1, 0), 0, "a replacement");
    ok(set->primary == 1 && set->in_sync_count == 1, "drops it");
    is_int(change(&world, MYCO_SET_SHRINK, set, 1, 0), MYCO_ECONFLICT, "the last one stays");
    is_int(change(&world, MYCO_SET_LOADED, set, 1, 1), MYCO_ECONFLICT, "nothing was to be loaded");
    place(&world, 1, 0, 3, 1);
    ok(set->primary == 1 && set->joining_count == 1 && set->joining[0].node == 3,
        "placing moves nothing by itself");
    place(&world, 1, 7, 3, 1);
    place(&world, 9, 0, 3, 1);
    ok(true, "what is not there can't be placed");
    myco_state_free(world.state);
}

/* A cache that nobody has any more begins anew; nothing durable ever does. */
static void test_forget(void)
{
    struct world world;
    open_world(&world);
    init(&world);
    for (uint64_t node = 1; node <= 3; node++) join(&world, node, 1, true);
    struct myco_set *durable = &make_septum(&world, "a", "kind=durable hyphae=1")->hyphae[0].set;
    place(&world, 1, 0, 1, 2);
    is_int(change(&world, MYCO_SET_FORGET, durable, 1, 0), MYCO_ECONFLICT, "durable: refused");
    ok(durable->primary == 1 && durable->in_sync_count == 2, "and nothing is lost");
    struct myco_septum_record *septum = make_septum(&world, "b", "kind=cache hyphae=1");
    place(&world, 2, 0, 1, 2);
    struct myco_set *set = &septum->hyphae[0].set, before = *set;
    is_int(change_of(&world, 2, MYCO_SET_FORGET, set, 1, 0), 0, "a cache forgets");
    ok(!set->primary && !set->in_sync_count && set->version > before.version, "nobody holds it");
    is_int(change_of(&world, 2, MYCO_SET_FORGET, &before, 1, 0), MYCO_ECONFLICT, "once");
    is_int(change_of(&world, 2, MYCO_SET_FORGET, set, 1, 0), MYCO_ECONFLICT, "there is nothing");
    place(&world, 2, 0, 3, 2);
    ok(set->primary == 3 && set->in_sync_count == 2 && set->epoch > before.epoch,
        "placed elsewhere, it begins in a new epoch");
    myco_state_free(world.state);
}

/* Who stays in a set through a restart. */
static void test_restarts(void)
{
    static const struct {
        const char *spec;
        bool clean, stays;
    } cases[] = {{"kind=durable hyphae=1", true, true}, {"kind=durable hyphae=1", false, false},
        {"kind=durable hyphae=1 level=replicated", true, false},
        {"kind=cache hyphae=1", true, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world world;
        open_world(&world);
        init(&world);
        for (uint64_t node = 1; node <= 2; node++) join(&world, node, 1, true);
        const struct myco_septum_record *septum = make_septum(&world, "a", cases[i].spec);
        place(&world, 1, 0, 1, 2);
        const struct myco_set *set = &septum->hyphae[0].set;
        uint64_t epoch = set->epoch;
        join(&world, 1, 2, cases[i].clean);
        is_int(myco_set_has(set, 1, 2), cases[i].stays, "%s, %s: in the set after a restart",
            cases[i].spec, cases[i].clean ? "clean" : "damaged");
        is_int(set->primary, cases[i].stays ? 1 : 2, "primary");
        ok(set->epoch > epoch, "in a new epoch");
        myco_state_free(world.state);
    }
}

/* ── policies ── */

static int push_policy(struct world *world, const char *name, size_t size)
{
    struct myco_buf body = {0};
    char *source = calloc(1, size + 1);
    memset(source, 'x', size);
    myco_command_policy(&body, MYCO_POLICY_PLACEMENT, name, myco_bytes(source, size), "me", 5);
    free(source);
    return apply(world, MYCO_COMMAND_POLICY, 1, &body);
}

static void test_policies(void)
{
    struct world world;
    struct myco_buf body = {0};
    char name[16];
    open_world(&world);
    init(&world);
    join(&world, 1, 1, true);
    myco_command_rollback(&body, MYCO_POLICY_PLACEMENT, "me", 5);
    is_int(apply(&world, MYCO_COMMAND_ROLLBACK, 1, &body), MYCO_ENOTFOUND, "nothing to go back to");
    for (unsigned i = 1; i <= MYCO_POLICY_HISTORY + 3; i++) {
        snprintf(name, sizeof name, "p%u", i);
        push_policy(&world, name, i);
    }
    const struct myco_policy_record *record = &world.state->policies[MYCO_POLICY_PLACEMENT];
    is_int(record->count, MYCO_POLICY_HISTORY, "so many versions are kept");
    is_int(myco_state_policy(world.state, MYCO_POLICY_PLACEMENT)->version, MYCO_POLICY_HISTORY + 3,
        "the newest is in force");
    myco_command_rollback(&body, MYCO_POLICY_PLACEMENT, "me", 5);
    apply(&world, MYCO_COMMAND_ROLLBACK, 1, &body);
    is_str(myco_state_policy(world.state, MYCO_POLICY_PLACEMENT)->name, "p18", "back by one");
    push_policy(&world, "next", 1);
    is_int(world.result.value, MYCO_POLICY_HISTORY + 4, "a version is never given twice");
    is_int(push_policy(&world, "big", MYCO_POLICY_SIZE_MAX + 1), MYCO_ETOOBIG, "a limit");
    myco_state_free(world.state);
}

/* ── bytes ── */

static void fill(struct world *world)
{
    open_world(world);
    init(world);
    for (uint64_t node = 1; node <= 3; node++) join(world, node, 1, true);
    named(world, MYCO_COMMAND_CAMPAIGN, 2, "jobs");
    grant(world, "jobs", 2, 0);
    make_septum(world, "a", "kind=durable hyphae=3 ttl=5s");
    make_septum(world, "b", "kind=cache hyphae=2");
    place(world, 1, 0, 1, 2);
    place(world, 2, 1, 3, 1);
    push_policy(world, "p", 100);
}

static void test_round_trip(void)
{
    struct world world, other;
    struct myco_buf saved = {0}, again = {0}, definitions = {0};
    struct myco_err err = {0};
    fill(&world);
    myco_state_save(world.state, &saved);
    open_world(&other);
    is_int(myco_state_load(other.state, myco_buf_as_slice(&saved), &err), 0, "loads");
    myco_state_save(other.state, &again);
    ok(saved.size == again.size && memcmp(saved.data, again.data, saved.size) == 0,
        "what was saved is what is loaded (%u bytes)", (unsigned)saved.size);
    ok(other.clusters == 1 && other.members == 3 && other.septa == 2 && other.hyphae == 5 &&
            other.elections == 1 && other.policies == 1,
        "and everything is told");
    /* Both go on alike. */
    named(&world, MYCO_COMMAND_CAMPAIGN, 3, "jobs");
    other.sequence = world.sequence - 1;
    named(&other, MYCO_COMMAND_CAMPAIGN, 3, "jobs");
    other.sequence--;
    named(&other, MYCO_COMMAND_CAMPAIGN, 3, "jobs");
    is_int(other.result.status, MYCO_EEXISTS, "what was seen before is known");
    myco_buf_clear(&saved);
    myco_buf_clear(&again);
    myco_state_save(world.state, &saved);
    myco_state_save(other.state, &again);
    ok(saved.size == again.size && memcmp(saved.data, again.data, saved.size) == 0, "alike");

    bool all = true;
    for (size_t size = 0; size < saved.size; size++)
        all &= myco_state_load(other.state, myco_bytes(saved.data, size), &err) != 0;
    ok(all, "no shorter one loads");

    myco_state_definitions(world.state, &definitions);
    struct world reborn;
    struct myco_buf body = {0};
    open_world(&reborn);
    myco_command_init(&body, 7, "test", 300, 2, 5, 6, myco_buf_as_slice(&definitions));
    apply_as(&reborn, MYCO_COMMAND_INIT, 1, 1, 0, &body);
    const struct myco_septum_record *septum = myco_state_septum(reborn.state, 1);
    ok(septum && septum->hyphae[2].from_store && septum->options.ttl_ms == 5000,
        "a durable septum comes back from the store");
    ok(!myco_state_septum(reborn.state, 2)->hyphae[0].from_store, "a cache begins empty");
    is_int(reborn.state->next_septum, 3, "ids go on");
    ok(myco_state_policy(reborn.state, MYCO_POLICY_PLACEMENT), "policies come back");
    join(&reborn, 1, 1, true);
    place(&reborn, 1, 0, 1, 1);
    struct myco_set *set = &reborn.state->septa[0]->hyphae[0].set;
    is_int(set->epoch >> 48, 2, "epochs belong to the new incarnation");
    is_int(change(&reborn, MYCO_SET_LOADED, set, 1, 1), 0, "loaded");
    ok(!reborn.state->septa[0]->hyphae[0].from_store, "and served from here on");
    myco_state_free(world.state);
    myco_state_free(other.state);
    myco_state_free(reborn.state);
    myco_buf_free(&saved);
    myco_buf_free(&again);
    myco_buf_free(&definitions);
}

static void test_malformed(void)
{
    struct world world;
    struct myco_buf before = {0}, after = {0}, none = {0};
    fill(&world);
    myco_state_save(world.state, &before);
    is_int(apply_as(&world, 200, 1, 1, 900, &none), MYCO_EVERSION, "an unknown kind halts");
    is_int(apply_as(&world, 12, 1, 1, 0, &none), MYCO_EVERSION, "one of a gap, too");
    is_int(myco_state_apply(world.state, myco_bytes("\x02xyz", 4), &world.result), 0, "too short");
    is_int(world.result.status, MYCO_EINVAL, "is refused");
    for (uint8_t kind = 1; kind <= 15; kind++) {
        if (kind == 12 || kind == MYCO_COMMAND_LEAVE || kind == MYCO_COMMAND_BARRIER) continue;
        is_int(apply_as(&world, kind, 77, 1, 0, &none), 0, "an empty body of kind %u", kind);
    }
    myco_state_save(world.state, &after);
    ok(before.size == after.size && memcmp(before.data, after.data, before.size) == 0,
        "changes nothing");
    myco_state_free(world.state);
    myco_buf_free(&before);
    myco_buf_free(&after);
}

int main(void)
{
    test_members();
    test_window();
    test_elections();
    test_septa();
    test_sets();
    test_forget();
    test_restarts();
    test_policies();
    test_round_trip();
    test_malformed();
    return plan_done();
}
