/* The policy's plans: when a septum is due for the object store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "consensus/policy_docs.h"
#include "host/persist.h"

#define EVERY_MS          5000
#define SNAPSHOT_SEGMENTS 16
#define RETAIN_MS         600000
#define ZONES             "/usr/share/zoneinfo/"

/* ── time zones ── read once for each plan; a node without the file goes by UTC, and says so */

static struct myco_zone *read_zone(const char *name, struct myco_err *err)
{
    char path[sizeof ZONES + MYCO_CRON_ZONE_MAX];
    snprintf(path, sizeof path, ZONES "%s", name);
    FILE *file = fopen(path, "rb");
    struct myco_buf bytes = {0};
    struct myco_zone *zone = NULL;
    if (!file) {
        myco_err(err, MYCO_ENOTFOUND, "there is no %s", path);
        return NULL;
    }
    if (myco_buf_reserve(&bytes, MYCO_ZONE_SIZE_MAX + 1)) {
        bytes.size = fread(bytes.data, 1, MYCO_ZONE_SIZE_MAX + 1, file);
        zone = myco_zone_parse(myco_buf_as_slice(&bytes), err);
    }
    fclose(file);
    myco_buf_free(&bytes);
    return zone;
}

static void plan_cron(struct core_persist *persist, struct persist_plan *plan,
    const msgpack_object *line, const char *septum)
{
    char text[128] = "";
    struct myco_err err = {0};
    if (!line || line->type != MSGPACK_OBJECT_STR || line->via.str.size >= sizeof text) return;
    memcpy(text, line->via.str.ptr, line->via.str.size);
    int rc = myco_cron_parse(&plan->cron, text, &err);
    if (rc == 0) plan->has_cron = true;
    if (rc == 0 && plan->cron.zone[0]) plan->zone = read_zone(plan->cron.zone, &err);
    if (err.message[0])
        MYCO_WARN(persist->core->env->log, "policy",
            plan->has_cron ? "the time zone can't be read: the schedule goes by UTC"
                           : "the schedule can't be read",
            "septum=%s error=\"%s\"", septum, err.message);
}

/* ── asking ── */

static void read_answer(struct core_persist *persist, struct persist_plan *plan,
    const msgpack_object *answer, const char *septum)
{
    uint64_t number;
    plan_cron(persist, plan, myco_doc_get(answer, "cron"), septum);
    if (myco_doc_u64(myco_doc_get(answer, "bytes"), &number)) plan->bytes = number;
    if (myco_doc_u64(myco_doc_get(answer, "writes"), &number)) plan->writes = number;
    if (myco_doc_u64(myco_doc_get(answer, "every_ms"), &number))
        plan->every_ms = number < 50 ? 50 : number;
    else if (plan->bytes || plan->writes || plan->has_cron)
        plan->every_ms = 0;
    if (myco_doc_u64(myco_doc_get(answer, "retain_ms"), &number)) plan->retain_ms = number;
    if (myco_doc_u64(myco_doc_get(answer, "snapshot_segments"), &number) && number)
        plan->snapshot_segments = (uint32_t)(number > 1000 ? 1000 : number);
}

static void ask_policy(struct core_persist *persist, const struct myco_septum_record *septum,
    struct persist_plan *plan)
{
    struct myco_policy_port *policy = &persist->core->options.policy;
    struct myco_buf world = {0}, answer = {0};
    struct myco_err err = {0};
    msgpack_packer pack;
    msgpack_unpacked doc;
    *plan = (struct persist_plan){.septum = septum->id,
        .object = septum->options.object,
        .every_ms = EVERY_MS,
        .retain_ms = RETAIN_MS,
        .snapshot_segments = SNAPSHOT_SEGMENTS};
    if (!policy->ask) return;
    myco_pack_init(&pack, &world);
    msgpack_pack_map(&pack, 4);
    myco_pack_key_str(&pack, "septum", septum->name);
    myco_pack_key_str(
        &pack, "kind", septum->options.kind == MYCO_SEPTUM_DURABLE ? "durable" : "cache");
    myco_pack_key_str(&pack, "level", myco_septum_level_name(&septum->options));
    myco_pack_key_u64(&pack, "hyphae", septum->options.hyphae);
    msgpack_unpacked_init(&doc);
    if (policy->ask(
            MYCO_POLICY_PERSISTENCE, myco_buf_as_slice(&world), &answer, &err, policy->data) == 0 &&
        msgpack_unpack_next(&doc, (const char *)answer.data, answer.size, NULL) ==
            MSGPACK_UNPACK_SUCCESS)
        read_answer(persist, plan, &doc.data, septum->name);
    else
        MYCO_WARN(persist->core->env->log, "policy",
            "the persistence policy gave no answer, the built-in rule decides",
            "septum=%s reason=\"%s\"", septum->name, err.message);
    msgpack_unpacked_destroy(&doc);
    myco_buf_free(&world);
    myco_buf_free(&answer);
}

/* ── when ── */

static uint64_t wall_ms(const struct core_persist *persist)
{
    struct myco_env *env = persist->core->env;
    return env->ops->wall_ms(env);
}

void persist_plan_done(struct core_persist *persist, struct persist_plan *plan)
{
    plan->due_ms = plan->every_ms ? myco_now_ms(persist->core->env) + plan->every_ms : UINT64_MAX;
    plan->cron_ms = plan->has_cron ? myco_cron_next(&plan->cron, plan->zone, wall_ms(persist)) : 0;
}

/* What is new in the hyphae that are primary here. */
static bool enough_is_new(struct core_persist *persist, const struct persist_plan *plan)
{
    uint64_t bytes = 0, writes = 0;
    if (!plan->bytes && !plan->writes) return false;
    MYCO_MAP_EACH (struct core_hypha, copy, &persist->core->hyphae) {
        if (copy->septum != plan->septum || !myco_hypha_serving(copy->hypha)) continue;
        bytes += copy->fresh_bytes;
        writes += copy->fresh_writes;
    }
    return (plan->bytes && bytes >= plan->bytes) || (plan->writes && writes >= plan->writes);
}

bool persist_plan_due(struct core_persist *persist, const struct persist_plan *plan)
{
    if (myco_now_ms(persist->core->env) >= plan->due_ms) return true;
    if (plan->object && persist->held_count) return true;
    if (plan->cron_ms && wall_ms(persist) >= plan->cron_ms) return true;
    return enough_is_new(persist, plan);
}

/* ── life ── */

void persist_plans_free(struct core_persist *persist)
{
    for (uint32_t i = 0; i < persist->plan_count; i++) myco_zone_free(persist->plans[i].zone);
    myco_free(persist->plans);
    persist->plans = NULL;
    persist->plan_count = 0;
}

void persist_plans_make(struct core_persist *persist)
{
    const struct myco_state *state = persist->core->state;
    persist_plans_free(persist);
    persist->plans_stale = false;
    persist->plans = myco_alloc((state->septum_count + 1) * sizeof *persist->plans);
    for (uint32_t i = 0; i < state->septum_count; i++) {
        if (state->septa[i]->options.kind != MYCO_SEPTUM_DURABLE) continue;
        struct persist_plan *plan = &persist->plans[persist->plan_count++];
        ask_policy(persist, state->septa[i], plan);
        persist_plan_done(persist, plan);
    }
}
