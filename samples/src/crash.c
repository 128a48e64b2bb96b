/* Dies of what argv[1] names, for crash reports: null, jump, stack, illegal, abort. Freestanding: keeps its symbols in a few KiB. */
typedef unsigned long word;
static long syscall3(long n, long a, long b, long c)
{
    register long a7 __asm__("a7") = n, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
}
__attribute__((noinline)) void write_to_null(void) { *(volatile int *)8 = 1; }
__attribute__((noinline)) void jump_to_garbage(void) { ((void (*)(void))0x123456)(); }
__attribute__((noinline)) word overflow_stack(word n)
{
    volatile char big[4096];
    big[0] = (char)n;
    return overflow_stack(n + 1) + big[0];
}
__attribute__((noinline)) void illegal_instruction(void) { __asm__ volatile(".half 0"); }
__attribute__((used)) void start(word *sp)
{
    const char *how = sp[0] > 1 ? (const char *)sp[2] : "null";
    switch (how[0]) {
    case 'n': write_to_null(); break;
    case 'j': jump_to_garbage(); break;
    case 's': overflow_stack(0); break;
    case 'i': illegal_instruction(); break;
    case 'a': syscall3(129, syscall3(172, 0, 0, 0), 6, 0); break; /* kill(getpid(), SIGABRT) */
    }
    syscall3(94, 0, 0, 0);
}
__asm__(".globl _start\n_start: mv a0, sp\n  .option push\n .option norelax\n la gp, __global_pointer$\n .option pop\n tail start\n");
