// What every case of guest-tests uses: registration, checks, faults caught and looked at.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

struct guest_case { const char *name; void (*run)(void); const char *notes; };

// CASE(name, "notes") { body }. Notes: "exit=N" the status a pass ends with (default 0); "fork" needs fork; "noqemu" QEMU 7.2 differs, with the
// reason in a comment; "long" more than a second under an interpreter.
#define CASE(n, ...) \
    static void n(void); \
    static const struct guest_case case_##n = { #n, n, "" __VA_ARGS__ }; \
    static const struct guest_case *const entry_##n __attribute__((used, section("cases"))) = &case_##n; \
    static void n(void)

void fail(const char *file, int line, const char *what, long a, long b);

#define CHECK(c) do { if (!(c)) fail(__FILE__, __LINE__, #c, 0, errno); } while (0)
#define EQUAL(a, b) do { long a_ = (long)(a), b_ = (long)(b); if (a_ != b_) fail(__FILE__, __LINE__, #a " == " #b, a_, b_); } while (0)
#define FAILS(call, error) do { errno = 0; long r_ = (long)(call); if (r_ != -1 || errno != (error)) fail(__FILE__, __LINE__, #call " fails with " #error, r_, errno); } while (0)
#define ZERO(call) do { long r_ = (long)(call); if (r_ != 0) fail(__FILE__, __LINE__, #call " == 0", r_, errno); } while (0)

// The case cannot run here: says why and exits 77.
void skip(const char *why) __attribute__((noreturn));

// n scaled by GUEST_TESTS_SCALE per cent (default 100), at least 1.
long scaled(long n);

// Nanoseconds of CLOCK_MONOTONIC; sleep in milliseconds.
int64_t now(void);
void sleep_ms(long ms);

// Deterministic random numbers.
uint64_t random64(uint64_t *state);

// Threads with errors checked.
pthread_t start(void *(*f)(void *), void *argument);
void *join(pthread_t t);

// Signal handler with flags and no mask.
void handle(int sig, void (*f)(int, siginfo_t *, void *), int flags);

// A temporary file's descriptor, already unlinked.
int temporary(void);

// Catches a fault: if (!CATCH(f)) { faulting code } else { f.signal, f.code, f.address, f.pc }. SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE.
struct fault { int signal, code; uintptr_t address, pc; long a0; };
extern _Thread_local sigjmp_buf fault_jump;
extern _Thread_local volatile struct fault fault_seen;
void catch_faults(void);
void ignore_faults(void);
#define CATCH() (catch_faults(), sigsetjmp(fault_jump, 1))

#define PAGE 4096ul

#ifdef __riscv
#define GREG(uc, n) (((ucontext_t *)(uc))->uc_mcontext.__gregs[n])
#define PC(uc) GREG(uc, 0)
// Instructions for code made at run time.
static inline uint32_t rv_addi(int rd, int rs, int imm) { return (uint32_t)imm << 20 | (uint32_t)rs << 15 | (uint32_t)rd << 7 | 0x13; }
static inline uint32_t rv_lui(int rd, uint32_t imm20) { return imm20 << 12 | (uint32_t)rd << 7 | 0x37; }
#define RV_RET 0x00008067u
#define RV_FENCE_I 0x0000100fu
static inline void fence_i(void) { __asm__ volatile("fence.i" ::: "memory"); }
// Writes `return value` (value fits 31 bits) at p: lui, addiw, ret.
static inline uint32_t *rv_return(uint32_t *p, int32_t value)
{
    *p++ = rv_lui(10, ((uint32_t)value + 0x800) >> 12 & 0xfffff);
    *p++ = ((uint32_t)value & 0xfff) << 20 | 10 << 15 | 10 << 7 | 0x1b;
    *p++ = RV_RET;
    return p;
}
typedef int (*int_function)(void);
#endif
