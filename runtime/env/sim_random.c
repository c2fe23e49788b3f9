/* The simulator's random numbers: xoshiro256** (Blackman and Vigna, 2018), seeded by splitmix64.
 * Each use has a stream of its own, so that one more draw in the network does not change what the
 * disks do. */
#include "env/sim_private.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t value, int by)
{
    return value << by | value >> (64 - by);
}

void myco_sim_random_init(struct myco_sim_random *random, uint64_t seed, uint64_t stream)
{
    uint64_t state = seed;
    state = splitmix(&state) ^ stream * 0xd1342543de82ef95;
    for (int i = 0; i < 4; i++) random->s[i] = splitmix(&state);
}

uint64_t myco_sim_random_u64(struct myco_sim_random *random)
{
    uint64_t *s = random->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9, shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

/* The bias of a multiplication in place of a rejection is below bound / 2^64: nobody sees it
 * here. */
uint64_t myco_sim_random_below(struct myco_sim_random *random, uint64_t bound)
{
    return bound == 0 ? 0
                      : (uint64_t)((unsigned __int128)myco_sim_random_u64(random) * bound >> 64);
}

uint64_t myco_sim_random_between(struct myco_sim_random *random, uint64_t low, uint64_t high)
{
    return high <= low ? low : low + myco_sim_random_below(random, high - low + 1);
}

bool myco_sim_random_chance(struct myco_sim_random *random, uint32_t ppm)
{
    return ppm > 0 && myco_sim_random_below(random, 1000000) < ppm;
}
