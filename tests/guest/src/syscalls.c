// System calls as programs see them: start-up values, time, files, descriptors, bad pointers, /proc.
#include "guest.h"
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/utsname.h>

extern char **environ;
static char directory[64];
static void enter_directory(void)
{
    strcpy(directory, "/tmp/guest-tests-XXXXXX");
    CHECK(mkdtemp(directory));
    ZERO(chdir(directory));
}
static void leave_directory(void) { ZERO(chdir("/")); ZERO(rmdir(directory)); }

CASE(start_values)
{
    EQUAL(getauxval(AT_PAGESZ), PAGE);
    const unsigned char *r = (const unsigned char *)getauxval(AT_RANDOM);
    CHECK(r);
    int sum = 0;
    for (int i = 0; i < 16; i++) sum |= r[i];
    CHECK(sum != 0);
    const char *name = (const char *)getauxval(AT_EXECFN);
    CHECK(name && strstr(name, "guest-tests"));
    CHECK(getauxval(AT_PHDR) != 0 && getauxval(AT_PHNUM) > 0 && getauxval(AT_ENTRY) != 0 && getauxval(AT_CLKTCK) == 100);
    EQUAL(getauxval(AT_SECURE), 0);
    EQUAL(getauxval(AT_UID), getuid());
    EQUAL(getauxval(AT_EGID), getegid());
#ifdef __riscv
    EQUAL(getauxval(AT_HWCAP) & 0x112d, 0x112d & ~0l);   // i m a f d c: 8 12 0 5 3 2
#endif
    EQUAL(((uintptr_t)__builtin_frame_address(0)) & 15, 0);
    for (char **e = environ; *e; e++) CHECK(strchr(*e, '='));
}

CASE(random_bytes)
{
    unsigned char a[300] = { 0 }, b[300] = { 0 };
    EQUAL(getrandom(a, sizeof a, 0), 300);
    EQUAL(getrandom(b, sizeof b, GRND_NONBLOCK), 300);
    CHECK(memcmp(a, b, 300) != 0);
    FAILS(getrandom(a, 10, 0x8000), EINVAL);
    FAILS(getrandom((void *)16, 10, 0), EFAULT);
    int fd = open("/dev/urandom", O_RDONLY);
    CHECK(fd >= 0);
    EQUAL(read(fd, a, 300), 300);
}

CASE(clocks)
{
    static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME };
    struct timespec before, after, resolution;
    for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++)
    {
        ZERO(clock_gettime(clocks[i], &before));
        for (int k = 0; k < 200; k++)
        {
            ZERO(clock_gettime(clocks[i], &after));
            CHECK(after.tv_nsec >= 0 && after.tv_nsec < 1000000000);
            CHECK(after.tv_sec > before.tv_sec || (after.tv_sec == before.tv_sec && after.tv_nsec >= before.tv_nsec));
            before = after;
        }
        ZERO(clock_getres(clocks[i], &resolution));
        CHECK(resolution.tv_sec == 0 && resolution.tv_nsec > 0);
    }
    FAILS(clock_gettime(77, &after), EINVAL);
    FAILS(syscall(SYS_clock_gettime, CLOCK_REALTIME, (void *)16), EFAULT);
    int64_t start_at = now();
    struct timespec ten = { 0, 10000000 }, bad = { 0, 1000000000 };
    ZERO(nanosleep(&ten, NULL));
    CHECK(now() - start_at >= 10000000);
    FAILS(nanosleep(&bad, NULL), EINVAL);
    bad.tv_nsec = 0, bad.tv_sec = -1;
    FAILS(nanosleep(&bad, NULL), EINVAL);
    start_at = now();
    ZERO(clock_gettime(CLOCK_MONOTONIC, &after));
    after.tv_nsec += 10000000;
    if (after.tv_nsec >= 1000000000) after.tv_sec++, after.tv_nsec -= 1000000000;
    ZERO(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &after, NULL));
    CHECK(now() - start_at >= 9900000);
    struct timeval tv;
    ZERO(gettimeofday(&tv, NULL));
    CHECK(tv.tv_sec > 1600000000 && tv.tv_usec < 1000000);
    // Processor time goes up while we work and hardly while we sleep.
    struct timespec cpu0, cpu1;
    ZERO(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu0));
    int64_t end = now() + 30000000;
    while (now() < end) { }
    ZERO(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu1));
    CHECK((cpu1.tv_sec - cpu0.tv_sec) * 1000000000l + cpu1.tv_nsec - cpu0.tv_nsec > 100000);
    struct rusage usage;
    ZERO(getrusage(RUSAGE_SELF, &usage));
    CHECK(usage.ru_maxrss > 0);
    CHECK(syscall(SYS_times, 0) != -1);
#ifdef __riscv
    uint64_t c0, c1, c2;
    __asm__ volatile("rdtime %0\n rdtime %1\n rdcycle %2" : "=r"(c0), "=r"(c1), "=r"(c2));
    CHECK(c1 >= c0);
#endif
}

CASE(pipes_and_poll)
{
    int p[2];
    char text[10];
    ZERO(pipe2(p, O_CLOEXEC | O_NONBLOCK));
    EQUAL(fcntl(p[0], F_GETFD), FD_CLOEXEC);
    EQUAL(fcntl(p[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    FAILS(read(p[0], text, 1), EAGAIN);
    struct pollfd f[3] = { { p[0], POLLIN, 0 }, { p[1], POLLOUT, 0 }, { -1, POLLIN, 0 } };
    EQUAL(poll(f, 3, 0), 1);
    EQUAL(f[0].revents, 0); EQUAL(f[1].revents, POLLOUT); EQUAL(f[2].revents, 0);
    EQUAL(write(p[1], "hello", 5), 5);
    EQUAL(poll(f, 1, 1000), 1);
    EQUAL(f[0].revents, POLLIN);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(p[0], &set);
    struct timeval second = { 1, 0 };
    EQUAL(select(p[0] + 1, &set, NULL, NULL, &second), 1);
    CHECK(FD_ISSET(p[0], &set));
    EQUAL(read(p[0], text, 10), 5);
    int64_t before = now();
    EQUAL(poll(f, 1, 12), 0);
    CHECK(now() - before >= 11900000);
    close(p[1]);
    EQUAL(poll(f, 1, 1000), 1);
    EQUAL(f[0].revents & POLLHUP, POLLHUP);
    EQUAL(read(p[0], text, 10), 0);
    f[0].fd = 999;
    EQUAL(poll(f, 1, 0), 1);
    EQUAL(f[0].revents, POLLNVAL);
}

static int ends[2];
static void *send_bytes(void *n)
{
    unsigned char chunk[777];
    for (long done = 0; done < (long)n; )
    {
        long k = (long)n - done < 777 ? (long)n - done : 777;
        for (long i = 0; i < k; i++) chunk[i] = (unsigned char)((done + i) * 31);
        long w = write(ends[1], chunk, (size_t)k);
        if (w <= 0) fail(__FILE__, __LINE__, "write", w, errno);
        done += w;
    }
    close(ends[1]);
    return NULL;
}
CASE(pipes_between_threads)
{
    ZERO(pipe(ends));
    long n = scaled(1000000), got = 0;
    pthread_t t = start(send_bytes, (void *)n);
    unsigned char chunk[1000];
    for (long r; (r = read(ends[0], chunk, sizeof chunk)) > 0; ) for (long i = 0; i < r; i++, got++) if (chunk[i] != (unsigned char)(got * 31)) fail(__FILE__, __LINE__, "bytes in order", chunk[i], got);
    EQUAL(got, n);
    join(t);
}

CASE(events)
{
    int e = eventfd(3, EFD_NONBLOCK), s = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK), ep = epoll_create1(EPOLL_CLOEXEC), t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    uint64_t v = 4;
    CHECK(e >= 0 && s >= 0 && ep >= 0 && t >= 0);
    EQUAL(write(e, &v, 8), 8);
    EQUAL(read(e, &v, 8), 8);
    EQUAL(v, 7);
    FAILS(read(e, &v, 8), EAGAIN);
    EQUAL(read(s, &v, 8), 8);
    EQUAL(v, 1);
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0x1122334455667788 }, got[4];
    ZERO(epoll_ctl(ep, EPOLL_CTL_ADD, e, &ev));
    FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, e, &ev), EEXIST);
    FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, t, &ev), ENOENT);
    EQUAL(epoll_wait(ep, got, 4, 0), 0);
    ev.data.u64 = 99;
    ev.events = EPOLLIN | EPOLLET;
    ZERO(epoll_ctl(ep, EPOLL_CTL_ADD, t, &ev));
    struct itimerspec soon = { { 0, 5000000 }, { 0, 5000000 } };
    ZERO(timerfd_settime(t, 0, &soon, NULL));
    EQUAL(epoll_wait(ep, got, 4, 5000), 1);
    EQUAL(got[0].data.u64, 99); EQUAL(got[0].events, EPOLLIN);
    EQUAL(read(t, &v, 8), 8);
    CHECK(v >= 1);
    soon.it_interval.tv_nsec = soon.it_value.tv_nsec = 0;
    ZERO(timerfd_settime(t, 0, &soon, NULL));
    v = 1;
    EQUAL(write(e, &v, 8), 8);
    EQUAL(epoll_wait(ep, got, 4, 1000), 1);
    EQUAL(got[0].data.u64, 0x1122334455667788);
    ZERO(epoll_ctl(ep, EPOLL_CTL_DEL, e, NULL));
    EQUAL(epoll_wait(ep, got, 4, 0), 0);
    FAILS(epoll_wait(ep, got, 0, 0), EINVAL);
    FAILS(epoll_wait(e, got, 1, 0), EINVAL);
}

CASE(vectors)
{
    int fd = temporary();
    char a[3] = "abc", b[5] = "defgh", c[8] = { 0 }, d[8] = { 0 };
    struct iovec out[3] = { { a, 3 }, { NULL, 0 }, { b, 5 } }, in[2] = { { c, 4 }, { d, 8 } };
    EQUAL(writev(fd, out, 3), 8);
    EQUAL(preadv(fd, in, 2, 0), 8);
    CHECK(memcmp(c, "abcd", 4) == 0 && memcmp(d, "efgh", 4) == 0);
    EQUAL(lseek(fd, 2, SEEK_SET), 2);
    EQUAL(readv(fd, in, 1), 4);
    CHECK(memcmp(c, "cdef", 4) == 0);
    FAILS(readv(fd, (void *)16, 1), EFAULT);
    FAILS(readv(fd, in, -1), EINVAL);
    FAILS(readv(fd, in, 5000), EINVAL);
    // A fault after some bytes: what was copied counts.
    char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ZERO(munmap(page + PAGE, PAGE));
    memset(page, 'x', PAGE);
    int p[2];
    ZERO(pipe(p));
    struct iovec partly[2] = { { page, 10 }, { page + PAGE, 10 } };
    long n = writev(p[1], partly, 2);
    CHECK(n == 10 || (n == -1 && errno == EFAULT));       // Linux pipes give 10
    FAILS(write(p[1], page + PAGE, 1), EFAULT);
    EQUAL(write(p[1], "0123456789", 10), 10);
    FAILS(read(p[0], page + PAGE, 1), EFAULT);
    ZERO(ftruncate(fd, 3 * PAGE));
    EQUAL(lseek(fd, 0, SEEK_SET), 0);
    n = read(fd, page + PAGE - 100, 200);
    CHECK(n == 100 || (n == -1 && errno == EFAULT));
}

CASE(bad_pointers, "noqemu: other errors first")
{
    void *bad = (void *)16, *high = (void *)0x7ffffffff000ul, *kernel = (void *)-8192l;
    void *each[] = { bad, high, kernel };
    int fd = temporary(), p[2];
    ZERO(pipe(p));
    EQUAL(write(fd, "something", 9), 9);
    EQUAL(write(p[1], "something", 9), 9);
    for (int i = 0; i < 3; i++)
    {
        void *b = each[i];
        FAILS(pread(fd, b, 4, 0), EFAULT);
        FAILS(read(p[0], b, 4), EFAULT);
        FAILS(write(p[1], b, 4), EFAULT);
        FAILS(pwrite(fd, b, 4, 0), EFAULT);
        FAILS(open(b, O_RDONLY), EFAULT);
        FAILS(syscall(SYS_newfstatat, AT_FDCWD, b, b, 0), EFAULT);
        FAILS(syscall(SYS_newfstatat, AT_FDCWD, "/", b, 0), EFAULT);
        FAILS(syscall(SYS_getcwd, b, 100), EFAULT);
        FAILS(syscall(SYS_uname, b), EFAULT);
        FAILS(syscall(SYS_pipe2, b, 0), EFAULT);
        FAILS(syscall(SYS_gettimeofday, b, 0), EFAULT);
        FAILS(syscall(SYS_nanosleep, b, 0), EFAULT);
        FAILS(syscall(SYS_getrusage, 0, b), EFAULT);
        FAILS(syscall(SYS_prlimit64, 0, RLIMIT_STACK, 0, b), EFAULT);
        FAILS(syscall(SYS_prlimit64, 0, RLIMIT_STACK, b, 0), EFAULT);
        FAILS(syscall(SYS_rt_sigaction, SIGUSR1, b, 0, 8), EFAULT);
        FAILS(syscall(SYS_rt_sigaction, SIGUSR1, 0, b, 8), EFAULT);
        FAILS(syscall(SYS_rt_sigprocmask, SIG_BLOCK, b, 0, 8), EFAULT);
        FAILS(syscall(SYS_rt_sigpending, b, 8), EFAULT);
        FAILS(syscall(SYS_sigaltstack, b, 0), EFAULT);
        FAILS(syscall(SYS_ppoll, b, 1, 0, 0, 8), EFAULT);
        FAILS(syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", b, 10), EFAULT);
        FAILS(syscall(SYS_getdents64, open("/", O_RDONLY | O_DIRECTORY), b, 1000), EFAULT);
        FAILS(syscall(SYS_unlinkat, AT_FDCWD, b, 0), EFAULT);
        FAILS(syscall(SYS_mkdirat, AT_FDCWD, b, 0777), EFAULT);
        FAILS(syscall(SYS_renameat2, AT_FDCWD, b, AT_FDCWD, b, 0), EFAULT);
        FAILS(syscall(SYS_statfs, "/", b), EFAULT);
        FAILS(syscall(SYS_sysinfo, b), EFAULT);
        FAILS(syscall(SYS_getitimer, ITIMER_REAL, b), EFAULT);
        FAILS(syscall(SYS_timer_create, CLOCK_MONOTONIC, 0, b), EFAULT);
        FAILS(syscall(SYS_sched_getaffinity, 0, 128, b), EFAULT);
        FAILS(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, b), EFAULT);
    }
    // A path that runs off its page.
    char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ZERO(munmap(page + PAGE, PAGE));
    memset(page + PAGE - 10, 'a', 10);
    FAILS(open(page + PAGE - 10, O_RDONLY), EFAULT);
    strcpy(page + PAGE - 5, "/tmp");
    CHECK(open(page + PAGE - 5, O_RDONLY) >= 0);
    FAILS(syscall(9999), ENOSYS);
}

CASE(files)
{
    enter_directory();
    char cwd[200], text[32];
    CHECK(getcwd(cwd, sizeof cwd) && strcmp(cwd, directory) == 0);
    FAILS(syscall(SYS_getcwd, cwd, 3), ERANGE);
    int fd = open("a", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    CHECK(fd >= 0);
    EQUAL(fcntl(fd, F_GETFD), FD_CLOEXEC);
    FAILS(open("a", O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
    FAILS(open("none", O_RDONLY), ENOENT);
    FAILS(open("a/b", O_RDONLY), ENOTDIR);
    FAILS(open(".", O_RDWR), EISDIR);
    FAILS(open("a", O_RDONLY | O_DIRECTORY), ENOTDIR);
    EQUAL(write(fd, "0123456789", 10), 10);
    EQUAL(lseek(fd, -3, SEEK_END), 7);
    EQUAL(read(fd, text, 32), 3);
    EQUAL(lseek(fd, 100, SEEK_SET), 100);
    EQUAL(read(fd, text, 32), 0);
    FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    int copy = dup(fd);
    EQUAL(lseek(copy, 4, SEEK_SET), 4);                   // shares the offset
    EQUAL(read(fd, text, 1), 1);
    EQUAL(text[0], '4');
    EQUAL(fcntl(copy, F_GETFD), 0);
    EQUAL(dup2(fd, 50), 50);
    EQUAL(fcntl(fd, F_DUPFD_CLOEXEC, 60), 60);
    FAILS(dup3(fd, fd, 0), EINVAL);
    struct stat st;
    ZERO(fstat(fd, &st));
    EQUAL(st.st_size, 10); EQUAL(st.st_mode & 0777, 0640); CHECK(S_ISREG(st.st_mode)); EQUAL(st.st_nlink, 1); EQUAL(st.st_uid, geteuid());
    ZERO(link("a", "b"));
    ZERO(symlink("b", "c"));
    ZERO(stat("c", &st));
    EQUAL(st.st_nlink, 2);
    ZERO(lstat("c", &st));
    CHECK(S_ISLNK(st.st_mode));
    EQUAL(readlink("c", text, 32), 1);
    EQUAL(text[0], 'b');
    FAILS(readlink("a", text, 32), EINVAL);
    ZERO(rename("b", "d"));
    FAILS(stat("c", &st), ENOENT);
    FAILS(open("c", O_RDONLY | O_NOFOLLOW), ELOOP);
    ZERO(unlink("c"));
    ZERO(mkdir("dir", 0755));
    FAILS(mkdir("dir", 0755), EEXIST);
    FAILS(rmdir("."), EINVAL);
    ZERO(rename("d", "dir/d"));
    FAILS(rmdir("dir"), ENOTEMPTY);
    int dir = open("dir", O_RDONLY | O_DIRECTORY);
    CHECK(openat(dir, "d", O_RDONLY) >= 0);
    ZERO(unlinkat(dir, "d", 0));
    FAILS(unlink("dir"), EISDIR);
    ZERO(unlinkat(AT_FDCWD, "dir", AT_REMOVEDIR));
    ZERO(chmod("a", 0600));
    ZERO(access("a", R_OK | W_OK));
    ZERO(ftruncate(fd, 3));
    ZERO(fstat(fd, &st));
    EQUAL(st.st_size, 3);
    struct timespec when[2] = { { 1000000000, 5 }, { 1000000001, 7 } };
    ZERO(futimens(fd, when));
    ZERO(stat("a", &st));
    EQUAL(st.st_mtim.tv_sec, 1000000001); EQUAL(st.st_atim.tv_sec, 1000000000);
    mode_t old = umask(077);
    int private = open("private", O_RDWR | O_CREAT, 0666);
    ZERO(fstat(private, &st));
    EQUAL(st.st_mode & 0777, 0600);
    EQUAL(umask(old), 077);
    ZERO(unlink("private"));
    int append = open("a", O_WRONLY | O_APPEND);
    EQUAL(write(append, "zz", 2), 2);
    EQUAL(pread(fd, text, 32, 0), 5);
    close(fd);
    FAILS(read(fd, text, 1), EBADF);
    FAILS(close(fd), EBADF);
    FAILS(write(append, text, 0) + read(append, text, 1), EBADF);
    ZERO(unlink("a"));
    ZERO(ftruncate(append, 0));
    struct statfs fs;
    ZERO(statfs("/", &fs));
    leave_directory();
}

CASE(directory_of_1000)
{
    enter_directory();
    char name[40];
    static char seen_names[1000];
    for (int i = 0; i < 1000; i++)
    {
        snprintf(name, sizeof name, "file-with-a-long-name-%d", i);
        int fd = open(name, O_WRONLY | O_CREAT, 0600);
        CHECK(fd >= 0);
        close(fd);
    }
    DIR *d = opendir(".");
    int dots = 0;
    for (struct dirent *e; (e = readdir(d)); )
    {
        int i;
        if (e->d_name[0] == '.') { dots++; CHECK(e->d_type == DT_DIR); continue; }
        CHECK(sscanf(e->d_name, "file-with-a-long-name-%d", &i) == 1 && i >= 0 && i < 1000);
        CHECK(e->d_type == DT_REG && e->d_ino != 0);
        EQUAL(seen_names[i]++, 0);
    }
    EQUAL(dots, 2);
    for (int i = 0; i < 1000; i++) EQUAL(seen_names[i], 1);
    rewinddir(d);
    for (int i = 0; i < 10; i++) CHECK(readdir(d));
    long here = telldir(d);
    struct dirent *e = readdir(d);
    strcpy(name, e->d_name);
    seekdir(d, here);
    CHECK(strcmp(readdir(d)->d_name, name) == 0);
    closedir(d);
    int fd = open(".", O_RDONLY);
    char small[8];
    FAILS(syscall(SYS_getdents64, fd, small, 8), EINVAL);
    close(fd);
    for (int i = 0; i < 1000; i++) { snprintf(name, sizeof name, "file-with-a-long-name-%d", i); ZERO(unlink(name)); }
    leave_directory();
}

CASE(system_information)
{
    struct utsname u;
    ZERO(uname(&u));
    CHECK(strcmp(u.sysname, "Linux") == 0);
#ifdef __riscv
    CHECK(strcmp(u.machine, "riscv64") == 0);
#endif
    CHECK(u.release[0] >= '4' && u.nodename[0]);
    struct rlimit r, is;
    ZERO(getrlimit(RLIMIT_STACK, &r));
    CHECK(r.rlim_cur >= 1 << 20);
    ZERO(getrlimit(RLIMIT_NOFILE, &r));
    struct rlimit lower = { 20, r.rlim_max };
    ZERO(setrlimit(RLIMIT_NOFILE, &lower));
    ZERO(getrlimit(RLIMIT_NOFILE, &is));
    EQUAL(is.rlim_cur, 20);
    int last = -1, fd;
    while ((fd = dup(0)) >= 0) last = fd;
    EQUAL(errno, EMFILE);
    EQUAL(last, 19);
    FAILS(open("/", O_RDONLY), EMFILE);
    for (int i = 3; i < 20; i++) close(i);
    lower.rlim_cur = 30, lower.rlim_max = 10;
    FAILS(setrlimit(RLIMIT_NOFILE, &lower), EINVAL);
    FAILS(getrlimit(99, &r), EINVAL);
    struct sysinfo info;
    ZERO(sysinfo(&info));
    CHECK(info.totalram > 0 && info.mem_unit > 0);
    CHECK(getpid() > 0 && getppid() >= 0);
    EQUAL(getpgid(0), getpgrp());
    CHECK(sched_getcpu() >= 0);
}

static int contains(const char *path, const char *text)
{
    static char all[200000];
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    long n = 0, r;
    while ((r = read(fd, all + n, sizeof all - 1 - (size_t)n)) > 0) n += r;
    CHECK(r == 0);
    all[n] = 0;
    close(fd);
    return strstr(all, text) != NULL;
}
CASE(proc_self, "noqemu: shows its own status")
{
    char path[300], line[400];
    long n = readlink("/proc/self/exe", path, sizeof path - 1);
    CHECK(n > 0);
    path[n] = 0;
    CHECK(strstr(path, "guest-tests"));
    // maps: our own addresses are in the right kind of line.
    char *page = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ZERO(mprotect(page + PAGE, PAGE, PROT_READ | PROT_WRITE));
    FILE *f = fopen("/proc/self/maps", "r");
    CHECK(f);
    int stack = 0, code = 0, mine = 0;
    unsigned long last = 0;
    while (fgets(line, sizeof line, f))
    {
        unsigned long a, b;
        char permissions[5];
        EQUAL(sscanf(line, "%lx-%lx %4s", &a, &b, permissions), 3);
        CHECK(a >= last && b > a);
        last = b;
        if (a <= (unsigned long)&line && (unsigned long)&line < b) { stack++; CHECK(strncmp(permissions, "rw", 2) == 0 && strstr(line, "[stack]")); }
        if (a <= (unsigned long)&contains && (unsigned long)&contains < b) { code++; CHECK(permissions[2] == 'x' && strstr(line, "guest-tests")); }
        if (a == (unsigned long)page + PAGE) { mine++; EQUAL(b, page + 2 * PAGE); CHECK(strcmp(permissions, "rw-p") == 0); }
    }
    EQUAL(stack, 1); EQUAL(code, 1); EQUAL(mine, 1);
    fclose(f);
    CHECK(contains("/proc/self/status", "Name:\tguest-tests"));
    CHECK(contains("/proc/self/status", "VmRSS:"));
    snprintf(line, sizeof line, "\nPid:\t%d\n", getpid());
    CHECK(contains("/proc/self/status", line));
    CHECK(contains("/proc/self/stat", "(guest-tests)"));
    CHECK(contains("/proc/self/cmdline", "guest-tests"));
    CHECK(contains("/proc/self/comm", "guest-tests"));
    int fd = open("/dev/null", O_RDWR);
    snprintf(line, sizeof line, "/proc/self/fd/%d", fd);
    n = readlink(line, path, sizeof path - 1);
    CHECK(n == 9 && memcmp(path, "/dev/null", 9) == 0);
    CHECK(contains("/proc/cpuinfo", "processor"));
    CHECK(contains("/proc/meminfo", "MemTotal"));
    CHECK(access("/proc/self/task", F_OK) == 0);
}

static int accept_on;
static void *serve(void *unused)
{
    (void)unused;
    char text[16];
    int c = accept4(accept_on, NULL, NULL, SOCK_CLOEXEC);
    if (c < 0) fail(__FILE__, __LINE__, "accept4", c, errno);
    long n = recv(c, text, sizeof text, 0);
    EQUAL(send(c, text, (size_t)n, MSG_NOSIGNAL), n);
    close(c);
    return NULL;
}
// Who is at the other end of a UNIX socket: who connected, who listens, who made the pair.
CASE(socket_peers, "fork noqemu")
{
    struct ucred c;
    socklen_t n = sizeof c;
    int pair[2];
    ZERO(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    pid_t me = getpid(), child = fork();
    if (child == 0)
    {
        ZERO(getsockopt(pair[1], SOL_SOCKET, SO_PEERCRED, &c, &n));
        _exit(c.pid != me || c.uid != geteuid() || c.gid != getegid() || n != sizeof c);
    }
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    unsigned long unlike; // abstract names are the host's, and other runs have the same pids
    EQUAL(getrandom(&unlike, sizeof unlike, 0), sizeof unlike);
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "viv-peers-%lx", unlike);
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    ZERO(bind(server, (struct sockaddr *)&a, sizeof a));
    ZERO(listen(server, 5));
    child = fork();
    if (child == 0)
    {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(client, (struct sockaddr *)&a, sizeof a)) _exit(1);
        if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &c, &n) || c.pid != me) _exit(2); // not accepted yet
        char byte = 1;
        if (write(client, &byte, 1) != 1 || read(client, &byte, 1) != 1) _exit(3);
        if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &c, &n) || c.pid != me) _exit(4);
        _exit(0);
    }
    int s = accept(server, NULL, NULL);
    CHECK(s >= 0);
    char byte;
    EQUAL(read(s, &byte, 1), 1);
    ZERO(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &c, &n));
    EQUAL(c.pid, child); EQUAL(c.uid, geteuid()); EQUAL(c.gid, getegid());
    EQUAL(write(s, &byte, 1), 1);
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    // Still, where the other end is closed.
    ZERO(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &c, &n));
    EQUAL(c.pid, child);
    close(s);
    // And where whoever connected is gone before it was accepted, or asked for the first time.
    for (int i = 0; i < 20; i++)
    {
        child = fork();
        if (child == 0) _exit(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a) != 0);
        if (i % 2)
        {
            EQUAL(waitpid(child, &status, 0), child);
            EQUAL(status, 0);
        }
        s = accept(server, NULL, NULL);
        CHECK(s >= 0);
        if (i % 4 == 2) EQUAL(waitpid(child, &status, 0), child);
        ZERO(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &c, &n));
        EQUAL(c.pid, child);
        if (i % 4 == 0) EQUAL(waitpid(child, &status, 0), child);
        close(s);
    }
    close(server), close(pair[0]), close(pair[1]);
}
// Who sent a datagram, whoever it is: the pid, and the first byte of the message.
static pid_t sender_of(int s, char *byte, int want_descriptor, int *got)
{
    char control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec v = { byte, 1 };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = want_descriptor ? sizeof control : CMSG_SPACE(sizeof(struct ucred)) };
    EQUAL(recvmsg(s, &m, 0), 1);
    CHECK((m.msg_flags & MSG_CTRUNC) == 0);
    pid_t pid = -1;
    int descriptors = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
    {
        if (h->cmsg_type == SCM_CREDENTIALS)
        {
            struct ucred c;
            memcpy(&c, CMSG_DATA(h), sizeof c);
            pid = c.pid;
            EQUAL(c.uid, geteuid());
        }
        else
        {
            EQUAL(h->cmsg_type, SCM_RIGHTS);
            EQUAL(h->cmsg_len, CMSG_LEN(sizeof(int)));
            descriptors++;
            memcpy(got, CMSG_DATA(h), sizeof(int));
        }
    }
    EQUAL(descriptors, want_descriptor);
    return pid;
}
CASE(socket_senders_of_datagrams, "fork noqemu")
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    unsigned long unlike;
    EQUAL(getrandom(&unlike, sizeof unlike, 0), sizeof unlike);
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "viv-senders-%lx", unlike);
    int server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1, got = -1;
    ZERO(bind(server, (struct sockaddr *)&a, sizeof a));
    ZERO(setsockopt(server, SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
    char byte;
    for (int way = 0; way < 4; way++)
    {
        pid_t child = fork();
        if (child == 0)
        {
            int s = socket(AF_UNIX, SOCK_DGRAM, 0);
            char what = (char)way, control[CMSG_SPACE(sizeof(int))] = { 0 };
            struct iovec v = { &what, 1 };
            struct msghdr m = { .msg_name = &a, .msg_namelen = sizeof a, .msg_iov = &v, .msg_iovlen = 1 };
            if (way == 0) _exit(sendto(s, &what, 1, 0, (struct sockaddr *)&a, sizeof a) != 1);
            if (way == 1) _exit(connect(s, (struct sockaddr *)&a, sizeof a) || send(s, &what, 1, MSG_NOSIGNAL) != 1);
            if (way == 3)
            {
                m.msg_control = control, m.msg_controllen = sizeof control;
                struct cmsghdr *h = CMSG_FIRSTHDR(&m);
                h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(h), &s, sizeof(int));
            }
            _exit(sendmsg(s, &m, 0) != 1);
        }
        int status;
        EQUAL(waitpid(child, &status, 0), child);
        EQUAL(status, 0);
        EQUAL(sender_of(server, &byte, way == 3, &got), child);
        EQUAL(byte, way);
    }
    close(got);
    // Who does not ask sees nothing of it.
    int pair[2];
    ZERO(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    char control[64];
    struct iovec v = { &byte, 1 };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    EQUAL(send(pair[0], "a", 1, 0), 1);
    EQUAL(recvmsg(pair[1], &m, 0), 1);
    EQUAL(m.msg_controllen, 0);
    EQUAL(m.msg_flags, 0);
    EQUAL(send(pair[0], "b", 1, 0), 1);
    m.msg_control = NULL, m.msg_controllen = 0;
    EQUAL(recvmsg(pair[1], &m, 0), 1);
    EQUAL(m.msg_flags, 0);
    EQUAL(send(pair[0], "c", 1, 0), 1);
    EQUAL(read(pair[1], &byte, 1), 1);
    EQUAL(byte, 'c');
    close(pair[0]), close(pair[1]), close(server);
}
CASE(sockets)
{
    int pair[2];
    char text[16];
    ZERO(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    EQUAL(write(pair[0], "ping", 4), 4);
    EQUAL(recv(pair[1], text, 16, MSG_PEEK), 4);
    EQUAL(read(pair[1], text, 16), 4);
    // A descriptor through the socket.
    int p[2];
    ZERO(pipe(p));
    char control[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec v = { "x", 1 };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET, h->cmsg_type = SCM_RIGHTS, h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &p[0], sizeof(int));
    EQUAL(sendmsg(pair[0], &m, 0), 1);
    char byte;
    v.iov_base = &byte;
    memset(control, 0, sizeof control);
    m.msg_controllen = sizeof control;
    EQUAL(recvmsg(pair[1], &m, MSG_CMSG_CLOEXEC), 1);
    h = CMSG_FIRSTHDR(&m);
    CHECK(h && h->cmsg_type == SCM_RIGHTS);
    int got;
    memcpy(&got, CMSG_DATA(h), sizeof got);
    CHECK(got != p[0]);
    EQUAL(write(p[1], "y", 1), 1);
    EQUAL(read(got, &byte, 1), 1);
    EQUAL(byte, 'y');
    EQUAL(fcntl(got, F_GETFD), FD_CLOEXEC);
    ZERO(shutdown(pair[0], SHUT_WR));
    EQUAL(read(pair[1], text, 1), 0);
    // An abstract name, a server thread.
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int length = (int)sizeof(sa_family_t) + 1 + snprintf(address.sun_path + 1, 90, "guest-tests-%d-%ld", getpid(), (long)now());
    accept_on = socket(AF_UNIX, SOCK_STREAM, 0);
    ZERO(bind(accept_on, (struct sockaddr *)&address, (socklen_t)length));
    ZERO(listen(accept_on, 5));
    pthread_t t = start(serve, NULL);
    int c = socket(AF_UNIX, SOCK_STREAM, 0);
    ZERO(connect(c, (struct sockaddr *)&address, (socklen_t)length));
    EQUAL(send(c, "echo", 4, 0), 4);
    EQUAL(recv(c, text, 16, MSG_WAITALL), 4);
    CHECK(memcmp(text, "echo", 4) == 0);
    join(t);
    int type;
    socklen_t size = sizeof type;
    ZERO(getsockopt(c, SOL_SOCKET, SO_TYPE, &type, &size));
    EQUAL(type, SOCK_STREAM);
    FAILS(socket(999, SOCK_STREAM, 0), EAFNOSUPPORT);
    FAILS(connect(0x7fff, (struct sockaddr *)&address, 5), EBADF);
}

CASE(advisory_locks)
{
    int fd = temporary();
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };
    ZERO(fcntl(fd, F_SETLK, &l));
    l.l_type = F_RDLCK;
    ZERO(fcntl(fd, F_GETLK, &l));
    EQUAL(l.l_type, F_UNLCK);                             // one's own lock is no obstacle
    l.l_type = F_UNLCK;
    ZERO(fcntl(fd, F_SETLK, &l));
}

// A directory whose path is longer than any path may be is still left by "..": what rm -r and pwd do there.
CASE(paths_longer_than_any_path, "fork")
{
    char top[] = "/tmp/deep-XXXXXX", name[201]; // guests in other realms have the same process numbers
    memset(name, 'n', 200);
    name[200] = 0;
    CHECK(mkdtemp(top) != NULL);
    ZERO(chdir(top));
    for (int i = 0; i < 30; i++) {
        ZERO(mkdir(name, 0755));
        ZERO(chdir(name));
    }
    struct stat here, there;
    ZERO(stat(".", &here));
    ZERO(mkdir("below", 0755));
    ZERO(chdir("below"));
    ZERO(stat("..", &there));
    CHECK(here.st_ino == there.st_ino && here.st_dev == there.st_dev);
    int fd = open("..", O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0);
    int made = openat(fd, "below/../file", O_CREAT | O_WRONLY, 0644); // further climbing behind names may fail, but only so
    CHECK(made >= 0 || errno == ENOENT);
    if (made >= 0) { close(made); ZERO(unlinkat(fd, "file", 0)); }
    made = open("../file", O_CREAT | O_WRONLY | O_EXCL, 0644);
    CHECK(made >= 0);
    close(made);
    ZERO(fstatat(fd, "file", &there, 0));
    ZERO(unlink("../file"));
    FAILS(stat("../file", &there), ENOENT);
    FAILS(mkdir("..", 0755), EEXIST);
    ZERO(chdir(".."));
    ZERO(rmdir("below"));
    close(fd);
    for (int i = 0; i < 30; i++) {
        ZERO(chdir("../."));
        ZERO(rmdir(name));
    }
    ZERO(stat(".", &here));
    ZERO(stat(top, &there));
    EQUAL(here.st_ino, there.st_ino);
    ZERO(rmdir(top));
}
