/* Mandelbrot set: multiply-add chains and a floating-point compare per step. */
#define STEADY_ROUNDS(n) 60, 120 /* the time is not proportional to the rounds */
#include "kernel.h"
KERNEL(700)
{
    u64 h = 0;
    for (long y = 0; y < rounds; y++)
        for (long x = 0; x < rounds; x++) {
            double cr = 2.0 * x / rounds - 1.5, ci = 2.0 * y / rounds - 1.0, zr = 0, zi = 0;
            int i = 0;
            for (; i < 200; i++) {
                double r2 = zr * zr, i2 = zi * zi;
                if (r2 + i2 > 4.0) break;
                zi = 2 * zr * zi + ci;
                zr = r2 - i2 + cr;
            }
            h += i >= 50;
        }
    return h;
}
