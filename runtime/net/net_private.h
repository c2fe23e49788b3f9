/* What the files of net/ share: the net, its peers (who is wanted), its connections (what there
 * is). */
#ifndef MYCO_NET_PRIVATE_H
#define MYCO_NET_PRIVATE_H

#include <uv.h>

#include "base/list.h"
#include "base/map.h"
#include "net/net.h"
#include "wire/frame.h"

_Static_assert(MYCO_LANE_COUNT == MYCO_FRAME_LANES, "the lanes are those of the wire");
/* NOLINTNEXTLINE(misc-redundant-expression): that both come to the same is what it says */
_Static_assert(MYCO_MESSAGE_SIZE_MAX == MYCO_FRAME_MESSAGE_MAX, "the limit is that of the wire");

#define MYCO__READ_SIZE  (64 * 1024)
#define MYCO__LANES      (MYCO_LANE_COUNT + 1) /* with the link's own, which goes first */
#define MYCO__NEVER      UINT64_MAX
#define MYCO__NO_REFUSAL MYCO_NET_REFUSED_COUNT

struct myco__out; /* bytes in a lane, see lane.c */
struct myco__tls;

struct myco__lane {
    struct myco_list outs;
    size_t size, size_max; /* bytes queued */
    bool refused;          /* a send got EFULL: on_drain is owed */
};

/* Bytes that must go together: a pack of small frames, or one frame of a large message. */
struct myco__piece {
    struct myco__out *out; /* NULL: none */
    uint8_t lane;
    uint8_t header[MYCO_FRAME_HEADER_SIZE]; /* of a large message's frame */
    size_t header_size;                     /* 0 for a pack: its frames are complete */
    size_t begin, end;                      /* of out's bytes */
    size_t done;                            /* written so far, header included */
};

enum myco__conn_state {
    MYCO__CONN_DIALLING,  /* TCP connect */
    MYCO__CONN_GREETING,  /* TLS, then the other's HELLO */
    MYCO__CONN_WAITING,   /* HELLO was good; to be linked on both sides, and accepted */
    MYCO__CONN_UP,        /* is the link */
    MYCO__CONN_LINGERING, /* GOODBYE is being sent; what comes is thrown away */
    MYCO__CONN_CLOSED,    /* uv_close was called; only its callback frees the connection */
};

struct myco__conn {
    uv_tcp_t tcp;
    struct myco_net *net;
    struct myco_list link;  /* in net->conns */
    struct myco_list dirty; /* in net->dirty, when there is something to send */
    enum myco__conn_state state;
    bool dialled; /* by us */
    struct myco_addr addr;
    struct myco_addr listen;                /* where it says that it can be dialled */
    uint64_t id;                            /* dialled: whom we want; incoming: 0 until HELLO */
    uint64_t generation, features, session; /* as the other said; session 0: it has not linked us */
    char name[MYCO_HELLO_NAME_MAX + 1];
    uint8_t version;
    bool ready;                  /* we told that we have linked it */
    unsigned age, silent, quiet; /* ticks: in this state, since received, since sent */
    struct myco_frames frames;
    uint64_t frames_counted;
    struct myco__lane lanes[MYCO__LANES];
    struct myco__piece piece; /* begun: finished before any other */
    bool writing;             /* uv_write is under way, with `piece` or TLS's bytes */
    bool shut;
    struct myco__tls *tls; /* NULL: plain */
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
};

struct myco__peer {
    uint64_t id;
    struct myco_addr addr;
    uint64_t generation;           /* the newest seen */
    uint64_t session;              /* rises with every loss */
    struct myco__conn *up;         /* the link */
    struct myco__conn *dial;       /* our attempt, until it is up or ended */
    uint64_t dial_at_ms;           /* MYCO__NEVER: not due */
    unsigned backoff_ms;           /* 0: at once */
    enum myco_net_refusal refusal; /* the last one logged */
    enum myco_down_reason failed;  /* likewise, of an attempt */
};

struct myco_net {
    struct myco_transport transport; /* first: the handle is this */
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t ticker, dialler;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_idle_t awake; /* runs while something is left to flush: poll does not block */
    struct myco_transport_events events;
    struct myco_net_options options; /* without its strings */
    char name[MYCO_HELLO_NAME_MAX + 1];
    void *tls_context; /* NULL: plain TCP */
    struct myco_map peers;
    struct myco_list conns, dirty;
    struct myco_list packs; /* a few free ones */
    unsigned pack_count, incoming_count, up_count;
    uint64_t sessions, jitter;
    uint64_t refused[MYCO_NET_REFUSED_COUNT], warned_ms[MYCO_NET_REFUSED_COUNT];
    bool closing;
    unsigned handle_count; /* of its own, still open */
    void (*closed)(void *data);
    void *closed_data;
    uint8_t read_bytes[MYCO__READ_SIZE]; /* shared by all connections of the loop */
};

/* dial.c: the listener, and attempts to connect. */
int myco__listen(struct myco_net *net, struct myco_addr *bound, struct myco_err *err);
void myco__dial_soon(struct myco_net *net, struct myco__peer *peer);  /* at once, from the loop */
void myco__dial_again(struct myco_net *net, struct myco__peer *peer); /* after the back-off */
void myco__on_dial_timer(uv_timer_t *timer);

/* conn.c: a connection's life: reading, timing, ending. */
struct myco__conn *myco__conn_new(struct myco_net *net, bool dialled);
void myco__conn_start(struct myco__conn *conn); /* connected: TLS, reading, HELLO */
void myco__conn_set_state(struct myco__conn *conn, enum myco__conn_state state);
void myco__conn_feed(struct myco__conn *conn, struct myco_slice bytes); /* plain ones */
/* And end, politely; tells nobody here. */
void myco__conn_goodbye(struct myco__conn *conn, uint8_t reason);
void myco__conn_dismiss(struct myco__conn *conn, uint8_t goodbye, enum myco_down_reason reason);
void myco__conn_close(struct myco__conn *conn); /* tells nobody */
void myco__conn_tick(struct myco__conn *conn);
bool myco__conn_over(const struct myco__conn *conn); /* lingering or closed */

/* peer.c: which connection is the link; what the peer is told. */
struct myco__peer *myco__peer_get(struct myco_net *net, uint64_t id);
void myco__conn_hello(struct myco__conn *conn); /* says it */
void myco__conn_on_link_frame(struct myco__conn *conn, const struct myco_frame_message *message);
void myco__conn_consider(struct myco__conn *conn);
/* It did: tells on_down. */
void myco__conn_ended(struct myco__conn *conn, enum myco_down_reason reason);
/* Ends; tells on_down. */
void myco__conn_lost(struct myco__conn *conn, enum myco_down_reason reason);

/* refuse.c: saying why not. */
void myco__conn_refuse(struct myco__conn *conn, enum myco_net_refusal why, const char *detail);

/* lane.c: what waits to be sent. */
void myco__lanes_init(struct myco__conn *conn);
void myco__lanes_free(struct myco__conn *conn);
int myco__lane_put(
    struct myco__conn *conn, enum myco_lane lane, uint8_t type, struct myco_buf *payload);
void myco__lane_put_link(struct myco__conn *conn, struct myco_buf *frames); /* takes; goes first */
void myco__lanes_drop(struct myco__conn *conn); /* all messages but a piece that has begun */
bool myco__lanes_empty(const struct myco__conn *conn);
size_t myco__lanes_gather(
    struct myco__conn *conn, struct myco__piece *pieces, size_t count, size_t size_max);
size_t myco__piece_size(const struct myco__piece *piece);
unsigned myco__piece_bufs(const struct myco__piece *piece, uv_buf_t bufs[2]); /* what is not done */
void myco__piece_complete(struct myco__conn *conn, const struct myco__piece *piece);
void myco__packs_free(struct myco_net *net);

/* flush.c: sending it. */
void myco__conn_dirty(struct myco__conn *conn);
void myco__flush_all(struct myco_net *net);

/* net.c */
void myco__net_conn_freed(struct myco_net *net);

/* tls.c: OpenSSL between the socket and the frames. */
void *myco__tls_context_new(const char *folder, struct myco_err *err); /* NULL: err says why */
void myco__tls_context_free(void *context);
struct myco__tls *myco__tls_new(void *context, bool dialled);
void myco__tls_free(struct myco__tls *tls);
/* Begins the handshake; there may be bytes to write after it. */
int myco__tls_start(struct myco__tls *tls);
/* Takes what the socket gave. EPROTO: it is no TLS of ours; `detail` is OpenSSL's sentence. */
int myco__tls_receive(struct myco__tls *tls, struct myco_slice cipher);
/* Decrypts into `bytes`: the size, 0 when there is no more, or EPROTO. */
int myco__tls_read(struct myco__tls *tls, uint8_t *bytes, size_t size);
bool myco__tls_established(const struct myco__tls *tls);
int myco__tls_write(struct myco__tls *tls, struct myco_slice plain); /* when established */
/* What is to be written to the socket: lent until the next call but these two. */
struct myco_slice myco__tls_pending(struct myco__tls *tls);
void myco__tls_written(struct myco__tls *tls, size_t size);
const char *myco__tls_detail(const struct myco__tls *tls);

#endif
