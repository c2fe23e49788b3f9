/* A node as its host sees it: a core under libuv, a Lua state, and a loop thread of its own unless
 * the host lends one. Calls of other threads are posted: a list that many push on and the loop
 * takes whole, and a wake-up only when it was empty, so that a thousand calls cost one. */
#ifndef MYCO_HOST_NODE_H
#define MYCO_HOST_NODE_H

#include <pthread.h>
#include <uv.h>

#include "base/list.h"
#include "bridge/bridge.h"
#include "bridge/policies.h"
#include "env/uv_disk.h"
#include "env/uv_env.h"
#include "host/core.h"
#include "host/store.h"
#include "mycorrizal.h"
#include "mycorrizal_uv.h"
#include "net/net.h"

/* Something for the loop to do. Runs once; frees itself. `closed`: the node is closing, end it with
 * ECLOSED. */
struct node_post {
    struct node_post *next;
    void (*run)(struct myco *node, struct node_post *post, bool closed);
};

struct myco_septum {
    struct myco *node;
    struct myco_septum *next;
    uint64_t id;
    char name[MYCO_STATE_NAME_MAX + 1];
};

/* First member of a subscription's or an election's handle: what was not given back goes with the
 * node. */
struct node_handle {
    struct myco_list link;
    struct myco *node;
};

struct node_function {
    struct node_function *next;
    char name[64];
    myco_function_cb cb;
    void *data;
};

struct myco {
    /* as given; strings are ours */
    struct myco_options options;
    char *name, *cluster, *listen, *advertise, *admin, *join, *data, *store, *labels, *tls, *key,
        *store_key, *lua_path, *config;
    char listen_text[MYCO_ADDR_TEXT_MAX], admin_text[MYCO_ADDR_TEXT_MAX], socket_path[108];

    struct myco_log log;
    struct myco_metrics metrics;
    uv_loop_t own_loop, *loop;
    pthread_t thread;
    bool own_thread;

    struct myco_uv_env *env;
    struct myco_disk *disk;
    struct node_store backing; /* of `store` */
    struct myco_policies *policies;
    struct myco_net *net;
    struct myco_core *core;
    struct myco_bridge *bridge;
    struct myco_identity identity;
    struct myco_object *store_object; /* lent by the core while it is there */
    struct node_join *joining;        /* where others are looked for; see host/join.h */
    char *join_sources;               /* what of `join` is for Lua to look up */
    struct myco_timer turn;           /* of closing */
    struct node_function *functions;

    uv_async_t wake;
    bool wake_open;
    struct node_post *posts; /* atomic; newest first */
    unsigned posting;        /* atomic; threads that are pushing one now */
    bool closing, closed;    /* closing: atomic */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    bool started, ready, failed, gone;
    struct myco_err start_error, fail_error;
    struct myco_septum *septa;
    struct myco_list handles;

    void (*closed_cb)(void *data);
    void *closed_data;
};

bool node_on_loop(const struct myco *node);
int node_post(struct myco *node, struct node_post *post); /* ECLOSED: not taken */
void node_wait_init(pthread_cond_t *cond);

#endif
