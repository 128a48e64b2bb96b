// Threads and what they wait on.
#include "guest.h"
#include <limits.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <sys/wait.h>

static long futex(void *word, int op, unsigned value, const void *timeout, void *word2, unsigned value3)
{
    return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

static void *plus_one(void *v) { return (char *)v + 1; }

CASE(thread_create_join)
{
    for (intptr_t i = 0, n = scaled(1000); i < n; i++) EQUAL(join(start(plus_one, (void *)i)), i + 1);
    // Many at once.
    pthread_t t[100];
    for (intptr_t i = 0; i < 100; i++) t[i] = start(plus_one, (void *)i);
    for (intptr_t i = 0; i < 100; i++) EQUAL(join(t[i]), i + 1);
}

#define WORKERS 6
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spinlock;
static pthread_barrier_t barrier;
static long shared_a, shared_b;

static void *hammer_mutex(void *n)
{
    for (long i = 0; i < (long)n; i++)
    {
        pthread_mutex_lock(&mutex);
        shared_a++;
        if (shared_a != ++shared_b) fail(__FILE__, __LINE__, "mutual exclusion", shared_a, shared_b);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
CASE(thread_mutex)
{
    pthread_t t[WORKERS];
    long n = scaled(20000);
    for (int i = 0; i < WORKERS; i++) t[i] = start(hammer_mutex, (void *)n);
    for (int i = 0; i < WORKERS; i++) join(t[i]);
    EQUAL(shared_a, n * WORKERS);
    pthread_mutexattr_t a;
    pthread_mutex_t m;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&m, &a);
    ZERO(pthread_mutex_lock(&m));
    EQUAL(pthread_mutex_lock(&m), EDEADLK);
    struct timespec soon;
    pthread_mutex_lock(&mutex);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 5000000;
    if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000;
    EQUAL(pthread_mutex_timedlock(&mutex, &soon), ETIMEDOUT);
}

// Bounded buffer with two condition variables.
static int buffer[8];
static int used, head, tail;
static long produced_sum, consumed_sum;
static pthread_cond_t not_full = PTHREAD_COND_INITIALIZER, not_empty = PTHREAD_COND_INITIALIZER;
static void *produce(void *n)
{
    for (long i = 1; i <= (long)n; i++)
    {
        pthread_mutex_lock(&mutex);
        while (used == 8) pthread_cond_wait(&not_full, &mutex);
        buffer[head++ & 7] = (int)i;
        used++;
        produced_sum += i;
        pthread_cond_signal(&not_empty);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
static void *consume(void *n)
{
    for (long i = 1; i <= (long)n; i++)
    {
        pthread_mutex_lock(&mutex);
        while (used == 0) pthread_cond_wait(&not_empty, &mutex);
        consumed_sum += buffer[tail++ & 7];
        used--;
        pthread_cond_broadcast(&not_full);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
CASE(thread_condition)
{
    pthread_t t[6];
    long n = scaled(5000);
    for (int i = 0; i < 6; i++) t[i] = start(i & 1 ? consume : produce, (void *)n);
    for (int i = 0; i < 6; i++) join(t[i]);
    EQUAL(produced_sum, consumed_sum);
    EQUAL(produced_sum, 3 * n * (n + 1) / 2);
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 5000000;
    if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000;
    pthread_mutex_lock(&mutex);
    EQUAL(pthread_cond_timedwait(&not_empty, &mutex, &soon), ETIMEDOUT);
}

static long phase[WORKERS];
static void *hammer_barrier(void *which)
{
    long me = (long)which;
    for (long i = 0, n = scaled(2000); i < n; i++)
    {
        phase[me] = i;
        pthread_barrier_wait(&barrier);
        for (int k = 0; k < WORKERS; k++) EQUAL(phase[k], i);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}
CASE(thread_barrier)
{
    pthread_t t[WORKERS];
    pthread_barrier_init(&barrier, NULL, WORKERS);
    for (long i = 0; i < WORKERS; i++) t[i] = start(hammer_barrier, (void *)i);
    for (int i = 0; i < WORKERS; i++) join(t[i]);
}

static void *hammer_rwlock(void *which)
{
    uint64_t seed = (uint64_t)which;
    for (long i = 0, n = scaled(10000); i < n; i++)
        if (random64(&seed) % 4 == 0)
        {
            pthread_rwlock_wrlock(&rwlock);
            shared_a++;
            shared_b++;
            pthread_rwlock_unlock(&rwlock);
            pthread_spin_lock(&spinlock);
            consumed_sum++;
            pthread_spin_unlock(&spinlock);
        }
        else
        {
            pthread_rwlock_rdlock(&rwlock);
            EQUAL(shared_a, shared_b);
            pthread_rwlock_unlock(&rwlock);
        }
    return NULL;
}
CASE(thread_rwlock)
{
    pthread_t t[WORKERS];
    pthread_spin_init(&spinlock, 0);
    for (long i = 0; i < WORKERS; i++) t[i] = start(hammer_rwlock, (void *)i);
    for (int i = 0; i < WORKERS; i++) join(t[i]);
    EQUAL(shared_a, consumed_sum);
}

static sem_t ping, pong;
static void *ponger(void *n)
{
    for (long i = 0; i < (long)n; i++) { sem_wait(&ping); sem_post(&pong); }
    return NULL;
}
CASE(thread_semaphore)
{
    sem_init(&ping, 0, 0);
    sem_init(&pong, 0, 0);
    long n = scaled(5000);
    pthread_t t = start(ponger, (void *)n);
    for (long i = 0; i < n; i++) { sem_post(&ping); sem_wait(&pong); }
    join(t);
    FAILS(sem_trywait(&ping), EAGAIN);
}

static __thread long tls_value = 42;
static __thread char tls_array[1000] __attribute__((aligned(64)));
static pthread_key_t key;
static atomic_long destroyed;
static void destroy(void *v) { destroyed += (long)v; }
static void *use_tls(void *which)
{
    EQUAL(tls_value, 42);
    EQUAL((uintptr_t)tls_array & 63, 0);
    tls_value = (long)which;
    memset(tls_array, (int)(long)which, sizeof tls_array);
    pthread_setspecific(key, which);
    for (int i = 0; i < 20; i++)
    {
        sched_yield();
        EQUAL(tls_value, which);
        EQUAL(tls_array[999], (char)(long)which);
        CHECK(pthread_getspecific(key) == which);
    }
    errno = (int)(long)which;
    sched_yield();
    EQUAL(errno, (long)which);
    return NULL;
}
CASE(thread_local_storage)
{
    pthread_t t[20];
    pthread_key_create(&key, destroy);
    for (long i = 0; i < 20; i++) t[i] = start(use_tls, (void *)(i + 1));
    for (int i = 0; i < 20; i++) join(t[i]);
    EQUAL(destroyed, 210);
    EQUAL(tls_value, 42);
}

static pthread_mutex_t robust;
static void *die_with_lock(void *unused) { (void)unused; ZERO(pthread_mutex_lock(&robust)); return NULL; }
static void *die_later(void *unused) { (void)unused; ZERO(pthread_mutex_lock(&robust)); sem_post(&ping); sleep_ms(10); return NULL; }
CASE(thread_robust_mutex)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    ZERO(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
    ZERO(pthread_mutex_init(&robust, &a));
    for (int i = 0; i < 5; i++)
    {
        join(start(die_with_lock, NULL));
        EQUAL(pthread_mutex_lock(&robust), EOWNERDEAD);
        ZERO(pthread_mutex_consistent(&robust));
        ZERO(pthread_mutex_unlock(&robust));
        // The waiter is asleep when the owner dies.
        sem_init(&ping, 0, 0);
        pthread_t t = start(die_later, NULL);
        sem_wait(&ping);
        int e = pthread_mutex_lock(&robust);
        EQUAL(e, EOWNERDEAD);
        ZERO(pthread_mutex_consistent(&robust));
        ZERO(pthread_mutex_unlock(&robust));
        join(t);
    }
    join(start(die_with_lock, NULL));
    EQUAL(pthread_mutex_lock(&robust), EOWNERDEAD);
    ZERO(pthread_mutex_unlock(&robust));
    EQUAL(pthread_mutex_lock(&robust), ENOTRECOVERABLE);
}

static pthread_mutex_t pi;
static void *hammer_pi(void *n)
{
    for (long i = 0; i < (long)n; i++)
    {
        ZERO(pthread_mutex_lock(&pi));
        shared_a++;
        if (i % 64 == 0) sched_yield();
        EQUAL(shared_a, ++shared_b);
        ZERO(pthread_mutex_unlock(&pi));
    }
    return NULL;
}
CASE(thread_priority_inheritance_mutex)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    if (pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT) != 0) return;
    int e = pthread_mutex_init(&pi, &a);
    if (e == ENOTSUP) return;   // the kernel says ENOSYS, which is honest
    ZERO(e);
    pthread_t t[4];
    long n = scaled(5000);
    for (int i = 0; i < 4; i++) t[i] = start(hammer_pi, (void *)n);
    for (int i = 0; i < 4; i++) join(t[i]);
    EQUAL(shared_a, 4 * n);
}

static void *spin_for_ever(void *unused) { (void)unused; for (;;) { __asm__ volatile("" ::: "memory"); } return NULL; }
static void *sleep_for_ever(void *unused) { (void)unused; for (;;) pause(); return NULL; }
CASE(thread_exit_group_while_others_spin, "exit=42")
{
    for (int i = 0; i < 3; i++) start(spin_for_ever, NULL), start(sleep_for_ever, NULL);
    sleep_ms(10);
    _exit(42);
}
static void *exit_from_thread(void *unused) { (void)unused; sleep_ms(5); exit(43); return NULL; }
CASE(thread_exit_group_from_thread, "exit=43")
{
    start(spin_for_ever, NULL);
    start(exit_from_thread, NULL);
    for (;;) pause();
}
static void *last_one(void *unused) { (void)unused; sleep_ms(20); return NULL; }
CASE(thread_main_leaves_first)
{
    // The process lives until its last thread ends, and then exits with 0.
    for (int i = 0; i < 3; i++) start(last_one, NULL);
    pthread_exit(NULL);
}
static void *crash_in_thread(void *unused) { (void)unused; *(volatile int *)24 = 1; return NULL; }
CASE(thread_crash_kills_all, "exit=139")
{
    start(spin_for_ever, NULL);
    start(crash_in_thread, NULL);
    for (;;) pause();
}

static atomic_int done;
static void *finish(void *unused) { (void)unused; done++; return NULL; }
CASE(thread_detached)
{
    int n = (int)scaled(300);
    for (int i = 0; i < n; i++)
    {
        pthread_attr_t a;
        pthread_t t;
        pthread_attr_init(&a);
        pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&a, 65536);
        int e;
        while ((e = pthread_create(&t, &a, finish, NULL)) == EAGAIN) sched_yield();
        ZERO(e);
    }
    int64_t end = now() + 30000000000ll;
    while (done < n) { sched_yield(); CHECK(now() < end); }
}

static unsigned word_a, word_b;
static atomic_int woken, waiting;
static void *wait_on_a(void *unused)
{
    (void)unused;
    waiting++;
    while (futex(&word_a, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == -1) { if (errno != EINTR) fail(__FILE__, __LINE__, "futex wait", 0, errno); }
    woken++;
    return NULL;
}
CASE(thread_futex)
{
    FAILS(futex(&word_a, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0), EAGAIN);
    struct timespec some = { 0, 10000000 };
    int64_t before = now();
    FAILS(futex(&word_a, FUTEX_WAIT_PRIVATE, 0, &some, NULL, 0), ETIMEDOUT);
    CHECK(now() - before >= 9900000);
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += 10000000;
    if (at.tv_nsec >= 1000000000) at.tv_sec++, at.tv_nsec -= 1000000000;
    FAILS(futex(&word_a, FUTEX_WAIT_BITSET_PRIVATE, 0, &at, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
    CHECK(now() >= at.tv_sec * 1000000000ll + at.tv_nsec);
    FAILS(futex((char *)&word_a + 1, FUTEX_WAIT_PRIVATE, 0, &some, NULL, 0), EINVAL);
    FAILS(futex((void *)0x10000000000ul, FUTEX_WAIT_PRIVATE, 0, &some, NULL, 0), EFAULT);
    EQUAL(futex(&word_a, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
    // Requeue: one woken, the others moved to word_b and woken there.
    pthread_t t[5];
    for (int i = 0; i < 5; i++) t[i] = start(wait_on_a, NULL);
    int64_t end = now() + 20000000000ll;
    while (waiting < 5) { sched_yield(); CHECK(now() < end); }
    sleep_ms(100); // from the last thread's mark to its wait
    FAILS(futex(&word_a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10l, &word_b, 7), EAGAIN);
    long moved = futex(&word_a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10l, &word_b, 0);
    CHECK(moved >= 1 && moved <= 5);
    while (woken < 1) { sched_yield(); CHECK(now() < end); }
    sleep_ms(20);
    EQUAL(woken, 1);
    EQUAL(futex(&word_a, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
    EQUAL(futex(&word_b, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0), 4);
    for (int i = 0; i < 5; i++) join(t[i]);
    // FUTEX_WAKE_OP on nobody still does the operation.
    EQUAL(futex(&word_a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1l, &word_b, FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 0)), 0);
    EQUAL(word_b, 5);
}

// Waiters of a word are moved to a PI futex, and have it one after the other.
#ifndef FUTEX_WAIT_REQUEUE_PI_PRIVATE
#define FUTEX_WAIT_REQUEUE_PI_PRIVATE (FUTEX_WAIT_REQUEUE_PI | FUTEX_PRIVATE_FLAG)
#define FUTEX_CMP_REQUEUE_PI_PRIVATE (FUTEX_CMP_REQUEUE_PI | FUTEX_PRIVATE_FLAG)
#endif
static unsigned pi_condition, pi_mutex;
static int pi_waiting, pi_inside, pi_done;
static void *pi_waiter(void *unused)
{
    (void)unused;
    unsigned me = syscall(SYS_gettid), seen;
    __atomic_add_fetch(&pi_waiting, 1, __ATOMIC_SEQ_CST);
    ZERO(futex(&pi_condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &pi_mutex, 0));
    EQUAL(__atomic_load_n(&pi_mutex, __ATOMIC_SEQ_CST) & FUTEX_TID_MASK, me);
    EQUAL(__atomic_add_fetch(&pi_inside, 1, __ATOMIC_SEQ_CST), 1);
    sched_yield();
    pi_done++;
    EQUAL(__atomic_sub_fetch(&pi_inside, 1, __ATOMIC_SEQ_CST), 0);
    seen = me;
    if (!__atomic_compare_exchange_n(&pi_mutex, &seen, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) ZERO(futex(&pi_mutex, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    return NULL;
}
CASE(thread_futex_requeue_pi)
{
    enum { THREADS = 5 };
    unsigned me = syscall(SYS_gettid);
    FAILS(futex(&pi_condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &pi_condition, 0), EINVAL);
    FAILS(futex(&pi_condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void *)10l, &pi_mutex, 0), EINVAL);
    for (int free = 0; free < 2; free++)
    {
        pthread_t t[THREADS];
        pi_waiting = pi_done = pi_condition = 0;
        pi_mutex = free ? 0 : me;
        for (int i = 0; i < THREADS; i++) ZERO(pthread_create(&t[i], NULL, pi_waiter, NULL));
        FAILS(futex(&pi_condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)10l, &pi_mutex, 7), EAGAIN);
        int moved = 0;
        int64_t end = now() + 60000000000ll;
        if (free)
        {
            while ((moved += futex(&pi_condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)10l, &pi_mutex, 0)) < THREADS) { CHECK(now() < end); sched_yield(); }
        }
        else
        {
            while ((moved += futex(&pi_condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1l, &pi_mutex, 0)) < THREADS) { CHECK(now() < end); sched_yield(); }
            EQUAL(pi_waiting, THREADS);
            EQUAL(pi_done, 0);
            CHECK(pi_mutex == (me | FUTEX_WAITERS));
            ZERO(futex(&pi_mutex, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
        }
        EQUAL(moved, THREADS);
        for (int i = 0; i < THREADS; i++) ZERO(pthread_join(t[i], NULL));
        EQUAL(pi_done, THREADS);
    }
}
struct waitv { unsigned long value, address; unsigned flags, nothing; };
static unsigned many_words[3];
static void *wait_for_any(void *unused)
{
    (void)unused;
    struct waitv v[3];
    for (int i = 0; i < 3; i++) v[i] = (struct waitv){ 0, (unsigned long)&many_words[i], 2 | 128, 0 };
    return (void *)syscall(449, v, 3, 0, NULL, 0);
}
CASE(thread_futex_waitv, "noqemu")
{
    struct waitv v[2] = { { 0, (unsigned long)&many_words[0], 2 | 128, 0 }, { 1, (unsigned long)&many_words[1], 2, 0 } };
    if (syscall(449, v, 2, 1, NULL, 0) == -1 && errno == ENOSYS) return; // a host before 5.16
    FAILS(syscall(449, v, 0, 0, NULL, 0), EINVAL);
    FAILS(syscall(449, v, 2, 1, NULL, 0), EINVAL);
    FAILS(syscall(449, v, 2, 0, NULL, 0), EAGAIN);
    v[1].value = 0;
    struct timespec t;
    ZERO(clock_gettime(CLOCK_MONOTONIC, &t));
    FAILS(syscall(449, v, 2, 0, &t, CLOCK_MONOTONIC), ETIMEDOUT);
    FAILS(syscall(449, v, 2, 0, &t, 7), EINVAL);
    v[1].flags = 0;
    FAILS(syscall(449, v, 2, 0, &t, CLOCK_MONOTONIC), EINVAL);
    v[1].flags = 2, v[1].address = 8;
    FAILS(syscall(449, v, 2, 0, &t, CLOCK_MONOTONIC), EFAULT);
    for (int i = 0; i < 3; i++)
    {
        pthread_t thread;
        void *woken;
        int64_t end = now() + 60000000000ll;
        ZERO(pthread_create(&thread, NULL, wait_for_any, NULL));
        while (futex(&many_words[i], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0) { CHECK(now() < end); sched_yield(); }
        ZERO(pthread_join(thread, &woken));
        EQUAL((long)woken, i);
    }
}
// A shared futex in two mappings of one file.
static void *wait_shared(void *w)
{
    while (futex(w, FUTEX_WAIT, 0, NULL, NULL, 0) == -1 && errno == EINTR) { }
    return NULL;
}
CASE(thread_futex_shared_mapping)
{
    int fd = temporary();
    ZERO(ftruncate(fd, PAGE));
    unsigned *a = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *b = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(a != b);
    pthread_t t = start(wait_shared, a);
    int64_t end = now() + 20000000000ll;
    while (futex(b, FUTEX_WAKE, 1, NULL, NULL, 0) == 0) { sched_yield(); CHECK(now() < end); }
    join(t);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int initialised;
static void initialise(void) { initialised++; sleep_ms(2); }
static void *call_once(void *unused) { (void)unused; pthread_once(&once, initialise); EQUAL(initialised, 1); return (void *)syscall(SYS_gettid); }
CASE(thread_once_and_ids)
{
    pthread_t t[10];
    long ids[11];
    for (int i = 0; i < 10; i++) t[i] = start(call_once, NULL);
    for (int i = 0; i < 10; i++) ids[i] = (long)join(t[i]);
    ids[10] = syscall(SYS_gettid);
    EQUAL(ids[10], getpid());
    for (int i = 0; i < 11; i++) for (int k = 0; k < i; k++) CHECK(ids[i] != ids[k]);
    pthread_attr_t a;
    void *stack;
    size_t size;
    char here;
    ZERO(pthread_getattr_np(pthread_self(), &a));
    ZERO(pthread_attr_getstack(&a, &stack, &size));
    CHECK(&here > (char *)stack && &here < (char *)stack + size);
    cpu_set_t cpus;
    ZERO(sched_getaffinity(0, sizeof cpus, &cpus));
    CHECK(CPU_COUNT(&cpus) >= 1);
    CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
}

static void *named(void *arg)
{
    pthread_barrier_t *b = arg;
    pthread_setname_np(pthread_self(), "a-name-of-mine");
    pthread_barrier_wait(b);
    pthread_barrier_wait(b);
    return 0;
}

// Each thread has a name of its own in /proc.
CASE(thread_names)
{
    pthread_barrier_t b;
    char name[16], before[16];
    ZERO(pthread_barrier_init(&b, 0, 2));
    ZERO(pthread_getname_np(pthread_self(), before, sizeof before));
    pthread_t t = start(named, &b);
    pthread_barrier_wait(&b);
    ZERO(pthread_getname_np(t, name, sizeof name));
    EQUAL(strcmp(name, "a-name-of-mine"), 0);
    ZERO(pthread_getname_np(pthread_self(), name, sizeof name));
    EQUAL(strcmp(name, before), 0);
    pthread_barrier_wait(&b);
    join(t);
}
