// Resource limits and the accounts that they are about. Each case sets limits in a child, for they cannot always be taken back.
#include "guest.h"
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/wait.h>

static void in_child(void (*body)(void), int expected)
{
    int status = 0;
    fflush(stdout);
    pid_t p = fork();
    CHECK(p >= 0);
    if (p == 0) { body(); _exit(0); }
    EQUAL(waitpid(p, &status, 0), p);
    EQUAL(status, expected);
}
static void limit(int resource, rlim_t value)
{
    struct rlimit l = { value, value };
    ZERO(setrlimit(resource, &l));
}
static volatile int signals;
static void count(int sig, siginfo_t *info, void *uc) { (void)sig; (void)info; (void)uc; signals++; }

static void file_size(void)
{
    char data[5000] = { 0 };
    int fd = temporary();
    limit(RLIMIT_FSIZE, 8192);
    handle(SIGXFSZ, count, 0);
    EQUAL(write(fd, data, 5000), 5000);
    EQUAL(write(fd, data, 5000), 3192);                   // what fits
    FAILS(write(fd, data, 1), EFBIG); EQUAL(signals, 1);
    FAILS(pwrite(fd, data, 1, 8192), EFBIG); EQUAL(signals, 2);
    EQUAL(pwrite(fd, data, 10, 8190), 2);
    struct iovec v[2] = { { data, 4 }, { data, 4000 } };
    EQUAL(lseek(fd, 8000, SEEK_SET), 8000);
    EQUAL(writev(fd, v, 2), 192);
    FAILS(ftruncate(fd, 8193), EFBIG); EQUAL(signals, 3);
    ZERO(ftruncate(fd, 8192));
    int p[2];
    ZERO(pipe(p));
    for (int i = 0; i < 3; i++) EQUAL(write(p[1], data, 4000), 4000);     // no regular file
}
static void file_size_kills(void)
{
    limit(RLIMIT_FSIZE, 0);
    if (write(temporary(), "x", 1) != 1) _exit(9);
}
CASE(limit_file_size, "fork") { in_child(file_size, 0); in_child(file_size_kills, SIGXFSZ); }

static void address_space(void)
{
    limit(RLIMIT_AS, 200 << 20);
    FAILS(mmap(NULL, 256 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), ENOMEM);
    char *p = mmap(NULL, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    FAILS(mremap(p, 64 << 20, 256 << 20, MREMAP_MAYMOVE), ENOMEM);
    CHECK(mmap(p, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
    CHECK(malloc(512 << 20) == NULL);
    CHECK(sbrk(300 << 20) == (void *)-1);
}
static void data(void)
{
    limit(RLIMIT_DATA, 32 << 20);
    FAILS(mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
    CHECK(mmap(NULL, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    CHECK(sbrk(64 << 20) == (void *)-1);
    CHECK(sbrk(1 << 20) != (void *)-1);
}
CASE(limit_address_space, "fork noqemu: its own memory counts") { in_child(address_space, 0); in_child(data, 0); }

static void cpu(void)
{
    struct rlimit l = { 1, 2 };
    ZERO(setrlimit(RLIMIT_CPU, &l));
    handle(SIGXCPU, count, 0);
    while (signals == 0) { }
    struct rusage u;
    ZERO(getrusage(RUSAGE_SELF, &u));
    CHECK(u.ru_utime.tv_sec + u.ru_stime.tv_sec >= 1 || u.ru_utime.tv_usec + u.ru_stime.tv_usec > 900000);
    for (;;) { }
}
CASE(limit_cpu, "fork long noqemu: it is counted for QEMU") { in_child(cpu, SIGKILL); }

static void descriptors(void)
{
    limit(RLIMIT_NOFILE, 10);
    int last = -1, fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0) last = fd;
    EQUAL(errno, EMFILE); EQUAL(last, 9);
    FAILS(dup2(0, 10), EBADF);
}
CASE(limit_descriptors, "fork noqemu: it has some of its own") { in_child(descriptors, 0); }

static void processes(void)
{
    if (getuid() == 0 && setresuid(54321, 54321, 54321)) _exit(0);
    limit(RLIMIT_NPROC, 1);
    FAILS(fork(), EAGAIN);
    pthread_t t;
    EQUAL(pthread_create(&t, NULL, (void *(*)(void *))processes, NULL), EAGAIN);
}
CASE(limit_processes, "fork noqemu: QEMU is threads") { in_child(processes, 0); }

static void of_another(void)
{
    pid_t p = fork();
    if (p == 0) { pause(); _exit(0); }
    struct rlimit l, wanted = { 12, 34 };
    ZERO(prlimit(p, RLIMIT_NOFILE, &wanted, NULL));
    ZERO(prlimit(p, RLIMIT_NOFILE, NULL, &l));
    CHECK(l.rlim_cur == 12 && l.rlim_max == 34);
    ZERO(getrlimit(RLIMIT_NOFILE, &l));
    CHECK(l.rlim_cur != 12);
    kill(p, SIGKILL);
    FAILS(prlimit(0x3ffffe, RLIMIT_NOFILE, NULL, &l), ESRCH);
}
CASE(limit_of_another_process, "fork") { in_child(of_another, 0); }

static void spend(void)
{
    // Time in the kernel, which no library answers itself; on a busy machine it takes longer to get.
    struct timespec used;
    long end = 60000000;
    ZERO(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used));
    end += used.tv_sec * 1000000000 + used.tv_nsec;
    static char much[1 << 20];
    int fd = open("/dev/zero", O_RDONLY);
    while (used.tv_sec * 1000000000 + used.tv_nsec < end)
    {
        for (int i = 0; i < 10; i++) EQUAL(read(fd, much, sizeof much), (long)sizeof much);
        ZERO(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used));
    }
    for (volatile int i = 0; i < 1000000; i++) { }
    close(fd);
}
CASE(usage_of_user_and_system, "fork noqemu")
{
    struct rusage before, after, children;
    struct tms t;
    ZERO(getrusage(RUSAGE_SELF, &before));
    spend();
    ZERO(getrusage(RUSAGE_SELF, &after));
    CHECK(after.ru_stime.tv_sec > before.ru_stime.tv_sec || after.ru_stime.tv_usec > before.ru_stime.tv_usec);
    in_child(spend, 0);
    ZERO(getrusage(RUSAGE_CHILDREN, &children));
    CHECK(children.ru_stime.tv_sec * 1000000 + children.ru_stime.tv_usec > 0);
    CHECK(times(&t) > 0 && t.tms_cutime + t.tms_cstime > 0);
    FAILS(sched_getscheduler(-1), EINVAL);
    FAILS(sched_getscheduler(0x3ffffe), ESRCH);
}

static void take_everything(void)
{
    for (;;)
    {
        char *p = malloc(1 << 20);
        if (p) memset(p, 1, 1 << 20);
    }
}
// Means something only with viv run --memory (the test passes it).
CASE(limit_of_memory, "fork")
{
    struct sysinfo s;
    ZERO(sysinfo(&s));
    if (s.totalram * s.mem_unit > 512 << 20) return;
    CHECK(mmap(NULL, 1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    for (int i = 0; i < 3; i++) in_child(take_everything, SIGKILL);
}

// Likewise with --pids 12.
CASE(limit_of_pids, "fork")
{
    if (!getenv("GUEST_TESTS_PIDS")) return;
    int started = 0;
    pid_t p[64];
    while (started < 64 && (p[started] = fork()) != -1)
    {
        if (p[started] == 0) { pause(); _exit(0); }
        started++;
    }
    EQUAL(errno, EAGAIN);
    CHECK(started < 12);
    for (int i = 0; i < started; i++) { kill(p[i], SIGKILL); waitpid(p[i], NULL, 0); }
    p[0] = fork();
    CHECK(p[0] >= 0);
    if (p[0] == 0) _exit(0);
    waitpid(p[0], NULL, 0);
}

// And with --net none.
CASE(limit_of_network)
{
    if (!getenv("GUEST_TESTS_NO_NETWORK")) return;
    FAILS(socket(AF_INET, SOCK_STREAM, 0), EAFNOSUPPORT);
    FAILS(socket(AF_INET6, SOCK_DGRAM, 0), EAFNOSUPPORT);
    CHECK(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
}

// With viv run --address-space 16T: sparse maps as sanitizers make them, through a fork and with code far up.
CASE(limit_of_address_space, "internal")
{
    size_t size = 6ul << 40;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED);
    for (size_t at = 0; at < size; at += size / 64) p[at + 12345] = (char)(at >> 40);
    char *fixed = mmap((void *)0x30000000000, 1ul << 40, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    EQUAL(fixed, 0x30000000000);
    fixed[1000] = 3;
    pid_t child = fork();
    if (!child)
    {
        for (size_t at = 0; at < size; at += size / 64) if (p[at + 12345] != (char)(at >> 40)) _exit(1);
        p[12345] = 99;
        _exit(fixed[1000] == 3 ? 0 : 2);
    }
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    EQUAL(p[12345], 0);
#ifdef __riscv
    uint32_t *code = mmap((void *)0x40000000000, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(code != MAP_FAILED);
    rv_return(code, 4711);
    fence_i();
    EQUAL(((int_function)(void *)code)(), 4711);
#endif
    if (CATCH()) EQUAL(fault_seen.signal, SIGSEGV);
    else { *(volatile char *)0xf00000000000 = 1; fail(__FILE__, __LINE__, "outside the window is a fault", 0, 0); }
    ignore_faults();
    ZERO(munmap(p, size));
}
