/* Naive Fibonacci: calls and returns. */
#define STEADY_ROUNDS(n) 21, 25 /* the time is not proportional to the rounds */
#include "kernel.h"
static u64 __attribute__((noinline, optimize("no-optimize-sibling-calls"))) fib(u64 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
KERNEL(35) { return fib(rounds); }
