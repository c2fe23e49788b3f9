/* Commands of this node on their way through the log. */
#include "consensus/commands.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/text.h"
#include "wire/message.h"

#define WARN_MS   5000 /* one that is refused is sent again and again by older versions */
#define TICK_MS   50
#define RESEND_MS 250 /* a leader that has not committed it by then is asked again */

struct pending {
    struct myco_list link;
    uint64_t sequence, deadline_ns, sent_ns;
    struct myco_buf bytes;
    myco_command_cb cb;
    void *data;
    struct myco_command_result refused; /* status: by ourselves as leader; 0: not */
};

struct myco_commands {
    struct myco_env *env;
    struct myco_rlog *log;
    struct myco_commands_events events;
    uint64_t self, generation, sequence, hint;
    struct myco_list pending; /* by sequence */
    size_t count;
    struct myco_timer timer;
    uint64_t warned_ns; /* last, of a command that was refused */
};

static void tick(void *data);

struct myco_commands *myco_commands_new(struct myco_env *env, uint64_t self, uint64_t generation,
    const struct myco_commands_events *events)
{
    struct myco_commands *commands = myco_alloc(sizeof *commands);
    commands->env = env;
    commands->self = self;
    commands->generation = generation;
    commands->events = *events;
    myco_list_init(&commands->pending);
    myco_timer_init(&commands->timer, env, tick, commands);
    return commands;
}

static void finish(struct myco_commands *commands, struct pending *pending,
    const struct myco_command_result *result)
{
    myco_list_remove(&pending->link);
    commands->count--;
    if (pending->cb) pending->cb(result, pending->data);
    myco_buf_free(&pending->bytes);
    myco_free(pending);
}

void myco_commands_free(struct myco_commands *commands)
{
    if (!commands) return;
    struct myco_command_result closed = {.status = MYCO_ECLOSED, .message = "the node closes"};
    while (!myco_list_empty(&commands->pending))
        finish(commands, MYCO_CONTAINER(commands->pending.next, struct pending, link), &closed);
    myco_timer_stop(&commands->timer);
    myco_free(commands);
}

void myco_commands_start(struct myco_commands *commands, struct myco_rlog *log)
{
    commands->log = log;
    myco_timer_start(&commands->timer, TICK_MS, TICK_MS);
}

void myco_commands_hint(struct myco_commands *commands, uint64_t leader)
{
    if (commands->hint == leader) return;
    commands->hint = leader;
    if (leader && commands->log && !myco_rlog_leader(commands->log))
        myco_commands_leader_changed(commands);
}

uint64_t myco_commands_leader(const struct myco_commands *commands)
{
    uint64_t leader = commands->log ? myco_rlog_leader(commands->log) : 0;
    return leader ? leader : commands->hint == commands->self ? 0 : commands->hint;
}

static int leader_admits(
    struct myco_commands *commands, struct myco_slice command, struct myco_err *err)
{
    if (!commands->events.admits || !myco_rlog_is_leader(commands->log)) return 0;
    return commands->events.admits(command, err, commands->events.data);
}

/* Ours, as leader. What is refused for good ends at the next tick: not while it is submitted. */
static void log_own(struct myco_commands *commands, struct pending *pending)
{
    struct myco_slice command = myco_buf_as_slice(&pending->bytes);
    struct myco_err err = {0};
    int rc = leader_admits(commands, command, &err);
    if (rc == 0) rc = myco_rlog_submit(commands->log, command);
    if (rc) pending->sent_ns = 0;
    if (rc != MYCO_EBUSY || !err.message[0]) return;
    pending->refused = (struct myco_command_result){.status = rc};
    myco_text_copy(pending->refused.message, sizeof pending->refused.message, err.message);
}

static void dispatch(struct myco_commands *commands, struct pending *pending)
{
    uint64_t leader = myco_commands_leader(commands);
    if (!leader) return;
    pending->sent_ns = myco_now_ns(commands->env);
    if (leader == commands->self) {
        log_own(commands, pending);
        return;
    }
    struct myco_buf copy = {0};
    myco_buf_bytes(&copy, pending->bytes.data, pending->bytes.size);
    commands->events.send(leader, MYCO_MESSAGE_SUBMIT, &copy, commands->events.data);
}

int myco_commands_submit(struct myco_commands *commands, uint8_t kind, struct myco_buf *body,
    uint64_t timeout_ms, myco_command_cb cb, void *data)
{
    const struct myco_state *state = commands->events.state;
    if (state && !myco_state_feature(state, myco_command_feature(kind))) {
        myco_buf_free(body);
        return MYCO_EVERSION;
    }
    uint64_t oldest = myco_list_empty(&commands->pending)
                          ? commands->sequence + 1
                          : MYCO_CONTAINER(commands->pending.next, struct pending, link)->sequence;
    if (commands->sequence + 1 - oldest >= MYCO_COMMANDS_PENDING_MAX || body->failed) {
        myco_buf_free(body);
        return MYCO_EFULL;
    }
    struct pending *pending = myco_alloc(sizeof *pending);
    pending->sequence = ++commands->sequence;
    pending->deadline_ns = myco_now_ns(commands->env) + timeout_ms * 1000000;
    pending->cb = cb;
    pending->data = data;
    myco_command_begin(
        &pending->bytes, kind, commands->self, commands->generation, pending->sequence);
    myco_buf_bytes(&pending->bytes, body->data, body->size);
    myco_buf_free(body);
    myco_list_append(&commands->pending, &pending->link);
    commands->count++;
    if (!myco_timer_active(&commands->timer) && commands->log)
        myco_timer_start(&commands->timer, TICK_MS, TICK_MS);
    dispatch(commands, pending);
    return 0;
}

void myco_commands_applied(struct myco_commands *commands, const struct myco_command_head *head,
    const struct myco_command_result *result)
{
    if (head->node != commands->self || head->generation != commands->generation || !head->sequence)
        return;
    MYCO_LIST_EACH (item, &commands->pending) {
        struct pending *pending = MYCO_CONTAINER(item, struct pending, link);
        if (pending->sequence != head->sequence) continue;
        finish(commands, pending, result);
        return;
    }
}

void myco_commands_leader_changed(struct myco_commands *commands)
{
    MYCO_LIST_EACH (item, &commands->pending)
        dispatch(commands, MYCO_CONTAINER(item, struct pending, link));
}

/* The deadline of a command that was never handed to a leader means that it did not happen. */
static void tick(void *data)
{
    struct myco_commands *commands = data;
    uint64_t now = myco_now_ns(commands->env);
    struct myco_command_result late = {.status = MYCO_EUNKNOWN,
        .message = "the consensus leader did not confirm it in time: it may yet be applied"};
    struct myco_command_result never = {
        .status = MYCO_ETIMEDOUT, .message = "no consensus leader was found in time"};
    MYCO_LIST_EACH (item, &commands->pending) {
        struct pending *pending = MYCO_CONTAINER(item, struct pending, link);
        if (pending->refused.status)
            finish(commands, pending, &pending->refused);
        else if (now >= pending->deadline_ns)
            finish(commands, pending, pending->sent_ns ? &late : &never);
        else if (now - pending->sent_ns >= (uint64_t)RESEND_MS * 1000000)
            dispatch(commands, pending);
    }
    if (commands->count == 0) myco_timer_stop(&commands->timer); /* until something is submitted */
}

static void refused(struct myco_commands *commands, uint64_t from, struct myco_slice payload)
{
    struct myco_reader in = myco_reader(payload.data, payload.size);
    uint64_t sequence = myco_read_u64(&in);
    if (!myco_read_left(&in)) {
        if (commands->log && myco_rlog_leader(commands->log) != from)
            myco_commands_leader_changed(commands);
        return;
    }
    struct myco_command_result result = {.status = (int32_t)myco_read_u32(&in)};
    myco_read_str(&in, result.message, sizeof result.message);
    struct myco_command_head head = {
        .node = commands->self, .generation = commands->generation, .sequence = sequence};
    if (!in.bad && (result.status == MYCO_EVERSION || result.status == MYCO_EDENIED ||
                       result.status == MYCO_EBUSY))
        myco_commands_applied(commands, &head, &result);
}

/* u64 sequence; then, when asking again is of no use, i32 status and the reason */
static void refuse(
    struct myco_commands *commands, uint64_t to, uint64_t sequence, const struct myco_err *err)
{
    struct myco_buf out = {0};
    char reason[sizeof((struct myco_command_result *)NULL)->message];
    myco_buf_u64(&out, sequence);
    if (err) {
        myco_text_copy(reason, sizeof reason, err->message);
        myco_buf_u32(&out, (uint32_t)err->code);
        myco_buf_str(&out, reason);
    }
    commands->events.send(to, MYCO_MESSAGE_SUBMIT_REFUSED, &out, commands->events.data);
}

/* As leader: the command of another node. It learns the outcome when it applies it, or asks
 * again. */
void myco_commands_receive(
    struct myco_commands *commands, uint64_t from, uint8_t type, struct myco_slice payload)
{
    struct myco_command_head head;
    if (type == MYCO_MESSAGE_SUBMIT_REFUSED) {
        refused(commands, from, payload);
        return;
    }
    if (!myco_command_peek(payload, &head) || head.node != from || !commands->log) return;
    struct myco_err err = {0};
    const struct myco_state *state = commands->events.state;
    if (leader_admits(commands, payload, &err)) {
        refuse(commands, from, head.sequence, err.code == MYCO_EUNAVAILABLE ? NULL : &err);
    } else if (myco_rlog_is_leader(commands->log) && state &&
               myco_state_admits(state, payload, &err)) {
        uint64_t now = myco_now_ns(commands->env);
        if (!commands->warned_ns || now - commands->warned_ns > WARN_MS * UINT64_C(1000000)) {
            commands->warned_ns = now;
            MYCO_WARN(commands->env->log, "nodosum", "a command is refused",
                "node=%016llx kind=%u reason=\"%s\"", (unsigned long long)from, head.kind,
                err.message);
        }
        refuse(commands, from, head.sequence, &err);
    } else if (myco_rlog_submit(commands->log, payload)) {
        refuse(commands, from, head.sequence, NULL);
    }
}

size_t myco_commands_pending(const struct myco_commands *commands)
{
    return commands->count;
}
