/* The topology of the nodes of `sim --scale`: a policy that is shipped, in force by the log, and
 * asked once for all nodes that see the same members, since it answers all of them alike. */
#include <stdio.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "host/sim_world.h"

#define ANSWERS_MAX 64

struct answer {
    uint64_t hash;
    int status;
    struct myco_buf bytes;
};

struct sim_scale_policies {
    struct myco_policies *policies;
    struct myco_policy_port port;
    uint64_t source; /* hash of what is in force */
    struct answer answers[ANSWERS_MAX];
    unsigned next;
};

static int set(
    int kind, const char *name, struct myco_slice source, struct myco_err *err, void *data)
{
    struct sim_scale_policies *shared = data;
    uint64_t hash = myco_hash(source.data, source.size);
    if (kind != MYCO_POLICY_TOPOLOGY || hash == shared->source) return 0;
    shared->source = hash;
    return shared->port.set(kind, name, source, err, shared->port.data);
}

static int check(
    int kind, const char *name, struct myco_slice source, struct myco_err *err, void *data)
{
    struct sim_scale_policies *shared = data;
    return shared->port.check(kind, name, source, err, shared->port.data);
}

static struct answer *find(struct sim_scale_policies *shared, uint64_t hash)
{
    for (unsigned i = 0; i < ANSWERS_MAX; i++)
        if (shared->answers[i].hash == hash) return &shared->answers[i];
    return NULL;
}

static int ask(
    int kind, struct myco_slice world, struct myco_buf *out, struct myco_err *err, void *data)
{
    struct sim_scale_policies *shared = data;
    if (kind != MYCO_POLICY_TOPOLOGY) /* the built-in rules */
        return myco_err(err, MYCO_EPOLICY, "only topologies are asked here");
    uint64_t hash = myco_hash_mix(shared->source, myco_hash(world.data, world.size));
    struct answer *answer = find(shared, hash);
    if (!answer) {
        answer = &shared->answers[shared->next++ % ANSWERS_MAX];
        myco_buf_clear(&answer->bytes);
        answer->hash = hash;
        answer->status = shared->port.ask(kind, world, &answer->bytes, err, shared->port.data);
    }
    myco_buf_bytes(out, answer->bytes.data, answer->bytes.size);
    return answer->status;
}

int sim_scale_policies_new(
    const char *folder, struct sim_scale_policies **out, struct myco_err *err)
{
    struct sim_scale_policies *shared = myco_alloc(sizeof *shared);
    int rc = myco_policies_new(folder, NULL, &shared->policies, err);
    if (rc) {
        myco_free(shared);
        return rc;
    }
    shared->port = myco_policies_port(shared->policies);
    *out = shared;
    return 0;
}

void sim_scale_policies_free(struct sim_scale_policies *shared)
{
    if (!shared) return;
    for (unsigned i = 0; i < ANSWERS_MAX; i++) myco_buf_free(&shared->answers[i].bytes);
    myco_policies_free(shared->policies);
    myco_free(shared);
}

struct myco_policy_port sim_scale_policies_port(struct sim_scale_policies *shared)
{
    return (struct myco_policy_port){set, check, ask, shared};
}
