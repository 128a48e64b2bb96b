/* Multi-precision arithmetic: factorial and a modular power with 64x64->128 multiplications. */
#include "kernel.h"
#define L 64
static void mul_mod(u64 *r, const u64 *a, const u64 *b, u64 c)
{
    u64 t[2 * L] = {0};
    for (int i = 0; i < L; i++) {
        u64 carry = 0;
        for (int j = 0; j < L; j++) {
            unsigned __int128 p = (unsigned __int128)a[i] * b[j] + t[i + j] + carry;
            t[i + j] = (u64)p;
            carry = (u64)(p >> 64);
        }
        t[i + L] = carry;
    }
    /* modulo 2^(64L) - c: fold the upper half twice */
    for (int pass = 0; pass < 2; pass++) {
        u64 carry = 0;
        for (int i = 0; i < L; i++) {
            unsigned __int128 p = (unsigned __int128)t[L + i] * c + t[i] + carry;
            t[i] = (u64)p;
            carry = (u64)(p >> 64);
        }
        memset(t + L, 0, sizeof t / 2);
        t[L] = carry;
    }
    memcpy(r, t, L * 8);
}
KERNEL(30000)
{
    u64 a[L], x[L], h = 0;
    for (int i = 0; i < L; i++) a[i] = rng(), x[i] = rng();
    for (long r = 0; r < rounds; r++) mul_mod(x, x, a, 189);
    for (int i = 0; i < L; i++) h = mix(h, x[i]);
    return h;
}
