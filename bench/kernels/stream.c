/* Copy, scale, add, triad over arrays larger than L2. */
#include "kernel.h"
#define N (1 << 20)
static double a[N], b[N], c[N];
KERNEL(24)
{
    for (int i = 0; i < N; i++) a[i] = 1 + (i & 7), b[i] = 2, c[i] = 0;
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < N; i++) c[i] = a[i];
        for (int i = 0; i < N; i++) b[i] = 0.5 * c[i];
        for (int i = 0; i < N; i++) c[i] = a[i] + b[i];
        for (int i = 0; i < N; i++) a[i] = b[i] + 0.25 * c[i];
    }
    return digits(a[7]) ^ digits(c[N - 1]);
}
