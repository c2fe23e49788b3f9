/* What candidates of elections ask for: a priority, and labels. Kept only of those that ask, sorted
 * by their ids; they go with the candidacy. CAMPAIGN stands without, CAMPAIGN_WITH with them. */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "consensus/state_internal.h"

static uint32_t place(const struct myco_election_record *election, uint64_t node)
{
    uint32_t at = 0;
    MYCO_ASSERT(election != NULL);
    while (at < election->wish_count && election->wishes[at].node < node) at++;
    return at;
}

const struct myco_candidate_wish *myco_election_wish(
    const struct myco_election_record *election, uint64_t node)
{
    uint32_t at = place(election, node);
    bool there = at < election->wish_count && election->wishes[at].node == node;
    return there ? &election->wishes[at] : NULL;
}

static void drop(struct myco_election_record *election, uint32_t at)
{
    memmove(election->wishes + at, election->wishes + at + 1,
        (election->wish_count - at - 1) * sizeof *election->wishes);
    election->wish_count--;
}

void myco__candidate_wishes(
    struct myco_election_record *election, uint64_t node, const struct myco_candidate_wish *wish)
{
    MYCO_ASSERT(election != NULL);
    uint32_t at = place(election, node), count = election->wish_count;
    bool there = at < count && election->wishes[at].node == node;
    bool asks = wish && (wish->priority || *wish->labels);
    if (!asks) {
        if (there) drop(election, at);
        return;
    }
    if (!there) {
        election->wishes = myco_realloc(election->wishes, (count + 1) * sizeof *election->wishes);
        memmove(election->wishes + at + 1, election->wishes + at,
            (count - at) * sizeof *election->wishes);
        election->wish_count++;
    }
    election->wishes[at] = *wish;
    election->wishes[at].node = node;
}

/* u32 priority (two's complement), str labels */
static void write_wish(struct myco_buf *out, int32_t priority, const char *labels)
{
    myco_buf_u32(out, (uint32_t)priority);
    myco_buf_str(out, labels);
}

void myco__candidate_read(struct myco_reader *in, struct myco_candidate_wish *wish)
{
    *wish = (struct myco_candidate_wish){.priority = (int32_t)myco_read_u32(in)};
    myco_read_str(in, wish->labels, sizeof wish->labels);
}

void myco_command_campaign(
    struct myco_buf *out, const char *name, int32_t priority, const char *labels)
{
    myco_buf_str(out, name);
    write_wish(out, priority, labels);
}

/* u32 count of elections, then each: str name, u32 count, each: u64 node, the wish */
void myco__candidates_save(const struct myco_state *state, struct myco_buf *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < state->election_count; i++)
        count += state->elections[i]->wish_count > 0;
    myco_buf_u32(out, count);
    for (uint32_t i = 0; i < state->election_count; i++) {
        const struct myco_election_record *election = state->elections[i];
        if (!election->wish_count) continue;
        myco_buf_str(out, election->name);
        myco_buf_u32(out, election->wish_count);
        for (uint32_t w = 0; w < election->wish_count; w++) {
            myco_buf_u64(out, election->wishes[w].node);
            write_wish(out, election->wishes[w].priority, election->wishes[w].labels);
        }
    }
}

/* The elections are there already. */
void myco__candidates_load(struct myco_state *state, struct myco_reader *in)
{
    char name[MYCO_STATE_NAME_MAX + 1];
    for (uint32_t count = myco_read_u32(in); count > 0 && !in->bad; count--) {
        myco_read_str(in, name, sizeof name);
        struct myco_election_record *election =
            in->bad ? NULL : myco__state_election_make(state, name);
        if (!election) in->bad = true;
        for (uint32_t left = myco_read_u32(in); left > 0 && !in->bad; left--) {
            struct myco_candidate_wish wish;
            uint64_t node = myco_read_u64(in);
            myco__candidate_read(in, &wish);
            if (!in->bad) myco__candidate_wishes(election, node, &wish);
        }
    }
}
