/* Which cluster this node is of, and that it stays of one: two clusters can bear the same name,
 * born apart and found by each other later. Each has an id, drawn at its birth (the INIT command),
 * that its members say in gossip. A node sticks to one id, its home:
 *
 *   what its log says                    for ever
 *   else the first that it hears of      kept in the file `cluster`, so that a node that was
 * stopped between joining and hearing the log does not join another after its own list was pledged
 * and   none yet: the log is about to say it formed
 *
 * A member that says another id is not taken in, not dialled, and not listened to; the first of
 * each foreign cluster is warned of. Who says none is fresh: both clusters may take it in, and the
 * one that it does not choose drops it when it says so. */
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "consensus/policy_docs.h"
#include "host/core_internal.h"

#define MAGIC       0x31454d4f484d594eull /* "NYMHOME1" */
#define FORMING_MAX 8                     /* entries of a log before the cluster is born, at most */
#define NODES_MAX   4096                  /* foreign nodes that are remembered */

struct foreign_node {
    uint64_t cluster, generation;
};

/* ── The file ── u64 magic, cluster; u8 agreed; u32 crc */

static void save(struct myco_core *core)
{
    struct myco_disk *disk = core->options.disk;
    struct myco_buf out = {0};
    myco_buf_u64(&out, MAGIC);
    myco_buf_u64(&out, core->home.id);
    myco_buf_u8(&out, core->home.agreed);
    myco_buf_u32(&out, myco_crc32c(0, out.data, out.size));
    int rc = disk->ops->put_now(disk, "cluster", myco_buf_as_slice(&out));
    myco_buf_free(&out);
    if (rc)
        MYCO_WARN(core->env->log, "nodosum", "the file cluster in the data folder can't be written",
            "error=%s", myco_strerror(rc));
}

/* A damaged one is as none: it only spares a wrong choice. */
static bool load(struct myco_core *core, uint64_t *id, bool *agreed)
{
    struct myco_file *file;
    uint8_t bytes[21];
    size_t got = 0;
    if (core->options.disk->ops->open(core->options.disk, "cluster", 0, &file, NULL)) return false;
    int rc = core->options.disk->ops->read(file, 0, bytes, sizeof bytes, &got);
    core->options.disk->ops->close(file);
    struct myco_reader in = myco_reader(bytes, got);
    uint64_t magic = myco_read_u64(&in);
    *id = myco_read_u64(&in);
    *agreed = myco_read_u8(&in);
    uint32_t crc = myco_read_u32(&in);
    return rc == 0 && !in.bad && magic == MAGIC && crc == myco_crc32c(0, bytes, 17);
}

static bool has_pledge(struct myco_core *core)
{
    struct myco_file *file;
    if (core->options.disk->ops->open(core->options.disk, "pledge", 0, &file, NULL)) return false;
    core->options.disk->ops->close(file);
    return true;
}

void core_home_open(struct myco_core *core)
{
    uint64_t id = 0;
    bool agreed = false;
    bool known = load(core, &id, &agreed);
    /* The version before wrote no file: its node, with a log past a birth, is of a born cluster. It
     * may have left the group, and would never hear from its log of which. */
    bool older = !known && myco_rlog_last_index(core->log) > FORMING_MAX;
    core->home.formed = !myco_rlog_empty(core->log) && has_pledge(core) && !older;
    if (core->state->cluster || myco_rlog_empty(core->log)) return;
    if (!known || (core->home.formed && !agreed)) return;
    core->home.id = id;
    core->home.agreed = agreed;
}

void core_home_close(struct myco_core *core)
{
    MYCO_MAP_EACH (struct foreign_node, node, &core->home.nodes) myco_free(node);
    myco_map_free(&core->home.nodes);
}

/* ── The choice ── */

static bool may_choose(struct myco_core *core)
{
    return !core->state->cluster && !core->home.formed;
}

/* Nobody of it is there, and it does not know this node either: another may be chosen. */
static bool is_deserted(struct myco_core *core)
{
    uint32_t cursor = 0;
    const struct myco_member *member;
    struct myco_node_meta meta;
    if (!may_choose(core) || !myco_rlog_empty(core->log) || core->join_sent) return false;
    while ((member = myco_swim_next(core->swim, &cursor))) {
        if (member->state <= MYCO_MEMBER_SUSPECT && myco_node_meta_read(member, &meta) &&
            meta.cluster == core->home.id)
            return false;
    }
    return true;
}

static void choose(struct myco_core *core, uint64_t id)
{
    core->home.id = id;
    core->home.agreed = false;
    MYCO_INFO(core->env->log, "nodosum", "this node belongs to a cluster", "cluster_id=%016llx",
        (unsigned long long)id);
    save(core);
    core->home.sift_due = true;
    core_refresh_soon(core);
}

void core_home_formed(struct myco_core *core)
{
    core->home.formed = true;
    core->home.id = core->state->cluster;
    core_refresh_soon(core);
}

bool core_home_follows(const struct myco_core *core, uint64_t cluster)
{
    return !cluster || cluster == core->home.id;
}

/* ── Foreigners ── */

static void warn(struct myco_core *core, const struct myco_member *word, uint64_t cluster)
{
    struct core_home *home = &core->home;
    char addr[MYCO_ADDR_TEXT_MAX];
    for (unsigned i = 0; i < home->cluster_count; i++)
        if (home->clusters[i].id == cluster) return;
    if (home->cluster_count == CORE_FOREIGN_MAX) return;
    struct core_foreign *foreign = &home->clusters[home->cluster_count++];
    foreign->id = cluster;
    foreign->node = word->id;
    foreign->addr = word->addr;
    myco_text_copy(foreign->name, sizeof foreign->name, word->name);
    MYCO_WARN(core->env->log, "nodosum",
        "another cluster bears the same name; its members are kept out: give one of the two a name "
        "of its own (--cluster), or stop its nodes and start them with empty data folders, and "
        "they "
        "join this one",
        "name=%s own_id=%016llx other_id=%016llx node=%s addr=%s", core->cluster,
        (unsigned long long)home->id, (unsigned long long)cluster, word->name,
        myco_addr_text(&word->addr, addr));
}

static void note(struct myco_core *core, const struct myco_member *word, uint64_t cluster)
{
    struct myco_map *nodes = &core->home.nodes;
    struct foreign_node *node = myco_map_get(nodes, word->id);
    warn(core, word, cluster);
    MYCO_METRIC_ADD(core->env->metrics, FOREIGN_REFUSED, 1);
    if (!node && nodes->count < NODES_MAX)
        myco_map_put(nodes, word->id, node = myco_alloc(sizeof *node));
    if (!node) return;
    node->cluster = cluster;
    node->generation = word->generation;
}

/* What was said before it chose its cluster still goes round: that is refused, too. */
static bool is_old_word(const struct foreign_node *node, const struct myco_member *word)
{
    return node && node->generation >= word->generation;
}

bool core_home_admits(const struct myco_member *word, void *data)
{
    struct myco_core *core = data;
    struct core_home *home = &core->home;
    struct myco_node_meta meta;
    struct foreign_node *node = myco_map_get(&home->nodes, word->id);
    if (!myco_node_meta_read(word, &meta)) return !node;
    if (!meta.cluster) return !is_old_word(node, word);
    bool live = word->state <= MYCO_MEMBER_SUSPECT;
    if (meta.cluster != home->id && live && may_choose(core) && (!home->id || is_deserted(core)))
        choose(core, meta.cluster);
    if (home->id && meta.cluster != home->id) {
        note(core, word, meta.cluster);
        return false;
    }
    if (node) myco_free(myco_map_del(&home->nodes, word->id));
    return true;
}

bool core_home_refuses(const struct myco_core *core, uint64_t node)
{
    return core->home.nodes.count && myco_map_get(&core->home.nodes, node);
}

/* Those that were taken in before this node knew where it belongs. */
static void sift(struct myco_core *core)
{
    uint32_t cursor = 0;
    const struct myco_member *member;
    while ((member = myco_swim_next(core->swim, &cursor))) {
        struct myco_node_meta meta;
        if (!myco_node_meta_read(member, &meta) || core_home_follows(core, meta.cluster)) continue;
        note(core, member, meta.cluster);
        myco_swim_drop(core->swim, member->id);
        cursor = 0;
    }
}

void core_home_refresh(struct myco_core *core)
{
    struct core_home *home = &core->home;
    if (core->state->cluster && (core->state->cluster != home->id || !home->agreed)) {
        home->id = core->state->cluster;
        home->agreed = true;
        home->sift_due = true;
        save(core);
    }
    if (!home->sift_due || !home->id) return;
    home->sift_due = false;
    sift(core);
}

/* ── Addresses, and looking in ── */

void myco_core_join(struct myco_core *core, const struct myco_addr *addr)
{
    myco_swim_join(core->swim, addr);
}

void myco_core_joins(struct myco_core *core, const struct myco_addr *addrs, unsigned count)
{
    core->candidate_count = count < MYCO_JOINS_MAX ? count : MYCO_JOINS_MAX;
    if (count) memcpy(core->candidates, addrs, core->candidate_count * sizeof *addrs);
    myco_swim_set_joins(core->swim, core->candidates, core->candidate_count);
}

void core_pack_discovery(struct myco_core *core, msgpack_packer *pack)
{
    char addr[MYCO_ADDR_TEXT_MAX];
    msgpack_pack_map(pack, 5);
    myco_pack_str(pack, "name_hash");
    myco_pack_id(pack, core->identity.cluster);
    myco_pack_key_u64(pack, "alive", myco_swim_count(core->swim, MYCO_MEMBER_ALIVE));
    myco_pack_str(pack, "cluster_id");
    myco_pack_id(pack, core->home.id);
    myco_pack_str(pack, "candidates");
    msgpack_pack_array(pack, core->candidate_count);
    for (unsigned i = 0; i < core->candidate_count; i++)
        myco_pack_str(pack, myco_addr_text(&core->candidates[i], addr));
    myco_pack_str(pack, "foreign");
    msgpack_pack_array(pack, core->home.cluster_count);
    for (unsigned i = 0; i < core->home.cluster_count; i++) {
        const struct core_foreign *foreign = &core->home.clusters[i];
        msgpack_pack_map(pack, 4);
        myco_pack_str(pack, "cluster_id");
        myco_pack_id(pack, foreign->id);
        myco_pack_key_str(pack, "name", foreign->name);
        myco_pack_key_str(pack, "addr", myco_addr_text(&foreign->addr, addr));
        myco_pack_str(pack, "id");
        myco_pack_id(pack, foreign->node);
    }
}
