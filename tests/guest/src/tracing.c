// ptrace: stops, registers, memory, events; process_vm_readv and process_vm_writev.
#include "guest.h"
#include <elf.h>
#include <semaphore.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define TRAP (SIGTRAP | 0x80)

static int wait_for(pid_t pid)
{
    int status;
    pid_t got = waitpid(pid, &status, __WALL);
    if (got != pid) fail(__FILE__, __LINE__, "waitpid for a tracee", got, errno);
    return status;
}
static void expect_stop(pid_t pid, int stop)
{
    int status = wait_for(pid);
    if (!WIFSTOPPED(status) || status >> 8 != stop) fail(__FILE__, __LINE__, "the tracee stops as expected", status, stop);
}
static void expect_exit(pid_t pid, int code)
{
    int status = wait_for(pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code) fail(__FILE__, __LINE__, "the tracee exits as expected", status, code);
}

// A child that stops itself once it is traced, then runs f.
static pid_t traced_child(int (*f)(void))
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid) { expect_stop(pid, SIGSTOP); return pid; }
    ZERO(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    raise(SIGSTOP);
    _exit(f());
}

static volatile int handled;
static void on_signal(int s, siginfo_t *i, void *u) { (void)u; handled += s + i->si_code * 0; }
static int raise_both(void)
{
    handle(SIGUSR1, on_signal, 0);
    handle(SIGUSR2, on_signal, 0);
    raise(SIGUSR1);
    raise(SIGUSR1);
    return handled;
}

CASE(trace_signals, "fork noqemu")
{
    pid_t pid = traced_child(raise_both);
    FAILS(ptrace(PTRACE_ATTACH, pid, NULL, NULL), EPERM);
    FAILS(ptrace(PTRACE_CONT, getppid(), NULL, NULL), ESRCH);
    siginfo_t info;
    ZERO(ptrace(PTRACE_GETSIGINFO, pid, NULL, &info));
    EQUAL(info.si_signo, SIGSTOP);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
    expect_stop(pid, SIGUSR1);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, 0)); // dropped
    expect_stop(pid, SIGUSR1);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, (void *)(long)SIGUSR2)); // another one
    expect_exit(pid, SIGUSR2);
    // Waiting by waitid.
    pid = traced_child(raise_both);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
    ZERO(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WEXITED));
    EQUAL(info.si_code, CLD_TRAPPED);
    EQUAL(info.si_status, SIGUSR1);
    ZERO(kill(pid, SIGKILL));
    int status = wait_for(pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    FAILS(ptrace(PTRACE_CONT, pid, NULL, 0), ESRCH);
}

struct syscall_info { uint8_t op, pad[3]; uint32_t arch; uint64_t pc, sp; union { struct { uint64_t nr, args[6]; } entry; struct { int64_t value; uint8_t error; } exit; }; };

static int three_calls(void)
{
    long a = syscall(SYS_getppid), b = syscall(SYS_kill, 0x123456, 0);
    return a == 4711 && b == -1 && errno == ESRCH && syscall(SYS_getpid) == 99 ? 0 : 1;
}

static void result(pid_t pid, long value)
{
#ifdef __riscv
    uint64_t r[32];
    struct iovec v = { r, sizeof r };
    ZERO(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v));
    EQUAL(v.iov_len, sizeof r);
    r[10] = (uint64_t)value;
#else
    struct user_regs_struct r;
    struct iovec v = { &r, sizeof r };
    ZERO(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v));
    r.rax = (unsigned long)value;
#endif
    ZERO(ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v));
}

CASE(trace_syscalls, "fork noqemu")
{
    pid_t pid = traced_child(three_calls);
    ZERO(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD));
    FAILS(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)~0l), EINVAL);
    int seen = 0;
    for (;;)
    {
        ZERO(ptrace(PTRACE_SYSCALL, pid, NULL, 0));
        int status = wait_for(pid);
        if (WIFEXITED(status)) { EQUAL(WEXITSTATUS(status), 0); break; }
        EQUAL(status >> 8, TRAP);
        struct syscall_info entry = { 0 }, leave = { 0 };
        EQUAL(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof entry, &entry), 80);
        EQUAL(entry.op, 1);
        if (entry.entry.nr == SYS_kill) { EQUAL(entry.entry.args[0], 0x123456); EQUAL(entry.entry.args[1], 0); }
        if (entry.entry.nr == SYS_exit_group) { ZERO(ptrace(PTRACE_CONT, pid, NULL, 0)); expect_exit(pid, 0); break; }
        ZERO(ptrace(PTRACE_SYSCALL, pid, NULL, 0));
        expect_stop(pid, TRAP);
        EQUAL(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof leave, &leave), 33);
        EQUAL(leave.op, 2);
        if (entry.entry.nr == SYS_getppid) { EQUAL(leave.exit.value, getpid()); EQUAL(leave.exit.error, 0); result(pid, 4711); seen |= 1; }
        if (entry.entry.nr == SYS_kill) { EQUAL(leave.exit.value, -ESRCH); EQUAL(leave.exit.error, 1); seen |= 2; }
        if (entry.entry.nr == SYS_getpid) { result(pid, 99); seen |= 4; }
    }
    EQUAL(seen, 7);
}

static volatile long shared_word = 5;
static char shared_text[20000];
static int look_at_word(void) { raise(SIGUSR1); return (int)(shared_word + shared_text[9000]); }

CASE(trace_memory, "fork noqemu")
{
    pid_t pid = traced_child(look_at_word);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
    expect_stop(pid, SIGUSR1);
    errno = 0;
    EQUAL(ptrace(PTRACE_PEEKDATA, pid, &shared_word, NULL), 5);
    EQUAL(errno, 0);
    ZERO(ptrace(PTRACE_POKEDATA, pid, &shared_word, (void *)30l));
    EQUAL(shared_word, 5);
    FAILS(ptrace(PTRACE_PEEKDATA, pid, (void *)8, NULL), EIO);
    FAILS(ptrace(PTRACE_POKEDATA, pid, (void *)8, NULL), EIO);
    // Constants and code can be written too.
    static const char constant[] = "cannot be written";
    long word;
    memcpy(&word, constant, 8);
    EQUAL(ptrace(PTRACE_PEEKTEXT, pid, constant, NULL), word);
    ZERO(ptrace(PTRACE_POKETEXT, pid, constant, (void *)1l));
    EQUAL(ptrace(PTRACE_PEEKTEXT, pid, constant, NULL), 1);
    static char buffer[10000];
    memset(buffer, 3, sizeof buffer);
    struct iovec local[2] = { { buffer, 4000 }, { buffer + 4000, 6000 } }, remote = { shared_text, sizeof buffer };
    EQUAL(process_vm_writev(pid, local, 2, &remote, 1, 0), (long)sizeof buffer);
    memset(buffer, 0, sizeof buffer);
    EQUAL(process_vm_readv(pid, local, 2, &remote, 1, 0), (long)sizeof buffer);
    for (unsigned i = 0; i < sizeof buffer; i++) EQUAL(buffer[i], 3);
    struct iovec bad = { (void *)8, 16 }, read_only = { (void *)constant, 8 };
    FAILS(process_vm_readv(pid, local, 1, &bad, 1, 0), EFAULT);
    FAILS(process_vm_writev(pid, local, 1, &read_only, 1, 0), EFAULT);
    FAILS(process_vm_readv(pid, local, 1, &remote, 1, 1), EINVAL);
    FAILS(process_vm_readv(0x123456, local, 1, &remote, 1, 0), ESRCH);
    // The same by the file of its memory.
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/mem", pid);
    int memory = open(name, O_RDWR);
    CHECK(memory >= 0);
    EQUAL(pread(memory, &word, 8, (off_t)(uintptr_t)&shared_word), 8);
    EQUAL(word, 30);
    EQUAL(lseek(memory, (off_t)(uintptr_t)shared_text, SEEK_SET), (off_t)(uintptr_t)shared_text);
    EQUAL(read(memory, buffer, sizeof buffer), (long)sizeof buffer);
    EQUAL(write(memory, "xyz", 3), 3);
    EQUAL(lseek(memory, 0, SEEK_CUR), (off_t)(uintptr_t)shared_text + (long)sizeof buffer + 3);
    EQUAL(pwrite(memory, "\4", 1, (off_t)(uintptr_t)shared_text + 9000), 1);
    EQUAL(pwrite(memory, "abc", 3, (off_t)(uintptr_t)constant + 8), 3);
    EQUAL(ptrace(PTRACE_PEEKTEXT, pid, constant + 8, NULL) & 0xffffff, 0x636261);
    FAILS(pread(memory, &word, 8, 8), EIO);
    close(memory);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
    expect_exit(pid, 34);
}

__attribute__((noinline)) int broken_function(int n) { __asm__ volatile("" : "+r"(n)); return n * 2; }
static int call_broken(void) { int n = 0; for (int i = 0; i < 3; i++) n += broken_function(i); return n; }

#ifdef __riscv
// As debuggers do: ebreak over the function's first instruction, three times hit, registers read and written.
CASE(trace_breakpoint, "fork noqemu")
{
    pid_t pid = traced_child(call_broken);
    uintptr_t at = (uintptr_t)broken_function, aligned = at & ~7ul;
    for (int round = 0; round < 3; round++)
    {
        long old = ptrace(PTRACE_PEEKTEXT, pid, aligned, NULL);
        unsigned shift = (unsigned)(at & 7) * 8;
        CHECK(shift <= 48);
        long code = (old & ~(0xffffl << shift)) | 0x9002l << shift; // c.ebreak
        ZERO(ptrace(PTRACE_POKETEXT, pid, aligned, (void *)code));
        ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
        expect_stop(pid, SIGTRAP);
        uint64_t r[32];
        struct iovec v = { r, sizeof r };
        ZERO(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v));
        EQUAL(r[0], at);
        EQUAL(r[10], round);
        siginfo_t info;
        ZERO(ptrace(PTRACE_GETSIGINFO, pid, NULL, &info));
        EQUAL(info.si_code, TRAP_BRKPT);
        // The original again, and on to the return address with another argument.
        ZERO(ptrace(PTRACE_POKETEXT, pid, aligned, (void *)old));
        r[10] = 10;
        ZERO(ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v));
        uintptr_t back = r[1], back_aligned = back & ~7ul;
        long there = ptrace(PTRACE_PEEKTEXT, pid, back_aligned, NULL);
        shift = (unsigned)(back & 7) * 8;
        code = (there & ~(0xffffl << shift)) | 0x9002l << shift;
        ZERO(ptrace(PTRACE_POKETEXT, pid, back_aligned, (void *)code));
        ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
        expect_stop(pid, SIGTRAP);
        ZERO(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v));
        EQUAL(r[0], back);
        EQUAL(r[10], 20);
        ZERO(ptrace(PTRACE_POKETEXT, pid, back_aligned, (void *)there));
    }
    uint64_t f[33];
    struct iovec v = { f, sizeof f };
    ZERO(ptrace(PTRACE_GETREGSET, pid, NT_FPREGSET, &v));
    EQUAL(v.iov_len, sizeof f);
    f[20] = 0x4045000000000000;
    ZERO(ptrace(PTRACE_SETREGSET, pid, NT_FPREGSET, &v));
    FAILS(ptrace(PTRACE_SINGLESTEP, pid, NULL, 0), EIO);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
    expect_exit(pid, 60);
}
#endif

static int wait_for_ever(void) { for (;;) pause(); }

CASE(trace_seize, "fork noqemu")
{
    pid_t pid = fork();
    if (!pid) _exit(wait_for_ever());
    sleep_ms(20);
    ZERO(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD));
    FAILS(ptrace(PTRACE_CONT, pid, NULL, 0), ESRCH);
    ZERO(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
    expect_stop(pid, SIGTRAP | PTRACE_EVENT_STOP << 8);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
    // A group stop, listened to, and its end.
    ZERO(kill(pid, SIGSTOP));
    expect_stop(pid, SIGSTOP);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, (void *)(long)SIGSTOP));
    expect_stop(pid, SIGSTOP | PTRACE_EVENT_STOP << 8);
    ZERO(ptrace(PTRACE_LISTEN, pid, NULL, NULL));
    int status;
    EQUAL(waitpid(pid, &status, WNOHANG | __WALL), 0);
    FAILS(ptrace(PTRACE_CONT, pid, NULL, 0), ESRCH);
    ZERO(kill(pid, SIGCONT));
    expect_stop(pid, SIGTRAP | PTRACE_EVENT_STOP << 8);
    ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
    expect_stop(pid, SIGCONT);
    ZERO(ptrace(PTRACE_DETACH, pid, NULL, 0));
    FAILS(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), ESRCH);
    ZERO(kill(pid, SIGTERM));
    EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

CASE(trace_attach, "fork noqemu")
{
    pid_t pid = fork();
    if (!pid) _exit(wait_for_ever());
    FAILS(ptrace(PTRACE_ATTACH, getpid(), NULL, NULL), EPERM);
    ZERO(ptrace(PTRACE_ATTACH, pid, NULL, NULL));
    expect_stop(pid, SIGSTOP);
    FAILS(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), EIO);
    ZERO(ptrace(PTRACE_DETACH, pid, NULL, 0));
    // The tracer's end frees the tracee.
    pid_t tracer = fork();
    if (!tracer)
    {
        ZERO(ptrace(PTRACE_SEIZE, pid, NULL, 0));
        ZERO(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
        EQUAL(waitpid(pid, NULL, __WALL), pid);
        _exit(0);
    }
    expect_exit(tracer, 0);
    ZERO(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_EXITKILL));
    ZERO(kill(pid, SIGKILL));
    int status = wait_for(pid);
    CHECK(WIFSIGNALED(status));
}

// The tracer is a thread: others of its process may wait, but not ask; its end ends the tracing.
struct thread_tracer { pid_t victim; sem_t seized, done; };
static void *trace_by_thread(void *argument)
{
    struct thread_tracer *t = argument;
    ZERO(ptrace(PTRACE_SEIZE, t->victim, NULL, PTRACE_O_TRACESYSGOOD));
    ZERO(ptrace(PTRACE_INTERRUPT, t->victim, NULL, NULL));
    expect_stop(t->victim, SIGTRAP | PTRACE_EVENT_STOP << 8);
    sem_post(&t->seized);
    while (sem_wait(&t->done)) { }
    // A system call at the end, still by this thread.
    ZERO(ptrace(PTRACE_SYSCALL, t->victim, NULL, 0));
    return NULL;
}
CASE(trace_by_another_thread, "fork noqemu")
{
    struct thread_tracer t;
    sem_init(&t.seized, 0, 0);
    sem_init(&t.done, 0, 0);
    t.victim = fork();
    if (!t.victim) for (;;) { usleep(1000); getppid(); }
    pthread_t tracer = start(trace_by_thread, &t);
    while (sem_wait(&t.seized)) { }
    FAILS(ptrace(PTRACE_CONT, t.victim, NULL, 0), ESRCH);
    FAILS(ptrace(PTRACE_SEIZE, t.victim, NULL, 0), EPERM);
    int status;
    FAILS(waitpid(t.victim + 100000, &status, __WALL | WNOHANG), ECHILD);
    sem_post(&t.done);
    join(tracer);
    // Nobody traces it now (a kernel may take a moment longer than the join): this thread may.
    int64_t end = now() + 10000000000ll;
    while (ptrace(PTRACE_SEIZE, t.victim, NULL, PTRACE_O_EXITKILL)) { EQUAL(errno, EPERM); CHECK(now() < end); }
    ZERO(ptrace(PTRACE_INTERRUPT, t.victim, NULL, NULL));
    expect_stop(t.victim, SIGTRAP | PTRACE_EVENT_STOP << 8);
    ZERO(kill(t.victim, SIGKILL));
    CHECK(WIFSIGNALED(wait_for(t.victim)));
}

// One thread of a process is traced, the others run on.
static _Atomic long beats[2];
static void *beat(void *n) { for (;;) { beats[(long)n]++; usleep(500); } return NULL; }
static _Atomic pid_t *traced_tid;
static void *beat_traced(void *n) { *traced_tid = (pid_t)syscall(SYS_gettid); return beat(n); }
CASE(trace_one_thread, "fork noqemu")
{
    traced_tid = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    volatile long *seen = (long *)(traced_tid + 16);
    pid_t pid = fork();
    if (!pid)
    {
        start(beat_traced, (void *)0l);
        start(beat, (void *)1l);
        for (;;) { seen[0] = beats[0]; seen[1] = beats[1]; usleep(500); }
    }
    int64_t end = now() + 10000000000ll;
    while (!*traced_tid || !seen[0] || !seen[1]) { sleep_ms(1); CHECK(now() < end); }
    pid_t tid = *traced_tid;
    ZERO(ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD));
    ZERO(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL));
    expect_stop(tid, SIGTRAP | PTRACE_EVENT_STOP << 8);
    FAILS(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), ESRCH);
    sleep_ms(20);
    long stands = seen[0], runs = seen[1];
    while (seen[1] < runs + 20) { sleep_ms(1); CHECK(now() < end); }
    EQUAL(seen[0], stands);
    ZERO(ptrace(PTRACE_SYSCALL, tid, NULL, 0));
    expect_stop(tid, TRAP);
    ZERO(ptrace(PTRACE_CONT, tid, NULL, 0));
    while (seen[0] < stands + 20) { sleep_ms(1); CHECK(now() < end); }
    // Stops by signals are the whole process's.
    ZERO(kill(pid, SIGSTOP));
    int status = 0;
    EQUAL(waitpid(tid, &status, __WALL), tid);
    CHECK(WIFSTOPPED(status) && (WSTOPSIG(status) == SIGSTOP));
    if (status >> 16 == 0)
    {
        ZERO(ptrace(PTRACE_CONT, tid, NULL, (void *)(long)SIGSTOP));
        expect_stop(tid, SIGSTOP | PTRACE_EVENT_STOP << 8);
    }
    EQUAL(waitpid(pid, &status, WUNTRACED), pid);
    CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    ZERO(ptrace(PTRACE_DETACH, tid, NULL, 0));
    ZERO(kill(pid, SIGCONT));
    stands = seen[0], runs = seen[1];
    while (seen[0] < stands + 5 || seen[1] < runs + 5) { sleep_ms(1); CHECK(now() < end); }
    ZERO(kill(pid, SIGKILL));
    CHECK(WIFSIGNALED(wait_for(pid)));
}

static void *thread_of_tracee(void *a) { return a; }
static int make_family(void)
{
    pid_t pid = fork();
    if (!pid) _exit(5);
    int status;
    if (waitpid(pid, &status, 0) != pid || status != 5 << 8) return 1;
    pthread_t t;
    if (pthread_create(&t, NULL, thread_of_tracee, NULL) || pthread_join(t, NULL)) return 2;
    execl("/proc/self/exe", "guest-tests", "--list", (char *)NULL);
    return 3;
}

CASE(trace_events, "fork noqemu")
{
    pid_t pid = traced_child(make_family), forked = 0, cloned = 0;
    int null = open("/dev/null", O_WRONLY);
    (void)null;
    ZERO(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT));
    ZERO(ptrace(PTRACE_CONT, pid, NULL, 0));
    int exits = 0, execs = 0, ends = 0, starts = 0;
    while (ends < 3)
    {
        int status;
        pid_t who = waitpid(-1, &status, __WALL);
        CHECK(who > 0);
        if (WIFEXITED(status))
        {
            ends++;
            if (who == forked) EQUAL(WEXITSTATUS(status), 5);
            continue;
        }
        CHECK(WIFSTOPPED(status));
        int signal = WSTOPSIG(status), event = status >> 16;
        unsigned long message = 0;
        if (event) ZERO(ptrace(PTRACE_GETEVENTMSG, who, NULL, &message));
        switch (event)
        {
            case PTRACE_EVENT_FORK: EQUAL(who, pid); forked = (pid_t)message; signal = 0; break;
            case PTRACE_EVENT_CLONE: EQUAL(who, pid); cloned = (pid_t)message; signal = 0; break;
            case PTRACE_EVENT_EXEC:
                EQUAL(message, pid);
                execs++;
                signal = 0;
                // Its list is of no interest.
                ZERO(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEEXIT));
                break;
            case PTRACE_EVENT_EXIT:
                exits++;
                if (who == forked) EQUAL(message, 5 << 8);
                signal = 0;
                break;
            default:
                if (signal == SIGSTOP) { starts++; signal = 0; }
                else CHECK(signal == SIGCHLD);
        }
        ZERO(ptrace(PTRACE_CONT, who, NULL, (void *)(long)signal));
    }
    CHECK(forked > 0 && cloned > 0);
    EQUAL(starts, 2);
    EQUAL(execs, 1);
    EQUAL(exits, 3);
}
