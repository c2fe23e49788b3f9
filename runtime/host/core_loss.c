/* Accepting that data is lost: what is known of hyphae whose last in-sync members are gone is
 * gathered from all nodes, judged, and put before the log as one command.
 *
 *   COPIES   u8 ASK, u64 request, then for each hypha: u64 septum, u32 index
 *            u8 ANSWER, u64 request, then for each copy: u64 septum, u32 index, u64 epoch, offset,
 *            keys
 *
 * Where the log of a copy ends, (epoch, offset), says how far it goes: the longest one lost least.
 * Whether all in-sync members are gone is judged once more by the consensus leader, which knows of
 * leases (consensus/council_loss.c); and that nothing changed meanwhile, by the log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "host/inspect.h"

#define ASK_MS  100  /* between looks at who is still there to answer */
#define WAIT_MS 2000 /* for answers */

enum { ASK, ANSWER };

struct copy {
    uint64_t node, epoch, offset, keys;
};

/* One hypha, as it was when it was asked about. */
struct lost {
    struct myco_loss loss; /* node: who goes on */
    struct copy *copies;   /* the best first */
    uint32_t copy_count;
    uint64_t persisted;
    bool empty, certain, alive;
};

struct core_loss {
    struct myco_core *core;
    struct myco_list link;
    struct myco_timer timer;
    uint64_t request, septum, deadline_ms;
    struct myco_map awaited; /* node → this */
    struct lost *lost;
    uint32_t lost_count;
    unsigned flags, timeout_ms;
    char reason[MYCO_LOSS_REASON_MAX + 1];
    struct myco_buf report;
    myco_result_cb cb;
    void *data;
};

static void loss_free(struct core_loss *loss)
{
    myco_timer_stop(&loss->timer);
    myco_list_remove(&loss->link);
    myco_map_free(&loss->awaited);
    for (uint32_t i = 0; i < loss->lost_count; i++) myco_free(loss->lost[i].copies);
    myco_free(loss->lost);
    myco_buf_free(&loss->report);
    myco_free(loss);
}

static void end(struct core_loss *loss, int status, const char *message)
{
    struct myco_result result = {
        .status = status, .message = message, .value = myco_buf_as_slice(&loss->report)};
    loss->cb(&result, loss->data);
    loss_free(loss);
}

/* ── who is gone ── */

static const struct myco_member_record *heir_of_name(
    struct myco_core *core, const struct myco_member_record *old)
{
    MYCO_MAP_EACH (struct myco_member_record, member, &core->state->members) {
        const struct myco_member *seen = myco_swim_get(core->swim, member->id);
        bool alive = member->id == core->identity.id || (seen && seen->state == MYCO_MEMBER_ALIVE);
        if (alive && !member->left && member->id != old->id && strcmp(member->name, old->name) == 0)
            return member;
    }
    return NULL;
}

/* certain: it never comes back with what it had. */
static const char *state_of(struct myco_core *core, uint64_t node, bool *alive, bool *certain)
{
    const struct myco_member_record *record = myco_state_member(core->state, node);
    const struct myco_member *seen = myco_swim_get(core->swim, node);
    *alive = node == core->identity.id || (seen && seen->state <= MYCO_MEMBER_SUSPECT);
    *certain = !*alive;
    if (*alive) return "alive";
    if (!record || myco_state_removed(core->state, node)) return "removed";
    if (heir_of_name(core, record)) return "replaced";
    *certain = false;
    return record->left ? "left" : "dead";
}

static bool is_lost(struct myco_core *core, const struct myco_hypha_record *hypha)
{
    bool alive, certain;
    for (uint8_t i = 0; i < hypha->set.in_sync_count; i++) {
        state_of(core, hypha->set.in_sync[i].node, &alive, &certain);
        if (alive) return false;
    }
    return hypha->set.in_sync_count > 0 && !hypha->from_store;
}

/* ── asking ── */

static void write_copy(
    struct myco_core *core, uint64_t septum, uint32_t index, struct myco_buf *out)
{
    struct core_hypha *copy = core_hypha_find(core, septum, index);
    if (!copy || copy->loading_epoch || !myco_hypha_offset(copy->hypha)) return;
    myco_buf_u64(out, septum);
    myco_buf_u32(out, index);
    myco_buf_u64(out, myco_hypha_epoch(copy->hypha));
    myco_buf_u64(out, myco_hypha_offset(copy->hypha));
    myco_buf_u64(out, myco_table_count(myco_hypha_table(copy->hypha)));
}

static int compare(const struct copy *a, const struct copy *b)
{
    if (a->epoch != b->epoch) return a->epoch > b->epoch ? -1 : 1;
    if (a->offset != b->offset) return a->offset > b->offset ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* Sorted in; a node says each hypha once. */
static void add_copy(struct lost *lost, const struct copy *copy)
{
    for (uint32_t i = 0; i < lost->copy_count; i++)
        if (lost->copies[i].node == copy->node) return;
    lost->copies = myco_realloc(lost->copies, (lost->copy_count + 1) * sizeof *lost->copies);
    uint32_t at = lost->copy_count++;
    for (; at > 0 && compare(copy, &lost->copies[at - 1]) < 0; at--)
        lost->copies[at] = lost->copies[at - 1];
    lost->copies[at] = *copy;
}

static void read_copies(struct core_loss *loss, uint64_t node, struct myco_reader *in)
{
    while (myco_read_left(in) && !in->bad) {
        uint64_t septum = myco_read_u64(in);
        uint32_t index = myco_read_u32(in);
        struct copy copy = {.node = node, .epoch = myco_read_u64(in)};
        copy.offset = myco_read_u64(in);
        copy.keys = myco_read_u64(in);
        for (uint32_t i = 0; i < loss->lost_count && !in->bad; i++)
            if (loss->lost[i].loss.index == index && loss->septum == septum)
                add_copy(&loss->lost[i], &copy);
    }
}

static void answer(struct myco_core *core, uint64_t to, uint64_t request, struct myco_reader *in)
{
    struct myco_buf out = {0};
    myco_buf_u8(&out, ANSWER);
    myco_buf_u64(&out, request);
    for (uint32_t i = 0; myco_read_left(in) && i < MYCO_LOSSES_MAX; i++) {
        uint64_t septum = myco_read_u64(in);
        uint32_t index = myco_read_u32(in);
        if (in->bad) break;
        write_copy(core, septum, index, &out);
    }
    core_send(core, to, MYCO_MESSAGE_COPIES, &out);
}

static void judge(struct core_loss *loss);

void core_loss_receive(struct myco_core *core, uint64_t from, struct myco_slice payload)
{
    struct myco_reader in = myco_reader(payload.data, payload.size);
    uint8_t what = myco_read_u8(&in);
    uint64_t request = myco_read_u64(&in);
    if (in.bad || what > ANSWER) {
        MYCO_METRIC_ADD(core->env->metrics, FRAMES_REFUSED, 1);
        return;
    }
    if (what == ASK) {
        answer(core, from, request, &in);
        return;
    }
    MYCO_LIST_EACH (item, &core->losses) {
        struct core_loss *loss = MYCO_CONTAINER(item, struct core_loss, link);
        if (loss->request != request || !myco_map_get(&loss->awaited, from)) continue;
        read_copies(loss, from, &in);
        myco_map_del(&loss->awaited, from);
        if (loss->awaited.count == 0) judge(loss);
        return;
    }
}

static void ask(struct core_loss *loss)
{
    struct myco_core *core = loss->core;
    struct myco_buf own = {0};
    uint32_t cursor = 0;
    uint64_t peer;
    for (uint32_t i = 0; i < loss->lost_count; i++)
        write_copy(core, loss->septum, loss->lost[i].loss.index, &own);
    struct myco_reader in = myco_reader(own.data, own.size);
    read_copies(loss, core->identity.id, &in);
    myco_buf_free(&own);
    while (myco_map_next(&core->up, &cursor, &peer)) {
        if (!core_peer_has(core, peer, MYCO_FEATURE_ACCEPT_LOSS)) continue;
        struct myco_buf out = {0};
        myco_buf_u8(&out, ASK);
        myco_buf_u64(&out, loss->request);
        for (uint32_t i = 0; i < loss->lost_count; i++) {
            myco_buf_u64(&out, loss->septum);
            myco_buf_u32(&out, loss->lost[i].loss.index);
        }
        myco_map_put(&loss->awaited, peer, loss);
        core_send(core, peer, MYCO_MESSAGE_COPIES, &out);
    }
}

static void look_again(void *data)
{
    struct core_loss *loss = data;
    struct myco_core *core = loss->core;
    uint32_t cursor = 0;
    uint64_t peer;
    bool waits = false;
    while (myco_map_next(&loss->awaited, &cursor, &peer)) waits |= core_is_up(core, peer);
    if (!waits || myco_now_ms(core->env) >= loss->deadline_ms) judge(loss);
}

/* ── judging ── */

static bool may_go_on(struct myco_core *core, uint64_t node)
{
    const struct myco_member_record *record = myco_state_member(core->state, node);
    return record && !record->left && (node == core->identity.id || core_is_up(core, node));
}

static uint64_t who_goes_on(
    struct myco_core *core, const struct myco_hypha_record *hypha, const struct lost *lost)
{
    for (uint32_t i = 0; i < lost->copy_count; i++)
        if (may_go_on(core, lost->copies[i].node)) return lost->copies[i].node;
    for (uint8_t i = 0; i < hypha->target_count; i++)
        if (may_go_on(core, hypha->targets[i])) return hypha->targets[i];
    return may_go_on(core, core->identity.id) ? core->identity.id : 0;
}

/* Above all that anybody knows of: what the lost ones gave since is less than this far away. */
static uint64_t floor_above(const struct myco_hypha_record *hypha, const struct lost *lost)
{
    uint64_t known = hypha->set.floor > lost->persisted ? hypha->set.floor : lost->persisted;
    for (uint32_t i = 0; i < lost->copy_count; i++)
        if (lost->copies[i].offset > known) known = lost->copies[i].offset;
    return (known | UINT32_MAX) + 1;
}

static void judge_one(
    struct core_loss *loss, const struct myco_septum_record *septum, struct lost *lost)
{
    struct myco_core *core = loss->core;
    const struct myco_hypha_record *hypha = &septum->hyphae[lost->loss.index];
    lost->certain = true;
    lost->alive = hypha->set.in_sync_count == 0 || hypha->from_store; /* not for an operator */
    for (uint8_t i = 0; i < hypha->set.in_sync_count; i++) {
        bool alive, certain;
        state_of(core, hypha->set.in_sync[i].node, &alive, &certain);
        lost->alive |= alive;
        lost->certain &= certain;
    }
    lost->persisted = core_persist_offset(core, septum->id, lost->loss.index);
    lost->loss.epoch = hypha->set.epoch;
    lost->loss.version = hypha->set.version;
    lost->loss.node = who_goes_on(core, hypha, lost);
    lost->loss.floor = floor_above(hypha, lost);
    const struct myco_member_record *next = myco_state_member(core->state, lost->loss.node);
    lost->loss.generation = next ? next->generation : 0;
    lost->empty = lost->copy_count == 0 || lost->copies[0].node != lost->loss.node;
}

static const char *name_of(const struct myco_core *core, uint64_t node)
{
    const struct myco_member_record *record = myco_state_member(core->state, node);
    return record ? record->name : "?";
}

static void pack_lost(msgpack_packer *pack, const struct core_loss *loss,
    const struct myco_septum_record *septum, const struct lost *lost, bool accepted)
{
    struct myco_core *core = loss->core;
    const struct myco_set *set = &septum->hyphae[lost->loss.index].set;
    msgpack_pack_map(pack, 10);
    myco_pack_key_str(pack, "septum", septum->name);
    myco_pack_key_u64(pack, "hypha", lost->loss.index);
    myco_pack_key_u64(pack, "epoch", lost->loss.epoch);
    myco_pack_str(pack, "in_sync");
    msgpack_pack_array(pack, set->in_sync_count);
    for (uint8_t i = 0; i < set->in_sync_count; i++) {
        bool alive, certain;
        msgpack_pack_map(pack, 2);
        myco_pack_key_str(pack, "node", name_of(core, set->in_sync[i].node));
        myco_pack_key_str(pack, "state", state_of(core, set->in_sync[i].node, &alive, &certain));
    }
    myco_pack_str(pack, "copies");
    msgpack_pack_array(pack, lost->copy_count);
    for (uint32_t i = 0; i < lost->copy_count; i++) {
        msgpack_pack_map(pack, 4);
        myco_pack_key_str(pack, "node", name_of(core, lost->copies[i].node));
        myco_pack_key_u64(pack, "epoch", lost->copies[i].epoch);
        myco_pack_key_u64(pack, "offset", lost->copies[i].offset);
        myco_pack_key_u64(pack, "keys", lost->copies[i].keys);
    }
    myco_pack_key_str(pack, "goes_on", lost->loss.node ? name_of(core, lost->loss.node) : "");
    myco_pack_key_bool(pack, "empty", lost->empty);
    myco_pack_key_u64(pack, "persisted", lost->persisted);
    myco_pack_key_bool(pack, "certain", lost->certain);
    myco_pack_key_bool(pack, "accepted", accepted);
}

static void write_report(
    struct core_loss *loss, const struct myco_septum_record *septum, bool accepted)
{
    msgpack_packer pack;
    myco_buf_free(&loss->report);
    myco_pack_init(&pack, &loss->report);
    msgpack_pack_array(&pack, loss->lost_count);
    for (uint32_t i = 0; i < loss->lost_count; i++)
        pack_lost(&pack, loss, septum, &loss->lost[i], accepted);
}

/* 0, or why it can't be accepted. */
static int objection(const struct core_loss *loss, const struct myco_septum_record *septum,
    char *message, size_t size)
{
    for (uint32_t i = 0; i < loss->lost_count; i++) {
        const struct lost *lost = &loss->lost[i];
        unsigned index = lost->loss.index;
        if (lost->alive) {
            snprintf(message, size,
                "hypha %u of %s is not lost: an in-sync member is alive, or it "
                "has none to wait for",
                index, septum->name);
            return MYCO_EBUSY;
        }
        if (!lost->certain && !(loss->flags & MYCO_LOSS_AWAY)) {
            snprintf(message, size,
                "the last in-sync members of hypha %u of %s are away and may come back with all "
                "that they had: start them, `pulse remove` them, or say that they are lost (--yes)",
                index, septum->name);
            return MYCO_EBUSY;
        }
        if (!lost->loss.node) {
            snprintf(message, size, "no node to go on with hypha %u of %s", index, septum->name);
            return MYCO_EUNAVAILABLE;
        }
    }
    return 0;
}

static void on_logged(const struct myco_result *result, void *data)
{
    struct core_loss *loss = data;
    const char *message = result->message;
    if (result->status == MYCO_ECONFLICT)
        message = "a hypha changed meanwhile, and goes on as it is: look again";
    end(loss, result->status, message);
}

static void submit(struct core_loss *loss)
{
    struct myco_buf body = {0};
    myco_command_loss(&body, loss->septum, loss->reason);
    for (uint32_t i = 0; i < loss->lost_count; i++)
        myco_command_loss_of(&body, &loss->lost[i].loss);
    myco_core_submit(
        loss->core, MYCO_COMMAND_ACCEPT_LOSS, &body, loss->timeout_ms, on_logged, loss);
}

static void judge(struct core_loss *loss)
{
    const struct myco_septum_record *septum = myco_state_septum(loss->core->state, loss->septum);
    char message[320];
    myco_timer_stop(&loss->timer);
    loss->request = 0; /* answers come too late */
    for (uint32_t i = 0; i < loss->lost_count; i++) judge_one(loss, septum, &loss->lost[i]);
    bool only_looks = loss->flags & MYCO_LOSS_LOOK;
    int status = only_looks ? 0 : objection(loss, septum, message, sizeof message);
    bool goes = status == 0 && !only_looks && loss->lost_count > 0;
    write_report(loss, septum, goes);
    if (goes)
        submit(loss);
    else
        end(loss, status, status ? message : "");
}

/* ── beginning ── */

static void choose(struct core_loss *loss, const struct myco_septum_record *septum,
    const uint32_t *hyphae, size_t count)
{
    size_t most = hyphae ? count : septum->options.hyphae;
    loss->lost = myco_alloc((most ? most : 1) * sizeof *loss->lost);
    for (size_t i = 0; i < most && loss->lost_count < MYCO_LOSSES_MAX; i++) {
        uint32_t index = hyphae ? hyphae[i] : (uint32_t)i;
        if (!hyphae && !is_lost(loss->core, &septum->hyphae[index])) continue;
        loss->lost[loss->lost_count++] = (struct lost){.loss = {.index = index}};
    }
}

static void refuse(int status, const char *message, myco_result_cb cb, void *data)
{
    struct myco_result result = {.status = status, .message = message};
    cb(&result, data);
}

void myco_core_accept_loss(struct myco_core *core, const char *name, const uint32_t *hyphae,
    size_t count, unsigned flags, const char *reason, unsigned timeout_ms, myco_result_cb cb,
    void *data)
{
    char message[160];
    const struct myco_septum_record *septum = myco_state_septum_named(core->state, name);
    if (!septum) {
        snprintf(message, sizeof message, "there is no septum '%.64s'", name);
        refuse(MYCO_ENOTFOUND, message, cb, data);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (hyphae[i] < septum->options.hyphae) continue;
        snprintf(message, sizeof message, "%.64s has no hypha %u: they are 0 to %u", name,
            hyphae[i], septum->options.hyphae - 1);
        refuse(MYCO_ENOTFOUND, message, cb, data);
        return;
    }
    struct core_loss *loss = myco_alloc(sizeof *loss);
    loss->core = core;
    loss->septum = septum->id;
    loss->request = ++core->next_loss;
    loss->flags = flags;
    loss->timeout_ms = timeout_ms;
    loss->deadline_ms = myco_now_ms(core->env) + WAIT_MS;
    loss->cb = cb;
    loss->data = data;
    myco_text_copy(loss->reason, sizeof loss->reason, reason ? reason : "");
    myco_list_append(&core->losses, &loss->link);
    myco_timer_init(&loss->timer, core->env, look_again, loss);
    choose(loss, septum, hyphae, count);
    ask(loss);
    myco_timer_start(&loss->timer, loss->awaited.count ? ASK_MS : 0, ASK_MS);
}

/* Those that were submitted were ended by the commands before. */
void core_loss_close(struct myco_core *core)
{
    while (!myco_list_empty(&core->losses))
        end(MYCO_CONTAINER(core->losses.next, struct core_loss, link), MYCO_ECLOSED,
            "the node closes");
}
