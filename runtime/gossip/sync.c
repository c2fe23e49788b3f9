/* Whole lists: how a node joins, how what gossip lost is repaired, how a partition's halves meet.
 *
 *   A → B   SYNC ask, digest of A's list, A's own record
 *   B → A   the same digest: SYNC tell, nothing more
 *           another:         SYNC tell + want, B's list      in as many datagrams as it needs,
 *   A → B                    SYNC tell, A's list             each complete in itself
 *
 * By the connection to that node, where there is one, and else by UDP.
 *
 * Who is asked:  every 10 s   a live member by lot; less often where many are: every 20 s among
 * more than 32, 30 s among more than 64, … 70 s among 2,000 every 1 s    the addresses given to
 * join, while nobody else is known to live after 0.5 s  … once more: of many who join together the
 * first get short lists every 30 s   … afterwards: a cluster of the same name may have grown there
 *                every 1 s    one of the dead, in turn, until it is forgotten
 *
 * Only asking a dead member costs an idle cluster anything, and that is one datagram a second. A
 * lost datagram loses its part of a list; the next exchange brings it. */
#include "gossip/state.h"

#define SYNC_MS 10000
#define SYNC_FEW                                                                                   \
    32 /* members, up to which that is the interval; for each doubling as much again               \
        */
#define ALONE_MS  1000
#define LATER_MS  500
#define JOIN_MS   30000
#define DEAD_MS   1000
#define FRESH_MS  1000
#define TELLS_MAX 16384 /* members listed in one second; whoever got no list asks again */

static void begin_sync(struct myco_swim *swim, uint8_t flags, uint64_t digest)
{
    struct myco__message sync = {.type = MYCO__SYNC, .flags = flags, .digest = digest};
    myco__begin(swim);
    myco__encode_message(&swim->out, &sync);
}

void myco__sync_ask(
    struct myco_swim *swim, const struct myco__path *to, const struct myco__member *whom)
{
    begin_sync(swim, MYCO__SYNC_ASK, myco__members_digest(swim));
    myco__encode_member(swim, &swim->self, true);
    if (whom && whom->pub.state != MYCO_MEMBER_ALIVE) myco__encode_member(swim, whom, false);
    if (whom && !to->mesh && myco__send_mesh(swim, whom->pub.id)) return;
    myco__send_back(swim, to);
}

static void begin_tell(
    struct myco_swim *swim, const struct myco__path *to, uint8_t flags, uint64_t digest)
{
    begin_sync(swim, MYCO__SYNC_TELL | flags, digest);
    if (to->mesh) swim->out_max = MYCO_SWIM_MESH_SIZE_MAX - MYCO_SEALED_EXTRA;
}

static void tell_list(struct myco_swim *swim, const struct myco__path *to, uint8_t flags)
{
    uint64_t digest = myco__members_digest(swim);
    begin_tell(swim, to, flags, digest);
    myco__encode_member(swim, &swim->self, true);
    MYCO_MAP_EACH (struct myco__member, member, &swim->members) {
        if (myco__encode_member(swim, member, true)) continue;
        myco__send_back(swim, to);
        begin_tell(swim, to, 0, digest);
        myco__encode_member(swim, member, true);
    }
    myco__send_back(swim, to);
}

static bool may_tell(struct myco_swim *swim)
{
    uint64_t now_ms = myco_now_ms(swim->env);
    if (now_ms >= swim->tells_ms + 1000) {
        swim->tells_ms = now_ms;
        swim->tells = 0;
    }
    swim->tells += swim->members.count + 1;
    return swim->tells <= TELLS_MAX;
}

/* Whoever was alone learns what all others know already, and does not spread it again. */
static void hear_tell(struct myco_swim *swim)
{
    if (myco__members_live(swim) > 1) return;
    uint64_t now_ms = myco_now_ms(swim->env);
    swim->fresh_until_ms = now_ms + FRESH_MS;
    swim->join_due_ms = now_ms + LATER_MS;
}

void myco__sync_receive(struct myco_swim *swim, const struct myco__path *from,
    const struct myco__header *header, const struct myco__message *message)
{
    (void)header;
    uint8_t flags = message->flags;
    if (flags & MYCO__SYNC_TELL) hear_tell(swim);
    if (flags & MYCO__SYNC_ASK) {
        uint64_t digest = myco__members_digest(swim);
        if (message->digest == digest) {
            begin_sync(swim, MYCO__SYNC_TELL, digest);
            myco__send_back(swim, from);
        } else if (may_tell(swim)) {
            tell_list(swim, from, MYCO__SYNC_WANT);
        }
    } else if ((flags & MYCO__SYNC_WANT) && may_tell(swim)) {
        tell_list(swim, from, 0);
    }
}

/* ── Time ───────────────────────────────────────────────────────────────────────────────────── */

static struct myco__member *next_dead(struct myco_swim *swim)
{
    for (unsigned round = 0; round < 2; round++) {
        struct myco__member *member;
        while ((member = myco_map_next(&swim->members, &swim->dead_at, NULL))) {
            if (member->pub.state == MYCO_MEMBER_DEAD) return member;
        }
        swim->dead_at = 0;
    }
    return NULL;
}

static void ask_joins(struct myco_swim *swim)
{
    for (unsigned i = 0; i < swim->join_count; i++) {
        if (swim->joins[i].own) continue;
        myco__sync_ask(swim, &(struct myco__path){.addr = swim->joins[i].addr}, NULL);
    }
}

static uint64_t sync_ms(const struct myco_swim *swim)
{
    uint64_t times = 1;
    for (size_t live = myco__members_live(swim); live > SYNC_FEW; live = (live + 1) / 2) times++;
    return times * SYNC_MS;
}

static void ask(struct myco_swim *swim, const struct myco__member *member)
{
    myco__sync_ask(swim, &(struct myco__path){.addr = member->pub.addr}, member);
}

uint64_t myco__sync_due(const struct myco_swim *swim)
{
    uint64_t due = swim->sync_due_ms;
    if (swim->join_due_ms < due) due = swim->join_due_ms;
    if (swim->counts[MYCO_MEMBER_DEAD] > 0 && swim->dead_due_ms < due) due = swim->dead_due_ms;
    return due;
}

void myco__sync_tick(struct myco_swim *swim, uint64_t now_ms)
{
    if (now_ms >= swim->join_due_ms) {
        bool alone = myco__members_live(swim) == 1;
        swim->join_due_ms = now_ms + (alone ? ALONE_MS : JOIN_MS);
        ask_joins(swim);
    }
    if (now_ms >= swim->sync_due_ms) {
        swim->sync_due_ms = now_ms + sync_ms(swim);
        struct myco__member *member;
        if (myco__members_pick(swim, 0, 1, &member)) ask(swim, member);
    }
    if (now_ms >= swim->dead_due_ms && swim->counts[MYCO_MEMBER_DEAD] > 0) {
        swim->dead_due_ms = now_ms + DEAD_MS;
        struct myco__member *member = next_dead(swim);
        if (member) ask(swim, member);
    }
}
