/* Table-driven CRC-32: one dependent load per byte. */
#include "kernel.h"
static u32 table[256];
static u8 data[1 << 16];
KERNEL(800)
{
    for (u32 i = 0; i < 256; i++) {
        u32 c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    for (size_t i = 0; i < sizeof data; i++) data[i] = rng();
    u32 c = ~0u;
    for (long r = 0; r < rounds; r++)
        for (size_t i = 0; i < sizeof data; i++) c = table[(c ^ data[i]) & 0xff] ^ c >> 8;
    return c;
}
