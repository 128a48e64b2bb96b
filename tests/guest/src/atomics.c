// Atomics and the memory model: LR/SC rules, AMOs, ABA, litmus tests of RVWMO.
#include "guest.h"
#ifdef __riscv

CASE(atomic_lr_sc_rules)
{
    static uint64_t a = 5, b = 5;
    long failed, v;
    // SC without LR; after another SC; to another address; LR.W then SC.W.
    __asm__ volatile("sc.d %0, zero, (%1)\n" : "=&r"(failed) : "r"(&b) : "memory");
    for (int i = 0; i < 3; i++)
    {
        __asm__ volatile("lr.d %1, (%2)\n sc.d %0, %3, (%2)\n" : "=&r"(failed), "=&r"(v) : "r"(&a), "r"(6l) : "memory");
        if (!failed) break;
    }
    EQUAL(failed, 0); EQUAL(v, 5); EQUAL(a, 6);
    __asm__ volatile("sc.d %0, %2, (%1)\n" : "=&r"(failed) : "r"(&a), "r"(7l) : "memory");
    CHECK(failed != 0);
    EQUAL(a, 6);
    b = 6;
    __asm__ volatile("lr.d %1, (%2)\n sc.d %0, %4, (%3)\n" : "=&r"(failed), "=&r"(v) : "r"(&a), "r"(&b), "r"(9l) : "memory");
    CHECK(failed != 0);
    EQUAL(b, 6);
    __asm__ volatile("sc.d %0, %2, (%1)\n" : "=&r"(failed) : "r"(&a), "r"(9l) : "memory");
    CHECK(failed != 0);                      // an SC ends the reservation, fail or not
    EQUAL(a, 6);
    a = 0xffffffff80000001;
    __asm__ volatile("1: lr.w %1, (%2)\n sc.w %0, %3, (%2)\n bnez %0, 1b" : "=&r"(failed), "=&r"(v) : "r"(&a), "r"(0x123456789l) : "memory");
    EQUAL(v, (int)0x80000001);
    EQUAL(a, 0xffffffff23456789);
    // Failed SC by SIGSEGV: read-only memory.
    char *ro = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!CATCH()) { __asm__ volatile("amoadd.w zero, %0, (%1)" :: "r"(1l), "r"(ro) : "memory"); CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV); EQUAL(fault_seen.address, ro);
    if (!CATCH()) { __asm__ volatile("lr.w zero, (%0)" :: "r"(16l) : "memory"); CHECK(0); }
    EQUAL(fault_seen.signal, SIGSEGV); EQUAL(fault_seen.address, 16);
}

CASE(atomic_amo_values)
{
    uint64_t seed = 3;
#define AMO(name, type, expression) do { \
        for (int i = 0; i < 200; i++) { \
            uint64_t x = random64(&seed), y = random64(&seed), mem = x; \
            if (i % 8 == 0) y = x; \
            if (i % 8 == 1) x = mem = 0x8000000080000000, y = 0x7fffffff7fffffff; \
            long got; \
            __asm__ volatile(name " %0, %2, (%1)" : "=&r"(got) : "r"(&mem), "r"(y) : "memory"); \
            type p = (type)x, q = (type)y, r = (type)(expression); \
            EQUAL(got, sizeof(type) == 4 ? (long)(int)x : (long)x); \
            if (sizeof(type) == 4) { EQUAL((uint32_t)mem, (uint32_t)r); EQUAL(mem >> 32, x >> 32); } else EQUAL(mem, (uint64_t)r); \
            (void)p; (void)q; } } while (0)
    AMO("amoadd.w", uint32_t, p + q); AMO("amoadd.d", uint64_t, p + q);
    AMO("amoswap.w", uint32_t, q); AMO("amoswap.d.aqrl", uint64_t, q);
    AMO("amoxor.w", uint32_t, p ^ q); AMO("amoxor.d", uint64_t, p ^ q);
    AMO("amoand.w.aq", uint32_t, p & q); AMO("amoand.d", uint64_t, p & q);
    AMO("amoor.w", uint32_t, p | q); AMO("amoor.d.rl", uint64_t, p | q);
    AMO("amomin.w", int32_t, p < q ? p : q); AMO("amomin.d", int64_t, p < q ? p : q);
    AMO("amomax.w", int32_t, p > q ? p : q); AMO("amomax.d", int64_t, p > q ? p : q);
    AMO("amominu.w", uint32_t, p < q ? p : q); AMO("amominu.d", uint64_t, p < q ? p : q);
    AMO("amomaxu.w", uint32_t, p > q ? p : q); AMO("amomaxu.d", uint64_t, p > q ? p : q);
}

static struct { uint64_t add, xor, max, min, bits, swap_sum; uint32_t word_lo, word_hi; uint8_t bytes[8]; uint16_t halves[4]; uint64_t cas; } shared __attribute__((aligned(64)));

// fetch-and-add of a byte or a half through an LR/SC loop on the word that holds it, as compilers do it.
static void add_sub_word(void *p, int bits, unsigned n)
{
    uint32_t *word = (uint32_t *)((uintptr_t)p & ~3ul);
    unsigned shift = ((uintptr_t)p & 3) * 8, mask = ((bits == 8 ? 0xffu : 0xffffu) << shift);
    uint32_t old, tmp, add = n << shift;
    __asm__ volatile("1: lr.w.aq %0, (%2)\n addw %1, %0, %3\n xor %1, %1, %0\n and %1, %1, %4\n xor %1, %1, %0\n sc.w.rl %1, %1, (%2)\n bnez %1, 1b"
        : "=&r"(old), "=&r"(tmp) : "r"(word), "r"(add), "r"(mask) : "memory");
}

static pthread_barrier_t barrier;
static void *hammer(void *which)
{
    long me = (long)which;
    pthread_barrier_wait(&barrier);
    uint64_t swapped = 0;
    for (long i = 1, n = scaled(50000); i <= n; i++)
    {
        __atomic_fetch_add(&shared.add, (uint64_t)i, __ATOMIC_RELAXED);
        __atomic_fetch_xor(&shared.xor, (uint64_t)(i * (me + 1)), __ATOMIC_ACQ_REL);
        __asm__ volatile("amomax.d zero, %0, (%1)\n amomin.d zero, %2, (%3)" :: "r"(i + me), "r"(&shared.max), "r"(-i - me), "r"(&shared.min) : "memory");
        __atomic_fetch_or(&shared.bits, 1ul << (i & 15) << (16 * me), __ATOMIC_SEQ_CST);
        swapped += __atomic_exchange_n(&shared.swap_sum, (uint64_t)i, __ATOMIC_ACQ_REL);
        __atomic_fetch_add(&shared.word_lo, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&shared.word_hi, 3, __ATOMIC_RELAXED);
        add_sub_word(&shared.bytes[me], 8, 1);
        add_sub_word(&shared.bytes[me + 4], 8, 3);
        add_sub_word(&shared.halves[me], 16, 1);
        uint64_t old = __atomic_load_n(&shared.cas, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&shared.cas, &old, old * 3 + 1 - old * 2, 1, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) { }
    }
    return (void *)swapped;
}
CASE(atomic_sums)
{
    pthread_t t[4];
    uint64_t swapped = 0;
    pthread_barrier_init(&barrier, NULL, 4);
    for (long i = 0; i < 4; i++) t[i] = start(hammer, (void *)i);
    for (int i = 0; i < 4; i++) swapped += (uint64_t)join(t[i]);
    uint64_t n = (uint64_t)scaled(50000), x = 0;
    for (uint64_t i = 1; i <= n; i++) for (uint64_t m = 0; m < 4; m++) x ^= i * (m + 1);
    EQUAL(shared.add, 4 * (n * (n + 1) / 2));
    EQUAL(shared.xor, x);
    EQUAL(shared.max, n + 3);
    EQUAL(shared.min, -(n + 3));
    if (n >= 16) EQUAL(shared.bits, -1l);
    EQUAL(swapped + shared.swap_sum, 4 * (n * (n + 1) / 2));
    EQUAL(shared.word_lo, (uint32_t)(4 * n));
    EQUAL(shared.word_hi, (uint32_t)(12 * n));
    for (int i = 0; i < 4; i++)
    {
        EQUAL(shared.bytes[i], (uint8_t)n); EQUAL(shared.bytes[i + 4], (uint8_t)(3 * n));
        EQUAL(shared.halves[i], (uint16_t)n);
    }
    EQUAL(shared.cas, 4 * n);
}

// A stack of nodes whose pop loads head and next between LR and SC: correct with reservations, broken with a plain compare-and-swap (ABA).
#define NODES 4
#define ABA_THREADS 4
struct node { struct node *next; long owner; long padding[6]; };
static struct node nodes[NODES] __attribute__((aligned(64)));
static struct { struct node *head; char padding[120]; } stack __attribute__((aligned(128)));

static struct node *pop(void)
{
    struct node *h, *next;
    long failed;
    __asm__ volatile("1: lr.d.aq %0, (%3)\n beqz %0, 2f\n ld %1, 0(%0)\n sc.d.rl %2, %1, (%3)\n bnez %2, 1b\n2:" : "=&r"(h), "=&r"(next), "=&r"(failed) : "r"(&stack.head) : "memory");
    return h;
}
// The same with a gap in which others come in between: unconstrained, may fail for ever in theory, not in practice.
static struct node *slow_pop(uint64_t spin)
{
    struct node *h, *next;
    long failed;
    __asm__ volatile("1: lr.d.aq %0, (%3)\n beqz %0, 2f\n ld %1, 0(%0)\n mv %2, %4\n3: addi %2, %2, -1\n bgtz %2, 3b\n sc.d.rl %2, %1, (%3)\n beqz %2, 2f\n li %0, -1\n2:"
        : "=&r"(h), "=&r"(next), "=&r"(failed) : "r"(&stack.head), "r"(spin) : "memory");
    return h;
}
static void push(struct node *n)
{
    struct node *h;
    long failed;
    __asm__ volatile("1: lr.d %0, (%2)\n sd %0, 0(%3)\n sc.d.rl %1, %3, (%2)\n bnez %1, 1b" : "=&r"(h), "=&r"(failed) : "r"(&stack.head), "r"(n) : "memory");
}
static void *push_and_pop(void *which)
{
    long me = (long)which + 1;
    uint64_t seed = (uint64_t)me;
    pthread_barrier_wait(&barrier);
    for (long i = 0, n = scaled(100000); i < n; i++)
    {
        struct node *a, *b;
        if ((i & 3) == 0) { a = slow_pop(random64(&seed) % 64); if (a == (struct node *)-1) a = NULL; }
        else a = pop();
        b = (i & 1) ? pop() : NULL;
        if (a) { long was = __atomic_exchange_n(&a->owner, me, __ATOMIC_ACQ_REL); if (was) fail(__FILE__, __LINE__, "a node popped twice", was, me); }
        if (b) { long was = __atomic_exchange_n(&b->owner, me, __ATOMIC_ACQ_REL); if (was) fail(__FILE__, __LINE__, "a node popped twice", was, me); }
        if (random64(&seed) % 64 == 0) sched_yield();
        if (a) { __atomic_store_n(&a->owner, 0, __ATOMIC_RELEASE); push(a); }
        if (b) { __atomic_store_n(&b->owner, 0, __ATOMIC_RELEASE); push(b); }
    }
    return NULL;
}
CASE(atomic_lr_sc_stack_aba, "noqemu: compares values, so ABA goes through")
{
    pthread_t t[ABA_THREADS];
    pthread_barrier_init(&barrier, NULL, ABA_THREADS);
    for (int i = 0; i < NODES; i++) push(&nodes[i]);
    for (long i = 0; i < ABA_THREADS; i++) t[i] = start(push_and_pop, (void *)i);
    for (int i = 0; i < ABA_THREADS; i++) join(t[i]);
    int count = 0, mask = 0;
    for (struct node *n = stack.head; n; n = n->next) { CHECK(++count <= NODES); mask |= 1 << (n - nodes); }
    EQUAL(count, NODES);
    EQUAL(mask, (1 << NODES) - 1);
}

// Deterministic ABA: between this thread's LR and SC another one takes a, takes b, puts a back. A real reservation is gone.
static volatile int turn;
static void *interfere(void *unused)
{
    (void)unused;
    while (turn != 1) { }
    struct node *a = pop(), *b = pop();
    CHECK(a == &nodes[0] && b == &nodes[1]);
    push(a);
    __atomic_store_n(&turn, 2, __ATOMIC_SEQ_CST);
    return NULL;
}
CASE(atomic_lr_sc_aba_deterministic, "noqemu: compares values, so ABA goes through")
{
    for (int round = 0; round < 50; round++)
    {
        stack.head = NULL;
        push(&nodes[2]);
        push(&nodes[1]);
        push(&nodes[0]);
        turn = 0;
        pthread_t t = start(interfere, NULL);
        struct node *h, *next;
        long failed;
        // Stores to other addresses between LR and SC may end the reservation; that is the right answer here as well.
        __asm__ volatile("lr.d.aq %0, (%3)\n ld %1, 0(%0)\n li %2, 1\n sw %2, %5\n 1: lw %2, %5\n addi %2, %2, -2\n bnez %2, 1b\n sc.d.rl %2, %1, (%4)"
            : "=&r"(h), "=&r"(next), "=&r"(failed) : "r"(&stack.head), "r"(&stack.head), "m"(turn) : "memory");
        join(t);
        CHECK(h == &nodes[0] && next == &nodes[1]);
        if (!failed) fail(__FILE__, __LINE__, "the store-conditional fails after the location was written", round, 0);
        CHECK(stack.head == &nodes[0] && nodes[0].next == &nodes[2]);
    }
}

// ---- Litmus tests. Threads walk the same array of instances; forbidden outcomes must not occur, the others are counted.
#define INSTANCES 1024
struct instance { long x, px[7], y, py[7]; };
static struct instance at[INSTANCES] __attribute__((aligned(128)));
static int r[4][INSTANCES][2];
typedef void (*litmus_step)(struct instance *, int *);
struct litmus { int threads; litmus_step step[4]; };
static struct litmus *litmus;
static atomic_int arrived;
static volatile int go;
static int rounds;

static void spin_until(int wanted) { for (int i = 0; go < wanted; i++) if (i > 2000) { sched_yield(); i = 0; } }
static void *walk(void *which)
{
    long me = (long)which;
    litmus_step step = litmus->step[me];
    for (int round = 1; round <= rounds; round++)
    {
        spin_until(round);
        int shift = (round * 7 * (int)me) % 5;           // different starts: different interleavings
        for (volatile int i = 0; i < shift; i++) { }
        for (int i = 0; i < INSTANCES; i++) step(&at[i], r[me][i]);
        arrived++;
    }
    return NULL;
}
static long run_litmus(struct litmus *l, int (*outcome)(int), const char *name, int forbidden)
{
    pthread_t t[4];
    long count = 0;
    litmus = l;
    rounds = (int)scaled(1000);
    go = 0;
    for (long i = 0; i < l->threads; i++) t[i] = start(walk, (void *)i);
    for (int round = 1; round <= rounds; round++)
    {
        memset(at, 0, sizeof at);
        memset(r, 0, sizeof r);
        arrived = 0;
        __atomic_store_n(&go, round, __ATOMIC_SEQ_CST);
        for (int i = 0; arrived < l->threads; i++) if (i > 2000) { sched_yield(); i = 0; }
        for (int i = 0; i < INSTANCES; i++) count += outcome(i);
    }
    for (int i = 0; i < l->threads; i++) join(t[i]);
    printf("%s: %ld of %ld%s\n", name, count, (long)rounds * INSTANCES, forbidden ? " (forbidden)" : "");
    if (forbidden && count) fail(__FILE__, __LINE__, name, count, 0);
    return count;
}
#define STEP(name, code) static void name(struct instance *i, int *out) { (void)out; long a = 0, b = 0; __asm__ volatile(code : "=&r"(a), "=&r"(b) : "r"(&i->x), "r"(&i->y), "r"(1l), "r"(2l) : "memory"); out[0] = (int)a; out[1] = (int)b; }
#define INIT " li %0, 0\n li %1, 0\n "

STEP(mp_w, INIT "sd %4, (%2)\n sd %4, (%3)") STEP(mp_r, "ld %0, (%3)\n ld %1, (%2)")
STEP(mp_wf, INIT "sd %4, (%2)\n fence w,w\n sd %4, (%3)") STEP(mp_rf, "ld %0, (%3)\n fence r,r\n ld %1, (%2)")
STEP(mp_wrl, INIT "sd %4, (%2)\n amoswap.d.rl %0, %4, (%3)\n li %0, 0") STEP(mp_raq, "lr.d.aq %0, (%3)\n ld %1, (%2)")
STEP(mp_wtso, INIT "sd %4, (%2)\n fence.tso\n sd %4, (%3)") STEP(mp_rtso, "ld %0, (%3)\n fence.tso\n ld %1, (%2)")
STEP(mp_rdep, "ld %0, (%3)\n xor %1, %0, %0\n add %1, %1, %2\n ld %1, (%1)")
static int mp(int i) { return r[1][i][0] == 1 && r[1][i][1] == 0; }
CASE(litmus_mp, "long")
{
    struct litmus plain = { 2, { mp_w, mp_r } }, fences = { 2, { mp_wf, mp_rf } }, aqrl = { 2, { mp_wrl, mp_raq } }, tso = { 2, { mp_wtso, mp_rtso } }, dependency = { 2, { mp_wf, mp_rdep } };
    run_litmus(&plain, mp, "MP plain", 0);
    run_litmus(&fences, mp, "MP fence w,w + fence r,r", 1);
    run_litmus(&aqrl, mp, "MP amoswap.rl + lr.aq", 1);
    run_litmus(&tso, mp, "MP fence.tso", 1);
    run_litmus(&dependency, mp, "MP fence w,w + address dependency", 1);
}

STEP(sb_0, INIT "sd %4, (%2)\n ld %0, (%3)") STEP(sb_1, INIT "sd %4, (%3)\n ld %0, (%2)")
STEP(sbf_0, INIT "sd %4, (%2)\n fence rw,rw\n ld %0, (%3)") STEP(sbf_1, INIT "sd %4, (%3)\n fence rw,rw\n ld %0, (%2)")
STEP(sbw_0, INIT "sd %4, (%2)\n fence w,r\n ld %0, (%3)") STEP(sbw_1, INIT "sd %4, (%3)\n fence w,r\n ld %0, (%2)")
STEP(sba_0, INIT "amoswap.d.aqrl %1, %4, (%2)\n ld %0, (%3)") STEP(sba_1, INIT "amoswap.d.aqrl %1, %4, (%3)\n ld %0, (%2)")
STEP(sbm_0, INIT "sd %4, (%2)\n fence\n lr.d.aq %0, (%3)") STEP(sbm_1, INIT "amoor.d.aq %1, %4, (%3)\n ld %0, (%2)")
static int sb(int i) { return r[0][i][0] == 0 && r[1][i][0] == 0; }
CASE(litmus_sb, "long")
{
    struct litmus plain = { 2, { sb_0, sb_1 } }, fences = { 2, { sbf_0, sbf_1 } }, wr = { 2, { sbw_0, sbw_1 } }, amo = { 2, { sba_0, sba_1 } }, mixed = { 2, { sbm_0, sbm_1 } };
    run_litmus(&plain, sb, "SB plain", 0);
    run_litmus(&fences, sb, "SB fence rw,rw", 1);
    run_litmus(&wr, sb, "SB fence w,r", 1);
    run_litmus(&amo, sb, "SB amoswap.aqrl", 1);
    run_litmus(&mixed, sb, "SB fence + amoor.aq", 1);
}

STEP(lb_0, INIT "ld %0, (%2)\n sd %4, (%3)") STEP(lb_1, INIT "ld %0, (%3)\n sd %4, (%2)")
STEP(lbf_0, INIT "ld %0, (%2)\n fence r,w\n sd %4, (%3)") STEP(lbf_1, INIT "ld %0, (%3)\n fence r,w\n sd %4, (%2)")
STEP(lbd_0, INIT "ld %0, (%2)\n xor %1, %0, %0\n addi %1, %1, 1\n sd %1, (%3)\n li %1, 0") STEP(lbd_1, INIT "ld %0, (%3)\n xor %1, %0, %0\n addi %1, %1, 1\n sd %1, (%2)\n li %1, 0")
static int lb(int i) { return r[0][i][0] == 1 && r[1][i][0] == 1; }
CASE(litmus_lb, "long")
{
    struct litmus plain = { 2, { lb_0, lb_1 } }, fences = { 2, { lbf_0, lbf_1 } }, data = { 2, { lbd_0, lbd_1 } };
    run_litmus(&plain, lb, "LB plain", 0);
    run_litmus(&fences, lb, "LB fence r,w", 1);
    run_litmus(&data, lb, "LB data dependency", 1);
}

STEP(corr_w, INIT "sd %4, (%2)\n sd %5, (%2)") STEP(corr_r, "ld %0, (%2)\n ld %1, (%2)")
static int corr(int i) { return r[1][i][0] > r[1][i][1]; }
STEP(cow_0, "sd %4, (%2)\n ld %0, (%2)\n li %1, 0") STEP(cow_1, "sd %5, (%2)\n ld %0, (%2)\n li %1, 0")
static int cow(int i) { return (r[0][i][0] == 2 && at[i].x == 1) || (r[1][i][0] == 1 && at[i].x == 2); }
CASE(litmus_coherence, "long")
{
    struct litmus read_read = { 2, { corr_w, corr_r } }, own = { 2, { cow_0, cow_1 } };
    run_litmus(&read_read, corr, "CoRR", 1);
    run_litmus(&own, cow, "CoRW", 1);
}

STEP(w22_0, INIT "sd %4, (%2)\n sd %5, (%3)") STEP(w22_1, INIT "sd %4, (%3)\n sd %5, (%2)")
STEP(w22f_0, INIT "sd %4, (%2)\n fence w,w\n sd %5, (%3)") STEP(w22f_1, INIT "sd %4, (%3)\n fence w,w\n sd %5, (%2)")
static int w22(int i) { return at[i].x == 1 && at[i].y == 1; }
CASE(litmus_2_2w, "long")
{
    struct litmus plain = { 2, { w22_0, w22_1 } }, fences = { 2, { w22f_0, w22f_1 } };
    run_litmus(&plain, w22, "2+2W plain", 0);
    run_litmus(&fences, w22, "2+2W fence w,w", 1);
}

STEP(iriw_wx, INIT "sd %4, (%2)") STEP(iriw_wy, INIT "sd %4, (%3)")
STEP(iriw_xy, "ld %0, (%2)\n fence r,r\n ld %1, (%3)") STEP(iriw_yx, "ld %0, (%3)\n fence r,r\n ld %1, (%2)")
static int iriw(int i) { return r[2][i][0] == 1 && r[2][i][1] == 0 && r[3][i][0] == 1 && r[3][i][1] == 0; }
CASE(litmus_iriw, "long")
{
    struct litmus fences = { 4, { iriw_wx, iriw_wy, iriw_xy, iriw_yx } };
    run_litmus(&fences, iriw, "IRIW fence r,r", 1);
}

// Dekker: a fence that lets a load pass an earlier store shows as two threads in the critical section.
static volatile long flags[2][16];
static volatile long in_section, entered[2];
static void *dekker(void *which)
{
    long me = (long)which;
    pthread_barrier_wait(&barrier);
    for (long i = 0, n = scaled(200000); i < n; i++)
    {
        flags[me][0] = 1;
        __asm__ volatile("fence rw,rw" ::: "memory");
        if (flags[1 - me][0] == 0)
        {
            if (++in_section != 1) fail(__FILE__, __LINE__, "alone in the critical section", in_section, i);
            entered[me]++;
            if (--in_section != 0) fail(__FILE__, __LINE__, "alone in the critical section", in_section, i);
        }
        __asm__ volatile("fence rw,w" ::: "memory");
        flags[me][0] = 0;
        if (i % 5000 == 0) sched_yield();
    }
    return NULL;
}
CASE(litmus_dekker)
{
    pthread_t t[2];
    pthread_barrier_init(&barrier, NULL, 2);
    for (long i = 0; i < 2; i++) t[i] = start(dekker, (void *)i);
    for (int i = 0; i < 2; i++) join(t[i]);
    CHECK(entered[0] + entered[1] > 0);
}
#endif
