/* The bytes of the bus's three messages. Little-endian, no padding; a text is its size (u8), then
 * bytes.
 *
 *   PUBLISH (lane data)
 *   +---------+---------------+---------------+---------+-----------------+-------------------+
 *   | flags   | group count   | names of      | subject | reply           | data, to the end  |
 *   | u8      | u16           | the groups …  | text    | text, may be "" |                   |
 *   +---------+---------------+---------------+---------+-----------------+-------------------+
 *   flags: 1 plain: every matching subscription without a queue gets it. The groups are those whose
 *   one receiver is to be found at this node; a node that is only sent a message for its groups has
 *   no plain flag. The publisher is the node at the other end of the connection.
 *
 *   PUBLISH_FENCED (lane data, only to those with the feature topic_fences)
 *   +---------------+---------+--------------------------------------------------------------+
 *   | name          | epoch   | a PUBLISH, to the end                                        |
 *   | text          | u64     |                                                              |
 *   +---------------+---------+--------------------------------------------------------------+
 *   name: 1 to 79 bytes without a zero among them; epoch: not 0.
 *
 *   INTEREST (lane control)
 *   +---------+--------------+----------------------------------------------------------------+
 *   | flags   | serial       | items until the end: op u8 (1 add, 2 remove), pattern text,    |
 *   | u8      | u64          | queue text ("": plain)                                         |
 *   +---------+--------------+----------------------------------------------------------------+
 *   flags: 1 reset: forget all that you had of mine first. 2 acknowledgement: your interest up to
 * this serial is known here; no items. Adding what is there and removing what is not changes
 * nothing.
 *
 * A message that is not well-formed from its first byte to its last changes nothing either. */
#include "stream/state.h"

#include "base/assert.h"

void myco__write_short(struct myco_buf *buf, struct myco_slice text)
{
    MYCO_ASSERT(text.size <= UINT8_MAX);
    myco_buf_u8(buf, (uint8_t)text.size);
    myco_buf_bytes(buf, text.data, text.size);
}

struct myco_slice myco__read_short(struct myco_reader *reader)
{
    size_t size = myco_read_u8(reader);
    return myco_read_bytes(reader, size);
}

static bool subject_ok(struct myco_slice subject, bool wildcards)
{
    return myco_subject_check(subject, wildcards, NULL) == 0;
}

bool myco__publication_decode(struct myco_slice payload, struct myco__publication *publication)
{
    struct myco_reader reader = myco_reader(payload.data, payload.size);
    uint8_t flags = myco_read_u8(&reader);
    publication->plain = flags & MYCO__PUBLISH_PLAIN;
    publication->group_count = myco_read_u16(&reader);
    publication->groups = reader;
    for (unsigned i = 0; i < publication->group_count; i++) {
        if (!subject_ok(myco__read_short(&reader), false)) return false;
    }
    publication->subject = myco__read_short(&reader);
    publication->reply = myco__read_short(&reader);
    publication->data = myco_read_bytes(&reader, myco_read_left(&reader));
    return !reader.bad && flags <= MYCO__PUBLISH_PLAIN && subject_ok(publication->subject, false) &&
           (publication->reply.size == 0 || subject_ok(publication->reply, false));
}

void myco__fence_write(struct myco_buf *buf, const struct myco_fence *fence)
{
    myco__write_short(buf, myco_str(fence->name));
    myco_buf_u64(buf, fence->epoch);
}

bool myco__fence_decode(struct myco_slice *payload, char *name, struct myco_fence *fence)
{
    struct myco_reader reader = myco_reader(payload->data, payload->size);
    struct myco_slice text = myco__read_short(&reader);
    uint64_t epoch = myco_read_u64(&reader);
    *payload = myco_read_bytes(&reader, myco_read_left(&reader));
    if (reader.bad || !epoch || !text.size || text.size > MYCO_FENCE_NAME_SIZE_MAX ||
        memchr(text.data, 0, text.size))
        return false;
    memcpy(name, text.data, text.size);
    name[text.size] = 0;
    *fence = (struct myco_fence){name, epoch};
    return true;
}

void myco__interest_begin(struct myco_buf *buf, uint8_t flags, uint64_t serial)
{
    myco_buf_u8(buf, flags);
    myco_buf_u64(buf, serial);
}

void myco__interest_item_write(
    struct myco_buf *buf, uint8_t op, struct myco_slice pattern, struct myco_slice queue)
{
    myco_buf_u8(buf, op);
    myco__write_short(buf, pattern);
    myco__write_short(buf, queue);
}

bool myco__interest_item_read(struct myco_reader *reader, struct myco__interest_item *item)
{
    item->op = myco_read_u8(reader);
    item->pattern = myco__read_short(reader);
    item->queue = myco__read_short(reader);
    return !reader->bad && (item->op == MYCO__ITEM_ADD || item->op == MYCO__ITEM_REMOVE) &&
           subject_ok(item->pattern, true) &&
           (item->queue.size == 0 || subject_ok(item->queue, false));
}

bool myco__interest_decode(
    struct myco_slice payload, uint8_t *flags, uint64_t *serial, struct myco_reader *items)
{
    struct myco_reader reader = myco_reader(payload.data, payload.size);
    *flags = myco_read_u8(&reader);
    *serial = myco_read_u64(&reader);
    if (reader.bad || *flags > (MYCO__INTEREST_RESET | MYCO__INTEREST_ACK)) return false;
    *items = reader;
    struct myco__interest_item item;
    while (myco_read_left(&reader) > 0) {
        if ((*flags & MYCO__INTEREST_ACK) || !myco__interest_item_read(&reader, &item))
            return false;
    }
    return true;
}
