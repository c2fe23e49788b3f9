/* Frames on a connection, and their reassembly into messages. */
#include "wire/frame.h"

#include <string.h>

#include "base/err.h"

/* ── One frame ──────────────────────────────────────────────────────────────────────────────── */

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

void myco_frame_encode(uint8_t header[MYCO_FRAME_HEADER_SIZE], const struct myco_frame *frame)
{
    put_u32(header, frame->size);
    header[4] = frame->version;
    header[5] = frame->type;
    header[6] = frame->lane;
    header[7] = 0;
    put_u32(header + 8, frame->rest);
    put_u32(header + 12, 0);
}

static int check_limits(const struct myco_frame *frame, struct myco_err *err)
{
    uint64_t whole = (uint64_t)frame->size + frame->rest;
    if (frame->size > MYCO_FRAME_PIECE_MAX)
        return myco_err(err, MYCO_ETOOBIG, "frame of %u bytes", frame->size);
    if (whole > MYCO_FRAME_MESSAGE_MAX)
        return myco_err(err, MYCO_ETOOBIG, "message of %llu bytes", (unsigned long long)whole);
    if (frame->lane == MYCO_FRAME_LANE_LINK && whole > MYCO_FRAME_LINK_MAX)
        return myco_err(err, MYCO_ETOOBIG, "link frame of %llu bytes", (unsigned long long)whole);
    return 0;
}

/* The commonest mistake has a name. */
static int not_a_frame(const uint8_t *header, struct myco_err *err)
{
    bool tls = header[0] == 0x16 && header[1] == 0x03; /* a handshake's record */
    return myco_err(err, MYCO_EPROTO, tls ? "it speaks TLS, this node does not" : "not a frame");
}

int myco_frame_decode(
    struct myco_frame *frame, const uint8_t header[MYCO_FRAME_HEADER_SIZE], struct myco_err *err)
{
    *frame = (struct myco_frame){
        .size = get_u32(header),
        .version = header[4],
        .type = header[5],
        .lane = header[6],
        .rest = get_u32(header + 8),
    };
    if (frame->lane > MYCO_FRAME_LANE_LINK || frame->type == 0 || header[7] != 0 ||
        get_u32(header + 12) != 0)
        return not_a_frame(header, err);
    if (frame->size == 0 && frame->rest != 0) /* else empty pieces could go on for ever */
        return myco_err(err, MYCO_EPROTO, "empty piece of a message");
    return check_limits(frame, err);
}

/* ── Reassembly ─────────────────────────────────────────────────────────────────────────────── */

static struct myco_slice take(struct myco_slice *input, size_t size)
{
    struct myco_slice front = myco_bytes(input->data, size);
    input->data = (const uint8_t *)input->data + size;
    input->size -= size;
    return front;
}

static int check_version(const struct myco_frames *frames, struct myco_err *err)
{
    const struct myco_frame *frame = &frames->frame;
    bool link = frame->lane == MYCO_FRAME_LANE_LINK;
    if (!link && frames->version == 0)
        return myco_err(err, MYCO_EPROTO, "message before the handshake ended");
    if (frame->version != (link ? 0 : frames->version))
        return myco_err(err, MYCO_EVERSION, "frame of version %u", frame->version);
    return 0;
}

/* A piece either begins a message on its lane or continues exactly the one that has begun. */
static int check_piece(const struct myco_frames *frames, struct myco_err *err)
{
    const struct myco_frame *frame = &frames->frame;
    const struct myco_frame_lane *lane = &frames->lanes[frame->lane];
    if (lane->rest == 0) return 0;
    if (lane->type != frame->type || lane->rest != frame->size + frame->rest)
        return myco_err(err, MYCO_EPROTO, "piece does not continue its message");
    return 0;
}

/* 1: a header is complete, in frames->frame. */
static int read_header(struct myco_frames *frames, struct myco_slice *input, struct myco_err *err)
{
    size_t missing = MYCO_FRAME_HEADER_SIZE - frames->header_size;
    struct myco_slice part = take(input, input->size < missing ? input->size : missing);
    if (part.size != 0) memcpy(frames->header + frames->header_size, part.data, part.size);
    frames->header_size += part.size;
    if (frames->header_size < MYCO_FRAME_HEADER_SIZE) return 0;

    frames->header_size = 0;
    frames->frame_count++;
    int status = myco_frame_decode(&frames->frame, frames->header, err);
    if (status == 0) status = check_version(frames, err);
    if (status == 0) status = check_piece(frames, err);
    if (status != 0) return status;
    frames->got = 0;
    frames->in_payload = true;
    return 1;
}

static int deliver(
    struct myco_frames *frames, struct myco_slice payload, struct myco_frame_message *message)
{
    frames->in_payload = false;
    message->lane = frames->frame.lane;
    message->type = frames->frame.type;
    message->payload = payload;
    return 1;
}

/* Copies what there is of the payload behind what the lane holds; memory for the whole message is
 * taken at once, from what its first piece said. 1: that made the message complete. */
static int collect(struct myco_frames *frames, struct myco_slice *input,
    struct myco_frame_message *message, struct myco_err *err)
{
    struct myco_frame *frame = &frames->frame;
    struct myco_frame_lane *lane = &frames->lanes[frame->lane];
    size_t missing = frame->size - frames->got;
    size_t here = input->size < missing ? input->size : missing;
    if (here == 0 && missing != 0) return 0;

    size_t expected = missing + frame->rest;
    if (!myco_buf_reserve(&lane->bytes, expected))
        return myco_err(err, MYCO_ENOMEM, "no memory for a message of %zu bytes", expected);
    struct myco_slice part = take(input, here);
    myco_buf_bytes(&lane->bytes, part.data, part.size);
    frames->got += (uint32_t)here;
    if (frames->got < frame->size) return 0;

    lane->type = frame->type;
    lane->rest = frame->rest;
    frames->in_payload = false;
    if (lane->rest != 0) return 0;
    frames->delivered = lane;
    return deliver(frames, myco_buf_as_slice(&lane->bytes), message);
}

static int read_payload(struct myco_frames *frames, struct myco_slice *input,
    struct myco_frame_message *message, struct myco_err *err)
{
    const struct myco_frame *frame = &frames->frame;
    bool whole = frames->got == 0 && frame->rest == 0 && frames->lanes[frame->lane].rest == 0;
    if (whole && input->size >= frame->size)
        return deliver(frames, take(input, frame->size), message);
    return collect(frames, input, message, err);
}

int myco_frames_next(struct myco_frames *frames, struct myco_slice *input,
    struct myco_frame_message *message, struct myco_err *err)
{
    if (frames->delivered != NULL) {
        myco_buf_free(&frames->delivered->bytes);
        frames->delivered = NULL;
    }
    for (;;) {
        int status = frames->in_payload ? 1 : read_header(frames, input, err);
        if (status == 1) status = read_payload(frames, input, message, err);
        if (status != 0 || input->size == 0) return status;
    }
}

void myco_frames_free(struct myco_frames *frames)
{
    for (int i = 0; i <= MYCO_FRAME_LANES; i++) myco_buf_free(&frames->lanes[i].bytes);
    frames->delivered = NULL;
}
