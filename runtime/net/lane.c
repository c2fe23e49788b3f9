/* What waits to be sent on one connection: a queue for each lane, cut into pieces.
 *
 * Small messages are copied, with their headers, into packs of 16 KiB: a burst of them is one
 * allocation and one vector of a write. A large message stays where it is, and its frames' headers
 * are made when they are sent.
 *
 *     link     [pack]
 *     control  [pack][pack]
 *     data     [pack][large: 0 … at ··· size][pack]
 *     bulk     [large]
 *
 * A pack, or one frame of a large message, is a piece: once its first byte is written the rest of
 * it goes before anything else; between two pieces the most urgent lane wins. */
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/net_private.h"

#define PACK_SIZE        (16 * 1024)
#define PACK_MESSAGE_MAX 4096 /* payload; larger ones are not copied */
#define PACKS_KEPT       8    /* free ones, for the whole net */

struct myco__out {
    struct myco_list link; /* in its lane */
    uint8_t *bytes;        /* a pack's lie behind the struct */
    size_t at, size;       /* bytes sent; bytes there are */
    unsigned frame_count;  /* of a pack */
    uint8_t type;          /* of a large message */
    bool packed;
};

static const uint8_t urgency[MYCO__LANES] = {
    MYCO_FRAME_LANE_LINK, MYCO_LANE_CONTROL, MYCO_LANE_DATA, MYCO_LANE_BULK};

static struct myco__out *out_of(struct myco_list *link)
{
    return MYCO_CONTAINER(link, struct myco__out, link);
}

void myco__lanes_init(struct myco__conn *conn)
{
    for (int i = 0; i < MYCO__LANES; i++) {
        myco_list_init(&conn->lanes[i].outs);
        conn->lanes[i].size_max =
            i < MYCO_LANE_COUNT ? conn->net->options.lane_size_max[i] : SIZE_MAX;
    }
}

/* ── Packs ──────────────────────────────────────────────────────────────────────────────────── */

static struct myco__out *pack_new(struct myco_net *net)
{
    struct myco_list *kept = myco_list_pop(&net->packs);
    struct myco__out *out = NULL;
    if (kept != NULL) {
        out = out_of(kept);
        net->pack_count--;
    } else {
        out = myco_try_alloc(sizeof *out + PACK_SIZE);
        if (out == NULL) return NULL;
    }
    *out = (struct myco__out){.packed = true, .bytes = (uint8_t *)(out + 1)};
    return out;
}

static void out_free(struct myco_net *net, struct myco__out *out)
{
    myco_list_remove(&out->link);
    if (!out->packed) {
        myco_free(out->bytes);
    } else if (net->pack_count < PACKS_KEPT && !net->closing) {
        myco_list_append(&net->packs, &out->link);
        net->pack_count++;
        return;
    }
    myco_free(out);
}

void myco__packs_free(struct myco_net *net)
{
    for (struct myco_list *link; (link = myco_list_pop(&net->packs)) != NULL;)
        myco_free(out_of(link));
    net->pack_count = 0;
}

/* The lane's last pack, when `size` more fit and none of it was written; else a new one. */
static struct myco__out *pack_for(struct myco__conn *conn, struct myco__lane *lane, size_t size)
{
    if (!myco_list_empty(&lane->outs)) {
        struct myco__out *last = out_of(lane->outs.prev);
        bool begun = last == conn->piece.out;
        if (last->packed && !begun && PACK_SIZE - last->size >= size) return last;
    }
    struct myco__out *out = pack_new(conn->net);
    if (out != NULL) myco_list_append(&lane->outs, &out->link);
    return out;
}

static void pack_bytes(struct myco__out *out, const void *bytes, size_t size)
{
    if (size != 0) memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
}

/* ── Putting ────────────────────────────────────────────────────────────────────────────────── */

static int put_packed(
    struct myco__conn *conn, enum myco_lane at, uint8_t type, const struct myco_buf *payload)
{
    struct myco__lane *lane = &conn->lanes[at];
    size_t size = MYCO_FRAME_HEADER_SIZE + payload->size;
    struct myco__out *out = pack_for(conn, lane, size);
    if (out == NULL) return MYCO_ENOMEM;

    struct myco_frame frame = {.size = (uint32_t)payload->size,
        .version = conn->version,
        .type = type,
        .lane = (uint8_t)at};
    uint8_t header[MYCO_FRAME_HEADER_SIZE];
    myco_frame_encode(header, &frame);
    pack_bytes(out, header, sizeof header);
    pack_bytes(out, payload->data, payload->size);
    out->frame_count++;
    lane->size += size;
    return 0;
}

static int put_large(
    struct myco__conn *conn, enum myco_lane at, uint8_t type, struct myco_buf *payload)
{
    struct myco__out *out = myco_alloc(sizeof *out);
    *out = (struct myco__out){.bytes = payload->data, .size = payload->size, .type = type};
    myco_list_append(&conn->lanes[at].outs, &out->link);
    conn->lanes[at].size += payload->size;
    *payload = (struct myco_buf){0};
    return 0;
}

/* A lane that is empty takes any message, so that none is too large for a lane's limit. */
static bool has_room(const struct myco__lane *lane, size_t size)
{
    return lane->size == 0 || lane->size + size + MYCO_FRAME_HEADER_SIZE <= lane->size_max;
}

int myco__lane_put(
    struct myco__conn *conn, enum myco_lane at, uint8_t type, struct myco_buf *payload)
{
    if (!has_room(&conn->lanes[at], payload->size)) {
        conn->lanes[at].refused = true;
        MYCO_METRIC_ADD(conn->net->options.metrics, QUEUE_FULL, 1);
        return MYCO_EFULL;
    }
    return payload->size <= PACK_MESSAGE_MAX ? put_packed(conn, at, type, payload)
                                             : put_large(conn, at, type, payload);
}

void myco__lane_put_link(struct myco__conn *conn, struct myco_buf *frames)
{
    struct myco__lane *lane = &conn->lanes[MYCO_FRAME_LANE_LINK];
    MYCO_ASSERT(frames->size <= PACK_SIZE);
    struct myco__out *out = frames->failed ? NULL : pack_for(conn, lane, frames->size);
    if (out != NULL) {
        pack_bytes(out, frames->data, frames->size);
        out->frame_count++;
        lane->size += frames->size;
    } /* else there is no memory for a few bytes: the other side's time limit ends the connection */
    myco_buf_free(frames);
}

/* ── Taking ─────────────────────────────────────────────────────────────────────────────────── */

/* The piece of `out` that begins at `begin`. */
static struct myco__piece piece_at(
    struct myco__conn *conn, struct myco__out *out, uint8_t lane, size_t begin)
{
    struct myco__piece piece = {.out = out, .lane = lane, .begin = begin, .end = out->size};
    if (out->packed) return piece;
    if (piece.end - begin > MYCO_FRAME_PIECE_MAX) piece.end = begin + MYCO_FRAME_PIECE_MAX;
    struct myco_frame frame = {
        .size = (uint32_t)(piece.end - begin),
        .rest = (uint32_t)(out->size - piece.end),
        .version = conn->version,
        .type = out->type,
        .lane = lane,
    };
    myco_frame_encode(piece.header, &frame);
    piece.header_size = MYCO_FRAME_HEADER_SIZE;
    return piece;
}

size_t myco__piece_size(const struct myco__piece *piece)
{
    return piece->header_size + (piece->end - piece->begin);
}

/* The next pieces to write, the most urgent first, until there are `count` or `size_max` bytes;
 * they stay in their lanes until complete. One that has begun leads. */
size_t myco__lanes_gather(
    struct myco__conn *conn, struct myco__piece *pieces, size_t count, size_t size_max)
{
    size_t found = 0, size = 0;
    if (conn->piece.out != NULL) {
        pieces[found++] = conn->piece;
        size = myco__piece_size(&conn->piece) - conn->piece.done;
    }
    for (int i = 0; i < MYCO__LANES; i++) {
        MYCO_LIST_EACH (link, &conn->lanes[urgency[i]].outs) {
            struct myco__out *out = out_of(link);
            size_t at = out == conn->piece.out ? conn->piece.end : out->at;
            while (at < out->size) {
                if (found == count || size >= size_max) return found;
                pieces[found] = piece_at(conn, out, urgency[i], at);
                size += myco__piece_size(&pieces[found]);
                at = pieces[found++].end;
            }
        }
    }
    return found;
}

unsigned myco__piece_bufs(const struct myco__piece *piece, uv_buf_t bufs[2])
{
    unsigned count = 0;
    size_t done = piece->done;
    if (done < piece->header_size) {
        char *header = (char *)(uintptr_t)piece->header;
        bufs[count++] = uv_buf_init(header + done, (unsigned)(piece->header_size - done));
        done = 0;
    } else {
        done -= piece->header_size;
    }
    char *bytes = (char *)piece->out->bytes + piece->begin;
    bufs[count++] = uv_buf_init(bytes + done, (unsigned)(piece->end - piece->begin - done));
    return count;
}

void myco__piece_complete(struct myco__conn *conn, const struct myco__piece *piece)
{
    struct myco__out *out = piece->out;
    struct myco__lane *lane = &conn->lanes[piece->lane];
    out->at = piece->end;
    lane->size -= piece->end - piece->begin;
    MYCO_METRIC_ADD(conn->net->options.metrics, FRAMES_OUT, out->packed ? out->frame_count : 1);
    if (conn->piece.out == out) conn->piece.out = NULL;
    if (out->at == out->size) out_free(conn->net, out);
}

bool myco__lanes_empty(const struct myco__conn *conn)
{
    for (int i = 0; i < MYCO__LANES; i++) {
        if (!myco_list_empty(&conn->lanes[i].outs)) return false;
    }
    return true;
}

/* ── Dropping ───────────────────────────────────────────────────────────────────────────────── */

void myco__lanes_drop(struct myco__conn *conn)
{
    for (int i = 0; i < MYCO_LANE_COUNT; i++) {
        struct myco__lane *lane = &conn->lanes[i];
        MYCO_LIST_EACH (link, &lane->outs) {
            struct myco__out *out = out_of(link);
            if (out != conn->piece.out)
                out_free(conn->net, out);
            else
                out->size = conn->piece.end; /* what has begun ends with its piece */
        }
        lane->size = 0;
        if (conn->piece.out != NULL && conn->piece.lane == i)
            lane->size = conn->piece.end - conn->piece.begin;
        lane->refused = false;
    }
}

void myco__lanes_free(struct myco__conn *conn)
{
    for (int i = 0; i < MYCO__LANES; i++) {
        MYCO_LIST_EACH (link, &conn->lanes[i].outs) out_free(conn->net, out_of(link));
    }
}
