/* `mycorrizal recover`: the data folder of a stopped survivor is changed so that it is a group of
 * its own. It is the operator's word that the others are lost: each is named, each is tried to be
 * reached, and all are barred from coming back. What only they had is lost. */
#include "host/recover.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/err.h"
#include "base/mem.h"
#include "env/uv_disk.h"
#include "env/uv_env.h"
#include "host/core.h"

#define LOST_MAX   32
#define REACH_MS   500
#define EXIT_USAGE 2

struct recover {
    const char *data, *lost[LOST_MAX];
    size_t lost_count;
    bool dry_run;
    uv_loop_t loop;
    struct myco_log log;
    struct myco_metrics metrics;
    struct myco_uv_env *env;
    struct myco_disk *disk;
    struct myco_identity identity;
    struct myco_state *state;
    struct myco_rlog *rlog;
    struct myco_rlog_recovery recovery;
    uint64_t lost_ids[LOST_MAX];
    bool failed; /* a command that this version does not know */
};

static void print_usage(FILE *file)
{
    fputs("usage: mycorrizal recover --data DIR [--lost NAME,…] [--dry-run]\n\n"
          "For a cluster whose majority of voters is lost for good. Stop what is left; run this "
          "with\n"
          "--dry-run on each survivor's data folder, and recover the one with the highest last "
          "term,\n"
          "and of those the highest last index. Then start it, and start all others with empty\n"
          "folders: they join as new nodes. Entries of the log that only the lost had are lost.\n\n"
          "  --data DIR     of the survivor, whose node is stopped\n"
          "  --lost NAME,…  every other voter, by name: it is barred from coming back\n"
          "  --dry-run      say what is there and what would be done\n",
        file);
}

/* ── the state from the log ── */

static void apply(uint64_t index, uint64_t term, struct myco_slice command, void *data)
{
    struct recover *recover = data;
    struct myco_command_result result;
    (void)index, (void)term;
    if (myco_state_apply(recover->state, command, &result)) recover->failed = true;
}

static int restore(uint64_t index, struct myco_slice bytes, struct myco_err *err, void *data)
{
    struct recover *recover = data;
    (void)index;
    return myco_state_load(recover->state, bytes, err);
}

static void snapshot(struct myco_buf *out, void *data)
{
    struct recover *recover = data;
    myco_state_save(recover->state, out);
}

static int load(struct recover *recover, struct myco_err *err)
{
    static const struct myco_state_events none = {0};
    struct myco_rlog_events events = {
        .apply = apply, .restore = restore, .snapshot = snapshot, .data = recover};
    int rc = myco_uv_disk_open(&recover->loop, recover->data, &recover->disk, err);
    if (rc == 0) rc = myco_uv_disk_lock(recover->disk, err);
    if (rc == 0) rc = myco_identity_read(recover->disk, &recover->identity, err);
    if (rc) return rc;
    if (!recover->identity.id)
        return myco_err(err, MYCO_ENOTFOUND, "there is no node in it: is it the right folder?");
    recover->state = myco_state_new(&none);
    struct myco_rlog_options options = {.env = myco_uv_env(recover->env),
        .disk = recover->disk,
        .folder = "consensus",
        .self = recover->identity.id};
    rc = myco_rlog_recover_open(&options, &events, &recover->rlog, &recover->recovery, err);
    if (rc == 0 && recover->failed)
        return myco_err(err, MYCO_EVERSION,
            "its log holds what this version does not know: use the node's own version");
    return rc;
}

/* ── are the others lost? ── */

static const char *name_of(const struct recover *recover, uint64_t id)
{
    const struct myco_member_record *member = myco_state_member(recover->state, id);
    return member ? member->name : "?";
}

static bool answers(const struct myco_addr *addr)
{
    struct sockaddr_storage address;
    socklen_t size = (socklen_t)myco_addr_to_sockaddr(addr, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    int rc = connect(fd, (struct sockaddr *)&address, size);
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    if (rc && errno == EINPROGRESS && poll(&poll_fd, 1, REACH_MS) == 1) {
        int error = 0;
        socklen_t length = sizeof error;
        rc = getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) || error ? -1 : 0;
    }
    close(fd);
    return rc == 0;
}

static bool is_named(struct recover *recover, uint64_t id)
{
    for (size_t i = 0; i < recover->lost_count; i++)
        if (strcmp(recover->lost[i], name_of(recover, id)) == 0) return true;
    return false;
}

/* Of the last configuration: this one must vote, and every other voter must be named and silent. */
static int judge(struct recover *recover, size_t *lost_count, struct myco_err *err)
{
    bool votes = false;
    *lost_count = 0;
    for (size_t i = 0; i < recover->recovery.server_count; i++) {
        const struct myco_log_server *server = &recover->recovery.servers[i];
        const struct myco_member_record *member = myco_state_member(recover->state, server->id);
        const char *name = name_of(recover, server->id);
        if (server->id == recover->identity.id) {
            votes = server->role == MYCO_ROLE_VOTER;
            continue;
        }
        bool named = is_named(recover, server->id);
        if (server->role == MYCO_ROLE_VOTER && !named && !recover->dry_run)
            return myco_err(err, MYCO_EINVAL,
                "the voter '%s' is not named by --lost: if it lives, start it, and nothing has to "
                "be recovered",
                name);
        if (member && answers(&member->addr))
            return myco_err(err, MYCO_EBUSY,
                "'%s' answers at its address: stop it, or leave the cluster as it is", name);
        if (*lost_count < LOST_MAX) recover->lost_ids[(*lost_count)++] = server->id;
    }
    if (!votes)
        return myco_err(err, MYCO_EINVAL,
            "this node was no voter: its log may lack what was agreed on; recover a voter");
    return 0;
}

static void print_survivor(const struct recover *recover)
{
    const struct myco_rlog_recovery *found = &recover->recovery;
    printf("node            %s (%016llx)\n", name_of(recover, recover->identity.id),
        (unsigned long long)recover->identity.id);
    printf("cluster         %s, incarnation %llu\n", recover->state->cluster_name,
        (unsigned long long)recover->state->incarnation);
    printf("last log entry  term %llu index %llu\n", (unsigned long long)found->last_term,
        (unsigned long long)found->last_index);
    for (size_t i = 0; i < found->server_count; i++)
        printf("%-15s %s (%016llx)\n", myco_role_name(found->servers[i].role),
            name_of(recover, found->servers[i].id), (unsigned long long)found->servers[i].id);
}

/* Copies of durable hyphae whose in-sync members are all among the lost. */
static void print_lost_hyphae(const struct recover *recover, size_t lost_count, bool next_step)
{

    for (uint32_t s = 0; s < recover->state->septum_count; s++) {
        const struct myco_septum_record *septum = recover->state->septa[s];
        uint32_t lost = 0;
        for (uint32_t h = 0; h < septum->options.hyphae; h++) {
            const struct myco_set *set = &septum->hyphae[h].set;
            unsigned gone = 0;
            for (unsigned i = 0; i < set->in_sync_count; i++)
                for (size_t l = 0; l < lost_count; l++)
                    gone += set->in_sync[i].node == recover->lost_ids[l];
            lost += set->in_sync_count > 0 && gone == set->in_sync_count;
        }
        if (lost && next_step)
            printf(
                "then  pulse hypha accept-loss %s --all-lost --dry-run   (%u hyphae wait for the "
                "lost nodes; without --dry-run they go on)\n",
                septum->name, lost);
        else if (lost)
            printf("lost with them  %u of the %u hyphae of %s had no copy in sync elsewhere\n",
                lost, septum->options.hyphae, septum->name);
    }
}

static int recover_it(struct recover *recover, struct myco_err *err)
{
    size_t lost_count = 0;
    int rc = load(recover, err);
    if (rc) return rc;
    print_survivor(recover);
    rc = judge(recover, &lost_count, err);
    if (rc) return rc;
    print_lost_hyphae(recover, lost_count, false);
    if (recover->dry_run) {
        printf("nothing was changed (--dry-run)\n");
        return 0;
    }
    myco_state_recover(recover->state, recover->lost_ids, lost_count);
    rc = myco_rlog_recover(recover->rlog, &recover->recovery, err);
    if (rc == 0) printf("recovered: start this node; start all others with empty data folders\n");
    if (rc == 0 && !myco_state_feature(recover->state, MYCO_FEATURE_REMOVAL))
        printf("the cluster's version can't bar the lost nodes: delete their data folders\n");
    if (rc == 0) print_lost_hyphae(recover, lost_count, true);
    return rc;
}

/* ── the command ── */

static int parse(struct recover *recover, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--dry-run") == 0) {
            recover->dry_run = true;
        } else if (strcmp(argv[i], "--data") == 0 && more) {
            recover->data = argv[++i];
        } else if (strcmp(argv[i], "--lost") == 0 && more) {
            char *rest = argv[++i], *name;
            while ((name = strtok_r(rest, ",", &rest)) && recover->lost_count < LOST_MAX)
                recover->lost[recover->lost_count++] = name;
        } else {
            fprintf(stderr, "mycorrizal: recover: %s: unknown, or a value is missing\n", argv[i]);
            return EXIT_USAGE;
        }
    }
    if (recover->data) return 0;
    fputs("mycorrizal: recover: --data is missing\n", stderr);
    return EXIT_USAGE;
}

static void close_all(struct recover *recover)
{
    if (recover->rlog) myco_rlog_close(recover->rlog);
    myco_state_free(recover->state);
    if (recover->disk) myco_uv_disk_close(recover->disk, NULL, NULL);
    if (recover->env) myco_uv_env_close(recover->env, NULL, NULL);
    uv_run(&recover->loop, UV_RUN_DEFAULT);
    uv_loop_close(&recover->loop);
}

int myco_recover_main(int argc, char **argv)
{
    struct myco_err err = {0};
    struct myco_addr any, bound;
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        print_usage(stdout);
        return 0;
    }
    struct recover *recover = myco_alloc(sizeof *recover);
    int rc = parse(recover, argc, argv);
    if (rc) {
        myco_free(recover);
        return rc;
    }
    uv_loop_init(&recover->loop);
    myco_addr_parse(&any, "127.0.0.1:0", NULL);
    rc = access(recover->data, R_OK | W_OK | X_OK)
             ? myco_err(&err, MYCO_ENOTFOUND, "%s", strerror(errno))
             : 0;
    if (rc == 0)
        rc = myco_uv_env_open(
            &recover->env, &recover->loop, &any, &bound, &recover->log, &recover->metrics, &err);
    if (rc == 0) rc = recover_it(recover, &err);
    if (rc) fprintf(stderr, "mycorrizal: recover %s: %s\n", recover->data, err.message);
    close_all(recover);
    myco_free(recover);
    return rc ? 1 : 0;
}
