/* Looking into a node: the features of this version, and who keeps them from being active. */
#include <stdio.h>

#include "host/inspect.h"

static const char *name_of_bit(unsigned bit, char text[8])
{
    const char *name = myco_feature_name(bit);
    if (!name) snprintf(text, 8, "%u", bit);
    return name ? name : text;
}

void inspect_feature_names(msgpack_packer *pack, uint64_t features)
{
    char text[8];
    msgpack_pack_array(pack, (size_t)__builtin_popcountll(features));
    for (unsigned bit = 0; bit < 64; bit++)
        if (features & MYCO_FEATURE_BIT(bit)) myco_pack_str(pack, name_of_bit(bit, text));
}

static bool lacks(struct myco_core *core, const struct myco_member_record *member, unsigned bit)
{
    return !member->left && !(core_member_features(core, member) & MYCO_FEATURE_BIT(bit));
}

static void pack_feature(msgpack_packer *pack, struct myco_core *core, unsigned bit)
{
    const char *doc = myco_feature_doc(bit);
    char text[8];
    size_t lacking = 0;
    MYCO_MAP_EACH (struct myco_member_record, member, &core->state->members)
        lacking += lacks(core, member, bit);
    msgpack_pack_map(pack, 5);
    myco_pack_key_str(pack, "feature", name_of_bit(bit, text));
    myco_pack_key_u64(pack, "bit", bit);
    myco_pack_key_str(pack, "doc", doc ? doc : "of a newer version");
    myco_pack_key_bool(pack, "active", core->state->features_active & MYCO_FEATURE_BIT(bit));
    myco_pack_str(pack, "lacking");
    msgpack_pack_array(pack, lacking);
    MYCO_MAP_EACH (struct myco_member_record, member, &core->state->members)
        if (lacks(core, member, bit)) myco_pack_str(pack, member->name);
}

void inspect_features(struct myco_core *core, msgpack_packer *pack)
{
    uint64_t known = core->state->features_own;
    MYCO_MAP_EACH (struct myco_member_record, member, &core->state->members)
        if (!member->left) known |= core_member_features(core, member);
    msgpack_pack_array(pack, (size_t)__builtin_popcountll(known));
    for (unsigned bit = 0; bit < 64; bit++)
        if (known & MYCO_FEATURE_BIT(bit)) pack_feature(pack, core, bit);
}
