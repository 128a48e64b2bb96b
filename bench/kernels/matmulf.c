/* Single-precision matrix product. */
#define REAL float
#include "matmul.c"
