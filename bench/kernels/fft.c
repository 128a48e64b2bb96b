/* Radix-2 FFT forth and back. */
#include "kernel.h"
#define N 4096
static double re[N], im[N], wr[N / 2], wi[N / 2];
static void fft(int inverse)
{
    for (int i = 1, j = 0; i < N; i++) {
        int bit = N >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) { double t = re[i]; re[i] = re[j]; re[j] = t; t = im[i]; im[i] = im[j]; im[j] = t; }
    }
    for (int len = 2; len <= N; len <<= 1) {
        int step = N / len;
        for (int i = 0; i < N; i += len)
            for (int k = 0; k < len / 2; k++) {
                double c = wr[k * step], s = inverse ? wi[k * step] : -wi[k * step];
                double ur = re[i + k], ui = im[i + k], xr = re[i + k + len / 2], xi = im[i + k + len / 2];
                double vr = xr * c - xi * s, vi = xr * s + xi * c;
                re[i + k] = ur + vr; im[i + k] = ui + vi;
                re[i + k + len / 2] = ur - vr; im[i + k + len / 2] = ui - vi;
            }
    }
}
KERNEL(600)
{
    /* twiddles by the angle-addition rule, without libm */
    double c1 = 0.99999882345170190993, s1 = 0.0015339801862847655, c = 1, s = 0;
    for (int i = 0; i < N / 2; i++) { wr[i] = c; wi[i] = s; double t = c * c1 - s * s1; s = s * c1 + c * s1; c = t; }
    for (int i = 0; i < N; i++) re[i] = (double)(rng() % 2000) / 1000 - 1, im[i] = 0;
    for (long r = 0; r < rounds; r++) { fft(0); re[r % N] += 1; fft(1); for (int i = 0; i < N; i++) re[i] /= N, im[i] /= N; }
    double e = 0;
    for (int i = 0; i < N; i++) e += re[i] * re[i] + im[i] * im[i];
    return digits(e);
}
