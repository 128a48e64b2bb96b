// System V inter-process communication: shared memory, semaphores, message queues.
#include "guest.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>

static int ended(pid_t p)
{
    int status = -1;
    while (waitpid(p, &status, 0) == -1 && errno == EINTR) { }
    return status;
}
static void nothing(int sig, siginfo_t *info, void *uc) { (void)sig; (void)info; (void)uc; }

CASE(ipc_shared_memory, "fork noqemu")
{
    int id = shmget(IPC_PRIVATE, 3 * PAGE + 5, IPC_CREAT | 0600);
    CHECK(id >= 0);
    struct shmid_ds d;
    ZERO(shmctl(id, IPC_STAT, &d));
    EQUAL(d.shm_segsz, 3 * PAGE + 5); EQUAL(d.shm_nattch, 0); EQUAL(d.shm_cpid, getpid()); EQUAL(d.shm_perm.mode, 0600);
    int *p = shmat(id, NULL, 0), *q = shmat(id, NULL, SHM_RDONLY);
    CHECK(p != (void *)-1 && q != (void *)-1 && p != q);
    EQUAL(p[0], 0);
    p[3 * PAGE / 4] = 7;
    EQUAL(q[3 * PAGE / 4], 7);
    pid_t c = fork();
    if (c == 0)
    {
        ZERO(shmctl(id, IPC_STAT, &d));
        EQUAL(d.shm_nattch, 4);
        p[1] = 42;
        ZERO(shmdt(p));
        ZERO(shmctl(id, IPC_STAT, &d));
        EQUAL(d.shm_nattch, 3);
        _exit(0);
    }
    EQUAL(ended(c), 0);
    EQUAL(q[1], 42);
    ZERO(shmdt(q));
    FAILS(shmdt(q), EINVAL);
    // Removed while attached: it stays for those who have it.
    ZERO(shmctl(id, IPC_RMID, NULL));
    p[2] = 1;
    ZERO(shmctl(id, IPC_STAT, &d));
    CHECK(d.shm_perm.mode & SHM_DEST);
    ZERO(shmdt(p));
    FAILS(shmctl(id, IPC_STAT, &d), EINVAL);
    FAILS((long)shmat(id, NULL, 0), EINVAL);
    // Keys.
    key_t key = 0x76690000 + (getpid() & 0xffff);
    FAILS(shmget(key, PAGE, 0600), ENOENT);
    id = shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600);
    CHECK(id >= 0);
    FAILS(shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    EQUAL(shmget(key, 0, 0), id);
    FAILS(shmget(key, 2 * PAGE, 0), EINVAL);
    char *at = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FAILS((long)shmat(id, at, 0), EINVAL);                // taken
    CHECK(shmat(id, at + PAGE + 100, SHM_RND | SHM_REMAP) == at + PAGE);
    at[PAGE] = 1;
    ZERO(shmdt(at + PAGE));
    ZERO(shmctl(id, IPC_RMID, NULL));
    FAILS(shmget(key, PAGE, 0600), ENOENT);
}

static int operate(int id, int number, int change, int flags)
{
    struct sembuf o = { (unsigned short)number, (short)change, (short)flags };
    return semop(id, &o, 1);
}
CASE(ipc_semaphores, "fork noqemu")
{
    int id = semget(IPC_PRIVATE, 3, IPC_CREAT | 0600);
    CHECK(id >= 0);
    unsigned short values[3] = { 1, 2, 3 };
    ZERO(semctl(id, 0, SETALL, values));
    EQUAL(semctl(id, 2, GETVAL), 3);
    ZERO(operate(id, 2, -3, 0)); EQUAL(semctl(id, 2, GETVAL), 0); EQUAL(semctl(id, 2, GETPID), getpid());
    FAILS(operate(id, 2, -1, IPC_NOWAIT), EAGAIN);
    FAILS(operate(id, 0, 0, IPC_NOWAIT), EAGAIN);
    FAILS(operate(id, 3, 1, 0), EFBIG);
    // All or nothing.
    struct sembuf both[2] = { { 0, -1, 0 }, { 2, -1, IPC_NOWAIT } };
    FAILS(semop(id, both, 2), EAGAIN);
    EQUAL(semctl(id, 0, GETVAL), 1);
    struct timespec t = { 0, 20000000 };
    struct sembuf one = { 2, -1, 0 };
    FAILS(semtimedop(id, &one, 1, &t), EAGAIN);
    // A wait that another process ends; what it did with SEM_UNDO is taken back at its end.
    pid_t c = fork();
    if (c == 0) { sleep_ms(20); ZERO(operate(id, 2, 2, 0)); ZERO(operate(id, 1, 5, SEM_UNDO)); EQUAL(semctl(id, 1, GETVAL), 7); _exit(0); }
    ZERO(operate(id, 2, -1, 0));
    EQUAL(ended(c), 0);
    EQUAL(semctl(id, 1, GETVAL), 2); EQUAL(semctl(id, 2, GETVAL), 1);
    // A signal ends a wait, SA_RESTART or not; so does removal.
    handle(SIGUSR1, nothing, SA_RESTART);
    c = fork();
    if (c == 0) { FAILS(operate(id, 0, -9, 0), EINTR); FAILS(operate(id, 0, -9, 0), EIDRM); _exit(0); }
    while (semctl(id, 0, GETNCNT) != 1) sleep_ms(1);
    sleep_ms(5);
    kill(c, SIGUSR1);
    sleep_ms(20);
    while (semctl(id, 0, GETNCNT) != 1) sleep_ms(1);
    struct semid_ds d;
    ZERO(semctl(id, 0, IPC_STAT, &d));
    EQUAL(d.sem_nsems, 3);
    ZERO(semctl(id, 0, IPC_RMID));
    EQUAL(ended(c), 0);
    FAILS(semctl(id, 0, GETVAL), EINVAL);
    FAILS(semctl(semget(IPC_PRIVATE, 1, 0600), 0, SETVAL, 32768), ERANGE);
}

CASE(ipc_semaphores_exclude, "fork long noqemu")
{
    // Processes that add to a counter under a semaphore.
    enum { N = 4 };
    long rounds = scaled(2000);
    int id = semget(IPC_PRIVATE, 1, 0600), shared = shmget(IPC_PRIVATE, PAGE, 0600);
    volatile long *counter = shmat(shared, NULL, 0);
    ZERO(shmctl(shared, IPC_RMID, NULL));
    ZERO(semctl(id, 0, SETVAL, 1));
    pid_t p[N];
    for (int i = 0; i < N; i++)
    {
        if ((p[i] = fork()) == 0)
        {
            for (long k = 0; k < rounds; k++) { ZERO(operate(id, 0, -1, SEM_UNDO)); long v = *counter; if (k % 64 == 0) sched_yield(); *counter = v + 1; ZERO(operate(id, 0, 1, SEM_UNDO)); }
            _exit(0);
        }
    }
    for (int i = 0; i < N; i++) EQUAL(ended(p[i]), 0);
    EQUAL(*counter, N * rounds);
    ZERO(semctl(id, 0, IPC_RMID));
}

CASE(ipc_messages, "fork noqemu")
{
    struct { long type; char text[200]; } m;
    int id = msgget(IPC_PRIVATE, 0600);
    CHECK(id >= 0);
    for (int type = 5; type >= 1; type--) { m.type = type; m.text[0] = (char)('a' + type); ZERO(msgsnd(id, &m, (size_t)(10 * type), 0)); }
    struct msqid_ds d;
    ZERO(msgctl(id, IPC_STAT, &d));
    EQUAL(d.msg_qnum, 5); EQUAL(d.msg_lspid, getpid());
    EQUAL(msgrcv(id, &m, 200, 3, 0), 30); EQUAL(m.type, 3); EQUAL(m.text[0], 'd');
    EQUAL(msgrcv(id, &m, 200, 0, 0), 50); EQUAL(m.type, 5);                // the oldest
    EQUAL(msgrcv(id, &m, 200, -4, 0), 10); EQUAL(m.type, 1);               // the lowest type
    FAILS(msgrcv(id, &m, 5, 4, 0), E2BIG);
    EQUAL(msgrcv(id, &m, 5, 4, MSG_NOERROR), 5);
    FAILS(msgrcv(id, &m, 200, 4, IPC_NOWAIT), ENOMSG);
    EQUAL(msgrcv(id, &m, 200, 4, MSG_EXCEPT), 20); EQUAL(m.type, 2);
    m.type = 0;
    FAILS(msgsnd(id, &m, 1, 0), EINVAL);
    // A full queue holds its sender up.
    pid_t c = fork();
    if (c == 0) { m.type = 9; for (int i = 0; i < 300; i++) { m.text[0] = (char)i; ZERO(msgsnd(id, &m, 200, 0)); } _exit(0); }
    sleep_ms(20);
    for (int i = 0; i < 300; i++) { EQUAL(msgrcv(id, &m, 200, 9, 0), 200); EQUAL(m.text[0], (char)i); }
    EQUAL(ended(c), 0);
    c = fork();
    if (c == 0) { FAILS(msgrcv(id, &m, 200, 0, 0), EIDRM); _exit(0); }
    sleep_ms(30);
    ZERO(msgctl(id, IPC_RMID, NULL));
    EQUAL(ended(c), 0);
    FAILS(msgsnd(id, &m, 1, 0), EINVAL);
}

// What /proc/sysvipc says of an object: a column of its row.
static long ipc_row(const char *file, int id, int column)
{
    char line[512];
    long value = -1;
    FILE *f = fopen(file, "r");
    CHECK(f != NULL);
    CHECK(fgets(line, sizeof line, f) != NULL);
    while (value == -1 && fgets(line, sizeof line, f))
    {
        char *save, *word = strtok_r(line, " \n", &save);
        long words[20], n = 0;
        for (; word && n < 20; word = strtok_r(NULL, " \n", &save)) words[n++] = strtol(word, NULL, n == 2 ? 8 : 10);
        if (n > 2 && words[1] == id) value = column < n ? words[column] : -2;
    }
    fclose(f);
    return value;
}
static void set_limit(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0);
    EQUAL(write(fd, value, strlen(value)), (long)strlen(value));
    close(fd);
}
CASE(ipc_tables_and_limits, "noqemu")
{
    int shm = shmget(IPC_PRIVATE, 12345, 0640), sem = semget(IPC_PRIVATE, 3, 0600), msg = msgget(IPC_PRIVATE, 0604);
    CHECK(shm >= 0 && sem >= 0 && msg >= 0);
    struct { long type; char text[64]; } m = { 1, "" };
    ZERO(msgsnd(msg, &m, 10, 0));
    char *at = shmat(shm, NULL, 0);
    CHECK(at != (char *)-1);
    EQUAL(ipc_row("/proc/sysvipc/shm", shm, 2), 0640);
    EQUAL(ipc_row("/proc/sysvipc/shm", shm, 3), 12345);
    EQUAL(ipc_row("/proc/sysvipc/shm", shm, 4), getpid());
    EQUAL(ipc_row("/proc/sysvipc/shm", shm, 6), 1);
    EQUAL(ipc_row("/proc/sysvipc/sem", sem, 3), 3);
    EQUAL(ipc_row("/proc/sysvipc/msg", msg, 2), 0604);
    EQUAL(ipc_row("/proc/sysvipc/msg", msg, 3), 10);
    EQUAL(ipc_row("/proc/sysvipc/msg", msg, 4), 1);
    if (geteuid() == 0)
    {
        set_limit("/proc/sys/kernel/msgmax", "20");
        FAILS(msgsnd(msg, &m, 21, 0), EINVAL);
        set_limit("/proc/sys/kernel/msgmax", "8192\n");
        set_limit("/proc/sys/kernel/sem", "2 100 3");
        FAILS(semget(IPC_PRIVATE, 3, 0600), EINVAL);
        struct sembuf op[4] = { { 0, 1, 0 }, { 0, 1, 0 }, { 0, 1, 0 }, { 0, 1, 0 } };
        FAILS(semop(sem, op, 4), E2BIG);
        ZERO(semop(sem, op, 3));
        set_limit("/proc/sys/kernel/sem", "32000\t1024000000\t500\t32000");
        set_limit("/proc/sys/kernel/shmmax", "8192");
        FAILS(shmget(IPC_PRIVATE, 8193, 0600), EINVAL);
        set_limit("/proc/sys/kernel/shmmax", "18446744073692774399");
        set_limit("/proc/sys/kernel/msgmni", "1");
        FAILS(msgget(IPC_PRIVATE, 0600), ENOSPC);
        set_limit("/proc/sys/kernel/msgmni", "32000");
        int fd = open("/proc/sys/kernel/shmmni", O_WRONLY);
        FAILS(write(fd, "many", 4), EINVAL);
        close(fd);
    }
    ZERO(shmdt(at));
    ZERO(shmctl(shm, IPC_RMID, NULL));
    ZERO(semctl(sem, 0, IPC_RMID));
    ZERO(msgctl(msg, IPC_RMID, NULL));
    EQUAL(ipc_row("/proc/sysvipc/shm", shm, 0), -1);
}
