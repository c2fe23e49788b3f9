/* What a change makes of the value that is there: a pure function, and the change as bytes. */
#include "host/core_change.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_SIZE_MAX 20 /* "-9223372036854775808" */
#define MARK            "\xC1M"

enum { IF_ABSENT = 1, IF_PRESENT = 2, KEEP_TTL = 4, FLAGS = 7 };

/* ── as bytes ── */

void core_change_write(const struct myco_change *change, struct myco_buf *out)
{
    uint8_t flags =
        (uint8_t)((change->if_absent ? IF_ABSENT : 0) | (change->if_present ? IF_PRESENT : 0) |
                  (change->keep_ttl ? KEEP_TTL : 0));
    myco_buf_u8(out, (uint8_t)change->kind);
    myco_buf_u8(out, flags);
    myco_buf_u64(out, change->if_version);
    myco_buf_u64(out, change->ttl_ms);
    myco_buf_u64(out, (uint64_t)change->delta);
    myco_buf_u64(out, (uint64_t)change->initial);
    myco_buf_slice(out, change->value);
}

bool core_change_read(struct myco_reader *in, struct myco_change *change)
{
    memset(change, 0, sizeof *change);
    uint8_t kind = myco_read_u8(in), flags = myco_read_u8(in);
    change->kind = (enum myco_change_kind)kind;
    change->if_version = myco_read_u64(in);
    change->ttl_ms = myco_read_u64(in);
    change->delta = (int64_t)myco_read_u64(in);
    change->initial = (int64_t)myco_read_u64(in);
    change->value = myco_read_slice(in);
    change->if_absent = flags & IF_ABSENT;
    change->if_present = flags & IF_PRESENT;
    change->keep_ttl = flags & KEEP_TTL;
    return !in->bad && kind >= MYCO_CHANGE_GET && kind <= MYCO_CHANGE_LAST && !(flags & ~FLAGS);
}

int core_change_check(const struct myco_change *change, size_t value_size_max, const char **why)
{
    bool valued = change->kind == MYCO_CHANGE_PUT || change->kind == MYCO_CHANGE_SWAP ||
                  change->kind == MYCO_CHANGE_APPEND;
    *why = "";
    if (change->kind < MYCO_CHANGE_GET || change->kind > MYCO_CHANGE_LAST)
        *why = "no such kind of change";
    else if (change->key.size == 0)
        *why = "the key is empty";
    else if (!valued && change->value.size)
        *why = "this kind of change takes no value";
    else if (change->if_absent && change->if_present)
        *why = "if_absent and if_present exclude each other";
    if (**why) return MYCO_EINVAL;
    if (change->key.size > MYCO_KEY_SIZE_MAX)
        *why = "the key is longer than 64 KiB";
    else if (change->value.size > value_size_max)
        *why = "the value is larger than the node's limit";
    return **why ? MYCO_ETOOBIG : 0;
}

/* ── counters ── as decimal text, or as the Lua layer keeps a number: MessagePack behind its mark.
 * A counter keeps the form that it has. */

static bool read_text(struct myco_slice bytes, int64_t *number)
{
    const char *text = bytes.data;
    bool minus = bytes.size && text[0] == '-';
    uint64_t limit = minus ? UINT64_C(1) << 63 : INT64_MAX, sum = 0;
    if (bytes.size <= minus || bytes.size > NUMBER_SIZE_MAX) return false;
    for (size_t i = minus; i < bytes.size; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (text[i] < '0' || text[i] > '9' || sum > (limit - digit) / 10) return false;
        sum = sum * 10 + digit;
    }
    *number = minus ? (int64_t)(0 - sum) : (int64_t)sum;
    return true;
}

static bool read_packed(struct myco_slice bytes, int64_t *number)
{
    const uint8_t *at = (const uint8_t *)bytes.data + 2;
    size_t left = bytes.size - 3;
    uint8_t head = *at++;
    uint64_t sum = 0;
    if (head < 0x80 || head >= 0xE0) {
        *number = head < 0x80 ? head : (int64_t)head - 0x100;
        return left == 0;
    }
    if (head < 0xCC || head > 0xD3) return false;
    size_t size = (size_t)1 << ((head - 0xCC) & 3);
    if (left != size) return false;
    for (size_t i = 0; i < size; i++) sum = sum << 8 | at[i];
    bool is_signed = head >= 0xD0;
    if (!is_signed && sum > INT64_MAX) return false;
    bool negative = is_signed && (at[0] & 0x80);
    if (negative && size < 8) sum |= UINT64_MAX << (8 * size);
    *number = (int64_t)sum;
    return true;
}

static bool is_packed(struct myco_slice bytes)
{
    return bytes.size >= 3 && memcmp(bytes.data, MARK, 2) == 0;
}

static void write_number(int64_t number, bool packed, struct myco_buf *out)
{
    if (!packed) {
        myco_buf_printf(out, "%" PRId64, number);
        return;
    }
    myco_buf_bytes(out, MARK, 2);
    if (number >= -32 && number < 128) {
        myco_buf_u8(out, (uint8_t)number);
        return;
    }
    myco_buf_u8(out, 0xD3);
    for (int shift = 56; shift >= 0; shift -= 8)
        myco_buf_u8(out, (uint8_t)((uint64_t)number >> shift));
}

/* ── kinds ── */

static void refuse(struct core_outcome *out, int status, const char *message)
{
    out->logs = false;
    out->status = status;
    out->message = message;
}

static void store(struct core_outcome *out, struct myco_slice value)
{
    out->logs = true;
    out->op = MYCO_OP_PUT;
    out->value = value;
}

static void compute_incr(const struct myco_change *change, const struct core_change_world *world,
    struct core_outcome *out)
{
    int64_t number = change->initial;
    bool packed = false;
    if (world->item) {
        struct myco_slice bytes = world->item->value;
        packed = is_packed(bytes);
        if (!(packed ? read_packed(bytes, &number) : read_text(bytes, &number))) {
            refuse(out, MYCO_EINVAL, "the value is no whole number of 64 bits");
            return;
        }
    }
    if (__builtin_add_overflow(number, change->delta, &number)) {
        refuse(out, MYCO_ERANGE, "the counter would pass what 64 bits hold");
        return;
    }
    write_number(number, packed, &out->made);
    store(out, myco_buf_as_slice(&out->made));
    out->count = (uint64_t)number;
}

static void compute_append(const struct myco_change *change, const struct core_change_world *world,
    struct core_outcome *out)
{
    struct myco_slice before = world->item ? world->item->value : myco_bytes(NULL, 0);
    if (before.size + change->value.size > world->value_size_max) {
        refuse(out, MYCO_ETOOBIG, "the value would be larger than the node's limit");
        return;
    }
    myco_buf_bytes(&out->made, before.data, before.size);
    myco_buf_bytes(&out->made, change->value.data, change->value.size);
    store(out, myco_buf_as_slice(&out->made));
    out->count = out->value.size;
}

/* What there must be, whatever the kind. */
static bool conditions_hold(const struct myco_change *change, const struct core_change_world *world,
    struct core_outcome *out)
{
    const struct myco_table_item *item = world->item;
    bool needs = change->kind == MYCO_CHANGE_GET || change->kind == MYCO_CHANGE_DEL ||
                 change->kind == MYCO_CHANGE_TAKE || change->kind == MYCO_CHANGE_TOUCH ||
                 change->kind == MYCO_CHANGE_EXPIRE;
    if (change->if_version && (!item || item->version != change->if_version))
        refuse(out, MYCO_ECONFLICT, "version does not match");
    else if (change->if_absent && item)
        refuse(out, MYCO_ECONFLICT, "the key is there already");
    else if (change->kind == MYCO_CHANGE_CHECK)
        return !change->if_present || item || (refuse(out, MYCO_ECONFLICT, "the key is absent"), 0);
    else if (!item && (needs || change->if_present))
        refuse(out, MYCO_ENOTFOUND, "not found");
    else
        return true;
    return false;
}

/* Of what is there: kept by counters and appends unless they say a time, and by keep_ttl. */
static uint64_t expiry(const struct myco_change *change, const struct core_change_world *world)
{
    bool keeps = change->keep_ttl || (!change->ttl_ms && (change->kind == MYCO_CHANGE_INCR ||
                                                             change->kind == MYCO_CHANGE_APPEND));
    if (keeps && world->item) return world->item->expires_ms;
    uint64_t ttl_ms = change->ttl_ms ? change->ttl_ms : world->ttl_ms;
    if (ttl_ms == 0 || ttl_ms > UINT64_MAX / 2) return 0;
    return world->now_ms + ttl_ms;
}

static void compute_kind(const struct myco_change *change, const struct core_change_world *world,
    struct core_outcome *out)
{
    switch (change->kind) {
    case MYCO_CHANGE_PUT: store(out, change->value); break;
    case MYCO_CHANGE_SWAP:
        store(out, change->value);
        out->count = world->item != NULL;
        break;
    case MYCO_CHANGE_TOUCH:
    case MYCO_CHANGE_EXPIRE: store(out, world->item->value); break;
    case MYCO_CHANGE_INCR: compute_incr(change, world, out); break;
    case MYCO_CHANGE_APPEND: compute_append(change, world, out); break;
    case MYCO_CHANGE_DEL:
    case MYCO_CHANGE_TAKE:
        out->logs = true;
        out->op = MYCO_OP_DEL;
        break;
    case MYCO_CHANGE_GET:
    case MYCO_CHANGE_CHECK: break;
    }
}

void core_change_compute(const struct myco_change *change, const struct core_change_world *world,
    struct core_outcome *out)
{
    const struct myco_table_item *item = world->item;
    *out = (struct core_outcome){.message = ""};
    if (!conditions_hold(change, world, out)) return;
    compute_kind(change, world, out);
    if (out->status) return;
    if (out->made.failed) {
        refuse(out, MYCO_ENOMEM, "out of memory");
        return;
    }
    bool shows = change->kind == MYCO_CHANGE_GET || change->kind == MYCO_CHANGE_TOUCH ||
                 change->kind == MYCO_CHANGE_SWAP || change->kind == MYCO_CHANGE_TAKE;
    if (out->logs && out->op == MYCO_OP_PUT) out->expires_ms = expiry(change, world);
    if (shows && item) out->answer = item->value;
    uint64_t expires_ms = out->logs ? out->expires_ms : item ? item->expires_ms : 0;
    if (expires_ms > world->now_ms) out->expires_in_ms = expires_ms - world->now_ms;
}
