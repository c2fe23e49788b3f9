/* The bytes of a gossip datagram. Little-endian, no padding, at most 1,347 bytes (1,400 when
 * sealed):
 *
 *    0        4     5          13        21           29
 *   +--------+-----+----------+---------+------------+----------------------------
 *   | magic  | ver | cluster  | sender  | generation | messages until the end …
 *   | "MYCG" |  1  | u64      | id u64  | u64        |
 *   +--------+-----+----------+---------+------------+----------------------------
 *
 * A message is a type byte and its fields:
 *
 *   1 PING      sequence u32, id u64, generation u64          "are you still this one?"
 *   2 PING_REQ  sequence u32, id u64, generation u64, addr    "ask that one for me"
 *   3 ACK       sequence u32, id u64, generation u64          who answered, perhaps by another
 *   4 NACK      sequence u32                                  "I asked, and hear nothing yet"
 *   5 SYNC      flags u8, digest u64                          sync.c; MEMBERs follow
 *   6 MEMBER    state u8, id u64, generation u64, incarnation u32, accusers,
 *               age_ms u32, addr, name (u8 size), meta (u16 size)
 *   7 NEWS      state u8, id u64, generation u64, incarnation u32, accusers
 *
 * accusers: u8 count (at most 4), then u64 ids: who found it silent, when it is suspected. NEWS is
 * enough for a member that the receiver knows; it keeps a death at 23 bytes.
 *
 * A datagram is looked through as a whole before any of it is believed. The same bytes travel by
 * the connections of the mesh, up to 32 KiB then; and sealed (keyring.h), where there is a key. */
#include "gossip/state.h"

#include <string.h>

static void encode_ids(struct myco_buf *buf, const uint64_t *ids, unsigned count)
{
    myco_buf_u8(buf, (uint8_t)count);
    for (unsigned i = 0; i < count; i++) myco_buf_u64(buf, ids[i]);
}

static void encode_short(struct myco_buf *buf, const struct myco__member *member, bool full)
{
    const struct myco_member *pub = &member->pub;
    const struct myco__suspicion *suspicion = member->suspicion;
    myco_buf_u8(buf, full ? MYCO__MEMBER : MYCO__NEWS);
    myco_buf_u8(buf, (uint8_t)pub->state);
    myco_buf_u64(buf, pub->id);
    myco_buf_u64(buf, pub->generation);
    myco_buf_u32(buf, pub->incarnation);
    encode_ids(
        buf, suspicion ? suspicion->accusers : NULL, suspicion ? suspicion->accuser_count : 0);
}

static uint32_t age_ms(struct myco_swim *swim, const struct myco_member *pub)
{
    uint64_t now_ms = myco_now_ms(swim->env);
    uint64_t age = now_ms > pub->changed_ms ? now_ms - pub->changed_ms : 0;
    return age > UINT32_MAX ? UINT32_MAX : (uint32_t)age;
}

bool myco__encode_member(struct myco_swim *swim, const struct myco__member *member, bool full)
{
    struct myco_buf *buf = &swim->out;
    const struct myco_member *pub = &member->pub;
    size_t before = buf->size;
    encode_short(buf, member, full);
    if (full) {
        size_t name_size = strlen(pub->name);
        myco_buf_u32(buf, age_ms(swim, pub));
        myco_buf_addr(buf, &pub->addr);
        myco_buf_u8(buf, (uint8_t)name_size);
        myco_buf_bytes(buf, pub->name, name_size);
        myco_buf_u16(buf, pub->meta_size);
        myco_buf_bytes(buf, pub->meta, pub->meta_size);
    }
    if (buf->size <= swim->out_max) return true;
    buf->size = before;
    return false;
}

void myco__encode_message(struct myco_buf *buf, const struct myco__message *message)
{
    myco_buf_u8(buf, message->type);
    if (message->type == MYCO__SYNC) {
        myco_buf_u8(buf, message->flags);
        myco_buf_u64(buf, message->digest);
        return;
    }
    myco_buf_u32(buf, message->sequence);
    if (message->type == MYCO__NACK) return;
    myco_buf_u64(buf, message->id);
    myco_buf_u64(buf, message->generation);
    if (message->type == MYCO__PING_REQ) myco_buf_addr(buf, &message->addr);
}

void myco__begin(struct myco_swim *swim)
{
    struct myco_buf *buf = &swim->out;
    myco_buf_clear(buf);
    swim->out_max = MYCO__PLAIN_SIZE_MAX;
    myco_buf_u32(buf, MYCO__SWIM_MAGIC);
    myco_buf_u8(buf, MYCO__SWIM_VERSION);
    myco_buf_u64(buf, swim->cluster);
    myco_buf_u64(buf, swim->self.pub.id);
    myco_buf_u64(buf, swim->self.pub.generation);
}

/* What was written, sealed when there is a key; false: no memory, so it is lost. */
static bool finish(struct myco_swim *swim, uint64_t key, struct myco_slice *bytes)
{
    *bytes = myco_buf_as_slice(&swim->out);
    if (swim->out.failed) {
        swim->out.failed = false;
        return false;
    }
    if (!swim->keyring || !myco_keyring_count(swim->keyring)) return true;
    const struct myco_member *self = &swim->self.pub;
    myco_buf_clear(&swim->sealed);
    if (myco_keyring_seal(swim->keyring, self->id, self->generation, key, *bytes, &swim->sealed))
        return false;
    *bytes = myco_buf_as_slice(&swim->sealed);
    return true;
}

void myco__send_back(struct myco_swim *swim, const struct myco__path *path)
{
    struct myco_slice bytes;
    if (!finish(swim, path->key, &bytes)) return;
    if (!path->mesh)
        (void)swim->env->ops->datagram_send(swim->env, &path->addr, bytes);
    else if (swim->events.mesh)
        (void)swim->events.mesh(path->mesh, bytes, swim->events.data);
}

void myco__send(struct myco_swim *swim, const struct myco_addr *to)
{
    myco__send_back(swim, &(struct myco__path){.addr = *to});
}

bool myco__send_mesh(struct myco_swim *swim, uint64_t peer)
{
    struct myco_slice bytes;
    return swim->events.mesh && finish(swim, 0, &bytes) &&
           swim->events.mesh(peer, bytes, swim->events.data);
}

void myco__send_member(struct myco_swim *swim, const struct myco__member *to)
{
    if (to->by_mesh >= MYCO__BY_MESH_MAX && myco__send_mesh(swim, to->pub.id)) return;
    myco__send(swim, &to->pub.addr);
}

bool myco__decode_header(struct myco_reader *reader, struct myco__header *header)
{
    uint32_t magic = myco_read_u32(reader);
    uint8_t version = myco_read_u8(reader);
    header->cluster = myco_read_u64(reader);
    header->id = myco_read_u64(reader);
    header->generation = myco_read_u64(reader);
    return !reader->bad && magic == MYCO__SWIM_MAGIC && version == MYCO__SWIM_VERSION &&
           header->id != 0;
}

static bool decode_addr(struct myco_reader *reader, struct myco_addr *addr)
{
    *addr = myco_read_addr(reader);
    return !reader->bad && (addr->family == 4 || addr->family == 6) && addr->port != 0;
}

/* Names are printed on terminals and into logs: no control characters. */
static bool decode_name(struct myco_reader *reader, char name[MYCO_NAME_SIZE_MAX + 1])
{
    size_t size = myco_read_u8(reader);
    if (size > MYCO_NAME_SIZE_MAX) return false;
    struct myco_slice bytes = myco_read_bytes(reader, size);
    if (reader->bad) return false;
    const uint8_t *at = bytes.data;
    for (size_t i = 0; i < size; i++) {
        if (at[i] < 0x20 || at[i] == 0x7f) return false;
        name[i] = (char)at[i];
    }
    name[size] = '\0';
    return true;
}

static bool decode_details(struct myco_reader *reader, struct myco__record *record)
{
    record->age_ms = myco_read_u32(reader);
    if (!decode_addr(reader, &record->addr) || !decode_name(reader, record->name)) return false;
    size_t meta_size = myco_read_u16(reader);
    if (meta_size > MYCO_META_SIZE_MAX) return false;
    record->meta = myco_read_bytes(reader, meta_size);
    return !reader->bad;
}

static bool decode_record(struct myco_reader *reader, struct myco__record *record, bool full)
{
    unsigned state = myco_read_u8(reader);
    if (state > MYCO_MEMBER_LEFT) return false;
    record->state = (enum myco_member_state)state;
    record->id = myco_read_u64(reader);
    record->generation = myco_read_u64(reader);
    record->incarnation = myco_read_u32(reader);
    record->accuser_count = myco_read_u8(reader);
    if (record->accuser_count > MYCO__ACCUSERS_MAX) return false;
    for (unsigned i = 0; i < record->accuser_count; i++)
        record->accusers[i] = myco_read_u64(reader);
    record->full = full;
    /* The last incarnation could never be refuted. */
    if (reader->bad || record->id == 0 || record->incarnation == UINT32_MAX) return false;
    return !full || decode_details(reader, record);
}

bool myco__decode_message(struct myco_reader *reader, struct myco__message *message)
{
    memset(message, 0, sizeof(*message));
    message->type = myco_read_u8(reader);
    switch (message->type) {
    case MYCO__MEMBER:
    case MYCO__NEWS: return decode_record(reader, &message->record, message->type == MYCO__MEMBER);
    case MYCO__SYNC:
        message->flags = myco_read_u8(reader);
        message->digest = myco_read_u64(reader);
        return !reader->bad;
    case MYCO__NACK: message->sequence = myco_read_u32(reader); return !reader->bad;
    case MYCO__PING:
    case MYCO__PING_REQ:
    case MYCO__ACK:
        message->sequence = myco_read_u32(reader);
        message->id = myco_read_u64(reader);
        message->generation = myco_read_u64(reader);
        if (message->type == MYCO__PING_REQ) return decode_addr(reader, &message->addr);
        return !reader->bad;
    default: return false;
    }
}
