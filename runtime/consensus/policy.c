/* Names of the policy kinds. */
#include "consensus/policy.h"

static const struct {
    const char *name, *function;
} kinds[] = {
#define X(symbol, kind, function) {kind, function},
    MYCO_POLICY_KINDS(X)
#undef X
};

const char *myco_policy_kind_name(int kind)
{
    return kind >= 0 && kind < MYCO_POLICY_KIND_COUNT ? kinds[kind].name : "?";
}

int myco_policy_kind_from_name(struct myco_slice name)
{
    for (int kind = 0; kind < MYCO_POLICY_KIND_COUNT; kind++) {
        if (strlen(kinds[kind].name) == name.size &&
            memcmp(kinds[kind].name, name.data, name.size) == 0)
            return kind;
    }
    return -1;
}

const char *myco_policy_function(int kind)
{
    return kind >= 0 && kind < MYCO_POLICY_KIND_COUNT ? kinds[kind].function : "?";
}
