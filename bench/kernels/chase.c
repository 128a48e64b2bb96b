/* Pointer chase through 8 MiB in random order: latency of loads. */
#include "kernel.h"
#define N (1 << 20)
static u64 next[N];
KERNEL(6)
{
    static u32 order[N];
    for (u32 i = 0; i < N; i++) order[i] = i;
    for (u32 i = N - 1; i; i--) { u32 j = rng() % (i + 1), t = order[i]; order[i] = order[j]; order[j] = t; }
    for (u32 i = 0; i < N; i++) next[order[i]] = order[(i + 1) % N];
    u64 p = 0;
    for (long r = 0; r < rounds * (long)N - 5; r++) p = next[p];
    return p;
}
