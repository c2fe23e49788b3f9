/* Uploading: what primaries here committed goes into objects of the store, on the schedule of the
 * persistence policy. */
#include "host/persist.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

#define TICK_MS         50
#define OBJECT_SIZE_MAX (8u * 1024 * 1024) /* a section that is larger stands alone */
#define BACKOFF_MS      1000
#define RESEND_MS       1000
#define SOON_MS         1  /* writes that commit together share an upload */
#define SEGMENTS_FACTOR 16 /* at most so many times as many sections as the plan says */

uint64_t persist_hypha_key(uint64_t septum, uint32_t hypha)
{
    return septum << 32 | hypha;
}

/* ── messages ── */

void persist_vouch_write(struct myco_buf *out, const struct persist_vouch *vouch)
{
    myco_buf_u64(out, vouch->serial);
    myco_buf_str(out, vouch->key);
    myco_buf_u64(out, vouch->size);
    myco_buf_u32(out, vouch->count);
    for (uint32_t i = 0; i < vouch->count; i++) {
        const struct persist_section *section = &vouch->sections[i];
        myco_buf_u64(out, section->septum);
        myco_buf_u32(out, section->hypha);
        myco_buf_u8(out, section->section.snapshot);
        myco_buf_u64(out, section->section.epoch);
        myco_buf_u64(out, section->section.from);
        myco_buf_u64(out, section->section.to);
        myco_buf_u64(out, section->section.at);
        myco_buf_u64(out, section->section.size);
        myco_buf_u32(out, section->section.crc);
    }
}

bool persist_vouch_read(struct myco_reader *in, struct persist_vouch *vouch)
{
    vouch->serial = myco_read_u64(in);
    myco_read_str(in, vouch->key, sizeof vouch->key);
    vouch->size = myco_read_u64(in);
    uint32_t count = myco_read_u32(in);
    if (in->bad || count > myco_read_left(in) / 57) return false;
    vouch->sections = myco_alloc((count + 1) * sizeof *vouch->sections);
    vouch->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct persist_section *section = &vouch->sections[i];
        section->septum = myco_read_u64(in);
        section->hypha = myco_read_u32(in);
        section->section.snapshot = myco_read_u8(in);
        section->section.epoch = myco_read_u64(in);
        section->section.from = myco_read_u64(in);
        section->section.to = myco_read_u64(in);
        section->section.at = myco_read_u64(in);
        section->section.size = myco_read_u64(in);
        section->section.crc = myco_read_u32(in);
    }
    return myco_read_done(in);
}

void persist_vouch_free(struct persist_vouch *vouch)
{
    myco_free(vouch->sections);
    memset(vouch, 0, sizeof *vouch);
}

void persist_send(struct core_persist *persist, uint64_t to, struct myco_buf *payload)
{
    if (to != persist->core->identity.id) {
        core_send(persist->core, to, MYCO_MESSAGE_PERSIST, payload);
        return;
    }
    core_persist_receive(persist->core, to, myco_buf_as_slice(payload));
    myco_buf_free(payload);
}

void core_persist_changed(struct myco_core *core)
{
    if (!core->persist) return;
    core->persist->plans_stale = true;
    core->persist->dirty = true; /* definitions are in the manifest, too */
}

/* ── gathering ── */

struct gather {
    struct core_persist *persist;
    struct myco_buf bytes;
    struct persist_vouch vouch;
    bool unknown;
};

/* A whole table, when the sections are many and weigh as much: so what is written stays in
 * proportion to what is new. A primary that does not know what they weigh waits longer. */
static bool wants_snapshot(
    const struct core_hypha *copy, const struct persist_uploaded *known, uint32_t segments)
{
    if (!known || !known->to) return true;
    /* What the store holds of before a loss goes further than what is there now, or less far. */
    if (known->to < myco_hypha_set(copy->hypha)->floor) return true;
    if (known->sections < segments) return false;
    uint64_t table = myco_table_bytes(myco_hypha_table(copy->hypha));
    return known->appended >= table || known->sections >= SEGMENTS_FACTOR * segments;
}

static void note_upload(struct gather *gather, struct core_hypha *copy, uint64_t size, bool whole)
{
    uint64_t key = persist_hypha_key(copy->septum, copy->index);
    struct myco_map *map = &gather->persist->uploaded;
    struct persist_uploaded *known = myco_map_get(map, key);
    if (!known) myco_map_put(map, key, known = myco_alloc(sizeof *known));
    known->appended = whole ? 0 : known->appended + size;
    copy->fresh_bytes = copy->fresh_writes = 0;
    copy->sent_bytes = copy->behind_bytes;
    copy->sent_ms = myco_now_ms(copy->core->env) + 1;
}

static bool add_section(struct gather *gather, struct core_hypha *copy, uint32_t snapshot_segments)
{
    struct persist_uploaded *known =
        myco_map_get(&gather->persist->uploaded, persist_hypha_key(copy->septum, copy->index));
    uint64_t from = known ? known->to : 0, to = 0;
    if (myco_hypha_committed(copy->hypha) <= from) return false;
    bool snapshot = wants_snapshot(copy, known, snapshot_segments);
    size_t at = gather->bytes.size;
    int rc = myco_hypha_export(copy->hypha, snapshot ? 0 : from, snapshot, &gather->bytes, &to);
    if (rc == MYCO_ENOTFOUND && !snapshot) {
        snapshot = true;
        rc = myco_hypha_export(copy->hypha, 0, true, &gather->bytes, &to);
    }
    if (rc || gather->bytes.failed) return false;
    struct persist_vouch *vouch = &gather->vouch;
    vouch->sections = myco_realloc(vouch->sections, (vouch->count + 1) * sizeof *vouch->sections);
    struct persist_section *section = &vouch->sections[vouch->count++];
    *section = (struct persist_section){.septum = copy->septum, .hypha = copy->index};
    section->section = (struct myco_section){.snapshot = snapshot,
        .at = at,
        .size = gather->bytes.size - at,
        .crc = myco_crc32c(0, gather->bytes.data + at, gather->bytes.size - at),
        .epoch = myco_hypha_epoch(copy->hypha),
        .from = snapshot ? 0 : from,
        .to = to};
    note_upload(gather, copy, section->section.size, snapshot);
    return true;
}

static void gather_septum(struct gather *gather, struct persist_plan *plan)
{
    struct myco_core *core = gather->persist->core;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) {
        if (copy->septum != plan->septum || copy->loading_epoch || !myco_hypha_serving(copy->hypha))
            continue;
        if (gather->bytes.size >= OBJECT_SIZE_MAX) return; /* the rest at the next tick */
        add_section(gather, copy, plan->snapshot_segments);
    }
    persist_plan_done(gather->persist, plan);
}

static uint64_t leader_of(struct core_persist *persist)
{
    const struct myco_election_record *election =
        myco_state_election(persist->core->state, "mycel");
    return election ? election->holder : 0;
}

/* ── uploading ── */

static void send_vouch(struct core_persist *persist)
{
    uint64_t leader = leader_of(persist);
    struct myco_buf out = {0};
    persist->vouch_at_ms = myco_now_ms(persist->core->env);
    if (!leader) return;
    myco_buf_u8(&out, PERSIST_VOUCH);
    persist_vouch_write(&out, &persist->vouch);
    persist_send(persist, leader, &out);
}

static void uploaded(int status, const char *message, void *data)
{
    struct core_persist *persist = data;
    struct myco_core *core = persist->core;
    persist->uploading = false;
    if (status == MYCO_ECANCELED) return; /* closing */
    if (status) {
        persist_failed(persist, "an upload failed, it is tried again", message);
        persist->backoff_until_ms = myco_now_ms(core->env) + BACKOFF_MS;
        for (uint32_t i = 0; i < persist->plan_count; i++)
            persist->plans[i].due_ms = persist->backoff_until_ms;
        persist_vouch_free(&persist->vouch);
        return;
    }
    MYCO_METRIC_ADD(core->env->metrics, STORE_PUTS, 1);
    persist_succeeded(persist);
    persist->vouched = true;
    persist->vouched_since_ms = myco_now_ms(core->env);
    send_vouch(persist);
}

static void upload(struct core_persist *persist, struct gather *gather)
{
    struct myco_core *core = persist->core;
    persist->vouch = gather->vouch;
    persist->vouch.serial = ++persist->counter;
    persist->vouch.size = gather->bytes.size;
    persist->uploading = true;
    persist->vouched = false;
    snprintf(persist->vouch.key, sizeof persist->vouch.key, "d/%016llx/%llu-%llu",
        (unsigned long long)core->identity.id, (unsigned long long)core->identity.generation,
        (unsigned long long)persist->counter);
    persist->store->ops->put(persist->store, persist->vouch.key, myco_buf_as_slice(&gather->bytes),
        0, uploaded, persist);
}

static void ask_leader(struct core_persist *persist)
{
    uint64_t leader = leader_of(persist), now = myco_now_ms(persist->core->env);
    if (!leader || now - persist->ask_at_ms < 200) return;
    struct myco_buf out = {0};
    persist->ask_at_ms = now;
    myco_buf_u8(&out, PERSIST_ASK);
    persist_send(persist, leader, &out);
}

uint64_t core_persist_offset(struct myco_core *core, uint64_t septum, uint32_t hypha)
{
    struct persist_uploaded *known =
        core->persist ? myco_map_get(&core->persist->uploaded, persist_hypha_key(septum, hypha))
                      : NULL;
    return known ? known->to : 0;
}

static bool in_manifest(struct core_persist *persist)
{
    for (uint32_t i = 0; i < persist->vouch.count; i++) {
        const struct persist_section *section = &persist->vouch.sections[i];
        struct persist_uploaded *known =
            myco_map_get(&persist->uploaded, persist_hypha_key(section->septum, section->hypha));
        if (!known || known->to < section->section.to) return false;
    }
    return true;
}

static void forget_vouch(struct core_persist *persist)
{
    persist_vouch_free(&persist->vouch);
    persist->vouched = false;
}

static void settle(struct core_persist *persist)
{
    if (persist->vouched && persist->vouch.count && in_manifest(persist)) {
        for (uint32_t i = 0; i < persist->vouch.count; i++)
            persist_caught_up(persist, &persist->vouch.sections[i]);
        forget_vouch(persist);
        if (persist->held_count) persist_soon(persist);
    }
    bool idle = !persist->vouch.count;
    if (!persist->flushed || !(idle || myco_now_ms(persist->core->env) >= persist->flush_until_ms))
        return;
    void (*flushed)(void *) = persist->flushed;
    persist->flushed = NULL;
    flushed(persist->flushed_data);
}

static void upload_due(struct core_persist *persist)
{
    if (persist->uploading || persist->vouch.count || !persist->known_epoch ||
        myco_now_ms(persist->core->env) < persist->backoff_until_ms)
        return;
    struct gather gather = {.persist = persist};
    for (uint32_t i = 0; i < persist->plan_count; i++)
        if (persist->flushed || persist_plan_due(persist, &persist->plans[i]))
            gather_septum(&gather, &persist->plans[i]);
    if (gather.vouch.count)
        upload(persist, &gather);
    else
        persist_vouch_free(&gather.vouch);
    myco_buf_free(&gather.bytes);
}

static void look_soon(void *data)
{
    struct core_persist *persist = data;
    if (persist->core->joined && persist->store) upload_due(persist);
}

void persist_soon(struct core_persist *persist)
{
    if (!myco_timer_active(&persist->soon)) myco_timer_start(&persist->soon, SOON_MS, 0);
}

static void tick(void *data)
{
    struct core_persist *persist = data;
    struct myco_core *core = persist->core;
    uint64_t now = myco_now_ms(core->env);
    persist_held_check(persist);
    if (!core->joined) return;
    persist_measure(persist);
    if (persist->plans_stale) persist_plans_make(persist);
    persist_leader_tick(persist);
    persist_loads_tick(persist);
    const struct myco_election_record *election = myco_state_election(core->state, "mycel");
    if (!election || election->epoch != persist->known_epoch)
        ask_leader(persist); /* a new leader: what does it hold? */
    if (persist->vouched && now - persist->vouch_at_ms >= RESEND_MS) send_vouch(persist);
    settle(persist);
    upload_due(persist);
}

/* ── what the leader says ── */

static void take_list(struct core_persist *persist, uint64_t from, struct myco_reader *in)
{
    uint64_t epoch = myco_read_u64(in);
    const struct myco_election_record *election =
        myco_state_election(persist->core->state, "mycel");
    if (!election || election->holder != from || election->epoch != epoch) return;
    /* What an older leader said and this one does not, did not get into a manifest. */
    MYCO_MAP_EACH (struct persist_uploaded, stale, &persist->uploaded)
        stale->to = stale->sections = 0;
    for (uint32_t n = myco_read_u32(in); n > 0 && !in->bad; n--) {
        uint64_t septum = myco_read_u64(in);
        uint64_t key = persist_hypha_key(septum, myco_read_u32(in));
        struct persist_uploaded *known = myco_map_get(&persist->uploaded, key);
        if (!known) myco_map_put(&persist->uploaded, key, known = myco_alloc(sizeof *known));
        known->to = myco_read_u64(in);
        known->sections = myco_read_u32(in);
    }
    if (!in->bad) persist->known_epoch = epoch;
    settle(persist);
    persist_held_check(persist);
}

void core_persist_receive(struct myco_core *core, uint64_t from, struct myco_slice payload)
{
    struct core_persist *persist = core->persist;
    struct myco_reader in = myco_reader(payload.data, payload.size);
    uint8_t kind = myco_read_u8(&in);
    if (!persist || !persist->store || in.bad) return;
    if (kind == PERSIST_VOUCH) {
        struct persist_vouch vouch = {0};
        if (persist_vouch_read(&in, &vouch)) persist_leader_vouched(persist, from, &vouch);
        persist_vouch_free(&vouch);
    } else if (kind == PERSIST_REFUSED) {
        if (persist->vouched && myco_read_u64(&in) == persist->vouch.serial) {
            forget_vouch(persist); /* an orphan in the store; exported again from what the
                                      manifest holds */
            for (uint32_t i = 0; i < persist->plan_count; i++) persist->plans[i].due_ms = 0;
            persist->known_epoch = 0;
        }
    } else if (kind == PERSIST_UPLOADED) {
        take_list(persist, from, &in);
    } else if (kind == PERSIST_ASK) {
        /* What is not committed to the store yet, is told when it is. */
        if (!persist->dirty && !persist->writing) persist_leader_tell(persist, from);
    }
}

/* ── life ── */

struct core_persist *core_persist_new(struct myco_core *core)
{
    struct core_persist *persist = myco_alloc(sizeof *persist);
    persist->core = core;
    persist->store = core->options.store;
    persist->plans_stale = true;
    myco_list_init(&persist->loads);
    myco_list_init(&persist->held);
    myco_timer_init(&persist->tick, core->env, tick, persist);
    myco_timer_init(&persist->soon, core->env, look_soon, persist);
    if (persist->store) myco_timer_start(&persist->tick, TICK_MS, TICK_MS);
    return persist;
}

static void free_buried(void *data)
{
    struct core_persist *persist = data;
    for (uint32_t i = 0; i < persist->buried_count; i++) myco_chain_free(persist->buried[i]);
    persist->buried_count = 0;
}

void core_persist_bury(struct myco_core *core, struct myco_chain *chain)
{
    struct core_persist *persist = core->persist;
    if (!persist || persist->buried_count == sizeof persist->buried / sizeof *persist->buried)
        return; /* being freed */
    persist->buried[persist->buried_count++] = chain;
    if (persist->buried_count == 1) myco_defer(core->env, &persist->bury, free_buried, persist);
}

void core_persist_stop(struct core_persist *persist)
{
    myco_timer_stop(&persist->tick);
    myco_timer_stop(&persist->soon);
    myco_defer_cancel(&persist->bury);
    free_buried(persist);
    persist_leader_stop(persist);
    struct myco_object *store = persist->store;
    persist->store = NULL;
    if (store) store->ops->close(store);
}

void core_persist_free(struct core_persist *persist)
{
    persist_loads_close(persist);
    persist_vouch_free(&persist->vouch);
    MYCO_MAP_EACH (struct persist_uploaded, known, &persist->uploaded) myco_free(known);
    myco_map_free(&persist->uploaded);
    persist_plans_free(persist);
    persist_held_close(persist);
    myco_free(persist);
}

void core_persist_flush(struct myco_core *core, void (*done)(void *data), void *data)
{
    struct core_persist *persist = core->persist;
    uint64_t leader = leader_of(persist);
    bool reachable = leader && (leader == core->identity.id || core_is_up(core, leader));
    if (!persist->store || !core->joined || !core_hyphae_primary_count(core) || !reachable) {
        done(data);
        return;
    }
    persist->flushed = done;
    persist->flushed_data = data;
    persist->flush_until_ms = myco_now_ms(core->env) + 3000;
    persist->backoff_until_ms = 0;
    tick(persist);
}
