/* The link's own frames: the handshake, and what keeps a connection alive. */
#include <string.h>

#include "base/err.h"
#include "wire/frame.h"

#define MAGIC 0x4f43594du /* "MYCO" */

const char *myco_goodbye_text(uint8_t reason)
{
    switch (reason) {
#define X(symbol, number, text)                                                                    \
    case number: return text;
        MYCO_GOODBYES(X)
#undef X
    }
    return "unknown reason";
}

/* The header goes first, with its size filled in once the payload is there. */
static size_t begin(struct myco_buf *buf)
{
    static const uint8_t header[MYCO_FRAME_HEADER_SIZE];
    size_t at = buf->size;
    myco_buf_bytes(buf, header, sizeof header);
    return at;
}

static void end(struct myco_buf *buf, size_t at, enum myco_link_frame type)
{
    if (buf->failed) return;
    struct myco_frame frame = {
        .size = (uint32_t)(buf->size - at - MYCO_FRAME_HEADER_SIZE),
        .type = (uint8_t)type,
        .lane = MYCO_FRAME_LANE_LINK,
    };
    myco_frame_encode(buf->data + at, &frame);
}

void myco_link_put_hello(struct myco_buf *buf, const struct myco_hello *hello)
{
    size_t at = begin(buf);
    myco_buf_u32(buf, MAGIC);
    myco_buf_u8(buf, hello->version_lowest);
    myco_buf_u8(buf, hello->version_highest);
    myco_buf_u64(buf, hello->features);
    myco_buf_u64(buf, hello->cluster);
    myco_buf_u64(buf, hello->id);
    myco_buf_u64(buf, hello->generation);
    myco_buf_u64(buf, hello->session);
    myco_buf_str(buf, hello->name);
    myco_buf_addr(buf, &hello->listen);
    end(buf, at, MYCO_LINK_HELLO);
}

void myco_link_put_ready(struct myco_buf *buf, uint64_t session)
{
    size_t at = begin(buf);
    myco_buf_u64(buf, session);
    end(buf, at, MYCO_LINK_READY);
}

void myco_link_put_goodbye(struct myco_buf *buf, uint8_t reason)
{
    size_t at = begin(buf);
    myco_buf_u8(buf, reason);
    end(buf, at, MYCO_LINK_GOODBYE);
}

void myco_link_put_empty(struct myco_buf *buf, enum myco_link_frame type)
{
    end(buf, begin(buf), type);
}

/* A name goes into log lines: nothing that could make two of one. */
static bool is_clean(const char *name)
{
    for (; *name != '\0'; name++) {
        if ((unsigned char)*name < ' ' || *name == '"' || *name == 0x7f) return false;
    }
    return true;
}

int myco_link_get_hello(struct myco_hello *hello, struct myco_slice payload, struct myco_err *err)
{
    struct myco_reader reader = myco_reader(payload.data, payload.size);
    *hello = (struct myco_hello){0};
    if (myco_read_u32(&reader) != MAGIC) return myco_err(err, MYCO_EPROTO, "not a handshake");
    hello->version_lowest = myco_read_u8(&reader);
    hello->version_highest = myco_read_u8(&reader);
    hello->features = myco_read_u64(&reader);
    hello->cluster = myco_read_u64(&reader);
    hello->id = myco_read_u64(&reader);
    hello->generation = myco_read_u64(&reader);
    hello->session = myco_read_u64(&reader);
    myco_read_str(&reader, hello->name, sizeof hello->name);
    hello->listen = myco_read_addr(&reader);
    if (reader.bad || !is_clean(hello->name) || hello->id == 0 || hello->version_lowest == 0 ||
        hello->version_lowest > hello->version_highest)
        return myco_err(err, MYCO_EPROTO, "malformed handshake");
    return 0;
}

int myco_link_get_ready(uint64_t *session, struct myco_slice payload)
{
    struct myco_reader reader = myco_reader(payload.data, payload.size);
    *session = myco_read_u64(&reader);
    return reader.bad || *session == 0 ? MYCO_EPROTO : 0;
}

int myco_link_get_goodbye(uint8_t *reason, struct myco_slice payload)
{
    struct myco_reader reader = myco_reader(payload.data, payload.size);
    *reason = myco_read_u8(&reader);
    return reader.bad ? MYCO_EPROTO : 0;
}

uint8_t myco_hello_agree(const struct myco_hello *ours, const struct myco_hello *theirs)
{
    uint8_t highest = ours->version_highest < theirs->version_highest ? ours->version_highest
                                                                      : theirs->version_highest;
    uint8_t lowest = ours->version_lowest > theirs->version_lowest ? ours->version_lowest
                                                                   : theirs->version_lowest;
    return highest >= lowest ? highest : 0;
}
