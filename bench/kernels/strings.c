/* The C library's string functions on short and middling strings. */
#include "kernel.h"
static char a[4096], b[4096], c[8192];
KERNEL(300000)
{
    u64 h = 0;
    for (int i = 0; i < 4095; i++) a[i] = 'a' + rng() % 26;
    for (long r = 0; r < rounds; r++) {
        int at = (int)(r * 37 % 3000), n = (int)(r * 13 % 200) + 1;
        memcpy(b, a + at, n);
        b[n] = 0;
        h += strlen(b);
        strcpy(c, b);
        strcat(c, "needle");
        strcat(c, a + at + 500);
        h += strstr(c, "needle") - c;
        h += (u64)strcmp(b, c) >> 63;
        char *q = strchr(c, 'q');
        h += q ? q - c : 0;
        h += memcmp(a + at, c, n + 1) != 0;
        memmove(c + 3, c, 300);
        h = mix(h, (u8)c[100]);
    }
    return h;
}
