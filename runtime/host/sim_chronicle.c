/* Those who follow what the nodes tell of the cluster. Of each node the numbers go up one by one;
 * no two nodes tell of different holders of one election in one epoch; and when all is at rest, the
 * last holder that a node told of is the one that its state names. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "consensus/policy_docs.h"
#include "host/core_witness_internal.h"
#include "host/sim_world.h"

struct sim_chronicle {
    struct myco_map holders; /* hash of election and epoch → hash of the holder's name */
    struct listener {
        uint64_t last;        /* number */
        struct myco_map told; /* hash of election → hash of the holder's name; 1: nobody */
    } listeners[SIM_NODES_MAX];
    uint64_t told;
};

struct sim_chronicle *sim_chronicle_new(void)
{
    return myco_alloc(sizeof(struct sim_chronicle));
}

void sim_chronicle_free(struct sim_chronicle *chronicle)
{
    for (unsigned i = 0; i < SIM_NODES_MAX; i++) myco_map_free(&chronicle->listeners[i].told);
    myco_map_free(&chronicle->holders);
    myco_free(chronicle);
}

static uint64_t hash_of(const char *text, size_t size)
{
    return myco_hash(text, size) | 2; /* neither absent nor "nobody" */
}

static uint64_t text_field(const msgpack_object *fields, const char *key)
{
    const msgpack_object *value = myco_doc_get(fields, key);
    if (!value || value->type != MSGPACK_OBJECT_STR) return 1;
    return hash_of(value->via.str.ptr, value->via.str.size);
}

static void hear_election(
    struct sim_node *node, const struct myco_event *event, const msgpack_object *fields)
{
    struct sim_chronicle *chronicle = node->world->chronicle;
    uint64_t name = hash_of(event->subject, strlen(event->subject)), epoch = 0;
    uint64_t to = text_field(fields, "to");
    myco_map_put(&chronicle->listeners[node->host].told, name, (void *)(uintptr_t)to);
    if (to == 1) return;
    const msgpack_object *number = myco_doc_get(fields, "epoch");
    if (!number || !myco_doc_u64(number, &epoch)) {
        sim_violated(
            node->world, "n%u tells of %s without an epoch", node->host + 1, event->subject);
        return;
    }
    void *before =
        myco_map_put(&chronicle->holders, myco_hash_mix(name, epoch), (void *)(uintptr_t)to);
    if (before && (uintptr_t)before != to)
        sim_violated(node->world, "n%u tells of another holder of %s in epoch %llx than others",
            node->host + 1, event->subject, (unsigned long long)epoch);
}

static void hear(const struct myco_event *event, void *data)
{
    struct sim_node *node = data;
    struct listener *listener = &node->world->chronicle->listeners[node->host];
    msgpack_unpacked fields;
    node->world->chronicle->told++;
    if (event->sequence != listener->last + 1)
        sim_violated(node->world, "n%u tells event %llu after %llu", node->host + 1,
            (unsigned long long)event->sequence, (unsigned long long)listener->last);
    listener->last = event->sequence;
    msgpack_unpacked_init(&fields);
    if (msgpack_unpack_next(&fields, event->fields.data, event->fields.size, NULL) !=
        MSGPACK_UNPACK_SUCCESS)
        sim_violated(node->world, "n%u tells nonsense", node->host + 1);
    else if (strncmp(event->kind, "election.", 9) == 0)
        hear_election(node, event, &fields.data);
    msgpack_unpacked_destroy(&fields);
}

void sim_chronicle_node_up(struct sim_node *node)
{
    struct listener *listener = &node->world->chronicle->listeners[node->host];
    listener->last = 0;
    myco_map_free(&listener->told);
    listener->told = (struct myco_map){0};
    myco_core_follow(node->core, 0, hear, node);
}

/* With a hand-over that is half done nobody was told of yet. */
void sim_chronicle_verify(struct sim_world *world)
{
    for (unsigned i = 0; i < world->options.nodes; i++) {
        struct myco_core *core = world->nodes[i].core;
        for (uint32_t e = 0; core && e < core->state->election_count; e++) {
            const struct myco_election_record *election = core->state->elections[e];
            size_t size = strlen(election->name);
            void *told =
                myco_map_get(&world->chronicle->listeners[i].told, hash_of(election->name, size));
            const char *holder = election->holder ? witness_name(core, election->holder) : NULL;
            uint64_t is = holder ? hash_of(holder, strlen(holder)) : 1;
            if (told && (uintptr_t)told != is && !election->wanted)
                sim_violated(world, "n%u told last of another holder of %s than %s", i + 1,
                    election->name, holder ? holder : "nobody");
        }
    }
}

void sim_chronicle_report(struct sim_world *world, FILE *file)
{
    fprintf(file, "  %llu events told to operators\n", (unsigned long long)world->chronicle->told);
}
