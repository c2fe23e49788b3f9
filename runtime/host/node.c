/* The life of a node: opening in order, closing in the opposite one; the loop thread; what is
 * posted to it. */
#include "host/node.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "host/join.h"
#include "host/keys.h"
#include "host/lua_path.h"
#include "host/store_keys.h"

#define LEAVE_MS   10000
#define PORT_TRIES 32

/* ── posting ── */

bool node_on_loop(const struct myco *node)
{
    return pthread_equal(node->thread, pthread_self());
}

static void push(struct myco *node, struct node_post *post)
{
    struct node_post *head = __atomic_load_n(&node->posts, __ATOMIC_RELAXED);
    do {
        post->next = head;
    } while (!__atomic_compare_exchange_n(
        &node->posts, &head, post, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    if (!head) uv_async_send(&node->wake);
}

/* Who is seen in here before `closing` is set is waited for, before the wake-up goes. */
int node_post(struct myco *node, struct node_post *post)
{
    __atomic_fetch_add(&node->posting, 1, __ATOMIC_SEQ_CST);
    bool closing = __atomic_load_n(&node->closing, __ATOMIC_SEQ_CST);
    if (!closing) push(node, post);
    __atomic_fetch_sub(&node->posting, 1, __ATOMIC_RELEASE);
    return closing ? MYCO_ECLOSED : 0;
}

static void run_posts(struct myco *node, bool closed)
{
    struct node_post *newest = __atomic_exchange_n(&node->posts, NULL, __ATOMIC_ACQUIRE),
                     *oldest = NULL;
    while (newest) { /* turn it round: first posted, first run */
        struct node_post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct node_post *next = oldest->next;
        oldest->run(node, oldest, closed);
        oldest = next;
    }
}

static void on_wake(uv_async_t *wake)
{
    run_posts(wake->data, false);
}

/* ── events of the core ── */

static void on_ready(void *data)
{
    struct myco *node = data;
    pthread_mutex_lock(&node->mutex);
    node->ready = true;
    pthread_cond_broadcast(&node->changed);
    pthread_mutex_unlock(&node->mutex);
    if (node->bridge) myco_bridge_ready(node->bridge);
}

static void on_failed(int status, const char *message, void *data)
{
    struct myco *node = data;
    pthread_mutex_lock(&node->mutex);
    node->failed = true;
    myco_err(&node->fail_error, status, "%s", message);
    pthread_cond_broadcast(&node->changed);
    pthread_mutex_unlock(&node->mutex);
}

/* ── opening, step by step; what a step made is closed by close_… below, whether or not the next
 * worked ── */

static int open_store(struct myco *node, struct myco_err *err)
{
    if (!node->store || !*node->store) return 0;
    struct myco_store_keys keys;
    bool sealed = node->store_key && *node->store_key;
    int rc = sealed ? node_store_keys(node->store_key, &node->log, &keys, err) : 0;
    if (rc == 0)
        rc = node_store_open(&node->backing, node->loop, myco_uv_env(node->env), node->store, err);
    if (rc == 0 && sealed) node->backing.object = myco_object_sealed(node->backing.object, &keys);
    if (sealed) myco_seal_wipe(&keys, sizeof keys);
    return rc;
}

/* Asked without the loop, which may be the host's: nothing of its may run inside of our call. */
static bool is_taken(const struct myco_addr *addr)
{
    struct sockaddr_storage address;
    int one = 1;
    myco_addr_to_sockaddr(addr, &address);
    socklen_t size =
        address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false; /* listening will say what is wrong */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    int rc = bind(fd, (struct sockaddr *)&address, size);
    if (rc == 0) rc = listen(fd, 1);
    bool taken = rc != 0 && errno == EADDRINUSE;
    close(fd);
    return taken;
}

/* Peers reach one port by TCP and UDP: where any free one will do, try until one is free in
 * both. */
static int open_sockets(struct myco *node, struct myco_addr *bound, struct myco_err *err)
{
    struct myco_addr wanted;
    int rc = myco_addr_parse(&wanted, node->listen, err);
    if (rc) return myco_err_wrap(err, "listen");
    for (int tries = 0; tries < PORT_TRIES; tries++) {
        rc = myco_uv_env_open(
            &node->env, node->loop, &wanted, bound, &node->log, &node->metrics, err);
        if (rc) return myco_err_wrap(err, "listen %s (UDP)", node->listen);
        if (!node->disk) rc = myco_uv_disk_open(node->loop, node->data, &node->disk, err);
        if (rc == 0 && !node->identity.id) {
            rc = myco_uv_disk_lock(node->disk, err);
            if (rc == 0)
                rc = myco_identity_load(
                    node->disk, myco_uv_env(node->env), node->cluster, &node->identity, err);
        }
        if (rc) return myco_err_wrap(err, "data %s", node->data);
        if (wanted.port || !is_taken(bound)) return 0;
        myco_uv_env_close(node->env, NULL, NULL);
        node->env = NULL;
    }
    return myco_err(err, MYCO_EADDRINUSE,
        "listen %s: in %d tries no port was free in both UDP and TCP", node->listen, PORT_TRIES);
}

static int open_core(struct myco *node, const struct myco_addr *bound, struct myco_err *err)
{
    struct myco_keys keys = {0};
    int rc = node->key ? myco_keys_read(node->key, &node->log, &keys, err) : 0;
    if (rc) return rc;
    struct myco_core_options options = {.env = myco_uv_env(node->env),
        .disk = node->disk,
        .store = node->backing.object,
        .name = node->name,
        .cluster = node->cluster,
        .labels = node->labels,
        .expect = node->options.expect,
        .lease_ms = node->options.lease_ms,
        .timeout_ms = node->options.timeout_ms,
        .value_size_max = node->options.value_size_max,
        .events_max = node->options.events_max};
    if (node->policies) options.policy = myco_policies_port(node->policies);
    node->store_object = node->backing.object; /* lent to Lua, which is closed before the core */
    node->backing.object = NULL;               /* the core's now */
    options.keys = keys.keys;
    options.key_count = keys.count;
    rc = myco_core_open(&options, &node->identity,
        &(struct myco_core_events){.on_ready = on_ready, .on_failed = on_failed, .data = node},
        &node->core, err);
    myco_seal_wipe(&keys, sizeof keys);
    if (rc) return myco_err_wrap(err, "data %s", node->data);
    struct myco_net_options net = {.loop = node->loop,
        .listen = *bound,
        .id = node->identity.id,
        .generation = node->identity.generation,
        .name = node->name,
        .features = myco_core_features(node->core),
        .cluster = node->identity.cluster,
        .tls = node->tls,
        .log = &node->log,
        .metrics = &node->metrics};
    struct myco_addr addr = *bound;
    if (node->advertise && myco_addr_parse(&addr, node->advertise, err))
        return myco_err_wrap(err, "advertise");
    if (!addr.port) addr.port = bound->port;
    net.advertise = addr;
    struct myco_transport_events events = myco_core_transport_events(node->core);
    rc = myco_net_open(&net, &events, &node->net, NULL, err);
    if (rc) return myco_err_wrap(err, "listen %s (TCP)", node->listen);
    myco_addr_text(bound, node->listen_text);
    myco_core_start(node->core, myco_net_transport(node->net), &addr);
    return 0;
}

/* Absolute, so that it can be given to others; a Unix socket's path has 107 bytes at most. */
static void name_socket(struct myco *node)
{
    char *folder = realpath(node->data, NULL);
    size_t size = folder ? strlen(folder) + sizeof "/pulse.sock" : SIZE_MAX;
    if (size <= sizeof node->socket_path) {
        memcpy(node->socket_path, folder, strlen(folder));
        memcpy(node->socket_path + strlen(folder), "/pulse.sock", sizeof "/pulse.sock");
    } else {
        MYCO_WARN(&node->log, "pulse", "the data folder's path is too long for a Unix socket",
            "data=%s", node->data);
    }
    free(folder); /* realpath's own */
}

static int open_bridge(struct myco *node, struct myco_err *err)
{
    if (node->options.no_lua) return 0;
    name_socket(node);
    struct myco_bridge_options options = {.loop = node->loop,
        .node = node,
        .lua_path = node->lua_path,
        .admin = node->admin,
        .socket = node->socket_path[0] ? node->socket_path : NULL,
        .config = node->config,
        .join = node->join_sources,
        .store = node->store_object,
        .log = &node->log,
        .metrics = &node->metrics};
    int rc = myco_bridge_open(&options, &node->bridge, err);
    if (rc) return rc;
    myco_text_copy(node->admin_text, sizeof node->admin_text, myco_bridge_admin(node->bridge));
    myco_core_set_admin(node->core, node->admin_text[0] ? node->admin_text : node->socket_path);
    return 0;
}

static int open_policies(struct myco *node, struct myco_err *err)
{
    if (node->options.no_lua) return 0;
    char path[MYCO_LUA_PATH_MAX], folder[MYCO_LUA_PATH_MAX + 32];
    int rc = myco_lua_path(node->lua_path, path, err);
    if (rc) return rc;
    myco_free(node->lua_path);
    node->lua_path = myco_strdup(path);
    snprintf(folder, sizeof folder, "%s/mycorrizal/policy", path);
    return myco_policies_new(folder, &node->log, &node->policies, err);
}

static int open_all(struct myco *node, struct myco_err *err)
{
    struct myco_addr bound = {0};
    int rc = node_join_read(node, err);
    if (rc == 0) rc = open_policies(node, err);
    if (rc == 0) rc = open_sockets(node, &bound, err);
    if (rc == 0) rc = open_store(node, err);
    if (rc == 0) rc = open_core(node, &bound, err);
    if (rc == 0) rc = open_bridge(node, err);
    if (rc) return rc;
    node_join_start(node);
    return 0;
}

/* ── closing: bridge, core, net, store, disk, env, wake ── each step's callback goes on with the
 * next */

static void free_node(struct myco *node)
{
    char *strings[] = {node->name, node->cluster, node->listen, node->advertise, node->admin,
        node->join, node->data, node->store, node->labels, node->tls, node->key, node->store_key,
        node->lua_path, node->config};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) myco_free(strings[i]);
    node_join_free(node);
    for (struct node_function *function = node->functions, *next; function; function = next) {
        next = function->next;
        myco_free(function);
    }
    for (struct myco_septum *septum = node->septa, *next; septum; septum = next) {
        next = septum->next;
        myco_free(septum);
    }
    struct myco_list *link;
    while ((link = myco_list_pop(&node->handles)))
        myco_free(MYCO_CONTAINER(link, struct node_handle, link));
    myco_policies_free(node->policies);
    pthread_mutex_destroy(&node->mutex);
    pthread_cond_destroy(&node->changed);
    myco_free(node);
}

static void wake_closed(uv_handle_t *handle)
{
    struct myco *node = handle->data;
    run_posts(node, true);
    node->closed = true;
    if (node->own_thread) return; /* the thread ends, and whoever closes frees */
    void (*closed)(void *) = node->closed_cb;
    void *data = node->closed_data;
    free_node(node);
    if (closed) closed(data);
}

static void close_wake(void *data)
{
    struct myco *node = data;
    if (node_join_pending(node, close_wake)) return; /* lookups end by themselves, then we go on */
    while (__atomic_load_n(&node->posting, __ATOMIC_ACQUIRE)) sched_yield();
    uv_close((uv_handle_t *)&node->wake, wake_closed);
}

static void close_env(void *data)
{
    struct myco *node = data;
    if (node->env) {
        node_join_stop(node);
        myco_uv_env_close(node->env, close_wake, node);
    } else {
        close_wake(node);
    }
}

static void close_disk(void *data)
{
    struct myco *node = data;
    if (node->disk)
        myco_uv_disk_close(node->disk, close_env, node);
    else
        close_env(node);
}

static void close_store(void *data)
{
    struct myco *node = data;
    node_store_close(&node->backing, close_disk, node);
}

/* A turn later: the core must not be freed under one of its own callbacks. */
static void free_core(void *data)
{
    struct myco *node = data;
    myco_core_free(node->core);
    node->core = NULL;
    if (node->net)
        myco_net_close(node->net, close_store, node);
    else
        close_store(node);
}

static void core_left(void *data)
{
    struct myco *node = data;
    node_join_stop(node);
    myco_timer_init(&node->turn, myco_uv_env(node->env), free_core, node);
    myco_timer_start(&node->turn, 0, 0);
}

static void leave_core(void *data)
{
    struct myco *node = data;
    node->bridge = NULL;
    if (node->core)
        myco_core_leave(node->core, LEAVE_MS, core_left, node);
    else
        free_core(node);
}

static void close_all(struct myco *node)
{
    if (node->bridge)
        myco_bridge_close(node->bridge, leave_core, node);
    else
        leave_core(node);
}

/* ── the loop thread ── */

static void report_start(struct myco *node, bool ok)
{
    pthread_mutex_lock(&node->mutex);
    node->started = true;
    node->gone = !ok;
    pthread_cond_broadcast(&node->changed);
    pthread_mutex_unlock(&node->mutex);
}

static int start(struct myco *node, struct myco_err *err)
{
    node->wake.data = node;
    int rc = uv_async_init(node->loop, &node->wake, on_wake);
    if (rc) return myco_err(err, MYCO_EIO, "libuv: %s", uv_strerror(rc));
    node->wake_open = true;
    return open_all(node, err);
}

static void *run_thread(void *data)
{
    struct myco *node = data;
    node->thread = pthread_self();
    int rc = uv_loop_init(node->loop);
    if (rc) {
        myco_err(&node->start_error, MYCO_EIO, "libuv: %s", uv_strerror(rc));
        report_start(node, false);
        return NULL;
    }
    rc = start(node, &node->start_error);
    if (rc) {
        __atomic_store_n(&node->closing, true, __ATOMIC_SEQ_CST);
        if (node->wake_open) close_all(node);
    } else {
        report_start(node, true);
    }
    uv_run(node->loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(node->loop);
    if (rc) MYCO_ERROR(&node->log, "hypha", "the loop did not close", "error=%s", uv_strerror(rc));
    if (node->start_error.code) report_start(node, false);
    return NULL;
}

static char *copy(const char *text)
{
    return text && *text ? myco_strdup(text) : NULL;
}

static struct myco *make(const struct myco_options *given, struct myco_err *err)
{
    struct myco_options options = MYCO_OPTIONS_INIT;
    char host[256] = "node";
    if (given && (given->size == 0 || given->size > sizeof options)) {
        myco_err(err, MYCO_EINVAL, "options.size is %zu: initialise with MYCO_OPTIONS_INIT",
            given->size);
        return NULL;
    }
    if (given) memcpy(&options, given, given->size);
    struct myco *node = myco_alloc(sizeof *node);
    gethostname(host, sizeof host - 1);
    node->options = options;
    node->name = myco_strdup(options.name && *options.name ? options.name : host);
    node->cluster = myco_strdup(options.cluster && *options.cluster ? options.cluster : "default");
    node->listen = myco_strdup(options.listen && *options.listen ? options.listen : "127.0.0.1:0");
    node->advertise = copy(options.advertise);
    node->admin = copy(options.admin);
    node->join = copy(options.join);
    node->store = copy(options.store);
    node->labels = copy(options.labels);
    node->tls = copy(options.tls);
    node->key = copy(options.key);
    node->store_key = copy(options.store_key);
    node->lua_path = copy(options.lua_path);
    node->config = copy(options.config);
    node->data = copy(options.data);
    if (!node->data) {
        char folder[MYCO_NAME_SIZE_MAX + 64];
        snprintf(folder, sizeof folder, "%.63s.myco", node->name);
        node->data = myco_strdup(folder);
    }
    if (!node->options.expect && !node->join) node->options.expect = 1;
    node->log = (struct myco_log){.level = options.log ? options.log_level : MYCO_LOG_OFF,
        .sink = options.log,
        .data = options.log_data};
    myco_text_copy(node->log.name, sizeof node->log.name, node->name);
    node_wait_init(&node->changed);
    pthread_mutex_init(&node->mutex, NULL);
    myco_list_init(&node->handles);
    if (strlen(node->name) > MYCO_NAME_SIZE_MAX || !myco__state_name_ok(node->name)) {
        myco_err(err, MYCO_EINVAL,
            "name: '%.80s' is not 1 to 63 printable characters without spaces, '/' or '\"'",
            node->name);
    } else if (strlen(node->cluster) > MYCO_NAME_SIZE_MAX) {
        myco_err(err, MYCO_EINVAL, "cluster: the name is longer than 63 characters");
    } else if (node->labels && strlen(node->labels) > MYCO_LABELS_MAX) {
        myco_err(err, MYCO_EINVAL, "labels: longer than 255 characters");
    } else {
        return node;
    }
    free_node(node);
    return NULL;
}

int myco_open(struct myco **node_out, const struct myco_options *options, struct myco_err *err)
{
    struct myco_err local = {0};
    struct myco *node = make(options, err ? err : &local);
    if (!node) return err ? err->code : local.code;
    node->own_thread = true;
    node->loop = &node->own_loop;
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, run_thread, node);
    if (rc) {
        free_node(node);
        return myco_err_sys(err, rc, "start the loop thread");
    }
    pthread_mutex_lock(&node->mutex);
    while (!node->started) pthread_cond_wait(&node->changed, &node->mutex);
    bool ok = !node->gone;
    pthread_mutex_unlock(&node->mutex);
    if (ok) {
        *node_out = node;
        return 0;
    }
    pthread_join(thread, NULL);
    if (err) *err = node->start_error;
    rc = node->start_error.code;
    free_node(node);
    return rc;
}

static void run_close(struct myco *node, struct node_post *post, bool closed)
{
    myco_free(post);
    if (closed) return;
    __atomic_store_n(&node->closing, true, __ATOMIC_SEQ_CST);
    close_all(node);
}

void myco_close(struct myco *node)
{
    if (!node || !node->own_thread) return;
    pthread_t thread = node->thread;
    struct node_post *post = myco_alloc(sizeof *post);
    post->run = run_close;
    if (node_post(node, post)) myco_free(post);
    pthread_join(thread, NULL);
    free_node(node);
}

/* ── on the host's loop ── */

static void open_failed(void *data)
{
    (void)data;
}

int myco_open_uv(struct myco **node_out, uv_loop_t *loop, const struct myco_options *options,
    struct myco_err *err)
{
    struct myco_err local = {0};
    if (!err) err = &local;
    struct myco *node = make(options, err);
    if (!node) return err->code;
    node->loop = loop;
    node->thread = pthread_self();
    int rc = start(node, err);
    node->started = true;
    if (rc == 0) {
        *node_out = node;
        return 0;
    }
    /* What was opened closes on the host's loop; the node frees itself at the end. */
    __atomic_store_n(&node->closing, true, __ATOMIC_SEQ_CST);
    node->closed_cb = open_failed;
    if (node->wake_open)
        close_all(node);
    else
        free_node(node);
    return rc;
}

void myco_close_uv(struct myco *node, void (*closed)(void *data), void *data)
{
    if (!node || node->own_thread || node->closing) return;
    node->closed_cb = closed;
    node->closed_data = data;
    __atomic_store_n(&node->closing, true, __ATOMIC_SEQ_CST);
    close_all(node);
}

uv_loop_t *myco_loop(struct myco *node)
{
    return node->loop;
}
