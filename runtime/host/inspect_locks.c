/* Looking into locks and barriers: who holds, who waits. */
#include <stdio.h>

#include "host/core_witness_internal.h"
#include "host/inspect.h"

static void pack_holder(msgpack_packer *pack, const struct myco_core *core,
    const struct myco_lock_record *lock, const struct myco_lock_entry *entry)
{
    char fence[MYCO_FENCE_NAME_SIZE_MAX + 1];
    if (entry->slot)
        snprintf(fence, sizeof fence, "lock/%s/%u", lock->name, entry->slot);
    else
        snprintf(fence, sizeof fence, "lock/%s", lock->name);
    msgpack_pack_map(pack, 3);
    myco_pack_key_str(pack, "node", witness_name(core, entry->node));
    myco_pack_key_u64(pack, "epoch", entry->epoch);
    myco_pack_key_str(pack, "fence", fence);
}

static void pack_lock(
    msgpack_packer *pack, const struct myco_core *core, const struct myco_lock_record *lock)
{
    msgpack_pack_map(pack, 5);
    myco_pack_key_str(pack, "kind", lock->kind == MYCO_LOCK_LOCK ? "lock" : "barrier");
    myco_pack_key_str(pack, "name", lock->name);
    myco_pack_key_u64(pack, "permits", lock->permits);
    myco_pack_str(pack, "holders");
    msgpack_pack_array(pack, lock->held);
    for (uint32_t i = 0; i < lock->count; i++)
        if (lock->entries[i].epoch) pack_holder(pack, core, lock, &lock->entries[i]);
    myco_pack_str(pack, "waiters");
    msgpack_pack_array(pack, lock->count - lock->held);
    for (uint32_t i = 0; i < lock->count; i++)
        if (!lock->entries[i].epoch) myco_pack_str(pack, witness_name(core, lock->entries[i].node));
}

void inspect_locks(struct myco_core *core, msgpack_packer *pack)
{
    const struct myco_locks *locks = &core->state->locks;
    msgpack_pack_array(pack, locks->count);
    for (uint32_t i = 0; i < locks->count; i++) pack_lock(pack, core, locks->list[i]);
}
