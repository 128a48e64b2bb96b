/* N queens (13) with bit masks: recursion and bit tricks. */
#define STEADY_ROUNDS(n) 8, 10 /* the time is not proportional to the rounds */
#include "kernel.h"
static u64 solve(u32 all, u32 cols, u32 left, u32 right)
{
    if (cols == all) return 1;
    u64 n = 0;
    for (u32 free = all & ~(cols | left | right); free;) {
        u32 bit = free & -free;
        free ^= bit;
        n += solve(all, cols | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return n;
}
KERNEL(13) { return solve((1u << rounds) - 1, 0, 0, 0); }
