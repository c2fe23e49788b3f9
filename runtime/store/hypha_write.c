/* A write at its primary: judged, appended, answered.
 *
 * A condition is judged against the latest write of its key, committed or not: an index leads from
 * a key to its latest pending record. What is refused because of a record that is not committed yet
 * is answered only once that record is: the answer says that it exists, and it may still be lost.
 */
#include "store/hypha_internal.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

/* ── The index of pending keys ─────────────────────────────────────────────────────────────── */

static struct myco__record **index_slot(const struct myco_hypha *hypha, uint64_t hash)
{
    return &hypha->index[hash & (hypha->index_size - 1)];
}

static bool index_reserve(struct myco_hypha *hypha)
{
    if (hypha->index_count < hypha->index_size) return true;
    size_t size = hypha->index_size ? hypha->index_size * 2 : 64;
    struct myco__record **index = myco_try_alloc(size * sizeof(*index));
    if (index == NULL) return hypha->index_size > 0; /* then its chains grow */
    memset(index, 0, size * sizeof(*index));
    for (size_t i = 0; i < hypha->index_size; i++) {
        for (struct myco__record *record = hypha->index[i], *next; record != NULL; record = next) {
            next = record->chain;
            record->chain = index[record->hash & (size - 1)];
            index[record->hash & (size - 1)] = record;
        }
    }
    myco_free(hypha->index);
    hypha->index = index;
    hypha->index_size = size;
    return true;
}

static bool same_key(struct myco_slice a, struct myco_slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static struct myco__record *index_find(const struct myco_hypha *hypha, struct myco_slice key)
{
    if (hypha->index_count == 0) return NULL;
    uint64_t hash = myco_hash(key.data, key.size);
    for (struct myco__record *record = *index_slot(hypha, hash); record; record = record->chain) {
        if (record->hash == hash && same_key(record->write.key, key)) return record;
    }
    return NULL;
}

void myco__pending_remove(struct myco_hypha *hypha, struct myco__record *record)
{
    if (!record->indexed) return;
    struct myco__record **link = index_slot(hypha, record->hash);
    while (*link != record) link = &(*link)->chain;
    *link = record->chain;
    record->chain = NULL;
    record->indexed = false;
    hypha->index_count--;
}

static void index_insert(struct myco_hypha *hypha, struct myco__record *record)
{
    if (record->write.op == MYCO_OP_NOOP) return;
    struct myco__record *former = index_find(hypha, record->write.key);
    if (former != NULL) myco__pending_remove(hypha, former);
    record->hash = myco_hash(record->write.key.data, record->write.key.size);
    struct myco__record **slot = index_slot(hypha, record->hash);
    record->chain = *slot;
    *slot = record;
    record->indexed = true;
    hypha->index_count++;
}

void myco__pending_free(struct myco_hypha *hypha)
{
    for (size_t i = hypha->log.applied_count; i < hypha->log.count; i++) {
        myco__pending_remove(hypha, myco__log_at(&hypha->log, i));
    }
    MYCO_ASSERT(hypha->index_count == 0);
    myco_free(hypha->index);
    hypha->index = NULL;
    hypha->index_size = 0;
}

/* ── Answers ───────────────────────────────────────────────────────────────────────────────── */

static void answer_say(struct myco_hypha *hypha, struct myco__answer *answer)
{
    hypha->answers_size -= sizeof(*answer);
    hypha->effects.complete(answer->token, answer->status, answer->version, hypha->effects.data);
    myco_free(answer);
}

static void answers_say(struct myco_hypha *hypha, struct myco__answer **first)
{
    struct myco__answer *answer = *first;
    *first = NULL;
    while (answer != NULL) {
        struct myco__answer *next = answer->next;
        answer_say(hypha, answer);
        answer = next;
    }
}

/* It did not happen, and what it was judged by is not certain any more. */
static void answers_withdraw(struct myco__answer *answer)
{
    for (; answer != NULL; answer = answer->next) {
        answer->status = MYCO_EUNAVAILABLE;
        answer->version = 0;
    }
}

void myco__hypha_answer_ready(struct myco_hypha *hypha)
{
    hypha->answers_end = &hypha->answers;
    answers_say(hypha, &hypha->answers);
}

void myco__hypha_answer_record(struct myco_hypha *hypha, struct myco__record *record)
{
    if (record->wanted) {
        record->wanted = false;
        hypha->effects.complete(record->token, 0, record->offset, hypha->effects.data);
    }
    answers_say(hypha, &record->answers);
}

void myco__hypha_answer_lost(struct myco_hypha *hypha)
{
    answers_withdraw(hypha->answers);
    myco__hypha_answer_ready(hypha);
    for (size_t i = hypha->log.applied_count; i < hypha->log.count; i++) {
        struct myco__record *record = myco__log_at(&hypha->log, i);
        if (record->wanted) {
            record->wanted = false;
            hypha->effects.complete(record->token, MYCO_EUNKNOWN, 0, hypha->effects.data);
        }
        answers_withdraw(record->answers);
        answers_say(hypha, &record->answers);
    }
}

/* `by`: the record that is not committed, or NULL: the table. */
static int answer_later(
    struct myco_hypha *hypha, struct myco__record *by, uint64_t token, int status, uint64_t version)
{
    struct myco__answer *answer = myco_try_alloc(sizeof(*answer));
    if (answer == NULL) return MYCO_ENOMEM;
    *answer = (struct myco__answer){.token = token, .status = status, .version = version};
    hypha->answers_size += sizeof(*answer);
    if (by != NULL) {
        answer->next = by->answers;
        by->answers = answer;
        return 0;
    }
    *hypha->answers_end = answer;
    hypha->answers_end = &answer->next;
    myco__hypha_settle_later(hypha);
    return 0;
}

/* ── Writes ────────────────────────────────────────────────────────────────────────────────── */

struct present {
    struct myco__record *by; /* what says so, if it is pending */
    bool there, expired;
    uint64_t version;
    struct myco_table_item item; /* when it is there */
};

static struct present find_present(const struct myco_hypha *hypha, struct myco_slice key)
{
    struct present present = {.by = index_find(hypha, key)};
    if (present.by != NULL) {
        const struct myco_write *write = &present.by->write;
        present.there = write->op == MYCO_OP_PUT;
        present.version = present.by->offset;
        present.item = (struct myco_table_item){.key = write->key,
            .value = write->value,
            .version = present.by->offset,
            .expires_ms = write->expires_ms};
    } else if (myco_table_find(hypha->table, key, &present.item)) {
        present.there = true;
        present.version = present.item.version;
    }
    uint64_t expires_ms = present.there ? present.item.expires_ms : 0;
    present.expired = expires_ms != 0 && expires_ms <= myco_hypha_log_time_ms(hypha);
    return present;
}

bool myco_hypha_latest(
    const struct myco_hypha *hypha, struct myco_slice key, struct myco_table_item *item)
{
    struct present present = find_present(hypha, key);
    *item = present.item;
    return present.there && !present.expired;
}

/* 0: go on. Else what the write is answered with, and *version. */
static int judge(const struct present *present, const struct myco_write *write, uint64_t *version)
{
    bool alive = present->there && !present->expired;
    *version = alive ? present->version : 0;
    if (write->look) return MYCO_ECONFLICT;
    if (write->if_expired) {
        if (!present->there) return MYCO_ENOTFOUND;
        return present->expired ? 0 : MYCO_ECONFLICT;
    }
    if (write->if_version != 0 && *version != write->if_version) return MYCO_ECONFLICT;
    if (write->op == MYCO_OP_PUT && write->if_absent && alive) return MYCO_ECONFLICT;
    if (write->op == MYCO_OP_DEL && !alive) return MYCO_ENOTFOUND;
    return 0;
}

static int check_sizes(const struct myco_write *write)
{
    if (write->fence.size > MYCO_FENCE_NAME_MAX) return MYCO_EINVAL;
    if (write->fence.size > 0) {
        bool torn = memchr(write->fence.data, 0, write->fence.size) != NULL;
        if (torn || write->fence_epoch == 0) return MYCO_EINVAL;
    }
    if (write->op == MYCO_OP_NOOP) {
        return write->key.size == 0 && write->value.size == 0 ? 0 : MYCO_EINVAL;
    }
    if (write->key.size == 0) return MYCO_EINVAL;
    if (write->op == MYCO_OP_DEL && write->value.size > 0) return MYCO_EINVAL;
    if (write->key.size > MYCO_KEY_SIZE_MAX) return MYCO_ETOOBIG;
    return write->value.size > MYCO_VALUE_SIZE_MAX ? MYCO_ETOOBIG : 0;
}

/* Appends a record at `offset`: to the journal first, so that an error leaves no gap. */
int myco__hypha_append(struct myco_hypha *hypha, const struct myco_write *write, uint64_t offset,
    struct myco__record **given)
{
    struct myco__log *log = &hypha->log;
    if (!myco__log_reserve(log) || !index_reserve(hypha)) return MYCO_ENOMEM;
    struct myco__record *record = myco__hypha_record_new(
        write, hypha->set.epoch, offset, myco_hypha_log_time_ms(hypha), log->commit);
    if (record == NULL) return MYCO_ENOMEM;
    uint64_t sequence = 0;
    if (hypha->options.level != MYCO_LEVEL_MEMORY) {
        int rc = hypha->effects.journal(offset, MYCO__KIND_RECORD,
            myco_bytes(record->bytes, record->size), &sequence, hypha->effects.data);
        if (rc != 0) {
            myco__hypha_record_free(record);
            return rc;
        }
    }
    myco__log_push(log, record, sequence);
    index_insert(hypha, record);
    if (record->write.fence.size > 0) myco__fence_logged(hypha, record);
    if (given != NULL) *given = record;
    return 0;
}

/* A refused write has been here all the same: its epoch counts from now on, and the answer waits
 * until that is committed. */
static int refuse_fenced(struct myco_hypha *hypha, const struct myco_write *write, uint64_t token,
    int status, uint64_t version)
{
    struct myco_write seen = {
        .op = MYCO_OP_NOOP, .fence = write->fence, .fence_epoch = write->fence_epoch};
    struct myco__record *record;
    int rc = myco__hypha_append(hypha, &seen, hypha->log.last + 1, &record);
    if (rc != 0) return rc;
    myco__hypha_settle_later(hypha);
    return answer_later(hypha, record, token, status, version);
}

/* Below the fence; then by its conditions. */
static int write_judged(struct myco_hypha *hypha, struct myco_write *write, uint64_t token)
{
    bool fenced = write->fence.size > 0, raises = false;
    struct myco__record *record;
    uint64_t version = 0;
    if (fenced) {
        int rc = myco__fence_judge(hypha, write, &raises, &version, &record);
        if (rc == MYCO_EFENCED) return answer_later(hypha, record, token, rc, version);
        if (rc != 0) return rc;
        /* a read that raises nothing waits for what it was judged by */
        if (write->op == MYCO_OP_NOOP && !raises) return answer_later(hypha, record, token, 0, 0);
        if (!raises) write->fence = myco_bytes(NULL, 0);
    }
    if (write->op != MYCO_OP_NOOP) {
        struct present present = find_present(hypha, write->key);
        int status = judge(&present, write, &version);
        if (status != 0 && raises) return refuse_fenced(hypha, write, token, status, version);
        if (status != 0) return answer_later(hypha, present.by, token, status, version);
    }
    int rc = myco__hypha_append(hypha, write, hypha->log.last + 1, &record);
    if (rc != 0) return rc;
    record->token = token;
    record->wanted = true;
    myco__hypha_settle_later(hypha);
    return 0;
}

int myco_hypha_write(struct myco_hypha *hypha, const struct myco_write *write, uint64_t token)
{
    if (hypha->role != MYCO__ROLE_PRIMARY) return MYCO_ENOTLEADER;
    if (!myco_hypha_serving(hypha) || hypha->sealed) return MYCO_EUNAVAILABLE;
    int rc = check_sizes(write);
    if (rc != 0) return rc;
    size_t pending = hypha->log.pending_size + hypha->answers_size;
    if (pending >= hypha->options.pending_size_max) return MYCO_EFULL;
    struct myco_write judged = *write;
    return write_judged(hypha, &judged, token);
}
