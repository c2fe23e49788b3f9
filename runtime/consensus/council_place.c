/* Placement of hyphae: asked of the policy when members, septa or the policy changed. */
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "consensus/council.h"
#include "consensus/policy_docs.h"

static void pack_members(msgpack_packer *pack, const struct myco_council *council)
{
    size_t count = 0;
    for (size_t i = 0; i < council->member_count; i++) count += council->members[i].present;
    msgpack_pack_array(pack, count);
    for (size_t i = 0; i < council->member_count; i++) {
        if (!council->members[i].present) continue;
        const struct myco_member_record *record = council->members[i].record;
        msgpack_pack_map(pack, 5);
        myco_pack_key_bool(pack, "slow", myco__council_slow(council, record->id));
        myco_pack_str(pack, "id");
        myco_pack_id(pack, record->id);
        myco_pack_key_str(pack, "name", record->name);
        myco_pack_str(pack, "labels");
        myco_pack_labels(pack, myco_member_labels(record));
        myco_pack_str(pack, "weight");
        msgpack_pack_double(pack, 1.0);
    }
}

static void pack_placement_world(struct myco_buf *out, const struct myco_council *council,
    const struct myco_septum_record *septum)
{
    msgpack_packer pack;
    myco_pack_init(&pack, out);
    msgpack_pack_map(&pack, 5);
    myco_pack_key_str(&pack, "septum", septum->name);
    myco_pack_key_u64(&pack, "hyphae", septum->options.hyphae);
    myco_pack_key_u64(&pack, "copies", septum->options.copies);
    myco_pack_str(&pack, "members");
    pack_members(&pack, council);
    myco_pack_str(&pack, "current");
    msgpack_pack_array(&pack, septum->options.hyphae);
    for (uint32_t h = 0; h < septum->options.hyphae; h++) {
        const struct myco_hypha_record *hypha = &septum->hyphae[h];
        msgpack_pack_array(&pack, hypha->target_count);
        for (uint8_t i = 0; i < hypha->target_count; i++) myco_pack_id(&pack, hypha->targets[i]);
    }
}

/* Without a policy that answers: rendezvous hashing over the members that are there. */
static uint8_t rendezvous(const struct myco_council *council,
    const struct myco_septum_record *septum, uint32_t hypha, uint64_t *targets)
{
    uint8_t count = 0;
    while (count < septum->options.copies) {
        uint64_t best = 0, best_score = 0;
        for (size_t i = 0; i < council->member_count; i++) {
            uint64_t id = council->members[i].record->id;
            bool taken = !council->members[i].present;
            for (uint8_t t = 0; t < count; t++) taken |= targets[t] == id;
            uint64_t score = myco_hash_mix(myco_hash_mix(septum->id, hypha), id);
            if (taken || (best && score <= best_score)) continue;
            best = id;
            best_score = score;
        }
        if (!best) break;
        targets[count++] = best;
    }
    return count;
}

/* One hypha's answer: distinct members that are there. */
static uint8_t read_targets(
    const struct myco_council *council, const msgpack_object *list, uint64_t *targets)
{
    if (list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size == 0 ||
        list->via.array.size > MYCO_COPIES_MAX)
        return 0;
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        if (!myco_doc_id(&list->via.array.ptr[i], &targets[i]) ||
            !myco__council_present(council, targets[i]))
            return 0;
        for (uint32_t j = 0; j < i; j++)
            if (targets[j] == targets[i]) return 0;
    }
    return (uint8_t)list->via.array.size;
}

bool myco__council_ask(struct myco_council *council, int kind, struct myco_buf *world,
    msgpack_unpacked *doc, struct myco_buf *answer)
{
    struct myco_err err = {0};
    const struct myco_policy_port *policy = &council->options.policy;
    if (!policy->ask) return false;
    if (policy->ask(kind, myco_buf_as_slice(world), answer, &err, policy->data) == 0 &&
        msgpack_unpack_next(doc, (const char *)answer->data, answer->size, NULL) ==
            MSGPACK_UNPACK_SUCCESS)
        return true;
    MYCO_METRIC_ADD(council->options.env->metrics, POLICY_REFUSED, 1);
    MYCO_WARN(council->options.env->log, "policy",
        "a policy gave no answer, the built-in rule decides", "kind=%s reason=\"%s\"",
        myco_policy_kind_name(kind), err.message);
    return false;
}

static bool place_hypha(const struct myco_council *council, const struct myco_septum_record *septum,
    uint32_t h, const msgpack_object *map, struct myco_buf *body)
{
    const struct myco_hypha_record *hypha = &septum->hyphae[h];
    uint64_t targets[MYCO_COPIES_MAX] = {0};
    uint8_t count = map ? read_targets(council, &map->via.array.ptr[h], targets) : 0;
    if (!count) count = rendezvous(council, septum, h, targets);
    bool same = count == hypha->target_count &&
                memcmp(targets, hypha->targets, count * sizeof *targets) == 0;
    bool lost = !hypha->set.primary; /* a cache whose last copy went */
    if (!count || (same && !lost)) return false;
    myco_command_place(body, septum->id, h, targets, count);
    return true;
}

static uint32_t place_septum(
    struct myco_council *council, const struct myco_septum_record *septum, struct myco_buf *body)
{
    struct myco_buf world = {0}, answer = {0};
    msgpack_unpacked doc;
    msgpack_unpacked_init(&doc);
    pack_placement_world(&world, council, septum);
    bool answered = myco__council_ask(council, MYCO_POLICY_PLACEMENT, &world, &doc, &answer);
    const msgpack_object *map = answered && doc.data.type == MSGPACK_OBJECT_ARRAY &&
                                        doc.data.via.array.size == septum->options.hyphae
                                    ? &doc.data
                                    : NULL;
    uint32_t moved = 0;
    for (uint32_t h = 0; h < septum->options.hyphae; h++)
        moved += place_hypha(council, septum, h, map, body);
    msgpack_unpacked_destroy(&doc);
    myco_buf_free(&world);
    myco_buf_free(&answer);
    return moved;
}

static uint64_t placement_hash(const struct myco_council *council)
{
    const struct myco_policy_version *policy =
        myco_state_policy(council->options.state, MYCO_POLICY_PLACEMENT);
    uint64_t hash = myco_hash_mix(1, policy ? policy->version : 0);
    for (size_t i = 0; i < council->member_count; i++) {
        if (!council->members[i].present) continue;
        const struct myco_member_record *record = council->members[i].record;
        hash = myco_hash_mix(hash, record->id);
        hash = myco_hash_mix(
            hash, myco_hash(myco_member_labels(record), strlen(myco_member_labels(record))));
    }
    for (uint32_t i = 0; i < council->options.state->septum_count; i++)
        if (council->options.state->septa[i]->version)
            hash = myco_hash_mix(myco_hash_mix(hash, i), council->options.state->septa[i]->version);
    return hash;
}

static bool needs_place(const struct myco_septum_record *septum)
{
    for (uint32_t h = 0; h < septum->options.hyphae; h++)
        if (!septum->hyphae[h].target_count || !septum->hyphae[h].set.primary) return true;
    return false;
}

/* One septum a round: its command stays small, and a change of members in between is seen. */
bool myco__council_place(struct myco_council *council)
{
    const struct myco_state *state = council->options.state;
    uint64_t hash = placement_hash(council);
    if (hash != council->placed_hash) {
        council->placed_hash = hash;
        council->septa_placed = 0;
    }
    for (uint32_t s = 0; s < state->septum_count; s++) {
        if (s < council->septa_placed && !needs_place(state->septa[s])) continue;
        struct myco_buf body = {0};
        uint32_t moved = place_septum(council, state->septa[s], &body);
        if (s >= council->septa_placed) council->septa_placed = s + 1;
        if (moved) {
            MYCO_INFO(council->options.env->log, "nodosum", "placing hyphae", "septum=%s count=%u",
                state->septa[s]->name, moved);
            myco__council_propose(council, MYCO_COMMAND_PLACE, &body);
            return true;
        }
        myco_buf_free(&body);
    }
    return false;
}
