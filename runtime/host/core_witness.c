/* Seeing what changed: members, elections, the consensus group, the lease. (What the log says of
 * septa, hyphae and policies: witness_sets.c.) */
#include "host/core_witness.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "host/core_witness_internal.h"

#define LEADERLESS_MS 1000 /* without a known leader for so long: the quorum is lost */

struct core_witness *witness_new(void)
{
    return myco_alloc(sizeof(struct core_witness));
}

void witness_free(struct core_witness *witness)
{
    if (!witness) return;
    MYCO_MAP_EACH (struct witness_holder, holder, &witness->holders) myco_free(holder);
    MYCO_MAP_EACH (struct witness_septum, septum, &witness->septa) myco_free(septum);
    myco_map_free(&witness->holders);
    myco_map_free(&witness->septa);
    myco_free(witness);
}

const char *witness_name(const struct myco_core *core, uint64_t id)
{
    if (id == core->identity.id) return core->name;
    const struct myco_member_record *record = myco_state_member(core->state, id);
    if (record) return record->name;
    const struct myco_member *member = core->swim ? myco_swim_get(core->swim, id) : NULL;
    return member ? member->name : "?";
}

/* ── members ── */

static void tell_joined(struct myco_core *core, const struct myco_member *now)
{
    char addr[MYCO_ADDR_TEXT_MAX];
    struct chronicle_note note = chronicle_note(MYCO_EVENT_MEMBER_JOINED, now->name);
    chronicle_number(&note, "generation", now->generation);
    chronicle_field(&note, "addr", myco_addr_text(&now->addr, addr));
    chronicle_tell(core->chronicle, &note, "%s is there, at %s, generation %llu", now->name, addr,
        (unsigned long long)now->generation);
}

static void tell_suspected(struct myco_core *core, const struct myco_member *now)
{
    uint64_t accusers[8];
    char names[160] = "";
    size_t count = myco_swim_accusers(core->swim, now->id, accusers, 8), at = 0;
    for (size_t i = 0; i < count; i++) {
        int size = snprintf(
            names + at, sizeof names - at, "%s%s", i ? "," : "", witness_name(core, accusers[i]));
        at = at + (size_t)size < sizeof names ? at + (size_t)size : sizeof names - 1;
    }
    struct chronicle_note note = chronicle_note(MYCO_EVENT_MEMBER_SUSPECTED, now->name);
    chronicle_number(&note, "generation", now->generation);
    chronicle_field(&note, "by", names);
    chronicle_number(&note, "accusers", count);
    chronicle_tell(core->chronicle, &note, "%s is suspected by %s: it answers no probe", now->name,
        *names ? names : "another node");
}

static void tell_dead(struct myco_core *core, const struct myco_member *was, const char *reason)
{
    struct chronicle_note note = chronicle_note(MYCO_EVENT_MEMBER_DEAD, was->name);
    chronicle_number(&note, "generation", was->generation);
    chronicle_field(&note, "reason", reason);
    chronicle_tell(core->chronicle, &note, "%s is dead: %s", was->name, reason);
}

static void tell_left(struct myco_core *core, const struct myco_member *now)
{
    struct chronicle_note note = chronicle_note(MYCO_EVENT_MEMBER_LEFT, now->name);
    chronicle_number(&note, "generation", now->generation);
    chronicle_tell(core->chronicle, &note, "%s left on purpose", now->name);
}

static const char *why_dead(
    const struct myco_core *core, const struct myco_member *now, const struct myco_member *was)
{
    if (core->refused == now->id) return "its port refuses connections";
    if (was->state == MYCO_MEMBER_SUSPECT) return "the suspicion was not refuted in time";
    return "another node says so";
}

void witness_member(
    struct myco_core *core, const struct myco_member *now, const struct myco_member *was)
{
    bool renewed = was && was->generation != now->generation;
    if (renewed && was->state <= MYCO_MEMBER_SUSPECT) tell_dead(core, was, "it started again");
    enum myco_member_state before = was && !renewed ? was->state : MYCO_MEMBER_LEFT;
    bool lived = before <= MYCO_MEMBER_SUSPECT;
    if (before == now->state) return;
    if (now->state <= MYCO_MEMBER_SUSPECT && !lived) tell_joined(core, now);
    if (now->state == MYCO_MEMBER_SUSPECT) tell_suspected(core, now);
    if (now->state == MYCO_MEMBER_DEAD && lived) tell_dead(core, now, why_dead(core, now, was));
    if (now->state == MYCO_MEMBER_LEFT && lived) tell_left(core, now);
    if (now->state != MYCO_MEMBER_ALIVE || before != MYCO_MEMBER_SUSPECT) return;
    struct chronicle_note note = chronicle_note(MYCO_EVENT_MEMBER_REFUTED, now->name);
    chronicle_number(&note, "generation", now->generation);
    chronicle_number(&note, "incarnation", now->incarnation);
    chronicle_tell(core->chronicle, &note, "%s lives: it refuted the suspicion", now->name);
}

/* ── elections ── */

const struct witness_holder *witness_holder(const struct myco_core *core, const char *election)
{
    return core->witness
               ? myco_map_get(&core->witness->holders, myco_hash(election, strlen(election)))
               : NULL;
}

static struct witness_holder *holder_of(struct myco_core *core, const char *election)
{
    uint64_t key = myco_hash(election, strlen(election));
    struct witness_holder *holder = myco_map_get(&core->witness->holders, key);
    if (holder) return holder;
    holder = myco_alloc(sizeof *holder);
    myco_text_copy(holder->name, sizeof holder->name, election);
    myco_map_put(&core->witness->holders, key, holder);
    return holder;
}

static bool is_gone(const struct myco_core *core, uint64_t node, enum myco_member_state state)
{
    const struct myco_member *seen = core->swim ? myco_swim_get(core->swim, node) : NULL;
    return seen && seen->state == state;
}

/* Why `node` holds no longer what it held: by the command that says so, and by what gossip knows.
 */
const char *witness_why(const struct myco_core *core, uint64_t node, uint64_t generation)
{
    const struct myco_member_record *record = myco_state_member(core->state, node);
    const struct myco_member *seen = core->swim ? myco_swim_get(core->swim, node) : NULL;
    if ((record && record->left) || is_gone(core, node, MYCO_MEMBER_LEFT)) return "left";
    if ((generation && record && record->generation > generation) ||
        (generation && seen && seen->generation > generation) ||
        core->applying == MYCO_COMMAND_JOIN)
        return "started again";
    if (is_gone(core, node, MYCO_MEMBER_DEAD)) return "died";
    return NULL;
}

static bool is_nodosum(const struct myco_election_record *election)
{
    return strcmp(election->name, "nodosum") == 0;
}

static bool is_slow(const struct myco_core *core, uint64_t node)
{
    struct myco_node_meta meta;
    if (node == core->identity.id) return core->lag.slow;
    const struct myco_member *seen = core->swim ? myco_swim_get(core->swim, node) : NULL;
    return seen && myco_node_meta_read(seen, &meta) && meta.slow;
}

/* Why who held it lost it. */
static void why_lost(const struct myco_core *core, struct witness_holder *known,
    const struct myco_election_record *election)
{
    const char *gone = witness_why(core, known->node, known->generation);
    const char *name = witness_name(core, known->node);
    if (core->applying == MYCO_COMMAND_RESIGN)
        snprintf(known->reason, sizeof known->reason, "%s resigned", name);
    else if (core->applying == MYCO_COMMAND_RELEASE && known->wanted && is_slow(core, known->node))
        snprintf(known->reason, sizeof known->reason, "%s is slow", name);
    else if (core->applying == MYCO_COMMAND_RELEASE && known->wanted)
        snprintf(known->reason, sizeof known->reason, "%s was preferred",
            witness_name(core, known->wanted));
    else if (core->applying == MYCO_COMMAND_RELEASE)
        snprintf(known->reason, sizeof known->reason, "%s released it", name);
    else if (is_nodosum(election))
        snprintf(known->reason, sizeof known->reason, "it goes with the consensus group");
    else if (gone)
        snprintf(known->reason, sizeof known->reason, "%s %s", name, gone);
    else
        snprintf(known->reason, sizeof known->reason, "%s renewed no lease", name);
}

static void tell_lost(struct myco_core *core, const struct witness_holder *known, uint64_t from)
{
    struct chronicle_note note = chronicle_note(MYCO_EVENT_ELECTION_LOST, known->name);
    chronicle_field(&note, "from", witness_name(core, from));
    chronicle_number(&note, "epoch", known->epoch);
    chronicle_field(&note, "reason", known->reason);
    chronicle_tell(core->chronicle, &note, "nobody leads %s any more, after %s: %s", known->name,
        witness_name(core, from), known->reason);
}

static void tell_held(struct myco_core *core, const struct witness_holder *known)
{
    const char *to = witness_name(core, known->node);
    bool moved = known->former && !known->vacant;
    struct chronicle_note note =
        chronicle_note(moved ? MYCO_EVENT_ELECTION_MOVED : MYCO_EVENT_ELECTION_GAINED, known->name);
    chronicle_field(&note, "to", to);
    if (moved) chronicle_field(&note, "from", witness_name(core, known->former));
    chronicle_number(&note, "epoch", known->epoch);
    chronicle_field(&note, "reason", known->reason);
    if (moved)
        chronicle_tell(core->chronicle, &note, "%s went from %s to %s, epoch %llu: %s", known->name,
            witness_name(core, known->former), to, (unsigned long long)known->epoch, known->reason);
    else
        chronicle_tell(core->chronicle, &note, "%s leads %s, epoch %llu: %s", to, known->name,
            (unsigned long long)known->epoch, known->reason);
}

/* A hand-over takes two steps, released and granted, and is told once it is over. */
void witness_election(struct myco_core *core, const struct myco_election_record *election)
{
    struct witness_holder *known = holder_of(core, election->name);
    uint64_t before = known->node;
    bool same = before == election->holder && known->epoch == election->epoch;
    bool hand_over = before && !election->holder && election->wanted;
    if (!same && before) {
        why_lost(core, known, election);
        known->former = before;
        known->vacant = false;
    } else if (!same && (!known->former || known->vacant)) {
        myco_text_copy(known->reason, sizeof known->reason,
            is_nodosum(election)            ? "it goes with the consensus group"
            : election->candidate_count > 1 ? "it was free, and the policy chose among candidates"
                                            : "it was free, with one candidate");
    }
    known->node = election->holder;
    known->generation = election->holder_generation;
    known->epoch = election->epoch;
    known->wanted = election->wanted;
    if (same) return;
    known->since_ms = core->joined ? core->env->ops->wall_ms(core->env) : 0;
    if (!core->joined) return;
    known->vacant |= !known->node && !hand_over;
    if (known->node)
        tell_held(core, known);
    else if (known->vacant)
        tell_lost(core, known, before);
}

/* ── the consensus group ── */

static void tell_voter(
    struct myco_core *core, uint64_t id, enum myco_role before, enum myco_role now)
{
    enum myco_event_kind kind = before == MYCO_ROLE_NONE ? MYCO_EVENT_VOTER_ADDED
                                : now == MYCO_ROLE_NONE  ? MYCO_EVENT_VOTER_REMOVED
                                                         : MYCO_EVENT_VOTER_CHANGED;
    const char *name = witness_name(core, id);
    struct chronicle_note note = chronicle_note(kind, name);
    chronicle_field(&note, "from", myco_role_name(before));
    chronicle_field(&note, "to", myco_role_name(now));
    if (kind == MYCO_EVENT_VOTER_REMOVED)
        chronicle_tell(core->chronicle, &note, "%s is out of the consensus group", name);
    else if (kind == MYCO_EVENT_VOTER_ADDED)
        chronicle_tell(core->chronicle, &note, "%s is in the consensus group now, as %s", name,
            myco_role_name(now));
    else
        chronicle_tell(core->chronicle, &note, "%s is %s of the consensus group now, and was %s",
            name, myco_role_name(now), myco_role_name(before));
}

static enum myco_role role_in(const struct myco_log_server *servers, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (servers[i].id == id) return servers[i].role;
    return MYCO_ROLE_NONE;
}

static void see_servers(struct myco_core *core)
{
    struct core_witness *witness = core->witness;
    struct myco_log_server now[WITNESS_SERVERS_MAX];
    size_t count = myco_rlog_servers(core->log, now, WITNESS_SERVERS_MAX);
    for (size_t i = 0; core->joined && i < count; i++) {
        enum myco_role before = role_in(witness->servers, witness->server_count, now[i].id);
        if (before != now[i].role) tell_voter(core, now[i].id, before, now[i].role);
    }
    for (size_t i = 0; core->joined && i < witness->server_count; i++) {
        const struct myco_log_server *was = &witness->servers[i];
        if (role_in(now, count, was->id) == MYCO_ROLE_NONE)
            tell_voter(core, was->id, was->role, MYCO_ROLE_NONE);
    }
    uint64_t heard[WITNESS_SERVERS_MAX] = {0};
    for (size_t i = 0; i < count; i++) heard[i] = witness_heard_ms(core, now[i].id);
    memcpy(witness->heard_ms, heard, sizeof heard);
    memcpy(witness->servers, now, count * sizeof *now);
    witness->server_count = count;
}

void witness_heard(struct myco_core *core, uint64_t peer)
{
    struct core_witness *witness = core->witness;
    for (size_t i = 0; i < witness->server_count; i++)
        if (witness->servers[i].id == peer) witness->heard_ms[i] = myco_now_ms(core->env);
}

uint64_t witness_heard_ms(const struct myco_core *core, uint64_t peer)
{
    const struct core_witness *witness = core->witness;
    for (size_t i = 0; i < witness->server_count; i++)
        if (witness->servers[i].id == peer) return witness->heard_ms[i];
    return 0;
}

static void tell_leader(struct myco_core *core, uint64_t leader, uint64_t term)
{
    struct core_witness *witness = core->witness;
    uint64_t before = witness->leader == leader ? 0 : witness->leader;
    const char *name = witness_name(core, leader), *gone = NULL;
    char reason[100] = "";
    struct chronicle_note note = chronicle_note(MYCO_EVENT_LEADER_CHANGED, name);
    chronicle_field(&note, "to", name);
    chronicle_number(&note, "term", term);
    if (before) {
        gone = witness_why(core, before, 0);
        snprintf(reason, sizeof reason, ", after %s%s%s", witness_name(core, before),
            gone ? ", which " : "", gone ? gone : "");
        chronicle_field(&note, "from", witness_name(core, before));
    }
    if (gone) chronicle_field(&note, "reason", gone);
    chronicle_tell(core->chronicle, &note, "%s leads the consensus group in term %llu%s", name,
        (unsigned long long)term, reason);
}

void witness_log(struct myco_core *core)
{
    struct core_witness *witness = core->witness;
    uint64_t leader = myco_rlog_leader(core->log), term = myco_rlog_term(core->log);
    see_servers(core);
    if (!leader) return;
    if (leader != witness->leader || term != witness->term) tell_leader(core, leader, term);
    witness->leader = leader;
    witness->term = term;
}

void witness_snapshot(struct myco_core *core, bool installed, uint64_t index)
{
    if (!core->swim) return; /* while opening */
    struct chronicle_note note = chronicle_note(
        installed ? MYCO_EVENT_SNAPSHOT_INSTALLED : MYCO_EVENT_SNAPSHOT_TAKEN, core->name);
    chronicle_number(&note, "index", index);
    chronicle_tell(core->chronicle, &note, "%s a snapshot of what was agreed, up to entry %llu",
        installed ? "installed" : "took", (unsigned long long)index);
}

/* No leader means that no majority of voters hears each other: nothing can be decided here. */
static void see_quorum(struct myco_core *core)
{
    struct core_witness *witness = core->witness;
    uint64_t now = myco_now_ms(core->env);
    if (!core->joined || core->leaving || myco_rlog_leader(core->log)) witness->leader_ms = now;
    bool lost = now - witness->leader_ms >= LEADERLESS_MS;
    if (lost == witness->quorum_lost) return;
    witness->quorum_lost = lost;
    unsigned voters = 0, alive = 0;
    for (size_t i = 0; i < witness->server_count; i++) {
        uint64_t id = witness->servers[i].id;
        if (witness->servers[i].role != MYCO_ROLE_VOTER) continue;
        voters++;
        alive += id == core->identity.id || is_gone(core, id, MYCO_MEMBER_ALIVE);
    }
    struct chronicle_note note =
        chronicle_note(lost ? MYCO_EVENT_QUORUM_LOST : MYCO_EVENT_QUORUM_REGAINED, core->cluster);
    chronicle_number(&note, "voters", voters);
    chronicle_number(&note, "alive", alive);
    if (lost)
        chronicle_tell(core->chronicle, &note,
            "the consensus group has no leader for %d ms: %u of %u voters are alive", LEADERLESS_MS,
            alive, voters);
    else
        chronicle_tell(core->chronicle, &note, "the consensus group has a leader again: %s",
            witness_name(core, myco_rlog_leader(core->log)));
}

/* ── the lease ── */

void witness_lease(struct myco_core *core, bool valid)
{
    struct core_witness *witness = core->witness;
    if (valid != witness->lease_lost || core->leaving) return;
    witness->lease_lost = !valid;
    uint32_t primaries = core_hyphae_primary_count(core), leads = core_duties_held(core);
    struct chronicle_note note =
        chronicle_note(valid ? MYCO_EVENT_LEASE_REGAINED : MYCO_EVENT_LEASE_LOST, core->name);
    chronicle_number(&note, "primaries", primaries);
    chronicle_number(&note, "leads", leads);
    chronicle_tell(core->chronicle, &note,
        valid ? "the lease is valid again: %u hyphae and %u elections here"
              : "the lease ran out: %u hyphae and %u elections here are not served",
        primaries, leads);
}

/* ── for host/node.c ── */

void myco_core_set_admin(struct myco_core *core, const char *admin)
{
    myco_text_copy(core->admin, sizeof core->admin, admin);
    core_refresh_soon(core);
}

struct chronicle_follower *myco_core_follow(
    struct myco_core *core, uint64_t from, myco_event_cb cb, void *data)
{
    return chronicle_follow(core->chronicle, from, cb, data);
}

void witness_tick(struct myco_core *core)
{
    see_quorum(core);
    witness_flush(core);
}
