/* system ROW [EXEC-PREFIX]: repeats one operation of the kernel interface for a fixed time and prints its cost in nanoseconds.
 * EXEC-PREFIX is what has to stand before a riscv64 program for the host to execute it (QEMU without binfmt_misc). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static const char *self, *prefix;
static char buffer[4096];
static int file, pipes[4];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void reap(pid_t pid)
{
    int status;
    if (pid < 0) die("fork");
    if (waitpid(pid, &status, 0) != pid || status) die("wait");
}

static void op_getppid(void) { syscall(SYS_getppid); }
static void op_clock(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); }
static void op_read(void) { if (pread(file, buffer, 4096, 0) != 4096) die("pread"); }
static void op_write(void) { if (pwrite(file, buffer, 4096, 0) != 4096) die("pwrite"); }
static void op_stat(void) { struct stat s; if (stat("/usr/bin/env", &s)) die("stat"); }
static void op_open(void) { int fd = open("/usr/bin/env", O_RDONLY); if (fd < 0) die("open"); close(fd); }
static void op_mmap(void)
{
    char *p = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    *(volatile char *)p = 1;
    munmap(p, 65536);
}
static void op_epoll(void)
{
    static int set, event;
    struct epoll_event e = { .events = EPOLLIN };
    unsigned long long one = 1;
    if (!set) {
        set = epoll_create1(0);
        event = eventfd(0, 0);
        epoll_ctl(set, EPOLL_CTL_ADD, event, &e);
    }
    if (write(event, &one, 8) != 8 || epoll_wait(set, &e, 1, -1) != 1 || read(event, &one, 8) != 8) die("epoll");
}
static void on_signal(int n) { (void)n; }
static void op_signal(void) { raise(SIGUSR1); }
static void op_fork(void)
{
    pid_t pid = fork();
    if (!pid) _exit(0);
    reap(pid);
}
static char *arguments[4];
static void op_exec(void)
{
    pid_t pid = fork();
    if (!pid) {
        execve(arguments[0], arguments, environ);
        _exit(127);
    }
    reap(pid);
}
static void op_spawn(void)
{
    pid_t pid;
    if (posix_spawn(&pid, arguments[0], 0, 0, arguments, environ)) die("posix_spawn");
    reap(pid);
}
static void *nothing(void *a) { return a; }
static void op_thread(void)
{
    pthread_t t;
    if (pthread_create(&t, 0, nothing, 0)) die("pthread_create");
    pthread_join(t, 0);
}
static void op_pipe(void) { if (write(pipes[1], buffer, 1) != 1 || read(pipes[2], buffer, 1) != 1) die("pipe"); }
static _Atomic int *word;
static void fwait(int value) { while (*word == value) syscall(SYS_futex, word, FUTEX_WAIT, value, 0, 0, 0); }
static void fset(int value)
{
    *word = value;
    syscall(SYS_futex, word, FUTEX_WAKE, 1, 0, 0, 0);
}
static void op_futex(void) { fset(1); fwait(1); }
static void *futex_partner(void *a)
{
    for (;;) {
        fwait(0);
        fset(0);
    }
    return a;
}
static pid_t partner;
static void dirty(size_t bytes)
{
    char *p = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    for (size_t i = 0; i < bytes; i += 4096) p[i] = 1;
}

static const struct { const char *name; void (*run)(void); } rows[] = {
    { "getppid", op_getppid }, { "clock", op_clock }, { "read", op_read }, { "write", op_write }, { "stat", op_stat }, { "open", op_open },
    { "mmap", op_mmap }, { "epoll", op_epoll }, { "signal", op_signal }, { "fork", op_fork }, { "fork-1m", op_fork }, { "fork-128m", op_fork },
    { "exec", op_exec }, { "spawn", op_spawn }, { "thread", op_thread }, { "pipe", op_pipe }, { "futex", op_futex },
};

/* processes N: N processes that have written 1 MiB each stand still; "ready" is printed when all do. */
static void processes(int count)
{
    int ready[2];
    if (pipe(ready)) die("pipe");
    for (int i = 1; i < count; i++) {
        if (!fork()) {
            dirty(1 << 20);
            if (write(ready[1], "r", 1) != 1) die("write");
            for (;;) pause();
        }
    }
    dirty(1 << 20);
    for (int i = 1; i < count; i++) if (read(ready[0], buffer, 1) != 1) die("read");
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}

int main(int argc, char **argv)
{
    if (argc < 2 || !strcmp(argv[1], "nothing")) return 0;
    if (!strcmp(argv[1], "processes")) processes(atoi(argv[2]));
    self = argv[0];
    prefix = argc > 2 && argv[2][0] ? argv[2] : 0;
    int n = 0;
    if (prefix) arguments[n++] = (char *)prefix;
    arguments[n++] = (char *)self;
    arguments[n] = "nothing";
    char name[] = "/tmp/viv-bench-XXXXXX";
    if ((file = mkstemp(name)) < 0) die("mkstemp");
    unlink(name);
    if (write(file, buffer, 4096) != 4096) die("write");
    signal(SIGUSR1, on_signal);
    if (!strcmp(argv[1], "fork-1m")) dirty(1 << 20);
    if (!strcmp(argv[1], "fork-128m")) dirty(128 << 20);
    if (!strcmp(argv[1], "pipe")) {
        if (pipe(pipes) || pipe(pipes + 2)) die("pipe");
        if (!(partner = fork())) {
            while (read(pipes[0], buffer, 1) == 1 && write(pipes[3], buffer, 1) == 1) {}
            _exit(0);
        }
    }
    if (!strcmp(argv[1], "futex")) {
        pthread_t t;
        static _Atomic int cell;
        word = &cell;
        pthread_create(&t, 0, futex_partner, 0);
    }
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, argv[1])) continue;
        for (int k = 0; k < 10; k++) rows[i].run();
        double best = 1e18;
        for (int part = 0; part < 3; part++) {
            long count = 0, step = 1;
            double start = now(), end = start;
            while (end - start < 1e8) {
                for (long k = 0; k < step; k++) rows[i].run();
                count += step;
                end = now();
                if (end - start < 1e7) step *= 2;
            }
            if ((end - start) / count < best) best = (end - start) / count;
        }
        printf("%.1f\n", best);
        fflush(stdout);
        if (partner) kill(partner, SIGKILL);
        _exit(0);
    }
    fprintf(stderr, "system: no row '%s'\n", argv[1]);
    return 2;
}
