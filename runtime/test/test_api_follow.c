/* Catches: an event that is not told, told twice or without its reason; a follower that hears
 * something after it was ended, or is forgotten when its node closes; documents that do not say
 * what the events say. */
#include "api_kit.h"

static struct myco *nodes[KIT_NODES];
static struct myco_err err;

#define SEEN_MAX 256

static struct seen {
    unsigned count;
    uint64_t numbers[SEEN_MAX];
    char kinds[SEEN_MAX][32], subjects[SEEN_MAX][64], texts[SEEN_MAX][256];
} seen;

static void on_event(const struct myco_event *event, void *data)
{
    (void)data;
    kit_lock();
    if (seen.count < SEEN_MAX) {
        seen.numbers[seen.count] = event->sequence;
        snprintf(seen.kinds[seen.count], 32, "%s", event->kind);
        snprintf(seen.subjects[seen.count], 64, "%s", event->subject);
        snprintf(seen.texts[seen.count], 256, "%s", event->text);
        seen.count++;
    }
    kit_unlock();
}

struct wanted {
    const char *kind, *subject, *text;
    unsigned times;
};

static bool was_told(void *data)
{
    const struct wanted *wanted = data;
    unsigned times = 0;
    for (unsigned i = 0; i < seen.count; i++)
        times += strcmp(seen.kinds[i], wanted->kind) == 0 &&
                 strcmp(seen.subjects[i], wanted->subject) == 0 &&
                 strstr(seen.texts[i], wanted->text) != NULL;
    return times >= wanted->times;
}

static void told(const char *kind, const char *subject, const char *text, const char *what)
{
    struct wanted wanted = {kind, subject, text, 1};
    if (ok(kit_wait(was_told, &wanted, KIT_WAIT_MS), "%s", what)) return;
    for (unsigned i = 0; i < seen.count; i++)
        note("%s %s: %s", seen.kinds[i], seen.subjects[i], seen.texts[i]);
}

static unsigned count_of(const char *kind, const char *subject)
{
    unsigned times = 0;
    kit_lock();
    for (unsigned i = 0; i < seen.count; i++)
        times += strcmp(seen.kinds[i], kind) == 0 && strcmp(seen.subjects[i], subject) == 0;
    kit_unlock();
    return times;
}

static void test_birth(void)
{
    told("member.joined", "bert", "generation 1", "a member is there");
}

static void test_septum(void)
{
    kit_septum(nodes[1], "carts", "kind=durable hyphae=8 replicas=1");
    told("septum.created", "carts", "durable, 8 hyphae, replicas 1", "a septum, by another node");
    told("hyphae.moved", "carts", "as primary", "its primaries, in sum");
    ok(count_of("hyphae.moved", "carts") <= 2 * KIT_NODES, "and not one by one");
    is_int(count_of("septum.created", "carts"), 1, "once");
}

static void test_documents(void)
{
    struct kit_document document;
    const msgpack_object *events = kit_inspect(nodes[0], "events", &document);
    kit_lock();
    unsigned count = seen.count;
    kit_unlock();
    ok(events && events->type == MSGPACK_OBJECT_ARRAY && events->via.array.size >= count,
        "the document has them, too");
    const msgpack_object *first = &events->via.array.ptr[0];
    ok(kit_number(first, "sequence") == 1 && kit_field_is(first, "kind", seen.kinds[0]) &&
            kit_field_is(first, "text", seen.texts[0]) && kit_field(first, "fields"),
        "as they were told");
    kit_document_free(&document);

    const msgpack_object *voters = kit_inspect(nodes[0], "voters", &document);
    const msgpack_object *servers = voters ? kit_field(voters, "servers") : NULL;
    ok(servers && servers->type == MSGPACK_OBJECT_ARRAY && servers->via.array.size == KIT_NODES,
        "three are in the consensus group");
    ok(kit_number(voters, "applied_index") <= kit_number(voters, "commit_index"), "indices");
    kit_document_free(&document);

    const msgpack_object *holdings = kit_inspect(nodes[0], "holdings", &document);
    uint64_t primaries = 0;
    for (uint32_t i = 0; holdings && i < holdings->via.array.size; i++)
        primaries += kit_number(&holdings->via.array.ptr[i], "primaries");
    is_int(primaries, 8, "each hypha has one primary among the members");
    kit_document_free(&document);
}

static bool knows_admin(void *data)
{
    struct kit_document document;
    const msgpack_object *members = kit_inspect(data, "members", &document);
    unsigned known = 0;
    for (uint32_t i = 0; members && i < members->via.array.size; i++) {
        const msgpack_object *admin = kit_field(&members->via.array.ptr[i], "admin");
        known += admin && admin->via.str.size > 0 &&
                 kit_field_is(&members->via.array.ptr[i], "version", myco_version());
    }
    kit_document_free(&document);
    return known == KIT_NODES;
}

static struct myco_election *stand(struct myco *node)
{
    struct myco_election *election;
    if (myco_campaign(node, "nightly", NULL, NULL, &election, &err)) bail_out("%s", err.message);
    return election;
}

static void test_election(void)
{
    struct myco_election *first = stand(nodes[1]);
    told("election.gained", "nightly", "bert leads nightly", "an election is won");
    struct myco_election *second = stand(nodes[2]);
    myco_resign(first, NULL, NULL);
    told("election.lost", "nightly", "bert resigned", "it is free, with the reason");
    told("election.gained", "nightly", "carl leads nightly", "it goes to another");
    myco_resign(second, NULL, NULL);
    told("election.lost", "nightly", "carl resigned", "nobody is left");
}

static void test_leaving(void)
{
    myco_close(nodes[2]);
    told("member.left", "carl", "on purpose", "a member leaves");
    told("voter.removed", "carl", "out of the consensus group", "and its vote goes");
    is_int(count_of("member.dead", "carl"), 0, "it is not called dead");
}

int main(void)
{
    struct myco_follower *follower, *forgotten;
    kit_member(nodes, 0);
    if (myco_follow(nodes[0], 0, on_event, NULL, &follower, &err)) bail_out("%s", err.message);
    kit_member(nodes, 1);
    kit_member(nodes, 2);
    for (unsigned i = 0; i < KIT_NODES; i++) kit_ready(nodes[i]);
    struct wanted leader = {"member.joined", "carl", "", 1};
    if (!kit_wait(was_told, &leader, KIT_WAIT_MS)) bail_out("nothing is told");
    test_birth();
    test_septum();
    test_documents();
    ok(kit_poll(knows_admin, nodes[0], KIT_WAIT_MS), "members say where pulse reaches them");
    test_election();
    test_leaving();
    bool ordered = true;
    kit_lock();
    for (unsigned i = 0; i < seen.count; i++) ordered &= seen.numbers[i] == i + 1;
    kit_unlock();
    ok(ordered, "numbers go from 1 up, none is left out");
    myco_unfollow(follower, NULL, NULL);
    kit_lock();
    unsigned count = seen.count;
    kit_unlock();
    kit_septum(nodes[0], "more", "kind=cache hyphae=1");
    is_int(seen.count, count, "who ended it hears nothing more");
    if (myco_follow(nodes[0], 0, on_event, NULL, &forgotten, &err)) bail_out("%s", err.message);
    myco_close(nodes[1]);
    myco_close(nodes[0]);
    return plan_done();
}
