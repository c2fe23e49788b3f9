/* What the two files of the small world share: its events, and its disks. */
#ifndef MYCO_TEST_LOG_CLUSTER_INTERNAL_H
#define MYCO_TEST_LOG_CLUSTER_INTERNAL_H

#include "log_cluster.h"

enum event_kind { DELIVER, WRITE, PUT, GET, DEL };
struct event {
    uint64_t at_ns, order;
    enum event_kind kind;
    size_t server; /* where it happens */
    unsigned life;
    uint64_t from;
    struct blob *blob;
    char path[128];
    uint64_t offset;
    struct myco_buf bytes;
    struct myco_slice lent;
    bool sync, tail;
    int flags;
    myco_disk_cb cb;
    myco_disk_read_cb read_cb;
    void *data;
};

void world_push(struct world *world, struct event event); /* at event.at_ns */

extern const struct myco_disk_ops world_disk_ops;
void world_disk_happens(struct world *world, struct event *event); /* it is done */
/* The server died while this was under way: all, a part or nothing of it reached the disk. */
void world_disk_lost(struct world *world, struct event *event);
void world_disk_wipe(struct server_disk *disk);

#endif
