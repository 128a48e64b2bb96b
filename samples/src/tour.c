/* A tour of what a guest can do: floating point, integer code, threads, signals, files, time. Everything it prints is checked or computed, and
 * only the last line depends on the machine. Exit status 0 when all is well. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void mandelbrot(void)
{
    for (int y = 0; y < 16; y++) {
        for (int x = 0; x < 64; x++) {
            double cr = x / 24.0 - 2.0, ci = y / 7.0 - 1.1, zr = 0, zi = 0;
            int i = 0;
            for (; i < 90 && zr * zr + zi * zi < 4; i++) {
                double t = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = t;
            }
            putchar(" .:-=+*#%@"[i / 10]);
        }
        putchar('\n');
    }
}

static uint64_t collatz(void)
{
    uint64_t longest = 0, which = 0;
    for (uint64_t n = 1; n < 300000; n++) {
        uint64_t steps = 0;
        for (uint64_t m = n; m != 1; steps++) m = m & 1 ? 3 * m + 1 : m / 2;
        if (steps > longest) longest = steps, which = n;
    }
    return which;
}

static atomic_long total;
static void *adder(void *arg)
{
    for (long i = 0; i < 100000; i++) atomic_fetch_add(&total, (long)arg);
    return 0;
}

static sigjmp_buf back;
static volatile sig_atomic_t where;
static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    where = sig == SIGSEGV && info->si_addr == (void *)0x10;
    siglongjmp(back, 1);
}

static int failures;
static void check(const char *what, int ok)
{
    printf("  %-34s %s\n", what, ok ? "ok" : "FAILED");
    if (!ok) failures++;
}

int main(void)
{
    setvbuf(stdout, 0, _IOFBF, 1 << 16);
    puts("floating point:");
    mandelbrot();
    puts("checks:");
    check("integer loop (longest Collatz)", collatz() == 230631);

    pthread_t t[4];
    for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, adder, (void *)(i + 1));
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    check("four threads, atomic adds", total == 1000000);

    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    if (!sigsetjmp(back, 1)) *(volatile int *)0x10 = 1;
    check("a caught SIGSEGV names its address", where == 1);

    char name[] = "/tmp/viv-tour-XXXXXX", buffer[32] = {0};
    int fd = mkstemp(name);
    int ok = fd >= 0 && write(fd, "written by the guest", 20) == 20 && pread(fd, buffer, 20, 0) == 20 && !memcmp(buffer, "written by the guest", 20);
    if (fd >= 0) close(fd), unlink(name);
    check("a temporary file", ok);

    char *p = mmap(0, 1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ok = p != MAP_FAILED;
    if (ok) p[(1 << 30) - 1] = 1, ok = munmap(p, 1 << 30) == 0;
    check("a sparse gigabyte", ok);

    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    printf("%d failures, %ld ms of CPU time\n", failures, (long)(now.tv_sec * 1000 + now.tv_nsec / 1000000));
    return failures != 0;
}
