/* Where object stores are tested: on the simulator's shared disk, and on a real folder by libuv.
 * Both give env, disk and a way to wait; a test is written once and runs on each. */
#ifndef MYCO_TEST_OBJECT_WORLD_H
#define MYCO_TEST_OBJECT_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/mem.h"
#include "env/sim.h"
#include "env/uv_disk.h"
#include "env/uv_env.h"
#include "object/object.h"
#include "tap.h"

struct object_world {
    const char *name;
    struct myco_env *env;
    struct myco_disk *disk;
    /* one or the other */
    struct myco_sim *sim;
    uv_loop_t loop;
    struct myco_uv_env *uv_env;
    struct myco_metrics metrics;
    char root[64];
};

static inline void object_world_sim(struct object_world *world, uint64_t seed, unsigned hosts)
{
    struct myco_sim_options options;
    memset(world, 0, sizeof(*world));
    world->name = "simulator";
    myco_sim_options_init(&options, seed, hosts);
    world->sim = myco_sim_new(&options);
    for (unsigned host = 0; host < hosts; host++) myco_sim_start(world->sim, host);
    world->env = myco_sim_env(world->sim, 0);
    world->disk = myco_sim_shared_disk(world->sim, 0);
}

static inline void object_world_uv(struct object_world *world)
{
    memset(world, 0, sizeof(*world));
    world->name = "libuv";
    strcpy(world->root, "/tmp/myco-test-object-XXXXXX");
    if (mkdtemp(world->root) == NULL || uv_loop_init(&world->loop) != 0)
        bail_out("no folder or loop");
    struct myco_err err;
    if (myco_uv_env_open(&world->uv_env, &world->loop, NULL, NULL, NULL, &world->metrics, &err) !=
            0 ||
        myco_uv_disk_open(&world->loop, world->root, &world->disk, &err) != 0) {
        bail_out("%s", err.message);
    }
    world->env = myco_uv_env(world->uv_env);
}

static inline bool object_world_flag(void *data)
{
    return *(bool *)data;
}

/* Until *done; a minute of virtual time, or as long as there is anything to wait for. */
static inline bool object_world_wait(struct object_world *world, bool *done)
{
    if (world->sim != NULL) return myco_sim_run_until(world->sim, object_world_flag, done, 60000);
    while (!*done && uv_run(&world->loop, UV_RUN_ONCE) != 0) {
    }
    return *done;
}

/* Lets what goes on in the background end. */
static inline void object_world_settle(struct object_world *world)
{
    if (world->sim != NULL)
        myco_sim_run(world->sim, 5000);
    else
        for (int i = 0; i < 20; i++) uv_run(&world->loop, UV_RUN_ONCE);
}

static inline void object_world_close(struct object_world *world)
{
    if (world->sim != NULL) {
        myco_sim_free(world->sim);
        return;
    }
    myco_uv_disk_close(world->disk, NULL, NULL);
    myco_uv_env_close(world->uv_env, NULL, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&world->loop) != 0) bail_out("something is still open");
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", world->root);
    if (system(command) != 0) note("%s was left behind", world->root);
}

#endif
