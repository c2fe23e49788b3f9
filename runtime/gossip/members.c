/* The table of members: what is believed about each, and which word beats which.
 *
 * One word about a member is (generation, incarnation, state), compared in that order:
 *
 *   generation   rises with every start of the process. A newer one replaces the older whatever its
 *                state, so that a cluster whose nodes were all killed and started again, with
 *                incarnations back at 0, finds itself alive and not in its own tombstones.
 *   incarnation  only the member itself raises it: to refute a suspicion, to change its meta.
 *   state        alive < suspect < dead < left: within one incarnation the worse word wins.
 *
 * "Alive" is always said together with address, name and meta, so that whoever believes a member
 * alive at an incarnation has the details of that incarnation; a suspicion that overtakes it on the
 * way does no harm, since it ends in a refutation (alive again, with details) or in death.
 *
 * A death that comes in a whole list is only a suspicion: two halves of a healed partition each
 * list the other as dead, and must give everybody the time to refute. The same word as gossip is a
 * death that somebody just waited a whole suspicion for, and is believed.
 *
 * The dead and those who left are kept for `forget_ms`, or their own late messages would raise them
 * again; a list that mentions one says how long ago, so that no two nodes remind each other for
 * ever. */
#include "gossip/state.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

const char *myco_member_state_name(enum myco_member_state state)
{
    switch (state) {
#define X(symbol, text)                                                                            \
    case MYCO_MEMBER_##symbol: return text;
        MYCO_MEMBER_STATES(X)
#undef X
    }
    return "?";
}

struct myco__member *myco__member_get(const struct myco_swim *swim, uint64_t id)
{
    return myco_map_get(&swim->members, id);
}

bool myco__member_live(const struct myco__member *member)
{
    return member->pub.state == MYCO_MEMBER_ALIVE || member->pub.state == MYCO_MEMBER_SUSPECT;
}

size_t myco__members_live(const struct myco_swim *swim)
{
    return swim->counts[MYCO_MEMBER_ALIVE] + swim->counts[MYCO_MEMBER_SUSPECT] + 1;
}

/* ── The round of probes ────────────────────────────────────────────────────────────────────── */

/* At a random place of the round, so that many joiners are not probed in the order they came. */
static void order_insert(struct myco_swim *swim, struct myco__member *member)
{
    if (swim->order_count == swim->order_capacity) {
        swim->order_capacity = swim->order_capacity ? swim->order_capacity * 2 : 16;
        swim->order = myco_realloc(swim->order, swim->order_capacity * sizeof(*swim->order));
    }
    uint32_t last = swim->order_count++;
    uint32_t at = (uint32_t)myco_random_below(swim->env, swim->order_count);
    swim->order[last] = member;
    swim->order[last] = swim->order[at];
    swim->order[at] = member;
}

static void order_remove(struct myco_swim *swim, const struct myco__member *member)
{
    uint32_t at = 0;
    while (swim->order[at] != member) at++;
    memmove(&swim->order[at], &swim->order[at + 1],
        (swim->order_count - at - 1) * sizeof(*swim->order));
    swim->order_count--;
    if (swim->order_at > at) swim->order_at--;
}

static void order_shuffle(struct myco_swim *swim)
{
    for (uint32_t i = swim->order_count; i > 1; i--) {
        uint32_t j = (uint32_t)myco_random_below(swim->env, i);
        struct myco__member *member = swim->order[i - 1];
        swim->order[i - 1] = swim->order[j];
        swim->order[j] = member;
    }
    swim->order_at = 0;
}

struct myco__member *myco__members_next_probe(struct myco_swim *swim)
{
    struct myco__member *member = swim->next_id ? myco__member_get(swim, swim->next_id) : NULL;
    swim->next_id = 0;
    if (member && myco__member_live(member)) return member;
    for (uint32_t tries = 2 * swim->order_count; tries > 0; tries--) {
        if (swim->order_at >= swim->order_count) order_shuffle(swim);
        member = swim->order[swim->order_at++];
        if (myco__member_live(member)) return member;
    }
    return NULL;
}

static bool pick_one(
    struct myco__member *member, uint64_t except, unsigned got, struct myco__member **picked)
{
    if (!myco__member_live(member) || member->pub.id == except) return false;
    for (unsigned i = 0; i < got; i++) {
        if (picked[i] == member) return false;
    }
    picked[got] = member;
    return true;
}

/* By lot; then, where too many are dead for that, whoever comes next in the round. */
unsigned myco__members_pick(
    struct myco_swim *swim, uint64_t except, unsigned count, struct myco__member **picked)
{
    unsigned got = 0;
    uint32_t n = swim->order_count;
    if (n == 0) return 0;
    for (unsigned tries = 4 * count; tries > 0 && got < count; tries--) {
        got += pick_one(swim->order[myco_random_below(swim->env, n)], except, got, picked);
    }
    uint32_t at = (uint32_t)myco_random_below(swim->env, n);
    for (uint32_t i = 0; i < n && got < count; i++) {
        got += pick_one(swim->order[(at + i) % n], except, got, picked);
    }
    return got;
}

/* ── Believing ──────────────────────────────────────────────────────────────────────────────── */

static void publish_count(struct myco_swim *swim)
{
    MYCO_METRIC_SET(swim->env->metrics, MEMBERS_ALIVE, myco_swim_count(swim, MYCO_MEMBER_ALIVE));
}

static bool differs(const struct myco_member *a, const struct myco_member *b)
{
    return a->state != b->state || a->generation != b->generation ||
           !myco_addr_equal(&a->addr, &b->addr) || strcmp(a->name, b->name) != 0 ||
           a->meta_size != b->meta_size || memcmp(a->meta, b->meta, a->meta_size) != 0;
}

static void log_change(struct myco_swim *swim, const struct myco_member *now)
{
    char text[MYCO_ADDR_TEXT_MAX];
    MYCO_INFO(swim->env->log, "gossip", "member changed",
        "name=%s id=%016llx generation=%llu incarnation=%u state=%s addr=%s", now->name,
        (unsigned long long)now->id, (unsigned long long)now->generation, now->incarnation,
        myco_member_state_name(now->state), myco_addr_text(&now->addr, text));
}

/* The last thing that a change does, since the callback may call us. */
static void emit(struct myco_swim *swim, struct myco__member *member, const struct myco_member *was)
{
    publish_count(swim);
    if (was && !differs(&member->pub, was)) return;
    log_change(swim, &member->pub);
    if (swim->events.on_member) {
        swim->events.on_member(&member->pub, was, swim->events.data);
    }
}

char *myco__member_details(struct myco__member *member, const char *name, struct myco_slice meta)
{
    size_t name_size = strlen(name) + 1;
    char *former = member->details, *details = myco_alloc(name_size + meta.size);
    memcpy(details, name, name_size);
    if (meta.size > 0) memcpy(details + name_size, meta.data, meta.size);
    member->details = details;
    member->pub.name = details;
    member->pub.meta = (uint8_t *)details + name_size;
    member->pub.meta_size = (uint16_t)meta.size;
    return former;
}

static char *take_details(struct myco__member *member, const struct myco__record *record)
{
    member->pub.addr = record->addr;
    return myco__member_details(member, record->name, record->meta);
}

static void take_state(
    struct myco_swim *swim, struct myco__member *member, const struct myco__record *record)
{
    struct myco_member *pub = &member->pub;
    if (pub->state != record->state || pub->generation != record->generation) {
        uint64_t now_ms = myco_now_ms(swim->env);
        pub->changed_ms = now_ms > record->age_ms ? now_ms - record->age_ms : 0;
    }
    swim->counts[pub->state]--;
    swim->counts[record->state]++;
    pub->generation = record->generation;
    pub->incarnation = record->incarnation;
    pub->state = record->state;
    myco__suspicion_stop(member);
    if (pub->state != MYCO_MEMBER_SUSPECT) return;
    myco__suspicion_start(swim, member, record->accusers, record->accuser_count);
}

static void adopt(struct myco_swim *swim, struct myco__member *member,
    const struct myco__record *record, bool news)
{
    struct myco_member was = member->pub;
    char *former = NULL; /* `was` has its name and meta there */
    bool renewed = record->generation != member->pub.generation;
    if (record->full && (record->state == MYCO_MEMBER_ALIVE || renewed)) {
        former = take_details(member, record);
    }
    if (renewed) member->by_mesh = member->displaced = 0;
    take_state(swim, member, record);
    if (news) {
        myco__queue_add(swim, member);
    } else {
        myco__queue_remove(member);
    }
    emit(swim, member, &was);
    myco_free(former);
}

/* Of the dead only those that died lately: the others are about to be forgotten everywhere. */
static bool worth_adding(struct myco_swim *swim, const struct myco__record *record)
{
    if (!record->full) return false;
    if (record->state >= MYCO_MEMBER_DEAD && record->age_ms >= swim->forget_ms / 2) return false;
    if (swim->members.count < MYCO__MEMBERS_MAX) return true;
    MYCO_ERROR(swim->env->log, "gossip", "too many members: one is ignored", "name=%s max=%d",
        record->name, MYCO__MEMBERS_MAX);
    MYCO_METRIC_ADD(swim->env->metrics, GOSSIP_REFUSED, 1);
    return false;
}

static void add(struct myco_swim *swim, const struct myco__record *record, bool news)
{
    if (!worth_adding(swim, record)) return;
    struct myco__member *member = myco_alloc(sizeof(*member));
    member->pub.id = record->id;
    member->pub.state = MYCO_MEMBER_ALIVE;
    myco_list_init(&member->queued);
    swim->counts[MYCO_MEMBER_ALIVE]++;
    myco_map_put(&swim->members, record->id, member);
    order_insert(swim, member);
    uint64_t now_ms = myco_now_ms(swim->env);
    member->pub.changed_ms = now_ms > record->age_ms ? now_ms - record->age_ms : 0;
    (void)take_details(member, record); /* it had none */
    take_state(swim, member, record);
    if (news) myco__queue_add(swim, member);
    emit(swim, member, NULL);
}

static int order_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* Above 0: the record beats what is believed. */
static int compare(const struct myco__record *record, const struct myco_member *pub)
{
    int order = order_u64(record->generation, pub->generation);
    if (order == 0) order = order_u64(record->incarnation, pub->incarnation);
    if (order == 0) order = order_u64(record->state, pub->state);
    return order;
}

/* ── Hearing ────────────────────────────────────────────────────────────────────────────────── */

void myco__self_raise(struct myco_swim *swim, uint32_t above)
{
    struct myco_member *self = &swim->self.pub;
    self->incarnation = above < UINT32_MAX - 1 ? above + 1 : UINT32_MAX - 1;
    myco__queue_add(swim, &swim->self);
}

static void hear_of_impostor(struct myco_swim *swim, uint64_t generation)
{
    if (generation <= swim->impostor) return;
    swim->impostor = generation;
    MYCO_ERROR(swim->env->log, "gossip",
        "another process runs under this node's id: was its data folder copied?",
        "id=%016llx generation=%llu other=%llu", (unsigned long long)swim->self.pub.id,
        (unsigned long long)swim->self.pub.generation, (unsigned long long)generation);
    if (swim->events.on_impostor) swim->events.on_impostor(generation, swim->events.data);
}

static void hear_of_self(struct myco_swim *swim, const struct myco__record *record)
{
    struct myco_member *self = &swim->self.pub;
    if (record->generation > self->generation) {
        hear_of_impostor(swim, record->generation);
        return;
    }
    if (self->state == MYCO_MEMBER_LEFT) return;
    bool current = record->generation == self->generation;
    if (current && record->incarnation >= self->incarnation &&
        (record->state != MYCO_MEMBER_ALIVE || record->incarnation > self->incarnation)) {
        MYCO_INFO(swim->env->log, "gossip", "refuted a word about this node",
            "state=%s incarnation=%u", myco_member_state_name(record->state), record->incarnation);
        myco__health_add(swim, 1);
        myco__self_raise(swim, record->incarnation);
    } else if (!current || record->incarnation < self->incarnation) {
        myco__queue_add(swim, &swim->self); /* somebody has not heard the latest */
    }
}

static bool confirm(
    struct myco_swim *swim, struct myco__member *member, const struct myco__record *record)
{
    bool any = false;
    for (unsigned i = 0; i < record->accuser_count; i++) {
        any |= myco__suspicion_confirm(swim, member, record->accusers[i]);
    }
    if (any) myco__queue_add(swim, member);
    return any;
}

static void soften(struct myco__record *record, uint64_t sender)
{
    record->state = MYCO_MEMBER_SUSPECT;
    record->accusers[0] = sender;
    record->accuser_count = 1;
    record->age_ms = 0;
}

/* Only a member's own meta tells where it belongs, so that short words are not asked about. */
static bool admitted(struct myco_swim *swim, const struct myco__record *record)
{
    if (!swim->events.admits || !record->full) return true;
    struct myco_member word = {.id = record->id,
        .generation = record->generation,
        .incarnation = record->incarnation,
        .state = record->state,
        .addr = record->addr,
        .name = record->name,
        .meta = record->meta.data,
        .meta_size = (uint16_t)record->meta.size};
    return swim->events.admits(&word, swim->events.data);
}

void myco__members_hear(
    struct myco_swim *swim, const struct myco__record *record, uint64_t sender, bool sync)
{
    if (record->id == swim->self.pub.id) {
        hear_of_self(swim, record);
        return;
    }
    if (!admitted(swim, record)) {
        struct myco__member *foreign = myco__member_get(swim, record->id);
        if (foreign) myco__members_drop(swim, foreign);
        return;
    }
    bool fresh = myco_now_ms(swim->env) < swim->fresh_until_ms;
    bool news = !sync || record->id == sender || !fresh;
    struct myco__member *member = myco__member_get(swim, record->id);
    if (!member) {
        add(swim, record, news);
        if (record->id == sender && record->state == MYCO_MEMBER_ALIVE) {
            member = myco__member_get(swim, sender);
            if (member) myco__members_displace(swim, &member->pub);
        }
        return;
    }
    struct myco__record word = *record;
    if (sync && word.state == MYCO_MEMBER_DEAD && myco__member_live(member) &&
        compare(&word, &member->pub) > 0) {
        soften(&word, sender);
    }
    int order = compare(&word, &member->pub);
    if (order > 0) {
        adopt(swim, member, &word, news);
    } else if (order == 0 && word.state == MYCO_MEMBER_SUSPECT) {
        confirm(swim, member, &word);
    }
}

void myco__members_set(
    struct myco_swim *swim, struct myco__member *member, enum myco_member_state state)
{
    struct myco__record record = {.id = member->pub.id,
        .generation = member->pub.generation,
        .incarnation = member->pub.incarnation,
        .state = state,
        .accusers = {swim->self.pub.id},
        .accuser_count = 1};
    if (compare(&record, &member->pub) > 0) {
        adopt(swim, member, &record, true);
    } else if (state == MYCO_MEMBER_SUSPECT && member->pub.state == state) {
        confirm(swim, member, &record);
    }
}

/* ── The whole table ────────────────────────────────────────────────────────────────────────── */

static uint64_t digest_one(const struct myco_member *pub)
{
    return myco_hash_mix(myco_hash_mix(pub->id, pub->generation), pub->incarnation);
}

/* Equal for two nodes that believe the same members live, in whatever order they learned of
 * them. */
uint64_t myco__members_digest(const struct myco_swim *swim)
{
    uint64_t digest = swim->self.pub.state == MYCO_MEMBER_ALIVE ? digest_one(&swim->self.pub) : 0;
    MYCO_MAP_EACH (struct myco__member, member, &swim->members) {
        if (myco__member_live(member)) digest ^= digest_one(&member->pub);
    }
    return digest;
}

/* Two ids can't live at one address: when one speaks from there, the other is gone. One who is not,
 * since the address is not really its own, refutes, and stays. */
void myco__members_displace(struct myco_swim *swim, const struct myco_member *here)
{
    uint64_t id = here->id;
    struct myco_addr addr = here->addr;
    for (uint32_t i = 0; i < swim->order_count; i++) {
        struct myco__member *member = swim->order[i];
        if (member->pub.id == id || !myco__member_live(member)) continue;
        if (!myco_addr_equal(&member->pub.addr, &addr)) continue;
        myco_swim_displaced(swim, member->pub.id);
    }
}

static void forget(struct myco_swim *swim, struct myco__member *member)
{
    struct myco_member was = member->pub;
    myco__queue_remove(member);
    myco__suspicion_stop(member);
    order_remove(swim, member);
    swim->counts[was.state]--;
    myco_map_del(&swim->members, was.id);
    if (swim->events.on_member) swim->events.on_member(NULL, &was, swim->events.data);
    myco_free(member->details);
    myco_free(member);
}

void myco__members_drop(struct myco_swim *swim, struct myco__member *member)
{
    forget(swim, member);
    publish_count(swim);
}

void myco__members_forget(struct myco_swim *swim, uint64_t now_ms)
{
    MYCO_MAP_EACH (struct myco__member, member, &swim->members) {
        if (!myco__member_live(member) && now_ms >= member->pub.changed_ms + swim->forget_ms) {
            forget(swim, member);
        }
    }
}

void myco__members_free(struct myco_swim *swim)
{
    MYCO_MAP_EACH (struct myco__member, member, &swim->members) {
        myco__suspicion_stop(member);
        myco_free(member->details);
        myco_free(member);
    }
    myco_map_free(&swim->members);
    myco_free(swim->order);
}
