/* How far the object store is behind, and whether it is there: told to operators by metrics, one
 * warning and two events.
 *
 * A store that is away costs no memory and no disk: nothing is kept for it. Each hypha remembers up
 * to where the manifest holds it; what was written since is in its table, and in the journal as far
 * as recovery needs it. When the store is back, records that are still in memory go as records, and
 * a hypha whose records are gone goes as a whole. So the backlog is never more than the tables. */
#include "base/text.h"
#include "host/persist.h"

#define MEASURE_MS 1000

void persist_failed(struct core_persist *persist, const char *what, const char *message)
{
    struct myco_core *core = persist->core;
    MYCO_METRIC_ADD(core->env->metrics, STORE_ERRORS, 1);
    myco_text_copy(persist->failure, sizeof persist->failure, message ? message : "");
    if (persist->failing_since_ms) return;
    persist->failing_since_ms = myco_now_ms(core->env);
    MYCO_WARN(core->env->log, "mycel", what, "error=\"%s\"", persist->failure);
}

void persist_succeeded(struct core_persist *persist)
{
    struct myco_core *core = persist->core;
    uint64_t since_ms = persist->failing_since_ms;
    persist->failing_since_ms = 0;
    if (!persist->away_told) return;
    uint64_t seconds = (myco_now_ms(core->env) - since_ms) / 1000;
    persist->away_told = false;
    struct chronicle_note note = chronicle_note(MYCO_EVENT_STORE_BACK, core->name);
    chronicle_number(&note, "seconds", seconds);
    chronicle_tell(core->chronicle, &note, "the object store answers again, after %llu s",
        (unsigned long long)seconds);
}

void persist_caught_up(struct core_persist *persist, const struct persist_section *section)
{
    struct core_hypha *copy = core_hypha_find(persist->core, section->septum, section->hypha);
    if (!copy) return;
    copy->behind_bytes -=
        copy->sent_bytes < copy->behind_bytes ? copy->sent_bytes : copy->behind_bytes;
    copy->behind_since_ms =
        myco_hypha_committed(copy->hypha) > section->section.to ? copy->sent_ms : 0;
    copy->sent_bytes = 0;
}

static void tell_away(struct core_persist *persist, uint64_t bytes)
{
    struct myco_core *core = persist->core;
    struct chronicle_note note = chronicle_note(MYCO_EVENT_STORE_AWAY, core->name);
    persist->away_told = true;
    chronicle_number(&note, "behind_bytes", bytes);
    chronicle_field(&note, "reason", persist->failure);
    chronicle_tell(core->chronicle, &note,
        "the object store is away, and what is new stays on the nodes: %.140s", persist->failure);
}

void persist_measure(struct core_persist *persist)
{
    struct myco_core *core = persist->core;
    uint64_t now = myco_now_ms(core->env), bytes = 0, oldest = now + 1;
    if (now < persist->measure_at_ms) return;
    persist->measure_at_ms = now + MEASURE_MS;
    MYCO_MAP_EACH (struct core_hypha, copy, &core->hyphae) {
        uint64_t held = core_persist_offset(core, copy->septum, copy->index);
        const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
        bool durable = septum && septum->options.kind == MYCO_SEPTUM_DURABLE;
        if (!durable || held >= myco_hypha_committed(copy->hypha))
            copy->behind_bytes = copy->behind_since_ms = 0;
        if (!durable || !myco_hypha_serving(copy->hypha)) continue;
        bytes += copy->behind_bytes;
        if (copy->behind_since_ms && copy->behind_since_ms < oldest) oldest = copy->behind_since_ms;
    }
    MYCO_METRIC_SET(core->env->metrics, STORE_BEHIND_BYTES, bytes);
    MYCO_METRIC_SET(core->env->metrics, STORE_BEHIND_MS, now + 1 - oldest);
    bool away = persist->failing_since_ms && now - persist->failing_since_ms >= PERSIST_AWAY_MS;
    if (away && !persist->away_told) tell_away(persist, bytes);
}
