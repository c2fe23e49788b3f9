/* Features in the replicated state: none is active before every member has it, whoever lacks an
 * active one can't join, and snapshots stay in the older format until then. It would catch a
 * command in the log that a node of the version before halts at, a snapshot that it can't read, and
 * two nodes that disagree on what is active. */
#include "consensus/state.h"
#include "tap.h"

#define BIT(feature) MYCO_FEATURE_BIT(MYCO_FEATURE_##feature)

static struct myco_command_result result;
static unsigned told;

static void on_features(uint64_t active, void *data)
{
    (void)active, (void)data;
    told++;
}

static struct myco_state *open_state(uint64_t own)
{
    struct myco_state_events events = {.on_features = on_features};
    struct myco_state *state = myco_state_new(&events);
    state->features_own = own;
    return state;
}

static int apply(struct myco_state *state, uint8_t kind, uint64_t node, uint64_t generation,
    struct myco_buf *body)
{
    struct myco_buf command = {0};
    myco_command_begin(&command, kind, node, generation, 0);
    myco_buf_bytes(&command, body->data, body->size);
    int rc = myco_state_apply(state, myco_buf_as_slice(&command), &result);
    myco_buf_free(&command);
    myco_buf_free(body);
    return rc;
}

static void init(struct myco_state *state)
{
    struct myco_buf body = {0};
    myco_command_init(&body, 99, "test", 300, 1, 0, 0, myco_bytes(NULL, 0));
    apply(state, MYCO_COMMAND_INIT, 1, 1, &body);
}

static void join_bytes(struct myco_buf *body, uint64_t features)
{
    struct myco_member_record member = {.name = "n", .features = features, .version = "0.2"};
    myco_command_join(body, &member, true);
}

static int join(struct myco_state *state, uint64_t node, uint64_t generation, uint64_t features)
{
    struct myco_buf body = {0};
    join_bytes(&body, features);
    int rc = apply(state, MYCO_COMMAND_JOIN, node, generation, &body);
    return rc ? rc : result.status;
}

/* FEATURES naming nodes 1 to `count`, each of generation 1 and with `has`. */
static int activate(struct myco_state *state, uint64_t features, uint64_t has, uint64_t count)
{
    struct myco_buf body = {0};
    myco_command_features(&body, features);
    for (uint64_t id = 1; id <= count; id++) {
        struct myco_member_record member = {.id = id, .generation = 1, .version = "0.2"};
        myco_command_features_member(&body, &member, has);
    }
    int rc = apply(state, MYCO_COMMAND_FEATURES, 1, 1, &body);
    return rc ? rc : result.status;
}

static uint32_t format_of(const struct myco_state *state)
{
    struct myco_buf out = {0};
    myco_state_save(state, &out);
    struct myco_reader in = myco_reader(out.data, out.size);
    uint32_t format = myco_read_u32(&in);
    myco_buf_free(&out);
    return format;
}

static void test_activation(void)
{
    struct myco_state *state = open_state(BIT(FEATURES) | BIT(TAIL));
    struct myco_buf body = {0};
    init(state);
    join(state, 1, 1, BIT(FEATURES) | BIT(TAIL));
    join(state, 2, 1, 0);
    is_int(format_of(state), 1, "snapshots in the older format");
    is_int(activate(state, BIT(FEATURES), BIT(FEATURES), 1), MYCO_ECONFLICT,
        "a member that is not named stands against it");
    is_int(activate(state, BIT(FEATURES) | BIT(TAIL), BIT(FEATURES), 2), MYCO_ECONFLICT,
        "one that lacks a bit too");
    is_int(state->features_active, 0, "nothing is active");
    ok(!myco_state_feature(state, MYCO_FEATURE_TAIL), "and asked for in vain");
    is_int(activate(state, BIT(FEATURES), BIT(FEATURES), 2), 0, "all have it");
    ok(myco_state_feature(state, MYCO_FEATURE_FEATURES) && told == 1, "it is active, and told");
    is_int(format_of(state), 2, "snapshots in the new format");
    is_int(myco_state_member(state, 2)->features, BIT(FEATURES), "what each has is known");
    is_str(myco_state_member(state, 2)->version, "0.2", "its version too");
    is_int(join(state, 3, 1, 0), MYCO_EVERSION, "a node of the version before is refused");
    ok(strstr(result.message, "features") && strstr(result.message, "start it with"),
        "and told what to do: %s", result.message);
    ok(!myco_state_member(state, 3), "it is no member");
    is_int(join(state, 2, 2, 0), MYCO_EVERSION, "nor may a member go back");
    is_int(myco_state_member(state, 2)->generation, 1, "which changes nothing");
    apply(state, MYCO_COMMAND_LEAVE, 2, 1, &body);
    is_int(activate(state, BIT(TAIL), BIT(TAIL) | BIT(FEATURES), 1), 0,
        "who left does not stand against it");
    is_int(state->features_active, BIT(FEATURES) | BIT(TAIL), "both stay active");
    myco_state_free(state);
}

/* A member that joins between the proposal and its commit makes it void. */
static void test_race(void)
{
    struct myco_state *state = open_state(BIT(FEATURES));
    init(state);
    join(state, 1, 1, BIT(FEATURES));
    join(state, 2, 1, 0);
    is_int(activate(state, BIT(FEATURES), BIT(FEATURES), 1), MYCO_ECONFLICT, "void");
    join(state, 2, 2, BIT(FEATURES));
    is_int(activate(state, BIT(FEATURES), BIT(FEATURES), 2), MYCO_ECONFLICT,
        "a newer generation is not what was named");
    myco_state_free(state);
}

static void test_older_node(void)
{
    struct myco_state *older = open_state(0), *newer = open_state(BIT(FEATURES));
    struct myco_buf saved = {0};
    struct myco_err err = {0};
    init(older);
    init(newer);
    is_int(join(older, 1, 1, BIT(FEATURES)), 0, "it reads the JOIN of a newer node");
    join(newer, 1, 1, BIT(FEATURES));
    myco_state_save(newer, &saved);
    is_int(myco_state_load(older, myco_buf_as_slice(&saved), &err), 0, "and its snapshot");
    is_int(myco_state_load(newer, myco_buf_as_slice(&saved), &err), 0, "as the newer does");
    is_int(myco_state_member(newer, 1)->features, 0, "which can't say what a member has");
    is_int(activate(newer, BIT(FEATURES), BIT(FEATURES), 1), 0, "the command says it");
    is_int(activate(older, BIT(FEATURES), BIT(FEATURES), 1), MYCO_EVERSION,
        "at which the older one halts");
    myco_buf_clear(&saved);
    myco_state_save(newer, &saved);
    is_int(myco_state_load(older, myco_buf_as_slice(&saved), &err), MYCO_EVERSION,
        "or at the snapshot: %s", err.message);
    is_int(myco_state_load(newer, myco_buf_as_slice(&saved), &err), 0, "the newer one reads it");
    is_int(newer->features_active, BIT(FEATURES), "and knows what is active");
    is_int(myco_state_member(newer, 1)->features, BIT(FEATURES), "and what a member has");
    newer->features_own = 0;
    is_int(myco_state_load(newer, myco_buf_as_slice(&saved), &err), MYCO_EVERSION, "gone back");
    myco_buf_free(&saved);
    myco_state_free(older);
    myco_state_free(newer);
}

static int admits(struct myco_state *state, uint8_t kind, struct myco_buf *body)
{
    struct myco_buf command = {0};
    struct myco_err err = {0};
    myco_command_begin(&command, kind, 7, 1, 1);
    myco_buf_bytes(&command, body->data, body->size);
    int rc = myco_state_admits(state, myco_buf_as_slice(&command), &err);
    myco_buf_free(&command);
    myco_buf_free(body);
    return rc;
}

static void test_gate(void)
{
    struct myco_state *state = open_state(BIT(FEATURES));
    struct myco_buf body = {0};
    join_bytes(&body, 0);
    is_int(admits(state, MYCO_COMMAND_JOIN, &body), 0, "an older node may join");
    state->features_proposed = BIT(FEATURES);
    join_bytes(&body, 0);
    is_int(admits(state, MYCO_COMMAND_JOIN, &body), MYCO_EVERSION,
        "not once FEATURES is on its way: it would halt there");
    join_bytes(&body, BIT(FEATURES));
    is_int(admits(state, MYCO_COMMAND_JOIN, &body), 0, "a newer one may");
    is_int(admits(state, MYCO_COMMAND_BARRIER, &body), 0, "what all know may be logged");
    is_int(myco_command_feature(MYCO_COMMAND_FEATURES), MYCO_FEATURE_FEATURES, "by its column");
    myco_state_free(state);
}

/* A removed member never comes back, whatever generation it says, also after a snapshot. */
static void test_removal(void)
{
    struct myco_state *state = open_state(BIT(FEATURES) | BIT(REMOVAL)), *other = open_state(~0u);
    struct myco_buf body = {0}, saved = {0};
    struct myco_err err = {0};
    uint64_t has = BIT(FEATURES) | BIT(REMOVAL);
    init(state);
    join(state, 1, 1, has);
    join(state, 2, 1, has);
    myco_command_remove(&body, 2);
    is_int(admits(state, MYCO_COMMAND_REMOVE, &body), MYCO_EVERSION, "not before it is active");
    is_int(activate(state, has, has, 2), 0, "active");
    myco_command_remove(&body, 9);
    apply(state, MYCO_COMMAND_REMOVE, 1, 1, &body);
    is_int(result.status, MYCO_ENOTFOUND, "a stranger can't be removed");
    myco_command_remove(&body, 2);
    apply(state, MYCO_COMMAND_REMOVE, 1, 1, &body);
    is_int(result.status, 0, "a member is removed");
    ok(myco_state_member(state, 2)->left, "it has left");
    is_int(join(state, 2, 7, has), MYCO_EDENIED, "and can't join: %s", result.message);
    join_bytes(&body, has);
    struct myco_buf command = {0};
    myco_command_begin(&command, MYCO_COMMAND_JOIN, 2, 8, 1);
    myco_buf_bytes(&command, body.data, body.size);
    myco_buf_free(&body);
    is_int(myco_state_admits(state, myco_buf_as_slice(&command), &err), MYCO_EDENIED,
        "nor is it logged");
    myco_state_save(state, &saved);
    is_int(myco_state_load(other, myco_buf_as_slice(&saved), &err), 0, "saved and loaded");
    ok(myco_state_removed(other, 2) && !myco_state_removed(other, 1), "it is still known");
    for (uint64_t id = 100; id < 100 + MYCO_REMOVED_MAX; id++) {
        join(state, id, 1, has);
        myco_command_remove(&body, id);
        apply(state, MYCO_COMMAND_REMOVE, 1, 1, &body);
    }
    ok(!myco_state_removed(state, 2) && myco_state_removed(state, 100), "the oldest is forgotten");
    myco_buf_free(&command);
    myco_buf_free(&saved);
    myco_state_free(state);
    myco_state_free(other);
}

static void lose(struct myco_buf *body, const struct myco_set *set, uint64_t node, uint64_t floor)
{
    struct myco_loss loss = {.epoch = set->epoch,
        .version = set->version,
        .node = node,
        .generation = 1,
        .floor = floor};
    myco_command_loss(body, 1, "burnt");
    myco_command_loss_of(body, &loss);
}

/* A hypha whose last member is lost goes on with another, once, above all that was lost; also after
 * a snapshot. */
static void test_loss(void)
{
    uint64_t has = BIT(FEATURES) | BIT(ACCEPT_LOSS), targets[] = {1, 2};
    struct myco_state *state = open_state(has), *other = open_state(~0u);
    struct myco_septum_options options;
    struct myco_buf body = {0}, saved = {0};
    struct myco_err err = {0};
    init(state);
    join(state, 1, 1, has);
    join(state, 2, 1, has);
    activate(state, has, has, 2);
    myco_septum_options_parse(&options, "kind=durable hyphae=1 replicas=0", &err);
    myco_command_septum(&body, "risky", &options);
    apply(state, MYCO_COMMAND_SEPTUM, 1, 1, &body);
    uint64_t id = result.value;
    myco_command_place(&body, id, 0, targets, 1);
    apply(state, MYCO_COMMAND_PLACE, 1, 1, &body);
    myco_command_place(&body, id, 0, targets, 2);
    apply(state, MYCO_COMMAND_PLACE, 1, 1, &body);
    struct myco_set before = myco_state_septum(state, id)->hyphae[0].set;
    const struct myco_set *set = &myco_state_septum(state, id)->hyphae[0].set;
    ok(before.primary == 1 && before.in_sync_count == 1 && myco_set_joining(&before, 2),
        "one copy");
    lose(&body, &before, 2, 1 << 20);
    apply(state, MYCO_COMMAND_ACCEPT_LOSS, 2, 1, &body);
    is_int(result.value, 1, "its loss is accepted");
    ok(set->primary == 2 && set->in_sync_count == 1 && set->epoch > before.epoch &&
            set->floor == 1 << 20 && myco_set_joining(set, 1),
        "another goes on alone, in a new epoch, far ahead");
    lose(&body, &before, 1, 1 << 21);
    apply(state, MYCO_COMMAND_ACCEPT_LOSS, 2, 1, &body);
    is_int(result.status, MYCO_ECONFLICT, "not again for what was before");
    lose(&body, set, 7, 1 << 21);
    apply(state, MYCO_COMMAND_ACCEPT_LOSS, 2, 1, &body);
    is_int(result.status, MYCO_ECONFLICT, "nor with a stranger");
    myco_state_save(state, &saved);
    is_int(myco_state_load(other, myco_buf_as_slice(&saved), &err), 0, "saved and loaded");
    is_int(myco_state_septum(other, id)->hyphae[0].set.floor, 1 << 20, "with the floor");
    myco_buf_free(&saved);
    myco_state_free(state);
    myco_state_free(other);
}

static void test_names(void)
{
    char text[64], small[8];
    is_str(myco_feature_name(MYCO_FEATURE_TAIL), "tail", "a name");
    ok(!myco_feature_name(63), "none of a bit of a newer version");
    is_str(myco_features_text(BIT(TAIL) | BIT(LOCKS) | UINT64_C(1) << 40, text, sizeof text),
        "tail, locks, 40", "several");
    myco_features_text(~UINT64_C(0), small, sizeof small);
    is_int(strlen(small), sizeof small - 1, "cut to size");
    ok(myco_features_own() & BIT(FEATURES), "this build has features");
}

int main(void)
{
    test_activation();
    test_race();
    test_older_node();
    test_gate();
    test_removal();
    test_loss();
    test_names();
    return plan_done();
}
