/* The addresses that a node asks for others, while it runs. */
#include "host/join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "host/node.h"

#define RETRY_MS 5000

/* A name that this node looks up without Lua. */
struct seed {
    struct seed *next;
    char host[256], port[8];
    bool found;
};

struct node_join {
    struct myco_addr fixed[MYCO_JOINS_MAX], found[MYCO_JOINS_MAX];
    unsigned fixed_count, found_count;
    struct seed *seeds;
    struct myco_timer timer;
    bool started;
    unsigned lookups; /* under way */
    void (*again)(void *data);
};

/* ── Asking ── */

static bool is_own(const struct myco *node, const struct myco_addr *addr)
{
    struct myco_addr own;
    if (myco_addr_parse(&own, node->listen_text, NULL) == 0 && myco_addr_equal(&own, addr))
        return true;
    return node->advertise && myco_addr_parse(&own, node->advertise, NULL) == 0 &&
           myco_addr_equal(&own, addr);
}

static void tell_core(struct myco *node)
{
    struct node_join *join = node->joining;
    struct myco_addr all[MYCO_JOINS_MAX];
    unsigned count = 0;
    if (!join->started || !node->core) return;
    for (unsigned i = 0; i < join->fixed_count; i++)
        if (!is_own(node, &join->fixed[i])) all[count++] = join->fixed[i];
    for (unsigned i = 0; i < join->found_count && count < MYCO_JOINS_MAX; i++)
        if (!is_own(node, &join->found[i])) all[count++] = join->found[i];
    myco_core_joins(node->core, all, count);
}

static void add_fixed(struct node_join *join, const struct myco_addr *addr)
{
    if (join->fixed_count < MYCO_JOINS_MAX) join->fixed[join->fixed_count++] = *addr;
}

/* ── What discovery found ── */

struct join_post {
    struct node_post post;
    unsigned count;
    struct myco_addr found[MYCO_JOINS_MAX];
};

static void run_join(struct myco *node, struct node_post *post, bool closed)
{
    struct join_post *found = MYCO_CONTAINER(post, struct join_post, post);
    if (!closed && node->joining) {
        memcpy(node->joining->found, found->found, sizeof found->found);
        node->joining->found_count = found->count;
        tell_core(node);
    }
    myco_free(found);
}

int myco_join(struct myco *node, const char *addresses, struct myco_err *err)
{
    struct join_post *found = myco_alloc(sizeof *found);
    found->post.run = run_join;
    for (const char *at = addresses; *at; at += strspn(at, ", ")) {
        char text[MYCO_ADDR_TEXT_MAX] = "";
        size_t size = strcspn(at, ", ");
        if (size < sizeof text) memcpy(text, at, size);
        struct myco_addr *addr = &found->found[found->count];
        if (found->count < MYCO_JOINS_MAX && size) {
            if (myco_addr_parse(addr, text, NULL) || !addr->port) {
                myco_free(found);
                return myco_err(err, MYCO_EINVAL, "'%.*s' is not ADDRESS:PORT", (int)size, at);
            }
            found->count++;
        }
        at += size;
    }
    if (node_on_loop(node)) {
        run_join(node, &found->post, node->closing);
        return 0;
    }
    int rc = node_post(node, &found->post);
    if (rc) myco_free(found);
    return rc ? myco_err(err, rc, "%s", myco_strerror(rc)) : 0;
}

/* ── Names, without Lua: looked up again until they are found ── */

struct lookup {
    uv_getaddrinfo_t request;
    struct myco *node;
    struct seed *seed;
};

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct lookup *lookup = MYCO_CONTAINER(request, struct lookup, request);
    struct myco *node = lookup->node;
    struct node_join *join = node->joining;
    struct seed *seed = lookup->seed;
    myco_free(lookup);
    join->lookups--;
    for (struct addrinfo *at = status == 0 ? found : NULL; at; at = at->ai_next) {
        struct myco_addr addr;
        if (!myco_addr_from_sockaddr(&addr, at->ai_addr)) continue;
        add_fixed(join, &addr);
        seed->found = true;
    }
    uv_freeaddrinfo(found);
    tell_core(node);
    if (!join->lookups && join->again) join->again(node);
}

static void look_up(void *data)
{
    struct myco *node = data;
    struct node_join *join = node->joining;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    bool more = false;
    for (struct seed *seed = join->seeds; seed; seed = seed->next) {
        if (seed->found) continue;
        more = true;
        struct lookup *lookup = myco_alloc(sizeof *lookup);
        lookup->node = node;
        lookup->seed = seed;
        if (uv_getaddrinfo(node->loop, &lookup->request, resolved, seed->host, seed->port, &hints))
            myco_free(lookup);
        else
            join->lookups++;
    }
    if (more) myco_timer_start(&join->timer, RETRY_MS, 0);
}

static void add_seed(struct node_join *join, const char *place)
{
    struct seed *seed = myco_alloc(sizeof *seed);
    const char *colon = strrchr(place, ':');
    snprintf(seed->host, sizeof seed->host, "%.*s", (int)(colon - place), place);
    myco_text_copy(seed->port, sizeof seed->port, colon + 1);
    seed->next = join->seeds;
    join->seeds = seed;
}

/* ── Life ── */

static void add_source(struct myco_buf *sources, const char *scheme, const char *place)
{
    myco_buf_printf(sources, "%s%s%s", sources->size ? "," : "", scheme, place);
}

static void read_place(struct myco *node, const char *place, struct myco_buf *sources)
{
    struct myco_addr addr;
    if (myco_join_is_source(place))
        add_source(sources, "", place);
    else if (myco_addr_parse(&addr, place, NULL) == 0)
        add_fixed(node->joining, &addr);
    else if (node->options.no_lua)
        add_seed(node->joining, place);
    else
        add_source(sources, "static:", place);
}

int node_join_read(struct myco *node, struct myco_err *err)
{
    struct myco_buf sources = {0};
    const char *given = node->join ? node->join : "";
    node->joining = myco_alloc(sizeof *node->joining);
    int rc = myco_join_check_all(given, node->store, node->options.no_lua != 0, err);
    if (rc) return rc;
    for (const char *at = given; *at; at += strspn(at, ", ")) {
        size_t size = strcspn(at, ", ");
        char *place = myco_alloc(size + 1);
        memcpy(place, at, size);
        if (size) read_place(node, place, &sources);
        myco_free(place);
        at += size;
    }
    if (sources.size) {
        myco_buf_u8(&sources, 0);
        node->join_sources = myco_strdup((const char *)sources.data);
    }
    myco_buf_free(&sources);
    return 0;
}

void node_join_start(struct myco *node)
{
    struct node_join *join = node->joining;
    join->started = true;
    myco_timer_init(&join->timer, myco_uv_env(node->env), look_up, node);
    tell_core(node);
    look_up(node);
}

void node_join_stop(struct myco *node)
{
    if (!node->joining || !node->joining->started) return;
    node->joining->started = false;
    myco_timer_stop(&node->joining->timer);
}

bool node_join_pending(struct myco *node, void (*again)(void *data))
{
    if (!node->joining || !node->joining->lookups) return false;
    node->joining->again = again;
    return true;
}

void node_join_free(struct myco *node)
{
    if (!node->joining) return;
    for (struct seed *seed = node->joining->seeds, *next; seed; seed = next) {
        next = seed->next;
        myco_free(seed);
    }
    myco_free(node->joining);
    myco_free(node->join_sources);
}
