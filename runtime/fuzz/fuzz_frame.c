/* Bytes of a connection: whatever comes, the reader stays inside them, holds no more than the
 * limits say, and gives the same messages when they arrive byte by byte. */
#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "fuzz.h"
#include "wire/frame.h"

static void try_link(const struct myco_frame_message *message)
{
    struct myco_hello hello;
    uint64_t session;
    uint8_t reason;
    if (message->lane != MYCO_FRAME_LANE_LINK) return;
    if (myco_link_get_hello(&hello, message->payload, NULL) == 0) {
        assert(strlen(hello.name) <= MYCO_HELLO_NAME_MAX);
        (void)myco_hello_agree(&hello, &hello);
    }
    myco_link_get_ready(&session, message->payload);
    if (myco_link_get_goodbye(&reason, message->payload) == 0) assert(myco_goodbye_text(reason));
}

/* One hash over all messages and how it ended. */
static uint64_t digest(const uint8_t *bytes, size_t size, size_t step)
{
    struct myco_frames frames = {.version = 1};
    struct myco_frame_message message;
    uint64_t sum = 0;
    int status = 0;
    for (size_t at = 0; at < size && status >= 0; at += step) {
        struct myco_slice input = myco_bytes(bytes + at, size - at < step ? size - at : step);
        while ((status = myco_frames_next(&frames, &input, &message, NULL)) == 1) {
            assert(message.payload.size <= MYCO_FRAME_MESSAGE_MAX);
            try_link(&message);
            sum = myco_hash_mix(sum, myco_hash(message.payload.data, message.payload.size));
            sum = myco_hash_mix(sum, (uint64_t)message.lane << 8 | message.type);
        }
        assert(status < 0 || input.size == 0);
    }
    myco_frames_free(&frames);
    return myco_hash_mix(sum, (uint64_t)status);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint64_t whole = digest(bytes, size, size ? size : 1);
    assert(whole == digest(bytes, size, 1));
    return 0;
}

static void put_message(
    struct myco_buf *buf, uint8_t lane, uint8_t type, uint32_t size, uint32_t rest)
{
    static const uint8_t zeros[64];
    struct myco_frame frame = {
        .size = size, .rest = rest, .version = 1, .type = type, .lane = lane};
    uint8_t header[MYCO_FRAME_HEADER_SIZE];
    myco_frame_encode(header, &frame);
    myco_buf_bytes(buf, header, sizeof header);
    myco_buf_bytes(buf, zeros, size);
}

size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    struct myco_hello hello = {.version_lowest = 1, .version_highest = 1, .id = 7, .name = "api-1"};
    struct myco_buf buf = {0};
    if (index == 0) {
        myco_link_put_hello(&buf, &hello);
        myco_link_put_ready(&buf, 1);
        myco_link_put_empty(&buf, MYCO_LINK_ACCEPT);
        myco_link_put_goodbye(&buf, MYCO_GOODBYE_LEAVING);
    } else if (index == 1) {
        put_message(&buf, 2, 6, 40, 60);
        put_message(&buf, 0, 1, 10, 0);
        put_message(&buf, 2, 6, 50, 10);
        put_message(&buf, 1, 24, 0, 0);
        put_message(&buf, 2, 6, 10, 0);
    }
    size_t size = buf.size <= size_max ? buf.size : 0;
    if (size) memcpy(bytes, buf.data, size);
    myco_buf_free(&buf);
    return size;
}
