/* Spectral norm: integer to floating-point conversions and divisions. */
#include "kernel.h"
#define N 400
static double a(int i, int j) { return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1); }
static void av(const double *v, double *o) { for (int i = 0; i < N; i++) { double s = 0; for (int j = 0; j < N; j++) s += a(i, j) * v[j]; o[i] = s; } }
static void atv(const double *v, double *o) { for (int i = 0; i < N; i++) { double s = 0; for (int j = 0; j < N; j++) s += a(j, i) * v[j]; o[i] = s; } }
KERNEL(120)
{
    static double u[N], v[N], t[N];
    for (int i = 0; i < N; i++) u[i] = 1;
    for (long r = 0; r < rounds; r++) { av(u, t); atv(t, v); av(v, t); atv(t, u); double m = 0; for (int i = 0; i < N; i++) if (u[i] > m) m = u[i]; for (int i = 0; i < N; i++) u[i] /= m; }
    double x = 0, y = 0;
    for (int i = 0; i < N; i++) x += u[i] * v[i], y += v[i] * v[i];
    return digits(__builtin_sqrt(x / y * (x / y)));
}
