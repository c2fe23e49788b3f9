/* What nodes say to each other about a tailed log (raft_tail.c has the conversation).
 *
 *     u8 version = 1 │ u8 kind │ …
 *
 *     ask        u64 index │ u64 its term │ u32 age in ms: the answerer must know a younger sign
 *     feed       head │ u64 index before │ u64 its term │ u16 n │ n × (u64 term │ u8 type │ slice)
 *     snapshot   head │ u64 index │ u64 size of the file │ u64 offset │ slice: a piece of it
 *     more       u64 index │ u64 offset: the next piece of that snapshot
 *     refused    u8 n │ n × u64: nodes that the answerer feeds, and that may feed others
 *     stop       nothing: the sender is fed, or needs it no more
 *
 *     head       u64 term │ u64 leader (0: unknown) │ u64 applied │ u8 distance │ u32 age in ms
 *
 * Bounded: 512 entries and 1 MiB of bodies in a feed (unless one alone is larger), 256 KiB in a
 * piece. A feed holds committed entries only, so their terms are below or at the sender's. */
#include "consensus/log_internal.h"

#include "base/mem.h"

#define VERSION   1
#define ENTRY_MIN 13 /* bytes of an entry without a body */

static void head_write(struct myco_buf *buf, const struct myco__tail_view *view)
{
    myco_buf_u64(buf, view->term);
    myco_buf_u64(buf, view->leader);
    myco_buf_u64(buf, view->applied);
    myco_buf_u8(buf, view->distance);
    myco_buf_u32(buf, view->age_ms);
}

static void feed_write(struct myco_buf *buf, const struct myco__tail_view *view)
{
    head_write(buf, view);
    myco_buf_u64(buf, view->index);
    myco_buf_u64(buf, view->index_term);
    myco_buf_u16(buf, (uint16_t)view->entry_count);
    for (size_t i = 0; i < view->entry_count; i++) {
        myco_buf_u64(buf, view->entries[i].term);
        myco_buf_u8(buf, view->entries[i].type);
        myco_buf_slice(buf, view->entries[i].body);
    }
}

static void refused_write(struct myco_buf *buf, const struct myco__tail_view *view)
{
    myco_buf_u8(buf, view->hint_count);
    for (unsigned i = 0; i < view->hint_count; i++) myco_buf_u64(buf, view->hints[i]);
}

void myco__tail_view_write(struct myco_buf *buf, const struct myco__tail_view *view)
{
    myco_buf_u8(buf, VERSION);
    myco_buf_u8(buf, view->kind);
    switch (view->kind) {
    case MYCO__TAIL_ASK:
        myco_buf_u64(buf, view->index);
        myco_buf_u64(buf, view->index_term);
        myco_buf_u32(buf, view->age_ms);
        break;
    case MYCO__TAIL_FEED: feed_write(buf, view); break;
    case MYCO__TAIL_SNAPSHOT:
        head_write(buf, view);
        myco_buf_u64(buf, view->index);
        myco_buf_u64(buf, view->size);
        myco_buf_u64(buf, view->offset);
        myco_buf_slice(buf, view->piece);
        break;
    case MYCO__TAIL_MORE:
        myco_buf_u64(buf, view->index);
        myco_buf_u64(buf, view->offset);
        break;
    case MYCO__TAIL_REFUSED: refused_write(buf, view); break;
    case MYCO__TAIL_STOP: break;
    default: buf->failed = true;
    }
}

static void head_read(struct myco_reader *reader, struct myco__tail_view *view)
{
    view->term = myco_read_u64(reader);
    view->leader = myco_read_u64(reader);
    view->applied = myco_read_u64(reader);
    view->distance = myco_read_u8(reader);
    view->age_ms = myco_read_u32(reader);
    if (view->applied > UINT64_MAX / 2) reader->bad = true; /* so that sums can't wrap */
}

static void position_read(struct myco_reader *reader, struct myco__tail_view *view)
{
    view->index = myco_read_u64(reader);
    view->index_term = myco_read_u64(reader);
    if ((view->index == 0) != (view->index_term == 0)) reader->bad = true;
    if (view->index > UINT64_MAX / 2) reader->bad = true;
}

static bool entry_read(struct myco_reader *reader, struct myco__rlog_entry_view *entry)
{
    entry->term = myco_read_u64(reader);
    entry->type = myco_read_u8(reader);
    entry->body = myco_read_slice(reader);
    if (reader->bad || entry->type < RAFT_COMMAND || entry->type > RAFT_CHANGE) return false;
    if (entry->body.size > MYCO__RLOG_COMMAND_SIZE_MAX) return false;
    struct myco__rlog_config config;
    return entry->type != RAFT_CHANGE || myco__rlog_config_read(entry->body, &config) == 0;
}

static int feed_read(struct myco_reader *reader, struct myco__tail_view *view)
{
    head_read(reader, view);
    position_read(reader, view);
    size_t count = myco_read_u16(reader);
    if (reader->bad || count > MYCO__TAIL_ENTRIES_MAX || count > myco_read_left(reader) / ENTRY_MIN)
        return MYCO_EPROTO;
    if (count == 0) return 0;
    view->entries = myco_try_alloc(count * sizeof *view->entries);
    if (view->entries == NULL) return MYCO_ENOMEM;
    uint64_t term = view->index_term;
    for (; view->entry_count < count; view->entry_count++) {
        struct myco__rlog_entry_view *entry = &view->entries[view->entry_count];
        if (!entry_read(reader, entry) || entry->term < term || entry->term == 0)
            return MYCO_EPROTO;
        term = entry->term;
    }
    return 0;
}

static int snapshot_read(struct myco_reader *reader, struct myco__tail_view *view)
{
    head_read(reader, view);
    view->index = myco_read_u64(reader);
    view->size = myco_read_u64(reader);
    view->offset = myco_read_u64(reader);
    view->piece = myco_read_slice(reader);
    if (reader->bad || view->index == 0 || view->index > UINT64_MAX / 2) return MYCO_EPROTO;
    if (view->size > MYCO__TAIL_SNAPSHOT_SIZE_MAX || view->piece.size > MYCO__TAIL_PIECE_SIZE ||
        view->piece.size == 0 || view->offset > view->size ||
        view->piece.size > view->size - view->offset)
        return MYCO_EPROTO;
    return 0;
}

static int refused_read(struct myco_reader *reader, struct myco__tail_view *view)
{
    view->hint_count = myco_read_u8(reader);
    if (reader->bad || view->hint_count > MYCO__TAIL_HINTS_MAX) return MYCO_EPROTO;
    for (unsigned i = 0; i < view->hint_count; i++) view->hints[i] = myco_read_u64(reader);
    return 0;
}

static int body_read(struct myco_reader *reader, struct myco__tail_view *view)
{
    switch (view->kind) {
    case MYCO__TAIL_ASK:
        position_read(reader, view);
        view->age_ms = myco_read_u32(reader);
        return 0;
    case MYCO__TAIL_FEED: return feed_read(reader, view);
    case MYCO__TAIL_SNAPSHOT: return snapshot_read(reader, view);
    case MYCO__TAIL_MORE:
        view->index = myco_read_u64(reader);
        view->offset = myco_read_u64(reader);
        return 0;
    case MYCO__TAIL_REFUSED: return refused_read(reader, view);
    case MYCO__TAIL_STOP: return 0;
    default: return MYCO_EPROTO;
    }
}

int myco__tail_view_read(struct myco_slice payload, struct myco__tail_view *view)
{
    struct myco_reader reader = myco_reader(payload.data, payload.size);
    *view = (struct myco__tail_view){0};
    uint8_t version = myco_read_u8(&reader);
    view->kind = myco_read_u8(&reader);
    if (reader.bad || version != VERSION) return MYCO_EPROTO;
    int status = body_read(&reader, view);
    if (status == 0 && !myco_read_done(&reader)) status = MYCO_EPROTO;
    if (status != 0) myco__tail_view_free(view);
    return status;
}

void myco__tail_view_free(struct myco__tail_view *view)
{
    myco_free(view->entries);
    view->entries = NULL;
    view->entry_count = 0;
}
