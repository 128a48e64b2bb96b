/* Four threads on shared counters: atomic adds, a compare-and-swap stack, a mutex. */
#include "kernel.h"
#include <pthread.h>
#include <stdatomic.h>
static atomic_long counter;
static _Atomic(u64) word;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long guarded, per_thread;
static void *work(void *arg)
{
    (void)arg;
    for (long i = 0; i < per_thread; i++) {
        atomic_fetch_add(&counter, 1);
        u64 w = atomic_load(&word);
        while (!atomic_compare_exchange_weak(&word, &w, w + 3)) {}
        if (i % 16 == 0) { pthread_mutex_lock(&lock); guarded++; pthread_mutex_unlock(&lock); }
    }
    return 0;
}
KERNEL(400000)
{
    pthread_t t[4];
    per_thread = rounds;
    for (int i = 0; i < 4; i++) if (pthread_create(&t[i], 0, work, 0)) return 0;
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    return mix(mix(counter, word), guarded);
}
