// What a process is: prctl, peak memory, set-user-id programs.
#include "guest.h"
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

CASE(prctl_state, "fork noqemu")
{
    EQUAL(prctl(PR_GET_DUMPABLE), 1);
    FAILS(prctl(PR_SET_DUMPABLE, 2), EINVAL);
    ZERO(prctl(PR_SET_DUMPABLE, 0));
    EQUAL(prctl(PR_GET_DUMPABLE), 0);
    ZERO(prctl(PR_SET_DUMPABLE, 1));
    ZERO(prctl(PR_SET_KEEPCAPS, 1));
    EQUAL(prctl(PR_GET_KEEPCAPS), 1);
    FAILS(prctl(PR_SET_KEEPCAPS, 2), EINVAL);
    EQUAL(prctl(PR_GET_TIMERSLACK), 50000);
    ZERO(prctl(PR_SET_TIMERSLACK, 1234));
    EQUAL(prctl(PR_GET_TIMERSLACK), 1234);
    ZERO(prctl(PR_SET_TIMERSLACK, 0));
    EQUAL(prctl(PR_GET_TIMERSLACK), 50000);
    EQUAL(prctl(PR_GET_TIMING), PR_TIMING_STATISTICAL);
    FAILS(prctl(PR_SET_TIMING, 1), EINVAL);
    FAILS(prctl(PR_SET_THP_DISABLE, 0, 0, ~0ul, ~0ul), EINVAL);
    ZERO(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    EQUAL(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 1);
    FAILS(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0), EINVAL);
    FAILS(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL);
    EQUAL(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    FAILS(prctl(PR_CAPBSET_READ, 1000), EINVAL);
    FAILS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 1), EINVAL);
    FAILS(prctl(PR_CAP_AMBIENT, 77, 0, 0, 0), EINVAL);
    ZERO(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    FAILS(prctl(12345), EINVAL);
    pid_t child = fork();
    if (!child) _exit(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1 ? 0 : 1);
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
}

static long resident(const char *field)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[200];
    long value = -1;
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, field, strlen(field)) && line[strlen(field)] == ':') value = atol(line + strlen(field) + 1);
    fclose(f);
    return value;
}

// 24 MiB are there while they are written, and remembered when they are gone.
CASE(peak_memory, "fork noqemu")
{
    long before = resident("VmRSS");
    CHECK(before > 100 && before < 60000);
    size_t size = 24 << 20;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long mapped = resident("VmRSS");
    CHECK(mapped < before + 4096);
    memset(p, 1, size);
    long full = resident("VmRSS");
    CHECK(full >= before + 23 * 1024 && full < before + 40 * 1024);
    ZERO(munmap(p, size));
    CHECK(resident("VmRSS") < before + 8 * 1024);
    CHECK(resident("VmHWM") >= before + 23 * 1024);
    struct rusage u;
    ZERO(getrusage(RUSAGE_SELF, &u));
    CHECK(u.ru_maxrss >= before + 23 * 1024 && u.ru_maxrss < before + 64 * 1024);
    // A child's own peak, from its end.
    pid_t child = fork();
    if (!child)
    {
        char *q = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(q, 1, 2 * size);
        _exit(0);
    }
    int status;
    EQUAL(wait4(child, &status, 0, &u), child);
    EQUAL(status, 0);
    CHECK(u.ru_maxrss >= 48 * 1024 && u.ru_maxrss < 120 * 1024);
    ZERO(getrusage(RUSAGE_CHILDREN, &u));
    CHECK(u.ru_maxrss >= 48 * 1024);
}

// Run by the next case, as uid 1000.
CASE(set_id_program, "internal")
{
    CHECK(getuid() == 1000 && geteuid() == 7 && getgid() == 1000 && getegid() == 8);
    uid_t r, e, s;
    ZERO(getresuid(&r, &e, &s));
    EQUAL(s, 7);
    EQUAL(getauxval(AT_SECURE), 1);
    EQUAL(getauxval(AT_EUID), 7);
    ZERO(setuid(1000));
    EQUAL(geteuid(), 1000);
    ZERO(seteuid(7));
}
CASE(plain_program, "internal")
{
    EQUAL(getauxval(AT_SECURE), 0);
    CHECK(getuid() == 1000 && geteuid() == 1000);
}

static int run_as_user(const char *path, const char *name, int no_new_privileges)
{
    pid_t child = fork();
    if (!child)
    {
        CHECK(setgid(1000) == 0 && setuid(1000) == 0);
        if (no_new_privileges) ZERO(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        execl(path, path, name, (char *)NULL);
        _exit(99);
    }
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    return status >> 8;
}

// Needs a tree whose owners are the guest's (viv run --root), or real root.
CASE(set_id_execution, "internal")
{
    if (getuid() != 0 || !getenv("GUEST_TESTS_OWN_ROOT")) skip("needs a tree of its own");
    int in = open("/proc/self/exe", O_RDONLY), out = open("/set-id", O_CREAT | O_TRUNC | O_WRONLY, 0755);
    CHECK(in >= 0 && out >= 0);
    static char buffer[65536];
    for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;) EQUAL(write(out, buffer, (size_t)n), n);
    close(in);
    close(out);
    EQUAL(run_as_user("/set-id", "plain_program", 0), 0);
    ZERO(chown("/set-id", 7, 8));
    ZERO(chmod("/set-id", 06755));
    EQUAL(run_as_user("/set-id", "set_id_program", 0), 0);
    EQUAL(run_as_user("/set-id", "plain_program", 1), 0);
    // A change of owner takes the bits away.
    ZERO(chown("/set-id", 0, 0));
    EQUAL(run_as_user("/set-id", "plain_program", 0), 0);
    unlink("/set-id");
}
