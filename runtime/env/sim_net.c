/* The simulated network: what a path between two hosts does to what passes on it, and datagrams. */
#include "env/sim_private.h"

#define DATAGRAM_SIZE_MAX 65507
#define PORT              7946

struct myco_addr myco_sim_addr(unsigned host)
{
    struct myco_addr addr = {.port = PORT, .family = 4};
    addr.ip[0] = 10;
    addr.ip[2] = (uint8_t)(host >> 8);
    addr.ip[3] = (uint8_t)host;
    return addr;
}

unsigned myco_sim_host_of(const struct myco_sim *sim, const struct myco_addr *addr)
{
    unsigned host = (unsigned)addr->ip[2] << 8 | addr->ip[3];
    struct myco_addr its = myco_sim_addr(host);
    return host < sim->host_count && myco_addr_equal(&its, addr) ? host : MYCO_SIM_NONE;
}

/* ── Paths: the same for all pairs, but for those that somebody changed ─────────────────────── */

struct sim_direction *myco__sim_direction(
    struct myco_sim *sim, unsigned from, unsigned to, bool make)
{
    uint64_t key = (uint64_t)from << 32 | to;
    struct sim_direction *direction = myco_map_get(&sim->directions, key);
    if (direction == NULL && make) {
        direction = myco_alloc(sizeof(*direction));
        direction->from = from;
        direction->to = to;
        myco_map_put(&sim->directions, key, direction);
    }
    return direction;
}

const struct myco_sim_path *myco__sim_path(struct myco_sim *sim, unsigned from, unsigned to)
{
    struct sim_direction *direction = myco__sim_direction(sim, from, to, false);
    return direction != NULL && direction->own_path ? &direction->path : &sim->options.path;
}

uint64_t myco__sim_delay(struct myco_sim *sim, unsigned from, unsigned to)
{
    const struct myco_sim_path *path = myco__sim_path(sim, from, to);
    if (myco_sim_random_chance(&sim->net_random, path->tail_ppm)) {
        return myco_sim_random_between(&sim->net_random, path->delay_max_ns, path->delay_tail_ns);
    }
    return myco_sim_random_between(&sim->net_random, path->delay_min_ns, path->delay_max_ns);
}

void myco_sim_set_path(
    struct myco_sim *sim, unsigned from, unsigned to, const struct myco_sim_path *path)
{
    struct sim_direction *direction = myco__sim_direction(sim, from, to, true);
    direction->own_path = true;
    direction->path = *path;
    myco__sim_trace(sim, SIM_TRACE_PATH, from, to, path->loss_ppm, 0);
}

void myco_sim_set_all_paths(struct myco_sim *sim, const struct myco_sim_path *path)
{
    MYCO_MAP_EACH (struct sim_direction, direction, &sim->directions) direction->own_path = false;
    sim->options.path = *path;
    myco__sim_trace(sim, SIM_TRACE_PATH, MYCO_SIM_NONE, MYCO_SIM_NONE, path->loss_ppm, 0);
}

bool myco_sim_is_cut(const struct myco_sim *sim, unsigned from, unsigned to)
{
    const struct sim_direction *direction =
        myco_map_get(&sim->directions, (uint64_t)from << 32 | to);
    return direction != NULL && direction->cut;
}

void myco_sim_cut(struct myco_sim *sim, unsigned from, unsigned to)
{
    MYCO_ASSERT(from < sim->host_count && to < sim->host_count);
    struct sim_direction *direction = myco__sim_direction(sim, from, to, true);
    if (direction->cut || from == to) return;
    direction->cut = true;
    direction->cut_since = sim->now;
    myco__sim_trace(sim, SIM_TRACE_CUT, from, to, 0, 0);
    myco__sim_transport_cut(sim, from, to);
}

void myco_sim_mend(struct myco_sim *sim, unsigned from, unsigned to)
{
    struct sim_direction *direction = myco__sim_direction(sim, from, to, false);
    if (direction == NULL || !direction->cut) return;
    direction->cut = false;
    myco__sim_trace(sim, SIM_TRACE_MEND, from, to, 0, 0);
    myco__sim_transport_mended(sim, from, to);
}

void myco_sim_cut_both(struct myco_sim *sim, unsigned a, unsigned b)
{
    myco_sim_cut(sim, a, b);
    myco_sim_cut(sim, b, a);
}

void myco_sim_isolate(struct myco_sim *sim, unsigned host)
{
    for (unsigned other = 0; other < sim->host_count; other++) {
        if (other != host) myco_sim_cut_both(sim, host, other);
    }
}

void myco_sim_partition(struct myco_sim *sim, const uint8_t *side)
{
    for (unsigned a = 0; a < sim->host_count; a++) {
        for (unsigned b = a + 1; b < sim->host_count; b++) {
            if (side[a] != side[b]) myco_sim_cut_both(sim, a, b);
        }
    }
}

void myco_sim_mend_all(struct myco_sim *sim)
{
    MYCO_MAP_EACH (struct sim_direction, direction, &sim->directions) {
        myco_sim_mend(sim, direction->from, direction->to);
    }
}

void myco_sim_break(struct myco_sim *sim, unsigned a, unsigned b)
{
    MYCO_ASSERT(a < sim->host_count && b < sim->host_count && sim->inside == MYCO_SIM_NONE);
    if (a != b) myco__sim_transport_broken(sim, a, b);
}

void myco__sim_net_close(struct myco_sim *sim)
{
    MYCO_MAP_EACH (struct sim_direction, direction, &sim->directions) myco_free(direction);
    myco_map_free(&sim->directions);
}

#define UDP_OVERHEAD 28

void myco_sim_traffic(struct myco_sim *sim, unsigned host, struct myco_sim_traffic *traffic)
{
    *traffic = myco__sim_host(sim, host)->traffic;
}

/* ── Datagrams: each finds its own delay, and so they overtake each other ───────────────────── */

static void deliver_datagram(struct sim_event *event)
{
    struct myco_sim *sim = event->sim;
    struct sim_host *host = sim->hosts[event->host];
    unsigned from = (unsigned)event->a;
    struct myco_slice bytes = myco_bytes(event->p, event->b);
    bool arrives = !myco_sim_is_cut(sim, from, event->host) && host->env.on_datagram != NULL;
    myco__sim_trace(sim, arrives ? SIM_TRACE_DATAGRAM : SIM_TRACE_LOST, event->host, from,
        bytes.size, myco_hash(bytes.data, bytes.size));
    if (!arrives) return;
    host->traffic.datagrams_in++;
    host->traffic.datagram_bytes_in += bytes.size + UDP_OVERHEAD;
    struct myco_addr addr = myco_sim_addr(from);
    myco__sim_enter(host);
    host->env.on_datagram(&addr, bytes, host->env.on_datagram_data);
    myco__sim_leave(host);
}

static void drop_bytes(struct sim_event *event)
{
    myco_free(event->p);
}

static void send_copy(struct myco_sim *sim, unsigned from, unsigned to, struct myco_slice bytes)
{
    struct sim_event *event =
        myco__sim_event(sim, sim->now + myco__sim_delay(sim, from, to), deliver_datagram);
    event->host = to;
    event->a = from;
    event->b = bytes.size;
    event->p = myco_memdup(bytes.data, bytes.size);
    event->drop = drop_bytes;
    myco__sim_event_push(event);
}

int myco__sim_datagram_send(
    struct myco_env *env, const struct myco_addr *to, struct myco_slice bytes)
{
    struct sim_host *host = MYCO_CONTAINER(env, struct sim_host, env);
    struct myco_sim *sim = host->sim;
    unsigned target = myco_sim_host_of(sim, to);
    if (!host->up) return MYCO_ENOTCONN;
    if (bytes.size > DATAGRAM_SIZE_MAX) return MYCO_ETOOBIG;
    host->traffic.datagrams_out++;
    host->traffic.datagram_bytes_out += bytes.size + UDP_OVERHEAD;
    if (target == MYCO_SIM_NONE) return 0;
    const struct myco_sim_path *path = myco__sim_path(sim, host->index, target);
    if (myco_sim_is_cut(sim, host->index, target)) return 0;
    if (!myco_sim_random_chance(&sim->net_random, path->loss_ppm)) {
        send_copy(sim, host->index, target, bytes);
    }
    if (myco_sim_random_chance(&sim->net_random, path->duplicate_ppm)) {
        send_copy(sim, host->index, target, bytes);
    }
    return 0;
}
