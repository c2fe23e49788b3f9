/* Catches: watches that miss a change, tell one twice, out of order, or before it is committed;
 * that end with the primary of what they watch; that queue without bounds while nobody takes
 * anything; tokens that lead to the wrong place, or silently over what is not kept any more. */
#include "api_kit.h"

#define KEYS 8

static struct myco_err err;

struct seen {
    pthread_mutex_t mutex;
    int last[KEYS]; /* value of the last put of each key */
    int puts, dels, expired, wrong, compacted, ended, status;
    bool ready, full; /* full: takes nothing more */
};

static bool on_page(const struct myco_watch_page *page, void *data)
{
    struct seen *seen = data;
    pthread_mutex_lock(&seen->mutex);
    seen->ready = seen->ready || page->ready;
    if (page->status == MYCO_ECOMPACTED)
        seen->compacted++;
    else if (page->status)
        seen->ended++, seen->status = page->status;
    for (size_t i = 0; i < page->count; i++) {
        const struct myco_change_event *event = &page->events[i];
        int key = event->key.size == 3 ? ((const char *)event->key.data)[2] - '0' : -1;
        if (event->key.size < 2 || memcmp(event->key.data, "w:", 2) != 0 || !event->version)
            seen->wrong++;
        if (event->kind == MYCO_WATCH_DEL) seen->dels++;
        if (event->kind == MYCO_WATCH_EXPIRE) seen->expired++;
        if (event->kind != MYCO_WATCH_PUT) continue;
        seen->puts++;
        if (key < 0 || key >= KEYS) continue;
        int value = atoi((const char *)event->value.data);
        if (!seen->compacted && value != seen->last[key] + 1) seen->wrong++;
        seen->last[key] = value;
    }
    bool more = !seen->full;
    pthread_mutex_unlock(&seen->mutex);
    return more;
}

static struct myco_watch *watch(
    struct myco_septum *septum, struct myco_slice token, struct seen *seen)
{
    struct myco_watch *made = NULL;
    pthread_mutex_init(&seen->mutex, NULL);
    if (myco_watch(septum, myco_str("w:"), token, on_page, seen, &made, &err))
        printf("# watch: %s\n", err.message);
    return made;
}

static bool is_ready(void *data)
{
    struct seen *seen = data;
    pthread_mutex_lock(&seen->mutex);
    bool ready = seen->ready;
    pthread_mutex_unlock(&seen->mutex);
    return ready;
}

static int want_puts, want_expired, want_dels;

static bool has_seen(void *data)
{
    struct seen *seen = data;
    pthread_mutex_lock(&seen->mutex);
    bool all = seen->puts >= want_puts && seen->expired >= want_expired && seen->dels >= want_dels;
    pthread_mutex_unlock(&seen->mutex);
    return all;
}

static bool is_compacted(void *data)
{
    struct seen *seen = data;
    pthread_mutex_lock(&seen->mutex);
    bool compacted = seen->compacted > 0;
    pthread_mutex_unlock(&seen->mutex);
    return compacted;
}

/* The values of each key count up from `from` + 1. */
static void put_round(struct myco_septum *septum, int value)
{
    char key[8], text[16];
    snprintf(text, sizeof text, "%d", value);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "w:%d", i);
        struct myco_slice bytes = myco_bytes(text, strlen(text) + 1);
        if (myco_put(septum, myco_str(key), bytes, NULL, NULL, &err))
            bail_out("put %s: %s", key, err.message);
    }
}

static void test_watch(struct myco *node, struct myco *other)
{
    struct myco_septum *septum = kit_septum(node, "watched", "kind=durable replicas=1 hyphae=4");
    struct myco_septum *there = kit_septum(other, "watched", NULL);
    struct seen seen = {0}, again = {0};
    struct myco_watch *made = watch(there, myco_bytes(NULL, 0), &seen);
    ok(kit_poll(is_ready, &seen, KIT_WAIT_MS), "ready");
    for (int i = 1; i <= 20; i++) put_round(septum, i);
    myco_put(septum, myco_str("other"), myco_str("x"), NULL, NULL, &err);
    myco_del(septum, myco_str("w:0"), NULL, &err);
    myco_put(septum, myco_str("w:x"), myco_str("x"), &(struct myco_put_options){.ttl_ms = 20}, NULL,
        &err);
    want_puts = 20 * KEYS + 1, want_dels = 1, want_expired = 1;
    ok(kit_poll(has_seen, &seen, KIT_WAIT_MS), "puts %d, dels %d, expired %d", seen.puts, seen.dels,
        seen.expired);
    is_int(seen.puts, want_puts, "each once");
    is_int(seen.wrong, 0, "each key in order, and only those of the prefix");
    struct myco_value token;
    ok(!myco_watch_token(made, &token, &err), "its token");
    myco_unwatch(made, NULL, NULL);
    for (int i = 21; i <= 25; i++) put_round(septum, i);
    is_int(seen.puts, want_puts, "nothing comes after its end");
    for (int i = 0; i < KEYS; i++) again.last[i] = 20;
    made = watch(septum, myco_bytes(token.data, token.size), &again);
    want_puts = 5 * KEYS, want_dels = want_expired = 0;
    ok(kit_poll(has_seen, &again, KIT_WAIT_MS), "resumed: what came meanwhile");
    is_int(again.wrong, 0, "from where it was");
    is_int(again.puts, want_puts, "and nothing twice");
    myco_unwatch(made, NULL, NULL);
    struct myco_watch *none = NULL;
    is_int(myco_watch(kit_septum(node, "else", "kind=cache"), myco_str(""),
               myco_bytes(token.data, token.size), on_page, &again, &none, &err),
        MYCO_EINVAL, "%s", err.message);
    /* more than the hyphae keep: a token is too old, and says so */
    char *large = calloc(1, 100000);
    for (int i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "large%d", i);
        myco_put(septum, myco_str(key), myco_bytes(large, 100000), NULL, NULL, &err);
    }
    struct seen old = {0};
    made = watch(there, myco_bytes(token.data, token.size), &old);
    ok(kit_poll(is_compacted, &old, KIT_WAIT_MS), "an old token: compacted");
    ok(kit_poll(is_ready, &old, KIT_WAIT_MS), "and it goes on");
    want_puts = old.puts + KEYS;
    put_round(septum, 26);
    ok(kit_poll(has_seen, &old, KIT_WAIT_MS), "with what is new");
    myco_unwatch(made, NULL, NULL);
    myco_value_release(&token);
    free(large);
}

/* A watcher that takes nothing: what is held is bounded, and it is told what it missed. */
static void test_slow(struct myco *node, struct myco *other)
{
    struct myco_septum *septum = kit_septum(node, "slow", "kind=durable replicas=0 hyphae=1");
    struct seen seen = {.full = true};
    struct myco_watch *made = watch(kit_septum(other, "slow", NULL), myco_bytes(NULL, 0), &seen);
    char *large = calloc(1, 100000);
    ok(kit_poll(is_ready, &seen, KIT_WAIT_MS), "a slow watcher");
    for (int i = 0; i < 20; i++)
        myco_put(septum, myco_str("w:large"), myco_bytes(large, 100000), NULL, NULL, &err);
    pthread_mutex_lock(&seen.mutex);
    ok(seen.puts <= 3, "gets no more than it takes: %d", seen.puts);
    seen.full = false;
    pthread_mutex_unlock(&seen.mutex);
    myco_watch_resume(made);
    ok(kit_poll(is_compacted, &seen, KIT_WAIT_MS), "and is told that it missed some");
    myco_unwatch(made, NULL, NULL);
    free(large);
}

/* A node with primaries goes; what is watched moves to others. */
static void test_failover(struct myco *nodes[])
{
    struct myco_septum *septum = kit_septum(nodes[0], "moving", "kind=durable replicas=2 hyphae=8");
    struct seen seen = {0};
    struct myco_watch *made = watch(septum, myco_bytes(NULL, 0), &seen);
    ok(kit_poll(is_ready, &seen, KIT_WAIT_MS), "ready");
    for (int i = 1; i <= 5; i++) put_round(septum, i);
    myco_close(nodes[2]);
    for (int i = 6; i <= 15; i++) put_round(septum, i);
    want_puts = 15 * KEYS, want_dels = want_expired = 0;
    ok(kit_poll(has_seen, &seen, KIT_WAIT_MS), "all of it, over the loss of a node: %d", seen.puts);
    is_int(seen.puts, want_puts, "each once");
    is_int(seen.wrong, 0, "in order");
    is_int(seen.compacted, 0, "nothing was missed");
    myco_unwatch(made, NULL, NULL);
}

int main(void)
{
    struct myco *nodes[KIT_NODES];
    struct seen left = {0};
    kit_cluster(nodes);
    test_watch(nodes[0], nodes[1]);
    test_slow(nodes[1], nodes[0]);
    test_failover(nodes);
    struct myco_watch *open = watch(kit_septum(nodes[1], "slow", NULL), myco_bytes(NULL, 0), &left);
    ok(open != NULL, "one is left open");
    for (unsigned i = 0; i < KIT_NODES - 1; i++) myco_close(nodes[i]);
    return plan_done();
}
