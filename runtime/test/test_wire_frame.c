/* Would catch: a message that arrives changed, mixed with another lane's, or not at all, however
 * the bytes are cut; a limit that is not kept; a handshake that is read past its end or mistaken.
 */
#include "wire/frame.h"

#include "base/mem.h"
#include "tap.h"

static void put_frame(struct myco_buf *out, uint8_t lane, uint8_t type, uint32_t rest,
    const void *bytes, uint32_t size)
{
    struct myco_frame frame = {
        .size = size, .rest = rest, .version = 1, .type = type, .lane = lane};
    uint8_t header[MYCO_FRAME_HEADER_SIZE];
    myco_frame_encode(header, &frame);
    myco_buf_bytes(out, header, sizeof header);
    myco_buf_bytes(out, bytes, size);
}

/* Three messages: a bulk one of three pieces, a control one between its pieces, an empty data
 * one. */
static void put_mixed(struct myco_buf *out, const uint8_t *bulk)
{
    put_frame(out, 2, 6, 250, bulk, 150);
    put_frame(out, 0, 1, 0, "now", 3);
    put_frame(out, 2, 6, 50, bulk + 150, 200);
    put_frame(out, 1, 24, 0, "", 0);
    put_frame(out, 2, 6, 0, bulk + 350, 50);
}

struct seen {
    unsigned count;
    char order[8];
    bool bulk_intact, control_intact;
};

static void look(struct seen *seen, const struct myco_frame_message *message, const uint8_t *bulk)
{
    seen->order[seen->count++] = (char)('0' + message->lane);
    if (message->lane == 2)
        seen->bulk_intact = message->type == 6 && message->payload.size == 400 &&
                            memcmp(message->payload.data, bulk, 400) == 0;
    if (message->lane == 0)
        seen->control_intact =
            message->payload.size == 3 && memcmp(message->payload.data, "now", 3) == 0;
}

/* Feeds `bytes` in reads of `step` bytes, each in memory of exactly its size. */
static int feed(struct myco_frames *frames, const struct myco_buf *bytes, size_t step,
    struct seen *seen, const uint8_t *bulk)
{
    int status = 0;
    for (size_t at = 0; at < bytes->size && status >= 0; at += step) {
        size_t size = bytes->size - at < step ? bytes->size - at : step;
        uint8_t *exact = myco_memdup(bytes->data + at, size);
        struct myco_slice input = myco_bytes(exact, size);
        struct myco_frame_message message;
        while ((status = myco_frames_next(frames, &input, &message, NULL)) == 1)
            look(seen, &message, bulk);
        myco_free(exact);
    }
    return status;
}

static void test_reassembly(void)
{
    uint8_t bulk[400];
    for (size_t i = 0; i < sizeof bulk; i++) bulk[i] = (uint8_t)(i * 7);
    struct myco_buf bytes = {0};
    put_mixed(&bytes, bulk);

    unsigned good = 0;
    for (size_t step = 1; step <= bytes.size; step++) {
        struct myco_frames frames = {.version = 1};
        struct seen seen = {0};
        int status = feed(&frames, &bytes, step, &seen, bulk);
        good += status == 0 && strcmp(seen.order, "012") == 0 && seen.bulk_intact &&
                seen.control_intact && frames.frame_count == 5;
        myco_frames_free(&frames);
    }
    is_int(good, bytes.size, "three messages come whole and in order, however the bytes are cut");
    myco_buf_free(&bytes);
}

static void test_in_place(void)
{
    struct myco_buf bytes = {0};
    put_frame(&bytes, 1, 24, 0, "abc", 3);
    struct myco_frames frames = {.version = 1};
    struct myco_slice input = myco_buf_as_slice(&bytes);
    struct myco_frame_message message;
    is_int(myco_frames_next(&frames, &input, &message, NULL), 1, "a whole frame is a message");
    ok(message.payload.data == bytes.data + MYCO_FRAME_HEADER_SIZE, "and is not copied");
    myco_frames_free(&frames);
    myco_buf_free(&bytes);
}

static int status_of(uint8_t version, const struct myco_buf *bytes)
{
    struct myco_frames frames = {.version = version};
    struct myco_slice input = myco_buf_as_slice(bytes);
    struct myco_frame_message message;
    int status;
    do {
        status = myco_frames_next(&frames, &input, &message, NULL);
    } while (status == 1);
    myco_frames_free(&frames);
    return status;
}

static int status_of_frame(struct myco_frame frame, uint8_t version)
{
    struct myco_buf bytes = {0};
    uint8_t header[MYCO_FRAME_HEADER_SIZE];
    myco_frame_encode(header, &frame);
    myco_buf_bytes(&bytes, header, sizeof header);
    int status = status_of(version, &bytes);
    myco_buf_free(&bytes);
    return status;
}

static void test_refusals(void)
{
    struct myco_buf http = {0};
    myco_buf_bytes(&http, "GET / HTTP/1.1\r\n\r\n", 18);
    ok(status_of(1, &http) < 0, "text is not a frame");
    myco_buf_free(&http);

    struct myco_frame frame = {.size = 1, .version = 1, .type = 1};
    is_int(status_of_frame(frame, 0), MYCO_EPROTO, "no message before the handshake");
    is_int(status_of_frame(frame, 2), MYCO_EVERSION, "another version than the agreed one");
    frame.lane = 4;
    is_int(status_of_frame(frame, 1), MYCO_EPROTO, "no such lane");
    frame.lane = 0, frame.size = MYCO_FRAME_PIECE_MAX + 1;
    is_int(status_of_frame(frame, 1), MYCO_ETOOBIG, "piece too large");
    frame.size = 1, frame.rest = MYCO_FRAME_MESSAGE_MAX;
    is_int(status_of_frame(frame, 1), MYCO_ETOOBIG, "message too large");
    frame.rest = UINT32_MAX;
    is_int(status_of_frame(frame, 1), MYCO_ETOOBIG, "no overflow of the sum");
    frame.size = 0, frame.rest = 1;
    is_int(status_of_frame(frame, 1), MYCO_EPROTO, "empty piece");
    frame = (struct myco_frame){.size = 1025, .type = 1, .lane = MYCO_FRAME_LANE_LINK};
    is_int(status_of_frame(frame, 0), MYCO_ETOOBIG, "link frame too large");

    struct myco_buf broken = {0};
    put_frame(&broken, 2, 6, 10, "abc", 3);
    put_frame(&broken, 2, 6, 0, "abc", 3);
    is_int(status_of(1, &broken), MYCO_EPROTO, "a piece that does not continue its message");
    myco_buf_free(&broken);
}

static void test_no_memory(void)
{
    struct myco_buf bytes = {0};
    put_frame(&bytes, 2, 6, 1000, "abc", 3);
    myco_mem_fail_nth(1);
    is_int(status_of(1, &bytes), MYCO_ENOMEM, "no memory for a message is an error");
    myco_mem_fail_nth(0);
    myco_buf_free(&bytes);
}

static const struct myco_hello hello = {
    .version_lowest = 1,
    .version_highest = 3,
    .features = 5,
    .cluster = 0x1122334455667788,
    .id = 7,
    .generation = 8,
    .session = 9,
    .name = "api-1",
    .listen = {.ip = {127, 0, 0, 1}, .port = 7946, .family = 4},
};

static void test_hello(void)
{
    struct myco_buf bytes = {0};
    myco_link_put_hello(&bytes, &hello);
    struct myco_frames frames = {0};
    struct myco_slice input = myco_buf_as_slice(&bytes);
    struct myco_frame_message message;
    is_int(myco_frames_next(&frames, &input, &message, NULL), 1, "a handshake is a link frame");
    is_int(message.lane * 10 + message.type, 31, "on the link's lane");

    struct myco_hello got;
    is_int(myco_link_get_hello(&got, message.payload, NULL), 0, "it is read");
    ok(got.version_highest == 3 && got.features == 5 && got.cluster == hello.cluster &&
            got.id == 7 && got.generation == 8 && got.session == 9,
        "with its numbers");
    is_str(got.name, "api-1", "its name");
    ok(myco_addr_equal(&got.listen, &hello.listen), "and its address");

    unsigned refused = 0;
    for (size_t size = 0; size < message.payload.size; size++) {
        struct myco_slice cut = myco_bytes(message.payload.data, size);
        refused += myco_link_get_hello(&got, cut, NULL) == MYCO_EPROTO;
    }
    is_int(refused, message.payload.size, "cut anywhere, it is refused");
    myco_frames_free(&frames);
    myco_buf_free(&bytes);
}

static void test_versions(void)
{
    struct myco_hello old = {.version_lowest = 1, .version_highest = 1};
    struct myco_hello newer = {.version_lowest = 2, .version_highest = 4};
    is_int(myco_hello_agree(&hello, &old), 1, "the highest that both speak");
    is_int(myco_hello_agree(&hello, &newer), 3, "either way round");
    is_int(myco_hello_agree(&old, &newer), 0, "none in common");
}

static void test_small_frames(void)
{
    struct myco_buf bytes = {0};
    myco_link_put_ready(&bytes, 42);
    myco_link_put_goodbye(&bytes, MYCO_GOODBYE_LEAVING);
    myco_link_put_empty(&bytes, MYCO_LINK_PING);
    struct myco_frames frames = {0};
    struct myco_slice input = myco_buf_as_slice(&bytes);
    struct myco_frame_message message;
    uint64_t session = 0;
    uint8_t reason = 0;
    myco_frames_next(&frames, &input, &message, NULL);
    ok(myco_link_get_ready(&session, message.payload) == 0 && session == 42, "READY");
    myco_frames_next(&frames, &input, &message, NULL);
    ok(myco_link_get_goodbye(&reason, message.payload) == 0 && reason == 2, "GOODBYE");
    is_str(myco_goodbye_text(reason), "the peer stops", "has a text");
    is_str(myco_goodbye_text(200), "unknown reason", "also one from a later version");
    is_int(myco_frames_next(&frames, &input, &message, NULL), 1, "PING has no payload");
    is_int(myco_link_get_ready(&session, message.payload), MYCO_EPROTO, "which is no READY");
    myco_frames_free(&frames);
    myco_buf_free(&bytes);
}

int main(void)
{
    test_reassembly();
    test_in_place();
    test_refusals();
    test_no_memory();
    test_hello();
    test_versions();
    test_small_frames();
    return plan_done();
}
