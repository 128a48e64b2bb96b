/* Naive Fibonacci: calls and returns. */
#include "kernel.h"
static u64 __attribute__((noinline, optimize("no-optimize-sibling-calls"))) fib(u64 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
KERNEL(35) { return fib(rounds); }
