/* Double-precision matrix product, i-k-j order. */
#include "kernel.h"
#ifndef REAL
#define REAL double
#endif
#define N 192
static REAL a[N][N], b[N][N], c[N][N];
KERNEL(60)
{
    for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) a[i][j] = (REAL)(rng() % 1000) / 1000, b[i][j] = (REAL)(rng() % 1000) / 1000;
    for (long r = 0; r < rounds; r++) {
        memset(c, 0, sizeof c);
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++) { REAL x = a[i][k]; for (int j = 0; j < N; j++) c[i][j] += x * b[k][j]; }
        a[r % N][3] += c[5][r % N] * (REAL)0.001;
    }
    double s = 0;
    for (int i = 0; i < N; i++) s += c[i][(i * 7) % N];
    return digits(s) / 100;
}
