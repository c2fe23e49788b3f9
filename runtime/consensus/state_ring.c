/* The ring of gossip's keys in the replicated state: a document that the state does not look into,
 * changed by compare-and-set on its version. */
#include "base/err.h"
#include "consensus/state_internal.h"

void myco_command_ring(struct myco_buf *out, uint64_t version_before, struct myco_slice document)
{
    myco_buf_u64(out, version_before);
    myco_buf_slice(out, document);
}

static void tell(struct myco_state *state)
{
    if (state->events.on_ring) state->events.on_ring(state->events.data);
}

int myco__apply_ring(struct myco__apply *apply)
{
    struct myco_ring_record *ring = &apply->state->ring;
    uint64_t before = myco_read_u64(&apply->in);
    struct myco_slice document = myco_read_slice(&apply->in);
    if (!myco_read_done(&apply->in) || !document.size || document.size > MYCO_RING_SIZE_MAX)
        return myco__refuse(apply, MYCO_EINVAL, "malformed");
    if (before != ring->version)
        return myco__refuse(apply, MYCO_ECONFLICT, "the ring was changed by another: look again");
    myco_buf_clear(&ring->document);
    myco_buf_bytes(&ring->document, document.data, document.size);
    apply->result->value = ++ring->version;
    tell(apply->state);
    return 0;
}

void myco__state_ring_save(const struct myco_state *state, struct myco_buf *out)
{
    myco_buf_u64(out, state->ring.version);
    myco_buf_slice(out, myco_buf_as_slice(&state->ring.document));
}

void myco__state_ring_load(struct myco_state *state, struct myco_reader *in)
{
    state->ring.version = myco_read_u64(in);
    struct myco_slice document = myco_read_slice(in);
    if (document.size > MYCO_RING_SIZE_MAX) in->bad = true;
    myco_buf_clear(&state->ring.document);
    if (!in->bad && document.size)
        myco_buf_bytes(&state->ring.document, document.data, document.size);
}
