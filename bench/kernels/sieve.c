/* Sieve of Eratosthenes over bytes: stores with a stride. */
#include "kernel.h"
#define N 2000000
static u8 composite[N];
KERNEL(12)
{
    u64 h = 1;
    for (long r = 0; r < rounds; r++) {
        memset(composite, 0, N);
        u32 count = 0;
        for (u32 i = 2; i < N; i++) {
            if (composite[i]) continue;
            count++;
            for (u64 j = (u64)i * i; j < N; j += i) composite[j] = 1;
        }
        h = mix(h, count + r);
    }
    return h;
}
