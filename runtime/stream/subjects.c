/* Subjects: what is a well-formed one, and whether a pattern matches it.
 *
 *   orders.7.created        a subject: tokens between dots
 *   orders.*.created        `*` is any one token
 *   orders.>                `>` is one or more, and only stands at the end
 *
 * Any byte above space counts as text, so UTF-8 passes as it is; nothing is folded or normalised. A
 * token such as "a*" is refused rather than taken literally: it is nearly always a mistake. */
#include "stream/subjects.h"

#include "base/err.h"

/* Checks the token at [from, to) of a subject that ends at `size`. */
static int check_token(
    const char *at, size_t from, size_t to, size_t size, bool wildcards, struct myco_err *err)
{
    if (to == from) return myco_err(err, MYCO_EINVAL, "subject has an empty token");
    for (size_t i = from; i < to; i++) {
        unsigned char c = (unsigned char)at[i];
        if (c <= ' ' || c == 0x7f) {
            return myco_err(err, MYCO_EINVAL, "subject has a space or control character");
        }
        if (c != '*' && c != '>') continue;
        if (to - from > 1) {
            return myco_err(err, MYCO_EINVAL, "in a subject, %c only stands alone in a token", c);
        }
        if (!wildcards) return myco_err(err, MYCO_EINVAL, "subject must not have wildcards");
        if (c == '>' && to != size) {
            return myco_err(err, MYCO_EINVAL, "in a subject, > only stands at the end");
        }
    }
    return 0;
}

int myco_subject_check(struct myco_slice subject, bool wildcards, struct myco_err *err)
{
    const char *at = subject.data;
    if (subject.size == 0) return myco_err(err, MYCO_EINVAL, "subject is empty");
    if (subject.size > MYCO_SUBJECT_SIZE_MAX) {
        return myco_err(err, MYCO_EINVAL, "subject is longer than %d bytes", MYCO_SUBJECT_SIZE_MAX);
    }
    for (size_t from = 0; from <= subject.size;) {
        size_t to = from;
        while (to < subject.size && at[to] != '.') to++;
        int rc = check_token(at, from, to, subject.size, wildcards, err);
        if (rc) return rc;
        from = to + 1;
    }
    return 0;
}

static size_t token_size(const char *at, size_t left)
{
    const char *dot = memchr(at, '.', left);
    return dot ? (size_t)(dot - at) : left;
}

bool myco_subject_match(struct myco_slice pattern, struct myco_slice subject)
{
    const char *p = pattern.data, *s = subject.data;
    size_t p_left = pattern.size, s_left = subject.size;
    while (p_left > 0 && s_left > 0) {
        size_t p_size = token_size(p, p_left), s_size = token_size(s, s_left);
        if (p_size == 1 && p[0] == '>') return true;
        bool star = p_size == 1 && p[0] == '*';
        if (!star && (p_size != s_size || memcmp(p, s, p_size) != 0)) return false;
        bool p_ends = p_size == p_left, s_ends = s_size == s_left;
        if (p_ends || s_ends) return p_ends && s_ends;
        p += p_size + 1, p_left -= p_size + 1;
        s += s_size + 1, s_left -= s_size + 1;
    }
    return false;
}
