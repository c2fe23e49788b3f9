/* One swim: its birth, its one timer, the datagrams that come in, its leaving.
 *
 * The happy path: a node asks the addresses it was told to join for their list (sync.c), believes
 * it (members.c), and from then on probes one member after the other (probe.c), while what changes
 * rides along on the probes (queue.c).
 *
 * What can go wrong, and where it is answered:
 *   a datagram is garbage, foreign, cut off     counted and dropped, whole (receive, codec.c)
 *   it is lost                                  others probe too; news is told several times
 *   a member is slow, or we are                 suspicion and refutation; local health (probe.c)
 *   this process was paused                     the timer notices, and judges nobody by that time
 *   the network was cut in two                  the dead are asked again, once a second (sync.c)
 *   everybody was killed and started again      generations (members.c)
 *   a data folder was copied                    on_impostor
 *   a peer that we do not know pings us         we ask it for its list
 *
 *   it is forged, or sent again                 sealed and opened by keyring.c; with no key in the
 *                                               ring only bad luck is defended against
 *   UDP is lost, and TCP is not                 the connection carries probes and lists (probe.c)
 */
#include "gossip/state.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/text.h"

#define FORGET_MS      (24 * 3600 * 1000ull)
#define FORGET_TICK_MS 60000
#define FAREWELLS      2     /* more, after the first */
#define WARN_EVERY_MS  10000 /* of datagrams that are no gossip */

/* ── The timer ──────────────────────────────────────────────────────────────────────────────── */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_due(const struct myco_swim *swim)
{
    if (swim->self.pub.state == MYCO_MEMBER_LEFT) {
        return swim->farewells > 0 ? swim->farewell_due_ms : MYCO__NEVER;
    }
    uint64_t due = sooner(swim->gossip_due_ms, swim->forget_due_ms);
    due = sooner(due, myco__probe_due(swim));
    due = sooner(due, myco__suspicion_due(swim));
    return sooner(due, myco__sync_due(swim));
}

void myco__swim_schedule(struct myco_swim *swim)
{
    uint64_t due_ms = next_due(swim), now_ms = myco_now_ms(swim->env);
    if (due_ms < now_ms) due_ms = now_ms; /* overdue since just now: that is no pause of ours */
    if (due_ms == swim->timer_due_ms && myco_timer_active(&swim->timer)) return;
    swim->timer_due_ms = due_ms;
    if (due_ms == MYCO__NEVER) {
        myco_timer_stop(&swim->timer);
    } else {
        myco_timer_start_at(&swim->timer, due_ms * 1000000);
    }
}

/* A timer that fires late means that this process did not run. What was sent to it meanwhile lies
 * in its socket, and is read after the timers: so everybody gets that time again, and, once, some
 * more to be read. (Once: a loop that is always late must come to an end with its dead, too.) */
static void notice_pause(struct myco_swim *swim, uint64_t now_ms)
{
    uint64_t late_ms = now_ms > swim->timer_due_ms ? now_ms - swim->timer_due_ms : 0;
    if (late_ms <= swim->timeout_ms / 2) return;
    MYCO_WARN(
        swim->env->log, "gossip", "this node was paused", "ms=%llu", (unsigned long long)late_ms);
    myco__probe_shift(swim, late_ms);
    myco__suspicion_shift(swim, late_ms);
    myco__health_add(swim, 1);
}

static void say_farewell(struct myco_swim *swim, uint64_t now_ms)
{
    if (swim->farewells == 0 || now_ms < swim->farewell_due_ms) return;
    swim->farewells--;
    swim->farewell_due_ms = now_ms + swim->probe_ms / 4;
    myco__tell_all(swim, &swim->self);
}

static void on_timer(void *data)
{
    struct myco_swim *swim = data;
    uint64_t now_ms = myco_now_ms(swim->env);
    if (swim->self.pub.state == MYCO_MEMBER_LEFT) {
        say_farewell(swim, now_ms);
        myco__swim_schedule(swim);
        return;
    }
    notice_pause(swim, now_ms);
    myco__probe_tick(swim, now_ms);
    myco__suspicion_tick(swim, now_ms);
    myco__sync_tick(swim, now_ms);
    myco__queue_tick(swim, now_ms);
    if (now_ms >= swim->forget_due_ms) {
        swim->forget_due_ms = now_ms + sooner(FORGET_TICK_MS, swim->forget_ms);
        myco__members_forget(swim, now_ms);
    }
    myco__swim_schedule(swim);
}

/* ── Birth ──────────────────────────────────────────────────────────────────────────────────── */

static unsigned or_default(unsigned value, unsigned fallback)
{
    return value ? value : fallback;
}

static void init_options(struct myco_swim *swim, const struct myco_swim_options *options)
{
    swim->cluster = options->cluster;
    swim->probe_ms = or_default(options->probe_ms, 200);
    swim->timeout_ms = or_default(options->timeout_ms, 100);
    swim->indirect = or_default(options->indirect, 3);
    swim->suspicion_ms = or_default(options->suspicion_ms, 1000);
    swim->forget_ms = options->forget_ms ? options->forget_ms : FORGET_MS;
    swim->keyring = options->keyring;
}

static void init_self(struct myco_swim *swim, const struct myco_swim_options *options)
{
    struct myco_member *self = &swim->self.pub;
    self->id = options->id;
    self->generation = options->generation;
    self->addr = options->addr;
    self->changed_ms = myco_now_ms(swim->env);
    char name[MYCO_NAME_SIZE_MAX + 1] = "";
    if (options->name) myco_text_copy(name, sizeof name, options->name);
    (void)myco__member_details(&swim->self, name, myco_bytes(NULL, 0));
    myco_list_init(&swim->self.queued);
}

/* The first probe at a random time, so that nodes that start together do not probe together. */
static void init_times(struct myco_swim *swim)
{
    uint64_t now_ms = myco_now_ms(swim->env);
    swim->probe_due_ms = now_ms + myco_random_below(swim->env, swim->probe_ms);
    swim->gossip_due_ms = MYCO__NEVER;
    swim->join_due_ms = MYCO__NEVER;
    swim->sync_due_ms = now_ms + myco_random_below(swim->env, 10000);
    swim->dead_due_ms = now_ms;
    swim->forget_due_ms = now_ms + sooner(FORGET_TICK_MS, swim->forget_ms);
    swim->timer_due_ms = MYCO__NEVER;
    swim->sequence = (uint32_t)myco_random_u64(swim->env);
}

struct myco_swim *myco_swim_new(struct myco_env *env, const struct myco_swim_options *options,
    const struct myco_swim_events *events)
{
    MYCO_ASSERT(options->id != 0);
    struct myco_swim *swim = myco_alloc(sizeof(*swim));
    swim->env = env;
    swim->events = *events;
    for (unsigned i = 0; i < MYCO__TRANSMITS_MAX; i++) myco_list_init(&swim->queue[i]);
    myco_list_init(&swim->suspects);
    init_options(swim, options);
    init_self(swim, options);
    init_times(swim);
    myco_timer_init(&swim->timer, env, on_timer, swim);
    myco__queue_add(swim, &swim->self);
    myco__swim_schedule(swim);
    MYCO_METRIC_SET(env->metrics, MEMBERS_ALIVE, 1);
    return swim;
}

void myco_swim_free(struct myco_swim *swim)
{
    if (!swim) return;
    myco_timer_stop(&swim->timer);
    myco__members_free(swim);
    myco_free(swim->self.details);
    myco_buf_free(&swim->out);
    myco_buf_free(&swim->sealed);
    myco_free(swim);
}

/* ── Datagrams ──────────────────────────────────────────────────────────────────────────────── */

/* Each is counted; a warning says so once in a while. */
static void warn(struct myco_swim *swim, const struct myco_addr *from, const char *why)
{
    char text[MYCO_ADDR_TEXT_MAX];
    uint64_t now_ms = myco_now_ms(swim->env) + 1; /* 0: never */
    bool soon = swim->warned_ms != 0 && now_ms - swim->warned_ms < WARN_EVERY_MS;
    if (!soon) swim->warned_ms = now_ms;
    MYCO_LOG_AT(swim->env->log, soon ? MYCO_LOG_DEBUG : MYCO_LOG_WARN, "gossip", "datagram refused",
        "from=%s why=\"%s\"", myco_addr_text(from, text), why);
}

static void refuse(struct myco_swim *swim, const struct myco_addr *from, const char *why)
{
    MYCO_METRIC_ADD(swim->env->metrics, GOSSIP_REFUSED, 1);
    warn(swim, from, why);
}

static bool well_formed(struct myco_reader reader)
{
    struct myco__message message;
    while (myco_read_left(&reader) > 0) {
        if (!myco__decode_message(&reader, &message)) return false;
    }
    return true;
}

/* Our own, by way of an address to join, which is not asked again; or a namesake's. */
static void receive_own(
    struct myco_swim *swim, const struct myco__path *from, const struct myco__header *header)
{
    struct myco__record claim = {.id = header->id, .generation = header->generation};
    for (unsigned i = 0; i < swim->join_count; i++) {
        if (header->generation == swim->self.pub.generation && !from->mesh)
            swim->joins[i].own |= myco_addr_equal(&swim->joins[i].addr, &from->addr);
    }
    if (header->generation > swim->self.pub.generation) {
        myco__members_hear(swim, &claim, header->id, false);
    }
}

/* Whoever asks under a generation that was replaced is told so: it may be the original of a copied
 * data folder. To the late datagram of a process that is gone, it is an answer to nobody. */
static void tell_elder(struct myco_swim *swim, const struct myco__path *from,
    const struct myco__member *younger, struct myco_reader reader)
{
    struct myco__message message;
    if (myco_read_left(&reader) == 0 || !myco__decode_message(&reader, &message)) return;
    bool ask = message.type == MYCO__SYNC && (message.flags & MYCO__SYNC_ASK);
    if (!ask && message.type != MYCO__PING) return;
    myco__begin(swim);
    myco__encode_member(swim, younger, false);
    myco__send_back(swim, from);
}

static void receive_messages(struct myco_swim *swim, const struct myco__path *from,
    const struct myco__header *header, struct myco_reader reader)
{
    struct myco__message message;
    bool sync = false, asked = false;
    while (myco_read_left(&reader) > 0 && myco__decode_message(&reader, &message)) {
        switch (message.type) {
        case MYCO__MEMBER:
        case MYCO__NEWS: myco__members_hear(swim, &message.record, header->id, sync); break;
        case MYCO__SYNC:
            sync = true;
            myco__sync_receive(swim, from, header, &message);
            break;
        default:
            asked |= message.type == MYCO__PING;
            myco__probe_receive(swim, from, header, &message);
        }
    }
    /* Whoever pings us knows us; it should be mutual. */
    const struct myco__member *sender = myco__member_get(swim, header->id);
    bool stranger = !sender || sender->pub.generation < header->generation;
    if (asked && stranger && swim->self.pub.state == MYCO_MEMBER_ALIVE) {
        myco__sync_ask(swim, from, NULL);
    }
}

static void receive_plain(
    struct myco_swim *swim, const struct myco__path *from, const struct myco_opening *opening)
{
    struct myco__header header;
    struct myco_reader reader = myco_reader(opening->plain.data, opening->plain.size);
    if (!myco__decode_header(&reader, &header)) {
        refuse(swim, &from->addr, "not gossip, or another version");
    } else if (header.cluster != swim->cluster) {
        refuse(swim, &from->addr, "another cluster");
    } else if (!well_formed(reader)) {
        refuse(swim, &from->addr, "malformed");
    } else if (opening->how == MYCO_OPENED &&
               (header.id != opening->id || header.generation != opening->generation)) {
        refuse(swim, &from->addr, "sealed by another node than the one it names");
    } else if (header.id == swim->self.pub.id) {
        receive_own(swim, from, &header);
    } else {
        const struct myco__member *sender = myco__member_get(swim, header.id);
        if (sender && sender->pub.generation > header.generation) {
            refuse(swim, &from->addr, "of an earlier life");
            tell_elder(swim, from, sender, reader);
            return;
        }
        receive_messages(swim, from, &header, reader);
        myco__swim_schedule(swim);
    }
}

static void receive(struct myco_swim *swim, struct myco__path *from, struct myco_slice bytes)
{
    struct myco_opening opening = {.how = MYCO_OPENED_PLAIN, .plain = bytes};
    if (swim->keyring) opening = myco_keyring_open(swim->keyring, bytes);
    from->key = opening.key;
    switch (opening.how) {
    case MYCO_OPENED:
    case MYCO_OPENED_PLAIN: receive_plain(swim, from, &opening); break;
    case MYCO_OPENED_UNSEALED:
        MYCO_METRIC_ADD(swim->env->metrics, GOSSIP_UNSEALED, 1);
        warn(swim, &from->addr, "not sealed, and this node has a key: does that one lack it?");
        break;
    case MYCO_OPENED_FOREIGN:
        MYCO_METRIC_ADD(swim->env->metrics, GOSSIP_FOREIGN, 1);
        warn(swim, &from->addr, "sealed by a key that this node does not have");
        break;
    case MYCO_OPENED_REPLAYED: MYCO_METRIC_ADD(swim->env->metrics, GOSSIP_REPLAYED, 1); break;
    }
}

void myco_swim_receive(
    struct myco_swim *swim, const struct myco_addr *from, struct myco_slice bytes)
{
    receive(swim, &(struct myco__path){.addr = *from}, bytes);
}

void myco_swim_receive_mesh(struct myco_swim *swim, uint64_t peer, struct myco_slice bytes)
{
    const struct myco__member *member = myco__member_get(swim, peer);
    struct myco__path from = {.mesh = peer};
    if (member) from.addr = member->pub.addr;
    receive(swim, &from, bytes);
}

/* ── What the owner asks ────────────────────────────────────────────────────────────────────── */

void myco_swim_join(struct myco_swim *swim, const struct myco_addr *addr)
{
    for (unsigned i = 0; i < swim->join_count; i++) {
        if (myco_addr_equal(&swim->joins[i].addr, addr)) return;
    }
    struct myco__join join = {.addr = *addr};
    if (swim->join_count < MYCO__JOINS_MAX) {
        swim->joins[swim->join_count++] = join;
    } else {
        swim->joins[swim->join_at++ % MYCO__JOINS_MAX] = join; /* the oldest goes */
    }
    swim->join_due_ms = myco_now_ms(swim->env);
    myco__swim_schedule(swim);
}

static const struct myco__join *find_join(
    const struct myco__join *joins, unsigned count, const struct myco_addr *addr)
{
    for (unsigned i = 0; i < count; i++) {
        if (myco_addr_equal(&joins[i].addr, addr)) return &joins[i];
    }
    return NULL;
}

void myco_swim_set_joins(struct myco_swim *swim, const struct myco_addr *addrs, unsigned count)
{
    struct myco__join joins[MYCO__JOINS_MAX];
    unsigned used = 0;
    bool news = false;
    for (unsigned i = 0; i < count && used < MYCO__JOINS_MAX; i++) {
        if (find_join(joins, used, &addrs[i])) continue;
        const struct myco__join *known = find_join(swim->joins, swim->join_count, &addrs[i]);
        joins[used++] = known ? *known : (struct myco__join){.addr = addrs[i]};
        news |= !known;
    }
    if (used > 0) memcpy(swim->joins, joins, used * sizeof(*joins));
    swim->join_count = used;
    swim->join_at = 0;
    if (!news) return;
    swim->join_due_ms = myco_now_ms(swim->env);
    myco__swim_schedule(swim);
}

void myco_swim_drop(struct myco_swim *swim, uint64_t id)
{
    struct myco__member *member = myco__member_get(swim, id);
    if (!member) return;
    myco__members_drop(swim, member);
    myco__swim_schedule(swim);
}

void myco_swim_set_meta(struct myco_swim *swim, struct myco_slice meta)
{
    struct myco_member *self = &swim->self.pub;
    MYCO_ASSERT(meta.size <= MYCO_META_SIZE_MAX);
    bool same_size = meta.size == self->meta_size;
    if (same_size && (meta.size == 0 || memcmp(self->meta, meta.data, meta.size) == 0)) return;
    myco_free(myco__member_details(&swim->self, self->name, meta));
    myco__self_raise(swim, self->incarnation);
    myco__swim_schedule(swim);
}

void myco_swim_refused(struct myco_swim *swim, uint64_t id, uint64_t generation)
{
    struct myco__member *member = myco__member_get(swim, id);
    if (!member || member->pub.generation != generation || !myco__member_live(member)) return;
    if (swim->self.pub.state == MYCO_MEMBER_LEFT) return;
    myco__members_set(swim, member, MYCO_MEMBER_DEAD);
    myco__tell_all(swim, member);
    myco__swim_schedule(swim);
}

size_t myco_swim_accusers(const struct myco_swim *swim, uint64_t id, uint64_t *ids, size_t max)
{
    const struct myco__member *member = myco__member_get(swim, id);
    const struct myco__suspicion *suspicion = member ? member->suspicion : NULL;
    size_t count = suspicion ? suspicion->accuser_count : 0;
    if (count > max) count = max;
    if (count) memcpy(ids, suspicion->accusers, count * sizeof *ids);
    return count;
}

void myco_swim_hint(struct myco_swim *swim, uint64_t id)
{
    struct myco__member *member = myco__member_get(swim, id);
    if (!member || !myco__member_live(member)) return;
    if (swim->self.pub.state == MYCO_MEMBER_LEFT) return;
    myco__probe_start(swim, member);
}

void myco_swim_connected(struct myco_swim *swim, uint64_t id, uint64_t generation)
{
    struct myco__member *member = myco__member_get(swim, id);
    if (!member || swim->self.pub.state == MYCO_MEMBER_LEFT) return;
    bool newer = generation > member->pub.generation;
    if (!newer && (generation < member->pub.generation || member->pub.state == MYCO_MEMBER_ALIVE))
        return;
    myco__sync_ask(swim, &(struct myco__path){.addr = member->pub.addr}, member);
}

void myco_swim_displaced(struct myco_swim *swim, uint64_t id)
{
    struct myco__member *member = myco__member_get(swim, id);
    if (!member || member->displaced) return; /* it refuted that: the address is not really its */
    member->displaced = true;
    myco_swim_refused(swim, id, member->pub.generation);
}

void myco_swim_leave(struct myco_swim *swim)
{
    if (swim->self.pub.state == MYCO_MEMBER_LEFT) return;
    swim->self.pub.state = MYCO_MEMBER_LEFT;
    swim->self.pub.changed_ms = myco_now_ms(swim->env);
    myco__tell_all(swim, &swim->self);
    swim->farewells = FAREWELLS;
    swim->farewell_due_ms = myco_now_ms(swim->env) + swim->probe_ms / 4;
    myco__swim_schedule(swim);
}

const struct myco_member *myco_swim_get(const struct myco_swim *swim, uint64_t id)
{
    if (id == swim->self.pub.id) return &swim->self.pub;
    const struct myco__member *member = myco__member_get(swim, id);
    return member ? &member->pub : NULL;
}

const struct myco_member *myco_swim_self(const struct myco_swim *swim)
{
    return &swim->self.pub;
}

const struct myco_member *myco_swim_next(const struct myco_swim *swim, uint32_t *cursor)
{
    const struct myco__member *member = myco_map_next(&swim->members, cursor, NULL);
    return member ? &member->pub : NULL;
}

size_t myco_swim_count(const struct myco_swim *swim, enum myco_member_state state)
{
    bool self = state == MYCO_MEMBER_ALIVE && swim->self.pub.state == MYCO_MEMBER_ALIVE;
    return swim->counts[state] + self;
}
