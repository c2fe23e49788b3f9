/* A suspect's clock: from the first accusation to refutation or death.
 *
 * A suspicion starts patient and becomes shorter as independent members say the same (Lifeguard's
 * dynamic suspicion). A node that is itself slow, and so suspects everybody, is alone with it, and
 * waits so long that the others refute; a crash is seen by several within a probe or two:
 *
 *   low = suspicion_ms × max(1, log10 n)        high = 4 × low
 *   k   = min(3, n − 2) confirmations wanted     c of them came
 *   wait = high − (high − low) × log(c + 1) / log(k + 1)       counted from the first accusation
 *
 * In a cluster of two nobody can confirm: low at once. */
#include "gossip/state.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

#define STRETCH 4.0
#define VOICES  3.0

static uint64_t wait_ms(const struct myco_swim *swim, const struct myco__suspicion *suspicion)
{
    double n = (double)myco__members_live(swim);
    double low = swim->suspicion_ms * fmax(1, log10(n));
    double k = fmin(VOICES, n - 2);
    if (k < 1) return (uint64_t)low;
    double c = fmin(suspicion->accuser_count > 0 ? suspicion->accuser_count - 1 : 0, k);
    return (uint64_t)(low * STRETCH - low * (STRETCH - 1) * log(c + 1) / log(k + 1));
}

static uint64_t due_ms(const struct myco_swim *swim, const struct myco_list *link)
{
    const struct myco__suspicion *suspicion = MYCO_CONTAINER(link, struct myco__suspicion, link);
    return suspicion->since_ms + wait_ms(swim, suspicion);
}

/* A suspicion that is heard of is looked into, by a few: in a small cluster by everyone at once, so
 * that a crash is confirmed within one probe; in a large one by about four, by lot. */
static void look_into(struct myco_swim *swim, const struct myco__member *member)
{
    const struct myco__suspicion *suspicion = member->suspicion;
    if (suspicion->accuser_count == 1 && suspicion->accusers[0] == swim->self.pub.id) return;
    if (swim->next_id || myco_random_below(swim->env, myco__members_live(swim)) >= 4) return;
    swim->next_id = member->pub.id;
}

void myco__suspicion_start(
    struct myco_swim *swim, struct myco__member *member, const uint64_t *accusers, unsigned count)
{
    struct myco__suspicion *suspicion = myco_alloc(sizeof *suspicion);
    member->suspicion = suspicion;
    suspicion->member = member;
    suspicion->since_ms = myco_now_ms(swim->env);
    suspicion->accuser_count = count;
    memcpy(suspicion->accusers, accusers, count * sizeof *accusers);
    myco_list_append(&swim->suspects, &suspicion->link);
    look_into(swim, member);
    myco__swim_schedule(swim);
}

void myco__suspicion_stop(struct myco__member *member)
{
    if (!member->suspicion) return;
    myco_list_remove(&member->suspicion->link);
    myco_free(member->suspicion);
    member->suspicion = NULL;
}

bool myco__suspicion_confirm(struct myco_swim *swim, struct myco__member *member, uint64_t accuser)
{
    struct myco__suspicion *suspicion = member->suspicion;
    for (unsigned i = 0; i < suspicion->accuser_count; i++) {
        if (suspicion->accusers[i] == accuser) return false;
    }
    if (suspicion->accuser_count == MYCO__ACCUSERS_MAX) return false;
    suspicion->accusers[suspicion->accuser_count++] = accuser;
    myco__swim_schedule(swim);
    return true;
}

uint64_t myco__suspicion_due(const struct myco_swim *swim)
{
    uint64_t due = MYCO__NEVER;
    MYCO_LIST_EACH (link, &swim->suspects) {
        uint64_t one = due_ms(swim, link);
        if (one < due) due = one;
    }
    return due;
}

void myco__suspicion_tick(struct myco_swim *swim, uint64_t now_ms)
{
    struct myco_list due;
    myco_list_init(&due);
    MYCO_LIST_EACH (link, &swim->suspects) {
        if (due_ms(swim, link) > now_ms) continue;
        myco_list_remove(link);
        myco_list_append(&due, link);
    }
    for (struct myco_list *link; (link = myco_list_pop(&due));) {
        struct myco__member *member = MYCO_CONTAINER(link, struct myco__suspicion, link)->member;
        myco__members_set(swim, member, MYCO_MEMBER_DEAD);
    }
}

/* This node was paused: its suspects could not be heard meanwhile. */
void myco__suspicion_shift(struct myco_swim *swim, uint64_t by_ms)
{
    MYCO_LIST_EACH (link, &swim->suspects) {
        struct myco__suspicion *suspicion = MYCO_CONTAINER(link, struct myco__suspicion, link);
        suspicion->since_ms += by_ms + (suspicion->graced ? 0 : swim->timeout_ms);
        suspicion->graced = true;
    }
}
