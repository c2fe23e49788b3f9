/* The council's rounds: who is there, and what to do first. */
#include "consensus/council.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "consensus/bootstrap.h"

#define ROUND_MS 50
#define OUTSTANDING_MS                                                                             \
    2000 /* proposals that are not applied by then are given up: each is a compare-and-set */

static void sit(void *data);

struct myco_council *myco_council_new(const struct myco_council_options *options)
{
    struct myco_council *council = myco_alloc(sizeof *council);
    council->options = *options;
    if (!council->options.unresponsive_ms) council->options.unresponsive_ms = 3000;
    if (!council->options.forget_ms) council->options.forget_ms = 30000;
    if (!council->options.dead_voter_ms) council->options.dead_voter_ms = 5000;
    myco_timer_init(&council->timer, options->env, sit, council);
    myco_timer_start(&council->timer, ROUND_MS, ROUND_MS);
    return council;
}

void myco_council_free(struct myco_council *council)
{
    if (!council) return;
    myco_timer_stop(&council->timer);
    MYCO_MAP_EACH (uint64_t, since, &council->dead_since) myco_free(since);
    myco_map_free(&council->dead_since);
    MYCO_MAP_EACH (struct myco_council_holder, holder, &council->holders) myco_free(holder);
    myco_map_free(&council->holders);
    myco__council_book_free(council);
    myco_buf_free(&council->granted);
    myco_free(council->members);
    myco_free(council);
}

static int by_id(const void *a, const void *b)
{
    const struct myco_council_member *left = a, *right = b;
    return left->record->id < right->record->id ? -1 : left->record->id > right->record->id;
}

static bool is_present(const struct myco_council *council, const struct myco_member_record *record)
{
    if (record->id == council->options.self)
        return record->generation == council->options.generation;
    const struct myco_member *member = myco_swim_get(council->options.swim, record->id);
    return member && member->state <= MYCO_MEMBER_SUSPECT &&
           member->generation == record->generation;
}

static void look(struct myco_council *council)
{
    const struct myco_state *state = council->options.state;
    council->members =
        myco_realloc(council->members, (state->members.count + 1) * sizeof *council->members);
    council->member_count = 0;
    MYCO_MAP_EACH (struct myco_member_record, record, &state->members) {
        if (record->left) continue;
        council->members[council->member_count++] =
            (struct myco_council_member){record, is_present(council, record)};
    }
    qsort(council->members, council->member_count, sizeof *council->members, by_id);
}

bool myco__council_present(const struct myco_council *council, uint64_t id)
{
    for (size_t i = 0; i < council->member_count; i++)
        if (council->members[i].record->id == id) return council->members[i].present;
    return false;
}

/* Its process is gone and will not come back under this identity: a live member bears its name. */
bool myco__council_replaced(const struct myco_council *council, uint64_t id)
{
    const struct myco_member_record *old = myco_state_member(council->options.state, id);
    for (size_t i = 0; old && i < council->member_count; i++) {
        const struct myco_member_record *record = council->members[i].record;
        if (council->members[i].present && record->id != id && strcmp(record->name, old->name) == 0)
            return true;
    }
    return false;
}

/* Another process answers at its address. */
static bool displaced(const struct myco_council *council, const struct myco_member *member)
{
    const struct myco_member *other;
    uint32_t cursor = 0;
    while ((other = myco_swim_next(council->options.swim, &cursor)))
        if (other->id != member->id && other->state == MYCO_MEMBER_ALIVE &&
            myco_addr_equal(&other->addr, &member->addr))
            return true;
    return false;
}

bool myco__council_lives(const struct myco_council *council, uint64_t id)
{
    if (id == council->options.self) return true;
    const struct myco_member *member = myco_swim_get(council->options.swim, id);
    return myco__council_present(council, id) && member->state == MYCO_MEMBER_ALIVE &&
           !myco__council_replaced(council, id) && !displaced(council, member);
}

/* ── who is silent ── a live node that holds something, and does not renew its lease */

static void mark(struct myco_council *council, uint64_t node, uint64_t now)
{
    if (!node) return;
    struct myco_council_holder *holder = myco_map_get(&council->holders, node);
    if (!holder) myco_map_put(&council->holders, node, holder = myco_alloc(sizeof *holder));
    if (!holder->since_ns) holder->since_ns = now;
    holder->now = true;
}

static void look_at_holders(struct myco_council *council)
{
    const struct myco_state *state = council->options.state;
    uint64_t now = myco_now_ns(council->options.env);
    MYCO_MAP_EACH (struct myco_council_holder, holder, &council->holders) holder->now = false;
    if (myco__council_book(council)) council->settled = false;
    MYCO_MAP_EACH (struct myco_council_held, held, &council->held) mark(council, held->node, now);
    for (uint32_t s = 0; s < state->septum_count; s++)
        for (uint32_t h = 0; h < state->septa[s]->options.hyphae; h++)
            mark(council, state->septa[s]->hyphae[h].set.primary, now);
    MYCO_MAP_EACH (struct myco_council_holder, holder, &council->holders)
        if (!holder->now) holder->since_ns = 0;
}

static uint64_t silent_ms(const struct myco_council *council, uint64_t id)
{
    const struct myco_council_holder *holder = myco_map_get(&council->holders, id);
    uint64_t now = myco_now_ns(council->options.env);
    uint64_t holds_ms = holder && holder->since_ns ? (now - holder->since_ns) / 1000000 : 0;
    uint64_t silent = myco_lease_silent_ms(council->options.lease, id);
    return silent < holds_ms ? silent : holds_ms;
}

void myco__council_shun(struct myco_council *council, uint64_t id)
{
    struct myco_council_holder *holder = myco_map_get(&council->holders, id);
    uint64_t for_ns = (uint64_t)council->options.unresponsive_ms * 10 * 1000000;
    if (holder) holder->shunned_ns = myco_now_ns(council->options.env) + for_ns;
}

bool myco__council_slow(const struct myco_council *council, uint64_t id)
{
    struct myco_node_meta meta;
    if (id == council->options.self) return council->options.slow && *council->options.slow;
    const struct myco_member *member = myco_swim_get(council->options.swim, id);
    return member && myco_node_meta_read(member, &meta) && meta.slow;
}

bool myco__council_shunned(const struct myco_council *council, uint64_t id)
{
    if (myco__council_slow(council, id)) return true;
    const struct myco_council_holder *holder = myco_map_get(&council->holders, id);
    return holder && myco_now_ns(council->options.env) < holder->shunned_ns;
}

/* Dead, replaced by a newer generation, or silent for long; and in any case its lease is over for
 * certain. */
bool myco__council_gone(const struct myco_council *council, uint64_t id, uint64_t generation)
{
    if (id == council->options.self) return generation && generation != council->options.generation;
    const struct myco_member_record *record = myco_state_member(council->options.state, id);
    if (!record || (generation && record->generation != generation))
        return true; /* applied: the process is gone */
    if (!myco_lease_over(council->options.lease, id)) return false;
    const struct myco_member *member = myco_swim_get(council->options.swim, id);
    if (!member || member->state >= MYCO_MEMBER_DEAD) return true;
    return silent_ms(council, id) > council->options.unresponsive_ms;
}

void myco__council_propose(struct myco_council *council, uint8_t kind, struct myco_buf *body)
{
    struct myco_buf command = {0};
    myco_command_begin(&command, kind, council->options.self, council->options.generation, 0);
    myco_buf_bytes(&command, body->data, body->size);
    if (myco_rlog_submit(council->options.log, myco_buf_as_slice(&command)) == 0) {
        council->outstanding++;
        council->outstanding_ns = myco_now_ns(council->options.env);
    }
    myco_buf_free(&command);
    myco_buf_free(body);
}

void myco_council_applied(struct myco_council *council, const struct myco_command_head *head)
{
    bool ours = head->node == council->options.self &&
                head->generation == council->options.generation && !head->sequence;
    ours |= head->kind == MYCO_COMMAND_LEAVE; /* also in the place of who is gone */
    if (ours && council->outstanding) council->outstanding--;
    if (myco_rlog_is_established(council->options.log)) myco_council_poke(council);
}

void myco_council_poke(struct myco_council *council)
{
    myco_timer_start(&council->timer, 0, ROUND_MS);
}

static void sit(void *data)
{
    struct myco_council *council = data;
    const struct myco_council_options *options = &council->options;
    if (!myco_rlog_is_established(options->log)) {
        myco_timer_stop(&council->timer); /* until it is poked */
        return;
    }
    if (!options->state->cluster) return;
    if (council->term != myco_rlog_term(options->log)) { /* a new reign: ask everything anew */
        council->term = myco_rlog_term(options->log);
        council->reign_began_ms = myco_now_ms(options->env);
        council->outstanding = council->placed_hash = council->elections_view = 0;
    }
    uint64_t waited = myco_now_ns(options->env) - council->outstanding_ns;
    if (council->outstanding && waited < (uint64_t)OUTSTANDING_MS * 1000000) return;
    council->outstanding = 0;
    look(council);
    look_at_holders(council);
    /* What restores service first, then what improves it. Sets and elections may go together. */
    bool urgent = myco__council_sets(council);
    urgent |= myco__council_elect(council);
    urgent |= myco__council_locks(council);
    if (urgent) return;
    if (myco__council_place(council)) return;
    if (myco__council_bury(council) || myco__council_features(council)) return;
    myco__council_voters(council);
}
