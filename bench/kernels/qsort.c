/* The C library's qsort with a comparison callback: indirect calls. */
#include "kernel.h"
#define N 200000
static u64 v[N];
static int compare(const void *a, const void *b)
{
    u64 x = *(const u64 *)a, y = *(const u64 *)b;
    return x < y ? -1 : x > y;
}
KERNEL(12)
{
    u64 h = 0;
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < N; i++) v[i] = rng();
        qsort(v, N, sizeof v[0], compare);
        for (int i = 0; i < N; i += 97) h = mix(h, v[i]);
    }
    return h;
}
