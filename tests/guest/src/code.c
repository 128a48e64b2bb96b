// Code that changes: written, rewritten, unmapped, shared with data, from other threads.
#include "guest.h"
#ifdef __riscv
#include <linux/membarrier.h>
#include <sys/cachectl.h>

#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)
static uint32_t *pages(int n, int prot) { void *p = mmap(NULL, (size_t)n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); CHECK(p != MAP_FAILED); return p; }
static int call(const void *f) { int_function g = (int_function)(uintptr_t)f; __asm__ volatile("" : "+r"(g)); return g(); }
static void flush(void *p, size_t n) { __builtin___clear_cache(p, (char *)p + n); }

CASE(code_fence_i)
{
    uint32_t *p = pages(1, RWX);
    for (int i = 0, n = (int)scaled(20000); i < n; i++)
    {
        rv_return(p, i * 7919);
        fence_i();
        EQUAL(call(p), i * 7919);
    }
}

CASE(code_clear_cache, "noqemu: accepts any flags")
{
    uint32_t *p = pages(1, RWX);
    for (int i = 0, n = (int)scaled(20000); i < n; i++)
    {
        rv_return(p, -i * 104729);
        flush(p, 12);
        EQUAL(call(p), -i * 104729);
    }
    ZERO(syscall(SYS_riscv_flush_icache, p, p + 3, 0));
    ZERO(syscall(SYS_riscv_flush_icache, p, p + 3, 1ul /* SYS_RISCV_FLUSH_ICACHE_LOCAL */));
    FAILS(syscall(SYS_riscv_flush_icache, p, p + 3, 0x80), EINVAL);
}

CASE(code_many_functions_on_changing_pages)
{
    // Functions on two pages replaced at random; every one always returns its newest value.
    enum { N = 2 * 4096 / 12 };
    static int value[N];
    uint32_t *p = pages(2, RWX);
    for (int i = 0; i < N; i++) rv_return(p + 3 * i, value[i] = i);
    flush(p, 2 * PAGE);
    uint64_t seed = 5;
    for (long i = 0, n = scaled(20000); i < n; i++)
    {
        int k = (int)(random64(&seed) % N);
        value[k] = (int)(random64(&seed) & 0x3fffffff);
        rv_return(p + 3 * k, value[k]);
        flush(p + 3 * k, 12);
        for (int j = 0; j < 3; j++)
        {
            int m = (int)(random64(&seed) % N);
            EQUAL(call(p + 3 * m), value[m]);
        }
        EQUAL(call(p + 3 * k), value[k]);
    }
}

CASE(code_call_chains_through_changed_code)
{
    // a calls b calls c; c is rewritten, then b: links between translated blocks must follow.
    uint32_t *p = pages(3, RWX), *a = p, *b = p + 1024, *c = p + 2048;
    for (int i = 0; i < 2; i++)
    {
        uint32_t *f = i ? b : a;
        *f++ = rv_addi(2, 2, -16);
        *f++ = 0x00113423;                                                       // sd ra, 8(sp)
        uint32_t off = 4096 - 8;                                                 // jal ra, +4088
        *f++ = (off & 0x7fe) << 20 | (off >> 11 & 1) << 20 | (off & 0xff000) | 1 << 7 | 0x6f;
        *f++ = rv_addi(10, 10, 1);
        *f++ = 0x00813083;                                                       // ld ra, 8(sp)
        *f++ = rv_addi(2, 2, 16);
        *f++ = RV_RET;
    }
    for (int i = 0, n = (int)scaled(2000); i < n; i++)
    {
        rv_return(c, i);
        flush(c, 12);
        EQUAL(call(a), i + 2);
        EQUAL(call(b), i + 1);
        b[3] = rv_addi(10, 10, i & 0x3ff);
        flush(b + 3, 4);
        EQUAL(call(a), i + (i & 0x3ff) + 1);
        b[3] = rv_addi(10, 10, 1);
        flush(b + 3, 4);
        EQUAL(call(a), i + 2);
    }
}

CASE(code_unmapped_and_mapped_again, "noqemu: runs old code after MADV_DONTNEED")
{
    uint32_t *p = pages(1, RWX);
    for (int i = 0, n = (int)scaled(1000); i < n; i++)
    {
        rv_return(p, i);
        flush(p, 12);
        EQUAL(call(p), i);
        ZERO(munmap(p, PAGE));
        if (i % 100 == 0)
        {
            if (!CATCH()) { call(p); CHECK(!"unmapped code ran"); }
            EQUAL(fault_seen.signal, SIGSEGV);
            EQUAL(fault_seen.pc, p);
        }
        CHECK(mmap(p, PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
        if (i % 100 == 1)
        {
            if (!CATCH()) { call(p); CHECK(!"old code ran on a new page"); }
            EQUAL(fault_seen.signal, SIGILL);
        }
    }
    // MAP_FIXED right over it, DONTNEED, and mremap to elsewhere.
    rv_return(p, 1);
    flush(p, 12);
    EQUAL(call(p), 1);
    CHECK(mmap(p, PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
    flush(p, 12);
    if (!CATCH()) { call(p); CHECK(0); }
    EQUAL(fault_seen.signal, SIGILL);
    rv_return(p, 2);
    flush(p, 12);
    EQUAL(call(p), 2);
    ZERO(madvise(p, PAGE, MADV_DONTNEED));
    flush(p, 12);
    if (!CATCH()) { call(p); CHECK(0); }
    EQUAL(fault_seen.signal, SIGILL);
    rv_return(p, 3);
    flush(p, 12);
    EQUAL(call(p), 3);
    uint32_t *q = pages(1, RWX);
    rv_return(q, 4);
    flush(q, 12);
    EQUAL(call(q), 4);
    CHECK(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q);
    flush(q, 12);
    EQUAL(call(q), 3);
    if (!CATCH()) { call(p); CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV);
}

CASE(code_write_xor_execute)
{
    uint32_t *p = pages(1, PROT_READ | PROT_WRITE);
    for (int i = 0, n = (int)scaled(1000); i < n; i++)
    {
        rv_return(p, i);
        ZERO(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
        flush(p, 12);
        EQUAL(call(p), i);
        if (i % 50 == 0)
        {
            if (!CATCH()) { *(volatile uint32_t *)p = 0; CHECK(0); }
            EQUAL(fault_seen.signal, SIGSEGV); EQUAL(fault_seen.code, SEGV_ACCERR); EQUAL(fault_seen.address, p);
        }
        ZERO(mprotect(p, PAGE, PROT_READ | PROT_WRITE));
        if (i % 50 == 0)
        {
            if (!CATCH()) { call(p); CHECK(0); }
            EQUAL(fault_seen.signal, SIGSEGV); EQUAL(fault_seen.code, SEGV_ACCERR); EQUAL(fault_seen.pc, p);
        }
    }
}

CASE(code_two_views, "noqemu: does not notice pwrite to a mapped file")
{
    // Written through one mapping, run through another; then through pwrite and read(2) into code.
    int fd = memfd_create("code", 0);
    ZERO(ftruncate(fd, PAGE));
    uint32_t *w = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *x = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0), text[3];
    for (int i = 0, n = (int)scaled(2000); i < n; i++)
    {
        rv_return(w, i);
        flush(x, 12);
        EQUAL(call(x), i);
        rv_return(text, i + 5);
        EQUAL(pwrite(fd, text, 12, 0), 12);
        flush(x, 12);
        EQUAL(call(x), i + 5);
    }
    uint32_t *p = pages(1, RWX);
    rv_return(p, 9);
    flush(p, 12);
    EQUAL(call(p), 9);
    for (int i = 0; i < 100; i++)
    {
        rv_return(text, i);
        EQUAL(pwrite(fd, text, 12, 0), 12);
        EQUAL(pread(fd, p, 12, 0), 12);
        flush(p, 12);
        EQUAL(call(p), i);
    }
}

// A loop that rewrites an instruction further down in its own block, with fence.i between.
CASE(code_changes_its_own_block)
{
    uint32_t *p = pages(1, RWX);
    // a0 = new instruction word; stores it at 1f, fence.i, 1: (replaced) addi a0, x0, N; ret
    p[0] = 0x00000297;                       // auipc t0, 0
    p[1] = 0x00a2a823;                       // sw a0, 16(t0)
    p[2] = RV_FENCE_I;
    p[3] = rv_addi(10, 0, 1);
    p[4] = rv_addi(10, 0, 2);
    p[5] = RV_RET;
    flush(p, 24);
    int (*f)(uint32_t) = (int (*)(uint32_t))(void *)p;
    for (int i = 0, n = (int)scaled(2000); i < n; i++) EQUAL(f(rv_addi(10, 0, i & 0x7ff)), i & 0x7ff);
}

CASE(code_on_a_page_with_data)
{
    // Counters and stack slots beside the code: data writes must not lose code, and must make progress.
    uint32_t *p = pages(1, RWX);
    volatile uint64_t *data = (volatile uint64_t *)(p + 512);
    rv_return(p, 77);
    // a0 = counter's address: *a0 += 1; return *a0
    p[8] = 0x00053583; p[9] = rv_addi(11, 11, 1); p[10] = 0x00b53023; p[11] = rv_addi(10, 11, 0); p[12] = RV_RET;
    flush(p, 64);
    long (*bump)(volatile uint64_t *) = (long (*)(volatile uint64_t *))(void *)(p + 8);
    for (long i = 1, n = scaled(20000); i <= n; i++)
    {
        data[1] = (uint64_t)i;
        EQUAL(call(p), 77);
        EQUAL(bump(data), i);
        EQUAL(data[0], i); EQUAL(data[1], i);
        if (i % 100 == 0) { rv_return(p, 77); flush(p, 12); }
    }
}

static volatile int stop;
static void *write_data(void *at)
{
    volatile uint64_t *p = at;
    while (!stop) for (int i = 0; i < 100; i++) p[i & 7]++;
    return (void *)(uintptr_t)p[0];
}
CASE(code_on_a_page_written_by_another_thread)
{
    uint32_t *p = pages(1, RWX);
    rv_return(p, 0);
    flush(p, 12);
    pthread_t t = start(write_data, p + 512);
    for (int i = 0, n = (int)scaled(2000); i < n; i++)
    {
        rv_return(p, i);
        flush(p, 12);
        for (int k = 0; k < 5; k++) EQUAL(call(p), i);
    }
    stop = 1;
    CHECK(join(t) != NULL || scaled(100) < 100);
}

// One thread changes one aligned instruction, then says so; the others must never return an older value than was announced before their call.
static uint32_t *shared_code;
static volatile int announced;
static void *call_and_compare(void *unused)
{
    (void)unused;
    long calls = 0;
    while (!stop)
    {
        int before = __atomic_load_n(&announced, __ATOMIC_ACQUIRE), got = call(shared_code);
        if (got < before || got > 2047) fail(__FILE__, __LINE__, "value at least as new as announced", got, before);
        calls++;
    }
    return (void *)calls;
}
static void cross_modify(int membarrier)
{
    shared_code = pages(1, RWX);
    shared_code[0] = rv_addi(10, 0, 0);
    shared_code[1] = RV_RET;
    flush(shared_code, 8);
    if (membarrier && syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) != 0) skip("membarrier SYNC_CORE is not there");
    pthread_t t[3];
    for (int i = 0; i < 3; i++) t[i] = start(call_and_compare, NULL);
    for (int i = 1, n = (int)scaled(2000); i <= n && i < 2048; i++)
    {
        __atomic_store_n(shared_code, rv_addi(10, 0, i), __ATOMIC_RELEASE);
        if (membarrier) { fence_i(); ZERO(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0)); }
        else flush(shared_code, 8);
        __atomic_store_n(&announced, i, __ATOMIC_RELEASE);
        EQUAL(call(shared_code), i);
        if (i % 16 == 0) sched_yield();
    }
    stop = 1;
    for (int i = 0; i < 3; i++) join(t[i]);
}
CASE(code_modified_across_threads) { cross_modify(0); }
CASE(code_modified_across_threads_membarrier) { cross_modify(1); }

// Threads that each write and run code of their own, all the time.
static void *own_jit(void *which)
{
    uint64_t seed = (uint64_t)which;
    for (long i = 0, n = scaled(1000); i < n; i++)
    {
        uint32_t *p = pages(1, RWX);
        int v = (int)(random64(&seed) & 0x3fffffff);
        rv_return(p, v);
        rv_return(p + 100, v + 1);
        flush(p, PAGE);
        EQUAL(call(p), v);
        EQUAL(call(p + 100), v + 1);
        rv_return(p, v + 2);
        flush(p, 12);
        EQUAL(call(p), v + 2);
        ZERO(munmap(p, PAGE));
    }
    return NULL;
}
CASE(code_jit_in_threads)
{
    pthread_t t[4];
    for (long i = 0; i < 4; i++) t[i] = start(own_jit, (void *)(i + 1));
    for (int i = 0; i < 4; i++) join(t[i]);
}

// A function leaves a page; then another thread unmaps it while the caller spins elsewhere.
static volatile int inside;
static void *leave_and_spin(void *f)
{
    EQUAL(call(f), 5);
    inside = 1;
    while (!stop) { }
    if (!CATCH()) { call(f); CHECK(!"unmapped code ran"); }
    EQUAL(fault_seen.signal, SIGSEGV);
    return NULL;
}
CASE(code_unmapped_by_another_thread)
{
    for (int i = 0; i < 20; i++)
    {
        uint32_t *p = pages(1, RWX);
        rv_return(p, 5);
        flush(p, 12);
        stop = inside = 0;
        catch_faults();
        pthread_t t = start(leave_and_spin, p);
        while (!inside) sched_yield();
        ZERO(munmap(p, PAGE));
        stop = 1;
        join(t);
    }
}

// A thread loops in code that another unmaps under it: it dies by SIGSEGV there, within bounded time.
static void *loop_in(void *f)
{
    if (!CATCH()) { call(f); CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV);
    CHECK(fault_seen.pc == (uintptr_t)f);
    return NULL;
}
CASE(code_unmapped_under_a_running_loop)
{
    for (int i = 0; i < 10; i++)
    {
        uint32_t *p = pages(1, RWX);
        p[0] = 0x0000006f;                   // j .
        flush(p, 4);
        pthread_t t = start(loop_in, p);
        sleep_ms(3);
        ZERO(munmap(p, PAGE));
        join(t);
    }
}

CASE(code_overlapping_decode)
{
    // lui a0, 0x45150 has c.li a0, 5 in its upper half.
    uint32_t *p = pages(1, RWX);
    p[0] = 0x45150537;
    p[1] = RV_RET;
    flush(p, 8);
    for (int i = 0; i < 1000; i++)
    {
        EQUAL(call(p), 0x45150000);
        EQUAL(call((char *)p + 2), 5);
    }
}

CASE(code_across_pages)
{
    // A 4-byte instruction on both sides of a page boundary; the second page goes away, comes back different, loses execution.
    char *p = (char *)pages(2, RWX);
    uint16_t *at = (uint16_t *)(p + PAGE - 2);
    uint32_t insn = rv_addi(10, 0, 0x111), other = rv_addi(10, 0, 0x222), ret = RV_RET;
    for (int i = 0, n = (int)scaled(300); i < n; i++)
    {
        memcpy(at, &insn, 4);
        memcpy(at + 2, &ret, 4);
        flush(at, 8);
        EQUAL(call(at), 0x111);
        memcpy(at + 1, (char *)&other + 2, 2);           // only the second page changes
        flush(at + 1, 2);
        EQUAL(call(at), 0x222);
        ZERO(mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE));
        if (!CATCH()) { call(at); CHECK(0); }
        EQUAL(fault_seen.signal, SIGSEGV);
        EQUAL(fault_seen.pc, at);
        EQUAL(fault_seen.address, p + PAGE);
        ZERO(mprotect(p + PAGE, PAGE, RWX));
        EQUAL(call(at), 0x222);
        if (i % 10 == 0)
        {
            ZERO(munmap(p + PAGE, PAGE));
            if (!CATCH()) { call(at); CHECK(0); }
            EQUAL(fault_seen.code, SEGV_MAPERR);
            CHECK(mmap(p + PAGE, PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + PAGE);
        }
    }
    // Straight-line code that runs into a page that is not there: everything before the boundary has happened.
    uint32_t *q = pages(2, RWX);
    for (int i = 0; i < 1024; i++) q[i] = rv_addi(10, 10, 1);
    ZERO(munmap(q + 1024, PAGE));
    if (!CATCH())
    {
        register long a0 __asm__("a0") = 0;
        register uint32_t *start_at __asm__("t0") = q;
        __asm__ volatile("jr t0" :: "r"(a0), "r"(start_at) : "memory", "ra");
    }
    EQUAL(fault_seen.pc, q + 1024);
    EQUAL(fault_seen.a0, 1024);
}

// Thousands of small functions that call each other: overflows small code caches, exercises chaining.
CASE(code_many_functions)
{
    enum { N = 20000 };
    int n = (int)scaled(N);
    uint32_t *p = pages(N * 16 / 4096 + 2, RWX);
    for (int i = 0; i < n; i++)
    {
        uint32_t *f = p + 4 * i;
        f[0] = rv_addi(10, 10, i & 0x3ff);
        f[1] = i + 1 < n ? 0x00c0006f : RV_RET;          // j +12: the next function
        f[2] = f[3] = 0;
    }
    flush(p, (size_t)N * 16);
    long sum = 0;
    for (int i = 0; i < n; i++) sum += i & 0x3ff;
    long (*f)(long) = (long (*)(long))(void *)p;
    for (int i = 0; i < 5; i++) EQUAL(f(i), sum + i);
}
#endif
