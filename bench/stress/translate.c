// Makes translators work: threads that write functions with ever different constants into their own pages and call each of them.
//   translate THREADS SECONDS [FUNCTIONS [CALLS]]
// FUNCTIONS per thread and round (default 4096), each called CALLS times in turn (default 1: every call runs new code). Prints functions made and
// calls done per second by all threads together. Every result is checked.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define WORDS 24 // instructions per function: 20 of work, a conditional branch, the return; two blocks

static int functions = 4096, calls = 1;
static double seconds;
static pthread_barrier_t barrier;
static struct { uint64_t made, called; char padding[112]; } counts[64];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t addi(int rd, int rs, int imm) { return (uint32_t)(imm & 0xfff) << 20 | (uint32_t)rs << 15 | (uint32_t)rd << 7 | 0x13; }
static uint32_t xori(int rd, int rs, int imm) { return (uint32_t)(imm & 0xfff) << 20 | (uint32_t)rs << 15 | 4 << 12 | (uint32_t)rd << 7 | 0x13; }
static uint32_t slli(int rd, int rs, int n) { return (uint32_t)n << 20 | (uint32_t)rs << 15 | 1 << 12 | (uint32_t)rd << 7 | 0x13; }

// One function at p, and what it returns for argument x.
static uint64_t make(uint32_t *p, uint64_t seed, uint64_t x)
{
    for (int i = 0; i < 20; i++)
    {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int imm = (int)(seed >> 40 & 0x7ff);
        switch (seed >> 60 & 3)
        {
        case 0: *p++ = addi(10, 10, imm); x += (uint64_t)imm; break;
        case 1: *p++ = xori(10, 10, imm); x ^= (uint64_t)imm; break;
        case 2: *p++ = slli(10, 10, 1); x <<= 1; break;
        default: *p++ = 0x00a50533; x += x; break; // add a0, a0, a0
        }
        if (i == 9) *p++ = 0x00051463, *p++ = addi(10, 10, 1), x += x == 0; // bnez a0, +8; addi a0, a0, 1
    }
    *p++ = 0x00008067;
    return x;
}

static void *work(void *which)
{
    long me = (long)which;
    uint32_t *code = mmap(NULL, (size_t)functions * WORDS * 4, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t *wanted = malloc((size_t)functions * sizeof *wanted), seed = (uint64_t)me + 1;
    if (code == MAP_FAILED || !wanted) exit(2);
    pthread_barrier_wait(&barrier);
    for (double end = now() + seconds; now() < end; )
    {
        for (int i = 0; i < functions; i++) wanted[i] = make(code + (size_t)i * WORDS, seed++, (uint64_t)i + 1);
        __builtin___clear_cache((char *)code, (char *)(code + (size_t)functions * WORDS));
        counts[me].made += (uint64_t)functions;
        for (int round = 0; round < calls && (round == 0 || now() < end); round++)
        {
            for (int i = 0; i < functions; i++)
            {
                uint64_t (*f)(uint64_t) = (uint64_t (*)(uint64_t))(void *)(code + (size_t)i * WORDS);
                if (f((uint64_t)i + 1) != wanted[i])
                {
                    fprintf(stderr, "thread %ld, function %d: wrong result\n", me, i);
                    exit(1);
                }
            }
            counts[me].called += (uint64_t)functions;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    seconds = argc > 2 ? atof(argv[2]) : 1;
    if (argc > 3) functions = atoi(argv[3]);
    if (argc > 4) calls = atoi(argv[4]);
    if (threads < 1 || threads > 64 || functions < 1 || calls < 1) return 2;
    pthread_t t[64];
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    for (long i = 0; i < threads; i++) if (pthread_create(&t[i], NULL, work, (void *)i)) return 2;
    pthread_barrier_wait(&barrier);
    double start = now();
    uint64_t made = 0, called = 0;
    for (int i = 0; i < threads; i++) pthread_join(t[i], NULL), made += counts[i].made, called += counts[i].called;
    double took = now() - start;
    printf("threads %d made/s %.0f calls/s %.0f\n", threads, (double)made / took, (double)called / took);
    return 0;
}
