/* What the state keeps of one member beyond its fixed fields: its labels, and which of its commands
 * were seen. There are as many of these as members on each of them, so they take no more than they
 * need. */
#include "consensus/state_internal.h"

#include <string.h>

#include "base/mem.h"

#define WORDS (MYCO_SEEN_WINDOW / 64)

const char *myco_member_labels(const struct myco_member_record *member)
{
    return member->labels ? member->labels : "";
}

void myco__member_label(struct myco_member_record *member, const char *labels)
{
    member->labels = labels[0] ? myco_memdup(labels, strlen(labels) + 1) : NULL;
}

void myco__member_clear(struct myco_member_record *member)
{
    myco_free(member->labels);
    myco_free(member->seen_bits);
    member->labels = NULL;
    member->seen_bits = NULL;
}

uint64_t myco__member_word(const struct myco_member_record *member, size_t at)
{
    if (member->seen_bits) return member->seen_bits[at];
    return at == 0 ? member->seen_low : 0;
}

void myco__member_set_word(struct myco_member_record *member, size_t at, uint64_t word)
{
    if (at == 0 && !member->seen_bits) {
        member->seen_low = word;
    } else if (word || member->seen_bits) {
        if (!member->seen_bits) {
            member->seen_bits = myco_alloc(WORDS * sizeof *member->seen_bits);
            member->seen_bits[0] = member->seen_low;
        }
        member->seen_bits[at] = word;
    }
}

static void clear_words(struct myco_member_record *member)
{
    myco_free(member->seen_bits);
    member->seen_bits = NULL;
    member->seen_low = 0;
}

static void clear_bit(struct myco_member_record *member, uint64_t sequence)
{
    size_t at = sequence % MYCO_SEEN_WINDOW / 64;
    uint64_t word = myco__member_word(member, at);
    myco__member_set_word(member, at, word & ~(UINT64_C(1) << sequence % 64));
}

bool myco__member_seen(struct myco_member_record *member, uint64_t sequence)
{
    if (sequence + MYCO_SEEN_WINDOW <= member->seen_top) return true;
    if (sequence >= member->seen_top + MYCO_SEEN_WINDOW) {
        clear_words(member);
        member->seen_top = sequence - 1;
    }
    while (member->seen_top < sequence) clear_bit(member, ++member->seen_top);
    size_t at = sequence % MYCO_SEEN_WINDOW / 64;
    uint64_t word = myco__member_word(member, at), mask = UINT64_C(1) << sequence % 64;
    myco__member_set_word(member, at, word | mask);
    return word & mask;
}
