/* The memory of a domain's entries: slabs of items of one size.
 *
 *     arena    | slab | slab | slab | slab | …      4 slabs; 64 of them, in huge pages, beyond 64
 * MiB slab     | header 64 | item | item | item …   64 KiB, aligned to that, so that an item finds
 * it
 *
 * Items have sizes in steps of 8 bytes up to 1 KiB, of an eighth up to 8 KiB; larger ones come from
 * malloc. When sizes change over time, slabs of the old sizes empty slowly: one that is under half
 * full, while the others of its size have room for what is in it, is marked, gets nothing new, and
 * the table's sweep copies what is left in it elsewhere. An empty slab can serve any other size;
 * its pages go back to the system beyond the first few. */
#include <sys/mman.h>

#include "base/assert.h"
#include "base/fault.h"
#include "base/mem.h"
#include "store/table_internal.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(memory, size)   __asan_poison_memory_region((memory), (size))
#define UNPOISON(memory, size) __asan_unpoison_memory_region((memory), (size))
#else
#define POISON(memory, size)   ((void)(memory), (void)(size))
#define UNPOISON(memory, size) ((void)(memory), (void)(size))
#endif

#define PAGE            4096
#define HUGE_PAGE       (2u * 1024 * 1024)
#define HUGE_FROM       (64u * 1024 * 1024)
#define SLAB_SIZE       (64u * 1024)
#define SLAB_HEADER     64
#define ARENA_SMALL     4
#define ARENA_LARGE     64
#define DIRTY_COUNT_MAX 16
#define CALL_COST       100 /* giving pages back, in items freed */
#define STEP_CLASSES    127 /* 16, 24 … 1,024 */
#define EIGHTH_CLASSES  24  /* 1,152 … 8,192 */

struct arena {
    struct myco_list link;
    uint8_t *base;
    unsigned slab_count, free_count;
    uint64_t free_bits, dirty_bits; /* by slab; dirty ones are free, but have pages */
    bool huge;
};

struct slab {
    struct myco_list link; /* in partial or evacuating of its class; of its own when full */
    struct arena *arena;
    uint32_t item_size;
    uint16_t class_index, capacity, live;
    uint16_t fresh;     /* items from here on were never used */
    uint16_t free_head; /* offset / 8 of a freed item, whose first bytes hold the next; 0: none */
    bool evacuating;
};
_Static_assert(sizeof(struct slab) <= SLAB_HEADER, "the header fits");

/* ── Pages ───────────────────────────────────────────────────────────────────────────────────── */

/* Huge pages, but not at a page fault: the system may search for one for milliseconds. Where a
 * first small page lies already, the others come small, too, and the system's own thread
 * (khugepaged) makes a huge one of them later. */
static void advise_huge(uint8_t *base, size_t size)
{
    for (size_t at = 0; at < size; at += HUGE_PAGE) *(volatile uint8_t *)(base + at) = 0;
    (void)madvise(base, size, MADV_HUGEPAGE); /* advice: may be refused */
}

static void *map_aligned(struct myco__slabs *slabs, size_t size, size_t align)
{
    if (MYCO_FAULT("table.map")) return NULL;
    uint8_t *all =
        mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return NULL;
    uint8_t *base = (uint8_t *)(((uintptr_t)all + align - 1) & ~(uintptr_t)(align - 1));
    if (base > all) munmap(all, (size_t)(base - all));
    munmap(base + size, (size_t)(all + align - base));
    (void)madvise(base, size, MADV_NOHUGEPAGE);
    if (align >= HUGE_PAGE) advise_huge(base, size);
    slabs->mapped_size += size;
    return base;
}

static void unmap(struct myco__slabs *slabs, void *memory, size_t size)
{
    UNPOISON(memory, size);
    munmap(memory, size);
    slabs->mapped_size -= size;
    slabs->cost += CALL_COST;
}

static size_t map_align(const struct myco__slabs *slabs, size_t size)
{
    return slabs->mapped_size + size > HUGE_FROM && size >= HUGE_PAGE ? HUGE_PAGE : SLAB_SIZE;
}

/* ── Arenas ──────────────────────────────────────────────────────────────────────────────────── */

static struct arena *arena_new(struct myco__slabs *slabs)
{
    struct arena *arena = myco_try_alloc(sizeof(*arena));
    if (arena == NULL) return NULL;
    unsigned count = slabs->mapped_size > HUGE_FROM ? ARENA_LARGE : ARENA_SMALL;
    size_t size = (size_t)count * SLAB_SIZE;
    uint8_t *base = map_aligned(slabs, size, map_align(slabs, size));
    if (base == NULL) {
        myco_free(arena);
        return NULL;
    }
    uint64_t bits = count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
    *arena =
        (struct arena){.base = base, .slab_count = count, .free_count = count, .free_bits = bits};
    arena->huge = count == ARENA_LARGE;
    myco_list_append(slabs->arenas.next, &arena->link); /* first */
    return arena;
}

static void arena_free(struct myco__slabs *slabs, struct arena *arena)
{
    slabs->dirty_count -= (uint32_t)__builtin_popcountll(arena->dirty_bits);
    myco_list_remove(&arena->link);
    unmap(slabs, arena->base, (size_t)arena->slab_count * SLAB_SIZE);
    myco_free(arena);
}

static struct arena *arena_first(const struct myco__slabs *slabs) /* there is one */
{
    return MYCO_CONTAINER(slabs->arenas.next, struct arena, link);
}

/* Those with free slabs stand before those without. */
static void arena_place(struct myco__slabs *slabs, struct arena *arena)
{
    myco_list_remove(&arena->link);
    if (arena->free_count == 0) {
        myco_list_append(&slabs->arenas, &arena->link);
    } else {
        myco_list_append(slabs->arenas.next, &arena->link);
    }
}

/* ── Slabs ───────────────────────────────────────────────────────────────────────────────────── */

static unsigned arena_pick(const struct arena *arena)
{
    uint64_t dirty = arena->free_bits & arena->dirty_bits;
    return (unsigned)__builtin_ctzll(dirty != 0 ? dirty : arena->free_bits);
}

static struct slab *slab_new(struct myco__slabs *slabs, unsigned class_index, uint32_t item_size)
{
    bool room = !myco_list_empty(&slabs->arenas) && arena_first(slabs)->free_count > 0;
    struct arena *arena = room ? arena_first(slabs) : arena_new(slabs);
    if (arena == NULL) return NULL;
    unsigned at = arena_pick(arena);
    uint64_t bit = UINT64_C(1) << at;
    if ((arena->dirty_bits & bit) != 0) slabs->dirty_count--;
    arena->free_bits &= ~bit;
    arena->dirty_bits &= ~bit;
    if (--arena->free_count == 0) arena_place(slabs, arena);

    struct slab *slab = (struct slab *)(void *)(arena->base + (size_t)at * SLAB_SIZE);
    UNPOISON(slab, SLAB_HEADER);
    *slab = (struct slab){.arena = arena, .item_size = item_size};
    slab->class_index = (uint16_t)class_index;
    slab->capacity = (uint16_t)((SLAB_SIZE - SLAB_HEADER) / item_size);
    POISON((uint8_t *)slab + SLAB_HEADER, SLAB_SIZE - SLAB_HEADER);
    myco_list_append(slabs->classes[class_index].partial.next, &slab->link);
    slabs->classes[class_index].room += slab->capacity;
    return slab;
}

/* Or a huge page would bring back what was given back. */
static void arena_stay_small(struct arena *arena)
{
    if (!arena->huge) return;
    arena->huge = false;
    (void)madvise(arena->base, (size_t)arena->slab_count * SLAB_SIZE, MADV_NOHUGEPAGE);
}

/* Its items are all free. */
static void slab_free(struct myco__slabs *slabs, struct slab *slab)
{
    struct arena *arena = slab->arena;
    uint64_t bit = UINT64_C(1) << ((size_t)((uint8_t *)slab - arena->base) / SLAB_SIZE);
    if (slab->evacuating) {
        slabs->evacuating_count--;
    } else {
        slabs->classes[slab->class_index].room -= slab->capacity;
    }
    myco_list_remove(&slab->link);
    UNPOISON(slab, SLAB_SIZE);
    if (slabs->dirty_count < DIRTY_COUNT_MAX) {
        slabs->dirty_count++;
        arena->dirty_bits |= bit;
    } else {
        (void)madvise(slab, SLAB_SIZE, MADV_DONTNEED);
        slabs->cost += CALL_COST;
        arena_stay_small(arena);
    }
    arena->free_bits |= bit;
    if (arena->free_count++ == 0) arena_place(slabs, arena);
    bool only = slabs->arenas.next == slabs->arenas.prev;
    if (arena->free_count == arena->slab_count && !only) arena_free(slabs, arena);
}

static struct slab *slab_of(const void *memory)
{
    return (struct slab *)((uintptr_t)memory & ~(uintptr_t)(SLAB_SIZE - 1));
}

static uint16_t slab_room(const struct slab *slab)
{
    return (uint16_t)(slab->capacity - slab->live);
}

/* A slab of the class with room: one in use, else one that was to be emptied, else a new one. */
static struct slab *slab_with_room(
    struct myco__slabs *slabs, unsigned class_index, uint32_t item_size)
{
    struct myco__slab_class *class = &slabs->classes[class_index];
    if (!myco_list_empty(&class->partial)) {
        return MYCO_CONTAINER(class->partial.next, struct slab, link);
    }
    if (myco_list_empty(&class->evacuating)) return slab_new(slabs, class_index, item_size);
    struct slab *slab = MYCO_CONTAINER(class->evacuating.next, struct slab, link);
    slab->evacuating = false;
    slabs->evacuating_count--;
    class->room += slab_room(slab);
    myco_list_remove(&slab->link);
    myco_list_append(&class->partial, &slab->link);
    return slab;
}

static void slab_evacuate(struct myco__slabs *slabs, struct slab *slab)
{
    struct myco__slab_class *class = &slabs->classes[slab->class_index];
    slab->evacuating = true;
    slabs->evacuating_count++;
    class->room -= slab_room(slab);
    myco_list_remove(&slab->link);
    myco_list_append(&class->evacuating, &slab->link);
}

static void *item_take(struct myco__slabs *slabs, struct slab *slab)
{
    uint8_t *item;
    if (slab->free_head != 0) {
        item = (uint8_t *)slab + (size_t)slab->free_head * 8;
        UNPOISON(item, slab->item_size);
        memcpy(&slab->free_head, item, sizeof(slab->free_head));
    } else {
        item = (uint8_t *)slab + SLAB_HEADER + (size_t)slab->fresh++ * slab->item_size;
        UNPOISON(item, slab->item_size);
    }
    slabs->classes[slab->class_index].room--;
    if (++slab->live == slab->capacity) myco_list_remove(&slab->link);
    return item;
}

static void item_give(struct myco__slabs *slabs, uint8_t *item)
{
    struct slab *slab = slab_of(item);
    struct myco__slab_class *class = &slabs->classes[slab->class_index];
    memcpy(item, &slab->free_head, sizeof(slab->free_head));
    slab->free_head = (uint16_t)((size_t)(item - (uint8_t *)slab) / 8);
    POISON(item, slab->item_size);
    if (slab->live-- == slab->capacity) myco_list_append(class->partial.next, &slab->link);
    if (!slab->evacuating) class->room++;
    if (slab->live == 0) slab_free(slabs, slab);
}

/* ── Sizes ───────────────────────────────────────────────────────────────────────────────────── */

static unsigned class_of(size_t size, uint32_t *item_size)
{
    if (size <= 1024) {
        size_t steps = size <= 16 ? 0 : (size - 9) / 8;
        *item_size = (uint32_t)(16 + steps * 8);
        return (unsigned)steps;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(size - 1); /* 10 … 12 */
    size_t eighth = (size_t)1 << (power - 3);
    size_t part = (size - 1 - ((size_t)1 << power)) / eighth;
    *item_size = (uint32_t)(((size_t)1 << power) + (part + 1) * eighth);
    return STEP_CLASSES + (power - 10) * 8 + (unsigned)part;
}

/* Under half full, and the others of the class can take in what is left. */
static bool worth_evacuating(const struct myco__slabs *slabs, const struct slab *slab)
{
    if (slab->evacuating || slab->live * 2 >= slab->capacity) return false;
    return slabs->classes[slab->class_index].room >= slab->capacity;
}

void *myco__slabs_alloc(struct myco__slabs *slabs, size_t size)
{
    if (size > MYCO__SLAB_ITEM_MAX) {
        void *memory = myco_try_alloc(size);
        if (memory != NULL) slabs->large_size += size;
        return memory;
    }
    if (MYCO_FAULT("table.alloc")) return NULL;
    uint32_t item_size;
    unsigned class_index = class_of(size, &item_size);
    struct slab *slab = slab_with_room(slabs, class_index, item_size);
    return slab != NULL ? item_take(slabs, slab) : NULL;
}

void myco__slabs_free(struct myco__slabs *slabs, void *memory, size_t size)
{
    if (size > MYCO__SLAB_ITEM_MAX) {
        slabs->large_size -= size;
        myco_free(memory);
        return;
    }
    struct slab *slab = slab_of(memory);
    bool last = slab->live == 1;
    item_give(slabs, memory);
    if (!last && worth_evacuating(slabs, slab)) slab_evacuate(slabs, slab);
}

bool myco__slabs_evacuating(const struct myco__slabs *slabs, const void *memory, size_t size)
{
    return slabs->evacuating_count > 0 && size <= MYCO__SLAB_ITEM_MAX &&
           slab_of(memory)->evacuating;
}

void *myco__lines_alloc(struct myco__slabs *slabs, size_t size)
{
    MYCO_ASSERT(size >= 64 && (size & (size - 1)) == 0);
    if (size > MYCO__SLAB_ITEM_MAX) {
        size_t rounded = size < SLAB_SIZE ? SLAB_SIZE : size;
        return map_aligned(slabs, rounded, map_align(slabs, rounded));
    }
    if (MYCO_FAULT("table.alloc")) return NULL;
    unsigned class_index = STEP_CLASSES + EIGHTH_CLASSES + (unsigned)__builtin_ctzll(size / 64);
    struct slab *slab = slab_with_room(slabs, class_index, (uint32_t)size);
    return slab != NULL ? memset(item_take(slabs, slab), 0, size) : NULL;
}

void myco__lines_free(struct myco__slabs *slabs, void *memory, size_t size)
{
    if (size > MYCO__SLAB_ITEM_MAX) {
        unmap(slabs, memory, size < SLAB_SIZE ? SLAB_SIZE : size);
    } else {
        item_give(slabs, memory);
    }
}

/* To unmap a large piece at once would take milliseconds. */
void myco__lines_forget(struct myco__slabs *slabs, void *memory, size_t size)
{
    slabs->cost += CALL_COST;
    (void)madvise(memory, size, MADV_DONTNEED);
}

/* ── All of it ───────────────────────────────────────────────────────────────────────────────── */

void myco__slabs_init(struct myco__slabs *slabs)
{
    *slabs = (struct myco__slabs){0};
    myco_list_init(&slabs->arenas);
    for (unsigned i = 0; i < MYCO__SLAB_CLASSES; i++) {
        myco_list_init(&slabs->classes[i].partial);
        myco_list_init(&slabs->classes[i].evacuating);
    }
}

void myco__slabs_close(struct myco__slabs *slabs)
{
    while (!myco_list_empty(&slabs->arenas)) arena_free(slabs, arena_first(slabs));
}
