/* Loading: a hypha that has no copy any more comes back from the object store, before anybody is
 * served. */
#include <string.h>

#include "base/hash.h"
#include "host/persist.h"

#define AT_ONCE  4
#define AGAIN_MS 500

struct persist_load {
    struct myco_list link;
    struct core_persist *persist;
    uint64_t stream, epoch; /* of the copy; the set's epoch that this load is for */
    uint64_t septum;
    uint32_t hypha, section;
    bool busy, loaded;
    uint64_t again_ms;
};

static void step_all(struct core_persist *persist);

static struct core_hypha *copy_of(struct persist_load *load)
{
    struct core_hypha *copy = myco_map_get(&load->persist->core->hyphae, load->stream);
    return copy && copy->loading_epoch == load->epoch ? copy : NULL;
}

static void end(struct persist_load *load)
{
    struct core_persist *persist = load->persist;
    myco_list_remove(&load->link);
    myco_free(load);
    step_all(persist);
}

static void fail(struct persist_load *load, const char *what, const char *message)
{
    struct myco_core *core = load->persist->core;
    MYCO_METRIC_ADD(core->env->metrics, STORE_ERRORS, 1);
    MYCO_ERROR(core->env->log, "mycel",
        "a hypha can't be loaded from the object store, it is tried again",
        "septum=%llu hypha=%u what=%s error=\"%s\"", (unsigned long long)load->septum, load->hypha,
        what, message);
    load->again_ms = myco_now_ms(core->env) + AGAIN_MS;
    load->busy = false;
}

/* Compared with the set as it is now: when that changes meanwhile, it is said again. */
static void say_loaded(struct core_hypha *copy)
{
    struct myco_core *core = copy->core;
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    const struct myco_set *set = &septum->hyphae[copy->index].set;
    struct myco_buf body = {0};
    myco_command_set(&body, MYCO_SET_LOADED, copy->septum, copy->index, set->epoch, set->version,
        core->identity.id, core->identity.generation);
    myco_commands_submit(core->commands, MYCO_COMMAND_SETS, &body, 30000, NULL, NULL);
}

/* Durable here: say so, and the set may serve. */
static void saved(int status, void *data)
{
    struct persist_load *load = data;
    if (status == MYCO_ECANCELED) return; /* closing: it is freed by then */
    struct core_hypha *copy = copy_of(load);
    load->busy = false;
    if (!copy) {
        end(load);
        return;
    }
    if (status) {
        fail(load, "journal", myco_strerror(status));
        return;
    }
    copy->loading_epoch = 0;
    copy->loaded_epoch = load->epoch;
    say_loaded(copy);
    end(load);
}

static const struct myco_manifest_hypha *source_of(struct persist_load *load)
{
    const struct myco_manifest *source = &load->persist->source;
    for (uint32_t i = 0; i < source->hypha_count; i++)
        if (source->hyphae[i].septum == load->septum && source->hyphae[i].hypha == load->hypha)
            return &source->hyphae[i];
    return NULL;
}

/* Offsets of this incarnation start far above any that a lost one can have used, also those that no
 * manifest knows: versions never repeat. */
static uint64_t restored_offset(uint64_t incarnation, const struct myco_manifest_hypha *hypha)
{
    uint64_t to = hypha && hypha->section_count ? hypha->sections[hypha->section_count - 1].to : 0;
    uint64_t after = (to | UINT32_MAX) + 1, floor = (incarnation & 0xfffff) << 40;
    return after > floor ? after : floor;
}

static void finish(struct persist_load *load, struct core_hypha *copy)
{
    struct myco_err err = {0};
    if (myco_hypha_restore(
            copy->hypha, restored_offset(copy->core->state->incarnation, source_of(load)), &err)) {
        fail(load, "restore", err.message);
        return;
    }
    load->loaded = true;
    struct myco_buf out = {0};
    myco_hypha_save(copy->hypha, &out);
    myco_journal_snapshot(copy->core->journal, copy->stream, myco_hypha_offset(copy->hypha),
        myco_buf_as_slice(&out), saved, load);
    myco_buf_free(&out);
}

static void step(struct persist_load *load);

static void got_section(int status, const char *message, struct myco_buf *bytes, void *data)
{
    struct persist_load *load = data;
    struct core_hypha *copy = copy_of(load);
    const struct myco_manifest_hypha *hypha = source_of(load);
    struct myco_err err = {0};
    if (status == MYCO_ECANCELED) return;
    load->busy = false;
    if (!copy) {
        end(load);
        return;
    }
    if (status) {
        fail(load, "section", message);
        return;
    }
    const struct myco_section *section = &hypha->sections[load->section];
    if (bytes->size != section->size || myco_crc32c(0, bytes->data, bytes->size) != section->crc) {
        fail(load, "section", "the checksum does not match the manifest's: the object is damaged");
        return;
    }
    if (myco_hypha_import(copy->hypha, myco_buf_as_slice(bytes), &err)) {
        fail(load, "import", err.message);
        return;
    }
    load->section++;
    step(load);
}

static void step(struct persist_load *load)
{
    struct core_persist *persist = load->persist;
    struct core_hypha *copy = copy_of(load);
    if (!copy) {
        end(load);
        return;
    }
    const struct myco_manifest_hypha *hypha = source_of(load);
    load->busy = true;
    if (!hypha || load->section >= hypha->section_count) {
        finish(load, copy);
        return;
    }
    const struct myco_section *section = &hypha->sections[load->section];
    persist->store->ops->get(persist->store, persist->source.objects[section->object].key,
        section->at, section->size, got_section, load);
}

static void got_manifest(int status, const char *message, struct myco_buf *bytes, void *data)
{
    struct core_persist *persist = data;
    struct myco_core *core = persist->core;
    struct myco_err err = {0};
    if (status == MYCO_ECANCELED) return;
    persist->manifest_asked = false;
    if (!status && myco_manifest_decode(&persist->source, myco_buf_as_slice(bytes), &err) == 0) {
        persist->source_read = true;
        step_all(persist);
        return;
    }
    MYCO_ERROR(core->env->log, "mycel", "the manifest to restore from can't be read",
        "error=\"%s\"", status ? message : err.message);
}

static void step_all(struct core_persist *persist)
{
    struct myco_core *core = persist->core;
    if (!persist->source_read) {
        if (persist->manifest_asked || myco_list_empty(&persist->loads)) return;
        char key[64];
        myco_manifest_key(
            key, core->state->restored_from_epoch, core->state->restored_from_sequence);
        persist->manifest_asked = true;
        persist->store->ops->get(persist->store, key, 0, 0, got_manifest, persist);
        return;
    }
    uint64_t now = myco_now_ms(core->env);
    uint32_t busy = 0;
    MYCO_LIST_EACH (item, &persist->loads)
        busy += MYCO_CONTAINER(item, struct persist_load, link)->busy;
    for (struct myco_list *item = persist->loads.next; item != &persist->loads && busy < AT_ONCE;
         item = item->next) {
        struct persist_load *load = MYCO_CONTAINER(item, struct persist_load, link);
        if (load->busy || now < load->again_ms) continue;
        busy++;
        if (load->loaded && copy_of(load))
            finish(load, copy_of(load));
        else if (copy_of(load))
            step(load);
        else {
            end(load);
            return;
        }
    }
}

void core_persist_load(struct myco_core *core, struct core_hypha *copy)
{
    struct core_persist *persist = core->persist;
    const struct myco_septum_record *septum = myco_state_septum(core->state, copy->septum);
    uint64_t epoch = septum->hyphae[copy->index].set.epoch;
    if (!persist->store) {
        MYCO_ERROR(core->env->log, "mycel",
            "this node has no object store to restore from: start it with --store", "septum=%s",
            septum->name);
        return;
    }
    if (copy->loading_epoch == epoch) return;
    if (copy->loaded_epoch) { /* whole, whoever is named since: nobody has written anything */
        say_loaded(copy);
        return;
    }
    copy->loading_epoch = epoch;
    struct persist_load *load = myco_alloc(sizeof *load);
    *load = (struct persist_load){.persist = persist,
        .stream = copy->stream,
        .epoch = epoch,
        .septum = copy->septum,
        .hypha = copy->index};
    myco_list_append(&persist->loads, &load->link);
    step_all(persist);
}

void persist_loads_tick(struct core_persist *persist)
{
    step_all(persist);
}

void persist_loads_close(struct core_persist *persist)
{
    struct myco_list *item;
    while ((item = myco_list_pop(&persist->loads)))
        myco_free(MYCO_CONTAINER(item, struct persist_load, link));
    myco_manifest_free(&persist->source);
}
