#define _GNU_SOURCE /* ppoll() */
/* Passes Ethernet frames on later, or not at all: the slow links of scripts/lab.
 *
 *     slow DEVICE TABLE      DEVICE is a TAP device on the lab's bridge; TABLE a file, a line for
 * each direction of a link: FROM TO DELAY-US JITTER-US LOSS-PPM
 *
 * A node that is to be slow towards another sends its frames to this device's MAC. The sender is
 * the last byte of the frame's source MAC, the receiver the last byte of the packet's IPv4
 * destination; the frame waits for its delay, uniform in [DELAY - JITTER, DELAY + JITTER], and is
 * sent on to the MAC of the receiver. Frames overtake each other only where there is jitter. SIGHUP
 * reads the table again.
 *
 * Limits: 16,384 frames wait at most, more are lost, as in a router; 255 nodes; IPv4 only. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define NODES     256
#define WAITING   16384
#define FRAME_MAX 65600
#define MAC_SIZE  6

struct link {
    uint64_t delay_us, jitter_us;
    uint32_t loss_ppm;
};

struct frame {
    uint64_t due_us, sequence;
    size_t size;
    uint8_t *bytes;
};

static const uint8_t our_mac[MAC_SIZE] = {0x02, 0x6d, 0x79, 0xff, 0, 1};
static struct link links[NODES][NODES];
static struct frame heap[WAITING]; /* the earliest first, ties in the order of arrival */
static size_t heap_count;
static uint64_t sequence, random_state = 88172645463325252u;
static volatile sig_atomic_t table_is_old = 1;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return bound > 0 ? random_state % bound : 0;
}

static void on_hangup(int signal)
{
    (void)signal;
    table_is_old = 1;
}

static void read_table(const char *path)
{
    unsigned from, to;
    unsigned long long delay, jitter, loss;
    FILE *file = fopen(path, "r");
    table_is_old = 0;
    if (!file) return;
    memset(links, 0, sizeof links);
    while (fscanf(file, "%u %u %llu %llu %llu", &from, &to, &delay, &jitter, &loss) == 5) {
        if (from >= NODES || to >= NODES) continue;
        links[from][to] = (struct link){delay, jitter < delay ? jitter : delay, (uint32_t)loss};
    }
    fclose(file);
}

/* ── what waits ── */

static int before(const struct frame *a, const struct frame *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->sequence < b->sequence;
}

static void push(struct frame frame)
{
    size_t at = heap_count++;
    for (; at > 0 && before(&frame, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = frame;
}

static struct frame pop(void)
{
    struct frame first = heap[0], last = heap[--heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < heap_count; at = child) {
        if (child + 1 < heap_count && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &last)) break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return first;
}

/* ── one frame: destination MAC, source MAC, type, IPv4 header ── */

static void accept_frame(uint8_t *bytes, size_t size)
{
    if (size < 34 || bytes[12] != 0x08 || bytes[13] != 0x00) return;
    uint8_t from = bytes[11], to = bytes[33];
    const struct link *link = &links[from][to];
    if (memcmp(bytes, our_mac, MAC_SIZE) != 0) return; /* a bridge tells all what is for nobody */
    if (heap_count == WAITING || random_below(1000000) < link->loss_ppm) return;
    const uint8_t receiver[MAC_SIZE] = {0x02, 0x6d, 0x79, 0, 0, to};
    memcpy(bytes, receiver, MAC_SIZE);
    memcpy(bytes + MAC_SIZE, our_mac,
        MAC_SIZE); /* the bridge must not learn that the sender is here */
    uint64_t wait = link->delay_us - link->jitter_us + random_below(2 * link->jitter_us + 1);
    struct frame frame = {now_us() + wait, sequence++, size, malloc(size)};
    if (!frame.bytes) return;
    memcpy(frame.bytes, bytes, size);
    push(frame);
}

static void send_due(int device)
{
    while (heap_count > 0 && heap[0].due_us <= now_us()) {
        struct frame frame = pop();
        ssize_t sent = write(device, frame.bytes, frame.size);
        if (sent < 0 && errno != EAGAIN) perror("slow: write");
        free(frame.bytes);
    }
}

static int open_device(const char *name)
{
    struct ifreq request = {0};
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (device < 0 || ioctl(device, TUNSETIFF, &request) < 0) {
        perror("slow: /dev/net/tun");
        exit(1);
    }
    return device;
}

static void await(int device)
{
    struct pollfd poll_for = {device, POLLIN, 0};
    struct timespec wait = {3600, 0};
    if (heap_count > 0) {
        uint64_t now = now_us(), left = heap[0].due_us > now ? heap[0].due_us - now : 0;
        wait = (struct timespec){(time_t)(left / 1000000), (long)(left % 1000000) * 1000};
    }
    sigset_t none; /* SIGHUP comes in only while this waits, so that none is missed */
    sigemptyset(&none);
    ppoll(&poll_for, 1, &wait, &none);
}

int main(int argc, char **argv)
{
    static uint8_t bytes[FRAME_MAX];
    struct sigaction action = {.sa_handler = on_hangup};
    sigset_t hangup;
    if (argc != 3) return fputs("usage: slow DEVICE TABLE\n", stderr), 2;
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hangup, NULL);
    sigaction(SIGHUP, &action, NULL);
    int device = open_device(argv[1]);
    puts("ready");
    fflush(stdout);
    for (;;) {
        ssize_t size;
        if (table_is_old) read_table(argv[2]);
        while ((size = read(device, bytes, sizeof bytes)) > 0) accept_frame(bytes, (size_t)size);
        send_due(device);
        await(device);
    }
}
