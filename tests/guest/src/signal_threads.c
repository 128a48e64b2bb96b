// Signals between threads: to one thread wherever it is, storms, cancellation.
#include "guest.h"
#include <semaphore.h>

static volatile int hits, target_tid, wrong_thread;
static volatile int stop;

static void on_hit(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)info; (void)uc;
    if (syscall(SYS_gettid) != target_tid) wrong_thread++;
    hits++;
}

static void *spin(void *unused)
{
    (void)unused;
    target_tid = (int)syscall(SYS_gettid);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) { }
    return NULL;
}

CASE(thread_signal_while_spinning)
{
    handle(SIGUSR1, on_hit, 0);
    pthread_t t = start(spin, NULL);
    while (!target_tid) sched_yield();
    for (long i = 0, n = scaled(1000); i < n; i++)
    {
        int before = hits;
        int64_t end = now() + 20000000000ll;
        ZERO(pthread_kill(t, SIGUSR1));
        while (hits == before) CHECK(now() < end);
    }
    stop = 1;
    join(t);
    EQUAL(wrong_thread, 0);
    // Gone: no such thread in this process; and a thread id of nobody.
    int64_t end = now() + 5000000000ll;
    while (syscall(SYS_tgkill, getpid(), target_tid, SIGUSR1) == 0) CHECK(now() < end);   // its id is cleared before it is quite gone
    EQUAL(errno, ESRCH);
    FAILS(syscall(SYS_tgkill, getpid(), 0x3ffff0, SIGUSR1), ESRCH);
    FAILS(syscall(SYS_tgkill, getpid(), -1, SIGUSR1), EINVAL);
}

// Real-time signals both ways: none lost, in order.
#define STORM_SIGNAL (SIGRTMIN + 3)
static _Thread_local volatile int next_value;
static volatile int received[2];
static _Thread_local int me;
static void on_storm(int sig, siginfo_t *info, void *uc)
{
    (void)sig; (void)uc;
    EQUAL(info->si_code, SI_QUEUE);
    EQUAL(info->si_value.sival_int, next_value);
    next_value++;
    __atomic_store_n(&received[me], next_value, __ATOMIC_RELEASE);
}
static pthread_t peers[2];
static pthread_barrier_t both;
static void *storm(void *which)
{
    me = (int)(intptr_t)which;
    pthread_barrier_wait(&both);
    int n = (int)scaled(50000);
    for (int i = 0; i < n; )
    {
        int e = pthread_sigqueue(peers[1 - me], STORM_SIGNAL, (union sigval){ .sival_int = i });
        if (e == 0) i++;
        else if (e == EAGAIN) sched_yield();
        else fail(__FILE__, __LINE__, "pthread_sigqueue", i, e);
    }
    int64_t end = now() + 60000000000ll;
    while (__atomic_load_n(&received[me], __ATOMIC_ACQUIRE) < n) CHECK(now() < end);
    pthread_barrier_wait(&both);
    return NULL;
}
CASE(thread_signal_storm)
{
    handle(STORM_SIGNAL, on_storm, 0);
    pthread_barrier_init(&both, NULL, 3);
    for (long i = 0; i < 2; i++) peers[i] = start(storm, (void *)i);
    pthread_barrier_wait(&both);             // both peers are known now
    pthread_barrier_wait(&both);
    for (int i = 0; i < 2; i++) join(peers[i]);
}

// Process signals go to a thread that does not block them.
static volatile int got_in;
static void which_thread(int sig, siginfo_t *info, void *uc) { (void)sig; (void)info; (void)uc; got_in = (int)syscall(SYS_gettid); }
static void *unblocked(void *unused)
{
    (void)unused;
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &s, NULL);
    target_tid = (int)syscall(SYS_gettid);
    while (!stop) { usleep(500); }
    return NULL;
}
CASE(thread_signal_to_process_finds_thread)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    handle(SIGUSR1, which_thread, 0);
    pthread_sigmask(SIG_BLOCK, &s, NULL);
    pthread_t t = start(unblocked, NULL);
    while (!target_tid) sched_yield();
    for (int i = 0; i < 20; i++)
    {
        got_in = 0;
        ZERO(kill(getpid(), SIGUSR1));
        int64_t end = now() + 20000000000ll;
        while (!got_in) { sched_yield(); CHECK(now() < end); }
        EQUAL(got_in, target_tid);
    }
    stop = 1;
    join(t);
    // Nobody takes it: pending for the process, seen by every thread, delivered on unblock.
    sigset_t is;
    got_in = 0;
    ZERO(kill(getpid(), SIGUSR1));
    sleep_ms(5);
    EQUAL(got_in, 0);
    ZERO(sigpending(&is));
    CHECK(sigismember(&is, SIGUSR1));
    pthread_sigmask(SIG_UNBLOCK, &s, NULL);
    EQUAL(got_in, syscall(SYS_gettid));
}

static volatile int cleaned;
static void clean(void *unused) { (void)unused; cleaned++; }
static int pipe_fds[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static sem_t ready, no_post;
static void unlock(void *m) { pthread_mutex_unlock(m); }
static void *cancel_in(void *how)
{
    char c;
    pthread_cleanup_push(clean, NULL);
    switch ((intptr_t)how)
    {
    case 0: sem_post(&ready); if (read(pipe_fds[0], &c, 1)) { } break;
    case 1: sem_post(&ready); sleep(1000); break;
    case 2:
        pthread_mutex_lock(&mutex);
        pthread_cleanup_push(unlock, &mutex);
        sem_post(&ready);
        for (;;) pthread_cond_wait(&never, &mutex);
        pthread_cleanup_pop(1);
        break;
    case 3: sem_post(&ready); sem_wait(&no_post); break;
    case 4: sem_post(&ready); for (;;) pthread_testcancel(); break;
    case 5:
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
        sem_post(&ready);
        for (;;) { __asm__ volatile("" ::: "memory"); }
        break;
    case 6:
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        sem_post(&ready);
        sleep_ms(10);
        pthread_testcancel();
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
        for (;;) pause();
        break;
    }
    pthread_cleanup_pop(0);
    return NULL;
}
CASE(thread_cancel)
{
    ZERO(pipe(pipe_fds));
    sem_init(&ready, 0, 0);
    sem_init(&no_post, 0, 0);
    int wanted = 0;
    for (int round = 0; round < 5; round++)
        for (intptr_t how = 0; how < 7; how++)
        {
            pthread_t t = start(cancel_in, (void *)how);
            sem_wait(&ready);
            if (round & 1) sleep_ms(2);
            ZERO(pthread_cancel(t));
            CHECK(join(t) == PTHREAD_CANCELED);
            EQUAL(cleaned, ++wanted);
        }
    ZERO(pthread_mutex_trylock(&mutex));
}

// Signals while threads are created, locked, sleeping: nothing hangs, nothing is lost.
static void *quick(void *v) { return (char *)v + 1; }
static void *annoy(void *target)
{
    while (!stop) { pthread_kill(*(pthread_t *)target, SIGUSR1); usleep(200); }
    return NULL;
}
CASE(thread_signals_during_everything)
{
    handle(SIGUSR1, on_hit, SA_RESTART);
    pthread_t self = pthread_self(), t = start(annoy, &self);
    // A few rounds can be over before the other thread has come to run at all: the first signal must have come.
    while (hits == 0) sched_yield();
    int n = (int)scaled(500);
    for (intptr_t i = 0; i < n; i++)
    {
        EQUAL(join(start(quick, (void *)i)), i + 1);
        char *p = malloc(200000);
        memset(p, (int)i, 200000);
        EQUAL(p[199999], (char)i);
        free(p);
        struct timespec ts = { 0, 1000 };
        while (nanosleep(&ts, &ts) == -1) EQUAL(errno, EINTR);
    }
    stop = 1;
    join(t);
    CHECK(hits > 0);
}
