/* What gossip has of the connections: a second way for its messages, and what becomes of them. */
#include "host/core_internal.h"

bool core_gossip_mesh(uint64_t peer, struct myco_slice bytes, void *data)
{
    struct myco_core *core = data;
    if (!core_peer_has(core, peer, MYCO_FEATURE_PUSH_PULL)) return false;
    struct myco_buf payload = {0};
    myco_buf_bytes(&payload, bytes.data, bytes.size);
    core_send(core, peer, MYCO_MESSAGE_GOSSIP, &payload);
    return true;
}

/* A connection that broke is no death: it is being dialled again, and that says more (PROTOCOL.md,
 * rule 10). The port refuses, or another node has it: the process is gone. */
void core_gossip_down(struct myco_core *core, uint64_t peer, enum myco_down_reason reason)
{
    const struct myco_member *member = myco_swim_get(core->swim, peer);
    if (!member) return;
    if (reason == MYCO_DOWN_REFUSED) {
        core->refused = peer;
        myco_swim_refused(core->swim, peer, member->generation);
        core->refused = 0;
    } else if (reason == MYCO_DOWN_DISPLACED) {
        myco_swim_displaced(core->swim, peer);
    } else if (reason != MYCO_DOWN_CLOSED) {
        myco_swim_hint(core->swim, peer);
    }
}
