/* Open-addressing hash map: insert, find, delete. */
#include "kernel.h"
#define SLOTS (1 << 16)
static u64 keys[SLOTS], values[SLOTS];
static u32 slot(u64 key) { return (u32)((key * 0x9e3779b97f4a7c15ull) >> 48); }
static void put(u64 key, u64 value)
{
    u32 i = slot(key);
    while (keys[i] && keys[i] != key) i = (i + 1) & (SLOTS - 1);
    keys[i] = key;
    values[i] = value;
}
static u64 get(u64 key)
{
    u32 i = slot(key);
    while (keys[i]) {
        if (keys[i] == key) return values[i];
        i = (i + 1) & (SLOTS - 1);
    }
    return 0;
}
KERNEL(400)
{
    u64 h = 0;
    for (long r = 0; r < rounds; r++) {
        memset(keys, 0, sizeof keys);
        u64 seed = r + 1;
        for (u64 i = 1; i <= 40000; i++) put(i * 2654435761u + seed, i);
        for (u64 i = 1; i <= 80000; i++) h += get(i * 2654435761u + seed) * i;
        h = mix(h, r);
    }
    return h;
}
