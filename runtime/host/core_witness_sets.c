/* Seeing what the log says of septa, hyphae, features and policies. Primaries move by hundreds at a
 * time: what moved for the same reason between two ticks is one event. */
#include <stdio.h>
#include <string.h>

#include "host/core_witness_internal.h"

static struct witness_septum *septum_of(
    struct myco_core *core, const struct myco_septum_record *septum)
{
    struct witness_septum *known = myco_map_get(&core->witness->septa, septum->id);
    if (known) return known;
    known = myco_alloc(sizeof *known + septum->options.hyphae * sizeof *known->primaries);
    known->hyphae = septum->options.hyphae;
    myco_map_put(&core->witness->septa, septum->id, known);
    return known;
}

void witness_septum(struct myco_core *core, const struct myco_septum_record *septum)
{
    if (myco_map_get(&core->witness->septa, septum->id)) return;
    septum_of(core, septum);
    if (!core->joined) return;
    const char *kind = septum->options.kind == MYCO_SEPTUM_DURABLE ? "durable" : "cache";
    struct chronicle_note note = chronicle_note(MYCO_EVENT_SEPTUM_CREATED, septum->name);
    chronicle_field(&note, "kind", kind);
    chronicle_number(&note, "hyphae", septum->options.hyphae);
    chronicle_number(&note, "replicas", septum->options.copies - 1);
    chronicle_tell(core->chronicle, &note, "the septum %s was created: %s, %u hyphae, replicas %u",
        septum->name, kind, septum->options.hyphae, septum->options.copies - 1);
}

/* ── hyphae ── */

static void tell_move(struct myco_core *core, const struct witness_move *move)
{
    const struct myco_septum_record *septum = myco_state_septum(core->state, move->septum);
    const char *name = septum ? septum->name : "?";
    struct chronicle_note note = chronicle_note(MYCO_EVENT_HYPHAE_MOVED, name);
    chronicle_number(&note, "count", move->count);
    if (move->from) chronicle_field(&note, "from", witness_name(core, move->from));
    chronicle_field(&note, "to", witness_name(core, move->to));
    chronicle_number(&note, "epoch", move->epoch);
    chronicle_field(&note, "reason", move->reason);
    const char *noun = move->count == 1 ? "hypha" : "hyphae", *to = witness_name(core, move->to);
    if (!move->from)
        chronicle_tell(
            core->chronicle, &note, "%u %s of %s got %s as primary", move->count, noun, name, to);
    else if (strcmp(move->reason, "placement") == 0)
        chronicle_tell(core->chronicle, &note, "%u %s of %s moved from %s to %s: placement",
            move->count, noun, name, witness_name(core, move->from), to);
    else
        chronicle_tell(core->chronicle, &note, "%u %s of %s moved from %s to %s: %s %s",
            move->count, noun, name, witness_name(core, move->from), to,
            witness_name(core, move->from), move->reason);
}

void witness_flush(struct myco_core *core)
{
    struct core_witness *witness = core->witness;
    for (uint32_t i = 0; i < witness->move_count; i++) tell_move(core, &witness->moves[i]);
    witness->move_count = 0;
}

static void add_move(struct myco_core *core, const struct witness_move *move)
{
    struct core_witness *witness = core->witness;
    for (uint32_t i = 0; i < witness->move_count; i++) {
        struct witness_move *at = &witness->moves[i];
        if (at->septum != move->septum || at->from != move->from || at->to != move->to ||
            strcmp(at->reason, move->reason) != 0)
            continue;
        at->count++;
        if (at->epoch < move->epoch) at->epoch = move->epoch;
        return;
    }
    if (witness->move_count == WITNESS_MOVES_MAX) witness_flush(core);
    witness->moves[witness->move_count++] = *move;
}

void witness_hypha(struct myco_core *core, const struct myco_septum_record *septum, uint32_t index)
{
    struct witness_septum *known = septum_of(core, septum);
    const struct myco_set *set = &septum->hyphae[index].set;
    if (index >= known->hyphae || known->primaries[index] == set->primary) return;
    uint64_t from = known->primaries[index];
    known->primaries[index] = set->primary;
    if (!core->joined || !set->primary) return;
    const char *gone = from ? witness_why(core, from, 0) : NULL;
    struct witness_move move = {.septum = septum->id,
        .from = from,
        .to = set->primary,
        .epoch = set->epoch,
        .count = 1,
        .reason = gone ? gone : "placement"};
    add_move(core, &move);
}

/* Before the hyphae are told to have moved. */
void witness_loss(struct myco_core *core, const struct myco_septum_record *septum, uint32_t count,
    const char *reason, uint64_t node)
{
    if (!core->joined) return;
    struct chronicle_note note = chronicle_note(MYCO_EVENT_HYPHAE_LOSS_ACCEPTED, septum->name);
    chronicle_number(&note, "count", count);
    chronicle_field(&note, "node", witness_name(core, node));
    chronicle_field(&note, "reason", reason);
    chronicle_tell(core->chronicle, &note,
        "%u %s of %s without the last in-sync members, accepted on %s: %s", count,
        count == 1 ? "hypha goes on" : "hyphae go on", septum->name, witness_name(core, node),
        *reason ? reason : "no reason was given");
}

/* ── features ── */

void witness_features(struct myco_core *core, uint64_t active)
{
    uint64_t news = active & ~core->witness->features;
    core->witness->features = active;
    for (unsigned bit = 0; core->joined && bit < 64; bit++) {
        if (!(news >> bit & 1)) continue;
        const char *name = myco_feature_name(bit) ? myco_feature_name(bit) : "?";
        struct chronicle_note note = chronicle_note(MYCO_EVENT_FEATURE_ACTIVATED, name);
        chronicle_number(&note, "bit", bit);
        chronicle_tell(core->chronicle, &note,
            "the feature %s is active: every member knows it, and nodes without it can't join",
            name);
    }
}

/* ── policies ── */

void witness_policy(struct myco_core *core, int kind, const struct myco_policy_version *version)
{
    uint64_t now = version ? version->version : 0, before = core->witness->policies[kind];
    core->witness->policies[kind] = now;
    if (!core->joined || now == before) return;
    const char *kind_name = myco_policy_kind_name(kind), *name = version ? version->name : "";
    bool back = now < before;
    struct chronicle_note note =
        chronicle_note(back ? MYCO_EVENT_POLICY_ROLLED_BACK : MYCO_EVENT_POLICY_APPLIED, kind_name);
    chronicle_field(&note, "name", name);
    chronicle_number(&note, "version", now);
    if (version) chronicle_field(&note, "author", version->author);
    if (!now)
        chronicle_tell(core->chronicle, &note, "%s: back to the built-in policy", kind_name);
    else
        chronicle_tell(core->chronicle, &note, "%s: %s is in force%s, version %llu, by %s",
            kind_name, name, back ? " again" : "", (unsigned long long)now, version->author);
}
