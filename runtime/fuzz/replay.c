/* The main of a fuzz target where libFuzzer is not: replays files, then generated inputs.
 *
 *     fuzz_frame [--runs N] [FILE…]
 *
 * The generated ones are random bytes, and mutations of the files and of the target's own samples:
 * flipped bits, numbers at the edges, cut, doubled and spliced ranges. They follow from a fixed
 * seed, so that a failure repeats itself; before each input runs, it is kept at hand, and a crash
 * writes it to fuzz_failed.bin. */
#include "fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_SIZE_MAX (64 * 1024)
#define SEEDS_MAX      256

__attribute__((weak)) size_t myco_fuzz_sample(unsigned index, uint8_t *bytes, size_t size_max)
{
    (void)index, (void)bytes, (void)size_max;
    return 0;
}

static struct seed {
    uint8_t *bytes;
    size_t size;
} seeds[SEEDS_MAX];
static unsigned seed_count;

static uint64_t state = 0x6d79636f;

static uint64_t draw(uint64_t bound) /* splitmix64 */
{
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % bound;
}

static uint8_t current[INPUT_SIZE_MAX];
static size_t current_size;

static void keep_failed(int number) /* async-signal-safe calls only */
{
    int fd = open("fuzz_failed.bin", O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd >= 0 && write(fd, current, current_size) == (ssize_t)current_size) {
        static const char text[] = "not ok - crashed; the input is in fuzz_failed.bin\n";
        if (write(STDOUT_FILENO, text, sizeof text - 1) < 0) _exit(1);
    }
    signal(number, SIG_DFL);
    raise(number);
}

/* Each input is handed over in memory of exactly its size: a sanitizer then sees one byte too
 * far. */
static void run(const uint8_t *bytes, size_t size)
{
    if (bytes != current) memcpy(current, bytes, size);
    current_size = size;
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact) abort();
    memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void add_seed(const uint8_t *bytes, size_t size)
{
    if (seed_count == SEEDS_MAX) return;
    struct seed *seed = &seeds[seed_count++];
    seed->bytes = malloc(size ? size : 1);
    if (!seed->bytes) abort();
    memcpy(seed->bytes, bytes, size);
    seed->size = size;
}

static void add_file(const char *path)
{
    static uint8_t bytes[INPUT_SIZE_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    add_seed(bytes, size);
}

static void add_samples(void)
{
    static uint8_t bytes[INPUT_SIZE_MAX];
    size_t size;
    for (unsigned i = 0; i < SEEDS_MAX && (size = myco_fuzz_sample(i, bytes, sizeof bytes)); i++)
        add_seed(bytes, size);
}

static size_t put_edge(uint8_t *bytes, size_t size)
{
    static const uint64_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x10000, 0x7fffffff,
        0x80000000, 0xffffffff, UINT64_MAX, INT64_MAX};
    uint64_t value = edges[draw(sizeof edges / sizeof edges[0])];
    size_t width = (size_t)1 << draw(4);
    if (size < width) return size;
    memcpy(
        bytes + draw(size - width + 1), &value, width); /* little-endian hosts only: it is noise */
    return size;
}

static size_t cut(uint8_t *bytes, size_t size)
{
    if (draw(2)) return draw(size + 1); /* the end */
    size_t from = draw(size), count = 1 + draw(size - from);
    memmove(bytes + from, bytes + from + count, size - from - count);
    return size - count;
}

static size_t insert(uint8_t *bytes, size_t size, const uint8_t *piece, size_t count)
{
    if (size + count > INPUT_SIZE_MAX) return size;
    size_t at = draw(size + 1);
    memmove(bytes + at + count, bytes + at, size - at);
    memmove(bytes + at, piece, count);
    return size + count;
}

static size_t mutate(uint8_t *bytes, size_t size)
{
    if (!size) return size;
    switch (draw(6)) {
    case 0: bytes[draw(size)] ^= (uint8_t)(1u << draw(8)); return size;
    case 1: bytes[draw(size)] = (uint8_t)draw(256); return size;
    case 2: return put_edge(bytes, size);
    case 3: return cut(bytes, size);
    case 4: {
        uint8_t piece[64];
        size_t count = 1 + draw(size < sizeof piece ? size : sizeof piece);
        memcpy(piece, bytes + draw(size - count + 1), count);
        return insert(bytes, size, piece, count);
    }
    default: {
        const struct seed *other = &seeds[draw(seed_count)];
        size_t from = draw(other->size + 1);
        return insert(bytes, size, other->bytes + from, draw(other->size - from + 1));
    }
    }
}

static void run_generated(void)
{
    static uint8_t bytes[INPUT_SIZE_MAX];
    size_t size = 0;
    if (seed_count && draw(8)) {
        const struct seed *seed = &seeds[draw(seed_count)];
        memcpy(bytes, seed->bytes, size = seed->size);
        for (uint64_t rounds = 1 + draw(6); rounds; rounds--) size = mutate(bytes, size);
    } else {
        size = draw(512);
        for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)draw(256);
    }
    run(bytes, size);
}

int main(int argc, char **argv)
{
    unsigned long runs = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--runs") && i + 1 < argc)
            runs = strtoul(argv[++i], NULL, 10);
        else
            add_file(argv[i]);
    }
    add_samples();
    signal(SIGABRT, keep_failed);
    signal(SIGSEGV, keep_failed);
    signal(SIGFPE, keep_failed);
    for (unsigned i = 0; i < seed_count; i++) run(seeds[i].bytes, seeds[i].size);
    for (unsigned long i = 0; i < runs; i++) run_generated();
    printf("ok 1 - %u seeds and %lu generated inputs\n1..1\n", seed_count, runs);
    for (unsigned i = 0; i < seed_count; i++) free(seeds[i].bytes);
    return 0;
}
