/* How a cluster is born once. */
#include "consensus/bootstrap.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#define EXPECT_MAX 64
#define TICK_MS    50
/* Of the first configuration, which all that pledged write alike: the first of the sorted list
 * vote, those that are not in it tail the log. */
#define VOTERS_MAX   5
#define STANDBYS_MAX 2
#define SETTLE_MS                                                                                  \
    200 /* the fresh nodes must have been the same for so long before a list is proposed */
#define ATTEMPT_MS 2000 /* a proposal that is not complete by then is withdrawn */

/* The last two: as PROPOSE and FORM, of a list that is longer than the first configuration.
 * Versions that would write all of it there do not know them, and no cluster forms with such among
 * them. */
enum { PROPOSE = 1, OK, NO, RELEASE, FORM, PROPOSE_LONG, FORM_LONG };

/* What lies in the file `pledge`: u64 nonce, proposer; u8 formed; u32 count, ids; u32 crc. */
struct pledge {
    uint64_t nonce, proposer;
    bool formed;
    uint32_t count;
    uint64_t ids[EXPECT_MAX];
};

struct myco_bootstrap {
    struct myco_bootstrap_options options;
    struct myco_timer timer;
    struct pledge pledge; /* nonce 0: none */
    uint64_t pledged;     /* bit i: ids[i] said OK (as proposer) */
    uint64_t since_ms, seen_hash;
};

/* After the first four fields: u8 what, u8 size, bytes, to the end. What is not known is passed
 * over, so that another version may say more; older ones read only the four. */
enum { META_ADMIN = 1, META_VERSION };

static void write_extra(struct myco_buf *out, uint8_t what, struct myco_slice bytes)
{
    if (bytes.size == 0 || bytes.size > MYCO_ADMIN_MAX) return;
    myco_buf_u8(out, what);
    myco_buf_u8(out, (uint8_t)bytes.size);
    myco_buf_bytes(out, bytes.data, bytes.size);
}

void myco_node_meta_write(const struct myco_node_meta *meta, struct myco_buf *out)
{
    myco_buf_u8(out, (uint8_t)(meta->fresh | meta->leads << 1 | meta->slow << 2));
    myco_buf_u32(out, meta->expect);
    myco_buf_u64(out, meta->term);
    myco_buf_u64(out, meta->cluster);
    write_extra(out, META_ADMIN, meta->admin);
    write_extra(out, META_VERSION, meta->version);
}

bool myco_node_meta_read(const struct myco_member *member, struct myco_node_meta *meta)
{
    struct myco_reader in = myco_reader(member->meta, member->meta_size);
    uint8_t flags = myco_read_u8(&in);
    *meta = (struct myco_node_meta){.fresh = flags & 1,
        .leads = flags >> 1 & 1,
        .slow = flags >> 2 & 1,
        .expect = myco_read_u32(&in)};
    meta->term = myco_read_u64(&in);
    meta->cluster = myco_read_u64(&in);
    bool ok = !in.bad;
    while (myco_read_left(&in)) {
        uint8_t what = myco_read_u8(&in), size = myco_read_u8(&in);
        struct myco_slice bytes = myco_read_bytes(&in, size);
        if (in.bad) break;
        if (what == META_ADMIN && size <= MYCO_ADMIN_MAX) meta->admin = bytes;
        if (what == META_VERSION && size <= MYCO_ADMIN_MAX) meta->version = bytes;
    }
    return ok;
}

static void write_list(struct myco_buf *out, const struct pledge *pledge)
{
    myco_buf_u32(out, pledge->count);
    for (uint32_t i = 0; i < pledge->count; i++) myco_buf_u64(out, pledge->ids[i]);
}

static bool read_list(struct myco_reader *in, struct pledge *pledge)
{
    pledge->count = myco_read_u32(in);
    if (pledge->count == 0 || pledge->count > EXPECT_MAX) return false;
    for (uint32_t i = 0; i < pledge->count; i++) pledge->ids[i] = myco_read_u64(in);
    return !in->bad;
}

static int save(struct myco_bootstrap *bootstrap)
{
    struct myco_disk *disk = bootstrap->options.disk;
    if (!bootstrap->pledge.nonce) return disk->ops->remove(disk, "pledge");
    struct myco_buf out = {0};
    myco_buf_u64(&out, bootstrap->pledge.nonce);
    myco_buf_u64(&out, bootstrap->pledge.proposer);
    myco_buf_u8(&out, bootstrap->pledge.formed);
    write_list(&out, &bootstrap->pledge);
    myco_buf_u32(&out, myco_crc32c(0, out.data, out.size));
    int rc = disk->ops->put_now(disk, "pledge", myco_buf_as_slice(&out));
    myco_buf_free(&out);
    if (rc)
        MYCO_ERROR(bootstrap->options.env->log, "nodosum", "the pledge can't be written",
            "error=%s", myco_strerror(rc));
    return rc;
}

static int load(struct myco_bootstrap *bootstrap, struct myco_err *err)
{
    struct myco_disk *disk = bootstrap->options.disk;
    struct myco_file *file;
    int rc = disk->ops->open(disk, "pledge", 0, &file, err);
    if (rc == MYCO_ENOTFOUND) return 0;
    if (rc) return myco_err_wrap(err, "open pledge");
    uint8_t bytes[8 + 8 + 1 + 4 + 8 * EXPECT_MAX + 4];
    size_t got = 0;
    rc = disk->ops->read(file, 0, bytes, sizeof bytes, &got);
    disk->ops->close(file);
    if (rc) return myco_err(err, rc, "read pledge: %s", myco_strerror(rc));
    struct pledge *pledge = &bootstrap->pledge;
    struct myco_reader in = myco_reader(bytes, got);
    pledge->nonce = myco_read_u64(&in);
    pledge->proposer = myco_read_u64(&in);
    pledge->formed = myco_read_u8(&in);
    bool ok = read_list(&in, pledge);
    uint32_t crc = ok ? myco_crc32c(0, bytes, (size_t)(in.at - bytes)) : 0;
    if (!ok || myco_read_u32(&in) != crc || in.bad)
        return myco_err(err, MYCO_ECORRUPT,
            "the file pledge in the data folder is damaged: this node never was part of a cluster, "
            "so delete its data folder");
    return 0;
}

static bool is_long(const struct pledge *list)
{
    return list->count > VOTERS_MAX + STANDBYS_MAX;
}

static void send(struct myco_bootstrap *bootstrap, uint64_t to, uint8_t what, uint64_t nonce,
    const struct pledge *list)
{
    struct myco_buf out = {0};
    myco_buf_u8(&out, what);
    myco_buf_u64(&out, nonce);
    if (list) write_list(&out, list);
    bootstrap->options.send(to, &out, bootstrap->options.data);
}

static int form(struct myco_bootstrap *bootstrap)
{
    struct pledge *pledge = &bootstrap->pledge;
    struct myco_log_server servers[EXPECT_MAX];
    struct myco_err err = {0};
    uint32_t count =
        pledge->count < VOTERS_MAX + STANDBYS_MAX ? pledge->count : VOTERS_MAX + STANDBYS_MAX;
    for (uint32_t i = 0; i < count; i++)
        servers[i] = (struct myco_log_server){
            pledge->ids[i], i < VOTERS_MAX ? MYCO_ROLE_VOTER : MYCO_ROLE_STANDBY};
    int rc = myco_rlog_bootstrap(bootstrap->options.log, servers, count, &err);
    if (rc) {
        MYCO_ERROR(bootstrap->options.env->log, "nodosum",
            "the first configuration can't be written", "error=\"%s\"", err.message);
        return rc;
    }
    pledge->formed = true;
    save(bootstrap);
    MYCO_INFO(bootstrap->options.env->log, "nodosum", "the cluster is formed", "voters=%u", count);
    bootstrap->options.formed(bootstrap->options.data);
    return 0;
}

static void withdraw(struct myco_bootstrap *bootstrap)
{
    struct pledge was = bootstrap->pledge;
    memset(&bootstrap->pledge, 0, sizeof bootstrap->pledge);
    if (save(bootstrap)) {
        bootstrap->pledge = was; /* not on disk: the list still stands */
        return;
    }
    for (uint32_t i = 0; i < was.count; i++)
        if (was.ids[i] != bootstrap->options.self)
            send(bootstrap, was.ids[i], RELEASE, was.nonce, NULL);
    bootstrap->since_ms = myco_now_ms(bootstrap->options.env);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

/* The fresh nodes that expect as many, sorted, this one among them; 0 when somebody is in a cluster
 * already. */
static uint32_t fresh_nodes(struct myco_bootstrap *bootstrap, uint64_t *ids)
{
    uint32_t count = 1, cursor = 0;
    ids[0] = bootstrap->options.self;
    const struct myco_member *member;
    while ((member = myco_swim_next(bootstrap->options.swim, &cursor))) {
        struct myco_node_meta meta;
        if (member->state != MYCO_MEMBER_ALIVE || !myco_node_meta_read(member, &meta)) continue;
        if (!meta.fresh) return 0;
        if (meta.expect == bootstrap->options.expect && count < EXPECT_MAX)
            ids[count++] = member->id;
    }
    qsort(ids, count, sizeof *ids, by_value);
    return count;
}

static void propose(struct myco_bootstrap *bootstrap, const uint64_t *ids, uint32_t count)
{
    struct pledge *pledge = &bootstrap->pledge;
    memset(pledge, 0, sizeof *pledge);
    while (!pledge->nonce) pledge->nonce = myco_random_u64(bootstrap->options.env);
    pledge->proposer = bootstrap->options.self;
    pledge->count = count;
    memcpy(pledge->ids, ids, count * sizeof *ids);
    bootstrap->pledged = 0;
    bootstrap->since_ms = myco_now_ms(bootstrap->options.env);
    if (save(bootstrap)) memset(pledge, 0, sizeof *pledge);
}

/* As proposer: ask those that have not answered, count this node's own pledge, form when all
 * have. */
static void drive(struct myco_bootstrap *bootstrap)
{
    struct pledge *pledge = &bootstrap->pledge;
    uint64_t all = pledge->count == 64 ? UINT64_MAX : (UINT64_C(1) << pledge->count) - 1;
    for (uint32_t i = 0; i < pledge->count; i++) {
        if (pledge->ids[i] == bootstrap->options.self)
            bootstrap->pledged |= UINT64_C(1) << i;
        else if (!(bootstrap->pledged >> i & 1))
            send(bootstrap, pledge->ids[i], is_long(pledge) ? PROPOSE_LONG : PROPOSE, pledge->nonce,
                pledge);
    }
    if (bootstrap->pledged == all)
        form(bootstrap);
    else if (myco_now_ms(bootstrap->options.env) - bootstrap->since_ms > ATTEMPT_MS)
        withdraw(bootstrap);
}

/* A formed node tells those of its list that are still fresh: they may have missed it. */
static void remind(struct myco_bootstrap *bootstrap)
{
    for (uint32_t i = 0; i < bootstrap->pledge.count; i++) {
        const struct myco_member *member =
            myco_swim_get(bootstrap->options.swim, bootstrap->pledge.ids[i]);
        struct myco_node_meta meta;
        if (member && member->state == MYCO_MEMBER_ALIVE && myco_node_meta_read(member, &meta) &&
            meta.fresh)
            send(bootstrap, member->id, is_long(&bootstrap->pledge) ? FORM_LONG : FORM,
                bootstrap->pledge.nonce, &bootstrap->pledge);
    }
}

static void tick(void *data)
{
    struct myco_bootstrap *bootstrap = data;
    struct pledge *pledge = &bootstrap->pledge;
    if (pledge->nonce && pledge->formed) {
        if (myco_rlog_empty(bootstrap->options.log))
            form(bootstrap); /* stopped between the two */
        else
            remind(bootstrap);
        return;
    }
    if (!myco_rlog_empty(bootstrap->options.log) || !bootstrap->options.expect) return;
    if (pledge->nonce) {
        if (pledge->proposer == bootstrap->options.self)
            drive(bootstrap);
        else /* says what became of the list, should its word have been lost */
            send(bootstrap, pledge->proposer, OK, pledge->nonce, NULL);
        return;
    }
    uint64_t ids[EXPECT_MAX], now = myco_now_ms(bootstrap->options.env);
    uint32_t count = fresh_nodes(bootstrap, ids);
    uint64_t hash = myco_hash(ids, count * sizeof *ids);
    if (hash != bootstrap->seen_hash) {
        bootstrap->seen_hash = hash;
        bootstrap->since_ms = now;
    }
    bool alone = bootstrap->options.expect == 1;
    if (count < bootstrap->options.expect || ids[0] != bootstrap->options.self) return;
    if (!alone && now - bootstrap->since_ms < SETTLE_MS) return;
    propose(bootstrap, ids, bootstrap->options.expect);
    if (pledge->nonce) drive(bootstrap);
}

static void answer_propose(struct myco_bootstrap *bootstrap, uint64_t from, uint64_t nonce,
    bool long_list, struct myco_reader *in)
{
    struct pledge *pledge = &bootstrap->pledge, asked = {.nonce = nonce, .proposer = from};
    if (!read_list(in, &asked)) return;
    bool listed = false;
    if (is_long(&asked) != long_list) return;
    for (uint32_t i = 0; i < asked.count; i++) listed |= asked.ids[i] == bootstrap->options.self;
    bool fresh =
        myco_rlog_empty(bootstrap->options.log) && bootstrap->options.expect == asked.count;
    if (listed && fresh && !pledge->nonce) {
        *pledge = asked;
        if (save(bootstrap)) {
            memset(pledge, 0, sizeof *pledge);
            return;
        }
    }
    bool ok = listed && fresh && pledge->nonce == nonce && pledge->proposer == from;
    send(bootstrap, from, ok ? OK : NO, nonce, NULL);
}

static void take_form(
    struct myco_bootstrap *bootstrap, uint64_t nonce, bool long_list, struct myco_reader *in)
{
    struct pledge list = {0};
    if (!read_list(in, &list) || !myco_rlog_empty(bootstrap->options.log)) return;
    if (is_long(&list) != long_list) return;
    if (bootstrap->pledge.nonce != nonce) return; /* never pledged to this list */
    form(bootstrap);
}

void myco_bootstrap_receive(
    struct myco_bootstrap *bootstrap, uint64_t from, struct myco_slice payload)
{
    struct myco_reader in = myco_reader(payload.data, payload.size);
    struct pledge *pledge = &bootstrap->pledge;
    uint8_t what = myco_read_u8(&in);
    uint64_t nonce = myco_read_u64(&in);
    if (in.bad || !nonce) return;
    bool mine =
        pledge->nonce == nonce && pledge->proposer == bootstrap->options.self && !pledge->formed;
    if (what == PROPOSE || what == PROPOSE_LONG) {
        answer_propose(bootstrap, from, nonce, what == PROPOSE_LONG, &in);
    } else if (what == FORM || what == FORM_LONG) {
        take_form(bootstrap, nonce, what == FORM_LONG, &in);
    } else if (what == OK && mine) {
        for (uint32_t i = 0; i < pledge->count; i++)
            if (pledge->ids[i] == from) bootstrap->pledged |= UINT64_C(1) << i;
        drive(bootstrap);
    } else if (what == OK && pledge->nonce != nonce) { /* given up: this node never formed it */
        send(bootstrap, from, RELEASE, nonce, NULL);
    } else if (what == NO && mine) {
        withdraw(bootstrap);
    } else if (what == RELEASE && pledge->nonce == nonce && pledge->proposer == from &&
               !pledge->formed) {
        memset(pledge, 0, sizeof *pledge);
        save(bootstrap);
    }
}

int myco_bootstrap_new(const struct myco_bootstrap_options *options,
    struct myco_bootstrap **bootstrap_out, struct myco_err *err)
{
    struct myco_bootstrap *bootstrap = myco_alloc(sizeof *bootstrap);
    bootstrap->options = *options;
    bootstrap->since_ms = myco_now_ms(options->env);
    int rc = load(bootstrap, err);
    if (rc == 0 && options->expect > EXPECT_MAX)
        rc = myco_err(err, MYCO_EINVAL, "expect is %u: at most %d", options->expect, EXPECT_MAX);
    if (rc) {
        myco_free(bootstrap);
        return rc;
    }
    if (bootstrap->pledge.nonce && !bootstrap->pledge.formed &&
        !myco_rlog_empty(options->log)) { /* stopped in between */
        bootstrap->pledge.formed = true;
        save(bootstrap);
    }
    /* A list of our own that was not formed before we stopped is withdrawn: it may have been given
     * up by others. */
    if (bootstrap->pledge.nonce && bootstrap->pledge.proposer == options->self &&
        !bootstrap->pledge.formed && myco_rlog_empty(options->log))
        withdraw(bootstrap);
    myco_timer_init(&bootstrap->timer, options->env, tick, bootstrap);
    myco_timer_start(&bootstrap->timer, options->expect == 1 ? 0 : TICK_MS, TICK_MS);
    *bootstrap_out = bootstrap;
    return 0;
}

void myco_bootstrap_free(struct myco_bootstrap *bootstrap)
{
    if (!bootstrap) return;
    myco_timer_stop(&bootstrap->timer);
    myco_free(bootstrap);
}
