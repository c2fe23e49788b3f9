/* RELAY messages as bytes. */
#include "route/relay.h"

#include "base/err.h"
#include "env/transport.h"

static bool fields_ok(const struct myco__relay *relay, uint16_t zero)
{
    bool kind = relay->kind >= MYCO__RELAY_DATA && relay->kind < MYCO__RELAY_KIND_COUNT;
    bool type = relay->kind == MYCO__RELAY_DATA || relay->type == 0;
    return kind && type && relay->from != 0 && relay->lane < MYCO_LANE_COUNT &&
           relay->hops <= MYCO__RELAY_HOPS && relay->count > 0 &&
           relay->count <= MYCO__RELAY_DESTS_MAX && zero == 0;
}

int myco__relay_decode(struct myco__relay *relay, struct myco_slice bytes)
{
    if (bytes.size < MYCO__RELAY_END_SIZE) return MYCO_EPROTO;
    const uint8_t *begin = bytes.data, *end = begin + bytes.size - MYCO__RELAY_END_SIZE;
    struct myco_reader in = myco_reader(end, MYCO__RELAY_END_SIZE);
    relay->from = myco_read_u64(&in);
    relay->kind = myco_read_u8(&in);
    relay->type = myco_read_u8(&in);
    relay->lane = myco_read_u8(&in);
    relay->hops = myco_read_u8(&in);
    relay->count = myco_read_u16(&in);
    if (!fields_ok(relay, myco_read_u16(&in))) return MYCO_EPROTO;
    size_t dests = (size_t)relay->count * MYCO__RELAY_DEST_SIZE;
    if ((size_t)(end - begin) < dests) return MYCO_EPROTO;
    relay->dests = end - dests;
    relay->payload = myco_bytes(begin, (size_t)(relay->dests - begin));
    for (uint16_t i = 0; i < relay->count; i++)
        if (myco__relay_dest(relay, i).to == 0) return MYCO_EPROTO;
    return 0;
}

struct myco__relay_dest myco__relay_dest(const struct myco__relay *relay, uint16_t index)
{
    struct myco_reader in =
        myco_reader(relay->dests + (size_t)index * MYCO__RELAY_DEST_SIZE, MYCO__RELAY_DEST_SIZE);
    struct myco__relay_dest dest = {.to = myco_read_u64(&in)};
    dest.tag = myco_read_u32(&in);
    dest.sequence = myco_read_u32(&in);
    return dest;
}

void myco__relay_put_dest(struct myco_buf *buf, const struct myco__relay_dest *dest)
{
    myco_buf_u64(buf, dest->to);
    myco_buf_u32(buf, dest->tag);
    myco_buf_u32(buf, dest->sequence);
}

void myco__relay_put_end(struct myco_buf *buf, const struct myco__relay *relay, uint16_t count)
{
    myco_buf_u64(buf, relay->from);
    myco_buf_u8(buf, relay->kind);
    myco_buf_u8(buf, relay->type);
    myco_buf_u8(buf, relay->lane);
    myco_buf_u8(buf, relay->hops);
    myco_buf_u16(buf, count);
    myco_buf_u16(buf, 0);
}

void myco__open_write(struct myco_buf *buf, const struct myco__open *open)
{
    myco_buf_u64(buf, open->mine);
    myco_buf_u64(buf, open->theirs);
    myco_buf_u64(buf, open->generation);
    myco_buf_u64(buf, open->features);
}

int myco__open_read(struct myco__open *open, struct myco_slice payload)
{
    struct myco_reader in = myco_reader(payload.data, payload.size);
    open->mine = myco_read_u64(&in);
    open->theirs = myco_read_u64(&in);
    open->generation = myco_read_u64(&in);
    open->features = myco_read_u64(&in);
    return myco_read_done(&in) && open->mine != 0 ? 0 : MYCO_EPROTO;
}
