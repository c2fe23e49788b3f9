/* What candidates ask for. Would catch: a priority or labels that are lost in a snapshot, outlive
 * the candidacy, go to another node, or get into a state whose members do not know them. */
#include "tap.h"

#include <string.h>

#include "base/mem.h"
#include "consensus/state.h"

struct world {
    struct myco_state *state;
    struct myco_command_result result;
    uint64_t sequence;
};

static int apply(struct world *world, uint8_t kind, uint64_t node, struct myco_buf *body)
{
    struct myco_buf command = {0};
    myco_command_begin(&command, kind, node, 1, ++world->sequence);
    myco_buf_bytes(&command, body->data, body->size);
    myco_state_apply(world->state, myco_buf_as_slice(&command), &world->result);
    myco_buf_free(&command);
    myco_buf_free(body);
    return world->result.status;
}

static struct world world_new(void)
{
    static const struct myco_state_events events = {0};
    struct world world = {.state = myco_state_new(&events)};
    for (uint64_t node = 1; node <= 3; node++) {
        struct myco_member_record member = {.features = ~UINT64_C(0)};
        struct myco_buf body = {0};
        snprintf(member.name, sizeof member.name, "n%u", (unsigned)node);
        myco_command_join(&body, &member, true);
        apply(&world, MYCO_COMMAND_JOIN, node, &body);
    }
    world.state->features_active =
        MYCO_FEATURE_BIT(MYCO_FEATURE_FEATURES) | MYCO_FEATURE_BIT(MYCO_FEATURE_CAMPAIGN_OPTIONS);
    return world;
}

static int stand(struct world *world, uint64_t node, int32_t priority, const char *labels)
{
    struct myco_buf body = {0};
    myco_command_campaign(&body, "job", priority, labels);
    return apply(world, MYCO_COMMAND_CAMPAIGN_WITH, node, &body);
}

static int by_name(struct world *world, uint8_t kind, uint64_t node)
{
    struct myco_buf body = {0};
    myco_command_name(&body, "job");
    return apply(world, kind, node, &body);
}

static bool asks(const struct world *world, uint64_t node, int32_t priority, const char *labels)
{
    const struct myco_election_record *election = myco_state_election(world->state, "job");
    const struct myco_candidate_wish *wish = myco_election_wish(election, node);
    return wish && wish->priority == priority && strcmp(wish->labels, labels) == 0;
}

static bool asks_nothing(const struct world *world, uint64_t node)
{
    return !myco_election_wish(myco_state_election(world->state, "job"), node);
}

static void test_candidacy(void)
{
    struct world world = world_new();
    is_int(stand(&world, 2, -3, "zone=a"), 0, "one stands with a priority and labels");
    is_int(stand(&world, 1, 9, ""), 0, "another with a priority");
    is_int(by_name(&world, MYCO_COMMAND_CAMPAIGN, 3), 0, "a third without");
    ok(asks(&world, 2, -3, "zone=a") && asks(&world, 1, 9, "") && asks_nothing(&world, 3),
        "each has its own");
    is_int(myco_state_election(world.state, "job")->candidate_count, 3, "all three are candidates");
    stand(&world, 2, 4, "");
    ok(asks(&world, 2, 4, ""), "who stands again asks anew");
    by_name(&world, MYCO_COMMAND_CAMPAIGN, 2);
    ok(asks_nothing(&world, 2), "or for nothing any more");
    by_name(&world, MYCO_COMMAND_RESIGN, 1);
    ok(asks_nothing(&world, 1), "it goes with the candidacy");
    stand(&world, 1, 9, "warm");
    struct myco_buf body = {0};
    apply(&world, MYCO_COMMAND_LEAVE, 1, &body);
    ok(asks_nothing(&world, 1), "also of a member that left");
    myco_buf_str(&body, "job");
    is_int(apply(&world, MYCO_COMMAND_CAMPAIGN_WITH, 2, &body), MYCO_EINVAL,
        "a command that ends too early is refused");
    myco_state_free(world.state);
}

static void test_snapshot(void)
{
    struct world world = world_new();
    struct myco_err err;
    struct myco_buf saved = {0}, again = {0};
    stand(&world, 2, -3, "zone=a");
    stand(&world, 3, 1, "");
    myco_state_save(world.state, &saved);
    struct world other = world_new();
    is_int(myco_state_load(other.state, myco_buf_as_slice(&saved), &err), 0, "a snapshot loads");
    ok(asks(&other, 2, -3, "zone=a") && asks(&other, 3, 1, "") && asks_nothing(&other, 1),
        "with what they ask for");
    myco_state_save(other.state, &again);
    ok(saved.size == again.size && memcmp(saved.data, again.data, saved.size) == 0,
        "and is written as it was read");
    unsigned refused = 0;
    for (size_t size = saved.size - 40; size < saved.size; size++)
        refused += myco_state_load(other.state, myco_bytes(saved.data, size), &err) != 0;
    is_int(refused, 40, "what was cut off is refused");
    myco_buf_free(&saved);
    myco_buf_free(&again);
    myco_state_free(other.state);
    myco_state_free(world.state);
}

int main(void)
{
    test_candidacy();
    test_snapshot();
    return plan_done();
}
