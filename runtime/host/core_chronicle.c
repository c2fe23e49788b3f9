/* A ring of events, and those who follow it.
 *
 *     ring[number % max]      number = first … last; the oldest gives way
 *     follower.next           the number that it is told next; moved up to `first` when it lags
 *
 * An event is one block of memory that is never changed: head, subject, text, fields. It is
 * counted, so that the one which a callback looks at outlives its place in the ring. */
#include "host/core_chronicle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "consensus/policy_docs.h"

struct event {
    unsigned references;
    struct myco_event public;
};

struct chronicle_follower {
    struct myco_list link;
    struct myco_chronicle *chronicle;
    uint64_t next;
    myco_event_cb cb;
    void *data;
};

struct myco_chronicle {
    struct myco_env *env;
    struct event **ring;
    uint32_t max, follower_count;
    uint64_t first, last; /* first > last: empty */
    struct myco_list followers;
    struct myco_deferred delivery;
};

static const struct {
    const char *name, *subsystem;
    int level, metric;
} kinds[] = {
#define X(symbol, kind, at, from, counter)                                                         \
    {.name = kind, .subsystem = from, .level = MYCO_LOG_##at, .metric = MYCO_METRIC_##counter},
    MYCO_EVENT_KINDS(X)
#undef X
};

const char *myco_event_kind_name(enum myco_event_kind kind)
{
    return kinds[kind].name;
}

struct myco_chronicle *chronicle_new(struct myco_env *env, uint32_t events_max)
{
    struct myco_chronicle *chronicle = myco_alloc(sizeof *chronicle);
    chronicle->env = env;
    chronicle->max = events_max ? events_max : MYCO_EVENTS_DEFAULT;
    chronicle->ring = myco_alloc(chronicle->max * sizeof(struct event *));
    chronicle->first = 1;
    myco_list_init(&chronicle->followers);
    return chronicle;
}

static void event_release(struct event *event)
{
    if (event && --event->references == 0) myco_free(event);
}

void chronicle_free(struct myco_chronicle *chronicle)
{
    if (!chronicle) return;
    struct myco_list *link;
    myco_defer_cancel(&chronicle->delivery);
    while ((link = myco_list_pop(&chronicle->followers)))
        myco_free(MYCO_CONTAINER(link, struct chronicle_follower, link));
    for (uint32_t i = 0; i < chronicle->max; i++) event_release(chronicle->ring[i]);
    myco_free(chronicle->ring);
    myco_free(chronicle);
}

/* ── telling ── */

struct chronicle_note chronicle_note(enum myco_event_kind kind, const char *subject)
{
    return (struct chronicle_note){.kind = kind, .subject = subject};
}

void chronicle_field(struct chronicle_note *note, const char *key, const char *text)
{
    if (note->field_count == CHRONICLE_FIELDS_MAX) return;
    note->fields[note->field_count++] = (struct chronicle_field){key, text ? text : "", 0};
}

void chronicle_number(struct chronicle_note *note, const char *key, uint64_t number)
{
    if (note->field_count == CHRONICLE_FIELDS_MAX) return;
    note->fields[note->field_count++] = (struct chronicle_field){key, NULL, number};
}

static void write_fields(const struct chronicle_note *note, struct myco_buf *out)
{
    msgpack_packer pack;
    myco_pack_init(&pack, out);
    msgpack_pack_map(&pack, note->field_count);
    for (unsigned i = 0; i < note->field_count; i++) {
        const struct chronicle_field *field = &note->fields[i];
        if (field->text)
            myco_pack_key_str(&pack, field->key, field->text);
        else
            myco_pack_key_u64(&pack, field->key, field->number);
    }
}

static char *place(char **at, const void *bytes, size_t size)
{
    char *placed = *at;
    if (size) memcpy(placed, bytes, size);
    placed[size] = 0;
    *at += size + 1;
    return placed;
}

static struct event *make_event(
    struct myco_chronicle *chronicle, const struct chronicle_note *note, const char *text)
{
    struct myco_buf fields = {0};
    write_fields(note, &fields);
    size_t subject_size = strlen(note->subject), text_size = strlen(text);
    struct event *event = myco_alloc(sizeof *event + subject_size + text_size + fields.size + 3);
    char *at = (char *)(event + 1);
    event->references = 1;
    event->public = (struct myco_event){.sequence = chronicle->last + 1,
        .time_ms = chronicle->env->ops->wall_ms(chronicle->env),
        .kind = kinds[note->kind].name,
        .subject = place(&at, note->subject, subject_size),
        .text = place(&at, text, text_size),
        .fields = {place(&at, fields.data, fields.size), fields.size}};
    myco_buf_free(&fields);
    return event;
}

static void deliver(void *data);

static void keep(struct myco_chronicle *chronicle, struct event *event)
{
    struct event **slot = &chronicle->ring[event->public.sequence % chronicle->max];
    event_release(*slot);
    *slot = event;
    chronicle->last = event->public.sequence;
    if (chronicle->last - chronicle->first >= chronicle->max)
        chronicle->first = chronicle->last - chronicle->max + 1;
    if (!myco_list_empty(&chronicle->followers))
        myco_defer(chronicle->env, &chronicle->delivery, deliver, chronicle);
}

void chronicle_tell(
    struct myco_chronicle *chronicle, const struct chronicle_note *note, const char *format, ...)
{
    char text[CHRONICLE_TEXT_MAX + 1];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct event *event = make_event(chronicle, note, text);
    MYCO_LOG_AT(chronicle->env->log, kinds[note->kind].level, kinds[note->kind].subsystem, text,
        "event=%s number=%llu", kinds[note->kind].name, (unsigned long long)event->public.sequence);
    __atomic_fetch_add(
        &chronicle->env->metrics->values[kinds[note->kind].metric], 1, __ATOMIC_RELAXED);
    keep(chronicle, event);
}

/* ── reading ── */

uint64_t chronicle_last(const struct myco_chronicle *chronicle)
{
    return chronicle->last;
}

static void pack_event(msgpack_packer *pack, const struct myco_event *event)
{
    msgpack_pack_map(pack, 6);
    myco_pack_key_u64(pack, "sequence", event->sequence);
    myco_pack_key_u64(pack, "time_ms", event->time_ms);
    myco_pack_key_str(pack, "kind", event->kind);
    myco_pack_key_str(pack, "subject", event->subject);
    myco_pack_key_str(pack, "text", event->text);
    myco_pack_str(pack, "fields");
    msgpack_pack_str_body(pack, event->fields.data, event->fields.size); /* packed already */
}

void chronicle_pack(const struct myco_chronicle *chronicle, uint64_t from, msgpack_packer *pack)
{
    if (from < chronicle->first) from = chronicle->first;
    uint64_t count = from > chronicle->last ? 0 : chronicle->last - from + 1;
    msgpack_pack_array(pack, count);
    for (uint64_t i = 0; i < count; i++)
        pack_event(pack, &chronicle->ring[(from + i) % chronicle->max]->public);
}

/* ── following ── */

static struct chronicle_follower *behind(const struct myco_chronicle *chronicle, uint64_t last)
{
    MYCO_LIST_EACH (link, &chronicle->followers) {
        struct chronicle_follower *follower = MYCO_CONTAINER(link, struct chronicle_follower, link);
        if (follower->next <= last) return follower;
    }
    return NULL;
}

/* Up to what there is now: what a callback causes is told on a later turn. */
static void deliver(void *data)
{
    struct myco_chronicle *chronicle = data;
    struct chronicle_follower *follower;
    for (uint64_t last = chronicle->last; (follower = behind(chronicle, last));) {
        if (follower->next < chronicle->first) follower->next = chronicle->first;
        struct event *event = chronicle->ring[follower->next++ % chronicle->max];
        event->references++;
        follower->cb(&event->public, follower->data);
        event_release(event);
    }
}

struct chronicle_follower *chronicle_follow(
    struct myco_chronicle *chronicle, uint64_t from, myco_event_cb cb, void *data)
{
    if (chronicle->follower_count == CHRONICLE_FOLLOWERS_MAX) return NULL;
    struct chronicle_follower *follower = myco_alloc(sizeof *follower);
    *follower = (struct chronicle_follower){
        .chronicle = chronicle, .next = from ? from : 1, .cb = cb, .data = data};
    if (follower->next > chronicle->last) follower->next = chronicle->last + 1;
    chronicle->follower_count++;
    myco_list_append(&chronicle->followers, &follower->link);
    myco_defer(chronicle->env, &chronicle->delivery, deliver, chronicle);
    return follower;
}

void chronicle_unfollow(struct chronicle_follower *follower)
{
    if (!follower) return;
    follower->chronicle->follower_count--;
    myco_list_remove(&follower->link);
    myco_free(follower);
}
