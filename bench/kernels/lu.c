/* LU decomposition with partial pivoting. */
#include "kernel.h"
#define N 160
static double a[N][N], w[N][N];
KERNEL(120)
{
    for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) a[i][j] = (double)(rng() % 10000) / 5000 - 1 + (i == j) * 8;
    double det = 0;
    for (long r = 0; r < rounds; r++) {
        memcpy(w, a, sizeof w);
        w[r % N][(r * 3) % N] += 0.5;
        for (int k = 0; k < N; k++) {
            int p = k;
            for (int i = k + 1; i < N; i++) if (__builtin_fabs(w[i][k]) > __builtin_fabs(w[p][k])) p = i;
            if (p != k) for (int j = 0; j < N; j++) { double t = w[k][j]; w[k][j] = w[p][j]; w[p][j] = t; }
            for (int i = k + 1; i < N; i++) {
                double f = w[i][k] / w[k][k];
                for (int j = k; j < N; j++) w[i][j] -= f * w[k][j];
            }
        }
        for (int k = 0; k < N; k++) det += __builtin_fabs(w[k][k]);
    }
    return digits(det);
}
