// Processes: fork, exec, wait. Where fork says ENOSYS the case says so and is skipped (status 77).
#include "guest.h"
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

static pid_t child(void)
{
    pid_t p = fork();
    if (p < 0 && errno == ENOSYS) skip("fork: ENOSYS");
    CHECK(p >= 0);
    return p;
}
static int wait_for(pid_t p)
{
    int status = -1;
    pid_t got;
    while ((got = waitpid(p, &status, 0)) == -1 && errno == EINTR) { }
    EQUAL(got, p);
    return status;
}

CASE(process_fork_and_status, "fork")
{
    static int value = 1;
    int status, p[2];
    ZERO(pipe(p));
    for (int i = 0; i < 10; i++)
    {
        pid_t parent = getpid(), c = child();
        if (c == 0)
        {
            CHECK(getppid() == parent && getpid() != parent && syscall(SYS_gettid) == getpid());
            value = 100;
            EQUAL(write(p[1], &i, sizeof i), (long)sizeof i);
            _exit(i);
        }
        status = wait_for(c);
        CHECK(WIFEXITED(status));
        EQUAL(WEXITSTATUS(status), i);
        EQUAL(value, 1);                                  // the child's memory is its own
        int got;
        EQUAL(read(p[0], &got, sizeof got), (long)sizeof got);
        EQUAL(got, i);
    }
    FAILS(wait(&status), ECHILD);
    FAILS(waitpid(1, &status, 0), ECHILD);
    pid_t c = child();
    if (c == 0) { for (;;) pause(); }
    EQUAL(waitpid(c, &status, WNOHANG), 0);
    ZERO(kill(c, SIGTERM));
    status = wait_for(c);
    CHECK(WIFSIGNALED(status));
    EQUAL(WTERMSIG(status), SIGTERM);
    c = child();
    if (c == 0) abort();
    EQUAL(WTERMSIG(wait_for(c)), SIGABRT);
    c = child();
    if (c == 0) { *(volatile int *)16 = 1; }
    EQUAL(WTERMSIG(wait_for(c)), SIGSEGV);
    c = child();
    if (c == 0) { for (;;) { __asm__ volatile("" ::: "memory"); } }
    sleep_ms(5);
    ZERO(kill(c, SIGKILL));
    EQUAL(WTERMSIG(wait_for(c)), SIGKILL);
}

static volatile int children_gone, child_pid_seen;
static void on_child(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)uc;
    EQUAL(info->si_code, CLD_EXITED);
    EQUAL(info->si_status, 5);
    child_pid_seen = info->si_pid;
    children_gone++;
}
CASE(process_sigchld_and_waitid, "fork")
{
    handle(SIGCHLD, on_child, SA_RESTART);
    pid_t c = child();
    if (c == 0) _exit(5);
    siginfo_t info;
    ZERO(waitid(P_PID, (id_t)c, &info, WEXITED | WNOWAIT));
    EQUAL(info.si_pid, c); EQUAL(info.si_status, 5);
    ZERO(waitid(P_PID, (id_t)c, &info, WEXITED));
    int64_t end = now() + 10000000000ll;
    while (!children_gone) CHECK(now() < end);
    EQUAL(child_pid_seen, c);
    signal(SIGCHLD, SIG_IGN);                             // no zombies
    c = child();
    if (c == 0) _exit(1);
    FAILS(waitpid(c, NULL, 0), ECHILD);
}

CASE(process_shared_memory_and_descriptors, "fork")
{
    volatile int *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    volatile int *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = temporary();
    *private = 3;
    pid_t c = child();
    if (c == 0)
    {
        EQUAL(*private, 3);
        *private = 4;
        shared[1] = 7;
        EQUAL(write(fd, "child", 5), 5);
        close(fd);
        while (!shared[0]) sched_yield();
        shared[2] = 9;
        EQUAL(*private, 4);
        _exit(0);
    }
    int64_t end = now() + 20000000000ll;
    while (shared[1] != 7) { sched_yield(); CHECK(now() < end); }
    *private = 5;
    shared[0] = 1;
    EQUAL(wait_for(c), 0);
    EQUAL(shared[2], 9); EQUAL(*private, 5);
    EQUAL(lseek(fd, 0, SEEK_CUR), 5);                     // one offset for both
}

CASE(process_copy_on_write_walk, "fork")
{
    // Generations that each change some pages: nobody sees another's writes.
    enum { N = 200 };
    unsigned char *p = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < N; i++) p[i * PAGE] = (unsigned char)i;
    for (int g = 0; g < 8; g++)
    {
        pid_t c = child();
        if (c == 0)
        {
            for (int i = g; i < N; i += 3) p[i * PAGE] = (unsigned char)(i + 50);
            pid_t grandchild = child();
            if (grandchild == 0)
            {
                for (int i = 0; i < N; i++) EQUAL(p[i * PAGE], (unsigned char)(i >= g && (i - g) % 3 == 0 ? i + 50 : i));
                memset(p, 1, N * PAGE);
                _exit(3);
            }
            EQUAL(WEXITSTATUS(wait_for(grandchild)), 3);
            for (int i = 0; i < N; i++) EQUAL(p[i * PAGE], (unsigned char)(i >= g && (i - g) % 3 == 0 ? i + 50 : i));
            _exit(0);
        }
        for (int i = 0; i < N; i++) EQUAL(p[i * PAGE], (unsigned char)i);
        EQUAL(wait_for(c), 0);
    }
}

static volatile int writers_run;
static void *write_counters(void *p)
{
    volatile uint64_t *a = p, *b = a + 4096;
    while (writers_run) { atomic_thread_fence(memory_order_seq_cst); (*a)++; atomic_thread_fence(memory_order_seq_cst); *b = *a; }
    return NULL;
}

CASE(process_fork_of_much_memory, "fork long")
{
    // Enough to make copying a bad idea, changed in every way between and after forks.
    enum { N = 2000 };
    char *p = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < N; i++) p[i * PAGE] = (char)(i | 1);
    for (int round = 0; round < 5; round++)
    {
        pid_t c = child();
        if (c == 0)
        {
            for (int i = 0; i < N; i++) EQUAL(p[i * PAGE], (char)(i | 1));
            ZERO(madvise(p, 10 * PAGE, MADV_DONTNEED));
            EQUAL(p[0], 0);
            p[PAGE] = 5;
            char *q = mremap(p, N * PAGE, 2 * N * PAGE, MREMAP_MAYMOVE);
            CHECK(q != MAP_FAILED);
            EQUAL(q[0], 0); EQUAL(q[PAGE], 5); EQUAL(q[10 * PAGE], 11); EQUAL(q[(N - 1) * PAGE], (char)(N - 1)); EQUAL(q[N * PAGE], 0); EQUAL(q[(2 * N - 1) * PAGE], 0);
            q[N * PAGE] = 77;
            ZERO(munmap(q + 20 * PAGE, 10 * PAGE));
            char *hole = mmap(q + 20 * PAGE, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            EQUAL(hole[PAGE], 0);
            ZERO(mprotect(q + 100 * PAGE, 50 * PAGE, PROT_READ));
            pid_t grandchild = child();
            if (grandchild == 0)
            {
                EQUAL(q[PAGE], 5); EQUAL(q[N * PAGE], 77); EQUAL(q[20 * PAGE], 0); EQUAL(q[30 * PAGE], 31); EQUAL(q[120 * PAGE], 121);
                // One mapping to the program: it may be resized as one.
                char *r = mremap(q + 200 * PAGE, (2 * N - 200) * PAGE, 3 * N * PAGE, MREMAP_MAYMOVE);
                CHECK(r != MAP_FAILED);
                EQUAL(r[0], (char)201); EQUAL(r[(N - 200) * PAGE], 77); EQUAL(r[(3 * N - 1) * PAGE], 0);
                memset(r, 1, 3 * N * PAGE);
                _exit(3);
            }
            EQUAL(WEXITSTATUS(wait_for(grandchild)), 3);
            EQUAL(q[N * PAGE], 77);
            _exit(0);
        }
        for (int i = 0; i < N; i += 7) p[i * PAGE + 8] = (char)round;
        EQUAL(wait_for(c), 0);
        for (int i = 0; i < N; i++) EQUAL(p[i * PAGE], (char)(i | 1));
    }
    // Others write meanwhile: nothing of theirs gets lost, and the child sees no old memory.
    volatile uint64_t *counters = (uint64_t *)p;
    counters[0] = counters[4096] = 0;
    writers_run = 1;
    pthread_t t = start(write_counters, p);
    for (int round = 0; round < 5; round++)
    {
        uint64_t before = counters[0];
        pid_t c = child();
        if (c == 0)
        {
            uint64_t a = counters[0], b = counters[4096];
            CHECK(a >= before && b + 1 >= before);
            _exit(0);
        }
        EQUAL(wait_for(c), 0);
        for (int i = 100; i < N; i++) p[i * PAGE + 8] = (char)round;
    }
    uint64_t last = counters[0];
    while (counters[0] == last) { }
    writers_run = 0;
    join(t);
    EQUAL(counters[0], counters[4096]);
}

// Run by process_exec in the new program: argv and environment as given, the CLOEXEC descriptor gone, the other there.
CASE(exec_target, "internal")
{
    const char *v = getenv("GUEST_TESTS_VALUE");
    if (!v) return;
    CHECK(strcmp(v, "some value") == 0);
    CHECK(fcntl(30, F_GETFD) == 0);
    FAILS(fcntl(31, F_GETFD), EBADF);
    sigset_t mask;
    ZERO(sigprocmask(SIG_BLOCK, NULL, &mask));
    CHECK(sigismember(&mask, SIGUSR2));                   // kept by exec
    struct sigaction a;
    ZERO(sigaction(SIGUSR1, NULL, &a));
    CHECK(a.sa_handler == SIG_DFL);                       // handlers are reset
    ZERO(sigaction(SIGHUP, NULL, &a));
    CHECK(a.sa_handler == SIG_IGN);                       // ignored ones stay
    _exit(11);
}
static void nothing(int sig, siginfo_t *info, void *uc) { (void)sig; (void)info; (void)uc; }
CASE(process_exec, "fork noqemu: exec of a foreign program")
{
    char path[300];
    long n = readlink("/proc/self/exe", path, sizeof path - 1);
    CHECK(n > 0);
    path[n] = 0;
    EQUAL(dup2(1, 30), 30);
    EQUAL(dup3(1, 31, O_CLOEXEC), 31);
    char *const arguments[] = { "guest-tests", "exec_target", NULL }, *const environment[] = { "GUEST_TESTS_VALUE=some value", NULL };
    handle(SIGUSR1, nothing, 0);
    signal(SIGHUP, SIG_IGN);
    pid_t c = child();
    if (c == 0)
    {
        sigset_t s;
        sigemptyset(&s);
        sigaddset(&s, SIGUSR2);
        sigprocmask(SIG_BLOCK, &s, NULL);
        execve(path, arguments, environment);
        _exit(99);
    }
    EQUAL(WEXITSTATUS(wait_for(c)), 11);
    FAILS(execve("/nonexistent", arguments, environment), ENOENT);
    FAILS(execve("/tmp", arguments, environment), EACCES);
    FAILS(execve((char *)16, arguments, environment), EFAULT);
    // posix_spawn is vfork and exec.
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    sigprocmask(SIG_BLOCK, &s, NULL);
    for (int i = 0; i < 3; i++)
    {
        ZERO(posix_spawn(&c, path, NULL, NULL, arguments, environment));
        EQUAL(WEXITSTATUS(wait_for(c)), 11);
    }
    EQUAL(posix_spawn(&c, "/nonexistent", NULL, NULL, arguments, environment), ENOENT);
}

static volatile int stop;
static void *spin(void *unused) { (void)unused; while (!stop) { } return NULL; }
static void *fork_here(void *unused)
{
    (void)unused;
    pid_t c = child();
    if (c == 0) _exit(syscall(SYS_gettid) == getpid() ? 21 : 22);
    EQUAL(WEXITSTATUS(wait_for(c)), 21);
    return NULL;
}
CASE(process_fork_with_threads, "fork")
{
    pthread_t spinner = start(spin, NULL);
    for (int i = 0; i < 10; i++)
    {
        join(start(fork_here, NULL));
        pid_t c = child();
        if (c == 0)
        {
            // The child has this thread only, and can make new ones.
            stop = 1;
            join(start(spin, NULL));
            exit(23);
        }
        EQUAL(WEXITSTATUS(wait_for(c)), 23);
    }
    stop = 1;
    join(spinner);
}

CASE(process_exec_from_thread, "fork noqemu: exec of a foreign program")
{
    char path[300];
    long n = readlink("/proc/self/exe", path, sizeof path - 1);
    CHECK(n > 0);
    path[n] = 0;
    pid_t c = child();
    if (c == 0)
    {
        start(spin, NULL);
        start(spin, NULL);
        execl(path, "guest-tests", "--list", (char *)NULL);
        _exit(99);
    }
    EQUAL(wait_for(c), 0);
}

CASE(process_stop_and_continue, "fork")
{
    pid_t c = child();
    if (c == 0) { for (;;) pause(); }
    int status;
    ZERO(kill(c, SIGSTOP));
    EQUAL(waitpid(c, &status, WUNTRACED), c);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    ZERO(kill(c, SIGCONT));
    EQUAL(waitpid(c, &status, WCONTINUED), c);
    CHECK(WIFCONTINUED(status));
    ZERO(kill(c, SIGKILL));
    EQUAL(WTERMSIG(wait_for(c)), SIGKILL);
}

CASE(process_groups_and_orphans, "fork")
{
    int p[2], status;
    ZERO(pipe(p));
    pid_t c = child();
    if (c == 0)
    {
        ZERO(setpgid(0, 0));
        EQUAL(getpgrp(), getpid());
        for (int i = 0; i < 2; i++) if (child() == 0) { EQUAL(write(p[1], "g", 1), 1); for (;;) pause(); }
        EQUAL(write(p[1], "g", 1), 1);
        for (;;) pause();
    }
    char byte;
    for (int i = 0; i < 3; i++) EQUAL(read(p[0], &byte, 1), 1);
    close(p[1]);
    ZERO(kill(-c, SIGTERM));
    EQUAL(waitpid(-c, &status, 0), c);
    EQUAL(WTERMSIG(status), SIGTERM);
    EQUAL(read(p[0], &byte, 1), 0);                       // all writers are gone
    // The orphan lives on with another parent.
    ZERO(pipe(p));
    c = child();
    if (c == 0)
    {
        pid_t me = getpid();
        if (child() == 0) { while (getppid() == me) sched_yield(); EQUAL(write(p[1], "o", 1), 1); _exit(0); }
        _exit(0);
    }
    EQUAL(wait_for(c), 0);
    EQUAL(read(p[0], &byte, 1), 1);
    EQUAL(byte, 'o');
    c = child();
    if (c == 0) { pid_t s = setsid(); CHECK(s == getpid() && getsid(0) == s); _exit(0); }
    EQUAL(wait_for(c), 0);
}

CASE(process_many, "fork")
{
    // A tree of short-lived processes, some at once.
    for (long i = 0, n = scaled(50); i < n; i++)
    {
        pid_t all[4];
        for (int k = 0; k < 4; k++) if ((all[k] = child()) == 0) _exit(k + 1);
        for (int k = 0; k < 4; k++) EQUAL(WEXITSTATUS(wait_for(all[k])), k + 1);
    }
}

static int shares_files(void *unused)
{
    (void)unused;
    CHECK(fcntl(50, F_GETFD) == 0);
    ZERO(unshare(CLONE_FILES | CLONE_FS));
    ZERO(close(50));
    ZERO(chdir("/tmp"));
    return 0;
}
CASE(process_unshare, "fork noqemu")
{
    static char stack[65536] __attribute__((aligned(16)));
    char before[4096], after[4096];
    CHECK(getcwd(before, sizeof before) != NULL);
    EQUAL(dup2(0, 50), 50);
    pid_t p = clone(shares_files, stack + sizeof stack, CLONE_FILES | CLONE_FS | SIGCHLD, NULL);
    CHECK(p > 0);
    EQUAL(wait_for(p), 0);
    EQUAL(fcntl(50, F_GETFD), 0);
    CHECK(getcwd(after, sizeof after) != NULL && strcmp(before, after) == 0);
    FAILS(unshare(1 << 20), EINVAL);
    FAILS(setns(9999, 0), EBADF);
}

// What the kernel's own test project found us to do otherwise than Linux.
static void no_news(int sig, siginfo_t *info, void *uc) { (void)sig; (void)info; (void)uc; }

CASE(process_wait_sees_the_end_before_its_signal, "fork")
{
    // The handler does not restart calls, and still no wait may end with EINTR while the child is there to be had.
    handle(SIGCHLD, no_news, 0);
    for (long i = 0; i < scaled(300); i++)
    {
        pid_t child = fork();
        if (child == 0) _exit(7);
        int status = 0;
        EQUAL(waitpid(child, &status, 0), child);
        EQUAL(WEXITSTATUS(status), 7);
    }
    errno = 0;
    FAILS(waitpid((pid_t)0x80000000, NULL, 0), ESRCH);
}

static void *send_to_me(void *tid) { *(volatile pid_t *)tid = (pid_t)syscall(SYS_gettid); pause(); return NULL; }
static volatile int caught_usr1;
static void count_usr1(int sig, siginfo_t *info, void *uc) { (void)sig; (void)info; (void)uc; caught_usr1++; }

CASE(process_kill_by_a_threads_id, "noqemu: keeps no ids of threads")
{
    volatile pid_t tid = 0;
    handle(SIGUSR1, count_usr1, SA_RESTART);
    pthread_t t;
    ZERO(pthread_create(&t, NULL, send_to_me, (void *)&tid));
    while (!tid) sleep_ms(1);
    ZERO(kill(tid, SIGUSR1));
    for (int i = 0; i < 2000 && !caught_usr1; i++) sleep_ms(1);
    EQUAL(caught_usr1, 1);
}

static int read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    ssize_t n = read(fd, text, size - 1);
    CHECK(n >= 0);
    text[n] = 0;
    close(fd);
    return (int)n;
}

CASE(process_proc_tells_and_takes, "fork noqemu: shows the host's")
{
    char text[4096], path[64];
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    CHECK(fd >= 0);
    EQUAL(write(fd, "250\n", 4), 4);
    FAILS(write(fd, "1001", 4), EINVAL);
    close(fd);
    read_text("/proc/self/oom_score_adj", text, sizeof text);
    EQUAL(strcmp(text, "250\n"), 0);
    fd = open("/proc/self/comm", O_WRONLY);
    EQUAL(write(fd, "another name that is long", 25), 25);
    close(fd);
    read_text("/proc/self/comm", text, sizeof text);
    EQUAL(strcmp(text, "another name th\n"), 0);

    // A sleeper is seen to sleep, and who works is charged for it.
    pid_t child = fork();
    if (child == 0)
    {
        struct timespec used = { 0, 0 };
        while (used.tv_sec == 0 && used.tv_nsec < 80000000) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
        for (;;) pause();
    }
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    char state = 0;
    unsigned long user = 0, system = 0;
    for (int i = 0; i < 20000 && (state != 'S' || user + system < 6); i++)
    {
        read_text(path, text, sizeof text);
        CHECK(strrchr(text, ')') && sscanf(strrchr(text, ')') + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &state, &user, &system) == 3);
        sleep_ms(1);
    }
    EQUAL(state, 'S');
    CHECK(user + system >= 6);
    kill(child, SIGKILL);
    EQUAL(waitpid(child, NULL, 0), child);

    // fdinfo tells of the guest's own close-on-exec.
    for (int marked = 0; marked < 2; marked++)
    {
        int one = open("/dev/null", O_RDONLY | (marked ? O_CLOEXEC : 0));
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", one);
        read_text(path, text, sizeof text);
        unsigned flags = 0;
        CHECK(strstr(text, "flags:") && sscanf(strstr(text, "flags:"), "flags: %o", &flags) == 1);
        EQUAL((flags & O_CLOEXEC) != 0, marked);
        close(one);
    }
}

CASE(process_arguments_are_checked, "noqemu: other errors first")
{
    // clone3 takes longer arguments where the rest is zero.
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup, more; } args = { .more = 1, .exit_signal = SIGCHLD };
    FAILS(syscall(435, &args, sizeof args), E2BIG);
    args.more = 0;
    args.flags = 0x1000; // CLONE_PIDFD
    args.pidfd = 8;
    FAILS(syscall(435, &args, sizeof args), EFAULT);
    struct { void *start; size_t length; } local = { &args, (size_t)-1 }, remote = { &args, 8 };
    FAILS(syscall(SYS_process_vm_readv, getpid(), &local, 1ul, &remote, 1ul, 0ul), EINVAL);
    struct timespec t;
    FAILS(clock_getres(-1, &t), EINVAL);
    // A program opened with O_PATH can be executed; a link is not, where that is asked for.
    pid_t child = fork();
    if (child == 0)
    {
        char *argv[] = { (char *)"guest-tests", NULL }, *list[] = { (char *)"guest-tests", (char *)"--list", NULL }, *env[] = { NULL };
        FAILS(syscall(281, AT_FDCWD, "/proc/self/exe", list, env, AT_SYMLINK_NOFOLLOW), ELOOP);
        int null = open("/dev/null", O_WRONLY), self = open("/proc/self/exe", O_PATH);
        FAILS(syscall(281, self, "x", argv, env, 0), ENOTDIR);
        dup2(null, 2);
        syscall(281, self, "", argv, env, AT_EMPTY_PATH);
        _exit(errno);
    }
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 2 << 8); // its usage
    // The first version of capget has half the sets.
    struct { uint32_t version; int pid; } header = { 0x19980330, 0 };
    uint32_t sets[4] = { 0, 0, 0, 77 };
    ZERO(syscall(SYS_capget, &header, sets));
    EQUAL(sets[3], 77);
}
