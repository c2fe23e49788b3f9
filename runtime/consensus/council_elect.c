/* Elections: who leads what. The policy says who should; a live holder is asked to hand over, a
 * dead one is replaced. */
#include <string.h>

#include "base/hash.h"
#include "consensus/council.h"
#include "consensus/policy_docs.h"

#define NODOSUM "nodosum" /* the consensus leader itself */
#define GATHER_MS                                                                                  \
    500 /* so young is a reign in which what nobody ever led waits for all voters to stand */
#define SERVERS_MAX 64
#define LEADERSHIPS_MAX                                                                            \
    256             /* more are not listed in a world: candidates' `leads` counts them all */
#define ASKS_MAX 64 /* in a round: then the loop gets its turn */

static void grant(struct myco_council *council, const struct myco_election_record *election,
    const char *name, uint64_t node)
{
    const struct myco_member_record *member =
        node ? myco_state_member(council->options.state, node) : NULL;
    struct myco_buf body = {0};
    myco_command_grant(
        &body, name, node, member ? member->generation : 0, election ? election->epoch : 0);
    MYCO_INFO(council->options.env->log, "nodosum", node ? "granting" : "vacating",
        "election=%s to=%s", name, member ? member->name : "");
    if (node) myco_buf_u64(&council->granted, node);
    myco__council_propose(council, MYCO_COMMAND_GRANT, &body);
}

/* The consensus leader leads nodosum: its former holder is not the leader any more, which its own
 * log tells it at the latest with this grant; what a nodosum leader does is fenced by the log
 * itself. */
static bool elect_nodosum(struct myco_council *council)
{
    const struct myco_election_record *election =
        myco_state_election(council->options.state, NODOSUM);
    const struct myco_member_record *self =
        myco_state_member(council->options.state, council->options.self);
    if (!self || self->left) return false;
    if (election && election->holder == council->options.self &&
        election->holder_generation == council->options.generation)
        return false;
    grant(council, election, NODOSUM, council->options.self);
    return true;
}

static void pack_candidate(msgpack_packer *pack, const struct myco_council *council,
    const struct myco_election_record *election, const struct myco_member_record *member)
{
    const struct myco_candidate_wish *wish = myco_election_wish(election, member->id);
    msgpack_pack_map(pack, 6);
    myco_pack_str(pack, "id");
    myco_pack_id(pack, member->id);
    myco_pack_key_str(pack, "name", member->name);
    myco_pack_str(pack, "labels");
    myco_pack_labels_over(pack, myco_member_labels(member), wish ? wish->labels : "");
    myco_pack_str(pack, "priority");
    msgpack_pack_int32(pack, wish ? wish->priority : 0);
    myco_pack_key_bool(pack, "slow", myco__council_slow(council, member->id));
    myco_pack_key_u64(pack, "leads", myco__council_leads(council, member->id));
}

static uint32_t count_candidates(
    const struct myco_council *council, const struct myco_election_record *election, bool shunned)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < election->candidate_count; i++)
        count += myco__council_present(council, election->candidates[i]) &&
                 (shunned || !myco__council_shunned(council, election->candidates[i]));
    return count;
}

/* There, and not one that was given something and stayed silent, unless nobody else is there. */
static bool eligible(
    const struct myco_council *council, const struct myco_election_record *election, uint64_t id)
{
    if (!myco__council_present(council, id)) return false;
    bool stays = id == election->holder && !myco__council_slow(council, id);
    return !myco__council_shunned(council, id) || stays ||
           count_candidates(council, election, false) == 0;
}

static uint32_t eligible_candidates(
    const struct myco_council *council, const struct myco_election_record *election)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < election->candidate_count; i++)
        count += eligible(council, election, election->candidates[i]);
    return count;
}

static void pack_world(struct myco_buf *out, const struct myco_council *council,
    const struct myco_election_record *election, bool gone)
{
    const struct myco_state *state = council->options.state;
    msgpack_packer pack;
    myco_pack_init(&pack, out);
    msgpack_pack_map(&pack, 4);
    myco_pack_key_str(&pack, "name", election->name);
    myco_pack_str(&pack, "candidates");
    msgpack_pack_array(&pack, eligible_candidates(council, election));
    for (uint32_t i = 0; i < election->candidate_count; i++)
        if (eligible(council, election, election->candidates[i]))
            pack_candidate(
                &pack, council, election, myco_state_member(state, election->candidates[i]));
    myco_pack_str(&pack, "holder");
    myco_pack_id(&pack, gone ? 0 : election->holder);
    myco_pack_str(&pack, "leaderships");
    uint32_t held = 0, count = state->election_count <= LEADERSHIPS_MAX ? state->election_count : 0;
    for (uint32_t i = 0; i < count; i++) held += state->elections[i]->holder != 0;
    msgpack_pack_map(&pack, held);
    for (uint32_t i = 0; i < count; i++) {
        if (!state->elections[i]->holder) continue;
        myco_pack_str(&pack, state->elections[i]->name);
        myco_pack_id(&pack, state->elections[i]->holder);
    }
}

/* Without a policy that answers: the present holder, else of the highest priority the candidate
 * that leads least. */
static uint64_t fallback(
    const struct myco_council *council, const struct myco_election_record *election, bool gone)
{
    if (!gone && election->holder) return election->holder;
    uint64_t best = 0;
    uint32_t least = UINT32_MAX;
    int32_t highest = INT32_MIN;
    for (uint32_t i = 0; i < election->candidate_count; i++) {
        uint64_t id = election->candidates[i];
        const struct myco_candidate_wish *wish = myco_election_wish(election, id);
        int32_t priority = wish ? wish->priority : 0;
        if (!eligible(council, election, id) || priority < highest) continue;
        if (priority == highest && myco__council_leads(council, id) >= least) continue;
        least = myco__council_leads(council, id);
        highest = priority;
        best = id;
    }
    return best;
}

static uint64_t choose(
    struct myco_council *council, const struct myco_election_record *election, bool gone)
{
    struct myco_buf world = {0}, answer = {0};
    struct myco_err err = {0};
    uint64_t chosen = 0;
    msgpack_unpacked doc;
    msgpack_unpacked_init(&doc);
    pack_world(&world, council, election, gone);
    bool ok = council->options.policy.ask &&
              council->options.policy.ask(MYCO_POLICY_ELECTION, myco_buf_as_slice(&world), &answer,
                  &err, council->options.policy.data) == 0 &&
              msgpack_unpack_next(&doc, (const char *)answer.data, answer.size, NULL) ==
                  MSGPACK_UNPACK_SUCCESS &&
              myco_doc_id(&doc.data, &chosen) && myco__council_present(council, chosen);
    if (ok) { /* only a candidate may lead */
        ok = false;
        for (uint32_t i = 0; i < election->candidate_count; i++)
            ok |= election->candidates[i] == chosen;
    }
    if (!ok) {
        if (council->options.policy.ask)
            MYCO_METRIC_ADD(council->options.env->metrics, POLICY_REFUSED, 1);
        if (err.code)
            MYCO_WARN(council->options.env->log, "policy",
                "election policy gave no answer, the built-in rule decides", "reason=\"%s\"",
                err.message);
        chosen = fallback(council, election, gone);
    }
    msgpack_unpacked_destroy(&doc);
    myco_buf_free(&world);
    myco_buf_free(&answer);
    return chosen;
}

/* At the birth of a cluster the first to stand would lead everything. */
static bool waits_for_candidates(
    const struct myco_council *council, const struct myco_election_record *election)
{
    if (election->epoch || myco_now_ms(council->options.env) - council->reign_began_ms >= GATHER_MS)
        return false;
    struct myco_log_server servers[SERVERS_MAX];
    size_t count = myco_rlog_servers(council->options.log, servers, SERVERS_MAX), voters = 0;
    for (size_t i = 0; i < count; i++) voters += servers[i].role == MYCO_ROLE_VOTER;
    return count_candidates(council, election, true) < voters;
}

static bool elect(struct myco_council *council, const struct myco_election_record *election)
{
    bool gone = myco__council_holder_gone(council, election);
    if (gone && election->wanted && election->wanted != election->holder &&
        myco__council_present(council, election->wanted)) {
        grant(council, election, election->name, election->wanted);
        return true;
    }
    uint64_t chosen = eligible_candidates(council, election) ? choose(council, election, gone) : 0;
    if (gone) {
        if (chosen == 0 && !election->holder) return false;
        if (election->holder && myco__council_present(council, election->holder))
            myco__council_shun(council, election->holder);
        if (chosen == election->holder)
            chosen = 0; /* silent, though it seems to be there: let it go first */
        grant(council, election, election->name, chosen);
        return true;
    }
    if (!chosen || chosen == election->holder || chosen == election->wanted) return false;
    struct myco_buf body = {0};
    myco_command_want(&body, election->name, chosen);
    myco__council_propose(council, MYCO_COMMAND_WANT, &body);
    return true;
}

/* What decisions rest on besides the elections themselves. */
static uint64_t view_of(const struct myco_council *council)
{
    const struct myco_policy_version *policy =
        myco_state_policy(council->options.state, MYCO_POLICY_ELECTION);
    uint64_t hash = myco_hash_mix(1, policy ? policy->version : 0);
    for (size_t i = 0; i < council->member_count; i++) {
        uint64_t id = council->members[i].record->id;
        hash = myco_hash_mix(hash, id ^ council->members[i].present);
        hash = myco_hash_mix(hash, myco__council_shunned(council, id));
    }
    return hash | 1;
}

/* Those that nobody leads any more come first, and go together. *later: some have to wait. */
static bool fill(struct myco_council *council, uint32_t *asks, bool *later)
{
    const struct myco_state *state = council->options.state;
    bool proposed = false;
    for (uint32_t i = 0; i < state->election_count; i++) {
        const struct myco_election_record *election = state->elections[i];
        if (!myco__council_holder_gone(council, election)) continue;
        if (!election->holder && !election->candidate_count) continue;
        if (strcmp(election->name, NODOSUM) == 0) continue;
        if (*asks >= ASKS_MAX || waits_for_candidates(council, election)) {
            *later = true;
            if (*asks >= ASKS_MAX) break;
            continue;
        }
        ++*asks;
        proposed |= elect(council, election);
    }
    return proposed;
}

/* Live holders are judged anew when candidates, or what they lead, changed: some in each round, and
 * one is moved at a time, so that the next is judged by what then is. */
static bool improve(struct myco_council *council, uint32_t *asks)
{
    const struct myco_state *state = council->options.state;
    for (; council->pass_at < state->election_count; council->pass_at++) {
        const struct myco_election_record *election = state->elections[council->pass_at];
        if (!election->holder || strcmp(election->name, NODOSUM) == 0) continue;
        if (election->candidate_count == 1 && election->candidates[0] == election->holder) continue;
        if (*asks >= ASKS_MAX) return false;
        ++*asks;
        if (elect(council, election)) return true;
    }
    return false;
}

bool myco__council_elect(struct myco_council *council)
{
    myco_buf_clear(&council->granted);
    if (elect_nodosum(council)) return true;
    uint64_t view = view_of(council);
    bool gone = myco__council_book_gone(council);
    if (view != council->elections_view) council->settled = false;
    if (council->settled && !gone) return false;
    if (!council->settled && council->judged_changes != council->seen_elections)
        council->pass_at = 0;
    if (view != council->elections_view) council->pass_at = 0;
    council->elections_view = view;
    council->judged_changes = council->seen_elections;
    uint32_t asks = 0;
    bool later = false, proposed = false;
    if (gone || council->free_elections) proposed = fill(council, &asks, &later);
    if (!proposed) proposed = improve(council, &asks);
    bool judged = council->pass_at >= council->options.state->election_count;
    council->settled = !proposed && !later && judged;
    return proposed;
}
