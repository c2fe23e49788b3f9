/* The replicated log on a real disk and a real loop: one voter that commits, closes and comes back.
 * Would catch: a use of env/disk.h that only the fake one forgives (order of callbacks, memory that
 * is borrowed, files that are open when they are deleted). */
#include <stdio.h>
#include <uv.h>

#include "consensus/log.h"
#include "env/uv_disk.h"
#include "env/uv_env.h"
#include "tap.h"

#define COMMANDS 3000

struct node {
    uv_loop_t loop;
    struct myco_metrics metrics;
    struct myco_uv_env *env;
    struct myco_disk *disk;
    struct myco_rlog *log;
    uint64_t applied, sum;
    int failed;
    bool established;
};

static void on_send(uint64_t to, bool bulk, struct myco_buf *payload, void *data)
{
    (void)to, (void)bulk, (void)data;
    myco_buf_free(payload);
}

static void on_apply(uint64_t index, uint64_t term, struct myco_slice command, void *data)
{
    struct node *node = data;
    (void)index, (void)term;
    uint32_t number = 0;
    memcpy(&number, command.data, sizeof number);
    node->applied++;
    node->sum += number;
}

static void on_snapshot(struct myco_buf *out, void *data)
{
    struct node *node = data;
    myco_buf_u64(out, node->applied);
    myco_buf_u64(out, node->sum);
}

static int on_restore(uint64_t index, struct myco_slice bytes, struct myco_err *err, void *data)
{
    struct node *node = data;
    struct myco_reader reader = myco_reader(bytes.data, bytes.size);
    (void)index, (void)err;
    node->applied = myco_read_u64(&reader);
    node->sum = myco_read_u64(&reader);
    return 0;
}

static void on_changed(void *data)
{
    (void)data;
}

static void on_established(uint64_t term, void *data)
{
    struct node *node = data;
    (void)term;
    node->established = true;
}

static void on_failed(int status, const char *message, void *data)
{
    struct node *node = data;
    note("failed: %s", message);
    node->failed = status;
}

static bool open_node(struct node *node, const char *folder)
{
    struct myco_err err = {0};
    struct myco_rlog_events events = {.send = on_send,
        .apply = on_apply,
        .snapshot = on_snapshot,
        .restore = on_restore,
        .changed = on_changed,
        .established = on_established,
        .failed = on_failed,
        .data = node};
    *node = (struct node){0};
    uv_loop_init(&node->loop);
    if (myco_uv_env_open(&node->env, &node->loop, NULL, NULL, NULL, &node->metrics, &err) != 0)
        bail_out("env: %s", err.message);
    if (myco_uv_disk_open(&node->loop, folder, &node->disk, &err) != 0)
        bail_out("disk: %s", err.message);
    struct myco_rlog_options options = {.env = myco_uv_env(node->env),
        .disk = node->disk,
        .folder = "consensus",
        .self = 42,
        .snapshot_threshold = 500};
    int status = myco_rlog_open(&options, &events, &node->log, &err);
    return is_int(status, 0, "the log opens %s", err.message);
}

static void close_node(struct node *node)
{
    myco_rlog_close(node->log);
    myco_uv_disk_close(node->disk, NULL, NULL);
    myco_uv_env_close(node->env, NULL, NULL);
    while (uv_run(&node->loop, UV_RUN_DEFAULT) != 0) continue;
    is_int(uv_loop_close(&node->loop), 0, "no handle is left");
}

static void run_until(struct node *node, uint64_t applied)
{
    while ((node->applied < applied || !node->established) && node->failed == 0)
        uv_run(&node->loop, UV_RUN_ONCE);
}

int main(void)
{
    static struct node node;
    char folder[] = "/tmp/test_log_uv.XXXXXX", command[64];
    struct myco_err err = {0};
    if (mkdtemp(folder) == NULL) bail_out("no folder");
    if (!open_node(&node, folder)) return plan_done();
    struct myco_log_server self = {.id = 42, .role = MYCO_ROLE_VOTER};
    is_int(myco_rlog_bootstrap(node.log, &self, 1, &err), 0, "one voter");
    run_until(&node, 0);
    uint64_t sum = 0, began_ns = uv_hrtime();
    for (uint32_t i = 0; i < COMMANDS;) {
        int status = myco_rlog_submit(node.log, myco_bytes(&i, sizeof i));
        if (status == 0)
            sum += i++;
        else if (status == MYCO_EFULL)
            uv_run(&node.loop, UV_RUN_ONCE);
        else
            bail_out("submit: %s", myco_errname(status));
    }
    run_until(&node, COMMANDS);
    note("%d commands in %.0f ms", COMMANDS, (double)(uv_hrtime() - began_ns) / 1e6);
    is_int(node.applied, COMMANDS, "all are applied");
    is_int(node.sum, (long long)sum, "… each once");
    for (int i = 0; i < 5; i++) (void)myco_rlog_submit(node.log, myco_bytes(&i, sizeof i));
    uv_run(&node.loop, UV_RUN_NOWAIT); /* a write is under way when it is closed */
    close_node(&node);

    if (open_node(&node, folder)) run_until(&node, COMMANDS);
    ok(node.applied >= COMMANDS && node.sum >= sum, "it comes back with all of it");
    is_int(node.failed, 0, "nothing failed");
    close_node(&node);
    snprintf(command, sizeof command, "rm -r %s", folder);
    ok(system(command) == 0, "the folder is removed");
    return plan_done();
}
