/* What Linux promises a program, one small test per promise: `kernel NAME` exits 0 where it holds. Static, so that it needs no root file
 * system. Run by tests/Vivarium.Linux.Tests and, to check the test itself, by qemu-riscv64 or a real kernel: `kernel all`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static const char *self;
extern char **environ;

#define CHECK(condition) do { if (!(condition)) { \
    fprintf(stderr, "kernel.c:%d: %s (errno %d)\n", __LINE__, #condition, errno); _exit(1); } } while (0)

/* ---- faults ---- */

static sigjmp_buf escape;
static volatile siginfo_t seen;
static volatile int handled;

static void note(int signal, siginfo_t *info, void *context)
{
    (void)context;
    (void)signal;
    memcpy((void *)&seen, info, sizeof *info);
    handled++;
    siglongjmp(escape, 1);
}

static void catch(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {0};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    CHECK(sigaction(signal, &action, NULL) == 0);
}

static void segv_maperr(void)
{
    catch(SIGSEGV, note, 0);
    if (!sigsetjmp(escape, 1)) *(volatile int *)0x2340 = 1;
    CHECK(handled == 1 && seen.si_signo == SIGSEGV && seen.si_code == SEGV_MAPERR && seen.si_addr == (void *)0x2340);
    if (!sigsetjmp(escape, 1)) (void)*(volatile char *)0x7fffffffffff0008;
    CHECK(handled == 2 && seen.si_code == SEGV_MAPERR);
}

static void segv_accerr(void)
{
    char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    catch(SIGSEGV, note, 0);
    if (!sigsetjmp(escape, 1)) page[4100] = 1;
    CHECK(handled == 1 && seen.si_code == SEGV_ACCERR && seen.si_addr == page + 4100);
    CHECK(mprotect(page, 8192, PROT_NONE) == 0);
    if (!sigsetjmp(escape, 1)) (void)*(volatile char *)page;
    CHECK(handled == 2 && seen.si_code == SEGV_ACCERR && seen.si_addr == page);
}

static void segv_exec(void)
{
    void (*code)(void) = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(uint32_t *)code = 0x00008067; /* ret */
    catch(SIGSEGV, note, 0);
    if (!sigsetjmp(escape, 1)) code();
    CHECK(handled == 1 && seen.si_signo == SIGSEGV && seen.si_code == SEGV_ACCERR && seen.si_addr == (void *)code);
    CHECK(mprotect((void *)code, 4096, PROT_READ | PROT_EXEC) == 0);
    __builtin___clear_cache((char *)code, (char *)code + 4);
    code();
    if (!sigsetjmp(escape, 1)) ((void (*)(void))0x100)();
    CHECK(handled == 2 && seen.si_code == SEGV_MAPERR && seen.si_addr == (void *)0x100);
}

static void bus_eof(void)
{
    char name[] = "/tmp/kernel-test-XXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    CHECK(ftruncate(fd, 4096) == 0);
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    map[4095] = 1;
    catch(SIGBUS, note, 0);
    if (!sigsetjmp(escape, 1)) map[4096] = 1;
    CHECK(handled == 1 && seen.si_signo == SIGBUS && seen.si_code == BUS_ADRERR && seen.si_addr == map + 4096);
}

static void illegal(void)
{
    catch(SIGILL, note, 0);
    if (!sigsetjmp(escape, 1)) __asm__ volatile(".2byte 0");
    CHECK(handled == 1 && seen.si_signo == SIGILL && seen.si_code == ILL_ILLOPC);
}

static void skip(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    ucontext_t *uc = context;
    CHECK(info->si_code == TRAP_BRKPT);
    CHECK(info->si_addr == (void *)uc->uc_mcontext.__gregs[REG_PC]);
    uc->uc_mcontext.__gregs[REG_PC] += 4;
    uc->uc_mcontext.__gregs[18] = 77; /* s2 */
    uc->uc_mcontext.__fpregs.__d.__f[9] = 0x4045000000000000; /* fs1 = 42.0 */
    handled++;
}

static void breakpoint(void)
{
    catch(SIGTRAP, skip, 0);
    uint64_t s2;
    double fs1;
    __asm__ volatile("li s2, 1\n.option push\n.option norvc\nebreak\n.option pop\nmv %0, s2\nfmv.d %1, fs1" : "=r"(s2), "=f"(fs1) : : "s2", "fs1", "memory");
    CHECK(handled == 1 && s2 == 77 && fs1 == 42.0);
}

static void on_stack(int signal, siginfo_t *info, void *context)
{
    (void)context;
    stack_t now;
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_flags == SS_ONSTACK);
    CHECK((char *)&now >= (char *)now.ss_sp && (char *)&now < (char *)now.ss_sp + now.ss_size);
    (void)info;
    (void)signal;
    handled++;
    siglongjmp(escape, 1);
}

#pragma GCC diagnostic ignored "-Winfinite-recursion"
static int deep(volatile char *above)
{
    volatile char here[4096];
    here[0] = above[0];
    return deep(here) + here[0];
}

static void stack_overflow(void)
{
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    CHECK(sigaltstack(&stack, NULL) == 0);
    catch(SIGSEGV, on_stack, SA_ONSTACK);
    volatile char start[1] = {1};
    if (!sigsetjmp(escape, 1)) deep(start);
    CHECK(handled == 1);
}

/* ---- sending, masks, waiting ---- */

static volatile int order[16], count;

static void collect(int signal, siginfo_t *info, void *context)
{
    (void)context;
    order[count++] = signal == SIGRTMIN + 1 ? 1000 + info->si_value.sival_int : signal;
}

static void mask_and_queue(void)
{
    sigset_t set, old, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN + 1);
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
    struct sigaction action = {0};
    action.sa_sigaction = collect;
    action.sa_flags = SA_SIGINFO;
    action.sa_mask = set;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    sigaction(SIGRTMIN + 1, &action, NULL);
    for (int i = 0; i < 3; i++) CHECK(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i}) == 0);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGRTMIN + 1) && count == 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
    /* Every handler blocks the others, so frames nest in the order of delivery and run one by one. */
    CHECK(count == 5);
    int standard = 0, last = 999;
    for (int i = 0; i < 5; i++) {
        if (order[i] < 1000) standard++;
        else { CHECK(order[i] == last + 1); last = order[i]; }
    }
    CHECK(standard == 2 && last == 1002);
}

static void timed_wait(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct timespec none = {0, 20000000};
    siginfo_t info;
    CHECK(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN);
    CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 99}) == 0);
    CHECK(sigtimedwait(&set, &info, NULL) == SIGUSR1);
    CHECK(info.si_code == SI_QUEUE && info.si_value.sival_int == 99 && info.si_pid == getpid() && info.si_uid == getuid());
}

static void count_up(int signal) { (void)signal; handled++; }

static void suspend_and_alarm(void)
{
    signal(SIGALRM, count_up);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, &old);
    struct itimerval timer = {{0, 0}, {0, 30000}};
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    CHECK(sigsuspend(&old) == -1 && errno == EINTR && handled == 1);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    CHECK(sigismember(&now, SIGALRM));
}

static atomic_int *restarts;

static void count_shared(int signal)
{
    count_up(signal);
    ++*restarts;
}

static void restart(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    restarts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(restarts != MAP_FAILED);
    struct sigaction action = {0};
    action.sa_handler = count_shared;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 5000}, {0, 5000}};
    setitimer(ITIMER_REAL, &often, NULL);
    pid_t child = fork();
    if (child == 0) {
        struct timespec wait = {0, 100000000};
        while (nanosleep(&wait, &wait) != 0) {}
        while (*restarts <= 3) sched_yield();
        CHECK(write(fds[1], "x", 1) == 1);
        _exit(7);
    }
    char c;
    CHECK(read(fds[0], &c, 1) == 1 && c == 'x' && handled > 3);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    /* And without SA_RESTART. */
    action.sa_flags = 0;
    sigaction(SIGALRM, &action, NULL);
    CHECK(read(fds[0], &c, 1) == -1 && errno == EINTR);
    struct itimerval off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &off, NULL);
}

static void reset_hand(void)
{
    struct sigaction action = {0}, now;
    action.sa_handler = count_up;
    action.sa_flags = SA_RESETHAND | SA_NODEFER;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &now);
    CHECK(handled == 1 && now.sa_handler == SIG_DFL);
}

static void timers(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    event.sigev_value.sival_int = 5;
    timer_t timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec spec = {{0, 2000000}, {0, 1000000}};
    CHECK(timer_settime(timer, 0, &spec, NULL) == 0);
    siginfo_t info;
    for (int i = 0; i < 3; i++) CHECK(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_code == SI_TIMER && info.si_value.sival_int == 5);
    CHECK(timer_gettime(timer, &spec) == 0 && spec.it_interval.tv_nsec == 2000000);
    CHECK(timer_delete(timer) == 0 && timer_delete(timer) == -1 && errno == EINVAL);
    struct itimerval prof = {{0, 0}, {0, 10000}};
    signal(SIGVTALRM, count_up);
    CHECK(setitimer(ITIMER_VIRTUAL, &prof, NULL) == 0);
    for (volatile long i = 0; !handled; i++) {}
}

/* A timer that fires faster than its handler runs leaves the program some time. */
static void fast_timer(void)
{
    signal(SIGALRM, count_up);
    struct itimerval often = {{0, 1}, {0, 1}}, off = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    while (handled < 20) sched_yield();
    for (volatile int work = 0; work < 200000; work++) {}
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
}

static void sleep_remainder(void)
{
    signal(SIGALRM, count_up);
    /* Again and again: on a busy machine the first one comes before the sleep. */
    struct itimerval soon = {{0, 20000}, {0, 20000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    struct timespec wait = {10, 0}, left = {0, 0};
    CHECK(nanosleep(&wait, &left) == -1 && errno == EINTR && left.tv_sec >= 5 && left.tv_sec <= 9);
}

/* ---- threads ---- */

static void *send_to_main(void *main_thread)
{
    pthread_kill(*(pthread_t *)main_thread, SIGUSR1);
    return NULL;
}

static atomic_int spinning;

static void stop_spinning(int signal) { (void)signal; spinning = 0; }

static void thread_signals(void)
{
    /* A signal interrupts a loop that makes no syscalls. */
    signal(SIGUSR1, stop_spinning);
    spinning = 1;
    pthread_t thread, me = pthread_self();
    CHECK(pthread_create(&thread, NULL, send_to_main, &me) == 0);
    while (spinning) {}
    CHECK(pthread_join(thread, NULL) == 0);
}

static pthread_mutex_t mutex;

static void *die_holding(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&mutex);
    return NULL;
}

static void robust(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attributes);
    pthread_t thread;
    pthread_create(&thread, NULL, die_holding, NULL);
    pthread_join(thread, NULL);
    CHECK(pthread_mutex_lock(&mutex) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0);
}

static long shared_counter;

static void *add(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&mutex);
        shared_counter++;
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void contend(int protocol)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    CHECK(pthread_mutexattr_setprotocol(&attributes, protocol) == 0);
    pthread_mutex_init(&mutex, &attributes);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, add, NULL) == 0);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(shared_counter == 8000);
}

static void mutexes(void) { contend(PTHREAD_PRIO_NONE); }

static void pi_mutexes(void) { contend(PTHREAD_PRIO_INHERIT); }

static void *nothing(void *argument) { return argument; }

static void many_threads(void)
{
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        void *result;
        CHECK(pthread_create(&thread, NULL, nothing, &i) == 0);
        CHECK(pthread_join(thread, &result) == 0 && result == &i);
    }
}

static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void condition_timeout(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) { until.tv_nsec -= 1000000000; until.tv_sec++; }
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    CHECK(pthread_cond_timedwait(&condition, &lock, &until) == ETIMEDOUT);
}

/* ---- processes ---- */

static void fork_memory(void)
{
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *shared = *own = 1;
    pid_t child = fork();
    if (child == 0) {
        CHECK(*own == 1 && *shared == 1 && getppid() != getpid());
        *shared = *own = 2;
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(*shared == 2 && *own == 1);
}

static volatile siginfo_t child_info;

static void on_child(int signal, siginfo_t *info, void *context)
{
    (void)context;
    (void)signal;
    memcpy((void *)&child_info, info, sizeof *info);
    handled++;
}

static void child_signal(void)
{
    catch(SIGCHLD, on_child, 0);
    sigset_t block, old;
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_BLOCK, &block, &old);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGTERM, SIG_DFL);
        raise(SIGTERM);
        _exit(0);
    }
    while (!handled) sigsuspend(&old);
    CHECK(child_info.si_code == CLD_KILLED && child_info.si_status == SIGTERM && child_info.si_pid == child);
    int status;
    CHECK(waitpid(-1, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    CHECK(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
}

static void stop_and_continue(void)
{
    pid_t child = fork();
    if (child == 0) {
        for (;;) pause();
    }
    int status;
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    kill(child, SIGSTOP);
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    kill(child, SIGCONT);
    CHECK(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
    kill(child, SIGKILL);
    siginfo_t info;
    CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0 && info.si_code == CLD_KILLED && info.si_status == SIGKILL);
    CHECK(waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGKILL);
}

/* SIGCONT undoes a stop even where the process is just about to stop. */
static void stop_storm(void)
{
    for (int round = 0; round < 150; round++) {
        pid_t child = fork();
        if (child == 0) for (;;) pause();
        int status;
        for (int i = 0; i < round % 8; i++) sched_yield();
        CHECK(kill(child, SIGSTOP) == 0);
        for (int i = 0; i < round % 5; i++) sched_yield();
        CHECK(kill(child, SIGCONT) == 0 && kill(child, SIGTERM) == 0);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    }
}

static void groups(void)
{
    pid_t child = fork();
    if (child == 0) {
        CHECK(setpgid(0, 0) == 0 && getpgrp() == getpid());
        if (fork() == 0) for (;;) pause();
        for (;;) pause();
    }
    setpgid(child, child);
    CHECK(getpgid(child) == child);
    usleep(30000);
    CHECK(kill(-child, SIGTERM) == 0);
    int status;
    CHECK(waitpid(-child, &status, 0) == child && WTERMSIG(status) == SIGTERM);
    CHECK(kill(child, 0) == -1 && errno == ESRCH);
}

static void spawn(void)
{
    char *arguments[] = {(char *)self, "exit", "23", NULL};
    pid_t child;
    CHECK(posix_spawn(&child, self, NULL, NULL, arguments, environ) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 23);
    CHECK(posix_spawn(&child, "/nonexistent/program", NULL, NULL, arguments, environ) == ENOENT);
}

static void *exec_from_thread(void *unused)
{
    (void)unused;
    execl(self, self, "exit", "24", NULL);
    return NULL;
}

static void exec_threads(void)
{
    pid_t child = fork();
    if (child == 0) {
        pthread_t threads[3];
        for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, (void *(*)(void *))(void *)pause, NULL);
        pthread_create(&threads[2], NULL, exec_from_thread, NULL);
        for (;;) pause();
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 24);
}

static void orphans(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        pid_t middle = getpid();
        if (fork() == 0) {
            while (getppid() == middle) sched_yield();
            pid_t parent = getppid();
            CHECK(write(fds[1], &parent, sizeof parent) == sizeof parent);
            _exit(3);
        }
        usleep(5000);
        _exit(0);
    }
    pid_t parent = 0;
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(read(fds[0], &parent, sizeof parent) == sizeof parent && parent == getpid());
    CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 3);
    /* Orphans that would have sent their first parent no signal are children like any other to the second: alive, and already dead. */
    signal(SIGCHLD, count_up);
    for (int dead = 0; dead < 2; dead++) {
        if ((child = fork()) == 0) {
            pid_t middle = getpid();
            if (syscall(SYS_clone, 0, 0, 0, 0, 0) == 0) {
                while (!dead && getppid() == middle) sched_yield();
                _exit(4);
            }
            siginfo_t info;
            if (dead) CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | __WALL) == 0);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 4);
        CHECK(wait(&status) == -1 && errno == ECHILD);
    }
    CHECK(handled > 0);
    /* Where nobody wants to know of them, dead orphans vanish. */
    signal(SIGCHLD, SIG_IGN);
    if ((child = fork()) == 0) {
        if (syscall(SYS_clone, 0, 0, 0, 0, 0) == 0) _exit(4);
        siginfo_t info;
        CHECK(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | __WALL) == 0);
        _exit(0);
    }
    CHECK(wait(&status) == -1 && errno == ECHILD);
}

static void zombie_files(void)
{
    pid_t child = fork();
    if (child == 0) _exit(0);
    siginfo_t info;
    CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
    const char *names[] = {"environ", "cmdline"};
    for (int i = 0; i < 2; i++) {
        char path[64], c;
        snprintf(path, sizeof path, "/proc/%d/%s", child, names[i]);
        int fd = open(path, O_RDONLY);
        CHECK(fd >= 0 ? read(fd, &c, 1) == 0 : errno == ESRCH);
        close(fd);
    }
    CHECK(waitpid(child, NULL, 0) == child);
}

/* What is closed after close_range has parted the table is closed: the pipe has no writer left. */
static void unshared_table(void)
{
    for (int shared = 0; shared < 2; shared++) {
        int fds[2];
        CHECK(pipe(fds) == 0);
        pid_t child = shared ? syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0) : 0;
        if (child == 0) {
            CHECK(syscall(SYS_close_range, 1000, 2000, CLOSE_RANGE_UNSHARE) == 0);
            CHECK(close(fds[1]) == 0);
            if (shared) _exit(0);
        } else {
            CHECK(waitpid(child, NULL, 0) == child);
            CHECK(write(fds[1], "x", 1) == 1 && close(fds[1]) == 0);
        }
        char c;
        CHECK(read(fds[0], &c, 1) == shared && read(fds[0], &c, 1) == 0);
    }
}

static void fork_storm(void)
{
    for (int round = 0; round < 10; round++) {
        pid_t children[8];
        for (int i = 0; i < 8; i++) if ((children[i] = fork()) == 0) _exit(i);
        for (int i = 0; i < 8; i++) {
            int status;
            CHECK(waitpid(children[i], &status, 0) == children[i] && WEXITSTATUS(status) == i);
        }
    }
}

static void pidfds(void)
{
    pid_t child = fork();
    if (child == 0) for (;;) pause();
    int fd = syscall(SYS_pidfd_open, child, 0);
    CHECK(fd >= 0);
    struct pollfd poller = {fd, POLLIN, 0};
    CHECK(poll(&poller, 1, 10) == 0);
    CHECK(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) == 0);
    CHECK(poll(&poller, 1, 10000) == 1 && (poller.revents & POLLIN));
    siginfo_t info;
    CHECK(waitid(P_PIDFD, fd, &info, WEXITED) == 0 && info.si_pid == child && info.si_status == SIGTERM);
    CHECK(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == -1 && errno == ESRCH);
    CHECK(syscall(SYS_pidfd_open, 4000000, 0) == -1 && errno == ESRCH);
}

static void priorities(void)
{
    CHECK(getpriority(PRIO_PROCESS, 0) == 0 && nice(3) == 3 && getpriority(PRIO_PROCESS, getpid()) == 3);
    pid_t child = fork();
    if (child == 0) _exit(getpriority(PRIO_PROCESS, 0));
    int status;
    CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3);
}

static void sessions(void)
{
    pid_t child = fork();
    if (child == 0) {
        CHECK(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid());
        CHECK(setsid() == -1 && errno == EPERM);
        CHECK(setpgid(0, 0) == -1 && errno == EPERM);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void broken_pipe(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    close(fds[0]);
    signal(SIGPIPE, count_up);
    CHECK(write(fds[1], "x", 1) == -1 && errno == EPIPE && handled == 1);
}

/* ---- memory ---- */

static void remap(void)
{
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(map, "one");
    strcpy(map + 4096, "two");
    char *moved = mremap(map, 8192, 1 << 20, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED && !strcmp(moved, "one") && !strcmp(moved + 4096, "two") && moved[1 << 19] == 0);
    CHECK(mremap(moved, 1 << 20, 4096, 0) == moved);
    char *target = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mremap(moved, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target && !strcmp(target, "one"));
    CHECK(msync(moved, 4096, MS_ASYNC) == -1 && errno == ENOMEM);
    CHECK(mmap(target, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
    CHECK(madvise(target, 4096, MADV_DONTNEED) == 0 && target[0] == 0);
    char *heap = sbrk(0);
    CHECK(sbrk(1 << 20) == heap && (heap[100000] = 1) == 1 && sbrk(-(1 << 20)) == heap + (1 << 20) && sbrk(0) == heap);
}

static void holes(void)
{
    char *map = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(munmap(map + 4096, 4096) == 0);
    CHECK(mprotect(map, 12288, PROT_READ) == -1 && errno == ENOMEM);
    catch(SIGSEGV, note, 0);
    if (!sigsetjmp(escape, 1)) map[0] = 1;
    CHECK(handled == 1 && seen.si_code == SEGV_ACCERR);
    if (!sigsetjmp(escape, 1)) map[4096] = 1;
    CHECK(handled == 2 && seen.si_code == SEGV_MAPERR);
    CHECK(mmap((void *)0x1000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EPERM);
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, 1UL << 50, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
}

static void bad_pointers(void)
{
    CHECK(syscall(SYS_uname, (void *)8) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_clock_gettime, 0, (void *)0x7000000000000000) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_write, 1, (void *)8, 100) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_futex, (void *)8, FUTEX_WAIT, 0, NULL) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_rt_sigaction, 10, (void *)-8L, NULL, 8) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_execve, (void *)8, NULL, NULL) == -1 && errno == EFAULT);
    CHECK(syscall(9999) == -1 && errno == ENOSYS);
}

static void auxv(void)
{
    CHECK(getauxval(AT_PAGESZ) == 4096 && getauxval(AT_PHNUM) > 0 && getauxval(AT_CLKTCK) == 100);
    CHECK((getauxval(AT_HWCAP) & 0x112d) == 0x112d);
    CHECK(getauxval(AT_RANDOM) != 0 && getauxval(AT_SECURE) == 0 && *(char *)getauxval(AT_EXECFN) != 0);
    CHECK((uintptr_t)__builtin_frame_address(0) % 16 == 0);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur == 8 << 20);
}

static const struct { const char *name; void (*run)(void); } tests[] = {
    {"segv_maperr", segv_maperr}, {"segv_accerr", segv_accerr}, {"segv_exec", segv_exec}, {"bus_eof", bus_eof}, {"illegal", illegal},
    {"breakpoint", breakpoint}, {"stack_overflow", stack_overflow}, {"mask_and_queue", mask_and_queue}, {"timed_wait", timed_wait},
    {"suspend_and_alarm", suspend_and_alarm}, {"restart", restart}, {"reset_hand", reset_hand}, {"timers", timers}, {"fast_timer", fast_timer},
    {"sleep_remainder", sleep_remainder}, {"thread_signals", thread_signals}, {"robust", robust}, {"mutexes", mutexes},
    {"pi_mutexes", pi_mutexes}, {"many_threads", many_threads}, {"condition_timeout", condition_timeout}, {"fork_memory", fork_memory},
    {"child_signal", child_signal}, {"stop_and_continue", stop_and_continue}, {"stop_storm", stop_storm}, {"groups", groups}, {"spawn", spawn},
    {"exec_threads", exec_threads}, {"orphans", orphans}, {"zombie_files", zombie_files}, {"unshared_table", unshared_table}, {"fork_storm", fork_storm}, {"broken_pipe", broken_pipe},
    {"pidfds", pidfds}, {"priorities", priorities}, {"sessions", sessions}, {"remap", remap},
    {"holes", holes}, {"bad_pointers", bad_pointers}, {"auxv", auxv},
};

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 3 && !strcmp(argv[1], "exit")) return atoi(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "die")) {
        raise(atoi(argv[2]));
        return 0;
    }
    int failures = 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (argc == 2 && !strcmp(argv[1], "list")) puts(tests[i].name);
        if (argc == 2 && !strcmp(argv[1], tests[i].name)) {
            tests[i].run();
            return 0;
        }
        if (argc == 2 && !strcmp(argv[1], "all")) {
            char *arguments[] = {argv[0], (char *)tests[i].name, NULL};
            pid_t child;
            int status = -1;
            if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) != 0 || waitpid(child, &status, 0) != child || status != 0) {
                printf("%s: failed (status %x)\n", tests[i].name, status);
                failures++;
            }
        }
    }
    return failures != 0 || argc != 2 ? 1 : 0;
}
