/* A bytecode interpreter with a switch: the shape of every scripting language's inner loop. */
#include "kernel.h"
enum { PUSH, ADD, SUB, MUL, DUP, SWAP, LOAD, STORE, JNZ, LT, XOR, AND, SHR, HALT };
static const int program[] = {
    PUSH, 0, STORE, 0, PUSH, 1, STORE, 1, PUSH, 3000, STORE, 2,
    /* 12: */ LOAD, 0, LOAD, 1, ADD, DUP, PUSH, 1103515245, MUL, PUSH, 12345, ADD, STORE, 0, PUSH, 3, SHR, LOAD, 1, XOR, PUSH, 65535, AND, STORE, 1,
    LOAD, 2, PUSH, 1, SUB, DUP, STORE, 2, JNZ, 12, LOAD, 0, LOAD, 1, XOR, HALT};
static u64 run(void)
{
    u64 stack[64], *sp = stack, var[8] = {0};
    const int *pc = program;
    for (;;) {
        switch (*pc++) {
        case PUSH: *sp++ = (u64)*pc++; break;
        case ADD: sp--; sp[-1] += sp[0]; break;
        case SUB: sp--; sp[-1] -= sp[0]; break;
        case MUL: sp--; sp[-1] *= sp[0]; break;
        case DUP: sp[0] = sp[-1]; sp++; break;
        case SWAP: { u64 t = sp[-1]; sp[-1] = sp[-2]; sp[-2] = t; break; }
        case LOAD: *sp++ = var[*pc++]; break;
        case STORE: var[*pc++] = *--sp; break;
        case JNZ: { int t = *pc++; if (*--sp) pc = program + t; break; }
        case LT: sp--; sp[-1] = sp[-1] < sp[0]; break;
        case XOR: sp--; sp[-1] ^= sp[0]; break;
        case AND: sp--; sp[-1] &= sp[0]; break;
        case SHR: sp--; sp[-1] >>= sp[0] & 63; break;
        case HALT: return *--sp;
        }
    }
}
KERNEL(1500)
{
    u64 h = 0;
    for (long r = 0; r < rounds; r++) h = mix(h, run() + r);
    return h;
}
