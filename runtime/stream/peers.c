/* Peers: telling them our interest, hearing theirs.
 *
 * Every change of our interest gets the next serial, and moves to the end of one list:
 *
 *      serial   3        7         8 (gone)    9
 *             "a.>"  ⇄  "b.c" q  ⇄  "c.d"  ⇄  "e.>"
 *                       ▲                     ▲
 *                       peer X: told 7        peer Y: told 9, has all
 *
 * What a peer lacks is always a tail of that list, whatever happened in between; a peer whose
 * connection just came up was told nothing, and gets all. So there is no snapshot apart from
 * changes, and a full lane only means to go on later from the same place. An interest without
 * subscriptions stays in the list until every peer was told.
 *
 * Changes are told on the next turn of the loop, many in one message; but before anything is
 * published, since an answer may be awaited on a subject that was subscribed to a moment ago, and
 * the control lane goes first. The peer acknowledges serials; a flush waits for those. */
#include "stream/state.h"

#include "base/assert.h"
#include "base/mem.h"
#include "wire/message.h"

#define RETRY_MS 20 /* after a lane was full */

static int send_interest(struct myco_bus *bus, struct myco__peer *peer, struct myco_buf *payload)
{
    if (payload->failed) {
        myco_buf_free(payload);
        return MYCO_ENOMEM;
    }
    bus->sending = true;
    int rc = bus->events.send(peer->id, MYCO_MESSAGE_INTEREST, payload, bus->events.data);
    bus->sending = false;
    return rc;
}

/* ── Telling ────────────────────────────────────────────────────────────────────────────────── */

static struct myco__interest *interest_at(struct myco_list *link)
{
    return MYCO_CONTAINER(link, struct myco__interest, link);
}

/* The first one that a peer at `serial` lacks, or the list's head. */
static struct myco_list *first_after(struct myco_bus *bus, uint64_t serial)
{
    struct myco_list *link = &bus->interests;
    while (link->prev != &bus->interests && interest_at(link->prev)->serial > serial) {
        link = link->prev;
    }
    return link;
}

/* Writes one piece from `link` on; returns where the next begins, and the serial it brings the peer
 * to. */
static struct myco_list *write_piece(struct myco_bus *bus, struct myco_list *link, bool reset,
    struct myco_buf *piece, uint64_t *serial)
{
    struct myco_buf items = {0};
    *serial = bus->serial;
    for (; link != &bus->interests; link = link->next) {
        const struct myco__interest *interest = interest_at(link);
        if (items.size >= MYCO__PIECE_SIZE_MAX) {
            *serial = interest_at(link->prev)->serial;
            break;
        }
        myco__interest_item_write(&items, interest->subs ? MYCO__ITEM_ADD : MYCO__ITEM_REMOVE,
            myco__interest_pattern(interest), myco__group_name(interest->group));
    }
    myco__interest_begin(piece, reset ? MYCO__INTEREST_RESET : 0, *serial);
    myco_buf_bytes(piece, items.data, items.size);
    piece->failed |= items.failed;
    myco_buf_free(&items);
    return link;
}

static bool tell_peer(struct myco_bus *bus, struct myco__peer *peer)
{
    if (peer->greeted && peer->told == bus->serial) return true;
    struct myco_list *link = first_after(bus, peer->told);
    do {
        struct myco_buf piece = {0};
        uint64_t serial;
        link = write_piece(bus, link, !peer->greeted, &piece, &serial);
        if (send_interest(bus, peer, &piece)) return false;
        peer->greeted = true;
        peer->told = serial;
    } while (peer->told < bus->serial);
    return true;
}

static bool acknowledge(struct myco_bus *bus, struct myco__peer *peer)
{
    if (peer->answered == peer->heard) return true;
    struct myco_buf payload = {0};
    myco__interest_begin(&payload, MYCO__INTEREST_ACK, peer->heard);
    if (send_interest(bus, peer, &payload)) return false;
    peer->answered = peer->heard;
    return true;
}

/* Those that are gone and that every peer knows to be gone. */
static void forget_gone(struct myco_bus *bus)
{
    uint64_t told = bus->serial;
    MYCO_MAP_EACH (struct myco__peer, peer, &bus->peers) {
        if (peer->told < told) told = peer->told;
    }
    MYCO_LIST_EACH (link, &bus->gone) {
        struct myco__interest *interest = MYCO_CONTAINER(link, struct myco__interest, gone_link);
        if (interest->serial > told) break;
        myco__interest_remove(bus, &bus->ours, interest);
    }
}

void myco__interest_tell(struct myco_bus *bus)
{
    bool all = true;
    if (bus->tell_pending) myco_defer_cancel(&bus->tell);
    bus->tell_pending = false;
    MYCO_MAP_EACH (struct myco__peer, peer, &bus->peers) {
        all &= tell_peer(bus, peer);
        all &= acknowledge(bus, peer);
    }
    forget_gone(bus);
    if (!all) myco_timer_start(&bus->retry, RETRY_MS, 0);
}

static void on_tell(void *data)
{
    myco__interest_tell(data);
}

static void tell_soon(struct myco_bus *bus)
{
    if (bus->tell_pending) return;
    bus->tell_pending = true;
    myco_defer(bus->env, &bus->tell, on_tell, bus);
}

void myco__interest_changed(struct myco_bus *bus, struct myco__interest *interest)
{
    interest->serial = ++bus->serial;
    myco_list_remove(&interest->link);
    myco_list_append(&bus->interests, &interest->link);
    myco_list_remove(&interest->gone_link);
    if (interest->subs == 0) myco_list_append(&bus->gone, &interest->gone_link);
    tell_soon(bus);
}

/* ── Flush ──────────────────────────────────────────────────────────────────────────────────── */

static bool flushed(const struct myco_bus *bus, const struct myco__flush *flush)
{
    MYCO_MAP_EACH (struct myco__peer, peer, &bus->peers) {
        if (peer->up_order < flush->order && peer->acked < flush->serial) return false;
        if (peer->up_order < flush->order && !peer->greeted) return false;
    }
    return true;
}

static void on_flush_check(void *data)
{
    struct myco_bus *bus = data;
    struct myco_list done;
    myco_list_init(&done);
    MYCO_LIST_EACH (link, &bus->flushes) {
        if (!flushed(bus, MYCO_CONTAINER(link, struct myco__flush, link))) continue;
        myco_list_remove(link);
        myco_list_append(&done, link);
    }
    for (struct myco_list *link; (link = myco_list_pop(&done));) {
        struct myco__flush flush = *MYCO_CONTAINER(link, struct myco__flush, link);
        myco_free(MYCO_CONTAINER(link, struct myco__flush, link));
        flush.done(flush.data);
    }
}

static void check_flushes(struct myco_bus *bus)
{
    if (!myco_list_empty(&bus->flushes)) {
        myco_defer_cancel(&bus->flush_check);
        myco_defer(bus->env, &bus->flush_check, on_flush_check, bus);
    }
}

void myco_bus_flush(struct myco_bus *bus, void (*done)(void *data), void *data)
{
    struct myco__flush *flush = myco_alloc(sizeof(*flush));
    flush->serial = bus->serial;
    flush->order = ++bus->orders;
    flush->done = done;
    flush->data = data;
    myco_list_append(&bus->flushes, &flush->link);
    myco__interest_tell(bus);
    check_flushes(bus);
}

/* ── Hearing ────────────────────────────────────────────────────────────────────────────────── */

static void wish_add(
    struct myco_bus *bus, struct myco__peer *peer, const struct myco__interest_item *item)
{
    if (peer->wish_count == MYCO__WISHES_MAX) {
        MYCO_ERROR(bus->env->log, "stream", "a node wants too much: some of it is ignored",
            "node=%016llx max=%d", (unsigned long long)peer->id, MYCO__WISHES_MAX);
        return;
    }
    struct myco__interest *wish =
        myco__interest_add(bus, &peer->wishes, item->pattern, item->queue);
    wish->peer = peer;
    peer->wish_count++;
    myco_trie_add(bus->remote, item->pattern, wish);
}

static void wish_remove(struct myco_bus *bus, struct myco__peer *peer, struct myco__interest *wish)
{
    myco_trie_remove(bus->remote, myco__interest_pattern(wish), wish);
    myco__interest_remove(bus, &peer->wishes, wish);
    peer->wish_count--;
}

static void forget_wishes(struct myco_bus *bus, struct myco__peer *peer)
{
    MYCO_MAP_EACH (struct myco__interest, first, &peer->wishes) {
        for (struct myco__interest *wish = first; wish; wish = wish->next) {
            myco_trie_remove(bus->remote, myco__interest_pattern(wish), wish);
        }
    }
    myco__interest_free_all(bus, &peer->wishes);
    peer->wish_count = 0;
}

static void hear_item(
    struct myco_bus *bus, struct myco__peer *peer, const struct myco__interest_item *item)
{
    struct myco__interest *wish =
        myco__interest_get(bus, &peer->wishes, item->pattern, item->queue);
    if (item->op == MYCO__ITEM_ADD && !wish) wish_add(bus, peer, item);
    if (item->op == MYCO__ITEM_REMOVE && wish) wish_remove(bus, peer, wish);
}

void myco__interest_receive(struct myco_bus *bus, uint64_t from, struct myco_slice payload)
{
    uint8_t flags;
    uint64_t serial;
    struct myco_reader items;
    struct myco__peer *peer = myco_map_get(&bus->peers, from);
    if (!peer || !myco__interest_decode(payload, &flags, &serial, &items)) {
        MYCO_METRIC_ADD(bus->env->metrics, FRAMES_REFUSED, 1);
        MYCO_ERROR(bus->env->log, "stream", "interest refused", "node=%016llx size=%zu why=%s",
            (unsigned long long)from, payload.size, peer ? "malformed" : "\"not connected\"");
        return;
    }
    if (flags & MYCO__INTEREST_ACK) {
        if (serial <= peer->told && serial > peer->acked) peer->acked = serial;
        check_flushes(bus);
        return;
    }
    if (flags & MYCO__INTEREST_RESET) forget_wishes(bus, peer);
    struct myco__interest_item item;
    while (myco_read_left(&items) > 0 && myco__interest_item_read(&items, &item)) {
        hear_item(bus, peer, &item);
    }
    peer->heard = serial;
    peer->answered = serial - 1; /* the same again is answered again */
    if (!acknowledge(bus, peer)) myco_timer_start(&bus->retry, RETRY_MS, 0);
}

/* ── Up and down ────────────────────────────────────────────────────────────────────────────── */

static void peer_free(struct myco_bus *bus, struct myco__peer *peer)
{
    forget_wishes(bus, peer);
    myco_map_del(&bus->peers, peer->id);
    myco_free(peer);
}

void myco_bus_peer_up(struct myco_bus *bus, uint64_t node)
{
    MYCO_ASSERT(!bus->sending);
    if (node == bus->self) return;
    struct myco__peer *former = myco_map_get(&bus->peers, node);
    if (former) peer_free(bus, former);
    struct myco__peer *peer = myco_alloc(sizeof(*peer));
    peer->id = node;
    peer->up_order = ++bus->orders;
    myco_map_put(&bus->peers, node, peer);
    if (bus->serial == 0)
        peer->greeted = true; /* it knows nothing of us, and that is all there is */
    else if (!tell_peer(bus, peer))
        myco_timer_start(&bus->retry, RETRY_MS, 0);
    check_flushes(bus);
}

void myco_bus_peer_down(struct myco_bus *bus, uint64_t node)
{
    MYCO_ASSERT(!bus->sending);
    struct myco__peer *peer = myco_map_get(&bus->peers, node);
    if (!peer) return;
    peer_free(bus, peer);
    if (!myco_list_empty(&bus->gone)) forget_gone(bus);
    check_flushes(bus);
}

void myco__peers_init(struct myco_bus *bus)
{
    myco_list_init(&bus->interests);
    myco_list_init(&bus->gone);
    myco_list_init(&bus->flushes);
    myco_timer_init(&bus->retry, bus->env, on_tell, bus);
}

void myco__peers_free(struct myco_bus *bus)
{
    MYCO_MAP_EACH (struct myco__peer, peer, &bus->peers) {
        peer_free(bus, peer);
    }
    myco_map_free(&bus->peers);
    for (struct myco_list *link; (link = myco_list_pop(&bus->flushes));) {
        myco_free(MYCO_CONTAINER(link, struct myco__flush, link));
    }
    myco_timer_stop(&bus->retry);
    myco_defer_cancel(&bus->tell);
    myco_defer_cancel(&bus->flush_check);
    myco__interest_free_all(bus, &bus->ours);
}
