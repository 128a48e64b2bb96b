/* LZ77 compression with a hash chain of one, then decompression: byte loads, unpredictable branches. */
#include "kernel.h"
#define N (1 << 18)
static u8 in[N], packed[N * 2], out[N];
static u32 head[1 << 14];
static size_t compress(const u8 *s, size_t n, u8 *d)
{
    size_t i = 0, o = 0, lit = 0;
    memset(head, 0xff, sizeof head);
    while (i + 4 <= n) {
        u32 w = s[i] | s[i + 1] << 8 | s[i + 2] << 16 | (u32)s[i + 3] << 24;
        u32 h = (w * 2654435761u) >> 18;
        u32 c = head[h];
        head[h] = (u32)i;
        if (c != 0xffffffffu && i - c < 65536 && s[c] == s[i] && s[c + 1] == s[i + 1] && s[c + 2] == s[i + 2] && s[c + 3] == s[i + 3]) {
            size_t len = 4;
            while (i + len < n && len < 255 && s[c + len] == s[i + len]) len++;
            while (lit) {
                size_t run = lit > 127 ? 127 : lit;
                d[o++] = (u8)run;
                for (size_t k = 0; k < run; k++) d[o++] = s[i - lit + k];
                lit -= run;
            }
            d[o++] = 0x80;
            d[o++] = (u8)len;
            d[o++] = (u8)(i - c);
            d[o++] = (u8)((i - c) >> 8);
            i += len;
        } else {
            i++;
            lit++;
        }
    }
    lit += n - i;
    i = n;
    while (lit) {
        size_t run = lit > 127 ? 127 : lit;
        d[o++] = (u8)run;
        for (size_t k = 0; k < run; k++) d[o++] = s[i - lit + k];
        lit -= run;
    }
    return o;
}
static size_t expand(const u8 *s, size_t n, u8 *d)
{
    size_t o = 0;
    for (size_t i = 0; i < n;) {
        u8 t = s[i++];
        if (t == 0x80) {
            size_t len = s[i], dist = s[i + 1] | s[i + 2] << 8;
            i += 3;
            for (size_t k = 0; k < len; k++, o++) d[o] = d[o - dist];
        } else {
            for (u8 k = 0; k < t; k++) d[o++] = s[i++];
        }
    }
    return o;
}
KERNEL(120)
{
    static const char *words[] = {"the ", "quick ", "brown ", "fox ", "jumps ", "over ", "a ", "lazy ", "dog. ", "instruction ", "translate "};
    u64 h = 0;
    for (size_t i = 0; i < N;)
        for (const char *w = words[rng() % 11]; *w && i < N; w++) in[i++] = *w;
    for (long r = 0; r < rounds; r++) {
        in[r % N] ^= 1;
        size_t n = compress(in, N, packed);
        size_t m = expand(packed, n, out);
        h = mix(h, n + m + out[(r * 977) % N]);
        if (memcmp(in, out, N)) return 0;
    }
    return h;
}
