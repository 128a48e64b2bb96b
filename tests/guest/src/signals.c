// Signals of one thread: what the handler sees, what it may change, masks, restarts, queues, timers.
#include "guest.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

static volatile int seen;
static volatile int order[64];
static void count(int sig, siginfo_t *info, void *uc) { (void)info; (void)uc; order[seen & 63] = sig; seen++; }

static sigset_t set_of(int a, int b)
{
    sigset_t s;
    sigemptyset(&s);
    if (a) sigaddset(&s, a);
    if (b) sigaddset(&s, b);
    return s;
}

#ifdef __riscv
// All integer registers but sp, gp and tp, all FP registers and fcsr: set, trapped, seen and changed by the handler, and stored after sigreturn.
struct area { uint64_t x[32], f[32], fcsr; };
struct area area_in, area_out;
extern char regs_trap_at[];
void regs_trap(void);
__asm__(".pushsection .text\n.option push\n.option norvc\n.globl regs_trap\n.p2align 2\nregs_trap:\n"
    "addi sp, sp, -224\n sd ra, 0(sp)\n sd s0, 8(sp)\n sd s1, 16(sp)\n sd s2, 24(sp)\n sd s3, 32(sp)\n sd s4, 40(sp)\n sd s5, 48(sp)\n sd s6, 56(sp)\n"
    "sd s7, 64(sp)\n sd s8, 72(sp)\n sd s9, 80(sp)\n sd s10, 88(sp)\n sd s11, 96(sp)\n"
    "fsd fs0, 104(sp)\n fsd fs1, 112(sp)\n fsd fs2, 120(sp)\n fsd fs3, 128(sp)\n fsd fs4, 136(sp)\n fsd fs5, 144(sp)\n fsd fs6, 152(sp)\n fsd fs7, 160(sp)\n"
    "fsd fs8, 168(sp)\n fsd fs9, 176(sp)\n fsd fs10, 184(sp)\n fsd fs11, 192(sp)\n frcsr t0\n sd t0, 200(sp)\n"
    "la a0, area_in\n"
    "ld t0, 512(a0)\n fscsr t0\n"
    ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n fld f\\r, 256+8*\\r(a0)\n .endr\n"
    ".irp r,1,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n ld x\\r, 8*\\r(a0)\n .endr\n"
    "ld x10, 80(a0)\n"
    ".globl regs_trap_at\nregs_trap_at: ebreak\n"
    "addi sp, sp, -16\n sd a0, 0(sp)\n la a0, area_out\n"
    ".irp r,1,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n sd x\\r, 8*\\r(a0)\n .endr\n"
    ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n fsd f\\r, 256+8*\\r(a0)\n .endr\n"
    "frcsr t0\n sd t0, 512(a0)\n ld t0, 0(sp)\n sd t0, 80(a0)\n addi sp, sp, 16\n"
    "ld ra, 0(sp)\n ld s0, 8(sp)\n ld s1, 16(sp)\n ld s2, 24(sp)\n ld s3, 32(sp)\n ld s4, 40(sp)\n ld s5, 48(sp)\n ld s6, 56(sp)\n"
    "ld s7, 64(sp)\n ld s8, 72(sp)\n ld s9, 80(sp)\n ld s10, 88(sp)\n ld s11, 96(sp)\n"
    "fld fs0, 104(sp)\n fld fs1, 112(sp)\n fld fs2, 120(sp)\n fld fs3, 128(sp)\n fld fs4, 136(sp)\n fld fs5, 144(sp)\n fld fs6, 152(sp)\n fld fs7, 160(sp)\n"
    "fld fs8, 168(sp)\n fld fs9, 176(sp)\n fld fs10, 184(sp)\n fld fs11, 192(sp)\n ld t0, 200(sp)\n fscsr t0\n"
    "addi sp, sp, 224\n ret\n.option pop\n.popsection\n");

static struct area wanted;
static uint64_t register_seed;
static void change_registers(int sig, siginfo_t *info, void *uc)
{
    (void)sig;
    mcontext_t *m = &((ucontext_t *)uc)->uc_mcontext;
    EQUAL(info->si_code, TRAP_BRKPT);
    EQUAL(info->si_addr, regs_trap_at);
    EQUAL(m->__gregs[0], regs_trap_at);
    for (int i = 1; i < 32; i++)
    {
        if (i == 2 || i == 3 || i == 4) continue;
        EQUAL(m->__gregs[i], area_in.x[i]);
        m->__gregs[i] = wanted.x[i];
    }
    for (int i = 0; i < 32; i++)
    {
        EQUAL(m->__fpregs.__d.__f[i], area_in.f[i]);
        m->__fpregs.__d.__f[i] = wanted.f[i];
    }
    EQUAL(m->__fpregs.__d.__fcsr, area_in.fcsr);
    m->__fpregs.__d.__fcsr = (unsigned)wanted.fcsr;
    // Registers of the handler itself must not leak through sigreturn.
    __asm__ volatile("fscsr zero\n fmv.d.x ft0, zero\n fmv.d.x fs0, zero\n li t3, 0\n li t4, 0" ::: "ft0", "t3", "t4");
    m->__gregs[0] += 4;
    seen++;
}

CASE(signal_ucontext_registers)
{
    handle(SIGTRAP, change_registers, 0);
    for (int round = 0; round < 200; round++)
    {
        for (int i = 0; i < 32; i++)
        {
            area_in.x[i] = random64(&register_seed), wanted.x[i] = random64(&register_seed);
            area_in.f[i] = random64(&register_seed), wanted.f[i] = random64(&register_seed);
            if (round & 1) area_in.f[i] |= 0xffffffff00000000, wanted.f[i] |= 0x7ff0000000000000;
        }
        area_in.fcsr = (random64(&register_seed) & 0x1f) | (uint64_t)(round % 5) << 5;
        wanted.fcsr = (random64(&register_seed) & 0x1f) | (uint64_t)((round + 2) % 5) << 5;
        seen = 0;
        regs_trap();
        EQUAL(seen, 1);
        for (int i = 1; i < 32; i++) if (i < 2 || i > 4) EQUAL(area_out.x[i], wanted.x[i]);
        for (int i = 0; i < 32; i++) EQUAL(area_out.f[i], wanted.f[i]);
        EQUAL(area_out.fcsr, wanted.fcsr);
    }
}

static void skip_load(int sig, siginfo_t *info, void *uc)
{
    (void)sig;
    EQUAL(info->si_addr, 0x10);
    uint16_t half = *(uint16_t *)PC(uc);
    PC(uc) += (half & 3) == 3 ? 4 : 2;
    GREG(uc, 15) = 0x1234 + (unsigned long)seen++;
}

CASE(signal_skip_faulting_instruction)
{
    handle(SIGSEGV, skip_load, 0);
    for (long i = 0; i < 1000; i++)
    {
        register long a5 __asm__("a5") = -1, a4 __asm__("a4") = 0;
        if (i & 1) __asm__ volatile(".option push\n.option norvc\nld a5, 16(a4)\n.option pop" : "+r"(a5) : "r"(a4) : "memory");
        else __asm__ volatile("c.ld a5, 16(a4)" : "+r"(a5) : "r"(a4) : "memory");
        EQUAL(a5, 0x1234 + i);
    }
    // Fault in the middle of a block: what stands before has happened, what stands after has not.
    for (long i = 1000; i < 1100; i++)
    {
        register long a5 __asm__("a5") = 0, a4 __asm__("a4") = 0, t1 __asm__("t1") = 5, t2 __asm__("t2") = 7;
        __asm__ volatile("addi t1, t1, 1\n ld a5, 16(a4)\n addi t2, t2, 1\n add t1, t1, a5\n" : "+r"(a5), "+r"(t1), "+r"(t2) : "r"(a4) : "memory");
        EQUAL(t1, 6 + 0x1234 + i);
        EQUAL(t2, 8);
    }
}

CASE(signal_illegal_instruction)
{
    // The all-zero and all-one words, an unassigned major opcode, and a CSR that does not exist.
    static const uint32_t words[] = { 0x00000000, 0xffffffff, 0x0000007b, 0x7ff02573, 0x00007057 | 0x80000000 };
    uint32_t *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    for (unsigned i = 0; i < 4; i++)
    {
        code[0] = rv_addi(0, 0, 0), code[1] = words[i], code[2] = RV_RET;
        __builtin___clear_cache((char *)code, (char *)(code + 3));
        if (!CATCH()) { ((int_function)code)(); CHECK(!"an illegal instruction ran"); }
        EQUAL(fault_seen.signal, SIGILL);
        EQUAL(fault_seen.code, ILL_ILLOPC);
        EQUAL(fault_seen.address, code + 1);
        EQUAL(fault_seen.pc, code + 1);
    }
}

CASE(signal_trap)
{
    static volatile char *at;
    if (!CATCH()) { __asm__ volatile("la t0, 1f\n sd t0, %0\n .option push\n.option norvc\n1: ebreak\n.option pop" : "=m"(at) :: "t0", "memory"); CHECK(0); }
    EQUAL(fault_seen.signal, SIGTRAP);
    EQUAL(fault_seen.pc, at);
    if (!CATCH()) { __asm__ volatile("la t0, 1f\n sd t0, %0\n 1: c.ebreak\n" : "=m"(at) :: "t0", "memory"); CHECK(0); }
    EQUAL(fault_seen.signal, SIGTRAP);
    EQUAL(fault_seen.code, TRAP_BRKPT);
    EQUAL(fault_seen.pc, at);
}

CASE(division_does_not_trap)
{
    catch_faults();
    volatile long zero = 0, minimum = INT64_MIN, minus = -1;
    volatile int zero32 = 0, minimum32 = INT32_MIN, minus32 = -1;
    long q, r;
    __asm__ volatile("div %0, %2, %3\n rem %1, %2, %3" : "=&r"(q), "=&r"(r) : "r"(minimum), "r"(zero));
    EQUAL(q, -1); EQUAL(r, minimum);
    __asm__ volatile("div %0, %2, %3\n rem %1, %2, %3" : "=&r"(q), "=&r"(r) : "r"(minimum), "r"(minus));
    EQUAL(q, minimum); EQUAL(r, 0);
    __asm__ volatile("divu %0, %2, %3\n remu %1, %2, %3" : "=&r"(q), "=&r"(r) : "r"(77l), "r"(zero));
    EQUAL(q, -1); EQUAL(r, 77);
    __asm__ volatile("divw %0, %2, %3\n remw %1, %2, %3" : "=&r"(q), "=&r"(r) : "r"((long)minimum32), "r"((long)minus32));
    EQUAL(q, minimum32); EQUAL(r, 0);
    __asm__ volatile("divuw %0, %2, %3\n remuw %1, %2, %3" : "=&r"(q), "=&r"(r) : "r"((long)minimum32), "r"((long)zero32));
    EQUAL(q, -1); EQUAL(r, minimum32);
}

// x1 and x2 go up together in a loop without calls or memory; a signal at any instruction shows which.
extern char lockstep_0[], lockstep_1[], lockstep_2[], lockstep_3[], lockstep_end[];
static volatile int lockstep_left, lockstep_reached;
static void look_at_lockstep(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)info;
    uintptr_t pc = PC(uc);
    if (pc < (uintptr_t)lockstep_0 || pc >= (uintptr_t)lockstep_end) return;
    lockstep_reached++;
    long a = (long)GREG(uc, 10), b = (long)GREG(uc, 11), c = (long)GREG(uc, 12);
    if (pc == (uintptr_t)lockstep_0) { EQUAL(a, b); EQUAL(c, b); }
    else if (pc == (uintptr_t)lockstep_1) { EQUAL(a, b + 1); EQUAL(c, b); }
    else if (pc == (uintptr_t)lockstep_2) { EQUAL(a, b); EQUAL(c + 1, b); }
    else if (pc == (uintptr_t)lockstep_3) { EQUAL(a, b); EQUAL(c, b); }
    else CHECK(!"a pc between instructions");
    if (--lockstep_left == 0) PC(uc) = (uintptr_t)lockstep_end;
}

CASE(signal_in_tight_loop_is_precise)
{
    handle(SIGALRM, look_at_lockstep, 0);
    lockstep_left = (int)scaled(200);
    struct itimerval every = { { 0, 1000 }, { 0, 1000 } };
    ZERO(setitimer(ITIMER_REAL, &every, NULL));
    __asm__ volatile("li a0, 0\n li a1, 0\n li a2, 0\n"
        ".globl lockstep_0, lockstep_1, lockstep_2, lockstep_3, lockstep_end\n"
        "lockstep_0: addi a0, a0, 1\nlockstep_1: addi a1, a1, 1\nlockstep_2: addi a2, a2, 1\nlockstep_3: j lockstep_0\nlockstep_end:\n" ::: "a0", "a1", "a2", "memory");
    struct itimerval never = { 0 };
    ZERO(setitimer(ITIMER_REAL, &never, NULL));
    CHECK(lockstep_reached > 0);
}

extern char self_loop[];
// The timer may fire before the loop is reached: then the next one counts.
static void leave_self_loop(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)info;
    if (PC(uc) != (uintptr_t)self_loop) return;
    PC(uc) += 4;
    seen++;
}
static __attribute__((noinline, noclone)) void run_self_loop(void)
{
    __asm__ volatile(".option push\n.option norvc\n.globl self_loop\nself_loop: j self_loop\n.option pop" ::: "memory");
}
CASE(signal_in_self_loop)
{
    handle(SIGALRM, leave_self_loop, 0);
    for (int i = 0; i < 5; i++)
    {
        struct itimerval every = { { 0, 2000 }, { 0, 2000 } }, never = { 0 };
        ZERO(setitimer(ITIMER_REAL, &every, NULL));
        run_self_loop();
        ZERO(setitimer(ITIMER_REAL, &never, NULL));
        EQUAL(seen, i + 1);
    }
}

// FP registers live across a signal whose handler computes with FP.
static void use_floats(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)info; (void)uc;
    volatile double d = 3.0;
    for (int i = 0; i < 20; i++) d = d / 3.0 + 1.7;
    seen++;
}
CASE(signal_preserves_floating_point)
{
    handle(SIGALRM, use_floats, SA_RESTART);
    struct itimerval every = { { 0, 1000 }, { 0, 1000 } };
    ZERO(setitimer(ITIMER_REAL, &every, NULL));
    int wanted_signals = (int)scaled(100);
    while (seen < wanted_signals)
    {
        double a = 1, b = 2, c = 3, d = 4;
        for (int i = 0; i < 1000; i++) __asm__ volatile("fadd.d %0, %0, %1\n fsub.d %0, %0, %1\n fadd.d %2, %2, %3\n fsub.d %2, %2, %3" : "+f"(a), "+f"(b), "+f"(c), "+f"(d));
        CHECK(a == 1 && b == 2 && c == 3 && d == 4);
    }
    struct itimerval never = { 0 };
    ZERO(setitimer(ITIMER_REAL, &never, NULL));
}
#endif

static volatile int on_alternate;
static stack_t alternate;
static sigjmp_buf overflow_jump;
static void on_overflow(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)info; (void)uc;
    char here;
    on_alternate = &here >= (char *)alternate.ss_sp && &here < (char *)alternate.ss_sp + alternate.ss_size;
    stack_t now_is;
    ZERO(sigaltstack(NULL, &now_is));
    EQUAL(now_is.ss_flags & SS_ONSTACK, SS_ONSTACK);
    FAILS(sigaltstack(&alternate, NULL), EPERM);
    siglongjmp(overflow_jump, 1);
}
static int recurse(volatile char *above)
{
    volatile char frame[2000];
    frame[0] = *above;
    return recurse(frame) + frame[0];
}
static void *overflow(void *unused)
{
    (void)unused;
    alternate.ss_sp = malloc(65536);
    alternate.ss_size = 65536;
    alternate.ss_flags = 0;
    ZERO(sigaltstack(&alternate, NULL));
    char start_of_it = 1;
    for (int i = 0; i < 3; i++)
    {
        on_alternate = 0;
        if (!sigsetjmp(overflow_jump, 1)) recurse(&start_of_it);
        EQUAL(on_alternate, 1);
    }
    stack_t off = { .ss_flags = SS_DISABLE }, is;
    ZERO(sigaltstack(&off, NULL));
    ZERO(sigaltstack(NULL, &is));
    EQUAL(is.ss_flags, SS_DISABLE);
    return NULL;
}
CASE(signal_alternate_stack_overflow)
{
    handle(SIGSEGV, on_overflow, SA_ONSTACK);
    stack_t small = { .ss_sp = malloc(4096), .ss_size = 100 };
    FAILS(sigaltstack(&small, NULL), ENOMEM);
    join(start(overflow, NULL));
    overflow(NULL);
}

static volatile int depth, deepest;
static void nest(int sig, siginfo_t *info, void *uc)
{
    (void)info; (void)uc;
    if (++depth > deepest) deepest = depth;
    if (++seen < 10) raise(sig);
    depth--;
}
static void raise_other(int sig, siginfo_t *info, void *uc)
{
    (void)info; (void)uc;
    order[seen++] = sig;
    raise(SIGUSR2);
    order[seen++] = -sig;
}
CASE(signal_nested, "noqemu: delivers what sa_mask blocks")
{
    handle(SIGUSR1, nest, SA_NODEFER);
    raise(SIGUSR1);
    EQUAL(seen, 10); EQUAL(deepest, 10);
    seen = deepest = 0;
    handle(SIGUSR1, nest, 0);
    raise(SIGUSR1);
    EQUAL(seen, 10); EQUAL(deepest, 1);
    // sa_mask holds the other back until the handler returns.
    seen = 0;
    struct sigaction a = { .sa_flags = SA_SIGINFO };
    a.sa_sigaction = raise_other;
    a.sa_mask = set_of(SIGUSR2, 0);
    ZERO(sigaction(SIGUSR1, &a, NULL));
    handle(SIGUSR2, count, 0);
    raise(SIGUSR1);
    EQUAL(seen, 3); EQUAL(order[0], SIGUSR1); EQUAL(order[1], -SIGUSR1); EQUAL(order[2], SIGUSR2);
    seen = 0;
    handle(SIGUSR1, raise_other, 0);
    raise(SIGUSR1);
    EQUAL(seen, 3); EQUAL(order[1], SIGUSR2);
    // SA_RESETHAND: once.
    handle(SIGUSR1, count, (int)SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction is;
    ZERO(sigaction(SIGUSR1, NULL, &is));
    CHECK(is.sa_handler == SIG_DFL);
    FAILS(sigaction(SIGKILL, &a, NULL), EINVAL);
    FAILS(sigaction(SIGSTOP, &a, NULL), EINVAL);
    ZERO(sigaction(SIGKILL, NULL, &is));
}

static volatile int stop;
static pthread_t main_thread;
static void *poke(void *unused)
{
    (void)unused;
    while (!stop) { pthread_kill(main_thread, SIGUSR1); sleep_ms(3); }
    return NULL;
}
static int write_end;
static void *write_when_seen(void *unused)
{
    (void)unused;
    while (seen < 5) { pthread_kill(main_thread, SIGUSR1); sleep_ms(3); }
    EQUAL(write(write_end, "x", 1), 1);
    return NULL;
}
CASE(signal_restart_and_eintr)
{
    int p[2];
    char c = 0;
    ZERO(pipe(p));
    main_thread = pthread_self();
    handle(SIGUSR1, count, 0);
    pthread_t t = start(poke, NULL);
    for (int i = 0; i < 5; i++) FAILS(read(p[0], &c, 1), EINTR);
    CHECK(seen >= 5);
    handle(SIGUSR1, count, SA_RESTART);
    struct timespec second = { 10, 0 }, left;
    FAILS(nanosleep(&second, &left), EINTR);  // never restarted for the caller
    CHECK(left.tv_sec < 10);
    stop = 1;
    join(t);
    seen = 0;
    write_end = p[1];
    t = start(write_when_seen, NULL);
    EQUAL(read(p[0], &c, 1), 1);
    EQUAL(c, 'x');
    CHECK(seen >= 5);
    join(t);
}

CASE(signal_sigsuspend)
{
    handle(SIGUSR1, count, 0);
    handle(SIGUSR2, count, 0);
    sigset_t block = set_of(SIGUSR1, SIGUSR2), old, is;
    ZERO(sigprocmask(SIG_BLOCK, &block, &old));
    raise(SIGUSR1);
    raise(SIGUSR2);
    EQUAL(seen, 0);
    ZERO(sigpending(&is));
    CHECK(sigismember(&is, SIGUSR1) && sigismember(&is, SIGUSR2) && !sigismember(&is, SIGALRM));
    sigset_t only2 = set_of(SIGUSR2, 0);
    FAILS(sigsuspend(&only2), EINTR);
    EQUAL(seen, 1); EQUAL(order[0], SIGUSR1);
    ZERO(sigprocmask(SIG_BLOCK, NULL, &is));
    CHECK(sigismember(&is, SIGUSR1) && sigismember(&is, SIGUSR2));
    ZERO(sigprocmask(SIG_SETMASK, &old, NULL));
    EQUAL(seen, 2);
    FAILS(sigprocmask(99, &old, NULL), EINVAL);
}

static union sigval values[16];
static void take_value(int sig, siginfo_t *info, void *uc)
{
    (void)uc;
    EQUAL(info->si_signo, sig); EQUAL(info->si_code, SI_QUEUE); EQUAL(info->si_pid, getpid()); EQUAL(info->si_uid, getuid());
    order[seen] = sig;
    values[seen++] = info->si_value;
}
CASE(signal_queue)
{
    // Real-time signals: lowest number first, first in first out, with their values; a standard signal is queued once.
    sigset_t block = set_of(SIGRTMIN, SIGRTMIN + 1), none;
    sigaddset(&block, SIGUSR1);
    sigemptyset(&none);
    ZERO(sigprocmask(SIG_BLOCK, &block, NULL));
    for (int i = 0; i < 4; i++)
    {
        ZERO(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_ptr = (void *)(0x123456789abcul + (unsigned)i) }));
        ZERO(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 100 + i }));
        ZERO(sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_int = 7 + i }));
    }
    siginfo_t info;
    struct timespec zero = { 0, 0 }, some = { 0, 20000000 };
    EQUAL(sigtimedwait(&block, &info, &zero), SIGUSR1);
    EQUAL(info.si_value.sival_int, 7); EQUAL(info.si_code, SI_QUEUE);
    for (int i = 0; i < 2; i++)
    {
        EQUAL(sigtimedwait(&block, &info, &zero), SIGRTMIN);
        EQUAL(info.si_value.sival_int, 100 + i);
    }
    handle(SIGRTMIN, take_value, 0);
    handle(SIGRTMIN + 1, take_value, 0);
    sigset_t only = set_of(SIGRTMIN + 1, 0);
    ZERO(sigprocmask(SIG_UNBLOCK, &only, NULL));
    EQUAL(seen, 4);
    for (int i = 0; i < 4; i++) EQUAL(values[i].sival_ptr, 0x123456789abcul + (unsigned)i);
    EQUAL(sigwaitinfo(&block, &info), SIGRTMIN);
    EQUAL(info.si_value.sival_int, 102);
    EQUAL(sigwaitinfo(&block, NULL), SIGRTMIN);
    int64_t before = now();
    FAILS(sigtimedwait(&block, &info, &some), EAGAIN);
    CHECK(now() - before >= 19000000);
    FAILS(sigqueue(getpid(), 99, (union sigval){ 0 }), EINVAL);
    FAILS(kill(0x3ffff0, 0), ESRCH);
    FAILS(kill(getpid(), 77), EINVAL);
    ZERO(kill(getpid(), 0));
}

static int blocked_in_thread;
static void *send_soon(void *target) { (void)target; sleep_ms(20); kill(getpid(), SIGUSR2); return NULL; }
CASE(signal_wait_for_other_thread)
{
    sigset_t block = set_of(SIGUSR2, 0);
    ZERO(pthread_sigmask(SIG_BLOCK, &block, NULL));
    for (int i = 0; i < 3; i++)
    {
        pthread_t t = start(send_soon, NULL);
        int sig = 0;
        ZERO(sigwait(&block, &sig));
        EQUAL(sig, SIGUSR2);
        join(t);
    }
    (void)blocked_in_thread;
}

CASE(signal_segv_addresses)
{
    char *two = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(two != MAP_FAILED);
    ZERO(mprotect(two + PAGE, PAGE, PROT_READ));
    ZERO(munmap(two + 2 * PAGE, PAGE));
    static char *at;
    volatile int value = 0;
    at = two + 2 * PAGE + 24;
    if (!CATCH()) { value = *(volatile int *)at; CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV); EQUAL(fault_seen.code, SEGV_MAPERR); EQUAL(fault_seen.address, at);
    if (!CATCH()) { *(volatile int *)at = 1; CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV); EQUAL(fault_seen.code, SEGV_MAPERR); EQUAL(fault_seen.address, at);
    at = two + PAGE + 40;
    if (!CATCH()) { *(volatile char *)at = 1; CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV); EQUAL(fault_seen.code, SEGV_ACCERR); EQUAL(fault_seen.address, at);
    value = *(volatile int *)at;
    EQUAL(value, 0);
    ZERO(mprotect(two, PAGE, PROT_NONE));
    at = two + 8;
    if (!CATCH()) { value = *(volatile long *)at; CHECK(0); }
    EQUAL(fault_seen.code, SEGV_ACCERR); EQUAL(fault_seen.address, at);
    at = (char *)8;
    if (!CATCH()) { value = *(volatile long *)at; CHECK(0); }
    EQUAL(fault_seen.code, SEGV_MAPERR); EQUAL(fault_seen.address, at);
#ifdef __riscv
    // Above user space, and a load that reaches from a mapped page into a hole.
    at = (char *)0x7ffffffff000ul;
    if (!CATCH()) { value = *(volatile long *)at; CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV); EQUAL(fault_seen.address, at);
    at = (char *)-4096l;
    if (!CATCH()) { *(volatile long *)at = 1; CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV); EQUAL(fault_seen.address, at);
    at = two + 2 * PAGE - 3;
    if (!CATCH()) { __asm__ volatile("lw zero, 0(%0)" :: "r"(at) : "memory"); CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV);
    CHECK(fault_seen.address >= (uintptr_t)at && fault_seen.address < (uintptr_t)at + 4);
#endif
    (void)value;
}

#ifdef __riscv
CASE(signal_fetch_faults)
{
    static int_function f;
    // Not mapped, not executable, null, above user space.
    char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(uint32_t *)page = RV_RET;
    ZERO(munmap(page + PAGE, PAGE));
    struct { void *at; int code; } all[] = { { page, SEGV_ACCERR }, { page + PAGE, SEGV_MAPERR }, { 0, SEGV_MAPERR }, { (void *)0x7ffffffff000ul, 0 } };
    for (int i = 0; i < 4; i++)
    {
        f = (int_function)all[i].at;
        if (!CATCH()) { f(); CHECK(0); }
        EQUAL(fault_seen.signal, SIGSEGV);
        if (all[i].code) EQUAL(fault_seen.code, all[i].code);
        EQUAL(fault_seen.address, all[i].at);
        EQUAL(fault_seen.pc, all[i].at);
    }
    // An odd target loses its lowest bit.
    ZERO(mprotect(page, PAGE, PROT_READ | PROT_EXEC));
    f = (int_function)(page + 1);
    f();
}
#endif

CASE(signal_bus_beyond_file_end)
{
    int fd = temporary();
    ZERO(ftruncate(fd, 100));
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    p[99] = 1;
    EQUAL(p[4000], 0);
    static char *at;
    at = p + PAGE + 5;
    volatile char c;
    if (!CATCH()) { c = *(volatile char *)at; (void)c; CHECK(0); }
    EQUAL(fault_seen.signal, SIGBUS); EQUAL(fault_seen.code, BUS_ADRERR); EQUAL(fault_seen.address, at);
    if (!CATCH()) { *(volatile char *)at = 1; CHECK(0); }
    EQUAL(fault_seen.signal, SIGBUS); EQUAL(fault_seen.address, at);
    ZERO(ftruncate(fd, 2 * PAGE));
    *at = 5;
    EQUAL(*at, 5);
    ZERO(ftruncate(fd, 0));
    if (!CATCH()) { c = *(volatile char *)at; CHECK(0); }
    EQUAL(fault_seen.signal, SIGBUS);
}

CASE(signal_interval_timers)
{
    handle(SIGALRM, count, SA_RESTART);
    handle(SIGVTALRM, count, SA_RESTART);
    handle(SIGPROF, count, SA_RESTART);
    struct itimerval every = { { 0, 2000 }, { 0, 2000 } }, never = { 0 }, old;
    static const int which[] = { ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF }, signals[] = { SIGALRM, SIGVTALRM, SIGPROF };
    for (int i = 0; i < 3; i++)
    {
        seen = 0;
        ZERO(setitimer(which[i], &every, NULL));
        int64_t end = now() + 20000000000ll;
        while (seen < 3 && now() < end) { }
        CHECK(seen >= 3);
        EQUAL(order[0], signals[i]);
        ZERO(setitimer(which[i], &never, &old));
        EQUAL(old.it_interval.tv_usec / 1000, 2);
        ZERO(getitimer(which[i], &old));
        EQUAL(old.it_value.tv_sec + old.it_value.tv_usec, 0);
    }
}

CASE(signal_alarm_and_pause)
{
    handle(SIGALRM, count, 0);
    EQUAL(alarm(100), 0);
    CHECK(alarm(1) >= 99);
    FAILS(pause(), EINTR);
    EQUAL(seen, 1);
    EQUAL(alarm(0), 0);
}

static volatile int timer_tid, timer_threads;
static void timer_fired(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)uc;
    EQUAL(info->si_code, SI_TIMER);
    EQUAL(info->si_value.sival_int, 4711);
    timer_tid = (int)syscall(SYS_gettid);
    seen++;
}
static void timer_thread(union sigval v) { if (v.sival_int == 99) timer_threads++; }
static void *timer_in_thread(void *unused)
{
    (void)unused;
    timer_t t;
    struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 4711 };
    e._sigev_un._tid = (int)syscall(SYS_gettid);
    ZERO(timer_create(CLOCK_MONOTONIC, &e, &t));
    struct itimerspec every = { { 0, 2000000 }, { 0, 2000000 } }, is;
    ZERO(timer_settime(t, 0, &every, NULL));
    while (seen < 5) { }
    EQUAL(timer_tid, syscall(SYS_gettid));
    ZERO(timer_gettime(t, &is));
    EQUAL(is.it_interval.tv_nsec, 2000000);
    CHECK(is.it_value.tv_nsec > 0 && is.it_value.tv_nsec <= 2000000);
    CHECK(timer_getoverrun(t) >= 0);
    ZERO(timer_delete(t));
    FAILS(timer_gettime((timer_t)(intptr_t)12345, &is), EINVAL);
    return NULL;
}
CASE(signal_posix_timers)
{
    handle(SIGRTMIN, timer_fired, SA_RESTART);
    join(start(timer_in_thread, NULL));
    seen = 0;
    timer_t t;
    struct sigevent e = { .sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 99 };
    e.sigev_notify_function = timer_thread;
    ZERO(timer_create(CLOCK_REALTIME, &e, &t));
    struct itimerspec every = { { 0, 2000000 }, { 0, 2000000 } };
    ZERO(timer_settime(t, 0, &every, NULL));
    int64_t end = now() + 20000000000ll;
    while (timer_threads < 3 && now() < end) sleep_ms(1);
    CHECK(timer_threads >= 3);
    ZERO(timer_delete(t));
    // Absolute time, once.
    seen = 0;
    struct sigevent s = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 4711 };
    ZERO(timer_create(CLOCK_MONOTONIC, &s, &t));
    struct itimerspec at = { { 0, 0 }, { 0, 0 } };
    clock_gettime(CLOCK_MONOTONIC, &at.it_value);
    at.it_value.tv_nsec += 5000000;
    if (at.it_value.tv_nsec >= 1000000000) at.it_value.tv_sec++, at.it_value.tv_nsec -= 1000000000;
    ZERO(timer_settime(t, TIMER_ABSTIME, &at, NULL));
    while (seen < 1) sleep_ms(1);
    sleep_ms(10);
    EQUAL(seen, 1);
    ZERO(timer_delete(t));
}

CASE(signal_abort, "exit=134") { abort(); }
CASE(signal_uncaught_segv, "exit=139") { *(volatile int *)16 = 1; }
CASE(signal_uncaught_usr1, "exit=138") { raise(SIGUSR1); }
CASE(signal_uncaught_rt, "exit=162 noqemu: renumbers real-time signals") { raise(34); }
static void exit_in_handler(int sig, siginfo_t *info, void *uc) { (void)sig; (void)info; (void)uc; _exit(7); }
CASE(signal_exit_in_handler, "exit=7") { handle(SIGUSR1, exit_in_handler, 0); raise(SIGUSR1); }
CASE(signal_ignored)
{
    signal(SIGUSR1, SIG_IGN);
    raise(SIGUSR1);
    raise(SIGCHLD);
    raise(SIGURG);
    raise(SIGWINCH);
    // Pending and then ignored: dropped.
    sigset_t block = set_of(SIGUSR2, 0), is;
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR2);
    signal(SIGUSR2, SIG_IGN);
    ZERO(sigpending(&is));
    CHECK(!sigismember(&is, SIGUSR2));
    signal(SIGPIPE, SIG_IGN);
    int p[2];
    ZERO(pipe(p));
    close(p[0]);
    FAILS(write(p[1], "x", 1), EPIPE);
}
static void *blocked_kill(void *unused) { (void)unused; *(volatile int *)16 = 1; return NULL; }
CASE(signal_blocked_fault_kills, "exit=139")
{
    // A synchronous fault whose signal is blocked cannot wait: the process dies, handler or not.
    handle(SIGSEGV, count, 0);
    sigset_t block = set_of(SIGSEGV, 0);
    ZERO(pthread_sigmask(SIG_BLOCK, &block, NULL));
    join(start(blocked_kill, NULL));
}

// Files that signal when they become ready.
static volatile sig_atomic_t io_signals, io_code, io_fd;
static void on_io(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)uc;
    io_code = info->si_code;
    io_fd = info->si_fd;
    io_signals++;
}
static void await_io(int n)
{
    for (int i = 0; i < 20000 && io_signals < n; i++) sleep_ms(1);
    CHECK(io_signals >= n);
}
CASE(signal_of_ready_files, "fork noqemu")
{
    int p[2], s[2];
    char c = 0;
    ZERO(pipe(p));
    handle(SIGIO, on_io, SA_RESTART);
    handle(SIGRTMIN + 3, on_io, SA_RESTART);
    ZERO(fcntl(p[0], F_SETOWN, getpid()));
    ZERO(fcntl(p[0], F_SETFL, O_ASYNC));
    CHECK(fcntl(p[0], F_GETFL) & O_ASYNC);
    EQUAL(io_signals, 0);
    pid_t child = fork(); // the file is the same there, and so is who is told
    if (child == 0) _exit(write(p[1], &c, 1) != 1);
    await_io(1);
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    EQUAL(read(p[0], &c, 1), 1);
    // With a signal of one's own it says which file.
    ZERO(fcntl(p[0], F_SETSIG, SIGRTMIN + 3));
    io_signals = 0;
    EQUAL(write(p[1], &c, 1), 1);
    await_io(1);
    EQUAL(io_code, POLL_IN);
    EQUAL(io_fd, p[0]);
    ZERO(fcntl(p[0], F_SETFL, 0));
    io_signals = 0;
    EQUAL(write(p[1], &c, 1), 1);
    // A socket, by ioctl, for a group with nobody else in it.
    int on = 1;
    setpgid(0, 0);
    EQUAL(getpgrp(), getpid());
    ZERO(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    ZERO(fcntl(s[0], F_SETOWN, -getpgrp()));
    ZERO(fcntl(s[0], F_SETSIG, SIGRTMIN + 3));
    ZERO(ioctl(s[0], FIOASYNC, &on));
    sleep_ms(20);
    EQUAL(io_signals, 0); // neither the pipe, nor that it can be written to
    EQUAL(write(s[1], &c, 1), 1);
    await_io(1);
    EQUAL(io_fd, s[0]);
    close(s[0]), close(s[1]), close(p[0]), close(p[1]);
}
