// guest-tests NAME runs one case and exits 0, or says what was wrong and exits 1; --list prints the names with their notes.
// --each SECONDS NAME... runs each in a child with a time limit and prints "= NAME STATUS", the status as a shell has it.
#include "guest.h"
#include <sys/wait.h>

extern const struct guest_case *const __start_cases[], *const __stop_cases[];

void fail(const char *file, int line, const char *what, long a, long b)
{
    char text[600];
    int n = snprintf(text, sizeof text, "%s:%d: not so: %s (%ld = %#lx, %ld = %#lx)\n", file, line, what, a, a, b, b);
    if (write(2, text, (size_t)n) < 0) _exit(3);
    _exit(1);
}

void skip(const char *why)
{
    dprintf(2, "skipped: %s\n", why);
    _exit(77);
}

long scaled(long n)
{
    const char *s = getenv("GUEST_TESTS_SCALE");
    long part = s ? (long)((double)n * atof(s) / 100) : n;
    return part < 1 ? 1 : part;
}

int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

void sleep_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    while (nanosleep(&t, &t) != 0 && errno == EINTR) { }
}

uint64_t random64(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

pthread_t start(void *(*f)(void *), void *argument)
{
    pthread_t t;
    int e = pthread_create(&t, NULL, f, argument);
    if (e) fail(__FILE__, __LINE__, "pthread_create", 0, e);
    return t;
}

void *join(pthread_t t)
{
    void *r = NULL;
    int e = pthread_join(t, &r);
    if (e) fail(__FILE__, __LINE__, "pthread_join", 0, e);
    return r;
}

void handle(int sig, void (*f)(int, siginfo_t *, void *), int flags)
{
    struct sigaction a = { .sa_flags = SA_SIGINFO | flags };
    a.sa_sigaction = f;
    ZERO(sigaction(sig, &a, NULL));
}

int temporary(void)
{
    char name[] = "/tmp/guest-tests-XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0);
    ZERO(unlink(name));
    return fd;
}

_Thread_local sigjmp_buf fault_jump;
_Thread_local volatile struct fault fault_seen;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    fault_seen.signal = sig;
    fault_seen.code = info->si_code;
    fault_seen.address = (uintptr_t)info->si_addr;
#ifdef __riscv
    fault_seen.pc = PC(context);
    fault_seen.a0 = (long)GREG(context, 10);
#endif
    siglongjmp(fault_jump, 1);
}

static const int fault_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE };

void catch_faults(void)
{
    for (unsigned i = 0; i < sizeof fault_signals / sizeof *fault_signals; i++) handle(fault_signals[i], on_fault, 0);
}

void ignore_faults(void)
{
    for (unsigned i = 0; i < sizeof fault_signals / sizeof *fault_signals; i++) signal(fault_signals[i], SIG_DFL);
}

static void run_each(int seconds, char **names)
{
    for (; *names; names++)
    {
        pid_t child = fork();
        if (child == 0)
        {
            for (const struct guest_case *const *c = __start_cases; c < __stop_cases; c++)
                if (strcmp((*c)->name, *names) == 0) { (*c)->run(); exit(0); }
            _exit(2);
        }
        CHECK(child > 0);
        int status;
        int64_t end = now() + seconds * 1000000000ll;
        pid_t got;
        while ((got = waitpid(child, &status, WNOHANG)) == 0 && now() < end) usleep(500);
        if (got == 0) { kill(child, SIGKILL); waitpid(child, &status, 0); status = 124 << 8; }
        printf("= %s %d\n", *names, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "--list") == 0)
    {
        for (const struct guest_case *const *c = __start_cases; c < __stop_cases; c++) printf("%s %s\n", (*c)->name, (*c)->notes);
        return 0;
    }
    if (argc >= 4 && strcmp(argv[1], "--each") == 0)
    {
        run_each(atoi(argv[2]), argv + 3);
        return 0;
    }
    for (const struct guest_case *const *c = __start_cases; argc >= 2 && c < __stop_cases; c++)
        if (strcmp((*c)->name, argv[1]) == 0)
        {
            (*c)->run();
            return 0;
        }
    fprintf(stderr, "usage: guest-tests --list | NAME\n");
    return 2;
}
