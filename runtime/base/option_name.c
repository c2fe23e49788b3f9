/* Names that were almost right. */
#include <string.h>

#include "base/option.h"

#define NAME_SIZE_MAX 48 /* longer ones are like nothing */

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* How many letters must be changed, added, removed or swapped with their neighbour. Three rows of
 * the usual table are enough: this one, the one above, and the one above that for swaps. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][NAME_SIZE_MAX + 1], a_size = strlen(a), b_size = strlen(b);
    if (a_size > NAME_SIZE_MAX || b_size > NAME_SIZE_MAX) return NAME_SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++) rows[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *swap = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = min3(row[j - 1] + 1, above[j] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && swap[j - 2] + 1 < row[j]) row[j] = swap[j - 2] + 1;
        }
    }
    return rows[a_size % 3][b_size];
}

/* At most a third of the letters wrong; or the beginning of just one name. */
const char *myco_nearest(const char *const *names, const char *name)
{
    size_t best = strlen(name) / 3 + 1, begun_count = 0;
    const char *nearest = NULL, *begun = NULL;
    for (; *names != NULL; names++) {
        size_t wrong = distance(*names, name);
        if (wrong < best || (wrong == best && nearest == NULL)) {
            best = wrong;
            nearest = *names;
        }
        if (name[0] != '\0' && strncmp(*names, name, strlen(name)) == 0) {
            begun = *names;
            begun_count++;
        }
    }
    return nearest == NULL && begun_count == 1 ? begun : nearest;
}

int myco__option_unknown(
    const struct myco_option *options, const char *name, const char *dashes, struct myco_err *err)
{
    const char *names[128];
    size_t count = 0;
    for (; count < 127 && options[count].name != NULL; count++) names[count] = options[count].name;
    names[count] = NULL;
    const char *nearest = myco_nearest(names, name);
    if (nearest != NULL) {
        return myco_err(err, MYCO_EINVAL, "there is no option %s%.40s: did you mean %s%s?", dashes,
            name, dashes, nearest);
    }
    struct myco_buf all = {.size_max = 200};
    for (size_t i = 0; i < count; i++) myco_buf_printf(&all, "%s%s", i > 0 ? ", " : "", names[i]);
    myco_err(err, MYCO_EINVAL, "there is no option %s%.40s, only: %.*s%s", dashes, name,
        (int)all.size, all.data != NULL ? (const char *)all.data : "", all.failed ? ", …" : "");
    myco_buf_free(&all);
    return MYCO_EINVAL;
}
