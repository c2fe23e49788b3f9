/* Refusing a connection: one line for people, one count for metrics, one word for the other
 * side. */
#include "net/net_private.h"

#define WARN_EVERY_MS 1000 /* for each kind of refusal of incoming connections */

static const char *const texts[] = {
#define X(symbol, text) text,
    MYCO_NET_REFUSALS(X)
#undef X
};

/* What the other side is told; 0: nothing, since it does not speak our protocol. */
static uint8_t goodbye_of(enum myco_net_refusal why)
{
    switch (why) {
    case MYCO_NET_REFUSED_VERSION: return MYCO_GOODBYE_VERSION;
    case MYCO_NET_REFUSED_CLUSTER: return MYCO_GOODBYE_CLUSTER;
    case MYCO_NET_REFUSED_IDENTITY:
    case MYCO_NET_REFUSED_SELF: return MYCO_GOODBYE_IDENTITY;
    case MYCO_NET_REFUSED_STALE: return MYCO_GOODBYE_STALE;
    case MYCO_NET_REFUSED_TWIN: return MYCO_GOODBYE_TWIN;
    default: return 0;
    }
}

/* Of a peer that was dialled: until it changes. Of incoming ones: one a second for each kind. */
static bool worth_a_warning(struct myco__conn *conn, enum myco_net_refusal why)
{
    struct myco_net *net = conn->net;
    struct myco__peer *peer = conn->dialled ? myco__peer_get(net, conn->id) : NULL;
    if (peer != NULL) {
        bool again = peer->refusal == why;
        peer->refusal = why;
        return !again;
    }
    uint64_t now = uv_now(net->loop) + 1; /* 0: never */
    bool soon = net->warned_ms[why] != 0 && now - net->warned_ms[why] < WARN_EVERY_MS;
    if (!soon) net->warned_ms[why] = now;
    return !soon;
}

static void end(struct myco__conn *conn, enum myco_net_refusal why)
{
    uint8_t goodbye = goodbye_of(why);
    if (goodbye != 0) {
        myco__conn_goodbye(conn, goodbye);
    } else if (why == MYCO_NET_REFUSED_TLS) {
        myco__lanes_free(conn);      /* nothing was encrypted yet */
        myco__conn_goodbye(conn, 0); /* TLS's own alert says why */
    } else {
        myco__conn_close(conn);
    }
}

void myco__conn_refuse(struct myco__conn *conn, enum myco_net_refusal why, const char *detail)
{
    struct myco_net *net = conn->net;
    char text[MYCO_ADDR_TEXT_MAX];
    int level = worth_a_warning(conn, why) ? MYCO_LOG_WARN : MYCO_LOG_DEBUG;
    MYCO_LOG_AT(net->options.log, level, "net", texts[why], "addr=%s dialled=%s detail=\"%s\"",
        myco_addr_text(&conn->addr, text), conn->dialled ? "yes" : "no", detail);
    net->refused[why]++;
    MYCO_METRIC_ADD(net->options.metrics, FRAMES_REFUSED, 1);
    end(conn, why);
    bool displaced = why == MYCO_NET_REFUSED_IDENTITY || why == MYCO_NET_REFUSED_SELF;
    myco__conn_ended(conn, displaced ? MYCO_DOWN_DISPLACED : MYCO_DOWN_FOREIGN);
}

uint64_t myco_net_refused(const struct myco_net *net, enum myco_net_refusal why)
{
    return net->refused[why];
}
