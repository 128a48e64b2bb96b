// The vDSO: an ELF library that the kernel maps, found through the auxiliary vector, and clocks that agree with the system calls.
#include "guest.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <sys/wait.h>

#ifdef __riscv
#define VERSION "LINUX_4.15"
#else
#define VERSION "LINUX_2.6"
#endif

static void *symbol(const char *name)
{
    char *base = (char *)getauxval(AT_SYSINFO_EHDR);
    if (!base) return NULL;
    ElfW(Ehdr) *e = (void *)base;
    CHECK(!memcmp(e->e_ident, ELFMAG, 4) && e->e_type == ET_DYN);
    ElfW(Phdr) *p = (void *)(base + e->e_phoff);
    ElfW(Dyn) *dynamic = NULL;
    ElfW(Addr) bias = 0;
    for (int i = 0; i < e->e_phnum; i++)
    {
        if (p[i].p_type == PT_LOAD) bias = (ElfW(Addr))base + p[i].p_offset - p[i].p_vaddr;
        if (p[i].p_type == PT_DYNAMIC) dynamic = (void *)(base + p[i].p_offset);
    }
    CHECK(dynamic);
    const char *strings = NULL, *soname = NULL;
    ElfW(Sym) *symbols = NULL;
    ElfW(Half) *versions = NULL;
    ElfW(Verdef) *definitions = NULL;
    uint32_t *hash = NULL;
    ElfW(Xword) name_at = 0, defined = 0;
    for (ElfW(Dyn) *d = dynamic; d->d_tag; d++)
    {
        void *at = (void *)(bias + d->d_un.d_ptr);
        switch (d->d_tag)
        {
            case DT_STRTAB: strings = at; break;
            case DT_SYMTAB: symbols = at; break;
            case DT_HASH: hash = at; break;
            case DT_VERSYM: versions = at; break;
            case DT_VERDEF: definitions = at; break;
            case DT_VERDEFNUM: defined = d->d_un.d_val; break;
            case DT_SONAME: name_at = d->d_un.d_val; break;
        }
    }
    CHECK(strings && symbols && versions && definitions);
    soname = strings + name_at;
    EQUAL(strcmp(soname, "linux-vdso.so.1"), 0);
    if (!hash) return NULL;
    for (uint32_t i = 1; i < hash[1]; i++)
    {
        if (!symbols[i].st_shndx || strcmp(strings + symbols[i].st_name, name)) continue;
        ElfW(Verdef) *v = definitions;
        for (ElfW(Xword) k = 0; k < defined; k++, v = (void *)((char *)v + v->vd_next))
        {
            if ((v->vd_ndx & 0x7fff) != (versions[i] & 0x7fff)) continue;
            ElfW(Verdaux) *a = (void *)((char *)v + v->vd_aux);
            EQUAL(strcmp(strings + a->vda_name, VERSION), 0);
            return (void *)(bias + symbols[i].st_value);
        }
        fail(__FILE__, __LINE__, "the symbol's version is defined", i, versions[i]);
    }
    return NULL;
}

typedef int (*clock_function)(clockid_t, struct timespec *);
static clock_function vdso_clock;

static int64_t nanoseconds(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }

static int64_t by_call(clockid_t c)
{
    struct timespec t;
    ZERO(syscall(SYS_clock_gettime, c, &t));
    return nanoseconds(t);
}

static int64_t by_vdso(clockid_t c)
{
    struct timespec t = { -1, -1 };
    EQUAL(vdso_clock(c, &t), 0);
    CHECK(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
    return nanoseconds(t);
}

static void find(void)
{
    vdso_clock = (clock_function)symbol("__vdso_clock_gettime");
    if (!vdso_clock) skip("no vDSO with a DT_HASH table here");
}

// Each reading lies between the system calls before and after it.
static void agree(clockid_t c)
{
    int64_t last = by_call(c);
    for (long i = 0, n = scaled(3000); i < n; i++)
    {
        int64_t v = by_vdso(c);
        CHECK(v >= last);
        last = by_call(c);
        CHECK(last >= v);
    }
}

#ifdef __riscv
struct probe { int64_t key; uint64_t value; };
CASE(vdso_probes_hardware, "noqemu") // QEMU 7.2 has neither
{
    int (*probe)(struct probe *, size_t, size_t, void *, unsigned) = symbol("__vdso_riscv_hwprobe");
    CHECK(probe);
    struct probe a[14], b[14];
    for (int i = 0; i < 14; i++) a[i].key = b[i].key = i == 12 ? -5 : i == 13 ? 1l << 40 : i;
    ZERO(syscall(258, a, 14, 0, NULL, 0));
    ZERO(probe(b, 14, 0, NULL, 0));
    ZERO(memcmp(a, b, sizeof a));
    CHECK(b[3].value == 1 && b[4].value & 3 && b[12].key == -1 && b[13].key == -1);
    // For some processors only it is the kernel's to say.
    unsigned long cpus = 1;
    for (int i = 0; i < 14; i++) b[i].key = i == 12 ? -5 : i == 13 ? 1l << 40 : i;
    ZERO(probe(b, 14, sizeof cpus, &cpus, 0));
    ZERO(memcmp(a, b, sizeof a));
    EQUAL(probe(b, 1, 0, NULL, 4), -EINVAL);
    ZERO(probe(b, 0, 0, NULL, 0));
}
#endif

CASE(vdso_agrees_with_the_calls, "noqemu") // QEMU 7.2 has none for riscv64
{
    find();
    agree(CLOCK_MONOTONIC);
    agree(CLOCK_BOOTTIME);
    agree(CLOCK_MONOTONIC_COARSE);
    agree(CLOCK_MONOTONIC_RAW);
    int64_t a = by_call(CLOCK_REALTIME), b = by_vdso(CLOCK_REALTIME), d = by_call(CLOCK_REALTIME);
    CHECK(b >= a - 1000000000 && b <= d + 1000000000);
    // Clocks that only the kernel knows, and one that nobody does.
    by_vdso(CLOCK_THREAD_CPUTIME_ID);
    struct timespec t;
    CHECK(vdso_clock(77, &t) == -EINVAL);
}

static void *read_clocks(void *stop)
{
    int64_t last = 0;
    while (!atomic_load((atomic_int *)stop))
        for (int i = 0; i < 100; i++)
        {
            int64_t v = by_vdso(CLOCK_MONOTONIC);
            CHECK(v >= last);
            last = v;
        }
    return NULL;
}

// Of each thread: while one is in the handler the next signal finds another, and that one may be done first.
static _Thread_local volatile int64_t alarm_last;
static atomic_int alarms;
static void on_alarm(int s, siginfo_t *i, void *u)
{
    (void)s, (void)i, (void)u;
    int64_t v = by_vdso(CLOCK_MONOTONIC);
    CHECK(v >= alarm_last);
    alarm_last = v;
    alarms++;
}

// Signals find threads in the middle of it, and handlers use it too.
CASE(vdso_under_signals, "noqemu")
{
    find();
    atomic_int stop = 0;
    pthread_t t[3];
    for (int i = 0; i < 3; i++) t[i] = start(read_clocks, &stop);
    handle(SIGALRM, on_alarm, SA_RESTART);
    struct itimerval every = { { 0, 500 }, { 0, 500 } };
    ZERO(setitimer(ITIMER_REAL, &every, NULL));
    int64_t end = now() + 200000000;
    while (now() < end || alarms < 20) by_vdso(CLOCK_MONOTONIC);
    memset(&every, 0, sizeof every);
    ZERO(setitimer(ITIMER_REAL, &every, NULL));
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++) join(t[i]);
}

CASE(vdso_after_fork, "fork noqemu")
{
    find();
    int64_t before = by_vdso(CLOCK_MONOTONIC);
    pid_t child = fork();
    if (!child)
    {
        find();
        _exit(by_vdso(CLOCK_MONOTONIC) >= before && by_call(CLOCK_MONOTONIC) >= before ? 0 : 1);
    }
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    CHECK(by_vdso(CLOCK_MONOTONIC) >= before);
}

CASE(vdso_in_maps, "noqemu")
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[400];
    unsigned long from = 0, to = 0, a, b;
    while (fgets(line, sizeof line, f))
        if (strstr(line, "[vdso]") && sscanf(line, "%lx-%lx", &a, &b) == 2) from = a, to = b;
    fclose(f);
    EQUAL(getauxval(AT_SYSINFO_EHDR), from);
    CHECK(to > from);
}

CASE(vdso_other_functions, "noqemu")
{
    find();
    int (*day)(struct timeval *, void *) = (int (*)(struct timeval *, void *))symbol("__vdso_gettimeofday");
    int (*resolution)(clockid_t, struct timespec *) = (clock_function)symbol("__vdso_clock_getres");
    int (*cpu)(unsigned *, unsigned *, void *) = (int (*)(unsigned *, unsigned *, void *))symbol("__vdso_getcpu");
    CHECK(day && resolution && cpu);
    struct timeval v;
    int zone[2] = { 5, 5 };
    EQUAL(day(&v, zone), 0);
    CHECK(v.tv_usec >= 0 && v.tv_usec < 1000000);
    EQUAL(day(NULL, NULL), 0);
    int64_t real = by_call(CLOCK_REALTIME), seen = v.tv_sec * 1000000000ll + v.tv_usec * 1000ll;
    CHECK(seen > real - 10000000000 && seen < real + 10000000000);
    for (int c = 0; c < 12; c++)
    {
        struct timespec a = { 7, 7 }, b = { 7, 7 };
        int r = resolution(c, &a), k = (int)syscall(SYS_clock_getres, c, &b);
        EQUAL(r, k ? -errno : 0);
        if (k) continue;
        EQUAL(a.tv_sec, b.tv_sec);
        EQUAL(a.tv_nsec, b.tv_nsec);
        EQUAL(resolution(c, NULL), 0);
    }
    unsigned n = 99999, node = 99999;
    EQUAL(cpu(&n, &node, NULL), 0);
    CHECK(n < 4096 && node < 64);
#ifdef __riscv
    int (*flush)(void *, void *, unsigned long) = (int (*)(void *, void *, unsigned long))symbol("__vdso_flush_icache");
    CHECK(flush && symbol("__vdso_rt_sigreturn"));
    EQUAL(flush(NULL, (void *)-1, 0), 0);
#endif
}
