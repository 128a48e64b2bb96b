// Memory: the mmap family against a model, faults and recovery, sharing.
#include "guest.h"
#include <sys/stat.h>

static char *map(size_t size, int prot) { char *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); CHECK(p != MAP_FAILED); return p; }
#define RW (PROT_READ | PROT_WRITE)

// What a page does when touched: its byte, or -signal.
static int peek(volatile unsigned char *p)
{
    if (CATCH()) return -fault_seen.signal;
    return *p;
}
static int poke(volatile unsigned char *p, int v)
{
    if (CATCH()) return -fault_seen.signal;
    *p = (unsigned char)v;
    return 0;
}

#define PAGES 64
static struct { int mapped, prot, value, file; } model[PAGES];
CASE(memory_walk, "noqemu: madvise over holes")
{
    // Random operations on 64 pages; after each, some pages are compared with the model. File pages hold their number.
    int fd = temporary();
    for (int i = 0; i < PAGES; i++) { unsigned char b = (unsigned char)(i + 1); EQUAL(pwrite(fd, &b, 1, i * (long)PAGE), 1); }
    ZERO(ftruncate(fd, PAGES * PAGE));
    unsigned char *base = (unsigned char *)map(PAGES * PAGE, PROT_NONE);
    for (int i = 0; i < PAGES; i++) model[i].mapped = 1;
    uint64_t seed = 12345;
    static const int prots[] = { PROT_NONE, PROT_READ, RW, RW, RW };
    for (long step = 0, n = scaled(20000); step < n; step++)
    {
        int first = (int)(random64(&seed) % PAGES), count = 1 + (int)(random64(&seed) % 6), prot = prots[random64(&seed) % 5];
        if (first + count > PAGES) count = PAGES - first;
        unsigned char *at = base + (size_t)first * PAGE;
        size_t size = (size_t)count * PAGE;
        switch (random64(&seed) % 7)
        {
        case 0:
            ZERO(munmap(at, size));
            for (int i = first; i < first + count; i++) model[i].mapped = 0;
            break;
        case 1:
            CHECK(mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
            for (int i = first; i < first + count; i++) model[i].mapped = 1, model[i].prot = prot, model[i].value = 0, model[i].file = 0;
            break;
        case 2:
            CHECK(mmap(at, size, prot, MAP_PRIVATE | MAP_FIXED, fd, first * (long)PAGE) == at);
            for (int i = first; i < first + count; i++) model[i].mapped = 1, model[i].prot = prot, model[i].value = i + 1, model[i].file = 1;
            break;
        case 3:
        {
            int hole = 0;
            for (int i = first; i < first + count; i++) hole |= !model[i].mapped;
            int r = mprotect(at, size, prot);
            if (hole) { EQUAL(r, -1); EQUAL(errno, ENOMEM); }
            else EQUAL(r, 0);
            // Linux changes what stands before the hole.
            for (int i = first; i < first + count && model[i].mapped; i++) model[i].prot = prot;
            break;
        }
        case 4:
        {
            int hole = 0;
            for (int i = first; i < first + count; i++) hole |= !model[i].mapped;
            int r = madvise(at, size, MADV_DONTNEED);
            if (hole) { EQUAL(r, -1); EQUAL(errno, ENOMEM); }
            else EQUAL(r, 0);
            for (int i = first; i < first + count; i++) model[i].value = model[i].file ? i + 1 : 0;
            break;
        }
        case 5:
        {
            // mremap of one page onto another place in the range.
            int to = (int)(random64(&seed) % PAGES);
            if (to == first || !model[first].mapped) break;
            CHECK(mremap(at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base + (size_t)to * PAGE) == base + (size_t)to * PAGE);
            model[to] = model[first];
            model[first].mapped = 0;
            if (model[to].file) { model[to].mapped = 0; ZERO(munmap(base + (size_t)to * PAGE, PAGE)); }
            break;
        }
        case 6:
            for (int i = first; i < first + count; i++)
            {
                int v = (int)(random64(&seed) & 0xff), r = poke(base + (size_t)i * PAGE, v);
                if (model[i].mapped && model[i].prot & PROT_WRITE) { EQUAL(r, 0); model[i].value = v; }
                else EQUAL(r, -SIGSEGV);
            }
            break;
        }
        for (int k = 0; k < 4; k++)
        {
            int i = (int)(random64(&seed) % PAGES), r = peek(base + (size_t)i * PAGE);
            if (!model[i].mapped || !(model[i].prot & PROT_READ)) { if (r != -SIGSEGV) fail(__FILE__, __LINE__, "page must fault (page, seen)", i, r); }
            else if (r != model[i].value) fail(__FILE__, __LINE__, "page's value (seen, wanted)", r, model[i].value);
        }
    }
}

static char *guarded;
static volatile int faults;
static void make_writable(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)uc;
    char *page = (char *)((uintptr_t)info->si_addr & ~(PAGE - 1));
    CHECK(page >= guarded && page < guarded + 64 * PAGE);
    EQUAL(info->si_code, SEGV_ACCERR);
    ZERO(mprotect(page, PAGE, RW));
    faults++;
}
CASE(memory_fault_and_retry)
{
    guarded = map(64 * PAGE, PROT_READ);
    handle(SIGSEGV, make_writable, 0);
    for (int round = 1; round <= 10; round++)
    {
        for (int i = 0; i < 64; i++) { guarded[(size_t)i * PAGE + 5] = (char)(i + round); __asm__ volatile("" ::: "memory"); }
        EQUAL(faults, 64 * round);
        for (int i = 0; i < 64; i++) EQUAL(guarded[(size_t)i * PAGE + 5], (char)(i + round));
        ZERO(mprotect(guarded, 64 * PAGE, PROT_READ));
    }
}

// A hot loop that loads, stores and computes over pages that are not there: the handler finds every register as it is in front of the access, and makes it possible.
enum { MENDED_PAGES = 16, MENDED_STEP = 64 };
extern char mend_load[], mend_store[];
static char *mended;
static volatile long mended_loads, mended_stores;
static void mend(int sig, siginfo_t *info, void *uc)
{
    (void)sig;
    int stores = PC(uc) == (uintptr_t)mend_store;
    CHECK(stores || PC(uc) == (uintptr_t)mend_load);
    unsigned long at = (unsigned long)((char *)info->si_addr - mended), k = at / MENDED_STEP, n = k + 1;
    EQUAL(at % MENDED_STEP, stores ? 8 : 0);
    EQUAL(GREG(uc, 10), mended + k * MENDED_STEP);
    EQUAL(GREG(uc, 5), n);
    EQUAL(GREG(uc, 12), n * (n + 1) / 2);
    EQUAL(GREG(uc, 13), (n * (n + 1) / 2) ^ n);
    EQUAL(GREG(uc, 14), stores ? 3 * k : 3 * (k - 1));
    EQUAL(GREG(uc, 15), stores ? 3 * k * n / 2 : 3 * k * (k - 1) / 2);
    EQUAL(GREG(uc, 16), 8 * (stores ? n : k));
    EQUAL(GREG(uc, 17), 8 * k * k);
    for (int r = 28; r < 32; r++) EQUAL(GREG(uc, r), -r);
    double sum, wanted = 0.5 * (double)k;
    memcpy(&sum, &((ucontext_t *)uc)->uc_mcontext.__fpregs.__d.__f[10], 8);
    CHECK(sum == wanted);
    if (stores) mended_stores++; else mended_loads++;
    ZERO(mprotect(mended + at / PAGE * PAGE, PAGE, stores ? RW : PROT_READ));
}

CASE(memory_fault_in_hot_loop_is_precise)
{
    mended = map(MENDED_PAGES * PAGE, RW);
    for (long i = 0; i < (long)(MENDED_PAGES * PAGE / MENDED_STEP); i++) memcpy(mended + i * MENDED_STEP, &(long){ 3 * i }, 8);
    handle(SIGSEGV, mend, 0);
    for (long round = 1; round <= (long)scaled(50); round++)
    {
        ZERO(mprotect(mended, MENDED_PAGES * PAGE, PROT_NONE));
        register char *at __asm__("a0") = mended, *end __asm__("a1") = mended + MENDED_PAGES * PAGE;
        __asm__ volatile("li t0, 0\n li a2, 0\n li a3, 0\n li a4, -3\n li a5, 0\n li a6, 0\n li a7, 0\n li t3, -28\n li t4, -29\n li t5, -30\n li t6, -31\n"
            "fmv.d.x fa0, zero\n li t1, 0x3fe\n slli t1, t1, 52\n fmv.d.x fa1, t1\n"
            ".globl mend_load, mend_store\n"
            "0: addi t0, t0, 1\n add a2, a2, t0\n xor a3, a2, t0\n"
            "mend_load: ld a4, 0(a0)\n add a5, a5, a4\n slli a6, t0, 3\n"
            "mend_store: sd a3, 8(a0)\n mul a7, a6, t0\n fadd.d fa0, fa0, fa1\n addi a0, a0, 64\n bne a0, a1, 0b\n"
            : "+r"(at) : "r"(end) : "t0", "t1", "t3", "t4", "t5", "t6", "a2", "a3", "a4", "a5", "a6", "a7", "fa0", "fa1", "memory");
        EQUAL(mended_loads, MENDED_PAGES * round);
        EQUAL(mended_stores, MENDED_PAGES * round);
        for (unsigned long i = 0; i < MENDED_PAGES * PAGE / MENDED_STEP; i++)
        {
            unsigned long stored, n = i + 1;
            memcpy(&stored, mended + i * MENDED_STEP + 8, 8);
            EQUAL(stored, (n * (n + 1) / 2) ^ n);
        }
    }
}

CASE(memory_mremap, "noqemu: other error numbers")
{
    char *p = map(8 * PAGE, RW);
    for (int i = 0; i < 8; i++) p[i * PAGE] = (char)('a' + i);
    // Shrink: the tail is gone.
    CHECK(mremap(p, 8 * PAGE, 4 * PAGE, 0) == p);
    EQUAL(peek((unsigned char *)p + 4 * PAGE), -SIGSEGV);
    EQUAL(peek((unsigned char *)p + 3 * PAGE), 'd');
    // Grow in place is possible, there is a hole behind; the new pages are zero.
    CHECK(mremap(p, 4 * PAGE, 6 * PAGE, 0) == p);
    EQUAL(p[5 * PAGE], 0);
    // Something in the way: ENOMEM without MAYMOVE, moved with it.
    CHECK(mmap(p + 6 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + 6 * PAGE);
    CHECK(mremap(p, 6 * PAGE, 100 * PAGE, 0) == MAP_FAILED);
    EQUAL(errno, ENOMEM);
    char *q = mremap(p, 6 * PAGE, 100 * PAGE, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && q != p);
    for (int i = 0; i < 4; i++) EQUAL(q[i * PAGE], 'a' + i);
    EQUAL(q[99 * PAGE], 0);
    EQUAL(peek((unsigned char *)p), -SIGSEGV);
    // Errors.
    CHECK(mremap(q + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mremap(q, PAGE, 0, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
    CHECK(mremap(q, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q + PAGE) == MAP_FAILED && errno == EINVAL);
    // A shared file mapping keeps its file.
    int fd = temporary();
    ZERO(ftruncate(fd, 20 * PAGE));
    char *f = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, PAGE);
    f[0] = 'x';
    f = mremap(f, 2 * PAGE, 10 * PAGE, MREMAP_MAYMOVE);
    CHECK(f != MAP_FAILED);
    EQUAL(f[0], 'x');
    f[9 * PAGE] = 'y';
    char c;
    EQUAL(pread(fd, &c, 1, 10 * PAGE), 1);
    EQUAL(c, 'y');
}

CASE(memory_shared_file)
{
    int fd = temporary();
    ZERO(ftruncate(fd, 4 * PAGE));
    char *a = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0), *b = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, PAGE), *c = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE, fd, 0);
    CHECK(a != MAP_FAILED && b != MAP_FAILED && c != MAP_FAILED);
    char byte;
    a[PAGE + 3] = 7;
    EQUAL(b[3], 7);
    EQUAL(pread(fd, &byte, 1, PAGE + 3), 1);
    EQUAL(byte, 7);
    EQUAL(pwrite(fd, "Z", 1, PAGE + 4), 1);
    EQUAL(a[PAGE + 4], 'Z'); EQUAL(b[4], 'Z'); EQUAL(c[PAGE + 4], 'Z');
    c[PAGE + 4] = 'p';                       // private: nobody else sees it
    EQUAL(a[PAGE + 4], 'Z');
    b[4] = 'q';
    EQUAL(c[PAGE + 4], 'p');
    ZERO(msync(a, 4 * PAGE, MS_SYNC));
    FAILS(msync(a + 1, PAGE, MS_SYNC), EINVAL);
    // Protections against the file's mode.
    int ro = open("/proc/self/exe", O_RDONLY);
    CHECK(ro >= 0);
    CHECK(mmap(NULL, PAGE, RW, MAP_SHARED, ro, 0) == MAP_FAILED && errno == EACCES);
    char *d = mmap(NULL, PAGE, RW, MAP_PRIVATE, ro, 0);
    CHECK(d != MAP_FAILED);
    EQUAL(d[1], 'E');
    d[1] = 'F';
    close(ro);
    EQUAL(d[1], 'F');
    // The mapping outlives the descriptor and the name.
    close(fd);
    a[0] = 1;
    char *s = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    s[0] = 3;
    ZERO(madvise(s, PAGE, MADV_DONTNEED));
    EQUAL(s[0], 3);                          // shared memory is not thrown away
}

CASE(memory_arguments, "noqemu: MAP_FIXED_NOREPLACE")
{
    CHECK(mmap(NULL, 0, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
    CHECK(mmap((void *)0x12345, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 1ul << 62, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
    char *p = map(4 * PAGE, RW);
    CHECK(mmap(p + PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
    char *hint = mmap(p + PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(hint != MAP_FAILED && (hint < p || hint >= p + 4 * PAGE));
    ZERO(munmap(p + 2 * PAGE, PAGE));
    CHECK(mmap(p + 2 * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == p + 2 * PAGE);
    FAILS(munmap(p + 1, PAGE), EINVAL);
    FAILS(munmap(p, 0), EINVAL);
    ZERO(munmap(p, 4 * PAGE));
    ZERO(munmap(p, 4 * PAGE));               // nothing there is no error
    FAILS(mprotect(p + 1, PAGE, PROT_READ), EINVAL);
    FAILS(mprotect(p, PAGE, PROT_READ), ENOMEM);
    FAILS(madvise(p + 1, PAGE, MADV_DONTNEED), EINVAL);
    int fd = temporary();
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 100) == MAP_FAILED && errno == EINVAL);
    // A length that is no multiple of the page is rounded up.
    p = map(5000, RW);
    p[2 * PAGE - 1] = 1;
    ZERO(munmap(p, 5000));
    EQUAL(peek((unsigned char *)p + 2 * PAGE - 1), -SIGSEGV);
}

CASE(memory_brk, "noqemu: keeps the pages of a smaller break")
{
    char *start_of = sbrk(0);
    CHECK(sbrk(10 * PAGE) == start_of);
    memset(start_of, 5, 10 * PAGE);
    EQUAL(start_of[10 * PAGE - 1], 5);
    CHECK(sbrk(-5 * (long)PAGE) == start_of + 10 * PAGE);
    EQUAL(peek((unsigned char *)start_of + 5 * PAGE + PAGE), -SIGSEGV);
    CHECK(sbrk(5 * PAGE) == start_of + 5 * PAGE);
    EQUAL(start_of[6 * PAGE], 0);            // new pages are zero
    EQUAL(start_of[4 * PAGE], 5);
    // An impossible break is refused and changes nothing.
    long is = syscall(SYS_brk, 0);
    EQUAL(syscall(SYS_brk, -4096l), is);
    EQUAL(syscall(SYS_brk, 4096), is);
}

CASE(memory_sparse)
{
    // 64 GiB reserved, a page touched here and there.
    size_t size = 64ul << 30;
    char *p = mmap(NULL, size, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED);
    uint64_t seed = 9;
    for (int i = 0; i < 1000; i++) *(uint64_t *)(p + (random64(&seed) & (size - 1) & ~7ul)) = 1 + (uint64_t)i;
    seed = 9;
    uint64_t sum = 0;
    for (int i = 0; i < 1000; i++) sum += *(uint64_t *)(p + (random64(&seed) & (size - 1) & ~7ul)) > 0;
    EQUAL(sum, 1000);
    ZERO(munmap(p + (32ul << 30), 1ul << 30));
    EQUAL(peek((unsigned char *)p + (32ul << 30) + 5), -SIGSEGV);
    ZERO(munmap(p, size));
    EQUAL(peek((unsigned char *)p), -SIGSEGV);
    // Reserve without access, commit a part: what allocators do.
    p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED);
    ZERO(mprotect(p + (7ul << 30), 16 * PAGE, RW));
    p[7ul << 30] = 1;
    EQUAL(peek((unsigned char *)p + (7ul << 30) + 16 * PAGE), -SIGSEGV);
    ZERO(munmap(p, size));
}

CASE(memory_madvise, "noqemu: accepts any advice")
{
    char *p = map(16 * PAGE, RW);
    memset(p, 9, 16 * PAGE);
    ZERO(madvise(p + 4 * PAGE, 4 * PAGE, MADV_DONTNEED));
    for (int i = 0; i < 16; i++) EQUAL(p[(size_t)i * PAGE + 77], i >= 4 && i < 8 ? 0 : 9);
    p[4 * PAGE] = 3;
    EQUAL(p[4 * PAGE], 3);
    FAILS(madvise(p, PAGE, 9999), EINVAL);
    int r = madvise(p, 16 * PAGE, MADV_FREE);
    CHECK(r == 0 || errno == EINVAL);
    ZERO(madvise(p, PAGE, MADV_WILLNEED));
    ZERO(madvise(p, PAGE, MADV_SEQUENTIAL));
}

CASE(memory_mincore)
{
    char *p = map(4 * PAGE, RW);
    unsigned char v[4];
    p[0] = p[2 * PAGE] = 1;
    ZERO(mincore(p, 4 * PAGE, v));
    EQUAL(v[0] & 1, 1);
    EQUAL(v[2] & 1, 1);
    FAILS(mincore(p + 1, PAGE, v), EINVAL);
    FAILS(mincore(p, PAGE, (void *)8), EFAULT);
    ZERO(munmap(p + PAGE, PAGE));
    FAILS(mincore(p, 4 * PAGE, v), ENOMEM);
}

CASE(memory_stack_grows)
{
    // 6 MiB of an 8 MiB stack, touched from the far end.
    volatile char big[6 << 20];
    for (long i = (6 << 20) - 1; i >= 0; i -= 4096) big[i] = (char)i;
    big[0] = 1;
    EQUAL(big[0], 1);
}

CASE(memory_memfd_and_locks)
{
    int fd = memfd_create("some", MFD_CLOEXEC);
    CHECK(fd >= 0);
    ZERO(ftruncate(fd, PAGE));
    char *p = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    p[5] = 6;
    char c;
    EQUAL(pread(fd, &c, 1, 5), 1);
    EQUAL(c, 6);
    CHECK(mlock(p, PAGE) == 0 || errno == ENOMEM || errno == EPERM);
    ZERO(munlock(p, PAGE));
    munlock(p, PAGE);
}

// The number behind a name in /proc/self/FILE: in the whole file, or of one mapping.
static long proc_value(const char *file, const char *name, void *mapping)
{
    char line[4096], head[40];
    snprintf(head, sizeof head, "%lx-", (long)mapping);
    FILE *f = fopen(file, "r");
    CHECK(f != NULL);
    long value = -1;
    int here = mapping == NULL;
    while (value < 0 && fgets(line, sizeof line, f))
    {
        if (mapping && strchr(line, '-') && strstr(line, " 00000000 ")) here = strncmp(line, head, strlen(head)) == 0;
        if (here && strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') value = strtol(line + strlen(name) + 1, NULL, 10);
    }
    fclose(f);
    return value;
}
static long resident(char *p, int pages)
{
    unsigned char v[64];
    long n = 0;
    ZERO(mincore(p, pages * (long)PAGE, v));
    for (int i = 0; i < pages; i++) n += v[i] & 1;
    return n;
}
CASE(memory_locked, "noqemu fork")
{
    char *p = map(18 * PAGE, RW);
    ZERO(mprotect(p, PAGE, PROT_NONE));
    ZERO(mprotect(p + 17 * PAGE, PAGE, PROT_NONE));
    p += PAGE;
    EQUAL(proc_value("/proc/self/status", "VmLck", NULL), 0);
    EQUAL(resident(p, 16), 0);
    EQUAL(proc_value("/proc/self/smaps", "Rss", p), 0);
    ZERO(mlock(p + 5, 8 * PAGE - 5));
    EQUAL(resident(p, 16), 8);
    EQUAL(proc_value("/proc/self/status", "VmLck", NULL), 32);
    EQUAL(proc_value("/proc/self/smaps", "Size", p), 32);
    EQUAL(proc_value("/proc/self/smaps", "Rss", p), 32);
    EQUAL(proc_value("/proc/self/smaps", "Private_Dirty", p), 32);
    EQUAL(proc_value("/proc/self/smaps", "Anonymous", p), 32);
    EQUAL(proc_value("/proc/self/smaps", "Locked", p), 32);
    EQUAL(proc_value("/proc/self/smaps", "Locked", p + 8 * PAGE), 0);
    EQUAL(proc_value("/proc/self/smaps_rollup", "Locked", NULL), 32);
    CHECK(proc_value("/proc/self/smaps_rollup", "Rss", NULL) >= 32);
    FAILS(madvise(p, PAGE, MADV_DONTNEED), EINVAL);
    FAILS(msync(p, PAGE, MS_ASYNC | MS_INVALIDATE), EBUSY);
    pid_t child = fork(); // has none
    if (child == 0) _exit(proc_value("/proc/self/status", "VmLck", NULL) != 0);
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    ZERO(munlock(p, 4 * PAGE));
    EQUAL(proc_value("/proc/self/status", "VmLck", NULL), 16);
    ZERO(munmap(p + 4 * PAGE, PAGE));
    EQUAL(proc_value("/proc/self/status", "VmLck", NULL), 12);
    FAILS(mlock(p, 16 * PAGE), ENOMEM);
    FAILS(munlock(p, 16 * PAGE), ENOMEM);
    ZERO(mlock2(p + 8 * PAGE, 8 * PAGE, 1 /* MLOCK_ONFAULT */));
    EQUAL(resident(p + 8 * PAGE, 8), 0);
    FAILS(mlockall(0), EINVAL);
    ZERO(mlockall(MCL_FUTURE));
    char *q = map(4 * PAGE, RW);
    EQUAL(resident(q, 4), 4);
    EQUAL(proc_value("/proc/self/smaps", "Locked", q), 16);
    ZERO(munlockall());
    EQUAL(proc_value("/proc/self/status", "VmLck", NULL), 0);
    q = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
    CHECK(q != MAP_FAILED);
    EQUAL(proc_value("/proc/self/status", "VmLck", NULL), 16);
}

// Threads map, write, check and unmap at once.
static void *map_and_check(void *which)
{
    uint64_t seed = (uint64_t)which;
    for (long i = 0, n = scaled(2000); i < n; i++)
    {
        size_t size = (1 + random64(&seed) % 16) * PAGE;
        char *p = map(size, RW);
        for (size_t k = 0; k < size; k += PAGE) CHECK(p[k] == 0);
        memset(p, (int)(long)which, size);
        if (random64(&seed) % 4 == 0) ZERO(mprotect(p, PAGE, PROT_READ));
        sched_yield();
        for (size_t k = 0; k < size; k += 512) CHECK(p[k] == (char)(long)which);
        ZERO(munmap(p, size));
    }
    return NULL;
}
CASE(memory_threads)
{
    pthread_t t[4];
    for (long i = 0; i < 4; i++) t[i] = start(map_and_check, (void *)(i + 1));
    for (int i = 0; i < 4; i++) join(t[i]);
}

// Misaligned loads and stores of every size at every offset, across a page boundary too.
CASE(memory_misaligned)
{
    unsigned char *p = (unsigned char *)map(2 * PAGE, RW);
    for (unsigned i = 0; i < 2 * PAGE; i++) p[i] = (unsigned char)(i * 7 + (i >> 8));
    for (unsigned k = 0; k < 40; k++)
    {
        unsigned at = (unsigned)PAGE - 20 + k;
        uint64_t d = 0;
        for (int b = 7; b >= 0; b--) d = d << 8 | p[at + (unsigned)b];
        EQUAL(*(volatile uint64_t *)(p + at), d);
        EQUAL(*(volatile uint32_t *)(p + at), (uint32_t)d);
        EQUAL(*(volatile int16_t *)(p + at), (int16_t)d);
        double f = *(volatile double *)(p + at);
        EQUAL(memcmp(&f, p + at, 8), 0);
        *(volatile uint64_t *)(p + at) = d;
        *(volatile uint16_t *)(p + at) = (uint16_t)d;
    }
    for (unsigned i = 0; i < 2 * PAGE; i++) EQUAL(p[i], (unsigned char)(i * 7 + (i >> 8)));
}
