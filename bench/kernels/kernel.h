/* What every kernel shares: `KERNEL(default_rounds) { ... return checksum; }` runs `rounds` rounds (argv[1], or the default) and prints
 * the checksum, which must be the same on every machine. No library calls in the timed part unless the kernel is about them. */
#ifndef KERNEL_H
#define KERNEL_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

static u64 kernel(long rounds);

/* Deterministic data on every machine. */
static u64 rng_state = 0x9e3779b97f4a7c15ull;
static inline u64 rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static inline u64 mix(u64 h, u64 v)
{
    h ^= v;
    h *= 0x100000001b3ull;
    return h ^ (h >> 29);
}

/* The first six digits of a double: the compiler may fuse multiply and add on one machine and not on the other. */
static inline u64 digits(double d)
{
    double scale = 1;
    if (d < 0) d = -d;
    while (d * scale < 1e5 && scale < 1e200) scale *= 10;
    while (d * scale >= 1e6 && scale > 1e-200) scale /= 10;
    return (u64)(d * scale + 0.5);
}

#define KERNEL(default_rounds)                                    \
    int main(int argc, char **argv)                               \
    {                                                             \
        long rounds = argc > 1 ? atol(argv[1]) : (default_rounds); \
        printf("%016llx\n", (unsigned long long)kernel(rounds));  \
        return 0;                                                 \
    }                                                             \
    static u64 kernel(long rounds)
#endif
