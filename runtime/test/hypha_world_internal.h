/* What the files of a world share. */
#ifndef MYCO_TEST_HYPHA_WORLD_INTERNAL_H
#define MYCO_TEST_HYPHA_WORLD_INTERNAL_H

#include "hypha_world.h"

struct link *world__link_of(struct world *world, unsigned a, unsigned b);
bool world__chance(struct world *world, unsigned percent);
int world__send(uint64_t to, bool bulk, struct myco_buf *payload, void *data);
void world__connect_later(struct world *world, unsigned a, unsigned b);
int world__journal(
    uint64_t offset, uint8_t kind, struct myco_slice bytes, uint64_t *sequence, void *data);
void world__journal_crash(struct world *world, struct node *node);
void world__journal_load(struct world *world, struct node *node);
void world__entries_drop(struct node *node, size_t from, size_t count);
void world__committed(
    uint64_t epoch, uint64_t offset, const struct myco_write *write, uint64_t time_ms, void *data);
void world__complete(uint64_t token, int status, uint64_t version, void *data);
void world__replaced(void *data);
void world__propose(enum myco_propose what, uint64_t id, uint64_t generation, void *data);
void world__register_generation(struct world *world, struct node *node);
void world__on_placement(struct world *world, struct event *event);
const struct myco_holder *world__in_sync_holder(const struct world *world, uint64_t node);
bool world__holders_remove(struct myco_holder *holders, uint8_t *count, uint64_t node);
void world__look(struct world *world);

#endif
