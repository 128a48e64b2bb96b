// Floating point: rounding modes, exception flags, NaN rules, conversions, text round trips.
#include "guest.h"
#include <fenv.h>
#include <float.h>
#include <math.h>

static double d(uint64_t bits) { double v; memcpy(&v, &bits, 8); return v; }
static uint64_t bits(double v) { uint64_t b; memcpy(&b, &v, 8); return b; }

static uint64_t hash = 14695981039346656037ul;
static void add(uint64_t v) { for (int i = 0; i < 8; i++) { hash ^= v >> (8 * i) & 0xff; hash *= 1099511628211ul; } }

CASE(float_rounding_modes)
{
    static const int modes[] = { FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD };
    static const double third[] = { 0x1.5555555555555p-2, 0x1.5555555555555p-2, 0x1.5555555555555p-2, 0x1.5555555555556p-2 };
    static const long rounded[4][6] = { { 2, 2, -2, -2, 4, -1 }, { 1, 2, -1, -2, 3, 0 }, { 1, 2, -2, -3, 3, -1 }, { 2, 3, -1, -2, 4, 0 } };
    static const double inputs[] = { 1.5, 2.5, -1.5, -2.5, 3.7, -0.7 };
    volatile double one = 1, three = 3, big = DBL_MAX, tiny = DBL_MIN;
    // The mode changes within the loop, so translated code must not have baked one in.
    for (int round = 0; round < 50; round++)
        for (int m = 0; m < 4; m++)
        {
            ZERO(fesetround(modes[m]));
            EQUAL(fegetround(), modes[m]);
            CHECK(one / three == third[m]);
            CHECK(-one / three == -third[m == 2 ? 3 : m == 3 ? 2 : m]);
            for (int i = 0; i < 6; i++) { volatile double v = inputs[i]; EQUAL(lrint(v), rounded[m][i]); CHECK(rint(v) == rounded[m][i]); }
            double over = big * three;
            CHECK(m == 0 || m == 3 ? isinf(over) : over == DBL_MAX);
            volatile float f = (float)(one + 0x1p-30);
            CHECK(f == (m == 3 ? 1 + 0x1p-23f : 1));
            volatile long odd = (1l << 60) + 1;
            volatile double from_long = (double)odd;
            CHECK(from_long == (m == 3 ? 0x1p60 + 256 : 0x1p60));
            CHECK((long)inputs[4] == 3);                 // a cast always truncates
            volatile double s = tiny / three;
            CHECK(bits(s) == (m == 3 ? 0x0005555555555556 : 0x0005555555555555));
            CHECK(sqrt(three - one) == (m == 0 || m == 3 ? 0x1.6a09e667f3bcdp+0 : 0x1.6a09e667f3bccp+0));
        }
    fesetround(FE_TONEAREST);
}

#define FLAGS(expression, wanted) do { feclearexcept(FE_ALL_EXCEPT); volatile double v_ = (expression); (void)v_; EQUAL(fetestexcept(FE_ALL_EXCEPT), wanted); } while (0)
CASE(float_exceptions)
{
    volatile double zero = 0, one = 1, three = 3, big = DBL_MAX, tiny = DBL_MIN, inf = INFINITY, quiet = NAN, snan = 0, half = 0.5;
    uint64_t signalling = 0x7ff0000000000001;
    memcpy((void *)&snan, &signalling, 8);
    for (int i = 0; i < 20; i++)
    {
        FLAGS(one + one, 0);
        FLAGS(one / three, FE_INEXACT);
        FLAGS(one / zero, FE_DIVBYZERO);
        FLAGS(zero / zero, FE_INVALID);
        FLAGS(big * big, FE_OVERFLOW | FE_INEXACT);
        FLAGS(tiny * tiny, FE_UNDERFLOW | FE_INEXACT);
        FLAGS(tiny * half, 0);                           // exact subnormal
        FLAGS(inf - inf, FE_INVALID);
        FLAGS(quiet + one, 0);
        FLAGS(snan + one, FE_INVALID);
        FLAGS(sqrt(-one), FE_INVALID);
        FLAGS(fma(inf, zero, one), FE_INVALID);
        FLAGS(fma(one, one, one), 0);
        FLAGS(quiet < one, FE_INVALID);
        FLAGS(quiet == one, 0);
        FLAGS(snan == one, FE_INVALID);
        FLAGS(isless(quiet, one), 0);
        FLAGS((double)(float)(one / three), FE_INEXACT);
        FLAGS(rint(half), FE_INEXACT);
        feclearexcept(FE_ALL_EXCEPT);
        volatile long l = (long)(volatile double)1e30;
        (void)l;
        volatile double huge = 1e30;
        l = (long)huge;
        EQUAL(fetestexcept(FE_ALL_EXCEPT), FE_INVALID);
        feraiseexcept(FE_OVERFLOW);
        CHECK(fetestexcept(FE_OVERFLOW));
        // Sticky until cleared, across a system call and saved and restored as a whole.
        fenv_t env;
        ZERO(fegetenv(&env));
        sched_yield();
        CHECK(fetestexcept(FE_OVERFLOW | FE_INVALID) == (FE_OVERFLOW | FE_INVALID));
        feclearexcept(FE_OVERFLOW);
        CHECK(fetestexcept(FE_OVERFLOW | FE_INVALID) == FE_INVALID);
        ZERO(fesetenv(&env));
        CHECK(fetestexcept(FE_OVERFLOW));
        feholdexcept(&env);
        EQUAL(fetestexcept(FE_ALL_EXCEPT), 0);
        feupdateenv(&env);
        CHECK(fetestexcept(FE_OVERFLOW));
    }
}

CASE(float_text_round_trip)
{
    // 100,000 doubles of every magnitude to text and back; the text's hash is glibc's own on any machine.
    uint64_t seed = 42;
    char text[64], *end;
    for (long i = 0, n = scaled(100000); i < n; i++)
    {
        uint64_t b = random64(&seed);
        if (i % 3 == 0) b = bits((double)(int64_t)b / (double)(1 + (random64(&seed) & 0xffff)));
        double v = d(b);
        if (isnan(v) || isinf(v)) continue;
        snprintf(text, sizeof text, "%.17g", v);
        EQUAL(bits(strtod(text, &end)), bits(v));
        EQUAL(*end, 0);
        for (char *c = text; *c; c++) add((unsigned char)*c);
        if (i % 10 == 0) { snprintf(text, sizeof text, "%.6f %e %a", fmod(v, 1e9), v, v); for (char *c = text; *c; c++) add((unsigned char)*c); }
        if (i == 999) EQUAL(hash, 0x16d3083ba1dd12db);
        if (i == 99999) EQUAL(hash, 0xa0fa3e25e65e522f);
    }
}

// What holds of every correct implementation.
CASE(float_identities)
{
    uint64_t seed = 7;
    for (long i = 0, n = scaled(20000); i < n; i++)
    {
        double x = (double)(int64_t)random64(&seed) * 0x1p-40, y = (double)(int64_t)random64(&seed) * 0x1p-50;
        CHECK(fma(x, y, 0) == x * y);
        double p = x * y, e = fma(x, y, -p);              // exact product as a sum
        CHECK(p + e == p);
        CHECK(fmod(x, y) == x - trunc(x / y) * y || fabs(x / y) > 1);
        CHECK(floor(x) <= x && ceil(x) >= x && fabs(trunc(x)) <= fabs(x) && fabs(round(x) - x) <= 0.5);
        double s = sqrt(fabs(x)), r = fma(s, s, -fabs(x));
        CHECK(fabs(r) <= fabs(x) * 0x1p-52);
        int exponent;
        double mantissa = frexp(x, &exponent);
        CHECK(ldexp(mantissa, exponent) == x);
        CHECK(copysign(fabs(x), x) == x && signbit(-x) != signbit(x));
        CHECK((double)(int64_t)trunc(x) == trunc(x));
        float f = (float)x, g = nextafterf(f, INFINITY);
        CHECK(g > f && nextafterf(g, -INFINITY) == f);
        CHECK(fabs(sin(x) * sin(x) + cos(x) * cos(x) - 1) < 1e-12);
        CHECK(fabs(log(exp(y * 0x1p-10)) - y * 0x1p-10) < 1e-12 * (1 + fabs(y)));
    }
}

#ifdef __riscv
static uint32_t fbits(float v) { uint32_t b; memcpy(&b, &v, 4); return b; }
#define OP2(insn, a, b) ({ double r_, a_ = d(a), b_ = d(b); __asm__ volatile(insn " %0, %1, %2" : "=f"(r_) : "f"(a_), "f"(b_)); bits(r_); })
#define OP1(insn, a) ({ double r_, a_ = d(a); __asm__ volatile(insn " %0, %1" : "=f"(r_) : "f"(a_)); bits(r_); })
#define QNAN 0x7ff8000000000000ul
#define SIGNALLING 0x7ff0000000000123ul
#define PAYLOAD 0xfff8000000000abcul
#define ONE 0x3ff0000000000000ul
#define NEGATIVE_ZERO 0x8000000000000000ul
CASE(float_nan_rules)
{
    // Arithmetic makes the canonical NaN, whatever payload comes in; moves, sign injection, loads and stores keep every bit.
    static const uint64_t nans[] = { QNAN, SIGNALLING, PAYLOAD, 0xfff0000000000001ul, 0x7fffffffffffffff };
    for (int i = 0; i < 5; i++)
    {
        EQUAL(OP2("fadd.d", nans[i], ONE), QNAN); EQUAL(OP2("fadd.d", ONE, nans[i]), QNAN);
        EQUAL(OP2("fsub.d", nans[i], ONE), QNAN); EQUAL(OP2("fmul.d", ONE, nans[i]), QNAN);
        EQUAL(OP2("fdiv.d", nans[i], nans[i]), QNAN); EQUAL(OP1("fsqrt.d", nans[i]), QNAN);
        EQUAL(OP2("fmin.d", nans[i], nans[i]), QNAN); EQUAL(OP2("fmax.d", QNAN, nans[i]), QNAN);
        EQUAL(OP2("fmin.d", nans[i], ONE), ONE); EQUAL(OP2("fmax.d", ONE, nans[i]), ONE);
        EQUAL(OP2("fsgnj.d", nans[i], ONE), nans[i] & ~NEGATIVE_ZERO);
        EQUAL(OP2("fsgnjn.d", nans[i], ONE), nans[i] | NEGATIVE_ZERO);
        EQUAL(OP2("fsgnjx.d", nans[i], NEGATIVE_ZERO), nans[i] ^ NEGATIVE_ZERO);
        uint64_t memory[2] = { nans[i], 0 };
        __asm__ volatile("fld ft0, 0(%0)\n fmv.d ft1, ft0\n fsd ft1, 8(%0)" :: "r"(memory) : "ft0", "ft1", "memory");
        EQUAL(memory[1], nans[i]);
    }
    EQUAL(OP2("fmin.d", 0, NEGATIVE_ZERO), NEGATIVE_ZERO); EQUAL(OP2("fmax.d", NEGATIVE_ZERO, 0), 0);
    EQUAL(OP2("fmin.d", NEGATIVE_ZERO, 0), NEGATIVE_ZERO); EQUAL(OP2("fmax.d", 0, NEGATIVE_ZERO), 0);
    EQUAL(OP2("fsub.d", 0x7ff0000000000000, 0x7ff0000000000000), QNAN);
    // A value of single precision in a register that is not boxed reads as NaN.
    uint64_t raw = 0x000000003f800000, boxed = 0xffffffff3f800000, out;
    __asm__ volatile("fmv.d.x ft0, %1\n fadd.s ft1, ft0, ft0\n fmv.x.d %0, ft1" : "=r"(out) : "r"(raw) : "ft0", "ft1");
    EQUAL(out, 0xffffffff7fc00000);
    __asm__ volatile("fmv.d.x ft0, %1\n fadd.s ft1, ft0, ft0\n fmv.x.d %0, ft1" : "=r"(out) : "r"(boxed) : "ft0", "ft1");
    EQUAL(out, 0xffffffff40000000);
    __asm__ volatile("fmv.d.x ft0, %1\n fmv.x.w %0, ft0" : "=r"(out) : "r"(0x1234567880000001) : "ft0");
    EQUAL(out, 0xffffffff80000001);
    __asm__ volatile("fmv.w.x ft0, %1\n fmv.x.d %0, ft0" : "=r"(out) : "r"(0x12345678) : "ft0");
    EQUAL(out, 0xffffffff12345678);
    __asm__ volatile("fmv.d.x ft0, %1\n fclass.s %0, ft0" : "=r"(out) : "r"(raw) : "ft0");
    EQUAL(out, 1 << 9);
    __asm__ volatile("fmv.d.x ft0, %1\n fclass.d %0, ft0" : "=r"(out) : "r"(SIGNALLING) : "ft0");
    EQUAL(out, 1 << 8);
}

#define TO(insn, type, v) ({ long r_; type v_ = v; __asm__ volatile(insn : "=r"(r_) : "f"(v_)); r_; })
CASE(float_conversions)
{
    static const struct { double v; long w, wu, l, lu; } all[] = {
        { 1.9, 1, 1, 1, 1 }, { -1.9, -1, 0, -1, 0 }, { -0.9, 0, 0, 0, 0 }, { 3e9, INT32_MAX, (int)3000000000u, 3000000000l, 3000000000l },
        { -3e9, INT32_MIN, 0, -3000000000l, 0 }, { 1e30, INT32_MAX, -1, INT64_MAX, -1 }, { -1e30, INT32_MIN, 0, INT64_MIN, 0 },
        { INFINITY, INT32_MAX, -1, INT64_MAX, -1 }, { -INFINITY, INT32_MIN, 0, INT64_MIN, 0 }, { NAN, INT32_MAX, -1, INT64_MAX, -1 }, { -NAN, INT32_MAX, -1, INT64_MAX, -1 },
        { 0x1p63, INT32_MAX, -1, INT64_MAX, INT64_MIN }, { -0x1p63, INT32_MIN, 0, INT64_MIN, 0 }, { 4294967295.0, INT32_MAX, -1, 4294967295l, 4294967295l } };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
    {
        EQUAL(TO("fcvt.w.d %0, %1, rtz", double, all[i].v), all[i].w);
        EQUAL(TO("fcvt.wu.d %0, %1, rtz", double, all[i].v), all[i].wu);
        EQUAL(TO("fcvt.l.d %0, %1, rtz", double, all[i].v), all[i].l);
        EQUAL(TO("fcvt.lu.d %0, %1, rtz", double, all[i].v), all[i].lu);
        if ((double)(float)all[i].v == all[i].v || isnan(all[i].v))
        {
            EQUAL(TO("fcvt.w.s %0, %1, rtz", float, (float)all[i].v), all[i].w);
            EQUAL(TO("fcvt.lu.s %0, %1, rtz", float, (float)all[i].v), all[i].lu);
        }
    }
    EQUAL(TO("fcvt.l.d %0, %1, rne", double, 2.5), 2);
    EQUAL(TO("fcvt.l.d %0, %1, rmm", double, 2.5), 3);
    EQUAL(TO("fcvt.l.d %0, %1, rmm", double, -2.5), -3);
    EQUAL(TO("fcvt.l.d %0, %1, rdn", double, -2.5), -3);
    EQUAL(TO("fcvt.l.d %0, %1, rup", double, 2.1), 3);
    // Round to nearest, ties away: in a static mode and through frm.
    double out, a = 1, b = 0x1p-53;
    __asm__ volatile("fadd.d %0, %1, %2, rmm" : "=f"(out) : "f"(a), "f"(b));
    CHECK(out == 1 + 0x1p-52);
    __asm__ volatile("fsrmi t0, 4\n fadd.d %0, %1, %2\n fsrm t0" : "=f"(out) : "f"(a), "f"(b) : "t0");
    CHECK(out == 1 + 0x1p-52);
    // An unassigned rounding mode is an illegal instruction when an instruction uses it.
    if (!CATCH()) { __asm__ volatile("fsrmi 5\n fadd.d %0, %1, %2\n" : "=f"(out) : "f"(a), "f"(b)); CHECK(!"frm 5 was used"); }
    EQUAL(fault_seen.signal, SIGILL);
    __asm__ volatile("fsrmi 0");
    EQUAL(fbits((float)d(0x36a0000000000000)), 1);        // smallest subnormal
    EQUAL(fbits((float)d(0x36f0000000000000)), 0x20);
}
#endif

// FP state of threads is their own: each keeps its rounding mode and flags.
static void *own_mode(void *which)
{
    static const int modes[] = { FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD };
    int mode = modes[(long)which & 3];
    fesetround(mode);
    volatile double one = 1, three = -3;
    feclearexcept(FE_ALL_EXCEPT);
    for (long i = 0, n = scaled(2000); i < n; i++)
    {
        EQUAL(fegetround(), mode);
        double v = one / three;
        CHECK(v == (mode == FE_DOWNWARD ? -0x1.5555555555556p-2 : -0x1.5555555555555p-2));
        EQUAL(fetestexcept(FE_ALL_EXCEPT), FE_INEXACT);
        if (i % 100 == 0) sched_yield();
    }
    return NULL;
}
CASE(float_threads)
{
    pthread_t t[8];
    for (long i = 0; i < 8; i++) t[i] = start(own_mode, (void *)i);
    for (int i = 0; i < 8; i++) join(t[i]);
}
