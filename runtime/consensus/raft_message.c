/* What servers say to each other about the log, in our own encoding.
 *
 *     u8 version = 1 │ u8 type │ u64 term │ …
 *
 *     append          u64 previous index │ u64 its term │ u64 commit │ u16 n │ n × (u64 term │ u8
 * type │ slice) append's result u64 rejected (0: taken) │ u64 last index vote            u64 last
 * index │ u64 its term │ u8 flags: 1 disrupt the leader, 2 pre-vote vote's result   u8 flags: 1
 * granted, 2 pre-vote install         slice: a snapshot file timeout now     u64 last index │ u64
 * its term
 *
 * Who sent it is what the connection says, never the message. Whatever libraft takes for granted is
 * checked here: Debian builds it without its assertions. */
#include "consensus/log_internal.h"

#include "base/mem.h"

#define VERSION      1
#define ENTRY_MIN    13 /* bytes of an entry without a body */
#define FLAG_FIRST   1
#define FLAG_PREVOTE 2

static void append_write(struct myco_buf *buf, const struct myco__rlog_view *view)
{
    myco_buf_u64(buf, view->index);
    myco_buf_u64(buf, view->index_term);
    myco_buf_u64(buf, view->commit);
    myco_buf_u16(buf, (uint16_t)view->entry_count);
    for (size_t i = 0; i < view->entry_count; i++) {
        myco_buf_u64(buf, view->entries[i].term);
        myco_buf_u8(buf, view->entries[i].type);
        myco_buf_slice(buf, view->entries[i].body);
    }
}

void myco__rlog_view_write(struct myco_buf *buf, const struct myco__rlog_view *view)
{
    myco_buf_u8(buf, VERSION);
    myco_buf_u8(buf, view->type);
    myco_buf_u64(buf, view->term);
    switch (view->type) {
    case RAFT_APPEND_ENTRIES: append_write(buf, view); break;
    case RAFT_APPEND_ENTRIES_RESULT:
        myco_buf_u64(buf, view->rejected);
        myco_buf_u64(buf, view->index);
        break;
    case RAFT_REQUEST_VOTE:
    case RAFT_TIMEOUT_NOW:
        myco_buf_u64(buf, view->index);
        myco_buf_u64(buf, view->index_term);
        if (view->type == RAFT_REQUEST_VOTE)
            myco_buf_u8(buf,
                (uint8_t)((view->disrupt ? FLAG_FIRST : 0) | (view->pre_vote ? FLAG_PREVOTE : 0)));
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        myco_buf_u8(
            buf, (uint8_t)((view->granted ? FLAG_FIRST : 0) | (view->pre_vote ? FLAG_PREVOTE : 0)));
        break;
    case RAFT_INSTALL_SNAPSHOT: myco_buf_slice(buf, view->snapshot); break;
    default: buf->failed = true;
    }
}

/* Terms never fall along a log, and none is above the sender's; a configuration is a possible
 * one. */
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

static int entries_read(struct myco_reader *reader, struct myco__rlog_view *view)
{
    size_t count = myco_read_u16(reader);
    if (reader->bad || count > myco_read_left(reader) / ENTRY_MIN) return MYCO_EPROTO;
    if (count == 0) return 0;
    if ((view->entries = myco_try_alloc(count * sizeof *view->entries)) == NULL) return MYCO_ENOMEM;
    uint64_t term = view->index_term;
    for (; view->entry_count < count; view->entry_count++) {
        struct myco__rlog_entry_view *entry = &view->entries[view->entry_count];
        if (!entry_read(reader, entry)) return MYCO_EPROTO;
        if (entry->term < term || entry->term == 0 || entry->term > view->term) return MYCO_EPROTO;
        term = entry->term;
    }
    return 0;
}

static int append_read(struct myco_reader *reader, struct myco__rlog_view *view)
{
    view->index = myco_read_u64(reader);
    view->index_term = myco_read_u64(reader);
    view->commit = myco_read_u64(reader);
    if ((view->index == 0) != (view->index_term == 0) || view->index_term > view->term)
        return MYCO_EPROTO;
    if (view->index > UINT64_MAX / 2) return MYCO_EPROTO; /* so that sums can't wrap */
    return entries_read(reader, view);
}

static void last_entry_read(struct myco_reader *reader, struct myco__rlog_view *view)
{
    view->index = myco_read_u64(reader);
    view->index_term = myco_read_u64(reader);
    if (view->index_term > view->term) reader->bad = true;
}

static void flags_read(struct myco_reader *reader, bool *first, struct myco__rlog_view *view)
{
    uint8_t flags = myco_read_u8(reader);
    *first = (flags & FLAG_FIRST) != 0;
    view->pre_vote = (flags & FLAG_PREVOTE) != 0;
    if (flags > (FLAG_FIRST | FLAG_PREVOTE)) reader->bad = true;
}

static int body_read(struct myco_reader *reader, struct myco__rlog_view *view)
{
    switch (view->type) {
    case RAFT_APPEND_ENTRIES: return append_read(reader, view);
    case RAFT_APPEND_ENTRIES_RESULT:
        view->rejected = myco_read_u64(reader);
        view->index = myco_read_u64(reader);
        return 0;
    case RAFT_REQUEST_VOTE:
        last_entry_read(reader, view);
        flags_read(reader, &view->disrupt, view);
        return 0;
    case RAFT_REQUEST_VOTE_RESULT: flags_read(reader, &view->granted, view); return 0;
    case RAFT_INSTALL_SNAPSHOT: view->snapshot = myco_read_slice(reader); return 0;
    case RAFT_TIMEOUT_NOW: last_entry_read(reader, view); return 0;
    default: return MYCO_EPROTO;
    }
}

int myco__rlog_view_read(struct myco_slice payload, struct myco__rlog_view *view)
{
    struct myco_reader reader = myco_reader(payload.data, payload.size);
    *view = (struct myco__rlog_view){0};
    uint8_t version = myco_read_u8(&reader);
    view->type = myco_read_u8(&reader);
    view->term = myco_read_u64(&reader);
    if (reader.bad || version != VERSION || view->term == 0 || view->term > UINT64_MAX / 2)
        return MYCO_EPROTO;
    int status = body_read(&reader, view);
    if (status == 0 && !myco_read_done(&reader)) status = MYCO_EPROTO;
    if (status != 0) myco__rlog_view_free(view);
    return status;
}

void myco__rlog_view_free(struct myco__rlog_view *view)
{
    myco_free(view->entries);
    view->entries = NULL;
    view->entry_count = 0;
}
