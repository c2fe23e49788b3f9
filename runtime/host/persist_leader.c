/* The leader of `mycel` and the manifest: takes the chain over, checks what primaries vouch for,
 * writes, tells. */
#include <string.h>

#include "host/persist.h"

#define PRUNE_MS 60000 /* between looks for what is not needed any more */
#define AGAIN_MS 1000  /* between attempts to take the chain over, or to write */

static struct myco_manifest_hypha *find(
    struct myco_manifest *manifest, uint64_t septum, uint32_t hypha)
{
    for (uint32_t i = 0; i < manifest->hypha_count; i++)
        if (manifest->hyphae[i].septum == septum && manifest->hyphae[i].hypha == hypha)
            return &manifest->hyphae[i];
    return NULL;
}

static uint64_t held_to(const struct myco_manifest_hypha *hypha)
{
    return hypha && hypha->section_count ? hypha->sections[hypha->section_count - 1].to : 0;
}

/* ── telling ── */

void persist_leader_tell(struct core_persist *persist, uint64_t to)
{
    if (!persist->took_over) return;
    struct myco_buf out = {0};
    const struct myco_manifest *manifest = &persist->manifest;
    myco_buf_u8(&out, PERSIST_UPLOADED);
    myco_buf_u64(&out, persist->epoch);
    myco_buf_u32(&out, manifest->hypha_count);
    for (uint32_t i = 0; i < manifest->hypha_count; i++) {
        myco_buf_u64(&out, manifest->hyphae[i].septum);
        myco_buf_u32(&out, manifest->hyphae[i].hypha);
        myco_buf_u64(&out, held_to(&manifest->hyphae[i]));
        myco_buf_u32(&out, manifest->hyphae[i].section_count);
    }
    if (to) {
        persist_send(persist, to, &out);
        return;
    }
    uint32_t cursor = 0;
    uint64_t peer;
    while (myco_map_next(&persist->core->up, &cursor, &peer)) {
        struct myco_buf copy = {0};
        myco_buf_bytes(&copy, out.data, out.size);
        persist_send(persist, peer, &copy);
    }
    persist_send(persist, persist->core->identity.id, &out);
}

/* ── merging what was vouched for ── */

static bool acceptable(
    struct core_persist *persist, uint64_t from, const struct persist_section *section)
{
    const struct myco_septum_record *septum =
        myco_state_septum(persist->core->state, section->septum);
    if (!septum || section->hypha >= septum->options.hyphae) return false;
    const struct myco_set *set = &septum->hyphae[section->hypha].set;
    if (set->primary != from || set->epoch != section->section.epoch) return false;
    struct myco_manifest_hypha *hypha = find(&persist->manifest, section->septum, section->hypha);
    if (section->section.to <= held_to(hypha)) return false;
    return section->section.snapshot || section->section.from == held_to(hypha);
}

static uint32_t add_object(struct myco_manifest *manifest, const struct persist_vouch *vouch)
{
    manifest->objects =
        myco_realloc(manifest->objects, (manifest->object_count + 1) * sizeof *manifest->objects);
    manifest->objects[manifest->object_count] =
        (struct myco_manifest_object){myco_strdup(vouch->key), vouch->size};
    return manifest->object_count++;
}

static void add_section(
    struct myco_manifest *manifest, const struct persist_section *section, uint32_t object)
{
    struct myco_manifest_hypha *hypha = find(manifest, section->septum, section->hypha);
    if (!hypha) {
        manifest->hyphae =
            myco_realloc(manifest->hyphae, (manifest->hypha_count + 1) * sizeof *manifest->hyphae);
        hypha = &manifest->hyphae[manifest->hypha_count++];
        *hypha = (struct myco_manifest_hypha){.septum = section->septum, .hypha = section->hypha};
    }
    if (section->section.snapshot) hypha->section_count = 0;
    hypha->sections =
        myco_realloc(hypha->sections, (hypha->section_count + 1) * sizeof *hypha->sections);
    hypha->sections[hypha->section_count] = section->section;
    hypha->sections[hypha->section_count++].object = object;
}

/* Objects that no section names any more go to the list of what may be deleted once this manifest
 * is committed. */
static void drop_unused(struct myco_manifest *manifest)
{
    uint32_t *renumbered = myco_alloc((manifest->object_count + 1) * sizeof *renumbered), kept = 0;
    for (uint32_t h = 0; h < manifest->hypha_count; h++)
        for (uint32_t s = 0; s < manifest->hyphae[h].section_count; s++)
            renumbered[manifest->hyphae[h].sections[s].object] = 1;
    for (uint32_t i = 0; i < manifest->object_count; i++) {
        if (renumbered[i]) {
            renumbered[i] = kept;
            manifest->objects[kept++] = manifest->objects[i];
            continue;
        }
        manifest->dropped = myco_realloc(
            manifest->dropped, (manifest->dropped_count + 1) * sizeof *manifest->dropped);
        manifest->dropped[manifest->dropped_count++] = manifest->objects[i].key;
    }
    manifest->object_count = kept;
    for (uint32_t h = 0; h < manifest->hypha_count; h++)
        for (uint32_t s = 0; s < manifest->hyphae[h].section_count; s++)
            manifest->hyphae[h].sections[s].object =
                renumbered[manifest->hyphae[h].sections[s].object];
    myco_free(renumbered);
}

static void refuse(struct core_persist *persist, uint64_t to, uint64_t serial)
{
    struct myco_buf out = {0};
    myco_buf_u8(&out, PERSIST_REFUSED);
    myco_buf_u64(&out, serial);
    persist_send(persist, to, &out);
}

static bool held_already(struct core_persist *persist, const struct persist_vouch *vouch)
{
    for (uint32_t i = 0; i < persist->manifest.object_count; i++)
        if (strcmp(persist->manifest.objects[i].key, vouch->key) == 0) return true;
    return false;
}

/* The manifest in flight must not change. What a node vouches for anew replaces what it said
 * before; when there is no place it is said again in a second. */
static void enqueue(struct core_persist *persist, uint64_t from, struct persist_vouch *vouch)
{
    uint32_t at = 0;
    while (at < persist->queued && persist->queue[at].from != from) at++;
    if (at == PERSIST_QUEUE_MAX) return;
    if (at == persist->queued)
        persist->queued++;
    else
        persist_vouch_free(&persist->queue[at].vouch);
    persist->queue[at] = (struct persist_queued){from, *vouch};
    memset(vouch, 0, sizeof *vouch);
}

static void merge(struct core_persist *persist, uint64_t from, const struct persist_vouch *vouch)
{
    bool all = vouch->count > 0;
    for (uint32_t i = 0; i < vouch->count; i++)
        all &= acceptable(persist, from, &vouch->sections[i]);
    if (!all) {
        refuse(persist, from, vouch->serial);
        return;
    }
    uint32_t object = add_object(&persist->manifest, vouch);
    for (uint32_t i = 0; i < vouch->count; i++)
        add_section(&persist->manifest, &vouch->sections[i], object);
    persist->dirty = true;
}

static void merge_queue(struct core_persist *persist)
{
    for (uint32_t i = 0; i < persist->queued; i++) {
        struct persist_queued *queued = &persist->queue[i];
        if (!held_already(persist, &queued->vouch)) merge(persist, queued->from, &queued->vouch);
        persist_vouch_free(&queued->vouch);
    }
    persist->queued = 0;
}

void persist_leader_vouched(
    struct core_persist *persist, uint64_t from, struct persist_vouch *vouch)
{
    if (!persist->took_over) return; /* it is said again */
    if (held_already(persist, vouch)) {
        if (!persist->writing && !persist->dirty) persist_leader_tell(persist, from);
        return;
    }
    if (persist->writing) {
        enqueue(persist, from, vouch);
        return;
    }
    merge(persist, from, vouch);
    persist_leader_tick(persist);
}

/* ── the chain ── */

void persist_leader_stop(struct core_persist *persist)
{
    struct myco_chain *chain = persist->chain;
    for (uint32_t i = 0; i < persist->queued; i++) persist_vouch_free(&persist->queue[i].vouch);
    persist->queued = 0;
    persist->chain = NULL;
    persist->epoch = persist->grace_ms = persist->grace_max_ms = 0;
    persist->taking_over = persist->took_over = persist->writing = persist->fenced = false;
    myco_manifest_free(&persist->manifest);
    if (chain) myco_chain_free(chain);
}

static void taken_over(int status, const char *message, struct myco_manifest *manifest, void *data)
{
    struct core_persist *persist = data;
    struct myco_core *core = persist->core;
    if (status == MYCO_ECANCELED) return;
    persist->taking_over = false;
    persist->take_over_at_ms = myco_now_ms(core->env);
    if (status) {
        persist->fenced = status == MYCO_EFENCED;
        if (persist->fenced)
            MYCO_WARN(core->env->log, "mycel",
                "fenced: the object store belongs to a newer cluster", "error=\"%s\"", message);
        else
            persist_failed(
                persist, "the manifests can't be taken over, it is tried again", message);
        return;
    }
    myco_manifest_free(&persist->manifest);
    if (manifest) {
        persist->manifest = *manifest;
        memset(manifest, 0, sizeof *manifest);
    }
    for (uint32_t i = 0; i < persist->manifest.dropped_count; i++)
        myco_free(persist->manifest.dropped[i]);
    persist->manifest.dropped_count = 0; /* the chain carries them on until they are deleted */
    persist->took_over = persist->dirty = true;
    MYCO_INFO(core->env->log, "mycel", "leads persistence", "epoch=%llx hyphae=%u",
        (unsigned long long)persist->epoch, persist->manifest.hypha_count);
}

static void written(int status, const char *message, void *data)
{
    struct core_persist *persist = data;
    struct myco_core *core = persist->core;
    if (status == MYCO_ECANCELED) return;
    persist->writing = false;
    if (status == 0) {
        MYCO_METRIC_ADD(core->env->metrics, MANIFESTS, 1);
        for (uint32_t i = 0; i < persist->manifest.dropped_count; i++)
            myco_free(persist->manifest.dropped[i]);
        persist->manifest.dropped_count = 0;
        persist_succeeded(persist);
        persist_leader_tell(persist, 0);
        if (myco_now_ms(core->env) >= persist->prune_at_ms) {
            persist->prune_at_ms = myco_now_ms(core->env) + PRUNE_MS;
            myco_chain_prune(persist->chain);
            persist_orphans_collect(persist);
        }
        merge_queue(persist);
        if (persist->dirty) persist_leader_tick(persist);
        return;
    }
    if (status != MYCO_EFULL && status != MYCO_EFENCED)
        persist_failed(persist, "the manifest can't be written, it is tried again", message);
    persist->dirty = true;
    persist->write_again_ms = myco_now_ms(core->env) + AGAIN_MS;
    if (status == MYCO_EFULL) {
        persist->grace_max_ms = persist->grace_ms / 2 + 1;
        MYCO_WARN(core->env->log, "mycel",
            "too many replaced objects wait for their deletion: they stay half as long from now on",
            "ms=%llu", (unsigned long long)persist->grace_max_ms);
        return;
    }
    if (status != MYCO_EFENCED) return;
    persist->fenced = true;
    persist->took_over = false;
    MYCO_WARN(core->env->log, "mycel", "fenced: another leader took the manifests over",
        "error=\"%s\"", message);
}

/* Replaced objects stay as long as the most careful of the policies says, within what the chain can
 * remember: when too many wait for their deletion, they wait half as long from then on. */
static void set_grace(struct core_persist *persist)
{
    uint64_t grace_ms = 0;
    for (uint32_t i = 0; i < persist->plan_count; i++)
        if (persist->plans[i].retain_ms > grace_ms) grace_ms = persist->plans[i].retain_ms;
    if (persist->grace_max_ms && grace_ms > persist->grace_max_ms) grace_ms = persist->grace_max_ms;
    if (grace_ms == persist->grace_ms || !persist->plan_count) return;
    persist->grace_ms = grace_ms;
    myco_chain_set_grace(persist->chain, grace_ms);
}

static void write_manifest(struct core_persist *persist)
{
    struct myco_core *core = persist->core;
    struct myco_manifest *manifest = &persist->manifest;
    set_grace(persist);
    drop_unused(manifest);
    myco_buf_clear(&manifest->definitions);
    myco_state_definitions(core->state, &manifest->definitions);
    manifest->cluster = core->state->cluster;
    manifest->incarnation = core->state->incarnation;
    persist->dirty = false;
    persist->writing = true;
    myco_chain_write(persist->chain, manifest, written, persist);
}

void persist_leader_tick(struct core_persist *persist)
{
    struct myco_core *core = persist->core;
    uint64_t epoch = 0, now = myco_now_ms(core->env);
    if (!core_duty_held(core, "mycel", &epoch)) {
        /* A lease that ran out for a moment does not end the reign: the chain itself is fenced. */
        const struct myco_election_record *election = myco_state_election(core->state, "mycel");
        if (persist->epoch && (!election || election->holder != core->identity.id ||
                                  election->epoch != persist->epoch))
            persist_leader_stop(persist);
        return;
    }
    if (persist->epoch && persist->epoch != epoch) persist_leader_stop(persist);
    if (!persist->epoch) {
        persist->epoch = epoch;
        persist->chain = myco_chain_new(persist->store);
    }
    if (persist->fenced || persist->taking_over || persist->writing) return;
    if (!persist->took_over) {
        if (persist->take_over_at_ms && now - persist->take_over_at_ms < AGAIN_MS) return;
        persist->taking_over = true;
        myco_chain_take_over(persist->chain, persist->epoch, taken_over, persist);
    } else if (persist->dirty && now >= persist->write_again_ms) {
        write_manifest(persist);
    }
}
