// What a process is: prctl, peak memory, set-user-id programs.
#include "guest.h"
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
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

static void put(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    CHECK(fd >= 0);
    EQUAL(write(fd, "text", 4), 4);
    ZERO(fchown(fd, uid, gid));
    ZERO(fchmod(fd, mode));
    close(fd);
}

static void directory(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    ZERO(mkdir(path, 0700));
    ZERO(chown(path, uid, gid));
    ZERO(chmod(path, mode));
}

static int opens(const char *path, int flags)
{
    int fd = open(path, flags, 0644);
    if (fd < 0) return errno;
    close(fd);
    return 0;
}

// What uid 1000, group 1000 and 2000, may do in the tree that the next case makes.
static void as_user(void)
{
    EQUAL(opens("world", O_RDONLY), 0);
    EQUAL(opens("world", O_WRONLY), EACCES);
    EQUAL(opens("world", O_RDONLY | O_TRUNC), EACCES);
    EQUAL(opens("world", O_CREAT | O_EXCL | O_WRONLY), EEXIST);
    EQUAL(opens("world", O_PATH), 0);
    EQUAL(opens("world", O_RDONLY | O_NOATIME), EPERM);
    EQUAL(opens("secret", O_RDONLY), EACCES);
    EQUAL(opens("secret", O_PATH), 0);
    EQUAL(opens("group", O_RDWR), 0);
    EQUAL(opens("group1", O_RDWR), 0);
    EQUAL(opens("mine", O_RDWR), 0);
    EQUAL(opens("mine-unreadable", O_RDONLY), EACCES);
    EQUAL(opens("others-only", O_RDONLY), EACCES);
    struct stat s;
    ZERO(stat("secret", &s));
    // Directories: to list, to enter, to change are three things.
    EQUAL(opens("closed/file", O_RDONLY), EACCES);
    FAILS(stat("closed/file", &s), EACCES);
    FAILS(stat("closed/none", &s), EACCES);
    FAILS(lstat("closed/.", &s), EACCES);
    EQUAL(opens("closed", O_RDONLY | O_DIRECTORY), EACCES);
    FAILS(chdir("closed"), EACCES);
    EQUAL(opens("through/file", O_RDONLY), 0);
    EQUAL(opens("through", O_RDONLY | O_DIRECTORY), EACCES);
    FAILS(stat("through/none", &s), ENOENT);
    EQUAL(opens("list", O_RDONLY | O_DIRECTORY), 0);
    FAILS(stat("list/file", &s), EACCES);
    EQUAL(opens("link-closed", O_RDONLY), EACCES);
    EQUAL(opens("link-world", O_RDONLY), 0);
    EQUAL(opens("world/x", O_RDONLY), ENOTDIR);
    EQUAL(opens("through/new", O_CREAT | O_WRONLY), EACCES);
    FAILS(mkdir("through/new", 0700), EACCES);
    FAILS(mkdir("through/file", 0700), EEXIST);
    FAILS(symlink("x", "through/new"), EACCES);
    FAILS(unlink("through/file"), EACCES);
    FAILS(unlink("through/none"), ENOENT);
    FAILS(rename("through/file", "drop/file"), EACCES);
    FAILS(rename("mine", "through/file"), EACCES);
    FAILS(rename("mine", "through/new"), EACCES);
    FAILS(link("mine", "through/new"), EACCES);
    FAILS(mknod("through/fifo", S_IFIFO | 0600, 0), EACCES);
    // A sticky directory.
    EQUAL(opens("drop/new", O_CREAT | O_EXCL | O_WRONLY), 0);
    ZERO(stat("drop/new", &s));
    CHECK(s.st_uid == 1000 && s.st_gid == 1000);
    FAILS(unlink("drop/theirs"), EPERM);
    FAILS(rename("drop/theirs", "drop/mine"), EPERM);
    FAILS(rename("drop/new", "drop/theirs"), EPERM);
    ZERO(rename("drop/new", "drop/newer"));
    ZERO(unlink("drop/newer"));
    ZERO(unlink("open/theirs"));
    ZERO(mkdir("open/d", 0755));
    EQUAL(opens("open/d/f", O_CREAT | O_WRONLY), 0);
    ZERO(unlink("open/d/f"));
    ZERO(rmdir("open/d"));
    EQUAL(opens("open", O_TMPFILE | O_RDWR), 0);
    EQUAL(opens("through", O_TMPFILE | O_RDWR), EACCES);
    // access: the real ids; faccessat can ask for the effective ones.
    ZERO(access("world", R_OK));
    FAILS(access("world", W_OK), EACCES);
    FAILS(access("world", X_OK), EACCES);
    FAILS(access("secret", R_OK), EACCES);
    ZERO(access("secret", F_OK));
    ZERO(access("group", R_OK | W_OK));
    FAILS(access("closed/file", F_OK), EACCES);
    ZERO(access("open", R_OK | W_OK | X_OK));
    ZERO(faccessat(AT_FDCWD, "mine", R_OK | W_OK, AT_EACCESS));
    // Attributes belong to the owner.
    FAILS(chmod("world", 0777), EPERM);
    ZERO(chmod("mine", 0640));
    FAILS(chown("mine", 0, -1), EPERM);
    ZERO(chown("mine", -1, 2000));
    FAILS(chown("mine", -1, 3000), EPERM);
    FAILS(chown("world", -1, 1000), EPERM);
    struct timespec zero[2] = { { 0, 0 }, { 0, 0 } };
    FAILS(utimensat(AT_FDCWD, "world", zero, 0), EPERM);
    FAILS(utimensat(AT_FDCWD, "world", NULL, 0), EACCES);
    FAILS(utimensat(AT_FDCWD, "group", zero, 0), EPERM);
    ZERO(utimensat(AT_FDCWD, "group", NULL, 0));
    ZERO(utimensat(AT_FDCWD, "mine", zero, 0));
    FAILS(truncate("world", 0), EACCES);
    ZERO(truncate("group", 1));
    // Execution needs no right to read.
    char *nothing[] = { "x", NULL };
    execv("world", nothing);
    EQUAL(errno, EACCES);
    execv("closed/file", nothing);
    EQUAL(errno, EACCES);
    // What is open stays open.
    EQUAL(opens("/proc/self/status", O_RDONLY), 0);
    EQUAL(opens("/dev/null", O_RDWR), 0);
    EQUAL(opens(".", O_RDONLY | O_DIRECTORY), 0);
    int fd = open("through", O_PATH | O_DIRECTORY);
    CHECK(fd >= 0 && openat(fd, "file", O_RDONLY) >= 0 && openat(fd, "new", O_CREAT | O_WRONLY, 0600) < 0);
}

// Permissions by owners, groups and modes as the guest sees them; the same on a kernel for root.
CASE(permissions, "internal")
{
    if (getuid() != 0 || !getenv("GUEST_TESTS_OWN_ROOT")) skip("needs a tree of its own, or root of the machine");
    char base[] = "/tmp/permissions-XXXXXX";
    mkdir("/tmp", 0755);
    CHECK(mkdtemp(base) && chmod(base, 0755) == 0 && chdir(base) == 0);
    umask(022);
    put("world", 0644, 0, 0);
    put("secret", 0600, 0, 0);
    put("group", 0660, 0, 2000);
    put("group1", 0660, 0, 1000);
    put("mine", 0600, 1000, 1000);
    put("mine-unreadable", 0066, 1000, 1000);
    put("others-only", 0604, 0, 1000);
    directory("closed", 0700, 0, 0);
    put("closed/file", 0777, 0, 0);
    directory("through", 0711, 0, 0);
    put("through/file", 0644, 0, 0);
    directory("list", 0744, 0, 0);
    put("list/file", 0644, 0, 0);
    directory("drop", 01777, 0, 0);
    put("drop/theirs", 0666, 5, 5);
    directory("open", 0777, 0, 0);
    put("open/theirs", 0600, 5, 5);
    ZERO(symlink("closed/file", "link-closed"));
    ZERO(symlink("world", "link-world"));
    pid_t child = fork();
    if (!child)
    {
        gid_t more = 2000;
        ZERO(syscall(SYS_setgroups, 1, &more));
        ZERO(setgid(1000));
        ZERO(setuid(1000));
        as_user();
        _exit(0);
    }
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    // Real and effective ids apart: access asks as the real user, open as the effective one.
    child = fork();
    if (!child)
    {
        ZERO(setresuid(1000, 0, 0));
        FAILS(access("secret", R_OK), EACCES);
        ZERO(faccessat(AT_FDCWD, "secret", R_OK, AT_EACCESS));
        EQUAL(opens("secret", O_RDONLY), 0);
        ZERO(seteuid(1000));
        EQUAL(opens("secret", O_RDONLY), EACCES);
        FAILS(access("closed/file", R_OK), EACCES);
        _exit(0);
    }
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    // Root may all, but execute what nobody may.
    EQUAL(opens("mine-unreadable", O_RDWR), 0);
    EQUAL(opens("closed/file", O_RDWR), 0);
    FAILS(access("world", X_OK), EACCES);
    ZERO(access("closed/file", X_OK));
}

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned capability(int set, struct __user_cap_data_struct *all)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    if (syscall(SYS_capget, &header, all)) return 77;
    return set ? all->permitted : all->effective;
}

// What setpriv --reuid --regid does: keep the permitted capabilities over the change of users, take CAP_SETGID again, then change groups.
CASE(capabilities_follow_users, "fork noqemu")
{
    struct __user_cap_data_struct sets[2];
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    if (geteuid()) return; // only root has any
    pid_t child = fork();
    if (!child) { // without PR_SET_KEEPCAPS all is gone
        if (setresuid(65534, 65534, 65534)) _exit(1);
        if (capability(0, sets) || capability(1, sets)) _exit(2);
        if (setresgid(65534, 65534, 65534) != -1 || errno != EPERM) _exit(3);
        sets[0].effective = 1;
        if (syscall(SYS_capset, &header, sets) != -1 || errno != EPERM) _exit(4);
        _exit(0);
    }
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    child = fork();
    if (!child) {
        if (prctl(PR_SET_KEEPCAPS, 1)) _exit(1);
        if (setresuid(65534, 65534, 65534)) _exit(2);
        if (capability(0, sets) || !(capability(1, sets) >> CAP_SETGID & 1)) _exit(3);
        if (setresgid(65534, 65534, 65534) != -1 || errno != EPERM) _exit(4);
        sets[0].effective = sets[0].permitted = 1u << CAP_SETGID;
        sets[1].permitted = 0;
        if (syscall(SYS_capset, &header, sets)) _exit(5);
        if (setresgid(65534, 65534, 65534)) _exit(6);
        if (setresuid(0, 0, 0) != -1 || errno != EPERM) _exit(7);
        sets[0].permitted = ~0u; // what was given up does not come back
        if (syscall(SYS_capset, &header, sets) != -1 || errno != EPERM) _exit(8);
        _exit(0);
    }
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    child = fork();
    if (!child) { // an effective user that comes and goes takes the effective ones along
        if (setresuid(-1, 65534, 0)) _exit(1);
        if (capability(0, sets) || !capability(1, sets)) _exit(2);
        if (setresuid(-1, 0, -1)) _exit(3);
        _exit(capability(0, sets) ? 0 : 4);
    }
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
}

// A UNIX socket's name belongs to who bound it.
CASE(sockets_belong_to_their_makers, "internal")
{
    if (geteuid() || !getenv("GUEST_TESTS_OWN_ROOT")) skip("needs a tree of its own");
    char name[64];
    ZERO(chmod("/tmp", 01777));
    snprintf(name, sizeof name, "/tmp/owned-%d", getpid());
    pid_t child = fork();
    if (!child) {
        if (setresgid(54321, 54321, 54321) || setresuid(54321, 54321, 54321)) _exit(1);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        strcpy(address.sun_path, name);
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(s, (void *)&address, sizeof address)) _exit(2);
        struct stat st;
        if (stat(name, &st)) _exit(3);
        if (st.st_uid != 54321 || st.st_gid != 54321) _exit(4);
        if (chmod(name, 0777)) _exit(5);
        _exit(unlink(name) ? 6 : 0);
    }
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    unlink(name);
    EQUAL(status, 0);
}
